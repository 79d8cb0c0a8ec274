//! The stage of the server's life, and the handle that makes the server drain: it closes all sessions, spread over a
//! time, and ends. Both can be read and used on any thread.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The stages of the server's life, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It starts. It is not ready yet.
    Starting,
    /// It serves. This is the only stage in which it is ready for new clients.
    Serving,
    /// It closes its sessions and opens no new ones. It ends when none is left.
    Draining,
}

/// The [`Stage`] of one server. A read is one relaxed load.
#[derive(Debug, Default)]
pub struct CurrentStage(AtomicU8);

impl CurrentStage {
    /// Returns the stage.
    pub fn get(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            _ => Stage::Draining,
        }
    }

    /// Goes on to `stage`. Returns false if the server was there already, or further: no stage comes twice.
    pub fn advance(&self, stage: Stage) -> bool {
        self.0.fetch_max(stage as u8, Ordering::Relaxed) < stage as u8
    }
}

/// The handle of a server's drain. Clones are handles of the same drain.
#[derive(Clone)]
pub struct Drain(Arc<State>);

struct State {
    stage: Arc<CurrentStage>,
    time: Duration,
    /// Returns the number of open sessions. Empty until the server has a table of sessions.
    count_sessions: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    begun: watch::Sender<Option<Begun>>,
}

/// The beginning of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The signal or the caller that has begun it, for the log.
    pub by: Arc<str>,
    /// When it began.
    pub at: Instant,
    /// When the last session is closed.
    pub due: Instant,
    /// The number of sessions that were open then.
    pub sessions: usize,
}

impl Drain {
    /// Creates the handle of a server that has not begun to drain. Its sessions will be closed over `time`.
    pub fn new(time: Duration) -> Self {
        let state =
            State { stage: Arc::default(), time, count_sessions: OnceLock::new(), begun: watch::Sender::default() };
        Self(Arc::new(state))
    }

    /// Sets the function that returns the number of open sessions. Only the first call counts.
    pub fn count_sessions(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.0.count_sessions.set(Box::new(count));
    }

    /// Returns the stage of the server.
    pub fn stage(&self) -> &Arc<CurrentStage> {
        &self.0.stage
    }

    /// Begins the drain on behalf of `by`: a signal, or a caller. Returns false if it has begun before; it then goes on
    /// as it was.
    pub fn begin(&self, by: &str) -> bool {
        self.0.begun.send_if_modified(|begun| {
            if begun.is_some() {
                return false;
            }
            // From here on, no handshake is accepted.
            self.0.stage.advance(Stage::Draining);
            let at = Instant::now();
            *begun = Some(Begun { by: by.into(), at, due: at + self.0.time, sessions: self.sessions_left() });
            true
        })
    }

    /// Returns how the drain began, or `None` if it has not begun.
    pub fn begun(&self) -> Option<Begun> {
        self.0.begun.borrow().clone()
    }

    /// Returns the number of sessions that are open now.
    pub fn sessions_left(&self) -> usize {
        self.0.count_sessions.get().map_or(0, |count| count())
    }

    /// Waits until the drain begins.
    pub async fn until_begun(&self) -> Begun {
        let mut begun = self.0.begun.subscribe();
        loop {
            if let Some(begun) = &*begun.borrow_and_update() {
                return begun.clone();
            }
            // The sender is not dropped before `self`.
            let _ = begun.changed().await;
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.0.begun.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_does_not_come_back() {
        use Stage::{Draining, Serving, Starting};
        let stage = CurrentStage::default();
        assert_eq!(stage.get(), Starting);
        for (next, advances, is) in [
            (Starting, false, Starting),
            (Serving, true, Serving),
            (Starting, false, Serving),
            (Serving, false, Serving),
            (Draining, true, Draining),
            (Serving, false, Draining),
            (Draining, false, Draining),
        ] {
            assert_eq!((stage.advance(next), stage.get()), (advances, is), "{next:?}");
        }
        let early = CurrentStage::default();
        assert!(early.advance(Draining) && !early.advance(Serving), "a signal may come before the start has ended");
    }

    #[test]
    fn a_drain_begins_once() {
        let drain = Drain::new(Duration::from_secs(30));
        let handle = drain.clone();
        assert_eq!((drain.begun(), drain.sessions_left(), drain.stage().get()), (None, 0, Stage::Starting));
        drain.count_sessions(|| 7);
        assert!(handle.begin("one") && !drain.begin("other"));
        let begun = drain.begun().unwrap();
        assert_eq!((&*begun.by, begun.sessions, begun.due - begun.at), ("one", 7, Duration::from_secs(30)));
        assert_eq!(drain.stage().get(), Stage::Draining);
    }

    #[actix_rt::test]
    async fn a_drain_is_waited_for_before_and_after_it_begins() {
        let drain = Drain::new(Duration::ZERO);
        let waits = tokio::spawn({
            let drain = drain.clone();
            async move { drain.until_begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drain.begin("one");
        assert_eq!(waits.await.unwrap(), drain.until_begun().await);
    }
}
