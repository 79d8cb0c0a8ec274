//! The exchanges of conversations that live here, where each conversation of MAX has its own: which are wanted, which
//! are bound, and what is under way. The server answers in the order in which it was asked. Pure: the time is an
//! argument.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::event::ConversationId;

/// The questions that may be under way.
const UNDER_WAY_MAX: usize = 64;

/// The time after which an exchange that was not there is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Longest name of an exchange.
const NAME_BYTES_MAX: usize = 255;

/// A change that the server is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The conversation.
    pub id: ConversationId,
    /// Whether its exchange is bound. If not, the binding is taken back.
    pub binds: bool,
}

/// The bindings of the conversations.
#[derive(Debug, Default)]
pub struct Bindings {
    /// The conversations that live here, each with the number of its life.
    wanted: HashMap<ConversationId, u64>,
    bound: HashSet<ConversationId>,
    /// The conversations for which something may have to be done. Each is there once.
    todo: VecDeque<ConversationId>,
    queued: HashSet<ConversationId>,
    under_way: VecDeque<Change>,
    /// The exchanges that were not there, in the order in which they are tried again.
    missing: VecDeque<(Instant, ConversationId)>,
}

impl Bindings {
    /// Wants the exchange of a conversation. A life with a lower number than the present one is ignored.
    pub fn attach(&mut self, id: &ConversationId, life: u64) {
        if id.as_str().len() <= NAME_BYTES_MAX {
            let present = self.wanted.entry(id.clone()).or_insert(life);
            *present = life.max(*present);
            self.look_at(id.clone());
        }
    }

    /// Gives the exchange of a conversation up, if this life has it.
    pub fn detach(&mut self, id: &ConversationId, life: u64) {
        if self.wanted.get(id) == Some(&life) {
            self.wanted.remove(id);
            self.look_at(id.clone());
        }
    }

    /// Forgets what was bound: the connection is new, or there is none.
    pub fn disconnected(&mut self) {
        self.bound.clear();
        self.under_way.clear();
        self.missing.clear();
        (self.todo, self.queued) = (self.wanted.keys().cloned().collect(), self.wanted.keys().cloned().collect());
    }

    /// Returns the next change to ask for. `None` if there is none, or if enough are under way.
    pub fn next(&mut self, now: Instant) -> Option<Change> {
        while self.missing.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = self.missing.pop_front()
        {
            self.look_at(id);
        }
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(id) = self.todo.pop_front()
        {
            self.queued.remove(&id);
            let binds = self.wanted.contains_key(&id);
            let is_under_way = self.under_way.iter().any(|change| change.id == id);
            if binds != self.bound.contains(&id) && !is_under_way {
                let change = Change { id, binds };
                self.under_way.push_back(change.clone());
                return Some(change);
            }
        }
        None
    }

    /// Takes the answer to the oldest question. Returns the conversation if its exchange is bound now and wanted.
    pub fn confirmed(&mut self) -> Option<ConversationId> {
        let Change { id, binds } = self.under_way.pop_front()?;
        if binds {
            self.bound.insert(id.clone());
        } else {
            self.bound.remove(&id);
        }
        let is_wanted = self.wanted.contains_key(&id);
        if is_wanted != binds {
            self.look_at(id.clone());
        }
        (binds && is_wanted).then_some(id)
    }

    /// Takes the refusal of the oldest question, by which all later ones are void. Returns the change.
    pub fn refused(&mut self, now: Instant) -> Option<Change> {
        let change = self.under_way.pop_front();
        let void: Vec<_> = self.under_way.drain(..).collect();
        void.into_iter().for_each(|change| self.look_at(change.id));
        if let Some(Change { id, binds }) = &change {
            self.bound.remove(id);
            if *binds {
                self.missing.push_back((now + RETRY_AFTER, id.clone()));
            } else if self.wanted.contains_key(id) {
                self.look_at(id.clone());
            }
        }
        change
    }

    /// Whether all that is wanted is bound, but for exchanges that are not there.
    pub fn is_complete(&self) -> bool {
        self.todo.is_empty() && self.under_way.is_empty()
    }

    /// The moment at which an exchange is tried again.
    pub fn wake_at(&self) -> Option<Instant> {
        self.missing.front().map(|(at, _)| *at)
    }

