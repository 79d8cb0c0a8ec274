//! Handshakes: the queries and paths of requests, the answers to a handshake, and the errors.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::jsonp::Callback;
use super::payload::Form;
use super::{Generation, TransportKind};

/// Largest length of a session id. No server makes longer ones, so a longer one is not looked up.
const SID_BYTES_MAX: usize = 64;

/// The query of a request to the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `EIO`
    pub generation: Generation,
    /// `transport`
    pub transport: TransportKind,
    /// `sid`: the session. `None` if the query names none, or an empty one.
    pub sid: Option<String>,
    /// The form in which the client takes polls.
    pub form: Form,
    /// `j`: the function that the answer to a poll has to call, as a script.
    pub jsonp: Option<Callback>,
    /// Whether the client bears a further argument with each event.
    pub takes_offsets: bool,
}

impl Request {
    /// Reads the query of a request, without its question mark. Names and values are percent-decoded; the first of two
    /// equal parameters counts. The transport is checked first, then the version, which has to be one of those
    /// `served`. The sid is not looked up here, so one that is not UTF-8 is accepted; it names no session.
    ///
    /// # Errors
    /// [`RequestError::UnknownTransport`], [`RequestError::UnsupportedVersion`], [`RequestError::BadRequest`] for a `j`
    /// without a digit, and [`RequestError::UnknownSid`] for a sid that is too long.
    pub fn parse(query: &str, served: &[Generation]) -> Result<Self, RequestError> {
        let [transport, version, sid, b64, j, t] = parameters(query, ["transport", "EIO", "sid", "b64", "j", "t"]);
        let transport = match transport.as_deref() {
            Some("polling") => TransportKind::Polling,
            Some("websocket") => TransportKind::WebSocket,
            _ => return Err(RequestError::UnknownTransport),
        };
        // The official server takes everything but "4" for 3. Its own suites, and we, demand a version. Clients of 1.0
        // send 2 and speak 3.
        let is_of_1_0 = version.as_deref() == Some("2");
        let generation = match version.as_deref() {
            Some("4") => Generation::Eio4,
            Some("3" | "2") => Generation::Eio3,
            _ => return Err(RequestError::UnsupportedVersion),
        };
        if !served.contains(&generation) {
            return Err(RequestError::UnsupportedVersion);
        }
        let jsonp = match j.filter(|_| transport == TransportKind::Polling) {
            Some(index) => Some(Callback::engine_io(&index).ok_or(RequestError::BadRequest)?),
            None => None,
        };
        let sid = sid.filter(|sid| !sid.is_empty()).map(Cow::into_owned);
        if sid.as_ref().is_some_and(|sid| sid.len() > SID_BYTES_MAX) {
            return Err(RequestError::UnknownSid);
        }
        let is_base64 = b64.is_some_and(|b64| !matches!(&*b64, "" | "0"));
        let form = if is_base64 || jsonp.is_some() {
            Form::Text
        } else if is_of_1_0 || generation == Generation::Eio3 && t.as_deref().is_some_and(is_counted_timestamp) {
            Form::Bytes
        } else {
            Form::Mixed
        };
        Ok(Self { generation, transport, sid, form, jsonp, takes_offsets: !is_of_python(query) })
    }
}

/// Returns whether a query is one of python-engineio: it has the transport before the version, and the official client
/// has them the other way round. Python calls the handler of an event with all arguments, and fails if there is one
/// more than it expects.
fn is_of_python(query: &str) -> bool {
    let place = |name: &str| query.split('&').position(|parameter| parameter.starts_with(name));
    matches!((place("transport="), place("EIO=")), (Some(transport), Some(version)) if transport < version)
}

/// Returns whether the parameter against caches has the form `1400000000000-7`. It is sent by engine.io-client before
/// 1.6 and by socketIO-client of Python, which read polls only in bytes. (Later clients write the time in base 64, and
/// read both forms; the official test suite, which reads text, sends no such parameter.)
fn is_counted_timestamp(t: &str) -> bool {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    t.split_once('-').is_some_and(|(time, count)| is_number(time) && is_number(count))
}

/// Returns the values of these parameters of a query, the first one of equal parameters.
fn parameters<'a, const N: usize>(query: &'a str, names: [&str; N]) -> [Option<Cow<'a, str>>; N] {
    let mut values = [const { None }; N];
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = decode(name);
        if let Some(at) = names.iter().position(|wanted| *wanted == name) {
            values[at].get_or_insert_with(|| decode(value));
        }
    }
    values
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Returns whether `path` is the endpoint `base` (such as `/socket.io/`), with or without its trailing slash.
pub fn is_endpoint(base: &str, path: &str) -> bool {
    let bare = |path| str::strip_suffix(path, '/').unwrap_or(path);
    bare(base) == bare(path)
}

