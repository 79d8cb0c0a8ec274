//! The POSTs of a client that polls: they have a TCP connection of their own, and one is under way at a time.

use std::io;

use mio::Token;
use mio::event::Event;

use super::connection::Connection;
use super::peer::Peer;
use super::wire;
use crate::protocol::Generation;
use crate::protocol::frame::Frame;
use crate::protocol::payload::{Body, Form, PayloadWriter};

/// The packet that ends a session of 0.9.
const DISCONNECT: &str = "0::";

/// The parts of a client that polls, beside the connection of its polls.
pub(super) struct Polling {
    number: usize,
    /// The target of the session's requests. Empty until the session has begun.
    pub(super) address: String,
    /// The connection for POSTs. `None` before the first POST, and after the server has closed an idle connection.
    connection: Option<Connection>,
    /// The packets of the next POST.
    packets: Vec<Frame>,
    /// The sum of their lengths.
    bytes: usize,
    /// Whether a POST has no answer yet.
    is_under_way: bool,
}

impl Polling {
    pub(super) fn new(number: usize) -> Self {
        Self { number, address: String::new(), connection: None, packets: Vec::new(), bytes: 0, is_under_way: false }
    }

    /// Adds a packet to the next POST.
    pub(super) fn queue(&mut self, packet: &str) {
        self.bytes += packet.len();
        self.packets.push(Frame::text(packet));
    }

    /// Returns the number of bytes that are not sent yet.
    pub(super) fn waiting(&self) -> usize {
        self.bytes + self.connection.as_ref().map_or(0, Connection::waiting)
    }

    /// Sends the queued packets with one POST, unless one is under way.
    pub(super) fn post(&mut self, peer: &Peer) {
        if self.is_under_way || self.packets.is_empty() {
            return;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let token = Token(2 * self.number + 1);
                // Without a connection no heartbeat is sent: the session ends, which is then reported.
                let opened = Connection::open(peer.target.address, self.number, false, &peer.registry, token);
                let Ok(connection) = opened else { return };
                none.insert(connection)
            }
        };
        let mut payload = PayloadWriter::new(peer.speech.generation, Form::Text);
        self.packets.drain(..).for_each(|packet| payload.push(packet));
        if let Body::Text(body) = payload.finish() {
            wire::post(connection.unsent(), &peer.target.host, &self.address, body.as_bytes());
            connection.flush();
        }
        self.bytes = 0;
        self.is_under_way = true;
    }

    /// Reads the answers to POSTs, writes the bytes that wait, and sends the next POST.
    ///
    /// # Errors
    /// The server refused a POST, or the connection failed while one was under way.
    pub(super) fn ready(&mut self, peer: &Peer, event: &Event, buffer: &mut Vec<u8>) -> io::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if event.is_writable() {
            connection.flush();
        }
        loop {
            let filled = match connection.fill(buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !self.is_under_way => {
                    self.connection = None;
                    break;
                }
                filled => filled?,
            };
            let Some(filled) = filled else { break };
            let mut consumed = 0;
            while let Some(answer) = wire::answer(&buffer[consumed..filled.bytes])? {
                if answer.status != 200 {
                    return Err(answer.refusal());
                }
                consumed += answer.bytes;
                self.is_under_way = false;
            }
            connection.keep(&buffer[consumed..filled.bytes]);
        }
        self.post(peer);
        Ok(())
    }

    /// Ends the client. A session of 0.9 outlives its polls and would hear the talks of the next run. So if the session
    /// `is_open` and no POST is under way, a last POST ends it. In all other cases the connection is reset.
    pub(super) fn abort(&mut self, peer: &Peer, is_open: bool) {
        if peer.speech.generation == Generation::Sio09 && !self.is_under_way && is_open {
            self.packets = vec![Frame::text(DISCONNECT)];
            self.post(peer);
        } else if let Some(connection) = &self.connection {
            connection.abort();
        }
    }
}
