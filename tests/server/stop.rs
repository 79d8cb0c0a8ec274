//! The program from start to end: signals, exit codes, broken standard streams, and secrets that its log may not
//! contain.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support;
use crate::support::client::{Client, Heard, Kind, join_of, listening, not_ok, ok, sid_of, talk_of, target, update};
use crate::support::fake_max::{answer, json};
use crate::support::http::{Http, request};
use crate::support::kind::{Generation, Way};
use crate::support::max_by_rule::MaxByRule;
use crate::support::process::{Process, by_shell, end_of, maxtalk, signal};
use crate::support::socket::{End, text};
use crate::support::{run, within};

/// A stop with 100 and more sockets must be done in this time.
const STOP_TIME: Duration = Duration::from_secs(2);

fn start(max: &MaxByRule, settings: &[(&str, &str)]) -> Process {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", &max.url()]);
    command.envs(settings.iter().copied());
    Process::start(command)
}

/// Joins at a server of another process.
async fn join(addr: SocketAddr, kind: Kind, user: &str, conversations: &[&str]) -> Client {
    let mut client = Client::connect(addr, kind, "").await;
    client.emit("join", &join_of(user)).await;
    client.hears_at_last(&listening(conversations)).await;
    client
}

/// A sleeping machine or a debugger stops all threads together.
#[test]
fn a_pause_of_the_whole_process_is_no_fault_of_a_worker() {
    run(async {
        let mut server = Process::start(maxtalk(&["--listen", "127.0.0.1:0"]));
        let addr = server.addr();
        signal(&server.child, "STOP");
        // A worker without a report for two seconds is stuck.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        signal(&server.child, "CONT");
        // The accepting thread looks at the workers before it accepts a connection.
        for _ in 0..5 {
            assert_eq!(Http::connect(addr).await.get("/").await.status, 200);
        }
        signal(&server.child, "TERM");
        server.end();
        let log = server.log.join("\n");
        assert!(!log.contains("has done nothing"), "{log}");
    });
}

#[test]
fn a_signal_stops_it_at_once_and_sends_nobody_away_for_good() {
    run(async {
        for name in ["TERM", "INT"] {
            let max = MaxByRule::start();
            let mut server = start(&max, &[]);
            let addr = server.addr();
            let mut clients = Vec::new();
            for n in 0..100 {
                let kind = if n % 4 == 0 { Kind::Upgraded } else { Kind::WebSocket };
                clients.push(join(addr, kind, &format!("u{n}"), &["crowd"]).await);
            }
            let mut poller = join(addr, Kind::Polling, "u100", &["crowd"]).await;
            // A waiting poll, idle connections, and one in the middle of an upgrade.
            let mut pending = Http::connect(addr).await;
            let sid = sid_of(&pending.get("/socket.io/?EIO=4&transport=polling").await.body);
            pending.write(&request("GET", &target(&sid), &[], b"")).await.unwrap();
            let mut idle = Vec::new();
            for n in 0..10 {
                let mut http = Http::connect(addr).await;
                if n % 2 == 0 {
                    http.get("/socket.io/").await;
                }
                idle.push(http);
            }
            let query = format!("EIO=4&transport=websocket&sid={sid}");
            let mut probing = support::socket::Socket::open(addr, &query).await;
            probing.write(&text("2probe")).await;
            probing.hear().await;

            signal(&server.child, name);
            let (status, time) = server.end();
            assert_eq!(status.code(), Some(0), "SIG{name}: {:#?}", server.log);
            assert!(time < STOP_TIME, "SIG{name}: {time:?}");
            assert!(server.log.iter().any(|line| line.contains(&format!("SIG{name}: stopping"))));
            assert!(server.log.iter().any(|line| line.ends_with("stopped")), "{:#?}", server.log);

            for client in &mut clients {
                loop {
                    match client.hear().await {
                        Heard::End(end) => break assert_eq!(end, End::Frame(None)),
                        Heard::Event(..) => {}
                        other => panic!("it said {other:?}"),
                    }
                }
            }
            // After a close packet the client would not come back.
            loop {
                match poller.hear().await {
                    Heard::End(end) => break assert_ne!(end, End::Packet),
                    Heard::Event(..) => {}
                    other => panic!("it said {other:?}"),
                }
            }
            let last = within("the end of a poll", pending.response()).await;
            assert!(last.as_ref().map_or(true, |last| last.body == "6" || last.status == 400), "{last:?}");
            for mut http in idle {
                assert!(http.is_closed().await);
            }
        }
    });
}

