//! The whole command: the target, one run or the search for the knee, and the report.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::client::Target;
use super::engine::{self, Job, RunError};
use super::knee::Search;
use super::options::BenchOptions;
use super::plan::{Pace, Sizes};
use super::report::{Circumstances, Knee, Report, json, page};
use super::target::{self, Child};
use crate::config::Demo;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// What was asked cannot be done here.
    #[error("{0}")]
    Refused(String),
    /// There was a run, and it has no figures.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The server that was spawned came to its end.
    #[error("{server} ({run})")]
    Spawned {
        /// What became of it.
        server: String,
        /// What the run made of that.
        run: RunError,
    },
    /// The report cannot be written.
    #[error("{path}: cannot be written: {cause}")]
    Unwritable {
        /// Where.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// Does what the options say. Ctrl-C ends it with the figures so far.
///
/// # Errors
/// Where there is no report.
pub fn run(options: &BenchOptions) -> Result<Report, BenchError> {
    let users = options.users().map_err(BenchError::Refused)?;
    target::raise_file_limit(options.files()).map_err(BenchError::Refused)?;
    let plan = options.plan();
    let mut child = None;
    if options.spawn {
        let zipf = match plan.sizes {
            Sizes::Even => None,
            Sizes::Zipf(exponent) => Some(exponent),
        };
        let demo = Demo { people: plan.connections, members: plan.members.min(plan.connections), zipf };
        child = Some(Child::spawn(&demo).map_err(BenchError::Refused)?);
    }
    let url = match (&child, &options.url) {
        (Some(child), _) => Url::parse(&child.url()).map_err(|error| BenchError::Refused(error.to_string()))?,
        (None, Some(url)) => url.clone(),
        (None, None) => return Err(BenchError::Refused("--url or --spawn says what is to be loaded".to_owned())),
    };
    let (host, namespace) = BenchOptions::host_and_namespace(&url).map_err(BenchError::Refused)?;
    let address = target::check_target(&url, options.allow_remote).map_err(BenchError::Refused)?;
    let job = Job {
        plan,
        target: Target { host, address, path: options.path.clone(), namespace },
        users,
        pid: child.as_ref().map(Child::pid).or(options.pid),
        threads: options.threads,
        circumstances: circumstances(&url),
        progress: !options.quiet && io::stderr().is_terminal(),
    };
    let report = if options.find_knee { find_knee(options, job) } else { engine::run(&job, interrupt()) };
    match (report, child.as_mut().and_then(Child::ended)) {
        (Ok(report), _) => Ok(report),
        (Err(run), Some(server)) => Err(BenchError::Spawned { server, run }),
        (Err(error), None) => Err(error.into()),
    }
}

/// Writes the report to the files that are named, standard output apart.
///
/// # Errors
/// Where one cannot be written.
pub fn write(options: &BenchOptions, report: &Report) -> Result<(), BenchError> {
    let write = |path: &Path, text: String| {
        let unwritable = |cause| BenchError::Unwritable { path: path.display().to_string(), cause };
        std::fs::write(path, text).map_err(unwritable)
    };
    if let Some(path) = options.json.as_deref().filter(|path| *path != Path::new("-")) {
        write(path, json::json(report))?;
    }
    if let Some(path) = &options.html {
        write(path, page::page(report))?;
    }
    Ok(())
}

/// A run for each rate that the search wants to know about. The report is that of the best, or of the last where none
/// has held.
fn find_knee(options: &BenchOptions, mut job: Job) -> Result<Report, RunError> {
    let Pace::Open { rate } = job.plan.pace else { return engine::run(&job, interrupt()) };
    let mut search = Search::new(rate);
    let mut best: Option<(bool, Report)> = None;
    let mut unproven = Vec::new();
    while let Some(rate) = search.next() {
        job.plan.pace = Pace::Open { rate };
        let mut report = engine::run(&job, interrupt())?;
        // What fails for want of the generator says nothing about the server: it gets a second chance, and is told of.
        if report.invalid().is_some() && !report.interrupted {
            report = engine::run(&job, interrupt())?;
        }
        if let Some(reason) = report.invalid().filter(|_| !report.interrupted) {
            unproven.push((format!("search: {rate:.0} talks/s not proven, {reason}"), 1));
        }
        let interrupted = report.interrupted;
        // An interrupted run is no trial: it may have been about to fail.
        let holds = !interrupted && search.tried(&report, options.slo.holds(&report));
        if holds || best.as_ref().is_none_or(|(held, _)| !held) {
            best = Some((holds, report));
        }
        if interrupted {
            if let Some((_, report)) = &mut best {
                report.interrupted = true;
            }
            break;
        }
    }
    let Some((_, mut report)) = best else { return engine::run(&job, interrupt()) };
    report.errors.extend(unproven);
    report.knee = Some(Knee { objective: options.slo.to_string(), steps: search.into_steps() });
    Ok(report)
}

/// Ends at Ctrl-C.
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Then it works as it does by default, and ends the process.
        std::future::pending().await
    }
}

fn circumstances(url: &Url) -> Circumstances {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Circumstances {
        machine: target::machine(),
        build: format!("maxtalk {}, {profile}", env!("CARGO_PKG_VERSION")),
        began: OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default(),
        url: url.to_string(),
    }
}
