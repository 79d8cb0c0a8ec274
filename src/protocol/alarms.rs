//! The alarms of one connection: which deadlines its driver has to be told of. A client moves some deadlines with every
//! packet, so not every move becomes an alarm.

use std::time::{Duration, Instant};

/// The parts of a period. A deadline that moved by no more than one part, an eighth, keeps its older alarm. So a period
/// has at most eight alarms, and a deadline is noticed at most an eighth of its period late.
const PARTS: u32 = 8;

/// A request to be called at `due`, which is `period` after the request. So a queue for each period is sorted if
/// requests are appended as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The time from the request to the call.
    pub period: Duration,
    /// The time of the call.
    pub due: Instant,
}

/// The deadlines of a connection. The first [`MOVING`] are moved by packets and polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The server must have said something: a ping, or the noop that ends a poll of 0.9.
    Speak,
    /// The client must have been heard of.
    Expire,
    /// The client must have polled.
    Poll,
    /// The client must have finished its upgrade.
    Upgrade,
    /// The poll that waits during an upgrade must have ended.
    Noop,
}

/// The number of deadlines that may be put off and renewed.
const MOVING: usize = Deadline::Poll as usize + 1;

/// The number of all deadlines.
const DEADLINES: usize = Deadline::Noop as usize + 1;

/// The latest alarms, and those that are still to be announced.
#[derive(Debug)]
pub(super) struct Alarms {
    /// The time of the latest alarm of each deadline that moves.
    latest: [Instant; MOVING],
    /// The alarms that [`Self::poll`] has not returned yet. `None` at rest, to save memory.
    unannounced: Option<Box<[Option<Alarm>; DEADLINES]>>,
}

impl Alarms {
    /// Returns alarms before the first one is set.
    pub(super) fn new(now: Instant) -> Self {
        Self { latest: [now; MOVING], unannounced: None }
    }

    /// Sets a deadline, and its alarm, to `period` from now. Returns that time.
    pub(super) fn set(&mut self, deadline: Deadline, period: Duration, now: Instant) -> Instant {
        let due = now + period;
        self.share(deadline, due);
        self.unannounced.get_or_insert_default()[deadline as usize] = Some(Alarm { period, due });
        due
    }

    /// Notes that the alarm of another deadline, at `due`, serves this one too.
    pub(super) fn share(&mut self, deadline: Deadline, due: Instant) {
        if let Some(latest) = self.latest.get_mut(deadline as usize) {
            *latest = due;
        }
    }

    /// Moves a deadline to `period` from now, and returns that time. Sets its alarm only if the latest one comes more
    /// than an eighth of the period too early, or too late. An alarm that is a little early is [renewed](Self::renew).
    pub(super) fn put_off(&mut self, deadline: Deadline, period: Duration, now: Instant) -> Instant {
        let due = now + period;
        let soon_enough = due - period / PARTS..=due;
        let has_alarm = self.latest.get(deadline as usize).is_some_and(|latest| soon_enough.contains(latest));
        if has_alarm { due } else { self.set(deadline, period, now) }
    }

    /// Sets an alarm an eighth of `period` from now if the deadline, which was put off to `due`, is still to come and
    /// its latest alarm is over.
    pub(super) fn renew(&mut self, deadline: Deadline, due: Instant, period: Duration, now: Instant) {
        if due > now && self.latest.get(deadline as usize).is_some_and(|latest| *latest <= now) {
            self.set(deadline, period / PARTS, now);
        }
    }

    /// Returns the next alarm that was set since the last call, or `None` if there are no more.
    pub(super) fn poll(&mut self) -> Option<Alarm> {
        let alarm = self.unannounced.as_mut()?.iter_mut().find_map(Option::take);
        if alarm.is_none() {
            self.unannounced = None;
        }
        alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(800);

    /// Returns alarms before the first one is set, and a clock in ms since their beginning.
    fn begin() -> (Alarms, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Alarms::new(start), move |ms| start + Duration::from_millis(ms))
    }

    fn announced(alarms: &mut Alarms) -> Vec<Alarm> {
        std::iter::from_fn(|| alarms.poll()).collect()
    }

