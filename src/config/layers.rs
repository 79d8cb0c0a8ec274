//! The layers that give values: file, environment and flags, taken apart into raw values with their sources; and the
//! reader that turns these into settings, the highest layer last.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::allowed::Allowed;
use super::live::LIVE;
use super::origins::{Origin, Origins};
use super::print::{Setting, annotated_defaults};
use super::problem::Problem;
use super::raw::{Raw, Source, clip};
use super::variables::{self, Meaning};
use super::{NONE, SECTIONS, near};

/// Settings that earlier versions had under another name, each with its present one.
const FORMER: [(&str, &str); 1] = [("metrics.listen", "admin.listen")];

/// Most warnings about variables that name no setting.
const WARNINGS_MAX: usize = 20;

/// Everything that is laid over the defaults.
#[derive(Default)]
pub struct Sources {
    /// The operator's file.
    pub file: Option<File>,
    /// Names and values as [`std::env::vars_os`] gives them, including those of others.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags of the command line that stand for settings.
    pub flags: Vec<Flag>,
}

/// A file that was read.
pub struct File {
    /// Its path, for messages.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A flag of the command line.
pub struct Flag {
    /// Its name, such as `--listen`.
    pub name: &'static str,
    /// The setting that it stands for, such as `server.listen`.
    pub key: &'static str,
    /// Its value as written.
    pub value: String,
}

/// Reads settings from the layers, and collects the problems.
pub(super) struct Reader {
    /// The values given for each key, the lowest layer first.
    given: BTreeMap<&'static str, Vec<(Raw, Source)>>,
    read: Read,
}

/// The result of reading, apart from the values.
#[derive(Default)]
pub(super) struct Read {
    pub(super) origins: Origins,
    /// Problems for which the configuration is refused.
    pub(super) problems: Vec<Problem>,
    /// Problems that stop nothing.
    pub(super) warnings: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(sources: Sources) -> Self {
        let mut reader = Self { given: BTreeMap::new(), read: Read::default() };
        reader.take_toml(&annotated_defaults(), |_| Source::Default);
        if let Some(File { path, text }) = sources.file {
            let path: Arc<str> = path.into();
            reader.take_toml(&text, |line| Source::File { path: path.clone(), line });
        }
        let mut environment = sources.environment;
        environment.sort();
        for (name, value) in environment {
            reader.take_variable(&name.to_string_lossy(), value);
        }
        for Flag { name, key, value } in sources.flags {
            reader.take(key, Source::Flag(name), || Raw::Plain(value));
        }
        reader
    }

    /// Returns the value of `key` from the highest layer that gives it. The values of all layers are checked.
    pub(super) fn value<T>(&mut self, key: &'static str, allowed: &impl Allowed<T>) -> Option<T> {
        let mut value = allowed.absent();
        let mut origin = Origin { shown: NONE.to_owned(), source: Source::Default };
        for (raw, source) in self.given.remove(key).unwrap_or_default() {
            match read(key, &raw, source, allowed) {
                Ok((given, given_by)) => (value, origin) = (Some(given), given_by),
                Err(problem) => self.read.problems.push(problem),
            }
        }
        self.read.origins.0.insert(key, origin);
        value
    }

    pub(super) fn finish(self) -> Read {
        self.read
    }

    fn take(&mut self, key: &str, source: Source, raw: impl FnOnce() -> Raw) {
        match Setting::all().find(|setting| setting.key == key) {
            Some(setting) => self.given.entry(setting.key).or_default().push((raw(), source)),
            None => self.read.problems.push(unknown_key(key, source)),
        }
    }