#[test]
fn connections_that_do_not_end_are_not_waited_for() {
    run(async {
        for (settings, second) in [(&[("MAXTALK_SERVER__STOP_MS", "300")][..], false), (&[], true)] {
            let max = MaxByRule::start();
            let mut server = start(&max, settings);
            let addr = server.addr();
            let mut http = Http::connect(addr).await;
            let sid = sid_of(&http.get("/socket.io/?EIO=4&transport=polling").await.body);
            // A half POST, whose rest never comes.
            let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4", target(&sid));
            http.write(head.as_bytes()).await.unwrap();
            // This later request is answered, so the server has the half POST.
            Http::connect(addr).await.get("/socket.io/").await;
            signal(&server.child, "TERM");
            server.says("SIGTERM: stopping");
            if second {
                signal(&server.child, "INT");
            }
            let (status, time) = server.end();
            assert_eq!(status.code(), Some(0));
            assert!(time < STOP_TIME, "{time:?}: {:#?}", server.log);
            if second {
                assert!(server.log.iter().any(|line| line.contains("a second signal")), "{:#?}", server.log);
            }
        }
    });
}

#[test]
fn half_a_request_is_waited_for_a_moment() {
    run(async {
        let max = MaxByRule::start();
        let mut server = start(&max, &[("MAXTALK_SERVER__STOP_MS", "600000")]);
        let mut http = Http::connect(server.addr()).await;
        http.write(b"GET / HT").await.unwrap();
        Http::connect(server.addr()).await.get("/socket.io/").await;
        signal(&server.child, "TERM");
        let (status, time) = server.end();
        assert_eq!(status.code(), Some(0));
        // The half request delays the stop by at most a second.
        assert!(time < STOP_TIME + Duration::from_secs(1), "{time:?}: {:#?}", server.log);
    });
}

/// The environment variable of `server.drain_ms`.
const DRAIN_MS: &str = "MAXTALK_SERVER__DRAIN_MS";

/// Waits until a client has lost its transport. Panics if it hears anything else than news before.
async fn lost(client: &mut Client) -> (Instant, End) {
    loop {
        match client.hear().await {
            Heard::End(end) => return (Instant::now(), end),
            Heard::Event(name, _) if ["joined", "left"].contains(&name.as_str()) => {}
            other => panic!("{:?} was told {other:?}", client.kind),
        }
    }
}

#[test]
fn a_drain_closes_everybody_one_after_the_other_and_forbids_nobody_to_come_back() {
    const DRAIN: Duration = Duration::from_millis(1700);
    run(async {
        let max = MaxByRule::start();
        let mut server = start(&max, &[(DRAIN_MS, &DRAIN.as_millis().to_string())]);
        let addr = server.addr();
        let mut clients = Vec::new();
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            clients.push(join(addr, kind, &format!("u{n}"), &["crowd"]).await);
        }
        let begun = Instant::now();
        signal(&server.child, "TERM");
        let mut ends = Vec::new();
        for (kind, lost) in
            futures_util::future::join_all(clients.iter_mut().map(|client| async { (client.kind, lost(client).await) }))
                .await
        {
            let (at, end) = lost;
            let is_expected = match (kind.way(), kind.generation(), &end) {
                (Way::WebSocket | Way::Upgraded, _, end) => *end == End::Frame(None),
                (_, Generation::Sio09, End::Refused(status, packet)) => (*status, packet.as_str()) == (200, "7:::1+0"),
                (_, Generation::Eio3 | Generation::Eio4, End::Refused(status, _)) => *status == 400,
                // The last one may be answered by the stop.
                (_, _, end) => [End::Eof, End::Reset].contains(end),
            };
            assert!(is_expected, "{kind:?}: {end:?}");
            ends.push(at - begun);
        }
        ends.sort();
        for (n, end) in ends.iter().enumerate() {
            let earliest = DRAIN * n as u32 / Kind::ALL.len() as u32;
            assert!(*end >= earliest.mul_f64(0.8), "{n}: {end:?} is before {earliest:?}");
        }
        let (status, time) = server.end();
        assert_eq!(status.code(), Some(0), "{:#?}", server.log);
        assert!(time < STOP_TIME, "{time:?}: {:#?}", server.log);
        for said in ["SIGTERM: draining: 17 sessions are closed over 1700 ms", "drained in", ": stopping", "stopped"] {
            assert!(server.log.iter().any(|line| line.contains(said)), "no {said:?} in {:#?}", server.log);
        }
    });
}