    #[test]
    fn an_alarm_is_announced_once() {
        let (mut alarms, at) = begin();
        assert_eq!(announced(&mut alarms), []);
        assert_eq!(alarms.set(Deadline::Noop, PERIOD / 2, at(0)), at(400));
        assert_eq!(alarms.set(Deadline::Expire, PERIOD, at(0)), at(800));
        assert_eq!(alarms.set(Deadline::Expire, PERIOD, at(10)), at(810), "the newer one takes its place");
        let expected = [(PERIOD, at(810)), (PERIOD / 2, at(400))].map(|(period, due)| Alarm { period, due });
        assert_eq!(announced(&mut alarms), expected);
        assert_eq!(announced(&mut alarms), []);
        assert!(alarms.unannounced.is_none(), "nothing is kept at rest");
    }

    #[test]
    fn a_deadline_that_moves_by_an_eighth_of_its_period_keeps_its_alarm() {
        for deadline in [Deadline::Speak, Deadline::Expire, Deadline::Poll] {
            // The alarm that was set first is due at 800.
            for (moved_at, has_new_alarm) in
                [(0, false), (1, false), (100, false), (101, true), (200, true), (900, true)]
            {
                let (mut alarms, at) = begin();
                alarms.set(deadline, PERIOD, at(0));
                announced(&mut alarms);
                assert_eq!(alarms.put_off(deadline, PERIOD, at(moved_at)), at(moved_at + 800), "it moves in any case");
                let expected = has_new_alarm.then(|| Alarm { period: PERIOD, due: at(moved_at + 800) });
                assert_eq!(alarms.poll(), expected, "{deadline:?} moved at {moved_at}");
            }
        }
    }

    #[test]
    fn a_deadline_that_moves_nearer_has_a_new_alarm() {
        let (mut alarms, at) = begin();
        alarms.set(Deadline::Expire, PERIOD, at(0));
        announced(&mut alarms);
        assert_eq!(alarms.put_off(Deadline::Expire, PERIOD / 2, at(399)), at(799));
        assert_eq!(announced(&mut alarms), [Alarm { period: PERIOD / 2, due: at(799) }]);
    }

    #[test]
    fn a_deadline_is_measured_from_its_latest_alarm() {
        let (mut alarms, at) = begin();
        for (moved_at, has_new_alarm) in [(0, true), (60, false), (120, true), (180, false), (240, true)] {
            alarms.put_off(Deadline::Poll, PERIOD, at(moved_at));
            assert_eq!(alarms.poll().is_some(), has_new_alarm, "{moved_at}");
        }
    }

    #[test]
    fn an_alarm_that_came_too_early_is_renewed() {
        // The latest alarm is due at 800.
        for (now, deadline, renewed) in [
            (799, 900, None),
            (800, 801, Some(900)),
            (800, 800, None),
            (850, 900, Some(950)),
            (900, 900, None),
            (901, 900, None),
        ] {
            let (mut alarms, at) = begin();
            alarms.set(Deadline::Expire, PERIOD, at(0));
            announced(&mut alarms);
            alarms.renew(Deadline::Expire, at(deadline), PERIOD, at(now));
            let expected = renewed.map(|due| Alarm { period: PERIOD / 8, due: at(due) });
            assert_eq!(alarms.poll(), expected, "a deadline at {deadline}, looked at at {now}");
            alarms.renew(Deadline::Expire, at(deadline), PERIOD, at(now));
            assert_eq!(alarms.poll(), None, "once is enough");
        }
    }

    #[test]
    fn deadlines_share_an_alarm_and_are_apart_otherwise() {
        let (mut alarms, at) = begin();
        let due = alarms.set(Deadline::Expire, PERIOD, at(0));
        alarms.share(Deadline::Poll, due);
        assert_eq!(announced(&mut alarms).len(), 1);
        alarms.put_off(Deadline::Poll, PERIOD, at(50));
        assert_eq!(alarms.poll(), None, "the shared alarm is near enough");
        alarms.put_off(Deadline::Speak, PERIOD, at(50));
        assert_eq!(alarms.poll(), Some(Alarm { period: PERIOD, due: at(850) }), "nobody has set this one");
    }
}
