//! Clients that come back after their connection was lost, byte for byte: what they get, what the others hear, and
//! which of them begin anew.

use crate::support;
use crate::support::client::{Client, Kind, join_of, joined, left, ok, talk_of, target, update};
use crate::support::fixture::{Fixture, Scrape};
use crate::support::http::Http;
use crate::support::page::Page;
use crate::support::run;
use crate::support::socket::{CLOSE, End, FRESH, Socket, frame};
use serde_json::{Value, json};

/// Recovery is on, as it is by default.
const ON: &str = "recovery.window_ms = 60000";

/// A server on which `xavi`, who is no page, is in c1, and the page of `messi`.
struct Scene {
    server: Fixture,
    xavi: Client,
    page: Page,
    said: u32,
}

impl Scene {
    async fn start(settings: &str) -> Self {
        let server = Fixture::start(&format!("{ON}\n{settings}"));
        server.max.talks_in("xavi", &["c1"]);
        let mut xavi = Client::join(&server, Kind::V2WebSocket, "xavi", &["c1"]).await;
        server.max.talks_in("messi", &["c1"]);
        let page = Page::join(server.addr, "messi").await;
        assert_eq!(xavi.hear().await, joined("c1", "messi"));
        Self { server, xavi, page, said: 0 }
    }

    /// `xavi` talks this number of times.
    async fn talk(&mut self, times: u32) {
        for _ in 0..times {
            self.said += 1;
            let ack = self.xavi.emit_ack("talk", &talk_of("c1", &format!("m{}", self.said))).await;
            self.xavi.hears(&[ok(ack)]).await;
        }
        // The conversation has handled them.
        self.xavi.hears_nothing().await;
    }

    async fn page_hears(&mut self, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            assert_eq!(self.page.hear().await, told(number));
        }
    }

    /// The page loses its connection, and the server notices.
    async fn lose(&mut self) {
        let gone = Socket::open(self.server.addr, FRESH).await;
        drop(std::mem::replace(&mut self.page.socket, gone));
        self.server.until("it is kept", |now| kept(now) == 1.0).await;
    }

    async fn come_back(&mut self) -> bool {
        let page = self.page.come_back(self.server.addr).await;
        let recovered = page.is_same(&self.page);
        self.page = page;
        recovered
    }

    async fn counts(&self, result: &str, count: f64) {
        let label = format!("result=\"{result}\"");
        self.server.until(result, |now| now.sum("maxtalk_recoveries_total", &label) == count).await;
    }
}

/// The sessions that are kept for their clients.
pub(super) fn kept(now: &Scrape) -> f64 {
    now.sum("maxtalk_kept_sessions", "")
}

/// The event by which a page hears what `xavi` has said.
pub(super) fn told(number: u32) -> Value {
    json!(["update", { "username": "xavi", "conversation": "c1", "messageID": format!("m{number}") }])
}

/// These events.
pub(super) fn all_told(numbers: std::ops::RangeInclusive<u32>) -> Vec<Value> {
    numbers.map(told).collect()
}

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    run(async {
        let mut scene = Scene::start("").await;
        scene.talk(2).await;
        scene.page_hears(1..=2).await;
        let asked = scene.server.scrape().await.sum("maxtalk_max_requests_total", "");
        scene.lose().await;
        scene.talk(5).await;
        assert!(scene.come_back().await);
        assert_eq!(scene.page.missed, all_told(3..=7));
        scene.talk(1).await;
        scene.page_hears(8..=8).await;
        scene.page.emit("talk", &talk_of("c1", "own")).await;
        scene.xavi.hears(&[update("messi", "c1", "own")]).await;
        for _ in 0..3 {
            scene.lose().await;
            scene.talk(1).await;
            assert!(scene.come_back().await);
            assert_eq!(scene.page.missed, [told(scene.said)]);
        }
        scene.server.until("two sessions", |now| now.sum("maxtalk_sessions", "") == 2.0).await;
        let now = scene.server.scrape().await;
        assert_eq!((now.sum("maxtalk_max_requests_total", ""), kept(&now)), (asked, 0.0));
        scene.counts("recovered", 4.0).await;
        // Nobody has heard a `left` or `joined`.
        scene.xavi.hears_nothing().await;
        scene.page.socket.send("41/max").await;
        scene.xavi.hears(&[left("c1", "messi")]).await;
    });
}

