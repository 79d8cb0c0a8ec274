//! The names that a Socket.IO chat server gives to things: its namespace, its events, and the fields of their
//! arguments. The default is maxtalk's own protocol; the file of `--protocol` describes that of another server. Pure.

use serde::Deserialize;
use serde_json::Value;

/// The protocol of a chat server. A key that a file leaves out has the value of maxtalk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct ChatProtocol {
    /// The namespace, unless the URL has a path.
    pub namespace: String,
    /// Whether a talker hears its own talks.
    pub echo: bool,
    /// Whether the server writes usernames in lower case.
    pub lowercase: bool,
    /// The event that joins.
    pub join: Join,
    /// The event that leaves all conversations.
    pub leave: Leave,
    /// The answer to both.
    pub listening: Listening,
    /// The event that talks.
    pub talk: Talk,
    /// The event by which members hear a talk.
    pub update: Update,
    /// The event by which a request is refused.
    pub refused: Refused,
    /// The event that tells of news that may be lost.
    pub missed: Missed,
}

/// The event that joins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Join {
    /// The name of the event.
    pub event: String,
    /// The field of the username. If it is empty, the argument is the bare username.
    pub username: String,
    /// The field of the token, if the user has one.
    pub token: String,
}

/// The event that leaves all conversations. It has no argument.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Leave {
    /// The name of the event.
    pub event: String,
}

/// The answer to a join or a leave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Listening {
    /// How it comes.
    pub answer: AnswerBy,
    /// The name of the event, if it comes by one.
    pub event: String,
    /// The path to the list of all conversations that the user hears. If it is empty, the argument is the list.
    pub conversations: String,
    /// The path to the id in an entry of the list. If it is empty, the entry is the id.
    pub id: String,
}

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum AnswerBy {
    /// By an event.
    Event,
    /// By the acknowledgement of the request.
    Ack,
}

/// The ids in a list of conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The ids as texts.
    pub texts: Vec<String>,
    /// Whether the server wrote them as numbers.
    pub are_numbers: bool,
}

/// The event that talks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Talk {
    /// The name of the event.
    pub event: String,
    /// The field of the conversation.
    pub conversation: String,
    /// The field of the time. If it is empty, there is none.
    pub timestamp: String,
    /// The field that comes back in the update: the id of the message, or its text.
    pub id: String,
}

/// The event by which members hear a talk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Update {
    /// The name of the event.
    pub event: String,
    /// The path to the username of the talker. If it is empty, nothing is said about the talker.
    pub sender: String,
    /// The path to the conversation.
    pub conversation: String,
    /// The path to the id of the talk.
    pub id: String,
    /// The path to the time of the talk.
    pub timestamp: String,
    /// The path to the number of talks that the update stands for.
    pub missed: String,
}

/// The event by which a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Refused {
    /// The name of the event.
    pub event: String,
    /// The path to the name of the event that was refused.
    pub request: String,
    /// The path to the reason.
    pub code: String,
}

/// The event that tells a client that news may be lost. A server that has no such event sends none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Missed {
    /// The name of the event. If it is empty, there is none.
    pub event: String,
    /// The path to the list of the conversations. An argument without it is about all conversations of the client.
    pub conversations: String,
    /// The path to whether further news may be lost until the event comes again.
    pub ongoing: String,
}

/// The argument of [`Missed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The conversations whose news may be lost. `None` for all of the client.
    pub conversations: Option<Vec<String>>,
    /// Whether further news may be lost.
    pub is_ongoing: bool,
}

impl Default for ChatProtocol {
    fn default() -> Self {
        Self {
            namespace: "/max".to_owned(),
            echo: false,
            lowercase: true,
            join: Join::default(),
            leave: Leave::default(),
            listening: Listening::default(),
            talk: Talk::default(),
            update: Update::default(),
            refused: Refused::default(),
            missed: Missed::default(),
        }
    }
}

impl Default for Join {
    fn default() -> Self {
        Self { event: "join".to_owned(), username: "username".to_owned(), token: "token".to_owned() }
    }
}

impl Default for Leave {
    fn default() -> Self {
        Self { event: "leave".to_owned() }
    }
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            answer: AnswerBy::Event,
            event: "listening".to_owned(),
            conversations: "conversations".to_owned(),
            id: String::new(),
        }
    }
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            event: "talk".to_owned(),
            conversation: "conversation".to_owned(),
            timestamp: "timestamp".to_owned(),
            id: "messageID".to_owned(),
        }
    }
}

