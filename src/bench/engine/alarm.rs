//! A timer that wakes a [`mio::Poll`] on time. The timeout of the poll itself has steps of a millisecond, which is too
//! coarse for the latencies of the bench. A timer of the Linux kernel is exact to some µs.

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

    /// Sets the alarm to `due`. Returns the timeout for the poll: zero if `due` has come, otherwise `None`, because the
    /// alarm wakes the poll.
    pub(super) fn set(&mut self, due: Instant, now: Instant) -> io::Result<Option<Duration>> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let left = due.saturating_duration_since(now);
        if left.is_zero() {
            return Ok(Some(Duration::ZERO));
        }
        if self.armed != Some(due) {
            // Setting the timer clears an expiration, so the timer need not be read.
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

    /// Returns the timeout by which the poll returns at `due`, or up to a millisecond later.
    pub(super) fn set(&mut self, due: Instant, now: Instant) -> io::Result<Option<Duration>> {
        Ok(Some(due.saturating_duration_since(now)))
    }
}
