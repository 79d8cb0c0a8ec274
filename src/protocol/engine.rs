//! Engine.IO packets. Socket.IO 0.9 has no Engine.IO, but it has packets of its own for heartbeat, noop and close.
//! These become Engine.IO packets here, so that [`super::connection`] reads the same packets from all generations.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Generation, ProtocolError, legacy};

/// Writes padding, as the official clients expect. Reads base64 as Node does: padding is optional, and unused bits at
/// the end are ignored.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One Engine.IO packet as it arrived. Only its form has been checked: [`super::connection`] decides whether a client
/// may send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`, which only servers send.
    Open(&'a str),
    /// `1`: ends the session.
    Close,
    /// `2` and its data, such as `probe`.
    Ping(&'a str),
    /// `3` and its data.
    Pong(&'a str),
    /// `4` and text. In 0.9: the whole packet, undecoded, for [`legacy::Packet::decode`].
    Text(&'a str),
    /// A binary message. It came as bytes (in Engine.IO 3 after one byte for the type), or as base64 in text (after
    /// `b`, in Engine.IO 3 after `b4`).
    Binary(Cow<'a, [u8]>),
    /// `5`: completes an upgrade.
    Upgrade,
    /// `6`: carries nothing, and only ends a poll.
    Noop,
}

/// The packets of a server that carry no message, as one generation writes them.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerPackets {
    /// The heartbeat.
    pub ping: &'static str,
    /// The end of a poll that has nothing new.
    pub noop: &'static str,
    /// Answer to a poll of a session that is over.
    pub close: &'static str,
    /// Answer to a poll of a client that has just closed the session.
    pub closed: &'static str,
    /// Answer to a poll when the server stops. It lets the client come back by itself.
    pub stop: &'static str,
    /// Answer to a client that has closed its session by a packet on its WebSocket. `None` if the generation has no
    /// such answer.
    pub farewell: Option<&'static str>,
}

impl Generation {
    /// Returns the packets of this generation.
    pub fn server_packets(self) -> &'static ServerPackets {
        match self {
            Self::Eio4 | Self::Eio3 => {
                &ServerPackets { ping: "2", noop: "6", close: "1", closed: "6", stop: "6", farewell: None }
            }
            Self::Sio09 => &ServerPackets {
                ping: "2::",
                noop: legacy::NOOP,
                close: legacy::NOT_HANDSHAKEN,
                closed: legacy::BYE,
                stop: legacy::NOT_HANDSHAKEN,
                farewell: Some(legacy::BYE),
            },
        }
    }
}

/// The type of the packets that carry messages of the layer above.
pub(super) const MESSAGE: u8 = 4;

impl<'a> Packet<'a> {
    /// Reads a packet that came as text: a WebSocket text message, or one record of a polling payload. If a packet has
    /// data although its type carries none, the data is ignored, as by the official server.
    ///
    /// In 0.9 the heartbeat `2::` is a pong, `8::` a noop, and `0::` without an endpoint a close. Everything else is
    /// text, even if malformed: the servers of that time ignored such packets.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`] for an empty text, an unknown type and bad base64. Never in 0.9.
    pub fn from_text(generation: Generation, text: &'a str) -> Result<Self, ProtocolError> {
        if generation == Generation::Sio09 {
            return Ok(match legacy::Parts::split(text) {
                Some(legacy::Parts { kind: b'0', endpoint: "", .. }) => Self::Close,
                Some(legacy::Parts { kind: b'2', .. }) => Self::Pong(""),
                Some(legacy::Parts { kind: b'8', .. }) => Self::Noop,
                _ => Self::Text(text),
            });
        }
        // Each type is one byte of ASCII.
        let (kind, data) = text.split_at_checked(1).ok_or(ProtocolError::Engine)?;
        match kind.as_bytes() {
            [b'b'] => {
                let message = data.strip_prefix(base64_type(generation)).ok_or(ProtocolError::Engine)?;
                Ok(Self::Binary(BASE64.decode(message).map_err(|_| ProtocolError::Engine)?.into()))
            }
            [digit @ b'0'..=b'9'] if digit - b'0' == MESSAGE => Ok(Self::Text(data)),
            [digit @ b'0'..=b'9'] => Self::control(digit - b'0', data),
            _ => Err(ProtocolError::Engine),
        }
    }

    /// Reads a packet that came as a WebSocket binary message, or as a binary record of a payload. In Engine.IO 3 it
    /// begins with the type, as a number. A message may have any data; the data of other packets is ignored unless it
    /// is UTF-8. 0.9 has no binary packets: they are ignored.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`] for an unknown type or an empty packet, in Engine.IO 3.
    pub fn from_binary(generation: Generation, data: &'a [u8]) -> Result<Self, ProtocolError> {
        match generation {
            Generation::Eio4 => Ok(Self::Binary(data.into())),
            Generation::Eio3 => {
                let (&kind, data) = data.split_first().ok_or(ProtocolError::Engine)?;
                match kind {
                    MESSAGE => Ok(Self::Binary(data.into())),
                    _ => Self::control(kind, std::str::from_utf8(data).unwrap_or_default()),
                }
            }
            Generation::Sio09 => Ok(Self::Noop),
        }
    }

    /// Returns the packet of a type other than message.
    fn control(kind: u8, data: &'a str) -> Result<Self, ProtocolError> {
        Ok(match kind {
            0 => Self::Open(data),
            1 => Self::Close,
            2 => Self::Ping(data),
            3 => Self::Pong(data),
            5 => Self::Upgrade,
            6 => Self::Noop,
            _ => return Err(ProtocolError::Engine),
        })
    }
}

/// Returns a binary message as a text packet: `bAQIDBA==`, or in Engine.IO 3 `b4AQIDBA==`.
pub(super) fn base64_packet(generation: Generation, message: &[u8]) -> String {
    let mut packet = String::with_capacity(base64_packet_bytes(generation, message.len()));
    packet.push('b');
    packet.push_str(base64_type(generation));
    BASE64.encode_string(message, &mut packet);
    packet
}

/// Returns the length of the text packet of a binary message.
pub(super) fn base64_packet_bytes(generation: Generation, message_bytes: usize) -> usize {
    1 + base64_type(generation).len() + message_bytes.div_ceil(3) * 4
}

/// Returns the text between `b` and the base64: in Engine.IO 3 the type, which is always that of a message.
fn base64_type(generation: Generation) -> &'static str {
    match generation {
        Generation::Eio4 | Generation::Sio09 => "",
        Generation::Eio3 => "4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Generation::{Eio3, Eio4, Sio09};

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
        ];
        for (text, packet) in table {
            assert_eq!(Packet::from_text(Eio4, text), Ok(packet.clone()), "{text}");
            assert_eq!(Packet::from_text(Eio3, text), Ok(packet), "{text}");
        }
    }

    #[test]
    fn reads_base64() {
        let table: [(&str, &[u8]); 5] = [
            ("", b""),
            ("AQIDBA==", &[1, 2, 3, 4]),
            ("AQIDBA", &[1, 2, 3, 4]),
            ("AQIDBB==", &[1, 2, 3, 4]),
            ("+/8=", &[0xfb, 0xff]),
        ];
        for (text, data) in table {
            assert_eq!(Packet::from_text(Eio4, &format!("b{text}")), Ok(binary(data)), "{text}");
            assert_eq!(Packet::from_text(Eio3, &format!("b4{text}")), Ok(binary(data)), "{text}");
        }
        assert_eq!(base64_packet(Eio4, &[1, 2, 3, 4]), "bAQIDBA==");
        assert_eq!(base64_packet(Eio3, &[1, 2, 3, 4]), "b4AQIDBA==");
        // Engine.IO 4 has no type after the b.
        assert_eq!(Packet::from_text(Eio4, "b4AQI"), Ok(binary(&[0xe0, 0x04, 0x08])));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        let both = ["", "7", "9", "abc", "-1", " 2", "é", "٣", "\0", "b=", "bA", "bé", "b-_8=", "bAQIDBA==="];
        for text in both {
            assert_eq!(Packet::from_text(Eio4, text), BAD, "{text:?}");
            assert_eq!(Packet::from_text(Eio3, text), BAD, "{text:?}");
        }
        assert_eq!(Packet::from_text(Eio4, "bAQID BA=="), BAD);
        for text in ["b", "bAQIDBA==", "b2AQIDBA==", "b7", "b44===", "b4A", "b4 ", "b4\n"] {
            assert_eq!(Packet::from_text(Eio3, text), BAD, "{text:?}");
        }
    }

    #[test]
    fn binary_messages_have_a_type_in_engine_io_3_alone() {
        assert_eq!(Packet::from_binary(Eio4, &[4, 1]), Ok(binary(&[4, 1])));
        assert_eq!(Packet::from_binary(Eio4, &[]), Ok(binary(&[])));
        let table: [(&[u8], Result<Packet<'_>, ProtocolError>); 11] = [
            (&[4, 1, 2, 3, 4], Ok(binary(&[1, 2, 3, 4]))),
            (&[4], Ok(binary(&[]))),
            (&[0], Ok(Packet::Open(""))),
            (&[1], Ok(Packet::Close)),
            (b"\x02probe", Ok(Packet::Ping("probe"))),
            (b"\x03\xff", Ok(Packet::Pong(""))),
            (&[5], Ok(Packet::Upgrade)),
            (&[6, 1], Ok(Packet::Noop)),
            (&[], BAD),
            (&[7], BAD),
            (b"4hello", BAD),
        ];
        for (data, packet) in table {
            assert_eq!(Packet::from_binary(Eio3, data), packet, "{data:?}");
            assert_eq!(Packet::from_binary(Sio09, data), Ok(Packet::Noop), "{data:?}");
        }
    }

    #[test]
    fn legacy_packets_that_keep_a_session_are_told_apart() {
        let table = [
            ("0::", Packet::Close),
            ("0:::", Packet::Close),
            ("0:1+::x", Packet::Close),
            ("0::/max", Packet::Text("0::/max")),
            ("2::", Packet::Pong("")),
            ("2:::", Packet::Pong("")),
            ("2:7+:/max:x", Packet::Pong("")),
            ("2:99999999999999999999:", Packet::Pong("")),
            ("8::", Packet::Noop),
        ];
        for (text, packet) in table {
            assert_eq!(Packet::from_text(Sio09, text), Ok(packet), "{text}");
        }
        for text in
            ["1::/max", "5:::{}", "", "0", "2", "2:", "2:x:", "22::", ":2::", "8", "9::", "b4AQID", "é", "2probe"]
        {
            assert_eq!(Packet::from_text(Sio09, text), Ok(Packet::Text(text)), "{text}");
        }
    }
}
