//! What a delivery of RabbitMQ means: the exchanges, keys and bodies of MAX 3.x, 4.x and 5.x. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use crate::config::FeedLayout as Layout;
use crate::event::{ConversationId, Scalar, Talk, Username};

/// The exchange of MAX 4.x and 5.x.
pub const CONVERSATIONS: &str = "conversations";

/// The exchange of MAX 3.x that tells of new conversations.
pub const NEW: &str = "new";

/// The exchange of the plugin `rabbitmq_event_exchange`.
pub const EVENTS: &str = "amq.rabbitmq.event";

/// The keys of the events that tell of memberships.
pub const BINDING_EVENTS: [&str; 2] = ["binding.created", "binding.deleted"];

/// The keys by which MAX 4.x and 5.x announce. From 4.0.0 to 4.0.3 the key is the bare id.
pub const TOPICS: [&str; 2] = ["*.notifications", "*"];

/// The end of the name of the exchange from which a user of MAX 4.x and 5.x reads.
const SUBSCRIBE: &str = ".subscribe";

/// A message that RabbitMQ has delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The exchange to which it was published, which may be bound to the one from which it came here.
    pub exchange: Bytes,
    /// Its routing key.
    pub key: Bytes,
    /// The texts in its headers. `None` if they cannot be read.
    pub headers: Option<Vec<(Bytes, Bytes)>>,
    /// Its body. `None` if it is too long.
    pub body: Option<Bytes>,
}

/// What a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A message was stored.
    Update {
        /// The user who has posted it, by the word of the sender.
        username: Username,
        /// The message.
        talk: Talk,
    },
    /// A conversation was made, and all its members are in it.
    Created {
        /// The conversation.
        conversation: ConversationId,
        /// The user who has made it. `None` if it is a group, where MAX names the group in its place.
        username: Option<Username>,
    },
    /// A user may have come into a conversation or have left it.
    Member {
        /// The conversation.
        conversation: ConversationId,
        /// The user.
        username: Username,
    },
    /// Nothing that members have to know.
    Ignored,
}

/// The reason why a delivery was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The body has more bytes than `feed.message_bytes_max`.
    TooLong,
    /// The exchange or the key is none of MAX.
    Place,
    /// The body is no JSON of MAX.
    Json,
    /// The conversation in the body is another one.
    Conversation,
    /// There is no username, or none that a user can have.
    Username,
    /// There is no id of a message, or it is too long.
    MessageId,
    /// The time is no plain value, or too long.
    Timestamp,
    /// The headers cannot be read, or say no more than others.
    Headers,
}

impl Rejected {
    /// Returns the reason as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Place => "place",
            Self::Json => "json",
            Self::Conversation => "conversation",
            Self::Username => "username",
            Self::MessageId => "message_id",
            Self::Timestamp => "timestamp",
            Self::Headers => "headers",
        }
    }
}

/// The reader of deliveries.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The release of MAX.
    pub layout: Layout,
    /// The bytes of the longest id of a conversation or a message, and of the longest time.
    pub id_bytes_max: usize,
    /// The virtual host of MAX.
    pub vhost: String,
}

