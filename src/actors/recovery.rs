//! Sessions whose clients may come back after their connection was lost: Socket.IO's connection state recovery.
//!
//! Each of these sessions has a pid, which only its client knows. A client that comes back by another connection names
//! the pid, and the session of that connection claims what the former session has: its user, its memberships, its
//! outbox. The former session lives until then, whether it has noticed the loss or not, and hands all of it over. So
//! its conversations notice nothing.
//!
//! `T` is what is handed over on this node. [`afar`] has the way between nodes: `moving` decides, `errands` are the
//! claims of this node at others, and `moved` the sessions that others have got.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cluster::letters::{Letter, Post, Refused, Return};
use crate::delivery::history::Bounds;
use crate::delivery::outbox::Outbox;
use crate::event::CloseReason;
use crate::ids::Ids;
use crate::metrics::{Limit, Metrics};

pub mod afar;
pub mod errands;
pub mod moved;
pub mod moving;

use errands::Errands;
use moved::Moved;
use moving::Asked;

/// Shards of the table of pids. Each session locks one of them when it begins and ends.
const SHARDS: usize = 16;

/// A pid without the tag of its server: 128 random bits.
type Key = u128;

/// The length of a key in a pid.
const KEY_LEN: usize = 22;

/// The settings of the recovery.
#[derive(Clone, Debug)]
pub struct RecoverySettings {
    /// How long a session is kept after its connection was lost.
    pub window: Duration,
    /// The longest wait for the node or the thread that has the session.
    pub claim: Duration,
    /// Sessions that are kept at the same time.
    pub kept_max: usize,
    /// The events that are kept for each session.
    pub history: Bounds,
    /// Whether only those clients can come back that have asked for it.
    pub asked_only: bool,
    /// The first characters of all pids of this server.
    pub tag: Box<str>,
    /// Whether each node hears from MAX by itself, earlier or later than the others.
    pub has_feed: bool,
}

/// The sessions of a server that may be recovered.
#[derive(Debug)]
pub struct Recovery<T> {
    /// The settings.
    pub settings: RecoverySettings,
    shards: [Mutex<HashMap<Key, Arc<Claim<T>>>>; SHARDS],
    kept: AtomicUsize,
    is_over: AtomicBool,
    metrics: Arc<Metrics>,
    /// `None` if this process is alone.
    cluster: Option<Cluster>,
}

/// The part of the recovery between nodes.
#[derive(Debug)]
struct Cluster {
    post: Arc<dyn Post>,
    errands: Arc<Errands>,
    moved: Mutex<Moved>,
}

/// Who claims a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// Nobody.
    Nobody,
    /// A session on this node.
    Here,
    /// Another node.
    Elsewhere,
}

/// A claim that the session has not answered yet.
#[derive(Debug)]
enum Request<T> {
    Here(oneshot::Sender<T>),
    Elsewhere(Asked),
}

/// The place where a session is claimed.
#[derive(Debug)]
struct Claim<T> {
    /// The first characters of its pid, if another node has drawn it.
    tag: Option<Box<str>>,
    request: Mutex<Option<Request<T>>>,
    is_kept: AtomicBool,
    /// Wakes the task of the session that has it now.
    outbox: Weak<Outbox>,
}

/// A session in the table. Its pid is valid until this is dropped.
#[derive(Debug)]
pub struct Registration<T> {
    recovery: Arc<Recovery<T>>,
    key: Key,
    claim: Arc<Claim<T>>,
    /// Whether the session counts as kept.
    counts: bool,
}

impl<T> Recovery<T> {
    /// Creates an empty table. `post` is the way to other nodes, and `ids` draws the numbers of claims there.
    pub fn new(settings: RecoverySettings, post: Option<Arc<dyn Post>>, ids: &Ids, metrics: Arc<Metrics>) -> Arc<Self> {
        let cluster = post.map(|post| Cluster {
            errands: Errands::new(post.node(), ids.number()),
            moved: Mutex::default(),
            post,
        });
        Arc::new(Self {
            cluster,
            settings,
            shards: std::array::from_fn(|_| Mutex::default()),
            kept: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            metrics,
        })
    }

