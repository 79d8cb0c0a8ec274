//! The head of an HTTP/1 answer, from a response of actix-web to bytes, and the framing of its body. No I/O: the
//! connection writes.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use actix_http::ResponseHead;
use actix_web::body::BodySize;
use actix_web::http::{Method, StatusCode, Version, header};

/// The whole answer to a client for which there is no room.
pub(super) const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    retry-after: 5\r\nconnection: close\r\ncontent-length: 35\r\n\r\nThis server has no room: try later\n";

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not sent: the request was HEAD, or the answer has no body.
    Omitted,
    /// As it is. Its length is in the head, or the end of the connection ends it.
    Plain,
    /// In chunks.
    Chunked,
}

/// The properties of a request that its answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Whether the answer is a head without its body.
    pub head_only: bool,
    /// The client's version of HTTP: 1.0 has no chunks, and closes unless told otherwise.
    pub version: Version,
    /// Whether another request may follow.
    pub persists: bool,
}

impl Asked {
    /// An unreadable request: no other can follow.
    pub const UNREADABLE: Self = Self { head_only: false, version: Version::HTTP_11, persists: false };

    /// Returns the properties of a request with this method.
    pub fn new(method: &Method, version: Version, persists: bool) -> Self {
        Self { head_only: method == Method::HEAD, version, persists }
    }
}

/// Appends the head of an answer with a body of this size to `out`. Returns the framing of the body, and whether the
/// connection persists.
pub fn write_head(out: &mut Vec<u8>, answer: &ResponseHead, size: BodySize, asked: Asked) -> (Framing, bool) {
    let status = answer.status;
    let no_body = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let (framing, length) = match size {
        _ if no_body => (Framing::Omitted, None),
        // The length of the omitted body is unknown.
        BodySize::None if asked.head_only => (Framing::Omitted, None),
        BodySize::None => (Framing::Omitted, Some(0)),
        BodySize::Sized(bytes) => (Framing::Plain, Some(bytes)),
        BodySize::Stream if asked.version == Version::HTTP_11 => (Framing::Chunked, None),
        BodySize::Stream => (Framing::Plain, None),
    };
    let ends_itself = framing != Framing::Plain || length.is_some();
    let persists = asked.persists && answer.keep_alive() && ends_itself;

    // The answer always names our own version (RFC 9110, 6.2). Writing to memory does not fail.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", status.as_u16(), answer.reason());
    if let Some(bytes) = length {
        let _ = write!(out, "content-length: {bytes}\r\n");
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match (persists, asked.version) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
    }
    for (name, value) in answer.headers() {
        if !matches!(*name, header::CONNECTION | header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    if !answer.headers().contains_key(header::DATE) {
        write_date(out, SystemTime::now());
    }
    out.extend_from_slice(b"\r\n");
    (if asked.head_only { Framing::Omitted } else { framing }, persists)
}

thread_local! {
    /// The current `date` line and the second that it belongs to.
    static DATE: RefCell<(SystemTime, String)> = const { RefCell::new((SystemTime::UNIX_EPOCH, String::new())) };
}

fn write_date(out: &mut Vec<u8>, now: SystemTime) {
    DATE.with_borrow_mut(|(written, line)| {
        let is_right = now.duration_since(*written).is_ok_and(|age| age < Duration::from_secs(1));
        if line.is_empty() || !is_right {
            let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            *written = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *line = format!("date: {}\r\n", httpdate::fmt_http_date(now));
        }
        out.extend_from_slice(line.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::HttpResponse;
    use actix_web::body::MessageBody as _;

    /// Returns the lines of a head without its date, the framing, and whether the connection persists.
    fn head(response: &HttpResponse, size: Option<BodySize>, asked: Asked) -> (String, Framing, bool) {
        let mut out = Vec::new();
        let size = size.unwrap_or_else(|| response.body().size());
        let (framing, persists) = write_head(&mut out, response.head(), size, asked);
        let text = String::from_utf8(out).unwrap();
        let lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").filter(|line| !line.starts_with("date: "));
        (lines.collect::<Vec<_>>().join("|"), framing, persists)
    }

    fn asked(method: Method, version: Version, persists: bool) -> Asked {
        Asked::new(&method, version, persists)
    }

    #[test]
    fn heads() {
        let (v0, v1) = (Version::HTTP_10, Version::HTTP_11);
        let page = || HttpResponse::Ok().insert_header(("x-y", "z")).body("hello");
        let get = |version, persists| asked(Method::GET, version, persists);
        for (response, size, asked, lines, framing, persists) in [
            (page(), None, get(v1, true), "200 OK|content-length: 5|x-y: z", Framing::Plain, true),
            (page(), None, get(v1, false), "200 OK|content-length: 5|connection: close|x-y: z", Framing::Plain, false),
            (
                page(),
                None,
                get(v0, true),
                "200 OK|content-length: 5|connection: keep-alive|x-y: z",
                Framing::Plain,
                true,
            ),
            (page(), None, asked(Method::HEAD, v1, true), "200 OK|content-length: 5|x-y: z", Framing::Omitted, true),
            (HttpResponse::NoContent().finish(), None, get(v1, true), "204 No Content", Framing::Omitted, true),
            (
                HttpResponse::Ok().finish(),
                Some(BodySize::None),
                asked(Method::HEAD, v1, true),
                "200 OK",
                Framing::Omitted,
                true,
            ),
            (HttpResponse::Ok().finish(), None, get(v1, true), "200 OK|content-length: 0", Framing::Plain, true),
            (
                HttpResponse::Ok().finish(),
                Some(BodySize::Stream),
                get(v1, true),
                "200 OK|transfer-encoding: chunked",
                Framing::Chunked,
                true,
            ),
            (
                HttpResponse::Ok().finish(),
                Some(BodySize::Stream),
                get(v0, true),
                "200 OK|connection: close",
                Framing::Plain,
                false,
            ),
            (
                HttpResponse::Ok().force_close().finish(),
                None,
                get(v1, true),
                "200 OK|content-length: 0|connection: close",
                Framing::Plain,
                false,
            ),
        ] {
            let expected = (format!("HTTP/1.1 {lines}"), framing, persists);
            assert_eq!(head(&response, size, asked), expected);
        }
    }

    #[test]
    fn every_answer_has_a_date() {
        let day = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        for (ahead_ms, second) in [(0, 37), (400, 37), (600, 38), (100, 37)] {
            let mut out = Vec::new();
            write_date(&mut out, day + Duration::from_millis(ahead_ms));
            assert_eq!(String::from_utf8(out).unwrap(), format!("date: Sun, 06 Nov 1994 08:49:{second} GMT\r\n"));
        }
    }
}
