//! The table of sids: from a sid to the session's front door. A session is entered at its handshake and
//! removed when it is dropped, in whatever way it ends.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::actors::front::Listing;
use crate::actors::session::SessionActor;
use crate::mailbox::Mailbox;
use crate::protocol::Generation;

/// Locks are short, but every request of a polling client takes one.
const SHARDS: usize = 16;

/// Room for so many sessions is kept by each shard.
const ROOM_MIN: usize = 128;

/// The sids of a server.
#[derive(Debug)]
pub struct Sessions {
    shards: [Mutex<HashMap<Arc<str>, Arc<Entry>>>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
}

/// One session, as the edge knows it.
#[derive(Debug)]
pub struct Entry {
    /// What its client speaks.
    pub generation: Generation,
    /// Its front door.
    pub mailbox: Mailbox<SessionActor>,
    /// Whether a POST is under way.
    pub posting: AtomicBool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Sessions {
    /// Enters a session; the entry lasts as long as what is returned.
    pub fn enter(
        self: &Arc<Self>,
        sid: &str,
        generation: Generation,
        mailbox: Mailbox<SessionActor>,
    ) -> Box<dyn Listing> {
        let sid: Arc<str> = sid.into();
        let entry = Arc::new(Entry { generation, mailbox, posting: AtomicBool::new(false) });
        self.shard(&sid).lock().insert(sid.clone(), entry);
        self.count.fetch_add(1, Ordering::Relaxed);
        Box::new(Listed { sessions: self.clone(), sid })
    }

    /// The session with this sid, of a client that speaks `generation`. Whether its time is over is its own business.
    pub fn get(&self, sid: &str, generation: Generation) -> Option<Arc<Entry>> {
        self.shard(sid).lock().get(sid).filter(|entry| entry.generation == generation).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every session's front door.
    pub fn mailboxes(&self) -> Vec<Mailbox<SessionActor>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().values().map(|entry| entry.mailbox.clone()).collect::<Vec<_>>())
            .collect()
    }

    fn shard(&self, sid: &str) -> &Mutex<HashMap<Arc<str>, Arc<Entry>>> {
        &self.shards[self.hasher.hash_one(sid) as usize % SHARDS]
    }
}

/// An entry, held by its session.
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
        // A storm that is over leaves no large table behind.
        if shard.capacity() > ROOM_MIN && shard.len() < shard.capacity() / 4 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
        drop(shard);
        self.sessions.count.fetch_sub(1, Ordering::Relaxed);
    }
}
