//! The entries of one join that its conversations have not handled yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The entries of one join that its conversations have not handled yet.
#[derive(Debug)]
pub struct PendingEntries {
    count: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl PendingEntries {
    /// Counts `count` entries. `done` is sent when all are handled, and dropped as soon as one has failed.
    pub fn new(count: usize, done: oneshot::Sender<()>) -> Arc<Self> {
        let entries = Arc::new(Self { count: AtomicUsize::new(count), done: Mutex::new(Some(done)) });
        if count == 0 {
            entries.complete();
        }
        entries
    }

    /// Returns the part of one entry, to be sent with it.
    pub fn one(self: &Arc<Self>) -> PendingEntry {
        PendingEntry(Some(self.clone()))
    }

    fn complete(&self) {
        if let Some(done) = self.done.lock().take() {
            let _ = done.send(());
        }
    }
}

/// One entry that is not handled yet. If it is dropped unhandled, because the conversation has died, the whole join
/// fails at once.
#[derive(Debug)]
pub struct PendingEntry(Option<Arc<PendingEntries>>);

impl PendingEntry {
    /// Counts the entry as handled.
    pub fn handled(mut self) {
        if let Some(entries) = self.0.take()
            && entries.count.fetch_sub(1, Ordering::AcqRel) == 1
        {
            entries.complete();
        }
    }
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        if let Some(entries) = self.0.take() {
            entries.done.lock().take();
        }
    }
}
