//! Polling payloads: several packets in the body of one request or answer.
//!
//! Engine.IO 4 separates them: `4a\x1e2`. Engine.IO 3 writes the length before each: `2:4a1:2`, or `00 02 FF "4a"` in a
//! body of bytes. Socket.IO 0.9 frames them if there are several: `\ufffd3\ufffd1::`. The length of text is counted in
//! UTF-16 code units, as JavaScript does. A length from a client is compared with the body, and nothing is allocated
//! for it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use super::engine::{self, Packet};
use super::frame::{Frame, Payload};
use super::{Generation, ProtocolError};

/// Separates the packets of an Engine.IO 4 payload. JSON and base64 never hold it.
const SEPARATOR: char = '\x1e';

/// Stands before and after each length of a Socket.IO 0.9 payload.
const FRAMING: char = '\u{fffd}';

/// The largest number of digits in a length: enough for a gigabyte, and every such number fits a usize.
const LENGTH_DIGITS_MAX: usize = 9;

/// Begins a text packet of an Engine.IO 3 payload in bytes.
const TEXT_RECORD: u8 = 0;

/// Begins a binary packet of an Engine.IO 3 payload in bytes.
const BINARY_RECORD: u8 = 1;

/// Ends each length of an Engine.IO 3 payload in bytes.
const LENGTH_END: u8 = 0xff;

/// The form in which a client takes packets by polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text, in which binary messages are base64.
    Text,
    /// Text, or in Engine.IO 3 bytes if there is a binary message among the packets.
    Mixed,
    /// Bytes in Engine.IO 3, whose first clients read nothing else.
    Bytes,
}

/// The body of a request or of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `text/plain`
    Text(String),
    /// `application/octet-stream`, in Engine.IO 3 only.
    Binary(Vec<u8>),
}

impl Body {
    /// Returns the length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Reads the packets of the body of a POST, in order. The packets before a bad one are still returned; the bad one is
/// the last. The reader owns the body, so that it may be put aside between two packets.
#[derive(Debug)]
pub struct PayloadReader {
    generation: Generation,
    body: Body,
    /// Where the next packet begins. `None` after the last one.
    at: Option<usize>,
    /// The text of the last packet, if it had to be decoded.
    decoded: Option<String>,
    encodes_once: bool,
}

/// The place of a packet in its body, and of the packet after it.
struct Record {
    range: Range<usize>,
    next: Option<usize>,
    /// Whether its first byte is its type, as a number.
    binary: bool,
}

impl PayloadReader {
    /// Returns a reader that begins with the first packet of `body`.
    pub fn new(generation: Generation, body: Body) -> Self {
        Self { generation, body, at: Some(0), decoded: None, encodes_once: false }
    }

    /// Returns the reader with knowledge from an earlier body of the same client: whether it
    /// [encodes once](Self::encodes_once).
    #[must_use]
    pub fn knowing(mut self, encodes_once: bool) -> Self {
        self.encodes_once = encodes_once;
        self
    }

    /// Returns whether the client has shown that it is not Engine.IO 1.x, which encodes text twice. Its text is then
    /// never decoded a second time.
    pub fn encodes_once(&self) -> bool {
        self.encodes_once
    }

    /// Returns whether nothing is left to read.
    pub fn is_finished(&self) -> bool {
        self.at.is_none()
    }

