//! The record that a conversation keeps of one other node.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cluster::message::NodeId;
use crate::event::Username;

/// Another node, as a conversation knows it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    /// The life of the conversation on that node.
    life: u64,
    /// The last number of that life. It is kept even when the life has ended, because a message may come twice.
    sequence: u64,
    pub(super) known: Known,
    /// Whether the users do not count: the node is silent, or has ended.
    pub(super) hidden: bool,
    /// Whether the node has ended, so that its users never count again.
    pub(super) ended: bool,
    /// Whether the peer has sent its state before.
    pub(super) stated: bool,
    /// Whether the conversation has ended on that node, and not begun anew.
    gone: bool,
    owed: Option<Owed>,
}

/// The users of a conversation on one other node, as far as they are known.
#[derive(Debug)]
pub(super) enum Known {
    /// The users.
    Names(BTreeSet<Username>),
    /// Their number.
    Count(usize),
}

/// A state that a peer has not sent yet.
#[derive(Clone, Copy, Debug)]
struct Owed {
    ask_at: Instant,
    /// How often the peer was asked.
    tries: u8,
}

/// The place of a message among those that have come from its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It came before, or a later one did.
    Old,
    /// It is the next.
    Next,
    /// It begins a new life of the conversation on that node.
    NewLife,
    /// Others are lost between the last one and this one.
    Hole,
}

/// What to do about a peer that owes its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dun {
    /// It is too early.
    Wait,
    /// The peer is asked.
    Ask,
    /// The peer was asked often enough: the conversation does not live there.
    GiveUp,
}

impl Peer {
    /// How often a peer is asked for a state that it owes.
    pub(super) const TRIES_MAX: u8 = 3;

    /// Creates the record of a peer that is heard for the first time, with a message of this life and number.
    pub(super) fn new(node: NodeId, life: u64, sequence: u64) -> Self {
        let known = Known::Names(BTreeSet::new());
        Self { node, life, sequence, known, hidden: false, ended: false, stated: false, gone: false, owed: None }
    }

    /// Notes the life and the number of a message, and returns its place.
    pub(super) fn place(&mut self, life: u64, sequence: u64) -> Place {
        if (life, sequence) <= (self.life, self.sequence) {
            return Place::Old;
        }
        let place = match (life == self.life, sequence) {
            (true, _) if sequence == self.sequence + 1 => Place::Next,
            (false, 1) => Place::NewLife,
            _ => Place::Hole,
        };
        (self.life, self.sequence, self.gone) = (life, sequence, false);
        place
    }

    /// Notes that the peer owes its state, and is asked for it at `ask_at` unless it is to be asked already.
    pub(super) fn owe(&mut self, ask_at: Instant) {
        let ask_at = self.owed.map_or(ask_at, |owed| owed.ask_at);
        self.owed = Some(Owed { ask_at, tries: 0 });
    }

    /// Notes that the peer owes its state, and is asked for it at `ask_at`, no earlier. A peer where the conversation
    /// has ended owes nothing: its next message is that of a new life.
    pub(super) fn owe_anew(&mut self, ask_at: Instant) {
        self.owed = (!self.gone).then_some(Owed { ask_at, tries: 0 });
    }

    /// Notes that the conversation has ended on that node.
    pub(super) fn end(&mut self) {
        self.known = Known::Names(BTreeSet::new());
        self.gone = true;
        self.owed = None;
    }

    /// Notes that the peer owes nothing.
    pub(super) fn settle(&mut self) {
        self.owed = None;
    }

    /// Returns when the peer has to be asked. `None` if it owes nothing. A peer that does not count is not asked.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.owed.filter(|_| !self.hidden).map(|owed| owed.ask_at)
    }

    /// Returns what to do about the state that the peer owes. An ask that cannot be sent is put off, and does not
    /// count.
    pub(super) fn dun(&mut self, can_ask: bool, interval: Duration, now: Instant) -> Dun {
        let Some(owed) = self.owed.as_mut().filter(|owed| !self.hidden && owed.ask_at <= now) else { return Dun::Wait };
        owed.ask_at = now + interval;
        if !can_ask {
            return Dun::Wait;
        }
        if owed.tries == Self::TRIES_MAX {
            return Dun::GiveUp;
        }
        owed.tries += 1;
        Dun::Ask
    }

    /// Returns the number of its users that count.
    pub(super) fn count(&self) -> usize {
        match &self.known {
            _ if self.hidden => 0,
            Known::Names(names) => names.len(),
            Known::Count(count) => *count,
        }
    }

    /// Returns the users that count, as stored. `None` if only their number is known.
    pub(super) fn names(&self) -> Option<&BTreeSet<Username>> {
        static NOBODY: BTreeSet<Username> = BTreeSet::new();
        match &self.known {
            _ if self.hidden => Some(&NOBODY),
            Known::Names(names) => Some(names),
            Known::Count(_) => None,
        }
    }
}
