//! The packets that a client of each generation sends, and the meaning of those that it receives.

use serde_json::value::RawValue;

use super::update::string;
use crate::bench::protocol::ChatProtocol;
use crate::protocol::engine::Packet;
use crate::protocol::{Generation, legacy, packet};

/// A placeholder for the argument of an event.
const ARGUMENT: &str = "0";

/// The packets of one generation in one namespace.
pub(super) struct Speech {
    pub(super) generation: Generation,
    namespace: String,
    /// The parts of an update's packet before and after its argument.
    update: (String, String),
    talk: Talk,
    /// The part of a packet of 0.9 before the name of the event.
    legacy_event: String,
    /// The names of the events whose argument is of use.
    heard: [String; 4],
}

/// The parts of a talk's packet around its values.
struct Talk {
    conversation: String,
    /// `None` if a talk has no time.
    timestamp: Option<String>,
    id: String,
    end: String,
}

/// The meaning of a packet to a client.
pub(super) enum Said<'a> {
    /// The session has begun; its description in JSON.
    Open(&'a str),
    /// The namespace is entered.
    Connected,
    /// The server refuses the namespace, for this reason.
    Refused(&'a str),
    /// An event, with its first argument.
    Event(&'a str, &'a str),
    /// The acknowledgement of the request with this id, with its first argument.
    Answer(u64, &'a str),
    /// A ping, to be answered.
    Ping,
    /// The session is over.
    Bye,
    /// Nothing to do.
    Nothing,
}

impl Speech {
    pub(super) fn new(generation: Generation, namespace: &str, protocol: &ChatProtocol) -> Self {
        let around_argument = |name: &str| {
            let packet = packet::event(generation, namespace, None, name, &[ARGUMENT]);
            let (head, tail) = packet.rsplit_once(ARGUMENT).unwrap_or_default();
            (head.to_owned(), tail.to_owned())
        };
        let key = |name: &str| serde_json::Value::from(name).to_string();
        let update = around_argument(&protocol.update.event);
        let (head, tail) = around_argument(&protocol.talk.event);
        let timestamp = &protocol.talk.timestamp;
        let talk = Talk {
            conversation: format!("{head}{{{}:", key(&protocol.talk.conversation)),
            timestamp: (!timestamp.is_empty()).then(|| format!(",{}:", key(timestamp))),
            id: format!(",{}:\"", key(&protocol.talk.id)),
            end: format!("\"}}{tail}"),
        };
        let before = around_argument("").0;
        let legacy_event = before.strip_suffix(r#""","args":["#).unwrap_or_default().to_owned();
        let ChatProtocol { update: told, listening, refused, missed, .. } = protocol;
        let heard = [&told.event, &listening.event, &refused.event, &missed.event].map(Clone::clone);
        Self { generation, namespace: namespace.to_owned(), update, talk, legacy_event, heard }
    }

    /// Returns the packet that enters the namespace.
    pub(super) fn connect(&self) -> String {
        match self.generation {
            Generation::Eio4 | Generation::Eio3 if self.namespace == "/" => "40".to_owned(),
            Generation::Eio4 | Generation::Eio3 => format!("40{},", self.namespace),
            Generation::Sio09 => legacy::connect(&self.namespace),
        }
    }

    /// Returns the packet of an event. `argument` is JSON. If there is an `id`, the server is to acknowledge it.
    pub(super) fn event(&self, id: Option<u64>, name: &str, argument: Option<&str>) -> String {
        packet::event(self.generation, &self.namespace, id, name, argument.as_slice())
    }

    /// Returns the packet of a talk. `conversation` is JSON.
    pub(super) fn talk(&self, conversation: &str, timestamp: u64, message_id: &str) -> String {
        let Talk { conversation: before, timestamp: time, id, end } = &self.talk;
        match time {
            Some(time) => format!("{before}{conversation}{time}{timestamp}{id}{message_id}{end}"),
            None => format!("{before}{conversation}{id}{message_id}{end}"),
        }
    }

    /// Returns the answer to a ping.
    pub(super) fn pong(&self) -> &'static str {
        match self.generation {
            Generation::Eio4 | Generation::Eio3 => "3",
            Generation::Sio09 => "2::",
        }
    }

    /// Returns the argument of an update, if the packet is written as servers write it. This is the fast path: `None`
    /// if the packet has to be decoded.
    pub(super) fn update<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        packet.strip_prefix(self.update.0.as_bytes())?.strip_suffix(self.update.1.as_bytes())
    }

    /// Returns the meaning of a packet.
    pub(super) fn understand<'a>(&self, packet: Packet<'a>) -> Said<'a> {
        match packet {
            Packet::Open(json) => Said::Open(json),
            Packet::Close => Said::Bye,
            Packet::Ping(_) => Said::Ping,
            Packet::Pong(_) if self.generation == Generation::Sio09 => Said::Ping,
            Packet::Text(text) if self.generation == Generation::Sio09 => self.legacy(text),
            Packet::Text(text) => self.message(text).unwrap_or(Said::Nothing),
            Packet::Pong(_) | Packet::Binary(_) | Packet::Upgrade | Packet::Noop => Said::Nothing,
        }
    }

    /// Returns the meaning of a Socket.IO packet of Engine.IO 3 and 4. `None` if it is for another namespace, or of a
    /// kind that the bench does not use.
    fn message<'a>(&self, text: &'a str) -> Option<Said<'a>> {
        let (kind, rest) = text.split_at_checked(1)?;
        let data = match (self.namespace.as_str(), rest.starts_with('/')) {
            ("/", false) => rest,
            ("/", true) => return None,
            (namespace, _) => {
                let data = rest.strip_prefix(namespace)?;
                if data.is_empty() { data } else { data.strip_prefix(',')? }
            }
        };
        Some(match kind {
            "0" => Said::Connected,
            "1" => Said::Bye,
            "2" => self.event_in(data.trim_start_matches(|c: char| c.is_ascii_digit()))?,
            "3" => answer_in(data)?,
            "4" => Said::Refused(data),
            _ => return None,
        })
    }

    fn legacy<'a>(&self, text: &'a str) -> Said<'a> {
        let endpoint_is = |endpoint: &str| endpoint == self.namespace || (endpoint.is_empty() && self.namespace == "/");
        if let Some(refusal) = text.strip_prefix('7') {
            return Said::Refused(refusal);
        }
        // The fast path: servers write the name first.
        let event = text.strip_prefix(&self.legacy_event).filter(|_| !self.legacy_event.is_empty());
        if let Some((name, rest)) = event.and_then(string) {
            let argument = rest.strip_prefix(r#","args":["#).and_then(|rest| rest.strip_suffix("]}"));
            return Said::Event(name, argument.unwrap_or_default());
        }
        match legacy::Packet::decode(text) {
            Some(legacy::Packet::Connect { endpoint }) if endpoint_is(endpoint) => Said::Connected,
            Some(legacy::Packet::Disconnect { endpoint }) if endpoint_is(endpoint) => Said::Bye,
            Some(legacy::Packet::Event { endpoint, name: std::borrow::Cow::Borrowed(name), arguments, .. })
                if endpoint_is(endpoint) =>
            {
                Said::Event(name, first(&arguments))
            }
            Some(legacy::Packet::Ack { endpoint, id, arguments }) if endpoint_is(endpoint) => {
                Said::Answer(id, first(&arguments))
            }
            _ => Said::Nothing,
        }
    }

    /// Returns the event in `["name",argument]`. `None` if the array has another form.
    fn event_in<'a>(&self, array: &'a str) -> Option<Said<'a>> {
        let (name, _) = string(array.strip_prefix('[')?)?;
        if !self.heard.iter().any(|heard| heard == name) {
            // Events such as `joined` come in storms, and the bench does not use their argument.
            return Some(Said::Event(name, ""));
        }
        let arguments: Vec<&RawValue> = serde_json::from_str(array).ok()?;
        Some(Said::Event(name, arguments.get(1).map_or("", |argument| argument.get())))
    }
}

