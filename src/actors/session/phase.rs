//! How far a session is: open, closing, or over.

use std::task::Context;
use std::time::Instant;

use crate::actors::application::Application;
use crate::delivery::outbox::Outbox;
use crate::event::CloseReason;
use crate::protocol::connection::{Connection, Received};
use crate::protocol::engine::{Packet, ServerPackets};
use crate::protocol::frame::Frame;

/// How far a session is.
pub(super) enum Phase {
    /// Messages go to the layer above.
    Open(Box<dyn Application>),
    /// The session is over, and waits for a poll by which it can tell its client. Only a session on polling closes so.
    Closing(Box<Closing>),
    /// The connection was lost, and the client may come back by another one.
    Lost(Box<Lost>),
    /// The session ends as soon as its task runs.
    Over(CloseReason),
}

/// The end of a session, before the client is told of it.
pub(super) struct Closing {
    pub(super) reason: CloseReason,
    /// When the session ends even if the client was not told.
    pub(super) due: Instant,
    /// The layer above, if the client may come back.
    pub(super) application: Option<Box<dyn Application>>,
}

/// A session without a connection.
pub(super) struct Lost {
    pub(super) reason: CloseReason,
    /// When the session ends unless the client has come back.
    pub(super) due: Instant,
    pub(super) application: Box<dyn Application>,
}

impl Phase {
    /// Returns whether messages go to the layer above.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Checks that the session is not over.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn check(&self) -> Result<(), CloseReason> {
        if let Self::Over(reason) = self { Err(*reason) } else { Ok(()) }
    }

    /// Does what is due in the layer above, and ends a session that was closed long enough ago.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self {
            Self::Open(application) => application.handle_timeout(now),
            Self::Closing(closing) if closing.due <= now => Err(closing.reason),
            Self::Closing(_) | Self::Lost(_) => Ok(()),
            Self::Over(reason) => Err(*reason),
        }
    }

    /// Lets the layer above continue its work under way, and first refresh what it knows of the user if `refreshes`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, refreshes: bool, now: Instant) {
        if let Self::Open(application) = self {
            if refreshes {
                application.refresh(now);
            }
            application.poll(cx, now);
        }
    }

    /// Checks that the session may keep what is in `outbox`, as [`Application::allow_kept`].
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn allow_kept(&self, outbox: &Outbox) -> Result<(), CloseReason> {
        if let Self::Open(application) = self { application.allow_kept(outbox.bytes()) } else { Ok(()) }
    }

    /// Returns whether packets of the client may be read. They wait while the outbox has no room for the answers, or
    /// while too many talks of the client wait for their conversations.
    pub(super) fn may_read(&self, outbox: &Outbox) -> bool {
        outbox.has_room() && !matches!(self, Self::Open(application) if !application.has_room())
    }

    /// Does what a packet from the session's transport asks for, if the session is open. Returns whether another packet
    /// may be read.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn take_packet(
        &mut self,
        connection: &mut Connection,
        outbox: &Outbox,
        packet: Packet<'_>,
        now: Instant,
    ) -> Result<bool, CloseReason> {
        if let Self::Open(application) = self {
            match connection.handle_packet(packet, now)? {
                Received::Nothing => {}
                Received::Ping(data) => drop(outbox.push(Frame::text(&format!("3{data}")))),
                Received::Text(text) => application.text(text, now)?,
                Received::Binary(data) => application.binary(&data, now)?,
                Received::Close => return Err(CloseReason::TransportClose),
            }
        }
        Ok(self.may_read(outbox))
    }
}

/// Returns the packet that tells a poll of the end of the session.
pub(super) fn last_packet(packets: &ServerPackets, reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Stop => packets.stop,
        CloseReason::TransportClose => packets.closed,
        _ => packets.close,
    }
}
