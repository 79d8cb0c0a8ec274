//! The bounded queue between conversations and the transport of one session. Pushing never waits and never fails in
//! silence; closing is seen before anything that is still queued.

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

/// The bounds of an outbox: what was pushed and is not yet written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub messages_max: usize,
    /// Bytes, counted as WebSocket frames. A message that is larger by itself is taken where nothing else waits.
    pub bytes_max: usize,
}

/// Frames in their order. Mostly there is none, or one, which has its room here: what malloc takes for a queue of one
/// was measured to be 10 % of a delivery.
pub type Frames = SmallVec<[Frame; 1]>;

/// Room for no more frames than these is kept as it is, though there are few in it.
const KEPT_FRAMES: usize = 64;

/// Set where the line is on its worker's list, so that it is there once however often something is pushed and written.
const LISTED: u64 = 1 << 63;

/// The queue of what one session is to be sent. Whoever takes frames takes the room that they are in: an empty queue,
/// which is nearly always nearly every one, keeps none of a burst.
#[derive(Debug)]
pub struct Outbox {
    generation: Generation,
    form: Form,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    waker: AtomicWaker,
    /// Who writes what is pushed: a [`Entry`], or the task behind `waker` where it is 0; and whether it is [`LISTED`].
    entry: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Frames,
    /// Of `frames` and of what the transport has taken and not yet written.
    messages: usize,
    bytes: usize,
    /// How much the bound of bytes is raised for answers, until they are written.
    extra: usize,
    /// How many bytes have to be written until all of these are.
    ahead: usize,
    /// Whether the session counts as slow.
    slow: bool,
    closed: Option<CloseReason>,
}

impl Outbox {
    /// An empty outbox towards a client of `generation`.
    pub fn new(generation: Generation, bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        let (waker, entry, queue) = (AtomicWaker::new(), AtomicU64::new(0), Mutex::default());
        Self { generation, form: Form::Mixed, bounds, metrics, waker, entry, queue }
    }

    /// The same towards a client that takes this form by polling; one that takes text takes no other from a WebSocket
    /// either.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// In what form the client takes packets by polling.
    pub fn form(&self) -> Form {
        self.form
    }

    /// A binary message in the form that the client takes.
    pub fn binary(&self, data: &[u8]) -> Frame {
        match self.form {
            Form::Text => Frame::base64(self.generation, data),
            Form::Mixed | Form::Bytes => Frame::binary(self.generation, data),
        }
    }

    /// What the client speaks.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Queues a frame, for whoever [writes](Self::write_by) or else for the task that has [registered](Self::register).
    /// False where the outbox is closed, or was closed just now because the frame did not fit.
    pub fn push(&self, frame: Frame) -> bool {
        self.extend(self.queue.lock(), frame.len(), 1, std::iter::once(frame))
    }

    /// The same for an answer that the client has asked for: it fits whatever its size where [there is
    /// room](Self::has_room). What is pushed behind it has as much room as if it were not there.
    pub fn push_answer(&self, frame: Frame) -> bool {
        let bytes = frame.len();
        let mut queue = self.queue.lock();
        if !self.is_half_full(&queue) {
            queue.extra += bytes;
            queue.ahead = queue.bytes + bytes;
        }
        self.extend(queue, bytes, 1, std::iter::once(frame))
    }

    /// Queues frames that must follow one another, such as an event and its attachments: all of them or none.
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

    /// Tells whoever writes. Behind the lock: who has changed the line in the meantime either finds the frame when it
    /// looks, or has looked before the lock.
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

    /// Whoever finds its line on a list says so before it looks into the outbox: the next push enters it again.
    pub fn unlist(&self) {
        self.entry.fetch_and(!LISTED, Ordering::AcqRel);
    }

    /// What is pushed from now on is entered as this line on the list of its worker; without one, it wakes the task.
    /// The new writer has to look into the outbox by itself once: a push in the meantime may have told the older one.
    pub fn write_by(&self, entry: Option<Entry>) {
        self.entry.store(entry.map_or(0, Entry::to_bits), Ordering::Release);
    }

