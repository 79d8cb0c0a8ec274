//! The sessions of each user.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;

use parking_lot::Mutex;

use crate::event::{SessionId, Username};

/// Shards of the table. Each join locks one of them.
const SHARDS: usize = 16;

/// The sessions of each user, ordered.
#[derive(Debug, Default)]
pub struct Users {
    /// How often each pair was noted.
    shards: [Mutex<BTreeMap<(Username, SessionId), u32>>; SHARDS],
    hasher: RandomState,
}

impl Users {
    /// Notes a session of a user, unless the user has `sessions_max` other ones; 0 means no limit. Returns whether it
    /// was noted.
    pub fn note(&self, user: &Username, session: SessionId, sessions_max: usize) -> bool {
        let mut sessions = self.shard(user).lock();
        let pair = (user.clone(), session);
        if let Some(times) = sessions.get_mut(&pair) {
            *times += 1;
            return true;
        }
        let is_full = sessions_max > 0 && sessions.range(all_of(user)).take(sessions_max).count() == sessions_max;
        if !is_full {
            sessions.insert(pair, 1);
        }
        !is_full
    }

    /// Forgets a session of a user, noted once. Returns whether the session is not noted any more.
    pub fn forget(&self, user: &Username, session: SessionId) -> bool {
        let mut sessions = self.shard(user).lock();
        let pair = (user.clone(), session);
        let Some(times) = sessions.get_mut(&pair) else { return false };
        *times -= 1;
        let is_last = *times == 0;
        if is_last {
            sessions.remove(&pair);
        }
        is_last
    }

    /// Returns at most `count` sessions of a user, the oldest first.
    pub fn sessions_of(&self, user: &Username, count: usize) -> Vec<SessionId> {
        self.shard(user).lock().range(all_of(user)).take(count).map(|((_, session), _)| *session).collect()
    }

    /// Returns how many sessions a user has.
    pub fn count_of(&self, user: &Username) -> usize {
        self.shard(user).lock().range(all_of(user)).count()
    }

    fn shard(&self, user: &Username) -> &Mutex<BTreeMap<(Username, SessionId), u32>> {
        &self.shards[self.hasher.hash_one(user) as usize % SHARDS]
    }
}

fn all_of(user: &Username) -> RangeInclusive<(Username, SessionId)> {
    (user.clone(), SessionId(0))..=(user.clone(), SessionId(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    #[test]
    fn sessions_are_found_by_their_user_until_they_are_forgotten() {
        let users = Users::default();
        let (messi, xavi) = (user("messi"), user("xavi"));
        for (user, session) in [(&messi, 7), (&xavi, 4), (&messi, 2), (&messi, 7)] {
            assert!(users.note(user, SessionId(session), 0));
        }
        assert_eq!(users.sessions_of(&messi, 10), [SessionId(2), SessionId(7)]);
        assert_eq!(users.sessions_of(&messi, 1), [SessionId(2)]);
        assert_eq!([&messi, &xavi, &user("iniesta")].map(|user| users.count_of(user)), [2, 1, 0]);
        assert!(!users.forget(&messi, SessionId(7)), "it was noted twice");
        assert!(users.forget(&messi, SessionId(7)) && !users.forget(&messi, SessionId(7)));
        assert!(users.forget(&messi, SessionId(2)) && users.forget(&xavi, SessionId(4)));
        assert!(users.shards.iter().all(|sessions| sessions.lock().is_empty()));
    }

    #[test]
    fn a_user_has_no_more_sessions_than_allowed() {
        let users = Users::default();
        let messi = user("messi");
        assert!(users.note(&messi, SessionId(1), 2) && users.note(&messi, SessionId(2), 2));
        assert!(!users.note(&messi, SessionId(3), 2) && users.note(&messi, SessionId(1), 2), "one that counts already");
        assert!(users.note(&user("xavi"), SessionId(3), 2));
        assert!(users.forget(&messi, SessionId(2)) && users.note(&messi, SessionId(3), 2));
    }
}
