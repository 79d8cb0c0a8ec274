//! The limits that can be swept, and the values of one limit. Pure.

use std::fmt;
use std::str::FromStr;

use crate::config::{self, Config};

/// Most values of a limit.
const VALUES_MAX: usize = 32;

/// The queue that a limit bounds. The rows show how full it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// The mailboxes of this class of actor.
    Mailbox(&'static str),
    /// The joins that wait for their call to MAX.
    Max,
    /// The outboxes of all sessions together.
    Outbox,
}

/// Returns the queue of a limit that can be swept. `None` for other settings.
fn queue(key: &str) -> Option<Queue> {
    Some(match key {
        "mailbox.registry" => Queue::Mailbox("registry"),
        "mailbox.session" | "session.pending_max" => Queue::Mailbox("session"),
        "mailbox.conversation" | "conversation.burst_max" | "conversation.presence_members_max" => {
            Queue::Mailbox("conversation")
        }
        "max.inflight_max" | "max.waiting_max" => Queue::Max,
        _ if key.starts_with("outbox.") => Queue::Outbox,
        _ => return None,
    })
}

/// The limits of which 0 is no limit.
const UNLIMITED_AT_ZERO: [&str; 1] = ["conversation.presence_members_max"];

/// One value of a limit. Numbers are ordered, and no limit comes after them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A number.
    Number(u64),
    /// No limit, which is written as 0.
    Unlimited,
    /// Something else, such as a policy.
    Word(String),
}

impl Value {
    fn of(key: &str, text: &str) -> Self {
        match text.parse() {
            Ok(0) if UNLIMITED_AT_ZERO.contains(&key) => Self::Unlimited,
            Ok(number) => Self::Number(number),
            Err(_) => Self::Word(text.to_owned()),
        }
    }

