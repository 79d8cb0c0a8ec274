//! How a session leaves many conversations at once: in slices, in turn with the other sessions of its thread, so that
//! neither this thread nor those of the conversations are held.

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

/// As many memberships end at once: that is less work than a turn of the queue.
const FEW: usize = 16;

/// Memberships that end in a row before others have their turn.
const SLICE: usize = 128;

thread_local! {
    /// None where nobody works the queue off: there all memberships end at once.
    static QUEUE: RefCell<Option<Rc<Queue>>> = const { RefCell::new(None) };
}

/// Memberships of one session that leave when they are dropped, and hold no thread by that.
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

/// What is to be dropped: that of each session in its order, and the sessions in turn.
#[derive(Default)]
struct Queue {
    sessions: RefCell<HashMap<SessionId, VecDeque<Entry>>>,
    turns: RefCell<VecDeque<SessionId>>,
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

/// Ends these memberships of one session. Few end at once, many in turn with those of other sessions.
pub fn depart(memberships: Vec<Membership>) {
    let session = memberships.first().map(Membership::session);
    match (queue(), session) {
        (Some(queue), Some(session)) if memberships.len() > FEW => {
            queue.push(session, Entry::Departure(memberships.into_iter()));
        }
        _ => drop(memberships),
    }
}

/// Drops `guard` when all has left that this session has had depart until now.
pub fn then_drop(session: SessionId, guard: impl Any) {
    match queue() {
        Some(queue) if queue.sessions.borrow().contains_key(&session) => {
            queue.push(session, Entry::Guard(Box::new(guard)));
        }
        _ => drop(guard),
    }
}

/// Resolves when all has left that this session has had depart until now; none where that is so already.
pub fn all_out(session: SessionId) -> Option<oneshot::Receiver<Infallible>> {
    let (guard, mut out) = oneshot::channel::<Infallible>();
    then_drop(session, guard);
    matches!(out.try_recv(), Err(oneshot::error::TryRecvError::Empty)).then_some(out)
}

fn queue() -> Option<Rc<Queue>> {
    QUEUE.try_with(|queue| queue.try_borrow().ok().and_then(|queue| queue.clone())).ok().flatten()
}

impl Queue {
    fn push(&self, session: SessionId, entry: Entry) {
        let mut sessions = self.sessions.borrow_mut();
        let entries = sessions.entry(session).or_insert_with(|| {
            self.turns.borrow_mut().push_back(session);
            VecDeque::new()
        });
        entries.push_back(entry);
        self.filled.notify_one();
    }

    fn pop(&self, session: SessionId) -> Option<Entry> {
        self.sessions.borrow_mut().get_mut(&session)?.pop_front()
    }

    /// Ends a slice of what the session has queued. True where there is more.
    fn advance_session(&self, session: SessionId, left: &mut usize) -> bool {
        // What is dropped may come back here, so the queue is not borrowed in the meantime.
        while let Some(entry) = self.pop(session) {
            let Entry::Departure(mut memberships) = entry else { continue };
            *left -= memberships.by_ref().take(*left).count();
            if memberships.len() > 0 {
                let mut sessions = self.sessions.borrow_mut();
                sessions.entry(session).or_default().push_front(Entry::Departure(memberships));
                return true;
            }
        }
        self.sessions.borrow_mut().remove(&session);
        false
    }

    /// Ends one slice of what is queued. False where nothing was.
    fn advance(&self) -> bool {
        let mut left = SLICE;
        while left > 0 {
            let Some(session) = self.turns.borrow_mut().pop_front() else { break };
            if self.advance_session(session, &mut left) {
                self.turns.borrow_mut().push_back(session);
            }
        }
        // The room that a crowd took goes with it.
        if self.turns.borrow().is_empty() {
            self.turns.take();
            self.sessions.take();
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
