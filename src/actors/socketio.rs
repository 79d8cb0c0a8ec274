//! The Socket.IO layer of a session: the namespaces that its client is connected to. `comeback` recovers what a client
//! had before its connection was lost, and `journey` does so between two nodes.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::application::{Application, Identity, Moving};
use super::event_rates::{EventRates, RatesMax, Verdict};
use super::participant::Belongings;
use super::recovery::{Claimant, Recovery};
use crate::delivery::offset::Offset;
use crate::delivery::outbox::Outbox;
use crate::event::{CloseReason, Code, ConversationId, SessionId};
use crate::ids::Ids;
use crate::limits::clients::SessionSlot;
use crate::metrics::{Limit, Metrics};
use crate::protocol::connection::Alarm;
use crate::protocol::frame::Frame;
use crate::protocol::socketio::{Arguments, Decoded, SocketIo};
use crate::protocol::{Generation, legacy, packet};

mod comeback;
mod journey;
mod returns;

use comeback::Returning;
pub use returns::Comeback;
use returns::Returns;

/// A namespace to which one client is connected. It is dropped when the client disconnects.
pub trait Namespace: Send {
    /// Handles an event of the client; `ack` is the id of the answer that the client wants.
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, now: Instant);

    /// Refuses an event of the client with `code`.
    fn refuse(&mut self, _event: Arguments<'_>, _ack: Option<u64>, _code: Code) {}

    /// Handles the client's answer to the event that was sent with the id `id`.
    fn answer(&mut self, _id: u64, _answer: Arguments<'_>) {}

    /// Returns whether more packets of the client may be read.
    fn has_room(&self) -> bool {
        true
    }

    /// Continues the work under way. Called whenever the session's task runs, which `cx` wakes.
    fn poll(&mut self, _cx: &mut Context<'_>, _now: Instant) {}

    /// Brings what the namespace knows of the client's user up to date, although the client has not asked for it.
    fn refresh(&mut self, _now: Instant) {}

    /// Returns a deadline that was set and not yet returned. [`Self::poll`] has to be called when it is due.
    fn poll_alarm(&mut self) -> Option<Alarm> {
        None
    }

    /// Returns whether there is anything to keep for a client that may come back.
    fn is_worth_keeping(&self) -> bool {
        false
    }

    /// Goes on by another connection of the client.
    fn move_to(&mut self, _emitter: Emitter) {}

    /// Returns what goes to another node with the client. `None` if there is nothing, or while it changes.
    fn belongings(&self) -> Option<Belongings> {
        None
    }

    /// Returns whether what another node has had is not yet entered here. If it is not [worth
    /// keeping](Self::is_worth_keeping) afterwards, that has failed.
    fn is_returning(&self) -> bool {
        false
    }

    /// Has the conversations of the client handle everything that was sent to them until now. The receiver closes when
    /// they have done so, and all events of it are in the outbox.
    fn flush(&mut self) -> oneshot::Receiver<Infallible> {
        oneshot::channel().1
    }

    /// Takes note that the client goes on here. It is told that news of the `missed` conversations is lost, or with
    /// `has_outage` of any, and who is in those of the `recounts`.
    fn returned(&mut self, _missed: &[ConversationId], _has_outage: bool, _recounts: Vec<ConversationId>) {}
}

/// The namespaces of a server.
pub trait Namespaces: Send + Sync {
    /// Returns the names of the namespaces, which begin with `/`. The first one is that of conversations, by whose ids
    /// other servers know the clients.
    fn names(&self) -> &[Arc<str>];

    /// Connects a client to the namespace with this index in [`Self::names`]; the client has been told so. `auth` is
    /// the payload of its CONNECT.
    fn connect(&self, namespace: usize, emitter: Emitter, auth: Option<&RawValue>) -> Box<dyn Namespace>;

    /// Returns whether a client that comes back gets the events of this namespace that it has missed.
    fn recovers(&self, _namespace: usize) -> bool {
        false
    }

    /// Connects a client to a namespace in which it has had these belongings on another node. It has not been told so.
    /// `None` if that is not possible now.
    fn return_to(
        &self,
        _namespace: usize,
        _emitter: Emitter,
        _auth: Option<&RawValue>,
        _belongings: Belongings,
    ) -> Option<Box<dyn Namespace>> {
        None
    }
}

const NO_ATTACHMENTS: &[&[u8]] = &[];

/// Sends the packets of a namespace to its client, through the session's outbox. The methods return false if the
/// session is about to end; the caller need not do anything about that.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// The session.
    pub session: SessionId,
    /// The address of the client.
    pub peer: IpAddr,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The queue towards the client.
    pub outbox: Arc<Outbox>,
    /// The session's slot among all sessions.
    pub slot: Arc<SessionSlot>,
    /// Whether events get an offset as a further argument.
    pub numbered: bool,
}

impl Emitter {
    /// Sends an event with one argument in JSON.
    pub fn emit(&self, name: &str, argument: &str) -> bool {
        if self.numbered {
            return self.emit_with(name, &[argument, &Offset::draw().json()], NO_ATTACHMENTS, None);
        }
        self.emit_with(name, &[argument], NO_ATTACHMENTS, None)
    }

    /// Answers the event that came with the id `ack`. The answer is one argument in JSON.
    pub fn ack(&self, ack: u64, argument: &str) -> bool {
        self.ack_with(ack, &[argument], NO_ATTACHMENTS)
    }

    /// Sends an event. `arguments` are JSON values, with placeholders for the `attachments`. `ack` is the id of the
    /// answer that the client is asked for. Only the conformance server sends attachments and asks for answers.
    pub fn emit_with(
        &self,
        name: &str,
        arguments: &[&str],
        attachments: &[impl AsRef<[u8]>],
        ack: Option<u64>,
    ) -> bool {
        let generation = self.outbox.generation();
        let text = match attachments.len() {
            0 => packet::event(generation, &self.namespace, ack, name, arguments),
            count => packet::binary_event(generation, &self.namespace, count, ack, name, arguments),
        };
        self.push(&text, attachments)
    }

    /// Answers the event that came with the id `ack`, as [`Self::emit_with`] sends one.
    pub fn ack_with(&self, ack: u64, arguments: &[&str], attachments: &[impl AsRef<[u8]>]) -> bool {
        let generation = self.outbox.generation();
        let text = match attachments.len() {
            0 => packet::ack(generation, &self.namespace, ack, arguments),
            count => packet::binary_ack(generation, &self.namespace, count, ack, arguments),
        };
        self.push(&text, attachments)
    }

    fn push(&self, text: &str, attachments: &[impl AsRef<[u8]>]) -> bool {
        let text = Frame::text(text);
        if attachments.is_empty() {
            return self.outbox.push_answer(text);
        }
        let binary = attachments.iter().map(|data| self.outbox.binary(data.as_ref()));
        self.outbox.push_all(std::iter::once(text).chain(binary).collect())
    }
}

/// The Socket.IO layer of one session.
pub struct SocketIoSession {
    machine: SocketIo,
    connected: ConnectedNamespaces,
    /// The deadline for a client to connect to its first namespace, and whether [`Application::poll_alarm`] has
    /// returned it. `None` once the client has connected.
    connect_by: Option<(Alarm, bool)>,
}

/// The settings of the Socket.IO layer of all sessions of a server.
pub struct SocketIoSettings {
    /// The namespaces.
    pub namespaces: Arc<dyn Namespaces>,
    /// Draws the sids of namespaces.
    pub ids: Ids,
    /// The rates of events that a session may reach.
    pub rates: RatesMax,
    /// The largest message that a client may send, with all its attachments.
    pub payload_bytes_max: usize,
    /// How long a client may take to connect to its first namespace.
    pub connect_timeout: Duration,
    /// The sessions whose clients may come back. `None` if none may.
    pub recovery: Option<Arc<Recovery<Comeback>>>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// The namespaces that the client of a session is connected to.
struct ConnectedNamespaces {
    settings: Arc<SocketIoSettings>,
    rates_used: EventRates,
    /// In the order of [`Namespaces::names`].
    namespaces: Box<[Option<Box<dyn Namespace>>]>,
    session: SessionId,
    peer: IpAddr,
    outbox: Arc<Outbox>,
    slot: Arc<SessionSlot>,
    /// `None` if the client cannot come back.
    returns: Option<Box<Returns>>,
    /// `None` if the client does not wait for its former session.
    returning: Option<Box<Returning>>,
    /// What the former session has handed over, until the session takes it.
    taken_over: Option<Box<Identity>>,
}

impl SocketIoSession {
    /// Creates the layer of a new session. Depending on its generation, the client is connected to a namespace at once,
    /// or has some time to connect to one.
    pub fn new(
        settings: Arc<SocketIoSettings>,
        session: SessionId,
        peer: IpAddr,
        outbox: Arc<Outbox>,
        slot: Arc<SessionSlot>,
    ) -> Self {
        let names = settings.namespaces.names();
        let machine = SocketIo::new(outbox.generation(), names, settings.payload_bytes_max);
        let namespaces = names.iter().map(|_| None).collect();
        let connect_timeout = settings.connect_timeout;
        let rates_used = EventRates::default();
        let (returns, returning, taken_over) = (None, None, None);
        let mut connected = ConnectedNamespaces {
            settings,
            rates_used,
            namespaces,
            session,
            peer,
            outbox,
            slot,
            returns,
            returning,
            taken_over,
        };
        let connect_by = match machine.connected_unasked() {
            Some(namespace) => {
                connected.connect_unasked(namespace);
                None
            }
            None => Some((Alarm { period: connect_timeout, due: Instant::now() + connect_timeout }, false)),
        };
        Self { machine, connected, connect_by }
    }

    /// Checks that the session may keep the bytes of an event that has not arrived completely.
    fn allow_partial(&self) -> Result<(), CloseReason> {
        self.allow_kept(self.machine.kept_bytes())
    }
}

impl ConnectedNamespaces {
    /// Connects the client to a namespace that it has not asked for. In Engine.IO 3 a packet says so; in 0.9 that is
    /// the meaning of `1::`, the first packet of every transport.
    fn connect_unasked(&mut self, namespace: usize) {
        let generation = self.outbox.generation();
        if generation == Generation::Eio3 {
            self.outbox.push(Frame::text(&packet::connect(
                generation,
                &self.settings.namespaces.names()[namespace],
                "",
            )));
        }
        self.namespace(namespace, None);
    }

    /// Returns the namespace, after connecting the client to it if it was not connected yet.
    fn namespace(&mut self, namespace: usize, auth: Option<&RawValue>) -> &mut dyn Namespace {
        let connected = match self.namespaces[namespace].take() {
            Some(connected) => connected,
            None => self.settings.namespaces.connect(namespace, self.emitter(namespace), auth),
        };
        self.namespaces[namespace].insert(connected).as_mut()
    }

    /// Handles an event that came in a message of `bytes` bytes. Returns whether it connected the client to a
    /// namespace.
    fn handle(&mut self, event: Decoded<'_>, bytes: usize, now: Instant) -> Result<bool, CloseReason> {
        let generation = self.outbox.generation();
        match event {
            Decoded::Nothing => {}
            Decoded::Connected { namespace, auth } => {
                self.grant(namespace, auth, now);
                return Ok(true);
            }
            Decoded::UnknownNamespace { name } => {
                self.outbox.push(Frame::text(&packet::connect_error(generation, name, "Invalid namespace")));
            }
            Decoded::Disconnected { namespace } => {
                self.namespaces[namespace] = None;
                self.left(namespace);
            }
            Decoded::Unnamed { namespace, receipt } => self.acknowledge(namespace, receipt),
            Decoded::Event { namespace, receipt, ack, event } => {
                if let Some(receipt) = receipt {
                    self.acknowledge(namespace, receipt);
                }
                match self.rates_used.take(&self.settings.rates, bytes, now) {
                    Verdict::Within => self.namespace(namespace, None).event(event, ack, now),
                    verdict => {
                        self.settings.metrics.limited(Limit::Events);
                        match verdict {
                            Verdict::Exhausted => return Err(CloseReason::RateLimited),
                            Verdict::Told => self.namespace(namespace, None).refuse(event, ack, Code::RateLimited),
                            Verdict::Within | Verdict::Dropped => {}
                        }
                    }
                }
            }
            Decoded::Ack { namespace, id, answer } => {
                if let Some(connected) = &mut self.namespaces[namespace] {
                    connected.answer(id, answer);
                }
            }
        }
        Ok(false)
    }

    /// Answers a 0.9 packet whose sender only wants to know that it has arrived.
    fn acknowledge(&self, namespace: usize, receipt: u64) {
        self.outbox.push(Frame::text(&legacy::receipt(&self.settings.namespaces.names()[namespace], receipt)));
    }
}

impl Application for SocketIoSession {
    fn text(&mut self, text: &str, now: Instant) -> Result<(), CloseReason> {
        let event = self.machine.handle_text(text, self.connected.settings.namespaces.names())?;
        if self.connected.handle(event, text.len(), now)? {
            self.connect_by = None;
        }
        self.allow_partial()
    }

    fn binary(&mut self, data: &[u8], now: Instant) -> Result<(), CloseReason> {
        let event = self.machine.handle_binary(data, self.connected.settings.namespaces.names())?;
        self.connected.handle(event, data.len(), now)?;
        self.machine.release();
        self.allow_partial()
    }

    fn allow_kept(&self, bytes: usize) -> Result<(), CloseReason> {
        if self.connected.slot.may_keep(bytes) {
            return Ok(());
        }
        self.connected.settings.metrics.limited(Limit::Memory);
        Err(CloseReason::Memory)
    }

    fn has_room(&self) -> bool {
        let namespaces = &self.connected.namespaces;
        self.connected.returning.is_none() && namespaces.iter().flatten().all(|namespace| namespace.has_room())
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.connected.poll_returning(cx, now);
        for namespace in self.connected.namespaces.iter_mut().flatten() {
            namespace.poll(cx, now);
        }
    }

    fn refresh(&mut self, now: Instant) {
        for namespace in self.connected.namespaces.iter_mut().flatten() {
            namespace.refresh(now);
        }
    }

    fn poll_alarm(&mut self) -> Option<Alarm> {
        if let Some((alarm, announced)) = &mut self.connect_by
            && !std::mem::replace(announced, true)
        {
            return Some(*alarm);
        }
        if let Some(alarm) = self.connected.returning.as_mut().and_then(|returning| returning.poll_alarm()) {
            return Some(alarm);
        }
        self.connected.namespaces.iter_mut().flatten().find_map(|namespace| namespace.poll_alarm())
    }

    fn keep(&mut self) -> Option<Duration> {
        self.connected.keep()
    }

    fn claimant(&self) -> Claimant {
        self.connected.claimant()
    }

    fn answer_elsewhere(&mut self, cx: &mut Context<'_>) -> Moving {
        self.connected.answer_elsewhere(cx)
    }

    fn hand_over(&mut self, session: Box<Identity>) -> Result<(), Box<Identity>> {
        self.connected.hand_over(session)
    }

    fn take_over(&mut self) -> Option<Box<Identity>> {
        self.connected.taken_over.take()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self.connect_by {
            Some((alarm, _)) if alarm.due <= now => Err(CloseReason::ConnectTimeout),
            _ => Ok(()),
        }
    }
}
