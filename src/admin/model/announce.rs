//! The JSON of announcements: updates of back ends, and their outcomes.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder as OneOf, Schema, SchemaType, Type};
use utoipa::{IntoParams, ToSchema};

use super::Fault;

/// The wishes of a request that announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wishes {
    /// Whether an update is refused that cannot be relayed to the other nodes of the cluster.
    pub relay: Option<RelayWish>,
}

/// The wishes for the way to the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelayWish {
    /// An update that is not relayed is answered by 503, `not_relayed`.
    Required,
}

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
    /// The sockets that do not get it, on all nodes: the `socket.id` of a client, or up to 32 of them.
    #[serde(default, deserialize_with = "socket_ids", skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = socket_ids_schema)]
    pub except: Vec<Box<str>>,
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
    /// The sockets that do not get it, on all nodes: the `socket.id` of a client, or up to 32 of them.
    #[serde(default, deserialize_with = "socket_ids", skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = socket_ids_schema)]
    pub except: Vec<Box<str>>,
    /// Whether the sessions of the user do not get it.
    #[serde(default)]
    pub except_self: bool,
}

/// How many sessions got an update, and how it came to the other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Given {
    /// The sessions of this server that it was given to. 0 if nobody listens to the conversation here.
    pub sessions: u32,
    /// Whether Redis has published it for the other nodes. Absent if this process is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed: Option<bool>,
    /// The other servers that have heard it, by Redis's count: nodes on which the conversation lives, and all Node
    /// servers of the namespace. Absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receivers: Option<u16>,
    /// Why it was not relayed, as in the metric `maxtalk_announcement_relays_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
    /// The sessions of this server that it was given to. 0 if nobody listens to the conversation here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Whether Redis has published it for the other nodes. Absent if this process is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed: Option<bool>,
    /// The other servers that have heard it, by Redis's count: nodes on which the conversation lives, and all Node
    /// servers of the namespace. Absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receivers: Option<u16>,
    /// Why it was not relayed, as in the metric `maxtalk_announcement_relays_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

impl From<Given> for Outcome {
    fn from(Given { sessions, relayed, receivers, reason }: Given) -> Self {
        Self { sessions: Some(sessions), relayed, receivers, reason, error: None }
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self { sessions: None, relayed: None, receivers: None, reason: None, error: Some(fault) }
    }
}

/// Reads one socket id or a list of them.
fn socket_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(Box<str>),
        More(Vec<Box<str>>),
    }
    match Deserialize::deserialize(deserializer) {
        Ok(OneOrMore::One(id)) => Ok(vec![id]),
        Ok(OneOrMore::More(ids)) => Ok(ids),
        Err(_) => Err(D::Error::custom("except is a socket id, or a list of socket ids")),
    }
}

/// Describes one socket id or a list of them. The bounds are not in it: an id out of bounds fails its own update.
fn socket_ids_schema() -> Schema {
    let id = || ObjectBuilder::new().schema_type(Type::String);
    OneOf::new().item(id()).item(ArrayBuilder::new().items(id())).build().into()
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
