//! Every metric, declared once: its name, its type, its labels and its help. A name ends with its unit. The structs
//! that hold the metrics, their registration, and the list for the test of the README come from the one table in this
//! file.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use super::labels::{
    ActionLabel, ActorLabel, CloseLabel, EventLabel, HandshakeLabel, LabelNames, LimitLabel, ListenerLabel,
    RefusalLabel, RejectLabel, ResultLabel, SessionLabel, StatusLabel, StopLabel, TransportLabel,
};
use super::scraped::{Build, Peak, Reading};
use super::striped::{HotCounter, HotGauge};

/// The prefix of every name. An underscore follows it.
pub const PREFIX: &str = "maxtalk";

/// The declaration of a metric.
#[derive(Debug)]
pub struct Declaration {
    /// The name, without [`PREFIX`] and without the ending that OpenMetrics adds for the kind, such as `_total`.
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
    const fn new<M: Declared>(name: &'static str, doc: &'static str) -> Self {
        // The registry writes the full stop.
        let [b' ', help @ .., b'.'] = doc.as_bytes() else { panic!("the help of a metric is one sentence") };
        let Ok(help) = std::str::from_utf8(help) else { panic!("the help of a metric is cut inside a character") };
        Self { name, kind: M::TYPE, labels: M::LABELS, help }
    }
}

/// A type of metric that the table knows.
trait Declared: TypedMetric {
    const LABELS: &'static [&'static str] = &[];
}

impl Declared for Build {
    const LABELS: &'static [&'static str] = &["version"];
}

impl Declared for Counter {}
impl Declared for Gauge {}
impl Declared for Histogram {}
impl Declared for HotGauge {}
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
        read_at_scrape {$(
            #[doc = $read_help:literal]
            $read:ident: $Read:ty,
        )+}
    ) => {
        /// Every metric, in the order of the exposed text.
        pub const TABLE: &[Declaration] = &[
            $(Declaration::new::<$Type>(stringify!($name), $help),)+
            $(Declaration::new::<$Read>(stringify!($read), $read_help),)+
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
                    let Declaration { name, help, .. } = const { Declaration::new::<$Type>(stringify!($name), $help) };
                    registry.register(name, help, $name.clone());
                )+
                Self { $($name),+ }
            }
        }

        /// The metrics that are read at a scrape.
        #[derive(Debug, Default)]
        pub struct ReadAtScrape {
            $(#[doc = $read_help] pub $read: $Read,)+
        }

        impl Collector for ReadAtScrape {
            fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
                $(
                    let Declaration { name, kind, help, .. } =
                        const { Declaration::new::<$Read>(stringify!($read), $read_help) };
                    self.$read.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
                )+
                Ok(())
            }
        }
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

metrics! {
    counted {
        /// The version that runs.
        build: Build,
        /// The bound of a mailbox.
        mailbox_capacity_messages: Family<ActorLabel, Gauge>,
        /// Messages in mailboxes now.
        mailbox_messages: Family<ActorLabel, HotGauge>,
        /// Time from being put into a mailbox to being handled.
        mailbox_wait_seconds: Family<ActorLabel, Histogram> = Family::new_with_constructor(latency),
        /// Messages offered to mailboxes.
        mailbox_enqueued: Family<ActorLabel, HotCounter>,
        /// Messages that a full or closed mailbox refused.
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
        /// Handshakes taken, and requests to the endpoint that were refused.
        handshakes: Family<HandshakeLabel, Counter>,
        /// Living conversations.
        conversations: Gauge,
        /// Bytes that wait to be written to clients.
        session_queue_bytes: HotGauge,
        /// Messages that wait to be written to clients.
        session_queue_messages: HotGauge,
        /// Sessions of whose outbox more than half is in use.
        slow_sessions: Gauge,
        /// Sessions that have not got all news and may still catch up.
        behind_sessions: Gauge,
        /// Events folded or left out for readers that are too slow, and the readers that were closed.
        slow_actions: Family<ActionLabel, HotCounter>,
        /// Joins by how they ended.
        joins: Family<ResultLabel, Counter>,
        /// Time from a join to its answer.
        join_seconds: Histogram = latency(),
        /// Talks by how they ended.
        talks: Family<ResultLabel, Counter>,
        /// Events of clients that were refused.
        refusals: Family<RefusalLabel, Counter>,
        /// Events that are not in the protocol.
        unknown_events: Counter,
        /// Refusals and closes by a bound on clients.
        limited: Family<LimitLabel, Counter>,
        /// Answers to requests over HTTP.
        http_answers: Family<StatusLabel, Counter>,
        /// How long ago the worker that is stuck the longest has last shown that it runs.
        worker_silence_seconds: Family<ListenerLabel, Gauge<f64, AtomicU64>>,
        /// Events given to the outboxes of sessions.
        deliveries: Family<EventLabel, HotCounter>,
        /// Recipients of a broadcast.
        fanout_members: Histogram = Histogram::new(exponential_buckets(1.0, 4.0, 10)),
        /// Writes to clients: deliveries by writes is the coalescing factor.
        writes: Family<TransportLabel, HotCounter>,
        /// Bytes written to clients.
        written_bytes: Family<TransportLabel, HotCounter>,
    }
    read_at_scrape {
        /// The deepest single mailbox since the last scrape.
        mailbox_peak_messages: Family<ActorLabel, Peak>,
        /// Whether the server drains: 1 if it does, otherwise 0.
        draining: Reading<ConstGauge<u64>>,
        /// Log lines lost.
        log_lines_lost: Reading<ConstCounter>,
        /// Calls to MAX under way.
        max_inflight: Reading<ConstGauge<u64>>,
        /// Calls to MAX that may be under way: fewer while it is slow.
        max_inflight_limit: Reading<ConstGauge<u64>>,
        /// Joins that wait for their call to MAX.
        max_waiting: Reading<ConstGauge<u64>>,
    }
}

