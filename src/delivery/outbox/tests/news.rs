//! Tests of news that does not fit.

use std::collections::{BTreeSet, VecDeque};

use futures_util::task::waker;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::delivery::fold::{News, Recount};
use crate::event::{ConversationId, Scalar, ServerEvent, SessionId, Talk, Username};
use crate::protocol::frame::{Broadcast, Payload};

const READER: SessionId = SessionId(7);

/// Requests for a recount that the conversations have not answered yet.
type Requests = Arc<Mutex<VecDeque<usize>>>;

#[derive(Debug)]
struct Recounter {
    number: usize,
    id: ConversationId,
    requests: Requests,
}

impl Recount for Recounter {
    fn conversation(&self) -> &ConversationId {
        &self.id
    }

    fn request(&self, session: SessionId) {
        assert_eq!(session, READER);
        self.requests.lock().push_back(self.number);
    }
}

/// A conversation, and the knowledge of its reader.
struct Conversation {
    recount: Arc<dyn Recount>,
    /// Whether the reader is a member.
    has_reader: bool,
    talks: u64,
    people: BTreeSet<u8>,
    heard: u64,
    known: BTreeSet<u8>,
}

/// An outbox, its reader, and the conversations of the reader.
struct Scene {
    outbox: Outbox,
    wakes: Arc<Wakes>,
    /// The wakes after which the session's task has run.
    ran: usize,
    conversations: Vec<Conversation>,
    requests: Requests,
}

fn limits_of(policy: OutboxPolicy, messages_max: usize, grace_ms: u64) -> Arc<OutboxLimits> {
    Arc::new(OutboxLimits::new(&config::Outbox { messages_max, bytes_max: 100_000, policy, grace_ms }))
}

fn user(number: u8) -> Username {
    Username::parse(&format!("u{number}")).unwrap()
}

impl Scene {
    fn new(generation: Generation, limits: Arc<OutboxLimits>, conversations: usize) -> Self {
        let requests = Requests::default();
        let conversation = |number: usize| Conversation {
            recount: Arc::new(Recounter { number, id: id_of(number), requests: requests.clone() }),
            has_reader: true,
            talks: 0,
            people: BTreeSet::new(),
            heard: 0,
            known: BTreeSet::new(),
        };
        let conversations = (0..conversations).map(conversation).collect();
        let outbox = Outbox::new(generation, limits, Metrics::new(&[], ReadAtScrape::default()));
        Self { outbox, wakes: Arc::default(), ran: 0, conversations, requests }
    }

    fn frame(&self, event: &ServerEvent<'_>) -> Frame {
        let generation = self.outbox.generation();
        Broadcast::new("/max".into(), event.name().as_str(), event.json()).frame(generation).clone()
    }

    fn talk(&mut self, number: usize) -> bool {
        let conversation = &mut self.conversations[number];
        conversation.talks += 1;
        let message_id = Some(Scalar::Literal(conversation.talks.to_string().into()));
        let talk = Talk { conversation: id_of(number), timestamp: None, message_id };
        let username = user(0);
        let has_reader = conversation.has_reader;
        let frame = self.frame(&ServerEvent::Update { username: &username, talk: &talk, missed: None });
        has_reader && self.outbox.push_news(frame, &News::Update { namespace: "/max".into(), username, talk })
    }

    /// A user begins to listen, or stops.
    fn toggle(&mut self, number: usize, name: u8) -> bool {
        let conversation = &mut self.conversations[number];
        let (id, username) = (&id_of(number), &user(name));
        let event = if conversation.people.remove(&name) {
            ServerEvent::Left { conversation: id, username }
        } else {
            conversation.people.insert(name);
            ServerEvent::Joined { conversation: id, username }
        };
        let (news, has_reader) = (News::Presence(conversation.recount.clone()), conversation.has_reader);
        has_reader && self.outbox.push_news(self.frame(&event), &news)
    }

