//! The list, one on each worker thread, of what has something to be written: a push on the thread that also writes puts
//! an entry on it instead of waking a task for each.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

/// What is to be written: the place that a worker has given it, which means something on that worker's thread only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub worker: u32,
    /// Which of its places.
    pub place: u32,
}

impl Line {
    /// As one number, which is never 0.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.worker) << 32 | u64::from(self.place)
    }

    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self { worker: (bits >> 32) as u32, place: bits as u32 })
    }
}

#[derive(Default)]
struct List {
    worker: u32,
    places: Vec<u32>,
    writer: Option<Waker>,
}

thread_local! {
    static LIST: RefCell<List> = RefCell::default();
}

/// Makes this thread a worker's, and says its number, which is never 0.
pub fn begin() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let worker = NEXT.fetch_add(1, Ordering::Relaxed);
    LIST.with_borrow_mut(|list| *list = List { worker, ..List::default() });
    worker
}

/// Moves what is on this thread's list to the end of `places`; `writer` is woken by the next entry.
pub fn take(places: &mut Vec<u32>, writer: &Waker) {
    LIST.with_borrow_mut(|list| {
        places.append(&mut list.places);
        if !list.writer.as_ref().is_some_and(|waker| waker.will_wake(writer)) {
            list.writer = Some(writer.clone());
        }
    });
}

/// Enters `line`. False where it belongs to another thread.
pub(super) fn mark(line: Line) -> bool {
    LIST.with_borrow_mut(|list| {
        if list.worker != line.worker {
            return false;
        }
        if list.places.is_empty()
            && let Some(writer) = &list.writer
        {
            writer.wake_by_ref();
        }
        list.places.push(line.place);
        true
    })
}
