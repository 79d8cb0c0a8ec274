//! The mailboxes of one class: the bound that they have in common, and all measurements of them.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::histogram::{Distribution, HotHistogram};
use super::labels::{
    ActorClass, ActorEnd, ActorLabel, MailboxRefusal, MessageLabel, MessageName, RejectLabel, StopLabel,
};
use super::messages::MessageKind;
use super::peak::Peak;
use super::scraped::LimitGauge;
use super::striped::{HotCounter, HotGauge};
use super::table::Families;

/// The mailboxes of one class, together.
#[derive(Debug)]
pub struct MailboxMetrics {
    class: ActorClass,
    /// The bound of each mailbox of the class. It may be turned at any time; messages that wait already are kept.
    pub limit: LimitGauge,
    /// Messages in the mailboxes now.
    pub messages: HotGauge,
    /// Messages in the deepest single mailbox of the last minute.
    peak: Peak,
    /// The messages in a mailbox when one more has come, which counts too.
    depth: HotHistogram,
    /// By the number of the kind.
    kinds: Box<[KindMetrics]>,
    /// The actors of the class.
    pub actors: ActorMetrics,
}

/// The messages of one kind.
#[derive(Debug)]
pub struct KindMetrics {
    /// Messages offered.
    pub offered: HotCounter,
    /// Messages refused because the mailbox was full.
    pub full: Counter,
    /// Messages refused because the actor was gone.
    pub closed: Counter,
    /// Messages given up because they had waited for too long.
    pub late: Counter,
    /// Time from being put in to being handled.
    pub wait: HotHistogram,
    /// Time from being taken out until the actor has done its part.
    pub handle: HotHistogram,
}

/// Everything that is measured of the mailboxes of one class, as numbers. The rows of `/metrics` are read from the same
/// cells.
#[derive(Clone, Debug)]
pub struct MailboxReading {
    /// The class.
    pub class: ActorClass,
    /// The bound of each mailbox.
    pub capacity: usize,
    /// Messages in all mailboxes now.
    pub messages: u64,
    /// Messages in the deepest single mailbox of the last minute.
    pub peak: usize,
    /// Messages in the deepest single mailbox of the last one or two seconds.
    pub recent_peak: usize,
    /// The messages in a mailbox when one more had come.
    pub depth: Distribution,
    /// The kinds of message.
    pub kinds: Vec<KindReading>,
    /// The actors. `None` for the gate in front of MAX, which has none.
    pub actors: Option<ActorReading>,
}

/// The measurements of the messages of one kind.
#[derive(Clone, Debug)]
pub struct KindReading {
    /// The kind.
    pub message: MessageName,
    /// Messages offered.
    pub offered: u64,
    /// Messages refused because the mailbox was full.
    pub full: u64,
    /// Messages refused because the actor was gone.
    pub closed: u64,
    /// Messages given up because they had waited for too long.
    pub late: u64,
    /// Times from being put in to being handled, in seconds.
    pub wait: Distribution,
    /// Times from being taken out until the actor had done its part, in seconds.
    pub handle: Distribution,
}

/// The numbers of actors of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorReading {
    /// Actors alive now.
    pub living: u64,
    /// Actors ever started.
    pub started: u64,
    /// Actors that ended as they should.
    pub stopped: u64,
    /// Actors that ended by a panic.
    pub panicked: u64,
}

/// The actors of one class.
#[derive(Debug, Default)]
pub struct ActorMetrics {
    /// Living actors.
    pub living: Gauge,
    /// Actors ever started.
    pub started: Counter,
    /// Actors that ended as they should.
    pub stopped: Counter,
    /// Actors that ended by a panic.
    pub panicked: Counter,
}

