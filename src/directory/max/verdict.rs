//! The meaning of an answer of MAX for a join: the table of statuses, routes and errors. Pure.

use awc::http::StatusCode;

use super::answer::{self, Bounds, Flaw, Refusal};
use super::call::Response;
use super::route::{Outcome, Route};
use crate::event::{Code, ConversationId, Username};

/// The account by which MAX is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The user who joins.
    User,
    /// The service account.
    Service,
}

/// The meaning of an answer that is no list of conversations.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: Code,
    /// An explanation for the log, which may quote MAX.
    pub(super) what: String,
    /// The outcome, for the choice of the next call.
    pub(super) outcome: Outcome,
    /// Whether the answer was about somebody else.
    pub(super) misdelivered: bool,
}

impl Verdict {
    fn new(code: Code, outcome: Outcome, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), outcome, misdelivered: false }
    }
}

/// Reads the conversations of `username` from an answer.
pub(super) fn judge(
    response: &Response,
    caller: Caller,
    route: Route,
    username: &Username,
    bounds: Bounds,
) -> Result<Vec<ConversationId>, Verdict> {
    if response.status != StatusCode::OK {
        return Err(refused(response, caller, route, username));
    }
    let flawed = |flaw| match flaw {
        // The body had no length: only the close of the connection has ended it.
        Flaw::Empty if !response.whole => {
            Verdict::new(Code::MaxUnavailable, Outcome::Final, "the connection was closed before the answer's body")
        }
        Flaw::Empty => Verdict::new(Code::MaxGarbage, Outcome::NotForUser, "not the expected JSON: an empty body"),
        Flaw::CutOff if response.whole => Verdict::new(Code::MaxGarbage, Outcome::Final, "the JSON ends half-way"),
        Flaw::CutOff => {
            Verdict::new(Code::MaxUnavailable, Outcome::Final, "the connection was closed half-way through the answer")
        }
        Flaw::Garbage(how) => {
            // A server that does not know this call may answer with a page.
            let is_json = matches!(response.body.trim_ascii_start().first(), Some(b'{' | b'['));
            let outcome = if is_json { Outcome::NotForUser } else { Outcome::NotServed };
            Verdict::new(Code::MaxGarbage, outcome, format!("not the expected JSON: {how}"))
        }
        Flaw::TooMany => Verdict::new(
            Code::TooManyConversations,
            Outcome::Final,
            format!("{} has more than {}", username.as_str(), bounds.conversations_max),
        ),
    };
    if route == Route::List {
        return answer::conversations(&response.body, bounds).map_err(flawed);
    }
    let person = answer::person(&response.body, bounds).map_err(flawed)?;
    if Username::parse(&person.username).as_ref() != Ok(username) {
        let what = format!("the answer is about {}, and not about {}", person.username, username.as_str());
        return Err(Verdict { misdelivered: true, ..Verdict::new(Code::MaxGarbage, Outcome::Final, what) });
    }
    person.talking_in.ok_or_else(|| match caller {
        Caller::Service => Verdict::new(
            Code::MaxUnavailable,
            Outcome::Final,
            "the answer has no talkingIn: the service account is no MAX Manager",
        ),
        Caller::User => Verdict::new(Code::MaxGarbage, Outcome::NotForUser, "the answer has no talkingIn"),
    })
}

/// The meaning of a status other than 200.
fn refused(response: &Response, caller: Caller, route: Route, username: &Username) -> Verdict {
    let said = answer::refusal(&response.body);
    let (code, outcome) = meaning(response.status, caller, route, username, said.as_ref());
    let mut what = response.status.to_string();
    if let Some(location) = &response.location {
        what.push_str(&format!(", to {location}"));
    }
    match &said {
        Some(Refusal { error, description: None }) => what.push_str(&format!(", {error}")),
        Some(Refusal { error, description: Some(why) }) => what.push_str(&format!(", {error}: {why}")),
        None => what.push_str(", not in the form of MAX"),
    }
    if caller == Caller::Service && matches!(response.status.as_u16(), 400 | 401 | 403) {
        // In MAX 3.x no Manager may ask about others.
        let hint = if says(said.as_ref(), "permission to access") {
            ": this is a MAX before 4.0.0, which answers no joins without a token, or the service account is no MAX \
             Manager"
        } else {
            ""
        };
        what.insert_str(response.status.to_string().len(), &format!(" to the service account{hint}"));
    }
    Verdict::new(code, outcome, what)
}

