//! How the tasks of a thread take turns. In a round its runtime looks at the sockets and runs whoever has something to
//! do; a task that has done its share rests until the next round. Giving way by tokio's `yield_now` is not enough: that
//! ends as soon as anything wakes the task, and tasks of two threads that wake each other would keep the runtime from
//! the sockets for 61 of their turns (a tick of tokio's `LocalSet`).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix::{Actor, ActorFuture};

thread_local! {
    static ROUNDS: Rounds = Rounds::default();
}

/// The rounds of one thread. They are counted only while somebody rests.
#[derive(Default)]
struct Rounds {
    number: Cell<u64>,
    resting: RefCell<Vec<Waker>>,
    /// Whether a task waits for the end of this round.
    is_ending: Cell<bool>,
}

/// The number of this thread's round, for tasks that have only so much to do in each.
pub fn round() -> u64 {
    ROUNDS.with(|rounds| rounds.number.get())
}

/// Has the task run again in the next round. Needs a runtime on this thread.
pub fn rest(cx: &mut Context<'_>) {
    let begins = ROUNDS.with(|rounds| {
        let mut resting = rounds.resting.borrow_mut();
        if !resting.last().is_some_and(|last| last.will_wake(cx.waker())) {
            resting.push(cx.waker().clone());
        }
        !rounds.is_ending.replace(true)
    });
    if begins {
        actix_rt::spawn(end_round(End));
    }
}

async fn end_round(_end: End) {
    // Only the runtime wakes this task, when it has looked at the sockets.
    tokio::task::yield_now().await;
    // The other threads of the server may have no core but this one, and would wait for milliseconds until it is
    // taken from this thread.
    std::thread::yield_now();
}

/// The end of a round, also where its runtime comes to its own end.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        let resting = ROUNDS.try_with(|rounds| {
            rounds.number.set(rounds.number.get() + 1);
            rounds.is_ending.set(false);
            rounds.resting.take()
        });
        resting.unwrap_or_default().iter().for_each(Waker::wake_by_ref);
    }
}

/// Resolves in the next round, whatever wakes its task before.
#[derive(Debug, Default)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Rest {
    /// The round in which it began.
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

    /// A test after a test on the same thread, that is.
    #[test]
    fn rounds_go_on_in_another_runtime() {
        for _ in 0..2 {
            let system = actix_rt::System::new();
            system.block_on(async {
                rest(&mut Context::from_waker(Waker::noop()));
                assert!(ROUNDS.with(|rounds| rounds.is_ending.get()));
            });
            drop(system);
        }
        actix_rt::System::new().block_on(Rest::default());
    }
}
