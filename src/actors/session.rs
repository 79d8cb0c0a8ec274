//! The actor of one connected client. It drives the machine of its connection, hands messages to the layer above, and
//! writes the packets in its outbox, unless the flusher of its worker has done so already. An upgrade swaps the
//! transport under the session. Everything happens in one future within the actor's context, so a session is one task.

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use super::front::{FrontError, Listing, PostAnswer, SessionMessage, SessionParts, WaitingPoll};
use super::intake::{Intake, Ration};
use super::polls::{PollWrite, Polls, PostEnd};
use super::probe::{Probe, Upgrade};
use super::session_metrics::SessionMetrics;
use crate::delivery::flusher::SocketHandle;
use crate::delivery::outbox::Outbox;
use crate::delivery::transport::{Attach, Inbound, Transport};
use crate::delivery::worker::{Alarms, Worker};
use crate::event::{CloseReason, SessionId};
use crate::limits::meter::{PAUSE, Verdict};
use crate::logging::log_refusal;
use crate::mailbox::{ActorCount, Addressed, Handling, Mail, Mailbox};
use crate::metrics::{ActorClass, Limit};
use crate::protocol::TransportKind;
use crate::protocol::connection::{Alarm, Attached, Beat, Connection, Polled};
use crate::protocol::engine::{Packet, ServerPackets};
use crate::protocol::frame::Frame;
use crate::protocol::handshake::RequestError;
use crate::protocol::payload::Body;

mod deadlines;
mod lost;
mod phase;

use phase::{Closing, Phase, last_packet};

/// How long a session closed by a POST stays, so that a poll already under way still gets its answer.
const CROSSING_POLL: Duration = Duration::from_millis(100);

/// One connected client.
pub struct SessionActor {
    id: SessionId,
    peer: IpAddr,
    connection: Connection,
    phase: Phase,
    /// The socket that carries the session. `None` on polling.
    socket: Option<SocketHandle>,
    polls: Polls,
    probe: Option<Probe>,
    outbox: Arc<Outbox>,
    worker: Rc<Worker>,
    alarms: Alarms,
    intake: Intake,
    /// The messages on which the next turn acts.
    noted: Vec<Handling>,
    /// When the session looks at its deadlines again because its thread was behind.
    looks_again: Option<Instant>,
    /// `None` once the connection is lost.
    listing: Option<Box<dyn Listing>>,
    /// Whether another session of the client has the outbox now.
    is_handed_over: bool,
    session_metrics: SessionMetrics,
    _count: ActorCount,
}

impl SessionActor {
    /// Starts a session on this thread. `socket` is its transport, `None` means polling; `list` enters the session in
    /// the table of sids.
    pub fn launch(
        parts: SessionParts,
        worker: &Rc<Worker>,
        socket: Option<Box<dyn Transport>>,
        list: impl FnOnce(Mailbox<Self>) -> Box<dyn Listing>,
    ) {
        let kind = if socket.is_some() { TransportKind::WebSocket } else { TransportKind::Polling };
        let generation = parts.outbox.generation();
        let ctx = Context::new();
        let listing = list(Mailbox::new(ctx.address(), &parts.metrics));
        let mut session = Self {
            id: parts.id,
            peer: parts.peer,
            connection: Connection::new(generation, kind, parts.periods, Instant::now()),
            phase: Phase::Open(parts.application),
            socket: socket.map(|socket| worker.flusher.carry(socket, &parts.outbox)),
            polls: Polls::new(parts.payload_bytes_max),
            probe: None,
            alarms: worker.alarms(&parts.outbox),
            outbox: parts.outbox,
            worker: worker.clone(),
            intake: Intake::default(),
            noted: Vec::new(),
            looks_again: None,
            listing: Some(listing),
            is_handed_over: false,
            _count: ActorCount::new(ActorClass::Session, &parts.metrics),
            session_metrics: SessionMetrics::new(parts.metrics, generation, kind, parts.entry),
        };
        session.announce_alarms();
        let (generation, kind) = (generation.as_str(), kind.as_str());
        log::debug!("session {} of {} by {generation} opened over {kind}", session.id.0, session.peer);
        ctx.run(session);
    }

