//! The transport of a session that has a socket of its own. The trait stands here, and the WebSocket that implements it
//! in the HTTP edge, so that sessions and the flusher need not know the edge.

use std::fmt::Debug;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::buffer::ReadBuffer;
use super::outbox::{Frames, Outbox};
use crate::event::CloseReason;
use crate::protocol::engine::Packet;
use crate::protocol::frame::Frame;

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
pub enum Inbound<'a> {
    /// So many bytes, in which there may be frames.
    Bytes(usize),
    /// A frame that carries no packet: a ping or a pong of RFC 6455, or a part of a message.
    Frame,
    /// A packet.
    Packet(Packet<'a>),
}

/// Takes what a transport has read, and says whether another frame may come now; an error ends the reading with it.
pub type Sink<'a> = dyn FnMut(Inbound<'_>) -> Result<bool, CloseReason> + 'a;

/// A transport on its way to its session, which may live on another thread.
pub trait Attach: Send + Debug {
    /// Becomes a transport on this thread, which reads into `buffer`.
    ///
    /// # Errors
    /// The socket cannot be used here.
    fn attach(self: Box<Self>, buffer: &Rc<ReadBuffer>) -> io::Result<Box<dyn Transport>>;
}
