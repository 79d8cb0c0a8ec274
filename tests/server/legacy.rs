//! Socket.IO 0.7 to 0.9 over HTTP, byte for byte: handshakes, refusals, packets, ignored packets, framing, JSONP.
//! `legacy_transports.rs` has the life of its polls, POSTs and transports.

use std::net::SocketAddr;

use crate::support;
use crate::support::fixture::Fixture;
use crate::support::http::{Http, Response};
use crate::support::run;
use crate::support::sio09::{
    BEGIN_ANEW, FRAMING, Session, ask, event, framed, hears, hears_nothing, join, joined, listening, packets, talk,
    update, with_xavi,
};
use crate::support::socket::{BINARY, End, Frame, frame};

const ORIGIN: (&str, &str) = ("Origin", "https://chat.example");
const SCRIPT: &str = "text/javascript; charset=UTF-8";
const TEXT: &str = "text/plain; charset=UTF-8";

/// 0.9 packets without meaning, more than a session has room to answer.
const GARBAGE: &[&str] = &[
    "x",
    "::",
    "5",
    "5:",
    "5::",
    "9::",
    "10::",
    " 1::/max",
    "1:x:/max",
    "1:-1:/max",
    "1::",
    "1:::",
    "1::/nope",
    "1::nope",
    "1::/MAX",
    "1::/max/",
    "0::/nope",
    "3:::",
    "3:1:/nope:text",
    "3:2+:/max:text",
    "4:::{",
    "6:::",
    "6::/max:1+[",
    "6::/max:18446744073709551616",
    "6::/max:1+[1]",
    "6::/nope:1",
    "7:::1+0",
    "7::/max:2",
    "8::",
    "5::/max",
    "5::/max:",
    "5::/max:null",
    "5::/max:[]",
    "5::/max:{}",
    r#"5::/max:{"name":1}"#,
    r#"5::/max:{"name":{"toString":"foo"}}"#,
    r#"5::/max:{"name":"\ud800"}"#,
    r#"5::/max:{"name":"talk","args":[}"#,
    r#"5::/max:{"name":"nope","args":[1]}"#,
    r#"5::/max:{"name":"disconnect"}"#,
    r#"5:3+:/max:{"name":"disconnect"}"#,
    r#"5:4+:/nope:{"name":"talk"}"#,
    r#"5::/max:{"__proto__":{"name":"talk"}}"#,
    // An id that does not fit in 64 bits.
    r#"5:18446744073709551616:/max:{"name":"nope"}"#,
    r#"5:18446744073709551616+:/max:{"name":"nope"}"#,
    r#"42/max,["talk"]"#,
    "2probe",
    "\0\0\0",
    "é€😀",
];

async fn get(addr: SocketAddr, target: &str) -> Response {
    Http::connect(addr).await.get(target).await
}

fn status_and_body(response: &Response) -> (u16, &str) {
    (response.status, &response.body)
}

fn content_type(response: &Response) -> &str {
    response.header("content-type").unwrap_or_default()
}

/// `<sid>:60:60:websocket,xhr-polling,jsonp-polling`
fn sid_of(line: &str) -> &str {
    let (sid, rest) = line.split_once(':').unwrap();
    assert_eq!(rest, "60:60:websocket,xhr-polling,jsonp-polling");
    assert!(sid.len() == 26 && sid.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c)), "{sid}");
    sid
}

/// Returns the string that a script passes to `io.j[index]`.
fn argument(script: &str, index: u32) -> String {
    let argument = script.strip_prefix(&format!("io.j[{index}](")).and_then(|rest| rest.strip_suffix(");"));
    serde_json::from_str(argument.unwrap_or_else(|| panic!("{script}"))).unwrap()
}

