//! The outbox: the bounded queue between conversations and the transport of one session. A push never waits and never
//! fails in silence. A close drops the frames that are still queued, so that the transport sees it at once.
//!
//! [`taken`] has what the transport takes and writes. [`news`] decides what becomes of news that does not fit.
//! [`measured`] measures how long deliveries take. [`resumed`] goes on for a client that comes back, and [`moved`] for
//! one that comes back to another node.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::fold::Outage;
use super::history::History;
use super::limits::OutboxLimits;
use super::ready::{self, Entry};
use crate::config::OutboxPolicy;
use crate::event::CloseReason;
use crate::metrics::Metrics;
use crate::protocol::Generation;
use crate::protocol::frame::Frame;
use crate::protocol::payload::Form;

mod measured;
mod moved;
mod news;
mod resumed;
mod taken;

use measured::Measured;
pub use moved::Unheard;
use news::Behind;
pub use news::Grace;

/// Frames in their order. Mostly there is none or one, which is stored inline: allocating a queue of one was measured
/// to be 10 % of a delivery.
pub type Frames = SmallVec<[Frame; 1]>;

/// Bytes that may wait before it is a backlog.
pub const BACKLOG_BYTES: usize = 4096;

/// Messages that may wait before they are a backlog.
pub const BACKLOG_MESSAGES: usize = 16;

/// Hears of the backlog of an outbox. No lock is held meanwhile.
pub trait Backlog: Debug + Send + Sync {
    /// A backlog has begun, or has grown to twice its size, or twice as much news as before was folded.
    fn grew(self: Arc<Self>);
}

/// The messages that wait in an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages.
    pub messages: usize,
    /// The bytes of these messages.
    pub bytes: usize,
    /// News that was folded or left out since the session began, because the reader was too slow.
    pub folded: usize,
}

/// Set while the outbox is on its worker's ready list, so that it is listed once.
const LISTED: u64 = 1 << 63;

/// The queue towards one client. Nearly all queues are empty nearly always. Taking frames takes their buffer too, so
/// that an empty queue does not keep the memory that a burst needed.
#[derive(Debug)]
pub struct Outbox {
    generation: Generation,
    form: Form,
    limits: Arc<OutboxLimits>,
    metrics: Arc<Metrics>,
    waker: AtomicWaker,
    /// The [`Entry`] that is listed by a push, and whether it is [`LISTED`]. If the entry is 0, a push wakes `waker`.
    entry: AtomicU64,
    backlog: OnceLock<Arc<dyn Backlog>>,
    /// The id by which the client knows itself in the namespace of conversations.
    socket_id: Mutex<Option<Box<str>>>,
    /// Whether the client bears a further argument with each event.
    takes_offsets: bool,
    /// Whether events get offsets.
    numbered: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Frames,
    /// Messages in `frames`, and those that the transport has taken and not yet written.
    messages: usize,
    /// The bytes of these messages.
    bytes: usize,
    /// The largest bounds since the queue was last empty: messages and bytes. A message that was queued under a higher
    /// bound than the present one ends no session.
    kept: (usize, usize),
    /// The bytes by which the bound is raised for answers, until these are written.
    extra: usize,
    /// The bytes still to be written until the last of these answers is written.
    ahead: usize,
    /// Whether the session counts as slow: more than half of either bound waits.
    slow: bool,
    /// `None` if the reader has got all news.
    behind: Option<Box<Behind>>,
    /// `None` if no delivery is measured.
    measured: Option<Measured>,
    /// Twice the messages, and twice the bytes, that waited when the backlog was last told of. 0 if it was not.
    told: (usize, usize),
    /// News that was folded or left out.
    folded: usize,
    /// The outage of the cluster that the reader was told of last.
    outage: Option<Outage>,
    /// `None` if the client cannot come back.
    history: Option<Box<History>>,
    /// Whether the transport takes nothing, because what the client has missed comes first.
    is_held: bool,
    /// Whether the client has lost its connection, and may come back.
    is_away: bool,
    /// Whether the metrics count the session as slow, and as behind.
    shown: (bool, bool),
    closed: Option<CloseReason>,
}

