//! The server under load: that of `--url`, or one of this program that is started for the runs and stopped after them.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::engine::{self, Credentials, Job, RunError};
use super::interrupt::Interrupt;
use super::options::{BenchOptions, OptionsError};
use super::outcome::{Circumstances, Report};
use super::plan::{Pace, Plan, Sizes};
use super::target::{self, Child, ChildError, Set, TargetError};
use crate::config::Demo;
use crate::version;

/// Why there is no server, or no report of a run.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Neither `--url` nor `--spawn` is given.
    #[error("name a server by --url, or start one by --spawn")]
    NoTarget,
    /// The server of `--spawn` did not start.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The address of the spawned server is not a URL.
    #[error(transparent)]
    Url(#[from] url::ParseError),
    /// The file of `--protocol` describes no protocol.
    #[error(transparent)]
    Options(#[from] OptionsError),
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
}

/// A server that can be loaded.
pub struct Subject {
    child: Option<Child>,
    job: Job,
}

impl Subject {
    /// Finds the server of the options, or starts one with these settings, for runs of this plan.
    ///
    /// # Errors
    /// The server does not start or answer, or may not be loaded.
    pub fn start(
        options: &BenchOptions,
        plan: Plan,
        users: Vec<Credentials>,
        settings: &[Set],
    ) -> Result<Self, SubjectError> {
        let child = options.spawn.then(|| Child::spawn(&demo(&plan), settings)).transpose()?;
        let url = match (&child, &options.url) {
            (Some(child), _) => Url::parse(&child.url())?,
            (None, Some(url)) => url.clone(),
            (None, None) => return Err(SubjectError::NoTarget),
        };
        let job = Job {
            plan,
            target: target::reach(&url, &options.path, &Arc::new(options.protocol()?), options.allow_remote)?,
            users,
            pid: child.as_ref().map(Child::pid).or(options.pid),
            metrics: child.as_ref().and_then(Child::metrics),
            threads: options.threads,
            circumstances: Circumstances {
                users_of_a_file: options.token_file.is_some(),
                protocol: options.protocol.as_ref().map(|path| path.display().to_string()),
                ..circumstances(url.to_string(), child.as_ref().map(Child::chosen))
            },
            progress: !options.quiet && io::stderr().is_terminal(),
        };
        Ok(Self { child, job })
    }

    /// Makes a run at this pace.
    ///
    /// # Errors
    /// There are no figures.
    pub fn run(&mut self, pace: Pace, interrupt: &Interrupt) -> Result<Report, RunError> {
        self.job.plan.pace = pace;
        engine::run(&self.job, interrupt.come())
    }

    /// Stops the server, if it was started here. Returns the report, with the failure of the server if it failed.
    ///
    /// # Errors
    /// There is no report.
    pub fn end(self, report: Result<Report, RunError>) -> Result<Report, SubjectError> {
        match (report, self.child.map_or(Ok(()), Child::stop)) {
            (Ok(mut report), stopped) => {
                // A failure of the server must not lose the figures. Its last words are too long for a table.
                if let Err(error) = stopped {
                    let _ = writeln!(io::stderr(), "maxtalk: {error}");
                    let kind =
                        if let ChildError::Over { how, .. } = error { how.to_string() } else { error.to_string() };
                    report.errors.push((kind, 1));
                }
                Ok(report)
            }
            (Err(run), Err(server)) => Err(SubjectError::Spawned { server, run }),
            (Err(run), Ok(())) => Err(run.into()),
        }
    }
}

/// Returns the people of the demo that a spawned server needs for this plan.
pub(super) fn demo(plan: &Plan) -> Demo {
    let zipf = match plan.sizes {
        Sizes::Even | Sizes::Learnt => None,
        Sizes::Zipf(exponent) => Some(exponent),
    };
    Demo {
        public: false,
        people: plan.connections,
        members: plan.members.min(plan.connections),
        conversations_per_person: plan.conversations_per_user,
        zipf,
    }
}

/// Returns the circumstances of runs that begin now. `chosen` are the settings that a spawned server has from the
/// environment; `None` if the server was not spawned.
pub(super) fn circumstances(url: String, chosen: Option<&[String]>) -> Circumstances {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let server = match chosen {
        None => "its build and configuration are not told to clients".to_owned(),
        Some([]) => "spawned, this build, default settings".to_owned(),
        Some(chosen) => format!("spawned, this build, {}", chosen.join(", ")),
    };
    let began = OffsetDateTime::from(SystemTime::now());
    let began = began.replace_nanosecond(0).unwrap_or(began);
    Circumstances {
        machine: target::machine(),
        build: format!("maxtalk {}, {profile}", *version::FULL),
        began: began.format(&Rfc3339).unwrap_or_default(),
        url,
        server,
        spawned: chosen.is_some(),
        users_of_a_file: false,
        protocol: None,
    }
}