impl Reader {
    /// Returns what a delivery says.
    ///
    /// # Errors
    /// It is none of MAX.
    pub fn read(&self, delivery: &Delivery) -> Result<News, Rejected> {
        let text = |bytes: &Bytes| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Rejected::Place);
        let (exchange, key) = (text(&delivery.exchange)?, text(&delivery.key)?);
        if exchange == EVENTS {
            return self.event(&key, delivery.headers.as_deref());
        }
        let body = delivery.body.as_deref().ok_or(Rejected::TooLong);
        match (self.layout, exchange.as_str()) {
            (Layout::V3, NEW) => self.invitation(&key, body?),
            (Layout::V3, id) => self.post(self.conversation(id)?, body?),
            // Members and MAX's worker publish to the exchange of a user, which is bound to that of all conversations.
            (Layout::V4 | Layout::V5, _) => match key.split_once('.') {
                Some((_, "messages")) => Ok(News::Ignored),
                Some((id, "notifications")) => self.notification(self.conversation(id)?, body?),
                None => self.notification(self.conversation(&key)?, body?),
                Some(_) => Err(Rejected::Place),
            },
        }
    }

    /// Reads a notification of MAX 4.x and 5.x.
    fn notification(&self, conversation: ConversationId, body: &[u8]) -> Result<News, Rejected> {
        let body = spaced(body);
        let Notification { action, object, data, user, published } = object_in(&body)?;
        let word = |json: Option<&RawValue>| json.and_then(string).unwrap_or_default();
        let user = user.and_then(name_of);
        let message = match (word(action).as_str(), word(object).as_str()) {
            ("k", "m") => "id",
            ("a", "m") => "message_id",
            ("a", "c") => {
                // A group is announced in its own name, which may be that of a user.
                let is_group = member(data, "conversation_id").is_some();
                let username = user.filter(|_| !is_group).and_then(|name| Username::parse(&name).ok());
                return Ok(News::Created { conversation, username });
            }
            _ => return Ok(News::Ignored),
        };
        let message_id = self.message_id(member(data, message).as_deref())?;
        let timestamp = published.map(|json| Scalar::parse(json, self.id_bytes_max)).transpose();
        let timestamp = timestamp.map_err(|_| Rejected::Timestamp)?;
        let username = user.and_then(|name| Username::parse(&name).ok()).ok_or(Rejected::Username)?;
        Ok(News::Update { username, talk: Talk { conversation, timestamp, message_id: Some(message_id) } })
    }

    /// Reads a message of MAX 3.x, which is in the exchange of its conversation.
    fn post(&self, id: ConversationId, body: &[u8]) -> Result<News, Rejected> {
        let body = spaced(body);
        let Post { conversation, username, message_id } = object_in(&body)?;
        if conversation.and_then(string).is_none_or(|conversation| conversation != id.as_str()) {
            return Err(Rejected::Conversation);
        }
        let message_id = Some(self.message_id(message_id)?);
        let name = username.and_then(string).ok_or(Rejected::Username)?;
        let username = Username::parse(&name).map_err(|_| Rejected::Username)?;
        Ok(News::Update { username, talk: Talk { conversation: id, timestamp: None, message_id } })
    }

    /// Reads what MAX 3.x tells a user of a new conversation.
    fn invitation(&self, key: &str, body: &[u8]) -> Result<News, Rejected> {
        let body = spaced(body);
        let Post { conversation, .. } = object_in(&body)?;
        let id = conversation.and_then(string).ok_or(Rejected::Conversation)?;
        let conversation = self.conversation(&id).map_err(|_| Rejected::Conversation)?;
        let username = Username::parse(key).map_err(|_| Rejected::Username)?;
        Ok(News::Member { conversation, username })
    }

    /// Reads an event of the broker. A member of a conversation is a binding from the exchange `conversations` to the
    /// exchange from which the user reads.
    fn event(&self, key: &str, headers: Option<&[(Bytes, Bytes)]>) -> Result<News, Rejected> {
        if !BINDING_EVENTS.contains(&key) {
            return Ok(News::Ignored);
        }
        let headers = headers.ok_or(Rejected::Headers)?;
        let header = |name: &str| {
            let value = headers.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            value.map(|value| std::str::from_utf8(value).map_err(|_| Rejected::Headers)).transpose()
        };
        // The plugin tells of all virtual hosts in one.
        let is_here = header("vhost")?.is_none_or(|vhost| vhost == self.vhost);
        let user = header("destination_name")?.and_then(|name| name.strip_suffix(SUBSCRIBE));
        let Some(user) = user.filter(|_| is_here) else { return Ok(News::Ignored) };
        let id = header("routing_key")?.and_then(|key| key.strip_suffix(".*"));
        let Some(id) = id.filter(|id| !id.contains('.')) else { return Ok(News::Ignored) };
        if header("source_name")? != Some(CONVERSATIONS) {
            return Ok(News::Ignored);
        }
        let conversation = self.conversation(id)?;
        let username = Username::parse(user).map_err(|_| Rejected::Username)?;
        Ok(News::Member { conversation, username })
    }

    fn conversation(&self, id: &str) -> Result<ConversationId, Rejected> {
        if (1..=self.id_bytes_max).contains(&id.len()) { Ok(id.into()) } else { Err(Rejected::Place) }
    }

    fn message_id(&self, json: Option<&RawValue>) -> Result<Scalar, Rejected> {
        let id = json.and_then(|json| Scalar::parse(json, self.id_bytes_max).ok()).ok_or(Rejected::MessageId)?;
        let stands_for_one = match &id {
            Scalar::Text(text) => !text.is_empty(),
            Scalar::Literal(text) => !matches!(&**text, "null" | "true" | "false"),
        };
        if stands_for_one { Ok(id) } else { Err(Rejected::MessageId) }
    }
}

/// The body of a notification. A member may have any type where another client has written it.
#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow, rename = "a")]
    action: Option<&'a RawValue>,
    #[serde(borrow, rename = "o")]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "d")]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "u")]
    user: Option<&'a RawValue>,
    #[serde(borrow, rename = "p")]
    published: Option<&'a RawValue>,
}

/// The body of a message of MAX 3.x.
#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    #[serde(borrow, rename = "messageID")]
    message_id: Option<&'a RawValue>,
}

/// Returns a body with spaces in place of control characters. Some clients of MAX write line ends inside strings as
/// they are, which is no JSON, and MAX takes it.
fn spaced(body: &[u8]) -> Cow<'_, [u8]> {
    if body.iter().all(|byte| *byte >= b' ') {
        return Cow::Borrowed(body);
    }
    Cow::Owned(body.iter().map(|byte| (*byte).max(b' ')).collect())
}

/// Reads an object. serde would also take an array with the members in their order.
fn object_in<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Rejected> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Rejected::Json);
    }
    serde_json::from_slice(body).map_err(|_| Rejected::Json)
}

fn string(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// Returns a member of the data of a notification.
fn member(data: Option<&RawValue>, name: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        message_id: Option<&'a RawValue>,
        #[serde(borrow)]
        conversation_id: Option<&'a RawValue>,
    }
    let Data { id, message_id, conversation_id } = object_in(data?.get().as_bytes()).ok()?;
    let found = match name {
        "id" => id,
        "message_id" => message_id,
        _ => conversation_id,
    };
    found.map(ToOwned::to_owned)
}

/// Returns the name of a user: the user itself up to 4.0.3, or the member `u` of it.
fn name_of(user: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct User {
        u: String,
    }
    string(user).or_else(|| object_in::<User>(user.get().as_bytes()).ok().map(|user| user.u))
}

#[cfg(test)]
mod tests;
