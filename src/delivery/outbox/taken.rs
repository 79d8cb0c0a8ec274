//! What the transport takes out of an outbox. Taken messages count until they are written. Nothing is taken while the
//! outbox is held.

use super::{Frames, Outbox, Queue};
use crate::protocol::frame::Frame;

/// A queue with room for this many frames, or fewer, does not shrink.
pub(super) const KEPT_FRAMES: usize = 64;

impl Outbox {
    /// Moves all queued frames into `taken`, which has to be empty. They count until [`Self::written`] is called for
    /// them.
    pub fn take(&self, taken: &mut Frames) {
        debug_assert!(taken.is_empty(), "frames would overtake one another");
        self.queue.lock().take(taken);
    }

    /// Gives frames from the front to `take` until it refuses one. Returns how many it took; they count until
    /// [`Self::written`] is called for them.
    pub fn drain_while(&self, mut take: impl FnMut(&Frame) -> bool) -> usize {
        let mut queue = self.queue.lock();
        if queue.is_held {
            return 0;
        }
        let taken = queue.frames.iter().take_while(|frame| take(frame)).count();
        queue.note_taken(taken);
        queue.frames.drain(..taken);
        if queue.frames.is_empty() {
            queue.frames = Frames::new();
        } else if queue.frames.capacity() > KEPT_FRAMES.max(4 * queue.frames.len()) {
            queue.frames.shrink_to_fit();
        }
        taken
    }

    /// Notes that `messages` taken messages, of `bytes` bytes in all, are written. Returns whether the session's task
    /// has to run: the outbox [has room](Self::has_room), and it had none before or its reader is behind.
    pub fn written(&self, messages: usize, bytes: usize) -> bool {
        self.settle(&mut self.queue.lock(), messages, bytes)
    }

    /// [`Self::written`] and then [`Self::take`].
    pub fn written_and_take(&self, messages: usize, bytes: usize, taken: &mut Frames) -> bool {
        debug_assert!(taken.is_empty(), "frames would overtake one another");
        let mut queue = self.queue.lock();
        let relieved = self.settle(&mut queue, messages, bytes);
        queue.take(taken);
        relieved
    }

    fn settle(&self, queue: &mut Queue, messages: usize, bytes: usize) -> bool {
        if queue.closed.is_some() || messages == 0 {
            return false;
        }
        // If the reader is behind, its session may now queue folded news.
        let waits = queue.slow || queue.behind.is_some();
        self.account(queue, -(messages as i64), -(bytes as i64));
        self.measure_written(queue, messages);
        waits && !queue.slow
    }

    /// Puts `unwritten` back to the front of the queue, in their order. They are the taken frames of which an ended
    /// transport has written nothing. Other frames that it had taken do not count any more.
    pub fn put_back(&self, mut unwritten: Frames) {
        let mut queue = self.queue.lock();
        if queue.closed.is_some() {
            return;
        }
        if let Some(history) = &mut queue.history {
            history.took_back(unwritten.iter());
        }
        unwritten.append(&mut queue.frames);
        queue.frames = unwritten;
        let queued: usize = queue.frames.iter().map(Frame::len).sum();
        let (messages, bytes) = (queue.messages - queue.frames.len(), queue.bytes - queued);
        if messages > 0 {
            // The message may be among those that are lost.
            queue.measured = None;
        }
        let relieved = self.settle(&mut queue, messages, bytes);
        drop(queue);
        if relieved {
            self.waker.wake();
        }
    }
}

impl Queue {
    fn take(&mut self, taken: &mut Frames) {
        if self.is_held {
            return;
        }
        self.note_taken(self.frames.len());
        *taken = std::mem::take(&mut self.frames);
    }

    /// Notes that frames from the front go to the transport.
    fn note_taken(&mut self, count: usize) {
        if let Some(history) = &mut self.history {
            history.wrote(self.frames[..count].iter());
        }
    }
}
