//! Engine.IO 3 over HTTP, byte for byte: the packets of Socket.IO 1 and 2 over a WebSocket, by polling in its three
//! forms, by JSONP, and in an upgrade.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::fixture::Fixture;
use crate::support::http::{Http, Response, request};
use crate::support::run;
use crate::support::socket::{BINARY, End, Frame, Socket, frame};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const HANDSHAKE: &str = "/socket.io/?EIO=3&transport=polling";
const FRESH: &str = "EIO=3&transport=websocket";
const UNKNOWN_SID: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);
const TEXT: &str = "text/plain; charset=UTF-8";
const SCRIPT: &str = "text/javascript; charset=UTF-8";

async fn get(addr: SocketAddr, target: &str) -> Response {
    Http::connect(addr).await.get(target).await
}

fn status_and_body(response: &Response) -> (u16, &str) {
    (response.status, &response.body)
}

/// Encodes packets as `<len>:<packet>`.
fn counted(packets: &[&str]) -> String {
    packets.iter().map(|packet| format!("{}:{packet}", packet.encode_utf16().count())).collect()
}

/// Splits an ASCII body into packets.
fn packets(body: &str) -> Vec<String> {
    assert!(body.is_ascii(), "{body}");
    let (mut packets, mut rest) = (Vec::new(), body);
    while let Some((length, behind)) = rest.split_once(':') {
        let (packet, behind) = behind.split_at(length.parse().unwrap());
        packets.push(packet.to_owned());
        rest = behind;
    }
    assert!(rest.is_empty() && !packets.is_empty(), "{body}");
    packets
}

/// Returns the sid of an open packet, whose other values must be right.
fn sid_of(open: &str, upgrades: &str) -> String {
    let rest = format!(r#"","upgrades":{upgrades},"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#);
    let sid = open.strip_prefix(r#"0{"sid":""#).and_then(|open| open.strip_suffix(&rest));
    sid.unwrap_or_else(|| panic!("no open packet: {open}")).to_owned()
}

/// A session with two connections, one for polls and one for POSTs.
struct Polling {
    sid: String,
    target: String,
    getter: Http,
    poster: Http,
    heard: VecDeque<String>,
}

impl Polling {
    /// Opens a session and sends nothing.
    async fn open(addr: SocketAddr) -> Self {
        let mut getter = Http::connect(addr).await;
        let body = getter.get(HANDSHAKE).await.body;
        let sid = body.split('"').nth(3).unwrap().to_owned();
        let target = format!("{HANDSHAKE}&sid={sid}");
        Self { sid, target, getter, poster: Http::connect(addr).await, heard: VecDeque::new() }
    }

    /// Opens a session and reads the connect to `/`, which the server sends by itself.
    async fn greeted(addr: SocketAddr) -> Self {
        let mut polling = Self::open(addr).await;
        polling.hears(&["40"]).await;
        polling
    }

    /// Opens a session and joins as `user`.
    async fn join(addr: SocketAddr, user: &str) -> Self {
        Self::join_by(addr, "40/max,", user).await
    }

    async fn join_by(addr: SocketAddr, connect: &str, user: &str) -> Self {
        let mut polling = Self::greeted(addr).await;
        polling.post(&counted(&[connect, &join(user)])).await;
        polling.hears(&["40/max,", LISTENING]).await;
        polling
    }

    async fn post(&mut self, body: &str) {
        let response = self.poster.post(&self.target, body).await;
        assert_eq!(status_and_body(&response), (200, "ok"), "{body}");
    }

    async fn begin_poll(&mut self) {
        self.getter.write(&request("GET", &self.target, &[], b"")).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        while self.heard.is_empty() {
            let response = self.getter.get(&self.target).await;
            assert_eq!((response.status, response.header("content-type")), (200, Some(TEXT)), "{response:?}");
            self.heard.extend(packets(&response.body));
        }
        self.heard.pop_front().unwrap()
    }

    async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.hear().await, *expected);
        }
    }

    /// Expects that nothing unheard was sent so far.
    async fn hears_nothing(&mut self) {
        self.post(&counted(&["2fence"])).await;
        self.hears(&["3fence"]).await;
    }

    /// Expects that the session has ended: one poll may still be told so, then its sid is unknown.
    async fn is_over(&mut self) {
        let told = self.getter.get(&self.target).await;
        let last = told.body.ends_with("1:1") && told.status == 200;
        assert!(last || status_and_body(&told) == UNKNOWN_SID, "{told:?}");
        assert_eq!(status_and_body(&self.getter.get(&self.target).await), UNKNOWN_SID);
        let addr = self.getter.stream.get_ref().peer_addr().unwrap();
        assert_eq!(status_and_body(&Http::connect(addr).await.post(&self.target, "1:2").await), UNKNOWN_SID);
    }
}

