//! A client of our own, small enough to be beyond doubt: Engine.IO 4 over a WebSocket, by polling, or upgraded from the
//! one to the other, and over it Socket.IO in one namespace. It answers heartbeats by itself and gives everything else
//! to the test, as the text that came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maxtalk::event::Code;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::fixture::Fixture;
use super::http::{Http, Response};
use super::socket::{BINARY, End, FRESH, Frame, Reader, Socket, Writer, frame, text};
use super::within;

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    WebSocket,
    Polling,
    /// By polling first; upgraded when it has connected to its namespace.
    Upgraded,
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event: its name, and its one argument as it was written.
    Event(String, String),
    /// The answer to an event that wanted one.
    Ack(u64, String),
    /// Any other Engine.IO packet.
    Packet(String),
    /// Nothing more.
    End(End),
}

/// One connected client. Dropped, it is gone without a word.
pub struct Client {
    pub addr: SocketAddr,
    pub sid: String,
    link: Link,
    inbox: UnboundedReceiver<Heard>,
    outlet: UnboundedSender<Heard>,
    next_ack: u64,
}

enum Link {
    Socket { writer: Arc<Mutex<Writer>>, reader: JoinHandle<()> },
    Polling { poster: Arc<Mutex<Http>>, reader: JoinHandle<()>, paused: Arc<AtomicBool> },
}

impl Client {
    /// A session that has said nothing yet.
    pub async fn open(addr: SocketAddr, kind: Kind) -> Self {
        let (outlet, inbox) = unbounded_channel();
        let (sid, link) = if kind == Kind::WebSocket {
            let mut socket = Socket::open(addr, FRESH).await;
            let sid = sid_of(&socket.hear().await);
            (sid, Link::socket(socket, outlet.clone()))
        } else {
            let mut http = Http::connect(addr).await;
            let response = http.get("/socket.io/?EIO=4&transport=polling").await;
            assert_eq!(response.status, 200, "{response:?}");
            let sid = sid_of(&response.body);
            let poster = Arc::new(Mutex::new(Http::connect(addr).await));
            let paused = Arc::new(AtomicBool::new(false));
            let reader = tokio::spawn(poll(http, poster.clone(), target(&sid), outlet.clone(), paused.clone()));
            (sid, Link::Polling { poster, reader, paused })
        };
        Self { addr, sid, link, inbox, outlet, next_ack: 1000 }
    }

