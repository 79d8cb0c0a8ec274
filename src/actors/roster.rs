//! The roster of living conversations ([`Roster`], in the registry), and a conversation's own part of it ([`Tenure`]).
//! Pure, so that a test can try every interleaving of joins and retirements.
//!
//! Only the registry sends entries to a conversation, and it counts them. A conversation that has been empty for a
//! while asks to retire and says how many entries it has seen. If that is the number sent, the conversation retires. If
//! more were sent, the request is void, and the entry on its way keeps the conversation alive.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::event::ConversationId;

/// A roster with room for this many conversations, or fewer, does not shrink.
const ROOM_MIN: usize = 1024;

/// The living conversations, each with its handle `H`.
#[derive(Clone, Debug)]
pub struct Roster<H> {
    living: HashMap<ConversationId, Life<H>>,
    /// The number of conversations spawned so far.
    incarnations: u64,
}

#[derive(Clone, Debug)]
struct Life<H> {
    handle: H,
    incarnation: u64,
    entries_sent: u64,
}

/// The record that a conversation keeps of its own life: its incarnation, which tells it apart from others with the
/// same id, and the number of entries that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    incarnation: u64,
    entries_seen: u64,
}

impl Tenure {
    /// Returns the number of the life. Of two lives of a conversation the later one has the higher number.
    pub fn life(&self) -> u64 {
        self.incarnation
    }

    /// Counts an entry that has arrived.
    pub fn saw_entry(&mut self) {
        self.entries_seen += 1;
    }
}

impl<H> Default for Roster<H> {
    fn default() -> Self {
        Self { living: HashMap::new(), incarnations: 0 }
    }
}

impl<H> Roster<H> {
    /// Returns the conversation `id`. Spawns it if there is none, or if `is_alive` returns false for the one there is.
    /// The returned id is the roster's own, so that all users of the conversation share one allocation.
    pub fn get_or_spawn(
        &mut self,
        id: &ConversationId,
        is_alive: impl Fn(&H) -> bool,
        spawn: impl FnOnce(Tenure) -> H,
    ) -> (ConversationId, &H) {
        let incarnations = &mut self.incarnations;
        let new_life = || {
            *incarnations += 1;
            let incarnation = *incarnations;
            Life { handle: spawn(Tenure { incarnation, entries_seen: 0 }), incarnation, entries_sent: 0 }
        };
        let entry = self.living.entry(id.clone());
        let id = entry.key().clone();
        let life = match entry {
            Entry::Vacant(vacant) => vacant.insert(new_life()),
            Entry::Occupied(mut life) => {
                if !is_alive(&life.get().handle) {
                    life.insert(new_life());
                }
                life.into_mut()
            }
        };
        (id, &life.handle)
    }

    /// Counts an entry that was sent to the conversation.
    pub fn sent_entry(&mut self, id: &ConversationId) {
        if let Some(life) = self.living.get_mut(id) {
            life.entries_sent += 1;
        }
    }

    /// Removes a conversation that asks to retire. Returns the last handle to it: the conversation ends when this is
    /// dropped. `None` if it may not retire.
    pub fn retire(&mut self, id: &ConversationId, tenure: Tenure) -> Option<H> {
        let life = self.living.get(id)?;
        if life.incarnation != tenure.incarnation || life.entries_sent != tenure.entries_seen {
            return None;
        }
        let handle = self.living.remove(id).map(|life| life.handle);
        // After a storm of conversations the table shrinks.
        if self.living.capacity() > ROOM_MIN && self.living.len() < self.living.capacity() / 4 {
            self.living.shrink_to(self.living.len() * 2);
        }
        handle
    }

    /// Returns the way to a living conversation. `None` if there is no such conversation.
    pub fn get(&self, id: &ConversationId) -> Option<&H> {
        self.living.get(id).map(|life| &life.handle)
    }

    /// Returns the number of living conversations.
    pub fn len(&self) -> usize {
        self.living.len()
    }

    /// Returns whether no conversation lives.
    pub fn is_empty(&self) -> bool {
        self.living.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashSet, VecDeque};

    /// The model of a conversation.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Actor {
        mailbox: VecDeque<ToConversation>,
        members: usize,
        seen: u64,
        incarnation: u64,
        retired: bool,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum ToConversation {
        Enter,
        Leave,
    }

