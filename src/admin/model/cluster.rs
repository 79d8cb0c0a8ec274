//! The cluster and the feed of MAX in the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cluster as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// The id of this node. Absent if this process is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The name of this node for people. Absent if this process is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether all servers of the bus are up.
    pub up: bool,
    /// The servers of the bus, in the order of `cluster.url`.
    pub servers: Vec<BusServer>,
    /// The other nodes.
    pub peers: Vec<PeerNode>,
    /// The RabbitMQ in which MAX announces. Absent without `feed.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedServer>,
}

/// The RabbitMQ in which MAX announces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeedServer {
    /// Its URL without secrets.
    pub url: String,
    /// Whether it is heard.
    pub up: bool,
    /// How long it has not been heard, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_ms: Option<u64>,
    /// Why it is not heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One Redis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BusServer {
    /// Its URL without secrets.
    pub url: String,
    /// Whether it is up: connected, checked, and all wanted channels are subscribed.
    pub up: bool,
    /// How long it has not been up, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_ms: Option<u64>,
    /// Why it is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Channels that conversations want.
    pub wanted: usize,
    /// Channels that are subscribed.
    pub subscribed: usize,
    /// Messages that wait to be published.
    pub waiting: usize,
    /// The time that the last heartbeat of this node was under way there and back, in milliseconds. Absent while the
    /// server is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<f64>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerNode {
    /// Its id, which it draws at each start.
    pub node: String,
    /// Its name for people.
    pub name: String,
    /// Its version of maxtalk.
    pub version: String,
    /// The beginning of its sids.
    pub tag: String,
    /// Its sessions.
    pub sessions: u64,
    /// Its conversations.
    pub conversations: u64,
    /// The time since it was last heard, in milliseconds.
    pub heard_ms: u64,
    /// Whether it has been silent for so long that its users have left.
    pub silent: bool,
}
