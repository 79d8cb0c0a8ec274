//! Polling payloads: several packets in the body of one request or answer.

use base64::Engine as _;

use super::engine::{BASE64, Packet};
use super::{Generation, ProtocolError};

/// Between the packets of an Engine.IO 4 payload. JSON and base64 never hold it.
const SEPARATOR: char = '\x1e';

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
