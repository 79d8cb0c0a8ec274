//! The outbox of one client: a push, a fold, and the work of a transport that empties it.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use maxtalk::testing::delivery::Frames;

/// Measures how long it takes to push frames, take all of them, and report them as written.
fn through(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push, take, written");
    let (outbox, frame, news) = (support::outbox(&support::metrics()), support::frame(), support::news());
    for messages in [1, 64] {
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(BenchmarkId::from_parameter(messages), |bencher| {
            let mut taken = Frames::new();
            bencher.iter(|| {
                for _ in 0..messages {
                    assert!(outbox.push_news(frame.clone(), &news));
                }
                outbox.take(&mut taken);
                outbox.written(taken.len(), frame.len() * messages);
                taken.clear();
            });
        });
    }
}

/// Measures a push to a client that was closed for being too slow.
fn closed(criterion: &mut Criterion) {
    let (outbox, frame) = (support::outbox(&support::metrics()), support::frame());
    outbox.close(maxtalk::testing::event::CloseReason::Slow);
    criterion.bench_function("push into a closed one", |bencher| bencher.iter(|| outbox.push(frame.clone())));
}

/// Measures the fold of an update for a reader that is behind.
fn folded(criterion: &mut Criterion) {
    let (outbox, frame, news) = (support::outbox(&support::metrics()), support::frame(), support::news());
    while outbox.push_news(frame.clone(), &news) {}
    criterion.bench_function("fold", |bencher| bencher.iter(|| outbox.push_news(frame.clone(), &news)));
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = through, closed, folded
}
criterion_main!(benches);
