//! Text from outside, made fit for a terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// [`printable`] cuts longer texts.
const BYTES_MAX: usize = 1024;

/// Returns `text` on one line, with control characters, line breaks and changes of the writing direction escaped as in
/// the log, but without quotes. A text of more than 1 KiB is cut.
pub fn printable(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(BYTES_MAX)];
    let mut printable = String::with_capacity(shown.len());
    let mut escaped = shown.escape_debug().peekable();
    while let Some(c) = escaped.next() {
        match (c, escaped.peek()) {
            // Quotes are harmless where nothing is quoted.
            ('\\', Some('"' | '\'')) => printable.extend(escaped.next()),
            ('\\', Some('\\')) => {
                escaped.next();
                printable.push_str("\\\\");
            }
            _ => printable.push(c),
        }
    }
    if shown.len() < text.len() {
        printable.push('…');
    }
    printable
}

/// Returns the columns that a printable text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Returns a printable text cut to at most this many columns; its end is then `…`.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// Breaks a printable text into lines of at most this many columns, between words where it can.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(cut(&std::mem::take(&mut line), columns));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(cut(&line, columns));
    lines
}

/// Returns JSON in which no character can act on a terminal: those that could are written as escapes of JSON. Such
/// characters stand only within the strings of JSON.
pub fn json(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut json = String::with_capacity(text.len());
    for c in text.chars() {
        // The characters that the log escapes, but for those that JSON itself has escaped.
        let is_harmless = c.is_ascii_graphic() || c == ' ' || c.escape_debug().len() == 1;
        if is_harmless {
            json.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| json += &format!("\\u{unit:04x}"));
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_comes_from_outside_cannot_act_on_a_terminal() {
        let table = [
            ("aina.roca", "aina.roca"),
            ("o'brien \"é\\n", "o'brien \"é\\\\n"),
            ("\\\"\\u{1b}", "\\\\\"\\\\u{1b}"),
            ("a\u{1b}[31m\n\r\t\u{9b}2J\u{7f}", "a\\u{1b}[31m\\n\\r\\t\\u{9b}2J\\u{7f}"),
            ("\u{202e}evil\u{2066}\u{200f}\u{61c}\u{200b}", "\\u{202e}evil\\u{2066}\\u{200f}\\u{61c}\\u{200b}"),
            ("e\u{301}", "e\u{301}"),
            ("会話", "会話"),
        ];
        for (text, expected) in table {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable(&"é".repeat(600)).chars().count(), 513);
    }

    #[test]
    fn a_cut_is_by_columns_and_not_by_characters() {
        for (columns, expected) in [(9, "会話abcde"), (8, "会話abc…"), (4, "会…"), (3, "会…"), (2, "…"), (0, "")]
        {
            assert_eq!(cut("会話abcde", columns), expected);
            assert!(width(&cut("会話abcde", columns)) <= columns);
        }
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("unbreakable is cut", 6), ["unbre…", "is cut"]);
        assert_eq!(wrap("", 6), [""]);
    }

    #[test]
    fn json_is_the_same_value_without_characters_that_act() {
        let value = json!({"username": "\u{202e}a\u{9b}b\u{7f}\u{e0001}\u{1b}\"\\é会"});
        let text = json(&value);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.chars().all(|c| c.is_ascii_graphic() || "é会".contains(c)), "{text}");
        assert!(text.contains("\\u202ea\\u009bb\\u007f\\udb40\\udc01\\u001b"), "{text}");
    }
}
