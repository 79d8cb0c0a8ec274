//! One connection of the load bench, of any generation over any transport. It is cheap enough to be one of a hundred
//! thousand: buffers for reading are its thread's, nothing is allocated for an update, and of an idle connection there
//! is little more than the socket.
//!
//! * `wire`: HTTP and WebSocket as bytes, and the two halves of a connection.
//! * `speech`: what a generation says.
//! * `update`: the one event that comes by the hundred thousand.

mod speech;
mod update;
mod wire;

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;

use self::speech::{Said, Speech};
pub use self::update::Update;
use self::wire::{Frame, Inlet, Outlet, garbage};
use super::plan::Way;
use crate::protocol::engine::Packet;
use crate::protocol::frame;
use crate::protocol::payload::{Body, PayloadReader, PayloadWriter};
use crate::protocol::{Generation, TransportKind};

/// More than this is not queued for a server that does not read.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// A message in parts may not be longer.
const PARTS_BYTES_MAX: usize = 16 << 20;
/// What a reader that is slow on purpose lets the kernel take for it. Linux doubles it.
const SLOW_BUFFER_BYTES: u32 = 4096;
/// A source address has about 28,000 ports for one target; a client has up to two connections.
const CLIENTS_PER_SOURCE: usize = 10_000;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port for the requests, such as `localhost:6545`.
    pub host: String,
    /// What the host resolves to.
    pub address: SocketAddr,
    /// The endpoint, such as `/socket.io/`.
    pub path: String,
    /// The namespace, such as `/max`, for [`Speeches`].
    pub namespace: String,
}

/// What clients of every generation say in one namespace. All of a thread share one, so that it stays in the cache.
pub struct Speeches([Rc<Speech>; Generation::ALL.len()]);

impl Speeches {
    /// For one namespace.
    pub fn new(namespace: &str) -> Self {
        Self(Generation::ALL.map(|generation| Rc::new(Speech::new(generation, namespace))))
    }
}