    /// Returns the next packet, or `None` after the last one.
    ///
    /// An empty body is a bad packet in Engine.IO, and no packet in 0.9. The rest of a 0.9 body that is badly framed is
    /// ignored, as its servers did.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`] for a bad packet or record, and [`ProtocolError::Utf8`] for a text record in bytes
    /// that is not UTF-8. Nothing follows an error.
    pub fn read(&mut self) -> Option<Result<Packet<'_>, ProtocolError>> {
        let at = self.at.take()?;
        let found = match (&self.body, self.generation) {
            (Body::Text(body), Generation::Eio4) => Ok(separated(body, at)),
            (Body::Text(body), Generation::Eio3) => counted(body, at),
            (Body::Text(body), Generation::Sio09) => Ok(framed(body, at)?),
            (Body::Binary(_), Generation::Eio4) => Err(ProtocolError::Engine),
            (Body::Binary(body), Generation::Eio3) => counted_bytes(body, at),
            (Body::Binary(_), Generation::Sio09) => return None,
        };
        let Record { range, next, binary } = match found {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let packet = match &self.body {
            // An empty payload is written `0:`, and the official server ignores empty packets too.
            Body::Text(_) if range.is_empty() && self.generation == Generation::Eio3 => Ok(Packet::Noop),
            Body::Text(body) => {
                let text = &body[range];
                self.encodes_once |= self.generation != Generation::Eio3 || shows_one_encoding(text);
                self.decoded = if self.encodes_once { None } else { decode_twice_encoded(text) };
                Packet::from_text(self.generation, self.decoded.as_deref().unwrap_or(text))
            }
            Body::Binary(body) if binary => Packet::from_binary(self.generation, &body[range]),
            Body::Binary(body) => match std::str::from_utf8(&body[range]) {
                Ok(text) => Packet::from_text(self.generation, text),
                Err(_) => Err(ProtocolError::Utf8),
            },
        };
        self.at = next.filter(|_| packet.is_ok());
        Some(packet)
    }
}

/// Returns the record of Engine.IO 4 at `at`.
fn separated(body: &str, at: usize) -> Record {
    let end = body[at..].find(SEPARATOR).map_or(body.len(), |len| at + len);
    Record { range: at..end, next: (end < body.len()).then_some(end + SEPARATOR.len_utf8()), binary: false }
}

/// Returns the record of Engine.IO 3 at `at`.
fn counted(body: &str, at: usize) -> Result<Record, ProtocolError> {
    let (record, rest) = take_counted(&body[at..], ':').ok_or(ProtocolError::Engine)?;
    let end = body.len() - rest.len();
    Ok(Record { range: end - record.len()..end, next: (!rest.is_empty()).then_some(end), binary: false })
}

/// Returns the record of Engine.IO 3 in bytes at `at`.
fn counted_bytes(body: &[u8], at: usize) -> Result<Record, ProtocolError> {
    let &[kind @ (TEXT_RECORD | BINARY_RECORD), ref rest @ ..] = &body[at..] else { return Err(ProtocolError::Engine) };
    let digits = rest.iter().take(LENGTH_DIGITS_MAX).take_while(|digit| **digit <= 9).count();
    let (digits, rest) = rest.split_at(digits);
    let len = digits.iter().fold(0, |len, digit| len * 10 + usize::from(*digit));
    match rest {
        [LENGTH_END, rest @ ..] if !digits.is_empty() && len <= rest.len() => {
            let from = body.len() - rest.len();
            let end = from + len;
            Ok(Record { range: from..end, next: (len < rest.len()).then_some(end), binary: kind == BINARY_RECORD })
        }
        _ => Err(ProtocolError::Engine),
    }
}

/// Returns the record of Socket.IO 0.9 at `at`: a framed one, or the whole body if it does not begin with a frame.
fn framed(body: &str, at: usize) -> Option<Record> {
    let rest = &body[at..];
    let (record, rest) = match rest.strip_prefix(FRAMING) {
        Some(rest) => take_counted(rest, FRAMING)?,
        None if at == 0 && !rest.is_empty() => (rest, ""),
        None => return None,
    };
    let end = body.len() - rest.len();
    Some(Record { range: end - record.len()..end, next: (!rest.is_empty()).then_some(end), binary: false })
}

/// Returns the record in `<length><separator><record>` at the front of `text`, and the text after it.
fn take_counted(text: &str, separator: char) -> Option<(&str, &str)> {
    let digits = text.bytes().take(LENGTH_DIGITS_MAX).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(digits);
    split_at_utf16(rest.strip_prefix(separator)?, digits.parse().ok()?)
}

/// Splits after `units` UTF-16 code units. `None` if there are fewer, or if the split would cut a surrogate pair.
fn split_at_utf16(text: &str, units: usize) -> Option<(&str, &str)> {
    if let Some(split) = text.split_at_checked(units)
        && split.0.is_ascii()
    {
        return Some(split);
    }
    let mut missing = units;
    for (at, c) in text.char_indices() {
        if missing == 0 {
            return text.split_at_checked(at);
        }
        missing = missing.checked_sub(c.len_utf16())?;
    }
    (missing == 0).then_some((text, ""))
}

/// Returns whether no client of Engine.IO 1.x would write this packet: it has a character beyond U+00FF, or it connects
/// to (or leaves) a namespace with a comma after the name, as Socket.IO 2.x does.
fn shows_one_encoding(text: &str) -> bool {
    let namespace = text.strip_prefix("40/").or_else(|| text.strip_prefix("41/"));
    let has_comma = namespace.is_some_and(|name| name.find(',') == name.len().checked_sub(1));
    has_comma || text.chars().any(|c| c > '\u{ff}')
}

/// Returns the text that a client of Engine.IO 1.x meant: it encodes text in UTF-8 before it counts it, and the request
/// encodes it again. `None` if the text does not look encoded twice.
fn decode_twice_encoded(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    String::from_utf8(text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<_>>()?).ok()
}

/// Gathers the packets of the answer to a poll.
#[derive(Debug)]
pub struct PayloadWriter {
    generation: Generation,
    form: Form,
    packets: Vec<Frame>,
    /// An upper bound of the length of the body.
    bytes: usize,
}

impl PayloadWriter {
    /// Returns an empty writer for a client that takes this form. All generations but Engine.IO 3 always get text.
    pub fn new(generation: Generation, form: Form) -> Self {
        Self { generation, form, packets: Vec::new(), bytes: 0 }
    }

