//! The events that were written to a client and may not have arrived. They are sent again if the client comes back
//! after its connection was lost. Pure.
//!
//! A client says which event it heard last. All later ones were missed: those in the history, and those that were never
//! written. The answer to a heartbeat shows that everything before it has arrived, and so does not have to be kept.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::offset::Offset;
use crate::protocol::frame::{Frame, Payload};

/// Frames as an outbox queues them.
type Frames = SmallVec<[Frame; 1]>;

/// A history with room for this many events does not shrink.
const ROOM_MIN: usize = 8;

/// The bounds of a history. The oldest events are given up first; a client that has not got them cannot be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub events_max: usize,
    /// The bytes of these events.
    pub bytes_max: usize,
}

/// The last events that were written to one client.
#[derive(Debug)]
pub struct History {
    bounds: Bounds,
    /// The offset drawn when the history began: all its events have later ones.
    began: Offset,
    events: VecDeque<Frame>,
    bytes: usize,
    /// The event before the first of `events`. `None` if there was none.
    before: Option<Offset>,
    /// The events that have arrived if the client answers the last heartbeat.
    answerable: usize,
    /// Whether an event was left out, so that the client cannot be told all that it has missed.
    has_gap: bool,
}

impl History {
    /// Begins a history. `began` has to be drawn now.
    pub fn new(bounds: Bounds, began: Offset) -> Self {
        Self { bounds, began, events: VecDeque::new(), bytes: 0, before: None, answerable: 0, has_gap: false }
    }

    /// The history goes on from that of another node, where the client has heard the event with the offset `heard`.
    /// Nothing was written since it began.
    pub fn go_on_after(&mut self, heard: Option<Offset>) {
        self.before = heard;
    }

    /// Takes note of frames that are written now. Those that are no events are ignored.
    pub fn wrote<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) {
        for frame in frames.filter(|frame| offset_of(frame).is_some()) {
            self.bytes += frame.len();
            // The oldest goes first, so that the room for the events is not doubled for one that goes again.
            if self.events.len() >= self.bounds.events_max {
                self.give_up_first();
            }
            self.events.push_back(frame.clone());
            while self.events.len() > self.bounds.events_max || self.bytes > self.bounds.bytes_max {
                self.give_up_first();
            }
        }
    }

    /// Takes note that nothing was written of these last frames after all.
    pub fn took_back<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) {
        for _ in frames.filter(|frame| offset_of(frame).is_some()) {
            if let Some(event) = self.events.pop_back() {
                self.bytes -= event.len();
            }
        }
        self.answerable = self.answerable.min(self.events.len());
    }

    /// Takes note of a heartbeat that follows all written events and the `queued` frames.
    pub fn beat<'a>(&mut self, queued: impl Iterator<Item = &'a Frame>) {
        self.answerable = self.events.len() + queued.filter(|frame| offset_of(frame).is_some()).count();
    }

    /// Takes note that the client has answered the last heartbeat: what it followed has arrived.
    pub fn answered(&mut self) {
        for _ in 0..self.answerable.min(self.events.len()) {
            self.give_up_first();
        }
        self.answerable = 0;
        if self.events.capacity() > ROOM_MIN.max(4 * self.events.len()) {
            self.events.shrink_to(2 * self.events.len());
        }
    }

    /// Takes note that an event was left out.
    pub fn left_out(&mut self) {
        self.has_gap = true;
    }

    /// Returns the events after the one with this offset: those that were written, then those among the `queued`
    /// frames. `None` stands for a client that has heard no event. The history then begins anew after that event.
    ///
    /// # Errors
    /// Not all of these events are known. The queued frames are returned.
    pub fn resume(&mut self, heard: Option<Offset>, queued: Frames) -> Result<Frames, Frames> {
        let is_event = |frame: &&Frame| offset_of(frame).is_some();
        let position = |offset| {
            let mut offsets = self.events.iter().chain(&queued).filter(is_event).filter_map(offset_of);
            offsets.position(|other| other == offset)
        };
        let skipped = match (heard, self.before) {
            _ if self.has_gap => None,
            (None, None) => Some(0),
            (None, Some(_)) => None,
            (Some(heard), before) => match position(heard) {
                Some(at) => Some(at + 1),
                None if before == Some(heard) => Some(0),
                // A client keeps the offset of an earlier session until it hears an event.
                None if before.is_none() && heard < self.began => Some(0),
                None => None,
            },
        };
        let Some(skipped) = skipped else { return Err(queued) };
        let missed = self.events.drain(..).chain(queued).filter(|frame| offset_of(frame).is_some()).skip(skipped);
        let missed: Frames = missed.collect();
        (self.events, self.bytes, self.answerable) = (VecDeque::new(), 0, 0);
        // A stale offset stands for no event.
        self.before = heard.filter(|heard| *heard >= self.began);
        Ok(missed)
    }

    /// Returns the number of events.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    fn give_up_first(&mut self) {
        let Some(event) = self.events.pop_front() else { return };
        self.bytes -= event.len();
        self.before = offset_of(&event);
        self.answerable = self.answerable.saturating_sub(1);
    }
}

/// Returns the offset of an event. `None` for other frames.
pub(super) fn offset_of(frame: &Frame) -> Option<Offset> {
    match frame.payload() {
        Payload::Text(text) => Offset::of_packet(text.as_bytes()),
        Payload::Binary(_) => None,
    }
}

#[cfg(test)]
mod tests;
