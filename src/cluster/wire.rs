//! The bytes of the bus: what nodes tell one another over Redis, written and read. Pure.
//!
//! # What we write
//!
//! Classic dialect, MessagePack. What Node servers pass on to their clients:
//! `[uid, {type: 2, data: [name, {…}], nsp}, {rooms: [id], except: […], flags: {}, maxtalk: {…}}]`, and what only nodes
//! of maxtalk read: `[uid, {nsp: "!"}, {maxtalk: {…}}]`. Node servers ignore the latter: it is of another namespace.
//!
//! Sharded dialect, JSON: `{type: 3, data: {packet: {type: 2, data: [name, {…}]}, opts: {rooms, except, flags}}, uid,
//! nsp, maxtalk: {…}}`, and `{uid, nsp: "!", maxtalk: {…}}`. The latter has no type, because a server that does not
//! look at the namespace still ignores types that it does not know.
//!
//! `uid` is `mt:` and the id of the node. The map `maxtalk` has these members:
//!
//! | member | what it is |
//! | --- | --- |
//! | `n` | the node; a node ignores its own messages, and knows them by this |
//! | `l`, `s` | life and number; the update of a conversation that lives elsewhere has its own life, no number |
//! | `k` | `state`, `+`, `-`, `gone` or `ask`; absent in an update |
//! | `u` | the names of a `state`; the name of an internal `+` or `-` (a public one has it in its event) |
//! | `c` | the number of users of a `state`, instead of `u` |
//! | `ask` | whether a `state` asks for states |
//! | `x` | `true` in an update that no session of its author hears |
//! | `to` | the node that `ask` asks |
//! | `t`, `m` | the number of `timestamp` or `messageID`, digit for digit, if it is no integer of 64 bits |
//! | `id` | the conversation, if an internal message is on the channel of the namespace |
//!
//! Messages about nodes and letters between two nodes are JSON in both dialects, so that an operator can read them with
//! `redis-cli`.
//!
//! # What we read
//!
//! The same, and the emits of Node servers, of emitters, and of python-socketio. [`Reading`] lists the outcomes. Node
//! servers decide by the rooms of an emit and not by its channel, and so does [`Wire::read`]. Nothing that comes in
//! makes it panic; it reads at most [`Settings::message_bytes_max`] bytes and [`tape::DEPTH_MAX`] levels.

mod channels;
mod classic;
mod incoming;
mod json;
mod letters;
mod mark;
mod msgpack;
mod nodes;
mod outgoing;
mod python;
mod reading;
mod scalar;
mod sharded;
mod tape;

use std::sync::Arc;

use self::channels::{Channels, Place};
use self::incoming::Reader;
use self::outgoing::Outgoing;
use self::reading::Refusal;
pub use self::reading::{Answer, Everybody, Ignored, Reading, Rejected};
use super::letters::Letter;
use super::message::{Channel, Content, Message, NodeId, NodeMessage, Presence, Users};
use crate::event::ConversationId;

pub use crate::config::Dialect;

/// The settings of a [`Wire`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The beginning of all channels: the `key` of Node's adapters.
    pub prefix: Arc<str>,
    /// The namespace, with its slash.
    pub namespace: Arc<str>,
    /// The dialect.
    pub dialect: Dialect,
    /// This node.
    pub node: NodeId,
    /// The events of others that are read as updates.
    pub events: Vec<Arc<str>>,
    /// Whether an emit to all of the namespace is read.
    pub namespace_wide: bool,
    /// The channel of python-socketio, if it is read.
    pub python_channel: Option<Arc<str>>,
    /// The longest message. At least [`message_bytes_min`](crate::config::message_bytes_min).
    pub message_bytes_max: usize,
    /// The longest id of a conversation, and the longest `timestamp` and `messageID`.
    pub id_bytes_max: usize,
    /// The most conversations of one session, of which a letter lists all.
    pub conversations_max: usize,
}

/// Writes and reads messages and the names of channels.
#[derive(Debug)]
pub struct Wire {
    settings: Settings,
    uid: String,
    channels: Channels,
}

impl Wire {
    /// The name of the event that nodes of maxtalk send about a talk.
    const UPDATE: &str = "update";

    /// The namespace of the messages that only nodes of maxtalk read. No namespace of Node begins without a slash.
    const INTERNAL: &str = "!";

    /// Makes a wire.
    pub fn new(settings: Settings) -> Self {
        let channels = Channels::new(&settings);
        Self { uid: format!("mt:{}", settings.node), channels, settings }
    }

    /// Returns the name of the channel of one conversation. It differs from that of any other.
    pub fn room(&self, id: &ConversationId) -> String {
        self.channels.room(id.as_str())
    }

