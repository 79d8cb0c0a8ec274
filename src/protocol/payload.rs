//! Polling payloads: several packets in the body of one request or answer.
//!
//! Engine.IO 4 separates them, `4a\x1e2`; Engine.IO 3 counts them, `2:4a1:2`, or `00 02 FF "4a"` where they are bytes;
//! Socket.IO 0.9 frames them where there is more than one, `\ufffd3\ufffd1::`. Text is counted in UTF-16 code units, as
//! JavaScript does. A length is a claim of the client's: it is compared with what is there, and nothing is allocated by
//! it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use super::engine::{self, Packet};
use super::frame::{Frame, Payload};
use super::{Generation, ProtocolError};

/// Between the packets of an Engine.IO 4 payload. JSON and base64 never hold it.
const SEPARATOR: char = '\x1e';

/// Before and behind each length of a Socket.IO 0.9 payload.
const FRAMING: char = '\u{fffd}';

/// Enough for a gigabyte, and any such number fits a usize.
const LENGTH_DIGITS_MAX: usize = 9;

/// Before each packet of an Engine.IO 3 payload in bytes, and behind its length.
const TEXT_RECORD: u8 = 0;
const BINARY_RECORD: u8 = 1;
const LENGTH_END: u8 = 0xff;

/// In what form a client takes packets by polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As text, in which binary messages are base64.
    Text,
    /// As text, or, in Engine.IO 3, as bytes where there is a binary message among them.
    Mixed,
    /// As bytes, in Engine.IO 3: its first clients read nothing else.
    Bytes,
}

/// The body of a request or of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `text/plain`
    Text(String),
    /// `application/octet-stream`, in Engine.IO 3 alone.
    Binary(Vec<u8>),
}

impl Body {
    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Reads the packets of the body of a POST, in order. What is before a bad one is still given, and the bad one is the
/// last. The reader owns the body, so that it may be put aside between two packets.
#[derive(Debug)]
pub struct PayloadReader {
    generation: Generation,
    body: Body,
    /// Where the next packet begins; none behind the last.
    at: Option<usize>,
    /// The text of the last packet, where it had to be decoded.
    decoded: Option<String>,
    encodes_once: bool,
}

/// Where a packet stands in its body, and where the one behind it begins.
struct Record {
    range: Range<usize>,
    next: Option<usize>,
    /// Whether its first byte is its type, as a number.
    binary: bool,
}

impl PayloadReader {
    /// Begins with the first packet of `body`.
    pub fn new(generation: Generation, body: Body) -> Self {
        Self { generation, body, at: Some(0), decoded: None, encodes_once: false }
    }

    /// The same of a client of which it is known whether it [encodes once](Self::encodes_once).
    #[must_use]
    pub fn knowing(mut self, encodes_once: bool) -> Self {
        self.encodes_once = encodes_once;
        self
    }

    /// Whether the client has shown that it is no Engine.IO 1.x, which encodes text twice: its text is not guessed
    /// about.
    pub fn encodes_once(&self) -> bool {
        self.encodes_once
    }

    /// Whether nothing is left to read.
    pub fn is_finished(&self) -> bool {
        self.at.is_none()
    }

    /// The next packet. None behind the last one.
    ///
    /// An empty body holds no packet: a bad one in Engine.IO, none in 0.9. The rest of a 0.9 body that is badly framed
    /// is passed over, since its servers ignore garbage.
    ///
    /// # Errors
    /// [`ProtocolError::Engine`], and [`ProtocolError::Utf8`] for text among bytes that is none; there is nothing
    /// behind it.
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
            // The official server passes over them too: an empty payload is written `0:`.
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

/// The record of Engine.IO 4 at `at`.
fn separated(body: &str, at: usize) -> Record {
    let end = body[at..].find(SEPARATOR).map_or(body.len(), |len| at + len);
    Record { range: at..end, next: (end < body.len()).then_some(end + SEPARATOR.len_utf8()), binary: false }
}

/// The record of Engine.IO 3 at `at`.
fn counted(body: &str, at: usize) -> Result<Record, ProtocolError> {
    let (record, rest) = take_counted(&body[at..], ':').ok_or(ProtocolError::Engine)?;
    let end = body.len() - rest.len();
    Ok(Record { range: end - record.len()..end, next: (!rest.is_empty()).then_some(end), binary: false })
}

/// The record of Engine.IO 3 in bytes at `at`.
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

/// The record of Socket.IO 0.9 at `at`: framed, or the whole body where it does not begin with framing.
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

/// `<length><separator><record>` at the front of `text`, and what stands behind it.
fn take_counted(text: &str, separator: char) -> Option<(&str, &str)> {
    let digits = text.bytes().take(LENGTH_DIGITS_MAX).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(digits);
    split_at_utf16(rest.strip_prefix(separator)?, digits.parse().ok()?)
}

/// Splits behind so many UTF-16 code units. None where there are fewer, or where that cuts a surrogate pair.
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

/// Whether no client of Engine.IO 1.x would write this packet: it has a character that stands for no byte, or asks for
/// (or leaves) a namespace with a comma behind the name, as Socket.IO 2.x does.
fn shows_one_encoding(text: &str) -> bool {
    let namespace = text.strip_prefix("40/").or_else(|| text.strip_prefix("41/"));
    let has_comma = namespace.is_some_and(|name| name.find(',') == name.len().checked_sub(1));
    has_comma || text.chars().any(|c| c > '\u{ff}')
}

/// What Engine.IO 1.x meant: its clients encode text in UTF-8 before they count it, and the request does it again. None
/// of text that does not look like that.
fn decode_twice_encoded(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    String::from_utf8(text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<_>>()?).ok()
}

/// Gathers the packets of a poll's answer.
#[derive(Debug)]
pub struct PayloadWriter {
    generation: Generation,
    form: Form,
    packets: Vec<Frame>,
    /// How long the body will be at most.
    bytes: usize,
}

impl PayloadWriter {
    /// An empty body for a client that takes this form. Other generations than Engine.IO 3 have text in any case.
    pub fn new(generation: Generation, form: Form) -> Self {
        Self { generation, form, packets: Vec::new(), bytes: 0 }
    }

    /// Whether the body would be at most `bytes_max` long with one more packet; the first always fits.
    pub fn fits(&self, frame: &Frame, bytes_max: usize) -> bool {
        self.is_empty() || self.bytes + self.record_bytes_max(frame) <= bytes_max
    }

    /// Adds a packet.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += self.record_bytes_max(&frame);
        self.packets.push(frame);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The body.
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

    /// How long the record of `frame` would be at most, with what separates it from those before. It is exactly that
    /// but where a length counts characters beyond ASCII, and for text of Engine.IO 3, which has one byte more where
    /// the body turns out to be bytes.
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

    /// The packets as text.
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
                // 0.9 has none, and no frame for it is one.
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
