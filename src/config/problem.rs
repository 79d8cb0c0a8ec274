//! The problems that a configuration can have, as values. Each names the key, its source and the allowed values, and
//! holds no secret.

use std::fmt;

use super::raw::Source;

/// All problems of a configuration, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub Vec<Problem>);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let end_of_line = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not TOML.
    #[error("{origin}: not TOML: {message}")]
    Syntax {
        /// The place in the file.
        origin: Source,
        /// The message of the parser.
        message: String,
    },
    /// There is no such setting or section.
    #[error("{key} ({origin}): unknown key; allowed: {allowed}{}", hint(meant))]
    UnknownKey {
        /// The key, as `section.key`.
        key: String,
        /// The source that gives it.
        origin: Source,
        /// The settings of the section, or the sections.
        allowed: String,
        /// The key that was probably meant.
        meant: Option<String>,
    },
    /// An environment variable has our prefix, but names no setting.
    #[error("{origin}: names no setting{}", hint(meant))]
    UnknownVariable {
        /// The variable.
        origin: Source,
        /// The variable that was probably meant.
        meant: Option<String>,
    },
    /// A value is not allowed.
    #[error("{key} = {shown} ({origin}): {fault}; allowed: {allowed}")]
    Value {
        /// The setting, as `section.key`.
        key: String,
        /// The value without secrets.
        shown: String,
        /// The source that gives it.
        origin: Source,
        /// A few words that say what is wrong.
        fault: &'static str,
        /// A description of the allowed values.
        allowed: String,
    },
    /// A setting is read only at the start.
    #[error("{key}: holds until the next start; while the server runs, these may be changed: {allowed}")]
    NotLive {
        /// The setting, as `section.key`.
        key: String,
        /// The settings that may be changed while the server runs.
        allowed: String,
    },
    /// Each of several settings is allowed by itself, but not all of them together.
    #[error("{}: {why}", settings.join(", "))]
    Combination {
        /// The settings with their values and sources.
        settings: Vec<String>,
        /// The rule that they break.
        why: String,
    },
}

fn hint(meant: &Option<String>) -> String {
    meant.as_ref().map_or(String::new(), |meant| format!("; did you mean {meant}?"))
}
