//! Properties for all input: no bytes make the reader panic, recurse without bound, or allocate out of proportion, and
//! whatever a node writes comes back.

use std::hint::black_box;

use maxtalk::testing::cluster::{
    Content, Dialect, Message, NodeId, NodeMessage, Presence, Reading, Stamp, Users, Wire, WireSettings,
};
use maxtalk::testing::event::{ConversationId, Scalar, Talk, Username};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::foreign::pack;
use super::{CHANNEL, NAMESPACE, NODES, ROOM, captured, id, messages, reader, settings, told, with, writer};

use Dialect::{Classic, Sharded};

/// Bytes that a reader may allocate in addition to a multiple of its input.
const BYTES_IN_ANY_CASE: usize = 4096;

/// Bytes that a reader may allocate for each byte of its input: a value takes one byte on the wire at the least, and
/// some dozens in memory, in two lists while one of them grows.
const BYTES_FOR_EACH: usize = 400;

/// Channels of each kind.
const CHANNELS: [&[u8]; 4] = [CHANNEL, NAMESPACE, NODES, b"socketio"];

/// A well-formed message of anybody, with the dialect and the channel on which it is read.
fn wellformed() -> Vec<(Dialect, &'static [u8], Vec<u8>)> {
    let ours = [Classic, Sharded].into_iter().flat_map(|dialect| {
        messages().into_iter().map(move |message| (dialect, CHANNEL, writer(dialect).write(&id(ROOM), &message)))
    });
    let nodes = NodeMessage::Bye { node: super::node("abcdefghijkl"), grace_ms: 10_000, flushed: true };
    let theirs = captured().into_iter().map(|captured| (Classic, captured.channel, captured.bytes));
    ours.chain(theirs).chain([(Classic, NODES, writer(Classic).write_node(&nodes))]).collect()
}

/// A wire that reads as much as possible.
fn curious(dialect: Dialect) -> Wire {
    with(dialect, |settings| settings.namespace_wide = true)
}

