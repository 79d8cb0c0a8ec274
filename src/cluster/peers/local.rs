//! A conversation on this node, as the state machine of its peers sees it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cluster::message::NodeId;
use crate::event::Username;

/// The users of a conversation on this node.
pub trait Here {
    /// Returns the user as it is stored here, so that its name is shared. `None` if the user has no session here.
    fn find(&self, username: &Username) -> Option<&Username>;

    /// Returns the users, in any order.
    fn users(&self) -> impl Iterator<Item = &Username>;

    /// Returns the number of users.
    fn count(&self) -> usize;
}

impl<V> Here for BTreeMap<Username, V> {
    fn find(&self, username: &Username) -> Option<&Username> {
        self.get_key_value(username).map(|(stored, _)| stored)
    }

    fn users(&self) -> impl Iterator<Item = &Username> {
        self.keys()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// The settings that all conversations of a node share.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// This node.
    pub node: NodeId,
    /// The time between two heartbeats of a node. A peer that owes its state is asked every second heartbeat.
    pub heartbeat: Duration,
    /// How long after the subscription asks for `people` wait for the answers of peers.
    pub settle: Duration,
}

/// The circumstances of a call: the conversation on this node at one moment.
#[derive(Debug)]
pub struct Local<'a, H> {
    /// The users on this node. A change of theirs is already in it.
    pub here: &'a H,
    /// The settings.
    pub rules: &'a Rules,
    /// The presence limit: no names are sent and no presence is told among more users; 0 means no limit.
    pub presence_members_max: usize,
    /// Whether the bus is up.
    pub bus_up: bool,
    /// The time.
    pub now: Instant,
}

impl<H: Here> Local<'_, H> {
    /// Returns whether the users are too many for presence.
    pub(super) fn exceeds(&self, users: usize) -> bool {
        self.presence_members_max != 0 && users > self.presence_members_max
    }
}
