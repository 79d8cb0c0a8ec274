//! The number of sessions of each user. A session that MAX has accepted counts until it gives up its [`User`].

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::event::Username;

/// The users of a server and their sessions.
#[derive(Debug)]
pub struct Users {
    /// Sessions that one user may have; 0 means no limit.
    sessions_max: usize,
    sessions: Mutex<HashMap<Username, usize>>,
}

/// The user of a session. It counts as one session of this user until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct User {
    name: Username,
    _counted: Option<Arc<Counted>>,
}

#[derive(Debug)]
struct Counted {
    name: Username,
    users: Arc<Users>,
}

impl Users {
    /// Allows each user `sessions_max` sessions; 0 means no limit.
    pub fn new(sessions_max: usize) -> Arc<Self> {
        Arc::new(Self { sessions_max, sessions: Mutex::default() })
    }

    /// Counts one more session of this user. `None` if the user has as many as it may have.
    pub fn enter(self: &Arc<Self>, name: Username) -> Option<User> {
        if self.sessions_max == 0 {
            return Some(User::uncounted(name));
        }
        let mut sessions = self.sessions.lock();
        let count = sessions.entry(name.clone()).or_default();
        if *count >= self.sessions_max {
            return None;
        }
        *count += 1;
        drop(sessions);
        let counted = Arc::new(Counted { name: name.clone(), users: self.clone() });
        Some(User { name, _counted: Some(counted) })
    }
}

impl User {
    /// Creates a user whose sessions are not counted.
    pub fn uncounted(name: Username) -> Self {
        Self { name, _counted: None }
    }

    /// Returns the username, as MAX gives it.
    pub fn name(&self) -> &Username {
        &self.name
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut sessions = self.users.sessions.lock();
        if let Some(count) = sessions.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_as_one_session_until_the_last_is_dropped() {
        let users = Users::new(2);
        let messi = || Username::parse("messi").unwrap();
        let (first, second) = (users.enter(messi()).unwrap(), users.enter(messi()).unwrap());
        assert!(users.enter(messi()).is_none());
        assert!(users.enter(Username::parse("xavi").unwrap()).is_some());
        let clone = first.clone();
        drop(first);
        assert!(users.enter(messi()).is_none());
        drop(clone);
        let third = users.enter(messi()).unwrap();
        drop((second, third));
        assert!(users.sessions.lock().is_empty());
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let users = Users::new(0);
        let all: Vec<_> = (0..10).map(|_| users.enter(Username::parse("messi").unwrap())).collect();
        assert!(all.iter().all(Option::is_some) && users.sessions.lock().is_empty());
    }
}
