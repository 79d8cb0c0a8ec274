//! The directory that asks MAX: as the user or as the service account, by one call or two, and what failures mean.

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use awc::http::header::{HeaderName, HeaderValue};
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant as Deadline, sleep};

use super::answer::Bounds;
use super::call::{self, Call, Http};
use super::dial::{self, Tls};
use super::flights::Flights;
use super::gate::Permit;
use super::identity::{header, identity};
use super::pace::Ended;
use super::route::{self, Next, Outcome, Plan, Route, Served};
use super::trust::{self, TrustError};
use super::verdict::{self, Caller};
use super::watch::{self, Watch};
use super::{Gate, Probe, probe};
use crate::config::{self, BaseUrl};
use crate::directory::{Answer, Directory, Failure, Question};
use crate::event::{Code, Token, Username};
use crate::metrics::MaxResult;

/// The shortest wait before a failed call is repeated. The longest is three times as long.
const JITTER_MS: u64 = 50;

/// Who may join without a token, under any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokenless {
    /// Nobody: `token_required`.
    Never,
    /// Clients on this machine.
    FromLoopback,
    /// All clients.
    Always,
}

impl Tokenless {
    fn allows(self, peer: IpAddr) -> bool {
        match self {
            Self::Never => false,
            Self::FromLoopback => peer.to_canonical().is_loopback(),
            Self::Always => true,
        }
    }
}

/// The MAX to ask, and the account for joins without a token.
#[derive(Clone, Debug)]
pub struct Target {
    /// The base URL of MAX.
    pub url: BaseUrl,
    /// Name and token of the service account, a MAX Manager.
    pub service: Option<(Username, Token)>,
    /// Who may join without a token. Needs `service`.
    pub tokenless: Tokenless,
}

impl Target {
    /// The MAX of the configuration. `None` if `max.url` is not set.
    pub fn configured(settings: &config::Max) -> Option<Self> {
        let tokenless = if settings.tokenless_joins { Tokenless::Always } else { Tokenless::Never };
        let service = settings.service_username.clone().zip(settings.service_token.clone());
        Some(Self { url: settings.url.clone()?, service, tokenless })
    }
}

/// MAX, as one thread asks it. A clone is cheap and shares the connections. The [`Gate`] is shared between threads.
#[derive(Clone)]
pub struct MaxDirectory(Rc<Inner>);

struct Inner {
    http: Http,
    scope: HeaderValue,
    service: Option<(Username, Token)>,
    tokenless: Tokenless,
    gate: Arc<Gate>,
    bounds: Bounds,
    flights: Flights<Key, Result<Answer, Failure>>,
    served: RefCell<Served>,
    watch: Watch,
}

/// The parts that make two questions the same: the username, the user's token if there is one, and the scope.
type Key = (Username, Option<Box<str>>, HeaderValue);

impl MaxDirectory {
    /// Makes the client of this thread. It reads the certificates, but does not connect yet.
    ///
    /// # Errors
    /// There are no certificates to judge MAX by, or `max.ca_file` cannot be used.
    pub fn new(
        settings: &config::Max,
        target: Target,
        id_bytes_max: usize,
        gate: Arc<Gate>,
    ) -> Result<Self, TrustError> {
        let Target { url, service, tokenless } = target;
        // The file is read even for http, so that an error in it is found.
        let config = trust::tls(url.server_name().is_some(), settings.ca_file.as_deref())?;
        let tls = url.server_name().cloned().map(|name| Tls { config, name });
        Ok(Self(Rc::new(Inner {
            http: Http::new(settings, url, tls, dial::system_lookup()),
            scope: settings.scope.clone(),
            service,
            tokenless,
            gate,
            bounds: Bounds { conversations_max: settings.conversations_max, id_bytes_max },
            flights: Flights::new(),
            served: RefCell::default(),
            watch: Watch::default(),
        })))
    }

