//! MAX and proxies with scripted faults. An answer of MAX is given to the question that it belongs to or to nobody, and
//! failures of MAX are told apart from refusals.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::fake_max::{After, FakeMax, answer, error, json};
use crate::support::gate::MeasuredGate;
use crate::support::script::Peer;
use crate::support::within;
use futures_util::future::join_all;
use maxtalk::testing::config;
use maxtalk::testing::config::{BaseUrl, Config};
use maxtalk::testing::directory::{Directory, Failure, MaxDirectory, Question, Target, Tokenless};
use maxtalk::testing::event::{Code, Token, Username};

const TOKEN: &str = "t0k3n-of-the-user";

fn settings(url: String) -> config::Max {
    config::Max {
        url: Some(BaseUrl::parse(&url).unwrap()),
        timeout_ms: 20_000,
        wait_ms: 60_000,
        ..Config::default().max
    }
}

fn directory_with(settings: &config::Max) -> (MaxDirectory, MeasuredGate) {
    let service = (Username::parse("manager").unwrap(), Token::from("t0k3n-of-the-service"));
    let url = settings.url.clone().unwrap();
    let target = Target { url, service: Some(service), tokenless: Tokenless::Always };
    let gate = MeasuredGate::new(settings);
    (MaxDirectory::new(settings, target, 64, gate.gate.clone()).unwrap(), gate)
}

fn directory(url: String) -> MaxDirectory {
    directory_with(&settings(url)).0
}

fn question(username: &str, token: Option<&str>) -> Question {
    let username = Username::parse(username).unwrap();
    Question { username, token: token.map(Token::from), scope: None, peer: [10, 0, 0, 1].into() }
}

/// Returns the ids of the user's conversations, or the code of the failure.
async fn asked(directory: &MaxDirectory, username: &str, token: Option<&str>) -> Result<Vec<String>, Failure> {
    let asking = directory.conversations_of(question(username, token));
    let answer = within("an answer or a failure", asking).await?;
    assert_eq!(answer.username.as_str(), username.to_lowercase());
    Ok(answer.conversations.iter().map(|id| id.as_str().to_owned()).collect())
}

async fn failed(directory: &MaxDirectory, username: &str, token: Option<&str>) -> Failure {
    asked(directory, username, token).await.expect_err("a failure")
}

/// MAX's answer about a user in one conversation.
fn person(username: &str, id: &str) -> String {
    format!(r#"{{"username":"{username}","talkingIn":[{{"id":"{id}"}}]}}"#)
}

/// Quotes `text` for a script.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace("\r", "\\r").replace('\n', "\\n"))
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers requests about `u0`, `u1`, ... in this order on one connection, each after `before`, `pause` apart.
fn max_with_interim(before: &str, pause: &str) -> Peer {
    let mut script = String::new();
    for n in 0..3 {
        let answer = ok(&person(&format!("u{n}"), &format!("c{n}")));
        script += &match pause {
            "" => format!("expect head\nsend {}\n", quoted(&format!("{before}{answer}"))),
            pause => format!("expect head\nsend {}\npause {pause}\nsend {}\n", quoted(before), quoted(&answer)),
        };
    }
    Peer::listen(&script)
}

#[actix_web::test]
async fn interim_answers_are_passed_over() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let many = format!("{early}HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 150\r\n\r\n");
    for before in [early, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", &many] {
        for pause in ["", "30ms"] {
            for token in [None, Some(TOKEN)] {
                let max = max_with_interim(before, pause);
                let directory = directory(max.url(""));
                for n in 0..3 {
                    let who = format!("u{n}");
                    assert_eq!(asked(&directory, &who, token).await, Ok(vec![format!("c{n}")]), "{before} {pause}");
                }
                // Interim answers are skipped on the same connection.
                assert_eq!(max.state().connections, 1);
            }
        }
    }
}

