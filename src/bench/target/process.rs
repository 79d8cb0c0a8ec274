//! CPU time and memory of a process, as Linux accounts for them.

use std::fs;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::param::clock_ticks_per_second;

use crate::metrics::process::stat_field;

/// Another process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// When it started, in ticks. A later process with the same id has another start.
    began: u64,
    /// The last known usage, which stays after the process has ended.
    seen: Mutex<Usage>,
}

/// The resources that a process has used.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu: Duration,
    rss: u64,
    rss_peak: u64,
}

impl Process {
    /// Finds the process with this id.
    ///
    /// # Errors
    /// There is no such process, or the system is not Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let (began, seen) = look_at(pid)?;
        Ok(Self { pid, began, seen: Mutex::new(seen) })
    }

    /// Returns the user and system time of all its threads, or the last known value after it has ended. Each of the two
    /// times is in whole ticks (of 10 ms), so the sum is up to two ticks behind.
    pub fn cpu(&self) -> Duration {
        self.usage().cpu
    }

    /// Returns its resident memory in bytes, or the last known value after it has ended.
    pub fn rss(&self) -> u64 {
        self.usage().rss
    }

    /// Returns its largest resident memory so far in bytes, or the last known value after it has ended.
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

/// Returns the start of the process and the resources it has used (proc(5), `stat` and `status`).
fn look_at(pid: u32) -> io::Result<(u64, Usage)> {
    let (stat, status) =
        (fs::read_to_string(format!("/proc/{pid}/stat"))?, fs::read_to_string(format!("/proc/{pid}/status"))?);
    accounts(&stat, &status, clock_ticks_per_second())
        .ok_or_else(|| io::Error::other(format!("process {pid} has no accounts: has it ended?")))
}

fn accounts(stat: &str, status: &str, ticks_per_second: u64) -> Option<(u64, Usage)> {
    let field = |number| stat_field(stat, number);
    let (user, system, began) = (field(14)?, field(15)?, field(22)?);
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(u64::from_str(value.trim().strip_suffix(" kB")?).ok()? * 1024)
    };
    let cpu = Duration::from_secs(user + system) / u32::try_from(ticks_per_second).ok().filter(|ticks| *ticks > 0)?;
    Some((began, Usage { cpu, rss: bytes("VmRSS")?, rss_peak: bytes("VmHWM")? }))
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;
    use crate::metrics::process::own_cpu;

    #[test]
    fn the_accounts_of_a_process_are_read_whatever_its_name() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 9 0 0 0 150 25 7 7 20 0 3 0 777 9 9\n";
        let status = "Name:\ta) b\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n";
        let (began, usage) = accounts(stat, status, 100).unwrap();
        assert_eq!((began, usage.cpu), (777, Duration::from_millis(1750)));
        assert_eq!((usage.rss, usage.rss_peak), (1_024_000, 2_048_000));
        // A zombie has no memory.
        assert!(accounts(stat, "Name:\ta) b\n", 100).is_none());
        assert!(accounts("42 (a", status, 100).is_none());
    }

    #[test]
    fn this_process_is_seen_at_work() {
        let this = Process::of(process::id()).unwrap();
        let behind_max = Duration::from_secs(2) / u32::try_from(clock_ticks_per_second()).unwrap();
        let worked = this.cpu() + 2 * behind_max;
        let (before, seen, after) = loop {
            let (before, seen, after) = (own_cpu(), this.cpu(), own_cpu());
            if seen >= worked {
                break (before, seen, after);
            }
        };
        // Ticks are rounded down, for user and system time each, so they are behind the exact clock and never ahead.
        assert!(seen <= after && before <= seen + behind_max, "{before:?}, {seen:?}, {after:?}");
        assert!(this.rss() > 1 << 20 && this.rss_peak() > 1 << 20);
        assert!(Process::of(u32::MAX).is_err());
    }

    #[test]
    fn what_has_ended_keeps_its_last_accounts() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        let rss = process.rss();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.rss() == rss && rss > 0);
        let reused = Process { pid: process::id(), began: process.began + 1, seen: Mutex::default() };
        assert_eq!(reused.rss(), 0, "another process under the same number");
    }
}