    /// Enters the session behind this outbox, under a new pid.
    pub fn enter(self: &Arc<Self>, ids: &Ids, outbox: &Arc<Outbox>) -> Registration<T> {
        let key = Key::from(ids.number()) << 64 | Key::from(ids.number());
        let claim = Claim::new(None, outbox);
        self.shard(key).lock().insert(key, claim.clone());
        Registration { recovery: self.clone(), key, claim, counts: false }
    }

    /// Claims the session with this pid. What it has comes by the returned receiver; nothing comes if the session ends
    /// first, or is claimed once more. `None` if there is no such session.
    pub fn claim(&self, pid: &str) -> Option<oneshot::Receiver<T>> {
        let claim = self.find(pid)?;
        let outbox = claim.outbox.upgrade()?;
        let (request, claimed) = oneshot::channel();
        let older = claim.request.lock().replace(Request::Here(request));
        self.refuse_request(older);
        outbox.wake();
        Some(claimed)
    }

    fn find(&self, pid: &str) -> Option<Arc<Claim<T>>> {
        let (tag, key) = parse(pid)?;
        let claim = self.shard(key).lock().get(&key)?.clone();
        (claim.tag.as_ref().unwrap_or(&self.settings.tag).as_ref() == tag).then_some(claim)
    }

    /// Tells another node that its claim is void.
    fn refuse_request(&self, request: Option<Request<T>>) {
        if let (Some(Request::Elsewhere(asked)), Some(cluster)) = (request, &self.cluster) {
            cluster.refuse(asked.of(), Refused::UnknownPid);
        }
    }

    /// Ends all kept sessions, and keeps none any more: the server stops.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for shard in &self.shards {
            let kept: Vec<_> = shard.lock().values().filter(|claim| claim.is_kept()).cloned().collect();
            for outbox in kept.iter().filter_map(|claim| claim.outbox.upgrade()) {
                outbox.close(CloseReason::Stop);
            }
        }
    }

    fn shard(&self, key: Key) -> &Mutex<HashMap<Key, Arc<Claim<T>>>> {
        // All bits of a key are random.
        &self.shards[key as usize % SHARDS]
    }
}

/// Returns the tag and the key of a pid.
fn parse(pid: &str) -> Option<(&str, Key)> {
    let (tag, key) = pid.split_at_checked(pid.len().checked_sub(KEY_LEN)?)?;
    let bytes = URL_SAFE_NO_PAD.decode(key).ok()?;
    Some((tag, Key::from_be_bytes(bytes.try_into().ok()?)))
}

impl Cluster {
    /// Sends a letter to the node to which a client has come.
    fn answer(&self, letter: &Letter) {
        // A letter that is not sent is like one that is lost: the other node waits for it until its deadline.
        if let Letter::Offer { of, .. } | Letter::Handover { of, .. } | Letter::Refusal { of, .. } = letter {
            let _ = self.post.send(of.node, letter);
        }
    }

    fn refuse(&self, of: Return, why: Refused) {
        self.answer(&Letter::Refusal { of, why });
    }
}

impl<T> Claim<T> {
    fn new(tag: Option<Box<str>>, outbox: &Arc<Outbox>) -> Arc<Self> {
        let (request, is_kept) = (Mutex::new(None), AtomicBool::new(false));
        Arc::new(Self { tag, request, is_kept, outbox: Arc::downgrade(outbox) })
    }

    fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::SeqCst)
    }
}

impl<T> Registration<T> {
    /// Returns the pid of the session.
    pub fn pid(&self) -> String {
        let tag = self.claim.tag.as_ref().unwrap_or(&self.recovery.settings.tag);
        format!("{tag}{}", URL_SAFE_NO_PAD.encode(self.key.to_be_bytes()))
    }

    /// Counts the session as kept. Returns for how long it is kept; `None` if too many are kept already, or the server
    /// stops.
    pub fn keep(&mut self) -> Option<Duration> {
        let Recovery { settings, kept, is_over, metrics, .. } = &*self.recovery;
        let free = |count| (count < settings.kept_max).then_some(count + 1);
        if kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_err() {
            metrics.limited(Limit::KeptSessions);
            return None;
        }
        metrics.kept_sessions.inc();
        self.counts = true;
        self.claim.is_kept.store(true, Ordering::SeqCst);
        // After the mark: either the end of the server sees it, or this sees the end.
        if is_over.load(Ordering::SeqCst) {
            self.resume();
            return None;
        }
        Some(settings.window)
    }

