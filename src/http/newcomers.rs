//! The newcomers of a thread: connections whose first request has begun to come. So many requests of theirs are taken
//! up in a round, of each address in its turn. A crowd that connects at once so delays neither those who are here nor
//! a newcomer from elsewhere: every other turn is for an address of which nobody else waits.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::turns::{self, Rest};

/// Newcomers who pass in one round (about 0.3 ms of work).
const PER_ROUND: usize = 8;

/// Those who wait for their turn. There are no more of them than open connections.
#[derive(Debug, Default)]
pub struct Newcomers(RefCell<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// Who waits, by address, the first to come first.
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<()>>>,
    /// Addresses whose first newcomer waits.
    new: VecDeque<IpAddr>,
    /// Addresses with more who wait.
    old: VecDeque<IpAddr>,
    /// Whose turn it is next.
    is_for_old: bool,
    /// The round that is counted.
    round: u64,
    passed: usize,
}

impl Newcomers {
    /// Waits for the turn of one more newcomer from `address`.
    pub async fn pass(self: &Rc<Self>, address: IpAddr) {
        if let Some(turn) = self.enter(address) {
            let _ = turn.await;
        }
    }

    /// Has a newcomer wait, or none where it passes at once.
    fn enter(self: &Rc<Self>, address: IpAddr) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.0.borrow_mut();
        if queue.is_empty() {
            if queue.has_room(turns::round()) {
                queue.passed += 1;
                return None;
            }
            actix_rt::spawn(Rc::clone(self).call());
        }
        Some(queue.wait(address))
    }

    /// Lets some pass in every round, as long as anybody waits.
    async fn call(self: Rc<Self>) {
        loop {
            Rest::default().await;
            if !self.0.borrow_mut().call(turns::round()) {
                return;
            }
        }
    }
}

impl Queue {
    /// Whether one more may pass in this round.
    fn has_room(&mut self, round: u64) -> bool {
        if round != std::mem::replace(&mut self.round, round) {
            self.passed = 0;
        }
        self.passed < PER_ROUND
    }

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

    /// Calls those who may pass in this round. False where nobody waits any more.
    fn call(&mut self, round: u64) -> bool {
        while self.has_room(round)
            && let Some(address) = self.next_address()
        {
            let Some(of_address) = self.waiting.get_mut(&address) else { continue };
            // Some have gone in the meantime.
            let next = std::iter::from_fn(|| of_address.pop_front()).find(|call| !call.is_closed());
            if of_address.is_empty() {
                self.waiting.remove(&address);
            } else {
                self.old.push_back(address);
            }
            if let Some(call) = next {
                self.passed += usize::from(call.send(()).is_ok());
            }
        }
        !self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [127, 0, 0, n].into()
    }

    /// The names of those who were called.
    fn called(waiting: &mut Vec<(&'static str, oneshot::Receiver<()>)>) -> Vec<&'static str> {
        waiting.extract_if(.., |(_, turn)| turn.try_recv().is_ok()).map(|(name, _)| name).collect()
    }

    #[test]
    fn each_address_has_its_turn() {
        let mut queue = Queue::default();
        let mut waiting = (0..20).map(|_| ("crowd", queue.wait(address(1)))).collect::<Vec<_>>();
        waiting.push(("late", queue.wait(address(2))));
        assert!(queue.call(1));
        assert!(called(&mut waiting).contains(&"late"));
        assert_eq!(waiting.len(), 13);
        assert!(queue.call(1), "no more in the same round");
        assert_eq!(waiting.len(), 13);
        assert!(queue.call(2) && !queue.call(3));
        assert_eq!(called(&mut waiting).len(), 13);
        assert!(queue.waiting.is_empty());
    }

    #[test]
    fn who_is_the_only_one_from_an_address_does_not_wait_for_the_crowds_of_others() {
        let mut queue = Queue::default();
        let mut waiting = (0..3).flat_map(|_| 1..=100).map(|n| ("crowd", queue.wait(address(n)))).collect::<Vec<_>>();
        (0..26).for_each(|round| assert!(queue.call(round)));
        called(&mut waiting);
        waiting.push(("late", queue.wait(address(200))));
        queue.call(26);
        let called = called(&mut waiting);
        assert!(called.contains(&"late") && called.contains(&"crowd"), "{called:?}");
    }

    #[test]
    fn those_who_have_gone_take_no_turn() {
        let mut queue = Queue::default();
        for _ in 0..100 {
            drop(queue.wait(address(1)));
        }
        let mut waiting = vec![("here", queue.wait(address(1)))];
        assert!(!queue.call(1));
        assert_eq!(called(&mut waiting), ["here"]);
        assert_eq!(queue.passed, 1);
    }

    #[actix_rt::test]
    async fn a_crowd_passes_in_rounds() {
        let newcomers = Rc::new(Newcomers::default());
        let begun = turns::round();
        let tasks = (0..100).map(|n| {
            let newcomers = newcomers.clone();
            actix_rt::spawn(async move { newcomers.pass(address(n % 3)).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let rounds = turns::round() - begun;
        assert!(rounds >= 100 / PER_ROUND as u64, "{rounds}");
    }
}
