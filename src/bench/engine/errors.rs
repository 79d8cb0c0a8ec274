//! Errors by kind. A kind may contain text of the server: it is made fit for a terminal, cut off, and the number of
//! kinds is bounded.

use std::collections::BTreeMap;

use crate::bench::printable::printable;

/// Length limit of a kind: some hundred characters of the server's text, and the hint after it.
const KIND_CHARS_MAX: usize = 280;
/// A shorter secret is not hidden: it would be found within ordinary words.
const SECRET_BYTES_MIN: usize = 4;
/// Limit of the number of kinds. Further ones count as one.
const KINDS_MAX: usize = 100;
/// The name under which further kinds are counted.
const OTHER_KINDS: &str = "other kinds";

/// The number of errors of each kind.
#[derive(Debug, Default)]
pub(super) struct Errors(BTreeMap<String, u64>);

impl Errors {
    /// Counts an error of this kind. Occurrences of `secret` in it are hidden.
    pub(super) fn add(&mut self, what: &str, secret: Option<&str>) {
        let secret = secret.filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        let hidden = secret.map(|secret| what.replace(secret, "***"));
        self.count(&printable(hidden.as_deref().unwrap_or(what), KIND_CHARS_MAX), 1);
    }

    /// Counts something of this kind that may come often and has no secret in it.
    pub(super) fn note(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(known) => *known += 1,
            None => self.add(what, None),
        }
    }

    /// Adds the errors of another thread.
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