#[test]
fn events_that_were_written_and_not_read_come_again() {
    run(async {
        let mut scene = Scene::start("").await;
        scene.talk(1).await;
        scene.page_hears(1..=1).await;
        // The server has written these: they wait in the kernel, and are lost with the connection.
        scene.talk(3).await;
        scene.server.until("all written", |now| now.sum("maxtalk_session_queue_messages", "") == 0.0).await;
        scene.lose().await;
        scene.talk(1).await;
        assert!(scene.come_back().await);
        assert_eq!(scene.page.missed, all_told(2..=5));
        scene.xavi.hears_nothing().await;
    });
}

#[test]
fn a_client_that_has_heard_nothing_comes_back_without_an_offset() {
    run(async {
        let server = Fixture::start(ON);
        server.max.talks_in("messi", &["c1"]);
        let mut page = Page::connect(server.addr, json!({})).await;
        page.emit("join", &join_of("messi")).await;
        server.until("it has joined", |now| now.sum("maxtalk_joins_total", "ok") == 1.0).await;
        drop(page.socket);
        server.until("it is kept", |now| kept(now) == 1.0).await;
        page.socket = Socket::open(server.addr, FRESH).await;
        let back = page.come_back(server.addr).await;
        assert!(back.is_same(&page));
        assert_eq!(back.missed, [json!(["listening", { "conversations": ["c1"] }])]);
    });
}

#[test]
fn a_client_that_comes_back_before_its_loss_is_noticed_takes_over() {
    run(async {
        let mut scene = Scene::start("").await;
        scene.talk(2).await;
        scene.page_hears(1..=1).await;
        let mut back = scene.page.come_back(scene.server.addr).await;
        assert!(back.is_same(&scene.page));
        assert_eq!(back.missed, all_told(2..=2));
        assert!(matches!(scene.page.socket.end().await, End::Frame(_)));
        scene.talk(1).await;
        assert_eq!(back.hear().await, told(3));
        let now = scene.server.scrape().await;
        assert_eq!((now.sum("maxtalk_sessions", ""), kept(&now)), (2.0, 0.0));
        assert_eq!(now.sum("maxtalk_sessions_closed_total", "replaced"), 1.0);
        scene.xavi.hears_nothing().await;
    });
}

#[test]
fn a_client_that_comes_back_too_late_begins_anew() {
    run(async {
        let mut scene = Scene::start("recovery.window_ms = 300").await;
        scene.lose().await;
        scene.xavi.hears(&[left("c1", "messi")]).await;
        assert!(!scene.come_back().await);
        assert!(scene.page.missed.is_empty());
        scene.counts("unknown_pid", 1.0).await;
        // Its offset is one of an earlier session now, as the official client keeps it.
        scene.page.emit("join", &join_of("messi")).await;
        scene.xavi.hears(&[joined("c1", "messi")]).await;
        scene.server.until("it has joined", |now| now.sum("maxtalk_joins_total", "ok") == 3.0).await;
        scene.lose().await;
        assert!(scene.come_back().await);
        assert_eq!(scene.page.missed, [json!(["listening", { "conversations": ["c1"] }])]);
    });
}

#[test]
fn a_client_that_has_missed_more_than_is_kept_begins_anew() {
    run(async {
        let mut scene = Scene::start("recovery.events_max = 2").await;
        scene.talk(5).await;
        scene.server.until("all written", |now| now.sum("maxtalk_session_queue_messages", "") == 0.0).await;
        scene.lose().await;
        assert!(!scene.come_back().await);
        scene.xavi.hears(&[left("c1", "messi")]).await;
        scene.counts("unknown_offset", 1.0).await;
        scene.page.emit("join", &join_of("messi")).await;
        scene.xavi.hears(&[joined("c1", "messi")]).await;
    });
}

#[test]
fn the_answer_to_a_heartbeat_frees_what_has_arrived() {
    run(async {
        let mut scene = Scene::start("recovery.events_max = 3\nprotocol.ping_interval_ms = 200").await;
        for _ in 0..3 {
            scene.talk(3).await;
            let last = scene.said;
            scene.page_hears(last - 2..=last).await;
            // A beat, which the page answers while it waits for the next event.
            assert_eq!(scene.page.socket.hear().await, "2");
            scene.page.socket.send("3").await;
        }
        let first = scene.said + 1;
        scene.lose().await;
        scene.talk(40).await;
        assert!(scene.come_back().await);
        assert_eq!(scene.page.missed, all_told(first..=first + 39), "what was never written is bounded by the outbox");
    });
}