impl Default for Update {
    fn default() -> Self {
        Self {
            event: "update".to_owned(),
            sender: "username".to_owned(),
            conversation: "conversation".to_owned(),
            id: "messageID".to_owned(),
            timestamp: "timestamp".to_owned(),
            missed: "missed".to_owned(),
        }
    }
}

impl Default for Refused {
    fn default() -> Self {
        Self { event: "refused".to_owned(), request: "event".to_owned(), code: "code".to_owned() }
    }
}

impl Default for Missed {
    fn default() -> Self {
        let [event, conversations, ongoing] = ["missed", "conversations", "ongoing"].map(str::to_owned);
        Self { event, conversations, ongoing }
    }
}

/// Why a text describes no protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// It is no TOML, or has a key or a value that is not known.
    #[error("line {line}: {message}")]
    Toml {
        /// The line, from 1.
        line: usize,
        /// The message of the parser.
        message: String,
    },
    /// The namespace is no path.
    #[error("namespace = {0:?}: a path that begins with a slash, such as \"/\"")]
    Namespace(String),
    /// A name that is needed is empty.
    #[error("{0} is empty: it needs a name")]
    Empty(&'static str),
    /// A name has characters that are not read.
    #[error("{key} = {name:?}: without quotation marks, backslashes and control characters")]
    Characters {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// Two of the events that a server sends have the same name.
    #[error("{0} and {1} are the same event")]
    Same(&'static str, &'static str),
}

impl ChatProtocol {
    /// Reads the file of `--protocol`.
    ///
    /// # Errors
    /// The text is no TOML of the known keys, or a name cannot be used.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        let protocol: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ProtocolError::Toml { line, message: error.message().lines().collect::<Vec<_>>().join(" ") }
        })?;
        protocol.check()?;
        Ok(protocol)
    }

    fn check(&self) -> Result<(), ProtocolError> {
        if !self.namespace.starts_with('/') || self.namespace.contains(['?', ',', ' ']) {
            return Err(ProtocolError::Namespace(self.namespace.clone()));
        }
        // An acknowledgement has no name.
        let listening =
            (self.listening.answer == AnswerBy::Event).then_some(("listening.event", &self.listening.event));
        let needed = [
            ("join.event", &self.join.event),
            ("talk.event", &self.talk.event),
            ("talk.conversation", &self.talk.conversation),
            ("talk.id", &self.talk.id),
            ("update.event", &self.update.event),
            ("update.conversation", &self.update.conversation),
            ("update.id", &self.update.id),
        ];
        if let Some((key, _)) = needed.iter().chain(&listening).find(|(_, name)| name.is_empty()) {
            return Err(ProtocolError::Empty(key));
        }
        let others = [
            ("namespace", &self.namespace),
            ("join.username", &self.join.username),
            ("join.token", &self.join.token),
            ("leave.event", &self.leave.event),
            ("talk.timestamp", &self.talk.timestamp),
            ("refused.event", &self.refused.event),
            ("missed.event", &self.missed.event),
        ];
        let is_odd = |name: &str| name.contains(['"', '\\']) || name.chars().any(char::is_control);
        if let Some((key, name)) = needed.into_iter().chain(listening).chain(others).find(|(_, name)| is_odd(name)) {
            return Err(ProtocolError::Characters { key, name: name.clone() });
        }
        let told = [("update.event", &self.update.event), ("refused.event", &self.refused.event)];
        let told = listening.into_iter().chain(told).collect::<Vec<_>>();
        for (at, (key, name)) in told.iter().enumerate() {
            if let Some((other, _)) = told[..at].iter().find(|(_, other)| other == name) {
                return Err(ProtocolError::Same(other, key));
            }
        }
        Ok(())
    }

    /// Returns a username as the server writes it.
    pub fn heard_as(&self, username: &str) -> String {
        if self.lowercase { username.to_lowercase() } else { username.to_owned() }
    }
}

impl Join {
    /// Returns the argument of the event, as JSON.
    pub fn argument(&self, username: &str, token: Option<&str>) -> String {
        if self.username.is_empty() {
            return Value::from(username).to_string();
        }
        let mut argument = serde_json::json!({ (self.username.as_str()): username });
        if let Some(token) = token.filter(|_| !self.token.is_empty()) {
            argument[&self.token] = token.into();
        }
        argument.to_string()
    }
}

