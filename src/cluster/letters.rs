//! The letters by which a session moves from one node to another, because its client has come back there: as values,
//! and the two sides of the node's own channel. `wire` writes and reads them.
//!
//! | letter | from and to |
//! | --- | --- |
//! | [`Letter::Claim`] | the node to which the client has come asks the node of the session; that one may send it on |
//! | [`Letter::Offer`] | the node of the session says what it has |
//! | [`Letter::Take`] | the other node has entered the conversations, and wants the events |
//! | [`Letter::Handover`] | the node of the session gives the events, and its session ends |
//! | [`Letter::Refusal`] | instead of an offer or a handover |

use std::fmt;

use super::message::NodeId;
use crate::event::{ConversationId, Username};

/// Most nodes that a claim may pass.
pub const HOPS_MAX: u8 = 8;

/// One return of a client: the node to which it has come, and a number that this node has drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    /// The node that is answered.
    pub node: NodeId,
    /// The number.
    pub number: u64,
}

/// A letter from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// A client has come back, and names this pid.
    Claim {
        /// The return that it is about.
        of: Return,
        /// The pid.
        pid: Box<str>,
        /// The offset of the last event that the client has heard. `None` if it has heard none.
        heard: Option<Box<str>>,
        /// The nodes that the claim has passed.
        hops: u8,
    },
    /// The session is here.
    Offer {
        /// The return that it is about.
        of: Return,
        /// The node of the session.
        from: NodeId,
        /// What the session has.
        offer: Offer,
    },
    /// The session joins on the other node, which wants its events.
    Take {
        /// The return that it is about.
        of: Return,
        /// The pid.
        pid: Box<str>,
    },
    /// The session has moved.
    Handover {
        /// The return that it is about.
        of: Return,
        /// The events that the client has missed.
        handover: Handover,
    },
    /// The session does not move.
    Refusal {
        /// The return that it is about.
        of: Return,
        /// The reason.
        why: Refused,
    },
}

/// What a session has on the node that held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The sid of the client in the namespace.
    pub sid: Box<str>,
    /// Its user.
    pub username: Username,
    /// The conversations to which it listens, in the order in which the client knows them.
    pub conversations: Vec<ConversationId>,
}

/// What a client has missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// The packets of the events, each with an offset. `None` if they are too long for a letter.
    pub events: Option<Vec<Box<str>>>,
    /// The conversations of which other news is lost.
    pub missed: Vec<ConversationId>,
    /// Whether news of any conversation may be lost, and no end of that was told.
    pub has_outage: bool,
    /// The conversations whose users have come and gone.
    pub recounts: Vec<ConversationId>,
}

/// The reason why a session does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is over, or was never here.
    UnknownPid,
    /// Not all that its client has missed is known.
    UnknownOffset,
}

/// The reason why a letter was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It is longer than a message may be.
    TooLong,
    /// The bus is away, or has too much to do.
    Away,
}

/// The bus, as the sessions of a node see it. No call waits.
pub trait Post: fmt::Debug + Send + Sync {
    /// Returns this node.
    fn node(&self) -> NodeId;

    /// Returns the other living node with this tag.
    fn holder(&self, tag: &str) -> Option<NodeId>;

    /// Returns whether this is another node, and lives.
    fn lives(&self, node: NodeId) -> bool;

    /// Returns whether a letter comes after all that this node has published, and before all that it publishes later.
    /// That is so with one Redis.
    fn is_ordered(&self) -> bool;

    /// Returns whether conversations of this node have yet to be told of news of the bus, such as the end of an outage.
    fn owes_news(&self) -> bool;

    /// Sends a letter. It may be lost on the way.
    ///
    /// # Errors
    /// It cannot be sent.
    fn send(&self, to: NodeId, letter: &Letter) -> Result<(), Unsent>;
}

/// The sessions of a node, as the bus sees them.
pub trait Letterbox: Send + Sync {
    /// Takes a letter. It runs on the thread of the bus, and does not wait.
    fn deliver(&self, letter: Letter);
}
