//! The state machine of the two connections to one server: one publishes, one is subscribed. Pure: the time is an
//! argument, and the driver does the steps that it asks for.
//!
//! 1. *Down*: it waits, longer after each failure, for a random part of the wait.
//! 2. *Connecting*: both connections are made.
//! 3. *Checking*: the server says that it is a master, the channels of this node are subscribed, and its own heartbeat
//!    comes back.
//! 4. *Attaching*: the channels of the conversations are subscribed.
//! 5. *Up*: all channels that were wanted are subscribed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::downtime::Downtime;

/// The time within which both connections have to be made.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The time within which a command has to be answered, and each check has to end.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The time between two questions for the role of the server.
const ROLE_PERIOD: Duration = Duration::from_secs(5);

/// The heartbeats that may be missing.
const MISSING_MAX: u32 = 3;

/// A step that the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Resolve the server anew and make both connections.
    Connect,
    /// Ask the server for its role, and Sentinel for the address of the master.
    AskRole,
    /// Subscribe the channels of this node.
    SubscribeOwn,
    /// Publish a heartbeat.
    Beat,
    /// Subscribe the channels of all conversations, and publish.
    Attach,
    /// Drop both connections.
    TearDown,
    /// Tell conversations that the server is away.
    TellOutage,
    /// Tell conversations that the server is back, and that they may have missed anything.
    TellOver,
}

/// Something that happened to the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both connections are made.
    Connected,
    /// A connection could not be made, broke, or is of no use; with the reason.
    Failed(Arc<str>),
    /// The server is a master.
    Master,
    /// The channels of this node are subscribed.
    OwnSubscribed,
    /// The own heartbeat came back.
    Heard,
    /// All channels that were wanted when the connection was made are subscribed.
    Complete,
}

/// The state of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There are no connections before this moment.
    Down(Instant),
    /// The connections are being made.
    Connecting,
    /// The connections are being checked.
    Checking {
        /// Whether the server is a master.
        is_master: bool,
        /// Whether the channels of this node are subscribed.
        is_subscribed: bool,
    },
    /// The channels of conversations are being subscribed.
    Attaching,
    /// All is well.
    Up,
}

/// The periods of a link.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// The time between two heartbeats.
    pub heartbeat: Duration,
    /// The time that the bus may be away before conversations are told.
    pub tell_after: Duration,
    /// The longest wait before another try to connect.
    pub reconnect_max: Duration,
}

/// The state machine of the connections to one server.
#[derive(Debug)]
pub struct Link {
    periods: Periods,
    state: State,
    steps: VecDeque<Step>,
    /// The moment at which connecting or checking has failed.
    deadline: Option<Instant>,
    role_due: Instant,
    beat_due: Instant,
    heard: Instant,
    downtime: Downtime,
}

impl Link {
    /// Creates the link of a server that was never connected. `seed` is for the random part of the waits.
    pub fn new(periods: Periods, seed: u64, now: Instant) -> Self {
        Self {
            periods,
            state: State::Down(now),
            steps: VecDeque::new(),
            deadline: None,
            role_due: now,
            beat_due: now,
            heard: now,
            downtime: Downtime::new(periods.tell_after, periods.reconnect_max, seed, now),
        }
    }

    /// The state of the connections.
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

    /// Notes that the server was up before this link was made, and conversations may have missed anything since.
    pub fn was_up(&mut self) {
        self.downtime.was_up();
    }

