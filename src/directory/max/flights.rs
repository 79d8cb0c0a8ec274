//! Calls to MAX in progress: equal questions at the same time share one call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};

/// A call in progress.
type Flight<T> = LocalBoxFuture<'static, T>;

/// The calls in progress, by question.
pub(super) struct Flights<K, T: Clone>(Rc<RefCell<HashMap<K, WeakShared<Flight<T>>>>>);

impl<K: Clone + Eq + Hash + 'static, T: Clone + 'static> Flights<K, T> {
    pub(super) fn new() -> Self {
        Self(Rc::default())
    }

    /// Joins the call in progress for `question`, or begins one by `ask`. The call lives as long as anybody waits for
    /// it. Once it is answered, the same question begins a new call.
    pub(super) fn join<F: Future<Output = T> + 'static>(
        &self,
        question: &K,
        ask: impl FnOnce() -> F,
    ) -> Shared<Flight<T>> {
        if let Some(flight) = self.0.borrow().get(question).and_then(WeakShared::upgrade) {
            return flight;
        }
        let landing = Landing { flights: Rc::clone(&self.0), question: question.clone() };
        let asking = ask();
        let flight = async move {
            let _landing = landing;
            asking.await
        };
        let flight = flight.boxed_local().shared();
        if let Some(weak) = flight.downgrade() {
            self.0.borrow_mut().insert(question.clone(), weak);
        }
        flight
    }
}

/// Removes a flight from the map when the flight is answered or given up.
struct Landing<K: Eq + Hash, T: Clone> {
    flights: Rc<RefCell<HashMap<K, WeakShared<Flight<T>>>>>,
    question: K,
}

impl<K: Eq + Hash, T: Clone> Drop for Landing<K, T> {
    fn drop(&mut self) {
        self.flights.borrow_mut().remove(&self.question);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn all_that_ask_the_same_share_one_answer() {
        let flights = Flights::<&str, u32>::new();
        let asked = Rc::new(Cell::new(0));
        let ask = |answer: oneshot::Receiver<u32>| {
            let asked = asked.clone();
            move || {
                asked.set(asked.get() + 1);
                async move { answer.await.unwrap() }
            }
        };
        let (answer, waits) = oneshot::channel();
        let mut one = flights.join(&"a", ask(waits));
        let mut other = flights.join(&"a", ask(oneshot::channel().1));
        let (_answer_of_b, waits) = oneshot::channel();
        let mut stranger = flights.join(&"b", ask(waits));
        assert_eq!(asked.get(), 2);
        assert_eq!(((&mut one).now_or_never(), (&mut other).now_or_never()), (None, None));
        // The first to wait may go: the call lives on for the others.
        drop(one);
        answer.send(7).unwrap();
        assert_eq!(other.clone().now_or_never(), Some(7));
        assert_eq!((&mut stranger).now_or_never(), None);

        // A later question is asked anew, although the answer is still held.
        let (answer, waits) = oneshot::channel();
        let again = flights.join(&"a", ask(waits));
        answer.send(8).unwrap();
        assert_eq!((again.now_or_never(), (&mut other).now_or_never()), (Some(8), Some(7)));
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_call_that_nobody_waits_for_is_given_up() {
        let flights = Flights::<&str, u32>::new();
        let (answer, waits) = oneshot::channel();
        let both = [(); 2].map(|()| flights.join(&"a", || async { 1 }));
        drop(both);
        let mut one = flights.join(&"a", || async move { waits.await.unwrap() });
        let other = flights.join(&"a", || async { 2 });
        assert_eq!((&mut one).now_or_never(), None);
        drop(one);
        assert!(!answer.is_closed());
        drop(other);
        assert!(answer.is_closed());
        assert!(flights.0.borrow().is_empty());
    }
}
