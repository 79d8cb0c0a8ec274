//! What the sessions of one worker thread share: the timers, the flusher, and the buffer that sockets are read into.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::departures;
use super::flusher::Flusher;
use crate::limits::meter::Allowance;
use crate::outbox::Outbox;
use crate::protocol::connection::Alarm;

/// Bytes that one read may bring.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// An alarm that is found to be so late shows that the thread, or the process, or the machine has stood still,
const LATE: Duration = Duration::from_millis(250);

/// and then the alarms wait for so long: what came in the meantime is read first.
const CATCH_UP: Duration = Duration::from_millis(500);

/// What holds for every session.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What a client may send.
    pub allowance: Allowance,
    /// How long a socket may take nothing of what is written.
    pub write_timeout: Duration,
}

impl Default for Terms {
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
    pub terms: Terms,
    read_buffer: RefCell<Box<[u8]>>,
}

impl Worker {
    /// Has to be called on the thread itself, within its runtime.
    pub fn new(terms: Terms) -> Rc<Self> {
        let worker = Rc::new(Self {
            timers: Timers::default(),
            flusher: Flusher::start(terms.write_timeout),
            terms,
            read_buffer: RefCell::new(vec![0; READ_BUFFER_BYTES].into_boxed_slice()),
        });
        actix_rt::spawn(run_timers(worker.clone()));
        departures::start();
        worker
    }

    /// Wakes the session behind `outbox` when `alarm` is due, if it still lives.
    pub fn arm(&self, alarm: Alarm, outbox: &Arc<Outbox>) {
        if self.timers.arm(alarm, Arc::downgrade(outbox)) {
            self.timers.changed.notify_one();
        }
    }

    /// Whether this thread has stood still and goes on just now: nobody's time is over before what waits was read.
    pub fn is_catching_up(&self, now: Instant) -> bool {
        self.timers.is_catching_up(now)
    }

    /// A buffer to read a socket into, for as long as `read` runs.
    pub fn with_read_buffer<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> T {
        read(&mut self.read_buffer.borrow_mut())
    }
}

/// Who is to be woken when, the earliest first.
type Queue = VecDeque<(Instant, Weak<Outbox>)>;

/// A queue that was longer once is not kept longer than it has to be, but has room for as many.
const QUEUE_MIN: usize = 1024;

/// One queue per period. What is armed later with the same period is due later, but for the moment that passes between
/// a deadline and its arming, so each queue is as good as sorted, and arming and firing cost the same however many
/// sessions there are. A session whose deadline has moved on is woken for nothing.
#[derive(Debug, Default)]
struct Timers {
    queues: RefCell<Vec<(Duration, Queue)>>,
    sleeping_until: Cell<Option<Instant>>,
    /// Until when alarms wait after the thread has stood still.
    held_until: Cell<Option<Instant>>,
    changed: Notify,
}

impl Timers {
    /// True where the ticker sleeps too long for this alarm.
    fn arm(&self, alarm: Alarm, outbox: Weak<Outbox>) -> bool {
        let mut queues = self.queues.borrow_mut();
        let entry = (alarm.due, outbox);
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
            while let Some((_, outbox)) = queue.pop_front_if(|(due, _)| *due <= now) {
                if let Some(outbox) = outbox.upgrade() {
                    outbox.wake();
                }
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

    #[test]
    fn timers_fire_in_order_whatever_their_periods() {
        let timers = Timers::default();
        let start = Instant::now();
        let alarm = |set_ms: u64, period_ms: u64| Alarm {
            period: Duration::from_millis(period_ms),
            due: start + Duration::from_millis(set_ms + period_ms),
        };
        assert!(timers.arm(alarm(0, 100), Weak::new()));
        assert!(timers.arm(alarm(0, 30), Weak::new()));
        assert!(timers.arm(alarm(10, 30), Weak::new()));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(timers.fire(at(29)), Some(at(30)));
        assert_eq!(timers.fire(at(30)), Some(at(40)));
        timers.sleeping_until.set(Some(at(40)));
        assert!(!timers.arm(alarm(29, 30), Weak::new()), "the ticker wakes early enough by itself");
        assert_eq!(timers.fire(at(99)), Some(at(100)));
        assert_eq!(timers.fire(at(100)), None);
    }

    /// What came while the process stood still is read before anybody's time is over.
    #[test]
    fn alarms_wait_where_the_ticker_comes_late_and_then_no_more() {
        let timers = Timers::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        timers.arm(Alarm { period: Duration::from_millis(30), due: at(30) }, Weak::new());
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
            timers.arm(Alarm { period, due: start }, Weak::new());
        }
        assert!(timers.queues.borrow()[0].1.capacity() >= 100_000);
        timers.fire(start);
        assert!(timers.queues.borrow()[0].1.capacity() <= 2 * QUEUE_MIN);
    }
}
