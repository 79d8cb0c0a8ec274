//! The side of a conversation that the bus sees: its [`Door`]. [`Port`](super::port::Port) is the side of the bus.

use std::fmt;

use super::message::{Message, NodeId};

/// News from the bus for one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBus {
    /// A message of another node.
    Message(Message),
    /// The conversation is subscribed. Before that, and while the bus was away, it may have missed anything.
    Attached {
        /// Whether it was subscribed before in this life.
        again: bool,
        /// Whether the end of an outage is told to all conversations afterwards, so that this one need not tell that
        /// updates may be missed.
        covered: bool,
    },
    /// Messages were lost on the way to this conversation: its mailbox was full.
    Lost,
    /// Updates for all conversations were lost: too many of them waited.
    Missed,
    /// The queue of the bus has room again. A message of this conversation did not fit.
    Room,
    /// A node was not heard for so long that its users do not count any more.
    Silent(NodeId),
    /// A silent node is heard again.
    Heard(NodeId),
    /// A node has ended as it announced, and its grace is over. Its users do not count any more, and nothing was lost:
    /// it has published all that waited.
    Ended(NodeId),
    /// A node has lost messages about conversations that it could not note.
    Doubt(NodeId),
    /// The bus is away for longer than anybody would overlook; or it was away, if only for a moment, and is back.
    Outage {
        /// The number of the outage.
        number: u64,
        /// Whether it goes on.
        ongoing: bool,
    },
}

/// The front door of a conversation, as the bus sees it. It does not keep the conversation alive.
pub trait Door: fmt::Debug + Send + Sync {
    /// Offers news. It never waits.
    ///
    /// # Errors
    /// The mailbox is full, or the conversation has ended.
    fn offer(&self, news: FromBus) -> Result<(), Closed>;

    /// Gives news even if the mailbox is full. The bus gives at most one of each kind that way until it is handled.
    ///
    /// A [`FromBus::Lost`] stands for everything that was lost before it is handled. If more is lost after other news
    /// was taken, it is given again, because that news may be older than the loss.
    fn give(&self, news: FromBus);
}

/// The reason why a door took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The mailbox is full.
    Full,
    /// The conversation has ended.
    Gone,
}
