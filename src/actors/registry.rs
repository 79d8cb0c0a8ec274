//! The registry alone decides which conversations live. Each join is a task of its own, so a slow MAX delays no other
//! join, spawn or retirement. Messages and entries may come in thousands and are handled in slices.
//!
//! A *join* takes a session into all of its conversations, an *entry* takes it into one. The stages of a join:
//!
//! | Stage | From and to | Type |
//! |---|---|---|
//! | A session asks to join. | session to registry | [`Join`] |
//! | MAX is asked for the conversations of the user. | task of the join to MAX | [`Question`] |
//! | The task has the session enter all of them. | task to registry | [`EnterAll`] |
//! | The registry sends the entries, some in each round. | | `Entering` |
//! | The session enters one conversation. | registry to conversation | [`Enter`] |
//! | All entries are sent. | registry to task | [`Memberships`] |
//! | All conversations have handled theirs. | conversations to task | [`PendingEntries`] |
//! | The join is done. | task to session | [`Joined`] |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::{Actor, ActorFuture, ActorFutureExt, Arbiter, ArbiterHandle, AsyncContext, Context, Handler};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::complaints::Complaints;
use super::conversation::clustered;
use super::conversation::{
    ConversationActor, ConversationMessage, ConversationSettings, Enter, Membership, Registrar, UnderWay,
};
use super::departures::{self, Memberships};
use super::pending_entries::PendingEntries;
use super::roster::{Roster, Tenure};
use super::users::{User, Users};
use crate::board::sessions::SessionBoard;
use crate::delivery::outbox::Outbox;
use crate::directory::{Directory, Question};
use crate::event::{Code, ConversationId, SessionId, Username};
use crate::mailbox::{ActorCount, Addressed, Handling, Mail, Mailbox, Slot};
use crate::metrics::{ActorClass, Limit, Metrics, ToConversation};
use crate::turns::{self, Rest, Share};

/// Messages handled before other tasks of this thread run, such as the questions to MAX and the stop of the server.
const MESSAGES_PER_TURN: usize = 64;

/// Entries sent in one round of this thread.
const ENTRIES_PER_ROUND: usize = 64;

/// Entries sent for one session before the next session has its turn, so that a session with few conversations does not
/// wait for those with thousands.
const ENTRIES_IN_A_ROW: usize = 8;

/// The messages of the registry.
#[derive(Debug)]
pub enum RegistryMessage {
    /// A session asks to join.
    Join(Join),
    /// MAX has accepted a session, which enters its conversations.
    EnterAll(EnterAll),
    /// A conversation has been empty for a while and asks to retire.
    Retire {
        /// The conversation.
        id: ConversationId,
        /// Its incarnation, and the entries that it has seen.
        tenure: Tenure,
    },
    /// A session that has not got all `joined` and `left` of a conversation asks it who is there.
    Recount {
        /// The conversation.
        id: ConversationId,
        /// The session.
        session: SessionId,
    },
}

impl Registrar for Mailbox<RegistryActor> {
    fn retire(&self, id: ConversationId, tenure: Tenure) {
        self.send_always(RegistryMessage::Retire { id, tenure });
    }

    fn recount(&self, id: ConversationId, session: SessionId) {
        self.send_always(RegistryMessage::Recount { id, session });
    }
}

/// The request of a session to join.
#[derive(Debug)]
pub struct Join {
    /// The session.
    pub session: SessionId,
    /// The queue towards its client.
    pub outbox: Arc<Outbox>,
    /// Where its user and conversations come from.
    pub admission: Admission,
    /// Whether the session enters its conversations. If not, MAX is asked and nothing else happens.
    pub enters: bool,
    /// The session's user until now, among whose sessions it is counted.
    pub user: Option<User>,
    /// Takes the answer. If its receiver is dropped, the join is void, and everything done for it is undone.
    pub reply: oneshot::Sender<Result<Joined, Code>>,
    /// Dropped when the join is over, and everything that had to be undone is undone.
    pub under_way: UnderWay,
}

/// Where the user and the conversations of a join come from.
#[derive(Debug)]
pub enum Admission {
    /// MAX is asked.
    Ask(Question),
    /// Another node, on which the session was.
    Moved(Username, Vec<ConversationId>),
}

/// A join that is done: the session is a member of each of these conversations.
#[derive(Debug)]
pub struct Joined {
    /// The user, as MAX names it.
    pub user: User,
    /// The memberships in MAX's order; none if the join was not to enter.
    pub memberships: Memberships,
}

