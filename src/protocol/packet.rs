//! Socket.IO packets over Engine.IO: the text `<type>[<attachments>-][<nsp>,][<id>][<json>]`.
//!
//! [`Packet::decode`] reads what stands behind Engine.IO's `4`; the encoders write that `4` too, since each of their
//! packets is sent as an Engine.IO message. JSON is checked, never built: payloads stay slices of the text that came.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Generation, ProtocolError};

/// More attachments than these are refused before anything is kept.
pub const ATTACHMENTS_MAX: usize = 10;

/// The name of a namespace may take up this many bytes.
pub const NAMESPACE_BYTES_MAX: usize = 256;

/// Events that Socket.IO itself raises: no peer may send them.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// What a Socket.IO packet is. The discriminants are the types on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `0`: asks for a namespace, or grants it.
    Connect = 0,
    /// `1`: leaves a namespace.
    Disconnect = 1,
    /// `2`
    Event = 2,
    /// `3`: answers an event that had an id.
    Ack = 3,
    /// `4`: refuses a namespace; only servers send it.
    ConnectError = 4,
    /// `5`: an event whose binary arguments follow.
    BinaryEvent = 5,
    /// `6`: likewise an ack.
    BinaryAck = 6,
}

impl Kind {
    fn parse(digit: char) -> Option<Self> {
        Some(match digit {
            '0' => Self::Connect,
            '1' => Self::Disconnect,
            '2' => Self::Event,
            '3' => Self::Ack,
            '4' => Self::ConnectError,
            '5' => Self::BinaryEvent,
            '6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// Whether binary messages may follow.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// One Socket.IO packet as it arrived, its text checked to be `<type>[<attachments>-][<nsp>,][<id>][<json>]`.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The type.
    pub kind: Kind,
    /// Binary messages that follow; 0 unless the kind is binary. At most [`ATTACHMENTS_MAX`].
    pub attachments: usize,
    /// `/` where the text has none. Never with a query.
    pub namespace: &'a str,
    /// The ack id.
    pub id: Option<u64>,
    /// Valid JSON of any depth, if there is any: an object for CONNECT, an array for acks and for events, whose first
    /// element is a name that a client may send, or a number. None for DISCONNECT.
    pub data: Option<&'a RawValue>,
}

impl<'a> Packet<'a> {
    /// Reads the text of an Engine.IO message (behind its `4`).
    ///
    /// # Errors
    /// [`ProtocolError::Attachments`] for too many attachments, [`ProtocolError::Packet`] for everything else, the
    /// JSON and its shape included.
    pub fn decode(generation: Generation, text: &'a str) -> Result<Self, ProtocolError> {
        let mut chars = text.chars();
        let kind = chars.next().and_then(Kind::parse).ok_or(ProtocolError::Packet)?;
        let (attachments, rest) =
            if kind.is_binary() { take_attachments(chars.as_str())? } else { (0, chars.as_str()) };
        let (namespace, rest) = take_namespace(rest);
        // The refusal of a namespace repeats its name.
        if namespace.len() > NAMESPACE_BYTES_MAX {
            return Err(ProtocolError::Packet);
        }
        let (id, rest) = take_id(rest)?;
        let data = match rest {
            "" => None,
            // RawValue checks without recursion and keeps nothing, however deep the JSON is.
            json => Some(serde_json::from_str::<&RawValue>(json).map_err(|_| ProtocolError::Packet)?),
        };
        if let Some(data) = data {
            check_shape(generation, kind, data)?;
        }
        Ok(Self { kind, attachments, namespace, id, data })
    }
}

/// `<digits>-`
fn take_attachments(text: &str) -> Result<(usize, &str), ProtocolError> {
    let (digits, rest) = take_digits(text);
    let rest = rest.strip_prefix('-').filter(|_| !digits.is_empty()).ok_or(ProtocolError::Packet)?;
    match digits.parse() {
        Ok(attachments) if attachments <= ATTACHMENTS_MAX => Ok((attachments, rest)),
        _ => Err(ProtocolError::Attachments),
    }
}

/// `/<namespace>,`, of which the comma may be missing at the end of the text. A query means nothing to the namespace:
/// older clients hang one on.
fn take_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    (namespace.split_once('?').map_or(namespace, |(path, _)| path), rest)
}

fn take_id(text: &str) -> Result<(Option<u64>, &str), ProtocolError> {
    match take_digits(text) {
        ("", rest) => Ok((None, rest)),
        (digits, rest) => Ok((Some(digits.parse().map_err(|_| ProtocolError::Packet)?), rest)),
    }
}

fn take_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn check_shape(generation: Generation, kind: Kind, data: &RawValue) -> Result<(), ProtocolError> {
    let fits = match kind {
        Kind::Connect => match generation {
            Generation::Eio4 => data.get().starts_with('{'),
        },
        Kind::Disconnect => false,
        Kind::Event | Kind::BinaryEvent => event_name(data)?.is_none_or(|name| !RESERVED.contains(&&*name)),
        Kind::Ack | Kind::BinaryAck => data.get().starts_with('['),
        // No client may send it, whatever it says.
        Kind::ConnectError => true,
    };
    if fits { Ok(()) } else { Err(ProtocolError::Packet) }
}

/// The name of an event: the first element of its array, decoded. `None` for a name that no event can have, which the
/// protocol takes and nobody listens to: a number, or a string with a lone surrogate.
///
/// # Errors
/// [`ProtocolError::Packet`] where there is no array, it is empty, or it begins with anything else (CVE-2023-32695).
pub fn event_name(data: &RawValue) -> Result<Option<Cow<'_, str>>, ProtocolError> {
    let elements = data.get().strip_prefix('[').ok_or(ProtocolError::Packet)?;
    // Reads the first element and leaves the others alone; of an empty array it fails at the bracket.
    let first = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(elements))
        .map_err(|_| ProtocolError::Packet)?
        .get();
    match first.as_bytes().first() {
        Some(b'"') => Ok(decode_string(first)),
        Some(b'-' | b'0'..=b'9') => Ok(None),
        _ => Err(ProtocolError::Packet),
    }
}

