//! The server under load: that of `--url`, or one of this program that is started for the runs and stopped after them;
//! or several, the nodes of a cluster.

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
use super::target::{self, Redis, Servers, ServersError, Set, TargetError};
use crate::config::Demo;
use crate::version;

/// Why there is no server, or no report of a run.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Neither `--url` nor `--spawn` is given.
    #[error("name a server by --url, or start one by --spawn")]
    NoTarget,
    /// The servers of `--spawn` did not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
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
    /// The run has no figures, and a server of `--spawn` failed.
    #[error("{server} ({run})")]
    Spawned {
        /// How the server failed.
        #[source]
        server: ServersError,
        /// Why the run has no figures.
        run: RunError,
    },
}

/// A server that can be loaded, or the nodes of a cluster.
pub struct Subject {
    servers: Option<Servers>,
    job: Job,
}

impl Subject {
    /// Finds the servers of the options, or starts some with these settings, for runs of this plan.
    ///
    /// # Errors
    /// A server does not start or answer, or may not be loaded.
    pub fn start(
        options: &BenchOptions,
        plan: Plan,
        users: Vec<Credentials>,
        settings: &[Set],
    ) -> Result<Self, SubjectError> {
        let servers = options.spawn.map(|number| Servers::start(number, &demo(&plan), settings)).transpose()?;
        let urls = servers.as_ref().map_or_else(|| Ok(options.url.clone()), Servers::urls)?;
        if urls.is_empty() {
            return Err(SubjectError::NoTarget);
        }
        let all_urls = urls.iter().map(Url::to_string).collect::<Vec<_>>().join(", ");
        let of_servers = circumstances(all_urls, servers.as_ref().map(Servers::chosen));
        let redis = servers.as_ref().and_then(Servers::redis);
        let server = match redis {
            Some(redis) => {
                format!("{} nodes, {}, with {} between them", urls.len(), of_servers.server, redis.version())
            }
            None => of_servers.server,
        };
        let job = Job {
            plan,
            targets: target::reach_all(&urls, &options.path, &Arc::new(options.protocol()?), options.allow_remote)?,
            users,
            pids: servers.as_ref().map_or_else(|| options.pid.clone(), Servers::pids),
            redis: redis.map(Redis::pid),
            metrics: servers.as_ref().map(Servers::metrics).unwrap_or_default(),
            threads: options.threads,
            circumstances: Circumstances {
                users_of_a_file: options.token_file.is_some(),
                protocol: options.protocol.as_ref().map(|path| path.display().to_string()),
                server,
                ..of_servers
            },
            progress: !options.quiet && io::stderr().is_terminal(),
        };
        Ok(Self { servers, job })
    }

    /// Makes a run at this pace.
    ///
    /// # Errors
    /// There are no figures.
    pub fn run(&mut self, pace: Pace, interrupt: &Interrupt) -> Result<Report, RunError> {
        self.job.plan.pace = pace;
        engine::run(&self.job, interrupt.come())
    }

    /// Stops the servers that were started here. Returns the report, with the failures of servers that failed.
    ///
    /// # Errors
    /// There is no report.
    pub fn end(self, report: Result<Report, RunError>) -> Result<Report, SubjectError> {
        let mut failures = self.servers.map(Servers::stop).unwrap_or_default().into_iter();
        match report {
            Ok(mut report) => {
                // A failure of a server must not lose the figures. Its last words are too long for a table.
                for error in failures {
                    let _ = writeln!(io::stderr(), "maxtalk: {error}");
                    report.errors.push((error.kind(), 1));
                }
                Ok(report)
            }
            Err(run) => Err(match failures.next() {
                Some(server) => SubjectError::Spawned { server, run },
                None => run.into(),
            }),
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
