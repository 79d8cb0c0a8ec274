//! The bounded, measured front door of an actor. actix's own capacity does not bound a mailbox: every clone of an
//! address adds a slot, and `do_send` ignores it. Here one counter serves all senders, and a full mailbox is an error
//! value.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};

use crate::metrics::{ActorClass, MailboxMetrics, Metrics};

/// An actor behind a [`Mailbox`]. All its messages are of one type.
pub trait Addressed: Actor<Context = Context<Self>> + Handler<Mail<Self::Message>> {
    /// The messages of the actor.
    type Message: Send + 'static;

    /// The class of the actor in the metrics.
    const CLASS: ActorClass;
}

/// The reason for which a message was not taken. The message is dropped: the sender knows what it was and answers the
/// client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The mailbox has no free slot.
    Full,
    /// The actor is gone.
    Closed,
}

/// The front door of one actor. Clones share one counter and one `Addr`: cloning an `Addr` allocates a sender slot that
/// is never used here.
pub struct Mailbox<A: Addressed>(Arc<Door<A>>);

struct Door<A: Addressed> {
    addr: Addr<A>,
    depth: Arc<Depth>,
}

#[derive(Debug)]
struct Depth {
    messages: AtomicUsize,
    limit: usize,
    metrics: Arc<MailboxMetrics>,
}

/// A message on its way, with its slot.
#[derive(Debug)]
pub struct Mail<M> {
    message: M,
    sent: Instant,
    slot: Slot,
}

impl<M: 'static> Message for Mail<M> {
    type Result = ();
}

impl<M> Mail<M> {
    /// Takes the message out and frees its slot. A handler does this first, because the waiting time ends here.
    pub fn open(self) -> M {
        self.open_with_slot().0
    }

    /// Takes the message out, but keeps its slot, for work that goes on after the handler: it counts against the bound
    /// until the slot is dropped.
    pub fn open_with_slot(self) -> (M, Slot) {
        self.slot.0.metrics.wait.observe(self.sent.elapsed().as_secs_f64());
        (self.message, self.slot)
    }
}

/// A slot in a mailbox. Dropping it frees it.
#[derive(Debug)]
pub struct Slot(Arc<Depth>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.messages.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.messages.dec();
    }
}

impl<A: Addressed> Mailbox<A> {
    /// Creates the front door of the actor at `addr`, with `limit` slots.
    pub fn new(addr: Addr<A>, limit: usize, metrics: &Metrics) -> Self {
        let metrics = metrics.mailbox(A::CLASS).clone();
        Self(Arc::new(Door { addr, depth: Arc::new(Depth { messages: AtomicUsize::new(0), limit, metrics }) }))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The mailbox is full, or the actor is gone.
    pub fn try_send(&self, message: A::Message) -> Result<(), SendError>
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        let slot = self.reserve()?;
        self.fill(slot, message);
        Ok(())
    }

    /// Takes a slot for a message that is sent later or never. So a sender can take slots in many mailboxes before it
    /// sends to any.
    ///
    /// # Errors
    /// The mailbox is full, or the actor is gone.
    pub fn reserve(&self) -> Result<Slot, SendError> {
        let metrics = &self.0.depth.metrics;
        metrics.enqueued.inc();
        if !self.0.addr.connected() {
            metrics.closed.inc();
            return Err(SendError::Closed);
        }
        let free = |waiting| (waiting < self.0.depth.limit).then_some(waiting + 1);
        match self.0.depth.messages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(waiting) => Ok(self.slot(waiting + 1)),
            Err(_) => {
                metrics.full.inc();
                Err(SendError::Full)
            }
        }
    }

    /// Sends a message into a slot of this mailbox.
    pub fn fill(&self, slot: Slot, message: A::Message)
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        debug_assert!(Arc::ptr_eq(&slot.0, &self.0.depth), "a slot of another mailbox");
        #[allow(clippy::disallowed_methods, reason = "this is the front door: the message has a slot")]
        self.0.addr.do_send(Mail { message, sent: Instant::now(), slot });
    }

    /// Sends a message even if the mailbox is full. This is for messages that undo something (a leave, a retirement)
    /// and come at most once for each message accepted before. If the actor is gone, there is nothing to undo.
    pub fn send_always(&self, message: A::Message)
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        self.0.depth.metrics.enqueued.inc();
        if !self.0.addr.connected() {
            self.0.depth.metrics.closed.inc();
            return;
        }
        let waiting = self.0.depth.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = self.slot(waiting);
        self.fill(slot, message);
    }

    /// Returns the messages that wait, and those whose slot is kept for work that goes on.
    pub fn waiting(&self) -> usize {
        self.0.depth.messages.load(Ordering::Relaxed)
    }

    /// Returns whether the actor lives.
    pub fn is_open(&self) -> bool {
        self.0.addr.connected()
    }

    fn slot(&self, waiting: usize) -> Slot {
        self.0.depth.metrics.messages.inc();
        self.0.depth.metrics.peak.reached(waiting as u64);
        Slot(self.0.depth.clone())
    }
}

