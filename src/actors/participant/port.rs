//! The port between a participant and the world: the effects of the participant, and the answers of the world.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::conversation::People;
use super::super::seats::Seat;
use super::super::users::User;
use crate::event::{Code, ConversationId, EventName, ServerEvent, Talk, Token, Username};

/// The world, as a participant sees it.
pub trait Port {
    /// A seat in a conversation.
    type Seat: Seat;

    /// Returns the bounds in force.
    fn rules(&self) -> Rules;

    /// Returns whether the client's outbox has room for long answers.
    fn has_room(&self) -> bool;

    /// Returns whether another talk may be sent to its conversation now.
    fn may_talk(&self) -> bool;

    /// Calls the registry. [`Input::Answered`] follows, or [`Input::GivenUp`] after [`Self::give_up`].
    ///
    /// # Errors
    /// The registry has too much to do.
    fn call(&mut self, call: Call) -> Result<(), Code>;

    /// Gives up the call under way.
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

    /// Leaves the conversations of these seats. Returns true if that is done at once; otherwise [`Input::Departed`]
    /// follows.
    fn depart(&mut self, seats: Vec<Self::Seat>) -> bool;

    /// Sends the client an event.
    fn tell(&mut self, event: &ServerEvent<'_>);

    /// Answers an event that was carried out, if the client wants an ack.
    fn done(&mut self, ack: Option<u64>);

    /// Answers an event that was not carried out: by its ack if the client wants one, otherwise by `refused`.
    fn refuse(&mut self, event: EventName, code: Code, conversation: Option<&ConversationId>, ack: Option<u64>);

    /// Counts a join that has ended.
    fn join_ended(&mut self, since: Instant, user: Option<&User>, result: Result<(), Code>);

    /// Counts a talk that has ended.
    fn talk_ended(&mut self, result: Result<(), Code>);
}

/// The bounds of a participant.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The largest number of events that wait for a join, and of asks under way.
    pub pending_max: usize,
    /// How long a conversation may take to answer an ask.
    pub answer_timeout: Duration,
    /// How long a denial by MAX is doubted if MAX has accepted the user before.
    pub doubt: Duration,
}

/// A call to the registry.
#[derive(Debug)]
pub struct Call {
    /// Whether the session enters the user's conversations. If not, MAX is asked and nothing else happens.
    pub enters: bool,
    /// The username that the client claims.
    pub username: Username,
    /// The proof of the username.
    pub auth: Auth,
    /// The session's user until now, if it has one.
    pub user: Option<User>,
    /// The conversations that it has on the node from which it has moved here. MAX is not asked then.
    pub moved: Option<Vec<ConversationId>>,
}

/// A positive answer to a call: MAX accepts the user, and if [`Call::enters`] was set, the session has entered the
/// user's conversations.
#[derive(Debug)]
pub struct Joined<S> {
    /// The user, as MAX names it.
    pub user: User,
    /// The seats in the order of MAX; none if [`Call::enters`] was not set.
    pub seats: Vec<S>,
}

/// An answer of the world.
#[derive(Debug)]
pub enum Input<S> {
    /// The call is over, and this is the answer.
    Answered(Result<Joined<S>, Code>),
    /// The call that was given up is over, and everything done for it is undone.
    GivenUp,
    /// The session has left all conversations that were given to [`Port::depart`].
    Departed,
    /// A conversation has answered an ask. `None` if the conversation died before.
    People(Option<People>),
}

/// The proof of a client's username.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Auth {
    /// The token, if the client gave one.
    #[serde(default)]
    pub token: Option<Token>,
    /// The OAuth scope of the token, if the client named one.
    #[serde(default)]
    pub scope: Option<Box<str>>,
}
