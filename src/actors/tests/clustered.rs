//! Tests of conversations on two nodes. The bus between them is a table of doors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::actors::announcement::{Announcement, Done, Receipts, Relay, Source};
use crate::actors::conversation::clustered::{self, ClusterSettings};
use crate::cluster::door::{Door, FromBus};
use crate::cluster::message::{Content, Message, NodeId};
use crate::cluster::peers::{Rules, Update};
use crate::cluster::port::Port;
use crate::cluster::queue::Overflow;
use crate::event::ConversationId;
use crate::metrics::{BusGap, BusGapLabel};

/// The life of a conversation on a node, and its door.
type Attached = (u64, Arc<dyn Door>);

/// The bus: it carries each message at once to all doors, also to that of its sender.
#[derive(Debug, Default)]
struct Hub {
    doors: Mutex<HashMap<(usize, ConversationId), Attached>>,
    is_down: AtomicBool,
    /// Whether no message with a number fits.
    is_full: AtomicBool,
    /// The node that has said that it ends; 0 for none.
    leaving: AtomicUsize,
    /// Whether subscriptions are confirmed at once.
    confirms: AtomicBool,
    /// The losses that conversations have handled.
    losses: AtomicUsize,
}

/// The bus as one node sees it.
#[derive(Debug)]
struct HubPort {
    node: usize,
    hub: Arc<Hub>,
}

impl Port for HubPort {
    fn node(&self) -> NodeId {
        NodeId::from_random(self.node as u64)
    }

    fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>) {
        self.hub.doors.lock().insert((self.node, id.clone()), (life, door.clone()));
        if self.hub.confirms.load(Ordering::Relaxed) {
            door.offer(FromBus::Attached { again: false, covered: false }).unwrap();
        }
    }

    fn detach(&self, id: &ConversationId, life: u64) {
        self.hub.doors.lock().retain(|(node, other), (attached, _)| (*node, other, *attached) != (self.node, id, life));
    }

    fn publish(&self, id: &ConversationId, message: &Message) -> Result<(), Overflow> {
        self.publish_counted(id, message).map(drop)
    }

    fn publish_counted(&self, id: &ConversationId, message: &Message) -> Result<oneshot::Receiver<u64>, Overflow> {
        if self.hub.is_full.load(Ordering::Relaxed) && matches!(message.content, Content::Update { .. }) {
            return Err(Overflow);
        }
        let (answer, receiver) = oneshot::channel();
        if self.is_up(id) {
            let doors = self.hub.doors.lock();
            for (_, (_, door)) in doors.iter().filter(|((_, other), _)| other == id) {
                let _ = door.offer(FromBus::Message(message.clone()));
            }
            let _ = answer.send(doors.keys().filter(|(node, other)| other == id && *node != self.node).count() as u64);
        }
        Ok(receiver)
    }

    fn loss_is_handled(&self, id: &ConversationId, life: u64) {
        assert_eq!(self.hub.doors.lock()[&(self.node, id.clone())].0, life);
        self.hub.losses.fetch_add(1, Ordering::Relaxed);
    }

    fn is_up(&self, _: &ConversationId) -> bool {
        !self.hub.is_down.load(Ordering::Relaxed)
    }

    fn is_leaving(&self) -> bool {
        self.hub.leaving.load(Ordering::Relaxed) == self.node
    }
}

impl Hub {
    fn new() -> Arc<Self> {
        Arc::new(Self { confirms: AtomicBool::new(true), ..Self::default() })
    }

    /// Creates a node with its server.
    fn node(self: &Arc<Self>, node: usize, adjust: impl FnOnce(&mut ClusterSettings)) -> World {
        let mut cluster = ClusterSettings {
            port: Arc::new(HubPort { node, hub: self.clone() }),
            rules: Rules {
                node: NodeId::from_random(node as u64),
                heartbeat: Duration::from_secs(600),
                settle: Duration::ZERO,
            },
            attach_timeout: Duration::from_secs(600),
        };
        adjust(&mut cluster);
        World::new(|settings| settings.cluster = Some(cluster))
    }

