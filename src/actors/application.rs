//! What a session asks of the layer over its transport.

use std::task::Context;
use std::time::Instant;

use crate::event::CloseReason;
use crate::protocol::connection::Alarm;

/// The layer over the transport: what a session does with messages. It is dropped when the session ends.
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

    /// Whether the client may be read any further. Where it may not, the task is woken when it may again.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether so many bytes may be kept that the client does not read.
    ///
    /// # Errors
    /// Memory is too short for that: the session ends.
    fn allow_kept(&self, _bytes: usize) -> Result<(), CloseReason> {
        Ok(())
    }

    /// Goes on with what is under way. Called whenever the session's task runs; `cx` wakes it.
    fn poll(&mut self, _cx: &mut Context<'_>, _now: Instant) {}

    /// The next deadline that was set since the last call.
    fn poll_alarm(&mut self) -> Option<Alarm> {
        None
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The session ends.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), CloseReason> {
        Ok(())
    }
}
