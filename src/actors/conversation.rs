//! The actor of one conversation. It serialises the membership changes and broadcasts of its conversation, and pushes
//! each event, encoded once per generation, into the outbox of everybody who is there at that moment.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, ActorFuture, AsyncContext, Context, Handler, SpawnHandle};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::members::{Change, Members};
use super::roster::Tenure;
use super::talks::Ticket;
use crate::delivery::outbox::Outbox;
use crate::delivery::ready::{self, Audience};
use crate::event::{CloseReason, ConversationId, ServerEvent, SessionId, Talk, Username};
use crate::mailbox::{ActorCount, Addressed, Mail, Mailbox};
use crate::metrics::{ActorClass, DeliveryPath, EventLabel, Metrics};
use crate::protocol::frame::Broadcast;
use crate::turns::{self, Rest};

/// A fan-out lets its worker go after this many pushes (about 0.1 ms of work), and goes on when others had their turn.
const FANOUT_SLICE: usize = 1024;

/// What a conversation of more members says waits behind what smaller ones do: theirs is written in less time than
/// anybody notices.
const FEW: usize = 128;

/// Everything that a conversation can be told.
#[derive(Debug)]
pub enum ConversationMessage {
    /// A session comes in.
    Enter(Enter),
    /// A session lets go of one hold of its seat.
    Leave(SessionId),
    /// A member has news.
    Talk {
        /// The session that talks; it is not told.
        session: SessionId,
        /// Its user.
        username: Username,
        /// What it said.
        talk: Talk,
        /// Dropped when it is said.
        ticket: Option<Ticket>,
    },
    /// Who is here?
    Ask(oneshot::Sender<People>),
    /// Fail, to see what becomes of the members.
    #[cfg(test)]
    Panic,
}

/// A session that comes into a conversation.
#[derive(Debug)]
pub struct Enter {
    /// The session.
    pub session: SessionId,
    /// Its user.
    pub username: Username,
    /// The way to its client.
    pub outbox: Arc<Outbox>,
    /// To be told when the session is in.
    pub pending_entry: PendingEntry,
}

/// The answer to an ask.
#[derive(Debug)]
pub struct People {
    /// Users, whatever the number of their sessions.
    pub inroom: usize,
    /// Who, sorted; none above the presence limit.
    pub people: Option<Vec<Username>>,
}

/// What all conversations of a server have in common.
#[derive(Debug)]
pub struct ConversationSettings {
    /// The namespace of their events.
    pub namespace: Arc<str>,
    /// ActorCount is not announced among more users than these; 0 is no limit.
    pub presence_members_max: usize,
    /// Broadcasts in a row before the worker has to be let go.
    pub burst_max: usize,
    /// How long a conversation outlives its last member.
    pub linger: Duration,
    /// The bound of its mailbox.
    pub mailbox_max: usize,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// Takes the wish of an empty conversation to retire, which is not granted where somebody is on the way.
pub type Retire = dyn Fn(ConversationId, Tenure) + Send + Sync;

/// A session's place in a conversation: the way to talk into it, and, when dropped, the departure. So a session that
/// ends in whatever way, a panic included, leaves no ghost.
#[derive(Debug)]
pub struct Membership {
    id: ConversationId,
    session: SessionId,
    mailbox: Mailbox<ConversationActor>,
}

impl Membership {
    /// Stands for an entry that has been sent.
    pub fn new(id: ConversationId, session: SessionId, mailbox: Mailbox<ConversationActor>) -> Self {
        Self { id, session, mailbox }
    }

    /// Which conversation.
    pub fn id(&self) -> &ConversationId {
        &self.id
    }

