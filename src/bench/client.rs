//! One connection of the load bench, of any generation over any transport. It never waits: the thread's poll says when
//! it may go on. So it is cheap enough to be one of a hundred thousand: what it reads into is its thread's, nothing is
//! allocated for an update, and of an idle connection there is little more than the socket.
//!
//! * `peer`: the server as clients see it.
//! * `connection`: a TCP connection that never blocks.
//! * `polling`: the POSTs of a client that polls.
//! * `wire`: HTTP and WebSocket as bytes.
//! * `speech`: what a generation says.
//! * `update`: the one event that comes by the hundred thousand.

mod connection;
mod peer;
mod polling;
mod speech;
mod update;
mod wire;

use std::borrow::Cow;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Token;
use mio::event::Event;
use serde::Deserialize;

use self::connection::Connection;
use self::peer::Peer;
pub use self::peer::{Peers, Target};
use self::polling::Polling;
use self::speech::Said;
pub use self::update::Update;
use self::wire::{Answer, Frame, garbage};
use super::plan::Way;
use crate::protocol::engine::Packet;
use crate::protocol::payload::{Body, PayloadReader};
use crate::protocol::{Generation, TransportKind};

/// More than this is not queued for a server that does not read.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// A message in parts may not be longer.
const PARTS_BYTES_MAX: usize = 16 << 20;

/// Hears what a client is told.
pub trait Ear {
    /// So many bytes were read at this instant: what is heard next was among them.
    fn read(&mut self, bytes: usize, at: Instant);