/// A session that MAX has accepted, and its conversations. It enters all of them or none.
#[derive(Debug)]
pub struct EnterAll {
    pub(super) session: SessionId,
    pub(super) outbox: Arc<Outbox>,
    pub(super) username: Username,
    pub(super) conversations: Vec<ConversationId>,
    /// Whether the session has moved here from another node.
    pub(super) returns: bool,
    pub(super) pending_entries: Arc<PendingEntries>,
    /// Takes the memberships when all entries are sent.
    pub(super) reply: oneshot::Sender<Result<Memberships, Code>>,
    pub(super) under_way: UnderWay,
}

/// An [`EnterAll`] of which some entries are sent.
struct Entering {
    enter_all: EnterAll,
    /// The number of conversations to which an entry was sent.
    sent: usize,
    memberships: Memberships,
    /// Lasts until the last entry is sent.
    _handling: Handling,
}

impl Entering {
    fn new(enter_all: EnterAll, handling: Handling) -> Self {
        let memberships = Memberships::with_capacity(enter_all.conversations.len());
        Self { enter_all, sent: 0, memberships, _handling: handling }
    }

    /// Returns how many entries are still to be sent.
    fn left(&self) -> usize {
        self.enter_all.conversations.len() - self.sent
    }

    /// Hands the memberships to the task of the join, after all entries are sent.
    fn finish(self) {
        let EnterAll { session, reply, under_way, .. } = self.enter_all;
        // If the join is gone, the memberships are dropped here, and so the session leaves again.
        if reply.send(Ok(self.memberships)).is_err() {
            departures::then_drop(session, under_way);
        }
    }

    /// Leaves the conversations entered so far, and refuses the join.
    fn give_up(self, code: Code) {
        drop(self.memberships);
        let EnterAll { session, reply, under_way, .. } = self.enter_all;
        let _ = reply.send(Err(code));
        departures::then_drop(session, under_way);
    }
}

/// The threads on which conversations may live. Each worker adds itself as it starts.
#[derive(Clone, Debug, Default)]
pub struct Arbiters(Arc<Mutex<Vec<ArbiterHandle>>>);

impl Arbiters {
    /// Adds this thread.
    pub fn enter_current(&self) {
        if let Some(arbiter) = Arbiter::try_current() {
            self.0.lock().push(arbiter);
        }
    }

    fn pick(&self, hash: u64) -> ArbiterHandle {
        let arbiters = self.0.lock();
        match arbiters.len() as u64 {
            0 => Arbiter::current(),
            count => arbiters[(hash % count) as usize].clone(),
        }
    }
}

/// Tells the server that the registry has failed.
#[derive(Debug)]
pub struct RegistryEnd(oneshot::Receiver<Infallible>);

impl RegistryEnd {
    /// Waits until the registry has failed.
    pub async fn wait(&mut self) {
        let _ = (&mut self.0).await;
    }
}

/// Everything that the task of a join works with.
#[derive(Clone)]
struct JoinContext {
    directory: Rc<dyn Directory>,
    complaints: Rc<Complaints>,
    users: Users,
    answer_timeout: Duration,
    registry: Mailbox<RegistryActor>,
    metrics: Arc<Metrics>,
}

/// The registry of one server.
pub struct RegistryActor {
    join_context: JoinContext,
    roster: Roster<Mailbox<ConversationActor>>,
    /// The registry, as conversations see it.
    registrar: Arc<Mailbox<Self>>,
    /// Sessions whose entries are being sent, each a slice in turn.
    entering: VecDeque<Entering>,
    entries_this_round: Share,
    messages_in_a_row: usize,
    settings: Arc<ConversationSettings>,
    arbiters: Arbiters,
    hasher: RandomState,
    _count: ActorCount,
    /// Dropped with the registry, which ends [`RegistryEnd::wait`].
    _alive: oneshot::Sender<Infallible>,
}

/// The bounds of a registry.
#[derive(Clone, Copy, Debug)]
pub struct RegistryBounds {
    /// How long the conversations of a join may take to handle its entries.
    pub answer_timeout: Duration,
    /// Sessions of one user; 0 means no limit.
    pub sessions_per_user_max: usize,
}