impl Listening {
    /// Returns the conversations in the argument of the answer. `None` if it has another form, or ids are mixed.
    pub fn ids(&self, argument: &str) -> Option<Ids> {
        let argument: Value = serde_json::from_str(argument).ok()?;
        let entries = at(&argument, &self.conversations)?.as_array()?;
        let ids = entries.iter().map(|entry| at(entry, &self.id)).collect::<Option<Vec<_>>>()?;
        let numbers = ids.iter().filter(|id| id.is_number()).count();
        let texts = ids.iter().map(|id| text_or_number(id)).collect::<Option<Vec<_>>>()?;
        [0, ids.len()].contains(&numbers).then_some(Ids { texts, are_numbers: numbers > 0 })
    }

    /// Returns the name of the answer, for messages.
    pub fn name(&self) -> &str {
        match self.answer {
            AnswerBy::Event => &self.event,
            AnswerBy::Ack => "acknowledgement",
        }
    }

    /// Returns the form of the argument, for messages.
    pub fn form(&self) -> String {
        let around = |inner: String, path: &str| {
            let names = path.rsplit('.').filter(|name| !name.is_empty());
            names.fold(inner, |inner, name| format!("{{\"{name}\": {inner}}}"))
        };
        around(format!("[{}, ...]", around("id".to_owned(), &self.id)), &self.conversations)
    }
}

impl Refused {
    /// Returns the event that was refused, and the reason. `None` if the argument has another form.
    pub fn read(&self, argument: &str) -> Option<(String, String)> {
        let argument: Value = serde_json::from_str(argument).ok()?;
        let text = |path: &str| Some(at(&argument, path)?.as_str()?.to_owned());
        Some((text(&self.request)?, text(&self.code)?))
    }
}

impl Missed {
    /// Returns what may be lost. `None` if the argument has another form.
    pub fn read(&self, argument: &str) -> Option<Loss> {
        let argument: Value = serde_json::from_str(argument).ok()?;
        let ids = |list: &Value| list.as_array()?.iter().map(text_or_number).collect::<Option<Vec<_>>>();
        let conversations = match at(&argument, &self.conversations).filter(|_| !self.conversations.is_empty()) {
            Some(list) => Some(ids(list)?),
            None => None,
        };
        let is_ongoing = at(&argument, &self.ongoing).and_then(Value::as_bool).unwrap_or(false);
        Some(Loss { conversations, is_ongoing })
    }
}

/// Returns the value at a path of names with dots between them: `user.name`. The empty path is the value itself.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|name| !name.is_empty()).try_fold(value, |value, name| value.get(name))
}

