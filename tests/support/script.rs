//! The fault lab: a peer on a raw TCP socket that plays a short script, byte for byte. It is a server, such as a MAX
//! with a fault, or a client.
//!
//! A script has one step per line; `#` begins a comment line. Text is quoted, with the escapes `\r \n \t \0 \" \\
//! \x7f`. Durations are `300ms` or `2s`.
//!
//! | step | does |
//! | --- | --- |
//! | `connection:` | begins the steps of the next connection; the last such part serves all later ones |
//! | `send "TEXT"`, `send 40 * "TEXT"` | writes the text, this many times |
//! | `... every 10ms` | writes the repetitions one by one, at this interval |
//! | `... for 2s` | instead of a number of repetitions: writes for this time |
//! | `... or closed` | does not fail if the other side closes or takes no more |
//! | `expect "TEXT"`, `expect 40 * "TEXT"` | reads until the text has come, this many times, and ignores other bytes |
//! | `expect head` | reads one HTTP head, up to its empty line |
//! | `expect close` | reads until the other side has closed or reset, and ignores all bytes |
//! | `expect nothing for 200ms` | fails if a byte or a close comes within this time |
//! | `pause 300ms` | waits |
//! | `say NAME` | tells the test: it waits with [`Peer::said`] |
//! | `wait NAME` | waits for the test, which calls [`Peer::tell`] |
//! | `shutdown`, `close`, `reset` | closes the writing side, the socket, or the socket by a reset |
//! | `again` | repeats the steps of this connection |
//!
//! At the end of a script its connection is closed by a FIN.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::DEADLINE;

/// A peer that plays a script. Its threads end with their connections, its listener with the process.
pub struct Peer {
    addr: SocketAddr,
    state: watch::Sender<State>,
}

/// The events so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The heads read by `expect head`, in order, each with the number of its connection from 0.
    pub heads: Vec<(usize, String)>,
    /// The number of connections that have begun.
    pub connections: usize,
    /// How each finished connection ended: all bytes read, or the failed line and its error.
    pub ends: Vec<Result<Vec<u8>, String>>,
    said: Vec<String>,
    told: Vec<String>,
}

impl Peer {
    /// Starts a server with this script on a port of its own on 127.0.0.1.
    pub fn listen(script: &str) -> Self {
        Self::listen_on("127.0.0.1:0".parse().unwrap(), script)
    }

    /// Starts a server with this script at an address of the test's choice.
    pub fn listen_on(addr: SocketAddr, script: &str) -> Self {
        let parts = parse(script).unwrap_or_else(|fault| panic!("{fault}"));
        let listener = TcpListener::bind(addr).unwrap();
        let peer = Self { addr: listener.local_addr().unwrap(), state: watch::Sender::default() };
        let state = peer.state.clone();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                start(stream, parts[connection.min(parts.len() - 1)].clone(), connection, state.clone());
            }
        });
        peer
    }

    /// Starts a client of `addr` with this script, which has one part.
    pub fn connect(addr: SocketAddr, script: &str) -> Self {
        let part = parse(script).unwrap_or_else(|fault| panic!("{fault}")).remove(0);
        let peer = Self { addr, state: watch::Sender::default() };
        start(TcpStream::connect(addr).unwrap(), part, 0, peer.state.clone());
        peer
    }

    /// The address that it listens on or is connected to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The events so far.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Lets one `wait NAME` continue.
    pub fn tell(&self, name: &str) {
        self.state.send_modify(|state| state.told.push(name.to_owned()));
    }

    /// Waits until `say NAME` has been reached `times` times.
    pub async fn said(&self, name: &str, times: usize) {
        let so_often = |state: &State| state.said.iter().filter(|said| *said == name).count() >= times;
        self.until(name, so_often).await;
    }

    /// Waits until the state satisfies `has_happened`.
    pub async fn until(&self, what: &str, has_happened: impl Fn(&State) -> bool) -> State {
        let mut state = self.state.subscribe();
        let reached = async { state.wait_for(|state| has_happened(state)).await.unwrap().clone() };
        super::within(what, reached).await
    }

    /// Waits for the end of a client's script. Returns all bytes read.
    pub async fn end(&self) -> Result<Vec<u8>, String> {
        self.until("the end of the script", |state| !state.ends.is_empty()).await.ends.remove(0)
    }
}

