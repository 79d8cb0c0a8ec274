//! A limit on how often a kind of line is logged. The time is an argument. Pure.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Passes a number of lines in any second or minute, wherever that begins, and counts the others.
#[derive(Debug)]
pub struct Limiter {
    lines_max: usize,
    window: Duration,
    /// When each line of the last window passed, the oldest first.
    passed: VecDeque<Instant>,
    suppressed: u64,
}

/// A number of lines that did not pass. It prints as the end of the line that did: nothing, or ` (and 2 more before)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (and {more} more before)"),
        }
    }
}

impl Limiter {
    /// Passes `per_second_max` lines in any second.
    pub const fn new(per_second_max: usize) -> Self {
        Self { lines_max: per_second_max, window: SECOND, passed: VecDeque::new(), suppressed: 0 }
    }

    /// Passes `lines_max` lines in any minute.
    pub const fn per_minute(lines_max: usize) -> Self {
        Self { lines_max, window: Duration::from_secs(60), passed: VecDeque::new(), suppressed: 0 }
    }

    pub(super) fn set_per_second_max(&mut self, per_second_max: u32) {
        self.lines_max = per_second_max as usize;
    }

    /// Returns how many lines did not pass since the last one that did; `None` if this line may not pass either.
    pub fn admit(&mut self, now: Instant) -> Option<Suppressed> {
        if self.pass(now) {
            Some(Suppressed(self.take_suppressed()))
        } else {
            self.suppressed += 1;
            None
        }
    }

    /// Returns the number of suppressed lines if a line of its own may report it now; otherwise 0.
    pub(super) fn settle(&mut self, now: Instant) -> u64 {
        if self.suppressed > 0 && self.pass(now) { self.take_suppressed() } else { 0 }
    }

    /// Returns the number of suppressed lines, and counts from 0 again, even if no line may pass now.
    pub(super) fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    fn pass(&mut self, now: Instant) -> bool {
        while self.passed.front().is_some_and(|then| now.saturating_duration_since(*then) >= self.window) {
            self.passed.pop_front();
        }
        let room = self.passed.len() < self.lines_max;
        if room {
            self.passed.push_back(now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_its_lines_and_the_others_are_counted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut limiter = Limiter::new(2);
        let table = [
            (0, Some(0)),
            (900, Some(0)),
            (950, None),
            (999, None),
            (1000, Some(2)),
            (1001, None),
            (1899, None),
            (1900, Some(2)),
            (9000, Some(0)),
        ];
        for (ms, admitted) in table {
            assert_eq!(limiter.admit(at(ms)), admitted.map(Suppressed), "at {ms} ms");
        }
    }

    #[test]
    fn a_minute_may_have_one_line() {
        let start = Instant::now();
        let mut limiter = Limiter::per_minute(1);
        for (s, admitted) in [(0, Some(0)), (1, None), (59, None), (60, Some(2)), (119, None), (120, Some(1))] {
            assert_eq!(limiter.admit(start + Duration::from_secs(s)), admitted.map(Suppressed), "after {s} s");
        }
    }

    #[test]
    fn suppressed_lines_are_reported_when_no_more_come() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1);
        assert_eq!(
            [limiter.admit(start), limiter.admit(start), limiter.admit(start)],
            [Some(Suppressed(0)), None, None]
        );
        assert_eq!(limiter.settle(start), 0, "there is no room yet");
        assert_eq!(limiter.settle(start + SECOND), 2);
        assert_eq!(limiter.settle(start + 2 * SECOND), 0, "it is told once");
    }

    #[test]
    fn none_may_be_let_pass() {
        let mut limiter = Limiter::new(0);
        assert_eq!((limiter.admit(Instant::now()), limiter.take_suppressed()), (None, 1));
    }

    #[test]
    fn time_that_runs_backwards_is_survived() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1);
        assert_eq!(limiter.admit(start + SECOND), Some(Suppressed(0)));
        assert_eq!(limiter.admit(start), None);
    }

    #[test]
    fn a_line_ends_with_the_number_of_those_before() {
        assert_eq!([Suppressed(0), Suppressed(2)].map(|lines| lines.to_string()), ["", " (and 2 more before)"]);
    }
}
