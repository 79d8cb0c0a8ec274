//! What an operator can see: the Prometheus metrics of one server, their labels as closed sets. Names and meanings are
//! those of the README's table; no user, conversation or session is ever a label.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

pub use crate::limits::Limit;
use striped::{HotCounter, HotGauge};

pub mod striped;
pub mod text;

/// The classes of actor that stand behind a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorClass {
    /// One connected client.
    Session,
    /// One conversation.
    Conversation,
    /// The registry of conversations.
    Registry,
}

impl ActorClass {
    /// The value of the label `actor`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Conversation => "conversation",
            Self::Registry => "registry",
        }
    }
}

/// The label of what belongs to a class of actor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ActorLabel {
    /// The class.
    pub actor: &'static str,
}

/// The labels of a stopped actor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StopLabel {
    /// The class.
    pub actor: &'static str,
    /// `done` or `panic`.
    pub reason: &'static str,
}

/// The labels of a message that a mailbox refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RejectLabel {
    /// The class.
    pub actor: &'static str,
    /// `full` or `closed`.
    pub reason: &'static str,
}

/// The labels of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SessionLabel {
    /// `polling` or `websocket`.
    pub transport: &'static str,
    /// The generation: `eio4`, `eio3` or `0.9`.
    pub protocol: &'static str,
}

/// The labels of a closed session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CloseLabel {
    /// `polling` or `websocket`, as it was at the end.
    pub transport: &'static str,
    /// The generation, such as `eio4`.
    pub protocol: &'static str,
    /// A row of the table of close reasons.
    pub reason: &'static str,
}

/// The labels of something that a client asked and did not get.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabel {
    /// What it asked; `other` for an event that is not in the protocol.
    pub event: &'static str,
    /// A row of the table of codes.
    pub code: &'static str,
}

/// The labels of a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeLabel {
    /// The generation, such as `eio4`; `other` where the request does not say one that is served.
    pub protocol: &'static str,
    /// `ok`, or why it was refused.
    pub result: &'static str,
}

/// The label of what ends one way or the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `ok`, or the code.
    pub result: &'static str,
}

/// The label of an answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// `clients` or `operators`.
    pub listener: &'static str,
    /// Its status, one of the few that maxtalk answers with.
    pub status: u16,
}

/// The label of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabel {
    /// `clients` or `operators`.
    pub listener: &'static str,
}

/// The label of what a bound has refused or ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabel {
    /// Which bound.
    pub limit: &'static str,
}

/// The labels of an event towards clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabel {
    /// Its name.
    pub event: &'static str,
    /// How it came to this node: `local`.
    pub path: &'static str,
}

/// The label of what is counted by transport.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransportLabel {
    /// `polling` or `websocket`.
    pub transport: &'static str,
}

/// The mailboxes of one class of actor, together.
#[derive(Debug)]
pub struct MailboxMetrics {
    /// What is in them now.
    pub messages: HotGauge,
    /// The deepest single one since the last scrape.
    pub peak: AtomicU64,
    /// From being put in to being handled.
    pub wait: Histogram,
    /// Offered messages.
    pub enqueued: HotCounter,
    /// Refused because the mailbox was full.
    pub full: Counter,
    /// Refused because the actor was gone.
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
    /// Notes that a mailbox is as deep as this.
    pub fn reached(&self, messages: u64) {
        // All threads come by here with every message, and a look takes the cache line from none of them.
        if messages > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(messages, Ordering::Relaxed);
        }
    }
}

/// What was written to the clients of one transport.
#[derive(Debug)]
pub struct Written {
    writes: HotCounter,
    bytes: HotCounter,
}

