//! A small client of the tests' own, for every release: Socket.IO in one namespace, over a WebSocket, polling, or an
//! upgrade. It keeps its session alive by itself and reports everything else to the test, in one form for all releases.
//! Encoders and decoders are in `wire`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::fixture::Fixture;
pub use super::heard::*;
use super::http::{Http, Response, request};
pub use super::kind::Kind;
use super::kind::{Generation, Way};
use super::socket::{BINARY, CLOSE, End, Frame, Reader, Socket, Writer, frame, text};
use super::wire::opened;
use super::within;

/// One connected client. If dropped, it closes its connection without a disconnect.
pub struct Client {
    pub addr: SocketAddr,
    pub kind: Kind,
    pub sid: String,
    /// The id by which the official client would know itself: `socket.id`.
    pub socket_id: String,
    link: Link,
    inbox: UnboundedReceiver<Heard>,
    ear: Ear,
    ping_interval: Duration,
    next_ack: u64,
}

/// The transport of a session.
struct Link {
    mouth: Mouth,
    reader: JoinHandle<()>,
    /// The task that pings, over Engine.IO 3.
    heart: Option<JoinHandle<()>>,
    /// Ends polling after the poll that is under way.
    paused: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Mouth {
    Socket(Arc<Mutex<Writer>>),
    Polling(Arc<Mutex<Poster>>),
}

impl Client {
    /// Opens a session and sends nothing.
    pub async fn open(addr: SocketAddr, kind: Kind) -> Self {
        let (outlet, inbox) = unbounded_channel();
        let ear = Ear { kind, outlet, beats: watch::Sender::new(0), reads: watch::Sender::new(true) };
        let (opened, link) = match (kind.way(), kind.generation()) {
            (Way::WebSocket, Generation::Sio09) => {
                let (opened, _) = kind.handshaken(&Http::connect(addr).await.get(&kind.handshake()).await);
                let mut socket = Socket::open_at(addr, &kind.socket_target(Some(&opened.sid))).await;
                assert_eq!(socket.hear().await, "1::");
                let link = Link::socket(socket, ear.clone(), opened.ping_interval());
                (opened, link)
            }
            (Way::WebSocket, _) => {
                let mut socket = Socket::open_at(addr, &kind.socket_target(None)).await;
                let opened = opened(&socket.hear().await);
                let link = Link::socket(socket, ear.clone(), opened.ping_interval());
                (opened, link)
            }
            (_, generation) => {
                let mut http = Http::connect(addr).await;
                let (opened, mut packets) = kind.handshaken(&http.get(&kind.handshake()).await);
                let target = kind.target(&opened.sid);
                if generation == Generation::Sio09 {
                    packets = kind.unpack(&http.get(&target).await);
                    assert_eq!(packets.remove(0), "1::");
                }
                for packet in packets {
                    ear.outlet.send(kind.read(packet)).unwrap();
                }
                let poster = Poster { http: Http::connect(addr).await, kind, target };
                let link = Link::polling(http, poster, ear.clone(), opened.ping_interval());
                (opened, link)
            }
        };
        let socket_id = kind.socket_id(&opened.sid);
        let (ping_interval, sid) = (opened.ping_interval(), opened.sid);
        Self { addr, kind, link, inbox, ear, ping_interval, sid, socket_id, next_ack: 1000 }
    }

    /// Opens a session and connects to the namespace, with `auth`, such as `{"token":"t-messi"}`.
    pub async fn connect(addr: SocketAddr, kind: Kind, auth: &str) -> Self {
        let mut client = Self::open(addr, kind).await;
        client.send(&kind.connect(auth)).await;
        client.is_greeted().await;
        client
    }

    /// Opens a session for a page that emitted `packets` before it was connected. Up to 0.9 they follow the CONNECT, or
    /// precede it when the page connects again; later releases wait for the answer to the CONNECT.
    pub async fn connect_saying(addr: SocketAddr, kind: Kind, again: bool, packets: &[String]) -> Self {
        let packets = packets.iter().map(String::as_str);
        if kind.generation() != Generation::Sio09 {
            let mut client = Self::connect(addr, kind, "").await;
            client.send_all(&packets.collect::<Vec<_>>()).await;
            return client;
        }
        let mut client = Self::open(addr, kind).await;
        let connect = kind.connect("");
        let mut at_once: Vec<_> = packets.collect();
        at_once.insert(if again { at_once.len() } else { 0 }, &connect);
        client.send_all(&at_once).await;
        client.is_greeted().await;
        client
    }

