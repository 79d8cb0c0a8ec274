//! The bus between two nodes on a real Redis: a message there, many messages there, and the channels of many
//! conversations after the connections were lost. `redis-server` must be installed.

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use maxtalk::testing::cluster::{
    Bus, Census, Closed, Content, Door, FromBus, Message, Port as _, Settings, Stamp, Status,
};
use maxtalk::testing::event::ConversationId;
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

/// The longest wait for Redis.
const DEADLINE: Duration = Duration::from_secs(60);

/// The messages of a burst. They fit into the queue of the bus.
const BURST: u64 = 1_000;

/// The conversations whose channels are subscribed again.
const CONVERSATIONS: u64 = 10_000;

/// A Redis of its own on a Unix socket.
struct Redis {
    dir: TempDir,
    child: Child,
}

impl Redis {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(dir.path().join("socket"));
        let child = command.stdout(Stdio::null()).spawn().expect("redis-server is needed");
        Self { dir, child }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Closes the connections of all subscribers.
    fn disconnect_subscribers(&self) {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.socket()).args(["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(command.stdout(Stdio::null()).status().expect("redis-cli is needed").success());
    }

    /// Starts a bus, and waits until it is up.
    fn bus(&self) -> Arc<Bus> {
        let settings = Settings {
            urls: vec![format!("unix://{}", self.socket().display()).into()],
            // Conversations are told at once, so that Redis and the bus are what is measured.
            resync_per_s: 10_000_000,
            missed_spread: Duration::ZERO,
            reconnect_max: Duration::from_millis(1),
            ..Settings::default()
        };
        let census = || Census { sessions: 0, conversations: 0 };
        let bus = Bus::start(settings, support::metrics(), census).expect("a bus");
        let end = Instant::now() + DEADLINE;
        while bus.status() != Status::Up {
            assert!(Instant::now() < end, "{:?}", bus.status());
            std::thread::sleep(Duration::from_millis(1));
        }
        bus
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }
}

/// A door that counts.
#[derive(Debug, Default)]
struct Counter {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    messages: u64,
    attached: u64,
}

impl Door for Counter {
    fn offer(&self, news: FromBus) -> Result<(), Closed> {
        self.give(news);
        Ok(())
    }

    fn give(&self, news: FromBus) {
        let mut counts = self.counts.lock();
        match news {
            FromBus::Message(_) => counts.messages += 1,
            FromBus::Attached { .. } => counts.attached += 1,
            _ => return,
        }
        self.changed.notify_all();
    }
}

impl Counter {
    fn until(&self, is_enough: impl Fn(Counts) -> bool) {
        let end = Instant::now() + DEADLINE;
        let mut counts = self.counts.lock();
        while !is_enough(*counts) {
            assert!(!self.changed.wait_until(&mut counts, end).timed_out(), "only {counts:?}");
        }
    }
}

fn messages(criterion: &mut Criterion) {
    let redis = Redis::start();
    let (talker, listener) = (redis.bus(), redis.bus());
    let (room, counter) = (ConversationId::from("5f6e7d8c9b0a1f2e3d4c5b6a"), Arc::new(Counter::default()));
    listener.attach(&room, 1, counter.clone());
    counter.until(|counts| counts.attached == 1);
    let mut said = 0;
    let mut group = criterion.benchmark_group("from node to node");
    for burst in [1, BURST] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(format!("{burst} messages"), |bencher| {
            bencher.iter(|| {
                for _ in 0..burst {
                    said += 1;
                    let stamp = Some(Stamp { node: talker.node(), life: 1, sequence: Some(said) });
                    let (username, talk) = (support::username(1), support::talk());
                    let content = Content::Update { username, talk, except: Vec::new(), except_self: false };
                    talker.publish(&room, &Message { stamp, content }).expect("room in the queue");
                }
                counter.until(|counts| counts.messages == said);
            });
        });
    }
    group.finish();
}

fn channels(criterion: &mut Criterion) {
    let redis = Redis::start();
    let (bus, counter) = (redis.bus(), Arc::new(Counter::default()));
    let rooms = (0..CONVERSATIONS).map(|number| ConversationId::from(format!("5f6e7d8c9b0a1f2e{number:08}").as_str()));
    rooms.for_each(|room| bus.attach(&room, 1, counter.clone()));
    let mut expected = CONVERSATIONS;
    counter.until(|counts| counts.attached == expected);
    let mut group = criterion.benchmark_group("after a lost connection");
    group.throughput(Throughput::Elements(CONVERSATIONS)).sample_size(10);
    group.bench_function(format!("{CONVERSATIONS} channels"), |bencher| {
        bencher.iter(|| {
            redis.disconnect_subscribers();
            expected += CONVERSATIONS;
            counter.until(|counts| counts.attached == expected);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = messages, channels
}
criterion_main!(benches);
