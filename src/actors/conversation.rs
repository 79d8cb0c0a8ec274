//! The actor of one conversation. It handles its members' entries, departures and talks one after the other, and pushes
//! each event, encoded once per generation of clients, into the outbox of every session that is a member at that
//! moment.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, SpawnHandle};
use tokio::sync::oneshot;

use super::announcement::Announcement;
use super::members::{Change, Members};
use super::pending_entries::PendingEntry;
use super::roster::Tenure;
use super::talks::Ticket;
use crate::board::conversations::{ConversationBoard, ConversationCard, ConversationEntry};
use crate::cluster::door::FromBus;
use crate::cluster::peers::RecentIds;
use crate::delivery::fold::{Loss, News, Recount};
use crate::delivery::outbox::Outbox;
use crate::event::{CloseReason, ConversationId, ServerEvent, SessionId, Talk, Username};
use crate::feed::port::Port as Feed;
use crate::limits::live::LiveLimit;
use crate::mailbox::{ActorCount, Addressed, Handling, Mail, Mailbox, WeakMailbox};
use crate::metrics::{ActorClass, DeliveryPath, EventLabel, Metrics};
use crate::protocol::frame::Broadcast;
use crate::turns::Rest;

mod announced;
pub mod clustered;
pub(super) mod fan_out;
mod fed;

use clustered::{ClusterSettings, Clustered};
use fan_out::{Except, FanOut, FanOuts};

/// The messages of a conversation.
#[derive(Debug)]
pub enum ConversationMessage {
    /// A session enters.
    Enter(Enter),
    /// A session enters that has moved to this node. On the other one, its user still counts as there.
    Return(Enter),
    /// A session gives up one hold of its membership.
    Leave(SessionId),
    /// A member talks.
    Talk {
        /// The session that talks; it gets no update.
        session: SessionId,
        /// Its user.
        username: Username,
        /// The talk.
        talk: Talk,
        /// Dropped when the talk has been handled.
        ticket: Option<Ticket>,
    },
    /// A back end, or MAX, tells of news.
    Announce(Box<Announcement>),
    /// Asks who is in the conversation.
    Ask(oneshot::Sender<People>),
    /// Asks for one `people` for a session that has not got all `joined` and `left`.
    Recount(SessionId),
    /// Asks for some of the members.
    Members {
        /// Most members in the answer.
        count: usize,
        /// Takes the sessions, each with its user.
        reply: oneshot::Sender<Vec<(SessionId, Username)>>,
    },
    /// Is dropped: everything before it has been handled.
    Flush(UnderWay),
    /// Takes news of the other nodes of the cluster. It is in a box, so that other messages take no more room for it.
    Bus(Box<FromBus>),
    /// Takes the notice of the feed that news may be lost.
    Feed(Loss),
    /// Panics, so that a test sees what becomes of the members.
    #[cfg(test)]
    Panic,
}

/// Held by everything that works on something. The one who waits for its end is told when the last one is dropped.
pub type UnderWay = Arc<oneshot::Sender<Infallible>>;

/// The entry of one session into one conversation.
#[derive(Debug)]
pub struct Enter {
    /// The session.
    pub session: SessionId,
    /// Its user.
    pub username: Username,
    /// The queue towards its client.
    pub outbox: Arc<Outbox>,
    /// The entry's part in its join.
    pub pending_entry: PendingEntry,
}

/// The answer to an ask.
#[derive(Debug)]
pub struct People {
    /// The number of users, each counted once however many sessions it has.
    pub inroom: usize,
    /// The users, sorted. `None` above the presence limit.
    pub people: Option<Vec<Username>>,
    /// Whether users on other nodes of the cluster may have come and gone in the meantime.
    pub partial: bool,
}

impl People {
    /// Returns the event that tells of the users of a conversation.
    pub fn event<'a>(&'a self, conversation: &'a ConversationId) -> ServerEvent<'a> {
        let Self { inroom, people, partial } = self;
        ServerEvent::People { conversation, inroom: *inroom, people: people.as_deref(), partial: *partial }
    }
}

