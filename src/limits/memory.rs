//! How much memory the process uses, compared to the limit of its control group or of `ulimit -v`.

use std::fs;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

/// A limit that is not smaller counts as none.
const UNLIMITED: u64 = 1 << 60;

/// Memory is measured anew after this time, in milliseconds.
const LOOK_MS: u64 = 25;

/// Memory is also measured anew after clients have taken this number of bytes: 300 connections can fill 300 MB in a
/// quarter of a second, and a busy machine may stop a thread for as long.
const LOOK_BYTES: u64 = 1 << 20;

/// The last measurement of memory, for threads that ask often.
#[derive(Debug)]
pub struct Watch {
    /// `None` if nothing is limited.
    memory: Option<Memory>,
    epoch: Instant,
    /// The time of the last measurement, in milliseconds since `epoch`.
    looked_ms: AtomicU64,
    /// Bytes that clients have taken since.
    taken_bytes: AtomicU64,
    percent: AtomicU8,
}

impl Watch {
    /// Returns a watch on `memory` that has not measured it yet.
    pub fn new(memory: Memory) -> Self {
        Self {
            memory: memory.is_limited().then_some(memory),
            epoch: Instant::now(),
            looked_ms: AtomicU64::new(0),
            taken_bytes: AtomicU64::new(LOOK_BYTES),
            percent: AtomicU8::new(0),
        }
    }

    /// Returns the limit on resident memory, in bytes. `None` if it is not limited.
    pub fn resident_max(&self) -> Option<u64> {
        self.memory.as_ref()?.resident_max
    }

    /// Returns the percentage of memory in use, for a caller that wants `bytes` more. 0 if nothing is limited.
    pub fn percent_with(&self, bytes: u64, now: Instant) -> u8 {
        let Some(memory) = &self.memory else { return 0 };
        let now_ms = now.saturating_duration_since(self.epoch).as_millis().try_into().unwrap_or(u64::MAX);
        let taken_bytes = self.taken_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        if taken_bytes >= LOOK_BYTES || now_ms.saturating_sub(looked_ms) >= LOOK_MS {
            self.looked_ms.store(now_ms, Ordering::Relaxed);
            self.taken_bytes.store(0, Ordering::Relaxed);
            self.percent.store(memory.percent(), Ordering::Relaxed);
        }
        self.percent.load(Ordering::Relaxed)
    }
}

/// Returns the resident memory of this process, in bytes. `None` if the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    usage().map(|usage| usage.resident * rustix::param::page_size() as u64)
}

/// Returns the memory of the machine, in bytes.
pub fn of_machine() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

/// The limits on the memory of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Limit on resident memory, in bytes.
    resident_max: Option<u64>,
    /// Limit on address space, in bytes.
    virtual_max: Option<u64>,
    /// Address space reserved at the start by threads and the allocator. It is no sign of a shortage, so usage is
    /// measured against the rest.
    reserved: u64,
    page_bytes: u64,
}

impl Memory {
    /// No limit.
    pub const UNLIMITED: Self = Self { resident_max: None, virtual_max: None, reserved: 0, page_bytes: 4096 };

    /// Returns a limit of `bytes_max` bytes of resident memory; if `bytes_max` is 0, the limit of the control group.
    /// The limit of `ulimit -v` on address space applies in both cases.
    pub fn new(bytes_max: u64) -> Self {
        let resident_max = if bytes_max > 0 { Some(bytes_max) } else { control_group() };
        let virtual_max = rlimit::getrlimit(rlimit::Resource::AS).ok().map(|(soft, _)| soft);
        let page_bytes = rustix::param::page_size() as u64;
        let reserved = usage().map_or(0, |usage| usage.pages * page_bytes);
        Self { resident_max, virtual_max: virtual_max.filter(|max| *max < UNLIMITED), reserved, page_bytes }
    }

    fn is_limited(&self) -> bool {
        self.resident_max.is_some() || self.virtual_max.is_some()
    }

