//! The Socket.IO layer of a session: which namespaces the client is in, and who lives there.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::application::Application;
use super::event_rates::{EventRates, RatesMax, Verdict};
use crate::delivery::outbox::Outbox;
use crate::event::{CloseReason, Code, SessionId};
use crate::ids::Ids;
use crate::limits::clients::SessionSlot;
use crate::metrics::{Limit, Metrics};
use crate::protocol::connection::Alarm;
use crate::protocol::frame::Frame;
use crate::protocol::socketio::{Arguments, Event, SocketIo};
use crate::protocol::{Generation, legacy, packet};

/// Who lives in a namespace of one session. Dropped, it has left.
pub trait Namespace {
    /// The client has sent an event; `ack` is the id of the answer that it wants.
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, now: Instant);

    /// The client has sent an event that is not to be done, and is told why.
    fn refuse(&mut self, _event: Arguments<'_>, _ack: Option<u64>, _code: Code) {}

    /// The client has answered the event that asked for it with `id`.
    fn answer(&mut self, _id: u64, _answer: Arguments<'_>) {}

    /// Whether the client may be read any further.
    fn has_room(&self) -> bool {
        true
    }

    /// Goes on with what is under way. Called whenever the session's task runs; `cx` wakes it.
    fn poll(&mut self, _cx: &mut Context<'_>, _now: Instant) {}

    /// The next deadline that was set since the last call; at its time, [`Self::poll`] is called.
    fn poll_alarm(&mut self) -> Option<Alarm> {
        None
    }
}

/// Who lives in the namespaces of a server.
pub trait Namespaces: Send + Sync {
    /// The names of the namespaces, which begin with `/`.
    fn names(&self) -> &[Arc<str>];

    /// A client has connected to the namespace with this place in the list; it was told so. `auth` is what it gave.
    fn connect(&self, namespace: usize, emitter: Emitter, auth: Option<&RawValue>) -> Box<dyn Namespace>;
}

const NO_ATTACHMENTS: &[&[u8]] = &[];

/// How a resident speaks to its client. Everything goes through the session's outbox, so a false return means that the
/// session is about to end, and there is nothing to be done about it.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// The session.
    pub session: SessionId,
    /// Where its client is.
    pub peer: IpAddr,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The way to the client.
    pub outbox: Arc<Outbox>,
    /// Its place among the sessions.
    pub slot: Arc<SessionSlot>,
}

impl Emitter {
    /// Sends an event with one argument, which is JSON.
    pub fn emit(&self, name: &str, argument: &str) -> bool {
        self.emit_with(name, &[argument], NO_ATTACHMENTS, None)
    }

    /// Answers the event that came with the id `ack` by one argument, which is JSON.
    pub fn ack(&self, ack: u64, argument: &str) -> bool {
        self.ack_with(ack, &[argument], NO_ATTACHMENTS)
    }

    /// Sends an event. `arguments` are JSON values; placeholders among them stand for `attachments`. `ack` is the id
    /// of the answer that the client is asked for. Only the conformance server has attachments and asks for answers.
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
    lobby: Lobby,
    /// When a client that is in no namespace is no longer waited for, and whether that was announced.
    connect_by: Option<(Alarm, bool)>,
}

/// What all sessions of a server have in common here.
pub struct SocketIoSettings {
    /// Who lives in the namespaces.
    pub namespaces: Arc<dyn Namespaces>,
    /// The sids of namespaces.
    pub ids: Ids,
    /// How fast events may come.
    pub rates: RatesMax,
    /// Largest message that a client may send, attachments together.
    pub payload_bytes_max: usize,
    /// How long a client may stay in no namespace.
    pub connect_timeout: Duration,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// Who lives in the namespaces of a session, and how a client gets there.
struct Lobby {
    settings: Arc<SocketIoSettings>,
    allowance: EventRates,
    present: Box<[Option<Box<dyn Namespace>>]>,
    session: SessionId,
    peer: IpAddr,
    outbox: Arc<Outbox>,
    slot: Arc<SessionSlot>,
}

impl SocketIoSession {
    /// A session that has its time to enter a namespace, or that is in one without being asked.
    pub fn new(
        settings: Arc<SocketIoSettings>,
        session: SessionId,
        peer: IpAddr,
        outbox: Arc<Outbox>,
        slot: Arc<SessionSlot>,
    ) -> Self {
        let names = settings.namespaces.names();
        let machine = SocketIo::new(outbox.generation(), names, settings.payload_bytes_max);
        let present = names.iter().map(|_| None).collect();
        let connect_timeout = settings.connect_timeout;
        let mut lobby = Lobby { settings, allowance: EventRates::default(), present, session, peer, outbox, slot };
        let connect_by = match machine.connected_unasked() {
            Some(namespace) => {
                lobby.welcome(namespace);
                None
            }
            None => Some((Alarm { period: connect_timeout, due: Instant::now() + connect_timeout }, false)),
        };
        Self { machine, lobby, connect_by }
    }
}

impl SocketIoSession {
    /// Whether what has come of an event that is not whole may be kept.
    fn allow_partial(&self) -> Result<(), CloseReason> {
        self.allow_kept(self.machine.kept_bytes())
    }
}

impl Lobby {
    /// Takes the client into the namespace that it has not asked for. Engine.IO 3 says so by a packet of its own; in
    /// 0.9 it is what `1::` means, which is the transport's first word.
    fn welcome(&mut self, namespace: usize) {
        let generation = self.outbox.generation();
        if generation == Generation::Eio3 {
            self.outbox.push(Frame::text(&packet::connect(
                generation,
                &self.settings.namespaces.names()[namespace],
                "",
            )));
        }
        self.resident(namespace, None);
    }

    /// Who lives in the namespace, from now on if nobody has until now.
    fn resident(&mut self, namespace: usize, auth: Option<&RawValue>) -> &mut dyn Namespace {
        self.present[namespace]
            .get_or_insert_with(|| {
                let emitter = Emitter {
                    session: self.session,
                    peer: self.peer,
                    namespace: self.settings.namespaces.names()[namespace].clone(),
                    outbox: self.outbox.clone(),
                    slot: self.slot.clone(),
                };
                self.settings.namespaces.connect(namespace, emitter, auth)
            })
            .as_mut()
    }

    /// Does what a message of so many bytes means. True where the client is in a namespace because of it.
    fn admit(&mut self, event: Event<'_>, bytes: usize, now: Instant) -> Result<bool, CloseReason> {
        let generation = self.outbox.generation();
        match event {
            Event::Nothing => {}
            Event::Connected { namespace, auth } => {
                let sid = match generation {
                    Generation::Eio4 => self.settings.ids.draw(),
                    Generation::Eio3 | Generation::Sio09 => String::new(),
                };
                self.outbox.push(Frame::text(&packet::connect(
                    generation,
                    &self.settings.namespaces.names()[namespace],
                    &sid,
                )));
                self.resident(namespace, auth);
                return Ok(true);
            }
            Event::UnknownNamespace { name } => {
                self.outbox.push(Frame::text(&packet::connect_error(generation, name, "Invalid namespace")));
            }
            Event::Disconnected { namespace } => self.present[namespace] = None,
            Event::Unnamed { namespace, receipt } => self.acknowledge(namespace, receipt),
            Event::Event { namespace, receipt, ack, event } => {
                if let Some(receipt) = receipt {
                    self.acknowledge(namespace, receipt);
                }
                match self.allowance.take(&self.settings.rates, bytes, now) {
                    Verdict::Within => self.resident(namespace, None).event(event, ack, now),
                    verdict => {
                        self.settings.metrics.limited(Limit::Events);
                        match verdict {
                            Verdict::Exhausted => return Err(CloseReason::RateLimited),
                            Verdict::Told => self.resident(namespace, None).refuse(event, ack, Code::RateLimited),
                            Verdict::Within | Verdict::Dropped => {}
                        }
                    }
                }
            }
            Event::Ack { namespace, id, answer } => {
                if let Some(resident) = &mut self.present[namespace] {
                    resident.answer(id, answer);
                }
            }
        }
        Ok(false)
    }

    /// 0.9: a packet has arrived, and that is all that its sender wants to know.
    fn acknowledge(&self, namespace: usize, receipt: u64) {
        self.outbox.push(Frame::text(&legacy::receipt(&self.settings.namespaces.names()[namespace], receipt)));
    }
}

impl Application for SocketIoSession {
    fn text(&mut self, text: &str, now: Instant) -> Result<(), CloseReason> {
        let event = self.machine.handle_text(text, self.lobby.settings.namespaces.names())?;
        if self.lobby.admit(event, text.len(), now)? {
            self.connect_by = None;
        }
        self.allow_partial()
    }

    fn binary(&mut self, data: &[u8], now: Instant) -> Result<(), CloseReason> {
        let event = self.machine.handle_binary(data, self.lobby.settings.namespaces.names())?;
        self.lobby.admit(event, data.len(), now)?;
        self.machine.release();
        self.allow_partial()
    }

    fn allow_kept(&self, bytes: usize) -> Result<(), CloseReason> {
        if self.lobby.slot.may_keep(bytes) {
            return Ok(());
        }
        self.lobby.settings.metrics.limited(Limit::Memory);
        Err(CloseReason::Memory)
    }

    fn has_room(&self) -> bool {
        self.lobby.present.iter().flatten().all(|resident| resident.has_room())
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) {
        for resident in self.lobby.present.iter_mut().flatten() {
            resident.poll(cx, now);
        }
    }

    fn poll_alarm(&mut self) -> Option<Alarm> {
        if let Some((alarm, announced)) = &mut self.connect_by
            && !std::mem::replace(announced, true)
        {
            return Some(*alarm);
        }
        self.lobby.present.iter_mut().flatten().find_map(|resident| resident.poll_alarm())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self.connect_by {
            Some((alarm, _)) if alarm.due <= now => Err(CloseReason::ConnectTimeout),
            _ => Ok(()),
        }
    }
}
