//! The lists of what has something to be written, one for each worker: a push enters a line on the list of the thread
//! that writes, instead of waking a task for each session. The thread itself does that without a lock; what others
//! enter waits beside it under one, and they wake the writer once for many lines.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::{Mutex, RwLock};

/// What is to be written: the place that a worker has given it. A place may be given anew while a line for it is on a
/// list; whoever is there then is looked after for nothing.
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

/// Places of one worker, and who looks after them; it sleeps only while there are none.
#[derive(Default)]
struct List {
    places: Vec<u32>,
    writer: Option<Waker>,
}

impl List {
    fn enter(&mut self, place: u32) {
        if self.places.is_empty()
            && let Some(writer) = &self.writer
        {
            writer.wake_by_ref();
        }
        self.places.push(place);
    }

    fn take(&mut self, places: &mut Vec<u32>, writer: &Waker) {
        places.append(&mut self.places);
        if !self.writer.as_ref().is_some_and(|waker| waker.will_wake(writer)) {
            self.writer = Some(writer.clone());
        }
    }
}

/// What other threads have entered.
type Remote = Mutex<List>;

/// Those of the workers 1, 2, 3 and so on, as long as their threads live.
static REMOTES: RwLock<Vec<Weak<Remote>>> = RwLock::new(Vec::new());

/// The lists as one thread sees them.
#[derive(Default)]
struct Lists {
    /// 0 where the thread is no worker.
    worker: u32,
    local: List,
    remote: Arc<Remote>,
    /// For the other workers, by their numbers, as far as this thread has had to do with them.
    batches: Vec<Option<Batch>>,
    batching: bool,
}

/// What this thread is about to enter with another worker.
struct Batch {
    places: Vec<u32>,
    remote: Arc<Remote>,
}

thread_local! {
    static LISTS: RefCell<Lists> = RefCell::default();
}

impl Lists {
    /// None where that worker has ended.
    fn batch(&mut self, worker: u32) -> Option<&mut Batch> {
        let at = worker as usize - 1;
        if self.batches.len() <= at {
            self.batches.resize_with(at + 1, || None);
        }
        let batch = &mut self.batches[at];
        if batch.is_none() {
            let remote = REMOTES.read().get(at)?.upgrade()?;
            *batch = Some(Batch { places: Vec::new(), remote });
        }
        batch.as_mut()
    }
}

impl Batch {
    fn enter(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let mut list = self.remote.lock();
        let writer = list.places.is_empty().then(|| list.writer.clone()).flatten();
        list.places.append(&mut self.places);
        // Waking may take a system call, and the writer would meet the lock.
        drop(list);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

/// Makes this thread a worker's, and says its number, which is never 0.
pub fn begin() -> u32 {
    let lists = Lists::default();
    let mut remotes = REMOTES.write();
    remotes.push(Arc::downgrade(&lists.remote));
    let worker = remotes.len() as u32;
    LISTS.set(Lists { worker, ..lists });
    worker
}

/// Moves what this worker's list holds, and then what others have entered, to the end of `places`; `writer` is woken by
/// the next entry.
pub fn take(places: &mut Vec<u32>, writer: &Waker) {
    LISTS.with_borrow_mut(|lists| {
        lists.local.take(places, writer);
        lists.remote.lock().take(places, writer);
    });
}

/// As long as it lives, what this thread pushes for other workers is entered in one batch for each of them, at the end.
#[derive(Debug)]
#[must_use]
pub struct Batching {
    outermost: bool,
    _of_this_thread: PhantomData<Rc<()>>,
}

/// Begins a batch.
pub fn batch() -> Batching {
    let outermost = LISTS.with_borrow_mut(|lists| !std::mem::replace(&mut lists.batching, true));
    Batching { outermost, _of_this_thread: PhantomData }
}

impl Drop for Batching {
    fn drop(&mut self) {
        if self.outermost {
            LISTS.with_borrow_mut(|lists| {
                lists.batching = false;
                lists.batches.iter_mut().flatten().for_each(Batch::enter);
            });
        }
    }
}

/// Enters `line`. A worker that has ended has nobody to write, and is left alone.
pub(super) fn mark(line: Line) {
    LISTS.with_borrow_mut(|lists| {
        if lists.worker == line.worker {
            return lists.local.enter(line.place);
        }
        let batching = lists.batching;
        let Some(batch) = lists.batch(line.worker) else { return };
        batch.places.push(line.place);
        if !batching {
            batch.enter();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::tests::Wakes;
    use futures_util::task::waker;
    use std::sync::atomic::Ordering;

    fn elsewhere(act: impl FnOnce() + Send) {
        std::thread::scope(|scope| scope.spawn(act).join().unwrap());
    }

    #[test]
    fn a_batch_wakes_once_and_when_all_of_it_is_there() {
        let worker = begin();
        let wakes = Arc::new(Wakes::default());
        let (writer, count) = (waker(wakes.clone()), || wakes.0.load(Ordering::Relaxed));
        let mut places = Vec::new();
        take(&mut places, &writer);
        elsewhere(|| {
            let outer = batch();
            (1..4).for_each(|place| mark(Line { worker, place }));
            drop(batch());
            assert_eq!(count(), 0);
            drop(outer);
            assert_eq!(count(), 1);
            mark(Line { worker, place: 4 });
            assert_eq!(count(), 1, "it is awake");
        });
        mark(Line { worker, place: 5 });
        assert_eq!(count(), 2, "its own list was empty");
        take(&mut places, &writer);
        assert_eq!(places, [5, 1, 2, 3, 4]);
        elsewhere(|| mark(Line { worker, place: 6 }));
        assert_eq!(count(), 3, "it might have gone to sleep again");
    }

    #[test]
    fn what_waits_before_the_writer_has_come_is_not_lost() {
        let worker = begin();
        elsewhere(|| mark(Line { worker, place: 7 }));
        let mut places = Vec::new();
        take(&mut places, Waker::noop());
        assert_eq!(places, [7]);
    }

    #[test]
    fn a_worker_that_has_ended_is_left_alone() {
        let mut ended = 0;
        elsewhere(|| ended = begin());
        mark(Line { worker: ended, place: 1 });
        let worker = begin();
        assert_ne!(worker, ended);
        let mut places = Vec::new();
        take(&mut places, Waker::noop());
        assert!(places.is_empty());
    }
}
