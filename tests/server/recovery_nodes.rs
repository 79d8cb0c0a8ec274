//! Clients that lose their connection to one node and come back to another, on a real Redis: what they get, and what
//! the others hear.

use std::time::{Duration, Instant};

use super::recovery::{all_told, kept, told};
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::heard::{join_of, joined, left, ok, talk_of, update};
use crate::support::kind::Kind;
use crate::support::page::Page;
use crate::support::process::{Process, maxtalk};
use crate::support::redis_server::RedisServer;
use crate::support::run;
use crate::support::socket::{End, FRESH, Socket};
use serde_json::{Value, json};

/// Recovery is on, and no default deadline decides what becomes of a client.
const SETTINGS: &str = "
    recovery.window_ms = 600000
    recovery.claim_ms = 60000
    cluster.heartbeat_ms = 1000
    protocol.ping_interval_ms = 300000
    cluster.silent_ms = 30000
    cluster.settle_ms = 2000
    cluster.attach_ms = 30000
    cluster.tell_after_ms = 200
    cluster.missed_spread_ms = 0
    cluster.reconnect_ms_max = 200
    conversation.linger_ms = 0
";

/// Nodes on one Redis, `xavi` and `iker` on the first and the last, who hear what the others hear, and the page of
/// `messi` on the last. All are in c1.
struct Scene {
    redis: RedisServer,
    nodes: Vec<Fixture>,
    xavi: Client,
    iker: Client,
    page: Page,
    said: u32,
}

impl Scene {
    async fn start(nodes: usize, settings: &str) -> Self {
        let redis = RedisServer::start();
        let settings = format!("{SETTINGS}\ncluster.url = [{:?}]\n{settings}", redis.url());
        let nodes: Vec<_> = (0..nodes).map(|_| Fixture::start(&settings)).collect();
        for node in &nodes {
            node.until("the bus is up", |now| now.sum("maxtalk_bus_up", "") == 1.0).await;
            let others = (nodes.len() - 1) as f64;
            node.until("all are heard", |now| now.sum("maxtalk_bus_peers", "") == others).await;
            ["xavi", "iker", "messi"].iter().for_each(|user| node.max.talks_in(user, &["c1"]));
        }
        let last = nodes.last().unwrap();
        let mut xavi = Client::join(&nodes[0], Kind::V2WebSocket, "xavi", &["c1"]).await;
        let mut iker = Client::join(last, Kind::V2WebSocket, "iker", &["c1"]).await;
        xavi.hears(&[joined("c1", "iker")]).await;
        let page = Page::join(last.addr, "messi").await;
        for client in [&mut xavi, &mut iker] {
            client.hears(&[joined("c1", "messi")]).await;
        }
        Self { redis, nodes, xavi, iker, page, said: 0 }
    }

    /// `xavi` talks this number of times. All nodes have handled a talk before the next, so no mailbox is full.
    async fn talk(&mut self, times: u32) {
        for _ in 0..times {
            self.said += 1;
            let message = format!("m{}", self.said);
            let ack = self.xavi.emit_ack("talk", &talk_of("c1", &message)).await;
            self.xavi.hears(&[ok(ack)]).await;
            self.iker.hears(&[update("xavi", "c1", &message)]).await;
        }
    }

    async fn page_hears(&mut self, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            assert_eq!(self.page.hear().await, told(number));
        }
    }

    /// The page loses its connection, and its node notices.
    async fn lose(&mut self, node: usize) {
        let gone = Socket::open(self.nodes[node].addr, FRESH).await;
        drop(std::mem::replace(&mut self.page.socket, gone));
        self.nodes[node].until("it is kept", |now| kept(now) == 1.0).await;
    }

    async fn come_back(&mut self, node: usize) -> bool {
        let page = self.page.come_back(self.nodes[node].addr).await;
        let recovered = page.is_same(&self.page);
        self.page = page;
        recovered
    }

    async fn counts(&self, node: usize, result: &str, count: f64) {
        let label = format!("result=\"{result}\"");
        self.nodes[node].until(result, |now| now.sum("maxtalk_recoveries_total", &label) == count).await;
    }

    /// Nobody has heard a `left` or `joined`, and only one node has a session of the page.
    async fn nobody_noticed(&mut self) {
        for node in &self.nodes {
            node.until("nothing is kept", |now| kept(now) == 0.0).await;
        }
        let sessions = async |node: &Fixture| {
            let (now, of) = (node.scrape().await, "actor=\"session\"");
            now.sum("maxtalk_actors_started_total", of) - now.sum("maxtalk_actors_stopped_total", of)
        };
        loop {
            let mut all = 0.0;
            for node in &self.nodes {
                all += sessions(node).await;
            }
            if all == 3.0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.xavi.hears_nothing().await;
        self.iker.hears_nothing().await;
    }
}

