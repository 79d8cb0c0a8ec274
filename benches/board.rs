//! The board among 200,000 sessions and 100,000 conversations: what a talk, a heartbeat and a backlog cost beside the
//! rest of their work, and what a reader of the rankings pays.

mod support;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use maxtalk::testing::board::{ConversationBoard, ConversationMeasure, SessionBoard, SessionMeasure};
use maxtalk::testing::event::SessionId;
use maxtalk::testing::protocol::TransportKind;

fn conversations(criterion: &mut Criterion) {
    let board = ConversationBoard::<()>::new(Instant::now());
    let entries: Vec<_> = (0..100_000).map(|at| board.enter(board.card(format!("c{at}").as_str().into()))).collect();
    for (at, entry) in entries.iter().enumerate() {
        entry.members(at % 3000, at % 3000);
        entry.delivered(at as u64 % 500, true);
    }
    let mut group = criterion.benchmark_group("the card of a conversation");
    let mut all = entries.iter().cycle();
    group.bench_function("notes a talk to ten", |bencher| {
        bencher.iter(|| all.next().into_iter().for_each(|entry| entry.delivered(black_box(10), true)));
    });
    group.bench_function("notes an entry", |bencher| {
        bencher.iter(|| all.next().into_iter().for_each(|entry| entry.members(black_box(10), 9)));
    });
    group.bench_function("comes and goes", |bencher| bencher.iter(|| board.enter(board.card("another".into()))));
    group.bench_function("is among the first hundred", |bencher| {
        bencher.iter(|| board.top(ConversationMeasure::Talks, 100));
    });
}

fn sessions(criterion: &mut Criterion) {
    let (board, metrics) = (SessionBoard::new(Instant::now()), support::metrics());
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    let enter = |id: u64| {
        let outbox = support::outbox(&metrics);
        (board.enter(SessionId(id), address, TransportKind::WebSocket, &outbox), outbox)
    };
    let sessions: Vec<_> = (0..200_000).map(enter).collect();
    for (at, (entry, _)) in sessions.iter().enumerate() {
        entry.beat(Some(Duration::from_micros(at as u64 * 7919 % 100_000 + 1)));
    }
    let mut group = criterion.benchmark_group("the card of a session");
    let mut all = sessions.iter().cycle();
    group.bench_function("notes a heartbeat", |bencher| {
        let round_trip = Some(Duration::from_micros(100));
        bencher.iter(|| all.next().into_iter().for_each(|(entry, _)| entry.beat(black_box(round_trip))));
    });
    let frame = support::frame();
    group.bench_function("hears of a backlog of 17", |bencher| {
        bencher.iter(|| {
            let Some((_, outbox)) = all.next() else { return };
            (0..17).for_each(|_| _ = outbox.push(frame.clone()));
            outbox.drain_while(|_| true);
            outbox.written(17, 17 * frame.len());
        });
    });
    group.bench_function("is among the first hundred", |bencher| {
        bencher.iter(|| board.top(SessionMeasure::RoundTrip, 100));
    });
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = conversations, sessions
}
criterion_main!(benches);
