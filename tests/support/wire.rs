//! The texts and bodies of each release of socket.io-client. The encoders and decoders are the tests' own, so that they
//! do not share a mistake with the server.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::heard::Heard;
use super::http::Response;
use super::kind::{Generation, Kind, Release, Way};

/// The character before the length and before the text of each packet, in a body of 0.9 with several packets.
const FRAMING: char = '\u{fffd}';

/// The number of the callback in a client's polls. Its handshake of 0.9 has another one.
const CALLBACK: &str = "3";

/// The content of an open packet, or of the answer to a 0.9 handshake.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Opened {
    pub sid: String,
    /// In milliseconds; 0 in a generation without it.
    #[serde(rename = "pingInterval")]
    ping_interval_ms: u64,
}

impl Opened {
    /// The interval at which an Engine.IO 3 client pings.
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }
}

/// Targets of requests.
impl Kind {
    /// The target that opens a polling session, or any session of 0.9.
    pub fn handshake(self) -> String {
        match (self.generation(), self.way()) {
            (Generation::Sio09, Way::Jsonp) => "/socket.io/1/?t=1700000000000&jsonp=0".to_owned(),
            (Generation::Sio09, _) => "/socket.io/1/?t=1700000000000".to_owned(),
            _ => format!("/socket.io/?{}", self.query("polling")),
        }
    }

    /// The target of a session's polls and POSTs.
    pub fn target(self, sid: &str) -> String {
        match (self.generation(), self.way()) {
            (Generation::Sio09, Way::Jsonp) => {
                format!("/socket.io/1/jsonp-polling/{sid}?t=1700000000001&i={CALLBACK}")
            }
            (Generation::Sio09, _) => format!("/socket.io/1/xhr-polling/{sid}?t=1700000000001"),
            _ => format!("{}&sid={sid}", self.handshake()),
        }
    }

    /// The target of a session's WebSocket. Without a sid it opens the session (Engine.IO).
    pub fn socket_target(self, sid: Option<&str>) -> String {
        match (self.generation(), sid) {
            (Generation::Sio09, sid) => format!("/socket.io/1/websocket/{}", sid.unwrap()),
            (_, None) => format!("/socket.io/?{}", self.query("websocket")),
            (_, Some(sid)) => format!("/socket.io/?{}&sid={sid}", self.query("websocket")),
        }
    }

    fn query(self, transport: &str) -> String {
        let version = if self.release() == Release::V4 { 4 } else { 3 };
        let more = match (self.release(), self.way()) {
            (Release::V4, Way::Jsonp) => format!("&j={CALLBACK}"),
            (_, Way::Jsonp) => format!("&j={CALLBACK}&b64=1"),
            (_, Way::Base64) => "&b64=1".to_owned(),
            _ => String::new(),
        };
        format!("EIO={version}&transport={transport}{more}")
    }
}

/// Bodies.
impl Kind {
    /// Returns the content type and body of a POST with these packets.
    pub fn pack(self, packets: &[&str]) -> (&'static str, String) {
        let payload = match self.release() {
            Release::V4 => packets.join("\x1e"),
            Release::V2 => packets.iter().map(|packet| format!("{}:{packet}", utf16_len(packet))).collect(),
            Release::V1 => {
                let doubled = packets.iter().map(|packet| packet.bytes().map(char::from).collect::<String>());
                doubled.map(|packet| format!("{}:{packet}", utf16_len(&packet))).collect()
            }
            Release::V09 | Release::V08 => match packets {
                [packet] => (*packet).to_owned(),
                packets => {
                    packets.iter().map(|packet| format!("{FRAMING}{}{FRAMING}{packet}", utf16_len(packet))).collect()
                }
            },
        };
        if !self.is_jsonp() {
            return ("text/plain;charset=UTF-8", payload);
        }
        let field = match self.release() {
            Release::V08 => payload,
            Release::V09 => serde_json::json!(payload).to_string(),
            // In a form, a line feed would become CR LF.
            _ => payload.replace("\\n", "\\\n").replace('\n', "\\n"),
        };
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("d", &field).finish();
        ("application/x-www-form-urlencoded", form)
    }

