//! What can be wrong with a configuration, as values. Each names the key, where it came from and what is allowed; none
//! holds the text of a secret.

use std::fmt;

use super::raw::Source;

/// All that is wrong with a configuration, a line each.
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

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not TOML.
    #[error("{origin}: not TOML: {message}")]
    Syntax {
        /// The place in the file.
        origin: Source,
        /// What the parser says of it.
        message: String,
    },
    /// There is no such setting or section.
    #[error("{key} ({origin}): unknown key; allowed: {allowed}{}", hint(meant))]
    UnknownKey {
        /// What was named, as `section.key`.
        key: String,
        /// Where it was named.
        origin: Source,
        /// The settings of the section, or the sections.
        allowed: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A variable of the environment begins like ours, and there is no such setting.
    #[error("{origin}: names no setting{}", hint(meant))]
    UnknownVariable {
        /// The variable.
        origin: Source,
        /// The variable that was probably meant.
        meant: Option<String>,
    },
    /// The value of a setting is not one that it may have.
    #[error("{key} = {shown} ({origin}): {fault}; allowed: {allowed}")]
    Value {
        /// The setting, as `section.key`.
        key: String,
        /// The value, as it may be shown.
        shown: String,
        /// Where it was given.
        origin: Source,
        /// What is wrong with it.
        fault: &'static str,
        /// What it may be.
        allowed: String,
    },
    /// Settings that are right each by itself, but not together.
    #[error("{}: {why}", settings.join(", "))]
    Combination {
        /// The settings, each with value and source.
        settings: Vec<String>,
        /// What there must be between them.
        why: String,
    },
}

fn hint(meant: &Option<String>) -> String {
    meant.as_ref().map_or(String::new(), |meant| format!("; did you mean {meant}?"))
}
