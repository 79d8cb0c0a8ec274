//! The seats of one session: one for each conversation that it listens to. Pure: the type of a seat is a parameter.

use crate::event::ConversationId;

/// A session's seat in one conversation.
pub trait Seat {
    /// Returns the id of the conversation.
    fn id(&self) -> &ConversationId;
}

/// Seats, sorted by conversation for a fast search among thousands. Each has its index in
/// the order of MAX, the order in which MAX lists the conversations.
#[derive(Debug)]
pub struct Seats<S>(Vec<(S, u32)>);

impl<S> Default for Seats<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Seat> Seats<S> {
    /// Creates the seats from a list in the order of MAX.
    pub fn new(seats: Vec<S>) -> Self {
        let mut held: Vec<_> = seats.into_iter().zip(0..).collect();
        held.sort_unstable_by(|(one, _), (other, _)| one.id().cmp(other.id()));
        Self(held)
    }

    /// Returns the seat in a conversation.
    pub fn get(&self, id: &ConversationId) -> Option<&S> {
        self.find(id).ok().map(|at| &self.0[at].0)
    }

    /// Removes the seat in a conversation and returns it.
    pub fn remove(&mut self, id: &ConversationId) -> Option<S> {
        self.find(id).ok().map(|at| self.0.remove(at).0)
    }

    /// Removes all seats and returns them.
    pub fn take(&mut self) -> Vec<S> {
        std::mem::take(&mut self.0).into_iter().map(|(seat, _)| seat).collect()
    }

    /// Returns the ids of the conversations, in the order of MAX.
    pub fn ids(&self) -> Vec<&ConversationId> {
        let mut held: Vec<_> = self.0.iter().collect();
        held.sort_unstable_by_key(|(_, index)| *index);
        held.into_iter().map(|(held, _)| held.id()).collect()
    }

    /// Returns the seats, sorted by conversation.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.0.iter().map(|(seat, _)| seat)
    }

    fn find(&self, id: &ConversationId) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| held.id().cmp(id))
    }
}
