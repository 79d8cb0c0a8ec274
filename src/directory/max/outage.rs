//! The times in which MAX does not answer: when one begins and ends, and how many calls fail in it. Pure.

use std::fmt;
use std::time::{Duration, Instant};

/// How long no call may fail after an answer until MAX counts as back. One that answers only now and then is not back.
const SETTLE: Duration = Duration::from_secs(3);

/// Whether MAX answers now.
#[derive(Debug, Default)]
pub(super) struct Outages(Option<Outage>);

/// A time in which MAX does not answer.
#[derive(Debug)]
struct Outage {
    began: Instant,
    failed: usize,
    /// The first answer since the last failure.
    answered: Option<Instant>,
}

/// What is known about the end of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is no outage, or MAX has not answered since its last failure.
    Open,
    /// MAX has answered, and counts as back after this wait if no call fails until then.
    In(Duration),
    /// MAX is back.
    Over(Over),
}

/// An outage that is over. It prints as `after 75 s, in which 12 calls failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    lasted: Duration,
    failed: usize,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, failed) = (self.lasted.as_secs_f64(), self.failed);
        let decimals = usize::from(seconds < 10.0);
        let calls = if failed == 1 { "call" } else { "calls" };
        write!(f, "after {seconds:.decimals$} s, in which {failed} {calls} failed")
    }
}

impl Outages {
    /// Notes that this many calls have got no answer.
    pub(super) fn failed(&mut self, calls: usize, now: Instant) {
        let outage = self.0.get_or_insert(Outage { began: now, failed: 0, answered: None });
        outage.failed += calls;
        outage.answered = None;
    }

    /// Notes an answer. Returns whether it is the first one since a failure.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        let Some(outage) = self.0.as_mut().filter(|outage| outage.answered.is_none()) else { return false };
        outage.answered = Some(now);
        true
    }

    /// Whether MAX has answered since its last failure.
    pub(super) fn is_answered(&self) -> bool {
        self.0.as_ref().is_some_and(|outage| outage.answered.is_some())
    }

    /// Returns what is known about the end of the present outage. One that is over is returned once.
    pub(super) fn end(&mut self, now: Instant) -> End {
        let Some(answered) = self.0.as_ref().and_then(|outage| outage.answered) else { return End::Open };
        match SETTLE.saturating_sub(now.saturating_duration_since(answered)) {
            Duration::ZERO => self.take().map_or(End::Open, End::Over),
            wait => End::In(wait),
        }
    }

    /// Ends the present outage, and returns it if MAX has answered since its last failure.
    pub(super) fn take(&mut self) -> Option<Over> {
        let Outage { began, failed, answered } = self.0.take_if(|outage| outage.answered.is_some())?;
        Some(Over { lasted: answered?.saturating_duration_since(began), failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_over_when_max_answers_and_no_call_fails_for_a_while() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut outages = Outages::default();
        assert!(!outages.answered(at(0)) && !outages.is_answered(), "there is no outage");
        assert_eq!(outages.end(at(0)), End::Open);
        outages.failed(2, at(0));
        assert_eq!((outages.end(at(10_000)), outages.take()), (End::Open, None));
        assert!(outages.answered(at(20_000)) && !outages.answered(at(20_500)) && outages.is_answered());
        assert_eq!(outages.end(at(21_000)), End::In(SETTLE - Duration::from_secs(1)));
        // It was not back.
        outages.failed(1, at(22_000));
        assert_eq!((outages.end(at(30_000)), outages.is_answered()), (End::Open, false));
        assert!(outages.answered(at(75_000)));
        let over = Over { lasted: Duration::from_secs(75), failed: 3 };
        assert_eq!(outages.end(at(75_000) + SETTLE), End::Over(over));
        assert_eq!((outages.end(at(90_000)), outages.take()), (End::Open, None), "it is told once");
        // The next one counts anew.
        outages.failed(1, at(100_000));
        outages.answered(at(101_000));
        assert_eq!(outages.take(), Some(Over { lasted: Duration::from_secs(1), failed: 1 }));
    }

    #[test]
    fn an_outage_is_told_in_words() {
        for (ms, failed, words) in
            [(340, 1, "after 0.3 s, in which 1 call failed"), (75_400, 12, "after 75 s, in which 12 calls failed")]
        {
            assert_eq!(Over { lasted: Duration::from_millis(ms), failed }.to_string(), words);
        }
    }
}
