//! Tests of conversations that hear what MAX announces.

use parking_lot::Mutex;

use super::*;
use crate::actors::announcement::{Announcement, Receipts, Source};
use crate::actors::audience::LocalAudience;
use crate::board::sessions::SessionBoard;
use crate::delivery::fold::{Loss, Outage};
use crate::event::{ConversationId, Scalar};
use crate::feed::port::{Audience as _, Port, Taken};
use crate::metrics::{MessageKind as _, ToConversation};

/// A feed, and what conversations have told it.
#[derive(Debug, Default)]
struct Feed {
    outage: Mutex<Option<Outage>>,
    attached: Mutex<Vec<(ConversationId, u64, bool)>>,
}

impl Port for Feed {
    fn attach(&self, id: &ConversationId, life: u64) {
        self.attached.lock().push((id.clone(), life, true));
    }

    fn detach(&self, id: &ConversationId, life: u64) {
        self.attached.lock().push((id.clone(), life, false));
    }

    fn outage(&self) -> Option<Outage> {
        *self.outage.lock()
    }
}

fn world(feed: &Arc<Feed>) -> World {
    World::new(|settings| settings.feed = Some(feed.clone()))
}

fn talk(message: Option<&str>) -> Talk {
    let message_id = message.map(|id| Scalar::Text(id.into()));
    Talk { conversation: "c".into(), timestamp: None, message_id }
}

/// Announces a message by both ways, and returns the number of sessions that the second one was given to.
async fn announce(door: &Mailbox<ConversationActor>, message: Option<&str>) -> Option<u32> {
    let (receipts, mut each, all) = Receipts::new(1);
    for source in [Source::Feed, Source::BackEnd { relay_required: false, receipt: each.remove(0) }] {
        let username = Username::parse("iker").unwrap();
        let announcement =
            Announcement { username, talk: talk(message), except: Vec::new(), except_self: false, source };
        door.try_send(ConversationMessage::Announce(Box::new(announcement))).unwrap();
    }
    assert!(all.await.is_err());
    receipts.take(0).map(|done| done.sessions)
}

#[actix_rt::test]
async fn a_message_that_was_told_is_not_told_again_by_the_feed() {
    let world = world(&Arc::default());
    let door = world.conversation("c");
    let messi = Member::enter(&world, &door, 1, "messi").await;
    let xavi = Member::enter(&world, &door, 2, "xavi").await;
    drop(messi.heard());
    messi.talk("1");
    assert_eq!(announce(&door, Some("1")).await, Some(0), "both know it");
    assert_eq!((messi.heard().len(), xavi.heard().len()), (0, 1));
    assert_eq!(announce(&door, Some("2")).await, Some(0), "the feed has told it");
    assert_eq!((messi.heard().len(), xavi.heard().len()), (1, 1));
    assert_eq!(announce(&door, None).await, Some(2), "news without an id is always new");
    assert_eq!((messi.heard().len(), xavi.heard().len()), (2, 2));
    // A talk is told even if MAX was faster.
    messi.talk("2");
    settled(&door).await;
    assert_eq!(xavi.heard().len(), 1);
}

/// Where nobody else tells of messages, a back end may repeat one.
#[actix_rt::test]
async fn without_a_feed_no_message_is_remembered() {
    let world = World::new(|_| {});
    let door = world.conversation("c");
    let _messi = Member::enter(&world, &door, 1, "messi").await;
    for _ in 0..2 {
        let (receipts, mut each, all) = Receipts::new(1);
        let (username, source) =
            (Username::parse("iker").unwrap(), Source::BackEnd { relay_required: false, receipt: each.remove(0) });
        let announcement =
            Announcement { username, talk: talk(Some("1")), except: Vec::new(), except_self: false, source };
        door.try_send(ConversationMessage::Announce(Box::new(announcement))).unwrap();
        assert!(all.await.is_err());
        assert_eq!(receipts.take(0).map(|done| done.sessions), Some(1));
    }
}

#[actix_rt::test]
async fn an_outage_of_the_feed_is_told_once_to_each_session() {
    let feed = Arc::<Feed>::default();
    let world = world(&feed);
    let door = world.conversation("c");
    let messi = Member::enter(&world, &door, 1, "messi").await;
    let outage = |over| Outage { number: 1, over };
    *feed.outage.lock() = Some(outage(false));
    let tell = |over| door.send_always(ConversationMessage::Feed(Loss::Outage(outage(over))));
    tell(false);
    let phone = Member::enter(&world, &door, 2, "messi").await;
    tell(false);
    *feed.outage.lock() = None;
    tell(true);
    let late = Member::enter(&world, &door, 3, "messi").await;
    door.send_always(ConversationMessage::Feed(Loss::Conversation("c".into())));
    settled(&door).await;
    let told = |text: &str| format!(r#"42/max,["missed",{text}]"#);
    let [begun, over, of_one] =
        [r#"{"ongoing":true}"#, r#"{"ongoing":false}"#, r#"{"conversations":["c"],"ongoing":false}"#].map(told);
    for member in [&messi, &phone] {
        assert_eq!(member.heard(), [begun.clone(), over.clone(), of_one.clone()]);
    }
    assert_eq!(late.heard(), [of_one]);
}

#[actix_rt::test]
async fn the_feed_knows_which_conversations_live() {
    let feed = Arc::<Feed>::default();
    let world = world(&feed);
    let door = world.conversation("c");
    let id = ConversationId::from("c");
    settled(&door).await;
    assert_eq!(*feed.attached.lock(), [], "the notice that its exchange is bound would be heard by nobody");
    let messi = Member::enter(&world, &door, 1, "messi").await;
    let phone = Member::enter(&world, &door, 2, "messi").await;
    assert_eq!(*feed.attached.lock(), [(id.clone(), 1, true)]);
    drop((messi, phone, door));
    while feed.attached.lock().len() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(feed.attached.lock()[1], (id, 1, false));
}

/// The audience gives news to conversations that live, and spawns none.
#[actix_rt::test]
async fn the_audience_gives_news_to_the_living() {
    let world = world(&Arc::default());
    let mailboxes = world.settings.metrics.mailbox(ToConversation::CLASS).clone();
    mailboxes.limit.set(2);
    let audience =
        LocalAudience { conversations: world.settings.board.clone(), sessions: SessionBoard::new(Instant::now()) };
    let (id, iker) = (ConversationId::from("c"), Username::parse("iker").unwrap());
    assert_eq!(audience.update(iker.clone(), talk(Some("1"))), Taken::Nobody);
    assert_eq!(audience.conversations(), []);
    let door = world.conversation("c");
    world.settings.board.get("c").unwrap().open_door(door.downgrade());
    let messi = Member::enter(&world, &door, 1, "messi").await;
    assert_eq!(audience.conversations(), std::slice::from_ref(&id));
    let offered = [audience.update(iker.clone(), talk(Some("1"))), audience.lost(&id), audience.lost(&id)];
    assert_eq!(offered, [Taken::Given, Taken::Given, Taken::Full]);
    // Every session has to know of an outage.
    audience.outage(&id, Outage { number: 1, over: true });
    mailboxes.limit.set(100);
    settled(&door).await;
    assert_eq!(messi.heard().len(), 3);
    assert!(!audience.has(&iker));
}
