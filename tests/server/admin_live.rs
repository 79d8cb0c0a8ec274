//! The live connection of the dashboard, with a WebSocket of the test's own, and the files of its page.

use crate::support::client::{Client, Kind, joined, talk_of};
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::run;
use crate::support::socket::{BINARY, End, Frame, PING, Socket, frame};
use serde_json::{Value, json};

const LIVE: &str = "/api/v1/live";

/// Opens a live connection and sends its first message.
async fn live(server: &Fixture, first: &str) -> Socket {
    let mut socket = Socket::open_at(server.admin_addr, LIVE).await;
    socket.send(first).await;
    socket
}

/// Returns the content of the next frame, which must have this name.
async fn next(socket: &mut Socket, name: &str) -> Value {
    let mut frame: Value = serde_json::from_str(&socket.hear().await).unwrap();
    assert!(frame.as_object().is_some_and(|frame| frame.len() == 1 && frame.contains_key(name)), "{frame}");
    frame[name].take()
}

/// Returns the first overview that is as it should be.
async fn until(socket: &mut Socket, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let overview = next(socket, "overview").await;
        if is_so(&overview) {
            return overview;
        }
    }
}

#[test]
fn it_brings_the_history_and_then_an_overview_each_second() {
    let server = Fixture::start("");
    run(async {
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut socket = live(&server, "{}").await;
        let history = next(&mut socket, "history").await;
        assert_eq!(history["step_ms"], 1000);
        let first = next(&mut socket, "overview").await;
        assert_eq!((&first["status"]["stage"], &first["drain"]), (&json!("serving"), &Value::Null));

        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1"]).await;
        messi.hears(&[joined("c1", "xavi")]).await;
        xavi.emit("talk", &talk_of("c1", "m1")).await;
        let busy = until(&mut socket, |overview| overview["rates"]["talks"].as_f64() > Some(0.0)).await;
        assert!(busy["rates"]["deliveries"].as_f64() >= busy["rates"]["talks"].as_f64(), "{busy}");
        assert_eq!((&busy["status"]["sessions"], &busy["status"]["conversations"]), (&json!(2), &json!(1)));
        assert_eq!(busy["conversations"][0]["id"], "c1");
        messi.emit("talk", &talk_of("c1", "m2")).await;
        messi.emit("talk", &talk_of("c1", "m3")).await;
        until(&mut socket, |overview| overview["rates"]["delivery_p99_ms"].as_f64() > Some(0.0)).await;
        let later = next(&mut socket, "overview").await;
        let at = |overview: &Value| overview["at_ms"].as_u64().unwrap();
        assert!(at(&later) > at(&busy));

        // The next page gets what has happened so far.
        let history = next(&mut live(&server, "{\"key\":\"not needed\"}").await, "history").await;
        let talks = history["series"]["talks"].as_array().unwrap();
        assert!(talks.iter().any(|rate| rate.as_f64() > Some(0.0)), "{talks:?}");
        let names: Vec<_> = history["series"].as_object().unwrap().keys().map(String::as_str).collect();
        for name in ["sessions", "mailbox.conversation.peak", "mailbox.max.wait_p99_ms", "worker.0.busy"] {
            assert!(names.contains(&name), "no {name} in {names:?}");
        }
    });
}

#[test]
fn its_key_is_the_first_message() {
    let server = Fixture::start("admin.token = \"operator\"\nadmin.announce_token = \"backend\"");
    run(async {
        for wrong in ["{}", "{\"key\":null}", "{\"key\":\"\"}", "{\"key\":\"operato\"}", "{\"key\":\"backend\"}"] {
            assert_eq!(live(&server, wrong).await.end().await, End::Frame(Some(4401)), "{wrong}");
        }
        let mut socket = live(&server, "{\"key\":\"operator\"}").await;
        next(&mut socket, "history").await;
        next(&mut socket, "overview").await;
    });
}

#[test]
fn a_client_that_says_something_else_is_closed() {
    let server = Fixture::start("");
    run(async {
        let long = "x".repeat(20_000);
        for (first, code) in
            [("", 1008), ("[]x", 1008), ("{\"key\":1}", 1008), ("\"key\"", 1008), ("not JSON", 1008), (&long, 1009)]
        {
            assert_eq!(live(&server, first).await.end().await, End::Frame(Some(code)), "{first:.20}");
        }
        let mut socket = Socket::open_at(server.admin_addr, LIVE).await;
        socket.write(&frame(true, BINARY, b"{}")).await;
        assert_eq!(socket.end().await, End::Frame(Some(1008)));
        let mut socket = live(&server, "{}").await;
        next(&mut socket, "history").await;
        socket.write(&frame(true, PING, b"are you there")).await;
        while socket.next().await.unwrap() != Frame::Pong(b"are you there".to_vec()) {}
        socket.send("{}").await;
        assert_eq!(socket.end().await, End::Frame(Some(1008)));
    });
}

