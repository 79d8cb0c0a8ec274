//! The port: what maxtalk asks of a directory of people and conversations, and how that can fail.

use std::fmt;
use std::net::IpAddr;

use futures_util::future::LocalBoxFuture;

use crate::event::{Code, ConversationId, Token, Username};

/// Knows people and their conversations. One thread asks it.
pub trait Directory {
    /// Asks for the conversations of a user. Dropping the future gives the question up.
    ///
    /// # Errors
    /// The code that the client is told, and for the log why.
    fn conversations_of(&self, question: Question) -> LocalBoxFuture<'static, Result<Answer, Failure>>;
}

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
    pub(super) fn new(code: Code, cause: impl Into<String>) -> Self {
        Self { code, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.cause)
    }
}

impl std::error::Error for Failure {}
