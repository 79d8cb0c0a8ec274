//! Tests of the participant, event by event. The world around it is a [`World`] that writes a log of all effects.

mod moving;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::conversation::People;
use super::super::seats::Seat;
use super::super::users::User;
use super::{Auth, Call, Input, Joined, Participant, Port, Rules, Work};
use crate::event::{ClientEvent, Code, ConversationId, EventName, ServerEvent, Talk, Username};

const RULES: Rules = Rules { pending_max: 4, answer_timeout: Duration::from_secs(5), doubt: Duration::from_secs(61) };

#[derive(Debug)]
struct TestSeat(ConversationId);

impl Seat for TestSeat {
    fn id(&self) -> &ConversationId {
        &self.0
    }
}

/// The port of a participant under test.
struct World {
    /// The effects, in words.
    log: Vec<String>,
    /// The number of answers that the client has room for.
    room: usize,
    may_talk: bool,
    /// Whether seats that are given up have left at once.
    departs_at_once: bool,
    is_busy: bool,
}

impl World {
    fn said(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }
}

impl Port for World {
    type Seat = TestSeat;

    fn rules(&self) -> Rules {
        RULES
    }

    fn has_room(&self) -> bool {
        self.room > 0
    }

    fn may_talk(&self) -> bool {
        self.may_talk
    }

    fn call(&mut self, call: Call) -> Result<(), Code> {
        if self.is_busy {
            return Err(Code::Busy);
        }
        let token = call.auth.token.map_or_else(String::new, |token| format!(" with {}", token.reveal()));
        let moved = call
            .moved
            .map_or_else(String::new, |ids| ids.iter().map(|id| format!(" {}", id.as_str())).collect::<String>());
        let what = if call.enters { "call" } else { "verify" };
        self.said(format!("{what} {}{token}{moved}", call.username.as_str()));
        Ok(())
    }

    fn give_up(&mut self) {
        self.said("give up");
    }

    fn talk(&mut self, seat: &TestSeat, user: &User, talk: &Talk) -> Result<(), Code> {
        assert_eq!(seat.0, talk.conversation);
        let what = talk.message_id.as_ref().map_or_else(String::new, |id| serde_json::to_string(id).unwrap());
        self.said(format!("{} talks in {} {what}", user.name().as_str(), seat.0.as_str()));
        Ok(())
    }

    fn ask(&mut self, seat: &TestSeat) -> Result<(), Code> {
        self.said(format!("ask {}", seat.0.as_str()));
        Ok(())
    }

    fn depart(&mut self, seats: Vec<TestSeat>) -> bool {
        let ids: Vec<_> = seats.iter().map(|seat| seat.0.as_str()).collect();
        self.said(format!("depart {}", ids.join(" ")));
        self.departs_at_once
    }

    fn tell(&mut self, event: &ServerEvent<'_>) {
        self.said(match event {
            ServerEvent::Listening { conversations } => {
                let ids: Vec<_> = conversations.iter().map(|id| id.as_str()).collect();
                format!("listening {}", ids.join(" "))
            }
            ServerEvent::People { conversation, .. } => format!("people {}", conversation.as_str()),
            other => other.json(),
        });
    }

    fn done(&mut self, ack: Option<u64>) {
        self.room = self.room.saturating_sub(1);
        self.said(ack.map_or_else(|| "done".to_owned(), |ack| format!("ok {ack}")));
    }

    fn refuse(&mut self, event: EventName, code: Code, _: Option<&ConversationId>, ack: Option<u64>) {
        let ack = ack.map_or_else(String::new, |ack| format!(" {ack}"));
        self.said(format!("{}{ack} {}", event.as_str(), code.as_str()));
    }

    fn join_ended(&mut self, _: Instant, _: Option<&User>, _: Result<(), Code>) {}

    fn talk_ended(&mut self, _: Result<(), Code>) {}
}

