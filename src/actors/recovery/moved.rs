//! The sessions that have moved from this node to others, because their clients have come back there. A pid begins with
//! the tag of the node that has drawn it, to which it leads other nodes; from there a claim is sent on. Pure.

use std::collections::{HashMap, VecDeque};

use crate::cluster::message::NodeId;

/// The sessions that are remembered. A client whose session is forgotten begins anew when it comes to a third node.
pub const MOVED_MAX: usize = 32_768;

/// The nodes to which sessions have moved, by their keys.
#[derive(Debug, Default)]
pub struct Moved {
    nodes: HashMap<u128, NodeId>,
    /// In the order in which they have moved. A session that came back is there still.
    order: VecDeque<u128>,
}

impl Moved {
    /// Notes that a session has moved.
    pub fn note(&mut self, key: u128, to: NodeId) {
        if self.nodes.insert(key, to).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > MOVED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.nodes.remove(&oldest);
            }
        }
    }

    /// Notes that a session is here again.
    pub fn forget(&mut self, key: u128) {
        if self.nodes.remove(&key).is_some() {
            self.order.retain(|other| *other != key);
        }
    }

    /// Returns the node to which a session has moved.
    pub fn get(&self, key: u128) -> Option<NodeId> {
        self.nodes.get(&key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_moves_are_remembered_until_the_sessions_come_back() {
        let (mut moved, node) = (Moved::default(), NodeId::from_random);
        for key in 0..MOVED_MAX as u128 + 2 {
            moved.note(key, node(1));
        }
        moved.note(7, node(2));
        assert_eq!([0, 1, 2, 7].map(|key| moved.get(key)), [None, None, Some(node(1)), Some(node(2))]);
        moved.forget(7);
        moved.forget(7);
        assert_eq!((moved.get(7), moved.nodes.len(), moved.order.len()), (None, MOVED_MAX - 1, MOVED_MAX - 1));
    }
}
