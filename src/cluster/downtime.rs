//! The time in which a server is away: when the next try to connect is made, what conversations have to be told, and
//! what the log says. The links to Redis and to RabbitMQ share it. Pure: the time is an argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The first wait before another try to connect.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// The time after which a failure that lasts is logged again.
const SAME_AFTER: Duration = Duration::from_secs(300);

/// The least time between two lines about different failures.
const OTHER_AFTER: Duration = Duration::from_secs(5);

/// The time in which a server is away, and before.
#[derive(Debug)]
pub struct Downtime {
    /// The time that the server may be away before conversations are told.
    tell_after: Duration,
    /// The longest wait before another try to connect.
    reconnect_max: Duration,
    pub(super) wait: Duration,
    up_at: Option<Instant>,
    /// The moment since which not all was well.
    since: Option<Instant>,
    /// Whether conversations were told that the server is away.
    pub(super) is_told: bool,
    /// Whether conversations have to be told that the server is back.
    owes_over: bool,
    failure: Option<Arc<str>>,
    random: StdRng,
}

impl Downtime {
    /// Creates the downtime of a server that was never connected. `seed` is for the random part of the waits.
    pub fn new(tell_after: Duration, reconnect_max: Duration, seed: u64, now: Instant) -> Self {
        Self {
            tell_after,
            reconnect_max,
            wait: WAIT_MIN,
            up_at: None,
            since: Some(now),
            is_told: false,
            owes_over: false,
            failure: None,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// The moment since which not all is well. `None`: all is.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The last failure since all was well.
    pub fn failure(&self) -> Option<&Arc<str>> {
        self.failure.as_ref()
    }

    /// Whether conversations are told that the server is back when all is well.
    pub fn owes_over(&self) -> bool {
        self.owes_over
    }

    /// Notes that conversations may have missed anything since the server was up.
    pub fn was_up(&mut self) {
        self.owes_over = true;
    }

    /// Begins the waits anew, because the server may be another one.
    pub fn hurry(&mut self) {
        self.wait = WAIT_MIN;
    }

    /// Notes that all is well. Returns whether conversations have to be told so.
    pub fn end(&mut self, now: Instant) -> bool {
        self.up_at = Some(now);
        self.failure = None;
        self.since = None;
        self.is_told = false;
        std::mem::take(&mut self.owes_over)
    }

    /// Takes a failure. Returns the moment of the next try to connect.
    pub fn fail(&mut self, why: Arc<str>, now: Instant) -> Instant {
        // Conversations may have missed something only if all was well before.
        self.owes_over |= self.since.is_none();
        // A server that was up for a while is tried at once. One that fails again and again is not.
        if self.up_at.take().is_some_and(|up_at| now.saturating_duration_since(up_at) >= self.reconnect_max) {
            self.wait = WAIT_MIN;
        }
        let wait = self.wait.mul_f64(self.random.random_range(0.0..1.0));
        self.wait = (2 * self.wait).min(self.reconnect_max).max(WAIT_MIN);
        self.failure = Some(why);
        self.since.get_or_insert(now);
        now + wait
    }

    /// The moment at which conversations have to be told that the server is away. `None`: there is no such moment.
    pub fn tell_at(&self) -> Option<Instant> {
        self.since.filter(|_| !self.is_told).map(|since| since + self.tell_after)
    }

    /// Returns whether conversations have to be told now, once, that the server is away.
    pub fn is_told_now(&mut self, now: Instant) -> bool {
        let is_due = self.tell_at().is_some_and(|at| now >= at);
        if is_due {
            (self.is_told, self.owes_over) = (true, true);
        }
        is_due
    }
}

/// The last failure that was logged.
#[derive(Debug, Default)]
pub struct LoggedFailure(Option<(Instant, Arc<str>)>);

impl LoggedFailure {
    /// Returns whether a failure is logged now: it is another one, or has lasted for long.
    pub fn is_due(&mut self, failure: &Arc<str>, now: Instant) -> bool {
        let is_due = self.0.as_ref().is_none_or(|(at, said)| {
            let after = if said == failure { SAME_AFTER } else { OTHER_AFTER };
            now.saturating_duration_since(*at) >= after
        });
        if is_due {
            self.0 = Some((now, failure.clone()));
        }
        is_due
    }

    /// Forgets it: the server is back.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}
