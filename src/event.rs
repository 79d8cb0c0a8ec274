//! The vocabulary of the written protocol: what a conversation and a person are called, what a client may ask, what it
//! is told, and why something was refused or a connection closed. Pure values; the wire is in [`crate::protocol`].

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A username may take up this many bytes, before and after it is lowercased.
pub const USERNAME_BYTES_MAX: usize = 256;

/// The id of a conversation as MAX gives it: an opaque string, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ConversationId(Arc<str>);

impl ConversationId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ConversationId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl Borrow<str> for ConversationId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A person as MAX knows them: lowercased, 1 to [`USERNAME_BYTES_MAX`] bytes, no control characters, no white space at
/// either end (an HTTP header would lose it, and MAX would answer for somebody else).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Username(Arc<str>);

impl Username {
    /// Lowercases and checks `name`.
    ///
    /// # Errors
    /// [`Code::BadUsername`] where the text cannot be a username.
    pub fn parse(name: &str) -> Result<Self, Code> {
        let fits = |text: &str| (1..=USERNAME_BYTES_MAX).contains(&text.len());
        if !fits(name) || name.chars().any(char::is_control) || name.trim() != name {
            return Err(Code::BadUsername);
        }
        let lower = name.to_lowercase();
        if fits(&lower) { Ok(Self(lower.into())) } else { Err(Code::BadUsername) }
    }

    /// The username as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Username {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An OAuth token (or the password of a service account). It prints as `***` wherever it may end up: only
/// [`Token::reveal`] gives the text, for the header that MAX reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Longer than any OAuth token; what is longer would be refused by MAX's proxy.
    pub const BYTES_MAX: usize = 8192;

    /// Whether there is anything in it that MAX could be asked with: spaces are nothing in a header.
    pub fn is_usable(&self) -> bool {
        !self.0.trim().is_empty() && self.0.len() <= Self::BYTES_MAX
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Token {
    fn from(secret: &str) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of a wrong type would quote the value.
        let text = String::deserialize(deserializer).map_err(|_| de::Error::custom("a token is a string"))?;
        Ok(Self(text.into()))
    }
}

/// Identifies one session within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A `timestamp` or `messageID`: carried through as the same JSON value that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number, `true`, `false` or `null`, digit for digit.
    Literal(Box<str>),
    /// A string, decoded; it is encoded anew for each reader.
    Text(Box<str>),
}

