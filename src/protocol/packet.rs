//! Socket.IO packets over Engine.IO: the text `<type>[<attachments>-][<nsp>,][<id>][<json>]`.
//!
//! [`Packet::decode`] reads the text after Engine.IO's `4`. The encoders write that `4` too, because each of their
//! packets is sent as an Engine.IO message. JSON is checked but not parsed into values: payloads stay slices of the
//! text. Packets for Socket.IO 0.7 to 0.9 go through the same encoders, which leave them to [`super::legacy`], so that
//! callers need not tell the generations apart. All JSON for these and for Engine.IO 3 is ASCII.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, decode_string};
use super::text::{NAMESPACE_BYTES_MAX, take_digits, without_query};
use super::{Generation, ProtocolError, legacy};

/// The largest number of attachments. More are refused before anything is kept.
pub const ATTACHMENTS_MAX: usize = 10;

/// Events that Socket.IO itself raises, so that no peer may send them.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The type of a Socket.IO packet. The discriminants are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `0`: asks for a namespace, or grants it.
    Connect = 0,
    /// `1`: leaves a namespace.
    Disconnect = 1,
    /// `2`: an event.
    Event = 2,
    /// `3`: answers an event that had an id.
    Ack = 3,
    /// `4`: refuses a namespace. Only servers send it.
    ConnectError = 4,
    /// `5`: an event whose binary arguments follow.
    BinaryEvent = 5,
    /// `6`: an ack whose binary arguments follow.
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

    /// Returns whether binary messages may follow.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// One Socket.IO packet as it arrived. Its text has been checked to be `<type>[<attachments>-][<nsp>,][<id>][<json>]`.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The type.
    pub kind: Kind,
    /// The number of binary messages that follow: at most [`ATTACHMENTS_MAX`], and 0 unless the kind is binary.
    pub attachments: usize,
    /// The namespace without a query: `/` if the text has none.
    pub namespace: &'a str,
    /// The ack id.
    pub id: Option<u64>,
    /// The JSON, valid and of any depth, if there is any. It is an object for CONNECT (any value in Engine.IO 3),
    /// and an array for acks and events. The first element of an event is a number, or a name that a client may send.
    /// DISCONNECT has no JSON.
    pub data: Option<&'a RawValue>,
}

impl<'a> Packet<'a> {
    /// Reads the text of an Engine.IO message, after its `4`.
    ///
    /// # Errors
    /// [`ProtocolError::Attachments`] for too many attachments, and [`ProtocolError::Packet`] for all other errors,
    /// including those in the JSON and its shape.
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
            // RawValue checks the JSON without recursion or memory, however deep it is.
            json => Some(serde_json::from_str::<&RawValue>(json).map_err(|_| ProtocolError::Packet)?),
        };
        if let Some(data) = data {
            check_shape(generation, kind, data)?;
        }
        Ok(Self { kind, attachments, namespace, id, data })
    }
}

/// Takes `<digits>-` from the front.
fn take_attachments(text: &str) -> Result<(usize, &str), ProtocolError> {
    let (digits, rest) = take_digits(text);
    let rest = rest.strip_prefix('-').filter(|_| !digits.is_empty()).ok_or(ProtocolError::Packet)?;
    match digits.parse() {
        Ok(attachments) if attachments <= ATTACHMENTS_MAX => Ok((attachments, rest)),
        _ => Err(ProtocolError::Attachments),
    }
}

/// Takes `/<namespace>,` from the front; the comma may be missing at the end of the text. The query that older clients
/// append is ignored.
fn take_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    (without_query(namespace), rest)
}

fn take_id(text: &str) -> Result<(Option<u64>, &str), ProtocolError> {
    match take_digits(text) {
        ("", rest) => Ok((None, rest)),
        (digits, rest) => Ok((Some(digits.parse().map_err(|_| ProtocolError::Packet)?), rest)),
    }
}

fn check_shape(generation: Generation, kind: Kind, data: &RawValue) -> Result<(), ProtocolError> {
    let fits = match kind {
        Kind::Connect => match generation {
            Generation::Eio4 | Generation::Sio09 => data.get().starts_with('{'),
            Generation::Eio3 => true,
        },
        Kind::Disconnect => false,
        Kind::Event | Kind::BinaryEvent => event_name(data)?.is_none_or(|name| !RESERVED.contains(&&*name)),
        Kind::Ack | Kind::BinaryAck => data.get().starts_with('['),
        // No client may send it, so its shape does not matter.
        Kind::ConnectError => true,
    };
    if fits { Ok(()) } else { Err(ProtocolError::Packet) }
}

/// Returns the name of an event: the first element of its array, decoded. `None` if it is a number or a string with a
/// lone surrogate, which the protocol allows but no listener can have.
///
/// # Errors
/// [`ProtocolError::Packet`] if there is no array, or it is empty, or its first element is neither a string nor a
/// number (CVE-2023-32695).
pub fn event_name(data: &RawValue) -> Result<Option<Cow<'_, str>>, ProtocolError> {
    let elements = data.get().strip_prefix('[').ok_or(ProtocolError::Packet)?;
    // Reads only the first element. In an empty array it fails at the bracket.
    let first = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(elements))
        .map_err(|_| ProtocolError::Packet)?
        .get();
    match first.as_bytes().first() {
        Some(b'"') => Ok(decode_string(first)),
        Some(b'-' | b'0'..=b'9') => Ok(None),
        _ => Err(ProtocolError::Packet),
    }
}