    /// Counts the session as no longer kept.
    pub fn resume(&mut self) {
        self.claim.is_kept.store(false, Ordering::SeqCst);
        if std::mem::take(&mut self.counts) {
            self.recovery.kept.fetch_sub(1, Ordering::Relaxed);
            self.recovery.metrics.kept_sessions.dec();
        }
    }

    /// Returns who claims the session.
    pub fn claimant(&self) -> Claimant {
        match &*self.claim.request.lock() {
            None => Claimant::Nobody,
            Some(Request::Here(_)) => Claimant::Here,
            Some(Request::Elsewhere(_)) => Claimant::Elsewhere,
        }
    }

    /// Takes out the way to the session that claims this one.
    pub fn take_claim(&self) -> Option<oneshot::Sender<T>> {
        let mut request = self.claim.request.lock();
        match request.take_if(|request| matches!(request, Request::Here(_)))? {
            Request::Here(way) => Some(way),
            Request::Elsewhere(_) => None,
        }
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        self.resume();
        let mut shard = self.recovery.shard(self.key).lock();
        shard.remove(&self.key);
        let request = self.claim.request.lock().take();
        if shard.capacity() > 128 && shard.len() < shard.capacity() / 4 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
        drop(shard);
        self.recovery.refuse_request(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::outbox::tests::limits;
    use crate::metrics::ReadAtScrape;
    use crate::protocol::Generation;

    fn recovery(kept_max: usize) -> (Arc<Recovery<u8>>, Arc<Outbox>, Ids) {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let history = Bounds { events_max: 9, bytes_max: 999 };
        let window = Duration::from_secs(9);
        let claim = Duration::from_secs(3);
        let settings = RecoverySettings {
            window,
            claim,
            kept_max,
            history,
            asked_only: false,
            tag: "n1-_".into(),
            has_feed: false,
        };
        let outbox = Arc::new(Outbox::new(Generation::Eio4, limits(9, 999), metrics.clone()));
        let ids = Ids::from_system().unwrap();
        (Recovery::new(settings, None, &ids, metrics), outbox, ids)
    }

    #[test]
    fn a_session_is_claimed_by_its_pid_as_long_as_it_lives() {
        let (recovery, outbox, ids) = recovery(9);
        let session = recovery.enter(&ids, &outbox);
        let pid = session.pid();
        assert!(pid.starts_with("n1-_") && pid.len() == 26 && session.claimant() == Claimant::Nobody);
        for other in ["", "n1-_", &pid[4..], &pid[..25], &format!("{pid}A"), &pid.replacen("n1", "n2", 1)] {
            assert!(recovery.claim(other).is_none(), "{other}");
        }
        let mut first = recovery.claim(&pid).unwrap();
        let mut second = recovery.claim(&pid).unwrap();
        assert!(first.try_recv().is_err() && session.claimant() == Claimant::Here);
        session.take_claim().unwrap().send(7).unwrap();
        assert_eq!((second.try_recv(), session.claimant()), (Ok(7), Claimant::Nobody));
        drop(session);
        assert!(recovery.claim(&pid).is_none());
    }

    #[test]
    fn kept_sessions_are_counted_and_bounded() {
        let (recovery, outbox, ids) = recovery(2);
        let mut sessions: Vec<_> = (0..3).map(|_| recovery.enter(&ids, &outbox)).collect();
        let kept = sessions.iter_mut().filter_map(Registration::keep).count();
        assert_eq!((kept, recovery.metrics.kept_sessions.get()), (2, 2));
        sessions[0].resume();
        assert!(sessions[2].keep().is_some());
        drop(sessions);
        assert_eq!((recovery.kept.load(Ordering::Relaxed), recovery.metrics.kept_sessions.get()), (0, 0));
    }

    #[test]
    fn the_end_of_the_server_ends_what_is_kept() {
        let (recovery, outbox, ids) = recovery(9);
        let (mut kept, mut live) = (recovery.enter(&ids, &outbox), recovery.enter(&ids, &outbox));
        kept.keep().unwrap();
        recovery.end();
        assert_eq!(outbox.closed(), Some(CloseReason::Stop));
        assert!(live.keep().is_none());
        assert_eq!(recovery.metrics.kept_sessions.get(), 1);
    }
}