impl Written {
    /// One more write, of `bytes`.
    pub fn count(&self, bytes: usize) {
        self.writes.inc();
        self.bytes.inc_by(bytes as u64);
    }
}

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Open sessions.
    pub sessions: Family<SessionLabel, Gauge>,
    /// Sessions ever opened.
    pub sessions_opened: Family<SessionLabel, Counter>,
    /// Sessions ever closed.
    pub sessions_closed: Family<CloseLabel, Counter>,
    /// Handshakes taken, and handshakes and other requests to the endpoint that were refused.
    pub handshakes: Family<HandshakeLabel, Counter>,
    /// Living conversations.
    pub conversations: Gauge,
    /// Bytes in all outboxes.
    pub outbox_bytes: HotGauge,
    /// Messages in all outboxes.
    pub outbox_messages: HotGauge,
    /// Sessions of whose outbox more than half is in use.
    pub slow_sessions: Gauge,
    /// Readers that were closed because their outbox was full.
    pub slow_closed: Counter,
    /// Joins by how they ended.
    pub joins: Family<ResultLabel, Counter>,
    /// From the join packet to its answer.
    pub join_seconds: Histogram,
    /// Talks by how they ended.
    pub talks: Family<ResultLabel, Counter>,
    /// What was refused, by event and code.
    pub refusals: Family<RefusalLabel, Counter>,
    /// Events that are not in the protocol.
    pub unknown_events: Counter,
    /// What bounds on clients have refused or ended.
    limited: Family<LimitLabel, Counter>,
    /// Answers over HTTP, upgrades included.
    http_answers: Family<StatusLabel, Counter>,
    /// For how long the worker that was silent the longest has not shown itself.
    workers_silence: Family<ListenerLabel, Gauge<f64, AtomicU64>>,
    /// Events given to outboxes.
    pub deliveries: Family<EventLabel, HotCounter>,
    /// Recipients of a broadcast.
    pub fanout_members: Histogram,
    /// What was written to WebSockets.
    pub websocket_written: Written,
    /// What polls were answered.
    pub polling_written: Written,
    session: Arc<MailboxMetrics>,
    conversation: Arc<MailboxMetrics>,
    registry_mailbox: Arc<MailboxMetrics>,
}