    /// The answer to a POST.
    pub fn taken(self) -> &'static str {
        if self.generation() == Generation::Sio09 { "1" } else { "ok" }
    }

    /// Returns the packets in the answer to a poll.
    pub fn unpack(self, response: &Response) -> Vec<String> {
        let payload = self.payload(response, CALLBACK);
        match self.generation() {
            Generation::Eio4 => payload.split('\x1e').map(str::to_owned).collect(),
            Generation::Eio3 => counted(&payload, "", ":"),
            Generation::Sio09 if payload.starts_with(FRAMING) => counted(&payload, "\u{fffd}", "\u{fffd}"),
            Generation::Sio09 => vec![payload],
        }
    }

    /// Reads the answer to a handshake. Returns its content, and the packets behind the open packet.
    pub fn handshaken(self, response: &Response) -> (Opened, Vec<String>) {
        assert_eq!(response.status, 200, "{response:?}");
        if self.generation() != Generation::Sio09 {
            let mut packets = self.unpack(response).into_iter();
            return (opened(&packets.next().unwrap()), packets.collect());
        }
        let text = self.payload(response, "0");
        let fields: Vec<_> = text.split(':').collect();
        let [sid, heartbeat_s, close_s, transports] = fields[..] else { panic!("no handshake: {text}") };
        // Clients close at once if a value is empty or 0.
        assert!(heartbeat_s.parse::<u32>().unwrap() > 0 && close_s.parse::<u32>().unwrap() > 0, "{text}");
        assert_eq!(transports, "websocket,xhr-polling,jsonp-polling");
        (Opened { sid: sid.to_owned(), ping_interval_ms: 0 }, Vec::new())
    }

    /// Returns the text of a body; for a script, the argument of the callback that it calls.
    fn payload(self, response: &Response, callback: &str) -> String {
        let (body, kind) = (&response.body, response.header("content-type").unwrap_or_default());
        if !self.is_jsonp() {
            assert!(kind.starts_with("text/plain"), "{response:?}");
            return body.clone();
        }
        // Browsers run no other content type, and scripts of that time have no such line ends in strings.
        assert!(kind.starts_with("text/javascript") || kind.starts_with("application/javascript"), "{response:?}");
        assert!(!body.contains(['\u{2028}', '\u{2029}']), "{response:?}");
        let name = if self.generation() == Generation::Sio09 { "io.j" } else { "___eio" };
        let argument = body.strip_prefix(&format!("{name}[{callback}](")).and_then(|rest| rest.strip_suffix(");"));
        let argument = argument.unwrap_or_else(|| panic!("no call of {name}[{callback}]: {body}"));
        serde_json::from_str(argument).unwrap_or_else(|error| panic!("{error} in {body}"))
    }
}

/// Packets.
impl Kind {
    /// Connects to the namespace; `auth` is an object or empty.
    pub fn connect(self, auth: &str) -> String {
        assert!(auth.is_empty() || self.release() == Release::V4, "{self:?} has no auth");
        match self.release() {
            Release::V4 => format!("40/max,{auth}"),
            Release::V2 => "40/max,".to_owned(),
            Release::V1 => "40/max".to_owned(),
            Release::V09 | Release::V08 => "1::/max".to_owned(),
        }
    }

    /// Returns whether these packets answer the first [`Self::connect`] of a session.
    pub fn greets(self, packets: &[String]) -> bool {
        match (self.generation(), packets) {
            (Generation::Eio3, [root, packet]) => root == "40" && self.greets_again(packet),
            (Generation::Eio4 | Generation::Sio09, [packet]) => self.greets_again(packet),
            _ => false,
        }
    }

    /// Returns whether this packet answers a later [`Self::connect`].
    pub fn greets_again(self, packet: &str) -> bool {
        match self.generation() {
            Generation::Eio4 => packet.starts_with(r#"40/max,{"sid":""#),
            Generation::Eio3 => matches!(packet, "40/max," | "40/max"),
            Generation::Sio09 => packet == "1::/max",
        }
    }

    /// Disconnects from the namespace.
    pub fn disconnect(self) -> &'static str {
        match self.release() {
            Release::V4 | Release::V2 => "41/max,",
            Release::V1 => "41/max",
            Release::V09 | Release::V08 => "0::/max",
        }
    }

