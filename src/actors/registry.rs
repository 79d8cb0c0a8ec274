//! The one authority on which conversations live. It asks MAX for those that join, and never waits in a handler: each
//! join is a task of its own, so a slow MAX delays no other join, spawn or retirement. Whatever there is much of it
//! does in turns.

use std::cell::RefCell;
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

use super::conversation::{
    ConversationActor, ConversationMessage, ConversationSettings, Enter, Entries, Membership, Retire,
};
use super::departures::{self, Memberships};
use super::roster::{Roster, Tenure};
use super::users::{User, Users};
use crate::delivery::outbox::Outbox;
use crate::directory::{Directory, Failure, Question};
use crate::event::{Code, ConversationId, SessionId, Username};
use crate::logging::limiter::Limiter;
use crate::mailbox::{ActorCount, Addressed, Mail, Mailbox, Slot};
use crate::metrics::{ActorClass, Limit, Metrics};
use crate::turns::{self, Rest, Share};

/// Messages in a row before others on this thread have their turn: those who ask MAX, and the signals.
const MESSAGES_PER_TURN: usize = 64;

/// Conversations that sessions are let into in one round of this thread.
const ENTRIES_PER_ROUND: usize = 64;

/// A session is let into so many conversations before the next session has its turn. A session with few conversations
/// so does not wait for those with thousands.
const ENTRIES_IN_A_ROW: usize = 8;

/// Everything that the registry can be told.
#[derive(Debug)]
pub enum RegistryMessage {
    /// A session wants to join.
    Join(Join),
    /// MAX has answered: let the session into its conversations.
    Admit(Admit),
    /// A conversation has been empty for a while.
    Retire {
        /// Which.
        id: ConversationId,
        /// What it has seen.
        tenure: Tenure,
    },
}

/// A session that wants to join.
#[derive(Debug)]
pub struct Join {
    /// The session.
    pub session: SessionId,
    /// The way to its client.
    pub outbox: Arc<Outbox>,
    /// Who it says it is.
    pub question: Question,
    /// Whether it wants into its conversations; else MAX is asked and nothing more.
    pub enters: bool,
    /// Who it is by now: as such it has its place among the sessions of its user.
    pub user: Option<User>,
    /// Where it waits for the answer. Dropped, the join is void: whatever was done is undone.
    pub reply: oneshot::Sender<Result<Admission, Code>>,
    /// Dropped when nothing is left of the join here, whatever was undone included.
    pub under_way: UnderWay,
}

/// Held by all that works on a join.
pub type UnderWay = Arc<oneshot::Sender<Infallible>>;

/// A join that was done: its session is registered in every one of these conversations.
#[derive(Debug)]
pub struct Admission {
    /// Who MAX says it is.
    pub user: User,
    /// In the order in which MAX gave them.
    pub memberships: Memberships,
}

/// A session that MAX has vouched for.
#[derive(Debug)]
pub struct Admit {
    session: SessionId,
    outbox: Arc<Outbox>,
    username: Username,
    conversations: Vec<ConversationId>,
    reply: oneshot::Sender<Result<SentEntries, Code>>,
    under_way: UnderWay,
}

#[cfg(test)]
impl Admit {
    /// What MAX would have led to.
    pub(super) fn for_tests(
        session: SessionId,
        outbox: Arc<Outbox>,
        username: &str,
        conversations: &[&str],
        reply: oneshot::Sender<Result<SentEntries, Code>>,
    ) -> Self {
        let username = Username::parse(username).unwrap();
        let conversations = conversations.iter().map(|&id| id.into()).collect();
        Self { session, outbox, username, conversations, reply, under_way: Arc::new(oneshot::channel().0) }
    }

    /// It is a part of this join.
    pub(super) fn hold(&mut self, under_way: UnderWay) {
        self.under_way = under_way;
    }
}

/// Entries that were sent: the memberships, and what hears when all of them are in force.
pub(super) type SentEntries = (Memberships, oneshot::Receiver<()>);

