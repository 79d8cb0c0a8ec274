//! The outcome of a call to the state machine of a conversation's peers.

use smallvec::SmallVec;

use crate::cluster::message::Message;
use crate::event::{Talk, Username};

/// The things that the conversation has to do.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Changes of the users on all nodes together. The members are told of each.
    pub changes: SmallVec<[Change; 1]>,
    /// An update for the members.
    pub update: Option<Update>,
    /// The reason why the members may have missed updates, and are told so. It comes after the update.
    pub missed: Option<Cause>,
    /// Messages for the bus, in this order.
    pub sends: SmallVec<[Message; 1]>,
}

impl Effects {
    /// Notes that updates may be missed. The first cause of a call counts.
    pub(super) fn miss(&mut self, cause: Cause) {
        self.missed.get_or_insert(cause);
    }
}

/// A change of the users on all nodes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The user is there, and was on no node before.
    Joined(Username),
    /// The user is on no node any more.
    Left(Username),
}

/// An update of another node, a Node server or an emitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The author.
    pub username: Username,
    /// The content.
    pub talk: Talk,
    /// The rooms that do not hear it.
    pub except: Vec<Box<str>>,
    /// Whether no session of the author hears it.
    pub except_self: bool,
}

/// The reason why updates may be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A number of a peer was left out, or the peer cannot say which of its messages were lost.
    Hole,
    /// The conversation was not subscribed for a while.
    Subscription,
    /// The mailbox of the conversation was full, or too many updates for all conversations waited.
    Mailbox,
    /// A peer fell silent. Updates may have ended with it.
    Silence,
    /// A peer does not answer. Updates may have ended with it.
    NoAnswer,
}