    /// Whose it is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The front door of the conversation.
    pub fn mailbox(&self) -> &Mailbox<ConversationActor> {
        &self.mailbox
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.mailbox.send_always(ConversationMessage::Leave(self.session));
    }
}

/// Tells a join that all of its conversations have taken it, or that one never will.
#[derive(Debug)]
pub struct Entries {
    missing: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Entries {
    /// For `count` conversations; `done` hears when all were entered, and is dropped as soon as one has failed.
    pub fn new(count: usize, done: oneshot::Sender<()>) -> Arc<Self> {
        let entries = Arc::new(Self { missing: AtomicUsize::new(count), done: Mutex::new(Some(done)) });
        if count == 0 {
            entries.complete();
        }
        entries
    }

    /// One of them, to go with its entry.
    pub fn one_more(self: &Arc<Self>) -> PendingEntry {
        PendingEntry(Some(self.clone()))
    }

    fn complete(&self) {
        if let Some(done) = self.done.lock().take() {
            let _ = done.send(());
        }
    }
}

/// One entry under way. Dropped on the way, because the conversation has died, it fails the whole join at once.
#[derive(Debug)]
pub struct PendingEntry(Option<Arc<Entries>>);

impl PendingEntry {
    fn arrived(mut self) {
        if let Some(entries) = self.0.take()
            && entries.missing.fetch_sub(1, Ordering::AcqRel) == 1
        {
            entries.complete();
        }
    }
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        if let Some(entries) = self.0.take() {
            entries.done.lock().take();
        }
    }
}

/// One conversation.
pub struct ConversationActor {
    id: ConversationId,
    tenure: Tenure,
    members: Members<Arc<Outbox>>,
    settings: Arc<ConversationSettings>,
    retire: Arc<Retire>,
    turns_in_a_row: usize,
    retirement: Option<SpawnHandle>,
    _count: ActorCount,
}

impl ConversationActor {
    /// A conversation with nobody in it.
    pub fn new(id: ConversationId, tenure: Tenure, settings: Arc<ConversationSettings>, retire: Arc<Retire>) -> Self {
        settings.metrics.conversations.inc();
        let presence = ActorCount::new(ActorClass::Conversation, &settings.metrics);
        Self {
            id,
            tenure,
            members: Members::default(),
            settings,
            retire,
            turns_in_a_row: 0,
            retirement: None,
            _count: presence,
        }
    }

    fn enter(&mut self, enter: Enter, ctx: &mut Context<Self>) {
        self.tenure.saw_entry();
        if let Some(retirement) = self.retirement.take() {
            ctx.cancel_future(retirement);
        }
        let Enter { session, username, outbox, pending_entry } = enter;
        if let Change::Joined(username) = self.members.enter(session, &username, outbox)
            && self.announces(self.members.users().len())
        {
            let event = ServerEvent::Joined { conversation: &self.id, username: &username };
            let fan_out = self.fan_out(&event, Some(session));
            self.broadcast(fan_out, ctx);
        }
        pending_entry.arrived();
    }

    fn leave(&mut self, session: SessionId, ctx: &mut Context<Self>) {
        if let Change::Left(username) = self.members.leave(session)
            && self.announces(self.members.users().len() + 1)
            && !self.members.is_empty()
        {
            let event = ServerEvent::Left { conversation: &self.id, username: &username };
            let fan_out = self.fan_out(&event, None);
            self.broadcast(fan_out, ctx);
        }
        if self.members.is_empty() {
            self.linger(ctx);
        }
    }

    fn talk(&mut self, session: SessionId, username: &Username, talk: &Talk, ctx: &mut Context<Self>) {
        let fan_out = self.fan_out(&ServerEvent::Update { username, talk }, Some(session));
        self.broadcast(fan_out, ctx);
    }

    fn people(&self) -> People {
        let inroom = self.members.users().len();
        let people = self.announces(inroom).then(|| self.members.users().cloned().collect());
        People { inroom, people }
    }

    /// Whether presence is announced among `users` users: a storm of n joins costs n² events.
    fn announces(&self, users: usize) -> bool {
        self.settings.presence_members_max == 0 || users <= self.settings.presence_members_max
    }

    /// An event on its way to everybody here, `except` one session.
    fn fan_out(&self, event: &ServerEvent<'_>, except: Option<SessionId>) -> FanOut {
        let name = event.name();
        let broadcast = Broadcast::new(self.settings.namespace.clone(), name.as_str(), event.json());
        let label = EventLabel { event: name, path: DeliveryPath::Local };
        FanOut { broadcast, label, except, next: 0, rested: false }
    }

