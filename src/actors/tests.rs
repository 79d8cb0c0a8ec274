//! Tests of conversations, memberships, departures and the registry, without sockets.

mod announced;
mod clustered;
mod fed;
mod measured;

use std::cell::Cell;
use std::future::{pending, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::conversation::UnderWay;
use super::conversation::fan_out::FANOUT_SLICE;
use super::conversation::{
    Board, ConversationActor, ConversationMessage, ConversationSettings, Enter, Membership, People,
};
use super::departures::{self, Memberships};
use super::pending_entries::PendingEntries;
use super::registry::{Admission, Arbiters, EnterAll, Join, Joined, RegistryActor, RegistryBounds, RegistryMessage};
use super::roster::Roster;
use crate::board::conversations::ConversationMeasure;
use crate::board::sessions::SessionBoard;
use crate::delivery::outbox::Outbox;
use crate::delivery::outbox::tests::limits;
use crate::directory::{Answer, Directory, Failure, Question};
use crate::event::{CloseReason, Code, SessionId, Talk, Username};
use crate::mailbox::{Mailbox, SendError};
use crate::metrics::{ActorClass, Metrics, ReadAtScrape};
use crate::protocol::Generation;
use crate::protocol::frame::{Frame, Payload};

/// A directory without answers.
enum Unhelpful {
    /// Fails at once.
    Away,
    /// Never answers, and counts the questions.
    Silent(Rc<Cell<usize>>),
}

impl Directory for Unhelpful {
    fn conversations_of(&self, _: Question) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        match self {
            Self::Away => Box::pin(ready(Err(Failure { code: Code::MaxUnavailable, cause: String::new() }))),
            Self::Silent(asked) => {
                asked.set(asked.get() + 1);
                Box::pin(pending())
            }
        }
    }
}

/// A server of which only the registry and conversations exist. Its directory is away.
struct World {
    settings: Arc<ConversationSettings>,
    registry: Mailbox<RegistryActor>,
}

impl World {
    fn new(adjust: impl FnOnce(&mut ConversationSettings)) -> Self {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let mut settings = ConversationSettings {
            namespace: "/max".into(),
            presence_members_max: 1000.into(),
            burst_max: 32.into(),
            linger: Duration::ZERO,
            cluster: None,
            feed: None,
            board: Board::new(Instant::now()),
            metrics,
        };
        adjust(&mut settings);
        let settings = Arc::new(settings);
        let registry = launch(Unhelpful::Away, &settings, 10);
        Self { settings, registry }
    }

    fn conversation(&self, id: &str) -> Mailbox<ConversationActor> {
        let mut tenure = None;
        Roster::default().get_or_spawn(&id.into(), |()| true, |spawned| tenure = Some(spawned));
        let registrar = Arc::new(self.registry.clone());
        let card = self.settings.board.card(id.into());
        let actor = ConversationActor::new(card, tenure.unwrap(), self.settings.clone(), registrar);
        Mailbox::new(actor.start(), &self.settings.metrics)
    }

    fn outbox(&self) -> Arc<Outbox> {
        let bounds = limits(10_000, 1 << 20);
        Arc::new(Outbox::new(Generation::Eio4, bounds, self.settings.metrics.clone()))
    }

    /// Has a session enter conversations, as if MAX had accepted it.
    fn enter_all(&self, session: u64, username: &str, conversations: &[&str]) -> EnteredAll {
        self.enter_all_under(Arc::new(oneshot::channel().0), session, username, conversations)
    }

    fn enter_all_under(&self, under_way: UnderWay, session: u64, username: &str, conversations: &[&str]) -> EnteredAll {
        let ((reply, memberships), (done, entered)) = (oneshot::channel(), oneshot::channel());
        self.registry.send_always(RegistryMessage::EnterAll(EnterAll {
            session: SessionId(session),
            outbox: self.outbox(),
            username: Username::parse(username).unwrap(),
            conversations: conversations.iter().map(|&id| id.into()).collect(),
            returns: false,
            pending_entries: PendingEntries::new(conversations.len(), done),
            reply,
            under_way,
        }));
        EnteredAll { memberships, entered }
    }
}

