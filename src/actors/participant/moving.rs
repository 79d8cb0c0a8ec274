//! A participant whose session moves from one node to another: what it gives away there, and how it goes on here.

use super::super::seats::{Seat, Seats};
use super::{Call, Calling, Joined, Participant, Port};
use crate::event::{Code, ConversationId, Username};

/// What a participant has, apart from its token, which stays with its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongings {
    /// Its user.
    pub username: Username,
    /// The conversations of its seats, in the order of MAX.
    pub conversations: Vec<ConversationId>,
}

impl<S: Seat> Participant<S> {
    /// Returns whether the client has joined.
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Returns what the participant has. `None` while requests of its client or a doubt are under way, and if it has
    /// not joined.
    pub fn belongings(&self) -> Option<Belongings> {
        let user = self.user.as_ref().filter(|_| self.work.is_none())?;
        let conversations = self.seats.ids().into_iter().cloned().collect();
        Some(Belongings { username: user.name().clone(), conversations })
    }

    /// Returns the seats, in no particular order.
    pub fn seats(&self) -> impl Iterator<Item = &S> {
        self.seats.iter()
    }

    /// Goes on with what the session has had on another node: enters the conversations. The participant is new, and
    /// takes no events before [`Self::is_returning`] is false.
    ///
    /// # Errors
    /// The registry has too much to do.
    pub fn come_back(&mut self, belongings: Belongings, port: &mut impl Port<Seat = S>) -> Result<(), Code> {
        let Belongings { username, conversations } = belongings;
        let (auth, moved) = (self.auth.clone(), Some(conversations));
        port.call(Call { enters: true, username: username.clone(), auth, user: None, moved })?;
        self.claim = Some(username);
        self.work().call = Some(Calling::Return);
        Ok(())
    }

    /// Returns whether the participant is still entering the conversations. If it has no user afterwards, it could not
    /// enter all of them.
    pub fn is_returning(&self) -> bool {
        self.work.as_ref().is_some_and(|work| matches!(work.call, Some(Calling::Return)))
    }

    pub(super) fn returned(&mut self, answer: Result<Joined<S>, Code>) {
        if let Ok(Joined { user, seats }) = answer {
            (self.user, self.seats) = (Some(user), Seats::new(seats));
        }
    }
}
