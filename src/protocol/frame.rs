//! An Engine.IO packet ready for both transports, and an event encoded once per generation whatever the number of its
//! recipients.

use std::sync::Arc;

use bytes::Bytes;

use super::websocket::{self, Opcode};
use super::{Generation, packet};

/// One Engine.IO packet, encoded as the WebSocket frame that carries it. Servers do not mask, so the same bytes serve
/// every reader; a polling transport takes what is behind the frame header. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

/// What a [`Frame`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A packet as text, its type digit included.
    Text(&'a str),
    /// A binary message, without a type.
    Binary(&'a [u8]),
}

impl Frame {
    /// A packet as text, its type digit included.
    pub fn text(packet: &str) -> Self {
        Self::encode(Opcode::Text, packet.as_bytes())
    }

    /// A binary message.
    pub fn binary(generation: Generation, data: &[u8]) -> Self {
        match generation {
            Generation::Eio4 => Self::encode(Opcode::Binary, data),
        }
    }

    fn encode(opcode: Opcode, payload: &[u8]) -> Self {
        // Exactly what is needed, so that the bytes are shared as they are.
        let header = match payload.len() {
            0..126 => 2,
            126..65536 => 4,
            _ => 10,
        };
        let mut frame = Vec::with_capacity(header + payload.len());
        websocket::write_frame(&mut frame, opcode, payload);
        Self(frame.into())
    }

    /// The whole WebSocket frame.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// What the frame carries.
    pub fn payload(&self) -> Payload<'_> {
        match websocket::split_header(&self.0) {
            Some((Opcode::Binary, header)) => Payload::Binary(&self.0[header..]),
            Some((_, header)) => Payload::Text(std::str::from_utf8(&self.0[header..]).unwrap_or_default()),
            None => Payload::Text(""),
        }
    }

    /// Bytes on a WebSocket.
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty: it has a header")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// An event on its way to many readers: encoded when the first reader of a generation asks for it, and never again.
#[derive(Debug)]
pub struct Broadcast {
    namespace: Arc<str>,
    name: &'static str,
    argument: String,
    eio4: Option<Frame>,
}

impl Broadcast {
    /// The event `name` with one argument in JSON.
    pub fn new(namespace: Arc<str>, name: &'static str, argument: String) -> Self {
        Self { namespace, name, argument, eio4: None }
    }

    /// The name of the event.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The event for a reader of `generation`.
    pub fn frame(&mut self, generation: Generation) -> &Frame {
        match generation {
            Generation::Eio4 => self.eio4.get_or_insert_with(|| {
                Frame::text(&packet::event(generation, &self.namespace, None, self.name, &[&self.argument]))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gives_back_what_it_carries() {
        for len in [0, 1, 125, 126, 65535, 65536] {
            let text = "2".repeat(len);
            assert_eq!(Frame::text(&text).payload(), Payload::Text(&text), "text of {len} bytes");
            let data = vec![7; len];
            assert_eq!(Frame::binary(Generation::Eio4, &data).payload(), Payload::Binary(&data), "{len} bytes");
        }
    }

    #[test]
    fn a_broadcast_is_encoded_once() {
        let mut broadcast = Broadcast::new("/max".into(), "update", "{}".into());
        let first = broadcast.frame(Generation::Eio4).clone();
        assert_eq!(first.payload(), Payload::Text(r#"42/max,["update",{}]"#));
        assert_eq!(broadcast.frame(Generation::Eio4).bytes().as_ptr(), first.bytes().as_ptr());
    }
}
