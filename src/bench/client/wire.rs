//! Bytes as a client reads and writes them: HTTP requests and answers, and WebSocket frames.

use std::io;

/// Size limit of a message and of an answer.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Limit of the number of headers in an answer.
const HEADERS_MAX: usize = 64;

/// The key of all handshakes. It need not be random, because no cache has to be bypassed.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`KEY`] that RFC 6455 demands.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

pub(super) fn garbage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The answer to a request.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    /// Length of head and body together.
    pub(super) bytes: usize,
}

impl Answer<'_> {
    /// Returns the error for a request that was refused with this answer.
    pub(super) fn refusal(&self) -> io::Error {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(100)]);
        // A page is meant for a browser; other bodies fit on a line.
        let body = if body.trim_start().starts_with('<') { Vec::new() } else { body.split_whitespace().collect() };
        garbage(format!("HTTP status {} {}", self.status, body.join(" ")).trim_end())
    }
}

/// Returns the answer at the beginning of `input`. `None` if it is incomplete.
pub(super) fn answer(input: &[u8]) -> io::Result<Option<Answer<'_>>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(parsed) = head.parse(input) else { return Err(garbage("an answer that is not HTTP")) };
    let httparse::Status::Complete(begin) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let status = head.code.unwrap_or_default();
    let len = match (status, header("content-length")) {
        (101, _) if header("sec-websocket-accept") != Some(ACCEPT) => {
            return Err(garbage("a handshake for another WebSocket"));
        }
        (101 | 204 | 304, _) => 0,
        (_, Some(len)) => len.trim().parse().map_err(|_| garbage("an answer with a bad length"))?,
        // An error without a length may end with the connection; its status says enough.
        (400.., None) => input.len() - begin,
        (_, None) => return Err(garbage("an answer without a Content-Length")),
    };
    if len > MESSAGE_BYTES_MAX {
        return Err(garbage("an answer that is too large"));
    }
    let body = input.get(begin..begin + len);
    Ok(body.map(|body| Answer { status, body, bytes: begin + len }))
}

/// Returns a GET request.
pub(super) fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Returns a request to become a WebSocket.
pub(super) fn upgrade(host: &str, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// Appends a POST request with this body.
pub(super) fn post(out: &mut Vec<u8>, host: &str, target: &str, body: &[u8]) {
    let len = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// Appends a masked frame, as a client writes it.
pub(super) fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) {
    out.push(FIN | opcode);
    match payload.len() {
        len @ 0..126 => out.push(MASKED | len as u8),
        len @ 126..65536 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    // Eight bytes at a time, which the compiler can vectorise.
    let long = u64::from_ne_bytes(std::array::from_fn(|at| key[at % key.len()]));
    let (chunks, rest) = payload.as_chunks();
    chunks.iter().for_each(|&chunk| out.extend_from_slice(&(u64::from_ne_bytes(chunk) ^ long).to_ne_bytes()));
    out.extend(rest.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// A fragment of a text message; the flag says whether it is the last.
    Part(&'a [u8], bool),
    /// A ping, to be answered.
    Ping(&'a [u8]),
    /// The close frame.
    Close,
    /// A pong or a binary message, which servers of this protocol do not send.
    Other,
}

/// Returns the frame at the beginning of `input`, and its length. `None` if it is incomplete.
pub(super) fn frame(input: &[u8]) -> io::Result<Option<(Frame<'_>, usize)>> {
    let &[first, second, ref extended @ ..] = input else { return Ok(None) };
    let (begin, len) = match second {
        0..126 => (2, u64::from(second)),
        126 => match extended.first_chunk() {
            Some(&len) => (4, u64::from(u16::from_be_bytes(len))),
            None => return Ok(None),
        },
        127 => match extended.first_chunk() {
            Some(&len) => (10, u64::from_be_bytes(len)),
            None => return Ok(None),
        },
        _ => return Err(garbage("a frame that is masked")),
    };
    if len > MESSAGE_BYTES_MAX as u64 {
        return Err(garbage("a message that is too large"));
    }
    let end = begin + len as usize;
    let Some(payload) = input.get(begin..end) else { return Ok(None) };
    let frame = match (first & !FIN, first & FIN != 0) {
        (TEXT, true) => Frame::Text(payload),
        (TEXT, false) => Frame::Part(payload, false),
        (CONTINUATION, fin) => Frame::Part(payload, fin),
        (BINARY | PONG, true) => Frame::Other,
        (PING, true) => Frame::Ping(payload),
        (CLOSE, true) => Frame::Close,
        _ => return Err(garbage("a frame of no kind")),
    };
    Ok(Some((frame, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_frames_of_every_length() {
        for len in [0usize, 1, 125, 126, 65535, 65536] {
            let payload = vec![b'x'; len];
            let head = match len {
                0..126 => vec![0x81, len as u8],
                126..65536 => [&[0x81, 126][..], &(len as u16).to_be_bytes()].concat(),
                _ => [&[0x81, 127][..], &(len as u64).to_be_bytes()].concat(),
            };
            let bytes = [head, payload.clone()].concat();
            for cut in [0, 1, bytes.len() - 1] {
                assert_eq!(frame(&bytes[..cut]).unwrap(), None, "{len} bytes cut at {cut}");
            }
            let more = [bytes.clone(), vec![0x81]].concat();
            assert_eq!(frame(&more).unwrap(), Some((Frame::Text(&payload), bytes.len())), "{len} bytes");
        }
    }

    #[test]
    fn refuses_frames_that_no_server_sends() {
        for bytes in
            [&[0x81, 0x80, 0, 0, 0, 0][..], &[0xc1, 0], &[0x83, 0], &[0x09, 0], &[0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert!(frame(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn writes_what_a_server_reads() {
        use crate::protocol::websocket::{Message, Reader, Step};
        for len in [0, 125, 126, 65535, 65536] {
            let payload = "é".repeat(len / 2);
            let mut bytes = Vec::new();
            write_frame(&mut bytes, TEXT, payload.as_bytes(), [1, 2, 3, 4]);
            let consumed = bytes.len();
            let message = Some(Message::Text(&payload));
            assert_eq!(Reader::new(1 << 20).step(&mut bytes), Ok(Step::Frame { consumed, message }));
        }
    }

    #[test]
    fn reads_answers() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\nX: y\r\n\r\nokHTTP";
        for cut in 0..bytes.len() - 4 {
            assert!(answer(&bytes[..cut]).unwrap().is_none(), "{cut}");
        }
        let found = answer(bytes).unwrap().unwrap();
        assert_eq!((found.status, found.body, found.bytes), (200, &b"ok"[..], bytes.len() - 4));
        let refused = answer(b"HTTP/1.1 502 Bad Gateway\r\n\r\nno").unwrap().unwrap();
        assert_eq!((refused.status, refused.body), (502, &b"no"[..]));
        for bad in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 X\r\n\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(answer(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
