//! The metrics of one server: those of the table, and handles to the rows that change most. A handle saves the lookup
//! of its row.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::runtime::RuntimeMetrics;

use super::labels::{
    ActionLabel, ActorClass, LimitLabel, ListenerLabel, ListenerName, SlowAction, StatusLabel, TransportLabel,
    WorkerLabel, WorkerName,
};
use super::mailboxes::{MailboxMetrics, MailboxReading};
use super::striped::HotCounter;
use super::table::{Families, PREFIX, PROCESS, Process, ReadAtScrape};
use super::worker::{WorkerMetrics, WorkerReading};
use crate::limits::Limit;
use crate::protocol::TransportKind;

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

/// Everything that is measured of mailboxes and threads, at one moment.
#[derive(Clone, Debug)]
pub struct Readings {
    /// The mailboxes of each class.
    pub mailboxes: Vec<MailboxReading>,
    /// The threads that run actors.
    pub workers: Vec<WorkerReading>,
}

/// All metrics of one server. It derefs to [`Families`], the metrics of the table.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    mailboxes: [Arc<MailboxMetrics>; ActorClass::ALL.len()],
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
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
    /// Creates the metrics at zero. `limits` are the bounds of mailboxes; a class without one has no bound yet.
    /// `scraped` has the metrics that are read at a scrape.
    pub fn new(limits: &[(ActorClass, usize)], scraped: ReadAtScrape) -> Arc<Self> {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix(PREFIX);
        let families = Families::register(own);
        own.register_collector(Box::new(scraped));
        registry.sub_registry_with_prefix(PROCESS).register_collector(Box::new(Process::this()));
        for listener in ListenerName::ALL {
            // A scrape counts its own answer only after its text is made, so the first one would lack this row.
            drop(families.http_answers.get_or_create(&StatusLabel { listener, status: 200 }));
        }
        let mailboxes = ActorClass::ALL.map(|class| Arc::new(MailboxMetrics::new(class, &families)));
        for &(class, limit) in limits {
            mailboxes[class as usize].limit.set(limit);
        }
        let slow = |action| families.slow_actions.get_or_create_owned(&ActionLabel { action });
        let slow_closed = slow(SlowAction::Disconnected);
        let (slow_folded, slow_dropped) = (slow(SlowAction::Folded), slow(SlowAction::Dropped));
        let websocket_written = Written::new(TransportKind::WebSocket, &families);
        let polling_written = Written::new(TransportKind::Polling, &families);
        Arc::new(Self {
            registry,
            families,
            mailboxes,
            workers: Mutex::default(),
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

    /// Adds the measurements of a thread with this runtime.
    pub fn add_worker(&self, worker: WorkerName, runtime: RuntimeMetrics) -> Arc<WorkerMetrics> {
        let label = WorkerLabel { worker };
        let busy = self.worker_busy_seconds.get_or_create_owned(&label);
        let lag = self.worker_lag_seconds.get_or_create_owned(&label);
        let added = Arc::new(WorkerMetrics::new(worker, runtime, busy, lag, Instant::now()));
        self.workers.lock().push(added.clone());
        added
    }

    /// Returns everything that is measured of mailboxes and threads, as numbers.
    pub fn read(&self, now: Instant) -> Readings {
        let workers = self.workers.lock().iter().map(|worker| worker.read(now)).collect();
        Readings { mailboxes: self.mailboxes.iter().map(|mailbox| mailbox.read(now)).collect(), workers }
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

    /// Returns the metrics as OpenMetrics text, which [`super::text::Form`] turns into other forms.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            log::error!("the metrics could not be written");
        }
        text
    }
}
