//! One call to MAX by HTTP: a GET with three headers, one deadline over all of it, a bound on its answer; and the words
//! for how it failed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::{ParseError, PayloadError};
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use awc::http::{StatusCode, Uri};
use awc::{Client, ClientResponse, Connector};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connections;
use super::dial::{Dialer, Lookup, Tls};
use super::response::Fault;
use crate::config;
use crate::directory::Failure;
use crate::event::{Code, Token};

/// As much of a refusal is read as may hold its reason.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// As much of what MAX says goes into a cause.
const QUOTE_CHARS_MAX: usize = 200;
/// A shorter secret is part of ordinary words: hiding it would hide those.
const HIDDEN_CHARS_MIN: usize = 8;

/// One question to MAX, ready to be sent.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) url: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What the cause of a failure must not show.
    pub(super) secret: Option<Token>,
}

impl Call {
    /// A failure with a cause that says which call it was, quotes at most a line, and never the token.
    pub(super) fn failed(&self, code: Code, what: &str) -> Failure {
        Failure::new(code, format!("GET {}: {}", self.url, self.quote(what)))
    }

    fn quote(&self, text: &str) -> String {
        let secret = self.secret.as_ref().map_or("", Token::reveal);
        let hide = |text: &str, secret: &str| {
            if secret.chars().count() < HIDDEN_CHARS_MIN { text.to_owned() } else { text.replace(secret, "***") }
        };
        // What MAX or a parser echoes may be escaped already.
        let safe = hide(&hide(text, secret), &secret.escape_debug().to_string());
        let safe = safe.escape_debug().to_string();
        match safe.char_indices().nth(QUOTE_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &safe[..end]),
            None => safe,
        }
    }
}

/// What MAX has answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// Whether the body is known to be whole: only the close has told the end of another.
    pub(super) whole: bool,
    /// Where a redirect leads to.
    pub(super) location: Option<String>,
}

/// Where MAX is.
pub(super) struct BaseUrl {
    /// The URL without a slash at its end.
    pub(super) url: String,
    pub(super) https: bool,
    /// A name or an address, one of IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as a request says them.
    pub(super) authority: String,
}

impl BaseUrl {
    /// Reads a base URL.
    ///
    /// # Errors
    /// What is wrong with it, in a few words that do not quote it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("needs to begin with http:// or https://".to_owned()),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = match authority.ok_or("names no host")? {
            with if with.as_str().contains('@') => return Err("cannot carry a name and password".to_owned()),
            ip if https && ip.host().starts_with('[') => {
                return Err("https needs a host name or an IPv4 address".to_owned());
            }
            _ if uri.query().is_some() || url.contains('#') => {
                return Err("cannot have a query or a fragment".to_owned());
            }
            authority => authority,
        };
        let usual = if https { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual);
        let host = authority.host();
        let said = if port == usual { host.to_owned() } else { format!("{host}:{port}") };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            https,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: said,
        })
    }
}

/// The client of one thread for one MAX.
pub(super) struct Http {
    /// Reuses its connections.
    pool: Client,
    /// Never does: for the second try of a call that met a connection which MAX was closing.
    fresh: Client,
    connections: Connections,
    base: BaseUrl,
    host: HeaderValue,
    timeout: Duration,
    body_bytes_max: usize,
}

