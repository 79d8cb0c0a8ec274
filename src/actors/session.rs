//! The actor of one connected client. It is the same session whatever its transport: an upgrade swaps the transport
//! under it. It drives the machine of its connection, hands messages to the layer above, and writes what its outbox
//! holds, where the flusher of its worker has not done that already; all of that happens in one future within the
//! actor's context, so a connection is one task.

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use super::application::Application;
use super::front::{FrontError, Listing, PostAnswer, WaitingPoll, drain};
use super::intake::{Feeding, Ration, take_packet};
use super::session_metrics::SessionMetrics;
use crate::delivery::flusher::SocketHandle;
use crate::delivery::outbox::Outbox;
use crate::delivery::transport::{Attach, Inbound, Transport};
use crate::delivery::worker::{Alarms, CATCH_UP, Worker};
use crate::event::{CloseReason, SessionId};
use crate::limits::meter::{Meter, PAUSE, Verdict};
use crate::logging::log_refusal;
use crate::mailbox::{ActorCount, Addressed, Mail, Mailbox};
use crate::metrics::{ActorClass, Limit, Metrics};
use crate::protocol::TransportKind;
use crate::protocol::connection::{Alarm, Attached, Connection, Due, Periods, Polled, Probed};
use crate::protocol::engine::{Packet, ServerPackets};
use crate::protocol::frame::Frame;
use crate::protocol::handshake::RequestError;
use crate::protocol::legacy::GREETING;
use crate::protocol::payload::{Body, PayloadReader};
use crate::turns;

/// A client that closes by a POST may have a poll on its way to another worker: it is to find its answer here.
const CROSSING_POLL: Duration = Duration::from_millis(100);

/// Everything that the edge can tell a session.
#[derive(Debug)]
pub enum SessionMessage {
    /// A socket with this session's sid: an upgrade begins, or a client of 0.9 comes by another transport.
    Attach(Box<dyn Attach>),
    /// A GET waits for packets.
    Poll(WaitingPoll),
    /// A POST has brought packets.
    Post {
        /// The payload.
        body: Body,
        /// Where the edge waits for the answer.
        reply: oneshot::Sender<PostAnswer>,
    },
    /// A POST has ended in a way that ends a session of Engine.IO on polling.
    AbortPost(CloseReason),
    /// The session is to end.
    Abort(CloseReason),
}

/// What a session is made of, apart from its transport.
pub struct SessionParts {
    /// Its number within the process.
    pub id: SessionId,
    /// Where its client is.
    pub peer: IpAddr,
    /// Its heartbeat, and how long it waits for what.
    pub periods: Arc<Periods>,
    /// A poll's answer grows no larger than this, if it has more than one packet.
    pub payload_bytes_max: usize,
    /// The bound of its mailbox.
    pub mailbox_max: usize,
    /// What it is to be sent; the open packet is in it already, where it goes the same way.
    pub outbox: Arc<Outbox>,
    /// The layer above.
    pub application: Box<dyn Application>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// One connected client.
pub struct SessionActor {
    id: SessionId,
    peer: IpAddr,
    connection: Connection,
    phase: Phase,
    link: Link,
    /// The socket of an upgrade that is not finished.
    probe: Option<Box<dyn Transport>>,
    outbox: Arc<Outbox>,
    /// A POST that is not yet read to its end.
    feeding: Option<Box<Feeding>>,
    payload_bytes_max: usize,
    /// As [`PayloadReader::encodes_once`].
    encodes_once: bool,
    worker: Rc<Worker>,
    alarms: Alarms,
    meter: Meter,
    /// The round in which it has taken in as much as it may.
    sated_in: Option<u64>,
    /// When it looks at its deadlines again, where the thread was behind.
    looks_again: Option<Instant>,
    _listing: Box<dyn Listing>,
    session_metrics: SessionMetrics,
    _count: ActorCount,
}

/// How far a session is.
enum Phase {
    /// Messages go to the layer above.
    Open(Box<dyn Application>),
    /// The session is over, but for one poll that may still come to hear of it.
    Closing(Box<Closing>),
    /// The session ends as soon as its task runs.
    Over(CloseReason),
}

/// An end that waits to be told.
struct Closing {
    reason: CloseReason,
    /// The last packet that the client gets.
    last: &'static str,
    due: Instant,
}

/// How packets come and go.
enum Link {
    /// By requests; the one that waits for packets, if there is one.
    Polling(Option<WaitingPoll>),
    /// By a socket.
    Socket(SocketHandle),
}

impl Phase {
    /// Takes a packet that came by the session's transport, unless the session is closing.
    fn take_packet(
        &mut self,
        connection: &mut Connection,
        outbox: &Outbox,
        packet: Packet<'_>,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Self::Open(application) = self else { return Ok(()) };
        take_packet(connection, application.as_mut(), outbox, packet, now)
    }