    /// The conversation that was asked first answers.
    fn recount(&mut self) {
        let Some(number) = self.requests.lock().pop_front() else { return };
        let conversation = &self.conversations[number];
        if !conversation.has_reader {
            return;
        }
        let people: Vec<_> = conversation.people.iter().map(|name| user(*name)).collect();
        let event = ServerEvent::People {
            conversation: &id_of(number),
            inroom: people.len(),
            people: Some(&people),
            partial: false,
        };
        self.outbox.push_people(&id_of(number), self.frame(&event));
    }

    /// The reader leaves a conversation, or enters it again and learns who is there.
    fn move_reader(&mut self, number: usize) {
        let conversation = &mut self.conversations[number];
        conversation.has_reader = !conversation.has_reader;
        if !conversation.has_reader {
            self.outbox.forget(&id_of(number));
        }
        // Frames of the earlier membership are told before the client hears that it has entered.
        self.read(usize::MAX);
        let conversation = &mut self.conversations[number];
        (conversation.heard, conversation.known) = (conversation.talks, conversation.people.clone());
    }

    /// The reader takes some frames, and they are written.
    fn read(&mut self, most: usize) {
        let mut frames = Vec::new();
        self.outbox.drain_while(|frame| {
            let takes = frames.len() < most;
            takes.then(|| frames.push(frame.clone()));
            takes
        });
        if self.outbox.written(frames.len(), frames.iter().map(Frame::len).sum()) {
            self.outbox.wake();
        }
        frames.iter().for_each(|frame| self.hear(frame));
    }

    fn hear(&mut self, frame: &Frame) {
        let Payload::Text(text) = frame.payload() else { panic!("{frame:?}") };
        let json: Value = match self.outbox.generation() {
            Generation::Sio09 => {
                let event: Value = serde_json::from_str(text.strip_prefix("5::/max:").unwrap()).unwrap();
                Value::from(vec![event["name"].clone(), event["args"][0].clone()])
            }
            _ => serde_json::from_str(text.strip_prefix("42/max,").unwrap()).unwrap(),
        };
        let event = &json[1];
        let number: usize = event["conversation"].as_str().unwrap()[1..].parse().unwrap();
        let name = |value: &Value| value.as_str().unwrap()[1..].parse::<u8>().unwrap();
        let conversation = &mut self.conversations[number];
        match json[0].as_str().unwrap() {
            "update" => {
                assert_eq!(event["messageID"].as_u64().unwrap(), conversation.heard + 1, "the first one not heard");
                conversation.heard += event["missed"].as_u64().unwrap_or(1);
            }
            "joined" => assert!(conversation.known.insert(name(&event["username"])), "{event} is no news"),
            "left" => assert!(conversation.known.remove(&name(&event["username"])), "{event} is no news"),
            "people" => conversation.known = event["people"].as_array().unwrap().iter().map(name).collect(),
            other => panic!("{other}"),
        }
    }

    /// Runs the session's task if it was woken.
    fn run(&mut self) {
        let wakes = self.wakes.0.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.ran, wakes) != wakes {
            self.outbox.register(&waker(self.wakes.clone()));
            self.outbox.catch_up(READER).unwrap();
        }
    }

    /// Lets the reader catch up.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.run();
            self.recount();
            self.read(usize::MAX);
        }
    }
}