#[test]
fn a_server_that_drains_serves_its_sessions_and_refuses_new_ones() {
    run(async {
        let max = MaxByRule::start();
        let metrics = free_addr();
        let settings = [(DRAIN_MS, "3600000"), ("MAXTALK_ADMIN__LISTEN", &metrics.to_string())];
        let mut server = start(&max, &settings);
        let addr = server.addr();
        let mut clients = Vec::new();
        for kind in [Kind::Polling, Kind::WebSocket, Kind::V09Polling] {
            clients.push(join(addr, kind, "u1", &["crowd"]).await);
        }
        assert_eq!(Http::connect(addr).await.request("OPTIONS", "/", &[], b"").await.status, 204);
        signal(&server.child, "TERM");
        server.says("draining: 3 sessions");
        // One session is closed at once, and the next one after 20 minutes.
        let ends = clients.iter_mut().map(|client| Box::pin(lost(client)));
        let (_, closed, rest) = futures_util::future::select_all(ends).await;
        drop(rest);
        clients.remove(closed);
        for client in &mut clients {
            let ack = client.emit_ack("talk", &talk_of("crowd", "m")).await;
            client.hears_at_last(&ok(ack)).await;
        }

        // Load balancers look here.
        for method in ["OPTIONS", "GET"] {
            let told = Http::connect(addr).await.request(method, "/", &[], b"").await;
            assert_eq!((told.status, told.header("connection")), (503, Some("close")), "{method}");
        }
        for kind in Kind::ALL {
            let told = Http::connect(addr).await.get(&kind.handshake()).await;
            if kind.generation() == Generation::Sio09 && kind.is_jsonp() {
                assert_eq!((told.status, told.body.contains("handshake error")), (200, true), "{kind:?}: {told:?}");
                continue;
            }
            let headers = (told.header("retry-after"), told.header("connection"));
            assert_eq!((told.status, headers), (503, (Some("1"), Some("close"))), "{kind:?}: {told:?}");
            if kind.generation() != Generation::Sio09 {
                let target = kind.socket_target(None);
                let query = target.strip_prefix("/socket.io/?").unwrap();
                let told = support::socket::Socket::ask(addr, query, b"").await.err().unwrap();
                assert_eq!((told.status, told.header("retry-after")), (503, Some("1")), "{kind:?}: {told:?}");
            }
        }
        let scrape = Http::connect(metrics).await.get("/metrics").await.body;
        for row in ["maxtalk_draining 1", r#"reason="stop"} 1"#, r#"protocol="0.9",result="stopping"} 4"#] {
            assert!(scrape.contains(row), "no {row} in {scrape}");
        }

        signal(&server.child, "TERM");
        let (status, time) = server.end();
        assert_eq!(status.code(), Some(0));
        assert!(time < STOP_TIME, "{time:?}: {:#?}", server.log);
        assert!(server.log.iter().any(|line| line.contains("a second signal: stopping at once")), "{:#?}", server.log);
    });
}

#[test]
fn a_drain_ends_when_the_last_session_has_gone() {
    run(async {
        let max = MaxByRule::start();
        let mut server = start(&max, &[(DRAIN_MS, "3600000")]);
        let addr = server.addr();
        // One is closed at once, the other leaves by itself.
        let mut clients = Vec::new();
        for kind in [Kind::WebSocket, Kind::V2WebSocket] {
            clients.push(join(addr, kind, "u1", &["crowd"]).await);
        }
        signal(&server.child, "TERM");
        let ends = clients.iter_mut().map(|client| Box::pin(lost(client)));
        let (_, closed, rest) = futures_util::future::select_all(ends).await;
        drop(rest);
        clients.remove(1 - closed).close().await;
        let (status, time) = server.end();
        assert_eq!(status.code(), Some(0));
        assert!(time < STOP_TIME, "{time:?}: {:#?}", server.log);
    });
}