impl Http {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// A sentence for the operator where the URL cannot be used.
    pub(super) fn new(settings: &config::Max, base: BaseUrl, tls: Option<Tls>, lookup: Lookup) -> Result<Self, String> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let dialer = Dialer::new(&base.host, base.port, tls, settings.allow_link_local, timeout, lookup);
        let connections = Connections::new(dialer);
        let client = || {
            // One deadline of ours is over everything: awc's own are set to come after it.
            let later = timeout + Duration::from_secs(1);
            let connector = Connector::new().connector(connections.clone()).timeout(later).handshake_timeout(later);
            Client::builder()
                // The gate bounds the calls; beside them there is the probe.
                .connector(connector.limit(settings.inflight_max.max(1) + 1))
                .disable_timeout()
                .disable_redirects()
                .add_default_header(("User-Agent", concat!("maxtalk/", env!("CARGO_PKG_VERSION"))))
                .finish()
        };
        let host = HeaderValue::from_str(&base.authority).map_err(|_| "max.url: not a host".to_owned())?;
        let (pool, fresh) = (client(), client());
        Ok(Self { pool, fresh, connections, base, host, timeout, body_bytes_max: settings.body_bytes_max })
    }

    /// The base URL, as it was given.
    pub(super) fn base_url(&self) -> &str {
        &self.base.url
    }

    /// When a call that begins now has to be over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// A join of base and route that keeps the path of the base.
    ///
    /// # Errors
    /// There is no such URL.
    pub(super) fn url(&self, route: &str) -> Result<Uri, Failure> {
        let url = format!("{}{route}", self.base.url);
        url.parse().map_err(|error| Failure::new(Code::MaxError, format!("cannot ask for {url}: {error}")))
    }

    /// An answer was somebody else's: what lies in the connections is not believed any more.
    pub(super) fn distrust(&self) {
        self.connections.distrust();
    }

    /// Asks, and reads the answer whatever its status.
    ///
    /// # Errors
    /// There is no answer, or no whole one with the status 200.
    pub(super) async fn get(&self, call: &Call, deadline: Instant) -> Result<Response, Failure> {
        let response = match timeout_at(deadline, self.send(call)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unanswered(call, error)),
            Err(_) => return Err(self.late(call, "no answer")),
        };
        let status = response.status();
        let location = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        let whole = !response.headers().contains_key(CONNECTION);
        let body = if status == StatusCode::OK {
            self.body(call, response, deadline).await?
        } else {
            refusal(response, deadline).await
        };
        Ok(Response { status, body, whole, location })
    }

    /// Sends the call, and again on a new connection: where this one was lost before it brought an answer, for MAX may
    /// have been closing it just then, and awc cannot know; and where the address is silent and there is another one.
    async fn send(&self, call: &Call) -> Result<ClientResponse, SendRequestError> {
        let request = |client: &Client| {
            let get = client.get(plain(&call.url)).insert_header((HOST, self.host.clone()));
            call.headers.iter().cloned().fold(get, |get, header| get.insert_header(header))
        };
        let dialer = self.connections.dialer();
        let mut asking = request(&self.pool).send();
        // An address that fails is asked last from then on.
        let mut tries = 0;
        loop {
            // The first connection may be an old one, which says nothing of its address.
            let more = tries < dialer.count().max(1);
            match patiently(dialer, more, asking).await {
                Some(Err(error)) if more && lost(&error) => {}
                Some(outcome) => return outcome,
                None => {}
            }
            tries += 1;
            asking = request(&self.fresh).force_close().send();
        }
    }

    /// Reads the body up to the bound.
    async fn body(&self, call: &Call, mut response: ClientResponse, deadline: Instant) -> Result<Bytes, Failure> {
        let too_large = || call.failed(Code::MaxTooLarge, &format!("more than {} bytes", self.body_bytes_max));
        let fits = |length: usize| if length <= self.body_bytes_max { Ok(()) } else { Err(too_large()) };
        fits(content_length(response.headers()).unwrap_or(0))?;
        let reading = async {
            let mut body = BytesMut::new();
            while let Some(chunk) = response.next().await {
                let chunk = chunk.map_err(|error| broken(call, error))?;
                fits(body.len() + chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            Ok(body.freeze())
        };
        timeout_at(deadline, reading).await.unwrap_or_else(|_| Err(self.late(call, "the answer was not complete")))
    }

    fn late(&self, call: &Call, what: &str) -> Failure {
        call.failed(Code::MaxTimeout, &format!("{what} within {} ms", self.timeout.as_millis()))
    }
}

/// Waits for the head of an answer. None where the address that was asked is silent, and another one is to be asked.
async fn patiently<T>(dialer: &Dialer, may_give_up: bool, asking: impl Future<Output = T>) -> Option<T> {
    let mut asking = pin!(asking);
    let failures = dialer.failures();
    if may_give_up && let Some(patience) = dialer.patience().await {
        match timeout(patience, &mut asking).await {
            Ok(outcome) => return Some(outcome),
            Err(_) if dialer.has_another(failures) => return None,
            // The others have refused the connection in the meantime.
            Err(_) => {}
        }
    }
    Some(asking.await)
}

/// awc is asked by http always: the TLS is that of our connection.
fn plain(url: &Uri) -> Uri {
    let mut parts = url.clone().into_parts();
    parts.scheme = Some(awc::http::uri::Scheme::HTTP);
    Uri::from_parts(parts).unwrap_or_else(|_| url.clone())
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// What a refusal says by the deadline and within its bound; its status alone is enough.
async fn refusal(mut response: ClientResponse, deadline: Instant) -> Bytes {
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
    body.freeze()
}

/// What our side of the connection has found wrong with the answer.
fn fault(error: &std::io::Error) -> Option<&Fault> {
    error.get_ref()?.downcast_ref()
}

/// Whether the connection was there and went away before the first byte of an answer.
fn lost(error: &SendRequestError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) | SendRequestError::Send(_) => true,
        SendRequestError::Response(ParseError::Io(error)) => match fault(error) {
            Some(fault) => matches!(fault, Fault::Unanswered | Fault::HeadCut),
            None => matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof),
        },
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
        SendRequestError::Response(ParseError::Io(error)) => match fault(&error) {
            Some(fault) => (code_of(fault), fault.to_string()),
            None => (Code::MaxUnavailable, format!("the connection was lost before the answer: {error}")),
        },
        SendRequestError::Response(error) => (Code::MaxGarbage, format!("not HTTP: {error}")),
        error => (Code::MaxUnavailable, error.to_string()),
    };
    call.failed(code, &what)
}

