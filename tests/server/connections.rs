//! HTTP/1 connections of unusual clients: pipelined and incomplete requests, answers that are not read, and the headers
//! that proxies and old clients add to a WebSocket request.

use std::io::{Read as _, Write as _};

use crate::support::client::{new_sid, sid_of, target};
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::process::{Process, maxtalk, resident_mib};
use crate::support::requests::{KEY, client, play, play_in_session, statuses, upgrade};
use crate::support::{run, within};

#[test]
fn each_answer_is_that_of_its_own_request() {
    run(async {
        let server = Fixture::start("");
        let read = play(
            server.addr,
            r#"
            send "[GET /favicon.svg][HEAD /favicon.svg][GET /nowhere|Connection: close]"
            expect close
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [200, 200, 404], "{read}");
        let answers: Vec<_> = read.split("HTTP/1.1 ").skip(1).collect();
        assert!(answers[0].ends_with("</svg>\n") && answers[1].ends_with("\r\n\r\n"), "{read}");
        let length = |answer: &str| answer.lines().find(|line| line.starts_with("content-length")).unwrap().to_owned();
        assert_eq!(length(answers[0]), length(answers[1]));
        let closes: Vec<_> = answers.iter().map(|answer| answer.contains("connection: close")).collect();
        assert_eq!(closes, [false, false, true], "only the last is said to be the last");
    });
}

#[test]
fn an_upgrade_that_is_refused_takes_no_answer_from_those_before_it() {
    run(async {
        let server = Fixture::start("");
        let read = play(
            server.addr,
            r#"
            send "[GET /favicon.svg][GET /socket.io/?EIO=4&transport=websocket|{UPGRADE}]"
            expect close
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [200, 400], "{read}");
    });
}

