//! What the feed shares with its thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::bindings::Bindings;
use super::port::Audience;
use super::settings::Settings;
use crate::cluster::status::Status;
use crate::metrics::{FeedGap, FeedGapLabel, Metrics};

/// What all threads know of the feed.
pub struct Shared {
    /// The settings.
    pub settings: Settings,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// The conversations and sessions of this process.
    pub audience: Arc<dyn Audience>,
    /// Whether the feed is up.
    pub status: Mutex<Status>,
    /// The exchanges that conversations want.
    pub bindings: Mutex<Bindings>,
    /// The number of the outage that conversations were told; 0 if none goes on.
    pub outage: AtomicU64,
    /// The number of the last outage of the feed or of the bus.
    pub outages: Arc<AtomicU64>,
    /// Whether the feed was up before.
    pub was_up: AtomicBool,
    /// Whether the feed is to end.
    pub stops: AtomicBool,
    /// Wakes the thread.
    pub wake: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("url", &self.settings.url).finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns the number of one more outage.
    pub fn next_outage(&self) -> u64 {
        self.outages.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Counts a gap in what is heard.
    pub fn count_gap(&self, cause: FeedGap) {
        self.metrics.feed_gaps.get_or_create(&FeedGapLabel { cause }).inc();
    }
}