fn missed() -> Value {
    json!(["missed", { "conversations": ["c1"], "ongoing": false }])
}

#[test]
fn a_client_that_comes_back_to_another_node_goes_on_where_it_was() {
    run(async {
        let mut scene = Scene::start(2, "").await;
        scene.talk(2).await;
        scene.page_hears(1..=2).await;
        let asked = async |scene: &Scene| scene.nodes[0].scrape().await.sum("maxtalk_max_requests_total", "");
        let before = asked(&scene).await;
        scene.lose(1).await;
        scene.talk(5).await;
        assert!(scene.come_back(0).await);
        assert_eq!(scene.page.missed, all_told(3..=7));
        scene.talk(1).await;
        scene.page_hears(8..=8).await;
        scene.page.emit("talk", &talk_of("c1", "own")).await;
        for client in [&mut scene.xavi, &mut scene.iker] {
            client.hears(&[update("messi", "c1", "own")]).await;
        }
        assert_eq!(asked(&scene).await, before, "MAX is not asked");
        scene.nobody_noticed().await;
        // Back to where it was, and lost without having heard anything new.
        for (from, to) in [(0, 1), (1, 0), (0, 1)] {
            scene.lose(from).await;
            assert!(scene.come_back(to).await);
            assert!(scene.page.missed.is_empty());
        }
        scene.lose(1).await;
        scene.talk(1).await;
        assert!(scene.come_back(1).await, "on one node too");
        assert_eq!(scene.page.missed, all_told(9..=9));
        scene.counts(1, "moved", 2.0).await;
        scene.nobody_noticed().await;
        scene.page.socket.send("41/max").await;
        for client in [&mut scene.xavi, &mut scene.iker] {
            client.hears(&[left("c1", "messi")]).await;
        }
    });
}

#[test]
fn a_client_that_comes_back_to_another_node_before_its_loss_is_noticed_goes_on() {
    run(async {
        let mut scene = Scene::start(2, "").await;
        scene.talk(3).await;
        scene.page_hears(1..=1).await;
        let mut back = scene.page.come_back(scene.nodes[0].addr).await;
        assert!(back.is_same(&scene.page));
        assert_eq!(back.missed, all_told(2..=3));
        assert!(matches!(scene.page.socket.end().await, End::Frame(_)));
        scene.talk(1).await;
        assert_eq!(back.hear().await, told(4));
        scene.nobody_noticed().await;
    });
}

/// A pid leads to the node that has drawn it, and from there to where the session is.
#[test]
fn a_session_moves_from_node_to_node() {
    run(async {
        let mut scene = Scene::start(3, "").await;
        let mut at = 2;
        for to in [0, 1, 0, 2, 1, 1, 0, 1, 2] {
            scene.lose(at).await;
            scene.talk(1).await;
            assert!(scene.come_back(to).await, "from {at} to {to}");
            assert_eq!(scene.page.missed, all_told(scene.said..=scene.said), "from {at} to {to}");
            at = to;
        }
        scene.nobody_noticed().await;
    });
}

