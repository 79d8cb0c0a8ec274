//! The known name that is most like an unknown one. Pure.

/// Longer names are not compared: they are no typing errors.
const LETTERS_MAX: usize = 64;

/// Returns the letters and digits of a name in lower case, so that separators and case make no difference.
pub(super) fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns the candidate that differs least from `name`: by at most one mistake, or two in longer names. `None` if
/// there is no such candidate; the first one if several are equally near.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = letters(name);
    let near = |candidate: &'a str| {
        let letters = letters(candidate);
        let mistakes_max = if letters.len() < 10 { 1 } else { 2 };
        let mistakes = mistakes(name.as_bytes(), letters.as_bytes());
        (mistakes <= mistakes_max).then_some((mistakes, candidate))
    };
    candidates.into_iter().filter_map(near).min_by_key(|(mistakes, _)| *mistakes).map(|(_, candidate)| candidate)
}

/// Counts the letters that are missing, added, wrong or swapped with the next one: the optimal string alignment
/// distance.
fn mistakes(a: &[u8], b: &[u8]) -> usize {
    if a.len().max(b.len()) > LETTERS_MAX {
        return usize::MAX;
    }
    let (mut before, mut above) = (vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<_>>());
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let wrong = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = wrong.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        (before, above) = (above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_counted() {
        let table = [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("listn", "listen", 1),
            ("listne", "listen", 1),
            ("liston", "listen", 1),
            ("lissten", "listen", 1),
            ("ilsetn", "listen", 2),
            ("url", "filter", 5),
        ];
        for (a, b, expected) in table {
            let count = |a: &str, b: &str| mistakes(a.as_bytes(), b.as_bytes());
            assert_eq!((count(a, b), count(b, a)), (expected, expected), "{a} {b}");
        }
        assert_eq!(mistakes(&[b'a'; 65], &[b'a'; 65]), usize::MAX);
    }

    #[test]
    fn the_nearest_is_found_and_nothing_that_is_far() {
        let known = ["max.url", "server.listen", "admin.listen", "log.filter"];
        let table = [
            ("max_url", Some("max.url")),
            ("MAX-URI", Some("max.url")),
            ("max.irl", Some("max.url")),
            ("mx.urls", None),
            ("sever.listn", Some("server.listen")),
            ("listen", None),
            ("", None),
        ];
        for (name, expected) in table {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}
