//! `maxtalk top` in a terminal. Three threads bring events to this one, which owns the terminal: one reads keys, one
//! looks at the server, and one receives signals.

use std::env;
use std::io;
use std::panic;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyEvent};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::disable_raw_mode;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::palette::Palette;
use super::reading::Picture;
use super::state::State;
use super::view;
use super::watch::Watch;
use crate::remote::address::Remote;
use crate::remote::caller;

/// Events that may wait; a thread with one more waits itself.
const EVENTS_MAX: usize = 64;

/// How often the picture is drawn while nothing happens, so that it counts the seconds to the next attempt.
const DRAW_INTERVAL: Duration = Duration::from_millis(500);

/// How long the end may take after a signal. A terminal that takes no output may hold it up.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The exit code of a panic.
const PANICKED: i32 = 101;

/// An event for the thread of the terminal.
enum Event {
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    Answer(Box<Picture>),
    /// The server did not answer, and is asked again at this time.
    Failed(String, Instant),
    /// A signal to end, with the exit code for it.
    Signal(u8),
    /// The keys cannot be read any more.
    Ended(io::Error),
}

/// Shows the server until a key or a signal ends it. Returns the exit code. The terminal is then as it was before.
///
/// # Errors
/// The system refuses a thread or the terminal.
pub fn run(remote: Remote, interval: Duration) -> io::Result<u8> {
    let (sender, events) = sync_channel(EVENTS_MAX);
    let mut state = State::new(remote.base.to_string());
    // Before the terminal is changed, so that no signal finds it changed and nobody to restore it.
    listen(sender.clone())?;
    let mut screen = Screen::open()?;
    let keys = sender.clone();
    thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&keys))?;
    thread::Builder::new().name("server".to_owned()).spawn(move || look(remote, interval, &sender))?;
    show(&mut screen, &mut state, &events)
}

/// The terminal while the program has it.
struct Screen {
    terminal: DefaultTerminal,
    palette: Palette,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let colors = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        // From here on a panic restores the terminal before it is told.
        let terminal = ratatui::try_init().inspect_err(|_| restore())?;
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            told(info);
            // A picture that misses one of its threads would not change any more.
            process::exit(PANICKED);
        }));
        Ok(Self { terminal, palette: Palette { colors } })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal. If that fails, there is nothing else to restore it with.
fn restore() {
    let _ = ratatui::try_restore();
    let _ = execute!(io::stdout(), Show);
}

fn show(screen: &mut Screen, state: &mut State, events: &Receiver<Event>) -> io::Result<u8> {
    loop {
        let palette = screen.palette;
        screen.terminal.draw(|frame| view::draw(state, Instant::now(), palette, frame.area(), frame.buffer_mut()))?;
        let mut event = match events.recv_timeout(DRAW_INTERVAL) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(0),
        };
        // All that wait are done before the next picture.
        while let Some(next) = event {
            match next {
                Event::Key(key) => state.press(key),
                Event::Resized => {}
                Event::Answer(picture) => state.answered(*picture),
                Event::Failed(reason, next) => state.failed(reason, next),
                Event::Signal(code) => return Ok(code),
                Event::Ended(error) => return Err(error),
            }
            if state.is_done {
                return Ok(0);
            }
            event = events.try_recv().ok();
        }
    }
}

fn read_keys(events: &SyncSender<Event>) {
    loop {
        let event = match event::read() {
            Ok(TerminalEvent::Key(key)) if !key.is_release() => Event::Key(key),
            Ok(TerminalEvent::Resize(..)) => Event::Resized,
            Ok(_) => continue,
            Err(error) => {
                let _ = events.send(Event::Ended(error));
                return;
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn look(remote: Remote, interval: Duration, events: &SyncSender<Event>) {
    let looks = async {
        let mut watch = Watch::new(remote, interval);
        loop {
            let begun = Instant::now();
            let looked = watch.look().await;
            let next = watch.next(begun, Instant::now());
            let event = match looked {
                Ok((_, picture)) => Event::Answer(Box::new(picture)),
                Err(error) => Event::Failed(error.reason(), next),
            };
            if events.send(event).is_err() {
                return;
            }
            tokio::time::sleep_until(next.into()).await;
        }
    };
    if let Err(error) = caller::run(looks) {
        let _ = events.send(Event::Ended(error));
    }
}

/// Starts to receive the signals that end a program.
fn listen(events: SyncSender<Event>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
    let [mut hang_up, mut interrupt, mut terminate]: [Signal; 3] = match kinds.map(signal) {
        [Ok(one), Ok(two), Ok(three)] => [one, two, three],
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => return Err(error),
    };
    drop(_context);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = hang_up.recv() => 129,
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        });
        let _ = events.try_send(Event::Signal(code));
        thread::sleep(END_TIMEOUT);
        // The terminal takes no output, but its mode can be restored.
        let _ = disable_raw_mode();
        process::exit(code.into());
    })?;
    Ok(())
}