    /// A session that is in the namespace; `auth` is what it gave for that, such as `{"token":"t-messi"}`.
    pub async fn connect(addr: SocketAddr, kind: Kind, auth: &str) -> Self {
        let mut client = Self::open(addr, kind).await;
        client.send(&format!("40/max,{auth}")).await;
        match client.hear().await {
            Heard::Packet(packet) if packet.starts_with(r#"40/max,{"sid":""#) => {}
            other => panic!("a connection to /max was expected, not {other:?}"),
        }
        if kind == Kind::Upgraded {
            client.upgrade().await;
        }
        client
    }

    /// A session that listens as `user`, to the conversations that it is in by the rules of the test.
    pub async fn join(server: &Fixture, kind: Kind, user: &str, conversations: &[&str]) -> Self {
        let mut client = Self::connect(server.addr, kind, "").await;
        client.emit("join", &join_of(user)).await;
        assert_eq!(client.hear().await, listening(conversations));
        client
    }

    /// Goes from polling to a WebSocket, as the official client does.
    pub async fn upgrade(&mut self) {
        let mut socket = Socket::open(self.addr, &format!("EIO=4&transport=websocket&sid={}", self.sid)).await;
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        let Link::Polling { reader, paused, .. } = &mut self.link else { panic!("upgraded already") };
        paused.store(true, Ordering::Relaxed);
        within("the last poll before an upgrade", reader).await.unwrap();
        socket.send("5").await;
        self.link = Link::socket(socket, self.outlet.clone());
    }

    /// Sends an Engine.IO packet.
    pub async fn send(&mut self, packet: &str) {
        self.send_all(&[packet]).await;
    }

    /// Sends packets with one write, or with one POST.
    pub async fn send_all(&mut self, packets: &[&str]) {
        match &self.link {
            Link::Socket { writer, .. } => {
                let frames: Vec<u8> = packets.iter().flat_map(|packet| text(packet)).collect();
                // Where it fails, the test hears of the end.
                let _ = writer.lock().await.write(&frames).await;
            }
            Link::Polling { .. } => {
                let response = self.post(&packets.join("\x1e")).await;
                assert_eq!((response.status, response.body.as_str()), (200, "ok"));
            }
        }
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, data: &[u8]) {
        match &self.link {
            Link::Socket { writer, .. } => drop(writer.lock().await.write(&frame(true, BINARY, data)).await),
            Link::Polling { .. } => self.send(&format!("b{}", STANDARD.encode(data))).await,
        }
    }

    /// POSTs a body, on polling.
    pub async fn post(&mut self, body: &str) -> Response {
        let Link::Polling { poster, .. } = &self.link else { panic!("a POST over a WebSocket") };
        poster.lock().await.post(&target(&self.sid), body).await
    }

    pub async fn emit(&mut self, event: &str, argument: &str) {
        self.send(&packet(event, argument, None)).await;
    }

    /// Emits an event that wants an answer, and hears it, behind nothing but `before`.
    pub async fn call(&mut self, event: &str, argument: &str, before: &[Heard], answer: impl Fn(u64) -> Heard) {
        let ack = self.emit_ack(event, argument).await;
        for expected in before {
            assert_eq!(self.hear().await, *expected, "{event} {argument:.200}");
        }
        assert_eq!(self.hear().await, answer(ack), "{event} {argument:.200}");
    }

    /// Emits an event with an ack id of its own.
    pub async fn emit_ack(&mut self, event: &str, argument: &str) -> u64 {
        self.next_ack += 1;
        self.send(&packet(event, argument, Some(self.next_ack))).await;
        self.next_ack
    }

    /// The next that comes.
    pub async fn hear(&mut self) -> Heard {
        // The outlet lives as long as the client, so the inbox never ends.
        within("anything to hear", self.inbox.recv()).await.unwrap()
    }

    /// Hears exactly these, in this order.
    pub async fn hears(&mut self, expected: &[Heard]) {
        for expected in expected {
            assert_eq!(self.hear().await, *expected);
        }
    }

    /// Hears this, whatever comes before it.
    pub async fn hears_at_last(&mut self, expected: &Heard) {
        loop {
            match self.hear().await {
                heard if heard == *expected => return,
                Heard::End(end) => panic!("it ended by {end:?} before {expected:?}"),
                _ => {}
            }
        }
    }

    /// How the session ends; what comes before is passed over.
    pub async fn end(&mut self) -> End {
        loop {
            if let Heard::End(end) = self.hear().await {
                return end;
            }
        }
    }

    /// Everything that the server sent before now. It asks its conversations who is there: what they sent has gone out
    /// before they answer, so what does not come now does not come at all.
    pub async fn so_far(&mut self) -> Vec<Heard> {
        let fence = self.emit_ack("ask", "{}").await;
        let mut heard = Vec::new();
        loop {
            match self.hear().await {
                Heard::Ack(id, _) if id == fence => return heard,
                Heard::Event(name, _) if name == "people" => {}
                Heard::End(end) => panic!("it ended by {end:?} behind {heard:?}"),
                other => heard.push(other),
            }
        }
    }

    /// Nothing was sent that was not heard yet.
    pub async fn hears_nothing(&mut self) {
        assert_eq!(self.so_far().await, []);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        match &self.link {
            Link::Socket { reader, .. } | Link::Polling { reader, .. } => reader.abort(),
        }
    }
}

impl Link {
    fn socket(socket: Socket, outlet: UnboundedSender<Heard>) -> Self {
        let writer = Arc::new(Mutex::new(socket.writer));
        let reader = tokio::spawn(read(socket.reader, writer.clone(), outlet));
        Self::Socket { writer, reader }
    }
}

async fn read(mut reader: Reader, writer: Arc<Mutex<Writer>>, outlet: UnboundedSender<Heard>) {
    let end = loop {
        match reader.next().await {
            Ok(Frame::Text(packet)) if packet == "2" => drop(writer.lock().await.write(&text("3")).await),
            Ok(Frame::Text(packet)) => drop(outlet.send(Heard::read(packet))),
            Ok(Frame::Close(code)) => break End::Frame(code),
            Ok(other) => drop(outlet.send(Heard::Packet(format!("{other:?}")))),
            Err(end) => break end,
        }
    };
    let _ = outlet.send(Heard::End(end));
}

async fn poll(
    mut http: Http,
    poster: Arc<Mutex<Http>>,
    target: String,
    outlet: UnboundedSender<Heard>,
    paused: Arc<AtomicBool>,
) {
    let request = super::http::request("GET", &target, &[], b"");
    let end = 'polls: loop {
        if http.write(&request).await.is_err() {
            break End::Reset;
        }
        let Ok(response) = http.response().await else { break End::Eof };
        if response.status != 200 {
            break End::Refused(response.status, response.body);
        }
        for packet in response.body.split('\x1e') {
            match packet {
                "1" => break 'polls End::Packet,
                "2" => drop(poster.lock().await.post(&target, "3").await),
                "6" => {}
                packet => drop(outlet.send(Heard::read(packet.to_owned()))),
            }
        }
        if paused.load(Ordering::Relaxed) {
            return;
        }
    };
    let _ = outlet.send(Heard::End(end));
}

