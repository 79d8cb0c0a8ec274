//! The conversations that one session listens to. Pure: `S` is whatever stands for a place in one.

use crate::event::ConversationId;

/// A place in one conversation.
pub trait Seat {
    /// Which conversation.
    fn id(&self) -> &ConversationId;
}

/// Seats, each with its place in the order in which MAX gave them; sorted by id, because there may be one or thousands.
#[derive(Debug)]
pub struct Seats<S>(Vec<(S, u32)>);

impl<S> Default for Seats<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Seat> Seats<S> {
    /// Seats in MAX's order.
    pub fn new(seats: Vec<S>) -> Self {
        let mut held: Vec<_> = seats.into_iter().zip(0..).collect();
        held.sort_unstable_by(|(one, _), (other, _)| one.id().cmp(other.id()));
        Self(held)
    }

    /// The seat in a conversation.
    pub fn get(&self, id: &ConversationId) -> Option<&S> {
        self.find(id).ok().map(|at| &self.0[at].0)
    }

    /// Takes the seat in a conversation out.
    pub fn remove(&mut self, id: &ConversationId) -> Option<S> {
        self.find(id).ok().map(|at| self.0.remove(at).0)
    }

    /// Takes all seats out.
    pub fn take(&mut self) -> Vec<S> {
        std::mem::take(&mut self.0).into_iter().map(|(seat, _)| seat).collect()
    }

    /// Which conversations they are in, in MAX's order.
    pub fn ids(&self) -> Vec<&ConversationId> {
        let mut held: Vec<_> = self.0.iter().collect();
        held.sort_unstable_by_key(|(_, place)| *place);
        held.into_iter().map(|(held, _)| held.id()).collect()
    }

    fn find(&self, id: &ConversationId) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| held.id().cmp(id))
    }
}
