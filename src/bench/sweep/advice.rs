//! The recommendation of a sweep. Pure.
//!
//! The deciding loads are those of the highest percentage below the knee (95 % by default): steady and in bursts, and
//! with slow readers if there are any. A setting is good if, under each of them,
//!
//! 1. nothing was refused, missed or lost in any run, and the server made no mistake, and
//! 2. the delivery p99 is no worse than that of the best such setting. It is worse if it is more than a fifth, and more
//!    than a millisecond, above the median of the best in every run: a near knee makes the p99 of repeats differ.
//!
//! Runs that are doubtful count for nothing. A setting without a run that can be trusted under each deciding load is
//! unproven, and is not recommended.
//!
//! Of the good settings, the smallest one is recommended, because a queue costs memory, and the time that messages wait
//! in it. If settings have no order, because there are several limits or words, it is the one whose server needs the
//! least memory, in whole MiB, and the first of those.

use std::cmp::Reverse;

use super::figures::{Measure, Row};
use super::grid::{Grid, Load};

/// How much above the best a p99 may be.
const WORSE: f64 = 1.2;
/// How much above the best a p99 may always be, in µs.
const WORSE_US: f64 = 1_000.0;
/// The percentage of the knee itself.
const KNEE_PERCENT: u32 = 100;
/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// The recommendation, and how each setting was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The number of the recommended setting. `None` if none is good.
    pub recommended: Option<usize>,
    /// The deciding loads.
    pub deciding: Vec<Load>,
    /// The judgement on each setting, in the order of the grid.
    pub judgements: Vec<Judgement>,
}

/// The judgement on a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It may be recommended.
    Good,
    /// Something was refused, missed or lost, or went wrong, under this load more than under the others.
    Harms(Load, Harm),
    /// Its p99 is worse than that of the best setting under this load.
    Slow {
        /// The load.
        load: Load,
        /// Its own p99, in µs.
        p99: f64,
        /// The p99 of the best setting, in µs.
        best: f64,
    },
    /// No run under this load can be trusted.
    Unproven(Load, Unproven),
}

/// Something that a good setting does not do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// A share of the talks was refused.
    Refused(f64),
    /// A share of the deliveries was declared as missed.
    Missed(f64),
    /// A share of the deliveries never came.
    Lost(f64),
    /// Something else went wrong, as many times.
    Fault(&'static str, u64),
}

/// Why no run can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// There was no run.
    NotRun,
    /// All runs are doubtful, for this reason.
    Doubtful(String),
    /// A run had no figures, for this reason.
    Failed(String),
}

impl Advice {
    /// Returns the recommendation that these rows make.
    pub(super) fn of(grid: &Grid, rows: &[Row]) -> Self {
        let deciding = deciding(&grid.loads);
        let row = |setting, load| rows.iter().find(|row| (row.setting, row.load) == (setting, load));
        let settings = 0..grid.settings.len();
        let harmless = settings.clone().map(|setting| {
            let rows = deciding.iter().map(|&load| (load, row(setting, load))).collect::<Vec<_>>();
            harm(&rows).or_else(|| unproven(&rows)).map_or(Ok(()), Err)
        });
        let harmless = harmless.collect::<Vec<_>>();
        let p99 = |setting, load| row(setting, load).and_then(|row: &Row| row.span(Measure::P99));
        let best = |load: Load| {
            let medians = settings.clone().filter(|&setting| harmless[setting].is_ok());
            let medians = medians.filter_map(|setting| p99(setting, load)).map(|span| span.median);
            medians.reduce(f64::min)
        };
        let slow = |setting| {
            deciding.iter().find_map(|&load| {
                let (span, best) = (p99(setting, load)?, best(load)?);
                let is_worse = span.min > (best * WORSE).max(best + WORSE_US);
                is_worse.then_some(Judgement::Slow { load, p99: span.median, best })
            })
        };
        let judgement = |(setting, harmless): (usize, &Result<(), Judgement>)| match harmless {
            Err(judgement) => judgement.clone(),
            Ok(()) => slow(setting).unwrap_or(Judgement::Good),
        };
        let judgements = harmless.iter().enumerate().map(judgement).collect::<Vec<_>>();
        let good = settings.filter(|&setting| judgements[setting] == Judgement::Good);
        let recommended = match &grid.axes[..] {
            [axis] if axis.is_ordered() => good.min(),
            _ => good.min_by_key(|&setting| {
                let rss = deciding.iter().filter_map(|&load| row(setting, load)?.median(Measure::Rss));
                ((rss.fold(0.0, f64::max) / MIB).round() as u64, setting)
            }),
        };
        Self { recommended, deciding, judgements }
    }
}

