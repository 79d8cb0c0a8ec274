//! The codecs alone: decoding a talk, encoding an update for each generation and a poll's answer with many updates,
//! parsing WebSocket frames, and writing and reading an update on the bus.

#[path = "../tests/support/frame.rs"]
mod frame;
mod support;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frame::masked;
use maxtalk::testing::cluster::{Content, Dialect, Message as PeerMessage, NodeId, Stamp, Wire, WireSettings};
use maxtalk::testing::event::{ClientEvent, ConversationId, EventName, Scalar, Talk, Username};
use maxtalk::testing::protocol::payload::{Form, PayloadWriter};
use maxtalk::testing::protocol::websocket::{Message, Reader, Step};
use maxtalk::testing::protocol::{Generation, engine, legacy, packet};

const TALK: &str = concat!(
    r#"42/max,["talk",{"conversation":"5f6e7d8c9b0a1f2e3d4c5b6a","#,
    r#""timestamp":1700000000000,"messageID":"65535f00c0ffee00c0ffee00"}]"#,
);
const OLD_TALK: &str = concat!(
    r#"5::/max:{"name":"talk","args":[{"conversation":"5f6e7d8c9b0a1f2e3d4c5b6a","#,
    r#""timestamp":1700000000000,"messageID":"65535f00c0ffee00c0ffee00"}]}"#,
);

/// Decodes the text of a message to the event that the session handles.
fn decode(text: &str) -> ClientEvent {
    let engine::Packet::Text(text) = engine::Packet::from_text(Generation::Eio4, text).expect("a packet") else {
        unreachable!("a message")
    };
    let packet = packet::Packet::decode(Generation::Eio4, text).expect("a packet");
    let arguments = packet::arguments(packet.data.expect("an event")).expect("its arguments");
    ClientEvent::parse(EventName::Talk, arguments.get(1).copied(), 256).expect("a talk")
}

fn decode_talk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode a talk");
    group.bench_function("eio4", |bencher| bencher.iter(|| decode(black_box(TALK))));
    group.bench_function("0.9, its packet alone", |bencher| {
        bencher.iter(|| legacy::Packet::decode(black_box(OLD_TALK)).expect("a packet"));
    });
}

fn encode_update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode an update");
    for generation in Generation::ALL {
        group.bench_function(generation.as_str(), |bencher| {
            bencher.iter_batched(support::update, |mut update| update.frame(generation).clone(), BatchSize::SmallInput);
        });
    }
}

fn write_payload(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer a poll with 100 updates");
    group.throughput(Throughput::Elements(100));
    for generation in Generation::ALL {
        let frame = support::update().frame(generation).clone();
        group.bench_function(generation.as_str(), |bencher| {
            bencher.iter(|| {
                let mut payload = PayloadWriter::new(generation, Form::Mixed);
                (0..100).for_each(|_| payload.push(frame.clone()));
                payload.finish()
            });
        });
    }
}

fn read_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a WebSocket frame");
    for (name, text) in [("ping", "3".to_owned()), ("talk", TALK.to_owned()), ("16 KiB", "x".repeat(16 << 10))] {
        let (input, mut reader) = (masked(true, 1, [0x37, 0xfa, 0x21, 0x3d], text.as_bytes()), Reader::new(1 << 20));
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            // A frame is unmasked in place, so each is parsed only once.
            bencher.iter_batched_ref(
                || input.clone(),
                |input| match reader.step(input) {
                    Ok(Step::Frame { consumed, message: Some(Message::Text(text)) }) => (consumed, text.len()),
                    other => unreachable!("{other:?}"),
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// The update of another node, as the bus carries it.
fn bus(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("an update on the bus");
    let id = ConversationId::from("5f6e7d8c9b0a1f2e3d4c5b6a");
    let talk = Talk {
        conversation: id.clone(),
        timestamp: Some(Scalar::Literal("1700000000000".into())),
        message_id: Some(Scalar::Text("65535f00c0ffee00c0ffee00".into())),
    };
    let username = Username::parse("messi").expect("a username");
    let (theirs, ours) = (NodeId::from_random(1), NodeId::from_random(2));
    let stamp = Some(Stamp { node: theirs, life: 7, sequence: Some(12_345) });
    let content = Content::Update { username, talk, except: Vec::new(), except_self: false };
    let message = PeerMessage { stamp, content };
    for (name, dialect) in [("classic", Dialect::Classic), ("sharded", Dialect::Sharded)] {
        let wire = |node| {
            Wire::new(WireSettings {
                prefix: "socket.io".into(),
                namespace: "/max".into(),
                dialect,
                node,
                events: vec!["update".into()],
                namespace_wide: false,
                python_channel: None,
                message_bytes_max: 65_536,
                id_bytes_max: 256,
                conversations_max: 1000,
            })
        };
        let (writer, reader) = (wire(theirs), wire(ours));
        let (channel, bytes) = (writer.room(&id), writer.write(&id, &message));
        group.bench_function(BenchmarkId::new("write", name), |bencher| {
            bencher.iter(|| writer.write(black_box(&id), black_box(&message)));
        });
        group.bench_function(BenchmarkId::new("read", name), |bencher| {
            bencher.iter(|| reader.read(black_box(channel.as_bytes()), black_box(&bytes)));
        });
    }
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = decode_talk, encode_update, write_payload, read_frames, bus
}
criterion_main!(benches);