/// Talks come on all nodes, before, while and after the session moves. The page hears each once.
#[test]
fn nothing_is_lost_or_doubled_while_a_session_moves() {
    run(async {
        let mut scene = Scene::start(3, "").await;
        let mut heard = Vec::new();
        let mut talks = 0;
        for (from, to) in [(2, 0), (0, 1), (1, 2), (2, 1), (1, 0)] {
            let half = async |talker: &mut Client, name: &str| {
                for number in 0..40 {
                    let message = format!("{name}.{from}.{number}");
                    talker.emit("talk", &talk_of("c1", &message)).await;
                }
            };
            let Scene { xavi, iker, nodes, page, .. } = &mut scene;
            let back = async { page.come_back(nodes[to].addr).await };
            let (back, (), ()) = tokio::join!(back, half(xavi, "x"), half(iker, "i"));
            assert!(back.is_same(page), "from {from} to {to}");
            // On a busy machine a node may doubt that it has heard all, and say so.
            let is_update = |event: &Value| {
                assert!(event[0] == "update" || event[0] == "missed", "{event}");
                event[0] == "update"
            };
            heard.extend(back.missed.iter().filter(|event| is_update(event)).cloned());
            *page = back;
            talks += 80;
            while heard.len() < talks {
                heard.extend(Some(page.hear().await).filter(is_update));
            }
        }
        let mut ids: Vec<_> = heard.iter().map(|event| event[1]["messageID"].as_str().unwrap().to_owned()).collect();
        // Those of one talker keep their order.
        for name in ["x", "i"] {
            let of: Vec<_> = ids.iter().filter(|id| id.starts_with(name)).collect();
            let mut expected = [2, 0, 1, 2, 1].map(|from| (0..40).map(move |n| format!("{name}.{from}.{n}")).collect());
            let expected: Vec<String> = expected.iter_mut().flat_map(|part: &mut Vec<String>| part.drain(..)).collect();
            assert_eq!(of, expected.iter().collect::<Vec<_>>());
        }
        ids.sort();
        scene.xavi.emit("talk", &talk_of("c1", "end")).await;
        let end = json!(["update", { "username": "xavi", "conversation": "c1", "messageID": "end" }]);
        let mut next = scene.page.hear().await;
        while next[0] != "update" {
            next = scene.page.hear().await;
        }
        assert_eq!(next, end, "nothing comes twice");
    });
}

/// What is too much for one message of the bus: the client goes on, and is told what to fetch.
#[test]
fn a_client_that_has_missed_more_than_a_letter_holds_is_told_so() {
    run(async {
        let mut scene = Scene::start(2, "").await;
        scene.lose(1).await;
        scene.talk(800).await;
        assert!(scene.come_back(0).await);
        assert_eq!(scene.page.missed, [missed()]);
        scene.talk(1).await;
        scene.page_hears(801..=801).await;
        scene.lose(0).await;
        scene.talk(1).await;
        assert!(scene.come_back(1).await);
        assert_eq!(scene.page.missed, all_told(802..=802));
        scene.nobody_noticed().await;
    });
}

#[test]
fn folded_news_moves_too() {
    run(async {
        let narrow = "outbox.messages_max = 40\nmailbox.conversation = 20\nconversation.presence_members_max = 10";
        let mut scene = Scene::start(2, narrow).await;
        scene.lose(1).await;
        scene.talk(100).await;
        let fourth = Page::connect(scene.nodes[0].addr, json!({})).await;
        for node in &scene.nodes {
            node.max.talks_in("pique", &["c1"]);
        }
        let mut pique = fourth;
        pique.emit("join", &join_of("pique")).await;
        for client in [&mut scene.xavi, &mut scene.iker] {
            client.hears(&[joined("c1", "pique")]).await;
        }
        assert!(scene.come_back(0).await);
        let mut got = scene.page.missed.clone();
        let folded = got.pop().unwrap();
        let count = got.len() as u32;
        assert_eq!(got, all_told(1..=count));
        assert!((30..=40).contains(&count), "{count}");
        let mut first = told(count + 1);
        first[1]["missed"] = json!(100 - count);
        assert_eq!(folded, first);
        let people = json!({ "conversation": "c1", "inroom": 4, "people": ["iker", "messi", "pique", "xavi"] });
        assert_eq!(scene.page.hear().await, json!(["people", people]));
        scene.talk(1).await;
        scene.page_hears(101..=101).await;
    });
}

