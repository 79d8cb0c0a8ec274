//! The plan of a run: connections by transport, conversations and their sizes, talks, churn. Pure: the same seed gives
//! the same plan.

mod bursts;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

pub use self::bursts::Bursts;
use crate::event::ConversationId;
use crate::protocol::{Generation, TransportKind};

/// 2^64 divided by the golden ratio, odd. Its multiples modulo 2^64 are spread as evenly as possible.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The longest warm-up, and the longest measured time, that a plan may have.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(3600);

/// The p99 lag of the generator that a run without an objective allows, and the least that any run allows by default.
pub(super) const LAG_MAX: Duration = Duration::from_millis(1);

/// How a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The generation of the protocol.
    pub generation: Generation,
    /// The transport.
    pub transport: TransportKind,
}

/// How the sizes of conversations differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    /// All conversations have the same number of members.
    Even,
    /// The size of the k-th largest conversation is proportional to 1/k^s.
    Zipf(f64),
    /// MAX decides; the bench learns the sizes when its users join.
    Learnt,
}

/// When talks are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Talks are sent at a fixed rate, whatever the server does. Latency counts from the intended time of sending, so
    /// that a stall is not hidden.
    Open {
        /// Talks per second over all conversations.
        rate: f64,
    },
    /// As many talks as at a fixed rate, but in bursts of ten times this rate, with silence between them: see
    /// [`Bursts`]. Latency counts from the intended time of sending.
    Bursts {
        /// Talks per second over all conversations, on average.
        rate: f64,
    },
    /// A fixed number of talks is in flight: the next talk is sent when all members have heard one.
    Closed {
        /// Number of talks in flight.
        window: usize,
    },
}

impl Pace {
    /// Returns the planned talks per second. `None` in the closed loop, which plans none.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Open { rate } | Self::Bursts { rate } => Some(rate),
            Self::Closed { .. } => None,
        }
    }
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Number of connections. Each has one user, by default `user_prefix` and a number from 0.
    pub connections: usize,
    /// Average members of a conversation.
    pub members: usize,
    /// Average conversations of a user.
    pub conversations_per_user: usize,
    /// How the sizes of conversations differ.
    pub sizes: Sizes,
    /// When talks are sent.
    pub pace: Pace,
    /// Connections opened per second.
    pub ramp: f64,
    /// Measured time, after the warm-up.
    pub duration: Duration,
    /// Time of talks before the measured time.
    pub warm_up: Duration,
    /// Approximate bytes of an update.
    pub payload_bytes: usize,
    /// The ways in which connections are made, each with its weight.
    pub mix: Vec<(Way, u32)>,
    /// Leaves per second, each followed by a join.
    pub churn: f64,
    /// The share of connections that stop reading, 0 to 1.
    pub slow_share: f64,
    /// Prefix of the usernames.
    pub user_prefix: String,
    /// The seed of all random choices.
    pub seed: u64,
    /// How much later than planned a talk may be sent, at p99, in an open loop.
    pub lag_max: Duration,
}

/// The members of each conversation. Users and conversations are numbered from 0. The first member of a conversation is
/// its talker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    ids: Vec<ConversationId>,
    by_id: HashMap<ConversationId, usize>,
    /// The users in each conversation.
    members: Table,
    /// The conversations of each user.
    conversations: Table,
}

/// Rows of numbers in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    numbers: Vec<usize>,
    rows: Vec<Range<usize>>,
}

impl Table {
    fn push(&mut self, row: impl IntoIterator<Item = usize>) {
        let start = self.numbers.len();
        self.numbers.extend(row);
        self.rows.push(start..self.numbers.len());
    }

    fn row(&self, at: usize) -> &[usize] {
        self.rows.get(at).map_or(&[], |row| &self.numbers[row.clone()])
    }
}

impl Layout {
    /// Returns the layout that users heard in `listening`: each user with the ids of its conversations, in any order.
    /// Conversations are sorted by size, the largest first. The talker of each is the member that was chosen least
    /// often before, so that no user has to talk for all.
    pub fn learnt<'a, Ids: IntoIterator<Item = &'a str>>(heard: impl IntoIterator<Item = (usize, Ids)>) -> Self {
        let mut table: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (user, ids) in heard {
            for id in ids {
                table.entry(id).or_default().push(user);
            }
        }
        let sorted = |(id, mut members): (&str, Vec<usize>)| {
            members.sort_unstable();
            members.dedup();
            (ConversationId::from(id), members)
        };
        let mut rows = table.into_iter().map(sorted).collect::<Vec<_>>();
        rows.sort_by_key(|(_, members)| Reverse(members.len()));
        let mut talks: HashMap<usize, usize> = HashMap::new();
        for (_, members) in &mut rows {
            let talker = members.iter().enumerate().min_by_key(|(_, user)| talks.get(user).copied().unwrap_or(0));
            if let Some(at) = talker.map(|(at, _)| at) {
                members[..=at].rotate_right(1);
                *talks.entry(members[0]).or_default() += 1;
            }
        }
        Self::of(rows)
    }

    fn of(rows: Vec<(ConversationId, Vec<usize>)>) -> Self {
        let mut layout = Self::default();
        let users = rows.iter().flat_map(|(_, members)| members).max().map_or(0, |user| user + 1);
        let mut of_user = vec![Vec::new(); users];
        for (k, (id, members)) in rows.into_iter().enumerate() {
            members.iter().for_each(|&user| of_user[user].push(k));
            layout.by_id.insert(id.clone(), k);
            layout.ids.push(id);
            layout.members.push(members);
        }
        of_user.into_iter().for_each(|conversations| layout.conversations.push(conversations));
        layout
    }

