//! Packets of Socket.IO 0.7 to 0.9: the text `<type>:<id>[+]:<endpoint>[:<data>]`.
//!
//! Malformed packets are ignored, as the servers of that time did: decoding returns `None`. JSON is written as ASCII on
//! one line, because the parsers of 0.8 stop at a line break.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json;
use super::text::{NAMESPACE_BYTES_MAX, take_digits, without_query};

/// The event that the server itself raises, so that no client may send it.
const RESERVED: &str = "disconnect";

/// Answer to a client of 0.9 whose sid is unknown. It makes the client begin a new session by itself.
pub const NOT_HANDSHAKEN: &str = "7:::1+0";

/// The first packet on each new transport of 0.9. Its client is then in the namespace `/`.
pub const GREETING: &str = "1::";

/// The end of a poll that has nothing new.
pub const NOOP: &str = "8::";

/// Answer to a client that has closed the connection. It does not come back by itself.
pub const BYE: &str = "0::";

/// One packet as it arrived. The endpoint is empty for the namespace `/`.
#[derive(Debug)]
pub enum Packet<'a> {
    /// `0::/max`: leaves a namespace, or, without an endpoint, the connection.
    Disconnect {
        /// The namespace.
        endpoint: &'a str,
    },
    /// `1::/max`: enters a namespace. A query after it is cut off. Clients of 0.8 send it without an endpoint after a
    /// packet that they could not read; it means nothing then.
    Connect {
        /// The namespace.
        endpoint: &'a str,
    },
    /// `3:1::text` and `4:1::{"json":1}`: messages without a name. No listener can wait for them.
    Message {
        /// The namespace.
        endpoint: &'a str,
        /// The id, if it has no `+`: it is acknowledged at once.
        receipt: Option<u64>,
    },
    /// `5:1+:/max:{"name":"join","args":[...]}`
    Event {
        /// The namespace.
        endpoint: &'a str,
        /// The id, if it has no `+`: it is acknowledged at once.
        receipt: Option<u64>,
        /// The id, if it has a `+`: the namespace answers it.
        ack: Option<u64>,
        /// The name of the event.
        name: Cow<'a, str>,
        /// The arguments, as the client wrote them.
        arguments: Vec<&'a RawValue>,
    },
    /// `6::/max:1+[...]`, or without arguments `6::/max:1`.
    Ack {
        /// The namespace.
        endpoint: &'a str,
        /// The id of the event that is answered.
        id: u64,
        /// The answer.
        arguments: Vec<&'a RawValue>,
    },
    /// `7::…`, `2::` and `8::`: nothing to do. The latter two have kept the connection alive already.
    Other,
}

impl<'a> Packet<'a> {
    /// Reads one packet. `None` for a malformed packet, which 0.9 servers ignore; for an event that no client may send;
    /// and for one whose name or id the server could not repeat: a lone surrogate, an id beyond `u64`.
    pub fn decode(text: &'a str) -> Option<Self> {
        let Parts { kind, id, plus, endpoint, data } = Parts::split(text)?;
        if endpoint.len() > NAMESPACE_BYTES_MAX {
            return None;
        }
        let id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
        let (receipt, ack) = if plus { (None, id) } else { (id, None) };
        Some(match kind {
            b'0' => Self::Disconnect { endpoint },
            b'1' => Self::Connect { endpoint },
            b'3' | b'4' => Self::Message { endpoint, receipt },
            b'5' => {
                let EventData { name, arguments } = serde_json::from_str(data).ok()?;
                let name = name.filter(|name| name.get().starts_with('"'))?;
                let name = json::decode_string(name.get()).filter(|name| name != RESERVED)?;
                let arguments = arguments.map(arguments_of).unwrap_or_default();
                Self::Event { endpoint, receipt, ack, name, arguments }
            }
            b'6' => {
                let (id, rest) = take_digits(data);
                let id = id.parse().ok()?;
                let arguments = match rest.strip_prefix('+').unwrap_or(rest) {
                    "" => Vec::new(),
                    json => arguments_of(serde_json::from_str(json).ok()?),
                };
                Self::Ack { endpoint, id, arguments }
            }
            _ => Self::Other,
        })
    }
}

