//! The outbox: the bounded queue between conversations and the transport of one session. A push never waits and never
//! fails in silence. A close drops the frames that are still queued, so that the transport sees it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::ready::{self, Entry};
use crate::event::CloseReason;
use crate::metrics::Metrics;
use crate::protocol::Generation;
use crate::protocol::frame::Frame;
use crate::protocol::payload::Form;

/// The bounds of an outbox. Frames count from their push until they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The number of messages.
    pub messages_max: usize,
    /// The number of bytes, counted as WebSocket frames. A larger message is taken if nothing else waits.
    pub bytes_max: usize,
}

/// Frames in their order. Mostly there is none or one, which is stored inline: allocating a queue of one was measured
/// to be 10 % of a delivery.
pub type Frames = SmallVec<[Frame; 1]>;

/// A queue with room for this many frames, or fewer, does not shrink.
const KEPT_FRAMES: usize = 64;

/// Set while the outbox is on its worker's ready list, so that it is listed once.
const LISTED: u64 = 1 << 63;

/// The queue towards one client. Nearly all queues are empty nearly always. Taking frames takes their buffer too, so
/// that an empty queue does not keep the memory that a burst needed.
#[derive(Debug)]
pub struct Outbox {
    generation: Generation,
    form: Form,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    waker: AtomicWaker,
    /// The [`Entry`] that is listed by a push, and whether it is [`LISTED`]. If the entry is 0, a push wakes `waker`.
    entry: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Frames,
    /// Messages in `frames`, and those that the transport has taken and not yet written.
    messages: usize,
    /// The bytes of these messages.
    bytes: usize,
    /// The bytes by which the bound is raised for answers, until these are written.
    extra: usize,
    /// The bytes still to be written until the last of these answers is written.
    ahead: usize,
    /// Whether the session counts as slow: more than half of either bound waits.
    slow: bool,
    closed: Option<CloseReason>,
}

impl Outbox {
    /// Creates an empty outbox towards a client of `generation`.
    pub fn new(generation: Generation, bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        let (waker, entry, queue) = (AtomicWaker::new(), AtomicU64::new(0), Mutex::default());
        Self { generation, form: Form::Mixed, bounds, metrics, waker, entry, queue }
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

    /// Queues a frame. Returns false if the outbox is closed, or is closed now because the frame does not fit.
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
        if !self.is_half_full(&queue) {
            queue.extra += bytes;
            queue.ahead = queue.bytes + bytes;
        }
        self.extend(queue, bytes, 1, std::iter::once(frame))
    }

    /// As [`Self::push`], for frames that must follow one another, such as an event and its attachments: all of them
    /// are queued, or none.
    pub fn push_all(&self, frames: Vec<Frame>) -> bool {
        self.extend(self.queue.lock(), frames.iter().map(Frame::len).sum(), frames.len(), frames.into_iter())
    }

