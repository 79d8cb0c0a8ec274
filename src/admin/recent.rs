//! The recent past of the server: the figures of the last second, the warnings that follow from them, and fifteen
//! minutes of history. The sampler writes it once a second, and the admin listener reads it. The time is an argument.
//!
//! * [`figures`]: from the measurements at two moments to rates and quantiles; pure.
//! * [`history`]: the last fifteen minutes of each series; pure.
//! * [`warnings`]: the states that an operator should look at, in words; pure.

use std::sync::Arc;

use parking_lot::Mutex;

pub mod figures;
pub mod history;
pub mod warnings;

use super::model::Status;
use super::model::cluster::Cluster;
use super::model::overview::{self, Drain, Warning};
use figures::Figures;
use history::Series;
use warnings::{Situation, Warnings};

/// One sample of the server.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The moment, in milliseconds since 1970.
    pub at_ms: u64,
    /// The figures of the second before.
    pub figures: Figures,
    /// What an operator should look at.
    pub warnings: Vec<Warning>,
}

/// The recent past of one server.
#[derive(Debug, Default)]
pub struct Recent {
    last: Mutex<Option<Arc<Sample>>>,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    series: Series,
    warnings: Warnings,
}

impl Recent {
    /// Adds the figures of one more second, which ended at `at_ms`, in milliseconds since 1970.
    pub fn add(&self, at_ms: u64, figures: Figures, status: &Status, drain: Option<Drain>, cluster: &Cluster) {
        let warnings = {
            let mut past = self.past.lock();
            past.series.add(at_ms, status.uptime_ms, figures.series(status));
            past.warnings.update(&Situation { figures: &figures, status, drain, cluster }, status.uptime_ms)
        };
        *self.last.lock() = Some(Arc::new(Sample { at_ms, figures, warnings }));
    }

    /// Returns the last sample. `None` until there is one.
    pub fn last(&self) -> Option<Arc<Sample>> {
        self.last.lock().clone()
    }

    /// Returns the history until the last sample.
    pub fn history(&self) -> overview::History {
        self.past.lock().series.history()
    }
}
