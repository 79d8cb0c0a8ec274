//! The time of all processors of this machine, as Linux accounts for it.

use std::fs;

/// The time of all processors since the system began, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    idle: u64,
    /// Time that the host of a virtual machine gave to others although this one had work.
    stolen: u64,
    all: u64,
}

impl Processors {
    /// Returns the time until now. `None` if the system does not tell it.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// Reads the first line of `stat` (proc(5)).
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        // User, nice, system, idle, waiting for disks, interrupts, soft interrupts, stolen. The time of guests, which
        // follows, is part of user and nice.
        let fields = fields.take(8).map(|field| field.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let &[_, _, _, idle, waiting, _, _, stolen] = &fields[..] else { return None };
        Some(Self { idle: idle.saturating_add(waiting), stolen, all: fields.iter().sum() })
    }

    /// Returns the shares of the time since `before`, 0 to 1, in which processors were idle, and in which they were
    /// stolen. `None` if no time has passed.
    pub fn shares_since(self, before: Self) -> Option<(f64, f64)> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)? as f64;
        let share = |now: u64, then: u64| (now.saturating_sub(then) as f64 / all).min(1.0);
        Some((share(self.idle, before.idle), share(self.stolen, before.stolen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_those_of_the_time_between() {
        let of = |stat: &str| Processors::parse(stat);
        let before = of("cpu  100 0 50 800 10 5 5 30 7 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n").unwrap();
        assert_eq!(before, Processors { idle: 810, stolen: 30, all: 1_000 });
        let after = of("cpu  130 0 70 900 30 5 5 60 7 0\n").unwrap();
        assert_eq!(after.shares_since(before), Some((0.6, 0.15)));
        assert_eq!(before.shares_since(before), None);
        assert_eq!(before.shares_since(after), None, "a clock that goes back tells nothing");
        for stat in ["", "intr 1 2 3 4 5 6 7 8", "cpu  1 2 3", "cpu  1 2 3 x 5 6 7 8"] {
            assert_eq!(of(stat), None, "{stat}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_its_time() {
        let before = Processors::now().unwrap();
        assert!(before.all > 0 && before.idle <= before.all);
    }
}