    /// Opens a session and joins as `user`, who is in `conversations` by the rules of the test.
    pub async fn join(server: &Fixture, kind: Kind, user: &str, conversations: &[&str]) -> Self {
        let mut client = Self::connect(server.addr, kind, "").await;
        client.emit("join", &join_of(user)).await;
        assert_eq!(client.hear().await, listening(conversations));
        client
    }

    async fn is_greeted(&mut self) {
        let mut packets = Vec::new();
        while !self.kind.greets(&packets) {
            match self.hear().await {
                Heard::Packet(packet) if packets.is_empty() => packets.push(packet),
                Heard::Packet(packet) if packets == ["40"] => packets.push(packet),
                other => panic!("a connection to /max was expected, not {packets:?} and {other:?}"),
            }
        }
        if let Some(sid) = packets[0].strip_prefix(r#"40/max,{"sid":""#) {
            self.socket_id = sid.trim_end_matches("\"}").to_owned();
        }
        if self.kind.way() == Way::Upgraded {
            self.upgrade().await;
        }
    }

    /// Upgrades from polling to a WebSocket, as the official client does.
    pub async fn upgrade(&mut self) {
        let mut socket = Socket::open_at(self.addr, &self.kind.socket_target(Some(&self.sid))).await;
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        let Mouth::Polling(poster) = self.link.mouth.clone() else { panic!("upgraded already") };
        self.link.paused.store(true, Ordering::Relaxed);
        within("the last poll before an upgrade", &mut self.link.reader).await.unwrap();
        // While the poster is locked, no ping is being posted.
        let _paused = poster.lock().await;
        socket.send("5").await;
        self.link = Link::socket(socket, self.ear.clone(), self.ping_interval);
    }

    /// Disconnects from the namespace, closes the session, and waits for its end.
    pub async fn close(mut self) {
        let (disconnect, close) = (self.kind.disconnect(), self.kind.close());
        match &self.link.mouth {
            Mouth::Socket(writer) => {
                let frames = [text(disconnect), frame(true, CLOSE, b"")].concat();
                writer.lock().await.write(&frames).await.unwrap();
            }
            Mouth::Polling(_) => self.send_all(&[disconnect, close]).await,
        }
        self.end().await;
    }

    /// Sends a packet of Engine.IO or of 0.9.
    pub async fn send(&mut self, packet: &str) {
        self.send_all(&[packet]).await;
    }

    /// Sends packets with one write, or with one POST.
    pub async fn send_all(&mut self, packets: &[&str]) {
        match &self.link.mouth {
            Mouth::Socket(writer) => {
                let frames: Vec<u8> = packets.iter().flat_map(|packet| text(packet)).collect();
                // If this fails, the test sees the end of the session.
                let _ = writer.lock().await.write(&frames).await;
            }
            Mouth::Polling(poster) => {
                let response = poster.lock().await.post(packets).await;
                assert_eq!((response.status, response.body.as_str()), (200, self.kind.taken()));
            }
        }
    }

    /// Sends a binary message, over Engine.IO 4.
    pub async fn send_binary(&mut self, data: &[u8]) {
        assert_eq!(self.kind.generation(), Generation::Eio4);
        match &self.link.mouth {
            Mouth::Socket(writer) => drop(writer.lock().await.write(&frame(true, BINARY, data)).await),
            Mouth::Polling(_) => self.send(&format!("b{}", STANDARD.encode(data))).await,
        }
    }

    pub async fn emit(&mut self, event: &str, argument: &str) {
        self.send(&self.kind.event(event, argument, None)).await;
    }

    /// Emits an event with an ack, and expects `before` and then `answer`, nothing else.
    pub async fn call(&mut self, event: &str, argument: &str, before: &[Heard], answer: impl Fn(u64) -> Heard) {
        let ack = self.emit_ack(event, argument).await;
        for expected in before {
            assert_eq!(self.hear().await, *expected, "{event} {argument:.200}");
        }
        assert_eq!(self.hear().await, answer(ack), "{event} {argument:.200}");
    }

