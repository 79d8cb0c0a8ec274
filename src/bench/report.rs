//! The report of a run: [`text`] and [`page`] show a [`Sheet`], which is made of an [`outcome`](super::outcome).
//!
//! * `sheet`: a report as titles, rows, cells and charts, from which the table and the page are made.
//! * `facts`, `plots`, `json`: the sheet of a run, its charts, and the run as JSON.
//! * `words`: numbers, the plan and doubts in words.
//! * `chart`: how a chart is drawn.

mod chart;
mod facts;
mod json;
pub mod page;
mod plots;
mod sheet;
pub mod text;
mod words;

pub use self::sheet::Sheet;
pub(super) use self::words::doubts;
use super::outcome::Report;

/// Returns the report of a run.
pub fn of_run(report: &Report) -> Sheet {
    facts::sheet(report)
}
