//! The load bench, against the server over each transport, where all must be delivered, and against servers that lose,
//! double, reorder or misdeliver on purpose, which it must catch.

use std::future::pending;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support;
use crate::support::faulty::{Fault, Faulty};
use crate::support::fixture::Fixture;
use crate::support::process::{end_of, maxtalk};
use maxtalk::testing::bench::{
    Accounts, Circumstances, Credentials, Doubt, Job, Pace, Plan, Report, RunError, Sizes, Target, Way, engine,
};
use maxtalk::testing::protocol::{Generation, TransportKind};
use serde_json::Value;

const WEBSOCKET: Way = Way { generation: Generation::Eio4, transport: TransportKind::WebSocket };
const CONNECTIONS: usize = 12;

/// A short run with 50 talks per second.
fn job(address: SocketAddr) -> Job {
    let plan = Plan {
        connections: CONNECTIONS,
        members: 2,
        conversations_per_user: 1,
        sizes: Sizes::Even,
        pace: Pace::Open { rate: 50.0 },
        ramp: 1000.0,
        duration: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        payload_bytes: 150,
        mix: vec![(WEBSOCKET, 1)],
        churn: 0.0,
        slow_share: 0.0,
        user_prefix: "u".to_owned(),
        seed: 1,
        lag_max: Duration::from_millis(1),
    };
    let (path, namespace) = ("/socket.io/".to_owned(), "/max".to_owned());
    Job {
        plan,
        targets: vec![Target { host: address.to_string(), address, path, namespace, protocol: Arc::default() }],
        users: Vec::new(),
        pids: Vec::new(),
        redis: None,
        metrics: Vec::new(),
        threads: 1,
        circumstances: Circumstances::default(),
        progress: false,
    }
}

fn run(job: &Job) -> Report {
    engine::run(job, pending()).unwrap_or_else(|error| panic!("{error}"))
}

/// A server in which the users `u0`, `u1` and so on share conversations of four.
fn fixture() -> Fixture {
    fixture_with("")
}

fn fixture_with(settings: &str) -> Fixture {
    let fixture = Fixture::start_tokenless(settings);
    for number in 0..CONNECTIONS {
        let conversation = format!("c{}", number / 4);
        fixture.max.talks_in(&format!("u{number}"), &[&conversation, "crowd"]);
    }
    fixture
}

fn assert_clean(report: &Report, what: &str) {
    assert!(report.is_clean(), "{what}: {:?} {:?}", report.accounts, report.errors);
    assert_eq!(report.errors, [], "{what}");
    assert!(report.accounts.sent > 0 && report.accounts.received > 0, "{what}: {:?}", report.accounts);
    assert_eq!(report.joins.count, CONNECTIONS as u64, "{what}");
    let deliveries = report.seconds.iter().map(|second| second.deliveries).sum::<u64>();
    assert!(deliveries > 0 && deliveries <= report.corrected.count, "{what}");
}

#[test]
fn accounts_are_right_over_every_way() {
    let fixture = fixture();
    let mut job = job(fixture.addr);
    for generation in Generation::ALL {
        for transport in [TransportKind::WebSocket, TransportKind::Polling] {
            let way = Way { generation, transport };
            job.plan.mix = vec![(way, 1)];
            job.plan.pace = Pace::Open { rate: 50.0 };
            let report = run(&job);
            assert_clean(&report, &format!("{way:?}, open loop"));
            // One conversation of 12 members and three of 4. All talk equally often.
            assert_eq!((report.conversations, report.members_max), (4, CONNECTIONS));
            assert!((45..=50).contains(&report.accounts.sent), "{:?}", report.accounts);
            assert!(report.corrected.mean >= report.raw.mean);

            job.plan.pace = Pace::Closed { window: 3 };
            job.plan.duration = Duration::from_millis(300);
            assert_clean(&run(&job), &format!("{way:?}, closed loop"));
            job.plan.duration = Duration::from_secs(1);
        }
    }
}

#[test]
fn a_client_that_has_not_posted_for_long_uses_a_new_connection() {
    let fixture = fixture_with("server.keep_alive_ms = 1000");
    let mut job = job(fixture.addr);
    // Each of the four talkers talks every two seconds.
    job.plan.pace = Pace::Open { rate: 2.0 };
    job.plan.duration = Duration::from_secs(4);
    let way = |generation| (Way { generation, transport: TransportKind::Polling }, 1);
    job.plan.mix = Generation::ALL.map(way).to_vec();
    assert_clean(&run(&job), "polling");
}

