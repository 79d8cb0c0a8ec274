//! The check at the start and in `maxtalk check`: whether MAX answers, and whether it answers as the settings need it.

use std::fmt;

use awc::http::header::HeaderValue;
use tokio::time::Instant;

use super::answer::{self, Bounds};
use super::call::{Call, Http, Response};
use super::identity::identity;
use super::outage::Over;
use super::route::Route;
use super::verdict;
use crate::directory::Failure;
use crate::event::{Token, Username};

/// No bounds: the content of an answer is not used here.
const BOUNDS: Bounds = Bounds { conversations_max: usize::MAX, id_bytes_max: usize::MAX };

/// The result of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    url: String,
    /// The release of MAX, if MAX names it; or the reason why there is no MAX.
    max: Result<Option<String>, String>,
    /// The reason why joins without a token cannot work.
    trouble: Option<String>,
    /// The time before, in which MAX did not answer.
    after: Option<Over>,
}

impl Probe {
    /// Whether MAX answers, even if some settings cannot work.
    pub(super) fn answers(&self) -> bool {
        self.max.is_ok()
    }

    /// Adds that MAX did not answer before.
    pub(super) fn after(self, over: Over) -> Self {
        Self { after: Some(over), ..self }
    }

    /// Whether MAX answers and all settings can work.
    pub fn is_good(&self) -> bool {
        self.max.is_ok() && self.trouble.is_none()
    }

    /// Logs the result in one line.
    pub fn log(&self) {
        if self.is_good() { log::info!("{self}") } else { log::warn!("{self}") }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.max {
            Ok(Some(version)) => write!(f, "MAX {version} answers at {}", self.url)?,
            Ok(None) => write!(f, "MAX answers at {}", self.url)?,
            Err(why) => write!(f, "MAX does not answer at {}: {why}", self.url)?,
        }
        self.after.iter().try_for_each(|over| write!(f, ", {over}"))?;
        self.trouble.iter().try_for_each(|trouble| write!(f, "; but {trouble}"))
    }
}

/// Asks MAX for its release, and checks the service account if there is one.
pub(super) async fn probe(http: &Http, service: Option<&(Username, Token)>, scope: &HeaderValue) -> Probe {
    let deadline = http.deadline();
    let max = release(http, deadline).await;
    let trouble = match (&max, service) {
        (Ok(version), Some(account)) => trouble(http, account, scope, version.as_deref(), deadline).await,
        _ => None,
    };
    Probe { url: http.base_url().to_owned(), max, trouble, after: None }
}

async fn release(http: &Http, deadline: Instant) -> Result<Option<String>, String> {
    let mut first = None;
    // Old releases may have no `/info`, but all answer `/conversations` without headers by a refusal in the form of
    // MAX.
    for route in ["/info", "/conversations"] {
        let response = get(http, route, None, deadline)
            .await
            .map_err(|failure| format!("{}; check max.url, the network and, for https, max.ca_file", failure.cause))?;
        if response.status == 200
            && let Some(version) = answer::version(&response.body)
        {
            return Ok(Some(version));
        }
        if answer::refusal(&response.body).is_some() && response.status.as_u16() < 500 {
            return Ok(None);
        }
        first = first.or(Some(response.status));
    }
    let status = first.map(|status| format!(" by {status}")).unwrap_or_default();
    Err(format!(
        "GET /info is answered there{status}, but not as MAX does; check the path of max.url, and have a back end of \
         your own answer by {{\"version\": \"1\"}}"
    ))
}

/// Returns why the service account cannot answer joins without a token. `None` if there is no such reason.
async fn trouble(
    http: &Http,
    account: &(Username, Token),
    scope: &HeaderValue,
    version: Option<&str>,
    deadline: Instant,
) -> Option<String> {
    let name = account.0.as_str();
    let no_manager = format!("the service account {name} is no MAX Manager: have MAX give it that role");
    let refused = format!(
        "it does not accept the service account {name}: check max.service_username, max.service_token and max.scope"
    );
    if let Some(version) = version
        && version.starts_with("3.")
    {
        return Some(format!(
            "MAX {version} answers no joins without a token, which needs 4.0.0 or newer: clients have to send their \
             tokens, and max.tokenless_joins, max.service_username and max.service_token are of no use"
        ));
    }
    // A call that fails now says nothing against the account.
    let settings = get(http, "/info/settings", Some((account, scope)), deadline).await.ok()?;
    match (settings.status.as_u16(), answer::refusal(&settings.body)) {
        (200, _) => return None,
        (400, Some(said)) if said.error == "UnknownUserError" => return Some(refused),
        (401, Some(_)) => return Some(refused),
        (403, Some(_)) => return Some(no_manager),
        _ => {}
    }
    // Releases before 5.x do not have `/info/settings`. This call finds fewer faults, because everybody may see their
    // own conversations, Manager or not.
    let route = Route::Person.path(name);
    let person = get(http, &route, Some((account, scope)), deadline).await.ok()?;
    match (person.status.as_u16(), answer::refusal(&person.body)) {
        (200, _) if answer::person(&person.body, BOUNDS).is_ok_and(|person| person.talking_in.is_none()) => {
            Some(no_manager)
        }
        (401, said @ Some(_)) if verdict::says(said.as_ref(), "permission") => {
            Some(format!("{no_manager}; or it is a release before 4.0.0, which answers no joins without a token"))
        }
        (400, Some(said)) if said.error == "UnknownUserError" => Some(refused),
        (401 | 403, Some(_)) => Some(refused),
        _ => None,
    }
}

async fn get(
    http: &Http,
    route: &str,
    account: Option<(&(Username, Token), &HeaderValue)>,
    deadline: Instant,
) -> Result<Response, Failure> {
    let (headers, secret) = match account {
        Some(((name, token), scope)) => (identity(name, token, scope.clone())?, Some(token.clone())),
        None => (Vec::new(), None),
    };
    http.get(&Call { url: http.url(route)?, headers, secret }, deadline).await
}
