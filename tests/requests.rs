//! Requests as gateways, old clients and other protocols word them.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

mod support;

use support::fixture::Fixture;
use support::requests::{play, script, statuses};
use support::run;

/// nginx speaks 1.0 where nobody has told it otherwise, and hands the headers on that it is told to.
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
