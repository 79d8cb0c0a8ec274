//! A sweep: the load bench at several values of a limit, and the value that it recommends. Each cell of the grid is a
//! run against a fresh server that has one of the values, under one of the loads. The loads are shares of the knee: the
//! highest rate that holds the objective at the present value.
//!
//! * [`axis`]: the limits that can be swept, and the values of one. Pure.
//! * [`grid`]: the cells, their order, and how long they take. Pure.
//! * [`figures`]: the figures of a cell, and the rows that repeats of it make. Pure.
//! * [`advice`]: the recommendation. Pure.
//! * [`conduct`]: the servers and their runs.

pub mod advice;
pub mod axis;
pub mod conduct;
pub mod figures;
pub mod grid;

use self::advice::Advice;
use self::axis::Value;
use self::figures::{Figures, Row};
use self::grid::{Cell, Grid};
use super::outcome::{Circumstances, Knee};
use super::plan::Plan;
use super::target::Set;

/// The outcome of a sweep. If it was interrupted, cells are missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Where and when the sweep was made.
    pub circumstances: Circumstances,
    /// The plan of each run, apart from its load.
    pub plan: Plan,
    /// The cells that were planned.
    pub grid: Grid,
    /// The present value of each axis: that of the environment, or the default.
    pub present: Vec<Value>,
    /// Settings that all servers have because of the sweep, besides the swept ones.
    pub companions: Vec<Set>,
    /// The rate that the loads are shares of, in talks per second. `None` if the sweep was interrupted before it was
    /// found.
    pub knee: Option<f64>,
    /// The search for the knee. `None` if the rate was given.
    pub search: Option<Knee>,
    /// The cells that were run, in the order of their runs.
    pub cells: Vec<Done>,
    /// Whether the sweep was ended early.
    pub interrupted: bool,
}

/// A cell that was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The cell.
    pub cell: Cell,
    /// Its figures, or why there are none. If the figures of its first run were doubtful, those of a second one.
    pub figures: Result<Figures, String>,
    /// Whether it was run twice.
    pub was_repeated: bool,
}

impl Sweep {
    /// Returns a row for each setting and load of which a cell was run, in the order of the grid.
    pub fn rows(&self) -> Vec<Row> {
        Row::all(&self.grid, &self.cells)
    }

    /// Returns the recommendation.
    pub fn advice(&self) -> Advice {
        Advice::of(&self.grid, &self.rows())
    }

    /// Returns the faults of the server by kind: deliveries that came twice, in the wrong order or to somebody else.
    /// No load excuses them.
    pub fn faults(&self) -> Vec<(&'static str, u64)> {
        let figures = self.cells.iter().filter_map(|done| done.figures.as_ref().ok());
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for &(fault, number) in figures.flat_map(|figures| &figures.wrong) {
            match sums.iter_mut().find(|(known, _)| *known == fault) {
                Some((_, sum)) => *sum += number,
                None => sums.push((fault, number)),
            }
        }
        sums
    }

    /// Whether the sweep is complete, found no fault of the server, and recommends a value.
    pub fn is_good(&self) -> bool {
        !self.interrupted && self.faults().is_empty() && self.advice().recommended.is_some()
    }
}