/// A session that is being let into its conversations.
struct Admitting {
    admit: Admit,
    /// How many of its conversations it was sent into.
    sent: usize,
    entries: Arc<Entries>,
    all_entered: oneshot::Receiver<()>,
    memberships: Memberships,
}

impl Admitting {
    fn new(admit: Admit) -> Self {
        let (done, all_entered) = oneshot::channel();
        let count = admit.conversations.len();
        let (entries, memberships) = (Entries::new(count, done), Memberships::with_capacity(count));
        Self { admit, sent: 0, entries, all_entered, memberships }
    }

    /// It is in all of its conversations.
    fn finish(self) {
        let Admit { session, reply, under_way, .. } = self.admit;
        // Nobody there to take it: dropping the memberships leaves again.
        if reply.send(Ok((self.memberships, self.all_entered))).is_err() {
            departures::then_drop(session, under_way);
        }
    }

    /// It will not be in all of them, and so is to be in none.
    fn give_up(self, code: Code) {
        drop(self.memberships);
        let Admit { session, reply, under_way, .. } = self.admit;
        let _ = reply.send(Err(code));
        departures::then_drop(session, under_way);
    }
}

/// The threads on which conversations may live; workers enter themselves as they start.
#[derive(Clone, Debug, Default)]
pub struct Arbiters(Arc<Mutex<Vec<ArbiterHandle>>>);

impl Arbiters {
    /// Enters this thread.
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

/// What is said of MAX in the log. What its operator has to know is a warning, once a second; what concerns only the
/// one who joins is told to that one.
#[derive(Debug)]
struct Complaints(RefCell<Limiter>);

impl Complaints {
    fn log(&self, failure: &Failure, now: Instant) {
        match failure.code {
            Code::MaxTimeout | Code::MaxUnavailable | Code::MaxError | Code::MaxGarbage | Code::MaxTooLarge => {}
            _ => return log::debug!("a join was refused: {failure}"),
        }
        let admitted = self.0.borrow_mut().admit(now);
        match admitted {
            None => {}
            Some(0) => log::warn!("{failure}"),
            Some(more) => log::warn!("{failure} (and {more} more before)"),
        }
    }
}

/// Resolves when the registry has failed.
#[derive(Debug)]
pub struct RegistryEnd(oneshot::Receiver<Infallible>);

impl RegistryEnd {
    /// Waits for it.
    pub async fn wait(&mut self) {
        let _ = (&mut self.0).await;
    }
}

/// What every join needs.
#[derive(Clone)]
struct Desk {
    directory: Rc<dyn Directory>,
    complaints: Rc<Complaints>,
    users: Arc<Users>,
    answer_timeout: Duration,
    registry: Mailbox<RegistryActor>,
    metrics: Arc<Metrics>,
}

/// The registry of one server.
pub struct RegistryActor {
    desk: Desk,
    roster: Roster<Mailbox<ConversationActor>>,
    /// By which conversations say that they want to retire.
    retire: Arc<Retire>,
    /// Each has a slice of its conversations in its turn, so that those with few need not wait for those with many.
    admitting: VecDeque<Admitting>,
    admitted: Share,
    messages_in_a_row: usize,
    commons: Arc<ConversationSettings>,
    arbiters: Arbiters,
    hasher: RandomState,
    _count: ActorCount,
    /// Closes when the registry is gone.
    _alive: oneshot::Sender<Infallible>,
}

/// The bounds of a registry.
#[derive(Clone, Copy, Debug)]
pub struct RegistryBounds {
    /// Joins under way, in the mailbox and behind it.
    pub joins_max: usize,
    /// How long the conversations of a join may take.
    pub answer_timeout: Duration,
    /// Sessions of one user; 0 is no limit.
    pub sessions_per_user_max: usize,
}

impl RegistryActor {
    /// Starts the registry on this thread. It ends only by failing, and a server without it is none.
    pub fn launch(
        directory: Rc<dyn Directory>,
        commons: Arc<ConversationSettings>,
        arbiters: Arbiters,
        bounds: RegistryBounds,
    ) -> (Mailbox<Self>, RegistryEnd) {
        departures::start();
        let metrics = commons.metrics.clone();
        let (alive, end) = oneshot::channel();
        let ctx = Context::new();
        let mailbox = Mailbox::new(ctx.address(), bounds.joins_max, &metrics);
        ctx.run(Self {
            desk: Desk {
                directory,
                complaints: Rc::new(Complaints(RefCell::new(Limiter::new(1)))),
                users: Users::new(bounds.sessions_per_user_max),
                answer_timeout: bounds.answer_timeout,
                registry: mailbox.clone(),
                metrics: metrics.clone(),
            },
            roster: Roster::default(),
            retire: Arc::new({
                let mailbox = mailbox.clone();
                move |id, tenure| mailbox.send_always(RegistryMessage::Retire { id, tenure })
            }),
            admitting: VecDeque::new(),
            admitted: Share::default(),
            messages_in_a_row: 0,
            commons,
            arbiters,
            hasher: RandomState::new(),
            _count: ActorCount::new(ActorClass::Registry, &metrics),
            _alive: alive,
        });
        (mailbox, RegistryEnd(end))
    }

