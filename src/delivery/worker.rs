//! The worker: the timers, the flusher and the read buffer of one thread, shared by its sessions.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::buffer::ReadBuffer;
use super::flusher::Flusher;
use super::outbox::Outbox;
use super::slab::Slab;
use crate::limits::meter::Allowance;
use crate::protocol::connection::Alarm;

/// An alarm later than this shows that the thread, the process or the machine has stood still.
const LATE: Duration = Duration::from_millis(250);

/// How long alarms are held after a standstill, so that the input that came in the meantime is read first.
pub const CATCH_UP: Duration = Duration::from_millis(500);

/// The limits of every session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// The input that a client may send.
    pub allowance: Allowance,
    /// How long a socket may take nothing while something waits to be written.
    pub write_timeout: Duration,
}

impl Default for SessionLimits {
    /// No limits.
    fn default() -> Self {
        Self { allowance: Allowance::UNLIMITED, write_timeout: Duration::from_secs(86_400) }
    }
}

/// One worker thread.
#[derive(Debug)]
pub struct Worker {
    timers: Timers,
    /// Writes to the sockets of this thread.
    pub flusher: Rc<Flusher>,
    /// The limits of its sessions.
    pub limits: SessionLimits,
    /// The buffer that the sockets are read into.
    pub read_buffer: Rc<ReadBuffer>,
}

impl Worker {
    /// Starts the worker of this thread. Has to be called within the thread's runtime.
    pub fn new(limits: SessionLimits) -> Rc<Self> {
        let worker = Rc::new(Self {
            timers: Timers::default(),
            flusher: Flusher::start(limits.write_timeout),
            limits,
            read_buffer: Rc::default(),
        });
        actix_rt::spawn(run_timers(worker.clone()));
        worker
    }

    /// Returns the alarms of the session behind `outbox`.
    pub fn alarms(self: &Rc<Self>, outbox: &Arc<Outbox>) -> Alarms {
        Alarms { sleeper: self.timers.enter(outbox.clone()), worker: self.clone() }
    }

    /// Returns whether this thread has stood still until a moment ago. No timeout is enforced then, because the input
    /// that waits has to be read first.
    pub fn is_catching_up(&self, now: Instant) -> bool {
        self.timers.is_catching_up(now)
    }
}

/// The alarms of one session. When this is dropped, they wake nobody any more.
#[derive(Debug)]
pub struct Alarms {
    worker: Rc<Worker>,
    sleeper: Sleeper,
}

impl Alarms {
    /// Wakes the session when `alarm` is due.
    pub fn arm(&self, alarm: Alarm) {
        let timers = &self.worker.timers;
        if timers.arm(alarm, self.sleeper) {
            timers.changed.notify_one();
        }
    }

    /// From now on the alarms wake the task behind `outbox`.
    pub fn wake_by(&self, outbox: &Arc<Outbox>) {
        self.worker.timers.replace(self.sleeper, outbox.clone());
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        self.worker.timers.leave(self.sleeper);
    }
}

/// The session that an alarm wakes. A key has many sessions one after the other; the serial tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sleeper {
    key: u32,
    serial: u32,
}

/// The alarms of one period, the earliest first.
type Queue = VecDeque<(Instant, Sleeper)>;

/// A queue that shrinks keeps room for at least this many alarms.
const QUEUE_MIN: usize = 1024;

/// One queue per period. Of two alarms of a period, the one armed later is due later (except for the moment between
/// setting a deadline and arming it), so each queue is as good as sorted, and arming and firing cost the same however
/// many sessions there are. A session whose deadline has moved is woken for nothing. The queues hold no outboxes, so an
/// ended session leaves only its alarms there. Otherwise a flood of short sessions would leave outboxes scattered over
/// all the memory that it had used.
#[derive(Debug, Default)]
struct Timers {
    sleepers: RefCell<Slab<(u32, Arc<Outbox>)>>,
    serial: Cell<u32>,
    queues: RefCell<Vec<(Duration, Queue)>>,
    /// When the ticker, [`run_timers`], will run next. `None` if no alarm is set.
    sleeping_until: Cell<Option<Instant>>,
    /// The end of a [`CATCH_UP`].
    held_until: Cell<Option<Instant>>,
    changed: Notify,
}

impl Timers {
    fn enter(&self, outbox: Arc<Outbox>) -> Sleeper {
        let serial = self.serial.get().wrapping_add(1);
        self.serial.set(serial);
        Sleeper { key: self.sleepers.borrow_mut().insert((serial, outbox)), serial }
    }

    fn leave(&self, sleeper: Sleeper) {
        let _outbox = self.sleepers.borrow_mut().remove(sleeper.key);
    }

    fn replace(&self, sleeper: Sleeper, outbox: Arc<Outbox>) {
        if let Some((_, held)) = self.sleepers.borrow_mut().get_mut(sleeper.key) {
            *held = outbox;
        }
    }

    fn wake(&self, sleeper: Sleeper) {
        if let Some((serial, outbox)) = self.sleepers.borrow_mut().get_mut(sleeper.key)
            && *serial == sleeper.serial
        {
            outbox.wake();
        }
    }

    /// Adds an alarm. Returns whether the ticker sleeps too long for it.
    fn arm(&self, alarm: Alarm, sleeper: Sleeper) -> bool {
        let mut queues = self.queues.borrow_mut();
        let entry = (alarm.due, sleeper);
        match queues.iter_mut().find(|(period, _)| *period == alarm.period) {
            Some((_, queue)) => queue.push_back(entry),
            None => queues.push((alarm.period, VecDeque::from([entry]))),
        }
        self.sleeping_until.get().is_none_or(|until| alarm.due < until)
    }

