//! What the HTTP edge and a session say to one another: requests that wait for a session, and its answers.

use std::fmt::Debug;

use tokio::sync::oneshot;

use crate::delivery::outbox::Outbox;
use crate::protocol::frame::Frame;
use crate::protocol::handshake::RequestError;
use crate::protocol::payload::{Body, Form, PayloadWriter};

/// What a session answers a poll. Dropped without an answer, the session is gone.
pub type PollAnswer = Result<Body, FrontError>;

/// What a session answers a POST. Dropped without an answer, the session is gone.
pub type PostAnswer = Result<(), FrontError>;

/// A poll that waits for packets.
#[derive(Debug)]
pub struct WaitingPoll {
    /// The answer is to be a script, in which binary messages have to be text.
    pub script: bool,
    /// Where the edge waits for the answer. Dropped there, the client has gone.
    pub reply: oneshot::Sender<PollAnswer>,
}

impl WaitingPoll {
    /// In what form it is answered to the client behind `outbox`.
    pub fn form(&self, outbox: &Outbox) -> Form {
        if self.script { Form::Text } else { outbox.form() }
    }

    /// Answers the client behind `outbox` by one packet.
    pub fn answer(self, outbox: &Outbox, packet: &str) {
        let mut writer = PayloadWriter::new(outbox.generation(), self.form(outbox));
        writer.push(Frame::text(packet));
        let _ = self.reply.send(Ok(writer.finish()));
    }
}

/// The body of a poll's answer: what waits in `outbox`, as far as it fits, then `last`. A lone noop where that is
/// nothing.
pub(super) fn drain(outbox: &Outbox, bytes_max: usize, form: Form, last: Option<&str>) -> Body {
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
    outbox.written(messages, bytes);
    if let Some(last) = last {
        writer.push(Frame::text(last));
    }
    if writer.is_empty() {
        writer.push(Frame::text(outbox.generation().server_packets().noop));
    }
    writer.finish()
}

/// Why a session does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontError {
    /// One of Engine.IO's errors.
    Error(RequestError),
    /// A request of this kind is already under way: 400 without a body.
    Overlap,
}

/// The entry of a session in the table of sids. Dropped, the sid is unknown.
pub trait Listing: Debug {}
