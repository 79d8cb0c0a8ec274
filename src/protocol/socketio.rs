//! The machine that reads the messages of a session: namespaces, event names, raw arguments, attachments, ack ids.
//!
//! It is strict towards clients over Engine.IO: their connection ends with the first malformed message (protocol
//! section 2.3). Malformed messages of 0.9 are ignored, as its servers did.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::packet::{self, Kind};
use super::{Generation, ProtocolError, legacy};

/// The Socket.IO side of a connection: the namespaces that it is in, and the event whose attachments are still to come.
/// A namespace is named by its index in the list that [`SocketIo::new`] was given.
#[derive(Debug)]
pub struct SocketIo {
    generation: Generation,
    payload_bytes_max: usize,
    connected: Indices,
    // In a box because hardly any client ever sends attachments, and every connection has a machine.
    reassembly: Option<Box<Reassembly>>,
}

/// A set of indices in the list of namespaces, with a bit for each.
#[derive(Clone, Copy, Debug, Default)]
struct Indices(u64);

impl Indices {
    fn holds(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }

    /// Adds an index. Returns whether it is new.
    fn enter(&mut self, index: usize) -> bool {
        let is_new = !self.holds(index);
        self.0 |= 1 << index;
        is_new
    }

    fn leave(&mut self, index: usize) {
        self.0 &= !(1 << index);
    }
}

#[derive(Debug)]
struct Reassembly {
    text: Box<str>,
    missing: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
}

/// The meaning of a message.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// Nothing to do, or attachments are still to come.
    Nothing,
    /// The client has asked for a namespace that is served. It has to be told so before it is sent anything else there.
    /// A client of 0.9 may have sent events there before, and may ask again.
    Connected {
        /// The namespace.
        namespace: usize,
        /// The object that the client sent with its CONNECT.
        auth: Option<&'a RawValue>,
    },
    /// The client asked for a namespace that is not served. It has to be told, and stays connected.
    UnknownNamespace {
        /// The name of the namespace.
        name: &'a str,
    },
    /// The client has left the namespace.
    Disconnected {
        /// The namespace.
        namespace: usize,
    },
    /// A message without a name, in 0.9. It only has to be acknowledged.
    Unnamed {
        /// The namespace.
        namespace: usize,
        /// The id to acknowledge.
        receipt: u64,
    },
    /// An event. In 0.9 it may come before the client has asked for the namespace.
    Event {
        /// The namespace.
        namespace: usize,
        /// The id that has to be acknowledged at once, even if the event is refused.
        receipt: Option<u64>,
        /// The id of the ack that the client asks for.
        ack: Option<u64>,
        /// The name and arguments of the event.
        event: Arguments<'a>,
    },
    /// The answer to an event that asked for one.
    Ack {
        /// The namespace.
        namespace: usize,
        /// The id of the event that is answered.
        id: u64,
        /// The arguments of the answer.
        answer: Arguments<'a>,
    },
}

/// The JSON array of an event or ack, with its attachments.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// The name of an event, if it is a string.
    pub name: Option<Cow<'a, str>>,
    /// The arguments, without the name of the event, as the client wrote them.
    pub values: Vec<&'a RawValue>,
    /// The binary messages that the placeholders among the values stand for.
    pub attachments: &'a [Bytes],
}

impl SocketIo {
    /// Returns a connection that is in none of the namespaces `served`, except in `/` before Engine.IO 4.
    /// `payload_bytes_max` bounds all attachments of one packet together. Only the first 64 namespaces are served.
    pub fn new(generation: Generation, served: &[impl AsRef<str>], payload_bytes_max: usize) -> Self {
        let mut connected = Indices::default();
        if let Some(root) = find(served, "/").filter(|_| generation != Generation::Eio4) {
            connected.enter(root);
        }
        Self { generation, payload_bytes_max, connected, reassembly: None }
    }

