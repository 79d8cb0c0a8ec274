//! What a session needs of a socket, so that it need not know the HTTP edge, and what the edge may hand to a session.

use std::fmt::Debug;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use super::buffer::ReadBuffer;
use crate::event::CloseReason;
use crate::outbox::{Frames, Outbox};
use crate::protocol::engine::Packet;
use crate::protocol::frame::Frame;
use crate::protocol::handshake::RequestError;
use crate::protocol::payload::{Body, Form, PayloadWriter};

/// A two-way transport that has a socket of its own.
pub trait Transport: Debug {
    /// Reads what has come and gives it to `sink`, until there is no more (the task is then woken by more), `sink`
    /// wants no more for now (what is left is given by the next call), or `sink` or the peer ends it.
    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<CloseReason>;

    /// Writes what is in `outbox`, as much as the socket takes now; the task is woken when it takes more, and when the
    /// outbox has room again that had none.
    fn poll_write(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<CloseReason>;

    /// Sends a frame so many times past any outbox, as the answer to probes: an upgrade's socket has none yet. A peer
    /// that does not read gets no more than a few.
    fn poll_send(&mut self, cx: &mut Context<'_>, frame: &Frame, times: usize) -> Poll<CloseReason>;

    /// Since when the peer has taken nothing of what is to be written. None where nothing is.
    fn blocked_since(&self) -> Option<Instant>;

    /// Gives up the frames of an outbox of which nothing is written yet.
    fn give_up_unwritten(&mut self) -> Frames;

    /// Ends the connection, saying why where the peer still listens. Never blocks.
    fn close(self: Box<Self>, reason: CloseReason);
}

/// What a transport has read.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// So many bytes, in which there may be frames.
    Bytes(usize),
    /// A frame that carries no packet: a ping or a pong of RFC 6455, or a part of a message.
    Frame,
    /// A packet.
    Packet(Packet<'a>),
}

/// Takes what a transport has read, and says whether another frame may come now; an error ends the reading with it.
pub type Sink<'a> = dyn FnMut(Arrival<'_>) -> Result<bool, CloseReason> + 'a;

/// A transport on its way to its session, which may live on another thread.
pub trait Attach: Send + Debug {
    /// Becomes a transport on this thread, which reads into `buffer`.
    ///
    /// # Errors
    /// The socket cannot be used here.
    fn attach(self: Box<Self>, buffer: &Rc<ReadBuffer>) -> io::Result<Box<dyn Transport>>;
}

/// What a session answers a poll. Dropped without an answer, the session is gone.
pub type PollAnswer = Result<Body, EdgeRefusal>;

/// What a session answers a POST. Dropped without an answer, the session is gone.
pub type PostAnswer = Result<(), EdgeRefusal>;

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
        writer.push(Frame::text(outbox.generation().words().noop));
    }
    writer.finish()
}

/// Why a session does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeRefusal {
    /// One of Engine.IO's errors.
    Error(RequestError),
    /// A request of this kind is already under way: 400 without a body.
    Overlap,
}

/// The entry of a session in the table of sids. Dropped, the sid is unknown.
pub trait Listing: Debug {}
