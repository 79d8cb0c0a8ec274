//! A message of ours in the shape that both dialects have in common.

use super::Wire;
use super::mark::{Mark, Names};
use crate::cluster::message::{Content, Message, Presence, Users};
use crate::event::{ConversationId, ServerEvent, Talk, Username};

/// A message to be written.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) id: &'a ConversationId,
    /// The event that clients of Node servers hear. `None`: only nodes of maxtalk read the message.
    pub(super) news: Option<News<'a>>,
    pub(super) except: &'a [Box<str>],
    pub(super) mark: Mark<'a>,
}

/// An event that clients of Node servers hear.
#[derive(Clone, Copy, Debug)]
pub(super) enum News<'a> {
    Update { username: &'a Username, talk: &'a Talk },
    Joined(&'a Username),
    Left(&'a Username),
}

impl<'a> News<'a> {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Update { .. } => Wire::UPDATE,
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
        }
    }

    /// The event as our own clients hear it.
    pub(super) fn event(self, conversation: &'a ConversationId) -> ServerEvent<'a> {
        match self {
            Self::Update { username, talk } => ServerEvent::Update { username, talk, missed: None },
            Self::Joined(username) => ServerEvent::Joined { conversation, username },
            Self::Left(username) => ServerEvent::Left { conversation, username },
        }
    }
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(node: &'a str, id: &'a ConversationId, message: &'a Message) -> Self {
        let mut outgoing = Self { id, news: None, except: &[], mark: Mark::new(node, message.stamp) };
        match &message.content {
            Content::Update { username, talk, except, except_self } => {
                outgoing.news = Some(News::Update { username, talk });
                outgoing.except = except;
                outgoing.mark.except_self = except_self.then_some(true);
            }
            Content::Presence(presence) => outgoing.tell(presence),
        }
        outgoing
    }

    fn tell(&mut self, presence: &'a Presence) {
        let mark = &mut self.mark;
        match presence {
            Presence::State { users, asks } => {
                mark.kind = Some("state");
                mark.asks = Some(*asks);
                match users {
                    Users::Names(names) => mark.users = Some(Names::All(names)),
                    Users::Count(count) => mark.count = Some(*count as u64),
                }
            }
            Presence::Come { username, public } => {
                mark.kind = Some("+");
                self.name(username, public.then_some(News::Joined(username)));
            }
            Presence::Go { username, public } => {
                mark.kind = Some("-");
                self.name(username, public.then_some(News::Left(username)));
            }
            Presence::Gone => mark.kind = Some("gone"),
            Presence::Ask { to } => {
                mark.kind = Some("ask");
                mark.to = Some(to.as_str());
            }
        }
    }

    /// Says who comes or goes: in the event if there is one, and otherwise in the mark.
    fn name(&mut self, username: &'a Username, news: Option<News<'a>>) {
        match news {
            Some(_) => self.news = news,
            None => self.mark.users = Some(Names::One(username)),
        }
    }
}
