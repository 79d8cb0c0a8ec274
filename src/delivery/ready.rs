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
pub struct Entry {
    /// Whose.
    pub worker: u32,
    /// Which of its places.
    pub key: u32,
}

impl Entry {
    /// As one number, which is never 0.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.worker) << 32 | u64::from(self.key)
    }

    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self { worker: (bits >> 32) as u32, key: bits as u32 })
    }
}

/// For how many is what a thread pushes in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// It goes out before what is for many.
    #[default]
    Few,
    /// It takes so long to be written that others go first.
    Many,
}

/// Keys of one worker, and who looks after them, as long as it sleeps: there are none then.
#[derive(Default)]
struct List {
    keys: VecDeque<u32>,
    sleeper: Option<Waker>,
}

impl List {
    fn enter(&mut self, key: u32) {
        self.keys.push_back(key);
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }
}

/// A list for each [`Audience`].
#[derive(Default)]
struct Both([List; 2]);

impl Both {
    fn of(&mut self, audience: Audience) -> &mut List {
        &mut self.0[audience as usize]
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
    audience: Audience,
}

/// What this thread is about to enter with another worker.
struct Batch {
    keys: VecDeque<u32>,
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
            *batch = Some(Batch { keys: VecDeque::new(), remote });
        }
        batch.as_mut().filter(|batch| batch.remote.strong_count() > 0)
    }
}

impl Batch {
    fn enter(&mut self, audience: Audience) {
        if self.keys.is_empty() {
            return;
        }
        // A worker that has ended in the meantime has taken its sockets with it.
        let Some(remote) = self.remote.upgrade() else { return self.keys.clear() };
        let mut lists = remote.lock();
        let list = lists.of(audience);
        list.keys.append(&mut self.keys);
        let sleeper = list.sleeper.take();
        // Waking may take a system call, and the writer would meet the lock.
        drop(lists);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

/// Makes this thread a worker's, and says its number, which is never 0.
pub fn register_worker() -> u32 {
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
pub fn take(audience: Audience, keys: &mut VecDeque<u32>, writer: &Waker) {
    LISTS.with_borrow_mut(|lists| {
        let mut remote = lists.remote.lock();
        let (local, remote) = (lists.local.of(audience), remote.of(audience));
        keys.append(&mut local.keys);
        keys.append(&mut remote.keys);
        let sleeper = keys.is_empty().then_some(writer);
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
pub fn batch(audience: Audience) -> Batching {
    let outermost = LISTS.with_borrow_mut(|lists| {
        let outermost = !std::mem::replace(&mut lists.batching, true);
        if outermost {
            lists.audience = audience;
        }
        outermost
    });
    Batching { outermost, _of_this_thread: PhantomData }
}

impl Drop for Batching {
    fn drop(&mut self) {
        if self.outermost {
            LISTS.with_borrow_mut(|lists| {
                let audience = std::mem::take(&mut lists.audience);
                lists.batching = false;
                lists.batches.iter_mut().flatten().for_each(|batch| batch.enter(audience));
            });
        }
    }
}

/// Enters `line`. False where its worker has ended.
pub(super) fn list(entry: Entry) -> bool {
    LISTS.with_borrow_mut(|lists| {
        let audience = lists.audience;
        if lists.worker == entry.worker {
            lists.local.of(audience).enter(entry.key);
            return true;
        }
        let batching = lists.batching;
        let Some(batch) = lists.batch(entry.worker) else { return false };
        batch.keys.push_back(entry.key);
        if !batching {
            batch.enter(audience);
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
        let worker = register_worker();
        let wakes = Arc::new(Wakes::default());
        let (writer, count) = (waker(wakes.clone()), || wakes.0.load(Ordering::Relaxed));
        let mut keys = VecDeque::new();
        take(Audience::Few, &mut keys, &writer);
        elsewhere(|| {
            let outer = batch(Audience::Few);
            (1..4).for_each(|key| assert!(list(Entry { worker, key })));
            drop(batch(Audience::Many));
            assert_eq!(count(), 0);
            drop(outer);
            assert_eq!(count(), 1);
            assert!(list(Entry { worker, key: 4 }));
            assert_eq!(count(), 1, "it is awake");
        });
        assert!(list(Entry { worker, key: 5 }));
        assert_eq!(count(), 2, "its own list was empty");
        take(Audience::Few, &mut keys, &writer);
        assert_eq!(keys, [5, 1, 2, 3, 4]);
        assert!(list(Entry { worker, key: 6 }));
        elsewhere(|| assert!(list(Entry { worker, key: 7 })));
        assert_eq!(count(), 2, "it has something to do");
        take(Audience::Few, &mut keys, &writer);
        keys.clear();
        take(Audience::Few, &mut keys, &writer);
        elsewhere(|| assert!(list(Entry { worker, key: 8 })));
        assert_eq!(count(), 3, "it had gone to sleep again");
    }

    #[test]
    fn what_waits_before_the_writer_has_come_is_not_lost() {
        let worker = register_worker();
        elsewhere(|| assert!(list(Entry { worker, key: 7 })));
        let mut keys = VecDeque::new();
        take(Audience::Few, &mut keys, Waker::noop());
        assert_eq!(keys, [7]);
    }

    #[test]
    fn a_worker_that_has_ended_takes_no_lines() {
        let mut ended = 0;
        elsewhere(|| ended = register_worker());
        assert!(!list(Entry { worker: ended, key: 1 }));
        let batching = batch(Audience::Few);
        let mut ending = 0;
        elsewhere(|| {
            ending = register_worker();
            let there = Entry { worker: ending, key: 1 };
            std::thread::scope(|scope| scope.spawn(|| assert!(list(there))).join().unwrap());
        });
        assert!(!list(Entry { worker: ending, key: 2 }));
        drop(batching);
    }

    #[test]
    fn what_is_for_many_stands_apart() {
        let worker = register_worker();
        let entry = |key| Entry { worker, key };
        let many = batch(Audience::Many);
        assert!(list(entry(1)));
        drop(many);
        assert!(list(entry(2)));
        elsewhere(|| {
            let _many = batch(Audience::Many);
            assert!(list(entry(3)));
        });
        elsewhere(|| assert!(list(entry(4))));
        let mut keys = [VecDeque::new(), VecDeque::new()];
        take(Audience::Few, &mut keys[0], Waker::noop());
        take(Audience::Many, &mut keys[1], Waker::noop());
        assert_eq!(keys, [[2, 4], [1, 3]]);
    }
}