impl Outbox {
    /// Creates an empty outbox towards a client of `generation`.
    pub fn new(generation: Generation, limits: Arc<OutboxLimits>, metrics: Arc<Metrics>) -> Self {
        let (waker, entry, queue) = (AtomicWaker::new(), AtomicU64::new(0), Mutex::default());
        let (form, backlog, socket_id) = (Form::Mixed, OnceLock::new(), Mutex::new(None));
        let (takes_offsets, numbered) = (true, AtomicBool::new(false));
        Self { generation, form, limits, metrics, waker, entry, backlog, socket_id, takes_offsets, numbered, queue }
    }

    /// Sets the id by which the client knows itself in the namespace of conversations: `socket.id`. A client of
    /// Engine.IO 4 gets another one each time that it connects to the namespace. For the older ones it is the sid of
    /// their session.
    pub fn set_socket_id(&self, id: &str) {
        *self.socket_id.lock() = Some(id.into());
    }

    /// Whether the client knows itself by one of these ids. socket.io-client 1 calls itself by the sid of its session,
    /// and socket.io-client 2 puts the namespace and `#` in front of it.
    pub fn is_one_of(&self, socket_ids: &[Box<str>]) -> bool {
        let own = self.socket_id.lock();
        let is_own = |id: &str| own.as_deref() == Some(id.rsplit_once('#').map_or(id, |(_, sid)| sid));
        socket_ids.iter().any(|id| is_own(id))
    }

    /// Has `backlog` hear of the backlog. Only the first one does.
    pub fn watch_by(&self, backlog: Arc<dyn Backlog>) {
        let _ = self.backlog.set(backlog);
    }

    /// Sets the form in which the client takes packets by polling. A client that takes only text there gets no binary
    /// messages by WebSocket either.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Returns the form in which the client takes packets by polling.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns a binary message in the form that the client takes.
    pub fn binary(&self, data: &[u8]) -> Frame {
        match self.form {
            Form::Text => Frame::base64(self.generation, data),
            Form::Mixed | Form::Bytes => Frame::binary(self.generation, data),
        }
    }

    /// Returns the generation of the client.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Queues a frame. Returns false if the outbox is closed, or is closed now because the frame does not fit. Unless
    /// the policy is [`OutboxPolicy::Close`], a frame fits as long as twice the bounds are not exceeded: heartbeats and
    /// answers have a reserve that [news](Self::push_news) has not.
    ///
    /// A push into an empty queue tells the writer: it adds the [entry](Self::write_by) of the outbox to its worker's
    /// ready list, or, without an entry, wakes the [registered](Self::register) task. A [`ready::batch`] under way on
    /// this thread chooses the list by its audience. If the writer is on another thread, the entry is listed when the
    /// batch ends.
    pub fn push(&self, frame: Frame) -> bool {
        self.extend(self.queue.lock(), frame.len(), 1, std::iter::once(frame))
    }

    /// As [`Self::push`], for an answer that the client has asked for. An answer of any size fits if the outbox [has
    /// room](Self::has_room). It takes no room from the frames pushed after it.
    pub fn push_answer(&self, frame: Frame) -> bool {
        let bytes = frame.len();
        let mut queue = self.queue.lock();
        self.make_room(&mut queue, bytes);
        self.extend(queue, bytes, 1, std::iter::once(frame))
    }

    /// As [`Self::push`], for frames that must follow one another, such as an event and its attachments: all of them
    /// are queued, or none.
    pub fn push_all(&self, frames: Vec<Frame>) -> bool {
        self.extend(self.queue.lock(), frames.iter().map(Frame::len).sum(), frames.len(), frames.into_iter())
    }