struct Scene {
    participant: Participant<TestSeat>,
    world: World,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let world = World { log: Vec::new(), room: usize::MAX, may_talk: true, departs_at_once: true, is_busy: false };
        Self { participant: Participant::new(None), world, now: Instant::now() }
    }

    /// Returns a client that has joined as messi.
    fn joined(conversations: &[&str]) -> Self {
        let mut scene = Self::new();
        scene.says("join messi", None);
        scene.accepts("messi", conversations);
        scene.heard();
        scene
    }

    /// The client sends an event, written as `talk c1 m1`.
    fn says(&mut self, line: &str, ack: impl Into<Option<u64>>) {
        self.participant.event(event(line), ack.into(), self.now, &mut self.world);
        self.polls();
    }

    fn refreshes(&mut self) {
        self.participant.refresh(self.now, &mut self.world);
        self.polls();
    }

    fn polls(&mut self) {
        self.participant.poll(self.now, &mut self.world);
    }

    fn takes(&mut self, input: Input<TestSeat>) {
        self.participant.take(input, self.now, &mut self.world);
        self.polls();
    }

    /// MAX accepts the user, and the session enters these conversations.
    fn accepts(&mut self, username: &str, conversations: &[&str]) {
        self.takes(Input::Answered(Ok(joined(username, conversations))));
    }

    /// The call is refused.
    fn refuses(&mut self, code: Code) {
        self.takes(Input::Answered(Err(code)));
    }

    fn waits(&mut self, duration: Duration) {
        self.now += duration;
        self.polls();
    }

    /// Returns the effects since the last call.
    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.log)
    }

    fn hears(&mut self, expected: &[&str]) {
        assert_eq!(self.heard(), expected);
    }
}

fn joined(username: &str, conversations: &[&str]) -> Joined<TestSeat> {
    let seats = conversations.iter().map(|&id| TestSeat(id.into())).collect();
    Joined { user: User::unnoted(Username::parse(username).unwrap()), seats }
}

fn event(line: &str) -> ClientEvent {
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next();
    let conversation = |id: &str| ConversationId::from(id);
    match line.split(' ').next().unwrap() {
        "join" => {
            let username = Username::parse(word().unwrap()).unwrap();
            ClientEvent::Join { username, token: word().map(Into::into), scope: None }
        }
        "talk" => {
            let conversation = conversation(word().unwrap());
            let message_id = word().map(|id| crate::event::Scalar::Literal(id.into()));
            ClientEvent::Talk(Talk { conversation, timestamp: None, message_id })
        }
        "ask" => ClientEvent::Ask(word().map(conversation)),
        _ => ClientEvent::Leave(word().map(conversation)),
    }
}

#[test]
fn one_call_at_a_time_and_only_the_newest_join_waits() {
    let mut scene = Scene::new();
    for ack in 1..=50 {
        scene.says("join messi", ack);
    }
    let mut expected = vec!["call messi".to_owned(), "give up".to_owned()];
    expected.extend((1..50).map(|ack| format!("join {ack} superseded")));
    assert_eq!(scene.heard(), expected);
    scene.takes(Input::GivenUp);
    scene.hears(&["call messi"]);
    scene.accepts("messi", &["c2", "c1"]);
    scene.hears(&["listening c2 c1", "ok 50"]);
}

#[test]
fn a_join_as_somebody_else_waits_until_the_older_seats_are_free() {
    let mut scene = Scene::joined(&["c1", "c2"]);
    scene.world.departs_at_once = false;
    scene.says("join xavi", 1);
    scene.says("talk c1 1", 2);
    scene.hears(&["depart c1 c2"]);
    scene.takes(Input::Departed);
    scene.hears(&["call xavi"]);
    scene.accepts("xavi", &["c1"]);
    scene.hears(&["listening c1", "ok 1", "xavi talks in c1 1", "ok 2"]);
}

/// A newer join under the same name would undo the leaves that wait, so they are handled before it. Other events wait
/// for it.
#[test]
fn leaves_that_wait_are_handled_before_a_newer_join() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.says("talk c9 1", 2);
    scene.says("leave c1", 3);
    scene.heard();
    scene.says("join messi", 4);
    scene.hears(&["give up", "join 1 superseded", "depart c1", "listening ", "ok 3"]);
    scene.takes(Input::GivenUp);
    scene.accepts("messi", &["c1", "c9"]);
    scene.hears(&["call messi", "listening c1 c9", "ok 4", "messi talks in c9 1", "ok 2"]);
}

#[test]
fn no_waiting_event_is_handled_under_another_name() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.says("talk c9 1", 2);
    scene.says("ask c1", 3);
    scene.says("join xavi", 4);
    scene.hears(&["call messi", "give up", "join 1 superseded", "talk 2 forbidden", "depart c1", "ok 3"]);
}

