//! The interface between a session and the layer over its transport.

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use super::recovery::Claimant;
use crate::board::sessions::SessionEntry;
use crate::delivery::outbox::Outbox;
use crate::event::{CloseReason, SessionId};
use crate::protocol::connection::Alarm;

/// The layer over the transport, which takes a session's messages. It is dropped when the session ends.
pub trait Application {
    /// Takes a text message.
    ///
    /// # Errors
    /// The session ends.
    fn text(&mut self, text: &str, now: Instant) -> Result<(), CloseReason>;

    /// Takes a binary message.
    ///
    /// # Errors
    /// The session ends.
    fn binary(&mut self, data: &[u8], now: Instant) -> Result<(), CloseReason>;

    /// Returns whether more of the client's input may be read. If not, the layer wakes the session's task once it may.
    fn has_room(&self) -> bool {
        true
    }

    /// Checks that the session may keep `bytes` bytes that its client has not read yet.
    ///
    /// # Errors
    /// Memory is too short: the session ends.
    fn allow_kept(&self, _bytes: usize) -> Result<(), CloseReason> {
        Ok(())
    }

    /// Continues the work under way. The session calls it whenever its task runs; `cx` wakes that task.
    fn poll(&mut self, _cx: &mut Context<'_>, _now: Instant) {}

    /// Brings what the layer knows of the client's user up to date, although the client has not asked for it.
    fn refresh(&mut self, _now: Instant) {}

    /// Returns the next deadline that was set since the last call.
    fn poll_alarm(&mut self) -> Option<Alarm> {
        None
    }

    /// Keeps what the layer has for a client that may come back, because its connection was lost. Returns for how long;
    /// `None` if the client cannot come back.
    fn keep(&mut self) -> Option<Duration> {
        None
    }

    /// Returns who claims the session, because the client has come back by another connection.
    fn claimant(&self) -> Claimant {
        Claimant::Nobody
    }

    /// Answers the node that claims the session, which has no connection any more.
    fn answer_elsewhere(&mut self, _cx: &mut Context<'_>) -> Moving {
        Moving::Stays
    }

    /// Hands the layer's part and `session` over to the session that claims them.
    ///
    /// # Errors
    /// There is none any more.
    fn hand_over(&mut self, session: Box<Identity>) -> Result<(), Box<Identity>> {
        Err(session)
    }

    /// Returns what a former session of the client has handed over: it goes on here.
    fn take_over(&mut self) -> Option<Box<Identity>> {
        None
    }

    /// Acts on the deadlines of the layer that are due.
    ///
    /// # Errors
    /// The session ends.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), CloseReason> {
        Ok(())
    }
}

/// What becomes of a session that another node claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// It stays for now.
    Stays,
    /// It has moved. It is left here for a while, because its user counts here until the user is known to be there.
    Moved(Duration),
    /// It is over: not all that the client has missed is known.
    Over,
}

/// What stays the same when a session goes on by another connection, apart from what its layer keeps.
pub struct Identity {
    /// Its number.
    pub id: SessionId,
    /// Its card on the board.
    pub entry: SessionEntry,
    /// The queue towards the client.
    pub outbox: Arc<Outbox>,
}
