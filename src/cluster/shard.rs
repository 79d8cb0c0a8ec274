//! One server with the conversations that belong to it, as all threads see it: conversations attach and publish from
//! their threads, messages come in on the thread of the bus.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::attached::{Attached, Confirmed};
use super::door::{Closed, Door, FromBus};
use super::message::{Channel, Content, Message, NodeId, NodeMessage, Presence};
use super::nodes::{NodeChange, Nodes};
use super::queue::{Claim, Item, Overflow, Queue};
use super::settings::Settings;
use super::status::{Census, Status};
use super::wire::{Everybody, Reading, Rejected, Wire};
use crate::event::{ConversationId, Talk};
use crate::logging;
use crate::metrics::{
    BusDirection, BusDirectionLabel, BusGap, BusGapLabel, BusKind, BusKindLabel, BusReasonLabel, Metrics, WireReason,
};

/// The updates for everybody that may wait.
const EVERYBODY_MAX: usize = 1024;

/// The bytes of a refused message that the log shows.
const SHOWN_BYTES: usize = 64;

/// Everything that the servers of one bus share.
pub struct Context {
    /// This node.
    pub node: NodeId,
    /// The settings.
    pub settings: Settings,
    /// The writer and reader of messages.
    pub wire: Wire,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Counts sessions and conversations.
    pub census: Box<dyn Fn() -> Census + Send + Sync>,
    /// The number of the last outage that was told, of any server or of others who tell sessions of outages.
    pub outages: Arc<AtomicU64>,
    /// The start of the bus.
    pub started: Instant,
    /// What the bus was told to do.
    pub orders: Mutex<Orders>,
}

/// What the bus was told to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    /// Tell the other nodes that this one ends, with this grace.
    pub bye: Option<Duration>,
    /// End when all is published, at the latest at this moment.
    pub stop: Option<Instant>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Something that came in and that the task of the server has to deal with.
#[derive(Debug)]
pub enum Incoming {
    /// The own heartbeat came back, which was sent at this time.
    OwnHeartbeat(u64),
    /// A channel of this node is not subscribed any more.
    OwnChannelLost,
    /// A channel of a conversation was taken away.
    ChannelLost,
    /// A conversation is subscribed again.
    Again(Again),
    /// Something about another node has changed.
    Node(NodeChange),
    /// An update for the members of all conversations.
    Everybody(Box<Everybody>),
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
    /// Its place in the list of servers.
    pub number: usize,
    /// Its URL without secrets.
    pub url: Arc<str>,
    /// What all servers share.
    pub context: Arc<Context>,
    /// Messages that wait to be published.
    pub queue: Mutex<Queue<oneshot::Sender<u64>>>,
    /// The channels that conversations want.
    pub attached: Mutex<Attached<Arc<dyn Door>>>,
    /// The other nodes.
    pub nodes: Mutex<Nodes>,
    /// Whether the server is up.
    pub status: Mutex<Status>,
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
    /// The moment of the last line about a refused message, and those since.
    refused: Mutex<(Option<Instant>, u64)>,
}

impl Shard {
    /// Creates a server that is not connected.
    pub fn new(number: usize, url: Arc<str>, context: Arc<Context>) -> Arc<Self> {
        let settings = &context.settings;
        let queue = Queue::new(settings.queue_messages_max, settings.queue_bytes_max);
        let nodes = Nodes::new(context.node, settings.name.clone(), settings.silent);
        let status = Status::Down { since: context.started, why: "not yet connected".into() };
        Arc::new(Self {
            number,
            url,
            queue: Mutex::new(queue),
            attached: Mutex::new(Attached::new()),
            nodes: Mutex::new(nodes),
            status: Mutex::new(status),
            lag: Mutex::default(),
            wake: Notify::new(),
            outage: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            incoming: Mutex::default(),
            refused: Mutex::default(),
            context,
        })
    }

