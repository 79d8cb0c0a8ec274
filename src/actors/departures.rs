//! How a session leaves many conversations at once: in slices, one after the other for all sessions of a thread, so
//! that neither this thread nor those of the conversations are held.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::vec;

use tokio::sync::{Notify, oneshot};

use super::conversation::Membership;
use crate::turns::Rest;

/// As many memberships end at once: that is less work than a turn of the queue.
const FEW: usize = 16;

/// Memberships that end in a row before others have their turn.
const SLICE: usize = 128;

thread_local! {
    /// None where nobody works the queue off: there all memberships end at once.
    static QUEUE: RefCell<Option<Rc<Queue>>> = const { RefCell::new(None) };
}

/// Memberships that leave when they are dropped, and hold no thread by that.
#[derive(Debug, Default)]
pub struct Memberships(Vec<Membership>);

impl Memberships {
    /// Room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Holds one more.
    pub fn push(&mut self, membership: Membership) {
        self.0.push(membership);
    }

    /// The memberships themselves, which the caller now has to leave.
    pub fn into_vec(mut self) -> Vec<Membership> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Memberships {
    fn drop(&mut self) {
        depart(std::mem::take(&mut self.0));
    }
}

/// What is to be dropped, in this order.
#[derive(Default)]
struct Queue {
    entries: RefCell<VecDeque<Entry>>,
    filled: Notify,
}

enum Entry {
    Departure(vec::IntoIter<Membership>),
    Guard(#[allow(dead_code, reason = "held for its drop")] Box<dyn Any>),
}

/// Has a task of this thread work its departures off. Without it they are done at once. A thread that has one already
/// keeps it.
pub fn start() {
    let started = QUEUE.with_borrow_mut(|queue| match queue {
        Some(_) => None,
        None => Some(queue.insert(Rc::default()).clone()),
    });
    if let Some(queue) = started {
        actix_rt::spawn(run(Serving(queue)));
    }
}

/// Ends these memberships. Few end at once, many in their turn behind those of other sessions.
pub fn depart(memberships: Vec<Membership>) {
    match queue() {
        Some(queue) if memberships.len() > FEW => queue.push(Entry::Departure(memberships.into_iter())),
        _ => drop(memberships),
    }
}

/// Drops `guard` when all that has departed until now has left.
pub fn then_drop(guard: impl Any) {
    match queue() {
        Some(queue) if !queue.entries.borrow().is_empty() => queue.push(Entry::Guard(Box::new(guard))),
        _ => drop(guard),
    }
}

/// Resolves when all that has departed until now has left; none where that is so already.
pub fn all_out() -> Option<oneshot::Receiver<Infallible>> {
    let (guard, out) = oneshot::channel::<Infallible>();
    then_drop(guard);
    let mut out = out;
    matches!(out.try_recv(), Err(oneshot::error::TryRecvError::Empty)).then_some(out)
}

fn queue() -> Option<Rc<Queue>> {
    QUEUE.try_with(|queue| queue.try_borrow().ok().and_then(|queue| queue.clone())).ok().flatten()
}

impl Queue {
    fn push(&self, entry: Entry) {
        self.entries.borrow_mut().push_back(entry);
        self.filled.notify_one();
    }

    /// Ends one slice of what is queued. False where nothing was.
    fn advance(&self) -> bool {
        let mut left = SLICE;
        while left > 0 {
            // What is dropped may come back here, so the queue is not borrowed in the meantime.
            let Some(entry) = self.entries.borrow_mut().pop_front() else { break };
            match entry {
                Entry::Guard(guard) => drop(guard),
                Entry::Departure(mut memberships) => {
                    let ended = memberships.by_ref().take(left).count();
                    left -= ended;
                    if memberships.len() > 0 {
                        self.entries.borrow_mut().push_front(Entry::Departure(memberships));
                    }
                }
            }
        }
        left < SLICE
    }
}

/// The task's hold of the queue. Whatever is queued when the task ends leaves at once.
struct Serving(Rc<Queue>);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = QUEUE.try_with(|queue| queue.take());
        while self.0.advance() {}
    }
}

async fn run(serving: Serving) {
    loop {
        while serving.0.advance() {
            Rest::default().await;
        }
        serving.0.filled.notified().await;
    }
}
