//! A token bucket: a burst at once, and then a rate per second. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// The rate and burst of a [`Bucket`]. Clients share a rate; each has a bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units that come back per second; 0 is no limit.
    pub per_second: u64,
    /// Units that a rested client can take at once.
    pub burst: u64,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 0 };

    /// Returns how long `units` take to come back.
    fn time_for(self, units: u64) -> Duration {
        Duration::from_nanos(units.saturating_mul(1_000_000_000) / self.per_second.max(1))
    }
}

/// The part of a [`Rate`] that one client has used up. A new bucket is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When all units have come back; `None` if none was ever taken.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes `units`. Returns false, and takes nothing, if the bucket holds fewer. A full bucket gives even more than
    /// its burst: it then owes the rest.
    pub fn take(&mut self, rate: Rate, units: u64, now: Instant) -> bool {
        let allowed = self.wait(rate, units, now).is_zero();
        if allowed {
            self.charge(rate, units, now);
        }
        allowed
    }

    /// Takes `units` even if the bucket holds fewer: it then owes the rest.
    pub fn charge(&mut self, rate: Rate, units: u64, now: Instant) {
        if rate.per_second > 0 && units > 0 {
            self.full_at = Some(self.full_at.unwrap_or(now).max(now) + rate.time_for(units));
        }
    }

    /// Returns how long until the bucket holds `units`. More than the burst counts as the burst.
    pub fn wait(&self, rate: Rate, units: u64, now: Instant) -> Duration {
        if rate.per_second == 0 || self.is_full(now) {
            return Duration::ZERO;
        }
        let owed = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        let kept = rate.time_for(rate.burst.saturating_sub(units));
        owed.saturating_sub(kept)
    }

    /// Returns whether no units are missing. Such a bucket equals a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { per_second: 10, burst: 5 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert_eq!((0..9).filter(|_| bucket.take(RATE, 1, start)).count(), 5);
        assert_eq!(bucket.wait(RATE, 1, start), Duration::from_millis(100));
        assert!(!bucket.take(RATE, 1, start + Duration::from_millis(99)));
        assert!(bucket.take(RATE, 1, start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert!(bucket.is_full(later));
        assert_eq!((0..9).filter(|_| bucket.take(RATE, 1, later)).count(), 5, "a rest saves no more than the burst");
    }

    #[test]
    fn more_than_the_burst_is_taken_from_a_full_bucket_and_paid_for() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!(bucket.take(RATE, 20, start));
        assert!(!bucket.take(RATE, 1, start + Duration::from_millis(1599)));
        assert!(bucket.take(RATE, 1, start + Duration::from_millis(1600)));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!((0..1000).all(|_| bucket.take(Rate::UNLIMITED, u64::MAX, start)));
    }

    proptest! {
        /// However often it is asked, it gives no more than the burst and the units that have come back.
        #[test]
        fn never_more_than_allowed(pauses_ms in prop::collection::vec(0_u64..300, 1..200)) {
            let (mut bucket, start) = (Bucket::default(), Instant::now());
            let (mut now, mut taken) = (start, 0);
            for pause in pauses_ms {
                now += Duration::from_millis(pause);
                taken += u64::from(bucket.take(RATE, 1, now));
                let allowed = RATE.burst as f64 + (now - start).as_secs_f64() * RATE.per_second as f64;
                prop_assert!(taken as f64 <= allowed + 1e-6);
            }
        }
    }
}
