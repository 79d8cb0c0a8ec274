//! The search for the highest rate that holds an objective: the rate is doubled until one fails, then bisected. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::outcome::{Doubt, Generator, Judgement, KneeStep, Miss, RATE_MIN, Report, Trial};
use super::plan::LAG_MAX;
use super::units::{TimeError, time};

/// The search ends when the lowest failed rate is at most this many times the highest held one.
const PRECISION: f64 = 1.05;
/// Number of trials after which the search ends in any case.
const STEPS_MAX: usize = 24;
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
    /// Judges a run. Every objective includes that nothing is duplicated, out of order or misdelivered: such a fault
    /// fails the trial, however late the generator was. A run that kept all terms and its planned rate holds, however
    /// late the generator was: lateness can only make it look worse. If a term failed while the generator did not keep
    /// its plan, nobody knows whose fault that is.
    pub fn judge(&self, report: &Report) -> Judgement {
        let wrong = wrong(report);
        let missed = self.terms.iter().flat_map(|term| term.missed(report)).collect::<Vec<_>>();
        let doubts = report.doubts();
        let is_sent = !doubts.iter().any(|doubt| matches!(doubt, Doubt::TooFew { .. } | Doubt::NoTalk));
        let trial = match (wrong.is_empty(), missed.is_empty()) {
            (false, _) => Trial::Fails,
            (true, true) if is_sent => Trial::Holds,
            (true, _) if doubts.is_empty() => Trial::Fails,
            (true, _) => Trial::Unproven,
        };
        Judgement { trial, missed: [wrong, missed].concat() }
    }

    /// Returns the p99 lag of the generator that trials of this objective allow: a tenth of its smallest bound, and at
    /// least a millisecond.
    pub fn lag_max(&self) -> Duration {
        let bounds = self.terms.iter().filter_map(|term| match *term {
            Term::Percentile(_, us) | Term::Max(us) => Some(us),
            Term::NoLoss => None,
        });
        bounds.min().map_or(LAG_MAX, |us| Duration::from_micros(us / 10)).max(LAG_MAX)
    }
}

impl Term {
    /// Returns what a run missed of this term. Empty if the term was kept.
    fn missed(&self, report: &Report) -> Vec<Miss> {
        let corrected = &report.corrected;
        let (percentile, us, bound) = match *self {
            Self::Percentile(percentile, bound) => (Some(percentile), corrected.at(percentile), bound),
            Self::Max(bound) => (None, (corrected.count > 0).then_some(corrected.max), bound),
            Self::NoLoss => return losses(report),
        };
        let is_kept = us.is_some_and(|us| us < bound);
        if is_kept { Vec::new() } else { vec![Miss::Latency { percentile, us, bound }] }
    }
}

/// Returns what no objective allows.
fn wrong(report: &Report) -> Vec<Miss> {
    let accounts = &report.accounts;
    faults([
        ("duplicated", accounts.duplicated),
        ("out of order", accounts.out_of_order),
        ("misdelivered", accounts.misdelivered),
    ])
}

/// Returns everything that `loss=0` forbids: deliveries that never came or were declared as missed, lost connections,
/// talks that the server did not take, and joins or leaves that failed.
fn losses(report: &Report) -> Vec<Miss> {
    let accounts = &report.accounts;
    let mut losses = Vec::new();
    if accounts.lost > 0 {
        losses.push(Miss::Lost { lost: accounts.lost, expected: accounts.expected });
        if report.refused_talks > 0 && accounts.sent > 0 {
            losses.push(Miss::Refused { share: report.refused_talks as f64 / accounts.sent as f64 });
        }
    }
    losses.extend(faults([
        ("declared as missed", accounts.declared_missing),
        ("told by missed", accounts.told_missing),
        ("connections failed or lost", report.connections_lost),
        ("talks that the server did not take", report.talks_not_taken),
        ("joins or leaves that failed", report.churn_failures),
    ]));
    losses
}

