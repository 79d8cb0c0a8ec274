//! A clock that wakes in time. The timers of the runtime tick by the millisecond, which is longer than what is measured
//! here; the kernel's are exact to some µs.

use std::io;
use std::time::Instant;

#[cfg(target_os = "linux")]
pub(super) struct Alarm(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // What is deprecated is that any number may call itself a descriptor; this one is owned.
        #[expect(deprecated, reason = "what came in its place is unsafe")]
        let timer = tokio::io::unix::AsyncFd::with_interest(timer, tokio::io::Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Waits for `instant`.
    pub(super) async fn until(&self, instant: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        loop {
            let left = instant.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let it_value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
            // Setting it anew takes back that it went off; so it need not be read.
            self.0.readable().await?.clear_ready();
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for `instant`, or some milliseconds more.
    pub(super) async fn until(&self, instant: Instant) -> io::Result<()> {
        tokio::time::sleep_until(instant.into()).await;
        Ok(())
    }
}
