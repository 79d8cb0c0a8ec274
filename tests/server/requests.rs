//! Unusual requests of gateways, old clients and other protocols.

use crate::support::client::{sid_of, target};
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::requests::{play, script, statuses};
use crate::support::run;

/// nginx speaks 1.0 by default, and passes on only the headers that it is told to.
#[test]
fn a_proxy_may_ask_for_a_websocket_by_the_old_version() {
    run(async {
        let server = Fixture::start("");
        let read = play(
            server.addr,
            &script(
                r#"
                send "[GET /socket.io/?EIO=4&transport=websocket|{UPGRADE}|{KEY}]"
                expect "\"sid\":\""
                "#,
            )
            .replace("HTTP/1.1", "HTTP/1.0"),
        )
        .await;
        assert_eq!(statuses(&read), [101], "{read}");
    });
}

/// Gateways give a GET a body, most often an empty chunked one.
#[test]
fn a_poll_with_a_body_is_a_poll_like_any_other() {
    run(async {
        // The first packet comes long after the time for a body is over.
        let server = Fixture::start("server.request_timeout_ms = 1000\nprotocol.ping_interval_ms = 1500");
        for (nth, body) in [r"Transfer-Encoding: chunked]0\r\n\r\n", "Content-Length: 2]40"].iter().enumerate() {
            let open = Http::connect(server.addr).await.get("/socket.io/?EIO=4&transport=polling").await.body;
            let poll = target(&sid_of(&open));
            let read = play(
                server.addr,
                &format!(
                    r#"
                    send "[GET {poll}|{body}"
                    expect "\r\n\r\n2"
                    send "[GET /favicon.svg]"
                    expect "</svg>"
                    send "[GET {poll}|{body}"
                    "#
                ),
            )
            .await;
            assert_eq!(statuses(&read), [200, 200], "{read}");
            // A client that goes away while it polls ends its session, as without a body.
            let gone = (nth + 1) as f64;
            server.until("the end", |now| now.sum("maxtalk_sessions_closed_total", "") == gone).await;
        }
        assert_eq!(server.scrape().await.sum("maxtalk_limited_total", ""), 0.0);
    });
}

#[test]
fn a_client_that_has_said_all_it_has_to_say_is_answered() {
    run(async {
        let server = Fixture::start("");
        let mut http = Http::connect(server.addr).await;
        let poll = target(&sid_of(&http.get("/socket.io/?EIO=4&transport=polling").await.body));
        let read = play(
            server.addr,
            &format!(
                r#"
                send "[POST {poll}|Content-Length: 7]40/max,"
                shutdown
                expect close
                "#
            ),
        )
        .await;
        assert_eq!(statuses(&read), [200], "{read}");
        assert!(http.get(&poll).await.body.starts_with("40/max,"), "the session lives on");
    });
}

#[test]
fn bytes_that_begin_no_request_are_refused_at_once() {
    run(async {
        let server = Fixture::start("server.request_timeout_ms = 60000");
        // The first bytes of TLS, of the PROXY header, and of scans of open ports.
        for bytes in [r"\x16\x03\x01\x00\xc8\x01", r"\r\n\r\n\x00\r\nQUIT\n", r"\x80"] {
            let read = play(server.addr, &format!("send \"{bytes}\"\nexpect close")).await;
            assert_eq!(statuses(&read), [400], "{bytes}");
        }
    });
}

/// Other clients do not encode all characters that browsers do.
#[test]
fn a_query_may_have_any_visible_character() {
    run(async {
        let server = Fixture::start("");
        let odd = r##"!\"$%&'()*+,-./:;<=>?@]^_`{|}~#"##;
        let read = play(
            server.addr,
            &format!(
                r#"
                send "GET /socket.io/?EIO=4&transport=polling&x={odd} HTTP/1.1\r\nConnection: close\r\n\r\n"
                expect close
                "#
            ),
        )
        .await;
        assert_eq!(statuses(&read), [200], "{read}");
    });
}