    /// Emits an event with an ack, and returns its id.
    pub async fn emit_ack(&mut self, event: &str, argument: &str) -> u64 {
        self.next_ack += 1;
        self.send(&self.kind.event(event, argument, Some(self.next_ack))).await;
        self.next_ack
    }

    /// Waits for the next thing that the client hears.
    pub async fn hear(&mut self) -> Heard {
        // The outlet lives as long as the client, so the inbox never ends.
        within("anything to hear", self.inbox.recv()).await.unwrap()
    }

    /// Expects exactly these, in this order.
    pub async fn hears(&mut self, expected: &[Heard]) {
        for expected in expected {
            assert_eq!(self.hear().await, *expected);
        }
    }

    /// Waits for `expected` and ignores everything before it.
    pub async fn hears_at_last(&mut self, expected: &Heard) {
        loop {
            match self.hear().await {
                heard if heard == *expected => return,
                Heard::End(end) => panic!("it ended by {end:?} before {expected:?}"),
                _ => {}
            }
        }
    }

    /// Whether the session has ended. Everything that was heard so far is forgotten.
    pub fn has_ended(&mut self) -> bool {
        std::iter::from_fn(|| self.inbox.try_recv().ok()).any(|heard| matches!(heard, Heard::End(_)))
    }

    /// Waits for the end of the session and ignores everything before it.
    pub async fn end(&mut self) -> End {
        loop {
            if let Heard::End(end) = self.hear().await {
                return end;
            }
        }
    }

    /// Returns everything that the server has sent so far. Sends an `ask`: conversations answer it after everything
    /// that they sent before.
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

    /// Expects that the server has sent nothing so far that the test has not heard.
    pub async fn hears_nothing(&mut self) {
        assert_eq!(self.so_far().await, []);
    }

    /// Stops reading, or goes on. A poll that waits is answered, and none follows it.
    pub fn reads(&mut self, reads: bool) {
        self.ear.reads.send_replace(reads);
    }

    /// Waits until heartbeats have gone round `times` times, whichever side starts them in this release.
    pub async fn beats(&mut self, times: u32) {
        let mut beats = self.ear.beats.subscribe();
        within("signs of life", beats.wait_for(|beats| *beats >= times)).await.unwrap();
    }
}

impl Link {
    fn socket(socket: Socket, ear: Ear, ping_interval: Duration) -> Self {
        let writer = Arc::new(Mutex::new(socket.writer));
        let mouth = Mouth::Socket(writer.clone());
        let heart = beat(&ear, &mouth, ping_interval);
        let reader = tokio::spawn(read(socket.reader, writer, ear));
        Self { mouth, reader, heart, paused: Arc::default() }
    }

    fn polling(http: Http, poster: Poster, ear: Ear, ping_interval: Duration) -> Self {
        let target = poster.target.clone();
        let poster = Arc::new(Mutex::new(poster));
        let (mouth, paused) = (Mouth::Polling(poster.clone()), Arc::new(AtomicBool::new(false)));
        let heart = beat(&ear, &mouth, ping_interval);
        let reader = tokio::spawn(poll(http, poster, target, ear, paused.clone()));
        Self { mouth, reader, heart, paused }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(heart) = &self.heart {
            heart.abort();
        }
    }
}

/// The connection for a session's POSTs.
struct Poster {
    http: Http,
    kind: Kind,
    target: String,
}

impl Poster {
    async fn post(&mut self, packets: &[&str]) -> Response {
        let (content_type, body) = self.kind.pack(packets);
        self.http.request("POST", &self.target, &[("Content-Type", content_type)], body.as_bytes()).await
    }
}

/// Receives packets from the server.
#[derive(Clone)]
struct Ear {
    kind: Kind,
    outlet: UnboundedSender<Heard>,
    /// Heartbeats so far.
    beats: watch::Sender<u32>,
    /// Whether the client reads, or polls.
    reads: watch::Sender<bool>,
}

/// The reaction to a packet from the server.
enum Next {
    Nothing,
    Reply(&'static str),
    End(End),
}

impl Ear {
    fn take(&self, packet: String, polling: bool) -> Next {
        match (self.kind.generation(), packet.as_str()) {
            (Generation::Eio4, "2") => self.beat(Next::Reply("3")),
            (Generation::Eio3, "3") => self.beat(Next::Nothing),
            (Generation::Sio09, "2::") => self.beat(Next::Reply("2::")),
            (Generation::Sio09, "8::") if polling => self.beat(Next::Nothing),
            (Generation::Eio4 | Generation::Eio3, "6") if polling => Next::Nothing,
            (Generation::Eio4 | Generation::Eio3, "1") | (Generation::Sio09, "0::") if polling => {
                Next::End(End::Packet)
            }
            (Generation::Sio09, "7:::1+0") if polling => Next::End(End::Refused(200, packet)),
            _ => {
                let _ = self.outlet.send(self.kind.read(packet));
                Next::Nothing
            }
        }
    }

