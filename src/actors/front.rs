//! The interface between the HTTP edge and a session: the parts of a session, the messages to it, and its answers.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::application::Application;
use crate::board::sessions::SessionEntry;
use crate::delivery::outbox::Outbox;
use crate::delivery::transport::Attach;
use crate::event::{CloseReason, SessionId};
use crate::metrics::Metrics;
use crate::protocol::connection::Periods;
use crate::protocol::handshake::RequestError;
use crate::protocol::payload::Body;

/// The parts of a session, apart from its transport.
pub struct SessionParts {
    /// The number of the session within the process.
    pub id: SessionId,
    /// The address of the client.
    pub peer: IpAddr,
    /// The heartbeat and the timeouts.
    pub periods: Arc<Periods>,
    /// The body of a poll's answer grows no larger than this if it has more than one packet.
    pub payload_bytes_max: usize,
    /// The queue towards the client. On a WebSocket it already holds the open packet.
    pub outbox: Arc<Outbox>,
    /// Its card on the board.
    pub entry: SessionEntry,
    /// The layer above.
    pub application: Box<dyn Application>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// A message of the edge to a session.
#[derive(Debug)]
pub enum SessionMessage {
    /// A socket with this session's sid has come: an upgrade begins, or a client of 0.9 changes its transport.
    Attach(Box<dyn Attach>),
    /// A GET waits for packets.
    Poll(WaitingPoll),
    /// A POST has brought packets.
    Post {
        /// The payload.
        body: Body,
        /// Where the edge waits for the answer.
        reply: oneshot::Sender<PostAnswer>,
    },
    /// A POST to an Engine.IO session has failed. The session ends, unless a socket carries it.
    AbortPost(CloseReason),
    /// The session is to end.
    Abort(CloseReason),
}

/// The answer to a poll. A session that is gone drops the sender instead.
pub type PollAnswer = Result<Body, FrontError>;

/// The answer to a POST. A session that is gone drops the sender instead.
pub type PostAnswer = Result<(), FrontError>;

/// A poll that waits for packets.
#[derive(Debug)]
pub struct WaitingPoll {
    /// The answer will be a script, in which binary messages have to be text.
    pub script: bool,
    /// Where the edge waits for the answer. The edge drops its end when the client has gone.
    pub reply: oneshot::Sender<PollAnswer>,
}

/// The reason for which a session refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontError {
    /// One of Engine.IO's errors.
    Error(RequestError),
    /// A request of this kind is already under way: 400 without a body.
    Overlap,
}

/// The entry of a session in the table of sids. Dropping it removes the sid from the table.
pub trait Listing: Debug {}
