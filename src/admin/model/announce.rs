//! The JSON of announcements: updates of back ends, and their outcomes.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use super::Fault;

/// An update for everybody who listens to a conversation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The user of the news: 1 to 256 bytes, without control characters and outer white space.
    #[schema(min_length = 1, max_length = 256)]
    pub username: String,
    /// A number, a string, a boolean or null, which clients get unchanged. They get none if it is left out.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = plain_schema)]
    pub timestamp: Option<Box<RawValue>>,
    /// A number, a string, a boolean or null, which clients get unchanged. They get none if it is left out.
    #[serde(rename = "messageID", default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = plain_schema)]
    pub message_id: Option<Box<RawValue>>,
    /// Whether the sessions of the user do not get it.
    #[serde(default)]
    pub except_self: bool,
}

/// Updates for some conversations.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Updates {
    /// The updates.
    #[schema(min_items = 1, max_items = 1000)]
    pub updates: Vec<UpdateOf>,
}

/// An update for everybody who listens to this conversation.
// serde cannot flatten an `Update` into it: that would lose the text of numbers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateOf {
    /// The id that MAX gives the conversation: 1 to `limits.id_bytes_max` bytes.
    pub conversation: String,
    /// The user of the news: 1 to 256 bytes, without control characters and outer white space.
    pub username: String,
    /// A number, a string, a boolean or null, which clients get unchanged. They get none if it is left out.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = plain_schema)]
    pub timestamp: Option<Box<RawValue>>,
    /// A number, a string, a boolean or null, which clients get unchanged. They get none if it is left out.
    #[serde(rename = "messageID", default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = plain_schema)]
    pub message_id: Option<Box<RawValue>>,
    /// Whether the sessions of the user do not get it.
    #[serde(default)]
    pub except_self: bool,
}

/// How many sessions got an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Given {
    /// The sessions that it was given to. 0 if nobody listens to the conversation.
    pub sessions: u32,
}

/// The outcomes of some updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcomes {
    /// The outcome of each, in their order.
    pub outcomes: Vec<Outcome>,
}

/// The outcome of an update: it was given to some sessions, or not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The sessions that it was given to. 0 if nobody listens to the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Why it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// Reads a value that is neither an object nor an array. One that is left out differs from `null`.
fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    let value: Box<RawValue> = Deserialize::deserialize(deserializer)?;
    if value.get().starts_with(['{', '[']) {
        return Err(D::Error::custom("timestamp and messageID are numbers, strings, booleans or null"));
    }
    Ok(Some(value))
}

/// Describes a value that is neither an object nor an array.
fn plain_schema() -> Schema {
    let types = [Type::Number, Type::String, Type::Boolean, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types)).build().into()
}