const LISTENING: &str = r#"42/max,["listening",{"conversations":["c1"]}]"#;

fn join(user: &str) -> String {
    format!(r#"42/max,["join",{{"username":"{user}","timestamp":1700000000000,"token":"t-{user}"}}]"#)
}

fn talk(message: &str) -> String {
    format!(r#"42/max,["talk",{{"conversation":"c1","messageID":"{message}"}}]"#)
}

fn update(user: &str, message: &str) -> String {
    format!(r#"42/max,["update",{{"username":"{user}","conversation":"c1","messageID":"{message}"}}]"#)
}

fn joined(user: &str) -> String {
    format!(r#"42/max,["joined",{{"conversation":"c1","username":"{user}"}}]"#)
}

fn left(user: &str) -> String {
    format!(r#"42/max,["left",{{"conversation":"c1","username":"{user}"}}]"#)
}

/// Opens a WebSocket and reads its greeting.
async fn socket(addr: SocketAddr) -> Socket {
    let mut socket = Socket::open(addr, FRESH).await;
    sid_of(&socket.hear().await, "[]");
    assert_eq!(socket.hear().await, "40");
    socket
}

async fn hears(socket: &mut Socket, expected: &[&str]) {
    for expected in expected {
        assert_eq!(socket.hear().await, *expected);
    }
}

/// Expects that nothing unheard was sent so far. `socket` listens to `c1` and sends it an `ask`.
async fn hears_nothing(socket: &mut Socket) {
    socket.send(r#"42/max,4712["ask",{}]"#).await;
    let people = socket.hear().await;
    assert!(people.starts_with(r#"42/max,["people""#), "{people}");
    hears(socket, &[r#"43/max,4712[{"ok":true}]"#]).await;
}

/// Starts a server where `xavi` listens over a WebSocket and has heard that `messi` is there.
async fn with_xavi(settings: &str) -> (Fixture, Socket) {
    let server = Fixture::start(settings);
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = socket(server.addr).await;
    xavi.send("40/max,").await;
    xavi.send(&join("xavi")).await;
    hears(&mut xavi, &["40/max,", LISTENING]).await;
    (server, xavi)
}

#[test]
fn a_handshake_opens_and_greets_unasked() {
    run(async {
        let server = Fixture::start("");
        for target in [HANDSHAKE, "/socket.io?transport=polling&EIO=3&t=x", "/socket.io/?EIO=3&transport=polling&b64=1"]
        {
            let response = Http::connect(server.addr).await.request("GET", target, &[("Origin", "null")], b"").await;
            assert_eq!((response.status, response.header("content-type")), (200, Some(TEXT)));
            assert_eq!(response.header("cache-control"), Some("no-store"));
            assert_eq!(response.header("access-control-allow-origin"), Some("null"));
            let (length, open) = response.body.split_once(':').unwrap();
            assert_eq!(length.parse(), Ok(open.len()), "{open}");
            let sid = sid_of(open, r#"["websocket"]"#);
            assert_eq!(status_and_body(&get(server.addr, &format!("{target}&sid={sid}")).await), (200, "2:40"));
        }
        let mut socket = socket(server.addr).await;
        socket.send("2").await;
        hears(&mut socket, &["3"]).await;
    });
}

#[test]
fn errors_of_requests_are_answered_in_json() {
    run(async {
        let server = Fixture::start("");
        let polling = Polling::open(server.addr).await;
        let transport_unknown = (400, r#"{"code":0,"message":"Transport unknown"}"#);
        let unknown = format!("{HANDSHAKE}&sid=AAAAAAAAAAAAAAAAAAAA");
        for (method, target, expected) in [
            ("GET", "/socket.io/?EIO=3", transport_unknown),
            ("GET", "/socket.io/?EIO=3&transport=flashsocket&sid=x", transport_unknown),
            ("GET", &unknown, UNKNOWN_SID),
            ("POST", &unknown, UNKNOWN_SID),
            ("POST", HANDSHAKE, (400, r#"{"code":2,"message":"Bad handshake method"}"#)),
            ("GET", "/socket.io/?EIO=3&transport=websocket", BAD_REQUEST),
            (
                "GET",
                "/socket.io/?EIO=03&transport=polling",
                (400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
            ),
            // JSONP without a number, with a sid and without.
            ("GET", "/socket.io/?EIO=3&transport=polling&j=", BAD_REQUEST),
            ("GET", "/socket.io/?EIO=3&transport=polling&j=alert", BAD_REQUEST),
            ("GET", &format!("{}&j", polling.target), BAD_REQUEST),
            ("POST", &format!("{}&j=", polling.target), BAD_REQUEST),
            ("PUT", &polling.target, (500, "")),
        ] {
            let response = Http::connect(server.addr).await.request(method, target, &[("Origin", "null")], b"").await;
            assert_eq!(status_and_body(&response), expected, "{method} {target}");
            assert_eq!(response.header("access-control-allow-origin"), Some("null"));
        }
        let refused = Socket::ask(server.addr, &format!("{FRESH}&sid=AAAAAAAAAAAAAAAAAAAA"), b"").await;
        assert_eq!(status_and_body(&refused.map(|_| ()).unwrap_err()), (400, "Session ID unknown"));
    });
}

#[test]
fn namespaces_come_with_and_without_comma_and_query() {
    run(async {
        let server = Fixture::start("");
        for entry in ["40/max", "40/max,", "40/max?x=1&y=2", "40/max?x=1&u=http://a:1/,", "40/max?,", "40/max,{}"] {
            let mut socket = socket(server.addr).await;
            socket.send(entry).await;
            hears(&mut socket, &["40/max,"]).await;
            socket.send(r#"42/max,7["ask"]"#).await;
            hears(&mut socket, &[r#"43/max,7[{"ok":false,"code":"not_joined","reason":"join first"}]"#]).await;
            let mut polling = Polling::open(server.addr).await;
            polling.post(&counted(&[entry])).await;
            polling.hears(&["40", "40/max,"]).await;
        }
        let mut socket = socket(server.addr).await;
        for (entry, refusal) in [
            ("40/nope", r#"44/nope,"Invalid namespace""#),
            ("40/nope?token=x,", r#"44/nope,"Invalid namespace""#),
            ("40/max/", r#"44/max/,"Invalid namespace""#),
            ("40/MAX,", r#"44/MAX,"Invalid namespace""#),
        ] {
            socket.send(entry).await;
            hears(&mut socket, &[refusal]).await;
        }
        // The session lives on, in the namespace that it did not ask for.
        socket.send(r#"421["nope"]"#).await;
        hears(&mut socket, &[r#"431[{"ok":false,"code":"unknown_event","reason":"there is no such event"}]"#]).await;
        let mut polling = Polling::greeted(server.addr).await;
        polling.post(&counted(&["40/nope"])).await;
        assert_eq!(polling.getter.get(&polling.target).await.body, r#"27:44/nope,"Invalid namespace""#);
    });
}

#[test]
fn lengths_are_counted_in_utf_16_and_answers_are_ascii() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::join(server.addr, "messi").await;
        hears(&mut xavi, &[&joined("messi")]).await;
        let said = ["é", "€", "😀", "\u{ff}\u{100}", "é€😀\u{2028}"];
        let escaped = [r"\u00e9", r"\u20ac", r"\ud83d\ude00", r"\u00ff\u0100", r"\u00e9\u20ac\ud83d\ude00\u2028"];
        let talks = said.map(talk);
        messi.post(&counted(&talks.each_ref().map(String::as_str))).await;
        for escaped in escaped {
            assert_eq!(xavi.hear().await, update("messi", escaped));
        }
        for talk in &talks {
            xavi.send(talk).await;
        }
        hears_nothing(&mut xavi).await;
        let updates = escaped.map(|escaped| update("xavi", escaped));
        let expected = counted(&updates.each_ref().map(String::as_str));
        assert_eq!(messi.getter.get(&messi.target).await.body, expected);
        // Empty records are ignored.
        messi.post(&format!("0:{}0:", counted(&["2", "2a"]))).await;
        messi.post("0:").await;
        messi.hears(&["3", "3a"]).await;
        messi.hears_nothing().await;
    });
}

#[test]
fn text_that_socket_io_1_encodes_twice_is_read_right() {
    // As the parser of 1.x encodes: each byte of the UTF-8 becomes a character.
    let twice = |packet: &str| packet.bytes().map(char::from).collect::<String>();
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        // Without the comma that 2.x writes.
        let mut messi = Polling::join_by(server.addr, "40/max", "messi").await;
        hears(&mut xavi, &[&joined("messi")]).await;
        let packet = twice(&talk("é€😀"));
        messi.post(&counted(&[&packet, &talk("m1"), &packet])).await;
        let all = update("messi", r"\u00e9\u20ac\ud83d\ude00");
        hears(&mut xavi, &[&all, &update("messi", "m1"), &all]).await;
        // The same in a form.
        let form = format!("d={}", utf8_percent_encode(&counted(&[&packet]), NON_ALPHANUMERIC));
        let target = format!("{}&j=0", messi.target);
        assert_eq!(status_and_body(&messi.poster.post(&target, &form).await), (200, "ok"));
        hears(&mut xavi, &[&all]).await;
        // Text that is not valid when decoded a second time stays as it is.
        messi.post(&counted(&[&talk("Ã"), &talk("Ã©€"), &talk("é")])).await;
        for escaped in [r"\u00c3", r"\u00c3\u00a9\u20ac", r"\u00e9"] {
            hears(&mut xavi, &[&update("messi", escaped)]).await;
        }
        // Over a WebSocket no text is taken to be encoded twice.
        let mut socket = socket(server.addr).await;
        for packet in ["40/max", &join("messi"), &talk("Ã©")] {
            socket.send(packet).await;
        }
        hears(&mut xavi, &[&update("messi", r"\u00c3\u00a9")]).await;
    });
}

/// Text of a client that has shown itself to be 2.x is not decoded twice, in the same POST or later.
#[test]
fn text_that_looks_as_if_it_were_encoded_twice_is_left_as_2_x_has_said_it() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::join(server.addr, "messi").await;
        hears(&mut xavi, &[&joined("messi")]).await;
        for text in ["Ã©", "Â£", "â\u{82}¬", "ð\u{9f}\u{98}\u{80}"] {
            messi.post(&counted(&[&talk(text)])).await;
            let escaped: String = text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
            hears(&mut xavi, &[&update("messi", &escaped)]).await;
        }
    });
}

#[test]
fn posts_may_be_bytes() {
    let record = |kind: u8, data: &[u8]| {
        let digits = data.len().to_string().into_bytes().into_iter().map(|digit| digit - b'0');
        [vec![kind], digits.collect(), vec![0xff], data.to_vec()].concat()
    };
    let binary = r#"451-/max,7["talk",{"_placeholder":true,"num":0}]"#;
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::join(server.addr, "messi").await;
        hears(&mut xavi, &[&joined("messi")]).await;
        let post = async |messi: &mut Polling, body: Vec<u8>| {
            let kind = [("Content-Type", "application/octet-stream")];
            messi.poster.request("POST", &messi.target, &kind, &body).await
        };
        let body =
            [record(0, talk("é€😀").as_bytes()), record(0, binary.as_bytes()), record(1, &[4, 1, 2, 3])].concat();
        assert_eq!(status_and_body(&post(&mut messi, body).await), (200, "ok"));
        hears(&mut xavi, &[&update("messi", r"\u00e9\u20ac\ud83d\ude00")]).await;
        let refusal = messi.hear().await;
        assert!(refusal.starts_with(r#"43/max,7[{"ok":false,"code":"bad_talk""#), "{refusal}");
        // As text, a binary message is base64 with its type.
        messi.post(&counted(&[binary, "b4AQID"])).await;
        assert_eq!(messi.hear().await, refusal);
        // In a binary body, the type of a control packet is a number.
        assert_eq!(status_and_body(&post(&mut messi, record(1, b"\x02probe")).await), (200, "ok"));
        messi.hears(&["3probe"]).await;
        // A malformed record ends the session; the records before it count.
        let malformed = [
            vec![0],
            vec![0, 0xff],
            vec![0, 1],
            vec![0, 1, 0xff],
            vec![0, 5, 0xff, b'2'],
            vec![0, 1, 0, 0xff, b'2'],
            vec![0, 1, 0, 0, b'2'],
            vec![0, b'1', 0xff, b'2'],
            vec![2, 1, 0xff, b'2'],
            vec![0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0xff, b'2'],
            [vec![0], vec![9; 100_000]].concat(),
            vec![1, 0, 0xff],
            record(1, b"42"),
            record(0, b"\xff"),
            record(0, b"x"),
            b"1:2".to_vec(),
        ];
        for bad in malformed {
            let mut leo = Polling::join(server.addr, "messi").await;
            let shown = bad[..bad.len().min(20)].to_vec();
            let body = [record(0, talk("m1").as_bytes()), bad].concat();
            assert_eq!(status_and_body(&post(&mut leo, body).await), (200, "ok"), "{shown:?}");
            assert_eq!(xavi.hear().await, update("messi", "m1"), "{shown:?}");
            leo.is_over().await;
        }
        assert_eq!(status_and_body(&post(&mut messi, Vec::new()).await), (200, "ok"));
        messi.is_over().await;
        hears(&mut xavi, &[&left("messi")]).await;
    });
}

#[test]
fn malformed_lengths_end_the_session_after_the_packets_before_them() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        for bad in [
            "5:",
            "5:2",
            ":",
            ":2",
            "2",
            "-1:2",
            "+1:2",
            " 1:2",
            "1 :2",
            "1e3:2",
            "1.0:2",
            "0x1:2",
            "99999999999:2",
            "18446744073709551617:2",
            "NaN:2",
            "1:😀",
            "1:7",
            "1:x",
            "2:4x",
            "2:b!",
            "3:b4=",
            "0:0:x",
            "\u{660}1:2",
            "\u{fffd}1\u{fffd}2",
        ] {
            let mut messi = Polling::join(server.addr, "messi").await;
            messi.post(&format!("{}{bad}", counted(&[&talk("m1")]))).await;
            hears(&mut xavi, &[&joined("messi"), &update("messi", "m1"), &left("messi")]).await;
            messi.is_over().await;
            // Malformed first, while a poll waits: the poll may be told.
            let mut messi = Polling::greeted(server.addr).await;
            messi.begin_poll().await;
            messi.post(bad).await;
            let told = messi.getter.response().await.unwrap();
            assert!([(200, "1:1"), UNKNOWN_SID].contains(&status_and_body(&told)), "{bad}: {told:?}");
            messi.is_over().await;
        }
        for body in ["", "9".repeat(100_000).as_str(), "0:".repeat(50_000).as_str()] {
            let mut messi = Polling::greeted(server.addr).await;
            messi.post(body).await;
            if body.starts_with("0:") {
                messi.hears_nothing().await;
            } else {
                messi.is_over().await;
            }
        }
        hears_nothing(&mut xavi).await;
    });
}

#[test]
fn the_client_pings() {
    run(async {
        let server = Fixture::start("");
        let mut socket = socket(server.addr).await;
        let mut polling = Polling::greeted(server.addr).await;
        for (ping, pong) in [("2", "3"), ("2probe", "3probe"), ("2é😀", "3é😀")] {
            socket.send(ping).await;
            hears(&mut socket, &[pong]).await;
            if ping.is_ascii() {
                polling.post(&counted(&[ping])).await;
                polling.hears(&[pong]).await;
            }
        }
        socket.write(&frame(true, BINARY, b"\x02x")).await;
        hears(&mut socket, &["3x"]).await;
        // Packets without meaning for an open session are ignored.
        for idle in ["0", "5", "6", "6x"] {
            socket.send(idle).await;
            polling.post(&counted(&[idle])).await;
        }
        polling.hears_nothing().await;
        socket.send("2").await;
        hears(&mut socket, &["3"]).await;
        // A pong from a client is an error.
        socket.send("3").await;
        assert!(matches!(socket.end().await, End::Eof | End::Reset | End::Frame(None)));
        polling.post("1:3").await;
        polling.is_over().await;
    });
}

#[test]
fn silence_ends_a_session_and_pings_keep_it() {
    run(async {
        let server = Fixture::start("protocol.ping_interval_ms = 300\nprotocol.ping_timeout_ms = 200");
        let begun = Instant::now();
        let mut polling = Polling::open(server.addr).await;
        let mut socket = Socket::open(server.addr, FRESH).await;
        let mut lively = Socket::open(server.addr, FRESH).await;
        let pings = async {
            loop {
                lively.send("2").await;
                while lively.next().await != Ok(Frame::Text("3".to_owned())) {}
                if begun.elapsed() > Duration::from_millis(1500) {
                    break lively;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Polls do not keep a session alive. The sid of an ended session is unknown.
        let silent = async {
            let mut polls = 0;
            loop {
                let response = polling.getter.get(&polling.target).await;
                polls += 1;
                if status_and_body(&response) == UNKNOWN_SID {
                    break;
                }
                assert!(["2:40", "1:1"].contains(&response.body.as_str()), "{response:?}");
            }
            assert!(polls > 1 && begun.elapsed() >= Duration::from_millis(500), "{polls} {:?}", begun.elapsed());
            assert!(matches!(socket.end().await, End::Frame(None)));
        };
        let (mut lively, ()) = tokio::join!(pings, silent);
        lively.send("2").await;
        hears(&mut lively, &["3"]).await;
        let closed = server.scrape().await;
        assert_eq!(closed.sum("maxtalk_sessions_closed_total", r#"reason="ping_timeout""#), 2.0);
    });
}

#[test]
fn packets_that_are_not_socket_io_end_the_session() {
    run(async {
        let server = Fixture::start("");
        for bad in ["4", "4abc", "40/max,", "42/nope,[\"x\"]", "42/max,{}", "42/max,[]", "7", ""] {
            let mut socket = socket(server.addr).await;
            socket.send("40/max").await;
            hears(&mut socket, &["40/max,"]).await;
            socket.send(bad).await;
            assert_eq!(socket.end().await, End::Frame(None), "{bad}");
        }
        let mut socket = socket(server.addr).await;
        socket.write(&frame(true, BINARY, b"\x04out of the blue")).await;
        assert_eq!(socket.end().await, End::Frame(None));
        let mut polling = Polling::greeted(server.addr).await;
        polling.post(&counted(&["4abc"])).await;
        assert_eq!(status_and_body(&polling.getter.get(&polling.target).await), (200, "1:1"));
        polling.is_over().await;
    });
}

#[test]
fn jsonp_polls_are_scripts_and_its_posts_are_forms() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let response = get(server.addr, &format!("{HANDSHAKE}&j=0&b64=1")).await;
        assert_eq!((response.status, response.header("content-type")), (200, Some(SCRIPT)));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let argument = response.body.strip_prefix("___eio[0](").and_then(|script| script.strip_suffix(");"));
        let payload: String = serde_json::from_str(argument.unwrap()).unwrap();
        let sid = sid_of(&packets(&payload)[0], r#"["websocket"]"#);
        let target = format!("{HANDSHAKE}&sid={sid}&j=");
        let (mut getter, mut poster) = (Http::connect(server.addr).await, Http::connect(server.addr).await);
        assert_eq!(getter.get(&format!("{target}1")).await.body, r#"___eio[1]("2:40");"#);

        // The client writes its line breaks as `\n` and the `\n` of JSON as `\\n`; browsers make CR LF of other line
        // breaks.
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let post = async |poster: &mut Http, data: &str| {
            let body = format!("d={}", utf8_percent_encode(data, NON_ALPHANUMERIC)).replace("%20", "+");
            poster.request("POST", &format!("{target}alert(2)"), &form, body.as_bytes()).await
        };
        let response = post(&mut poster, "7:40/max,").await;
        assert_eq!((status_and_body(&response), response.header("content-type")), ((200, "ok"), Some("text/html")));
        assert_eq!(getter.get(&format!("{target}alert(2)")).await.body, r#"___eio[2]("7:40/max,");"#);
        post(&mut poster, &counted(&[&join("messi")])).await;
        let listening = r#"___eio[3]("45:42/max,[\"listening\",{\"conversations\":[\"c1\"]}]");"#;
        assert_eq!(getter.get(&format!("{target}3")).await.body, listening);
        for (data, heard) in [
            (counted(&[&talk("é + 😀")]), r"\u00e9 + \ud83d\ude00"),
            (counted(&[&talk(r"a\nb")]).replace(r"\n", r"\\n"), r"a\nb"),
            (
                counted(&["42/max,\n[\"talk\",{\"conversation\":\"c1\",\"messageID\":\"m1\"}]"]).replace('\n', r"\n"),
                "m1",
            ),
            (
                counted(&["42/max,\n[\"talk\",{\"conversation\":\"c1\",\"messageID\":\"m2\"}]"]).replace('\n', "\r\n"),
                "m2",
            ),
        ] {
            assert_eq!(status_and_body(&post(&mut poster, &data).await), (200, "ok"), "{data}");
            loop {
                match xavi.hear().await {
                    heard if heard == joined("messi") => {}
                    news => break assert_eq!(news, update("messi", heard), "{data}"),
                }
            }
        }
        xavi.send(&talk("é</script>")).await;
        hears_nothing(&mut xavi).await;
        let fields = r#"{\"username\":\"xavi\",\"conversation\":\"c1\",\"messageID\":\"\\u00e9\u003c/script>\"}"#;
        let news = format!(r#"___eio[0]("87:42/max,[\"update\",{fields}]");"#);
        assert_eq!(getter.get(&format!("{target}0")).await.body, news);
        // A body that is not a form is a bad payload, which ends the session.
        let response = poster.request("POST", &format!("{target}0"), &form, b"e=1").await;
        assert_eq!(status_and_body(&response), (400, ""));
        assert_eq!(status_and_body(&get(server.addr, &format!("{target}0")).await), UNKNOWN_SID);
        hears(&mut xavi, &[&left("messi")]).await;
    });
}

#[test]
fn polling_is_upgraded_to_a_websocket() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::join(server.addr, "messi").await;
        hears(&mut xavi, &[&joined("messi")]).await;
        let mut socket = Socket::open(server.addr, &format!("{FRESH}&sid={}", messi.sid)).await;
        messi.begin_poll().await;
        socket.send("2probe").await;
        hears(&mut socket, &["3probe"]).await;
        // Every poll ends now, also a late one.
        assert_eq!(messi.getter.response().await.unwrap().body, "1:6");
        messi.hears(&["6"]).await;
        // Until the upgrade, polling delivers.
        xavi.send(&talk("m1")).await;
        hears_nothing(&mut xavi).await;
        messi.hears(&[&update("xavi", "m1")]).await;
        messi.post(&counted(&[&talk("m2")])).await;
        hears(&mut xavi, &[&update("messi", "m2")]).await;
        xavi.send(&talk("m3")).await;
        hears_nothing(&mut xavi).await;
        socket.send("5").await;
        hears(&mut socket, &[&update("xavi", "m3")]).await;
        socket.send("2").await;
        hears(&mut socket, &["3"]).await;
        assert_eq!(status_and_body(&get(server.addr, &messi.target).await), BAD_REQUEST);
        assert_eq!(status_and_body(&messi.poster.post(&messi.target, "1:2").await), BAD_REQUEST);
        let mut second = Socket::open(server.addr, &format!("{FRESH}&sid={}", messi.sid)).await;
        assert_eq!(second.end().await, End::Frame(None));
        server
            .until("two sockets", |now| {
                now.sum("maxtalk_sessions", r#"websocket"#) == 2.0 && now.sum("maxtalk_sessions", r#"polling"#) == 0.0
            })
            .await;
        socket.send(&talk("m4")).await;
        hears(&mut xavi, &[&update("messi", "m4")]).await;
        socket.send("41/max,").await;
        hears(&mut xavi, &[&left("messi")]).await;
        socket.send("2").await;
        hears(&mut socket, &["3"]).await;
        socket.send("1").await;
        assert_eq!(socket.end().await, End::Frame(None));
        assert_eq!(status_and_body(&get(server.addr, &messi.target).await), UNKNOWN_SID);
    });
}

#[test]
fn a_client_that_closes_is_told_by_its_poll() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::join(server.addr, "messi").await;
        messi.post("1:1").await;
        let told = get(server.addr, &messi.target).await;
        assert!([(200, "1:6"), UNKNOWN_SID].contains(&status_and_body(&told)), "{told:?}");
        hears(&mut xavi, &[&joined("messi"), &left("messi")]).await;
        assert_eq!(status_and_body(&get(server.addr, &messi.target).await), UNKNOWN_SID);
    });
}
