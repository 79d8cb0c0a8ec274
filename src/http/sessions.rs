//! The table of sids: from a sid to the session's front door. A session is entered at its handshake and
//! removed when it is dropped, in whatever way it ends.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::actors::session::SessionActor;
use crate::actors::transport::Listing;
use crate::mailbox::Mailbox;
use crate::protocol::Generation;

/// Locks are short, but every request of a polling client takes one.
const SHARDS: usize = 16;

/// The sids of a server.
#[derive(Debug)]
pub struct Sessions {
    shards: [Mutex<HashMap<Arc<str>, Arc<Entry>>>; SHARDS],
    hasher: RandomState,
    /// Expiry is counted from here.
    epoch: Instant,
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
    /// In ms since the table's epoch.
    expires_at_ms: AtomicU64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            epoch: Instant::now(),
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
        let (posting, expires_at_ms) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
        let entry = Arc::new(Entry { generation, mailbox, posting, expires_at_ms });
        self.shard(&sid).lock().insert(sid.clone(), entry.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Box::new(Listed { sessions: self.clone(), sid, entry })
    }

    /// The session with this sid, of a client that speaks `generation`. One whose time is over is unknown, though its
    /// task may not have run yet.
    pub fn get(&self, sid: &str, generation: Generation) -> Option<Arc<Entry>> {
        let entry = self.shard(sid).lock().get(sid).filter(|entry| entry.generation == generation).cloned()?;
        (self.ms(Instant::now()) < entry.expires_at_ms.load(Ordering::Relaxed)).then_some(entry)
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

    fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis().try_into().unwrap_or(u64::MAX)
    }
}

/// An entry, held by its session.
#[derive(Debug)]
struct Listed {
    sessions: Arc<Sessions>,
    sid: Arc<str>,
    entry: Arc<Entry>,
}

impl Listing for Listed {
    fn expires_at(&self, at: Instant) {
        self.entry.expires_at_ms.store(self.sessions.ms(at), Ordering::Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.sessions.shard(&self.sid).lock().remove(&self.sid);
        self.sessions.count.fetch_sub(1, Ordering::Relaxed);
    }
}
