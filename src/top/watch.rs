//! Looks at the server again and again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::reading::{self, Picture};
use crate::remote::address::Remote;
use crate::remote::caller::{CallError, Caller};

/// The path of the overview.
const PATH: &str = "/api/v1/overview";

/// Longest pause before another attempt, unless the interval is longer.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Looks at one server. Needs an actix system.
pub struct Watch {
    caller: Caller,
    interval: Duration,
    /// Attempts that failed since the last answer.
    failures: u32,
}

impl Watch {
    /// Creates a watch that looks once in each interval.
    pub fn new(remote: Remote, interval: Duration) -> Self {
        Self { caller: Caller::new(remote), interval, failures: 0 }
    }

    /// Looks at the server. Returns its overview, as JSON and as it could be read.
    ///
    /// # Errors
    /// The server does not answer, or its answer cannot be read.
    pub async fn look(&mut self) -> Result<(Value, Picture), CallError> {
        let looked = self.try_look().await;
        self.failures = if looked.is_ok() { 0 } else { self.failures.saturating_add(1) };
        looked
    }

    async fn try_look(&self) -> Result<(Value, Picture), CallError> {
        let value = self.caller.get(PATH).await?;
        match reading::read(value.clone()) {
            Ok(picture) => Ok((value, picture)),
            Err(why) => Err(self.caller.unreadable(PATH, &why).await),
        }
    }

    /// Returns the time for the next look, if the last one began at `begun` and ended at `ended`.
    pub fn next(&self, begun: Instant, ended: Instant) -> Instant {
        match self.failures {
            // A server that answers slowly is not asked without a pause.
            0 => (begun + self.interval).max(ended + self.interval / 10),
            failures => ended + pause(self.interval, failures),
        }
    }
}

/// Returns the pause after some failures in a row: it doubles each time.
fn pause(interval: Duration, failures: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(PAUSE_MAX.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_double_up_to_a_bound() {
        let seconds = |interval, failures| pause(Duration::from_secs(interval), failures).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 1000].map(|failures| seconds(1, failures)), [1, 2, 4, 8, 10, 10]);
        assert_eq!([1, 2, 1000].map(|failures| seconds(60, failures)), [60, 60, 60]);
    }
}
