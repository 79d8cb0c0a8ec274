//! The front door of an actor: a question and its answer, a full mailbox that is drained, and a refusal.

mod support;

use actix::{Actor, Context, Handler};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use maxtalk::testing::mailbox::{Addressed, Classified, Mail, Mailbox, SendError};
use maxtalk::testing::metrics::{ActorClass, ToConversation};
use tokio::sync::oneshot;

const LIMIT: usize = 1024;

/// Counts its messages.
struct Counter(usize);

enum ToCounter {
    Add,
    Get(oneshot::Sender<usize>),
}

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
    }
}

impl Addressed for Counter {
    type Message = ToCounter;
}

impl Classified for ToCounter {
    type Kind = ToConversation;

    fn kind(&self) -> ToConversation {
        match self {
            Self::Add => ToConversation::Talk,
            Self::Get(_) => ToConversation::Ask,
        }
    }
}

impl Handler<Mail<ToCounter>> for Counter {
    type Result = ();

    fn handle(&mut self, mail: Mail<ToCounter>, _: &mut Self::Context) {
        let (message, _handling) = mail.open();
        match message {
            ToCounter::Add => self.0 += 1,
            ToCounter::Get(reply) => drop(reply.send(self.0)),
        }
    }
}

async fn count(mailbox: &Mailbox<Counter>) -> usize {
    let (reply, answer) = oneshot::channel();
    mailbox.try_send(ToCounter::Get(reply)).expect("there is room for one");
    answer.await.expect("it lives")
}

fn mailboxes(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let metrics = support::metrics();
    metrics.mailbox(ActorClass::Conversation).limit.set(LIMIT);
    let mailbox = system.block_on(async { Mailbox::new(Counter(0).start(), &metrics) });
    criterion.bench_function("a question and its answer", |bencher| {
        bencher.iter(|| system.block_on(count(&mailbox)));
    });

    let mut group = criterion.benchmark_group("a mailbox");
    group.throughput(Throughput::Elements(LIMIT as u64));
    group.bench_function("filled and worked off", |bencher| {
        bencher.iter(|| {
            system.block_on(async {
                for _ in 1..LIMIT {
                    mailbox.try_send(ToCounter::Add).expect("there is room");
                }
                count(&mailbox).await
            })
        });
    });
    group.finish();

    // The actor never runs here, so the mailbox stays full.
    while mailbox.try_send(ToCounter::Add).is_ok() {}
    criterion.bench_function("a refusal by a full mailbox", |bencher| {
        bencher.iter(|| assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full)));
    });
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = mailboxes
}
criterion_main!(benches);
