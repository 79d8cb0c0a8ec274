//! The letters of this node to others that wait to be published by one server.

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
    pub behind: u64,
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
        let bytes: usize = letters.iter().map(|letter| letter.body.len()).sum();
        if letters.len() >= LETTERS_MAX || bytes + body.len() > self.context.settings.queue_bytes_max {
            self.count_dropped(BusDirection::Out);
            return Err(Unsent::Away);
        }
        let behind = self.queue.lock().back();
        letters.push_back(Waiting { channel: wire.letters_to(to), body, behind });
        self.wake.notify_one();
        Ok(())
    }
}
