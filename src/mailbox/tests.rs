//! Tests of the front door: the bound, the count, and what is measured.

use std::thread;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::metrics::mailboxes::{ActorReading, KindReading};
use crate::metrics::{ReadAtScrape, ToConversation};

/// Counts its messages.
struct Counter(usize, Vec<Handling>);

enum ToCounter {
    Add,
    /// Takes this time, by the clock of the test.
    Work(Duration),
    /// Is handled until a `Done` comes.
    Begin,
    Done,
    Panic,
    Get(oneshot::Sender<usize>),
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Addressed for Counter {
    type Message = ToCounter;
}

impl Classified for ToCounter {
    type Kind = ToConversation;

    fn kind(&self) -> ToConversation {
        match self {
            Self::Add | Self::Work(_) | Self::Panic => ToConversation::Talk,
            Self::Begin => ToConversation::Enter,
            Self::Done => ToConversation::Leave,
            Self::Get(_) => ToConversation::Ask,
        }
    }
}

impl Handler<Mail<ToCounter>> for Counter {
    type Result = ();

    fn handle(&mut self, mail: Mail<ToCounter>, _: &mut Self::Context) {
        let (message, handling) = mail.open();
        match message {
            ToCounter::Add => self.0 += 1,
            ToCounter::Work(time) => clock::advance(time),
            ToCounter::Begin => self.1.push(handling),
            ToCounter::Done => drop(self.1.pop()),
            ToCounter::Panic => panic!("as it was told"),
            ToCounter::Get(reply) => drop(reply.send(self.0)),
        }
    }
}

fn mailbox(limit: usize) -> (Mailbox<Counter>, Arc<MailboxMetrics>) {
    let metrics = Metrics::new(&[(ActorClass::Conversation, limit)], ReadAtScrape::default());
    (Mailbox::new(Counter(0, Vec::new()).start(), &metrics), metrics.mailbox(ActorClass::Conversation).clone())
}

async fn count(mailbox: &Mailbox<Counter>) -> usize {
    let (reply, answer) = oneshot::channel();
    mailbox.send_always(ToCounter::Get(reply));
    answer.await.unwrap()
}

/// With actix's own capacity each of the fresh clones would add a slot.
#[actix_rt::test]
async fn clones_share_one_bound() {
    let (mailbox, metrics) = mailbox(16);
    let taken = (0..100).filter(|_| mailbox.clone().try_send(ToCounter::Add).is_ok()).count();
    assert_eq!((taken, metrics.messages.get(), metrics.kind(ToConversation::Talk).full.get()), (16, 16, 84));
    assert_eq!(metrics.read(Instant::now()).peak, 16);
    assert_eq!(count(&mailbox).await, 16);
    assert_eq!(metrics.messages.get(), 0);
    assert_eq!(mailbox.try_send(ToCounter::Add), Ok(()), "there is room again");
}

#[actix_rt::test]
async fn send_always_ignores_the_bound() {
    let (mailbox, metrics) = mailbox(1);
    assert_eq!(mailbox.try_send(ToCounter::Add), Ok(()));
    assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
    mailbox.send_always(ToCounter::Add);
    assert_eq!(metrics.messages.get(), 2);
    assert_eq!(count(&mailbox).await, 2);
}

#[actix_rt::test]
async fn a_slot_that_is_not_used_is_freed() {
    let (mailbox, metrics) = mailbox(1);
    let slot = mailbox.reserve(ToConversation::Talk).unwrap();
    assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
    drop(slot);
    assert_eq!((metrics.messages.get(), metrics.offered()), (0, 1), "only the refused message was offered");
    let slot = mailbox.reserve(ToConversation::Talk).unwrap();
    mailbox.fill(slot, ToCounter::Add);
    assert_eq!(count(&mailbox).await, 1);
}

/// The messages behind the one that panics are not handled, and do not stay in the count.
#[actix_rt::test]
async fn a_panic_closes_the_mailbox_and_leaves_no_count() {
    let (mailbox, metrics) = mailbox(16);
    for message in [ToCounter::Panic, ToCounter::Add, ToCounter::Panic] {
        assert_eq!(mailbox.try_send(message), Ok(()));
    }
    while mailbox.is_open() {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.messages.get(), 0);
    assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Closed));
    assert_eq!((metrics.kind(ToConversation::Talk).closed.get(), metrics.messages.get()), (1, 0));
}