#[test]
fn all_ways_at_once_on_two_threads_with_churn() {
    let fixture = fixture();
    let mut job = job(fixture.addr);
    job.threads = 2;
    job.plan.mix = Vec::new();
    for generation in Generation::ALL {
        for transport in [TransportKind::WebSocket, TransportKind::Polling] {
            job.plan.mix.push((Way { generation, transport }, 1));
        }
    }
    for pace in [Pace::Open { rate: 200.0 }, Pace::Closed { window: 4 }] {
        job.plan.pace = pace;
        assert_clean(&run(&job), &format!("{pace:?}"));
    }
    job.plan.churn = 40.0;
    for pace in [Pace::Open { rate: 200.0 }, Pace::Closed { window: 4 }] {
        job.plan.pace = pace;
        let report = run(&job);
        assert!(report.is_clean(), "{pace:?}: {:?} {:?}", report.accounts, report.errors);
        assert_eq!(report.errors, [], "{pace:?}");
        assert!(report.joins.count > CONNECTIONS as u64, "{pace:?}: nobody came back");
        assert!(report.accounts.received > 0);
    }
}

#[test]
fn readers_that_are_slow_on_purpose_are_no_loss() {
    let fixture = fixture();
    let mut job = job(fixture.addr);
    job.plan.slow_share = 0.25;
    let report = run(&job);
    assert!(report.is_clean(), "{:?} {:?}", report.accounts, report.errors);
    assert_eq!(report.joins.count, CONNECTIONS as u64);
    assert_eq!(report.members_max, CONNECTIONS - CONNECTIONS / 4);
}

#[test]
fn tokens_and_names_are_given_to_the_server() {
    let fixture = Fixture::start("");
    let names = ["messi", "Xavi", "iniesta"];
    for name in names {
        fixture.max.talks_in(&name.to_lowercase(), &["barça \"1\""]);
    }
    let mut job = job(fixture.addr);
    job.plan.connections = names.len();
    let token = |name: &str| Some(format!("t-{}", name.to_lowercase()).as_str().into());
    job.users = names.map(|name| Credentials { name: Some(name.to_owned()), token: token(name) }).to_vec();
    let report = run(&job);
    assert!(report.is_clean() && report.accounts.received > 0, "{:?} {:?}", report.accounts, report.errors);

    job.users[1].token = Some("wrong".into());
    let report = run(&job);
    assert_eq!(report.connections_lost, 1);
    assert_eq!(report.errors, [("join: refused with unauthorized".to_owned(), 1)]);
    assert!(!report.is_clean());

    job.users.clear();
    let error = engine::run(&job, pending()).unwrap_err();
    assert!(matches!(error, RunError::NobodyJoined { .. }), "{error}");
    assert!(error.to_string().contains("token_required (3)"), "{error}");
}

#[test]
fn a_plan_without_talks_is_a_run_at_rest_and_one_that_nobody_hears_is_none() {
    let fixture = fixture();
    let mut job = job(fixture.addr);
    job.plan.pace = Pace::Open { rate: 0.0 };
    job.plan.duration = Duration::from_millis(100);
    let report = run(&job);
    assert_eq!((report.accounts, report.joins.count), (NONE, CONNECTIONS as u64));
    assert!(report.is_clean() && report.is_valid());

    job.plan.pace = Pace::Open { rate: 50.0 };
    (0..CONNECTIONS).for_each(|number| fixture.max.talks_in(&format!("u{number}"), &[&format!("c{number}")]));
    let error = engine::run(&job, pending()).unwrap_err();
    assert!(matches!(error, RunError::NobodyListens { joined: 12, hint: None }), "{error}");
}

/// The accounts of a run without talks and faults.
const NONE: Accounts = Accounts {
    sent: 0,
    expected: 0,
    received: 0,
    declared_missing: 0,
    told_missing: 0,
    lost: 0,
    duplicated: 0,
    out_of_order: 0,
    misdelivered: 0,
};

#[test]
fn every_fault_of_a_server_is_caught() {
    let (lost, misdelivered) = (Accounts { lost: 1, ..NONE }, Accounts { misdelivered: 1, ..NONE });
    let table = [
        (Fault::None, NONE),
        (Fault::Lose, lost),
        (Fault::Double, Accounts { duplicated: 1, ..NONE }),
        (Fault::Reorder, Accounts { out_of_order: 1, ..NONE }),
        (Fault::Misdeliver, misdelivered),
        (Fault::Echo, misdelivered),
        (Fault::Rename, Accounts { misdelivered: 1, lost: 1, ..NONE }),
        (Fault::Invent, misdelivered),
        (Fault::Garble, misdelivered),
        (Fault::Babble, misdelivered),
        (Fault::Fold, Accounts { declared_missing: 1, ..NONE }),
    ];
    // Side by side: each waits some seconds for the messages that are lost.
    thread::scope(|scope| {
        for (fault, wrong) in table {
            scope.spawn(move || assert_caught(fault, wrong));
        }
    });
}