#[test]
fn a_user_that_max_has_renamed_leaves_before_it_joins() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.accepts("lionel", &["c1", "c2"]);
    scene.hears(&["call messi", "depart c1 c1 c2", "join 1 busy"]);
    scene.says("talk c1 1", 2);
    scene.hears(&["talk 2 not_joined"]);
    scene.says("join messi", 3);
    scene.accepts("lionel", &["c1", "c2"]);
    scene.hears(&["call messi", "listening c1 c2", "ok 3"]);
}

#[test]
fn asks_under_way_are_bounded() {
    let mut scene = Scene::joined(&["c1"]);
    for ack in 1..=6 {
        scene.says("ask", ack);
    }
    scene.hears(&["ask c1", "ask 5 busy", "ask 6 busy"]);
    scene.takes(Input::People(Some(People { inroom: 1, people: None, partial: false })));
    scene.hears(&["people c1", "ok 1", "ask c1"]);
}

#[test]
fn an_ask_has_a_deadline_for_each_conversation() {
    let mut scene = Scene::joined(&["c1", "c2"]);
    scene.says("ask", 1);
    scene.says("ask c1", None);
    let alarm = scene.participant.poll_alarm().expect("a deadline");
    assert_eq!((alarm.period, alarm.due), (RULES.answer_timeout, scene.now + RULES.answer_timeout));
    scene.waits(RULES.answer_timeout - Duration::from_millis(1));
    scene.hears(&["ask c1"]);
    scene.waits(Duration::from_millis(1));
    scene.hears(&["ask c2"]);
    let alarm = scene.participant.poll_alarm().expect("the deadline of the next");
    assert_eq!(alarm.due, scene.now + RULES.answer_timeout);
    scene.takes(Input::People(None));
    scene.hears(&["ask 1 busy", "ask c1"]);
    scene.waits(RULES.answer_timeout);
    scene.hears(&["ask busy", "done"]);
    // An answer that comes too late is ignored.
    scene.takes(Input::People(Some(People { inroom: 1, people: None, partial: false })));
    scene.hears(&[]);
}

#[test]
fn an_answer_that_came_in_time_waits_for_room_without_a_deadline() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("ask", 1);
    scene.world.room = 0;
    scene.waits(RULES.answer_timeout * 2);
    scene.hears(&["ask c1"]);
    scene.participant.take(
        Input::People(Some(People { inroom: 1, people: None, partial: false })),
        scene.now,
        &mut scene.world,
    );
    scene.hears(&["people c1"]);
    scene.world.room = usize::MAX;
    scene.polls();
    scene.hears(&["ok 1"]);
}

#[test]
fn the_answer_to_a_join_waits_for_room() {
    let mut scene = Scene::new();
    scene.says("join messi", 1);
    scene.says("talk c1 1", 2);
    scene.heard();
    scene.world.room = 0;
    scene.accepts("messi", &["c1"]);
    scene.says("talk c1 2", 3);
    scene.hears(&[]);
    scene.world.room = usize::MAX;
    scene.polls();
    scene.hears(&["listening c1", "ok 1", "messi talks in c1 1", "ok 2", "messi talks in c1 2", "ok 3"]);
}

#[test]
fn a_client_that_connects_anew_waits_until_its_former_seats_are_free() {
    let mut scene = Scene::new();
    scene.participant.wait_for_departure();
    scene.says("join messi", 1);
    scene.hears(&[]);
    scene.takes(Input::Departed);
    scene.hears(&["call messi"]);
}

/// Events that have waited for a join are not overtaken while there is no room for their answers, not even by a newer
/// join.
#[test]
fn waiting_events_go_first() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.says("talk c2 1", 2);
    scene.says("leave c1", 3);
    scene.world.may_talk = false;
    scene.accepts("messi", &["c1", "c2"]);
    scene.hears(&["call messi", "depart c1", "listening c1 c2", "ok 1"]);
    scene.says("talk c2 2", 4);
    scene.says("join messi", 5);
    scene.says("talk c2 3", 6);
    scene.hears(&["talk 6 busy"]);
    scene.world.may_talk = true;
    scene.polls();
    let expected = [
        "messi talks in c2 1",
        "ok 2",
        "depart c1",
        "listening c2",
        "ok 3",
        "messi talks in c2 2",
        "ok 4",
        "call messi",
    ];
    scene.hears(&expected);
}

