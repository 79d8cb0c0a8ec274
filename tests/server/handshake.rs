//! The endpoint over HTTP: handshakes, refusals, CORS, and the rules of polling.

use std::net::SocketAddr;

use crate::support;
use crate::support::client::{Client, Kind, join_of, joined, left, packet, sid_of, talk_of, target, update, with_xavi};
use crate::support::fixture::Fixture;
use crate::support::http::{Http, Response, request};
use crate::support::run;
use crate::support::socket::{End, Socket};

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
const UNKNOWN_SID: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);

async fn get(addr: SocketAddr, target: &str) -> Response {
    Http::connect(addr).await.get(target).await
}

fn status_and_body(response: &Response) -> (u16, &str) {
    (response.status, &response.body)
}

/// A session by polling, and two connections for it.
async fn polling(addr: SocketAddr) -> (String, Http, Http) {
    let mut http = Http::connect(addr).await;
    let sid = sid_of(&http.get(HANDSHAKE).await.body);
    (target(&sid), http, Http::connect(addr).await)
}

/// A session by polling that has joined as `messi`, and whose last poll is answered.
async fn polling_messi(server: &Fixture) -> (String, Http, Http) {
    let (target, mut getter, mut poster) = polling(server.addr).await;
    let join = packet("join", &join_of("messi"), None);
    assert_eq!(status_and_body(&poster.post(&target, &format!("40/max,\x1e{join}")).await), (200, "ok"));
    let mut body = String::new();
    while !body.contains("listening") {
        body += &getter.get(&target).await.body;
    }
    (target, getter, poster)
}

#[test]
fn a_handshake_is_answered_as_the_official_server_does() {
    run(async {
        let server = Fixture::start("");
        for target in [
            "/socket.io/?EIO=4&transport=polling",
            "/socket.io?EIO=4&transport=polling",
            "/socket.io/?transport=polling&EIO=4&t=abc&user=x&b64=1",
            "/socket.io/?EIO=4&transport=polling&sid=",
        ] {
            let response = get(server.addr, target).await;
            assert_eq!(response.status, 200, "{target}");
            assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
            assert_eq!(response.header("set-cookie"), None);
            assert_eq!(response.header("access-control-allow-origin"), None);
            assert_eq!(response.header("content-length"), Some(response.body.len().to_string().as_str()));
            let sid = sid_of(&response.body);
            assert!(sid.len() == 26 && sid.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c)), "{sid}");
            let rest = r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
            assert_eq!(response.body, format!(r#"0{{"sid":"{sid}",{rest}"#));
        }
        let mut socket = Socket::open(server.addr, "EIO=4&transport=websocket").await;
        let open = socket.hear().await;
        let rest = r#""upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(open, format!(r#"0{{"sid":"{}",{rest}"#, sid_of(&open)));
    });
}

