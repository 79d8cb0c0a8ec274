//! The rules of the peers of a conversation, one by one, and random worlds of nodes.

mod desk;
mod limit;
mod model;
mod world;

use std::time::Duration;

use super::*;
use desk::{Desk, check, content_of, node, talk, update, user};

#[test]
fn a_subscription_asks_the_peers_for_their_states_and_those_who_are_there_are_told_to_nobody() {
    check(&[
        ("+ana", &["joined ana", "say 1 come ana public"]),
        ("attached", &["say 2 state? ana"]),
        ("b4.9 state bob cid", &[]),
        ("c1.3 come dan", &["joined dan"]),
        ("c1.4 state dan eve", &[]),
        ("people", &["ana bob cid dan eve"]),
    ]);
}

#[test]
fn a_first_state_is_told_if_somebody_may_have_been_told_who_is_there() {
    let late: &[(&str, &[&str])] =
        &[("attached", &["say 1 state?"]), ("at 12000", &[]), ("b1.1 state bob", &["joined bob"])];
    check(late);
    check(&[("attached", &["say 1 state?"]), ("at 11999", &[]), ("b1.1 state bob", &[]), ("people", &["bob"])]);
    check(&[
        ("attached", &["say 1 state?"]),
        ("at 11999", &[]),
        ("people", &[""]),
        ("b1.1 state bob", &["joined bob"]),
        ("b1.2 state bob cid", &["joined cid"]),
    ]);
    check(&[("people", &["", "partial"]), ("attached", &["say 1 state?"]), ("b1.2 state bob", &["joined bob"])]);
    let coming: &[&str] = &["joined bob", "say 2 state"];
    check(&[("attached", &["say 1 state?"]), ("b1.1 state? bob", coming)]);
    let there: &[&str] = &["say 2 state"];
    check(&[("attached", &["say 1 state?"]), ("b1.2 state? bob", there), ("people", &["bob"])]);
    let asked: &[(&str, &[&str])] = &[("attached", &["say 1 state?"]), ("people", &[""]), ("b1.2 state? bob", coming)];
    check(asked);
}

#[test]
fn a_user_of_several_nodes_comes_once_and_goes_once() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 come ana", &["joined ana"]),
        ("c1.1 come ana", &[]),
        ("b1.2 come ana", &[]),
        ("+ana", &["say 2 come ana"]),
        ("b1.3 go ana", &[]),
        ("-ana", &["say 3 go ana"]),
        ("b1.4 go ana", &[]),
        ("c1.2 go ana", &["left ana"]),
        ("+ana", &["joined ana", "say 4 come ana public"]),
        ("-ana", &["left ana", "say 5 go ana public"]),
    ]);
}

/// The state of the other node may come before the session, after it, or after its user has gone there.
#[test]
fn nobody_is_told_of_a_user_whose_session_moves_between_nodes() {
    check(&[
        ("+ana", &["joined ana", "say 1 come ana public"]),
        ("attached", &["say 2 state? ana"]),
        ("b1.1 state bob", &[]),
        ("returns bob", &["say 3 come bob"]),
        ("b1.2 go bob", &[]),
        ("people", &["ana bob"]),
        ("b1.3 come bob", &[]),
        ("-bob", &["say 4 go bob"]),
        ("people", &["ana bob"]),
        ("b1.4 go bob", &["left bob"]),
    ]);
    check(&[
        ("returns bob", &["say 1 come bob"]),
        ("attached", &["say 2 state? bob"]),
        ("b1.1 state bob", &[]),
        ("b1.2 state", &[]),
    ]);
}

#[test]
fn a_message_that_came_before_is_dropped() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b2.1 state? bob", &["joined bob", "say 2 state"]),
        ("b2.2 update 7", &["update 7"]),
        ("b2.2 update 7", &[]),
        ("b2.1 state?", &[]),
        ("b1.9 state cid", &[]),
        ("b2.3 gone", &["left bob"]),
        ("b2.1 state? bob", &[]),
        ("b2.3 gone", &[]),
        ("b3.1 come bob", &["joined bob"]),
    ]);
}

#[test]
fn an_echo_is_dropped() {
    check(&[("attached", &["say 1 state?"]), ("a1.1 state? ana", &[]), ("a1.2 update 7", &[]), ("a2.1 come bob", &[])]);
}