    /// Does everything that can be done now.
    ///
    /// # Errors
    /// The session is over.
    fn turn(&mut self, cx: &mut TaskContext<'_>) -> Result<(), CloseReason> {
        // The handling of these messages ends with this turn.
        let _noted = std::mem::take(&mut self.noted);
        let now = Instant::now();
        if matches!(self.phase, Phase::Lost(_)) {
            return self.turn_without_connection(cx, now);
        }
        // First: a push or a close that comes during the turn causes another one.
        self.outbox.register(cx.waker());
        // A session that is over reads and writes nothing more.
        let grace = self.outbox.catch_up(self.id)?;
        self.phase.check()?;
        self.mind(grace, now)?;
        let mut ration = Ration::default();
        let listens = self.listens(now)?;
        if listens {
            // The probe comes before the socket because it may become the socket.
            self.read_probe(cx, &mut ration, now)?;
            self.read_socket(cx, &mut ration, now)?;
        }
        // Before deadlines and writing: neither shall answer a poll whose client has gone.
        if self.polls.poll_lost(cx) {
            self.lose_poll(now)?;
        }
        // After all reading: no client is declared silent before its input was read.
        if listens && self.worker.is_catching_up(now) {
            self.look_again(now);
        } else if listens {
            self.handle_timeouts(now)?;
        }
        // Before the POST and the layer above go on: both stop if the outbox has no room, and this makes room.
        self.write(cx, now)?;
        if listens {
            self.feed(cx, &mut ration, now);
        }
        // After everything that takes packets in.
        self.intake.charge(&self.worker.limits.allowance, &ration, cx, now);
        // After the POST, which may have ended the session.
        self.phase.check()?;
        self.phase.poll(cx, self.session_metrics.takes_refresh(), now);
        // After all input is read.
        self.exchange(cx)?;
        // Once more: the packets of the POST and of the layer above go out in the same turn.
        self.write(cx, now)?;
        let beat = self.connection.poll_beat();
        if matches!(beat, Some(Beat::Answer(_))) {
            self.outbox.beat_answered();
        }
        self.session_metrics.beat(beat);
        // Last: every step may have set deadlines.
        self.announce_alarms();
        Ok(())
    }

    /// Returns whether the client is listened to now.
    ///
    /// # Errors
    /// The client has sent too much for too long.
    fn listens(&mut self, now: Instant) -> Result<bool, CloseReason> {
        match self.intake.judge(&self.worker.limits.allowance, now) {
            Verdict::Listen => Ok(true),
            Verdict::Wait { begins } => {
                if begins {
                    self.session_metrics.metrics.limited(Limit::Packets);
                    self.alarms.arm(Alarm { period: PAUSE, due: now + PAUSE });
                }
                Ok(false)
            }
            Verdict::Floods => Err(CloseReason::Flood),
        }
    }

    /// Reads the socket of an upgrade. A failure before the client's `5` leaves the session as it was.
    fn read_probe(&mut self, cx: &mut TaskContext<'_>, ration: &mut Ration, now: Instant) -> Result<(), CloseReason> {
        let Some(probe) = self.probe.take() else { return Ok(()) };
        let take =
            |connection: &mut _, packet: Packet<'_>| self.phase.take_packet(connection, &self.outbox, packet, now);
        match probe.read(cx, &mut self.connection, ration, now, take) {
            Upgrade::Probing(probe) => self.probe = Some(probe),
            Upgrade::Failed => {}
            Upgrade::Done { socket, ended } => {
                self.relink(Some(socket));
                // If the session was closed during the upgrade, its client is told on the socket.
                if let Phase::Closing(closing) = &self.phase {
                    return Err(closing.reason);
                }
                return ended.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn end_upgrade(&mut self, reason: CloseReason) {
        if let Some(probe) = self.probe.take() {
            probe.abandon(&mut self.connection, reason);
        }
    }

    /// Changes the transport, to polling if `socket` is `None`. A poll that waits is answered by a noop. Frames that
    /// the older socket has not written go over the new transport.
    fn relink(&mut self, socket: Option<Box<dyn Transport>>) {
        self.polls.answer(&self.outbox, self.server_packets().noop);
        if let Some(older) = self.socket.take() {
            older.retire(CloseReason::TransportClose);
        }
        self.session_metrics.moved(self.connection.transport());
        self.socket = socket.map(|socket| self.worker.flusher.carry(socket, &self.outbox));
    }

    fn read_socket(&mut self, cx: &mut TaskContext<'_>, ration: &mut Ration, now: Instant) -> Result<(), CloseReason> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        if !self.phase.may_read(&self.outbox) || ration.is_used_up() {
            return Ok(());
        }
        let (connection, phase, outbox) = (&mut self.connection, &mut self.phase, &self.outbox);
        let mut closes = false;
        let mut sink = |arrival: Inbound<'_>| {
            let may_read = match ration.take(arrival) {
                Some(packet) => {
                    closes |= matches!(packet, Packet::Close);
                    phase.take_packet(connection, outbox, packet, now)?
                }
                None => phase.may_read(outbox),
            };
            Ok(may_read && !ration.is_used_up())
        };
        let Poll::Ready(reason) = socket.poll_read(cx, &mut sink) else { return Ok(()) };
        if closes {
            self.bid_farewell(cx);
        }
        self.lose_socket(reason, now)
    }

    /// Answers a close of the client, after all queued packets, if its generation expects an answer.
    fn bid_farewell(&mut self, cx: &mut TaskContext<'_>) {
        let farewell = self.server_packets().farewell;
        if let (Some(socket), Some(farewell)) = (&mut self.socket, farewell) {
            self.outbox.push(Frame::text(farewell));
            let _ = socket.poll_write(cx);
        }
    }

    /// Goes on without the poll that the client has dropped. An error if that ends the session.
    fn lose_poll(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.connection.lose_poll(now) { Ok(()) } else { Err(CloseReason::TransportError) }
    }

    /// Goes on by polling after the end of the socket. An error if that ends the session.
    fn lose_socket(&mut self, reason: CloseReason, now: Instant) -> Result<(), CloseReason> {
        use CloseReason::{GoingAway, TransportClose, TransportError};
        let is_broken = matches!(reason, TransportClose | TransportError | GoingAway);
        if !is_broken || !self.connection.lose_socket(now) {
            return Err(reason);
        }
        self.relink(None);
        Ok(())
    }

    fn server_packets(&self) -> &'static ServerPackets {
        self.connection.generation().server_packets()
    }

