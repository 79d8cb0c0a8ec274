//! The flooded server: a process of its own, on the first core if there are several, and the memory that the system
//! reports for it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The longest time that a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A running server, which is killed when dropped.
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
            ("ADMIN__LISTEN", String::new()),
            ("MAX__URL", format!("http://{max}")),
            ("LOG__FILTER", "warn,maxtalk::server=info".to_owned()),
        ];
        let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in ours.into_iter().chain(given) {
            command.env(format!("MAXTALK_{key}"), value);
        }
        // The server ends with this process, when its standard input ends.
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
        // The log is read so that it never stalls.
        thread::spawn(move || io::copy(&mut log.into_inner(), &mut io::sink()));
        Ok(Self { child, addr })
    }

    /// Returns the resident memory in MiB; `None` if the server has ended.
    pub fn rss_mib(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib = kib.trim().trim_end_matches(" kB").parse::<f64>().ok()?;
        Some(kib / 1024.0)
    }

    /// Stops the server. Fails if it does not end.
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

/// The flooding process, which is killed when dropped.
pub struct Generator(Child);

impl Generator {
    /// Starts this program as the generator of a flood, on the last core and with low priority.
    pub fn start(flood: &str, addr: SocketAddr) -> io::Result<Self> {
        let mut command = pinned(cores() - 1, &std::env::current_exe()?.display().to_string());
        command.args(["generate-flood", flood, &addr.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().map(Self)
    }

    /// Stops the generator and returns its report.
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

/// Binds this process to the last core, away from the server.
pub fn keep_to_the_last_core() {
    if can_pin() {
        let (core, process) = ((cores() - 1).to_string(), std::process::id().to_string());
        let _ = Command::new("taskset").args(["-cp", &core, &process]).stdout(Stdio::null()).status();
    }
}

/// A command that runs on this core alone, if that is possible.
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

/// Returns the number of cores of the machine, even if this process is bound to some.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