/// Opens a session, and returns everything that the server sends until its end.
async fn whole_session(addr: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    // Over Engine.IO 3 the server pauses in the middle of the handshake.
    stream.write_all(&support::socket::handshake("EIO=3&transport=websocket")).await?;
    let mut heard = Vec::new();
    within("the end of a session", stream.read_to_end(&mut heard)).await?;
    Ok(heard)
}

/// Sessions open all the time. Those whose handshake is under way when the end begins are closed like the others.
#[test]
fn sessions_that_open_while_the_end_begins_are_closed_too() {
    run(async {
        for drain_ms in ["0", "200"] {
            let max = MaxByRule::start();
            let mut server = start(&max, &[(DRAIN_MS, drain_ms)]);
            let addr = server.addr();
            let mut sessions = Vec::new();
            for n in 0..100 {
                sessions.push(tokio::spawn(whole_session(addr)));
                if n == 50 {
                    signal(&server.child, "TERM");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut opened = 0;
            for session in sessions {
                let Ok(heard) = session.await.unwrap() else { continue };
                if heard.starts_with(b"HTTP/1.1 101") {
                    assert!(heard.ends_with(b"\x88\0"), "{:?}", String::from_utf8_lossy(&heard));
                    opened += 1;
                }
            }
            assert!(opened > 0);
            let (status, time) = server.end();
            assert_eq!(status.code(), Some(0));
            assert!(time < STOP_TIME, "{time:?}: {:#?}", server.log);
        }
    });
}

/// Arguments, environment variables, and expected words of the message.
type Refusal<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn a_failed_start_gives_its_cause_and_exit_code_1() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let table: &[Refusal<'_>] = &[
        (&["--listen", &addr], &[], &["cannot listen on", &addr, "server.listen"]),
        (&["serve", "--listen", &addr], &[], &["cannot listen on", &addr]),
        (&["--listen", "127.0.0.1:0"], &[("MAXTALK_ADMIN__LISTEN", &addr)], &["cannot listen on", "admin.listen"]),
        (&["--listen", "nowhere"], &[], &["server.listen", "--listen", "nowhere"]),
        (&[], &[("MAXTALK_OUTBOX__MESSAGES_MAX", "many")], &["outbox.messages_max", "MAXTALK_OUTBOX__MESSAGES_MAX"]),
        (&[], &[("MAXTALK_OUTBOX__MESSAGES_MAX", "10")], &["outbox.messages_max", "mailbox.conversation"]),
        (&["--config", "/does/not/exist.toml"], &[], &["/does/not/exist.toml"]),
        (&["--max-url", "ftp://max"], &[], &["max.url", "ftp://max"]),
    ];
    for (arguments, environment, said) in table {
        let mut command = maxtalk(arguments);
        command.envs(environment.iter().copied());
        let mut server = Process::start(command);
        let (status, _) = server.end();
        assert_eq!(status.code(), Some(1), "{arguments:?} {environment:?}: {:#?}", server.log);
        let log = server.log.join("\n");
        for said in *said {
            assert!(log.contains(said), "{arguments:?} {environment:?}: no {said:?} in {log}");
        }
    }
    // An invalid command line.
    let mut server = Process::start(maxtalk(&["--lissten", "x"]));
    assert_eq!(server.end().0.code(), Some(2));
}

#[test]
fn it_listens_where_it_is_told() {
    run(async {
        let addr = free_addr();
        let max = MaxByRule::start();
        let mut server = Process::start(maxtalk(&["--listen", &addr.to_string(), "--max-url", &max.url()]));
        assert_eq!(server.addr(), addr);
        let mut client = join(addr, Kind::WebSocket, "u1", &["crowd"]).await;
        client.hears_nothing().await;
    });
}

/// An address on which nobody listens.
fn free_addr() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn standard_streams_that_are_closed_or_stall_stop_nothing() {
    run(async {
        for how in ["closed", "stalled", "full"] {
            let addr = free_addr();
            let max = MaxByRule::start();
            let mut command = maxtalk(&["--listen", &addr.to_string(), "--max-url", &max.url()]);
            let (_reader, mut writer) = io::pipe().unwrap();
            match how {
                "closed" => {
                    command = by_shell("exec \"$0\" \"$@\" >&- 2>&-", &command);
                }
                "stalled" => {
                    // Fills the pipe, which nobody reads.
                    writer.write_all(&[b'x'; 65_536]).unwrap();
                    command.stdout(writer.try_clone().unwrap()).stderr(writer);
                }
                _ => {
                    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
                    command.stdout(full.try_clone().unwrap()).stderr(full);
                }
            }
            command.env("MAXTALK_LOG__FILTER", "debug").stdin(Stdio::null());
            let mut child = command.spawn().unwrap();
            let begun = Instant::now();
            while TcpStream::connect(addr).await.is_err() {
                assert!(begun.elapsed() < support::DEADLINE, "{how}: it does not listen");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut one = join(addr, Kind::WebSocket, "u1", &["crowd"]).await;
            let mut other = join(addr, Kind::WebSocket, "u2", &["crowd"]).await;
            for n in 0..500 {
                // Refusals are logged at this level.
                one.emit("talk", &talk_of("elsewhere", "m")).await;
                one.emit("talk", &talk_of("crowd", &n.to_string())).await;
                other.hears(&[update("u1", "crowd", &n.to_string())]).await;
            }
            signal(&child, "TERM");
            let (status, time) = end_of(&mut child);
            assert_eq!(status.code(), Some(0), "{how}");
            // The last lines have a second to be written.
            assert!(time < STOP_TIME + Duration::from_secs(1), "{how}: {time:?}");
        }
    });
}

/// Joins of every kind, good and bad, with everything logged: no token may appear anywhere.
#[test]
fn tokens_are_in_no_log_and_no_metric() {
    run(async {
        let max = MaxByRule::start();
        let metrics = free_addr();
        let service = [
            ("MAXTALK_MAX__SERVICE_USERNAME", "manager"),
            ("MAXTALK_MAX__SERVICE_TOKEN", "t-manager"),
            ("MAXTALK_MAX__TOKENLESS_JOINS", "true"),
        ];
        let admin_listen = metrics.to_string();
        let logged = [("MAXTALK_LOG__FILTER", "trace"), ("MAXTALK_ADMIN__LISTEN", admin_listen.as_str())];
        let mut server = start(&max, &[&service[..], &logged].concat());
        let addr = server.addr();
        for kind in [Kind::WebSocket, Kind::Polling, Kind::Upgraded] {
            let mut client = Client::connect(addr, kind, r#"{"token":"t-secret-of-auth","scope":"s"}"#).await;
            client.call("join", &join_of("u1"), &[listening(&["crowd"])], ok).await;
            for user in ["secret-u", "wrong-secret"] {
                // MAX fails for the first user, and its error repeats the token; the second user is unknown.
                max.answers(
                    "secret-u",
                    answer("503 Service Unavailable", "text/plain", "t-secret-u is too much for me"),
                );
                client.emit("join", &join_of(user)).await;
                assert!(matches!(client.hear().await, Heard::Event(name, _) if name == "refused"), "{user}");
            }
            max.answers("secret-u", json(r#"[{"id":"t-secret-u"},{"token":"t-secret-u"}]"#));
            client.call("join", &join_of("secret-u"), &[], |ack| not_ok(ack, "max_garbage")).await;
            client.emit("join", r#"{"username":"u1","token":"t-secret\n-with-control"}"#).await;
            client.emit("join", r#"{"username":5,"token":"t-secret-beside-nonsense"}"#).await;
            client.emit("join", r#""u2""#).await;
            client.emit("talk", r#"{"conversation":"nowhere","token":"t-secret-in-a-talk"}"#).await;
            client.emit("login", r#"{"token":"t-secret-in-another-event"}"#).await;
            client.so_far().await;
            client.send(r#"42/max,["join",{"username":"u1","token":"t-secret-in-broken-json"}"#).await;
            client.end().await;
        }
        let mut scrape = Http::connect(metrics).await.get("/metrics").await.body;
        scrape += &Http::connect(metrics).await.get("/health").await.body;
        signal(&server.child, "TERM");
        assert_eq!(server.end().0.code(), Some(0));
        assert!(server.log.iter().any(|line| line.contains("joined")), "it was not logged at all");
        for line in server.log.iter().map(String::as_str).chain(scrape.lines()) {
            for token in ["t-secret", "t-u1", "t-manager", "t-wrong"] {
                assert!(!line.contains(token), "{line}");
            }
        }
    });
}

/// Starts the server within a limit of the shell, such as `-n 30`.
fn start_within(limit: &str, environment: &[(&str, &str)]) -> Process {
    let mut program = maxtalk(&["--listen", "127.0.0.1:0"]);
    program.envs(environment.iter().copied());
    Process::start(by_shell(&format!("ulimit {limit}; exec \"$0\" \"$@\""), &program))
}

#[test]
fn where_too_few_files_may_be_open_it_does_not_start_and_says_why() {
    for files in [16, 24, 30, 40, 51] {
        let mut server = start_within(&format!("-n {files}"), &[]);
        let (status, _) = server.end();
        assert_eq!(status.code(), Some(1), "{files}: {:#?}", server.log);
        let log = server.log.join("\n");
        assert!(log.contains("open files") && log.contains("ulimit -n"), "{files}: {log}");
        assert!(!log.contains("listening"), "{files}: {log}");
    }
}

#[test]
fn the_start_says_in_one_line_how_many_sessions_fit() {
    // The demo is for a first look, and so nothing to warn of.
    for (url, level) in [(None, " INFO "), (Some(("MAXTALK_MAX__URL", "http://127.0.0.1:1")), " WARN ")] {
        let environment = [Some(("MAXTALK_SERVER__WORKERS", "2")), url];
        let environment: Vec<_> = environment.into_iter().flatten().collect();
        let mut server = start_within("-n 120", &environment);
        let said = server.says(" fit, because ");
        let why = "of 200,000 sessions (limits.sessions_max) fit, because the limit on open files is 120 (ulimit -n, \
                   or LimitNOFILE of systemd); further clients are refused";
        assert!(said.contains(level) && said.ends_with(why), "{said}");
        server.addr();
        signal(&server.child, "TERM");
        assert!(server.end().0.success());
        let lines = server.log.iter().filter(|line| line.contains("sessions") && !line.contains("drain"));
        assert_eq!(lines.count(), 1, "{:#?}", server.log);
    }
}

#[test]
fn a_few_files_make_a_small_server_that_serves_operators_too() {
    run(async {
        let metrics = free_addr();
        let mut server = start_within(
            "-n 120",
            &[
                ("MAXTALK_ADMIN__LISTEN", &metrics.to_string()),
                ("MAXTALK_SERVER__WORKERS", "2"),
                ("MAXTALK_MAX__INFLIGHT_MAX", "8"),
            ],
        );
        let addr = server.addr();
        // More connections than the bound: those within it are served, the others are told.
        let mut held = Vec::new();
        let mut served = 0;
        for _ in 0..150 {
            let mut http = Http::connect(addr).await;
            let sent = http.write(&request("GET", "/favicon.svg", &[], b"")).await;
            let answer = within("an answer or an end", http.response()).await;
            match answer.as_ref().map(|answer| answer.status) {
                Ok(200) => served += 1,
                Ok(503) => {}
                other => assert!(other.is_err(), "{other:?} {sent:?}"),
            }
            held.push(http);
        }
        assert!((8..120).contains(&served), "{served}");
        assert_eq!(Http::connect(metrics).await.get("/health").await.status, 200);
        drop(held);
        signal(&server.child, "TERM");
        assert_eq!(server.end().0.code(), Some(0));
    });
}

#[test]
fn where_addresses_are_few_clients_get_most_of_them() {
    run(async {
        let mut server = start_within("-v 262144", &[]);
        let mut http = Http::connect(server.addr()).await;
        for _ in 0..1000 {
            assert_eq!(http.get("/socket.io/?EIO=4&transport=polling").await.status, 200);
        }
    });
}

#[test]
fn a_closed_terminal_is_no_reason_to_end() {
    run(async {
        let max = MaxByRule::start();
        let mut server = start(&max, &[]);
        let mut client = join(server.addr(), Kind::WebSocket, "u1", &["crowd"]).await;
        signal(&server.child, "HUP");
        server.says("SIGHUP");
        client.hears_nothing().await;
        signal(&server.child, "TERM");
        assert_eq!(server.end().0.code(), Some(0));
    });
}
