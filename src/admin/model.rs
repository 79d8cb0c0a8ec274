//! The JSON of the API, in requests and in answers. The API writes these types, its OpenAPI document describes them, and
//! its clients read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// The body is JSON, but not of the form that the path takes: 422.
    Invalid,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the program.
    pub version: String,
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
