//! JSONP: the answer to a poll as a script, and a POST as a form.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::json;

/// The largest number of digits in an index. Clients count their requests from 0, so no honest index has more.
const INDEX_DIGITS_MAX: usize = 16;

/// The function in a page that takes the answer to one of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(String);

impl Callback {
    /// Returns the function of Engine.IO: `___eio[7]`, for `j=7`. Only the digits of `index` are used, because other
    /// characters would run as a script in the page. `None` if it has no digit.
    pub fn engine_io(index: &str) -> Option<Self> {
        digits(index).map(|digits| Self(format!("___eio[{digits}]")))
    }

    /// Returns the function of Socket.IO 0.9: `io.j[7]`, for `i=7` or `jsonp=7`. `index` is read as by
    /// [`Self::engine_io`].
    pub fn legacy(index: &str) -> Option<Self> {
        digits(index).map(|digits| Self(format!("io.j[{digits}]")))
    }

    /// Returns the script that calls the function with `body`: `___eio[0]("7:40/max,");`
    pub fn call(&self, body: &str) -> String {
        format!("{}({});", self.0, quote(body))
    }

    /// Returns the script that calls the function with an error: `io.j[0](new Error("handshake unauthorized"));`
    pub fn call_with_error(&self, message: &str) -> String {
        format!("{}(new Error({}));", self.0, quote(message))
    }
}

fn digits(index: &str) -> Option<String> {
    let digits: String = index.chars().filter(char::is_ascii_digit).take(INDEX_DIGITS_MAX).collect();
    (!digits.is_empty()).then_some(digits)
}

/// Returns `text` as a string of JavaScript. It is JSON in ASCII, because older JavaScript took U+2028 for a line
/// break. It has no `<`, so that it cannot end the `<script>` around it.
fn quote(text: &str) -> String {
    json::ascii_string(text).replace('<', "\\u003c")
}

/// Returns the first field `d` of a form, decoded. `None` if there is no such field, or it is not UTF-8.
///
/// It is stricter about UTF-8 than the usual parsers of forms: those replace bad bytes by U+FFFD, which is 0.9's frame
/// delimiter.
pub fn form_data(form: &[u8]) -> Option<String> {
    let value = form.split(|byte| *byte == b'&').find_map(|field| field.strip_prefix(b"d="))?;
    let value: Vec<_> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&value).decode_utf8().ok().map(Cow::into_owned)
}

/// Returns the payload in the `d` of an Engine.IO client. Browsers change line breaks in forms, so the client writes a
/// line break as `\n`, and the `\n` of a JSON string as `\\n`.
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

/// Returns the payload in the `d` of a 0.7 to 0.9 client. Since 0.9 it is a JSON string, before 0.9 the payload itself.
/// `None` if it begins like a JSON string and is not one.
pub fn legacy_payload(data: String) -> Option<String> {
    let data = unify_line_breaks(data);
    if data.starts_with('"') { serde_json::from_str(&data).ok() } else { Some(data) }
}

/// Writes each line break as LF. Browsers send those in a form as CR LF.
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