fn id_of(number: usize) -> ConversationId {
    format!("c{number}").as_str().into()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Talk(usize),
    Toggle(usize, u8),
    MoveReader(usize),
    Read(usize),
    Run,
    Recount,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..3).prop_map(Step::Talk),
        4 => (0usize..3, 0u8..4).prop_map(|(number, name)| Step::Toggle(number, name)),
        1 => (0usize..3).prop_map(Step::MoveReader),
        3 => (0usize..4).prop_map(Step::Read),
        3 => Just(Step::Run),
        2 => Just(Step::Recount),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// After it has caught up, a reader knows for each conversation the first talk that it has not heard, how many it
    /// has not heard, and who is there. It hears no event twice, and none out of order.
    #[test]
    fn a_reader_that_catches_up_knows_everything(
        steps in steps(),
        generation in prop::sample::select(&Generation::ALL[..]),
        messages_max in 1usize..6,
    ) {
        let mut scene = Scene::new(generation, limits_of(OutboxPolicy::Fold, messages_max, 30_000), 3);
        scene.outbox.register(&waker(scene.wakes.clone()));
        for step in steps {
            match step {
                Step::Talk(number) => _ = scene.talk(number),
                Step::Toggle(number, name) => _ = scene.toggle(number, name),
                Step::MoveReader(number) => scene.move_reader(number),
                Step::Read(most) => scene.read(most),
                Step::Run => scene.run(),
                Step::Recount => scene.recount(),
            }
            prop_assert!(scene.outbox.len() <= messages_max);
        }
        scene.settle();
        for conversation in scene.conversations.iter().filter(|conversation| conversation.has_reader) {
            prop_assert_eq!(conversation.heard, conversation.talks);
            prop_assert_eq!(&conversation.known, &conversation.people);
        }
        prop_assert_eq!(scene.outbox.catch_up(READER), Ok(None));
        prop_assert_eq!(scene.outbox.metrics.behind_sessions.get(), 0);
        prop_assert_eq!(scene.outbox.metrics.session_queue_messages.get(), 0);
    }
}

#[test]
fn folded_news_is_told_when_less_than_half_waits() {
    let mut scene = Scene::new(Generation::Eio4, limits_of(OutboxPolicy::Fold, 4, 30_000), 2);
    scene.outbox.register(&waker(scene.wakes.clone()));
    let pushed = (0..6).map(|_| scene.talk(0)).filter(|pushed| *pushed).count();
    assert_eq!(pushed, 4);
    assert!(!scene.talk(1) && !scene.toggle(1, 3));
    let folded = scene.outbox.metrics.slow_folded.get();
    assert_eq!((folded, scene.outbox.metrics.behind_sessions.get()), (4, 1));
    scene.run();
    scene.read(1);
    assert!(!scene.talk(1), "an older talk of the conversation is folded");
    scene.run();
    assert_eq!(scene.outbox.len(), 3, "more than half waits");
    scene.read(1);
    scene.run();
    assert_eq!(scene.outbox.len(), 3, "one folded update, then more than half waits again");
    scene.read(2);
    scene.run();
    assert_eq!((scene.outbox.len(), scene.requests.lock().len()), (2, 1));
    scene.recount();
    assert_eq!(scene.outbox.len(), 3);
    scene.read(3);
    assert_eq!((scene.conversations[0].heard, scene.conversations[1].heard), (6, 2));
    assert_eq!(scene.conversations[1].known, BTreeSet::from([3]));
    scene.run();
    assert_eq!(scene.outbox.metrics.behind_sessions.get(), 0);
}

#[test]
fn a_recount_that_does_not_fit_is_asked_for_again() {
    let mut scene = Scene::new(Generation::Eio4, limits_of(OutboxPolicy::Fold, 2, 30_000), 2);
    scene.outbox.register(&waker(scene.wakes.clone()));
    assert!(scene.talk(1) && scene.talk(1) && !scene.toggle(0, 1));
    scene.read(2);
    scene.run();
    assert_eq!(*scene.requests.lock(), [0]);
    assert!(scene.talk(1) && scene.talk(1));
    scene.recount();
    scene.read(1);
    scene.run();
    assert_eq!(*scene.requests.lock(), [0], "once more");
    scene.recount();
    scene.read(2);
    assert_eq!(scene.conversations[0].known, BTreeSet::from([1]));
}

