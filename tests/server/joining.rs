//! Joins: authentication, the events that a client sends while MAX is being asked, and the effects of a second join.
//! Every case runs over transports of every generation.

use crate::support::client::{
    Client, Heard, Kind, join_of, joined, left, listening, not_ok, ok, packet, people, refused, sid_of, talk_of,
    target, update,
};
use crate::support::fake_max::{answer, error, json};
use crate::support::fixture::{Fixture, IMPATIENT, Scrape};
use crate::support::http::{Http, request};
use crate::support::run;

crate::over_every_generation! {
    every_form_of_a_join
    a_join_without_any_token_needs_one
    without_tokens_the_name_is_the_one_of_max
    a_user_is_the_same_whatever_its_case
    the_answer_of_max_decides
    a_failed_join_may_be_tried_again
    a_refresh_enters_and_leaves
    a_failed_refresh_keeps_the_memberships
    a_user_that_max_denies_is_out
    a_denial_is_asked_about_once_more
    long_answers_fit_into_any_outbox
    one_user_has_so_many_sessions
    a_client_that_sends_too_much_is_told_and_then_closed
    a_join_as_somebody_else_leaves_first
    a_newer_join_wins
    a_newer_join_as_somebody_else_wins
    a_talk_in_the_same_breath_is_not_lost
    a_talk_during_a_refresh_goes_at_once
    events_that_wait_for_a_failed_join_are_answered
    too_much_in_one_breath_is_busy
    long_answers_to_one_breath_close_nobody
    a_client_that_goes_while_max_is_asked_never_was
    a_full_mailbox_is_busy_and_loses_nothing;

engine_io_4:
    the_token_of_a_connection
}

async fn every_form_of_a_join(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c3", "c1", "c2"]);
    let conversations = ["c3", "c1", "c2"];

    let mut with_token = Client::connect(server.addr, kind, "").await;
    for join in [
        r#"{"username":"messi","timestamp":1,"token":"t-messi"}"#,
        r#"{"username":"messi","token":"t-messi","scope":"widgetcli"}"#,
        r#"{"username":"messi","timestamp":{"any":"thing"}}"#,
        r#"{"username":"messi","token":null}"#,
        r#"{"username":"messi","token":""}"#,
        r#"{"username":"messi","token":" "}"#,
        r#""messi""#,
    ] {
        with_token.call("join", join, &[listening(&conversations)], ok).await;
    }
    with_token.hears_nothing().await;
}

