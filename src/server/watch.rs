//! The watch on a thread that runs actors: how late it wakes, and how much of its time it is busy.

use std::time::Instant;

use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::metrics::worker::PULSE;
use crate::metrics::{Metrics, WorkerName};

/// Watches this thread for as long as its runtime runs.
pub(super) fn watch(metrics: &Metrics, name: WorkerName) {
    let worker = metrics.add_worker(name, Handle::current().metrics());
    actix_rt::spawn(async move {
        let mut pulse = interval_at(tokio::time::Instant::now() + PULSE, PULSE);
        // A pulse that is late counts once, with all of its lag.
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = pulse.tick().await.into_std();
            let now = Instant::now();
            worker.woke(now.saturating_duration_since(due), now);
        }
    });
}
