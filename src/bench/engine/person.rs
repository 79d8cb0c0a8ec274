//! One user of the bench: the state of its connection, and the conversations that it listens to.

use super::{Field, Run};
use crate::bench::ledger::Listener;

/// A user with one connection.
pub(super) struct Person {
    pub(super) number: usize,
    /// The number of its node, from 0.
    node: usize,
    pub(super) state: State,
    /// When the user asked to join or to leave.
    pub(super) asked_us: u64,
    /// Whether the server has told that news may be lost until it tells otherwise.
    pub(super) is_cut_off: bool,
    /// The user's conversations in rising order. They are kept after a leave.
    pub(super) seats: Vec<Seat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The connection is being made.
    Connecting,
    /// The user has asked to join.
    Joining,
    /// The user listens to its conversations.
    Listening,
    /// The user has asked to leave.
    Leaving,
    /// The user has left, and will join again.
    Away,
    /// A join or a leave was refused, or not answered.
    Refused,
    /// The connection is over.
    Gone,
}

impl State {
    /// Returns the name of the event that waits for a `listening`, if any.
    pub(super) fn asks(self) -> Option<&'static str> {
        match self {
            Self::Joining => Some("join"),
            Self::Leaving => Some("leave"),
            _ => None,
        }
    }
}

/// One conversation of a user.
pub(super) struct Seat {
    pub(super) conversation: usize,
    /// Whether the talker is on another node.
    pub(super) is_remote: bool,
    pub(super) listener: Listener,
    /// The first talk that is due.
    pub(super) due: u64,
    /// The highest due talk that was heard or declared missing; the last talk before `due` as long as there is none.
    pub(super) heard: u64,
    /// Set from a leave until the next join is answered. Talks above it must not come; others may, and do not count.
    pub(super) left_at: Option<u64>,
}

impl Seat {
    /// Whether the server may have lost a talk by the fault of another node. Of a single server it is not known what
    /// stands behind it.
    pub(super) fn may_miss(&self, run: &Run) -> bool {
        self.is_remote || run.targets.len() == 1
    }
}

impl Person {
    pub(super) fn new(number: usize, node: usize) -> Self {
        Self { number, node, state: State::Connecting, asked_us: 0, is_cut_off: false, seats: Vec::new() }
    }

    pub(super) fn join(&mut self, now_us: u64) {
        self.state = State::Joining;
        self.asked_us = now_us;
        // From here on talks may come. They are due only after the `listening`.
        self.seats.iter_mut().for_each(|seat| seat.left_at = Some(u64::MAX));
    }

    /// Gives the user a seat in a conversation, and returns the seat that this replaces. The talker of a conversation
    /// gets none, unless the server sends it its own talks.
    pub(super) fn sit_down(&mut self, field: &Field, conversation: usize) -> Option<Seat> {
        if field.layout.talker(conversation) == self.number && !field.echo {
            return None;
        }
        let sent = field.talks[conversation].enter();
        let (is_remote, listener) = (field.homes[conversation] != self.node, Listener::new(sent));
        let seat = Seat { conversation, is_remote, listener, due: sent + 1, heard: sent, left_at: None };
        match self.seats.binary_search_by_key(&conversation, |seat| seat.conversation) {
            Ok(at) => Some(std::mem::replace(&mut self.seats[at], seat)),
            Err(at) => {
                self.seats.insert(at, seat);
                None
            }
        }
    }

    pub(super) fn seat(&mut self, conversation: usize) -> Option<&mut Seat> {
        let at = self.seats.binary_search_by_key(&conversation, |seat| seat.conversation).ok()?;
        self.seats.get_mut(at)
    }
}
