//! MAX as a port: what maxtalk asks of a directory of people and conversations, and how that can fail.
//!
//! * [`client`]: the REST calls, through awc: who is asked, deadlines, sizes, what each answer means.
//! * [`gate`]: how many joins may ask at a time, and how many may wait for it.
//! * [`demo`]: an embedded MAX, in memory and over real HTTP.
//! * `answer`: reads the JSON of every release; pure.
//! * `trust`: which certificates are believed.

use std::fmt;
use std::net::IpAddr;

use crate::event::{Code, ConversationId, Token, Username};

mod answer;
pub mod client;
pub mod demo;
pub mod gate;
mod trust;

pub use client::{Directory, Target, Tokenless};
pub use gate::Gate;

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who the client says it is.
    pub username: Username,
    /// The proof, where there is one; without it the service account is asked, where that is allowed.
    pub token: Option<Token>,
    /// The OAuth scope that the client named.
    pub scope: Option<String>,
    /// Where the client connects from.
    pub peer: IpAddr,
}

/// What MAX says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name to announce: the one that MAX accepted with the token, else the one in its answer.
    pub username: Username,
    /// In the order of MAX, without duplicates.
    pub conversations: Vec<ConversationId>,
}

/// Why there is no answer. Each has its [`Code`]; the cause is for the log and never holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the client is told.
    pub code: Code,
    /// What the operator is told.
    pub cause: String,
}

impl Failure {
    fn new(code: Code, cause: impl Into<String>) -> Self {
        Self { code, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.cause)
    }
}

impl std::error::Error for Failure {}
