//! The check of log filters in the form of env_logger. Its parser takes every unknown word for the name of a module,
//! and a filter of one such word logs nothing. The check finds words that are probably mistakes.

use log::LevelFilter;

use super::near::{letters, nearest};

/// The levels, each with the message for a word that is almost this level.
const LEVELS: [(&str, &str); 6] = [
    ("off", "not a level; did you mean off?"),
    ("error", "not a level; did you mean error?"),
    ("warn", "not a level; did you mean warn?"),
    ("info", "not a level; did you mean info?"),
    ("debug", "not a level; did you mean debug?"),
    ("trace", "not a level; did you mean trace?"),
];

/// Names that other programs use for levels.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("none", "off"),
    ("no", "off"),
    ("silent", "off"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("severe", "error"),
    ("warning", "warn"),
    ("information", "info"),
    ("notice", "info"),
    ("dbg", "debug"),
    ("all", "trace"),
];

/// The crates that log: ours, and those below it.
const CRATES: [&str; 12] = [
    "maxtalk",
    "actix",
    "actix_codec",
    "actix_http",
    "actix_rt",
    "actix_server",
    "actix_service",
    "actix_tls",
    "actix_web",
    "awc",
    "mio",
    "rustls",
];

/// Checks a filter.
///
/// # Errors
/// A few words that say what is wrong.
pub(super) fn check(filter: &str) -> Result<(), &'static str> {
    let (directives, needle) = filter.split_once('/').map_or((filter, None), |(before, needle)| (before, Some(needle)));
    let directives = directives.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let directives = directives.map(|directive| match directive.split_once('=') {
        Some((name, level)) => (name, Some(level.trim())),
        None => (directive, None),
    });
    let directives = directives.collect::<Vec<_>>();
    if directives.is_empty() && needle.is_none() {
        return Err("not a filter");
    }
    // A filter with a level for all modules logs something in any case.
    let for_all = directives.iter().any(|(name, level)| level.is_none() && is_level(name));
    directives.into_iter().try_for_each(|(name, level)| check_directive(name, level, for_all))?;
    env_filter::Builder::new().try_parse(filter).map(drop).map_err(|_| "not a filter")
}

fn check_directive(name: &str, level: Option<&str>, for_all: bool) -> Result<(), &'static str> {
    match level {
        None if is_level(name) => return Ok(()),
        None => meant_level(name).map_or(Ok(()), Err)?,
        Some(level) if level.is_empty() || is_level(level) => {}
        Some(level) => return Err(meant_level(level).unwrap_or("not a level")),
    }
    let part_of_path = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !name.split("::").all(part_of_path) {
        return Err("not the name of a module");
    }
    let root = name.split("::").next().unwrap_or_default();
    if CRATES.contains(&root) {
        Ok(())
    } else if nearest(root, ["maxtalk"]).is_some() {
        Err("not a module that logs; did you mean maxtalk?")
    } else if is_level(root) || (level.is_none() && root == name && !for_all) {
        Err("neither a level nor a module that logs")
    } else {
        Ok(())
    }
}

fn is_level(word: &str) -> bool {
    word.parse::<LevelFilter>().is_ok()
}

/// The message for a word that is almost a level, or that other programs use for one.
fn meant_level(word: &str) -> Option<&'static str> {
    let letters = letters(word);
    let elsewhere = OTHER_NAMES.iter().find(|(name, _)| *name == letters).map(|(_, level)| *level);
    let level = elsewhere.or_else(|| nearest(word, LEVELS.map(|(level, _)| level)))?;
    LEVELS.iter().find(|(name, _)| *name == level).map(|(_, fault)| *fault)
}
