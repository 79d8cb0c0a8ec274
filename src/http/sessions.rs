//! The table of sids: finds a session's front door by its sid. A session is entered at its handshake and removed when
//! it is dropped, however it ended.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::actors::front::Listing;
use crate::actors::session::SessionActor;
use crate::mailbox::Mailbox;
use crate::protocol::Generation;

/// Shards of the table. Locks are short, but every request of a polling client takes one.
const SHARDS: usize = 16;

/// Each shard keeps room for this number of sessions.
const ROOM_MIN: usize = 128;

/// The sessions of a server, by sid.
#[derive(Debug)]
pub struct Sessions {
    shards: [Mutex<HashMap<Arc<str>, Arc<Entry>>>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
    /// The shard whose sessions are dismissed next. So each call does not visit again all those dismissed before.
    dismissing: AtomicUsize,
}

/// One session, as requests see it.
#[derive(Debug)]
pub struct Entry {
    /// The generation of its client.
    pub generation: Generation,
    /// Its front door.
    pub mailbox: Mailbox<SessionActor>,
    /// Whether a POST is under way.
    pub posting: AtomicBool,
    /// Whether it has been dismissed.
    is_dismissed: AtomicBool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            dismissing: AtomicUsize::new(0),
        }
    }
}

impl Sessions {
    /// Enters a session. The entry lasts as long as the returned value.
    pub fn enter(
        self: &Arc<Self>,
        sid: &str,
        generation: Generation,
        mailbox: Mailbox<SessionActor>,
    ) -> Box<dyn Listing> {
        let sid: Arc<str> = sid.into();
        let (posting, is_dismissed) = (AtomicBool::new(false), AtomicBool::new(false));
        let entry = Arc::new(Entry { generation, mailbox, posting, is_dismissed });
        self.shard(&sid).lock().insert(sid.clone(), entry);
        self.count.fetch_add(1, Ordering::Relaxed);
        Box::new(Listed { sessions: self.clone(), sid })
    }

    /// Returns the session with this sid if its client speaks `generation`. The session may already have ended; it then
    /// refuses requests itself.
    pub fn get(&self, sid: &str, generation: Generation) -> Option<Arc<Entry>> {
        self.shard(sid).lock().get(sid).filter(|entry| entry.generation == generation).cloned()
    }

    /// Returns the number of sessions.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the front doors of at most `at_most` sessions, each of them once: the caller ends these sessions. They
    /// stay in the table until they have ended.
    pub fn dismiss(&self, at_most: usize) -> Vec<Mailbox<SessionActor>> {
        let mut dismissed = Vec::new();
        // A shard that was left before may have new sessions, so all are visited.
        for _ in 0..SHARDS {
            let at = self.dismissing.load(Ordering::Relaxed) % SHARDS;
            let shard = self.shards[at].lock();
            let more = shard.values().filter(|entry| !entry.is_dismissed.swap(true, Ordering::Relaxed));
            dismissed.extend(more.map(|entry| entry.mailbox.clone()).take(at_most - dismissed.len()));
            if dismissed.len() == at_most {
                break;
            }
            self.dismissing.store(at + 1, Ordering::Relaxed);
        }
        dismissed
    }

    fn shard(&self, sid: &str) -> &Mutex<HashMap<Arc<str>, Arc<Entry>>> {
        &self.shards[self.hasher.hash_one(sid) as usize % SHARDS]
    }
}

/// Keeps an entry in the table; held by its session.
#[derive(Debug)]
struct Listed {
    sessions: Arc<Sessions>,
    sid: Arc<str>,
}

impl Listing for Listed {}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut shard = self.sessions.shard(&self.sid).lock();
        shard.remove(&self.sid);
        // Frees the memory that a storm of sessions took.
        if shard.capacity() > ROOM_MIN && shard.len() < shard.capacity() / 4 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
        drop(shard);
        self.sessions.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, AsyncContext as _};

    use super::*;
    use crate::metrics::{Metrics, ReadAtScrape};

    #[test]
    fn each_session_is_dismissed_once() {
        let (sessions, metrics) = (Arc::new(Sessions::default()), Metrics::new(&[], ReadAtScrape::default()));
        let enter = |n: usize| {
            let address = <SessionActor as Actor>::Context::new().address();
            sessions.enter(&n.to_string(), Generation::Eio4, Mailbox::new(address, &metrics))
        };
        assert_eq!(sessions.dismiss(10).len(), 0);
        let listed: Vec<_> = (0..1000).map(enter).collect();
        assert_eq!([sessions.dismiss(300).len(), sessions.dismiss(0).len()], [300, 0]);
        assert_eq!([sessions.dismiss(usize::MAX).len(), sessions.dismiss(usize::MAX).len()], [700, 0]);
        assert_eq!(sessions.len(), 1000, "they stay until they end");
        let late = enter(1000);
        assert_eq!(sessions.dismiss(10).len(), 1);
        drop((listed, late));
        assert!(sessions.is_empty());
    }
}