    /// Writes the packets in the outbox to the socket, or into the answer to the poll that waits.
    fn write(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Result<(), CloseReason> {
        if let Some(socket) = &mut self.socket {
            return match socket.poll_write(cx) {
                Poll::Ready(reason) => self.lose_socket(reason, now),
                Poll::Pending => Ok(()),
            };
        }
        let (last, end) = match &self.phase {
            Phase::Closing(closing) => (Some(last_packet(self.server_packets(), closing.reason)), Err(closing.reason)),
            _ => (None, Ok(())),
        };
        match self.polls.write(&self.outbox, last, &self.session_metrics.metrics.polling_written) {
            PollWrite::Nothing => return Ok(()),
            PollWrite::Answered => self.connection.end_poll(now),
            PollWrite::Lost => self.lose_poll(now)?,
        }
        end
    }

    /// Reads the POST that is under way further.
    fn feed(&mut self, cx: &mut TaskContext<'_>, ration: &mut Ration, now: Instant) {
        if !self.polls.has_post() {
            return;
        }
        if let Err(reason) = self.phase.allow_kept(&self.outbox) {
            self.phase = Phase::Over(reason);
            return;
        }
        let has_room = self.phase.may_read(&self.outbox);
        let take = |packet: Packet<'_>| self.phase.take_packet(&mut self.connection, &self.outbox, packet, now);
        match self.polls.feed(ration, has_room, take) {
            Ok(()) => {}
            Err(PostEnd::AtOnce(reason)) => self.phase = Phase::Over(reason),
            Err(PostEnd::ByPacket(reason)) => self.end_by_packet(cx, reason, now),
        }
    }

    /// Ends the session because of a packet in a POST. On polling, the client is told by the poll that waits, or by one
    /// that comes soon.
    fn end_by_packet(&mut self, cx: &mut TaskContext<'_>, reason: CloseReason, now: Instant) {
        let is_close = reason == CloseReason::TransportClose;
        if self.socket.is_some() || reason == CloseReason::Direction {
            if is_close {
                self.bid_farewell(cx);
            }
            self.phase = Phase::Over(reason);
            return;
        }
        let period = if is_close { CROSSING_POLL } else { self.connection.periods().close_timeout };
        let due = now + period;
        let application = match std::mem::replace(&mut self.phase, Phase::Over(reason)) {
            Phase::Open(application) if reason.is_loss() => Some(application),
            _ => None,
        };
        self.phase = Phase::Closing(Box::new(Closing { reason, due, application }));
        self.alarms.arm(Alarm { period, due });
    }

    /// Returns whether the client has been silent for too long, even if the session has not noticed it yet. False while
    /// input of the client may wait to be read.
    fn is_over(&self) -> bool {
        let now = Instant::now();
        let is_heard = !self.worker.is_catching_up(now) && !self.intake.holds_back(now);
        self.phase.is_open() && is_heard && self.connection.is_over(now)
    }

    fn take_poll(&mut self, poll: WaitingPoll) {
        let polled = self.connection.begin_poll(poll.script, Instant::now());
        if polled == Polled::Greeted {
            self.relink(None);
        }
        if let Err(reason) = self.polls.take_poll(poll, polled, &self.outbox) {
            self.phase = Phase::Over(reason);
        }
    }

    fn take_post(&mut self, body: Body, reply: oneshot::Sender<PostAnswer>) {
        if !self.connection.takes_posts() {
            let _ = reply.send(Err(FrontError::Error(RequestError::BadRequest)));
            return;
        }
        let bytes = body.len() as u64;
        if self.polls.take_post(self.connection.generation(), body, reply) {
            self.intake.charge_body(&self.worker.limits.allowance, bytes, Instant::now());
        }
    }

    fn take_attach(&mut self, attach: Box<dyn Attach>) {
        let socket = match attach.attach(&self.worker.read_buffer) {
            Ok(socket) => socket,
            Err(error) => return log::warn!("session {} could not take a socket: {error}", self.id.0),
        };
        if !self.phase.is_open() {
            return socket.close(CloseReason::TransportClose);
        }
        match self.connection.attach(Instant::now()) {
            Attached::Probes => self.probe = Some(Probe::new(socket)),
            Attached::Takes => self.relink(Some(socket)),
            Attached::Refused => socket.close(CloseReason::TransportClose),
        }
    }

    /// Ends the session: tells the client, if its transport can, and stops the actor.
    fn finish(&mut self, reason: CloseReason, ctx: &mut Context<Self>) {
        // Before anything is sent: a client that has heard of the end finds it in the metrics.
        self.session_metrics.close(reason);
        let is_lost = matches!(self.phase, Phase::Lost(_));
        self.phase = Phase::Over(reason);
        if !self.is_handed_over {
            self.outbox.close(reason);
        }
        self.end_upgrade(reason);
        if let Some(socket) = self.socket.take() {
            socket.close(reason);
        }
        self.polls.answer(&self.outbox, last_packet(self.server_packets(), reason));
        let (generation, label) = (self.connection.generation().as_str(), reason.as_str());
        let line = format_args!("session {} of {} by {generation} closed: {label} ({reason})", self.id.0, self.peer);
        match reason {
            CloseReason::TransportClose
            | CloseReason::GoingAway
            | CloseReason::Replaced
            | CloseReason::Stop
            | CloseReason::Operator => log::debug!("{line}"),
            _ if is_lost => log::debug!("{line}"),
            _ => log_refusal(Instant::now(), line),
        }
        ctx.stop();
    }
}

impl Drop for SessionActor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("session {} of {} failed", self.id.0, self.peer);
            if let Some(socket) = self.socket.take() {
                socket.close(CloseReason::Panic);
            }
        }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The front door bounds the mailbox.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Driver);
    }
}

