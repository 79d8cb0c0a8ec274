//! The rates of events, in number and in bytes, of one session. A session above them is told so once a second, and
//! closed if it does not slow down. Pure.

use std::time::{Duration, Instant};

use crate::limits::bucket::{Bucket, Rate};

/// The shortest time between two refusals that the client is told of.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Refused events count against rates of their own: the allowed rates divided by this, with the same bursts. So a
/// client is closed if it sends more than twice the burst at once, or for long more than a tenth above the rate.
const PATIENCE: u64 = 10;

/// The rates that a session may reach.
#[derive(Clone, Copy, Debug)]
pub struct RatesMax {
    /// The rate of events.
    pub events: Rate,
    /// The rate of their bytes, attachments included.
    pub bytes: Rate,
}

/// The part of the [`RatesMax`] that a session has used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventRates {
    events: Bucket,
    bytes: Bucket,
    refused_events: Bucket,
    refused_bytes: Bucket,
    told: Option<Instant>,
}

/// The verdict on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event is within the rates.
    Within,
    /// The event is refused, and the client is told.
    Told,
    /// The event is dropped; the client was told of another less than a second ago.
    Dropped,
    /// The client does not slow down: the session ends.
    Exhausted,
}

impl EventRates {
    /// Counts an event of `bytes` bytes and returns the verdict on it.
    pub fn take(&mut self, rates: &RatesMax, bytes: usize, now: Instant) -> Verdict {
        let bytes = bytes as u64;
        if take_both((&mut self.events, &mut self.bytes), rates, bytes, now) {
            return Verdict::Within;
        }
        let patience = |rate: Rate| match rate.per_second {
            0 => rate,
            per_second => Rate { per_second: per_second.div_ceil(PATIENCE), burst: rate.burst },
        };
        let rates = RatesMax { events: patience(rates.events), bytes: patience(rates.bytes) };
        if !take_both((&mut self.refused_events, &mut self.refused_bytes), &rates, bytes, now) {
            return Verdict::Exhausted;
        }
        if self.told.is_some_and(|told| now < told + TELL_INTERVAL) {
            return Verdict::Dropped;
        }
        self.told = Some(now);
        Verdict::Told
    }
}

fn take_both((events, bytes): (&mut Bucket, &mut Bucket), rates: &RatesMax, count: u64, now: Instant) -> bool {
    let fits = events.wait(rates.events, 1, now).is_zero() && bytes.wait(rates.bytes, count, now).is_zero();
    fits && events.take(rates.events, 1, now) && bytes.take(rates.bytes, count, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the verdicts on `count` events, `pause` apart, each with the number of times it was given in a row.
    fn verdicts(rates: RatesMax, count: usize, bytes: usize, pause: Duration) -> Vec<(Verdict, usize)> {
        let (mut rates_used, mut now) = (EventRates::default(), Instant::now());
        let mut seen: Vec<(Verdict, usize)> = Vec::new();
        for _ in 0..count {
            let verdict = rates_used.take(&rates, bytes, now);
            match seen.last_mut() {
                Some((last, times)) if *last == verdict => *times += 1,
                _ => seen.push((verdict, 1)),
            }
            now += pause;
        }
        seen
    }

    #[test]
    fn a_burst_is_taken_then_refused_and_then_ends_the_session() {
        let rates = RatesMax { events: Rate { per_second: 10, burst: 20 }, bytes: Rate::UNLIMITED };
        let expected = [(Verdict::Within, 20), (Verdict::Told, 1), (Verdict::Dropped, 19), (Verdict::Exhausted, 10)];
        assert_eq!(verdicts(rates, 50, 1, Duration::ZERO), expected);
    }

    #[test]
    fn bytes_count_like_events() {
        let rates = RatesMax { events: Rate::UNLIMITED, bytes: Rate { per_second: 1000, burst: 2000 } };
        let expected = [(Verdict::Within, 4), (Verdict::Told, 1), (Verdict::Dropped, 3), (Verdict::Exhausted, 2)];
        assert_eq!(verdicts(rates, 10, 500, Duration::ZERO), expected);
    }

    #[test]
    fn a_client_at_the_rate_is_never_refused_and_one_far_above_is_told_each_second() {
        let rates = RatesMax { events: Rate { per_second: 10, burst: 20 }, bytes: Rate::UNLIMITED };
        assert_eq!(verdicts(rates, 1000, 1, Duration::from_millis(100)), [(Verdict::Within, 1000)]);
        // A tenth above the rate is tolerated for ever, three times the rate is not.
        let slightly = verdicts(rates, 3000, 1, Duration::from_millis(91));
        assert!(slightly.iter().all(|(verdict, _)| matches!(verdict, Verdict::Within | Verdict::Told)), "{slightly:?}");
        let far = verdicts(rates, 100, 1, Duration::from_millis(33));
        let told = far.iter().filter(|(verdict, _)| *verdict == Verdict::Told).count();
        assert!(matches!(far.last(), Some((Verdict::Exhausted, _))) && (1..=2).contains(&told), "{far:?}");
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let rates = RatesMax { events: Rate::UNLIMITED, bytes: Rate::UNLIMITED };
        assert_eq!(verdicts(rates, 10_000, 1_000_000, Duration::ZERO), [(Verdict::Within, 10_000)]);
    }
}
