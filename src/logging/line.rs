//! The line of a record: text, with colors on a terminal, or JSON for collectors. Pure.

use std::fmt::{self, Write as _};

use log::Level;
use serde::Serialize;

/// Longer lines are cut.
pub const LINE_BYTES_MAX: usize = 4096;

/// The form of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `TIME LEVEL TARGET: TEXT`.
    #[default]
    Text,
    /// An object with `time`, `level`, `target` and `message`.
    Json,
}

impl LogFormat {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Returns the form of this name. `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// Returns the name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Their form.
    pub format: LogFormat,
    /// Whether a line of text has colors.
    pub colors: bool,
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    level: &'a str,
    target: &'a str,
    message: &'a str,
}

impl Look {
    /// Returns the line of a record.
    pub(super) fn line(self, time: &str, level: Level, target: &str, text: fmt::Arguments<'_>) -> String {
        match self.format {
            LogFormat::Text if self.colors => {
                let color = match level {
                    Level::Error => "1;31",
                    Level::Warn => "33",
                    Level::Info => "32",
                    Level::Debug => "34",
                    Level::Trace => "36",
                };
                format!("\u{1b}[2m{time}\u{1b}[0m \u{1b}[{color}m{level:<5}\u{1b}[0m \u{1b}[2m{target}:\u{1b}[0m ")
                    + &indented(text)
            }
            LogFormat::Text => format!("{time} {level:<5} {target}: ") + &indented(text),
            LogFormat::Json => json(Some(time), level, target, &text.to_string()),
        }
    }

    /// Returns the line that stands where `lost` lines were lost. It has no time of its own.
    pub(super) fn notice(self, lost: u64) -> String {
        match self.format {
            LogFormat::Text => format!("maxtalk: lines lost here: {lost}\n"),
            LogFormat::Json => json(None, Level::Warn, "maxtalk::logging", &format!("lines lost here: {lost}")),
        }
    }
}

/// Returns a line of JSON that needs no cut, because a cut one is no JSON.
fn json(time: Option<&str>, level: Level, target: &str, message: &str) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let encode = |message: &str| {
        let object = Object { time, level: &level, target, message };
        serde_json::to_string(&object).unwrap_or_default() + "\n"
    };
    let mut line = encode(message);
    let mut end = message.len();
    while line.len() > LINE_BYTES_MAX && end > 0 {
        // An escaped character takes at most six bytes, so this is short enough at the latest.
        end = message.floor_char_boundary((end * LINE_BYTES_MAX / line.len()).min(end - 1));
        line = encode(&format!("{}…", &message[..end]));
    }
    line
}

/// Returns the text of a record as one line. Its further lines are indented, so that no text from outside can look like
/// a record; other control characters are escaped.
fn indented(text: fmt::Arguments<'_>) -> String {
    let mut indented = Indented(String::new());
    // Writing to a string does not fail, and a record whose text fails has the text so far.
    let _ = write!(indented, "{text}");
    indented.0.truncate(indented.0.trim_end().len());
    indented.0 + "\n"
}

struct Indented(String);

impl fmt::Write for Indented {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\n' => self.0 += "\n    ",
                '\t' => self.0.push(c),
                // `escape_debug` would escape these too, but they are harmless here.
                '"' | '\'' | '\\' => self.0.push(c),
                _ => self.0.extend(c.escape_debug()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.678Z";

    fn line(format: LogFormat, colors: bool, text: &str) -> String {
        Look { format, colors }.line(TIME, Level::Warn, "maxtalk::x", format_args!("{text}"))
    }

    #[test]
    fn a_record_cannot_pretend_to_be_two() {
        let text = "one\n2026 INFO \"two\"\r\u{1b}[2J\u{202e}";
        let indented = "one\n    2026 INFO \"two\"\\r\\u{1b}[2J\\u{202e}\n";
        assert_eq!(line(LogFormat::Text, false, text), format!("{TIME} WARN  maxtalk::x: {indented}"));
        let colored = line(LogFormat::Text, true, text);
        assert!(colored.contains("\u{1b}[33mWARN \u{1b}[0m") && colored.ends_with(indented), "{colored}");
    }

    #[test]
    fn a_record_is_an_object_for_collectors() {
        let read = |line: String| serde_json::from_str::<serde_json::Value>(line.strip_suffix('\n').unwrap()).unwrap();
        let object = read(line(LogFormat::Json, true, "one\ntwo \"three\""));
        let expected = serde_json::json!({
            "time": TIME, "level": "warn", "target": "maxtalk::x", "message": "one\ntwo \"three\"",
        });
        assert_eq!(object, expected);
        for long in ["é".repeat(LINE_BYTES_MAX), "\u{1}".repeat(LINE_BYTES_MAX)] {
            let line = line(LogFormat::Json, false, &long);
            assert!(line.len() <= LINE_BYTES_MAX && line.len() > LINE_BYTES_MAX / 2, "{}", line.len());
            assert!(read(line)["message"].as_str().unwrap().ends_with('…'));
        }
        let notice = Look { format: LogFormat::Json, colors: false }.notice(7);
        assert_eq!(read(notice)["message"], "lines lost here: 7");
    }

    #[test]
    fn formats_have_names() {
        for format in LogFormat::ALL {
            assert_eq!(LogFormat::parse(format.as_str()), Some(format));
        }
        assert_eq!(LogFormat::parse("JSON"), None);
    }
}
