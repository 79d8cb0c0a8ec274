//! A server that is started for the run, and ends with it.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::CONNECT_TIMEOUT;
use super::scrape::{LISTENER, Scraper};
use crate::config;
use crate::directory::demo::MOUNT;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may take to stop: more than `server.stop_ms` is by default.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which conditions without an event are checked.
const POLL: Duration = Duration::from_millis(5);
/// Settings that a child does not inherit: it asks its own demo MAX, and stops at once.
const NOT_INHERITED: [&str; 8] = [
    "MAX__URL",
    "MAX__CA_FILE",
    "MAX__TOKENLESS_JOINS",
    "MAX__SERVICE_USERNAME",
    "MAX__SERVICE_TOKEN",
    "SERVER__DRAIN_MS",
    "ADMIN__TOKEN",
    "ADMIN__ANNOUNCE_TOKEN",
];
/// An address on loopback whose port the system chooses.
const LOOPBACK: &str = "127.0.0.1:0";
/// Number of log lines that are kept to explain a failure of the server.
const LAST_LINES: usize = 20;

/// A setting of a server, such as `server.workers`, and its value.
pub type Set = (&'static str, String);

/// A server of this program, on loopback and a port of its own. It stops when its standard input ends. This process
/// holds the other end, so the server stops on drop, and also when this process ends, however that happens.
#[derive(Debug)]
pub struct Child {
    child: process::Child,
    addr: SocketAddr,
    metrics: Option<Scraper>,
    chosen: Vec<String>,
    last_lines: LastLines,
    /// The thread that reads the log until the server ends.
    reader: Option<JoinHandle<()>>,
}

type LastLines = Arc<Mutex<VecDeque<String>>>;

/// Why there is no server, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The path of this program is unknown.
    #[error("this program is not to be found: {0}")]
    NoProgram(#[source] io::Error),
    /// The program cannot be started.
    #[error("{} cannot be started: {cause}", .program.display())]
    NoStart {
        /// The program.
        program: PathBuf,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// No thread can read the log of the server.
    #[error("no thread for the log of the server: {0}")]
    NoThread(#[source] io::Error),
    /// The server did not start, or failed later.
    #[error("{how}{}", last_words(.last_lines))]
    Over {
        /// The failure.
        how: How,
        /// The last lines of its log.
        last_lines: Vec<String>,
    },
}

/// How a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It did not say where it listens.
    Silent,
    /// It ended before it listened.
    NotStarted(Option<ExitStatus>),
    /// It listened, but did not answer.
    Deaf,
    /// It ended without being told to.
    Ended(ExitStatus),
    /// It was told to stop, and ended with a failure.
    Failed(ExitStatus),
    /// It was told to stop, did not, and was killed.
    Killed,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the server does not say where it listens"),
            Self::NotStarted(Some(status)) => write!(f, "the server did not start ({status})"),
            Self::NotStarted(None) => f.write_str("the server did not start"),
            Self::Deaf => f.write_str("the server listens but does not answer"),
            Self::Ended(status) => write!(f, "the server has ended ({status})"),
            Self::Failed(status) => write!(f, "the server failed at its end ({status})"),
            Self::Killed => f.write_str("the server did not stop, and was killed"),
        }
    }
}

fn last_words(lines: &[String]) -> String {
    let said = if lines.is_empty() { "; it said nothing" } else { "; its last words:" };
    lines.iter().fold(said.to_owned(), |text, line| text + "\n  " + line)
}

impl Child {
    /// Starts a server with these settings whose demo MAX has these people, and waits until it answers. It inherits the
    /// other settings in the environment of this process, such as `MAXTALK_SERVER__WORKERS`, except its listeners, its
    /// MAX and its log.
    ///
    /// # Errors
    /// The server does not start; the error has its last words.
    pub fn spawn(demo: &config::Demo, settings: &[Set]) -> Result<Self, ChildError> {
        let program = env::current_exe().map_err(ChildError::NoProgram)?;
        Self::start(&program, demo, settings)
    }

