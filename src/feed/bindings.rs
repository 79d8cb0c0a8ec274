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

/// The longest time in which the server has to answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(15);

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
    /// The questions, each with its deadline.
    under_way: VecDeque<(Instant, Change)>,
    /// The conversations that were wanted when the connection was made, and whose exchanges are not bound yet.
    awaited: HashSet<ConversationId>,
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
            self.awaited.remove(id);
            self.look_at(id.clone());
        }
    }

    /// Forgets what was bound: there is no connection any more.
    pub fn disconnected(&mut self) {
        self.bound.clear();
        self.under_way.clear();
        self.awaited.clear();
        self.missing.clear();
        (self.todo, self.queued) = (self.wanted.keys().cloned().collect(), self.wanted.keys().cloned().collect());
    }

    /// Awaits all that is wanted now: the connection is made. What is wanted later is not awaited, or those who join
    /// all the time would keep the feed from being up.
    pub fn connected(&mut self) {
        self.awaited = self.wanted.keys().cloned().collect();
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
            let is_under_way = self.under_way.iter().any(|(_, change)| change.id == id);
            if binds != self.bound.contains(&id) && !is_under_way {
                let change = Change { id, binds };
                self.under_way.push_back((now + ANSWER_MAX, change.clone()));
                return Some(change);
            }
        }
        None
    }

    /// Takes the answer to the oldest question. Returns the conversation if its exchange is bound now and wanted.
    pub fn confirmed(&mut self) -> Option<ConversationId> {
        let (_, Change { id, binds }) = self.under_way.pop_front()?;
        if binds {
            self.awaited.remove(&id);
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
        let change = self.under_way.pop_front().map(|(_, change)| change);
        let void: Vec<_> = self.under_way.drain(..).collect();
        void.into_iter().for_each(|(_, change)| self.look_at(change.id));
        if let Some(Change { id, binds }) = &change {
            self.bound.remove(id);
            if *binds {
                self.awaited.remove(id);
                self.missing.push_back((now + RETRY_AFTER, id.clone()));
            } else if self.wanted.contains_key(id) {
                self.look_at(id.clone());
            }
        }
        change
    }

    /// Whether all that was wanted when the connection was made is bound, but for exchanges that are not there.
    pub fn is_complete(&self) -> bool {
        self.awaited.is_empty()
    }

    /// The moment by which the oldest question has to be answered. `None`: none is under way.
    pub fn overdue_at(&self) -> Option<Instant> {
        self.under_way.front().map(|(until, _)| *until)
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

    /// Whether there is nothing to do before an exchange is tried again.
    fn is_idle(bindings: &Bindings) -> bool {
        bindings.todo.is_empty() && bindings.under_way.is_empty()
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
        assert!(!is_idle(&bindings));
        assert_eq!(bindings.next(now), Some(Change { id: id("b"), binds: false }));
        assert_eq!(bindings.confirmed(), None);
        assert!(is_idle(&bindings) && bindings.bound == HashSet::from([id("a")]));
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
        assert!(is_idle(&bindings));
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

    /// Members who join all the time do not keep the feed from being up.
    #[test]
    fn all_is_complete_when_what_was_wanted_at_the_connect_is_bound_missing_or_given_up() {
        let (mut bindings, now) = (Bindings::default(), Instant::now());
        for name in ["a", "b", "c"] {
            bindings.attach(&id(name), 1);
        }
        bindings.connected();
        bindings.attach(&id("d"), 1);
        assert_eq!([bindings.next(now), bindings.next(now)], [bind("a"), bind("b")]);
        bindings.confirmed();
        bindings.refused(now);
        assert!(!bindings.is_complete(), "c is not bound");
        bindings.attach(&id("e"), 1);
        bindings.detach(&id("c"), 1);
        assert!(bindings.is_complete() && !is_idle(&bindings));
        bindings.disconnected();
        bindings.connected();
        for late in 0..200 {
            bindings.attach(&id(&late.to_string()), 1);
            bindings.next(now);
            bindings.confirmed();
        }
        assert!(bindings.is_complete() && !is_idle(&bindings));
    }

    #[test]
    fn each_answer_has_a_deadline() {
        let (mut bindings, now) = (Bindings::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(bindings.overdue_at(), None);
        for (name, seconds) in [("a", 0), ("b", 1), ("c", 2)] {
            bindings.attach(&id(name), 1);
            bindings.next(now + seconds * second);
        }
        assert_eq!(bindings.overdue_at(), Some(now + ANSWER_MAX));
        bindings.confirmed();
        assert_eq!(bindings.overdue_at(), Some(now + second + ANSWER_MAX));
        bindings.refused(now);
        assert_eq!(bindings.overdue_at(), None, "what was void is asked again");
        assert_eq!(bindings.next(now + 5 * second), bind("c"));
        assert_eq!(bindings.overdue_at(), Some(now + 5 * second + ANSWER_MAX));
        bindings.disconnected();
        assert_eq!(bindings.overdue_at(), None);
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
            while !is_idle(&bindings) || bindings.wake_at().is_some() {
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
