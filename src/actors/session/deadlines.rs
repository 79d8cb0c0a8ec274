//! The deadlines of a session: its alarms, and what it does when they are due.

use std::time::Instant;

use super::SessionActor;
use super::phase::Phase;
use crate::delivery::outbox::Grace;
use crate::delivery::worker::CATCH_UP;
use crate::event::CloseReason;
use crate::protocol::connection::{Alarm, Due};
use crate::protocol::frame::Frame;

impl SessionActor {
    /// Minds the time that a slow reader has to catch up.
    ///
    /// # Errors
    /// The time is over.
    pub(super) fn mind(&mut self, grace: Option<Grace>, now: Instant) -> Result<(), CloseReason> {
        let Some(Grace { alarm, is_new }) = grace else { return Ok(()) };
        if is_new {
            self.alarms.arm(alarm);
        }
        if now < alarm.due {
            return Ok(());
        }
        // A reader that could not be written to while the thread stood still is not blamed for it.
        if self.worker.is_catching_up(now) {
            self.look_again(now);
            return Ok(());
        }
        self.session_metrics.metrics.slow_closed.inc();
        Err(CloseReason::Slow)
    }

    /// Has the session look at its deadlines again when the thread has caught up. The alarm that has woken it may have
    /// been the last one.
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.looks_again.is_none_or(|due| due <= now) {
            let due = now + CATCH_UP;
            self.looks_again = Some(due);
            self.alarms.arm(Alarm { period: CATCH_UP, due });
        }
    }

    /// Does everything that is due.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn handle_timeouts(&mut self, now: Instant) -> Result<(), CloseReason> {
        // A session that is due ends at once. It does not wait for a poll that could tell the client: the next poll
        // finds no session.
        self.phase.handle_timeout(now)?;
        if !self.phase.is_open() {
            return Ok(());
        }
        if self.socket.is_none() {
            self.phase.allow_kept(&self.outbox)?;
        }
        let packets = self.server_packets();
        while let Some(due) = self.connection.handle_timeout(now) {
            match due {
                Due::Ping => {
                    self.outbox.push_beat(Frame::text(packets.ping));
                }
                Due::Noop => {
                    // Packets in the outbox answer the poll as well.
                    if self.outbox.is_empty() && self.polls.answer(&self.outbox, packets.noop) {
                        self.connection.end_poll(now);
                    }
                }
                Due::Expired => return Err(CloseReason::PingTimeout),
                Due::UpgradeExpired => self.end_upgrade(CloseReason::TransportClose),
            }
        }
        Ok(())
    }

    /// Sets the alarms of all deadlines that were set since the last call.
    pub(super) fn announce_alarms(&mut self) {
        let Phase::Open(application) = &mut self.phase else { return };
        while let Some(alarm) = self.connection.poll_alarm().or_else(|| application.poll_alarm()) {
            self.alarms.arm(alarm);
        }
    }
}
