//! What a session does with the events of a namespace, and the written protocol's own namespace: it knows who the
//! client is and which conversations it listens to, turns events into what is asked of the registry and of
//! conversations, and answers.

use std::collections::{HashMap, VecDeque};
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
        let (settings, answers) = (self.settings.clone(), Answers { emitter, metrics: self.settings.metrics.clone() });
        match namespace {
            0 => Box::new(MaxNamespace::new(settings, answers, auth)),
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
    metrics: Arc<Metrics>,
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
        self.metrics.refusals.get_or_create(&label).inc();
        let (session, peer) = (self.emitter.session.0, self.emitter.peer);
        let line = format_args!("session {session} of {peer}: {} refused: {}", event.as_str(), code.as_str());
        log_refusal(Instant::now(), line);
        match ack {
            Some(ack) => self.nack(ack, code),
            None => self.emit(&ServerEvent::Refused { event, code, conversation }),
        }
    }

    fn unknown(&self, ack: Option<u64>) {
        self.metrics.unknown_events.inc();
        if let Some(ack) = ack {
            let label = RefusalLabel { event: "other", code: Code::UnknownEvent.as_str() };
            self.metrics.refusals.get_or_create(&label).inc();
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
    settings: Arc<MaxSettings>,
    answers: Answers,
    /// What the client gave with its CONNECT.
    auth: Auth,
    /// The last join, whatever became of it: its token serves the same user again.
    last_join: Option<(Username, Auth)>,
    identity: Option<Identity>,
    memberships: Memberships,
    joining: Option<Joining>,
    /// What came while a join was under way, in order.
    pending: VecDeque<(ClientEvent, Option<u64>)>,
    asking: VecDeque<Asking>,
    alarm: Option<Alarm>,
    alarm_due: Option<Instant>,
}

/// What proves who a client is.
#[derive(Clone, Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: Option<Token>,
    #[serde(default)]
    scope: Option<String>,
}

/// Who the client is.
#[derive(Debug)]
struct Identity {
    /// Who it says it is.
    claim: Username,
    /// Who MAX says it is.
    username: Username,
}

/// A join under way.
#[derive(Debug)]
struct Joining {
    claim: Username,
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

/// The conversations that a session listens to, in the order in which MAX gave them.
#[derive(Debug, Default)]
struct Memberships {
    held: HashMap<ConversationId, Membership>,
    order: Vec<ConversationId>,
}

impl Memberships {
    fn new(memberships: Vec<Membership>) -> Self {
        let order = memberships.iter().map(|membership| membership.id().clone()).collect();
        Self { held: memberships.into_iter().map(|membership| (membership.id().clone(), membership)).collect(), order }
    }

    fn remove(&mut self, id: &ConversationId) -> bool {
        self.order.retain(|held| held != id);
        self.held.remove(id).is_some()
    }
}

impl MaxNamespace {
    fn new(settings: Arc<MaxSettings>, answers: Answers, auth: Option<&RawValue>) -> Self {
        // An object of another shape carries no token, nor does an empty one.
        let auth: Option<Auth> = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let auth = auth.filter(|auth| auth.token.as_ref().is_some_and(|token| !token.reveal().is_empty()));
        Self {
            settings,
            answers,
            auth: auth.unwrap_or_default(),
            last_join: None,
            identity: None,
            memberships: Memberships::default(),
            joining: None,
            pending: VecDeque::new(),
            asking: VecDeque::new(),
            alarm: None,
            alarm_due: None,
        }
    }

    fn handle(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant) {
        let busy = self.joining.is_some() || !self.pending.is_empty();
        let waits = match &event {
            ClientEvent::Join { .. } => false,
            ClientEvent::Talk(talk) => busy && !self.memberships.held.contains_key(&talk.conversation),
            ClientEvent::Ask(_) | ClientEvent::Leave(_) => busy,
        };
        if waits && self.pending.len() >= self.settings.pending_max {
            self.answers.refuse(name_of(&event), Code::Busy, subject_of(&event), ack);
        } else if waits {
            self.pending.push_back((event, ack));
        } else {
            self.take_up(event, ack, now);
        }
    }

    fn take_up(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant) {
        match event {
            ClientEvent::Join { username, token, scope } => self.join(username, Auth { token, scope }, ack, now),
            ClientEvent::Talk(talk) => self.talk(talk, ack),
            ClientEvent::Ask(id) => self.ask(id, ack),
            ClientEvent::Leave(id) => self.leave(id, ack),
        }
    }

    fn join(&mut self, claim: Username, given: Auth, ack: Option<u64>, now: Instant) {
        if let Some(older) = self.joining.take() {
            self.join_failed(&older, Code::Superseded);
            // What waited is not said in somebody else's name. In one's own it waits for the newer join, but for what
            // this one would undo.
            let same = older.claim == claim;
            for (event, ack) in std::mem::take(&mut self.pending) {
                match event {
                    event if same && !matches!(event, ClientEvent::Leave(_)) => self.pending.push_back((event, ack)),
                    event => self.take_up(event, ack, now),
                }
            }
        }
        if self.identity.as_ref().is_some_and(|identity| identity.claim != claim) {
            self.become_nobody();
        }
        let last = self.last_join.take().filter(|(user, _)| *user == claim).map(|(_, auth)| auth).unwrap_or_default();
        let auth = [given, self.auth.clone(), last].into_iter().find(|auth| auth.token.is_some()).unwrap_or_default();
        self.last_join = Some((claim.clone(), auth.clone()));
        let (reply, answer) = oneshot::channel();
        let question =
            Question { username: claim.clone(), token: auth.token, scope: auth.scope, peer: self.answers.emitter.peer };
        let emitter = &self.answers.emitter;
        let join = Join { session: emitter.session, outbox: emitter.outbox.clone(), question, reply };
        let joining = Joining { claim, ack, since: now, reply: answer };
        match self.settings.registry.try_send(RegistryMessage::Join(join)) {
            Ok(()) => self.joining = Some(joining),
            Err(_) => self.join_answered(joining, Err(Code::Busy)),
        }
    }

