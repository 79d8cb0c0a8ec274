//! The cards of sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::closed::{ClosedSession, ClosedSessions};
use super::ranking::{self, Places, Ranked, Ranking};
use super::users::Users;
use crate::delivery::outbox::{self, Backlog, Outbox, Waiting};
use crate::event::{CloseReason, SessionId, Username};
use crate::protocol::{Generation, TransportKind};

/// Shards of the table of cards, and of the table of users. Each session locks one of each when it comes and goes.
const SHARDS: usize = 16;

/// The measures by which sessions are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionMeasure {
    /// Bytes that wait to be written to the client.
    Bytes,
    /// Messages that wait to be written to the client.
    Messages,
    /// The round trip of the last heartbeat, in microseconds.
    RoundTrip,
    /// News that was folded or left out since the session began.
    Folded,
}

/// The cards of all living sessions of a server, and the sessions that were closed last.
pub struct SessionBoard {
    began: Instant,
    cards: [Mutex<BTreeMap<SessionId, Arc<SessionCard>>>; SHARDS],
    users: Users,
    by_bytes: Ranking<SessionCard>,
    by_messages: Ranking<SessionCard>,
    by_round_trip: Ranking<SessionCard>,
    by_folded: Ranking<SessionCard>,
    /// The sessions that were closed last.
    pub closed: ClosedSessions,
}

/// One session.
pub struct SessionCard {
    /// The number of the session.
    pub id: SessionId,
    /// The address of its client, which is another one if the client has come back from elsewhere.
    address: Mutex<IpAddr>,
    /// Whether the connection was lost, and the client may come back.
    is_kept: AtomicBool,
    /// The generation of its client.
    pub generation: Generation,
    /// When it was opened, in milliseconds since the server began.
    pub opened_ms: u64,
    transport: AtomicU8,
    places: Places,
    round_trip_us: AtomicU32,
    user: Mutex<Option<Username>>,
    outbox: Weak<Outbox>,
    /// Whether the session is to ask the directory again for its conversations.
    refresh: AtomicBool,
    board: Arc<SessionBoard>,
}

/// The card of a session as the session holds it. Its drop takes the card off the board.
pub struct SessionEntry(Arc<SessionCard>);

impl SessionBoard {
    /// Creates the board of a server that began at `began`.
    pub fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            began,
            cards: std::array::from_fn(|_| Mutex::default()),
            users: Users::default(),
            by_bytes: Ranking::new(0, outbox::BACKLOG_BYTES as u64, |card: &SessionCard, _| {
                card.waiting().bytes as u64
            }),
            by_messages: Ranking::new(1, outbox::BACKLOG_MESSAGES as u64, |card, _| card.waiting().messages as u64),
            by_round_trip: Ranking::new(2, 0, |card, _| card.round_trip_us.load(Ordering::Relaxed).into()),
            by_folded: Ranking::new(3, 0, |card, _| card.waiting().folded as u64),
            closed: ClosedSessions::default(),
        })
    }

    /// Enters a session. Its card is on the board as long as the returned value.
    pub fn enter(
        self: &Arc<Self>,
        id: SessionId,
        address: IpAddr,
        transport: TransportKind,
        outbox: &Arc<Outbox>,
    ) -> SessionEntry {
        let card = Arc::new(SessionCard {
            id,
            address: Mutex::new(address),
            is_kept: AtomicBool::new(false),
            generation: outbox.generation(),
            opened_ms: self.now_ms(),
            transport: AtomicU8::new(transport as u8),
            places: Places::default(),
            round_trip_us: AtomicU32::new(0),
            user: Mutex::default(),
            outbox: Arc::downgrade(outbox),
            refresh: AtomicBool::new(false),
            board: self.clone(),
        });
        outbox.watch_by(card.clone());
        self.shard(id).lock().insert(id, card.clone());
        SessionEntry(card)
    }

    /// Returns the card of a session. `None` if the session does not live.
    pub fn get(&self, id: SessionId) -> Option<Arc<SessionCard>> {
        self.shard(id).lock().get(&id).cloned()
    }

    /// Returns the `count` sessions with the highest values, the highest first.
    pub fn top(&self, measure: SessionMeasure, count: usize) -> Vec<Arc<SessionCard>> {
        let ranking = match measure {
            SessionMeasure::Bytes => &self.by_bytes,
            SessionMeasure::Messages => &self.by_messages,
            SessionMeasure::RoundTrip => &self.by_round_trip,
            SessionMeasure::Folded => &self.by_folded,
        };
        ranking.top(count, self.now_ms()).into_iter().map(|(_, card)| card).collect()
    }

    /// Returns the `count` sessions that were opened first.
    pub fn oldest(&self, count: usize) -> Vec<Arc<SessionCard>> {
        let first = |cards: &Mutex<BTreeMap<_, _>>| cards.lock().values().take(count).cloned().collect::<Vec<_>>();
        let mut oldest: Vec<_> = self.cards.iter().flat_map(first).collect();
        oldest.sort_unstable_by_key(|card: &Arc<SessionCard>| card.id);
        oldest.truncate(count);
        oldest
    }

    /// Notes that a session has a user now, unless the user has `sessions_max` other sessions already; 0 means no
    /// limit. A session that is kept for a client that may come back makes way. Returns whether it was noted.
    /// [`Self::forget`] has to be called as often as this returns true.
    pub fn note(&self, user: &Username, session: SessionId, sessions_max: usize) -> bool {
        let noted = self.users.note(user, session, sessions_max) || self.note_instead(user, session, sessions_max);
        if noted && let Some(card) = self.get(session) {
            *card.user.lock() = Some(user.clone());
        }
        noted
    }

    /// Notes a session of a user who has as many as allowed, in place of the oldest kept one, which is closed.
    fn note_instead(&self, user: &Username, session: SessionId, sessions_max: usize) -> bool {
        let kept: Vec<_> = self.of_user(user, usize::MAX).into_iter().filter(|card| card.is_kept()).collect();
        let Some(oldest) = kept.first() else { return false };
        // Those that have been closed before may still be noted for a moment.
        let noted = self.users.note(user, session, sessions_max + kept.len());
        if noted {
            oldest.close(CloseReason::Replaced);
        }
        noted
    }

    /// Notes that a session does not have this user any more.
    pub fn forget(&self, user: &Username, session: SessionId) {
        if self.users.forget(user, session)
            && let Some(card) = self.get(session)
        {
            card.user.lock().take_if(|noted| noted == user);
        }
    }

    /// Returns at most `count` sessions of a user, the oldest first.
    pub fn of_user(&self, user: &Username, count: usize) -> Vec<Arc<SessionCard>> {
        self.users.sessions_of(user, count).into_iter().filter_map(|session| self.get(session)).collect()
    }

    /// Returns how many sessions a user has.
    pub fn count_of_user(&self, user: &Username) -> usize {
        self.users.count_of(user)
    }

    fn rankings(&self) -> [&Ranking<SessionCard>; 4] {
        [&self.by_bytes, &self.by_messages, &self.by_round_trip, &self.by_folded]
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    fn shard(&self, id: SessionId) -> &Mutex<BTreeMap<SessionId, Arc<SessionCard>>> {
        &self.cards[id.0 as usize % SHARDS]
    }
}

