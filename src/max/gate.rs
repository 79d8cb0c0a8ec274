//! The gate before MAX: so many calls at a time, behind them so many joins for so long, beyond either `busy`. One gate
//! serves a whole process, whatever the number of clients behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Failure;
use crate::config;
use crate::event::Code;

/// Counts the calls under way and the joins that wait for one. First come, first served.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    inflight_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait: Duration,
}

/// The right to one call. Dropping it gives the place to the next in line.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Place(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Gate {
    /// The gate of `max.inflight_max`, `max.waiting_max` and `max.wait_ms`.
    pub fn new(settings: &config::Max) -> Self {
        let inflight_max = settings.inflight_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(inflight_max)),
            inflight_max,
            waiting: AtomicUsize::new(0),
            waiting_max: settings.waiting_max,
            wait: Duration::from_millis(settings.wait_ms),
        }
    }

    /// Waits for a place. Dropping the future leaves the line at once.
    ///
    /// # Errors
    /// [`Code::Busy`] where the line is full, or did not move for long enough.
    pub async fn enter(&self) -> Result<Place, Failure> {
        // Freed places go to those who wait first, so that this cannot jump the queue.
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(Place(permit));
        }
        let _waiting =
            self.line_up().ok_or_else(|| busy(format!("{} joins wait for MAX already", self.waiting_max)))?;
        match tokio::time::timeout(self.wait, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            Ok(Err(_)) | Err(_) => Err(busy(format!("waited {} ms for a call to MAX", self.wait.as_millis()))),
        }
    }

    /// Calls to MAX under way.
    pub fn inflight(&self) -> usize {
        self.inflight_max - self.places.available_permits()
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
