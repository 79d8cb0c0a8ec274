//! The event by which a client hears a talk, which comes most often. Its usual form is read by hand, in one pass and
//! without a copy; any other JSON by serde.

use std::borrow::Cow;

use serde_json::Value;

use crate::bench::protocol::{self, at};

/// The argument of an update. A field that is missing is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update<'a> {
    /// The id of the conversation.
    pub conversation: Cow<'a, str>,
    /// The username of the talker.
    pub username: Cow<'a, str>,
    /// The talker's timestamp.
    pub timestamp: Option<u64>,
    /// The id of the message.
    pub message_id: Cow<'a, str>,
    /// The number of updates that this one stands for, if the server folds them. This one is the first of them.
    pub missed: Option<u64>,
}

impl<'a> Update<'a> {
    /// Reads the argument of an update whose fields have these names. `None` if it is no JSON object, or a field has
    /// another type than here.
    pub fn parse(json: &'a [u8], names: &protocol::Update) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        Self::usual(text, names).or_else(|| Self::any(text, names))
    }

    /// Reads an object of plain strings and whole numbers, without white space and other fields.
    fn usual(text: &'a str, names: &protocol::Update) -> Option<Self> {
        let mut update = Self::default();
        let mut rest = text.strip_prefix('{')?;
        loop {
            let (key, after) = string(rest)?;
            rest = after.strip_prefix(':')?;
            let target = match key {
                key if key == names.conversation => &mut update.conversation,
                key if key == names.sender => &mut update.username,
                key if key == names.id => &mut update.message_id,
                key if key == names.timestamp || key == names.missed => {
                    let number;
                    (number, rest) = whole(rest)?;
                    let is_missed = key == names.missed;
                    *if is_missed { &mut update.missed } else { &mut update.timestamp } = Some(number);
                    match rest.strip_prefix(',') {
                        Some(after) => rest = after,
                        None => return is_end(rest).then_some(update),
                    }
                    continue;
                }
                _ => return None,
            };
            let is_conversation = key == names.conversation;
            let (value, after) = string(rest).or_else(|| digits(rest).filter(|_| is_conversation))?;
            *target = Cow::Borrowed(value);
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => return is_end(after).then_some(update),
            }
        }
    }

    /// Reads any object. What follows it are further arguments of the event, which the bench does not use.
    fn any(text: &str, names: &protocol::Update) -> Option<Self> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let object = values.next()?.ok().filter(Value::is_object)?;
        let rest = text[values.byte_offset()..].trim_start();
        if !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        // A path without names would be the object itself.
        let field = |path: &str| if path.is_empty() { None } else { at(&object, path) };
        let text = |path: &str| match field(path) {
            None => Some(Cow::default()),
            Some(value) => protocol::text_or_number(value).map(Cow::Owned),
        };
        // A server may have a time of its own in another form.
        let whole = |path: &str| field(path).and_then(Value::as_u64);
        Some(Self {
            conversation: text(&names.conversation)?,
            username: text(&names.sender)?,
            timestamp: whole(&names.timestamp),
            message_id: text(&names.id)?,
            missed: whole(&names.missed),
        })
    }
}

/// Returns whether the object ends here: nothing follows, or a further argument, such as an offset.
fn is_end(rest: &str) -> bool {
    rest.strip_prefix('}').is_some_and(|after| after.is_empty() || after.starts_with(','))
}

/// Returns a string without escapes, and the text after it.
pub(super) fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    let (value, rest) = text.split_at(end);
    Some((value, rest.strip_prefix('"')?))
}

/// Returns a number of digits only, and the text after it.
fn whole(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = digits(text)?;
    Some((digits.parse().ok()?, rest))
}

/// Returns one digit or more, and the text after them.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).filter(|end| *end > 0)?;
    Some(text.split_at(end))
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
        let names = protocol::Update::default();
        let table = [
            (r#"{"username":"u1","conversation":"c0","timestamp":123,"messageID":"r-7"}"#, None),
            (r#"{"messageID":"r-7","timestamp":123,"conversation":"c0","username":"u1"}"#, None),
            (r#"{"username":"u1","missed":4,"conversation":"c0","messageID":"r-7","timestamp":123}"#, Some(4)),
            (r#"{"username":"u1","conversation":"c0","timestamp":123,"messageID":"r-7"},"0123abcde""#, None),
        ];
        for (json, missed) in table {
            assert_eq!(Update::usual(json, &names), Some(update(missed)), "{json}");
            assert_eq!(Update::any(json, &names), Some(update(missed)), "{json}");
        }
    }

    #[test]
    fn reads_whatever_json_allows() {
        let names = protocol::Update::default();
        let table = [
            r#"{ "username":"u1","conversation":"c0","timestamp":123,"messageID":"r-7"}"#,
            r#"{"username":"\u00751","conversation":"c0","timestamp":123,"messageID":"r-7","more":[{}]}"#,
        ];
        for json in table {
            assert_eq!(Update::usual(json, &names), None, "{json}");
            assert_eq!(Update::parse(json.as_bytes(), &names), Some(update(None)), "{json}");
        }
    }

    #[test]
    fn a_conversation_may_be_a_number() {
        let names = protocol::Update::default();
        let of = |id: &'static str| Some(Update { conversation: id.into(), ..update(None) });
        let json = |id: &str| format!(r#"{{"username":"u1","conversation":{id},"timestamp":123,"messageID":"r-7"}}"#);
        assert_eq!(Update::usual(&json("42"), &names), of("42"));
        assert_eq!(Update::usual(&json("-42"), &names), None);
        for id in ["42", "-42"] {
            assert_eq!(Update::any(&json(id), &names), of(id));
        }
        for id in ["4.2", "true", "null", "[4]"] {
            assert_eq!(Update::parse(json(id).as_bytes(), &names), None, "{id}");
        }
    }

    #[test]
    fn a_time_in_another_form_is_none() {
        let json = br#"{"username":"u1","conversation":"c0","timestamp":"2026-01-02","messageID":"r-7"}"#;
        let expected = Update { timestamp: None, ..update(None) };
        assert_eq!(Update::parse(json, &protocol::Update::default()), Some(expected));
    }

    #[test]
    fn is_nothing_where_it_is_no_update() {
        let names = protocol::Update::default();
        for json in ["", "{", "[]", r#"{"username":1.5}"#, r#"{"username":[1]}"#, r#"{"username":"u1"}x"#, "\u{1}"] {
            assert_eq!(Update::parse(json.as_bytes(), &names), None, "{json}");
        }
        assert_eq!(Update::parse(b"\xff", &names), None);
    }

    #[test]
    fn the_fields_have_the_names_of_the_protocol() {
        let names = protocol::Update {
            sender: "from.name".to_owned(),
            conversation: "room".to_owned(),
            id: "text".to_owned(),
            ..protocol::Update::default()
        };
        let (conversation, username, message_id) = ("c0".into(), "u1".into(), "r-7".into());
        let expected = Update { conversation, username, message_id, ..Update::default() };
        let json = br#"{"from":{"name":"u1"},"room":"c0","text":"r-7","likes":[]}"#;
        assert_eq!(Update::parse(json, &names), Some(expected.clone()));
        let flat = protocol::Update { sender: "from".to_owned(), ..names.clone() };
        assert_eq!(Update::usual(r#"{"from":"u1","room":"c0","text":"r-7"}"#, &flat), Some(expected.clone()));
        let nobody = protocol::Update { sender: String::new(), ..names };
        let json = br#"{"room":"c0","text":"r-7"}"#;
        assert_eq!(Update::parse(json, &nobody), Some(Update { username: "".into(), ..expected }));
    }
}
