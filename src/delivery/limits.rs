//! The bounds of all outboxes of a server, and the fate of news that does not fit. An operator may turn them while the
//! server runs.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::config::{self, OutboxPolicy};
use crate::limits::live::LiveLimit;

/// The bounds of each outbox. Messages count from their push until they are written.
#[derive(Debug, Default)]
pub struct OutboxLimits {
    /// The number of messages.
    pub messages_max: LiveLimit,
    /// The number of bytes, counted as WebSocket frames. A larger message is taken if nothing else waits.
    pub bytes_max: LiveLimit,
    policy: AtomicU8,
    grace_ms: LiveLimit,
}

impl OutboxLimits {
    /// Returns the limits of these settings.
    pub fn new(settings: &config::Outbox) -> Self {
        let limits = Self::default();
        limits.set(settings);
        limits
    }

    /// Turns the limits to those of these settings. An outbox that holds more than that drops nothing.
    pub fn set(&self, settings: &config::Outbox) {
        self.messages_max.set(settings.messages_max);
        self.bytes_max.set(settings.bytes_max);
        self.policy.store(settings.policy as u8, Ordering::Relaxed);
        self.grace_ms.set(usize::try_from(settings.grace_ms).unwrap_or(usize::MAX));
    }

    /// Returns the fate of news that does not fit.
    pub fn policy(&self) -> OutboxPolicy {
        let policy = self.policy.load(Ordering::Relaxed);
        OutboxPolicy::ALL.into_iter().find(|known| *known as u8 == policy).unwrap_or_default()
    }

    /// Returns how long a reader may be behind before it is closed.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms.get() as u64)
    }
}
