//! The newcomers of a thread: connections whose first request has begun to arrive. Each round serves a few of them, so
//! that they do not hold up established connections. Addresses take turns, and every other turn goes to an address that
//! is new here. So a crowd that connects at once does not delay clients from other addresses either.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::turns::{self, Rest, Share};

/// Newcomers served in one round (about 0.3 ms of work).
const PER_ROUND: usize = 8;

/// A long round serves one newcomer for each such part of it. That takes a fifth of the thread's time.
const ROUND_EACH: Duration = Duration::from_micros(160);

/// Newcomers served in one round at most, however long it is (about 5 ms of work).
const PER_ROUND_MAX: usize = 128;

/// Newcomers that wait for their turn. Each is an open connection.
#[derive(Debug, Default)]
pub struct Newcomers(RefCell<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// Waiting newcomers by address, oldest first.
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<()>>>,
    /// Addresses that have had no turn yet.
    new: VecDeque<IpAddr>,
    /// Addresses that have had a turn and still have newcomers.
    old: VecDeque<IpAddr>,
    /// Whether the next turn is for an address of `old`.
    is_for_old: bool,
    share: Share,
}

impl Newcomers {
    /// Waits for the turn of a newcomer from `address`.
    pub async fn pass(self: &Rc<Self>, address: IpAddr) {
        if let Some(turn) = self.enter(address) {
            let _ = turn.await;
        }
    }

    /// Queues a newcomer. Returns `None` if it may pass at once.
    fn enter(self: &Rc<Self>, address: IpAddr) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.0.borrow_mut();
        if queue.is_empty() {
            if queue.share.take(1, PER_ROUND, turns::round()) == 1 {
                return None;
            }
            actix_rt::spawn(Rc::clone(self).call());
        }
        Some(queue.wait(address))
    }

    /// Lets some pass in every round, until nobody waits.
    async fn call(self: Rc<Self>) {
        loop {
            let begun = Instant::now();
            Rest::default().await;
            let most = (begun.elapsed().as_micros() / ROUND_EACH.as_micros()) as usize;
            if !self.0.borrow_mut().call(most.clamp(PER_ROUND, PER_ROUND_MAX), turns::round()) {
                return;
            }
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn wait(&mut self, address: IpAddr) -> oneshot::Receiver<()> {
        let (call, turn) = oneshot::channel();
        let of_address = self.waiting.entry(address).or_default();
        if of_address.is_empty() {
            self.new.push_back(address);
        }
        of_address.push_back(call);
        turn
    }

    fn next_address(&mut self) -> Option<IpAddr> {
        let is_for_old = self.is_for_old;
        self.is_for_old = !is_for_old;
        let (first, second) = if is_for_old { (&mut self.old, &mut self.new) } else { (&mut self.new, &mut self.old) };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// Lets at most `most` pass in this round. Returns false if nobody waits any more.
    fn call(&mut self, most: usize, round: u64) -> bool {
        while !self.is_empty() && self.share.take(1, most, round) == 1 {
            let Some(address) = self.next_address() else { break };
            let Some(of_address) = self.waiting.get_mut(&address) else { continue };
            // Skips those that have gone.
            while of_address.pop_front().is_some_and(|next| next.send(()).is_err()) {}
            if of_address.is_empty() {
                self.waiting.remove(&address);
            } else {
                self.old.push_back(address);
            }
        }
        let more = !self.is_empty();
        if !more {
            // Frees the memory that a crowd took.
            (self.waiting, self.new, self.old) = Default::default();
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [127, 0, 0, n].into()
    }

    /// Takes out the names of those who passed.
    fn called(waiting: &mut Vec<(&'static str, oneshot::Receiver<()>)>) -> Vec<&'static str> {
        waiting.extract_if(.., |(_, turn)| turn.try_recv().is_ok()).map(|(name, _)| name).collect()
    }

    #[test]
    fn each_address_has_its_turn() {
        let mut queue = Queue::default();
        let mut waiting = (0..20).map(|_| ("crowd", queue.wait(address(1)))).collect::<Vec<_>>();
        waiting.push(("late", queue.wait(address(2))));
        assert!(queue.call(8, 1));
        assert!(called(&mut waiting).contains(&"late"));
        assert_eq!(waiting.len(), 13);
        assert!(queue.call(8, 1), "no more in the same round");
        assert_eq!(called(&mut waiting).len(), 0);
        assert!(queue.call(8, 2) && !queue.call(8, 3));
        assert_eq!(called(&mut waiting).len(), 13);
        assert_eq!((queue.waiting.capacity(), queue.new.capacity(), queue.old.capacity()), (0, 0, 0));
    }

    #[test]
    fn a_single_client_does_not_wait_for_crowds_from_other_addresses() {
        let mut queue = Queue::default();
        let mut waiting = (0..3).flat_map(|_| 1..=100).map(|n| ("crowd", queue.wait(address(n)))).collect::<Vec<_>>();
        (1..=26).for_each(|round| assert!(queue.call(8, round)));
        called(&mut waiting);
        waiting.push(("late", queue.wait(address(200))));
        queue.call(8, 27);
        let called = called(&mut waiting);
        assert!(called.contains(&"late") && called.contains(&"crowd"), "{called:?}");
    }

    #[actix_rt::test]
    async fn a_crowd_passes_in_rounds() {
        let newcomers = Rc::new(Newcomers::default());
        let begun = turns::round();
        let tasks = (0..1000).map(|n| {
            let newcomers = newcomers.clone();
            actix_rt::spawn(async move { newcomers.pass(address((n % 3) as u8)).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let rounds = turns::round() - begun;
        assert!(rounds >= 1000 / PER_ROUND_MAX as u64, "{rounds}");
    }
}
