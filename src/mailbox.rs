//! The bounded, measured front door of an actor. actix's own bound is none: every clone of an address has a slot of its
//! own, and `do_send` ignores it. Here one counter serves all senders, and a full mailbox is a value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};

use crate::metrics::{ActorClass, MailboxMetrics, Metrics};

/// An actor that lives behind a [`Mailbox`]. It handles [`Mail`] of one type, which lists everything that it can be
/// told.
pub trait Addressed: Actor<Context = Context<Self>> + Handler<Mail<Self::Message>> {
    /// Everything that the actor can be told.
    type Message: Send + 'static;

    /// Which bound and which metrics are its.
    const CLASS: ActorClass;
}

/// Why a message was not taken. The message is dropped, as the sender has to answer for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// As many messages as the bound allows are waiting.
    Full,
    /// The actor is gone.
    Closed,
}

/// The front door of one actor; clones share its one bound, and its one address: every clone of that would allocate a
/// place to park in, which nobody needs who never waits.
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

/// A message on its way, with its slot in the count.
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
    /// Takes the message out, as the first thing that its handler does: from here on it no longer waits.
    pub fn open(self) -> M {
        self.open_with_slot().0
    }

    /// The same, where what the message asks goes on behind its handler: it counts against the bound until the place is
    /// dropped.
    pub fn open_with_slot(self) -> (M, Slot) {
        self.slot.0.metrics.wait.observe(self.sent.elapsed().as_secs_f64());
        (self.message, self.slot)
    }
}

/// A slot in a mailbox that nobody else can take. Dropped unused, it is given back.
#[derive(Debug)]
pub struct Slot(Arc<Depth>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.messages.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.messages.dec();
    }
}

impl<A: Addressed> Mailbox<A> {
    /// The front door of the actor at `addr`, for at most `limit` messages.
    pub fn new(addr: Addr<A>, limit: usize, metrics: &Metrics) -> Self {
        let metrics = metrics.mailbox(A::CLASS).clone();
        Self(Arc::new(Door { addr, depth: Arc::new(Depth { messages: AtomicUsize::new(0), limit, metrics }) }))
    }

    /// Puts `message` in.
    ///
    /// # Errors
    /// The mailbox is full, or the actor gone.
    pub fn try_send(&self, message: A::Message) -> Result<(), SendError>
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        let slot = self.reserve()?;
        self.fill(slot, message);
        Ok(())
    }

    /// Takes a place now for a message that is sent later, or never: so one can have a slot in many mailboxes or in
    /// none.
    ///
    /// # Errors
    /// The mailbox is full, or the actor gone.
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

    /// Puts `message` into a place of this mailbox.
    pub fn fill(&self, slot: Slot, message: A::Message)
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        debug_assert!(Arc::ptr_eq(&slot.0, &self.0.depth), "a place of another mailbox");
        #[allow(clippy::disallowed_methods, reason = "this is the front door: the bound was held above")]
        self.0.addr.do_send(Mail { message, sent: Instant::now(), slot });
    }

    /// Puts `message` in whatever the bound: for what undoes something, and so comes at most once for each thing that
    /// was taken (a leave, a retirement). An actor that is gone needs no undoing.
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

    /// Whether the actor lives.
    pub fn is_open(&self) -> bool {
        self.0.addr.connected()
    }

    fn slot(&self, waiting: usize) -> Slot {
        self.0.depth.metrics.messages.inc();
        self.0.depth.metrics.peak.reached(waiting as u64);
        Slot(self.0.depth.clone())
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

/// Counts a living actor, and how it ended: a panic drops the actor while its thread unwinds.
#[derive(Debug)]
pub struct ActorCount(Arc<MailboxMetrics>);

impl ActorCount {
    /// One more actor of `class`.
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

    /// Counts what it gets.
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

    /// What actix's own capacity does not do: fresh clones, each with a slot of its own there, share the one bound
    /// here.
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
    async fn what_undoes_is_always_taken() {
        let (mailbox, metrics) = mailbox(1);
        assert_eq!(mailbox.try_send(ToCounter::Add), Ok(()));
        assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
        mailbox.send_always(ToCounter::Add);
        assert_eq!(metrics.messages.get(), 2);
        assert_eq!(count(&mailbox).await, 2);
    }

    #[actix_rt::test]
    async fn a_place_that_is_not_used_is_given_back() {
        let (mailbox, metrics) = mailbox(1);
        let slot = mailbox.reserve().unwrap();
        assert_eq!(mailbox.try_send(ToCounter::Add), Err(SendError::Full));
        drop(slot);
        assert_eq!(metrics.messages.get(), 0);
        let slot = mailbox.reserve().unwrap();
        mailbox.fill(slot, ToCounter::Add);
        assert_eq!(count(&mailbox).await, 1);
    }

    /// The messages behind the one that panics are not handled, and not counted for ever.
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