#[test]
fn a_hole_is_told_and_the_peer_asked_for_its_state() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 state bob", &[]),
        ("b1.3 update 7", &["update 7", "missed Hole"]),
        ("at 199", &[]),
        ("at 200", &["ask b"]),
        ("b1.4 state cid", &["left bob", "joined cid"]),
        ("at 9000", &[]),
        ("b1.6 state cid", &["missed Hole"]),
        ("at 99000", &[]),
    ]);
}

#[test]
fn a_new_life_begins_at_one_and_owes_its_state() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 state bob", &[]),
        ("b2.1 come cid", &["joined cid"]),
        ("at 200", &["ask b"]),
        ("b2.2 state cid", &["left bob"]),
        ("b4.2 state dan", &["left cid", "joined dan", "missed Hole"]),
    ]);
}

#[test]
fn a_peer_that_is_first_heard_in_the_middle_of_a_life_is_a_hole_if_the_subscription_is_older_than_a_heartbeat() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("at 1999", &[]),
        ("b1.5 update 7", &["update 7"]),
        ("at 2000", &[]),
        ("c1.1 update 8", &["update 8"]),
        ("d1.2 update 9", &["update 9", "missed Hole"]),
        ("at 2200", &["ask b", "ask d", "ask c"]),
    ]);
}

#[test]
fn a_peer_that_owes_its_state_is_asked_three_times_while_the_bus_is_up_and_then_is_not_here() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 come bob", &["joined bob"]),
        ("at 200", &["ask b"]),
        ("at 4199", &[]),
        ("down", &[]),
        ("at 4200", &[]),
        ("up", &[]),
        ("at 8200", &["ask b"]),
        ("at 12200", &["ask b"]),
        ("at 16199", &[]),
        ("at 16200", &["left bob", "missed NoAnswer"]),
        ("at 99000", &[]),
        ("b1.1 come bob", &[]),
    ]);
}

#[test]
fn a_peer_that_asks_is_answered_at_once_and_those_who_ask_within_100_ms_of_that_together() {
    check(&[
        ("+ana", &["joined ana", "say 1 come ana public"]),
        ("attached", &["say 2 state? ana"]),
        ("b1.1 state?", &["say 3 state ana"]),
        ("at 60", &[]),
        ("c1.0 ask a", &[]),
        ("c1.0 ask b", &[]),
        ("d1.1 state?", &[]),
        ("at 99", &[]),
        ("at 100", &["say 4 state ana"]),
        ("at 199", &[]),
        ("c1.0 ask a", &[]),
        ("at 200", &["say 5 state ana"]),
        ("at 60000", &[]),
        ("c1.0 ask a", &["say 6 state ana"]),
    ]);
}

#[test]
fn users_of_a_silent_node_go_and_come_back_when_it_is_heard() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("silent b", &[]),
        ("b1.1 state? bob cid", &["joined bob", "joined cid", "say 2 state"]),
        ("+cid", &["say 3 come cid"]),
        ("silent b", &["left bob", "missed Silence"]),
        ("silent b", &[]),
        ("people", &["cid"]),
        ("heard b", &["joined bob"]),
        ("heard b", &[]),
        ("at 1", &["ask b"]),
        ("b1.2 state bob", &[]),
        ("silent b", &["left bob", "missed Silence"]),
        ("b1.3 state dan", &["joined dan"]),
        ("silent b", &["left dan", "missed Silence"]),
        ("b1.4 update 7", &["update 7", "joined dan"]),
        ("at 201", &["ask b"]),
    ]);
}

#[test]
fn users_of_a_node_that_ended_as_planned_go_and_nothing_is_missed() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 state? bob cid", &["joined bob", "joined cid", "say 2 state"]),
        ("c1.1 come bob", &[]),
        ("ended b", &["left cid"]),
        ("heard b", &[]),
        ("b1.1 state? bob cid", &[]),
        ("b1.2 state? bob cid", &[]),
        ("b1.4 update 7", &["update 7", "missed Hole"]),
        ("people", &["bob"]),
        ("at 99000", &["ask c", "ask c", "ask c", "left bob", "missed NoAnswer"]),
    ]);
}

