//! What came of a run, as numbers, and what they are worth. [`text`], [`json`] and [`page`] show them.

mod chart;
mod facts;
pub mod json;
pub mod page;
mod plots;
#[cfg(test)]
pub(super) mod samples;
pub mod text;
mod words;

use std::time::Duration;

pub(super) use self::words::printable;
use self::words::{number, percent};
use super::plan::{Pace, Plan};

/// How late talks may be sent at p99, in µs, for a run in the open loop to be valid.
const LAG_P99_MAX: u64 = 1_000;
/// How busy the generator may be in the open loop: above it, latency is its own rather than the server's.
const BUSY_SHARE_MAX_OPEN: f64 = 0.8;
/// How busy it may be in the closed loop, which keeps it busy by its nature.
const BUSY_SHARE_MAX_CLOSED: f64 = 0.9;
/// How much of the planned rate has to be reached.
const ACHIEVED_SHARE_MIN: f64 = 0.99;

/// One latency distribution, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Percentile (such as 50.0, 99.9) and value in µs, rising; dense enough for a plot up to 99.999.
    pub percentiles: Vec<(f64, u64)>,
    /// The largest, in µs.
    pub max: u64,
    /// The mean, in µs.
    pub mean: f64,
}

impl Latency {
    /// The latency in µs that this percentage of all did not exceed, if there were any.
    pub fn at(&self, percentile: f64) -> Option<u64> {
        let reached = |(known, _): &&(f64, u64)| *known >= percentile - 1e-9;
        (self.count > 0).then(|| self.percentiles.iter().find(reached).map_or(self.max, |(_, latency)| *latency))
    }
}

/// One second of the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Talks sent.
    pub talks: u64,
    /// Deliveries received.
    pub deliveries: u64,
    /// Delivery p50, p99 and max within the second, corrected, in µs.
    pub p50: u64,
    /// See above.
    pub p99: u64,
    /// See above.
    pub max: u64,
}

/// What conversations of about one size have seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// Members, the geometric middle of the class.
    pub members: u64,
    /// From the first to the last receipt of each talk that all members have received.
    pub first_to_last: Latency,
    /// Delivery from the intended time of sending.
    pub delivery: Latency,
}

/// The sums of the ledger, over the whole run. What was declared as missed is accounted for; what follows has to be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Talks sent.
    pub sent: u64,
    /// Deliveries that these have to cause.
    pub expected: u64,
    /// Deliveries that were received and belong to them.
    pub received: u64,
    /// Deliveries that a server has declared as missed: n - 1 by `"missed": n` in a folded update, which is itself the
    /// first of the n that were skipped, and received.
    pub declared_missing: u64,
    /// Never came.
    pub lost: u64,
    /// Came again.
    pub duplicated: u64,
    /// Came behind a later one.
    pub out_of_order: u64,
    /// Came to whom it did not concern, or says what nobody has said.
    pub misdelivered: u64,
}

/// What the generator itself was able to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Generator {
    /// p99 of how much later than planned talks were sent, in µs.
    pub lag_p99: u64,
    /// The largest, in µs.
    pub lag_max: u64,
    /// The share of the measured time in which its busiest thread did not wait; or the CPU time of a thread on average,
    /// where that is more.
    pub busy_share: f64,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Server {
    /// User and system time in the measured time.
    pub cpu: Duration,
    /// The same by delivery, in µs. Not finite where there was none, as below.
    pub cpu_per_delivery: f64,
    /// CPU time from before the first connection until all have joined and the server is at rest, by connection that
    /// has joined, in µs.
    pub cpu_per_join: f64,
    /// Resident memory before the first connection, in bytes.
    pub rss_before: u64,
    /// Resident memory with all connections joined and at rest, in bytes.
    pub rss_joined: u64,
    /// The largest since the server began, in bytes.
    pub rss_peak: u64,
}

/// What a trial of a rate has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The objective was held.
    Holds,
    /// It was not.
    Fails,
    /// The generator did not keep its plan, so that nobody knows.
    Unproven,
}

/// One trial of the search for the highest rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KneeStep {
    /// Talks per second that were planned.
    pub rate: f64,
    /// Talks per second that were sent.
    pub achieved: f64,
    /// Delivery p99, corrected, in µs: none where nothing came.
    pub p99: Option<u64>,
    /// Deliveries that never came or were declared as missed, and connections.
    pub lost: u64,
    /// What came of it.
    pub trial: Trial,
}

