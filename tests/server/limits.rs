//! The bounds on clients: their number, their rate, the address that a client counts as, and the bytes kept for it
//! while memory is short.

use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::client::{new_sid, sid_of, target};
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::process::{Process, maxtalk, resident_mib};
use crate::support::requests::{KEY, client, play, statuses, upgrade};
use crate::support::{DEADLINE, run, within};

/// Returns the status of a handshake over each transport, and whether it has a `Retry-After`.
async fn handshakes(server: &Fixture, headers: &[(&str, &str)]) -> Vec<(u16, bool)> {
    let mut answers = Vec::new();
    for target in ["/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=3&transport=polling", "/socket.io/1/"] {
        let answer = Http::connect(server.addr).await.request("GET", target, headers, b"").await;
        answers.push((answer.status, answer.header("retry-after").is_some()));
    }
    let mut lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.extend(["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY].map(str::to_owned));
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let answer = upgrade(server.addr, "/socket.io/", &lines).await;
    answers.push((answer.status, answer.header("retry-after").is_some()));
    answers
}

#[test]
fn there_are_so_many_sessions_and_no_more() {
    run(async {
        for (setting, limit) in [
            ("limits.sessions_max = 4", "sessions"),
            ("limits.sessions_per_address_max = 4", "sessions_per_address"),
            ("limits.unjoined_max = 4", "unjoined"),
            ("limits.unjoined_per_address_max = 4", "unjoined_per_address"),
            ("limits.handshakes_per_second_max = 1\nlimits.handshakes_burst_max = 4\nserver.workers = 1", "handshakes"),
            (
                "limits.handshakes_per_address_per_second_max = 1\nlimits.handshakes_per_address_burst_max = 4",
                "handshakes_per_address",
            ),
            ("limits.memory_bytes_max = 1", "memory"),
        ] {
            let settings = format!("{setting}\nprotocol.connect_timeout_ms = 86400000\nmax.timeout_ms = 60000");
            let server = Fixture::start(&settings);
            if limit != "memory" {
                let opened = handshakes(&server, &[]).await;
                assert_eq!(opened, [(200, false), (200, false), (200, false), (101, false)], "{setting}");
            }
            let refused = handshakes(&server, &[]).await;
            // A rate may admit one of them a second later.
            let told = refused.iter().filter(|answer| **answer == (503, true)).count();
            assert!(told >= 3, "{setting}: {refused:?}");
            let counted = server.scrape().await.sum("maxtalk_limited_total", &format!("\"{limit}\""));
            assert!(counted >= 3.0, "{setting}: {counted}");
        }
    });
}

/// A command that runs the program with this limit on memory.
fn within_memory(mib: usize) -> Command {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
    command.env("MAXTALK_LIMITS__MEMORY_BYTES_MAX", (mib << 20).to_string());
    // On a busy machine, filling takes a while.
    command.env("MAXTALK_PROTOCOL__PING_INTERVAL_MS", "3600000");
    command.env("MAXTALK_PROTOCOL__CONNECT_TIMEOUT_MS", "86400000");
    command
}

#[test]
fn a_crowd_is_refused_before_memory_ends_and_leaves_none_behind() {
    const MIB: usize = 64;
    run(async {
        let mut command = within_memory(MIB);
        for limit in ["UNJOINED_MAX", "UNJOINED_PER_ADDRESS_MAX", "SESSIONS_MAX", "SESSIONS_PER_ADDRESS_MAX"] {
            command.env(format!("MAXTALK_LIMITS__{limit}"), "1000000");
        }
        for limit in ["HANDSHAKES_PER_SECOND_MAX", "HANDSHAKES_PER_ADDRESS_PER_SECOND_MAX"] {
            command.env(format!("MAXTALK_LIMITS__{limit}"), "0");
        }
        let mut server = Process::start(command);
        let addr = server.addr();
        let before = resident_mib(&server);
        let mut http = Http::connect(addr).await;
        let mut crowd = Vec::new();
        let refused = loop {
            let answer = http.get("/socket.io/?EIO=4&transport=polling").await;
            if answer.status != 200 {
                break answer;
            }
            crowd.push(target(&sid_of(&answer.body)));
        };
        assert_eq!(refused.status, 503);
        let peak = resident_mib(&server);
        assert!(peak < MIB, "{peak} MiB");
        for session in &crowd {
            assert_eq!(http.post(session, "1").await.status, 200, "who is here is served");
        }
        // Free memory goes back to the system within some ten seconds.
        let is_back = async {
            while resident_mib(&server) > before + (peak - before) / 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            while http.get("/socket.io/?EIO=4&transport=polling").await.status != 200 {}
        };
        tokio::time::timeout(3 * DEADLINE, is_back).await.unwrap();
    });
}

#[test]
fn nobody_fills_memory_with_halves_of_messages() {
    const MIB: usize = 96;
    run(async {
        let server = &mut Process::start(within_memory(MIB));
        let addr = server.addr();
        let here = target(&new_sid(addr).await);
        let thousand = "x".repeat(1000);
        // 990,000 bytes of a frame of 999,000, or of a body.
        let frame = r#"send "\x81\xff\0\0\0\0\0\x0f\x3e\x58\0\0\0\0""#;
        let socket = r#"send "[GET /socket.io/?EIO=4&transport=websocket|{UPGRADE}|{KEY}]"
                        expect "\"sid\":\"""#;
        let mut peers = Vec::new();
        for n in 0..200 {
            let (open, begin) = match n % 2 {
                0 => (socket, frame.to_owned()),
                _ => ("", format!(r#"send "[POST {}|Content-Length: 999000]""#, target(&new_sid(addr).await))),
            };
            let script =
                format!("{open}\nsay open\nwait go\n{begin}\nsend 990 * \"{thousand}\" or closed\nsay sent\nwait end");
            let peer = client(addr, &script);
            peer.said("open", 1).await;
            peers.push(peer);
        }
        peers.iter().for_each(|peer| peer.tell("go"));
        for peer in &peers {
            peer.said("sent", 1).await;
        }
        server.says("closed: memory");
        let held = resident_mib(server);
        assert!(held < MIB, "{held} MiB");
        assert_eq!(Http::connect(addr).await.post(&here, "40/max,").await.status, 200, "who is here is served");
        peers.iter().for_each(|peer| peer.tell("end"));
    });
}

#[test]
fn answers_that_are_not_polled_do_not_fill_memory() {
    const MIB: usize = 64;
    run(async {
        let server = &mut Process::start(within_memory(MIB));
        let addr = server.addr();
        let mut http = Http::connect(addr).await;
        let mut crowd = Vec::new();
        for _ in 0..400 {
            crowd.push(target(&new_sid(addr).await));
        }
        // Each packet is refused, and nobody polls for the refusals.
        let packets = vec!["40/a,"; 2048].join("\x1e");
        for session in &crowd {
            http.post(session, &packets).await;
        }
        server.says("closed: memory");
        let held = resident_mib(server);
        assert!(held < MIB, "{held} MiB");
    });
}

#[test]
fn nobody_fills_memory_with_half_heads() {
    const MIB: usize = 80;
    run(async {
        maxtalk::testing::raise_file_limit(0).unwrap();
        let server = &mut Process::start(within_memory(MIB));
        let addr = server.addr();
        let here = target(&new_sid(addr).await);
        let mut http = Http::connect(addr).await;
        assert_eq!(http.post(&here, "40/max,").await.status, 200);
        let half = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(30_000));
        let mut crowd = Vec::new();
        for _ in 0..3500 {
            let Ok(mut stream) = TcpStream::connect(addr).await else { break };
            // It may be refused already.
            let _ = stream.write_all(half.as_bytes()).await;
            crowd.push(stream);
        }
        let held = resident_mib(server);
        assert!(held < MIB, "{held} MiB");
        assert_eq!(http.get(&here).await.status, 200, "who is here is served");
    });
}

#[test]
fn a_trusted_proxy_names_the_address_of_a_client() {
    run(async {
        let server = Fixture::start(
            "limits.sessions_per_address_max = 3\nserver.trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n\
             protocol.connect_timeout_ms = 86400000",
        );
        let (ok, full) = ([(200, false), (200, false), (200, false), (503, true)], [(503, true); 4]);
        for (headers, answers) in [
            (&[("X-Forwarded-For", "192.0.2.1")][..], ok),
            (&[("X-Forwarded-For", "198.51.100.7, 192.0.2.1, 10.1.1.1")], full),
            (&[("X-Forwarded-For", "192.0.2.2")], ok),
            (&[("Forwarded", "for=192.0.2.3")], ok),
            (&[("X-Forwarded-For", "192.0.2.3"), ("Forwarded", "for=192.0.2.4")], full),
        ] {
            assert_eq!(handshakes(&server, headers).await, answers, "{headers:?}");
        }
        let believes_nobody = Fixture::start("limits.sessions_per_address_max = 3");
        assert_eq!(handshakes(&believes_nobody, &[("X-Forwarded-For", "192.0.2.1")]).await, ok);
        assert_eq!(handshakes(&believes_nobody, &[("X-Forwarded-For", "192.0.2.2")]).await, full);
    });
}

#[test]
fn connections_beyond_the_bound_are_told_and_the_old_live() {
    run(async {
        for setting in ["limits.connections_max = 5", "limits.connections_per_address_max = 5"] {
            let server = Fixture::start(setting);
            let mut held = Vec::new();
            for _ in 0..3 {
                let peer = client(
                    server.addr,
                    r#"
                    send "[GET /socket.io/?EIO=4&transport=websocket|{UPGRADE}|{KEY}]"
                    expect "\"sid\""
                    say opened
                    wait go
                    send "\x81\x87\0\0\0\0" 
                    send "40/max,"
                    expect "40/max,"
                    close
                    "#,
                );
                peer.said("opened", 1).await;
                held.push(peer);
            }
            let mut idle = Vec::new();
            for _ in 0..2 {
                let mut http = Http::connect(server.addr).await;
                http.get("/favicon.svg").await;
                idle.push(http);
            }
            let refused = play(server.addr, "expect close").await;
            assert_eq!(statuses(&refused), [503], "{setting}");
            assert!(refused.contains("retry-after: "), "{refused}");
            for peer in &held {
                peer.tell("go");
            }
            for peer in &held {
                peer.end().await.unwrap();
            }
            let name = setting.split(['.', ' ']).nth(1).unwrap().strip_suffix("_max").unwrap();
            server.until("room", |now| now.sum("maxtalk_sessions", "") == 0.0).await;
            assert_eq!(server.scrape().await.sum("maxtalk_limited_total", &format!("\"{name}\"")), 1.0);
            let mut again = Http::connect(server.addr).await;
            assert_eq!(within("an answer", again.get("/favicon.svg")).await.status, 200, "{setting}");
        }
    });
}