#[actix_web::test]
async fn a_late_answer_goes_to_nobody() {
    // The answer to u0 is followed by another one: in the same segment, while the connection is idle, and as an interim
    // one.
    let extra = ok(&person("u0", "stale"));
    let list = ok(r#"[{"id":"stale"}]"#);
    for late in
        [extra.as_str(), &list, "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 408 Request Timeout\r\n\r\n", "\r\n"]
    {
        for pause in ["", "pause 30ms\n"] {
            for token in [None, Some(TOKEN)] {
                let of = |n: u32| quoted(&ok(&person(&format!("u{n}"), &format!("c{n}"))));
                let script = format!(
                    "connection:\nexpect head\nsend {}\n{pause}send {}\nsay late\nexpect close\n\
                     connection:\nexpect head\nsend {}\nexpect head\nsend {}\nexpect close",
                    of(0),
                    quoted(late),
                    of(1),
                    of(2)
                );
                let max = Peer::listen(&script);
                let directory = directory(max.url(""));
                assert_eq!(asked(&directory, "u0", token).await, Ok(vec!["c0".to_owned()]));
                max.said("late", 1).await;
                assert_eq!(asked(&directory, "u1", token).await, Ok(vec!["c1".to_owned()]), "{late}");
                assert_eq!(asked(&directory, "u2", token).await, Ok(vec!["c2".to_owned()]));
                assert_eq!(max.state().connections, 2);
            }
        }
    }
}

#[actix_web::test]
async fn an_answer_about_somebody_else_is_garbage() {
    for token in [None, Some(TOKEN)] {
        let script = format!(
            "connection:\nexpect head\nsend {}\nexpect close\nconnection:\nexpect head\nsend {}\nexpect close",
            quoted(&ok(&person("alice", "of-alice"))),
            quoted(&ok(&person("BOB", "of-bob")))
        );
        let max = Peer::listen(&script);
        let directory = directory(max.url(""));
        let failure = failed(&directory, "bob", token).await;
        assert_eq!(failure.code, Code::MaxGarbage, "{failure}");
        assert!(failure.cause.contains("alice") && failure.cause.contains("not about bob"), "{failure}");
        // A connection that delivered the answers of others is not used again.
        assert_eq!(asked(&directory, "bob", token).await, Ok(vec!["of-bob".to_owned()]));
        assert_eq!(max.state().connections, 2);
    }
}

#[actix_web::test]
async fn a_body_without_a_length_lasts_until_the_close() {
    let body = person("u0", "c0");
    for head in ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let (one, other) = body.split_at(20);
        let script = format!(
            "expect head\nsend {}\nsend {}\npause 20ms\nsend {}\nclose",
            quoted(head),
            quoted(one),
            quoted(other)
        );
        let max = Peer::listen(&script);
        let directory = directory(max.url(""));
        for _ in 0..2 {
            assert_eq!(asked(&directory, "u0", None).await, Ok(vec!["c0".to_owned()]), "{head}");
        }
        assert_eq!(max.state().connections, 2);
        // With a reset or a close in the middle of the JSON, the body is incomplete.
        for end in [format!("send {}\nreset", quoted(&body)), format!("send {}\nclose", quoted(one))] {
            let max = Peer::listen(&format!("expect head\nsend {}\npause 20ms\n{end}", quoted(head)));
            let failure = failed(&self::directory(max.url("")), "u0", None).await;
            assert_eq!(failure.code, Code::MaxUnavailable, "{failure}");
        }
    }
    // If the connection stays open, the deadline ends it, and a later answer goes to nobody.
    let script = format!(
        "connection:\nexpect head\nsend \"HTTP/1.1 200 OK\\r\\n\\r\\n\"\nexpect close\n\
         connection:\nexpect head\nsend {}\nexpect close",
        quoted(&ok(&person("u1", "c1")))
    );
    let max = Peer::listen(&script);
    let (directory, _) = directory_with(&config::Max { timeout_ms: 2000, ..settings(max.url("")) });
    assert_eq!(failed(&directory, "u0", None).await.code, Code::MaxTimeout);
    max.until("the first connection is closed", |state| !state.ends.is_empty()).await;
    assert_eq!(max.state().connections, 1);
}

#[actix_web::test]
async fn a_status_counts_even_if_its_body_is_bad() {
    let broken = |status: &str| format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n<html>").into_bytes();
    for (bytes, code, calls) in [
        (broken("503 Service Unavailable"), Code::MaxUnavailable, 2),
        (broken("500 Internal Server Error"), Code::MaxUnavailable, 3),
        (broken("404 Not Found"), Code::MaxError, 2),
        (broken("200 OK"), Code::MaxGarbage, 1),
        // The proxy closed the connection just as the request arrived.
        (answer("408 Request Timeout", "text/plain", ""), Code::MaxUnavailable, 2),
    ] {
        let said = String::from_utf8_lossy(&bytes).into_owned();
        let max = FakeMax::answering(bytes);
        assert_eq!(failed(&directory(max.url("")), "messi", Some(TOKEN)).await.code, code, "{said}");
        assert_eq!(max.requests().len(), calls, "{said}");
    }
    let dies_behind_the_head = Peer::listen(
        r#"
        expect head
        send "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        close
        "#,
    );
    let failure = failed(&directory(dies_behind_the_head.url("")), "messi", Some(TOKEN)).await;
    assert_eq!(failure.code, Code::MaxUnavailable, "{failure}");
}

