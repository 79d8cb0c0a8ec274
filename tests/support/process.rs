//! The program as a process: its log and its end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::DEADLINE;

/// A running maxtalk whose standard error is read. It is killed when dropped.
pub struct Process {
    pub child: Child,
    /// The lines of its standard error, from a thread that reads them.
    lines: Receiver<String>,
    /// The lines read so far.
    pub log: Vec<String>,
}

/// A command that runs the program without this process's environment.
pub fn maxtalk(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maxtalk"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // The tests run many servers at the same time.
    command.env("MAXTALK_ADMIN__LISTEN", "");
    command
}

/// Returns this command, run by a shell that first does what a script says. The script ends with `exec "$0" "$@"` and
/// what it redirects.
pub fn by_shell(script: &str, program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program.get_program()).args(program.get_args()).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Sends a signal: `TERM` or `INT`.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", "kill -$0 $1", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end of a process. Returns its status and how long the end took; a process that does not end is killed.
pub fn end_of(child: &mut Child) -> (ExitStatus, Duration) {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, begun.elapsed());
        }
        if begun.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("it did not end within {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, lines, log: Vec::new() }
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn says(&mut self, text: &str) -> String {
        if let Some(line) = self.log.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let begun = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
            self.log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("{text:?} was not said, but {:#?}", self.log);
    }

    /// Waits until so many lines contain `text`.
    pub fn says_times(&mut self, text: &str, times: usize) {
        let begun = Instant::now();
        while self.log.iter().filter(|line| line.contains(text)).count() < times {
            match self.lines.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
                Ok(line) => self.log.push(line),
                Err(_) => panic!("{text:?} was not said {times} times, but {:#?}", self.log),
            }
        }
    }

    /// Waits for the address that it listens on.
    pub fn addr(&mut self) -> SocketAddr {
        let line = self.says("listening on http://");
        line.rsplit("http://").next().unwrap().parse().unwrap()
    }

    /// Waits for its end. Its whole output is then in `log`.
    pub fn end(&mut self) -> (ExitStatus, Duration) {
        let end = end_of(&mut self.child);
        while let Ok(line) = self.lines.recv() {
            self.log.push(line);
        }
        end
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the resident memory of a process, in MiB.
pub fn resident_mib(server: &Process) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.child.id())).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / (1 << 20)
}

/// Reads to the end on a thread, so that the writer never waits.
pub fn read(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}
