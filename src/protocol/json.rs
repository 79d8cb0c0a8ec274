//! JSON as text: how each generation writes it, and the strings in it.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Generation;

/// Returns valid JSON as `generation` reads it: all but the newest generation get ASCII.
pub(super) fn for_generation(generation: Generation, json: &str) -> Cow<'_, str> {
    match generation {
        Generation::Eio4 => json.into(),
        Generation::Eio3 | Generation::Sio09 => ascii(json),
    }
}

/// Returns the same valid JSON in one line of ASCII. Clients of Engine.IO 3 disagree on how to count and encode other
/// characters, and the parsers of 0.8 stop at a line break, U+2028 included.
pub(in super::super) fn ascii(json: &str) -> Cow<'_, str> {
    let is_plain = |byte: &u8| byte.is_ascii() && !matches!(byte, b'\n' | b'\r');
    let plain = json.bytes().take_while(|byte| is_plain(byte)).count();
    if plain == json.len() {
        return json.into();
    }
    let (plain, rest) = json.split_at(plain);
    let mut text = String::with_capacity(json.len() * 2);
    text.push_str(plain);
    for c in rest.chars() {
        match c {
            // Valid JSON has line breaks only between its tokens.
            '\n' | '\r' => text.push(' '),
            c if c.is_ascii() => text.push(c),
            // Only strings hold such a character, and never after a backslash.
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(text, "\\u{unit:04x}")),
        }
    }
    text.into()
}

/// Returns `text` as a string of JSON, for `generation`.
pub(super) fn string(generation: Generation, text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    match for_generation(generation, &json) {
        Cow::Owned(ascii) => ascii,
        Cow::Borrowed(_) => json,
    }
}

/// Returns `text` as a string of JSON in ASCII.
pub(in super::super) fn ascii_string(text: &str) -> String {
    string(Generation::Sio09, text)
}

/// Returns the text of a valid JSON string with its quotes, or `None` if it holds a lone surrogate.
pub(in super::super) fn decode_string(json: &str) -> Option<Cow<'_, str>> {
    if json.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        json.get(1..json.len() - 1).map(Cow::Borrowed)
    }
}

/// Appends the elements of an array, without its brackets.
pub(in super::super) fn push_elements<'a>(out: &mut String, elements: impl IntoIterator<Item = Cow<'a, str>>) {
    for (at, element) in elements.into_iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        out.push_str(&element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_the_same_value() {
        let table = [
            ("", ""),
            (r#"{"a":[1,"x\n\u00e9\\"]}"#, r#"{"a":[1,"x\n\u00e9\\"]}"#),
            ("\"é€😀\"", r#""\u00e9\u20ac\ud83d\ude00""#),
            ("\"\u{2028}\u{2029}\u{7f}\u{80}\u{ffff}\u{10000}\"", "\"\\u2028\\u2029\x7f\\u0080\\uffff\\ud800\\udc00\""),
            (r#""\\é\"""#, r#""\\\u00e9\"""#),
            ("{\"é\":\n 1,\r\n\t\"b\":2}", "{\"\\u00e9\":  1,  \t\"b\":2}"),
        ];
        for (json, expected) in table {
            assert_eq!(ascii(json), expected, "{json}");
        }
        assert!(matches!(ascii(r#"["plain"]"#), Cow::Borrowed(_)), "nothing is copied in vain");
        assert!(matches!(for_generation(Generation::Eio4, "\"é\""), Cow::Borrowed("\"é\"")));
    }

    #[test]
    fn strings_are_written_and_read() {
        assert_eq!(string(Generation::Eio4, "é\"\n"), r#""é\"\n""#);
        assert_eq!(string(Generation::Eio3, "é\"\n"), r#""\u00e9\"\n""#);
        assert_eq!(decode_string(r#""\u00e9\"\n""#).as_deref(), Some("é\"\n"));
        assert_eq!(decode_string(r#""\ud800""#), None);
        assert!(matches!(decode_string("\"é\""), Some(Cow::Borrowed("é"))));
    }
}