#[test]
fn a_request_that_cannot_become_live_is_told_why() {
    let server = Fixture::start("");
    run(async {
        let origin = format!("http://{}", server.admin_addr);
        let refused = async |headers: &[(&str, &str)]| {
            let response = Socket::ask_at(server.admin_addr, LIVE, headers).await.err().unwrap();
            let body: Value = serde_json::from_str(&response.body).unwrap();
            (response.status, body["error"]["code"].clone())
        };
        assert_eq!(refused(&[("Origin", "http://evil.example")]).await, (403, json!("forbidden")));
        assert_eq!(refused(&[("Origin", &origin)]).await, (403, json!("forbidden")), "Host is localhost");
        Socket::ask_at(server.admin_addr, LIVE, &[("Origin", "http://localhost")]).await.unwrap();
        let plain = Http::connect(server.admin_addr).await.get(LIVE).await;
        assert_eq!(plain.status, 400, "{plain:?}");

        let mut open = Vec::new();
        let full = loop {
            match Socket::ask_at(server.admin_addr, LIVE, &[]).await {
                Ok(socket) => open.push(socket),
                Err(response) => break response,
            }
        };
        assert_eq!((open.len(), full.status, full.header("retry-after")), (16, 503, Some("1")), "{full:?}");
        assert_eq!(Http::connect(server.admin_addr).await.get("/metrics").await.status, 200, "others have room");
        // A place is free again when a connection has ended.
        drop(open);
        while Socket::ask_at(server.admin_addr, LIVE, &[]).await.is_err() {}
    });
}

#[test]
fn it_ends_when_the_server_stops() {
    let server = Fixture::start("");
    run(async {
        let mut socket = live(&server, "{}").await;
        next(&mut socket, "history").await;
        server.stop();
        assert_eq!(socket.end().await, End::Frame(Some(1001)));
    });
}

#[test]
fn a_drain_is_told_while_it_lasts() {
    let server = Fixture::start("server.drain_ms = 60000");
    run(async {
        // The first of them is closed at once, the second one after half of the time, or when the test ends.
        let _first = Client::open(server.addr, Kind::WebSocket).await;
        let _second = Client::open(server.addr, Kind::WebSocket).await;
        let mut socket = live(&server, "{}").await;
        next(&mut socket, "history").await;
        let body = [("Content-Type", "application/json")];
        for _ in 0..2 {
            let mut http = Http::connect(server.admin_addr).await;
            let answer = http.request("POST", "/api/v1/drain", &body, b"{}").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let drain: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(drain["sessions"], 2);
            assert!(drain["due_in_ms"].as_u64() <= Some(60_000), "{drain}");
        }
        let draining = until(&mut socket, |overview| overview["drain"]["left"] == 1).await;
        assert_eq!((&draining["status"]["stage"], &draining["drain"]["sessions"]), (&json!("draining"), &json!(2)));
        let warned = until(&mut socket, |overview| overview["warnings"] != json!([])).await;
        assert_eq!(warned["warnings"][0]["id"], "draining");
    });
}

#[test]
fn browsers_get_the_page_with_a_token_and_others_a_list() {
    let server = Fixture::start("admin.token = \"operator\"");
    run(async {
        // The connection of a file is closed with it.
        let get = async |path: &str, headers: &[(&str, &str)]| {
            Http::connect(server.admin_addr).await.request("GET", path, headers, b"").await
        };
        let html = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        let page = get("/", &html).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let token = page.body.split("name=\"maxtalk-dashboard\" content=\"").nth(1).unwrap();
        let token = token.split('"').next().unwrap();
        assert_eq!(token.len(), 22);
        assert!(get("/", &[]).await.body.contains("/api/v1/openapi.json"));
        for (file, content_type) in [
            ("/dashboard.css", "text/css; charset=utf-8"),
            ("/dashboard.js", "text/javascript; charset=utf-8"),
            ("/live.js", "text/javascript; charset=utf-8"),
            ("/favicon.svg", "image/svg+xml"),
        ] {
            let answer = get(file, &[]).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{file}");
            let policy = answer.header("content-security-policy").unwrap();
            for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
                assert!(policy.contains(part), "{file}: {policy}");
            }
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{file}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{file}");
        }
        // What the page changes, it changes with its token.
        let mut http = Http::connect(server.admin_addr).await;
        let own = [
            ("Authorization", "Bearer operator"),
            ("Content-Type", "application/json"),
            ("Origin", "http://localhost"),
            ("X-Maxtalk-Dashboard", token),
        ];
        for (headers, status) in [(&own[..], 200), (&own[..3], 403), (&own[..2], 200), (&own[1..], 401)] {
            let change = b"{\"mailbox.session\": 24}";
            assert_eq!(http.request("PATCH", "/api/v1/settings", headers, change).await.status, status, "{headers:?}");
        }
    });
}