impl Metrics {
    /// Metrics at zero. `capacities` are the bounds of the mailboxes, `elsewhere` reads what others count.
    pub fn new(capacities: &[(ActorClass, usize)], elsewhere: ReadAtScrape) -> Arc<Self> {
        let mut registry = Registry::with_prefix("maxtalk");
        let r = &mut registry;
        r.register("build", "The version that runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));

        let capacity = family::<ActorLabel, Gauge>(r, "mailbox_capacity_messages", "The bound of a mailbox");
        for &(actor, messages) in capacities {
            capacity.get_or_create(&ActorLabel { actor: actor.as_str() }).set(messages.try_into().unwrap_or(i64::MAX));
        }
        let messages = family::<_, HotGauge>(r, "mailbox_messages", "Messages in mailboxes now");
        let wait = Family::<ActorLabel, Histogram, fn() -> Histogram>::new_with_constructor(latency);
        r.register("mailbox_wait_seconds", "Time from being put into a mailbox to being handled", wait.clone());
        let enqueued = family::<_, HotCounter>(r, "mailbox_enqueued", "Messages offered to mailboxes");
        let rejected =
            family::<RejectLabel, Counter>(r, "mailbox_rejected", "Messages that a full or closed mailbox refused");
        let actors = family::<_, Gauge>(r, "actors", "Living actors");
        let started = family::<_, Counter>(r, "actors_started", "Actors ever started");
        let stopped = family::<StopLabel, Counter>(r, "actors_stopped", "Actors that ended");
        let mailbox = |class: ActorClass| {
            let actor = class.as_str();
            let label = ActorLabel { actor };
            let rejected = |reason| rejected.get_or_create(&RejectLabel { actor, reason }).clone();
            let stopped = |reason| stopped.get_or_create(&StopLabel { actor, reason }).clone();
            Arc::new(MailboxMetrics {
                messages: messages.get_or_create(&label).clone(),
                peak: AtomicU64::new(0),
                wait: wait.get_or_create(&label).clone(),
                enqueued: enqueued.get_or_create(&label).clone(),
                full: rejected("full"),
                closed: rejected("closed"),
                actors: actors.get_or_create(&label).clone(),
                started: started.get_or_create(&label).clone(),
                stopped: stopped("done"),
                panicked: stopped("panic"),
            })
        };
        let session = mailbox(ActorClass::Session);
        let conversation = mailbox(ActorClass::Conversation);
        let registry_mailbox = mailbox(ActorClass::Registry);
        r.register_collector(Box::new(Collected {
            peaks: vec![
                (ActorClass::Session, session.clone()),
                (ActorClass::Conversation, conversation.clone()),
                (ActorClass::Registry, registry_mailbox.clone()),
            ],
            elsewhere,
        }));

        let sessions = family(r, "sessions", "Open sessions");
        let sessions_opened = family(r, "sessions_opened", "Sessions ever opened");
        let sessions_closed = family(r, "sessions_closed", "Sessions ever closed");
        let handshakes = family(r, "handshakes", "Handshakes taken, and requests to the endpoint that were refused");
        let conversations = metric(r, "conversations", "Living conversations");
        let outbox_bytes = metric(r, "session_queue_bytes", "Bytes that wait to be written to clients");
        let outbox_messages = metric(r, "session_queue_messages", "Messages that wait to be written to clients");
        let slow_sessions = metric(r, "slow_sessions", "Sessions of whose outbox more than half is in use");
        let slow = family::<ActionLabel, Counter>(r, "slow_actions", "What was done about readers that are too slow");
        let slow_closed = slow.get_or_create(&ActionLabel { action: "disconnected" }).clone();
        let joins = family(r, "joins", "Joins by how they ended");
        let join_seconds = latency();
        r.register("join_seconds", "Time from a join to its answer", join_seconds.clone());
        let talks = family(r, "talks", "Talks by how they ended");
        let refusals = family(r, "refusals", "What clients asked and did not get");
        let unknown_events = metric(r, "unknown_events", "Events that are not in the protocol");
        let limited = family(r, "limited", "What bounds on clients have refused or ended");
        let http_answers = family::<StatusLabel, Counter>(r, "http_answers", "Answers to requests over HTTP");
        for listener in ["clients", "operators"] {
            // What every scrape adds to is there from the first one on.
            drop(http_answers.get_or_create(&StatusLabel { listener, status: 200 }));
        }
        let help = "How long ago the worker that is stuck the longest has last shown that it runs";
        let workers_silence = family(r, "worker_silence_seconds", help);
        let deliveries = family(r, "deliveries", "Events given to the outboxes of sessions");
        let fanout_members = Histogram::new(exponential_buckets(1.0, 4.0, 10));
        r.register("fanout_members", "Recipients of a broadcast", fanout_members.clone());
        let writes =
            family::<_, HotCounter>(r, "writes", "Writes to clients: deliveries by writes is the coalescing factor");
        let written_bytes = family::<_, HotCounter>(r, "written_bytes", "Bytes written to clients");
        let written = |transport| {
            let label = TransportLabel { transport };
            let (writes, bytes) = (writes.get_or_create(&label).clone(), written_bytes.get_or_create(&label).clone());
            Written { writes, bytes }
        };
        let (websocket_written, polling_written) = (written("websocket"), written("polling"));
        Arc::new(Self {
            registry,
            sessions,
            sessions_opened,
            sessions_closed,
            handshakes,
            conversations,
            outbox_bytes,
            outbox_messages,
            slow_sessions,
            slow_closed,
            joins,
            join_seconds,
            talks,
            refusals,
            unknown_events,
            limited,
            http_answers,
            workers_silence,
            deliveries,
            fanout_members,
            websocket_written,
            polling_written,
            session,
            conversation,
            registry_mailbox,
        })
    }

    /// The mailboxes of a class.
    pub fn mailbox(&self, class: ActorClass) -> &Arc<MailboxMetrics> {
        match class {
            ActorClass::Session => &self.session,
            ActorClass::Conversation => &self.conversation,
            ActorClass::Registry => &self.registry_mailbox,
        }
    }

    /// A bound has refused something, or ended it.
    pub fn limited(&self, limit: Limit) {
        self.limited.get_or_create(&LimitLabel { limit: limit.as_str() }).inc();
    }

    /// A request to this listener was answered over HTTP.
    pub fn http_answered(&self, listener: &'static str, status: u16) {
        self.http_answers.get_or_create(&StatusLabel { listener, status }).inc();
    }

    /// The worker of this listener that was silent the longest has not shown itself for so long.
    pub fn workers_silence(&self, listener: &'static str, silence: Duration) {
        self.workers_silence.get_or_create(&ListenerLabel { listener }).set(silence.as_secs_f64());
    }

    /// The metrics as OpenMetrics text, which [`text::Form`] turns into other forms. Peaks begin anew.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            log::error!("the metrics could not be written");
        }
        text
    }
}