impl SessionCard {
    /// Returns the user. `None` if the session has not joined.
    pub fn user(&self) -> Option<Username> {
        self.user.lock().clone()
    }

    /// Returns the address of the client.
    pub fn address(&self) -> IpAddr {
        *self.address.lock()
    }

    /// Returns whether the connection was lost, and the client may come back.
    pub fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    /// Returns the transport that carries the session.
    pub fn transport(&self) -> TransportKind {
        if self.transport.load(Ordering::Relaxed) == TransportKind::Polling as u8 {
            TransportKind::Polling
        } else {
            TransportKind::WebSocket
        }
    }

    /// Returns what waits to be written to the client.
    pub fn waiting(&self) -> Waiting {
        self.outbox.upgrade().map_or_else(Waiting::default, |outbox| outbox.waiting())
    }

    /// Returns the round trip of the last heartbeat. `None` if there was none.
    pub fn round_trip(&self) -> Option<Duration> {
        let us = self.round_trip_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us.into()))
    }

    /// Closes the session. Returns false if it has been closed already.
    pub fn close(&self, reason: CloseReason) -> bool {
        self.outbox.upgrade().is_some_and(|outbox| outbox.close(reason))
    }

    /// Has the session ask the directory again for its conversations.
    pub fn refresh(&self) {
        self.refresh.store(true, Ordering::Release);
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.wake();
        }
    }

    fn offer(self: &Arc<Self>) {
        let (board, now_ms) = (&self.board, self.board.now_ms());
        board.rankings().iter().for_each(|ranking| ranking.offer(self, now_ms));
    }
}

impl Ranked for SessionCard {
    fn places(&self) -> &Places {
        &self.places
    }
}

impl Backlog for SessionCard {
    fn grew(self: Arc<Self>) {
        self.offer();
    }
}

impl fmt::Debug for SessionCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBoard").finish_non_exhaustive()
    }
}

impl SessionEntry {
    /// Returns the card.
    pub fn card(&self) -> &Arc<SessionCard> {
        &self.0
    }

    /// Returns whether the session is to ask the directory again for its conversations, once for each call of
    /// [`SessionCard::refresh`].
    pub fn takes_refresh(&self) -> bool {
        self.0.refresh.load(Ordering::Relaxed) && self.0.refresh.swap(false, Ordering::Acquire)
    }

    /// Notes the transport that carries the session now.
    pub fn moved(&self, transport: TransportKind) {
        self.0.transport.store(transport as u8, Ordering::Relaxed);
    }

