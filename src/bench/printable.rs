//! Text from outside, made fit for a terminal and a report.

/// Returns `text` on one line, without control characters, cut off after `max` characters.
pub(super) fn printable(text: &str, max: usize) -> String {
    // Direction marks reverse the text after them, which is as harmful as a control character.
    let harmful = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut chars =
        text.chars().map(|c| if harmful(c) || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c });
    let mut text = chars.by_ref().take(max).collect::<String>();
    if chars.next().is_some() {
        text.pop();
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stays_on_its_line() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{202e}c", 20), "a\u{fffd}[31m\u{fffd}b\u{fffd}c");
        assert_eq!([printable("abcde", 5), printable("abcdef", 5)], ["abcde", "abcd…"]);
    }
}
