//! The program: reads the command line, runs one command, and maps its error to an exit code.
//!
//! The exit code is 0 for success, 1 for a command that failed, 2 for an invalid command line, and 130 for a clean
//! bench that was interrupted. If a signal ends `maxtalk top`, it is 128 plus the number of the signal.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};
use std::time::Duration;

use crate::cli::{self, Command, ManError, RemoteError};
use crate::cluster::bus::Checked;
use crate::logging::{self, LogFormat, Look};
use crate::metrics::{alerts, grafana};
use crate::{config, docs, server};

/// How long the last log lines may take to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the command line of this process. Returns its exit code.
pub fn main() -> ExitCode {
    match run(cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            cli::complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve(options) => {
            let config = options.load()?;
            save_addresses();
            if options.until_eof {
                cli::stop_at_eof()?;
            }
            let log = &config.log;
            let look = Look { format: log.format, colors: has_colors() };
            let greets = look.format == LogFormat::Text && io::stderr().is_terminal();
            let logging = logging::start(&log.filter, look, greets, log.lines_max, log.refusals_per_second_max)?;
            config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
            #[cfg(feature = "jemalloc")]
            give_memory_back();
            let (greeter, last_words) = (logging.clone(), logging.clone());
            let greet = |lines: &str| {
                if greets {
                    greeter.greet(lines)
                }
            };
            let end = server::run(config, greet, move || _ = last_words.flush(FLUSH_TIMEOUT));
            if look.format == LogFormat::Json
                && let Err(error) = end
            {
                // A collector of objects would drop a line that is none.
                log::error!("{error}");
                logging.flush(FLUSH_TIMEOUT);
                return Ok(ExitCode::FAILURE);
            }
            logging.flush(FLUSH_TIMEOUT);
            end?;
        }
        Command::Check { options, offline, connect, size } => {
            let (config, report) = options.check(size)?;
            server::check(&config)?;
            cli::print(&report)?;
            if !offline && let Some(max) = server::check_max(&config)? {
                cli::print(&format!("{max}\n"))?;
            }
            if connect {
                return check_servers(&config);
            }
            for (is_set, server) in [
                (!config.cluster.url.is_empty(), "Redis of the cluster"),
                (config.feed.url.is_some(), "RabbitMQ of the feed"),
            ] {
                if is_set {
                    cli::print(&format!("The {server} was not tried: add --connect\n"))?;
                }
            }
        }
        Command::Config => cli::print(&config::annotated_defaults())?,
        Command::Grafana => cli::print(&grafana::dashboard())?,
        Command::Alerts => cli::print(&alerts::rules())?,
        Command::Docs { page } => {
            let page = page.as_deref().and_then(docs::find);
            cli::print(&page.map_or_else(docs::list, |page| page.text.to_owned()))?;
        }
        Command::Bench(options) => return Ok(cli::bench(&options)?),
        Command::Top(options) => return Ok(of_remote(cli::top(&options))),
        Command::Set(options) => return Ok(of_remote(cli::set(&options))),
        Command::Healthcheck(options) => return Ok(of_remote(cli::healthcheck(&options))),
        Command::Completions { shell } => cli::print(&cli::completions(shell))?,
        Command::Man(options) => return Ok(of_manual(cli::man(&options))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries the servers of the bus and that of the feed out, if there are any, and prints what works there. It fails if
/// anything does not.
fn check_servers(config: &config::Config) -> Result<ExitCode, Box<dyn Error>> {
    let servers = server::cluster::check(config)?.unwrap_or_default();
    servers.iter().try_for_each(|checked| cli::print(&checked.to_string()))?;
    let feed = server::feed::check(config)?;
    feed.iter().try_for_each(|checked| cli::print(&checked.to_string()))?;
    let is_well = servers.iter().all(Checked::is_well) && feed.iter().all(|checked| checked.is_well());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether standard error is a terminal that shows colors. `NO_COLOR=1` turns them off.
fn has_colors() -> bool {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    !is_plain && io::stderr().is_terminal()
}

/// Returns the exit code of a command for a running server. Its error has one of its own.
fn of_remote(result: Result<ExitCode, RemoteError>) -> ExitCode {
    result.unwrap_or_else(|error| {
        cli::complain(&error);
        ExitCode::from(error.code())
    })
}

/// Returns the exit code of the manual. A command that does not exist is a fault of the command line.
fn of_manual(result: Result<(), ManError>) -> ExitCode {
    result.map_or_else(
        |error| {
            cli::complain(&error);
            ExitCode::from(error.code())
        },
        |()| ExitCode::SUCCESS,
    )
}

/// Restarts the program with one heap of the C library for all threads if its address space is limited (`ulimit -v`).
/// Otherwise the library reserves 64 MiB for each thread, which leaves little for clients.
fn save_addresses() {
    const ONE_HEAP: &str = "MALLOC_ARENA_MAX";
    let is_limited = rlimit::getrlimit(rlimit::Resource::AS).is_ok_and(|(soft, _)| soft < 1 << 60);
    if is_limited
        && env::var_os(ONE_HEAP).is_none()
        && let Ok(program) = env::current_exe()
    {
        // If this fails, the program goes on as it is.
        let _ = process::Command::new(program).args(env::args_os().skip(1)).env(ONE_HEAP, "1").exec();
    }
}

/// Starts a thread of the allocator that returns memory unused for some seconds. Only the server starts it: the other
/// commands do not need it, and where no further thread is allowed, the allocator complains again and again.
#[cfg(feature = "jemalloc")]
fn give_memory_back() {
    use tikv_jemalloc_ctl::{background_thread, max_background_threads};
    if let Err(error) = max_background_threads::write(1).and_then(|()| background_thread::write(true)) {
        log::warn!("free memory is returned late: {error}");
    }
}
