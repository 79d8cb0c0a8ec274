//! The announcements of back ends to conversations, and the receipts by which they are answered. The receipts of many
//! announcements share one channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::event::{Talk, Username};

/// News of a back end for the members of a conversation.
#[derive(Debug)]
pub struct Announcement {
    /// The user of the news.
    pub username: Username,
    /// The content of the update.
    pub talk: Talk,
    /// Whether the sessions of this user are left out.
    pub except_self: bool,
    /// Takes the number of sessions that it was given to.
    pub receipt: Receipt,
}

/// The number of sessions of an announcement that is not answered yet.
const OPEN: u32 = u32::MAX;

/// The answers to some announcements.
#[derive(Debug)]
pub struct Receipts {
    sessions: Box<[AtomicU32]>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

/// The answer to one announcement. If it is dropped, the announcement was given to nobody.
#[derive(Debug)]
pub struct Receipt {
    receipts: Arc<Receipts>,
    at: usize,
}

impl Receipts {
    /// Creates the answers to `count` announcements, and a channel that ends when the receipts of all are dropped.
    pub fn new(count: usize) -> (Arc<Self>, Vec<Receipt>, oneshot::Receiver<()>) {
        let (done, all) = oneshot::channel();
        let sessions = (0..count).map(|_| AtomicU32::new(OPEN)).collect();
        let done = Mutex::new((count > 0).then_some(done));
        let receipts = Arc::new(Self { sessions, left: AtomicUsize::new(count), done });
        let each = (0..count).map(|at| Receipt { receipts: receipts.clone(), at }).collect();
        (receipts, each, all)
    }

    /// Returns the number of sessions that the announcement at this place was given to. `None` if it is not answered
    /// yet.
    pub fn sessions(&self, at: usize) -> Option<u32> {
        Some(self.sessions[at].load(Ordering::Acquire)).filter(|sessions| *sessions != OPEN)
    }
}

impl Receipt {
    /// Answers that the announcement was given to this number of sessions.
    pub fn give(self, sessions: usize) {
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX).min(OPEN - 1);
        self.receipts.sessions[self.at].store(sessions, Ordering::Release);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let sessions = &self.receipts.sessions[self.at];
        let _ = sessions.compare_exchange(OPEN, 0, Ordering::AcqRel, Ordering::Relaxed);
        if self.receipts.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.receipts.done.lock().take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn all_announcements_are_answered_by_one_channel() {
        let (receipts, each, mut all) = Receipts::new(3);
        for (at, (receipt, sessions)) in each.into_iter().zip([Some(7), None, Some(2)]).enumerate() {
            assert_eq!((all.try_recv(), receipts.sessions(at)), (Err(oneshot::error::TryRecvError::Empty), None));
            match sessions {
                Some(sessions) => receipt.give(sessions),
                None => drop(receipt),
            }
        }
        assert_eq!(all.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!([0, 1, 2].map(|at| receipts.sessions(at)), [Some(7), Some(0), Some(2)]);
        assert_eq!(
            Receipts::new(0).2.try_recv(),
            Err(oneshot::error::TryRecvError::Closed),
            "there are none to wait for"
        );
    }
}
