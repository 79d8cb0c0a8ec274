//! Tests of announcements to conversations.

use super::*;
use crate::actors::announcement::{Announcement, Receipt, Receipts, Source};
use crate::metrics::{MessageKind as _, ToConversation};

/// Returns news of `name` for a conversation.
fn news(name: &str, except_self: bool, receipt: Receipt) -> ConversationMessage {
    let talk = Talk { conversation: "c".into(), timestamp: None, message_id: None };
    let username = Username::parse(name).unwrap();
    let source = Source::BackEnd { relay_required: false, receipt };
    let announcement = Announcement { username, talk, except: Vec::new(), except_self, source };
    ConversationMessage::Announce(Box::new(announcement))
}

#[actix_rt::test]
async fn an_announcement_is_answered_by_the_number_of_its_recipients() {
    let world = World::new(|_| {});
    let mailboxes = world.settings.metrics.mailbox(ToConversation::CLASS).clone();
    mailboxes.limit.set(4);
    let door = world.conversation("c");
    let messi = Member::enter(&world, &door, 1, "messi").await;
    let phone = Member::enter(&world, &door, 2, "messi").await;
    let xavi = Member::enter(&world, &door, 3, "xavi").await;
    let (receipts, each, all) = Receipts::new(5);
    let announced =
        each.into_iter().zip([("messi", false), ("messi", true), ("xavi", true), ("iker", true), ("iker", false)]);
    let results = announced.map(|(receipt, (name, except_self))| door.try_send(news(name, except_self, receipt)));
    let results: Vec<_> = results.collect();
    assert_eq!(results, [Ok(()), Ok(()), Ok(()), Ok(()), Err(SendError::Full)], "they take slots as talks do");
    assert!(all.await.is_err());
    assert_eq!([0, 1, 2, 3, 4].map(|at| receipts.take(at).unwrap().sessions), [3, 1, 2, 3, 0]);
    let joined = 1;
    assert_eq!([messi.heard().len(), phone.heard().len(), xavi.heard().len()], [joined + 3, joined + 3, 3]);
    let kind = mailboxes.read(Instant::now()).kinds.swap_remove(ToConversation::Announce.number());
    assert_eq!((kind.offered, kind.full, kind.handle.count()), (5, 1, 4));
}

/// A user with many sessions is left out in every slice of a long fan-out.
#[actix_rt::test]
async fn a_long_announcement_leaves_out_all_sessions_of_its_user() {
    let world = World::new(|settings| settings.presence_members_max = 1.into());
    let door = world.conversation("c");
    let mut members = Vec::new();
    for at in 0..2 * FANOUT_SLICE as u64 + 2 {
        members.push(Member::enter(&world, &door, at, if at % 2 == 0 { "messi" } else { "xavi" }).await);
    }
    let (receipts, mut each, all) = Receipts::new(1);
    door.try_send(news("messi", true, each.remove(0))).unwrap();
    assert!(all.await.is_err());
    settled(&door).await;
    assert_eq!(receipts.take(0).unwrap().sessions, FANOUT_SLICE as u32 + 1);
    for (at, member) in members.iter().enumerate() {
        assert_eq!(member.heard().len(), at % 2, "{at}");
    }
}

/// What waits in the mailbox of a conversation that fails is given to nobody, and its back end is not kept waiting.
#[actix_rt::test]
async fn an_announcement_to_a_conversation_that_fails_is_given_to_nobody() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    let (receipts, mut each, all) = Receipts::new(1);
    door.send_always(ConversationMessage::Panic);
    door.try_send(news("messi", false, each.remove(0))).unwrap();
    assert!(all.await.is_err());
    assert_eq!(receipts.take(0).unwrap().sessions, 0);
}
