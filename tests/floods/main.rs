//! Floods: what one client, or few, can do to a server and to the neighbours beside them.
//!
//! `cargo test --release --test floods -- measure-floods` starts a server for each flood, lets honest clients join,
//! talk and hear beside it, floods it for 30 s, and prints memory and waits in peace, under the flood and afterwards.
//! It exits with 1 where memory grows by more than 150 MiB, a neighbour's p99 by more than 20 times, or memory is not
//! back within 20 %. Names behind it choose floods, `--seconds N` the time, `list-floods` says which there are, and
//! `MAXTALK_BIN` may name another build of the server. With two cores and `taskset` the server has the first core and
//! everything else the last.
//!
//! As a part of `cargo test` some of them run for a moment, and are only held to memory and to neighbours that are
//! served afterwards: these do not depend on how busy the machine is.

mod floods;
#[path = "../support/frame.rs"]
mod frame;
mod generator;
mod http;
mod max;
mod measure;
mod neighbours;
mod report;
mod samples;
mod socket;
mod subject;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use floods::{FLOODS, Flood};
use libtest_mimic::{Arguments, Failed, Trial};
use measure::{Outcome, Plan};

/// How long a flood is measured for where nothing else is said.
const SECONDS: u64 = 30;

/// What runs as a part of `cargo test`: one flood of each kind, for a moment.
const SHORT_FLOODS: &[&str] =
    &["join-6", "talk", "get-read", "handshake-poll-eio4", "half-heads-2", "connections", "leaves", "deaf-askers"];
const SHORT: Plan = Plan { quiet: Duration::from_millis(200), flood: Duration::from_secs(1), settle: Duration::ZERO };
/// They are not measured, and so may run side by side.
const SHORT_THREADS: usize = 4;

fn main() -> io::Result<ExitCode> {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    // Words that nobody gives to `cargo test` as the name of a test.
    match words.as_slice() {
        ["generate-flood", flood, addr] => {
            let addr = addr.parse().map_err(io::Error::other)?;
            generator::run(flood, addr).map(|()| ExitCode::SUCCESS)
        }
        ["measure-floods", words @ ..] => measure_all(words),
        ["list-floods"] => {
            FLOODS.iter().for_each(|flood| println!("{:<20} {}", flood.name, flood.about));
            Ok(ExitCode::SUCCESS)
        }
        _ => test_all(),
    }
}

/// Measures what `words` name, or everything.
fn measure_all(words: &[&str]) -> io::Result<ExitCode> {
    let seconds_at = words.iter().position(|word| *word == "--seconds");
    let seconds = match seconds_at {
        Some(at) => words.get(at + 1).and_then(|word| word.parse().ok()).ok_or_else(|| usage("--seconds N"))?,
        None => SECONDS,
    };
    let is_name = |at: usize| seconds_at.is_none_or(|option| at != option && at != option + 1);
    let names = (0..words.len()).filter(|at| is_name(*at)).map(|at| words[at]).collect::<Vec<_>>();
    if let Some(unknown) = names.iter().find(|name| FLOODS.iter().all(|flood| flood.name != **name)) {
        return Err(usage(&format!("there is no flood {unknown:?}; \"list-floods\" says which there are")));
    }
    let flood = Duration::from_secs(seconds);
    let quiet = (flood / 3).max(Duration::from_secs(2));
    let plan = Plan { quiet, flood, settle: Duration::from_secs(75).min(flood * 5) };

    subject::keep_to_the_last_core();
    let max = max::start()?;
    let mut outcomes = Vec::new();
    let mut all_hold = true;
    for flood in FLOODS.iter().filter(|flood| names.is_empty() || names.contains(&flood.name)) {
        // One that cannot be measured keeps the others from nothing.
        match one(flood, max, plan) {
            Ok(outcome) => {
                print!("{}", report::paragraph(&outcome));
                all_hold &= outcome.faults().is_empty();
                outcomes.push(outcome);
            }
            Err(error) => {
                println!("{}: not measured: {error}", flood.name);
                all_hold = false;
            }
        }
    }
    print!("\n{}", report::table(&outcomes));
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The short floods, as tests.
fn test_all() -> io::Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SHORT_THREADS);
    let max = max::start()?;
    let test = |flood: &'static Flood| {
        Trial::test(flood.name, move || {
            let outcome = one(flood, max, SHORT)?;
            let faults = outcome.grave_faults();
            if faults.is_empty() {
                return Ok(());
            }
            Err(Failed::from(format!("{}\n{}", faults.join(", "), report::paragraph(&outcome))))
        })
    };
    // ReadAtScrape a client has one address of its own, and nobody says how much memory a process has.
    let floods = FLOODS.iter().filter(|flood| cfg!(target_os = "linux") && SHORT_FLOODS.contains(&flood.name));
    Ok(libtest_mimic::run(&arguments, floods.map(test).collect()).exit_code())
}

fn one(flood: &'static Flood, max: SocketAddr, plan: Plan) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure::measure(flood, max, plan))
}

fn usage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())
}