    fn look_at(&mut self, id: ConversationId) {
        if self.queued.insert(id.clone()) {
            self.todo.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> ConversationId {
        ConversationId::from(name)
    }

    fn bind(name: &str) -> Option<Change> {
        Some(Change { id: id(name), binds: true })
    }

    #[test]
    fn exchanges_are_bound_and_given_up_in_order() {
        let (mut bindings, now) = (Bindings::default(), Instant::now());
        bindings.attach(&id("a"), 1);
        bindings.attach(&id("b"), 1);
        bindings.attach(&id("a"), 2);
        assert_eq!([bindings.next(now), bindings.next(now), bindings.next(now)], [bind("a"), bind("b"), None]);
        bindings.detach(&id("a"), 1);
        assert_eq!(bindings.confirmed(), Some(id("a")), "another life wants it");
        bindings.detach(&id("b"), 1);
        assert_eq!(bindings.next(now), None, "it is under way");
        assert_eq!(bindings.confirmed(), None);
        assert!(!bindings.is_complete());
        assert_eq!(bindings.next(now), Some(Change { id: id("b"), binds: false }));
        assert_eq!(bindings.confirmed(), None);
        assert!(bindings.is_complete() && bindings.bound == HashSet::from([id("a")]));
    }

    #[test]
    fn a_refusal_voids_what_was_asked_after_it() {
        let (mut bindings, now) = (Bindings::default(), Instant::now());
        for name in ["a", "b", "c"] {
            bindings.attach(&id(name), 1);
            bindings.next(now);
        }
        assert_eq!(bindings.refused(now), bind("a"));
        assert_eq!([bindings.next(now), bindings.next(now), bindings.next(now)], [bind("b"), bind("c"), None]);
        assert_eq!([bindings.confirmed(), bindings.confirmed()], [Some(id("b")), Some(id("c"))]);
        assert!(bindings.is_complete());
        let later = bindings.wake_at().unwrap();
        assert_eq!(bindings.next(later), bind("a"));
    }

    #[test]
    fn an_exchange_that_is_wanted_again_is_bound_although_its_end_was_refused() {
        let (mut bindings, now) = (Bindings::default(), Instant::now());
        bindings.attach(&id("a"), 1);
        assert_eq!((bindings.next(now), bindings.confirmed()), (bind("a"), Some(id("a"))));
        bindings.detach(&id("a"), 1);
        assert_eq!(bindings.next(now), Some(Change { id: id("a"), binds: false }));
        bindings.attach(&id("a"), 2);
        assert_eq!(bindings.next(now), None, "its end is under way");
        bindings.refused(now);
        assert_eq!(bindings.next(now), bind("a"));
    }

    #[test]
    fn few_questions_are_under_way_and_a_new_connection_asks_all_of_them() {
        let (mut bindings, now) = (Bindings::default(), Instant::now());
        for number in 0..200 {
            bindings.attach(&id(&number.to_string()), 1);
        }
        bindings.attach(&id(&"x".repeat(256)), 1);
        for _ in 0..2 {
            assert_eq!(std::iter::from_fn(|| bindings.next(now)).count(), UNDER_WAY_MAX);
            let mut bound = 0;
            while bindings.confirmed().is_some() {
                bound += 1;
                bindings.next(now);
            }
            assert_eq!((bound, bindings.bound.len()), (200, 200));
            bindings.disconnected();
            assert!(bindings.bound.is_empty());
        }
    }

    proptest! {
        /// Whatever happens, in the end exactly the wanted exchanges are bound.
        #[test]
        fn in_the_end_what_is_wanted_is_bound(steps in proptest::collection::vec((0..6_u8, 0..4_u8), 0..120)) {
            let (mut bindings, now) = (Bindings::default(), Instant::now());
            let (mut lives, mut server, mut asked) = (HashMap::new(), HashSet::new(), VecDeque::new());
            let mut life = 0;
            for (step, which) in steps {
                let id = id(&which.to_string());
                match step {
                    0 => {
                        life += 1;
                        bindings.attach(&id, life);
                        lives.insert(id, life);
                    }
                    1 => {
                        if let Some(life) = lives.remove(&id) {
                            bindings.detach(&id, life);
                        }
                    }
                    2 => asked.extend(bindings.next(now)),
                    4 => {
                        asked.clear();
                        server.clear();
                        bindings.disconnected();
                    }
                    // A server without the exchange refuses to bind it, and no more.
                    5 if asked.front().is_some_and(|change: &Change| change.binds) => {
                        asked.clear();
                        bindings.refused(now);
                    }
                    _ => {
                        if let Some(Change { id, binds }) = asked.pop_front() {
                            if binds { server.insert(id) } else { server.remove(&id) };
                            bindings.confirmed();
                        }
                    }
                }
            }
            let later = now + RETRY_AFTER;
            while !bindings.is_complete() || bindings.wake_at().is_some() {
                asked.extend(bindings.next(later));
                while let Some(Change { id, binds }) = asked.pop_front() {
                    if binds { server.insert(id) } else { server.remove(&id) };
                    bindings.confirmed();
                }
            }
            prop_assert_eq!(server, lives.into_keys().collect::<HashSet<_>>());
        }
    }
}
