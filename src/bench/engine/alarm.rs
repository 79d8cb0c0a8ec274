//! A timer that wakes a poll on time. A poll's own timeout has steps of a millisecond, which is too coarse for what is
//! measured here; the kernel's timers are exact to some µs.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

#[cfg(target_os = "linux")]
pub(super) struct Alarm {
    timer: std::os::fd::OwnedFd,
    armed: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// Creates an alarm that wakes the poll of `registry` by an event with this token.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;

        use mio::{Interest, unix::SourceFd};
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, armed: None })
    }

    /// Sets the alarm to `due`, and returns the timeout for the poll. `None` means no timeout: the alarm will wake it.
    pub(super) fn set(&mut self, due: Instant, now: Instant) -> io::Result<Option<Duration>> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let left = due.saturating_duration_since(now);
        if left.is_zero() {
            return Ok(Some(Duration::ZERO));
        }
        if self.armed != Some(due) {
            // Setting the timer clears an expiration, so it need not be read.
            let it_value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
            self.armed = Some(due);
        }
        Ok(None)
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns the timeout after which the poll is back at `due`, or a millisecond later.
    pub(super) fn set(&mut self, due: Instant, now: Instant) -> io::Result<Option<Duration>> {
        Ok(Some(due.saturating_duration_since(now)))
    }
}