    /// Returns the namespace that the client is in without having asked, directly after [`Self::new`].
    pub fn connected_unasked(&self) -> Option<usize> {
        (self.connected.0 != 0).then(|| self.connected.0.trailing_zeros() as usize)
    }

    /// Takes a text message. `served` are the names of the namespaces, in the order of their indices.
    ///
    /// # Errors
    /// A [`ProtocolError`] for a message that is not Socket.IO, or that the client may not send now. It ends the whole
    /// connection (protocol section 2.3).
    pub fn handle_text<'a>(
        &'a mut self,
        text: &'a str,
        served: &[impl AsRef<str>],
    ) -> Result<Decoded<'a>, ProtocolError> {
        if self.generation == Generation::Sio09 {
            return Ok(legacy::Packet::decode(text)
                .and_then(|packet| legacy_event(packet, served))
                .unwrap_or(Decoded::Nothing));
        }
        if self.reassembly.as_ref().is_some_and(|event| event.missing > 0) {
            return Err(ProtocolError::Attachments);
        }
        self.reassembly = None;
        let packet = packet::Packet::decode(self.generation, text)?;
        let namespace = find(served, packet.namespace);
        if packet.kind == Kind::Connect {
            let Some(namespace) = namespace else {
                return Ok(Decoded::UnknownNamespace { name: packet.namespace });
            };
            if !self.connected.enter(namespace) {
                return Err(ProtocolError::OutOfPlace);
            }
            return Ok(Decoded::Connected { namespace, auth: packet.data });
        }
        let namespace =
            namespace.filter(|&namespace| self.connected.holds(namespace)).ok_or(ProtocolError::OutOfPlace)?;
        match packet.kind {
            Kind::Connect | Kind::ConnectError => Err(ProtocolError::OutOfPlace),
            Kind::Disconnect => {
                self.connected.leave(namespace);
                Ok(Decoded::Disconnected { namespace })
            }
            Kind::BinaryEvent | Kind::BinaryAck if packet.attachments > 0 => {
                let attachments = Vec::with_capacity(packet.attachments);
                let missing = packet.attachments;
                self.reassembly = Some(Box::new(Reassembly { text: text.into(), missing, attachments, bytes: 0 }));
                Ok(Decoded::Nothing)
            }
            Kind::Event | Kind::BinaryEvent | Kind::Ack | Kind::BinaryAck => finish(&packet, namespace, &[]),
        }
    }

    /// Returns the number of bytes that are kept of an event whose attachments are still to come.
    pub fn kept_bytes(&self) -> usize {
        self.reassembly.as_ref().map_or(0, |event| event.text.len() + event.bytes)
    }

    /// Takes a binary message. `served` is the same as in [`Self::handle_text`].
    ///
    /// # Errors
    /// [`ProtocolError::Attachments`] for an attachment that was not announced, and [`ProtocolError::TooLarge`] for
    /// attachments that are too large together. Malformed packets are refused as by [`Self::handle_text`].
    pub fn handle_binary<'a>(
        &'a mut self,
        data: &[u8],
        served: &[impl AsRef<str>],
    ) -> Result<Decoded<'a>, ProtocolError> {
        let waiting = self.reassembly.as_mut().filter(|event| event.missing > 0);
        let event = waiting.ok_or(ProtocolError::Attachments)?;
        event.bytes += data.len();
        if event.bytes > self.payload_bytes_max {
            return Err(ProtocolError::TooLarge);
        }
        event.attachments.push(Bytes::copy_from_slice(data));
        event.missing -= 1;
        if event.missing > 0 {
            return Ok(Decoded::Nothing);
        }
        // The text was decoded before it was kept, and its namespace was connected then.
        let packet = packet::Packet::decode(self.generation, &event.text)?;
        let namespace = find(served, packet.namespace).ok_or(ProtocolError::OutOfPlace)?;
        finish(&packet, namespace, &event.attachments)
    }

    /// Frees the memory of a finished event with attachments.
    pub fn release(&mut self) {
        self.reassembly.take_if(|event| event.missing == 0);
    }
}