#[test]
fn a_handshake_gives_a_sid_its_timeouts_and_transports() {
    run(async {
        let server = Fixture::start("");
        for (method, target) in [
            ("GET", "/socket.io/1/"),
            ("GET", "/socket.io/1"),
            ("GET", "/socket.io/1/?t=1700000000000&user=x"),
            ("GET", "/socket.io/1?t=1700000000000"),
            ("POST", "/socket.io/1/"),
            ("POST", "/socket.io/1/?t=1"),
        ] {
            let response = Http::connect(server.addr).await.request(method, target, &[], b"").await;
            assert_eq!((response.status, content_type(&response)), (200, TEXT), "{method} {target}");
            assert_eq!(response.header("cache-control"), Some("no-store"));
            assert_eq!(response.header("access-control-allow-origin"), None);
            // The first poll gets the greeting; it also shows the headers of every answer to a poll.
            let mut polling = Session { addr: server.addr, sid: sid_of(&response.body).to_owned() }.polling().await;
            polling.post("1::/max").await;
            let response = get(server.addr, &polling.target).await;
            assert_eq!((response.body.as_str(), content_type(&response)), ("1::/max", TEXT));
            assert_eq!(response.header("cache-control"), Some("no-store"));
        }
        // The body of a handshake POST is ignored.
        for method in ["GET", "POST"] {
            let mut http = Http::connect(server.addr).await;
            let response = http.request(method, "/socket.io/1/", &[ORIGIN], b"x").await;
            sid_of(&response.body);
            assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN.1));
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(response.header("vary"), Some("Origin"));
        }
        let headers = [ORIGIN, ("Access-Control-Request-Method", "POST")];
        for target in ["/socket.io/1/", "/socket.io/1/xhr-polling/x", "/socket.io/2/"] {
            let response = Http::connect(server.addr).await.request("OPTIONS", target, &headers, b"").await;
            assert_eq!(status_and_body(&response), (204, ""), "{target}");
            assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN.1));
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
        }
    });
}

