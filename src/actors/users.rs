//! The user of a session. The board counts the sessions of each user, from the acceptance by MAX until the session
//! gives up its [`User`].

use std::sync::Arc;

use crate::board::sessions::SessionBoard;
use crate::event::{SessionId, Username};

/// The users of a server.
#[derive(Clone, Debug)]
pub struct Users {
    /// Sessions that one user may have; 0 means no limit.
    sessions_max: usize,
    board: Arc<SessionBoard>,
}

/// The user of a session. The session counts as one of this user until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct User {
    name: Username,
    _noted: Option<Arc<Noted>>,
}

#[derive(Debug)]
struct Noted {
    name: Username,
    session: SessionId,
    board: Arc<SessionBoard>,
}

impl Users {
    /// Allows each user `sessions_max` sessions; 0 means no limit.
    pub fn new(sessions_max: usize, board: Arc<SessionBoard>) -> Self {
        Self { sessions_max, board }
    }

    /// Counts a session as one of this user. `None` if the user has as many as it may have.
    pub fn enter(&self, name: Username, session: SessionId) -> Option<User> {
        self.board.note(&name, session, self.sessions_max).then(|| {
            let noted = Noted { name: name.clone(), session, board: self.board.clone() };
            User { name, _noted: Some(Arc::new(noted)) }
        })
    }
}

impl User {
    /// Creates a user that the board does not know.
    #[cfg(test)]
    pub fn unnoted(name: Username) -> Self {
        Self { name, _noted: None }
    }

    /// Returns the username, as MAX gives it.
    pub fn name(&self) -> &Username {
        &self.name
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.board.forget(&self.name, self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn clones_count_as_one_session_until_the_last_is_dropped() {
        let users = Users::new(2, SessionBoard::new(Instant::now()));
        let messi = || Username::parse("messi").unwrap();
        let enter = |session| users.enter(messi(), SessionId(session));
        let (first, second) = (enter(1).unwrap(), enter(2).unwrap());
        assert!(enter(3).is_none());
        assert!(users.enter(Username::parse("xavi").unwrap(), SessionId(3)).is_some());
        let clone = first.clone();
        drop(first);
        assert!(enter(3).is_none());
        drop(clone);
        let third = enter(3).unwrap();
        drop((second, third));
        assert!(enter(4).is_some() && enter(5).is_some());
    }

    #[test]
    fn without_a_limit_everybody_is_let_in() {
        let users = Users::new(0, SessionBoard::new(Instant::now()));
        let messi = |session| users.enter(Username::parse("messi").unwrap(), SessionId(session));
        assert!((0..10).map(messi).all(|user| user.is_some()));
    }
}
