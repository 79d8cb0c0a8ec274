//! The search for the highest rate as its trials, and what they prove.

use super::Generator;

/// The lowest rate that a search tries, in talks per second.
pub(in crate::bench) const RATE_MIN: f64 = 1.0;

/// The result of a trial of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The objective was held.
    Holds,
    /// The objective was not held.
    Fails,
    /// The objective was not held, or the rate was not sent, and the figures are doubtful, so that nobody knows whose
    /// fault that is.
    Unproven,
}

impl Trial {
    /// Returns the name that reports use.
    pub(in crate::bench) fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Unproven => "unproven",
        }
    }
}

/// A term of the objective that a trial missed, and by how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Miss {
    /// A latency was not below its bound.
    Latency {
        /// The percentile. `None` for the largest latency.
        percentile: Option<f64>,
        /// The latency, in µs. `None` if nothing was delivered.
        us: Option<u64>,
        /// The bound, in µs.
        bound: u64,
    },
    /// Deliveries never came.
    Lost {
        /// Their number.
        lost: u64,
        /// Number of deliveries that were expected.
        expected: u64,
    },
    /// The server refused talks, whose deliveries are lost therefore.
    Refused {
        /// The share of the talks, 0 to 1.
        share: f64,
    },
    /// Something else that the objective forbids happened, as many times.
    Fault(&'static str, u64),
}

/// The judgement on a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The result.
    pub trial: Trial,
    /// The terms that were missed. Empty if all were kept.
    pub missed: Vec<Miss>,
}

/// One trial of the search for the highest rate.
#[derive(Clone, Debug, PartialEq)]
pub struct KneeStep {
    /// Talks per second that were planned.
    pub rate: f64,
    /// Talks per second that were sent.
    pub achieved: f64,
    /// Delivery p99, corrected, in µs. `None` if nothing was delivered.
    pub p99: Option<u64>,
    /// Everything that `loss=0` forbids: deliveries that never came or were declared as missed, lost connections, talks
    /// that the server did not take, and joins or leaves that failed.
    pub lost: u64,
    /// How well the generator kept its plan.
    pub generator: Generator,
    /// Whether the server refused talks because one session sent too many.
    pub limited: bool,
    /// The terms of the objective that were missed. Empty also if the rate could not be tried.
    pub missed: Vec<Miss>,
    /// The result.
    pub trial: Trial,
}

/// The search for the highest rate that holds an objective.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knee {
    /// The objective as it was given, such as `p99<50ms,loss=0`.
    pub objective: String,
    /// All trials in order.
    pub steps: Vec<KneeStep>,
}

impl Knee {
    /// Returns the trial with the highest rate that held the objective.
    pub fn best(&self) -> Option<&KneeStep> {
        self.steps.iter().filter(|step| step.trial == Trial::Holds).max_by(|a, b| a.rate.total_cmp(&b.rate))
    }

    /// Returns the trial that is unproven and bounds the answer from above, if there is one.
    pub fn unproven(&self) -> Option<&KneeStep> {
        self.next_above().filter(|step| step.trial == Trial::Unproven)
    }

    /// Returns the trial with the lowest rate above the best one.
    pub fn next_above(&self) -> Option<&KneeStep> {
        let best = self.best().map_or(0.0, |best| best.rate);
        self.steps.iter().filter(|step| step.rate > best).min_by(|a, b| a.rate.total_cmp(&b.rate))
    }

    /// Whether the server and not the generator ended the search: the objective failed at the lowest rate above the
    /// best one. If no rate held, it failed at the lowest rate of all.
    pub fn is_proven(&self) -> bool {
        let bound = self.next_above().filter(|step| step.trial == Trial::Fails);
        bound.is_some_and(|step| self.best().is_some() || step.rate <= RATE_MIN)
    }
}
