//! The upgrade from polling to a WebSocket: the session stays the same before, during and after it, whatever either
//! side does meanwhile.

use std::net::SocketAddr;

use crate::support::client::{
    Client, Kind, join_of, joined, left, ok, packet, sid_of, talk_of, target, update, with_xavi,
};
use crate::support::fixture::Fixture;
use crate::support::http::{Http, request};
use crate::support::run;
use crate::support::socket::{BINARY, CLOSE, End, Frame, PING, Socket, TEXT, frame, text};

/// A session on polling that has joined as `messi`, with one connection for polls and one for POSTs.
struct Polling {
    sid: String,
    target: String,
    getter: Http,
    poster: Http,
}

impl Polling {
    async fn messi(addr: SocketAddr) -> Self {
        let mut getter = Http::connect(addr).await;
        let sid = sid_of(&getter.get("/socket.io/?EIO=4&transport=polling").await.body);
        let target = target(&sid);
        let mut polling = Self { sid, target, getter, poster: Http::connect(addr).await };
        let join = packet("join", &join_of("messi"), None);
        polling.post(&format!("40/max,\x1e{join}")).await;
        while !polling.poll().await.contains("listening") {}
        polling
    }

    async fn poll(&mut self) -> String {
        let response = self.getter.get(&self.target).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    async fn post(&mut self, body: &str) {
        let response = self.poster.post(&self.target, body).await;
        assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    }

    fn query(&self) -> String {
        format!("EIO=4&transport=websocket&sid={}", self.sid)
    }

    /// Expects that the session still talks and is answered.
    async fn works(&mut self, ack: u64) {
        self.post(&packet("talk", &talk_of("c1", "still here"), Some(ack))).await;
        assert_eq!(self.poll().await, format!(r#"43/max,{ack}[{{"ok":true}}]"#));
    }
}

/// Talks flow in both directions while a client upgrades again and again. Each arrives once and in order, whichever of
/// four workers have the session and its two connections.
#[test]
fn nothing_is_lost_doubled_or_reordered_around_an_upgrade() {
    run(async {
        let (server, mut xavi) = with_xavi("server.workers = 4\nserver.stop_ms = 3000").await;
        for round in 0..40 {
            let mut messi = Client::join(&server, Kind::Polling, "messi", &["c1"]).await;
            xavi.hears(&[joined("c1", "messi")]).await;
            for n in 0..5 {
                xavi.emit("talk", &talk_of("c1", &format!("to {round} {n}"))).await;
                messi.emit("talk", &talk_of("c1", &format!("from {round} {n}"))).await;
            }
            let flow = async {
                for n in 5..40 {
                    xavi.emit("talk", &talk_of("c1", &format!("to {round} {n}"))).await;
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(flow, messi.upgrade());
            for n in 5..10 {
                messi.emit("talk", &talk_of("c1", &format!("from {round} {n}"))).await;
                xavi.emit("talk", &talk_of("c1", &format!("to {round} {}", n + 35))).await;
            }
            for n in 0..45 {
                messi.hears(&[update("xavi", "c1", &format!("to {round} {n}"))]).await;
            }
            for n in 0..10 {
                xavi.hears(&[update("messi", "c1", &format!("from {round} {n}"))]).await;
            }
            messi.hears_nothing().await;
            drop(messi);
            xavi.hears(&[left("c1", "messi")]).await;
        }
        let scrape = server.scrape().await;
        assert_eq!(scrape.sum("maxtalk_sessions_opened_total", r#"transport="polling""#), 40.0);
        assert_eq!(scrape.sum("maxtalk_sessions_closed_total", r#"transport="websocket""#), 40.0);
    });
}

#[test]
fn an_upgrade_may_come_in_one_segment() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        for round in 0..10 {
            let mut messi = Polling::messi(server.addr).await;
            xavi.hears(&[joined("c1", "messi")]).await;
            // The probe, the end of the upgrade and a talk follow the request at once.
            let talk = packet("talk", &talk_of("c1", "m1"), Some(1));
            let behind: Vec<u8> = ["2probe", "5", &talk].iter().flat_map(|message| text(message)).collect();
            let cut = behind.len() * round / 9;
            let mut socket = Socket::ask(server.addr, &messi.query(), &behind[..cut]).await.unwrap();
            socket.write(&behind[cut..]).await;
            assert_eq!(socket.hear().await, "3probe");
            assert_eq!(socket.hear().await, r#"43/max,1[{"ok":true}]"#);
            xavi.hears(&[update("messi", "c1", "m1")]).await;
            // Polling is over: requests by it change nothing.
            assert_eq!(messi.getter.get(&messi.target).await.status, 400);
            assert_eq!(messi.poster.post(&messi.target, "41/max,").await.status, 400);
            socket.send(&packet("talk", &talk_of("c1", "m2"), Some(2))).await;
            assert_eq!(socket.hear().await, r#"43/max,2[{"ok":true}]"#);
            xavi.hears(&[update("messi", "c1", "m2")]).await;
            drop(socket);
            xavi.hears(&[left("c1", "messi")]).await;
        }
    });
}

#[test]
fn during_an_upgrade_every_poll_ends_at_once_and_still_carries_data() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::messi(server.addr).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        // One poll waits when the probe comes, others come after it.
        messi.getter.write(&request("GET", &messi.target, &[], b"")).await.unwrap();
        let mut socket = Socket::open(server.addr, &messi.query()).await;
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        assert_eq!(messi.getter.response().await.unwrap().body, "6");
        assert_eq!(messi.poll().await, "6");
        messi.works(1).await;
        xavi.hears(&[update("messi", "c1", "still here")]).await;
        xavi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
        xavi.hears_nothing().await;
        assert_eq!(messi.poll().await, r#"42/max,["update",{"username":"xavi","conversation":"c1","messageID":"m1"}]"#);
        // Packets that were not polled for come first over the socket.
        xavi.call("talk", &talk_of("c1", "m2"), &[], ok).await;
        socket.send("5").await;
        let news = r#"42/max,["update",{"username":"xavi","conversation":"c1","messageID":"m2"}]"#;
        assert_eq!(socket.hear().await, news);
        socket.send(&packet("talk", &talk_of("c1", "m3"), Some(3))).await;
        assert_eq!(socket.hear().await, r#"43/max,3[{"ok":true}]"#);
        xavi.hears(&[update("messi", "c1", "m3")]).await;
    });
}

#[test]
fn an_upgrade_that_goes_wrong_closes_nothing_but_its_socket() {
    run(async {
        let (server, mut xavi) = with_xavi("protocol.payload_bytes_max = 1000").await;
        let mut messi = Polling::messi(server.addr).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let garbage: Vec<(&str, Vec<u8>)> = vec![
            ("nothing", vec![]),
            ("no probe", text("2")),
            ("another probe", text("2probes")),
            ("a message", text("4hello")),
            ("no packet", text("x")),
            ("an empty message", text("")),
            ("a close packet", text("1")),
            ("a binary message", frame(true, BINARY, b"2probe")),
            ("not text", frame(true, TEXT, b"2\xff")),
            ("not masked", b"\x81\x062probe".to_vec()),
            ("too much", frame(true, TEXT, &[b'2'; 1001])),
            ("a close frame", frame(true, CLOSE, &[])),
            ("a message behind the probe", [text("2probe"), text("4hello")].concat()),
            ("garbage behind the probe", [text("2probe"), b"GET / HTTP/1.1\r\n\r\n".to_vec()].concat()),
        ];
        for (n, (what, bytes)) in garbage.into_iter().enumerate() {
            let mut socket = Socket::open(server.addr, &messi.query()).await;
            if !bytes.is_empty() {
                socket.write(&bytes).await;
                let end = socket.end().await;
                assert!(matches!(end, End::Frame(_) | End::Eof), "{what}: {end:?}");
            }
            drop(socket);
            messi.works(n as u64).await;
            xavi.hears(&[update("messi", "c1", "still here")]).await;
        }
        // An upgrade that succeeds although it is probed twice. The server may not have noticed yet that the last
        // failed socket is gone.
        let mut socket = loop {
            let mut socket = Socket::open(server.addr, &messi.query()).await;
            socket.write(&[frame(true, PING, b"?"), text("2probe"), text("2probe")].concat()).await;
            if socket.next().await == Ok(Frame::Pong(b"?".to_vec())) {
                break socket;
            }
        };
        assert_eq!([socket.hear().await, socket.hear().await], ["3probe", "3probe"]);
        socket.send("5").await;
        socket.send(&packet("talk", &talk_of("c1", "m1"), None)).await;
        xavi.hears(&[update("messi", "c1", "m1")]).await;
        xavi.hears_nothing().await;
    });
}

#[test]
fn an_upgrade_that_is_never_finished_is_given_up() {
    run(async {
        let (server, mut xavi) = with_xavi("protocol.upgrade_timeout_ms = 1000").await;
        let mut messi = Polling::messi(server.addr).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        for said in [None, Some("2probe")] {
            let mut socket = Socket::open(server.addr, &messi.query()).await;
            if let Some(said) = said {
                socket.send(said).await;
            }
            assert_eq!(socket.end().await, End::Frame(None), "{said:?}");
            messi.works(1).await;
            xavi.hears(&[update("messi", "c1", "still here")]).await;
        }
        // A poll waits again as before, and a second try succeeds.
        messi.getter.write(&request("GET", &messi.target, &[], b"")).await.unwrap();
        xavi.call("talk", &talk_of("c1", "m1"), &[], ok).await;
        assert!(messi.getter.response().await.unwrap().body.contains("m1"));
        let mut socket = Socket::open(server.addr, &messi.query()).await;
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        socket.send("5").await;
        socket.send(&packet("talk", &talk_of("c1", "m2"), None)).await;
        xavi.hears(&[update("messi", "c1", "m2")]).await;
    });
}

#[test]
fn a_second_socket_for_a_session_is_closed() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        // During the upgrade.
        let messi = Polling::messi(server.addr).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let mut socket = Socket::open(server.addr, &messi.query()).await;
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        let mut second = Socket::open(server.addr, &messi.query()).await;
        second.send("2probe").await;
        assert!(matches!(second.end().await, End::Frame(None) | End::Eof | End::Reset));
        socket.send("5").await;
        // After the upgrade, and for a session that never polled.
        let born_a_socket = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        for sid in [&messi.sid, &born_a_socket.sid] {
            let mut third = Socket::open(server.addr, &format!("EIO=4&transport=websocket&sid={sid}")).await;
            third.send("2probe").await;
            assert!(matches!(third.end().await, End::Frame(None) | End::Eof | End::Reset));
        }
        socket.send(&packet("talk", &talk_of("c1", "m1"), Some(1))).await;
        assert_eq!(socket.hear().await, r#"43/max,1[{"ok":true}]"#);
        xavi.hears(&[update("messi", "c1", "m1")]).await;
        drop(socket);
        drop(born_a_socket);
        xavi.hears(&[left("c1", "messi")]).await;
    });
}

#[test]
fn a_session_that_ends_during_an_upgrade_takes_its_socket_along() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        for how in ["1", "4{bad", "41/max,\x1e41/max,"] {
            let mut messi = Polling::messi(server.addr).await;
            xavi.hears(&[joined("c1", "messi")]).await;
            let mut socket = Socket::open(server.addr, &messi.query()).await;
            socket.send("2probe").await;
            assert_eq!(socket.hear().await, "3probe");
            messi.post(how).await;
            xavi.hears(&[left("c1", "messi")]).await;
            // A poll may be told the end, and the socket is told in any case.
            let _ = messi.getter.get(&messi.target).await;
            assert!(matches!(socket.end().await, End::Frame(None) | End::Eof), "{how}");
        }
        server.until("xavi alone", |now| now.sum("maxtalk_sessions", "") == 1.0).await;
    });
}

#[test]
fn heartbeats_go_on_across_an_upgrade() {
    run(async {
        let server = Fixture::start("protocol.ping_interval_ms = 100\nprotocol.ping_timeout_ms = 20000");
        let mut getter = Http::connect(server.addr).await;
        let sid = sid_of(&getter.get("/socket.io/?EIO=4&transport=polling").await.body);
        let mut socket = Socket::open(server.addr, &format!("EIO=4&transport=websocket&sid={sid}")).await;
        // A ping that was due during the upgrade comes after it.
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        socket.send("5").await;
        for _ in 0..3 {
            assert_eq!(socket.hear().await, "2");
            socket.send("3").await;
        }
    });
}

/// A client that probes but does not complete the upgrade polls again and again: it is answered now and then, not as
/// fast as it asks.
#[test]
fn an_upgrade_that_is_not_finished_causes_no_storm_of_polls() {
    run(async {
        let (server, mut xavi) = with_xavi("protocol.upgrade_timeout_ms = 1500").await;
        let mut messi = Polling::messi(server.addr).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let mut socket = Socket::open(server.addr, &messi.query()).await;
        socket.send("2probe").await;
        assert_eq!(socket.hear().await, "3probe");
        let mut polls = 0;
        tokio::select! {
            end = socket.end() => assert_eq!(end, End::Frame(None)),
            () = async { loop { assert_eq!(messi.poll().await, "6"); polls += 1; } } => {}
        }
        assert!((1..=16).contains(&polls), "{polls}");
    });
}

/// elephant.io of PHP does it like this.
#[test]
fn an_upgrade_needs_no_probe() {
    run(async {
        let (server, mut xavi) = with_xavi("").await;
        let mut messi = Polling::messi(server.addr).await;
        xavi.hears(&[joined("c1", "messi")]).await;
        let mut socket = Socket::open(server.addr, &messi.query()).await;
        socket.send("5").await;
        socket.send(&packet("talk", &talk_of("c1", "m1"), Some(1))).await;
        assert_eq!(socket.hear().await, r#"43/max,1[{"ok":true}]"#);
        xavi.hears(&[update("messi", "c1", "m1")]).await;
        assert_eq!(messi.getter.get(&messi.target).await.status, 400);
    });
}
