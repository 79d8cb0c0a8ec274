//! What a participant and the world around it say to each other.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::conversation::People;
use super::super::seats::Seat;
use super::super::users::User;
use crate::event::{Code, ConversationId, EventName, ServerEvent, Talk, Token, Username};

/// What a participant needs of the world.
pub trait Port {
    /// A place in a conversation.
    type Seat: Seat;

    /// The bounds that are in force.
    fn rules(&self) -> Rules;

    /// Whether the client has room for long answers.
    fn has_room(&self) -> bool;

    /// Whether another talk may be sent to its conversation now.
    fn may_talk(&self) -> bool;

    /// Asks the registry. [`Input::Answered`] follows, or after [`Self::give_up`] an [`Input::GivenUp`].
    ///
    /// # Errors
    /// The registry has too much to do.
    fn call(&mut self, call: Call) -> Result<(), Code>;

    /// Nobody waits for the answer of the registry any more.
    fn give_up(&mut self);

    /// Sends a talk to its conversation.
    ///
    /// # Errors
    /// The conversation has too much to do.
    fn talk(&mut self, seat: &Self::Seat, user: &User, talk: &Talk) -> Result<(), Code>;

    /// Asks a conversation who is there. [`Input::People`] follows.
    ///
    /// # Errors
    /// The conversation has too much to do.
    fn ask(&mut self, seat: &Self::Seat) -> Result<(), Code>;

    /// Leaves conversations. True where that is done; else [`Input::Departed`] follows.
    fn depart(&mut self, seats: Vec<Self::Seat>) -> bool;

    /// Tells the client something.
    fn tell(&mut self, event: &ServerEvent<'_>);

    /// Tells the client that what it asked was done, if it wants to know.
    fn done(&mut self, ack: Option<u64>);

    /// The one answer to an event that was not done: its ack if it wants one, else `refused`.
    fn refuse(&mut self, event: EventName, code: Code, conversation: Option<&ConversationId>, ack: Option<u64>);

    /// A join has ended.
    fn join_ended(&mut self, since: Instant, user: Option<&User>, result: Result<(), Code>);

    /// A talk has ended.
    fn talk_ended(&mut self, result: Result<(), Code>);
}

/// The bounds of a participant.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Events that may wait for a join, and asks that may be under way.
    pub pending_max: usize,
    /// How long a conversation may take to answer an ask.
    pub answer_timeout: Duration,
    /// How long MAX may deny somebody whom it has accepted before.
    pub doubt: Duration,
}

/// What the registry is asked.
#[derive(Debug)]
pub struct Call {
    /// Whether the session is to be let into its conversations; else MAX is asked and nothing more.
    pub enters: bool,
    /// Who the client says it is.
    pub username: Username,
    /// What proves it.
    pub auth: Auth,
    /// Who it is by now.
    pub user: Option<User>,
}

/// A join that was done.
#[derive(Debug)]
pub struct Admitted<S> {
    /// Who MAX says it is.
    pub user: User,
    /// In the order in which MAX gave them.
    pub seats: Vec<S>,
}

/// What the world tells a participant.
#[derive(Debug)]
pub enum Input<S> {
    /// The registry has answered, and nothing of the call is left there.
    Answered(Result<Admitted<S>, Code>),
    /// Nothing is left of the call that was given up.
    GivenUp,
    /// All that departed has left.
    Departed,
    /// A conversation has said who is there, or has died.
    People(Option<People>),
}

/// What proves who a client is.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Auth {
    /// The token, if it is given.
    #[serde(default)]
    pub token: Option<Token>,
    /// Its OAuth scope, if that is given.
    #[serde(default)]
    pub scope: Option<Box<str>>,
}