#[test]
fn errors_of_requests_are_answered_in_json() {
    run(async {
        let server = Fixture::start("");
        let (polling_target, _, _) = polling(server.addr).await;
        let socket = Client::open(server.addr, Kind::WebSocket).await;
        let of_a_socket = target(&socket.sid);
        let sid_with_wrong_transport = polling_target.replace("polling", "websocket");
        let unknown = target("AAAAAAAAAAAAAAAAAAAA");
        let transport_unknown = (400, r#"{"code":0,"message":"Transport unknown"}"#);
        let bad_method = (400, r#"{"code":2,"message":"Bad handshake method"}"#);
        let unsupported = (400, r#"{"code":5,"message":"Unsupported protocol version"}"#);
        let table: &[(&str, &str, (u16, &str))] = &[
            ("GET", "/socket.io/", transport_unknown),
            ("GET", "/socket.io/?EIO=4", transport_unknown),
            ("GET", "/socket.io/?EIO=4&transport=flashsocket", transport_unknown),
            ("GET", "/socket.io/?EIO=4&transport=__proto__&sid=abc", transport_unknown),
            ("POST", "/socket.io/?EIO=abc&transport=abc", transport_unknown),
            ("GET", "/socket.io/?transport=polling", unsupported),
            ("GET", "/socket.io/?EIO=abc&transport=polling", unsupported),
            ("GET", "/socket.io/?EIO=5&transport=polling&sid=abc", unsupported),
            ("GET", &unknown, UNKNOWN_SID),
            ("POST", &unknown, UNKNOWN_SID),
            ("PUT", &unknown, UNKNOWN_SID),
            ("GET", &target(&"x".repeat(5000)), UNKNOWN_SID),
            ("GET", &target("%00%ff%20"), UNKNOWN_SID),
            ("POST", HANDSHAKE, bad_method),
            ("PUT", HANDSHAKE, bad_method),
            ("DELETE", HANDSHAKE, bad_method),
            ("GET", "/socket.io/?EIO=4&transport=websocket", BAD_REQUEST),
            ("GET", &of_a_socket, BAD_REQUEST),
            ("POST", &of_a_socket, BAD_REQUEST),
            ("GET", &sid_with_wrong_transport, BAD_REQUEST),
            ("PUT", &polling_target, (500, "")),
            ("DELETE", &polling_target, (500, "")),
        ];
        for (method, target, expected) in table {
            let origin = [("Origin", "https://chat.example")];
            let response = Http::connect(server.addr).await.request(method, target, &origin, b"").await;
            assert_eq!(status_and_body(&response), *expected, "{method} {target:.100}");
            if !expected.1.is_empty() {
                assert_eq!(response.header("content-type"), Some("application/json"));
            }
            assert_eq!(response.header("access-control-allow-origin"), Some("https://chat.example"), "{target:.100}");
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
            assert!(response.header("vary").unwrap().contains("Origin"));
        }
        assert_eq!(get(server.addr, "/socket.io/nothing").await.status, 404);
        assert_eq!(get(server.addr, "/nothing").await.status, 404);
    });
}

#[test]
fn a_refused_websocket_hears_why_in_plain_http() {
    run(async {
        let server = Fixture::start("");
        for (query, expected) in [
            ("EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", "Session ID unknown"),
            ("EIO=4&transport=abc", "Transport unknown"),
            ("EIO=4&transport=polling", "Bad request"),
            ("EIO=7&transport=websocket", "Unsupported protocol version"),
        ] {
            let mut http = Http::connect(server.addr).await;
            http.write(&support::socket::handshake(query)).await.unwrap();
            let response = http.response().await.unwrap();
            assert_eq!(status_and_body(&response), (400, expected), "{query}");
            assert_eq!(response.header("connection"), Some("close"));
            assert!(http.is_closed().await);
        }
        // Incomplete upgrades, upgrades to another protocol, and upgrades elsewhere.
        let websocket = "/socket.io/?EIO=4&transport=websocket";
        for (target, headers, status) in [
            (websocket, &[("Upgrade", "websocket"), ("Connection", "Upgrade")][..], 400),
            (websocket, &[("Upgrade", "h2c"), ("Connection", "Upgrade")], 400),
            ("/elsewhere", &[("Upgrade", "websocket"), ("Connection", "Upgrade")], 404),
        ] {
            let response = Http::connect(server.addr).await.request("GET", target, headers, b"").await;
            assert_eq!(response.status, status, "{target} {headers:?}");
        }
    });
}

#[test]
fn every_origin_is_served_and_preflights_come_before_all_else() {
    run(async {
        let server = Fixture::start("");
        let (known, mut getter, mut poster) = polling(server.addr).await;
        for target in [HANDSHAKE, &known, &target("AAAAAAAAAAAAAAAAAAAA"), "/socket.io/?EIO=9", "/socket.io", "/demo"] {
            let headers = [
                ("Origin", "https://chat.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "content-type,x-extra"),
            ];
            let response = Http::connect(server.addr).await.request("OPTIONS", target, &headers, b"").await;
            assert_eq!(status_and_body(&response), (204, ""), "{target}");
            assert_eq!(response.header("access-control-allow-origin"), Some("https://chat.example"));
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(response.header("access-control-allow-methods"), Some("GET,HEAD,PUT,PATCH,POST,DELETE"));
            assert_eq!(response.header("access-control-allow-headers"), Some("content-type,x-extra"));
        }
        // Polls and POSTs too, and POSTs that are too large.
        let origin = [("Origin", "null"), ("Cookie", "io=x; a=b")];
        let answers = [
            poster.request("POST", &known, &origin, b"40/max,").await,
            getter.request("GET", &known, &origin, b"").await,
            Http::connect(server.addr).await.request("POST", &known, &origin, &[b'4'; 1_000_001]).await,
        ];
        for (answer, status) in answers.iter().zip([200, 200, 413]) {
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), Some("null"));
        }
        assert_eq!(status_and_body(&answers[2]), (413, ""));
        // An `Origin` that is not ASCII is refused for polls and WebSockets.
        let bad = [b"GET ", HANDSHAKE.as_bytes(), b" HTTP/1.1\r\nHost: x\r\nOrigin: \xff\xfe\r\n\r\n"].concat();
        let mut http = Http::connect(server.addr).await;
        http.write(&bad).await.unwrap();
        assert_eq!(status_and_body(&http.response().await.unwrap()), BAD_REQUEST);
    });
}

#[test]
fn a_post_is_bounded_and_the_session_outlives_one_that_is_not() {
    run(async {
        let server = Fixture::start("protocol.payload_bytes_max = 1000");
        server.max.talks_in("messi", &["c1"]);
        let (target, mut getter, mut poster) = polling(server.addr).await;
        let exact = format!("40/max,\x1e4{}", r#"2/max,["x"]"#) + &" ".repeat(1000 - 20);
        assert_eq!(exact.len(), 1000);
        assert_eq!(status_and_body(&poster.post(&target, &exact).await), (200, "ok"));
        assert!(getter.get(&target).await.body.starts_with("40/max,{"));

        // A body whose announced length is too large need not arrive; a chunked one is counted as it arrives.
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
        let mut announced = Http::connect(server.addr).await;
        announced.write(head.as_bytes()).await.unwrap();
        assert_eq!(status_and_body(&announced.response().await.unwrap()), (413, ""));
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut chunked = Http::connect(server.addr).await;
        chunked.write(format!("{head}1f4\r\n{}\r\n1f5\r\n", "4".repeat(500)).as_bytes()).await.unwrap();
        chunked.write("4".repeat(501).as_bytes()).await.unwrap();
        assert_eq!(status_and_body(&chunked.response().await.unwrap()), (413, ""));

        let join = packet("join", &join_of("messi"), None);
        assert_eq!(status_and_body(&poster.post(&target, &join).await), (200, "ok"));
        assert!(getter.get(&target).await.body.contains("listening"));
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let ask = r#"42/max,3["ask"]"#;
        let mut chunked = Http::connect(server.addr).await;
        chunked.write(format!("{head}5\r\n{}\r\n{:x}\r\n", &ask[..5], ask.len() - 5).as_bytes()).await.unwrap();
        chunked.write(format!("{}\r\n0\r\n\r\n", &ask[5..]).as_bytes()).await.unwrap();
        assert_eq!(status_and_body(&chunked.response().await.unwrap()), (200, "ok"));
        let mut told = String::new();
        while !told.contains(r#"43/max,3[{"ok":true}]"#) {
            told += &getter.get(&target).await.body;
        }
    });
}

#[test]
fn a_post_that_is_no_payload_ends_the_session() {
    run(async {
        let server = Fixture::start("");
        let table: &[(&str, &[u8], &[u16])] = &[
            ("application/octet-stream", b"\x00\x04\xff4abc", &[400]),
            ("text/plain", b"4\xff\xfe", &[400]),
            ("text/plain", b"", &[200, 400]),
            ("text/plain", b"abc", &[200, 400]),
            ("text/plain", b"4abc", &[200, 400]),
            ("text/plain", b"40/max,\x1e", &[200, 400]),
            ("text/plain", b"4\x1e4", &[200, 400]),
            ("text/plain", b"b?", &[200, 400]),
            ("text/plain", b"2", &[200, 400]),
        ];
        for (kind, body, statuses) in table {
            let (target, mut getter, mut poster) = polling(server.addr).await;
            getter.write(&request("GET", &target, &[], b"")).await.unwrap();
            let answer = poster.request("POST", &target, &[("Content-Type", kind)], body).await;
            assert!(statuses.contains(&answer.status), "{body:?}: {answer:?}");
            let told = getter.response().await.unwrap();
            let told = (told.status, told.body.rsplit('\x1e').next().unwrap().to_owned());
            assert!(told == (200, "1".to_owned()) || told.0 == 400, "{body:?}: {told:?}");
            assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID, "{body:?}");
            // A connection with an unread body is closed.
            let answer = Http::connect(server.addr).await.post(&target, "40").await;
            assert_eq!(status_and_body(&answer), UNKNOWN_SID, "{body:?}");
        }
        server.until("no session", |now| now.sum("maxtalk_sessions", "") == 0.0).await;
    });
}

#[test]
fn packets_before_a_bad_one_count() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (target, _getter, mut poster) = polling_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let talk = packet("talk", &talk_of("c1", "m1"), None);
        let answer = poster.post(&target, &format!("{talk}\x1e4{{bad\x1e{talk}")).await;
        assert_eq!(status_and_body(&answer), (200, "ok"));
        xavi.hears(&[update("messi", "c1", "m1")]).await;
        // The next poll gets the end of the session, after the earlier packets. Then the sid is unknown.
        let told = get(server.addr, &target).await;
        assert_eq!((told.status, told.body.rsplit('\x1e').next()), (200, Some("1")));
        xavi.hears(&[left("c1", "messi")]).await;
        xavi.hears_nothing().await;
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
    });
}

