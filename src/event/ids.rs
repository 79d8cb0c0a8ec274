//! Names of conversations, people and sessions, and values that are passed through unchanged.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::codes::Code;

/// The sockets that an update of a back end may leave out.
pub const EXCEPT_MAX: usize = 32;

/// The longest socket id that an update of a back end may leave out, in bytes.
pub const SOCKET_ID_BYTES_MAX: usize = 64;

/// The id that MAX gives a conversation: an opaque string, cheap to clone.
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

/// The name of a person in MAX: lowercased, 1 to [`Username::BYTES_MAX`] bytes, without control characters, and without
/// white space at either end (an HTTP header would lose it, and MAX would answer for somebody else).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Username(Arc<str>);

impl Username {
    /// Longest username, before and after it is lowercased.
    pub const BYTES_MAX: usize = 256;

    /// Lowercases and checks `name`. This is the only rule about usernames: of clients, of MAX and of settings.
    ///
    /// # Errors
    /// [`Code::BadUsername`] if the text cannot be a username.
    pub fn parse(name: &str) -> Result<Self, Code> {
        let fits = |text: &str| (1..=Self::BYTES_MAX).contains(&text.len());
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

/// An OAuth token, or the password of a service account. Its `Debug` form is `***`; only [`Token::reveal`] returns the
/// text, for the header that MAX reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Longest token. No OAuth token is longer, and MAX's proxy would refuse a longer header.
    pub const BYTES_MAX: usize = 8192;

    /// Whether MAX can be asked with this token: it is not too long, and not only spaces, which a header loses.
    pub fn is_usable(&self) -> bool {
        !self.0.trim().is_empty() && self.0.len() <= Self::BYTES_MAX
    }

    /// Returns the secret.
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

/// A `timestamp` or `messageID`, which is passed through as the JSON value that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number, `true`, `false` or `null`, digit for digit.
    Literal(Box<str>),
    /// A string, decoded. Each reader gets it encoded again.
    Text(Box<str>),
}

impl Scalar {
    /// Reads one JSON value.
    ///
    /// # Errors
    /// [`Code::BadTalk`] for an object, an array, a string with a lone surrogate, and more than `bytes_max` bytes.
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
