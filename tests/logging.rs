//! The log of a whole process. This program starts itself again as a process that logs, with its standard error read,
//! stalled or closed.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use maxtalk::testing::logging;

const ROLE: &str = "LOGGING_TEST_ROLE";
const LINES: usize = 20_000;

/// Lines that are not written after this time never will be.
const DEADLINE: Duration = Duration::from_secs(60);

/// Not a test itself, but the process that the others start. It prints the number of lost lines to standard output.
#[test]
fn a_process_that_logs() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    // If something does wait for standard error, this process must still end.
    thread::spawn(|| {
        thread::sleep(DEADLINE);
        std::process::exit(3);
    });
    let log = logging::start("info", logging::Look::default(), false, 100, 3).unwrap();
    log::debug!("too quiet");
    log::info!("hello {}", logging::escape("a\n\u{1b}[31m"));
    log::warn!("two\nlines");
    let panicked = thread::spawn(|| panic!("oh dear")).join();
    assert!(panicked.is_err());
    let now = Instant::now();
    for n in 0..10 {
        logging::log_refusal(now, format_args!("refused {n}"));
    }
    let stalled = std::env::var(ROLE).unwrap() == "stalled";
    let patience = if stalled { Duration::ZERO } else { DEADLINE };
    assert_eq!(log.flush(patience), !stalled);
    for n in 0..LINES {
        log::info!("line {n} of many");
    }
    let flushed = log.flush(patience);
    println!("\nresult {flushed} {}", logging::lines_lost());
}

/// Runs the process that logs to `stderr`. Returns whether it could flush at its end, and how many lines it lost.
fn run(role: &str, stderr: impl Into<Stdio>) -> (bool, u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_process_that_logs", "--nocapture"]).env(ROLE, role).env("RUST_BACKTRACE", "0");
    let output = command.stdin(Stdio::null()).stderr(stderr).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let result = said.lines().find_map(|line| line.strip_prefix("result ")).unwrap();
    let (flushed, lost) = result.split_once(' ').unwrap();
    (flushed.parse().unwrap(), lost.parse().unwrap())
}

#[test]
fn a_standard_error_that_is_read_gets_all_that_is_not_told_as_lost() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    let (flushed, lost) = run("read", writer);
    let text = read.join().unwrap().unwrap();
    assert!(flushed);

    let lines = text.lines().map(|line| line.split_once("Z ").map_or(line, |(_, rest)| rest)).collect::<Vec<_>>();
    assert_eq!(lines[0], r#"INFO  logging: hello "a\n\u{1b}[31m""#);
    assert_eq!(lines[1..3], ["WARN  logging: two", "    lines"]);
    assert!(lines[3].starts_with("ERROR maxtalk::logging: ") && lines[3].contains("panicked at"), "{}", lines[3]);
    assert_eq!(lines[4], "    oh dear");
    let refusals = ["refused 0", "refused 1", "refused 2", "and 7 more refusals"];
    assert_eq!(lines[5..9], refusals.map(|refusal| format!("INFO  maxtalk::refusals: {refusal}")));

    let written = lines.iter().filter(|line| line.ends_with("of many")).count();
    let told = lines.iter().filter_map(|line| line.strip_prefix("maxtalk: lines lost here: "));
    let told = told.map(|lost| lost.parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!((written as u64 + lost, told), (LINES as u64, lost));
}

#[test]
fn a_standard_error_that_stalls_stops_nothing() {
    let (_reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'x'; 65_536]).unwrap();
    let (flushed, lost) = run("stalled", writer);
    assert!(!flushed && lost > LINES as u64 / 2, "{flushed} {lost}");
}

#[test]
fn a_standard_error_that_is_closed_or_full_is_survived_and_its_lines_are_counted() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(run("closed", writer).1 > LINES as u64);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(run("full", full).1 > LINES as u64);
}
