//! Packets of 0.9 read and written, byte for byte, and malformed packets that are ignored.

use super::*;

/// Returns a packet in a form that can be compared.
fn read(text: &str) -> Option<String> {
    let json = |arguments: &[&RawValue]| arguments.iter().map(|json| json.get()).collect::<Vec<_>>().join(" ");
    Some(match Packet::decode(text)? {
        Packet::Disconnect { endpoint } => format!("disconnect {endpoint}"),
        Packet::Connect { endpoint } => format!("connect {endpoint}"),
        Packet::Message { endpoint, receipt } => format!("message {endpoint} {receipt:?}"),
        Packet::Event { endpoint, receipt, ack, name, arguments } => {
            format!("event {endpoint} {receipt:?} {ack:?} {name} {}", json(&arguments))
        }
        Packet::Ack { endpoint, id, arguments } => format!("ack {endpoint} {id} {}", json(&arguments)),
        Packet::Other => "other".into(),
    })
}

#[test]
fn decodes_packets() {
    let table = [
        ("0::/max", "disconnect /max"),
        ("0::", "disconnect "),
        ("1::", "connect "),
        ("1::/max", "connect /max"),
        ("1::/max:", "connect /max"),
        ("1::/max:?q=1", "connect /max"),
        ("1::/max?q=1", "connect /max"),
        ("1::/max?q=http://x:1/", "connect /max"),
        ("2::", "other"),
        ("2:::", "other"),
        ("3:1::text", "message  Some(1)"),
        ("3:1+:/max:text", "message /max None"),
        ("3:::", "message  None"),
        (r#"4:1::{"a":1}"#, "message  Some(1)"),
        ("4:::no json", "message  None"),
        (r#"5::/max:{"name":"join","args":[{"username":"u0"}]}"#, r#"event /max None None join {"username":"u0"}"#),
        (r#"5:1+:/max:{"name":"join","args":[1, "a:b"]}"#, r#"event /max None Some(1) join 1 "a:b""#),
        (r#"5:1:/max:{"name":"join"}"#, "event /max Some(1) None join "),
        (r#"5:007::{"name":"a"}"#, "event  Some(7) None a "),
        (r#"5:18446744073709551615+::{"name":"a"}"#, "event  None Some(18446744073709551615) a "),
        (r#"5:+:/max:{"name":"a"}"#, "event /max None None a "),
        (r#"5:::{"name":"a"}"#, "event  None None a "),
        (r#"5::/max?x=1:{"name":"a"}"#, "event /max None None a "),
        (r#"5:::{ "args" : [ ] , "name" : "" , "more" : {"name":1} }"#, "event  None None  "),
        (r#"5:::{"n\u0061me":"t\u0061lk","\ud800":1}"#, "event  None None talk "),
        (r#"5:::{"name":1,"args":1,"name":"b","args":[2]}"#, "event  None None b 2"),
        ("5:::{\n\"name\":\"a\u{2028}\"}", "event  None None a\u{2028} "),
        (r#"5::/max:{"name":"a","args":{"username":"u1"}}"#, r#"event /max None None a {"username":"u1"}"#),
        (r#"5:1+:/max:{"name":"a","args":"u1"}"#, r#"event /max None Some(1) a "u1""#),
        (r#"5:::{"name":"a","args":7}"#, "event  None None a 7"),
        (r#"5:::{"name":"a","args":true}"#, "event  None None a true"),
        (r#"5:::{"name":"a","args":null}"#, "event  None None a "),
        (r#"5:::{"name":"a","args":false}"#, "event  None None a "),
        (r#"5:::{"name":"a","args":""}"#, "event  None None a "),
        (r#"5:::{"name":"a","args":-0.0e1}"#, "event  None None a "),
        (r#"5:::{"name":"a","args":"0"}"#, r#"event  None None a "0""#),
        (r#"6::/max:1+{"ok":true}"#, r#"ack /max 1 {"ok":true}"#),
        (r#"6::/max:1+"x""#, r#"ack /max 1 "x""#),
        ("6::/max:1+null", "ack /max 1 "),
        ("6::/max:3", "ack /max 3 "),
        ("6:::3+", "ack  3 "),
        (r#"6::/max:1+[{"ok":true}]"#, r#"ack /max 1 {"ok":true}"#),
        ("6::/max:1[2]", "ack /max 1 2"),
        ("7:::1+0", "other"),
        ("7::/max:2", "other"),
        ("8::", "other"),
    ];
    for (text, expected) in table {
        assert_eq!(read(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn passes_over_what_is_no_packet() {
    let table = [
        "",
        "5",
        "5:",
        ":",
        "::",
        ":5:::{}",
        "9::",
        "05::",
        "10::",
        "x::",
        "é::",
        " 1::",
        "1:x:",
        "1:-1:",
        "1:1++:",
        "2probe",
        r#"42/max,["talk"]"#,
        "\u{fffd}3\u{fffd}1::",
        // Ids.
        "1:18446744073709551616:/max",
        "6:::18446744073709551616",
        "6::/max",
        "6::/max:",
        "6::/max:x",
        "6::/max:-1",
        "6::/max:1+[",
        "6::/max:1++[]",
        "6::/max:1+[]x",
        // Events.
        "5::/max",
        "5::/max:",
        "5::/max:null",
        "5::/max:[]",
        r#"5::/max:["join"]"#,
        "5::/max:{}",
        r#"5::/max:{"args":[]}"#,
        r#"5::/max:{"name":1}"#,
        r#"5::/max:{"name":null}"#,
        r#"5::/max:{"name":{"toString":"foo"}}"#,
        r#"5::/max:{"name":"\ud800"}"#,
        r#"5::/max:{"name":"a"}}"#,
        r#"5::/max:{"name":"a",}"#,
        r#"5::/max:{"name":"a""#,
        r#"5::/max:{"name":"disconnect"}"#,
        r#"5::/max:{"name":"disc\u006fnnect","args":[]}"#,
    ];
    for text in table {
        assert_eq!(read(text), None, "{text}");
    }
    let name = |bytes: usize| format!("1::/{}", "x".repeat(bytes - 1));
    assert!(read(&name(NAMESPACE_BYTES_MAX)).is_some());
    assert_eq!(read(&name(NAMESPACE_BYTES_MAX + 1)), None);
}

#[test]
fn encodes_the_packets_of_a_server() {
    let table = [
        (connect("/max"), "1::/max"),
        (connect("/"), "1::"),
        (unauthorized("/max"), "7::/max:2"),
        (event("/max", None, "update", &[r#"{"a":1}"#, "2"]), r#"5::/max:{"name":"update","args":[{"a":1},2]}"#),
        (event("/max", Some(7), "update", &[]), r#"5:7+:/max:{"name":"update"}"#),
        (event("/", None, "a\"é", &["\"😀\u{2028}\""]), r#"5:::{"name":"a\"\u00e9","args":["\ud83d\ude00\u2028"]}"#),
        (ack("/max", 7, &[r#"{"ok":true}"#, "\"é\""]), r#"6::/max:7+[{"ok":true},"\u00e9"]"#),
        (ack("/", 7, &[]), "6:::7"),
        (receipt("/max", 3), "6::/max:3"),
    ];
    for (packet, expected) in table {
        assert_eq!(packet, expected);
    }
}
