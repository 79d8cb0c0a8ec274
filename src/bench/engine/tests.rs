//! The users of one thread without a server: updates and times come as arguments.

use super::audience::{Audience, Hearing};
use super::person::State;
use super::*;
use crate::bench::client::{Ear as _, Heard};
use crate::bench::ledger::{Stray, Tally};
use crate::bench::measure::Recorder;
use crate::bench::outcome::Accounts;
use crate::bench::plan::{Pace, Sizes};
use crate::bench::protocol::{ChatProtocol, Loss};
use crate::protocol::{Generation, TransportKind};

/// Users `u0` and so on who all listen to the conversation `c`, in which the first talks.
fn audience(connections: usize, pace: Pace) -> Audience {
    audience_of(connections, pace, false, 1)
}

/// The same on this many nodes, where the server sends talkers their own talks or not.
fn audience_of(connections: usize, pace: Pace, echo: bool, nodes: usize) -> Audience {
    let way = Way { generation: Generation::Eio4, transport: TransportKind::WebSocket };
    let plan = Plan {
        connections,
        members: connections,
        conversations_per_user: 1,
        sizes: Sizes::Even,
        pace,
        ramp: 1000.0,
        duration: Duration::from_secs(60),
        warm_up: Duration::ZERO,
        payload_bytes: 150,
        mix: vec![(way, 1)],
        churn: 0.0,
        slow_share: 0.0,
        user_prefix: "u".to_owned(),
        seed: 1,
        lag_max: Duration::from_millis(1),
    };
    let users = (0..connections).map(|number| {
        let name = format!("u{number}");
        // The first and every second one after it are on the first node.
        User { heard_as: name.clone(), name, token: Some("secret".into()), way, node: number % nodes, slow: false }
    });
    let address = ([127, 0, 0, 1], 1).into();
    let protocol = ChatProtocol { echo, ..ChatProtocol::default() };
    let (host, path, namespace) = ("localhost".to_owned(), "/".to_owned(), "/".to_owned());
    let run = Arc::new(Run {
        id: "r-2".to_owned(),
        plan,
        targets: vec![Target { host, address, path, namespace, protocol: Arc::new(protocol) }; nodes],
        users: users.collect(),
        threads: 1,
        shares: std::iter::once(0..connections).collect(),
        epoch: Instant::now(),
        doors: Vec::new(),
        counts: Counts::default(),
        busy_ns: vec![AtomicU64::new(0)],
        live: Vec::new(),
        seated: AtomicUsize::new(0),
        heard: Mutex::default(),
        numbers: AtomicBool::new(false),
        has_file: false,
    });
    let layout = Layout::learnt((0..connections).map(|number| (number, ["c"])));
    let schedule = Schedule::new(&layout, 1.0, 1);
    let mut audience = Audience::new(run, 0..connections);
    audience.people.iter_mut().for_each(|person| person.state = State::Listening);
    let field = Arc::new(Field::new(layout, schedule, &audience.run));
    audience.take_seats(field);
    audience.notes.recorder = Recorder::new(0, 60_000_000);
    audience
}