impl RegistryActor {
    /// Starts the registry on this thread. It ends only if it fails, and the server cannot run without it. The board
    /// `sessions` is told which sessions each user has.
    pub fn launch(
        directory: Rc<dyn Directory>,
        settings: Arc<ConversationSettings>,
        arbiters: Arbiters,
        sessions: Arc<SessionBoard>,
        bounds: RegistryBounds,
    ) -> (Mailbox<Self>, RegistryEnd) {
        departures::start();
        let metrics = settings.metrics.clone();
        let (alive, end) = oneshot::channel();
        let ctx = Context::new();
        let mailbox = Mailbox::new(ctx.address(), &metrics);
        ctx.run(Self {
            join_context: JoinContext {
                directory,
                complaints: Rc::default(),
                users: Users::new(bounds.sessions_per_user_max, sessions),
                answer_timeout: bounds.answer_timeout,
                registry: mailbox.clone(),
                metrics: metrics.clone(),
            },
            roster: Roster::default(),
            registrar: Arc::new(mailbox.clone()),
            entering: VecDeque::new(),
            entries_this_round: Share::default(),
            messages_in_a_row: 0,
            settings,
            arbiters,
            hasher: RandomState::new(),
            _count: ActorCount::new(ActorClass::Registry, &metrics),
            _alive: alive,
        });
        (mailbox, RegistryEnd(end))
    }

    /// Starts the task of a join. It keeps the join's slot in the mailbox to its end, so that the bound counts all
    /// joins under way.
    fn join(&mut self, join: Join, slot: Slot) {
        let context = self.join_context.clone();
        actix_rt::spawn(async move {
            let Join { session, outbox, admission, enters, user, mut reply, under_way } = join;
            let work = under_way.clone();
            let outcome = tokio::select! {
                biased;
                // The session has gone, or joins anew. Dropping the future of the join frees its permit at the gate.
                () = reply.closed() => Err(Code::Superseded),
                outcome = context.join(session, outbox, admission, enters, user, work) => outcome,
            };
            let is_done = outcome.is_ok();
            // If the session is gone, the memberships are dropped here, and so it leaves again.
            if reply.send(outcome).is_err() || !is_done {
                departures::then_drop(session, under_way);
            }
            drop(slot);
        });
    }

    /// Sends some more of the entries, as many as this round allows.
    fn send_entries(&mut self) {
        let round = turns::round();
        while let Some(mut entering) = self.entering.pop_front() {
            // The session has gone in the meantime: other members shall not see it come and go.
            if entering.enter_all.reply.is_closed() {
                entering.give_up(Code::Busy);
                continue;
            }
            // A session without conversations counts as one entry.
            let wanted = entering.left().clamp(1, ENTRIES_IN_A_ROW);
            let most = self.entries_this_round.take(wanted, ENTRIES_PER_ROUND, round);
            if most == 0 {
                self.entering.push_front(entering);
                return;
            }
            match self.send_slice(&mut entering, most) {
                Err(code) => entering.give_up(code),
                Ok(()) if entering.left() == 0 => entering.finish(),
                Ok(()) => self.entering.push_back(entering),
            }
        }
    }

    /// Sends the next entries of a session, at most `most`: all of these, or none if one of the mailboxes is full.
    fn send_slice(&mut self, entering: &mut Entering, most: usize) -> Result<(), Code> {
        let Entering {
            enter_all: EnterAll { session, outbox, username, conversations, returns, pending_entries, .. },
            sent,
            memberships,
            ..
        } = entering;
        let end = conversations.len().min(*sent + most);
        let mut doors = Vec::with_capacity(end - *sent);
        for id in &conversations[*sent..end] {
            let (id, door) = self.get_or_spawn(id);
            let slot = door.reserve(ToConversation::Enter).map_err(|_| Code::Busy)?;
            doors.push((id, door, slot));
        }
        for (id, door, slot) in doors {
            let (username, outbox, pending_entry) = (username.clone(), outbox.clone(), pending_entries.one());
            let enter = Enter { session: *session, username, outbox, pending_entry };
            let entry = if *returns { ConversationMessage::Return } else { ConversationMessage::Enter };
            door.fill(slot, entry(enter));
            self.roster.sent_entry(&id);
            memberships.push(Membership::new(id, *session, door));
        }
        *sent = end;
        Ok(())
    }

