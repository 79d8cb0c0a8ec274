//! Answers of every shape, in every split of their bytes.

use proptest::prelude::*;

use super::*;

/// The content of a normalized answer.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    status: u16,
    body: Vec<u8>,
    /// Whether the connection may be used for another request.
    reusable: bool,
    /// Whether only the close has ended the body.
    until_close: bool,
}

fn read(status: u16, body: &str, reusable: bool) -> Result<Read, Fault> {
    Ok(Read { status, body: body.into(), reusable, until_close: false })
}

/// Returns the answer to one request that arrives in these pieces. An orderly end follows them if `close` is set.
/// `None` if the answer is not complete.
fn answer(pieces: &[&[u8]], close: bool) -> Option<Result<Read, Fault>> {
    let mut responses = Responses::new();
    responses.asked(b"GET / HTTP/1.1\r\n");
    for piece in pieces {
        if let Err(fault) = responses.read(piece) {
            assert!(responses.is_spent());
            return Some(Err(fault));
        }
    }
    if close && let Err(fault) = responses.closed() {
        assert!(responses.is_spent());
        return Some(Err(fault));
    }
    let plain = responses.output().to_vec();
    let done = responses.is_idle() || responses.is_spent();
    done.then(|| Ok(plain_answer(&plain, responses.is_idle())))
}

/// Reads a normalized answer strictly, by rules of its own.
fn plain_answer(bytes: &[u8], reusable: bool) -> Read {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut body = &bytes[end + 4..];
    let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    let until_close = head.contains("connection: close");
    if let Some((_, length)) = head.split_once("content-length: ") {
        assert_eq!(length.parse(), Ok(body.len()));
        return Read { status, body: body.to_vec(), reusable, until_close };
    }
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut whole = Vec::new();
    loop {
        let at = memchr::memmem::find(body, b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&body[at + 2..at + 2 + size]);
        assert_eq!(&body[at + 2 + size..at + 4 + size], b"\r\n");
        body = &body[at + 4 + size..];
        if size == 0 {
            assert!(body.is_empty());
            return Read { status, body: whole, reusable, until_close };
        }
    }
}

/// Returns the outcome of these bytes. Checks that it is the same for every cut in two, and byte by byte.
fn outcome(bytes: &[u8], close: bool) -> Option<Result<Read, Fault>> {
    let whole = answer(&[bytes], close);
    for at in 0..bytes.len() {
        assert_eq!(answer(&[&bytes[..at], &bytes[at..]], close), whole, "cut at {at}");
    }
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(answer(&single, close), whole, "byte by byte");
    whole
}

#[test]
fn answers_are_framed_as_http_says() {
    let until_close = |body: &str| Ok(Read { status: 200, body: body.into(), reusable: false, until_close: true });
    let length = |body| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
    for (bytes, close, wanted) in [
        (length("[]"), false, read(200, "[]", true)),
        // A close after a complete answer only ends the use of the connection.
        (length("[]"), true, read(200, "[]", false)),
        ("HTTP/1.1 200\r\ncontent-length:2\r\n\r\n[]".to_owned(), false, read(200, "[]", true)),
        ("\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\n\n[]".to_owned(), false, read(200, "[]", true)),
        ("HTTP/1.1 200 None\r\nContent-Length: 0\r\n\r\n".to_owned(), false, read(200, "", true)),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            false,
            read(200, "[]", false),
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            false,
            read(200, "[]", false),
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]".to_owned(), false, read(200, "[]", false)),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            false,
            read(200, "[]", true),
        ),
        // Until the close, with and without its announcement.
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]".to_owned(), true, until_close("[]")),
        ("HTTP/1.1 200 OK\r\n\r\n[]".to_owned(), true, until_close("[]")),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n[]".to_owned(), true, until_close("[]")),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), true, until_close("")),
        // An offer of another protocol is no more than that.
        (
            "HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            false,
            read(200, "[]", true),
        ),
        // Folds, and lengths that say the same.
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length:\r\n 2\r\n\r\n[]".to_owned(), false, read(200, "[]", true)),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
            false,
            read(200, "[]", true),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n[]".to_owned(), false, read(200, "[]", true)),
        ("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n[]".to_owned(), false, read(200, "[]", true)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            false,
            read(200, "[]", false),
        ),
        // Answers that have no body, whatever their heads say.
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), false, read(204, "", true)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_owned(), false, read(304, "", true)),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n[]".to_owned(), false, read(204, "", false)),
        // Interim answers of any kind and number.
        (format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", length("[]")), false, read(200, "[]", true)),
        (
            format!("HTTP/1.1 100\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 199 X\r\n\r\n{}", length("[]")),
            false,
            read(200, "[]", true),
        ),
        // Interim answers have no body, and what follows one of them is a head.
        (
            "HTTP/1.1 100 C\r\nContent-Length: 2\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n".to_owned(),
            false,
            read(404, "", true),
        ),
        // Bytes after an answer spend the connection.
        (length("[]HTTP/1.1 200 OK\r\n\r\n"), false, read(200, "[]", false)),
        (length("[]\r\n"), false, read(200, "[]", false)),
    ] {
        assert_eq!(outcome(bytes.as_bytes(), close), Some(wanted), "{bytes}");
    }
}

