//! The letters of this node to others that wait to be published by one server.

use std::collections::VecDeque;

use super::Shard;
use crate::cluster::letters::{Letter, Unsent};
use crate::cluster::message::NodeId;
use crate::metrics::BusDirection;

/// The letters that may wait to be published.
const LETTERS_MAX: usize = 4096;

/// A letter that waits to be published.
#[derive(Debug)]
pub struct Waiting {
    /// The channel.
    pub channel: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// The position in the queue of the messages that go before it.
    behind: u64,
}

/// The letters that wait, in their order.
#[derive(Debug, Default)]
pub struct Letters {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Letters {
    /// Takes the first letter out, if the messages before this position in the queue are all that are taken.
    pub fn pop(&mut self, front: u64) -> Option<Waiting> {
        let letter = self.waiting.pop_front_if(|letter| letter.behind <= front)?;
        self.bytes -= letter.body.len();
        Some(letter)
    }

    /// Drops all letters.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a letter has no room among those that wait.
    fn is_full_for(&self, body: &[u8], bytes_max: usize) -> bool {
        self.waiting.len() >= LETTERS_MAX || self.bytes + body.len() > bytes_max
    }

    fn push(&mut self, letter: Waiting) {
        self.bytes += letter.body.len();
        self.waiting.push_back(letter);
    }
}

impl Shard {
    /// Queues a letter to another node. It comes there after all messages that wait now.
    ///
    /// # Errors
    /// It is too long, or too many wait.
    pub fn post(&self, to: NodeId, letter: &Letter) -> Result<(), Unsent> {
        let wire = &self.context.wire;
        let body = wire.write_letter(letter).ok_or(Unsent::TooLong)?;
        let mut letters = self.letters.lock();
        if letters.is_full_for(&body, self.context.settings.queue_bytes_max) {
            self.context.count_dropped(BusDirection::Out);
            return Err(Unsent::Away);
        }
        let behind = self.queue.lock().back();
        letters.push(Waiting { channel: wire.letters_to(to), body, behind });
        self.wake.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_letters_that_wait() {
        let letter = |bytes: usize, behind| Waiting { channel: "c".into(), body: vec![0; bytes], behind };
        let mut letters = Letters::default();
        letters.push(letter(6, 1));
        letters.push(letter(3, 2));
        assert!(!letters.is_full_for(&[0], 10) && letters.is_full_for(&[0; 2], 10));
        assert_eq!(letters.pop(0).map(|letter| letter.body.len()), None);
        assert_eq!(letters.pop(1).map(|letter| letter.body.len()), Some(6));
        assert_eq!(letters.pop(1).map(|letter| letter.body.len()), None);
        assert!(!letters.is_full_for(&[0; 7], 10) && letters.is_full_for(&[0; 8], 10));
        letters.clear();
        assert!(!letters.is_full_for(&[0; 10], 10));
        (0..LETTERS_MAX).for_each(|_| letters.push(letter(0, 0)));
        assert!(letters.is_full_for(&[], 10));
    }
}
