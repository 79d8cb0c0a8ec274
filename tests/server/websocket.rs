//! A WebSocket byte by byte: frames, packets and pauses that the protocol forbids, which end the connection, and odd
//! ones that it allows.

use std::time::Instant;

use crate::support;
use crate::support::client::{
    Client, Heard, Kind, join_of, joined, left, listening, ok, packet, talk_of, update, with_xavi,
};
use crate::support::fixture::Fixture;
use crate::support::run;
use crate::support::socket::{BINARY, CLOSE, CONTINUATION, End, FRESH, Frame, PING, PONG, Socket, TEXT, frame, text};

crate::over_every_transport! {
    malformed_packets_end_the_connection
    odd_packets_are_taken
    attachments_are_bounded_together
    a_client_that_enters_no_namespace_is_let_go
    ten_thousand_namespaces_are_refused_one_by_one
    only_pings_keep_a_silent_client
}

/// Opens a WebSocket and joins as `messi`.
async fn socket_of_messi(server: &Fixture) -> Socket {
    let mut socket = Socket::open(server.addr, FRESH).await;
    socket.hear().await;
    socket.send("40/max,").await;
    socket.hear().await;
    socket.send(&packet("join", &join_of("messi"), None)).await;
    assert_eq!(socket.hear().await, r#"42/max,["listening",{"conversations":["c1"]}]"#);
    socket
}

#[test]
fn frames_that_break_the_rules_end_the_connection() {
    run(async {
        let (server, mut xavi) = with_xavi("protocol.payload_bytes_max = 1000").await;
        let talk = packet("talk", &talk_of("c1", "m1"), None);
        let unmasked = [&[0x81, talk.len() as u8], talk.as_bytes()].concat();
        let claims = |bytes: u64| [&[0x81, 0x80 | 127][..], &bytes.to_be_bytes()].concat();
        let fragments =
            |n: usize, size: usize| [frame(false, TEXT, b"4"), frame(false, CONTINUATION, &vec![b'x'; size]).repeat(n)];
        let table: Vec<(&str, Vec<u8>, u16)> = vec![
            ("not masked", unmasked, 1002),
            ("a reserved bit", frame(true, 0x40 | TEXT, b"4"), 1002),
            ("an unknown opcode", frame(true, 3, b"4"), 1002),
            ("an unknown control frame", frame(true, 11, b""), 1002),
            ("a fragmented ping", frame(false, PING, b""), 1002),
            ("a long ping", frame(true, PING, &[0; 126]), 1002),
            ("a continuation of nothing", frame(true, CONTINUATION, b"4"), 1002),
            ("a message within a message", [frame(false, TEXT, b"4"), frame(true, TEXT, b"4")].concat(), 1002),
            ("a close frame of one byte", frame(true, CLOSE, &[3]), 1002),
            ("a close code that does not exist", frame(true, CLOSE, &1005u16.to_be_bytes()), 1002),
            ("a length of more than 63 bits", claims(1 << 63), 1002),
            ("1025 fragments", fragments(1025, 0).concat(), 1002),
            ("no text", frame(true, TEXT, b"4\xff"), 1007),
            ("no text in a close reason", frame(true, CLOSE, b"\x03\xe8\xff"), 1007),
            ("half a character", [frame(false, TEXT, b"4\xc3"), frame(true, CONTINUATION, b"(")].concat(), 1007),
            ("one byte too much", frame(true, TEXT, &[b'4'; 1001]), 1009),
            ("too much in binary", frame(true, BINARY, &[0; 1001]), 1009),
            ("the announcement of 1001 bytes", claims(1001), 1009),
            ("the announcement of 1 GiB", claims(1 << 30), 1009),
            ("the announcement of 2^62 bytes", claims(1 << 62), 1009),
            ("too much in fragments", fragments(10, 100).concat(), 1009),
        ];
        for (what, bytes, code) in table {
            let mut socket = socket_of_messi(&server).await;
            socket.write(&[text(&talk), bytes].concat()).await;
            assert_eq!(socket.end().await, End::Frame(Some(code)), "{what}");
            xavi.hears(&[joined("c1", "messi"), update("messi", "c1", "m1"), left("c1", "messi")]).await;
        }
        xavi.hears_nothing().await;
    });
}

#[test]
fn a_message_may_come_in_any_pieces() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = socket_of_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let talk = packet("talk", r#"{"conversation":"c1","messageID":"é😀"}"#, None);

        // Every byte in its own segment.
        for byte in text(&talk) {
            messi.write(&[byte]).await;
            tokio::task::yield_now().await;
        }
        xavi.hears(&[update("messi", "c1", "é😀")]).await;

        // Every byte in its own fragment, characters cut through, with a ping in between and empty fragments around.
        let mut pieces = frame(false, TEXT, b"");
        for (n, byte) in talk.bytes().enumerate() {
            if n == 20 {
                pieces.extend(frame(true, PING, b"still there?"));
            }
            pieces.extend(frame(false, CONTINUATION, &[byte]));
        }
        pieces.extend(frame(true, CONTINUATION, b""));
        messi.write(&pieces).await;
        assert_eq!(messi.next().await, Ok(Frame::Pong(b"still there?".to_vec())));
        xavi.hears(&[update("messi", "c1", "é😀")]).await;

        // Many messages in one segment, and a segment that ends in the middle of one.
        let many = text(&talk).repeat(50);
        let (first, second) = many.split_at(many.len() / 2 + 3);
        messi.write(first).await;
        messi.write(second).await;
        for _ in 0..50 {
            xavi.hears(&[update("messi", "c1", "é😀")]).await;
        }
        xavi.hears_nothing().await;
    });
}