/// If joins are among the waiting events, the newest supersedes the others, as if there had been room.
#[test]
fn the_newest_of_the_waiting_joins_wins() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.says("talk c2 1", 2);
    scene.world.may_talk = false;
    scene.accepts("messi", &["c1"]);
    scene.heard();
    for (line, ack) in [("join xavi", 3), ("join messi", 4), ("talk c1 2", 5)] {
        scene.says(line, ack);
    }
    scene.hears(&[]);
    scene.world.may_talk = true;
    scene.polls();
    scene.hears(&["talk 2 forbidden", "depart c1", "call xavi", "give up", "join 3 superseded"]);
    scene.takes(Input::GivenUp);
    scene.accepts("messi", &["c1"]);
    scene.hears(&["call messi", "listening c1", "ok 4", "messi talks in c1 2", "ok 5"]);
}

#[test]
fn a_leave_is_answered_when_the_seats_are_free() {
    let mut scene = Scene::joined(&["c1", "c2"]);
    scene.world.departs_at_once = false;
    scene.says("leave", 1);
    scene.says("ask", 2);
    scene.says("join messi", 3);
    scene.hears(&["depart c1 c2"]);
    scene.world.departs_at_once = true;
    scene.takes(Input::Departed);
    scene.hears(&["listening ", "ok 1", "call messi", "ok 2"]);
}

#[test]
fn one_denial_is_doubted_and_the_second_is_believed() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi t1", 1);
    scene.refuses(Code::Unauthorized);
    scene.hears(&["call messi with t1", "join 1 unauthorized"]);
    let alarm = scene.participant.poll_alarm().expect("a deadline");
    assert_eq!(alarm.due, scene.now + RULES.doubt);
    // MAX denies every user for a minute.
    scene.waits(RULES.doubt - Duration::from_secs(1));
    scene.says("join messi t2", 2);
    scene.refuses(Code::Unauthorized);
    scene.says("talk c1 1", 3);
    scene.hears(&["call messi with t2", "join 2 unauthorized", "messi talks in c1 1", "ok 3"]);
    scene.waits(Duration::from_secs(1));
    scene.hears(&["verify messi with t2"]);
    // Another failure says nothing about the user, so MAX is asked once more.
    scene.refuses(Code::MaxTimeout);
    scene.waits(RULES.doubt);
    scene.hears(&["verify messi with t2"]);
    scene.refuses(Code::Unauthorized);
    scene.hears(&["depart c1", "join unauthorized"]);
    scene.says("talk c1 1", 4);
    scene.hears(&["talk 4 not_joined"]);
}

#[test]
fn a_denial_is_forgotten_when_max_accepts_the_user_again() {
    for by_itself in [true, false] {
        let mut scene = Scene::joined(&["c1"]);
        scene.says("join messi", 1);
        scene.refuses(Code::Unauthorized);
        if by_itself {
            scene.waits(RULES.doubt);
            scene.accepts("messi", &[]);
            scene.hears(&["call messi", "join 1 unauthorized", "verify messi"]);
        } else {
            scene.says("join messi", 2);
            scene.accepts("messi", &["c1"]);
            scene.waits(RULES.doubt);
            scene.hears(&["call messi", "join 1 unauthorized", "call messi", "depart c1", "listening c1", "ok 2"]);
        }
        scene.says("join messi", 3);
        scene.refuses(Code::Unauthorized);
        scene.says("talk c1 1", 4);
        scene.hears(&["call messi", "join 3 unauthorized", "messi talks in c1 1", "ok 4"]);
    }
}

#[test]
fn a_join_after_the_doubt_decides_and_replaces_the_servers_own_question() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.refuses(Code::Unauthorized);
    scene.waits(RULES.doubt);
    scene.says("join messi", 2);
    scene.hears(&["call messi", "join 1 unauthorized", "verify messi", "give up"]);
    scene.takes(Input::GivenUp);
    scene.refuses(Code::Unauthorized);
    scene.hears(&["call messi", "depart c1", "join 2 unauthorized"]);
    scene.waits(RULES.doubt * 2);
    scene.hears(&[]);
}

