//! The two sides of a conversation and the bus: the [`Door`] of the conversation, and the [`Port`] of the bus.

use std::fmt;
use std::sync::Arc;

use super::message::{Message, NodeId};
use crate::event::ConversationId;

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
    /// A [`FromBus::Lost`] stands for everything that was lost before it. If more is lost after other news was taken,
    /// it is given again, because that news may be older than the loss.
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

/// The bus, as a conversation sees it. No call waits.
pub trait Port: fmt::Debug + Send + Sync {
    /// Wants the channel of a conversation. `door` hears what comes. A life with a lower number than the present one is
    /// ignored.
    fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>);

    /// Gives up the channel of a conversation, if this life has it.
    fn detach(&self, id: &ConversationId, life: u64);

    /// Publishes a message about a conversation. A message that does not fit into the queue leaves a hole, which the
    /// next state shows: the door hears [`FromBus::Room`] when it may be sent.
    fn publish(&self, id: &ConversationId, message: &Message);

    /// Returns whether the bus of a conversation is up.
    fn is_up(&self, id: &ConversationId) -> bool;

    /// Returns whether this node has said that it ends. The others keep its users until its grace is over, so nobody is
    /// told that they leave.
    fn is_leaving(&self) -> bool;
}
