//! Where the value of each setting comes from, and the settings as messages show them.

use std::collections::BTreeMap;
use std::fmt;

use super::print::Setting;
use super::raw::Source;
use super::{Config, LIVE};

/// The origin of each setting's value, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(pub(super) BTreeMap<&'static str, Origin>);

/// A value as messages show it, and its source.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) shown: String,
    pub(super) source: Source,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.shown, self.source)
    }
}

/// A setting with its present value.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The setting, as `section.key`.
    pub key: &'static str,
    /// The value without secrets.
    pub value: &'a str,
    /// The source of the value.
    pub source: &'a Source,
    /// A description of the allowed values.
    pub allowed: &'static str,
    /// Whether it may be changed while the server runs.
    pub is_live: bool,
}

impl Config {
    /// The setting `key` for messages, such as `server.listen = "127.0.0.1:6545" (default)`. Secrets show as `***`.
    pub fn describe(&self, key: &str) -> String {
        self.origins.0.get(key).map_or_else(|| key.to_owned(), |origin| format!("{key} = {origin}"))
    }

    /// The value of the setting `key` as messages show it, such as `2048`. `None` if there is no such setting.
    pub fn shown(&self, key: &str) -> Option<&str> {
        self.origins.0.get(key).map(|origin| origin.shown.as_str())
    }

    /// The source of the value of the setting `key`, such as `default`. Empty if there is no such setting.
    pub fn source(&self, key: &str) -> String {
        self.origins.0.get(key).map_or_else(String::new, |origin| origin.source.to_string())
    }

    /// [Descriptions](Self::describe) of all settings that do not come from the defaults, in alphabetical order.
    pub fn changed(&self) -> impl Iterator<Item = String> {
        let changed = self.origins.0.iter().filter(|(_, origin)| origin.source != Source::Default);
        changed.map(|(key, _)| self.describe(key))
    }

    /// All settings with their present values, in alphabetical order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.origins.0.iter().filter_map(|(key, Origin { shown, source })| {
            let allowed = &Setting::all().find(|setting| setting.key == *key)?.allowed;
            Some(Row { key, value: shown, source, allowed, is_live: LIVE.contains(key) })
        })
    }
}
