//! Every metric, declared once: its name, its type, its labels and its help. A name ends with its unit. The structs
//! that hold the metrics, their registration, and the list for the test of the page on operating come from the one
//! table in this file.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use super::histogram::HotHistogram;
use super::labels::{
    ActionLabel, ActorLabel, BusDirectionLabel, BusGapLabel, BusKindLabel, BusReasonLabel, CloseLabel, EventLabel,
    FeedGapLabel, FeedKindLabel, FeedLabel, FeedReasonLabel, HandshakeLabel, LabelNames, LimitLabel, ListenerLabel,
    MaxLabel, MessageLabel, RecoveryLabel, RefusalLabel, RejectLabel, RelayLabel, ResultLabel, SessionLabel,
    ShardLabel, StatusLabel, StopLabel, TransportLabel, WorkerLabel,
};
use super::peak::Peak;
use super::scraped::{Build, LimitGauge, Reading};
use super::striped::{HotCounter, HotGauge};
use super::worker::Busy;

/// The prefix of the names of this program's own metrics. An underscore follows it.
pub const PREFIX: &str = "maxtalk";

/// The prefix of the metrics that every process should have, by the conventions of Prometheus.
pub const PROCESS: &str = "process";

/// The declaration of a metric.
#[derive(Debug)]
pub struct Declaration {
    /// The prefix of the name.
    pub prefix: &'static str,
    /// The name, without the prefix and without the ending that OpenMetrics adds for the kind, such as `_total`.
    pub name: &'static str,
    /// The type in the exposed text.
    pub kind: MetricType,
    /// The names of the labels.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests read them"))]
    pub labels: &'static [&'static str],
    /// The help, without a full stop.
    pub help: &'static str,
}

impl Declaration {
    const fn new<M: Declared>(prefix: &'static str, name: &'static str, doc: &'static str) -> Self {
        // The registry writes the full stop.
        let [b' ', help @ .., b'.'] = doc.as_bytes() else { panic!("the help of a metric is one sentence") };
        let Ok(help) = std::str::from_utf8(help) else { panic!("the help of a metric is cut inside a character") };
        Self { prefix, name, kind: M::TYPE, labels: M::LABELS, help }
    }
}

/// A type of metric that the table knows.
trait Declared: TypedMetric {
    const LABELS: &'static [&'static str] = &[];
}

impl Declared for Build {
    const LABELS: &'static [&'static str] = &["version", "commit", "date"];
}

impl Declared for Counter {}
impl Declared for Gauge {}
impl Declared for HotGauge {}
impl Declared for HotHistogram {}
impl<M: TypedMetric> Declared for Reading<M> {}

impl<L: LabelNames, M: TypedMetric, C> Declared for Family<L, M, C> {
    const LABELS: &'static [&'static str] = L::NAMES;
}