impl Addressed for SessionActor {
    type Message = SessionMessage;
}

impl Handler<Mail<SessionMessage>> for SessionActor {
    type Result = ();

    /// Notes the message; the driver, which is polled next, acts on it. A dropped reply says that the session is gone.
    fn handle(&mut self, mail: Mail<SessionMessage>, _: &mut Self::Context) {
        let (message, handling) = mail.open();
        self.noted.push(handling);
        match message {
            SessionMessage::Abort(reason) => self.phase = Phase::Over(reason),
            // A POST beside a WebSocket, perhaps one that a proxy has repeated, harms only itself.
            SessionMessage::AbortPost(_) if self.socket.is_some() || matches!(self.phase, Phase::Lost(_)) => {}
            SessionMessage::AbortPost(reason) => {
                if let Err(reason) = self.polls.fail_post(reason) {
                    self.phase = Phase::Over(reason);
                }
            }
            // A request that comes too late finds no session, even if the session has not noticed its end yet.
            SessionMessage::Poll(_) | SessionMessage::Post { .. } | SessionMessage::Attach(_) if self.is_over() => {
                self.phase = Phase::Over(CloseReason::PingTimeout);
            }
            SessionMessage::Attach(attach) => self.take_attach(attach),
            SessionMessage::Poll(poll) if !matches!(self.phase, Phase::Over(_) | Phase::Lost(_)) => {
                self.take_poll(poll)
            }
            SessionMessage::Post { body, reply } if self.phase.is_open() => self.take_post(body, reply),
            SessionMessage::Poll(_) | SessionMessage::Post { .. } => {}
        }
    }
}

/// The one future of a session's context.
struct Driver;

impl ActorFuture<SessionActor> for Driver {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut SessionActor,
        ctx: &mut Context<SessionActor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let Err(reason) = session.turn(cx) else { return Poll::Pending };
        if session.keep(reason, cx) {
            return Poll::Pending;
        }
        session.finish(reason, ctx);
        Poll::Ready(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
