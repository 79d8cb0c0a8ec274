//! What a node writes, to the byte.

use maxtalk::testing::cluster::{
    Content, Dialect, Ignored, Message, NodeMessage, Presence, Reading, Users, Wire, WireSettings,
};
use maxtalk::testing::config::message_bytes_min;
use maxtalk::testing::event::{Scalar, Talk};

use super::{
    CHANNEL, NODES, ROOM, id, messages, node, presence, reader, settings, told, update, username, usual_update, writer,
};

use Dialect::{Classic, Sharded};

/// The beginning of what this node writes in MessagePack.
const UID: &[u8] = b"\x93\xafmt:abcdefghijkl";

/// The end of a packet, and the options up to the mark.
const OPTIONS: &[u8] =
    b"\xa3nsp\xa4/max\x84\xa5rooms\x91\xb8519b00000000000000000000\xa6except\x90\xa5flags\x80\xa7maxtalk";

/// The packet of an internal message, and its options up to the mark.
const INTERNAL: &[u8] = b"\x81\xa3nsp\xa1!\x81\xa7maxtalk";

fn classic(message: &Message) -> Vec<u8> {
    writer(Classic).write(&id(ROOM), message)
}

fn sharded(message: &Message) -> String {
    String::from_utf8(writer(Sharded).write(&id(ROOM), message)).unwrap()
}

fn literal(text: &str) -> Option<Scalar> {
    Some(Scalar::Literal(text.into()))
}

#[test]
fn an_update_has_the_bytes_of_an_emit() {
    let packet =
        b"\x83\xa4type\x02\xa4data\x92\xa6update\x84\xa8username\xa5messi\xacconversation\xb8519b00000000000000000000\
        \xa9timestamp\xcf\x00\x00\x01\x93\x67\x01\xee\x00\xa9messageID\xb8519b00000000000000000001";
    let mark = b"\x83\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39";
    let bytes = classic(&usual_update());
    assert_eq!(bytes.escape_ascii().to_string(), [UID, packet, OPTIONS, mark].concat().escape_ascii().to_string());
    assert_eq!(bytes.len(), 234);
    assert_eq!(
        sharded(&usual_update()),
        concat!(
            r#"{"type":3,"data":{"packet":{"type":2,"data":["update",{"username":"messi","#,
            r#""conversation":"519b00000000000000000000","timestamp":1732600000000,"#,
            r#""messageID":"519b00000000000000000001"}]},"#,
            r#""opts":{"rooms":["519b00000000000000000000"],"except":[],"flags":{}}},"#,
            r#""uid":"mt:abcdefghijkl","nsp":"/max","maxtalk":{"n":"abcdefghijkl","l":7,"s":12345}}"#,
        )
    );
}

