//! MAX as a port: what maxtalk asks of a directory of people and conversations, and how that can fail.
//!
//! * [`client`]: who is asked, as whom, in how many calls.
//! * [`gate`]: how many joins may ask at a time, and how many may wait for it; `pace` finds the first number.
//! * [`demo`]: an embedded MAX, in memory and over real HTTP.
//! * `probe`: whether MAX answers at all, and as what.
//! * `route`: the calls that serve a question, and what follows one that failed; pure.
//! * `verdict`, `answer`: what an answer means, and its JSON in every release; pure.
//! * `flights`: one call for all that ask the same.
//! * `call`, `identity`: one call through awc, with its deadline and bounds; who asks.
//! * `connection`, `response`: what awc holds for a connection, and what comes on it, made plain; the latter is pure.
//! * `dial`, `trust`, `socket`: the way to MAX, which certificates are believed, and the socket at its end.

use std::fmt;
use std::net::IpAddr;

use crate::event::{Code, ConversationId, Token, Username};

mod answer;
mod call;
pub mod client;
mod connection;
pub mod demo;
mod dial;
mod flights;
pub mod gate;
mod identity;
mod pace;
mod probe;
mod response;
mod route;
mod socket;
mod trust;
mod verdict;

pub use client::{Directory, Target, Tokenless};
pub use gate::Gate;
pub use probe::Probe;

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
    /// The name to announce: the one that was asked for, as MAX knows it.
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
