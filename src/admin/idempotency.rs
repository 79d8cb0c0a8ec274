//! The requests that were made under an `Idempotency-Key`, and their outcomes. Pure: the time is an argument.
//!
//! A client that has lost the answer to a request makes the request again under the same key, and gets the answer that
//! it has lost: nothing is done twice. A key is remembered for five minutes. If there is no memory for one more, its
//! request is refused: none of the others is forgotten early.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(300);

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// Memory of a key besides its text and its outcomes.
const ENTRY_BYTES: usize = 200;

/// The keys of the last minutes, with outcomes of the type `O`.
#[derive(Debug)]
pub struct Keys<O> {
    entries: HashMap<Arc<str>, Entry<O>>,
    /// The keys in the order in which their requests began.
    begun: BTreeMap<u64, Arc<str>>,
    next: u64,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<O> {
    begun: Instant,
    /// Its place in the order.
    place: u64,
    fingerprint: u64,
    /// `None` while the request is under way.
    outcomes: Option<Arc<[O]>>,
}

/// The answer to the beginning of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun<O> {
    /// The request is the first one under this key. [`Keys::finish`] or [`Keys::forget`] has to follow.
    First,
    /// The request was done before, with these outcomes.
    Done(Arc<[O]>),
    /// The same request is under way.
    UnderWay,
    /// Another request was made under this key.
    Other,
    /// There is no memory for more keys.
    Full,
}

impl<O> Keys<O> {
    /// Creates a table that takes about `bytes_max` bytes of memory when it is full.
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), begun: BTreeMap::new(), next: 0, bytes: 0, bytes_max }
    }

    /// Takes note of a request under `key`. Different requests have different fingerprints.
    pub fn begin(&mut self, key: &str, fingerprint: u64, now: Instant) -> Begun<O> {
        self.forget_old(now);
        if let Some(entry) = self.entries.get(key) {
            return match &entry.outcomes {
                _ if entry.fingerprint != fingerprint => Begun::Other,
                Some(outcomes) => Begun::Done(outcomes.clone()),
                None => Begun::UnderWay,
            };
        }
        if self.bytes >= self.bytes_max {
            return Begun::Full;
        }
        let key: Arc<str> = key.into();
        self.bytes += ENTRY_BYTES + key.len();
        let place = self.next;
        self.next += 1;
        self.begun.insert(place, key.clone());
        self.entries.insert(key, Entry { begun: now, place, fingerprint, outcomes: None });
        Begun::First
    }

    /// Keeps the outcomes of a request.
    pub fn finish(&mut self, key: &str, outcomes: Arc<[O]>) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes += size_of_val(&*outcomes);
            entry.outcomes = Some(outcomes);
        }
    }

    /// Forgets a request, of which nothing was done.
    pub fn forget(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.begun.remove(&entry.place);
            self.bytes -= ENTRY_BYTES + key.len() + entry.outcomes.map_or(0, |outcomes| size_of_val(&*outcomes));
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(first) = self.begun.first_entry() {
            if self.entries.get(first.get()).is_some_and(|entry| now < entry.begun + KEPT) {
                break;
            }
            let key = first.remove();
            self.forget(&key);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(numbers: &[u32]) -> Arc<[u32]> {
        numbers.into()
    }

    #[test]
    fn a_request_is_done_once_under_its_key() {
        let (mut keys, now) = (Keys::new(1 << 20), Instant::now());
        assert_eq!(keys.begin("a", 1, now), Begun::First);
        assert_eq!(keys.begin("a", 1, now), Begun::UnderWay);
        assert_eq!(keys.begin("a", 2, now), Begun::Other);
        keys.finish("a", outcomes(&[3]));
        assert_eq!(keys.begin("a", 1, now + KEPT / 2), Begun::Done(outcomes(&[3])));
        assert_eq!(keys.begin("a", 2, now), Begun::Other);
        assert_eq!(keys.begin("b", 1, now), Begun::First);
        keys.forget("b");
        assert_eq!(keys.begin("b", 2, now), Begun::First, "nothing was done");
    }

    #[test]
    fn a_key_is_forgotten_five_minutes_after_its_request_began() {
        let (mut keys, now) = (Keys::new(1 << 20), Instant::now());
        keys.begin("a", 1, now);
        keys.forget("a");
        let later = now + Duration::from_secs(1);
        keys.begin("a", 1, later);
        keys.finish("a", outcomes(&[1, 2]));
        assert_eq!(keys.begin("a", 1, now + KEPT), Begun::Done(outcomes(&[1, 2])), "it began later");
        assert_eq!(keys.begin("a", 2, later + KEPT), Begun::First);
        keys.forget("a");
        assert_eq!((keys.bytes, keys.entries.len(), keys.begun.len()), (0, 0, 0));
    }

    #[test]
    fn memory_is_bounded_and_no_key_is_forgotten_early() {
        let (mut keys, now) = (Keys::new(2000), Instant::now());
        let taken = (0..100).filter(|n: &u32| keys.begin(&n.to_string(), 0, now) == Begun::First).count();
        assert_eq!(taken, 10);
        keys.finish("0", outcomes(&[5]));
        assert_eq!(keys.begin("11", 0, now), Begun::Full);
        assert_eq!(keys.begin("0", 0, now), Begun::Done(outcomes(&[5])));
        assert_eq!(keys.begin("11", 0, now + KEPT), Begun::First);
        assert_eq!((keys.entries.len(), keys.begun.len()), (1, 1));
    }
}