impl Scalar {
    /// Reads one JSON value.
    ///
    /// # Errors
    /// [`Code::BadTalk`] for an object, an array, a string with a lone surrogate, or more than `bytes_max` bytes.
    pub fn parse(json: &RawValue, bytes_max: usize) -> Result<Self, Code> {
        let text = json.get();
        let value = match text.as_bytes().first() {
            Some(b'"') => Self::Text(serde_json::from_str::<String>(text).map_err(|_| Code::BadTalk)?.into()),
            Some(b'{' | b'[') | None => return Err(Code::BadTalk),
            Some(_) => Self::Literal(text.into()),
        };
        let (Self::Literal(inner) | Self::Text(inner)) = &value;
        if inner.len() <= bytes_max { Ok(value) } else { Err(Code::BadTalk) }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Literal(text) => {
                let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Say who one is, and listen to all of one's conversations.
    Join {
        /// Who the client says it is.
        username: Username,
        /// The token that proves it, where the packet carries one.
        token: Option<Token>,
        /// The OAuth scope of the token, where the packet carries one.
        scope: Option<String>,
    },
    /// There is something new in a conversation.
    Talk(Talk),
    /// Who listens? In one conversation, or in all of one's own.
    Ask(Option<ConversationId>),
    /// Stop listening to one conversation, or to all.
    Leave(Option<ConversationId>),
}

/// The news of one talk, without its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Where.
    pub conversation: ConversationId,
    /// The client's own time, uninterpreted.
    pub timestamp: Option<Scalar>,
    /// The id of the message in MAX, uninterpreted.
    pub message_id: Option<Scalar>,
}

/// The names of the events that a client may send.
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
    /// The event that `name` stands for, if it is one of the written protocol.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "join" => Self::Join,
            "talk" => Self::Talk,
            "ask" => Self::Ask,
            "leave" => Self::Leave,
            _ => return None,
        })
    }

    /// The name on the wire.
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
    /// What the event is called.
    pub fn name(&self) -> EventName {
        match self {
            Self::Join { .. } => EventName::Join,
            Self::Talk(_) => EventName::Talk,
            Self::Ask(_) => EventName::Ask,
            Self::Leave(_) => EventName::Leave,
        }
    }

    /// The one conversation that it is about, if it is about one.
    pub fn conversation(&self) -> Option<&ConversationId> {
        match self {
            Self::Join { .. } => None,
            Self::Talk(talk) => Some(&talk.conversation),
            Self::Ask(id) | Self::Leave(id) => id.as_ref(),
        }
    }

    /// Reads the arguments of an event. Arguments beyond the first are ignored, as are unknown members of an object.
    ///
    /// # Errors
    /// The code to refuse it with.
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
        // serde would read an array as the members in their order.
        return Err(Code::BadJoin);
    };
    let username: String = serde_json::from_str(username).map_err(|_| Code::BadJoin)?;
    // Token and scope become HTTP headers: a control character would split them.
    let plain = |text: &str| !text.chars().any(char::is_control);
    if !token.as_ref().is_none_or(|token| plain(token.reveal())) || !scope.as_deref().is_none_or(plain) {
        return Err(Code::BadJoin);
    }
    // They are kept for the life of the session.
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

/// Keeps `null` apart from an absent member: `Option`'s own reading would take both for `None`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What `ask` and `leave` are about: an id, `{"conversation": id}`, or nothing (also `{}` and `null`) for all.
fn parse_subject(argument: Option<&RawValue>, id_bytes_max: usize) -> Result<Option<ConversationId>, Code> {
    #[derive(Deserialize)]
    struct Subject {
        // A client that says null does not know which one it means; it does not mean all.
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

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// Every conversation that the session listens to, each time it is sent.
    Listening {
        /// In the order in which MAX gave them.
        conversations: Vec<&'a ConversationId>,
    },
    /// A user was not listening there before and now is.
    Joined {
        /// Where.
        conversation: &'a ConversationId,
        /// Who.
        username: &'a Username,
    },
    /// A user's last session there went.
    Left {
        /// Where.
        conversation: &'a ConversationId,
        /// Who.
        username: &'a Username,
    },
    /// There is something new in a conversation.
    Update {
        /// Who talked.
        username: &'a Username,
        /// What they said of it.
        talk: &'a Talk,
    },
    /// Who listens in a conversation.
    People {
        /// Where.
        conversation: &'a ConversationId,
        /// How many users, whatever the number of their sessions.
        inroom: usize,
        /// Sorted, without duplicates; absent above the presence limit.
        people: Option<&'a [Username]>,
    },
    /// Something that the client asked was not done.
    Refused {
        /// What it asked.
        event: EventName,
        /// Why not.
        code: Code,
        /// The same in words for a person: the code's own, where there is nothing more to say.
        reason: &'a str,
        /// Which conversation it was about, where it was about one.
        conversation: Option<&'a ConversationId>,
    },
}

impl ServerEvent<'_> {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Update { .. } => "update",
            Self::People { .. } => "people",
            Self::Refused { .. } => "refused",
        }
    }

    /// The one argument of the event, as JSON.
    pub fn json(&self) -> String {
        // Serialising these shapes into memory cannot fail: every key is a string, every literal was parsed as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for ServerEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Listening { conversations } => map.serialize_entry("conversations", conversations)?,
            Self::Joined { conversation, username } | Self::Left { conversation, username } => {
                map.serialize_entry("conversation", conversation)?;
                map.serialize_entry("username", username)?;
            }
            Self::Update { username, talk } => {
                map.serialize_entry("username", username)?;
                map.serialize_entry("conversation", &talk.conversation)?;
                if let Some(timestamp) = &talk.timestamp {
                    map.serialize_entry("timestamp", timestamp)?;
                }
                if let Some(message_id) = &talk.message_id {
                    map.serialize_entry("messageID", message_id)?;
                }
            }
            Self::People { conversation, inroom, people } => {
                map.serialize_entry("conversation", conversation)?;
                map.serialize_entry("inroom", inroom)?;
                if let Some(people) = people {
                    map.serialize_entry("people", people)?;
                }
            }
            Self::Refused { event, code, reason, conversation } => {
                map.serialize_entry("event", event.as_str())?;
                map.serialize_entry("code", code.as_str())?;
                map.serialize_entry("reason", reason)?;
                if let Some(conversation) = conversation {
                    map.serialize_entry("conversation", conversation)?;
                }
            }
        }
        map.end()
    }
}

