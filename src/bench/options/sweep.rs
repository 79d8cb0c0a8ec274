//! The flags of a sweep.

use clap::Args;

use super::values::{Percents, percents, rate, repeats};
use crate::bench::sweep::axis::Axis;
use crate::bench::sweep::grid::{Grid, GridError};

/// The share of slow readers in the cells that have some, unless it is chosen.
const SLOW_SHARE: f64 = 0.05;

/// The flags of a sweep.
#[derive(Args, Clone, Debug, PartialEq)]
#[group(skip)]
pub struct SweepOptions {
    /// Compare values of a limit, such as mailbox.conversation=16,64,256,1024, with fresh servers for each, and
    /// recommend one. Needs --spawn. May be given again, for all combinations. --slow is then the share of slow readers
    /// in half of the runs (default 5%)
    #[arg(long, value_name = "KEY=VALUE,...", conflicts_with_all = ["find_knee", "window", "bursts"])]
    pub sweep: Vec<Axis>,
    /// Talks per second that the loads of a sweep are shares of. Without it, they are shares of the highest rate that
    /// holds the objective of --slo at the present value, which is searched for
    #[arg(long, value_name = "N", value_parser = rate, requires = "sweep")]
    pub knee: Option<f64>,
    /// Loads of a sweep in percent of the knee, each steady and in bursts: at most 16 of them, each at most 1000
    #[arg(long, value_name = "N,...", default_value = "50,80,95,110", value_parser = percents, requires = "sweep")]
    pub loads: Percents,
    /// Runs of a sweep for each value under each load: at most 100
    #[arg(long, value_name = "N", default_value = "3", value_parser = repeats, requires = "sweep")]
    pub repeats: u32,
    /// Print the runs of a sweep and how long they take, and do nothing else
    #[arg(long, requires = "sweep")]
    pub plan: bool,
}

impl SweepOptions {
    /// Whether a sweep is asked for.
    pub fn is_asked_for(&self) -> bool {
        !self.sweep.is_empty()
    }

    /// Returns the grid of the sweep. `slow` is the share of slow readers that was chosen, if one was.
    ///
    /// # Errors
    /// Two axes are of the same limit, or there are too many combinations.
    pub(super) fn grid(&self, slow: Option<f64>, seed: u64) -> Result<Grid, GridError> {
        let slow_share = slow.unwrap_or(SLOW_SHARE);
        Grid::new(self.sweep.clone(), &self.loads.0, slow_share, self.repeats, seed)
    }
}
