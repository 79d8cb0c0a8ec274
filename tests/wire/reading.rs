//! What a node makes of the messages of others.

use maxtalk::testing::cluster::Dialect;
use serde_json::{Value, json};

use super::foreign::{pack, raw};
use super::{CHANNEL, NAMESPACE, NODES, ROOM, bytes_of, events, reader, told, with};

use Dialect::{Classic, Sharded};

/// What is read of the plain emit.
const PLAIN: &str = "519b00000000000000000000: messi - -";

fn argument() -> Value {
    json!({ "username": "messi" })
}

fn packet() -> Value {
    json!({ "type": 2, "data": ["update", argument()], "nsp": "/max" })
}

fn options() -> Value {
    json!({ "rooms": [ROOM], "except": [], "flags": {} })
}

/// Changes one member of an object. `None` takes it out.
fn set(mut object: Value, key: &str, value: impl Into<Option<Value>>) -> Value {
    let members = object.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(key.into(), value),
        None => members.remove(key),
    };
    object
}

fn emit(packet: Value, options: Value) -> Value {
    json!(["uid", packet, options])
}

fn of_data(data: Value) -> Value {
    emit(set(packet(), "data", data), options())
}

fn of_argument(argument: Value) -> Value {
    of_data(json!(["update", argument]))
}

