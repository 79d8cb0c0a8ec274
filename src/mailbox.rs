//! The bounded, measured front door of an actor. actix's own capacity does not bound a mailbox: every clone of an
//! address adds a slot, and `do_send` ignores it. Here one counter serves all senders, and a full mailbox is an error
//! value. The bound is that of the class, which may be turned while the server runs.
//!
//! A message *waits* from being put in until it is [opened](Mail::open). Its *handling* lasts from there until the
//! actor has done its part, in this round of its thread or in later ones: until the [`Handling`] is dropped. What
//! others do for it in the meantime, such as MAX, is not the actor's part.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};

use crate::metrics::{ActorClass, MailboxMetrics, MessageKind, Metrics};

/// An actor behind a [`Mailbox`]. All its messages are of one type.
pub trait Addressed: Actor<Context = Context<Self>> + Handler<Mail<Self::Message>> {
    /// The messages of the actor.
    type Message: Classified + Send + 'static;
}

/// Messages of several kinds, which tell the class of the actor that takes them.
pub trait Classified {
    /// The kinds.
    type Kind: MessageKind;

    /// Returns the kind of this message.
    fn kind(&self) -> Self::Kind;
}

/// The kinds of message that an actor takes.
type Kind<A> = <<A as Addressed>::Message as Classified>::Kind;

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
    metrics: Arc<MailboxMetrics>,
}

/// A message on its way, with its slot.
#[derive(Debug)]
pub struct Mail<M> {
    message: M,
    slot: Slot,
}

impl<M: 'static> Message for Mail<M> {
    type Result = ();
}

impl<M: Classified> Mail<M> {
    /// Takes the message out and frees its slot. A handler does this first, because the waiting time ends here.
    pub fn open(self) -> (M, Handling) {
        let (message, slot) = (self.message, self.slot);
        let handling = slot.opened(message.kind());
        (message, handling)
    }

    /// Takes the message out, but keeps its slot, for work that goes on after the handling: it counts against the bound
    /// until the slot is dropped.
    pub fn open_with_slot(self) -> (M, Handling, Slot) {
        let handling = self.slot.opened(self.message.kind());
        (self.message, handling, self.slot)
    }
}

/// A slot in a mailbox. Dropping it frees it.
#[derive(Debug)]
pub struct Slot {
    depth: Arc<Depth>,
    /// When it was taken.
    since: Instant,
}

impl Slot {
    /// Ends the wait of the message in it, and begins its handling.
    fn opened(&self, kind: impl MessageKind) -> Handling {
        let (depth, kind, begun) = (self.depth.clone(), kind.number(), now());
        depth.metrics.by_number(kind).wait.observe_time(begun.saturating_duration_since(self.since));
        Handling { depth, kind, sent: self.since, begun, time: None }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.depth.messages.fetch_sub(1, Ordering::Relaxed);
        self.depth.metrics.messages.dec();
    }
}

/// A message in the hands of its actor. Dropping this ends the handling.
#[derive(Debug)]
#[must_use = "the handling ends when this is dropped"]
pub struct Handling {
    depth: Arc<Depth>,
    /// The number of the kind of the message.
    kind: usize,
    sent: Instant,
    begun: Instant,
    /// How long it has taken, if it has ended.
    time: Option<Duration>,
}

impl Handling {
    /// Returns when the message was put into the mailbox.
    pub fn sent(&self) -> Instant {
        self.sent
    }

    /// Ends the handling. Returns how long it has taken.
    pub fn end(mut self) -> Duration {
        *self.time.insert(now().saturating_duration_since(self.begun))
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let time = self.time.unwrap_or_else(|| now().saturating_duration_since(self.begun));
        self.depth.metrics.by_number(self.kind).handle.observe_time(time);
    }
}

impl<A: Addressed> Mailbox<A> {
    /// Creates the front door of the actor at `addr`, with the bound of its class.
    pub fn new(addr: Addr<A>, metrics: &Metrics) -> Self {
        let metrics = metrics.mailbox(Kind::<A>::CLASS).clone();
        Self(Arc::new(Door { addr, depth: Arc::new(Depth { messages: AtomicUsize::new(0), metrics }) }))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The mailbox is full, or the actor is gone.
    pub fn try_send(&self, message: A::Message) -> Result<(), SendError>
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        let slot = self.reserve(message.kind())?;
        self.fill(slot, message);
        Ok(())
    }

    /// Takes a slot for a message that is sent later or never. So a sender can take slots in many mailboxes before it
    /// sends to any.
    ///
    /// # Errors
    /// The mailbox is full, or the actor is gone.
    pub fn reserve(&self, kind: Kind<A>) -> Result<Slot, SendError> {
        let Depth { messages, metrics } = &*self.0.depth;
        let of_kind = metrics.kind(kind);
        if !self.0.addr.connected() {
            of_kind.offered.inc();
            of_kind.closed.inc();
            return Err(SendError::Closed);
        }
        let free = |waiting| (waiting < metrics.limit.get()).then_some(waiting + 1);
        match messages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(waiting) => Ok(self.slot(waiting + 1)),
            Err(waiting) => {
                of_kind.offered.inc();
                of_kind.full.inc();
                metrics.refused(waiting, now());
                Err(SendError::Full)
            }
        }
    }

    /// Sends a message into a slot of this mailbox.
    pub fn fill(&self, slot: Slot, message: A::Message)
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        debug_assert!(Arc::ptr_eq(&slot.depth, &self.0.depth), "a slot of another mailbox");
        slot.depth.metrics.kind(message.kind()).offered.inc();
        #[allow(clippy::disallowed_methods, reason = "this is the front door: the message has a slot")]
        self.0.addr.do_send(Mail { message, slot });
    }

    /// Sends a message even if the mailbox is full. This is for messages that undo something (a leave, a retirement)
    /// and come at most once for each message accepted before. If the actor is gone, there is nothing to undo.
    pub fn send_always(&self, message: A::Message)
    where
        Context<A>: ToEnvelope<A, Mail<A::Message>>,
    {
        let Depth { messages, metrics } = &*self.0.depth;
        if !self.0.addr.connected() {
            let of_kind = metrics.kind(message.kind());
            of_kind.offered.inc();
            of_kind.closed.inc();
            return;
        }
        let waiting = messages.fetch_add(1, Ordering::Relaxed) + 1;
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
        let since = now();
        self.0.depth.metrics.came(waiting, since);
        Slot { depth: self.0.depth.clone(), since }
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

impl<A: Addressed> fmt::Debug for WeakMailbox<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakMailbox").finish_non_exhaustive()
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
        metrics.actors.started.inc();
        metrics.actors.living.inc();
        Self(metrics)
    }
}

impl Drop for ActorCount {
    fn drop(&mut self) {
        let actors = &self.0.actors;
        actors.living.dec();
        if std::thread::panicking() {
            actors.panicked.inc()
        } else {
            actors.stopped.inc()
        };
    }
}

/// Returns the present time. A test may stand still on its thread.
fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = clock::STOPPED.get() {
        return now;
    }
    Instant::now()
}

#[cfg(test)]
pub mod clock;
#[cfg(test)]
mod tests;
