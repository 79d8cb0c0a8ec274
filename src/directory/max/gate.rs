//! The gate before MAX: so many calls at a time, behind them so many joins for so long, beyond either `busy`. One gate
//! serves a whole process, whatever the number of clients behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pace::{Ended, Pace};
use crate::config;
use crate::directory::Failure;
use crate::event::Code;

/// Counts the calls under way and the joins that wait for one. First come, first served.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    room: Mutex<Room>,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait: Duration,
}

/// How many places there are to be, and how many there are.
#[derive(Debug)]
struct Room {
    pace: Pace,
    /// Places that are free or taken. More than the pace allows only until one of them is given back.
    places: usize,
}

/// The right to ask MAX. Dropping it gives the place to the next in line.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Permit {
    gate: Arc<Gate>,
    /// Is there until the drop.
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// The gate of `max.inflight_max`, `max.waiting_max` and `max.wait_ms`.
    pub fn new(settings: &config::Max) -> Self {
        let inflight_max = settings.inflight_max.min(Semaphore::MAX_PERMITS);
        let pace = Pace::new(inflight_max, Duration::from_millis(settings.timeout_ms));
        let places = pace.limit();
        Self {
            places: Arc::new(Semaphore::new(places)),
            room: Mutex::new(Room { pace, places }),
            waiting: AtomicUsize::new(0),
            waiting_max: settings.waiting_max,
            wait: Duration::from_millis(settings.wait_ms),
        }
    }

    /// Waits for a place. Dropping the future leaves the line at once.
    ///
    /// # Errors
    /// [`Code::Busy`] where the line is full, or did not move for long enough.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, Failure> {
        let place = |permit| Permit { gate: Arc::clone(self), permit: Some(permit) };
        // Freed places go to those who wait first, so that this cannot jump the queue.
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(place(permit));
        }
        let _waiting =
            self.line_up().ok_or_else(|| busy(format!("{} joins wait for MAX already", self.waiting_max)))?;
        match tokio::time::timeout(self.wait, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(place(permit)),
            Ok(Err(_)) | Err(_) => Err(busy(format!("waited {} ms for a call to MAX", self.wait.as_millis()))),
        }
    }

    /// Calls to MAX under way.
    pub fn inflight(&self) -> usize {
        let room = self.room.lock();
        room.places.saturating_sub(self.places.available_permits())
    }

    /// Calls that may be under way now: at most `max.inflight_max`, and fewer where MAX is slow.
    pub fn limit(&self) -> usize {
        self.room.lock().pace.limit()
    }

    /// Joins that wait for their call.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn line_up(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting: usize| (waiting < self.waiting_max).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.ok().map(|_| Waiting(&self.waiting))
    }

    fn ended(&self, ended: Ended, began: Instant) {
        let mut room = self.room.lock();
        let full = self.places.available_permits() == 0;
        room.pace.ended(ended, began, Instant::now(), full);
        let limit = room.pace.limit();
        if room.places < limit {
            self.places.add_permits(limit - room.places);
            room.places = limit;
        } else {
            room.places -= self.places.forget_permits(room.places - limit);
        }
    }
}

impl Permit {
    /// One call begins. The pace of the gate follows from how it ends.
    pub(super) fn begin(&self) -> Timing<'_> {
        Timing { gate: &self.gate, began: Instant::now(), ended: Ended::GivenUp }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut room = self.gate.room.lock();
        if room.places > room.pace.limit()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            room.places -= 1;
        }
    }
}

/// One call, from its beginning to its end. Dropped before it was said how it ended, it was given up.
#[derive(Debug)]
pub(super) struct Timing<'a> {
    gate: &'a Gate,
    began: Instant,
    ended: Ended,
}

impl Timing<'_> {
    pub(super) fn end(mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.gate.ended(self.ended, self.began);
    }
}

/// One join in the line, for as long as it stands there.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy(cause: String) -> Failure {
    Failure::new(Code::Busy, cause)
}