    /// Ends the session by its transport.
    pub fn close(self) -> &'static str {
        if self.generation() == Generation::Sio09 { "0::" } else { "1" }
    }

    /// An event. An empty `argument` is none.
    pub fn event(self, event: &str, argument: &str, ack: Option<u64>) -> String {
        let id = ack.map(|id| id.to_string()).unwrap_or_default();
        match (self.generation(), argument) {
            (Generation::Sio09, argument) => {
                let id = if ack.is_some() { id + "+" } else { id };
                let arguments = if argument.is_empty() { "" } else { &format!(r#","args":[{argument}]"#) };
                format!(r#"5:{id}:/max:{{"name":"{event}"{arguments}}}"#)
            }
            (_, "") => format!(r#"42/max,{id}["{event}"]"#),
            (_, argument) => format!(r#"42/max,{id}["{event}",{argument}]"#),
        }
    }

    /// Decodes a packet. Packets of the server are plain ASCII, except for releases that decode UTF-8.
    pub fn read(self, packet: String) -> Heard {
        if self.generation() == Generation::Eio4 {
            return read_current(packet, str::to_owned);
        }
        assert!(packet.is_ascii(), "not ASCII: {packet:?}");
        if self.generation() == Generation::Eio3 { read_current(packet, unescaped) } else { read_legacy(packet) }
    }
}

/// Returns the content of an open packet.
pub fn opened(open: &str) -> Opened {
    let json = open.strip_prefix('0').unwrap_or_else(|| panic!("no open packet: {open}"));
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {open}"))
}

/// Rewrites JSON with the shortest form of every string. Other characters stay: numbers keep their digits.
pub fn unescaped(json: &str) -> String {
    let mut plain = String::new();
    let mut rest = json;
    while let Some(begin) = rest.find('"') {
        let mut strings = serde_json::Deserializer::from_str(&rest[begin..]).into_iter::<String>();
        let text = strings.next().unwrap().unwrap_or_else(|error| panic!("{error} in {json}"));
        plain += &rest[..begin];
        plain += &serde_json::json!(text).to_string();
        rest = &rest[begin + strings.byte_offset()..];
    }
    plain + rest
}

fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Splits a payload into packets, each behind `before`, its length in UTF-16 units, and `after`.
fn counted(payload: &str, before: &str, after: &str) -> Vec<String> {
    let mut packets = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let (len, behind) = rest.strip_prefix(before).and_then(|rest| rest.split_once(after)).unwrap();
        let units: Vec<u16> = behind.encode_utf16().take(len.parse().unwrap()).collect();
        let packet = String::from_utf16(&units).unwrap();
        assert_eq!(units.len().to_string(), len, "in {payload:?}");
        rest = &behind[packet.len()..];
        packets.push(packet);
    }
    packets
}

/// Decodes an event or an ack of Engine.IO.
fn read_current(packet: String, plain: impl Fn(&str) -> String) -> Heard {
    if let Some(json) = packet.strip_prefix("42/max,") {
        let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap();
        // A server with its own settings adds an offset.
        let ([name, argument] | [name, argument, _]) = parts[..] else { panic!("an event has one argument: {packet}") };
        return Heard::Event(serde_json::from_str(name.get()).unwrap(), plain(argument.get()));
    }
    if let Some(rest) = packet.strip_prefix("43/max,") {
        let (id, json) = rest.split_at(rest.find('[').unwrap());
        return Heard::Ack(id.parse().unwrap(), plain(only(json, &packet)));
    }
    Heard::Packet(packet)
}

fn read_legacy(packet: String) -> Heard {
    #[derive(Deserialize)]
    struct Event<'a> {
        name: String,
        #[serde(borrow)]
        args: Vec<&'a RawValue>,
    }
    if let Some(json) = packet.strip_prefix("5::/max:") {
        let event: Event<'_> = serde_json::from_str(json).unwrap();
        let [argument] = event.args[..] else { panic!("an event has one argument: {packet}") };
        return Heard::Event(event.name, unescaped(argument.get()));
    }
    if let Some((id, json)) = packet.strip_prefix("6::/max:").and_then(|rest| rest.split_once('+')) {
        return Heard::Ack(id.parse().unwrap(), unescaped(only(json, &packet)));
    }
    Heard::Packet(packet)
}

/// Returns the one value in an array.
fn only<'a>(json: &'a str, packet: &str) -> &'a str {
    let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap();
    let [answer] = parts[..] else { panic!("an answer has one argument: {packet}") };
    answer.get()
}