/// The search for the highest rate that holds an objective.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knee {
    /// The objective as it was given, such as `p99<50ms,loss=0`.
    pub objective: String,
    /// All trials, in their order.
    pub steps: Vec<KneeStep>,
}

impl Knee {
    /// The trial of the highest rate that held the objective.
    pub fn best(&self) -> Option<&KneeStep> {
        self.steps.iter().filter(|step| step.trial == Trial::Holds).max_by(|a, b| a.rate.total_cmp(&b.rate))
    }
}

impl Trial {
    /// As reports call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Unproven => "unproven",
        }
    }
}

/// Where and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circumstances {
    /// Host name, cores, kernel, as "name, 2 cores, Linux 6.1".
    pub machine: String,
    /// The build of this program.
    pub build: String,
    /// RFC 3339, UTC.
    pub began: String,
    /// The server's URL.
    pub url: String,
    /// What is known of the server's build and configuration.
    pub server: String,
    /// Whether a file has named the users or given their tokens.
    pub users_of_a_file: bool,
}

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Where and when.
    pub circumstances: Circumstances,
    /// What was to be done.
    pub plan: Plan,
    /// Conversations there were.
    pub conversations: usize,
    /// Members of the largest one.
    pub members_max: usize,
    /// The time that was measured: less than planned where the run was interrupted.
    pub measured: Duration,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
    /// Time from a join to `listening`.
    pub joins: Latency,
    /// Delivery from the intended time of sending.
    pub corrected: Latency,
    /// Delivery from the real time of sending.
    pub raw: Latency,
    /// From the intended time of sending until all members have received it.
    pub last: Latency,
    /// The measured time second by second: rates are sums of these by `measured`.
    pub seconds: Vec<Second>,
    /// By size of conversation, the smallest first.
    pub spreads: Vec<Spread>,
    /// The sums.
    pub accounts: Accounts,
    /// Bytes that came from the server in the measured time, where they were counted.
    pub received_bytes: Option<u64>,
    /// Leaves of the churn in the measured time: fewer than planned where nobody was there who could leave.
    pub leaves: u64,
    /// Connections that ended before their time.
    pub connections_lost: u64,
    /// Leaves, and joins after them, that were refused, not answered, or answered with other conversations than before.
    pub churn_failures: u64,
    /// Talks that were to be sent, and were not: the server did not read, or has closed the talker's connection.
    pub talks_not_taken: u64,
    /// Refusals and failures by code or kind.
    pub errors: Vec<(String, u64)>,
    /// Whether this side kept its plan.
    pub generator: Generator,
    /// The server, where it runs on this machine and is known.
    pub server: Option<Server>,
    /// The search that led to this run, if there was one: the run itself is then the best of its steps.
    pub knee: Option<Knee>,
}

impl Report {
    /// Talks per second that were to be sent: nothing in the closed loop, which takes what it gets.
    pub fn planned_per_s(&self) -> Option<f64> {
        match self.plan.pace {
            Pace::Open { rate } => Some(rate),
            Pace::Closed { .. } => None,
        }
    }

    /// Talks per second that were sent in the measured time.
    pub fn talks_per_s(&self) -> f64 {
        self.per_s(self.talks_measured())
    }

    /// Deliveries per second that came in the measured time.
    pub fn deliveries_per_s(&self) -> f64 {
        self.per_s(self.seconds.iter().map(|second| second.deliveries).sum())
    }

    /// Bytes per second that came in the measured time, where they were counted.
    pub fn bytes_per_s(&self) -> Option<f64> {
        self.received_bytes.map(|bytes| self.per_s(bytes))
    }

    /// Leaves per second in the measured time.
    pub fn leaves_per_s(&self) -> f64 {
        self.per_s(self.leaves)
    }

    /// Resident bytes that the server needs for a connection that has joined and is at rest, where the server is known.
    pub fn memory_per_connection(&self) -> Option<f64> {
        // With churn there are more joins than connections, and where some fail, fewer.
        let joined = self.joins.count.min(self.plan.connections as u64);
        let server = self.server.filter(|server| server.rss_joined > 0 && joined > 0)?;
        Some(server.rss_joined.saturating_sub(server.rss_before) as f64 / joined as f64)
    }

