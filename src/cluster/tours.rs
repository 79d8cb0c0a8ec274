//! News for all conversations of one server, told one after the other so that they do not all answer at once. Pure: the
//! time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::ConversationId;

/// The tours that may wait. A tour beyond it is not made.
const TOURS_MAX: usize = 8192;

/// One tour through the conversations that were attached when it began to wait.
#[derive(Debug)]
struct Tour<N> {
    news: N,
    ids: Vec<ConversationId>,
    told: usize,
    /// The conversations that are told in one second.
    per_s: f64,
    begun: Option<Instant>,
}

/// The tours of one server, with news of type `N`. They are made in their order.
#[derive(Debug)]
pub struct Tours<N> {
    waiting: VecDeque<Tour<N>>,
}

impl<N> Default for Tours<N> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<N: Clone + PartialEq> Tours<N> {
    /// Tells all of `ids` within `spread`.
    pub fn within(&mut self, news: N, ids: Vec<ConversationId>, spread: Duration) {
        let per_s = ids.len() as f64 / spread.as_secs_f64().max(0.001);
        self.add(news, ids, per_s);
    }

    /// Tells so many of `ids` in one second.
    pub fn at_rate(&mut self, news: N, ids: Vec<ConversationId>, per_s: u32) {
        self.add(news, ids, f64::from(per_s.max(1)));
    }

    /// Tells all of `ids` as soon as there is time.
    pub fn at_once(&mut self, news: N, ids: Vec<ConversationId>) {
        self.add(news, ids, f64::INFINITY);
    }

    /// Returns the conversations that are to be told now, with the news; at most `most`.
    pub fn due(&mut self, most: usize, now: Instant) -> Option<(N, Vec<ConversationId>)> {
        let tour = self.waiting.front_mut()?;
        let elapsed = now.saturating_duration_since(*tour.begun.get_or_insert(now));
        // The first is told at once.
        let due = if tour.per_s.is_finite() { (elapsed.as_secs_f64() * tour.per_s) as usize + 1 } else { usize::MAX };
        let end = due.min(tour.ids.len()).min(tour.told + most);
        let ids = tour.ids[tour.told.min(end)..end].to_vec();
        let news = tour.news.clone();
        tour.told = end;
        if tour.told == tour.ids.len() {
            self.waiting.pop_front();
        }
        (!ids.is_empty()).then_some((news, ids))
    }

    /// Takes back a tour that has not begun. Returns whether there was one.
    pub fn take_back(&mut self, news: &N) -> bool {
        self.waits(news).and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// Adds what is left of other tours. They begin anew after those that wait here.
    pub fn append(&mut self, others: Self) {
        for Tour { news, mut ids, told, per_s, .. } in others.waiting {
            self.add(news, ids.split_off(told), per_s);
        }
    }

    /// Drops the tours whose news does not hold any more.
    pub fn retain(&mut self, holds: impl Fn(&N) -> bool) {
        self.waiting.retain(|tour| holds(&tour.news));
    }

    /// The tours that are under way or wait, and the conversations that they have yet to tell.
    pub fn len(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.iter().map(|tour| tour.ids.len() - tour.told).sum())
    }

    /// Whether a tour is under way or waits.
    pub fn is_active(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a tour with such news is under way or waits.
    pub fn any(&self, is_such: impl Fn(&N) -> bool) -> bool {
        self.waiting.iter().any(|tour| is_such(&tour.news))
    }

    fn waits(&self, news: &N) -> Option<usize> {
        self.waiting.iter().position(|tour| tour.begun.is_none() && tour.news == *news)
    }

    fn add(&mut self, news: N, ids: Vec<ConversationId>, per_s: f64) {
        if !ids.is_empty() && self.waiting.len() < TOURS_MAX && self.waits(&news).is_none() {
            self.waiting.push_back(Tour { news, ids, told: 0, per_s, begun: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<ConversationId> {
        (0..count).map(|number| ConversationId::from(number.to_string().as_str())).collect()
    }

    #[test]
    fn a_tour_is_spread_over_its_time() {
        let (mut tours, start) = (Tours::default(), Instant::now());
        tours.within("over", ids(100), Duration::from_secs(2));
        let mut told = Vec::new();
        let mut count = |ms: u64, most| {
            let due = tours.due(most, start + Duration::from_millis(ms));
            due.map_or(0, |(_, ids)| {
                let count = ids.len();
                told.extend(ids);
                count
            })
        };
        assert_eq!([count(0, 99), count(10, 99), count(100, 99), count(1000, 9), count(1000, 99)], [1, 0, 5, 9, 36]);
        assert_eq!([count(2000, 99), count(2000, 99)], [49, 0]);
        assert_eq!(told, ids(100));
        assert!(!tours.is_active());
        tours.at_once("at once", ids(5));
        assert_eq!(tours.due(3, start), Some(("at once", ids(3))));
        assert_eq!(tours.len(), (1, 2));
        assert_eq!(tours.due(3, start), Some(("at once", ids(5).split_off(3))));
        assert_eq!(tours.len(), (0, 0));
    }

    #[test]
    fn tours_are_made_in_their_order_and_may_be_taken_back_before() {
        let (mut tours, now) = (Tours::default(), Instant::now());
        tours.at_rate("a", ids(2), 1);
        assert_eq!(tours.due(9, now), Some(("a", ids(1))));
        tours.at_rate("b", ids(1), 1);
        tours.at_rate("b", ids(1), 1);
        tours.at_rate("none", ids(0), 1);
        tours.at_rate("c", ids(1), 1);
        assert!(tours.take_back(&"b"));
        assert!(!tours.take_back(&"b") && !tours.take_back(&"a"));
        assert_eq!(tours.due(9, now), None, "the second of the first tour comes after a second");
        let later = now + Duration::from_secs(1);
        assert_eq!(tours.due(9, later), Some(("a", ids(2).split_off(1))));
        assert_eq!(tours.due(9, later), Some(("c", ids(1))));
        assert_eq!(tours.due(9, later), None);
    }

    #[test]
    fn what_is_left_of_tours_goes_on_after_others() {
        let (mut old, mut tours, now) = (Tours::default(), Tours::default(), Instant::now());
        for news in ["a", "b", "c"] {
            old.at_rate(news, ids(3), 1);
        }
        assert_eq!(old.due(9, now), Some(("a", ids(1))));
        old.retain(|news| *news != "b");
        tours.at_rate("d", ids(1), 1);
        tours.append(old);
        assert_eq!(tours.len(), (3, 6));
        assert_eq!(tours.due(9, now), Some(("d", ids(1))));
        assert_eq!(tours.due(9, now), Some(("a", ids(2).split_off(1))));
        let later = now + Duration::from_secs(2);
        assert_eq!(tours.due(9, later), Some(("a", ids(3).split_off(2))));
        assert_eq!(tours.due(9, later), Some(("c", ids(1))));
    }
}