impl MailboxMetrics {
    /// Creates the rows of a class. Its mailboxes have no bound yet.
    pub(super) fn new(class: ActorClass, families: &Families) -> Self {
        let label = ActorLabel { actor: class };
        let limit = families.mailbox_capacity_messages.get_or_create_owned(&label);
        limit.set(usize::MAX);
        Self {
            class,
            limit,
            messages: families.mailbox_messages.get_or_create_owned(&label),
            peak: families.mailbox_peak_messages.get_or_create_owned(&label),
            depth: families.mailbox_depth_messages.get_or_create_owned(&label),
            kinds: class.messages().iter().map(|message| KindMetrics::new(class, *message, families)).collect(),
            // The gate in front of MAX is no actor, so its rows are missing.
            actors: if class == ActorClass::Max { ActorMetrics::default() } else { ActorMetrics::new(class, families) },
        }
    }

    /// Returns the metrics of a kind of message of the class.
    pub fn kind<K: MessageKind>(&self, kind: K) -> &KindMetrics {
        debug_assert_eq!(K::CLASS, self.class, "a message of another class");
        self.by_number(kind.number())
    }

    /// Returns the metrics of the kind with this number.
    pub fn by_number(&self, number: usize) -> &KindMetrics {
        &self.kinds[number]
    }

    /// Counts a message that has come, as the `depth`th in its mailbox.
    pub fn came(&self, depth: usize, now: Instant) {
        self.messages.inc();
        self.depth.observe(depth as u64);
        self.peak.reached(depth, now);
    }

    /// Takes note of a message that was refused because `depth` others wait.
    pub fn refused(&self, depth: usize, now: Instant) {
        self.depth.observe(depth as u64);
        self.peak.reached(depth, now);
    }

    /// Counts a message that does not wait.
    pub fn passed(&self) {
        self.depth.observe(0);
    }

    /// Returns everything that is measured, as numbers.
    pub fn read(&self, now: Instant) -> MailboxReading {
        MailboxReading {
            class: self.class,
            capacity: self.limit.get(),
            messages: self.messages.get().unsigned_abs(),
            peak: self.peak.get(now),
            recent_peak: self.peak.within(Duration::from_secs(1), now),
            depth: self.depth.read(),
            kinds: self.class.messages().iter().zip(&self.kinds).map(|(message, kind)| kind.read(*message)).collect(),
            actors: (self.class != ActorClass::Max).then(|| self.actors.read()),
        }
    }

    /// Returns the number of messages ever offered.
    #[cfg(test)]
    pub fn offered(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.offered.get()).sum()
    }
}

impl KindMetrics {
    fn new(actor: ActorClass, message: MessageName, families: &Families) -> Self {
        let label = MessageLabel { actor, message };
        let refused = |reason| families.mailbox_rejected.get_or_create_owned(&RejectLabel { actor, message, reason });
        // The gate is never gone, and no other mailbox gives up a message: these rows are missing.
        let (closed, late) = if actor == ActorClass::Max {
            (Counter::default(), refused(MailboxRefusal::Late))
        } else {
            (refused(MailboxRefusal::Closed), Counter::default())
        };
        Self {
            offered: families.mailbox_enqueued.get_or_create_owned(&label),
            full: refused(MailboxRefusal::Full),
            closed,
            late,
            wait: families.mailbox_wait_seconds.get_or_create_owned(&label),
            handle: families.actor_handle_seconds.get_or_create_owned(&label),
        }
    }

    fn read(&self, message: MessageName) -> KindReading {
        KindReading {
            message,
            offered: self.offered.get(),
            full: self.full.get(),
            closed: self.closed.get(),
            late: self.late.get(),
            wait: self.wait.read(),
            handle: self.handle.read(),
        }
    }
}

impl ActorMetrics {
    fn read(&self) -> ActorReading {
        ActorReading {
            living: self.living.get().max(0).unsigned_abs(),
            started: self.started.get(),
            stopped: self.stopped.get(),
            panicked: self.panicked.get(),
        }
    }

    fn new(actor: ActorClass, families: &Families) -> Self {
        let label = ActorLabel { actor };
        let stopped = |reason| families.actors_stopped.get_or_create_owned(&StopLabel { actor, reason });
        Self {
            living: families.actors.get_or_create_owned(&label),
            started: families.actors_started.get_or_create_owned(&label),
            stopped: stopped(ActorEnd::Done),
            panicked: stopped(ActorEnd::Panic),
        }
    }
}
