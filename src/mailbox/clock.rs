//! A clock for tests, which stands still on its thread until it is moved.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// The time on this thread. `None` if its clock runs.
    pub static STOPPED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Stops the clock, or moves the stopped one on.
pub fn advance(time: Duration) {
    STOPPED.set(Some(STOPPED.get().unwrap_or_else(Instant::now) + time));
}