/// Checks that a script can be parsed.
///
/// # Errors
/// The number of the bad line, and the line.
pub fn check(script: &str) -> Result<(), String> {
    parse(script).map(drop)
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Send { text: Vec<u8>, times: usize, every: Option<Duration>, lasting: Option<Duration>, or_closed: bool },
    Expect { text: Vec<u8>, times: usize },
    ExpectHead,
    ExpectClose,
    ExpectNothing(Duration),
    Pause(Duration),
    Say(String),
    Wait(String),
    Shutdown,
    Close,
    Reset,
    Again,
}

/// Returns the steps of each connection, with their line numbers.
fn parse(script: &str) -> Result<Vec<Vec<(usize, Step)>>, String> {
    let mut parts = vec![Vec::new()];
    for (number, line) in (1..).zip(script.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "connection:" {
            if parts.last().is_some_and(|part| !part.is_empty()) {
                parts.push(Vec::new());
            }
            continue;
        }
        let step = step(line).ok_or_else(|| format!("line {number}: no such step: {line}"))?;
        parts.last_mut().unwrap().push((number, step));
    }
    Ok(parts)
}

fn step(line: &str) -> Option<Step> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some(match (verb, rest) {
        ("send", _) => {
            let (times, text, mut rest) = repeated(rest)?;
            let (mut every, mut lasting) = (None, None);
            let or_closed = rest.ends_with("or closed");
            rest = rest.strip_suffix("or closed").unwrap_or(rest).trim();
            while let Some((word, value)) = rest.split_once(' ') {
                let (value, more) = value.split_once(' ').unwrap_or((value, ""));
                *match word {
                    "every" => &mut every,
                    "for" => &mut lasting,
                    _ => return None,
                } = Some(duration(value)?);
                rest = more;
            }
            let times = if lasting.is_some() { usize::MAX } else { times };
            rest.is_empty().then_some(Step::Send { text, times, every, lasting, or_closed })?
        }
        ("expect", "head") => Step::ExpectHead,
        ("expect", "close") => Step::ExpectClose,
        ("expect", _) if rest.starts_with("nothing for ") => Step::ExpectNothing(duration(&rest[12..])?),
        ("expect", _) => {
            let (times, text, rest) = repeated(rest)?;
            rest.is_empty().then_some(Step::Expect { text, times })?
        }
        ("pause", _) => Step::Pause(duration(rest)?),
        ("say", name) if !name.is_empty() => Step::Say(name.to_owned()),
        ("wait", name) if !name.is_empty() => Step::Wait(name.to_owned()),
        ("shutdown", "") => Step::Shutdown,
        ("close", "") => Step::Close,
        ("reset", "") => Step::Reset,
        ("again", "") => Step::Again,
        _ => return None,
    })
}