/// A request of Socket.IO 0.7 to 0.9, read from its path below the endpoint and its query (protocol sections 3.1, 3.2,
/// 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyRequest {
    /// `1/`: asks for a session.
    Handshake {
        /// `jsonp`: the function that the answer has to call, as a script.
        jsonp: Option<Callback>,
    },
    /// `1/xhr-polling/<sid>`, `1/jsonp-polling/<sid>`: a poll, or a POST.
    Polling {
        /// The session.
        sid: String,
        /// `i`: the function that the answer to a poll has to call, as a script. A POST is then a form.
        jsonp: Option<Callback>,
    },
    /// `1/websocket/<sid>`
    WebSocket {
        /// The session.
        sid: String,
    },
    /// `?disconnect=1` after any transport, or without a transport.
    Disconnect {
        /// The session.
        sid: String,
    },
}

/// An error in a request of Socket.IO 0.7 to 0.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyError {
    /// A path that the protocol does not have.
    NotFound,
    /// A version other than 1.
    UnsupportedVersion,
    /// A transport that is not offered, such as `flashsocket`.
    UnknownTransport,
    /// The index of a script is missing or has no digit.
    BadRequest,
}

impl LegacyError {
    /// Returns the text for the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnsupportedVersion => "Protocol version not supported.",
            Self::NotFound | Self::UnknownTransport | Self::BadRequest => self.counts_as().message(),
        }
    }

    /// Returns the closest error of Engine.IO, for the metrics and the log.
    pub fn counts_as(self) -> RequestError {
        match self {
            Self::NotFound | Self::BadRequest => RequestError::BadRequest,
            Self::UnsupportedVersion => RequestError::UnsupportedVersion,
            Self::UnknownTransport => RequestError::UnknownTransport,
        }
    }
}

impl LegacyRequest {
    /// Returns the function that takes the answer to a handshake, or `None` if the query names none.
    pub fn handshake_callback(query: &str) -> Option<Callback> {
        let [jsonp] = parameters(query, ["jsonp"]);
        Callback::legacy(&jsonp?)
    }

    /// Reads the part of the path after `/socket.io/`, and the query.
    ///
    /// # Errors
    /// [`LegacyError`] if the protocol has no such path, version or transport, or a script has no index.
    pub fn parse(path: &str, query: &str) -> Result<Self, LegacyError> {
        let [jsonp, i, disconnect] = parameters(query, ["jsonp", "i", "disconnect"]);
        let script = |index: Option<Cow<'_, str>>| match index {
            Some(index) => Callback::legacy(&index).map(Some).ok_or(LegacyError::BadRequest),
            None => Ok(None),
        };
        let (version, rest) = path.split_once('/').unwrap_or((path, ""));
        match version {
            "1" => {}
            version if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(LegacyError::UnsupportedVersion);
            }
            _ => return Err(LegacyError::NotFound),
        }
        if rest.is_empty() {
            return Ok(Self::Handshake { jsonp: script(jsonp)? });
        }
        let (transport, sid) = rest.split_once('/').ok_or(LegacyError::NotFound)?;
        let sid = sid.strip_suffix('/').unwrap_or(sid);
        if sid.is_empty() || sid.contains('/') {
            return Err(LegacyError::NotFound);
        }
        // A sid that is too long is cut. It is then still too long to be found.
        let sid = sid.chars().take(SID_BYTES_MAX + 1).collect();
        if disconnect.is_some_and(|disconnect| disconnect == "1") {
            return Ok(Self::Disconnect { sid });
        }
        match transport {
            "websocket" => Ok(Self::WebSocket { sid }),
            "xhr-polling" => Ok(Self::Polling { sid, jsonp: None }),
            "jsonp-polling" => Ok(Self::Polling { sid, jsonp: Some(script(i)?.ok_or(LegacyError::BadRequest)?) }),
            _ => Err(LegacyError::UnknownTransport),
        }
    }
}

/// An error of Engine.IO's HTTP answers. Integers, texts and statuses are those of the official server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestError {
    /// The transport is missing or unknown.
    UnknownTransport,
    /// There is no such session, or it is over.
    UnknownSid,
    /// A request with another method than GET asks for a session.
    BadMethod,
    /// The request is well-formed but out of place, such as a poll after the upgrade.
    BadRequest,
    /// The origin, or the client, is not allowed.
    Forbidden,
    /// `EIO` is missing or not served.
    UnsupportedVersion,
}

impl RequestError {
    /// Returns the integer in the JSON body.
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

    /// Returns the text in the JSON body. It is the whole body of a refused WebSocket upgrade.
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

