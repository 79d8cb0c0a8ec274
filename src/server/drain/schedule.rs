//! The schedule of a drain: how many sessions are closed next, and when, and when its progress is logged. Pure: the
//! time is an argument.

use std::time::{Duration, Instant};

/// The pause between two slices of a drain that closes more than one session in this time.
const TICK: Duration = Duration::from_millis(10);

/// The most sessions of a slice. A thread tells this number of sessions in about a millisecond.
const SLICE_MAX: usize = 1000;

/// Part of the sessions that is closed between two lines of the log: one in ten.
const LINES: usize = 10;

/// The shortest time between two lines of the log.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// Sessions that are closed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// How many are closed now.
    pub(super) sessions: usize,
    /// The pause before the next slice.
    pub(super) pause: Duration,
}

impl Slice {
    /// Returns the next slice of a drain that closes `left` sessions evenly over `time_left`. Each slice is computed
    /// anew, so that the drain ends in time although sessions come and go, and although the caller is late.
    pub(super) fn next(left: usize, time_left: Duration) -> Self {
        let (wanted, time) = (left as u128, time_left.as_nanos());
        let in_a_tick = if time == 0 { wanted } else { (wanted * TICK.as_nanos()).div_ceil(time) };
        let sessions = usize::try_from(in_a_tick).unwrap_or(usize::MAX).min(SLICE_MAX).min(left);
        let pause = (time * sessions as u128).checked_div(wanted).unwrap_or_default();
        Self { sessions, pause: Duration::from_nanos(pause.try_into().unwrap_or(u64::MAX)) }
    }
}

/// Decides when the progress of a drain is logged: after each tenth of the sessions, but at most once a second.
#[derive(Debug)]
pub(super) struct Lines {
    of: usize,
    logged: usize,
    at: Instant,
}

impl Lines {
    /// Begins to drain `of` sessions.
    pub(super) fn new(of: usize, now: Instant) -> Self {
        Self { of, logged: of, at: now }
    }

