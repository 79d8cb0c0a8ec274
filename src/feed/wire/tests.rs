//! Tests of the reading of deliveries, with the bodies that MAX 4.0.26, MAX 5.3.26 and its worker have published.

use proptest::prelude::*;

use super::*;

fn reader(layout: Layout) -> Reader {
    Reader { layout, id_bytes_max: 64, vhost: "/".to_owned() }
}

fn delivery(exchange: &str, key: &str, body: &[u8]) -> Delivery {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let body = Some(Bytes::copy_from_slice(body));
    Delivery { exchange: bytes(exchange), key: bytes(key), headers: Some(Vec::new()), body }
}

fn event(key: &str, headers: &[(&str, &str)]) -> Delivery {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let headers = headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    Delivery { headers: Some(headers), ..delivery(EVENTS, key, b"") }
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

fn update(username: &str, conversation: &str, message: &str, timestamp: Option<&str>) -> News {
    let text = |text: &str| Scalar::Text(text.into());
    let (timestamp, message_id) = (timestamp.map(text), Some(text(message)));
    News::Update { username: user(username), talk: Talk { conversation: conversation.into(), timestamp, message_id } }
}

fn created(conversation: &str, username: Option<&str>) -> News {
    News::Created { conversation: conversation.into(), username: username.map(user) }
}

fn member_of(conversation: &str, username: &str) -> News {
    News::Member { conversation: conversation.into(), username: user(username) }
}

/// Returns a body that was captured.
fn captured(name: &str) -> &'static str {
    let lines = include_str!("captured.txt").lines();
    lines.filter_map(|line| line.split_once(' ')).find(|(other, _)| *other == name).unwrap().1
}

/// Reads a notification of MAX 5.x in the conversation `c`.
fn notified(body: &str) -> Result<News, Rejected> {
    reader(Layout::V5).read(&delivery(CONVERSATIONS, "c.notifications", body.as_bytes()))
}

