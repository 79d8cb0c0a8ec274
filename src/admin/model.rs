//! The JSON of the API, in requests and in answers. The API writes these types, its OpenAPI document describes them,
//! and its clients read them. [`overview`] has what the dashboard and `maxtalk top` show, [`announce`] what back ends
//! announce, [`cluster`] the other nodes, [`setting_values`] the values of a change of settings.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub mod announce;
pub mod cluster;
pub mod overview;
pub mod setting_values;

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// The reason.
    pub error: Fault,
}

/// The reason for which a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// The reason, for programs.
    pub code: FaultCode,
    /// The reason, for people.
    pub message: String,
}

/// The reasons for which a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The request cannot be understood: 400.
    BadRequest,
    /// The key is missing or wrong: 401.
    Unauthorized,
    /// The key does not allow it, or the request comes from a page of another origin: 403.
    Forbidden,
    /// There is nothing at this path: 404.
    NotFound,
    /// The path does not take this method: 405.
    MethodNotAllowed,
    /// The body is too long: 413.
    TooLarge,
    /// The body is not announced as JSON: 415.
    UnsupportedMediaType,
    /// The same request is under way: 409.
    Conflict,
    /// The body is JSON, but not of the form that the path takes: 422.
    Invalid,
    /// A queue is full, or a part of the server did not answer in time: 503. Try again.
    Busy,
    /// It was required that an update is relayed to the other nodes, and it was not: 503.
    NotRelayed,
}

/// The body of a request that needs no words: `{}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A question for those at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Top<M: ToSchema> {
    /// The measure.
    pub by: Option<M>,
    /// How many are wanted.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub top: Option<usize>,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The commit that was built, as its first seven digits, if the build knew it.
    pub commit: Option<String>,
    /// The day of that commit, such as `2026-11-27`, if the build knew it.
    pub date: Option<String>,
    /// How the program was built: `release`, or `debug`, which is much slower.
    pub build: String,
    /// The number of the process.
    pub pid: u32,
    /// When the server began, in the form of RFC 3339.
    #[schema(format = DateTime)]
    pub began: String,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// The stage of the server's life.
    pub stage: Stage,
    /// The threads that serve clients.
    pub workers: usize,
    /// Open connections of clients.
    pub connections: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Living conversations.
    pub conversations: usize,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: Option<u64>,
    /// The machine that the server runs on.
    pub machine: Machine,
    /// The bounds of the process.
    pub limits: Limits,
}

/// A stage of the server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The server starts, and accepts no clients yet.
    Starting,
    /// The server serves.
    Serving,
    /// The server closes its sessions and opens no new ones.
    Draining,
}

/// The machine that the server runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    /// Cores that the process may use.
    pub cores: usize,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
}

/// The bounds of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// Open files that the system allows.
    pub files: u64,
    /// Connections of clients that may be open at the same time.
    pub connections: usize,
    /// Memory of the process, in bytes: the limit of the setting, or of the control group. None if there is no limit.
    pub memory_bytes: Option<u64>,
}

/// Sessions of the server, or of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// All open sessions of the server or of the user, those that are not listed included.
    pub total: usize,
    /// The sessions that were asked for.
    pub sessions: Vec<Session>,
}

/// The measures by which sessions are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionMeasure {
    /// Bytes that wait to be written, from 4 KiB on.
    Bytes,
    /// Messages that wait to be written, from 17 on.
    Messages,
    /// The time since the session was opened.
    Age,
    /// The round trip of the last heartbeat.
    RoundTrip,
    /// News that was folded or left out because the client read too slowly.
    Folded,
}

/// An open session: one connected client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its number.
    pub id: u64,
    /// Its user, if it has joined.
    pub username: Option<String>,
    /// The address of its client.
    pub address: String,
    /// The protocol of its client.
    pub generation: Generation,
    /// The transport that carries it.
    pub transport: Transport,
    /// Whether it has lost its connection, and is kept because its client may come back.
    #[serde(default)]
    pub kept: bool,
    /// When it was opened.
    #[schema(format = DateTime)]
    pub opened: String,
    /// Milliseconds since then.
    pub age_ms: u64,
    /// Messages that wait to be written to its client.
    pub waiting_messages: usize,
    /// Bytes that wait to be written to its client.
    pub waiting_bytes: usize,
    /// News that was folded or left out since it was opened, because its client read too slowly.
    pub folded: usize,
    /// The round trip of its last heartbeat, in milliseconds. Clients of Engine.IO 3 have none.
    pub round_trip_ms: Option<f64>,
}

