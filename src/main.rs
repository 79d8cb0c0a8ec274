//! The program: parse, start logging, run one command, map its error to an exit code.
//!
//! The codes are 0 for a good end, 1 for a command that failed, 2 for a command line that is none, and 130 for a bench
//! that was interrupted.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use maxtalk::cli::{self, Command};
use maxtalk::{config, logging, server};

/// The allocator of the system keeps what a storm of clients has taken for good: it gives back the end of its heap only,
/// where there is always somebody. This one was measured to cost no more, per connection and per delivery.
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
            if options.until_eof {
                cli::stop_at_eof()?;
            }
            let log = &config.log;
            let logging = logging::start(&log.filter, log.lines_max, log.refusals_per_second_max)?;
            config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
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