#[test]
fn what_max_4_and_5_publish_is_read() {
    let [two, group, by_phone, unstored, stored] = ["pair", "group", "mobile", "unstored", "stored"].map(captured);
    let early = two.replace(r#"{"u": "v4026a", "d": "A."}"#, r#""v4026a""#);
    let first = "6b081aabf2e73fc9f0226d90";
    for (key, body, expected) in [
        (".notifications", two, Ok(created(first, Some("v4026a")))),
        ("", &early, Ok(created(first, Some("v4026a")))),
        (".notifications", group, Ok(created(first, None))),
        (
            ".notifications",
            by_phone,
            Ok(update("v5326a", first, "6b081a9591dc0cc3b71b535e", Some("2026-11-26T11:40:05Z"))),
        ),
        (".messages", unstored, Ok(News::Ignored)),
        (".notifications", unstored, Err(Rejected::MessageId)),
        (".notifications", stored, Ok(update("wb", first, "6b081f5b91dc0cc3b71b536a", Some("2026-11-26T12:00:00Z")))),
        (".other", stored, Err(Rejected::Place)),
        (".notifications.x", stored, Err(Rejected::Place)),
    ] {
        for (layout, exchange) in [(Layout::V4, CONVERSATIONS), (Layout::V5, CONVERSATIONS), (Layout::V5, "wb.publish")]
        {
            let delivery = delivery(exchange, &format!("{first}{key}"), body.as_bytes());
            assert_eq!(reader(layout).read(&delivery), expected, "{exchange} {key} {body}");
        }
    }
}

#[test]
fn what_max_3_publishes_is_read() {
    let post = r#"{"conversation": "c", "message": "hi", "username": "Messi", "messageID": "m1"}"#;
    let later = r#"{"conversation": "c", "message": "hi", "username": "messi", "displayName": "L.",
        "messageID": "m1", "server_id": "s"}"#;
    for (exchange, key, body, expected) in [
        ("c", "", post, Ok(update("messi", "c", "m1", None))),
        ("c", "", later, Ok(update("messi", "c", "m1", None))),
        ("d", "", post, Err(Rejected::Conversation)),
        ("c", "", r#"{"conversation":"c","messageID":"m1"}"#, Err(Rejected::Username)),
        ("c", "", r#"{"conversation":"c","username":"messi"}"#, Err(Rejected::MessageId)),
        (NEW, "xavi", r#"{"conversation": "c"}"#, Ok(member_of("c", "xavi"))),
        (NEW, "", r#"{"conversation": "c"}"#, Err(Rejected::Username)),
        (NEW, "xavi", r#"{"conversation": ""}"#, Err(Rejected::Conversation)),
        (NEW, "xavi", "{}", Err(Rejected::Conversation)),
    ] {
        assert_eq!(reader(Layout::V3).read(&delivery(exchange, key, body.as_bytes())), expected, "{exchange} {body}");
    }
    assert_eq!(reader(Layout::V5).read(&delivery("c", "", post.as_bytes())), Err(Rejected::Place));
}

#[test]
fn bindings_of_users_are_memberships() {
    let binding = |source, destination, key| {
        [("source_name", source), ("destination_name", destination), ("routing_key", key), ("vhost", "/")]
    };
    let of_user = binding("conversations", "Messi.subscribe", "c.*");
    for key in BINDING_EVENTS {
        assert_eq!(reader(Layout::V5).read(&event(key, &of_user)), Ok(member_of("c", "messi")));
        assert_eq!(reader(Layout::V5).read(&event(key, &of_user[..3])), Ok(member_of("c", "messi")));
    }
    for (key, headers) in [
        ("exchange.created", of_user),
        ("binding.created", binding("messi.publish", "conversations", "c.*")),
        ("binding.created", binding("messi.publish", "messi.subscribe", "internal")),
        ("binding.created", binding("activity", "messi.subscribe", "c.*")),
        ("binding.created", binding("conversations", "amq.gen-1", "*.notifications")),
        ("binding.created", binding("conversations", "messi.subscribe", "a.b.*")),
    ] {
        assert_eq!(reader(Layout::V5).read(&event(key, &headers)), Ok(News::Ignored), "{headers:?}");
    }
    let elsewhere = [&of_user[..3], &[("vhost", "other")]].concat();
    assert_eq!(reader(Layout::V5).read(&event("binding.created", &elsewhere)), Ok(News::Ignored));
    for (headers, expected) in [
        (binding("conversations", ".subscribe", "c.*"), Rejected::Username),
        (binding("conversations", "messi.subscribe", ".*"), Rejected::Place),
    ] {
        assert_eq!(reader(Layout::V5).read(&event("binding.created", &headers)), Err(expected));
    }
    let unreadable = Delivery { headers: None, ..event("binding.created", &[]) };
    assert_eq!(reader(Layout::V5).read(&unreadable), Err(Rejected::Headers));
}

#[test]
fn hostile_bodies_are_refused() {
    let long = "x".repeat(65);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, reason) in [
        ("", Rejected::Json),
        ("null", Rejected::Json),
        (r#"["k","m",{"id":"1"},"messi"]"#, Rejected::Json),
        (r#"{"a":"k","o":"m","d":{"id":"1"},"u":"me"#, Rejected::Json),
        (r#"{"a":"k","a":"k","o":"m"}"#, Rejected::Json),
        (&deep, Rejected::Json),
        (r#"{"a":"k","o":"m","d":{"id":""},"u":"messi"}"#, Rejected::MessageId),
        (r#"{"a":"k","o":"m","d":{"id":null},"u":"messi"}"#, Rejected::MessageId),
        (r#"{"a":"k","o":"m","d":{"id":{}},"u":"messi"}"#, Rejected::MessageId),
        (r#"{"a":"k","o":"m","d":["1"],"u":"messi"}"#, Rejected::MessageId),
        (r#"{"a":"k","o":"m","u":"messi"}"#, Rejected::MessageId),
        (&format!(r#"{{"a":"k","o":"m","d":{{"id":"{long}"}},"u":"messi"}}"#), Rejected::MessageId),
        (r#"{"a":"k","o":"m","d":{"id":"1"}}"#, Rejected::Username),
        (r#"{"a":"k","o":"m","d":{"id":"1"},"u":{"d":"L."}}"#, Rejected::Username),
        (r#"{"a":"k","o":"m","d":{"id":"1"},"u":{"u":" "}}"#, Rejected::Username),
        (r#"{"a":"k","o":"m","d":{"id":"1"},"u":"messi","p":[]}"#, Rejected::Timestamp),
    ] {
        assert_eq!(notified(body), Err(reason), "{body:.80}");
    }
    // What is not read does not matter.
    let wide = format!(r#"{{"a":"k","o":"m","d":{{"id":7,"text":{deep}}},"u":"messi","x":{deep}}}"#);
    let talk = Talk { conversation: "c".into(), timestamp: None, message_id: Some(Scalar::Literal("7".into())) };
    assert_eq!(notified(&wide), Ok(News::Update { username: user("messi"), talk }));
    for body in [r#"{"a":"d","o":"m"}"#, r#"{"a":"m","o":"c"}"#, r#"{"a":7,"o":{}}"#, "{}"] {
        assert_eq!(notified(body), Ok(News::Ignored), "{body}");
    }
}

#[test]
fn places_that_are_none_of_max_are_refused() {
    let read = |exchange: &[u8], key: &[u8]| {
        let (exchange, key) = (Bytes::copy_from_slice(exchange), Bytes::copy_from_slice(key));
        reader(Layout::V5).read(&Delivery { exchange, key, ..delivery("", "", b"{}") })
    };
    let long = format!("{}.notifications", "x".repeat(65));
    for (exchange, key) in [
        (&b"conversations"[..], &b"\xff.notifications"[..]),
        (b"\xff", b"c.notifications"),
        (b"conversations", b".notifications"),
        (b"conversations", b""),
        (b"conversations", long.as_bytes()),
    ] {
        assert_eq!(read(exchange, key), Err(Rejected::Place), "{key:?}");
    }
    let too_long = Delivery { body: None, ..delivery(CONVERSATIONS, "c.notifications", b"") };
    assert_eq!(reader(Layout::V5).read(&too_long), Err(Rejected::TooLong));
}

/// maxcarrot takes line ends inside strings, so clients of MAX have sent them.
#[test]
fn raw_line_ends_in_strings_are_taken() {
    let body = "{\"a\":\"k\",\n\"o\":\"m\",\"d\":{\"text\":\"one\r\ntwo\t\",\"id\":\"1\"},\"u\":\"messi\"}";
    assert_eq!(notified(body), Ok(update("messi", "c", "1", None)));
}

proptest! {
    #[test]
    fn random_deliveries_are_read_or_refused(
        layout in prop_oneof![Just(Layout::V3), Just(Layout::V4), Just(Layout::V5)],
        exchange in proptest::sample::select(vec![CONVERSATIONS, NEW, EVENTS, "c"]),
        key in prop_oneof![
            Just(b"c.notifications".to_vec()),
            Just(b"binding.created".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ],
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\{("[akomud]{1,2}":("[kmac]"|\{"(id|message_id|u)":("x"|1)\}|null|\[\]),?){0,6}\}?"#
                .prop_map(String::into_bytes),
        ],
        headers in proptest::collection::vec(
            ("(source_name|destination_name|routing_key|vhost)", ".{0,12}(\\.subscribe|\\.\\*)?"), 0..5),
    ) {
        let bytes = |text: String| Bytes::from(text.into_bytes());
        let headers = headers.into_iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        let delivery = Delivery {
            exchange: Bytes::from(exchange),
            key: key.into(),
            headers: Some(headers),
            body: Some(body.into()),
        };
        if let Ok(News::Update { talk, .. }) = reader(layout).read(&delivery) {
            prop_assert!(talk.message_id.is_some());
            prop_assert!(talk.conversation.as_str().len() <= 64);
        }
    }
}
