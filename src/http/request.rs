//! The head of an HTTP/1 request: from bytes to a request of actix-web and the length of its body (RFC 9112). No I/O:
//! the connection brings the bytes.

use std::borrow::Cow;
use std::str::FromStr;

use actix_http::Request;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri, Version};
use bytes::{Buf as _, BytesMut};
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

/// Headers of one request: as many as common servers and proxies accept.
const HEADERS_MAX: usize = 100;

/// Visible characters that a request target may not contain (RFC 9112, 3.2) and [`Uri`] refuses.
const UNENCODED: &AsciiSet = &AsciiSet::EMPTY.add(b'"').add(b'<').add(b'>').add(b'`');

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// The request for the `App`, without a body.
    pub request: Request,
    /// The length of its body.
    pub length: Length,
    /// Whether the client wants to send another request on this connection.
    pub persists: bool,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether it asks for a WebSocket. Other upgrades are ignored (RFC 9110, 7.8).
    pub asks_for_websocket: bool,
}

/// The length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// This number of bytes.
    Bytes(u64),
    /// Each chunk has its own length.
    Chunked,
}

/// Why a head is refused. The connection ends with the answer, because the start of the next request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP/1, or with a bad or contradictory length.
    Malformed,
    /// Too many bytes or headers.
    TooLarge,
    /// A body in a transfer coding other than chunked.
    Coding,
}

impl HeadError {
    /// Returns the status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Decodes a path as the routes of the `App` do: a path with an encoded slash stays encoded.
pub fn decoded(path: &str) -> Cow<'_, str> {
    if path.to_ascii_lowercase().contains("%2f") { path.into() } else { percent_decode_str(path).decode_utf8_lossy() }
}

/// Returns the number of line breaks before a request, which mean nothing (RFC 9112, 2.2).
fn blank_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Removes the line breaks before a request.
pub fn skip_blanks(bytes: &mut BytesMut) {
    bytes.advance(blank_bytes(bytes));
}

/// Returns the position behind the head at the front of `bytes`; `None` if the head is incomplete. The first
/// `looked_at` bytes are known not to contain its end.
pub fn end_of_head(bytes: &[u8], looked_at: usize) -> Option<usize> {
    // The line break that ends the head may have begun in the bytes looked at.
    let from = looked_at.saturating_sub(3);
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at + 1).find_map(|line| match &bytes[line..] {
        [b'\n', ..] => Some(line + 1),
        [b'\r', b'\n', ..] => Some(line + 2),
        _ => None,
    })
}

/// Returns whether these bytes cannot begin a request: the client speaks another protocol, such as TLS.
pub fn is_no_request(bytes: &[u8]) -> bool {
    bytes.get(blank_bytes(bytes)).is_some_and(|byte| !is_token_byte(*byte))
}

/// Returns whether this is a token (RFC 9110, 5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses a complete head.
///
/// # Errors
/// See [`HeadError`].
pub fn read(head: &[u8]) -> Result<Head, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(_) => return Err(HeadError::Malformed),
    }
    let method = Method::from_str(parsed.method.unwrap_or_default()).map_err(|_| HeadError::Malformed)?;
    // Old clients leave characters unencoded that browsers encode.
    let target: Cow<'_, str> = utf8_percent_encode(parsed.path.unwrap_or_default(), UNENCODED).into();
    let uri = Uri::from_str(&target).map_err(|_| HeadError::Malformed)?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };

    let mut request = Request::new();
    let map = request.headers_mut();
    for header in parsed.headers.iter() {
        let name = HeaderName::from_str(header.name).map_err(|_| HeadError::Malformed)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| HeadError::Malformed)?;
        map.append(name, value);
    }
    let length = length(map, version)?;
    let says = |token| has_token(map, header::CONNECTION, token);
    let persists = !says("close") && (version == Version::HTTP_11 || says("keep-alive"));
    let expects_continue = version == Version::HTTP_11 && has_token(map, header::EXPECT, "100-continue");
    // The header must include the token, but may say more (RFC 6455, 4.2.1): lighttpd puts `close` before it. The
    // version does not matter: nginx forwards upgrades as 1.0 by default.
    let asks_for_websocket = method == Method::GET
        && length == Length::Bytes(0)
        && says("upgrade")
        && has_token(map, header::UPGRADE, "websocket");

    let head = request.head_mut();
    (head.method, head.uri, head.version) = (method, uri, version);
    Ok(Head { request, length, persists, expects_continue, asks_for_websocket })
}

/// Returns the elements of a list that may be spread over several headers of one name (RFC 9110, 5.6.1). Elements that
/// are not UTF-8 are skipped.
pub fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let elements = headers.get_all(name).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let texts = elements.filter_map(|element| std::str::from_utf8(element).ok());
    texts.map(str::trim).filter(|element| !element.is_empty())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(token))
}