    /// `place` is the join's in the mailbox, which it keeps to its end: so the bound counts all that are under way.
    fn join(&mut self, join: Join, place: Slot) {
        let desk = self.desk.clone();
        actix_rt::spawn(async move {
            let Join { session, outbox, question, enters, user, mut reply, under_way } = join;
            let work = under_way.clone();
            let outcome = tokio::select! {
                biased;
                // The session has gone, or joins anew: its place at MAX is given back.
                () = reply.closed() => Err(Code::Superseded),
                outcome = desk.join(session, outbox, question, enters, user, work) => outcome,
            };
            let is_done = outcome.is_ok();
            // Nobody there to take it: dropping the memberships leaves again.
            if reply.send(outcome).is_err() || !is_done {
                departures::then_drop(session, under_way);
            }
            drop(place);
        });
    }

    /// Lets sessions into some more of their conversations, as far as this round allows.
    fn admit_some(&mut self) {
        let round = turns::round();
        while let Some(mut admitting) = self.admitting.pop_front() {
            // The session has gone in the meantime: nobody is to see it come and go.
            if admitting.admit.reply.is_closed() {
                admitting.give_up(Code::Busy);
                continue;
            }
            let left = admitting.admit.conversations.len() - admitting.sent;
            // One with no conversations is work too.
            let most = self.admitted.take(left.clamp(1, ENTRIES_IN_A_ROW), ENTRIES_PER_ROUND, round);
            if most == 0 {
                self.admitting.push_front(admitting);
                return;
            }
            match self.send_some(&mut admitting, most) {
                Err(code) => admitting.give_up(code),
                Ok(()) if admitting.sent == admitting.admit.conversations.len() => admitting.finish(),
                Ok(()) => self.admitting.push_back(admitting),
            }
        }
    }

    /// Sends the session into the next of its conversations, at most so many: into all of these or into none.
    fn send_some(&mut self, admitting: &mut Admitting, most: usize) -> Result<(), Code> {
        let Admitting {
            admit: Admit { session, outbox, username, conversations, .. }, sent, entries, memberships, ..
        } = admitting;
        let end = conversations.len().min(*sent + most);
        let mut doors = Vec::with_capacity(end - *sent);
        for id in &conversations[*sent..end] {
            let (id, door) = self.get_or_spawn(id);
            let place = door.reserve().map_err(|_| Code::Busy)?;
            doors.push((id, door, place));
        }
        for (id, door, place) in doors {
            let (username, outbox, pending_entry) = (username.clone(), outbox.clone(), entries.one_more());
            door.fill(place, ConversationMessage::Enter(Enter { session: *session, username, outbox, pending_entry }));
            self.roster.sent_entry(&id);
            memberships.push(Membership::new(id, *session, door));
        }
        *sent = end;
        Ok(())
    }

