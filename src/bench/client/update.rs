//! The event `update`, which comes most often. Its usual form is read by hand, in one pass and without a copy; any
//! other JSON by serde.

use std::borrow::Cow;

use serde::Deserialize;

/// The argument of an update. A field that is missing is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Update<'a> {
    /// The id of the conversation.
    #[serde(borrow)]
    pub conversation: Cow<'a, str>,
    /// The username of the talker.
    #[serde(borrow)]
    pub username: Cow<'a, str>,
    /// The talker's timestamp.
    pub timestamp: Option<u64>,
    /// The id of the message.
    #[serde(borrow, rename = "messageID")]
    pub message_id: Cow<'a, str>,
    /// The number of updates that this one stands for, if the server folds them. This one is the first of them.
    pub missed: Option<u64>,
}

impl<'a> Update<'a> {
    /// Reads the argument of an `update`. `None` if it is no JSON object, or a field has another type than here.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        // serde would read an array as the fields in order.
        let any = || serde_json::from_str(text).ok().filter(|_| text.trim_start().starts_with('{'));
        Self::usual(text).or_else(any)
    }

    /// Reads an object of plain strings and whole numbers, without white space.
    fn usual(text: &'a str) -> Option<Self> {
        let mut update = Self::default();
        let mut rest = text.strip_prefix('{')?;
        loop {
            let (key, after) = string(rest)?;
            rest = after.strip_prefix(':')?;
            let target = match key {
                "conversation" => &mut update.conversation,
                "username" => &mut update.username,
                "messageID" => &mut update.message_id,
                "timestamp" | "missed" => {
                    let number;
                    (number, rest) = whole(rest)?;
                    *if key == "missed" { &mut update.missed } else { &mut update.timestamp } = Some(number);
                    match rest.strip_prefix(',') {
                        Some(after) => rest = after,
                        None => return (rest == "}").then_some(update),
                    }
                    continue;
                }
                _ => return None,
            };
            let (value, after) = string(rest)?;
            *target = Cow::Borrowed(value);
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => return (after == "}").then_some(update),
            }
        }
    }
}

/// Returns a string without escapes, and the text after it.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    let (value, rest) = text.split_at(end);
    Some((value, rest.strip_prefix('"')?))
}

/// Returns a number of digits only, and the text after it.
fn whole(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(missed: Option<u64>) -> Update<'static> {
        let (conversation, username, message_id) = ("c0".into(), "u1".into(), "r-7".into());
        Update { conversation, username, timestamp: Some(123), message_id, missed }
    }

    #[test]
    fn reads_the_usual_form_in_any_order() {
        let table = [
            (r#"{"username":"u1","conversation":"c0","timestamp":123,"messageID":"r-7"}"#, None),
            (r#"{"messageID":"r-7","timestamp":123,"conversation":"c0","username":"u1"}"#, None),
            (r#"{"username":"u1","missed":4,"conversation":"c0","messageID":"r-7","timestamp":123}"#, Some(4)),
        ];
        for (json, missed) in table {
            assert_eq!(Update::usual(json), Some(update(missed)), "{json}");
            assert_eq!(serde_json::from_str::<Update<'_>>(json).unwrap(), update(missed), "{json}");
        }
    }

    #[test]
    fn reads_whatever_json_allows() {
        let table = [
            r#"{ "username":"u1","conversation":"c0","timestamp":123,"messageID":"r-7"}"#,
            r#"{"username":"\u00751","conversation":"c0","timestamp":123,"messageID":"r-7","more":[{}]}"#,
        ];
        for json in table {
            assert_eq!(Update::usual(json), None, "{json}");
            assert_eq!(Update::parse(json.as_bytes()), Some(update(None)), "{json}");
        }
    }

    #[test]
    fn is_nothing_where_it_is_no_update() {
        for json in ["", "{", "[]", r#"{"username":1}"#, r#"{"username":"u1"}x"#, r#"{"timestamp":"x"}"#, "\u{1}"] {
            assert_eq!(Update::parse(json.as_bytes()), None, "{json}");
        }
        assert_eq!(Update::parse(b"\xff"), None);
    }
}
