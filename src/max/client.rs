//! The REST calls to MAX, through awc: whose conversations, asked as whom, within which bounds, and what each answer
//! means to the one who joins.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::{ParseError, PayloadError};
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use awc::http::{StatusCode, Uri};
use awc::{Client, ClientResponse, Connector};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Bounds, Flaw};
use super::{Answer, Failure, Gate, Question, trust};
use crate::config;
use crate::event::{Code, Token, Username};

/// Longer than any OAuth token; what is longer is refused here instead of by MAX's proxy.
const HEADER_BYTES_MAX: usize = 8192;
/// As much of a refusal is read as may hold its reason.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// As much of what MAX says goes into a cause.
const QUOTE_CHARS_MAX: usize = 200;
/// What stays as it is in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who may join without a token, and then be whoever they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokenless {
    /// Nobody: `token_required`.
    Never,
    /// Whoever connects from this machine.
    FromLoopback,
    /// Everybody.
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

/// Which MAX is asked, and as whom where a join has no token.
#[derive(Clone, Debug)]
pub struct Target {
    /// The base URL: http or https, with MAX's path, if any.
    pub url: String,
    /// A MAX Manager and its token.
    pub service: Option<(Username, Token)>,
    /// Who may join without a token. Needs `service`.
    pub tokenless: Tokenless,
}

impl Target {
    /// The MAX of the configuration; none where `max.url` is not set.
    ///
    /// # Errors
    /// A sentence for the operator where the settings of the service account do not fit each other.
    pub fn configured(settings: &config::Max) -> Result<Option<Self>, String> {
        let Some(url) = settings.url.clone() else { return Ok(None) };
        let service = match (&settings.service_username, &settings.service_token) {
            (Some(name), Some(token)) => {
                let name = Username::parse(name).map_err(|code| format!("max.service_username: {}", code.reason()))?;
                Some((name, Token::from(token.reveal())))
            }
            (None, None) => None,
            _ => return Err("max.service_username and max.service_token go together".to_owned()),
        };
        if settings.tokenless_joins && service.is_none() {
            return Err("max.tokenless_joins needs max.service_username and max.service_token".to_owned());
        }
        let tokenless = if settings.tokenless_joins { Tokenless::Always } else { Tokenless::Never };
        Ok(Some(Self { url, service, tokenless }))
    }
}

/// MAX, as one thread asks it. A clone is cheap and shares the connections; [`Gate`] is shared between threads.
#[derive(Clone)]
pub struct Directory(Rc<Inner>);

struct Inner {
    /// Reuses its connections.
    pool: Client,
    /// Never does: for the second try of a call that met a connection which MAX was closing.
    fresh: Client,
    base: String,
    scope: HeaderValue,
    service: Option<(Username, Token)>,
    tokenless: Tokenless,
    gate: Arc<Gate>,
    timeout: Duration,
    body_bytes_max: usize,
    bounds: Bounds,
}

impl Directory {
    /// Makes the client of this thread. It connects to nothing yet, but reads the certificates.
    ///
    /// # Errors
    /// A sentence for the operator where the URL, the scope or `max.ca_file` cannot be used.
    pub fn new(settings: &config::Max, target: Target, id_bytes_max: usize, gate: Arc<Gate>) -> Result<Self, String> {
        let (base, https) = base_url(&target.url).map_err(|flaw| format!("max.url: {flaw}"))?;
        let scope = HeaderValue::from_str(&settings.scope).map_err(|_| "max.scope: not a header value".to_owned())?;
        let tls = trust::tls(https, settings.ca_file.as_deref())?;
        let timeout = Duration::from_millis(settings.timeout_ms);
        let client = || {
            // One deadline of ours is over everything: awc's own are set to come after it.
            let later = timeout + Duration::from_secs(1);
            let connector = Connector::new().rustls_0_23(Arc::clone(&tls)).timeout(later).handshake_timeout(later);
            Client::builder()
                .connector(connector.limit(settings.inflight_max.max(1)))
                .disable_timeout()
                .disable_redirects()
                .add_default_header(("User-Agent", concat!("maxtalk/", env!("CARGO_PKG_VERSION"))))
                .finish()
        };
        Ok(Self(Rc::new(Inner {
            pool: client(),
            fresh: client(),
            base,
            scope,
            service: target.service,
            tokenless: target.tokenless,
            gate,
            timeout,
            body_bytes_max: settings.body_bytes_max,
            bounds: Bounds { conversations_max: settings.conversations_max, id_bytes_max },
        })))
    }

