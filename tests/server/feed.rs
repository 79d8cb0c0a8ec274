//! What MAX announces in its RabbitMQ, with a real one: messages and memberships in the layouts of MAX 3.x, 4.x and
//! 5.x, a broker that goes and comes back, refusals, and bodies that nobody should send.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use crate::support;
use crate::support::certificates::Certificates;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::heard::{Heard, event, join_of, joined, left, listening, talk_of, update};
use crate::support::http::Http;
use crate::support::kind::Kind;
use crate::support::process::maxtalk;
use crate::support::rabbit::Rabbit;
use crate::support::redis_server::RedisServer;
use crate::support::{run, within};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The rights that the page on back ends names, for MAX 4.x and 5.x.
const RIGHTS: [&str; 3] = [r"^amq\.gen", r"^amq\.gen", r"^(amq\.gen.*|conversations|amq\.rabbitmq\.event)$"];

/// Times with which a server notices soon what happens to RabbitMQ.
const QUICK: &str = "
    feed.tell_after_ms = 200
    feed.missed_spread_ms = 0
    feed.reconnect_ms_max = 200
    conversation.linger_ms = 0
";

/// The one RabbitMQ of these tests, with the files of its certificate. Its start takes long, so they share it, one
/// after the other.
static RABBIT: LazyLock<Mutex<Broker>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::issue(dir.path(), "localhost");
    let rabbit = Rabbit::start(Some((&certificates.certificate, &certificates.key)));
    Mutex::new(Broker { rabbit, certificates, _dir: dir })
});

/// A RabbitMQ, its certificate, and the folder in which that is.
struct Broker {
    rabbit: Rabbit,
    certificates: Certificates,
    _dir: TempDir,
}

/// The exchange to which a participant publishes.
const PUBLISH: &str = "iker.publish";

/// A part of the broker: a virtual host with a user of the same name.
struct Host {
    name: &'static str,
    /// The tests of the broker run one after the other.
    broker: MutexGuard<'static, Broker>,
}

impl Host {
    /// Makes a virtual host with these rights.
    fn new(name: &'static str, rights: [&str; 3]) -> Self {
        let mut broker = RABBIT.lock().unwrap_or_else(|error| error.into_inner());
        broker.rabbit.revive();
        broker.rabbit.make_vhost(name, name, rights);
        Self { name, broker }
    }

    /// Makes a virtual host of MAX 4.x or 5.x.
    fn of_max(name: &'static str) -> Self {
        let host = Self::new(name, RIGHTS);
        host.rabbit().make_exchange(name, "conversations", "topic");
        // A participant publishes to an exchange of the own, which MAX binds for each conversation.
        host.rabbit().make_exchange(name, PUBLISH, "topic");
        ["c", "d"].iter().for_each(|id| host.rabbit().bind(name, PUBLISH, "conversations", &format!("{id}.*")));
        host
    }

    fn rabbit(&self) -> &Rabbit {
        &self.broker.rabbit
    }

    fn url(&self) -> String {
        self.rabbit().url(self.name, self.name)
    }

    /// Starts a server with these settings too, and waits until its feed is up.
    async fn serve(&self, settings: &str) -> Fixture {
        let server = Fixture::start(&format!("{QUICK}\nfeed.url = {:?}\n{settings}", self.url()));
        is_up(&server).await;
        server
    }

    /// Publishes what MAX does in a conversation.
    fn notify(&self, conversation: &str, body: &str) -> bool {
        let key = format!("{conversation}.notifications");
        self.rabbit().publish(self.name, PUBLISH, &key, body.as_bytes())
    }
}

async fn is_up(server: &Fixture) {
    server.until("the feed is up", |now| now.sum("maxtalk_feed_up", "") == 1.0).await;
}

/// Returns a body that was captured.
fn captured(name: &str) -> &'static str {
    let lines = include_str!("../../src/feed/wire/captured.txt").lines();
    lines.filter_map(|line| line.split_once(' ')).find(|(other, _)| *other == name).unwrap().1
}

