//! Readers that are too slow: what each of them gets, to the message, and when it is closed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support;
use crate::support::client::{Client, Heard, Kind, join_of, joined, listening, ok, packet, talk_of, update};
use crate::support::fixture::{Fixture, Scrape};
use crate::support::http::{Http, RECEIVE_BUFFER_BYTES};
use crate::support::run;
use crate::support::socket::{End, FRESH, Socket, handshake};
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::TcpSocket;

/// Small outboxes and kernel buffers, and readers that live as long as the test.
const NARROW: &str = "
    server.send_buffer_bytes = 4096
    server.write_timeout_ms = 600000
    outbox.grace_ms = 600000
    outbox.bytes_max = 65536
    outbox.messages_max = 40
    mailbox.conversation = 20
    conversation.presence_members_max = 10
    protocol.ping_timeout_ms = 600000
    legacy.heartbeat_timeout_ms = 650000
    legacy.close_timeout_ms = 660000
";

/// One kind of client for each generation and transport.
const KINDS: [Kind; 8] = [
    Kind::WebSocket,
    Kind::Polling,
    Kind::Upgraded,
    Kind::V2WebSocket,
    Kind::V2Polling,
    Kind::V1Jsonp,
    Kind::V09WebSocket,
    Kind::V09Polling,
];

/// A talk of `messi`, long enough to fill the buffers soon.
fn message(number: u64) -> String {
    format!("{number:0>250}")
}

/// A server with `messi` and `xavi` in c1 and c2, where `slow` reads nothing since `messi` talks.
struct Scene {
    server: Fixture,
    messi: Client,
    xavi: Client,
    slow: Client,
    said: u64,
}

impl Scene {
    async fn start(settings: &str, kind: Kind) -> Self {
        RECEIVE_BUFFER_BYTES.store(4096, Ordering::Relaxed);
        let server = Fixture::start(&format!("{NARROW}\n{settings}"));
        for user in ["messi", "xavi", "slow", "iniesta", "pedri"] {
            server.max.talks_in(user, &["c1", "c2"]);
        }
        let messi = Client::join(&server, Kind::WebSocket, "messi", &["c1", "c2"]).await;
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c1", "c2"]).await;
        let mut slow = Client::join(&server, kind, "slow", &["c1", "c2"]).await;
        let mut heard = [xavi.hear().await, xavi.hear().await];
        heard.sort_by_key(|heard| format!("{heard:?}"));
        assert_eq!(heard, [joined("c1", "slow"), joined("c2", "slow")]);
        assert_eq!(slow.so_far().await, []);
        slow.reads(false);
        Self { server, messi, xavi, slow, said: 0 }
    }

    /// `messi` talks in c1, and `xavi` hears it.
    async fn talk(&mut self) {
        self.said += 1;
        let message = message(self.said);
        let ack = self.messi.emit_ack("talk", &talk_of("c1", &message)).await;
        self.messi.hears_at_last(&ok(ack)).await;
        self.xavi.hears_at_last(&update("messi", "c1", &message)).await;
    }

    /// `messi` talks until this action against slow readers was taken more than this number of times.
    async fn talk_until(&mut self, action: &str, times: f64) {
        while self.server.scrape().await.sum("maxtalk_slow_actions_total", action) <= times {
            assert!(self.said < 50_000);
            for _ in 0..10 {
                self.talk().await;
            }
        }
    }
}

/// The knowledge of a client that hears of c1 and c2.
#[derive(Debug)]
struct Knowledge {
    /// The last talk of which it knows.
    heard: u64,
    folds: u32,
    people: [BTreeSet<String>; 2],
}

impl Knowledge {
    fn of(people: &[&str]) -> Self {
        let people: BTreeSet<_> = people.iter().map(|name| (*name).to_owned()).collect();
        Self { heard: 0, folds: 0, people: [people.clone(), people] }
    }

    fn take(&mut self, heard: Heard) {
        let Heard::Event(name, argument) = &heard else { panic!("{heard:?}") };
        let argument: Value = serde_json::from_str(argument).unwrap();
        let people = &mut self.people[usize::from(argument["conversation"] == "c2")];
        let username = argument["username"].as_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "update" => {
                let (number, missed) = numbers(&heard);
                assert_eq!(number, self.heard + 1, "{self:?}");
                self.heard += missed.unwrap_or(1);
                self.folds += u32::from(missed.is_some());
            }
            "joined" => assert!(people.insert(username)),
            "left" => assert!(people.remove(&username)),
            "people" => *people = serde_json::from_value(argument["people"].clone()).unwrap(),
            _ => panic!("{heard:?}"),
        }
    }
}

/// The number of an update and the number of talks that it stands for.
fn numbers(heard: &Heard) -> (u64, Option<u64>) {
    let Heard::Event(name, argument) = heard else { panic!("{heard:?}") };
    assert_eq!(name, "update", "{argument}");
    let argument: Value = serde_json::from_str(argument).unwrap();
    assert_eq!((&argument["conversation"], &argument["username"]), (&"c1".into(), &"messi".into()));
    (argument["messageID"].as_str().unwrap().parse().unwrap(), argument["missed"].as_u64())
}