    /// Asks MAX for the conversations of somebody: as that user where there is a token, else as the service account
    /// where that is allowed. Dropping the future gives up the call and its place at once.
    ///
    /// # Errors
    /// What the one who joins is told, and for the log why.
    pub fn conversations_of(&self, question: Question) -> impl Future<Output = Result<Answer, Failure>> + use<> {
        let inner = Rc::clone(&self.0);
        async move {
            let call = inner.call(question)?;
            let place = inner.gate.enter().await?;
            // A call that nobody waits for any more still keeps MAX busy, so it keeps its place until it ends by
            // itself.
            let calling = actix_rt::spawn(async move {
                let answer = inner.ask(call).await;
                drop(place);
                answer
            });
            calling
                .await
                .unwrap_or_else(|lost| Err(Failure::new(Code::MaxUnavailable, format!("the call failed: {lost}"))))
        }
    }
}

/// As whom MAX is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    User,
    Service,
}

/// One question to MAX, ready to be sent, twice if need be.
struct Call {
    caller: Caller,
    url: Uri,
    headers: [(HeaderName, HeaderValue); 3],
    username: Username,
    secret: Token,
}

impl Call {
    /// A failure with a cause that says which call it was, quotes at most a line, and never the token.
    fn failed(&self, code: Code, what: &str) -> Failure {
        Failure::new(code, format!("GET {}: {}", self.url, self.quote(what)))
    }

    fn quote(&self, text: &str) -> String {
        let secret = self.secret.reveal();
        let hide = |text: &str, secret: &str| if secret.is_empty() { text.into() } else { text.replace(secret, "***") };
        // What MAX or a parser echoes may be escaped already.
        let safe = hide(&hide(text, secret), &secret.escape_debug().to_string());
        let safe = safe.escape_debug().to_string();
        match safe.char_indices().nth(QUOTE_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &safe[..end]),
            None => safe,
        }
    }
}

impl Inner {
    /// Decides who is asked.
    fn call(&self, question: Question) -> Result<Call, Failure> {
        let Question { username, token, scope, peer } = question;
        let scope = scope.as_deref().map(header).transpose()?.unwrap_or_else(|| self.scope.clone());
        if let Some(token) = token {
            let headers = identity(&username, &token, scope)?;
            return Ok(Call {
                caller: Caller::User,
                url: self.url("/conversations")?,
                headers,
                username,
                secret: token,
            });
        }
        let Some((name, token)) = self.service.as_ref().filter(|_| self.tokenless.allows(peer)) else {
            return Err(Failure::new(Code::TokenRequired, "a join without a token"));
        };
        if matches!(username.as_str(), "." | "..") {
            // As a path segment these are no name, encoded or not: proxies resolve them.
            return Err(Failure::new(Code::UnknownUser, "a username that cannot stand in a path"));
        }
        let url = self.url(&format!("/people/{}", utf8_percent_encode(username.as_str(), SEGMENT)))?;
        let headers = identity(name, token, self.scope.clone())?;
        Ok(Call { caller: Caller::Service, url, headers, username, secret: token.clone() })
    }

    /// A join of the two that keeps the path of the base.
    fn url(&self, route: &str) -> Result<Uri, Failure> {
        let url = format!("{}{route}", self.base);
        url.parse().map_err(|error| Failure::new(Code::MaxError, format!("cannot ask for {url}: {error}")))
    }