    /// Asks whether MAX answers, and whether it answers as the settings need it.
    pub fn probe(&self) -> impl Future<Output = Probe> + use<> {
        let inner = Rc::clone(&self.0);
        async move { inner.probe().await }
    }

    /// Logs when MAX answers again after it has not, and at the start whether it answers, if `asks_first`. Never ends.
    pub async fn watch(self, asks_first: bool) {
        let Inner { watch, http, .. } = &*self.0;
        if asks_first {
            watch.start(http.base_url(), async || self.0.probe().await).await;
        }
        watch.run(http.base_url()).await;
    }
}

impl Directory for MaxDirectory {
    /// Asks as the user if there is a token, otherwise as the service account if that is allowed. Equal questions at
    /// the same time share one call. Dropping the future ends the call at once, unless others wait for it too.
    fn conversations_of(&self, question: Question) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move {
            let asked = inner.asked(question)?;
            let key = asked.key();
            let flight = inner.flights.join(&key, || Rc::clone(&inner).answer(asked));
            flight.await
        })
    }
}

/// A question with the identity by which it is asked.
struct Asked {
    caller: Caller,
    username: Username,
    scope: HeaderValue,
    /// The token of the user or of the service account.
    secret: Token,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Asked {
    fn key(&self) -> Key {
        let token = (self.caller == Caller::User).then(|| self.secret.reveal().into());
        (self.username.clone(), token, self.scope.clone())
    }
}

impl Inner {
    /// Decides by whose account to ask.
    fn asked(&self, question: Question) -> Result<Asked, Failure> {
        let Question { username, token, scope, peer } = question;
        if let Some(secret) = token {
            // An empty scope counts as no scope.
            let scope = scope.filter(|scope| !scope.trim().is_empty());
            let scope = scope.as_deref().map(header).transpose()?.unwrap_or_else(|| self.scope.clone());
            let headers = identity(&username, &secret, scope.clone())?;
            return Ok(Asked { caller: Caller::User, username, scope, secret, headers });
        }
        let Some((name, secret)) = self.service.as_ref().filter(|_| self.tokenless.allows(peer)) else {
            return Err(Failure::new(Code::TokenRequired, "a join without a token"));
        };
        if !route::fits_a_path(username.as_str()) {
            return Err(Failure::new(Code::UnknownUser, "a username that cannot stand in a path"));
        }
        let headers = identity(name, secret, self.scope.clone())?;
        let (scope, secret) = (self.scope.clone(), secret.clone());
        Ok(Asked { caller: Caller::Service, username, scope, secret, headers })
    }

    async fn probe(&self) -> Probe {
        probe::probe(&self.http, self.service.as_ref(), &self.scope).await
    }

    fn call(&self, asked: &Asked, route: Route) -> Result<Call, Failure> {
        let url = self.http.url(&route.path(asked.username.as_str()))?;
        Ok(Call { url, headers: asked.headers.clone(), secret: Some(asked.secret.clone()) })
    }

    /// Answers a question, as soon as the gate lets its calls pass.
    async fn answer(self: Rc<Self>, asked: Asked) -> Result<Answer, Failure> {
        let permit = self.gate.enter().await?;
        let mut failed = Failed::default();
        let outcome = self.ask(asked, &permit, &mut failed).await;
        self.watch.note(&outcome, failed.silent());
        outcome
    }