    /// Returns whether the body would be at most `bytes_max` long with one more packet. The first packet always fits.
    pub fn fits(&self, frame: &Frame, bytes_max: usize) -> bool {
        self.is_empty() || self.bytes + self.record_bytes_max(frame) <= bytes_max
    }

    /// Adds a packet.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += self.record_bytes_max(&frame);
        self.packets.push(frame);
    }

    /// Returns whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the body.
    pub fn finish(self) -> Body {
        let is_binary = |frame: &Frame| matches!(frame.payload(), Payload::Binary(_));
        let in_bytes = match self.form {
            Form::Text => false,
            Form::Mixed => self.packets.iter().any(is_binary),
            Form::Bytes => true,
        };
        match self.generation {
            Generation::Eio4 => Body::Text(self.separated()),
            Generation::Eio3 if in_bytes => Body::Binary(self.counted_bytes()),
            Generation::Eio3 => Body::Text(self.counted()),
            Generation::Sio09 => Body::Text(self.framed()),
        }
    }

    /// Returns an upper bound of the length of the record of `frame`, its separator included. It is exact except in
    /// three cases: non-ASCII text may have a shorter length prefix, Engine.IO 3 text takes one byte less unless the
    /// body becomes binary, and a packet of 0.9 that stays alone is not framed.
    fn record_bytes_max(&self, frame: &Frame) -> usize {
        let base64 = |message_bytes| engine::base64_packet_bytes(self.generation, message_bytes);
        let bytes = match frame.payload() {
            Payload::Text(text) => text.len(),
            Payload::Binary(data) if self.generation == Generation::Eio4 => base64(data.len()),
            // The type in front of it is not part of the base64.
            Payload::Binary(data) if self.form == Form::Text => base64(data.len().saturating_sub(1)),
            Payload::Binary(data) => data.len(),
        };
        bytes
            + match self.generation {
                Generation::Eio4 => usize::from(!self.is_empty()),
                Generation::Eio3 => usize::from(self.form != Form::Text) + decimal_digits(bytes) + 1,
                Generation::Sio09 => 2 * FRAMING.len_utf8() + decimal_digits(bytes),
            }
    }

    /// Returns the packets as text.
    fn texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.packets.iter().map(|frame| match (frame.payload(), self.generation) {
            (Payload::Text(text), _) => text.into(),
            (Payload::Binary(data), Generation::Eio4) => engine::base64_packet(self.generation, data).into(),
            (Payload::Binary(data), _) => {
                engine::base64_packet(self.generation, data.get(1..).unwrap_or_default()).into()
            }
        })
    }

    fn separated(&self) -> String {
        let mut body = String::with_capacity(self.bytes);
        for (at, text) in self.texts().enumerate() {
            if at > 0 {
                body.push(SEPARATOR);
            }
            body.push_str(&text);
        }
        body
    }

    fn counted(&self) -> String {
        if self.is_empty() {
            return "0:".to_owned();
        }
        let mut body = String::with_capacity(self.bytes);
        for text in self.texts() {
            _ = write!(body, "{}:{text}", utf16_len(&text));
        }
        body
    }

    fn counted_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes);
        for frame in &self.packets {
            let (kind, data) = match frame.payload() {
                Payload::Text(text) => (TEXT_RECORD, text.as_bytes()),
                Payload::Binary(data) => (BINARY_RECORD, data),
            };
            body.push(kind);
            body.extend(data.len().to_string().bytes().map(|digit| digit - b'0'));
            body.push(LENGTH_END);
            body.extend_from_slice(data);
        }
        body
    }

    fn framed(&self) -> String {
        if let [frame] = self.packets.as_slice() {
            return match frame.payload() {
                Payload::Text(text) => text.to_owned(),
                // 0.9 has no binary packets, and no frame for it is binary.
                Payload::Binary(_) => String::new(),
            };
        }
        let mut body = String::with_capacity(self.bytes);
        for text in self.texts() {
            _ = write!(body, "{FRAMING}{}{FRAMING}{text}", utf16_len(&text));
        }
        body
    }
}

fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests;