fn read_everywhere(bytes: &[u8]) -> Result<(), TestCaseError> {
    for dialect in [Classic, Sharded] {
        let wire = curious(dialect);
        for channel in CHANNELS {
            let mut reading = None;
            let peak = allocation_counter::measure(|| reading = Some(black_box(wire.read(channel, bytes)))).bytes_max;
            let limit = (BYTES_FOR_EACH * bytes.len() + BYTES_IN_ANY_CASE) as u64;
            prop_assert!(peak <= limit, "{} bytes of {}: {}", peak, bytes.len(), bytes.escape_ascii());
            if let Some(Reading::Messages(messages)) = reading {
                for (id, message) in &messages {
                    prop_assert!(id.as_str().len() <= 256);
                    check(message)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether the values of a message keep their bounds.
fn check(message: &Message) -> Result<(), TestCaseError> {
    let Content::Update { talk, .. } = &message.content else { return Ok(()) };
    for scalar in [&talk.timestamp, &talk.message_id].into_iter().flatten() {
        let (Scalar::Literal(text) | Scalar::Text(text)) = scalar;
        prop_assert!(text.len() <= 256);
        if matches!(scalar, Scalar::Literal(_)) {
            let value: Value = serde_json::from_str(text).map_err(|_| TestCaseError::fail(text.to_string()))?;
            prop_assert!(!value.is_object() && !value.is_array() && !value.is_string(), "{}", text);
        }
    }
    Ok(())
}

/// Pieces of messages, some of them repeated very often.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: &[&[u8]] = &[
        b"\x93\xa3uid",
        b"\x83\xa4type\x02\xa4data\x92\xa6update\x81\xa8username\xa5messi\xa3nsp\xa4/max",
        b"\x81\xa5rooms",
        b"\x82\xa5rooms",
        b"\xa6except",
        b"\xa7maxtalk\x83\xa1n\xacabcdefghijkl\xa1l\x01\xa1s\x01",
        b"\x81\xa3nsp\xa1!",
        b"\xdc\x0f\xff",
        b"\xdd\x00\x00\xff\xff",
        b"\xde\x0f\xff",
        b"\xa1u",
        b"\xa1a",
        b"\xa0",
        b"\x00",
        b"\x91",
        b"\x81",
        b"\x80",
        b"\x90",
        b"\xc0",
        b"\xd4\x00\x00",
        b"\xc1",
        b"\xff",
        b"{\"type\":3,\"nsp\":\"/max\",\"data\":{\"packet\":{\"type\":2,\"data\":[\"update\",{\"username\":\"a\"}]},",
        b"\"opts\":{\"rooms\":[",
        b"\"method\":\"emit\",\"event\":\"update\",\"namespace\":\"/max\",\"data\":[{\"username\":\"a\"}],\"room\":[",
        b"[",
        b"]",
        b"{",
        b"}",
        b"0,",
        b"0",
        b",",
        b"\"\",",
        b"\"\\n\",",
        b"\"a\":",
        b"{\"\":0},",
        b"[],",
    ];
    let parts = || prop::sample::select(PARTS);
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (vec(parts(), 0..6), vec(parts(), 1..3), 1..4000usize, vec(parts(), 0..6)).prop_map(
            |(first, often, times, last)| [first.concat(), often.concat().repeat(times), last.concat()].concat()
        ),
    ]
}

fn scalar() -> impl Strategy<Value = Option<Scalar>> {
    let literal = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        "true|false|null",
    ];
    prop_oneof![
        Just(None),
        literal.prop_map(|text| Some(Scalar::Literal(text.into()))),
        ".{0,60}".prop_map(|text| Some(Scalar::Text(text.into()))),
    ]
}

fn name() -> impl Strategy<Value = Username> {
    any::<String>().prop_filter_map("no username", |name| Username::parse(&name).ok())
}

fn conversation() -> impl Strategy<Value = ConversationId> {
    prop_oneof!["[0-9a-f]{24}", "[0-9a-f]{20}", ".{0,60}", "[#]{0,3}"].prop_map(|id| id.as_str().into())
}

fn content(conversation: ConversationId) -> impl Strategy<Value = Content> {
    let except = (vec(any::<String>().prop_map(Into::into), 0..3), any::<bool>());
    let update = (name(), scalar(), scalar(), except).prop_map(
        move |(username, timestamp, message_id, (except, except_self))| {
            let talk = Talk { conversation: conversation.clone(), timestamp, message_id };
            Content::Update { username, talk, except, except_self }
        },
    );
    let users =
        prop_oneof![vec(name(), 0..40).prop_map(Users::Names), any::<u32>().prop_map(|n| Users::Count(n as usize))];
    let presence = prop_oneof![
        (users, any::<bool>()).prop_map(|(users, asks)| Presence::State { users, asks }),
        (name(), any::<bool>()).prop_map(|(username, public)| Presence::Come { username, public }),
        (name(), any::<bool>()).prop_map(|(username, public)| Presence::Go { username, public }),
        Just(Presence::Gone),
        any::<u64>().prop_map(|bits| Presence::Ask { to: NodeId::from_random(bits) }),
    ];
    prop_oneof![update, presence.prop_map(Content::Presence)]
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(bytes in pieces()) {
        read_everywhere(&bytes)?;
    }

    #[test]
    fn no_change_of_a_message_upsets_the_reader(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let all = wellformed();
        let mut bytes = which.get(&all).2.clone();
        for (at, byte, what) in changes {
            let at = at.index(bytes.len().max(1));
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => if let Some(changed) = bytes.get_mut(at) { *changed = byte },
            }
        }
        read_everywhere(&bytes)?;
    }

    #[test]
    fn what_is_written_comes_back(
        (id, content) in conversation().prop_flat_map(|id| (Just(id.clone()), content(id))),
        life in any::<u64>(),
        sequence in 1..=u64::MAX,
        bits in any::<u64>(),
        message_bytes_max in prop_oneof![Just(65_536usize), 400..2000usize],
    ) {
        let sender = NodeId::from_random(bits);
        let is_ask = matches!(content, Content::Presence(Presence::Ask { .. }));
        let stamp = Some(Stamp { node: sender, life, sequence: (!is_ask).then_some(sequence) });
        let message = Message { stamp, content };
        for dialect in [Classic, Sharded] {
            let wire = Wire::new(WireSettings { message_bytes_max, node: sender, ..settings(dialect, "abcdefghijkl") });
            let bytes = wire.write(&id, &message);
            let read = reader(dialect).read(wire.publishes_to(&id).as_bytes(), &bytes);
            let mut expected = message.clone();
            if let Content::Presence(Presence::State { users, .. }) = &mut expected.content
                && let Users::Names(names) = users
                && let Reading::Messages(messages) = &read
                && let Some((_, first)) = messages.first()
                && let Content::Presence(Presence::State { users: Users::Count(count), .. }) = &first.content
            {
                prop_assert_eq!(names.len(), *count);
                prop_assert!(bytes.len() <= message_bytes_max);
                *users = Users::Count(*count);
            }
            prop_assert_eq!(read, Reading::Messages(vec![(id.clone(), expected)]));
        }
    }
}