    /// An event, or the end of the connection's beginning.
    fn heard(&mut self, heard: Heard<'_>);
}

/// What a client is told.
#[derive(Debug)]
pub enum Heard<'a> {
    /// It may speak, and where it is of the generation whose clients ask, has to [`Client::beat`] so often.
    Connected(Option<Duration>),
    /// The conversations that it listens to: all of them, each time.
    Listening(Vec<Cow<'a, str>>),
    /// News in a conversation, for [`Update::parse`].
    Update(&'a [u8]),
    /// What it asked was not done: which event, and the code.
    Refused(&'a str, &'a str),
    /// An event that says nothing which could be read.
    Garbled(&'a str),
}

/// One connection.
pub struct Client {
    connection: Connection,
    peer: Rc<Peer>,
    stage: Stage,
    /// Of the generation whose clients ask.
    heartbeat: Option<Duration>,
    /// Of a client that polls. In a box, because most do not.
    polling: Option<Box<Polling>>,
    /// A message in parts, so far.
    parts: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has asked for a session.
    Session,
    /// It has asked for a WebSocket.
    Upgrade,
    /// It hears what the server says.
    Open,
}

/// What of the description of a session matters to a client.
#[derive(Deserialize)]
struct Session {
    sid: String,
    #[serde(rename = "pingInterval")]
    ping_interval_ms: u64,
}

impl Client {
    /// Begins to connect and to enter the namespace. `number` is which of all clients this is, by which
    /// [`Client::number`] finds it again. One that is `slow` takes little from the kernel ahead of its reading.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(peers: &Peers, way: Way, number: usize, slow: bool) -> io::Result<Self> {
        let peer = Rc::clone(peers.of(way.generation));
        let Target { host, address, path, .. } = &peer.target;
        let (stage, request) = match (way.generation, way.transport) {
            (Generation::Sio09, _) => (Stage::Session, wire::get(host, &format!("{path}1/"))),
            (_, TransportKind::WebSocket) => (Stage::Upgrade, wire::upgrade(host, &peer.endpoint("websocket"))),
            (_, TransportKind::Polling) => (Stage::Session, wire::get(host, &peer.endpoint("polling"))),
        };
        let mut connection = Connection::open(*address, number, slow, &peer.registry, Token(2 * number))?;
        connection.unsent().extend_from_slice(request.as_bytes());
        let polling = (way.transport == TransportKind::Polling).then(|| Box::new(Polling::new(number)));
        Ok(Self { connection, peer, stage, heartbeat: None, polling, parts: Vec::new() })
    }

    /// Which client an event is for.
    pub fn number(token: Token) -> usize {
        token.0 / 2
    }

    /// Something can be read or written: reads all there is, and gives it to `ear`. Pings are answered by the way.
    ///
    /// # Errors
    /// When the connection is over: the server's end is [`io::ErrorKind::UnexpectedEof`]. With a sentence, what is not
    /// the protocol is [`io::ErrorKind::InvalidData`], and a namespace that may not be entered
    /// [`io::ErrorKind::PermissionDenied`].
    pub fn ready(&mut self, event: &Event, buffer: &mut Vec<u8>, ear: &mut impl Ear) -> io::Result<()> {
        if event.token().0 % 2 == 1 {
            return match &mut self.polling {
                Some(polling) => polling.ready(&self.peer, event, buffer),
                None => Ok(()),
            };
        }
        if event.is_writable() && self.connection.waiting() > 0 {
            self.connection.flush();
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            while let Some(filled) = self.connection.fill(buffer)? {
                ear.read(filled.read, Instant::now());
                let consumed = self.take(&buffer[..filled.bytes], ear)?;
                self.connection.keep(&buffer[consumed..filled.bytes]);
                // What comes from now on is another event, but the end has no other.
                if !filled.is_full && !event.is_read_closed() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads no more, for the rest of its time.
    pub fn stop_reading(&mut self) {
        self.connection.forget(&self.peer.registry);
    }

    /// The end of the run: the connection is reset. Closed as usual, tens of thousands of them would keep the ports of
    /// this machine from the next run for a minute.
    pub fn abort(mut self) {
        self.connection.abort();
        if let Some(polling) = &mut self.polling {
            polling.abort(&self.peer, self.stage == Stage::Open);
        }
    }

    /// Joins as `username`.
    pub fn join(&mut self, username: &str, token: Option<&str>) {
        let mut argument = serde_json::json!({ "username": username });
        if let Some(token) = token {
            argument["token"] = token.into();
        }
        self.say(&self.peer.speech.event("join", Some(&argument.to_string())));
    }

    /// Leaves all conversations.
    pub fn leave(&mut self) {
        self.say(&self.peer.speech.event("leave", None));
    }

    /// Says that there is something new. It is not under way before [`flush`](Self::flush), so that several can leave
    /// together. `conversation` is JSON; `message_id` goes between quotes as it is.
    pub fn talk(&mut self, conversation: &str, timestamp: u64, message_id: &str) {
        self.queue(&self.peer.speech.talk(conversation, timestamp, message_id));
    }

    /// Asks whether the server is there, as [`Heard::Connected`] has demanded.
    pub fn beat(&mut self) {
        self.say("2");
    }

    /// Whether the server has not read for so long that nothing more should be said.
    pub fn is_clogged(&self) -> bool {
        self.connection.waiting() + self.polling.as_ref().map_or(0, |polling| polling.waiting()) > WAITING_BYTES_MAX
    }

    /// Sends what was queued, as far as the kernel takes it; the rest follows by itself.
    pub fn flush(&mut self) {
        match &mut self.polling {
            Some(polling) => polling.post(&self.peer),
            None => self.connection.flush(),
        }
    }

    fn say(&mut self, packet: &str) {
        self.queue(packet);
        self.flush();
    }

    fn queue(&mut self, packet: &str) {
        match &mut self.polling {
            Some(polling) => polling.queue(packet),
            None => self.frame(wire::TEXT, packet.as_bytes()),
        }
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        // No proxy is to be fooled here: it is enough that no two masks in a row are alike.
        let mask = self.peer.mask.get().wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        self.peer.mask.set(mask);
        wire::write_frame(self.connection.unsent(), opcode, payload, mask.to_be_bytes());
    }

    fn request(&mut self, request: &str) {
        self.connection.unsent().extend_from_slice(request.as_bytes());
        self.connection.flush();
    }

    /// Takes what is there as a whole. How many bytes that is.
    fn take(&mut self, bytes: &[u8], ear: &mut impl Ear) -> io::Result<usize> {
        let mut at = 0;
        while self.stage != Stage::Open || self.polling.is_some() {
            let Some(answer) = wire::answer(&bytes[at..])? else { return Ok(at) };
            at += answer.bytes;
            self.answered(&answer, ear)?;
        }
        Ok(at + self.frames(&bytes[at..], ear)?)
    }

    fn answered(&mut self, answer: &Answer<'_>, ear: &mut impl Ear) -> io::Result<()> {
        let peer = Rc::clone(&self.peer);
        let Target { host, path, .. } = &peer.target;
        let expected = if self.stage == Stage::Upgrade { 101 } else { 200 };
        if answer.status != expected {
            return Err(answer.refusal());
        }
        match (self.stage, peer.speech.generation) {
            (Stage::Upgrade, generation) => {
                self.stage = Stage::Open;
                if generation == Generation::Sio09 {
                    self.say(&peer.speech.connect());
                }
            }
            (Stage::Session, Generation::Sio09) => {
                let sid = text(answer.body)?.split_once(':').map(|(sid, _)| sid);
                let sid = sid.ok_or_else(|| garbage("a handshake without a sid"))?;
                match &mut self.polling {
                    Some(polling) => {
                        polling.address = format!("{path}1/xhr-polling/{sid}");
                        self.stage = Stage::Open;
                        self.say(&peer.speech.connect());
                        self.poll();
                    }
                    None => {
                        self.stage = Stage::Upgrade;
                        self.request(&wire::upgrade(host, &format!("{path}1/websocket/{sid}")));
                    }
                }
            }
            (Stage::Session, _) => {
                self.payload(answer.body, ear)?;
                if self.polling.as_ref().is_none_or(|polling| polling.address.is_empty()) {
                    return Err(garbage("an answer without the opening of a session"));
                }
                self.stage = Stage::Open;
                self.poll();
            }
            (Stage::Open, _) => {
                self.poll();
                self.payload(answer.body, ear)?;
            }
        }
        Ok(())
    }

    /// Asks for what is new.
    fn poll(&mut self) {
        if let Some(polling) = &self.polling {
            self.request(&wire::get(&self.peer.target.host, &polling.address));
        }
    }

    /// Takes the frames that are there as a whole. How many bytes they are.
    fn frames(&mut self, bytes: &[u8], ear: &mut impl Ear) -> io::Result<usize> {
        let mut at = 0;
        while let Some((frame, len)) = wire::frame(&bytes[at..])? {
            at += len;
            match frame {
                Frame::Text(packet) => self.packet(packet, ear)?,
                Frame::Part(part, last) => {
                    self.parts.extend_from_slice(part);
                    if self.parts.len() > PARTS_BYTES_MAX {
                        return Err(garbage("a message that is too large"));
                    }
                    if last {
                        let packet = std::mem::take(&mut self.parts);
                        self.packet(&packet, ear)?;
                    }
                }
                Frame::Ping(payload) => {
                    self.frame(wire::PONG, payload);
                    self.connection.flush();
                }
                Frame::Close => return Err(io::ErrorKind::UnexpectedEof.into()),
                Frame::Other => {}
            }
        }
        Ok(at)
    }

    /// Takes the packets of an answer to a poll.
    fn payload(&mut self, body: &[u8], ear: &mut impl Ear) -> io::Result<()> {
        let mut reader = PayloadReader::new(self.peer.speech.generation, Body::Text(text(body)?.to_owned()));
        while let Some(packet) = reader.read() {
            let packet = packet.map_err(|error| garbage(&error.to_string()))?;
            self.said(packet, ear)?;
        }
        Ok(())
    }

    fn packet(&mut self, packet: &[u8], ear: &mut impl Ear) -> io::Result<()> {
        if let Some(argument) = self.peer.speech.update(packet) {
            ear.heard(Heard::Update(argument));
            return Ok(());
        }
        let packet = Packet::from_text(self.peer.speech.generation, text(packet)?);
        self.said(packet.map_err(|error| garbage(&error.to_string()))?, ear)
    }

    fn said(&mut self, packet: Packet<'_>, ear: &mut impl Ear) -> io::Result<()> {
        let peer = Rc::clone(&self.peer);
        match peer.speech.understand(packet) {
            Said::Open(json) => {
                let opening = serde_json::from_str::<Session>(json).map_err(|_| garbage("an opening without a sid"))?;
                if let Some(polling) = &mut self.polling {
                    polling.address = format!("{}&sid={}", peer.endpoint("polling"), opening.sid);
                }
                if peer.speech.generation == Generation::Eio3 {
                    self.heartbeat = Some(Duration::from_millis(opening.ping_interval_ms.max(1)));
                }
                self.say(&peer.speech.connect());
            }
            Said::Connected => ear.heard(Heard::Connected(self.heartbeat)),
            Said::Refused(why) => {
                let why = format!("the namespace {} was refused: {why}", peer.target.namespace);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            Said::Event(name, argument) => event(name, argument, ear),
            Said::Ping => self.say(peer.speech.pong()),
            Said::Bye => return Err(io::ErrorKind::UnexpectedEof.into()),
            Said::Nothing => {}
        }
        Ok(())
    }
}

fn event(name: &str, argument: &str, ear: &mut impl Ear) {
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
        "update" => Some(Heard::Update(argument.as_bytes())),
        "listening" => {
            serde_json::from_str(argument).ok().map(|Listening { conversations }| Heard::Listening(conversations))
        }
        "refused" => serde_json::from_str(argument).ok().map(|Refused { event, code }| Heard::Refused(event, code)),
        _ => return,
    };
    ear.heard(heard.unwrap_or(Heard::Garbled(name)));
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| garbage("text that is not UTF-8"))
}
