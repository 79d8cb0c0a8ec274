//! The other nodes that are heard on one server: who lives, who is silent, and who has ended. Pure: the time is an
//! argument, and only this node's own clock is read.
//!
//! Silence is evidence only while the own connection is up and this node looks: who is cut off, or stands still, hears
//! nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{NodeId, NodeMessage};

/// The time between two looks for silent nodes.
pub const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// The nodes that are remembered at most. A node beyond it is not watched.
const NODES_MAX: usize = 4096;

/// The time after which a silent node is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// The longest time for which the users of a node that ends stay visible: `server.drain_ms` and
/// `cluster.bye_grace_ms` are at most a day each.
const GRACE_MAX: Duration = Duration::from_secs(2 * 24 * 3600);

/// A change that conversations or operators have to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// A node is heard for the first time.
    New(NodeId),
    /// A node is not heard any more, or it has ended and did not say that it had published all.
    Silent(NodeId),
    /// A node has ended as it announced, and its grace is over.
    Ended(NodeId),
    /// A silent node is heard again.
    Heard(NodeId),
    /// A node has lost messages about conversations that it does not know.
    Doubt(NodeId),
    /// A node has the name of another one that lives.
    SameName(NodeId, Arc<str>),
    /// A node has the tag of another one that lives.
    SameTag(NodeId, Arc<str>),
}

/// What a node tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The name that operators gave it.
    pub name: Arc<str>,
    /// Its version of maxtalk.
    pub version: Arc<str>,
    /// The tag at the beginning of its sids.
    pub tag: Arc<str>,
    /// Its sessions.
    pub sessions: u64,
    /// Its conversations.
    pub conversations: u64,
}

/// Another node.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What it told last. `None`: only messages about conversations were heard of it.
    pub card: Option<Card>,
    /// The moment when it was last heard.
    pub heard: Instant,
    /// Whether its users do not count any more.
    pub is_silent: bool,
    first_heard: Instant,
    /// The moment when its users go, because it has ended.
    leaves: Option<Instant>,
    /// Whether it has published all before it ended.
    is_flushed: bool,
    is_name_warned: bool,
    is_tag_warned: bool,
}

/// The nodes that are heard on one server.
#[derive(Debug)]
pub struct Nodes {
    own: NodeId,
    own_name: Arc<str>,
    own_tag: Arc<str>,
    silent_after: Duration,
    peers: HashMap<NodeId, Peer>,
    /// `None` while the own connection is down.
    up: Option<Up>,
}

/// The time in which the others could be heard.
#[derive(Clone, Copy, Debug)]
struct Up {
    since: Instant,
    looked: Instant,
}

impl Nodes {
    /// Creates the state in which nobody was heard and the own connection is down.
    pub fn new(own: NodeId, own_name: Arc<str>, own_tag: Arc<str>, silent_after: Duration) -> Self {
        Self { own, own_name, own_tag, silent_after, peers: HashMap::new(), up: None }
    }

    /// Notes that the own connection is up.
    pub fn up(&mut self, now: Instant) {
        self.up.get_or_insert(Up { since: now, looked: now });
    }

    /// Notes that the own connection is down.
    pub fn down(&mut self) {
        self.up = None;
    }

    /// Takes a message that a node tells about itself.
    pub fn told(&mut self, message: NodeMessage, now: Instant) -> Vec<NodeChange> {
        match message {
            NodeMessage::Heartbeat { node, .. } | NodeMessage::Bye { node, .. } | NodeMessage::Holes { node }
                if node == self.own =>
            {
                Vec::new()
            }
            NodeMessage::Heartbeat { node, name, version, tag, sessions, conversations, .. } => {
                self.heartbeat(node, Card { name, version, tag, sessions, conversations }, now)
            }
            NodeMessage::Bye { node, grace_ms, flushed } => {
                let changes = self.told_by(node, now);
                if let Some(peer) = self.peers.get_mut(&node) {
                    let leaves = now + Duration::from_millis(grace_ms).min(GRACE_MAX);
                    peer.leaves = Some(peer.leaves.unwrap_or(leaves).min(leaves));
                    peer.is_flushed |= flushed;
                }
                changes
            }
            NodeMessage::Holes { node } => {
                let mut changes = self.told_by(node, now);
                // The end of a node that is not watched is not told either.
                changes.extend(self.peers.contains_key(&node).then_some(NodeChange::Doubt(node)));
                changes
            }
        }
    }

