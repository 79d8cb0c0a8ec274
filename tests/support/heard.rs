//! The packets that a client hears, in one form for all generations, and builders for the events and answers of the
//! written protocol.

use maxtalk::testing::event::Code;

use super::socket::End;

/// One thing that a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event: its name, and its one argument as written, without a generation's additional escapes.
    Event(String, String),
    /// The answer to an event with an ack: id and argument.
    Ack(u64, String),
    /// Any other packet.
    Packet(String),
    /// The end of the session.
    End(End),
}

pub fn listening(conversations: &[&str]) -> Heard {
    event("listening", serde_json::json!({ "conversations": conversations }).to_string())
}

pub fn joined(conversation: &str, username: &str) -> Heard {
    event("joined", format!(r#"{{"conversation":"{conversation}","username":"{username}"}}"#))
}

pub fn left(conversation: &str, username: &str) -> Heard {
    event("left", format!(r#"{{"conversation":"{conversation}","username":"{username}"}}"#))
}

/// The update that others hear after [`talk_of`].
pub fn update(username: &str, conversation: &str, message: &str) -> Heard {
    let fields = format!(r#""username":"{username}","conversation":"{conversation}","messageID":"{message}""#);
    event("update", format!("{{{fields}}}"))
}

pub fn people(conversation: &str, people: &[&str]) -> Heard {
    let (inroom, people) = (people.len(), serde_json::json!(people));
    event("people", format!(r#"{{"conversation":"{conversation}","inroom":{inroom},"people":{people}}}"#))
}

pub fn refused(asked: &str, code: &str, conversation: Option<&str>) -> Heard {
    let about = conversation.map(|id| format!(r#","conversation":"{id}""#)).unwrap_or_default();
    event("refused", format!(r#"{{"event":"{asked}","code":"{code}","reason":"{}"{about}}}"#, reason(code)))
}

pub fn event(name: &str, argument: String) -> Heard {
    Heard::Event(name.to_owned(), argument)
}

pub fn ok(ack: u64) -> Heard {
    Heard::Ack(ack, r#"{"ok":true}"#.to_owned())
}

pub fn not_ok(ack: u64, code: &str) -> Heard {
    Heard::Ack(ack, format!(r#"{{"ok":false,"code":"{code}","reason":"{}"}}"#, reason(code)))
}

fn reason(code: &str) -> &'static str {
    Code::ALL.iter().find(|row| row.as_str() == code).unwrap().reason()
}

/// The argument of a join with a token.
pub fn join_of(user: &str) -> String {
    format!(r#"{{"username":"{user}","timestamp":1700000000000,"token":"t-{user}"}}"#)
}

/// The argument of a talk.
pub fn talk_of(conversation: &str, message: &str) -> String {
    format!(r#"{{"conversation":"{conversation}","messageID":"{message}"}}"#)
}