#[test]
fn two_polls_at_once_end_the_session() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (target, mut first, mut poster) = polling_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        first.write(&request("GET", &target, &[], b"")).await.unwrap();
        // The order of the two is open: one gets `1`, the other is refused.
        let second = get(server.addr, &target).await;
        let first = first.response().await.unwrap();
        let mut answers = [status_and_body(&first), status_and_body(&second)];
        answers.sort_unstable();
        assert_eq!(answers, [(200, "1"), (400, "")]);
        xavi.hears(&[left("c1", "messi")]).await;
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
        assert_eq!(status_and_body(&poster.post(&target, "41/max,").await), UNKNOWN_SID);
    });
}

#[test]
fn two_posts_at_once_end_the_session() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (target, _getter, mut first) = polling_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n42/ma");
        first.write(head.as_bytes()).await.unwrap();
        // Until the server has seen the half POST, the other one is the first and is accepted.
        let mut second = Http::connect(server.addr).await;
        let refused = loop {
            let answer = second.post(&target, packet("talk", &talk_of("c1", "m"), None).as_str()).await;
            if answer.status != 200 {
                break answer;
            }
        };
        // If the server saw the half POST during the other one, it refused the half.
        if status_and_body(&refused) == UNKNOWN_SID {
            assert_eq!(status_and_body(&first.response().await.unwrap()), (400, ""));
        } else {
            assert_eq!(status_and_body(&refused), (400, ""));
        }
        let heard = loop {
            match xavi.hear().await {
                heard if heard == update("messi", "c1", "m") => {}
                heard => break heard,
            }
        };
        assert_eq!(heard, left("c1", "messi"));
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
    });
}

