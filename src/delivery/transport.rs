//! The transport of a session that has a socket of its own. The HTTP edge implements the trait for its WebSocket, so
//! that sessions and the flusher do not depend on the edge.

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
    /// Reads what has arrived and gives it to `sink`, until one of these:
    ///
    /// * Nothing more has arrived; the task is woken by more.
    /// * `sink` wants no more for now; the next call gives it the rest.
    /// * `sink` or the client ends the connection: `Ready` with the reason.
    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<CloseReason>;

    /// Writes the frames of `outbox`, as many as the socket takes now. The task is woken when the socket takes more,
    /// and when the outbox [has room](Outbox::has_room) again after it had none. `Ready` if the connection has ended.
    fn poll_write(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<CloseReason>;

    /// Sends a frame `times` times, as the answer to the probes of an upgrade, whose socket has no outbox yet. A client
    /// that does not read gets only a few of them.
    fn poll_send(&mut self, cx: &mut Context<'_>, frame: &Frame, times: usize) -> Poll<CloseReason>;

    /// Returns the time since which the client has taken nothing. `None` if nothing waits to be written.
    fn blocked_since(&self) -> Option<Instant>;

    /// Returns the frames that were taken from the outbox and of which nothing is written.
    fn give_up_unwritten(&mut self) -> Frames;

    /// Ends the connection, and tells the client the reason if its socket still takes it. Never blocks.
    fn close(self: Box<Self>, reason: CloseReason);
}

/// Input that a transport has read.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// The size of one read, whose frames follow.
    Bytes(usize),
    /// A frame that carries no packet: a ping or a pong of RFC 6455, or a part of a message.
    Frame,
    /// A packet.
    Packet(Packet<'a>),
}

/// Takes input, and returns whether another frame may come now. An error ends the connection.
pub type Sink<'a> = dyn FnMut(Inbound<'_>) -> Result<bool, CloseReason> + 'a;

/// A transport on its way to its session, which may live on another thread.
pub trait Attach: Send + Debug {
    /// Becomes a transport on this thread, which reads into `buffer`.
    ///
    /// # Errors
    /// The socket cannot be used here.
    fn attach(self: Box<Self>, buffer: &Rc<ReadBuffer>) -> io::Result<Box<dyn Transport>>;
}
