//! Several nodes as one service: what they tell one another about conversations over Redis.
//!
//! * [`message`]: the messages of nodes, as values; [`wire`]: as bytes.
//! * [`door`]: a conversation as the bus sees it; [`port`]: the bus as conversations see it.
//! * [`peers`]: the record that a conversation keeps of itself on the other nodes.
//! * [`bus`]: the facade, which all threads share; [`settings`] and [`status`] of it.
//! * [`shard`]: one Redis, as all threads see it; [`redis`]: the task that serves it; [`address`]: its URL.
//! * [`slots`]: those of a Redis Cluster, and which shard follows which master.
//! * [`link`]: the state machine of the connections to it; [`downtime`]: the time in which it is away.
//! * [`attached`]: the channels that conversations want.
//! * [`queue`]: the messages that wait to be published; [`inflight`]: those that are not yet answered.
//! * [`nodes`]: the other nodes; [`tours`]: news for all conversations; [`trust`]: authorities for TLS.
//! * [`letters`]: what two nodes write to one another, when a session moves from one to the other.

pub mod address;
pub mod attached;
pub mod bus;
pub mod dial;
pub mod door;
pub mod downtime;
pub mod inflight;
pub mod letters;
pub mod link;
pub mod message;
pub mod nodes;
pub mod peers;
pub mod port;
pub mod queue;
pub mod redis;
pub mod settings;
pub mod shard;
pub mod slots;
pub mod status;
pub mod tours;
pub mod trust;
pub mod wire;