    /// Sends an event to its recipients. The slices that are not sent at once are sent before the next message is
    /// handled, so that the order of events is the same for all.
    fn broadcast(&mut self, mut fan_out: FanOut, ctx: &mut Context<Self>) {
        let recipients = self.members.seats().len() - usize::from(fan_out.except.is_some());
        self.settings.metrics.fanout_members.observe(recipients as f64);
        if !fan_out.advance(self) {
            ctx.wait(fan_out);
        }
    }

    /// Lets the worker go after so many messages of whatever kind: one poll of an actor drains its whole mailbox, and
    /// would fill every outbox before any transport on this thread could write.
    fn took_a_turn(&mut self, ctx: &mut Context<Self>) {
        self.turns_in_a_row += 1;
        if self.turns_in_a_row >= self.settings.burst_max {
            self.turns_in_a_row = 0;
            ctx.wait(Rest::default());
        }
    }

    /// Asks to retire, unless somebody comes in the meantime.
    fn linger(&mut self, ctx: &mut Context<Self>) {
        if let Some(earlier) = self.retirement.take() {
            ctx.cancel_future(earlier);
        }
        let retirement = ctx.run_later(self.settings.linger, |conversation, _| {
            // actix runs what was cancelled in the very turn in which it is due.
            if !conversation.members.is_empty() {
                return;
            }
            conversation.retirement = None;
            (conversation.retire)(conversation.id.clone(), conversation.tenure);
        });
        self.retirement = Some(retirement);
    }
}

impl Drop for ConversationActor {
    fn drop(&mut self) {
        self.settings.metrics.conversations.dec();
        // Only a panic ends a conversation that has members. Nobody could tell them of anything any more: their
        // connections end, and their clients come back and join a new actor.
        for seat in self.members.seats() {
            seat.handle.close(CloseReason::ConversationLost);
        }
        if std::thread::panicking() {
            log::error!("conversation {:?} failed; its {} sessions are closed", self.id, self.members.seats().len());
        }
    }
}

impl Actor for ConversationActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound is the front door's.
        ctx.set_mailbox_capacity(0);
        // The entry that it was spawned for may never come.
        self.linger(ctx);
    }
}

impl Addressed for ConversationActor {
    type Message = ConversationMessage;
    const CLASS: ActorClass = ActorClass::Conversation;
}

impl Handler<Mail<ConversationMessage>> for ConversationActor {
    type Result = ();

    fn handle(&mut self, mail: Mail<ConversationMessage>, ctx: &mut Self::Context) {
        match mail.open() {
            ConversationMessage::Enter(enter) => self.enter(enter, ctx),
            ConversationMessage::Leave(session) => self.leave(session, ctx),
            ConversationMessage::Talk { session, username, talk, ticket } => {
                self.talk(session, &username, &talk, ctx);
                drop(ticket);
            }
            ConversationMessage::Ask(reply) => drop(reply.send(self.people())),
            #[cfg(test)]
            ConversationMessage::Panic => panic!("as it was told"),
        }
        self.took_a_turn(ctx);
    }
}

/// A broadcast under way.
struct FanOut {
    broadcast: Broadcast,
    label: EventLabel,
    except: Option<SessionId>,
    next: usize,
    /// Whether others had their turn since the handler did the first slice.
    rested: bool,
}

impl FanOut {
    /// Pushes to one slice of the members; true when it was the last.
    fn advance(&mut self, conversation: &ConversationActor) -> bool {
        let seats = conversation.members.seats();
        let end = seats.len().min(self.next + FANOUT_SLICE);
        let mut delivered = 0;
        let batching = ready::batch(if seats.len() > FEW { Audience::Many } else { Audience::Few });
        for seat in &seats[self.next..end] {
            if Some(seat.session) != self.except {
                let frame = self.broadcast.frame(seat.handle.generation()).clone();
                delivered += u64::from(seat.handle.push(frame));
            }
        }
        drop(batching);
        self.next = end;
        conversation.settings.metrics.deliveries.get_or_create(&self.label).inc_by(delivered);
        end == seats.len()
    }
}

impl ActorFuture<ConversationActor> for FanOut {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        conversation: &mut ConversationActor,
        _: &mut Context<ConversationActor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        // Every slice is a turn of its own, behind those who were to run before it.
        if std::mem::replace(&mut self.rested, true) && self.advance(conversation) {
            return Poll::Ready(());
        }
        turns::rest(cx);
        Poll::Pending
    }
}