/// The answers to an [`EnterAll`].
struct EnteredAll {
    memberships: oneshot::Receiver<Result<Memberships, Code>>,
    entered: oneshot::Receiver<()>,
}

impl EnteredAll {
    /// Waits until the session is in all of its conversations.
    async fn done(self) -> Memberships {
        let memberships = self.memberships.await.unwrap().unwrap();
        self.entered.await.unwrap();
        memberships
    }
}

fn launch(directory: Unhelpful, settings: &Arc<ConversationSettings>, joins_max: usize) -> Mailbox<RegistryActor> {
    settings.metrics.mailbox(ActorClass::Registry).limit.set(joins_max);
    let bounds = RegistryBounds { answer_timeout: Duration::from_secs(600), sessions_per_user_max: 0 };
    let sessions = SessionBoard::new(Instant::now());
    RegistryActor::launch(Rc::new(directory), settings.clone(), Arbiters::default(), sessions, bounds).0
}

fn question() -> Question {
    let username = Username::parse("messi").unwrap();
    Question { username, token: Some("t".into()), scope: None, peer: [127, 0, 0, 1].into() }
}

/// A session's side of a conversation.
struct Member {
    session: SessionId,
    username: Username,
    outbox: Arc<Outbox>,
    membership: Membership,
}

impl Member {
    async fn enter(world: &World, door: &Mailbox<ConversationActor>, session: u64, username: &str) -> Self {
        let (session, username, outbox) = (SessionId(session), Username::parse(username).unwrap(), world.outbox());
        let (done, entered) = oneshot::channel();
        let pending_entry = PendingEntries::new(1, done).one();
        let enter = Enter { session, username: username.clone(), outbox: outbox.clone(), pending_entry };
        door.try_send(ConversationMessage::Enter(enter)).unwrap();
        let membership = Membership::new("c".into(), session, door.clone());
        entered.await.unwrap();
        Self { session, username, outbox, membership }
    }

    fn talk(&self, message_id: &str) {
        let json = serde_json::value::to_raw_value(message_id).unwrap();
        let message_id = crate::event::Scalar::parse(&json, 256).ok();
        let talk = Talk { conversation: "c".into(), timestamp: None, message_id };
        let (session, username) = (self.session, self.username.clone());
        self.membership
            .mailbox()
            .try_send(ConversationMessage::Talk { session, username, talk, ticket: None })
            .unwrap();
    }

    /// Returns the packets that have arrived, as texts.
    fn heard(&self) -> Vec<String> {
        let mut frames = Vec::new();
        self.outbox.drain_while(|frame| {
            frames.push(frame.clone());
            true
        });
        self.outbox.written(frames.len(), frames.iter().map(Frame::len).sum());
        let text = |frame: &Frame| match frame.payload() {
            Payload::Text(text) => text.to_owned(),
            Payload::Binary(data) => format!("{data:?}"),
        };
        frames.iter().map(text).collect()
    }
}

/// Waits until the conversation has handled everything that was sent before.
async fn settled(door: &Mailbox<ConversationActor>) -> People {
    let (reply, people) = oneshot::channel();
    door.send_always(ConversationMessage::Ask(reply));
    people.await.unwrap()
}