fn faults<const N: usize>(faults: [(&'static str, u64); N]) -> Vec<Miss> {
    faults.into_iter().filter(|(_, number)| *number > 0).map(|(name, number)| Miss::Fault(name, number)).collect()
}

/// Returns the number of everything that `loss=0` forbids.
fn lost(report: &Report) -> u64 {
    let number = |miss| match miss {
        Miss::Lost { lost, .. } => lost,
        Miss::Fault(_, number) => number,
        Miss::Latency { .. } | Miss::Refused { .. } => 0,
    };
    losses(report).into_iter().map(number).sum()
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
///
/// A rate that is unproven says nothing about the server. It bounds the search from above, because this machine can
/// show no more, but the search never goes down because of it: if no rate has held before, the search is over.
#[derive(Clone, Debug)]
pub struct Search {
    next: f64,
    /// The highest rate that held.
    held: Option<f64>,
    /// The lowest rate that failed.
    failed: Option<f64>,
    /// The lowest rate that is unproven.
    unproven: Option<f64>,
    steps: Vec<KneeStep>,
}

impl Search {
    /// Creates a search that begins with `rate`.
    pub fn new(rate: f64) -> Self {
        Self { next: rate.max(RATE_MIN), held: None, failed: None, unproven: None, steps: Vec::new() }
    }

    /// Returns the rate to try. `None` if the search is over.
    pub fn next(&self) -> Option<f64> {
        let is_over = match (self.held, self.bound()) {
            (Some(held), Some(bound)) => bound / held <= PRECISION,
            (None, Some(bound)) => self.unproven.is_some() || bound <= RATE_MIN,
            (_, None) => false,
        };
        (!is_over && self.steps.len() < STEPS_MAX).then_some(self.next)
    }

    /// Returns the lowest rate that did not hold, for whatever reason.
    fn bound(&self) -> Option<f64> {
        self.failed.into_iter().chain(self.unproven).reduce(f64::min)
    }

    /// Whether a rate has held.
    pub fn has_held(&self) -> bool {
        self.held.is_some()
    }

    /// Records the result of the rate that [`next`](Self::next) returned.
    pub fn tried(&mut self, report: &Report, judgement: Judgement) {
        let Judgement { trial, missed } = judgement;
        self.record(KneeStep {
            rate: self.next,
            achieved: report.talks_per_s(),
            p99: report.corrected.at(99.0),
            lost: lost(report),
            generator: report.generator,
            limited: report.is_limited(),
            missed,
            trial,
        });
    }

    /// Records that the rate that [`next`](Self::next) returned could not be tried.
    pub fn failed(&mut self) {
        let (generator, missed, trial) = (Generator::default(), Vec::new(), Trial::Fails);
        self.record(KneeStep {
            rate: self.next,
            achieved: 0.0,
            p99: None,
            lost: 0,
            generator,
            limited: false,
            missed,
            trial,
        });
    }

    fn record(&mut self, step: KneeStep) {
        let trial = step.trial;
        self.steps.push(step);
        let of_trial = match trial {
            Trial::Holds => &mut self.held,
            Trial::Fails => &mut self.failed,
            Trial::Unproven => &mut self.unproven,
        };
        *of_trial = Some(self.next);
        self.next = match (self.held, self.bound()) {
            (Some(held), Some(bound)) => (held * bound).sqrt(),
            (Some(held), None) => held * 2.0,
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
    use crate::bench::outcome::{Knee, Latency, samples};
    use crate::bench::plan::{Pace, Plan};

    /// Makes a search from `begin`, in which `judge` gives the result of each rate.
    fn searched(begin: f64, judge: impl Fn(f64) -> Trial) -> Knee {
        let mut search = Search::new(begin);
        let report = samples::good();
        while let Some(rate) = search.next() {
            search.tried(&report, Judgement { trial: judge(rate), missed: Vec::new() });
        }
        Knee { steps: search.into_steps(), ..Knee::default() }
    }

    fn rates(knee: &Knee) -> Vec<f64> {
        knee.steps.iter().map(|step| step.rate).collect()
    }

    #[test]
    fn finds_the_knee_from_either_side() {
        let tried =
            |begin: f64, knee: f64| searched(begin, |rate| if rate <= knee { Trial::Holds } else { Trial::Fails });
        for (begin, knee) in [(1000.0, 5500.0), (1000.0, 130.0), (1000.0, 1000.0), (1.0, 70_000.0)] {
            let found = tried(begin, knee);
            let best = found.best().unwrap().rate;
            assert!(best <= knee && knee / best <= PRECISION && found.is_proven(), "{knee}: {found:?}");
            assert!(found.steps.len() <= STEPS_MAX);
        }
        assert_eq!(rates(&tried(8.0, 0.0)), [8.0, 4.0, 2.0, 1.0]);
        let endless = tried(1000.0, f64::MAX);
        assert!(endless.steps.len() == STEPS_MAX && !endless.is_proven(), "nothing failed");
    }

    #[test]
    fn a_generator_that_is_late_never_lowers_the_answer() {
        use Trial::{Fails, Holds, Unproven};
        // The rate to begin with; up to which rate the objective holds; from which on the generator is late, so that
        // what fails is unproven; the best rate; whether the search proves that there is no higher one.
        let table = [
            (1000.0, 5500.0, 1e9, 5500.0, true),
            (1000.0, 5500.0, 6100.0, 5500.0, true),
            (1000.0, 5500.0, 3000.0, 5500.0, false),
            (1000.0, 5500.0, 0.0, 5500.0, false),
            (8000.0, 5500.0, 1e9, 5500.0, true),
            (8000.0, 5500.0, 8000.0, 0.0, false),
            (8000.0, 500.0, 3000.0, 0.0, false),
            (1000.0, 0.0, 0.0, 0.0, false),
            (1000.0, 0.0, 1e9, 0.0, true),
        ];
        for (begin, knee, late, best, is_proven) in table {
            let judge = |rate: f64| match (rate <= knee, rate >= late) {
                (true, _) => Holds,
                (false, true) => Unproven,
                (false, false) => Fails,
            };
            let found = searched(begin, judge);
            let case = format!("{begin} {knee} {late}: {found:?}");
            let found_best = found.best().map_or(0.0, |step| step.rate);
            assert!(found_best <= best && best <= found_best * PRECISION, "{case}");
            assert_eq!(found.is_proven(), is_proven, "{case}");
            for at in (1..found.steps.len()).filter(|at| found.steps[at - 1].trial == Unproven) {
                let before = found.steps[..at].iter().filter(|step| step.trial == Holds).map(|step| step.rate);
                assert!(before.fold(0.0, f64::max) < found.steps[at].rate, "{case}");
            }
        }
        let hopeless = searched(1000.0, |_| Unproven);
        assert_eq!(rates(&hopeless), [1000.0], "no lower rate is tried for want of the generator");
    }

    #[test]
    fn the_lag_allowed_follows_the_objective() {
        for (objective, ms) in [("p99<50ms,loss=0", 5), ("max<1s,p99<30ms", 3), ("p99<2ms", 1), ("loss=0", 1)] {
            assert_eq!(objective.parse::<Objective>().unwrap().lag_max(), Duration::from_millis(ms), "{objective}");
        }
    }

    #[test]
    fn a_trial_that_misses_terms_names_them() {
        let missed = |report: &Report| "p99<1us,max<1h,loss=0".parse::<Objective>().unwrap().judge(report).missed;
        let report = samples::good();
        let late = Miss::Latency { percentile: Some(99.0), us: report.corrected.at(99.0), bound: 1 };
        assert_eq!(missed(&report), [late]);
        let mut faulty = report.clone();
        (faulty.accounts.lost, faulty.accounts.duplicated, faulty.connections_lost) = (3, 2, 1);
        faulty.refused_talks = 600;
        let lost = [Miss::Lost { lost: 3, expected: 600_000 }, Miss::Refused { share: 0.01 }];
        let expected =
            [&[Miss::Fault("duplicated", 2), late][..], &lost, &[Miss::Fault("connections failed or lost", 1)]];
        assert_eq!(missed(&faulty), expected.concat());
        let silent = Report { corrected: Latency::default(), ..report };
        let none = |percentile, bound| Miss::Latency { percentile, us: None, bound };
        assert_eq!(missed(&silent), [none(Some(99.0), 1), none(None, 3_600_000_000)]);
    }

    #[test]
    fn an_objective_holds_or_not() {
        let report = samples::good();
        let p99 = report.corrected.at(99.0).unwrap();
        let judge = |text: &str, report: &Report| text.parse::<Objective>().unwrap().judge(report).trial;
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
        // What a late generator keeps, the server kept; what it misses may be its own fault.
        let mut late = report.clone();
        late.generator.lag_p99 = 1_000_000;
        assert_eq!(judge("p99<1h,loss=0", &late), Trial::Holds, "its lag only makes it worse");
        assert_eq!(judge("p99<1us", &late), Trial::Unproven, "that may be the generator's");
        late.seconds.truncate(20);
        assert_eq!(judge("p99<1h,loss=0", &late), Trial::Unproven, "the rate was not sent");
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
            let mut faulty = report.clone();
            spoil(&mut faulty);
            assert_eq!(judge("p99<1h,loss=0", &faulty), Trial::Fails);
            faulty.generator.lag_p99 = 1_000_000;
            let [with_loss, without] = if loses { [Trial::Unproven, Trial::Holds] } else { [Trial::Fails; 2] };
            assert_eq!((judge("p99<1h,loss=0", &faulty), judge("p99<1h", &faulty)), (with_loss, without));
            let mut search = Search::new(1.0);
            search.tried(&faulty, Judgement { trial: Trial::Fails, missed: Vec::new() });
            assert_eq!(search.into_steps()[0].lost, u64::from(loses), "a step shows what it fails for");
        }
        let silent = Report { plan: Plan { pace: Pace::Open { rate: 0.0 }, ..report.plan }, ..samples::empty() };
        assert!(!holds("max<1s", &silent) && !holds("p99<1s", &silent), "nothing came");
        for bad in ["", "p99", "p100<1s", "q<1s", "p99<5", "loss=1", "p99<1s,"] {
            assert!(bad.parse::<Objective>().is_err(), "{bad}");
        }
    }
}