/// Returns the answer in `7[argument]`. `None` if it has another form.
fn answer_in(data: &str) -> Option<Said<'_>> {
    let (id, array) = data.split_at(data.find('[')?);
    let arguments: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    Some(Said::Answer(id.parse().ok()?, first(&arguments)))
}

/// Returns the first argument as JSON. Empty if there is none.
fn first<'a>(arguments: &[&'a RawValue]) -> &'a str {
    arguments.first().map_or("", |argument| argument.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    use Generation::{Eio3, Eio4, Sio09};

    fn understood(generation: Generation, namespace: &str, text: &str) -> String {
        let speech = Speech::new(generation, namespace, &ChatProtocol::default());
        match speech.understand(Packet::from_text(generation, text).unwrap()) {
            Said::Open(json) => format!("open {json}"),
            Said::Connected => "connected".to_owned(),
            Said::Refused(why) => format!("refused {why}"),
            Said::Event(name, argument) => format!("event {name} {argument}"),
            Said::Answer(id, argument) => format!("answer {id} {argument}"),
            Said::Ping => "ping".to_owned(),
            Said::Bye => "bye".to_owned(),
            Said::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn every_generation_is_understood() {
        let table = [
            (Eio4, "/max", r#"0{"sid":"x"}"#, r#"open {"sid":"x"}"#),
            (Eio4, "/max", r#"40/max,{"sid":"y"}"#, "connected"),
            (Eio4, "/", r#"40{"sid":"y"}"#, "connected"),
            (Eio4, "/", r#"40/max,{"sid":"y"}"#, "nothing"),
            (Eio4, "/max", r#"44/max,{"message":"no"}"#, r#"refused {"message":"no"}"#),
            (Eio4, "/max", r#"42/max,["listening",{"conversations":[]}]"#, r#"event listening {"conversations":[]}"#),
            (Eio4, "/max", r#"42/max,7["refused",1,2]"#, "event refused 1"),
            (Eio4, "/max", r#"42/max,["x"]"#, "event x "),
            (Eio4, "/max", r#"42["x",1]"#, "nothing"),
            (Eio4, "/", r#"42["x",1]"#, "event x "),
            (Eio4, "/max", r#"43/max,1[{"rooms":[7]},2]"#, r#"answer 1 {"rooms":[7]}"#),
            (Eio4, "/", "432[]", "answer 2 "),
            (Eio4, "/", "43[]", "nothing"),
            (Eio4, "/max", "431[]", "nothing"),
            (Eio3, "/max", "43/max,1[7]", "answer 1 7"),
            (Sio09, "/max", "6::/max:1+[7]", "answer 1 7"),
            (Sio09, "/max", "6::/max:2", "answer 2 "),
            (Sio09, "/max", "6:::2", "nothing"),
            (Eio4, "/max", "2", "ping"),
            (Eio4, "/max", "1", "bye"),
            (Eio4, "/max", "41/max,", "bye"),
            (Eio4, "/max", "6", "nothing"),
            (Eio3, "/max", "40", "nothing"),
            (Eio3, "/max", "40/max,", "connected"),
            (Eio3, "/max", "40/max", "connected"),
            (Eio3, "/max", "3", "nothing"),
            (Sio09, "/max", "1::", "nothing"),
            (Sio09, "/max", "1::/max", "connected"),
            (Sio09, "/max", "2::", "ping"),
            (Sio09, "/max", "8::", "nothing"),
            (Sio09, "/max", "0::", "bye"),
            (Sio09, "/max", "7:::1+0", "refused :::1+0"),
            (Sio09, "/max", r#"5::/max:{"name":"x","args":[{"a":1}]}"#, r#"event x {"a":1}"#),
            (Sio09, "/max", r#"5::/max:{"args":[{"a":1}],"name":"x"}"#, r#"event x {"a":1}"#),
            (Sio09, "/max", r#"5::/max:{"name":"x"}"#, "event x "),
        ];
        for (generation, namespace, text, meaning) in table {
            assert_eq!(understood(generation, namespace, text), meaning, "{generation:?} {namespace} {text}");
        }
    }

    #[test]
    fn an_update_is_found_at_once() {
        for generation in Generation::ALL {
            for namespace in ["/max", "/"] {
                let speech = Speech::new(generation, namespace, &ChatProtocol::default());
                let packet = speech.event(None, "update", Some(r#"{"a":0}"#));
                assert_eq!(speech.update(packet.as_bytes()), Some(&br#"{"a":0}"#[..]), "{packet}");
                assert_eq!(speech.update(speech.event(None, "joined", Some("{}")).as_bytes()), None);
                let talk = speech.event(None, "talk", Some(r#"{"conversation":"c","timestamp":1,"messageID":"m"}"#));
                assert_eq!(speech.talk(r#""c""#, 1, "m"), talk);
            }
        }
    }

    #[test]
    fn the_events_have_the_names_of_the_protocol() {
        let file = "[talk]\nevent = \"say\"\nconversation = \"room\"\ntimestamp = \"\"\nid = \"text\"\n\
                    [update]\nevent = \"said\"";
        let protocol = ChatProtocol::parse(file).unwrap();
        for generation in Generation::ALL {
            let speech = Speech::new(generation, "/", &protocol);
            let talk = speech.event(None, "say", Some(r#"{"room":"c","text":"m"}"#));
            assert_eq!(speech.talk(r#""c""#, 1, "m"), talk);
            let said = speech.event(None, "said", Some("{}"));
            assert_eq!(speech.update(said.as_bytes()), Some(&b"{}"[..]));
            assert_eq!(speech.update(speech.event(None, "update", Some("{}")).as_bytes()), None);
        }
    }
}
