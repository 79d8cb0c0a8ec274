//! The metrics of the process, as Linux accounts for it. Elsewhere, those that the system does not tell are missing.

use std::fs;
use std::time::Duration;

use rlimit::Resource;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use super::scraped::Reading;
use super::table::Process;
use crate::limits::memory::resident_bytes;

impl Process {
    /// Returns the metrics of this process.
    pub(super) fn this() -> Self {
        let start_time = fs::read_to_string("/proc/self/stat").ok().zip(fs::read_to_string("/proc/stat").ok());
        let start_time = start_time.and_then(|(own, all)| start_time_seconds(&own, &all, clock_ticks_per_second()));
        Self {
            cpu_seconds: Reading::counter(|| Some(own_cpu().as_secs_f64())),
            resident_memory_bytes: Reading::gauge(resident_bytes),
            open_fds: Reading::gauge(open_fds),
            max_fds: Reading::gauge(|| Resource::NOFILE.get().ok().map(|(soft, _)| soft)),
            start_time_seconds: Reading::gauge(move || start_time),
        }
    }
}

/// Returns the user and system time of all threads of this process.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Returns the number of open files. Since Linux 6.2 it is the size of a directory; before, its entries are counted.
fn open_fds() -> Option<u64> {
    let path = "/proc/self/fd";
    match fs::metadata(path).ok()?.len() {
        // The directory itself is open while it is read.
        0 => Some(fs::read_dir(path).ok()?.count().saturating_sub(1) as u64),
        files => Some(files),
    }
}

/// Returns when a process has started, in seconds since 1970, from its `stat` and that of the system (proc(5)).
fn start_time_seconds(own: &str, all: &str, ticks_per_second: u64) -> Option<f64> {
    let ticks = stat_field(own, 22)?;
    let boot: u64 = all.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + ticks as f64 / ticks_per_second as f64)
}

/// Returns the number in a field of the `stat` of a process, counted from 1 as in proc(5). `None` for the name and the
/// field before it.
pub fn stat_field(stat: &str, number: usize) -> Option<u64> {
    // The second field is the name, which may contain anything.
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Returns the bytes that the program has allocated and not freed. `None` if the allocator does not count them.
pub fn allocated_bytes() -> Option<u64> {
    #[cfg(feature = "jemalloc")]
    {
        use tikv_jemalloc_ctl::{epoch, stats};
        // The statistics are those of the last epoch.
        epoch::advance().ok()?;
        stats::allocated::read().ok().map(|bytes| bytes as u64)
    }
    #[cfg(not(feature = "jemalloc"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn the_start_is_read_whatever_the_name_of_the_process() {
        let own = "42 (a) b) R 1 42 42 0 -1 4194304 9 0 0 0 150 25 7 7 20 0 3 0 777 9 9\n";
        let all = "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n";
        assert_eq!(start_time_seconds(own, all, 100), Some(1_700_000_007.77));
        assert_eq!(start_time_seconds("42 (a", all, 100), None);
        assert_eq!(start_time_seconds(own, "cpu 1", 100), None);
    }

    #[test]
    fn this_process_is_seen() {
        let before = own_cpu();
        while own_cpu() == before {}
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let read = |name| fs::read_to_string(name).unwrap();
        let start =
            start_time_seconds(&read("/proc/self/stat"), &read("/proc/stat"), clock_ticks_per_second()).unwrap();
        assert!(start <= now + 1.0 && start > now - 86_400.0, "{start} {now}");
        // Other tests open and close files too, but not as many.
        let few = open_fds().unwrap();
        let files: Vec<_> = (0..500).map(|_| File::open("/dev/null").unwrap()).collect();
        assert!(open_fds().unwrap() > few + 400);
        drop(files);
    }
}