    async fn ask(&self, call: Call) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout;
        let response = self.send(&call, deadline).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&call, response, deadline).await);
        }
        let (body, whole) = self.body(&call, response, deadline).await?;
        let answer = match call.caller {
            Caller::User => answer::conversations(&body, self.bounds).map(|conversations| (None, conversations)),
            Caller::Service => answer::person(&body, self.bounds).map(|(name, talking)| (Some(name), talking)),
        };
        let (name, conversations) = answer.map_err(|flaw| match flaw {
            Flaw::CutOff if whole => call.failed(Code::MaxGarbage, "the JSON ends half-way"),
            Flaw::CutOff => call.failed(Code::MaxUnavailable, "the connection was closed half-way through the answer"),
            Flaw::Garbage(how) => call.failed(Code::MaxGarbage, &format!("not the expected JSON: {how}")),
            Flaw::TooMany => {
                let most = self.bounds.conversations_max;
                call.failed(Code::TooManyConversations, &format!("{} has more than {most}", call.username.as_str()))
            }
        })?;
        let username = match name {
            None => call.username,
            Some(name) => Username::parse(&name)
                .map_err(|code| call.failed(Code::MaxGarbage, &format!("username {name}: {}", code.reason())))?,
        };
        Ok(Answer { username, conversations })
    }

    /// Sends the call, and once more on a new connection where this one was lost before it brought an answer: MAX may
    /// have been closing it just then, and awc cannot know.
    async fn send(&self, call: &Call, deadline: Instant) -> Result<ClientResponse, Failure> {
        let request = |client: &Client| {
            call.headers.iter().cloned().fold(client.get(&call.url), |get, header| get.insert_header(header))
        };
        let tries = async {
            match request(&self.pool).send().await {
                Err(error) if lost(&error) => request(&self.fresh).force_close().send().await,
                first => first,
            }
        };
        match timeout_at(deadline, tries).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unanswered(call, error)),
            Err(_) => Err(self.late(call, "no answer")),
        }
    }

    /// Reads the body up to the bound. The flag says whether it is known to be whole: awc takes a connection that is
    /// closed half-way for the end of the body.
    async fn body(&self, call: &Call, response: ClientResponse, deadline: Instant) -> Result<(Bytes, bool), Failure> {
        let announced = content_length(response.headers());
        let too_large = || call.failed(Code::MaxTooLarge, &format!("more than {} bytes", self.body_bytes_max));
        let fits = |length: usize| if length <= self.body_bytes_max { Ok(()) } else { Err(too_large()) };
        fits(announced.unwrap_or(0))?;
        let reading = async {
            let mut response = response;
            let mut body = BytesMut::new();
            while let Some(chunk) = response.next().await {
                let chunk = chunk.map_err(|error| broken(call, error))?;
                fits(body.len() + chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            Ok(body.freeze())
        };
        let body =
            timeout_at(deadline, reading).await.map_err(|_| self.late(call, "the answer was not complete"))??;
        match announced {
            Some(length) if body.len() < length => Err(call.failed(
                Code::MaxUnavailable,
                &format!("the connection was closed after {} of {length} bytes", body.len()),
            )),
            announced => Ok((body, announced.is_some())),
        }
    }

    fn late(&self, call: &Call, what: &str) -> Failure {
        call.failed(Code::MaxTimeout, &format!("{what} within {} ms", self.timeout.as_millis()))
    }
}

/// Checks a base URL, and takes the slash off its end. The flag says whether it is https.
fn base_url(url: &str) -> Result<(String, bool), String> {
    let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
    let https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("needs to begin with http:// or https://".to_owned()),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    match authority.ok_or("names no host")? {
        with if with.as_str().contains('@') => Err("cannot carry a name and password".to_owned()),
        ip if https && ip.host().starts_with('[') => Err("https needs a host name or an IPv4 address".to_owned()),
        _ if uri.query().is_some() || url.contains('#') => Err("cannot have a query or a fragment".to_owned()),
        _ => Ok((url.trim_end_matches('/').to_owned(), https)),
    }
}

/// The three headers that MAX wants with every call.
fn identity(username: &Username, token: &Token, scope: HeaderValue) -> Result<[(HeaderName, HeaderValue); 3], Failure> {
    let mut secret = header(token.reveal())?;
    secret.set_sensitive(true);
    Ok([
        (HeaderName::from_static("x-oauth-token"), secret),
        (HeaderName::from_static("x-oauth-username"), header(username.as_str())?),
        (HeaderName::from_static("x-oauth-scope"), scope),
    ])
}

/// Text as UTF-8 bytes. What cannot be a header cannot be anybody's token or scope either.
fn header(text: &str) -> Result<HeaderValue, Failure> {
    let value = (text.len() <= HEADER_BYTES_MAX).then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten();
    value.ok_or_else(|| Failure::new(Code::Unauthorized, "a token or scope that cannot be sent in a header"))
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// Whether the connection was there and went away before the first byte of an answer.
fn lost(error: &SendRequestError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) | SendRequestError::Send(_) => true,
        SendRequestError::Response(ParseError::Io(error)) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        _ => false,
    }
}