/// Returns the loads of the highest percentage below the knee, or of the lowest one if all are above.
fn deciding(loads: &[Load]) -> Vec<Load> {
    let percents = loads.iter().map(|load| load.percent);
    let percent = percents.clone().filter(|percent| *percent < KNEE_PERCENT).max().or_else(|| percents.min());
    loads.iter().copied().filter(|load| Some(load.percent) == percent).collect()
}

/// Returns the largest harm that a run which can be trusted shows. `None` if none does.
fn harm(rows: &[(Load, Option<&Row>)]) -> Option<Judgement> {
    let trusted = || rows.iter().filter_map(|&(load, row)| Some((load, row.filter(|row| row.valid > 0)?)));
    type Form = fn(f64) -> Harm;
    let shares: [(Measure, Form); 3] =
        [(Measure::Refused, Harm::Refused), (Measure::Missed, Harm::Missed), (Measure::Lost, Harm::Lost)];
    // The deliveries of refused talks are lost too. They are told as refused.
    let shares = shares.into_iter().find_map(|(measure, form)| {
        let harms = trusted().map(|(load, row)| (load, row.worst(measure))).filter(|(_, share)| *share > 0.0);
        let (load, share) = harms.max_by(|a, b| a.1.total_cmp(&b.1).then(Reverse(a.0).cmp(&Reverse(b.0))))?;
        Some(Judgement::Harms(load, form(share)))
    });
    let fault = || {
        let (load, (fault, number)) = trusted().find_map(|(load, row)| Some((load, row.fault()?)))?;
        Some(Judgement::Harms(load, Harm::Fault(fault, number)))
    };
    shares.or_else(fault)
}

