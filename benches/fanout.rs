//! One talk into a conversation, up to the last of its members' outboxes: its mailbox, the encoding, all pushes.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Actor as _;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use maxtalk::actors::conversation::{Arrivals, Commons, ConversationActor, ConversationMessage, Enter};
use maxtalk::actors::registry::{Arbiters, RegistryActor};
use maxtalk::actors::roster::Roster;
use maxtalk::config::Config;
use maxtalk::event::SessionId;
use maxtalk::mailbox::Mailbox;
use maxtalk::max::{Directory, Gate, Target, Tokenless};
use maxtalk::outbox::{Frames, Outbox};
use tokio::sync::oneshot;

/// A conversation with members who are nobody: what they are sent stays in their outboxes.
struct Room {
    conversation: Mailbox<ConversationActor>,
    outboxes: Vec<Arc<Outbox>>,
}

impl Room {
    async fn with(members: u64) -> Self {
        let settings = Config::default();
        let commons = Arc::new(Commons {
            namespace: "/max".into(),
            // Nobody is told of the others: that would be members² events.
            presence_members_max: 1,
            burst_max: settings.conversation.burst_max,
            linger: Duration::from_millis(settings.conversation.linger_ms),
            mailbox_max: settings.mailbox.conversation,
            metrics: support::metrics(),
        });
        // A conversation knows the registry, which knows a MAX: nobody asks it.
        let target = Target { url: "http://127.0.0.1:1".into(), service: None, tokenless: Tokenless::Never };
        let gate = Arc::new(Gate::new(&settings.max));
        let directory = Directory::new(&settings.max, target, 256, gate).expect("a target");
        let (registry, _) =
            RegistryActor::launch(directory, commons.clone(), Arbiters::default(), 10, Duration::from_secs(5));
        let id = support::talk().conversation;
        let mut tenure = None;
        Roster::default().get_or_spawn(&id, |()| true, |spawned| tenure = Some(spawned));
        let actor = ConversationActor::new(id, tenure.expect("it was spawned"), commons.clone(), registry);
        let conversation = Mailbox::new(actor.start(), commons.mailbox_max, &commons.metrics);
        let mut outboxes = Vec::new();
        for number in 0..members {
            let outbox = support::outbox(&commons.metrics);
            let (done, entered) = oneshot::channel();
            let (session, username) = (SessionId(number), support::username(number));
            let arrival = Arrivals::new(1, done).expect();
            let enter = Enter { session, username, outbox: outbox.clone(), arrival };
            conversation.try_send(ConversationMessage::Enter(enter)).expect("there is room");
            entered.await.expect("it lives");
            outboxes.push(outbox);
        }
        let mut room = Self { conversation, outboxes };
        room.clear();
        room
    }

    /// Says something as the first member, and waits until all others have it.
    async fn talk(&self) {
        let (session, username) = (SessionId(0), support::username(0));
        let talk = ConversationMessage::Talk { session, username, talk: support::talk() };
        self.conversation.try_send(talk).expect("there is room");
        let (reply, people) = oneshot::channel();
        self.conversation.try_send(ConversationMessage::Ask(reply)).expect("there is room");
        people.await.expect("it lives");
    }

    /// Does as if all of it had been written.
    fn clear(&mut self) -> usize {
        let mut taken = Frames::new();
        let mut messages = 0;
        for outbox in &self.outboxes {
            outbox.take(&mut taken);
            outbox.written(taken.len(), taken.iter().map(|frame| frame.len()).sum());
            messages += taken.len();
            taken.clear();
        }
        messages
    }
}

fn fan_out(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = criterion.benchmark_group("a talk into a conversation of");
    for members in [10, 1_000, 10_000] {
        let mut room = system.block_on(Room::with(members + 1));
        group.throughput(Throughput::Elements(members));
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter_custom(|talks| {
                (0..talks).fold(Duration::ZERO, |sum, _| {
                    let begun = Instant::now();
                    system.block_on(room.talk());
                    let taken = begun.elapsed();
                    assert_eq!(room.clear() as u64, members);
                    sum + taken
                })
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = fan_out
}
criterion_main!(benches);