#[actix_web::test]
async fn offers_folds_and_equal_lengths_are_taken() {
    let body = person("u0", "c0");
    let length = body.len();
    for headers in [
        "Upgrade: h2,h2c\r\nConnection: Upgrade\r\n".to_owned(),
        "Upgrade: h2\r\nConnection: Upgrade, Keep-Alive\r\nKeep-Alive: timeout=5\r\n".to_owned(),
        "X-Folded: a\r\n\tb\r\n".to_owned(),
        format!("Content-Length: {length}\r\n"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        let max = Peer::listen(&format!("expect head\nsend {}\nagain", quoted(&answer)));
        let directory = directory(max.url(""));
        for _ in 0..3 {
            assert_eq!(asked(&directory, "u0", None).await, Ok(vec!["c0".to_owned()]), "{headers}");
        }
        assert_eq!(max.state().connections, 1, "{headers}");
    }
    for (headers, code, word) in [
        (format!("Content-Length: {}\r\n", length + 1), Code::MaxGarbage, "length"),
        ("X: y\r\n".repeat(100), Code::MaxTooLarge, "headers"),
        (format!("X: {}\r\n", "y".repeat(200_000)), Code::MaxTooLarge, "headers"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        let max = Peer::listen(&format!("expect head\nsend {} or closed\nexpect close", quoted(&answer)));
        let failure = failed(&directory(max.url("")), "u0", None).await;
        assert!(failure.code == code && failure.cause.contains(word), "{failure}");
    }
    let max = Peer::listen(
        "expect head\nsend \"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: h2c\\r\\n\\r\\n\"\nexpect close",
    );
    let failure = failed(&directory(max.url("")), "u0", None).await;
    assert!(failure.code == Code::MaxError && failure.cause.contains("101"), "{failure}");
    max.until("the connection is closed", |state| !state.ends.is_empty()).await;
}

/// A MAX behind a proxy that decodes and resolves paths before it forwards them, as nginx does. Another tenant is below
/// it.
fn behind_a_decoding_proxy() -> FakeMax {
    FakeMax::start(|request, wire| {
        let decoded = percent_encoding::percent_decode_str(&request.target).decode_utf8_lossy().into_owned();
        // Some servers decode a second time.
        let decoded = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().replace('\\', "/");
        let mut path = Vec::new();
        for segment in decoded.split(['?', '#']).next().unwrap().split('/') {
            match segment.split(';').next().unwrap() {
                "" | "." => {}
                ".." => drop(path.pop()),
                segment => path.push(segment.to_owned()),
            }
        }
        let answered = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["max", "tenant", "people", name] => json(&person(name, "own")),
            ["max", "tenant", "conversations"] => json(r#"[{"id":"listed"}]"#),
            _ => json(&person("zed", "stolen")),
        };
        wire.write_all(&answered).map(|()| After::KeepAlive)
    })
}

#[actix_web::test]
async fn a_username_that_breaks_a_path_is_unknown_before_anything_is_asked() {
    let max = behind_a_decoding_proxy();
    let directory = directory(max.url("/max/tenant"));
    for name in [
        "../../other/people/zed",
        "x/../../../other/people/zoe",
        "../conversations",
        "zed/",
        "/",
        "..",
        ".",
        "..\\..\\other\\people\\zed",
        "..%2f..%2fother%2fpeople%2fzed",
        "%2e%2e",
        "zed?x",
        "zed#x",
        "..;",
        "zed;x",
    ] {
        assert_eq!(failed(&directory, name, None).await.code, Code::UnknownUser, "{name}");
        assert_eq!(max.requests().len(), 0, "{name}");
    }
    // With a token, the name is sent unencoded in a header.
    for name in ["a/b", "..", "%2e", "dídac"] {
        assert_eq!(asked(&directory, name, Some(TOKEN)).await, Ok(vec!["listed".to_owned()]), "{name}");
        let request = max.requests().pop().unwrap();
        assert_eq!(
            (request.target.as_str(), request.header("x-oauth-username")),
            ("/max/tenant/conversations", name.as_bytes())
        );
    }
    for name in ["a b", "dídac", "zed@example.org"] {
        assert_eq!(asked(&directory, name, None).await, Ok(vec!["own".to_owned()]), "{name}");
    }
}

/// A MAX whose answers are chosen by `script`, from the call (`people` or `conversations`) and the number of such calls
/// before.
fn by_call(script: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> FakeMax {
    let counts = Mutex::new(std::collections::HashMap::<String, usize>::new());
    FakeMax::start(move |request, wire| {
        let call = request.target.split('/').nth(1).unwrap().to_owned();
        let count = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(call.clone()).or_default();
            *count += 1;
            *count - 1
        };
        wire.write_all(&script(&call, count)).map(|()| After::KeepAlive)
    })
}

fn calls(max: &FakeMax) -> Vec<String> {
    max.requests().iter().map(|request| request.target.split('/').nth(1).unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_crash_is_tried_again_and_then_by_the_other_call() {
    let crash = || error("500 Internal Server Error", "ServerError", "Oh.");
    // A moment in which a conversation has no message; it is over at the second call.
    let max = by_call(move |_, count| if count == 0 { crash() } else { json(&person("messi", "a")) });
    assert_eq!(asked(&directory(max.url("")), "messi", Some(TOKEN)).await, Ok(vec!["a".to_owned()]));
    assert_eq!(calls(&max), ["people", "people"]);
    assert_eq!(asked(&directory(max.url("")), "messi", None).await, Ok(vec!["a".to_owned()]));

    let max = by_call(move |call, _| if call == "people" { crash() } else { json(r#"[{"id":"a"}]"#) });
    let directory = directory(max.url(""));
    for _ in 0..2 {
        // A crash does not change how the next question is asked.
        assert_eq!(asked(&directory, "messi", Some(TOKEN)).await, Ok(vec!["a".to_owned()]));
    }
    assert_eq!(calls(&max), ["people", "people", "conversations"].repeat(2));
    let failure = failed(&directory, "messi", None).await;
    assert_eq!((failure.code, calls(&max).len()), (Code::MaxUnavailable, 8), "{failure}");

    let max = by_call(move |_, _| crash());
    let failure = failed(&self::directory(max.url("")), "messi", Some(TOKEN)).await;
    assert!(failure.code == Code::MaxUnavailable && failure.cause.contains("500"), "{failure}");
    assert_eq!(calls(&max), ["people", "people", "conversations"]);
    // When MAX is away for a moment, the other call would not reach it sooner. A late answer is not asked for again.
    for (status, tries) in [("502 Bad Gateway", 2), ("503 Service Unavailable", 2), ("504 Gateway Time-out", 1)] {
        let max = by_call(move |_, _| answer(status, "text/html", "<html>"));
        assert_eq!(failed(&self::directory(max.url("")), "messi", Some(TOKEN)).await.code, Code::MaxUnavailable);
        assert_eq!(calls(&max), vec!["people"; tries], "{status}");
        let once = by_call(
            move |_, count| if count == 0 { answer(status, "text/html", "") } else { json(&person("messi", "a")) },
        );
        let back = asked(&self::directory(once.url("")), "messi", Some(TOKEN)).await;
        assert_eq!(back.is_ok(), tries == 2, "{status}");
    }
}

#[actix_web::test]
async fn a_back_end_with_one_call_is_asked_by_that_one() {
    let page = |status: &str| answer(status, "text/html", "<html>");
    let list = || json(r#"[{"id":"a"}]"#);
    for (unserved, of_person) in [
        (page("404 Not Found"), true),
        (page("405 Method Not Allowed"), true),
        (page("501 Not Implemented"), true),
        (page("200 OK"), true),
        (error("403 Forbidden", "Forbidden", "Not yours to ask."), true),
        (error("401 Unauthorized", "Unauthorized", "Invalid token."), true),
        (error("404 Not Found", "ObjectNotFound", "There is no such call."), true),
        (json(r#"{"username":"messi"}"#), true),
        (page("404 Not Found"), false),
        (page("200 OK"), false),
    ] {
        let max = by_call(move |call, _| match call {
            "people" if of_person => unserved.clone(),
            "people" => json(&person(if of_person { "messi" } else { "dídac" }, "a")),
            _ if of_person => list(),
            _ => unserved.clone(),
        });
        let directory = directory(max.url(""));
        // A name that is not ASCII is first looked for in the list.
        let (name, bad, good) =
            if of_person { ("messi", "people", "conversations") } else { ("dídac", "conversations", "people") };
        for _ in 0..3 {
            assert_eq!(asked(&directory, name, Some(TOKEN)).await, Ok(vec!["a".to_owned()]));
        }
        assert_eq!(calls(&max), [bad, good, good, good]);
    }
}

#[actix_web::test]
async fn only_max_itself_says_who_is_unknown_and_what_is_not_allowed() {
    let proxy_json = r#"{"error":"invalid_token","error_description":"expired"}"#;
    for (bytes, of_user, of_service) in [
        (error("400 Bad Request", "UnknownUserError", "Unknown user: messi"), Code::UnknownUser, Code::UnknownUser),
        (error("404 Not Found", "ObjectNotFound", "No."), Code::UnknownUser, Code::UnknownUser),
        (answer("404 Not Found", "text/plain", "404 Not Found"), Code::MaxError, Code::MaxError),
        (answer("404 Not Found", "application/json", r#"{"message":"no route"}"#), Code::MaxError, Code::MaxError),
        (answer("400 Bad Request", "text/html", "<html>UnknownUserError"), Code::MaxError, Code::MaxError),
        (error("401 Unauthorized", "Unauthorized", "Invalid token."), Code::Unauthorized, Code::MaxUnavailable),
        (answer("401 Unauthorized", "application/json", proxy_json), Code::MaxError, Code::MaxUnavailable),
        (answer("401 Unauthorized", "text/html", "<html>"), Code::MaxError, Code::MaxUnavailable),
        (answer("403 Forbidden", "text/html", "<html>"), Code::MaxError, Code::MaxUnavailable),
        (answer("407 Proxy Authentication Required", "text/html", ""), Code::MaxError, Code::MaxError),
    ] {
        let said = String::from_utf8_lossy(&bytes).into_owned();
        let max = FakeMax::answering(bytes);
        let directory = directory(max.url(""));
        assert_eq!(failed(&directory, "messi", Some(TOKEN)).await.code, of_user, "{said}");
        assert_eq!(failed(&directory, "messi", None).await.code, of_service, "{said}");
    }
}

#[actix_web::test]
async fn the_missing_right_of_a_service_account_is_named() {
    let max = FakeMax::answering(json(r#"{"username":"messi","displayName":"Leo"}"#));
    let failure = failed(&directory(max.url("")), "messi", None).await;
    assert!(failure.cause.contains("no MAX Manager"), "{failure}");
    let denied = "You don't have permission to access messi resources";
    let max = FakeMax::answering(error("401 Unauthorized", "Unauthorized", denied));
    let failure = failed(&directory(max.url("")), "messi", None).await;
    assert!(failure.cause.contains("before 4.0.0") && failure.cause.contains("Manager"), "{failure}");
}

#[actix_web::test]
async fn an_empty_scope_is_none() {
    for scope in ["", " ", "\u{a0}"] {
        let max = FakeMax::answering(json(&person("messi", "a")));
        let directory = directory(max.url(""));
        let question = Question { scope: Some(scope.to_owned()), ..question("messi", Some(TOKEN)) };
        directory.conversations_of(question).await.unwrap();
        assert_eq!(max.request().header("x-oauth-scope"), b"widgetcli");
    }
}

#[actix_web::test]
async fn a_short_token_hides_no_letters_of_the_log() {
    let max = FakeMax::answering(json("{}"));
    let failure = failed(&directory(max.url("")), "messi", Some("x")).await;
    assert!(failure.cause.contains("not the expected JSON"), "{failure}");
}

/// A MAX that says `asked` at each request and answers when the test tells it to.
fn held(username: &str) -> Peer {
    let answer = quoted(&ok(&person(username, "a")));
    Peer::listen(&format!("expect head\nsay asked\nwait go\nsend {answer} or closed\nagain"))
}

#[actix_web::test]
async fn one_call_serves_all_that_ask_the_same() {
    let max = held("messi");
    let (directory, gate) = directory_with(&settings(max.url("")));
    let join = || actix_web::rt::spawn(directory.conversations_of(question("messi", Some(TOKEN))));
    let mut joins: Vec<_> = (0..1000).map(|_| join()).collect();
    max.said("asked", 1).await;
    // The first caller gives up, and the others are served.
    let first = joins.remove(0);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!((gate.inflight(), gate.waiting()), (1, 0));
    max.tell("go");
    for answer in within("all answers", join_all(joins)).await {
        assert_eq!(answer.unwrap().unwrap().conversations.len(), 1);
    }
    assert_eq!(max.state().heads.len(), 1);
    // A later join asks anew, and so do other questions.
    max.tell("go");
    within("an answer", join()).await.unwrap().unwrap();
    assert_eq!(max.state().heads.len(), 2);
    let others = [
        question("messi", Some("another token")),
        Question { scope: Some("mobile".to_owned()), ..question("messi", Some(TOKEN)) },
        question("messi", None),
    ];
    let others = others.map(|other| actix_web::rt::spawn(directory.conversations_of(other)));
    let others = join_all(others.into_iter().chain([join()]));
    max.said("asked", 6).await;
    (0..4).for_each(|_| max.tell("go"));
    for answer in within("all answers", others).await {
        answer.unwrap().unwrap();
    }
}

#[actix_web::test]
async fn a_call_that_nobody_waits_for_frees_its_place_and_closes_its_connection() {
    let max = held("messi");
    let (directory, gate) = directory_with(&config::Max { inflight_max: 2, ..settings(max.url("")) });
    let join = |token: &str| actix_web::rt::spawn(directory.conversations_of(question("messi", Some(token))));
    let joins = [join("one"), join("two"), join("three")];
    max.said("asked", 2).await;
    assert_eq!(gate.inflight(), 2);
    for join in &joins {
        join.abort();
    }
    for join in joins {
        assert!(join.await.unwrap_err().is_cancelled());
    }
    assert_eq!((gate.inflight(), gate.waiting()), (0, 0));
    // Two answers are on their way to nobody: the next question goes over its own connection.
    (0..3).for_each(|_| max.tell("go"));
    within("an answer", join("four")).await.unwrap().unwrap();
    let state = max.state();
    assert_eq!((state.heads.len(), state.connections), (3, 3));
}

#[actix_web::test]
async fn there_are_fewer_calls_at_a_time_while_max_is_late() {
    let silent = Arc::new(AtomicBool::new(true));
    let max = FakeMax::start({
        let silent = Arc::clone(&silent);
        move |_, wire| match silent.load(Ordering::SeqCst) {
            true => Ok(After::KeepAlive),
            false => wire.write_all(&json(&person("messi", "a"))).map(|()| After::KeepAlive),
        }
    });
    let (directory, gate) = directory_with(&config::Max { inflight_max: 2, timeout_ms: 3000, ..settings(max.url("")) });
    assert_eq!(gate.limit(), 2);
    assert_eq!(failed(&directory, "messi", Some(TOKEN)).await.code, Code::MaxTimeout);
    assert_eq!((gate.limit(), gate.inflight()), (1, 0));
    silent.store(false, Ordering::SeqCst);
    let recovering = async {
        while gate.limit() < 2 {
            asked(&directory, "messi", Some(TOKEN)).await.unwrap();
        }
    };
    within("the limit to rise", recovering).await;
    assert_eq!(gate.inflight(), 0);
}

#[actix_web::test]
async fn a_max_that_works_on_one_call_at_a_time_serves_a_crowd() {
    // Like the real MAX, it works on even if a call is given up.
    let one_at_a_time = Arc::new(Mutex::new(()));
    let under_way = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let max = FakeMax::start({
        let under_way = Arc::clone(&under_way);
        move |request, wire| {
            let (now, most) = &*under_way;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            {
                let _working = one_at_a_time.lock().unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            now.fetch_sub(1, Ordering::SeqCst);
            let name = request.target.rsplit('/').next().unwrap();
            wire.write_all(&json(&person(name, "a"))).map(|()| After::KeepAlive)
        }
    });
    // The default settings need no guess.
    let (directory, gate) = directory_with(&settings(max.url("")));
    let joins = (0..100).map(|n| {
        let directory = directory.clone();
        actix_web::rt::spawn(async move { asked(&directory, &format!("u{n}"), Some(TOKEN)).await })
    });
    for answer in join_all(joins).await {
        assert_eq!(answer.unwrap(), Ok(vec!["a".to_owned()]));
    }
    assert!(under_way.1.load(Ordering::SeqCst) <= 8);
    assert_eq!((gate.inflight(), gate.waiting()), (0, 0));
}
