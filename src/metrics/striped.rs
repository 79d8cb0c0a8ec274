//! Counters and gauges that every delivery changes, on any thread. Each thread adds to a cell of its own, so that no
//! thread waits for the cache line of another. A reader sums the cells.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The number of cells. If there are more threads, some of them share a cell; the sum stays exact.
pub(super) const CELLS: usize = 16;

/// A counter that every delivery changes.
#[derive(Clone, Debug, Default)]
pub struct HotCounter(Arc<Cells>);

/// A gauge that every delivery changes. It is exact while nothing changes. During changes, a reader may see an item go
/// that it has not seen come; a sum below 0 is read as 0.
#[derive(Clone, Debug, Default)]
pub struct HotGauge(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells([Cell; CELLS]);

/// A number alone in two cache lines, because processors fetch them in pairs. It wraps below 0 if its thread subtracts
/// what another thread has added.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(AtomicU64);

impl HotCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// Adds `by`.
    pub fn inc_by(&self, by: u64) {
        self.0.add(by);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.sum()
    }
}

impl HotGauge {
    /// Adds one.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.inc_by(-1);
    }

    /// Adds `by`, which may be negative.
    pub fn inc_by(&self, by: i64) {
        self.0.add(by.cast_unsigned());
    }

    /// Returns the number now.
    pub fn get(&self) -> i64 {
        self.0.sum().cast_signed().max(0)
    }
}

/// Returns the number of this thread's cell.
pub(super) fn cell() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static CELL: usize = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
    }
    // A thread may still count after its thread-locals are destroyed.
    CELL.try_with(|cell| *cell).unwrap_or(0)
}

impl Cells {
    fn add(&self, by: u64) {
        self.0[cell()].0.fetch_add(by, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, cell| sum.wrapping_add(cell.0.load(Ordering::Relaxed)))
    }
}

impl EncodeMetric for HotCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for HotCounter {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for HotGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for HotGauge {
    const TYPE: MetricType = MetricType::Gauge;
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn what_many_threads_count_adds_up() {
        let (counter, gauge) = (HotCounter::default(), HotGauge::default());
        std::thread::scope(|scope| {
            for _ in 0..2 * CELLS {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.inc_by(2);
                        gauge.inc_by(3);
                    }
                });
            }
        });
        let all = 2 * CELLS as i64 * 1000;
        assert_eq!((counter.get(), gauge.get()), (2 * all as u64, 3 * all));
        gauge.inc_by(1 - 3 * all);
        assert_eq!(gauge.get(), 1, "another thread takes away what those have added");
        gauge.inc_by(-2);
        assert_eq!(gauge.get(), 0, "never less than nothing");
    }

    #[test]
    fn they_are_written_as_what_they_are() {
        let (counter, gauge) = (HotCounter::default(), HotGauge::default());
        let mut registry = Registry::default();
        registry.register("events", "Events", counter.clone());
        registry.register("things", "Things", gauge.clone());
        counter.inc();
        gauge.inc();
        gauge.inc();
        gauge.dec();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in ["# TYPE events counter\n", "events_total 1\n", "# TYPE things gauge\n", "things 1\n"] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
