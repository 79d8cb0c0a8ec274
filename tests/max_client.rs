//! The client for MAX: the outcome of each answer, and of each failure to get one, for the user who joins.

mod support;

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join;
use maxtalk::testing::config;
use maxtalk::testing::config::BaseUrl;
use maxtalk::testing::directory::{Answer, Directory, Failure, MaxDirectory, Question, Target, Tokenless, TrustError};
use maxtalk::testing::event::{Code, ConversationId, Token, Username};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use support::fake_max::{After, FakeMax, answer, error, json};
use support::gate::MeasuredGate;

/// A user's token. No cause, no `Debug` and no log may contain it.
const TOKEN: &str = "t0k3n-of-the-user";

/// The service account's token, as secret as [`TOKEN`].
const SERVICE_TOKEN: &str = "t0k3n-of-the-service";

const ID_BYTES_MAX: usize = 64;

fn settings(url: &str) -> config::Max {
    config::Max {
        url: Some(BaseUrl::parse(url).unwrap()),
        waiting_max: 100,
        wait_ms: 5000,
        timeout_ms: 5000,
        body_bytes_max: 4096,
        conversations_max: 5,
        ..config::Config::default().max
    }
}

fn with_service(url: &str, tokenless: Tokenless) -> Target {
    let service = (Username::parse("Manager").unwrap(), Token::from(SERVICE_TOKEN));
    Target { url: BaseUrl::parse(url).unwrap(), service: Some(service), tokenless }
}

/// The client of one thread, and the gate before it.
fn directory(settings: &config::Max) -> (MaxDirectory, MeasuredGate) {
    let gate = MeasuredGate::new(settings);
    let target = with_service(settings.url.as_ref().unwrap().as_str(), Tokenless::Always);
    (MaxDirectory::new(settings, target, ID_BYTES_MAX, gate.gate.clone()).unwrap(), gate)
}

fn question(token: Option<&str>) -> Question {
    Question {
        username: Username::parse("messi").unwrap(),
        token: token.map(Token::from),
        scope: None,
        peer: [10, 0, 0, 1].into(),
    }
}

fn answer_of(username: &str, ids: &[&str]) -> Answer {
    let conversations = ids.iter().map(|id| ConversationId::from(*id)).collect();
    Answer { username: Username::parse(username).unwrap(), conversations }
}

/// MAX's answer about `messi`, who is in these conversations.
fn messi(ids: &[&str]) -> Vec<u8> {
    let items: Vec<_> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    json(&format!(r#"{{"username":"messi","talkingIn":[{}]}}"#, items.join(",")))
}

/// Asks once, and checks that the result does not reveal the tokens.
async fn ask(directory: &MaxDirectory, token: Option<&str>) -> Result<Answer, Failure> {
    log_is_watched();
    let question = question(token);
    assert_silent(&format!("{question:?}"));
    let result = directory.conversations_of(question).await;
    assert_silent(&format!("{result:?} {}", result.as_ref().err().map(Failure::to_string).unwrap_or_default()));
    assert_eq!(leaks(), Vec::<String>::new());
    result
}

async fn as_user(settings: &config::Max) -> Result<Answer, Failure> {
    ask(&directory(settings).0, Some(TOKEN)).await
}

async fn as_service(settings: &config::Max) -> Result<Answer, Failure> {
    ask(&directory(settings).0, None).await
}

fn assert_code(result: Result<Answer, Failure>, code: Code, cause: &str) {
    let failure = result.expect_err("a failure");
    assert_eq!(failure.code, code, "{failure}");
    assert!(failure.cause.contains(cause), "{failure}");
}

fn assert_silent(text: &str) {
    assert!(!text.contains(TOKEN) && !text.contains(SERVICE_TOKEN), "{text}");
}

/// A logger at the most verbose level that keeps lines with a token.
struct Watch(Mutex<(usize, Vec<String>)>);

static WATCH: OnceLock<Watch> = OnceLock::new();

impl log::Log for Watch {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.target(), record.args());
        let mut seen = self.0.lock().unwrap();
        seen.0 += 1;
        if [TOKEN, SERVICE_TOKEN].iter().any(|token| line.contains(token)) {
            seen.1.push(line);
        }
    }

    fn flush(&self) {}
}

fn log_is_watched() {
    WATCH.get_or_init(|| Watch(Mutex::default()));
    // Only the first call succeeds; the logger is then set.
    let _ = log::set_logger(WATCH.get().unwrap());
    log::set_max_level(log::LevelFilter::Trace);
}

