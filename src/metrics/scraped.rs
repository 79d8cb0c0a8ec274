//! Metrics that get their value at a scrape.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::limits::live::LiveLimit;
use crate::version;

/// The version of the program, with the commit and the day of its build where they are known, as an info metric.
#[derive(Clone, Debug, Default)]
pub struct Build;

impl TypedMetric for Build {
    const TYPE: MetricType = MetricType::Info;
}

impl EncodeMetric for Build {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // To Prometheus, a label without a value is none.
        let [commit, date] = [version::COMMIT, version::DATE].map(Option::unwrap_or_default);
        encoder.encode_info(&[("version", version::VERSION), ("commit", commit), ("date", date)])
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// A limit that is turned while the server runs, as a gauge.
#[derive(Clone, Debug, Default)]
pub struct LimitGauge(Arc<LiveLimit>);

impl Deref for LimitGauge {
    type Target = LiveLimit;

    fn deref(&self) -> &LiveLimit {
        &self.0
    }
}

impl TypedMetric for LimitGauge {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for LimitGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&(self.get() as u64))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// A number that is counted elsewhere and read at a scrape, as a metric of type `M`. The metric has no row if there is
/// nothing to read.
pub struct Reading<M>(Box<dyn Fn() -> Option<M> + Send + Sync>);

impl<N: 'static> Reading<ConstCounter<N>> {
    /// Creates a counter whose value at a scrape is the one that `read` returns.
    pub fn counter(read: impl Fn() -> Option<N> + Send + Sync + 'static) -> Self {
        Self(Box::new(move || read().map(ConstCounter::new)))
    }
}

impl<N: 'static> Reading<ConstGauge<N>> {
    /// Creates a gauge whose value at a scrape is the one that `read` returns.
    pub fn gauge(read: impl Fn() -> Option<N> + Send + Sync + 'static) -> Self {
        Self(Box::new(move || read().map(ConstGauge::new)))
    }
}

impl<M> Default for Reading<M> {
    /// Creates a metric without a row.
    fn default() -> Self {
        Self(Box::new(|| None))
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

impl<M: EncodeMetric + TypedMetric> EncodeMetric for Reading<M> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        (self.0)().map_or(Ok(()), |metric| metric.encode(encoder))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