    fn get_or_spawn(&mut self, id: &ConversationId) -> (ConversationId, Mailbox<ConversationActor>) {
        let Self { roster, commons, arbiters, hasher, retire, .. } = self;
        let spawn = |tenure| {
            let arbiter = arbiters.pick(hasher.hash_one(id));
            let (id, retire, shared) = (id.clone(), retire.clone(), commons.clone());
            let spawn = move || ConversationActor::new(id, tenure, shared, retire);
            let addr = ConversationActor::start_in_arbiter(&arbiter, {
                let spawn = spawn.clone();
                move |_| spawn()
            });
            // A worker that has ended takes nobody in; this thread does.
            let addr = if addr.connected() { addr } else { spawn().start() };
            Mailbox::new(addr, commons.mailbox_max, &commons.metrics)
        };
        let (id, door) = roster.get_or_spawn(id, Mailbox::is_open, spawn);
        (id, door.clone())
    }
}

impl Desk {
    /// One join, from the question to the last conversation.
    async fn join(
        self,
        session: SessionId,
        outbox: Arc<Outbox>,
        question: Question,
        enters: bool,
        user: Option<User>,
        under_way: UnderWay,
    ) -> Result<Admission, Code> {
        let answer = self.directory.conversations_of(question).await.map_err(|failure| {
            self.complaints.log(&failure, Instant::now());
            failure.code
        })?;
        let (username, conversations) = (answer.username, answer.conversations);
        let user = match user.filter(|user| *user.name() == username) {
            Some(user) => user,
            None => self.users.enter(username.clone()).ok_or_else(|| {
                self.metrics.limited(Limit::UserSessions);
                Code::RateLimited
            })?,
        };
        if !enters {
            return Ok(Admission { user, memberships: Memberships::default() });
        }
        let (reply, admitted) = oneshot::channel();
        let admit = Admit { session, outbox, username, conversations, reply, under_way };
        self.registry.send_always(RegistryMessage::Admit(admit));
        let entered = async {
            let (memberships, all_entered) = admitted.await.map_err(|_| Code::Busy)??;
            all_entered.await.map_err(|_| Code::Busy)?;
            Ok(memberships)
        };
        // Too late, or one of them has died: the memberships go, and with them whatever was entered.
        let memberships = timeout(self.answer_timeout, entered).await.unwrap_or(Err(Code::Busy))?;
        Ok(Admission { user, memberships })
    }
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound is the front door's.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Admissions);
    }
}

impl Addressed for RegistryActor {
    type Message = RegistryMessage;
    const CLASS: ActorClass = ActorClass::Registry;
}

impl Handler<Mail<RegistryMessage>> for RegistryActor {
    type Result = ();

    fn handle(&mut self, mail: Mail<RegistryMessage>, ctx: &mut Self::Context) {
        let (message, place) = mail.open_with_slot();
        match message {
            RegistryMessage::Join(join) => self.join(join, place),
            RegistryMessage::Admit(admit) => self.admitting.push_back(Admitting::new(admit)),
            RegistryMessage::Retire { id, tenure } => drop(self.roster.retire(&id, tenure)),
        }
        self.messages_in_a_row += 1;
        if self.messages_in_a_row >= MESSAGES_PER_TURN {
            self.messages_in_a_row = 0;
            // A mailbox that is never empty does not keep the admissions from their turn.
            ctx.wait(Rest::default().map(|(), registry: &mut Self, _| {
                registry.admit_some();
            }));
        }
    }
}

/// Goes on with the admissions. actix polls it behind the mailbox.
struct Admissions;

impl ActorFuture<RegistryActor> for Admissions {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        registry: &mut RegistryActor,
        _: &mut Context<RegistryActor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        registry.admit_some();
        if !registry.admitting.is_empty() {
            turns::rest(cx);
        }
        Poll::Pending
    }
}