/// The settings of all conversations of a server.
#[derive(Debug)]
pub struct ConversationSettings {
    /// The namespace of their events.
    pub namespace: Arc<str>,
    /// The presence limit: `joined`, `left` and the list of people are not sent among more users than this; 0 means no
    /// limit.
    pub presence_members_max: LiveLimit,
    /// Messages handled in a row before other tasks of the thread run.
    pub burst_max: LiveLimit,
    /// How long a conversation outlives its last member.
    pub linger: Duration,
    /// The board, on which each conversation has a card.
    pub board: Arc<Board>,
    /// The cluster. `None` if this process is alone.
    pub cluster: Option<ClusterSettings>,
    /// The feed of MAX. `None` if there is none.
    pub feed: Option<Arc<dyn Feed>>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// The cards of the conversations of a server.
pub type Board = ConversationBoard<WeakMailbox<ConversationActor>>;

/// The card of a conversation.
pub type Card = ConversationCard<WeakMailbox<ConversationActor>>;

/// The registry, as a conversation sees it.
pub trait Registrar: fmt::Debug + Send + Sync {
    /// Takes the request of an empty conversation to retire. The registry ignores it if an entry is on its way to the
    /// conversation.
    fn retire(&self, conversation: ConversationId, tenure: Tenure);

    /// Sends [`ConversationMessage::Recount`] to a conversation. A conversation does not know its own mailbox, which
    /// would keep it alive.
    fn recount(&self, conversation: ConversationId, session: SessionId);
}

/// The way back to one conversation for outboxes that did not take its presence.
#[derive(Debug)]
struct RecountById {
    id: ConversationId,
    registrar: Arc<dyn Registrar>,
}

impl Recount for RecountById {
    fn conversation(&self) -> &ConversationId {
        &self.id
    }

    fn request(&self, session: SessionId) {
        self.registrar.recount(self.id.clone(), session);
    }
}

/// Returns the mark for the `joined` and `left` of a conversation that a session has not got.
pub fn presence(id: ConversationId, registrar: Arc<dyn Registrar>) -> News {
    News::Presence(Arc::new(RecountById { id, registrar }))
}

/// A session's membership of a conversation. The session talks through it, and leaves the conversation when it is
/// dropped. So a session that ends in any way, even by a panic, does not stay behind as a member.
#[derive(Debug)]
pub struct Membership {
    id: ConversationId,
    session: SessionId,
    mailbox: Mailbox<ConversationActor>,
}

impl Membership {
    /// Creates the membership for an entry that has been sent.
    pub fn new(id: ConversationId, session: SessionId, mailbox: Mailbox<ConversationActor>) -> Self {
        Self { id, session, mailbox }
    }

    /// Returns the conversation.
    pub fn id(&self) -> &ConversationId {
        &self.id
    }

    /// Returns the session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Returns the front door of the conversation.
    pub fn mailbox(&self) -> &Mailbox<ConversationActor> {
        &self.mailbox
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.mailbox.send_always(ConversationMessage::Leave(self.session));
    }
}

/// The actor of one conversation.
pub struct ConversationActor {
    id: ConversationId,
    tenure: Tenure,
    members: Members<Arc<Outbox>>,
    settings: Arc<ConversationSettings>,
    registrar: Arc<dyn Registrar>,
    presence: News,
    /// `None` if this process is alone.
    clustered: Option<Box<Clustered>>,
    /// The messages that were told lately. Only a conversation outside of a cluster, with a feed, has them here.
    recent: Option<Box<RecentIds>>,
    turns_in_a_row: usize,
    retirement: Option<SpawnHandle>,
    entry: ConversationEntry<WeakMailbox<Self>>,
    _count: ActorCount,
}

impl ConversationActor {
    /// Creates a conversation without members, for a card that is not on the board yet.
    pub fn new(
        card: Arc<Card>,
        tenure: Tenure,
        settings: Arc<ConversationSettings>,
        registrar: Arc<dyn Registrar>,
    ) -> Self {
        settings.metrics.conversations.inc();
        let count = ActorCount::new(ActorClass::Conversation, &settings.metrics);
        let presence = presence(card.id.clone(), registrar.clone());
        let clustered =
            settings.cluster.as_ref().map(|cluster| Box::new(Clustered::new(&card.id, tenure.life(), cluster)));
        Self {
            id: card.id.clone(),
            tenure,
            members: Members::default(),
            entry: settings.board.enter(card),
            settings,
            registrar,
            presence,
            clustered,
            recent: None,
            turns_in_a_row: 0,
            retirement: None,
            _count: count,
        }
    }