/// Parses `"TEXT"` or `40 * "TEXT"`. Returns the number, the text, and the rest of the line.
fn repeated(rest: &str) -> Option<(usize, Vec<u8>, &str)> {
    let (times, quoted) = match rest.split_once('"')? {
        ("", quoted) => (1, quoted),
        (times, quoted) => (times.trim().strip_suffix('*')?.trim().parse().ok()?, quoted),
    };
    let (mut text, mut chars) = (Vec::new(), quoted.char_indices());
    while let Some((at, char)) = chars.next() {
        let byte = match char {
            '"' => return Some((times, text, quoted[at + 1..].trim())),
            '\\' => match chars.next()?.1 {
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                '0' => 0,
                'x' => {
                    let start = chars.next()?.0;
                    chars.next()?;
                    u8::from_str_radix(quoted.get(start..start + 2)?, 16).ok()?
                }
                same @ ('"' | '\\') => same as u8,
                _ => return None,
            },
            char => {
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        text.push(byte);
    }
    None
}

fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

fn start(stream: TcpStream, part: Vec<(usize, Step)>, connection: usize, state: watch::Sender<State>) {
    state.send_modify(|state| state.connections += 1);
    thread::spawn(move || {
        let _ = stream.set_nodelay(true);
        let mut player = Player { stream, heard: Vec::new(), passed: 0, connection, state };
        let mut at = 0;
        let mut fault = None;
        while let Some((line, step)) = part.get(at) {
            at = if *step == Step::Again { 0 } else { at + 1 };
            match player.play(step) {
                Ok(true) => {}
                Ok(false) => break,
                Err(what) => {
                    fault = Some(format!("line {line}: {what}"));
                    break;
                }
            }
        }
        let Player { stream, heard, state, .. } = player;
        // The test must not see the end before the socket is closed.
        drop(stream);
        state.send_modify(|state| state.ends.push(fault.map_or(Ok(heard), Err)));
    });
}

struct Player {
    stream: TcpStream,
    /// All bytes read.
    heard: Vec<u8>,
    /// How many of them earlier steps have used.
    passed: usize,
    connection: usize,
    state: watch::Sender<State>,
}

impl Player {
    /// Plays a step. Returns whether the script goes on.
    fn play(&mut self, step: &Step) -> Result<bool, String> {
        match step {
            Step::Send { text, times, every, lasting, or_closed } => {
                let until = lasting.map(|lasting| Instant::now() + lasting);
                match self.send(text, *times, *every, until) {
                    Err(_) if *or_closed => {}
                    sent => sent?,
                }
            }
            Step::Expect { text, times } => (0..*times).try_for_each(|_| self.expect(text).map(drop))?,
            Step::ExpectHead => {
                let head = self.expect(b"\r\n\r\n")?;
                let head = (self.connection, String::from_utf8_lossy(&head).into_owned());
                self.state.send_modify(|state| state.heads.push(head));
            }
            Step::ExpectClose => while self.read(DEADLINE)?.ok_or("nothing came, and no close")? > 0 {},
            Step::ExpectNothing(time) => match self.read(*time)? {
                None => {}
                Some(0) => return Err("closed".to_owned()),
                Some(_) => return Err(format!("{:?} came", String::from_utf8_lossy(&self.heard[self.passed..]))),
            },
            Step::Pause(time) => thread::sleep(*time),
            Step::Say(name) => self.state.send_modify(|state| state.said.push(name.clone())),
            Step::Wait(name) => self.wait(name)?,
            Step::Shutdown => self.stream.shutdown(Shutdown::Write).map_err(|error| error.to_string())?,
            Step::Close => return Ok(false),
            Step::Reset => {
                let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                return linger.map(|()| false).map_err(|error| error.to_string());
            }
            Step::Again => {}
        }
        Ok(true)
    }

    fn send(
        &mut self,
        text: &[u8],
        times: usize,
        every: Option<Duration>,
        until: Option<Instant>,
    ) -> Result<(), String> {
        // Small repetitions are written together, for speed.
        let together = if every.is_some() { 1 } else { (65536 / text.len().max(1)).clamp(1, times) };
        let block = text.repeat(together);
        let mut left = times;
        while left > 0 && until.is_none_or(|until| Instant::now() < until) {
            let count = together.min(left);
            let patience = until.map_or(DEADLINE, |until| until.saturating_duration_since(Instant::now()));
            self.stream.set_write_timeout(Some(patience.max(Duration::from_millis(1)))).unwrap();
            match self.stream.write_all(&block[..count * text.len()]) {
                Err(error) if until.is_some() && is_late(error.kind()) => return Ok(()),
                written => written.map_err(|error| format!("cannot send: {error}"))?,
            }
            left -= count;
            if let Some(pause) = every.filter(|_| left > 0) {
                thread::sleep(pause);
            }
        }
        Ok(())
    }

    /// Reads up to the end of `text`.
    fn expect(&mut self, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut from = self.passed;
        loop {
            if let Some(at) = memchr::memmem::find(&self.heard[from..], text) {
                let read = self.heard[self.passed..from + at + text.len()].to_vec();
                self.passed = from + at + text.len();
                return Ok(read);
            }
            from = (self.heard.len() + 1).saturating_sub(text.len()).max(self.passed);
            let came = self.read(DEADLINE)?;
            if came.unwrap_or(0) == 0 {
                let how = if came.is_none() { "does not come" } else { "did not come before the close" };
                let rest = String::from_utf8_lossy(&self.heard[self.passed..]);
                return Err(format!("{:?} {how}, but {rest:?}", String::from_utf8_lossy(text)));
            }
        }
    }

    /// Reads available bytes, waiting up to `time`. Returns their number, 0 at the end; `None` if none came.
    fn read(&mut self, time: Duration) -> Result<Option<usize>, String> {
        let mut buffer = [0; 65536];
        self.stream.set_read_timeout(Some(time)).unwrap();
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.heard.extend_from_slice(&buffer[..count]);
                Ok(Some(count))
            }
            Err(error) if is_late(error.kind()) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(Some(0)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn wait(&self, name: &str) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            let taken = self.state.send_if_modified(|state| match state.told.iter().position(|told| told == name) {
                Some(at) => {
                    state.told.remove(at);
                    true
                }
                None => false,
            });
            if taken {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(format!("{name} was not told"))
    }
}

/// The two errors that systems report for a timeout.
fn is_late(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