macro_rules! metrics {
    (
        counted {$(
            #[doc = $help:literal]
            $name:ident: $Type:ty $(= $new:expr)?,
        )+}
        $(
            #[doc = $about:literal]
            $Read:ident of $prefix:ident {$(
                #[doc = $read_help:literal]
                $read:ident: $ReadType:ty,
            )+}
        )+
    ) => {
        /// Every metric, in the order of the exposed text.
        pub const TABLE: &[Declaration] = &[
            $(Declaration::new::<$Type>(PREFIX, stringify!($name), $help),)+
            $($(Declaration::new::<$ReadType>($prefix, stringify!($read), $read_help),)+)+
        ];

        /// The metrics that are updated when something happens.
        #[derive(Debug)]
        pub struct Families {
            $(#[doc = $help] pub $name: $Type,)+
        }

        impl Families {
            /// Creates the metrics at zero and registers them.
            pub(super) fn register(registry: &mut Registry) -> Self {
                $(
                    let $name: $Type = first!($($new,)? Default::default());
                    let Declaration { name, help, .. } =
                        const { Declaration::new::<$Type>(PREFIX, stringify!($name), $help) };
                    registry.register(name, help, $name.clone());
                )+
                Self { $($name),+ }
            }
        }

        $(
            #[doc = $about]
            #[derive(Debug, Default)]
            pub struct $Read {
                $(#[doc = $read_help] pub $read: $ReadType,)+
            }

            impl Collector for $Read {
                fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
                    $(
                        let Declaration { name, kind, help, .. } =
                            const { Declaration::new::<$ReadType>($prefix, stringify!($read), $read_help) };
                        self.$read.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
                    )+
                    Ok(())
                }
            }
        )+
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

metrics! {
    counted {
        /// The version that runs, with the commit and the day of its build.
        build: Build,
        /// The bound of a mailbox.
        mailbox_capacity_messages: Family<ActorLabel, LimitGauge>,
        /// Messages in mailboxes now.
        mailbox_messages: Family<ActorLabel, HotGauge>,
        /// The deepest single mailbox of the last 60 seconds.
        mailbox_peak_messages: Family<ActorLabel, Peak>,
        /// Messages in a mailbox when one more has come.
        mailbox_depth_messages: Family<ActorLabel, HotHistogram> = numbers(),
        /// Time from being put into a mailbox to being handled.
        mailbox_wait_seconds: Family<MessageLabel, HotHistogram> = microseconds(),
        /// Time from being taken out of a mailbox until the actor has done its part.
        actor_handle_seconds: Family<MessageLabel, HotHistogram> = microseconds(),
        /// Messages offered to mailboxes.
        mailbox_enqueued: Family<MessageLabel, HotCounter>,
        /// Messages that mailboxes refused.
        mailbox_rejected: Family<RejectLabel, Counter>,
        /// Living actors.
        actors: Family<ActorLabel, Gauge>,
        /// Actors ever started.
        actors_started: Family<ActorLabel, Counter>,
        /// Actors that ended.
        actors_stopped: Family<StopLabel, Counter>,
        /// Open sessions.
        sessions: Family<SessionLabel, Gauge>,
        /// Sessions ever opened.
        sessions_opened: Family<SessionLabel, Counter>,
        /// Sessions ever closed.
        sessions_closed: Family<CloseLabel, Counter>,
        /// Sessions that are kept because their clients may come back.
        kept_sessions: Gauge,
        /// Clients that came back after their connection was lost.
        recoveries: Family<RecoveryLabel, Counter>,
        /// Handshakes taken, and requests to the endpoint that were refused.
        handshakes: Family<HandshakeLabel, Counter>,
        /// Living conversations.
        conversations: Gauge,
        /// Bytes that wait to be written to clients.
        session_queue_bytes: HotGauge,
        /// Messages that wait to be written to clients.
        session_queue_messages: HotGauge,
        /// Sessions of whose outbox more than half is in use. Those that wait for a lost client do not count.
        slow_sessions: Gauge,
        /// Sessions that have not got all news and may still catch up. Those that wait for a lost client do not count.
        behind_sessions: Gauge,
        /// Events folded or left out for readers that are too slow, and the readers that were closed.
        slow_actions: Family<ActionLabel, HotCounter>,
        /// Joins by how they ended.
        joins: Family<ResultLabel, Counter>,
        /// Time from a join to its answer.
        join_seconds: HotHistogram = HotHistogram::of_milliseconds(),
        /// Calls to MAX by how they ended.
        max_requests: Family<MaxLabel, Counter>,
        /// Time from a call to MAX to its end.
        max_request_seconds: HotHistogram = HotHistogram::of_milliseconds(),
        /// Calls to MAX under way.
        max_inflight: Gauge,
        /// Calls to MAX that may be under way: fewer while it is slow.
        max_inflight_limit: Gauge,
        /// Talks by how they ended.
        talks: Family<ResultLabel, Counter>,
        /// Updates of back ends by how they ended.
        announcements: Family<ResultLabel, Counter>,
        /// Updates of back ends on their way to the other nodes, by how they ended.
        announcement_relays: Family<RelayLabel, Counter>,
        /// Events of clients that were refused.
        refusals: Family<RefusalLabel, Counter>,
        /// Events that are not in the protocol.
        unknown_events: Counter,
        /// Refusals and closes by a bound on clients.
        limited: Family<LimitLabel, Counter>,
        /// Settings changed while the server runs.
        settings_changed: Counter,
        /// Answers to requests over HTTP.
        http_answers: Family<StatusLabel, Counter>,
        /// How long ago the worker that is stuck the longest has last shown that it runs.
        worker_silence_seconds: Family<ListenerLabel, Gauge<f64, AtomicU64>>,
        /// Time that a thread has spent on its tasks.
        worker_busy_seconds: Family<WorkerLabel, Busy>,
        /// How late a thread has woken.
        worker_lag_seconds: Family<WorkerLabel, HotHistogram> = milliseconds(),
        /// Whether the bus is up: 1 if it is, otherwise 0.
        bus_up: Family<ShardLabel, Gauge>,
        /// Other nodes that are heard.
        bus_peers: Family<ShardLabel, Gauge>,
        /// Channels that conversations want.
        bus_wanted_subscriptions: Family<ShardLabel, Gauge>,
        /// Channels that are subscribed.
        bus_subscriptions: Family<ShardLabel, Gauge>,
        /// Messages that wait to be published.
        bus_queue_messages: Family<ShardLabel, Gauge>,
        /// Messages published.
        bus_published: Family<ShardLabel, Counter>,
        /// Messages of the bus that were taken.
        bus_received: Family<BusKindLabel, Counter>,
        /// Messages of the bus that were refused.
        bus_rejected: Family<BusReasonLabel, Counter>,
        /// Messages that did not fit into a queue of the bus or a mailbox, or that the bus could not take.
        bus_dropped: Family<BusDirectionLabel, Counter>,
        /// Connections to Redis made after the first.
        bus_reconnects: Family<ShardLabel, Counter>,
        /// Gaps in the news of conversations.
        bus_gaps: Family<BusGapLabel, Counter>,
        /// Time of a message of this node from being published until it comes back.
        bus_lag_seconds: Family<ShardLabel, HotHistogram> = microseconds(),
        /// Whether the feed of MAX is up: 1 if it is, otherwise 0.
        feed_up: Family<FeedLabel, Gauge>,
        /// Messages of the feed that were taken.
        feed_received: Family<FeedKindLabel, Counter>,
        /// Messages of the feed that were refused.
        feed_rejected: Family<FeedReasonLabel, Counter>,
        /// Connections to the RabbitMQ of MAX made after the first.
        feed_reconnects: Counter,
        /// Gaps in what is heard of the feed.
        feed_gaps: Family<FeedGapLabel, Counter>,
        /// Users whose memberships were asked for because of the feed.
        feed_refreshes: Counter,
        /// Users who wait for that.
        feed_refreshes_waiting: Gauge,
        /// Events given to the outboxes of sessions.
        deliveries: Family<EventLabel, HotCounter>,
        /// Recipients of a broadcast.
        fanout_members: HotHistogram = HotHistogram::of_numbers(),
        /// Time from taking an event up to giving it to its last recipient.
        fanout_seconds: HotHistogram = HotHistogram::of_microseconds(),
        /// Time from putting a talk into a mailbox until one of its recipients is written to.
        delivery_seconds: HotHistogram = HotHistogram::of_microseconds(),
        /// Writes to clients: deliveries by writes is the coalescing factor.
        writes: Family<TransportLabel, HotCounter>,
        /// Bytes written to clients.
        written_bytes: Family<TransportLabel, HotCounter>,
    }
    /// The metrics that are read at a scrape.
    ReadAtScrape of PREFIX {
        /// Whether the server drains: 1 if it does, otherwise 0.
        draining: Reading<ConstGauge<u64>>,
        /// Log lines lost.
        log_lines_lost: Reading<ConstCounter>,
        /// Bytes that the program has allocated and not freed.
        allocated_bytes: Reading<ConstGauge<u64>>,
    }
    /// The metrics of the process.
    Process of PROCESS {
        /// Time that all threads have spent on a processor.
        cpu_seconds: Reading<ConstCounter<f64>>,
        /// Memory in use.
        resident_memory_bytes: Reading<ConstGauge<u64>>,
        /// Open files.
        open_fds: Reading<ConstGauge<u64>>,
        /// Files that may be open.
        max_fds: Reading<ConstGauge<u64>>,
        /// When the process has started, in seconds since 1970.
        start_time_seconds: Reading<ConstGauge<f64>>,
    }
}

fn numbers<L: Clone + Eq + Hash>() -> Family<L, HotHistogram> {
    Family::new_with_constructor(HotHistogram::of_numbers)
}

fn milliseconds<L: Clone + Eq + Hash>() -> Family<L, HotHistogram> {
    Family::new_with_constructor(HotHistogram::of_milliseconds)
}

fn microseconds<L: Clone + Eq + Hash>() -> Family<L, HotHistogram> {
    Family::new_with_constructor(HotHistogram::of_microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PAGE: &str = include_str!("../docs/operating.md");

    /// Returns the row that the page's table should have for a declaration, without its last cell: the name and the
    /// labels of the rows in the exposed text, and the type.
    fn row(declaration: &Declaration) -> String {
        let Declaration { prefix, name, kind, labels, .. } = declaration;
        let ending = match kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        format!("| `{prefix}_{name}{ending}{labels}` | {} ", kind.as_str())
    }

    /// Returns the rows that are only in the table of a page or only in that of the code, and the names elsewhere in
    /// the page that the code does not have.
    fn differences(page: &str) -> BTreeSet<String> {
        let rows: BTreeSet<_> = TABLE.iter().map(row).collect();
        let is_known = |name: &str| rows.iter().any(|row| row.contains(&format!("`{name}")));
        let prose = page.lines().filter(|line| !line.starts_with('|')).flat_map(|line| line.split('`'));
        let has_prefix = |text: &str| [PREFIX, PROCESS].iter().any(|prefix| text.starts_with(&format!("{prefix}_")));
        let names = prose.filter(|word| has_prefix(word));
        let unknown = names.filter(|name| !is_known(&format!("{name}`")) && !is_known(&format!("{name}{{")));
        let has = page.lines().filter(|line| line.strip_prefix("| `").is_some_and(has_prefix));
        let has: BTreeSet<_> = has.map(|line| line.rsplitn(3, '|').last().unwrap_or_default().to_owned()).collect();
        has.symmetric_difference(&rows).cloned().chain(unknown.map(str::to_owned)).collect()
    }

    #[test]
    fn the_page_has_every_metric_and_no_other() {
        assert_eq!(differences(PAGE), BTreeSet::new());
    }

    #[test]
    fn a_page_that_differs_is_noticed() {
        let sessions = "| `maxtalk_sessions{transport,protocol}` | gauge ";
        for (is, was) in [
            ("| `maxtalk_sessions{transport}` | gauge ", sessions),
            ("| `maxtalk_sessions{transport,protocol}` | counter ", sessions),
            ("| `maxtalk_joins{result}` | counter ", "| `maxtalk_joins_total{result}` | counter "),
        ] {
            assert_eq!(differences(&PAGE.replace(was, is)), BTreeSet::from([is.to_owned(), was.to_owned()]));
        }
        let without: String = PAGE.split_inclusive('\n').filter(|line| !line.starts_with(sessions)).collect();
        assert_eq!(differences(&without), BTreeSet::from([sessions.to_owned()]));
        let new = "| `maxtalk_new` | gauge ";
        assert_eq!(differences(&format!("{PAGE}{new}| is not there |\n")), BTreeSet::from([new.to_owned()]));
        let old = "maxtalk_old_total";
        assert_eq!(differences(&format!("{PAGE}See `{old}`.\n")), BTreeSet::from([old.to_owned()]));
    }
}
