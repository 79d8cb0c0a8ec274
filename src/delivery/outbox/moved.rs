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
    /// Whether news of any conversation may be lost, and the end of that was not told.
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
        // The client is elsewhere.
        queue.is_away = true;
        let mut frames = std::mem::take(&mut queue.frames);
        let (messages, bytes) = (queue.messages as i64, queue.bytes as i64);
        self.account(&mut queue, -messages, -bytes);
        let mut unheard = Unheard { has_outage: queue.is_in_outage(), ..Unheard::default() };
        if let Some(mut behind) = queue.behind.take() {
            let folds = behind.folds();
            while let Some(missed) = folds.next_update() {
                frames.push(self.frame_of(&mut update(&missed)));
            }
            if let Some(losses) = folds.take_losses() {
                unheard.has_outage |= losses.outage.is_some();
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
        let Some(there) = missed.iter().map(|packet| Offset::stem(packet)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let mut locked = self.queue.lock();
        let queue = &mut *locked;
        let Some(history) = queue.history.as_mut().filter(|_| queue.closed.is_none()) else { return false };
        history.go_on_after(heard);
        let mut frames: Frames = missed.iter().map(|packet| Frame::text(packet)).collect();
        let before = size(&queue.frames);
        let queued = std::mem::take(&mut queue.frames);
        let stem = |frame| text(frame).and_then(Offset::stem);
        let is_double = doubles(&there, &queued.iter().map(stem).collect::<Vec<_>>());
        let new = queued.into_iter().zip(is_double).filter_map(|(frame, is_double)| (!is_double).then_some(frame));
        frames.extend(new);
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
        queue.behind = None;
        self.account(&mut queue, after.0 - before.0, after.1 - before.1);
        let waits = !queue.frames.is_empty();
        drop(queue);
        if waits {
            self.tell();
        }
    }
}

/// Returns for each event that came here whether it came to the other node too. Both have the events about one subject
/// in the same order, and those that came to both are the last ones there and the first ones here. Events are named by
/// their stems; a frame that is no event has none.
fn doubles(there: &[&str], here: &[Option<&str>]) -> Vec<bool> {
    let mut subjects: HashMap<&str, (Vec<&str>, Vec<usize>)> = HashMap::new();
    for stem in there {
        subjects.entry(subject(stem)).or_default().0.push(stem);
    }
    for (at, stem) in here.iter().enumerate() {
        if let Some((_, places)) = stem.and_then(|stem| subjects.get_mut(subject(stem))) {
            places.push(at);
        }
    }
    let mut is_double = vec![false; here.len()];
    for (stems, places) in subjects.values() {
        let is_shared = |count: &usize| {
            let last = stems[stems.len() - count..].iter();
            last.zip(places).all(|(stem, at)| here[*at] == Some(stem))
        };
        let shared = (1..=stems.len().min(places.len())).rev().find(is_shared).unwrap_or(0);
        places[..shared].iter().for_each(|at| is_double[*at] = true);
    }
    is_double
}

/// Returns the subject of an event: the conversation and the user of those that come and go, all of any other event.
fn subject(stem: &str) -> &str {
    let mut parts = [r#"["joined","#, r#"["left","#].into_iter().filter_map(|name| stem.split_once(name));
    parts.next().map_or(stem, |(_, subject)| subject)
}

/// Returns the number of frames, and their bytes.
fn size(frames: &Frames) -> (i64, i64) {
    (frames.len() as i64, frames.iter().map(Frame::len).sum::<usize>() as i64)
}

/// Returns the text of a frame. `None` if it is binary.
pub(super) fn text(frame: &Frame) -> Option<&str> {
    match frame.payload() {
        Payload::Text(text) => Some(text),
        Payload::Binary(_) => None,
    }
}