#[test]
fn an_unknown_user_leaves_at_once_and_a_user_denied_at_its_first_join_is_not_doubted() {
    let mut scene = Scene::joined(&["c1"]);
    scene.says("join messi", 1);
    scene.refuses(Code::UnknownUser);
    scene.hears(&["call messi", "depart c1", "join 1 unknown_user"]);
    let mut scene = Scene::new();
    scene.says("join messi", 1);
    scene.refuses(Code::Unauthorized);
    scene.waits(RULES.doubt * 2);
    scene.hears(&["call messi", "join 1 unauthorized"]);
}

#[test]
fn a_registry_that_is_full_refuses_the_join() {
    let mut scene = Scene::new();
    scene.world.is_busy = true;
    scene.says("join messi", 1);
    scene.says("talk c1 1", 2);
    scene.hears(&["join 1 busy", "talk 2 not_joined"]);
}

#[test]
fn an_empty_token_of_a_connection_is_ignored() {
    for (token, expected) in [("", "call messi"), ("t", "call messi with t")] {
        let mut scene = Scene::new();
        scene.participant = Participant::new(Some(Auth { token: Some(token.into()), scope: None }));
        scene.says("join messi", 1);
        scene.hears(&[expected]);
    }
}

/// A step of a random session.
#[derive(Clone, Debug)]
enum Step {
    /// The client sends this event; the ids of acks count up.
    Says(&'static str),
    /// The registry answers the call under way, if there is one: by these conversations, or by a failure.
    Answers(Option<&'static [&'static str]>),
    /// A call that was given up is over, or all seats given up have left, or a conversation answers an ask.
    Ends,
    /// The client has room for this many answers.
    Room(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let talk = prop::sample::select(vec!["talk c1", "talk c2", "talk c3"]);
    prop_oneof![
        8 => talk.prop_map(Step::Says),
        2 => prop::sample::select(vec!["join messi", "join messi", "join messi", "join xavi"]).prop_map(Step::Says),
        1 => prop::sample::select(vec!["leave c1", "leave", "ask c2"]).prop_map(Step::Says),
        3 => prop::sample::select(vec![&["c1", "c2"][..], &["c2", "c3"], &["c1", "c2", "c3"]])
            .prop_map(|conversations| Step::Answers(Some(conversations))),
        1 => Just(Step::Answers(None)),
        2 => Just(Step::Ends),
        2 => (0_usize..4).prop_map(Step::Room),
    ]
}

/// An event of the client, as the test expects it to be answered.
#[derive(Debug)]
struct Said {
    line: &'static str,
    /// Events are answered in the order of their ranks. A newer join takes the rank of the join that it supersedes,
    /// after the waiting events that are handled first: the leaves, or under another name all of them.
    rank: usize,
    /// A talk that did not wait for the join under way.
    goes_ahead: bool,
    /// A talk that was sent to its conversation.
    is_out: bool,
    answered: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Every event is answered once. Answers come in the order of the events, except for talks that may go ahead,
    /// superseded joins with the leaves behind them, and asks.
    #[test]
    fn nothing_is_overtaken_and_everything_is_answered(steps in prop::collection::vec(step(), 1..80)) {
        let mut scene = Scene::new();
        scene.world.departs_at_once = false;
        let mut said: Vec<Said> = Vec::new();
        let (mut calling, mut given_up, mut departing) = (false, false, false);
        let mut name = String::new();
        // At the end all work gets done.
        let rest = [Step::Room(usize::MAX), Step::Ends, Step::Answers(Some(&["c1", "c2", "c3"])), Step::Ends];
        let rest = std::iter::repeat_n(rest, 200).flatten();
        for step in steps.into_iter().chain(rest) {
            let mut says = None;
            match step {
                Step::Says(line) => {
                    says = Some(line);
                    let rank = said.len() * 1_000_000;
                    said.push(Said { line, rank, goes_ahead: false, is_out: false, answered: false });
                    let ack = said.len() as u64;
                    scene.says(&if line.starts_with("talk") { format!("{line} {ack}") } else { line.into() }, ack);
                }
                Step::Answers(_) if !calling || given_up || !scene.world.has_room() => {}
                Step::Answers(Some(conversations)) => {
                    calling = false;
                    let name = name.clone();
                    scene.accepts(&name, conversations);
                }
                Step::Answers(None) => {
                    calling = false;
                    scene.refuses(Code::MaxTimeout);
                }
                Step::Ends if given_up => {
                    (calling, given_up) = (false, false);
                    scene.takes(Input::GivenUp);
                }
                Step::Ends if departing => {
                    departing = false;
                    scene.takes(Input::Departed);
                }
                Step::Ends => {
                    scene.takes(Input::People(Some(People { inroom: 1, people: None, partial: false })));
                }
                Step::Room(room) => {
                    scene.world.room = room;
                    scene.polls();
                }
            }
            let joining = scene.participant.work.as_deref().is_some_and(Work::is_joining);
            for line in scene.heard() {
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["call", caller, ..] => {
                        prop_assert!(!calling, "two calls at a time");
                        calling = true;
                        name = caller.to_owned();
                    }
                    [_, "talks", "in", _, ack] => {
                        let ack = ack.parse::<usize>().unwrap();
                        let goes_ahead = says.is_some() && ack == said.len() && joining;
                        said[ack - 1].goes_ahead = goes_ahead;
                        said[ack - 1].is_out = true;
                        let waits = |other: &Said| !other.answered && !other.is_out && other.line == said[ack - 1].line;
                        prop_assert!(!said[..ack - 1].iter().any(waits), "{ack} overtook a talk of its conversation");
                    }
                    ["give", "up"] => given_up = true,
                    ["depart", ..] => departing = true,
                    ["ok", ack] | [_, ack, _] if ack.parse::<usize>().is_ok() => {
                        let (ack, refused) = (ack.parse::<usize>().unwrap(), !line.starts_with("ok"));
                        let event = &said[ack - 1];
                        prop_assert!(!event.answered, "{ack} was answered twice");
                        let rank = event.rank;
                        // The newest event may be refused as busy at once; a superseded join is refused at once.
                        let is_new = says.is_some() && ack == said.len();
                        let early = (is_new && refused && line.ends_with("busy"))
                            || line.ends_with("superseded")
                            || event.goes_ahead
                            || event.line.starts_with("ask");
                        let waits = |other: &&Said| !other.answered && !other.line.starts_with("ask");
                        let first = said.iter().filter(waits).map(|other| other.rank).min();
                        prop_assert!(early || first == Some(rank), "{ack} overtook {first:?}: {line}");
                        said[ack - 1].answered = true;
                        if line.ends_with("superseded") {
                            let older = said[ack - 1].line;
                            let is_join = |other: &Said| !other.answered && other.line.starts_with("join");
                            let newer = said[ack..].iter().position(is_join).unwrap();
                            let same = said[ack + newer].line == older;
                            for (n, waited) in said[..ack + newer].iter_mut().enumerate() {
                                let waits = !waited.answered && waited.rank > rank;
                                if waits && (!same || waited.line.starts_with("leave")) {
                                    waited.rank = rank + n;
                                }
                            }
                            said[ack + newer].rank = rank + 1000;
                        }
                    }
                    _ => {}
                }
            }
        }
        prop_assert!(said.iter().all(|event| event.answered), "{said:?}");
    }
}

