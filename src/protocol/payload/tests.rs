//! Payloads read and written, byte for byte; lengths that lie.

use super::*;
use Generation::{Eio3, Eio4, Sio09};

/// A packet as a test writes it. `None` stands for a bad one.
type Expected<'a> = Option<Packet<'a>>;

fn binary(data: &[u8]) -> Expected<'static> {
    Some(Packet::Binary(data.to_vec().into()))
}

fn text(text: &str) -> Expected<'_> {
    Some(Packet::Text(text))
}

/// Reads all of a body and compares.
fn check(generation: Generation, body: Body, expected: &[Expected<'_>]) {
    let mut reader = PayloadReader::new(generation, body.clone());
    for packet in expected {
        assert!(!reader.is_finished(), "{body:?}");
        let packet = packet.clone().ok_or(ProtocolError::Engine);
        assert_eq!(reader.read(), Some(packet), "{body:?}");
    }
    assert_eq!(reader.read(), None, "{body:?}");
    assert!(reader.is_finished(), "{body:?}");
    assert_eq!(reader.read(), None, "{body:?}");
}

#[test]
fn a_payload_ends_with_its_first_bad_packet() {
    let table: [(&str, &[Expected<'_>]); 5] = [
        ("4a\x1e2\x1ebAQIDBA==", &[text("a"), Some(Packet::Ping("")), binary(&[1, 2, 3, 4])]),
        ("", &[None]),
        ("\x1e4a", &[None]),
        ("4a\x1e", &[text("a"), None]),
        ("4a\x1eabc\x1e4b", &[text("a"), None]),
    ];
    for (body, packets) in table {
        check(Eio4, Body::Text(body.into()), packets);
    }
    check(Eio4, Body::Binary(b"4a".into()), &[None]);
}

#[test]
fn text_of_engine_io_3_is_counted_in_utf_16() {
    let connect = r#"0{"sid":"x"}"#;
    let open = format!("{}:{connect}2:40", connect.len());
    let table: [(&str, &[Expected<'_>]); 13] = [
        ("6:4hello2:4€", &[text("hello"), text("€")]),
        ("2:4€10:b4AQIDBA==", &[text("€"), binary(&[1, 2, 3, 4])]),
        ("3:4😀1:2", &[text("😀"), Some(Packet::Ping(""))]),
        ("007:40/max,", &[text("0/max,")]),
        ("1:1", &[Some(Packet::Close)]),
        (&open, &[Some(Packet::Open(&connect[1..])), text("0")]),
        // An empty payload, as an official server writes it too.
        ("0:", &[Some(Packet::Noop)]),
        ("0:0:1:60:", &[const { Some(Packet::Noop) }; 4]),
        // Text that is encoded twice, as 1.x does, and text that only looks similar.
        ("10:4\u{c3}\u{a9}\u{e2}\u{82}\u{ac}\u{f0}\u{9f}\u{98}\u{80}1:3", &[text("é€😀"), Some(Packet::Pong(""))]),
        ("2:4é", &[text("é")]),
        ("3:4é\u{a9}", &[text("é\u{a9}")]),
        ("4:4\u{c3}\u{a9}€", &[text("\u{c3}\u{a9}€")]),
        ("8:b4\u{c3}\u{a9}AAA=", &[None]),
    ];
    for (body, packets) in table {
        check(Eio3, Body::Text(body.into()), packets);
    }
}

/// Text of Engine.IO 3 that looks as if it were encoded twice is not decoded if its client cannot be 1.x.
#[test]
fn a_client_that_encodes_once_is_not_guessed_about() {
    let (twice, once) = ("\u{c3}\u{a9}", "é");
    let table = [
        (vec!["4é"], false, once),
        (vec!["40/max", "4x"], false, once),
        (vec!["40/max?x=1", "41/max"], false, once),
        (vec!["42/max,[1]", "40/max,\"x\""], false, once),
        (vec!["40/max,"], true, twice),
        (vec!["40/max?x=1,"], true, twice),
        (vec!["41/max,"], true, twice),
        (vec!["4€"], true, twice),
        (vec!["4\u{c3}\u{a9}€"], true, twice),
    ];
    for (before, proven, heard) in table {
        let packets = before.iter().copied().chain(["4\u{c3}\u{a9}"]);
        let body = packets.map(|packet| format!("{}:{packet}", utf16_len(packet))).collect();
        let mut reader = PayloadReader::new(Eio3, Body::Text(body));
        for _ in &before {
            assert!(reader.read().is_some_and(|packet| packet.is_ok()), "{before:?}");
        }
        assert_eq!(reader.read(), Some(Ok(Packet::Text(heard))), "{before:?}");
        assert_eq!(reader.encodes_once(), proven, "{before:?}");
        let mut next = PayloadReader::new(Eio3, Body::Text("3:4\u{c3}\u{a9}".into())).knowing(proven);
        assert_eq!(next.read(), Some(Ok(Packet::Text(heard))), "in a later body, after {before:?}");
    }
}

#[test]
fn lengths_of_engine_io_3_that_lie_are_refused() {
    let bad = [
        "",
        ":",
        "5",
        "5:",
        "-1:",
        "-1:4",
        "+1:4",
        " 1:4",
        "1 :4",
        "1.0:4",
        "1e0:4",
        "0x1:4",
        "x",
        "abc",
        "4hello",
        "NaN:4",
        "99999999999:4",
        "1000000000000000000:4",
        "18446744073709551617:4",
        "0000000001:4",
        "2:4",
        "3:4é",
        "1:😀",
        "2:4😀",
        "1:😀2:40",
        "٣:4ab",
        "0:0",
        "6:4hello2",
        "1:7",
        "2:bx",
        "\u{fffd}1\u{fffd}4",
        "4a\x1e2",
    ];
    for body in bad {
        let mut reader = PayloadReader::new(Eio3, Body::Text(body.into()));
        let mut last = None;
        for _ in 0..3 {
            last = reader.read().map(|packet| packet.map(|packet| format!("{packet:?}"))).or(last);
        }
        assert_eq!(last, Some(Err(ProtocolError::Engine)), "{body:?}");
    }
    check(Eio3, Body::Text("6:4hello9:4x".into()), &[text("hello"), None]);
    check(Eio3, Body::Text("6:4hellox1:4".into()), &[text("hello"), None]);
    check(Eio3, Body::Text("1:72:4a".into()), &[None]);
}

#[test]
fn bytes_of_engine_io_3() {
    let table: [(&[u8], &[Expected<'_>]); 17] = [
        (b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04", &[text("€"), binary(&[1, 2, 3, 4])]),
        (b"\x01\x01\x01\xff\x040123456789", &[binary(b"0123456789")]),
        (b"\x00\x00\x02\xff40", &[text("0")]),
        (b"\x01\x01\xff\x02", &[Some(Packet::Ping(""))]),
        (b"\x00\x0a\xffb4AQIDBA==", &[None]),
        (b"\x00\x01\x00\xffb4AQIDBA==", &[binary(&[1, 2, 3, 4])]),
        // Text among bytes is encoded once, by any client.
        (b"\x00\x05\xff4\xc3\x83\xc2\xa9", &[text("\u{c3}\u{a9}")]),
        (b"", &[None]),
        (b"\x00", &[None]),
        (b"\x00\xff", &[None]),
        (b"\x00\x01", &[None]),
        (b"\x00\x01\x01\x01\x01", &[None]),
        (b"\x00\x02\xff4", &[None]),
        (b"\x02\x01\xff4", &[None]),
        (b"\x00\x00\xff", &[None]),
        (b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04", &[None]),
        (b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\x04", &[None]),
    ];
    for (body, packets) in table {
        check(Eio3, Body::Binary(body.into()), packets);
    }
    for body in [b"4hello".to_vec(), vec![9; 1000], b"\x01\x01\xff\x07".to_vec(), b"6:4hello".to_vec()] {
        check(Eio3, Body::Binary(body), &[None]);
    }
    let mut reader = PayloadReader::new(Eio3, Body::Binary(b"\x00\x02\xff4\xff\x00\x01\xff2".into()));
    assert_eq!(reader.read(), Some(Err(ProtocolError::Utf8)));
    assert!(reader.is_finished());
}

#[test]
fn payloads_of_0_9_are_raw_or_framed() {
    let event = r#"5::/max:{"name":"join","args":["é😀"]}"#;
    let framed = format!("\u{fffd}7\u{fffd}1::/max\u{fffd}{}\u{fffd}{event}", event.encode_utf16().count());
    let table: [(&str, &[Expected<'_>]); 13] = [
        ("1::/max", &[text("1::/max")]),
        (&framed, &[text("1::/max"), text(event)]),
        ("\u{fffd}3\u{fffd}2::\u{fffd}3\u{fffd}0::", &[Some(Packet::Pong("")), Some(Packet::Close)]),
        ("\u{fffd}9\u{fffd}\u{fffd}3\u{fffd}1::xyz", &[text("\u{fffd}3\u{fffd}1::xyz")]),
        ("\u{fffd}0\u{fffd}\u{fffd}3\u{fffd}8::", &[text(""), Some(Packet::Noop)]),
        ("garbage \u{fffd}3\u{fffd}1::", &[text("garbage \u{fffd}3\u{fffd}1::")]),
        // A badly framed record is ignored, with everything after it.
        ("", &[]),
        ("\u{fffd}", &[]),
        ("\u{fffd}\u{fffd}1::", &[]),
        ("\u{fffd}4\u{fffd}1::", &[]),
        ("\u{fffd}-1\u{fffd}1::", &[]),
        ("\u{fffd}3\u{fffd}1::x\u{fffd}3\u{fffd}1::", &[text("1::")]),
        ("\u{fffd}1\u{fffd}😀", &[]),
    ];
    for (body, packets) in table {
        let mut reader = PayloadReader::new(Sio09, Body::Text(body.into()));
        for packet in packets {
            assert_eq!(reader.read(), packet.clone().map(Ok), "{body:?}");
        }
        assert_eq!(reader.read(), None, "{body:?}");
        assert!(reader.is_finished(), "{body:?}");
    }
    // It is not decoded a second time, as Engine.IO 3 is.
    check(Sio09, Body::Text("\u{c3}\u{a9}".into()), &[text("\u{c3}\u{a9}")]);
    check(Sio09, Body::Binary(b"1::".into()), &[]);
}

/// Returns the body of the frames, and the least limit under which the last of them fits.
fn write(generation: Generation, form: Form, frames: &[Frame]) -> (Body, usize) {
    let mut writer = PayloadWriter::new(generation, form);
    assert!(writer.is_empty());
    let mut limit = 0;
    for frame in frames {
        limit = (0..).find(|max| writer.fits(frame, *max)).unwrap();
        writer.push(frame.clone());
        assert!(!writer.is_empty());
    }
    (writer.finish(), limit)
}

#[test]
fn writes_what_it_measured() {
    let data = [1, 2, 3, 4];
    let text = Frame::text;
    let table: [(Generation, Form, &[Frame], &str, usize); 11] = [
        (Eio4, Form::Mixed, &[], "", 0),
        (Eio4, Form::Mixed, &[text("4€")], "4€", 0),
        (Eio4, Form::Mixed, &[text("4€"), text("2")], "4€\x1e2", 6),
        (Eio4, Form::Mixed, &[text("4€"), text("2"), Frame::binary(Eio4, &data)], "4€\x1e2\x1ebAQIDBA==", 16),
        (Eio3, Form::Text, &[], "0:", 0),
        (Eio3, Form::Text, &[text("4hello"), text("4€")], "6:4hello2:4€", 14),
        (Eio3, Form::Text, &[text("4€"), Frame::binary(Eio3, &data)], "2:4€10:b4AQIDBA==", 19),
        // Two bytes more, in case the body becomes binary.
        (Eio3, Form::Mixed, &[text("4hello"), text("43/max,1[]")], "6:4hello10:43/max,1[]", 23),
        (Sio09, Form::Mixed, &[], "", 0),
        (Sio09, Form::Mixed, &[text("1::")], "1::", 0),
        (
            Sio09,
            Form::Text,
            &[text("1::/max"), text("3:::€😀")],
            "\u{fffd}7\u{fffd}1::/max\u{fffd}7\u{fffd}3:::€😀",
            33,
        ),
    ];
    for (generation, form, frames, body, limit) in table {
        assert_eq!(write(generation, form, frames), (Body::Text(body.into()), limit), "{frames:?}");
    }
    let frames = [text("4€"), Frame::binary(Eio3, &data)];
    let bytes = b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04";
    assert_eq!(write(Eio3, Form::Mixed, &frames), (Body::Binary(bytes.into()), bytes.len()));
    let lone = write(Eio3, Form::Bytes, &[text("4€")]).0;
    assert_eq!(lone, Body::Binary(b"\x00\x04\xff4\xe2\x82\xac".into()), "text too, to who reads bytes only");
    assert_eq!(write(Eio4, Form::Bytes, &[text("4€")]).0, Body::Text("4€".into()));
    let large = write(Eio3, Form::Mixed, &[Frame::binary(Eio3, &[7; 123])]).0;
    let header = [1, 1, 2, 4, 255, 4];
    assert_eq!(large, Body::Binary([&header[..], &[7; 123]].concat()));
}

#[test]
fn the_first_packet_always_fits() {
    for generation in Generation::ALL {
        let mut writer = PayloadWriter::new(generation, Form::Mixed);
        let frame = Frame::text("4hello");
        assert!(writer.fits(&frame, 0));
        writer.push(frame.clone());
        assert!(!writer.fits(&frame, 0));
    }
}

#[test]
fn a_large_payload_takes_time_in_proportion() {
    // 300 000 packets: a reader that looks at the whole rest for each of them would take too long.
    for (generation, record) in [(Eio4, "4é\x1e"), (Eio3, "2:4é"), (Sio09, "\u{fffd}3\u{fffd}1:é")] {
        let mut reader = PayloadReader::new(generation, Body::Text(record.repeat(300_000)));
        let mut packets = 0;
        while let Some(Ok(_)) = reader.read() {
            packets += 1;
        }
        assert_eq!(packets, 300_000, "{generation:?}");
    }
}
