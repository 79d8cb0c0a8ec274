//! A value as it was given, before its setting reads it, and where it came from.

use std::fmt;
use std::iter;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

/// Longer values are cut in messages.
const SHOWN_CHARS_MAX: usize = 80;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything else.
    Default,
    /// A line of a file, counted from 1.
    File {
        /// How the file was called.
        path: Arc<str>,
        /// The line of the key.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {path}, line {line}"),
            Self::Environment(name) => write!(f, "environment variable {}", name.escape_debug()),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value before anybody has asked what its setting allows.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// Text without a type of its own, from a flag or the environment: the setting decides how it is read.
    Plain(String),
    /// Text that a file has in quotes.
    Quoted(String),
    /// An integer of a file as it was written, and its value, which stops at the ends of its type.
    Integer(String, i128),
    /// A number of a file with a decimal point or an exponent, as it was written, and its value.
    Decimal(String, f64),
    /// A boolean of a file.
    Boolean(bool),
    /// An array of a file that has nothing but text.
    Words(Vec<String>),
    /// What no setting is: dates, other arrays, tables, and bytes that are not UTF-8.
    Other(String),
}

impl Raw {
    /// The value as text, where it may be one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) | Self::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an integer, where it may be one.
    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Self::Plain(digits) => integer(digits, 10),
            Self::Integer(_, value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a number, where it may be one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Plain(text) => text.parse().ok(),
            Self::Integer(_, value) => Some(*value as f64),
            Self::Decimal(_, value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a boolean, where it may be one.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Plain(word) => word.parse().ok(),
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a list of words, where it may be one.
    pub(super) fn words(&self) -> Option<Vec<&str>> {
        match self {
            Self::Plain(text) | Self::Quoted(text) => {
                Some(text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect())
            }
            Self::Words(words) => Some(words.iter().map(String::as_str).collect()),
            _ => None,
        }
    }

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

/// Digits with or without a sign. Numbers too large for any setting are still numbers.
fn integer(text: &str, radix: u32) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(text)), |rest| (-1, rest));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some(sign * i128::from_str_radix(digits, radix).unwrap_or(i128::MAX))
}

pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => text[..at].chars().chain(iter::once('…')).collect(),
        None => text.to_owned(),
    }
}
