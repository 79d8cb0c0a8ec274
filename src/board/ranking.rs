//! The cards with the highest values of one measure. A card offers itself when its value has risen. That costs one load
//! for a card that is ranked already, and a few for one whose value is not high enough. Only others take the lock.
//!
//! A ranking keeps some hundred cards, and knows the value that a further card has to exceed: the *floor*. As long as
//! fewer cards have a value worth ranking, the ranking is exact. Beyond that, a card may be missing whose value was at
//! the floor when it last offered itself. A reader lowers the floor when values have fallen, and it sinks by itself, so
//! such a card is ranked at its next offer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Cards that a ranking keeps. It takes twice as many before it drops the lowest.
const KEPT: usize = 256;

/// The floor sinks to the half in this time.
const HALVES_MS: u64 = 10_000;

/// Set on a card that has left all rankings for good.
const GONE: u8 = 1 << 7;

/// A card that can be ranked.
pub trait Ranked {
    /// The places of the card in the rankings.
    fn places(&self) -> &Places;
}

/// The rankings that a card is in, a bit for each.
#[derive(Debug, Default)]
pub struct Places(AtomicU8);

/// A ranking.
#[derive(Debug)]
pub struct Ranking<C> {
    /// The bit of this ranking in [`Places`].
    bit: u8,
    /// Reads the value of a card at a time, in milliseconds.
    measure: fn(&C, u64) -> u64,
    kept: usize,
    /// Values up to this one are not ranked.
    least: u64,
    floor: AtomicU64,
    /// When the floor was set.
    floor_ms: AtomicU64,
    cards: Mutex<Vec<Arc<C>>>,
}

impl<C: Ranked> Ranking<C> {
    /// Creates an empty ranking of the cards whose value is above `least`. All rankings of a card have different
    /// numbers, from 0 to 6.
    pub fn new(number: u8, least: u64, measure: fn(&C, u64) -> u64) -> Self {
        Self {
            bit: 1 << number,
            measure,
            kept: KEPT,
            least,
            floor: AtomicU64::new(least),
            floor_ms: AtomicU64::new(0),
            cards: Mutex::default(),
        }
    }

    /// Ranks a card if its value is high enough.
    pub fn offer(&self, card: &Arc<C>, now_ms: u64) {
        let places = &card.places().0;
        if places.load(Ordering::Relaxed) & self.bit != 0 || (self.measure)(card, now_ms) <= self.floor(now_ms) {
            return;
        }
        let mut cards = self.cards.lock();
        // Under the lock, because the card may go at the same time.
        if places.fetch_or(self.bit, Ordering::Relaxed) & (self.bit | GONE) == 0 {
            cards.push(card.clone());
            if cards.len() >= 2 * self.kept {
                self.prune(&mut cards, now_ms);
            }
        }
    }

    /// Removes a card for good.
    fn remove(&self, card: &Arc<C>) {
        let mut cards = self.cards.lock();
        if card.places().0.fetch_or(GONE, Ordering::Relaxed) & self.bit == 0 {
            return;
        }
        if let Some(at) = cards.iter().position(|ranked| Arc::ptr_eq(ranked, card)) {
            cards.swap_remove(at);
        }
        if cards.len() < self.kept {
            self.set_floor(self.least, 0);
        }
    }

    /// Returns the `count` cards with the highest values, the highest first, each with its value.
    pub fn top(&self, count: usize, now_ms: u64) -> Vec<(u64, Arc<C>)> {
        let mut ranked = self.ranked(self.cards.lock().clone(), now_ms);
        let fallen = ranked.split_off(ranked.partition_point(|(value, _)| *value > self.least));
        if !fallen.is_empty() {
            let mut cards = self.cards.lock();
            cards.retain(|card| !fallen.iter().any(|(_, fallen)| Arc::ptr_eq(card, fallen)));
            fallen.iter().for_each(|(_, card)| self.release(card));
        }
        self.set_floor(ranked.get(self.kept - 1).map_or(self.least, |(value, _)| *value), now_ms);
        // A value may have risen again in the meantime, and its offer was not heard.
        fallen.iter().for_each(|(_, card)| self.offer(card, now_ms));
        ranked.truncate(count);
        ranked
    }

