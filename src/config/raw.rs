//! A value as it was given, before its setting reads it, and its source.

use std::fmt;
use std::iter;
use std::sync::Arc;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

/// Longest value in a message. A longer one is cut.
const SHOWN_CHARS_MAX: usize = 80;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// No layer gives a value.
    Default,
    /// A line of a file, counted from 1.
    File {
        /// The path of the file.
        path: Arc<str>,
        /// The line of the key.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(&'static str),
    /// An operator, while the server runs.
    Admin,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {path}, line {line}"),
            Self::Environment(name) => write!(f, "environment variable {}", name.escape_debug()),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// A value that no setting has read yet.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// Text from a flag or the environment. It has no type of its own: the setting decides how to read it.
    Plain(String),
    /// Text in quotes, from a file.
    Quoted(String),
    /// An integer from a file as written, and its value, which is clamped to its type.
    Integer(String, i128),
    /// A number with a decimal point or an exponent from a file as written, and its value.
    Decimal(String, f64),
    /// A boolean from a file.
    Boolean(bool),
    /// An array of texts from a file.
    Words(Vec<String>),
    /// A value that no setting allows: a date, another array, a table, or bytes that are not UTF-8.
    Other(String),
}

impl Raw {
    /// The value as text. `None` if it cannot be read as one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) | Self::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an integer. `None` if it cannot be read as one.
    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Self::Plain(digits) => integer(digits, 10),
            Self::Integer(_, value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a number. `None` if it cannot be read as one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Plain(text) => text.parse().ok(),
            Self::Integer(_, value) => Some(*value as f64),
            Self::Decimal(_, value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a boolean. `None` if it cannot be read as one.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Plain(word) => word.parse().ok(),
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a list of words. `None` if it cannot be read as one.
    pub(super) fn words(&self) -> Option<Vec<&str>> {
        match self {
            Self::Plain(text) | Self::Quoted(text) => {
                Some(text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect())
            }
            Self::Words(words) => Some(words.iter().map(String::as_str).collect()),
            _ => None,
        }
    }

    /// Takes a value of a JSON document. Text that is an integer becomes one: a command line has only text.
    pub(super) fn from_json(value: &Value) -> Self {
        let number = |digits: &str| integer(digits, 10).map(|value| Self::Integer(value.to_string(), value));
        match value {
            Value::String(text) => number(text).unwrap_or_else(|| Self::Quoted(text.clone())),
            Value::Number(digits) => {
                let digits = digits.to_string();
                number(&digits).unwrap_or_else(|| Self::Decimal(digits.clone(), digits.parse().unwrap_or(f64::NAN)))
            }
            Value::Bool(value) => Self::Boolean(*value),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Other(value.to_string()),
        }
    }

    /// Takes a value of a TOML document.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Quoted(text.clone().into_owned()),
            DeValue::Integer(number) => match integer(number.as_str(), number.radix()) {
                Some(value) => Self::Integer(number.to_string(), value),
                None => Self::Other(number.to_string()),
            },
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(value) => Self::Decimal(number.to_string(), value),
                Err(_) => Self::Other(number.to_string()),
            },
            DeValue::Datetime(date) => Self::Other(date.to_string()),
            DeValue::Array(array) => {
                let word = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
                array
                    .iter()
                    .map(word)
                    .collect::<Option<_>>()
                    .map_or_else(|| Self::Other("[...]".to_owned()), Self::Words)
            }
            DeValue::Table(_) => Self::Other("{...}".to_owned()),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) | Self::Quoted(text) => write!(f, "{:?}", clip(text)),
            Self::Integer(text, _) | Self::Decimal(text, _) | Self::Other(text) => f.write_str(&clip(text)),
            Self::Words(words) => f.write_str(&clip(&format!("{words:?}"))),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}

/// Reads digits with or without a sign. A number that is too large for its type becomes the largest one.
fn integer(text: &str, radix: u32) -> Option<i128> {
    let (sign, digits) =
        text.strip_prefix('-').map_or_else(|| (1, text.strip_prefix('+').unwrap_or(text)), |rest| (-1, rest));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some(sign * i128::from_str_radix(digits, radix).unwrap_or(i128::MAX))
}

/// Cuts a long text for messages.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => text[..at].chars().chain(iter::once('…')).collect(),
        None => text.to_owned(),
    }
}