    fn extend(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        bytes: usize,
        messages: usize,
        frames: impl Iterator<Item = Frame>,
    ) -> bool {
        if queue.closed.is_some() {
            return false;
        }
        let fits = queue.messages + messages <= self.bounds.messages_max
            && (queue.bytes + bytes <= self.bounds.bytes_max + queue.extra || queue.messages == 0);
        if !fits {
            self.metrics.slow_closed.inc();
            self.shut(&mut queue, CloseReason::Slow);
            drop(queue);
            self.waker.wake();
            return false;
        }
        let was_empty = queue.frames.is_empty();
        queue.frames.extend(frames);
        self.account(&mut queue, messages as i64, bytes as i64);
        drop(queue);
        if was_empty {
            self.tell();
        }
        true
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

    /// Closes the outbox and drops the queued frames. Only the first reason is kept.
    pub fn close(&self, reason: CloseReason) {
        let mut queue = self.queue.lock();
        if queue.closed.is_none() {
            self.shut(&mut queue, reason);
            drop(queue);
            self.waker.wake();
        }
    }

    /// Returns why the outbox is closed. `None` if it is open.
    pub fn closed(&self) -> Option<CloseReason> {
        self.queue.lock().closed
    }

    /// Returns the number of messages that wait to be written.
    pub fn len(&self) -> usize {
        self.queue.lock().messages
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
        !self.is_half_full(&self.queue.lock())
    }

    /// Moves all queued frames into `taken`, which has to be empty. They count until [`Self::written`] is called for
    /// them.
    pub fn take(&self, taken: &mut Frames) {
        debug_assert!(taken.is_empty(), "frames would overtake one another");
        *taken = std::mem::take(&mut self.queue.lock().frames);
    }

    /// Gives frames from the front to `take` until it refuses one. Returns how many it took; they count until
    /// [`Self::written`] is called for them.
    pub fn drain_while(&self, mut take: impl FnMut(&Frame) -> bool) -> usize {
        let mut queue = self.queue.lock();
        let taken = queue.frames.iter().take_while(|frame| take(frame)).count();
        queue.frames.drain(..taken);
        if queue.frames.is_empty() {
            queue.frames = Frames::new();
        } else if queue.frames.capacity() > KEPT_FRAMES.max(4 * queue.frames.len()) {
            queue.frames.shrink_to_fit();
        }
        taken
    }

    /// Notes that `messages` taken messages, of `bytes` bytes in all, are written. Returns whether the outbox [has
    /// room](Self::has_room) again and had none before.
    pub fn written(&self, messages: usize, bytes: usize) -> bool {
        self.settle(&mut self.queue.lock(), messages, bytes)
    }

    /// [`Self::written`] and then [`Self::take`].
    pub fn written_and_take(&self, messages: usize, bytes: usize, taken: &mut Frames) -> bool {
        debug_assert!(taken.is_empty(), "frames would overtake one another");
        let mut queue = self.queue.lock();
        let relieved = self.settle(&mut queue, messages, bytes);
        *taken = std::mem::take(&mut queue.frames);
        relieved
    }

    fn settle(&self, queue: &mut Queue, messages: usize, bytes: usize) -> bool {
        if queue.closed.is_some() || messages == 0 {
            return false;
        }
        let was_slow = queue.slow;
        self.account(queue, -(messages as i64), -(bytes as i64));
        was_slow && !queue.slow
    }

    /// Puts `unwritten` back to the front of the queue, in their order. They are the taken frames of which an ended
    /// transport has written nothing. Other frames that it had taken do not count any more.
    pub fn put_back(&self, mut unwritten: Frames) {
        let mut queue = self.queue.lock();
        if queue.closed.is_some() {
            return;
        }
        unwritten.append(&mut queue.frames);
        queue.frames = unwritten;
        let queued: usize = queue.frames.iter().map(Frame::len).sum();
        let (messages, bytes) = (queue.messages - queue.frames.len(), queue.bytes - queued);
        self.account(&mut queue, -(messages as i64), -(bytes as i64));
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
        self.metrics.session_queue_messages.inc_by(messages);
        self.metrics.session_queue_bytes.inc_by(bytes);
        let slow = self.is_half_full(queue);
        if slow != std::mem::replace(&mut queue.slow, slow) {
            self.metrics.slow_sessions.inc_by(if slow { 1 } else { -1 });
        }
    }

    fn is_half_full(&self, queue: &Queue) -> bool {
        queue.messages > self.bounds.messages_max / 2 || queue.bytes > self.bounds.bytes_max / 2
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        // Queued frames do not count in the metrics any more.
        self.close(CloseReason::TransportClose);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metrics::ReadAtScrape;
    use futures_util::task::{ArcWake, waker};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A task that counts how often it was woken.
    #[derive(Default)]
    pub(crate) struct Wakes(pub(crate) AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(wakes: &Arc<Self>) {
            wakes.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn outbox(messages_max: usize, bytes_max: usize) -> Outbox {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        Outbox::new(Generation::Eio4, Bounds { messages_max, bytes_max }, metrics)
    }

    /// A frame of `len` bytes, header included.
    fn frame(len: usize) -> Frame {
        Frame::text(&"x".repeat(len - 2))
    }

    #[test]
    fn only_the_push_into_an_empty_queue_wakes() {
        let outbox = outbox(10, 1000);
        let wakes = Arc::new(Wakes::default());
        let waker = waker(wakes.clone());
        outbox.register(&waker);
        outbox.push(frame(10));
        outbox.register(&waker);
        outbox.push(frame(10));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        outbox.close(CloseReason::Stop);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn taken_frames_count_until_they_are_written() {
        let outbox = outbox(3, 1000);
        assert!(outbox.push(frame(10)) && outbox.push(frame(10)));
        let mut taken = Frames::new();
        outbox.take(&mut taken);
        assert_eq!((taken.len(), outbox.len()), (2, 2));
        assert!(outbox.push(frame(10)));
        outbox.written(2, 20);
        assert_eq!(outbox.len(), 1);
        assert!(outbox.push(frame(10)) && outbox.push(frame(10)));
        assert!(!outbox.push(frame(10)), "a fourth");
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
        assert_eq!((outbox.metrics.session_queue_messages.get(), outbox.metrics.session_queue_bytes.get()), (0, 0));
        outbox.written(1, 10);
        assert_eq!(outbox.metrics.session_queue_messages.get(), 0, "nothing is counted twice after the close");
        assert_eq!(outbox.metrics.slow_sessions.get(), 0);
    }

    #[test]
    fn frames_taken_and_not_begun_come_back() {
        let outbox = outbox(3, 1000);
        assert!(outbox.push(frame(10)) && outbox.push(frame(11)));
        let mut taken = Frames::new();
        outbox.take(&mut taken);
        assert!(outbox.push(frame(12)));
        taken.remove(0);
        outbox.put_back(taken.clone());
        assert_eq!((outbox.len(), outbox.metrics.session_queue_bytes.get()), (2, 23));
        let mut lens = Vec::new();
        outbox.drain_while(|frame| {
            lens.push(frame.len());
            true
        });
        assert_eq!(lens, [11, 12]);
        outbox.close(CloseReason::Stop);
        outbox.put_back(taken);
        assert_eq!((outbox.len(), outbox.metrics.session_queue_bytes.get()), (0, 0));
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let outbox = outbox(10, 100);
        assert!(outbox.push(frame(120)), "alone");
        assert!(!outbox.push(frame(10)));
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
        assert!(!outbox.push(frame(10)), "closed");
    }

    #[test]
    fn an_answer_of_any_size_fits_if_there_is_room() {
        let outbox = outbox(10, 100);
        assert!(outbox.push(frame(40)));
        assert!(outbox.push_answer(frame(500)));
        assert!(!outbox.has_room(), "nobody asks for more");
        assert!(outbox.push(frame(50)), "an answer takes no room from other frames");
        assert_eq!((outbox.closed(), outbox.metrics.session_queue_bytes.get()), (None, 592));
        outbox.drain_while(|_| true);
        outbox.written(2, 542);
        assert!(outbox.push(frame(40)));
        assert!(!outbox.push(frame(20)), "the bound is as it was when the answer is written");
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
    }

    /// An answer takes no room from frames behind it: neither if it just fits, nor after the frames before it are
    /// written.
    #[test]
    fn frames_behind_an_answer_have_their_room_until_the_answer_is_written() {
        let barely = outbox(10, 100);
        assert!(barely.push_answer(frame(100)) && barely.push(frame(20)));
        let half = outbox(10, 100);
        assert!(half.push(frame(40)) && half.push_answer(frame(90)));
        half.drain_while(|frame| frame.len() == 40);
        half.written(1, 40);
        assert!(half.push(frame(80)), "the answer is not written yet");
        half.drain_while(|_| true);
        half.written(1, 90);
        assert!(half.push(frame(20)) && !half.push(frame(20)), "and now it is");
        // Of many answers in a row, only those that wait raise the bound.
        let busy = outbox(10, 100);
        assert!(busy.push_answer(frame(50)));
        for _ in 0..10 {
            assert!(busy.push_answer(frame(50)));
            busy.drain_while(|_| true);
            busy.written(1, 50);
        }
        assert!(busy.push(frame(100)) && !busy.push(frame(100)));
    }

    #[test]
    fn an_answer_is_bounded_if_there_is_no_room() {
        let outbox = outbox(10, 100);
        assert!(outbox.push(frame(60)) && outbox.push_answer(frame(40)));
        assert!(!outbox.push_answer(frame(10)));
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
    }

    #[test]
    fn push_all_queues_all_frames_or_none() {
        let outbox = outbox(3, 1000);
        outbox.push(frame(10));
        assert!(!outbox.push_all(vec![frame(10), frame(10), frame(10)]));
        assert!(outbox.is_empty() && outbox.closed().is_some());
    }

    /// A poll takes as many frames as fit into its answer.
    #[test]
    fn a_queue_shrinks_when_few_frames_are_left() {
        let outbox = outbox(5000, 100_000);
        (0..4000).for_each(|_| assert!(outbox.push(frame(10))));
        let mut taken = 0;
        outbox.drain_while(|_| {
            taken += 1;
            taken <= 3990
        });
        let queue = outbox.queue.lock();
        assert_eq!(queue.frames.len(), 10);
        assert!(queue.frames.capacity() <= KEPT_FRAMES, "{}", queue.frames.capacity());
    }

    #[test]
    fn the_gauges_come_down_with_the_outbox() {
        let outbox = outbox(1, 1000);
        outbox.push(frame(10));
        let metrics = outbox.metrics.clone();
        let gauges =
            || [metrics.session_queue_messages.get(), metrics.session_queue_bytes.get(), metrics.slow_sessions.get()];
        assert_eq!(gauges(), [1, 10, 1]);
        drop(outbox);
        assert_eq!(gauges(), [0, 0, 0]);
    }
}
