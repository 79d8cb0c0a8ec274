//! One client of the load bench, of any generation over any transport. It never blocks: the poll of its thread says
//! when it may go on. It is cheap enough that one process has a hundred thousand: the read buffer is shared by the
//! thread, an update allocates nothing, and an idle client is little more than its socket.
//!
//! * `peer`: the server as clients see it.
//! * `connection`: a TCP connection that never blocks.
//! * `polling`: the POSTs of a client that polls.
//! * `wire`: HTTP and WebSocket as bytes.
//! * `speech`: the packets of each generation.
//! * `update`: the event by which a client hears a talk, which comes most often.

mod connection;
mod peer;
mod polling;
mod speech;
mod update;
mod wire;

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
use super::protocol::{AnswerBy, ChatProtocol, Ids, Loss};
use crate::protocol::engine::Packet;
use crate::protocol::payload::{Body, PayloadReader};
use crate::protocol::{Generation, TransportKind};

/// Bytes queued towards the server above which a client counts as clogged.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// Size limit of a fragmented message.
const PARTS_BYTES_MAX: usize = 16 << 20;

/// The ids of requests that the server is to acknowledge. A client has one of each under way, so they do not change.
const JOIN_ID: u64 = 1;
/// The id of a leave.
const LEAVE_ID: u64 = 2;

/// Receives what a client is told.
pub trait Ear {
    /// Called when `bytes` bytes were read at this instant. The events in them follow as calls of
    /// [`heard`](Self::heard).
    fn read(&mut self, bytes: usize, at: Instant);