/// Returns the index of a namespace in the list.
fn find(served: &[impl AsRef<str>], name: &str) -> Option<usize> {
    served.iter().take(u64::BITS as usize).position(|served| served.as_ref() == name)
}

/// Returns the meaning of a packet of 0.9, or `None` if there is nothing to do, such as for an unknown namespace.
fn legacy_event<'a>(packet: legacy::Packet<'a>, served: &[impl AsRef<str>]) -> Option<Decoded<'a>> {
    let find = |endpoint: &str| find(served, if endpoint.is_empty() { "/" } else { endpoint });
    let told = |name, values| Arguments { name, values, attachments: &[] };
    Some(match packet {
        // Both are about the whole connection. `super::connection` has handled its end; its beginning was our greeting.
        legacy::Packet::Connect { endpoint: "" } | legacy::Packet::Disconnect { endpoint: "" } => return None,
        legacy::Packet::Connect { endpoint } => Decoded::Connected { namespace: find(endpoint)?, auth: None },
        legacy::Packet::Disconnect { endpoint } => Decoded::Disconnected { namespace: find(endpoint)? },
        legacy::Packet::Message { endpoint, receipt } => {
            Decoded::Unnamed { namespace: find(endpoint)?, receipt: receipt? }
        }
        legacy::Packet::Event { endpoint, receipt, ack, name, arguments } => {
            Decoded::Event { namespace: find(endpoint)?, receipt, ack, event: told(Some(name), arguments) }
        }
        legacy::Packet::Ack { endpoint, id, arguments } => {
            Decoded::Ack { namespace: find(endpoint)?, id, answer: told(None, arguments) }
        }
        legacy::Packet::Other => return None,
    })
}

