//! Numbered places, of which the lowest free one is taken first: so the room that a crowd took goes with it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Less room is not worth giving back.
const ROOM_MIN: usize = 1024;

/// Values by their places.
#[derive(Debug)]
pub(super) struct Places<T> {
    places: Vec<Option<T>>,
    /// Free places. Some of them are taken again by now, or cut off.
    free: BinaryHeap<Reverse<u32>>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Places<T> {
    /// Gives `value` a place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        while let Some(Reverse(place)) = self.free.pop() {
            if let Some(free @ None) = self.places.get_mut(place as usize) {
                *free = Some(value);
                return place;
            }
        }
        self.places.push(Some(value));
        self.places.len() as u32 - 1
    }

    /// The value at a place.
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Empties a place.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take()?;
        self.free.push(Reverse(place));
        while let Some(None) = self.places.last() {
            self.places.pop();
        }
        let len = self.places.len();
        if self.places.capacity() > ROOM_MIN && len < self.places.capacity() / 4 {
            self.places.shrink_to(2 * len);
            self.free.retain(|Reverse(place)| (*place as usize) < len);
            self.free.shrink_to(len);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn the_room_of_a_crowd_goes_with_it() {
        let mut places = Places::default();
        let crowd = (0..100_000).map(|n| places.insert(n)).collect::<Vec<_>>();
        for place in &crowd[..99_990] {
            assert!(places.remove(*place).is_some());
        }
        // Of those who stay, each goes once and comes back.
        for place in &crowd[99_990..] {
            let value = places.remove(*place).unwrap();
            places.insert(value);
        }
        assert_eq!(places.places.len(), 10);
        assert!(places.places.capacity() <= ROOM_MIN && places.free.capacity() <= ROOM_MIN);
    }

    proptest! {
        /// Whatever comes and goes, each is found at its place, and nobody else there.
        #[test]
        fn everybody_is_found_at_their_place(steps in prop::collection::vec((any::<bool>(), 0_usize..50), 1..3000)) {
            let (mut places, mut model) = (Places::default(), HashMap::new());
            for (name, (comes, which)) in steps.into_iter().enumerate() {
                if comes {
                    prop_assert_eq!(model.insert(places.insert(name), name), None);
                } else if let Some(place) = model.keys().nth(which % model.len().max(1)).copied() {
                    prop_assert_eq!(places.remove(place), model.remove(&place));
                    prop_assert_eq!(places.remove(place), None);
                }
                prop_assert!(places.free.len() <= 3000);
            }
            for (place, name) in model {
                prop_assert_eq!(places.get_mut(place).copied(), Some(name));
            }
        }
    }
}
