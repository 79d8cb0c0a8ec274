//! The two calls that return the conversations of a user, the one to make first, and the next one after a failure.
//! Pure.

use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the characters that need no encoding in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Characters that a proxy or a server may decode and take for a separator or the end of the path. Encoded once or
/// twice, they could lead to other calls of MAX or to other tenants.
const PATH_BREAKERS: &[char] = &['/', '\\', '%', '?', '#', ';'];

/// After MAX did not serve a call, the other call is made first for this long.
const RECHECK_AFTER: Duration = Duration::from_secs(600);

/// A call that returns the conversations of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /people/{username}`: the cheaper one, which costs MAX a few database calls.
    Person,
    /// `GET /conversations`, which costs MAX more than one database call per conversation.
    List,
}

impl Route {
    /// The path of the call below the base URL. For [`Route::Person`], the name has to fit a path.
    pub(super) fn path(self, username: &str) -> String {
        match self {
            Self::Person => format!("/people/{}", utf8_percent_encode(username, SEGMENT)),
            Self::List => "/conversations".to_owned(),
        }
    }

    /// The call, for the log.
    pub(super) fn pattern(self) -> &'static str {
        match self {
            Self::Person => "GET /people/{username}",
            Self::List => "GET /conversations",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Person => Self::List,
            Self::List => Self::Person,
        }
    }
}

/// Whether a username may be part of a path.
pub(super) fn fits_a_path(username: &str) -> bool {
    !matches!(username, "." | "..") && !username.contains(PATH_BREAKERS)
}

/// Whether every release of MAX finds this username in a path. Some fail for names that are not ASCII.
fn is_plain(username: &str) -> bool {
    username.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@+".contains(&byte))
}

/// The outcome of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer, or a failure that the other call would not mend.
    Final,
    /// MAX failed (500), which happens often for members of a conversation that is just being created.
    Crash,
    /// A proxy says that MAX is away (408, 502 or 503).
    Away,
    /// This MAX does not serve this call.
    NotServed,
    /// The call returned nothing for this user: MAX may not serve it to users, or not to this one.
    NotForUser,
}

/// The next step after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make this call at once.
    Ask(Route),
    /// Repeat this call after a short wait.
    Again(Route),
    /// Give up: no other call would help.
    Stop,
}

/// The calls for one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    route: Route,
    /// Whether the other call is possible and was not made yet.
    other_left: bool,
    repeated: bool,
}

impl Plan {
    /// The plan for the service account, which can ask about others by one call only.
    pub(super) fn as_service() -> Self {
        Self { route: Route::Person, other_left: false, repeated: false }
    }

    /// The plan for asking as the user.
    pub(super) fn as_user(username: &str, served: &Served, now: Instant) -> Self {
        let both = fits_a_path(username);
        let wanted = if both && is_plain(username) { Route::Person } else { Route::List };
        let passes_over = both && served.passes_over(wanted, username, now);
        let route = if passes_over { wanted.other() } else { wanted };
        Self { route, other_left: both, repeated: false }
    }

    /// The call to make now.
    pub(super) fn route(&self) -> Route {
        self.route
    }

    /// Returns the next step after a call with this outcome.
    pub(super) fn next(&mut self, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Crash | Outcome::Away if !self.repeated => {
                self.repeated = true;
                Next::Again(self.route)
            }
            Outcome::Crash | Outcome::NotServed | Outcome::NotForUser if self.other_left => {
                self.other_left = false;
                self.route = self.route.other();
                Next::Ask(self.route)
            }
            _ => Next::Stop,
        }
    }
}

/// The experience with this MAX: the calls that it did not serve although it served the other one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// A call that counts as not served for all users, since this time.
    not: Option<(Route, Instant)>,
    /// A call that was not served for this user at this time, and has worked for nobody since.
    doubted: Option<(Route, String, Instant)>,
}

impl Served {
    /// Learns that the call `not` had this outcome for this user, and that the other call was served. An outcome that
    /// may concern this user only is remembered for this user, until another user has it too. Returns whether it is
    /// remembered for all.
    pub(super) fn learn(&mut self, not: Route, outcome: Outcome, username: &str, now: Instant) -> bool {
        // A firewall may have refused the path because of the name in it.
        let is_harmless = username.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_known = matches!(&self.doubted, Some((route, of, _)) if *route == not && of != username);
        let is_for_all = is_known || (outcome == Outcome::NotServed && is_harmless);
        if is_for_all {
            self.not = Some((not, now));
        } else {
            self.doubted = Some((not, username.to_owned(), now));
        }
        is_for_all
    }