/// The label of what was done about a slow reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

/// What others count, read at the scrape.
pub struct ReadAtScrape {
    /// Lines of the log that were lost.
    pub log_lines_lost: fn() -> u64,
    /// Calls to MAX under way.
    pub max_inflight: Reading,
    /// Calls to MAX that may be under way.
    pub max_inflight_limit: Reading,
    /// Joins that wait for their call.
    pub max_waiting: Reading,
}

/// Reads a number at the scrape.
pub type Reading = Box<dyn Fn() -> usize + Send + Sync>;

impl Default for ReadAtScrape {
    /// Nothing is counted elsewhere.
    fn default() -> Self {
        let none = || -> Reading { Box::new(|| 0) };
        Self { log_lines_lost: || 0, max_inflight: none(), max_inflight_limit: none(), max_waiting: none() }
    }
}

impl std::fmt::Debug for ReadAtScrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadAtScrape").finish_non_exhaustive()
    }
}

/// What is read at the scrape.
#[derive(Debug)]
struct Collected {
    peaks: Vec<(ActorClass, Arc<MailboxMetrics>)>,
    elsewhere: ReadAtScrape,
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let peak = Family::<ActorLabel, Gauge>::default();
        for (actor, mailbox) in &self.peaks {
            let deepest = mailbox.peak.swap(0, Ordering::Relaxed);
            peak.get_or_create(&ActorLabel { actor: actor.as_str() }).set(deepest.try_into().unwrap_or(i64::MAX));
        }
        let help = "The deepest single mailbox since the last scrape";
        peak.encode(encoder.encode_descriptor("mailbox_peak_messages", help, None, MetricType::Gauge)?)?;
        let ReadAtScrape { log_lines_lost, max_inflight, max_inflight_limit, max_waiting } = &self.elsewhere;
        let lost = ConstCounter::new(log_lines_lost());
        lost.encode(encoder.encode_descriptor("log_lines_lost", "Log lines lost", None, MetricType::Counter)?)?;
        for (name, help, read) in [
            ("max_inflight", "Calls to MAX under way", max_inflight),
            ("max_inflight_limit", "Calls to MAX that may be under way: fewer while it is slow", max_inflight_limit),
            ("max_waiting", "Joins that wait for their call to MAX", max_waiting),
        ] {
            let gauge = ConstGauge::new(i64::try_from(read()).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

fn metric<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: Clone + std::fmt::Debug + Eq + std::hash::Hash + EncodeLabelSet + Send + Sync + 'static,
    M: Metric + TypedMetric + Default,
{
    metric(registry, name, help)
}

/// 10 µs to 10 s: from an idle mailbox to a wait that users complain of.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(Duration::from_micros(10).as_secs_f64(), 10f64.sqrt(), 13))
}
