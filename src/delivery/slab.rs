//! Numbered places, of which the lowest free one is taken first: so the room that a crowd took goes with it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Less room is not worth giving back.
const ROOM_MIN: usize = 1024;

/// Values by their places.
#[derive(Debug)]
pub(super) struct Slab<T> {
    values: Vec<Option<T>>,
    /// Free places. Some of them are taken again by now, or cut off.
    free: BinaryHeap<Reverse<u32>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Slab<T> {
    /// Gives `value` a place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        while let Some(Reverse(key)) = self.free.pop() {
            if let Some(free @ None) = self.values.get_mut(key as usize) {
                *free = Some(value);
                return key;
            }
        }
        self.values.push(Some(value));
        self.values.len() as u32 - 1
    }

    /// The value at a place.
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.values.get_mut(key as usize)?.as_mut()
    }

    /// Empties a place.
    pub(super) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.values.get_mut(key as usize)?.take()?;
        self.free.push(Reverse(key));
        while let Some(None) = self.values.last() {
            self.values.pop();
        }
        let len = self.values.len();
        if self.values.capacity() > ROOM_MIN && len < self.values.capacity() / 4 {
            self.values.shrink_to(2 * len);
            self.free.retain(|Reverse(key)| (*key as usize) < len);
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
        let mut slab = Slab::default();
        let keys = (0..100_000).map(|n| slab.insert(n)).collect::<Vec<_>>();
        for key in &keys[..99_990] {
            assert!(slab.remove(*key).is_some());
        }
        // Of those who stay, each goes once and comes back.
        for key in &keys[99_990..] {
            let value = slab.remove(*key).unwrap();
            slab.insert(value);
        }
        assert_eq!(slab.values.len(), 10);
        assert!(slab.values.capacity() <= ROOM_MIN && slab.free.capacity() <= ROOM_MIN);
    }

    proptest! {
        /// Whatever comes and goes, each is found at its place, and nobody else there.
        #[test]
        fn everybody_is_found_at_their_place(steps in prop::collection::vec((any::<bool>(), 0_usize..50), 1..3000)) {
            let (mut slab, mut model) = (Slab::default(), HashMap::new());
            for (name, (comes, which)) in steps.into_iter().enumerate() {
                if comes {
                    prop_assert_eq!(model.insert(slab.insert(name), name), None);
                } else if let Some(key) = model.keys().nth(which % model.len().max(1)).copied() {
                    prop_assert_eq!(slab.remove(key), model.remove(&key));
                    prop_assert_eq!(slab.remove(key), None);
                }
                prop_assert!(slab.free.len() <= 3000);
            }
            for (key, name) in model {
                prop_assert_eq!(slab.get_mut(key).copied(), Some(name));
            }
        }
    }
}
