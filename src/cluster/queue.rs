//! The bounded queue of messages that wait to be published on one server. A message that does not fit leaves a hole:
//! its conversation is noted, and tells its state when there is room. States and ends of conversations always fit, at
//! most one of each for one conversation.

use std::collections::{HashMap, HashSet, VecDeque};

use thiserror::Error;

use crate::event::ConversationId;

/// The conversations with holes that are noted. Beyond it, all conversations of the node count as having one.
const HOLES_MAX: usize = 65_536;

/// The queue of the bus is full.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the queue of the bus is full")]
pub struct Overflow;

/// The way in which a message uses the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The message is dropped if it does not fit. It has a number in the order of its node, so that leaves a hole.
    Numbered,
    /// The message is dropped if it does not fit. It has no number.
    Loose,
    /// The state of a conversation, which always fits.
    State,
    /// The end of a conversation, which always fits.
    Gone,
}

/// A message that waits.
#[derive(Debug)]
pub struct Item<T> {
    /// The conversation.
    pub id: ConversationId,
    /// The message as bytes.
    pub body: Vec<u8>,
    /// The place where the answer of Redis goes.
    pub answer: Option<T>,
    /// Whether this node was subscribed to the channel when the message was sent: somebody then hears it.
    pub is_heard_here: bool,
}