/// Returns what was measured of the messages of a kind.
fn read(metrics: &MailboxMetrics, kind: ToConversation) -> KindReading {
    metrics.read(now()).kinds.swap_remove(kind.number())
}

#[actix_rt::test]
async fn a_scripted_run_is_measured_exactly() {
    let ms = Duration::from_millis;
    let (mailbox, metrics) = mailbox(3);
    clock::advance(ms(0));
    let begun = now();
    assert_eq!(mailbox.try_send(ToCounter::Add), Ok(()));
    clock::advance(ms(1));
    assert_eq!(mailbox.try_send(ToCounter::Work(ms(5))), Ok(()));
    clock::advance(ms(2));
    assert_eq!(mailbox.try_send(ToCounter::Begin), Ok(()));
    assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
    assert_eq!(mailbox.reserve(ToConversation::Ask).err(), Some(SendError::Full));
    mailbox.send_always(ToCounter::Done);
    let full = metrics.read(now());
    assert_eq!((full.capacity, full.messages, full.peak), (3, 4, 4));

    // The messages are handled at 3 ms, 3 to 8 ms, from 8 ms on, and at 8 ms, which ends the one before.
    assert_eq!(count(&mailbox).await, 1);
    let talk = read(&metrics, ToConversation::Talk);
    assert_eq!((talk.message.as_str(), talk.offered, talk.full, talk.closed, talk.late), ("talk", 3, 1, 0, 0));
    assert_eq!((talk.wait.count(), talk.wait.sum()), (2, 0.005));
    assert_eq!((talk.handle.count(), talk.handle.sum()), (2, 0.005));
    assert_eq!(talk.handle.quantile(1.0), Some(0.005));
    let ask = read(&metrics, ToConversation::Ask);
    assert_eq!((ask.offered, ask.full, ask.wait.count()), (2, 1, 1));
    let (begin, done) = (read(&metrics, ToConversation::Enter), read(&metrics, ToConversation::Leave));
    assert_eq!((begin.wait.sum(), done.wait.sum()), (0.005, 0.005));
    assert_eq!((begin.handle.sum(), done.handle.sum()), (0.0, 0.0));
    let after = metrics.read(now());
    assert_eq!((after.capacity, after.messages, after.peak), (3, 0, 5));
    // Depths of 1 to 5, because that of a message counts itself; and twice the 3 that a refused one has found.
    assert_eq!((after.depth.count(), after.depth.sum(), after.depth.quantile(1.0)), (7, 21.0, Some(8.0)));
    assert_eq!(metrics.read(begun + Duration::from_secs(60)).peak, 5, "it is kept for a minute");
    assert_eq!(metrics.read(begun + Duration::from_secs(62)).peak, 0);
}

/// What an actor does for a message in later turns belongs to its handling.
#[actix_rt::test]
async fn a_message_is_handled_until_its_actor_is_done() {
    let (mailbox, metrics) = mailbox(3);
    clock::advance(Duration::ZERO);
    assert_eq!(mailbox.try_send(ToCounter::Begin), Ok(()));
    count(&mailbox).await;
    assert_eq!(read(&metrics, ToConversation::Enter).handle.count(), 0);
    assert_eq!(metrics.read(now()).messages, 0, "its slot is free");
    clock::advance(Duration::from_millis(70));
    assert_eq!(mailbox.try_send(ToCounter::Done), Ok(()));
    count(&mailbox).await;
    let handle = read(&metrics, ToConversation::Enter).handle;
    assert_eq!((handle.count(), handle.sum()), (1, 0.07));
}

#[test]
fn living_and_ended_actors_are_counted() {
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    let of = |class: ActorClass| metrics.mailbox(class).read(Instant::now()).actors;
    let count = || ActorCount::new(ActorClass::Session, &metrics);
    let (_living, ended) = (count(), count());
    drop(ended);
    let failing = count();
    let failed = thread::scope(|scope| {
        let fails = || {
            let _failing = failing;
            panic!("as it was told")
        };
        scope.spawn(fails).join().is_err()
    });
    assert!(failed);
    assert_eq!(of(ActorClass::Session), Some(ActorReading { living: 1, started: 3, stopped: 1, panicked: 1 }));
    assert_eq!(of(ActorClass::Registry), Some(ActorReading { living: 0, started: 0, stopped: 0, panicked: 0 }));
    assert_eq!(of(ActorClass::Max), None);
}