#[test]
fn requests_behind_a_poll_wait_for_it_and_are_answered_in_order() {
    run(async {
        let server = Fixture::start("");
        let mut http = Http::connect(server.addr).await;
        let sid = sid_of(&http.get("/socket.io/?EIO=4&transport=polling").await.body);
        let poll = target(&sid);
        let peer = client(
            server.addr,
            &format!(
                r#"
                send "[GET {poll}]"
                send 4700 * "[GET /x]"
                say sent
                expect "40/max"
                expect 4700 * "There is nothing here.\n"
                close
                "#
            ),
        );
        peer.said("sent", 1).await;
        assert_eq!(server.scrape().await.sum("maxtalk_http_answers_total", r#"status="404""#), 0.0);
        assert_eq!(http.post(&poll, "40/max,").await.body, "ok");
        peer.end().await.unwrap();
        assert_eq!(server.scrape().await.sum("maxtalk_http_answers_total", r#"status="404""#), 4700.0);
    });
}

#[test]
fn pipelined_requests_are_not_held_in_memory() {
    run(async {
        let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
        command.env("MAXTALK_SERVER__WORKERS", "1");
        let mut server = Process::start(command);
        let addr = server.addr();
        let mut clients = Vec::new();
        let mut before = 0;
        for method in ["GET", "HEAD", "OPTIONS", "PUT"] {
            for _ in 0..10 {
                let sid = new_sid(addr).await;
                if before == 0 {
                    before = resident_mib(&server);
                }
                let peer = client(
                    addr,
                    &format!(
                        r#"
                        send "[GET {}]"
                        send 4700 * "[{method} /x]" or closed
                        say sent
                        wait end
                        reset
                        "#,
                        target(&sid)
                    ),
                );
                peer.said("sent", 1).await;
                clients.push(peer);
            }
        }
        // When the only worker answers this, it has looked at all connections.
        let mut neighbour = Http::connect(addr).await;
        for _ in 0..10 {
            assert_eq!(neighbour.get("/favicon.svg").await.status, 200);
        }
        // When requests were decoded ahead, each of these took 5 KiB: 26 MiB per connection.
        let held = resident_mib(&server) - before;
        assert!(held < 60, "{held} MiB");
        for peer in &clients {
            peer.tell("end");
        }
    });
}

#[test]
fn each_head_and_each_body_has_its_deadline() {
    run(async {
        let server = Fixture::start("server.request_timeout_ms = 1000");
        for half in [
            r#"send "GET / HT""#,
            r#"send "[GET /socket.io/?EIO=4&transport=polling]"
               expect "\"sid\":\""
               send "GET / HT""#,
            r#"send "[GET /socket.io/?EIO=4&transport=polling]"
               expect "\"sid\":\""
               send 1000 * "x" every 100ms or closed"#,
            r#"send "[POST /socket.io/?EIO=4&transport=polling&sid={sid}|Content-Length: 5]4""#,
            r#"send "[POST /socket.io/?EIO=4&transport=polling&sid={sid}|Transfer-Encoding: chunked]1\r\n4""#,
            r#"send "[GET /socket.io/?EIO=4&transport=polling&sid={sid}|Content-Length: 5]4""#,
        ] {
            let half = half.replace("{sid}", &new_sid(server.addr).await);
            let read = play(server.addr, &format!("{half}\nexpect close")).await;
            assert_eq!(statuses(&read).last(), Some(&408), "{half}: {read}");
            assert!(read.contains("connection: close"), "{read}");
        }
        // A connection that sends nothing gets no answer.
        assert_eq!(play(server.addr, "expect close").await, "");
        assert_eq!(server.scrape().await.sum("maxtalk_limited_total", "request_time"), 6.0);
    });
}

#[test]
fn a_body_for_the_demo_has_its_deadline_too() {
    run(async {
        let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
        command.env("MAXTALK_SERVER__REQUEST_TIMEOUT_MS", "1000");
        let mut server = Process::start(command);
        let addr = server.addr();
        let people = Http::connect(addr).await.get("/demo/people").await.body;
        let people: serde_json::Value = serde_json::from_str(&people).unwrap();
        let (username, token) = (people[0]["username"].as_str().unwrap(), people[0]["token"].as_str().unwrap());
        let peer = client(
            addr,
            &format!(
                r#"
                send "POST /demo/max/conversations HTTP/1.1\r\nHost: x\r\nX-Oauth-Username: {username}\r\n"
                send "X-Oauth-Token: {token}\r\nX-Oauth-Scope: widgetcli\r\nContent-Length: 9\r\n\r\n{{"
                expect close
                "#
            ),
        );
        let read = String::from_utf8(peer.end().await.unwrap()).unwrap();
        assert!(statuses(&read)[0] >= 400 && read.contains("connection: close"), "{read}");
    });
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    run(async {
        let server = Fixture::start("server.write_timeout_ms = 1000");
        let peer = client(
            server.addr,
            r#"
            send 10000 * "[GET /demo.js]" or closed
            wait end
            "#,
        );
        server.until("the end", |now| now.sum("maxtalk_limited_total", "write_time") == 1.0).await;
        peer.tell("end");
    });
}

#[test]
fn heads_have_a_size() {
    run(async {
        let server = Fixture::start("server.head_bytes_max = 2048");
        for (text, status) in [
            (
                r#"send "GET / HTTP/1.1\r\nX: "
                send 3000 * "y" or closed"#,
                431,
            ),
            (
                r#"send "GET / HTTP/1.1\r\n"
                send 101 * "X: y\r\n" or closed
                send "\r\n" or closed"#,
                431,
            ),
            (
                r#"send "GET / HTTP/1.1\r\n"
                send 99 * "X: y\r\n"
                send "Connection: close\r\n\r\n""#,
                200,
            ),
        ] {
            let read = play(server.addr, &format!("{text}\nexpect close")).await;
            assert_eq!(statuses(&read), [status], "{text}: {read}");
        }
    });
}

#[test]
fn a_body_that_is_far_too_large_is_answered_all_the_same() {
    run(async {
        let server = Fixture::start("");
        for body in ["Content-Length: 30000000", "Transfer-Encoding: chunked"] {
            let sid = new_sid(server.addr).await;
            let chunk = if body.contains("chunked") { r"400\r\n" } else { "" };
            let end = if body.contains("chunked") { r"\r\n" } else { "" };
            let data = "x".repeat(1024);
            let read = play(
                server.addr,
                &format!(
                    r#"
                    send "[POST /socket.io/?EIO=4&transport=polling&sid={sid}|{body}]"
                    send 29000 * "{chunk}{data}{end}" or closed
                    expect close
                    "#
                ),
            )
            .await;
            assert_eq!(statuses(&read), [413], "{body}");
        }
        assert_eq!(server.scrape().await.sum("maxtalk_limited_total", "request_body"), 2.0);
    });
}

#[test]
fn a_client_that_waits_for_a_word_sends_its_body_then() {
    run(async {
        let server = Fixture::start("");
        let read = play_in_session(
            server.addr,
            r#"
            send "[POST {SESSION}|Expect: 100-continue|Content-Length: 7]"
            expect "100 Continue\r\n\r\n"
            send "40/max,"
            expect "\r\n\r\nok"
            send "[GET /nowhere|Connection: close]"
            expect close
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [100, 200, 404], "{read}");
    });
}

#[test]
fn chunked_bodies_are_read_and_the_connection_goes_on() {
    run(async {
        let server = Fixture::start("");
        let read = play_in_session(
            server.addr,
            r#"
            send "[POST {SESSION}|Transfer-Encoding: chunked]"
            send "2;x=y\r\n40\r\n5\r\n/max,\r\n0\r\nTrailer: z\r\n\r\n"
            expect "\r\n\r\nok"
            send "[GET {SESSION}|Connection: close]"
            expect close
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [200, 200], "{read}");
        assert!(read.contains("40/max,{"), "{read}");
    });
}

#[test]
fn a_refusal_arrives_though_the_client_keeps_sending() {
    run(async {
        let server = Fixture::start("");
        for (path, told) in [
            ("/socket.io/?EIO=4&transport=websocket&sid=nobody", "HTTP/1.1 400 "),
            ("/socket.io/1/websocket/nobody", "HTTP/1.1 101 "),
        ] {
            let mut stream = std::net::TcpStream::connect(server.addr).unwrap();
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\n{KEY}\r\n\r\n"
            );
            // A reset would lose the answer.
            stream.write_all(&[head.as_bytes(), &[b'x'; 40_000]].concat()).unwrap();
            let mut answer = Vec::new();
            within(
                "an end in order",
                tokio::task::spawn_blocking(move || {
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    stream.read_to_end(&mut answer).unwrap();
                    assert!(answer.starts_with(told.as_bytes()), "{}", String::from_utf8_lossy(&answer));
                }),
            )
            .await
            .unwrap();
        }
    });
}

#[test]
fn paths_of_the_first_clients_may_be_encoded_too() {
    run(async {
        let server = Fixture::start("");
        let mut http = Http::connect(server.addr).await;
        for path in ["/socket%2Eio/1/", "/socket.io/%31/"] {
            let sid = http.get(path).await.body;
            let sid = sid.split(':').next().unwrap();
            let poll = http.get(&format!("{}xhr%2Dpolling/{}", path, sid.replace('-', "%2D"))).await;
            assert_eq!((poll.status, poll.body.as_str()), (200, "1::"), "{path}");
        }
    });
}

#[test]
fn a_line_break_behind_a_body_begins_no_request() {
    run(async {
        let server = Fixture::start("server.request_timeout_ms = 1000\nserver.keep_alive_ms = 60000");
        let read = play_in_session(
            server.addr,
            r#"
            send "[POST {SESSION}|Content-Length: 2]40\r\n"
            expect "\r\n\r\nok"
            expect nothing for 1500ms
            send "[GET /favicon.svg|Connection: close]"
            expect close
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [200, 200], "{read}");
    });
}

#[test]
fn a_poll_may_ask_whether_its_body_is_wanted() {
    run(async {
        let server = Fixture::start("");
        let read = play_in_session(
            server.addr,
            r#"
            send "[GET {SESSION}|Expect: 100-continue|Content-Length: 2]"
            expect "HTTP/1.1 100 Continue\r\n\r\n"
            send "{}"
            expect nothing for 50ms
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [100], "{read}");
    });
}

/// A proxy's statement about the connection does not concern the request.
#[test]
fn a_connection_header_for_an_upgrade_changes_nothing_where_there_is_none() {
    run(async {
        let server = Fixture::start("");
        let read = play(
            server.addr,
            r#"
            send "[GET /socket.io/?EIO=4&transport=polling|Connection: upgrade]"
            expect "\"sid\":\""
            send "[GET /favicon.svg|Connection: upgrade|Upgrade: websocket]"
            expect "</svg>"
            send "[GET /favicon.svg|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQ]"
            expect "</svg>"
            send "[GET /favicon.svg|Upgrade: websocket|Connection: close]"
            expect close
            "#,
        )
        .await;
        assert_eq!(statuses(&read), [200, 200, 200, 200], "{read}");
        let lower = read.to_lowercase();
        assert_eq!(
            (lower.matches("connection: ").count(), lower.matches("connection: close").count()),
            (1, 1),
            "{read}"
        );
    });
}

#[test]
fn websockets_are_asked_for_in_more_than_one_way() {
    run(async {
        let server = Fixture::start("");
        let (up, version) = ("Connection: Upgrade\r\nUpgrade: websocket", "Sec-WebSocket-Version: 13");
        let key_with_idle_bits = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==";
        for (path, headers, status, says) in [
            ("/socket.io/", &[up, version, KEY][..], 101, None),
            ("/socket.io", &[up, version, KEY], 101, None),
            ("/socket%2Eio/", &[up, version, KEY], 101, None),
            ("/socket.io/", &["Connection: close, upgrade", "Upgrade: WebSocket", version, KEY], 101, None),
            (
                "/socket.io/",
                &["Connection: keep-alive", "Connection: upgrade", "Upgrade: websocket", version, KEY],
                101,
                None,
            ),
            ("/socket.io/", &[up, "Sec-WebSocket-Version: 8", KEY], 101, None),
            ("/socket.io/", &[up, version, key_with_idle_bits], 101, None),
            (
                "/socket.io/",
                &[up, version, KEY, "Sec-WebSocket-Protocol: chat, superchat"],
                101,
                Some(("sec-websocket-protocol", "chat")),
            ),
            (
                "/socket.io/",
                &[up, version, KEY, "Sec-WebSocket-Protocol: chat-v1", "Sec-WebSocket-Protocol: x"],
                101,
                Some(("sec-websocket-protocol", "chat-v1")),
            ),
            ("/socket.io/", &[up, version, KEY, "Sec-WebSocket-Protocol: a b"], 400, None),
            ("/socket.io/", &[up, version, KEY, "Sec-WebSocket-Protocol: a, b, a"], 400, None),
            ("/socket.io/", &[up, version, KEY, "Sec-WebSocket-Protocol:"], 400, None),
            ("/socket.io/", &[up, version], 400, None),
            ("/socket.io/", &[up, version, "Sec-WebSocket-Key: short"], 400, None),
            ("/socket.io/", &[up, version, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA"], 400, None),
            ("/socket.io/", &[up, KEY, "Sec-WebSocket-Version: 14"], 400, Some(("sec-websocket-version", "13, 8"))),
            ("/socket.io/", &[up, KEY], 400, Some(("sec-websocket-version", "13, 8"))),
            // Two parties could disagree about which of the two keys counts.
            ("/socket.io/", &[up, version, KEY, KEY], 400, None),
            (
                "/socket.io/",
                &[up, version, "Sec-WebSocket-Version: 8", KEY],
                400,
                Some(("sec-websocket-version", "13, 8")),
            ),
            // A proxy has dropped one of the two headers: the request is answered as a plain one, at the wrong place
            // for its transport.
            ("/socket.io/", &["Upgrade: websocket", version, KEY], 400, None),
            ("/socket.io/", &["Connection: upgrade", version, KEY], 400, None),
        ] {
            let before = server.scrape().await.sum("maxtalk_http_answers_total", &format!(r#"status="{status}""#));
            let answer = upgrade(server.addr, path, headers).await;
            assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
            if let Some((name, value)) = says {
                assert_eq!(answer.header(name), Some(value), "{headers:?}");
            } else {
                assert_eq!(answer.header("sec-websocket-protocol"), None);
            }
            let counted = server.scrape().await.sum("maxtalk_http_answers_total", &format!(r#"status="{status}""#));
            assert_eq!(counted, before + 1.0, "{headers:?} is counted");
        }
    });
}

#[test]
fn a_post_an_upgrade_and_its_first_frame_may_come_in_one_segment() {
    run(async {
        let server = Fixture::start("");
        let sid = new_sid(server.addr).await;
        let (poll, socket) = (target(&sid), format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"));
        let read = play(
            server.addr,
            &format!(
                r#"
                send "[POST {poll}|Content-Length: 7]40/max,[GET {socket}|{{UPGRADE}}|{{KEY}}]\x81\x86\0\0\0\02probe"
                expect "3probe"
                close
                "#
            ),
        )
        .await;
        assert_eq!(statuses(&read), [200, 101], "{read}");
    });
}

#[test]
fn a_client_that_leaves_behind_its_whole_post_has_said_it() {
    run(async {
        let server = Fixture::start("");
        for generation in [4, 3] {
            let open = format!("/socket.io/?EIO={generation}&transport=polling");
            let mut http = Http::connect(server.addr).await;
            let open = http.get(&open).await.body;
            let sid = open.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            let target = target(sid).replace("EIO=4", &format!("EIO={generation}"));
            let packet = if generation == 4 { "40/max," } else { "6:40/max" };
            let head = format!("[POST {target}|Content-Length: {}]", packet.len());
            client(server.addr, &format!("send \"{head}{packet}\"\nclose")).end().await.unwrap();
            let mut heard = String::new();
            while !heard.contains("40/max") {
                let poll = http.get(&target).await;
                assert_eq!(poll.status, 200, "{generation}: {}", poll.body);
                heard += &poll.body;
            }
        }
    });
}