#[test]
fn frames_behind_the_handshake_are_not_lost() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let breath = ["40/max,", &packet("join", &join_of("messi"), None), &packet("talk", &talk_of("c1", "m1"), None)];
        let behind: Vec<u8> = breath.iter().flat_map(|message| text(message)).collect();
        for cut in [behind.len(), behind.len() - 1, 9, 1] {
            let mut socket = Socket::ask(server.addr, FRESH, &behind[..cut]).await.unwrap();
            socket.write(&behind[cut..]).await;
            assert!(socket.hear().await.starts_with('0'));
            assert!(socket.hear().await.starts_with("40/max,{"));
            assert!(socket.hear().await.contains("listening"));
            xavi.hears(&[joined("c1", "messi"), update("messi", "c1", "m1")]).await;
            drop(socket);
            xavi.hears(&[left("c1", "messi")]).await;
        }
    });
}

#[test]
fn pings_and_closes_are_answered_in_kind() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = socket_of_messi(&server).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        for payload in [&b""[..], b"x", &[0xff; 125]] {
            messi.write(&frame(true, PING, payload)).await;
            assert_eq!(messi.next().await, Ok(Frame::Pong(payload.to_vec())));
        }
        messi.write(&frame(true, PONG, b"unasked")).await;
        // Not all of many pings must be answered, but nothing else may suffer.
        messi.write(&frame(true, PING, b"many").repeat(10_000)).await;
        messi.send(&packet("talk", &talk_of("c1", "m1"), Some(1))).await;
        loop {
            match messi.next().await {
                Ok(Frame::Pong(payload)) => assert_eq!(payload, b"many"),
                other => break assert_eq!(other, Ok(Frame::Text(r#"43/max,1[{"ok":true}]"#.to_owned()))),
            }
        }
        xavi.hears(&[update("messi", "c1", "m1")]).await;
        // A close is answered with its code; later frames are ignored.
        for (payload, code) in [(&[][..], None), (&[0x03, 0xe8], Some(1000)), (b"\x03\xe9going", Some(1001))] {
            let talk = text(&packet("talk", &talk_of("c1", "m2"), None));
            messi.write(&[frame(true, CLOSE, payload), talk].concat()).await;
            assert_eq!(messi.end().await, End::Frame(code));
            xavi.hears(&[left("c1", "messi")]).await;
            messi = socket_of_messi(&server).await;
            xavi.hears(&[joined("c1", "messi")]).await;
        }
    });
}