    /// Takes a session in, and tells the members of its user unless it `returns`.
    fn enter(&mut self, enter: Enter, returns: bool, handling: Handling, ctx: &mut Context<Self>) {
        self.tenure.saw_entry();
        if let Some(retirement) = self.retirement.take() {
            ctx.cancel_future(retirement);
        }
        let Enter { session, username, outbox, pending_entry } = enter;
        if let Some(feed) = self.settings.feed.as_ref().filter(|_| self.members.is_empty()) {
            // The notice that its exchange is bound comes behind this entry, so that there is somebody to hear it.
            feed.attach(&self.id, self.tenure.life());
        }
        let change = self.members.enter(session, &username, outbox.clone());
        self.note_members();
        match returns {
            true => self.tell_peers_of_return(&change, handling, ctx),
            false => self.tell_of(&change, Except::Session(session), handling, ctx),
        }
        self.entered(pending_entry, &outbox, ctx);
        self.tell_of_feed(&outbox);
    }

    fn leave(&mut self, session: SessionId, handling: Handling, ctx: &mut Context<Self>) {
        let (change, gone) = self.members.leave(session);
        if let Some(outbox) = gone {
            outbox.forget(&self.id);
        }
        self.note_members();
        self.tell_of(&change, Except::Nobody, handling, ctx);
        if self.members.is_empty() {
            self.linger(ctx);
        }
    }

    /// Tells the members of a user who came or went.
    fn tell_of(&mut self, change: &Change, except: Except, handling: Handling, ctx: &mut Context<Self>) {
        if self.clustered.is_some() {
            return self.tell_peers_of(change, except, handling, ctx);
        }
        let (conversation, users) = (&self.id, self.members.users().len());
        let (event, users) = match change {
            Change::None => return,
            Change::Joined(username) => (ServerEvent::Joined { conversation, username }, users),
            Change::Left(username) => (ServerEvent::Left { conversation, username }, users + 1),
        };
        if self.announces(users) && !self.members.is_empty() {
            let (broadcast, label) = self.encoder(&event, DeliveryPath::Local);
            let fan_out = FanOut::new(broadcast, label, self.presence.clone(), except);
            self.broadcast(fan_out, handling, ctx);
        }
    }

    /// Sends an update to all members but `except`. Returns the number of its recipients.
    fn update(
        &mut self,
        username: Username,
        talk: Talk,
        except: Except,
        path: DeliveryPath,
        handling: Handling,
        ctx: &mut Context<Self>,
    ) -> usize {
        let mut fan_out = self.fan_out_of_update(username, talk, except, path);
        fan_out.measure(self.members.sessions(), self.entry.talks(), handling.sent());
        self.broadcast(fan_out, handling, ctx)
    }

    fn fan_out_of_update(&self, username: Username, talk: Talk, except: Except, path: DeliveryPath) -> FanOut {
        let event = ServerEvent::Update { username: &username, talk: &talk, missed: None };
        let (broadcast, label) = self.encoder(&event, path);
        let news = News::Update { namespace: self.settings.namespace.clone(), username, talk };
        FanOut::new(broadcast, label, news, except)
    }

    fn note_members(&self) {
        self.entry.members(self.members.sessions().len(), self.members.users().len());
    }

    fn people(&mut self) -> People {
        if let Some(people) = self.people_of_cluster() {
            return people;
        }
        let inroom = self.members.users().len();
        let people = self.announces(inroom).then(|| self.members.users().cloned().collect());
        People { inroom, people, partial: false }
    }

    /// Pushes one `people` to a session. It may have left in the meantime.
    fn recount(&mut self, session: SessionId) {
        let people = self.people();
        let Some(outbox) = self.members.handle(session) else { return };
        let (mut broadcast, label) = self.encoder(&people.event(&self.id), DeliveryPath::Local);
        if outbox.push_people(&self.id, outbox.frame_of(&mut broadcast)) {
            self.settings.metrics.deliveries.get_or_create(&label).inc();
        }
    }

    /// Returns whether presence is announced among `users` users. There is a limit because n joins in a row cost n²
    /// events.
    fn announces(&self, users: usize) -> bool {
        let users_max = self.settings.presence_members_max.get();
        users_max == 0 || users <= users_max
    }

    /// Returns the event, to be encoded once for each generation, and its label in the metrics.
    fn encoder(&self, event: &ServerEvent<'_>, path: DeliveryPath) -> (Broadcast, EventLabel) {
        let name = event.name();
        let broadcast = Broadcast::new(self.settings.namespace.clone(), name.as_str(), event.json());
        (broadcast, EventLabel { event: name, path })
    }

    /// Sends an event to its recipients, and returns their number. A long fan-out goes on in later rounds, but ends
    /// before the next message is handled, so that the order of events is the same for all.
    fn broadcast(&mut self, mut fan_out: FanOut, handling: Handling, ctx: &mut Context<Self>) -> usize {
        fan_out.handling = Some(handling);
        let recipients = self.count_recipients(&fan_out);
        if !fan_out.advance(self) {
            ctx.wait(FanOuts(VecDeque::from([fan_out])));
        }
        recipients
    }

