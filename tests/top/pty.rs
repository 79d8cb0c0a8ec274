//! The program in a pseudo-terminal, with an emulator in place of a screen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{self, Pts, Pty};
use rustix::termios::{LocalModes, tcgetattr};
use vt100::Parser;

use crate::support::DEADLINE;
use crate::support::process::end_of;

/// A program in a terminal. It is killed when dropped.
pub struct InPty {
    pub child: Child,
    parser: Parser,
    pty: Pty,
    output: Receiver<Vec<u8>>,
    /// All that was written to the terminal.
    pub written: Vec<u8>,
    /// Held open, so that the terminal outlives the program.
    _pts: Pts,
}

impl InPty {
    /// Starts a command in a terminal of this size.
    pub fn start(command: Command, (columns, lines): (u16, u16)) -> Self {
        let (pty, pts) = blocking::open().unwrap();
        pty.resize(Size::new(lines, columns)).unwrap();
        let mut command = blocking::Command::from(command).env("TERM", "xterm-256color");
        let child = command.spawn_borrowed(&pts).unwrap();
        let mut reader = File::from(pty.as_fd().try_clone_to_owned().unwrap());
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, parser: parser(columns, lines), pty, output, written: Vec::new(), _pts: pts }
    }

    /// Writes keys, as the terminal would.
    pub fn press(&mut self, keys: &str) {
        (&self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, (columns, lines): (u16, u16)) {
        self.pty.resize(Size::new(lines, columns)).unwrap();
        self.parser.screen_mut().set_size(NonZeroU16::new(lines).unwrap(), NonZeroU16::new(columns).unwrap());
    }

    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Waits until the screen is as it should be. Returns its text, in which spaces and ends of lines count
    /// as one space.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&vt100::Screen, &str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = text(self.parser.screen());
            if is_so(self.parser.screen(), &text) {
                return text;
            }
            let Ok(bytes) = self.output.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) else {
                panic!("{what}: not within {DEADLINE:?}:\n{}", self.parser.screen().contents())
            };
            self.parser.process(&bytes);
            self.written.extend(bytes);
        }
    }

    /// Waits until the screen shows all of these texts. Spaces and ends of lines count as one space.
    pub fn shows(&mut self, texts: &[&str]) -> String {
        self.until(&format!("{texts:?}"), |_, screen| texts.iter().all(|text| screen.contains(text)))
    }

    /// Returns whether a line of the screen that contains `text` is grey.
    pub fn is_grey(screen: &vt100::Screen, text: &str) -> bool {
        let (lines, columns) = (screen.size().0.get(), screen.size().1.get());
        let line = (0..lines).find(|line| screen.rows(0, columns).nth((*line).into()).unwrap().contains(text));
        let cells = |line| (0..columns).filter_map(move |column| screen.cell(line, column));
        line.is_some_and(|line| cells(line).filter(|cell| cell.contents().trim() != "").all(vt100::Cell::dim))
    }

    /// Waits for the end of the program, which has to leave the terminal as it was before.
    pub fn end(&mut self) -> ExitStatus {
        let (status, _) = end_of(&mut self.child);
        self.until("the restored terminal", |screen, _| !screen.alternate_screen() && !screen.hide_cursor());
        let modes = tcgetattr(&self.pty).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{modes:?}");
        status
    }
}

impl Drop for InPty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parser(columns: u16, lines: u16) -> Parser {
    Parser::new(NonZeroU16::new(lines).unwrap(), NonZeroU16::new(columns).unwrap(), 0)
}

fn text(screen: &vt100::Screen) -> String {
    let lines: Vec<_> = screen.rows(0, screen.size().1.get()).collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}
