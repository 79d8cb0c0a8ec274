//! What operators see of a cluster, on a real Redis: the API, the readiness, the log, and `maxtalk check --connect`.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::kind::Kind;
use crate::support::process::{Process, maxtalk, signal};
use crate::support::redis_server::RedisServer;
use crate::support::{run, within};
use serde_json::{Value, json};

/// Times with which a node soon notices what happens to Redis and to others.
const QUICK: &str = "
    cluster.heartbeat_ms = 100
    cluster.silent_ms = 4000
    cluster.reconnect_ms_max = 200
";

/// The settings of a node with a name.
fn settings(redis: &RedisServer, name: &str) -> String {
    format!("{QUICK}\ncluster.url = [{:?}]\ncluster.node = {name:?}\n", redis.url())
}

/// Returns the status and the body of an answer of the admin listener.
async fn get(node: &Fixture, path: &str) -> (u16, Value) {
    let answer = Http::connect(node.admin_addr).await.get(path).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Waits until an answer of the admin listener is as it should be, and returns it.
async fn until(node: &Fixture, path: &str, is_so: impl Fn(u16, &Value) -> bool) -> (u16, Value) {
    within(path, async {
        loop {
            let (status, body) = get(node, path).await;
            if is_so(status, &body) {
                return (status, body);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[test]
fn a_process_that_is_alone_has_no_cluster() {
    run(async {
        let alone = Fixture::start("");
        let cluster = get(&alone, "/api/v1/cluster").await;
        assert_eq!(cluster, (200, json!({"up": false, "servers": [], "peers": []})));
        assert_eq!(get(&alone, "/health/ready").await, (200, json!({"status": "ok"})));
    });
}

#[test]
fn a_node_shows_its_servers_and_the_other_nodes() {
    run(async {
        let redis = RedisServer::start();
        let (a, b) = (Fixture::start(&settings(&redis, "anna")), Fixture::start(&settings(&redis, "bert")));
        b.max.talks_in("u", &["c"]);
        let _client = Client::join(&b, Kind::ALL[0], "u", &["c"]).await;
        let is_complete = |cluster: &Value| {
            let (server, peer) = (&cluster["servers"][0], &cluster["peers"][0]);
            server["lag_ms"].is_f64() && peer["sessions"] == 1 && peer["conversations"] == 1
        };
        let (_, of_a) = until(&a, "/api/v1/cluster", |_, cluster| is_complete(cluster)).await;
        let hears_a =
            |cluster: &Value| cluster["servers"][0]["subscribed"] == 1 && cluster["peers"][0]["name"] == "anna";
        let (_, of_b) = until(&b, "/api/v1/cluster", |_, cluster| hears_a(cluster)).await;
        let (server, peer) = (&of_a["servers"][0], &of_a["peers"][0]);
        assert_eq!(of_a["up"], true, "{of_a}");
        assert_eq!((&server["url"], &server["up"]), (&json!(redis.url()), &json!(true)), "{of_a}");
        assert_eq!((&server["wanted"], &server["waiting"]), (&json!(0), &json!(0)), "{of_a}");
        assert!(server.get("reason").is_none() && server.get("down_ms").is_none(), "{of_a}");
        assert!(server["lag_ms"].as_f64().unwrap() > 0.0, "{of_a}");
        assert_eq!(of_a["peers"].as_array().unwrap().len(), 1, "{of_a}");
        assert_eq!((&peer["node"], &peer["name"]), (&of_b["node"], &json!("bert")), "{of_a} {of_b}");
        assert_eq!((&peer["version"], &peer["silent"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(false)), "{of_a}");
        assert!(!peer["tag"].as_str().unwrap().is_empty(), "{of_a}");
        assert_eq!((&of_b["peers"][0]["node"], &of_b["peers"][0]["name"]), (&of_a["node"], &json!("anna")), "{of_b}");
        assert_eq!((&of_b["servers"][0]["wanted"], &of_b["up"]), (&json!(1), &json!(true)), "{of_b}");
    });
}

#[test]
fn a_node_that_is_killed_is_shown_as_silent() {
    run(async {
        let redis = RedisServer::start();
        let a = Fixture::start(&settings(&redis, "anna"));
        let other = process(&redis, &a);
        until(&a, "/api/v1/cluster", |_, cluster| cluster["peers"][0]["silent"] == false).await;
        drop(other);
        let (_, cluster) = until(&a, "/api/v1/cluster", |_, cluster| cluster["peers"][0]["silent"] == true).await;
        assert!(cluster["peers"][0]["heard_ms"].as_u64().unwrap() >= 1000, "{cluster}");
    });
}

#[test]
fn without_redis_a_node_is_degraded_and_unready_only_where_redis_is_required() {
    run(async {
        let mut redis = RedisServer::start();
        let relaxed = Fixture::start(&settings(&redis, "anna"));
        let strict = Fixture::start(&format!("{}cluster.required = true", settings(&redis, "bert")));
        for node in [&relaxed, &strict] {
            until(node, "/health/ready", |status, body| status == 200 && body["status"] == "ok").await;
        }
        redis.kill();
        for (node, expected) in [(&relaxed, 200), (&strict, 503)] {
            let (status, body) = until(node, "/health/ready", |_, body| body["status"] != "ok").await;
            assert_eq!((status, &body["status"]), (expected, &json!("degraded")), "{body}");
            assert!(body["reason"].as_str().unwrap().starts_with("the bus of the cluster: "), "{body}");
            let (_, cluster) = until(node, "/api/v1/cluster", |_, cluster| cluster["up"] == false).await;
            let server = &cluster["servers"][0];
            assert_eq!(server["up"], false, "{cluster}");
            assert!(server["down_ms"].is_u64() && !server["reason"].as_str().unwrap().is_empty(), "{cluster}");
            assert!(server.get("lag_ms").is_none(), "{cluster}");
            assert_eq!(get(node, "/health/live").await, (200, json!({"status": "ok"})));
        }
        redis.restart();
        for node in [&relaxed, &strict] {
            let (status, body) = until(node, "/health/ready", |_, body| body["status"] == "ok").await;
            assert_eq!((status, body), (200, json!({"status": "ok"})));
        }
    });
}

/// Starts one more node as a process of its own, with the MAX of another node.
fn process(redis: &RedisServer, node: &Fixture) -> Process {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", &node.max.url()]);
    command.env("MAXTALK_CLUSTER__URL", redis.url());
    for (key, value) in QUICK.lines().filter_map(|line| line.split_once(" = ")) {
        command.env(format!("MAXTALK_{}", key.trim().replace('.', "__").to_uppercase()), value);
    }
    Process::start(command)
}

#[test]
fn the_log_has_one_line_for_each_change_of_the_bus() {
    const OUTAGES: usize = 3;
    let mut redis = RedisServer::start();
    let max = Fixture::start("");
    let mut node = process(&redis, &max);
    node.says_times("is up after", 1);
    let mut downs_max = 0;
    for outage in 1..=OUTAGES {
        let downs = node.log.iter().filter(|line| line.contains("is down")).count();
        let begun = Instant::now();
        redis.kill();
        node.says_times("is down", downs + 1);
        // It tries some times, in vain.
        thread::sleep(Duration::from_millis(1500));
        redis.restart();
        node.says_times("is up after", outage + 1);
        // Another failure than the first one is told after 5 s.
        downs_max += 1 + usize::try_from(begun.elapsed().as_secs() / 5).unwrap();
    }
    signal(&node.child, "TERM");
    node.end();
    let of_bus: Vec<_> = node.log.iter().filter(|line| line.contains("the bus at ")).collect();
    let (ups, downs): (Vec<&String>, Vec<&String>) =
        of_bus.iter().copied().partition(|line| line.contains(" is up after "));
    assert!(ups.len() == OUTAGES + 1 && (OUTAGES..=downs_max).contains(&downs.len()), "{of_bus:#?}");
    assert!(downs.iter().all(|line| line.contains(" is down, and tries on: ")), "{of_bus:#?}");
    assert!(
        ups.iter().all(|line| line.contains("INFO")) && downs.iter().all(|line| line.contains("WARN")),
        "{of_bus:#?}"
    );
}

/// Runs `maxtalk check` with this Redis. Returns the exit code and the output.
fn check(url: &str, options: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = maxtalk(&["check"]);
    command.args(options).env("MAXTALK_CLUSTER__URL", url).stdout(Stdio::piped());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn check_says_that_redis_was_not_tried() {
    const ADVICE: &str = "The Redis of the cluster was not tried: add --connect\n";
    let (code, said) = check("redis://127.0.0.1:1", &[]);
    assert!(code == Some(0) && said.ends_with(ADVICE) && said.matches("--connect").count() == 1, "{said}");
    let alone = maxtalk(&["check"]).stdout(Stdio::piped()).output().unwrap();
    assert!(alone.status.success() && !String::from_utf8(alone.stdout).unwrap().contains("Redis"));
    let alone = maxtalk(&["check", "--connect"]).stdout(Stdio::piped()).output().unwrap();
    assert!(alone.status.success() && !String::from_utf8(alone.stdout).unwrap().contains("Redis"));
}

#[test]
fn check_tries_redis_and_says_what_is_wrong() {
    let redis = RedisServer::start();
    let url = redis.url();
    let user = |name: &str, rights: &[&str]| {
        let words = ["ACL", "SETUSER", name, "on", ">secret", "resetkeys", "resetchannels", "-@all"];
        let bounds = ["&socket.io#/max#*", "&socket.io-nodes#/max#*", "+hello", "+auth", "+ping", "+role"];
        redis.command(&[&words[..], &bounds[..], rights].concat());
    };
    user("full", &["+subscribe", "+unsubscribe", "+publish"]);
    user("mute", &["+subscribe", "+unsubscribe"]);
    let (code, said) = check(&url, &["--connect"]);
    assert!(code == Some(0) && said.contains("  ok      hear what was published"), "{said}");
    assert!(!said.contains("failed") && !said.contains("was not tried"), "{said}");
    let (code, said) = check(&format!("{url}?user=full&pass=secret"), &["--connect"]);
    assert!(code == Some(0) && !said.contains("secret"), "{said}");
    redis.command(&["CONFIG", "SET", "requirepass", "other"]);
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", "1"]);
    let table = [
        ("redis://127.0.0.1:1".to_owned(), "no server listens there"),
        (format!("{url}?user=mute&pass=secret"), "ACL SETUSER <user> +publish"),
        (format!("{url}?user=full&pass=wrong"), "password is wrong"),
        (url, "cluster.password_file"),
        (replica.url(), "is a replica of 127.0.0.1:1"),
    ];
    for (url, words) in table {
        let (code, said) = check(&url, &["--connect"]);
        let failed = said.lines().any(|line| line.starts_with("  failed  ") && line.contains(words));
        assert!(code == Some(1) && failed, "{url}: {code:?} {said}");
        assert!(!said.contains("pass=") && !said.contains("secret"), "{said}");
    }
}