    /// Closes the outbox; what is queued is dropped. The first reason stands.
    pub fn close(&self, reason: CloseReason) {
        let mut queue = self.queue.lock();
        if queue.closed.is_none() {
            self.shut(&mut queue, reason);
            drop(queue);
            self.waker.wake();
        }
    }

    /// Why the outbox is closed, if it is.
    pub fn closed(&self) -> Option<CloseReason> {
        self.queue.lock().closed
    }

    /// How much waits to be written, in messages.
    pub fn len(&self) -> usize {
        self.queue.lock().messages
    }

    /// How much waits to be written, in bytes.
    pub fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is room for long answers: no more than half of either bound waits.
    pub fn has_room(&self) -> bool {
        !self.is_half_full(&self.queue.lock())
    }

    /// Moves everything that is queued into `taken`, which has to be empty. It counts until [`Self::written`] says so.
    pub fn take(&self, taken: &mut Frames) {
        debug_assert!(taken.is_empty(), "frames would overtake one another");
        *taken = std::mem::take(&mut self.queue.lock().frames);
    }

    /// Gives frames from the front to `take` until it refuses one, and says how many it took. They count until
    /// [`Self::written`] says so.
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

    /// `messages` of `bytes` in all that were taken have been written. True where there is room again that there was
    /// not.
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

    /// The transport that took frames is gone. Those of which it has written nothing come back to the front, in their
    /// order; what else was taken and is not written will never be.
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

    /// Has `waker` woken by the close of the outbox, and where nobody [writes](Self::write_by) by the next push into an
    /// empty one.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes whoever drains the outbox, though nothing was pushed: a deadline of the session has come.
    pub fn wake(&self) {
        self.waker.wake();
    }

    fn shut(&self, queue: &mut Queue, reason: CloseReason) {
        queue.frames = Frames::new();
        self.account(queue, -(queue.messages as i64), -(queue.bytes as i64));
        queue.closed = Some(reason);
    }

    /// The one place where the counts change, here and in the metrics.
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
        // Whatever is still queued leaves the metrics.
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
    fn what_is_taken_counts_until_it_is_written() {
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
    fn what_a_transport_took_comes_back_but_for_what_it_has_begun() {
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
    fn an_answer_fits_whatever_its_size_where_there_is_room() {
        let outbox = outbox(10, 100);
        assert!(outbox.push(frame(40)));
        assert!(outbox.push_answer(frame(500)));
        assert!(!outbox.has_room(), "nobody asks for more");
        assert!(outbox.push(frame(50)), "what others say has as much room as before");
        assert_eq!((outbox.closed(), outbox.metrics.session_queue_bytes.get()), (None, 592));
        outbox.drain_while(|_| true);
        outbox.written(2, 542);
        assert!(outbox.push(frame(40)));
        assert!(!outbox.push(frame(20)), "the bound is as it was when the answer is written");
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
    }

    /// An answer that just fits takes no room from what is said behind it, and neither does one that is half written.
    #[test]
    fn what_is_behind_an_answer_has_its_room_until_the_answer_is_written() {
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
        // However many answers follow one another, only those that wait raise the bound.
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
    fn an_answer_to_one_who_does_not_read_is_bounded_like_everything_else() {
        let outbox = outbox(10, 100);
        assert!(outbox.push(frame(60)) && outbox.push_answer(frame(40)));
        assert!(!outbox.push_answer(frame(10)));
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
    }

    #[test]
    fn frames_that_belong_together_are_taken_together_or_not() {
        let outbox = outbox(3, 1000);
        outbox.push(frame(10));
        assert!(!outbox.push_all(vec![frame(10), frame(10), frame(10)]));
        assert!(outbox.is_empty() && outbox.closed().is_some());
    }

    /// A poll takes as much as fits into its answer.
    #[test]
    fn a_long_queue_of_which_little_is_left_keeps_little_room() {
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
