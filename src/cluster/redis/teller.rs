//! Tells the conversations of a server what they have to know, at a bounded rate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cluster::door::FromBus;
use crate::cluster::shard::{Again, Shard};
use crate::cluster::tours::Tours;
use crate::limits::bucket::{Bucket, Rate};

/// The conversations that are told in one turn.
const TELL_MAX: usize = 512;

/// The time over which conversations are told that the bus is away.
const OUTAGE_SPREAD: Duration = Duration::from_secs(1);

/// What the conversations of a server have yet to be told. The one of a server that leads tells the news for all too.
#[derive(Debug)]
pub(super) struct Teller {
    shard: Arc<Shard>,
    outages: Tours<FromBus>,
    /// The conversations that are subscribed again.
    again: VecDeque<Again>,
    pace: Bucket,
}

impl Teller {
    /// Creates the teller of a server, which has nothing to tell.
    pub(super) fn new(shard: Arc<Shard>) -> Self {
        Self { shard, outages: Tours::default(), again: VecDeque::new(), pace: Bucket::default() }
    }

    /// Begins to tell that the server is away.
    pub(super) fn away(&mut self) {
        let number = self.shard.context.next_outage();
        self.shard.outage.store(number, Ordering::SeqCst);
        self.outages.within(FromBus::Outage { number, ongoing: true }, self.shard.audience(), OUTAGE_SPREAD);
    }

    /// Begins to tell that the server is back. The beginning of the outage may not have been told.
    pub(super) fn back(&mut self) {
        // A conversation that is attached from here on is not told of the outage.
        let told = self.shard.outage.swap(0, Ordering::SeqCst);
        let number = self.shard.context.end_of_outage(told);
        let spread = self.shard.context.settings.missed_spread;
        self.outages.within(FromBus::Outage { number, ongoing: false }, self.shard.audience(), spread);
    }

    /// Notes a conversation that is subscribed again.
    pub(super) fn again(&mut self, again: Again) {
        self.again.push_back(again);
    }

    /// Forgets who is subscribed again, because the connection is lost: they are told the next time.
    pub(super) fn disconnected(&mut self) {
        self.again.clear();
    }

    /// Leaves it to the servers that remain to tell that this one was back. That it is away holds for none of its
    /// conversations any more.
    pub(super) fn retire(&mut self) {
        let mut left = std::mem::take(&mut self.outages);
        left.retain(|news| matches!(news, FromBus::Outage { ongoing: false, .. }));
        self.shard.bequeath(left);
    }

    /// Whether there is something to tell.
    pub(super) fn is_active(&self) -> bool {
        let tells_all = || self.shard.leads() && self.shard.news.lock().is_active();
        self.outages.is_active() || !self.again.is_empty() || tells_all()
    }

    /// Whether there is something to tell without which a conversation would not know what it has missed.
    pub(super) fn tells_of_loss(&self) -> bool {
        let tells_all = || self.shard.leads() && self.shard.news.lock().tells_of_loss();
        self.outages.is_active() || !self.again.is_empty() || tells_all()
    }

    /// Tells what is due; and of room in the queue if `tells_of_room`.
    pub(super) fn tell(&mut self, tells_of_room: bool, now: Instant) {
        let outage = self.outages.due(TELL_MAX, now);
        let (news, everybody) = if self.shard.leads() {
            self.shard.begin_to_tell_of_lost();
            self.shard.news.lock().due(TELL_MAX, now)
        } else {
            (None, Vec::new())
        };
        for (news, ids) in outage.into_iter().chain(news) {
            ids.iter().for_each(|id| self.shard.tell_id(id, news.clone()));
        }
        for (everybody, ids) in everybody {
            ids.iter().for_each(|id| self.shard.give_everybody(id, &everybody));
        }
        let per_second = u64::from(self.shard.context.settings.resync_per_s);
        let rate = Rate { per_second, burst: (per_second / 50).max(1) };
        for _ in 0..TELL_MAX {
            if self.pace.wait(rate, 1, now) > Duration::ZERO {
                break;
            }
            if let Some(again) = self.again.pop_front() {
                self.shard.tell_again(&again);
            } else {
                let hole = if tells_of_room { self.shard.queue.lock().take_hole() } else { None };
                let Some(id) = hole else { break };
                self.shard.tell_id(&id, FromBus::Room);
            }
            self.pace.charge(rate, 1, now);
        }
    }
}