/// The table of meanings. Errors count as MAX's own only in MAX's form: the same status from a proxy says nothing about
/// a user.
fn meaning(
    status: StatusCode,
    caller: Caller,
    route: Route,
    username: &Username,
    said: Option<&Refusal>,
) -> (Code, Outcome) {
    use Outcome::{Away, Crash, Final, NotForUser, NotServed};
    let error = said.map(|said| said.error.as_str());
    // Other servers have an error `Unauthorized` too, but without MAX's description.
    let described = said.is_some_and(|said| said.description.is_some());
    match (status.as_u16(), caller) {
        // This error means that MAX does not know its caller, here the service account. If it does not know the person
        // asked about, its error is `ObjectNotFound`.
        (400, Caller::Service) if error == Some("UnknownUserError") && !names(said, username) => {
            (Code::MaxUnavailable, Final)
        }
        (400, _) if error == Some("UnknownUserError") => (Code::UnknownUser, Final),
        // A MAX without this call may use the same words as for an unknown person.
        (404, Caller::User) if error == Some("ObjectNotFound") && route == Route::Person => {
            (Code::UnknownUser, NotForUser)
        }
        (404, _) if error == Some("ObjectNotFound") => (Code::UnknownUser, Final),
        (401 | 403, Caller::Service) => (Code::MaxUnavailable, Final),
        // The headers were sent, so a proxy has removed them.
        (401, Caller::User) if says(said, "No auth headers") => (Code::MaxError, Final),
        // A MAX may deny this call to the person, in the same way as it refuses a bad token.
        (401 | 403, Caller::User) if route == Route::Person => {
            (if described { Code::Unauthorized } else { Code::MaxError }, NotForUser)
        }
        (401 | 403, Caller::User) if described => (Code::Unauthorized, Final),
        // A proxy closed the idle connection just when this request came (RFC 9110, 15.5.9).
        (408, _) => (Code::MaxUnavailable, Away),
        (500, _) => (Code::MaxUnavailable, Crash),
        (501, _) => (Code::MaxUnavailable, NotServed),
        (502 | 503, _) => (Code::MaxUnavailable, Away),
        (504.., _) => (Code::MaxUnavailable, Final),
        (404 | 405 | 410, _) => (Code::MaxError, NotServed),
        (200..=299, _) => (Code::MaxGarbage, NotServed),
        _ => (Code::MaxError, Final),
    }
}

/// Whether a refusal may be about this user: its description names this user, or it has none. MAX's words are
/// `Unknown user: messi`.
fn names(said: Option<&Refusal>, username: &Username) -> bool {
    let Some(description) = said.and_then(|said| said.description.as_deref()) else { return true };
    let text = description.to_lowercase();
    let bare = |text: &str| text.trim().trim_end_matches('.').trim_matches(['"', '\'']) == username.as_str();
    match text.split_once("unknown user:") {
        Some((_, named)) => bare(named),
        None => text.split_whitespace().any(bare),
    }
}

