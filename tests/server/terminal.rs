//! The server as somebody meets it who starts it by hand: in a terminal, with the flags that come to mind. And its log
//! as a collector meets it.

#[allow(dead_code, reason = "the tests of top press keys too")]
#[path = "../top/pty.rs"]
mod pty;

use std::net::TcpListener;

use crate::support::process::{Process, maxtalk, signal};
use pty::InPty;
use serde_json::Value;

#[test]
fn a_terminal_is_told_first_where_to_go_and_how_to_stop() {
    for (variable, value, is_colored) in [("NO_COLOR", "", true), ("NO_COLOR", "1", false)] {
        // This warning is logged before the server listens, and comes after the greeting all the same.
        let mut command = maxtalk(&["--listen", "localhost:0"]);
        command.env(variable, value).env("MAXTALK_OF_ANOTHER", "1");
        let mut terminal = InPty::start(command, (200, 60));
        terminal.shows(&["Ctrl-C stops it.", "MAXTALK_OF_ANOTHER", "the embedded demo MAX answers"]);
        let written = String::from_utf8(terminal.written.clone()).unwrap();
        let mut lines = written.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("maxtalk ") && first.contains(" runs: open http://127.0.0.1:"), "{first}");
        assert!(first.ends_with("/ in two windows"), "{first}");
        assert_eq!(lines.next(), Some("Ctrl-C stops it."));
        assert_eq!(written.contains("\u{1b}[33mWARN "), is_colored, "{written}");
        signal(&terminal.child, "INT");
        assert!(terminal.end().success());
    }
}

#[test]
fn a_log_that_is_no_terminal_has_neither_greeting_nor_colors() {
    let mut server = Process::start(maxtalk(&["--listen", "127.0.0.1:0"]));
    server.says("the embedded demo MAX answers");
    assert!(server.log.iter().all(|line| !line.contains("Ctrl-C") && !line.contains('\u{1b}')), "{:?}", server.log);
}

#[test]
fn a_collector_gets_objects() {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
    command.env("MAXTALK_LOG__FORMAT", "json");
    let mut server = Process::start(command);
    server.says("the embedded demo MAX answers");
    signal(&server.child, "TERM");
    assert!(server.end().0.success());
    let records: Vec<Value> = server.log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &records[0];
    assert_eq!((&first["level"], &first["target"]), (&"info".into(), &"maxtalk::server".into()), "{first}");
    assert!(first["message"].as_str().unwrap().contains("listening on http://"), "{first}");
    assert_eq!(first["time"].as_str().unwrap().len(), "2026-01-02T03:04:05.678Z".len(), "{first}");
}

#[test]
fn a_collector_gets_the_reason_of_a_failed_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = maxtalk(&["--listen", &taken.local_addr().unwrap().to_string()]);
    command.env("MAXTALK_LOG__FORMAT", "json");
    let mut server = Process::start(command);
    assert_eq!(server.end().0.code(), Some(1));
    let last: Value = serde_json::from_str(server.log.last().unwrap()).unwrap();
    assert!(last["level"] == "error" && last["message"].as_str().unwrap().contains("server.listen"), "{last}");
}

#[test]
fn the_demo_is_not_given_to_other_machines_by_mistake() {
    let refused = |arguments: &[&str]| {
        let mut server = Process::start(maxtalk(arguments));
        assert_eq!(server.end().0.code(), Some(1), "{:?}", server.log);
        server.log.concat()
    };
    let complaint = refused(&["--listen", ":0"]);
    assert!(
        complaint.contains("server.listen = \":0\" (flag --listen)") && complaint.contains("--demo"),
        "{complaint}"
    );
    let complaint = refused(&["--demo", "--max-url", "http://127.0.0.1:1"]);
    assert!(complaint.contains("demo.public = \"true\" (flag --demo)"), "{complaint}");

    let mut server = Process::start(maxtalk(&["--listen", ":0", "--demo"]));
    assert!(server.addr().ip().is_unspecified());
    server.says("the demo MAX gives its tokens to whoever can reach");
}