/// What it means that a body stopped.
fn broken(call: &Call, error: PayloadError) -> Failure {
    let (code, what) = match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => match fault(&error) {
            Some(fault) => (code_of(fault), fault.to_string()),
            None => (Code::MaxUnavailable, format!("the connection was lost half-way: {error}")),
        },
        error => (Code::MaxUnavailable, format!("the connection was lost half-way: {error}")),
    };
    call.failed(code, &what)
}

fn code_of(fault: &Fault) -> Code {
    match fault {
        Fault::NotHttp(_) => Code::MaxGarbage,
        Fault::TooLarge(_) => Code::MaxTooLarge,
        Fault::Switching => Code::MaxError,
        Fault::Unanswered | Fault::HeadCut | Fault::BodyCut(..) => Code::MaxUnavailable,
    }
}

/// The TLS for `base`, where it wants one.
///
/// # Errors
/// A sentence for the operator where the host has no name that a certificate could have.
pub(super) fn tls(base: &BaseUrl, config: Arc<rustls::ClientConfig>) -> Result<Option<Tls>, String> {
    if !base.https {
        return Ok(None);
    }
    let name = base.host.clone().try_into().map_err(|_| "max.url: no certificate can be for this host".to_owned())?;
    Ok(Some(Tls { config, name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_base_url_is_checked_and_keeps_its_path() {
        for (url, base, https, host, port, authority) in [
            ("http://max.example", "http://max.example", false, "max.example", 80, "max.example"),
            ("http://max.example:80/", "http://max.example:80", false, "max.example", 80, "max.example"),
            ("http://max.example:443", "http://max.example:443", false, "max.example", 443, "max.example:443"),
            (
                "https://max.example:8443/max/domain/",
                "https://max.example:8443/max/domain",
                true,
                "max.example",
                8443,
                "max.example:8443",
            ),
            ("https://10.0.0.1:80/max", "https://10.0.0.1:80/max", true, "10.0.0.1", 80, "10.0.0.1:80"),
            ("http://[::1]:8081/max", "http://[::1]:8081/max", false, "::1", 8081, "[::1]:8081"),
        ] {
            let read = BaseUrl::parse(url).unwrap();
            assert_eq!((read.url.as_str(), read.https), (base, https));
            assert_eq!((read.host.as_str(), read.port, read.authority.as_str()), (host, port, authority));
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
            assert!(BaseUrl::parse(url).is_err(), "{url}");
        }
    }

    /// So many listeners at one port, each at an address of its own.
    fn listeners(count: u8) -> Vec<TcpListener> {
        loop {
            let first = TcpListener::bind("127.0.0.2:0").unwrap();
            let port = first.local_addr().unwrap().port();
            let others = (3..2 + count).map(|n| TcpListener::bind(SocketAddr::from(([127, 0, 0, n], port))));
            // Another test may have the port at one of the others.
            if let Ok(listeners) = std::iter::once(Ok(first)).chain(others).collect() {
                return listeners;
            }
        }
    }

    /// Answers every request after `delay`, and says how many there were.
    fn answering(listener: TcpListener, delay: Duration) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = count.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, count) = (stream.unwrap(), counting.clone());
                std::thread::spawn(move || {
                    while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                        count.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(delay);
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
                    }
                });
            }
        });
        count
    }

    /// Asks so many times for a name with these addresses, one after the other.
    async fn ask(addresses: Vec<SocketAddr>, timeout_ms: u64, times: usize) -> Vec<Result<Bytes, Failure>> {
        let http = http(addresses, timeout_ms);
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(http.get(&call(&http), http.deadline()).await.map(|response| response.body));
        }
        answers
    }

    fn assert_all_answered(answers: &[Result<Bytes, Failure>]) {
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|body| body == "[]")), "{answers:?}");
    }

    fn http(addresses: Vec<SocketAddr>, timeout_ms: u64) -> Http {
        let settings = config::Max { timeout_ms, ..config::Config::default().max };
        let base = BaseUrl::parse(&format!("http://max.example:{}", addresses[0].port())).unwrap();
        Http::new(&settings, base, None, Arc::new(move |_, _| Ok(addresses.clone()))).unwrap()
    }

    fn call(http: &Http) -> Call {
        Call { url: http.url("/conversations").unwrap(), headers: Vec::new(), secret: None }
    }

    fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
    }

    #[actix_rt::test]
    async fn addresses_that_take_the_call_and_are_silent_cost_a_share_of_the_deadline_each() {
        let mut listeners = listeners(3);
        let addresses = addresses(&listeners);
        let works = answering(listeners.remove(2), Duration::ZERO);
        let answers = ask(addresses, 6000, 3).await;
        assert_all_answered(&answers);
        // The address that has answered was asked first from then on.
        assert_eq!(works.load(Ordering::SeqCst), 3);
        for silent in listeners {
            silent.set_nonblocking(true).unwrap();
            assert!(silent.accept().is_ok() && silent.accept().is_err());
        }
    }

    #[actix_rt::test]
    async fn all_who_wait_for_a_silent_address_go_on_to_the_next() {
        let mut listeners = listeners(2);
        let addresses = addresses(&listeners);
        let works = answering(listeners.remove(1), Duration::ZERO);
        let http = http(addresses, 6000);
        let asked = (0..8).map(|_| async { http.get(&call(&http), http.deadline()).await.map(|answer| answer.body) });
        let answers = futures_util::future::join_all(asked).await;
        assert_all_answered(&answers);
        assert_eq!(works.load(Ordering::SeqCst), 8);
    }

    #[actix_rt::test]
    async fn an_address_that_closes_every_connection_is_passed_over() {
        let mut listeners = listeners(2);
        let addresses = addresses(&listeners);
        let works = answering(listeners.remove(1), Duration::ZERO);
        std::thread::spawn(move || listeners[0].incoming().for_each(drop));
        let answers = ask(addresses, 60_000, 2).await;
        assert_all_answered(&answers);
        assert_eq!(works.load(Ordering::SeqCst), 2);
    }

    /// Reads a request on each connection, writes these bytes, and keeps the connection open or closes it.
    fn beginning(listener: TcpListener, bytes: &'static [u8], closes: bool) {
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(bytes);
                if !closes {
                    held.push(stream);
                }
            }
        });
    }

    #[actix_rt::test]
    async fn an_address_that_only_begins_to_answer_is_passed_over() {
        for (bytes, closes, first_is_lost) in [
            (&b"HTTP/1.1 103 Early Hints\r\n\r\n"[..], false, false),
            (b"HTTP/1.1 200 OK\r\nContent-Len", false, false),
            (b"HTTP/1.1 200 OK\r\nContent-Len", true, false),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", false, true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", true, true),
            (b"SSH-2.0-x\r\n", true, true),
        ] {
            let mut listeners = listeners(2);
            let addresses = addresses(&listeners);
            let works = answering(listeners.remove(1), Duration::ZERO);
            beginning(listeners.remove(0), bytes, closes);
            let answers = ask(addresses, 3000, 3).await;
            let said = String::from_utf8_lossy(bytes);
            assert_eq!(answers[0].is_err(), first_is_lost, "{said}");
            assert_all_answered(&answers[1..]);
            assert_eq!(works.load(Ordering::SeqCst), if first_is_lost { 2 } else { 3 }, "{said}");
        }
    }

    /// An address that was good for long and is silent now costs a share of the deadline, and not all of it.
    #[actix_rt::test]
    async fn a_silence_that_comes_later_is_noticed_too() {
        let mut listeners = listeners(2);
        let addresses = addresses(&listeners);
        let (other, first) = (listeners.remove(1), listeners.remove(0));
        let answers_once = first.try_clone().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = answers_once.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]");
        });
        let http = http(addresses, 3000);
        assert!(http.get(&call(&http), http.deadline()).await.is_ok());
        let works = answering(other, Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(http.get(&call(&http), http.deadline()).await.is_ok());
        assert_eq!(works.load(Ordering::SeqCst), 1);
        drop(first);
    }

    /// A name such as `localhost` has two addresses of which MAX often has one.
    #[actix_rt::test]
    async fn a_slow_answer_is_waited_for_where_the_other_addresses_take_no_connection() {
        let mut listeners = listeners(2);
        let addresses = addresses(&listeners);
        let slow = answering(listeners.remove(1), Duration::from_millis(2500));
        drop(listeners);
        let answers = ask(addresses, 6000, 2).await;
        assert_all_answered(&answers);
        assert_eq!(slow.load(Ordering::SeqCst), 2, "each was asked once");
    }

    #[test]
    fn a_cause_never_quotes_a_token_and_hides_no_words() {
        let call = |secret: &str| Call {
            url: Uri::from_static("http://max/conversations"),
            headers: Vec::new(),
            secret: Some(secret.into()),
        };
        for secret in ["abcdefgh", "a\"bcdefgh", "\u{e9}\u{7f}\\123456"] {
            let escaped = secret.escape_debug().to_string();
            let cause = call(secret).quote(&format!("<{secret}> {secret:?} {escaped} é\r\n{}", "y".repeat(500)));
            assert!(!cause.contains(secret) && !cause.contains(&escaped), "{cause}");
            assert!(!cause.contains('\n') && cause.chars().count() <= QUOTE_CHARS_MAX + 3, "{cause}");
        }
        for secret in ["", "x", "expecte"] {
            assert_eq!(call(secret).quote("not the expected JSON"), "not the expected JSON");
        }
    }
}