    /// Whether what the client sends is read: who asks more at once than its outbox holds answers, or talks more than
    /// conversations have taken, waits.
    fn may_read(&self, outbox: &Outbox) -> bool {
        outbox.has_room() && !matches!(self, Self::Open(application) if !application.has_room())
    }
}

impl SessionActor {
    /// Starts a session on this thread. `socket` is its transport, or none for polling; `list` enters the session in
    /// the table of sids.
    pub fn launch(
        setup: SessionParts,
        worker: &Rc<Worker>,
        socket: Option<Box<dyn Transport>>,
        list: impl FnOnce(Mailbox<Self>) -> Box<dyn Listing>,
    ) {
        let kind = if socket.is_some() { TransportKind::WebSocket } else { TransportKind::Polling };
        let generation = setup.outbox.generation();
        let ctx = Context::new();
        let listing = list(Mailbox::new(ctx.address(), setup.mailbox_max, &setup.metrics));
        let mut session = Self {
            id: setup.id,
            peer: setup.peer,
            connection: Connection::new(generation, kind, setup.periods, Instant::now()),
            phase: Phase::Open(setup.application),
            link: socket
                .map_or(Link::Polling(None), |socket| Link::Socket(worker.flusher.carry(socket, &setup.outbox))),
            probe: None,
            alarms: worker.alarms(&setup.outbox),
            outbox: setup.outbox,
            feeding: None,
            payload_bytes_max: setup.payload_bytes_max,
            encodes_once: false,
            worker: worker.clone(),
            meter: Meter::default(),
            sated_in: None,
            looks_again: None,
            _listing: listing,
            _count: ActorCount::new(ActorClass::Session, &setup.metrics),
            session_metrics: SessionMetrics::new(setup.metrics, generation, kind),
        };
        session.announce_alarms();
        let (generation, kind) = (generation.as_str(), kind.as_str());
        log::debug!("session {} of {} by {generation} opened over {kind}", session.id.0, session.peer);
        ctx.run(session);
    }

    /// Does all that can be done now.
    ///
    /// # Errors
    /// The session is over.
    fn turn(&mut self, cx: &mut TaskContext<'_>) -> Result<(), CloseReason> {
        let now = Instant::now();
        self.outbox.register(cx.waker());
        self.outbox.closed().map_or(Ok(()), Err)?;
        if let Phase::Over(reason) = self.phase {
            return Err(reason);
        }
        let mut ration = Ration::default();
        let listens = self.listens(now)?;
        if listens {
            self.read_probe(cx, &mut ration, now)?;
            self.read_link(cx, &mut ration, now)?;
        }
        self.notice_lost_poll(cx, now)?;
        // Nobody is declared silent before what has come was read.
        if listens && self.worker.is_catching_up(now) {
            self.look_again(now);
        } else if listens {
            self.handle_timeouts(now)?;
        }
        // What is queued goes out first: the layer above gives long answers piece by piece, as there is room for them.
        self.write_link(cx, now)?;
        if listens {
            self.feed(cx, &mut ration, now);
        }
        self.meter.charge(&self.worker.limits.allowance, ration.packets, ration.bytes, now);
        if ration.is_used_up() {
            self.sated_in = Some(turns::round());
            turns::rest(cx);
        }
        match &mut self.phase {
            Phase::Open(application) => application.poll(cx, now),
            Phase::Closing(_) => {}
            Phase::Over(reason) => return Err(*reason),
        }
        self.write_link(cx, now)?;
        self.announce_alarms();
        Ok(())
    }

    /// Has the deadlines looked at when the thread has caught up. The alarm that brought the session here was the last.
    fn look_again(&mut self, now: Instant) {
        if self.looks_again.is_none_or(|due| due <= now) {
            let due = now + CATCH_UP;
            self.looks_again = Some(due);
            self.alarms.arm(Alarm { period: CATCH_UP, due });
        }
    }

