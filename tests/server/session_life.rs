//! The life of a session: how long it lasts, how much it may send or leave unread, and how it survives a stop of the
//! whole process.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::{sid_of, target};
use crate::support::fixture::Fixture;
use crate::support::http::{Http, request};
use crate::support::max_by_rule::MaxByRule;
use crate::support::process::{Process, maxtalk, signal};
use crate::support::run;
use crate::support::socket::{End, FRESH, PING, Socket, frame, text};
use tokio::io::AsyncReadExt;

/// Waits until this number of sessions was closed for this reason.
async fn until_closed(server: &Fixture, reason: &str, count: f64) {
    let label = format!("reason=\"{reason}\"");
    server.until(reason, |now| now.sum("maxtalk_sessions_closed_total", &label) == count).await;
}

/// The close timeout is far longer than the test.
#[test]
fn a_client_that_connects_to_nothing_is_not_waited_for() {
    run(async {
        let server = Fixture::start("protocol.connect_timeout_ms = 300\nprotocol.close_timeout_ms = 3600000");
        let open = Http::connect(server.addr).await.get("/socket.io/?EIO=4&transport=polling").await;
        let socket = Socket::open(server.addr, FRESH).await;
        // A client that polls is told.
        let polled =
            target(&sid_of(&Http::connect(server.addr).await.get("/socket.io/?EIO=4&transport=polling").await.body));
        assert_eq!(Http::connect(server.addr).await.get(&polled).await.body, "1");
        until_closed(&server, "connect_timeout", 3.0).await;
        assert_eq!(Http::connect(server.addr).await.get(&target(&sid_of(&open.body))).await.status, 400);
        drop(socket);
    });
}

/// Of silence and heartbeat timeout, the earlier one ends the session.
#[test]
fn a_silent_client_lives_no_longer_than_its_heartbeat() {
    run(async {
        let server = Fixture::start(
            "protocol.ping_interval_ms = 200\nprotocol.ping_timeout_ms = 200\nprotocol.close_timeout_ms = 3600000\n\
             legacy.handshake_timeout_ms = 300",
        );
        let mut sockets = Vec::new();
        for version in [4, 3] {
            Http::connect(server.addr).await.get(&format!("/socket.io/?EIO={version}&transport=polling")).await;
            sockets.push(Socket::open(server.addr, &format!("EIO={version}&transport=websocket")).await);
        }
        Http::connect(server.addr).await.get("/socket.io/1/?t=1").await;
        until_closed(&server, "ping_timeout", 5.0).await;
        server.until("nobody", |now| now.rest().is_empty()).await;
    });
}

