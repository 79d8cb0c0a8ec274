//! The namespaces of maxtalk: `/`, which has no events, and `/max`, the namespace of the written protocol. The I/O side
//! of `/max` is here: it parses the events of a client for the [`Participant`], which decides on them, and carries the
//! participant's requests to the registry and to conversations, and its answers to the client.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::conversation::{self, ConversationMessage, Membership, People};
use super::departures;
use super::participant::{Auth, Belongings, Call, Input, Joined, Participant, Port, Rules};
use super::registry::{self, Admission, Join, RegistryActor, RegistryMessage};
use super::seats::Seat;
use super::socketio::{Emitter, Namespace, Namespaces};
use super::talks::Talks;
use super::users::User;
use crate::directory::Question;
use crate::event::{ClientEvent, Code, ConversationId, EventName, ServerEvent, Talk};
use crate::limits::live::LiveLimit;
use crate::logging::{escape, log_refusal};
use crate::mailbox::Mailbox;
use crate::metrics::{Metrics, OkOrCode, OrOther, RefusalLabel, ResultLabel};
use crate::protocol::connection::Alarm;
use crate::protocol::socketio::Arguments;

/// The settings of the `/max` namespaces of all sessions.
#[derive(Debug)]
pub struct MaxSettings {
    /// The registry, which takes the joins.
    pub registry: Mailbox<RegistryActor>,
    /// The longest conversation id, timestamp or messageID, in bytes.
    pub id_bytes_max: usize,
    /// Events that may wait for a join, and asks that may be under way.
    pub pending_max: Arc<LiveLimit>,
    /// A session with this many talks waiting in conversations is not read until some of them are handled.
    pub talks_max: usize,
    /// How long a conversation may take to answer an ask.
    pub answer_timeout: Duration,
    /// How long a denial by MAX is doubted if MAX has accepted the user before.
    pub doubt: Duration,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// The namespaces of maxtalk.
#[derive(Debug)]
pub struct MaxNamespaces {
    /// The written protocol's namespace, then `/`.
    names: [Arc<str>; 2],
    settings: Arc<MaxSettings>,
}

impl MaxNamespaces {
    /// Creates both namespaces. `namespace` is the configured name of the namespace of the written protocol, which this
    /// file calls `/max`.
    pub fn new(namespace: Arc<str>, settings: MaxSettings) -> Self {
        Self { names: [namespace, "/".into()], settings: Arc::new(settings) }
    }
}

impl Namespaces for MaxNamespaces {
    fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    fn connect(&self, namespace: usize, emitter: Emitter, auth: Option<&RawValue>) -> Box<dyn Namespace> {
        let answers = Answers { emitter, settings: self.settings.clone() };
        match namespace {
            0 => Box::new(MaxNamespace::new(answers, auth)),
            _ => Box::new(Eventless { answers, max: self.names[0].clone() }),
        }
    }

    fn recovers(&self, namespace: usize) -> bool {
        namespace == 0
    }

    fn return_to(
        &self,
        _: usize,
        emitter: Emitter,
        auth: Option<&RawValue>,
        belongings: Belongings,
    ) -> Option<Box<dyn Namespace>> {
        let mut namespace = MaxNamespace::new(Answers { emitter, settings: self.settings.clone() }, auth);
        namespace.participant.come_back(belongings, &mut namespace.port).ok()?;
        Some(Box::new(namespace))
    }
}

/// A namespace without events. A client that sends an event of the written protocol here is told to connect to `/max`.
struct Eventless {
    answers: Answers,
    /// The name of the written protocol's namespace.
    max: Arc<str>,
}

impl Namespace for Eventless {
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, _: Instant) {
        let Some(name) = event.name.as_deref().and_then(EventName::parse) else {
            return self.answers.unknown(ack);
        };
        let (session, max) = (self.answers.emitter.session.0, &self.max);
        log::debug!("session {session}: {} outside the namespace {max}", name.as_str());
        self.answers.settings.metrics.unknown_events.inc();
        let reason = format!("there is no such event here: connect to the namespace {max}");
        self.answers.refuse_because(name, Code::UnknownEvent, &reason, None, ack);
    }

    fn refuse(&mut self, event: Arguments<'_>, ack: Option<u64>, code: Code) {
        self.answers.refuse_any(&event, ack, code);
    }

    fn move_to(&mut self, emitter: Emitter) {
        self.answers.emitter = emitter;
    }
}

/// The answers to one client: acks, events and refusals.
#[derive(Debug)]
struct Answers {
    emitter: Emitter,
    settings: Arc<MaxSettings>,
}

