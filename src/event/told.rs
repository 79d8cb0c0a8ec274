//! The events that a client is sent, written as JSON.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::asked::{EventName, Talk};
use super::codes::Code;
use super::ids::{ConversationId, Username};

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

/// The names of the events that a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerEventName {
    /// `listening`
    Listening,
    /// `joined`
    Joined,
    /// `left`
    Left,
    /// `update`
    Update,
    /// `people`
    People,
    /// `refused`
    Refused,
}

impl ServerEventName {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Update => "update",
            Self::People => "people",
            Self::Refused => "refused",
        }
    }
}

impl ServerEvent<'_> {
    /// The name of the event.
    pub fn name(&self) -> ServerEventName {
        match self {
            Self::Listening { .. } => ServerEventName::Listening,
            Self::Joined { .. } => ServerEventName::Joined,
            Self::Left { .. } => ServerEventName::Left,
            Self::Update { .. } => ServerEventName::Update,
            Self::People { .. } => ServerEventName::People,
            Self::Refused { .. } => ServerEventName::Refused,
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
