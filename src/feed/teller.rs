//! Tells the conversations of this process what they may have missed, at a bounded rate.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::port::Taken;
use super::shared::Shared;
use crate::cluster::tours::Tours;
use crate::delivery::fold::Outage;
use crate::event::ConversationId;
use crate::metrics::FeedGap;

/// The conversations that are told in one turn.
const TELL_MAX: usize = 512;

/// The time over which conversations are told that RabbitMQ is away.
const OUTAGE_SPREAD: Duration = Duration::from_secs(1);

/// What the conversations have yet to be told.
#[derive(Debug)]
pub struct Teller {
    shared: Arc<Shared>,
    tours: Tours<Outage>,
    /// The living conversations that are owed the notice of a loss.
    owed: BTreeSet<ConversationId>,
}

impl Teller {
    /// Creates a teller that has nothing to tell.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tours: Tours::default(), owed: BTreeSet::new() }
    }

    /// Begins to tell that the server is away.
    pub fn away(&mut self) {
        let number = self.shared.next_outage();
        self.shared.outage.store(number, Ordering::SeqCst);
        self.tours.within(Outage { number, over: false }, self.shared.audience.conversations(), OUTAGE_SPREAD);
    }

    /// Begins to tell that anything may have been missed. The beginning of the outage may not have been told.
    pub fn back(&mut self, cause: FeedGap) {
        self.shared.count_gap(cause);
        // A conversation that is spawned from here on is not told of the outage.
        let told = self.shared.outage.swap(0, Ordering::SeqCst);
        // A session takes an end with a lower number than the last for one that it knows. The last may be of the bus.
        let is_last = told != 0 && told == self.shared.outages.load(Ordering::SeqCst);
        let number = if is_last { told } else { self.shared.next_outage() };
        // They cover what was owed to single conversations.
        self.owed.clear();
        let spread = self.shared.settings.missed_spread;
        self.tours.within(Outage { number, over: true }, self.shared.audience.conversations(), spread);
    }

    /// Owes a conversation the notice that some of its news may be lost.
    pub fn owe(&mut self, id: ConversationId, cause: FeedGap) {
        if self.owed.insert(id) {
            self.shared.count_gap(cause);
        }
    }

    /// Whether there is something to tell.
    pub fn is_active(&self) -> bool {
        self.tours.is_active() || !self.owed.is_empty()
    }

    /// Tells what is due.
    pub fn tell(&mut self, now: Instant) {
        let audience = &self.shared.audience;
        if let Some((outage, ids)) = self.tours.due(TELL_MAX, now) {
            ids.iter().for_each(|id| audience.outage(id, outage));
        }
        let owed: Vec<_> = self.owed.iter().take(TELL_MAX).cloned().collect();
        for id in owed {
            if audience.lost(&id) != Taken::Full {
                self.owed.remove(&id);
            }
        }
    }
}
