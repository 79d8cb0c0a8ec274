//! The outcome of a run as numbers, and whether they can be trusted. [`report`](super::report) shows them.

mod doubt;
mod knee;
mod nodes;
#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::doubt::Doubt;
pub(super) use self::doubt::{BUSY_SHARE_MAX_CLOSED, BUSY_SHARE_MAX_OPEN};
pub(super) use self::knee::RATE_MIN;
pub use self::knee::{Judgement, Knee, KneeStep, Miss, Trial};
pub use self::nodes::{Cluster, Node, Used};
use super::plan::Plan;

/// One latency distribution, in µs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// Number of values.
    pub count: u64,
    /// Pairs of a percentile (such as 50.0 or 99.9) and its value in µs, rising; dense enough to plot up to 99.999.
    pub percentiles: Vec<(f64, u64)>,
    /// The largest value, in µs.
    pub max: u64,
    /// The mean, in µs.
    pub mean: f64,
}

impl Latency {
    /// Returns the latency, in µs, that `percentile` percent of the values do not exceed. `None` if there are no
    /// values.
    pub fn at(&self, percentile: f64) -> Option<u64> {
        let reached = |(known, _): &&(f64, u64)| *known >= percentile - 1e-9;
        (self.count > 0).then(|| self.percentiles.iter().find(reached).map_or(self.max, |(_, latency)| *latency))
    }
}

/// Latencies value by value, as HdrHistogram's tools want them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Points of the distribution, rising; the more of them, the higher the quantile.
    pub points: Vec<Quantile>,
    /// The mean, in µs.
    pub mean: f64,
    /// The standard deviation, in µs.
    pub deviation: f64,
    /// The largest value, in µs.
    pub max: u64,
    /// Number of values.
    pub count: u64,
    /// Number of buckets of the histogram.
    pub buckets: u64,
    /// Number of parts of each bucket.
    pub sub_buckets: u64,
}

/// A point of a [`Curve`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// The value, in µs.
    pub us: u64,
    /// The share of the values that do not exceed it, 0 to 1.
    pub quantile: f64,
    /// The number of these values.
    pub count: u64,
}

/// One second of the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Talks sent.
    pub talks: u64,
    /// Deliveries received.
    pub deliveries: u64,
    /// Median delivery latency in this second, corrected, in µs.
    pub p50: u64,
    /// p99 delivery latency in this second, corrected, in µs.
    pub p99: u64,
    /// Largest delivery latency in this second, corrected, in µs.
    pub max: u64,
}

/// Latencies in conversations of one class of sizes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// The fewest members of a conversation in the class.
    pub members_min: u64,
    /// The most.
    pub members_max: u64,
    /// Time from the first to the last receipt of each talk that all members have received.
    pub first_to_last: Latency,
    /// Delivery latency from the intended time of sending.
    pub delivery: Latency,
}

/// The sums of the ledger over the whole run. `lost` and the fields after it are 0 if the server made no mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Talks sent.
    pub sent: u64,
    /// Deliveries that these talks must cause.
    pub expected: u64,
    /// Expected deliveries that were received.
    pub received: u64,
    /// Deliveries that the server declared as missed: n - 1 for each folded update with `"missed": n`. The update
    /// itself is the first of the n, and received.
    pub declared_missing: u64,
    /// Deliveries that never came after the server had told the member by `missed` that news may be lost.
    pub told_missing: u64,
    /// Deliveries that never came, and of which nothing was told.
    pub lost: u64,
    /// Deliveries that came again.
    pub duplicated: u64,
    /// Deliveries that came after a later one.
    pub out_of_order: u64,
    /// Updates for somebody else, or of talks that nobody sent.
    pub misdelivered: u64,
}

/// The run that a signal ended. In a search, the report may be that of an earlier trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interruption {
    /// The talks per second that it planned. `None` in the closed loop.
    pub rate: Option<f64>,
    /// The part of its measured time that had passed.
    pub measured: Duration,
}

/// How well the load generator kept its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Generator {
    /// p99 of the lag, in µs: how much later than planned a talk was sent.
    pub lag_p99: u64,
    /// The largest lag, in µs.
    pub lag_max: u64,
    /// The share of the measured time in which the busiest thread did not wait, or the CPU time of an average thread,
    /// whichever is larger.
    pub busy_share: f64,
    /// The machine around it in the measured time. `None` if the system does not tell.
    pub machine: Option<MachineShares>,
}

/// Shares of the time of all processors of the generator's machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachineShares {
    /// The share in which they had nothing to do.
    pub idle: f64,
    /// The share that the host of a virtual machine gave to others although this one had work.
    pub stolen: f64,
}