    /// Waits until the client may read.
    async fn may_read(&self) {
        let _ = self.reads.subscribe().wait_for(|reads| *reads).await;
    }

    fn beat(&self, next: Next) -> Next {
        self.beats.send_modify(|beats| *beats += 1);
        next
    }

    fn end(&self, end: End) {
        let _ = self.outlet.send(Heard::End(end));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(End::Panic);
        }
    }
}

/// Starts the pings, in releases where the client sends them.
fn beat(ear: &Ear, mouth: &Mouth, interval: Duration) -> Option<JoinHandle<()>> {
    let mouth = mouth.clone();
    (ear.kind.generation() == Generation::Eio3).then(|| {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                match &mouth {
                    Mouth::Socket(writer) => drop(writer.lock().await.write(&text("2")).await),
                    Mouth::Polling(poster) => drop(poster.lock().await.post(&["2"]).await),
                }
            }
        })
    })
}

async fn read(mut reader: Reader, writer: Arc<Mutex<Writer>>, ear: Ear) {
    let end = loop {
        ear.may_read().await;
        match reader.next().await {
            Ok(Frame::Text(packet)) => {
                if let Next::Reply(reply) = ear.take(packet, false) {
                    let _ = writer.lock().await.write(&text(reply)).await;
                }
            }
            Ok(Frame::Close(code)) => break End::Frame(code),
            Ok(other) => drop(ear.outlet.send(Heard::Packet(format!("{other:?}")))),
            Err(end) => break end,
        }
    };
    ear.end(end);
}

async fn poll(mut http: Http, poster: Arc<Mutex<Poster>>, target: String, ear: Ear, paused: Arc<AtomicBool>) {
    let request = request("GET", &target, &[], b"");
    let end = 'polls: loop {
        ear.may_read().await;
        if http.write(&request).await.is_err() {
            break End::Reset;
        }
        let Ok(response) = http.response().await else { break End::Eof };
        if response.status != 200 {
            break End::Refused(response.status, response.body);
        }
        for packet in ear.kind.unpack(&response) {
            match ear.take(packet, true) {
                Next::Nothing => {}
                Next::Reply(reply) => drop(poster.lock().await.post(&[reply]).await),
                Next::End(end) => break 'polls end,
            }
        }
        if paused.load(Ordering::Relaxed) {
            return;
        }
    };
    ear.end(end);
}

/// Starts a server where `xavi` listens and has heard that `messi` is there.
pub async fn with_xavi(settings: &str) -> (Fixture, Client) {
    let server = Fixture::start(settings);
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
    (server, xavi)
}

/// The target of polls and POSTs of an Engine.IO 4 session.
pub fn target(sid: &str) -> String {
    Kind::Polling.target(sid)
}

/// Returns the sid in an open packet.
pub fn sid_of(open: &str) -> String {
    opened(open).sid
}

/// Opens a session by polling and returns its sid.
pub async fn new_sid(addr: SocketAddr) -> String {
    sid_of(&Http::connect(addr).await.get("/socket.io/?EIO=4&transport=polling").await.body)
}

/// An event as an Engine.IO packet. An empty `argument` is none.
pub fn packet(event: &str, argument: &str, ack: Option<u64>) -> String {
    Kind::Polling.event(event, argument, ack)
}
