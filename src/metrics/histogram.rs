//! Histograms that every message changes, on any thread. As with the counters of [`super::striped`], each thread adds
//! to cells of its own, so that none waits for a lock or for the cache line of another. Pure.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::striped::{CELLS, cell};

/// The most bounds of a scale.
const BOUNDS_MAX: usize = 24;

/// The bounds of buckets of times, in nanoseconds: three for each power of ten.
const NANOSECONDS: [u64; BOUNDS_MAX] = {
    let (mut bounds, mut at, mut ten) = ([0; BOUNDS_MAX], 0, 1000);
    while at < BOUNDS_MAX {
        (bounds[at], bounds[at + 1], bounds[at + 2]) = (ten, 2 * ten, 5 * ten);
        (at, ten) = (at + 3, 10 * ten);
    }
    bounds
};

/// The bounds of buckets of numbers: powers of two up to a million.
const POWERS_OF_TWO: [u64; 21] = {
    let (mut bounds, mut at) = ([0; 21], 0);
    while at < bounds.len() {
        bounds[at] = 1 << at;
        at += 1;
    }
    bounds
};

/// The buckets of a histogram. A quantile is exact to a bucket, which is at most 2.5 times as wide as the one below.
#[derive(Debug)]
pub struct Scale {
    /// The number of recorded units in one unit that is shown.
    units: f64,
    /// The largest value of each bucket but the last, in recorded units.
    bounds: &'static [u64],
}

/// Times from 1 µs, in which a small message is handled, to 10 s, about which users complain.
static MICROSECONDS: Scale = Scale { units: 1e9, bounds: NANOSECONDS.split_at(22).0 };

/// Times from 1 ms, the least that a call over a network takes, to 50 s, longer than any deadline by default.
static MILLISECONDS: Scale = Scale { units: 1e9, bounds: NANOSECONDS.split_at(9).1 };

/// Numbers of messages or members, from 1 to a million.
static NUMBERS: Scale = Scale { units: 1.0, bounds: &POWERS_OF_TWO };

/// A histogram that every message changes. Its sums are exact while nothing changes.
#[derive(Clone, Debug)]
pub struct HotHistogram {
    scale: &'static Scale,
    stripes: Arc<[Stripe]>,
}

/// The cells of a thread, alone in their cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    /// The sum of all values, in recorded units.
    sum: AtomicU64,
    /// The number of values in each bucket.
    counts: [AtomicU64; BOUNDS_MAX + 1],
}

impl HotHistogram {
    /// Creates a histogram of times from 1 µs to 10 s, of 4 KiB.
    pub fn of_microseconds() -> Self {
        Self::new(&MICROSECONDS, CELLS)
    }

    /// Creates a histogram of times from 1 ms to 50 s that change seldom. Its threads share their cells.
    pub fn of_milliseconds() -> Self {
        Self::new(&MILLISECONDS, 1)
    }

    /// Creates a histogram of numbers, of 4 KiB.
    pub fn of_numbers() -> Self {
        Self::new(&NUMBERS, CELLS)
    }

    fn new(scale: &'static Scale, stripes: usize) -> Self {
        Self { scale, stripes: (0..stripes).map(|_| Stripe::default()).collect() }
    }

    /// Records a time.
    pub fn observe_time(&self, time: Duration) {
        self.observe_times(time, 1);
    }

    /// Records the same time for `count` events.
    pub fn observe_times(&self, time: Duration, count: u64) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), count);
    }

    /// Records a number, or a time in nanoseconds.
    pub fn observe(&self, value: u64) {
        self.add(value, 1);
    }

    fn add(&self, value: u64, count: u64) {
        let stripe = &self.stripes[cell() % self.stripes.len()];
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        stripe.counts[bucket].fetch_add(count, Ordering::Relaxed);
        stripe.sum.fetch_add(value.wrapping_mul(count), Ordering::Relaxed);
    }

    /// Returns what was recorded until now.
    pub fn read(&self) -> Distribution {
        let mut counts = vec![0; self.scale.bounds.len() + 1];
        let mut sum = 0_u64;
        for stripe in &*self.stripes {
            for (count, cell) in counts.iter_mut().zip(&stripe.counts) {
                *count += cell.load(Ordering::Relaxed);
            }
            sum = sum.wrapping_add(stripe.sum.load(Ordering::Relaxed));
        }
        Distribution { scale: self.scale, counts, sum }
    }
}

