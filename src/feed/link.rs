//! The state machine of the connection to one RabbitMQ. Pure: the time is an argument, and the driver does the steps
//! that it asks for.
//!
//! 1. *Down*: it waits, longer after each failure, for a random part of the wait.
//! 2. *Connecting*: the connection is made, and the queue is bound.
//! 3. *Binding*: the exchanges of the conversations are bound, where each has its own.
//! 4. *Up*: all that was wanted is heard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::downtime::Downtime;

/// A step that the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the connection.
    Connect,
    /// Drop the connection.
    TearDown,
    /// Tell conversations that RabbitMQ is away.
    TellOutage,
    /// Tell conversations that RabbitMQ is back, and that they may have missed anything.
    TellOver,
}

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none before this moment.
    Down(Instant),
    /// It is being made.
    Connecting,
    /// The exchanges of the conversations are being bound.
    Binding,
    /// All is well.
    Up,
}

/// The periods of a link.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// The time that RabbitMQ may be away before conversations are told.
    pub tell_after: Duration,
    /// The longest wait before another try to connect.
    pub reconnect_max: Duration,
}

/// The state machine of the connection.
#[derive(Debug)]
pub struct Link {
    state: State,
    steps: VecDeque<Step>,
    downtime: Downtime,
}

impl Link {
    /// Creates the link to a RabbitMQ that was never connected. `seed` is for the random part of the waits.
    pub fn new(periods: Periods, seed: u64, now: Instant) -> Self {
        Self {
            state: State::Down(now),
            steps: VecDeque::new(),
            downtime: Downtime::new(periods.tell_after, periods.reconnect_max, seed, now),
        }
    }

    /// The state of the connection.
    pub fn state(&self) -> State {
        self.state
    }

    /// The moment since which not all is well. `None`: all is.
    pub fn down_since(&self) -> Option<Instant> {
        self.downtime.since()
    }

    /// The last failure since all was well.
    pub fn failure(&self) -> Option<&Arc<str>> {
        self.downtime.failure()
    }

    /// Whether conversations are told that RabbitMQ is back when all is well.
    pub fn owes_over(&self) -> bool {
        self.downtime.owes_over()
    }

    /// Notes that conversations may have missed anything since RabbitMQ was up.
    pub fn was_up(&mut self) {
        self.downtime.was_up();
    }

    /// Takes a connection that was made.
    pub fn connected(&mut self) {
        if self.state == State::Connecting {
            self.state = State::Binding;
        }
    }

    /// Notes that all exchanges that were wanted when the connection was made are bound.
    pub fn complete(&mut self, now: Instant) {
        if self.state == State::Binding {
            self.state = State::Up;
            if self.downtime.end(now) {
                self.steps.push_back(Step::TellOver);
            }
        }
    }

    /// Takes the reason why the connection could not be made, or is of no use any more.
    pub fn fail(&mut self, why: Arc<str>, now: Instant) {
        if matches!(self.state, State::Down(_)) {
            return;
        }
        self.state = State::Down(self.downtime.fail(why, now));
        self.steps.push_back(Step::TearDown);
    }

    /// Returns the next step. The driver calls it again until there is none, and then at the moment of
    /// [`wake_at`](Self::wake_at).
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        if matches!(self.state, State::Down(until) if now >= until) {
            self.state = State::Connecting;
            self.steps.push_back(Step::Connect);
        }
        if self.downtime.is_told_now(now) {
            self.steps.push_back(Step::TellOutage);
        }
        self.steps.pop_front()
    }

    /// The moment at which `poll` has to be called even if nothing happens. `None`: there is no such moment.
    pub fn wake_at(&self) -> Option<Instant> {
        let until = if let State::Down(until) = self.state { Some(until) } else { None };
        until.into_iter().chain(self.downtime.tell_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: Periods = Periods { tell_after: Duration::from_secs(2), reconnect_max: Duration::from_secs(5) };

    struct Rig {
        link: Link,
        start: Instant,
        ms: u64,
    }

    impl Rig {
        fn new() -> Self {
            let start = Instant::now();
            Self { link: Link::new(PERIODS, 1, start), start, ms: 0 }
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_millis(self.ms)
        }

        fn after(&mut self, ms: u64) -> Vec<Step> {
            self.ms += ms;
            let now = self.now();
            std::iter::from_fn(|| self.link.poll(now)).collect()
        }

        fn fail(&mut self) -> Vec<Step> {
            self.link.fail("x".into(), self.now());
            self.after(0)
        }

        fn bring_up(&mut self) -> Vec<Step> {
            while self.link.state() != State::Connecting {
                self.after(1);
            }
            self.link.connected();
            assert_eq!(self.link.state(), State::Binding);
            self.link.complete(self.now());
            assert_eq!((self.link.state(), self.link.down_since()), (State::Up, None));
            self.after(0)
        }
    }

    #[test]
    fn the_first_connection_tells_nothing() {
        let mut rig = Rig::new();
        assert_eq!(rig.after(0), [Step::Connect]);
        assert_eq!(rig.bring_up(), []);
        assert_eq!(rig.link.wake_at(), None);
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_too() {
        let mut rig = Rig::new();
        rig.bring_up();
        assert_eq!(rig.fail(), [Step::TearDown]);
        assert_eq!(rig.link.failure().map(|why| &**why), Some("x"));
        let mut told = 0;
        for _ in 0..3000 {
            told += rig.after(1).into_iter().filter(|step| *step == Step::TellOutage).count();
            if rig.link.state() == State::Connecting {
                rig.fail();
            }
        }
        assert_eq!(told, 1);
        assert_eq!(rig.bring_up(), [Step::TellOver]);
        assert_eq!(rig.after(10_000), []);
    }

    #[test]
    fn a_short_break_is_told_when_it_is_over() {
        let mut rig = Rig::new();
        rig.bring_up();
        rig.fail();
        assert_eq!(rig.bring_up(), [Step::TellOver]);
    }

    /// A connection that breaks before all is bound was not up.
    #[test]
    fn a_start_without_a_server_is_an_outage() {
        let mut rig = Rig::new();
        rig.after(0);
        rig.link.connected();
        rig.fail();
        assert!(!rig.link.owes_over());
        assert!(rig.after(2000).contains(&Step::TellOutage));
        assert_eq!(rig.bring_up(), [Step::TellOver]);
    }

    #[test]
    fn waits_grow_up_to_their_bound_and_are_random() {
        let mut rig = Rig::new();
        let mut waits = Vec::new();
        for _ in 0..200 {
            let before = rig.ms;
            while rig.link.state() != State::Connecting {
                rig.after(1);
            }
            waits.push(rig.ms - before);
            rig.fail();
        }
        assert!(waits[..3].iter().all(|ms| *ms <= 400), "{waits:?}");
        assert!(waits.iter().all(|ms| *ms <= 5001) && waits.iter().any(|ms| *ms > 4000), "{waits:?}");
        assert!(waits[20..].iter().any(|ms| *ms < 1000), "{waits:?}");
    }
}
