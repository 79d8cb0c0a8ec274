//! The bus as the [`Port`] of conversations.

use std::sync::Arc;

use super::bus::Bus;
use super::door::{Door, Port};
use super::message::Message;
use crate::event::ConversationId;

impl Port for Bus {
    fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>) {
        Self::attach(self, id, life, door);
    }

    fn detach(&self, id: &ConversationId, life: u64) {
        Self::detach(self, id, life);
    }

    fn publish(&self, id: &ConversationId, message: &Message) {
        // The door hears of a message that does not fit when there is room again.
        let _ = Self::publish(self, id, message);
    }

    fn is_up(&self, id: &ConversationId) -> bool {
        self.is_up_for(id)
    }

    fn is_leaving(&self) -> bool {
        Self::is_leaving(self)
    }
}
