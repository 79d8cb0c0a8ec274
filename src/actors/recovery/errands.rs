//! The claims of this node at others. Each waits for letters, by its number.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::cluster::letters::{Letter, Return};
use crate::cluster::message::NodeId;

/// The claims that may be under way.
pub const ERRANDS_MAX: usize = 4096;

/// The letters that may wait for one claim: an answer to the claim, and one to the taking.
const LETTERS_MAX: usize = 2;

/// The claims under way.
#[derive(Debug)]
pub struct Errands {
    node: NodeId,
    waiting: Mutex<(u64, HashMap<u64, mpsc::Sender<Letter>>)>,
}

/// A claim under way. Letters about it are ignored once it is dropped.
#[derive(Debug)]
pub struct Errand {
    /// Its name for other nodes.
    pub of: Return,
    /// The letters about it.
    pub letters: mpsc::Receiver<Letter>,
    errands: Arc<Errands>,
}

impl Errands {
    /// Creates an empty table for this node. The numbers begin with `first`, which others cannot guess.
    pub fn new(node: NodeId, first: u64) -> Arc<Self> {
        Arc::new(Self { node, waiting: Mutex::new((first, HashMap::new())) })
    }

    /// Begins a claim. `None` if too many are under way.
    pub fn begin(self: &Arc<Self>) -> Option<Errand> {
        let mut waiting = self.waiting.lock();
        if waiting.1.len() >= ERRANDS_MAX {
            return None;
        }
        let number = waiting.0;
        waiting.0 = number.wrapping_add(1);
        let (sender, letters) = mpsc::channel(LETTERS_MAX);
        waiting.1.insert(number, sender);
        Some(Errand { of: Return { node: self.node, number }, letters, errands: self.clone() })
    }

    /// Gives a letter to the claim that it is about, if that is under way.
    pub fn give(&self, of: Return, letter: Letter) {
        let sender = (of.node == self.node).then(|| self.waiting.lock().1.get(&of.number).cloned()).flatten();
        if let Some(sender) = sender {
            let _ = sender.try_send(letter);
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let mut waiting = self.errands.waiting.lock();
        waiting.1.remove(&self.of.number);
        if waiting.1.is_empty() {
            waiting.1 = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::letters::Refused;

    #[test]
    fn a_letter_reaches_the_claim_that_it_is_about() {
        let node = NodeId::from_random(1);
        let errands = Errands::new(node, u64::MAX);
        let (mut one, mut two) = (errands.begin().unwrap(), errands.begin().unwrap());
        assert_eq!((one.of.number, two.of.number), (u64::MAX, 0));
        let refusal = |of| Letter::Refusal { of, why: Refused::UnknownPid };
        let foreign = Return { node: NodeId::from_random(2), ..one.of };
        for of in [foreign, two.of, two.of, two.of] {
            errands.give(of, refusal(of));
        }
        assert!(one.letters.try_recv().is_err());
        assert_eq!(two.letters.try_recv(), Ok(refusal(two.of)));
        assert_eq!(two.letters.try_recv(), Ok(refusal(two.of)));
        assert!(two.letters.try_recv().is_err(), "no claim has more");
        let of = two.of;
        drop(two);
        errands.give(of, refusal(of));
        drop(one);
        assert!(errands.waiting.lock().1.is_empty());
    }

    #[test]
    fn claims_under_way_are_bounded() {
        let errands = Errands::new(NodeId::from_random(1), 0);
        let mut all: Vec<_> = std::iter::from_fn(|| errands.begin()).collect();
        assert_eq!(all.len(), ERRANDS_MAX);
        all.pop();
        assert!(errands.begin().is_some());
    }
}
