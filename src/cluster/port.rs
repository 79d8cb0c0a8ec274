//! The side of the bus that conversations see: the [`Port`].

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::door::Door;
use super::message::{Message, NodeId};
use super::queue::Overflow;
use crate::event::ConversationId;

/// The bus, as a conversation sees it. No call waits.
pub trait Port: fmt::Debug + Send + Sync {
    /// Returns this node.
    fn node(&self) -> NodeId;

    /// Wants the channel of a conversation. `door` hears what comes. A life with a lower number than the present one is
    /// ignored.
    fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>);

    /// Gives up the channel of a conversation, if this life has it.
    fn detach(&self, id: &ConversationId, life: u64);

    /// Queues a message about a conversation.
    ///
    /// # Errors
    /// The queue is full. A message that has a number leaves a hole, which the next state shows the others: the door
    /// hears [`Room`](super::door::FromBus::Room) when it may be sent. A state and `Gone` always fit.
    fn publish(&self, id: &ConversationId, message: &Message) -> Result<(), Overflow>;

    /// Queues a message as [`publish`](Self::publish) does, and returns the number of other servers that heard it:
    /// Redis counts them when the message is published. The sender is dropped if the bus stops before.
    ///
    /// # Errors
    /// As with `publish`.
    fn publish_counted(&self, id: &ConversationId, message: &Message) -> Result<oneshot::Receiver<u64>, Overflow>;

    /// Notes that a conversation has handled a [`Lost`](super::door::FromBus::Lost): what is lost from now on is
    /// another loss.
    fn loss_is_handled(&self, id: &ConversationId, life: u64);

    /// Returns whether the server of a conversation is up.
    fn is_up(&self, id: &ConversationId) -> bool;

    /// Returns whether this node has said that it ends. The others keep its users until its grace is over, so nobody is
    /// told that they leave.
    fn is_leaving(&self) -> bool;
}
