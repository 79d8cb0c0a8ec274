//! Participants whose sessions move from one node to another.

use super::*;

#[test]
fn a_participant_moves_with_its_user_and_its_seats() {
    let there = Scene::joined(&["c2", "c1"]);
    let belongings = there.participant.belongings().unwrap();
    assert_eq!(belongings.username.as_str(), "messi");
    assert_eq!(belongings.conversations, ["c2".into(), "c1".into()]);
    let mut here = Scene::new();
    let Scene { participant, world, .. } = &mut here;
    participant.come_back(belongings, world).unwrap();
    here.polls();
    here.hears(&["call messi c2 c1"]);
    assert!(here.participant.is_returning() && !here.participant.has_user());
    here.accepts("messi", &["c2", "c1"]);
    here.hears(&[]);
    assert!(!here.participant.is_returning() && here.participant.has_user());
    assert_eq!(here.participant.belongings().unwrap().conversations, ["c2".into(), "c1".into()]);
    here.says("talk c1 1", None);
    here.says("join messi", 1);
    here.hears(&["messi talks in c1 1", "done", "call messi"]);
}

#[test]
fn a_participant_with_work_under_way_does_not_move() {
    assert!(Scene::new().participant.belongings().is_none(), "it has not joined");
    let mut scene = Scene::joined(&["c1"]);
    scene.refreshes();
    assert!(scene.participant.belongings().is_none());
    scene.accepts("messi", &["c1"]);
    assert!(scene.participant.belongings().is_some());
}

#[test]
fn a_participant_that_cannot_enter_what_it_has_had_is_nobody() {
    let belongings = Scene::joined(&["c1"]).participant.belongings().unwrap();
    let mut here = Scene::new();
    here.participant.come_back(belongings.clone(), &mut here.world).unwrap();
    here.refuses(Code::Busy);
    assert!(!here.participant.is_returning() && !here.participant.has_user());
    let mut busy = Scene::new();
    busy.world.is_busy = true;
    assert_eq!(busy.participant.come_back(belongings, &mut busy.world), Err(Code::Busy));
    assert!(!busy.participant.is_returning());
}
