//! The cards of conversations. `D` is the way to a conversation, which the actors know.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::ranking::{self, Places, Ranked, Ranking};
use super::rate::RecentRate;
use crate::event::ConversationId;

/// Shards of the table of cards.
const SHARDS: usize = 16;

/// A shard keeps room for this number of cards.
const ROOM_MIN: usize = 128;

/// The measures by which conversations are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversationMeasure {
    /// Sessions that listen.
    Members,
    /// Talks in the last seconds.
    Talks,
    /// Events given to members in the last seconds.
    Deliveries,
}

/// The cards of all living conversations of a server.
pub struct ConversationBoard<D> {
    began: Instant,
    shards: [Mutex<HashMap<ConversationId, Arc<ConversationCard<D>>>>; SHARDS],
    hasher: RandomState,
    by_members: Ranking<ConversationCard<D>>,
    by_talks: Ranking<ConversationCard<D>>,
    by_deliveries: Ranking<ConversationCard<D>>,
}

/// One conversation.
pub struct ConversationCard<D> {
    /// The id that MAX gives it.
    pub id: ConversationId,
    /// When it was spawned, in milliseconds since the server began.
    pub opened_ms: u64,
    places: Places,
    sessions: AtomicU32,
    users: AtomicU32,
    talks: AtomicU64,
    deliveries: AtomicU64,
    talk_rate: RecentRate,
    delivery_rate: RecentRate,
    door: OnceLock<D>,
}

/// The card of a conversation as its actor holds it. Its drop takes the card off the board.
pub struct ConversationEntry<D> {
    card: Arc<ConversationCard<D>>,
    board: Arc<ConversationBoard<D>>,
}

/// The figures of a conversation at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Sessions that listen.
    pub sessions: u32,
    /// Users that listen, regardless of how many sessions each has.
    pub users: u32,
    /// Talks since it was spawned.
    pub talks: u64,
    /// Events given to members since it was spawned.
    pub deliveries: u64,
    /// Talks per thousand seconds, now.
    pub talks_per_1000_s: u64,
    /// Events given to members per thousand seconds, now.
    pub deliveries_per_1000_s: u64,
}

impl<D> ConversationBoard<D> {
    /// Creates the board of a server that began at `began`.
    pub fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            began,
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            by_members: Ranking::new(0, 0, |card: &ConversationCard<D>, _| {
                card.sessions.load(Ordering::Relaxed).into()
            }),
            by_talks: Ranking::new(1, 0, |card, now_ms| card.talk_rate.per_1000_s(now_ms)),
            by_deliveries: Ranking::new(2, 0, |card, now_ms| card.delivery_rate.per_1000_s(now_ms)),
        })
    }

    /// Creates a card that is not on the board yet.
    pub fn card(&self, id: ConversationId) -> Arc<ConversationCard<D>> {
        Arc::new(ConversationCard {
            id,
            opened_ms: self.now_ms(),
            places: Places::default(),
            sessions: AtomicU32::new(0),
            users: AtomicU32::new(0),
            talks: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            talk_rate: RecentRate::default(),
            delivery_rate: RecentRate::default(),
            door: OnceLock::new(),
        })
    }

    /// Enters a conversation. Its card is on the board as long as the returned value. It replaces the card of an older
    /// actor of the same conversation.
    pub fn enter(self: &Arc<Self>, card: Arc<ConversationCard<D>>) -> ConversationEntry<D> {
        self.shard(card.id.as_str()).lock().insert(card.id.clone(), card.clone());
        ConversationEntry { card, board: self.clone() }
    }

    /// Returns the card of a conversation. `None` if the conversation does not live.
    pub fn get(&self, id: &str) -> Option<Arc<ConversationCard<D>>> {
        self.shard(id).lock().get(id).cloned()
    }

    /// Returns all conversations that live.
    pub fn ids(&self) -> Vec<ConversationId> {
        self.shards.iter().flat_map(|cards| cards.lock().keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// Returns the `count` conversations with the highest values, the highest first.
    pub fn top(&self, measure: ConversationMeasure, count: usize) -> Vec<Arc<ConversationCard<D>>> {
        let ranking = match measure {
            ConversationMeasure::Members => &self.by_members,
            ConversationMeasure::Talks => &self.by_talks,
            ConversationMeasure::Deliveries => &self.by_deliveries,
        };
        ranking.top(count, self.now_ms()).into_iter().map(|(_, card)| card).collect()
    }

    /// Returns the figures of a conversation.
    pub fn figures(&self, card: &ConversationCard<D>) -> Figures {
        let now_ms = self.now_ms();
        Figures {
            sessions: card.sessions.load(Ordering::Relaxed),
            users: card.users.load(Ordering::Relaxed),
            talks: card.talks.load(Ordering::Relaxed),
            deliveries: card.deliveries.load(Ordering::Relaxed),
            talks_per_1000_s: card.talk_rate.per_1000_s(now_ms),
            deliveries_per_1000_s: card.delivery_rate.per_1000_s(now_ms),
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    fn shard(&self, id: &str) -> &Mutex<HashMap<ConversationId, Arc<ConversationCard<D>>>> {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}

impl<D> ConversationCard<D> {
    /// Notes the way to the conversation.
    pub fn open_door(&self, door: D) {
        let _ = self.door.set(door);
    }

    /// Returns the way to the conversation. `None` if it is spawned just now.
    pub fn door(&self) -> Option<&D> {
        self.door.get()
    }
}

impl<D> ConversationEntry<D> {
    /// Notes who listens now.
    pub fn members(&self, sessions: usize, users: usize) {
        self.card.sessions.store(sessions.try_into().unwrap_or(u32::MAX), Ordering::Relaxed);
        self.card.users.store(users.try_into().unwrap_or(u32::MAX), Ordering::Relaxed);
        self.board.by_members.offer(&self.card, self.board.now_ms());
    }

    /// Returns the talks until now.
    pub fn talks(&self) -> u64 {
        self.card.talks.load(Ordering::Relaxed)
    }

    /// Counts events given to members, and the talk that they tell of, if it is one.
    pub fn delivered(&self, events: u64, is_talk: bool) {
        let Self { card, board } = self;
        let now_ms = board.now_ms();
        // Only this thread writes.
        let add = |total: &AtomicU64, more: u64| total.store(total.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        if is_talk {
            add(&card.talks, 1);
            card.talk_rate.add(1, now_ms);
            board.by_talks.offer(card, now_ms);
        }
        add(&card.deliveries, events);
        card.delivery_rate.add(events.try_into().unwrap_or(u32::MAX), now_ms);
        board.by_deliveries.offer(card, now_ms);
    }
}

impl<D> Drop for ConversationEntry<D> {
    fn drop(&mut self) {
        let Self { card, board } = self;
        let mut shard = board.shard(card.id.as_str()).lock();
        if let Entry::Occupied(entered) = shard.entry(card.id.clone())
            && Arc::ptr_eq(entered.get(), card)
        {
            entered.remove();
        }
        // Frees the memory that a storm of conversations took.
        if shard.capacity() > ROOM_MIN && shard.len() < shard.capacity() / 4 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
        drop(shard);
        ranking::remove(card, [&board.by_members, &board.by_talks, &board.by_deliveries]);
    }
}

impl<D> Ranked for ConversationCard<D> {
    fn places(&self) -> &Places {
        &self.places
    }
}

impl<D> fmt::Debug for ConversationBoard<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConversationBoard").finish_non_exhaustive()
    }
}