    /// Sends events one after the other, as [`Self::broadcast`] does.
    fn broadcast_all(&mut self, mut fan_outs: VecDeque<FanOut>, handling: Option<Handling>, ctx: &mut Context<Self>) {
        if let Some(last) = fan_outs.back_mut() {
            last.handling = handling;
        }
        for fan_out in &fan_outs {
            self.count_recipients(fan_out);
        }
        while let Some(fan_out) = fan_outs.front_mut() {
            if !fan_out.advance(self) {
                return ctx.wait(FanOuts(fan_outs));
            }
            fan_outs.pop_front();
        }
    }

    /// Returns the number of recipients, which is measured too.
    fn count_recipients(&self, fan_out: &FanOut) -> usize {
        let recipients = self.members.sessions().len().saturating_sub(fan_out.except.count(&self.members));
        self.settings.metrics.fanout_members.observe(recipients as u64);
        recipients
    }

    /// Lets other tasks run after `burst_max` messages of any kind: one poll of an actor drains its whole mailbox, and
    /// would fill every outbox before any transport on this thread could write.
    fn took_a_turn(&mut self, ctx: &mut Context<Self>) {
        self.turns_in_a_row += 1;
        if self.turns_in_a_row >= self.settings.burst_max.get() {
            self.turns_in_a_row = 0;
            ctx.wait(Rest::default());
        }
    }

    /// Asks to retire after the linger time, unless a session enters before.
    fn linger(&mut self, ctx: &mut Context<Self>) {
        if let Some(earlier) = self.retirement.take() {
            ctx.cancel_future(earlier);
        }
        let retirement = ctx.run_later(self.settings.linger, |conversation, _| {
            // actix runs a timer even if it was cancelled earlier in the very poll in which it is due.
            if !conversation.members.is_empty() {
                return;
            }
            conversation.retirement = None;
            conversation.registrar.retire(conversation.id.clone(), conversation.tenure);
        });
        self.retirement = Some(retirement);
    }
}

impl Drop for ConversationActor {
    fn drop(&mut self) {
        self.settings.metrics.conversations.dec();
        self.leave_cluster();
        self.leave_feed();
        // Only a panic ends a conversation that has members. They would hear nothing from it any more, so their
        // sessions are closed; their clients reconnect and join a new actor.
        for member in self.members.sessions() {
            member.handle.close(CloseReason::ConversationLost);
        }
        if std::thread::panicking() {
            log::error!("conversation {:?} failed; its {} sessions are closed", self.id, self.members.sessions().len());
        }
    }
}

impl Actor for ConversationActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The front door bounds the mailbox.
        ctx.set_mailbox_capacity(0);
        // The entry for which the conversation was spawned may never come.
        self.linger(ctx);
    }
}

impl Addressed for ConversationActor {
    type Message = ConversationMessage;
}

impl Handler<Mail<ConversationMessage>> for ConversationActor {
    type Result = ();

    fn handle(&mut self, mail: Mail<ConversationMessage>, ctx: &mut Self::Context) {
        let (message, handling) = mail.open();
        match message {
            ConversationMessage::Enter(enter) => self.enter(enter, false, handling, ctx),
            ConversationMessage::Return(enter) => self.enter(enter, true, handling, ctx),
            ConversationMessage::Leave(session) => self.leave(session, handling, ctx),
            ConversationMessage::Talk { session, username, talk, ticket } => {
                self.tell_peers_of_talk(&username, &talk);
                self.update(username, talk, Except::Session(session), DeliveryPath::Local, handling, ctx);
                drop(ticket);
            }
            ConversationMessage::Announce(announcement) => self.announce(*announcement, handling, ctx),
            ConversationMessage::Ask(reply) => self.answer(reply),
            ConversationMessage::Bus(news) => self.hear_bus(*news, handling, ctx),
            ConversationMessage::Feed(loss) => self.hear_feed(loss, handling, ctx),
            ConversationMessage::Recount(session) => self.recount(session),
            ConversationMessage::Flush(flush) => drop(flush),
            ConversationMessage::Members { count, reply } => {
                let members = self.members.sessions().iter().take(count);
                let _ = reply.send(members.map(|member| (member.session, member.username.clone())).collect());
            }
            #[cfg(test)]
            ConversationMessage::Panic => panic!("as it was told"),
        }
        self.took_a_turn(ctx);
    }
}
