//! The reports of runs and sweeps: [`text`] and [`page`] show a [`Sheet`], which is made of an
//! [`outcome`](super::outcome) or of a [`sweep`](super::sweep).
//!
//! * `sheet`: a report as titles, rows, cells and charts, from which the table and the page are made.
//! * `facts`, `plots`, `json`, `hgrm`: the sheet of a run, its charts, the run as JSON, and its latencies for
//!   HdrHistogram's tools.
//! * `distributions`: latencies as a grid.
//! * `nodes`: the grids of a run over several nodes.
//! * `sweep`: the sheet of a sweep.
//! * `words`: numbers, the plan and doubts in words.
//! * `chart`: how a chart is drawn.

mod chart;
mod distributions;
mod facts;
mod hgrm;
mod json;
mod nodes;
pub mod page;
mod plots;
mod sheet;
mod sweep;
pub mod text;
mod words;

pub use self::sheet::Sheet;
pub(super) use self::words::{doubts, missed};
use super::outcome::Report;
use super::sweep::Sweep;

/// Returns the report of a run.
pub fn of_run(report: &Report) -> Sheet {
    facts::sheet(report)
}

/// Returns the report of a sweep.
pub fn of_sweep(sweep: &Sweep) -> Sheet {
    sweep::sheet(sweep)
}

/// Returns what a sweep will do, and how long it takes.
pub fn plan_of_sweep(sweep: &Sweep) -> String {
    sweep::plan(sweep)
}
