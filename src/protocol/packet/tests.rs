//! Packets read and written, byte for byte, and malformed packets that are refused.

use super::*;

const EIO4: Generation = Generation::Eio4;
const EIO3: Generation = Generation::Eio3;
const SIO09: Generation = Generation::Sio09;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

#[test]
fn decodes_packets() {
    use Kind::*;
    type Row = (&'static str, Kind, usize, &'static str, Option<u64>, Option<&'static str>);
    let table: &[Row] = &[
        ("0", Connect, 0, "/", None, None),
        (r#"0{"token":"x"}"#, Connect, 0, "/", None, Some(r#"{"token":"x"}"#)),
        ("0/max,", Connect, 0, "/max", None, None),
        ("0/max", Connect, 0, "/max", None, None),
        ("0/max/,", Connect, 0, "/max/", None, None),
        (r#"0/max,{"token":"x"}"#, Connect, 0, "/max", None, Some(r#"{"token":"x"}"#)),
        ("0/max?x=1&y=2,", Connect, 0, "/max", None, None),
        ("0/max?x=1&y=2", Connect, 0, "/max", None, None),
        ("0/?x=1,{}", Connect, 0, "/", None, Some("{}")),
        ("1", Disconnect, 0, "/", None, None),
        ("1/max,", Disconnect, 0, "/max", None, None),
        (r#"2["a"]"#, Event, 0, "/", None, Some(r#"["a"]"#)),
        (r#"2/max,["join",{"username":"u0"}]"#, Event, 0, "/max", None, Some(r#"["join",{"username":"u0"}]"#)),
        (r#"2/max,7["join",{}]"#, Event, 0, "/max", Some(7), Some(r#"["join",{}]"#)),
        (r#"27["a"]"#, Event, 0, "/", Some(7), Some(r#"["a"]"#)),
        (r#"2/max,007["a"]"#, Event, 0, "/max", Some(7), Some(r#"["a"]"#)),
        (r#"218446744073709551615["a"]"#, Event, 0, "/", Some(u64::MAX), Some(r#"["a"]"#)),
        (r#"2/max, [ "a" , 1 ] "#, Event, 0, "/max", None, Some(r#"[ "a" , 1 ]"#)),
        (r#"2["error"]"#, Event, 0, "/", None, Some(r#"["error"]"#)),
        ("2[1]", Event, 0, "/", None, Some("[1]")),
        ("2[-1.5e3]", Event, 0, "/", None, Some("[-1.5e3]")),
        (r#"2["\ud800"]"#, Event, 0, "/", None, Some(r#"["\ud800"]"#)),
        ("2/max,", Event, 0, "/max", None, None),
        ("2/max,7", Event, 0, "/max", Some(7), None),
        (r#"3/max,7[{"ok":true}]"#, Ack, 0, "/max", Some(7), Some(r#"[{"ok":true}]"#)),
        ("3/max,7[]", Ack, 0, "/max", Some(7), Some("[]")),
        ("3/max,7", Ack, 0, "/max", Some(7), None),
        (r#"3["connect"]"#, Ack, 0, "/", None, Some(r#"["connect"]"#)),
        ("3[{}]", Ack, 0, "/", None, Some("[{}]")),
        (r#"4/nope,"no""#, ConnectError, 0, "/nope", None, Some(r#""no""#)),
        ("4", ConnectError, 0, "/", None, None),
        (
            r#"52-/max,12["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            BinaryEvent,
            2,
            "/max",
            Some(12),
            Some(r#"["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#),
        ),
        (r#"51-["e"]"#, BinaryEvent, 1, "/", None, Some(r#"["e"]"#)),
        (r#"50-["e"]"#, BinaryEvent, 0, "/", None, Some(r#"["e"]"#)),
        (r#"510-["e"]"#, BinaryEvent, 10, "/", None, Some(r#"["e"]"#)),
        ("61-/max,12[{}]", BinaryAck, 1, "/max", Some(12), Some("[{}]")),
    ];
    for (text, kind, attachments, namespace, id, data) in table {
        let packet = Packet::decode(EIO4, text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let read = (packet.kind, packet.attachments, packet.namespace, packet.id, packet.data.map(RawValue::get));
        assert_eq!(read, (*kind, *attachments, *namespace, *id, *data), "{text}");
    }
}

#[test]
fn refuses_what_is_no_packet() {
    let table = [
        "",
        "abc",
        "7",
        "é",
        // Payloads of the wrong shape.
        "0/max,[]",
        r#"0"x""#,
        "0null",
        "1/max,{}",
        "1[]",
        "2/max,{}",
        "2/max,[]",
        "2/max,[ ]",
        r#"2"a""#,
        "2null",
        "3{}",
        "3null",
        r#"6"x""#,
        "61-{}",
        // Invalid JSON.
        r#"2/max,abc["x"]"#,
        r#"2["a""#,
        r#"2["a"]]"#,
        r#"2["a"]["b"]"#,
        r#"2["a",]"#,
        r#"2["a",01]"#,
        r#"2["a",NaN]"#,
        "2['a']",
        "2[\"\n\"]",
        "2/max,7-",
        "0/max,{",
        // Names: reserved, or of a type that has no name (CVE-2023-32695).
        r#"2["connect"]"#,
        r#"2["connect_error"]"#,
        r#"2["disconnect"]"#,
        r#"2["disconnecting"]"#,
        r#"2["newListener"]"#,
        r#"2["removeListener"]"#,
        r#"2[ "c\u006fnnect" ]"#,
        r#"2[{"toString":"foo"}]"#,
        "2[[]]",
        "2[null]",
        "2[true]",
        "2[false]",
        r#"51-["connect"]"#,
        "50-[null]",
        "50-[]",
        // Ids.
        r#"218446744073709551616["a"]"#,
        r#"2-1["a"]"#,
        r#"2/max,1.5["a"]"#,
        // Attachments.
        "5",
        "5-",
        r#"5["a"]"#,
        r#"51["a"]"#,
        r#"5x-["a"]"#,
        r#"5-1-["a"]"#,
        r#"51.5-["a"]"#,
        r#"5/max,1-["a"]"#,
        r#"21-["a"]"#,
    ];
    for text in table {
        assert_eq!(Packet::decode(EIO4, text).err(), Some(ProtocolError::Packet), "{text}");
    }
    for text in ["511-[\"a\"]", "51000000-", "599999999999999999999999-[\"a\"]", "611-[]"] {
        assert_eq!(Packet::decode(EIO4, text).err(), Some(ProtocolError::Attachments), "{text}");
    }
}

#[test]
fn names_are_decoded() {
    let name = |json| event_name(raw(json)).map(|name| name.map(Cow::into_owned));
    assert_eq!(name(r#"["talk",1]"#), Ok(Some("talk".into())));
    assert_eq!(name(r#"[ "t\u0061lk\n\"€" ]"#), Ok(Some("talk\n\"€".into())));
    assert_eq!(name(r#"[""]"#), Ok(Some("".into())));
    assert_eq!(name("[12,{}]"), Ok(None));
    assert_eq!(name(r#"["\udc00x"]"#), Ok(None));
    for json in ["[]", "{}", "1", r#""talk""#, "[{}]", "[[\"talk\"]]", "[null]", "[true]"] {
        assert_eq!(name(json), Err(ProtocolError::Packet), "{json}");
    }
    assert!(matches!(event_name(raw(r#"["talk"]"#)), Ok(Some(Cow::Borrowed("talk")))));
}

#[test]
fn arguments_are_the_json_that_came() {
    let elements: Vec<_> =
        arguments(raw(r#"[ "a" , 1.0, {"k": [1,"]"]},"\ud800"]"#)).unwrap().iter().map(|json| json.get()).collect();
    assert_eq!(elements, [r#""a""#, "1.0", r#"{"k": [1,"]"]}"#, r#""\ud800""#]);
    assert!(arguments(raw("[]")).unwrap().is_empty());
    assert_eq!(arguments(raw("{}")).err(), Some(ProtocolError::Packet));
}

#[test]
fn placeholders_stay_below_their_attachments() {
    let table = [
        (r#"["e"]"#, 0, true),
        (r#"["e",{"_placeholder":true,"num":0}]"#, 1, true),
        (r#"["e",{"_placeholder":true,"num":0}]"#, 0, false),
        (r#"["e",{"_placeholder":true,"num":1}]"#, 1, false),
        (r#"["e",{"num":1,"_placeholder":true}]"#, 1, false),
        (r#"["e", { "num" : 1 , "_placeholder" : true } ]"#, 2, true),
        (r#"["e",{"_placeholder":true,"num":-1}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":0.5}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":1e18}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":99999999999999999999999}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":"0"}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":[0]}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":null}]"#, 1, false),
        (r#"["e",{"_placeholder":true}]"#, 1, false),
        (r#"["e",{"\u005fplaceholder":true,"num":9}]"#, 1, false),
        (r#"["e",{"a":[[{"b":{"_placeholder":true,"num":9}}]]}]"#, 1, false),
        (r#"["e",{"__proto__":{"_placeholder":true,"num":9}}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":9,"num":0}]"#, 1, true),
        (r#"["e",{"_placeholder":true,"num":0,"num":9}]"#, 1, false),
        (r#"["e",{"_placeholder":true,"num":0,"num":{}}]"#, 1, false),
        (r#"["e",{"a":"\\","b\"":"\"","_placeholder":true,"num":9}]"#, 1, false),
        // None of these is a placeholder.
        (r#"["e",{"_placeholder":false,"num":9}]"#, 1, true),
        (r#"["e",{"_placeholder":"true","num":9}]"#, 1, true),
        (r#"["e",{"_placeholder":[true],"num":9}]"#, 1, true),
        (r#"["e",{"_placeholder":{"num":0},"num":9}, true]"#, 1, true),
        (r#"["e",{"num":9}]"#, 1, true),
        (r#"["e","_placeholder",true,"{\"_placeholder\":true,\"num\":9}"]"#, 1, true),
        (r#"["e",[{"_placeholder":1},true]]"#, 1, true),
    ];
    for (json, attachments, fits) in table {
        let expected = if fits { Ok(()) } else { Err(ProtocolError::Attachments) };
        assert_eq!(check_placeholders(raw(json), attachments), expected, "{json}");
    }
}

#[test]
fn engine_io_3_differs_in_what_connect_carries() {
    for (text, namespace, data) in [
        ("0/max", "/max", None),
        ("0/max?x=1&y=2", "/max", None),
        ("0/max,[]", "/max", Some("[]")),
        (r#"0/max?x=1,"y""#, "/max", Some(r#""y""#)),
        ("0null", "/", Some("null")),
    ] {
        let packet = Packet::decode(EIO3, text).unwrap();
        let read = (packet.kind, packet.namespace, packet.data.map(RawValue::get));
        assert_eq!(read, (Kind::Connect, namespace, data), "{text}");
    }
    for text in ["0/max,x", r#"218446744073709551616["a"]"#, r#"2["connect"]"#, "1/max,{}", "2{}"] {
        assert_eq!(Packet::decode(EIO3, text).err(), Some(ProtocolError::Packet), "{text}");
    }
}

#[test]
fn encodes_the_packets_of_a_server() {
    let placeholder: &[&str] = &[r#"{"_placeholder":true,"num":0}"#];
    let table = [
        (connect(EIO4, "/max", "BTV9dxu_N7tsVUVEAADX"), r#"40/max,{"sid":"BTV9dxu_N7tsVUVEAADX"}"#),
        (connect(EIO4, "/", "x"), r#"40{"sid":"x"}"#),
        (connect(EIO3, "/max", "x"), "40/max,"),
        (connect(EIO3, "/", "x"), "40"),
        (connect(SIO09, "/max", "x"), "1::/max"),
        (connect(SIO09, "/", "x"), "1::"),
        (connect_error(EIO4, "/nope", "Invalid namespace"), r#"44/nope,{"message":"Invalid namespace"}"#),
        (connect_error(EIO3, "/nope", "Invalid namespace"), r#"44/nope,"Invalid namespace""#),
        (connect_error(EIO3, "/né", "né"), r#"44/né,"n\u00e9""#),
        (connect_error(EIO3, "/", "no"), r#"44"no""#),
        (connect_error(SIO09, "/nope", "Invalid namespace"), "7::/nope:2"),
        (event(EIO4, "/max", None, "update", &[r#"{"a":1}"#, "2"]), r#"42/max,["update",{"a":1},2]"#),
        (event(EIO3, "/max", None, "update", &[r#"{"a":1}"#, "2"]), r#"42/max,["update",{"a":1},2]"#),
        (event(SIO09, "/max", None, "update", &[r#"{"a":1}"#]), r#"5::/max:{"name":"update","args":[{"a":1}]}"#),
        (event(EIO4, "/", Some(1), "a\"b", &[]), r#"421["a\"b"]"#),
        (event(SIO09, "/", Some(1), "a\"b", &[]), r#"5:1+::{"name":"a\"b"}"#),
        (event(EIO4, "/", None, "é", &["\"😀\""]), r#"42["é","😀"]"#),
        (event(EIO3, "/", None, "é", &["\"😀\""]), r#"42["\u00e9","\ud83d\ude00"]"#),
        (ack(EIO4, "/max", 7, &[r#"{"ok":true}"#]), r#"43/max,7[{"ok":true}]"#),
        (ack(EIO4, "/max", 7, &[]), "43/max,7[]"),
        (ack(EIO4, "/", 0, &["1", "2"]), "430[1,2]"),
        (ack(EIO3, "/", 0, &["1", "\"é\""]), r#"430[1,"\u00e9"]"#),
        (ack(SIO09, "/max", 7, &["1", "2"]), "6::/max:7+[1,2]"),
        (
            binary_event(EIO4, "/max", 1, Some(12), "e", placeholder),
            r#"451-/max,12["e",{"_placeholder":true,"num":0}]"#,
        ),
        (binary_event(EIO3, "/", 1, None, "e", &["\"é\""]), r#"451-["e","\u00e9"]"#),
        (binary_event(SIO09, "/", 0, None, "e", &["1"]), r#"5:::{"name":"e","args":[1]}"#),
        (binary_ack(EIO4, "/max", 1, 12, placeholder), r#"461-/max,12[{"_placeholder":true,"num":0}]"#),
        (binary_ack(EIO3, "/max", 1, 12, &["\"é\""]), r#"461-/max,12["\u00e9"]"#),
        (binary_ack(SIO09, "/max", 0, 12, &["1"]), "6::/max:12+[1]"),
    ];
    for (packet, expected) in table {
        assert_eq!(packet, expected);
    }
}
