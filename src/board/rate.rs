//! How often something has happened in the last seconds. Pure: the time is an argument.

use std::sync::atomic::{AtomicU32, Ordering};

/// The length of a window, in milliseconds.
const WINDOW_MS: u64 = 10_000;

/// A count over the last ten seconds. The events of the window before the present one count in part, as if they had
/// been spread evenly over it. One thread counts, and all threads may read.
#[derive(Debug, Default)]
pub struct RecentRate {
    /// The number of the present window.
    window: AtomicU32,
    /// The events in the present window.
    present: AtomicU32,
    /// The events in the window before it.
    before: AtomicU32,
}

impl RecentRate {
    /// Counts `events` more at `now_ms`.
    pub fn add(&self, events: u32, now_ms: u64) {
        let (window, last) = (number_of(now_ms), self.window.load(Ordering::Relaxed));
        let present = self.present.load(Ordering::Relaxed);
        if window == last {
            self.present.store(present.saturating_add(events), Ordering::Relaxed);
        } else {
            let before = if window == last.wrapping_add(1) { present } else { 0 };
            self.before.store(before, Ordering::Relaxed);
            self.present.store(events, Ordering::Relaxed);
            self.window.store(window, Ordering::Relaxed);
        }
    }

    /// Returns the events per thousand seconds at `now_ms`.
    pub fn per_1000_s(&self, now_ms: u64) -> u64 {
        let last = self.window.load(Ordering::Relaxed);
        let [present, before] = [&self.present, &self.before].map(|count| u64::from(count.load(Ordering::Relaxed)));
        let (present, before) = match number_of(now_ms).wrapping_sub(last) {
            0 => (present, before),
            1 => (0, present),
            _ => (0, 0),
        };
        let rest_ms = WINDOW_MS - now_ms % WINDOW_MS;
        (present * WINDOW_MS + before * rest_ms) * 100 / WINDOW_MS
    }
}

fn number_of(now_ms: u64) -> u32 {
    (now_ms / WINDOW_MS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_rises_stays_and_is_forgotten() {
        let rate = RecentRate::default();
        assert_eq!(rate.per_1000_s(0), 0);
        for second in 0..60 {
            rate.add(50, second * 1000);
        }
        assert_eq!(rate.per_1000_s(60_000), 50_000, "50 a second");
        assert_eq!(rate.per_1000_s(65_000), 25_000, "half of the last window is out of sight");
        assert_eq!(rate.per_1000_s(69_999), 5, "nearly all of it is");
        assert_eq!(rate.per_1000_s(70_000), 0);
        rate.add(1, 500_000);
        assert_eq!(rate.per_1000_s(500_000), 100, "the windows in between were empty");
    }

    proptest! {
        /// The rate lies between the counts of the last window length and of twice that.
        #[test]
        fn a_rate_lies_between_two_counts(
            mut times in prop::collection::vec(0u64..60_000, 0..200),
            after in 0u64..15_000,
        ) {
            times.sort_unstable();
            let rate = RecentRate::default();
            times.iter().for_each(|time| rate.add(1, *time));
            let now = times.last().copied().unwrap_or(0) + after;
            let since = |ms: u64| times.iter().filter(|time| **time + ms > now).count() as u64;
            let count = rate.per_1000_s(now) / 100;
            prop_assert!(count <= since(2 * WINDOW_MS));
            prop_assert!(count + 1 >= since(now % WINDOW_MS));
        }
    }
}