    /// Starts the server of another program.
    ///
    /// # Errors
    /// Those of [`spawn`](Self::spawn).
    pub fn start(program: &Path, demo: &config::Demo, settings: &[Set]) -> Result<Self, ChildError> {
        let mut command = Command::new(program);
        command.args(["serve", "--until-eof"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A Ctrl-C is for the bench alone, which still has to ask the server for its CPU time.
        command.process_group(0);
        let mut own = own(demo, |name| env::var_os(name).is_some());
        own.extend(settings.iter().map(|(key, value)| (variable_of(key), value.clone())));
        let inherited = inherited(&own);
        let chosen = shown(inherited.clone());
        command.env_clear().envs(inherited).envs(own);

        let no_start = |cause| ChildError::NoStart { program: program.to_owned(), cause };
        let mut child = command.spawn().map_err(no_start)?;
        let stderr = child.stderr.take();
        let (told, heard) = mpsc::channel();
        // From here on, a drop stops it.
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, addr, metrics: None, chosen, last_lines: LastLines::default(), reader: None };
        let last_lines = server.last_lines.clone();
        let read = move || stderr.into_iter().for_each(|stderr| read_log(stderr, &last_lines, &told));
        let reader = thread::Builder::new().name("server's log".to_owned()).spawn(read);
        server.reader = Some(reader.map_err(ChildError::NoThread)?);

        let deadline = Instant::now() + START_TIMEOUT;
        match heard.recv_timeout(START_TIMEOUT) {
            Ok((addr, metrics)) => (server.addr, server.metrics) = (addr, Some(metrics)),
            Err(RecvTimeoutError::Timeout) => return Err(server.over(How::Silent)),
            Err(RecvTimeoutError::Disconnected) => {
                let how = How::NotStarted(server.end(deadline));
                return Err(server.over(how));
            }
        }
        while !answers(server.addr) {
            if let Some(end) = server.ended() {
                return Err(end);
            }
            if Instant::now() > deadline {
                return Err(server.over(How::Deaf));
            }
            thread::sleep(POLL);
        }
        Ok(server)
    }

    /// Returns its URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the address where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its metrics.
    pub fn metrics(&self) -> Option<Scraper> {
        self.metrics
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the settings that it inherits from the environment of this process, as `key = value`, with secrets
    /// hidden.
    pub fn chosen(&self) -> &[String] {
        &self.chosen
    }

    /// Returns the error if it has ended without being told to.
    pub fn ended(&mut self) -> Option<ChildError> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(self.over(How::Ended(status)))
    }

    /// Stops the server, as a drop does.
    ///
    /// # Errors
    /// The server had ended before, did not stop in time and was killed, or ended with a failure.
    pub fn stop(mut self) -> Result<(), ChildError> {
        self.ended().map_or_else(|| self.terminate(), Err)
    }

    fn terminate(&mut self) -> Result<(), ChildError> {
        drop(self.child.stdin.take());
        match self.end(Instant::now() + STOP_TIMEOUT) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.over(How::Failed(status))),
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err(self.over(How::Killed))
            }
        }
    }

    /// Returns the exit status if it ends before `deadline`.
    fn end(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
                ended => return ended.ok().flatten(),
            }
        }
    }

    fn over(&mut self, how: How) -> ChildError {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            // The log of a process that has ended ends too: the last lines are worth the wait.
            self.reader.take().map(JoinHandle::join);
        }
        ChildError::Over { how, last_lines: self.last_lines.lock().iter().cloned().collect() }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // `stop` returns this error to those who need it.
        let _ = self.terminate();
    }
}

/// Returns the environment that a server for these people has, apart from settings of its own. The configuration that
/// it makes is the one that such a server has.
pub fn environment(demo: &config::Demo) -> Vec<(OsString, OsString)> {
    let own = own(demo, |name| env::var_os(name).is_some());
    let mut environment = inherited(&own);
    environment.extend(own.into_iter().map(|(name, value)| (name.into(), value.into())));
    environment
}

/// Returns the settings that a server for these people inherits from the environment of this process, as `key = value`,
/// with secrets hidden.
pub fn chosen(demo: &config::Demo) -> Vec<String> {
    shown(inherited(&own(demo, |name| env::var_os(name).is_some())))
}

/// Returns the environment of this process without the variables that a server does not inherit, and without its own.
fn inherited(own: &[(String, String)]) -> Vec<(OsString, OsString)> {
    let withheld = NOT_INHERITED.map(variable);
    let decided = |name: &OsString| withheld.iter().chain(own.iter().map(|(own, _)| own)).any(|it| name == it.as_str());
    env::vars_os().filter(|(name, _)| !decided(name)).collect()
}

/// Returns the environment that a server for these people must have: its listeners, its log, the people, and bounds on
/// joins that let all of them come at once. The events of one session have no bound, because each talker stands for
/// many. A bound whose variable is `chosen` already is left out.
fn own(demo: &config::Demo, chosen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut settings = vec![
        ("SERVER__LISTEN", LOOPBACK.to_owned()),
        (LISTENER, LOOPBACK.to_owned()),
        ("LOG__FILTER", "warn,maxtalk::server=info".to_owned()),
        ("DEMO__PEOPLE", demo.people.to_string()),
        ("DEMO__MEMBERS", demo.members.to_string()),
        ("DEMO__CONVERSATIONS_PER_PERSON", demo.conversations_per_person.to_string()),
        ("DEMO__ZIPF", demo.zipf.map_or(String::new(), |exponent| exponent.to_string())),
    ];
    let defaults = config::Config::default();
    for (key, default) in
        [("MAX__WAITING_MAX", defaults.max.waiting_max), ("MAILBOX__REGISTRY", defaults.mailbox.registry)]
    {
        if demo.people > default && !chosen(&variable(key)) {
            settings.push((key, demo.people.to_string()));
        }
    }
    for key in ["SESSION__EVENTS_PER_SECOND_MAX", "SESSION__BYTES_PER_SECOND_MAX"] {
        if !chosen(&variable(key)) {
            settings.push((key, "0".to_owned()));
        }
    }
    settings.into_iter().map(|(key, value)| (variable(key), value)).collect()
}