/// What it means that no head of an answer came.
fn unanswered(call: &Call, error: SendRequestError) -> Failure {
    let (code, what) = match error {
        SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout) => {
            (Code::MaxTimeout, "no connection in time".to_owned())
        }
        SendRequestError::Connect(ConnectError::Disconnected) => {
            (Code::MaxUnavailable, "the connection was closed without an answer".to_owned())
        }
        SendRequestError::Connect(error) => (Code::MaxUnavailable, format!("cannot connect: {error}")),
        SendRequestError::Response(ParseError::Io(error)) => {
            (Code::MaxUnavailable, format!("the connection was lost before the answer: {error}"))
        }
        SendRequestError::Response(ParseError::TooLarge) => (Code::MaxTooLarge, "the head is too large".to_owned()),
        SendRequestError::Response(error) => (Code::MaxGarbage, format!("not HTTP: {error}")),
        error => (Code::MaxUnavailable, error.to_string()),
    };
    call.failed(code, &what)
}

/// What it means that a body stopped.
fn broken(call: &Call, error: PayloadError) -> Failure {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let (code, what) = match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => match error.kind() {
            InvalidData | InvalidInput => (Code::MaxGarbage, format!("not HTTP: {error}")),
            _ => (Code::MaxUnavailable, format!("the connection was lost half-way: {error}")),
        },
        error => (Code::MaxUnavailable, format!("the connection was lost half-way: {error}")),
    };
    call.failed(code, &what)
}

/// What it means that MAX answered with another status than 200. The body may say why; what it says by the deadline and
/// within its bound is heard, the status alone is enough.
async fn refusal(call: &Call, mut response: ClientResponse, deadline: Instant) -> Failure {
    let status = response.status();
    let location =
        response.headers().get(LOCATION).map(|to| format!(", to {}", String::from_utf8_lossy(to.as_bytes())));
    let mut body = BytesMut::new();
    let reading = async {
        while let Some(Ok(chunk)) = response.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > REFUSAL_BYTES_MAX {
                break;
            }
        }
    };
    // A body that does not come in time is read as far as it came.
    let _ = timeout_at(deadline, reading).await;
    let reason = answer::refusal(&body);
    let code = code_of(call.caller, status, reason.as_ref().map(|(error, _)| error.as_str()));
    let mut what = status.to_string();
    if call.caller == Caller::Service && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        what.push_str(" to the service account");
    }
    what.extend(location);
    if let Some((error, description)) = reason {
        what.push_str(&format!(", {error}"));
        what.extend(description.map(|description| format!(": {description}")));
    }
    call.failed(code, &what)
}