impl TypedMetric for HotHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for HotHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let read = self.read();
        let buckets: Vec<_> = read.buckets().collect();
        encoder.encode_histogram::<NoLabelSet>(read.sum(), read.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The values of a histogram, in seconds or as numbers.
#[derive(Clone, Debug)]
pub struct Distribution {
    scale: &'static Scale,
    counts: Vec<u64>,
    sum: u64,
}

impl Distribution {
    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.units
    }

    /// Returns the value that a share `quantile` of the values, from 0 to 1, do not exceed, as `histogram_quantile` of
    /// Prometheus estimates it: values are spread evenly over their bucket, and those beyond the last bound are at that
    /// bound. `None` if there are no values.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile.clamp(0.0, 1.0) * self.count() as f64;
        let (mut below, mut lower) = (0, 0.0);
        for (upper, count) in self.buckets() {
            if count > 0 && (below + count) as f64 >= rank {
                let share = (rank - below as f64) / count as f64;
                return Some(if upper.is_finite() { lower + (upper - lower) * share } else { lower });
            }
            below += count;
            lower = upper;
        }
        None
    }

    /// Returns what was recorded since `earlier`, a reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now.saturating_sub(*then)).collect();
        Self { scale: self.scale, counts, sum: self.sum.wrapping_sub(earlier.sum) }
    }

    /// Returns what was recorded in this histogram and in `other`, one of the same scale.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum = self.sum.wrapping_add(other.sum);
        self
    }

    /// Returns the largest value of each bucket, and how many values are in it and in no bucket below.
    fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.scale.bounds.iter().map(|bound| *bound as f64 / self.scale.units);
        bounds.chain([f64::INFINITY]).zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use proptest::prelude::*;

    #[test]
    fn every_scale_rises_and_fits() {
        for scale in [&MICROSECONDS, &MILLISECONDS, &NUMBERS] {
            assert!(scale.bounds.len() <= BOUNDS_MAX);
            assert!(scale.bounds.windows(2).all(|pair| 2 * pair[0] <= pair[1] && 2 * pair[1] <= 5 * pair[0]));
        }
        let ends = |scale: &Scale| (scale.bounds[0], scale.bounds[scale.bounds.len() - 1]);
        assert_eq!(ends(&MICROSECONDS), (1_000, 10_000_000_000));
        assert_eq!(ends(&MILLISECONDS), (1_000_000, 50_000_000_000));
        assert_eq!(ends(&NUMBERS), (1, 1 << 20));
    }

    #[test]
    fn what_many_threads_record_adds_up() {
        for histogram in [HotHistogram::new(&NUMBERS, CELLS), HotHistogram::new(&NUMBERS, 1)] {
            std::thread::scope(|scope| {
                for _ in 0..2 * CELLS {
                    scope.spawn(|| (0..1000).for_each(|number| histogram.observe(number)));
                }
            });
            let read = histogram.read();
            let threads = 2 * CELLS as u64;
            assert_eq!((read.count(), read.sum()), (1000 * threads, (threads * 499_500) as f64));
            // 0 and 1, 2, 3 and 4, 5 to 8 and so on, and 513 to 999.
            let expected = [2, 1, 2, 4, 8, 16, 32, 64, 128, 256, 487].map(|count| count * threads);
            assert_eq!(read.counts[..11], expected);
            assert!(read.counts[11..].iter().all(|count| *count == 0));
        }
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let histogram = HotHistogram::of_numbers();
        assert_eq!(histogram.read().quantile(0.5), None);
        // One in the bucket up to 1, two in that up to 4, one in that up to 8.
        [1, 3, 4, 8].into_iter().for_each(|number| histogram.observe(number));
        let table =
            [(-1.0, 0.0), (0.0, 0.0), (0.25, 1.0), (0.5, 3.0), (0.75, 4.0), (0.875, 6.0), (1.0, 8.0), (2.0, 8.0)];
        for (quantile, value) in table {
            assert_eq!(histogram.read().quantile(quantile), Some(value), "{quantile}");
        }
        let earlier = histogram.read();
        (0..4).for_each(|_| histogram.observe(1 << 30));
        assert_eq!(histogram.read().quantile(0.9), Some((1 << 20) as f64), "the last bound");
        let since = histogram.read().since(&earlier);
        assert_eq!(
            (since.count(), since.sum(), since.quantile(0.0)),
            (4, (4_u64 << 30) as f64, Some((1 << 20) as f64))
        );
        let both = earlier.plus(&since);
        assert_eq!((both.count(), both.sum()), (histogram.read().count(), histogram.read().sum()));
    }

    proptest! {
        /// A quantile of times lies in the bucket of the value that has this rank.
        #[test]
        fn a_quantile_is_exact_to_its_bucket(
            mut times in prop::collection::vec(0..20_000_000_000_u64, 1..200),
            quantile in 0.0..=1.0_f64,
        ) {
            let histogram = HotHistogram::of_microseconds();
            times.iter().for_each(|ns| histogram.observe_time(Duration::from_nanos(*ns)));
            times.sort_unstable();
            let rank = ((quantile * times.len() as f64).ceil() as usize).max(1);
            let exact = times[rank - 1];
            let bucket = MICROSECONDS.bounds.partition_point(|bound| *bound < exact);
            let bound = |at: usize| MICROSECONDS.bounds[at.min(21)] as f64 / 1e9;
            let (lower, upper) = (bucket.checked_sub(1).map_or(0.0, bound), bound(bucket));
            let read = histogram.read().quantile(quantile).unwrap();
            prop_assert!(lower <= read && read <= upper, "{lower} {read} {upper}");
        }
    }

    #[test]
    fn it_is_written_as_a_histogram() {
        let histogram = HotHistogram::of_microseconds();
        for time in [Duration::ZERO, Duration::from_micros(2), Duration::from_nanos(2001), Duration::from_secs(60)] {
            histogram.observe_time(time);
        }
        let mut registry = Registry::default();
        registry.register("wait_seconds", "Waits", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE wait_seconds histogram\n",
            "wait_seconds_sum 60.000004001\n",
            "wait_seconds_count 4\n",
            "wait_seconds_bucket{le=\"0.000001\"} 1\n",
            "wait_seconds_bucket{le=\"0.000002\"} 2\n",
            "wait_seconds_bucket{le=\"0.000005\"} 3\n",
            "wait_seconds_bucket{le=\"0.001\"} 3\n",
            "wait_seconds_bucket{le=\"10.0\"} 3\n",
            "wait_seconds_bucket{le=\"+Inf\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
