//! The outbox of a client that comes back after its connection was lost: its events have offsets, and those that may
//! not have arrived are kept.

use std::sync::atomic::Ordering;

use super::{Frames, Outbox};
use crate::delivery::history::{Bounds, History};
use crate::delivery::offset::Offset;
use crate::protocol::frame::{Broadcast, Frame};

impl Outbox {
    /// Sets whether the client bears a further argument with each event. It does unless this is called.
    #[must_use]
    pub fn taking_offsets(mut self, takes_offsets: bool) -> Self {
        self.takes_offsets = takes_offsets;
        self
    }

    /// Returns whether the client bears a further argument with each event.
    pub fn takes_offsets(&self) -> bool {
        self.takes_offsets
    }

    /// From now on the client gets offsets with its events, and those that may not have arrived are kept within
    /// `bounds`.
    pub fn keep_history(&self, bounds: Bounds) {
        self.queue.lock().history = Some(Box::new(History::new(bounds, Offset::draw())));
        self.numbered.store(true, Ordering::Relaxed);
    }

    /// Ends what [`Self::keep_history`] began: the client has left the namespace.
    pub fn end_history(&self) {
        self.numbered.store(false, Ordering::Relaxed);
        self.queue.lock().history = None;
    }

    /// Returns whether the client gets offsets with its events.
    pub fn is_numbered(&self) -> bool {
        self.numbered.load(Ordering::Relaxed)
    }

    /// Returns an event in the form that the client takes.
    pub fn frame_of(&self, broadcast: &mut Broadcast) -> Frame {
        if self.is_numbered() {
            broadcast.numbered_frame(|| Offset::draw().json()).clone()
        } else {
            broadcast.frame(self.generation).clone()
        }
    }

    /// Takes note that the client has lost its connection, and may come back. Until [`Self::resume`] the session is
    /// neither slow nor behind in the metrics.
    pub fn lose_reader(&self) {
        let mut queue = self.queue.lock();
        queue.is_away = true;
        self.show(&mut queue);
    }

    /// Queues a heartbeat, as [`Self::push`].
    pub fn push_beat(&self, frame: Frame) -> bool {
        let mut locked = self.queue.lock();
        let queue = &mut *locked;
        if let Some(history) = &mut queue.history {
            history.beat(queue.frames.iter());
        }
        self.extend(locked, frame.len(), 1, std::iter::once(frame))
    }

    /// Takes note that the client has answered the last heartbeat.
    pub fn beat_answered(&self) {
        if let Some(history) = &mut self.queue.lock().history {
            history.answered();
        }
    }

    /// Goes on for a client that has come back and has heard the event with the offset `heard`, or no event: what it
    /// has missed is queued, and everything else that waited is dropped, because it was for the former connection.
    /// Returns false if not all that it has missed is known. Nothing has happened then.
    pub fn resume(&self, heard: Option<&str>) -> bool {
        let heard = match heard.map(Offset::parse) {
            Some(None) => return false,
            heard => heard.flatten(),
        };
        let mut locked = self.queue.lock();
        let queue = &mut *locked;
        let Some(history) = queue.history.as_mut().filter(|_| queue.closed.is_none()) else { return false };
        let (frames, is_known) = match history.resume(heard, std::mem::take(&mut queue.frames)) {
            Ok(missed) => (missed, true),
            Err(queued) => (queued, false),
        };
        queue.frames = frames;
        if is_known {
            queue.is_away = false;
            let (messages, bytes) = (queue.frames.len(), queue.frames.iter().map(Frame::len).sum::<usize>());
            queue.measured = None;
            if let Some(behind) = &mut queue.behind {
                behind.begin_again();
            }
            let (messages, bytes) = (messages as i64 - queue.messages as i64, bytes as i64 - queue.bytes as i64);
            self.account(queue, messages, bytes);
        }
        is_known
    }

    /// Takes over what waits in another outbox, which goes before what waits here. `unwritten` are the frames that the
    /// transport has taken of the other one, and of which nothing is written. Messages that are being written count
    /// here from now on.
    pub fn inherit(&self, other: &Self, mut unwritten: Frames) {
        let (messages, bytes) = {
            let mut queue = other.queue.lock();
            unwritten.append(&mut queue.frames);
            let counts = (queue.messages as i64, queue.bytes as i64);
            other.account(&mut queue, -counts.0, -counts.1);
            counts
        };
        let mut queue = self.queue.lock();
        unwritten.append(&mut queue.frames);
        queue.frames = unwritten;
        self.account(&mut queue, messages, bytes);
    }
}