#[actix_rt::test]
async fn all_members_hear_the_same_order_without_their_own_talks() {
    let world = World::new(|settings| settings.burst_max = 3.into());
    let door = world.conversation("c");
    let messi = Member::enter(&world, &door, 1, "messi").await;
    let phone = Member::enter(&world, &door, 2, "messi").await;
    let xavi = Member::enter(&world, &door, 3, "xavi").await;
    for at in 0..100 {
        [&messi, &xavi][at % 2].talk(&at.to_string());
    }
    assert_eq!(settled(&door).await.inroom, 2);
    let joined = r#"42/max,["joined",{"conversation":"c","username":"xavi"}]"#;
    let update = |at: usize| {
        let username = ["messi", "xavi"][at % 2];
        format!(r#"42/max,["update",{{"username":"{username}","conversation":"c","messageID":"{at}"}}]"#)
    };
    assert_eq!(messi.heard(), [vec![joined.to_owned()], (1..100).step_by(2).map(update).collect()].concat());
    assert_eq!(phone.heard(), [vec![joined.to_owned()], (0..100).map(update).collect()].concat());
    assert_eq!(xavi.heard(), (0..100).step_by(2).map(update).collect::<Vec<_>>());
}

/// A fan-out of more than one slice lets other tasks run, but the talks behind it wait for its end.
#[actix_rt::test]
async fn a_talk_does_not_overtake_a_large_fan_out() {
    let world = World::new(|settings| settings.presence_members_max = 1.into());
    let door = world.conversation("c");
    let mut members = Vec::new();
    for at in 0..2500 {
        members.push(Member::enter(&world, &door, at, &format!("u{at}")).await);
    }
    members[0].talk("first");
    members[1].talk("second");
    assert_eq!(settled(&door).await.people, None, "above the presence limit");
    for (at, member) in members.iter().enumerate() {
        let heard: Vec<_> = member.heard().iter().map(|text| text.contains("first")).collect();
        assert_eq!(heard, [vec![false], vec![true], vec![true, false]][at.min(2)], "member {at}");
    }
}

/// A task that waits for input runs between two slices of a fan-out.
#[actix_rt::test]
async fn a_large_fan_out_does_not_keep_the_runtime_from_the_sockets() {
    let world = World::new(|settings| settings.presence_members_max = 1.into());
    let door = world.conversation("c");
    let mut members = Vec::new();
    for at in 0..4 * FANOUT_SLICE as u64 {
        members.push(Member::enter(&world, &door, at, &format!("u{at}")).await);
    }
    let (mut near, far) = tokio::net::UnixStream::pair().unwrap();
    let (ready, reads) = oneshot::channel();
    let reading = actix_rt::spawn(async move {
        let _ = ready.send(());
        near.read_u8().await.unwrap();
        members.iter().filter(|member| !member.outbox.is_empty()).count()
    });
    reads.await.unwrap();
    let talk = Talk { conversation: "c".into(), timestamp: None, message_id: None };
    let (session, username) = (SessionId(0), Username::parse("u0").unwrap());
    door.try_send(ConversationMessage::Talk { session, username, talk, ticket: None }).unwrap();
    far.try_write(b"x").unwrap();
    let reached = reading.await.unwrap();
    assert!(reached <= FANOUT_SLICE, "{reached} were served first");
}

#[actix_rt::test]
async fn a_presence_limit_counts_the_user_that_enters_or_leaves() {
    let world = World::new(|settings| settings.presence_members_max = 2.into());
    let door = world.conversation("c");
    let first = Member::enter(&world, &door, 1, "a").await;
    let second = Member::enter(&world, &door, 2, "b").await;
    let third = Member::enter(&world, &door, 3, "c").await;
    drop(third);
    drop(second);
    settled(&door).await;
    let heard: Vec<_> = first.heard().iter().map(|text| text.chars().skip(9).take(6).collect::<String>()).collect();
    assert_eq!(heard, ["joined", "left\","]);
}

/// Holds a membership, and panics when it gets [`Fail`].
struct Failing(#[allow(dead_code, reason = "held for its drop")] Membership);

impl Actor for Failing {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for Failing {
    type Result = ();

    fn handle(&mut self, _: Fail, _: &mut Self::Context) {
        panic!("as it was told");
    }
}

#[actix_rt::test]
async fn a_session_that_panics_leaves_no_ghost() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    let xavi = Member::enter(&world, &door, 1, "xavi").await;
    let Member { membership, .. } = Member::enter(&world, &door, 2, "messi").await;
    let failing = Failing(membership).start();
    assert!(failing.send(Fail).await.is_err());
    let people = settled(&door).await;
    assert_eq!((people.inroom, people.people), (1, Some(vec![xavi.username.clone()])));
    assert_eq!(xavi.heard().last().unwrap(), r#"42/max,["left",{"conversation":"c","username":"messi"}]"#);
}

#[actix_rt::test]
async fn a_conversation_that_panics_sends_its_members_away_and_nobody_else() {
    let world = World::new(|_| {});
    let (door, other) = (world.conversation("c"), world.conversation("other"));
    let messi = Member::enter(&world, &door, 1, "messi").await;
    let xavi = Member::enter(&world, &other, 2, "xavi").await;
    door.send_always(ConversationMessage::Panic);
    while door.is_open() {
        tokio::task::yield_now().await;
    }
    assert_eq!(messi.outbox.closed(), Some(CloseReason::ConversationLost));
    settled(&other).await;
    assert_eq!(xavi.outbox.closed(), None);
    assert_eq!(world.settings.metrics.mailbox(ActorClass::Conversation).actors.panicked.get(), 1);
    assert_eq!(world.settings.metrics.conversations.get(), 1);
    drop(messi);
}

/// actix runs a timer that was cancelled in the very poll in which it is due. If the conversation asked to retire then,
/// with the new entry counted as seen, it would leave the roster with a member.
#[actix_rt::test]
async fn an_entry_at_the_end_of_the_linger_time_keeps_the_conversation() {
    // Longer than a busy machine takes to start the conversation.
    let linger = Duration::from_millis(300);
    let world = World::new(|settings| settings.linger = linger);
    let door = world.conversation("c");
    settled(&door).await;
    // The thread is busy until the linger time is over.
    std::thread::sleep(linger + Duration::from_millis(2));
    tokio::task::yield_now().await;
    let messi = Member::enter(&world, &door, 1, "messi").await;
    assert_eq!(world.settings.metrics.mailbox(ActorClass::Registry).offered(), 0);
    assert_eq!(settled(&door).await.inroom, 1);
    drop(messi);
}

#[actix_rt::test]
async fn a_conversation_without_members_retires() {
    let world = World::new(|_| {});
    let memberships = world.enter_all(1, "messi", &["a", "b"]).done().await;
    assert_eq!(world.settings.metrics.conversations.get(), 2);
    drop(memberships);
    while world.settings.metrics.conversations.get() > 0 {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn a_join_is_all_or_nothing() {
    let world = World::new(|settings| settings.metrics.mailbox(ActorClass::Conversation).limit.set(1));
    // Both are handled in one poll of the registry, before the conversations run: the second finds `b` full.
    let (first, second) = (world.enter_all(1, "messi", &["b"]), world.enter_all(2, "messi", &["a", "b"]));
    let memberships = first.done().await;
    assert!(matches!(second.memberships.await.unwrap(), Err(Code::Busy)));
    drop(memberships);
}

#[actix_rt::test]
async fn a_session_that_has_gone_enters_nothing() {
    let world = World::new(|_| {});
    drop(world.enter_all(1, "messi", &["a"]));
    tokio::task::yield_now().await;
    assert_eq!(world.settings.metrics.mailbox(ActorClass::Conversation).actors.started.get(), 0);
}

#[actix_rt::test]
async fn a_join_that_max_does_not_answer_is_refused_and_spawns_nothing() {
    let world = World::new(|_| {});
    let (reply, answer) = oneshot::channel::<Result<Joined, Code>>();
    let (session, outbox, under_way) = (SessionId(1), world.outbox(), Arc::new(oneshot::channel().0));
    let join =
        Join { session, outbox, admission: Admission::Ask(question()), enters: true, user: None, reply, under_way };
    world.registry.try_send(RegistryMessage::Join(join)).unwrap();
    assert_eq!(answer.await.unwrap().unwrap_err(), Code::MaxUnavailable);
    assert_eq!(world.settings.metrics.conversations.get(), 0);
}

/// Returns the largest step by which `count` rises while other tasks run once, until it has risen by `all`.
async fn largest_step(all: u64, count: impl Fn() -> u64) -> u64 {
    let (start, mut before, mut largest) = (count(), count(), 0);
    while before < start + all {
        tokio::task::yield_now().await;
        let now = count();
        largest = largest.max(now - before);
        before = now;
    }
    largest
}

#[actix_rt::test]
async fn many_departures_are_done_in_slices() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    let metrics = world.settings.metrics.mailbox(ActorClass::Conversation).clone();
    let many = |session: u64, count: u64| {
        let mut memberships = Memberships::default();
        (0..count).for_each(|_| memberships.push(Membership::new("c".into(), SessionId(session), door.clone())));
        memberships
    };
    departures::start();
    drop((many(1, 3000), many(1, 2000)));
    let (guard, mut out) = oneshot::channel::<()>();
    departures::then_drop(SessionId(1), guard);
    // A few do not wait behind the many of other sessions.
    let before = metrics.offered();
    drop(many(2, 2));
    assert_eq!(metrics.offered(), before + 2);
    assert!(departures::all_out(SessionId(2)).is_none());
    // More than a few wait for a turn, but not for the end of the other sessions.
    drop(many(3, 100));
    let before = metrics.offered();
    let mut others_out = departures::all_out(SessionId(3)).unwrap();
    assert!((&mut others_out).await.is_err());
    assert!(metrics.offered() <= before + 3 * 128, "{}", metrics.offered() - before);
    assert!(out.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    let step = largest_step(4000, || metrics.offered()).await;
    assert!(step <= 256, "{step} in one turn");
    assert!(out.await.is_err(), "the guard is dropped after all of them");
    assert_eq!(metrics.offered() - before, 5100);
    assert!(departures::all_out(SessionId(1)).is_none());
}

/// Departures that are queued when their thread ends are done at once.
#[actix_rt::test]
async fn a_thread_that_ends_leaves_no_ghosts() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    let metrics = world.settings.metrics.mailbox(ActorClass::Conversation).clone();
    let before = metrics.offered();
    std::thread::spawn(move || {
        System::new().block_on(async move {
            departures::start();
            let mut memberships = Memberships::default();
            (0..5000).for_each(|at| memberships.push(Membership::new("c".into(), SessionId(at), door.clone())));
            drop(memberships);
        });
    })
    .join()
    .unwrap();
    assert_eq!(metrics.offered(), before + 5000);
}

#[actix_rt::test]
async fn a_conversation_lets_others_run_whatever_its_messages_are() {
    let world = World::new(|settings| settings.burst_max = 4.into());
    let door = world.conversation("c");
    let xavi = Member::enter(&world, &door, 1, "xavi").await;
    let metrics = world.settings.metrics.mailbox(ActorClass::Conversation).clone();
    type Message = Box<dyn Fn() -> ConversationMessage>;
    let kinds: [(&str, Message); 3] = [
        ("leave", Box::new(|| ConversationMessage::Leave(SessionId(9)))),
        ("ask", Box::new(|| ConversationMessage::Ask(oneshot::channel().0))),
        ("enter", {
            let outbox = xavi.outbox.clone();
            Box::new(move || {
                let pending_entry = PendingEntries::new(1, oneshot::channel().0).one();
                let username = Username::parse("xavi").unwrap();
                ConversationMessage::Enter(Enter {
                    session: SessionId(1),
                    username,
                    outbox: outbox.clone(),
                    pending_entry,
                })
            })
        }),
    ];
    for (kind, message) in kinds {
        (0..1000).for_each(|_| door.send_always(message()));
        let step = largest_step(1000, || 1000 - metrics.messages.get() as u64).await;
        assert!(step <= 8, "{step} of {kind} in one turn");
    }
}

#[actix_rt::test]
async fn the_registry_sends_entries_and_handles_messages_in_slices() {
    let world = World::new(|settings| settings.linger = Duration::from_secs(600));
    let metrics = world.settings.metrics.mailbox(ActorClass::Conversation).clone();
    let ids: Vec<_> = (0..2000).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let (many, mut few) = (world.enter_all(1, "messi", &ids), world.enter_all(2, "xavi", &["few"]));
    let step = largest_step(1000, || metrics.offered()).await;
    assert!(step <= 128, "{step} entries in one turn");
    assert!(few.memberships.try_recv().is_ok(), "the one with few conversations does not wait for the one with many");
    let memberships = many.done().await;
    assert_eq!(memberships.into_vec().iter().map(Membership::id).map(|id| id.as_str()).collect::<Vec<_>>(), ids);

    // Requests to retire come in thousands too.
    let registry = world.settings.metrics.mailbox(ActorClass::Registry).clone();
    let mut tenure = None;
    Roster::default().get_or_spawn(&"x".into(), |()| true, |spawned| tenure = Some(spawned));
    let retire = || RegistryMessage::Retire { id: "x".into(), tenure: tenure.unwrap() };
    (0..1000).for_each(|_| world.registry.send_always(retire()));
    let step = largest_step(1000, || 1000 - registry.messages.get() as u64).await;
    assert!(step <= 128, "{step} messages in one turn");
}

/// A session that goes during its join leaves the conversations that it has entered. Only then the join is over.
#[actix_rt::test]
async fn a_void_join_is_over_when_its_entries_are_undone() {
    let world = World::new(|settings| settings.linger = Duration::from_secs(600));
    let metrics = world.settings.metrics.mailbox(ActorClass::Conversation).clone();
    let ids: Vec<_> = (0..2000).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let (under_way, mut end) = oneshot::channel();
    let many = world.enter_all_under(Arc::new(under_way), 1, "messi", &ids);
    largest_step(300, || metrics.actors.started.get()).await;
    drop(many);
    assert!(end.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    assert!(end.await.is_err());
    let entered = metrics.actors.started.get();
    assert!(entered < 2000, "it has entered all of them");
    assert_eq!(metrics.offered(), 2 * entered, "one entry and one departure for each");
}

#[actix_rt::test]
async fn joins_under_way_are_bounded() {
    let world = World::new(|_| {});
    let asked = Rc::<Cell<usize>>::default();
    let registry = launch(Unhelpful::Silent(asked.clone()), &world.settings, 3);
    let join = |session| {
        let (reply, answer) = oneshot::channel::<Result<Joined, Code>>();
        let (session, outbox, under_way) = (SessionId(session), world.outbox(), Arc::new(oneshot::channel().0));
        let join =
            Join { session, outbox, admission: Admission::Ask(question()), enters: true, user: None, reply, under_way };
        (registry.try_send(RegistryMessage::Join(join)), answer)
    };
    let metrics = world.settings.metrics.mailbox(ActorClass::Registry).clone();
    let taken: Vec<_> = (0..3).map(join).collect();
    assert!(taken.iter().all(|(sent, _)| sent.is_ok()));
    // They were taken out of the mailbox and are not answered.
    while asked.get() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(join(4).0, Err(SendError::Full));
    drop(taken);
    while metrics.messages.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(join(5).0, Ok(()));
}

/// The ids of the conversations on the board, the one with the most members first.
fn on_the_board(world: &World) -> Vec<String> {
    let cards = world.settings.board.top(ConversationMeasure::Members, 100);
    cards.iter().map(|card| card.id.as_str().to_owned()).collect()
}

#[actix_rt::test]
async fn a_conversation_is_on_the_board_as_long_as_it_lives() {
    let world = World::new(|_| ());
    let board = &world.settings.board;
    let first = world.enter_all(1, "messi", &["c1", "c2"]).done().await;
    let second = world.enter_all(2, "messi", &["c1"]).done().await;
    assert_eq!(on_the_board(&world), ["c1", "c2"]);
    let card = board.get("c1").unwrap();
    let figures = board.figures(&card);
    assert_eq!((figures.sessions, figures.users, figures.talks), (2, 1, 0));
    let door = card.door().unwrap().upgrade().unwrap();
    let talk = Talk { conversation: "c1".into(), timestamp: None, message_id: None };
    let (session, username) = (SessionId(1), Username::parse("messi").unwrap());
    door.send_always(ConversationMessage::Talk { session, username, talk, ticket: None });
    settled(&door).await;
    let figures = board.figures(&card);
    assert_eq!((figures.talks, figures.deliveries), (1, 1), "the one who talks hears nothing");
    assert_eq!(board.top(ConversationMeasure::Talks, 10).len(), 1);

    drop((door, first, second));
    while world.settings.metrics.conversations.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(board.get("c1").is_none() && on_the_board(&world).is_empty(), "both have retired");
    let _third = world.enter_all(3, "xavi", &["c3"]).done().await;
    let door = board.get("c3").unwrap().door().unwrap().upgrade().unwrap();
    door.send_always(ConversationMessage::Panic);
    while door.is_open() {
        tokio::task::yield_now().await;
    }
    assert!(board.get("c3").is_none() && on_the_board(&world).is_empty(), "it has failed");
}
