//! The port between maxtalk and a directory of people and conversations: the question, the answer, and the failure.

use std::fmt;
use std::net::IpAddr;

use futures_util::future::LocalBoxFuture;

use crate::event::{Code, ConversationId, Token, Username};

/// A directory of people and their conversations. Each thread that asks it has a value of its own.
pub trait Directory {
    /// Asks for the conversations of a user. Dropping the future cancels the question.
    ///
    /// # Errors
    /// A code for the client, and a cause for the log.
    fn conversations_of(&self, question: Question) -> LocalBoxFuture<'static, Result<Answer, Failure>>;
}

/// A question for the conversations of a user.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name that the client claims.
    pub username: Username,
    /// The token that proves the name. Without a token, the directory is asked as the service account, if that is
    /// allowed.
    pub token: Option<Token>,
    /// The OAuth scope that the client named.
    pub scope: Option<String>,
    /// The address of the client.
    pub peer: IpAddr,
}

/// The conversations of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for, as MAX writes it. Other users see this name.
    pub username: Username,
    /// The conversations in the order of MAX, without duplicates.
    pub conversations: Vec<ConversationId>,
}

/// The reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason for the client.
    pub code: Code,
    /// The reason for the log, in words. It never holds a token.
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
