//! The announcements of back ends and of MAX to conversations, and the receipts by which those of back ends are
//! answered. The receipts of many announcements share one channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::event::{Talk, Username};

/// News for the members of a conversation.
#[derive(Debug)]
pub struct Announcement {
    /// The user of the news.
    pub username: Username,
    /// The content of the update.
    pub talk: Talk,
    /// The sockets whose sessions are left out, on all nodes.
    pub except: Vec<Box<str>>,
    /// Whether the sessions of this user are left out.
    pub except_self: bool,
    /// The source of the news.
    pub source: Source,
}

/// The source of an announcement.
#[derive(Debug)]
pub enum Source {
    /// A back end has announced it to this process, which tells the other nodes.
    BackEnd {
        /// Whether nobody is told if the other nodes cannot be told.
        relay_required: bool,
        /// Takes what has become of it.
        receipt: Receipt,
    },
    /// The feed of MAX, which each node hears by itself.
    Feed,
}

/// The things that an announcement has brought about.
#[derive(Debug)]
pub struct Done {
    /// The number of sessions that it was given to.
    pub sessions: u32,
    /// Its way to the other nodes.
    pub relay: Relay,
}

/// The way of an announcement to the other nodes.
#[derive(Debug)]
pub enum Relay {
    /// This process is alone.
    Alone,
    /// The bus has it, and tells how many other servers have heard it.
    Queued(oneshot::Receiver<u64>),
    /// The queue of the bus is full.
    Full,
    /// A message with the same id was told already. Nobody is told again.
    ToldAlready,
    /// The conversation has failed before it could take it.
    Lost,
}

/// The answers to some announcements.
#[derive(Debug)]
pub struct Receipts {
    answers: Box<[Mutex<Option<Done>>]>,
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
        let answers = (0..count).map(|_| Mutex::default()).collect();
        let done = Mutex::new((count > 0).then_some(done));
        let receipts = Arc::new(Self { answers, left: AtomicUsize::new(count), done });
        let each = (0..count).map(|at| Receipt { receipts: receipts.clone(), at }).collect();
        (receipts, each, all)
    }

    /// Takes the answer to the announcement at this place. `None` if it is not answered yet.
    pub fn take(&self, at: usize) -> Option<Done> {
        self.answers[at].lock().take()
    }
}

impl Receipt {
    /// Answers that the announcement was given to this number of sessions.
    pub fn give(self, sessions: usize, relay: Relay) {
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        *self.receipts.answers[self.at].lock() = Some(Done { sessions, relay });
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.receipts.answers[self.at].lock().get_or_insert(Done { sessions: 0, relay: Relay::Lost });
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
            assert_eq!(all.try_recv(), Err(oneshot::error::TryRecvError::Empty));
            assert!(receipts.take(at).is_none());
            match sessions {
                Some(sessions) => receipt.give(sessions, Relay::Alone),
                None => drop(receipt),
            }
        }
        assert_eq!(all.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!([0, 1, 2].map(|at| receipts.take(at).unwrap().sessions), [7, 0, 2]);
        assert_eq!(
            Receipts::new(0).2.try_recv(),
            Err(oneshot::error::TryRecvError::Closed),
            "there are none to wait for"
        );
    }
}
