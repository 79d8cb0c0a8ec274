//! The outcomes of reading a message.

use thiserror::Error;

use crate::cluster::letters::Letter;
use crate::cluster::message::{Message, NodeMessage};
use crate::event::{ConversationId, Scalar, Username};

/// The outcome of reading a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Messages about conversations. An emit to several rooms gives one for each, never two for the same.
    Messages(Vec<(ConversationId, Message)>),
    /// An update for the members of all conversations. Only if [`Settings::namespace_wide`](super::Settings) is set.
    Everybody(Everybody),
    /// A message about a node. It may be about this one, which measures by its own heartbeats how long they take.
    Node(NodeMessage),
    /// A Node server asks all servers for something that this node has none of, and waits for the answer.
    Asked(Answer),
    /// A letter of another node to this one.
    Letter(Letter),
    /// The message is well-formed and no concern of ours.
    Ignored(Ignored),
    /// The message is refused.
    Rejected(Rejected),
}

/// The answer to a request of a Node server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The channel on which it is published.
    pub channel: String,
    /// The answer as bytes.
    pub body: Vec<u8>,
}

/// An update that a Node server or an emitter sent to all of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everybody {
    /// The author.
    pub username: Username,
    /// The conversation, if the event names one.
    pub conversation: Option<ConversationId>,
    /// The author's time, not interpreted.
    pub timestamp: Option<Scalar>,
    /// The id of the message in MAX, not interpreted.
    pub message_id: Option<Scalar>,
    /// The rooms that do not hear it.
    pub except: Vec<Box<str>>,
}

/// The reason why a well-formed message is no concern of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// This node sent it.
    Own,
    /// It is of another namespace.
    Namespace,
    /// It is an event that is not read.
    Event,
    /// It is for all of the namespace, which is not read.
    Everybody,
    /// It is a request or an answer between Node servers, or wants to be acknowledged.
    Request,
    /// It is of a kind that a later version of maxtalk may know.
    Kind,
}

impl Ignored {
    /// All reasons.
    pub const ALL: [Self; 6] = [Self::Own, Self::Namespace, Self::Event, Self::Everybody, Self::Request, Self::Kind];

    /// Returns the reason as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Namespace => "namespace",
            Self::Event => "event",
            Self::Everybody => "everybody",
            Self::Request => "request",
            Self::Kind => "kind",
        }
    }
}

/// The reason why a message is refused. It prints as a sentence for the log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// The channel is none of ours.
    #[error("the channel is none of ours")]
    Channel,
    /// The message is longer than `message_bytes_max`.
    #[error("the message is longer than cluster.message_bytes_max")]
    TooLarge,
    /// Arrays and maps are nested too deep.
    #[error("arrays and maps are nested deeper than 8 levels")]
    TooDeep,
    /// The bytes are not in the encoding of the dialect, or are cut short.
    #[error("the bytes are not what the dialect is written in, or are cut short")]
    Syntax,
    /// A text is not UTF-8, or has a lone surrogate.
    #[error("a text is not UTF-8")]
    Text,
    /// The message is a pickle of Python.
    #[error("the message is a pickle: python-socketio writes JSON since 5.14.0")]
    Pickle,
    /// The message does not have the shape of its dialect.
    #[error("the message does not have the shape of the dialect: do all servers have the same cluster.dialect?")]
    Envelope,
    /// The packet is no event.
    #[error("the packet is no event with a name")]
    Packet,
    /// The options of the emit are missing, or no map.
    #[error("the options of the emit are missing, or have the wrong shape")]
    Options,
    /// The rooms are no list of names, are too many, or none can be a conversation.
    #[error("the rooms are no list of names, are too many, or none can be a conversation")]
    Rooms,
    /// The event has no object as its argument.
    #[error("the event has no object as its first argument")]
    Argument,
    /// The username is missing, or cannot be one.
    #[error("the username is missing, or cannot be one")]
    Username,
    /// The event names a conversation that is not the room.
    #[error("the event names another conversation than its room")]
    Conversation,
    /// A value is no plain one, or is too long.
    #[error("timestamp or messageID is not a plain value, or is too long")]
    Value,
    /// A value is binary.
    #[error("a value is binary")]
    Binary,
    /// The mark of maxtalk makes no sense.
    #[error("the mark of maxtalk makes no sense")]
    Mark,
    /// The message about a node makes no sense.
    #[error("the message about a node makes no sense")]
    Node,
}

impl Rejected {
    /// All reasons.
    pub const ALL: [Self; 17] = [
        Self::Channel,
        Self::TooLarge,
        Self::TooDeep,
        Self::Syntax,
        Self::Text,
        Self::Pickle,
        Self::Envelope,
        Self::Packet,
        Self::Options,
        Self::Rooms,
        Self::Argument,
        Self::Username,
        Self::Conversation,
        Self::Value,
        Self::Binary,
        Self::Mark,
        Self::Node,
    ];

    /// Returns the reason as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::Syntax => "syntax",
            Self::Text => "text",
            Self::Pickle => "pickle",
            Self::Envelope => "envelope",
            Self::Packet => "packet",
            Self::Options => "options",
            Self::Rooms => "rooms",
            Self::Argument => "argument",
            Self::Username => "username",
            Self::Conversation => "conversation",
            Self::Value => "value",
            Self::Binary => "binary",
            Self::Mark => "mark",
            Self::Node => "node",
        }
    }
}

/// The reason why a message gives nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Ignored(Ignored),
    Rejected(Rejected),
}

impl From<Ignored> for Refusal {
    fn from(reason: Ignored) -> Self {
        Self::Ignored(reason)
    }
}

impl From<Rejected> for Refusal {
    fn from(reason: Rejected) -> Self {
        Self::Rejected(reason)
    }
}

impl From<Refusal> for Reading {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Ignored(reason) => Self::Ignored(reason),
            Refusal::Rejected(reason) => Self::Rejected(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_reason_for_a_refusal_and_no_other() {
        let page = include_str!("../../docs/operating.md");
        let rows = page.lines().skip_while(|line| *line != "| `reason` of `maxtalk_bus_rejected_total` | means |");
        let reasons: Vec<_> = rows.skip(2).map_while(|row| row.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(reasons, Rejected::ALL.map(Rejected::as_str));
    }
}
