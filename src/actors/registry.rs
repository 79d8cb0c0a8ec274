//! The one authority on which conversations live. It asks MAX for those that join, and never waits in a handler: each
//! join is a task of its own, so a slow MAX delays no other join, spawn or retirement.

use std::cell::Cell;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, ArbiterHandle, AsyncContext, Context, Handler};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::conversation::{Arrivals, Commons, ConversationActor, ConversationMessage, Enter, Membership};
use super::roster::{Roster, Tenure};
use crate::event::{Code, ConversationId, SessionId, Username};
use crate::mailbox::{Mail, Mailbox, Presence, Resident};
use crate::max::{Directory, Failure, Question};
use crate::metrics::ActorClass;
use crate::outbox::Outbox;

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
    /// Where it waits for the answer. Dropped, the join is void: whatever was done is undone.
    pub reply: oneshot::Sender<Result<Admission, Code>>,
}

/// A join that was done: its session is registered in every one of these conversations.
#[derive(Debug)]
pub struct Admission {
    /// Who MAX says it is.
    pub username: Username,
    /// In the order in which MAX gave them.
    pub memberships: Vec<Membership>,
}

/// A session that MAX has vouched for.
#[derive(Debug)]
pub struct Admit {
    session: SessionId,
    outbox: Arc<Outbox>,
    username: Username,
    conversations: Vec<ConversationId>,
    reply: oneshot::Sender<Result<Entering, Code>>,
}

#[cfg(test)]
impl Admit {
    /// What MAX would have led to.
    pub(super) fn for_tests(
        session: SessionId,
        outbox: Arc<Outbox>,
        username: &str,
        conversations: &[&str],
        reply: oneshot::Sender<Result<Entering, Code>>,
    ) -> Self {
        let username = Username::parse(username).unwrap();
        Self { session, outbox, username, conversations: conversations.iter().map(|&id| id.into()).collect(), reply }
    }
}

