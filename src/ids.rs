//! Ids that cannot be guessed: the sids of Engine.IO sessions and of Socket.IO namespaces, and the tokens of the demo.
//! The system is asked for randomness once, at the start; after that an id cannot fail. The sid of an Engine.IO session
//! begins with the tag of its server, by which proxies can route requests.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::rngs::{StdRng, SysError, SysRng};
use rand::{Rng, SeedableRng};

/// The alphabet of ids: that of base64 for URLs, which Engine.IO and Socket.IO use.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The length of an id.
const ID_LEN: usize = 22;

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

    /// Returns the sid of an Engine.IO session of the server with this tag.
    pub fn draw_sid(&self, tag: SidTag) -> String {
        format!("{tag}{}", self.draw())
    }

    /// Returns 64 random bits.
    pub fn number(&self) -> u64 {
        self.0.lock().next_u64()
    }
}

/// The first characters of all Engine.IO sids that a server gives out. They are no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SidTag([u8; Self::LEN]);

impl SidTag {
    /// The length of a tag.
    pub const LEN: usize = 4;

    /// Draws a tag of 24 random bits.
    pub fn draw(ids: &Ids) -> Self {
        let bits = ids.number();
        Self(std::array::from_fn(|at| ALPHABET[(bits >> (6 * at)) as usize % ALPHABET.len()]))
    }

    /// Reads a tag. `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let tag: [u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        is_plain(text).then_some(Self(tag))
    }

    /// Returns the tag of a sid. `None` if the sid has not the form of those that servers give out.
    pub fn of(sid: &str) -> Option<Self> {
        let has_form = sid.len() == Self::LEN + ID_LEN && is_plain(sid);
        Self::parse(sid.get(..Self::LEN).filter(|_| has_form)?)
    }

    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        // All characters of the alphabet are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SidTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SidTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| ALPHABET.contains(&byte))
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

    #[test]
    fn a_sid_begins_with_the_tag_of_its_server() {
        let ids = Ids::from_system().unwrap();
        let tags: HashSet<_> = (0..100).map(|_| SidTag::draw(&ids)).collect();
        assert!(tags.len() > 90, "they are random");
        for tag in tags {
            assert_eq!(SidTag::parse(tag.as_str()), Some(tag));
            let sid = ids.draw_sid(tag);
            assert_eq!((sid.len(), &sid[..4], SidTag::of(&sid)), (26, tag.as_str(), Some(tag)));
        }
    }

    #[test]
    fn what_is_no_tag_or_no_sid_is_noticed() {
        for text in ["", "k3f", "k3f9x", "k3f.", "k3f ", "k3f/", "é3f", "k3f\u{1}", "éé"] {
            assert_eq!(SidTag::parse(text), None, "{text:?}");
        }
        let sid = "k3f9AAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(SidTag::of(sid), SidTag::parse("k3f9"));
        let (short, long, odd) = (&sid[1..], format!("{sid}A"), sid.replacen("AA", "A.", 1));
        for sid in ["", "k3f9", short, &long, &odd, &sid.replacen("AA", "é", 1), "AAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(SidTag::of(sid), None, "{sid}");
        }
    }
}