/// A server where `xavi` listens and knows of `messi`.
pub async fn with_xavi(settings: &str) -> (Fixture, Client) {
    let server = Fixture::start(settings);
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
    (server, xavi)
}

/// Where a polling session polls and posts.
pub fn target(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}

/// The sid in an open packet.
pub fn sid_of(open: &str) -> String {
    let json = open.strip_prefix('0').unwrap_or_else(|| panic!("no open packet: {open}"));
    serde_json::from_str::<serde_json::Value>(json).unwrap()["sid"].as_str().unwrap().to_owned()
}

/// An event as a packet. No argument where it is empty.
pub fn packet(event: &str, argument: &str, ack: Option<u64>) -> String {
    let ack = ack.map(|id| id.to_string()).unwrap_or_default();
    match argument {
        "" => format!(r#"42/max,{ack}["{event}"]"#),
        argument => format!(r#"42/max,{ack}["{event}",{argument}]"#),
    }
}

/// The argument of a join with a token.
pub fn join_of(user: &str) -> String {
    format!(r#"{{"username":"{user}","timestamp":1700000000000,"token":"t-{user}"}}"#)
}

/// The argument of a talk.
pub fn talk_of(conversation: &str, message: &str) -> String {
    format!(r#"{{"conversation":"{conversation}","messageID":"{message}"}}"#)
}

pub fn listening(conversations: &[&str]) -> Heard {
    event("listening", serde_json::json!({ "conversations": conversations }).to_string())
}

pub fn joined(conversation: &str, username: &str) -> Heard {
    event("joined", format!(r#"{{"conversation":"{conversation}","username":"{username}"}}"#))
}

pub fn left(conversation: &str, username: &str) -> Heard {
    event("left", format!(r#"{{"conversation":"{conversation}","username":"{username}"}}"#))
}

/// What others hear of [`talk_of`].
pub fn update(username: &str, conversation: &str, message: &str) -> Heard {
    let fields = format!(r#""username":"{username}","conversation":"{conversation}","messageID":"{message}""#);
    event("update", format!("{{{fields}}}"))
}

pub fn people(conversation: &str, people: &[&str]) -> Heard {
    let (inroom, people) = (people.len(), serde_json::json!(people));
    event("people", format!(r#"{{"conversation":"{conversation}","inroom":{inroom},"people":{people}}}"#))
}

pub fn refused(asked: &str, code: &str, conversation: Option<&str>) -> Heard {
    let about = conversation.map(|id| format!(r#","conversation":"{id}""#)).unwrap_or_default();
    event("refused", format!(r#"{{"event":"{asked}","code":"{code}","reason":"{}"{about}}}"#, reason(code)))
}

pub fn event(name: &str, argument: String) -> Heard {
    Heard::Event(name.to_owned(), argument)
}

pub fn ok(ack: u64) -> Heard {
    Heard::Ack(ack, r#"{"ok":true}"#.to_owned())
}

pub fn not_ok(ack: u64, code: &str) -> Heard {
    Heard::Ack(ack, format!(r#"{{"ok":false,"code":"{code}","reason":"{}"}}"#, reason(code)))
}

fn reason(code: &str) -> &'static str {
    Code::ALL.iter().find(|row| row.as_str() == code).unwrap().reason()
}

impl Heard {
    fn read(packet: String) -> Self {
        if let Some(json) = packet.strip_prefix("42/max,") {
            let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            let [name, argument] = parts[..] else { panic!("an event has one argument: {packet}") };
            return Self::Event(serde_json::from_str(name.get()).unwrap(), argument.get().to_owned());
        }
        if let Some(rest) = packet.strip_prefix("43/max,") {
            let (id, json) = rest.split_at(rest.find('[').unwrap());
            let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            let [answer] = parts[..] else { panic!("an answer has one argument: {packet}") };
            return Self::Ack(id.parse().unwrap(), answer.get().to_owned());
        }
        Self::Packet(packet)
    }
}
