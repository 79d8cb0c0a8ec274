//! The measurements of the threads that run actors: how much of its time a thread is busy, and how late it wakes.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use tokio::runtime::RuntimeMetrics;

use super::histogram::{Distribution, HotHistogram};
use super::labels::WorkerName;

/// How often a thread measures how late it wakes.
pub const PULSE: Duration = Duration::from_millis(100);

/// The share of its time that a thread is busy is that of the last such period, up to twice as long.
const RECENTLY: Duration = Duration::from_secs(5);

/// The time that a thread has spent on its tasks, as its runtime counts it. The runtime reports it when it looks
/// at its sockets, between two rounds of tasks.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<OnceLock<RuntimeMetrics>>);

impl Busy {
    fn total(&self) -> Duration {
        // A runtime of one thread has one worker, which is that thread.
        self.0.get().map_or(Duration::ZERO, |runtime| runtime.worker_total_busy_duration(0))
    }
}

impl TypedMetric for Busy {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Busy {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, f64>(&self.total().as_secs_f64(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The measurements of one thread.
#[derive(Debug)]
pub struct WorkerMetrics {
    name: WorkerName,
    busy: Busy,
    lag: HotHistogram,
    /// Changed by the thread once in a [`PULSE`], and read seldom.
    load: Mutex<Load>,
}

impl WorkerMetrics {
    /// Creates the measurements of a thread, which are kept in these two rows.
    pub(super) fn new(name: WorkerName, runtime: RuntimeMetrics, busy: Busy, lag: HotHistogram, now: Instant) -> Self {
        let _ = busy.0.set(runtime);
        let load = Mutex::new(Load::new(busy.total(), now));
        Self { name, busy, lag, load }
    }

    /// Records that the thread has woken at `now`, `lag` later than it wanted.
    pub fn woke(&self, lag: Duration, now: Instant) {
        self.lag.observe_time(lag);
        self.load.lock().woke(self.busy.total(), now);
    }

    /// Returns what is measured, as numbers.
    pub fn read(&self, now: Instant) -> WorkerReading {
        let busy_share = self.load.lock().share(self.busy.total(), now);
        WorkerReading { name: self.name, busy_share, lag: self.lag.read() }
    }
}

/// The measurements of one thread, as numbers.
#[derive(Clone, Debug)]
pub struct WorkerReading {
    /// The thread.
    pub name: WorkerName,
    /// The share of the last 5 to 10 seconds that it has been busy, from 0 to 1.
    pub busy_share: f64,
    /// How late it has woken, in seconds.
    pub lag: Distribution,
}

/// Computes the share of its time that a thread has been busy recently.
#[derive(Debug)]
struct Load {
    /// Two moments, and the time that the thread had been busy until then. The first is [`RECENTLY`] or more ago,
    /// unless the thread is younger.
    marks: [(Instant, Duration); 2],
    woken: Instant,
}

impl Load {
    fn new(busy: Duration, now: Instant) -> Self {
        Self { marks: [(now, busy); 2], woken: now }
    }

    fn woke(&mut self, busy: Duration, now: Instant) {
        self.woken = now;
        if now.saturating_duration_since(self.marks[1].0) >= RECENTLY {
            self.marks = [self.marks[1], (now, busy)];
        }
    }

    fn share(&self, busy: Duration, now: Instant) -> f64 {
        let (since, before) = self.marks[0];
        let time = now.saturating_duration_since(since);
        if time.is_zero() {
            return 0.0;
        }
        // A task whose turn does not end keeps the thread from waking, and is not in `busy` yet.
        let stuck = now.saturating_duration_since(self.woken).saturating_sub(2 * PULSE);
        let busy = busy.saturating_sub(before) + stuck;
        (busy.as_secs_f64() / time.as_secs_f64()).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut load = Load::new(Duration::ZERO, start);
        assert_eq!(load.share(Duration::ZERO, start), 0.0);
        // Busy for all of the first 20 seconds, then for a quarter of the time.
        let busy = |ms: u64| Duration::from_millis(ms.min(20_000) + ms.saturating_sub(20_000) / 4);
        let mut shares = Vec::new();
        for ms in (100..=40_000).step_by(100) {
            load.woke(busy(ms), at(ms));
            if ms % 5000 == 0 || ms == 1000 {
                shares.push(load.share(busy(ms), at(ms)));
            }
        }
        assert_eq!(shares, [1.0, 1.0, 1.0, 1.0, 1.0, 0.25, 0.25, 0.25, 0.25]);
    }

    #[test]
    fn a_thread_that_does_not_wake_is_busy() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut load = Load::new(Duration::ZERO, start);
        load.woke(Duration::ZERO, at(5000));
        load.woke(Duration::ZERO, at(10_000));
        assert_eq!(load.share(Duration::ZERO, at(10_200)), 0.0, "the next pulse may be a little late");
        assert!((load.share(Duration::ZERO, at(15_000)) - 0.48).abs() < 1e-9);
        // When its task has ended, the runtime has counted the time.
        assert_eq!(load.share(Duration::from_secs(60), at(70_000)), 1.0, "not counted twice");
    }

    #[actix_rt::test]
    async fn the_runtime_counts_the_work_of_this_thread() {
        let runtime = tokio::runtime::Handle::current().metrics();
        let lag = HotHistogram::of_milliseconds();
        let worker = WorkerMetrics::new(WorkerName::Registry, runtime, Busy::default(), lag, Instant::now());
        let before = worker.busy.total().as_secs_f64();
        std::thread::sleep(Duration::from_millis(50));
        // The runtime reports when it looks at its sockets.
        while worker.busy.total().as_secs_f64() < before + 0.05 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        worker.woke(Duration::from_millis(3), Instant::now());
        let read = worker.read(Instant::now());
        assert_eq!((read.name, read.lag.count(), read.lag.sum()), (WorkerName::Registry, 1, 0.003));
        assert!(read.busy_share > 0.0);
    }
}
