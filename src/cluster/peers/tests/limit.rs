//! The presence limit: names and numbers on the bus, and presence among the members.

use super::desk::{Desk, check};

/// Steps after the limit is set to 3.
fn check_limited(steps: &[(&str, &[&str])]) {
    let setup: &[(&str, &[&str])] = &[("limit 3", &[]), ("attached", &["say 1 state?"]), ("at 1000", &[])];
    check(&[setup, steps].concat());
}

#[test]
fn above_the_limit_the_number_goes_over_the_bus_at_most_once_a_second_and_no_presence_is_told() {
    check_limited(&[
        ("b1.1 state? bob cid", &["joined bob", "joined cid", "say 2 state"]),
        ("+ana", &["joined ana", "say 3 come ana public"]),
        ("people", &["ana bob cid"]),
        ("+dan", &["say 4 count 2"]),
        ("people", &["4 users"]),
        ("+eve", &[]),
        ("-ana", &[]),
        ("+fay", &[]),
        ("b1.2 go bob", &[]),
        ("at 1999", &[]),
        ("at 2000", &["say 5 count 3"]),
        ("+gil", &[]),
        ("at 3000", &["say 6 count 4"]),
        ("at 9000", &[]),
        ("+hal", &["say 7 count 5"]),
        ("people", &["6 users"]),
    ]);
}

#[test]
fn back_within_the_limit_names_are_told_again_and_those_who_were_there_have_not_come() {
    check_limited(&[
        ("b1.1 count 3", &[]),
        ("people", &["3 users"]),
        ("+ana", &["say 2 count 1"]),
        ("b1.2 count 2", &[]),
        ("people", &["3 users"]),
        ("at 1999", &[]),
        ("at 2000", &["say 3 state ana"]),
        ("-ana", &["say 4 go ana"]),
        ("+ana", &["say 5 come ana"]),
        ("b1.3 state ana bob", &[]),
        ("people", &["ana bob"]),
        ("b1.4 go bob", &["left bob"]),
        ("-ana", &["say 6 go ana"]),
        ("b1.5 go ana", &["left ana"]),
    ]);
}

#[test]
fn a_departure_is_told_by_the_number_before_it() {
    check_limited(&[
        ("+ana", &["joined ana", "say 2 come ana public"]),
        ("b1.1 state bob cid dan", &[]),
        ("b1.2 go dan", &[]),
        ("b1.3 come eve", &[]),
        ("-ana", &["say 3 go ana"]),
        ("b1.4 go bob", &["left bob"]),
    ]);
}

#[test]
fn a_user_on_two_nodes_counts_twice_for_the_limit() {
    check_limited(&[
        ("+ana", &["joined ana", "say 2 come ana public"]),
        ("b1.1 state? ana bob", &["joined bob", "say 3 state ana"]),
        ("people", &["ana bob"]),
        ("+bob", &["say 4 count 2"]),
        ("people", &["4 users"]),
    ]);
}

#[test]
fn an_answer_above_the_limit_has_no_names() {
    check_limited(&[
        ("+ana", &["joined ana", "say 2 come ana public"]),
        ("b1.1 state? bob cid dan", &["say 3 count 1"]),
        ("b1.2 go dan", &[]),
        ("at 1999", &[]),
        ("at 2000", &["say 4 state ana"]),
    ]);
}

#[test]
fn a_number_follows_users_who_come_and_go() {
    check_limited(&[
        ("b1.1 count 1", &[]),
        ("b1.2 come bob", &[]),
        ("people", &["2 users"]),
        ("b1.3 go bob", &[]),
        ("b1.4 go cid", &[]),
        ("b1.5 go cid", &[]),
        ("people", &["0 users"]),
        ("b1.6 gone", &[]),
        ("people", &[""]),
    ]);
}

#[test]
fn users_of_a_node_that_does_not_count_do_not_count_for_the_limit() {
    check_limited(&[
        ("b1.1 count 5", &[]),
        ("silent b", &["missed Silence"]),
        ("+ana", &["joined ana", "say 2 come ana public"]),
        ("people", &["ana"]),
        ("heard b", &[]),
        ("people", &["6 users"]),
    ]);
}

#[test]
fn the_limit_can_change() {
    let mut desk = Desk::new();
    for step in ["attached", "+ana", "+bob", "limit 1"] {
        desk.step(step);
    }
    assert_eq!(desk.step("people"), ["2 users"]);
    assert_eq!(desk.step("+cid"), ["say 4 count 3"]);
    desk.step("limit 0");
    assert_eq!(desk.step("b1.1 update 7"), ["update 7"]);
    assert_eq!(desk.step("at 1000"), ["ask b", "say 5 state ana bob cid"]);
    assert_eq!(desk.step("people"), ["ana bob cid"]);
}
