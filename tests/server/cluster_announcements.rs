//! Announcements of back ends to the nodes of a cluster, on a real Redis: who hears them, and what their answer says.

use crate::support;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::heard::{Heard, event, people};
use crate::support::http::Http;
use crate::support::kind::Kind;
use crate::support::redis_server::RedisServer;
use crate::support::{run, within};
use serde_json::{Value, json};

/// Times with which nodes soon notice what happens to Redis. Nobody is told of an outage.
const QUICK: &str = "
    cluster.heartbeat_ms = 100
    cluster.attach_ms = 30000
    cluster.tell_after_ms = 60000
    cluster.reconnect_ms_max = 200
";

/// Two nodes on one Redis.
struct Nodes {
    redis: RedisServer,
    nodes: [Fixture; 2],
}

impl Nodes {
    /// Starts them, and waits until they hear one another.
    async fn start(conversations: &[&str]) -> Self {
        let redis = RedisServer::start();
        let settings = format!("{QUICK}\ncluster.url = [{:?}]", redis.url());
        let all = Self { redis, nodes: [(); 2].map(|()| Fixture::start(&settings)) };
        for node in &all.nodes {
            node.until("the bus is up", |now| now.sum("maxtalk_bus_up", "") == 1.0).await;
            node.until("the other is heard", |now| now.sum("maxtalk_bus_peers", "") == 1.0).await;
            ["messi", "xavi", "iker"].iter().for_each(|user| node.max.talks_in(user, conversations));
        }
        all
    }

    /// Waits until both nodes have this to say of Redis.
    async fn until_up(&self, is_up: bool) {
        for node in &self.nodes {
            let up = f64::from(u8::from(is_up));
            node.until("the state of the bus", |now| now.sum("maxtalk_bus_up", "") == up).await;
        }
    }

    async fn join(&self, node: usize, kind: Kind, user: &str, conversations: &[&str]) -> Client {
        Client::join(&self.nodes[node], kind, user, conversations).await
    }

    /// Announces on one of the nodes. Returns the status and the body of the answer.
    async fn post(&self, node: usize, path: &str, body: &Value) -> (u16, Value) {
        let mut http = Http::connect(self.nodes[node].admin_addr).await;
        let target = format!("/api/v1/{path}");
        let headers = [("Content-Type", "application/json")];
        let answer = http.request("POST", &target, &headers, body.to_string().as_bytes()).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }
}

