//! The signals of the process. A thread of its own receives them, so that a stop works even if a worker, the registry
//! or a resolver is busy.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep_until;

use crate::stage::Drain;

/// Time that the end may take beyond `server.drain_ms` and `server.stop_ms` before the process exits anyway.
const GRACE: Duration = Duration::from_millis(500);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Starts to listen for signals. The first one begins the drain. If the drain has begun by a call, the first signal
/// changes nothing: an orchestrator that makes such a call sends a signal as well.
///
/// If a second signal comes, or the stop after the drain takes longer than `stop_timeout` plus [`GRACE`], `last_words`
/// is called and the process exits.
///
/// # Errors
/// The system does not give a thread or a file.
pub(super) fn listen(
    drain: Drain,
    stop_timeout: Duration,
    last_words: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let deadline = async {
                let due = drain.until_begun().await.due;
                sleep_until((due + stop_timeout + GRACE).into()).await;
            };
            tokio::select! {
                name = signals.second(&drain) => log::warn!("{name}, a second signal: stopping at once"),
                () = deadline => log::error!("the stop takes too long: stopping at once"),
            }
        });
        last_words();
        process::exit(0);
    })?;
    Ok(())
}

impl Signals {
    /// Receives the signals from now on. Needs a runtime.
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Begins the drain at the first signal to stop. Waits for the second one and returns its name.
    async fn second(&mut self, drain: &Drain) -> &'static str {
        let first = self.next_to_stop().await;
        if !drain.begin(first)
            && let Some(begun) = drain.begun()
        {
            let (left, sessions, by) = (drain.sessions_left(), begun.sessions, begun.by);
            log::info!(
                "{first}: draining already, by {by}; {left} of {sessions} sessions are left; a second signal stops the \
                 server at once"
            );
        }
        self.next_to_stop().await
    }

    /// Waits for a signal to stop and returns its name.
    async fn next_to_stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                // SIGHUP does not end the service: it comes from a closed terminal, or from an operator who hopes for a
                // reload.
                _ = self.hang_up.recv() => log::info!("SIGHUP: nothing is reloaded; a restart reads the settings anew"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use rustix::process::{self, getpid, kill_process};

    use super::*;

    /// Sends a signal to this process, and waits until it has arrived.
    async fn send(signal: process::Signal, arrived: &mut Signal) {
        kill_process(getpid(), signal).unwrap();
        arrived.recv().await;
    }

    #[actix_rt::test]
    async fn a_drain_that_a_call_has_begun_is_ended_by_the_second_signal() {
        for by_call in [true, false] {
            let mut signals = Signals::new().unwrap();
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            let drain = Drain::new(Duration::from_secs(60));
            if by_call {
                drain.begin("a call");
            }
            let mut second = std::pin::pin!(signals.second(&drain));
            assert_eq!(second.as_mut().now_or_never(), None);
            assert_eq!(drain.begun().is_some(), by_call);
            send(process::Signal::TERM, &mut terminate).await;
            assert_eq!(second.as_mut().now_or_never(), None);
            assert_eq!(&*drain.begun().unwrap().by, if by_call { "a call" } else { "SIGTERM" });
            send(process::Signal::INT, &mut interrupt).await;
            assert_eq!(second.await, "SIGINT");
        }
    }
}