    /// Whether the client is listened to now: it has to wait for the next round where it has sent as much as is taken
    /// in one, and longer where it sends too much.
    ///
    /// # Errors
    /// It has done so for too long.
    fn listens(&mut self, now: Instant) -> Result<bool, CloseReason> {
        if self.sated_in == Some(turns::round()) {
            return Ok(false);
        }
        match self.meter.judge(&self.worker.limits.allowance, now) {
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

    fn handle_timeouts(&mut self, now: Instant) -> Result<(), CloseReason> {
        match &mut self.phase {
            Phase::Over(reason) => return Err(*reason),
            Phase::Closing(closing) => return if closing.due <= now { Err(closing.reason) } else { Ok(()) },
            // A client that connects to nothing is not waited for until it polls: its next poll finds no session.
            Phase::Open(application) => application.handle_timeout(now)?,
        }
        if let (Phase::Open(application), Link::Polling(_)) = (&self.phase, &self.link) {
            application.allow_kept(self.outbox.bytes())?;
        }
        let packets = self.server_packets();
        while let Some(due) = self.connection.handle_timeout(now) {
            match due {
                Due::Ping => {
                    self.outbox.push(Frame::text(packets.ping));
                }
                // With something else to say, that is said.
                Due::Noop if self.outbox.is_empty() => self.end_poll(packets.noop, now),
                Due::Noop => {}
                Due::Expired => return Err(CloseReason::PingTimeout),
                Due::UpgradeExpired => self.end_upgrade(CloseReason::TransportClose),
            }
        }
        Ok(())
    }

    fn announce_alarms(&mut self) {
        let Phase::Open(application) = &mut self.phase else { return };
        while let Some(alarm) = self.connection.poll_alarm().or_else(|| application.poll_alarm()) {
            self.alarms.arm(alarm);
        }
    }

    /// Reads the socket of an upgrade. Whatever goes wrong with it before the client's `5`, the session lives on.
    fn read_probe(&mut self, cx: &mut TaskContext<'_>, ration: &mut Ration, now: Instant) -> Result<(), CloseReason> {
        let Some(mut probe) = self.probe.take() else { return Ok(()) };
        let (connection, phase, outbox) = (&mut self.connection, &mut self.phase, &self.outbox);
        let mut probes = 0;
        let read = probe.poll_read(cx, &mut |arrival| {
            let Some(packet) = ration.take(arrival) else { return Ok(!ration.is_used_up()) };
            // Behind the client's `5`, in the same read, may come the first packets of the upgraded session.
            if connection.transport() == TransportKind::WebSocket {
                phase.take_packet(connection, outbox, packet, now)?;
                return Ok(phase.may_read(outbox) && !ration.is_used_up());
            }
            match connection.handle_probe(&packet, now) {
                Probed::Answer => probes += 1,
                Probed::Upgraded => {}
                Probed::Close => return Err(CloseReason::TransportClose),
            }
            Ok(!ration.is_used_up())
        });
        let sent = probe.poll_send(cx, &Frame::text("3probe"), probes);
        let ended = match (read, sent) {
            (Poll::Ready(reason), _) | (_, Poll::Ready(reason)) => Some(reason),
            _ => None,
        };
        if self.connection.transport() == TransportKind::WebSocket {
            self.carry(probe);
            if let Phase::Closing(closing) = &self.phase {
                return Err(closing.reason);
            }
            return ended.map_or(Ok(()), Err);
        }
        self.probe = Some(probe);
        if let Some(reason) = ended {
            self.end_upgrade(reason);
        }
        Ok(())
    }

    /// Changes the transport. A poll that waits by the older one hears that there is nothing new there; what a socket
    /// had no time to write goes by the newer one.
    fn relink(&mut self, link: Link) {
        match std::mem::replace(&mut self.link, link) {
            Link::Polling(Some(poll)) => self.answer(poll, self.server_packets().noop),
            Link::Polling(None) => {}
            Link::Socket(socket) => socket.retire(),
        }
        self.session_metrics.moved(self.connection.transport());
    }

    /// Goes on by `socket`.
    fn carry(&mut self, socket: Box<dyn Transport>) {
        self.relink(Link::Polling(None));
        self.link = Link::Socket(self.worker.flusher.carry(socket, &self.outbox));
    }

    fn end_upgrade(&mut self, reason: CloseReason) {
        self.connection.abandon_upgrade();
        if let Some(probe) = self.probe.take() {
            probe.close(reason);
        }
    }

    fn read_link(&mut self, cx: &mut TaskContext<'_>, ration: &mut Ration, now: Instant) -> Result<(), CloseReason> {
        // Who asks more at once than its outbox holds answers is not too slow: it waits.
        let Link::Socket(socket) = &mut self.link else { return Ok(()) };
        if !self.phase.may_read(&self.outbox) || ration.is_used_up() {
            return Ok(());
        }
        let (connection, phase, outbox) = (&mut self.connection, &mut self.phase, &self.outbox);
        let mut closes = false;
        let mut sink = |arrival: Inbound<'_>| {
            if let Some(packet) = ration.take(arrival) {
                closes |= matches!(packet, Packet::Close);
                phase.take_packet(connection, outbox, packet, now)?;
            }
            Ok(phase.may_read(outbox) && !ration.is_used_up())
        };
        let Poll::Ready(reason) = socket.poll_read(cx, &mut sink) else { return Ok(()) };
        if closes {
            self.bid_farewell(cx);
        }
        self.lose_socket(reason, now)
    }

    fn notice_lost_poll(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Result<(), CloseReason> {
        let Link::Polling(Some(poll)) = &mut self.link else { return Ok(()) };
        if poll.reply.poll_closed(cx).is_ready() { self.lose_poll(now) } else { Ok(()) }
    }

    /// The client has closed the session by a packet: a socket of 0.9 is told so, behind all that is queued.
    fn bid_farewell(&mut self, cx: &mut TaskContext<'_>) {
        if let (Link::Socket(socket), Some(farewell)) =
            (&mut self.link, self.connection.generation().server_packets().farewell)
        {
            self.outbox.push(Frame::text(farewell));
            let _ = socket.poll_write(cx);
        }
    }

    /// The client has dropped its poll.
    fn lose_poll(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.link = Link::Polling(None);
        let lives = self.connection.lose_poll(now);
        if lives { Ok(()) } else { Err(CloseReason::TransportError) }
    }

    /// The socket has ended.
    fn lose_socket(&mut self, reason: CloseReason, now: Instant) -> Result<(), CloseReason> {
        let is_broken = matches!(reason, CloseReason::TransportClose | CloseReason::TransportError);
        if !is_broken || !self.connection.lose_socket(now) {
            return Err(reason);
        }
        self.relink(Link::Polling(None));
        Ok(())
    }

    /// Answers the poll that waits, if there is one, by one packet.
    fn end_poll(&mut self, packet: &str, now: Instant) {
        if let Link::Polling(waiting) = &mut self.link
            && let Some(poll) = waiting.take()
        {
            self.answer(poll, packet);
            self.connection.end_poll(now);
        }
    }

    fn answer(&self, poll: WaitingPoll, packet: &str) {
        poll.answer(&self.outbox, packet);
    }

    fn server_packets(&self) -> &'static ServerPackets {
        self.connection.generation().server_packets()
    }

    fn write_link(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Result<(), CloseReason> {
        match &mut self.link {
            Link::Socket(socket) => match socket.poll_write(cx) {
                Poll::Ready(reason) => self.lose_socket(reason, now),
                Poll::Pending => Ok(()),
            },
            Link::Polling(waiting) => {
                let (last, end) = match &self.phase {
                    Phase::Closing(closing) => (Some(closing.last), Err(closing.reason)),
                    _ => (None, Ok(())),
                };
                let ready = last.is_some() || !self.outbox.is_empty();
                let Some(poll) = waiting.take_if(|_| ready) else { return Ok(()) };
                // What is taken out of the outbox for nobody would be lost.
                if poll.reply.is_closed() {
                    return self.lose_poll(now).and(end);
                }
                let body = drain(&self.outbox, self.payload_bytes_max, poll.form(&self.outbox), last);
                self.session_metrics.metrics.polling_written.count(body.len());
                if poll.reply.send(Ok(body)).is_err() {
                    return self.lose_poll(now).and(end);
                }
                self.connection.end_poll(now);
                end
            }
        }
    }

    /// Takes the payload of a POST, packet by packet: those before a bad one count. Where it asks more at once than the
    /// outbox holds answers, the rest waits until polls have made room, and its client for the answer to the POST.
    fn feed(&mut self, cx: &mut TaskContext<'_>, ration: &mut Ration, now: Instant) {
        let Some(mut feeding) = self.feeding.take() else { return };
        if let Phase::Open(application) = &self.phase
            && let Err(reason) = application.allow_kept(self.outbox.bytes())
        {
            self.phase = Phase::Over(reason);
            return;
        }
        while matches!(self.phase, Phase::Open(_)) && !feeding.payload.is_finished() {
            let has_room = self.phase.may_read(&self.outbox);
            if !has_room && let Some(reason) = feeding.then {
                self.phase = Phase::Over(reason);
                return;
            }
            if !has_room || ration.is_used_up() {
                self.feeding = Some(feeding);
                return;
            }
            let Some(packet) = feeding.payload.read() else { break };
            ration.packets += 1;
            let taken = match packet {
                Ok(packet) => self.phase.take_packet(&mut self.connection, &self.outbox, packet, now),
                Err(error) => {
                    self.phase = Phase::Over(error.into());
                    break;
                }
            };
            match taken {
                Ok(()) => {}
                Err(CloseReason::TransportClose) => match self.link {
                    Link::Polling(_) => {
                        self.say_last(self.server_packets().closed, CROSSING_POLL, CloseReason::TransportClose, now);
                    }
                    Link::Socket(_) => {
                        self.bid_farewell(cx);
                        self.phase = Phase::Over(CloseReason::TransportClose);
                    }
                },
                Err(reason @ CloseReason::Direction) => self.phase = Phase::Over(reason),
                Err(reason) => self.end(reason, now),
            }
        }
        self.encodes_once = feeding.payload.encodes_once();
        let _ = feeding.reply.send(Ok(()));
        if let (Phase::Open(_), Some(reason)) = (&self.phase, feeding.then) {
            self.phase = Phase::Over(reason);
        }
    }

    /// Ends the session, so that a client which happens to be between two polls hears of it by the next one.
    fn end(&mut self, reason: CloseReason, now: Instant) {
        match self.link {
            Link::Polling(_) => {
                let period = self.connection.periods().close_timeout;
                self.say_last(self.server_packets().close, period, reason, now);
            }
            Link::Socket(_) => self.phase = Phase::Over(reason),
        }
    }

    /// Ends a session on polling, by a last packet for the poll that waits, or for one that comes soon.
    fn say_last(&mut self, last: &'static str, period: Duration, reason: CloseReason, now: Instant) {
        let due = now + period;
        self.phase = Phase::Closing(Box::new(Closing { reason, last, due }));
        self.alarms.arm(Alarm { period, due });
    }

    /// Whether its time is over, whatever the thread had time for.
    fn is_over(&self) -> bool {
        let now = Instant::now();
        let is_heard = !self.worker.is_catching_up(now) && !self.meter.holds_back(now);
        matches!(self.phase, Phase::Open(_)) && is_heard && self.connection.is_over(now)
    }

    fn take_poll(&mut self, poll: WaitingPoll) {
        let now = Instant::now();
        match self.connection.begin_poll(poll.script, now) {
            Polled::Waits => self.link = Link::Polling(Some(poll)),
            Polled::Replaces => {
                if let Link::Polling(Some(older)) = std::mem::replace(&mut self.link, Link::Polling(Some(poll))) {
                    self.answer(older, self.server_packets().noop);
                }
            }
            Polled::Greeted => {
                self.relink(Link::Polling(None));
                self.answer(poll, GREETING);
            }
            Polled::Overlaps => {
                let _ = poll.reply.send(Err(FrontError::Overlap));
                self.phase = Phase::Over(CloseReason::Overlap);
            }
            Polled::Refused => drop(poll.reply.send(Err(FrontError::Error(RequestError::BadRequest)))),
        }
    }

    fn take_attach(&mut self, attach: Box<dyn Attach>) {
        let socket = match attach.attach(&self.worker.read_buffer) {
            Ok(socket) => socket,
            Err(error) => return log::warn!("session {} could not take a socket: {error}", self.id.0),
        };
        if !matches!(self.phase, Phase::Open(_)) {
            return socket.close(CloseReason::TransportClose);
        }
        match self.connection.attach(Instant::now()) {
            Attached::Probes => self.probe = Some(socket),
            Attached::Takes => self.carry(socket),
            Attached::Refused => socket.close(CloseReason::TransportClose),
        }
    }

    /// Tells the client, as far as it can be told, and stops.
    fn finish(&mut self, reason: CloseReason, ctx: &mut Context<Self>) {
        // Counted before anybody can hear that the session has left.
        self.session_metrics.close(reason);
        match reason {
            CloseReason::Flood => self.session_metrics.metrics.limited(Limit::Packets),
            CloseReason::WriteTimeout => self.session_metrics.metrics.limited(Limit::WriteTime),
            _ => {}
        }
        self.phase = Phase::Over(reason);
        self.outbox.close(reason);
        self.end_upgrade(reason);
        match std::mem::replace(&mut self.link, Link::Polling(None)) {
            Link::Socket(socket) => socket.close(reason),
            Link::Polling(Some(poll)) => {
                let packets = self.server_packets();
                let last = match reason {
                    CloseReason::Stop => packets.stop,
                    CloseReason::TransportClose => packets.closed,
                    _ => packets.close,
                };
                self.answer(poll, last);
            }
            Link::Polling(None) => {}
        }
        let (generation, why) = (self.connection.generation().as_str(), reason.as_str());
        let line = format_args!("session {} of {} by {generation} closed: {why}", self.id.0, self.peer);
        match reason {
            CloseReason::TransportClose | CloseReason::Stop => log::debug!("{line}"),
            _ => log_refusal(Instant::now(), line),
        }
        ctx.stop();
    }
}

impl Drop for SessionActor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("session {} of {} failed", self.id.0, self.peer);
            if let Link::Socket(socket) = std::mem::replace(&mut self.link, Link::Polling(None)) {
                socket.close(CloseReason::Panic);
            }
        }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound is the front door's.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Driver);
    }
}

