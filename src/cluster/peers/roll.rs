//! All peers of a conversation, and the changes of the users on all nodes together.

use std::time::{Duration, Instant};

use super::effects::{Change, Effects};
use super::local::{Here, Local};
use super::peer::{Known, Peer, Place};
use crate::cluster::message::{NodeId, Users};
use crate::event::Username;

/// The peers of a conversation, and the own state that they wait for.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// The peers. Those that do not count are in the order in which they stopped counting.
    pub(super) peers: Vec<Peer>,
    /// The own state that has to be sent.
    pub(super) due: Option<Due>,
    /// When the own state was sent.
    pub(super) answered_at: Option<Instant>,
    /// When the own state was sent without names.
    pub(super) stated_at: Option<Instant>,
}

/// An own state that has to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    /// Whether it asks the peers for theirs.
    pub(super) asks: bool,
}

impl Roll {
    /// The number of nodes of which there is a record. It bounds the memory that messages of invented nodes take.
    const PEERS_MAX: usize = 256;

    /// The number of nodes that do not count of which there is a record. Each start of a node has an id of its own, so
    /// that they would become more and more.
    const HIDDEN_MAX: usize = 8;

    /// Returns the place of a peer, and that of its message. A peer that was not known has a record from now on, and
    /// its message no place. `None` if there are too many peers.
    pub(super) fn find_or_add(&mut self, node: NodeId, life: u64, sequence: u64) -> Option<(usize, Option<Place>)> {
        if let Some(at) = self.peers.iter().position(|peer| peer.node == node) {
            return Some((at, Some(self.peers[at].place(life, sequence))));
        }
        if self.peers.len() >= Self::PEERS_MAX {
            let hidden = self.peers.iter().position(|peer| peer.hidden)?;
            self.peers.remove(hidden);
        }
        self.peers.insert(0, Peer::new(node, life, sequence));
        Some((0, None))
    }

    /// Moves a peer that stops counting to the end, and forgets one that stopped long ago if they are too many.
    pub(super) fn retire(&mut self, at: usize) {
        let peer = self.peers.remove(at);
        self.peers.push(peer);
        if self.peers.iter().filter(|peer| peer.hidden).count() > Self::HIDDEN_MAX
            && let Some(oldest) = self.peers.iter().position(|peer| peer.hidden)
        {
            self.peers.remove(oldest);
        }
    }

    /// Takes a state of a peer.
    pub(super) fn state<H: Here>(&mut self, at: usize, users: Users, local: &Local<'_, H>, effects: &mut Effects) {
        let known = match users {
            Users::Count(count) => Known::Count(count),
            Users::Names(names) => {
                Known::Names(names.into_iter().map(|username| self.shared(username, local)).collect())
            }
        };
        self.change(at, local, effects, |peer| peer.known = known);
    }

    /// Takes a user that a peer has from now on.
    pub(super) fn come<H: Here>(&mut self, at: usize, username: Username, local: &Local<'_, H>, effects: &mut Effects) {
        let username = self.shared(username, local);
        let is_elsewhere = local.here.find(&username).is_some() || self.find(&username, Some(at)).is_some();
        let peer = &mut self.peers[at];
        let is_new = match &mut peer.known {
            Known::Names(names) => names.insert(username.clone()),
            Known::Count(count) => {
                *count = count.saturating_add(1);
                false
            }
        };
        if is_new && !peer.hidden && !is_elsewhere && self.presents(local) {
            effects.changes.push(Change::Joined(username));
        }
    }

    /// Takes a user that a peer does not have any more.
    pub(super) fn go<H: Here>(&mut self, at: usize, username: &Username, local: &Local<'_, H>, effects: &mut Effects) {
        let presents = self.presents(local);
        let is_elsewhere = local.here.find(username).is_some() || self.find(username, Some(at)).is_some();
        let peer = &mut self.peers[at];
        let was_there = match &mut peer.known {
            Known::Names(names) => names.take(username),
            Known::Count(count) => {
                *count = count.saturating_sub(1);
                None
            }
        };
        if let Some(username) = was_there.filter(|_| !peer.hidden && !is_elsewhere && presents) {
            effects.changes.push(Change::Left(username));
        }
    }

    /// Changes the record of a peer, and finds the users who come and go by it. They are told if presence is told both
    /// before and after: users whose names become known or unknown do not come or go.
    pub(super) fn change<H: Here>(
        &mut self,
        at: usize,
        local: &Local<'_, H>,
        effects: &mut Effects,
        edit: impl FnOnce(&mut Peer),
    ) {
        let presented = self.presents(local);
        let before = if presented { self.peers[at].names().cloned() } else { None };
        edit(&mut self.peers[at]);
        let (Some(before), true) = (before, self.presents(local)) else { return };
        let Some(after) = self.peers[at].names() else { return };
        let is_elsewhere =
            |username: &Username| local.here.find(username).is_some() || self.find(username, Some(at)).is_some();
        let left = before.difference(after).filter(|username| !is_elsewhere(username)).cloned();
        effects.changes.extend(left.map(Change::Left));
        let joined = after.difference(&before).filter(|username| !is_elsewhere(username)).cloned();
        effects.changes.extend(joined.map(Change::Joined));
    }

    /// Notes that the own state has to be sent at `at`, or earlier.
    pub(super) fn owe_state(&mut self, asks: bool, at: Instant) {
        let due = self.due.get_or_insert(Due { at, asks });
        due.at = due.at.min(at);
        due.asks |= asks;
    }

    /// Notes that a peer has asked for the own state. It gets it at once, unless another was answered a moment ago.
    pub(super) fn owe_answer(&mut self, interval: Duration, now: Instant) {
        let at = self.answered_at.map_or(now, |answered| (answered + interval).max(now));
        self.owe_state(false, at);
    }

    /// Returns when the own state has to be sent, or a peer to be asked for its own.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let due = self.due.map(|due| due.at);
        self.peers.iter().filter_map(Peer::ask_at).chain(due).min()
    }

    /// Returns the user as it is stored for a peer that counts, other than the one at `except`.
    pub(super) fn find(&self, username: &Username, except: Option<usize>) -> Option<&Username> {
        let others = self.peers.iter().enumerate().filter(|(at, _)| Some(*at) != except);
        others.filter_map(|(_, peer)| peer.names()).find_map(|names| names.get(username))
    }

    /// Returns the sum of the users of all peers.
    pub(super) fn count(&self) -> usize {
        self.peers.iter().map(Peer::count).fold(0, usize::saturating_add)
    }

    /// Returns whether all users are known by name.
    pub(super) fn are_named(&self) -> bool {
        self.peers.iter().all(|peer| peer.names().is_some())
    }

    /// Returns whether nothing has to be remembered.
    pub(super) fn is_idle(&self, now: Instant, count_interval: Duration) -> bool {
        let is_paced = self.stated_at.is_some_and(|stated| now < stated + count_interval);
        self.peers.is_empty() && self.due.is_none() && !is_paced
    }

    /// Returns whether presence is told among the users that are there now.
    fn presents<H: Here>(&self, local: &Local<'_, H>) -> bool {
        self.are_named() && !local.exceeds(local.here.count().saturating_add(self.count()))
    }

    /// Returns the user as it is stored on this node or for a peer, so that its name is shared.
    fn shared<H: Here>(&self, username: Username, local: &Local<'_, H>) -> Username {
        local.here.find(&username).or_else(|| self.find(&username, None)).cloned().unwrap_or(username)
    }
}