/// Runs against a server with this fault, and asserts that the accounts are off by `wrong` for each time that it
/// occurred.
fn assert_caught(fault: Fault, wrong: Accounts) {
    let server = Faulty::start(fault);
    let mut job = job(server.addr);
    // Each conversation has 28 talks; the 5th, 15th and 25th are faulty.
    job.plan.pace = Pace::Open { rate: 56.0 };
    let report = run(&job);
    let Accounts { sent, expected, received, .. } = report.accounts;
    let faults = server.faults();
    assert!(faults > 0 || fault == Fault::None, "{fault:?}");
    let wrong = Accounts {
        sent,
        expected,
        received,
        lost: wrong.lost * faults,
        duplicated: wrong.duplicated * faults,
        out_of_order: wrong.out_of_order * faults,
        misdelivered: wrong.misdelivered * faults,
        declared_missing: wrong.declared_missing * faults,
        told_missing: 0,
    };
    assert_eq!(report.accounts, wrong, "{fault:?}: {:?}", report.errors);
    assert_eq!(expected, sent * (CONNECTIONS as u64 / 2 - 1), "{fault:?}");
    assert_eq!(expected, received + wrong.lost + wrong.declared_missing, "{fault:?}");
    assert_eq!(report.is_clean(), matches!(fault, Fault::None | Fault::Fold), "{fault:?}");
}

#[test]
fn a_connection_that_is_closed_is_lost_with_all_that_it_had_to_hear() {
    let server = Faulty::start(Fault::Close);
    let report = run(&job(server.addr));
    assert!(report.connections_lost > 0 && !report.is_clean());
    assert!(report.accounts.lost > 0, "{:?}", report.accounts);
    assert_eq!(report.unaccounted(), 0);
}

#[test]
fn joins_and_leaves_that_fail_are_counted() {
    let table = [
        (Fault::None, ""),
        (Fault::RefuseRejoin, "join: refused with busy"),
        (Fault::IgnoreRejoin, "join: no listening until the end"),
        (Fault::IgnoreLeave, "leave: no listening until the end"),
        (Fault::ForgetConversation, "join: listening to other conversations than before"),
    ];
    // Side by side: each waits some seconds for answers that never come.
    thread::scope(|scope| {
        for (fault, error) in table {
            scope.spawn(move || {
                let server = Faulty::start(fault);
                let mut job = job(server.addr);
                job.plan.churn = 10.0;
                let report = run(&job);
                let faults = server.faults();
                assert_eq!(report.churn_failures, faults, "{fault:?}: {:?}", report.errors);
                let counted = report.errors.iter().find(|(what, _)| what == error).map_or(0, |(_, count)| *count);
                assert_eq!(counted, faults, "{fault:?}: {:?}", report.errors);
                assert_eq!((report.is_clean(), faults == 0), (fault == Fault::None, fault == Fault::None), "{fault:?}");
                assert_eq!((report.accounts.lost, report.connections_lost), (0, 0), "{fault:?}");
            });
        }
    });
}

#[test]
fn a_join_answered_twice_is_counted_once() {
    let mut job = job(Faulty::start(Fault::RefuseTwice).addr);
    let error = engine::run(&job, pending()).unwrap_err().to_string();
    assert!(error.contains("join: refused with busy ("), "{error}");
    job.plan.pace = Pace::Open { rate: 0.0 };
    job.plan.duration = Duration::from_millis(100);
    for fault in [Fault::ListenAndRefuse, Fault::ConnectTwice] {
        job.targets = self::job(Faulty::start(fault).addr).targets;
        let report = run(&job);
        assert_eq!((report.joins.count, report.connections_lost), (CONNECTIONS as u64, 0), "{fault:?}");
    }
}