fn length(headers: &HeaderMap, version: Version) -> Result<Length, HeadError> {
    let announced = headers.get_all(header::CONTENT_LENGTH).next().is_some();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // A request with two lengths may be smuggled past a proxy; 1.0 has no chunks (RFC 9112, 6.1).
        if announced || version == Version::HTTP_10 {
            return Err(HeadError::Malformed);
        }
        if headers.get_all(header::TRANSFER_ENCODING).any(|value| value.to_str().is_err()) {
            return Err(HeadError::Malformed);
        }
        let mut codings = elements(headers, header::TRANSFER_ENCODING);
        return match (codings.next(), codings.next()) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Length::Chunked),
            _ => Err(HeadError::Coding),
        };
    }
    if !announced {
        return Ok(Length::Bytes(0));
    }
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let value = value.to_str().map_err(|_| HeadError::Malformed)?;
        for digits in value.split(',').map(str::trim) {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let bytes: u64 = digits.parse().ok().filter(|_| plain).ok_or(HeadError::Malformed)?;
            if length.replace(bytes).is_some_and(|before| before != bytes) {
                return Err(HeadError::Malformed);
            }
        }
    }
    length.map(Length::Bytes).ok_or(HeadError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<Head, HeadError> {
        read(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_cut() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\nrest", Some(27)),
            ("GET / HTTP/1.1\n\nrest", Some(16)),
            ("GET / HTTP/1.1\r\nHost: x\r\n", None),
            ("", None),
        ] {
            assert_eq!(end_of_head(text.as_bytes(), 0), end, "{text:?}");
            let found = (0..=text.len()).find_map(|len| end_of_head(&text.as_bytes()[..len], len.saturating_sub(1)));
            assert_eq!(found, end, "{text:?} byte by byte");
        }
    }

    #[test]
    fn line_breaks_before_a_request_are_told_from_it() {
        for (text, bytes) in [("", 0), ("\r\n\r", 3), ("\r\n\nGET", 3), ("GET /\r\n\r\n", 0)] {
            assert_eq!(blank_bytes(text.as_bytes()), bytes, "{text:?}");
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_byte() {
        for (bytes, none) in [
            (&b""[..], false),
            (b"\r\n", false),
            (b"G", false),
            (b"\r\nG", false),
            (b"\x16\x03\x01", true),
            (b"\r\n\r\n\x00", true),
            (b" GET", true),
            (b"\xff", true),
        ] {
            assert_eq!(is_no_request(bytes), none, "{bytes:?}");
        }
    }

    #[test]
    fn targets_may_be_less_than_encoded() {
        for (target, path, query) in [
            (r#"/socket.io/?a={"b":"<c>|`"}"#, "/socket.io/", "a={%22b%22:%22%3Cc%3E|%60%22}"),
            ("http://x/socket.io/?a=%22", "/socket.io/", "a=%22"),
            ("/<x>?", "/%3Cx%3E", ""),
        ] {
            let head = head(&format!("GET {target} HTTP/1.1")).unwrap();
            assert_eq!((head.request.uri().path(), head.request.uri().query().unwrap_or("")), (path, query));
        }
    }

    #[test]
    fn bodies_have_one_length() {
        for (lines, length) in [
            ("GET / HTTP/1.1", Ok(Length::Bytes(0))),
            ("POST / HTTP/1.1\nContent-Length: 5", Ok(Length::Bytes(5))),
            ("POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 5", Ok(Length::Bytes(5))),
            ("POST / HTTP/1.1\nContent-Length: 5, 5", Ok(Length::Bytes(5))),
            ("POST / HTTP/1.1\nTransfer-Encoding: Chunked", Ok(Length::Chunked)),
            ("POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 6", Err(HeadError::Malformed)),
            ("POST / HTTP/1.1\nContent-Length: +5", Err(HeadError::Malformed)),
            ("POST / HTTP/1.1\nContent-Length:", Err(HeadError::Malformed)),
            ("POST / HTTP/1.1\nContent-Length: 99999999999999999999", Err(HeadError::Malformed)),
            ("POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked", Err(HeadError::Malformed)),
            ("POST / HTTP/1.0\nTransfer-Encoding: chunked", Err(HeadError::Malformed)),
            ("POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked", Err(HeadError::Coding)),
            ("POST / HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: \u{e9}", Err(HeadError::Malformed)),
            ("POST / HTTP/1.1\nTransfer-Encoding: chunked, chunked", Err(HeadError::Coding)),
        ] {
            assert_eq!(head(lines).map(|head| head.length), length, "{lines}");
        }
    }

    #[test]
    fn bad_heads_are_refused() {
        let many = format!("GET / HTTP/1.1{}", "\nX: y".repeat(101));
        for (lines, error) in [
            ("GET /", HeadError::Malformed),
            ("GET / HTTP/2.0", HeadError::Malformed),
            ("GET /\u{e9} HTTP/1.1\nBad Header: x", HeadError::Malformed),
            ("G@T / HTTP/1.1\nHost : x", HeadError::Malformed),
            (&many, HeadError::TooLarge),
        ] {
            assert_eq!(head(lines).map(|_| ()), Err(error), "{lines}");
        }
    }

    #[test]
    fn connections_persist_unless_somebody_says_otherwise() {
        for (lines, persists, websocket) in [
            ("GET / HTTP/1.1", true, false),
            ("GET / HTTP/1.1\nConnection: close", false, false),
            ("GET / HTTP/1.1\nConnection: upgrade", true, false),
            ("GET / HTTP/1.1\nConnection: x, Close", false, false),
            ("GET / HTTP/1.0", false, false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive", true, false),
            ("GET / HTTP/1.0\nConnection: keep-alive, close", false, false),
            ("GET / HTTP/1.1\nConnection: \u{e9}, close", false, false),
            ("GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket", true, true),
            ("GET / HTTP/1.1\nConnection: close, upgrade\nUpgrade: WebSocket", false, true),
            ("GET / HTTP/1.1\nConnection: keep-alive\nConnection: upgrade\nUpgrade: h2c, websocket", true, true),
            ("GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c", true, false),
            ("GET / HTTP/1.1\nUpgrade: websocket", true, false),
            ("POST / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket", true, false),
            ("GET / HTTP/1.0\nConnection: Upgrade\nUpgrade: websocket", false, true),
        ] {
            let head = head(lines).unwrap();
            assert_eq!((head.persists, head.asks_for_websocket), (persists, websocket), "{lines}");
        }
        assert!(head("POST / HTTP/1.1\nExpect: 100-Continue\nContent-Length: 3").unwrap().expects_continue);
    }
}