/// Entries that were sent: the memberships, and what hears when all of them are in force.
pub(super) type Entering = (Vec<Membership>, oneshot::Receiver<()>);

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
#[derive(Debug, Default)]
struct Complaints {
    last: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

impl Complaints {
    fn log(&self, failure: &Failure, now: Instant) {
        match failure.code {
            Code::MaxTimeout | Code::MaxUnavailable | Code::MaxError | Code::MaxGarbage | Code::MaxTooLarge => {}
            _ => return log::debug!("a join was refused: {failure}"),
        }
        if self.last.get().is_some_and(|last| now < last + Duration::from_secs(1)) {
            return self.unsaid.set(self.unsaid.get() + 1);
        }
        self.last.set(Some(now));
        match self.unsaid.take() {
            0 => log::warn!("{failure}"),
            more => log::warn!("{failure} (and {more} more before)"),
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

/// The registry of one server.
pub struct RegistryActor {
    directory: Directory,
    complaints: Rc<Complaints>,
    roster: Roster<Mailbox<ConversationActor>>,
    commons: Arc<Commons>,
    arbiters: Arbiters,
    hasher: RandomState,
    answer_timeout: Duration,
    mailbox: Mailbox<Self>,
    _presence: Presence,
    /// Closes when the registry is gone.
    _alive: oneshot::Sender<Infallible>,
}

impl RegistryActor {
    /// Starts the registry on this thread. `mailbox_max` is its bound, `answer_timeout` how long the conversations of a
    /// join may take. It ends only by failing, and a server without it is none.
    pub fn launch(
        directory: Directory,
        commons: Arc<Commons>,
        arbiters: Arbiters,
        mailbox_max: usize,
        answer_timeout: Duration,
    ) -> (Mailbox<Self>, RegistryEnd) {
        let metrics = commons.metrics.clone();
        let (alive, end) = oneshot::channel();
        let ctx = Context::new();
        let mailbox = Mailbox::new(ctx.address(), mailbox_max, &metrics);
        ctx.run(Self {
            directory,
            complaints: Rc::default(),
            roster: Roster::default(),
            commons,
            arbiters,
            hasher: RandomState::new(),
            answer_timeout,
            _presence: Presence::new(ActorClass::Registry, &metrics),
            mailbox: mailbox.clone(),
            _alive: alive,
        });
        (mailbox, RegistryEnd(end))
    }

    fn join(&mut self, join: Join) {
        let mailbox = self.mailbox.clone();
        let directory = self.directory.clone();
        let (complaints, answer_timeout) = (self.complaints.clone(), self.answer_timeout);
        actix_rt::spawn(async move {
            let Join { session, outbox, question, mut reply } = join;
            let outcome = tokio::select! {
                biased;
                // The session has gone, or joins anew: its place at MAX is given back.
                () = reply.closed() => return,
                outcome = admit(&mailbox, directory, &complaints, session, outbox, question, answer_timeout) => outcome,
            };
            // Nobody there to take it: dropping the memberships leaves again.
            let _ = reply.send(outcome);
        });
    }

    /// Sends the session into all its conversations, or into none where one of them has no place for it.
    fn admit(&mut self, admit: Admit) {
        let Admit { session, outbox, username, conversations, reply } = admit;
        // The session has gone in the meantime: nobody is to see it come and go.
        if reply.is_closed() {
            return;
        }
        let mut doors = Vec::with_capacity(conversations.len());
        for id in conversations {
            let (id, door) = self.get_or_spawn(&id);
            match door.reserve() {
                Ok(place) => doors.push((id, door, place)),
                Err(_) => return drop(reply.send(Err(Code::Busy))),
            }
        }
        let (done, all_entered) = oneshot::channel();
        let arrivals = Arrivals::new(doors.len(), done);
        let mut memberships = Vec::with_capacity(doors.len());
        for (id, door, place) in doors {
            let (username, outbox, arrival) = (username.clone(), outbox.clone(), arrivals.expect());
            door.fill(place, ConversationMessage::Enter(Enter { session, username, outbox, arrival }));
            self.roster.sent_entry(&id);
            memberships.push(Membership::new(id, session, door));
        }
        let _ = reply.send(Ok((memberships, all_entered)));
    }

    fn get_or_spawn(&mut self, id: &ConversationId) -> (ConversationId, Mailbox<ConversationActor>) {
        let Self { roster, commons, arbiters, hasher, mailbox, .. } = self;
        let spawn = |tenure| {
            let arbiter = arbiters.pick(hasher.hash_one(id));
            let (id, registry, shared) = (id.clone(), mailbox.clone(), commons.clone());
            let spawn = move || ConversationActor::new(id, tenure, shared, registry);
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

/// One join, from the question to the last conversation.
async fn admit(
    registry: &Mailbox<RegistryActor>,
    directory: Directory,
    complaints: &Complaints,
    session: SessionId,
    outbox: Arc<Outbox>,
    question: Question,
    answer_timeout: Duration,
) -> Result<Admission, Code> {
    let answer = directory.conversations_of(question).await.map_err(|failure| {
        complaints.log(&failure, Instant::now());
        failure.code
    })?;
    let (reply, admitted) = oneshot::channel();
    let (username, conversations) = (answer.username.clone(), answer.conversations);
    registry.send_always(RegistryMessage::Admit(Admit { session, outbox, username, conversations, reply }));
    let entered = async {
        let (memberships, all_entered) = admitted.await.map_err(|_| Code::Busy)??;
        all_entered.await.map_err(|_| Code::Busy)?;
        Ok(memberships)
    };
    // Too late, or one of them has died: the memberships go, and with them whatever was entered.
    let memberships = timeout(answer_timeout, entered).await.unwrap_or(Err(Code::Busy))?;
    Ok(Admission { username: answer.username, memberships })
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound is the front door's.
        ctx.set_mailbox_capacity(0);
    }
}

impl Resident for RegistryActor {
    type Message = RegistryMessage;
    const CLASS: ActorClass = ActorClass::Registry;
}

impl Handler<Mail<RegistryMessage>> for RegistryActor {
    type Result = ();

    fn handle(&mut self, mail: Mail<RegistryMessage>, _: &mut Self::Context) {
        match mail.open() {
            RegistryMessage::Join(join) => self.join(join),
            RegistryMessage::Admit(admit) => self.admit(admit),
            RegistryMessage::Retire { id, tenure } => drop(self.roster.retire(&id, tenure)),
        }
    }
}