    /// Has the next try to connect made now, because the server may be another one.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Down(until) = &mut self.state {
            *until = now.min(*until);
            self.downtime.hurry();
        }
    }

    /// Whether conversations are told that the server is back when all is well.
    pub fn owes_over(&self) -> bool {
        self.downtime.owes_over()
    }

    /// Whether messages may be published, and channels of conversations be subscribed.
    pub fn serves(&self) -> bool {
        matches!(self.state, State::Attaching | State::Up)
    }

    /// Takes something that happened. [`poll`](Self::poll) may have steps afterwards.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match (event, self.state) {
            (Event::Failed(why), _) => self.fail(why, now),
            (Event::Connected, State::Connecting) => {
                self.state = State::Checking { is_master: false, is_subscribed: false };
                self.deadline = Some(now + 2 * ANSWER_MAX);
                self.steps.extend([Step::AskRole, Step::SubscribeOwn]);
            }
            (Event::Master, State::Checking { is_subscribed, .. }) => self.checked(true, is_subscribed, now),
            (Event::OwnSubscribed, State::Checking { is_master, .. }) => self.checked(is_master, true, now),
            (Event::Heard, State::Checking { is_master: true, is_subscribed: true }) => {
                self.state = State::Attaching;
                self.deadline = None;
                self.heard = now;
                self.role_due = now + ROLE_PERIOD;
                self.beat_due = now + self.periods.heartbeat;
                self.steps.push_back(Step::Attach);
            }
            (Event::Heard, State::Attaching | State::Up) => self.heard = now,
            (Event::Complete, State::Attaching) => {
                self.state = State::Up;
                if self.downtime.end(now) {
                    self.steps.push_back(Step::TellOver);
                }
            }
            _ => {}
        }
    }

    /// Returns the next step. The driver calls it again until there is none, and then at the moment of
    /// [`wake_at`](Self::wake_at).
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        self.look_at_the_clock(now);
        self.steps.pop_front()
    }

    /// The moment at which `poll` has to be called even if nothing happens.
    pub fn wake_at(&self) -> Instant {
        let first = match self.state {
            State::Down(until) => Some(until),
            State::Connecting | State::Checking { .. } => self.deadline,
            State::Attaching | State::Up => Some(self.role_due.min(self.beat_due).min(self.deaf_at())),
        };
        let tell = self.downtime.tell_at();
        // One of both exists: a state without a deadline has none of its own only for a moment.
        first.into_iter().chain(tell).min().unwrap_or(self.heard + self.periods.heartbeat)
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        match self.state {
            State::Down(until) if now >= until => {
                self.state = State::Connecting;
                self.deadline = Some(now + CONNECT_MAX);
                self.steps.push_back(Step::Connect);
            }
            State::Connecting if self.is_late(now) => {
                self.fail("no connection within 5 s: is the address right, and does no firewall drop it?".into(), now);
            }
            State::Checking { is_master: true, is_subscribed: true } if self.is_late(now) => self.fail(
                "connected, but what is published there does not come back: is it one server, and do PUBLISH and \
                 SUBSCRIBE reach the same one?"
                    .into(),
                now,
            ),
            State::Checking { .. } if self.is_late(now) => {
                self.fail("connected, but the server does not answer commands".into(), now);
            }
            State::Attaching | State::Up if now >= self.deaf_at() => {
                self.fail("the own heartbeats do not come back any more".into(), now);
            }
            State::Attaching | State::Up => {
                if now >= self.beat_due {
                    self.beat_due = now + self.periods.heartbeat;
                    self.steps.push_back(Step::Beat);
                }
                if now >= self.role_due {
                    self.role_due = now + ROLE_PERIOD;
                    self.steps.push_back(Step::AskRole);
                }
            }
            _ => {}
        }
        if self.downtime.is_told_now(now) {
            self.steps.push_back(Step::TellOutage);
        }
    }

    fn checked(&mut self, is_master: bool, is_subscribed: bool, now: Instant) {
        let were_both = self.state == State::Checking { is_master: true, is_subscribed: true };
        self.state = State::Checking { is_master, is_subscribed };
        if is_master && is_subscribed && !were_both {
            self.deadline = Some(now + ANSWER_MAX);
            self.steps.push_back(Step::Beat);
        }
    }

    fn fail(&mut self, why: Arc<str>, now: Instant) {
        if matches!(self.state, State::Down(_)) {
            return;
        }
        self.state = State::Down(self.downtime.fail(why, now));
        self.deadline = None;
        // What conversations have to be told outlives the connections.
        self.steps.retain(|step| matches!(step, Step::TellOutage | Step::TellOver));
        self.steps.push_back(Step::TearDown);
    }

    fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn deaf_at(&self) -> Instant {
        self.heard + MISSING_MAX * self.periods.heartbeat
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIODS: Periods = Periods {
        heartbeat: Duration::from_secs(2),
        tell_after: Duration::from_secs(2),
        reconnect_max: Duration::from_secs(5),
    };

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

        fn steps(&mut self) -> Vec<Step> {
            let now = self.now();
            std::iter::from_fn(|| self.link.poll(now)).collect()
        }

        fn on(&mut self, events: &[Event]) -> Vec<Step> {
            let now = self.now();
            events.iter().for_each(|event| self.link.handle(event.clone(), now));
            self.steps()
        }

        fn after(&mut self, ms: u64) -> Vec<Step> {
            self.ms += ms;
            self.steps()
        }

        /// Waits until the next try to connect, and returns the milliseconds.
        fn reconnect(&mut self) -> u64 {
            let before = self.ms;
            while !self.after(1).contains(&Step::Connect) {}
            self.ms - before
        }

        /// Brings the link up, and returns the last step.
        fn bring_up(&mut self) -> Option<Step> {
            while !matches!(self.link.state(), State::Connecting) {
                self.after(1);
            }
            let steps =
                self.on(&[Event::Connected, Event::Master, Event::OwnSubscribed, Event::Heard, Event::Complete]);
            assert_eq!(self.link.state(), State::Up);
            steps.last().copied()
        }
    }

    fn failed(why: &str) -> Event {
        Event::Failed(why.into())
    }

    #[test]
    fn a_link_comes_up_step_by_step() {
        use Step::*;
        let mut rig = Rig::new();
        assert_eq!(rig.steps(), [Connect]);
        assert_eq!(rig.on(&[Event::Connected]), [AskRole, SubscribeOwn]);
        assert_eq!(rig.on(&[Event::Heard]), [], "a heartbeat of before");
        assert_eq!(rig.on(&[Event::Master]), []);
        assert!(!rig.link.serves());
        assert_eq!(rig.on(&[Event::OwnSubscribed]), [Beat]);
        assert_eq!(rig.on(&[Event::Heard]), [Attach]);
        assert!(rig.link.serves());
        assert!(rig.link.down_since().is_some());
        assert_eq!(rig.on(&[Event::Complete]), []);
        assert_eq!((rig.link.state(), rig.link.down_since()), (State::Up, None));
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_when_all_is_confirmed() {
        use Step::*;
        let mut rig = Rig::new();
        rig.bring_up();
        assert_eq!(rig.on(&[failed("x")]), [TearDown]);
        assert_eq!(rig.link.failure().map(|why| &**why), Some("x"));
        let mut steps = Vec::new();
        for _ in 0..300 {
            steps.extend(rig.after(10));
            if rig.link.state() == State::Connecting {
                rig.on(&[failed("y")]);
            }
        }
        assert_eq!(steps.iter().filter(|step| **step == TellOutage).count(), 1);
        assert!(rig.link.downtime.is_told);
        rig.reconnect();
        assert_eq!(
            rig.on(&[Event::Connected, Event::Master, Event::OwnSubscribed, Event::Heard]).last(),
            Some(&Attach)
        );
        assert_eq!(rig.on(&[Event::Complete]), [TellOver]);
        rig.on(&[failed("z")]);
        rig.ms += 2500;
        assert!(rig.steps().contains(&TellOutage));
    }

    #[test]
    fn of_a_short_break_only_the_end_is_told() {
        let mut rig = Rig::new();
        assert_eq!(rig.bring_up(), Some(Step::Attach), "nothing was missed before");
        assert!(!rig.link.owes_over());
        rig.on(&[failed("x")]);
        assert!(rig.link.owes_over());
        assert_eq!(rig.bring_up(), Some(Step::TellOver));
        assert!(!rig.link.owes_over());
        assert_eq!(rig.after(1999), []);
        assert!(!rig.link.downtime.is_told);
    }

    #[test]
    fn a_link_that_replaces_another_tells_that_the_server_is_back() {
        let mut rig = Rig::new();
        rig.link.was_up();
        assert_eq!(rig.bring_up(), Some(Step::TellOver));
    }

    #[test]
    fn a_start_without_a_server_is_an_outage_too() {
        let mut rig = Rig::new();
        rig.steps();
        assert_eq!(rig.after(1999), []);
        assert_eq!(rig.after(1), [Step::TellOutage]);
    }

    #[test]
    fn checks_have_deadlines() {
        let mut rig = Rig::new();
        rig.steps();
        assert!(rig.after(5000).contains(&Step::TearDown));
        rig.reconnect();
        rig.on(&[Event::Connected, Event::Master]);
        assert!(rig.after(4000).contains(&Step::TearDown));
        assert!(rig.link.failure().is_some_and(|why| why.contains("does not answer")));
        rig.reconnect();
        rig.on(&[Event::Connected, Event::Master, Event::OwnSubscribed]);
        assert!(rig.after(2000).contains(&Step::TearDown));
        assert!(rig.link.failure().is_some_and(|why| why.contains("does not come back")));
    }

    #[test]
    fn a_link_that_is_up_beats_and_asks_for_the_role() {
        use Step::*;
        let mut rig = Rig::new();
        rig.bring_up();
        let mut all = Vec::new();
        for _ in 0..10 {
            all.push(rig.after(1000));
            rig.on(&[Event::Heard]);
        }
        let expected: [&[Step]; 10] =
            [&[], &[Beat], &[], &[Beat], &[AskRole], &[Beat], &[], &[Beat], &[], &[Beat, AskRole]];
        assert_eq!(all, expected);
    }

    #[test]
    fn heartbeats_that_do_not_come_back_end_the_connections() {
        let mut rig = Rig::new();
        rig.bring_up();
        rig.after(3000);
        rig.on(&[Event::Heard]);
        assert!(!rig.after(5999).contains(&Step::TearDown));
        assert!(rig.after(1).contains(&Step::TearDown));
    }

    #[test]
    fn waits_double_and_are_random_and_bounded() {
        let mut rig = Rig::new();
        rig.steps();
        let mut waits = Vec::new();
        for _ in 0..200 {
            rig.on(&[failed("x")]);
            waits.push(rig.reconnect());
        }
        for (round, most) in [100, 200, 400, 800, 1600, 3200, 5000].into_iter().enumerate() {
            assert!(waits[round] <= most + 1, "{round}: {}", waits[round]);
        }
        let late = &waits[10..];
        assert!(late.iter().all(|wait| *wait <= 5001));
        assert!(late.iter().any(|wait| *wait > 4000) && late.iter().any(|wait| *wait < 1000), "{late:?}");
        // A server that comes and goes is not tried more often; one that was up for a while is.
        rig.bring_up();
        rig.on(&[failed("x")]);
        assert_eq!(rig.link.downtime.wait, Duration::from_secs(5));
        rig.bring_up();
        rig.after(4000);
        rig.on(&[Event::Heard]);
        rig.after(1000);
        rig.on(&[failed("x")]);
        assert_eq!(rig.link.downtime.wait, Duration::from_millis(200));
    }

    /// Follows a link, and counts the ends that it has to tell.
    #[derive(Default)]
    struct Watch {
        told: Vec<Step>,
        was_up: bool,
        ever_up: bool,
        ends: usize,
    }

    impl Watch {
        fn note(&mut self, steps: Vec<Step>, link: &Link) {
            let is_up = link.state() == State::Up;
            self.ends += usize::from(!self.ever_up && steps.contains(&Step::TellOutage));
            self.ends += usize::from(self.was_up && !is_up);
            (self.was_up, self.ever_up) = (is_up, self.ever_up || is_up);
            self.told.extend(steps.into_iter().filter(|step| matches!(step, Step::TellOutage | Step::TellOver)));
        }
    }

    proptest! {
        /// Whatever happens: a step follows within bounded time, with a server that is well the link comes up, and then
        /// the end is told once of each time in which it was not up: of a first one only if its beginning was told.
        #[test]
        fn a_link_never_gets_stuck(events in prop::collection::vec((0u8..7, 0u64..3000), 0..200)) {
            let (mut rig, mut watch) = (Rig::new(), Watch::default());
            for (event, ms) in events {
                let steps = rig.after(ms);
                watch.note(steps, &rig.link);
                prop_assert!(rig.link.wake_at() > rig.now(), "nothing is left to do now");
                prop_assert!(rig.link.wake_at() <= rig.now() + Duration::from_secs(6));
                let event = [Event::Connected, failed("x"), Event::Master, Event::OwnSubscribed, Event::Heard,
                    Event::Complete, Event::Heard][usize::from(event)].clone();
                let steps = rig.on(&[event]);
                watch.note(steps, &rig.link);
            }
            for _ in 0..20_000 {
                let answers: &[Event] = match rig.link.state() {
                    State::Up => break,
                    State::Connecting => &[Event::Connected],
                    State::Checking { .. } => &[Event::Master, Event::OwnSubscribed, Event::Heard],
                    State::Attaching => &[Event::Complete],
                    State::Down(_) => &[],
                };
                let steps = rig.on(answers);
                watch.note(steps, &rig.link);
                let steps = rig.after(10);
                watch.note(steps, &rig.link);
            }
            let steps = rig.steps();
            watch.note(steps, &rig.link);
            prop_assert_eq!(rig.link.state(), State::Up);
            let Watch { told, ends, .. } = watch;
            prop_assert!(!told.windows(2).any(|pair| pair == [Step::TellOutage; 2]), "{:?}", told);
            prop_assert!(told.last() != Some(&Step::TellOutage), "an outage is left open: {:?}", told);
            prop_assert_eq!(told.iter().filter(|step| **step == Step::TellOver).count(), ends, "{:?}", told);
        }
    }
}