#[test]
fn a_client_that_has_missed_more_than_its_node_has_kept_begins_anew() {
    run(async {
        let mut scene = Scene::start(2, "recovery.events_max = 2").await;
        scene.talk(5).await;
        scene.nodes[1].until("all written", |now| now.sum("maxtalk_session_queue_messages", "") == 0.0).await;
        scene.lose(1).await;
        assert!(!scene.come_back(0).await);
        assert!(scene.page.missed.is_empty());
        scene.counts(0, "unknown_offset", 1.0).await;
        for client in [&mut scene.xavi, &mut scene.iker] {
            client.hears(&[left("c1", "messi")]).await;
        }
        scene.page.emit("join", &join_of("messi")).await;
        for client in [&mut scene.xavi, &mut scene.iker] {
            client.hears(&[joined("c1", "messi")]).await;
        }
    });
}

#[test]
fn a_pid_that_no_node_knows_is_answered_at_once() {
    run(async {
        let mut scene = Scene::start(2, "").await;
        scene.page.socket.send("41/max").await;
        for client in [&mut scene.xavi, &mut scene.iker] {
            client.hears(&[left("c1", "messi")]).await;
        }
        let pid = scene.page.pid.clone().unwrap();
        for (count, (node, pid)) in [(0, &pid), (1, &pid), (0, &format!("....{}", &pid[4..]))].into_iter().enumerate() {
            let guess = Page::connect(scene.nodes[node].addr, json!({ "pid": pid })).await;
            assert!(guess.pid.as_ref().unwrap() != pid && guess.missed.is_empty(), "{count}");
        }
        scene.counts(0, "unknown_pid", 2.0).await;
    });
}

/// The session has a question at MAX, and does not move before it is answered.
#[test]
fn a_client_whose_session_does_not_answer_in_time_begins_anew() {
    run(async {
        let mut scene = Scene::start(2, "recovery.claim_ms = 300\nmax.timeout_ms = 60000\nmax.wait_ms = 60000").await;
        scene.nodes[1].max.hold("messi");
        scene.page.emit("join", &join_of("messi")).await;
        scene.nodes[1].until("MAX is asked", |now| now.sum("maxtalk_max_inflight", "") == 1.0).await;
        scene.lose(1).await;
        let page = scene.page.come_back(scene.nodes[0].addr).await;
        assert!(!page.is_same(&scene.page));
        scene.counts(0, "late", 1.0).await;
        scene.nodes[1].max.release("messi");
        scene.xavi.hears_nothing().await;
    });
}

#[test]
fn a_client_begins_anew_while_redis_is_away() {
    run(async {
        let mut scene = Scene::start(2, "").await;
        scene.lose(1).await;
        scene.redis.kill();
        for node in &scene.nodes {
            node.until("the bus is down", |now| now.sum("maxtalk_bus_up", "") == 0.0).await;
        }
        let begun = Instant::now();
        assert!(!scene.come_back(0).await);
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not wait for the whole time");
    });
}

#[test]
fn a_client_whose_node_has_gone_begins_anew() {
    run(async {
        // A slow machine does not take this time for silence.
        let mut scene = Scene::start(1, "cluster.heartbeat_ms = 100\ncluster.silent_ms = 4000").await;
        let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", &scene.nodes[0].max.url()]);
        command.env("MAXTALK_CLUSTER__URL", scene.redis.url());
        command.env("MAXTALK_CLUSTER__HEARTBEAT_MS", "100");
        let mut node = Process::start(command);
        let addr = node.addr();
        scene.nodes[0].until("it is heard", |now| now.sum("maxtalk_bus_peers", "") == 1.0).await;
        scene.nodes[0].max.talks_in("pique", &["c1"]);
        let page = Page::join(addr, "pique").await;
        scene.xavi.hears(&[joined("c1", "pique")]).await;
        node.child.kill().unwrap();
        scene.nodes[0].until("it is silent", |now| now.sum("maxtalk_bus_peers", "") == 0.0).await;
        scene.xavi.hears_at_last(&left("c1", "pique")).await;
        let back = page.come_back(scene.nodes[0].addr).await;
        assert!(!back.is_same(&page));
        scene.counts(0, "unknown_pid", 1.0).await;
    });
}
