//! The two sides of the feed: the [`Audience`], which hears what MAX announces, and the [`Port`] of the feed, as the
//! conversations see it.

use std::fmt;

use crate::delivery::fold::Outage;
use crate::event::{ConversationId, Talk, Username};

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The conversation has it.
    Given,
    /// The conversation does not live here.
    Nobody,
    /// The mailbox of the conversation is full.
    Full,
}

/// The living conversations and sessions of this process. No call waits.
pub trait Audience: fmt::Debug + Send + Sync {
    /// Offers news to a conversation. Its members hear of a message once, whoever else tells of it.
    fn update(&self, username: Username, talk: Talk) -> Taken;

    /// Offers the notice that news of a conversation may be lost.
    fn lost(&self, id: &ConversationId) -> Taken;

    /// Tells a conversation, if it lives, of the beginning or the end of an outage, even if its mailbox is full.
    fn outage(&self, id: &ConversationId, outage: Outage);

    /// Returns the conversations that live.
    fn conversations(&self) -> Vec<ConversationId>;

    /// Whether a user has sessions.
    fn has(&self, username: &Username) -> bool;

    /// Has the sessions of a user ask for their conversations again.
    fn refresh(&self, username: &Username);
}

/// The feed, as a conversation sees it. No call waits.
pub trait Port: fmt::Debug + Send + Sync {
    /// Wants the news of a conversation.
    fn attach(&self, id: &ConversationId, life: u64);

    /// Gives the news of a conversation up, if this life has wanted it.
    fn detach(&self, id: &ConversationId, life: u64);

    /// Returns the outage that goes on, if it is told.
    fn outage(&self) -> Option<Outage>;
}
