//! The conversations and sessions of this process as the [`Audience`] of MAX's feed.

use std::sync::Arc;

use super::announcement::{Announcement, Source};
use super::conversation::{Board, ConversationMessage};
use crate::board::sessions::SessionBoard;
use crate::delivery::fold::{Loss, Outage};
use crate::event::{ConversationId, Talk, Username};
use crate::feed::port::{Audience, Taken};
use crate::mailbox::SendError;

/// The living conversations and sessions.
#[derive(Debug)]
pub struct LocalAudience {
    /// The cards of conversations.
    pub conversations: Arc<Board>,
    /// The cards of sessions.
    pub sessions: Arc<SessionBoard>,
}

impl LocalAudience {
    /// Offers a message to a conversation. A conversation that does not live is not spawned.
    fn offer(&self, id: &ConversationId, message: ConversationMessage) -> Taken {
        let Some(card) = self.conversations.get(id.as_str()) else { return Taken::Nobody };
        let Some(door) = card.door().and_then(|door| door.upgrade()) else { return Taken::Nobody };
        match door.try_send(message) {
            Ok(()) => Taken::Given,
            Err(SendError::Closed) => Taken::Nobody,
            Err(SendError::Full) => Taken::Full,
        }
    }
}

impl Audience for LocalAudience {
    fn update(&self, username: Username, talk: Talk) -> Taken {
        let id = talk.conversation.clone();
        let (except, source) = (Vec::new(), Source::Feed);
        let announcement = Announcement { username, talk, except, except_self: false, source };
        self.offer(&id, ConversationMessage::Announce(Box::new(announcement)))
    }

    fn lost(&self, id: &ConversationId) -> Taken {
        self.offer(id, ConversationMessage::Feed(Loss::Conversation(id.clone())))
    }

    fn outage(&self, id: &ConversationId, outage: Outage) {
        let card = self.conversations.get(id.as_str());
        if let Some(door) = card.as_ref().and_then(|card| card.door()).and_then(|door| door.upgrade()) {
            // There is one such message in a while, and every session has to know of it.
            door.send_always(ConversationMessage::Feed(Loss::Outage(outage)));
        }
    }

    fn conversations(&self) -> Vec<ConversationId> {
        self.conversations.ids()
    }

    fn has(&self, username: &Username) -> bool {
        self.sessions.count_of_user(username) > 0
    }

    fn refresh(&self, username: &Username) {
        // All of them: there are as many as session.per_user_max allows.
        self.sessions.of_user(username, usize::MAX).iter().for_each(|card| card.refresh());
    }
}
