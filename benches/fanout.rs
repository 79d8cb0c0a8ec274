//! One talk in a conversation, up to the sockets of all members: the cost of a delivery outside the kernel.

#[path = "support/room.rs"]
mod room;
mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use room::Room;

fn fan_out(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = criterion.benchmark_group("a talk into a conversation of");
    for listeners in [10, 1_000, 10_000] {
        let room = system.block_on(Room::with(listeners));
        group.throughput(Throughput::Elements(listeners));
        group.bench_function(BenchmarkId::from_parameter(listeners), |bencher| {
            bencher.iter(|| system.block_on(room.talk(listeners)));
        });
    }
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = fan_out
}
criterion_main!(benches);