/// Returns the elements of the array of an event or ack.
///
/// # Errors
/// [`ProtocolError::Packet`] if it is not an array.
pub fn arguments(data: &RawValue) -> Result<Vec<&RawValue>, ProtocolError> {
    serde_json::from_str(data.get()).map_err(|_| ProtocolError::Packet)
}

/// Checks that the indices of all `{"_placeholder":true,"num":n}` in the arguments are below the number of attachments.
/// As in JavaScript, the last of two equal keys counts.
///
/// # Errors
/// [`ProtocolError::Attachments`] for a placeholder whose index is not, or that has none.
pub fn check_placeholders(data: &RawValue, attachments: usize) -> Result<(), ProtocolError> {
    /// The keys of an open object that were read so far. An array has none.
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
    // A walk over tokens with its own stack, because the JSON is valid but of any depth.
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

/// Returns the length of the token at the front of valid JSON that does not begin with white space. It is never 0.
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

/// Returns the packet that grants a namespace: `40/max,{"sid":"…"}`. The sid is the Socket.IO one, which is no secret.
/// Older clients get no sid: `40/max,` and `1::/max`.
pub fn connect(generation: Generation, namespace: &str, sid: &str) -> String {
    let head = || head(Kind::Connect, None, namespace, None);
    match generation {
        Generation::Eio4 => format!(r#"{}{{"sid":{}}}"#, head(), json::string(generation, sid)),
        Generation::Eio3 => head(),
        Generation::Sio09 => legacy::connect(namespace),
    }
}

/// Returns the packet that grants a namespace to a client that may come back: `40/max,{"sid":"…","pid":"…"}`. The pid
/// is a secret of this client.
pub fn connect_with_pid(namespace: &str, sid: &str, pid: &str) -> String {
    let string = |text| json::string(Generation::Eio4, text);
    format!(r#"{}{{"sid":{},"pid":{}}}"#, head(Kind::Connect, None, namespace, None), string(sid), string(pid))
}

/// Returns the packet that refuses a namespace: `44/nope,{"message":"Invalid namespace"}`. In Engine.IO 3 the message
/// is a string: `44/nope,"Invalid namespace"`. 0.9 has no such packet, and its servers do not answer for an unknown
/// namespace; [`legacy::unauthorized`] comes closest.
pub fn connect_error(generation: Generation, namespace: &str, message: &str) -> String {
    let head = || head(Kind::ConnectError, None, namespace, None);
    match generation {
        Generation::Eio4 => format!(r#"{}{{"message":{}}}"#, head(), json::string(generation, message)),
        Generation::Eio3 => head() + &json::string(generation, message),
        Generation::Sio09 => legacy::unauthorized(namespace),
    }
}

/// Returns an event: `42/max,["name",…]`, or `42/max,7["name",…]` if an ack is asked for. The arguments are JSON
/// already.
pub fn event(generation: Generation, namespace: &str, id: Option<u64>, name: &str, arguments: &[&str]) -> String {
    match generation {
        Generation::Eio4 | Generation::Eio3 => {
            named(generation, head(Kind::Event, None, namespace, id), name, arguments)
        }
        Generation::Sio09 => legacy::event(namespace, id, name, arguments),
    }
}

/// Returns the answer to the event with this id: `43/max,7[…]`. The arguments are JSON already.
pub fn ack(generation: Generation, namespace: &str, id: u64, arguments: &[&str]) -> String {
    match generation {
        Generation::Eio4 | Generation::Eio3 => {
            unnamed(generation, head(Kind::Ack, None, namespace, Some(id)), arguments)
        }
        Generation::Sio09 => legacy::ack(namespace, id, arguments),
    }
}

/// Returns an event with placeholders for the binary messages that have to follow: `451-/max,["name",…]`. 0.9 has no
/// binary messages: it gets a plain [`event`], and nothing may follow.
pub fn binary_event(
    generation: Generation,
    namespace: &str,
    attachments: usize,
    id: Option<u64>,
    name: &str,
    arguments: &[&str],
) -> String {
    match generation {
        Generation::Eio4 | Generation::Eio3 => {
            named(generation, head(Kind::BinaryEvent, Some(attachments), namespace, id), name, arguments)
        }
        Generation::Sio09 => legacy::event(namespace, id, name, arguments),
    }
}

/// Returns an answer with placeholders for the binary messages that have to follow: `461-/max,7[…]`. 0.9 gets a plain
/// [`ack`].
pub fn binary_ack(generation: Generation, namespace: &str, attachments: usize, id: u64, arguments: &[&str]) -> String {
    match generation {
        Generation::Eio4 | Generation::Eio3 => {
            unnamed(generation, head(Kind::BinaryAck, Some(attachments), namespace, Some(id)), arguments)
        }
        Generation::Sio09 => legacy::ack(namespace, id, arguments),
    }
}

/// Returns the part of a packet before the JSON, including Engine.IO's `4`.
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

fn named(generation: Generation, head: String, name: &str, arguments: &[&str]) -> String {
    let name = json::string(generation, name);
    elements(generation, head, std::iter::once(name.as_str()).chain(arguments.iter().copied()))
}

fn unnamed(generation: Generation, head: String, arguments: &[&str]) -> String {
    elements(generation, head, arguments.iter().copied())
}

fn elements<'a>(generation: Generation, mut packet: String, elements: impl Iterator<Item = &'a str>) -> String {
    packet.push('[');
    json::push_elements(&mut packet, elements.map(|element| json::for_generation(generation, element)));
    packet.push(']');
    packet
}

#[cfg(test)]
mod tests;
