//! The search for the highest rate that holds an objective: the rate is doubled until one fails, then bisected.

use std::fmt;
use std::str::FromStr;

use super::outcome::{KneeStep, Report, Trial};
use super::units::{TimeError, time};

/// The search ends when the lowest failed rate is at most this many times the highest held one.
const PRECISION: f64 = 1.05;
/// Number of trials after which the search ends in any case.
const STEPS_MAX: usize = 24;
/// The lowest rate that is tried, in talks per second.
const RATE_MIN: f64 = 1.0;

/// An objective, such as `p99<50ms,loss=0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    /// This percentile of the corrected delivery latency is below this many µs.
    Percentile(f64, u64),
    /// All corrected delivery latencies are below this many µs.
    Max(u64),
    /// Nothing is lost.
    NoLoss,
}

impl Objective {
    /// Judges a run. Every objective includes that nothing is duplicated, out of order or misdelivered. Such faults,
    /// and losses under `loss=0`, fail the trial even if the generator was late: its lateness excuses only latencies.
    pub fn judge(&self, report: &Report) -> Trial {
        let kept = |term: &Term| match *term {
            Term::Percentile(percentile, us) => report.corrected.at(percentile).is_some_and(|found| found < us),
            Term::Max(us) => report.corrected.count > 0 && report.corrected.max < us,
            Term::NoLoss => lost(report) == 0,
        };
        let accounts = &report.accounts;
        let is_right = accounts.duplicated + accounts.out_of_order + accounts.misdelivered == 0;
        let loses = self.terms.contains(&Term::NoLoss) && !kept(&Term::NoLoss);
        if loses || !is_right {
            Trial::Fails
        } else if !report.is_valid() {
            Trial::Unproven
        } else if self.terms.iter().all(kept) {
            Trial::Holds
        } else {
            Trial::Fails
        }
    }
}

/// Returns the number of everything that `loss=0` forbids: deliveries that never came or were declared as missed, lost
/// connections, talks that the server did not take, and joins or leaves that failed.
fn lost(report: &Report) -> u64 {
    let deliveries = report.accounts.lost + report.accounts.declared_missing;
    deliveries + report.connections_lost + report.talks_not_taken + report.churn_failures
}

/// Why a text is not an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectiveError {
    /// The name before `<` is not `max` or a percentile below 100.
    #[error("{0:?} is not a percentile such as p99 or p99.9")]
    Percentile(String),
    /// A term has an unknown form.
    #[error("{0:?} is not one of p99<50ms, max<1s, loss=0")]
    Term(String),
    /// The bound of a term is not a length of time.
    #[error(transparent)]
    Time(#[from] TimeError),
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let us = |text: &str| time(text).map(|time| time.as_micros() as u64);
        let term = |term: &str| match term.split_once('<') {
            Some(("max", time)) => Ok(Term::Max(us(time)?)),
            Some((name, time)) => {
                let percentile = name.strip_prefix('p').and_then(|number| number.parse().ok());
                match percentile.filter(|percentile| (0.0..100.0).contains(percentile)) {
                    Some(percentile) => Ok(Term::Percentile(percentile, us(time)?)),
                    None => Err(ObjectiveError::Percentile(name.to_owned())),
                }
            }
            None if term == "loss=0" => Ok(Term::NoLoss),
            None => Err(ObjectiveError::Term(term.to_owned())),
        };
        let terms = text.split(',').map(str::trim).map(term).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), terms })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The search. It names the rate to try next, and is told the result.
#[derive(Clone, Debug)]
pub struct Search {
    next: f64,
    /// The highest rate that held.
    below: Option<f64>,
    /// The lowest rate that did not hold.
    above: Option<f64>,
    steps: Vec<KneeStep>,
}

impl Search {
    /// Creates a search that begins with `rate`.
    pub fn new(rate: f64) -> Self {
        Self { next: rate.max(RATE_MIN), below: None, above: None, steps: Vec::new() }
    }

    /// Returns the rate to try. `None` if the search is over.
    pub fn next(&self) -> Option<f64> {
        let found = match (self.below, self.above) {
            (Some(below), Some(above)) => above / below <= PRECISION,
            (None, Some(above)) => above <= RATE_MIN,
            (_, None) => false,
        };
        (!found && self.steps.len() < STEPS_MAX).then_some(self.next)
    }

    /// Whether a rate has held.
    pub fn has_held(&self) -> bool {
        self.below.is_some()
    }

    /// Records the result of the rate that [`next`](Self::next) returned.
    pub fn tried(&mut self, report: &Report, trial: Trial) {
        self.record(KneeStep {
            rate: self.next,
            achieved: report.talks_per_s(),
            p99: report.corrected.at(99.0),
            lost: lost(report),
            trial,
        });
    }