    fn join_answered(&mut self, joining: Joining, answer: Result<Admission, Code>) {
        match answer {
            // MAX has renamed the user since the last join: whoever has a seat under the older name has to leave it
            // first.
            Ok(admission) if self.identity.as_ref().is_some_and(|now| now.username != admission.username) => {
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
        self.identity = Some(Identity { claim: joining.claim, username });
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
        self.settings.metrics.joins.get_or_create(&ResultLabel { result }).inc();
        self.settings.metrics.join_seconds.observe(joining.since.elapsed().as_secs_f64());
    }

    fn become_nobody(&mut self) {
        self.identity = None;
        self.memberships = Memberships::default();
    }

    /// Takes up what has waited for a join that has ended, as long as there is room for the answers.
    fn go_on(&mut self, now: Instant) {
        while self.joining.is_none() && self.answers.emitter.outbox.has_room() {
            let Some((event, ack)) = self.pending.pop_front() else { break };
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
        self.settings.metrics.talks.get_or_create(&ResultLabel { result }).inc();
        match outcome {
            Ok(()) => self.answers.done(ack),
            Err(code) => self.answers.refuse(EventName::Talk, code, Some(&talk.conversation), ack),
        }
    }

    fn ask(&mut self, id: Option<ConversationId>, ack: Option<u64>) {
        let conversations = match &id {
            Some(id) => self.membership(id).map(|_| VecDeque::from([id.clone()])),
            None if self.identity.is_some() => Ok(self.memberships.order.iter().cloned().collect()),
            None => Err(Code::NotJoined),
        };
        match conversations {
            Err(code) => self.answers.refuse(EventName::Ask, code, id.as_ref(), ack),
            Ok(_) if self.asking.len() >= self.settings.pending_max => {
                self.answers.refuse(EventName::Ask, Code::Busy, id.as_ref(), ack);
            }
            Ok(conversations) => {
                self.asking.push_back(Asking { ack, conversations, current: None, failed: false });
            }
        }
    }

    fn leave(&mut self, id: Option<ConversationId>, ack: Option<u64>) {
        let left = match &id {
            Some(id) => self.membership(id).map(drop),
            None => self.identity.as_ref().map(drop).ok_or(Code::NotJoined),
        };
        if let Err(code) = left {
            return self.answers.refuse(EventName::Leave, code, id.as_ref(), ack);
        }
        match &id {
            Some(id) => drop(self.memberships.remove(id)),
            None => self.memberships = Memberships::default(),
        }
        self.tell_listening();
        self.answers.done(ack);
    }

    /// Who the client is, and its place in a conversation. An unknown conversation and somebody else's look the same.
    fn membership(&self, id: &ConversationId) -> Result<(&Username, &Membership), Code> {
        let identity = self.identity.as_ref().ok_or(Code::NotJoined)?;
        let membership = self.memberships.held.get(id).ok_or(Code::Forbidden)?;
        Ok((&identity.username, membership))
    }

    fn tell_listening(&self) {
        self.answers.emit(&ServerEvent::Listening { conversations: self.memberships.order.iter().collect() });
    }

    /// Goes on with the oldest ask.
    fn poll_asking(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Some(asking) = self.asking.front_mut() {
            let Some(id) = asking.conversations.front() else {
                match asking.ack {
                    Some(ack) if asking.failed => self.answers.nack(ack, Code::Busy),
                    ack => self.answers.done(ack),
                }
                self.asking.pop_front();
                continue;
            };
            let Some((due, current)) = &mut asking.current else {
                if !self.answers.emitter.outbox.has_room() {
                    return;
                }
                let (reply, answer) = oneshot::channel();
                let sent = self
                    .memberships
                    .held
                    .get(id)
                    .map(|membership| membership.mailbox().try_send(ConversationMessage::Ask(reply)));
                match sent {
                    // It was left, or lost, since it was asked about.
                    None => drop(asking.conversations.pop_front()),
                    Some(Ok(())) => {
                        let period = self.settings.answer_timeout;
                        asking.current = Some((now + period, answer));
                    }
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
                    if self.alarm_due.is_none_or(|alarm| alarm <= now) {
                        let period = self.settings.answer_timeout;
                        self.alarm_due = Some(now + period);
                        self.alarm = Some(Alarm { period, due: now + period });
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
        match ClientEvent::parse(name, event.values.first().copied(), self.settings.id_bytes_max) {
            Ok(event) => self.handle(event, ack, now),
            Err(code) => self.answers.refuse(name, code, None, ack),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(mut joining) = self.joining.take() {
            match Pin::new(&mut joining.reply).poll(cx) {
                Poll::Pending => self.joining = Some(joining),
                // A registry that dropped the join has failed.
                Poll::Ready(answer) => self.join_answered(joining, answer.unwrap_or(Err(Code::Busy))),
            }
        }
        self.go_on(now);
        self.poll_asking(cx, now);
    }

    fn poll_alarm(&mut self) -> Option<Alarm> {
        self.alarm.take()
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