    /// The steps of the model. `Handle` and `HandleRetire` handle the oldest message of a mailbox.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Join,
        Handle(usize),
        Leave(usize),
        Linger(usize),
        HandleRetire,
    }

    #[derive(Clone)]
    struct World {
        roster: Roster<usize>,
        actors: Vec<Actor>,
        retirements: VecDeque<Tenure>,
        joins_left: usize,
        /// The number of memberships that sessions hold, by actor.
        held: Vec<usize>,
        lingers_left: usize,
    }

    impl World {
        fn steps(&self) -> Vec<Step> {
            let mut steps = Vec::new();
            if self.joins_left > 0 {
                steps.push(Step::Join);
            }
            for (at, actor) in self.actors.iter().enumerate() {
                if !actor.mailbox.is_empty() {
                    steps.push(Step::Handle(at));
                }
                if self.held[at] > 0 {
                    steps.push(Step::Leave(at));
                }
                if actor.members == 0 && !actor.retired && self.lingers_left > 0 {
                    steps.push(Step::Linger(at));
                }
            }
            if !self.retirements.is_empty() {
                steps.push(Step::HandleRetire);
            }
            steps
        }

        fn take(&mut self, step: Step) {
            let id = ConversationId::from("c");
            match step {
                Step::Join => {
                    self.joins_left -= 1;
                    let (actors, held) = (&mut self.actors, &mut self.held);
                    let (_, &at) = self.roster.get_or_spawn(
                        &id,
                        |_| true,
                        |tenure| {
                            let (incarnation, mailbox) = (tenure.incarnation, VecDeque::new());
                            actors.push(Actor { mailbox, members: 0, seen: 0, incarnation, retired: false });
                            held.push(0);
                            actors.len() - 1
                        },
                    );
                    self.roster.sent_entry(&id);
                    assert!(!self.actors[at].retired, "a join was sent to a conversation that had gone");
                    self.actors[at].mailbox.push_back(ToConversation::Enter);
                    self.held[at] += 1;
                }
                Step::Handle(at) => {
                    let actor = &mut self.actors[at];
                    match actor.mailbox.pop_front() {
                        Some(ToConversation::Enter) => {
                            actor.seen += 1;
                            actor.members += 1;
                            assert!(!actor.retired, "a join arrived at a conversation that had gone");
                        }
                        Some(ToConversation::Leave) => actor.members -= 1,
                        None => {}
                    }
                }
                Step::Leave(at) => {
                    self.held[at] -= 1;
                    self.actors[at].mailbox.push_back(ToConversation::Leave);
                }
                Step::Linger(at) => {
                    self.lingers_left -= 1;
                    let Actor { incarnation, seen, .. } = self.actors[at];
                    self.retirements.push_back(Tenure { incarnation, entries_seen: seen });
                }
                Step::HandleRetire => {
                    let tenure = self.retirements.pop_front().unwrap();
                    if let Some(at) = self.roster.retire(&id, tenure) {
                        assert_eq!(self.held[at], 0, "a conversation went while somebody held it");
                        assert!(!self.actors[at].mailbox.contains(&ToConversation::Enter), "a join was lost");
                        self.actors[at].retired = true;
                    }
                }
            }
        }

        fn fingerprint(&self) -> String {
            let retirements: Vec<_> = self.retirements.iter().map(|t| (t.incarnation, t.entries_seen)).collect();
            let living = self.roster.living.values().map(|life| (life.incarnation, life.entries_sent)).next();
            format!(
                "{:?} {retirements:?} {living:?} {} {:?} {}",
                self.actors, self.joins_left, self.held, self.lingers_left
            )
        }
    }

    /// Tries every order of three joins, their departures, and four ends of a linger time. Whenever nothing is under
    /// way, every session that has joined either is a member of a living conversation or has left.
    #[test]
    fn no_interleaving_loses_a_join() {
        let mut seen = HashSet::new();
        let mut ends = 0;
        let start = World {
            roster: Roster::default(),
            actors: Vec::new(),
            retirements: VecDeque::new(),
            joins_left: 3,
            held: Vec::new(),
            lingers_left: 4,
        };
        let mut open = vec![start];
        while let Some(world) = open.pop() {
            if !seen.insert(world.fingerprint()) {
                continue;
            }
            let quiet = world.retirements.is_empty() && world.actors.iter().all(|actor| actor.mailbox.is_empty());
            if quiet {
                ends += 1;
                for (at, actor) in world.actors.iter().enumerate() {
                    assert_eq!(actor.members, world.held[at], "a ghost, or a lost join");
                }
            }
            for step in world.steps() {
                let mut next = world.clone();
                next.take(step);
                open.push(next);
            }
        }
        assert!(ends > 100 && seen.len() > 1000, "the model is not trivial: {ends} of {}", seen.len());
    }

    #[test]
    fn a_dead_conversation_is_replaced_and_its_late_request_is_void() {
        let id = ConversationId::from("c");
        let mut roster = Roster::default();
        let mut first = None;
        roster.get_or_spawn(&id, |_| true, |tenure| first.insert(tenure).incarnation);
        let (_, &second) = roster.get_or_spawn(&id, |_| false, |tenure| tenure.incarnation);
        assert_ne!(first.unwrap().incarnation, second);
        assert_eq!(roster.retire(&id, first.unwrap()), None);
        assert_eq!(roster.len(), 1);
    }
}
