//! Layouts, ways to connect, and schedules.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SOCKET: Way = Way { generation: Generation::Eio4, transport: TransportKind::WebSocket };
const POLLING: Way = Way { generation: Generation::Eio4, transport: TransportKind::Polling };
const OLD: Way = Way { generation: Generation::Sio09, transport: TransportKind::Polling };

#[test]
fn connections_are_dealt_to_the_nodes_without_a_period() {
    for (connections, of) in [(12, 2), (1000, 3), (7, 16), (5, 1), (0, 2)] {
        let dealt = nodes(&plan(connections), of);
        let on = |node: usize| dealt.iter().filter(|dealt| **dealt == node).count();
        assert_eq!((0..of).map(on).sum::<usize>(), connections);
        assert!((0..of).map(on).max() <= (0..of).map(on).min().map(|fewest| fewest + 1), "{dealt:?}");
        assert_eq!(dealt, nodes(&plan(connections), of), "the same seed");
    }
    // Whatever the distance of two members is, some are on one node and some are not.
    let dealt = nodes(&plan(1000), 3);
    for distance in 1..100 {
        let together = dealt.iter().zip(&dealt[distance..]).filter(|(one, other)| one == other).count();
        assert!((200..450).contains(&together), "{together} at a distance of {distance}");
    }
    assert_ne!(dealt, nodes(&Plan { seed: 2, ..plan(1000) }, 3));
}

fn plan(connections: usize) -> Plan {
    Plan {
        connections,
        members: 10,
        conversations_per_user: 1,
        sizes: Sizes::Even,
        pace: Pace::Open { rate: 100.0 },
        ramp: 100.0,
        duration: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        payload_bytes: 150,
        mix: vec![(SOCKET, 1)],
        churn: 0.0,
        slow_share: 0.0,
        user_prefix: "u".to_owned(),
        seed: 1,
        lag_max: Duration::from_millis(1),
    }
}

/// Returns a layout of conversations of two.
fn pairs(conversations: usize) -> Layout {
    let ids = (0..conversations).map(|k| format!("c{k}")).collect::<Vec<_>>();
    Layout::learnt((0..2 * conversations).map(|user| (user, [ids[user / 2].as_str()])))
}

proptest! {
    #[test]
    fn ways_have_their_weight(connections in 0..500_usize, weights in prop::collection::vec(0..20_u32, 3)) {
        let mut plan = plan(connections);
        plan.mix = [SOCKET, POLLING, OLD].into_iter().zip(weights).collect();
        let total = plan.mix.iter().map(|(_, weight)| *weight).sum::<u32>();
        let assigned = ways(&plan).collect::<Vec<_>>();
        prop_assert_eq!(assigned.len(), if total > 0 { connections } else { 0 });
        for (way, weight) in &plan.mix {
            let exact = assigned.len() as f64 * f64::from(*weight) / f64::from(total.max(1));
            let count = assigned.iter().filter(|assigned| *assigned == way).count() as f64;
            prop_assert!((count - exact).abs() <= 1.0, "{} of {:?}, {} would be exact", count, way, exact);
        }
    }
}

#[test]
fn a_learnt_layout_is_that_of_listening() {
    let heard = [(3, vec!["a", "b"]), (0, vec!["b", "alone", "b"]), (1, vec!["b", "a"]), (7, vec![])];
    let layout = Layout::learnt(heard.clone());
    assert_eq!(layout.conversations(), 3);
    let named = (0..3).map(|k| (layout.id(k).as_str(), layout.members(k).to_vec())).collect::<Vec<_>>();
    // User 0 would be chosen twice, but is the only member of the second conversation.
    assert_eq!(named, [("b", vec![0, 1, 3]), ("a", vec![1, 3]), ("alone", vec![0])]);
    assert_eq!(layout.conversations_of(0), [0, 2]);
    assert_eq!(layout.conversations_of(3), [0, 1]);
    assert_eq!([layout.conversations_of(7), layout.conversations_of(99)], [&[0; 0]; 2]);
    assert_eq!((layout.find("alone"), layout.find("nowhere")), (Some(2), None));
    assert_eq!((layout.size(1), layout.talker(1), layout.members_max()), (2, 1, 3));
    let mut reversed = heard.to_vec();
    reversed.reverse();
    assert_eq!(Layout::learnt(reversed), layout, "whatever came first");
    assert_eq!((Layout::default().conversations(), Layout::default().members_max()), (0, 0));
}

