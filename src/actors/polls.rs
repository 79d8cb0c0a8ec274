//! The polling transport of a session: the poll that waits for packets, the POST that is being read, and the body of an
//! answer. If one of them ends the session, the session itself decides how.

use std::task::Context;

use tokio::sync::oneshot;

use super::front::{FrontError, PostAnswer, WaitingPoll};
use super::intake::Ration;
use crate::delivery::outbox::Outbox;
use crate::event::CloseReason;
use crate::metrics::Written;
use crate::protocol::Generation;
use crate::protocol::connection::Polled;
use crate::protocol::engine::Packet;
use crate::protocol::frame::Frame;
use crate::protocol::handshake::RequestError;
use crate::protocol::legacy::GREETING;
use crate::protocol::payload::{Body, Form, PayloadReader, PayloadWriter};

/// The requests of one client that wait for its session.
pub(super) struct Polls {
    /// The poll that waits for packets, if there is one. There is none while a socket carries the session.
    waiting: Option<WaitingPoll>,
    /// The POST that is not yet read to its end, even if a socket carries the session by now.
    post: Option<Box<PendingPost>>,
    /// As [`PayloadReader::encodes_once`].
    encodes_once: bool,
    /// The body of an answer grows no larger than this if it has more than one packet.
    body_bytes_max: usize,
}

struct PendingPost {
    payload: PayloadReader,
    reply: oneshot::Sender<PostAnswer>,
    /// The reason to end the session once the payload is read. `None` if no request has failed in the meantime.
    then: Option<CloseReason>,
}

/// The outcome of a write to the poll that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollWrite {
    /// There is no poll, or nothing to answer.
    Nothing,
    /// The poll was answered.
    Answered,
    /// The client has dropped the poll.
    Lost,
}

/// How a POST ends its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostEnd {
    /// At once: the payload is bad, or a request has failed.
    AtOnce(CloseReason),
    /// By one of its packets.
    ByPacket(CloseReason),
}

