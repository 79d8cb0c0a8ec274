//! Tests of what is measured of conversations and of the registry: until when a message is handled.

use std::time::Instant;

use super::*;
use crate::mailbox::clock;
use crate::metrics::mailboxes::KindReading;
use crate::metrics::{MessageKind, ToConversation, ToRegistry};
use crate::turns::Rest;

const MS: Duration = Duration::from_millis(1);

/// Moves the clock by 1 ms in each round of this thread.
fn tick() {
    clock::advance(Duration::ZERO);
    actix_rt::spawn(async {
        loop {
            Rest::default().await;
            clock::advance(MS);
        }
    });
}

fn read<K: MessageKind>(world: &World, kind: K) -> KindReading {
    world.settings.metrics.mailbox(K::CLASS).read(Instant::now()).kinds.swap_remove(kind.number())
}

/// A long fan-out goes on in later rounds. The next message waits for its end.
#[actix_rt::test]
async fn a_talk_is_handled_until_its_last_member_has_it() {
    let world = World::new(|settings| settings.presence_members_max = 1.into());
    let door = world.conversation("c");
    let mut members = Vec::new();
    for at in 0..=3 * FANOUT_SLICE as u64 {
        members.push(Member::enter(&world, &door, at, &format!("u{at}")).await);
    }
    let before = world.settings.metrics.fanout_seconds.read();
    tick();
    members[0].talk("first");
    members[1].talk("second");
    settled(&door).await;
    let (talk, ask) = (read(&world, ToConversation::Talk), read(&world, ToConversation::Ask));
    // The first slice is sent at once, and each of the three others in a round of its own.
    assert_eq!((talk.handle.count(), talk.handle.sum()), (2, 0.006));
    assert_eq!((talk.wait.count(), talk.wait.sum()), (2, 0.003));
    assert_eq!((ask.wait.sum(), ask.handle.sum()), (0.006, 0.0));
    let fanouts = world.settings.metrics.fanout_seconds.read().since(&before);
    assert_eq!((fanouts.count(), fanouts.sum()), (2, 0.006));
}

#[actix_rt::test]
async fn messages_without_a_fan_out_are_handled_at_once() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    let member = Member::enter(&world, &door, 1, "messi").await;
    clock::advance(Duration::ZERO);
    drop(member);
    settled(&door).await;
    for (kind, count) in [(ToConversation::Enter, 1), (ToConversation::Leave, 1), (ToConversation::Ask, 1)] {
        let read = read(&world, kind);
        assert_eq!((read.offered, read.wait.count(), read.handle.count()), (count, count, count), "{kind:?}");
    }
    assert_eq!(world.settings.metrics.fanout_members.read().sum(), 0.0);
}

/// The registry sends the entries of a session in several rounds.
#[actix_rt::test]
async fn a_session_is_handled_until_its_last_entry_is_sent() {
    let world = World::new(|settings| settings.linger = Duration::from_secs(600));
    let ids: Vec<_> = (0..640).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    tick();
    let memberships = world.enter_all(1, "messi", &ids).done().await;
    let enter_all = read(&world, ToRegistry::EnterAll);
    assert_eq!((enter_all.offered, enter_all.wait.count(), enter_all.handle.count()), (1, 1, 1));
    // 64 entries in each of ten rounds. In the last one, the registry runs before the clock.
    assert_eq!(enter_all.handle.sum(), 0.008);
    drop(memberships);
}

/// A session that is refused because a conversation is full was offered to it, and is counted there.
#[actix_rt::test]
async fn a_full_conversation_counts_the_entry_that_it_refuses() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    world.settings.metrics.mailbox(ToConversation::CLASS).limit.set(1);
    let ask = || ConversationMessage::Ask(oneshot::channel().0);
    assert!(door.try_send(ask()).is_ok());
    assert!(door.try_send(ask()).is_err() && door.reserve(ToConversation::Enter).is_err());
    let (asks, entries) = (read(&world, ToConversation::Ask), read(&world, ToConversation::Enter));
    assert_eq!((asks.offered, asks.full, entries.offered, entries.full), (2, 1, 1, 1));
}
