//! Query and path to generation and transport; what the handshake answers.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Generation, TransportKind};

/// No server makes longer session ids, so a longer one is not worth a look-up.
const SID_BYTES_MAX: usize = 64;

/// What a request to the endpoint says of itself in its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `EIO`
    pub generation: Generation,
    /// `transport`
    pub transport: TransportKind,
    /// `sid`: the session, where the query names one. An empty one is none.
    pub sid: Option<String>,
}

impl Request {
    /// Reads the query of a request, without its question mark. Names and values are percent-decoded; of a parameter
    /// given twice the first counts. The transport is judged first, then the version. The sid is not looked up here:
    /// one with bytes that are no text simply names no session.
    ///
    /// # Errors
    /// [`RequestError::UnknownTransport`], [`RequestError::UnsupportedVersion`], and [`RequestError::UnknownSid`] for
    /// a sid too long to be one.
    pub fn parse(query: &str) -> Result<Self, RequestError> {
        let (mut transport, mut version, mut sid) = (None, None, None);
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let wanted = match &*decode(name) {
                "transport" => &mut transport,
                "EIO" => &mut version,
                "sid" => &mut sid,
                _ => continue,
            };
            wanted.get_or_insert_with(|| decode(value));
        }
        let transport = match transport.as_deref() {
            Some("polling") => TransportKind::Polling,
            Some("websocket") => TransportKind::WebSocket,
            _ => return Err(RequestError::UnknownTransport),
        };
        // The official server takes whatever is not "4" for 3; its own suites, and we, want the version to be said.
        let generation = match version.as_deref() {
            Some("4") => Generation::Eio4,
            _ => return Err(RequestError::UnsupportedVersion),
        };
        let sid = sid.filter(|sid| !sid.is_empty()).map(Cow::into_owned);
        if sid.as_ref().is_some_and(|sid| sid.len() > SID_BYTES_MAX) {
            return Err(RequestError::UnknownSid);
        }
        Ok(Self { generation, transport, sid })
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Whether `path` is the endpoint `base` (such as `/socket.io/`), with or without its trailing slash.
pub fn is_endpoint(base: &str, path: &str) -> bool {
    let bare = |path| str::strip_suffix(path, '/').unwrap_or(path);
    bare(base) == bare(path)
}

/// The errors of Engine.IO's HTTP answers. Integers, texts and statuses are those of the official server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestError {
    /// The transport is missing or none of ours.
    UnknownTransport,
    /// There is no such session, or there is no more.
    UnknownSid,
    /// Only GET opens a session.
    BadMethod,
    /// Well-formed, and out of place: such as a poll after the upgrade.
    BadRequest,
    /// The origin, or the client, is not allowed.
    Forbidden,
    /// `EIO` is missing or not served.
    UnsupportedVersion,
}

impl RequestError {
    /// The integer in the JSON body.
    pub fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSid => 1,
            Self::BadMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The text in the JSON body; the whole body where a WebSocket upgrade is refused.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status; a refused WebSocket upgrade is always 400.
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The body: `{"code":0,"message":"Transport unknown"}`.
    pub fn json(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self.code(), self.message())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for RequestError {}

/// What the open packet tells the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The Engine.IO session id, which is a bearer secret.
    pub sid: &'a str,
    /// What the session may be upgraded to.
    pub upgrades: &'a [TransportKind],
    /// Time between two heartbeats.
    pub ping_interval: Duration,
    /// How long the answer to a heartbeat may take.
    pub ping_timeout: Duration,
    /// Largest message or POST that the client may send.
    pub payload_bytes_max: usize,
}