#[test]
fn chunks_are_put_together() {
    let of = |rest: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
    for rest in [
        "2\r\n[]\r\n0\r\n\r\n",
        "1\r\n[\r\n1\r\n]\r\n0\r\n\r\n",
        "0002;a=\"b;c\"\r\n[]\r\n000\r\n\r\n",
        "2  \r\n[]\r\n0\r\nX: y\r\nConnection: close\r\n\r\n",
        "2\n[]\n0\n\n",
    ] {
        assert_eq!(outcome(of(rest).as_bytes(), false), Some(read(200, "[]", true)), "{rest}");
    }
    // An answer with both a length and chunks, or with chunks in HTTP/1.0, is read, but its connection is not reused.
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked",
    ] {
        let bytes = format!("{head}\r\n\r\n2\r\n[]\r\n0\r\n\r\n");
        assert_eq!(outcome(bytes.as_bytes(), false), Some(read(200, "[]", false)), "{head}");
    }
    for rest in
        ["x\r\n", "\r\n", "-2\r\n[]", "+2\r\n[]", "2\r\n[]x\r\n", "2\r\n[] \r\n", "fffffffffffffffff\r\n", " 2\r\n[]"]
    {
        assert!(matches!(answer(&[of(rest).as_bytes()], false), Some(Err(Fault::NotHttp(_)))), "{rest}");
    }
    let endless = of(&format!("2;{}", "x".repeat(10_000)));
    assert!(matches!(answer(&[endless.as_bytes()], false), Some(Err(Fault::NotHttp(_)))));
    let trailers = of(&format!("0\r\n{}", format!("X: {}\r\n", "x".repeat(1000)).repeat(200)));
    assert!(matches!(answer(&[trailers.as_bytes()], false), Some(Err(Fault::NotHttp(_)))));
}

#[test]
fn half_an_answer_is_none() {
    for (bytes, fault) in [
        ("", Fault::Unanswered),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", Fault::Unanswered),
        ("HTTP/1.1 20", Fault::HeadCut),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", Fault::HeadCut),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[", Fault::BodyCut(1, Some(2))),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::BodyCut(0, None)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[", Fault::BodyCut(1, None)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", Fault::BodyCut(2, None)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n", Fault::BodyCut(2, None)),
    ] {
        assert_eq!(outcome(bytes.as_bytes(), true), Some(Err(fault)), "{bytes}");
        assert_eq!(outcome(bytes.as_bytes(), false), None, "{bytes}: it may still come");
    }
    assert_eq!(outcome(b"HTTP/1.1 200 OK\r\n\r\n[]", false), None, "a body without an end");
}

#[test]
fn what_is_not_http_is_said_as_soon_as_it_is_seen() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "220 mail.example ESMTP\r\n",
        "{\"error\":1}",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    ] {
        assert!(matches!(outcome(bytes.as_bytes(), false), Some(Err(Fault::NotHttp(_)))), "{bytes}");
    }
    assert_eq!(
        outcome(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", false),
        Some(Err(Fault::Switching))
    );
}

#[test]
fn a_head_has_its_bounds() {
    let of =
        |headers: usize| format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n[]", "X: y\r\n".repeat(headers - 1));
    assert_eq!(answer(&[of(HEADERS_MAX).as_bytes()], false), Some(read(200, "[]", true)));
    let said = |outcome: Option<Result<Read, Fault>>| outcome.unwrap().unwrap_err().to_string();
    assert!(said(answer(&[of(HEADERS_MAX + 1).as_bytes()], false)).ends_with("more than 96 headers"));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
    assert!(said(answer(&[long.as_bytes()], false)).ends_with("bytes of headers"));
    let whole = format!("{long}\r\n\r\n");
    assert!(said(answer(&[whole.as_bytes()], false)).ends_with("bytes of headers"));
    // Each interim answer has the bound for itself.
    let many = format!("{}{}", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10_000), of(1));
    assert_eq!(answer(&[many.as_bytes()], false), Some(read(200, "[]", true)));
    // A length that no integer holds is left to the bound on bodies.
    let mut responses = Responses::new();
    responses.asked(b"GET /");
    responses.read(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n").unwrap();
    assert!(responses.output().ends_with(b"content-length: 18446744073709551615\r\n\r\n"));
}

#[test]
fn a_connection_serves_one_request_after_the_other_and_nothing_unasked() {
    let answer = b"HTTP/1.1 200 OK\r\nLocation: /a\r\n b\r\nX-Secret: s\r\nContent-Length: 2\r\n\r\n[]";
    let mut responses = Responses::new();
    assert!(responses.is_idle());
    for _ in 0..3 {
        responses.asked(b"GET / HTTP/1.1\r\n");
        assert!(!responses.is_idle());
        responses.read(answer).unwrap();
        assert!(responses.is_idle());
        let plain = responses.output().split();
        assert_eq!(&plain[..], b"HTTP/1.1 200\r\nlocation: /a   b\r\ncontent-length: 2\r\n\r\n[]");
    }
    responses.asked(b"HEAD / HTTP/1.1\r\n");
    responses.read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").unwrap();
    assert!(responses.is_idle());
    for unasked in [&b"\r\n"[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n", answer] {
        let mut responses = Responses::new();
        responses.read(unasked).unwrap();
        assert!(responses.is_spent() && responses.output().is_empty());
    }
    let mut idle = Responses::new();
    idle.closed().unwrap();
    assert!(idle.is_spent());
}

proptest! {
    #[test]
    fn no_bytes_panic_and_every_split_says_the_same(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 103 X\r\n", "Content-Length: 3\r\n",
                "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "\r\n", "abc", "3\r\n", "0\r\n", "\n", "\0",
                " x\r\n", "X: ", "HTTP", "é",
            ]),
            0..12,
        ),
        cuts in prop::collection::vec(0usize..200, 0..5),
        close: bool,
    ) {
        let bytes = pieces.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let split: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(answer(&split, close), answer(&[&bytes], close));
    }
}
