//! The messages that were sent to one server and are not yet answered. After a break they are sent again, in their
//! order. Pure.

use std::collections::VecDeque;

use super::queue::Item;

/// Messages that were sent together.
#[derive(Debug)]
struct Batch<T> {
    number: u64,
    items: Vec<Item<T>>,
    /// Whether the server has answered, and has refused these.
    is_refused: bool,
}

/// The unanswered messages of one server.
#[derive(Debug)]
pub struct Inflight<T> {
    batches: VecDeque<Batch<T>>,
    messages: usize,
    bytes: usize,
    next: u64,
}

impl<T> Inflight<T> {
    /// Creates the state in which all is answered.
    pub fn new() -> Self {
        Self { batches: VecDeque::new(), messages: 0, bytes: 0, next: 0 }
    }

    /// Adds messages that are sent now, and returns the number of their batch.
    pub fn add(&mut self, items: Vec<Item<T>>) -> u64 {
        self.next += 1;
        self.count(&items);
        self.batches.push_back(Batch { number: self.next, items, is_refused: false });
        self.next
    }

    /// Takes out the messages of a batch that is answered.
    pub fn answered(&mut self, number: u64) -> Vec<Item<T>> {
        let Some(at) = self.batches.iter().position(|batch| batch.number == number) else { return Vec::new() };
        let items = self.batches.remove(at).map_or_else(Vec::new, |batch| batch.items);
        self.messages -= items.len();
        self.bytes -= bytes(&items);
        items
    }

    /// Puts back the messages of a batch that the server has refused.
    pub fn refused(&mut self, number: u64, items: Vec<Item<T>>) {
        let at = self.batches.partition_point(|batch| batch.number < number);
        self.count(&items);
        self.batches.insert(at, Batch { number, items, is_refused: true });
    }

    /// Whether the server has refused some.
    pub fn has_refused(&self) -> bool {
        self.batches.iter().any(|batch| batch.is_refused)
    }

    /// Whether the server has answered all, if it has not refused them.
    pub fn is_answered(&self) -> bool {
        self.batches.iter().all(|batch| batch.is_refused)
    }

    /// Takes out all messages in the order in which they were sent.
    pub fn take_all(&mut self) -> Vec<Item<T>> {
        (self.messages, self.bytes) = (0, 0);
        self.batches.drain(..).flat_map(|batch| batch.items).collect()
    }

    /// The unanswered messages.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// The batches in which they were sent.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn count(&mut self, items: &[Item<T>]) {
        self.messages += items.len();
        self.bytes += bytes(items);
    }
}

fn bytes<T>(items: &[Item<T>]) -> usize {
    items.iter().map(|item| item.body.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ConversationId;

    fn items(texts: &[&str]) -> Vec<Item<()>> {
        let item = |text: &&str| Item {
            id: ConversationId::from("a"),
            body: text.as_bytes().into(),
            answer: None,
            is_heard_here: false,
        };
        texts.iter().map(item).collect()
    }

    fn texts(items: &[Item<()>]) -> Vec<&str> {
        items.iter().map(|item| std::str::from_utf8(&item.body).unwrap()).collect()
    }

    #[test]
    fn what_is_not_answered_is_sent_again_in_order() {
        let mut inflight = Inflight::new();
        let numbers = [&["a", "b"][..], &["cc"], &["d"]].map(|texts| inflight.add(items(texts)));
        assert_eq!((inflight.messages(), inflight.bytes()), (4, 5));
        assert_eq!(texts(&inflight.answered(numbers[1])), ["cc"]);
        assert_eq!(texts(&inflight.answered(numbers[0])), ["a", "b"]);
        assert!(inflight.answered(numbers[0]).is_empty());
        inflight.refused(numbers[0], items(&["b"]));
        assert_eq!((inflight.messages(), inflight.bytes()), (2, 2));
        assert!(inflight.has_refused() && !inflight.is_answered(), "the third has no answer yet");
        assert_eq!(texts(&inflight.take_all()), ["b", "d"]);
        assert_eq!((inflight.messages(), inflight.bytes()), (0, 0));
    }
}
