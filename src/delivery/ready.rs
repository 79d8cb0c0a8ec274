//! The ready lists: for each worker, the outboxes that have something to write. A push adds an entry to the list of the
//! worker that writes, instead of waking a task for each session. The worker's own thread adds entries without a lock.
//! Other threads add theirs to a second list, under a lock, and wake the writer once for many entries. Each
//! [`Audience`] has lists of its own, so that packets for few recipients do not wait behind those for many.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::{Mutex, RwLock};

/// An entry of a ready list: a socket by the key that its worker has given it. If the key passes to another socket
/// while the entry is on a list, that socket is flushed for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number of the worker.
    pub worker: u32,
    /// The key in the worker's slab.
    pub key: u32,
}

impl Entry {
    /// Returns the entry as one number, which is never 0.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.worker) << 32 | u64::from(self.key)
    }

    /// Returns the entry of a number; `None` for 0.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self { worker: (bits >> 32) as u32, key: bits as u32 })
    }
}

/// The size of a packet's audience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Few recipients, who do not wait behind those of a large audience.
    #[default]
    Few,
    /// So many recipients that writing to all of them takes long.
    Many,
}

/// The keys of sockets of one worker, and the writer's waker while the list is empty.
#[derive(Default)]
struct List {
    keys: VecDeque<u32>,
    sleeper: Option<Waker>,
}

impl List {
    fn add(&mut self, key: u32) {
        self.keys.push_back(key);
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }
}

/// A list for each [`Audience`].
#[derive(Default)]
struct ByAudience([List; 2]);

impl ByAudience {
    fn of(&mut self, audience: Audience) -> &mut List {
        &mut self.0[audience as usize]
    }
}

/// The entries that other threads have added.
type Remote = Mutex<ByAudience>;

/// The remote lists of the workers 1, 2, 3 and so on. It only grows, by a `Weak` for each worker that is ever started;
/// a worker is started again only if its thread has failed.
static REMOTES: RwLock<Vec<Weak<Remote>>> = RwLock::new(Vec::new());

/// The state of one thread.
#[derive(Default)]
struct Lists {
    /// The number of this thread's worker; 0 if the thread is not a worker.
    worker: u32,
    local: ByAudience,
    remote: Arc<Remote>,
    /// The batches for other workers, by their numbers less 1. `None` if this thread has never pushed to that worker.
    batches: Vec<Option<Batch>>,
    batching: bool,
    /// The audience of the current batch.
    audience: Audience,
}

/// The entries that this thread will add to the remote list of another worker.
struct Batch {
    keys: VecDeque<u32>,
    remote: Weak<Remote>,
}

thread_local! {
    static LISTS: RefCell<Lists> = RefCell::default();
}

impl Lists {
    /// Returns the batch for a worker. `None` if that worker has ended.
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
    fn hand_over(&mut self, audience: Audience) {
        if self.keys.is_empty() {
            return;
        }
        // A worker that has ended in the meantime has taken its sockets with it.
        let Some(remote) = self.remote.upgrade() else { return self.keys.clear() };
        let mut lists = remote.lock();
        let list = lists.of(audience);
        list.keys.append(&mut self.keys);
        let sleeper = list.sleeper.take();
        // The lock is released before waking, which may take a system call: the writer needs the lock at once.
        drop(lists);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

/// Makes this thread a worker, and returns its number, which is never 0.
pub fn register_worker() -> u32 {
    let lists = Lists::default();
    let mut remotes = REMOTES.write();
    remotes.push(Arc::downgrade(&lists.remote));
    let worker = remotes.len() as u32;
    LISTS.set(Lists { worker, ..lists });
    worker
}

/// Appends this worker's entries for `audience` to `keys`, its own first, then those of other threads. If `keys` is
/// empty after that, the next entry wakes `writer`. Otherwise entries do not wake it: that would only disturb its rest
/// between two turns.
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

/// A batch under way. At its end, the pushes of this thread for other workers are handed over to each of them at once.
#[derive(Debug)]
#[must_use]
pub struct Batching {
    outermost: bool,
    _of_this_thread: PhantomData<Rc<()>>,
}

/// Begins a batch of packets for `audience`. Within another batch it has no effect.
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
                lists.batches.iter_mut().flatten().for_each(|batch| batch.hand_over(audience));
            });
        }
    }
}

/// Adds an entry to the list of its worker, or to the batch under way for it. Returns false if the worker has ended.
pub(super) fn list(entry: Entry) -> bool {
    LISTS.with_borrow_mut(|lists| {
        let audience = lists.audience;
        if lists.worker == entry.worker {
            lists.local.of(audience).add(entry.key);
            return true;
        }
        let batching = lists.batching;
        let Some(batch) = lists.batch(entry.worker) else { return false };
        batch.keys.push_back(entry.key);
        if !batching {
            batch.hand_over(audience);
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
    fn a_batch_wakes_once_when_all_of_it_is_handed_over() {
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
            assert_eq!(count(), 1, "the writer is awake");
        });
        assert!(list(Entry { worker, key: 5 }));
        assert_eq!(count(), 2, "the list of its own thread was empty");
        take(Audience::Few, &mut keys, &writer);
        assert_eq!(keys, [5, 1, 2, 3, 4]);
        assert!(list(Entry { worker, key: 6 }));
        elsewhere(|| assert!(list(Entry { worker, key: 7 })));
        assert_eq!(count(), 2, "the writer has keys");
        take(Audience::Few, &mut keys, &writer);
        keys.clear();
        take(Audience::Few, &mut keys, &writer);
        elsewhere(|| assert!(list(Entry { worker, key: 8 })));
        assert_eq!(count(), 3, "the list was empty again");
    }

    #[test]
    fn entries_added_before_the_writer_runs_are_not_lost() {
        let worker = register_worker();
        elsewhere(|| assert!(list(Entry { worker, key: 7 })));
        let mut keys = VecDeque::new();
        take(Audience::Few, &mut keys, Waker::noop());
        assert_eq!(keys, [7]);
    }

    #[test]
    fn a_worker_that_has_ended_takes_no_entries() {
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
    fn each_audience_has_its_own_list() {
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