    /// Returns whether to log that `left` sessions are left.
    pub(super) fn is_due(&mut self, left: usize, now: Instant) -> bool {
        let closed = self.logged.saturating_sub(left);
        let is_due = closed > 0 && closed >= self.of / LINES && now >= self.at + LINE_PAUSE;
        if is_due {
            (self.logged, self.at) = (left, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn slices() {
        for (left, time_left, sessions, pause) in [
            (0, ms(0), 0, ms(0)),
            (0, ms(30_000), 0, ms(0)),
            (1, ms(0), 1, ms(0)),
            (1, ms(30_000), 1, ms(30_000)),
            // One at a time.
            (2, ms(30_000), 1, ms(15_000)),
            (3000, ms(33_000), 1, ms(11)),
            (3000, ms(30_000), 1, ms(10)),
            // Several in a tick.
            (3001, ms(30_000), 2, Duration::from_nanos(19_993_335)),
            (200_000, ms(30_000), 67, Duration::from_micros(10_050)),
            (30, ms(10), 30, ms(10)),
            // Less than a tick is left.
            (30, ms(9), 30, ms(9)),
            (1, Duration::from_nanos(1), 1, Duration::from_nanos(1)),
            // More than a slice in a tick.
            (200_000, ms(1000), 1000, ms(5)),
            (200_000, ms(1), 1000, Duration::from_micros(5)),
            (200_000, ms(0), 1000, ms(0)),
            (usize::MAX, ms(0), 1000, ms(0)),
            (1, Duration::MAX, 1, Duration::from_nanos(u64::MAX)),
        ] {
            assert_eq!(Slice::next(left, time_left), Slice { sessions, pause }, "{left} in {time_left:?}");
        }
    }

    /// Closes sessions as the schedule says. `late` is how long the caller oversleeps, `leave` and `come` how many
    /// sessions leave by themselves and come during each pause. Returns the times and sizes of the slices.
    fn drain(mut left: usize, over: Duration, late: &[Duration], leave: usize, come: usize) -> Vec<(Duration, usize)> {
        let (mut now, mut slices, mut late) = (Duration::ZERO, Vec::new(), late.iter().cycle());
        while left > 0 {
            let slice = Slice::next(left, over.saturating_sub(now));
            assert!(slice.sessions > 0 && slice.sessions <= left);
            left -= slice.sessions;
            slices.push((now, slice.sessions));
            if now < over {
                left = left.saturating_sub(leave) + come;
            }
            now += slice.pause + *late.next().unwrap_or(&Duration::ZERO);
        }
        slices
    }

    proptest! {
        #[test]
        fn sessions_are_closed_evenly_and_in_time(
            sessions in prop_oneof![0..50_usize, 0..200_001_usize],
            over_ms in prop_oneof![0..30_u64, 0..600_000_u64],
        ) {
            let over = ms(over_ms);
            let slices = drain(sessions, over, &[], 0, 0);
            prop_assert_eq!(slices.iter().map(|(_, sessions)| sessions).sum::<usize>(), sessions);
            let per_second = if over.is_zero() { 0.0 } else { sessions as f64 / over.as_secs_f64() };
            let mut closed = 0.0;
            for (number, &(at, slice)) in slices.iter().enumerate() {
                prop_assert!(at <= over);
                // As many are closed as a straight line says; each pause is rounded to nanoseconds.
                let line = per_second * at.as_secs_f64();
                let rounding = per_second * number as f64 * 1e-9;
                let differs = (closed - line).abs();
                prop_assert!(over.is_zero() || differs <= 1.0 + rounding, "{} for {} at {:?}", closed, line, at);
                closed += slice as f64;
            }
        }

        #[test]
        fn a_late_caller_and_sessions_that_come_and_go_do_not_delay_the_end(
            sessions in 0..20_000_usize,
            over_ms in 0..60_000_u64,
            late_ms in prop::collection::vec(0..200_u64, 1..8),
            leave in 0..5_usize,
            come in 0..5_usize,
        ) {
            let late: Vec<_> = late_ms.into_iter().map(ms).collect();
            let slices = drain(sessions, ms(over_ms), &late, leave, come);
            let begun = |after: Duration| slices.iter().filter(|(at, _)| *at > after).map(|(_, n)| n).sum::<usize>();
            // The first slice after the end closes all, or as many as one slice has.
            let last = slices.last().map_or(Duration::ZERO, |(at, _)| *at);
            let slices_late = begun(ms(over_ms)).div_ceil(SLICE_MAX) as u32;
            prop_assert!(last <= ms(over_ms) + ms(200) * slices_late.max(1), "{:?}", last);
        }
    }

    #[test]
    fn progress_is_logged_at_each_tenth_but_at_most_once_a_second() {
        let start = Instant::now();
        let lines_of = |sessions: usize, over: Duration| {
            let mut lines = Lines::new(sessions, start);
            (1..=sessions)
                .filter(|closed| {
                    let at = start + over * u32::try_from(*closed).unwrap() / u32::try_from(sessions).unwrap();
                    lines.is_due(sessions - closed, at)
                })
                .count()
        };
        for (sessions, over, lines) in [
            (1000, ms(100_000), 10),
            (1000, ms(10_000), 10),
            (1000, ms(5_000), 5),
            (1000, ms(900), 0),
            (3, ms(30_000), 3),
            (0, ms(30_000), 0),
        ] {
            assert_eq!(lines_of(sessions, over), lines, "{sessions} in {over:?}");
        }
        let mut lines = Lines::new(10, start);
        assert!(!lines.is_due(10, start + ms(60_000)), "nothing has changed");
        assert!(!lines.is_due(20, start + ms(60_000)), "more have come");
        assert!(lines.is_due(9, start + ms(60_000)));
    }
}