/// Returns a text, or a whole number as text. `None` for another value.
pub fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_what_it_names() {
        assert_eq!(ChatProtocol::parse(""), Ok(ChatProtocol::default()));
        let file = "namespace = \"/\"\necho = true\njoin = { event = \"hello\", username = \"\" }\n\
                    [update]\nevent = \"said\"\nsender = \"user.name\"\n";
        let protocol = ChatProtocol::parse(file).unwrap();
        let expected = ChatProtocol {
            namespace: "/".to_owned(),
            echo: true,
            join: Join { event: "hello".to_owned(), username: String::new(), ..Join::default() },
            update: Update { event: "said".to_owned(), sender: "user.name".to_owned(), ..Update::default() },
            ..ChatProtocol::default()
        };
        assert_eq!(protocol, expected);
    }

    #[test]
    fn the_page_has_each_key_and_its_default() {
        let page = include_str!("../docs/bench.md");
        let rows = page.lines().skip_while(|line| *line != "| key | default | says |").skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).map(|row| {
            let cells = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>();
            (cells[1].to_owned(), cells[2].to_owned())
        });
        let Value::Object(fields) = serde_json::to_value(ChatProtocol::default()).unwrap() else { panic!() };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut keys = std::collections::BTreeMap::new();
        for (name, value) in &fields {
            match value {
                Value::Object(inner) => {
                    keys.extend(inner.iter().map(|(key, value)| (format!("{name}.{key}"), text(value))));
                }
                value => _ = keys.insert(name.clone(), text(value)),
            }
        }
        assert_eq!(rows.collect::<std::collections::BTreeMap<_, _>>(), keys);
    }

    #[test]
    fn the_file_of_the_page_is_understood() {
        let page = include_str!("../docs/bench.md");
        let file = page.split("```").find_map(|block| block.strip_prefix("toml\n")).unwrap();
        let protocol = ChatProtocol::parse(file).unwrap();
        assert_eq!((protocol.namespace.as_str(), protocol.echo, protocol.update.sender.as_str()), ("/", true, "from"));
    }

    #[test]
    fn a_file_that_cannot_be_says_why() {
        let table = [
            ("echo = true\n[tlak]\n", "line 2: unknown field `tlak`, expected one of "),
            ("[talk]\nevnt = \"x\"", "line 2: unknown field `evnt`, expected one of `event`, `conversation`"),
            ("echo = 1", "line 1: invalid type: integer `1`, expected a boolean"),
            ("namespace = \"chat\"", "namespace = \"chat\": a path that begins with a slash"),
            ("[talk]\nid = \"\"", "talk.id is empty: it needs a name"),
            ("[update]\nevent = \"a\\\"b\"", "update.event = \"a\\\"b\": without quotation marks"),
            ("[update]\nevent = \"listening\"", "listening.event and update.event are the same event"),
            ("[listening]\nevent = \"\"", "listening.event is empty: it needs a name"),
            ("[listening]\nanswer = \"acks\"", "line 2: unknown variant `acks`, expected `event` or `ack`"),
        ];
        for (file, message) in table {
            let error = ChatProtocol::parse(file).unwrap_err().to_string();
            assert!(error.starts_with(message), "{file}: {error}");
        }
    }

    #[test]
    fn an_acknowledgement_needs_no_name() {
        let protocol = ChatProtocol::parse("[listening]\nanswer = \"ack\"\nevent = \"\"\n").unwrap();
        assert_eq!((protocol.listening.answer, protocol.listening.name()), (AnswerBy::Ack, "acknowledgement"));
        assert!(ChatProtocol::parse("[listening]\nanswer = \"ack\"\n[update]\nevent = \"listening\"\n").is_ok());
    }

    #[test]
    fn arguments_have_the_form_of_the_file() {
        let join = Join::default();
        assert_eq!(join.argument("ä\"", None), r#"{"username":"ä\""}"#);
        assert_eq!(join.argument("u", Some("t")), r#"{"token":"t","username":"u"}"#);
        assert_eq!(Join { username: String::new(), ..join }.argument("u", Some("t")), r#""u""#);

        let listening = |conversations: &str, id: &str| Listening {
            conversations: conversations.to_owned(),
            id: id.to_owned(),
            ..Listening::default()
        };
        let table = [
            ("conversations", "", r#"{"conversations":["a","b"],"x":1}"#, r#"{"conversations": [id, ...]}"#),
            ("", "", r#"["a","b"]"#, "[id, ...]"),
            ("", "room.id", r#"[{"room":{"id":"a"}},{"room":{"id":"b"}}]"#, r#"[{"room": {"id": id}}, ...]"#),
            ("my.rooms", "", r#"{"my":{"rooms":["a","b"]}}"#, r#"{"my": {"rooms": [id, ...]}}"#),
        ];
        for (conversations, id, argument, form) in table {
            let listening = listening(conversations, id);
            let ids = Ids { texts: vec!["a".to_owned(), "b".to_owned()], are_numbers: false };
            assert_eq!(listening.ids(argument), Some(ids), "{argument}");
            let numbers = argument.replace("\"a\"", "7").replace("\"b\"", "-8");
            let ids = Ids { texts: vec!["7".to_owned(), "-8".to_owned()], are_numbers: true };
            assert_eq!(listening.ids(&numbers), Some(ids), "{numbers}");
            assert_eq!(listening.ids(&argument.replace("\"a\"", "7")), None, "mixed");
            assert_eq!(listening.form(), form);
            for wrong in ["", "{}", r#"{"conversations":[1.5]}"#, "[null]", "7"] {
                assert_eq!(listening.ids(wrong), None, "{wrong}");
            }
        }
        let refused = Refused::default();
        let found = refused.read(r#"{"event":"talk","code":"busy","reason":"x"}"#);
        assert_eq!(found, Some(("talk".to_owned(), "busy".to_owned())));
        assert_eq!(refused.read(r#"{"event":"talk"}"#), None);
    }

    #[test]
    fn a_loss_is_of_some_conversations_or_of_all() {
        let missed = Missed::default();
        let loss = |conversations: Option<&[&str]>, is_ongoing| {
            let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
            Some(Loss { conversations: conversations.map(texts), is_ongoing })
        };
        assert_eq!(missed.read(r#"{"ongoing":true}"#), loss(None, true));
        assert_eq!(missed.read(r#"{"conversations":["a",7],"ongoing":false}"#), loss(Some(&["a", "7"]), false));
        assert_eq!(missed.read("{}"), loss(None, false));
        assert_eq!(missed.read(r#"{"conversations":"a"}"#), None);
        assert_eq!(missed.read("x"), None);
    }
}