#[test]
fn a_poll_or_post_that_its_client_drops_is_noticed_at_once() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let (target, mut getter, _poster) = polling_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        getter.write(&request("GET", &target, &[], b"")).await.unwrap();
        drop(getter);
        // Long before any heartbeat, whether the server saw the poll before its end or not.
        xavi.hears(&[left("c1", "messi")]).await;
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);

        let (target, _getter, mut poster) = polling_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n42/ma");
        poster.write(head.as_bytes()).await.unwrap();
        drop(poster);
        xavi.hears(&[left("c1", "messi")]).await;
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
    });
}

#[test]
fn a_client_that_closes_is_told_by_its_poll() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        for poll_first in [true, false] {
            let (target, mut getter, mut poster) = polling_messi(&server).await;
            xavi.hears(&[joined("c1", "messi")]).await;
            if poll_first {
                getter.write(&request("GET", &target, &[], b"")).await.unwrap();
            }
            assert_eq!(status_and_body(&poster.post(&target, "1").await), (200, "ok"));
            if poll_first {
                let told = getter.response().await.unwrap();
                assert!([(200, "6"), UNKNOWN_SID].contains(&status_and_body(&told)), "{told:?}");
            }
            xavi.hears(&[left("c1", "messi")]).await;
            assert_eq!(status_and_body(&poster.post(&target, "40").await), UNKNOWN_SID);
        }
    });
}