/// A client of Engine.IO 3 that pings, but never polls.
#[test]
fn a_client_that_posts_and_never_polls_is_not_there() {
    run(async {
        let server = Fixture::start("protocol.ping_interval_ms = 300\nprotocol.ping_timeout_ms = 300");
        let mut http = Http::connect(server.addr).await;
        let open = http.get("/socket.io/?EIO=3&transport=polling&b64=1").await.body;
        let target = format!("/socket.io/?EIO=3&transport=polling&sid={}", sid_of(open.split_once(':').unwrap().1));
        let mut pings = 0;
        while http.post(&target, "1:2").await.status == 200 {
            pings += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(pings > 1, "it was there");
        until_closed(&server, "ping_timeout", 1.0).await;
    });
}

fn start(settings: &[(&str, &str)]) -> (MaxByRule, Process, SocketAddr) {
    let max = MaxByRule::start();
    let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", &max.url()]);
    command.envs(settings.iter().copied());
    let mut server = Process::start(command);
    let addr = server.addr();
    (max, server, addr)
}

/// Packets that arrived while the process stood still are read before any client counts as dead.
#[test]
fn sessions_outlive_a_pause_of_the_process() {
    run(async {
        let settings = [
            ("MAXTALK_PROTOCOL__PING_INTERVAL_MS", "2000"),
            ("MAXTALK_PROTOCOL__PING_TIMEOUT_MS", "4000"),
            ("MAXTALK_PROTOCOL__CONNECT_TIMEOUT_MS", "5000"),
            ("MAXTALK_SERVER__WORKERS", "2"),
        ];
        let (_max, server, addr) = start(&settings);
        let mut third = Vec::new();
        for _ in 0..20 {
            let mut socket = Socket::open(addr, "EIO=3&transport=websocket").await;
            assert!(socket.hear().await.starts_with('0'));
            assert_eq!(socket.hear().await, "40");
            third.push(socket);
        }
        let mut fourth = Vec::new();
        for _ in 0..5 {
            let mut socket = Socket::open(addr, FRESH).await;
            assert!(socket.hear().await.starts_with('0'));
            fourth.push(socket);
        }
        let mut pollers = Vec::new();
        for _ in 0..5 {
            let mut http = Http::connect(addr).await;
            let open = http.get("/socket.io/?EIO=3&transport=polling&b64=1").await.body;
            let sid = sid_of(open.split_once(':').unwrap().1);
            pollers.push((http, format!("/socket.io/?EIO=3&transport=polling&sid={sid}")));
        }
        signal(&server.child, "STOP");
        for socket in &mut third {
            socket.send("2").await;
        }
        for socket in &mut fourth {
            socket.send("40/max,").await;
        }
        for (http, target) in &mut pollers {
            let headers = [("Content-Type", "text/plain;charset=UTF-8")];
            http.write(&request("POST", target, &headers, b"1:2")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(7000)).await;
        signal(&server.child, "CONT");
        for socket in &mut fourth {
            let granted = loop {
                match socket.hear().await {
                    ping if ping == "2" => socket.send("3").await,
                    other => break other,
                }
            };
            assert!(granted.starts_with("40/max,"), "{granted}");
        }
        for socket in &mut third {
            assert_eq!(socket.hear().await, "3");
            socket.send("2").await;
            assert_eq!(socket.hear().await, "3");
        }
        for (http, target) in &mut pollers {
            let answer = http.response().await.unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
            assert_eq!(http.get(target).await.status, 200);
        }
    });
}

/// The client answers pings, but reads none of the answers that it asks for.
#[test]
fn a_client_that_reads_nothing_is_closed_though_little_waits_for_it() {
    run(async {
        let server = Fixture::start(
            "server.write_timeout_ms = 400\noutbox.bytes_max = 100000000\noutbox.messages_max = 10000000\n\
             server.send_buffer_bytes = 4096\nlimits.packets_per_second_max = 0\nlimits.bytes_per_second_max = 0",
        );
        let mut socket = Socket::open(server.addr, FRESH).await;
        assert!(socket.hear().await.starts_with('0'));
        let name = "n".repeat(250);
        let question = text(&format!("40/{name},"));
        let asks = async {
            // In the end the server reads no more, or resets the connection.
            while socket.writer.write(&question.repeat(100)).await.is_ok() {}
        };
        tokio::select! {
            () = asks => {}
            () = until_closed(&server, "write_timeout", 1.0) => {}
        }
        until_closed(&server, "write_timeout", 1.0).await;
        assert_eq!(server.scrape().await.sum("maxtalk_limited_total", "\"write_time\""), 1.0);
    });
}

/// A slow reader makes progress, which counts.
#[test]
fn a_client_that_reads_slowly_lives() {
    run(async {
        let server = Fixture::start("server.write_timeout_ms = 5000\nserver.send_buffer_bytes = 4096");
        let mut socket = Socket::open(server.addr, FRESH).await;
        assert!(socket.hear().await.starts_with('0'));
        let name = "n".repeat(250);
        for _ in 0..1000 {
            socket.send(&format!("40/{name},")).await;
        }
        for _ in 0..1000 {
            assert!(socket.hear().await.starts_with("44/nnn"));
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
        assert_eq!(server.scrape().await.sum("maxtalk_sessions_closed_total", ""), 0.0);
    });
}

#[test]
fn a_client_that_floods_is_slowed_down_and_closed() {
    run(async {
        let server = Fixture::start(
            "limits.packets_per_second_max = 1000\nlimits.packets_burst_max = 1000\nlimits.flood_ms = 500\n\
             protocol.connect_timeout_ms = 3600000",
        );
        let floods: [(&str, Vec<u8>); 4] = [
            ("pings", frame(true, PING, b"")),
            ("pongs", frame(true, 10, b"")),
            ("heartbeats", text("3")),
            ("noops", text("6")),
        ];
        for (n, (what, one)) in floods.into_iter().enumerate() {
            let mut socket = Socket::open(server.addr, FRESH).await;
            let many = one.repeat(500);
            while socket.writer.write(&many).await.is_ok() {}
            until_closed(&server, "flood", n as f64 + 1.0).await;
            assert!(server.scrape().await.sum("maxtalk_limited_total", "\"packets\"") > 0.0, "{what}");
        }
    });
}

#[test]
fn a_heartbeat_in_the_wrong_direction_gets_a_close_frame() {
    run(async {
        let server = Fixture::start("");
        for (query, beat, count) in [(FRESH, "2", 1.0), ("EIO=3&transport=websocket", "3", 2.0)] {
            let mut socket = Socket::open(server.addr, query).await;
            assert!(socket.hear().await.starts_with('0'));
            if count > 1.5 {
                assert_eq!(socket.hear().await, "40");
            }
            socket.send(beat).await;
            assert_eq!(socket.end().await, End::Frame(None));
            until_closed(&server, "heartbeat_direction", count).await;
        }
    });
}

/// The first clients of Engine.IO 3 read only bytes, and those of 1.0 say 2.
#[test]
fn the_first_clients_of_engine_io_3_are_answered_in_bytes() {
    run(async {
        let server = Fixture::start("");
        for version in [3, 2] {
            let mut http = Http::connect(server.addr).await;
            let ask = async |http: &mut Http, more: &str| {
                let target = format!("/socket.io/?EIO={version}&transport=polling&t=1369000000000-0{more}");
                http.write(&request("GET", &target, &[], b"")).await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(http.stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                http.stream.read_exact(&mut body).await.unwrap();
                (head, body)
            };
            let (head, body) = ask(&mut http, "").await;
            assert!(head.contains("content-type: application/octet-stream\r\n"), "{head}");
            let end = body.iter().position(|byte| *byte == 0xff).unwrap();
            let length = body[1..end].iter().fold(0, |length, digit| length * 10 + usize::from(*digit));
            assert_eq!((body[0], length), (0, body.len() - end - 1));
            let sid = sid_of(std::str::from_utf8(&body[end + 1..]).unwrap());
            let (head, body) = ask(&mut http, &format!("&sid={sid}")).await;
            assert!(head.contains("application/octet-stream"), "{head}");
            assert_eq!(body, b"\x00\x02\xff40");
            let target = format!("/socket.io/?EIO={version}&transport=polling&t=1369000000000-1&sid={sid}");
            assert_eq!(http.post(&target, "1:2").await.body, "ok");
            assert_eq!(ask(&mut http, &format!("&sid={sid}")).await.1, b"\x00\x01\xff3");
            // A script is text, and so is the answer to a client that asks for base64.
            for more in ["&j=0", "&b64=1"] {
                let (head, body) = ask(&mut http, more).await;
                assert!(head.contains("content-type: text/") && std::str::from_utf8(&body).is_ok(), "{head}");
            }
        }
    });
}