    /// Returns the number of conversations.
    pub fn conversations(&self) -> usize {
        self.ids.len()
    }

    /// Returns the id of conversation `k`.
    ///
    /// # Panics
    /// There is no conversation `k`.
    pub fn id(&self, k: usize) -> &ConversationId {
        &self.ids[k]
    }

    /// Returns the number of the conversation with this id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Returns the users in conversation `k`, the talker first.
    pub fn members(&self, k: usize) -> &[usize] {
        self.members.row(k)
    }

    /// Returns the number of users in conversation `k`.
    pub fn size(&self, k: usize) -> usize {
        self.members(k).len()
    }

    /// Returns the talker of conversation `k`.
    ///
    /// # Panics
    /// There is no conversation `k`.
    pub fn talker(&self, k: usize) -> usize {
        self.members(k)[0]
    }

    /// Returns all conversations of `user`, rising.
    pub fn conversations_of(&self, user: usize) -> &[usize] {
        self.conversations.row(user)
    }

    /// Returns the number of members of the largest conversation, which is the first.
    pub fn members_max(&self) -> usize {
        self.size(0)
    }

    /// Returns the conversations in which a talk has a listener.
    fn heard(&self) -> impl Iterator<Item = usize> {
        (0..self.conversations()).filter(|&k| self.size(k) > 1)
    }
}

/// Returns how each connection is made, in order. Empty if no way has a weight.
///
/// Over any stretch of connections, the ways have the shares of their weights as evenly as possible. They do not repeat
/// with a period, which might coincide with that of the conversations and put all talkers on one transport.
pub fn ways(plan: &Plan) -> impl Iterator<Item = Way> {
    let cumulate = |sum: &mut u64, &(_, weight): &(Way, u32)| {
        *sum += u64::from(weight);
        Some(*sum)
    };
    let bounds = plan.mix.iter().scan(0, cumulate).collect::<Vec<_>>();
    let total = bounds.last().copied().unwrap_or(0);
    let connections = if total > 0 { plan.connections } else { 0 };
    // Multiples of the golden ratio modulo 1 fill an interval evenly from the first on. Their ranks divide it by
    // weight.
    let mut ranked = Vec::from_iter(0..connections);
    ranked.sort_unstable_by_key(|&number| (number as u64).wrapping_mul(GOLDEN));
    let mut ways = vec![0; connections];
    for (rank, number) in ranked.into_iter().enumerate() {
        let at = (rank as u128 * u128::from(total) / connections as u128) as u64;
        ways[number] = bounds.partition_point(|&bound| bound <= at);
    }
    ways.into_iter().map(|at| plan.mix[at].0)
}

/// Returns the node of each connection, in order. The connections are dealt to the nodes in turns, in an order that the
/// seed shuffles: each node has as many, and no period of the conversations puts all their members on one node.
pub fn nodes(plan: &Plan, nodes: usize) -> Vec<usize> {
    let mut order = Vec::from_iter(0..plan.connections);
    // Other choices of this seed do not depend on this one.
    Random::new(!plan.seed).shuffle(&mut order);
    let mut dealt = vec![0; plan.connections];
    for (turn, number) in order.into_iter().enumerate() {
        dealt[number] = turn % nodes.max(1);
    }
    dealt
}

/// The conversation and time of each talk. Talks are numbered from 0. The conversations with listeners take turns in an
/// order that the seed shuffles, so all talk equally often, whatever their size. A closed loop has the same turns, and
/// ignores the times.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    rate: f64,
    order: Vec<usize>,
    bursts: Option<Bursts>,
}

impl Schedule {
    /// Returns the schedule of `rate` talks per second over all conversations. `None` if nobody would hear a talk, or
    /// the rate is not a positive number.
    pub fn new(layout: &Layout, rate: f64, seed: u64) -> Option<Self> {
        let mut order = layout.heard().collect::<Vec<_>>();
        Random::new(seed).shuffle(&mut order);
        (!order.is_empty() && rate.is_finite() && rate > 0.0).then_some(Self { rate, order, bursts: None })
    }

    /// Returns the same talks in these bursts, or at a steady rate if there are none.
    pub fn in_bursts(self, bursts: Option<Bursts>) -> Self {
        Self { bursts, ..self }
    }

    /// Returns the intended time of the `n`-th talk, in µs from the start.
    pub fn due_us(&self, n: u64) -> u64 {
        let steady_us = (n as f64 * 1e6 / self.rate) as u64;
        self.bursts.map_or(steady_us, |bursts| bursts.due_us(steady_us))
    }

    /// Returns the conversation of the `n`-th talk.
    pub fn conversation(&self, n: u64) -> usize {
        self.order[(n % self.order.len() as u64) as usize]
    }

    /// Returns the talks in the conversations that `is_mine` picks, such as those of one thread: pairs of the number of
    /// the talk and its conversation, rising. Endless unless `is_mine` picks none.
    pub fn turns<F: Fn(usize) -> bool>(&self, is_mine: F) -> impl Iterator<Item = (u64, usize)> + use<F> {
        let mine = (0..).zip(&self.order).filter(|&(_, &k)| is_mine(k)).map(|(at, &k)| (at, k)).collect::<Vec<_>>();
        let (round, picked) = (self.order.len() as u64, mine.len() as u64);
        let turns = if mine.is_empty() { 0 } else { u64::MAX / round };
        (0..turns).map(move |turn| {
            let (at, k): (u64, usize) = mine[(turn % picked) as usize];
            (turn / picked * round + at, k)
        })
    }
}

/// A random number generator with a seed (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator. The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }

    /// Shuffles `items`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests;
