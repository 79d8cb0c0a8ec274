//! The server under load as a process of this machine: its CPU time and memory, and one that is started for the run.
//! And what has to be settled before any load: whom it may hit, and how many files this process may open.
//!
//! All of it blocks, most for moments: the start and the stop of a child may take seconds.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, ChildStderr, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rlimit::Resource;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::uname;
use rustix::time::{ClockId, clock_gettime};
use url::Url;

use crate::config;
use crate::max::demo::MOUNT;

/// How long a server may take to begin, and at its end, which is more than `server.stop_ms` is by default.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often something is looked at that tells nobody when it happens.
const POLL: Duration = Duration::from_millis(5);
/// Of what a server has said, so many lines are kept to explain its end.
const LAST_LINES: usize = 20;

/// Another process, by the accounts that Linux keeps of it.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// When it began, in ticks: a process that has got the same number later is another one.
    began: u64,
    seen: Mutex<Usage>,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu: Duration,
    rss: u64,
    rss_peak: u64,
}

impl Process {
    /// The process of this number.
    ///
    /// # Errors
    /// There is none, or this is no Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let (began, seen) = look_at(pid)?;
        Ok(Self { pid, began, seen: Mutex::new(seen) })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        look_at(self.pid).is_ok_and(|(began, _)| began == self.began)
    }

    /// User and system time of all its threads so far, in steps of a tick (10 ms). It stands still when the process
    /// has ended.
    pub fn cpu(&self) -> Duration {
        self.usage().cpu
    }

    /// Its resident memory in bytes, or the last that was seen of it.
    pub fn rss(&self) -> u64 {
        self.usage().rss
    }

    /// The largest resident memory that it ever had, in bytes.
    pub fn rss_peak(&self) -> u64 {
        self.usage().rss_peak
    }

    fn usage(&self) -> Usage {
        let mut seen = self.seen.lock();
        if let Ok((began, usage)) = look_at(self.pid)
            && began == self.began
        {
            *seen = usage;
        }
        *seen
    }
}

/// When the process began, and what it has used (proc(5), `stat` and `status`).
fn look_at(pid: u32) -> io::Result<(u64, Usage)> {
    let (stat, status) =
        (fs::read_to_string(format!("/proc/{pid}/stat"))?, fs::read_to_string(format!("/proc/{pid}/status"))?);
    accounts(&stat, &status, clock_ticks_per_second())
        .ok_or_else(|| io::Error::other(format!("process {pid} has no accounts: has it ended?")))
}

fn accounts(stat: &str, status: &str, ticks_per_second: u64) -> Option<(u64, Usage)> {
    // The second field is the name, which may hold anything; the fields behind it are counted from the third on.
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system, began) = (field(14)?, field(15)?, field(22)?);
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(u64::from_str(value.trim().strip_suffix(" kB")?).ok()? * 1024)
    };
    let cpu = Duration::from_secs(user + system) / u32::try_from(ticks_per_second).ok().filter(|ticks| *ticks > 0)?;
    Some((began, Usage { cpu, rss: bytes("VmRSS")?, rss_peak: bytes("VmHWM")? }))
}

/// A server of this binary, on loopback and on a port of its own. Dropped, it is stopped.
#[derive(Debug)]
pub struct Child {
    child: process::Child,
    addr: SocketAddr,
    last_lines: LastLines,
    /// Who reads them, up to the server's end.
    reader: Option<JoinHandle<()>>,
}

type LastLines = Arc<Mutex<VecDeque<String>>>;