/// The protocols of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Generation {
    /// Engine.IO 4: Socket.IO 3 and 4.
    #[serde(rename = "eio4")]
    Eio4,
    /// Engine.IO 3: Socket.IO 1 and 2.
    #[serde(rename = "eio3")]
    Eio3,
    /// Socket.IO 0.7 to 0.9.
    #[serde(rename = "0.9")]
    Sio09,
}

/// The transports of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// A WebSocket.
    Websocket,
}

/// The sessions that were closed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedSessions {
    /// The sessions, the one that was closed last first.
    pub sessions: Vec<ClosedSession>,
}

/// A session that was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedSession {
    /// Its number.
    pub id: u64,
    /// Its user, if it had joined.
    pub username: Option<String>,
    /// The address of its client.
    pub address: String,
    /// The protocol of its client.
    pub generation: Generation,
    /// The transport that it used last.
    pub transport: Transport,
    /// When it was closed.
    #[schema(format = DateTime)]
    pub closed: String,
    /// Milliseconds from its opening to its close.
    pub age_ms: u64,
    /// News that was folded or left out because its client read too slowly.
    pub folded: usize,
    /// The reason, as in the metric `maxtalk_sessions_closed_total`.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
}

/// How many sessions were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Closed {
    /// The sessions that were open, and end now.
    pub closed: usize,
}

/// How many sessions ask MAX again for their conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refreshed {
    /// The sessions.
    pub sessions: usize,
}

/// Conversations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conversations {
    /// Living conversations, those that are not listed included.
    pub total: usize,
    /// The conversations that were asked for.
    pub conversations: Vec<Conversation>,
}

/// The measures by which conversations are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConversationMeasure {
    /// Sessions that listen.
    Members,
    /// Talks a second, over the last ten seconds.
    TalksPerSecond,
    /// Events given to members a second, over the last ten seconds.
    DeliveriesPerSecond,
}

/// A living conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conversation {
    /// The id that MAX gives it.
    pub id: String,
    /// When its actor was spawned.
    #[schema(format = DateTime)]
    pub spawned: String,
    /// Milliseconds since then.
    pub age_ms: u64,
    /// Sessions that listen.
    pub members: u32,
    /// Users that listen, regardless of how many sessions each has.
    pub users: u32,
    /// Talks since it was spawned.
    pub talks: u64,
    /// Events given to members since it was spawned.
    pub deliveries: u64,
    /// Talks a second, over the last ten seconds.
    pub talks_per_second: f64,
    /// Events given to members a second, over the last ten seconds.
    pub deliveries_per_second: f64,
}

/// A living conversation, with its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneConversation {
    /// The conversation.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// Messages that wait in its mailbox.
    pub mailbox_messages: usize,
    /// Some of the sessions that listen, in no particular order.
    pub listening: Vec<Member>,
}

/// A session that listens to a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The number of the session.
    pub session: u64,
    /// Its user.
    pub username: String,
}

/// The settings of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// All settings, in alphabetical order.
    pub settings: Vec<Setting>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Its name, such as `mailbox.conversation`.
    pub key: String,
    /// The value that holds now, in TOML. Secrets are `***`.
    pub value: String,
    /// The source of the value: `default`, a line of a file, a variable, a flag, or `admin`.
    pub source: String,
    /// Whether it may be changed while the server runs.
    pub live: bool,
    /// The values that are allowed, in words.
    pub allowed: String,
}

/// Settings that were changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedSettings {
    /// The changes.
    pub changes: Vec<ChangedSetting>,
    /// The lines that keep them: those of a file of settings, and assignments of environment variables where one has
    /// set the value at the start.
    pub to_keep: String,
    /// How long they last.
    pub lasts: String,
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedSetting {
    /// Its name.
    pub key: String,
    /// The former value, in TOML.
    pub from: String,
    /// The source of the former value.
    pub from_source: String,
    /// The value that holds now, in TOML.
    pub to: String,
}