#[test]
fn a_message_that_is_cut_short_is_rejected() {
    for (dialect, channel, bytes) in wellformed() {
        for len in 0..bytes.len() {
            let told = told(&reader(dialect).read(channel, &bytes[..len]));
            assert!(
                ["rejected syntax", "rejected text", "rejected channel", "rejected pickle"].contains(&&*told),
                "{told} of {}",
                bytes[..len].escape_ascii()
            );
        }
    }
}

#[test]
fn depth_costs_nothing() {
    // With a stack of 64 KiB, a recursion over 60,000 levels would overflow.
    let work = || {
        let bombs: [Vec<u8>; 6] = [
            vec![0x91; 60_000],
            vec![0x81; 60_000],
            [b"\x81\xa0".repeat(30_000), vec![0xc0]].concat(),
            [b"[".repeat(30_000), b"]".repeat(30_000)].concat(),
            [b"{\"a\":".repeat(10_000), b"0".to_vec(), b"}".repeat(10_000)].concat(),
            b"{\"k\":".repeat(10_000),
        ];
        for bomb in &bombs {
            for dialect in [Classic, Sharded] {
                for channel in CHANNELS {
                    let told = told(&curious(dialect).read(channel, bomb));
                    assert!(told.starts_with("rejected"), "{told}");
                }
            }
        }
        let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        let argument = |levels| json!({"username": "a", "x": nested(levels)});
        let emit =
            |levels| json!(["uid", {"type": 2, "nsp": "/max", "data": ["update", argument(levels)]}, {"rooms": ["a"]}]);
        // The argument is on the fourth level.
        assert_eq!(told(&reader(Classic).read(CHANNEL, &pack(&emit(4)))), "a: a - -");
        assert_eq!(told(&reader(Classic).read(CHANNEL, &pack(&emit(5)))), "rejected too_deep");
        let emit = |levels| {
            json!({"type": 3, "nsp": "/max", "data": {
                "packet": {"type": 2, "data": ["update", argument(levels)]}, "opts": {"rooms": ["a"]},
            }})
        };
        for (levels, expected) in [(3, "a: a - -"), (4, "rejected too_deep")] {
            let message = emit(levels);
            assert_eq!(told(&reader(Sharded).read(CHANNEL, &pack(&message))), expected);
            assert_eq!(told(&reader(Sharded).read(CHANNEL, message.to_string().as_bytes())), expected);
        }
    };
    std::thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn an_emit_makes_a_bounded_number_of_copies() {
    let emit = |rooms: usize, except: usize| {
        let rooms: Vec<_> = (0..rooms).map(|room| room.to_string()).collect();
        let except: Vec<_> = (0..except).map(|name| name.to_string()).collect();
        let packet = json!({"type": 2, "nsp": "/max", "data": ["update", {"username": "a"}]});
        pack(&json!(["uid", packet, {"rooms": rooms, "except": except}]))
    };
    let count = |reading| match reading {
        Reading::Messages(messages) => messages.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(count(reader(Classic).read(NAMESPACE, &emit(9000, 0))), 9000);
    assert_eq!(count(reader(Classic).read(NAMESPACE, &emit(128, 127))), 128);
    assert_eq!(told(&reader(Classic).read(NAMESPACE, &emit(129, 127))), "rejected rooms");
}
