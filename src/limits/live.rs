//! A limit that an operator turns while the server runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread sets seldom and all threads read often. A read is one relaxed load of a cache line that
/// nobody writes to.
#[derive(Debug, Default)]
pub struct LiveLimit(AtomicU64);

impl LiveLimit {
    /// Returns the limit now.
    pub fn get(&self) -> usize {
        usize::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Sets the limit. Each thread sees it at its next read.
    pub fn set(&self, limit: usize) {
        self.0.store(limit as u64, Ordering::Relaxed);
    }
}

impl From<usize> for LiveLimit {
    fn from(limit: usize) -> Self {
        Self(AtomicU64::new(limit as u64))
    }
}