/// Whether the description of a refusal contains these words.
pub(super) fn says(said: Option<&Refusal>, words: &str) -> bool {
    said.and_then(|said| said.description.as_deref()).is_some_and(|description| description.contains(words))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Caller::{Service, User};
    use super::Outcome::{Away, Crash, Final, NotForUser, NotServed};
    use super::Route::{List, Person};
    use super::*;

    const BOUNDS: Bounds = Bounds { conversations_max: 3, id_bytes_max: 8 };

    fn judged(caller: Caller, route: Route, status: u16, body: &str) -> Result<Vec<ConversationId>, Verdict> {
        let status = StatusCode::from_u16(status).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let response = Response { status, body, whole: true, location: None };
        judge(&response, caller, route, &Username::parse("messi").unwrap(), BOUNDS)
    }

    fn said(error: &str, description: &str) -> String {
        format!(r#"{{"error":"{error}","error_description":"{description}"}}"#)
    }

    #[test]
    fn every_status_has_its_meaning() {
        let unknown = said("UnknownUserError", "Unknown user: messi");
        let (gone, token) = (said("ObjectNotFound", "No."), said("Unauthorized", "Invalid token."));
        let (forbidden, crash) = (said("Forbidden", "No."), said("ServerError", "Oh."));
        let stripped = said("Unauthorized", "No auth headers found.");
        let page = "<html><h1>Sorry</h1></html>";
        for (caller, route, status, body, code, outcome) in [
            (User, Person, 400, &*unknown, Code::UnknownUser, Final),
            (User, List, 400, &unknown, Code::UnknownUser, Final),
            (Service, Person, 400, &unknown, Code::UnknownUser, Final),
            (Service, Person, 404, &gone, Code::UnknownUser, Final),
            (User, Person, 404, &gone, Code::UnknownUser, NotForUser),
            (User, List, 404, &gone, Code::UnknownUser, Final),
            // The same names with other statuses, and other forms with the same statuses.
            (Service, Person, 404, &unknown, Code::MaxError, NotServed),
            (Service, Person, 400, &gone, Code::MaxError, Final),
            (Service, Person, 404, page, Code::MaxError, NotServed),
            (Service, Person, 404, "", Code::MaxError, NotServed),
            (User, List, 400, page, Code::MaxError, Final),
            (User, Person, 401, &token, Code::Unauthorized, NotForUser),
            (User, List, 401, &token, Code::Unauthorized, Final),
            (User, List, 403, &forbidden, Code::Unauthorized, Final),
            (User, Person, 403, &forbidden, Code::Unauthorized, NotForUser),
            (User, Person, 401, page, Code::MaxError, NotForUser),
            (User, List, 401, r#"{"error":"invalid_token","error_description":"x"}"#, Code::MaxError, Final),
            (User, List, 401, &stripped, Code::MaxError, Final),
            (User, Person, 401, r#"{"status":401,"error":"Unauthorized","path":"/x"}"#, Code::MaxError, NotForUser),
            (User, Person, 400, r#"{"error":"UnknownUserError"}"#, Code::UnknownUser, Final),
            (User, List, 403, page, Code::MaxError, Final),
            (User, Person, 403, page, Code::MaxError, NotForUser),
            (Service, Person, 400, &said("UnknownUserError", "Unknown user: bot"), Code::MaxUnavailable, Final),
            (Service, Person, 400, &said("UnknownUserError", "Unknown user: messibot"), Code::MaxUnavailable, Final),
            (Service, Person, 400, &said("UnknownUserError", "Unknown user: messi"), Code::UnknownUser, Final),
            (Service, Person, 400, &said("UnknownUserError", "Unknown user: messi-bot"), Code::MaxUnavailable, Final),
            (Service, Person, 400, &said("UnknownUserError", "Nobody is messi@bot"), Code::MaxUnavailable, Final),
            (Service, Person, 400, &said("UnknownUserError", "Nobody is 'Messi'"), Code::UnknownUser, Final),
            (Service, Person, 400, &said("UnknownUserError", "There is no user messi."), Code::UnknownUser, Final),
            (Service, Person, 401, &token, Code::MaxUnavailable, Final),
            (Service, Person, 403, page, Code::MaxUnavailable, Final),
            (User, Person, 500, &crash, Code::MaxUnavailable, Crash),
            (User, List, 500, page, Code::MaxUnavailable, Crash),
            (User, Person, 501, page, Code::MaxUnavailable, NotServed),
            (User, Person, 502, page, Code::MaxUnavailable, Away),
            (Service, Person, 503, "", Code::MaxUnavailable, Away),
            (User, Person, 504, page, Code::MaxUnavailable, Final),
            (User, List, 599, "", Code::MaxUnavailable, Final),
            (User, Person, 405, "", Code::MaxError, NotServed),
            (User, Person, 410, "", Code::MaxError, NotServed),
            (User, Person, 407, "", Code::MaxError, Final),
            (User, Person, 408, "", Code::MaxUnavailable, Away),
            (User, Person, 200, page, Code::MaxGarbage, NotServed),
            (User, Person, 200, r#"{"username":"messi","talkingIn":[{"id":7}]}"#, Code::MaxGarbage, NotForUser),
            (User, List, 200, "", Code::MaxGarbage, NotForUser),
            (User, Person, 412, "", Code::MaxError, Final),
            (User, Person, 429, page, Code::MaxError, Final),
            (User, Person, 302, "", Code::MaxError, Final),
            (User, Person, 304, "", Code::MaxError, Final),
            (User, Person, 204, "", Code::MaxGarbage, NotServed),
            (User, Person, 201, "[]", Code::MaxGarbage, NotServed),
        ] {
            let verdict = judged(caller, route, status, body).unwrap_err();
            assert_eq!((verdict.code, verdict.outcome), (code, outcome), "{caller:?} {route:?} {status} {body}");
        }
    }

    #[test]
    fn a_person_is_compared_with_the_one_asked_for() {
        for name in ["messi", "Messi", "MESSI"] {
            let json = format!(r#"{{"username":"{name}","talkingIn":[{{"id":"a"}}]}}"#);
            assert_eq!(judged(Service, Person, 200, &json), Ok(vec!["a".into()]));
        }
        for name in ["xavi", "mess", "messi ", "", "messi\\n"] {
            let json = format!(r#"{{"username":"{name}","talkingIn":[{{"id":"a"}}]}}"#);
            for caller in [Service, User] {
                let verdict = judged(caller, Person, 200, &json).unwrap_err();
                assert_eq!((verdict.code, verdict.misdelivered), (Code::MaxGarbage, true), "{verdict:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_said_in_words() {
        let verdict = judged(Service, Person, 200, r#"{"username":"messi"}"#).unwrap_err();
        assert!(verdict.code == Code::MaxUnavailable && verdict.what.contains("no MAX Manager"), "{verdict:?}");
        let verdict = judged(User, Person, 200, r#"{"username":"messi"}"#).unwrap_err();
        assert_eq!((verdict.code, verdict.outcome), (Code::MaxGarbage, NotForUser));
        let denied = said("Unauthorized", "You don't have permission to access messi resources");
        let verdict = judged(Service, Person, 401, &denied).unwrap_err();
        assert!(verdict.what.starts_with("401 Unauthorized to the service account: this is a MAX before 4.0.0"));
    }
}