impl Polls {
    /// Creates the transport without any request.
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self { waiting: None, post: None, encodes_once: false, body_bytes_max }
    }

    /// Treats a poll as `polled` says.
    ///
    /// # Errors
    /// The session ends: its client polls twice at once.
    pub(super) fn take_poll(&mut self, poll: WaitingPoll, polled: Polled, outbox: &Outbox) -> Result<(), CloseReason> {
        match polled {
            Polled::Waits => self.waiting = Some(poll),
            Polled::Replaces => {
                self.answer(outbox, outbox.generation().server_packets().noop);
                self.waiting = Some(poll);
            }
            Polled::Greeted => answer(poll, outbox, GREETING),
            Polled::Overlaps => {
                let _ = poll.reply.send(Err(FrontError::Overlap));
                return Err(CloseReason::Overlap);
            }
            Polled::Refused => drop(poll.reply.send(Err(FrontError::Error(RequestError::BadRequest)))),
        }
        Ok(())
    }

    /// Answers the poll that waits with one packet. Returns `false` if no poll waits.
    pub(super) fn answer(&mut self, outbox: &Outbox, packet: &str) -> bool {
        self.waiting.take().map(|poll| answer(poll, outbox, packet)).is_some()
    }

    /// Returns whether the client has dropped the poll that waited. If it does so later, the task is woken.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> bool {
        self.waiting.take_if(|poll| poll.reply.poll_closed(cx).is_ready()).is_some()
    }

    /// Answers the poll that waits with the packets in `outbox`, and `last` after them.
    pub(super) fn write(&mut self, outbox: &Outbox, last: Option<&str>, written: &Written) -> PollWrite {
        let is_ready = last.is_some() || outbox.has_frames();
        let Some(poll) = self.waiting.take_if(|_| is_ready) else { return PollWrite::Nothing };
        // Packets taken out of the outbox for a client that has gone would be lost.
        if poll.reply.is_closed() {
            return PollWrite::Lost;
        }
        let body = drain(outbox, self.body_bytes_max, form(&poll, outbox), last);
        written.count(body.len());
        if poll.reply.send(Ok(body)).is_ok() { PollWrite::Answered } else { PollWrite::Lost }
    }

    /// Takes the payload of a POST, to be read by [`Self::feed`]. Returns `false`, and refuses the POST, if an earlier
    /// one is not yet read to its end.
    pub(super) fn take_post(&mut self, generation: Generation, body: Body, reply: oneshot::Sender<PostAnswer>) -> bool {
        if self.has_post() {
            let _ = reply.send(Err(FrontError::Overlap));
            return false;
        }
        let payload = PayloadReader::new(generation, body).knowing(self.encodes_once);
        self.post = Some(Box::new(PendingPost { payload, reply, then: None }));
        true
    }

    /// Returns whether a POST is not yet read to its end.
    pub(super) fn has_post(&self) -> bool {
        self.post.is_some()
    }

    /// Notes that a POST has failed. The packets of an earlier POST still count: the session ends after them.
    ///
    /// # Errors
    /// There is no earlier POST: the session ends now.
    pub(super) fn fail_post(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        let post = self.post.as_mut().ok_or(reason)?;
        post.then = Some(reason);
        Ok(())
    }

    /// Reads the POST further: gives its packets to `take`, which returns whether it has room for another. Without
    /// room, the rest of the POST waits until polls have made some, and the client waits for the answer to its POST.
    ///
    /// # Errors
    /// The session ends. Packets before a bad one count.
    pub(super) fn feed(
        &mut self,
        ration: &mut Ration,
        mut has_room: bool,
        mut take: impl FnMut(Packet<'_>) -> Result<bool, CloseReason>,
    ) -> Result<(), PostEnd> {
        let Some(mut post) = self.post.take() else { return Ok(()) };
        let mut fed = Ok(());
        while fed.is_ok() && !post.payload.is_finished() {
            if let (false, Some(reason)) = (has_room, post.then) {
                return Err(PostEnd::AtOnce(reason));
            }
            if !has_room || ration.is_used_up() {
                self.post = Some(post);
                return Ok(());
            }
            let Some(packet) = post.payload.read() else { break };
            ration.packets += 1;
            fed = match packet {
                Ok(packet) => take(packet).map(|room| has_room = room).map_err(PostEnd::ByPacket),
                Err(error) => Err(PostEnd::AtOnce(error.into())),
            };
        }
        self.encodes_once = post.payload.encodes_once();
        let _ = post.reply.send(Ok(()));
        fed?;
        post.then.map_or(Ok(()), |reason| Err(PostEnd::AtOnce(reason)))
    }
}

/// Answers a poll of the client behind `outbox` with one packet.
fn answer(poll: WaitingPoll, outbox: &Outbox, packet: &str) {
    let mut writer = PayloadWriter::new(outbox.generation(), form(&poll, outbox));
    writer.push(Frame::text(packet));
    let _ = poll.reply.send(Ok(writer.finish()));
}

/// Returns the form in which the client behind `outbox` takes the answer to a poll.
fn form(poll: &WaitingPoll, outbox: &Outbox) -> Form {
    if poll.script { Form::Text } else { outbox.form() }
}

/// Returns the body of an answer: as many packets of `outbox` as fit, then `last`, or a noop if there is none of these.
fn drain(outbox: &Outbox, bytes_max: usize, form: Form, last: Option<&str>) -> Body {
    let mut writer = PayloadWriter::new(outbox.generation(), form);
    let mut bytes = 0;
    let messages = outbox.drain_while(|frame| {
        let fits = writer.fits(frame, bytes_max);
        if fits {
            bytes += frame.len();
            writer.push(frame.clone());
        }
        fits
    });
    if outbox.written(messages, bytes) {
        outbox.wake();
    }
    if let Some(last) = last {
        writer.push(Frame::text(last));
    }
    if writer.is_empty() {
        writer.push(Frame::text(outbox.generation().server_packets().noop));
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
