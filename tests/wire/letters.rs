//! The letters between two nodes, to the byte, and those that are refused.

use maxtalk::testing::cluster::{Dialect, Handover, Letter, Offer, Reading, Refused, Return};

use super::{id, node, reader, told, username, writer};

/// The channel of the node that reads.
const OWN: &[u8] = b"socket.io-nodes#/max#{socket.io-nodes#/max#}mnopqrstuvwx#";

fn of() -> Return {
    Return { node: node("abcdefghijkl"), number: u64::MAX }
}

fn table() -> Vec<(Letter, &'static str)> {
    let offer = Offer { sid: "s".into(), username: username("messi"), conversations: vec![id("c2"), id("é")] };
    let handover = Handover {
        events: Some(vec![r#"42/max,["update",{},"QV2sjtc-0"]"#.into()]),
        missed: vec![id("c1")],
        has_outage: true,
        recounts: vec![id("c2")],
    };
    vec![
        (
            Letter::Claim { of: of(), pid: "p".into(), heard: Some("o".into()), hops: 1 },
            r#"{"k":"claim","n":"abcdefghijkl","r":18446744073709551615,"pid":"p","heard":"o","hops":1}"#,
        ),
        (
            Letter::Claim { of: of(), pid: "p".into(), heard: None, hops: 0 },
            r#"{"k":"claim","n":"abcdefghijkl","r":18446744073709551615,"pid":"p","hops":0}"#,
        ),
        (
            Letter::Offer { of: of(), from: node("mnopqrstuvwx"), offer },
            concat!(
                r#"{"k":"offer","n":"abcdefghijkl","r":18446744073709551615,"from":"mnopqrstuvwx","sid":"s","#,
                r#""username":"messi","conversations":["c2","é"]}"#
            ),
        ),
        (
            Letter::Take { of: of(), pid: "p".into() },
            r#"{"k":"take","n":"abcdefghijkl","r":18446744073709551615,"pid":"p"}"#,
        ),
        (
            Letter::Handover { of: of(), handover },
            concat!(
                r#"{"k":"handover","n":"abcdefghijkl","r":18446744073709551615,"#,
                r#""events":["42/max,[\"update\",{},\"QV2sjtc-0\"]"],"missed":["c1"],"outage":true,"recounts":["c2"]}"#
            ),
        ),
        (
            Letter::Handover { of: of(), handover: Handover::default() },
            r#"{"k":"handover","n":"abcdefghijkl","r":18446744073709551615}"#,
        ),
        (
            Letter::Refusal { of: of(), why: Refused::UnknownOffset },
            r#"{"k":"refusal","n":"abcdefghijkl","r":18446744073709551615,"why":"offset"}"#,
        ),
    ]
}

#[test]
fn letters_are_json_and_read_back() {
    for (letter, json) in table() {
        for dialect in [Dialect::Classic, Dialect::Sharded] {
            let bytes = writer(dialect).write_letter(&letter).unwrap();
            assert_eq!(String::from_utf8_lossy(&bytes), json);
            assert_eq!(reader(dialect).read(OWN, &bytes), Reading::Letter(letter.clone()));
            assert_eq!(told(&reader(dialect).read(OWN, &bytes[..bytes.len() - 1])), "rejected syntax");
        }
    }
}

#[test]
fn a_letter_that_is_too_long_is_not_written() {
    let events = |count| Some(vec!["x".repeat(1000).into(); count]);
    let letter = |count| {
        let handover = Handover { events: events(count), ..Handover::default() };
        writer(Dialect::Classic).write_letter(&Letter::Handover { of: of(), handover })
    };
    assert!(letter(60).is_some() && letter(66).is_none());
}

#[test]
fn letters_that_make_no_sense_are_refused() {
    let long = "x".repeat(257);
    for (text, outcome) in [
        ("[]", "rejected syntax"),
        ("{}", "rejected node"),
        (r#"{"k":"later","n":"abcdefghijkl"}"#, "ignored kind"),
        (r#"{"k":"take","n":"A","pid":"p"}"#, "rejected node"),
        (r#"{"k":"take","n":"abcdefghijkl"}"#, "rejected node"),
        (r#"{"k":"take","n":"abcdefghijkl","r":-1,"pid":"p"}"#, "rejected node"),
        (&format!(r#"{{"k":"take","n":"abcdefghijkl","pid":"{long}"}}"#), "rejected node"),
        (r#"{"k":"claim","n":"abcdefghijkl","pid":"p","hops":9}"#, "rejected node"),
        (r#"{"k":"claim","n":"abcdefghijkl","pid":"p"}"#, "rejected node"),
        (r#"{"k":"offer","n":"abcdefghijkl","from":"mnopqrstuvwx","sid":"s","username":""}"#, "rejected username"),
        (&format!(r#"{{"k":"handover","n":"abcdefghijkl","missed":["{long}"]}}"#), "rejected node"),
        (r#"{"k":"handover","n":"abcdefghijkl","missed":["c1","c2","c1"]}"#, "rejected node"),
        (r#"{"k":"handover","n":"abcdefghijkl","recounts":["c1","c2","c3","c4"]}"#, "rejected node"),
        (
            concat!(
                r#"{"k":"offer","n":"abcdefghijkl","from":"mnopqrstuvwx","sid":"s","username":"u","#,
                r#""conversations":["","1","2","3"]}"#
            ),
            "rejected node",
        ),
    ] {
        assert_eq!(told(&reader(Dialect::Classic).read(OWN, text.as_bytes())), outcome, "{text}");
    }
    let of_another = b"socket.io-nodes#/max#{socket.io-nodes#/max#}abcdefghijkl#";
    assert_eq!(told(&reader(Dialect::Classic).read(of_another, b"{}")), "rejected channel");
}