/// The text of a valid JSON string, quotes included; `None` where a lone surrogate makes it no text.
fn decode_string(json: &str) -> Option<Cow<'_, str>> {
    if json.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        json.get(1..json.len() - 1).map(Cow::Borrowed)
    }
}

/// The elements of the array of an event or ack.
///
/// # Errors
/// [`ProtocolError::Packet`] where it is not an array.
pub fn arguments(data: &RawValue) -> Result<Vec<&RawValue>, ProtocolError> {
    serde_json::from_str(data.get()).map_err(|_| ProtocolError::Packet)
}

/// The indices of all `{"_placeholder":true,"num":n}` in the arguments have to be below the number of attachments.
/// As in JavaScript, of a key given twice the last counts.
///
/// # Errors
/// [`ProtocolError::Attachments`]
pub fn check_placeholders(data: &RawValue, attachments: usize) -> Result<(), ProtocolError> {
    /// What an object says of itself; an array says nothing.
    #[derive(Default)]
    struct Container {
        placeholder: bool,
        in_range: bool,
    }
    enum Key {
        Placeholder,
        Num,
        Other,
    }
    // A walk over tokens, with a stack of our own: the text is valid JSON, but of any depth.
    let mut open: Vec<Container> = Vec::new();
    let mut key = Key::Other;
    let mut rest = data.get();
    while let Some(&byte) = rest.as_bytes().first() {
        let (token, after) = rest.split_at(token_len(rest));
        rest = after.trim_ascii_start();
        match byte {
            b'{' | b'[' => {
                open.push(Container::default());
                key = Key::Other;
            }
            b'}' | b']' => {
                if open.pop().is_some_and(|object| object.placeholder && !object.in_range) {
                    return Err(ProtocolError::Attachments);
                }
            }
            b',' | b':' => {}
            b'"' if rest.starts_with(':') => {
                let Some(object) = open.last_mut() else { continue };
                key = match decode_string(token).as_deref() {
                    Some("_placeholder") => Key::Placeholder,
                    Some("num") => Key::Num,
                    _ => Key::Other,
                };
                match key {
                    Key::Placeholder => object.placeholder = false,
                    Key::Num => object.in_range = false,
                    Key::Other => {}
                }
            }
            _ => {
                let Some(object) = open.last_mut() else { continue };
                match key {
                    Key::Placeholder => object.placeholder = token == "true",
                    Key::Num => object.in_range = token.parse().is_ok_and(|num: usize| num < attachments),
                    Key::Other => {}
                }
                key = Key::Other;
            }
        }
    }
    Ok(())
}

