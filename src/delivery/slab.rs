//! Values by numbered keys. The lowest free key is taken first, so that the memory of many values can be freed when
//! most of them are gone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A slab with room for this many values, or fewer, does not shrink.
const ROOM_MIN: usize = 1024;

/// Values by their keys.
#[derive(Debug)]
pub(super) struct Slab<T> {
    values: Vec<Option<T>>,
    /// Free keys. Those that are above the end of `values` by now are dropped when they are met.
    free: BinaryHeap<Reverse<u32>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Slab<T> {
    /// Stores a value and returns its key.
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

    /// Returns the value at a key.
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.values.get_mut(key as usize)?.as_mut()
    }

    /// Removes the value at a key and returns it.
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
    fn the_slab_shrinks_when_most_values_are_gone() {
        let mut slab = Slab::default();
        let keys = (0..100_000).map(|n| slab.insert(n)).collect::<Vec<_>>();
        for key in &keys[..99_990] {
            assert!(slab.remove(*key).is_some());
        }
        // Each of the others is removed once and inserted again.
        for key in &keys[99_990..] {
            let value = slab.remove(*key).unwrap();
            slab.insert(value);
        }
        assert_eq!(slab.values.len(), 10);
        assert!(slab.values.capacity() <= ROOM_MIN && slab.free.capacity() <= ROOM_MIN);
    }

    proptest! {
        /// After any inserts and removals, each value is at its key.
        #[test]
        fn every_value_is_found_at_its_key(steps in prop::collection::vec((any::<bool>(), 0_usize..50), 1..3000)) {
            let (mut slab, mut model) = (Slab::default(), HashMap::new());
            for (value, (inserts, which)) in steps.into_iter().enumerate() {
                if inserts {
                    prop_assert_eq!(model.insert(slab.insert(value), value), None);
                } else if let Some(key) = model.keys().nth(which % model.len().max(1)).copied() {
                    prop_assert_eq!(slab.remove(key), model.remove(&key));
                    prop_assert_eq!(slab.remove(key), None);
                }
                prop_assert!(slab.free.len() <= 3000);
            }
            for (key, value) in model {
                prop_assert_eq!(slab.get_mut(key).copied(), Some(value));
            }
        }
    }
}