    /// Gives news to the conversation of a node.
    fn give(&self, node: usize, news: FromBus) {
        let door = self.doors.lock()[&(node, "c".into())].1.clone();
        door.give(news);
    }
}

/// Spawns the conversation `c` of a node and attaches it.
fn attached(world: &World) -> Mailbox<ConversationActor> {
    let door = world.conversation("c");
    clustered::attach(&world.settings, &"c".into(), 1, door.downgrade());
    door
}

/// Waits until conversations have handled everything that was sent before, also what they sent one another.
async fn quiet(doors: [&Mailbox<ConversationActor>; 2]) {
    for _ in 0..4 {
        for door in doors {
            let (reply, members) = oneshot::channel();
            door.send_always(ConversationMessage::Members { count: 0, reply });
            members.await.unwrap();
        }
    }
}

/// Gives the news of a back end to a conversation, and returns what has become of it.
async fn announce(door: &Mailbox<ConversationActor>, update: Update, relay_required: bool) -> Done {
    let (receipts, mut each, all) = Receipts::new(1);
    let Update { username, talk, except, except_self } = update;
    let source = Source::BackEnd { relay_required, receipt: each.remove(0) };
    let announcement = Announcement { username, talk, except, except_self, source };
    door.try_send(ConversationMessage::Announce(Box::new(announcement))).unwrap();
    assert!(all.await.is_err());
    receipts.take(0).unwrap()
}

#[actix_rt::test]
async fn users_and_updates_of_all_nodes_are_those_of_one_conversation() {
    let hub = Hub::new();
    let (here, there) = (hub.node(1, |_| {}), hub.node(2, |_| {}));
    let (door, other) = (attached(&here), attached(&there));
    let messi = Member::enter(&here, &door, 1, "messi").await;
    let xavi = Member::enter(&there, &other, 1, "xavi").await;
    let phone = Member::enter(&there, &other, 2, "messi").await;
    quiet([&door, &other]).await;
    xavi.talk("1");
    quiet([&door, &other]).await;
    drop(phone);
    drop(messi);
    quiet([&door, &other]).await;
    assert_eq!(settled(&other).await.people, Some(vec![xavi.username.clone()]));
    let left = r#"42/max,["left",{"conversation":"c","username":"messi"}]"#;
    assert_eq!(xavi.heard(), [left], "messi was here, and has left with the last of two sessions");
    drop(xavi);
    quiet([&door, &other]).await;
    assert_eq!(settled(&door).await.inroom, 0);
}

#[actix_rt::test]
async fn a_member_hears_who_comes_and_talks_on_another_node() {
    let hub = Hub::new();
    let (here, there) = (hub.node(1, |_| {}), hub.node(2, |_| {}));
    let (door, other) = (attached(&here), attached(&there));
    let messi = Member::enter(&here, &door, 1, "messi").await;
    let xavi = Member::enter(&there, &other, 1, "xavi").await;
    xavi.talk("1");
    quiet([&door, &other]).await;
    let joined = r#"42/max,["joined",{"conversation":"c","username":"xavi"}]"#;
    let update = r#"42/max,["update",{"username":"xavi","conversation":"c","messageID":"1"}]"#;
    assert_eq!(messi.heard(), [joined, update]);
    let (people, there) = (settled(&door).await, settled(&other).await);
    assert_eq!((people.inroom, &people.people, people.partial), (2, &there.people, false));
}