    /// Drops the lowest cards, and sets the floor.
    fn prune(&self, cards: &mut Vec<Arc<C>>, now_ms: u64) {
        let mut ranked = self.ranked(std::mem::take(cards), now_ms);
        ranked.split_off(self.kept).iter().for_each(|(_, card)| self.release(card));
        self.set_floor(ranked.last().map_or(self.least, |(value, _)| *value), now_ms);
        *cards = ranked.into_iter().map(|(_, card)| card).collect();
    }

    /// Returns cards with their values, the highest first.
    fn ranked(&self, cards: Vec<Arc<C>>, now_ms: u64) -> Vec<(u64, Arc<C>)> {
        let mut ranked: Vec<_> = cards.into_iter().map(|card| ((self.measure)(&card, now_ms), card)).collect();
        ranked.sort_unstable_by_key(|(value, _)| std::cmp::Reverse(*value));
        ranked
    }

    fn release(&self, card: &C) {
        card.places().0.fetch_and(!self.bit, Ordering::Relaxed);
    }

    fn floor(&self, now_ms: u64) -> u64 {
        let age_ms = now_ms.saturating_sub(self.floor_ms.load(Ordering::Relaxed));
        let sunk = (age_ms / HALVES_MS).min(63);
        (self.floor.load(Ordering::Relaxed) >> sunk).max(self.least)
    }

    fn set_floor(&self, floor: u64, now_ms: u64) {
        self.floor.store(floor.max(self.least), Ordering::Relaxed);
        self.floor_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// Removes a card for good from all of its rankings.
pub fn remove<const N: usize, C: Ranked>(card: &Arc<C>, rankings: [&Ranking<C>; N]) {
    let places = card.places().0.fetch_or(GONE, Ordering::Relaxed);
    rankings.iter().filter(|ranking| places & ranking.bit != 0).for_each(|ranking| ranking.remove(card));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default)]
    struct Card {
        value: AtomicU64,
        places: Places,
    }

    impl Ranked for Card {
        fn places(&self) -> &Places {
            &self.places
        }
    }

    fn ranking(kept: usize) -> Ranking<Card> {
        Ranking { kept, ..Ranking::new(3, 10, |card: &Card, _| card.value.load(Ordering::Relaxed)) }
    }

    fn set(ranking: &Ranking<Card>, card: &Arc<Card>, value: u64, now_ms: u64) {
        card.value.store(value, Ordering::Relaxed);
        ranking.offer(card, now_ms);
    }

    fn values(ranking: &Ranking<Card>, count: usize, now_ms: u64) -> Vec<u64> {
        ranking.top(count, now_ms).into_iter().map(|(value, _)| value).collect()
    }

