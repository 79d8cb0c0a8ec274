//! `maxtalk top` for scripts: the picture as text, and the overviews as JSON.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use ratatui::crossterm::terminal;

use super::state::State;
use super::view;
use super::watch::Watch;
use crate::remote::caller::CallError;
use crate::remote::text::json;

/// The width of a picture where standard output is no terminal, in characters.
const COLUMNS: u16 = 80;

/// Why a script gets nothing more.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Prints one picture as text.
///
/// # Errors
/// See [`ScriptError`].
pub async fn picture(mut watch: Watch, server: String) -> Result<(), ScriptError> {
    let (_, picture) = watch.look().await?;
    let mut state = State::new(server);
    state.answered(picture);
    let columns = match terminal::size() {
        Ok((columns, _)) if io::stdout().is_terminal() => columns.max(view::COLUMNS_MIN),
        _ => COLUMNS,
    };
    print(&view::text(&mut state, Instant::now(), columns))?;
    Ok(())
}

/// Prints overviews as JSON, one a line: one of them, or one in each interval until nobody reads them any more. A
/// server that is gone for a while is awaited, but not at the first time.
///
/// # Errors
/// See [`ScriptError`].
pub async fn lines(mut watch: Watch, is_once: bool) -> Result<(), ScriptError> {
    let mut had_answer = false;
    let mut was_missed = false;
    loop {
        let begun = Instant::now();
        match watch.look().await {
            Ok((value, _)) => {
                (had_answer, was_missed) = (true, false);
                if !print(&(json(&value) + "\n"))? || is_once {
                    return Ok(());
                }
            }
            Err(error) if !had_answer => return Err(error.into()),
            Err(error) => {
                if !was_missed {
                    // If this fails, the lines that are missing say the same.
                    let _ = writeln!(io::stderr(), "maxtalk: {error}");
                }
                was_missed = true;
            }
        }
        tokio::time::sleep_until(watch.next(begun, Instant::now()).into()).await;
    }
}

/// Writes to standard output. Returns whether somebody still reads it.
fn print(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
