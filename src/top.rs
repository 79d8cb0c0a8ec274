//! `maxtalk top`: a running server in a terminal, from the overview of its admin API.
//!
//! * `watch`: looks at the server; `reading`: from its JSON to a picture.
//! * `state`: the keys and the picture; pure.
//! * `view`: from the state to the screen; pure. `table` draws tables, `columns` has theirs, `figures` the forms of
//!   figures, `palette` the looks.
//! * `screen`: the terminal; `script`: text and JSON for scripts.

mod columns;
mod figures;
mod palette;
mod reading;
#[cfg(test)]
mod samples;
mod screen;
mod script;
mod state;
mod table;
mod view;
mod watch;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;

use self::script::ScriptError;
use self::watch::Watch;
use crate::remote::address::{Access, Remote};
use crate::remote::caller;

/// Shortest and longest interval, in seconds.
const INTERVAL_S: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

/// The options of `maxtalk top`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct TopOptions {
    /// The way to the server.
    #[command(flatten)]
    pub access: Access,
    /// Print one picture as text, and end
    #[arg(long)]
    pub once: bool,
    /// Print the figures as JSON, one line in each interval, or one line with --once
    #[arg(long)]
    pub json: bool,
    /// Seconds between two looks at the server
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    pub interval: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| INTERVAL_S.contains(seconds));
    let allowed = || format!("allowed: seconds from {} to {}", INTERVAL_S.start(), INTERVAL_S.end());
    seconds.map(Duration::from_secs_f64).ok_or_else(allowed)
}

/// Why `maxtalk top` shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Standard output is no terminal, and no form for scripts is asked for.
    #[error("standard output is no terminal: use \"maxtalk top --once\" for one picture as text, or --json for JSON")]
    NoTerminal,
    /// There is no picture for a script.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The system refuses a thread, or the terminal.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

impl TopError {
    /// Returns whether the command line asks for something that cannot be.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoTerminal)
    }
}

impl TopOptions {
    /// Checks that what these options ask for can be shown here.
    ///
    /// # Errors
    /// Standard output is no terminal.
    pub fn check(&self) -> Result<(), TopError> {
        if self.once || self.json || io::stdout().is_terminal() { Ok(()) } else { Err(TopError::NoTerminal) }
    }
}

/// Shows a server. Returns the exit code.
///
/// # Errors
/// See [`TopError`].
pub fn run(remote: Remote, options: &TopOptions) -> Result<u8, TopError> {
    options.check()?;
    if !options.once && !options.json {
        return Ok(screen::run(remote, options.interval)?);
    }
    let script = async {
        let server = remote.base.to_string();
        let watch = Watch::new(remote, options.interval);
        if options.json { script::lines(watch, options.once).await } else { script::picture(watch, server).await }
    };
    caller::run(script)??;
    Ok(0)
}
