//! What the sessions of one worker thread share: the timers, the flusher, and the buffer that sockets are read into.

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

/// An alarm that is found to be so late shows that the thread, or the process, or the machine has stood still,
const LATE: Duration = Duration::from_millis(250);

/// and then the alarms wait for so long: what came in the meantime is read first.
pub const CATCH_UP: Duration = Duration::from_millis(500);

/// What holds for every session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// What a client may send.
    pub allowance: Allowance,
    /// How long a socket may take nothing of what is written.
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
    /// Who writes to the sockets of this thread.
    pub flusher: Rc<Flusher>,
    /// What holds for its sessions.
    pub limits: SessionLimits,
    /// What their sockets are read into.
    pub read_buffer: Rc<ReadBuffer>,
}

impl Worker {
    /// Has to be called on the thread itself, within its runtime.
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

    /// What wakes the session behind `outbox`.
    pub fn alarms(self: &Rc<Self>, outbox: &Arc<Outbox>) -> Alarms {
        Alarms { sleeper: self.timers.enter(outbox.clone()), worker: self.clone() }
    }

    /// Whether this thread has stood still and goes on just now: nobody's time is over before what waits was read.
    pub fn is_catching_up(&self, now: Instant) -> bool {
        self.timers.is_catching_up(now)
    }
}

/// The alarms of one session, for as long as it lives: those that are left when it ends wake nobody.
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
}

impl Drop for Alarms {
    fn drop(&mut self) {
        self.worker.timers.leave(self.sleeper);
    }
}

/// Who is to be woken. A place has many sessions one after the other; the serial tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sleeper {
    key: u32,
    serial: u32,
}

/// Who is to be woken when, the earliest first.
type Queue = VecDeque<(Instant, Sleeper)>;

/// A queue that was longer once is not kept longer than it has to be, but has room for as many.
const QUEUE_MIN: usize = 1024;

/// One queue per period. What is armed later with the same period is due later, but for the moment that passes between
/// a deadline and its arming, so each queue is as good as sorted, and arming and firing cost the same however many
/// sessions there are. A session whose deadline has moved on is woken for nothing. What an ended session leaves is an
/// entry of a queue and nothing else: a flood of short sessions would hold pieces of all the memory that it had.
#[derive(Debug, Default)]
struct Timers {
    sleepers: RefCell<Slab<(u32, Arc<Outbox>)>>,
    serial: Cell<u32>,
    queues: RefCell<Vec<(Duration, Queue)>>,
    sleeping_until: Cell<Option<Instant>>,
    /// Until when alarms wait after the thread has stood still.
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

    fn wake(&self, sleeper: Sleeper) {
        if let Some((serial, outbox)) = self.sleepers.borrow_mut().get_mut(sleeper.key)
            && *serial == sleeper.serial
        {
            outbox.wake();
        }
    }

    /// True where the ticker sleeps too long for this alarm.
    fn arm(&self, alarm: Alarm, sleeper: Sleeper) -> bool {
        let mut queues = self.queues.borrow_mut();
        let entry = (alarm.due, sleeper);
        match queues.iter_mut().find(|(period, _)| *period == alarm.period) {
            Some((_, queue)) => queue.push_back(entry),
            None => queues.push((alarm.period, VecDeque::from([entry]))),
        }
        self.sleeping_until.get().is_none_or(|until| alarm.due < until)
    }

    /// Whether the ticker should have come long ago, or was so late that the alarms wait.
    fn is_catching_up(&self, now: Instant) -> bool {
        self.held_until.get().map_or_else(|| self.is_late(now), |until| now < until)
    }

    fn is_late(&self, now: Instant) -> bool {
        self.sleeping_until.get().is_some_and(|until| now > until + LATE)
    }

    /// Wakes all that is due, and says when to come again. Where it is called late, all waits once more.
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

/// Runs as long as the thread.
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

    use super::super::outbox::Bounds;
    use super::super::outbox::tests::Wakes;
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
    fn what_a_session_leaves_behind_wakes_nobody_and_holds_nothing() {
        let timers = Timers::default();
        let due = Instant::now();
        let alarm = Alarm { period: Duration::from_secs(1), due };
        let session = || {
            let bounds = Bounds { messages_max: 1, bytes_max: 1 };
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

    /// What came while the process stood still is read before anybody's time is over.
    #[test]
    fn alarms_wait_where_the_ticker_comes_late_and_then_no_more() {
        let timers = Timers::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        timers.arm(Alarm { period: Duration::from_millis(30), due: at(30) }, NOBODY);
        timers.sleeping_until.set(Some(at(30)));
        assert!(!timers.is_catching_up(at(280)) && timers.is_catching_up(at(281)), "whoever asks first sees it");
        assert_eq!(timers.fire(at(5000)), Some(at(5500)));
        assert!(timers.is_catching_up(at(5499)) && !timers.is_catching_up(at(5500)));
        timers.sleeping_until.set(Some(at(5500)));
        assert_eq!(timers.fire(at(5400)), Some(at(5500)), "a new alarm does not end the wait");
        assert_eq!(timers.fire(at(9000)), None, "however late that is: else nobody's time would ever be over");
        assert!(timers.queues.borrow().iter().all(|(_, queue)| queue.is_empty()));
    }

    #[test]
    fn the_queues_are_short_again_after_a_crowd() {
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