#[test]
fn talkers_take_turns_where_all_are_in_all() {
    let ids = ["a", "b", "c"];
    let layout = Layout::learnt((0..3).map(|user| (user, ids)));
    assert_eq!((0..3).map(|k| layout.talker(k)).collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(layout.members(1), [1, 0, 2]);
}

#[test]
fn ways_are_interleaved_without_a_period() {
    let mut plan = plan(10_000);
    plan.mix = vec![(SOCKET, 3), (POLLING, 1)];
    let assigned = ways(&plan).collect::<Vec<_>>();
    assert_eq!(assigned, ways(&plan).collect::<Vec<_>>());
    let polling = |ways: &mut dyn Iterator<Item = &Way>| ways.filter(|way| **way == POLLING).count();
    assert_eq!(polling(&mut assigned.iter()), 2500);
    for stretch in assigned.chunks(100) {
        assert!((22..=28).contains(&polling(&mut stretch.iter())), "{}", polling(&mut stretch.iter()));
    }
    for step in [2, 3, 4, 5, 8, 10, 100] {
        let talkers = assigned.iter().step_by(step).count() as f64;
        let share = polling(&mut assigned.iter().step_by(step)) as f64 / talkers;
        assert!((0.22..0.28).contains(&share), "{share} of each {step}th");
    }
}

#[test]
fn the_schedule_gives_each_conversation_its_turn() {
    let layout = pairs(10);
    let schedule = Schedule::new(&layout, 2000.0, 7).unwrap();
    assert_eq!((schedule.due_us(0), schedule.due_us(1), schedule.due_us(2001)), (0, 500, 1_000_500));
    let mut talks = BTreeMap::new();
    (0..50).for_each(|n| *talks.entry(schedule.conversation(n)).or_insert(0) += 1);
    assert_eq!(talks, (0..10).map(|k| (k, 5)).collect());
    let order = |seed| {
        let schedule = Schedule::new(&layout, 1.0, seed).unwrap();
        (0..10).map(|n| schedule.conversation(n)).collect::<Vec<_>>()
    };
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(8));
    assert!(!order(7).is_sorted());
}

#[test]
fn bursts_have_the_talks_of_a_steady_run_in_a_tenth_of_the_time() {
    let bursts = |duration_ms, warm_up_ms| {
        let (duration, warm_up) = (Duration::from_millis(duration_ms), Duration::from_millis(warm_up_ms));
        Bursts::of(&Plan { pace: Pace::Bursts { rate: 100.0 }, duration, warm_up, ..plan(2) }).unwrap()
    };
    for (duration_ms, burst_us) in [(10_000, 1_000_000), (200, 20_000), (30_000, 1_000_000), (25_000, 833_333)] {
        assert_eq!(bursts(duration_ms, 0).burst_us(), burst_us, "{duration_ms} ms");
    }
    assert_eq!(bursts(0, 0).burst_us(), 1, "there is no division by 0");
    assert_eq!(Bursts::of(&plan(2)), None);
    let schedule = Schedule::new(&pairs(1), 100.0, 1).unwrap().in_bursts(Some(bursts(20_000, 500)));
    let due = (0..2050).map(|n| schedule.due_us(n)).collect::<Vec<_>>();
    assert!(due.is_sorted());
    let between = |from_us, to_us| due.iter().filter(|due| (from_us..to_us).contains(*due)).count();
    assert_eq!(between(0, 500_000), 50, "the warm-up is steady");
    for period in [500_000, 10_500_000] {
        assert_eq!((between(period, period + 1_000_000), between(period + 1_000_000, period + 10_000_000)), (1000, 0));
        assert_eq!(between(period + 300_000, period + 400_000), 100);
    }
}

#[test]
fn threads_share_the_turns_without_rest() {
    let schedule = Schedule::new(&pairs(6), 10.0, 3).unwrap();
    let mut turns = (0..2).flat_map(|thread| schedule.turns(move |k| k % 2 == thread).take(9)).collect::<Vec<_>>();
    turns.sort_unstable();
    assert_eq!(turns, (0..18).map(|n| (n, schedule.conversation(n))).collect::<Vec<_>>());
    assert_eq!(schedule.turns(|_| false).count(), 0);
}

#[test]
fn there_is_no_schedule_where_nobody_hears_or_no_rate() {
    let layout = pairs(2);
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Schedule::new(&layout, rate, 1), None);
    }
    assert_eq!(Schedule::new(&Layout::learnt([(0, ["a"]), (1, ["b"])]), 1.0, 1), None);
    let mixed = Schedule::new(&Layout::learnt([(0, vec!["a", "b"]), (1, vec!["b"])]), 1.0, 1).unwrap();
    assert!((0..9).all(|n| mixed.conversation(n) == 0), "only b is heard, the larger one");
}

#[test]
fn chance_is_fair_enough() {
    let mut random = Random::new(5);
    let mut counts = [0; 6];
    (0..6000).for_each(|_| counts[random.below(6)] += 1);
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    assert_eq!(random.below(0), 0);
}