/// Hears what a client is told.
pub trait Ear {
    /// An event, or the end of the connection's beginning. `received` is when it was read: of several that were read at
    /// once, the same.
    fn heard(&mut self, heard: Heard<'_>, received: Instant);

    /// All that was read at once has been heard: so many bytes.
    fn paused(&mut self, _bytes: usize) {}
}

/// What a client is told.
#[derive(Debug)]
pub enum Heard<'a> {
    /// It may speak.
    Connected,
    /// The conversations that it listens to: all of them, each time.
    Listening(Vec<Cow<'a, str>>),
    /// News in a conversation.
    Update(Update<'a>),
    /// What it asked was not done: which event, and the code.
    Refused(&'a str, &'a str),
    /// An event that says nothing which could be read.
    Garbled(&'a str),
}

/// One connection.
pub struct Client {
    speech: Rc<Speech>,
    mouth: Rc<Mouth>,
    inlet: Inlet,
    /// Of a client that polls. In a box, because most do not.
    polling: Option<Box<Polling>>,
    /// A message in parts, so far.
    parts: Vec<u8>,
    /// Of the generation whose clients ask.
    heartbeat: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// The side of a client that speaks, shared with whoever decides when.
pub struct Mouth {
    speech: Rc<Speech>,
    state: RefCell<Waiting>,
}

/// What a client has said and the server has not taken.
struct Waiting {
    outlet: Outlet,
    posts: Option<Posts>,
    mask: u32,
    /// The client's task, to be woken where the kernel takes no more.
    waker: Option<Waker>,
}

/// Packets that wait for the POST before theirs to be answered.
struct Posts {
    generation: Generation,
    host: String,
    target: String,
    packets: Vec<frame::Frame>,
    bytes: usize,
    under_way: bool,
}

/// The other connection of a client that polls: `inlet` has the answers to POSTs, here are the polls.
struct Polling {
    request: String,
    inlet: Inlet,
    outlet: Outlet,
    target: Target,
    number: usize,
    /// The server has closed the connection for POSTs, as it may when there was none for a while: the next one.
    reopening: Option<Opening>,
}

type Opening = Pin<Box<dyn Future<Output = io::Result<(Inlet, Outlet)>>>>;

/// What of the description of a session matters to a client.
#[derive(Deserialize)]
struct Session {
    sid: String,
    #[serde(rename = "pingInterval")]
    ping_interval_ms: u64,
}

impl Client {
    /// Opens a connection and enters the namespace. `number` is which of all clients this is: where the target is this
    /// machine, it chooses the source address. One that is `slow` takes little from the kernel ahead of its reading.
    ///
    /// # Errors
    /// Those of the system, and [`io::ErrorKind::InvalidData`] with a sentence for answers that are not the protocol.
    pub async fn connect(
        target: &Target,
        speeches: &Speeches,
        way: Way,
        number: usize,
        slow: bool,
    ) -> io::Result<Self> {
        let speech = Rc::clone(&speeches.0[way.generation as usize]);
        let (inlet, outlet) = open(target, number, slow).await?;
        let mut client = match way.transport {
            TransportKind::WebSocket => Self::by_websocket(target, speech, inlet, outlet).await?,
            TransportKind::Polling => {
                let line = open(target, number, slow).await?;
                Self::by_polling(target, number, speech, (inlet, outlet), line).await?
            }
        };
        if way.generation != Generation::Eio4 || way.transport == TransportKind::Polling {
            client.mouth.say(&client.speech.connect());
        }
        let mut door = Door(false);
        let mut buffer = Vec::new();
        while !door.0 {
            client.listen(&mut buffer, &mut door).await?;
        }
        Ok(client)
    }

    async fn by_websocket(
        target: &Target,
        speech: Rc<Speech>,
        mut inlet: Inlet,
        mut outlet: Outlet,
    ) -> io::Result<Self> {
        let path = match speech.generation {
            Generation::Eio4 => format!("{}?EIO=4&transport=websocket", target.path),
            Generation::Eio3 => format!("{}?EIO=3&transport=websocket", target.path),
            Generation::Sio09 => {
                let sid = legacy_sid(target, &mut inlet, &mut outlet).await?;
                format!("{}1/websocket/{sid}", target.path)
            }
        };
        let (status, body) = ask(&mut inlet, &mut outlet, &wire::upgrade(&target.host, &path)).await?;
        if status != 101 {
            return Err(refusal(status, &body));
        }
        Ok(Self::new(speech, inlet, outlet, None, None))
    }

    async fn by_polling(
        target: &Target,
        number: usize,
        speech: Rc<Speech>,
        (mut inlet, mut outlet): (Inlet, Outlet),
        line: (Inlet, Outlet),
    ) -> io::Result<Self> {
        let generation = speech.generation;
        let (address, first) = match generation {
            Generation::Sio09 => {
                let sid = legacy_sid(target, &mut inlet, &mut outlet).await?;
                (format!("{}1/xhr-polling/{sid}", target.path), None)
            }
            Generation::Eio4 | Generation::Eio3 => {
                let version = if generation == Generation::Eio4 { 4 } else { 3 };
                let address = format!("{}?EIO={version}&transport=polling", target.path);
                let (status, body) = ask(&mut inlet, &mut outlet, &wire::get(&target.host, &address)).await?;
                if status != 200 {
                    return Err(refusal(status, &body));
                }
                let body = text(body)?;
                let mut reader = PayloadReader::new(generation, Body::Text(body.clone()));
                let Some(Ok(Packet::Open(json))) = reader.read() else { return Err(garbage("no opening")) };
                let opening = serde_json::from_str::<Session>(json).map_err(|_| garbage("an opening without a sid"))?;
                (format!("{address}&sid={}", opening.sid), Some(body))
            }
        };
        let posts = Posts {
            generation,
            host: target.host.clone(),
            target: address.clone(),
            packets: Vec::new(),
            bytes: 0,
            under_way: false,
        };
        let request = wire::get(&target.host, &address);
        let polling = Polling { request, inlet, outlet, target: target.clone(), number, reopening: None };
        let (post_inlet, post_outlet) = line;
        let mut client = Self::new(speech, post_inlet, post_outlet, Some(posts), Some(Box::new(polling)));
        if let Some(body) = first {
            client.payload(body, &mut Door(false), Instant::now())?;
        }
        client.poll_again();
        Ok(client)
    }

    fn new(
        speech: Rc<Speech>,
        inlet: Inlet,
        outlet: Outlet,
        posts: Option<Posts>,
        polling: Option<Box<Polling>>,
    ) -> Self {
        let state = RefCell::new(Waiting { outlet, posts, mask: 0x9e37_79b9, waker: None });
        let mouth = Rc::new(Mouth { speech: Rc::clone(&speech), state });
        Self { speech, mouth, inlet, polling, parts: Vec::new(), heartbeat: None }
    }

    /// The side that speaks.
    pub fn mouth(&self) -> Rc<Mouth> {
        Rc::clone(&self.mouth)
    }

    /// Waits until something was read, and gives it to `ear`. Heartbeats are answered by the way.
    ///
    /// # Errors
    /// When the connection is over: the server's end is [`io::ErrorKind::UnexpectedEof`].
    pub async fn listen(&mut self, buffer: &mut Vec<u8>, ear: &mut impl Ear) -> io::Result<()> {
        poll_fn(|cx| self.poll_listen(cx, buffer, ear)).await
    }

    /// [`listen`](Self::listen), for a buffer and an ear that are shared and borrowed for as long as there is something
    /// to read.
    pub fn poll_listen(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        ear: &mut impl Ear,
    ) -> Poll<io::Result<()>> {
        self.mouth.poll_flush(cx);
        while let Some((period, due)) = &mut self.heartbeat {
            if due.as_mut().poll(cx).is_pending() {
                break;
            }
            let next = due.deadline() + *period;
            due.as_mut().reset(next);
            self.mouth.say("2");
        }
        let Some(polling) = &mut self.polling else {
            let filled = ready!(self.inlet.poll_fill(cx, buffer))?;
            let received = Instant::now();
            let consumed = self.frames(&buffer[..filled], ear, received)?;
            self.inlet.keep(&buffer[consumed..filled]);
            ear.paused(consumed);
            return Poll::Ready(Ok(()));
        };
        polling.outlet.poll_flush(cx);
        loop {
            if let Some(opening) = &mut polling.reopening {
                let Poll::Ready(line) = opening.as_mut().poll(cx) else { break };
                let (inlet, outlet) = line?;
                polling.reopening = None;
                self.inlet = inlet;
                self.mouth.reopened(outlet);
            }
            let filled = match self.inlet.poll_fill(cx, buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && self.mouth.hold() => {
                    let (target, number) = (polling.target.clone(), polling.number);
                    polling.reopening = Some(Box::pin(async move { open(&target, number, false).await }));
                    continue;
                }
                Poll::Ready(filled) => filled?,
            };
            let mut consumed = 0;
            while let Some(answer) = wire::answer(&buffer[consumed..filled])? {
                if answer.status != 200 {
                    return Poll::Ready(Err(refusal(answer.status, answer.body)));
                }
                consumed += answer.bytes;
                self.mouth.posted();
            }
            self.inlet.keep(&buffer[consumed..filled]);
        }
        let filled = ready!(polling.inlet.poll_fill(cx, buffer))?;
        let received = Instant::now();
        let consumed = match wire::answer(&buffer[..filled])? {
            Some(answer) if answer.status != 200 => {
                return Poll::Ready(Err(refusal(answer.status, answer.body)));
            }
            Some(answer) => {
                let body = text(answer.body.to_vec())?;
                self.poll_again();
                let consumed = answer.bytes;
                self.payload(body, ear, received)?;
                consumed
            }
            None => 0,
        };
        if let Some(polling) = &mut self.polling {
            polling.inlet.keep(&buffer[consumed..filled]);
        }
        ear.paused(consumed);
        Poll::Ready(Ok(()))
    }

    /// Asks for what is new.
    fn poll_again(&mut self) {
        if let Some(polling) = &mut self.polling {
            polling.outlet.bytes().extend_from_slice(polling.request.as_bytes());
            polling.outlet.flush();
        }
    }

    /// Takes the frames that are there as a whole. How many bytes they are.
    fn frames(&mut self, bytes: &[u8], ear: &mut impl Ear, received: Instant) -> io::Result<usize> {
        let mut at = 0;
        while let Some((frame, len)) = wire::frame(&bytes[at..])? {
            at += len;
            match frame {
                Frame::Text(packet) => self.packet(packet, ear, received)?,
                Frame::Part(part, last) => {
                    self.parts.extend_from_slice(part);
                    if self.parts.len() > PARTS_BYTES_MAX {
                        return Err(garbage("a message that is too large"));
                    }
                    if last {
                        let packet = std::mem::take(&mut self.parts);
                        self.packet(&packet, ear, received)?;
                    }
                }
                Frame::Ping(payload) => self.mouth.write(wire::PONG, payload),
                Frame::Close => return Err(io::ErrorKind::UnexpectedEof.into()),
                Frame::Other => {}
            }
        }
        Ok(at)
    }

    /// Takes the packets of an answer to a poll.
    fn payload(&mut self, body: String, ear: &mut impl Ear, received: Instant) -> io::Result<()> {
        let mut reader = PayloadReader::new(self.speech.generation, Body::Text(body));
        while let Some(packet) = reader.read() {
            let packet = packet.map_err(|error| garbage(&error.to_string()))?;
            self.said(packet, ear, received)?;
        }
        Ok(())
    }

    fn packet(&mut self, packet: &[u8], ear: &mut impl Ear, received: Instant) -> io::Result<()> {
        if let Some(argument) = self.speech.update(packet) {
            ear.heard(Update::parse(argument).map_or(Heard::Garbled("update"), Heard::Update), received);
            return Ok(());
        }
        let packet = std::str::from_utf8(packet).map_err(|_| garbage("text that is not UTF-8"))?;
        let packet = Packet::from_text(self.speech.generation, packet);
        self.said(packet.map_err(|error| garbage(&error.to_string()))?, ear, received)
    }

    fn said(&mut self, packet: Packet<'_>, ear: &mut impl Ear, received: Instant) -> io::Result<()> {
        let speech = Rc::clone(&self.speech);
        match speech.understand(packet) {
            Said::Open(json) => {
                let opening = serde_json::from_str::<Session>(json).map_err(|_| garbage("an opening without a sid"))?;
                let is_socket = self.polling.is_none();
                if speech.generation == Generation::Eio3 {
                    let period = Duration::from_millis(opening.ping_interval_ms.max(1));
                    self.heartbeat = Some((period, Box::pin(tokio::time::sleep(period))));
                } else if is_socket {
                    self.mouth.say(&speech.connect());
                }
            }
            Said::Connected => ear.heard(Heard::Connected, received),
            Said::Refused(why) => return Err(garbage(&format!("the namespace was refused: {why}"))),
            Said::Event(name, argument) => event(name, argument, ear, received),
            Said::Ping => self.mouth.say(speech.pong()),
            Said::Bye => return Err(io::ErrorKind::UnexpectedEof.into()),
            Said::Nothing => {}
        }
        Ok(())
    }
}

impl Mouth {
    /// Joins as `username`.
    pub fn join(&self, username: &str, token: Option<&str>) {
        let mut argument = serde_json::json!({ "username": username });
        if let Some(token) = token {
            argument["token"] = token.into();
        }
        self.say(&self.speech.event("join", Some(&argument.to_string())));
    }

    /// Leaves all conversations.
    pub fn leave(&self) {
        self.say(&self.speech.event("leave", None));
    }

    /// Says that there is something new. It is not under way before [`flush`](Self::flush), so that several can leave
    /// together. `conversation` is JSON; `message_id` goes
    /// between quotes as it is.
    pub fn talk(&self, conversation: &str, timestamp: u64, message_id: &str) {
        let argument =
            format!(r#"{{"conversation":{conversation},"timestamp":{timestamp},"messageID":"{message_id}"}}"#);
        self.queue(&self.speech.event("talk", Some(&argument)));
    }

    /// Whether the server has not read for so long that nothing more should be said.
    pub fn is_clogged(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let posts = state.posts.as_ref().map_or(0, |posts| posts.bytes);
        state.outlet.bytes().len() + posts > WAITING_BYTES_MAX
    }

    /// Sends what was queued, as far as the kernel takes it; the rest follows by itself.
    pub fn flush(&self) {
        self.state.borrow_mut().flush();
    }

    fn say(&self, packet: &str) {
        self.queue(packet);
        self.flush();
    }

    fn queue(&self, packet: &str) {
        let mut state = self.state.borrow_mut();
        match &mut state.posts {
            Some(posts) => {
                posts.bytes += packet.len();
                posts.packets.push(frame::Frame::text(packet));
            }
            None => state.frame(wire::TEXT, packet.as_bytes()),
        }
    }

    fn write(&self, opcode: u8, payload: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.frame(opcode, payload);
        state.flush();
    }

    /// Sends no POST from now on. Whether there was none under way.
    fn hold(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.posts.as_mut().is_some_and(|posts| !std::mem::replace(&mut posts.under_way, true))
    }

    /// POSTs go by another connection from now on.
    fn reopened(&self, outlet: Outlet) {
        self.state.borrow_mut().outlet = outlet;
        self.posted();
    }

    /// The POST under way was answered.
    fn posted(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(posts) = &mut state.posts {
            posts.under_way = false;
        }
        state.flush();
    }

    fn poll_flush(&self, cx: &mut Context<'_>) {
        let mut state = self.state.borrow_mut();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        state.outlet.poll_flush(cx);
    }
}

impl Waiting {
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        // No proxy is to be fooled here: it is enough that no two masks in a row are alike.
        self.mask = self.mask.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        wire::write_frame(self.outlet.bytes(), opcode, payload, self.mask.to_be_bytes());
    }

    fn flush(&mut self) {
        if let Some(posts) = self.posts.as_mut().filter(|posts| !posts.under_way && !posts.packets.is_empty()) {
            let mut payload = PayloadWriter::new(posts.generation, true);
            posts.packets.drain(..).for_each(|packet| payload.push(packet));
            if let Body::Text(body) = payload.finish() {
                wire::post(self.outlet.bytes(), &posts.host, &posts.target, body.as_bytes());
            }
            posts.bytes = 0;
            posts.under_way = true;
        }
        if !self.outlet.flush()
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// Hears only that the namespace is entered.
struct Door(bool);

impl Ear for Door {
    fn heard(&mut self, heard: Heard<'_>, _: Instant) {
        self.0 |= matches!(heard, Heard::Connected);
    }
}

fn event(name: &str, argument: &str, ear: &mut impl Ear, received: Instant) {
    #[derive(Deserialize)]
    struct Listening<'a> {
        #[serde(borrow)]
        conversations: Vec<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Refused<'a> {
        event: &'a str,
        code: &'a str,
    }
    let heard = match name {
        "update" => Update::parse(argument.as_bytes()).map(Heard::Update),
        "listening" => {
            serde_json::from_str(argument).ok().map(|Listening { conversations }| Heard::Listening(conversations))
        }
        "refused" => serde_json::from_str(argument).ok().map(|Refused { event, code }| Heard::Refused(event, code)),
        _ => return,
    };
    ear.heard(heard.unwrap_or(Heard::Garbled(name)), received);
}

/// A connection to the target.
async fn open(target: &Target, number: usize, slow: bool) -> io::Result<(Inlet, Outlet)> {
    let socket = if target.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if slow {
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    let source = number / CLIENTS_PER_SOURCE;
    if source > 0 && target.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let source = u8::try_from(source).unwrap_or(u8::MAX);
        socket.bind(SocketAddr::new(Ipv4Addr::new(127, 0, 0, source.saturating_add(1)).into(), 0))?;
    }
    let stream: TcpStream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((Inlet::new(read), Outlet::new(write)))
}

/// Sends a request and waits for its answer. What comes behind it stays in the inlet.
async fn ask(inlet: &mut Inlet, outlet: &mut Outlet, request: &str) -> io::Result<(u16, Vec<u8>)> {
    outlet.bytes().extend_from_slice(request.as_bytes());
    let mut buffer = Vec::new();
    loop {
        let filled = poll_fn(|cx| {
            outlet.poll_flush(cx);
            inlet.poll_fill(cx, &mut buffer)
        });
        let filled = filled.await?;
        let Some(answer) = wire::answer(&buffer[..filled])? else {
            inlet.keep(&buffer[..filled]);
            continue;
        };
        inlet.keep(&buffer[answer.bytes..filled]);
        inlet.look_again();
        return Ok((answer.status, answer.body.to_vec()));
    }
}

/// The sid of a session of 0.9.
async fn legacy_sid(target: &Target, inlet: &mut Inlet, outlet: &mut Outlet) -> io::Result<String> {
    let request = wire::get(&target.host, &format!("{}1/", target.path));
    let (status, body) = ask(inlet, outlet, &request).await?;
    if status != 200 {
        return Err(refusal(status, &body));
    }
    let body = text(body)?;
    let (sid, _) = body.split_once(':').ok_or_else(|| garbage("a handshake without a sid"))?;
    Ok(sid.to_owned())
}

fn text(body: Vec<u8>) -> io::Result<String> {
    String::from_utf8(body).map_err(|_| garbage("text that is not UTF-8"))
}

fn refusal(status: u16, body: &[u8]) -> io::Error {
    let body = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
    garbage(&format!("HTTP status {status}: {}", body.trim()))
}
