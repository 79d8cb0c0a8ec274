//! The limit on calls to MAX at the same time, found by additive increase and multiplicative decrease. Pure.
//!
//! MAX is one process that handles one call after the other, including calls that were given up. If it has more calls
//! than it can answer well before their deadline, all of them are late.

use std::time::{Duration, Instant};

/// Calls that one process of MAX bears: the initial limit, and the default of `max.inflight_max`.
const START: usize = 8;
/// Factor of the limit after a slow call.
const SLOW_FACTOR: f64 = 0.75;
/// Factor of the limit after a call that missed its deadline.
const LATE_FACTOR: f64 = 0.5;
/// A call is slow if it takes more than the deadline divided by this.
const SLOW_SHARE: u32 = 4;

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// MAX has answered, with any status.
    Answered,
    /// The deadline has passed.
    Late,
    /// Nobody waits for the answer any more.
    GivenUp,
    /// There was no connection, which says nothing about the load of MAX.
    Unconnected,
}

/// The limit on calls at the same time.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    limit: f64,
    max: usize,
    slow: Duration,
    /// When the limit was lowered last. Calls that began before do not lower it again.
    lowered: Option<Instant>,
}

impl Pace {
    /// `max` is the upper bound of the limit, `timeout` the deadline of a call.
    pub(super) fn new(max: usize, timeout: Duration) -> Self {
        Self { limit: max.clamp(1, START) as f64, max: max.max(1), slow: timeout / SLOW_SHARE, lowered: None }
    }

    /// Changes the upper bound of the limit. A limit that a lower bound has held down begins anew.
    pub(super) fn set_max(&mut self, max: usize) {
        let former = std::mem::replace(&mut self.max, max.max(1));
        let limit = if self.max > former { self.limit.max(START as f64) } else { self.limit };
        self.limit = limit.min(self.max as f64);
    }

    /// The present limit.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Adapts the limit to the end of a call. `full` says whether the limit was reached.
    pub(super) fn ended(&mut self, ended: Ended, began: Instant, now: Instant, full: bool) {
        let slow = now.saturating_duration_since(began) > self.slow;
        match ended {
            Ended::Unconnected => {}
            Ended::Late => self.lower(LATE_FACTOR, began, now),
            Ended::Answered | Ended::GivenUp if slow => self.lower(SLOW_FACTOR, began, now),
            // As many answers as the limit raise it by one.
            Ended::Answered if full => self.limit = (self.limit + 1.0 / self.limit).min(self.max as f64),
            Ended::Answered | Ended::GivenUp => {}
        }
    }

    /// Lowers the limit, once for all calls that were in progress together.
    fn lower(&mut self, factor: f64, began: Instant, now: Instant) {
        if self.lowered.is_none_or(|lowered| began >= lowered) {
            self.limit = (self.limit * factor).max(1.0);
            self.lowered = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the limit after a number of calls to a MAX that answers one call after the other, each in `service`. The
    /// limit is always reached.
    fn after(calls: usize, service: Duration, pace: &mut Pace, mut now: Instant) -> usize {
        let mut under_way = std::collections::VecDeque::new();
        for _ in 0..calls {
            while under_way.len() < pace.limit() {
                under_way.push_back(now);
            }
            now += service;
            let began = under_way.pop_front().unwrap();
            let late = now - began > 5 * SECOND;
            pace.ended(if late { Ended::Late } else { Ended::Answered }, began, now, true);
        }
        pace.limit()
    }

    #[test]
    fn the_limit_finds_what_is_answered_soon() {
        let now = Instant::now();
        for (max, service_ms, low, high) in [
            (8, 10, 8, 8),
            (8, 100, 8, 8),
            // A quarter of the deadline is 1250 ms. The limit is the number of calls that are answered in that time.
            (64, 100, 8, 13),
            (64, 300, 2, 5),
            (64, 700, 1, 2),
            (64, 3000, 1, 1),
            (64, 1, 64, 64),
            (2, 10, 2, 2),
        ] {
            let mut pace = Pace::new(max, 5 * SECOND);
            let limit = after(5000, Duration::from_millis(service_ms), &mut pace, now);
            assert!((low..=high).contains(&limit), "{max} {service_ms}: {limit}");
        }
    }

    #[test]
    fn the_limit_begins_low_and_stays_in_its_bounds() {
        for (max, start) in [(0, 1), (1, 1), (5, 5), (8, 8), (64, 8)] {
            assert_eq!(Pace::new(max, SECOND).limit(), start);
        }
        let (mut pace, now) = (Pace::new(64, 5 * SECOND), Instant::now());
        for n in 0..20 {
            pace.ended(Ended::Late, now + n * SECOND, now + n * SECOND, true);
        }
        assert_eq!(pace.limit(), 1);
        // The limit grows again up to its bound when calls are fast.
        assert_eq!(after(5000, Duration::from_millis(1), &mut pace, now + 60 * SECOND), 64);
    }

    #[test]
    fn a_bound_that_is_turned_holds_at_once() {
        let (mut pace, now) = (Pace::new(64, 5 * SECOND), Instant::now());
        assert_eq!(after(5000, Duration::from_millis(1), &mut pace, now), 64);
        for (max, limit) in [(80, 64), (10, 10), (0, 1), (2, 2), (32, 8)] {
            pace.set_max(max);
            assert_eq!(pace.limit(), limit, "{max}");
        }
        assert_eq!(after(5000, Duration::from_millis(1), &mut pace, now), 32, "quick answers raise it to the bound");
    }

    #[test]
    fn calls_that_were_under_way_together_lower_the_limit_once() {
        let (mut pace, now) = (Pace::new(8, 4 * SECOND), Instant::now());
        for _ in 0..8 {
            pace.ended(Ended::Late, now, now + 4 * SECOND, true);
        }
        assert_eq!(pace.limit(), 4);
        pace.ended(Ended::Late, now + 4 * SECOND, now + 8 * SECOND, true);
        assert_eq!(pace.limit(), 2);
    }

    #[test]
    fn what_says_nothing_of_the_load_changes_nothing() {
        let (mut pace, now) = (Pace::new(16, 4 * SECOND), Instant::now());
        for (ended, took_ms, full) in [
            (Ended::Unconnected, 1, true),
            (Ended::Unconnected, 3000, true),
            (Ended::GivenUp, 10, true),
            // The limit was not reached, so nothing shows that a higher one is needed.
            (Ended::Answered, 10, false),
        ] {
            for _ in 0..100 {
                pace.ended(ended, now, now + Duration::from_millis(took_ms), full);
            }
            assert_eq!(pace.limit(), 8, "{ended:?}");
        }
        // A slow call that was given up counts like a slow answer.
        pace.ended(Ended::GivenUp, now, now + 2 * SECOND, true);
        assert_eq!(pace.limit(), 6);
    }
}
