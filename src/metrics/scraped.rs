//! Metrics that get their value at a scrape.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The version of the program, as an info metric.
#[derive(Clone, Debug, Default)]
pub struct Build;

impl TypedMetric for Build {
    const TYPE: MetricType = MetricType::Info;
}

impl EncodeMetric for Build {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The highest number since the last scrape. A scrape resets it to 0.
#[derive(Clone, Debug, Default)]
pub struct Peak(Arc<AtomicU64>);

impl Peak {
    /// Records the present number.
    pub fn reached(&self, number: u64) {
        // All threads call this for every message. A load, unlike a write, leaves the cache line to the other threads.
        if number > self.get() {
            self.0.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// Returns the highest number since the last scrape.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl TypedMetric for Peak {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Peak {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.swap(0, Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// A number that is counted elsewhere and read at a scrape, as a metric of type `M`.
pub struct Reading<M>(Box<dyn Fn() -> M + Send + Sync>);

impl Reading<ConstCounter> {
    /// Creates a counter whose value at a scrape is the one that `read` returns.
    pub fn counter(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Box::new(move || ConstCounter::new(read())))
    }
}

impl Reading<ConstGauge<u64>> {
    /// Creates a gauge whose value at a scrape is the one that `read` returns.
    pub fn gauge(read: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self(Box::new(move || ConstGauge::new(read() as u64)))
    }
}

impl<M: Default + 'static> Default for Reading<M> {
    /// Creates a metric that is always 0.
    fn default() -> Self {
        Self(Box::new(M::default))
    }
}

impl<M> fmt::Debug for Reading<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl<M: TypedMetric> TypedMetric for Reading<M> {
    const TYPE: MetricType = M::TYPE;
}

impl<M: EncodeMetric> EncodeMetric for Reading<M> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        (self.0)().encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        (self.0)().metric_type()
    }
}
