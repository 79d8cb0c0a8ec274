//! Departures of sessions that leave many conversations at once. A queue of each thread drops their memberships in
//! slices, the sessions in turn, so that neither this thread nor those of the conversations are busy for long.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::vec;

use tokio::sync::{Notify, oneshot};

use super::conversation::Membership;
use crate::event::SessionId;
use crate::turns::Rest;

/// Up to this many memberships are dropped at once: that is less work than a turn of the queue.
const FEW: usize = 16;

/// Memberships dropped in a row before other tasks of the thread run.
const SLICE: usize = 128;

thread_local! {
    /// `None` if the thread has no task for the queue; then all memberships are dropped at once.
    static QUEUE: RefCell<Option<Rc<Queue>>> = const { RefCell::new(None) };
}

/// Memberships of one session. When this is dropped, the session leaves by [`depart`].
#[derive(Debug, Default)]
pub struct Memberships(Vec<Membership>);

impl Memberships {
    /// Creates an empty list with room for `count` memberships.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds a membership.
    pub fn push(&mut self, membership: Membership) {
        self.0.push(membership);
    }

    /// Returns the memberships. The caller has to [`depart`] from them.
    pub fn into_vec(mut self) -> Vec<Membership> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Memberships {
    fn drop(&mut self) {
        depart(std::mem::take(&mut self.0));
    }
}

/// The departures of a thread.
#[derive(Default)]
struct Queue {
    /// The items of each session, dropped in their order.
    sessions: RefCell<HashMap<SessionId, VecDeque<Item>>>,
    /// The sessions in the order of their turns.
    turns: RefCell<VecDeque<SessionId>>,
    filled: Notify,
}

enum Item {
    Departure(vec::IntoIter<Membership>),
    Guard(#[allow(dead_code, reason = "held for its drop")] Box<dyn Any>),
}

/// Starts the task of this thread that works the queue off, if the thread has none yet.
pub fn start() {
    let started = QUEUE.with_borrow_mut(|queue| match queue {
        Some(_) => None,
        None => Some(queue.insert(Rc::default()).clone()),
    });
    if let Some(queue) = started {
        actix_rt::spawn(run(Serving(queue)));
    }
}

/// Drops these memberships of one session: a few at once, many through the queue.
pub fn depart(memberships: Vec<Membership>) {
    let session = memberships.first().map(Membership::session);
    match (queue(), session) {
        (Some(queue), Some(session)) if memberships.len() > FEW => {
            queue.push(session, Item::Departure(memberships.into_iter()));
        }
        _ => drop(memberships),
    }
}

/// Drops `guard` after everything that is in the queue now for this session.
pub fn then_drop(session: SessionId, guard: impl Any) {
    match queue() {
        Some(queue) if queue.sessions.borrow().contains_key(&session) => {
            queue.push(session, Item::Guard(Box::new(guard)));
        }
        _ => drop(guard),
    }
}

/// Returns a receiver that closes once everything that the queue holds now for this session is dropped. `None` if it
/// holds nothing.
pub fn all_out(session: SessionId) -> Option<oneshot::Receiver<Infallible>> {
    let (guard, mut out) = oneshot::channel::<Infallible>();
    then_drop(session, guard);
    matches!(out.try_recv(), Err(oneshot::error::TryRecvError::Empty)).then_some(out)
}

fn queue() -> Option<Rc<Queue>> {
    QUEUE.try_with(|queue| queue.try_borrow().ok().and_then(|queue| queue.clone())).ok().flatten()
}

impl Queue {
    fn push(&self, session: SessionId, item: Item) {
        let mut sessions = self.sessions.borrow_mut();
        let items = sessions.entry(session).or_insert_with(|| {
            self.turns.borrow_mut().push_back(session);
            VecDeque::new()
        });
        items.push_back(item);
        self.filled.notify_one();
    }

    fn pop(&self, session: SessionId) -> Option<Item> {
        self.sessions.borrow_mut().get_mut(&session)?.pop_front()
    }

    /// Drops a slice of the session's items. Returns whether it has more.
    fn advance_session(&self, session: SessionId, left: &mut usize) -> bool {
        // The queue is not borrowed while an item is dropped, because its drop may call `push`.
        while let Some(item) = self.pop(session) {
            let Item::Departure(mut memberships) = item else { continue };
            *left -= memberships.by_ref().take(*left).count();
            if memberships.len() > 0 {
                let mut sessions = self.sessions.borrow_mut();
                sessions.entry(session).or_default().push_front(Item::Departure(memberships));
                return true;
            }
        }
        self.sessions.borrow_mut().remove(&session);
        false
    }

    /// Drops one slice of the queue. Returns whether there was anything to drop.
    fn advance(&self) -> bool {
        let mut left = SLICE;
        while left > 0 {
            let Some(session) = self.turns.borrow_mut().pop_front() else { break };
            if self.advance_session(session, &mut left) {
                self.turns.borrow_mut().push_back(session);
            }
        }
        // An empty queue gives its memory back.
        if self.turns.borrow().is_empty() {
            self.turns.take();
            self.sessions.take();
        }
        left < SLICE
    }
}

/// The task's hold of the queue. When the task ends, everything queued is dropped at once.
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
