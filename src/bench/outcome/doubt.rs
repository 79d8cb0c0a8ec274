//! The reasons to doubt the figures of a run, or the answer of a search.

use super::{Generator, Report};
use crate::bench::plan::{Bursts, Pace};

/// The share of a burst's length that the p99 lag of a run in bursts may always have. A server that cannot keep up with
/// a burst lets talks wait for much longer than the generator does.
const LAG_P99_OF_BURST_MAX: f64 = 0.05;
/// The busy share above which a run in the open loop is invalid: latency is then the generator's own.
pub(in crate::bench) const BUSY_SHARE_MAX_OPEN: f64 = 0.8;
/// The busy share above which a run in the closed loop is invalid. It is higher, because a closed loop keeps the
/// generator busy by its nature.
pub(in crate::bench) const BUSY_SHARE_MAX_CLOSED: f64 = 0.9;
/// The share of the planned talks that must be sent in the open loop.
const ACHIEVED_SHARE_MIN: f64 = 0.99;

/// A reason why the figures of a run may be those of the generator, or of a limit, rather than the server's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// Talks were sent too late in the open loop.
    Late {
        /// p99 of the lag, in µs.
        lag_p99: u64,
        /// The largest p99 of the lag that is allowed, in µs.
        allowed: u64,
    },
    /// The generator was too busy in the open loop.
    Busy {
        /// The busy share of the measured time.
        share: f64,
    },
    /// Too few of the planned talks were sent in the open loop.
    TooFew {
        /// Talks per second that were sent.
        achieved: f64,
        /// Talks per second that were planned.
        planned: f64,
    },
    /// The generator was too busy in the closed loop.
    Bottleneck {
        /// The busy share of the measured time.
        share: f64,
    },
    /// The plan has talks, and none was sent.
    NoTalk,
    /// A signal came before the measured time.
    Unmeasured {
        /// Number of users that had joined.
        joined: u64,
        /// Number of users that were to join.
        planned: u64,
    },
    /// The server refused talks because one session sent too many: its limit was measured, and not its capacity.
    Limited {
        /// The refusals that it told.
        talks: u64,
    },
    /// The search did not find the knee, because the server refused talks of sessions that sent too many.
    AtLimit {
        /// The highest rate that held, if one did, in talks per second.
        held: Option<f64>,
        /// The rate at which it refused some, in talks per second.
        rate: f64,
    },
    /// The search did not find the knee.
    AtLeast {
        /// The highest rate that held, if one did, in talks per second.
        held: Option<f64>,
        /// The lowest rate that is unproven, in talks per second.
        unproven: Option<f64>,
    },
}

impl Report {
    /// Returns the reasons to doubt the answer: after a search, that the knee may be higher, and otherwise those to
    /// doubt the figures.
    pub fn doubts(&self) -> Vec<Doubt> {
        match &self.knee {
            None => self.doubts_of_run(),
            Some(knee) if knee.is_proven() => Vec::new(),
            Some(knee) => {
                let held = knee.best().map(|best| best.rate);
                vec![match knee.unproven() {
                    Some(step) if step.limited => Doubt::AtLimit { held, rate: step.rate },
                    step => Doubt::AtLeast { held, unproven: step.map(|step| step.rate) },
                }]
            }
        }
    }

    /// Returns the reasons to doubt the figures. A plan without talks is a run at rest, whose joins and memory are
    /// valid.
    pub(in crate::bench) fn doubts_of_run(&self) -> Vec<Doubt> {
        if !self.is_measured() {
            return vec![Doubt::Unmeasured { joined: self.joins.count, planned: self.plan.connections as u64 }];
        }
        let mut doubts = Vec::new();
        if self.is_limited() {
            doubts.push(Doubt::Limited { talks: self.limited_talks });
        }
        let Generator { lag_p99, busy_share: share, .. } = self.generator;
        match self.plan.pace {
            Pace::Open { rate } | Pace::Bursts { rate } => {
                let allowed = self.lag_p99_max();
                if lag_p99 > allowed {
                    doubts.push(Doubt::Late { lag_p99, allowed });
                }
                if share > BUSY_SHARE_MAX_OPEN {
                    doubts.push(Doubt::Busy { share });
                }
                // One talk may fall on either side of the end. A talk that the server did not take is no fault of the
                // generator.
                let tried = self.talks_measured().saturating_add(self.talks_not_taken);
                let missed = rate * self.measured.as_secs_f64() * ACHIEVED_SHARE_MIN - tried as f64;
                if self.talks_measured() > 0 && missed > 1.0 {
                    doubts.push(Doubt::TooFew { achieved: self.talks_per_s(), planned: rate });
                }
            }
            // Nothing is ever late in the closed loop, and a busy generator slows the talks down, not the server.
            Pace::Closed { .. } if share > BUSY_SHARE_MAX_CLOSED => doubts.push(Doubt::Bottleneck { share }),
            Pace::Closed { .. } => {}
        }
        if self.talks_measured() == 0 && self.talks_not_taken == 0 && self.wants_talks() {
            doubts.push(Doubt::NoTalk);
        }
        doubts
    }

    /// Returns the p99 lag, in µs, above which a run in an open loop, steady or in bursts, is invalid.
    pub(in crate::bench) fn lag_p99_max(&self) -> u64 {
        let of_burst = |bursts: Bursts| (bursts.burst_us() as f64 * LAG_P99_OF_BURST_MAX) as u64;
        Bursts::of(&self.plan).map_or(0, of_burst).max(self.plan.lag_max.as_micros() as u64)
    }

    /// Whether there is no reason to doubt the figures.
    pub fn is_valid(&self) -> bool {
        self.doubts().is_empty()
    }

    /// Whether the measured time began. Only a signal keeps it from that.
    pub(in crate::bench) fn is_measured(&self) -> bool {
        self.interrupted.is_none() || !self.measured.is_zero()
    }

    fn wants_talks(&self) -> bool {
        match self.plan.pace {
            Pace::Open { rate } | Pace::Bursts { rate } => rate > 0.0,
            Pace::Closed { window } => window > 0,
        }
    }
}
