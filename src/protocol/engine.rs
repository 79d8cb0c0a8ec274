//! Engine.IO packets.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Generation, ProtocolError};

/// Writes padding, as the official clients expect, and reads base64 with or without it, as Node does.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
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
}