    /// Returns the percentage in use. Reads a file in `/proc`.
    fn percent(&self) -> u8 {
        usage().map_or(0, |usage| self.percent_of(usage))
    }

    fn percent_of(&self, usage: Usage) -> u8 {
        let percent = |bytes: u64, max: u64| (bytes.saturating_mul(100) / max.max(1)).min(100) as u8;
        let resident = self.resident_max.map_or(0, |max| percent(usage.resident * self.page_bytes, max));
        let addresses = self.virtual_max.map_or(0, |max| {
            percent((usage.pages * self.page_bytes).saturating_sub(self.reserved), max.saturating_sub(self.reserved))
        });
        resident.max(addresses)
    }
}

/// The memory of the process, in pages.
#[derive(Clone, Copy, Debug)]
struct Usage {
    /// Address space.
    pages: u64,
    /// Resident memory.
    resident: u64,
}

fn usage() -> Option<Usage> {
    read_usage(&fs::read_to_string("/proc/self/statm").ok()?)
}

fn read_usage(statm: &str) -> Option<Usage> {
    let mut pages = statm.split_ascii_whitespace().map(|pages| pages.parse().ok());
    Some(Usage { pages: pages.next()??, resident: pages.next()?? })
}

/// Returns the lowest limit among the control group of this process and the groups above it.
pub(super) fn control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let lines = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some(("/sys/fs/cgroup", "memory.max", path)),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
            }
            _ => None,
        }
    });
    let limits = lines.flat_map(|(root, file, path)| {
        let ancestors = std::path::Path::new(path).ancestors().map(|group| group.display().to_string());
        let files = ancestors.map(move |group| format!("{root}{}/{file}", group.trim_end_matches('/')));
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).collect::<Vec<_>>()
    });
    // Version 1 of control groups has no word for "unlimited": it writes the largest number of whole pages.
    limits.filter(|limit| *limit < UNLIMITED).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn usage_is_that_of_the_scarcer_kind() {
        let resident = Memory { resident_max: Some(1 << 20), ..Memory::UNLIMITED };
        let addresses = Memory { virtual_max: Some(1 << 20), ..Memory::UNLIMITED };
        let both = Memory { resident_max: Some(1 << 20), reserved: 1 << 19, ..addresses };
        for (memory, statm, percent) in [
            (resident, "9999 255 1 1 0 1 0", 99),
            (resident, "1 256 1 1 0 1 0", 100),
            (resident, "1 9999999999 1 1 0 1 0", 100),
            (addresses, "128 9999 1 1 0 1 0", 50),
            (both, "128 64 1 1 0 1 0", 25),
            (both, "192 64 1 1 0 1 0", 50),
            (both, "1 1 1 1 0 1 0", 0),
        ] {
            assert_eq!(memory.percent_of(read_usage(statm).unwrap()), percent, "{memory:?} {statm}");
        }
        assert!(read_usage("").is_none() && read_usage("1 x").is_none());
        assert_eq!((Memory::UNLIMITED.percent(), Memory::new(1).percent()), (0, 100));
    }

    #[test]
    fn memory_is_looked_at_after_a_while_and_after_a_megabyte() {
        let watch = Watch::new(Memory::new(1));
        let at = |ms| watch.epoch + Duration::from_millis(ms);
        assert_eq!(watch.percent_with(0, at(0)), 100, "it is looked at before the first is let in");
        let forget = || watch.percent.store(0, Ordering::Relaxed);
        forget();
        assert_eq!(watch.percent_with(LOOK_BYTES - 1, at(LOOK_MS - 1)), 0, "what was seen is good for a while");
        assert_eq!(watch.percent_with(1, at(LOOK_MS - 1)), 100, "but not for more than a megabyte");
        forget();
        assert_eq!(watch.percent_with(0, at(2 * LOOK_MS - 2)), 0);
        assert_eq!(watch.percent_with(0, at(2 * LOOK_MS - 1)), 100);
        assert_eq!(Watch::new(Memory::UNLIMITED).percent_with(LOOK_BYTES, at(LOOK_MS)), 0);
    }
}
