//! A session whose connection was lost: it is kept for a while, because its client may come back by another connection.
//! The session of that connection takes everything over.

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use super::phase::{Lost, Phase, last_packet};
use super::{Polls, SessionActor};
use crate::actors::application::{Identity, Moving};
use crate::actors::recovery::Claimant;
use crate::delivery::outbox::Frames;
use crate::event::CloseReason;
use crate::protocol::connection::Alarm;

/// The time between two looks at whether the memory still allows to keep a session.
const LOOK: Duration = Duration::from_secs(10);

impl SessionActor {
    /// Keeps the session although it has lost its connection. Returns whether it is kept.
    pub(super) fn keep(&mut self, reason: CloseReason, cx: &mut Context<'_>) -> bool {
        if !reason.is_loss() {
            return false;
        }
        let application = match &mut self.phase {
            Phase::Closing(closing) => closing.application.take(),
            Phase::Open(_) => match std::mem::replace(&mut self.phase, Phase::Over(reason)) {
                Phase::Open(application) => Some(application),
                Phase::Closing(_) | Phase::Lost(_) | Phase::Over(_) => None,
            },
            Phase::Lost(_) | Phase::Over(_) => None,
        };
        let Some(mut application) = application else { return false };
        let Some(window) = application.keep() else {
            self.phase = Phase::Open(application);
            return false;
        };
        self.session_metrics.keep(reason);
        self.outbox.lose_reader();
        self.end_upgrade(reason);
        if let Some(socket) = self.socket.take() {
            socket.retire(reason);
        }
        self.polls.answer(&self.outbox, last_packet(self.server_packets(), reason));
        self.polls = Polls::new(0);
        // Requests find no session any more.
        self.listing = None;
        let (id, peer, ms) = (self.id.0, self.peer, window.as_millis());
        log::debug!("session {id} of {peer} lost its connection, and is kept for {ms} ms: {reason}");
        let due = Instant::now() + window;
        self.phase = Phase::Lost(Box::new(Lost { reason, due, application }));
        self.alarms.arm(Alarm { period: window, due });
        self.look_later(window);
        cx.waker().wake_by_ref();
        true
    }

    /// Has the session look at the memory again.
    fn look_later(&self, left: Duration) {
        if left > LOOK {
            self.alarms.arm(Alarm { period: LOOK, due: Instant::now() + LOOK });
        }
    }

    /// Does everything that can be done without a connection.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn turn_without_connection(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), CloseReason> {
        self.outbox.register(cx.waker());
        // Nobody reads, so nobody reads too slowly.
        let _ = self.outbox.catch_up(self.id)?;
        let refreshes = self.session_metrics.takes_refresh();
        let Phase::Lost(lost) = &mut self.phase else { return Ok(()) };
        let Lost { reason, due, application } = &mut **lost;
        if *due <= now {
            return Err(*reason);
        }
        application.allow_kept(self.outbox.bytes())?;
        if refreshes {
            application.refresh(now);
        }
        application.poll(cx, now);
        while let Some(alarm) = application.poll_alarm() {
            self.alarms.arm(alarm);
        }
        let left = *due - now;
        if self.looks_again.is_none_or(|at| at <= now) {
            self.looks_again = Some(now + LOOK);
            self.look_later(left);
        }
        self.exchange(cx)
    }

    /// Hands the session over if its client has come back by another connection, or takes over what a former session
    /// has handed over.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn exchange(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let application = match &mut self.phase {
            Phase::Open(application) => application,
            Phase::Lost(lost) => &mut lost.application,
            Phase::Closing(_) | Phase::Over(_) => return Ok(()),
        };
        if let Some(former) = application.take_over() {
            self.take_over(*former);
            // The next turn registers with the other outbox.
            cx.waker().wake_by_ref();
            return Ok(());
        }
        match application.claimant() {
            Claimant::Nobody => Ok(()),
            Claimant::Here => self.hand_over(),
            // The connection is of no use any more. What it has not written comes back into the outbox.
            Claimant::Elsewhere if self.phase.is_open() => Err(CloseReason::TransportClose),
            Claimant::Elsewhere => self.answer_elsewhere(cx),
        }
    }

    /// Answers the node to which the client has come back.
    ///
    /// # Errors
    /// The session is over.
    fn answer_elsewhere(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let Phase::Lost(lost) = &mut self.phase else { return Ok(()) };
        match lost.application.answer_elsewhere(cx) {
            Moving::Stays => Ok(()),
            Moving::Moved(period) => {
                (lost.due, lost.reason) = (Instant::now() + period, CloseReason::Replaced);
                let due = lost.due;
                self.alarms.arm(Alarm { period, due });
                log::debug!("session {} of {} has moved to another node", self.id.0, self.peer);
                Ok(())
            }
            Moving::Over => Err(CloseReason::TransportClose),
        }
    }

    /// Hands the session over to the one that claims it.
    ///
    /// # Errors
    /// The session is over: handed over, or without a connection.
    fn hand_over(&mut self) -> Result<(), CloseReason> {
        // The socket has to give back what it has not written.
        let was_connected = self.phase.is_open();
        if let Some(socket) = self.socket.take() {
            socket.retire(CloseReason::TransportClose);
        }
        self.session_metrics.close(CloseReason::Replaced);
        let application = match &mut self.phase {
            Phase::Open(application) => application,
            Phase::Lost(lost) => &mut lost.application,
            Phase::Closing(_) | Phase::Over(_) => return Ok(()),
        };
        let Some(entry) = self.session_metrics.give_entry() else { return Ok(()) };
        let identity = Box::new(Identity { id: self.id, entry, outbox: Arc::clone(&self.outbox) });
        match application.hand_over(identity) {
            Ok(()) => {
                self.is_handed_over = true;
                Err(CloseReason::Replaced)
            }
            // The one that has claimed it is gone.
            Err(identity) => {
                self.session_metrics.take_entry(identity.entry);
                if was_connected { Err(CloseReason::TransportClose) } else { Ok(()) }
            }
        }
    }

    /// Takes over what a former session has handed over.
    fn take_over(&mut self, former: Identity) {
        let Identity { id, entry, outbox } = former;
        let own = std::mem::replace(&mut self.outbox, outbox);
        match &self.socket {
            Some(socket) => socket.write_from(&self.outbox),
            None => self.outbox.inherit(&own, Frames::new()),
        }
        self.alarms.wake_by(&self.outbox);
        log::debug!("session {} of {} goes on as session {}", self.id.0, self.peer, id.0);
        self.id = id;
        self.session_metrics.take_over(entry, self.peer);
    }
}
