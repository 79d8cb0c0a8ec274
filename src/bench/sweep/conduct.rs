//! The servers of a sweep and their runs: the search for the knee first, and then cell by cell.

use std::time::Instant;

use super::axis::Queue;
use super::figures::{Figures, Measure};
use super::grid::{Cell, Grid, GridError};
use super::{Done, Sweep};
use crate::bench::interrupt::Interrupt;
use crate::bench::options::BenchOptions;
use crate::bench::outcome::{Knee, Report};
use crate::bench::plan::Plan;
use crate::bench::report;
use crate::bench::subject::{self, Subject, SubjectError};
use crate::bench::target::{self, Set};
use crate::bench::trials::{self, tell};
use crate::bench::units::minutes;

/// Why there is no sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The grid cannot be.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The search for the knee has no result.
    #[error("the knee of the present value is not known: {0}; give a rate by --knee")]
    Search(#[source] SubjectError),
    /// No rate held the objective.
    #[error("the knee of the present value is not known: no rate held {0}; give a rate by --knee, or another --slo")]
    NoKnee(String),
    /// The generator was too late to show that a rate holds the objective.
    #[error("the knee of the present value is not known: {0}; give a rate by --knee, or begin with a lower --rate")]
    Unproven(String),
}

/// Makes a sweep. It ends early, with the cells so far, when a signal comes.
///
/// # Errors
/// The grid cannot be, or the knee is not found.
pub fn conduct(options: &BenchOptions, interrupt: &Interrupt) -> Result<Sweep, SweepError> {
    let mut sweep = plan(options)?;
    let Some(knee) = knee(options, &mut sweep, interrupt)? else { return Ok(sweep) };
    sweep.knee = Some(knee);
    let cells = sweep.grid.cells();
    let mut clock = Clock::new(cells.len());
    for cell in cells {
        if interrupt.has_come() {
            sweep.interrupted = true;
            break;
        }
        let Some(done) = run(options, &sweep, cell, knee, interrupt) else {
            sweep.interrupted = true;
            break;
        };
        if !options.quiet {
            tell(&clock.line(&sweep.grid, &done));
        }
        sweep.cells.push(done);
    }
    Ok(sweep)
}

/// Returns the sweep before its first run: everything that is known beforehand.
///
/// # Errors
/// The grid cannot be.
pub fn plan(options: &BenchOptions) -> Result<Sweep, SweepError> {
    let grid = options.grid()?;
    let plan = options.plan();
    let people = subject::demo(&plan);
    let config = grid.check(&target::environment(&people))?;
    let companions = grid.companions(&config);
    let mut chosen = target::chosen(&people);
    chosen.retain(|setting| !grid.axes.iter().any(|axis| setting.starts_with(&format!("{} ", axis.key))));
    Ok(Sweep {
        circumstances: subject::circumstances(String::new(), Some(&chosen)),
        plan: Plan { slow_share: grid.slow_share, ..plan },
        present: grid.axes.iter().map(|axis| axis.present(&config)).collect(),
        companions,
        knee: options.sweep.knee,
        search: None,
        cells: Vec::new(),
        interrupted: false,
        grid,
    })
}

/// Returns the rate that the loads are shares of: the one that is given, or the knee of the present value. `None` if
/// the search was interrupted.
fn knee(options: &BenchOptions, sweep: &mut Sweep, interrupt: &Interrupt) -> Result<Option<f64>, SweepError> {
    if let Some(knee) = options.sweep.knee {
        return Ok(Some(knee));
    }
    let plan = Plan { slow_share: 0.0, lag_max: options.lag_max_of_search(), ..sweep.plan.clone() };
    let found = Subject::start(options, plan, Vec::new(), &sweep.companions).and_then(|mut subject| {
        let report = trials::find(options.rate, &options.slo, options.quiet, |pace| subject.run(pace, interrupt));
        subject.end(report)
    });
    let report = match found {
        // A run that has no figures because it was interrupted is no failure.
        Err(_) if interrupt.has_come() => {
            sweep.interrupted = true;
            return Ok(None);
        }
        found => found.map_err(SweepError::Search)?,
    };
    let doubts = report::doubts(&report);
    let Report { knee, interrupted, .. } = report;
    let best = knee.as_ref().and_then(Knee::best).map(|step| step.rate);
    (sweep.search, sweep.interrupted) = (knee, interrupted.is_some());
    if sweep.interrupted {
        return Ok(None);
    }
    match (best, doubts) {
        (Some(best), _) => Ok(Some(best)),
        (None, Some(doubts)) => Err(SweepError::Unproven(doubts)),
        (None, None) => Err(SweepError::NoKnee(options.slo.to_string())),
    }
}