/// Returns the settings in an environment as the configuration shows them, with secrets hidden. Empty if one is
/// invalid: the server then refuses to start and says why.
fn shown(environment: Vec<(OsString, OsString)>) -> Vec<String> {
    let config = config::Config::load(config::Sources { environment, ..Default::default() });
    let settings = config.iter().flat_map(config::Config::changed);
    // All come from the environment, so the source is cut off.
    settings
        .map(|setting| setting.rsplit_once(" (").map_or_else(|| setting.clone(), |(setting, _)| setting.to_owned()))
        .collect()
}

fn variable(key: &str) -> String {
    format!("MAXTALK_{key}")
}

/// Returns the environment variable of a setting such as `server.workers`.
fn variable_of(key: &str) -> String {
    variable(&key.replacen('.', "__", 1).to_uppercase())
}

/// Reads the log until the server ends, and keeps its last lines. Sends the addresses of the listener for clients and
/// of the metrics when both are logged.
fn read_log(stderr: ChildStderr, last_lines: &Mutex<VecDeque<String>>, told: &Sender<(SocketAddr, Scraper)>) {
    let (mut addr, mut metrics, mut is_told) = (None, None, false);
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let listens = || line.rsplit_once("listening on http://").and_then(|(_, addr)| addr.parse().ok());
        (addr, metrics) = (addr.or_else(listens), metrics.or_else(|| Scraper::announced(&line)));
        if let Some(both) = addr.zip(metrics).filter(|_| !is_told) {
            // The receiver may have given up waiting.
            let _ = told.send(both);
            is_told = true;
        }
        let mut lines = last_lines.lock();
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Whether the demo MAX of a server answers.
fn answers(addr: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        stream
            .write_all(format!("GET {MOUNT}/info HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut status = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut status)?;
        Ok(status == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_given_bounds_that_its_people_need_but_where_others_were_chosen() {
        let demo =
            |people| config::Demo { public: false, people, members: 10, conversations_per_person: 3, zipf: Some(1.5) };
        let value = |settings: &[(String, String)], name: &str| {
            settings.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
        };
        let few = own(&demo(10), |_| false);
        assert_eq!(value(&few, "MAXTALK_DEMO__PEOPLE").as_deref(), Some("10"));
        assert_eq!(value(&few, "MAXTALK_DEMO__ZIPF").as_deref(), Some("1.5"));
        assert_eq!(value(&few, "MAXTALK_MAX__WAITING_MAX"), None);
        assert_eq!(value(&few, "MAXTALK_SESSION__EVENTS_PER_SECOND_MAX").as_deref(), Some("0"));
        let bounded = own(&demo(10), |name| name == "MAXTALK_SESSION__EVENTS_PER_SECOND_MAX");
        assert_eq!(value(&bounded, "MAXTALK_SESSION__EVENTS_PER_SECOND_MAX"), None);
        let many = own(&demo(100_000), |name| name == "MAXTALK_MAILBOX__REGISTRY");
        assert_eq!(value(&many, "MAXTALK_MAX__WAITING_MAX").as_deref(), Some("100000"));
        assert_eq!(value(&many, "MAXTALK_MAILBOX__REGISTRY"), None);
        let environment = many.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        config::Config::load(config::Sources { environment, ..Default::default() }).unwrap();
    }

    #[test]
    fn secrets_of_the_environment_are_not_shown() {
        let environment = [
            ("MAXTALK_SERVER__WORKERS", "1"),
            ("MAXTALK_MAX__SERVICE_USERNAME", "manager"),
            ("MAXTALK_MAX__SERVICE_TOKEN", "hunter2"),
            ("PATH", "/bin"),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into())).into();
        let expected = [r#"max.service_token = ***"#, r#"max.service_username = "manager""#, r#"server.workers = "1""#];
        assert_eq!(shown(environment), expected);
        assert_eq!(shown(vec![("MAXTALK_SERVER__WORKERS".into(), "-1".into())]), [""; 0]);
    }
}