    /// Called for each event.
    fn heard(&mut self, heard: Heard<'_>);
}

/// An event that a client is told.
#[derive(Debug)]
pub enum Heard<'a> {
    /// The client has entered the namespace. `Some` if clients of its generation send the heartbeat: [`Client::beat`]
    /// then has to be called once per period.
    Connected(Option<Duration>),
    /// All conversations that the client listens to.
    Listening(Ids),
    /// An answer to a join or a leave that lists no conversations.
    NotListening,
    /// The argument of an `update`, for [`Update::parse`].
    Update(&'a [u8]),
    /// A request was refused: the event and the code.
    Refused(String, String),
    /// News may be lost.
    Missed(Loss),
    /// An event that the protocol does not name.
    Unnamed(&'a str),
    /// The argument of an event cannot be read.
    Garbled(&'a str),
}

/// One client.
pub struct Client {
    connection: Connection,
    peer: Rc<Peer>,
    stage: Stage,
    /// The period of the heartbeat, in the generation whose clients send it.
    heartbeat: Option<Duration>,
    /// The POSTs of a client that polls. Boxed, because most clients do not poll.
    polling: Option<Box<Polling>>,
    /// The fragments of an incomplete message.
    parts: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The client has requested a session.
    Session,
    /// The client has requested a WebSocket.
    Upgrade,
    /// The client receives packets.
    Open,
}

/// The fields of an open packet that a client needs.
#[derive(Deserialize)]
struct Session {
    sid: String,
    #[serde(rename = "pingInterval")]
    ping_interval_ms: u64,
}

impl Client {
    /// Begins to connect to this node and to enter the namespace. `number` identifies the client: [`Client::number`]
    /// finds it by an event. The kernel buffers little for a `slow` client, which will stop reading.
    ///
    /// # Errors
    /// The system refuses a socket.
    pub fn open(peers: &Peers, node: usize, way: Way, number: usize, slow: bool) -> io::Result<Self> {
        let peer = Rc::clone(peers.of(node, way.generation));
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

    /// Returns the number of the client that an event is for.
    pub fn number(token: Token) -> usize {
        token.0 / 2
    }

    /// Handles an event: reads everything there is and passes it to `ear`. Pings are answered on the way.
    ///
    /// # Errors
    /// The client is over. [`io::ErrorKind::UnexpectedEof`] is an end by the server, [`io::ErrorKind::InvalidData`] a
    /// violation of the protocol, and [`io::ErrorKind::PermissionDenied`] a namespace that was refused.
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
                // Later bytes cause another event, but a closed read side causes none.
                if !filled.is_full && !event.is_read_closed() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Stops reading for good.
    pub fn stop_reading(&mut self) {
        self.connection.forget(&self.peer.registry);
    }

    /// Ends the client by a reset. An ordinary close of tens of thousands of connections would keep their ports from
    /// the next run for a minute.
    pub fn abort(mut self) {
        self.connection.abort();
        if let Some(polling) = &mut self.polling {
            polling.abort(&self.peer, self.stage == Stage::Open);
        }
    }

    /// Joins as `username`.
    pub fn join(&mut self, username: &str, token: Option<&str>) {
        let ChatProtocol { join, listening, .. } = &*self.peer.target.protocol;
        let id = (listening.answer == AnswerBy::Ack).then_some(JOIN_ID);
        self.say(&self.peer.speech.event(id, &join.event, Some(&join.argument(username, token))));
    }

    /// Leaves all conversations.
    pub fn leave(&mut self) {
        let ChatProtocol { leave, listening, .. } = &*self.peer.target.protocol;
        let id = (listening.answer == AnswerBy::Ack).then_some(LEAVE_ID);
        self.say(&self.peer.speech.event(id, &leave.event, None));
    }

    /// Queues a talk. [`flush`](Self::flush) sends it, so that several leave together. `conversation` is JSON;
    /// `message_id` is put between quotes unchanged.
    pub fn talk(&mut self, conversation: &str, timestamp: u64, message_id: &str) {
        self.queue(&self.peer.speech.talk(conversation, timestamp, message_id));
    }

    /// Sends the heartbeat that [`Heard::Connected`] asks for.
    pub fn beat(&mut self) {
        self.say("2");
    }

    /// Whether the server has not read for so long that nothing more should be queued.
    pub fn is_clogged(&self) -> bool {
        self.connection.waiting() + self.polling.as_ref().map_or(0, |polling| polling.waiting()) > WAITING_BYTES_MAX
    }

    /// Sends what is queued as far as the kernel takes it. The rest follows by itself.
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
        // No proxy needs to be protected here: it is enough that consecutive masks differ.
        let mask = self.peer.mask.get().wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        self.peer.mask.set(mask);
        wire::write_frame(self.connection.unsent(), opcode, payload, mask.to_be_bytes());
    }

    fn request(&mut self, request: &str) {
        self.connection.unsent().extend_from_slice(request.as_bytes());
        self.connection.flush();
    }

    /// Takes the complete messages in `bytes`, and returns how many bytes they are.
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

    /// Sends the next poll.
    fn poll(&mut self) {
        if let Some(polling) = &self.polling {
            self.request(&wire::get(&self.peer.target.host, &polling.address));
        }
    }

    /// Takes the complete frames in `bytes`, and returns how many bytes they are.
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

    /// Takes the packets of the answer to a poll.
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
            Said::Event(name, argument) => event(&peer.target.protocol, name, argument, ear),
            Said::Answer(id, argument) => answer(&peer.target.protocol, id, argument, ear),
            Said::Ping => self.say(peer.speech.pong()),
            Said::Bye => return Err(io::ErrorKind::UnexpectedEof.into()),
            Said::Nothing => {}
        }
        Ok(())
    }
}

fn event(protocol: &ChatProtocol, name: &str, argument: &str, ear: &mut impl Ear) {
    let heard = match name {
        name if name == protocol.update.event => Heard::Update(argument.as_bytes()),
        name if name == protocol.listening.event && protocol.listening.answer == AnswerBy::Event => {
            protocol.listening.ids(argument).map_or(Heard::NotListening, Heard::Listening)
        }
        name if name == protocol.refused.event => match protocol.refused.read(argument) {
            Some((event, code)) => Heard::Refused(event, code),
            None => Heard::Garbled(name),
        },
        name if name == protocol.missed.event => {
            protocol.missed.read(argument).map_or(Heard::Garbled(name), Heard::Missed)
        }
        name => Heard::Unnamed(name),
    };
    ear.heard(heard);
}

/// Passes on the acknowledgement of a join or a leave. That of a leave needs no list.
fn answer(protocol: &ChatProtocol, id: u64, argument: &str, ear: &mut impl Ear) {
    match (protocol.listening.answer, id) {
        (AnswerBy::Ack, JOIN_ID) => {
            ear.heard(protocol.listening.ids(argument).map_or(Heard::NotListening, Heard::Listening));
        }
        (AnswerBy::Ack, LEAVE_ID) => ear.heard(Heard::Listening(Ids::default())),
        _ => {}
    }
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| garbage("text that is not UTF-8"))
}
