//! How many sessions each user has. A session that MAX has vouched for holds a place of its user until it is nobody
//! again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::event::Username;

/// The users of a server and their sessions.
#[derive(Debug)]
pub struct Users {
    /// Sessions that one user may have; 0 is no limit.
    sessions_max: usize,
    sessions: Mutex<HashMap<Username, usize>>,
}

/// Who a session is, with its place among the sessions of this user. Clones share the place.
#[derive(Clone, Debug)]
pub struct User {
    name: Username,
    _place: Option<Arc<Place>>,
}

#[derive(Debug)]
struct Place {
    name: Username,
    users: Arc<Users>,
}

impl Users {
    /// Users of whom each may have so many sessions; 0 is no limit.
    pub fn new(sessions_max: usize) -> Arc<Self> {
        Arc::new(Self { sessions_max, sessions: Mutex::default() })
    }

    /// One more session of this user. None where there are as many as there may be.
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
        let place = Arc::new(Place { name: name.clone(), users: self.clone() });
        Some(User { name, _place: Some(place) })
    }
}

impl User {
    /// A user whose sessions nobody counts.
    pub fn uncounted(name: Username) -> Self {
        Self { name, _place: None }
    }

    /// What MAX calls this user.
    pub fn name(&self) -> &Username {
        &self.name
    }
}

impl Drop for Place {
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
    fn a_place_is_shared_by_clones_and_given_back_by_the_last() {
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
    fn no_limit_counts_nobody() {
        let users = Users::new(0);
        let all: Vec<_> = (0..10).map(|_| users.enter(Username::parse("messi").unwrap())).collect();
        assert!(all.iter().all(Option::is_some) && users.sessions.lock().is_empty());
    }
}
