//! Whether memory is short: what the process has, beside what its control group or `ulimit -v` lets it have.

use std::fs;

/// Newcomers are refused from this part of the limit on, in percent: those who are there go on.
const SHORT_PERCENT: u64 = 85;

/// What the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In memory; none where nobody says.
    resident_max: Option<u64>,
    /// In addresses; none where nobody says.
    virtual_max: Option<u64>,
    page_bytes: u64,
}

impl Memory {
    /// At most `bytes_max`, or where that is 0 what the system allows.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            resident_max: if bytes_max > 0 { Some(bytes_max) } else { control_group() },
            virtual_max: rlimit::getrlimit(rlimit::Resource::AS)
                .ok()
                .map(|(soft, _)| soft)
                .filter(|max| *max < 1 << 60),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    /// Whether so much is in use that nobody more should be let in. Reads a file of the kernel.
    pub fn is_short(&self) -> bool {
        if self.resident_max.is_none() && self.virtual_max.is_none() {
            return false;
        }
        let Ok(text) = fs::read_to_string("/proc/self/statm") else { return false };
        self.is_short_with(&text)
    }

    /// The same, of the text of `statm`.
    fn is_short_with(&self, statm: &str) -> bool {
        let mut pages = statm.split_ascii_whitespace().map(|pages| pages.parse::<u64>().unwrap_or(0));
        let (size, resident) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        let is_reached = |pages: u64, max: Option<u64>| {
            max.is_some_and(|max| pages.saturating_mul(self.page_bytes) >= max / 100 * SHORT_PERCENT)
        };
        is_reached(resident, self.resident_max) || is_reached(size, self.virtual_max)
    }
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
    limits.filter(|limit| *limit < 1 << 60).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_before_it_ends() {
        let resident = Memory { resident_max: Some(1 << 20), virtual_max: None, page_bytes: 4096 };
        let addresses = Memory { resident_max: None, virtual_max: Some(1 << 20), page_bytes: 4096 };
        for (memory, statm, is_short) in [
            (resident, "9999 217 1 1 0 1 0", false),
            (resident, "1 218 1 1 0 1 0", true),
            (addresses, "217 1 1 1 0 1 0", false),
            (addresses, "218 1 1 1 0 1 0", true),
            (resident, "", false),
        ] {
            assert_eq!(memory.is_short_with(statm), is_short, "{memory:?} {statm}");
        }
        assert!(!Memory { resident_max: None, virtual_max: None, page_bytes: 4096 }.is_short());
        assert!(Memory::new(1).is_short());
    }
}
