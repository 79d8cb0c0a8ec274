//! The server that a bench starts for itself: it has enough people, its load is measured, and it ends with its owner. A
//! server that does not start reports why.

use crate::support;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use maxtalk::testing::bench::{Child, ChildError, How, Process};
use maxtalk::testing::config::Demo;

const PROGRAM: &str = env!("CARGO_BIN_EXE_maxtalk");
const DEMO: Demo = Demo { public: false, people: 50_000, members: 10, conversations_per_person: 1, zipf: None };

/// Returns whether the demo MAX knows the user and accepts the name as a token.
fn knows(server: &Child, user: &str) -> bool {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    let request = format!(
        "GET /demo/max/conversations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Oauth-Username: {user}\r\n\
         X-Oauth-Token: {user}\r\nX-Oauth-Scope: widgetcli\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200") && answer.contains(r#""id":"c4999""#)
}

#[test]
fn a_child_answers_for_its_people_and_stops_when_it_is_told() {
    let server = Child::start(Path::new(PROGRAM), &DEMO, &[]).unwrap();
    assert_eq!(server.url(), format!("http://{}", server.addr()));
    let process = Process::of(server.pid()).unwrap();
    assert!(knows(&server, "u49999") && !knows(&server, "u50000"));
    assert!(process.rss_peak() >= process.rss() && process.rss() > 0);
    let metrics = server.metrics().unwrap().read().unwrap();
    let capacity = |actor| metrics.sum("maxtalk_mailbox_capacity_messages", ("actor", actor));
    assert!(capacity("conversation") > Some(0.0) && capacity("nobody").is_none(), "{metrics:?}");
    let pid = server.pid();
    server.stop().unwrap();
    assert!(Process::of(pid).is_err());
}

#[test]
fn a_child_that_is_dropped_is_stopped() {
    let server = Child::start(Path::new(PROGRAM), &DEMO, &[]).unwrap();
    let pid = server.pid();
    drop(server);
    assert!(Process::of(pid).is_err());
}

#[test]
fn a_child_that_has_ended_by_itself_is_noticed() {
    let mut server = Child::start(Path::new(PROGRAM), &DEMO, &[]).unwrap();
    assert!(server.ended().is_none());
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -9 {}", server.pid())]).status();
    assert!(killed.unwrap().success());
    let begun = std::time::Instant::now();
    let end = loop {
        match server.ended() {
            None if begun.elapsed() < support::DEADLINE => std::thread::yield_now(),
            end => break end.unwrap(),
        }
    };
    assert!(matches!(end, ChildError::Over { how: How::Ended(_), .. }), "{end}");
    let end = end.to_string();
    assert!(end.starts_with("the server has ended (signal: 9"), "{end}");
    assert!(end.contains("listening on http://127.0.0.1:"), "{end}");
    assert_eq!(server.stop().unwrap_err().to_string(), end);
}

#[test]
fn a_child_that_does_not_start_says_why() {
    let error = Child::start(Path::new(PROGRAM), &Demo { members: 1, ..DEMO }, &[]).unwrap_err().to_string();
    assert!(error.starts_with("the server did not start (exit status: 1); its last words:"), "{error}");
    assert!(error.contains("MAXTALK_DEMO__MEMBERS): out of range"), "{error}");
    let error = Child::start(Path::new("/nowhere/maxtalk"), &DEMO, &[]).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/maxtalk cannot be started: "), "{error}");
    let error = Child::start(Path::new("true"), &DEMO, &[]).unwrap_err().to_string();
    assert!(error.starts_with("the server did not start (exit status: 0); it said nothing"), "{error}");
}
