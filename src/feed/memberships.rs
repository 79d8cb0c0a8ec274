//! The exchange that tells of memberships: why it is not heard, if it is not, and when it is looked for again. Pure:
//! the time is an argument.

use std::time::{Duration, Instant};

use super::bindings::ANSWER_MAX;
use super::fault::Fault;

/// The wait before the exchange is looked for again, in longest waits before a try to connect.
const SEARCH_AFTER: u32 = 60;

/// The longest such wait.
const SEARCH_AFTER_MAX: Duration = Duration::from_secs(300);

/// A search that goes on.
#[derive(Debug)]
struct Search {
    until: Instant,
    /// The bindings that are not confirmed yet.
    left: usize,
}

/// The state of the exchange.
#[derive(Debug)]
pub struct Memberships {
    /// Why it is not heard.
    without: Option<Fault>,
    search_after: Duration,
    due_at: Instant,
    search: Option<Search>,
}

impl Memberships {
    /// Notes why the exchange is not heard. `None`: it is. `reconnect_max` is the longest wait before a try to connect.
    pub fn new(without: Option<Fault>, reconnect_max: Duration, now: Instant) -> Self {
        let search_after = reconnect_max.saturating_mul(SEARCH_AFTER).min(SEARCH_AFTER_MAX);
        Self { without, search_after, due_at: now + search_after, search: None }
    }

    /// Why the exchange is not heard. `None`: it is.
    pub fn without(&self) -> Option<&Fault> {
        self.without.as_ref()
    }

    /// Whether the exchange is to be looked for now, and to be bound by so many keys.
    pub fn is_search_due(&mut self, keys: usize, now: Instant) -> bool {
        let is_due = self.without.is_some() && self.search.is_none() && now >= self.due_at;
        if is_due {
            self.search = Some(Search { until: now + ANSWER_MAX, left: keys });
        }
        is_due
    }

    /// Takes the answer that one key is bound.
    pub fn bound(&mut self) {
        if let Some(search) = &mut self.search {
            search.left = search.left.saturating_sub(1);
            if search.left == 0 {
                (self.without, self.search) = (None, None);
            }
        }
    }

    /// Takes the answer that the exchange is not there, or may not be read.
    pub fn refused(&mut self, why: Fault, now: Instant) {
        (self.without, self.search, self.due_at) = (Some(why), None, now + self.search_after);
    }

    /// Whether the server has not answered in time.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.search.as_ref().is_some_and(|search| now >= search.until)
    }

    /// The moment at which something is due. `None`: there is no such moment.
    pub fn wake_at(&self) -> Option<Instant> {
        let search = self.search.as_ref().map(|search| search.until);
        search.or_else(|| self.without.as_ref().map(|_| self.due_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_exchange_that_is_absent_is_looked_for_now_and_then() {
        let start = Instant::now();
        let mut memberships = Memberships::new(Some("absent".into()), SECOND, start);
        assert!(!memberships.is_search_due(2, start + 59 * SECOND));
        for minute in 1..5 {
            let now = start + minute * 60 * SECOND;
            assert_eq!(memberships.wake_at(), Some(now));
            assert!(memberships.is_search_due(2, now) && !memberships.is_search_due(2, now));
            assert_eq!(memberships.wake_at(), Some(now + ANSWER_MAX));
            assert!(!memberships.is_overdue(now) && memberships.is_overdue(now + ANSWER_MAX));
            memberships.refused("refused".into(), now);
            assert_eq!(memberships.without().map(|why| &**why), Some("refused"));
            assert!(!memberships.is_overdue(now + ANSWER_MAX));
        }
        let now = start + 300 * SECOND;
        assert!(memberships.is_search_due(2, now));
        memberships.bound();
        assert!(memberships.without().is_some());
        memberships.bound();
        assert_eq!((memberships.without(), memberships.wake_at()), (None, None));
        assert!(!memberships.is_search_due(2, now + 900 * SECOND));
    }

    #[test]
    fn an_exchange_is_looked_for_each_five_minutes_at_least() {
        let now = Instant::now();
        let memberships = Memberships::new(Some("absent".into()), Duration::from_secs(86_400), now);
        assert_eq!(memberships.wake_at(), Some(now + SEARCH_AFTER_MAX));
        assert_eq!(Memberships::new(None, SECOND, now).wake_at(), None);
    }
}