    /// Records that the rate that [`next`](Self::next) returned could not be tried.
    pub fn failed(&mut self) {
        self.record(KneeStep { rate: self.next, achieved: 0.0, p99: None, lost: 0, trial: Trial::Fails });
    }

    fn record(&mut self, step: KneeStep) {
        let trial = step.trial;
        self.steps.push(step);
        match trial {
            Trial::Holds => self.below = Some(self.next),
            Trial::Fails | Trial::Unproven => self.above = Some(self.next),
        }
        self.next = match (self.below, self.above) {
            (Some(below), Some(above)) => (below * above).sqrt(),
            (Some(below), None) => below * 2.0,
            (None, _) => (self.next / 2.0).max(RATE_MIN),
        };
    }

    /// Returns all trials in order.
    pub fn into_steps(self) -> Vec<KneeStep> {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::samples;
    use crate::bench::plan::{Pace, Plan};

    /// Returns the rates that are tried if all up to `knee` hold.
    fn tried(begin: f64, knee: f64) -> Vec<f64> {
        let mut search = Search::new(begin);
        let report = samples::good();
        while let Some(rate) = search.next() {
            search.tried(&report, if rate <= knee { Trial::Holds } else { Trial::Fails });
        }
        search.into_steps().iter().map(|step| step.rate).collect()
    }

    #[test]
    fn finds_the_knee_from_either_side() {
        for (begin, knee) in [(1000.0, 5500.0), (1000.0, 130.0), (1000.0, 1000.0), (1.0, 70_000.0)] {
            let rates = tried(begin, knee);
            let best = rates.iter().copied().filter(|rate| *rate <= knee).fold(0.0, f64::max);
            assert!(knee / best <= PRECISION, "{knee}: {rates:?}");
            assert!(rates.len() <= STEPS_MAX);
        }
        assert_eq!(tried(8.0, 0.0), [8.0, 4.0, 2.0, 1.0]);
        assert_eq!(tried(1000.0, f64::MAX).len(), STEPS_MAX);
    }

    #[test]
    fn an_objective_holds_or_not() {
        let report = samples::good();
        let p99 = report.corrected.at(99.0).unwrap();
        let judge = |text: &str, report: &Report| text.parse::<Objective>().unwrap().judge(report);
        let holds = |text: &str, report: &Report| judge(text, report) == Trial::Holds;
        assert!(holds("loss=0", &report));
        assert!(holds(&format!("p99<{}us, max<1h,loss=0", p99 + 1), &report));
        assert!(!holds(&format!("p99<{p99}us"), &report));
        assert!(!holds(&format!("p50<1s,max<{}us", report.corrected.max), &report));
        let mut lossy = report.clone();
        lossy.accounts.lost = 1;
        assert!(holds("p99<1h", &lossy) && !holds("p99<1h,loss=0", &lossy));
        let mut refused = report.clone();
        refused.talks_not_taken = 1;
        assert_eq!((judge("p99<1h,loss=0", &refused), judge("p99<1h", &refused)), (Trial::Fails, Trial::Holds));
        let mut disordered = report.clone();
        disordered.accounts.out_of_order = 1;
        assert_eq!(judge("p99<1h", &disordered), Trial::Fails);
        let mut late = report;
        late.generator.lag_p99 = 1_000_000;
        assert_eq!(judge("p99<1h,loss=0", &late), Trial::Unproven);
        assert_eq!(judge("p99<1us", &late), Trial::Unproven, "that may be the generator's");
        // A late generator is no excuse for these.
        type Spoil = fn(&mut Report);
        let faults: [Spoil; 6] = [
            |report| report.accounts.duplicated = 1,
            |report| report.accounts.out_of_order = 1,
            |report| report.accounts.misdelivered = 1,
            |report| report.accounts.lost = 1,
            |report| report.accounts.declared_missing = 1,
            |report| report.connections_lost = 1,
        ];
        for (spoil, loses) in faults.into_iter().zip([false, false, false, true, true, true]) {
            let mut faulty = late.clone();
            spoil(&mut faulty);
            assert_eq!(judge("p99<1h,loss=0", &faulty), Trial::Fails);
            assert_eq!(judge("p99<1h", &faulty), if loses { Trial::Unproven } else { Trial::Fails });
            let mut search = Search::new(1.0);
            search.tried(&faulty, Trial::Fails);
            assert_eq!(search.into_steps()[0].lost, u64::from(loses), "a step shows what it fails for");
        }
        let silent = Report { plan: Plan { pace: Pace::Open { rate: 0.0 }, ..late.plan }, ..samples::empty() };
        assert!(!holds("max<1s", &silent) && !holds("p99<1s", &silent), "nothing came");
        for bad in ["", "p99", "p100<1s", "q<1s", "p99<5", "loss=1", "p99<1s,"] {
            assert!(bad.parse::<Objective>().is_err(), "{bad}");
        }
    }
}
