//! Ids that cannot be guessed: the sids of Engine.IO sessions and of Socket.IO namespaces, and the tokens of the demo.
//! The system is asked for randomness once, at the start; after that an id cannot fail.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::rngs::{StdRng, SysError, SysRng};
use rand::{Rng, SeedableRng};

/// A source of ids and other secrets. Clones draw from the same stream.
#[derive(Clone, Debug)]
pub struct Ids(Arc<Mutex<StdRng>>);

impl Ids {
    /// Seeds a generator that is cryptographically secure.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn from_system() -> Result<Self, SysError> {
        Ok(Self(Arc::new(Mutex::new(StdRng::try_from_rng(&mut SysRng)?))))
    }

    /// Returns an id of 128 random bits: 22 characters of the alphabet that Engine.IO and Socket.IO use.
    pub fn draw(&self) -> String {
        let mut bytes = [0; 16];
        self.0.lock().fill_bytes(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns 64 random bits.
    pub fn number(&self) -> u64 {
        self.0.lock().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashSet;

    #[test]
    fn ids_are_distinct_and_fit_a_query() {
        let ids = Ids::from_system().unwrap();
        let drawn: HashSet<_> = (0..1000).map(|_| ids.clone().draw()).collect();
        assert_eq!(drawn.len(), 1000);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(drawn.iter().all(|id| id.len() == 22 && id.chars().all(plain)));
    }
}