#[test]
fn a_reader_that_comes_back_in_time_learns_what_it_has_missed() {
    for kind in KINDS {
        run(async {
            let mut scene = Scene::start("", kind).await;
            // The kernel may take more, so that the reader is no longer behind. It falls behind again.
            scene.talk_until("folded", 50.0).await;
            // Somebody comes and stays, and somebody comes and goes.
            let (server, both) = (&scene.server, ["c1", "c2"]);
            let _iniesta = Client::join(server, Kind::WebSocket, "iniesta", &both).await;
            let pedri = Client::join(server, Kind::WebSocket, "pedri", &both).await;
            pedri.close().await;
            server.until("the end of pedri", |now| now.sum("maxtalk_sessions", "") == 4.0).await;

            scene.slow.reads(true);
            let expected = ["iniesta", "messi", "slow", "xavi"].map(str::to_owned);
            let mut knowledge = Knowledge::of(&["messi", "slow", "xavi"]);
            while knowledge.heard < scene.said || knowledge.people.iter().any(|people| !people.iter().eq(&expected)) {
                knowledge.take(scene.slow.hear().await);
            }
            assert!(knowledge.heard == scene.said && knowledge.folds > 0, "{kind:?}: {knowledge:?}");
            scene.server.until("the end of the fold", |now| now.sum("maxtalk_behind_sessions", "") == 0.0).await;
            scene.talk().await;
            while knowledge.heard < scene.said {
                knowledge.take(scene.slow.hear().await);
            }
            assert_eq!(scene.slow.so_far().await, [], "{kind:?}");
        });
    }
}

#[test]
fn a_reader_that_does_not_come_back_in_time_is_closed() {
    for kind in KINDS {
        for (policy, action) in [("fold", "folded"), ("drop", "dropped")] {
            run(async {
                let settings = format!("outbox.policy = \"{policy}\"\noutbox.grace_ms = 300");
                let mut scene = Scene::start(&settings, kind).await;
                scene.talk_until(action, 0.0).await;
                // The kernel may take more, so that the reader is no longer behind. It falls behind again.
                let closed = |now: &Scrape| now.sum("maxtalk_sessions_closed_total", r#"reason="slow""#) == 1.0;
                while !closed(&scene.server.scrape().await) {
                    assert!(scene.said < 50_000);
                    scene.talk().await;
                }
                let waits = ["maxtalk_behind_sessions", "maxtalk_session_queue_messages"];
                let is_gone = |now: &Scrape| waits.iter().all(|name| now.sum(name, "") == 0.0);
                scene.server.until("the end of the queue", is_gone).await;
                let now = scene.server.scrape().await;
                assert_eq!(now.sum("maxtalk_slow_actions_total", "disconnected"), 1.0, "{kind:?}");
                let closed = Http::connect(scene.server.admin_addr).await.get("/api/v1/closed").await.body;
                let closed: Value = serde_json::from_str(&closed).unwrap();
                let [session] = &closed["sessions"].as_array().unwrap()[..] else { panic!("{closed}") };
                assert_eq!((&session["username"], &session["reason"]), (&json!("slow"), &json!("slow")));
                assert!(session["folded"].as_u64() > Some(0) && session["age_ms"].as_u64() >= Some(300), "{session}");
                scene.slow.reads(true);
                let end = scene.slow.end().await;
                match kind.way() {
                    support::kind::Way::WebSocket | support::kind::Way::Upgraded => {
                        assert!(matches!(end, End::Frame(Some(1013)) | End::Reset), "{kind:?}: {end:?}");
                    }
                    _ => assert!(matches!(end, End::Refused(..) | End::Packet), "{kind:?}: {end:?}"),
                }
            });
        }
    }
}

#[test]
fn a_reader_that_reads_a_byte_at_a_time_is_closed() {
    run(async {
        let mut scene = Scene::start("outbox.grace_ms = 500", Kind::WebSocket).await;
        scene.server.max.talks_in("trickle", &["c1"]);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(scene.server.addr).await.unwrap();
        let mut http = Http { stream: BufReader::with_capacity(1, stream) };
        http.write(&handshake(FRESH)).await.unwrap();
        let mut trickle = Socket::answered(http).await.unwrap();
        trickle.hear().await;
        trickle.send("40/max,").await;
        trickle.hear().await;
        trickle.send(&packet("join", &join_of("trickle"), None)).await;
        trickle.hear().await;
        let reading = tokio::spawn(async move {
            while trickle.reader.byte().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let closed = |now: &Scrape| now.sum("maxtalk_sessions_closed_total", r#"reason="slow""#) == 2.0;
        while !closed(&scene.server.scrape().await) {
            assert!(scene.said < 50_000);
            scene.talk().await;
        }
        reading.abort();
    });
}

#[test]
fn news_that_is_dropped_is_not_told() {
    run(async {
        let mut scene = Scene::start("outbox.policy = \"drop\"", Kind::WebSocket).await;
        scene.talk_until("dropped", 0.0).await;
        scene.slow.reads(true);
        scene.server.until("room", |now| now.sum("maxtalk_behind_sessions", "") == 0.0).await;
        let dropped = scene.server.scrape().await.sum("maxtalk_slow_actions_total", "dropped") as u64;
        let last = scene.said;
        scene.talk().await;
        let mut heard = 0;
        loop {
            let (number, missed) = numbers(&scene.slow.hear().await);
            assert_eq!(missed, None);
            if number == scene.said {
                break;
            }
            heard += 1;
        }
        assert_eq!(heard + dropped, last);
    });
}

/// A client that joins anew has left conversations that MAX has taken away, and hears nothing of them any more.
#[test]
fn a_conversation_that_was_left_is_folded_no_more() {
    run(async {
        let mut scene = Scene::start("", Kind::WebSocket).await;
        // The client has asked before it stops to read.
        scene.talk_until("folded", 0.0).await;
        scene.server.max.talks_in("slow", &["c2"]);
        // The reader answers nothing while its outbox is more than half full, so it has to read first.
        scene.slow.reads(true);
        scene.slow.emit("leave", r#""c1""#).await;
        scene.slow.hears_at_last(&listening(&["c2"])).await;
        scene.talk().await;
        assert_eq!(scene.slow.so_far().await, []);
    });
}