async fn the_token_of_a_connection(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c3", "c1", "c2"]);
    let conversations = ["c3", "c1", "c2"];
    let mut with_auth = Client::connect(server.addr, kind, r#"{"token":"t-messi"}"#).await;
    for join in [r#""messi""#, r#"{"username":"messi","timestamp":1}"#] {
        with_auth.emit("join", join).await;
        with_auth.hears(&[listening(&conversations)]).await;
    }
    // The token of the packet takes precedence over that of the connection.
    with_auth.emit("join", r#"{"username":"messi","token":"t-xavi"}"#).await;
    with_auth.hears(&[refused("join", "unauthorized", None)]).await;
    // A token that is far too long is not kept.
    let long = "x".repeat(9000);
    with_auth.emit("join", &format!(r#"{{"username":"messi","token":"{long}"}}"#)).await;
    with_auth.hears(&[refused("join", "unauthorized", None)]).await;
    let mut with_much = Client::connect(server.addr, kind, &format!(r#"{{"token":"{long}"}}"#)).await;
    with_much.emit("join", r#""messi""#).await;
    with_much.hears(&[refused("join", "token_required", None)]).await;

    // Values that are not tokens do not affect a CONNECT.
    for auth in [r#"{"token":5}"#, r#"{"token":null}"#, r#"{"x":[]}"#, r#"{"pid":"a","offset":"b"}"#, "{}"] {
        let mut client = Client::connect(server.addr, kind, auth).await;
        client.call("join", &join_of("messi"), &[listening(&conversations)], ok).await;
    }
}

async fn a_join_without_any_token_needs_one(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c2"]);
    let mut client = Client::connect(server.addr, kind, "").await;
    client.emit("join", r#""messi""#).await;
    client.hears(&[refused("join", "token_required", None)]).await;
    client.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    // The token of the last join is valid for its user only.
    client.call("join", r#""xavi""#, &[], |ack| not_ok(ack, "token_required")).await;
    client.call("talk", &talk_of("c1", "m1"), &[], |ack| not_ok(ack, "not_joined")).await;
    client.hears_nothing().await;
}

async fn without_tokens_the_name_is_the_one_of_max(kind: Kind) {
    let server = Fixture::start_tokenless("");
    for user in ["messi", "lionel", "xavi", "zoë"] {
        server.max.talks_in(user, &["c1"]);
    }
    let mut xavi = Client::connect(server.addr, kind, "").await;
    xavi.call("join", r#""xavi""#, &[listening(&["c1"])], ok).await;
    let profile = r#"{"username":"Lionel","talkingIn":{"items":[{"id":"c1"}],"totalItems":1}}"#;
    server.max.answers("lionel", json(profile));
    let mut lionel = Client::connect(server.addr, kind, "").await;
    lionel.call("join", r#"{"username":"LIONEL"}"#, &[listening(&["c1"])], ok).await;
    xavi.hears(&[joined("c1", "lionel")]).await;
    lionel.emit("talk", &talk_of("c1", "m1")).await;
    xavi.hears(&[update("lionel", "c1", "m1")]).await;
    // An answer about another user is invalid.
    server.max.answers("messi", json(profile));
    let mut messi = Client::connect(server.addr, kind, "").await;
    messi.call("join", r#""messi""#, &[], |ack| not_ok(ack, "max_garbage")).await;

    let mut zoe = Client::connect(server.addr, kind, "").await;
    zoe.call("join", r#""Zoë""#, &[listening(&["c1"])], ok).await;
    xavi.hears(&[joined("c1", "zoë")]).await;
    for name in [r#""zoë/../x""#, r#""../conversations""#, r#""..""#] {
        zoe.call("join", name, &[], |ack| not_ok(ack, "unknown_user")).await;
    }
    xavi.hears(&[left("c1", "zoë")]).await;
    let mut nobody = Client::connect(server.addr, kind, "").await;
    nobody.call("join", r#""nobody""#, &[], |ack| not_ok(ack, "unknown_user")).await;
}

async fn a_user_is_the_same_whatever_its_case(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("žižek", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut client = Client::connect(server.addr, kind, "").await;
    client.call("join", r#"{"username":"ŽIŽEK","token":"t-žižek"}"#, &[listening(&["c1"])], ok).await;
    xavi.hears(&[joined("c1", "žižek")]).await;
    client.call("join", r#""Žižek""#, &[listening(&["c1"])], ok).await;
    xavi.hears_nothing().await;
}

/// MAX's answer to a bad token.
fn denied() -> Vec<u8> {
    error("401 Unauthorized", "Unauthorized", "Invalid token.")
}

async fn the_answer_of_max_decides(kind: Kind) {
    let server = Fixture::start(
        "max.conversations_max = 2\nmax.body_bytes_max = 2000\nmax.timeout_ms = 1000\nlimits.id_bytes_max = 64",
    );
    let mut messi = Client::connect(server.addr, kind, "").await;
    let table = [
        ("unauthorized", denied()),
        ("unauthorized", error("403 Forbidden", "Forbidden", "No.")),
        // The refusal of a proxy says nothing about the user.
        ("max_error", answer("401 Unauthorized", "text/plain", "")),
        ("max_error", answer("403 Forbidden", "text/html", "<html>")),
        ("max_error", answer("404 Not Found", "text/html", "")),
        ("max_error", answer("302 Found", "text/html", "")),
        ("max_unavailable", answer("500 Internal Server Error", "text/html", "")),
        ("max_unavailable", answer("503 Service Unavailable", "text/html", "")),
        ("max_garbage", json("")),
        ("max_garbage", json("{}")),
        ("max_garbage", json("[{\"id\":5}]")),
        ("max_too_large", json(&format!("[{}]", " ".repeat(2000)))),
        ("too_many_conversations", json(r#"[{"id":"c1"},{"id":"c2"},{"id":"c3"}]"#)),
    ];
    for (code, answer) in table {
        server.max.answers("messi", answer);
        messi.emit("join", &join_of("messi")).await;
        messi.hears(&[refused("join", code, None)]).await;
        messi.call("join", &join_of("messi"), &[], |ack| not_ok(ack, code)).await;
    }
    server.max.hold("messi");
    messi.call("join", &join_of("messi"), &[], |ack| not_ok(ack, "max_timeout")).await;
    server.max.release("messi");
    for (body, conversations) in [
        (r#"[]"#, &[][..]),
        (r#"{"items":[],"totalItems":0}"#, &[]),
        (r#"[{"id":"c2","tags":["group"]},{"id":"c1"},{"id":"c2"}]"#, &["c2", "c1"]),
        (r#"{"totalItems":1,"items":[{"id":"c1"}]}"#, &["c1"]),
    ] {
        server.max.answers("messi", json(body));
        messi.call("join", &join_of("messi"), &[listening(conversations)], ok).await;
    }
    messi.hears_nothing().await;
}

async fn a_failed_join_may_be_tried_again(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    let mut messi = Client::connect(server.addr, kind, "").await;
    for (trouble, code) in [("503 Service Unavailable", "max_unavailable"), ("401 Unauthorized", "unauthorized")] {
        server.max.fails("messi", trouble);
        messi.emit("join", &join_of("messi")).await;
        messi.hears(&[refused("join", code, None)]).await;
        messi.call("talk", &talk_of("c1", "m1"), &[], |ack| not_ok(ack, "not_joined")).await;
    }
    server.max.recovers("messi");
    // The token of the failed join is still valid.
    messi.call("join", r#""messi""#, &[listening(&["c1"])], ok).await;
    messi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
    messi.hears_nothing().await;
}

async fn a_refresh_enters_and_leaves(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["same", "gone", "left"]);
    server.max.talks_in("xavi", &["same", "gone", "left", "new"]);
    let mut messi = Client::join(&server, kind, "messi", &["same", "gone", "left"]).await;
    let mut xavi = Client::join(&server, kind, "xavi", &["same", "gone", "left", "new"]).await;
    for _ in 0..3 {
        messi.hear().await;
    }
    messi.call("leave", r#""left""#, &[listening(&["same", "gone"])], ok).await;
    xavi.hears(&[left("left", "messi")]).await;

    server.max.talks_in("messi", &["new", "same", "left"]);
    messi.emit("join", r#""messi""#).await;
    messi.hears(&[listening(&["new", "same", "left"])]).await;
    let mut changes = [xavi.hear().await, xavi.hear().await, xavi.hear().await];
    changes.sort_by_key(|heard| format!("{heard:?}"));
    assert_eq!(changes, [joined("left", "messi"), joined("new", "messi"), left("gone", "messi")]);
    xavi.hears_nothing().await;
    messi.hears_nothing().await;

    xavi.emit("talk", &talk_of("gone", "m1")).await;
    xavi.emit("talk", &talk_of("same", "m2")).await;
    messi.hears(&[update("xavi", "same", "m2")]).await;
    messi.call("talk", &talk_of("gone", "m3"), &[], |ack| not_ok(ack, "forbidden")).await;
    messi.call("ask", r#""same""#, &[people("same", &["messi", "xavi"])], ok).await;

    // However often it joins, it is a member once, and leaves at once.
    for _ in 0..5 {
        messi.call("join", r#""messi""#, &[listening(&["new", "same", "left"])], ok).await;
    }
    xavi.emit("talk", &talk_of("new", "m4")).await;
    messi.hears(&[update("xavi", "new", "m4")]).await;
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
    messi.call("leave", r#""new""#, &[listening(&["same", "left"])], ok).await;
    xavi.hears(&[left("new", "messi")]).await;
}

async fn a_failed_refresh_keeps_the_memberships(kind: Kind) {
    let server = Fixture::start("max.timeout_ms = 1000");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    messi.hears(&[joined("c1", "xavi")]).await;
    let troubles = [("503 Service Unavailable", "max_unavailable"), ("404 Not Found", "max_error")];
    for (trouble, code) in troubles {
        server.max.fails("messi", trouble);
        messi.call("join", r#""messi""#, &[], |ack| not_ok(ack, code)).await;
        messi.call("talk", &talk_of("c1", code), &[], ok).await;
        xavi.hears(&[update("messi", "c1", code)]).await;
        xavi.call("talk", &talk_of("c1", code), &[], ok).await;
        messi.hears(&[update("xavi", "c1", code)]).await;
    }
    server.max.hold("messi");
    messi.call("join", r#""messi""#, &[], |ack| not_ok(ack, "max_timeout")).await;
    messi.call("ask", "", &[people("c1", &["messi", "xavi"])], ok).await;
    xavi.hears_nothing().await;
    server.max.release("messi");
}

async fn a_user_that_max_denies_is_out(kind: Kind) {
    let server = Fixture::start("session.doubt_ms = 100");
    server.max.talks_in("xavi", &["c1"]);
    server.max.talks_in("messi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let unknown = answer("400 Bad Request", "application/json", r#"{"error":"UnknownUserError"}"#);
    let denials = [("unauthorized", denied()), ("unknown_user", unknown)];
    for (code, denial) in denials {
        server.max.recovers("messi");
        let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        server.max.answers("messi", denial);
        messi.call("join", r#""messi""#, &[], |ack| not_ok(ack, code)).await;
        if code == "unauthorized" {
            // A denial is believed when MAX repeats it after a while.
            messi.hears(&[refused("join", code, None)]).await;
        }
        xavi.hears(&[left("c1", "messi")]).await;
        messi.call("talk", &talk_of("c1", "m1"), &[], |ack| not_ok(ack, "not_joined")).await;
        messi.call("ask", "", &[], |ack| not_ok(ack, "not_joined")).await;
        xavi.call("talk", &talk_of("c1", "m2"), &[], ok).await;
        messi.hears_nothing().await;
    }
}

async fn a_denial_is_asked_about_once_more(kind: Kind) {
    let server = Fixture::start("session.doubt_ms = 300");
    server.max.talks_in("xavi", &["c1"]);
    server.max.talks_in("messi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    // MAX answers like this while its OAuth server is down.
    server.max.fails("messi", "401 Unauthorized");
    messi.call("join", r#""messi""#, &[], |ack| not_ok(ack, "unauthorized")).await;
    server.max.recovers("messi");
    server.max.asked(4).await;
    messi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
    xavi.hears(&[update("messi", "c1", "m1")]).await;
    messi.hears_nothing().await;
}

/// Ids that JSON makes six times as long, in outboxes of the smallest and of the default size.
async fn long_answers_fit_into_any_outbox(kind: Kind) {
    for (settings, count, id) in [("outbox.bytes_max = 65536", 600, "x".repeat(150)), ("", 1000, "\u{1}".repeat(250))] {
        let server = Fixture::start(settings);
        let long = (1..count).map(|n| format!("{id}{n:05}"));
        let conversations: Vec<_> = std::iter::once("c1".to_owned()).chain(long).collect();
        let conversations: Vec<_> = conversations.iter().map(String::as_str).collect();
        server.max.talks_in("messi", &conversations);
        server.max.talks_in("xavi", &["c1"]);
        let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
        let mut messi = Client::connect(server.addr, kind, "").await;
        for _ in 0..2 {
            messi.call("join", &join_of("messi"), &[listening(&conversations)], ok).await;
        }
        xavi.hears(&[joined("c1", "messi")]).await;
        xavi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
        messi.hears(&[update("xavi", "c1", "m1")]).await;
    }
}

/// The answers to the events that waited for a join find no room, because nobody polls. More events come in the
/// meantime.
#[test]
fn events_that_waited_for_a_join_are_not_overtaken() {
    run(async {
        let server = Fixture::start(
            "mailbox.conversation = 64\nconversation.presence_members_max = 10\noutbox.messages_max = 200",
        );
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1", "c2"]);
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1", "c2"]).await;
        let (mut posts, mut polls) = (Http::connect(server.addr).await, Http::connect(server.addr).await);
        let target = target(&sid_of(&polls.get("/socket.io/?EIO=4&transport=polling").await.body));
        posts.post(&target, &format!("40/max,\x1e{}", packet("join", &join_of("messi"), None))).await;
        while !polls.get(&target).await.body.contains("listening") {}
        xavi.hears(&[joined("c1", "messi")]).await;

        server.max.talks_in("messi", &["c1", "c2"]);
        server.max.hold("messi");
        let talk = |message, ack| packet("talk", &talk_of("c2", message), Some(ack));
        let refresh = format!("{}\x1e{}", packet("join", r#""messi""#, Some(0)), talk("first", 1));
        posts.post(&target, &refresh).await;
        for n in 0..120 {
            xavi.call("talk", &talk_of("c1", &n.to_string()), &[], ok).await;
        }
        server.max.release("messi");
        xavi.hears(&[joined("c2", "messi")]).await;
        let told = |scrape: &Scrape| scrape.sum("maxtalk_mailbox_enqueued_total", r#"actor="session""#);
        let before = told(&server.scrape().await);
        let second =
            request("POST", &target, &[("Content-Type", "text/plain;charset=UTF-8")], talk("second", 2).as_bytes());
        posts.write(&second).await.unwrap();
        server.until("the second talk to be there", |now| told(now) > before).await;
        let mut heard = String::new();
        while !heard.contains("43/max,2[") {
            heard += &polls.get(&target).await.body;
        }
        xavi.hears(&[update("messi", "c2", "first"), update("messi", "c2", "second")]).await;
        let acks: Vec<_> = heard.match_indices("43/max,").map(|(at, text)| &heard[at + text.len()..][..1]).collect();
        assert_eq!(acks, ["0", "1", "2"]);
    });
}

async fn one_user_has_so_many_sessions(kind: Kind) {
    let server = Fixture::start("session.per_user_max = 2");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let first = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut second = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut third = Client::connect(server.addr, kind, "").await;
    third.call("join", &join_of("messi"), &[], |ack| not_ok(ack, "rate_limited")).await;
    // Members may refresh, and other users may join.
    second.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    third.call("join", &join_of("xavi"), &[listening(&["c1"])], ok).await;
    let limited = r#"limit="user_sessions""#;
    server.until("the count", |now| now.sum("maxtalk_limited_total", limited) == 1.0).await;
    first.close().await;
    server.until("the end of a session", |now| now.sum("maxtalk_sessions", "") == 2.0).await;
    second.hears_at_last(&joined("c1", "xavi")).await;
    third.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
}

async fn a_client_that_sends_too_much_is_told_and_then_closed(kind: Kind) {
    let server = Fixture::start("session.events_per_second_max = 1\nsession.events_burst_max = 20");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    let talks: Vec<_> = (0..100).map(|n| kind.event("talk", &talk_of("c1", &n.to_string()), Some(n))).collect();
    messi.send_all(&talks.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut refused = 0;
    for n in 0.. {
        match messi.hear().await {
            Heard::Ack(ack, text) if text == r#"{"ok":true}"# => assert_eq!(ack, n),
            Heard::End(_) => break,
            heard => {
                assert!((19..22).contains(&n), "{heard:?} came as the answer {n}");
                assert_eq!(heard, not_ok(n, "rate_limited"));
                refused += 1;
            }
        }
    }
    // Over a WebSocket, the close may come before the last answers.
    assert!(refused <= 1);
    xavi.hears_at_last(&left("c1", "messi")).await;
    let scrape = server.scrape().await;
    assert_eq!(scrape.sum("maxtalk_sessions_closed_total", r#"reason="rate_limited""#), 1.0);
    assert!((20.0..24.0).contains(&scrape.sum("maxtalk_limited_total", r#"limit="events""#)));
    assert_eq!(scrape.sum("maxtalk_refusals_total", r#"code="rate_limited""#), 1.0);
}

async fn a_join_as_somebody_else_leaves_first(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("iniesta", &["c1", "c2"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut client = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    client.call("join", &join_of("iniesta"), &[listening(&["c1", "c2"])], ok).await;
    xavi.hears(&[left("c1", "messi"), joined("c1", "iniesta")]).await;
    client.emit("talk", &talk_of("c1", "m1")).await;
    xavi.hears(&[update("iniesta", "c1", "m1")]).await;
    client.hears_nothing().await;

    // If the join of another user fails, the client is nobody.
    server.max.fails("messi", "503 Service Unavailable");
    client.emit("join", &join_of("messi")).await;
    client.hears(&[refused("join", "max_unavailable", None)]).await;
    xavi.hears(&[left("c1", "iniesta")]).await;
    client.call("talk", &talk_of("c1", "m2"), &[], |ack| not_ok(ack, "not_joined")).await;
    client.hears_nothing().await;
    xavi.hears_nothing().await;
}

async fn a_newer_join_wins(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.hold("messi");
    let mut messi = Client::connect(server.addr, kind, "").await;
    let join = join_of("messi");
    messi.send_all(&[&kind.event("join", &join, Some(1)), &kind.event("join", &join, None)]).await;
    messi.hears(&[not_ok(1, "superseded")]).await;
    messi.send(&kind.event("join", &join, Some(3))).await;
    messi.hears(&[refused("join", "superseded", None)]).await;
    server.max.release("messi");
    messi.hears(&[listening(&["c1"]), ok(3)]).await;
    messi.hears_nothing().await;
}

async fn a_newer_join_as_somebody_else_wins(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    server.max.talks_in("iniesta", &["c1"]);
    let mut iniesta = Client::join(&server, kind, "iniesta", &["c1"]).await;
    server.max.hold("messi");
    let mut client = Client::connect(server.addr, kind, "").await;
    client.send(&kind.event("join", &join_of("messi"), Some(1))).await;
    server.max.asked(2).await;
    client.send(&kind.event("join", &join_of("xavi"), Some(2))).await;
    client.hears(&[not_ok(1, "superseded"), listening(&["c1"]), ok(2)]).await;
    iniesta.hears(&[joined("c1", "xavi")]).await;
    server.max.release("messi");
    // Joins in quick succession: the last one counts, and no old membership stays.
    for _ in 0..20 {
        client
            .send_all(&[&kind.event("join", &join_of("messi"), None), &kind.event("join", &join_of("xavi"), None)])
            .await;
    }
    let told = client.so_far().await;
    assert_eq!(told.last(), Some(&listening(&["c1"])), "{told:?}");
    assert!(told.iter().all(|heard| *heard == told[told.len() - 1] || *heard == refused("join", "superseded", None)));
    let mut here = vec!["xavi"];
    for heard in iniesta.so_far().await {
        match ["messi", "xavi"].map(|user| (user, heard == joined("c1", user), heard == left("c1", user))) {
            [(user, true, _), _] | [_, (user, true, _)] if !here.contains(&user) => here.push(user),
            [(user, _, true), _] | [_, (user, _, true)] if here.contains(&user) => here.retain(|name| *name != user),
            _ => panic!("{heard:?} while {here:?} are here"),
        }
    }
    assert_eq!(here, ["xavi"]);
    iniesta.call("ask", "", &[people("c1", &["iniesta", "xavi"])], ok).await;
}

async fn a_talk_in_the_same_breath_is_not_lost(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::connect(server.addr, kind, "").await;
    let breath = [
        kind.event("join", &join_of("messi"), None),
        kind.event("talk", &talk_of("c1", "m1"), None),
        kind.event("talk", &talk_of("c1", "m2"), Some(1)),
        kind.event("ask", "", Some(2)),
        kind.event("leave", "", Some(3)),
        kind.event("talk", &talk_of("c1", "m3"), Some(4)),
    ];
    messi.send_all(&breath.each_ref().map(String::as_str)).await;
    // An `ask` is answered by another actor than a talk or a leave, so the answers may come in another order.
    messi.hears(&[listening(&["c1"]), ok(1)]).await;
    let mut rest = [messi.hear().await, messi.hear().await, messi.hear().await, messi.hear().await];
    rest.sort_by_key(|heard| format!("{heard:?}"));
    let expected = [ok(2), ok(3), not_ok(4, "forbidden"), listening(&[])];
    assert_eq!(rest, expected);
    xavi.hears(&[joined("c1", "messi"), update("messi", "c1", "m1"), update("messi", "c1", "m2")]).await;
    xavi.hears(&[left("c1", "messi")]).await;
    xavi.hears_nothing().await;
}

async fn a_talk_during_a_refresh_goes_at_once(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1", "c2"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1", "c2"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    server.max.talks_in("messi", &["c1", "c2"]);
    server.max.hold("messi");
    messi.send(&kind.event("join", r#""messi""#, Some(1))).await;
    messi.send(&kind.event("talk", &talk_of("c1", "m1"), Some(2))).await;
    messi.hears(&[ok(2)]).await;
    xavi.hears(&[update("messi", "c1", "m1")]).await;
    messi.send(&kind.event("talk", &talk_of("c2", "m2"), Some(3))).await;
    messi.send(&kind.event("talk", &talk_of("c1", "m3"), Some(4))).await;
    messi.send(&kind.event("leave", r#""c1""#, Some(5))).await;
    messi.hears(&[ok(4)]).await;
    xavi.hears(&[update("messi", "c1", "m3")]).await;
    xavi.emit("talk", &talk_of("c1", "m4")).await;
    messi.hears(&[update("xavi", "c1", "m4")]).await;
    server.max.release("messi");
    messi.hears(&[listening(&["c1", "c2"]), ok(1), ok(3), listening(&["c2"]), ok(5)]).await;
    let mut rest = [xavi.hear().await, xavi.hear().await, xavi.hear().await];
    rest.sort_by_key(|heard| format!("{heard:?}"));
    assert_eq!(rest, [joined("c2", "messi"), left("c1", "messi"), update("messi", "c2", "m2")]);
}

async fn events_that_wait_for_a_failed_join_are_answered(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.hold("messi");
    server.max.fails("messi", "401 Unauthorized");
    let mut messi = Client::connect(server.addr, kind, "").await;
    let breath = [
        kind.event("join", &join_of("messi"), None),
        kind.event("talk", &talk_of("c1", "m1"), None),
        kind.event("ask", "", Some(2)),
        kind.event("ask", r#""c1""#, None),
        kind.event("leave", r#"{"conversation":"c1"}"#, None),
        kind.event("leave", "", None),
    ];
    messi.send_all(&breath.each_ref().map(String::as_str)).await;
    server.max.asked(1).await;
    server.max.release("messi");
    messi.hears(&[refused("join", "unauthorized", None), refused("talk", "not_joined", Some("c1"))]).await;
    messi.hears(&[not_ok(2, "not_joined"), refused("ask", "not_joined", Some("c1"))]).await;
    messi.hears(&[refused("leave", "not_joined", Some("c1")), refused("leave", "not_joined", None)]).await;

    // If a refresh fails and the memberships stay, each event gets the answer that it would have had without the
    // refresh.
    server.max.recovers("messi");
    messi.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    server.max.hold("messi");
    server.max.fails("messi", "503 Service Unavailable");
    let breath = [
        kind.event("join", &join_of("messi"), Some(1)),
        kind.event("talk", &talk_of("c2", "m1"), Some(2)),
        kind.event("ask", "", Some(3)),
    ];
    messi.send_all(&breath.each_ref().map(String::as_str)).await;
    server.max.asked(3).await;
    server.max.release("messi");
    messi.hears(&[not_ok(1, "max_unavailable"), not_ok(2, "forbidden"), people("c1", &["messi"]), ok(3)]).await;
}

async fn too_much_in_one_breath_is_busy(kind: Kind) {
    let server = Fixture::start("session.pending_max = 2");
    server.max.talks_in("messi", &["c1"]);
    server.max.hold("messi");
    let mut messi = Client::connect(server.addr, kind, "").await;
    let breath = [
        kind.event("join", &join_of("messi"), Some(1)),
        kind.event("talk", &talk_of("c1", "m1"), Some(2)),
        kind.event("ask", "", Some(3)),
        kind.event("talk", &talk_of("c1", "m2"), Some(4)),
        kind.event("talk", &talk_of("c1", "m3"), None),
        kind.event("leave", "", None),
    ];
    messi.send_all(&breath.each_ref().map(String::as_str)).await;
    messi.hears(&[not_ok(4, "busy"), refused("talk", "busy", Some("c1")), refused("leave", "busy", None)]).await;
    server.max.release("messi");
    messi.hears(&[listening(&["c1"]), ok(1), ok(2), people("c1", &["messi"]), ok(3)]).await;
    messi.hears_nothing().await;
}

/// Each leave is answered with the remaining conversations: the answers to several leaves at once do not fit in an
/// outbox.
async fn long_answers_to_one_breath_close_nobody(kind: Kind) {
    let server = Fixture::start("");
    let conversations: Vec<_> = (0..1000).map(|n| format!("519b0000000000000000{n:04}")).collect();
    let conversations: Vec<_> = conversations.iter().map(String::as_str).collect();
    server.max.talks_in("messi", &conversations);
    server.max.hold("messi");
    let mut messi = Client::connect(server.addr, kind, "").await;
    let leaves = (0..60).map(|n| kind.event("leave", &format!("\"{}\"", conversations[n]), Some(n as u64)));
    let breath: Vec<_> = [kind.event("join", &join_of("messi"), None)].into_iter().chain(leaves).collect();
    messi.send_all(&breath.iter().map(String::as_str).collect::<Vec<_>>()).await;
    server.max.asked(1).await;
    server.max.release("messi");
    messi.hears(&[listening(&conversations)]).await;
    for n in 0..60 {
        messi.hears(&[listening(&conversations[n + 1..]), ok(n as u64)]).await;
    }
}

async fn a_client_that_goes_while_max_is_asked_never_was(kind: Kind) {
    let server = Fixture::start(IMPATIENT);
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    server.max.hold("messi");
    let mut messi = Client::connect(server.addr, kind, "").await;
    messi.emit("join", &join_of("messi")).await;
    server.max.asked(2).await;
    drop(messi);
    server.until("the end of a session", |now| now.sum("maxtalk_sessions_closed_total", "") == 1.0).await;
    server.max.release("messi");
    let mut second = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    second.call("ask", "", &[people("c1", &["messi", "xavi"])], ok).await;
    drop(second);
    xavi.hears(&[left("c1", "messi")]).await;
    xavi.hears_nothing().await;
}

async fn a_full_mailbox_is_busy_and_loses_nothing(kind: Kind) {
    // One worker: the session handles all that a client sends at once before the conversation has its turn.
    let server = Fixture::start("mailbox.conversation = 2\nserver.workers = 1");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    server.max.talks_in("iniesta", &["c2", "c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut iniesta = Client::connect(server.addr, kind, "").await;
    xavi.hears(&[joined("c1", "messi")]).await;
    let mut refreshes = Vec::new();
    for round in 0..10 {
        let talk = |n| kind.event("talk", &talk_of("c1", &format!("{round}.{n}")), Some(n));
        let breath: Vec<_> = (0..100).map(talk).collect();
        iniesta.send(&kind.event("join", &join_of("iniesta"), Some(round))).await;
        messi.send_all(&breath.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut taken = Vec::new();
        for _ in 0..100 {
            match messi.hear().await {
                Heard::Ack(n, answer) if answer == r#"{"ok":true}"# => taken.push(format!("{round}.{n}")),
                Heard::Ack(n, answer) => assert_eq!(Heard::Ack(n, answer), not_ok(n, "busy")),
                other => assert!(matches!(other, Heard::Event(..)), "{other:?}"),
            }
        }
        assert!((1..100).contains(&taken.len()), "{} taken", taken.len());
        let updates = xavi.so_far().await.into_iter().filter(|heard| *heard != joined("c1", "iniesta"));
        assert!(updates.eq(taken.iter().map(|message| update("messi", "c1", message))), "round {round}");
        loop {
            let heard = iniesta.hear().await;
            if heard == ok(round) || heard == not_ok(round, "busy") {
                refreshes.push(heard);
                break;
            }
        }
    }
    // It is in both of its conversations or in neither.
    let is_in = refreshes.iter().any(|answer| matches!(answer, Heard::Ack(_, text) if text == r#"{"ok":true}"#));
    let here: &[&str] = if is_in { &["iniesta", "messi", "xavi"] } else { &["messi", "xavi"] };
    xavi.call("ask", "", &[people("c1", here)], ok).await;
}
