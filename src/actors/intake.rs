//! What a session takes in: how much in one turn, a POST that is not yet read to its end, and what a packet does.

use std::time::Instant;

use tokio::sync::oneshot;

use super::application::Application;
use super::front::PostAnswer;
use crate::delivery::outbox::Outbox;
use crate::delivery::transport::Inbound;
use crate::event::CloseReason;
use crate::protocol::ProtocolError;
use crate::protocol::connection::{Connection, Received};
use crate::protocol::engine::Packet;
use crate::protocol::frame::Frame;
use crate::protocol::payload::PayloadReader;

/// A turn takes so many packets, frames without one, and reads (up to 0.5 ms of work): a client that floods lets others
/// have their turns.
const PACKETS_PER_TURN: u64 = 32;

/// A turn takes so many bytes, and the rest of a packet on top.
const BYTES_PER_TURN: u64 = 256 * 1024;

/// What one turn takes in.
#[derive(Debug, Default)]
pub(super) struct Ration {
    /// Packets, frames without one, and reads so far.
    pub(super) packets: u64,
    /// Bytes so far.
    pub(super) bytes: u64,
}

impl Ration {
    /// Counts what has arrived, and gives the packet, where it is one.
    pub(super) fn take<'a>(&mut self, arrival: Inbound<'a>) -> Option<Packet<'a>> {
        self.packets += 1;
        match arrival {
            Inbound::Bytes(bytes) => {
                self.bytes += bytes as u64;
                None
            }
            Inbound::Frame => None,
            Inbound::Packet(packet) => Some(packet),
        }
    }

    /// Whether this turn takes nothing more.
    pub(super) fn is_used_up(&self) -> bool {
        self.packets >= PACKETS_PER_TURN || self.bytes >= BYTES_PER_TURN
    }
}

/// A POST and where its answer is waited for.
pub(super) struct Feeding {
    pub(super) payload: PayloadReader,
    pub(super) reply: oneshot::Sender<PostAnswer>,
    /// What ends the session when all of it is taken: its client has gone away and said it before.
    pub(super) then: Option<CloseReason>,
}

/// Takes one packet that came by the session's transport.
pub(super) fn take_packet(
    connection: &mut Connection,
    application: &mut dyn Application,
    outbox: &Outbox,
    packet: Packet<'_>,
    now: Instant,
) -> Result<(), CloseReason> {
    match connection.handle_packet(packet, now)? {
        Received::Nothing => {}
        Received::Ping(data) => drop(outbox.push(Frame::text(&format!("3{data}")))),
        Received::Text(text) => application.text(text, now)?,
        Received::Binary(data) => application.binary(&data, now)?,
        Received::Close => return Err(CloseReason::TransportClose),
    }
    Ok(())
}

impl From<ProtocolError> for CloseReason {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::TooLarge => Self::TooLarge,
            ProtocolError::Utf8 => Self::BadText,
            ProtocolError::Direction => Self::Direction,
            _ => Self::ParseError,
        }
    }
}
