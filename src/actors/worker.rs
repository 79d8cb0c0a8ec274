//! What the sessions of one worker thread share: the timers, the flusher, and the buffer that sockets are read into.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::departures;
use super::flusher::Flusher;
use crate::outbox::Outbox;
use crate::protocol::connection::Alarm;

/// Bytes that one read may bring.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Has the task run again when others had their turn and the sockets were looked at: a task that wakes itself runs up
/// to 61 times before the runtime does that (a tick of tokio's `LocalSet`).
pub fn rest(cx: &mut Context<'_>) {
    // It hands over its waker when it is polled for the first time, and has no more to do then.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// One worker thread.
#[derive(Debug)]
pub struct Worker {
    timers: Timers,
    /// Who writes to the sockets of this thread.
    pub flusher: Rc<Flusher>,
    read_buffer: RefCell<Box<[u8]>>,
}

impl Worker {
    /// Has to be called on the thread itself, within its runtime.
    pub fn new() -> Rc<Self> {
        let worker = Rc::new(Self {
            timers: Timers::default(),
            flusher: Flusher::start(),
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

    /// A buffer to read a socket into, for as long as `read` runs.
    pub fn with_read_buffer<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> T {
        read(&mut self.read_buffer.borrow_mut())
    }
}

/// Who is to be woken when, the earliest first.
type Queue = VecDeque<(Instant, Weak<Outbox>)>;

/// One queue per period. What is armed later with the same period is due later, but for the moment that passes between
/// a deadline and its arming, so each queue is as good as sorted, and arming and firing cost the same however many
/// sessions there are. A session whose deadline has moved on is woken for nothing.
#[derive(Debug, Default)]
struct Timers {
    queues: RefCell<Vec<(Duration, Queue)>>,
    sleeping_until: Cell<Option<Instant>>,
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

    /// Wakes all that is due, and says when to come again.
    fn fire(&self, now: Instant) -> Option<Instant> {
        let mut queues = self.queues.borrow_mut();
        for (_, queue) in queues.iter_mut() {
            while let Some((_, outbox)) = queue.pop_front_if(|(due, _)| *due <= now) {
                if let Some(outbox) = outbox.upgrade() {
                    outbox.wake();
                }
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
}