/// Emits of the classic adapter, and what is read of them on the channel of the conversation.
#[test]
fn emits_are_read_as_node_reads_them() {
    let two = || set(options(), "rooms", json!([ROOM, "b", ROOM]));
    let table: Vec<(&str, Value, &str)> = vec![
        ("plain", emit(packet(), options()), PLAIN),
        ("uid nil", json!([null, packet(), options()]), PLAIN),
        ("uid integer", json!([5, packet(), options()]), PLAIN),
        ("a fourth element", json!(["uid", packet(), options(), 1]), PLAIN),
        ("more in the options", emit(packet(), set(options(), "x", json!({"y": [1]}))), PLAIN),
        ("more in the packet", emit(set(packet(), "id", json!(3)), options()), PLAIN),
        ("more arguments", of_data(json!(["update", argument(), 5])), PLAIN),
        ("more in the argument", of_argument(set(argument(), "displayName", json!({"x": [null]}))), PLAIN),
        ("flags", emit(packet(), set(options(), "flags", json!({"volatile": true, "x": 1}))), PLAIN),
        ("no flags", emit(packet(), set(options(), "flags", None)), PLAIN),
        ("no except", emit(packet(), set(options(), "except", None)), PLAIN),
        ("except nil", emit(packet(), set(options(), "except", Value::Null)), PLAIN),
        (
            "except",
            emit(packet(), set(options(), "except", json!(["a", 5]))),
            "519b00000000000000000000: messi - - except a 5",
        ),
        ("except a text", emit(packet(), set(options(), "except", json!("a"))), "rejected options"),
        ("another room than the channel's", emit(packet(), set(options(), "rooms", json!(["b"]))), "b: messi - -"),
        ("a room named by a number", emit(packet(), set(options(), "rooms", json!([5]))), "5: messi - -"),
        ("a room without a name", emit(packet(), set(options(), "rooms", json!([""]))), ": messi - -"),
        ("two rooms", emit(packet(), two()), "519b00000000000000000000: messi - -; b: messi - -"),
        (
            "two rooms, one of them named",
            emit(set(packet(), "data", json!(["update", set(argument(), "conversation", json!("b"))])), two()),
            "b: messi - -",
        ),
        ("a room that is too long", emit(packet(), set(options(), "rooms", json!(["x".repeat(257), ROOM]))), PLAIN),
        ("only such", emit(packet(), set(options(), "rooms", json!(["x".repeat(257)]))), "rejected rooms"),
        ("a room that is none", emit(packet(), set(options(), "rooms", json!([ROOM, null]))), "rejected rooms"),
        ("rooms a text", emit(packet(), set(options(), "rooms", json!(ROOM))), "rejected rooms"),
        ("rooms missing", emit(packet(), set(options(), "rooms", None)), "ignored everybody"),
        ("rooms empty", emit(packet(), set(options(), "rooms", json!([]))), "ignored everybody"),
        ("rooms nil", emit(packet(), set(options(), "rooms", Value::Null)), "ignored everybody"),
        ("the old emitter for Python", emit(packet(), json!({"rooms": "", "flags": ""})), "ignored everybody"),
        ("another event", of_data(json!(["news", argument()])), "ignored event"),
        ("joined of somebody else", of_data(json!(["joined", argument()])), "ignored event"),
        ("left of somebody else", of_data(json!(["left", argument()])), "ignored event"),
        ("another namespace", emit(set(packet(), "nsp", json!("/x")), options()), "ignored namespace"),
        ("no namespace", emit(set(packet(), "nsp", None), options()), "ignored namespace"),
        ("a namespace that is no text", emit(set(packet(), "nsp", json!(5)), options()), "ignored namespace"),
        ("another namespace and nothing else", json!(["uid", {"nsp": "/x"}]), "ignored namespace"),
        ("a namespace of the internal name", emit(set(packet(), "nsp", json!("!")), options()), "ignored namespace"),
        ("packet nil", json!(["uid", null, options()]), "ignored namespace"),
        ("one element", json!(["uid"]), "ignored namespace"),
        ("no element", json!([]), "rejected envelope"),
        ("options missing", json!(["uid", packet()]), "rejected options"),
        ("options nil", emit(packet(), Value::Null), "rejected options"),
        ("options a text", emit(packet(), json!("")), "rejected options"),
        ("a map", json!({"a": 1}), "rejected envelope"),
        ("a text", json!("a"), "rejected envelope"),
        ("the packet a text", emit(json!("a"), options()), "rejected packet"),
        ("type 5", emit(set(packet(), "type", json!(5)), options()), "rejected packet"),
        ("type 99", emit(set(packet(), "type", json!(99)), options()), "rejected packet"),
        ("type missing", emit(set(packet(), "type", None), options()), "rejected packet"),
        ("type a text", emit(set(packet(), "type", json!("2")), options()), "rejected packet"),
        ("data missing", emit(set(packet(), "data", None), options()), "rejected packet"),
        ("data a map", of_data(json!({})), "rejected packet"),
        ("data empty", of_data(json!([])), "rejected packet"),
        ("a name that is no text", of_data(json!([5, argument()])), "rejected packet"),
        ("no argument", of_data(json!(["update"])), "rejected argument"),
        ("a text as argument", of_argument(json!("a")), "rejected argument"),
        ("an array as argument", of_argument(json!([ROOM])), "rejected argument"),
        ("no username", of_argument(json!({})), "rejected username"),
        ("an empty username", of_argument(json!({"username": ""})), "rejected username"),
        ("a username that is none", of_argument(json!({"username": 5})), "rejected username"),
        ("a username with a line break", of_argument(json!({"username": "a\nb"})), "rejected username"),
        ("a username in capitals", of_argument(json!({"username": "MESSI"})), PLAIN),
        ("the conversation", of_argument(set(argument(), "conversation", json!(ROOM))), PLAIN),
        ("another conversation", of_argument(set(argument(), "conversation", json!("b"))), "rejected conversation"),
        ("conversation null", of_argument(set(argument(), "conversation", Value::Null)), "rejected conversation"),
        ("conversation a number", of_argument(set(argument(), "conversation", json!(5))), "rejected conversation"),
    ];
    let wire = reader(Classic);
    for (what, message, expected) in &table {
        assert_eq!(told(&wire.read(CHANNEL, &pack(message))), *expected, "{what}");
        // Where an emit goes is decided by its rooms, not by its channel.
        assert_eq!(told(&wire.read(NAMESPACE, &pack(message))), *expected, "{what}");
    }
}

