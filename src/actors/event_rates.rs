//! How fast one session may send events, in number and in bytes, and what becomes of one that sends more: it is told so
//! once in a second, and closed where it does not slow down. Pure.

use std::time::{Duration, Instant};

use crate::limits::bucket::{Bucket, Rate};

/// The client is told that often at most that it sends too much.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What is refused counts against a rate of its own: this part of the rate of what is taken. So a client is closed that
/// sends twice the burst at once, or for long more than this part above the rate.
const PATIENCE: u64 = 10;

/// What a session may send.
#[derive(Clone, Copy, Debug)]
pub struct RatesMax {
    /// Events.
    pub events: Rate,
    /// Bytes of events, attachments included.
    pub bytes: Rate,
}

/// How much of the [`RatesMax`] a session has used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventRates {
    events: Bucket,
    bytes: Bucket,
    refused_events: Bucket,
    refused_bytes: Bucket,
    told: Option<Instant>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Within,
    /// It is not done, and the client is told.
    Told,
    /// It is not done, and the client was told a moment ago.
    Dropped,
    /// The client does not slow down.
    Exhausted,
}

impl EventRates {
    /// One more event, of so many bytes.
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

    /// The verdicts on so many events at a time, in their order, repeated ones once.
    fn verdicts(rates: RatesMax, count: usize, bytes: usize, pause: Duration) -> Vec<(Verdict, usize)> {
        let (mut allowance, mut now) = (EventRates::default(), Instant::now());
        let mut seen: Vec<(Verdict, usize)> = Vec::new();
        for _ in 0..count {
            let verdict = allowance.take(&rates, bytes, now);
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
    fn who_keeps_to_the_rate_is_never_refused_and_who_is_far_above_it_is_told_each_second() {
        let rates = RatesMax { events: Rate { per_second: 10, burst: 20 }, bytes: Rate::UNLIMITED };
        assert_eq!(verdicts(rates, 1000, 1, Duration::from_millis(100)), [(Verdict::Within, 1000)]);
        // A tenth more is borne for ever, three times as much is not.
        let slightly = verdicts(rates, 3000, 1, Duration::from_millis(91));
        assert!(slightly.iter().all(|(verdict, _)| matches!(verdict, Verdict::Within | Verdict::Told)), "{slightly:?}");
        let far = verdicts(rates, 100, 1, Duration::from_millis(33));
        let told = far.iter().filter(|(verdict, _)| *verdict == Verdict::Told).count();
        assert!(matches!(far.last(), Some((Verdict::Exhausted, _))) && (1..=2).contains(&told), "{far:?}");
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rates = RatesMax { events: Rate::UNLIMITED, bytes: Rate::UNLIMITED };
        assert_eq!(verdicts(rates, 10_000, 1_000_000, Duration::ZERO), [(Verdict::Within, 10_000)]);
    }
}
