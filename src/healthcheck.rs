//! `maxtalk healthcheck`: asks a running server whether it is ready for clients, as a container engine does.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;

use crate::remote::address::{Access, Remote};
use crate::remote::caller::{CallError, Caller};

/// Shortest and longest wait for the answer, in seconds.
const TIMEOUT_S: RangeInclusive<f64> = 0.1..=3600.0;

/// The options of `maxtalk healthcheck`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct HealthcheckOptions {
    /// The way to the server.
    #[command(flatten)]
    pub access: Access,
    /// Longest wait for the answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_timeout)]
    pub timeout: Duration,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| TIMEOUT_S.contains(seconds));
    let allowed = || format!("allowed: seconds from {} to {}", TIMEOUT_S.start(), TIMEOUT_S.end());
    seconds.map(Duration::from_secs_f64).ok_or_else(allowed)
}

/// Asks a server whether it is ready. Returns the line for standard output.
///
/// # Errors
/// The server does not answer in time, or is not ready.
pub async fn run(remote: Remote, timeout: Duration) -> Result<String, CallError> {
    let told = format!("{} is ready\n", remote.base);
    let caller = Caller::with_deadline(remote, timeout);
    // A server that answers something else is asked once more, for its version: both calls have to fit.
    match tokio::time::timeout(timeout, caller.ready()).await {
        Ok(ready) => ready.map(|()| told),
        Err(_) => Err(caller.late()),
    }
}
