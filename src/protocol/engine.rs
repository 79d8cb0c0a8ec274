//! Engine.IO packets and polling payloads.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Generation, ProtocolError};

/// Between the packets of an Engine.IO 4 payload. JSON and base64 never hold it.
const SEPARATOR: char = '\x1e';

/// Writes padding, as the official clients expect, and reads base64 with or without it, as Node does.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One Engine.IO packet as it arrived. Nothing is judged here but its form: whether a client may send it, and when, is
/// the business of [`super::connection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: only servers send it.
    Open(&'a str),
    /// `1`
    Close,
    /// `2`, with what the client wrote behind it (`probe`).
    Ping(&'a str),
    /// `3`, likewise.
    Pong(&'a str),
    /// `4` and text.
    Text(&'a str),
    /// A binary message: a whole WebSocket binary frame, or base64 behind `b` in text.
    Binary(Cow<'a, [u8]>),
    /// `5`
    Upgrade,
    /// `6`
    Noop,
}

impl<'a> Packet<'a> {
    /// Reads a packet that came as text: a WebSocket text message, or one record of a polling payload. What stands
    /// behind the digit of a packet that carries nothing is ignored, as the official server does.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`] for an empty text, an unknown type and bad base64.
    pub fn from_text(generation: Generation, text: &'a str) -> Result<Self, ProtocolError> {
        let mut rest = text.chars();
        let kind = rest.next().ok_or(ProtocolError::Engine)?;
        let data = rest.as_str();
        Ok(match kind {
            '0' => Self::Open(data),
            '1' => Self::Close,
            '2' => Self::Ping(data),
            '3' => Self::Pong(data),
            '4' => Self::Text(data),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            'b' => match generation {
                Generation::Eio4 => Self::Binary(BASE64.decode(data).map_err(|_| ProtocolError::Engine)?.into()),
            },
            _ => return Err(ProtocolError::Engine),
        })
    }

    /// Reads a packet that came as a WebSocket binary message.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`], in generations whose binary messages begin with a type.
    pub fn from_binary(generation: Generation, data: &'a [u8]) -> Result<Self, ProtocolError> {
        match generation {
            Generation::Eio4 => Ok(Self::Binary(data.into())),
        }
    }
}

/// Reads the packets of the body of a POST, in order. What is before a bad one is still given, and the bad one is the
/// last; an empty body is a bad packet. The reader owns the body, so that it may be put aside between two packets.
#[derive(Debug)]
pub struct PayloadReader {
    generation: Generation,
    body: String,
    /// Where the next packet begins; none behind the last.
    at: Option<usize>,
}

impl PayloadReader {
    /// Begins with the first packet of `body`.
    pub fn new(generation: Generation, body: String) -> Self {
        Self { generation, body, at: Some(0) }
    }

    /// Whether there is no further packet.
    pub fn is_finished(&self) -> bool {
        self.at.is_none()
    }

    /// The next packet. None behind the last one.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`]; there is nothing behind it.
    pub fn read(&mut self) -> Option<Result<Packet<'_>, ProtocolError>> {
        let rest = &self.body[self.at?..];
        let record = match self.generation {
            Generation::Eio4 => rest.split_once(SEPARATOR).map_or(rest, |(record, _)| record),
        };
        let packet = Packet::from_text(self.generation, record);
        let more = packet.is_ok() && record.len() < rest.len();
        self.at = self.at.filter(|_| more).map(|at| at + record.len() + SEPARATOR.len_utf8());
        Some(packet)
    }
}

/// Builds the body of a poll's answer, record by record.
#[derive(Debug)]
pub struct PayloadWriter {
    generation: Generation,
    body: Vec<u8>,
}

impl PayloadWriter {
    /// An empty body.
    pub fn new(generation: Generation) -> Self {
        Self { generation, body: Vec::new() }
    }

    /// How many bytes the body would have with one more text packet of `len` bytes: to hold `maxPayload`.
    pub fn len_with_text(&self, len: usize) -> usize {
        match self.generation {
            Generation::Eio4 => self.body.len() + usize::from(!self.is_empty()) + len,
        }
    }

    /// Likewise with a binary message of `len` bytes, which the body carries as base64.
    pub fn len_with_binary(&self, len: usize) -> usize {
        match self.generation {
            Generation::Eio4 => self.len_with_text("b".len() + len.div_ceil(3) * 4),
        }
    }

    /// Adds a text packet, type digit included.
    pub fn text(&mut self, packet: &str) {
        self.body.reserve(self.len_with_text(packet.len()) - self.body.len());
        self.separate();
        self.body.extend_from_slice(packet.as_bytes());
    }

    /// Adds a binary message.
    pub fn binary(&mut self, data: &[u8]) {
        self.body.reserve(self.len_with_binary(data.len()) - self.body.len());
        self.separate();
        match self.generation {
            Generation::Eio4 => {
                self.body.push(b'b');
                self.body.extend_from_slice(BASE64.encode(data).as_bytes());
            }
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The body.
    pub fn finish(self) -> Vec<u8> {
        self.body
    }

    fn separate(&mut self) {
        match self.generation {
            Generation::Eio4 if !self.is_empty() => self.body.push(SEPARATOR as u8),
            Generation::Eio4 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIO4: Generation = Generation::Eio4;
    const BAD: Result<Packet<'_>, ProtocolError> = Err(ProtocolError::Engine);

    fn binary(data: &[u8]) -> Packet<'static> {
        Packet::Binary(data.to_vec().into())
    }

    #[test]
    fn reads_every_type() {
        let table = [
            ("0", Packet::Open("")),
            (r#"0{"sid":"x"}"#, Packet::Open(r#"{"sid":"x"}"#)),
            ("1", Packet::Close),
            ("1x", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong("")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Text("")),
            ("4hello", Packet::Text("hello")),
            ("4€😀", Packet::Text("€😀")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("b", binary(b"")),
            ("bAQIDBA==", binary(&[1, 2, 3, 4])),
            ("bAQIDBA", binary(&[1, 2, 3, 4])),
            ("b+/8=", binary(&[0xfb, 0xff])),
        ];
        for (text, packet) in table {
            assert_eq!(Packet::from_text(EIO4, text), Ok(packet), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_packet() {
        let table = ["", "7", "9", "abc", "-1", " 2", "é", "\0", "b=", "bA", "bAQID BA==", "b-_8=", "bAQIDBA===", "bé"];
        for text in table {
            assert_eq!(Packet::from_text(EIO4, text), BAD, "{text:?}");
        }
    }

    #[test]
    fn binary_messages_have_no_type() {
        assert_eq!(Packet::from_binary(EIO4, &[4, 1]), Ok(binary(&[4, 1])));
        assert_eq!(Packet::from_binary(EIO4, &[]), Ok(binary(&[])));
    }

    #[test]
    fn a_payload_ends_with_its_first_bad_packet() {
        let read = |body: &str| {
            let mut reader = PayloadReader::new(EIO4, body.to_owned());
            let mut packets = Vec::new();
            while let Some(packet) = reader.read() {
                packets.push(packet.map(|packet| format!("{packet:?}")));
            }
            assert!(reader.is_finished());
            packets
        };
        let table: [(&str, &[Result<Packet<'_>, ProtocolError>]); 5] = [
            ("4a\x1e2\x1ebAQIDBA==", &[Ok(Packet::Text("a")), Ok(Packet::Ping("")), Ok(binary(&[1, 2, 3, 4]))]),
            ("", &[BAD]),
            ("\x1e4a", &[BAD]),
            ("4a\x1e", &[Ok(Packet::Text("a")), BAD]),
            ("4a\x1eabc\x1e4b", &[Ok(Packet::Text("a")), BAD]),
        ];
        for (body, packets) in table {
            let packets: Vec<_> = packets.iter().cloned().map(|p| p.map(|packet| format!("{packet:?}"))).collect();
            assert_eq!(read(body), packets, "{body:?}");
        }
    }

    #[test]
    fn writes_what_it_measured() {
        let mut writer = PayloadWriter::new(EIO4);
        assert!(writer.is_empty());
        assert_eq!((writer.len_with_text(2), writer.len_with_binary(0), writer.len_with_binary(4)), (2, 1, 9));
        writer.text("4€");
        assert!(!writer.is_empty());
        assert_eq!((writer.len_with_text(1), writer.len_with_binary(4)), (6, 14));
        writer.text("2");
        writer.binary(&[1, 2, 3, 4]);
        assert_eq!(writer.finish(), "4€\x1e2\x1ebAQIDBA==".as_bytes());
    }
}