    /// Returns whether the ticker is [`LATE`], or was late so recently that alarms are held.
    fn is_catching_up(&self, now: Instant) -> bool {
        self.held_until.get().map_or_else(|| self.is_late(now), |until| now < until)
    }

    fn is_late(&self, now: Instant) -> bool {
        self.sleeping_until.get().is_some_and(|until| now > until + LATE)
    }

    /// Wakes the sessions whose alarms are due, and returns when to be called again. If the call is late, the alarms
    /// are held for a [`CATCH_UP`] instead.
    fn fire(&self, now: Instant) -> Option<Instant> {
        let until = match self.held_until.get() {
            None if self.is_late(now) => Some(now + CATCH_UP),
            until => until.filter(|until| now < *until),
        };
        self.held_until.set(until);
        if until.is_some() {
            return until;
        }
        let mut queues = self.queues.borrow_mut();
        for (_, queue) in queues.iter_mut() {
            while let Some((_, sleeper)) = queue.pop_front_if(|(due, _)| *due <= now) {
                self.wake(sleeper);
            }
            if queue.capacity() > 2 * QUEUE_MIN && queue.len() < queue.capacity() / 4 {
                queue.shrink_to(QUEUE_MIN.max(2 * queue.len()));
            }
        }
        queues.iter().filter_map(|(_, queue)| queue.front()).map(|(due, _)| *due).min()
    }
}

/// The ticker, which runs as long as the thread.
async fn run_timers(worker: Rc<Worker>) {
    let timers = &worker.timers;
    loop {
        let next = timers.fire(Instant::now());
        timers.sleeping_until.set(next);
        match next {
            Some(due) => {
                let _ = tokio::time::timeout_at(due.into(), timers.changed.notified()).await;
            }
            None => timers.changed.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::outbox::tests::{Wakes, limits};
    use crate::metrics::{Metrics, ReadAtScrape};
    use crate::protocol::Generation;
    use futures_util::task::waker;
    use std::sync::atomic::Ordering;

    const NOBODY: Sleeper = Sleeper { key: 0, serial: 0 };

    #[test]
    fn timers_fire_in_order_whatever_their_periods() {
        let timers = Timers::default();
        let start = Instant::now();
        let alarm = |set_ms: u64, period_ms: u64| Alarm {
            period: Duration::from_millis(period_ms),
            due: start + Duration::from_millis(set_ms + period_ms),
        };
        assert!(timers.arm(alarm(0, 100), NOBODY));
        assert!(timers.arm(alarm(0, 30), NOBODY));
        assert!(timers.arm(alarm(10, 30), NOBODY));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(timers.fire(at(29)), Some(at(30)));
        assert_eq!(timers.fire(at(30)), Some(at(40)));
        timers.sleeping_until.set(Some(at(40)));
        assert!(!timers.arm(alarm(29, 30), NOBODY), "the ticker wakes early enough by itself");
        assert_eq!(timers.fire(at(99)), Some(at(100)));
        assert_eq!(timers.fire(at(100)), None);
    }

    #[test]
    fn the_alarms_of_an_ended_session_wake_nobody_and_hold_nothing() {
        let timers = Timers::default();
        let due = Instant::now();
        let alarm = Alarm { period: Duration::from_secs(1), due };
        let session = || {
            let bounds = limits(1, 1);
            let outbox = Arc::new(Outbox::new(Generation::Eio4, bounds, Metrics::new(&[], ReadAtScrape::default())));
            let wakes = Arc::new(Wakes::default());
            outbox.register(&waker(wakes.clone()));
            (timers.enter(outbox.clone()), outbox, wakes)
        };
        let (former, outbox, _) = session();
        timers.arm(alarm, former);
        timers.leave(former);
        assert_eq!(Arc::strong_count(&outbox) + Arc::weak_count(&outbox), 1);
        let (latter, _, wakes) = session();
        assert_eq!(latter.key, former.key);
        timers.fire(due);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        timers.arm(alarm, latter);
        timers.fire(due);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    /// Input that came while the process stood still is read before any timeout is enforced.
    #[test]
    fn alarms_are_held_once_when_the_ticker_is_late() {
        let timers = Timers::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        timers.arm(Alarm { period: Duration::from_millis(30), due: at(30) }, NOBODY);
        timers.sleeping_until.set(Some(at(30)));
        assert!(!timers.is_catching_up(at(280)) && timers.is_catching_up(at(281)), "even before the ticker runs");
        assert_eq!(timers.fire(at(5000)), Some(at(5500)));
        assert!(timers.is_catching_up(at(5499)) && !timers.is_catching_up(at(5500)));
        timers.sleeping_until.set(Some(at(5500)));
        assert_eq!(timers.fire(at(5400)), Some(at(5500)), "a new alarm does not end the wait");
        assert_eq!(timers.fire(at(9000)), None, "alarms are not held twice, however late the ticker is");
        assert!(timers.queues.borrow().iter().all(|(_, queue)| queue.is_empty()));
    }

    #[test]
    fn the_queues_shrink_after_many_alarms() {
        let timers = Timers::default();
        let start = Instant::now();
        let period = Duration::from_millis(30);
        for _ in 0..100_000 {
            timers.arm(Alarm { period, due: start }, NOBODY);
        }
        assert!(timers.queues.borrow()[0].1.capacity() >= 100_000);
        timers.fire(start);
        assert!(timers.queues.borrow()[0].1.capacity() <= 2 * QUEUE_MIN);
    }
}
