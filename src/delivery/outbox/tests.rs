//! Tests of the outbox.

mod losses;
mod moved;
mod news;

use super::taken::KEPT_FRAMES;
use super::*;
use crate::config;
use crate::metrics::ReadAtScrape;
use futures_util::task::{ArcWake, waker};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A task that counts how often it was woken.
#[derive(Default)]
pub(crate) struct Wakes(pub(crate) AtomicUsize);

impl ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns limits under which a reader is closed when a frame does not fit.
pub(crate) fn limits(messages_max: usize, bytes_max: usize) -> Arc<OutboxLimits> {
    let policy = OutboxPolicy::Close;
    Arc::new(OutboxLimits::new(&config::Outbox { messages_max, bytes_max, policy, grace_ms: 30_000 }))
}

fn outbox(messages_max: usize, bytes_max: usize) -> Outbox {
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    Outbox::new(Generation::Eio4, limits(messages_max, bytes_max), metrics)
}

/// A frame of `len` bytes, header included.
fn frame(len: usize) -> Frame {
    Frame::text(&"x".repeat(len - 2))
}

#[test]
fn a_client_is_known_by_its_last_socket_id() {
    let outbox = outbox(1, 10);
    let is_one_of = |ids: &str| outbox.is_one_of(&ids.split_whitespace().map(Into::into).collect::<Vec<Box<str>>>());
    assert!(!is_one_of("a b"), "it has none yet");
    outbox.set_socket_id("a");
    outbox.set_socket_id("b");
    let table = [
        ("b", true),
        ("x b", true),
        ("/max#b", true),
        ("", false),
        ("a", false),
        ("/max#a", false),
        ("b#a", false),
        ("b#", false),
        ("bb", false),
    ];
    for (ids, expected) in table {
        assert_eq!(is_one_of(ids), expected, "{ids:?}");
    }
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
fn one_delivery_at_a_time_is_measured() {
    let outbox = outbox(10, 1000);
    let measured = || outbox.metrics.delivery_seconds.read().count();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
    outbox.push(frame(10));
    outbox.push(frame(10));
    outbox.measure_delivery(long_ago);
    outbox.push(frame(10));
    outbox.measure_delivery(long_ago);
    let mut taken = Frames::new();
    outbox.take(&mut taken);
    outbox.written(1, 10);
    assert_eq!(measured(), 0, "the message before it is written");
    outbox.written(2, 20);
    assert_eq!(measured(), 2, "the first one stands for the second");
    assert!(outbox.metrics.delivery_seconds.read().sum() >= 4.0);

    outbox.measure_delivery(Instant::now());
    assert_eq!(measured(), 3, "it was written before the measurement began");
    outbox.push(frame(10));
    outbox.measure_delivery(Instant::now());
    outbox.close(CloseReason::Stop);
    outbox.measure_delivery(Instant::now());
    outbox.written(1, 10);
    assert_eq!(measured(), 3, "a message that is dropped is not delivered");
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
fn a_lower_bound_ends_no_session_for_what_waits_already() {
    for policy in [OutboxPolicy::Close, OutboxPolicy::Fold] {
        let settings = config::Outbox { messages_max: 10, bytes_max: 1000, policy, grace_ms: 30_000 };
        let limits = Arc::new(OutboxLimits::new(&settings));
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let outbox = Outbox::new(Generation::Eio4, limits.clone(), metrics);
        (0..4).for_each(|_| assert!(outbox.push(frame(10))));
        limits.set(&config::Outbox { messages_max: 2, bytes_max: 100, ..settings });
        assert!(outbox.push(frame(10)), "a heartbeat");
        assert!(!outbox.has_room());
        let mut taken = Frames::new();
        outbox.take(&mut taken);
        assert!(outbox.written(5, 50), "its session is woken, because its reader was slow under the new bound");
        let fits = |_: &_| outbox.push(frame(10));
        let expected = if policy == OutboxPolicy::Close { 2 } else { 4 };
        assert_eq!((0..10).take_while(fits).count(), expected, "the new bound holds for an empty queue");
        assert_eq!(outbox.closed(), Some(CloseReason::Slow));
    }
}

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

#[derive(Debug, Default)]
struct Told(AtomicUsize);

impl Backlog for Told {
    fn grew(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_backlog_is_told_of_when_it_begins_and_whenever_it_has_doubled() {
    let outbox = outbox(10_000, 1 << 20);
    let told = Arc::new(Told::default());
    outbox.watch_by(told.clone());
    let pushes = |frames: usize, len: usize| {
        let before = told.0.load(Ordering::Relaxed);
        (0..frames).for_each(|_| assert!(outbox.push(frame(len))));
        told.0.load(Ordering::Relaxed) - before
    };
    assert_eq!(pushes(16, 10), 0, "as many wait often");
    assert_eq!(pushes(1, 10), 1);
    assert_eq!(pushes(17, 10), 0);
    assert_eq!(pushes(1, 10), 1, "twice as many");
    assert_eq!(pushes(1, 4000), 1, "more than 4 KiB");
    assert_eq!(pushes(1, 40_000), 1);
    outbox.drain_while(|_| true);
    outbox.written(37, 44_350);
    assert!(outbox.is_empty());
    assert_eq!((pushes(16, 10), pushes(1, 10)), (0, 1), "another backlog");
}