/// Resources that the process of the server used, or those of all its nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Server {
    /// User and system time within the measured time.
    pub cpu: Duration,
    /// CPU time per delivery within the measured time, in µs. Not finite without deliveries.
    pub cpu_per_delivery: f64,
    /// CPU time per joined connection, in µs, from before the first connection until all have joined and the server is
    /// at rest. Not finite without joins.
    pub cpu_per_join: f64,
    /// Its memory. `None` if it has made earlier runs of this bench: a server keeps memory that it once had, so that
    /// its memory says nothing about this run.
    pub memory: Option<Memory>,
}

/// Memory of the server's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident memory before the first connection, in bytes.
    pub before: u64,
    /// Resident memory with all connections joined and at rest, in bytes.
    pub joined: u64,
    /// The largest resident memory since the server began, in bytes.
    pub peak: u64,
}

/// The figures of one class of mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxFigures {
    /// The class of the actors, such as `conversation`.
    pub actor: String,
    /// Messages in the deepest single mailbox since the server began.
    pub peak: u64,
    /// Messages offered since the server began.
    pub offered: u64,
    /// Messages that a full or closed mailbox has refused since the server began.
    pub rejected: u64,
    /// Median of the waiting time since all have joined, or since the server began if nothing came later, in µs.
    pub wait_p50: Option<u64>,
    /// p99 of the same waiting time, in µs.
    pub wait_p99: Option<u64>,
}

/// The figures that the server exposes in its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// The mailboxes, by class.
    pub mailboxes: Vec<MailboxFigures>,
    /// The largest number of messages that waited in all outboxes together, at a scrape.
    pub outbox_messages: u64,
    /// The largest number of bytes that waited in all outboxes together, at a scrape.
    pub outbox_bytes: u64,
    /// The largest number of joins that waited for MAX, at a scrape.
    pub max_waiting: u64,
    /// Actions against slow readers since the server began, by kind.
    pub slow_actions: Vec<(String, u64)>,
}

/// Where and when a run was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circumstances {
    /// Host name, cores and kernel, as "name, 2 cores, Linux 6.1".
    pub machine: String,
    /// The build of this program.
    pub build: String,
    /// The start of the run, in RFC 3339, UTC.
    pub began: String,
    /// The server's URL.
    pub url: String,
    /// The server's build and configuration, as far as known.
    pub server: String,
    /// Whether the bench started the server.
    pub spawned: bool,
    /// Whether a file named the users or gave their tokens.
    pub users_of_a_file: bool,
    /// The file that describes the server's protocol. `None` for maxtalk's own.
    pub protocol: Option<String>,
}

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Where and when the run was made.
    pub circumstances: Circumstances,
    /// The plan of the run.
    pub plan: Plan,
    /// Number of conversations.
    pub conversations: usize,
    /// Members of the largest conversation.
    pub members_max: usize,
    /// The measured time. Shorter than planned if the run was interrupted.
    pub measured: Duration,
    /// The end by a signal, if one came.
    pub interrupted: Option<Interruption>,
    /// Time from a join to `listening`.
    pub joins: Latency,
    /// Delivery latency from the intended time of sending.
    pub corrected: Latency,
    /// The same, for HdrHistogram's tools.
    pub curve: Curve,
    /// Delivery latency from the real time of sending.
    pub raw: Latency,
    /// Time from the intended time of sending until all members have received the talk.
    pub last: Latency,
    /// The measured time second by second. The rates of talks and deliveries are sums of these divided by `measured`.
    pub seconds: Vec<Second>,
    /// Latencies by size of conversation, the smallest first.
    pub spreads: Vec<Spread>,
    /// Time from the end of a burst until the last of its deliveries was received: that of the burst for which it was
    /// longest. `None` if the talks did not come in bursts, or nothing was delivered.
    pub drained: Option<Duration>,
    /// The sums of the ledger.
    pub accounts: Accounts,
    /// Bytes received from the server in the measured time. `None` if the run ended before the talks began.
    pub received_bytes: Option<u64>,
    /// Leaves by churn in the measured time. Fewer than planned if too few users were there to leave.
    pub leaves: u64,
    /// Connections that failed or ended early.
    pub connections_lost: u64,
    /// Leaves, and joins after them, that were refused, not answered, or answered with other conversations than before.
    pub churn_failures: u64,
    /// Planned talks that were not sent because the server did not read or had closed the talker's connection.
    pub talks_not_taken: u64,
    /// Talks that the server refused.
    pub refused_talks: u64,
    /// Those of them that were refused as `rate_limited`. The server tells at most one a second to each session.
    pub limited_talks: u64,
    /// Joins that the server refused.
    pub refused_joins: u64,
    /// Refusals and failures by kind.
    pub errors: Vec<(String, u64)>,
    /// The events that the server sent and the file of `--protocol` does not name, with their number. Empty without a
    /// file.
    pub unnamed: Vec<(String, u64)>,
    /// How well the generator kept its plan.
    pub generator: Generator,
    /// The processes of the server, if they are on this machine and known.
    pub server: Option<Server>,
    /// The figures of the nodes, if there are several.
    pub cluster: Option<Cluster>,
    /// The figures that the server exposes, if its metrics can be read.
    pub exposed: Option<Exposed>,
    /// The search that led to this run. The run is then the best of its trials.
    pub knee: Option<Knee>,
}