/// The length of the token at the front of valid JSON that does not begin with white space; never 0.
fn token_len(json: &str) -> usize {
    let mut bytes = json.bytes().enumerate().skip(1);
    match json.as_bytes().first() {
        Some(b'"') => {
            while let Some((at, byte)) = bytes.next() {
                match byte {
                    b'"' => return at + 1,
                    b'\\' => _ = bytes.next(),
                    _ => {}
                }
            }
            json.len()
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') | None => 1.min(json.len()),
        Some(_) => bytes
            .find(|(_, byte)| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace())
            .map_or(json.len(), |(at, _)| at),
    }
}

/// Grants a namespace: `40/max,{"sid":"…"}`. The sid is the Socket.IO one, which is no secret.
pub fn connect(generation: Generation, namespace: &str, sid: &str) -> String {
    let mut packet = head(Kind::Connect, None, namespace, None);
    match generation {
        Generation::Eio4 => {
            packet.push_str(r#"{"sid":"#);
            push_string(generation, &mut packet, sid);
            packet.push('}');
        }
    }
    packet
}

/// Refuses a namespace: `44/nope,{"message":"Invalid namespace"}`.
pub fn connect_error(generation: Generation, namespace: &str, message: &str) -> String {
    let mut packet = head(Kind::ConnectError, None, namespace, None);
    match generation {
        Generation::Eio4 => {
            packet.push_str(r#"{"message":"#);
            push_string(generation, &mut packet, message);
            packet.push('}');
        }
    }
    packet
}

/// Ends a namespace: `41/max,`. A client does not come back by itself after it.
pub fn disconnect(namespace: &str) -> String {
    head(Kind::Disconnect, None, namespace, None)
}

/// An event: `42/max,["name",…]`, or `42/max,7["name",…]` where an ack is asked for. The arguments are JSON already.
pub fn event(generation: Generation, namespace: &str, id: Option<u64>, name: &str, arguments: &[&str]) -> String {
    named(generation, head(Kind::Event, None, namespace, id), name, arguments)
}

/// The answer to the event that had this id: `43/max,7[…]`. The arguments are JSON already.
pub fn ack(namespace: &str, id: u64, arguments: &[&str]) -> String {
    elements(head(Kind::Ack, None, namespace, Some(id)), arguments)
}

/// Like [`event`], with placeholders for the binary messages that have to follow: `451-/max,["name",…]`.
pub fn binary_event(
    generation: Generation,
    namespace: &str,
    attachments: usize,
    id: Option<u64>,
    name: &str,
    arguments: &[&str],
) -> String {
    named(generation, head(Kind::BinaryEvent, Some(attachments), namespace, id), name, arguments)
}

/// Like [`ack`], with placeholders for the binary messages that have to follow: `461-/max,7[…]`.
pub fn binary_ack(namespace: &str, attachments: usize, id: u64, arguments: &[&str]) -> String {
    elements(head(Kind::BinaryAck, Some(attachments), namespace, Some(id)), arguments)
}

/// Everything before the JSON, Engine.IO's `4` included.
fn head(kind: Kind, attachments: Option<usize>, namespace: &str, id: Option<u64>) -> String {
    // Writing into a string cannot fail.
    let mut packet = String::from("4");
    _ = write!(packet, "{}", kind as u8);
    if let Some(attachments) = attachments {
        _ = write!(packet, "{attachments}-");
    }
    if namespace != "/" {
        packet.push_str(namespace);
        packet.push(',');
    }
    if let Some(id) = id {
        _ = write!(packet, "{id}");
    }
    packet
}

fn named(generation: Generation, mut packet: String, name: &str, arguments: &[&str]) -> String {
    packet.push('[');
    push_string(generation, &mut packet, name);
    for argument in arguments {
        packet.push(',');
        packet.push_str(argument);
    }
    packet.push(']');
    packet
}

fn elements(mut packet: String, arguments: &[&str]) -> String {
    packet.push('[');
    for (at, argument) in arguments.iter().enumerate() {
        packet.push_str(if at == 0 { "" } else { "," });
        packet.push_str(argument);
    }
    packet.push(']');
    packet
}

fn push_string(generation: Generation, packet: &mut String, text: &str) {
    match generation {
        Generation::Eio4 => _ = write!(packet, "{}", serde_json::Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIO4: Generation = Generation::Eio4;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn decodes_packets() {
        use Kind::*;
        type Row = (&'static str, Kind, usize, &'static str, Option<u64>, Option<&'static str>);
        let table: &[Row] = &[
            ("0", Connect, 0, "/", None, None),
            (r#"0{"token":"x"}"#, Connect, 0, "/", None, Some(r#"{"token":"x"}"#)),
            ("0/max,", Connect, 0, "/max", None, None),
            ("0/max", Connect, 0, "/max", None, None),
            ("0/max/,", Connect, 0, "/max/", None, None),
            (r#"0/max,{"token":"x"}"#, Connect, 0, "/max", None, Some(r#"{"token":"x"}"#)),
            ("0/max?x=1&y=2,", Connect, 0, "/max", None, None),
            ("0/max?x=1&y=2", Connect, 0, "/max", None, None),
            ("0/?x=1,{}", Connect, 0, "/", None, Some("{}")),
            ("1", Disconnect, 0, "/", None, None),
            ("1/max,", Disconnect, 0, "/max", None, None),
            (r#"2["a"]"#, Event, 0, "/", None, Some(r#"["a"]"#)),
            (r#"2/max,["join",{"username":"u0"}]"#, Event, 0, "/max", None, Some(r#"["join",{"username":"u0"}]"#)),
            (r#"2/max,7["join",{}]"#, Event, 0, "/max", Some(7), Some(r#"["join",{}]"#)),
            (r#"27["a"]"#, Event, 0, "/", Some(7), Some(r#"["a"]"#)),
            (r#"2/max,007["a"]"#, Event, 0, "/max", Some(7), Some(r#"["a"]"#)),
            (r#"218446744073709551615["a"]"#, Event, 0, "/", Some(u64::MAX), Some(r#"["a"]"#)),
            (r#"2/max, [ "a" , 1 ] "#, Event, 0, "/max", None, Some(r#"[ "a" , 1 ]"#)),
            (r#"2["error"]"#, Event, 0, "/", None, Some(r#"["error"]"#)),
            ("2[1]", Event, 0, "/", None, Some("[1]")),
            ("2[-1.5e3]", Event, 0, "/", None, Some("[-1.5e3]")),
            (r#"2["\ud800"]"#, Event, 0, "/", None, Some(r#"["\ud800"]"#)),
            ("2/max,", Event, 0, "/max", None, None),
            ("2/max,7", Event, 0, "/max", Some(7), None),
            (r#"3/max,7[{"ok":true}]"#, Ack, 0, "/max", Some(7), Some(r#"[{"ok":true}]"#)),
            ("3/max,7[]", Ack, 0, "/max", Some(7), Some("[]")),
            ("3/max,7", Ack, 0, "/max", Some(7), None),
            (r#"3["connect"]"#, Ack, 0, "/", None, Some(r#"["connect"]"#)),
            ("3[{}]", Ack, 0, "/", None, Some("[{}]")),
            (r#"4/nope,"no""#, ConnectError, 0, "/nope", None, Some(r#""no""#)),
            ("4", ConnectError, 0, "/", None, None),
            (
                r#"52-/max,12["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                BinaryEvent,
                2,
                "/max",
                Some(12),
                Some(r#"["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#),
            ),
            (r#"51-["e"]"#, BinaryEvent, 1, "/", None, Some(r#"["e"]"#)),
            (r#"50-["e"]"#, BinaryEvent, 0, "/", None, Some(r#"["e"]"#)),
            (r#"510-["e"]"#, BinaryEvent, 10, "/", None, Some(r#"["e"]"#)),
            ("61-/max,12[{}]", BinaryAck, 1, "/max", Some(12), Some("[{}]")),
        ];
        for (text, kind, attachments, namespace, id, data) in table {
            let packet = Packet::decode(EIO4, text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let read = (packet.kind, packet.attachments, packet.namespace, packet.id, packet.data.map(RawValue::get));
            assert_eq!(read, (*kind, *attachments, *namespace, *id, *data), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_packet() {
        let table = [
            "",
            "abc",
            "7",
            "é",
            // Payloads of the wrong shape.
            "0/max,[]",
            r#"0"x""#,
            "0null",
            "1/max,{}",
            "1[]",
            "2/max,{}",
            "2/max,[]",
            "2/max,[ ]",
            r#"2"a""#,
            "2null",
            "3{}",
            "3null",
            r#"6"x""#,
            "61-{}",
            // JSON that is none.
            r#"2/max,abc["x"]"#,
            r#"2["a""#,
            r#"2["a"]]"#,
            r#"2["a"]["b"]"#,
            r#"2["a",]"#,
            r#"2["a",01]"#,
            r#"2["a",NaN]"#,
            "2['a']",
            "2[\"\n\"]",
            "2/max,7-",
            "0/max,{",
            // Names: reserved, or of a type that has no name (CVE-2023-32695).
            r#"2["connect"]"#,
            r#"2["connect_error"]"#,
            r#"2["disconnect"]"#,
            r#"2["disconnecting"]"#,
            r#"2["newListener"]"#,
            r#"2["removeListener"]"#,
            r#"2[ "c\u006fnnect" ]"#,
            r#"2[{"toString":"foo"}]"#,
            "2[[]]",
            "2[null]",
            "2[true]",
            "2[false]",
            r#"51-["connect"]"#,
            "50-[null]",
            "50-[]",
            // Ids.
            r#"218446744073709551616["a"]"#,
            r#"2-1["a"]"#,
            r#"2/max,1.5["a"]"#,
            // Attachments.
            "5",
            "5-",
            r#"5["a"]"#,
            r#"51["a"]"#,
            r#"5x-["a"]"#,
            r#"5-1-["a"]"#,
            r#"51.5-["a"]"#,
            r#"5/max,1-["a"]"#,
            r#"21-["a"]"#,
        ];
        for text in table {
            assert_eq!(Packet::decode(EIO4, text).err(), Some(ProtocolError::Packet), "{text}");
        }
        for text in ["511-[\"a\"]", "51000000-", "599999999999999999999999-[\"a\"]", "611-[]"] {
            assert_eq!(Packet::decode(EIO4, text).err(), Some(ProtocolError::Attachments), "{text}");
        }
    }

    #[test]
    fn names_are_decoded() {
        let name = |json| event_name(raw(json)).map(|name| name.map(Cow::into_owned));
        assert_eq!(name(r#"["talk",1]"#), Ok(Some("talk".into())));
        assert_eq!(name(r#"[ "t\u0061lk\n\"€" ]"#), Ok(Some("talk\n\"€".into())));
        assert_eq!(name(r#"[""]"#), Ok(Some("".into())));
        assert_eq!(name("[12,{}]"), Ok(None));
        assert_eq!(name(r#"["\udc00x"]"#), Ok(None));
        for json in ["[]", "{}", "1", r#""talk""#, "[{}]", "[[\"talk\"]]", "[null]", "[true]"] {
            assert_eq!(name(json), Err(ProtocolError::Packet), "{json}");
        }
        assert!(matches!(event_name(raw(r#"["talk"]"#)), Ok(Some(Cow::Borrowed("talk")))));
    }

    #[test]
    fn arguments_are_the_json_that_came() {
        let elements: Vec<_> =
            arguments(raw(r#"[ "a" , 1.0, {"k": [1,"]"]},"\ud800"]"#)).unwrap().iter().map(|json| json.get()).collect();
        assert_eq!(elements, [r#""a""#, "1.0", r#"{"k": [1,"]"]}"#, r#""\ud800""#]);
        assert!(arguments(raw("[]")).unwrap().is_empty());
        assert_eq!(arguments(raw("{}")).err(), Some(ProtocolError::Packet));
    }

    #[test]
    fn placeholders_stay_below_their_attachments() {
        let table = [
            (r#"["e"]"#, 0, true),
            (r#"["e",{"_placeholder":true,"num":0}]"#, 1, true),
            (r#"["e",{"_placeholder":true,"num":0}]"#, 0, false),
            (r#"["e",{"_placeholder":true,"num":1}]"#, 1, false),
            (r#"["e",{"num":1,"_placeholder":true}]"#, 1, false),
            (r#"["e", { "num" : 1 , "_placeholder" : true } ]"#, 2, true),
            (r#"["e",{"_placeholder":true,"num":-1}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":0.5}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":1e18}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":99999999999999999999999}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":"0"}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":[0]}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":null}]"#, 1, false),
            (r#"["e",{"_placeholder":true}]"#, 1, false),
            (r#"["e",{"\u005fplaceholder":true,"num":9}]"#, 1, false),
            (r#"["e",{"a":[[{"b":{"_placeholder":true,"num":9}}]]}]"#, 1, false),
            (r#"["e",{"__proto__":{"_placeholder":true,"num":9}}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":9,"num":0}]"#, 1, true),
            (r#"["e",{"_placeholder":true,"num":0,"num":9}]"#, 1, false),
            (r#"["e",{"_placeholder":true,"num":0,"num":{}}]"#, 1, false),
            (r#"["e",{"a":"\\","b\"":"\"","_placeholder":true,"num":9}]"#, 1, false),
            // None of these is a placeholder.
            (r#"["e",{"_placeholder":false,"num":9}]"#, 1, true),
            (r#"["e",{"_placeholder":"true","num":9}]"#, 1, true),
            (r#"["e",{"_placeholder":[true],"num":9}]"#, 1, true),
            (r#"["e",{"_placeholder":{"num":0},"num":9}, true]"#, 1, true),
            (r#"["e",{"num":9}]"#, 1, true),
            (r#"["e","_placeholder",true,"{\"_placeholder\":true,\"num\":9}"]"#, 1, true),
            (r#"["e",[{"_placeholder":1},true]]"#, 1, true),
        ];
        for (json, attachments, fits) in table {
            let expected = if fits { Ok(()) } else { Err(ProtocolError::Attachments) };
            assert_eq!(check_placeholders(raw(json), attachments), expected, "{json}");
        }
    }

    #[test]
    fn depth_costs_nothing() {
        // A stack of 64 KiB holds no recursion over 10^5 levels.
        let work = || {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
                let json = format!(r#"["e",{}0{}]"#, open.repeat(100_000), close.repeat(100_000));
                let text = format!("50-{json}");
                let data = Packet::decode(EIO4, &text).unwrap().data.unwrap();
                assert_eq!(event_name(data).unwrap().as_deref(), Some("e"));
                assert_eq!(arguments(data).unwrap().len(), 2);
                assert_eq!(check_placeholders(data, 0), Ok(()));
            }
            assert!(Packet::decode(EIO4, &format!(r#"2["e",{}"#, "[".repeat(100_000))).is_err());
        };
        std::thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn encodes_the_packets_of_a_server() {
        let table = [
            (connect(EIO4, "/max", "BTV9dxu_N7tsVUVEAADX"), r#"40/max,{"sid":"BTV9dxu_N7tsVUVEAADX"}"#),
            (connect(EIO4, "/", "x"), r#"40{"sid":"x"}"#),
            (connect_error(EIO4, "/nope", "Invalid namespace"), r#"44/nope,{"message":"Invalid namespace"}"#),
            (disconnect("/max"), "41/max,"),
            (disconnect("/"), "41"),
            (event(EIO4, "/max", None, "update", &[r#"{"a":1}"#, "2"]), r#"42/max,["update",{"a":1},2]"#),
            (event(EIO4, "/", Some(1), "a\"b", &[]), r#"421["a\"b"]"#),
            (ack("/max", 7, &[r#"{"ok":true}"#]), r#"43/max,7[{"ok":true}]"#),
            (ack("/max", 7, &[]), "43/max,7[]"),
            (ack("/", 0, &["1", "2"]), "430[1,2]"),
            (
                binary_event(EIO4, "/max", 1, Some(12), "e", &[r#"{"_placeholder":true,"num":0}"#]),
                r#"451-/max,12["e",{"_placeholder":true,"num":0}]"#,
            ),
            (
                binary_ack("/max", 1, 12, &[r#"{"_placeholder":true,"num":0}"#]),
                r#"461-/max,12[{"_placeholder":true,"num":0}]"#,
            ),
        ];
        for (packet, expected) in table {
            assert_eq!(packet, expected);
        }
    }
}
