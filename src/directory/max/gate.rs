//! The gate before MAX. It bounds the calls at the same time, the joins that wait for a call, and their wait; other
//! joins are refused as `busy`. All threads of the process share one gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pace::{Ended, Pace};
use crate::config;
use crate::directory::Failure;
use crate::event::Code;

/// Gives out permits to call MAX, first come, first served.
#[derive(Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    issued: Mutex<Issued>,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait: Duration,
}

/// The number of permits, and its target.
#[derive(Debug)]
struct Issued {
    pace: Pace,
    /// Permits that are free or taken. They may exceed the limit of the pace until taken ones are returned.
    count: usize,
}

/// The right to call MAX. Dropping it passes it to the next join that waits.
#[derive(Debug)]
#[must_use = "the permit is returned when this is dropped"]
pub struct Permit {
    gate: Arc<Gate>,
    /// `Some` until the drop.
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// Makes the gate. Its bounds are `max.inflight_max`, `max.waiting_max` and `max.wait_ms`.
    pub fn new(settings: &config::Max) -> Self {
        let inflight_max = settings.inflight_max.min(Semaphore::MAX_PERMITS);
        let pace = Pace::new(inflight_max, Duration::from_millis(settings.timeout_ms));
        let count = pace.limit();
        Self {
            permits: Arc::new(Semaphore::new(count)),
            issued: Mutex::new(Issued { pace, count }),
            waiting: AtomicUsize::new(0),
            waiting_max: settings.waiting_max,
            wait: Duration::from_millis(settings.wait_ms),
        }
    }

    /// Waits for a permit. Dropping the future leaves the queue at once.
    ///
    /// # Errors
    /// [`Code::Busy`] if the queue is full, or if the wait is over.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, Failure> {
        let entered = |permit| Permit { gate: Arc::clone(self), permit: Some(permit) };
        // This cannot jump the queue, because returned permits go to waiting joins first.
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(entered(permit));
        }
        let _waiting =
            self.line_up().ok_or_else(|| busy(format!("{} joins wait for MAX already", self.waiting_max)))?;
        match tokio::time::timeout(self.wait, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(entered(permit)),
            Ok(Err(_)) | Err(_) => Err(busy(format!("waited {} ms for a call to MAX", self.wait.as_millis()))),
        }
    }

    /// The number of calls in progress.
    pub fn inflight(&self) -> usize {
        let issued = self.issued.lock();
        issued.count.saturating_sub(self.permits.available_permits())
    }

    /// The present limit on calls: at most `max.inflight_max`, and less while MAX is slow.
    pub fn limit(&self) -> usize {
        self.issued.lock().pace.limit()
    }

    /// The number of joins that wait for a call.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn line_up(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting: usize| (waiting < self.waiting_max).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.ok().map(|_| Waiting(&self.waiting))
    }

    fn ended(&self, ended: Ended, began: Instant) {
        let mut issued = self.issued.lock();
        let full = self.permits.available_permits() == 0;
        issued.pace.ended(ended, began, Instant::now(), full);
        let limit = issued.pace.limit();
        if issued.count < limit {
            self.permits.add_permits(limit - issued.count);
            issued.count = limit;
        } else {
            issued.count -= self.permits.forget_permits(issued.count - limit);
        }
    }
}

impl Permit {
    /// Begins one call. Its end adapts the pace of the gate.
    pub(super) fn begin(&self) -> Timing<'_> {
        Timing { gate: &self.gate, began: Instant::now(), ended: Ended::GivenUp }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut issued = self.gate.issued.lock();
        if issued.count > issued.pace.limit()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            issued.count -= 1;
        }
    }
}

/// The time of one call. A call counts as given up if this is dropped without [`Timing::end`].
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

/// One join in the queue, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy(cause: String) -> Failure {
    Failure::new(Code::Busy, cause)
}