#[test]
fn news_beyond_the_outbox_is_folded() {
    run(async {
        let narrow = "outbox.messages_max = 40\nmailbox.conversation = 20\nconversation.presence_members_max = 10";
        let mut scene = Scene::start(narrow).await;
        scene.lose().await;
        scene.talk(100).await;
        assert!(scene.come_back().await);
        let got = scene.page.missed.len() as u32;
        assert_eq!(scene.page.missed, all_told(1..=got));
        assert!((30..=40).contains(&got), "{got}");
        let folded = scene.page.hear().await;
        let mut first = told(got + 1);
        first[1]["missed"] = json!(100 - got);
        assert_eq!(folded, first);
        scene.talk(1).await;
        scene.page_hears(101..=101).await;
    });
}

#[test]
fn who_leaves_or_is_closed_is_not_kept() {
    run(async {
        let mut scene = Scene::start("").await;
        // As a browser says when the page is closed.
        let away = frame(true, CLOSE, &1001_u16.to_be_bytes());
        for way in 0..3 {
            match way {
                0 => scene.page.socket.send("41/max").await,
                1 => scene.page.socket.write(&away).await,
                _ => {
                    let mut admin = Http::connect(scene.server.admin_addr).await;
                    let headers = [("Content-Type", "application/json")];
                    let answer = admin.request("POST", "/api/v1/users/messi/close", &headers, b"{}").await;
                    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"closed":1}"#));
                }
            }
            scene.xavi.hears(&[left("c1", "messi")]).await;
            assert_eq!(kept(&scene.server.scrape().await), 0.0);
            assert!(!scene.come_back().await);
            scene.page.emit("join", &join_of("messi")).await;
            scene.xavi.hears(&[joined("c1", "messi")]).await;
            assert_eq!(scene.page.hear().await[0], "listening");
        }
        scene.counts("unknown_pid", 3.0).await;
    });
}

#[test]
fn an_operator_sees_and_closes_what_is_kept() {
    run(async {
        let mut scene = Scene::start("").await;
        scene.lose().await;
        let mut admin = Http::connect(scene.server.admin_addr).await;
        let sessions: Value = serde_json::from_str(&admin.get("/api/v1/users/messi/sessions").await.body).unwrap();
        assert_eq!(
            (sessions["sessions"][0]["kept"].clone(), sessions["sessions"].as_array().unwrap().len()),
            (json!(true), 1)
        );
        let headers = [("Content-Type", "application/json")];
        admin.request("POST", "/api/v1/users/messi/close", &headers, b"{}").await;
        scene.xavi.hears(&[left("c1", "messi")]).await;
        assert!(!scene.come_back().await);
    });
}

#[test]
fn kept_sessions_are_bounded_and_make_way_for_their_user() {
    run(async {
        let mut scene = Scene::start("recovery.sessions_max = 1\nsession.per_user_max = 1").await;
        scene.server.max.talks_in("iniesta", &["c1"]);
        let other = Page::join(scene.server.addr, "iniesta").await;
        scene.xavi.hears(&[joined("c1", "iniesta")]).await;
        scene.lose().await;
        drop(other);
        scene.xavi.hears(&[left("c1", "iniesta")]).await;
        assert_eq!(scene.server.scrape().await.sum("maxtalk_limited_total", "kept_sessions"), 1.0);
        // The user opens another page, or reloads this one.
        let _page = Page::join(scene.server.addr, "messi").await;
        scene.server.until("it has made way", |now| kept(now) == 0.0).await;
        // The former session may leave before the new one enters, or after it.
        let heard = scene.xavi.so_far().await;
        assert!(heard.is_empty() || heard == [left("c1", "messi"), joined("c1", "messi")], "{heard:?}");
    });
}

