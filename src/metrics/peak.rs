//! The highest number of the last minute. A reader takes nothing away, so any number of them read the same.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// How long a number counts.
const WINDOW: Duration = Duration::from_secs(60);

/// One more than the seconds of the window: the present second is not over.
const SECONDS: usize = WINDOW.as_secs() as usize + 1;

/// The highest number of the last 60 to 61 seconds.
#[derive(Clone, Debug)]
pub struct Peak(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    epoch: Instant,
    /// For each second, its number since the epoch in the upper half and its highest number in the lower half. So the
    /// larger of two values is that of the later second, and within a second that of the higher number.
    seconds: [AtomicU64; SECONDS],
}

impl Peak {
    /// Creates a peak of 0. No time before `epoch` counts.
    pub fn new(epoch: Instant) -> Self {
        Self(Arc::new(Ring { epoch, seconds: std::array::from_fn(|_| AtomicU64::new(0)) }))
    }

    /// Records a number.
    pub fn reached(&self, number: usize, now: Instant) {
        let second = self.second(now);
        let value = second << 32 | u64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let cell = &self.0.seconds[second as usize % SECONDS];
        // All threads call this for every message. A load, unlike a write, leaves the cache line to the other threads.
        if value > cell.load(Ordering::Relaxed) {
            cell.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Returns the highest number of the last minute.
    pub fn get(&self, now: Instant) -> usize {
        self.within(WINDOW, now)
    }

    /// Returns the highest number of a time of whole seconds before `now`, up to a minute, and of up to a second before
    /// that.
    pub fn within(&self, time: Duration, now: Instant) -> usize {
        let now = self.second(now);
        let values = self.0.seconds.iter().map(|cell| cell.load(Ordering::Relaxed));
        let recent = values.filter(|value| (value >> 32) + time.as_secs() >= now);
        recent.map(|value| value as u32).max().unwrap_or(0) as usize
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.0.epoch).as_secs()
    }
}

impl Default for Peak {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

impl TypedMetric for Peak {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Peak {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&(self.get(Instant::now()) as u64))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_counts_for_a_minute_however_often_it_is_read() {
        let peak = Peak::default();
        let at = |ms| peak.0.epoch + Duration::from_millis(ms);
        assert_eq!(peak.get(at(0)), 0);
        peak.reached(7, at(1500));
        peak.reached(5, at(1900));
        peak.reached(3, at(30_000));
        for ms in [1900, 1900, 61_500, 61_999] {
            assert_eq!(peak.get(at(ms)), 7, "{ms}");
        }
        assert_eq!(peak.get(at(62_000)), 3);
        assert_eq!(peak.get(at(90_999)), 3);
        let last_second = |ms| peak.within(Duration::from_secs(1), at(ms));
        assert_eq!([31_999, 32_000].map(last_second), [3, 0]);
        assert_eq!(peak.get(at(91_000)), 0);
        // A thread that was late does not overwrite a newer second.
        peak.reached(2, at(91_000));
        peak.reached(9, at(30_500));
        assert_eq!(peak.get(at(91_000)), 2);
    }

    proptest! {
        /// It is at least the highest number of the last 60 seconds, and at most that of the last 61.
        #[test]
        fn it_is_the_maximum_of_the_window(
            steps in prop::collection::vec((0..20_000_u64, 0..1000_usize), 1..200),
        ) {
            let peak = Peak::default();
            let (mut now, mut all) = (0, Vec::new());
            for (step, number) in steps {
                now += step;
                all.push((now, number));
                peak.reached(number, peak.0.epoch + Duration::from_millis(now));
                let highest = |ms| all.iter().filter(|(at, _)| at + ms > now).map(|(_, number)| *number).max();
                let read = Some(peak.get(peak.0.epoch + Duration::from_millis(now)));
                prop_assert!(highest(60_000) <= read && read <= highest(61_000), "{read:?} at {now}");
            }
        }
    }
}
