//! When a thread sends its talks in an open loop, and when its users leave in churn.

use std::ops::Range;
use std::sync::Arc;

use super::{Field, Run, Times};
use crate::bench::plan::Random;

/// A time that never comes, 35 years away.
pub(super) const NEVER_US: u64 = 1 << 50;

/// The talks of one thread in an open loop: their times and conversations.
pub(super) struct Script {
    next: Option<(u64, usize)>,
    then: Box<dyn Iterator<Item = (u64, usize)>>,
}

/// Churn: users leave all conversations at a rate, and join again when the next one or the one after leaves. Talkers
/// stay.
pub(super) struct Churn {
    pub(super) listeners: Vec<usize>,
    begin_us: u64,
    rate: f64,
    pub(super) turns: u64,
    pub(super) away: Vec<usize>,
    pub(super) random: Random,
}

impl Script {
    pub(super) fn new(field: &Arc<Field>, times: Times, range: &Range<usize>) -> Option<Self> {
        let schedule = field.schedule.clone()?;
        let (field, range) = (Arc::clone(field), range.clone());
        let turns = schedule.turns(move |conversation| range.contains(&field.layout.talker(conversation)));
        let timed = turns.map(move |(n, conversation)| (times.begin_us + schedule.due_us(n), conversation));
        let mut then = Box::new(timed.take_while(move |(due_us, _)| *due_us < times.end_us));
        Some(Self { next: then.next(), then })
    }

    /// Returns when the next talk is due.
    pub(super) fn due_us(&self) -> u64 {
        self.next.map_or(NEVER_US, |(due_us, _)| due_us)
    }

    /// Takes the next talk, if it is due.
    pub(super) fn take(&mut self, now_us: u64) -> Option<(u64, usize)> {
        let due = self.next.take_if(|(due_us, _)| *due_us <= now_us)?;
        self.next = self.then.next();
        Some(due)
    }
}

impl Churn {
    /// Returns the churn of the users in `range`, those of thread `index`. `None` if nobody is to leave.
    pub(super) fn new(run: &Run, range: &Range<usize>, index: usize, field: &Field, times: Times) -> Option<Self> {
        let is_talker = |number: usize| {
            let mut conversations = field.layout.conversations_of(number).iter();
            conversations.any(|&conversation| field.layout.talker(conversation) == number)
        };
        let listens = |number: &usize| !run.users[*number].slow && !is_talker(*number);
        let listeners = range.clone().filter(listens).collect::<Vec<_>>();
        let rate = run.plan.churn * range.len() as f64 / run.plan.connections as f64;
        let random = Random::new(run.plan.seed ^ index as u64);
        let churn = Self { listeners, begin_us: times.begin_us, rate, turns: 0, away: Vec::new(), random };
        (!churn.listeners.is_empty() && rate > 0.0).then_some(churn)
    }

    /// Returns when the next user leaves.
    pub(super) fn due_us(&self) -> u64 {
        self.begin_us + ((self.turns + 1) as f64 * 1e6 / self.rate) as u64
    }
}
