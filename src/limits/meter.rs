//! The packets and bytes that one client may send per second. A client that has used up its burst is read more slowly,
//! as if its network were slow. A client that goes on for too long without a rest floods. Pure: the time is an
//! argument.

use std::time::{Duration, Instant};

use super::bucket::{Bucket, Rate};

/// How long a client that has sent too much waits before it is judged again.
pub const PAUSE: Duration = Duration::from_millis(100);

/// The packets and bytes that each client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Packets. A frame without a packet and a read count as one packet each.
    pub packets: Rate,
    /// Bytes.
    pub bytes: Rate,
    /// How long a client may be held back without a rest before it counts as flooding.
    pub patience: Duration,
}

impl Allowance {
    /// No limit.
    pub const UNLIMITED: Self = Self { packets: Rate::UNLIMITED, bytes: Rate::UNLIMITED, patience: Duration::MAX };
}

/// The part of an [`Allowance`] that one client has used up.
#[derive(Debug, Default)]
pub struct Meter {
    packets: Bucket,
    bytes: Bucket,
    /// Boxed because few clients ever send too much.
    flood: Option<Box<Flood>>,
}

/// The state of a client that has sent too much and has not rested since. It has rested when it may send half of both
/// bursts at once.
#[derive(Debug)]
struct Flood {
    since: Instant,
    wait_until: Instant,
}

/// Whether to read from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read on.
    Listen,
    /// Do not read now. The client is judged again after a [`PAUSE`], which the caller schedules if `begins`.
    Wait {
        /// Whether the pause begins now.
        begins: bool,
    },
    /// The client floods: end its session.
    Floods,
}

impl Meter {
    /// Counts packets and bytes that the client has sent. If they are more than allowed, the client owes the rest.
    pub fn charge(&mut self, allowance: &Allowance, packets: u64, bytes: u64, now: Instant) {
        self.packets.charge(allowance.packets, packets, now);
        self.bytes.charge(allowance.bytes, bytes, now);
    }

    /// Judges whether to read from the client now.
    pub fn judge(&mut self, allowance: &Allowance, now: Instant) -> Verdict {
        if self.flood.as_ref().is_some_and(|flood| now < flood.wait_until) {
            return Verdict::Wait { begins: false };
        }
        let holds = |packets, bytes| {
            self.packets.wait(allowance.packets, packets, now).is_zero()
                && self.bytes.wait(allowance.bytes, bytes, now).is_zero()
        };
        if holds(1, 1) {
            if self.flood.is_some() && holds(allowance.packets.burst / 2, allowance.bytes.burst / 2) {
                self.flood = None;
            }
            return Verdict::Listen;
        }
        let flood = self.flood.get_or_insert_with(|| Box::new(Flood { since: now, wait_until: now }));
        if now.saturating_duration_since(flood.since) >= allowance.patience {
            return Verdict::Floods;
        }
        flood.wait_until = now + PAUSE;
        Verdict::Wait { begins: true }
    }

    /// Returns whether the client is held back now.
    pub fn holds_back(&self, now: Instant) -> bool {
        self.flood.as_ref().is_some_and(|flood| now < flood.wait_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        packets: Rate { per_second: 1000, burst: 2000 },
        bytes: Rate { per_second: 100_000, burst: 200_000 },
        patience: Duration::from_secs(10),
    };

    /// Sends 100 packets of this size every 5 ms if the meter allows it. Returns the number of packets sent, and
    /// [`Verdict::Floods`] if that ended it, otherwise [`Verdict::Listen`].
    fn flood(seconds: u64, bytes: u64) -> (u64, Verdict) {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut taken = 0;
        for ms in (0..=1000 * seconds).step_by(5) {
            let now = start + Duration::from_millis(ms);
            match meter.judge(&ALLOWANCE, now) {
                Verdict::Listen => {
                    meter.charge(&ALLOWANCE, 100, 100 * bytes, now);
                    taken += 100;
                }
                Verdict::Wait { .. } => {}
                Verdict::Floods => return (taken, Verdict::Floods),
            }
        }
        (taken, Verdict::Listen)
    }

    #[test]
    fn a_flood_is_slowed_down_and_then_ended() {
        for bytes in [1, 100] {
            let (taken, end) = flood(9, bytes);
            assert_eq!(end, Verdict::Listen);
            assert!((10_000..=12_000).contains(&taken), "{taken}");
            assert_eq!(flood(60, bytes).1, Verdict::Floods);
        }
        let (taken, end) = flood(60, 1000);
        assert_eq!(end, Verdict::Floods);
        assert!((1_000..=1_500).contains(&taken), "bytes count too: {taken}");
    }

    #[test]
    fn a_burst_waits_and_is_forgotten_after_a_rest() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for round in 0..20 {
            let begin = round * 11_000;
            meter.charge(&ALLOWANCE, 10_000, 0, at(begin));
            assert_eq!(meter.judge(&ALLOWANCE, at(begin)), Verdict::Wait { begins: true }, "{round}");
            assert_eq!(meter.judge(&ALLOWANCE, at(begin + 99)), Verdict::Wait { begins: false });
            assert!(meter.holds_back(at(begin + 99)) && !meter.holds_back(at(begin + 100)));
            assert_eq!(meter.judge(&ALLOWANCE, at(begin + 7_900)), Verdict::Wait { begins: true });
            assert_eq!(meter.judge(&ALLOWANCE, at(begin + 8_100)), Verdict::Listen);
            assert_eq!(meter.judge(&ALLOWANCE, at(begin + 10_000)), Verdict::Listen);
        }
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        meter.charge(&Allowance::UNLIMITED, u64::MAX, u64::MAX, now);
        assert_eq!(meter.judge(&Allowance::UNLIMITED, now), Verdict::Listen);
    }
}