fn leaks() -> Vec<String> {
    WATCH.get().unwrap().0.lock().unwrap().1.clone()
}

#[actix_web::test]
async fn the_user_is_asked_as_the_user() {
    let max = FakeMax::answering(json(r#"[{"id":"b","tags":["group"]},{"id":"a","objectType":"conversation"}]"#));
    let (directory, _) = directory(&settings(&max.url("/max/domain/")));
    let who = Username::parse("Dídac.Muñoz").unwrap();
    let question = Question { username: who, scope: Some("mobile".to_owned()), ..question(Some(TOKEN)) };
    let result = directory.conversations_of(question).await;
    assert_eq!(result, Ok(answer_of("dídac.muñoz", &["b", "a"])));
    let request = max.request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/max/domain/conversations"));
    assert_eq!(request.header("x-oauth-token"), TOKEN.as_bytes());
    assert_eq!(request.header("x-oauth-username"), "dídac.muñoz".as_bytes());
    assert_eq!(request.header("x-oauth-scope"), b"mobile");
    assert_eq!(request.header("accept-encoding"), b"identity");
    assert_eq!(request.header("host"), format!("localhost:{}", max.address().port()).as_bytes());
}

#[actix_web::test]
async fn without_a_token_the_service_account_is_asked_and_names_the_person() {
    let max = FakeMax::answering(json(r#"{"username":"A B:É~","talkingIn":{"items":[{"id":"a"}],"totalItems":1}}"#));
    let (directory, _) = directory(&settings(&max.url("/max")));
    let who = Username::parse("a b:é~").unwrap();
    let result = directory.conversations_of(Question { username: who, ..question(None) }).await;
    assert_eq!(result, Ok(answer_of("a b:é~", &["a"])));
    let request = max.request();
    assert_eq!(request.target, "/max/people/a%20b%3A%C3%A9~");
    assert_eq!(request.header("x-oauth-token"), SERVICE_TOKEN.as_bytes());
    assert_eq!(request.header("x-oauth-username"), b"manager");
    assert_eq!(request.header("x-oauth-scope"), b"widgetcli");
}

#[actix_web::test]
async fn a_token_is_required_where_the_service_account_may_not_be_asked() {
    let max = FakeMax::answering(json(r#"{"username":"messi","talkingIn":[]}"#));
    let settings = settings(&max.url(""));
    let MeasuredGate { gate, .. } = MeasuredGate::new(&settings);
    let result = async |tokenless, peer: &str| {
        let target = with_service(&max.url(""), tokenless);
        let directory = MaxDirectory::new(&settings, target, ID_BYTES_MAX, Arc::clone(&gate)).unwrap();
        let question = Question { peer: peer.parse().unwrap(), ..question(None) };
        directory.conversations_of(question).await.map_err(|failure| failure.code)
    };
    assert_eq!(result(Tokenless::Never, "127.0.0.1").await, Err(Code::TokenRequired));
    assert_eq!(result(Tokenless::FromLoopback, "10.0.0.1").await, Err(Code::TokenRequired));
    assert_eq!(max.connections(), 0);
    assert_eq!(result(Tokenless::FromLoopback, "::ffff:127.0.0.1").await, Ok(answer_of("messi", &[])));
    assert_eq!(result(Tokenless::Always, "10.0.0.1").await, Ok(answer_of("messi", &[])));
}

#[actix_web::test]
async fn names_that_no_path_can_hold_and_headers_that_no_request_can_are_refused_unasked() {
    let max = FakeMax::answering(json("[]"));
    let (directory, _) = directory(&settings(&max.url("")));
    for name in [".", "..", "../../other/people/zed", "a/b", "a\\b", "a%2fb", "a?b", "a#b", "..;"] {
        let question = Question { username: Username::parse(name).unwrap(), ..question(None) };
        assert_eq!(directory.conversations_of(question).await.unwrap_err().code, Code::UnknownUser);
    }
    for token in ["a\r\nb", "a\0b", &"x".repeat(10_000)] {
        assert_code(ask(&directory, Some(token)).await, Code::Unauthorized, "header");
    }
    assert_eq!(max.connections(), 0);
}

#[actix_web::test]
async fn each_status_means_its_code() {
    let html = |status| answer(status, "text/html", "<html><h1>Sorry</h1></html>");
    let unknown = || error("400 Bad Request", "UnknownUserError", "Unknown user: messi");
    let cases = [
        (error("401 Unauthorized", "Unauthorized", "Invalid token."), Code::Unauthorized, Code::MaxUnavailable),
        (error("403 Forbidden", "Forbidden", "No."), Code::Unauthorized, Code::MaxUnavailable),
        (html("401 Unauthorized"), Code::MaxError, Code::MaxUnavailable),
        (html("403 Forbidden"), Code::MaxError, Code::MaxUnavailable),
        (html("404 Not Found"), Code::MaxError, Code::MaxError),
        (answer("404 Not Found", "text/plain", "404 Not Found"), Code::MaxError, Code::MaxError),
        (unknown(), Code::UnknownUser, Code::UnknownUser),
        (error("400 Bad Request", "ValidationError", "No."), Code::MaxError, Code::MaxError),
        (html("400 Bad Request"), Code::MaxError, Code::MaxError),
        (error("404 Not Found", "ObjectNotFound", "No."), Code::UnknownUser, Code::UnknownUser),
        (html("429 Too Many Requests"), Code::MaxError, Code::MaxError),
        (error("500 Internal Server Error", "ServerError", "Oh."), Code::MaxUnavailable, Code::MaxUnavailable),
        (html("502 Bad Gateway"), Code::MaxUnavailable, Code::MaxUnavailable),
        (html("503 Service Unavailable"), Code::MaxUnavailable, Code::MaxUnavailable),
        (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), Code::MaxGarbage, Code::MaxGarbage),
    ];
    for (bytes, user, service) in cases {
        let status = String::from_utf8_lossy(&bytes[9..12]).into_owned();
        let max = FakeMax::answering(bytes);
        let settings = settings(&max.url(""));
        assert_code(as_user(&settings).await, user, &status);
        assert_code(as_service(&settings).await, service, &status);
    }
}

#[actix_web::test]
async fn a_cause_quotes_max_without_the_token() {
    let said = format!("token {TOKEN} of\\nmessi, {SERVICE_TOKEN}");
    let max = FakeMax::answering(error("401 Unauthorized", "Unauthorized", &said));
    let settings = settings(&max.url("/max"));
    let (directory, _) = directory(&settings);
    let user = directory.conversations_of(question(Some(TOKEN))).await.unwrap_err();
    // Both calls have failed.
    let base = max.url("/max");
    let quoted = format!("401 Unauthorized, Unauthorized: token *** of\\nmessi, {SERVICE_TOKEN}");
    let (list, person) = (format!("GET {base}/conversations: {quoted}"), format!("GET {base}/people/messi: {quoted}"));
    assert_eq!(user.cause, format!("{list}; before that, {person}"));
    let service = directory.conversations_of(question(None)).await.unwrap_err();
    assert!(service.cause.contains("to the service account") && service.cause.ends_with("messi, ***"), "{service}");
    let garbage = FakeMax::answering(json(&format!(r#"[{{"id":"a"}},"{TOKEN}"]"#)));
    assert_code(as_user(&self::settings(&garbage.url(""))).await, Code::MaxGarbage, "***");
}

#[actix_web::test]
async fn a_redirect_is_not_followed() {
    let other = FakeMax::answering(json("[]"));
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let to = other.url("/conversations");
        let head = format!("HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let max = FakeMax::answering(head);
        assert_code(as_user(&settings(&max.url(""))).await, Code::MaxError, &to);
        assert_eq!(max.requests().len(), 1);
    }
    assert_eq!(other.connections(), 0);
}

#[actix_web::test]
async fn unexpected_json_is_garbage() {
    for body in ["", "<html>", "null", "{}", r#"{"items":3}"#, "[{}]", r#"[{"id":7}]"#, "[1]", r#"[{"id":"a""#] {
        let max = FakeMax::answering(json(body));
        let cause = if body.ends_with("a\"") { "ends half-way" } else { "not the expected JSON" };
        assert_code(as_user(&settings(&max.url(""))).await, Code::MaxGarbage, cause);
    }
    for body in
        ["[]", r#"{"talkingIn":[]}"#, r#"{"username":"","talkingIn":[]}"#, r#"{"username":"a\nb","talkingIn":[]}"#]
    {
        let max = FakeMax::answering(json(body));
        assert_code(as_service(&settings(&max.url(""))).await, Code::MaxGarbage, "");
    }
    let long = format!(r#"[{{"id":"{}"}}]"#, "x".repeat(ID_BYTES_MAX + 1));
    let max = FakeMax::answering(json(&long));
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxGarbage, "65 bytes");
    let max = FakeMax::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxGarbage, "not HTTP");
    let max = FakeMax::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n");
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxGarbage, "not HTTP");
}

#[actix_web::test]
async fn depth_is_no_danger() {
    let deep = format!("[{{\"x\":{}", "[".repeat(1_000_000));
    let max = FakeMax::answering(json(&deep));
    let settings = config::Max { body_bytes_max: 2_000_000, ..settings(&max.url("")) };
    assert_code(as_user(&settings).await, Code::MaxGarbage, "");
}

#[actix_web::test]
async fn conversations_are_folded_and_counted() {
    let of = |ids: &[&str]| {
        let items: Vec<_> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        FakeMax::answering(json(&format!("[{}]", items.join(","))))
    };
    let max = of(&["e", "a", "e", "b", "c", "a", "d"]);
    assert_eq!(as_user(&settings(&max.url(""))).await, Ok(answer_of("messi", &["e", "a", "b", "c", "d"])));
    let max = of(&["a", "b", "c", "d", "e", "f"]);
    assert_code(as_user(&settings(&max.url(""))).await, Code::TooManyConversations, "more than 5");
}

#[actix_web::test]
async fn a_body_is_read_up_to_its_bound() {
    let exact = format!("[{}]", " ".repeat(4094));
    let max = FakeMax::answering(json(&exact));
    assert_eq!(as_user(&settings(&max.url(""))).await, Ok(answer_of("messi", &[])));

    // An announced length: refused by the head. The body never comes.
    let max = FakeMax::answering("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxTooLarge, "4096 bytes");

    // No announced length: the body is endless, until the client closes.
    let (sender, written) = mpsc::channel();
    let endless = move |_: &_, wire: &mut dyn Write| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let chunk = format!("3e8\r\n{}\r\n", " ".repeat(1000));
        for chunks in 0.. {
            if let Err(error) = wire.write_all(chunk.as_bytes()) {
                sender.send(chunks).unwrap();
                return Err(error);
            }
        }
        unreachable!()
    };
    let max = FakeMax::start(endless);
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxTooLarge, "4096 bytes");
    let written = wait(move || written.recv().unwrap()).await;
    assert!(written < 100_000, "{written} chunks were written after the bound");

    let max = FakeMax::answering(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)));
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxTooLarge, "head");
}

/// Runs a blocking call on a thread of its own.
async fn wait<T: Send + 'static>(block: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(block).await.unwrap()
}

#[actix_web::test]
async fn one_deadline_is_over_head_and_body() {
    fn slowly(bytes: Vec<u8>, wire: &mut dyn Write) -> io::Result<After> {
        for byte in bytes {
            wire.write_all(&[byte])?;
            wire.flush()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(After::KeepAlive)
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let silent = FakeMax::start(|_, _| {
        loop {
            std::thread::park();
        }
    });
    let slow_head = FakeMax::start(move |_, wire| slowly(head.replace("Content", &"x".repeat(1000)).into(), wire));
    let slow_body = FakeMax::start(move |_, wire| {
        wire.write_all(head.as_bytes())?;
        slowly([b' '; 1000].into(), wire)
    });
    for (max, cause) in [(silent, "no answer"), (slow_head, "no answer"), (slow_body, "not complete")] {
        let settings = config::Max { timeout_ms: 200, ..settings(&max.url("")) };
        let began = Instant::now();
        assert_code(as_user(&settings).await, Code::MaxTimeout, cause);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(3), "{cause}: {took:?}");
    }
    // A refusal counts by its status, even if its reason is slow.
    let slow_refusal = FakeMax::start(|_, wire| {
        wire.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n")?;
        slowly([b' '; 1000].into(), wire)
    });
    let settings = config::Max { timeout_ms: 2000, ..settings(&slow_refusal.url("")) };
    assert_code(as_user(&settings).await, Code::MaxUnavailable, "503");
}

#[actix_web::test]
async fn a_connection_that_breaks_is_unavailable() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    assert_code(as_user(&settings(&closed)).await, Code::MaxUnavailable, "cannot connect");
    assert_code(as_user(&settings("http://no.such.host.invalid/")).await, Code::MaxUnavailable, "cannot connect");

    for (bytes, after, cause) in [
        ("", After::Close, "closed without an answer"),
        ("", After::Reset, "lost before the answer"),
        ("HTTP/1.1 200 OK\r\nContent-Le", After::Close, "lost before the answer"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{\"id\":\"a\"}]", After::Close, "after 12 of 100 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]", After::Reset, "lost half-way"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[{\"\r\n", After::Close, "half-way"),
        ("HTTP/1.0 200 OK\r\n\r\n[{\"id\":\"a\"}", After::Close, "half-way"),
    ] {
        let max = FakeMax::start(move |_, wire| wire.write_all(bytes.as_bytes()).map(|()| after));
        assert_code(as_user(&settings(&max.url(""))).await, Code::MaxUnavailable, cause);
    }
    // Without a length, the end of the connection ends the body.
    let max =
        FakeMax::start(|_, wire| wire.write_all(b"HTTP/1.0 200 OK\r\n\r\n[{\"id\":\"a\"}]").map(|()| After::Close));
    assert_eq!(as_user(&settings(&max.url(""))).await, Ok(answer_of("messi", &["a"])));
}

#[actix_web::test]
async fn connections_are_reused() {
    let max = FakeMax::answering(messi(&[]));
    let (directory, _) = directory(&settings(&max.url("")));
    for _ in 0..5 {
        ask(&directory, Some(TOKEN)).await.unwrap();
    }
    assert_eq!((max.connections(), max.requests().len()), (1, 5));
    // The connection of a refusal can be used again.
    let max = FakeMax::answering(error("401 Unauthorized", "Unauthorized", "Invalid token."));
    let (directory, _) = self::directory(&settings(&max.url("")));
    for _ in 0..3 {
        ask(&directory, Some(TOKEN)).await.unwrap_err();
    }
    assert_eq!(max.connections(), 1);
}

#[actix_web::test]
async fn a_reused_connection_that_max_was_closing_costs_nothing() {
    for after in [After::Close, After::Reset] {
        let max = FakeMax::start(move |request, wire| match (request.connection, request.nth) {
            (0, 1) => Ok(after),
            _ => wire.write_all(&messi(&[])).map(|()| After::KeepAlive),
        });
        let (directory, _) = directory(&settings(&max.url("")));
        for _ in 0..3 {
            assert_eq!(ask(&directory, Some(TOKEN)).await, Ok(answer_of("messi", &[])), "{after:?}");
        }
        let order: Vec<_> = max.requests().iter().map(|request| (request.connection, request.nth)).collect();
        assert_eq!(order, [(0, 0), (0, 1), (1, 0), (2, 0)], "{after:?}");
    }
}

#[actix_web::test]
async fn the_second_try_always_goes_over_a_new_connection() {
    let both = Arc::new(std::sync::Barrier::new(2));
    let max = FakeMax::start(move |request, wire| match (request.connection, request.nth) {
        (0 | 1, 1..) => Ok(After::Close),
        (0 | 1, 0) => {
            both.wait();
            wire.write_all(&messi(&[])).map(|()| After::KeepAlive)
        }
        _ => wire.write_all(&messi(&[])).map(|()| After::KeepAlive),
    });
    let (directory, _) = directory(&settings(&max.url("")));
    let (one, other) = join(ask(&directory, Some(TOKEN)), ask(&directory, Some("another token"))).await;
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(ask(&directory, Some(TOKEN)).await, Ok(answer_of("messi", &[])));
    assert_eq!((max.connections(), max.requests().len()), (3, 4));
}

#[actix_web::test]
async fn a_lost_call_is_repeated_once_and_within_the_same_deadline() {
    let max = FakeMax::start(|_, _| Ok(After::Close));
    assert_code(as_user(&settings(&max.url(""))).await, Code::MaxUnavailable, "closed");
    assert_eq!(max.requests().len(), 2);
    let max = FakeMax::start(|request, _| match request.connection {
        0 => Ok(After::Close),
        _ => loop {
            std::thread::park();
        },
    });
    let settings = config::Max { timeout_ms: 200, ..settings(&max.url("")) };
    assert_code(as_user(&settings).await, Code::MaxTimeout, "200 ms");
}

/// A MAX that answers when it is told to.
struct Held {
    max: FakeMax,
    release: mpsc::Sender<()>,
}

impl Held {
    fn start() -> Self {
        let (release, go) = mpsc::channel();
        let go = Mutex::new(go);
        let max = FakeMax::start(move |_, wire| {
            go.lock().unwrap().recv().map_err(io::Error::other)?;
            wire.write_all(&messi(&[])).map(|()| After::KeepAlive)
        });
        Self { max, release }
    }
}

#[actix_web::test]
async fn the_gate_bounds_calls_and_the_joins_behind_them() {
    let held = Held::start();
    let settings = config::Max { inflight_max: 2, waiting_max: 3, ..settings(&held.max.url("")) };
    let (directory, gate) = directory(&settings);
    let numbers = std::cell::Cell::new(0);
    // Each user has a token of its own, so that no calls are shared.
    let join = || {
        numbers.set(numbers.get() + 1);
        actix_web::rt::spawn(directory.conversations_of(question(Some(&format!("{TOKEN}{}", numbers.get())))))
    };
    let mut joins = vec![join(), join()];
    held.max.asked(2).await;
    assert_eq!((gate.inflight(), gate.waiting()), (2, 0));
    joins.extend([join(), join(), join()]);
    until(|| gate.waiting() == 3).await;
    assert_code(ask(&directory, Some(TOKEN)).await, Code::Busy, "3 joins wait");
    assert_eq!(held.max.requests().len(), 2);

    // A caller that waits may give up: its place in the queue is free at once. So may one whose call is under way: the
    // call is given up, and the next in the queue moves up.
    drop_task(joins.remove(2)).await;
    assert_eq!((gate.inflight(), gate.waiting()), (2, 2));
    drop_task(joins.remove(0)).await;
    held.max.asked(3).await;
    assert_eq!((gate.inflight(), gate.waiting()), (2, 1));

    for _ in 0..10 {
        held.release.send(()).unwrap();
    }
    for join in joins {
        assert_eq!(join.await.unwrap(), Ok(answer_of("messi", &[])));
    }
    assert_eq!((gate.inflight(), gate.waiting()), (0, 0));
}

#[actix_web::test]
async fn a_caller_that_waits_too_long_is_told_so() {
    let held = Held::start();
    let settings = config::Max { inflight_max: 1, wait_ms: 200, ..settings(&held.max.url("")) };
    let (directory, gate) = directory(&settings);
    let mut first = pin!(directory.conversations_of(question(Some("another token"))));
    assert!((&mut first).now_or_never().is_none());
    let began = Instant::now();
    assert_code(ask(&directory, Some(TOKEN)).await, Code::Busy, "200 ms");
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!((gate.inflight(), gate.waiting()), (1, 0));
    held.release.send(()).unwrap();
    assert_eq!(first.await, Ok(answer_of("messi", &[])));
}

#[actix_web::test]
async fn one_gate_serves_several_clients() {
    let held = Held::start();
    let settings = config::Max { inflight_max: 1, waiting_max: 0, ..settings(&held.max.url("")) };
    let (one, gate) = directory(&settings);
    let target = with_service(&held.max.url(""), Tokenless::Never);
    let other = MaxDirectory::new(&settings, target, ID_BYTES_MAX, gate.gate).unwrap();
    let mut first = pin!(one.clone().conversations_of(question(Some(TOKEN))));
    assert!((&mut first).now_or_never().is_none());
    assert_code(ask(&other, Some(TOKEN)).await, Code::Busy, "");
    held.release.send(()).unwrap();
    first.await.unwrap();
    held.release.send(()).unwrap();
    ask(&other, Some(TOKEN)).await.unwrap();
}

async fn drop_task<T>(task: actix_web::rt::task::JoinHandle<T>) {
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
}

/// Lets the other tasks of this thread run until `holds`.
async fn until(holds: impl Fn() -> bool) {
    let running = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    within_reason(running).await;
}

async fn within_reason<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("nothing happened for 10 s")
}

/// Creates an authority in a PEM file, and the configuration of a server that it certifies for these names.
fn authority(names: &[&str]) -> (tempfile::NamedTempFile, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    // Each authority has its own name, as real ones do.
    params.distinguished_name.push(DnType::CommonName, format!("{:?}", key.public_key_raw()));
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(root.pem().as_bytes()).unwrap();

    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (file, Arc::new(config))
}

fn https(config: Arc<rustls::ServerConfig>) -> FakeMax {
    FakeMax::start_tls(config, |_, wire| wire.write_all(&json(r#"[{"id":"a"}]"#)).map(|()| After::KeepAlive))
}

#[actix_web::test]
async fn https_is_asked_where_the_ca_file_vouches_for_it() {
    let (ca_file, config) = authority(&["localhost"]);
    let max = https(config);
    let settings = config::Max { ca_file: Some(ca_file.path().to_owned()), ..settings(&max.url("/max")) };
    let (directory, _) = directory(&settings);
    for _ in 0..2 {
        assert_eq!(ask(&directory, Some(TOKEN)).await, Ok(answer_of("messi", &["a"])));
    }
    assert_eq!((max.connections(), max.requests()[1].target.as_str()), (1, "/max/conversations"));
    assert!(WATCH.get().unwrap().0.lock().unwrap().0 > 0, "the log was not listened to");
}

#[actix_web::test]
async fn a_tls_connection_that_ends_without_a_word_is_half_an_answer() {
    let (ca_file, config) = authority(&["localhost"]);
    let max = FakeMax::start_tls(config, |_, wire| {
        wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"username\":\"messi\",\"talkingIn\":[]}")?;
        Ok(After::Close)
    });
    let settings = config::Max { ca_file: Some(ca_file.path().to_owned()), ..settings(&max.url("")) };
    assert_code(as_user(&settings).await, Code::MaxUnavailable, "half-way");
}

#[actix_web::test]
async fn a_bad_certificate_is_unavailable_and_the_token_stays_here() {
    let (ca_file, _) = authority(&["localhost"]);
    let (_, stranger) = authority(&["localhost"]);
    let max = https(stranger);
    let trusting = config::Max { ca_file: Some(ca_file.path().to_owned()), ..settings(&max.url("")) };
    assert_code(as_user(&trusting).await, Code::MaxUnavailable, "UnknownIssuer");
    assert_eq!(max.requests().len(), 0);

    let (ca_file, config) = authority(&["max.example"]);
    let max = https(config);
    let trusting = config::Max { ca_file: Some(ca_file.path().to_owned()), ..settings(&max.url("")) };
    assert_code(as_user(&trusting).await, Code::MaxUnavailable, "not valid for name");
    assert_eq!(max.requests().len(), 0);

    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || plain.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let trusting = config::Max { ca_file: Some(ca_file.path().to_owned()), ..settings(&url) };
    assert_code(as_user(&trusting).await, Code::MaxUnavailable, "cannot connect");
}

#[actix_web::test]
async fn bad_settings_fail_when_the_client_is_made() {
    let made = |settings: &config::Max| {
        let target = with_service(settings.url.as_ref().unwrap().as_str(), Tokenless::Never);
        MaxDirectory::new(settings, target, ID_BYTES_MAX, MeasuredGate::new(settings).gate).map(drop)
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let flaw_of = |path: &std::path::Path| {
        let settings = config::Max { ca_file: Some(path.to_owned()), ..settings("http://max.example") };
        match made(&settings) {
            Err(error @ TrustError::CaFile { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let start = |path: &std::path::Path| format!("max.ca_file {}: ", path.display());
    assert_eq!(flaw_of(file.path()), start(file.path()) + "holds no certificate in PEM form");
    file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(flaw_of(file.path()).starts_with(&(start(file.path()) + "not a certificate authority: ")));
    let missing = std::path::Path::new("/no/such/file.pem");
    assert!(flaw_of(missing).starts_with(&start(missing)) && flaw_of(missing).contains("No such file"));
}

#[actix_web::test]
async fn the_configuration_names_the_target() {
    let without = config::Max { url: None, ..settings("http://max.example") };
    assert!(Target::configured(&without).is_none());
    let target = Target::configured(&settings("http://max.example")).unwrap();
    assert_eq!((target.url.as_str(), target.tokenless), ("http://max.example", Tokenless::Never));
    assert_eq!(target.service, None);
    let account = (Username::parse("manager").unwrap(), Token::from(SERVICE_TOKEN));
    let (name, token) = account.clone();
    let with_account = config::Max {
        tokenless_joins: true,
        service_username: Some(name),
        service_token: Some(token),
        ..settings("http://max.example")
    };
    let target = Target::configured(&with_account).unwrap();
    assert_eq!((target.tokenless, target.service), (Tokenless::Always, Some(account)));
    assert_silent(&format!("{:?}", with_service("http://max.example", Tokenless::Always)));
}