/// The queue of one server.
#[derive(Debug)]
pub struct Queue<T> {
    /// The messages in their order. A message that a newer one has replaced is `None`.
    items: VecDeque<Option<Item<T>>>,
    /// The position of the first of `items`. Positions only grow, but for messages that are put back.
    first: u64,
    messages: usize,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    /// The positions of the states and ends that were taken though the queue was full.
    forced: HashMap<ConversationId, Forced>,
    holes: HashSet<ConversationId>,
    /// The order in which holes were noted. Some have been filled since.
    holes_in_order: VecDeque<ConversationId>,
    holes_max: usize,
    /// Whether there are holes of conversations that are not known: the messages that waited when the last of them came
    /// about, and still do.
    unknown_holes: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Forced {
    state: Option<u64>,
    gone: Option<u64>,
}

impl Forced {
    fn of(&mut self, claim: Claim) -> &mut Option<u64> {
        if claim == Claim::State { &mut self.state } else { &mut self.gone }
    }
}

impl<T> Queue<T> {
    /// Creates an empty queue with these bounds.
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            items: VecDeque::new(),
            // Messages that are put back get lower positions.
            first: u64::MAX / 2,
            messages: 0,
            bytes: 0,
            messages_max,
            bytes_max,
            forced: HashMap::new(),
            holes: HashSet::new(),
            holes_in_order: VecDeque::new(),
            holes_max: HOLES_MAX,
            unknown_holes: None,
        }
    }

    /// Puts a message at the end.
    ///
    /// # Errors
    /// The queue is full, and the message is no state and no end.
    pub fn push(&mut self, claim: Claim, item: Item<T>) -> Result<(), Overflow> {
        let fits = self.messages < self.messages_max && self.bytes + item.body.len() <= self.bytes_max;
        match claim {
            Claim::Numbered if !fits => {
                self.note_hole(&item.id);
                return Err(Overflow);
            }
            Claim::Loose if !fits => return Err(Overflow),
            Claim::State | Claim::Gone => {
                // Its number shows the others that something is missing.
                self.holes.remove(&item.id);
                if !fits {
                    self.force(claim, &item.id);
                }
            }
            Claim::Numbered | Claim::Loose => {}
        }
        self.messages += 1;
        self.bytes += item.body.len();
        self.items.push_back(Some(item));
        Ok(())
    }

    /// Takes the first messages out: at most so many, and no more bytes unless the first message alone has more.
    pub fn take(&mut self, messages: usize, bytes: usize) -> Vec<Item<T>> {
        let mut taken = Vec::new();
        let mut left = bytes;
        while taken.len() < messages {
            match self.items.front() {
                Some(Some(item)) if item.body.len() > left && !taken.is_empty() => break,
                Some(_) => {}
                None => break,
            }
            let position = self.first;
            self.first += 1;
            let Some(item) = self.items.pop_front().flatten() else { continue };
            left = left.saturating_sub(item.body.len());
            self.messages -= 1;
            self.bytes -= item.body.len();
            self.forget_forced(&item.id, position);
            taken.push(item);
        }
        self.unknown_holes = self.unknown_holes.map(|before| before.saturating_sub(taken.len()));
        taken
    }

    /// Puts messages back in front of all others, because it is not known whether they were published.
    pub fn put_back(&mut self, items: Vec<Item<T>>) {
        self.unknown_holes = self.unknown_holes.map(|before| before + items.len());
        for item in items.into_iter().rev() {
            self.messages += 1;
            self.bytes += item.body.len();
            self.first -= 1;
            self.items.push_front(Some(item));
        }
    }

    /// Takes out the messages and holes of the conversations that belong to another server now.
    pub fn take_out(&mut self, is_moved: impl Fn(&ConversationId) -> bool) -> (Vec<Item<T>>, Vec<ConversationId>) {
        let mut taken = Vec::new();
        for place in &mut self.items {
            if let Some(item) = place.take_if(|item| is_moved(&item.id)) {
                self.messages -= 1;
                self.bytes -= item.body.len();
                taken.push(item);
            }
        }
        self.forced.retain(|id, _| !is_moved(id));
        let holes: Vec<_> = self.holes.extract_if(|id| is_moved(id)).collect();
        self.trim();
        (taken, holes)
    }

    /// Puts a message at the end that another server has not published. It has its place even if the queue is full.
    pub fn append(&mut self, item: Item<T>) {
        self.messages += 1;
        self.bytes += item.body.len();
        self.items.push_back(Some(item));
    }

    /// Takes out one conversation that has a hole, if half of the queue is free.
    pub fn take_hole(&mut self) -> Option<ConversationId> {
        if !self.is_half_empty() {
            return None;
        }
        while let Some(id) = self.holes_in_order.pop_front() {
            if self.holes.remove(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Notes that a conversation has a hole.
    pub fn note_hole(&mut self, id: &ConversationId) {
        if self.holes.contains(id) {
            return;
        }
        // Holes that were filled still have their place in the order.
        if self.holes_in_order.len() >= self.holes_max {
            let holes = &self.holes;
            self.holes_in_order.retain(|id| holes.contains(id));
        }
        if self.holes_in_order.len() >= self.holes_max {
            self.note_unknown_holes();
            return;
        }
        self.holes.insert(id.clone());
        self.holes_in_order.push_back(id.clone());
    }

    /// Notes that there are holes of conversations that are not known.
    pub fn note_unknown_holes(&mut self) {
        self.unknown_holes = Some(self.messages);
    }

    /// Whether there are holes of conversations that could not be noted, and it is time to tell: half of the queue is
    /// free, and all messages that waited at the loss were taken. A state among them would seem to be the answer to
    /// the doubt. It is told once.
    pub fn take_unknown_holes(&mut self) -> bool {
        let is_due = self.are_unknown_holes_due();
        if is_due {
            self.unknown_holes = None;
        }
        is_due
    }

    /// Whether there are holes of conversations that could not be noted.
    pub fn has_unknown_holes(&self) -> bool {
        self.unknown_holes.is_some()
    }

    /// Whether messages were lost that the others cannot miss yet.
    pub fn has_holes(&self) -> bool {
        !self.holes.is_empty() || self.has_unknown_holes()
    }

    /// Whether conversations with holes wait to be told that there is room.
    pub fn has_holes_to_tell(&self) -> bool {
        (self.is_half_empty() && !self.holes.is_empty()) || self.are_unknown_holes_due()
    }

    /// Returns the position of the first message that waits.
    pub fn front(&self) -> u64 {
        self.first
    }

    /// Returns the position of the next message that is pushed. If [`front`](Self::front) has come there, all messages
    /// that wait now are taken.
    pub fn back(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// The messages that wait.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    fn are_unknown_holes_due(&self) -> bool {
        self.is_half_empty() && self.unknown_holes.is_some_and(|before| before == 0 || self.messages == 0)
    }

    fn is_half_empty(&self) -> bool {
        self.messages <= self.messages_max / 2 && self.bytes <= self.bytes_max / 2
    }

    /// Makes place for a state or an end at the end of the queue: the older one of its conversation goes.
    fn force(&mut self, claim: Claim, id: &ConversationId) {
        let position = self.first + self.items.len() as u64;
        let older = self.forced.entry(id.clone()).or_default().of(claim).replace(position);
        let Some(place) = older.and_then(|older| older.checked_sub(self.first)) else { return };
        if let Some(item) = self.items.get_mut(place as usize).and_then(Option::take) {
            self.messages -= 1;
            self.bytes -= item.body.len();
        }
        self.trim();
        self.compact();
    }

    /// Closes the gaps at the front, so that replaced messages do not pile up while nothing is taken.
    fn trim(&mut self) {
        while let Some(None) = self.items.front() {
            self.items.pop_front();
            self.first += 1;
        }
    }

    /// Closes the gaps that replaced messages left, when they are more than the messages.
    fn compact(&mut self) {
        if self.items.len() <= 2 * self.messages + 64 {
            return;
        }
        let first = self.first;
        let mut moved = HashMap::new();
        let mut kept = VecDeque::with_capacity(self.messages);
        for (at, item) in std::mem::take(&mut self.items).into_iter().enumerate() {
            if let Some(item) = item {
                moved.insert(first + at as u64, first + kept.len() as u64);
                kept.push_back(Some(item));
            }
        }
        // The message that is being pushed comes next.
        moved.insert(u64::MAX, first + kept.len() as u64);
        let next = moved[&u64::MAX];
        for forced in self.forced.values_mut() {
            for place in [&mut forced.state, &mut forced.gone] {
                *place = place.map(|position| moved.get(&position).copied().unwrap_or(next));
            }
        }
        self.items = kept;
    }

    fn forget_forced(&mut self, id: &ConversationId, position: u64) {
        let Some(forced) = self.forced.get_mut(id) else { return };
        for place in [&mut forced.state, &mut forced.gone] {
            if *place == Some(position) {
                *place = None;
            }
        }
        if forced.state.is_none() && forced.gone.is_none() {
            self.forced.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> ConversationId {
        ConversationId::from(number.to_string().as_str())
    }

    fn item(number: u8, body: &str) -> Item<()> {
        Item { id: id(number), body: body.into(), answer: None, is_heard_here: false }
    }

    fn texts(items: &[Item<()>]) -> Vec<&str> {
        items.iter().map(|item| std::str::from_utf8(&item.body).unwrap()).collect()
    }

    #[test]
    fn what_waits_goes_to_another_server_in_its_order() {
        let (mut one, mut other) = (Queue::new(4, 100), Queue::new(1, 100));
        for (claim, number, body) in [
            (Claim::Numbered, 1, "a"),
            (Claim::Numbered, 2, "b"),
            (Claim::Numbered, 1, "c"),
            (Claim::Loose, 3, "d"),
            (Claim::State, 1, "state"),
        ] {
            one.push(claim, item(number, body)).unwrap();
        }
        one.push(Claim::Numbered, item(1, "hole")).unwrap_err();
        let (items, holes) = one.take_out(|moved| *moved == id(1));
        assert_eq!(holes, [id(1)]);
        assert!(!one.has_holes());
        assert_eq!(one.len(), 2);
        items.into_iter().for_each(|item| other.append(item));
        let bodies = |queue: &mut Queue<()>| {
            let texts = queue.take(9, 100).into_iter().map(|item| String::from_utf8(item.body).unwrap());
            texts.collect::<Vec<_>>()
        };
        assert_eq!(bodies(&mut other), ["a", "c", "state"]);
        assert_eq!(bodies(&mut one), ["b", "d"]);
        assert!(one.is_empty() && other.is_empty());
        assert_eq!((one.bytes, other.bytes), (0, 0));
    }

    #[test]
    fn a_full_queue_drops_what_is_no_state_and_notes_the_hole() {
        let mut queue = Queue::new(2, 100);
        assert_eq!(queue.push(Claim::Numbered, item(1, "a")), Ok(()));
        assert_eq!(queue.push(Claim::Loose, item(2, "b")), Ok(()));
        assert_eq!(queue.push(Claim::Numbered, item(1, "c")), Err(Overflow));
        assert_eq!(queue.push(Claim::Loose, item(3, "d")), Err(Overflow));
        assert_eq!(queue.take_hole(), None, "it is still full");
        assert_eq!(texts(&queue.take(1, 100)), ["a"]);
        assert!(queue.has_holes_to_tell());
        assert_eq!(queue.take_hole(), Some(id(1)));
        assert_eq!(queue.take_hole(), None);
        assert_eq!(texts(&queue.take(9, 100)), ["b"]);
    }

    #[test]
    fn bytes_bound_the_queue_too() {
        let mut queue = Queue::new(100, 10);
        assert_eq!(queue.push(Claim::Numbered, item(1, "123456")), Ok(()));
        assert_eq!(queue.push(Claim::Numbered, item(1, "12345")), Err(Overflow));
        assert_eq!(queue.push(Claim::Numbered, item(1, "1234")), Ok(()));
        assert_eq!(texts(&queue.take(9, 6)), ["123456"], "no more bytes than asked for");
        assert_eq!(texts(&queue.take(9, 1)), ["1234"], "but one message in any case");
    }

    #[test]
    fn of_the_states_beyond_the_bound_the_newest_stays() {
        let mut queue = Queue::new(1, 100);
        queue.push(Claim::State, item(1, "in bounds")).unwrap();
        for state in ["state 1", "state 2"] {
            queue.push(Claim::State, item(1, state)).unwrap();
            queue.push(Claim::State, item(2, state)).unwrap();
        }
        queue.push(Claim::Gone, item(1, "gone 1")).unwrap();
        queue.push(Claim::State, item(1, "state 3")).unwrap();
        queue.push(Claim::Gone, item(1, "gone 2")).unwrap();
        assert_eq!(queue.len(), 4);
        assert_eq!(texts(&queue.take(9, 100)), ["in bounds", "state 2", "state 3", "gone 2"]);
        assert!(queue.forced.is_empty());
    }

    #[test]
    fn a_state_fills_the_hole_of_its_conversation() {
        let mut queue = Queue::new(1, 100);
        queue.push(Claim::Numbered, item(1, "a")).unwrap();
        assert_eq!(queue.push(Claim::Numbered, item(2, "b")), Err(Overflow));
        assert_eq!(queue.push(Claim::Numbered, item(3, "b")), Err(Overflow));
        queue.push(Claim::State, item(2, "c")).unwrap();
        queue.take(9, 100);
        assert_eq!(queue.take_hole(), Some(id(3)));
        assert_eq!(queue.take_hole(), None);
    }

    #[test]
    fn holes_beyond_the_bound_are_told_once_for_all() {
        let mut queue = Queue::new(0, 100);
        queue.holes_max = 2;
        for number in 0..5 {
            assert_eq!(queue.push(Claim::Numbered, item(number, "a")), Err(Overflow));
        }
        assert!(queue.take_unknown_holes());
        assert!(!queue.take_unknown_holes());
        assert_eq!([queue.take_hole(), queue.take_hole(), queue.take_hole()], [Some(id(0)), Some(id(1)), None]);
    }

    #[test]
    fn unknown_holes_are_told_after_all_that_waited_at_the_loss() {
        let mut queue = Queue::new(4, 100);
        queue.holes_max = 0;
        for number in 0..4 {
            queue.push(Claim::Numbered, item(number, "a")).unwrap();
        }
        assert_eq!(queue.push(Claim::Numbered, item(4, "b")), Err(Overflow));
        assert!(queue.has_holes() && queue.has_unknown_holes());
        let sent = queue.take(3, 100);
        queue.push(Claim::Numbered, item(5, "c")).unwrap();
        assert!(!queue.take_unknown_holes() && !queue.has_holes_to_tell(), "one waits that waited then");
        queue.put_back(sent);
        queue.take(3, 100);
        assert!(!queue.take_unknown_holes());
        queue.take(1, 100);
        assert!(queue.has_holes_to_tell() && queue.take_unknown_holes(), "what came later need not be waited for");
        assert!(!queue.has_holes());
        // A message that waited then was replaced.
        let mut queue = Queue::new(1, 100);
        queue.holes_max = 0;
        queue.push(Claim::Numbered, item(0, "a")).unwrap();
        queue.push(Claim::State, item(1, "b")).unwrap();
        queue.push(Claim::Numbered, item(2, "c")).unwrap_err();
        queue.push(Claim::State, item(1, "d")).unwrap();
        assert_eq!(queue.take(9, 100).len(), 2);
        assert!(queue.take_unknown_holes());
    }

    #[test]
    fn many_replaced_messages_take_no_place() {
        let mut queue = Queue::new(1, 1_000_000);
        queue.push(Claim::Numbered, item(0, "first")).unwrap();
        for round in 0..1000 {
            queue.push(Claim::State, item(round as u8 % 3, &round.to_string())).unwrap();
        }
        assert!(queue.items.len() < 100, "{}", queue.items.len());
        assert_eq!(texts(&queue.take(9, 1000)), ["first", "997", "998", "999"]);
    }

    proptest! {
        /// Whatever happens: the order of one conversation stays, the bound holds but for one state and one end of each
        /// conversation, and each dropped message is a hole that is told or filled.
        #[test]
        fn the_order_stays_and_no_hole_is_forgotten(steps in prop::collection::vec((0u8..6, 0u8..3), 1..400)) {
            let (mut queue, mut number, mut taken) = (Queue::new(5, 10_000), 0u32, Vec::new());
            let mut holes = HashSet::new();
            let mut unanswered: Vec<Item<()>> = Vec::new();
            for (step, conversation) in steps {
                number += 1;
                let body = number.to_be_bytes().to_vec();
                let new = || Item { id: id(conversation), body, answer: None, is_heard_here: false };
                match step {
                    0 | 1 => if queue.push(Claim::Numbered, new()).is_err() { holes.insert(conversation); },
                    2 => { queue.push(Claim::State, new()).unwrap(); holes.remove(&conversation); }
                    3 => { queue.push(Claim::Gone, new()).unwrap(); holes.remove(&conversation); }
                    4 => { taken.append(&mut unanswered); unanswered = queue.take(3, 10_000); }
                    _ => queue.put_back(std::mem::take(&mut unanswered)),
                }
                prop_assert!(queue.len() <= 5 + 3 + 2 * 3 + 3);
            }
            taken.append(&mut unanswered);
            taken.append(&mut queue.take(usize::MAX, usize::MAX));
            prop_assert!(queue.is_empty() && queue.bytes == 0 && queue.forced.is_empty());
            for conversation in 0..3 {
                let of_it = taken.iter().filter(|item| item.id == id(conversation));
                let numbers: Vec<_> = of_it.map(|item| &item.body).collect();
                prop_assert!(numbers.is_sorted());
            }
            let told: HashSet<_> = std::iter::from_fn(|| queue.take_hole()).collect();
            prop_assert_eq!(told, holes.into_iter().map(id).collect::<HashSet<_>>());
        }
    }
}
