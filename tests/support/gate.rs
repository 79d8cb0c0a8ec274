//! A gate in front of MAX, with the metrics that show what it does.

use std::sync::Arc;

use maxtalk::testing::config;
use maxtalk::testing::directory::Gate;
use maxtalk::testing::metrics::{ActorClass, Metrics, ReadAtScrape};

/// A gate whose figures can be read.
pub struct MeasuredGate {
    pub gate: Arc<Gate>,
    pub metrics: Arc<Metrics>,
}

impl MeasuredGate {
    pub fn new(settings: &config::Max) -> Self {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        Self { gate: Arc::new(Gate::new(settings, &metrics)), metrics }
    }

    /// Returns the number of permits that are taken.
    pub fn inflight(&self) -> i64 {
        self.metrics.max_inflight.get()
    }

    /// Returns how many calls may be under way.
    pub fn limit(&self) -> i64 {
        self.metrics.max_inflight_limit.get()
    }

    /// Returns the number of joins that wait for a call.
    pub fn waiting(&self) -> i64 {
        self.metrics.mailbox(ActorClass::Max).messages.get()
    }
}