#[test]
fn a_refresh_joins_again_without_a_request_of_the_client() {
    let mut scene = Scene::joined(&["c1", "c2"]);
    scene.refreshes();
    scene.hears(&["call messi"]);
    scene.says("talk c1 1", None);
    scene.hears(&["messi talks in c1 1", "done"]);
    scene.accepts("messi", &["c2", "c3"]);
    scene.hears(&["depart c1 c2", "listening c2 c3", "done"]);
}

#[test]
fn a_refresh_that_fails_is_not_told_unless_it_ends_the_user() {
    let mut scene = Scene::joined(&["c1"]);
    scene.refreshes();
    scene.refuses(Code::MaxTimeout);
    scene.hears(&["call messi"]);
    scene.refreshes();
    scene.refuses(Code::UnknownUser);
    scene.hears(&["call messi", "depart c1", "join unknown_user"]);
    scene.refreshes();
    scene.hears(&[]);
}

#[test]
fn a_refresh_during_a_join_is_done_after_it() {
    let mut scene = Scene::new();
    scene.says("join messi", 1);
    scene.refreshes();
    scene.refreshes();
    scene.hears(&["call messi"]);
    scene.accepts("messi", &["c1"]);
    scene.hears(&["listening c1", "ok 1", "call messi"]);
    // A join of the client supersedes it.
    scene.says("join messi", 2);
    scene.takes(Input::GivenUp);
    scene.hears(&["give up", "call messi"]);
    scene.accepts("messi", &["c1"]);
    scene.hears(&["depart c1", "listening c1", "ok 2"]);
}
