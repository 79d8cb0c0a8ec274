//! The bound on the talks of one session that wait in conversations. A session that has reached it is not read until
//! fewer talks wait. So a member who talks without end does not fill the mailbox of a conversation, and the talks of
//! others find room there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::delivery::outbox::Outbox;

/// The talks of one session that wait in conversations.
#[derive(Debug)]
pub struct Talks {
    waiting: AtomicUsize,
    max: usize,
    /// Wakes the session when it may be read again.
    outbox: Arc<Outbox>,
}

/// A ticket counts one talk as waiting. The conversation drops it when it has broadcast the talk.
#[derive(Debug)]
pub struct Ticket(Arc<Talks>);

impl Talks {
    /// Creates the count for the session behind `outbox`, which may be read as long as fewer than `max` talks wait.
    pub fn new(max: usize, outbox: Arc<Outbox>) -> Arc<Self> {
        Arc::new(Self { waiting: AtomicUsize::new(0), max, outbox })
    }

    /// Returns whether the session may be read.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < self.max
    }

    /// Returns a ticket for one more talk, even if there is no room.
    pub fn ticket(self: &Arc<Self>) -> Ticket {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ticket(self.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let before = self.0.waiting.fetch_sub(1, Ordering::Release);
        // The session is woken once, when only half the bound is still waiting, and not by every talk.
        if before == self.0.max / 2 + 1 {
            self.0.outbox.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::outbox::tests::Wakes;
    use crate::delivery::outbox::tests::limits;
    use crate::metrics::{Metrics, ReadAtScrape};
    use crate::protocol::Generation;
    use futures_util::task::waker;

    #[test]
    fn a_session_that_has_stopped_is_woken_once_when_half_is_said() {
        for (max, wakes_at) in [(1, 1), (2, 1), (4, 2), (5, 3)] {
            let bounds = limits(10, 1000);
            let metrics = Metrics::new(&[], ReadAtScrape::default());
            let outbox = Arc::new(Outbox::new(Generation::Eio4, bounds, metrics));
            let wakes = Arc::new(Wakes::default());
            let talks = Talks::new(max, outbox.clone());
            let mut tickets: Vec<_> = (0..max).map(|_| talks.ticket()).collect();
            assert!(!talks.has_room());
            outbox.register(&waker(wakes.clone()));
            for said in 1..=max {
                drop(tickets.pop());
                assert!(talks.has_room());
                assert_eq!(wakes.0.load(Ordering::Relaxed), usize::from(said >= wakes_at), "{said} of {max}");
                outbox.register(&waker(wakes.clone()));
            }
        }
    }
}