    /// Makes calls until one is answered, none is left to try, or the time is over. Notes those that have failed.
    async fn ask(&self, asked: Asked, permit: &Permit, failed: &mut Failed) -> Result<Answer, Failure> {
        let deadline = self.http.deadline();
        let mut plan = match asked.caller {
            Caller::User => Plan::as_user(asked.username.as_str(), &self.served.borrow(), Instant::now()),
            Caller::Service => Plan::as_service(),
        };
        let mut route = plan.route();
        loop {
            let call = self.call(&asked, route)?;
            let timing = permit.begin();
            let response = self.http.get(&call, deadline).await;
            timing.end(ended(&response), result(&response));
            let verdict =
                response.map(|response| verdict::judge(&response, asked.caller, route, &asked.username, self.bounds));
            let outcome = match verdict {
                Ok(Ok(conversations)) => {
                    if asked.caller == Caller::User {
                        self.learn(failed, route, &asked.username);
                    }
                    return Ok(Answer { username: asked.username, conversations });
                }
                Ok(Err(verdict)) => {
                    if verdict.misdelivered {
                        self.http.distrust();
                    }
                    failed.note(route, verdict.outcome, call.failed(verdict.code, &verdict.what));
                    verdict.outcome
                }
                Err(failure) => {
                    failed.note(route, Outcome::Final, failure);
                    Outcome::Final
                }
            };
            route = match plan.next(outcome) {
                Next::Ask(route) => route,
                Next::Again(route) => {
                    let wait = jitter();
                    if Deadline::now() + wait >= deadline {
                        return Err(failed.reported());
                    }
                    sleep(wait).await;
                    route
                }
                Next::Stop => return Err(failed.reported()),
            };
        }
    }

    /// Remembers that `route` has worked, and that the other call was not served if it was tried.
    fn learn(&self, failed: &Failed, route: Route, username: &Username) {
        let mut served = self.served.borrow_mut();
        served.trust(route);
        let is_unserved = |outcome| matches!(outcome, Outcome::NotServed | Outcome::NotForUser);
        if let Some((not, outcome, failure)) = failed.0.iter().find(|(_, outcome, _)| is_unserved(*outcome)) {
            let is_for_all = served.learn(*not, *outcome, username.as_str(), Instant::now());
            let level = if is_for_all { log::Level::Info } else { log::Level::Debug };
            let call = route.pattern();
            log::log!(level, "MAX did not serve one of its calls, so {call} comes first for a while: {failure}");
        }
    }
}

/// The failed calls for one question.
#[derive(Default)]
struct Failed(Vec<(Route, Outcome, Failure)>);

impl Failed {
    fn note(&mut self, route: Route, outcome: Outcome, failure: Failure) {
        self.0.push((route, outcome, failure));
    }

    /// Returns how many of the calls got no answer.
    fn silent(&self) -> usize {
        self.0.iter().filter(|(_, _, failure)| watch::is_silence(failure)).count()
    }

    /// Returns the failure that says most. Its cause names the other calls that have failed too.
    fn reported(&self) -> Failure {
        let Some(most) = self.that_says_most() else {
            return Failure::new(Code::MaxUnavailable, "MAX was not asked");
        };
        let mut failure = self.0[most].2.clone();
        let mut named = vec![failure.cause.clone()];
        for (number, (_, _, Failure { cause, .. })) in self.0.iter().enumerate() {
            // A repeated call often fails in the same way.
            if !named.contains(cause) {
                failure.cause += if number < most { "; before that, " } else { "; after that, " };
                failure.cause += cause;
                named.push(cause.clone());
            }
        }
        failure
    }