    /// Returns the number, if it has a place on a logarithmic scale.
    pub fn positive(&self) -> Option<f64> {
        match self {
            Self::Number(number) if *number > 0 => Some(*number as f64),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Unlimited => f.write_str("0"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// A limit and the values that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The setting, such as `mailbox.conversation`.
    pub key: &'static str,
    /// The queue that it bounds.
    pub queue: Queue,
    /// The values: numbers rising, words in the order in which they were given.
    pub values: Vec<Value>,
}

/// Why a text is not an axis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    /// It has no equals sign.
    #[error("a limit and its values, such as mailbox.conversation=64,256,1024")]
    Form,
    /// There is no such setting.
    #[error("{key:?} is no setting{}; these can be swept: {}", hint(*.meant), list())]
    Unknown {
        /// The text in place of a setting.
        key: String,
        /// The limit that was probably meant.
        meant: Option<&'static str>,
    },
    /// The setting is no limit that can be swept.
    #[error("{key} cannot be swept; these can: {}", list())]
    NotSwept {
        /// The setting.
        key: &'static str,
    },
    /// There are fewer than two values.
    #[error("{0} needs two values or more, such as {0}=64,256")]
    OneValue(&'static str),
    /// There are too many values.
    #[error("{0} has more than {VALUES_MAX} values")]
    TooManyValues(&'static str),
    /// A value is empty.
    #[error("{0} has an empty value")]
    Empty(&'static str),
    /// A value is given twice.
    #[error("{key} has the value {value} twice")]
    Twice {
        /// The setting.
        key: &'static str,
        /// The value.
        value: String,
    },
}

fn hint(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}

/// Returns the limits that can be swept.
fn list() -> String {
    config::keys().filter(|key| queue(key).is_some()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Axis {
    type Err = AxisError;

    fn from_str(text: &str) -> Result<Self, AxisError> {
        let (name, values) = text.split_once('=').ok_or(AxisError::Form)?;
        let name = name.trim();
        let key = config::keys().find(|key| *key == name).ok_or_else(|| {
            let meant = config::nearest_key(name).filter(|meant| queue(meant).is_some());
            AxisError::Unknown { key: name.to_owned(), meant }
        })?;
        let queue = queue(key).ok_or(AxisError::NotSwept { key })?;
        let mut values = values.split(',').map(|value| Value::of(key, value.trim())).collect::<Vec<_>>();
        if values.iter().any(|value| *value == Value::Word(String::new())) {
            return Err(AxisError::Empty(key));
        }
        let twice = (1..values.len()).find(|at| values[..*at].contains(&values[*at]));
        if let Some(at) = twice {
            return Err(AxisError::Twice { key, value: values[at].to_string() });
        }
        match values.len() {
            0..2 => return Err(AxisError::OneValue(key)),
            2..=VALUES_MAX => {}
            _ => return Err(AxisError::TooManyValues(key)),
        }
        if !values.iter().any(|value| matches!(value, Value::Word(_))) {
            values.sort();
        }
        Ok(Self { key, queue, values })
    }
}

impl Axis {
    /// Returns the value that the setting has in a configuration.
    pub fn present(&self, config: &Config) -> Value {
        // A value of the environment is shown between quotation marks.
        Value::of(self.key, config.shown(self.key).unwrap_or_default().trim_matches('"'))
    }

    /// Whether the values are numbers, and so have an order.
    pub fn is_ordered(&self) -> bool {
        !self.values.iter().any(|value| matches!(value, Value::Word(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn an_axis_is_a_limit_and_its_values() {
        let axis = |text: &str| text.parse::<Axis>().unwrap();
        let numbers = |numbers: &[u64]| numbers.iter().copied().map(Value::Number).collect::<Vec<_>>();
        let conversation = axis("mailbox.conversation = 256,16, 1024");
        assert_eq!(conversation.key, "mailbox.conversation");
        assert_eq!(conversation.queue, Queue::Mailbox("conversation"));
        assert_eq!(conversation.values, numbers(&[16, 256, 1024]), "rising");
        assert_eq!(axis("outbox.bytes_max=65536,131072").queue, Queue::Outbox);
        let presence = axis("conversation.presence_members_max=0,10");
        assert_eq!(presence.values, [Value::Number(10), Value::Unlimited], "no limit is the largest");
        assert_eq!(presence.values.iter().map(Value::positive).collect::<Vec<_>>(), [Some(10.0), None]);
        let policy = axis("outbox.policy=fold,close");
        assert!(!policy.is_ordered() && policy.present(&Config::default()) == Value::Word("fold".to_owned()));
        // The configuration judges values, so a word is one here.
        let words = axis("mailbox.session=x,9,-1");
        assert_eq!(
            words.values.iter().map(Value::to_string).collect::<Vec<_>>(),
            ["x", "9", "-1"],
            "as they were given"
        );
        assert!(conversation.is_ordered() && !words.is_ordered());
    }

    #[test]
    fn what_is_no_axis_is_told_why() {
        let table = [
            ("mailbox.conversation", "a limit and its values, such as mailbox.conversation=64,256,1024"),
            (
                "mailbox.conversations=1,2",
                "\"mailbox.conversations\" is no setting; did you mean mailbox.conversation?; ",
            ),
            ("waiting_max=1,2", "\"waiting_max\" is no setting; did you mean max.waiting_max?; these can be swept: "),
            ("server.worker=1,2", "\"server.worker\" is no setting; these can be swept: max.inflight_max, "),
            ("server.workers=1,2", "server.workers cannot be swept; these can: max.inflight_max, max.waiting_max, "),
            ("mailbox.session=8", "mailbox.session needs two values or more, such as mailbox.session=64,256"),
            ("mailbox.session=", "mailbox.session has an empty value"),
            ("mailbox.session=8,,9", "mailbox.session has an empty value"),
            ("mailbox.session=8,9,+8", "mailbox.session has the value 8 twice"),
        ];
        for (text, expected) in table {
            let error = text.parse::<Axis>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let many = (1..=33).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(format!("mailbox.session={many}").parse::<Axis>(), Err(AxisError::TooManyValues("mailbox.session")));
    }

    #[test]
    fn each_limit_can_be_swept() {
        let limits = list();
        for key in [
            "mailbox.registry",
            "mailbox.conversation",
            "mailbox.session",
            "max.inflight_max",
            "max.waiting_max",
            "outbox.messages_max",
            "outbox.bytes_max",
            "outbox.policy",
            "outbox.grace_ms",
            "session.pending_max",
            "conversation.burst_max",
            "conversation.presence_members_max",
        ] {
            assert!(limits.split(", ").any(|limit| limit == key), "{key}: {limits}");
        }
    }

    #[test]
    fn the_present_value_is_that_of_the_environment_or_the_default() {
        let axis = "mailbox.session=1,2".parse::<Axis>().unwrap();
        let environment = vec![("MAXTALK_MAILBOX__SESSION".into(), "77".into())];
        let chosen = Config::load(Sources { environment, ..Sources::default() }).unwrap();
        assert_eq!(axis.present(&chosen), Value::Number(77));
        let default = Config::default();
        assert_eq!(axis.present(&default), Value::Number(default.mailbox.session as u64));
    }
}
