//! The server that is flooded: a process of its own, on the first core where there are several, with what the system
//! knows of its memory.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A running server. Dropped, it is killed.
pub struct Subject {
    child: Child,
    pub addr: SocketAddr,
}

impl Subject {
    /// Starts a server that asks the MAX at `max`. `settings` are pairs of `SECTION__KEY` and value.
    pub fn start(max: SocketAddr, settings: &[(&str, &str)]) -> io::Result<Self> {
        let program = std::env::var("MAXTALK_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_maxtalk").to_owned());
        let mut command = pinned(0, &program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let ours = [
            ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
            ("SERVER__WORKERS", "2".to_owned()),
            ("MAX__URL", format!("http://{max}")),
            ("LOG__FILTER", "warn,maxtalk::server=info".to_owned()),
        ];
        let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in ours.into_iter().chain(given) {
            command.env(format!("MAXTALK_{key}"), value);
        }
        // It goes with this process: a pipe that nobody holds any more ends.
        command.arg("--until-eof").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut said = String::new();
        let addr = loop {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("the server does not start: {said}")));
            }
            if let Some(addr) = line.rsplit_once("listening on http://").and_then(|(_, addr)| addr.trim().parse().ok())
            {
                break addr;
            }
            said += &line;
        };
        // Read on, so that its log never stalls.
        thread::spawn(move || io::copy(&mut log.into_inner(), &mut io::sink()));
        Ok(Self { child, addr })
    }

    /// Resident memory in MiB; none where the server is gone.
    pub fn rss_mib(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib = kib.trim().trim_end_matches(" kB").parse::<f64>().ok()?;
        Some(kib / 1024.0)
    }

    /// Tells it to stop, and waits for that. An error where it does not end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        drop(self.child.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < STOP_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("the server does not stop"))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that floods. Dropped, it is killed.
pub struct Generator(Child);

impl Generator {
    /// Starts this program as the generator of a flood, on the last core and behind all others that run there.
    pub fn start(flood: &str, addr: SocketAddr) -> io::Result<Self> {
        let mut command = pinned(cores() - 1, &std::env::current_exe()?.display().to_string());
        command.args(["generate-flood", flood, &addr.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().map(Self)
    }

    /// Ends it, and returns what it says it has done.
    pub fn stop(mut self) -> io::Result<String> {
        drop(self.0.stdin.take());
        let mut said = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        Ok(said.trim().to_owned())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps this process to the last core, away from the server.
pub fn keep_to_the_last_core() {
    if can_pin() {
        let (core, process) = ((cores() - 1).to_string(), std::process::id().to_string());
        let _ = Command::new("taskset").args(["-cp", &core, &process]).stdout(Stdio::null()).status();
    }
}

/// A command that runs on this core alone, where that is possible.
fn pinned(core: usize, program: &str) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

fn can_pin() -> bool {
    let taskset = || Command::new("taskset").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    cores() > 1 && taskset()
}

/// Cores of the machine, whatever this process is kept to later.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