    /// Why the figures say nothing about the server, if so. A plan without talks is a run at rest: its joins and its
    /// memory are worth what they are.
    pub fn invalid(&self) -> Option<String> {
        let mut reasons = Vec::new();
        let Generator { lag_p99, busy_share, .. } = self.generator;
        match self.plan.pace {
            Pace::Open { rate } => {
                if lag_p99 > LAG_P99_MAX {
                    let (lag, max) = (number(lag_p99 as f64 / 1e3), number(LAG_P99_MAX as f64 / 1e3));
                    reasons.push(format!("the generator was late, by {lag} ms at p99, where {max} ms are allowed"));
                }
                if busy_share > BUSY_SHARE_MAX_OPEN {
                    let (share, max) = (percent(busy_share), percent(BUSY_SHARE_MAX_OPEN));
                    reasons.push(format!("the generator was busy for {share} of the time, where {max} are allowed"));
                }
                // A talk may fall on either side of the end, and what the server does not take is its own fault.
                let tried = self.talks_measured().saturating_add(self.talks_not_taken);
                let missed = rate * self.measured.as_secs_f64() * ACHIEVED_SHARE_MIN - tried as f64;
                if self.talks_measured() > 0 && missed > 1.0 {
                    let (achieved, share) = (number(self.talks_per_s()), percent(self.talks_per_s() / rate));
                    reasons.push(format!("only {achieved} talks/s of {} were sent, {share}", number(rate)));
                }
            }
            // Nothing is ever late in the closed loop, and a busy generator slows the talks down, not the server.
            Pace::Closed { .. } if busy_share > BUSY_SHARE_MAX_CLOSED => reasons.push(format!(
                "the generator was the bottleneck, busy for {} of the time: the server can do more than these rates, \
                 and part of the latencies is the generator's own; the server's CPU time and memory hold",
                percent(busy_share)
            )),
            _ => {}
        }
        if self.talks_measured() == 0 && self.talks_not_taken == 0 && self.wants_talks() {
            reasons.push("no talk was sent".to_owned());
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// What is wrong with the accounts, each with its number: nothing if they balance and nobody was lost.
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

    /// Whether the accounts balance and nobody was lost.
    pub fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }

    /// Whether the figures are worth something and the server has done nothing wrong; of a search, whether a rate has
    /// held its objective too.
    pub fn is_good(&self) -> bool {
        self.is_clean() && self.invalid().is_none() && self.knee.as_ref().is_none_or(|knee| knee.best().is_some())
    }

    /// By how much the accounts do not balance: by nothing, unless the bench itself is wrong.
    pub fn unaccounted(&self) -> u64 {
        let Accounts { received, declared_missing, lost, .. } = self.accounts;
        self.accounts.expected.abs_diff(received.saturating_add(declared_missing).saturating_add(lost))
    }

    fn wants_talks(&self) -> bool {
        match self.plan.pace {
            Pace::Open { rate } => rate > 0.0,
            Pace::Closed { window } => window > 0,
        }
    }

    fn talks_measured(&self) -> u64 {
        self.seconds.iter().map(|second| second.talks).sum()
    }

    fn per_s(&self, number: u64) -> f64 {
        if self.measured.is_zero() { 0.0 } else { number as f64 / self.measured.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_run_is_valid_and_clean() {
        let report = samples::good();
        assert_eq!(report.invalid(), None);
        assert!(report.is_clean() && report.is_good(), "{:?}", report.faults());
    }

    #[test]
    fn a_search_that_found_nothing_is_not_good() {
        let mut report = samples::searched();
        assert!(report.is_good());
        report.knee.as_mut().unwrap().steps.retain(|step| step.trial != Trial::Holds);
        assert!(report.invalid().is_none() && report.is_clean() && !report.is_good());
    }

    #[test]
    fn what_voids_a_run_is_named() {
        type Spoil = fn(&mut Report);
        let closed = |report: &mut Report| report.plan.pace = Pace::Closed { window: 64 };
        let open: &[(Spoil, &str)] = &[
            (|report| report.generator.lag_p99 = 1_001, "late, by 1.00 ms at p99"),
            (|report| report.generator.busy_share = 0.83, "busy for 83.0 %"),
            (|report| report.seconds.truncate(29), "only 1,933 talks/s of 2,000 were sent, 96.7 %"),
            (|report| (report.seconds, report.accounts) = (Vec::new(), Accounts::default()), "no talk was sent"),
            (|report| report.measured = Duration::from_secs(31), "only 1,935 talks/s"),
        ];
        for (spoil, reason) in open {
            let mut report = samples::good();
            spoil(&mut report);
            let found = report.invalid().unwrap();
            assert!(found.contains(reason) && !found.contains(';'), "{found}");
        }
        let mut report = samples::good();
        report.seconds.truncate(29);
        report.talks_not_taken = 2_000;
        assert_eq!(report.invalid(), None, "that is the server's fault");
        let mut report = samples::good();
        closed(&mut report);
        (report.generator.lag_p99, report.generator.busy_share) = (5_000, 0.89);
        report.seconds.truncate(10);
        assert_eq!(report.invalid(), None);
        report.generator.busy_share = 0.91;
        assert!(report.invalid().unwrap().starts_with("the generator was the bottleneck, busy for 91.0 %"));
    }

    #[test]
    fn a_talk_may_fall_behind_the_end_and_a_run_at_rest_has_none() {
        let mut report = samples::good();
        report.plan.pace = Pace::Open { rate: 2.0 };
        report.measured = Duration::from_secs(1);
        report.seconds = vec![Second { talks: 1, ..Second::default() }];
        assert_eq!(report.invalid(), None);
        let mut rest = samples::empty();
        assert!(rest.invalid().is_some());
        rest.plan.pace = Pace::Open { rate: 0.0 };
        assert_eq!(rest.invalid(), None);
        assert!(rest.is_clean());
        let mut warm = samples::good();
        (warm.seconds, warm.measured) = (Vec::new(), Duration::ZERO);
        assert_eq!(warm.invalid().unwrap(), "no talk was sent", "it was interrupted in the warm-up");
        rest.generator.busy_share = 0.93;
        assert!(rest.invalid().is_some(), "there may be churn");
    }

    #[test]
    fn each_fault_is_told() {
        type Spoil = fn(&mut Report);
        let table: &[(Spoil, &str)] = &[
            (|report| (report.accounts.lost, report.accounts.received) = (7, report.accounts.received - 7), "lost"),
            (|report| report.accounts.duplicated = 7, "duplicated"),
            (|report| report.accounts.out_of_order = 7, "out of order"),
            (|report| report.accounts.misdelivered = 7, "misdelivered"),
            (|report| report.accounts.received -= 7, "unaccounted for"),
            (|report| report.accounts.received += 7, "unaccounted for"),
            (|report| report.connections_lost = 7, "connections failed or lost"),
            (|report| report.churn_failures = 7, "joins or leaves that failed"),
            (|report| report.talks_not_taken = 7, "talks that the server did not take"),
        ];
        for (spoil, name) in table {
            let mut report = samples::good();
            spoil(&mut report);
            assert_eq!(report.faults(), [(*name, 7)]);
            assert!(!report.is_clean());
        }
        // What a server declares as missed is no loss.
        let mut report = samples::good();
        (report.accounts.declared_missing, report.accounts.received) = (7, report.accounts.received - 7);
        assert!(report.is_clean());
    }

    #[test]
    fn a_percentile_is_the_next_known_one() {
        let latency = Latency { count: 4, percentiles: vec![(50.0, 10), (99.0, 20)], max: 30, mean: 15.0 };
        let at = |percentile| latency.at(percentile).unwrap();
        assert_eq!([at(0.0), at(50.0), at(50.1), at(99.0), at(99.9)], [10, 10, 20, 20, 30]);
        assert_eq!(Latency::default().at(50.0), None);
    }

    #[test]
    fn memory_is_that_of_the_connections_which_have_joined() {
        let mut report = samples::good();
        let all = report.memory_per_connection().unwrap();
        report.joins.count = 12_000;
        assert_eq!(report.memory_per_connection(), Some(all), "some have left and joined again");
        report.joins.count = 5_000;
        assert_eq!(report.memory_per_connection(), Some(2.0 * all));
        report.joins.count = 0;
        assert_eq!(report.memory_per_connection(), None);
    }

    #[test]
    fn the_knee_is_the_highest_rate_that_held() {
        assert_eq!(samples::knee().best().unwrap().rate, 5_500.0);
        assert_eq!(Knee::default().best(), None);
    }
}