/// Returns the event or ack of a packet whose attachments have all come.
fn finish<'a>(
    packet: &packet::Packet<'a>,
    namespace: usize,
    attachments: &'a [Bytes],
) -> Result<Decoded<'a>, ProtocolError> {
    let mut values = match packet.data {
        Some(data) => packet::arguments(data)?,
        None => Vec::new(),
    };
    if let (Kind::BinaryEvent | Kind::BinaryAck, Some(data)) = (packet.kind, packet.data) {
        packet::check_placeholders(data, attachments.len())?;
    }
    if matches!(packet.kind, Kind::Ack | Kind::BinaryAck) {
        let id = packet.id.ok_or(ProtocolError::Packet)?;
        return Ok(Decoded::Ack { namespace, id, answer: Arguments { name: None, values, attachments } });
    }
    let name = packet.data.map(packet::event_name).transpose()?.flatten();
    if !values.is_empty() {
        values.remove(0);
    }
    Ok(Decoded::Event { namespace, receipt: None, ack: packet.id, event: Arguments { name, values, attachments } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVED: [&str; 2] = ["/max", "/"];

    fn socket() -> SocketIo {
        SocketIo::new(Generation::Eio4, &SERVED, 1000)
    }

    /// Returns the result of a message as a short text.
    fn outcome(event: Result<Decoded<'_>, ProtocolError>) -> String {
        match event {
            Ok(Decoded::Nothing) => "nothing".into(),
            Ok(Decoded::Unnamed { namespace, receipt }) => format!("unnamed {namespace} {receipt}"),
            Ok(Decoded::Connected { namespace, auth }) => {
                format!("connected {namespace} {:?}", auth.map(RawValue::get))
            }
            Ok(Decoded::UnknownNamespace { name }) => format!("unknown {name}"),
            Ok(Decoded::Disconnected { namespace }) => format!("disconnected {namespace}"),
            Ok(Decoded::Event { namespace, receipt, ack, event }) => {
                let values: Vec<_> = event.values.iter().map(|value| value.get()).collect();
                let receipt = receipt.map(|id| format!(" receipt {id}")).unwrap_or_default();
                format!("event {namespace} {ack:?} {:?} {values:?} +{}{receipt}", event.name, event.attachments.len())
            }
            Ok(Decoded::Ack { namespace, id, answer }) => {
                let values: Vec<_> = answer.values.iter().map(|value| value.get()).collect();
                format!("ack {namespace} {id} {values:?} +{}", answer.attachments.len())
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn messages_one_after_the_other() {
        let mut socket = socket();
        for (text, expected) in [
            (r#"2/max,["join"]"#, "OutOfPlace"),
            (r#"2["join"]"#, "OutOfPlace"),
            ("0/nope,", "unknown /nope"),
            ("0/max", "connected 0 None"),
            (r#"2/max,["join",{"a":1}]"#, r#"event 0 None Some("join") ["{\"a\":1}"] +0"#),
            (r#"2/max,7["ask"]"#, r#"event 0 Some(7) Some("ask") [] +0"#),
            ("2/max,[1,2]", r#"event 0 None None ["2"] +0"#),
            ("2/max,", "event 0 None None [] +0"),
            ("3/max,9[1]", r#"ack 0 9 ["1"] +0"#),
            ("3/max,[1]", "Packet"),
            (r#"4/max,{"message":"x"}"#, "OutOfPlace"),
            ("0/max,", "OutOfPlace"),
            (r#"0{"token":"x"}"#, r#"connected 1 Some("{\"token\":\"x\"}")"#),
            ("1/max,", "disconnected 0"),
            ("1/max,", "OutOfPlace"),
            (r#"0/max,{}"#, r#"connected 0 Some("{}")"#),
            ("x", "Packet"),
        ] {
            assert_eq!(outcome(socket.handle_text(text, &SERVED)), expected, "{text}");
        }
        let long = format!("0/{},", "n".repeat(256));
        assert_eq!(outcome(socket.handle_text(&long, &SERVED)), "Packet", "its refusal would repeat the name");
    }

    #[test]
    fn attachments_follow_their_event() {
        let mut socket = socket();
        assert_eq!(outcome(socket.handle_binary(b"x", &SERVED)), "Attachments", "out of the blue");
        outcome(socket.handle_text("0", &SERVED));
        let event = r#"52-5["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
        assert_eq!(outcome(socket.handle_text(event, &SERVED)), "nothing");
        assert_eq!(outcome(socket.handle_binary(b"x", &SERVED)), "nothing");
        let whole = outcome(socket.handle_binary(b"y", &SERVED));
        assert!(whole.starts_with(r#"event 1 Some(5) Some("e")"#) && whole.ends_with("+2"), "{whole}");
        socket.release();
        assert!(socket.reassembly.is_none());
        assert_eq!(outcome(socket.handle_text(r#"50-["e"]"#, &SERVED)), r#"event 1 None Some("e") [] +0"#);
    }

    #[test]
    fn attachments_that_do_not_fit_end_the_connection() {
        let connected = || {
            let mut socket = socket();
            outcome(socket.handle_text("0", &SERVED));
            socket
        };
        let mut interrupted = connected();
        outcome(interrupted.handle_text(r#"51-["e",{"_placeholder":true,"num":0}]"#, &SERVED));
        assert_eq!(outcome(interrupted.handle_text(r#"2["e"]"#, &SERVED)), "Attachments");
        let mut large = connected();
        outcome(large.handle_text(r#"52-["e"]"#, &SERVED));
        assert_eq!(outcome(large.handle_binary(&[0; 600], &SERVED)), "nothing");
        assert_eq!(outcome(large.handle_binary(&[0; 600], &SERVED)), "TooLarge", "too large in all");
        let mut out_of_range = connected();
        outcome(out_of_range.handle_text(r#"51-["e",{"_placeholder":true,"num":1}]"#, &SERVED));
        assert_eq!(outcome(out_of_range.handle_binary(b"x", &SERVED)), "Attachments");
        assert_eq!(outcome(connected().handle_text(r#"511-["e"]"#, &SERVED)), "Attachments", "more than ten");
    }
}
