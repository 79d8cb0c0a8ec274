//! Frames of AMQP 0-9-1, as they lie in a stream of bytes. A frame is judged by its head, before its payload is there.
//! Pure.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// The bytes with which a client of AMQP 0-9-1 begins.
pub const PROTOCOL: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// Bytes of a head: the kind, the channel, and the length of the payload.
const HEAD: usize = 7;

/// Bytes of a frame around its payload.
pub const AROUND: usize = HEAD + 1;

/// The last byte of each frame.
const END: u8 = 0xce;

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method.
    Method = 1,
    /// The head of a content.
    Header = 2,
    /// A part of a content.
    Body = 3,
    /// A sign of life.
    Heartbeat = 8,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The channel that it belongs to; 0 is the connection.
    pub channel: u16,
    /// The rest.
    pub payload: Bytes,
}

/// The reason why bytes are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// The server answers with the protocol that it speaks.
    #[error("it does not speak AMQP 0-9-1")]
    Protocol,
    /// The kind is unknown.
    #[error("it sends a frame of the unknown kind {0}")]
    Kind(u8),
    /// The frame is longer than agreed.
    #[error("it sends a frame of {0} bytes, which is more than agreed")]
    TooLong(u32),
    /// The last byte is another one.
    #[error("it sends a frame without its end")]
    End,
}

/// Takes the first frame out of a buffer. `None` if it is not complete. A frame has at most `bytes_max` bytes.
///
/// # Errors
/// The bytes are no frame. The connection is of no use any more.
pub fn take(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, Broken> {
    let Some(mut head) = buffer.get(..HEAD) else { return Ok(None) };
    if head.starts_with(b"AMQP") {
        return Err(Broken::Protocol);
    }
    let kind = match head.get_u8() {
        1 => Kind::Method,
        2 => Kind::Header,
        3 => Kind::Body,
        8 => Kind::Heartbeat,
        other => return Err(Broken::Kind(other)),
    };
    let (channel, length) = (head.get_u16(), head.get_u32());
    let bytes = length as usize + AROUND;
    if bytes > bytes_max {
        return Err(Broken::TooLong(length));
    }
    if buffer.len() < bytes {
        return Ok(None);
    }
    let mut frame = buffer.split_to(bytes);
    if frame[bytes - 1] != END {
        return Err(Broken::End);
    }
    frame.truncate(bytes - 1);
    frame.advance(HEAD);
    Ok(Some(Frame { kind, channel, payload: frame.freeze() }))
}

/// Appends a frame.
pub fn put(out: &mut Vec<u8>, kind: Kind, channel: u16, payload: &[u8]) {
    out.put_u8(kind as u8);
    out.put_u16(channel);
    // The methods of a client have some hundred bytes.
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_slice(payload);
    out.put_u8(END);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(kind: Kind, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, kind, channel, payload);
        out
    }

    #[test]
    fn frames_are_taken_when_they_are_complete() {
        let bytes = [bytes_of(Kind::Body, 1, b"abc"), bytes_of(Kind::Heartbeat, 0, b"")].concat();
        for cut in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..cut]);
            let first = take(&mut buffer, 100).unwrap();
            assert_eq!(first.is_some(), cut >= 11, "{cut}");
            buffer.extend_from_slice(&bytes[cut..]);
            let mut rest = first.into_iter().collect::<Vec<_>>();
            while let Some(frame) = take(&mut buffer, 100).unwrap() {
                rest.push(frame);
            }
            let frame = |kind, channel, payload: &'static [u8]| Frame { kind, channel, payload: payload.into() };
            assert_eq!(rest, [frame(Kind::Body, 1, b"abc"), frame(Kind::Heartbeat, 0, b"")]);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_by_its_head() {
        let mut wrong_end = bytes_of(Kind::Body, 1, b"abc");
        *wrong_end.last_mut().unwrap() = 0;
        let table: &[(&[u8], Broken)] = &[
            (b"AMQP\x00\x00\x09\x01", Broken::Protocol),
            (&[4, 0, 0, 0, 0, 0, 0], Broken::Kind(4)),
            (&[3, 0, 0, 0, 0, 0, 93], Broken::TooLong(93)),
            (&[3, 0, 0, 255, 255, 255, 255], Broken::TooLong(u32::MAX)),
            (&wrong_end, Broken::End),
        ];
        for (bytes, broken) in table {
            assert_eq!(take(&mut BytesMut::from(*bytes), 100), Err(*broken), "{bytes:?}");
        }
        assert_eq!(take(&mut BytesMut::from(&[3, 0, 0, 0, 0, 0, 92][..]), 100), Ok(None));
    }

    proptest! {
        #[test]
        fn random_bytes_are_frames_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = take(&mut buffer, 100) {
                prop_assert!(frame.payload.len() + AROUND <= 100);
            }
        }
    }
}
