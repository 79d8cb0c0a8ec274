//! The outbox of a client that comes back to another node: what it has missed goes from the outbox there to the one
//! here.

use std::collections::HashMap;

use super::news::update;
use super::{Frames, Outbox};
use crate::delivery::history::offset_of;
use crate::delivery::offset::Offset;
use crate::event::ConversationId;
use crate::protocol::frame::{Frame, Payload};

/// What a client has missed, to be handed over to another node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unheard {
    /// The packets of the events, in their order. Folded updates come last.
    pub events: Vec<Box<str>>,
    /// The conversations of which other news is lost.
    pub missed: Vec<ConversationId>,
    /// Whether news of any conversation may be lost.
    pub has_outage: bool,
    /// The conversations whose users have come and gone.
    pub recounts: Vec<ConversationId>,
}

impl Outbox {
    /// Takes out what a client has missed that has heard the event with the offset `heard`, or no event. `None` if not
    /// all of it is known.
    pub fn take_unheard(&self, heard: Option<&str>) -> Option<Unheard> {
        if !self.resume(heard) {
            return None;
        }
        let mut queue = self.queue.lock();
        let mut frames = std::mem::take(&mut queue.frames);
        let (messages, bytes) = (queue.messages as i64, queue.bytes as i64);
        self.account(&mut queue, -messages, -bytes);
        let mut unheard = Unheard::default();
        if let Some(behind) = queue.behind.take() {
            self.metrics.behind_sessions.dec();
            let mut behind = behind;
            let folds = behind.folds();
            while let Some(missed) = folds.next_update() {
                frames.push(self.frame_of(&mut update(&missed)));
            }
            if let Some(losses) = folds.take_losses() {
                unheard.has_outage = losses.outage.is_some();
                unheard.missed = losses.conversations.into_iter().collect();
            }
            unheard.recounts = folds.marked().cloned().collect();
        }
        unheard.events = frames.iter().filter_map(text).map(Into::into).collect();
        Some(unheard)
    }

    /// Has the transport take nothing until [`Self::go_on`] or [`Self::give_up`] is called: the client has come back,
    /// and what it has missed is still on another node.
    pub fn hold(&self) {
        self.queue.lock().is_held = true;
    }

    /// Returns whether the transport may take something.
    pub fn has_frames(&self) -> bool {
        let queue = self.queue.lock();
        queue.messages > 0 && !queue.is_held
    }

    /// Goes on for the client that has heard the event with the offset `heard`. The `missed` packets go before the
    /// frames in the queue, from which those are left out that the client gets by `missed`. Returns false if the
    /// packets are no events, or the outbox is closed. Nothing has happened then.
    pub fn go_on(&self, heard: Option<&str>, missed: &[Box<str>]) -> bool {
        let heard = match heard.map(Offset::parse) {
            Some(None) => return false,
            heard => heard.flatten(),
        };
        let mut doubles: HashMap<&str, usize> = HashMap::new();
        for packet in missed {
            let Some(stem) = Offset::stem(packet) else { return false };
            *doubles.entry(stem).or_default() += 1;
        }
        let mut locked = self.queue.lock();
        let queue = &mut *locked;
        let Some(history) = queue.history.as_mut().filter(|_| queue.closed.is_none()) else { return false };
        history.go_on_after(heard);
        let mut frames: Frames = missed.iter().map(|packet| Frame::text(packet)).collect();
        let before = size(&queue.frames);
        for frame in std::mem::take(&mut queue.frames) {
            let left = text(&frame).and_then(Offset::stem).and_then(|stem| doubles.get_mut(stem));
            match left {
                Some(left) if *left > 0 => *left -= 1,
                _ => frames.push(frame),
            }
        }
        let after = size(&frames);
        (queue.frames, queue.measured, queue.is_held) = (frames, None, false);
        self.account(queue, after.0 - before.0, after.1 - before.1);
        let waits = !queue.frames.is_empty();
        drop(locked);
        if waits {
            self.tell();
        }
        true
    }

    /// Ends what [`Self::hold`] and [`Self::keep_history`] began, because the client does not go on: the events in the
    /// queue are dropped.
    pub fn give_up(&self) {
        self.end_history();
        let mut queue = self.queue.lock();
        let before = size(&queue.frames);
        let kept: Frames = queue.frames.drain(..).filter(|frame| offset_of(frame).is_none()).collect();
        let after = size(&kept);
        (queue.frames, queue.measured, queue.is_held) = (kept, None, false);
        if queue.behind.take().is_some() {
            self.metrics.behind_sessions.dec();
        }
        self.account(&mut queue, after.0 - before.0, after.1 - before.1);
        let waits = !queue.frames.is_empty();
        drop(queue);
        if waits {
            self.tell();
        }
    }
}

/// Returns the number of frames, and their bytes.
fn size(frames: &Frames) -> (i64, i64) {
    (frames.len() as i64, frames.iter().map(Frame::len).sum::<usize>() as i64)
}

fn text(frame: &Frame) -> Option<&str> {
    match frame.payload() {
        Payload::Text(text) => Some(text),
        Payload::Binary(_) => None,
    }
}
