//! The time of a delivery: of one message at a time in each outbox, because all of them would cost as much as a part of
//! their delivery.

use std::time::Instant;

use super::{Outbox, Queue};

/// A message whose delivery is measured.
#[derive(Debug)]
pub(super) struct Measured {
    since: Instant,
    /// The deliveries that it stands for: its own, and those that were not measured because of it.
    count: u64,
    /// The messages up to this one that are not written yet.
    left: usize,
}

impl Outbox {
    /// Measures the time from `since` until the message that was queued last is written. While an earlier message is
    /// measured, that one stands for this one too, or a reader with a backlog would hardly count. A reader that is
    /// behind is not measured: its news may be folded.
    pub fn measure_delivery(&self, since: Instant) {
        let mut queue = self.queue.lock();
        if queue.closed.is_some() || queue.behind.is_some() {
            return;
        }
        let left = queue.messages;
        match &mut queue.measured {
            Some(earlier) => earlier.count += 1,
            // Another thread has written it already.
            None if left == 0 => self.delivered(since, 1),
            none => *none = Some(Measured { since, count: 1, left }),
        }
    }

    /// Notes that messages from the front are written.
    pub(super) fn measure_written(&self, queue: &mut Queue, messages: usize) {
        let Some(measured) = &mut queue.measured else { return };
        measured.left = measured.left.saturating_sub(messages);
        if measured.left == 0 {
            self.delivered(measured.since, measured.count);
            queue.measured = None;
        }
    }

    fn delivered(&self, since: Instant, count: u64) {
        self.metrics.delivery_seconds.observe_times(Instant::now().saturating_duration_since(since), count);
    }
}