/// Writes one closed table: the variant, its text on the wire and in labels, and what it says to a person.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal: $reason:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $reason] $variant,)*
        }

        impl $name {
            /// Every row of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The text on the wire, in logs and in metric labels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// One sentence for a person.
            pub fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason),* }
            }
        }
    };
}

table! {
    /// Why something that a client asked was not done: the closed table of the written protocol.
    Code {
        BadJoin = "bad_join": "join takes a username, or an object with a username",
        BadUsername = "bad_username": "a username is 1 to 256 bytes, without control characters and outer white space",
        BadTalk = "bad_talk": "talk takes an object: a conversation, and plain values as timestamp and messageID",
        BadRequest = "bad_request": "this event takes a conversation id, an object with one, or nothing",
        UnknownEvent = "unknown_event": "there is no such event",
        NotJoined = "not_joined": "join first",
        Forbidden = "forbidden": "this is not one of your conversations",
        TokenRequired = "token_required": "join needs a token",
        Unauthorized = "unauthorized": "MAX does not accept this username and token",
        UnknownUser = "unknown_user": "MAX does not know this user",
        TooManyConversations = "too_many_conversations": "this user has more conversations than a session may hear",
        Superseded = "superseded": "a newer join took the place of this one",
        Busy = "busy": "the server has too much to do, try again",
        RateLimited = "rate_limited": "too many events, slow down",
        MaxTimeout = "max_timeout": "MAX did not answer in time, try again",
        MaxUnavailable = "max_unavailable": "MAX is not available, try again",
        MaxError = "max_error": "MAX refused the question",
        MaxGarbage = "max_garbage": "MAX gave an answer that makes no sense",
        MaxTooLarge = "max_too_large": "MAX gave an answer that is too large",
    }
}

table! {
    /// Why a connection was closed: the label of a metric, the reason in the log.
    CloseReason {
        TransportClose = "transport_close": "the client closed the connection",
        TransportError = "transport_error": "the connection broke",
        PingTimeout = "ping_timeout": "the client was silent for too long",
        ParseError = "parse_error": "the client sent what is not Engine.IO or Socket.IO",
        TooLarge = "too_large": "the client sent more than maxPayload at once",
        BadText = "bad_text": "the client sent text that is not UTF-8",
        ConnectTimeout = "connect_timeout": "the client connected to no namespace",
        Overlap = "overlap": "the client had two requests of a kind under way at once",
        Direction = "heartbeat_direction": "the client sent a heartbeat in the wrong direction",
        Slow = "slow": "the client read too slowly",
        RateLimited = "rate_limited": "the client sent too much and did not slow down",
        WriteTimeout = "write_timeout": "the client took nothing of what was written for too long",
        Flood = "flood": "the client sent too much for too long",
        Memory = "memory": "the client made the server hold much while its memory was short",
        ConversationLost = "conversation_lost": "a conversation of the session failed",
        Panic = "panic": "the session failed",
        Stop = "stop": "the server stops",
    }
}