    /// Returns the HTTP status. A refused WebSocket upgrade always has 400 instead.
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// Returns the body: `{"code":0,"message":"Transport unknown"}`.
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

/// The content of the open packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The Engine.IO session id, which is a bearer secret.
    pub sid: &'a str,
    /// The transports that the session may be upgraded to.
    pub upgrades: &'a [TransportKind],
    /// Time between two heartbeats.
    pub ping_interval: Duration,
    /// Time for the answer to a heartbeat.
    pub ping_timeout: Duration,
    /// Largest message or POST that the client may send.
    pub payload_bytes_max: usize,
}

impl Open<'_> {
    /// Returns the open packet, type digit included: `0{"sid":…}`, with exactly the five keys that the official suites
    /// want.
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

/// The answer to a handshake of Socket.IO 0.7 to 0.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyOpen<'a> {
    /// The session id, which is a bearer secret. It must not have a `:`, `/` or `?`.
    pub sid: &'a str,
    /// Time for the answer to a heartbeat.
    pub heartbeat_timeout: Duration,
    /// Time that the client may be without a transport.
    pub close_timeout: Duration,
    /// The names of the transports that the client may use, the best first.
    pub transports: &'a [&'a str],
}

impl LegacyOpen<'_> {
    /// Returns `<sid>:60:60:websocket,xhr-polling`. Clients count in whole seconds, and those of 0.9.17 take 0 for "at
    /// once", so a part of a second is rounded up.
    pub fn text(&self) -> String {
        let seconds = |period: Duration| period.as_millis().div_ceil(1000);
        let (heartbeat, close) = (seconds(self.heartbeat_timeout), seconds(self.close_timeout));
        format!("{}:{heartbeat}:{close}:{}", self.sid, self.transports.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::RequestError::*;
    use super::*;

    #[test]
    fn python_is_known_by_the_order_of_its_parameters() {
        for (query, takes_offsets) in [
            ("EIO=4&transport=polling&t=P0x", true),
            ("room=a&EIO=4&transport=websocket", true),
            ("transport=polling&EIO=4&t=1700000000.5", false),
            ("room=a&transport=websocket&EIO=4", false),
        ] {
            assert_eq!(Request::parse(query, &Generation::ALL).unwrap().takes_offsets, takes_offsets, "{query}");
        }
    }

    #[test]
    fn reads_the_query() {
        let request = |transport, sid: Option<&str>| {
            let (generation, sid) = (Generation::Eio4, sid.map(Into::into));
            Ok(Request { generation, transport, sid, form: Form::Mixed, jsonp: None, takes_offsets: true })
        };
        let long = "s".repeat(64);
        let table = [
            ("EIO=4&transport=polling", request(TransportKind::Polling, None)),
            ("EIO=4&transport=websocket", request(TransportKind::WebSocket, None)),
            (
                "EIO=4&transport=polling&t=P0x&sid=EasjHFi5uRTmv_z-AAGa",
                request(TransportKind::Polling, Some("EasjHFi5uRTmv_z-AAGa")),
            ),
            ("EIO=4&transport=polling&sid=", request(TransportKind::Polling, None)),
            ("EIO=4&transport=polling&sid", request(TransportKind::Polling, None)),
            ("&&EIO=4&&transport=polling&", request(TransportKind::Polling, None)),
            ("%45IO=%34&transport=%70olling&sid=a%2Db", request(TransportKind::Polling, Some("a-b"))),
            ("EIO=4&EIO=3&transport=polling&transport=x&sid=a&sid=b", request(TransportKind::Polling, Some("a"))),
            // Not UTF-8: no session has such a sid.
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
            ("EIO=04&transport=polling", Err(UnsupportedVersion)),
            ("EIO=4.0&transport=websocket", Err(UnsupportedVersion)),
            ("EIO=3.0&transport=polling&sid=abc", Err(UnsupportedVersion)),
            ("EIO=4&transport=polling&j=", Err(BadRequest)),
            ("EIO=4&transport=polling&j=x", Err(BadRequest)),
            ("transport=polling&sid=abc", Err(UnsupportedVersion)),
        ];
        for (query, expected) in table {
            assert_eq!(Request::parse(query, &Generation::ALL), expected, "{query}");
        }
    }

    #[test]
    fn reads_what_only_older_clients_say() {
        let parse = |query: &str| Request::parse(&format!("EIO=3&transport=polling&{query}"), &Generation::ALL);
        let form = |query| parse(query).map(|request| (request.generation, request.form));
        let table = [
            ("", Form::Mixed),
            ("b64=1", Form::Text),
            ("b64=0", Form::Mixed),
            ("j=0", Form::Text),
            ("t=LxyzAbC", Form::Mixed),
            ("t=1369000000.123", Form::Mixed),
            ("t=1369000000000", Form::Mixed),
            ("t=1-", Form::Mixed),
            ("t=-1", Form::Mixed),
            ("t=1369000000000-0", Form::Bytes),
            ("t=1369000000000-17", Form::Bytes),
            ("t=1369000000000-0&b64=1", Form::Text),
            ("t=1369000000000-0&j=0", Form::Text),
        ];
        for (query, expected) in table {
            assert_eq!(form(query), Ok((Generation::Eio3, expected)), "{query}");
        }
        let parse = |query: &str| Request::parse(query, &Generation::ALL);
        let form = |query: &str| parse(query).map(|request| (request.generation, request.form));
        for of_1_0 in ["EIO=2&transport=polling&t=1-0", "EIO=2&transport=polling"] {
            assert_eq!(form(of_1_0), Ok((Generation::Eio3, Form::Bytes)), "a client of 1.0");
        }
        assert_eq!(form("EIO=4&transport=polling&t=1-0"), Ok((Generation::Eio4, Form::Mixed)));
        let parse = |query: &str| Request::parse(&format!("EIO=3&transport=polling&{query}"), &Generation::ALL);
        let script = |query| parse(query).map(|request| request.jsonp);
        assert_eq!(script("j=0"), Ok(Callback::engine_io("0")));
        assert_eq!(script("j=alert(1)"), Ok(Callback::engine_io("1")), "digits only");
    }

    #[test]
    fn a_generation_that_is_not_served_is_an_unsupported_version() {
        for (query, served) in [("EIO=4", Generation::Eio3), ("EIO=3", Generation::Eio4)] {
            let query = format!("{query}&transport=websocket");
            assert_eq!(Request::parse(&query, &[served, Generation::Sio09]), Err(UnsupportedVersion));
        }
    }

    #[test]
    fn reads_the_paths_of_0_9() {
        use LegacyRequest::*;
        let script = Callback::legacy;
        let sid = || "XbbXy7iHHN29jnSFzU8c".to_owned();
        let table = [
            ("1", "", Ok(Handshake { jsonp: None })),
            ("1/", "t=1369000000000", Ok(Handshake { jsonp: None })),
            ("1/", "t=1&jsonp=0", Ok(Handshake { jsonp: script("0") })),
            ("1/", "jsonp=alert(7)", Ok(Handshake { jsonp: script("7") })),
            ("1/", "jsonp=x", Err(LegacyError::BadRequest)),
            ("1/websocket/XbbXy7iHHN29jnSFzU8c", "", Ok(WebSocket { sid: sid() })),
            ("1/xhr-polling/XbbXy7iHHN29jnSFzU8c", "t=1", Ok(Polling { sid: sid(), jsonp: None })),
            ("1/xhr-polling/XbbXy7iHHN29jnSFzU8c/", "i=1", Ok(Polling { sid: sid(), jsonp: None })),
            ("1/jsonp-polling/XbbXy7iHHN29jnSFzU8c", "t=1&i=3", Ok(Polling { sid: sid(), jsonp: script("3") })),
            ("1/jsonp-polling/XbbXy7iHHN29jnSFzU8c", "", Err(LegacyError::BadRequest)),
            ("1/xhr-polling/XbbXy7iHHN29jnSFzU8c", "disconnect=1", Ok(Disconnect { sid: sid() })),
            ("1/websocket/XbbXy7iHHN29jnSFzU8c", "disconnect=0", Ok(WebSocket { sid: sid() })),
            ("1//XbbXy7iHHN29jnSFzU8c/", "disconnect=1", Ok(Disconnect { sid: sid() })),
            ("1/flashsocket/XbbXy7iHHN29jnSFzU8c", "", Err(LegacyError::UnknownTransport)),
            ("1//XbbXy7iHHN29jnSFzU8c/", "", Err(LegacyError::UnknownTransport)),
            ("1/websocket", "", Err(LegacyError::NotFound)),
            ("1/websocket/", "", Err(LegacyError::NotFound)),
            ("1/websocket/a/b", "", Err(LegacyError::NotFound)),
            ("2/", "", Err(LegacyError::UnsupportedVersion)),
            ("0", "", Err(LegacyError::UnsupportedVersion)),
            ("11/websocket/a", "", Err(LegacyError::UnsupportedVersion)),
            ("socket.io.js", "", Err(LegacyError::NotFound)),
            ("", "", Err(LegacyError::NotFound)),
            ("/1/", "", Err(LegacyError::NotFound)),
        ];
        for (path, query, expected) in table {
            assert_eq!(LegacyRequest::parse(path, query), expected, "{path}?{query}");
        }
    }

    #[test]
    fn the_handshake_of_0_9_counts_in_seconds() {
        let transports = ["websocket", "xhr-polling"];
        let second = Duration::from_secs(1);
        let mut open = LegacyOpen {
            sid: "x",
            heartbeat_timeout: 60 * second,
            close_timeout: 25 * second,
            transports: &transports,
        };
        assert_eq!(open.text(), "x:60:25:websocket,xhr-polling");
        open.close_timeout = second / 5;
        assert_eq!(open.text(), "x:60:1:websocket,xhr-polling");
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