#[test]
fn after_another_subscription_updates_are_missed_and_peers_that_do_not_answer_go() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 state bob", &[]),
        ("c1.1 state cid", &[]),
        ("d1.1 gone", &[]),
        ("at 5000", &[]),
        ("attached again", &["missed Subscription", "say 2 state?"]),
        ("people", &["bob cid"]),
        ("b1.2 state bob eve", &["joined eve"]),
        ("e1.7 state fay", &["joined fay"]),
        ("at 8999", &[]),
        ("at 9000", &["ask c"]),
        ("at 13000", &["ask c"]),
        ("at 17000", &["ask c"]),
        ("at 21000", &["left cid", "missed NoAnswer"]),
        ("at 99000", &[]),
    ]);
}

#[test]
fn who_listened_before_the_subscription_may_have_missed_updates() {
    check(&[("deaf", &[]), ("attached", &["missed Subscription", "say 1 state?"])]);
    check(&[("attached", &["say 1 state?"]), ("deaf", &[]), ("at 9000", &[])]);
}

#[test]
fn a_subscription_that_an_outage_covers_tells_nobody_that_updates_are_missed_and_asks_for_states() {
    check(&[
        ("deaf", &[]),
        ("attached covered", &["say 1 state?"]),
        ("b1.1 state bob", &[]),
        ("attached again covered", &["say 2 state?"]),
        ("at 4000", &["ask b"]),
        ("attached again", &["missed Subscription", "say 3 state?"]),
    ]);
}

#[test]
fn a_full_mailbox_is_told_and_all_peers_are_asked_by_one_state() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 state bob", &[]),
        ("lost", &["missed Mailbox"]),
        ("lost", &["missed Mailbox"]),
        ("at 100", &["say 2 state?"]),
        ("at 4000", &["ask b"]),
    ]);
}

#[test]
fn a_full_queue_is_followed_by_a_state() {
    check(&[("+ana", &["joined ana", "say 1 come ana public"]), ("room", &["say 2 state ana"]), ("at 9000", &[])]);
}

#[test]
fn a_node_that_cannot_say_what_it_lost_is_asked() {
    check(&[
        ("attached", &["say 1 state?"]),
        ("b1.1 state bob", &[]),
        ("doubt b", &["missed Hole"]),
        ("at 200", &["ask b"]),
        ("doubt c", &["missed Hole", "ask c"]),
    ]);
}

#[test]
fn an_update_without_a_number_is_delivered_and_presence_without_one_is_not() {
    let steps: &[(&str, &[&str])] = &[
        ("foreign update 7", &["update 7"]),
        ("foreign update 7", &["update 7"]),
        ("foreign come ana", &[]),
        ("b1.0 update 7", &["update 7"]),
        ("a1.0 update 7", &["update 7"]),
        ("b1.0 come ana", &[]),
        ("at 99000", &[]),
    ];
    check(steps);
}

#[test]
fn all_messages_of_a_life_are_numbered_but_asks() {
    let mut desk = Desk::new();
    assert_eq!(desk.step("attached"), ["say 1 state?"]);
    let local = desk.local.local(desk.now);
    let sent = desk.peers.talk(user("ana"), talk("7", false), &local);
    assert_eq!(sent.stamp, Some(Stamp { node: node('a'), life: 1, sequence: Some(2) }));
    let sent = desk.peers.announce(update("8", false), &local).unwrap();
    assert_eq!(sent.stamp.unwrap().sequence, Some(3));
    assert_eq!(desk.step("doubt b"), ["missed Hole", "ask b"]);
    assert_eq!(desk.step("room"), ["say 4 state"]);
    assert_eq!(desk.step("end"), ["say 5 gone"]);
    assert_eq!(Desk::new().step("end"), [""; 0], "nobody was told of it");
}

#[test]
fn a_message_that_was_told_is_dropped_unless_it_is_the_talk_of_a_member() {
    let mut desk = Desk::new();
    desk.step("attached");
    assert_eq!(desk.step("b1.1 update id7"), ["update 7"]);
    assert_eq!(desk.step("b1.2 update id7"), [""; 0]);
    assert_eq!(desk.step("foreign update id7"), [""; 0]);
    assert_eq!(desk.step("b1.3 update 7"), ["update 7"], "it has no id");
    assert_eq!(desk.step("b9.0 update 7"), ["update 7"], "it has a life of its own");
    assert_eq!(desk.step("b9.0 update 7"), [""; 0], "it was published once more");
    assert_eq!(desk.step("c9.0 update 7"), ["update 7"]);
    let local = desk.local.local(desk.now);
    assert_eq!(desk.peers.announce(update("7", true), &local), None);
    assert!(!desk.peers.is_new(&talk("7", true), desk.now));
    desk.peers.talk(user("ana"), talk("7", true), &local);
    desk.peers.talk(user("ana"), talk("8", true), &local);
    assert!(!desk.peers.is_new(&talk("8", true), desk.now), "its id is noted");
    assert_eq!(desk.step("b1.4 update id8"), [""; 0]);
    assert_eq!(desk.step("b1.5 update 9"), ["update 9"], "a double by id leaves no hole");
}

