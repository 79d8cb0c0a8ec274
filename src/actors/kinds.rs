//! The kinds of the actors' messages, by which they are measured.

use super::conversation::ConversationMessage;
use super::front::SessionMessage;
use super::registry::RegistryMessage;
use crate::mailbox::Classified;
use crate::metrics::{ToConversation, ToRegistry, ToSession};

impl Classified for SessionMessage {
    type Kind = ToSession;

    fn kind(&self) -> ToSession {
        match self {
            Self::Attach(_) => ToSession::Attach,
            Self::Poll(_) => ToSession::Poll,
            Self::Post { .. } => ToSession::Post,
            Self::AbortPost(_) => ToSession::AbortPost,
            Self::Abort(_) => ToSession::Abort,
        }
    }
}

impl Classified for ConversationMessage {
    type Kind = ToConversation;

    fn kind(&self) -> ToConversation {
        match self {
            Self::Enter(_) | Self::Return(_) => ToConversation::Enter,
            Self::Leave(_) => ToConversation::Leave,
            Self::Talk { .. } => ToConversation::Talk,
            Self::Announce(_) => ToConversation::Announce,
            Self::Ask(_) => ToConversation::Ask,
            Self::Recount(_) | Self::Flush(_) => ToConversation::Recount,
            Self::Members { .. } => ToConversation::Members,
            Self::Bus(_) => ToConversation::Bus,
            Self::Feed(_) => ToConversation::Feed,
            #[cfg(test)]
            Self::Panic => ToConversation::Talk,
        }
    }
}

impl Classified for RegistryMessage {
    type Kind = ToRegistry;

    fn kind(&self) -> ToRegistry {
        match self {
            Self::Join(_) => ToRegistry::Join,
            Self::EnterAll(_) => ToRegistry::EnterAll,
            Self::Retire { .. } => ToRegistry::Retire,
            Self::Recount { .. } => ToRegistry::Recount,
        }
    }
}