#[test]
fn an_update_that_its_author_does_not_hear_says_so_in_its_mark() {
    let Content::Update { username, talk, except, .. } = usual_update().content else { panic!("no update") };
    let content = Content::Update { username, talk, except, except_self: true };
    let message = Message { content, ..usual_update() };
    let mark = b"\xa7maxtalk\x84\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1x\xc3";
    assert!(classic(&message).ends_with(mark));
    assert!(sharded(&message).ends_with(r#""maxtalk":{"n":"abcdefghijkl","l":7,"s":12345,"x":true}}"#));
}

#[test]
fn joined_and_left_are_events_with_a_kind() {
    type Kind = fn(bool) -> Presence;
    let come: Kind = |public| Presence::Come { username: username("xavi"), public };
    let go: Kind = |public| Presence::Go { username: username("xavi"), public };
    for (name, kind, of) in [("\u{6}joined", '+', come), ("\u{4}left", '-', go)] {
        let name = &name[1..];
        let packet = [
            b"\x83\xa4type\x02\xa4data\x92",
            &*[&[0xa0 | name.len() as u8], name.as_bytes()].concat(),
            b"\x82\xacconversation\xb8519b00000000000000000000\xa8username\xa4xavi",
        ];
        let mark = [&b"\x84\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1k\xa1"[..], &[kind as u8]].concat();
        let public = classic(&presence(of(true)));
        let expected = [UID, &packet.concat(), OPTIONS, &mark].concat();
        assert_eq!(public.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(
            sharded(&presence(of(true))),
            [
                format!(r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["{name}","#),
                format!(r#"{{"conversation":"{ROOM}","username":"xavi"}}]}},"#),
                format!(r#""opts":{{"rooms":["{ROOM}"],"except":[],"flags":{{}}}}}},"uid":"mt:abcdefghijkl","#),
                format!(r#""nsp":"/max","maxtalk":{{"n":"abcdefghijkl","l":7,"s":12345,"k":"{kind}"}}}}"#),
            ]
            .concat()
        );

        let mark =
            [&b"\x85\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1k\xa1"[..], &[kind as u8], b"\xa1u\xa4xavi"];
        let internal = classic(&presence(of(false)));
        let expected = [UID, INTERNAL, &mark.concat()].concat();
        assert_eq!(internal.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn internal_messages_are_of_another_namespace() {
    let table: [(Presence, &[u8], &str); 6] = [
        (
            Presence::State { users: Users::Names(vec![username("messi"), username("xavi")]), asks: true },
            b"\x86\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1k\xa5state\xa1u\x92\xa5messi\xa4xavi\xa3ask\xc3",
            r#""l":7,"s":12345,"k":"state","u":["messi","xavi"],"ask":true"#,
        ),
        (
            Presence::State { users: Users::Names(Vec::new()), asks: false },
            b"\x86\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1k\xa5state\xa1u\x90\xa3ask\xc2",
            r#""l":7,"s":12345,"k":"state","u":[],"ask":false"#,
        ),
        (
            Presence::State { users: Users::Count(300), asks: false },
            b"\x86\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1c\xcd\x01\x2c\xa1k\xa5state\xa3ask\xc2",
            r#""l":7,"s":12345,"k":"state","c":300,"ask":false"#,
        ),
        (
            Presence::Gone,
            b"\x84\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1k\xa4gone",
            r#""l":7,"s":12345,"k":"gone""#,
        ),
        (
            Presence::Ask { to: node("mnopqrstuvwx") },
            b"\x84\xa1n\xacabcdefghijkl\xa1l\x07\xa1k\xa3ask\xa2to\xacmnopqrstuvwx",
            r#""l":7,"k":"ask","to":"mnopqrstuvwx""#,
        ),
        (
            Presence::Come { username: username("é\"x"), public: false },
            b"\x85\xa1n\xacabcdefghijkl\xa1l\x07\xa1s\xcd\x30\x39\xa1k\xa1+\xa1u\xa4\xc3\xa9\"x",
            r#""l":7,"s":12345,"k":"+","u":"é\"x""#,
        ),
    ];
    for (what, mark, json) in table {
        let bytes = classic(&presence(what.clone()));
        let expected = [UID, INTERNAL, mark].concat();
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let expected = format!(r#"{{"uid":"mt:abcdefghijkl","nsp":"!","maxtalk":{{"n":"abcdefghijkl",{json}}}}}"#);
        assert_eq!(sharded(&presence(what)), expected);
    }
}

#[test]
fn numbers_are_integers_or_doubles_with_their_digits() {
    let table: [(&str, &[u8], Option<&str>); 14] = [
        ("0", b"\x00", None),
        ("127", b"\x7f", None),
        ("1732600000000", b"\xcf\x00\x00\x01\x93\x67\x01\xee\x00", None),
        ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ("-1", b"\xff", None),
        ("-9223372036854775808", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", None),
        ("true", b"\xc3", None),
        ("false", b"\xc2", None),
        ("null", b"\xc0", None),
        ("1.50", b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", Some("1.50")),
        ("1e3", b"\xcb\x40\x8f\x40\x00\x00\x00\x00\x00", Some("1e3")),
        ("-0", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", Some("-0")),
        ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00", Some("18446744073709551616")),
        ("1e999", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", Some("1e999")),
    ];
    for (number, encoded, digits) in table {
        let written = update(None, literal(number), None);
        let bytes = classic(&written);
        let value = [b"\xa9timestamp", encoded, b"\xa3nsp"].concat();
        assert!(bytes.windows(value.len()).any(|window| window == value), "{number}: {}", bytes.escape_ascii());
        let mark = match digits {
            Some(digits) => format!("\\x82\\xa1n\\xacabcdefghijkl\\xa1t\\x{:02x}{digits}", 0xa0 | digits.len()),
            None => "\\x81\\xa1n\\xacabcdefghijkl".into(),
        };
        assert!(bytes.escape_ascii().to_string().ends_with(&mark), "{number}: {}", bytes.escape_ascii());
        // JSON has the digits in the event.
        assert!(sharded(&written).contains(&format!(r#""timestamp":{number}}}"#)), "{}", sharded(&written));
        for dialect in [Classic, Sharded] {
            for written in [&written, &update(None, None, literal(number))] {
                let reading = reader(dialect).read(CHANNEL, &writer(dialect).write(&id(ROOM), written));
                assert_eq!(reading, Reading::Messages(vec![(id(ROOM), written.clone())]), "{number}");
            }
        }
    }
}

#[test]
fn all_messages_come_back_and_their_writer_ignores_them() {
    for dialect in [Classic, Sharded] {
        for message in messages() {
            let bytes = writer(dialect).write(&id(ROOM), &message);
            let read = Reading::Messages(vec![(id(ROOM), message)]);
            assert_eq!(reader(dialect).read(CHANNEL, &bytes), read);
            assert_eq!(writer(dialect).read(CHANNEL, &bytes), Reading::Ignored(Ignored::Own));
        }
    }
}

#[test]
fn names_that_do_not_fit_are_counted() {
    let names = vec![username("messi"); 100];
    let state = |users| presence(Presence::State { users, asks: true });
    for dialect in [Classic, Sharded] {
        let bytes_max = writer(dialect).write(&id(ROOM), &state(Users::Names(names.clone()))).len();
        let wire =
            |message_bytes_max| Wire::new(WireSettings { message_bytes_max, ..settings(dialect, "abcdefghijkl") });
        let read = |bytes: &[u8]| match reader(dialect).read(CHANNEL, bytes) {
            Reading::Messages(messages) => messages.into_iter().next().unwrap().1,
            other => panic!("{other:?}"),
        };
        let bytes = wire(bytes_max).write(&id(ROOM), &state(Users::Names(names.clone())));
        assert_eq!(read(&bytes), state(Users::Names(names.clone())));
        let bytes = wire(bytes_max - 1).write(&id(ROOM), &state(Users::Names(names.clone())));
        assert_eq!(read(&bytes), state(Users::Count(100)));
    }
}

#[test]
fn the_longest_update_fits() {
    for id_bytes_max in [1, 256, 1024] {
        let bytes_min = message_bytes_min(id_bytes_max);
        // In JSON a control character takes six bytes.
        let long = "\u{1}".repeat(id_bytes_max);
        let digits = Some(Scalar::Literal(format!("0.{}", "1".repeat(id_bytes_max.max(3) - 2)).into()));
        let text = Some(Scalar::Text(long.as_str().into()));
        for (timestamp, message_id) in [(digits.clone(), digits), (text.clone(), text)] {
            let talk = Talk { conversation: id(&long), timestamp, message_id };
            // The most sockets that a back end may leave out, in characters that JSON escapes.
            let except = vec!["\"".repeat(64).into(); 32];
            let update = Content::Update { username: username(&"\"".repeat(256)), talk, except, except_self: true };
            for dialect in [Classic, Sharded] {
                let bytes = writer(dialect)
                    .write(&id(&long), &Message { stamp: super::stamp(Some(1)), content: update.clone() });
                assert!(bytes.len() <= bytes_min, "{} of {bytes_min}", bytes.len());
            }
        }
    }
}

#[test]
fn messages_about_nodes_are_json() {
    let heartbeat = NodeMessage::Heartbeat {
        node: node("abcdefghijkl"),
        name: "a \"é\"".into(),
        version: "1.0.0".into(),
        tag: "k3f9".into(),
        sessions: 3,
        conversations: u64::MAX,
        sent_ms: 1_732_600_000_000,
    };
    let table = [
        (
            heartbeat,
            concat!(
                r#"{"k":"heartbeat","n":"abcdefghijkl","name":"a \"é\"","version":"1.0.0","tag":"k3f9","#,
                r#""sessions":3,"conversations":18446744073709551615,"sent_ms":1732600000000}"#,
            ),
        ),
        (
            NodeMessage::Bye { node: node("abcdefghijkl"), grace_ms: 10_000, flushed: false },
            r#"{"k":"bye","n":"abcdefghijkl","grace_ms":10000}"#,
        ),
        (
            NodeMessage::Bye { node: node("abcdefghijkl"), grace_ms: 10_000, flushed: true },
            r#"{"k":"bye","n":"abcdefghijkl","grace_ms":10000,"flushed":true}"#,
        ),
        (NodeMessage::Holes { node: node("abcdefghijkl") }, r#"{"k":"holes","n":"abcdefghijkl"}"#),
    ];
    for (message, json) in table {
        for dialect in [Classic, Sharded] {
            let bytes = writer(dialect).write_node(&message);
            assert_eq!(String::from_utf8_lossy(&bytes), json);
            assert_eq!(reader(dialect).read(NODES, &bytes), Reading::Node(message.clone()));
            // A node measures by its own heartbeats how long a message takes.
            assert_eq!(writer(dialect).read(NODES, &bytes), Reading::Node(message.clone()));
            assert_eq!(told(&reader(dialect).read(NODES, &bytes[..bytes.len() - 1])), "rejected syntax");
        }
    }
}
