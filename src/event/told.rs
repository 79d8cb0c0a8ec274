//! The events that the server sends, written as JSON.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::asked::{EventName, Talk};
use super::codes::Code;
use super::ids::{ConversationId, Username};

/// An event for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// Lists all conversations that the session listens to.
    Listening {
        /// The conversations in the order of MAX.
        conversations: Vec<&'a ConversationId>,
    },
    /// A user began to listen, with their first session in the conversation.
    Joined {
        /// The conversation.
        conversation: &'a ConversationId,
        /// The user.
        username: &'a Username,
    },
    /// A user stopped listening: their last session in the conversation left.
    Left {
        /// The conversation.
        conversation: &'a ConversationId,
        /// The user.
        username: &'a Username,
    },
    /// There is something new in a conversation.
    Update {
        /// The author of the talk.
        username: &'a Username,
        /// The content of the talk.
        talk: &'a Talk,
        /// The number of talks that the update stands for, this one included. `None` if it stands for this one only
        /// and was never folded.
        missed: Option<u64>,
    },
    /// The users who listen to a conversation.
    People {
        /// The conversation.
        conversation: &'a ConversationId,
        /// The number of users, regardless of how many sessions each has.
        inroom: usize,
        /// The users, sorted and without duplicates. `None` above the presence limit.
        people: Option<&'a [Username]>,
        /// Whether the users on other nodes of the cluster may have changed in the meantime.
        partial: bool,
    },
    /// News of other nodes of the cluster, or of MAX, may not have come: the client fetches from MAX what came since.
    Missed {
        /// The conversations of the news. `None`: all conversations of the session.
        conversations: Option<Vec<&'a ConversationId>>,
        /// Whether more may be missed until this event comes again.
        ongoing: bool,
    },
    /// An event of the client was not carried out.
    Refused {
        /// The event.
        event: EventName,
        /// The reason.
        code: Code,
        /// The reason in words, usually those of the code.
        reason: &'a str,
        /// The conversation that the event was about, if it was about one.
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
    /// `missed`
    Missed,
    /// `refused`
    Refused,
}

impl ServerEventName {
    /// All names.
    pub const ALL: [Self; 7] =
        [Self::Listening, Self::Joined, Self::Left, Self::Update, Self::People, Self::Missed, Self::Refused];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Update => "update",
            Self::People => "people",
            Self::Missed => "missed",
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
            Self::Missed { .. } => ServerEventName::Missed,
            Self::Refused { .. } => ServerEventName::Refused,
        }
    }

    /// The only argument of the event, as JSON.
    pub fn json(&self) -> String {
        // Serialization into memory cannot fail here: all keys are strings, and all literals were parsed as JSON.
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
            Self::Update { username, talk, missed } => {
                map.serialize_entry("username", username)?;
                map.serialize_entry("conversation", &talk.conversation)?;
                if let Some(timestamp) = &talk.timestamp {
                    map.serialize_entry("timestamp", timestamp)?;
                }
                if let Some(message_id) = &talk.message_id {
                    map.serialize_entry("messageID", message_id)?;
                }
                if let Some(missed) = missed {
                    map.serialize_entry("missed", missed)?;
                }
            }
            Self::People { conversation, inroom, people, partial } => {
                map.serialize_entry("conversation", conversation)?;
                map.serialize_entry("inroom", inroom)?;
                if let Some(people) = people {
                    map.serialize_entry("people", people)?;
                }
                if *partial {
                    map.serialize_entry("partial", partial)?;
                }
            }
            Self::Missed { conversations, ongoing } => {
                if let Some(conversations) = conversations {
                    map.serialize_entry("conversations", conversations)?;
                }
                map.serialize_entry("ongoing", ongoing)?;
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
