//! The events that clients send, read from their JSON.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use super::codes::Code;
use super::ids::{ConversationId, Scalar, Token, Username};

/// An event of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Become a user, and listen to all conversations of that user.
    Join {
        /// The name that the client claims.
        username: Username,
        /// The token that proves the name, if the event has one.
        token: Option<Token>,
        /// The OAuth scope of the token, if the event has one.
        scope: Option<String>,
    },
    /// Tell the others in a conversation that there is something new.
    Talk(Talk),
    /// Ask who listens to one conversation. `None`: to each of the user's conversations.
    Ask(Option<ConversationId>),
    /// Stop listening to one conversation. `None`: to all.
    Leave(Option<ConversationId>),
}

/// The content of a `talk`, without its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// The conversation in which there is something new.
    pub conversation: ConversationId,
    /// The client's own time, not interpreted.
    pub timestamp: Option<Scalar>,
    /// The id of the message in MAX, not interpreted.
    pub message_id: Option<Scalar>,
}

/// The names of the events that clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventName {
    /// `join`
    Join,
    /// `talk`
    Talk,
    /// `ask`
    Ask,
    /// `leave`
    Leave,
}

impl EventName {
    /// All names.
    pub const ALL: [Self; 4] = [Self::Join, Self::Talk, Self::Ask, Self::Leave];

    /// Returns the event of this name. `None` if the protocol has no such event.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "join" => Self::Join,
            "talk" => Self::Talk,
            "ask" => Self::Ask,
            "leave" => Self::Leave,
            _ => return None,
        })
    }

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Talk => "talk",
            Self::Ask => "ask",
            Self::Leave => "leave",
        }
    }
}

impl ClientEvent {
    /// Returns the name of the event.
    pub fn name(&self) -> EventName {
        match self {
            Self::Join { .. } => EventName::Join,
            Self::Talk(_) => EventName::Talk,
            Self::Ask(_) => EventName::Ask,
            Self::Leave(_) => EventName::Leave,
        }
    }

    /// Returns the conversation that the event is about. `None` if it is about none, or about all.
    pub fn conversation(&self) -> Option<&ConversationId> {
        match self {
            Self::Join { .. } => None,
            Self::Talk(talk) => Some(&talk.conversation),
            Self::Ask(id) | Self::Leave(id) => id.as_ref(),
        }
    }

    /// Reads the first argument of an event. Unknown members of an object are ignored.
    ///
    /// # Errors
    /// The code to refuse the event with.
    pub fn parse(name: EventName, argument: Option<&RawValue>, id_bytes_max: usize) -> Result<Self, Code> {
        match name {
            EventName::Join => parse_join(argument),
            EventName::Talk => parse_talk(argument, id_bytes_max).map(Self::Talk),
            EventName::Ask => parse_subject(argument, id_bytes_max).map(Self::Ask),
            EventName::Leave => parse_subject(argument, id_bytes_max).map(Self::Leave),
        }
    }
}

fn parse_join(argument: Option<&RawValue>) -> Result<ClientEvent, Code> {
    #[derive(Deserialize)]
    struct Join<'a> {
        #[serde(borrow)]
        username: &'a RawValue,
        #[serde(default)]
        token: Option<Token>,
        #[serde(default)]
        scope: Option<String>,
    }
    let json = argument.ok_or(Code::BadJoin)?.get();
    let (username, token, scope) = if json.starts_with('"') {
        (json, None, None)
    } else if json.starts_with('{') {
        let join: Join<'_> = serde_json::from_str(json).map_err(|_| Code::BadJoin)?;
        (join.username.get(), join.token, join.scope)
    } else {
        // serde would also accept an array with the members in their order.
        return Err(Code::BadJoin);
    };
    let username: String = serde_json::from_str(username).map_err(|_| Code::BadJoin)?;
    // Token and scope become HTTP headers, which a control character would split.
    let plain = |text: &str| !text.chars().any(char::is_control);
    if !token.as_ref().is_none_or(|token| plain(token.reveal())) || !scope.as_deref().is_none_or(plain) {
        return Err(Code::BadJoin);
    }
    // The session keeps both until it ends, so their length is bounded.
    let is_long = token.as_ref().is_some_and(|token| token.reveal().len() > Token::BYTES_MAX);
    if is_long || scope.as_ref().is_some_and(|scope| scope.len() > Token::BYTES_MAX) {
        return Err(Code::Unauthorized);
    }
    let token = token.filter(Token::is_usable);
    Ok(ClientEvent::Join { username: Username::parse(&username)?, token, scope })
}

fn parse_talk(argument: Option<&RawValue>, id_bytes_max: usize) -> Result<Talk, Code> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        conversation: String,
        #[serde(borrow, default, deserialize_with = "present")]
        timestamp: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "messageID", deserialize_with = "present")]
        message_id: Option<&'a RawValue>,
    }
    let json = argument.ok_or(Code::BadTalk)?.get();
    if !json.starts_with('{') {
        return Err(Code::BadTalk);
    }
    let raw: Raw<'_> = serde_json::from_str(json).map_err(|_| Code::BadTalk)?;
    if raw.conversation.len() > id_bytes_max {
        return Err(Code::BadTalk);
    }
    let scalar = |json: Option<&RawValue>| json.map(|json| Scalar::parse(json, id_bytes_max)).transpose();
    Ok(Talk {
        conversation: raw.conversation.as_str().into(),
        timestamp: scalar(raw.timestamp)?,
        message_id: scalar(raw.message_id)?,
    })
}

/// Reads a member that is present as a `T`, even if it is `null`. serde by itself would make `None` of `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads the argument of `ask` and `leave`: an id, or `{"conversation": id}`. `None`, for all conversations, if the
/// argument is absent, `{}` or `null`.
fn parse_subject(argument: Option<&RawValue>, id_bytes_max: usize) -> Result<Option<ConversationId>, Code> {
    #[derive(Deserialize)]
    struct Subject {
        // `{"conversation": null}` is refused: the client has lost an id, and does not mean all conversations.
        #[serde(default, deserialize_with = "present")]
        conversation: Option<String>,
    }
    let id = match argument.map(RawValue::get) {
        None | Some("null") => None,
        Some(json) if json.starts_with('"') => Some(serde_json::from_str(json).map_err(|_| Code::BadRequest)?),
        Some(json) if json.starts_with('{') => {
            serde_json::from_str::<Subject>(json).map_err(|_| Code::BadRequest)?.conversation
        }
        Some(_) => return Err(Code::BadRequest),
    };
    match id {
        Some(id) if id.len() > id_bytes_max => Err(Code::BadRequest),
        id => Ok(id.map(|id| id.as_str().into())),
    }
}