#[test]
fn a_handshake_may_be_a_script_of_which_the_page_chooses_only_a_number() {
    run(async {
        let server = Fixture::start("legacy.heartbeat_timeout_ms = 60000");
        for (query, index) in [("jsonp=0", 0), ("t=1&jsonp=7", 7), ("jsonp=alert(7)", 7), ("jsonp=1];x[2", 12)] {
            let response = get(server.addr, &format!("/socket.io/1/?{query}")).await;
            assert_eq!((response.status, content_type(&response)), (200, SCRIPT), "{query}");
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(response.header("x-xss-protection"), Some("0"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
            sid_of(&argument(&response.body, index));
        }
        for query in ["jsonp=", "jsonp", "jsonp=alert", "jsonp=%D9%A3"] {
            let response = get(server.addr, &format!("/socket.io/1/?{query}")).await;
            assert_eq!(status_and_body(&response), (400, "Bad request"), "{query}");
        }
    });
}

#[test]
fn timeouts_are_told_in_whole_seconds_and_never_as_nothing() {
    run(async {
        let settings = "legacy.heartbeat_timeout_ms = 1001\nlegacy.close_timeout_ms = 300
                        legacy.heartbeat_interval_ms = 200\nlegacy.polling_duration_ms = 200";
        let server = Fixture::start(settings);
        let body = get(server.addr, "/socket.io/1/").await.body;
        assert_eq!(body.split_once(':').unwrap().1, "2:1:websocket,xhr-polling,jsonp-polling");
    });
}

#[test]
fn requests_of_other_protocols_are_refused() {
    run(async {
        let server = Fixture::start("");
        let session = Session::begin(server.addr).await;
        let known = |transport: &str| format!("/socket.io/1/{transport}/{}", session.sid);
        let unsupported = "Protocol version not supported.";
        let nothing = "There is nothing here.\n";
        let table = [
            ("GET", "/socket.io/2/".to_owned(), 500, unsupported),
            ("GET", "/socket.io/0".to_owned(), 500, unsupported),
            ("POST", "/socket.io/10/xhr-polling/x".to_owned(), 500, unsupported),
            ("GET", "/socket.io/2/?jsonp=".to_owned(), 500, unsupported),
            ("GET", "/socket.io/1/xhr-polling".to_owned(), 404, nothing),
            ("GET", "/socket.io/1/xhr-polling/".to_owned(), 404, nothing),
            ("GET", "/socket.io/1/xhr-polling/a/b".to_owned(), 404, nothing),
            ("GET", "/socket.io/1//".to_owned(), 404, nothing),
            ("GET", "/socket.io/x/".to_owned(), 404, nothing),
            ("GET", "/socket.io//1/".to_owned(), 404, nothing),
            ("GET", "/socket.io1/".to_owned(), 404, nothing),
            ("GET", known("flashsocket"), 400, "Transport unknown"),
            ("GET", known("htmlfile"), 400, "Transport unknown"),
            ("GET", known("__proto__"), 400, "Transport unknown"),
            ("GET", known(""), 400, "Transport unknown"),
            ("GET", known("websocket"), 400, "This is no WebSocket handshake"),
            ("GET", known("jsonp-polling"), 400, "Bad request"),
            ("GET", known("jsonp-polling") + "?i=", 400, "Bad request"),
            ("POST", known("jsonp-polling") + "?i=alert", 400, "Bad request"),
            ("PUT", known("xhr-polling"), 500, ""),
            ("DELETE", "/socket.io/1/".to_owned(), 500, ""),
        ];
        for (method, target, status, body) in table {
            let response = Http::connect(server.addr).await.request(method, &target, &[ORIGIN], b"").await;
            assert_eq!(status_and_body(&response), (status, body), "{method} {target}");
            assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN.1), "{target}");
        }
        let response = get(server.addr, "/socket.io/2/?jsonp=alert(3)").await;
        assert_eq!((response.status, content_type(&response)), (200, SCRIPT));
        assert_eq!(response.body, format!(r#"io.j[3](new Error("{unsupported}"));"#));
        for (target, body) in [
            ("/socket.io/2/websocket/x", unsupported),
            (&known("flashsocket"), "Transport unknown"),
            (&known("xhr-polling"), "Bad request"),
            ("/socket.io/1/", "Bad request"),
        ] {
            let refused = ask(server.addr, target).await.map(|_| ()).unwrap_err();
            assert_eq!(status_and_body(&refused), (400, body), "{target}");
        }
        for target in ["/socket.io/1/websocket", "/socket.io/1/websocket/", "/socket.io/x", "/socket.io1/websocket/x"] {
            let refused = ask(server.addr, target).await.map(|_| ()).unwrap_err();
            assert_eq!(refused.status, 404, "{target}");
        }
        // The session is not affected.
        session.polling().await;
    });
}

#[test]
fn no_client_is_served() {
    run(async {
        let server = Fixture::start("");
        for target in ["/socket.io/socket.io.js", "/socket.io/socket.io.v0.9.16.js", "/socket.io/socket.io.min.js?v=1"]
        {
            let response = get(server.addr, target).await;
            assert_eq!(response.status, 404, "{target}");
            assert!(response.body.contains("npm") && response.body.ends_with('\n'), "{}", response.body);
            assert_eq!(response.body.lines().count(), 1);
        }
    });
}

#[test]
fn a_client_with_an_unknown_sid_is_told_to_begin_anew() {
    run(async {
        let server = Fixture::start("");
        for sid in ["AAAAAAAAAAAAAAAAAAAA", "x", "%00%ff", "%C3%A9%2F", "x".repeat(5000).as_str()] {
            let session = Session { addr: server.addr, sid: sid.to_owned() };
            for (method, target, body) in [
                ("GET", session.xhr(), BEGIN_ANEW),
                ("GET", session.xhr() + "/?t=1", BEGIN_ANEW),
                ("POST", session.xhr(), BEGIN_ANEW),
                ("PUT", session.xhr(), BEGIN_ANEW),
                ("GET", session.jsonp(), r#"io.j[0]("7:::1+0");"#),
                ("POST", session.jsonp(), r#"io.j[0]("7:::1+0");"#),
            ] {
                let response = Http::connect(server.addr).await.request(method, &target, &[ORIGIN], b"").await;
                assert_eq!(status_and_body(&response), (200, body), "{method} {target:.100}");
                assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN.1));
            }
            let mut socket = ask(server.addr, &format!("/socket.io/1/websocket/{sid}")).await.unwrap();
            assert_eq!(socket.hear().await, BEGIN_ANEW);
            assert_eq!(socket.end().await, End::Frame(None));
            assert_eq!(status_and_body(&get(server.addr, &(session.xhr() + "?disconnect=1")).await), (200, ""));
        }
        let refused = server.scrape().await.sum("maxtalk_handshakes_total", "unknown_sid");
        assert_eq!(refused, 5.0 * 7.0);
    });
}

#[test]
fn a_namespace_is_entered_by_its_name_alone() {
    run(async {
        let server = Fixture::start("");
        let mut socket = Session::begin(server.addr).await.socket().await;
        for (packet, echo) in [
            ("1::/max", "1::/max"),
            ("1::/max", "1::/max"),
            ("1::/max:?q=1", "1::/max"),
            ("1::/max?q=1&u=http://x:1/", "1::/max"),
            ("1:7+:/max", "1::/max"),
        ] {
            socket.send(packet).await;
            assert_eq!(socket.hear().await, echo, "{packet}");
        }
        for packet in ["1::/nope", "1::", "1::/max/", "1::/Max", "1::max"] {
            socket.send(packet).await;
        }
        hears_nothing_unjoined(&mut socket).await;
    });
}

/// Expects that nothing unheard was sent so far to a session that has not joined.
async fn hears_nothing_unjoined(socket: &mut support::socket::Socket) {
    socket.send(r#"5:1+:/max:{"name":"ask"}"#).await;
    assert_eq!(socket.hear().await, r#"6::/max:1+[{"ok":false,"code":"not_joined","reason":"join first"}]"#);
}

#[test]
fn an_id_is_acknowledged_and_one_with_a_plus_is_answered() {
    let unknown = |id: &str, endpoint: &str| {
        format!(r#"6::{endpoint}:{id}+[{{"ok":false,"code":"unknown_event","reason":"there is no such event"}}]"#)
    };
    let not_joined = r#"6::/max:5+[{"ok":false,"code":"not_joined","reason":"join first"}]"#;
    let nope = |id: &str, endpoint: &str| format!(r#"5:{id}:{endpoint}:{{"name":"nope"}}"#);
    let table = [
        (nope("1", "/max"), "6::/max:1".to_owned()),
        ("3:2:/max:text".to_owned(), "6::/max:2".to_owned()),
        (r#"4:3:/max:{"a":1}"#.to_owned(), "6::/max:3".to_owned()),
        ("3:2::".to_owned(), "6:::2".to_owned()),
        ("4:3:::::no json".to_owned(), "6:::3".to_owned()),
        (nope("4+", "/max"), unknown("4", "/max")),
        (r#"5:5+:/max:{"name":"talk","args":[{"conversation":"c1"}]}"#.to_owned(), not_joined.to_owned()),
        (nope("0", ""), "6:::0".to_owned()),
        (nope("0+", ""), unknown("0", "")),
        // Digits that a JavaScript number would lose.
        (nope("9007199254740993", "/max"), "6::/max:9007199254740993".to_owned()),
        (nope("18446744073709551615+", "/max"), unknown("18446744073709551615", "/max")),
        // Neither acked nor answered, as by the official server.
        (format!("3:2+:/max:text{FRAMING}"), String::new()),
        (nope("18446744073709551616", "/max"), String::new()),
    ];
    run(async {
        let server = Fixture::start("");
        let session = Session::begin(server.addr).await;
        let mut polling = session.polling().await;
        let mut socket = Session::begin(server.addr).await.socket().await;
        for (packet, expected) in &table {
            socket.send(packet).await;
            polling.post(packet).await;
            if !expected.is_empty() {
                assert_eq!(socket.hear().await, *expected, "{packet}");
                assert_eq!(polling.hear().await, *expected, "{packet}");
            }
        }
        hears_nothing_unjoined(&mut socket).await;
        polling.hears_nothing().await;
        // All at once, they are answered in order, in one body.
        let (asked, answers): (Vec<_>, Vec<_>) =
            table.iter().map(|(packet, answer)| (packet.as_str(), answer.as_str())).unzip();
        polling.post(&framed(&asked)).await;
        let answers: Vec<_> = answers.into_iter().filter(|answer| !answer.is_empty()).collect();
        assert_eq!(polling.poll().await, framed(&answers));
    });
}

#[test]
fn garbage_is_passed_over_and_the_connection_lives() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        for garbage in GARBAGE {
            xavi.send(garbage).await;
        }
        xavi.write(&frame(true, BINARY, b"5::/max:{}")).await;
        xavi.write(&frame(true, BINARY, b"\xff\xfe")).await;
        hears_nothing(&mut xavi).await;

        let mut polling = Session::begin(server.addr).await.polling().await;
        for garbage in GARBAGE {
            polling.post(garbage).await;
        }
        polling.post(&framed(GARBAGE)).await;
        // The only answer: `refused` answers unknown events, not malformed packets.
        polling.hears_nothing().await;
        // A body that is not UTF-8 is refused without other consequences.
        for body in [b"1::/max\xff".as_slice(), b"\xff\xfd3\xff\xfd1::", b"\xed\xa0\x80"] {
            let response = polling.poster.request("POST", &polling.target, &[], body).await;
            assert_eq!(status_and_body(&response), (400, ""), "{body:?}");
        }
        polling.hears_nothing().await;
        hears_nothing(&mut xavi).await;
        // Over a WebSocket, text that is not UTF-8 ends the session in every generation (RFC 6455, 8.1).
        xavi.write(&frame(true, support::socket::TEXT, b"1::/max\xff")).await;
        assert_eq!(xavi.end().await, End::Frame(Some(1007)));
    });
}

#[test]
fn frames_of_a_body_are_counted_in_utf_16() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Session::begin(server.addr).await.polling().await;
        messi.join("messi", &["c1"]).await;
        hears(&mut xavi, &[&joined("messi")]).await;

        let talks = [talk("é"), talk("€"), talk("😀😀"), talk("\u{fffd}3\u{fffd}1::")];
        let talks: Vec<_> = talks.iter().map(String::as_str).collect();
        messi.post(&framed(&talks)).await;
        let escaped = [r"\u00e9", r"\u20ac", r"\ud83d\ude00\ud83d\ude00", r"\ufffd3\ufffd1::"];
        for escaped in escaped {
            assert_eq!(xavi.hear().await, update("messi", escaped));
        }
        // A single packet is not framed, two are.
        xavi.send(&talk("é😀")).await;
        hears_nothing(&mut xavi).await;
        let first = update("xavi", r"\u00e9\ud83d\ude00");
        assert_eq!(messi.poll().await, first);
        for talk in talks {
            xavi.send(talk).await;
        }
        hears_nothing(&mut xavi).await;
        let updates = escaped.map(|escaped| update("xavi", escaped));
        let body = messi.poll().await;
        let expected: String =
            updates.iter().map(|packet| format!("\u{fffd}{}\u{fffd}{packet}", packet.len())).collect();
        assert_eq!(body, expected);
        assert_eq!(packets(&body), updates);
    });
}

#[test]
fn frames_with_a_wrong_length_are_ignored_with_the_rest_of_the_body() {
    let enter = "1::/max";
    let table = [
        format!("{FRAMING}8{FRAMING}{enter}"),
        format!("{FRAMING}999999999{FRAMING}{enter}"),
        format!("{FRAMING}99999999999{FRAMING}{enter}"),
        format!("{FRAMING}-1{FRAMING}{enter}"),
        format!("{FRAMING}1e1{FRAMING}{enter}"),
        format!("{FRAMING}7.0{FRAMING}{enter}"),
        format!("{FRAMING} 7{FRAMING}{enter}"),
        format!("{FRAMING}7{enter}"),
        format!("{FRAMING}{FRAMING}{enter}"),
        format!("{FRAMING}7{FRAMING}"),
        format!("{FRAMING}"),
        format!("{FRAMING}{FRAMING}{FRAMING}{FRAMING}"),
        format!("{FRAMING}0{FRAMING}{enter}"),
        format!("{FRAMING}6{FRAMING}{enter}{FRAMING}7{FRAMING}{enter}"),
        // The length splits a surrogate pair.
        format!("{FRAMING}1{FRAMING}😀{FRAMING}7{FRAMING}{enter}"),
        // A frame within a frame is not decoded.
        framed(&[&framed(&[enter])]),
        framed(&[&framed(&[enter, enter]), &framed(&[enter])]),
        format!("x{}", framed(&[enter])),
    ];
    run(async {
        let server = Fixture::start("");
        let session = Session::begin(server.addr).await;
        let mut polling = session.polling().await;
        for body in &table {
            polling.post(body).await;
            polling.hears_nothing().await;
        }
        // Packets before a wrong length count, and so do those after an empty frame.
        for body in [format!("{FRAMING}7{FRAMING}{enter}{FRAMING}8{FRAMING}{enter}"), framed(&["", enter])] {
            polling.post(&body).await;
            polling.hears(&[enter]).await;
            polling.hears_nothing().await;
        }
        // Over a WebSocket there is no framing.
        let mut socket = session.socket().await;
        socket.send(&framed(&[enter])).await;
        socket.send(&framed(&[enter, enter])).await;
        hears_nothing_unjoined(&mut socket).await;
    });
}

#[test]
fn who_speaks_before_entering_is_heard_and_enters_once() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Session::begin(server.addr).await.socket().await;
        // The widget of 2013 reconnects like this: first the packets that it has kept, then the namespace.
        for packet in [&join("messi"), &talk("m1"), "1::/max", &talk("m2")] {
            messi.send(packet).await;
        }
        hears(&mut messi, &["1::/max", &listening(&["c1"])]).await;
        hears_nothing(&mut messi).await;
        hears(&mut xavi, &[&joined("messi"), &update("messi", "m1"), &update("messi", "m2")]).await;
        messi.send("1::/max").await;
        hears(&mut messi, &["1::/max"]).await;
        hears_nothing(&mut messi).await;
        hears_nothing(&mut xavi).await;

        let mut polling = Session::begin(server.addr).await.polling().await;
        polling.post(&framed(&[&join("messi"), "1::/max"])).await;
        polling.hears(&["1::/max", &listening(&["c1"])]).await;
        polling.hears_nothing().await;
        // The second session of a member is not announced.
        hears_nothing(&mut xavi).await;
        xavi.send(&talk("m3")).await;
        hears(&mut messi, &[&update("xavi", "m3")]).await;
        polling.hears(&[&update("xavi", "m3")]).await;
    });
}

