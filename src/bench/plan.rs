//! What a run is to do: connections by transports, conversations and their sizes, talks, churn. Pure: the same seed
//! gives the same plan.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use crate::event::ConversationId;
use crate::protocol::{Generation, TransportKind};

/// 2^64 divided by the golden ratio, odd: its multiples modulo 2^64 are as far from each other as can be.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The longest time of talks that a plan may have, for each of warm-up and measured time.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(3600);

/// How a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// What it speaks.
    pub generation: Generation,
    /// Over what.
    pub transport: TransportKind,
}

/// How conversations differ in size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    /// All have as many members.
    Even,
    /// The k-th largest has members in proportion to 1/k^s.
    Zipf(f64),
    /// As MAX decides, of which the bench learns when its users join.
    Learnt,
}

/// When talks are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many talks a second over all conversations, whatever the server does: latency counts from when a talk was to
    /// be sent, so that a stall is not hidden.
    Open {
        /// Talks per second.
        rate: f64,
    },
    /// So many talks under way at a time: the next is sent when one has been heard by all members.
    Closed {
        /// Talks under way.
        window: usize,
    },
}

/// The whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Connections: one user each, `user_prefix` and a number from 0 on.
    pub connections: usize,
    /// Members of a conversation, on average.
    pub members: usize,
    /// How sizes differ, where the bench has a say in it.
    pub sizes: Sizes,
    /// When talks are sent.
    pub pace: Pace,
    /// Connections opened per second.
    pub ramp: f64,
    /// Measured time, behind the warm-up.
    pub duration: Duration,
    /// Talks before the measured time.
    pub warm_up: Duration,
    /// Bytes of an update, more or less.
    pub payload_bytes: usize,
    /// How connections are made, by weight.
    pub mix: Vec<(Way, u32)>,
    /// Leaves and joins per second.
    pub churn: f64,
    /// The share of connections that stop reading, 0 to 1.
    pub slow_share: f64,
    /// What user names begin with.
    pub user_prefix: String,
    /// Where random choices begin.
    pub seed: u64,
}

/// Who is in which conversation. Users are numbers from 0 on, conversations too; the first member of a conversation is
/// its talker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    ids: Vec<ConversationId>,
    by_id: HashMap<ConversationId, usize>,
    members: Table,
    /// The same from the other side.
    conversations: Table,
}

/// Rows of numbers, in one piece.
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
    /// As users have heard it in `listening`: each with the ids of its conversations, in any order. The largest comes
    /// first. That nobody has to talk for all, the talker of each is the member that was chosen least often before.
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

    /// How many conversations there are.
    pub fn conversations(&self) -> usize {
        self.ids.len()
    }

    /// What conversation `k` is called.
    ///
    /// # Panics
    /// There is no such, as with [`Layout::talker`].
    pub fn id(&self, k: usize) -> &ConversationId {
        &self.ids[k]
    }

    /// Which conversation is called so.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The users in conversation `k`, the talker first.
    pub fn members(&self, k: usize) -> &[usize] {
        self.members.row(k)
    }

    /// How many users are in conversation `k`.
    pub fn size(&self, k: usize) -> usize {
        self.members(k).len()
    }

    /// Who talks in conversation `k`.
    pub fn talker(&self, k: usize) -> usize {
        self.members(k)[0]
    }

    /// All conversations that `user` is in, rising.
    pub fn conversations_of(&self, user: usize) -> &[usize] {
        self.conversations.row(user)
    }

    /// Members of the largest conversation, which is the first.
    pub fn members_max(&self) -> usize {
        self.size(0)
    }

    /// The conversations in which a talk is heard by somebody else.
    fn heard(&self) -> impl Iterator<Item = usize> {
        (0..self.conversations()).filter(|&k| self.size(k) > 1)
    }
}

/// How each connection is made, by its number: each way as often as its weight asks for, and spread as evenly as can
/// be over any stretch of numbers, without a period that could coincide with that of conversations (all talkers on one
/// transport). Nothing where no way has a weight.
pub fn ways(plan: &Plan) -> impl Iterator<Item = Way> {
    let cumulate = |sum: &mut u64, &(_, weight): &(Way, u32)| {
        *sum += u64::from(weight);
        Some(*sum)
    };
    let bounds = plan.mix.iter().scan(0, cumulate).collect::<Vec<_>>();
    let total = bounds.last().copied().unwrap_or(0);
    let connections = if total > 0 { plan.connections } else { 0 };
    // The multiples of the golden ratio, modulo 1, fill an interval evenly from the first on; their ranks divide it up.
    let mut ranked = Vec::from_iter(0..connections);
    ranked.sort_unstable_by_key(|&number| (number as u64).wrapping_mul(GOLDEN));
    let mut ways = vec![0; connections];
    for (rank, number) in ranked.into_iter().enumerate() {
        let at = (rank as u128 * u128::from(total) / connections as u128) as u64;
        ways[number] = bounds.partition_point(|&bound| bound <= at);
    }
    ways.into_iter().map(|at| plan.mix[at].0)
}

/// Which conversation talks when, in an open loop. Talks are counted from 0 on. The conversations that somebody can
/// hear take turns, in an order that the seed shuffles; so each talks as often as any other, whatever its size.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    rate: f64,
    order: Vec<usize>,
}

impl Schedule {
    /// `rate` talks per second over all conversations; none where nobody could hear a talk, or the rate is not a
    /// positive number.
    pub fn new(layout: &Layout, rate: f64, seed: u64) -> Option<Self> {
        let mut order = layout.heard().collect::<Vec<_>>();
        Random::new(seed).shuffle(&mut order);
        (!order.is_empty() && rate.is_finite() && rate > 0.0).then_some(Self { rate, order })
    }

    /// When the `n`-th talk is to be sent, in µs from the start.
    pub fn due_us(&self, n: u64) -> u64 {
        (n as f64 * 1e6 / self.rate) as u64
    }

    /// Which conversation the `n`-th talk is in.
    pub fn conversation(&self, n: u64) -> usize {
        self.order[(n % self.order.len() as u64) as usize]
    }

    /// The turns of the conversations that `is_mine` picks, such as those of one thread: the number of a talk and its
    /// conversation, rising, without end unless it picks none.
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

/// Random numbers that the seed decides (SplitMix64): for choices of a bench, not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }

    /// Puts `items` into an order of chance.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests;
