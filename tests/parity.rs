//! Parity: one list of cases, over every transport of every generation, with clients of all generations in one
//! conversation. Each cell of the printed table is a test.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

mod support;

#[path = "parity/cases.rs"]
mod cases;

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use cases::{CASES, Case, Cast};
use libtest_mimic::{Arguments, FormatSetting, Trial};
use support::kind::{Generation, Kind, Release, Way};

/// Whether each cell that was run has passed, by row and column.
type Outcomes = Arc<Mutex<HashMap<(usize, Kind), bool>>>;

thread_local! {
    /// The panic messages of the case on this thread.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The table shows the same as a line per test, and is shorter.
    arguments.format.get_or_insert(FormatSetting::Terse);
    // Cases mostly wait for their clients and servers.
    arguments.test_threads.get_or_insert_with(|| thread::available_parallelism().map_or(4, |n| 4 * n.get()));
    keep_what_a_panic_says();

    let outcomes = Outcomes::default();
    let mut trials = Vec::new();
    for (row, (name, case)) in CASES.iter().enumerate() {
        for (column, messi) in Kind::ALL.into_iter().enumerate() {
            let cast = Cast { messi, others: others(messi, row + column) };
            let outcomes = outcomes.clone();
            trials.push(Trial::test(format!("{messi:?}::{name}"), move || {
                let outcome = outcome(*case, cast);
                outcomes.lock().unwrap().insert((row, messi), outcome.is_ok());
                outcome.map_err(|said| format!("{cast:?}:\n{said}").into())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let outcomes = outcomes.lock().unwrap();
    if !outcomes.is_empty() {
        println!("{}", table(&outcomes));
    }
    conclusion.exit_code()
}

/// Returns one kind of each generation except that of `messi`; other pairs in the next row and column.
fn others(messi: Kind, turn: usize) -> [Kind; 2] {
    let others = [Generation::Eio4, Generation::Eio3, Generation::Sio09];
    let mut others = others.into_iter().filter(|generation| *generation != messi.generation()).map(|generation| {
        let kinds = Kind::of(generation);
        kinds[turn % kinds.len()]
    });
    [others.next().unwrap(), others.next().unwrap()]
}

/// # Errors
/// The panic messages of the case.
fn outcome(case: Case, cast: Cast) -> Result<(), String> {
    SAID.set(Some(String::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| support::run(case(cast))));
    let said = SAID.take().unwrap_or_default();
    outcome.map_err(|_: Box<dyn Any + Send>| said)
}

/// Keeps panic messages for the report of the failure instead of printing them at once.
fn keep_what_a_panic_says() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let kept = SAID.with_borrow_mut(|said| {
            let Some(said) = said else { return false };
            writeln!(said, "{panic}").is_ok()
        });
        if !kept {
            usual(panic);
        }
    }));
}

/// Draws a row for each case and a column for each kind.
fn table(outcomes: &HashMap<(usize, Kind), bool>) -> String {
    let mut table = row("socket.io-client", |kind| match kind.release() {
        Release::V4 => "4.x",
        Release::V2 => "2.x",
        Release::V1 => "1.x",
        Release::V09 => "0.9",
        Release::V08 => "0.8",
    });
    table += &row("over", |kind| match kind.way() {
        Way::WebSocket => "ws",
        Way::Polling => "poll",
        Way::Base64 => "b64",
        Way::Upgraded => "upgr",
        Way::Jsonp => "jsonp",
    });
    for (at, (name, _)) in CASES.iter().enumerate() {
        table += &row(&name.replace('_', " "), |kind| match outcomes.get(&(at, kind)) {
            Some(true) => "ok",
            Some(false) => "FAIL",
            None => "-",
        });
    }
    table
}

fn row(name: &str, cell: impl Fn(Kind) -> &'static str) -> String {
    let width = CASES.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut row = format!("{name:width$}");
    let mut last = None;
    for kind in Kind::ALL {
        let edge = if last == Some(kind.release()) { " " } else { " |" };
        row += &format!("{edge} {:<5}", cell(kind));
        last = Some(kind.release());
    }
    row.trim_end().to_owned() + "\n"
}