#[test]
fn a_bare_username_joins_and_what_is_not_ascii_is_written_so() {
    run(async {
        let server = Fixture::start_tokenless("");
        server.max.talks_in("josé", &["köln😀"]);
        server.max.talks_in("xavi", &["köln😀"]);
        let mut xavi = Session::begin(server.addr).await.socket().await;
        xavi.send(&event("join", r#""xavi""#)).await;
        let conversation = r"k\u00f6ln\ud83d\ude00";
        hears(&mut xavi, &[&event("listening", &format!(r#"{{"conversations":["{conversation}"]}}"#))]).await;
        let mut jose = Session::begin(server.addr).await.socket().await;
        jose.send(&event("join", r#""José""#)).await;
        jose.send(&event("talk", "{\"conversation\":\"köln😀\",\"messageID\":\"\u{2028}ñ\",\"timestamp\":1.0}")).await;
        let about = format!(r#""conversation":"{conversation}""#);
        let update = format!(r#"{{"username":"jos\u00e9",{about},"timestamp":1.0,"messageID":"\u2028\u00f1"}}"#);
        hears(
            &mut xavi,
            &[&event("joined", &format!(r#"{{{about},"username":"jos\u00e9"}}"#)), &event("update", &update)],
        )
        .await;
    });
}

#[test]
fn jsonp_polls_are_scripts_and_its_posts_are_forms() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let session = Session::begin(server.addr).await;
        let target = session.jsonp();
        let (mut getter, mut poster) = (Http::connect(server.addr).await, Http::connect(server.addr).await);
        let response = getter.request("GET", &target, &[ORIGIN], b"").await;
        assert_eq!(status_and_body(&response), (200, r#"io.j[0]("1::");"#));
        assert_eq!(content_type(&response), SCRIPT);
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("x-xss-protection"), Some("0"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN.1));

        // 0.9 quotes, 0.8 does not; browsers choose the line breaks.
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let quoted = serde_json::to_string(&framed(&[&join("messi"), &talk("é😀")])).unwrap();
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let raw = "5::/max:{\"name\":\"talk\",\r\n\"args\":[{\"conversation\":\"c1\",\"messageID\":\"m + 2\"}]}";
        for (data, query) in [
            ("1::/max", "?i=0"),
            (r#""1::/max""#, "?i=1"),
            (&quoted, "?i=alert(2)"),
            (raw, "?t=1&i=3"),
            (&framed(&[&talk("ñ")]), "?i=4"),
        ] {
            let target = target.replace("?i=0", query);
            let body = format!("x=1&d={}", encode(data).replace("%20", "+"));
            let response = poster.request("POST", &target, &form, body.as_bytes()).await;
            assert_eq!((response.status, content_type(&response), response.body.as_str()), (200, TEXT, "1"), "{data}");
        }
        let updates = [update("messi", r"\u00e9\ud83d\ude00"), update("messi", "m + 2"), update("messi", r"\u00f1")];
        hears(&mut xavi, &[&joined("messi"), &updates[0], &updates[1], &updates[2]]).await;
        hears_nothing(&mut xavi).await;

        let mut heard = Vec::new();
        while heard.len() < 3 {
            let response = getter.get(&target.replace("i=0", "t=1&i=alert(7)")).await;
            heard.extend(packets(&argument(&response.body, 7)));
        }
        assert_eq!(heard, ["1::/max", "1::/max", &listening(&["c1"])]);
        // The exact bytes of one packet and of two.
        xavi.send(&talk("é</script>")).await;
        hears_nothing(&mut xavi).await;
        let fields = r#"{\"username\":\"xavi\",\"conversation\":\"c1\",\"messageID\":\"\\u00e9\u003c/script>\"}"#;
        let news = format!(r#"io.j[0]("5::/max:{{\"name\":\"update\",\"args\":[{fields}]}}");"#);
        assert_eq!(getter.get(&target).await.body, news);
        let asked = framed(&["3:1:/max:x", "3:2::y"]);
        poster.request("POST", &target, &form, format!("d={}", encode(&asked)).as_bytes()).await;
        let answers = r#"io.j[0]("\ufffd9\ufffd6::/max:1\ufffd5\ufffd6:::2");"#;
        assert_eq!(getter.get(&target).await.body, answers);

        // Neither of the two: refused, and the session lives on.
        for body in ["", "d", "e=1", "d=%221%3A%3A", "d=%22a%22b", "d=%22%5Cud800%22", "d=%ff", "1::/max"] {
            let response = poster.request("POST", &target, &form, body.as_bytes()).await;
            assert_eq!(status_and_body(&response), (400, ""), "{body}");
        }
        for body in ["d=", "d=%22%22", "d=x", "d=1%3A%3A"] {
            let response = poster.request("POST", &target, &form, body.as_bytes()).await;
            assert_eq!(status_and_body(&response), (200, "1"), "{body}");
        }
        poster.request("POST", &target, &form, b"d=1%3A%3A%2Fmax").await;
        assert_eq!(getter.get(&target).await.body, r#"io.j[0]("1::/max");"#);
    });
}

#[test]
fn a_frame_of_any_shape_is_a_packet() {
    run(async {
        let server = Fixture::start("");
        let mut socket = Session::begin(server.addr).await.socket().await;
        let bytes =
            [frame(false, support::socket::TEXT, b"1::"), frame(true, 0, b"/max"), frame(true, 9, b"p")].concat();
        socket.write(&bytes).await;
        let mut heard = [socket.next().await.unwrap(), socket.next().await.unwrap()];
        heard.sort_by_key(|frame| matches!(frame, Frame::Text(_)));
        assert_eq!(heard, [Frame::Pong(b"p".to_vec()), Frame::Text("1::/max".to_owned())]);
        // A message that is too large is refused by its header.
        let mut large = vec![0x81, 0xff];
        large.extend_from_slice(&1_000_001_u64.to_be_bytes());
        socket.write(&large).await;
        assert_eq!(socket.end().await, End::Frame(Some(1009)));
    });
}

/// The official server takes a value that is no array for one argument, and null for none.
#[test]
fn arguments_need_no_array() {
    run(async {
        let (_server, mut xavi) = with_xavi("").await;
        let missing = r#"6::/max:1+[{"ok":false,"code":"bad_talk","#;
        let cases = [
            (r#"5:1+:/max:{"name":"talk","args":{"conversation":"c1"}}"#, r#"6::/max:1+[{"ok":true}]"#),
            (r#"5:1+:/max:{"name":"leave","args":"c2"}"#, r#"6::/max:1+[{"ok":false,"code":"forbidden","#),
            (r#"5:1+:/max:{"name":"talk","args":null}"#, missing),
            (r#"5:1+:/max:{"name":"talk","args":"c1"}"#, missing),
            (r#"5:1+:/max:{"name":"talk","args":false}"#, missing),
        ];
        for (packet, answer) in cases {
            xavi.send(packet).await;
            let heard = xavi.hear().await;
            assert!(heard.starts_with(answer), "{packet}: {heard}");
        }
    });
}