    fn extend(
        &self,
        queue: MutexGuard<'_, Queue>,
        bytes: usize,
        messages: usize,
        frames: impl Iterator<Item = Frame>,
    ) -> bool {
        if queue.closed.is_some() {
            return false;
        }
        let multiple = if self.limits.policy() == OutboxPolicy::Close { 1 } else { 2 };
        let fits = self.fits_as_before(&queue, messages, bytes, multiple);
        if fits {
            self.append(queue, bytes, messages, frames);
        } else {
            self.close_as_slow(queue);
        }
        fits
    }

    /// Returns the present bounds: messages and bytes.
    fn bounds(&self) -> (usize, usize) {
        (self.limits.messages_max.get(), self.limits.bytes_max.get())
    }

    /// Returns whether messages fit within the present bounds.
    fn fits(&self, queue: &Queue, messages: usize, bytes: usize) -> bool {
        queue.fits(messages, bytes, self.bounds())
    }

    /// Returns whether messages fit within this multiple of the present bounds, or of those under which the messages
    /// before were queued.
    fn fits_as_before(&self, queue: &Queue, messages: usize, bytes: usize, multiple: usize) -> bool {
        let (now, kept) = (self.bounds(), queue.kept);
        let bounds = (now.0.max(kept.0).saturating_mul(multiple), now.1.max(kept.1).saturating_mul(multiple));
        queue.fits(messages, bytes, bounds)
    }

    /// Raises the bound for an answer if the outbox has room.
    fn make_room(&self, queue: &mut Queue, bytes: usize) {
        if !self.is_half_full(queue) {
            queue.extra += bytes;
            queue.ahead = queue.bytes + bytes;
        }
    }

    /// Queues frames that fit.
    fn append(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        bytes: usize,
        messages: usize,
        frames: impl Iterator<Item = Frame>,
    ) {
        let was_empty = queue.frames.is_empty();
        queue.frames.extend(frames);
        self.account(&mut queue, messages as i64, bytes as i64);
        let grew = queue.backlog_grew();
        drop(queue);
        if was_empty {
            self.tell();
        }
        if grew {
            self.tell_of_backlog();
        }
    }

    fn tell_of_backlog(&self) {
        if let Some(backlog) = self.backlog.get() {
            backlog.clone().grew();
        }
    }

    fn close_as_slow(&self, mut queue: MutexGuard<'_, Queue>) {
        self.metrics.slow_closed.inc();
        self.shut(&mut queue, CloseReason::Slow);
        drop(queue);
        self.waker.wake();
    }

    /// Tells the writer. Called after the lock is released. A new writer that first looks after the push sees the
    /// frame; one that looked before the push is told here.
    fn tell(&self) {
        let bits = self.entry.fetch_or(LISTED, Ordering::AcqRel);
        match Entry::from_bits(bits & !LISTED) {
            Some(_) if bits & LISTED != 0 => {}
            Some(entry) if ready::list(entry) => {}
            _ => {
                self.unlist();
                self.waker.wake();
            }
        }
    }

    /// Called by the writer when it has taken the entry from the list, before it takes frames: the next push adds the
    /// entry again.
    pub fn unlist(&self) {
        self.entry.fetch_and(!LISTED, Ordering::AcqRel);
    }

    /// Sets the entry that pushes add to the ready list of its worker. With `None` they wake the registered task. The
    /// new writer has to look into the outbox once by itself: a push in the meantime may have told the older one.
    pub fn write_by(&self, entry: Option<Entry>) {
        self.entry.store(entry.map_or(0, Entry::to_bits), Ordering::Release);
    }

    /// Closes the outbox and drops the queued frames. Only the first reason is kept. Returns whether it is this one.
    pub fn close(&self, reason: CloseReason) -> bool {
        let mut queue = self.queue.lock();
        let is_first = queue.closed.is_none();
        if is_first {
            self.shut(&mut queue, reason);
            drop(queue);
            self.waker.wake();
        }
        is_first
    }

    /// Returns why the outbox is closed. `None` if it is open.
    #[cfg(test)]
    pub fn closed(&self) -> Option<CloseReason> {
        self.queue.lock().closed
    }

