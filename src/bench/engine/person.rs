//! One user of the bench: what has become of their connection, and where they listen.

use super::Field;
use crate::bench::ledger::Listener;

/// A connection's part in the run.
pub(super) struct Person {
    pub(super) number: usize,
    pub(super) state: State,
    /// When it asked to join or to leave.
    pub(super) asked_us: u64,
    /// Where it listens, or did before it left, by number of the conversation.
    pub(super) seats: Vec<Seat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// On its way to the server.
    Connecting,
    /// It waits for `listening`.
    Joining,
    /// Where it should be.
    Listening,
    /// It waits for the `listening` that names nothing.
    Leaving,
    /// It has left, and will join again.
    Away,
    /// A join or a leave was refused, or never answered.
    Refused,
    /// The connection is over.
    Gone,
}

impl State {
    /// What it waits for a `listening` to, by the name of the event.
    pub(super) fn asks(self) -> Option<&'static str> {
        match self {
            Self::Joining => Some("join"),
            Self::Leaving => Some("leave"),
            _ => None,
        }
    }
}

/// One conversation of a connection.
pub(super) struct Seat {
    pub(super) conversation: usize,
    pub(super) listener: Listener,
    /// The first talk that it has to hear.
    pub(super) due: u64,
    /// The highest talk that it has heard, or need not.
    pub(super) heard: u64,
    /// It has left: talks above this one must not come any more.
    pub(super) left_at: Option<u64>,
}

impl Person {
    pub(super) fn new(number: usize) -> Self {
        Self { number, state: State::Connecting, asked_us: 0, seats: Vec::new() }
    }

    pub(super) fn join(&mut self, now_us: u64) {
        self.state = State::Joining;
        self.asked_us = now_us;
        // What is sent from here on may already come, and has to when it has heard that it is listening.
        self.seats.iter_mut().for_each(|seat| seat.left_at = Some(u64::MAX));
    }

    /// It listens there from now on, unless it is who talks there. The place in `seats` is the order of the layout. Its
    /// seat from before, if it had one.
    pub(super) fn sit_down(&mut self, field: &Field, conversation: usize) -> Option<Seat> {
        if field.layout.talker(conversation) == self.number {
            return None;
        }
        let sent = field.talks[conversation].enter();
        let seat = Seat { conversation, listener: Listener::new(sent), due: sent + 1, heard: sent, left_at: None };
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
