//! What went wrong, by kind. Part of it is text from the server, which may say anything, as often as it likes: it is
//! made fit for a terminal, kept short, and bounded in number.

use std::collections::BTreeMap;

use crate::bench::printable::printable;

/// A kind is called by no more characters than this: some hundred of the server's, and the hint that follows.
const KIND_CHARS_MAX: usize = 280;
/// What is shorter is no secret, and would be found within words.
const SECRET_BYTES_MIN: usize = 4;
/// Kinds beyond this number are one kind.
const KINDS_MAX: usize = 100;
const OTHER_KINDS: &str = "other kinds";

/// How many errors of which kind.
#[derive(Debug, Default)]
pub(super) struct Errors(BTreeMap<String, u64>);

impl Errors {
    /// One more of this kind. What it says of `secret` is not for others.
    pub(super) fn add(&mut self, what: &str, secret: Option<&str>) {
        let secret = secret.filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        let hidden = secret.map(|secret| what.replace(secret, "***"));
        self.count(&printable(hidden.as_deref().unwrap_or(what), KIND_CHARS_MAX), 1);
    }

    /// Adds what another thread has counted.
    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|(kind, count)| self.count(&kind, count));
    }

    fn count(&mut self, kind: &str, count: u64) {
        if let Some(known) = self.0.get_mut(kind) {
            *known += count;
            return;
        }
        let kind = if self.0.len() < KINDS_MAX { kind } else { OTHER_KINDS };
        *self.0.entry(kind.to_owned()).or_default() += count;
    }
}

impl IntoIterator for Errors {
    type Item = (String, u64);
    type IntoIter = std::collections::btree_map::IntoIter<String, u64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(errors: Errors) -> Vec<(String, u64)> {
        errors.into_iter().collect()
    }

    #[test]
    fn what_a_server_says_is_fit_for_a_terminal() {
        let mut errors = Errors::default();
        errors.add("join: refused with \u{1b}[2J\nx\u{202e}", None);
        errors.add(&"ä".repeat(1 << 20), None);
        let kinds = told(errors);
        assert_eq!(kinds[0], ("join: refused with \u{fffd}[2J\u{fffd}x\u{fffd}".to_owned(), 1));
        assert_eq!(kinds[1].0.chars().count(), KIND_CHARS_MAX);
    }

    #[test]
    fn a_token_is_not_told() {
        let mut errors = Errors::default();
        errors.add("refused: no t0ken, t0ken", Some("t0ken"));
        errors.add("refused: no t0ken, t0ken", Some("another"));
        errors.add("refused", Some("e"));
        errors.add(&format!("{}t0ken", "x".repeat(KIND_CHARS_MAX - 2)), Some("t0ken"));
        let cut = format!("{}*…", "x".repeat(KIND_CHARS_MAX - 2));
        let expected = [("refused", 1), ("refused: no ***, ***", 1), ("refused: no t0ken, t0ken", 1), (&*cut, 1)];
        assert_eq!(told(errors), expected.map(|(kind, count)| (kind.to_owned(), count)));
    }

    #[test]
    fn there_is_a_bound_to_the_kinds() {
        let (mut errors, mut more) = (Errors::default(), Errors::default());
        for number in 0..1000 {
            errors.add(&format!("{number}"), None);
            more.add(&format!("{}", number + 50), None);
        }
        errors.add("7", None);
        errors.merge(more);
        let kinds = told(errors);
        assert_eq!(kinds.len(), KINDS_MAX + 1);
        assert_eq!(kinds.iter().map(|(_, count)| count).sum::<u64>(), 2001);
        assert!(kinds.contains(&("7".to_owned(), 2)) && kinds.contains(&("60".to_owned(), 2)));
    }
}
