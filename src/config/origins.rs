//! Where the value of each setting comes from.

use std::collections::BTreeMap;
use std::fmt;

use super::raw::Source;

/// The origin of each setting's value, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(pub(super) BTreeMap<&'static str, Origin>);

/// A value as messages show it, and its source.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) shown: String,
    pub(super) source: Source,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.shown, self.source)
    }
}
