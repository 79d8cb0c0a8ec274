//! JSONP: a poll's answer as a script, and a POST as a form.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::json;

/// Clients count their requests from 0: no honest index has more digits.
const INDEX_DIGITS_MAX: usize = 16;

/// The function that a page has for the answer to one of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(String);

impl Callback {
    /// Of Engine.IO: `___eio[7]`, for `j=7`. Only the digits of `index` count, since whatever else it holds would run
    /// as script in somebody's page; none without any.
    pub fn engine_io(index: &str) -> Option<Self> {
        digits(index).map(|digits| Self(format!("___eio[{digits}]")))
    }

    /// Of Socket.IO 0.9: `io.j[7]`, for `i=7` or `jsonp=7`. Likewise.
    pub fn legacy(index: &str) -> Option<Self> {
        digits(index).map(|digits| Self(format!("io.j[{digits}]")))
    }

    /// The script that calls it with `body` as its argument: `___eio[0]("7:40/max,");`
    pub fn call(&self, body: &str) -> String {
        format!("{}({});", self.0, quote(body))
    }

    /// The script that calls it with an error: `io.j[0](new Error("handshake unauthorized"));`
    pub fn call_with_error(&self, message: &str) -> String {
        format!("{}(new Error({}));", self.0, quote(message))
    }
}

fn digits(index: &str) -> Option<String> {
    let digits: String = index.chars().filter(char::is_ascii_digit).take(INDEX_DIGITS_MAX).collect();
    (!digits.is_empty()).then_some(digits)
}

/// A string of JSON that is a string of JavaScript too, which U+2028 was not for long, and that ends no `<script>`.
fn quote(text: &str) -> String {
    json::ascii_string(text).replace('<', "\\u003c")
}

/// The field `d` of a form, decoded; the first, if there are several. None where there is none, or it is no text.
///
/// Strict about UTF-8, unlike the usual parsers of forms: the U+FFFD that they put for what is none frames the packets
/// of 0.9.
pub fn form_data(form: &[u8]) -> Option<String> {
    let value = form.split(|byte| *byte == b'&').find_map(|field| field.strip_prefix(b"d="))?;
    let value: Vec<_> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&value).decode_utf8().ok().map(Cow::into_owned)
}

/// What an Engine.IO client meant by its `d`. Browsers write line breaks in forms as they like, so the client writes
/// one as `\n`, and the `\n` of a JSON string as `\\n`.
pub fn engine_io_payload(data: String) -> String {
    let data = unify_line_breaks(data);
    let mut payload = String::with_capacity(data.len());
    let mut rest = data.as_str();
    while let Some((before, after)) = rest.split_once("\\n") {
        match before.strip_suffix('\\') {
            Some(before) => payload.extend([before, "\\n"]),
            None => payload.extend([before, "\n"]),
        }
        rest = after;
    }
    payload + rest
}

/// What a 0.7 to 0.9 client meant by its `d`: since 0.9 a JSON string, before it the payload as it is. None of what
/// begins like such a string and is none.
pub fn legacy_payload(data: String) -> Option<String> {
    let data = unify_line_breaks(data);
    if data.starts_with('"') { serde_json::from_str(&data).ok() } else { Some(data) }
}

/// Browsers send every line break of a form as CR LF, whatever the page wrote.
fn unify_line_breaks(data: String) -> String {
    if data.contains("\r\n") { data.replace("\r\n", "\n") } else { data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_its_digits() {
        let table = [
            ("7", Some("7")),
            ("0", Some("0")),
            ("alert(1)", Some("1")),
            ("1];alert(2);//", Some("12")),
            ("12345678901234567890", Some("1234567890123456")),
            ("", None),
            ("alert(x)", None),
            ("٣", None),
        ];
        for (index, digits) in table {
            let callback = |name| digits.map(|digits| Callback(format!("{name}[{digits}]")));
            assert_eq!(Callback::engine_io(index), callback("___eio"), "{index}");
            assert_eq!(Callback::legacy(index), callback("io.j"), "{index}");
        }
    }

    #[test]
    fn scripts_are_calls_with_one_string() {
        let (engine_io, legacy) = (Callback::engine_io("0").unwrap(), Callback::legacy("7").unwrap());
        let table = [
            (engine_io.call("7:40/max,"), r#"___eio[0]("7:40/max,");"#),
            (legacy.call("1::"), r#"io.j[7]("1::");"#),
            (legacy.call("\u{fffd}3\u{fffd}1::"), r#"io.j[7]("\ufffd3\ufffd1::");"#),
            (legacy.call("é😀\u{2028}\u{2029}\n\r\0"), r#"io.j[7]("\u00e9\ud83d\ude00\u2028\u2029\n\r\u0000");"#),
            (legacy.call(r#""\</script><!--"#), r#"io.j[7]("\"\\\u003c/script>\u003c!--");"#),
            (legacy.call_with_error("handshake unauthorized"), r#"io.j[7](new Error("handshake unauthorized"));"#),
            (legacy.call_with_error("a\"b"), r#"io.j[7](new Error("a\"b"));"#),
        ];
        for (script, expected) in table {
            assert_eq!(script, expected);
        }
    }

    #[test]
    fn forms_have_one_field() {
        let table: [(&[u8], Option<&str>); 14] = [
            (b"d=1%3A%3A%2Fmax", Some("1::/max")),
            (b"d=%221%3A%3A%2Fmax%22", Some("\"1::/max\"")),
            (b"d=a+b%2Bc%20d", Some("a b+c d")),
            (b"d=", Some("")),
            (b"x=1&d=2&d=3", Some("2")),
            (b"d=a=b", Some("a=b")),
            (b"d=%c3%A9\xc3\xa9", Some("éé")),
            (b"d=100%", Some("100%")),
            (b"d=%zz", Some("%zz")),
            (b"", None),
            (b"d", None),
            (b"e=1", None),
            (b"d=%ff", None),
            (b"d=\xff", None),
        ];
        for (form, data) in table {
            assert_eq!(form_data(form).as_deref(), data, "{}", String::from_utf8_lossy(form));
        }
    }

    #[test]
    fn line_breaks_of_engine_io_come_back() {
        let table = [
            ("6:4hello", "6:4hello"),
            (r"a\nb", "a\nb"),
            (r#"42["x\\ny"]"#, r#"42["x\ny"]"#),
            (r#"42["x\\\ny"]"#, r#"42["x\\ny"]"#),
            (r"\n\n\\n\n", "\n\n\\n\n"),
            (r"\\t\r\", r"\\t\r\"),
            ("a\r\nb\rc\n", "a\nb\rc\n"),
            ("", ""),
        ];
        for (data, payload) in table {
            assert_eq!(engine_io_payload(data.to_owned()), payload, "{data}");
        }
    }

    #[test]
    fn both_forms_of_legacy_data_are_read() {
        let table = [
            (r#""1::/max""#, Some("1::/max")),
            (r#""\ufffd3\ufffd1::""#, Some("\u{fffd}3\u{fffd}1::")),
            (r#""5:::{\"name\":\"a\\n\"}""#, Some(r#"5:::{"name":"a\n"}"#)),
            ("1::/max", Some("1::/max")),
            ("3:::a\r\nb", Some("3:::a\nb")),
            ("", Some("")),
            ("\"1::/max", None),
            (r#""1"2"#, None),
            (r#""\ud800""#, None),
            ("\"a\r\nb\"", None),
        ];
        for (data, payload) in table {
            assert_eq!(legacy_payload(data.to_owned()).as_deref(), payload, "{data}");
        }
    }
}