/// Returns a histogram from 10 µs, the wait in an idle mailbox, to 10 s, a wait that users complain about.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(Duration::from_micros(10).as_secs_f64(), 10f64.sqrt(), 13))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const README: &str = include_str!("../../README.md");

    /// Returns the row that the README's table should have for a declaration, without its last cell: the name and the
    /// labels of the rows in the exposed text, and the type.
    fn row(declaration: &Declaration) -> String {
        let Declaration { name, kind, labels, .. } = declaration;
        let ending = match kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        format!("| `{PREFIX}_{name}{ending}{labels}` | {} ", kind.as_str())
    }

    /// Returns the rows that are only in the table of a README or only in that of the code, and the names elsewhere in
    /// the README that the code does not have.
    fn differences(readme: &str) -> BTreeSet<String> {
        let rows: BTreeSet<_> = TABLE.iter().map(row).collect();
        let is_known = |name: &str| rows.iter().any(|row| row.contains(&format!("`{name}")));
        let prose = readme.lines().filter(|line| !line.starts_with('|')).flat_map(|line| line.split('`'));
        let names = prose.filter(|word| word.starts_with(&format!("{PREFIX}_")));
        let unknown = names.filter(|name| !is_known(&format!("{name}`")) && !is_known(&format!("{name}{{")));
        let has = readme.lines().filter(|line| line.starts_with(&format!("| `{PREFIX}_")));
        let has: BTreeSet<_> = has.map(|line| line.rsplitn(3, '|').last().unwrap_or_default().to_owned()).collect();
        has.symmetric_difference(&rows).cloned().chain(unknown.map(str::to_owned)).collect()
    }

    #[test]
    fn the_readme_has_every_metric_and_no_other() {
        assert_eq!(differences(README), BTreeSet::new());
    }

    #[test]
    fn a_readme_that_differs_is_noticed() {
        let sessions = "| `maxtalk_sessions{transport,protocol}` | gauge ";
        for (is, was) in [
            ("| `maxtalk_sessions{transport}` | gauge ", sessions),
            ("| `maxtalk_sessions{transport,protocol}` | counter ", sessions),
            ("| `maxtalk_joins{result}` | counter ", "| `maxtalk_joins_total{result}` | counter "),
        ] {
            assert_eq!(differences(&README.replace(was, is)), BTreeSet::from([is.to_owned(), was.to_owned()]));
        }
        let without: String = README.split_inclusive('\n').filter(|line| !line.starts_with(sessions)).collect();
        assert_eq!(differences(&without), BTreeSet::from([sessions.to_owned()]));
        let new = "| `maxtalk_new` | gauge ";
        assert_eq!(differences(&format!("{README}{new}| is not there |\n")), BTreeSet::from([new.to_owned()]));
        let old = "maxtalk_old_total";
        assert_eq!(differences(&format!("{README}See `{old}`.\n")), BTreeSet::from([old.to_owned()]));
    }
}