#[test]
fn talks_that_the_server_does_not_take_are_its_fault() {
    for (fault, error) in
        [(Fault::CloseTalker, "talk: its talker is gone"), (Fault::Ignore, "talk: the server does not read")]
    {
        let server = Faulty::start(fault);
        let mut job = job(server.addr);
        job.plan.pace = Pace::Open { rate: 56.0 };
        // More than the kernel's buffers take.
        job.plan.payload_bytes = if fault == Fault::Ignore { 400_000 } else { 150 };
        let report = run(&job);
        assert!(report.talks_not_taken > 0 && !report.is_clean(), "{fault:?}: {:?}", report.errors);
        assert_eq!(report.accounts.sent + report.talks_not_taken, 56, "{fault:?}");
        assert!(report.errors.contains(&(error.to_owned(), report.talks_not_taken)), "{fault:?}: {:?}", report.errors);
        // On a busy machine the generator itself may be late, and then sends less.
        let was_late = report.generator.lag_p99 > 1_000;
        let doubts = report.doubts();
        let sent_too_few = doubts.iter().any(|doubt| matches!(doubt, Doubt::TooFew { .. }));
        assert!(was_late || !sent_too_few, "{fault:?}: {doubts:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_keeps_no_port_from_the_next() {
    let fixture = fixture();
    let mut job = job(fixture.addr);
    job.plan.duration = Duration::from_millis(100);
    let polling = Way { generation: Generation::Eio4, transport: TransportKind::Polling };
    job.plan.mix = vec![(WEBSOCKET, 1), (polling, 1)];
    run(&job);
    // Each line is a connection: its number, both addresses, and its state; 6 is TIME_WAIT.
    let server = format!("0100007F:{:04X}", fixture.addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of_server = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let waiting = of_server.filter(|row| row[2] == server && row[3] == "06").count();
    assert_eq!(waiting, 0, "of {CONNECTIONS} connections");
}

#[test]
fn a_run_leaves_no_session_of_0_9_to_the_next() {
    let fixture = fixture();
    let mut job = job(fixture.addr);
    job.plan.duration = Duration::from_millis(100);
    let ways = [TransportKind::WebSocket, TransportKind::Polling];
    job.plan.mix = ways.map(|transport| (Way { generation: Generation::Sio09, transport }, 1)).to_vec();
    run(&job);
    support::run(fixture.until("sessions are left", |now| now.sum("maxtalk_sessions", "") == 0.0));
}

#[test]
fn a_closed_loop_goes_on_where_something_is_lost() {
    let server = Faulty::start(Fault::Lose);
    let mut job = job(server.addr);
    job.plan.pace = Pace::Closed { window: 8 };
    let report = run(&job);
    assert_eq!((report.accounts.lost, report.unaccounted()), (server.faults(), 0));
}

/// A server that gives `answer` to every request, and closes.
fn parrot(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Errors are ignored: the client may have gone.
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    addr
}

#[test]
fn an_unfit_server_is_reported() {
    let asks = "(does it speak eio4 by websocket at /socket.io/? Flags --generations, --transports, --path)";
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\n<html>\nNot found\n";
    let bad_request = "HTTP/1.1 400 Bad Request\r\n\r\n{\"code\":0}\n";
    // The refusal of a Socket.IO server that does not allow clients of version 3.
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\
        HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: 28\r\n\r\n";
    let table = [
        ("", "connect: closed by the server"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "connect: an answer that is not HTTP"),
        (not_found, "connect: HTTP status 404"),
        (bad_request, r#"connect: HTTP status 400 {"code":0}"#),
        (upgrade, "connect: a frame of no kind"),
    ];
    for (answer, what) in table {
        let error = engine::run(&job(parrot(answer)), pending()).unwrap_err().to_string();
        assert_eq!(error, format!("nobody could join: {what} {asks} ({CONNECTIONS})"));
    }

    let fixture = fixture();
    let mut job = job(fixture.addr);
    job.targets[0].namespace = "/other".to_owned();
    let error = engine::run(&job, pending()).unwrap_err().to_string();
    assert!(error.starts_with("nobody could join: connect: the namespace /other was refused: "), "{error}");

    let error = engine::run(&self::job(Faulty::start(Fault::Mumble).addr), pending()).unwrap_err().to_string();
    let what = r#"join: answered with a listening that is not {"conversations": [id, ...]} (12)"#;
    assert!(error.contains(what), "{error}");
}

/// Starts `maxtalk bench` with a short plan.
fn bench(arguments: &[&str]) -> Child {
    let mut command: Command = maxtalk(&["bench", "--connections", "12", "--rate", "50", "--warm-up", "0s", "--quiet"]);
    command.args(arguments).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a bench, and returns its exit code, standard output and standard error.
fn outcome(mut child: Child) -> (Option<i32>, String, String) {
    let (status, _) = end_of(&mut child);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (status.code(), out, err)
}

#[test]
fn the_exit_code_tells_whether_the_accounts_are_right() {
    for (fault, clean) in [(Fault::None, true), (Fault::Lose, false)] {
        let server = Faulty::start(fault);
        let url = format!("http://{}", server.addr);
        let (code, out, err) = outcome(bench(&["--url", &url, "--duration", "1s", "--json"]));
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
        assert_eq!(report["clean"], clean, "{out}");
        // On a busy machine the bench may fail to keep its plan, and reports so.
        assert_eq!(code, Some(if clean && report["valid"] == true { 0 } else { 1 }), "{out}");
    }
}
