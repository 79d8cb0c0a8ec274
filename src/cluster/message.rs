//! The messages that the nodes of a cluster send one another about a conversation, as values. `wire` writes and reads
//! them.

use std::fmt;
use std::sync::Arc;

use crate::event::{ConversationId, Talk, Username};

/// A node: one start of a process. It draws its id when it starts, so that two nodes never have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; Self::LEN]);

impl NodeId {
    /// The length of an id.
    pub const LEN: usize = 12;

    /// The characters of an id: base32, in lower case.
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

    /// Makes an id of 60 random bits.
    pub fn from_random(bits: u64) -> Self {
        Self(std::array::from_fn(|at| Self::ALPHABET[(bits >> (5 * at)) as usize % Self::ALPHABET.len()]))
    }

    /// Reads an id. `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')).then_some(Self(bytes))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        // All characters of the alphabet are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place of a message in the order of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The node that sent it.
    pub node: NodeId,
    /// The life of the conversation on that node. A later life has a higher number. An update of a conversation that
    /// does not live on that node has a life of its own.
    pub life: u64,
    /// The number of the message in that life, from 1. `None` for such an update, and for an [`Presence::Ask`], which
    /// changes nothing: they have no place in the order.
    pub sequence: Option<u64>,
}

/// A message about one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The place in the order of its node. `None` if it comes from a Node server or an emitter, which number nothing.
    pub stamp: Option<Stamp>,
    /// The content.
    pub content: Content,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is something new in the conversation.
    Update {
        /// The author.
        username: Username,
        /// The content of the update.
        talk: Talk,
        /// The rooms that do not hear it. A session of ours is named by the `sid` of its namespace.
        except: Vec<Box<str>>,
        /// Whether no session of the author hears it. Only nodes of maxtalk say so.
        except_self: bool,
    },
    /// Somebody comes or goes.
    Presence(Presence),
}

/// A message about the users of a conversation on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// All users on the node.
    State {
        /// The users.
        users: Users,
        /// Whether the other nodes shall answer with their own state.
        asks: bool,
    },
    /// The first session of a user on the node has entered.
    Come {
        /// The user.
        username: Username,
        /// Whether clients of Node servers hear `joined` too: the user was on no other node.
        public: bool,
    },
    /// The last session of a user on the node has left.
    Go {
        /// The user.
        username: Username,
        /// Whether clients of Node servers hear `left` too: the user is on no other node.
        public: bool,
    },
    /// The conversation does not live on the node any more.
    Gone,
    /// A node that owes its state is asked for it.
    Ask {
        /// The node that is asked.
        to: NodeId,
    },
}

/// The users of a conversation on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Their names.
    Names(Vec<Username>),
    /// Their number. Their names are not told: they are more than the presence limit, or too long for one message.
    Count(usize),
}

/// What a node tells about itself to all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeMessage {
    /// The node lives.
    Heartbeat {
        /// The node.
        node: NodeId,
        /// The name that operators gave it.
        name: Arc<str>,
        /// The version of maxtalk.
        version: Arc<str>,
        /// The tag at the beginning of its sids.
        tag: Arc<str>,
        /// Its sessions.
        sessions: u64,
        /// Its conversations.
        conversations: u64,
        /// Sent times, by the clock of the node that sends: a heartbeat that comes back shows how long it was under
        /// way. Others do not read it.
        sent_ms: u64,
    },
    /// The node ends. Its users stay visible for a while, because their clients come back elsewhere.
    Bye {
        /// The node.
        node: NodeId,
        /// How long its users stay visible.
        grace_ms: u64,
        /// Whether it has published all that it had to say. It says so at its very end.
        flushed: bool,
    },
    /// The node has lost messages about more conversations than it could note. It is sent after all messages that
    /// waited when the last one was lost: a state among them would seem to be the answer to the doubt.
    Holes {
        /// The node.
        node: NodeId,
    },
}

/// A channel on which a message came, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The channel of one conversation.
    Conversation(ConversationId),
    /// The channel of the whole namespace: messages to several rooms.
    Namespace,
    /// The channel of the nodes.
    Nodes,
    /// The channel of this node, for letters of others.
    Own,
    /// The channel of python-socketio.
    Python,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        for bits in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let id = NodeId::from_random(bits);
            assert_eq!(NodeId::parse(id.as_str()), Some(id));
        }
        for wrong in ["", "abcdefghijk", "abcdefghijklm", "ABCDEFGHIJKL", "abcdefghijk1", "abcdefghijk é"] {
            assert_eq!(NodeId::parse(wrong), None, "{wrong}");
        }
    }
}