    /// Learns that this call has worked.
    pub(super) fn trust(&mut self, route: Route) {
        self.doubted.take_if(|(doubted, _, _)| *doubted == route);
    }

    fn passes_over(&self, route: Route, username: &str, now: Instant) -> bool {
        let is_fresh = |since: Instant| now < since + RECHECK_AFTER;
        let doubted =
            self.doubted.as_ref().filter(|(_, of, _)| of == username).map(|(route, _, since)| (*route, *since));
        [self.not, doubted].into_iter().flatten().any(|(not, since)| not == route && is_fresh(since))
    }
}

#[cfg(test)]
mod tests {
    use super::Next::{Again, Ask, Stop};
    use super::Outcome::{Crash, Final, NotForUser, NotServed};
    use super::Route::{List, Person};
    use super::*;

    #[test]
    fn what_breaks_a_path_is_told() {
        for name in [".", "..", "a/b", "../x", "a\\b", "a%2fb", "a?b", "a#b", "..;", "/", "%"] {
            assert!(!fits_a_path(name), "{name}");
        }
        for name in ["a", "...", "a.b", "a b", "é", "a@b.example", "a&b=c", "a:b"] {
            assert!(fits_a_path(name), "{name}");
        }
    }

    #[test]
    fn each_question_has_its_calls() {
        let now = Instant::now();
        let none = Served::default();
        for (name, first, wanted) in [
            ("messi", Person, &[(Crash, Again(Person)), (Crash, Ask(List)), (Crash, Stop)][..]),
            ("messi", Person, &[(Crash, Again(Person)), (Final, Stop)]),
            ("messi", Person, &[(NotServed, Ask(List)), (NotServed, Stop)]),
            ("messi", Person, &[(NotForUser, Ask(List)), (NotForUser, Stop)]),
            ("messi", Person, &[(NotServed, Ask(List)), (Crash, Again(List)), (Crash, Stop)]),
            ("messi", Person, &[(Crash, Again(Person)), (NotServed, Ask(List)), (Final, Stop)]),
            ("messi", Person, &[(Final, Stop)]),
            // Some releases cannot find these names by a path. Names that break a path are never part of one.
            ("dídac", List, &[(Crash, Again(List)), (Crash, Ask(Person)), (Final, Stop)]),
            ("a b", List, &[(NotServed, Ask(Person))]),
            ("a/b", List, &[(Crash, Again(List)), (Crash, Stop)]),
            ("..", List, &[(NotServed, Stop)]),
        ] {
            let mut plan = Plan::as_user(name, &none, now);
            assert_eq!(plan.route(), first, "{name}");
            let next: Vec<_> = wanted.iter().map(|(outcome, _)| (*outcome, plan.next(*outcome))).collect();
            assert_eq!(next, wanted, "{name}");
        }
        let mut plan = Plan::as_service();
        assert_eq!((plan.route(), plan.next(NotServed)), (Person, Stop));
        let mut plan = Plan::as_service();
        assert_eq!([plan.next(Crash), plan.next(Crash)], [Again(Person), Stop]);
    }

    #[test]
    fn a_call_that_is_not_served_is_passed_over_for_a_while() {
        let now = Instant::now();
        let mut served = Served::default();
        let first = |served: &Served, name, at| Plan::as_user(name, served, at).route();
        served.learn(Person, NotServed, "messi", now);
        assert_eq!(first(&served, "xavi", now), List);
        assert_eq!(Plan::as_user("xavi", &served, now).next(NotServed), Ask(Person), "the other way round by now");
        assert_eq!(first(&served, "messi", now + RECHECK_AFTER), Person);
        served.learn(List, NotServed, "messi", now);
        assert_eq!((first(&served, "messi", now), first(&served, "é", now)), (Person, Person));
        // For a name that breaks a path there is no other call.
        assert_eq!(first(&served, "a/b", now), List);
    }

    #[test]
    fn what_may_be_a_matter_of_one_user_counts_for_that_one_alone() {
        let now = Instant::now();
        let first = |served: &Served, name| Plan::as_user(name, served, now).route();
        for (outcome, name) in [(NotForUser, "messi"), (NotServed, ".messi")] {
            let mut served = Served::default();
            served.learn(Person, outcome, name, now);
            served.learn(Person, outcome, name, now);
            assert_eq!((first(&served, name), first(&served, "xavi")), (List, Person));
            let mut other = served.clone();
            other.learn(Person, outcome, ".xavi", now);
            assert_eq!(first(&other, "iniesta"), List, "the same for another");
            served.trust(List);
            assert_eq!(first(&served, name), List);
            served.trust(Person);
            assert_eq!(first(&served, name), Person, "it works for others");
        }
    }
}
