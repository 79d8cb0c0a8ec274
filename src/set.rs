//! `maxtalk set`: changes settings of a running server, or lists those that may be changed.

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value};

use crate::admin::model::{ChangedSettings, Settings};
use crate::remote::address::{Access, Remote};
use crate::remote::caller::{CallError, Caller};
use crate::remote::text::{printable, width};

/// The path of the settings.
const PATH: &str = "/api/v1/settings";

/// The options of `maxtalk set`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    /// The way to the server.
    #[command(flatten)]
    pub access: Access,
    /// Settings with their new values, such as mailbox.conversation=512; without any, the settings that may be changed
    /// are listed
    #[arg(value_name = "KEY=VALUE")]
    pub pairs: Vec<Pair>,
}

/// A setting with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    key: String,
    value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("allowed: KEY=VALUE, such as mailbox.conversation=512"),
        }
    }
}

impl Pair {
    /// Returns the value as JSON: a number if it reads as an integer, otherwise a text.
    fn json(&self) -> Value {
        let number = self.value.parse::<u64>().map(Value::from).or_else(|_| self.value.parse::<i64>().map(Value::from));
        number.unwrap_or_else(|_| Value::from(self.value.as_str()))
    }
}

impl SetOptions {
    /// Returns a setting that is named twice.
    pub fn repeated(&self) -> Option<&str> {
        let mut keys = BTreeSet::new();
        self.pairs.iter().map(|pair| pair.key.as_str()).find(|key| !keys.insert(*key))
    }
}

/// Changes the settings of `pairs`, or lists those that may be changed if there are none. Returns the text for standard
/// output.
///
/// # Errors
/// The server does not answer, or refuses.
pub async fn run(remote: Remote, pairs: &[Pair]) -> Result<String, CallError> {
    let caller = Caller::new(remote);
    if pairs.is_empty() {
        let settings = caller.get(PATH).await?;
        return Ok(listed(&caller.read(PATH, settings).await?));
    }
    let values: Map<_, _> = pairs.iter().map(|pair| (pair.key.clone(), pair.json())).collect();
    let changed = caller.patch(PATH, &Value::Object(values)).await?;
    Ok(told(&caller.read(PATH, changed).await?))
}

/// Returns the settings that may be changed, as a table.
fn listed(settings: &Settings) -> String {
    const HEADS: [&str; 4] = ["setting", "value", "source", "allowed"];
    let live = settings.settings.iter().filter(|setting| setting.live);
    let rows = live.map(|setting| [&setting.key, &setting.value, &setting.source, &setting.allowed]);
    let rows: Vec<_> = rows.map(|row| row.map(|cell| printable(cell))).collect();
    let heads = HEADS.map(str::to_owned);
    let widths = [0, 1, 2].map(|at| rows.iter().chain([&heads]).map(|row| width(&row[at])).max().unwrap_or(0));
    let line = |row: &[String; 4]| {
        let padded = row.iter().zip(widths).map(|(cell, most)| format!("{cell}{}  ", " ".repeat(most - width(cell))));
        format!("{}{}\n", padded.collect::<String>(), row[3])
    };
    [&heads].into_iter().chain(&rows).map(line).collect()
}

/// Returns the changes, how long they last, and the lines that keep them.
fn told(changed: &ChangedSettings) -> String {
    let mut text = String::new();
    for change in &changed.changes {
        let parts = [&change.key, &change.from, &change.from_source, &change.to];
        let [key, from, source, to] = parts.map(|part| printable(part));
        text += &format!("{key}: {from} ({source}) -> {to}\n");
    }
    text += &format!("\nThis holds {}. To keep it:\n\n", printable(&changed.lasts));
    changed.to_keep.lines().for_each(|line| text += &format!("{}\n", printable(line)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::{ChangedSetting, Setting};
    use serde_json::json;

    #[test]
    fn a_value_is_a_number_if_it_reads_as_one() {
        for (text, key, value) in [
            ("mailbox.conversation=512", "mailbox.conversation", json!(512)),
            ("a.b = -1 ", "a.b", json!(-1)),
            ("a.b=18446744073709551615", "a.b", json!(u64::MAX)),
            ("a.b=18446744073709551616", "a.b", json!("18446744073709551616")),
            ("a.b=1.5", "a.b", json!("1.5")),
            ("outbox.policy=drop", "outbox.policy", json!("drop")),
            ("a.b=c=d", "a.b", json!("c=d")),
            ("a.b=", "a.b", json!("")),
        ] {
            let pair: Pair = text.parse().unwrap();
            assert_eq!((pair.key.as_str(), pair.json()), (key, value), "{text}");
        }
        for text in ["mailbox.conversation", "=512", " =1", ""] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
        let pairs = ["a.b=1", "c.d=2", "a.b=3"].map(|text| text.parse().unwrap()).into();
        assert_eq!(SetOptions { pairs, ..SetOptions::default() }.repeated(), Some("a.b"));
    }

    #[test]
    fn changes_are_told_with_the_lines_that_keep_them() {
        let change = |key: &str, to: &str| {
            let [key, from, from_source, to] = [key, "1", "default", to].map(str::to_owned);
            ChangedSetting { key, from, from_source, to }
        };
        let changes = vec![change("a.b", "2"), change("d.e", "\"x\u{1b}\"")];
        let to_keep = "[a]\nb = 2\n[d]\ne = \"x\u{1b}\"\n".to_owned();
        let text = told(&ChangedSettings { changes, to_keep, lasts: "until the next start".to_owned() });
        let expected = "a.b: 1 (default) -> 2\nd.e: 1 (default) -> \"x\\u{1b}\"\n\n\
                        This holds until the next start. To keep it:\n\n[a]\nb = 2\n[d]\ne = \"x\\u{1b}\"\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_list_has_the_settings_that_may_be_changed() {
        let setting = |key: &str, value: &str, live| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            source: "default".to_owned(),
            live,
            allowed: "an integer".to_owned(),
        };
        let settings =
            vec![setting("a.b", "12345678", true), setting("c.d", "1", false), setting("long.name", "1", true)];
        let expected = "setting    value     source   allowed\n\
                        a.b        12345678  default  an integer\n\
                        long.name  1         default  an integer\n";
        assert_eq!(listed(&Settings { settings }), expected);
    }
}
