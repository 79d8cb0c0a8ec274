//! Socket.IO 0.7 to 0.9, byte for byte: handshakes, polls, POSTs and frames, without anything that a client does by
//! itself.
#![allow(dead_code, reason = "every test binary compiles all of this and uses some")]
#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::support::fixture::Fixture;
use crate::support::http::{Http, Response, request};
use crate::support::socket::Socket;

/// Frames each length in a payload of several packets.
pub const FRAMING: char = '\u{fffd}';

/// The answer to an unknown sid.
pub const BEGIN_ANEW: &str = "7:::1+0";

/// A sid, which any transport may use.
#[derive(Clone, Debug)]
pub struct Session {
    pub addr: SocketAddr,
    pub sid: String,
}

impl Session {
    /// Makes a handshake.
    pub async fn begin(addr: SocketAddr) -> Self {
        let response = Http::connect(addr).await.get("/socket.io/1/").await;
        assert_eq!(response.status, 200, "{response:?}");
        let (sid, _) = response.body.split_once(':').unwrap();
        Self { addr, sid: sid.to_owned() }
    }

    pub fn xhr(&self) -> String {
        format!("/socket.io/1/xhr-polling/{}", self.sid)
    }

    /// The target of a poll whose answer is for `io.j[0]`.
    pub fn jsonp(&self) -> String {
        format!("/socket.io/1/jsonp-polling/{}?i=0", self.sid)
    }

    /// Opens a WebSocket and reads its greeting.
    pub async fn socket(&self) -> Socket {
        let target = format!("/socket.io/1/websocket/{}", self.sid);
        let mut socket = ask(self.addr, &target).await.unwrap_or_else(|response| panic!("{target}: {response:?}"));
        assert_eq!(socket.hear().await, "1::");
        socket
    }

    /// Begins XHR polling and reads its greeting.
    pub async fn polling(&self) -> Polling {
        let mut polling = self.ungreeted().await;
        assert_eq!(polling.poll().await, "1::");
        polling
    }

    /// Begins XHR polling without a first poll.
    pub async fn ungreeted(&self) -> Polling {
        let (getter, poster) = (Http::connect(self.addr).await, Http::connect(self.addr).await);
        Polling { target: self.xhr(), getter, poster, heard: VecDeque::new() }
    }
}

/// Requests a WebSocket.
pub async fn ask(addr: SocketAddr, target: &str) -> Result<Socket, Response> {
    let headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut http = Http::connect(addr).await;
    http.write(&request("GET", target, &headers, b"")).await.unwrap();
    Socket::answered(http).await
}

/// A session with two connections, one for polls and one for POSTs.
pub struct Polling {
    pub target: String,
    pub getter: Http,
    pub poster: Http,
    heard: VecDeque<String>,
}

impl Polling {
    /// Polls once and returns the body.
    pub async fn poll(&mut self) -> String {
        self.begin_poll().await;
        self.polled().await
    }

    /// Sends a poll; [`Self::polled`] reads the answer.
    pub async fn begin_poll(&mut self) {
        self.getter.write(&request("GET", &self.target, &[], b"")).await.unwrap();
    }

    pub async fn polled(&mut self) -> String {
        let response = crate::support::within("the answer to a poll", self.getter.response()).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    /// Sends a poll and waits until the session has it. Of two polls at once, the session ends the older one.
    pub async fn wait(&mut self) {
        let addr = self.getter.stream.get_ref().peer_addr().unwrap();
        let mut other = Http::connect(addr).await;
        other.write(&request("GET", &self.target, &[], b"")).await.unwrap();
        self.begin_poll().await;
        let ended = tokio::select! {
            ended = self.getter.response() => {
                std::mem::swap(&mut self.getter, &mut other);
                ended
            }
            ended = other.response() => ended,
        };
        assert_eq!(ended.unwrap().body, "8::");
    }

    /// Sends a POST, which must be accepted.
    pub async fn post(&mut self, body: &str) {
        let response = self.poster.post(&self.target, body).await;
        assert_eq!((response.status, response.body.as_str()), (200, "1"), "{body}");
    }

    /// Returns the next packet, polling as often as necessary.
    pub async fn hear(&mut self) -> String {
        while self.heard.is_empty() {
            let body = self.poll().await;
            self.heard.extend(packets(&body));
        }
        self.heard.pop_front().unwrap()
    }

    pub async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.hear().await, *expected);
        }
    }

    /// Expects that the server has sent nothing so far that the test has not heard.
    pub async fn hears_nothing(&mut self) {
        self.post(FENCE).await;
        self.hears(&[FENCE_PASSED]).await;
    }

    /// Joins as `user`.
    pub async fn join(&mut self, user: &str, conversations: &[&str]) {
        self.post(&framed(&["1::/max", &join(user)])).await;
        self.hears(&["1::/max", &listening(conversations)]).await;
    }
}