#[test]
fn the_last_32_ids_of_a_minute_are_remembered() {
    use crate::event::Scalar;
    let start = Instant::now();
    let with_id = |id: Scalar| Talk { message_id: Some(id), ..talk("0", false) };
    let numbered = |id: u32| with_id(Scalar::Literal(id.to_string().into()));
    let mut ids = RecentIds::new(start);
    assert!((0..33).all(|id| ids.note(&numbered(id), start)));
    assert!(!ids.note(&numbered(1), start));
    assert!(ids.note(&numbered(0), start), "it was the 33rd from the end");
    assert!(!ids.note(&with_id(Scalar::Text("32".into())), start + Duration::from_secs(60)), "equal to the number");
    assert!(ids.note(&numbered(32), start + Duration::from_secs(61)));
    for no_id in [Scalar::Literal("null".into()), Scalar::Literal("true".into()), Scalar::Text("".into())] {
        assert!((0..2).all(|_| ids.note(&with_id(no_id.clone()), start)), "{no_id:?}");
    }
}

#[test]
fn names_are_stored_once() {
    let mut desk = Desk::new();
    for step in ["attached", "+ana", "b1.1 state? ana bob", "c1.1 come ana", "c1.2 come bob", "b1.2 state bob ana"] {
        desk.step(step);
    }
    let here = desk.local.here.find(&user("ana")).unwrap().as_str().as_ptr();
    let peers = &desk.peers.roll.as_ref().unwrap().peers;
    let stored = |peer: &Peer, name: &str| peer.names().unwrap().get(&user(name)).unwrap().as_str().as_ptr();
    assert!(peers.iter().all(|peer| stored(peer, "ana") == here));
    assert_eq!(stored(&peers[0], "bob"), stored(&peers[1], "bob"));
}

#[test]
fn a_conversation_without_peers_takes_little_memory() {
    assert!(size_of::<Peers>() <= 56, "{}", size_of::<Peers>());
    let mut desk = Desk::new();
    for step in ["+ana", "attached", "+bob", "-ana", "room", "lost", "at 100"] {
        desk.step(step);
        assert!(desk.peers.roll.is_none() || step == "lost", "after {step}");
    }
    assert!(desk.peers.recent.is_none());
}

#[test]
fn nodes_that_are_gone_and_nodes_that_are_invented_take_bounded_memory() {
    let mut desk = Desk::new();
    desk.step("attached");
    let node = |number: u64| NodeId::from_random(1_000 + number);
    let stamp = |number: u64| Some(Stamp { node: node(number), life: 1, sequence: Some(1) });
    let count = |desk: &Desk| desk.peers.roll.as_ref().unwrap().peers.len();
    let come = |number: u64| Content::Presence(Presence::Come { username: user(&format!("u{number}")), public: true });
    for number in 0..20 {
        let message = Message { stamp: stamp(number), content: come(number) };
        assert_eq!(desk.news(FromBus::Message(message)), [format!("joined u{number}")]);
        assert_eq!(desk.news(FromBus::Ended(node(number))), [format!("left u{number}")]);
    }
    assert_eq!(count(&desk), 8);
    for number in 100..1_000 {
        desk.news(FromBus::Message(Message { stamp: stamp(number), content: come(number) }));
    }
    assert_eq!(count(&desk), 256);
    let update = Message { stamp: stamp(2_000), content: content_of(update("7", false)) };
    assert_eq!(desk.news(FromBus::Message(update)), ["update 7"]);
}

#[test]
fn a_count_that_cannot_be_does_no_harm() {
    let (all, most) = (u64::MAX, u64::MAX - 1);
    check(&[
        ("attached", &["say 1 state?"]),
        (&format!("b1.1 count {all}"), &[]),
        (&format!("c1.1 count {most}"), &[]),
        ("b1.2 come bob", &[]),
        ("b1.3 go bob", &[]),
        ("+ana", &["say 2 come ana"]),
    ]);
}