/// The table of what a status means. `error` is MAX's own name for it.
fn code_of(caller: Caller, status: StatusCode, error: Option<&str>) -> Code {
    match (status.as_u16(), caller) {
        (401 | 403, Caller::User) => Code::Unauthorized,
        (401 | 403, Caller::Service) => Code::MaxUnavailable,
        (400, _) if error == Some("UnknownUserError") => Code::UnknownUser,
        (404, Caller::Service) => Code::UnknownUser,
        (200..=299, _) => Code::MaxGarbage,
        (500.., _) => Code::MaxUnavailable,
        _ => Code::MaxError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_code() {
        use Caller::{Service, User};
        let unknown = Some("UnknownUserError");
        for (caller, status, error, code) in [
            (User, 401, None, Code::Unauthorized),
            (User, 403, None, Code::Unauthorized),
            (Service, 401, None, Code::MaxUnavailable),
            (Service, 403, None, Code::MaxUnavailable),
            (User, 400, unknown, Code::UnknownUser),
            (Service, 400, unknown, Code::UnknownUser),
            (User, 400, Some("ValidationError"), Code::MaxError),
            (User, 400, None, Code::MaxError),
            (User, 404, Some("ObjectNotFound"), Code::MaxError),
            (Service, 404, None, Code::UnknownUser),
            (User, 404, unknown, Code::MaxError),
            (User, 418, None, Code::MaxError),
            (User, 301, None, Code::MaxError),
            (Service, 302, None, Code::MaxError),
            (User, 101, None, Code::MaxError),
            (User, 204, None, Code::MaxGarbage),
            (User, 500, Some("ServerError"), Code::MaxUnavailable),
            (Service, 503, None, Code::MaxUnavailable),
            (User, 599, None, Code::MaxUnavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(code_of(caller, status, error), code, "{caller:?} {status} {error:?}");
        }
    }

    #[test]
    fn a_base_url_is_checked_and_keeps_its_path() {
        for (url, base) in [
            ("http://max.example", ("http://max.example", false)),
            ("http://max.example/", ("http://max.example", false)),
            ("https://max.example:8443/max/domain/", ("https://max.example:8443/max/domain", true)),
            ("http://[::1]:8081/max", ("http://[::1]:8081/max", false)),
        ] {
            assert_eq!(base_url(url), Ok((base.0.to_owned(), base.1)));
        }
        for url in [
            "",
            "max.example",
            "/max",
            "ftp://max.example/",
            "http:///max",
            "http://me:secret@max.example/",
            "https://[::1]/",
            "http://max.example/?a",
            "http://max.example/#a",
            "http://max example/",
        ] {
            assert!(base_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn loopback_is_told_in_either_family() {
        for (peer, allowed) in [("127.0.0.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)] {
            assert_eq!(Tokenless::FromLoopback.allows(peer.parse().unwrap()), allowed, "{peer}");
        }
    }

    #[test]
    fn a_cause_never_quotes_the_token() {
        for secret in ["abc", "a\"b", "\u{e9}\u{7f}\\", ""] {
            let call = Call {
                caller: Caller::User,
                url: Uri::from_static("http://max/conversations"),
                headers: identity(&Username::parse("u").unwrap(), &"t".into(), HeaderValue::from_static("s")).unwrap(),
                username: Username::parse("u").unwrap(),
                secret: secret.into(),
            };
            let cause =
                call.quote(&format!("<{secret}> {secret:?} {} é\r\n{}", secret.escape_debug(), "y".repeat(500)));
            let escaped = secret.escape_debug().to_string();
            assert!(secret.is_empty() || !cause.contains(secret) && !cause.contains(&escaped), "{cause}");
            assert!(!cause.contains('\n') && cause.chars().count() <= QUOTE_CHARS_MAX + 3, "{cause}");
        }
    }
}
