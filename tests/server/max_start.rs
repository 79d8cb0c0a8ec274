//! Reports about MAX before the first join: by the start, and by `maxtalk check`.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::client::{Client, Kind, join_of, listening, not_ok, ok};
use crate::support::fake_max::{After, FakeMax, answer, error, json};
use crate::support::process::{Process, maxtalk, signal};
use crate::support::run;

/// A MAX of this release, or of an unknown one, whose service account is a Manager or not.
fn max(version: Option<&'static str>, manager: bool) -> FakeMax {
    FakeMax::start(move |request, wire| {
        let account = request.headers.iter().any(|(name, _)| name == "x-oauth-token");
        let denied = || error("401 Unauthorized", "Unauthorized", "You don't have permission to access bot resources");
        let answered = match (request.target.as_str(), version) {
            ("/api/info", Some(version)) => json(&format!(r#"{{"version":"{version}","max.server_id":"x"}}"#)),
            ("/api/info/settings", Some(version)) if version.starts_with('5') => match manager {
                true => json("{}"),
                false => error("403 Forbidden", "Forbidden", "No."),
            },
            ("/api/people/bot", Some(_)) if manager => json(r#"{"username":"bot","talkingIn":[]}"#),
            ("/api/people/bot", Some(_)) => json(r#"{"username":"bot"}"#),
            ("/api/people/bot", None) => denied(),
            ("/api/conversations", _) if !account => {
                error("401 Unauthorized", "Unauthorized", "No auth headers found.")
            }
            _ => answer("404 Not Found", "text/plain", "404 Not Found"),
        };
        wire.write_all(&answered).map(|()| After::KeepAlive)
    })
}

/// The program, with deadlines for a busy machine.
fn patient(arguments: &[&str]) -> Command {
    let mut command = maxtalk(arguments);
    command.env("MAXTALK_MAX__TIMEOUT_MS", "20000");
    command
}

/// Returns exit code, standard output and standard error of `maxtalk check` with these arguments.
fn check(arguments: &[&str], with_account: bool) -> (Option<i32>, String, String) {
    let mut command = patient(&[&["check"], arguments].concat());
    if with_account {
        command.env("MAXTALK_MAX__SERVICE_USERNAME", "bot").env("MAXTALK_MAX__SERVICE_TOKEN", "s3cret-of-the-bot");
    }
    let output = command.stdout(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_asks_max_unless_it_is_told_not_to() {
    let there = max(Some("5.3.26"), true);
    let url = there.url("/api");
    let (code, said, complaints) = check(&["--max-url", &url], false);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert_eq!(said.lines().last(), Some(format!("MAX 5.3.26 answers at {url}").as_str()));
    assert_eq!(there.requests()[0].target, "/api/info");

    let (code, said, complaints) = check(&["--max-url", "http://127.0.0.1:1/api"], false);
    assert_eq!(code, Some(1), "{said} {complaints}");
    let start = "maxtalk: MAX does not answer at http://127.0.0.1:1/api: ";
    assert!(complaints.starts_with(start) && complaints.contains("check max.url"), "{complaints}");
    let (code, _, complaints) = check(&["--max-url", "http://127.0.0.1:1/api", "--offline"], false);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));

    // Another server answers there: another path of MAX, and a web page.
    for other in [there.url("/other"), FakeMax::answering(answer("200 OK", "text/html", "<html>")).url("")] {
        let (code, _, complaints) = check(&["--max-url", &other], false);
        assert!(code == Some(1) && complaints.contains("not as MAX does"), "{complaints}");
    }
    // Old releases have no `/info`.
    let old = max(None, true);
    let (code, said, _) = check(&["--max-url", &old.url("/api")], false);
    assert!(code == Some(0) && said.contains("MAX answers at"), "{said}");
}

#[test]
fn check_names_the_missing_right_of_the_service_account() {
    for (version, manager, words) in [
        (Some("5.3.26"), true, None),
        (Some("4.0.26"), true, None),
        (Some("5.3.26"), false, Some("bot is no MAX Manager")),
        (Some("4.0.26"), false, Some("bot is no MAX Manager")),
        (Some("3.6"), true, Some("MAX 3.6 answers no joins without a token")),
        (None, false, Some("before 4.0.0")),
    ] {
        let max = max(version, manager);
        let (code, said, complaints) = check(&["--max-url", &max.url("/api")], true);
        let wanted = if words.is_some() { 1 } else { 0 };
        assert_eq!(code, Some(wanted), "{version:?} {manager}: {said} {complaints}");
        assert!(complaints.contains(words.unwrap_or_default()), "{version:?} {manager}: {complaints}");
        assert!(!said.contains("s3cret") && !complaints.contains("s3cret"));
    }
    for refusal in [
        error("401 Unauthorized", "Unauthorized", "Invalid token."),
        error("400 Bad Request", "UnknownUserError", "Unknown user: bot"),
    ] {
        let strict = FakeMax::start(move |request, wire| {
            let version = json(r#"{"version":"5.3.26"}"#);
            wire.write_all(if request.target == "/info" { &version } else { &refusal }).map(|()| After::KeepAlive)
        });
        let (code, _, complaints) = check(&["--max-url", &strict.url("")], true);
        assert!(code == Some(1) && complaints.contains("does not accept the service account bot"), "{complaints}");
    }
}

#[test]
fn the_start_says_in_one_line_whether_max_answers() {
    let there = max(Some("5.3.26"), false);
    let cases = [
        (there.url("/api"), format!("MAX 5.3.26 answers at {}; but the service account bot is no", there.url("/api"))),
        ("http://127.0.0.1:1".to_owned(), "MAX does not answer at http://127.0.0.1:1: ".to_owned()),
    ];
    for (url, line) in cases {
        let mut command = patient(&["--listen", "127.0.0.1:0", "--max-url", &url]);
        command.env("MAXTALK_MAX__SERVICE_USERNAME", "bot").env("MAXTALK_MAX__SERVICE_TOKEN", "s3cret-of-the-bot");
        let mut server = Process::start(command);
        let said = server.says("answer");
        assert!(said.contains("WARN") && said.contains(&line), "{said}");
        server.addr();
        signal(&server.child, "TERM");
        assert!(server.end().0.success());
        assert_eq!(server.log.iter().filter(|line| line.contains("MAX")).count(), 1, "{:#?}", server.log);
    }
}

/// A MAX that answers nothing until the flag is set: it closes the connections.
fn late_max() -> (FakeMax, Arc<AtomicBool>) {
    let is_there = Arc::new(AtomicBool::new(false));
    let seen = is_there.clone();
    let max = FakeMax::start(move |request, wire| {
        if !seen.load(Ordering::SeqCst) {
            return Ok(After::Close);
        }
        let answered = match request.target.as_str() {
            "/info" => json(r#"{"version":"5.3.26"}"#),
            _ => json(r#"{"username":"messi","talkingIn":[{"id":"c1"}]}"#),
        };
        wire.write_all(&answered).map(|()| After::KeepAlive)
    });
    (max, is_there)
}

/// Returns the lines of the log that are about MAX, after the end of the server.
fn about_max(mut server: Process) -> Vec<String> {
    signal(&server.child, "TERM");
    assert!(server.end().0.success());
    server.log.drain(..).filter(|line| line.contains("MAX") || line.contains("max_")).collect()
}

/// Checks that one line takes a warning back, and returns how many calls it says have failed.
fn failed_calls(line: &str, words: &str) -> u32 {
    assert!(line.contains(" INFO ") && line.contains(words), "{line}");
    let (_, told) = line.split_once(" s, in which ").unwrap_or_else(|| panic!("{line}"));
    told.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_max_that_comes_after_the_start_takes_the_warning_back() {
    let (max, is_there) = late_max();
    let mut server = Process::start(patient(&["--listen", "127.0.0.1:0", "--max-url", &max.url("")]));
    server.says("MAX does not answer at");
    is_there.store(true, Ordering::SeqCst);
    server.says("MAX 5.3.26 answers at");
    let log = about_max(server);
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log[0].contains(" WARN "), "{log:#?}");
    // It is asked again a second later, and here that may be too soon.
    assert!(failed_calls(&log[1], &format!("answers at {}, after ", max.url(""))) >= 1, "{log:#?}");
}

#[test]
fn a_join_that_max_answers_takes_the_warnings_back() {
    run(async {
        let (max, is_there) = late_max();
        is_there.store(true, Ordering::SeqCst);
        let mut server = Process::start(patient(&["--listen", "127.0.0.1:0", "--max-url", &max.url("")]));
        server.says("MAX 5.3.26 answers at");
        is_there.store(false, Ordering::SeqCst);
        let mut client = Client::connect(server.addr(), Kind::WebSocket, "").await;
        let join = join_of("messi");
        for _ in 0..3 {
            client.call("join", &join, &[], |ack| not_ok(ack, "max_unavailable")).await;
        }
        is_there.store(true, Ordering::SeqCst);
        client.call("join", &join, &[listening(&["c1"])], ok).await;
        server.says("MAX answers again at");
        let log = about_max(server);
        assert!(log.iter().skip(1).any(|line| line.contains(" WARN ") && line.contains("max_unavailable")), "{log:#?}");
        assert_eq!(log.iter().filter(|line| line.contains("answers")).count(), 2, "{log:#?}");
        let failed = failed_calls(log.last().unwrap(), &format!("answers again at {}, after ", max.url("")));
        assert_eq!(failed, 3, "{log:#?}");
    });
}

#[test]
fn a_back_end_without_info_takes_the_warning_back_by_a_join() {
    run(async {
        let max = FakeMax::start(|request, wire| {
            let answered = match request.target.as_str() {
                "/people/messi" => json(r#"{"username":"messi","talkingIn":[{"id":"c1"}]}"#),
                _ => answer("404 Not Found", "text/plain", "nothing"),
            };
            wire.write_all(&answered).map(|()| After::KeepAlive)
        });
        let mut server = Process::start(patient(&["--listen", "127.0.0.1:0", "--max-url", &max.url("")]));
        server.says("MAX does not answer at");
        let mut client = Client::connect(server.addr(), Kind::WebSocket, "").await;
        client.call("join", &join_of("messi"), &[listening(&["c1"])], ok).await;
        server.says("MAX answers again at");
        assert_eq!(about_max(server).len(), 2);
    });
}

#[test]
fn link_local_addresses_are_refused_unless_they_are_allowed() {
    for host in [
        "169.254.169.254",
        "169.254.0.1:8080",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[fe80::1]",
        "[febf::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
    ] {
        let url = format!("http://{host}/latest");
        for offline in [&[][..], &["--offline"]] {
            let (code, _, complaints) = check(&[&["--max-url", &url], offline].concat(), false);
            assert_eq!(code, Some(1), "{url}");
            assert!(complaints.contains("max.allow_link_local"), "{url}: {complaints}");
        }
        let mut command = maxtalk(&["check", "--offline", "--max-url", &url]);
        command.env("MAXTALK_MAX__ALLOW_LINK_LOCAL", "true");
        assert_eq!(command.output().unwrap().status.code(), Some(0), "{url}");
    }
    for host in ["169.253.1.1", "10.0.0.1", "[fe00::1]", "[fec0::1]", "[::1]", "localhost"] {
        let (code, _, complaints) = check(&["--offline", "--max-url", &format!("http://{host}/")], false);
        assert_eq!((code, complaints.as_str()), (Some(0), ""), "{host}");
    }
}