impl Open<'_> {
    /// The open packet, type digit included: `0{"sid":…}`, with exactly the five keys that the official suites want.
    pub fn packet(&self) -> String {
        let upgrades: Vec<_> = self.upgrades.iter().map(|transport| format!("\"{}\"", transport.as_str())).collect();
        format!(
            r#"0{{"sid":{},"upgrades":[{}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            serde_json::Value::from(self.sid),
            upgrades.join(","),
            self.ping_interval.as_millis(),
            self.ping_timeout.as_millis(),
            self.payload_bytes_max,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::RequestError::*;
    use super::*;

    #[test]
    fn reads_the_query() {
        let request = |transport, sid: Option<&str>| {
            Ok(Request { generation: Generation::Eio4, transport, sid: sid.map(Into::into) })
        };
        let long = "s".repeat(64);
        let table = [
            ("EIO=4&transport=polling", request(TransportKind::Polling, None)),
            ("transport=websocket&EIO=4", request(TransportKind::WebSocket, None)),
            (
                "EIO=4&transport=polling&t=P0x&sid=EasjHFi5uRTmv_z-AAGa",
                request(TransportKind::Polling, Some("EasjHFi5uRTmv_z-AAGa")),
            ),
            ("EIO=4&transport=polling&sid=", request(TransportKind::Polling, None)),
            ("EIO=4&transport=polling&sid", request(TransportKind::Polling, None)),
            ("&&EIO=4&&transport=polling&", request(TransportKind::Polling, None)),
            ("%45IO=%34&transport=%70olling&sid=a%2Db", request(TransportKind::Polling, Some("a-b"))),
            ("EIO=4&EIO=3&transport=polling&transport=x&sid=a&sid=b", request(TransportKind::Polling, Some("a"))),
            // No text: no session has such a name, and the look-up will say so.
            ("EIO=4&transport=polling&sid=%FF", request(TransportKind::Polling, Some("\u{fffd}"))),
            ("EIO=4&transport=polling&sid=%zz%", request(TransportKind::Polling, Some("%zz%"))),
            (&format!("EIO=4&transport=polling&sid={long}"), request(TransportKind::Polling, Some(&long))),
            (&format!("EIO=4&transport=polling&sid={long}s"), Err(UnknownSid)),
            ("", Err(UnknownTransport)),
            ("EIO=4", Err(UnknownTransport)),
            ("EIO=4&transport=", Err(UnknownTransport)),
            ("EIO=4&transport=abc", Err(UnknownTransport)),
            ("EIO=4&transport=Polling", Err(UnknownTransport)),
            // See: CVE-2023-31125
            ("EIO=4&transport=constructor", Err(UnknownTransport)),
            ("EIO=abc&transport=abc&sid=abc", Err(UnknownTransport)),
            ("transport=polling", Err(UnsupportedVersion)),
            ("EIO=&transport=polling", Err(UnsupportedVersion)),
            ("EIO=abc&transport=polling", Err(UnsupportedVersion)),
            ("EIO=3&transport=polling", Err(UnsupportedVersion)),
            ("EIO=04&transport=polling", Err(UnsupportedVersion)),
            ("EIO=4.0&transport=websocket", Err(UnsupportedVersion)),
            ("EIO=3&transport=polling&sid=abc", Err(UnsupportedVersion)),
            ("transport=polling&sid=abc", Err(UnsupportedVersion)),
        ];
        for (query, expected) in table {
            assert_eq!(Request::parse(query), expected, "{query}");
        }
    }

    #[test]
    fn errors_are_those_of_the_official_server() {
        let table = [
            (UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (UnknownSid, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (BadMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
            (Forbidden, 403, r#"{"code":4,"message":"Forbidden"}"#),
            (UnsupportedVersion, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ];
        for (error, status, json) in table {
            assert_eq!((error.status(), error.json().as_str()), (status, json));
        }
    }

    #[test]
    fn the_endpoint_is_exact_but_for_its_last_slash() {
        for base in ["/socket.io/", "/socket.io"] {
            for (path, is) in [
                ("/socket.io/", true),
                ("/socket.io", true),
                ("/socket.io//", false),
                ("/socket.io/1/", false),
                ("/Socket.io/", false),
                ("/socket.i", false),
                ("/", false),
                ("", false),
            ] {
                assert_eq!(is_endpoint(base, path), is, "{base} {path}");
            }
        }
    }

    #[test]
    fn the_open_packet_has_five_keys_in_order() {
        let mut open = Open {
            sid: "EasjHFi5uRTmv_z-AAGa",
            upgrades: &[TransportKind::WebSocket],
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            payload_bytes_max: 1_000_000,
        };
        assert_eq!(
            open.packet(),
            concat!(
                r#"0{"sid":"EasjHFi5uRTmv_z-AAGa","upgrades":["websocket"],"#,
                r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
            )
        );
        open.upgrades = &[];
        assert!(open.packet().contains(r#""upgrades":[],"#));
    }
}