/// Returns the body by which MAX's worker says that it has stored a message.
fn stored(user: &str, message: &str) -> String {
    captured("stored").replace("6b081f5b91dc0cc3b71b536a", message).replace(r#""wb""#, &format!("{user:?}"))
}

/// Returns the update of such a message.
fn news(user: &str, conversation: &str, message: &str) -> Heard {
    let (author, time) = (format!(r#""username":"{user}""#), r#""timestamp":"2026-11-26T12:00:00Z""#);
    let text = format!(r#"{{{author},"conversation":"{conversation}",{time},"messageID":"{message}"}}"#);
    event("update", text)
}

fn missed(ongoing: bool) -> Heard {
    event("missed", format!(r#"{{"ongoing":{ongoing}}}"#))
}

async fn readiness(server: &Fixture) -> (u16, Value) {
    let answer = Http::connect(server.admin_addr).await.get("/health/ready").await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Waits until the server is degraded for a reason with these words.
async fn is_degraded(server: &Fixture, words: &str) {
    let mut last = Value::Null;
    let degraded = async {
        loop {
            let (status, body) = readiness(server).await;
            assert_eq!(status, 200, "it serves the clients that it has");
            if body["status"] == "degraded" && body["reason"].as_str().unwrap().contains(words) {
                return;
            }
            last = body;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(support::DEADLINE, degraded).await;
    assert!(found.is_ok(), "not degraded because of `{words}`, but {last}");
}

#[test]
fn what_max_5_stores_is_told_to_the_members() {
    run(async {
        let host = Host::of_max("stored");
        let server = host.serve("").await;
        server.max.talks_in("messi", &["c"]);
        server.max.talks_in("xavi", &["c"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c"]).await;
        let mut xavi = Client::join(&server, Kind::Polling, "xavi", &["c"]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        let unstored = captured("unstored");
        assert!(!host.rabbit().publish(host.name, PUBLISH, "c.messages", unstored.as_bytes()));
        let by_phone = captured("mobile").replace("11:40:05", "12:00:00").replace("v5326a", "iker");
        let by_phone = by_phone.replace("6b081a9591dc0cc3b71b535e", "m1");
        assert!(host.notify("c", &by_phone));
        // Nobody listens to this conversation, and it is not spawned by news.
        assert!(host.notify("d", &stored("iker", "m2")));
        assert!(host.notify("c", &stored("iker", "m3")));
        for client in [&mut messi, &mut xavi] {
            client.hears(&[news("iker", "c", "m1"), news("iker", "c", "m3")]).await;
        }
        let now = server.scrape().await;
        assert_eq!(now.sum("maxtalk_conversations", ""), 1.0);
        assert_eq!(now.sum("maxtalk_feed_received_total", r#"kind="update""#), 3.0);
        assert_eq!(now.sum("maxtalk_deliveries_total", r#"path="feed""#), 4.0);
        assert_eq!(readiness(&server).await, (200, json!({"status": "ok"})));
        let queue = &host.rabbit().queues(host.name)[0];
        let flags = json!({"exclusive": true, "auto_delete": true, "durable": false});
        for (name, value) in flags.as_object().unwrap() {
            assert_eq!(&queue[name], value, "{queue}");
        }
        assert_eq!(queue["arguments"]["x-max-length"], 10_000, "{queue}");
    });
}

/// The same message comes by the talk of its author, by the API, and by MAX, in any order.
#[test]
fn a_message_is_told_once() {
    run(async {
        let host = Host::of_max("once");
        let server = host.serve("").await;
        for user in ["messi", "xavi"] {
            server.max.talks_in(user, &["c"]);
        }
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c"]).await;
        let mut xavi = Client::join(&server, Kind::WebSocket, "xavi", &["c"]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        let announce = async |message: &str| {
            let body = json!({"username": "messi", "messageID": message}).to_string();
            let headers = [("Content-Type", "application/json")];
            let mut http = Http::connect(server.admin_addr).await;
            let answer = http.request("POST", "/api/v1/conversations/c/updates", &headers, body.as_bytes()).await;
            serde_json::from_str::<Value>(&answer.body).unwrap()["sessions"].as_u64().unwrap()
        };
        messi.emit("talk", &talk_of("c", "m1")).await;
        xavi.hears(&[update("messi", "c", "m1")]).await;
        assert!(host.notify("c", &stored("messi", "m1")));
        assert_eq!(announce("m2").await, 2);
        assert!(host.notify("c", &stored("messi", "m2")));
        assert!(host.notify("c", &stored("messi", "m3")));
        for client in [&mut messi, &mut xavi] {
            client.hears(&[update("messi", "c", "m2"), news("messi", "c", "m3")]).await;
        }
        assert_eq!(announce("m3").await, 0, "it was told already");
        assert!(host.notify("c", &stored("messi", "m4")));
        for client in [&mut messi, &mut xavi] {
            client.hears(&[news("messi", "c", "m4")]).await;
        }
        let received = r#"kind="update""#;
        assert_eq!(server.scrape().await.sum("maxtalk_feed_received_total", received), 4.0);
    });
}

/// In a cluster each node hears MAX by itself, and passes nothing on.
#[test]
fn each_node_of_a_cluster_tells_its_own_members() {
    run(async {
        let host = Host::of_max("nodes");
        let redis = RedisServer::start();
        let cluster = format!(
            "cluster.url = [{:?}]\ncluster.heartbeat_ms = 100\ncluster.silent_ms = 30000\ncluster.attach_ms = 30000",
            redis.url()
        );
        let nodes = [host.serve(&cluster).await, host.serve(&cluster).await];
        for node in &nodes {
            node.until("the other is heard", |now| now.sum("maxtalk_bus_peers", "") == 1.0).await;
            ["messi", "xavi"].iter().for_each(|user| node.max.talks_in(user, &["c"]));
        }
        let mut messi = Client::join(&nodes[0], Kind::WebSocket, "messi", &["c"]).await;
        let mut xavi = Client::join(&nodes[1], Kind::WebSocket, "xavi", &["c"]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        assert!(host.notify("c", &stored("iker", "m1")));
        for client in [&mut messi, &mut xavi] {
            client.hears(&[news("iker", "c", "m1")]).await;
        }
        messi.emit("talk", &talk_of("c", "m2")).await;
        xavi.hears(&[update("messi", "c", "m2")]).await;
        for message in ["m2", "m3"] {
            assert!(host.notify("c", &stored("messi", message)));
        }
        for client in [&mut messi, &mut xavi] {
            client.hears(&[news("messi", "c", "m3")]).await;
        }
    });
}

/// MAX 3.x has an exchange for each conversation, and tells the participants of a new one by another.
#[test]
fn what_max_3_publishes_is_told_to_the_members() {
    run(async {
        let host = Host::new("third", [r"^amq\.gen", r"^amq\.gen", r"^(amq\.gen.*|new|c\d)$"]);
        let rabbit = host.rabbit();
        rabbit.make_exchange(host.name, "new", "topic");
        rabbit.make_exchange(host.name, "c1", "fanout");
        let server = host.serve("feed.layout = \"3.x\"").await;
        server.max.talks_in("messi", &["c1", "c2"]);
        let mut messi = Client::connect(server.addr, Kind::WebSocket, "").await;
        messi.emit("join", &join_of("messi")).await;
        // What came before the exchange was bound was not heard. The notice may come before `listening`.
        let bound = |id: &str| event("missed", format!(r#"{{"conversations":["{id}"],"ongoing":false}}"#));
        let heard = [messi.hear().await, messi.hear().await];
        assert!(heard.contains(&bound("c1")) && heard.contains(&listening(&["c1", "c2"])), "{heard:?}");
        let post = |conversation: &str, message: &str| {
            let body = json!({"conversation": conversation, "message": "hi", "username": "xavi", "displayName": "X.",
                "messageID": message, "server_id": "s"});
            rabbit.publish(host.name, conversation, "", body.to_string().as_bytes())
        };
        assert!(post("c1", "m1"));
        messi.hears(&[update("xavi", "c1", "m1")]).await;
        // The exchange of c2 was not there: MAX makes c3, in which messi is now.
        rabbit.make_exchange(host.name, "c3", "fanout");
        server.max.talks_in("messi", &["c1", "c3"]);
        assert!(rabbit.publish(host.name, "new", "messi", br#"{"conversation": "c3"}"#));
        messi.hears_at_last(&bound("c3")).await;
        assert!(post("c3", "m2"));
        // The news that messi listens to c3 may come before its exchange is bound, or behind it.
        messi.hears_at_last(&update("xavi", "c3", "m2")).await;
        drop(messi);
        let is_given_up = async {
            while rabbit.is_heard(host.name, "c1") || rabbit.is_heard(host.name, "c3") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the exchanges of conversations without members are given up", is_given_up).await;
    });
}

/// The exchange that tells of memberships may be made, or the plugin enabled, while the feed is up.
#[test]
fn the_exchange_of_memberships_is_looked_for_again() {
    run(async {
        let host = Host::new("again", [r"^amq\.gen", r"^amq\.gen", r"^(amq\.gen.*|new|c\d)$"]);
        let rabbit = host.rabbit();
        // It is looked for after 60 times the longest wait.
        let quick = QUICK.replace("reconnect_ms_max = 200", "reconnect_ms_max = 100");
        let server = Fixture::start(&format!("{quick}\nfeed.url = {:?}\nfeed.layout = \"3.x\"", host.url()));
        is_up(&server).await;
        server.max.talks_in("messi", &[]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &[]).await;
        let is_missed_again = async {
            while rabbit.log().matches("no exchange 'new' in vhost 'again'").count() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the exchange is looked for again", is_missed_again).await;
        rabbit.make_exchange(host.name, "new", "topic");
        let is_heard = async {
            while !rabbit.is_heard(host.name, "new") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the exchange is found", is_heard).await;
        server.max.talks_in("messi", &["c1"]);
        assert!(rabbit.publish(host.name, "new", "messi", br#"{"conversation": "c1"}"#));
        messi.hears_at_last(&listening(&["c1"])).await;
        assert_eq!(server.scrape().await.sum("maxtalk_feed_reconnects_total", ""), 0.0);
    });
}

/// Memberships are bindings of MAX, which the broker tells of.
#[test]
fn bindings_of_the_broker_are_memberships() {
    run(async {
        let host = Host::of_max("members");
        let rabbit = host.rabbit();
        // The plugin publishes in one virtual host only.
        rabbit.make_exchange("/", "conversations", "topic");
        rabbit.permit("/", host.name, RIGHTS);
        for user in ["messi", "xavi", "iker"] {
            rabbit.make_exchange("/", &format!("{user}.subscribe"), "fanout");
        }
        let url = rabbit.url(host.name, "/");
        let server = Fixture::start(&format!("{QUICK}\nfeed.url = {url:?}\nfeed.refreshes_per_second_max = 100"));
        is_up(&server).await;
        server.max.talks_in("messi", &["c1"]);
        server.max.talks_in("xavi", &["c1"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c1"]).await;
        let mut xavi = Client::join(&server, Kind::V1Polling, "xavi", &["c1"]).await;
        messi.hears(&[joined("c1", "xavi")]).await;

        // messi and iker, who is not here, come into c2.
        server.max.talks_in("messi", &["c1", "c2"]);
        rabbit.bind("/", "conversations", "messi.subscribe", "c2.*");
        rabbit.bind("/", "conversations", "iker.subscribe", "c2.*");
        messi.hears(&[listening(&["c1", "c2"])]).await;
        // xavi is removed from c1, and hears nothing of it any more.
        server.max.talks_in("xavi", &[]);
        rabbit.bind("/", "conversations", "xavi.subscribe", "c1.*");
        rabbit.unbind("/", "conversations", "xavi.subscribe", "c1.*");
        xavi.hears(&[listening(&[])]).await;
        messi.hears(&[left("c1", "xavi")]).await;
        for conversation in ["c1", "c2"] {
            rabbit.publish(
                "/",
                "conversations",
                &format!("{conversation}.notifications"),
                stored("iker", "m").as_bytes(),
            );
            messi.hears(&[news("iker", conversation, "m")]).await;
        }
        xavi.hears_nothing().await;
        let now = server.scrape().await;
        assert_eq!(now.sum("maxtalk_feed_refreshes_total", ""), 2.0, "each change of a user is asked for once");
        assert_eq!(now.sum("maxtalk_feed_refreshes_waiting", ""), 0.0);
    });
}

/// The maker of a conversation hears of it even where the broker does not tell of bindings.
#[test]
fn the_maker_of_a_conversation_is_refreshed() {
    run(async {
        let host = Host::of_max("made");
        let server = host.serve("feed.layout = \"4.x\"").await;
        server.max.talks_in("messi", &[]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &[]).await;
        for (key, conversation) in [("c1.notifications", "c1"), ("c2", "c2")] {
            server.max.talks_in("messi", &[conversation]);
            let body = captured("pair").replace("v4026a", "messi");
            assert!(host.rabbit().publish(host.name, "conversations", key, body.as_bytes()));
            messi.hears(&[listening(&[conversation])]).await;
        }
    });
}

/// A broker that is killed, and starts again later: clients are told, and nothing is silently lost.
#[test]
fn an_outage_of_the_broker_is_told() {
    run(async {
        let mut host = Host::of_max("outage");
        // The clients of the test answer no pings while the broker starts, which takes a minute on a busy machine.
        let server = host.serve("protocol.ping_timeout_ms = 300000").await;
        server.max.talks_in("messi", &["c"]);
        server.max.talks_in("xavi", &["d"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c"]).await;
        host.broker.rabbit.kill();
        messi.hears(&[missed(true)]).await;
        is_degraded(&server, "the feed of MAX: 127.0.0.1:").await;
        assert_eq!(server.scrape().await.sum("maxtalk_feed_up", ""), 0.0);
        // A session that comes meanwhile is told too, before it is told that it listens or after.
        let mut xavi = Client::connect(server.addr, Kind::Upgraded, "").await;
        xavi.emit("join", &join_of("xavi")).await;
        let heard = [xavi.hear().await, xavi.hear().await];
        assert!(heard.contains(&missed(true)) && heard.contains(&listening(&["d"])), "{heard:?}");
        host.broker.rabbit.restart();
        messi.hears(&[missed(false)]).await;
        xavi.hears(&[missed(false)]).await;
        is_up(&server).await;
        assert_eq!(readiness(&server).await, (200, json!({"status": "ok"})));
        assert!(host.notify("c", &stored("iker", "m")));
        messi.hears(&[news("iker", "c", "m")]).await;
        let now = server.scrape().await;
        assert_eq!(now.sum("maxtalk_feed_reconnects_total", ""), 1.0);
        assert_eq!(now.sum("maxtalk_feed_gaps_total", r#"cause="outage""#), 1.0);
    });
}

/// The password is read at each connect, so it can be renewed.
#[test]
fn a_wrong_password_is_named_and_read_again() {
    run(async {
        let host = Host::of_max("password");
        let file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file.as_file(), "wrong").unwrap();
        let settings = format!("{QUICK}\nfeed.url = {:?}\nfeed.password_file = {:?}", host.url(), file.path());
        let server = Fixture::start(&settings);
        is_degraded(&server, "look at the user `password`, feed.password_file").await;
        std::fs::write(file.path(), "password\n").unwrap();
        is_up(&server).await;
    });
}

/// The feed makes no exchange: it waits until MAX has made it.
#[test]
fn an_exchange_that_is_missing_is_named_and_waited_for() {
    run(async {
        let host = Host::new("missing", RIGHTS);
        let server = Fixture::start(&format!("{QUICK}\nfeed.url = {:?}", host.url()));
        is_degraded(&server, "MAX makes this exchange").await;
        host.rabbit().make_exchange(host.name, "conversations", "topic");
        is_up(&server).await;
    });
}

#[test]
fn who_joins_before_the_feed_is_up_may_have_missed_something() {
    run(async {
        let host = Host::new("first", RIGHTS);
        let patient = QUICK.replace("tell_after_ms = 200", "tell_after_ms = 86400000");
        let server = Fixture::start(&format!("{patient}\nfeed.url = {:?}", host.url()));
        server.max.talks_in("messi", &["c"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c"]).await;
        host.rabbit().make_exchange(host.name, "conversations", "topic");
        messi.hears(&[missed(false)]).await;
    });
}

/// Members of a conversation may publish there. Nothing that they send ends the connection or fills the memory.
#[test]
fn hostile_bodies_are_counted_and_passed_over() {
    run(async {
        let host = Host::of_max("hostile");
        let server = host.serve("").await;
        server.max.talks_in("messi", &["c"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c"]).await;
        // The API of the broker takes no more.
        let long = format!(r#"{{"a":"k","o":"m","d":{{"id":"1","text":"{}"}},"u":"x"}}"#, "x".repeat(4_000_000));
        let deep = format!(r#"{{"a":"k","o":"m","d":{}"#, "[".repeat(60_000));
        let cut = &stored("iker", "m")[..60];
        for body in [&long, &deep, cut, "", "\u{1}\u{2}", r#"{"a":"k","o":"m","d":{"id":"1"},"u":{"u":""}}"#] {
            assert!(host.notify("c", body));
        }
        // Some clients of MAX write line ends inside strings as they are.
        assert!(
            host.notify("c", "{\"a\":\"k\",\"o\":\"m\",\"d\":{\"text\":\"one\ntwo\",\"id\":\"m1\"},\"u\":\"iker\"}")
        );
        assert!(host.notify("c", &stored("iker", "m2")));
        messi.hears(&[update("iker", "c", "m1"), news("iker", "c", "m2")]).await;
        let now = server.scrape().await;
        let rejected = |reason: &str| now.sum("maxtalk_feed_rejected_total", &format!("reason={reason:?}"));
        assert_eq!(["too_long", "json", "username"].map(rejected), [1.0, 4.0, 1.0]);
        assert_eq!(now.sum("maxtalk_feed_reconnects_total", ""), 0.0);
        assert_eq!(now.sum("maxtalk_feed_gaps_total", ""), 0.0);
    });
}

/// Runs `maxtalk check --connect` with settings, and returns whether it succeeds and what it prints.
fn check(settings: &[(&str, &str)]) -> (bool, String) {
    let mut command = maxtalk(&["check", "--connect"]);
    command.stdout(Stdio::piped());
    for (key, value) in settings {
        command.env(format!("MAXTALK_{}", key.replace('.', "__").to_uppercase()), value);
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), text)
}

/// Exactly the rights of the page are enough, and each that is missing is named.
#[test]
fn a_check_names_the_right_that_is_missing() {
    let page = include_str!("../../src/docs/back-end.md").replace(r"\|", "|");
    assert!(RIGHTS.iter().all(|right| page.contains(&format!("`{right}`"))), "the page has other rights");
    let host = Host::of_max("rights");
    let (is_well, text) = check(&[("feed.url", &host.url())]);
    assert!(is_well, "{text}");
    assert!(text.contains("  none    hear of memberships by `amq.rabbitmq.event`: 404"), "{text}");
    assert!(text.contains("rabbitmq-plugins enable rabbitmq_event_exchange"), "{text}");
    assert!(!text.contains("rights:rights"), "{text}");
    let [configure, write, read] = RIGHTS;
    for (rights, words) in [
        (["^$", write, read], r"make a queue: 403"),
        (["^$", write, read], r"the user needs the right to configure `^amq\.gen`"),
        ([configure, "^$", read], r"bind it to `conversations`: 403"),
        ([configure, write, r"^amq\.gen"], r"and to read `conversations`"),
        ([configure, write, "^conversations$"], r"read it: 403"),
    ] {
        host.rabbit().permit(host.name, host.name, rights);
        let (is_well, text) = check(&[("feed.url", &host.url())]);
        assert!(!is_well && text.contains(words), "{words}: {text}");
    }
    // The plugin's exchange is there, and may be read or not.
    let root = host.rabbit().url(host.name, "/");
    host.rabbit().make_exchange("/", "conversations", "topic");
    let refused = "none    hear of memberships by `amq.rabbitmq.event`: 403";
    for (read, line) in [(read, "ok      hear of memberships"), (r"^(amq\.gen.*|conversations)$", refused)] {
        host.rabbit().permit("/", host.name, [configure, write, read]);
        let (is_well, text) = check(&[("feed.url", &root)]);
        assert!(is_well && text.contains(line), "{text}");
        assert_eq!(
            line == refused,
            text.contains("and to read `amq.rabbitmq.event`; memberships are not kept"),
            "{text}"
        );
    }
    for (url, words) in [
        (host.rabbit().url(host.name, "nowhere"), "is `nowhere` the virtual host of MAX"),
        ("amqp://127.0.0.1:1".to_owned(), "no server listens there"),
    ] {
        let (is_well, text) = check(&[("feed.url", &url)]);
        assert!(!is_well && text.contains(words), "{text}");
    }
}

#[test]
fn a_connection_may_be_encrypted() {
    run(async {
        let host = Host::of_max("encrypted");
        let url = host.rabbit().tls_url(host.name, host.name);
        let (is_well, text) = check(&[("feed.url", &url)]);
        assert!(!is_well && text.contains("set feed.ca_file"), "{text}");
        let authority = &host.broker.certificates.ca;
        let server = Fixture::start(&format!("{QUICK}\nfeed.url = {url:?}\nfeed.ca_file = {authority:?}"));
        is_up(&server).await;
        server.max.talks_in("messi", &["c"]);
        let mut messi = Client::join(&server, Kind::WebSocket, "messi", &["c"]).await;
        assert!(host.notify("c", &stored("iker", "m")));
        messi.hears(&[news("iker", "c", "m")]).await;
    });
}