impl Child {
    /// Starts the server whose demo MAX has these people, and waits until it answers. Settings in the environment of
    /// this process hold for it too, such as `MAXTALK_SERVER__WORKERS`, but for those that say where it listens, whom
    /// it asks and what it logs.
    ///
    /// # Errors
    /// What it said, where it does not start.
    pub fn spawn(demo: &config::Demo) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| format!("this program is not to be found: {error}"))?;
        Self::start(&program, demo)
    }

    /// The same, with the program that is to be started.
    ///
    /// # Errors
    /// As above.
    pub fn start(program: &Path, demo: &config::Demo) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A Ctrl-C is for the bench, which still has to ask the server what it has used.
        command.process_group(0);
        for key in ["MAX__URL", "MAX__TOKENLESS_JOINS", "MAX__SERVICE_USERNAME", "MAX__SERVICE_TOKEN"] {
            command.env_remove(variable(key));
        }
        command.envs(settings(demo, |name| env::var_os(name).is_some()));

        let failure = |error: io::Error| format!("{} cannot be started: {error}", program.display());
        let mut child = command.spawn().map_err(failure)?;
        let stderr = child.stderr.take();
        let (told, address) = mpsc::channel();
        // From here on it is stopped whatever happens.
        let mut server =
            Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)), last_lines: LastLines::default(), reader: None };
        let last_lines = server.last_lines.clone();
        let read = move || stderr.into_iter().for_each(|stderr| read_log(stderr, &last_lines, &told));
        let reader = thread::Builder::new().name("server's log".to_owned()).spawn(read);
        server.reader = Some(reader.map_err(|error| format!("no thread for the log of the server: {error}"))?);

        let deadline = Instant::now() + START_TIMEOUT;
        server.addr = match address.recv_timeout(START_TIMEOUT) {
            Ok(addr) => addr,
            Err(RecvTimeoutError::Timeout) => return Err(server.last_words("does not say where it listens")),
            Err(RecvTimeoutError::Disconnected) => {
                let how = server.end(deadline).map_or(String::new(), |status| format!(" ({status})"));
                return Err(server.last_words(&format!("did not start{how}")));
            }
        };
        while !answers(server.addr) {
            if let Some(end) = server.ended() {
                return Err(end);
            }
            if Instant::now() > deadline {
                return Err(server.last_words("listens but does not answer"));
            }
            thread::sleep(POLL);
        }
        Ok(server)
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A sentence with its last words, where it has ended without being told.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(self.last_words(&format!("has ended ({status})")))
    }

    /// Stops it, as its drop does.
    ///
    /// # Errors
    /// A sentence where it had ended before, did not end in time and was killed, or ended with a failure.
    pub fn stop(mut self) -> Result<(), String> {
        self.ended().map_or_else(|| self.terminate(), Err)
    }

    fn terminate(&mut self) -> Result<(), String> {
        // It has not been waited for, so the number is still its own.
        if let Err(error) = kill_process(Pid::from_child(&self.child), Signal::TERM) {
            return Err(format!("the server cannot be told to stop: {error}"));
        }
        match self.end(Instant::now() + STOP_TIMEOUT) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.last_words(&format!("failed at its end ({status})"))),
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err(self.last_words("did not stop, and was killed"))
            }
        }
    }

    /// How it ended, if it did before `deadline`.
    fn end(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
                ended => return ended.ok().flatten(),
            }
        }
    }

    fn last_words(&mut self, what: &str) -> String {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            // Then its log ends too, and is worth waiting for.
            self.reader.take().map(JoinHandle::join);
        }
        let lines = self.last_lines.lock();
        let said = if lines.is_empty() { "; it said nothing" } else { "; its last words:" };
        lines.iter().fold(format!("the server {what}{said}"), |text, line| text + "\n  " + line)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.terminate().is_err() {
            // Whoever wants to know why uses `stop`.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The environment of a server for these people: what it has to be, and bounds on joins that let all of them come at
/// once, where nobody has `chosen` others.
fn settings(demo: &config::Demo, chosen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut settings = vec![
        ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("LOG__FILTER", "warn,maxtalk::server=info".to_owned()),
        ("DEMO__PEOPLE", demo.people.to_string()),
        ("DEMO__MEMBERS", demo.members.to_string()),
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
    settings.into_iter().map(|(key, value)| (variable(key), value)).collect()
}

fn variable(key: &str) -> String {
    format!("MAXTALK_{key}")
}

/// Reads what a server says for as long as it lives, keeps the last of it, and tells the address when it is said.
fn read_log(stderr: ChildStderr, last_lines: &Mutex<VecDeque<String>>, told: &Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(addr) = line.rsplit_once("listening on http://").and_then(|(_, addr)| addr.parse().ok()) {
            // Where nobody waits for it any more, nobody needs it.
            let _ = told.send(addr);
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

/// Where the load goes: the first address of `url` that takes a connection. Load on what is not this machine needs
/// `allow_remote`.
///
/// # Errors
/// A sentence: it is another machine, has no address, or nobody listens there.
pub fn check_target(url: &Url, allow_remote: bool) -> Result<SocketAddr, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{url} is not an http or https URL"));
    }
    let addrs = url.socket_addrs(|| None).map_err(|error| format!("{url} has no address: {error}"))?;
    let remote = addrs.iter().find(|addr| !addr.ip().to_canonical().is_loopback());
    if let Some(remote) = remote.filter(|_| !allow_remote) {
        return Err(format!(
            "{url} is not on this machine ({}): a load bench can bring it down. If it is yours, add --allow-remote",
            remote.ip()
        ));
    }
    let mut refusal = "no address".to_owned();
    for addr in addrs {
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(addr),
            Err(error) => refusal = format!("{addr}: {error}"),
        }
    }
    Err(format!("nobody answers at {url} ({refusal}): start a server there, or let --spawn do it"))
}

/// Lets this process, and the children that it starts later, open as many files as the system allows, which has to be
/// at least `needed`: one for each connection, and some dozens beside.
///
/// # Errors
/// A sentence that says the hard limit, and what to do about it.
pub fn raise_file_limit(needed: u64) -> Result<(), String> {
    let failure = |error: io::Error| format!("the limit on open files cannot be read: {error}");
    let (_, hard) = Resource::NOFILE.get().map_err(failure)?;
    if hard < needed {
        // Root may raise the hard limit itself; what the others are to do stands below.
        let _ = Resource::NOFILE.set(needed, needed);
    }
    let allowed = rlimit::increase_nofile_limit(u64::MAX).map_err(failure)?;
    if allowed >= needed {
        return Ok(());
    }
    Err(format!(
        "{needed} open files are needed, but the hard limit is {allowed}: raise it (as root `ulimit -n {needed}`; \
         LimitNOFILE= of a systemd unit; --ulimit nofile={needed} of a container), or take fewer --connections"
    ))
}

/// User and system time of this process, all its threads together.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// This machine for the head of a report: "name, 2 cores of AMD EPYC 9654, Linux 6.1.0".
pub fn machine() -> String {
    let uname = uname();
    let [name, system, release] =
        [uname.nodename(), uname.sysname(), uname.release()].map(|text| text.to_string_lossy().into_owned());
    // Behind the numbers, distributions tell of their own builds.
    let release = release.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default().to_owned();
    format!("{name}, {}, {system} {release}", cores(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()))
}

/// All cores there are, and not those alone on which this process may run.
fn cores(cpuinfo: &str) -> String {
    let values = |name: &'static str| {
        let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(move |(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    let count = match values("processor").count() {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let noun = if count == 1 { "core" } else { "cores" };
    values("model name").next().map_or(format!("{count} {noun}"), |model| format!("{count} {noun} of {model}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_accounts_of_a_process_are_read_whatever_its_name() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 9 0 0 0 150 25 7 7 20 0 3 0 777 9 9\n";
        let status = "Name:\ta) b\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n";
        let (began, usage) = accounts(stat, status, 100).unwrap();
        assert_eq!((began, usage.cpu), (777, Duration::from_millis(1750)));
        assert_eq!((usage.rss, usage.rss_peak), (1_024_000, 2_048_000));
        // What has ended and was not waited for has no memory.
        assert!(accounts(stat, "Name:\ta) b\n", 100).is_none());
        assert!(accounts("42 (a", status, 100).is_none());
    }

    #[test]
    fn this_process_is_seen_at_work() {
        let this = Process::of(process::id()).unwrap();
        let (cpu, own) = (this.cpu(), own_cpu());
        while this.cpu() < cpu + Duration::from_millis(30) {
            std::hint::black_box(fs::read_to_string("/proc/self/stat").unwrap());
        }
        assert!(own_cpu() >= own + Duration::from_millis(20));
        assert!(this.is_running() && this.rss() > 1 << 20 && this.rss_peak() >= 1 << 20);
        assert!(Process::of(u32::MAX).is_err());
    }

    #[test]
    fn what_has_ended_keeps_its_last_accounts() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        let rss = process.rss();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_running() && process.rss() == rss && rss > 0);
        let reused = Process { pid: process::id(), began: process.began + 1, seen: Mutex::default() };
        assert!(!reused.is_running() && reused.rss() == 0, "another process under the same number");
    }

    #[test]
    fn only_this_machine_is_a_target_by_default() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let check = |url: &str, allow| check_target(&Url::parse(url).unwrap(), allow);
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let addr = check(&format!("http://{host}:{port}/"), false).unwrap();
            assert_eq!((addr.ip().to_canonical(), addr.port()), ([127, 0, 0, 1].into(), port), "{host}");
        }
        for (url, allow, expected) in [
            ("http://192.0.2.1/", false, "http://192.0.2.1/ is not on this machine (192.0.2.1): "),
            ("http://0.0.0.0:1/", false, "http://0.0.0.0:1/ is not on this machine (0.0.0.0): "),
            ("http://no.invalid/", true, "http://no.invalid/ has no address: "),
            ("ftp://127.0.0.1/", true, "ftp://127.0.0.1/ is not an http or https URL"),
        ] {
            let refusal = check(url, allow).unwrap_err();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        drop(listener);
        let refusal = check(&format!("http://127.0.0.1:{port}/"), true).unwrap_err();
        assert!(refusal.starts_with("nobody answers at http://127.0.0.1:"), "{refusal}");
    }

    #[test]
    fn a_hard_limit_that_is_too_low_is_said() {
        assert_eq!(raise_file_limit(64), Ok(()));
        let (soft, hard) = Resource::NOFILE.get().unwrap();
        assert_eq!(soft, hard);
        // No system opens so many, not for root either.
        let refusal = raise_file_limit(1 << 60).unwrap_err();
        assert!(refusal.contains(&format!("but the hard limit is {hard}: raise it")), "{refusal}");
    }

    #[test]
    fn a_machine_is_its_name_its_cores_and_its_kernel() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n";
        assert_eq!(cores(cpuinfo), "2 cores of Some CPU");
        assert_eq!(cores("processor\t: 0\n"), "1 core");
        let parts: Vec<_> = machine().split(", ").map(str::to_owned).collect();
        assert!(parts.len() >= 3 && parts.last().is_some_and(|kernel| kernel.contains(' ')), "{parts:?}");
    }

    #[test]
    fn a_child_is_given_bounds_that_its_people_need_but_where_others_were_chosen() {
        let demo = |people| config::Demo { people, members: 10, zipf: Some(1.5) };
        let value = |settings: &[(String, String)], name: &str| {
            settings.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
        };
        let few = settings(&demo(10), |_| false);
        assert_eq!(value(&few, "MAXTALK_DEMO__PEOPLE").as_deref(), Some("10"));
        assert_eq!(value(&few, "MAXTALK_DEMO__ZIPF").as_deref(), Some("1.5"));
        assert_eq!(value(&few, "MAXTALK_MAX__WAITING_MAX"), None);
        let many = settings(&demo(100_000), |name| name == "MAXTALK_MAILBOX__REGISTRY");
        assert_eq!(value(&many, "MAXTALK_MAX__WAITING_MAX").as_deref(), Some("100000"));
        assert_eq!(value(&many, "MAXTALK_MAILBOX__REGISTRY"), None);
        let environment = many.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        config::Config::load(config::Sources { environment, ..Default::default() }).unwrap();
    }
}
