//! The normalization of HTTP/1.1 answers: bytes of the peer go in, and for each request one answer comes out that awc
//! cannot misread. Pure: the socket is in [`connection`](super::connection).
//!
//! awc 3.11 takes an interim answer for the final one, an answer without a length for an empty one, and unsolicited
//! bytes for the answer to the next request. So awc gets either an error, or a head that is written anew, with a length
//! or in chunks, and a body that ends as that head says. Unsolicited bytes end the use of a connection.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, BytesMut};
use httparse::{Header, ParserConfig, Status};

use crate::protocol::chunked::{Chunked, NotChunked, Piece};

/// Most headers of an answer. No MAX or proxy sends as many.
pub(super) const HEADERS_MAX: usize = 96;
/// Longest head of an answer.
pub(super) const HEAD_BYTES_MAX: usize = 128 * 1024;
/// The headers that are passed on: the readers of answers use no others.
const PASSED_ON: [&str; 3] = ["content-type", "content-encoding", "location"];

/// The reason why there is no answer, or no complete one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The peer does not speak HTTP, with an explanation.
    NotHttp(String),
    /// The head is above this bound.
    TooLarge(String),
    /// The peer changes the protocol (101), although nobody asked for that.
    Switching,
    /// The peer closed before the answer.
    Unanswered,
    /// The peer closed within the head.
    HeadCut,
    /// The peer closed within the body, after this number of bytes. The second number is the length, if it is known.
    BodyCut(u64, Option<u64>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(how) => write!(f, "not HTTP: {how}"),
            Self::TooLarge(what) => write!(f, "the head is too large: more than {what}"),
            Self::Switching => f.write_str("101 Switching Protocols, which was not asked for"),
            Self::Unanswered => f.write_str("the connection was closed without an answer"),
            Self::HeadCut => f.write_str("the connection was lost before the answer: it was closed within the head"),
            Self::BodyCut(read, Some(length)) => write!(f, "the connection was closed after {read} of {length} bytes"),
            Self::BodyCut(read, None) => {
                write!(f, "the connection was closed half-way through the answer, after {read} bytes")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// The answers on one connection, one for each request.
#[derive(Debug)]
pub(super) struct Responses {
    state: State,
    /// Whether another request may follow the answer in progress.
    reusable: bool,
    /// Whether the request was a HEAD, whose answer has no body.
    bodiless: bool,
    /// Received bytes that are not used yet.
    input: BytesMut,
    /// The part of `input` that was searched for the end of the head.
    searched: usize,
    /// The normalized answer, as far as awc has not read it.
    output: BytesMut,
    /// The decoder of a body in chunks.
    chunks: Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No request is in progress.
    Idle,
    /// The final head is not complete.
    Head,
    /// A body of a known length.
    Sized { length: u64, read: u64 },
    /// A body in chunks.
    Chunked { read: u64 },
    /// A body that ends with the connection.
    UntilClose { read: u64 },
    /// The connection cannot be used for another request.
    Spent,
}

/// How the end of a body is found.
enum Framing {
    Sized(u64),
    Chunked,
    UntilClose,
}

impl Responses {
    pub(super) fn new() -> Self {
        Self {
            state: State::Idle,
            reusable: false,
            bodiless: false,
            input: BytesMut::new(),
            searched: 0,
            output: BytesMut::new(),
            chunks: Chunked::default(),
        }
    }

    /// Whether a request may be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether the connection is finished, except for the rest in [`Self::output`].
    pub(super) fn is_spent(&self) -> bool {
        self.state == State::Spent
    }

    /// Ends the use of the connection.
    pub(super) fn spend(&mut self) {
        self.state = State::Spent;
    }

    /// The normalized answer as far as it has arrived and was not read.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Begins a request, whose first bytes are these.
    pub(super) fn asked(&mut self, request: &[u8]) {
        self.bodiless = request.starts_with(b"HEAD ");
        self.reusable = true;
        self.searched = 0;
        self.state = State::Head;
    }

    /// Takes bytes of the peer.
    ///
    /// # Errors
    /// The answer cannot be used. The connection is spent.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.input.extend_from_slice(bytes);
        let outcome = self.go_on();
        if outcome.is_err() {
            self.spend();
        }
        outcome
    }

    /// Takes the orderly end of the connection. A reset, and TLS without a close_notify, are not orderly.
    ///
    /// # Errors
    /// The answer is not complete.
    pub(super) fn closed(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.state, State::Spent) {
            State::Idle | State::Spent => Ok(()),
            State::Head if self.input.is_empty() => Err(Fault::Unanswered),
            State::Head => Err(Fault::HeadCut),
            State::UntilClose { .. } => {
                self.output.extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
            State::Sized { length, read } => Err(Fault::BodyCut(read, Some(length))),
            State::Chunked { read } => Err(Fault::BodyCut(read, None)),
        }
    }

    fn go_on(&mut self) -> Result<(), Fault> {
        while self.step()? {}
        if self.state == State::Idle && !self.input.is_empty() {
            self.spend();
        }
        Ok(())
    }

    /// Makes one step of reading. Returns whether another step may follow.
    fn step(&mut self) -> Result<bool, Fault> {
        match self.state {
            State::Idle | State::Spent => Ok(false),
            State::Head => self.head(),
            State::Sized { length, read } => {
                let count = self.take(length - read);
                let piece = self.input.split_to(count);
                self.output.extend_from_slice(&piece);
                let read = read + count as u64;
                self.state = State::Sized { length, read };
                if read == length {
                    self.answered();
                }
                Ok(false)
            }
            State::Chunked { read } => {
                let (used, piece) = self.chunks.read(&self.input)?;
                let (data, ended) = match piece {
                    Piece::Data(data) => (data.len(), false),
                    Piece::More => (0, false),
                    Piece::End => (0, true),
                };
                self.input.advance(used - data);
                if data > 0 {
                    self.chunk(data);
                    self.state = State::Chunked { read: read + data as u64 };
                }
                if ended {
                    self.output.extend_from_slice(b"0\r\n\r\n");
                    self.answered();
                }
                Ok(data > 0)
            }
            State::UntilClose { read } => {
                let count = self.input.len();
                if count > 0 {
                    self.chunk(count);
                }
                self.state = State::UntilClose { read: read + count as u64 };
                Ok(false)
            }
        }
    }

    /// The number of received bytes, at most `wanted`.
    fn take(&self, wanted: u64) -> usize {
        usize::try_from(wanted).unwrap_or(usize::MAX).min(self.input.len())
    }

    /// Passes on `count` bytes as one chunk.
    fn chunk(&mut self, count: usize) {
        let piece = self.input.split_to(count);
        self.output.extend_from_slice(format!("{count:x}\r\n").as_bytes());
        self.output.extend_from_slice(&piece);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Ends a complete answer.
    fn answered(&mut self) {
        self.state = if self.reusable { State::Idle } else { State::Spent };
    }

    /// Reads a head if it is complete: skips an interim one, passes on the final one. Returns whether it was complete.
    fn head(&mut self) -> Result<bool, Fault> {
        // A robust reader skips empty lines before a head.
        let blank = self.input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.input.advance(blank);
        let start = self.input.len().min(b"HTTP/".len());
        if self.input[..start] != b"HTTP/"[..start] {
            return Err(Fault::NotHttp("the answer does not begin with a status line".to_owned()));
        }
        if !self.has_empty_line() {
            return if self.input.len() > HEAD_BYTES_MAX { Err(too_many_bytes()) } else { Ok(false) };
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let mut parser = ParserConfig::default();
        parser.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
        let bytes = match parser.parse_response(&mut head, &self.input) {
            Ok(Status::Complete(bytes)) if bytes <= HEAD_BYTES_MAX => bytes,
            Ok(Status::Complete(_)) => return Err(too_many_bytes()),
            Ok(Status::Partial) => return Ok(false),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooLarge(format!("{HEADERS_MAX} headers"))),
            Err(error) => return Err(Fault::NotHttp(error.to_string())),
        };
        let status = head.code.unwrap_or(0);
        match status {
            0..100 => return Err(Fault::NotHttp(format!("the status {status}"))),
            101 => return Err(Fault::Switching),
            // RFC 9110, 15.2: any number of interim answers may come before the final one.
            102..200 | 100 => {
                self.input.advance(bytes);
                self.searched = 0;
                return Ok(true);
            }
            _ => {}
        }
        let modern = head.version == Some(1);
        let (connection, transfer_encoding) =
            (list(head.headers, "connection"), list(head.headers, "transfer-encoding"));
        let says = |option: &str| connection.iter().any(|said| said == option);
        let framing = if self.bodiless || matches!(status, 204 | 304) {
            Framing::Sized(0)
        } else {
            framing(&transfer_encoding, head.headers)?
        };
        // RFC 9112, 6.1: after a head with both length and chunks, or with chunks in HTTP/1.0, the connection is not
        // reused.
        let doubtful = !transfer_encoding.is_empty() && (!modern || !list(head.headers, "content-length").is_empty());
        self.reusable =
            !doubtful && !matches!(framing, Framing::UntilClose) && !says("close") && (modern || says("keep-alive"));
        let plain = plain_head(status, head.headers, &framing);
        self.input.advance(bytes);
        self.output.extend_from_slice(&plain);
        self.state = match framing {
            Framing::Sized(length) => State::Sized { length, read: 0 },
            Framing::Chunked => {
                self.chunks = Chunked::default();
                State::Chunked { read: 0 }
            }
            Framing::UntilClose => State::UntilClose { read: 0 },
        };
        Ok(true)
    }

    /// Whether `input` has a complete head. The part that was searched before is skipped.
    fn has_empty_line(&mut self) -> bool {
        let mut from = self.searched;
        while let Some(at) = memchr::memchr(b'\n', &self.input[from..]).map(|at| from + at) {
            match self.input[at + 1..] {
                [b'\n', ..] | [b'\r', b'\n', ..] => return true,
                [] | [b'\r'] => {
                    self.searched = at;
                    return false;
                }
                _ => from = at + 1,
            }
        }
        self.searched = self.input.len();
        false
    }
}

fn too_many_bytes() -> Fault {
    Fault::TooLarge(format!("{HEAD_BYTES_MAX} bytes of headers"))
}

/// Returns how the end of a body is found (RFC 9112, 6.3).
fn framing(transfer_encoding: &[String], headers: &[Header<'_>]) -> Result<Framing, Fault> {
    // "identity" is an old way to say that there is no coding.
    let codings: Vec<_> = transfer_encoding.iter().map(String::as_str).filter(|coding| *coding != "identity").collect();
    match codings[..] {
        [] => {}
        ["chunked"] => return Ok(Framing::Chunked),
        _ => return Err(Fault::NotHttp(format!("the transfer coding {}", codings.join(", ")))),
    }
    let lengths = list(headers, "content-length");
    let Some(length) = lengths.first() else {
        let empty = headers.iter().any(|header| header.name.eq_ignore_ascii_case("content-length"));
        return if empty { Err(Fault::NotHttp("an empty length".to_owned())) } else { Ok(Framing::UntilClose) };
    };
    if lengths.iter().any(|other| other != length) {
        return Err(Fault::NotHttp(format!("the lengths {}", lengths.join(" and "))));
    }
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::NotHttp(format!("the length {length}")));
    }
    // A length that does not fit an integer is above any bound.
    Ok(Framing::Sized(length.parse().unwrap_or(u64::MAX)))
}

/// Returns the elements of all lines of a list header, in lower case.
fn list(headers: &[Header<'_>], name: &str) -> Vec<String> {
    let mut elements = Vec::new();
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
        let value = unfolded(header.value);
        let text = String::from_utf8_lossy(&value).to_ascii_lowercase();
        elements.extend(text.split(',').map(|element| element.trim().to_owned()).filter(|element| !element.is_empty()));
    }
    elements
}

/// Encodes the head that awc reads: the status, the headers that it needs, and one clear framing.
fn plain_head(status: u16, headers: &[Header<'_>], framing: &Framing) -> Vec<u8> {
    let mut plain = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for name in PASSED_ON {
        let Some(header) = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)) else { continue };
        plain.extend_from_slice(format!("{name}: ").as_bytes());
        plain.extend_from_slice(&unfolded(header.value));
        plain.extend_from_slice(b"\r\n");
    }
    let framed_by = match framing {
        Framing::Sized(length) => format!("content-length: {length}\r\n\r\n"),
        Framing::Chunked => "transfer-encoding: chunked\r\n\r\n".to_owned(),
        // Tells the reader that only the close has ended this body.
        Framing::UntilClose => "transfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_owned(),
    };
    plain.extend_from_slice(framed_by.as_bytes());
    plain
}

/// Returns the value of a header in one line: each fold becomes a space (RFC 9112, 5.2).
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value.trim_ascii());
    }
    let plain = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    Cow::Owned(value.trim_ascii().iter().map(plain).collect())
}

impl From<NotChunked> for Fault {
    fn from(error: NotChunked) -> Self {
        Self::NotHttp(error.to_string())
    }
}

#[cfg(test)]
mod tests;
