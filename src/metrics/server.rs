//! The metrics of one server: those of the table, and handles to the rows that change most. A handle saves the lookup
//! of its row.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{
    ActionLabel, ActorClass, ActorEnd, ActorLabel, LimitLabel, ListenerLabel, ListenerName, MailboxRefusal,
    RejectLabel, SlowAction, StatusLabel, StopLabel, TransportLabel,
};
use super::scraped::Peak;
use super::striped::{HotCounter, HotGauge};
use super::table::{Families, PREFIX, ReadAtScrape};
use crate::limits::Limit;
use crate::protocol::TransportKind;

/// The mailboxes of one class of actor, together.
#[derive(Debug)]
pub struct MailboxMetrics {
    /// Messages in the mailboxes now.
    pub messages: HotGauge,
    /// Messages in the deepest single mailbox since the last scrape.
    pub peak: Peak,
    /// Time from being put in to being handled.
    pub wait: Histogram,
    /// Messages offered.
    pub enqueued: HotCounter,
    /// Messages refused because the mailbox was full.
    pub full: Counter,
    /// Messages refused because the actor was gone.
    pub closed: Counter,
    /// Living actors.
    pub actors: Gauge,
    /// Actors ever started.
    pub started: Counter,
    /// Actors that ended as they should.
    pub stopped: Counter,
    /// Actors that ended by a panic.
    pub panicked: Counter,
}

impl MailboxMetrics {
    fn new(actor: ActorClass, families: &Families, scraped: &ReadAtScrape) -> Self {
        let label = ActorLabel { actor };
        let rejected = |reason| families.mailbox_rejected.get_or_create_owned(&RejectLabel { actor, reason });
        let stopped = |reason| families.actors_stopped.get_or_create_owned(&StopLabel { actor, reason });
        Self {
            messages: families.mailbox_messages.get_or_create_owned(&label),
            peak: scraped.mailbox_peak_messages.get_or_create_owned(&label),
            wait: families.mailbox_wait_seconds.get_or_create_owned(&label),
            enqueued: families.mailbox_enqueued.get_or_create_owned(&label),
            full: rejected(MailboxRefusal::Full),
            closed: rejected(MailboxRefusal::Closed),
            actors: families.actors.get_or_create_owned(&label),
            started: families.actors_started.get_or_create_owned(&label),
            stopped: stopped(ActorEnd::Done),
            panicked: stopped(ActorEnd::Panic),
        }
    }
}

/// The writes to the clients of one transport.
#[derive(Debug)]
pub struct Written {
    writes: HotCounter,
    bytes: HotCounter,
}

impl Written {
    fn new(transport: TransportKind, families: &Families) -> Self {
        let label = TransportLabel { transport };
        let writes = families.writes.get_or_create_owned(&label);
        Self { writes, bytes: families.written_bytes.get_or_create_owned(&label) }
    }

    /// Counts one more write, of `bytes`.
    pub fn count(&self, bytes: usize) {
        self.writes.inc();
        self.bytes.inc_by(bytes as u64);
    }
}

/// All metrics of one server. It derefs to [`Families`], the metrics of the table.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    mailboxes: [Arc<MailboxMetrics>; ActorClass::ALL.len()],
    /// Readers that were closed because their outbox was full, or because they did not catch up.
    pub slow_closed: HotCounter,
    /// Events that were folded because an outbox was full.
    pub slow_folded: HotCounter,
    /// Events that were left out because an outbox was full.
    pub slow_dropped: HotCounter,
    /// Writes to WebSockets.
    pub websocket_written: Written,
    /// Answers to polls.
    pub polling_written: Written,
}

impl Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.families
    }
}

impl Metrics {
    /// Creates the metrics at zero. `capacities` are the bounds of the mailboxes, and `scraped` has the metrics that
    /// are read at a scrape.
    pub fn new(capacities: &[(ActorClass, usize)], scraped: ReadAtScrape) -> Arc<Self> {
        let mut registry = Registry::with_prefix(PREFIX);
        let families = Families::register(&mut registry);
        for &(actor, messages) in capacities {
            let capacity = families.mailbox_capacity_messages.get_or_create_owned(&ActorLabel { actor });
            capacity.set(messages.try_into().unwrap_or(i64::MAX));
        }
        for listener in ListenerName::ALL {
            // A scrape counts its own answer only after its text is made, so the first one would lack this row.
            drop(families.http_answers.get_or_create(&StatusLabel { listener, status: 200 }));
        }
        let mailboxes = ActorClass::ALL.map(|class| Arc::new(MailboxMetrics::new(class, &families, &scraped)));
        let slow = |action| families.slow_actions.get_or_create_owned(&ActionLabel { action });
        let slow_closed = slow(SlowAction::Disconnected);
        let (slow_folded, slow_dropped) = (slow(SlowAction::Folded), slow(SlowAction::Dropped));
        let websocket_written = Written::new(TransportKind::WebSocket, &families);
        let polling_written = Written::new(TransportKind::Polling, &families);
        registry.register_collector(Box::new(scraped));
        Arc::new(Self {
            registry,
            families,
            mailboxes,
            slow_closed,
            slow_folded,
            slow_dropped,
            websocket_written,
            polling_written,
        })
    }

    /// Returns the metrics of the mailboxes of a class.
    pub fn mailbox(&self, class: ActorClass) -> &Arc<MailboxMetrics> {
        &self.mailboxes[class as usize]
    }

    /// Counts a refusal or an end by this bound.
    pub fn limited(&self, limit: Limit) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Counts an HTTP answer of this listener.
    pub fn http_answered(&self, listener: ListenerName, status: u16) {
        self.http_answers.get_or_create(&StatusLabel { listener, status }).inc();
    }

    /// Sets the silence of this listener's worker that is stuck the longest: the time since it has shown that it runs.
    pub fn worker_silence(&self, listener: ListenerName, silence: Duration) {
        self.worker_silence_seconds.get_or_create(&ListenerLabel { listener }).set(silence.as_secs_f64());
    }

    /// Returns the metrics as OpenMetrics text, which [`super::text::Form`] turns into other forms. Resets the peaks.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            log::error!("the metrics could not be written");
        }
        text
    }
}
