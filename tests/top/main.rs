//! `maxtalk top`: the real program in a pseudo-terminal and in pipes, against a server that plays the admin listener.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

mod pty;
mod samples;
mod stub;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use pty::InPty;
use samples::{VERSION, overview};
use serde_json::{Value, json};
use stub::{Stub, ok, refusal};
use support::client::{Client, Kind};
use support::fixture::Fixture;
use support::process::{maxtalk, signal};
use support::run;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

/// Returns the command that shows this server.
fn top(server: &Stub, arguments: &[&str]) -> Command {
    let admin = server.addr.to_string();
    let mut command = maxtalk(&["top", "--interval", "0.1", "--admin", &admin]);
    command.args(arguments);
    command
}

fn in_pty(server: &Stub, size: (u16, u16)) -> InPty {
    InPty::start(top(server, &[]), size)
}

/// Runs a command to its end. Returns its exit code, its output, and its errors.
fn ended(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.stdout(Stdio::piped()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn keys_sort_filter_hold_and_quit_at_80_by_24() {
    let server = Stub::start(ok(&overview(5000)));
    let mut top = in_pty(&server, SMALL);
    let screen = top.shows(&["sessions 5,000", "SLOW SESSIONS 12", "HOT CONVERSATIONS 12", "q quit"]);
    for text in [
        &format!("maxtalk {VERSION} serving up 3 h 12 m") as &str,
        "deliveries/s 12,600 delivery p50 0.16 ms p99 12.3 ms",
        "! the mailbox of a conversation is nearly full: raise it",
        "conversation 2,048 512 [=-- ] 120 ms 0.80 ms 0",
        "user0 10.0.0.0 879 KiB 4,000 0 0 s 12.5 ms",
        "c0 10 100 1,000 16 m",
    ] {
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    }
    assert!(top.screen().alternate_screen() && top.screen().hide_cursor());

    top.press("ss");
    top.shows(&["FOLDED v", "user11 10.0.0.11"]);
    top.press("r");
    top.shows(&["FOLDED ^", "user0 10.0.0.0"]);
    top.press("\t>>");
    top.shows(&["HOT CONVERSATIONS 12 v", "c0"]);
    top.press("/user1\r");
    top.shows(&["SLOW SESSIONS 3/12", "HOT CONVERSATIONS 0/12", "filter: user1 esc clears it"]);
    top.press("\u{1b}");
    top.shows(&["SLOW SESSIONS 12", "HOT CONVERSATIONS 12"]);

    top.press("p");
    top.shows(&["PAUSED", "sessions 5,000"]);
    server.answers(ok(&overview(6000)));
    server.until_asked(2);
    top.press("?");
    top.shows(&["any key closes it", "sessions 5,000"]);
    top.press("x ");
    top.shows(&["sessions 6,000"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    assert!(server.requests().iter().all(|request| request.line == "GET /api/v1/overview HTTP/1.1"));
}

#[test]
fn a_large_terminal_shows_more_and_a_tiny_one_says_that_it_is() {
    let server = Stub::start(ok(&overview(5000)));
    let mut top = in_pty(&server, LARGE);
    top.shows(&["mailbox.conversation (default)", "CLOSED SESSIONS", "gone 10.0.0.9 eio3 polling", "user11", "c11"]);
    top.resize((40, 10));
    top.shows(&["The terminal has 40 x 10 characters."]);
    top.resize(SMALL);
    top.until("the small picture", |_, screen| screen.contains("q quit") && !screen.contains("gone 10.0.0.9"));
    top.press("\u{3}");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn a_node_of_a_cluster_shows_its_redis_and_the_other_nodes() {
    let up =
        |lag: f64| json!({"url": "redis://a", "up": true, "wanted": 9, "subscribed": 9, "waiting": 0, "lag_ms": lag});
    let peer = |name: &str, silent: bool| {
        json!({
            "node": name, "name": name, "version": VERSION, "tag": "k3f9", "sessions": 1, "conversations": 1,
            "heard_ms": 700, "silent": silent
        })
    };
    let mut node = overview(5000);
    node["cluster"] = json!({
        "node": "a", "name": "anna", "up": true, "servers": [up(0.4), up(1.2)],
        "peers": [peer("bert", false), peer("cleo", true)]
    });
    let server = Stub::start(ok(&node));
    let mut top = in_pty(&server, (100, 30));
    top.shows(&["cluster 2 other nodes, 1 silent, lag 1.20 ms"]);
    node["cluster"]["up"] = json!(false);
    node["cluster"]["servers"][0] = json!({
        "url": "redis://a", "up": false, "down_ms": 12_345, "reason": "Connection refused", "wanted": 9,
        "subscribed": 0, "waiting": 3
    });
    server.answers(ok(&node));
    top.shows(&["cluster 1 of 2 Redis down for 12 s: Connection refused, 2 other nodes, 1 silent"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn every_signal_that_ends_the_program_restores_the_terminal() {
    let server = Stub::start(ok(&overview(5000)));
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut top = in_pty(&server, SMALL);
        top.shows(&["sessions 5,000"]);
        signal(&top.child, name);
        assert_eq!(top.end().code(), Some(code), "{name}");
    }
}

#[test]
fn a_server_that_goes_leaves_its_figures_and_is_found_again() {
    let server = Stub::start(ok(&overview(5000)));
    let addr = server.addr;
    let mut top = in_pty(&server, SMALL);
    top.shows(&["sessions 5,000"]);
    assert!(!InPty::is_grey(top.screen(), "SLOW SESSIONS"));
    drop(server);
    top.until("grey figures", |screen, text| {
        text.contains(": Connection refused") && InPty::is_grey(screen, "SLOW SESSIONS")
    });
    top.shows(&["NO ANSWER, next attempt in", "sessions 5,000", "user0"]);

    let server = Stub::again(addr, ok(&overview(7000)));
    top.until("new figures", |screen, text| {
        text.contains("sessions 7,000") && !text.contains("NO ANSWER") && !InPty::is_grey(screen, "SLOW SESSIONS")
    });
    for (answer, reason) in [
        (refusal(401, "unauthorized", "the key is wrong"), "the key is wrong (the key is the setting admin.token)"),
        ((200, "<html>".to_owned()), "its answer at /api/v1/overview cannot be read"),
        ((502, "bad gateway".to_owned()), "it answers /api/v1/overview with the status 502"),
    ] {
        server.answers(answer);
        top.shows(&[reason, "sessions 7,000"]);
    }
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn a_server_of_another_version_is_shown_as_far_as_it_can_be_read() {
    let mut newer = overview(5000);
    newer["status"]["version"] = json!("9.9.9");
    newer["status"]["planet"] = json!("Mars");
    newer["sessions"][1]["transport"] = json!("carrier pigeon");
    newer["sessions"][2].as_object_mut().unwrap().remove("folded");
    newer.as_object_mut().unwrap().remove("max");
    let server = Stub::start(ok(&newer));
    let mut top = in_pty(&server, SMALL);
    let note = format!("maxtalk 9.9.9 (this program is {VERSION})");
    top.shows(&[&note, "cannot read: 1", "SLOW SESSIONS 11", "user2"]);

    newer["status"]["stage"] = json!("hibernating");
    newer["version"] = json!("9.9.9");
    server.answers(ok(&newer));
    top.shows(&["hibernating", "It is maxtalk 9.9.9, and this program is maxtalk"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn names_of_strangers_do_not_reach_the_terminal() {
    let mut evil = overview(5000);
    evil["sessions"][0]["username"] = json!("\u{1b}]0;owned\u{7}\u{202e}evil\u{9b}2J");
    evil["conversations"][0]["id"] = json!("\u{1b}[?1049l<img src=x>");
    let server = Stub::start(ok(&evil));
    let mut top = in_pty(&server, SMALL);
    top.shows(&["\\u{1b}]0;owned", "\\u{1b}[?1049l<img src=x>"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    let written = String::from_utf8_lossy(&top.written).into_owned();
    assert!(!written.contains("\u{1b}]0;") && !written.contains(['\u{202e}', '\u{9b}']), "{written:?}");

    for form in [&["--once"][..], &["--once", "--json"]] {
        let (code, output, errors) = ended(self::top(&server, form));
        assert_eq!((code, errors.as_str()), (0, ""), "{form:?}");
        assert!(!output.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\u{7}']), "{output:?}");
    }
}

#[test]
fn without_colors_the_terminal_gets_none() {
    let server = Stub::start(ok(&overview(5000)));
    for (value, is_colored) in [("1", false), ("", true)] {
        let mut command = top(&server, &[]);
        command.env("NO_COLOR", value);
        let mut top = InPty::start(command, SMALL);
        top.shows(&["sessions 5,000", "SLOW SESSIONS 12"]);
        let cells = (0..24).flat_map(|line| (0..80).map(move |column| (line, column)));
        let mut colors = cells.filter_map(|(line, column)| top.screen().cell(line, column)).map(vt100::Cell::fgcolor);
        assert_eq!(colors.any(|color| color != vt100::Color::Default), is_colored, "NO_COLOR={value:?}");
    }
}

#[test]
fn scripts_get_text_or_json() {
    let server = Stub::start(ok(&overview(5000)));
    let (code, text, errors) = ended(top(&server, &["--once"]));
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(text.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{text}");
    for part in ["sessions 5,000", "user11", "c11", "MAILBOX"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }

    let (code, line, _) = ended(top(&server, &["--once", "--json"]));
    assert_eq!((code, line.lines().count()), (0, 1));
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), overview(5000));

    let mut lines = top(&server, &["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(lines.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = output.next().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["status"]["sessions"], 5000);
    }
    drop(output);
    assert_eq!(lines.wait().unwrap().code(), Some(0), "nobody reads any more");
}

#[test]
fn errors_say_what_to_do() {
    let server = Stub::start(ok(&overview(5000)));
    let (code, _, errors) = ended(top(&server, &[]));
    assert_eq!(code, 2);
    assert!(errors.contains("no terminal") && errors.contains("--once") && errors.contains("--json"), "{errors}");
    for arguments in [["--interval", "0"], ["--interval", "soon"], ["--admin", "https://x"], ["--what", "now"]] {
        let mut command = maxtalk(&["top", "--once"]);
        command.args(arguments);
        assert_eq!(ended(command).0, 2, "{arguments:?}");
    }

    let of = |answer| {
        server.answers(answer);
        let (code, output, errors) = ended(top(&server, &["--once"]));
        assert_eq!((code, output.as_str()), (1, ""), "{errors}");
        errors
    };
    let errors = of(refusal(401, "unauthorized", "send the key"));
    assert!(errors.contains("admin.token") && errors.contains("MAXTALK_ADMIN__TOKEN"), "{errors}");
    let errors = of((404, r#"{"status":"ok","version":"0.0.9"}"#.to_owned()));
    assert!(errors.contains("It is maxtalk 0.0.9, and this program is maxtalk"), "{errors}");
    let errors = of((200, "garbage".to_owned()));
    assert!(errors.contains("cannot be read") && errors.contains("no admin listener of maxtalk"), "{errors}");

    let addr = server.addr.to_string();
    drop(server);
    for form in [&["top", "--once"][..], &["top", "--json"], &["set"]] {
        let mut command = maxtalk(form);
        command.env("MAXTALK_ADMIN__LISTEN", &addr);
        let (code, _, errors) = ended(command);
        assert_eq!(code, 1);
        let named = format!("admin.listen = \"{addr}\" (environment variable MAXTALK_ADMIN__LISTEN)");
        assert!(errors.contains(&format!("http://{addr} does not answer")) && errors.contains(&named), "{errors}");
    }
    let (code, _, errors) = ended(maxtalk(&["top", "--once"]));
    assert!(code == 1 && errors.contains("admin.listen = none"), "{errors}");
}

#[test]
fn the_key_comes_from_the_settings() {
    let server = Stub::start(ok(&overview(5000)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("maxtalk.toml");
    let text = format!("[admin]\nlisten = \"0.0.0.0:{}\"\ntoken = \"key-of-the-operators\"\n", server.addr.port());
    std::fs::write(&file, text).unwrap();
    let mut command = maxtalk(&["top", "--once", "--config", file.to_str().unwrap()]);
    command.env_remove("MAXTALK_ADMIN__LISTEN");
    let (code, text, errors) = ended(command);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains(&format!("http://{}", server.addr)), "{text}");
    assert_eq!(server.requests()[0].headers["authorization"], "Bearer key-of-the-operators");
}

#[test]
fn a_real_server_is_shown_with_its_clients() {
    let server = Fixture::start("");
    let admin = server.admin_addr.to_string();
    let top = |arguments: &[&str]| {
        let mut command = maxtalk(&["top", "--once", "--admin", &admin]);
        command.args(arguments);
        ended(command)
    };
    run(async {
        server.max.talks_in("messi", &["c1"]);
        let messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let (code, json, errors) = top(&["--json"]);
        let overview: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((code, errors.as_str(), &overview["status"]["sessions"]), (0, "", &json!(1)), "{overview}");
        let (code, text, errors) = top(&[]);
        assert!((code, errors.as_str()) == (0, "") && text.contains("sessions 1 "), "{text}");
        messi.close().await;
    });
}