impl Addressed for SessionActor {
    type Message = SessionMessage;
    const CLASS: ActorClass = ActorClass::Session;
}

impl Handler<Mail<SessionMessage>> for SessionActor {
    type Result = ();

    /// Only takes note of things: the driver, which actix polls behind every message, goes on from there. A reply that
    /// is dropped says that the session is gone.
    fn handle(&mut self, mail: Mail<SessionMessage>, _: &mut Self::Context) {
        match mail.open() {
            SessionMessage::Abort(reason) => self.phase = Phase::Over(reason),
            // Whoever posts to a session on a WebSocket, a proxy that tries again say, harms only the POST.
            SessionMessage::AbortPost(reason) if matches!(self.link, Link::Polling(_)) => match &mut self.feeding {
                // What has come before counts.
                Some(feeding) => feeding.then = Some(reason),
                None => self.phase = Phase::Over(reason),
            },
            SessionMessage::AbortPost(_) => {}
            // A request that comes too late finds no session, though the session has not noticed it yet.
            SessionMessage::Poll(_) | SessionMessage::Post { .. } | SessionMessage::Attach(_) if self.is_over() => {
                self.phase = Phase::Over(CloseReason::PingTimeout);
            }
            SessionMessage::Attach(attach) => self.take_attach(attach),
            SessionMessage::Poll(poll) if !matches!(self.phase, Phase::Over(_)) => self.take_poll(poll),
            SessionMessage::Post { body, reply } if matches!(self.phase, Phase::Open(_)) => {
                if !self.connection.takes_posts() {
                    let _ = reply.send(Err(FrontError::Error(RequestError::BadRequest)));
                } else if self.feeding.is_some() {
                    // One whose client has gone may still wait for room.
                    let _ = reply.send(Err(FrontError::Overlap));
                } else {
                    let bytes = body.len() as u64;
                    let payload = PayloadReader::new(self.connection.generation(), body).knowing(self.encodes_once);
                    self.meter.charge(&self.worker.limits.allowance, 0, bytes, Instant::now());
                    self.feeding = Some(Box::new(Feeding { payload, reply, then: None }));
                }
            }
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
        if let Err(reason) = session.turn(cx) {
            session.finish(reason, ctx);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
