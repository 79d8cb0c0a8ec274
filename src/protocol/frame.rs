//! An Engine.IO packet ready for both transports, and an event that is encoded once per generation for any number of
//! recipients.

use std::sync::Arc;

use bytes::Bytes;

use super::websocket::{self, Opcode};
use super::{Generation, engine, legacy, packet};

/// One Engine.IO packet, encoded as the WebSocket frame that carries it. Servers do not mask, so the same bytes serve
/// every reader; a polling transport takes the payload after the frame header. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

/// The payload of a [`Frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A packet as text, its type digit included.
    Text(&'a str),
    /// A binary message as a WebSocket carries it: in Engine.IO 3 after its type, the byte 04.
    Binary(&'a [u8]),
}

impl Frame {
    /// Returns the frame of a packet as text, its type digit included.
    pub fn text(packet: &str) -> Self {
        Self::encode(Opcode::Text, &[], packet.as_bytes())
    }

    /// Returns the frame of a binary message. For Engine.IO 3 it begins with the byte 04, the type of a message.
    /// Clients of Socket.IO 0.9, which has no binary messages, get a noop.
    pub fn binary(generation: Generation, data: &[u8]) -> Self {
        match generation {
            Generation::Eio4 => Self::encode(Opcode::Binary, &[], data),
            Generation::Eio3 => Self::encode(Opcode::Binary, &[engine::MESSAGE], data),
            Generation::Sio09 => Self::text(legacy::NOOP),
        }
    }

    /// Returns the frame of a binary message for a client that takes only text: `bAQIDBA==`, or for Engine.IO 3
    /// `b4AQIDBA==`.
    pub fn base64(generation: Generation, data: &[u8]) -> Self {
        match generation {
            Generation::Eio4 | Generation::Eio3 => Self::text(&engine::base64_packet(generation, data)),
            Generation::Sio09 => Self::text(legacy::NOOP),
        }
    }

    /// Returns a frame whose payload comes in two parts, so that the data need not be copied behind its type first.
    fn encode(opcode: Opcode, kind: &[u8], data: &[u8]) -> Self {
        let len = kind.len() + data.len();
        // The exact capacity, so that the conversion to `Bytes` does not copy.
        let header = match len {
            0..126 => 2,
            126..65536 => 4,
            _ => 10,
        };
        let mut frame = Vec::with_capacity(header + len);
        websocket::write_header(&mut frame, opcode, len);
        frame.extend_from_slice(kind);
        frame.extend_from_slice(data);
        Self(frame.into())
    }

    /// Returns the whole WebSocket frame.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the payload of the frame.
    pub fn payload(&self) -> Payload<'_> {
        match websocket::split_header(&self.0) {
            Some((Opcode::Binary, header)) => Payload::Binary(&self.0[header..]),
            Some((_, header)) => Payload::Text(std::str::from_utf8(&self.0[header..]).unwrap_or_default()),
            None => Payload::Text(""),
        }
    }

    /// Returns the length of the whole WebSocket frame.
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty: it has a header")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// An event for many readers. It is encoded when the first reader of a generation asks for it, and not again.
#[derive(Debug)]
pub struct Broadcast {
    namespace: Arc<str>,
    name: &'static str,
    argument: String,
    frames: [Option<Frame>; Generation::ALL.len()],
    /// The event with an offset.
    numbered: Option<Frame>,
}

impl Broadcast {
    /// Returns the event `name` with one argument in JSON.
    pub fn new(namespace: Arc<str>, name: &'static str, argument: String) -> Self {
        Self { namespace, name, argument, frames: Default::default(), numbered: None }
    }

    /// Returns the event for a reader of `generation`.
    pub fn frame(&mut self, generation: Generation) -> &Frame {
        self.frames[generation as usize].get_or_insert_with(|| {
            Frame::text(&packet::event(generation, &self.namespace, None, self.name, &[&self.argument]))
        })
    }

    /// Returns the event for a reader in Engine.IO 4 that gets an offset as a further argument. The first such reader
    /// draws it: a string of JSON.
    pub fn numbered_frame(&mut self, draw: impl FnOnce() -> String) -> &Frame {
        self.numbered.get_or_insert_with(|| {
            let arguments = [self.argument.as_str(), &draw()];
            Frame::text(&packet::event(Generation::Eio4, &self.namespace, None, self.name, &arguments))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Generation::{Eio3, Eio4, Sio09};

    #[test]
    fn a_frame_gives_back_what_it_carries() {
        for len in [0, 1, 124, 125, 126, 65534, 65535, 65536] {
            let text = "2".repeat(len);
            assert_eq!(Frame::text(&text).payload(), Payload::Text(&text), "text of {len} bytes");
            let data = vec![7; len];
            assert_eq!(Frame::binary(Eio4, &data).payload(), Payload::Binary(&data), "{len} bytes");
            let typed = [&[4], data.as_slice()].concat();
            assert_eq!(Frame::binary(Eio3, &data).payload(), Payload::Binary(&typed), "{len} bytes");
        }
    }

    #[test]
    fn binary_messages_by_generation() {
        let data = [1, 2, 3, 4];
        assert_eq!(Frame::binary(Eio4, &data).bytes().as_ref(), [0x82, 4, 1, 2, 3, 4]);
        assert_eq!(Frame::binary(Eio3, &data).bytes().as_ref(), [0x82, 5, 4, 1, 2, 3, 4]);
        assert_eq!(Frame::base64(Eio4, &data), Frame::text("bAQIDBA=="));
        assert_eq!(Frame::base64(Eio3, &data), Frame::text("b4AQIDBA=="));
        for frame in [Frame::binary(Sio09, &data), Frame::base64(Sio09, &data)] {
            assert_eq!(frame, Frame::text("8::"));
        }
    }

    #[test]
    fn a_broadcast_is_encoded_once_for_each_generation_that_listens() {
        let mut broadcast = Broadcast::new("/max".into(), "update", r#"{"user":"é"}"#.into());
        let table = [
            (Eio4, r#"42/max,["update",{"user":"é"}]"#),
            (Eio3, r#"42/max,["update",{"user":"\u00e9"}]"#),
            (Sio09, r#"5::/max:{"name":"update","args":[{"user":"\u00e9"}]}"#),
        ];
        for (at, (generation, text)) in table.into_iter().enumerate() {
            assert_eq!(broadcast.frames.iter().flatten().count(), at, "nobody has asked for {generation:?}");
            let first = broadcast.frame(generation).clone();
            assert_eq!(first.payload(), Payload::Text(text));
            assert_eq!(broadcast.frame(generation).bytes().as_ptr(), first.bytes().as_ptr());
        }
    }

    #[test]
    fn readers_with_offsets_share_the_first_one() {
        let mut broadcast = Broadcast::new("/max".into(), "update", r#"{"n":1}"#.into());
        let first = broadcast.numbered_frame(|| "\"a\"".into()).clone();
        assert_eq!(first.payload(), Payload::Text(r#"42/max,["update",{"n":1},"a"]"#));
        assert_eq!(broadcast.numbered_frame(|| unreachable!()), &first);
        assert_eq!(broadcast.frame(Eio4).payload(), Payload::Text(r#"42/max,["update",{"n":1}]"#));
    }
}
