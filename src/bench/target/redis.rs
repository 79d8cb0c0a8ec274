//! A Redis that is started for a run over several nodes, on a Unix socket in a folder of its own, and ends with it.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::process::Process;

/// The programs that do, the first that is there.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to end, which it does by a kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may be silent while it is asked.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which conditions without an event are checked.
const POLL: Duration = Duration::from_millis(5);
/// Number of lines of its log that explain a failure.
const LAST_LINES: usize = 10;
/// Number of names that are tried for a folder.
const NAMES_MAX: usize = 100;
/// The shell between the bench and the Redis. Its standard input ends with the bench, however that ends. Then it kills
/// the Redis, which has nothing to keep, and removes the folder.
const SHELL: &str = r#"folder="$1"; shift
"$@" </dev/null >"$folder/log" 2>&1 &
echo "$!"
exec >/dev/null
read -r _
kill -9 "$!"
wait "$!"
rm -rf -- "$folder""#;

/// A Redis. It stops on drop, and also when this process ends.
#[derive(Debug)]
pub struct Redis {
    shell: process::Child,
    pid: u32,
    folder: PathBuf,
    version: String,
}

/// Why there is no Redis, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The program is not on the path.
    #[error(
        "several nodes need a Redis between them, and there is no redis-server or valkey-server on the PATH: install \
         one (apt-get install redis-server), or start the nodes yourself and name each by --url"
    )]
    NotInstalled,
    /// The system refuses a folder or a process.
    #[error("redis-server cannot be started: {0}")]
    System(#[from] io::Error),
    /// It did not start.
    #[error("redis-server does not start{}", last_words(.0))]
    NoStart(Vec<String>),
    /// It ended without being told to.
    #[error("redis-server has ended{}", last_words(.0))]
    Ended(Vec<String>),
}

fn last_words(lines: &[String]) -> String {
    let said = if lines.is_empty() { "; it said nothing" } else { "; its last words:" };
    lines.iter().fold(said.to_owned(), |text, line| text + "\n  " + line)
}

impl Redis {
    /// Starts a Redis that stores nothing, and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, RedisError> {
        let (program, version) = PROGRAMS.into_iter().find_map(version).ok_or(RedisError::NotInstalled)?;
        let folder = folder()?;
        let started = shell(program, &folder);
        if started.is_err() {
            // There is no shell that removes it.
            let _ = fs::remove_dir_all(&folder);
        }
        let (shell, pid) = started?;
        // From here on, a drop stops it.
        let redis = Self { shell, pid, folder, version: format!("{program} {version}") };
        let deadline = Instant::now() + START_TIMEOUT;
        while !redis.answers() {
            if redis.has_ended() || Instant::now() > deadline {
                return Err(RedisError::NoStart(redis.last_lines()));
            }
            thread::sleep(POLL);
        }
        Ok(redis)
    }

    /// Returns its URL for `cluster.url`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name of the program with its version, such as `redis-server 7.0.15`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Stops it, as a drop does.
    ///
    /// # Errors
    /// It had ended before.
    pub fn stop(self) -> Result<(), RedisError> {
        if self.has_ended() { Err(RedisError::Ended(self.last_lines())) } else { Ok(()) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn has_ended(&self) -> bool {
        Process::of(self.pid).is_err()
    }

    fn answers(&self) -> bool {
        let ask = || -> io::Result<bool> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(ASK_TIMEOUT))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; "+PONG".len()];
            stream.read_exact(&mut answer)?;
            Ok(answer == *b"+PONG")
        };
        ask().unwrap_or(false)
    }

    fn last_lines(&self) -> Vec<String> {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>();
        lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.shell.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // The shell and the Redis are a group of their own.
                if let Some(group) = i32::try_from(self.shell.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = self.shell.wait();
                let _ = fs::remove_dir_all(&self.folder);
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// Returns the program with its version. `None` if it is not installed.
fn version(program: &'static str) -> Option<(&'static str, String)> {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Some((program, version.unwrap_or("of an unknown version").to_owned()))
}

/// Makes a folder that is only for this user.
fn folder() -> io::Result<PathBuf> {
    let mut made = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..NAMES_MAX {
        let path = env::temp_dir().join(format!("maxtalk-bench-{}-{number}", process::id()));
        made = DirBuilder::new().mode(0o700).create(&path).map(|()| path);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            continue;
        }
        break;
    }
    made
}

/// Starts the shell, and the program by it. Returns the shell and the process id of the program.
fn shell(program: &str, folder: &Path) -> io::Result<(process::Child, u32)> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("log"))?;
    let mut command = Command::new("sh");
    command.args(["-c", SHELL, "sh"]).arg(folder).arg(program);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
    command.arg(folder.join("socket")).arg("--dir").arg(folder);
    // A Ctrl-C is for the bench alone.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut shell = command.spawn()?;
    let mut line = String::new();
    if let Some(stdout) = shell.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    match line.trim().parse() {
        Ok(pid) => Ok((shell, pid)),
        Err(_) => {
            drop(shell.stdin.take());
            let _ = shell.wait();
            Err(io::Error::other("the shell does not say its process id"))
        }
    }
}
