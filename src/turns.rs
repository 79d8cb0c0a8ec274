//! Turns of the tasks of a thread. In a round, the runtime polls the sockets and runs the tasks that are ready; a task
//! that has done its share rests until the next round. tokio's `yield_now` is not enough, because it ends as soon as
//! anything wakes the task. With it, tasks of two threads that wake each other would keep the runtime from its sockets
//! for 61 turns (a tick of tokio's `LocalSet`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix::{Actor, ActorFuture};

/// Capacity that the list of resting tasks keeps after it has grown.
const ROOM: usize = 1024;

thread_local! {
    static ROUNDS: Rounds = const { Rounds::new() };
}

/// The rounds of one thread, counted only while a task rests.
struct Rounds {
    number: Cell<u64>,
    resting: RefCell<Vec<Waker>>,
    /// Whether the counting task runs.
    is_counted: Cell<bool>,
    /// The waker of the counting task, while no task rests.
    counter: RefCell<Option<Waker>>,
}

/// Returns the number of this thread's round, for tasks with a share per round.
pub fn round() -> u64 {
    ROUNDS.with(|rounds| rounds.number.get())
}

/// Wakes the task in the next round. This thread has to run actix's runtime, and no other runtime may be alive on it.
pub fn rest(cx: &mut Context<'_>) {
    ROUNDS.with(|rounds| rounds.rest(cx.waker()));
}

impl Rounds {
    const fn new() -> Self {
        Self {
            number: Cell::new(0),
            resting: RefCell::new(Vec::new()),
            is_counted: Cell::new(false),
            counter: RefCell::new(None),
        }
    }

    fn rest(&self, task: &Waker) {
        let mut resting = self.resting.borrow_mut();
        if !resting.last().is_some_and(|last| last.will_wake(task)) {
            resting.push(task.clone());
        }
        drop(resting);
        if !self.is_counted.replace(true) {
            actix_rt::spawn(count_rounds(Counting));
        } else if let Some(counter) = self.counter.take() {
            counter.wake();
        }
    }

    /// Waits until a task rests.
    fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.resting.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.counter.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ends the round: wakes all resting tasks. `room` is an empty list, which becomes the list of resting tasks. The
    /// previous list, emptied, is `room` for the next call: both keep their capacity.
    fn end(&self, room: &mut Vec<Waker>) {
        self.number.set(self.number.get() + 1);
        std::mem::swap(room, &mut self.resting.borrow_mut());
        room.drain(..).for_each(Waker::wake);
        room.shrink_to(ROOM);
    }
}

async fn count_rounds(_counting: Counting) {
    let mut room = Vec::new();
    loop {
        poll_fn(|cx| ROUNDS.with(|rounds| rounds.poll_begun(cx))).await;
        // Nothing but the runtime ends this yield, and it polls the sockets first.
        tokio::task::yield_now().await;
        // Lets other threads of the server that share this core run now. Otherwise they would wait for milliseconds,
        // until the system takes the core from this thread.
        std::thread::yield_now();
        ROUNDS.with(|rounds| rounds.end(&mut room));
    }
}

/// Lives as long as the counting task: until the runtime ends.
struct Counting;

impl Drop for Counting {
    fn drop(&mut self) {
        let _ = ROUNDS.try_with(|rounds| {
            rounds.is_counted.set(false);
            rounds.counter.take();
            rounds.end(&mut Vec::new());
        });
    }
}

/// The part of a round's work that a task has done.
#[derive(Debug, Default)]
pub struct Share {
    round: u64,
    used: usize,
}

impl Share {
    /// Takes `wanted` units of work, or fewer if the task would do more than `most` in this round. Returns how many it
    /// took.
    pub fn take(&mut self, wanted: usize, most: usize, round: u64) -> usize {
        if round != std::mem::replace(&mut self.round, round) {
            self.used = 0;
        }
        let taken = wanted.min(most.saturating_sub(self.used));
        self.used += taken;
        taken
    }
}

/// Resolves in the next round, even if its task is woken earlier.
#[derive(Debug, Default)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Rest {
    /// The round in which it began. `None` until it is first polled.
    since: Option<u64>,
}

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if *self.since.get_or_insert_with(round) != round() {
            return Poll::Ready(());
        }
        rest(cx);
        Poll::Pending
    }
}

impl Future for Rest {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll(&mut self, cx)
    }
}

impl<A: Actor> ActorFuture<A> for Rest {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut A, _: &mut A::Context, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll(&mut self, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::rc::Rc;

    #[actix_rt::test]
    async fn a_rest_lasts_for_the_round_whatever_wakes_its_task() {
        let mut resting = pin!(Rest::default());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(Future::poll(resting.as_mut(), &mut cx).is_pending());
        }
        Rest::default().await;
        assert!(Future::poll(resting.as_mut(), &mut cx).is_ready());
    }

    #[actix_rt::test]
    async fn all_who_rest_go_on_in_the_next_round_in_their_order() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let tasks = (0..3).map(|name| {
            let log = log.clone();
            actix_rt::spawn(async move {
                for _ in 0..3 {
                    log.borrow_mut().push(name);
                    Rest::default().await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(*log.borrow(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_runtime_that_ends_ends_the_round() {
        let is_counted = || ROUNDS.with(|rounds| rounds.is_counted.get());
        let begun = round();
        let system = actix_rt::System::new();
        system.block_on(async { rest(&mut Context::from_waker(Waker::noop())) });
        assert!(is_counted() && round() == begun);
        drop(system);
        assert!(!is_counted() && round() == begun + 1);
        actix_rt::System::new().block_on(Rest::default());
    }

    #[test]
    fn a_share_is_for_one_round() {
        let mut share = Share::default();
        let taken = [(3, 1), (3, 1), (9, 1), (1, 1), (9, 2)].map(|(wanted, round)| share.take(wanted, 8, round));
        assert_eq!(taken, [3, 3, 2, 0, 8]);
    }
}
