//! One server with the conversations that belong to it, as all threads see it: conversations attach and publish from
//! their threads, messages come in on the thread of the bus.

pub mod context;
mod letters;
mod news;
pub mod routes;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use self::context::Context;
use self::letters::Letters;
pub use self::news::News;
use self::routes::Own;
use super::address::Address;
use super::attached::{Attached, Confirmed};
use super::door::{Closed, Door, FromBus};
use super::message::{Channel, Content, Message, NodeMessage, Presence};
use super::nodes::Nodes;
use super::queue::{Claim, Item, Overflow, Queue};
use super::status::Status;
use super::wire::{Answer, Everybody, Reading, Rejected};
use crate::event::{ConversationId, Talk};
use crate::logging;
use crate::logging::limiter::Limiter;
use crate::metrics::{BusDirection, BusGap, BusGapLabel, BusKind, BusKindLabel, BusReasonLabel, WireReason};

/// The answers for Node servers that may wait.
pub const ANSWERS_MAX: usize = 1024;

/// The bytes of a refused message that the log shows.
const SHOWN_BYTES: usize = 64;

/// Something that came in and that the task of the server has to deal with.
#[derive(Debug)]
pub enum Incoming {
    /// The own heartbeat came back, which was sent at this time.
    OwnHeartbeat(u64),
    /// A channel of this node is not subscribed any more.
    OwnChannelLost,
    /// A channel of a conversation was taken away.
    ChannelLost,
    /// The server has another address.
    Moved,
    /// A conversation is subscribed again.
    Again(Again),
    /// An answer for a Node server.
    Answer(Answer),
}

/// A conversation that is subscribed again.
#[derive(Debug)]
pub struct Again {
    /// The conversation.
    pub id: ConversationId,
    /// Its life.
    pub life: u64,
    /// Whether the end of an outage is told to it too.
    pub covered: bool,
}

/// One server.
#[derive(Debug)]
pub struct Shard {
    /// Its number among the servers.
    pub number: usize,
    /// Its address. That of a Redis Cluster: the masters are not known yet.
    pub address: Mutex<Address>,
    /// Its channels that belong to no conversation.
    pub own: Mutex<Own>,
    /// What all servers share.
    pub context: Arc<Context>,
    /// Messages that wait to be published.
    pub queue: Mutex<Queue<oneshot::Sender<u64>>>,
    /// Letters to other nodes that wait to be published.
    pub letters: Mutex<Letters>,
    /// The channels that conversations want.
    pub attached: Mutex<Attached<Arc<dyn Door>>>,
    /// The other nodes. The shards of a Redis Cluster share them.
    pub nodes: Arc<Mutex<Nodes>>,
    /// News for the conversations of all servers. The shards of a Redis Cluster share it.
    pub news: Arc<Mutex<News>>,
    /// Whether the server is up.
    status: Mutex<Status>,
    /// The same, for those who ask often.
    is_up: AtomicBool,
    /// The time that the last heartbeat of this node was under way there and back.
    pub lag: Mutex<Option<Duration>>,
    /// Wakes the task of the server.
    pub wake: Notify,
    /// The number of the outage that conversations were told; 0 if none goes on.
    pub outage: AtomicU64,
    /// The number of the connection whose messages count.
    pub epoch: AtomicU64,
    /// What the task of the server has to deal with. It is emptied at each turn of that task.
    pub incoming: Mutex<VecDeque<Incoming>>,
    /// Whether its task publishes and subscribes nothing, because slots are about to move.
    pause: Mutex<Pause>,
    /// Whether its channel of the namespace was another server's.
    pub owes_over: AtomicBool,
    /// Whether all is published and answered.
    pub is_quiet: AtomicBool,
    /// Whether conversations have yet to be told of news of the bus.
    pub owes_news: AtomicBool,
    /// Whether its master has no slots any more.
    is_retired: AtomicBool,
    /// The lines about refused messages.
    refused: Mutex<Limiter>,
}

/// Whether a shard pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    No,
    Asked,
    /// Nothing is under way.
    Drained,
}

