//! The lists of what has something to be written, one for each worker: a push enters a line on the list of the thread
//! that writes, instead of waking a task for each session. The thread itself does that without a lock; what others
//! enter waits beside it under one, and they wake the writer once for many lines. What is for many at once stands on a
//! list of its own, so that what is for few need not wait behind it.

use std::cell::RefCell;
use std::collections::VecDeque;
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

/// For how many is what a thread pushes in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crowd {
    /// It goes out before what is for many.
    #[default]
    Few,
    /// It takes so long to be written that others go first.
    Many,
}

/// Places of one worker, and who looks after them, as long as it sleeps: there are none then.
#[derive(Default)]
struct List {
    places: VecDeque<u32>,
    sleeper: Option<Waker>,
}

impl List {
    fn enter(&mut self, place: u32) {
        self.places.push_back(place);
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }
}

/// A list for each [`Crowd`].
#[derive(Default)]
struct Both([List; 2]);

impl Both {
    fn of(&mut self, crowd: Crowd) -> &mut List {
        &mut self.0[crowd as usize]
    }
}

/// What other threads have entered.
type Remote = Mutex<Both>;

/// Those of the workers 1, 2, 3 and so on, as long as their threads live.
static REMOTES: RwLock<Vec<Weak<Remote>>> = RwLock::new(Vec::new());

/// The lists as one thread sees them.
#[derive(Default)]
struct Lists {
    /// 0 where the thread is no worker.
    worker: u32,
    local: Both,
    remote: Arc<Remote>,
    /// For the other workers, by their numbers, as far as this thread has had to do with them.
    batches: Vec<Option<Batch>>,
    batching: bool,
    crowd: Crowd,
}

/// What this thread is about to enter with another worker.
struct Batch {
    places: VecDeque<u32>,
    remote: Weak<Remote>,
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
            let remote = REMOTES.read().get(at)?.clone();
            *batch = Some(Batch { places: VecDeque::new(), remote });
        }
        batch.as_mut().filter(|batch| batch.remote.strong_count() > 0)
    }
}

impl Batch {
    fn enter(&mut self, crowd: Crowd) {
        if self.places.is_empty() {
            return;
        }
        // A worker that has ended in the meantime has taken its sockets with it.
        let Some(remote) = self.remote.upgrade() else { return self.places.clear() };
        let mut lists = remote.lock();
        let list = lists.of(crowd);
        list.places.append(&mut self.places);
        let sleeper = list.sleeper.take();
        // Waking may take a system call, and the writer would meet the lock.
        drop(lists);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
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

/// Moves what this worker's list for such a crowd holds, and then what others have entered there, to the end of
/// `places`. Where that leaves it empty, `writer` sleeps, and is woken by the next entry. One that has places is not
/// woken: it would only be called from its rest between two turns.
pub fn take(crowd: Crowd, places: &mut VecDeque<u32>, writer: &Waker) {
    LISTS.with_borrow_mut(|lists| {
        let mut remote = lists.remote.lock();
        let (local, remote) = (lists.local.of(crowd), remote.of(crowd));
        places.append(&mut local.places);
        places.append(&mut remote.places);
        let sleeper = places.is_empty().then_some(writer);
        local.sleeper = sleeper.cloned();
        remote.sleeper = sleeper.cloned();
    });
}

/// As long as it lives, what this thread pushes for other workers is entered in one batch for each of them, at the end.
#[derive(Debug)]
#[must_use]
pub struct Batching {
    outermost: bool,
    _of_this_thread: PhantomData<Rc<()>>,
}

/// Begins a batch, of what is for so many.
pub fn batch(crowd: Crowd) -> Batching {
    let outermost = LISTS.with_borrow_mut(|lists| {
        let outermost = !std::mem::replace(&mut lists.batching, true);
        if outermost {
            lists.crowd = crowd;
        }
        outermost
    });
    Batching { outermost, _of_this_thread: PhantomData }
}

impl Drop for Batching {
    fn drop(&mut self) {
        if self.outermost {
            LISTS.with_borrow_mut(|lists| {
                let crowd = std::mem::take(&mut lists.crowd);
                lists.batching = false;
                lists.batches.iter_mut().flatten().for_each(|batch| batch.enter(crowd));
            });
        }
    }
}

/// Enters `line`. False where its worker has ended.
pub(super) fn mark(line: Line) -> bool {
    LISTS.with_borrow_mut(|lists| {
        let crowd = lists.crowd;
        if lists.worker == line.worker {
            lists.local.of(crowd).enter(line.place);
            return true;
        }
        let batching = lists.batching;
        let Some(batch) = lists.batch(line.worker) else { return false };
        batch.places.push_back(line.place);
        if !batching {
            batch.enter(crowd);
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use super::super::outbox::tests::Wakes;
    use super::*;
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
        let mut places = VecDeque::new();
        take(Crowd::Few, &mut places, &writer);
        elsewhere(|| {
            let outer = batch(Crowd::Few);
            (1..4).for_each(|place| assert!(mark(Line { worker, place })));
            drop(batch(Crowd::Many));
            assert_eq!(count(), 0);
            drop(outer);
            assert_eq!(count(), 1);
            assert!(mark(Line { worker, place: 4 }));
            assert_eq!(count(), 1, "it is awake");
        });
        assert!(mark(Line { worker, place: 5 }));
        assert_eq!(count(), 2, "its own list was empty");
        take(Crowd::Few, &mut places, &writer);
        assert_eq!(places, [5, 1, 2, 3, 4]);
        assert!(mark(Line { worker, place: 6 }));
        elsewhere(|| assert!(mark(Line { worker, place: 7 })));
        assert_eq!(count(), 2, "it has something to do");
        take(Crowd::Few, &mut places, &writer);
        places.clear();
        take(Crowd::Few, &mut places, &writer);
        elsewhere(|| assert!(mark(Line { worker, place: 8 })));
        assert_eq!(count(), 3, "it had gone to sleep again");
    }

    #[test]
    fn what_waits_before_the_writer_has_come_is_not_lost() {
        let worker = begin();
        elsewhere(|| assert!(mark(Line { worker, place: 7 })));
        let mut places = VecDeque::new();
        take(Crowd::Few, &mut places, Waker::noop());
        assert_eq!(places, [7]);
    }

    #[test]
    fn a_worker_that_has_ended_takes_no_lines() {
        let mut ended = 0;
        elsewhere(|| ended = begin());
        assert!(!mark(Line { worker: ended, place: 1 }));
        let batching = batch(Crowd::Few);
        let mut ending = 0;
        elsewhere(|| {
            ending = begin();
            let there = Line { worker: ending, place: 1 };
            std::thread::scope(|scope| scope.spawn(|| assert!(mark(there))).join().unwrap());
        });
        assert!(!mark(Line { worker: ending, place: 2 }));
        drop(batching);
    }

    #[test]
    fn what_is_for_many_stands_apart() {
        let worker = begin();
        let line = |place| Line { worker, place };
        let many = batch(Crowd::Many);
        assert!(mark(line(1)));
        drop(many);
        assert!(mark(line(2)));
        elsewhere(|| {
            let _many = batch(Crowd::Many);
            assert!(mark(line(3)));
        });
        elsewhere(|| assert!(mark(line(4))));
        let mut places = [VecDeque::new(), VecDeque::new()];
        take(Crowd::Few, &mut places[0], Waker::noop());
        take(Crowd::Many, &mut places[1], Waker::noop());
        assert_eq!(places, [[2, 4], [1, 3]]);
    }
}