#[actix_rt::test]
async fn a_limit_below_what_waits_refuses_newcomers_and_drops_nothing() {
    let (mailbox, metrics) = mailbox(8);
    (0..8).for_each(|_| mailbox.try_send(ToCounter::Add).unwrap());
    metrics.limit.set(2);
    assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
    metrics.limit.set(9);
    assert_eq!(mailbox.try_send(ToCounter::Add), Ok(()), "it holds from the next message on");
    assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
    metrics.limit.set(2);
    assert_eq!(count(&mailbox).await, 9);
    assert_eq!((0..9).filter(|_| mailbox.try_send(ToCounter::Add).is_ok()).count(), 2);
}

/// Turns the limit up and down while ten thousand clones send from several threads.
#[actix_rt::test]
async fn many_senders_never_exceed_a_limit_that_is_turned() {
    const HIGHEST: usize = 100;
    let (mailbox, metrics) = mailbox(HIGHEST);
    let clones: Vec<_> = (0..10_000).map(|_| mailbox.clone()).collect();
    let mut taken = 0;
    for round in 0..5 {
        // The actor does not run meanwhile: its thread waits for the senders.
        let accepted: usize = thread::scope(|scope| {
            let send = |clones: &[Mailbox<Counter>]| {
                clones.iter().filter(|mailbox| mailbox.try_send(ToCounter::Add).is_ok()).count()
            };
            let senders: Vec<_> = clones.chunks(2500).map(|clones| scope.spawn(move || send(clones))).collect();
            (0..1000).for_each(|turn| metrics.limit.set(1 + (round + 7 * turn) % HIGHEST));
            metrics.limit.set(HIGHEST);
            senders.into_iter().map(|sender| sender.join().unwrap()).sum()
        });
        let waiting = metrics.read(Instant::now()).messages;
        assert!(accepted <= HIGHEST && waiting == accepted as u64, "{accepted} accepted, {waiting} waiting");
        taken += accepted;
        // One sender gets what is left, and no more.
        let more = (0..=HIGHEST).filter(|_| clones[0].try_send(ToCounter::Add).is_ok()).count();
        assert_eq!(accepted + more, HIGHEST);
        taken += more;
        assert_eq!(count(&mailbox).await, taken);
    }
}

/// What happens to a mailbox.
#[derive(Clone, Debug)]
enum Step {
    /// The sender with this number sends, by a clone of its own or not.
    Send {
        sender: usize,
        by_clone: bool,
    },
    Turn(usize),
    /// The actor handles everything.
    Run,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..10_000_usize, any::<bool>()).prop_map(|(sender, by_clone)| Step::Send { sender, by_clone }),
        2 => (0..12_usize).prop_map(Step::Turn),
        1 => Just(Step::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A message is taken if and only if fewer wait than the limit of the moment, whoever sends it.
    #[test]
    fn the_bound_is_that_of_the_moment(
        limit in 1..12_usize,
        senders in prop_oneof![Just(1_usize), Just(10_000)],
        steps in prop::collection::vec(step(), 1..300),
    ) {
        actix_rt::System::new().block_on(async {
            let (mailbox, metrics) = mailbox(limit);
            let senders: Vec<_> = (0..senders).map(|_| mailbox.clone()).collect();
            let (mut limit, mut waiting, mut taken) = (limit, 0, 0);
            for step in steps {
                match step {
                    Step::Send { sender, by_clone } => {
                        let sender = &senders[sender % senders.len()];
                        let cloned = by_clone.then(|| sender.clone());
                        let is_taken = cloned.as_ref().unwrap_or(sender).try_send(ToCounter::Add);
                        let expected = if waiting < limit { Ok(()) } else { Err(SendError::Full) };
                        assert_eq!(is_taken, expected, "{waiting} wait, {limit} may");
                        waiting += usize::from(is_taken.is_ok());
                        taken += usize::from(is_taken.is_ok());
                    }
                    Step::Turn(to) => {
                        metrics.limit.set(to);
                        limit = to;
                    }
                    Step::Run => {
                        assert_eq!(count(&mailbox).await, taken, "nothing was dropped");
                        waiting = 0;
                    }
                }
                assert_eq!(metrics.read(Instant::now()).capacity, limit);
            }
            assert_eq!(count(&mailbox).await, taken);
        });
    }
}
