//! The state of the bus as operators see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::NodeId;

/// What this node tells of itself in a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// The open sessions.
    pub sessions: u64,
    /// The living conversations.
    pub conversations: u64,
}

/// Whether the bus is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Connected, checked, and all wanted channels are subscribed.
    Up,
    /// Not all of that.
    Down {
        /// The moment when it was lost, or when the bus was started.
        since: Instant,
        /// The last error, or the step that the bus is at.
        why: Arc<str>,
    },
}

/// One Redis.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Its URL without secrets.
    pub url: Arc<str>,
    /// Whether it is up.
    pub status: Status,
    /// Channels that conversations want.
    pub wanted: usize,
    /// Channels that are subscribed.
    pub subscribed: usize,
    /// Messages that wait to be published.
    pub waiting: usize,
    /// The time that the last heartbeat of this node was under way there and back. `None` while the server is down.
    pub lag: Option<Duration>,
}

/// Another node, as its last heartbeat tells of it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its id.
    pub node: NodeId,
    /// The name that operators gave it.
    pub name: Arc<str>,
    /// Its version of maxtalk.
    pub version: Arc<str>,
    /// The tag at the beginning of its sids.
    pub tag: Arc<str>,
    /// What it tells of itself.
    pub census: Census,
    /// The moment when it was last heard.
    pub heard: Instant,
    /// Whether it has not been heard for so long that its users do not count.
    pub is_silent: bool,
}