/// Runs a cell, and once more if its figures are doubtful. `None` if it was interrupted.
fn run(options: &BenchOptions, sweep: &Sweep, cell: Cell, knee: f64, interrupt: &Interrupt) -> Option<Done> {
    let plan = Plan {
        pace: cell.load.pace(knee),
        slow_share: if cell.load.slow { sweep.grid.slow_share } else { 0.0 },
        seed: sweep.plan.seed.wrapping_add(cell.repeat.into()),
        ..sweep.plan.clone()
    };
    let settings = [sweep.companions.clone(), sweep.grid.sets(cell.setting)].concat();
    let queue = sweep.grid.axes.first()?.queue;
    let first = run_once(options, &plan, &settings, queue, interrupt)?;
    if first.as_ref().is_ok_and(|figures| figures.doubts.is_empty()) {
        return Some(Done { cell, figures: first, was_repeated: false });
    }
    // If the second run is interrupted, the first one counts.
    let second = run_once(options, &plan, &settings, queue, interrupt);
    Some(Done { cell, was_repeated: second.is_some(), figures: second.unwrap_or(first) })
}

/// Starts a server and makes a run against it. `None` if it was interrupted.
fn run_once(
    options: &BenchOptions,
    plan: &Plan,
    settings: &[Set],
    queue: Queue,
    interrupt: &Interrupt,
) -> Option<Result<Figures, String>> {
    let report = Subject::start(options, plan.clone(), Vec::new(), settings).and_then(|mut subject| {
        let report = subject.run(plan.pace, interrupt);
        subject.end(report)
    });
    match report {
        Ok(report) if report.interrupted.is_some() => None,
        Ok(report) => Some(Ok(Figures::of(&report, queue))),
        Err(_) if interrupt.has_come() => None,
        // The last words of a server are too long for a row.
        Err(error) => Some(Err(error.to_string().lines().next().unwrap_or_default().to_owned())),
    }
}

/// Tells how far a sweep is.
struct Clock {
    began: Instant,
    cells: usize,
    done: usize,
}

impl Clock {
    fn new(cells: usize) -> Self {
        Self { began: Instant::now(), cells, done: 0 }
    }

    /// Returns a line about the next cell that is done.
    fn line(&mut self, grid: &Grid, done: &Done) -> String {
        self.done += 1;
        let Self { began, cells, done: number } = *self;
        let left = began.elapsed() * (cells - number.min(cells)) as u32 / number.max(1) as u32;
        let name = grid.name(done.cell.setting);
        let told = match &done.figures {
            Ok(figures) => {
                let p99 =
                    figures.get(Measure::P99).map_or_else(|| "none".to_owned(), |us| format!("{:.2} ms", us / 1e3));
                let refused = figures.get(Measure::Refused).unwrap_or(0.0) * 100.0;
                let doubts = figures.doubts.first().map_or_else(String::new, |doubt| format!(" (doubtful: {doubt})"));
                format!("p99 {p99}, {refused:.1} % refused{doubts}")
            }
            Err(error) => format!("failed: {error}"),
        };
        format!("{number} of {cells}: {name}, {}: {told}; {} left", done.cell.load, minutes(left))
    }
}
