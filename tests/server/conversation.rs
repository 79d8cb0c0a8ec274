//! The written protocol among members of a conversation: which events reach whom. Every case runs over transports of
//! every generation.

use crate::support::client::{
    Client, Heard, Kind, event, join_of, joined, left, listening, not_ok, ok, people, refused, talk_of, update,
};
use crate::support::fixture::{Fixture, IMPATIENT};

crate::over_every_generation! {
    a_user_is_announced_once_and_leaves_once
    a_talk_reaches_every_socket_but_its_own
    values_arrive_as_the_same_json
    a_value_that_is_not_plain_is_a_bad_talk
    an_ask_is_answered_with_people
    a_member_that_leaves_hears_no_more
    a_disconnect_leaves_and_a_second_connect_begins_anew
    every_event_can_be_acknowledged
    an_event_that_cannot_be_read_is_refused
    other_peoples_conversations_look_like_none
    a_crowd_is_not_announced
    two_conversations_of_one_client_keep_apart;

engine_io_4:
    an_unknown_event_is_ignored
    the_root_namespace_has_no_events
}

async fn a_user_is_announced_once_and_leaves_once(kind: Kind) {
    let server = Fixture::start(IMPATIENT);
    server.max.talks_in("messi", &["c1", "c2"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut messi = Client::join(&server, kind, "messi", &["c1", "c2"]).await;
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    messi.hears(&[joined("c1", "xavi")]).await;
    xavi.hears_nothing().await;

    let mut second = Client::join(&server, kind, "xavi", &["c1"]).await;
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
    second.hears_nothing().await;

    drop(xavi);
    server.until("the end of one session", |now| now.sum("maxtalk_sessions_closed_total", "") == 1.0).await;
    messi.hears_nothing().await;
    second.hears_nothing().await;
    drop(second);
    messi.hears(&[left("c1", "xavi")]).await;
    messi.hears_nothing().await;
}

async fn a_talk_reaches_every_socket_but_its_own(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut second = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    messi.hears(&[joined("c1", "xavi")]).await;
    second.hears(&[joined("c1", "xavi")]).await;

    messi.emit("talk", r#"{"conversation":"c1","timestamp":1700000000001,"messageID":"m1"}"#).await;
    let fields = r#""username":"messi","conversation":"c1","timestamp":1700000000001,"messageID":"m1""#;
    let news = [event("update", format!("{{{fields}}}"))];
    xavi.hears(&news).await;
    second.hears(&news).await;
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
    second.hears_nothing().await;
}

async fn values_arrive_as_the_same_json(kind: Kind) {
    let server = Fixture::start("limits.id_bytes_max = 64");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;

    let long_text = format!("\"{}\"", "x".repeat(64));
    let long_number = "9".repeat(64);
    let same = [
        "0",
        "-0",
        "1.0",
        "1e400",
        "-1.50E-7",
        "9007199254740993",
        "123456789012345678901234567890",
        "true",
        "false",
        "null",
        r#""""#,
        r#""1700000000000""#,
        r#""é😀\u0000\"\\""#,
        &long_text,
        &long_number,
    ];
    let reencoded = [(r#""\u00e9\ud83d\ude00\/\u0041""#, r#""é😀/A""#)];
    for (written, read) in same.iter().map(|&value| (value, value)).chain(reencoded) {
        messi
            .emit("talk", &format!(r#"{{"messageID":{written}, "timestamp" : {written} ,"conversation":"c1"}}"#))
            .await;
        let fields = format!(r#""username":"messi","conversation":"c1","timestamp":{read},"messageID":{read}"#);
        xavi.hears(&[event("update", format!("{{{fields}}}"))]).await;
    }
    messi.emit("talk", r#"{"conversation":"c1","color":"blue"}"#).await;
    xavi.hears(&[event("update", r#"{"username":"messi","conversation":"c1"}"#.to_owned())]).await;
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
}

async fn a_value_that_is_not_plain_is_a_bad_talk(kind: Kind) {
    let server = Fixture::start("limits.id_bytes_max = 64");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;

    let long_text = format!("\"{}\"", "x".repeat(65));
    let long_number = "9".repeat(65);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for value in ["{}", "[]", "[1]", r#""\ud800""#, r#""\udc00x""#, &long_text, &long_number, &deep] {
        for field in ["timestamp", "messageID"] {
            messi.emit("talk", &format!(r#"{{"conversation":"c1","{field}":{value}}}"#)).await;
            messi.hears(&[refused("talk", "bad_talk", None)]).await;
        }
    }
    let long_id = format!(r#"{{"conversation":{long_text}}}"#);
    for argument in ["", "1", "null", r#""c1""#, r#"["c1"]"#, "{}", r#"{"conversation":1}"#, &long_id] {
        messi.emit("talk", argument).await;
        messi.hears(&[refused("talk", "bad_talk", None)]).await;
        messi.call("talk", argument, &[], |ack| not_ok(ack, "bad_talk")).await;
    }
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
}

async fn an_ask_is_answered_with_people(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c2", "c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let _second = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c2", "c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;

    let (c1, c2) = (people("c1", &["messi", "xavi"]), people("c2", &["messi"]));
    for all in ["", "{}", "null"] {
        messi.emit("ask", all).await;
        messi.hears(&[c2.clone(), c1.clone()]).await;
        messi.call("ask", all, &[c2.clone(), c1.clone()], ok).await;
    }
    for one in [r#""c1""#, r#"{"conversation":"c1"}"#] {
        messi.emit("ask", one).await;
        messi.hears(std::slice::from_ref(&c1)).await;
        messi.call("ask", one, std::slice::from_ref(&c1), ok).await;
    }
    xavi.emit("ask", "").await;
    xavi.hears(&[c1]).await;
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
}

async fn a_member_that_leaves_hears_no_more(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1", "c2", "c3"]);
    server.max.talks_in("xavi", &["c1", "c2", "c3"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1", "c2", "c3"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1", "c2", "c3"]).await;
    for _ in 0..3 {
        xavi.hear().await;
    }

    messi.emit("leave", r#""c1""#).await;
    messi.hears(&[listening(&["c2", "c3"])]).await;
    xavi.hears(&[left("c1", "messi")]).await;
    xavi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
    messi.hears_nothing().await;
    messi.emit("talk", &talk_of("c1", "m2")).await;
    messi.hears(&[refused("talk", "forbidden", Some("c1"))]).await;
    messi.call("leave", r#""c1""#, &[], |ack| not_ok(ack, "forbidden")).await;

    messi.call("leave", r#"{"conversation":"c3"}"#, &[listening(&["c2"])], ok).await;
    xavi.hears(&[left("c3", "messi")]).await;
    xavi.emit("talk", &talk_of("c2", "m3")).await;
    messi.hears(&[update("xavi", "c2", "m3")]).await;

    messi.call("leave", "", &[listening(&[])], ok).await;
    xavi.hears(&[left("c2", "messi")]).await;
    messi.call("ask", "", &[], ok).await;
    messi.call("leave", "{}", &[listening(&[])], ok).await;

    messi.emit("join", &join_of("messi")).await;
    messi.hears(&[listening(&["c1", "c2", "c3"])]).await;
    let mut back = xavi.so_far().await;
    back.sort_by_key(|heard| format!("{heard:?}"));
    assert_eq!(back, [joined("c1", "messi"), joined("c2", "messi"), joined("c3", "messi")]);
}

async fn a_disconnect_leaves_and_a_second_connect_begins_anew(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    messi.send(kind.disconnect()).await;
    xavi.hears(&[joined("c1", "messi"), left("c1", "messi")]).await;
    xavi.call("talk", &talk_of("c1", "m1"), &[], ok).await;

    messi.send(&kind.connect("")).await;
    assert!(matches!(messi.hear().await, Heard::Packet(packet) if kind.greets_again(&packet)));
    messi.emit("talk", &talk_of("c1", "m2")).await;
    messi.hears(&[refused("talk", "not_joined", Some("c1"))]).await;
    messi.emit("join", &join_of("messi")).await;
    messi.hears(&[listening(&["c1"])]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
}

async fn every_event_can_be_acknowledged(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    let mut messi = Client::connect(server.addr, kind, "").await;
    for event in ["talk", "ask", "leave"] {
        messi.call(event, r#"{"conversation":"c1"}"#, &[], |ack| not_ok(ack, "not_joined")).await;
    }
    messi.call("ask", "", &[], |ack| not_ok(ack, "not_joined")).await;
    messi.call("leave", "", &[], |ack| not_ok(ack, "not_joined")).await;
    messi.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    messi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
    messi.call("ask", "", &[people("c1", &["messi"])], ok).await;
    messi.call("leave", "", &[listening(&[])], ok).await;
    messi.hears_nothing().await;

    // Acks return the client's ids, repeated ones too.
    for ack in [0, 1, 1, u64::MAX] {
        messi.send(&kind.event("ask", "", Some(ack))).await;
        messi.hears(&[ok(ack)]).await;
    }
}

async fn an_event_that_cannot_be_read_is_refused(kind: Kind) {
    // Three times the size elsewhere, because the text is escaped in a form.
    let server = Fixture::start("protocol.payload_bytes_max = 3000000");
    let mut messi = Client::connect(server.addr, kind, "").await;
    let long = format!("\"{}\"", "x".repeat(257));
    let wide = format!("\"{}\"", "é".repeat(129));
    let long_id = format!(r#"{{"conversation":{long}}}"#);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!(r#"{}1{}"#, r#"{"username":"#.repeat(50_000), "}".repeat(50_000));
    let table: &[(&str, &str, &[&str])] = &[
        (
            "join",
            "bad_join",
            &["", "1", "null", "[]", "{}", r#"["messi"]"#, r#"{"username":1}"#, r#"{"username":null}"#, &deep],
        ),
        ("join", "bad_join", &[r#"{"username":"messi","token":1}"#, r#"{"username":"messi","token":"a\nb"}"#]),
        ("join", "bad_join", &[r#"{"username":"messi","scope":"a\r\nX-Evil: 1"}"#, &deep_object]),
        ("join", "bad_username", &[r#""""#, r#""a\nb""#, r#""a\u0000""#, r#"" messi""#, &long, &wide]),
        ("ask", "bad_request", &["1", "true", "[]", r#"{"conversation":1}"#, &long, &long_id, &deep]),
        (
            "leave",
            "bad_request",
            &["1", "true", "[]", r#"{"conversation":[]}"#, r#"{"conversation":null}"#, &long, &long_id, &deep],
        ),
    ];
    for (event, code, arguments) in table {
        for argument in *arguments {
            messi.emit(event, argument).await;
            messi.hears(&[refused(event, code, None)]).await;
            messi.call(event, argument, &[], |ack| not_ok(ack, code)).await;
        }
    }
    messi.hears_nothing().await;
}

async fn other_peoples_conversations_look_like_none(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c2"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c2"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    for conversation in ["c2", "c3", ""] {
        let argument = format!(r#"{{"conversation":"{conversation}"}}"#);
        for event in ["talk", "ask", "leave"] {
            messi.emit(event, &argument).await;
            messi.hears(&[refused(event, "forbidden", Some(conversation))]).await;
            messi.call(event, &argument, &[], |ack| not_ok(ack, "forbidden")).await;
        }
    }
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
}

async fn an_unknown_event_is_ignored(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    for name in ["Join", "update", "message", "error", "", "__proto__", "constructor"] {
        messi.emit(name, "{}").await;
        messi.call(name, r#""<img onerror>""#, &[], |ack| not_ok(ack, "unknown_event")).await;
    }
    // A number is no event name.
    messi.send("42/max,[1]").await;
    messi.send("42/max,7[1,2]").await;
    messi.hears(&[not_ok(7, "unknown_event")]).await;
    // Events with attachments are received and ignored.
    messi.send_all(&[r#"452-/max,["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#]).await;
    messi.send_binary(b"\x00\xff").await;
    messi.send_binary(b"").await;
    messi.send(r#"451-/max,9["join",{"_placeholder":true,"num":0}]"#).await;
    messi.send_binary(b"messi").await;
    messi.hears(&[not_ok(9, "bad_join")]).await;
    // Acks that nobody asked for are ignored.
    messi.send_all(&["43/max,7[]", r#"43/max,99999999999[{"a":1}]"#]).await;
    messi.hears_nothing().await;
    let scrape = server.scrape().await;
    assert_eq!(scrape.sum("maxtalk_unknown_events_total", ""), 17.0);
}

async fn the_root_namespace_has_no_events(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    messi.send("40").await;
    assert!(matches!(messi.hear().await, Heard::Packet(packet) if packet.starts_with(r#"40{"sid":""#)));
    messi.send_all(&[r#"42["join","xavi"]"#, r#"425["talk",{"conversation":"c1"}]"#]).await;
    // Events of the written protocol are answered with the right namespace here; others are ignored.
    let reason = "there is no such event here: connect to the namespace /max";
    messi.send(r#"42["other"]"#).await;
    for expected in [
        format!(r#"42["refused",{{"event":"join","code":"unknown_event","reason":"{reason}"}}]"#),
        format!(r#"435[{{"ok":false,"code":"unknown_event","reason":"{reason}"}}]"#),
    ] {
        let Heard::Packet(answer) = messi.hear().await else { panic!("an answer in the namespace / was expected") };
        assert_eq!(answer, expected);
    }
    messi.send("41").await;
    messi.hears_nothing().await;
}

async fn a_crowd_is_not_announced(kind: Kind) {
    let server = Fixture::start("conversation.presence_members_max = 2");
    for user in ["messi", "xavi", "iniesta"] {
        server.max.talks_in(user, &["c1"]);
    }
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    messi.hears(&[joined("c1", "xavi")]).await;
    let mut iniesta = Client::join(&server, kind, "iniesta", &["c1"]).await;
    let crowd = event("people", r#"{"conversation":"c1","inroom":3}"#.to_owned());
    for client in [&mut messi, &mut xavi, &mut iniesta] {
        client.hears_nothing().await;
        client.emit("ask", "").await;
        client.hears(std::slice::from_ref(&crowd)).await;
    }
    messi.emit("talk", &talk_of("c1", "m1")).await;
    iniesta.hears(&[update("messi", "c1", "m1")]).await;
    xavi.hears(&[update("messi", "c1", "m1")]).await;
    iniesta.call("leave", "", &[listening(&[])], ok).await;
    messi.call("ask", "", &[people("c1", &["messi", "xavi"])], ok).await;
    xavi.close().await;
    messi.hears(&[left("c1", "xavi")]).await;
}

async fn two_conversations_of_one_client_keep_apart(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1", "c2"]);
    server.max.talks_in("xavi", &["c1"]);
    server.max.talks_in("iniesta", &["c2"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    let mut iniesta = Client::join(&server, kind, "iniesta", &["c2"]).await;
    let mut messi = Client::join(&server, kind, "messi", &["c1", "c2"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    iniesta.hears(&[joined("c2", "messi")]).await;
    for n in 0..20 {
        messi.emit("talk", &talk_of(if n % 2 == 0 { "c1" } else { "c2" }, &n.to_string())).await;
    }
    for n in (0..20).step_by(2) {
        xavi.hears(&[update("messi", "c1", &n.to_string())]).await;
        iniesta.hears(&[update("messi", "c2", &(n + 1).to_string())]).await;
    }
    messi.hears_nothing().await;
    xavi.hears_nothing().await;
    iniesta.hears_nothing().await;
}