/// Returns the first load under which no run can be trusted. `None` if there is none.
fn unproven(rows: &[(Load, Option<&Row>)]) -> Option<Judgement> {
    rows.iter().find_map(|&(load, row)| {
        let why = match row {
            None => Unproven::NotRun,
            Some(row) => match row.failures.first() {
                Some(failure) => Unproven::Failed(failure.clone()),
                None if row.is_doubtful() => Unproven::Doubtful(row.doubt().unwrap_or_default().to_owned()),
                None => return None,
            },
        };
        Some(Judgement::Unproven(load, why))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sweep::Done;
    use crate::bench::sweep::figures::Figures;
    use crate::bench::sweep::grid::{Cell, Pattern};

    const STEADY: Load = Load { percent: 95, pattern: Pattern::Steady, slow: false };
    const BURSTS: Load = Load { percent: 95, pattern: Pattern::Bursts, slow: false };
    const OVERLOAD: Load = Load { percent: 110, pattern: Pattern::Bursts, slow: false };

    fn grid(axes: &[&str]) -> Grid {
        Grid::new(axes.iter().map(|axis| axis.parse().unwrap()).collect(), &[50, 95, 110], 0.0, 3, 1).unwrap()
    }

    /// A run of this setting with this p99 in ms.
    fn run(setting: usize, load: Load, p99: f64) -> (Cell, Figures) {
        let figures = Figures::default().with(Measure::P99, p99 * 1e3).with(Measure::Rss, 50.0 * MIB);
        (Cell { setting, load, repeat: 0 }, figures)
    }

    /// The same run with a value of another measure.
    fn with((cell, figures): (Cell, Figures), measure: Measure, value: f64) -> (Cell, Figures) {
        (cell, figures.with(measure, value))
    }

    fn doubted((cell, figures): (Cell, Figures)) -> (Cell, Figures) {
        (cell, Figures { doubts: vec!["late".to_owned()], ..figures })
    }

    fn advise(axes: &[&str], runs: Vec<(Cell, Figures)>) -> Advice {
        let grid = grid(axes);
        let done = |(cell, figures)| Done { cell, figures: Ok(figures), was_repeated: false };
        let cells = runs.into_iter().map(done).collect::<Vec<_>>();
        Advice::of(&grid, &Row::all(&grid, &cells))
    }

    const SIZES: &[&str] = &["mailbox.conversation=16,64,256,1024"];

    /// Runs of four sizes, steady with these p99 in ms, and in bursts in which these shares are refused.
    fn sizes(p99: [f64; 4], refused: [f64; 4]) -> Vec<(Cell, Figures)> {
        let steady = p99.into_iter().enumerate().map(|(setting, p99)| run(setting, STEADY, p99));
        let bursts = refused.into_iter().enumerate();
        let bursts = bursts.map(|(setting, share)| with(run(setting, BURSTS, 900.0), Measure::Refused, share));
        steady.chain(bursts).collect()
    }

    #[test]
    fn the_smallest_value_that_harms_nobody_is_recommended() {
        let refused = [0.12, 0.02, 0.0, 0.0];
        let advice = advise(SIZES, sizes([5.0; 4], refused));
        assert_eq!(advice.recommended, Some(2));
        assert_eq!(advice.deciding, [STEADY, BURSTS]);
        let harms = |share| Judgement::Harms(BURSTS, Harm::Refused(share));
        assert_eq!(advice.judgements, [harms(0.12), harms(0.02), Judgement::Good, Judgement::Good]);
        // What happens above the knee decides nothing.
        let mut overloaded = sizes([5.0; 4], refused);
        overloaded.push(with(run(2, OVERLOAD, 9e3), Measure::Refused, 0.5));
        assert_eq!(advise(SIZES, overloaded).recommended, Some(2));
    }

    #[test]
    fn a_value_that_is_slower_than_the_best_is_not() {
        let none = [0.0; 4];
        let table = [
            ([5.0, 5.0, 5.0, 5.0], Some(0)),
            ([5.9, 5.0, 5.0, 5.0], Some(0)),
            ([9.0, 6.1, 5.0, 5.0], Some(2)),
            // A millisecond is nothing.
            ([1.4, 0.5, 0.5, 0.5], Some(0)),
            ([5.0, 5.0, 5.0, 0.5], Some(3)),
        ];
        for (p99, recommended) in table {
            assert_eq!(advise(SIZES, sizes(p99, none)).recommended, recommended, "{p99:?}");
        }
        let advice = advise(SIZES, sizes([9.0, 5.0, 5.0, 5.0], none));
        assert_eq!(advice.judgements[0], Judgement::Slow { load: STEADY, p99: 9_000.0, best: 5_000.0 });
        // One of its runs was as fast as the best.
        let mut repeated = sizes([9.0, 5.0, 5.0, 5.0], none);
        repeated.push(run(0, STEADY, 5.5));
        assert_eq!(advise(SIZES, repeated).recommended, Some(0));
        // A value that harms is no measure of the others.
        let mut harmful = sizes([5.0, 5.0, 5.0, 0.1], none);
        harmful.push(with(run(3, STEADY, 0.1), Measure::Lost, 0.1));
        assert_eq!(advise(SIZES, harmful).recommended, Some(0));
    }

    #[test]
    fn each_harm_counts_in_any_run() {
        type Harmed = fn((Cell, Figures)) -> (Cell, Figures);
        let table: [(Harmed, Harm); 5] = [
            (|run| with(run, Measure::Refused, 0.25), Harm::Refused(0.25)),
            (|run| with(run, Measure::Missed, 0.125), Harm::Missed(0.125)),
            (|run| with(run, Measure::Lost, 0.5), Harm::Lost(0.5)),
            (
                |(cell, figures)| (cell, Figures { failed: vec![("connections failed or lost", 3)], ..figures }),
                Harm::Fault("connections failed or lost", 3),
            ),
            (
                |(cell, figures)| (cell, Figures { wrong: vec![("duplicated", 1)], ..figures }),
                Harm::Fault("duplicated", 1),
            ),
        ];
        for (harmed, harm) in table {
            let mut runs = sizes([5.0; 4], [0.0; 4]);
            runs.push(harmed(run(0, BURSTS, 900.0)));
            let advice = advise(SIZES, runs);
            assert_eq!((advice.recommended, &advice.judgements[0]), (Some(1), &Judgement::Harms(BURSTS, harm)));
        }
        // The load with the largest share is told.
        let mut runs = sizes([5.0; 4], [0.1; 4]);
        runs.push(with(run(0, STEADY, 5.0), Measure::Refused, 0.3));
        let advice = advise(SIZES, runs);
        assert_eq!((advice.recommended, &advice.judgements[0]), (None, &Judgement::Harms(STEADY, Harm::Refused(0.3))));
    }

    #[test]
    fn what_cannot_be_trusted_is_not_recommended() {
        let mut runs = sizes([5.0; 4], [0.0; 4]);
        let is_of = |setting: usize, load: Load| {
            move |(cell, _): &(Cell, Figures)| (cell.setting, cell.load) == (setting, load)
        };
        let at = runs.iter().position(is_of(0, STEADY)).unwrap();
        runs[at] = doubted(runs[at].clone());
        let at = runs.iter().position(is_of(1, BURSTS)).unwrap();
        runs.remove(at);
        // A doubtful run beside one that can be trusted does no harm, even if it refused much.
        runs.push(doubted(with(run(2, STEADY, 5.0), Measure::Refused, 0.9)));
        let advice = advise(SIZES, runs.clone());
        assert_eq!(advice.recommended, Some(2));
        assert_eq!(advice.judgements[0], Judgement::Unproven(STEADY, Unproven::Doubtful("late".to_owned())));
        assert_eq!(advice.judgements[1], Judgement::Unproven(BURSTS, Unproven::NotRun));
        let nothing = advise(SIZES, Vec::new());
        assert_eq!(nothing.recommended, None);
        assert!(nothing.judgements.iter().all(|judgement| *judgement == Judgement::Unproven(STEADY, Unproven::NotRun)));
        let grid = grid(SIZES);
        let mut cells =
            runs.into_iter().map(|(cell, figures)| Done { cell, figures: Ok(figures), was_repeated: false });
        let failed = Cell { setting: 2, load: BURSTS, repeat: 1 };
        let failed = Done { cell: failed, figures: Err("nobody could join".to_owned()), was_repeated: false };
        let cells = cells.by_ref().chain([failed]).collect::<Vec<_>>();
        let advice = Advice::of(&grid, &Row::all(&grid, &cells));
        assert_eq!(advice.recommended, Some(3));
        assert_eq!(advice.judgements[2], Judgement::Unproven(BURSTS, Unproven::Failed("nobody could join".to_owned())));
    }

    #[test]
    fn without_an_order_the_least_memory_decides() {
        let axes = &["mailbox.session=2,4", "max.inflight_max=8,16"];
        let rss = |rss: [f64; 4]| {
            let runs = (0..4).flat_map(|setting| [STEADY, BURSTS].map(|load| (setting, load)));
            let runs = runs.map(|(setting, load)| with(run(setting, load, 5.0), Measure::Rss, rss[setting] * MIB));
            advise(axes, runs.collect()).recommended
        };
        assert_eq!(rss([50.0, 50.0, 40.0, 60.0]), Some(2));
        assert_eq!(rss([50.4, 50.0, 50.3, 50.2]), Some(0), "less than a MiB is nothing");
    }

    #[test]
    fn the_highest_load_below_the_knee_decides() {
        let percents = |percents: &[u32]| {
            let axes = vec!["mailbox.session=1,2".parse().unwrap()];
            let grid = Grid::new(axes, percents, 0.05, 1, 1).unwrap();
            let deciding = deciding(&grid.loads);
            assert_eq!(deciding.len(), 4, "steady and in bursts, with and without slow readers");
            deciding[0].percent
        };
        assert_eq!((percents(&[50, 80, 95, 110]), percents(&[120, 100, 110]), percents(&[10])), (95, 100, 10));
    }
}