    /// Returns the number of messages that wait to be written.
    pub fn len(&self) -> usize {
        self.queue.lock().messages
    }

    /// Returns what waits to be written.
    pub fn waiting(&self) -> Waiting {
        let queue = self.queue.lock();
        Waiting { messages: queue.messages, bytes: queue.bytes, folded: queue.folded }
    }

    /// Returns the number of bytes that wait to be written.
    pub fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Returns whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether there is room for long answers: at most half of either bound waits.
    pub fn has_room(&self) -> bool {
        let mut queue = self.queue.lock();
        // If a bound was turned, the session counts as slow from here on, and is woken when there is room.
        self.account(&mut queue, 0, 0);
        !queue.slow
    }

    /// Registers the waker of the session's task. It is woken by the close of the outbox and, if the outbox has no
    /// [entry](Self::write_by), by a push into an empty queue.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the session's task although nothing was pushed, for a deadline of the session.
    pub fn wake(&self) {
        self.waker.wake();
    }

    fn shut(&self, queue: &mut Queue, reason: CloseReason) {
        queue.frames = Frames::new();
        (queue.measured, queue.history, queue.behind) = (None, None, None);
        self.account(queue, -(queue.messages as i64), -(queue.bytes as i64));
        queue.closed = Some(reason);
    }

    /// Changes the counts, here and in the metrics. No other function does.
    fn account(&self, queue: &mut Queue, messages: i64, bytes: i64) {
        queue.messages = queue.messages.saturating_add_signed(messages as isize);
        queue.bytes = queue.bytes.saturating_add_signed(bytes as isize);
        if bytes < 0 {
            queue.ahead = queue.ahead.saturating_add_signed(bytes as isize);
            queue.extra = queue.extra.min(queue.ahead);
        }
        let bounds = self.bounds();
        if queue.messages == 0 {
            queue.told = (0, 0);
            queue.kept = (0, 0);
        } else if messages > 0 {
            queue.kept = (queue.kept.0.max(bounds.0), queue.kept.1.max(bounds.1));
        }
        self.metrics.session_queue_messages.inc_by(messages);
        self.metrics.session_queue_bytes.inc_by(bytes);
        queue.slow = queue.is_half_full(bounds);
        self.show(queue);
    }

    /// Shows in the metrics whether the session is slow, and whether it is behind. While its client is away, nobody
    /// reads too slowly.
    fn show(&self, queue: &mut Queue) {
        let shown = (queue.slow && !queue.is_away, queue.behind.is_some() && !queue.is_away);
        let before = std::mem::replace(&mut queue.shown, shown);
        if shown != before {
            self.metrics.slow_sessions.inc_by(i64::from(shown.0) - i64::from(before.0));
            self.metrics.behind_sessions.inc_by(i64::from(shown.1) - i64::from(before.1));
        }
    }

    fn is_half_full(&self, queue: &Queue) -> bool {
        queue.is_half_full(self.bounds())
    }
}

impl Queue {
    fn is_half_full(&self, (messages_max, bytes_max): (usize, usize)) -> bool {
        self.messages > messages_max / 2 || self.bytes > bytes_max / 2
    }

    fn fits(&self, messages: usize, bytes: usize, (messages_max, bytes_max): (usize, usize)) -> bool {
        self.messages + messages <= messages_max
            && (self.bytes + bytes <= bytes_max.saturating_add(self.extra) || self.messages == 0)
    }

    /// Returns whether a backlog has begun, or has doubled since this last returned true.
    fn backlog_grew(&mut self) -> bool {
        let grew = |told: &mut usize, least: usize, now: usize| {
            let grew = now > least.max(*told);
            if grew {
                *told = 2 * now;
            }
            grew
        };
        grew(&mut self.told.0, BACKLOG_MESSAGES, self.messages) | grew(&mut self.told.1, BACKLOG_BYTES, self.bytes)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        // Queued frames do not count in the metrics any more.
        self.close(CloseReason::TransportClose);
    }
}

#[cfg(test)]
pub(crate) mod tests;
