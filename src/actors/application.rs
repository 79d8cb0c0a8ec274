//! The interface between a session and the layer over its transport.

use std::task::Context;
use std::time::Instant;

use crate::event::CloseReason;
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

    /// Acts on the deadlines of the layer that are due.
    ///
    /// # Errors
    /// The session ends.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), CloseReason> {
        Ok(())
    }
}
