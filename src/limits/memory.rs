//! Whether memory is short: what the process has, beside what its control group or `ulimit -v` lets it have.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Newcomers are refused from this part of the limit on, in percent: those who are there go on.
const SHORT_PERCENT: u64 = 85;

/// Where a limit is larger than this, it is none.
const UNLIMITED: u64 = 1 << 60;

/// After so many milliseconds memory is looked at anew.
const LOOK_MS: u64 = 25;

/// After so many bytes that clients have taken memory is looked at anew, whatever the time: 300 connections can fill
/// 300 MB in a quarter of a second, and a busy machine stops a thread for as long.
const LOOK_BYTES: u64 = 1 << 20;

/// What is known of memory, for threads that ask often.
#[derive(Debug)]
pub struct Watch {
    /// None where nothing is limited.
    memory: Option<Memory>,
    epoch: Instant,
    /// When memory was looked at, in milliseconds since the epoch.
    looked_ms: AtomicU64,
    /// What clients have taken since.
    taken_bytes: AtomicU64,
    is_short: AtomicBool,
}

impl Watch {
    /// Looks at `memory` from now on.
    pub fn new(memory: Memory) -> Self {
        Self {
            memory: memory.is_limited().then_some(memory),
            epoch: Instant::now(),
            looked_ms: AtomicU64::new(0),
            taken_bytes: AtomicU64::new(LOOK_BYTES),
            is_short: AtomicBool::new(false),
        }
    }

    /// Whether memory is too short for somebody who wants to have so many bytes more.
    pub fn is_short_for(&self, bytes: u64, now: Instant) -> bool {
        let Some(memory) = &self.memory else { return false };
        let now_ms = now.saturating_duration_since(self.epoch).as_millis().try_into().unwrap_or(u64::MAX);
        let taken_bytes = self.taken_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        if taken_bytes >= LOOK_BYTES || now_ms.saturating_sub(looked_ms) >= LOOK_MS {
            self.looked_ms.store(now_ms, Ordering::Relaxed);
            self.taken_bytes.store(0, Ordering::Relaxed);
            self.is_short.store(memory.is_short(), Ordering::Relaxed);
        }
        self.is_short.load(Ordering::Relaxed)
    }
}

/// From what on the process has too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in memory; none where nobody limits them.
    short_from_resident: Option<u64>,
    /// Bytes of addresses; none where nobody limits them. Threads and the allocator reserve many from the start, which
    /// are no sign of a shortage: what counts is the part that was free then.
    short_from_virtual: Option<u64>,
    page_bytes: u64,
}

impl Memory {
    /// As much as there is.
    pub const UNLIMITED: Self = Self { short_from_resident: None, short_from_virtual: None, page_bytes: 4096 };

    /// At most `bytes_max`, or where that is 0 what the system allows.
    pub fn new(bytes_max: u64) -> Self {
        let resident_max = if bytes_max > 0 { Some(bytes_max) } else { control_group() };
        let virtual_max = rlimit::getrlimit(rlimit::Resource::AS).ok().map(|(soft, _)| soft);
        let page_bytes = rustix::param::page_size() as u64;
        let reserved = usage().map_or(0, |usage| usage.pages * page_bytes);
        let virtual_max = virtual_max.filter(|max| *max < UNLIMITED);
        Self {
            short_from_resident: resident_max.map(|max| max / 100 * SHORT_PERCENT),
            short_from_virtual: virtual_max.map(|max| reserved + max.saturating_sub(reserved) / 100 * SHORT_PERCENT),
            page_bytes,
        }
    }

    fn is_limited(&self) -> bool {
        self.short_from_resident.is_some() || self.short_from_virtual.is_some()
    }

    /// Whether so much is in use that nobody more should be let in. Reads a file of the kernel.
    fn is_short(&self) -> bool {
        usage().is_some_and(|usage| self.is_short_with(usage))
    }

    fn is_short_with(&self, usage: Usage) -> bool {
        let is_reached = |pages: u64, from: Option<u64>| from.is_some_and(|from| pages * self.page_bytes >= from);
        is_reached(usage.resident, self.short_from_resident) || is_reached(usage.pages, self.short_from_virtual)
    }
}

/// What the process has, in pages.
#[derive(Clone, Copy, Debug)]
struct Usage {
    /// Of addresses.
    pages: u64,
    /// In memory.
    resident: u64,
}

fn usage() -> Option<Usage> {
    read_usage(&fs::read_to_string("/proc/self/statm").ok()?)
}

fn read_usage(statm: &str) -> Option<Usage> {
    let mut pages = statm.split_ascii_whitespace().map(|pages| pages.parse().ok());
    Some(Usage { pages: pages.next()??, resident: pages.next()?? })
}

/// The limit of the control group that this process is in, if there is one: the lowest on the way up.
fn control_group() -> Option<u64> {
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
    // Without a limit, the first version of control groups says the largest number that it has pages for.
    limits.filter(|limit| *limit < UNLIMITED).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn memory_is_short_before_it_ends() {
        let resident = Memory { short_from_resident: Some(1 << 20), ..Memory::UNLIMITED };
        let addresses = Memory { short_from_virtual: Some(1 << 20), ..Memory::UNLIMITED };
        for (memory, statm, is_short) in [
            (resident, "9999 255 1 1 0 1 0", false),
            (resident, "1 256 1 1 0 1 0", true),
            (addresses, "255 9999 1 1 0 1 0", false),
            (addresses, "256 1 1 1 0 1 0", true),
        ] {
            assert_eq!(memory.is_short_with(read_usage(statm).unwrap()), is_short, "{memory:?} {statm}");
        }
        assert!(read_usage("").is_none() && read_usage("1 x").is_none());
        assert!(!Memory::UNLIMITED.is_short() && Memory::new(1).is_short());
    }

    #[test]
    fn memory_is_looked_at_after_a_while_and_after_a_megabyte() {
        let watch = Watch::new(Memory::new(1));
        let at = |ms| watch.epoch + Duration::from_millis(ms);
        assert!(watch.is_short_for(0, at(0)), "it is looked at before the first is let in");
        let forget = || watch.is_short.store(false, Ordering::Relaxed);
        forget();
        assert!(!watch.is_short_for(LOOK_BYTES - 1, at(LOOK_MS - 1)), "what was seen is good for a while");
        assert!(watch.is_short_for(1, at(LOOK_MS - 1)), "but not for more than a megabyte");
        forget();
        assert!(!watch.is_short_for(0, at(2 * LOOK_MS - 2)));
        assert!(watch.is_short_for(0, at(2 * LOOK_MS - 1)));
        assert!(!Watch::new(Memory::UNLIMITED).is_short_for(LOOK_BYTES, at(LOOK_MS)));
    }
}