impl Answers {
    fn emit(&self, event: &ServerEvent<'_>) {
        self.emitter.emit(event.name().as_str(), &event.json());
    }

    fn done(&self, ack: Option<u64>) {
        if let Some(ack) = ack {
            self.emitter.ack(ack, r#"{"ok":true}"#);
        }
    }

    /// Answers an event that was not carried out: by its ack if the client wants one, otherwise by `refused`.
    fn refuse(&self, event: EventName, code: Code, conversation: Option<&ConversationId>, ack: Option<u64>) {
        self.refuse_because(event, code, code.reason(), conversation, ack);
    }

    fn refuse_because(
        &self,
        event: EventName,
        code: Code,
        reason: &str,
        conversation: Option<&ConversationId>,
        ack: Option<u64>,
    ) {
        self.count_refusal(Some(event), code);
        let (session, peer) = (self.emitter.session.0, self.emitter.peer);
        let line = format_args!("session {session} of {peer}: {} refused: {}", event.as_str(), code.as_str());
        log_refusal(Instant::now(), line);
        match ack {
            Some(ack) => self.nack(ack, code, reason),
            None => self.emit(&ServerEvent::Refused { event, code, reason, conversation }),
        }
    }

    /// Refuses any event. An event that the protocol does not know is answered only if it wants an ack.
    fn refuse_any(&self, event: &Arguments<'_>, ack: Option<u64>, code: Code) {
        match (event.name.as_deref().and_then(EventName::parse), ack) {
            (Some(name), ack) => self.refuse(name, code, None, ack),
            (None, Some(ack)) => self.refuse_other(ack, code),
            (None, None) => {}
        }
    }

    /// Refuses an event that the protocol does not know.
    fn unknown(&self, ack: Option<u64>) {
        self.settings.metrics.unknown_events.inc();
        if let Some(ack) = ack {
            self.refuse_other(ack, Code::UnknownEvent);
        }
    }

    fn refuse_other(&self, ack: u64, code: Code) {
        self.count_refusal(None, code);
        self.nack(ack, code, code.reason());
    }

    fn count_refusal(&self, event: Option<EventName>, code: Code) {
        self.settings.metrics.refusals.get_or_create(&RefusalLabel { event: OrOther(event), code }).inc();
    }

    fn nack(&self, ack: u64, code: Code, reason: &str) {
        let reason = serde_json::Value::from(reason);
        let answer = format!(r#"{{"ok":false,"code":"{}","reason":{reason}}}"#, code.as_str());
        self.emitter.ack(ack, &answer);
    }
}

/// The `/max` namespace of one client.
struct MaxNamespace {
    participant: Participant<Membership>,
    port: MaxPort,
}

/// The [`Port`] of a participant to the actors.
struct MaxPort {
    answers: Answers,
    /// Boxed, because a session hardly ever awaits anything.
    awaited: Option<Box<Awaited>>,
    /// Made for the first talk: most clients only listen.
    talks: Option<Arc<Talks>>,
}

/// The awaited answers of other actors.
#[derive(Default)]
struct Awaited {
    call: Option<AwaitedCall>,
    /// Closed when the session has left all conversations that it was to depart from.
    departed: Option<oneshot::Receiver<Infallible>>,
    people: Option<oneshot::Receiver<People>>,
}

/// A call to the registry that is not over.
struct AwaitedCall {
    /// `None` if the call was given up.
    answer: Option<oneshot::Receiver<Result<registry::Joined, Code>>>,
    /// Closed when nothing of the call is left at the registry.
    end: oneshot::Receiver<Infallible>,
    /// Closed when the session has left the conversations of an answer that had come before the call was given up, and
    /// was dropped with it. `None` if there is nothing to leave.
    undone: Option<oneshot::Receiver<Infallible>>,
}

impl AwaitedCall {
    fn poll(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Input<Membership>> {
        let is_over = poll_closed(Some(&mut self.end), cx) && poll_closed(self.undone.as_mut(), cx);
        match &mut self.answer {
            _ if !is_over => Poll::Pending,
            None => Poll::Ready(Input::GivenUp),
            // The answer to the client is long, so it waits here until the outbox has room for it.
            Some(_) if !has_room => Poll::Pending,
            // A registry that drops the call without an answer has failed.
            Some(answer) => Poll::Ready(Input::Answered(
                answer
                    .try_recv()
                    .unwrap_or(Err(Code::Busy))
                    .map(|registry::Joined { user, memberships }| Joined { user, seats: memberships.into_vec() }),
            )),
        }
    }
}

/// Returns whether the sender was dropped, or there is no channel. May be called again after it returned true.
fn poll_closed(receiver: Option<&mut oneshot::Receiver<Infallible>>, cx: &mut Context<'_>) -> bool {
    receiver.is_none_or(|receiver| receiver.is_terminated() || Pin::new(receiver).poll(cx).is_ready())
}

impl Awaited {
    fn poll(&mut self, cx: &mut Context<'_>, has_room: bool) -> Option<Input<Membership>> {
        if self.departed.is_some() && poll_closed(self.departed.as_mut(), cx) {
            self.departed = None;
            return Some(Input::Departed);
        }
        if let Some(call) = &mut self.call
            && let Poll::Ready(input) = call.poll(cx, has_room)
        {
            self.call = None;
            return Some(input);
        }
        if let Some(people) = self.people.as_mut().filter(|_| has_room)
            && let Poll::Ready(people) = Pin::new(people).poll(cx)
        {
            self.people = None;
            return Some(Input::People(people.ok()));
        }
        None
    }

    fn is_empty(&self) -> bool {
        self.call.is_none() && self.departed.is_none() && self.people.is_none()
    }
}

impl MaxPort {
    fn awaited(&mut self) -> &mut Awaited {
        self.awaited.get_or_insert_default()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Input<Membership>> {
        let has_room = self.has_room();
        let input = self.awaited.as_mut()?.poll(cx, has_room);
        self.awaited.take_if(|awaited| awaited.is_empty());
        input
    }
}

impl Port for MaxPort {
    type Seat = Membership;

    fn rules(&self) -> Rules {
        let MaxSettings { answer_timeout, doubt, .. } = *self.answers.settings;
        let pending_max = self.answers.settings.pending_max.get();
        // Many sessions begin to doubt in the same moment. They do not all ask MAX again in the same moment.
        let later = doubt / 64 * (self.answers.emitter.session.0 % 8) as u32;
        Rules { pending_max, answer_timeout, doubt: doubt + later }
    }

    fn has_room(&self) -> bool {
        self.answers.emitter.outbox.has_room()
    }

    fn may_talk(&self) -> bool {
        self.talks.as_ref().is_none_or(|talks| talks.has_room())
    }

    fn call(&mut self, call: Call) -> Result<(), Code> {
        let Call { enters, username, auth, user, moved } = call;
        let ((reply, answer), (under_way, end)) = (oneshot::channel(), oneshot::channel());
        let emitter = &self.answers.emitter;
        let (scope, peer) = (auth.scope.map(Into::into), emitter.peer);
        let admission = match moved {
            Some(conversations) => Admission::Moved(username, conversations),
            None => Admission::Ask(Question { username, token: auth.token, scope, peer }),
        };
        let (session, outbox) = (emitter.session, emitter.outbox.clone());
        let join = Join { session, outbox, admission, enters, user, reply, under_way: Arc::new(under_way) };
        self.answers.settings.registry.try_send(RegistryMessage::Join(join)).map_err(|_| Code::Busy)?;
        self.awaited().call = Some(AwaitedCall { answer: Some(answer), end, undone: None });
        Ok(())
    }

    fn give_up(&mut self) {
        let session = self.answers.emitter.session;
        if let Some(call) = &mut self.awaited().call {
            call.answer = None;
            call.undone = departures::all_out(session);
        }
    }

    fn talk(&mut self, membership: &Membership, user: &User, talk: &Talk) -> Result<(), Code> {
        let emitter = &self.answers.emitter;
        let (name, conversation) = (user.name().as_str(), talk.conversation.as_str());
        log::debug!("session {}: {} talks in {}", emitter.session.0, escape(name), escape(conversation));
        let talks = || Talks::new(self.answers.settings.talks_max, emitter.outbox.clone());
        let ticket = Some(self.talks.get_or_insert_with(talks).ticket());
        let (session, username, talk) = (emitter.session, user.name().clone(), talk.clone());
        let message = ConversationMessage::Talk { session, username, talk, ticket };
        membership.mailbox().try_send(message).map_err(|_| Code::Busy)
    }

    fn ask(&mut self, membership: &Membership) -> Result<(), Code> {
        let (reply, people) = oneshot::channel();
        membership.mailbox().try_send(ConversationMessage::Ask(reply)).map_err(|_| Code::Busy)?;
        self.awaited().people = Some(people);
        Ok(())
    }

    fn depart(&mut self, memberships: Vec<Membership>) -> bool {
        departures::depart(memberships);
        let Some(out) = departures::all_out(self.answers.emitter.session) else { return true };
        self.awaited().departed = Some(out);
        false
    }

    fn tell(&mut self, event: &ServerEvent<'_>) {
        self.answers.emit(event);
    }

    fn done(&mut self, ack: Option<u64>) {
        self.answers.done(ack);
    }

    fn refuse(&mut self, event: EventName, code: Code, conversation: Option<&ConversationId>, ack: Option<u64>) {
        self.answers.refuse(event, code, conversation, ack);
    }

    fn join_ended(&mut self, since: Instant, user: Option<&User>, result: Result<(), Code>) {
        let Answers { emitter, settings } = &self.answers;
        if let Some(user) = user {
            emitter.slot.joined();
            log::debug!("session {}: {} joined", emitter.session.0, escape(user.name().as_str()));
        }
        settings.metrics.joins.get_or_create(&ResultLabel { result: OkOrCode(result) }).inc();
        settings.metrics.join_seconds.observe_time(since.elapsed());
    }

    fn talk_ended(&mut self, result: Result<(), Code>) {
        self.answers.settings.metrics.talks.get_or_create(&ResultLabel { result: OkOrCode(result) }).inc();
    }
}

impl Seat for Membership {
    fn id(&self) -> &ConversationId {
        Self::id(self)
    }
}

impl MaxNamespace {
    fn new(answers: Answers, auth: Option<&RawValue>) -> Self {
        // An `auth` of another shape carries no token.
        let auth: Option<Auth> = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let mut namespace =
            Self { participant: Participant::new(auth), port: MaxPort { answers, awaited: None, talks: None } };
        // The seats that this client had before it disconnected, perhaps as another user, may still be on their way
        // out.
        if let Some(out) = departures::all_out(namespace.port.answers.emitter.session) {
            namespace.port.awaited().departed = Some(out);
            namespace.participant.wait_for_departure();
        }
        namespace
    }
}

impl Namespace for MaxNamespace {
    fn event(&mut self, event: Arguments<'_>, ack: Option<u64>, now: Instant) {
        let answers = &self.port.answers;
        let Some(name) = event.name.as_deref().and_then(EventName::parse) else { return answers.unknown(ack) };
        match ClientEvent::parse(name, event.values.first().copied(), answers.settings.id_bytes_max) {
            Ok(event) => self.participant.event(event, ack, now, &mut self.port),
            Err(code) => answers.refuse(name, code, None, ack),
        }
    }

    fn refuse(&mut self, event: Arguments<'_>, ack: Option<u64>, code: Code) {
        self.port.answers.refuse_any(&event, ack, code);
    }

    fn has_room(&self) -> bool {
        self.port.may_talk()
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            self.participant.poll(now, &mut self.port);
            let Some(input) = self.port.poll(cx) else { return };
            self.participant.take(input, now, &mut self.port);
        }
    }

    fn refresh(&mut self, now: Instant) {
        self.participant.refresh(now, &mut self.port);
    }

    fn poll_alarm(&mut self) -> Option<Alarm> {
        self.participant.poll_alarm()
    }

    fn is_worth_keeping(&self) -> bool {
        self.participant.has_user()
    }

    fn move_to(&mut self, emitter: Emitter) {
        self.port.answers.emitter = emitter;
    }

    fn belongings(&self) -> Option<Belongings> {
        self.participant.belongings()
    }

    fn is_returning(&self) -> bool {
        self.participant.is_returning()
    }

    fn flush(&mut self) -> oneshot::Receiver<Infallible> {
        let (flush, flushed) = oneshot::channel();
        let flush = Arc::new(flush);
        for membership in self.participant.seats() {
            membership.mailbox().send_always(ConversationMessage::Flush(flush.clone()));
        }
        flushed
    }

    fn returned(&mut self, missed: &[ConversationId], has_outage: bool, recounts: Vec<ConversationId>) {
        let Answers { emitter, settings } = &self.port.answers;
        // The end of an outage that goes on here covers it.
        if has_outage && !emitter.outbox.is_in_outage() {
            self.port.answers.emit(&ServerEvent::Missed { conversations: None, ongoing: false });
        } else if !missed.is_empty() {
            let conversations = Some(missed.iter().collect());
            self.port.answers.emit(&ServerEvent::Missed { conversations, ongoing: false });
        }
        for id in recounts {
            emitter.outbox.owe(&conversation::presence(id, Arc::new(settings.registry.clone())));
        }
        emitter.slot.joined();
    }
}

impl Drop for MaxNamespace {
    fn drop(&mut self) {
        departures::depart(self.participant.take_seats());
    }
}
