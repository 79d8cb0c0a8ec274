//! Made-up sweeps for tests: a good one, one of two limits, one that was interrupted, and one that recommends nothing.

use crate::bench::outcome::samples;
use crate::bench::sweep::figures::{Figures, Measure};
use crate::bench::sweep::grid::{Cell, Grid, Load, Pattern};
use crate::bench::sweep::{Done, Sweep};

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// Four sizes of a mailbox. Those below 256 refuse talks in bursts.
pub(in crate::bench::report) fn good() -> Sweep {
    sweep(&["mailbox.conversation=16,64,256,1024"], |cell| {
        let Cell { setting, load, repeat } = cell;
        let limit = [16.0, 64.0, 256.0, 1024.0][setting];
        let percent = f64::from(load.percent);
        let bursts = load.pattern == Pattern::Bursts;
        // A burst needs as many slots as its load has percent; above the knee ever more.
        let needed = if load.percent > 100 { 1_500.0 } else { 1.8 * percent };
        let refused = match (bursts, setting) {
            (false, 0) if load.percent > 90 => 0.02,
            (false, _) => 0.0,
            (true, 2) if load.percent > 100 => 0.12,
            (true, 3) if load.percent > 100 => 0.02,
            (true, 1) if load.percent < 95 => 0.0,
            (true, 1) if load.percent == 95 => 0.041,
            (true, _) if limit < needed => (1.0 - limit / needed) / 2.0,
            (true, _) => 0.0,
        };
        let steady_p99 = [900.0, 1_600.0, 8_000.0, 60_000.0][(load.percent.div_ceil(30) - 2).min(3) as usize];
        let burst_p99 = limit.min(needed) * 8_000.0 + if load.percent > 100 { 2_000.0 } else { 0.0 };
        let p99 = if bursts { burst_p99 } else { steady_p99 } * (1.0 + 0.02 * f64::from(repeat));
        let p99 = if load.slow { p99 * 1.03 } else { p99 };
        let figures = Figures {
            errors: if refused > 0.0 { vec![("talk: refused with busy".to_owned(), 99)] } else { Vec::new() },
            doubts: if load.percent > 100 && load.slow {
                vec!["the generator was late".to_owned()]
            } else {
                Vec::new()
            },
            ..Figures::default()
        };
        let figures = [
            (Measure::Goodput, 9.0 * 5_400.0 * percent.min(100.0) / 100.0 * (1.0 - refused)),
            (Measure::P50, p99 / 7.0),
            (Measure::P99, p99),
            (Measure::P999, p99 * 1.4),
            (Measure::Refused, refused),
            (Measure::Missed, 0.0),
            (Measure::Lost, refused),
            (Measure::Peak, if bursts { limit.min(needed) } else { limit.min(4.0) }),
            (Measure::WaitP99, p99 * 0.9),
            (
                Measure::Rss,
                (30.0 + 3.0 * setting as f64 * setting as f64 / if setting == 3 { 1.2857 } else { 1.0 }) * MIB,
            ),
        ]
        .into_iter()
        .fold(figures, |figures, (measure, value)| figures.with(measure, value));
        Ok(if bursts { figures.with(Measure::Drained, p99 * 1.1) } else { figures })
    })
}

/// Two limits. The smaller mailbox refuses, the larger outbox only costs memory.
pub(super) fn grid() -> Sweep {
    sweep(&["outbox.messages_max=4096,8192", "mailbox.session=4,16"], |cell| {
        let refused = if cell.setting.is_multiple_of(2) { 0.25 } else { 0.0 };
        let memory = if cell.setting > 1 { 40.0 } else { 34.0 };
        let figures = Figures::default().with(Measure::P99, 4_000.0).with(Measure::Refused, refused);
        Ok(figures.with(Measure::Rss, memory * MIB).with(Measure::Goodput, 30_000.0))
    })
}

/// The good sweep after seven runs.
pub(super) fn interrupted() -> Sweep {
    let mut sweep = good();
    sweep.cells.truncate(7);
    Sweep { interrupted: true, ..sweep }
}

/// A sweep of which the first value fails, the second is doubtful, the third is wrong, and the last was not run.
pub(in crate::bench::report) fn hopeless() -> Sweep {
    let hopeless = sweep(&["mailbox.conversation=16,64,256,1024"], |cell| {
        let figures = Figures::default().with(Measure::P99, 4_000.0);
        match cell.setting {
            0 => Err("nobody could join: x".to_owned()),
            1 => Ok(Figures { doubts: vec!["the generator was late".to_owned()], ..figures }),
            _ => Ok(Figures { wrong: vec![("duplicated", 1)], ..figures }),
        }
    });
    let is_run = |done: &Done| {
        done.cell.setting < 3 && done.cell.load == Load { percent: 95, pattern: Pattern::Steady, slow: false }
    };
    let cells = hopeless.cells.into_iter().filter(is_run).collect::<Vec<_>>();
    // The fault of the third value in one run alone.
    let mut found = 0;
    let cells = cells.into_iter().map(|mut done| {
        if let Ok(figures) = &mut done.figures
            && !figures.wrong.is_empty()
        {
            figures.wrong = if found == 0 { vec![("duplicated", 3)] } else { Vec::new() };
            found += 1;
        }
        done
    });
    Sweep { cells: cells.collect(), ..hopeless }
}

/// A sweep of which each run has these figures.
fn sweep(axes: &[&str], figures: impl Fn(Cell) -> Result<Figures, String>) -> Sweep {
    let axes = axes.iter().map(|axis| axis.parse().unwrap()).collect::<Vec<_>>();
    let grid = Grid::new(axes, &[50, 80, 95, 110], 0.05, 3, 42).unwrap();
    let done =
        |cell: Cell| Done { cell, figures: figures(cell), was_repeated: cell.load.percent > 100 && cell.load.slow };
    let config = crate::config::Config::default();
    Sweep {
        circumstances: samples::good().circumstances,
        plan: samples::good().plan,
        present: grid.axes.iter().map(|axis| axis.present(&config)).collect(),
        companions: grid.companions(&config),
        knee: Some(5_400.0),
        search: Some(samples::knee()),
        cells: grid.cells().into_iter().map(done).collect(),
        interrupted: false,
        grid,
    }
}
