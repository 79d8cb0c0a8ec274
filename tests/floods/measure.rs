//! One measurement: a server and its neighbours before, during and after a flood, and the limits that they must keep.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::floods::Flood;
use crate::neighbours::Neighbours;
use crate::samples::{Kind, Samples};
use crate::subject::{Generator, Subject};

/// How much a flood may let memory grow, in MiB.
const RSS_GROWTH_MAX_MIB: f64 = 150.0;
/// How large memory may stay after a flood, as a multiple of that before.
const RSS_AFTER_MAX: f64 = 1.2;
/// How many times longer neighbours may wait at p99.
const SLOWER_MAX: f64 = 20.0;

const RSS_INTERVAL: Duration = Duration::from_millis(100);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long neighbours may take to join at first, and to be served again after a flood.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// The duration of each part.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub quiet: Duration,
    pub flood: Duration,
    /// The longest time for memory to return.
    pub settle: Duration,
}

/// The measured values.
pub struct Outcome {
    pub flood: &'static str,
    pub before_mib: f64,
    pub peak_mib: f64,
    pub after_mib: f64,
    /// The time after the flood until memory had returned, or until the limit.
    pub settled: Duration,
    pub quiet: Samples,
    pub flooded: Samples,
    /// The generator's own report.
    pub done: String,
    /// The error that ended the measurement early.
    pub broken: Option<String>,
}

/// Measures one flood with a server of its own.
///
/// # Errors
/// The server does not start, or its neighbours do not join.
pub async fn measure(flood: &'static Flood, max: SocketAddr, plan: Plan) -> io::Result<Outcome> {
    let server = Subject::start(max, flood.settings)?;
    let rss = || server.rss_mib().ok_or_else(|| io::Error::other("the server has died"));
    let neighbours = Neighbours::start(server.addr);
    all_present(&neighbours).await?;
    // The first requests are slower than the rest.
    sleep(plan.quiet.min(Duration::from_secs(1))).await;
    neighbours.take();
    sleep(plan.quiet).await;
    let quiet = neighbours.take();

    let before_mib = rss()?;
    let mut outcome = Outcome {
        flood: flood.name,
        before_mib,
        peak_mib: before_mib,
        after_mib: before_mib,
        settled: Duration::ZERO,
        quiet,
        flooded: Samples::default(),
        done: String::new(),
        broken: None,
    };
    if let Err(error) = endure(&server, &neighbours, plan, &mut outcome).await {
        outcome.broken = Some(error.to_string());
    }
    match server.stop() {
        Ok(status) if status.success() => {}
        Ok(status) => outcome.broken = Some(format!("the server ended with {status}")),
        Err(error) => outcome.broken = Some(error.to_string()),
    }
    Ok(outcome)
}

async fn endure(server: &Subject, neighbours: &Neighbours, plan: Plan, outcome: &mut Outcome) -> io::Result<()> {
    let rss = || server.rss_mib().ok_or_else(|| io::Error::other("the server has died"));
    let generator = Generator::start(outcome.flood, server.addr)?;
    let begun = Instant::now();
    while begun.elapsed() < plan.flood {
        sleep(RSS_INTERVAL).await;
        outcome.peak_mib = outcome.peak_mib.max(rss()?);
    }
    outcome.flooded = neighbours.take();
    outcome.done = generator.stop()?;

    let over = Instant::now();
    loop {
        outcome.after_mib = rss()?;
        outcome.settled = over.elapsed();
        if outcome.is_settled() || outcome.settled >= plan.settle {
            break;
        }
        sleep(RSS_INTERVAL).await;
    }
    all_present(neighbours).await?;
    neighbours.take();
    let waited = Instant::now();
    let mut served = Samples::default();
    while served.fewest() == 0 || served.refused > 0 {
        if waited.elapsed() > PRESENCE_TIMEOUT {
            return Err(io::Error::other("neighbours are not served again"));
        }
        sleep(Duration::from_secs(1)).await;
        served = neighbours.take();
    }
    Ok(())
}

async fn all_present(neighbours: &Neighbours) -> io::Result<()> {
    let begun = Instant::now();
    while !neighbours.all_present() {
        if begun.elapsed() > PRESENCE_TIMEOUT {
            return Err(io::Error::other("the neighbours cannot come in"));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

impl Outcome {
    fn is_settled(&self) -> bool {
        self.after_mib <= self.before_mib * RSS_AFTER_MAX
    }

    /// Returns how many times longer neighbours waited, in the kind of wait that grew most.
    pub fn slower(&self) -> f64 {
        let ratio = |kind| match (self.quiet.at(kind, 0.99), self.flooded.at(kind, 0.99)) {
            (Some(quiet), Some(flooded)) => flooded / quiet,
            // None succeeded.
            _ => f64::INFINITY,
        };
        Kind::ALL.into_iter().map(ratio).fold(0.0, f64::max)
    }

    /// Returns all limits that were not kept.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.grave_faults();
        if self.slower() > SLOWER_MAX {
            faults.push("p99".to_owned());
        }
        if !self.is_settled() {
            faults.push("RSS after".to_owned());
        }
        faults
    }

    /// Returns the faults that count even on a busy machine and in a short time.
    pub fn grave_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.peak_mib - self.before_mib > RSS_GROWTH_MAX_MIB {
            faults.push("RSS".to_owned());
        }
        faults.extend(self.broken.clone());
        faults
    }
}