async fn malformed_packets_end_the_connection(kind: Kind) {
    let (server, mut xavi) = with_xavi("").await;
    let deep_name = format!("42/max,[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
    let table = [
        // Engine.IO
        "",
        "7",
        "x",
        "hello",
        "b",
        "2",
        "2hello",
        // Socket.IO
        "4",
        "4abc",
        "47/max,",
        "42/max,{}",
        "42/max,[]",
        "42/max,[",
        r#"42/max,abc["x"]"#,
        r#"42/max,["x"]]"#,
        r#"42/max,["x"] 1"#,
        "42/max,[null]",
        "42/max,[{}]",
        r#"42/max,[{"toString":"foo"}]"#,
        "42/max,[true]",
        "42/max,[[]]",
        &deep_name,
        r#"42/max,18446744073709551616["ask"]"#,
        r#"42/max,["connect"]"#,
        r#"42/max,["connect_error"]"#,
        r#"42/max,["disconnect"]"#,
        r#"42/max,["disconnecting"]"#,
        r#"42/max,["newListener"]"#,
        r#"42/max,["removeListener"]"#,
        r#"42/max,["dis\u0063onnect"]"#,
        "41/max,{}",
        "43/max,1{}",
        r#"43/max,1"x""#,
        "44/max,{}",
        // Out of place
        "40/max,",
        "40/max,{}",
        "40/nope,[]",
        r#"40/nope,"x""#,
        r#"42["x"]"#,
        r#"42/nope,["x"]"#,
        r#"42/max/,["x"]"#,
        r#"42/MAX,["x"]"#,
        "41",
        "43/nope,1[]",
        // Attachments
        r#"45/max,["x"]"#,
        r#"45x-/max,["x"]"#,
        r#"45-1-/max,["x"]"#,
        r#"4511-/max,["x",{"_placeholder":true,"num":0}]"#,
        r#"451000000-/max,["x",{"_placeholder":true,"num":0}]"#,
        r#"450-/max,["x",{"_placeholder":true,"num":0}]"#,
        "bAAEC",
    ];
    for bad in table {
        let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        // On polling, an empty packet is the whole body.
        messi.send(bad).await;
        let end = messi.end().await;
        let expected = match kind {
            Kind::Polling => End::Packet,
            _ => End::Frame(None),
        };
        // A poll may just have been on its way: its sid is unknown.
        assert!(end == expected || matches!(end, End::Refused(400, _)), "{bad:.100}: {end:?}");
        xavi.hears(&[left("c1", "messi")]).await;
    }
    for bad in [
        &[r#"451-/max,["x",{"_placeholder":true,"num":0}]"#, r#"42/max,["ask"]"#],
        &[r#"451-/max,["x",{"_placeholder":true,"num":1}]"#, "bAAEC"],
        &[r#"451-/max,["x",{"_placeholder":true,"num":-1}]"#, "bAAEC"],
        &[r#"451-/max,["x",[{"a":{"_placeholder":true,"num":1e9}}]]"#, "bAAEC"],
        &["41/max,", r#"42/max,["ask"]"#],
        &["41/max,", "41/max,"],
    ] {
        let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        messi.send_all(bad).await;
        xavi.hears(&[left("c1", "messi")]).await;
        let end = messi.end().await;
        let expected = if kind == Kind::Polling { End::Packet } else { End::Frame(None) };
        assert!(end == expected || matches!(end, End::Refused(400, _)), "{bad:?}: {end:?}");
    }
    xavi.hears_nothing().await;

    // Before the CONNECT, no other packet is allowed.
    for early in [packet("join", &join_of("messi"), None), "41/max,".to_owned(), "42[\"x\"]".to_owned()] {
        let mut client = Client::open(server.addr, kind).await;
        client.send(&early).await;
        assert!(matches!(client.end().await, End::Packet | End::Frame(None) | End::Refused(400, _)), "{early}");
    }
    server.until("xavi alone", |now| now.sum("maxtalk_sessions", "") == 1.0).await;
}

async fn odd_packets_are_taken(kind: Kind) {
    let server = Fixture::start("");
    server.max.talks_in("messi", &["c1"]);
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    for odd in [
        "0",
        "6",
        "5",
        "3",
        "3probe",
        "42/max,[1]",
        "42/max,[-1.5e300,2]",
        r#"42/max,["error"]"#,
        r#"42/max,["\ud800"]"#,
        r#"42/max,["x",{"a":1,"a":2,"__proto__":{}}]"#,
        r#"450-/max,["x"]"#,
        "42/max,",
        "43/max,5",
        "43/max,5[]",
        r#"42/max, [ "x" , 1 ]"#,
        r#"42/max?token=x,["x"]"#,
    ] {
        messi.send(odd).await;
        assert_eq!(messi.so_far().await, [], "{odd}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    messi.call("x", &deep, &[], |ack| support::client::not_ok(ack, "unknown_event")).await;
    messi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
}

async fn attachments_are_bounded_together(kind: Kind) {
    let (server, mut xavi) = with_xavi("protocol.payload_bytes_max = 1000").await;
    let mut messi = Client::join(&server, kind, "messi", &["c1"]).await;
    xavi.hears(&[joined("c1", "messi")]).await;
    let announce = |n: usize| {
        let places: Vec<_> = (0..n).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
        format!(r#"45{n}-/max,["x",{}]"#, places.join(","))
    };
    messi.send(&announce(10)).await;
    for _ in 0..10 {
        messi.send_binary(&[7; 100]).await;
    }
    messi.hears_nothing().await;
    messi.send(&announce(2)).await;
    messi.send_binary(&[7; 700]).await;
    messi.send_binary(&[7; 301]).await;
    let end = messi.end().await;
    let expected = if kind == Kind::Polling { End::Packet } else { End::Frame(Some(1009)) };
    assert!(end == expected || matches!(end, End::Refused(400, _)), "{end:?}");
    xavi.hears(&[left("c1", "messi")]).await;
}

async fn a_client_that_enters_no_namespace_is_let_go(kind: Kind) {
    let server = Fixture::start("protocol.connect_timeout_ms = 1000");
    server.max.talks_in("messi", &["c1"]);
    let begun = Instant::now();
    let mut inside = Client::connect(server.addr, kind, "").await;
    let mut has_left = Client::connect(server.addr, kind, "").await;
    has_left.send("41/max,").await;
    let mut outside = Client::open(server.addr, kind).await;
    let mut refused = Client::open(server.addr, kind).await;
    refused.send("40/nope,").await;
    let no = r#"44/nope,{"message":"Invalid namespace"}"#;
    assert_eq!(refused.hear().await, Heard::Packet(no.to_owned()));
    for client in [&mut outside, &mut refused] {
        let end = client.end().await;
        assert!(matches!(end, End::Packet | End::Frame(None) | End::Refused(400, _)), "{end:?}");
    }
    assert!(begun.elapsed().as_millis() >= 1000);
    // The connect timeout ends with the first CONNECT.
    inside.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    has_left.send("40/max,").await;
    has_left.hear().await;
    has_left.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
}

async fn ten_thousand_namespaces_are_refused_one_by_one(kind: Kind) {
    let (server, mut xavi) = with_xavi("").await;
    let mut messi = Client::open(server.addr, kind).await;
    if kind == Kind::Upgraded {
        messi.upgrade().await;
    }
    let asked: Vec<_> = (0..10_000).map(|n| format!("40/n{n},")).collect();
    // More than an outbox holds, at once.
    messi.send_all(&asked.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for n in 0..10_000 {
        let refused = format!(r#"44/n{n},{{"message":"Invalid namespace"}}"#);
        assert_eq!(messi.hear().await, Heard::Packet(refused));
    }
    for odd in ["/max/", "/Max", "/ma", "/maxx", "/é", "/a?b=c"] {
        messi.send(&format!("40{odd},")).await;
        let name = odd.split('?').next().unwrap();
        let refused = format!(r#"44{name},{{"message":"Invalid namespace"}}"#);
        assert_eq!(messi.hear().await, Heard::Packet(refused));
    }
    messi.send("40/max").await;
    assert!(matches!(messi.hear().await, Heard::Packet(packet) if packet.starts_with("40/max,{")));
    messi.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
    xavi.hears(&[joined("c1", "messi")]).await;
}

async fn only_pings_keep_a_silent_client(kind: Kind) {
    let server = Fixture::start("protocol.ping_interval_ms = 100\nprotocol.ping_timeout_ms = 2000");
    server.max.talks_in("messi", &["c1"]);
    server.max.talks_in("xavi", &["c1"]);
    let mut xavi = Client::join(&server, kind, "xavi", &["c1"]).await;
    // This client answers no ping, though it talks: only pongs count. The first ping may come before its join is done.
    let mut messi = Socket::open(server.addr, FRESH).await;
    let begun = Instant::now();
    messi.send("40/max,").await;
    messi.send(&packet("join", &join_of("messi"), None)).await;
    let mut pings = 0;
    let end = loop {
        match messi.next().await {
            Ok(Frame::Text(ping)) if ping == "2" => {
                pings += 1;
                messi.send(&packet("talk", &talk_of("c1", "m1"), None)).await;
            }
            Ok(Frame::Text(_)) => {}
            Ok(Frame::Close(code)) => break End::Frame(code),
            Ok(other) => panic!("{other:?}"),
            Err(end) => break end,
        }
    };
    assert_eq!((pings, end), (1, End::Frame(None)));
    assert!(begun.elapsed().as_millis() >= 1900, "{:?}", begun.elapsed());
    xavi.hears(&[joined("c1", "messi"), update("messi", "c1", "m1"), left("c1", "messi")]).await;
    xavi.hears_nothing().await;
    let scrape = server.scrape().await;
    assert_eq!(scrape.sum("maxtalk_sessions_closed_total", r#"reason="ping_timeout""#), 1.0);
}

#[test]
fn every_pong_is_followed_by_another_ping() {
    run(async {
        let server = Fixture::start("protocol.ping_interval_ms = 50\nprotocol.ping_timeout_ms = 20000");
        let mut begun = Instant::now();
        let mut socket = Socket::open(server.addr, FRESH).await;
        socket.hear().await;
        for _ in 0..5 {
            assert_eq!(socket.hear().await, "2");
            assert!(begun.elapsed().as_millis() >= 45, "a ping too soon: {:?}", begun.elapsed());
            // Extra pongs bring no extra pings.
            begun = Instant::now();
            socket.write(&text("3").repeat(100)).await;
        }
    });
}
