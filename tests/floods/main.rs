//! Floods: the damage that one or a few clients can do to a server and to the neighbours on it.
//!
//! `cargo test --release --test floods -- measure-floods` starts a server for each flood, lets honest clients join,
//! talk and hear on it, floods it for 30 s, and prints memory and waits before, during and after the flood. It exits
//! with 1 if memory grows by more than 150 MiB, if a neighbour's p99 grows by more than 20 times, or if memory does not
//! return to within 20 %. Further arguments choose floods by name, `--seconds N` sets the time, `list-floods` lists the
//! floods, and `MAXTALK_BIN` may name another build of the server. With two cores and `taskset`, the server has the
//! first core and everything else the last.
//!
//! As a part of `cargo test`, some of them run for a moment and are held only to memory and to neighbours that are
//! served afterwards, which do not depend on how busy the machine is.

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

/// The default duration of a measured flood.
const SECONDS: u64 = 30;

/// The floods that run as a part of `cargo test`: one of each kind, for a moment.
const SHORT_FLOODS: &[&str] =
    &["join-6", "talk", "get-read", "handshake-poll-eio4", "half-heads-2", "connections", "leaves", "deaf-askers"];

/// The durations of a short flood.
const SHORT: Plan = Plan { quiet: Duration::from_millis(200), flood: Duration::from_secs(1), settle: Duration::ZERO };

/// Short floods that run side by side, since they are not measured.
const SHORT_THREADS: usize = 4;

fn main() -> io::Result<ExitCode> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    // These arguments are unlikely as names of tests for `cargo test`.
    match arguments.as_slice() {
        ["generate-flood", flood, addr] => {
            let addr = addr.parse().map_err(io::Error::other)?;
            generator::run(flood, addr).map(|()| ExitCode::SUCCESS)
        }
        ["measure-floods", arguments @ ..] => measure_all(arguments),
        ["list-floods"] => {
            FLOODS.iter().for_each(|flood| println!("{:<20} {}", flood.name, flood.about));
            Ok(ExitCode::SUCCESS)
        }
        _ => test_all(),
    }
}

/// Measures the floods that `arguments` name, or all.
fn measure_all(arguments: &[&str]) -> io::Result<ExitCode> {
    let seconds_at = arguments.iter().position(|word| *word == "--seconds");
    let seconds = match seconds_at {
        Some(at) => arguments.get(at + 1).and_then(|word| word.parse().ok()).ok_or_else(|| usage("--seconds N"))?,
        None => SECONDS,
    };
    let is_name = |at: usize| seconds_at.is_none_or(|option| at != option && at != option + 1);
    let names = (0..arguments.len()).filter(|at| is_name(*at)).map(|at| arguments[at]).collect::<Vec<_>>();
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
        // A failed measurement does not stop the others.
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
    // On other systems a client has only one address, and the memory of a process is not known.
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