    fn take_toml(&mut self, text: &str, source: impl Fn(usize) -> Source) {
        let source_at = |at: usize| source(1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count());
        // Only the parser's message is used: its full error quotes the line, which may hold a token.
        let document = match DeTable::parse(text) {
            Ok(document) => document.into_inner(),
            Err(error) => {
                let origin = source_at(error.span().map_or(0, |span| span.start));
                self.read.problems.push(Problem::Syntax { origin, message: error.message().to_owned() });
                return;
            }
        };
        for (section, table) in &document {
            let name = section.get_ref().as_ref();
            match table.get_ref() {
                DeValue::Table(table) if is_section(name) => {
                    for (key, value) in table {
                        let path = format!("{name}.{}", key.get_ref());
                        self.take(&path, source_at(key.span().start), || Raw::from_toml(value.get_ref()));
                    }
                }
                _ => self.read.problems.push(unknown_key(name, source_at(section.span().start))),
            }
        }
    }

    fn take_variable(&mut self, variable: &str, value: OsString) {
        let source = Source::Environment(clip(variable));
        match variables::meaning(variable, &value.to_string_lossy()) {
            Meaning::Other => {}
            Meaning::Setting(setting) => self.take(setting.key, source, || {
                value.into_string().map_or_else(|_| Raw::Other("(not UTF-8)".to_owned()), Raw::Plain)
            }),
            Meaning::NoSetting { key } => self.read.problems.push(unknown_key(&key, source)),
            Meaning::Almost(setting) => {
                self.read.problems.push(Problem::UnknownVariable { origin: source, meant: Some(setting.variable()) });
            }
            Meaning::Unknown if self.read.warnings.len() < WARNINGS_MAX => {
                let name = variable.strip_prefix(variables::PREFIX).unwrap_or_default();
                let meant = Setting::of_any_section(name).map(Setting::variable);
                self.read.warnings.push(Problem::UnknownVariable { origin: source, meant });
            }
            Meaning::Unknown => {}
        }
    }
}

/// Returns whether settings are, or were, in a section of this name.
fn is_section(name: &str) -> bool {
    let was = |former: &str| former.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    SECTIONS.iter().any(|section| section.name == name) || FORMER.iter().any(|(former, _)| was(former))
}

/// Reads a value that a source gives for a setting.
pub(super) fn read<T>(key: &str, raw: &Raw, source: Source, allowed: &impl Allowed<T>) -> Result<(T, Origin), Problem> {
    let shown = allowed.shown(raw);
    match allowed.read(raw) {
        Ok(value) => Ok((value, Origin { shown, source })),
        Err(fault) => {
            Err(Problem::Value { key: key.to_owned(), shown, origin: source, fault, allowed: allowed.form() })
        }
    }
}

/// Returns the problem of a key that is no setting, or none that may be changed while the server runs.
pub(super) fn not_live(key: &str) -> Problem {
    if !Setting::all().any(|setting| setting.key == key) {
        return unknown_key(key, Source::Admin);
    }
    Problem::NotLive { key: key.to_owned(), allowed: LIVE.join(", ") }
}

/// Returns the problem of a key that is no setting. It lists the settings of the key's section, or all sections if that
/// is unknown too.
fn unknown_key(key: &str, origin: Source) -> Problem {
    let section = key.split_once('.').and_then(|(name, _)| SECTIONS.iter().find(|section| section.name == name));
    let allowed = match section {
        Some(section) => section.settings.iter().map(|setting| setting.key.to_owned()).collect(),
        None => SECTIONS.iter().map(|section| format!("[{}]", section.name)).collect::<Vec<_>>(),
    };
    let renamed = FORMER.iter().find(|(former, _)| *former == key).map(|(_, present)| *present);
    let setting = Setting::all().find(|setting| Some(setting.key) == renamed);
    let setting = setting.or_else(|| Setting::nearest(key)).or_else(|| Setting::of_any_section(key));
    let meant = match (setting, &origin) {
        (Some(setting), Source::Environment(_)) => Some(setting.variable()),
        (Some(setting), _) => Some(setting.key.to_owned()),
        (None, _) if section.is_some() => None,
        (None, _) => near::nearest(key, SECTIONS.iter().map(|section| section.name)).map(|name| format!("[{name}]")),
    };
    Problem::UnknownKey { key: clip(key).escape_debug().to_string(), origin, allowed: allowed.join(", "), meant }
}
