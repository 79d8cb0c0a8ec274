//! One HTTP call to MAX: a GET with three headers, one deadline for all of it, a bound on the answer, and a description
//! of each failure.

use std::future::Future;
use std::pin::pin;
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
use crate::config::{self, BaseUrl};
use crate::directory::Failure;
use crate::event::{Code, Token};

/// Bytes that are read of a refusal, to find its reason.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// Characters of MAX's words that a cause quotes.
const QUOTE_CHARS_MAX: usize = 200;
/// Shorter secrets are not hidden: they may be part of ordinary words.
const HIDDEN_CHARS_MIN: usize = 8;

/// One call, ready to be sent.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) url: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The secret that the cause of a failure must not show.
    pub(super) secret: Option<Token>,
}

impl Call {
    /// Makes a failure whose cause names the call and quotes at most one line, without the token.
    pub(super) fn failed(&self, code: Code, what: &str) -> Failure {
        Failure::new(code, format!("GET {}: {}", self.url, self.quote(what)))
    }

    fn quote(&self, text: &str) -> String {
        let secret = self.secret.as_ref().map_or("", Token::reveal);
        let hide = |text: &str, secret: &str| {
            if secret.chars().count() < HIDDEN_CHARS_MIN { text.to_owned() } else { text.replace(secret, "***") }
        };
        // MAX or a parser may echo the secret in escaped form.
        let safe = hide(&hide(text, secret), &secret.escape_debug().to_string());
        let safe = safe.escape_debug().to_string();
        match safe.char_indices().nth(QUOTE_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &safe[..end]),
            None => safe,
        }
    }
}

/// An answer of MAX.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// Whether the body is known to be complete. If it is not, it ended with the connection.
    pub(super) whole: bool,
    /// The target of a redirect.
    pub(super) location: Option<String>,
}

/// The HTTP client of one thread for one MAX.
pub(super) struct Http {
    /// Reuses its connections.
    pool: Client,
    /// Uses a new connection for each call. Calls are repeated by it.
    fresh: Client,
    connections: Connections,
    base: BaseUrl,
    timeout: Duration,
    body_bytes_max: usize,
}

impl Http {
    /// Makes the client. It does not connect yet.
    pub(super) fn new(settings: &config::Max, base: BaseUrl, tls: Option<Tls>, lookup: Lookup) -> Self {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let dialer = Dialer::new(base.host(), base.port(), tls, settings.allow_link_local, timeout, lookup);
        let connections = Connections::new(dialer);
        let client = || {
            // Our own deadline covers the whole call, so awc's timeouts are set to come later.
            let later = timeout + Duration::from_secs(1);
            let connector = Connector::new().connector(connections.clone()).timeout(later).handshake_timeout(later);
            Client::builder()
                // The gate bounds the calls; 0 means no other bound.
                .connector(connector.limit(0))
                .disable_timeout()
                .disable_redirects()
                .add_default_header(("User-Agent", concat!("maxtalk/", env!("CARGO_PKG_VERSION"))))
                .finish()
        };
        let (pool, fresh) = (client(), client());
        Self { pool, fresh, connections, base, timeout, body_bytes_max: settings.body_bytes_max }
    }

    /// The base URL of MAX.
    pub(super) fn base_url(&self) -> &str {
        self.base.as_str()
    }

    /// The deadline of calls that begin now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Returns the URL of `route` below the base URL.
    ///
    /// # Errors
    /// The result is not a URL.
    pub(super) fn url(&self, route: &str) -> Result<Uri, Failure> {
        let url = format!("{}{route}", self.base.as_str());
        url.parse().map_err(|error| Failure::new(Code::MaxError, format!("cannot ask for {url}: {error}")))
    }

    /// Stops using the present connections, because one of them has delivered an answer to another question.
    pub(super) fn distrust(&self) {
        self.connections.distrust();
    }

    /// Makes the call and reads the answer, whatever its status.
    ///
    /// # Errors
    /// There is no answer, or one with the status 200 that is incomplete or too large.
    pub(super) async fn get(&self, call: &Call, deadline: Instant) -> Result<Response, Failure> {
        let response = match timeout_at(deadline, self.send(call)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unanswered(call, error)),
            Err(_) => return Err(self.late(call, "no answer")),
        };
        let status = response.status();
        let location = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        // Our connection writes this header itself, and only if nothing but the close has ended the body.
        let whole = !response.headers().contains_key(CONNECTION);
        let body = if status == StatusCode::OK {
            self.body(call, response, deadline).await?
        } else {
            refusal(response, deadline).await
        };
        Ok(Response { status, body, whole, location })
    }

    /// Sends the call. It is repeated on a new connection in two cases: the connection was lost before an answer, which
    /// may happen if MAX was just closing it; or the address is silent and there is another one.
    async fn send(&self, call: &Call) -> Result<ClientResponse, SendRequestError> {
        let request = |client: &Client| {
            let get = client.get(plain(&call.url)).insert_header((HOST, self.base.authority()));
            call.headers.iter().cloned().fold(get, |get, header| get.insert_header(header))
        };
        let dialer = self.connections.dialer();
        let mut asking = request(&self.pool).send();
        // The dialer tries an address last once it has failed, so each try asks another one.
        let mut tries = 0;
        loop {
            // One call more than there are addresses: the first connection may be an old one, whose loss says nothing
            // about its address.
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

/// Waits for the head of an answer. Returns `None` if the address is silent and another one should be asked.
async fn patiently<T>(dialer: &Dialer, may_give_up: bool, asking: impl Future<Output = T>) -> Option<T> {
    let mut asking = pin!(asking);
    let failures = dialer.failures();
    if may_give_up && let Some(patience) = dialer.patience().await {
        match timeout(patience, &mut asking).await {
            Ok(outcome) => return Some(outcome),
            Err(_) if dialer.has_another(failures) => return None,
            // The other addresses have refused a connection in the meantime.
            Err(_) => {}
        }
    }
    Some(asking.await)
}

/// Returns the URL with the scheme http, for awc: our connection does the TLS itself.
fn plain(url: &Uri) -> Uri {
    let mut parts = url.clone().into_parts();
    parts.scheme = Some(awc::http::uri::Scheme::HTTP);
    Uri::from_parts(parts).unwrap_or_else(|_| url.clone())
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// Reads the body of a refusal as far as it comes by the deadline. The status alone is enough.
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
    let _ = timeout_at(deadline, reading).await;
    body.freeze()
}

/// Returns the fault that our connection has found in the answer. `None` if the error is another one.
fn fault(error: &std::io::Error) -> Option<&Fault> {
    error.get_ref()?.downcast_ref()
}

/// Whether the connection was lost before an answer.
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

/// The failure of a call that got no head of an answer.
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

/// The failure of a call whose answer broke off in the body.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Listeners on the same port of different addresses.
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

    /// Answers every request after `delay`. Returns the number of requests.
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

    /// Makes calls to a name with these addresses, one after the other.
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
        Http::new(&settings, base, None, Arc::new(move |_, _| Ok(addresses.clone())))
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

    /// Reads a request on each connection, writes `bytes`, and keeps the connection open or closes it.
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

    /// An address that answered before and is silent now costs a share of the deadline, not all of it.
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

    /// A name such as `localhost` has two addresses, and MAX often listens on one of them only.
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