/// The front door of an actor, held by somebody who does not keep the actor alive.
pub struct WeakMailbox<A: Addressed>(Weak<Door<A>>);

impl<A: Addressed> WeakMailbox<A> {
    /// Returns the front door. `None` if nobody holds it any more, so that the actor ends.
    pub fn upgrade(&self) -> Option<Mailbox<A>> {
        self.0.upgrade().map(Mailbox)
    }
}

impl<A: Addressed> Mailbox<A> {
    /// Returns the front door for somebody who does not keep the actor alive.
    pub fn downgrade(&self) -> WeakMailbox<A> {
        WeakMailbox(Arc::downgrade(&self.0))
    }
}

impl<A: Addressed> fmt::Debug for Mailbox<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("depth", &self.0.depth).finish_non_exhaustive()
    }
}

impl<A: Addressed> Clone for Mailbox<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Counts a living actor. When it is dropped, it counts whether the actor stopped or panicked: a panic drops the actor
/// while its thread unwinds.
#[derive(Debug)]
pub struct ActorCount(Arc<MailboxMetrics>);

impl ActorCount {
    /// Counts one more actor of `class`.
    pub fn new(class: ActorClass, metrics: &Metrics) -> Self {
        let metrics = metrics.mailbox(class).clone();
        metrics.started.inc();
        metrics.actors.inc();
        Self(metrics)
    }
}

impl Drop for ActorCount {
    fn drop(&mut self) {
        self.0.actors.dec();
        if std::thread::panicking() {
            self.0.panicked.inc()
        } else {
            self.0.stopped.inc()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ReadAtScrape;
    use tokio::sync::oneshot;

    /// Counts its messages.
    struct Counter(usize);

    enum ToCounter {
        Add,
        Panic,
        Get(oneshot::Sender<usize>),
    }

    impl Actor for Counter {
        type Context = Context<Self>;
    }

    impl Addressed for Counter {
        type Message = ToCounter;
        const CLASS: ActorClass = ActorClass::Conversation;
    }

    impl Handler<Mail<ToCounter>> for Counter {
        type Result = ();

        fn handle(&mut self, mail: Mail<ToCounter>, _: &mut Self::Context) {
            match mail.open() {
                ToCounter::Add => self.0 += 1,
                ToCounter::Panic => panic!("as it was told"),
                ToCounter::Get(reply) => drop(reply.send(self.0)),
            }
        }
    }

    fn mailbox(limit: usize) -> (Mailbox<Counter>, Arc<MailboxMetrics>) {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        (Mailbox::new(Counter(0).start(), limit, &metrics), metrics.mailbox(ActorClass::Conversation).clone())
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
        assert_eq!((taken, metrics.messages.get(), metrics.full.get()), (16, 16, 84));
        assert_eq!(metrics.peak.get(), 16);
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
        let slot = mailbox.reserve().unwrap();
        assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
        drop(slot);
        assert_eq!(metrics.messages.get(), 0);
        let slot = mailbox.reserve().unwrap();
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
        assert_eq!((metrics.closed.get(), metrics.messages.get()), (1, 0));
    }
}
