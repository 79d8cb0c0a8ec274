//! The ids of the messages that a conversation has told lately. The same message often comes twice: in the `talk` of a
//! client and in an announcement of MAX.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::cluster::message::NodeId;
use crate::event::{Scalar, Talk};

/// The ids of messages that were told lately.
#[derive(Debug)]
pub struct RecentIds {
    /// Keyed at random, so that nobody can send two ids with the same hash.
    hasher: RandomState,
    since: Instant,
    /// The oldest is in front.
    ids: VecDeque<Entry>,
}

/// An id that was told.
#[derive(Debug)]
struct Entry {
    hash: u64,
    /// The time in seconds since the first id.
    at: u32,
}

impl RecentIds {
    /// The number of ids that are remembered.
    const IDS_MAX: usize = 32;

    /// How long an id is remembered at least, in seconds.
    const AGE_S_MAX: u32 = 60;

    /// Creates a memory without ids.
    pub fn new(now: Instant) -> Self {
        Self { hasher: RandomState::new(), since: now, ids: VecDeque::new() }
    }

    /// Notes the message of a talk, and returns whether it was not known. A talk without an id is never known.
    pub fn note(&mut self, talk: &Talk, now: Instant) -> bool {
        let Some(id) = message_id(talk) else { return true };
        self.add(self.hasher.hash_one(id), now)
    }

    /// Notes an update that has no number in the order of its node but a life of its own, and returns whether it was
    /// not known. A node sends it once more if its connection broke before the first one was answered.
    pub fn note_life(&mut self, node: NodeId, life: u64, now: Instant) -> bool {
        self.add(self.hasher.hash_one((node, life)), now)
    }

    fn add(&mut self, hash: u64, now: Instant) -> bool {
        let at = u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        while self.ids.front().is_some_and(|entry| at - entry.at.min(at) > Self::AGE_S_MAX) {
            self.ids.pop_front();
        }
        if self.ids.iter().any(|entry| entry.hash == hash) {
            return false;
        }
        if self.ids.len() == Self::IDS_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(Entry { hash, at });
        true
    }

    /// Forgets the message of a talk.
    pub fn forget(&mut self, talk: &Talk) {
        if let Some(id) = message_id(talk) {
            let hash = self.hasher.hash_one(id);
            self.ids.retain(|entry| entry.hash != hash);
        }
    }
}

/// Returns the id of the message that a talk is about. Literals that stand for no id are none, and a number is equal
/// to its digits in a string.
pub(super) fn message_id(talk: &Talk) -> Option<&str> {
    match talk.message_id.as_ref()? {
        Scalar::Literal(text) => Some(text.as_ref()).filter(|text| !matches!(*text, "null" | "true" | "false")),
        Scalar::Text(text) => Some(text.as_ref()).filter(|text| !text.is_empty()),
    }
}