/// The parts of a packet. Only its type has been checked.
pub(super) struct Parts<'a> {
    /// A digit from `0` to `8`.
    pub(super) kind: u8,
    /// Digits, or empty.
    pub(super) id: &'a str,
    /// Whether a `+` follows the id.
    pub(super) plus: bool,
    /// The endpoint without its query.
    pub(super) endpoint: &'a str,
    /// The text after the third colon.
    pub(super) data: &'a str,
}

impl<'a> Parts<'a> {
    /// Splits a packet by the rule of the official server, `([^:]+):([0-9]+)?(\+)?:([^:]+)?:?([\s\S]*)?`.
    pub(super) fn split(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let &[kind @ b'0'..=b'8'] = kind.as_bytes() else { return None };
        let (id, rest) = take_digits(rest.strip_prefix(':')?);
        let (plus, rest) = rest.strip_prefix('+').map_or((false, rest), |rest| (true, rest));
        let rest = rest.strip_prefix(':')?;
        let (endpoint, data) = rest.split_once(':').unwrap_or((rest, ""));
        Some(Self { kind, id, plus, endpoint: without_query(endpoint), data })
    }
}

/// The object of an event. As in JavaScript, the last of two equal keys counts, and other keys are ignored.
#[derive(Default)]
struct EventData<'a> {
    name: Option<&'a RawValue>,
    arguments: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for EventData<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = EventData<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the object of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut data = EventData::default();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    match json::decode_string(key.get()).as_deref() {
                        Some("name") => data.name = Some(value),
                        Some("args") => data.arguments = Some(value),
                        _ => {}
                    }
                }
                Ok(data)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Returns the elements of an array. Any other value is one argument, except those that JavaScript takes for false: the
/// official server reads `args || []`, and appends the result to the name of the event.
fn arguments_of(json: &RawValue) -> Vec<&RawValue> {
    let is_zero = || json.get().parse() == Ok(0.0);
    match json.get() {
        "null" | "false" | "\"\"" => Vec::new(),
        _ if is_zero() => Vec::new(),
        text => serde_json::from_str(text).unwrap_or_else(|_| vec![json]),
    }
}

/// Returns `1::/max`, which grants a namespace, or `1::` for the connection itself.
pub fn connect(namespace: &str) -> String {
    format!("1::{}", endpoint(namespace))
}

/// Returns `7::/nope:2`, which refuses a namespace.
pub fn unauthorized(namespace: &str) -> String {
    format!("7::{}:2", endpoint(namespace))
}

/// Returns an event: `5::/max:{"name":"update","args":[...]}`, or `5:7+:…` if an ack is asked for. The arguments are
/// JSON already.
pub fn event(namespace: &str, id: Option<u64>, name: &str, arguments: &[&str]) -> String {
    let id = id.map(|id| format!("{id}+")).unwrap_or_default();
    let mut packet = format!(r#"5:{id}:{}:{{"name":{}"#, endpoint(namespace), json::ascii_string(name));
    if !arguments.is_empty() {
        packet.push_str(r#","args":"#);
        push_array(&mut packet, arguments);
    }
    packet.push('}');
    packet
}

/// Returns the answer to an event: `6::/max:7+[...]`, or `6::/max:7` without arguments.
pub fn ack(namespace: &str, id: u64, arguments: &[&str]) -> String {
    let mut packet = format!("6::{}:{id}", endpoint(namespace));
    if !arguments.is_empty() {
        packet.push('+');
        push_array(&mut packet, arguments);
    }
    packet
}

/// Returns the acknowledgement that the server gives by itself: `6::/max:7`.
pub fn receipt(namespace: &str, id: u64) -> String {
    ack(namespace, id, &[])
}

fn endpoint(namespace: &str) -> &str {
    if namespace == "/" { "" } else { namespace }
}

fn push_array(packet: &mut String, elements: &[&str]) {
    packet.push('[');
    json::push_elements(packet, elements.iter().map(|element| json::ascii(element)));
    packet.push(']');
}

#[cfg(test)]
mod tests;