impl Shard {
    /// Creates a server that is not connected, with a watch of its own over the other nodes.
    pub fn new(number: usize, address: Address, context: Arc<Context>) -> Arc<Self> {
        let settings = &context.settings;
        let nodes = Arc::new(Mutex::new(Nodes::new(
            context.node,
            settings.name.clone(),
            settings.tag.clone(),
            settings.silent,
        )));
        let own = Own::all(&context.wire);
        Self::with(number, address, own, (nodes, Arc::default()), context)
    }

    /// Creates one more shard of this Redis Cluster, which is not connected and has no channels yet.
    pub fn beside(&self, number: usize, address: Address) -> Arc<Self> {
        let shared = (self.nodes.clone(), self.news.clone());
        Self::with(number, address, Own::default(), shared, self.context.clone())
    }

    fn with(
        number: usize,
        address: Address,
        own: Own,
        (nodes, news): (Arc<Mutex<Nodes>>, Arc<Mutex<News>>),
        context: Arc<Context>,
    ) -> Arc<Self> {
        let settings = &context.settings;
        let queue = Queue::new(settings.queue_messages_max, settings.queue_bytes_max);
        let status = Status::Down { since: context.started, why: "not yet connected".into() };
        Arc::new(Self {
            number,
            address: Mutex::new(address),
            own: Mutex::new(own),
            queue: Mutex::new(queue),
            letters: Mutex::default(),
            attached: Mutex::new(Attached::new()),
            nodes,
            news,
            status: Mutex::new(status),
            is_up: AtomicBool::new(false),
            lag: Mutex::default(),
            wake: Notify::new(),
            outage: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            incoming: Mutex::default(),
            pause: Mutex::new(Pause::No),
            owes_over: AtomicBool::new(false),
            is_quiet: AtomicBool::new(true),
            owes_news: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
            refused: Mutex::new(Limiter::new(1)),
            context,
        })
    }

    /// Returns the names of its channels that belong to no conversation.
    pub fn own_channels(&self) -> Vec<String> {
        self.own.lock().channels(&self.context.wire)
    }

    /// Its URL without secrets.
    pub fn url(&self) -> Arc<str> {
        self.address.lock().to_string().into()
    }

    /// Whether the server is up, or why it is not.
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// Notes whether the server is up. Returns what it was before.
    pub fn set_status(&self, status: Status) -> Status {
        self.is_up.store(status == Status::Up, Ordering::SeqCst);
        std::mem::replace(&mut *self.status.lock(), status)
    }