/// User `number` hears a talk that was to be sent at `intended_us`.
fn hear(audience: &mut Audience, number: usize, talk: u64, intended_us: u64, at_us: u64) {
    let update =
        format!(r#"{{"username":"u0","conversation":"c","timestamp":{intended_us},"messageID":"r-2.{talk}"}}"#);
    audience.now_us = at_us;
    Hearing { audience, number }.heard(Heard::Update(update.as_bytes()));
}

/// User `number` hears an update that stands for `missed` talks.
fn hear_folded(audience: &mut Audience, number: usize, talk: u64, missed: u64) {
    let update = format!(r#"{{"username":"u0","conversation":"c","messageID":"r-2.{talk}","missed":{missed}}}"#);
    Hearing { audience, number }.heard(Heard::Update(update.as_bytes()));
}

/// Sends a talk, as a slot of the closed loop or by the plan of the open one.
fn talk(audience: &Audience, intended_us: u64) -> u64 {
    let field = audience.field.as_ref().unwrap();
    field.under_way.fetch_add(1, Ordering::Relaxed);
    field.talks[0].begin(intended_us, intended_us + 1000).number
}

fn under_way(audience: &Audience) -> usize {
    audience.field.as_ref().unwrap().under_way.load(Ordering::Relaxed)
}

#[test]
fn a_stall_is_measured_however_long_it_is() {
    for pace in [Pace::Open { rate: 1.0 }, Pace::Closed { window: 1 }] {
        let mut audience = audience(3, pace);
        let field = Arc::clone(audience.field.as_ref().unwrap());
        let (stalled, next) = (talk(&audience, 1_000_000), talk(&audience, 6_500_000));
        // After five seconds the first talk is given up, which frees only its slot.
        let patience_us = 5_000_000;
        audience.free(field.talks[0].give_up(7_000_000 - patience_us));
        assert_eq!(audience.turns.len(), usize::from(pace == Pace::Closed { window: 1 }));
        for number in [1, 2] {
            hear(&mut audience, number, stalled, 1_000_000, 9_000_000);
            hear(&mut audience, number, next, 6_500_000, 9_000_000);
        }
        let recorder = &audience.notes.recorder;
        let (corrected, raw) = (recorder.corrected(), recorder.raw());
        assert_eq!((corrected.count(), corrected.latency().max), (4, 8_000_000));
        assert_eq!((raw.count(), raw.latency().max), (4, 7_999_000));
        assert_eq!((recorder.last().count(), recorder.last().latency().max), (2, 8_000_000));
        assert_eq!(recorder.seconds(Duration::from_secs(60))[9].max, 8_000_000);
        let turns = audience.turns.len();
        assert_eq!(under_way(&audience), if turns > 0 { 2 } else { 0 });
        assert!(matches!(turns, 0 | 2), "a slot is free once");
    }
}

#[test]
fn a_talker_hears_itself_if_the_server_says_so() {
    let strays = |audience: &Audience| audience.notes.tally.strays().collect::<Vec<_>>();
    let mut echoed = audience_of(2, Pace::Open { rate: 1.0 }, true, 1);
    let number = talk(&echoed, 0);
    hear(&mut echoed, 1, number, 0, 2_000);
    assert_eq!(under_way(&echoed), 1, "the talker has not heard it yet");
    hear(&mut echoed, 0, number, 0, 3_000);
    assert_eq!((under_way(&echoed), strays(&echoed)), (0, Vec::new()));
    (0..2).for_each(|number| echoed.close(number));
    let Accounts { expected, received, .. } = echoed.notes.tally.accounts();
    assert_eq!((expected, received), (2, 2));

    let mut silent = audience_of(2, Pace::Open { rate: 1.0 }, false, 1);
    let number = talk(&silent, 0);
    hear(&mut silent, 1, number, 0, 2_000);
    hear(&mut silent, 0, number, 0, 3_000);
    assert_eq!((under_way(&silent), strays(&silent)), (0, vec![(Stray::Own, 1)]));
}

#[test]
fn a_talk_that_nobody_remembers_counts_from_its_timestamp() {
    let mut audience = audience(2, Pace::Open { rate: 1.0 });
    let forgotten = talk(&audience, 1_000_000);
    audience.field.as_ref().unwrap().talks[0].quit(0);
    hear(&mut audience, 1, forgotten, 1_000_000, 9_000_000);
    let recorder = &audience.notes.recorder;
    assert_eq!((recorder.corrected().latency().max, recorder.raw().latency().max), (8_000_000, 8_000_000));
    let later = talk(&audience, 2_000_000);
    hear(&mut audience, 1, later, 10_000_000, 9_000_000);
    assert_eq!(audience.notes.recorder.corrected().count(), 1, "a time to come is none");
}

#[test]
fn what_a_server_refuses_with_says_no_token() {
    let mut audience = audience(2, Pace::Open { rate: 1.0 });
    Hearing { audience: &mut audience, number: 1 }.heard(Heard::Refused("talk".to_owned(), "\u{7}secret".to_owned()));
    let errors = audience.notes.errors.into_iter().collect::<Vec<_>>();
    assert_eq!(errors, [("talk: refused with \u{fffd}***".to_owned(), 1)]);
}

#[test]
fn what_a_server_has_folded_frees_its_slots() {
    let mut audience = audience(2, Pace::Closed { window: 3 });
    (1..=3).for_each(|number| assert_eq!(talk(&audience, 1_000), number));
    hear_folded(&mut audience, 1, 1, 3);
    assert_eq!(audience.turns.len(), 3);
    audience.end(1);
    let Accounts { expected, received, declared_missing, lost, .. } = audience.notes.tally.accounts();
    assert_eq!((expected, received, declared_missing, lost), (3, 1, 2, 0));
    assert_eq!(audience.turns.len(), 3, "a slot is free once");
}

#[test]
fn what_never_came_during_an_outage_or_before_a_warning_is_told_of() {
    let warn = |audience: &mut Audience, conversations: Option<&str>, is_ongoing| {
        let conversations = conversations.map(|id| vec![id.to_owned()]);
        Hearing { audience, number: 1 }.heard(Heard::Missed(Loss { conversations, is_ongoing }));
    };
    let accounts = |warnings: &[(Option<&str>, bool)]| {
        let mut audience = audience(2, Pace::Open { rate: 1.0 });
        talk(&audience, 0);
        for &(conversations, is_ongoing) in warnings {
            warn(&mut audience, conversations, is_ongoing);
            talk(&audience, 0);
        }
        audience.close(1);
        let Accounts { told_missing, lost, .. } = audience.notes.tally.accounts();
        (told_missing, lost)
    };
    assert_eq!(accounts(&[]), (0, 1));
    assert_eq!(accounts(&[(Some("c"), false)]), (1, 1));
    assert_eq!(accounts(&[(Some("another"), false)]), (0, 2));
    assert_eq!(accounts(&[(None, true)]), (2, 0));
    assert_eq!(accounts(&[(None, true), (Some("c"), false)]), (3, 0), "the outage goes on");
    assert_eq!(accounts(&[(None, true), (None, false)]), (2, 1));
    // It may begin before the first talk.
    let mut early = audience(2, Pace::Open { rate: 1.0 });
    let field = early.field.take();
    warn(&mut early, None, true);
    early.field = field;
    talk(&early, 0);
    early.leave(1, 0);
    early.close(1);
    assert_eq!(early.notes.tally.accounts().lost, 0);
}

#[test]
fn deliveries_within_a_node_and_between_nodes_are_told_apart() {
    let mut audience = audience_of(4, Pace::Open { rate: 1.0 }, false, 2);
    let (first, second) = (talk(&audience, 0), talk(&audience, 0));
    for (number, at_us) in [(1, 3_000), (2, 1_000), (3, 4_000)] {
        hear(&mut audience, number, first, 0, at_us);
    }
    let max = audience.notes.recorder.routes().each_ref().map(|route| (route.count(), route.latency().max));
    assert_eq!(max, [(1, 1_000), (2, 4_000)]);
    audience.tell();
    // A warning is about news of other nodes.
    (1..4).for_each(|number| {
        let loss = Loss { conversations: None, is_ongoing: number == 3 };
        Hearing { audience: &mut audience, number }.heard(Heard::Missed(loss));
    });
    assert_eq!((second, talk(&audience, 0)), (2, 3));
    (0..4).for_each(|number| audience.close(number));
    let Accounts { expected, received, told_missing, lost, .. } = audience.notes.tally.accounts();
    assert_eq!((expected, received, told_missing, lost), (9, 3, 3, 3));
}

#[test]
fn what_a_server_still_says_of_an_earlier_run_is_neither_judged_nor_counted() {
    let ids = [run_id(1), run_id(1)];
    assert!(is_earlier(&ids[0], &ids[1]) && !is_earlier(&ids[1], &ids[0]), "{ids:?}");
    assert!(!is_earlier(&ids[1], &ids[1]) && !is_earlier("x-0", &ids[1]) && !is_earlier("x", "x-1"));
    let mut audience = audience(2, Pace::Open { rate: 1.0 });
    talk(&audience, 1_000);
    // Also to the talker, who was another connection in the earlier run.
    for (number, run) in [(0, "r-1"), (1, "r-1"), (1, "r-3"), (1, "r"), (1, "s-1")] {
        let update = format!(r#"{{"username":"u0","conversation":"c","timestamp":1000,"messageID":"{run}.1"}}"#);
        Hearing { audience: &mut audience, number }.heard(Heard::Update(update.as_bytes()));
    }
    let strays = audience.notes.tally.strays().collect::<Vec<_>>();
    assert_eq!(strays, [(Stray::MessageId, 3), (Stray::Earlier, 2)]);
    assert_eq!((audience.notes.tally.accounts().misdelivered, audience.notes.recorder.raw().count()), (3, 0));
    // The server is still busy with the earlier run while the others join.
    audience.field = None;
    audience.notes.tally = Tally::default();
    for run in ["r-1", "r-3"] {
        let update = format!(r#"{{"username":"u0","conversation":"c","timestamp":1000,"messageID":"{run}.1"}}"#);
        Hearing { audience: &mut audience, number: 1 }.heard(Heard::Update(update.as_bytes()));
    }
    let strays = audience.notes.tally.strays().collect::<Vec<_>>();
    assert_eq!(strays, [(Stray::MessageId, 1), (Stray::Earlier, 1)], "in the ramp");
}