#[test]
fn values_are_read_as_javascript_writes_them() {
    let table: Vec<(Value, &str)> = vec![
        (json!(null), "null"),
        (json!(true), "true"),
        (json!(false), "false"),
        (json!(0), "0"),
        (json!(-1), "-1"),
        (json!(1_732_600_000_000_u64), "1732600000000"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(i64::MIN), "-9223372036854775808"),
        (raw(b"\xd0\x05"), "5"),
        (raw(b"\xd1\xff\xfe"), "-2"),
        (raw(b"\xd2\x80\x00\x00\x00"), "-2147483648"),
        (raw(b"\xcc\xff"), "255"),
        (raw(b"\xce\xff\xff\xff\xff"), "4294967295"),
        (json!(1.5), "1.5"),
        (raw(b"\xca\x3f\xc0\x00\x00"), "1.5"),
        (json!(1.0), "1"),
        (json!(-0.0), "0"),
        (json!(1e20), "100000000000000000000"),
        (json!(1e21), "1e21"),
        (json!(0.000_001), "0.000001"),
        (json!(1e-7), "1e-7"),
        (raw(b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), "null"),
        (raw(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), "null"),
        (json!("a\"é😀"), r#""a\"é😀""#),
        (json!(""), r#""""#),
        (raw(b"\xd9\x01a"), r#""a""#),
        (raw(b"\xda\x00\x01a"), r#""a""#),
        (raw(b"\xdb\x00\x00\x00\x01a"), r#""a""#),
        // A lone surrogate, as the encoder of Node writes it.
        (raw(b"\xa4\xf0\x90\x80\x80"), "\"\u{10000}\""),
        // Dates of adapter 8, and of MessagePack's other lengths.
        (raw(b"\xd6\xff\x00\x00\x00\x00"), r#""1970-01-01T00:00:00.000Z""#),
        (raw(b"\xd7\xff\x00\x00\x00\x00\x67\x45\x63\x80"), r#""2024-11-26T05:58:24.000Z""#),
        (raw(b"\xd7\xff\x77\x35\x94\x00\x67\x45\x63\x80"), r#""2024-11-26T05:58:24.500Z""#),
        (raw(b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), r#""1969-12-31T23:59:59.000Z""#),
        (raw(b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), "rejected value"),
        // A date of adapters 5 to 7.
        (raw(b"\xd7\x00\x00\x00\x01\x93\x67\x01\xee\x01"), r#""2024-11-26T05:46:40.001Z""#),
        (raw(b"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff"), r#""1969-12-31T23:59:59.999Z""#),
        (raw(b"\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), "rejected value"),
        // Undefined.
        (raw(b"\xd4\x00\x00"), "-"),
        (raw(b"\xd4\x00\x01"), "-"),
        (raw(b"\xc4\x01a"), "rejected binary"),
        (raw(b"\xc5\x00\x01a"), "rejected binary"),
        (raw(b"\xc6\x00\x00\x00\x01a"), "rejected binary"),
        (raw(b"\xd4\x05\x00"), "rejected value"),
        (raw(b"\xd5\x00\x00\x00"), "rejected value"),
        (raw(b"\xd8\xff0123456789abcdef"), "rejected value"),
        (raw(b"\xc8\x00\x01\x05x"), "rejected value"),
        (raw(b"\xc9\x00\x00\x00\x01\x05x"), "rejected value"),
        (json!([1]), "rejected value"),
        (json!({"a": 1}), "rejected value"),
        (raw(b"\xa1\xff"), "rejected text"),
        (raw(b"\xc1"), "rejected syntax"),
    ];
    let wire = reader(Classic);
    for (value, expected) in &table {
        let is_read = !expected.starts_with("rejected");
        let timestamp = pack(&of_argument(set(argument(), "timestamp", value.clone())));
        let read = if is_read { format!("{ROOM}: messi {expected} -") } else { (*expected).into() };
        assert_eq!(told(&wire.read(CHANNEL, &timestamp)), read);
        let message_id = pack(&of_argument(set(argument(), "messageID", value.clone())));
        let read = if is_read { format!("{ROOM}: messi - {expected}") } else { (*expected).into() };
        assert_eq!(told(&wire.read(CHANNEL, &message_id)), read);
    }
    let long =
        |len: usize| wire.read(CHANNEL, &pack(&of_argument(set(argument(), "messageID", json!("x".repeat(len))))));
    assert!(told(&long(256)).starts_with(PLAIN.trim_end_matches(" -")));
    assert_eq!(told(&long(257)), "rejected value");
}

#[test]
fn only_the_encoding_of_the_dialect_is_read() {
    let table: [(&[u8], &str); 8] = [
        (b"", "rejected syntax"),
        (b"\xc1", "rejected syntax"),
        (b"\x93\xa3uid", "rejected syntax"),
        (b"[\"uid\",{},{}]", "rejected syntax"),
        (b"\x90\x90", "rejected syntax"),
        (b"\xdd\xff\xff\xff\xff", "rejected syntax"),
        (b"\xdf\xff\xff\xff\xff", "rejected syntax"),
        (b"\xdb\xff\xff\xff\xffabc", "rejected syntax"),
    ];
    for (bytes, expected) in table {
        assert_eq!(told(&reader(Classic).read(CHANNEL, bytes)), expected, "{}", bytes.escape_ascii());
    }
    let longest = pack(&of_argument(set(argument(), "x", json!("x".repeat(1000)))));
    let limited = |bytes| with(Classic, |settings| settings.message_bytes_max = bytes);
    assert_eq!(told(&limited(longest.len()).read(CHANNEL, &longest)), PLAIN);
    assert_eq!(told(&limited(longest.len() - 1).read(CHANNEL, &longest)), "rejected too_large");
    assert_eq!(told(&reader(Classic).read(b"socket.io-request#/max#", &longest)), "rejected channel");
    assert_eq!(told(&reader(Classic).read(b"socket.io#/max#\xff#", &longest)), "rejected channel");
}

#[test]
fn an_emit_to_all_is_read_if_the_settings_say_so() {
    let wire = with(Classic, |settings| settings.namespace_wide = true);
    let all =
        |argument| emit(set(packet(), "data", json!(["update", argument])), json!({"rooms": [], "except": ["a"]}));
    let read = |argument| told(&wire.read(NAMESPACE, &pack(&all(argument))));
    assert_eq!(read(json!({"username": "messi", "messageID": 5})), "everybody -: messi - 5 except a");
    assert_eq!(read(json!({"username": "messi", "conversation": "b"})), "everybody b: messi - - except a");
    assert_eq!(read(json!({})), "rejected username");
    assert_eq!(read(json!({"username": "messi", "conversation": 5})), "rejected conversation");
    let marked = set(options(), "maxtalk", json!({"n": "abcdefghijkl"}));
    let marked = emit(packet(), set(marked, "rooms", None));
    assert_eq!(told(&wire.read(NAMESPACE, &pack(&marked))), "rejected rooms");
}

#[test]
fn the_settings_say_which_events_are_updates() {
    let wire = with(Classic, |settings| settings.events = events(&["news", "joined"]));
    let read = |name, mark: Option<Value>| {
        let packet = set(packet(), "data", json!([name, argument()]));
        told(&wire.read(CHANNEL, &pack(&emit(packet, set(options(), "maxtalk", mark)))))
    };
    assert_eq!(read("news", None), PLAIN);
    assert_eq!(read("joined", None), PLAIN);
    assert_eq!(read("update", None), "ignored event");
    // The updates of nodes of maxtalk are always read.
    let mark = || Some(json!({"n": "abcdefghijkl", "l": 1, "s": 2}));
    assert_eq!(read("update", mark()), format!("{ROOM}: abcdefghijkl 1 2 messi - -"));
    assert_eq!(read("news", mark()), format!("{ROOM}: abcdefghijkl 1 2 messi - -"));
    assert_eq!(read("left", mark()), "ignored event");
}

/// An update that its author shall not hear is better heard than refused.
#[test]
fn the_exception_of_the_author_is_read_leniently() {
    let wire = with(Classic, |_| {});
    for (value, itself) in [(json!(true), " except itself"), (json!(false), ""), (json!(1), ""), (Value::Null, "")] {
        let mark = json!({"n": "abcdefghijkl", "l": 1, "s": 2, "x": value});
        let read = told(&wire.read(CHANNEL, &pack(&emit(packet(), set(options(), "maxtalk", mark)))));
        assert_eq!(read, format!("{ROOM}: abcdefghijkl 1 2 messi - -{itself}"));
    }
}

#[test]
fn marks_are_read_strictly() {
    let internal = |mark: Value| json!(["mt:abcdefghijkl", {"nsp": "!"}, {"maxtalk": mark}]);
    let public = |mark: Value| emit(packet(), set(options(), "maxtalk", mark));
    let of = |mark: Value| {
        let mut mark = mark;
        mark.as_object_mut().unwrap().insert("n".into(), json!("abcdefghijkl"));
        mark
    };
    let table: Vec<(Value, &str)> = vec![
        (public(of(json!({"l": 1, "s": 2}))), "519b00000000000000000000: abcdefghijkl 1 2 messi - -"),
        (public(of(json!({}))), PLAIN),
        (public(of(json!({"l": 1, "s": 2, "x": {}}))), "519b00000000000000000000: abcdefghijkl 1 2 messi - -"),
        (public(of(json!({"l": 1}))), "519b00000000000000000000: abcdefghijkl 1 - messi - -"),
        (public(of(json!({"s": 1}))), "rejected mark"),
        (public(of(json!({"l": 1, "s": 0}))), "rejected mark"),
        (public(of(json!({"l": 1, "s": -1}))), "rejected mark"),
        (public(of(json!({"l": "1", "s": 2}))), "rejected mark"),
        (public(json!({"l": 1, "s": 2})), "rejected mark"),
        (public(json!({"n": "ABCDEFGHIJKL", "l": 1, "s": 2})), "rejected mark"),
        (public(json!(5)), "rejected mark"),
        (public(of(json!({"t": "1.50"}))), "519b00000000000000000000: messi 1.50 -"),
        (public(of(json!({"m": "-1e5"}))), "519b00000000000000000000: messi - -1e5"),
        (public(of(json!({"t": "1,\"x\":2"}))), "rejected mark"),
        (public(of(json!({"t": "\"x\""}))), "rejected mark"),
        (public(of(json!({"t": "null"}))), "rejected mark"),
        (public(of(json!({"t": " "}))), "rejected mark"),
        (public(of(json!({"t": 5}))), "rejected mark"),
        (public(of(json!({"t": format!("1{}", "0".repeat(256))}))), "rejected mark"),
        (public(json!({"n": "mnopqrstuvwx", "l": 1, "s": 2})), "ignored own"),
        (
            public(of(json!({"l": 1, "s": 2, "k": "+"}))),
            "519b00000000000000000000: abcdefghijkl 1 2 Come { username: \"messi\", public: true }",
        ),
        (
            public(of(json!({"l": 1, "s": 2, "k": "-"}))),
            "519b00000000000000000000: abcdefghijkl 1 2 Go { username: \"messi\", public: true }",
        ),
        (public(of(json!({"k": "+"}))), "rejected mark"),
        (public(of(json!({"l": 1, "s": 2, "k": "gone"}))), "rejected mark"),
        (public(of(json!({"l": 1, "s": 2, "k": "later"}))), "ignored kind"),
        (
            emit(
                set(packet(), "data", json!(["later", 5])),
                set(options(), "maxtalk", of(json!({"l": 1, "s": 2, "k": "later"}))),
            ),
            "ignored kind",
        ),
        (internal(of(json!({"l": 1, "s": 2, "k": "gone"}))), "519b00000000000000000000: abcdefghijkl 1 2 Gone"),
        (internal(of(json!({"l": 1, "s": 2, "k": "gone", "id": "b"}))), "b: abcdefghijkl 1 2 Gone"),
        (internal(of(json!({"l": 1, "s": 2, "k": "gone", "id": "x".repeat(257)}))), "rejected rooms"),
        (internal(of(json!({"l": 1, "k": "gone"}))), "rejected mark"),
        (internal(of(json!({"s": 1, "k": "gone"}))), "rejected mark"),
        (internal(of(json!({"l": 1, "s": 2, "k": "later"}))), "ignored kind"),
        (internal(of(json!({"l": 1, "s": 2}))), "rejected mark"),
        (internal(of(json!({"l": 1, "s": 2, "k": 5}))), "rejected mark"),
        (internal(json!({"n": "mnopqrstuvwx", "l": 1, "s": 2, "k": "gone"})), "ignored own"),
        (internal(of(json!({"l": 1, "s": 2, "k": "+"}))), "rejected mark"),
        (internal(of(json!({"l": 1, "s": 2, "k": "+", "u": ["a"]}))), "rejected mark"),
        (internal(of(json!({"l": 1, "s": 2, "k": "+", "u": "\n"}))), "rejected mark"),
        (
            internal(of(json!({"l": 1, "s": 2, "k": "-", "u": "a"}))),
            "519b00000000000000000000: abcdefghijkl 1 2 Go { username: \"a\", public: false }",
        ),
        (internal(of(json!({"l": 1, "s": 2, "k": "state"}))), "rejected mark"),
        (internal(of(json!({"l": 1, "s": 2, "k": "state", "u": "a"}))), "rejected mark"),
        (internal(of(json!({"l": 1, "s": 2, "k": "state", "u": ["a", 5]}))), "rejected mark"),
        (
            internal(of(json!({"l": 1, "s": 2, "k": "state", "c": 5}))),
            "519b00000000000000000000: abcdefghijkl 1 2 State { users: Count(5), asks: false }",
        ),
        (internal(of(json!({"l": 1, "s": 2, "k": "state", "c": 5, "ask": 1}))), "rejected mark"),
        (internal(of(json!({"l": 1, "k": "ask"}))), "rejected mark"),
        (internal(of(json!({"k": "ask", "to": "mnopqrstuvwx"}))), "rejected mark"),
        (internal(of(json!({"l": 1, "k": "ask", "to": "b"}))), "rejected mark"),
        (
            internal(of(json!({"l": 1, "k": "ask", "to": "mnopqrstuvwx"}))),
            "519b00000000000000000000: abcdefghijkl 1 - Ask { to: mnopqrstuvwx }",
        ),
        (json!(["uid", {"nsp": "!"}]), "rejected options"),
        (json!(["uid", {"nsp": "!"}, {}]), "ignored namespace"),
    ];
    for (message, expected) in table {
        assert_eq!(told(&reader(Classic).read(CHANNEL, &pack(&message))), expected, "{message}");
    }
    // On the channel of the namespace an internal message has to say which conversation it is about.
    let gone = pack(&internal(of(json!({"l": 1, "s": 2, "k": "gone"}))));
    assert_eq!(told(&reader(Classic).read(NAMESPACE, &gone)), "rejected rooms");
}

/// The answer to a broadcast with acknowledgements of a Node server with the sharded adapter, on its own channel.
const NO_CLIENT: &str = concat!(
    "socket.io#/max#e78fa2a872d73feb#: ",
    r#"{"type":11,"data":{"requestId":"a","clientCount":0}"#,
    r#","uid":"mt:mnopqrstuvwx","nsp":"/max"}"#,
);

/// The answer to a request for sockets.
const NO_SOCKET: &str = concat!(
    "socket.io#/max#e78fa2a872d73feb#: ",
    r#"{"type":8,"data":{"requestId":"a","sockets":[]}"#,
    r#","uid":"mt:mnopqrstuvwx","nsp":"/max"}"#,
);

/// The answer to an event for all servers.
const NO_ANSWER: &str = concat!(
    "socket.io#/max#e78fa2a872d73feb#: ",
    r#"{"type":10,"data":{"requestId":"a","packet":null}"#,
    r#","uid":"mt:mnopqrstuvwx","nsp":"/max"}"#,
);

#[test]
fn emits_of_the_sharded_adapter_are_read() {
    let data = || json!({"packet": {"type": 2, "data": ["update", argument()]}, "opts": options()});
    let message = || json!({"type": 3, "data": data(), "uid": "e78fa2a872d73feb", "nsp": "/max"});
    let request = |kind: u64| json!({"type": kind, "uid": "e78fa2a872d73feb", "nsp": "/max"});
    let table: Vec<(Value, &str)> = vec![
        (message(), PLAIN),
        (set(message(), "x", json!({"y": 1})), PLAIN),
        (set(message(), "uid", None), PLAIN),
        (set(message(), "data", set(data(), "packet", packet())), PLAIN),
        (set(message(), "data", set(data(), "opts", json!({"rooms": [ROOM]}))), PLAIN),
        (
            set(message(), "data", set(data(), "opts", json!({"rooms": [ROOM, 5]}))),
            "519b00000000000000000000: messi - -; 5: messi - -",
        ),
        (set(message(), "data", set(data(), "opts", json!({"rooms": []}))), "ignored everybody"),
        (set(message(), "data", set(data(), "requestId", json!("a"))), NO_CLIENT),
        (set(request(7), "data", json!({"requestId": "a", "opts": options()})), NO_SOCKET),
        (set(request(9), "data", json!({"requestId": "a", "packet": ["who"]})), NO_ANSWER),
        (set(request(9), "data", json!({"packet": ["who"]})), "ignored request"),
        (set(set(request(7), "data", json!({"requestId": "a"})), "uid", None), "ignored request"),
        (set(request(8), "data", json!({"requestId": "a", "sockets": []})), "ignored request"),
        (set(request(4), "data", json!({"opts": options(), "rooms": [ROOM]})), "ignored request"),
        (set(message(), "type", json!(99)), "ignored request"),
        (set(message(), "type", json!(2)), "ignored request"),
        (set(message(), "type", None), "ignored request"),
        (set(message(), "nsp", json!("/")), "ignored namespace"),
        (set(message(), "nsp", None), "ignored namespace"),
        (set(message(), "nsp", json!("!")), "ignored namespace"),
        (set(message(), "data", None), "rejected envelope"),
        (set(message(), "data", json!([])), "rejected envelope"),
        (set(message(), "data", set(data(), "packet", None)), "rejected packet"),
        (set(message(), "data", set(data(), "opts", None)), "rejected options"),
        (set(message(), "maxtalk", json!({})), "rejected mark"),
    ];
    for (message, expected) in table {
        let json = message.to_string();
        assert_eq!(told(&reader(Sharded).read(CHANNEL, json.as_bytes())), expected, "{json}");
        assert_eq!(told(&reader(Sharded).read(NAMESPACE, &pack(&message))), expected, "{json} in MessagePack");
    }
    let table: [(&[u8], &str); 8] = [
        (b"", "rejected syntax"),
        (b"{", "rejected syntax"),
        (b"{} x", "rejected syntax"),
        (b"{\"a\":01}", "rejected syntax"),
        (b"[1]", "rejected syntax"),
        (b"{\"a\":\"\xff\"}", "rejected text"),
        (br#"{"a":"\ud800"}"#, "rejected syntax"),
        (b"{}", "ignored namespace"),
    ];
    for (bytes, expected) in table {
        assert_eq!(told(&reader(Sharded).read(CHANNEL, bytes)), expected, "{}", bytes.escape_ascii());
    }
    // A classic emit is another world.
    let classic = pack(&emit(packet(), options()));
    assert_eq!(told(&reader(Sharded).read(CHANNEL, &classic)), "rejected envelope");
}

#[test]
fn json_is_read_digit_for_digit() {
    let read = |argument: &str| {
        let packet = format!(r#"{{"type":2,"data":["update",{argument}]}}"#);
        let json = format!(r#"{{"type":3,"nsp":"/max","data":{{"packet":{packet},"opts":{{"rooms":["a"]}}}}}}"#);
        told(&reader(Sharded).read(CHANNEL, json.as_bytes()))
    };
    for number in ["1732600000000", "1.50", "-0", "1E5", "123456789012345678901234567890", "true", "null"] {
        let argument = format!(r#"{{"username":"messi","timestamp":{number},"messageID" : {number} }}"#);
        assert_eq!(read(&argument), format!("a: messi {number} {number}"));
    }
    assert_eq!(read(r#"{"username":"\u006dessi","timestamp":"\u00e9\n\ud83d\ude00"}"#), "a: messi \"é\\n😀\" -");
    assert_eq!(read(r#"{"user\u006eame":"messi","timestamp":"é"}"#), "a: messi \"é\" -");
    assert_eq!(read(&format!(r#"{{"username":"messi","timestamp":"\n{}"}}"#, "x".repeat(255))).len(), 9 + 259 + 2);
    assert_eq!(read(&format!(r#"{{"username":"messi","timestamp":"\n{}"}}"#, "x".repeat(256))), "rejected value");
    assert_eq!(read(&format!(r#"{{"username":"messi","timestamp":{}}}"#, "1".repeat(257))), "rejected value");
}

#[test]
fn emits_of_python_are_read() {
    let message = || {
        json!({
            "method": "emit", "event": "update", "data": [argument()], "binary": false, "namespace": "/max",
            "room": ROOM, "skip_sid": null, "callback": null, "host_id": "d308af5e",
        })
    };
    let table: Vec<(Value, &str)> = vec![
        (message(), PLAIN),
        (set(message(), "data", argument()), PLAIN),
        (set(message(), "binary", None), PLAIN),
        (set(message(), "skip_sid", json!("a")), "519b00000000000000000000: messi - - except a"),
        (set(message(), "skip_sid", json!(["a", "b"])), "519b00000000000000000000: messi - - except a b"),
        (set(message(), "skip_sid", json!({})), "rejected options"),
        (set(message(), "room", json!(["a", "b", "a"])), "a: messi - -; b: messi - -"),
        (set(message(), "room", json!({})), "rejected rooms"),
        (set(message(), "room", Value::Null), "ignored everybody"),
        (set(message(), "room", None), "ignored everybody"),
        (set(message(), "namespace", Value::Null), "ignored namespace"),
        (set(message(), "namespace", None), "ignored namespace"),
        (set(message(), "namespace", json!("!")), "ignored namespace"),
        (set(message(), "callback", json!(["a", "/max", 1])), "ignored request"),
        (set(message(), "method", json!("disconnect")), "ignored request"),
        (set(message(), "method", json!("enter_room")), "ignored request"),
        (set(message(), "method", None), "rejected envelope"),
        (set(message(), "event", json!("news")), "ignored event"),
        (set(message(), "event", None), "rejected packet"),
        (set(message(), "binary", json!(true)), "rejected binary"),
        (set(message(), "data", json!([])), "rejected argument"),
        (set(message(), "data", None), "rejected argument"),
        (set(message(), "maxtalk", json!({"n": "mnopqrstuvwx"})), PLAIN),
        (json!([]), "rejected envelope"),
    ];
    for dialect in [Classic, Sharded] {
        for (message, expected) in &table {
            let json = message.to_string();
            assert_eq!(told(&reader(dialect).read(b"socketio", json.as_bytes())), *expected, "{json}");
        }
    }
    let closed = with(Classic, |settings| settings.python_channel = None);
    assert_eq!(told(&closed.read(b"socketio", message().to_string().as_bytes())), "rejected channel");
}

#[test]
fn messages_about_nodes_are_read_strictly() {
    let heartbeat = || {
        json!({
            "k": "heartbeat", "n": "abcdefghijkl", "name": "a", "version": "1", "tag": "t", "sessions": 1,
            "conversations": 2, "sent_ms": 3, "later": {"x": [1]},
        })
    };
    let read = |message: &Value| told(&reader(Classic).read(NODES, message.to_string().as_bytes()));
    assert!(read(&heartbeat()).starts_with("Heartbeat { node: abcdefghijkl, name: \"a\""));
    for key in ["n", "name", "version", "tag", "sessions", "conversations", "sent_ms"] {
        assert_eq!(read(&set(heartbeat(), key, None)), "rejected node", "{key}");
        assert_eq!(read(&set(heartbeat(), key, json!(-1))), "rejected node", "{key}");
    }
    for key in ["n", "name", "version", "tag"] {
        assert_eq!(read(&set(heartbeat(), key, json!("x".repeat(257)))), "rejected node", "{key}");
    }
    assert_eq!(read(&set(heartbeat(), "k", json!("later"))), "ignored kind");
    assert_eq!(read(&set(heartbeat(), "k", None)), "rejected node");
    assert_eq!(read(&json!(["holes", "abcdefghijkl"])), "rejected syntax");
    assert_eq!(told(&reader(Classic).read(NODES, &bytes_of("93a162"))), "rejected syntax");
}