    /// Whether the server is up.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::SeqCst)
    }

    /// Follows a master to another address, if it is another one.
    pub fn follow(&self, address: Address) {
        let before = std::mem::replace(&mut *self.address.lock(), address.clone());
        if before != address {
            self.note(Incoming::Moved);
        }
    }

    /// Ends its task: other shards have its slots.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Whether other shards have its slots.
    pub fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::SeqCst)
    }

    /// Asks its task to publish and subscribe nothing more.
    pub fn pause(&self) {
        let mut pause = self.pause.lock();
        if *pause == Pause::No {
            *pause = Pause::Asked;
        }
        drop(pause);
        self.wake.notify_one();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        *self.pause.lock() = Pause::No;
        self.wake.notify_one();
    }

    /// Whether it pauses.
    pub fn is_paused(&self) -> bool {
        *self.pause.lock() != Pause::No
    }

    /// Whether it pauses and nothing is under way.
    pub fn is_drained(&self) -> bool {
        *self.pause.lock() == Pause::Drained
    }

    /// Notes that nothing is under way.
    pub fn drained(&self) {
        let mut pause = self.pause.lock();
        if *pause == Pause::Asked {
            *pause = Pause::Drained;
            self.context.survey.iter().for_each(|survey| survey.drained.notify_one());
        }
    }

    /// Wants the channel of a conversation, which is told of the outage whose number `outage` returns, unless it is 0.
    pub fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>, outage: impl FnOnce() -> u64) {
        let confirmed = self.attached.lock().attach(id, life, door.clone());
        // An outage that ends just now is told to this conversation as over in any case.
        let number = outage();
        if number != 0 {
            self.tell(id, life, &door, FromBus::Outage { number, ongoing: true });
        }
        match confirmed {
            Some(Confirmed { door, life, again, covered }) => {
                self.tell(id, life, &door, FromBus::Attached { again, covered });
            }
            None => self.wake.notify_one(),
        }
    }

    /// Gives the channel of a conversation up.
    pub fn detach(&self, id: &ConversationId, life: u64) {
        self.attached.lock().detach(id, life);
        self.wake.notify_one();
    }

    /// Queues a message.
    pub fn publish(
        &self,
        id: &ConversationId,
        message: &Message,
        answer: Option<oneshot::Sender<u64>>,
    ) -> Result<(), Overflow> {
        let claim = match (&message.content, message.stamp.and_then(|stamp| stamp.sequence)) {
            (Content::Presence(Presence::State { .. }), _) => Claim::State,
            (Content::Presence(Presence::Gone), _) => Claim::Gone,
            (_, Some(_)) => Claim::Numbered,
            (_, None) => Claim::Loose,
        };
        let body = self.context.wire.write(id, message);
        let pushed = self.queue.lock().push(claim, Item { id: id.clone(), body, answer, is_heard_here: false });
        match pushed {
            Ok(()) => self.wake.notify_one(),
            Err(Overflow) => self.context.count_dropped(BusDirection::Out),
        }
        pushed
    }

    /// Takes a message that came on a channel. It runs on the thread of the bus.
    pub fn receive(&self, channel: &[u8], bytes: &[u8], now: Instant) {
        match self.context.wire.read(channel, bytes) {
            Reading::Messages(messages) => {
                for (id, message) in messages {
                    self.deliver(&id, message, now);
                }
            }
            Reading::Everybody(everybody) => {
                self.count_received(BusKind::Update);
                self.note_everybody(everybody);
            }
            Reading::Node(NodeMessage::Heartbeat { node, sent_ms, .. }) if node == self.context.node => {
                self.note(Incoming::OwnHeartbeat(sent_ms));
            }
            Reading::Node(message) => {
                self.count_received(BusKind::Node);
                let changes = self.nodes.lock().told(message, now);
                self.note_nodes(changes);
            }
            Reading::Asked(answer) => {
                self.count_received(BusKind::Ignored);
                self.pass_on(answer);
            }
            Reading::Letter(letter) => {
                self.count_received(BusKind::Node);
                if let Some(letterbox) = self.context.letterbox.get().and_then(Weak::upgrade) {
                    letterbox.deliver(letter);
                }
            }
            Reading::Ignored(super::wire::Ignored::Own) => self.count_received(BusKind::Own),
            Reading::Ignored(_) => self.count_received(BusKind::Ignored),
            Reading::Rejected(why) => self.refuse(channel, bytes, why, now),
        }
    }

    /// Takes the confirmation that a channel is subscribed.
    pub fn subscribed(&self, channel: &[u8]) {
        let Some(Channel::Conversation(id)) = self.context.wire.channel(channel) else { return };
        let Some(Confirmed { door, life, again, covered }) = self.attached.lock().confirmed(&id) else { return };
        if again {
            self.note(Incoming::Again(Again { id, life, covered }));
        } else {
            self.tell(&id, life, &door, FromBus::Attached { again, covered });
        }
    }

    /// Takes the notice that a channel is not subscribed any more, whether it was asked for or not.
    pub fn unsubscribed(&self, channel: &[u8]) {
        match self.context.wire.channel(channel) {
            Some(Channel::Conversation(id)) => {
                let is_unasked = self.attached.lock().unsubscribed(&id);
                if is_unasked {
                    self.count_gap(BusGap::Slot);
                    self.slot_lost();
                }
            }
            Some(_) => self.note(Incoming::OwnChannelLost),
            None => {}
        }
    }

    /// Tells a conversation about the bus, if it is attached to this server, or to another one of its Redis Cluster.
    pub fn tell_id(&self, id: &ConversationId, news: FromBus) {
        self.at_home(id, |home| home.tell_here(id, news));
    }

    /// Tells a conversation about the bus, if it is attached to this server.
    pub fn tell_here(&self, id: &ConversationId, news: FromBus) {
        let found = self.attached.lock().door(id);
        if let Some((door, life)) = found {
            self.tell(id, life, &door, news);
        }
    }

    /// Tells a conversation that it is subscribed again, if it still has that life.
    pub fn tell_again(&self, Again { id, life, covered }: &Again) {
        let found = self.attached.lock().door(id);
        if let Some((door, _)) = found.filter(|(_, present)| present == life) {
            if *covered {
                // Others are counted by the conversation.
                self.count_gap(BusGap::Resubscribed);
            }
            self.tell(id, *life, &door, FromBus::Attached { again: true, covered: *covered });
        }
    }

    /// Gives a conversation an update for the members of all conversations.
    pub fn give_everybody(&self, id: &ConversationId, everybody: &Everybody) {
        let Everybody { username, conversation, timestamp, message_id, except } = everybody;
        let talk = Talk {
            conversation: conversation.clone().unwrap_or_else(|| id.clone()),
            timestamp: timestamp.clone(),
            message_id: message_id.clone(),
        };
        let (username, except) = (username.clone(), except.clone());
        let content = Content::Update { username, talk, except, except_self: false };
        self.at_home(id, |home| home.offer(id, Message { stamp: None, content }));
    }

    /// Leaves an answer for a Node server to the server of its channel.
    pub fn pass_on(&self, answer: Answer) {
        let routes = self.context.cluster();
        let owner = routes.and_then(|routes| routes.read().of_channel(&answer.channel).cloned());
        let owner = owner.as_deref().unwrap_or(self);
        if owner.incoming.lock().len() < ANSWERS_MAX {
            owner.note(Incoming::Answer(answer));
        } else {
            self.context.count_dropped(BusDirection::Out);
        }
    }

    /// Leaves something for the task of the server.
    pub fn note(&self, incoming: Incoming) {
        self.incoming.lock().push_back(incoming);
        self.wake.notify_one();
    }

    /// Notes that the slot of a channel has left this server.
    fn slot_lost(&self) {
        if let Some(survey) = &self.context.survey {
            self.pause();
            survey.moved(None);
        }
        self.note(Incoming::ChannelLost);
    }

    /// Counts a gap in the news of a conversation.
    pub fn count_gap(&self, cause: BusGap) {
        self.context.metrics.bus_gaps.get_or_create(&BusGapLabel { cause }).inc();
    }

    fn deliver(&self, id: &ConversationId, message: Message, now: Instant) {
        if let Some(stamp) = &message.stamp {
            let changes = self.nodes.lock().sign_of_life(stamp.node, now);
            self.note_nodes(changes);
        }
        self.count_received(match message.content {
            Content::Update { .. } => BusKind::Update,
            Content::Presence(_) => BusKind::Presence,
        });
        self.at_home(id, |home| home.offer(id, message));
    }

    /// Does something at the server of a conversation: this one, or another one of its Redis Cluster.
    fn at_home<T>(&self, id: &ConversationId, act: impl FnOnce(&Self) -> T) -> T {
        match self.context.cluster().map(|routes| routes.read().home(id).clone()) {
            Some(home) => act(&home),
            None => act(self),
        }
    }

    fn offer(&self, id: &ConversationId, message: Message) {
        let found = self.attached.lock().door(id);
        let Some((door, life)) = found else { return };
        let offered = door.offer(FromBus::Message(message));
        if offered == Err(Closed::Full) {
            self.context.count_dropped(BusDirection::In);
        }
        if offered == Err(Closed::Gone) {
            return self.detach(id, life);
        }
        let owes_loss = self.attached.lock().note_offer(id, life, offered.is_ok());
        if owes_loss {
            door.give(FromBus::Lost);
        }
    }

    fn tell(&self, id: &ConversationId, life: u64, door: &Arc<dyn Door>, news: FromBus) {
        match door.offer(news.clone()) {
            Ok(()) => {}
            // It has to know this. There is one such message in a while.
            Err(Closed::Full) => door.give(news),
            Err(Closed::Gone) => self.detach(id, life),
        }
    }

    fn refuse(&self, channel: &[u8], bytes: &[u8], why: Rejected, now: Instant) {
        self.context.metrics.bus_rejected.get_or_create(&BusReasonLabel { reason: WireReason(why.as_str()) }).inc();
        let Some(more) = self.refused.lock().admit(now) else { return };
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned();
        log::warn!(
            "refused a message on the channel {}: {why}: {}{more}",
            logging::escape(&text(channel)),
            logging::escape(&text(bytes)),
        );
    }

    fn count_received(&self, kind: BusKind) {
        self.context.metrics.bus_received.get_or_create(&BusKindLabel { kind }).inc();
    }
}