    fn get_or_spawn(&mut self, id: &ConversationId) -> (ConversationId, Mailbox<ConversationActor>) {
        let Self { roster, settings, arbiters, hasher, registrar, .. } = self;
        let spawn = |tenure| {
            let arbiter = arbiters.pick(hasher.hash_one(id));
            let card = settings.board.card(id.clone());
            let (to_enter, registrar, shared) = (card.clone(), registrar.clone(), settings.clone());
            let spawn = move || ConversationActor::new(to_enter, tenure, shared, registrar);
            let addr = ConversationActor::start_in_arbiter(&arbiter, {
                let spawn = spawn.clone();
                move |_| spawn()
            });
            // If the worker has ended, the conversation lives on this thread.
            let addr = if addr.connected() { addr } else { spawn().start() };
            let mailbox = Mailbox::new(addr, &settings.metrics);
            card.open_door(mailbox.downgrade());
            clustered::attach(settings, &card.id, tenure.life(), mailbox.downgrade());
            mailbox
        };
        let (id, door) = roster.get_or_spawn(id, Mailbox::is_open, spawn);
        (id, door.clone())
    }
}

impl JoinContext {
    /// Returns the user and the conversations of a join.
    async fn admit(&self, admission: Admission) -> Result<(Username, Vec<ConversationId>), Code> {
        let question = match admission {
            Admission::Ask(question) => question,
            Admission::Moved(username, conversations) => return Ok((username, conversations)),
        };
        let answer = self.directory.conversations_of(question).await.map_err(|failure| {
            self.complaints.log(&failure, Instant::now());
            failure.code
        })?;
        Ok((answer.username, answer.conversations))
    }

    /// Does one join, from the question to MAX to the last entry.
    async fn join(
        self,
        session: SessionId,
        outbox: Arc<Outbox>,
        admission: Admission,
        enters: bool,
        user: Option<User>,
        under_way: UnderWay,
    ) -> Result<Joined, Code> {
        let returns = matches!(admission, Admission::Moved(..));
        let (username, conversations) = self.admit(admission).await?;
        let user = match user.filter(|user| *user.name() == username) {
            Some(user) => user,
            None => self.users.enter(username.clone(), session).ok_or_else(|| {
                self.metrics.limited(Limit::UserSessions);
                Code::RateLimited
            })?,
        };
        if !enters {
            return Ok(Joined { user, memberships: Memberships::default() });
        }
        let ((reply, memberships), (done, all_entered)) = (oneshot::channel(), oneshot::channel());
        let pending_entries = PendingEntries::new(conversations.len(), done);
        let enter_all =
            EnterAll { session, outbox, username, conversations, returns, pending_entries, reply, under_way };
        self.registry.send_always(RegistryMessage::EnterAll(enter_all));
        let entered = async {
            let memberships = memberships.await.map_err(|_| Code::Busy)??;
            all_entered.await.map_err(|_| Code::Busy)?;
            Ok(memberships)
        };
        // After the timeout, or if a conversation has died, the memberships are dropped, and so the session leaves
        // again.
        let memberships = timeout(self.answer_timeout, entered).await.unwrap_or(Err(Code::Busy))?;
        Ok(Joined { user, memberships })
    }
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The front door bounds the mailbox.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(SendEntries);
    }
}

impl Addressed for RegistryActor {
    type Message = RegistryMessage;
}

impl Handler<Mail<RegistryMessage>> for RegistryActor {
    type Result = ();

    fn handle(&mut self, mail: Mail<RegistryMessage>, ctx: &mut Self::Context) {
        let (message, handling, slot) = mail.open_with_slot();
        match message {
            RegistryMessage::Join(join) => self.join(join, slot),
            RegistryMessage::EnterAll(enter_all) => self.entering.push_back(Entering::new(enter_all, handling)),
            RegistryMessage::Retire { id, tenure } => drop(self.roster.retire(&id, tenure)),
            RegistryMessage::Recount { id, session } => {
                if let Some(door) = self.roster.get(&id) {
                    door.send_always(ConversationMessage::Recount(session));
                }
            }
        }
        self.messages_in_a_row += 1;
        if self.messages_in_a_row >= MESSAGES_PER_TURN {
            self.messages_in_a_row = 0;
            // Entries are sent here too, so that a mailbox that is never empty does not hold them up.
            ctx.wait(Rest::default().map(|(), registry: &mut Self, _| registry.send_entries()));
        }
    }
}

/// Sends entries as long as the registry lives. actix polls it after the mailbox.
struct SendEntries;

impl ActorFuture<RegistryActor> for SendEntries {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        registry: &mut RegistryActor,
        _: &mut Context<RegistryActor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        registry.send_entries();
        if !registry.entering.is_empty() {
            turns::rest(cx);
        }
        Poll::Pending
    }
}
