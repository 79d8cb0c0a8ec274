//! The test client's encoders and decoders, compared to recorded bytes of official clients and servers. The tests of
//! the transports rely on them.

use crate::support::client::{Heard, Kind, event};
use crate::support::http::Response;
use crate::support::kind::Generation;
use crate::support::wire::unescaped;

const TEXT: &str = "text/plain; charset=UTF-8";
const SCRIPT: &str = "text/javascript; charset=UTF-8";

fn body(content_type: &str, body: &str) -> Response {
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    Response { status: 200, headers, body: body.to_owned() }
}

#[test]
fn packets_are_packed_as_each_release_does() {
    let plain = "text/plain;charset=UTF-8";
    let form = "application/x-www-form-urlencoded";
    let doubled = "4\u{c3}\u{a9}\u{e2}\u{82}\u{ac}\u{f0}\u{9f}\u{98}\u{80}";
    let table: &[(Kind, &[&str], (&str, &str))] = &[
        (Kind::Polling, &["4a", "2"], (plain, "4a\x1e2")),
        (Kind::V2Polling, &["4hello", "4€"], (plain, "6:4hello2:4€")),
        (Kind::V2Polling, &["4😀"], (plain, "3:4😀")),
        (Kind::V2Base64, &["40/max,"], (plain, "7:40/max,")),
        (Kind::V1Polling, &["4é€😀"], (plain, &format!("10:{doubled}"))),
        (Kind::V09Polling, &["1::/max"], (plain, "1::/max")),
        (Kind::V09Polling, &["1::/max", "3:::😀"], (plain, "\u{fffd}7\u{fffd}1::/max\u{fffd}6\u{fffd}3:::😀")),
        (Kind::V2Jsonp, &["4é b"], (form, "d=4%3A4%C3%A9+b")),
        // A backslash before an n is doubled, which tells it from a line feed.
        (Kind::V2Jsonp, &[r#"4"\n""#, "4\n"], (form, "d=5%3A4%22%5C%5Cn%222%3A4%5Cn")),
        (Kind::Jsonp, &["4a", "4b"], (form, "d=4a%1E4b")),
        (Kind::V1Jsonp, &["4é"], (form, "d=3%3A4%C3%83%C2%A9")),
        (Kind::V09Jsonp, &["1::/max"], (form, "d=%221%3A%3A%2Fmax%22")),
        (Kind::V08Jsonp, &["1::/max"], (form, "d=1%3A%3A%2Fmax")),
    ];
    for (kind, packets, (content_type, body)) in table {
        assert_eq!(kind.pack(packets), (*content_type, (*body).to_owned()), "{kind:?} {packets:?}");
    }
    // A body that 1.7.4 was seen to POST.
    let (_, body) = Kind::V1Polling.pack(&[r#"42/max,["talk",{"t":"é€😀"}]"#]);
    assert!(body.starts_with("33:42/max,"), "{body}");
    assert!(body.as_bytes().windows(6).any(|bytes| bytes == b"\xc3\x83\xc2\xa9\xc3\xa2"));
}

#[test]
fn polls_are_unpacked_as_each_release_does() {
    let table: &[(Kind, &str, &str, &[&str])] = &[
        (Kind::Polling, TEXT, "4a\x1e2", &["4a", "2"]),
        (Kind::V2Polling, TEXT, "6:4hello2:4€", &["4hello", "4€"]),
        (Kind::V2Polling, TEXT, "3:4😀1:6", &["4😀", "6"]),
        (Kind::V2Jsonp, SCRIPT, r#"___eio[3]("7:40/max,");"#, &["40/max,"]),
        (Kind::Jsonp, SCRIPT, r#"___eio[3]("40/max,\u001e2");"#, &["40/max,", "2"]),
        (Kind::V09Polling, TEXT, "8::", &["8::"]),
        (Kind::V09Polling, TEXT, "\u{fffd}3\u{fffd}8::\u{fffd}7\u{fffd}1::/max", &["8::", "1::/max"]),
        (Kind::V09Jsonp, SCRIPT, r#"io.j[3]("1::");"#, &["1::"]),
        (Kind::V08Jsonp, SCRIPT, "io.j[3](\"\u{fffd}3\u{fffd}8::\u{fffd}3\u{fffd}2::\");", &["8::", "2::"]),
    ];
    for (kind, content_type, text, packets) in table {
        assert_eq!(kind.unpack(&body(content_type, text)), *packets, "{kind:?} {text:?}");
    }
}

#[test]
fn unreadable_answers_are_noticed() {
    let table: &[(Kind, &str, &str)] = &[
        (Kind::V2Polling, TEXT, "7:4hello"),
        (Kind::V2Polling, TEXT, "5:4hello"),
        (Kind::V2Polling, "application/octet-stream", "2:40"),
        (Kind::V2Jsonp, TEXT, r#"___eio[3]("2:40");"#),
        (Kind::V2Jsonp, SCRIPT, r#"___eio[0]("2:40");"#),
        (Kind::V2Jsonp, SCRIPT, "___eio[3](\"2:4\u{2028}\");"),
        (Kind::V09Polling, TEXT, "\u{fffd}4\u{fffd}8::"),
        (Kind::V09Jsonp, SCRIPT, r#"io.j[3]("1::")"#),
    ];
    for (kind, content_type, text) in table {
        let response = body(content_type, text);
        assert!(std::panic::catch_unwind(|| kind.unpack(&response)).is_err(), "{kind:?} {text:?}");
    }
    for kind in Kind::ALL.into_iter().filter(|kind| kind.generation() != Generation::Eio4) {
        let packet = if kind.generation() == Generation::Eio3 { "42/max,[\"é\",1]" } else { "5::/max:é" };
        assert!(std::panic::catch_unwind(|| kind.read(packet.to_owned())).is_err(), "{kind:?}");
    }
}

#[test]
fn a_handshake_is_read_as_each_release_does() {
    let open = r#"0{"sid":"EasjHFi5uRTmv_z-AAGa","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
    let (opened, rest) = Kind::V1Polling.handshaken(&body(TEXT, &format!("{}:{open}2:40", open.len())));
    assert_eq!((opened.sid.as_str(), opened.ping_interval().as_secs()), ("EasjHFi5uRTmv_z-AAGa", 25));
    assert_eq!(rest, ["40"]);
    assert_eq!(Kind::Polling.handshaken(&body(TEXT, open)), (opened, Vec::new()));
    let text = "XbbXy7iHHN29jnSFzU8c:60:60:websocket,xhr-polling,jsonp-polling";
    let (plain, _) = Kind::V09WebSocket.handshaken(&body(TEXT, text));
    assert_eq!(plain.sid, "XbbXy7iHHN29jnSFzU8c");
    let (script, _) = Kind::V08Jsonp.handshaken(&body("application/javascript", &format!(r#"io.j[0]("{text}");"#)));
    assert_eq!(script, plain);
}

#[test]
fn events_and_answers_are_the_same_in_every_generation() {
    let argument = r#"{"id":"\u00e9\ud83d\ude00\u2028\\n\"","n":[1.0,-0,12345678901234567890,1e400]}"#;
    let plain = "{\"id\":\"é😀\u{2028}\\\\n\\\"\",\"n\":[1.0,-0,12345678901234567890,1e400]}";
    assert_eq!(unescaped(argument), plain);
    for kind in Kind::ALL {
        let written = if kind.generation() == Generation::Eio4 { plain } else { argument };
        assert_eq!(kind.read(kind.event("update", written, None)), event("update", plain.to_owned()), "{kind:?}");
    }
    for (kind, packet) in [
        (Kind::Polling, r#"43/max,7[{"ok":true}]"#),
        (Kind::V1Polling, r#"43/max,7[{"ok":true}]"#),
        (Kind::V09Jsonp, r#"6::/max:7+[{"ok":true}]"#),
    ] {
        assert_eq!(kind.read(packet.to_owned()), Heard::Ack(7, r#"{"ok":true}"#.to_owned()));
    }
    let texts = [Kind::Polling, Kind::V1Polling, Kind::V08Jsonp].map(|kind| kind.event("ask", "", Some(5)));
    assert_eq!(texts, [r#"42/max,5["ask"]"#, r#"42/max,5["ask"]"#, r#"5:5+:/max:{"name":"ask"}"#]);
    let join = Kind::V09Polling.event("join", r#"{"username":"u0"}"#, None);
    assert_eq!(join, r#"5::/max:{"name":"join","args":[{"username":"u0"}]}"#);
}