/// The `update` that clients hear of an announcement.
fn news(conversation: &str, message: &str) -> Heard {
    event("update", format!(r#"{{"username":"pep","conversation":"{conversation}","messageID":"{message}"}}"#))
}

/// Has members ask who is in a conversation until it is these people. Then nobody is told of somebody who has come.
async fn learn(members: &mut [&mut Client], conversation: &str, all: &[&str]) {
    let expected = people(conversation, all);
    for member in members {
        let asking = async {
            loop {
                member.emit("ask", &format!("{conversation:?}")).await;
                let mut heard = member.hear().await;
                while !matches!(&heard, Heard::Event(name, _) if name == "people") {
                    heard = member.hear().await;
                }
                if heard == expected {
                    return;
                }
            }
        };
        within("all are known", asking).await;
    }
}

/// An update among others in one request.
fn update_in(conversation: &str, message: &str) -> Value {
    json!({"username": "pep", "conversation": conversation, "messageID": message})
}

#[test]
fn an_announcement_on_any_node_reaches_all_members_once() {
    run(async {
        let nodes = Nodes::start(&["here", "there"]).await;
        nodes.nodes[1].max.talks_in("iker", &["there"]);
        nodes.nodes[0].max.talks_in("messi", &["here"]);
        let mut messi = nodes.join(0, Kind::WebSocket, "messi", &["here"]).await;
        let mut xavi = nodes.join(1, Kind::V2Polling, "xavi", &["here", "there"]).await;
        learn(&mut [&mut messi, &mut xavi], "here", &["messi", "xavi"]).await;
        let body = |message: &str| json!({"username": "pep", "messageID": message});

        let (status, answer) = nodes.post(0, "conversations/here/updates", &body("1")).await;
        assert_eq!((status, answer), (202, json!({"sessions": 1, "relayed": true, "receivers": 1})));
        messi.hears(&[news("here", "1")]).await;
        xavi.hears(&[news("here", "1")]).await;
        // The message is known on both nodes.
        for node in [0, 1] {
            let (status, answer) = nodes.post(node, "conversations/here/updates?relay=required", &body("1")).await;
            assert_eq!((status, answer), (202, json!({"sessions": 0, "relayed": false, "reason": "told_already"})));
        }
        // This one lives on the other node only.
        let (status, answer) = nodes.post(0, "conversations/there/updates", &body("2")).await;
        assert_eq!((status, answer), (202, json!({"sessions": 0, "relayed": true, "receivers": 1})));
        xavi.hears(&[news("there", "2")]).await;
        let (status, answer) = nodes.post(0, "conversations/nowhere/updates?relay=required", &body("3")).await;
        assert_eq!((status, answer), (202, json!({"sessions": 0, "relayed": true, "receivers": 0})));

        let each = [("here", "4"), ("there", "5"), ("here", "4"), ("here", "6"), ("nowhere", "7")];
        let mut updates = each.map(|(conversation, message)| update_in(conversation, message));
        updates[3]["except"] = json!(["a b"]);
        let updates = json!({ "updates": updates });
        let (status, answer) = nodes.post(1, "updates?relay=required", &updates).await;
        assert_eq!((status, &answer["outcomes"][3]["error"]["code"]), (202, &json!("invalid")), "{answer}");
        assert_eq!(answer["outcomes"][0], json!({"sessions": 1, "relayed": true, "receivers": 1}));
        assert_eq!(answer["outcomes"][1], json!({"sessions": 1, "relayed": true, "receivers": 0}));
        assert_eq!(answer["outcomes"][2], json!({"sessions": 0, "relayed": false, "reason": "told_already"}));
        assert_eq!(answer["outcomes"][4], json!({"sessions": 0, "relayed": true, "receivers": 0}));
        messi.hears(&[news("here", "4")]).await;
        messi.hears_nothing().await;
        let mut heard = [xavi.hear().await, xavi.hear().await];
        heard.sort_by_key(|heard| format!("{heard:?}"));
        assert_eq!(heard, [news("here", "4"), news("there", "5")]);
        xavi.hears_nothing().await;
        let relays = "maxtalk_announcement_relays_total";
        let counts =
            |now: &support::fixture::Scrape| ["\"relayed\"", "told_already"].map(|label| now.sum(relays, label));
        nodes.nodes[1].until("the counts", |now| counts(now) == [3.0, 2.0]).await;
    });
}

/// The sockets that an announcement names do not hear it, whatever node and release they are of.
#[test]
fn an_announcement_leaves_out_sockets_on_all_nodes() {
    run(async {
        let conversations: Vec<_> = (0..Kind::ALL.len()).map(|at| format!("c{at}")).collect();
        let conversations: Vec<_> = conversations.iter().map(String::as_str).collect();
        let nodes = Nodes::start(&[]).await;
        for (kind, conversation) in Kind::ALL.into_iter().zip(conversations) {
            for node in &nodes.nodes {
                ["messi", "xavi", "iker"].iter().for_each(|user| node.max.talks_in(user, &[conversation]));
            }
            let path = format!("conversations/{conversation}/updates");
            let mut messi = nodes.join(0, kind, "messi", &[conversation]).await;
            let mut xavi = nodes.join(1, kind, "xavi", &[conversation]).await;
            let mut iker = nodes.join(1, Kind::WebSocket, "iker", &[conversation]).await;
            learn(&mut [&mut messi, &mut xavi, &mut iker], conversation, &["iker", "messi", "xavi"]).await;
            for (message, except, sessions) in [
                ("1", json!(xavi.socket_id), 1),
                ("2", json!([messi.socket_id, xavi.socket_id, "of-nobody"]), 0),
                ("3", json!([]), 1),
            ] {
                let body = json!({"username": "pep", "messageID": message, "except": except});
                let (status, answer) = nodes.post(0, &path, &body).await;
                assert_eq!((status, answer), (202, json!({"sessions": sessions, "relayed": true, "receivers": 1})));
            }
            messi.hears(&[news(conversation, "1"), news(conversation, "3")]).await;
            xavi.hears(&[news(conversation, "3")]).await;
            iker.hears(&[news(conversation, "1"), news(conversation, "2"), news(conversation, "3")]).await;
            for client in [messi, xavi, iker] {
                client.close().await;
            }
        }
        let body = |except: Value| json!({"username": "pep", "except": except});
        for except in [json!(7), json!([7]), json!({}), json!(null), json!(""), json!(vec!["a"; 33])] {
            let (status, answer) = nodes.post(0, "conversations/c0/updates", &body(except)).await;
            assert_eq!((status, &answer["error"]["code"]), (422, &json!("invalid")), "{answer}");
        }
    });
}

/// Members on the node that is asked hear it without Redis. Where it has to be relayed, nobody does.
#[test]
fn an_announcement_while_redis_is_away_says_so_and_is_not_lost_in_silence() {
    run(async {
        let mut nodes = Nodes::start(&["c"]).await;
        let mut messi = nodes.join(0, Kind::WebSocket, "messi", &["c"]).await;
        let mut xavi = nodes.join(1, Kind::WebSocket, "xavi", &["c"]).await;
        learn(&mut [&mut messi, &mut xavi], "c", &["messi", "xavi"]).await;
        nodes.redis.kill();
        nodes.until_up(false).await;
        let body = |message: &str| json!({"username": "pep", "messageID": message});
        let (status, answer) = nodes.post(0, "conversations/c/updates?relay=required", &body("1")).await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("not_relayed")), "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("bus_down: nobody was told"), "{answer}");
        let updates = json!({"updates": [update_in("c", "1")]});
        let (status, answer) = nodes.post(0, "updates?relay=required", &updates).await;
        assert_eq!((status, &answer["outcomes"][0]["error"]["code"]), (202, &json!("not_relayed")), "{answer}");
        messi.hears_nothing().await;
        let (status, answer) = nodes.post(0, "conversations/c/updates", &body("2")).await;
        assert_eq!((status, answer), (202, json!({"sessions": 1, "relayed": false, "reason": "bus_down"})));
        messi.hears(&[news("c", "2")]).await;
        let (status, answer) = nodes.post(0, "conversations/c/updates?relay=often", &body("3")).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")), "{answer}");

        nodes.redis.restart();
        nodes.until_up(true).await;
        let (status, answer) = nodes.post(0, "conversations/c/updates?relay=required", &body("1")).await;
        assert_eq!((status, answer), (202, json!({"sessions": 1, "relayed": true, "receivers": 1})));
        // It was published as soon as Redis was back. A node that was not yet back then tells that something is missed.
        let mut heard = Vec::new();
        while heard.last() != Some(&news("c", "1")) {
            heard.push(xavi.hear().await);
        }
        let is_missed = |heard: &Heard| matches!(heard, Heard::Event(name, _) if name == "missed");
        assert!(heard.contains(&news("c", "2")) || heard.iter().any(is_missed), "{heard:?}");
        messi.hears_at_last(&news("c", "1")).await;
    });
}