    /// Wants the channel of a conversation.
    pub fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>) {
        let confirmed = self.attached.lock().attach(id, life, door.clone());
        // An outage that ends just now is told to this conversation as over in any case.
        let number = self.outage.load(Ordering::SeqCst);
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
            Err(Overflow) => self.count_dropped(BusDirection::Out),
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
                if self.incoming.lock().len() < EVERYBODY_MAX {
                    self.note(Incoming::Everybody(Box::new(everybody)));
                } else {
                    self.count_dropped(BusDirection::In);
                }
            }
            Reading::Node(NodeMessage::Heartbeat { node, sent_ms, .. }) if node == self.context.node => {
                self.note(Incoming::OwnHeartbeat(sent_ms));
            }
            Reading::Node(message) => {
                self.count_received(BusKind::Node);
                let changes = self.nodes.lock().told(message, now);
                changes.into_iter().for_each(|change| self.note(Incoming::Node(change)));
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
                    self.note(Incoming::ChannelLost);
                }
            }
            Some(_) => self.note(Incoming::OwnChannelLost),
            None => {}
        }
    }

    /// Tells a conversation about the bus, if it is attached.
    pub fn tell_id(&self, id: &ConversationId, news: FromBus) {
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
        self.offer(id, Message { stamp: None, content });
    }

    /// Leaves something for the task of the server.
    pub fn note(&self, incoming: Incoming) {
        self.incoming.lock().push_back(incoming);
        self.wake.notify_one();
    }

    /// Counts a gap in the news of a conversation.
    pub fn count_gap(&self, cause: BusGap) {
        self.context.metrics.bus_gaps.get_or_create(&BusGapLabel { cause }).inc();
    }

    fn deliver(&self, id: &ConversationId, message: Message, now: Instant) {
        if let Some(stamp) = &message.stamp {
            let changes = self.nodes.lock().sign_of_life(stamp.node, now);
            changes.into_iter().for_each(|change| self.note(Incoming::Node(change)));
        }
        self.count_received(match message.content {
            Content::Update { .. } => BusKind::Update,
            Content::Presence(_) => BusKind::Presence,
        });
        self.offer(id, message);
    }

    fn offer(&self, id: &ConversationId, message: Message) {
        let found = self.attached.lock().door(id);
        let Some((door, life)) = found else { return };
        let offered = door.offer(FromBus::Message(message));
        if offered == Err(Closed::Full) {
            self.count_dropped(BusDirection::In);
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
        let mut refused = self.refused.lock();
        if refused.0.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            refused.1 += 1;
            return;
        }
        let more = match std::mem::replace(&mut *refused, (Some(now), 0)).1 {
            0 => String::new(),
            more => format!(" ({more} more since the last such line)"),
        };
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

    fn count_dropped(&self, direction: BusDirection) {
        self.context.metrics.bus_dropped.get_or_create(&BusDirectionLabel { direction }).inc();
    }
}

/// Returns the place of a conversation among so many servers, by jump hash: with one server more, only the share of the
/// new one moves. All nodes have to agree, so it is a hash of fixed numbers.
pub fn place(id: &ConversationId, servers: usize) -> usize {
    // FNV-1a of 64 bits.
    let mut key = id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let (mut place, mut next) = (0, 0_u64);
    while next < servers as u64 {
        place = next as usize;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((next + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_spread_and_few_move() {
        let ids: Vec<_> =
            (0..10_000).map(|number| ConversationId::from(format!("519b{number:020}").as_str())).collect();
        assert!(ids.iter().all(|id| place(id, 1) == 0));
        let places = |servers| ids.iter().map(|id| place(id, servers)).collect::<Vec<_>>();
        let (four, five) = (places(4), places(5));
        for server in 0..4 {
            let share = four.iter().filter(|place| **place == server).count();
            assert!((2200..2800).contains(&share), "{server}: {share}");
        }
        let moved: Vec<_> = four.iter().zip(&five).filter(|(before, after)| before != after).collect();
        assert!((1700..2300).contains(&moved.len()), "{}", moved.len());
        assert!(moved.iter().all(|(_, after)| **after == 4));
        // Nodes of all versions agree.
        assert_eq!(places(7)[..12], [1, 1, 1, 0, 6, 2, 0, 3, 3, 0, 5, 1]);
    }
}