    /// Takes note of a heartbeat, with its round trip if the client has answered one.
    pub fn beat(&self, round_trip: Option<Duration>) {
        if let Some(round_trip) = round_trip {
            let us = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX).max(1);
            self.0.round_trip_us.store(us, Ordering::Relaxed);
        }
        self.0.offer();
    }

    /// Takes note that the connection was lost, and that the client may come back.
    pub fn kept(&self) {
        self.0.is_kept.store(true, Ordering::Relaxed);
    }

    /// Takes note that the client has come back, from this address.
    pub fn came_back(&self, address: IpAddr, transport: TransportKind) {
        *self.0.address.lock() = address;
        self.0.is_kept.store(false, Ordering::Relaxed);
        self.moved(transport);
    }

    /// Remembers the session as closed. It stays on the board until this value is dropped.
    pub fn closed(&self, reason: CloseReason) {
        let card = &self.0;
        card.board.closed.add(ClosedSession {
            id: card.id,
            user: card.user(),
            address: card.address(),
            generation: card.generation,
            transport: card.transport(),
            opened_ms: card.opened_ms,
            closed_ms: card.board.now_ms(),
            folded: card.waiting().folded,
            reason,
        });
    }
}

impl Drop for SessionEntry {
    fn drop(&mut self) {
        let (card, board) = (&self.0, &self.0.board);
        board.shard(card.id).lock().remove(&card.id);
        ranking::remove(card, board.rankings());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, OutboxPolicy};
    use crate::delivery::fold::News;
    use crate::delivery::limits::OutboxLimits;
    use crate::event::Talk;
    use crate::metrics::{Metrics, ReadAtScrape};
    use crate::protocol::frame::Frame;
    use std::net::Ipv4Addr;

    fn session(board: &Arc<SessionBoard>, id: u64) -> (SessionEntry, Arc<Outbox>) {
        let policy = OutboxPolicy::Drop;
        let limits = config::Outbox { messages_max: 20, bytes_max: 100_000, policy, grace_ms: 30_000 };
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let outbox = Arc::new(Outbox::new(Generation::Eio4, Arc::new(OutboxLimits::new(&limits)), metrics));
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        (board.enter(SessionId(id), address, TransportKind::WebSocket, &outbox), outbox)
    }

    fn ids(cards: &[Arc<SessionCard>]) -> Vec<u64> {
        cards.iter().map(|card| card.id.0).collect()
    }

    #[test]
    fn sessions_are_ranked_by_what_has_happened_to_them() {
        let board = SessionBoard::new(Instant::now());
        let sessions: Vec<_> = (1..=4).map(|id| session(&board, id)).collect();
        let talk = Talk { conversation: "c".into(), timestamp: None, message_id: None };
        let news = News::Update { namespace: "/max".into(), username: Username::parse("u").unwrap(), talk };
        for (count, (_, outbox)) in [10, 30, 25, 18].into_iter().zip(&sessions) {
            (0..count).for_each(|_| _ = outbox.push_news(Frame::text("4x"), &news));
        }
        let top = |measure| ids(&board.top(measure, 10));
        assert_eq!(top(SessionMeasure::Folded), [2, 3], "those with more than fits");
        assert_eq!((top(SessionMeasure::Messages).len(), top(SessionMeasure::Bytes).len()), (3, 0));
        for (ms, (entry, _)) in [5, 20, 7, 1].into_iter().zip(&sessions) {
            entry.beat(Some(Duration::from_millis(ms)));
        }
        assert_eq!(top(SessionMeasure::RoundTrip), [2, 3, 1, 4]);
        sessions[1].0.beat(Some(Duration::from_millis(2)));
        assert_eq!(top(SessionMeasure::RoundTrip), [3, 1, 2, 4]);
        assert_eq!(ids(&board.oldest(3)), [1, 2, 3]);
        drop(sessions);
        assert!(board.oldest(10).is_empty() && top(SessionMeasure::RoundTrip).is_empty());
        assert!(top(SessionMeasure::Folded).is_empty() && top(SessionMeasure::Messages).is_empty());
    }

    #[test]
    fn a_session_shows_its_user_as_long_as_it_has_one() {
        let board = SessionBoard::new(Instant::now());
        let (entry, _outbox) = session(&board, 1);
        let [messi, xavi] = ["messi", "xavi"].map(|name| Username::parse(name).unwrap());
        let user = || entry.card().user();
        assert!(user().is_none() && board.note(&messi, SessionId(1), 0));
        assert_eq!((user().as_ref(), ids(&board.of_user(&messi, 10))), (Some(&messi), vec![1]));
        assert!(board.note(&xavi, SessionId(1), 0));
        board.forget(&messi, SessionId(1));
        assert_eq!((user().as_ref(), board.of_user(&messi, 10).len()), (Some(&xavi), 0));
        board.forget(&xavi, SessionId(1));
        assert!(user().is_none() && board.of_user(&xavi, 10).is_empty());
    }

    #[test]
    fn the_last_closed_sessions_are_remembered() {
        let board = SessionBoard::new(Instant::now());
        for id in 0..250 {
            session(&board, id).0.closed(CloseReason::Stop);
        }
        let closed = board.closed.newest_first();
        assert_eq!((closed.len(), closed[0].id, closed[199].id), (200, SessionId(249), SessionId(50)));
    }
}