#[test]
fn a_reader_has_a_time_to_catch_up() {
    for policy in [OutboxPolicy::Fold, OutboxPolicy::Drop] {
        let mut scene = Scene::new(Generation::Eio4, limits_of(policy, 2, 60_000), 1);
        scene.outbox.register(&waker(scene.wakes.clone()));
        assert_eq!(scene.outbox.catch_up(READER), Ok(None));
        let before = Instant::now();
        assert!(scene.talk(0) && scene.talk(0));
        scene.outbox.register(&waker(scene.wakes.clone()));
        assert!(!scene.talk(0));
        assert_eq!(scene.wakes.0.load(Ordering::Relaxed), 2, "for the first talk, and because the reader is behind");
        let first = scene.outbox.catch_up(READER).unwrap().unwrap();
        assert!(first.is_new && first.alarm.period == Duration::from_secs(60));
        assert!(first.alarm.due >= before + Duration::from_secs(60));
        assert!(!scene.talk(0));
        let second = scene.outbox.catch_up(READER).unwrap().unwrap();
        assert_eq!((second.alarm, second.is_new), (first.alarm, false));
        let settings = config::Outbox { messages_max: 2, bytes_max: 100_000, policy, grace_ms: 90_000 };
        scene.outbox.limits.set(&settings);
        let turned = scene.outbox.catch_up(READER).unwrap().unwrap();
        assert_eq!((turned.alarm.due, turned.is_new), (first.alarm.due + Duration::from_secs(30), true));
        scene.outbox.drain_while(|_| true);
        assert!(scene.outbox.written(2, scene.outbox.bytes()));
        assert_eq!(scene.outbox.catch_up(READER), Ok(None));
        let told = usize::from(policy == OutboxPolicy::Fold);
        assert_eq!(scene.outbox.len(), told);
        let dropped = scene.outbox.metrics.slow_dropped.get();
        assert_eq!(dropped, 2 * u64::from(policy == OutboxPolicy::Drop));
        assert!(scene.talk(0));
    }
}

#[test]
fn a_lower_bound_ends_no_session_for_folded_news_that_waits_already() {
    let mut scene = Scene::new(Generation::Eio4, limits_of(OutboxPolicy::Fold, 8, 60_000), 4);
    for conversation in 0..4 {
        while scene.talk(conversation) {}
    }
    // The last message is written, so that nothing but folded news is queued by the next turn.
    let messages = scene.outbox.drain_while(|_| true);
    scene.outbox.written(messages, scene.outbox.bytes());
    assert_eq!(scene.outbox.catch_up(READER), Ok(None));
    assert_eq!(scene.outbox.len(), 4, "an update for each conversation");
    let settings = config::Outbox { messages_max: 1, bytes_max: 100_000, policy: OutboxPolicy::Fold, grace_ms: 60_000 };
    scene.outbox.limits.set(&settings);
    assert!(scene.outbox.push(Frame::text("2")), "a heartbeat");
}

#[test]
fn answers_have_a_reserve_where_news_has_none() {
    let scene = Scene::new(Generation::Eio4, limits_of(OutboxPolicy::Fold, 3, 30_000), 1);
    assert!((0..6).all(|_| scene.outbox.push(frame(10))), "twice the bound");
    assert!(!scene.outbox.push(frame(10)));
    assert_eq!(scene.outbox.closed(), Some(CloseReason::Slow));
}

#[test]
fn news_that_does_not_fit_closes_if_the_policy_says_so() {
    let mut scene = Scene::new(Generation::Eio4, limits_of(OutboxPolicy::Close, 2, 30_000), 1);
    assert!(scene.talk(0) && scene.talk(0) && !scene.talk(0));
    assert_eq!(scene.outbox.catch_up(READER), Err(CloseReason::Slow));
    assert_eq!(scene.outbox.metrics.slow_closed.get(), 1);
}

/// The memory of a reader that is behind does not depend on the number of talks.
#[test]
fn a_fold_does_not_grow_with_the_talks() {
    let mut scene = Scene::new(Generation::Eio4, limits_of(OutboxPolicy::Fold, 2, 30_000), 3);
    let mut talk_all = |rounds| {
        for at in 0..rounds {
            scene.talk(at % 3);
            scene.toggle(at % 3, at as u8);
        }
    };
    talk_all(10);
    let allocated = allocation_counter::measure(|| talk_all(3000));
    assert!(allocated.bytes_current <= 4096, "{allocated:?}");
}
