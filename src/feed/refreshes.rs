//! The users whose memberships have changed, until they are refreshed. Pure: the time is an argument.
//!
//! MAX subscribes the members of a new conversation one after the other, and answers 500 about each of them until it
//! has stored the first message. So the users of a conversation wait until nothing more is heard of it for a moment.
//! After that each user is refreshed once, at a bounded rate.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::event::{ConversationId, Username};
use crate::limits::bucket::{Bucket, Rate};

/// The time without news of a conversation after which its users are refreshed.
const QUIET: Duration = Duration::from_millis(500);

/// The longest wait of a user for the end of the news of a conversation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Conversations whose news is waited for. The users of one more are not kept waiting.
const CONVERSATIONS_MAX: usize = 4096;

/// Users who may wait to be refreshed. One more is left out.
const USERS_MAX: usize = 65_536;

/// The users of one conversation that have changed.
#[derive(Debug)]
struct Group {
    users: BTreeSet<Username>,
    first: Instant,
    last: Instant,
}

impl Group {
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + PATIENCE)
    }
}

/// The users that wait to be refreshed.
#[derive(Debug)]
pub struct Refreshes {
    rate: Rate,
    pace: Bucket,
    groups: HashMap<ConversationId, Group>,
    /// Users in groups.
    grouped: usize,
    ready: VecDeque<Username>,
    queued: HashSet<Username>,
}

impl Refreshes {
    /// Refreshes at most so many users per second; 0 refreshes nobody.
    pub fn new(per_second_max: u32) -> Self {
        let per_second = u64::from(per_second_max);
        Self {
            rate: Rate { per_second, burst: per_second },
            pace: Bucket::default(),
            groups: HashMap::new(),
            grouped: 0,
            ready: VecDeque::new(),
            queued: HashSet::new(),
        }
    }

    /// Notes that a user may have come into a conversation or have left it. Returns whether there is room for it.
    pub fn note(&mut self, conversation: &ConversationId, username: Username, now: Instant) -> bool {
        if self.rate.per_second == 0 {
            return true;
        }
        if self.waiting() >= USERS_MAX {
            return false;
        }
        if self.groups.len() >= CONVERSATIONS_MAX && !self.groups.contains_key(conversation) {
            self.make_ready(username);
            return true;
        }
        let new = || Group { users: BTreeSet::new(), first: now, last: now };
        let group = self.groups.entry(conversation.clone()).or_insert_with(new);
        group.last = now;
        self.grouped += usize::from(group.users.insert(username));
        true
    }

    /// Notes that all members of a conversation are in it: nobody has to wait any more.
    pub fn settle(&mut self, conversation: &ConversationId, now: Instant) {
        if let Some(group) = self.groups.get_mut(conversation) {
            group.first = now.checked_sub(PATIENCE).unwrap_or(group.first);
        }
    }

    /// Returns the next user to refresh now.
    pub fn next(&mut self, now: Instant) -> Option<Username> {
        let due: Vec<_> =
            self.groups.iter().filter(|(_, group)| group.due() <= now).map(|(id, _)| id.clone()).collect();
        for group in due.iter().filter_map(|id| self.groups.remove(id)).collect::<Vec<_>>() {
            self.grouped -= group.users.len();
            group.users.into_iter().for_each(|username| self.make_ready(username));
        }
        if self.ready.is_empty() || !self.pace.take(self.rate, 1, now) {
            return None;
        }
        let username = self.ready.pop_front()?;
        self.queued.remove(&username);
        Some(username)
    }

    /// The moment at which [`next`](Self::next) has to be called.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let ready = (!self.ready.is_empty()).then(|| now + self.pace.wait(self.rate, 1, now));
        self.groups.values().map(Group::due).chain(ready).min()
    }

    /// The users that wait. One in several conversations counts several times.
    pub fn waiting(&self) -> usize {
        self.grouped + self.ready.len()
    }

    fn make_ready(&mut self, username: Username) {
        if self.queued.insert(username.clone()) {
            self.ready.push_back(username);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    fn all(refreshes: &mut Refreshes, now: Instant) -> Vec<Username> {
        std::iter::from_fn(|| refreshes.next(now)).collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn users_wait_until_their_conversation_is_quiet() {
        let (mut refreshes, start) = (Refreshes::new(100), Instant::now());
        let (c, d) = (ConversationId::from("c"), ConversationId::from("d"));
        for (at, conversation, name) in [(0, &c, "messi"), (400, &c, "xavi"), (500, &d, "messi"), (600, &c, "xavi")] {
            assert!(refreshes.note(conversation, user(name), start + ms(at)));
            assert_eq!(all(&mut refreshes, start + ms(at)), []);
        }
        assert_eq!((refreshes.waiting(), refreshes.wake_at(start + ms(600))), (3, Some(start + ms(1000))));
        assert_eq!(all(&mut refreshes, start + ms(1000)), [user("messi")]);
        assert_eq!(all(&mut refreshes, start + ms(1100)), [user("messi"), user("xavi")]);
        assert_eq!((refreshes.waiting(), refreshes.wake_at(start + ms(1100))), (0, None));
    }

    #[test]
    fn users_do_not_wait_for_a_conversation_that_is_complete_or_never_quiet() {
        let (mut refreshes, start) = (Refreshes::new(100), Instant::now());
        let c = ConversationId::from("c");
        let start = start + 2 * PATIENCE;
        refreshes.note(&c, user("messi"), start);
        refreshes.settle(&c, start + ms(1));
        assert_eq!(all(&mut refreshes, start + ms(1)), [user("messi")]);
        for at in 0..100 {
            refreshes.note(&c, user("messi"), start + ms(100 * at));
        }
        assert_eq!(refreshes.wake_at(start), Some(start + PATIENCE));
    }

    #[test]
    fn users_are_refreshed_once_and_at_a_bounded_rate() {
        let (mut refreshes, start) = (Refreshes::new(2), Instant::now());
        for conversation in 0..10 {
            for name in 0..10 {
                refreshes.note(&conversation.to_string().as_str().into(), user(&format!("u{name}")), start);
            }
        }
        assert_eq!(all(&mut refreshes, start + QUIET).len(), 2);
        let later = |s: u64| start + QUIET + Duration::from_secs(s);
        assert_eq!(refreshes.wake_at(later(0)), Some(later(0) + ms(500)));
        assert_eq!([1, 2, 3, 4, 5].map(|s| all(&mut refreshes, later(s)).len()), [2, 2, 2, 2, 0]);
        assert_eq!(refreshes.waiting(), 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut refreshes, now) = (Refreshes::new(1), Instant::now());
        let noted = (0..USERS_MAX + 10)
            .filter(|number| refreshes.note(&number.to_string().as_str().into(), user(&format!("u{number}")), now));
        assert_eq!(noted.count(), USERS_MAX);
        assert_eq!(refreshes.groups.len(), CONVERSATIONS_MAX);
        let mut off = Refreshes::new(0);
        assert!(off.note(&"c".into(), user("messi"), now));
        assert_eq!(off.waiting(), 0);
    }
}
