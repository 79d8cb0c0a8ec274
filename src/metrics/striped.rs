//! Numbers that every delivery changes, on whichever thread. Each thread adds to a cell of its own, so that none waits
//! for another's cache line; whoever reads adds the cells up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// More threads than these share cells, and count as exactly.
const CELLS: usize = 16;

/// Counts what comes with every delivery.
#[derive(Clone, Debug, Default)]
pub struct HotCounter(Arc<Cells>);

/// Measures what comes and goes with every delivery. It is exact while nothing changes; else a reader may have seen
/// something go that it has not seen come, but it never sees less than nothing.
#[derive(Clone, Debug, Default)]
pub struct HotGauge(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells([Cell; CELLS]);

/// Two cache lines, as processors fetch them in pairs. It wraps where one thread takes away what another has added.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(AtomicU64);

impl HotCounter {
    /// One more.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// So many more.
    pub fn inc_by(&self, by: u64) {
        self.0.add(by);
    }

    /// How many there have been.
    pub fn get(&self) -> u64 {
        self.0.sum()
    }
}

impl HotGauge {
    /// One more.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.inc_by(-1);
    }

    /// So many more, or less.
    pub fn inc_by(&self, by: i64) {
        self.0.add(by.cast_unsigned());
    }

    /// How many there are.
    pub fn get(&self) -> i64 {
        self.0.sum().cast_signed().max(0)
    }
}

impl Cells {
    fn add(&self, by: u64) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static CELL: usize = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
        }
        // Things are counted to the very end of a thread.
        let cell = CELL.try_with(|cell| *cell).unwrap_or(0);
        self.0[cell].0.fetch_add(by, Ordering::Relaxed);
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
