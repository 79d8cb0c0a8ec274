//! What a session does with the events of a namespace, and the written protocol's own namespace: it knows who the
//! client is and which conversations it listens to, turns events into what is asked of the registry and of
//! conversations, and answers.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::conversation::{ConversationMessage, Membership, People};
use super::registry::{Admission, Join, RegistryActor, RegistryMessage};
use super::socketio::{Emitter, Residents};
use crate::event::{ClientEvent, Code, ConversationId, EventName, ServerEvent, Talk, Token, Username};
use crate::logging::{escape, log_refusal};
use crate::mailbox::Mailbox;
use crate::max::Question;
use crate::metrics::{Metrics, RefusalLabel, ResultLabel};
use crate::protocol::connection::Alarm;
use crate::protocol::socketio::Arguments;

/// Who lives in a namespace of one session. Dropped, it has left.
pub trait Namespace {
    /// The client has sent an event; `ack` is the id of the answer that it wants.
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, now: Instant);

    /// The client has answered the event that asked for it with `id`.
    fn answer(&mut self, _id: u64, _answer: Arguments<'_>) {}

    /// Goes on with what is under way. Called whenever the session's task runs; `cx` wakes it.
    fn poll(&mut self, _cx: &mut Context<'_>, _now: Instant) {}

    /// The next deadline that was set since the last call; at its time, [`Self::poll`] is called.
    fn poll_alarm(&mut self) -> Option<Alarm> {
        None
    }
}

/// What the `/max` namespaces of all sessions have in common.
#[derive(Debug)]
pub struct MaxSettings {
    /// Where joins go.
    pub registry: Mailbox<RegistryActor>,
    /// Longest conversation id, timestamp or messageID.
    pub id_bytes_max: usize,
    /// Events that may wait for a join.
    pub pending_max: usize,
    /// How long a conversation may take to answer an ask.
    pub answer_timeout: Duration,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// The namespaces of maxtalk: `/`, which has no events, and that of the written protocol.
#[derive(Debug)]
pub struct MaxResidents {
    names: [Arc<str>; 2],
    settings: Arc<MaxSettings>,
}

impl MaxResidents {
    /// `namespace` is the name of the written protocol's namespace, such as `/max`.
    pub fn new(namespace: Arc<str>, settings: MaxSettings) -> Self {
        Self { names: [namespace, "/".into()], settings: Arc::new(settings) }
    }
}

impl Residents for MaxResidents {
    fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    fn connect(&self, namespace: usize, emitter: Emitter, auth: Option<&RawValue>) -> Box<dyn Namespace> {
        let answers = Answers { emitter, settings: self.settings.clone() };
        match namespace {
            0 => Box::new(MaxNamespace::new(answers, auth)),
            _ => Box::new(Eventless(answers)),
        }
    }
}

/// A namespace without events.
struct Eventless(Answers);

impl Namespace for Eventless {
    fn event(&mut self, _: Arguments<'_>, ack: Option<u64>, _: Instant) {
        self.0.unknown(ack);
    }
}

/// How a client is told what became of what it asked.
#[derive(Debug)]
struct Answers {
    emitter: Emitter,
    settings: Arc<MaxSettings>,
}

/// An event with no attachments.
const TEXT_ONLY: &[&[u8]] = &[];

impl Answers {
    fn emit(&self, event: &ServerEvent<'_>) {
        self.emitter.emit(event.name(), &[&event.json()], TEXT_ONLY, None);
    }

    fn done(&self, ack: Option<u64>) {
        if let Some(ack) = ack {
            self.emitter.ack(ack, &[r#"{"ok":true}"#], TEXT_ONLY);
        }
    }

    /// The one answer to an event that was not done: its ack if it wants one, else `refused`.
    fn refuse(&self, event: EventName, code: Code, conversation: Option<&ConversationId>, ack: Option<u64>) {
        let label = RefusalLabel { event: event.as_str(), code: code.as_str() };
        self.settings.metrics.refusals.get_or_create(&label).inc();
        let (session, peer) = (self.emitter.session.0, self.emitter.peer);
        let line = format_args!("session {session} of {peer}: {} refused: {}", event.as_str(), code.as_str());
        log_refusal(Instant::now(), line);
        match ack {
            Some(ack) => self.nack(ack, code),
            None => self.emit(&ServerEvent::Refused { event, code, conversation }),
        }
    }

    fn unknown(&self, ack: Option<u64>) {
        let metrics = &self.settings.metrics;
        metrics.unknown_events.inc();
        if let Some(ack) = ack {
            let label = RefusalLabel { event: "other", code: Code::UnknownEvent.as_str() };
            metrics.refusals.get_or_create(&label).inc();
            self.nack(ack, Code::UnknownEvent);
        }
    }

    fn nack(&self, ack: u64, code: Code) {
        // Neither column of the table has anything that JSON would escape; a test holds it to that.
        let answer = format!(r#"{{"ok":false,"code":"{}","reason":"{}"}}"#, code.as_str(), code.reason());
        self.emitter.ack(ack, &[&answer], TEXT_ONLY);
    }
}

/// The written protocol, for one client.
struct MaxNamespace {
    answers: Answers,
    /// What the client gave with its CONNECT, or else with its last join, whatever became of it.
    auth: Auth,
    /// Whether `auth` is of the CONNECT: it then serves whomever the client says it is, and not that one user only.
    auth_serves_all: bool,
    /// Who the client said it is, by its last join.
    claim: Option<Username>,
    /// Who MAX says that this is, as long as it says so.
    username: Option<Username>,
    memberships: Memberships,
    /// Hardly ever is there any, and every client has a namespace.
    work: Option<Box<Work>>,
}

/// What proves who a client is.
#[derive(Clone, Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: Option<Token>,
    #[serde(default)]
    scope: Option<Box<str>>,
}

/// What a client has asked for and not yet got.
#[derive(Debug, Default)]
struct Work {
    joining: Option<Joining>,
    /// What came while a join was under way, in order.
    pending: VecDeque<(ClientEvent, Option<u64>)>,
    asking: VecDeque<Asking>,
    alarm: Option<Alarm>,
    alarm_due: Option<Instant>,
}

impl Work {
    /// An alarm that is not yet due is work too: a flood of asks would set one each.
    fn is_done(&self, now: Instant) -> bool {
        let waits = self.joining.is_some() || !self.pending.is_empty() || !self.asking.is_empty();
        !waits && self.alarm_due.is_none_or(|due| due <= now)
    }
}

/// A join under way.
#[derive(Debug)]
struct Joining {
    ack: Option<u64>,
    since: Instant,
    reply: oneshot::Receiver<Result<Admission, Code>>,
}

/// An ask under way: its conversations are asked one after the other, so that long answers wait for a slow reader here
/// and not in its outbox.
#[derive(Debug)]
struct Asking {
    ack: Option<u64>,
    conversations: VecDeque<ConversationId>,
    current: Option<(Instant, oneshot::Receiver<People>)>,
    /// One of them did not answer.
    failed: bool,
}

/// The conversations that a session listens to, each with its place in the order in which MAX gave them; sorted by id,
/// because there may be one or thousands.
#[derive(Debug, Default)]
struct Memberships(Vec<(Membership, u32)>);

impl Memberships {
    fn new(memberships: Vec<Membership>) -> Self {
        let mut held: Vec<_> = memberships.into_iter().zip(0..).collect();
        held.sort_unstable_by(|(one, _), (other, _)| one.id().cmp(other.id()));
        Self(held)
    }

    fn find(&self, id: &ConversationId) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| held.id().cmp(id))
    }

    fn get(&self, id: &ConversationId) -> Option<&Membership> {
        self.find(id).ok().map(|at| &self.0[at].0)
    }

    fn remove(&mut self, id: &ConversationId) {
        if let Ok(at) = self.find(id) {
            self.0.remove(at);
        }
    }

    /// Which they are, in MAX's order.
    fn ids(&self) -> Vec<&ConversationId> {
        let mut held: Vec<_> = self.0.iter().collect();
        held.sort_unstable_by_key(|(_, place)| *place);
        held.into_iter().map(|(held, _)| held.id()).collect()
    }
}

impl MaxNamespace {
    fn new(answers: Answers, auth: Option<&RawValue>) -> Self {
        // An object of another shape carries no token, nor does an empty one.
        let auth: Option<Auth> = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let auth = auth.filter(|auth| auth.token.as_ref().is_some_and(|token| !token.reveal().is_empty()));
        Self {
            answers,
            auth_serves_all: auth.is_some(),
            auth: auth.unwrap_or_default(),
            claim: None,
            username: None,
            memberships: Memberships::default(),
            work: None,
        }
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    fn handle(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant) {
        let pending = self.work.as_ref().map_or(0, |work| work.pending.len());
        let busy = pending > 0 || self.work.as_ref().is_some_and(|work| work.joining.is_some());
        let waits = match &event {
            ClientEvent::Join { .. } => false,
            ClientEvent::Talk(talk) => busy && self.memberships.find(&talk.conversation).is_err(),
            ClientEvent::Ask(_) | ClientEvent::Leave(_) => busy,
        };
        if waits && pending >= self.answers.settings.pending_max {
            self.answers.refuse(name_of(&event), Code::Busy, subject_of(&event), ack);
        } else if waits {
            self.work().pending.push_back((event, ack));
        } else {
            self.take_up(event, ack, now);
        }
    }

    fn take_up(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant) {
        match event {
            ClientEvent::Join { username, token, scope } => {
                self.join(username, Auth { token, scope: scope.map(Into::into) }, ack, now);
            }
            ClientEvent::Talk(talk) => self.talk(talk, ack),
            ClientEvent::Ask(id) => self.ask(id, ack),
            ClientEvent::Leave(id) => self.leave(id, ack),
        }
    }

    fn join(&mut self, claim: Username, given: Auth, ack: Option<u64>, now: Instant) {
        let same = self.claim.as_ref() == Some(&claim);
        if let Some(older) = self.work().joining.take() {
            self.join_failed(&older, Code::Superseded);
            // What waited is not said in somebody else's name. In one's own it waits for the newer join, but for what
            // this one would undo.
            for (event, ack) in std::mem::take(&mut self.work().pending) {
                match event {
                    event if same && !matches!(event, ClientEvent::Leave(_)) => {
                        self.work().pending.push_back((event, ack));
                    }
                    event => self.take_up(event, ack, now),
                }
            }
        }
        if !same {
            self.become_nobody();
        }
        let auth = match given {
            Auth { token: Some(_), .. } => given,
            _ if same || self.auth_serves_all => self.auth.clone(),
            _ => Auth::default(),
        };
        if !self.auth_serves_all {
            self.auth = auth.clone();
        }
        self.claim = Some(claim.clone());
        let (reply, answer) = oneshot::channel();
        let emitter = &self.answers.emitter;
        let scope = auth.scope.map(Into::into);
        let question = Question { username: claim, token: auth.token, scope, peer: emitter.peer };
        let join = Join { session: emitter.session, outbox: emitter.outbox.clone(), question, reply };
        let joining = Joining { ack, since: now, reply: answer };
        match self.answers.settings.registry.try_send(RegistryMessage::Join(join)) {
            Ok(()) => self.work().joining = Some(joining),
            Err(_) => self.join_answered(joining, Err(Code::Busy)),
        }
    }

    fn join_answered(&mut self, joining: Joining, answer: Result<Admission, Code>) {
        match answer {
            // MAX has renamed the user since the last join: whoever has a seat under the older name has to leave it
            // first.
            Ok(admission) if self.username.as_ref().is_some_and(|now| *now != admission.username) => {
                self.become_nobody();
                self.join_failed(&joining, Code::Busy);
            }
            Ok(admission) => self.joined(joining, admission),
            Err(code) => self.join_failed(&joining, code),
        }
    }

    fn joined(&mut self, joining: Joining, admission: Admission) {
        let Admission { username, memberships } = admission;
        log::debug!("session {}: {} joined", self.answers.emitter.session.0, escape(username.as_str()));
        self.count_join(&joining, "ok");
        self.answers.emitter.seat.joined();
        self.username = Some(username);
        // The older memberships go after the newer ones are in force, so that nobody sees a refresh.
        self.memberships = Memberships::new(memberships);
        self.tell_listening();
        self.answers.done(joining.ack);
    }

    fn join_failed(&mut self, joining: &Joining, code: Code) {
        self.count_join(joining, code.as_str());
        if matches!(code, Code::Unauthorized | Code::UnknownUser) {
            self.become_nobody();
        }
        self.answers.refuse(EventName::Join, code, None, joining.ack);
    }

    fn count_join(&self, joining: &Joining, result: &'static str) {
        let metrics = &self.answers.settings.metrics;
        metrics.joins.get_or_create(&ResultLabel { result }).inc();
        metrics.join_seconds.observe(joining.since.elapsed().as_secs_f64());
    }

    fn become_nobody(&mut self) {
        self.username = None;
        self.memberships = Memberships::default();
    }

    /// Takes up what has waited for a join that has ended, as long as there is room for the answers.
    fn go_on(&mut self, now: Instant) {
        while let Some(work) = self.work.as_mut().filter(|work| work.joining.is_none())
            && self.answers.emitter.outbox.has_room()
        {
            let Some((event, ack)) = work.pending.pop_front() else { break };
            self.take_up(event, ack, now);
        }
    }

    fn talk(&mut self, talk: Talk, ack: Option<u64>) {
        let outcome = match self.membership(&talk.conversation) {
            Err(code) => Err(code),
            Ok((username, membership)) => {
                log::debug!(
                    "session {}: {} talks in {}",
                    self.answers.emitter.session.0,
                    escape(username.as_str()),
                    escape(talk.conversation.as_str())
                );
                let (session, username) = (self.answers.emitter.session, username.clone());
                let message = ConversationMessage::Talk { session, username, talk: talk.clone() };
                membership.mailbox().try_send(message).map_err(|_| Code::Busy)
            }
        };
        let result = outcome.map_or_else(Code::as_str, |()| "ok");
        self.answers.settings.metrics.talks.get_or_create(&ResultLabel { result }).inc();
        match outcome {
            Ok(()) => self.answers.done(ack),
            Err(code) => self.answers.refuse(EventName::Talk, code, Some(&talk.conversation), ack),
        }
    }

    fn ask(&mut self, id: Option<ConversationId>, ack: Option<u64>) {
        let conversations = match &id {
            Some(id) => self.membership(id).map(|_| VecDeque::from([id.clone()])),
            None if self.username.is_some() => Ok(self.memberships.ids().into_iter().cloned().collect()),
            None => Err(Code::NotJoined),
        };
        match conversations {
            Err(code) => self.answers.refuse(EventName::Ask, code, id.as_ref(), ack),
            Ok(_) if self.work().asking.len() >= self.answers.settings.pending_max => {
                self.answers.refuse(EventName::Ask, Code::Busy, id.as_ref(), ack);
            }
            Ok(conversations) => {
                self.work().asking.push_back(Asking { ack, conversations, current: None, failed: false });
            }
        }
    }

    fn leave(&mut self, id: Option<ConversationId>, ack: Option<u64>) {
        let left = match &id {
            Some(id) => self.membership(id).map(drop),
            None => self.username.as_ref().map(drop).ok_or(Code::NotJoined),
        };
        if let Err(code) = left {
            return self.answers.refuse(EventName::Leave, code, id.as_ref(), ack);
        }
        match &id {
            Some(id) => self.memberships.remove(id),
            None => self.memberships = Memberships::default(),
        }
        self.tell_listening();
        self.answers.done(ack);
    }

    /// Who the client is, and its place in a conversation. An unknown conversation and somebody else's look the same.
    fn membership(&self, id: &ConversationId) -> Result<(&Username, &Membership), Code> {
        let username = self.username.as_ref().ok_or(Code::NotJoined)?;
        let membership = self.memberships.get(id).ok_or(Code::Forbidden)?;
        Ok((username, membership))
    }

    fn tell_listening(&self) {
        self.answers.emit(&ServerEvent::Listening { conversations: self.memberships.ids() });
    }

    /// Goes on with the oldest ask.
    fn poll_asking(&mut self, cx: &mut Context<'_>, now: Instant) {
        let period = self.answers.settings.answer_timeout;
        let Some(work) = &mut self.work else { return };
        while let Some(asking) = work.asking.front_mut() {
            let Some(id) = asking.conversations.front() else {
                match asking.ack {
                    Some(ack) if asking.failed => self.answers.nack(ack, Code::Busy),
                    ack => self.answers.done(ack),
                }
                work.asking.pop_front();
                continue;
            };
            let Some((due, current)) = &mut asking.current else {
                if !self.answers.emitter.outbox.has_room() {
                    return;
                }
                let (reply, answer) = oneshot::channel();
                let asked = self.memberships.get(id).map(Membership::mailbox);
                match asked.map(|mailbox| mailbox.try_send(ConversationMessage::Ask(reply))) {
                    // It was left, or lost, since it was asked about.
                    None => drop(asking.conversations.pop_front()),
                    Some(Ok(())) => asking.current = Some((now + period, answer)),
                    Some(Err(_)) => asking.fail(&self.answers),
                }
                continue;
            };
            match Pin::new(current).poll(cx) {
                Poll::Ready(Ok(People { inroom, people })) => {
                    let event = ServerEvent::People { conversation: id, inroom, people: people.as_deref() };
                    self.answers.emit(&event);
                    asking.current = None;
                    asking.conversations.pop_front();
                }
                Poll::Pending if *due > now => {
                    // One alarm at a time: a flood of asks is to cost no more.
                    if work.alarm_due.is_none_or(|alarm| alarm <= now) {
                        work.alarm_due = Some(now + period);
                        work.alarm = Some(Alarm { period, due: now + period });
                    }
                    return;
                }
                Poll::Ready(Err(_)) | Poll::Pending => asking.fail(&self.answers),
            }
        }
    }
}

impl Asking {
    /// The conversation that is being asked does not answer: the ask goes on, and ends with `busy`.
    fn fail(&mut self, answers: &Answers) {
        self.current = None;
        let id = self.conversations.pop_front();
        match self.ack {
            Some(_) => self.failed = true,
            None => answers.refuse(EventName::Ask, Code::Busy, id.as_ref(), None),
        }
    }
}

impl Namespace for MaxNamespace {
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, now: Instant) {
        let Some(name) = event.name.as_deref().and_then(EventName::parse) else {
            return self.answers.unknown(ack);
        };
        match ClientEvent::parse(name, event.values.first().copied(), self.answers.settings.id_bytes_max) {
            Ok(event) => self.handle(event, ack, now),
            Err(code) => self.answers.refuse(name, code, None, ack),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(joining) = self.work.as_mut().and_then(|work| work.joining.as_mut())
            && let Poll::Ready(answer) = Pin::new(&mut joining.reply).poll(cx)
            && let Some(joining) = self.work().joining.take()
        {
            // A registry that dropped the join has failed.
            self.join_answered(joining, answer.unwrap_or(Err(Code::Busy)));
        }
        self.go_on(now);
        self.poll_asking(cx, now);
        self.work.take_if(|work| work.is_done(now));
    }

    fn poll_alarm(&mut self) -> Option<Alarm> {
        self.work.as_mut()?.alarm.take()
    }
}

fn name_of(event: &ClientEvent) -> EventName {
    match event {
        ClientEvent::Join { .. } => EventName::Join,
        ClientEvent::Talk(_) => EventName::Talk,
        ClientEvent::Ask(_) => EventName::Ask,
        ClientEvent::Leave(_) => EventName::Leave,
    }
}

fn subject_of(event: &ClientEvent) -> Option<&ConversationId> {
    match event {
        ClientEvent::Join { .. } => None,
        ClientEvent::Talk(talk) => Some(&talk.conversation),
        ClientEvent::Ask(id) | ClientEvent::Leave(id) => id.as_ref(),
    }
}
