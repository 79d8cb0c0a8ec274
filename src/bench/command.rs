//! The whole command: the target, one run or the search for the knee, the signals that end it, and the report.

use std::fs;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use url::Url;

use super::engine::{self, Job, RunError};
use super::knee::{Objective, Search};
use super::options::{BenchOptions, OptionsError, STDOUT};
use super::outcome::{Circumstances, Knee, Report, Trial};
use super::plan::{Pace, Plan, Sizes};
use super::report::{self, json, page, text};
use super::target::{self, Child, ChildError, FileLimitError, TargetError};
use crate::config::Demo;

/// The exit code of an interrupted bench: that of a shell command ended by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Signals within this time count as one: timeout(1) sends its signal to the process and to its group.
const TOGETHER: Duration = Duration::from_millis(500);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The flags are invalid.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Neither `--url` nor `--spawn` is given.
    #[error("name a server by --url, or start one by --spawn")]
    NoTarget,
    /// Two reports would be written to the same file.
    #[error("--json and --html name the same file, {}: give each one of its own", .0.display())]
    SameFile(PathBuf),
    /// Too few files may be open.
    #[error(transparent)]
    Files(#[from] FileLimitError),
    /// The server of `--spawn` did not start.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The address of the spawned server is not a URL.
    #[error(transparent)]
    Url(#[from] url::ParseError),
    /// The target may not be loaded, or does not answer.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The run has no figures.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The run has no figures, and the server of `--spawn` failed.
    #[error("{server} ({run})")]
    Spawned {
        /// How the server failed.
        #[source]
        server: ChildError,
        /// Why the run has no figures.
        run: RunError,
    },
    /// The system has no thread, or does not report signals.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The report cannot be written.
    #[error("{path}: cannot be written: {cause}")]
    Unwritable {
        /// The file.
        path: String,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
}

/// Runs the bench. SIGINT or SIGTERM ends it with the figures so far; a second signal ends it at once.
///
/// # Errors
/// There is no report.
pub fn run(options: &BenchOptions) -> Result<Report, BenchError> {
    let interrupt = Interrupt::listen()?;
    let users = options.users()?;
    target::raise_file_limit(options.files())?;
    let plan = options.plan();
    let child = options.spawn.then(|| Child::spawn(&demo(&plan))).transpose()?;
    let url = match (&child, &options.url) {
        (Some(child), _) => Url::parse(&child.url())?,
        (None, Some(url)) => url.clone(),
        (None, None) => return Err(BenchError::NoTarget),
    };
    let mut job = Job {
        plan,
        target: target::reach(&url, &options.path, options.allow_remote)?,
        users,
        pid: child.as_ref().map(Child::pid).or(options.pid),
        metrics: child.as_ref().and_then(Child::metrics),
        threads: options.threads,
        circumstances: Circumstances {
            users_of_a_file: options.token_file.is_some(),
            ..circumstances(&url, child.as_ref())
        },
        progress: !options.quiet && io::stderr().is_terminal(),
    };
    let report = if options.find_knee {
        find_knee(options, |pace| {
            job.plan.pace = pace;
            engine::run(&job, interrupt.come())
        })
    } else {
        engine::run(&job, interrupt.come())
    };
    match (report, child.map_or(Ok(()), Child::stop)) {
        (Ok(mut report), stopped) => {
            // A failure of the server must not lose the figures. Its last words are too long for a table.
            if let Err(error) = stopped {
                let _ = writeln!(io::stderr(), "maxtalk: {error}");
                let kind = if let ChildError::Over { how, .. } = error { how.to_string() } else { error.to_string() };
                report.errors.push((kind, 1));
            }
            Ok(report)
        }
        (Err(run), Err(server)) => Err(BenchError::Spawned { server, run }),
        (Err(run), Ok(())) => Err(run.into()),
    }
}

/// Returns the text for standard output: the table, JSON, or nothing.
pub fn output(options: &BenchOptions, report: &Report) -> Option<String> {
    match &options.json {
        Some(path) if path == Path::new(STDOUT) => Some(json::json(report)),
        _ => (!options.quiet).then(|| text::table(report)),
    }
}

/// The files for the report. They are opened before the run, because a wrong path must not cost one.
#[derive(Debug)]
pub struct Files {
    json: Option<Output>,
    html: Option<Output>,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: fs::File,
    /// Whether the file was created here and is still empty. It is then removed on drop.
    is_new: bool,
}

impl Files {
    /// Opens the files that the options name. Their contents stay until [`write`](Self::write).
    ///
    /// # Errors
    /// A file cannot be written, or both flags name the same file.
    pub fn open(options: &BenchOptions) -> Result<Self, BenchError> {
        let open = |path: &PathBuf| Output::open(path).map_err(|cause| unwritable(path, cause));
        let json = options.json.as_ref().filter(|path| *path != Path::new(STDOUT));
        if let Some(path) = json.filter(|json| options.html.as_ref() == Some(json)) {
            return Err(BenchError::SameFile(path.clone()));
        }
        Ok(Self { json: json.map(open).transpose()?, html: options.html.as_ref().map(open).transpose()? })
    }

    /// Writes the report to all files.
    ///
    /// # Errors
    /// The first file that could not be written. The others are written anyway.
    pub fn write(self, report: &Report) -> Result<(), BenchError> {
        let json = self.json.map(|output| output.write(&json::json(report)));
        let html = self.html.map(|output| output.write(&page::page(report)));
        json.unwrap_or(Ok(())).and_then(|()| html.unwrap_or(Ok(())))
    }
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let (file, is_new) = match fs::File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (fs::File::options().write(true).open(path)?, false)
            }
            created => (created?, true),
        };
        Ok(Self { path: path.to_owned(), file, is_new })
    }

    fn write(mut self, text: &str) -> Result<(), BenchError> {
        self.is_new = false;
        let write = |mut file: &fs::File| {
            // Only regular files have old contents to be cut off.
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            file.write_all(text.as_bytes())
        };
        write(&self.file).map_err(|cause| unwritable(&self.path, cause))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_new {
            // An empty file that is left behind does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, cause: io::Error) -> BenchError {
    BenchError::Unwritable { path: path.display().to_string(), cause }
}

/// Returns the people of the demo that a spawned server needs for this plan.
fn demo(plan: &Plan) -> Demo {
    let zipf = match plan.sizes {
        Sizes::Even | Sizes::Learnt => None,
        Sizes::Zipf(exponent) => Some(exponent),
    };
    Demo { people: plan.connections, members: plan.members.min(plan.connections), zipf }
}

fn circumstances(url: &Url, child: Option<&Child>) -> Circumstances {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let server = match child.map(Child::chosen) {
        None => "its build and configuration are not told to clients".to_owned(),
        Some([]) => "spawned, this build, default settings".to_owned(),
        Some(chosen) => format!("spawned, this build, {}", chosen.join(", ")),
    };
    let began = OffsetDateTime::from(SystemTime::now());
    let began = began.replace_nanosecond(0).unwrap_or(began);
    Circumstances {
        machine: target::machine(),
        build: format!("maxtalk {}, {profile}", env!("CARGO_PKG_VERSION")),
        began: began.format(&Rfc3339).unwrap_or_default(),
        url: url.to_string(),
        server,
        users_of_a_file: false,
    }
}

/// Makes a run for each rate that the search asks for. Returns the report of the best rate, or of the last if none
/// held. An early end of the search keeps what was found before.
fn find_knee(
    options: &BenchOptions,
    mut run: impl FnMut(Pace) -> Result<Report, RunError>,
) -> Result<Report, RunError> {
    let mut search = Search::new(options.rate);
    let mut best: Option<Report> = None;
    let mut fresh = None;
    while let Some(rate) = search.next() {
        let mut report = match (attempt(&options.slo, rate, &mut run), &mut best) {
            (Ok(report), _) => report,
            (Err(error), None) => return Err(error),
            // A server that does not survive a rate, or lets nobody in any more, does not hold it.
            (Err(error), Some(best)) => {
                search.failed();
                if !options.quiet {
                    tell(&format!("{rate:.0} talks/s: {}: {error}", Trial::Fails.as_str()));
                }
                best.errors.push((format!("at {rate:.0} talks/s: {error}"), 1));
                break;
            }
        };
        // A server keeps memory that it once had, so only the first run shows what connections need.
        let fresh = *fresh.get_or_insert(report.server);
        if let (Some(server), Some(fresh)) = (&mut report.server, fresh) {
            (server.rss_before, server.rss_joined) = (fresh.rss_before, fresh.rss_joined);
        }
        if report.interrupted {
            // An interrupted run is no trial: it might have failed later.
            best.get_or_insert(report).interrupted = true;
            break;
        }
        let trial = options.slo.judge(&report);
        let is_best = trial == Trial::Holds || !search.has_held();
        search.tried(&report, trial);
        if !options.quiet {
            let p99 =
                report.corrected.at(99.0).map_or_else(|| "none".to_owned(), |us| format!("{:.2} ms", us as f64 / 1e3));
            let why = report::doubts(&report).map_or_else(String::new, |doubts| format!(" ({doubts})"));
            tell(&format!("{rate:.0} talks/s: p99 {p99}, {}{why}", trial.as_str()));
        }
        if is_best {
            best = Some(report);
        }
    }
    let Some(mut report) = best else { unreachable!("a search begins with a rate") };
    report.knee = Some(Knee { objective: options.slo.to_string(), steps: search.into_steps() });
    Ok(report)
}

/// Makes a run, and a second one if the generator did not keep its plan in the first.
fn attempt(
    objective: &Objective,
    rate: f64,
    run: &mut impl FnMut(Pace) -> Result<Report, RunError>,
) -> Result<Report, RunError> {
    let first = run(Pace::Open { rate })?;
    if objective.judge(&first) != Trial::Unproven || first.interrupted {
        return Ok(first);
    }
    let second = run(Pace::Open { rate })?;
    // An interrupted run knows less than the first.
    Ok(if second.interrupted { Report { interrupted: true, ..first } } else { second })
}

/// Writes a line to standard error, because a search takes minutes.
fn tell(line: &str) {
    // Progress is worth no error.
    let _ = writeln!(io::stderr(), "{line}");
}

/// SIGINT and SIGTERM. The handler is installed before there is anything to stop. The first signal ends the runs; a
/// second ends this process, and with it a spawned server.
struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (came, coming) = watch::channel(false);
        let entered = runtime.enter();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(entered);
        let listen = async move {
            let mut first = None;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if first.get_or_insert_with(Instant::now).elapsed() > TOGETHER {
                    process::exit(INTERRUPTED.into());
                }
                came.send_replace(true);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listen))?;
        Ok(Self(coming))
    }

    /// Waits for the first signal.
    async fn come(&self) {
        let mut coming = self.0.clone();
        if coming.wait_for(|came| *came).await.is_err() {
            // The thread that listens is gone, so no signal will come.
            pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::outcome::samples;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: BenchOptions,
    }

    /// Makes a search from 1000 talks/s with these runs.
    fn found(runs: impl IntoIterator<Item = Result<Report, RunError>>) -> Result<Report, RunError> {
        let line = CommandLine::parse_from(["bench", "--spawn", "--find-knee", "--quiet"]);
        let mut runs = runs.into_iter();
        find_knee(&line.options, |pace| {
            let run = runs.next().unwrap();
            let scale = match pace {
                Pace::Open { rate } => rate / samples::good().planned_per_s().unwrap(),
                Pace::Bursts { .. } | Pace::Closed { .. } => unreachable!(),
            };
            run.map(|mut report| {
                report.plan.pace = pace;
                report.seconds.iter_mut().for_each(|second| second.talks = (second.talks as f64 * scale) as u64);
                report
            })
        })
    }

    fn trials(report: &Report) -> Vec<(f64, Trial)> {
        report.knee.iter().flat_map(|knee| &knee.steps).map(|step| (step.rate, step.trial)).collect()
    }

    fn nobody_joins() -> Result<Report, RunError> {
        Err(RunError::NobodyJoined { errors: vec![("connect: refused".to_owned(), 12)] })
    }

    #[test]
    fn a_trial_without_figures_fails_and_the_best_is_kept() {
        let report = found([Ok(samples::good()), Ok(samples::good()), nobody_joins()]).unwrap();
        assert_eq!(trials(&report), [(1000.0, Trial::Holds), (2000.0, Trial::Holds), (4000.0, Trial::Fails)]);
        assert_eq!(report.planned_per_s(), Some(2000.0));
        let error = ("at 4000 talks/s: nobody could join: connect: refused (12)".to_owned(), 1);
        assert!(report.errors.contains(&error), "{:?}", report.errors);
        assert!(found([nobody_joins()]).is_err(), "there is nothing to keep");
    }

    #[test]
    fn what_is_interrupted_takes_no_figures_away() {
        let cut_short = || Ok(Report { interrupted: true, ..samples::empty() });
        let lossy = || {
            let mut report = samples::good();
            report.accounts.lost = 1;
            report
        };
        let late = || {
            let mut report = samples::good();
            report.generator.lag_p99 = 1_000_000;
            report
        };
        let held = found([Ok(samples::good()), cut_short()]).unwrap();
        assert_eq!(trials(&held), [(1000.0, Trial::Holds)]);
        assert!(held.interrupted && held.corrected.count > 0);
        let failed = found([Ok(lossy()), cut_short()]).unwrap();
        assert_eq!(trials(&failed), [(1000.0, Trial::Fails)]);
        assert!(failed.interrupted && failed.corrected.count > 0);
        let again = found([Ok(late()), cut_short()]).unwrap();
        let late_and_lossy = || Report { accounts: lossy().accounts, ..late() };
        let no_excuse = found([Ok(late_and_lossy()), cut_short()]).unwrap();
        assert_eq!(trials(&no_excuse), [(1000.0, Trial::Fails)], "a fault gets no second chance");
        assert!(trials(&again).is_empty() && again.interrupted && again.corrected.count > 0);
        let at_once = found([cut_short()]).unwrap();
        assert!(at_once.interrupted && at_once.corrected.count == 0);
    }
}