    /// Returns the number of the failure that says most: one that another call cannot mend; else a crash or outage of
    /// MAX; else a timeout of a later call; else what a call says about the user; else the last one.
    fn that_says_most(&self) -> Option<usize> {
        let later = self.0.len() > 1;
        let rank = |(_, outcome, failure): &(Route, Outcome, Failure)| match outcome {
            Outcome::Final if !later || failure.code != Code::MaxTimeout => 0,
            Outcome::Crash | Outcome::Away => 1,
            Outcome::Final => 2,
            Outcome::NotForUser if matches!(failure.code, Code::Unauthorized | Code::UnknownUser) => 3,
            Outcome::NotServed | Outcome::NotForUser => 4,
        };
        let ranks = self.0.iter().map(rank).enumerate();
        ranks.rev().min_by_key(|(_, rank)| *rank).map(|(number, _)| number)
    }
}

/// Classifies a call for the pace of the gate.
fn ended(response: &Result<call::Response, Failure>) -> Ended {
    match response {
        Err(Failure { code: Code::MaxTimeout, .. }) => Ended::Late,
        Err(Failure { code: Code::MaxUnavailable, .. }) => Ended::Unconnected,
        _ => Ended::Answered,
    }
}

/// Returns the result of a call for the metrics.
fn result(response: &Result<call::Response, Failure>) -> MaxResult {
    match response {
        Ok(response) => MaxResult::Status(response.status.as_u16()),
        Err(failure) => MaxResult::Failed(failure.code),
    }
}

/// Returns a random wait. All members of a new conversation may fail at once, and should not all come back at once.
fn jitter() -> Duration {
    let random = getrandom::u32().unwrap_or_default();
    Duration::from_millis(JITTER_MS + u64::from(random) % (2 * JITTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_in_either_family() {
        for (peer, allowed) in [("127.0.0.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)] {
            assert_eq!(Tokenless::FromLoopback.allows(peer.parse().unwrap()), allowed, "{peer}");
        }
    }

    #[test]
    fn the_failure_that_says_most_is_reported() {
        use Outcome::{Crash, Final, NotForUser, NotServed};
        for (failures, reported) in [
            (&[(Final, Code::MaxTimeout)][..], Code::MaxTimeout),
            (&[(Crash, Code::MaxUnavailable), (Final, Code::MaxTimeout)], Code::MaxUnavailable),
            (&[(NotServed, Code::MaxError), (Final, Code::Unauthorized)], Code::Unauthorized),
            (&[(NotServed, Code::MaxError), (Crash, Code::MaxUnavailable)], Code::MaxUnavailable),
            (&[(Crash, Code::MaxUnavailable), (NotServed, Code::MaxError)], Code::MaxUnavailable),
            (&[(NotServed, Code::MaxGarbage), (NotServed, Code::MaxError)], Code::MaxError),
            // One call says something about the user, and MAX does not serve the other.
            (&[(NotForUser, Code::Unauthorized), (NotServed, Code::MaxError)], Code::Unauthorized),
            (&[(NotServed, Code::MaxError), (NotForUser, Code::UnknownUser)], Code::UnknownUser),
            // The other call gave no answer about the user.
            (&[(NotForUser, Code::UnknownUser), (Final, Code::MaxTimeout)], Code::MaxTimeout),
            (&[(NotForUser, Code::UnknownUser), (Crash, Code::MaxUnavailable)], Code::MaxUnavailable),
        ] {
            let mut failed = Failed::default();
            for (outcome, code) in failures {
                failed.note(Route::Person, *outcome, Failure::new(*code, ""));
            }
            assert_eq!(failed.reported().code, reported, "{failures:?}");
        }
    }

    #[test]
    fn every_call_that_has_failed_is_named_once() {
        use Outcome::{Crash, Final, NotServed};
        for (failures, cause) in [
            (&[(Final, "a")][..], "a"),
            (&[(NotServed, "a"), (Final, "b")], "b; before that, a"),
            (&[(Crash, "a"), (NotServed, "b")], "a; after that, b"),
            (&[(NotServed, "a"), (Crash, "b"), (NotServed, "c")], "b; before that, a; after that, c"),
            // A repeated call that fails in the same way.
            (&[(Crash, "a"), (Crash, "a"), (NotServed, "b")], "a; after that, b"),
            (&[(NotServed, "b"), (Crash, "a"), (Crash, "a")], "a; before that, b"),
        ] {
            let mut failed = Failed::default();
            for (outcome, cause) in failures {
                failed.note(Route::Person, *outcome, Failure::new(Code::MaxUnavailable, *cause));
            }
            assert_eq!(failed.reported().cause, cause, "{failures:?}");
        }
    }
}