    /// The `count` highest values of the living cards above the least.
    fn naive(cards: &[Option<Arc<Card>>], count: usize) -> Vec<u64> {
        let mut values: Vec<_> = cards.iter().flatten().map(|card| card.value.load(Ordering::Relaxed)).collect();
        values.retain(|value| *value > 10);
        values.sort_unstable_by_key(|value| std::cmp::Reverse(*value));
        values.truncate(count);
        values
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, u64),
        Go(usize),
        Top(usize),
        /// Time passes, in milliseconds.
        Wait(u64),
    }

    fn steps(cards: usize) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..cards, 0u64..100).prop_map(|(card, value)| Step::Set(card, value)),
            1 => (0..cards).prop_map(Step::Go),
            1 => (0..cards).prop_map(Step::Top),
            1 => (0u64..30_000).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        /// With no more cards than it keeps, a ranking is exact, whether values rise or fall.
        #[test]
        fn few_cards_are_ranked_exactly(steps in steps(16)) {
            let ranking = ranking(16);
            let mut cards: Vec<Option<Arc<Card>>> = (0..16).map(|_| Some(Arc::default())).collect();
            let mut now_ms = 0;
            for step in steps {
                match step {
                    Step::Set(at, value) => set(&ranking, cards[at].get_or_insert_default(), value, now_ms),
                    Step::Go(at) => cards[at].take().iter().for_each(|card| remove(card, [&ranking])),
                    Step::Top(count) => prop_assert_eq!(values(&ranking, count, now_ms), naive(&cards, count)),
                    Step::Wait(ms) => now_ms += ms,
                }
            }
            prop_assert_eq!(values(&ranking, 16, now_ms), naive(&cards, 16));
        }

        /// With many cards, every value shown is that of a living card, and in order. When all cards have offered
        /// themselves after a look, the ranking is exact again.
        #[test]
        fn many_cards_are_ranked_exactly_after_their_next_offer(steps in steps(64)) {
            let ranking = ranking(8);
            let mut cards: Vec<Option<Arc<Card>>> = (0..64).map(|_| Some(Arc::default())).collect();
            let mut now_ms = 0;
            for step in steps {
                match step {
                    Step::Set(at, value) => set(&ranking, cards[at].get_or_insert_default(), value, now_ms),
                    Step::Go(at) => cards[at].take().iter().for_each(|card| remove(card, [&ranking])),
                    Step::Top(count) => {
                        let top = ranking.top(count, now_ms);
                        prop_assert!(top.is_sorted_by_key(|(value, _)| std::cmp::Reverse(*value)));
                        for (value, card) in &top {
                            prop_assert_eq!(*value, card.value.load(Ordering::Relaxed));
                            let shown = |one: &&Arc<Card>| Arc::ptr_eq(one, card);
                            prop_assert_eq!(cards.iter().flatten().filter(shown).count(), 1);
                            prop_assert_eq!(top.iter().map(|(_, one)| one).filter(shown).count(), 1);
                        }
                    }
                    Step::Wait(ms) => now_ms += ms,
                }
                prop_assert!(ranking.cards.lock().len() < 16);
            }
            ranking.top(8, now_ms);
            cards.iter().flatten().for_each(|card| ranking.offer(card, now_ms));
            prop_assert_eq!(values(&ranking, 8, now_ms), naive(&cards, 8));
        }

        /// If values only rise, the ranking is exact at any time, however many cards there are.
        #[test]
        fn rising_values_are_ranked_exactly(steps in prop::collection::vec((0usize..64, 1u64..20), 0..400)) {
            let ranking = ranking(8);
            let cards: Vec<Option<Arc<Card>>> = (0..64).map(|_| Some(Arc::default())).collect();
            for (at, more) in steps {
                let card = cards[at].as_ref().unwrap();
                set(&ranking, card, card.value.load(Ordering::Relaxed) + more, 0);
            }
            prop_assert_eq!(values(&ranking, 8, 0), naive(&cards, 8));
        }
    }

    #[test]
    fn the_floor_sinks_while_nobody_looks() {
        let ranking = ranking(2);
        let cards: Vec<Arc<Card>> = (0..5).map(|_| Arc::default()).collect();
        for (card, value) in cards.iter().zip([1000, 1001, 1002, 1003]) {
            set(&ranking, card, value, 0);
        }
        cards.iter().for_each(|card| card.value.store(0, Ordering::Relaxed));
        set(&ranking, &cards[4], 300, HALVES_MS);
        assert!(!ranking.cards.lock().iter().any(|card| Arc::ptr_eq(card, &cards[4])), "below half of the old floor");
        ranking.offer(&cards[4], 2 * HALVES_MS);
        assert_eq!(values(&ranking, 1, 2 * HALVES_MS), [300]);
    }

    /// A card that goes while it offers itself does not stay behind.
    #[test]
    fn a_card_that_has_gone_is_never_ranked_again() {
        let ranking = ranking(8);
        let card: Arc<Card> = Arc::default();
        remove(&card, [&ranking]);
        set(&ranking, &card, 50, 0);
        assert!(ranking.cards.lock().is_empty() && Arc::strong_count(&card) == 1);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let cards: Vec<Arc<Card>> = (0..500).map(|_| Arc::default()).collect();
                cards.iter().for_each(|card| card.value.store(50, Ordering::Relaxed));
                cards
            })
            .collect();
        std::thread::scope(|scope| {
            for cards in &threads {
                scope.spawn(|| cards.iter().for_each(|card| ranking.offer(card, 0)));
                scope.spawn(|| cards.iter().for_each(|card| remove(card, [&ranking])));
            }
        });
        assert!(ranking.cards.lock().is_empty());
    }
}
