//! The program: parse, start logging, run one command, map its error to an exit code.
//!
//! The codes are 0 for a good end, 1 for a command that failed, 2 for a command line that is none, and 130 for a bench
//! that was interrupted.

use std::env;
use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};
use std::time::Duration;

use maxtalk::cli::{self, Command};
use maxtalk::{config, logging, server};

/// The allocator of the system keeps for good what a storm of clients has taken: it gives back the end of its heap
/// only, where something always is. This one was measured to cost no more for each connection and each delivery.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the last lines may take to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
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
            let logging = logging::start(&log.filter, log.lines_max, log.refusals_per_second_max)?;
            config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
            #[cfg(feature = "jemalloc")]
            give_memory_back();
            let last_words = logging.clone();
            let end = server::run(config, move || _ = last_words.flush(FLUSH_TIMEOUT));
            logging.flush(FLUSH_TIMEOUT);
            end?;
        }
        Command::Check { options, offline } => {
            let (config, report) = options.check()?;
            server::check(&config)?;
            cli::print(&report)?;
            if !offline && let Some(max) = server::check_max(&config)? {
                cli::print(&format!("{max}\n"))?;
            }
        }
        Command::Config => cli::print(&config::annotated_defaults())?,
        Command::Bench(options) => return Ok(cli::bench(&options)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins the program anew with one heap of the C library for all threads, where addresses are limited (`ulimit -v`).
/// The library reserves 64 MiB for each thread otherwise, and little is left for clients.
fn save_addresses() {
    const ONE_HEAP: &str = "MALLOC_ARENA_MAX";
    let is_limited = rlimit::getrlimit(rlimit::Resource::AS).is_ok_and(|(soft, _)| soft < 1 << 60);
    if is_limited
        && env::var_os(ONE_HEAP).is_none()
        && let Ok(program) = env::current_exe()
    {
        // Where this fails, it goes on as it is.
        let _ = process::Command::new(program).args(env::args_os().skip(1)).env(ONE_HEAP, "1").exec();
    }
}

/// Has one thread of the allocator give back what has not been used for some seconds. It begins here, and not with the
/// process: the other commands need none, and where there can be no thread more, the allocator would say so again and
/// again.
#[cfg(feature = "jemalloc")]
fn give_memory_back() {
    use tikv_jemalloc_ctl::{background_thread, max_background_threads};
    if let Err(error) = max_background_threads::write(1).and_then(|()| background_thread::write(true)) {
        log::warn!("memory that is free is given back late: {error}");
    }
}
