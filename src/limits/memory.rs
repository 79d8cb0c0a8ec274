//! Whether memory is short: what the process has, beside what its control group or `ulimit -v` lets it have.

use std::fs;

/// Newcomers are refused from this part of the limit on, in percent: those who are there go on.
const SHORT_PERCENT: u64 = 85;

/// Where a limit is larger than this, it is none.
const UNLIMITED: u64 = 1 << 60;

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

    /// Whether there is a limit at all.
    pub fn is_limited(&self) -> bool {
        self.short_from_resident.is_some() || self.short_from_virtual.is_some()
    }

    /// Whether so much is in use that nobody more should be let in. Reads a file of the kernel.
    pub fn is_short(&self) -> bool {
        self.is_limited() && usage().is_some_and(|usage| self.is_short_with(usage))
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

    #[test]
    fn memory_is_short_before_it_ends() {
        let resident = Memory { short_from_resident: Some(1 << 20), short_from_virtual: None, page_bytes: 4096 };
        let addresses = Memory { short_from_resident: None, short_from_virtual: Some(1 << 20), page_bytes: 4096 };
        for (memory, statm, is_short) in [
            (resident, "9999 255 1 1 0 1 0", false),
            (resident, "1 256 1 1 0 1 0", true),
            (addresses, "255 9999 1 1 0 1 0", false),
            (addresses, "256 1 1 1 0 1 0", true),
        ] {
            assert_eq!(memory.is_short_with(read_usage(statm).unwrap()), is_short, "{memory:?} {statm}");
        }
        assert!(read_usage("").is_none() && read_usage("1 x").is_none());
        assert!(!Memory { short_from_resident: None, short_from_virtual: None, page_bytes: 4096 }.is_short());
        assert!(Memory::new(1).is_short());
    }
}