    /// Notes that a node was heard, by a message about a conversation. Its users count again in that conversation, so
    /// that a node that has ended is told again to have ended.
    pub fn sign_of_life(&mut self, node: NodeId, now: Instant) -> Vec<NodeChange> {
        let changes = self.told_by(node, now);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.is_silent = false;
        }
        changes
    }

    /// Notes that a node has told something about itself.
    fn told_by(&mut self, node: NodeId, now: Instant) -> Vec<NodeChange> {
        if node == self.own {
            return Vec::new();
        }
        let Some(peer) = self.peers.get_mut(&node) else {
            if self.peers.len() >= NODES_MAX {
                return Vec::new();
            }
            let peer = Peer {
                card: None,
                heard: now,
                is_silent: false,
                first_heard: now,
                leaves: None,
                is_flushed: false,
                is_name_warned: false,
                is_tag_warned: false,
            };
            self.peers.insert(node, peer);
            return vec![NodeChange::New(node)];
        };
        peer.heard = now;
        // The heartbeats of a node that ends do not bring it back.
        let returns = peer.is_silent && peer.leaves.is_none();
        peer.is_silent &= !returns;
        if returns { vec![NodeChange::Heard(node)] } else { Vec::new() }
    }

    /// Looks for nodes that have fallen silent, each [`LOOK_PERIOD`]. After a longer time without a look, what others
    /// have said meanwhile may not be read yet: their silence counts from now.
    pub fn tick(&mut self, now: Instant) -> Vec<NodeChange> {
        let silent_after = self.silent_after;
        if let Some(up) = &mut self.up {
            let unlooked = now.saturating_duration_since(std::mem::replace(&mut up.looked, now));
            if unlooked >= (silent_after / 2).max(2 * LOOK_PERIOD) {
                up.since = now;
            }
        }
        let up_since = self.up.map(|up| up.since);
        let mut changes = Vec::new();
        self.peers.retain(|node, peer| {
            // A node that has said all is silent until its grace is over.
            let is_unheard = !peer.is_flushed
                && up_since.is_some_and(|up| now.saturating_duration_since(up.max(peer.heard)) >= silent_after);
            let has_left = peer.leaves.is_some_and(|leaves| now >= leaves);
            if !peer.is_silent && (is_unheard || has_left) {
                peer.is_silent = true;
                changes.push(if peer.is_flushed { NodeChange::Ended(*node) } else { NodeChange::Silent(*node) });
            }
            !(peer.is_silent && now.saturating_duration_since(peer.heard) >= FORGET_AFTER)
        });
        changes.sort_by_key(|change| match change {
            NodeChange::Silent(node) | NodeChange::Ended(node) => *node,
            _ => self.own,
        });
        changes
    }

    /// Returns another node that is remembered.
    pub fn get(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    /// Returns all other nodes that are remembered.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(node, peer)| (*node, peer))
    }

    fn heartbeat(&mut self, node: NodeId, card: Card, now: Instant) -> Vec<NodeChange> {
        let mut changes = self.told_by(node, now);
        let Some(peer) = self.peers.get(&node) else { return changes };
        let same_name = !peer.is_name_warned && self.is_taken(peer, &self.own_name, &card.name, |card| &card.name);
        let same_tag = !peer.is_tag_warned && self.is_taken(peer, &self.own_tag, &card.tag, |card| &card.tag);
        changes.extend(same_name.then(|| NodeChange::SameName(node, card.name.clone())));
        changes.extend(same_tag.then(|| NodeChange::SameTag(node, card.tag.clone())));
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.is_name_warned |= same_name;
            peer.is_tag_warned |= same_tag;
            peer.card = Some(card);
        }
        changes
    }

    /// Whether another living node than `peer`, or this one, has the same name or tag. A node that has just been
    /// started anew is no other one: its predecessor must have been heard after its start.
    fn is_taken(&self, peer: &Peer, own: &str, text: &str, of: impl Fn(&Card) -> &Arc<str>) -> bool {
        let is_other = |theirs: &Peer| {
            !std::ptr::eq(theirs, peer)
                && !theirs.is_silent
                && theirs.leaves.is_none()
                && theirs.heard > peer.first_heard
                && theirs.card.as_ref().is_some_and(|card| **of(card) == *text)
        };
        !text.is_empty() && (text == own || self.peers.values().any(is_other))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::NodeChange::*;
    use super::*;

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    fn node(number: u64) -> NodeId {
        NodeId::from_random(number)
    }

    fn nodes() -> (Nodes, Clock) {
        (Nodes::new(node(0), "own".into(), "mine".into(), Duration::from_secs(10)), Clock(Instant::now()))
    }

    /// Looks each second, and finds no change.
    fn nothing_changes(nodes: &mut Nodes, clock: &Clock, seconds: RangeInclusive<u64>) {
        seconds.for_each(|second| assert_eq!(nodes.tick(clock.at(second)), [], "{second}"));
    }

    fn heartbeat(number: u64, name: &str) -> NodeMessage {
        NodeMessage::Heartbeat {
            node: node(number),
            name: name.into(),
            version: "1".into(),
            tag: format!("tag{number}").into(),
            sessions: number,
            conversations: 0,
            sent_ms: 0,
        }
    }

    fn bye(number: u64, grace_ms: u64, flushed: bool) -> NodeMessage {
        NodeMessage::Bye { node: node(number), grace_ms, flushed }
    }

    #[test]
    fn a_node_falls_silent_and_is_heard_again() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        assert_eq!(nodes.told(heartbeat(1, "a"), clock.at(1)), [New(node(1))]);
        assert_eq!(nodes.told(heartbeat(1, "a"), clock.at(3)), []);
        nothing_changes(&mut nodes, &clock, 3..=12);
        assert_eq!(nodes.tick(clock.at(13)), [Silent(node(1))]);
        assert_eq!(nodes.tick(clock.at(14)), []);
        assert_eq!(nodes.told(heartbeat(1, "a"), clock.at(15)), [Heard(node(1))]);
        assert_eq!(nodes.tick(clock.at(16)), []);
    }

    #[test]
    fn silence_counts_only_while_the_own_connection_was_up() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        nodes.told(heartbeat(1, "a"), clock.at(1));
        nodes.down();
        assert_eq!(nodes.tick(clock.at(100)), []);
        nodes.up(clock.at(100));
        nothing_changes(&mut nodes, &clock, 100..=109);
        nodes.up(clock.at(109));
        assert_eq!(nodes.tick(clock.at(110)), [Silent(node(1))], "to be up again is nothing new");
    }

    #[test]
    fn a_node_that_stood_still_takes_nobody_for_silent() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        nodes.told(heartbeat(1, "a"), clock.at(1));
        nodes.told(heartbeat(2, "b"), clock.at(1));
        nothing_changes(&mut nodes, &clock, 1..=2);
        // What others have said meanwhile is read only after the first look.
        nothing_changes(&mut nodes, &clock, 60..=60);
        nodes.told(heartbeat(1, "a"), clock.at(60));
        nothing_changes(&mut nodes, &clock, 61..=69);
        nodes.told(heartbeat(1, "a"), clock.at(69));
        assert_eq!(nodes.tick(clock.at(70)), [Silent(node(2))]);
    }

    #[test]
    fn a_node_of_which_only_messages_are_heard_is_watched_too() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        assert_eq!(nodes.sign_of_life(node(1), clock.at(1)), [New(node(1))]);
        assert_eq!(nodes.sign_of_life(node(1), clock.at(5)), []);
        nothing_changes(&mut nodes, &clock, 5..=14);
        assert_eq!(nodes.tick(clock.at(15)), [Silent(node(1))]);
        assert_eq!(nodes.sign_of_life(node(1), clock.at(16)), [Heard(node(1))]);
        assert_eq!(nodes.sign_of_life(node(0), clock.at(16)), [], "this node itself");
        assert_eq!(nodes.peers().count(), 1);
    }

    #[test]
    fn the_users_of_a_node_that_ends_stay_for_its_grace_and_it_has_ended_if_it_has_said_all() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        nodes.told(heartbeat(1, "a"), clock.at(1));
        assert_eq!(nodes.told(bye(1, 5000, false), clock.at(2)), []);
        assert_eq!(nodes.told(heartbeat(1, "a"), clock.at(6)), []);
        assert_eq!(nodes.told(bye(1, 5000, true), clock.at(6)), [], "its grace has begun before");
        assert_eq!(nodes.tick(clock.at(6)), []);
        assert_eq!(nodes.tick(clock.at(7)), [Ended(node(1))]);
        assert_eq!(nodes.told(heartbeat(1, "a"), clock.at(8)), [], "it has said that it ends");
        assert_eq!(nodes.tick(clock.at(9)), []);
        assert_eq!(nodes.told(bye(2, u64::MAX, true), clock.at(8)), [New(node(2))]);
        assert_eq!(nodes.tick(clock.at(8 + 172_799)), [], "it may be silent");
        assert_eq!(nodes.tick(clock.at(8 + 172_800)), [Ended(node(2))], "the grace is bounded");
    }

    #[test]
    fn a_node_that_ends_and_has_not_said_all_has_fallen_silent() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        nodes.told(bye(1, 5000, false), clock.at(1));
        assert_eq!(nodes.tick(clock.at(6)), [Silent(node(1))]);
        nodes.told(bye(2, 60_000, false), clock.at(10));
        nothing_changes(&mut nodes, &clock, 10..=19);
        assert_eq!(nodes.tick(clock.at(20)), [Silent(node(2))], "it has died while it ended");
    }

    #[test]
    fn a_late_message_of_a_node_that_is_gone_is_followed_by_news_of_its_end() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        nodes.told(bye(1, 0, true), clock.at(1));
        nodes.told(bye(2, 0, false), clock.at(1));
        nodes.sign_of_life(node(3), clock.at(1));
        assert_eq!(nodes.tick(clock.at(1)).len(), 2);
        nothing_changes(&mut nodes, &clock, 2..=10);
        assert_eq!(nodes.tick(clock.at(11)), [Silent(node(3))]);
        for (number, told) in [(1, vec![]), (2, vec![]), (3, vec![Heard(node(3))])] {
            assert_eq!(nodes.sign_of_life(node(number), clock.at(12)), told);
        }
        let mut ends = nodes.tick(clock.at(12));
        ends.sort_by_key(|change| *change == Silent(node(2)));
        assert_eq!(ends, [Ended(node(1)), Silent(node(2))]);
        nothing_changes(&mut nodes, &clock, 13..=21);
        assert_eq!(nodes.tick(clock.at(22)), [Silent(node(3))]);
    }

    #[test]
    fn lost_messages_are_doubt() {
        let (mut nodes, clock) = nodes();
        assert_eq!(nodes.told(NodeMessage::Holes { node: node(1) }, clock.at(0)), [New(node(1)), Doubt(node(1))]);
        assert_eq!(nodes.told(NodeMessage::Holes { node: node(0) }, clock.at(0)), []);
    }

    #[test]
    fn two_nodes_of_one_name_are_noticed_once() {
        let (mut nodes, clock) = nodes();
        assert_eq!(nodes.told(heartbeat(1, "own"), clock.at(0)), [New(node(1)), SameName(node(1), "own".into())]);
        assert_eq!(nodes.told(heartbeat(1, "own"), clock.at(2)), []);
        nodes.told(heartbeat(2, "a"), clock.at(0));
        assert_eq!(nodes.told(heartbeat(3, "a"), clock.at(2)), [New(node(3))], "2 may have been started anew as 3");
        assert_eq!(nodes.told(heartbeat(3, "a"), clock.at(4)), []);
        assert_eq!(nodes.told(heartbeat(2, "a"), clock.at(5)), [SameName(node(2), "a".into())]);
        assert_eq!(
            nodes.told(heartbeat(3, "a"), clock.at(6)),
            [SameName(node(3), "a".into())],
            "but it is still heard"
        );
        assert_eq!(nodes.told(heartbeat(4, ""), clock.at(0)), [New(node(4))]);
        assert_eq!(nodes.told(heartbeat(5, ""), clock.at(9)), [New(node(5))], "no name is no name");
    }

    #[test]
    fn two_nodes_with_one_tag_are_noticed_once() {
        let (mut nodes, clock) = nodes();
        let tagged = |number, tag: &str| match heartbeat(number, "") {
            NodeMessage::Heartbeat { node, name, version, sessions, conversations, sent_ms, .. } => {
                NodeMessage::Heartbeat { node, name, version, tag: tag.into(), sessions, conversations, sent_ms }
            }
            other => other,
        };
        let own = [New(node(1)), SameTag(node(1), "mine".into())];
        assert_eq!(nodes.told(tagged(1, "mine"), clock.at(1)), own);
        assert_eq!(nodes.told(tagged(1, "mine"), clock.at(2)), []);
        nodes.told(tagged(2, "abcd"), clock.at(3));
        assert_eq!(nodes.told(tagged(3, "abcd"), clock.at(4)), [New(node(3))], "the other one may have gone");
        nodes.told(tagged(2, "abcd"), clock.at(5));
        assert_eq!(nodes.told(tagged(3, "abcd"), clock.at(6)), [SameTag(node(3), "abcd".into())]);
    }

    #[test]
    fn silent_nodes_are_forgotten_in_the_end_and_all_are_bounded() {
        let (mut nodes, clock) = nodes();
        nodes.up(clock.at(0));
        for number in 0..5000 {
            nodes.sign_of_life(node(number), clock.at(1));
        }
        assert_eq!(nodes.peers().count(), NODES_MAX);
        nothing_changes(&mut nodes, &clock, 1..=10);
        assert_eq!(nodes.tick(clock.at(11)).len(), NODES_MAX);
        nodes.tick(clock.at(3602));
        assert_eq!(nodes.peers().count(), 0);
    }
}