/// A join is told that it listens when the conversation is subscribed, and not before.
#[actix_rt::test]
async fn an_entry_waits_for_the_subscription() {
    let hub = Hub::new();
    hub.confirms.store(false, Ordering::Relaxed);
    let here = hub.node(1, |_| {});
    let door = attached(&here);
    let (done, mut entered) = oneshot::channel();
    let pending_entry = PendingEntries::new(1, done).one();
    let (session, username) = (SessionId(1), Username::parse("messi").unwrap());
    let enter = Enter { session, username, outbox: here.outbox(), pending_entry };
    door.try_send(ConversationMessage::Enter(enter)).unwrap();
    quiet([&door, &door]).await;
    assert_eq!(entered.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    hub.give(1, FromBus::Attached { again: false, covered: false });
    entered.await.unwrap();
}

/// Without a bus a join does not wait. Its session is told when the bus is there that it may have missed something.
#[actix_rt::test]
async fn a_session_that_did_not_wait_for_the_subscription_is_told_so() {
    let missed = r#"42/max,["missed",{"conversations":["c"],"ongoing":false}]"#;
    for is_down in [true, false] {
        let hub = Hub::new();
        hub.confirms.store(false, Ordering::Relaxed);
        hub.is_down.store(is_down, Ordering::Relaxed);
        let here = hub.node(1, |cluster| cluster.attach_timeout = Duration::ZERO);
        let door = attached(&here);
        let messi = Member::enter(&here, &door, 1, "messi").await;
        hub.give(1, FromBus::Attached { again: false, covered: false });
        quiet([&door, &door]).await;
        assert_eq!(messi.heard(), [missed], "{is_down}");
    }
}

/// The bus gives a loss again only if it knows that the last one was handled.
#[actix_rt::test]
async fn a_loss_is_told_and_the_bus_learns_that_it_was_handled() {
    let hub = Hub::new();
    let here = hub.node(1, |_| {});
    let door = attached(&here);
    let messi = Member::enter(&here, &door, 1, "messi").await;
    for times in 1..=2 {
        hub.give(1, FromBus::Lost);
        quiet([&door, &door]).await;
        assert_eq!(messi.heard(), [r#"42/max,["missed",{"conversations":["c"],"ongoing":false}]"#]);
        assert_eq!(hub.losses.load(Ordering::Relaxed), times);
    }
}

#[actix_rt::test]
async fn an_outage_is_told_to_all_that_are_there_and_to_all_that_come() {
    let hub = Hub::new();
    let here = hub.node(1, |_| {});
    let door = attached(&here);
    let messi = Member::enter(&here, &door, 1, "messi").await;
    for _ in 0..2 {
        hub.give(1, FromBus::Outage { number: 1, ongoing: true });
    }
    let phone = Member::enter(&here, &door, 2, "messi").await;
    hub.give(1, FromBus::Outage { number: 1, ongoing: false });
    let late = Member::enter(&here, &door, 3, "messi").await;
    quiet([&door, &door]).await;
    let told = [true, false].map(|ongoing| format!(r#"42/max,["missed",{{"ongoing":{ongoing}}}]"#));
    assert_eq!([messi.heard(), phone.heard(), late.heard()], [told.to_vec(), told.to_vec(), vec![]]);
}

/// The news of a back end may name the socket that has caused it, and may come twice.
#[actix_rt::test]
async fn an_update_of_another_server_leaves_out_a_socket_and_is_told_once() {
    let hub = Hub::new();
    let here = hub.node(1, |_| {});
    let door = attached(&here);
    let messi = Member::enter(&here, &door, 1, "messi").await;
    let phone = Member::enter(&here, &door, 2, "messi").await;
    messi.outbox.set_socket_id("a-socket");
    let message_id = crate::event::Scalar::Text("7".into());
    let talk = Talk { conversation: "c".into(), timestamp: None, message_id: Some(message_id) };
    let username = Username::parse("xavi").unwrap();
    let except = vec!["other".into(), "a-socket".into()];
    let content = Content::Update { username: username.clone(), talk: talk.clone(), except, except_self: false };
    for _ in 0..2 {
        hub.give(1, FromBus::Message(Message { stamp: None, content: content.clone() }));
    }
    let done = announce(&door, Update { username, talk, except: Vec::new(), except_self: false }, false).await;
    assert!(matches!(done, Done { sessions: 0, relay: Relay::ToldAlready }), "{done:?}");
    assert_eq!((messi.heard().len(), phone.heard().len()), (0, 1));
}

/// No session of the author hears an announcement that leaves the author out, whatever node it is on.
#[actix_rt::test]
async fn an_announcement_leaves_out_its_author_on_all_nodes() {
    let hub = Hub::new();
    let (here, there) = (hub.node(1, |_| {}), hub.node(2, |_| {}));
    let (door, other) = (attached(&here), attached(&there));
    let _messi = Member::enter(&here, &door, 1, "messi").await;
    let phone = Member::enter(&there, &other, 1, "messi").await;
    let xavi = Member::enter(&there, &other, 2, "xavi").await;
    let iker = Member::enter(&there, &other, 3, "iker").await;
    iker.outbox.set_socket_id("a-socket");
    quiet([&door, &other]).await;
    // Who has come.
    [&phone, &xavi, &iker].into_iter().for_each(|member| drop(member.heard()));
    let talk = |id: &str| Talk {
        conversation: "c".into(),
        timestamp: None,
        message_id: Some(crate::event::Scalar::Text(id.into())),
    };
    let username = Username::parse("messi").unwrap();
    for (id, except_self) in [("1", true), ("2", false)] {
        let (username, except) = (username.clone(), Vec::new());
        announce(&door, Update { username, talk: talk(id), except, except_self }, false).await;
        quiet([&door, &other]).await;
    }
    // Both kinds of exception together.
    let except = vec!["a-socket".into()];
    let content = Content::Update { username, talk: talk("3"), except, except_self: true };
    hub.give(2, FromBus::Message(Message { stamp: None, content }));
    quiet([&door, &other]).await;
    assert_eq!([&phone, &xavi, &iker].map(|member| member.heard().len()), [1, 3, 2]);
}

/// A socket that an announcement names is left out on all nodes.
#[actix_rt::test]
async fn an_announcement_leaves_out_the_sockets_that_it_names_on_all_nodes() {
    let hub = Hub::new();
    let (here, there) = (hub.node(1, |_| {}), hub.node(2, |_| {}));
    let (door, other) = (attached(&here), attached(&there));
    let messi = Member::enter(&here, &door, 1, "messi").await;
    let phone = Member::enter(&here, &door, 2, "messi").await;
    let iker = Member::enter(&there, &other, 1, "iker").await;
    let laptop = Member::enter(&there, &other, 2, "iker").await;
    let members = [&messi, &phone, &iker, &laptop];
    for (member, socket) in members.iter().zip(["a", "b", "c", "d"]) {
        member.outbox.set_socket_id(socket);
    }
    quiet([&door, &other]).await;
    members.iter().for_each(|member| drop(member.heard()));
    let talk = Talk { conversation: "c".into(), timestamp: None, message_id: None };
    let username = Username::parse("xavi").unwrap();
    let except = vec!["b".into(), "/max#c".into()];
    let done = announce(&door, Update { username, talk, except, except_self: false }, false).await;
    quiet([&door, &other]).await;
    assert_eq!(members.map(|member| member.heard().len()), [1, 0, 0, 1]);
    let Done { sessions: 1, relay: Relay::Queued(heard) } = done else { panic!("{done:?}") };
    assert_eq!(heard.await, Ok(1));
}

/// If the queue of the bus is full, the members here are told, unless it is required that all nodes are. An
/// announcement of which nobody was told may come again.
#[actix_rt::test]
async fn an_announcement_that_cannot_be_relayed_is_told_to_nobody_if_that_is_required() {
    let hub = Hub::new();
    let here = hub.node(1, |_| {});
    let door = attached(&here);
    let messi = Member::enter(&here, &door, 1, "messi").await;
    let update = |id: &str| Update {
        username: Username::parse("xavi").unwrap(),
        talk: Talk {
            conversation: "c".into(),
            timestamp: None,
            message_id: Some(crate::event::Scalar::Text(id.into())),
        },
        except: Vec::new(),
        except_self: false,
    };
    hub.is_full.store(true, Ordering::Relaxed);
    let done = announce(&door, update("1"), true).await;
    assert!(matches!(done, Done { sessions: 0, relay: Relay::Full }), "{done:?}");
    let done = announce(&door, update("2"), false).await;
    assert!(matches!(done, Done { sessions: 1, relay: Relay::Full }), "{done:?}");
    hub.is_full.store(false, Ordering::Relaxed);
    for (id, sessions) in [("1", 1), ("2", 0)] {
        assert_eq!(announce(&door, update(id), true).await.sessions, sessions, "{id}");
    }
    assert_eq!(messi.heard().len(), 2);
}

/// A session hears of an outage once: not also of the channels of its conversations that are subscribed again.
#[actix_rt::test]
async fn a_subscription_that_an_outage_covers_is_told_by_the_outage() {
    let hub = Hub::new();
    let here = hub.node(1, |_| {});
    let door = attached(&here);
    let messi = Member::enter(&here, &door, 1, "messi").await;
    hub.give(1, FromBus::Attached { again: true, covered: true });
    hub.give(1, FromBus::Outage { number: 1, ongoing: false });
    hub.give(1, FromBus::Attached { again: true, covered: false });
    quiet([&door, &door]).await;
    let over = r#"42/max,["missed",{"ongoing":false}]"#;
    let alone = r#"42/max,["missed",{"conversations":["c"],"ongoing":false}]"#;
    assert_eq!(messi.heard(), [over, alone]);
    let gaps = |cause| here.settings.metrics.bus_gaps.get_or_create(&BusGapLabel { cause }).get();
    assert_eq!([BusGap::Resubscribed, BusGap::Hole].map(gaps), [1, 0]);
}

/// Many events at once reach each member in their order, also where each of them takes several slices.
#[actix_rt::test]
async fn events_of_one_message_do_not_overtake_one_another() {
    let hub = Hub::new();
    let (here, there) = (hub.node(1, |_| {}), hub.node(2, |_| {}));
    let other = attached(&there);
    let _xavi = Member::enter(&there, &other, 1, "xavi").await;
    let _iker = Member::enter(&there, &other, 2, "iker").await;
    hub.is_down.store(true, Ordering::Relaxed);
    let door = attached(&here);
    let mut members = Vec::new();
    for at in 0..2 * FANOUT_SLICE as u64 + 2 {
        members.push(Member::enter(&here, &door, at, "messi").await);
    }
    settled(&door).await;
    hub.is_down.store(false, Ordering::Relaxed);
    hub.give(2, FromBus::Attached { again: true, covered: false });
    quiet([&door, &other]).await;
    let heard = members[0].heard();
    assert_eq!(heard.iter().filter(|text| text.contains("joined")).count(), 2, "{heard:?}");
    for (at, member) in members.iter().enumerate().skip(1) {
        assert_eq!(member.heard(), heard, "{at}");
    }
}

/// A node that has said that it ends: the others keep its users, and hear of them from the node that they come back to.
#[actix_rt::test]
async fn nobody_leaves_with_a_node_that_says_goodbye() {
    let hub = Hub::new();
    let (here, there) = (hub.node(1, |_| {}), hub.node(2, |_| {}));
    let (door, other) = (attached(&here), attached(&there));
    let messi = Member::enter(&here, &door, 1, "messi").await;
    let xavi = Member::enter(&there, &other, 1, "xavi").await;
    let watcher = Member::enter(&there, &other, 2, "messi").await;
    quiet([&door, &other]).await;
    messi.heard();
    hub.leaving.store(2, Ordering::Relaxed);
    drop(xavi);
    quiet([&door, &other]).await;
    let again = Member::enter(&here, &door, 2, "xavi").await;
    quiet([&door, &other]).await;
    assert_eq!([messi.heard(), watcher.heard(), again.heard()], [[""; 0]; 3]);
    assert_eq!(settled(&door).await.inroom, 2);
}