#[test]
fn a_server_that_stops_keeps_nothing() {
    run(async {
        let mut scene = Scene::start("server.drain_ms = 2000").await;
        scene.lose().await;
        let kept = |now: &Scrape| now.sum("maxtalk_kept_sessions", "");
        scene.server.until("the session is kept", |now| kept(now) == 1.0).await;
        scene.server.stop();
        // The drain closes kept sessions too, in any order with the others.
        scene.server.until("nothing is kept", |now| kept(now) == 0.0).await;
    });
}

/// `40/max,{"sid":"..."}` and events without a further argument, for all who do not come back.
#[test]
fn only_those_who_bear_it_get_offsets() {
    run(async {
        let server = Fixture::start(ON);
        let off = Fixture::start("");
        let asked_only = Fixture::start(&format!("{ON}\nrecovery.asked_only = true"));
        let python = "transport=websocket&EIO=4";
        for (server, query, auth, recovers) in [
            (&server, FRESH, "", true),
            (&server, FRESH, r#"{"recovery":false}"#, false),
            (&server, python, "{}", false),
            (&server, python, r#"{"recovery":true}"#, true),
            (&off, FRESH, r#"{"recovery":true,"pid":"x","offset":"y"}"#, false),
            (&asked_only, FRESH, "", false),
            (&asked_only, FRESH, r#"{"recovery":true}"#, true),
        ] {
            server.max.talks_in("messi", &["c1"]);
            let mut page = Page::connect_by(server.addr, query, auth).await;
            page.emit("join", &join_of("messi")).await;
            page.hear().await;
            assert_eq!((page.pid.is_some(), page.offset.is_some()), (recovers, recovers), "{query} {auth}");
        }
    });
}

#[test]
fn a_client_comes_back_by_polling() {
    run(async {
        let mut scene = Scene::start("").await;
        scene.lose().await;
        scene.talk(2).await;
        let sid = support::client::new_sid(scene.server.addr).await;
        let mut http = Http::connect(scene.server.addr).await;
        let connect = format!("40/max,{}", json!({ "pid": scene.page.pid, "offset": scene.page.offset }));
        let talk = format!(r#"42/max,["talk",{}]"#, talk_of("c1", "at once"));
        let body = format!("{connect}\u{1e}{talk}");
        let headers = [("Content-Type", "text/plain;charset=UTF-8")];
        let posted = http.request("POST", &target(&sid), &headers, body.as_bytes()).await;
        assert_eq!((posted.status, posted.body.as_str()), (200, "ok"));
        scene.xavi.hears(&[update("messi", "c1", "at once")]).await;
        let answer = http.get(&target(&sid)).await.body;
        let packets: Vec<_> = answer.split('\u{1e}').collect();
        let events: Vec<_> = packets[..2].iter().map(|packet| scene.page.read(packet)).collect();
        assert_eq!(events, all_told(1..=2));
        let (sid_of_page, pid) = (&scene.page.sid, scene.page.pid.as_ref().unwrap());
        assert_eq!(packets[2..], [format!(r#"40/max,{{"sid":"{sid_of_page}","pid":"{pid}"}}"#)]);
        // A poll under way is lost with an answer in it. The client comes back by a WebSocket.
        let mut poll = Http::connect(scene.server.addr).await;
        poll.write(&support::http::request("GET", &target(&sid), &[], b"")).await.unwrap();
        scene.talk(1).await;
        drop((poll, http));
        assert!(scene.come_back().await);
        assert_eq!(scene.page.missed, all_told(3..=3));
        scene.xavi.hears_nothing().await;
    });
}

/// Sessions that wait for the same former session: only one of them goes on, and nothing is left behind.
#[test]
fn many_who_come_back_as_one_leave_no_ghost() {
    run(async {
        let mut scene = Scene::start("").await;
        scene.lose().await;
        scene.talk(1).await;
        let mut pages = Vec::new();
        for _ in 0..5 {
            let page = scene.page.come_back(scene.server.addr).await;
            assert!(page.is_same(&scene.page));
            assert_eq!(page.missed, all_told(1..=1));
            pages.push(page);
        }
        let together = futures_util::future::join_all((0..8).map(|_| scene.page.come_back(scene.server.addr))).await;
        assert!(together.iter().any(|page| page.is_same(&scene.page)));
        drop((pages, together));
        scene.server.until("all are lost", |now| now.sum("maxtalk_sessions", "websocket") <= 2.0).await;
        scene.xavi.hears_nothing().await;
    });
}