/// An event that the session acks at once and in order.
const FENCE: &str = r#"5:4711+:/max:{"name":"fence"}"#;

/// The ack of [`FENCE`].
const FENCE_PASSED: &str = r#"6::/max:4711+[{"ok":false,"code":"unknown_event","reason":"there is no such event"}]"#;

pub async fn hears(socket: &mut Socket, expected: &[&str]) {
    for expected in expected {
        assert_eq!(socket.hear().await, *expected);
    }
}

/// Expects that the server has sent nothing so far that the test has not heard. `socket` must have joined: it sends an
/// `ask`, which conversations answer after everything that they sent before.
pub async fn hears_nothing(socket: &mut Socket) {
    socket.send(r#"5:4712+:/max:{"name":"ask","args":[{}]}"#).await;
    loop {
        match socket.hear().await {
            people if people.starts_with(r#"5::/max:{"name":"people""#) => {}
            answer => return assert_eq!(answer, r#"6::/max:4712+[{"ok":true}]"#),
        }
    }
}

/// Starts a server where `xavi` listens over a WebSocket and has heard that `messi` is there.
pub async fn with_xavi(settings: &str) -> (Fixture, Socket) {
    let server = Fixture::start(settings);
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Session::begin(server.addr).await.socket().await;
    xavi.send("1::/max").await;
    xavi.send(&join("xavi")).await;
    hears(&mut xavi, &["1::/max", &listening(&["c1"])]).await;
    (server, xavi)
}

/// Joins packets to a payload.
pub fn framed(packets: &[&str]) -> String {
    let length = |packet: &str| packet.encode_utf16().count();
    packets.iter().map(|packet| format!("{FRAMING}{}{FRAMING}{packet}", length(packet))).collect()
}

/// Splits a payload into packets.
pub fn packets(body: &str) -> Vec<String> {
    let units: Vec<u16> = body.encode_utf16().collect();
    if units.first() != Some(&0xfffd) {
        return vec![body.to_owned()];
    }
    let mut packets = Vec::new();
    let mut rest = units.as_slice();
    while let [0xfffd, framed @ ..] = rest {
        let digits = framed.iter().position(|unit| *unit == 0xfffd).unwrap();
        let length: usize = String::from_utf16(&framed[..digits]).unwrap().parse().unwrap();
        let (packet, behind) = framed[digits + 1..].split_at(length);
        packets.push(String::from_utf16(packet).unwrap());
        rest = behind;
    }
    assert!(rest.is_empty() && packets.len() > 1, "{body}");
    packets
}

pub fn event(name: &str, argument: &str) -> String {
    format!(r#"5::/max:{{"name":"{name}","args":[{argument}]}}"#)
}

pub fn join(user: &str) -> String {
    event("join", &format!(r#"{{"username":"{user}","timestamp":1700000000000,"token":"t-{user}"}}"#))
}

pub fn talk(message: &str) -> String {
    event("talk", &format!(r#"{{"conversation":"c1","messageID":"{message}"}}"#))
}

pub fn listening(conversations: &[&str]) -> String {
    event("listening", &serde_json::json!({ "conversations": conversations }).to_string())
}

pub fn joined(user: &str) -> String {
    event("joined", &format!(r#"{{"conversation":"c1","username":"{user}"}}"#))
}

pub fn left(user: &str) -> String {
    event("left", &format!(r#"{{"conversation":"c1","username":"{user}"}}"#))
}

/// The update that others hear after [`talk`].
pub fn update(user: &str, message: &str) -> String {
    event("update", &format!(r#"{{"username":"{user}","conversation":"c1","messageID":"{message}"}}"#))
}