#[test]
fn after_the_upgrade_polling_is_over() {
    run(async {
        let server = Fixture::start("");
        server.max.talks_in("messi", &["c1"]);
        let mut messi = Client::join(&server, Kind::Upgraded, "messi", &["c1"]).await;
        let target = target(&messi.sid);
        assert_eq!(status_and_body(&get(server.addr, &target).await), BAD_REQUEST);
        let mut poster = Http::connect(server.addr).await;
        assert_eq!(status_and_body(&poster.post(&target, "41/max,").await), BAD_REQUEST);
        messi.hears_nothing().await;
        drop(messi);
        server.until("no session", |now| now.sum("maxtalk_sessions", "") == 0.0).await;
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
        assert_eq!(status_and_body(&poster.post(&target, "41/max,").await), UNKNOWN_SID);
    });
}

#[test]
fn a_session_that_never_polls_is_over_in_time() {
    run(async {
        let settings = "protocol.ping_interval_ms = 100\nprotocol.ping_timeout_ms = 100";
        let server = Fixture::start(settings);
        let begun = std::time::Instant::now();
        let (target, _, _) = polling(server.addr).await;
        server.until("no session", |now| now.sum("maxtalk_sessions", "") == 0.0).await;
        assert!(begun.elapsed().as_millis() >= 200);
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
        let closed = server.scrape().await.sum("maxtalk_sessions_closed_total", r#"reason="ping_timeout""#);
        assert_eq!(closed, 1.0);
    });
}

#[test]
fn a_heartbeat_is_answered_by_a_post() {
    run(async {
        let server = Fixture::start("protocol.ping_interval_ms = 50\nprotocol.ping_timeout_ms = 20000");
        let (target, mut getter, mut poster) = polling(server.addr).await;
        for _ in 0..5 {
            assert_eq!(status_and_body(&getter.get(&target).await), (200, "2"));
            assert_eq!(status_and_body(&poster.post(&target, "3").await), (200, "ok"));
        }
        // Pings of the client are an error.
        assert_eq!(poster.post(&target, "2").await.status, 200);
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
    });
}

#[test]
fn slow_requests_are_not_waited_for() {
    run(async {
        let server = Fixture::start("server.request_timeout_ms = 1000");
        let mut half_a_head = Http::connect(server.addr).await;
        half_a_head.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost:").await.unwrap();
        let (target, _getter, mut half_a_body) = polling(server.addr).await;
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n42/ma");
        half_a_body.write(head.as_bytes()).await.unwrap();
        assert_eq!(half_a_body.response().await.unwrap().status, 408);
        assert_eq!(status_and_body(&get(server.addr, &target).await), UNKNOWN_SID);
        let answer = half_a_head.response().await;
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 408) || answer.is_err(), "{answer:?}");
        assert!(half_a_head.is_closed().await);
    });
}

#[test]
fn bytes_that_are_not_http_end_only_their_connection() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let long = [b"GET /".as_slice(), &[b'a'; 200_000], b" HTTP/1.1\r\n\r\n"].concat();
        let garbage: [&[u8]; 6] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /socket.io/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"POST /socket.io/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            &long,
        ];
        for bytes in garbage {
            let mut http = Http::connect(server.addr).await;
            // The server may close before it has read everything.
            let _ = http.write(bytes).await;
            let answer = support::within("an answer or an end", http.response()).await;
            assert!(answer.as_ref().map_or(true, |answer| (400..500).contains(&answer.status)), "{answer:?}");
        }
        xavi.hears_nothing().await;
    });
}

#[test]
fn a_stop_ends_polls_and_forbids_nobody_to_come_back() {
    run(async {
        let server = Fixture::start("");
        let mut client = Client::connect(server.addr, Kind::Polling, "").await;
        server.stop();
        // The poll ends without a close packet, which might keep the client from coming back; the sid is then unknown.
        let end = client.end().await;
        let unknown = matches!(&end, End::Refused(400, body) if body == UNKNOWN_SID.1);
        assert!(unknown || [End::Eof, End::Reset].contains(&end), "{end:?}");
    });
}
