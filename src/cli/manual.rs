//! The manual: a page for the program and for each command, made from the command line that clap parses.

use std::fs;
use std::io;
use std::path::Path;

use clap_mangen::Man;

use crate::version;

/// A page of the manual.
pub struct Page {
    /// The command, or `maxtalk` for the page of the program.
    pub command: String,
    /// The name of its file, such as `maxtalk-serve.1`.
    pub file: String,
    /// The page, in the language of roff.
    pub text: String,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ManError {
    /// There is no such command.
    #[error("{0:?} is not a command of maxtalk: \"maxtalk help\" lists them")]
    Unknown(String),
    /// A page cannot be written into its file.
    #[error("{path}: cannot be written: {cause}")]
    Unwritable {
        /// The path of the file.
        path: String,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The page cannot be made, or the system refuses the output.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ManError {
    /// Returns the exit code: 2 if the command line names no command, otherwise 1.
    pub fn code(&self) -> u8 {
        if matches!(self, Self::Unknown(_)) { 2 } else { 1 }
    }
}

/// Makes the pages of a command line: first that of the program, then one for each command.
///
/// # Errors
/// A page cannot be made.
pub fn pages(program: clap::Command) -> io::Result<Vec<Page>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    [&program].into_iter().chain(commands).map(|command| page(command.clone())).collect()
}

/// Writes each page into a file of its own.
///
/// # Errors
/// A file cannot be written.
pub fn write(pages: &[Page], dir: &Path) -> Result<(), ManError> {
    for page in pages {
        let path = dir.join(&page.file);
        fs::write(&path, &page.text)
            .map_err(|cause| ManError::Unwritable { path: path.display().to_string(), cause })?;
    }
    Ok(())
}

fn page(command: clap::Command) -> io::Result<Page> {
    let name = command.get_name().to_owned();
    let title = command.get_display_name().unwrap_or(&name).to_owned();
    let man = Man::new(command)
        .title(title.to_uppercase())
        .date(version::DATE.unwrap_or_default())
        .source(format!("maxtalk {}", version::VERSION))
        .manual("maxtalk");
    let mut text = Vec::new();
    man.render(&mut text)?;
    Ok(Page { command: name, file: format!("{title}.1"), text: String::from_utf8_lossy(&text).into_owned() })
}
