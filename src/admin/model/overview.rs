//! The overview of a running server at one moment, and its last fifteen minutes, for the dashboard and `maxtalk top`.
//! Rates are per second. They, and the quantiles, are those of the last second. A figure that was not measured in
//! this time is absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cluster::Cluster;
use super::{ClosedSession, Conversation, Session, Status};

/// A frame of `/api/v1/live`. The first one has the history, each later one an overview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// The last fifteen minutes.
    History(History),
    /// The server at one moment.
    Overview(Box<Overview>),
}

/// The server at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// The moment, in milliseconds since 1970.
    pub at_ms: u64,
    /// The server.
    pub status: Status,
    /// Its drain, if it drains.
    pub drain: Option<Drain>,
    /// What happens in it.
    pub rates: Rates,
    /// Its threads.
    pub workers: Vec<Worker>,
    /// Its mailboxes, one entry for each class of actor.
    pub mailboxes: Vec<Mailbox>,
    /// Sessions with a backlog, the one with the most bytes first; at most 20.
    pub sessions: Vec<Session>,
    /// Conversations, the one with the most deliveries first; at most 20.
    pub conversations: Vec<Conversation>,
    /// The sessions that were closed last, the last one first; at most 50.
    pub closed: Vec<ClosedSession>,
    /// The calls to MAX.
    pub max: Max,
    /// The cluster as this node sees it. Absent if this process is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// What an operator should look at.
    pub warnings: Vec<Warning>,
}

/// The mailboxes of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Mailboxes {
    /// One entry for each class of actor.
    pub mailboxes: Vec<Mailbox>,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// Sessions that were open when it began.
    pub sessions: usize,
    /// Sessions that are open now.
    pub left: usize,
    /// Milliseconds until the last of them is closed.
    pub due_in_ms: u64,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Talks that were accepted.
    pub talks: f64,
    /// Events that were given to the outboxes of members.
    pub deliveries: f64,
    /// Events of clients that were refused.
    pub refused: f64,
    /// News that was folded because a client read too slowly.
    pub folded: f64,
    /// News that was left out because a client read too slowly.
    pub dropped: f64,
    /// Sessions that were closed because their client read too slowly.
    pub closed_as_slow: f64,
    /// The median time from a talk to its delivery, in milliseconds.
    pub delivery_p50_ms: Option<f64>,
    /// The 99th percentile of the time from a talk to its delivery, in milliseconds.
    pub delivery_p99_ms: Option<f64>,
}

/// A thread that runs actors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its number, or `registry`.
    pub worker: String,
    /// The share of its time that it is busy, from 0 to 1.
    pub busy: f64,
    /// How late it wakes, in milliseconds.
    pub lag_p99_ms: Option<f64>,
}

/// The mailboxes of one class of actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Mailbox {
    /// The class: `session`, `conversation`, `registry`, or `max`, the gate in front of MAX.
    pub actor: String,
    /// The bound of each mailbox.
    pub capacity: usize,
    /// The setting of the bound.
    pub setting: String,
    /// The source of its value.
    pub source: String,
    /// Messages in all mailboxes of the class now.
    pub messages: u64,
    /// Messages in the deepest single mailbox of the last minute.
    pub peak: usize,
    /// The median of the messages that were in a mailbox when one more had come.
    pub depth_p50: Option<f64>,
    /// The 99th percentile of the messages that were in a mailbox when one more had come.
    pub depth_p99: Option<f64>,
    /// Messages that were offered.
    pub offered_per_second: f64,
    /// Messages that were refused because the mailbox was full.
    pub refused_full_per_second: f64,
    /// Messages that were refused because the actor was gone.
    pub refused_closed_per_second: f64,
    /// Messages that were given up because they had waited too long. Only `max` does so.
    pub given_up_late_per_second: f64,
    /// The median of the waiting times, in milliseconds.
    pub wait_p50_ms: Option<f64>,
    /// The 99th percentile of the waiting times, in milliseconds.
    pub wait_p99_ms: Option<f64>,
    /// The median of the handling times, in milliseconds.
    pub handle_p50_ms: Option<f64>,
    /// The 99th percentile of the handling times, in milliseconds.
    pub handle_p99_ms: Option<f64>,
    /// The kinds of message.
    pub kinds: Vec<Kind>,
    /// The actors of the class. Absent for `max`.
    pub actors: Option<Actors>,
}

/// The messages of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Kind {
    /// The kind.
    pub message: String,
    /// Messages that were offered.
    pub offered_per_second: f64,
    /// Messages that were refused because the mailbox was full.
    pub refused_full_per_second: f64,
    /// The 99th percentile of the waiting times, in milliseconds.
    pub wait_p99_ms: Option<f64>,
    /// The 99th percentile of the handling times, in milliseconds.
    pub handle_p99_ms: Option<f64>,
}

/// The actors of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actors {
    /// Actors that live.
    pub living: u64,
    /// Actors ever started.
    pub started: u64,
    /// Actors that ended as they should.
    pub stopped: u64,
    /// Actors that ended by a panic.
    pub panicked: u64,
}

/// The calls to MAX.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Max {
    /// Calls under way.
    pub inflight: usize,
    /// Calls that may be under way now: fewer than `inflight_max` while MAX is slow.
    pub limit: usize,
    /// The setting `max.inflight_max`.
    pub inflight_max: usize,
    /// Joins that wait for their call.
    pub waiting: usize,
    /// The setting `max.waiting_max`.
    pub waiting_max: usize,
    /// Calls that ended.
    pub calls_per_second: f64,
    /// The median time of a call, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the times of calls, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Calls that failed, per second, by their result as in the metric `maxtalk_max_requests_total`.
    pub errors: BTreeMap<String, f64>,
}

/// A state of the server that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// The same for as long as the state lasts, such as `mailbox_near_limit:conversation`.
    pub id: String,
    /// How bad it is.
    pub level: Level,
    /// The state, with its figures.
    pub text: String,
    /// What to do.
    pub advice: String,
}

/// How bad a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It may become worse.
    Warning,
    /// Clients feel it.
    Critical,
}

/// The last fifteen minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The time between two values, in milliseconds.
    pub step_ms: u64,
    /// The moment of the last values, in milliseconds since 1970.
    pub until_ms: u64,
    /// The values of each figure, the oldest first, such as `talks`, `mailbox.conversation.peak` and `worker.0.busy`.
    pub series: BTreeMap<String, Vec<Option<f64>>>,
}