impl Report {
    /// Returns the planned talks per second. `None` in the closed loop, which plans none.
    pub fn planned_per_s(&self) -> Option<f64> {
        self.plan.pace.rate()
    }

    /// Returns the talks per second that were sent in the measured time.
    pub fn talks_per_s(&self) -> f64 {
        self.per_s(self.talks_measured())
    }

    /// Returns the deliveries per second that were received in the measured time.
    pub fn deliveries_per_s(&self) -> f64 {
        self.per_s(self.seconds.iter().map(|second| second.deliveries).sum())
    }

    /// Returns the bytes per second that were received in the measured time.
    pub fn bytes_per_s(&self) -> Option<f64> {
        self.received_bytes.map(|bytes| self.per_s(bytes))
    }

    /// Returns the leaves per second in the measured time.
    pub fn leaves_per_s(&self) -> f64 {
        self.per_s(self.leaves)
    }

    /// Returns the resident bytes that the server needs for a connection that has joined and is at rest. `None` if the
    /// server's process is not known or has made earlier runs, or nobody has joined.
    pub fn memory_per_connection(&self) -> Option<f64> {
        // With churn there are more joins than connections; if some fail, there are fewer.
        let joined = self.joins.count.min(self.plan.connections as u64);
        let memory = self.server?.memory.filter(|memory| memory.joined > 0 && joined > 0)?;
        Some(memory.joined.saturating_sub(memory.before) as f64 / joined as f64)
    }

    /// Returns the faults by name, with their number: those of the server, and `unaccounted for`, a fault of the bench.
    /// Empty if there are none.
    pub fn faults(&self) -> Vec<(&'static str, u64)> {
        let accounts = &self.accounts;
        let mut faults = vec![
            ("lost", accounts.lost),
            ("duplicated", accounts.duplicated),
            ("out of order", accounts.out_of_order),
            ("misdelivered", accounts.misdelivered),
            ("unaccounted for", self.unaccounted()),
            ("connections failed or lost", self.connections_lost),
            ("joins or leaves that failed", self.churn_failures),
            ("talks that the server did not take", self.talks_not_taken),
        ];
        faults.retain(|(_, number)| *number > 0);
        faults
    }

    /// Drops the memory figures. A server keeps memory that it once had, so only its first run shows what connections
    /// need.
    pub(super) fn forget_memory(&mut self) {
        if let Some(server) = &mut self.server {
            server.memory = None;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.forget_memory();
        }
    }

    /// Whether there are no faults.
    pub fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }

    /// Whether the run is valid and clean and, after a search, a rate held the objective.
    pub fn is_good(&self) -> bool {
        self.is_clean() && self.is_valid() && self.knee.as_ref().is_none_or(|knee| knee.best().is_some())
    }

    /// Whether a server that the bench did not start refused talks because one session sent too many. The limit of a
    /// server of its own was chosen for the run.
    pub(super) fn is_limited(&self) -> bool {
        self.limited_talks > 0 && !self.circumstances.spawned
    }

    /// Returns the amount by which the accounts do not balance. It is 0 unless the bench itself is wrong.
    pub fn unaccounted(&self) -> u64 {
        let Accounts { received, declared_missing, told_missing, lost, .. } = self.accounts;
        let parts = [received, declared_missing, told_missing, lost];
        self.accounts.expected.abs_diff(parts.into_iter().fold(0, u64::saturating_add))
    }

    fn talks_measured(&self) -> u64 {
        self.seconds.iter().map(|second| second.talks).sum()
    }

    fn per_s(&self, number: u64) -> f64 {
        if self.measured.is_zero() { 0.0 } else { number as f64 / self.measured.as_secs_f64() }
    }
}