    /// Returns the name of the channel on which messages about a conversation are published. It is that of the
    /// namespace if Node servers would publish there: those of the sharded adapter take a name of 20 characters for the
    /// id of a socket.
    pub fn publishes_to(&self, id: &ConversationId) -> String {
        if self.is_in_namespace(id) { self.channels.namespace().into() } else { self.room(id) }
    }

    /// Returns the name of the channel of the nodes.
    pub fn nodes(&self) -> &str {
        self.channels.nodes()
    }

    /// Whether the channels are sharded ones.
    pub fn is_sharded(&self) -> bool {
        self.settings.dialect == Dialect::Sharded
    }

    /// Returns the name of the channel of the namespace.
    pub fn namespace(&self) -> &str {
        self.channels.namespace()
    }

    /// Returns the name of a channel beside that of the nodes, whose number decides about its slot in a Redis Cluster.
    pub fn nodes_beside(&self, number: usize) -> String {
        self.channels.nodes_beside(number)
    }

    /// Returns the name of the channel of one node, to which the others write letters.
    pub fn letters_to(&self, node: NodeId) -> String {
        self.channels.letters_to(node.as_str())
    }

    /// Returns the names of the channels that a node always subscribes to: that of the namespace, that of the nodes,
    /// its own, and that of python-socketio if it is read.
    pub fn always(&self) -> Vec<&str> {
        self.channels.always().collect()
    }

    /// Reads the name of a channel. `None` if it is none of ours.
    pub fn channel(&self, name: &[u8]) -> Option<Channel> {
        Some(match self.channels.place(name)? {
            Place::Conversation(id) => Channel::Conversation(id.into()),
            Place::Namespace => Channel::Namespace,
            Place::Nodes => Channel::Nodes,
            Place::Own => Channel::Own,
            Place::Python => Channel::Python,
        })
    }

    /// Writes a message of this node about a conversation. The names of a state that would be too long are left out:
    /// only their number is written.
    pub fn write(&self, id: &ConversationId, message: &Message) -> Vec<u8> {
        let bytes = self.encode(id, message);
        let Content::Presence(Presence::State { users: Users::Names(names), asks }) = &message.content else {
            return bytes;
        };
        if bytes.len() <= self.settings.message_bytes_max {
            return bytes;
        }
        let state = Presence::State { users: Users::Count(names.len()), asks: *asks };
        self.encode(id, &Message { stamp: message.stamp, content: Content::Presence(state) })
    }

    /// Writes a message about a node, for the channel of the nodes.
    pub fn write_node(&self, message: &NodeMessage) -> Vec<u8> {
        nodes::write(message)
    }

    /// Writes a letter, for the channel of one node. `None` if it would be longer than the longest message.
    pub fn write_letter(&self, letter: &Letter) -> Option<Vec<u8>> {
        Some(letters::write(letter)).filter(|bytes| bytes.len() <= self.settings.message_bytes_max)
    }

    /// Reads a message that came on the channel of this name.
    pub fn read(&self, channel: &[u8], bytes: &[u8]) -> Reading {
        self.decode(channel, bytes).unwrap_or_else(Reading::from)
    }

    /// Whether messages about a conversation are published on the channel of the namespace.
    pub fn is_in_namespace(&self, id: &ConversationId) -> bool {
        self.settings.dialect == Dialect::Sharded && sharded::looks_like_a_socket(id.as_str())
    }

    fn encode(&self, id: &ConversationId, message: &Message) -> Vec<u8> {
        let mut outgoing = Outgoing::new(self.settings.node.as_str(), id, message);
        if self.is_in_namespace(id) && outgoing.news.is_none() {
            outgoing.mark.id = Some(id.as_str());
        }
        match self.settings.dialect {
            Dialect::Classic => classic::write(&self.uid, &self.settings.namespace, outgoing),
            Dialect::Sharded => sharded::write(&self.uid, &self.settings.namespace, &outgoing),
        }
    }

    fn decode(&self, channel: &[u8], bytes: &[u8]) -> Result<Reading, Refusal> {
        if bytes.len() > self.settings.message_bytes_max {
            return Err(Rejected::TooLarge.into());
        }
        let place = self.channels.place(channel).ok_or(Rejected::Channel)?;
        let reader = Reader { settings: &self.settings, place };
        match (place, self.settings.dialect) {
            (Place::Nodes, _) => Ok(Reading::Node(nodes::read(bytes)?)),
            (Place::Own, _) => Ok(Reading::Letter(letters::read(bytes, &self.settings)?)),
            (Place::Python, _) => python::read(&reader, bytes),
            (Place::Conversation(_) | Place::Namespace, Dialect::Classic) => classic::read(&reader, bytes),
            (Place::Conversation(_) | Place::Namespace, Dialect::Sharded) => sharded::read(&reader, bytes),
        }
    }
}
