//! The report of a run: [`text`], [`json`] and [`page`] show the numbers of its [`outcome`](super::outcome).
//!
//! * `words`: numbers, the plan and doubts in words.
//! * `facts`: titles, rows and cells, from which the table and the page are made.
//! * `plots`, `chart`: which charts there are, and how one is drawn.

mod chart;
mod facts;
pub mod json;
pub mod page;
mod plots;
pub mod text;
mod words;

pub(super) use self::words::doubts;
