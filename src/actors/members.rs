//! The members of a conversation: its sessions, counted by user. Pure: `H` is the way to a session.

use std::collections::{BTreeMap, HashMap};

use crate::event::{SessionId, Username};

/// The sessions in a conversation, and their users.
#[derive(Debug)]
pub struct Members<H> {
    /// Dense, because a fan-out visits all of them.
    sessions: Vec<Member<H>>,
    index: HashMap<SessionId, usize>,
    /// Sessions of each user.
    users: BTreeMap<Username, usize>,
}

/// One session in a conversation.
#[derive(Debug)]
pub struct Member<H> {
    /// The session.
    pub session: SessionId,
    /// The way to the session.
    pub handle: H,
    /// The user of the session.
    pub username: Username,
    /// A session that joins anew is held twice until the older hold is given up.
    holds: usize,
}

/// The effect of an entry or a departure on the other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The users are the same as before.
    None,
    /// The user's first session has entered.
    Joined(Username),
    /// The user's last session has left.
    Left(Username),
}

impl<H> Default for Members<H> {
    fn default() -> Self {
        Self { sessions: Vec::new(), index: HashMap::new(), users: BTreeMap::new() }
    }
}

impl<H> Members<H> {
    /// Adds a session, or holds it once more. The user of a session does not change while it is a member.
    pub fn enter(&mut self, session: SessionId, username: &Username, handle: H) -> Change {
        if let Some(&at) = self.index.get(&session) {
            self.sessions[at].holds += 1;
            return Change::None;
        }
        self.index.insert(session, self.sessions.len());
        self.sessions.push(Member { session, handle, username: username.clone(), holds: 1 });
        let sessions = self.users.entry(username.clone()).or_default();
        *sessions += 1;
        if *sessions == 1 { Change::Joined(username.clone()) } else { Change::None }
    }

    /// Gives up one hold of a session; with the last one, the session leaves. Returns the effect on the others, and the
    /// way to the session if it has left.
    pub fn leave(&mut self, session: SessionId) -> (Change, Option<H>) {
        let Some(&at) = self.index.get(&session) else { return (Change::None, None) };
        self.sessions[at].holds -= 1;
        if self.sessions[at].holds > 0 {
            return (Change::None, None);
        }
        self.index.remove(&session);
        let member = self.sessions.swap_remove(at);
        if let Some(moved) = self.sessions.get(at) {
            self.index.insert(moved.session, at);
        }
        self.release_room();
        let Member { username, handle, .. } = member;
        let change = match self.users.get_mut(&username) {
            Some(1) => {
                self.users.remove(&username);
                Change::Left(username)
            }
            Some(sessions) => {
                *sessions -= 1;
                Change::None
            }
            None => Change::None,
        };
        (change, Some(handle))
    }

    /// Returns the way to a session. `None` if the session is not a member.
    pub fn handle(&self, session: SessionId) -> Option<&H> {
        self.index.get(&session).map(|&at| &self.sessions[at].handle)
    }

    /// Returns all sessions, in no particular order.
    pub fn sessions(&self) -> &[Member<H>] {
        &self.sessions
    }

    /// Returns the users, sorted.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &Username> {
        self.users.keys()
    }

    /// Returns a user as it is stored here. `None` if the user has no session.
    pub fn user(&self, username: &Username) -> Option<&Username> {
        self.users.get_key_value(username).map(|(stored, _)| stored)
    }

    /// Returns the number of sessions of a user.
    pub fn sessions_of(&self, username: &Username) -> usize {
        self.users.get(username).copied().unwrap_or(0)
    }

    /// Returns whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Shrinks the buffers after most members have left.
    fn release_room(&mut self) {
        if self.sessions.capacity() > 64 && self.sessions.len() < self.sessions.capacity() / 4 {
            self.sessions.shrink_to(self.sessions.len() * 2);
            self.index.shrink_to(self.sessions.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    #[test]
    fn a_user_comes_once_and_goes_once() {
        let mut members = Members::default();
        let (messi, xavi) = (user("messi"), user("xavi"));
        assert_eq!(members.enter(SessionId(1), &messi, ()), Change::Joined(messi.clone()));
        assert_eq!(members.enter(SessionId(2), &messi, ()), Change::None);
        assert_eq!(members.enter(SessionId(3), &xavi, ()), Change::Joined(xavi.clone()));
        assert_eq!(members.users().collect::<Vec<_>>(), [&messi, &xavi]);
        assert_eq!(members.leave(SessionId(1)).0, Change::None);
        assert_eq!(members.leave(SessionId(1)).0, Change::None, "a second departure of the same session");
        assert_eq!(members.leave(SessionId(2)).0, Change::Left(messi));
        assert_eq!(members.leave(SessionId(3)).0, Change::Left(xavi));
        assert!(members.is_empty());
    }

    #[test]
    fn a_session_held_twice_leaves_with_the_second_departure() {
        let mut members = Members::default();
        let messi = user("messi");
        members.enter(SessionId(1), &messi, ());
        assert_eq!(members.enter(SessionId(1), &messi, ()), Change::None);
        assert_eq!(members.sessions().len(), 1);
        assert_eq!(members.leave(SessionId(1)).0, Change::None);
        assert_eq!(members.leave(SessionId(1)).0, Change::Left(messi));
    }

    proptest! {
        /// The model is a list of holds.
        #[test]
        fn members_agree_with_a_list(steps in prop::collection::vec((any::<bool>(), 0u64..12), 0..200)) {
            let mut members = Members::default();
            let mut model: Vec<u64> = Vec::new();
            let name = |session: u64| user(&format!("u{}", session % 4));
            let listening = |model: &[u64], username: &Username| model.iter().any(|&s| name(s) == *username);
            for (enter, session) in steps {
                let username = name(session);
                let before = listening(&model, &username);
                let change = if enter {
                    model.push(session);
                    members.enter(SessionId(session), &username, session)
                } else {
                    if let Some(at) = model.iter().position(|&s| s == session) {
                        model.swap_remove(at);
                    }
                    members.leave(SessionId(session)).0
                };
                let expected = match (before, listening(&model, &username)) {
                    (false, true) => Change::Joined(username),
                    (true, false) => Change::Left(username),
                    _ => Change::None,
                };
                prop_assert_eq!(change, expected);
                let mut listed: Vec<_> = members.sessions().iter().map(|member| member.handle).collect();
                listed.sort_unstable();
                model.sort_unstable();
                let mut sessions = model.clone();
                sessions.dedup();
                prop_assert_eq!(listed, sessions);
                prop_assert_eq!(members.users().len(), {
                    let mut names: Vec<_> = model.iter().map(|s| s % 4).collect();
                    names.sort_unstable();
                    names.dedup();
                    names.len()
                });
            }
        }
    }
}
