//! `maxtalk bench` over several nodes: exact accounts, what the bus costs, and an honest verdict when a node or Redis
//! is killed under way. The nodes are processes of their own on a real Redis.

use std::fs;
use std::io::{Read as _, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::process::{Process, end_of, maxtalk, read, signal};
use crate::support::redis_server::RedisServer;
use crate::support::until;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Times with which nodes notice soon what happens to others.
const QUICK: [(&str, &str); 7] = [
    ("CLUSTER__HEARTBEAT_MS", "100"),
    ("CLUSTER__SILENT_MS", "1000"),
    ("CLUSTER__SETTLE_MS", "50"),
    ("CLUSTER__ATTACH_MS", "30000"),
    ("CLUSTER__TELL_AFTER_MS", "200"),
    ("CLUSTER__MISSED_SPREAD_MS", "0"),
    ("CLUSTER__RECONNECT_MS_MAX", "200"),
];

/// Starts `maxtalk bench` with few connections, which find programs and keep their files in `folder`.
fn bench(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = maxtalk(&["bench", "--connections", "24", "--members", "6", "--warm-up", "0s"]);
    command.args(arguments).env("PATH", std::env::var_os("PATH").unwrap()).env("TMPDIR", folder);
    QUICK.iter().for_each(|(key, value)| _ = command.env(format!("MAXTALK_{key}"), value));
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a bench. Returns its exit code and its output.
fn outcome(mut bench: Child) -> (Option<i32>, String, String) {
    let (out, err) = (read(bench.stdout.take().unwrap()), read(bench.stderr.take().unwrap()));
    let (status, _) = end_of(&mut bench);
    (status.code(), out.join().unwrap(), err.join().unwrap())
}

fn report(bench: Child) -> Value {
    let (_, out, err) = outcome(bench);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"))
}

/// Returns the processes that keep their files in `folder`: those that a bench has started there, and itself. Each with
/// its command line.
fn processes(folder: &Path) -> Vec<(u32, String)> {
    let of = |pid: u32| {
        let read =
            |name: &str| Some(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).ok()?).into_owned());
        let line = read("cmdline")?.replace('\0', " ");
        // Redis writes its title over its environment.
        let is_mine = [line.clone(), read("environ")?].iter().any(|text| text.contains(&*folder.to_string_lossy()));
        is_mine.then_some((pid, line))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Waits until a bench has started two nodes and a Redis. Returns all processes.
fn all_started(folder: &Path) -> Vec<(u32, String)> {
    until("two nodes and a Redis are there", || {
        let all = processes(folder);
        let nodes = all.iter().filter(|(_, line)| line.contains("serve --until-eof")).count();
        let has_redis = all.iter().any(|(_, line)| line.starts_with("redis-server"));
        (nodes == 2 && has_redis).then_some(all)
    })
}

/// Waits until a bench has left neither a process nor a file.
fn assert_nothing_is_left(folder: &Path) {
    until("all processes are gone", || processes(folder).is_empty().then_some(()));
    until("all files are gone", || fs::read_dir(folder).unwrap().next().is_none().then_some(()));
}

/// A node as a process of its own.
struct Node {
    process: Process,
    url: String,
    metrics: String,
}

impl Node {
    /// Starts a node, or a server alone, whose demo MAX has the people of the bench.
    fn start(redis: Option<&RedisServer>) -> Self {
        let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
        command.env("MAXTALK_DEMO__PEOPLE", "24").env("MAXTALK_DEMO__MEMBERS", "6");
        command.env("MAXTALK_ADMIN__LISTEN", "127.0.0.1:0");
        command.env("MAXTALK_SESSION__EVENTS_PER_SECOND_MAX", "0");
        if let Some(redis) = redis {
            command.env("MAXTALK_CLUSTER__URL", redis.url());
            QUICK.iter().for_each(|(key, value)| _ = command.env(format!("MAXTALK_{key}"), value));
        }
        let mut process = Process::start(command);
        let url = format!("http://{}", process.addr());
        let admin = process.says("admin listener on http://");
        let metrics = admin.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
        Self { process, url, metrics }
    }

    /// Returns the sum of the samples whose lines begin so.
    fn sum(&self, begin: &str) -> f64 {
        let mut stream = TcpStream::connect(&self.metrics).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let lines = answer.lines().filter(|line| line.starts_with(begin));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Returns how many updates of other nodes it has delivered.
    fn updates_of_others(&self) -> f64 {
        self.sum("maxtalk_deliveries_total{event=\"update\",path=\"bus\"")
    }
}

/// Two nodes that hear one another.
fn two_nodes(redis: &RedisServer) -> [Node; 2] {
    let nodes = [Node::start(Some(redis)), Node::start(Some(redis))];
    for node in &nodes {
        until("the nodes hear one another", || (node.sum("maxtalk_bus_peers{") == 1.0).then_some(()));
    }
    nodes
}

/// Returns these figures of the accounts.
fn accounts<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| report["accounts"][name].as_u64().unwrap())
}

#[test]
fn two_nodes_of_its_own_are_accounted_for_one_by_one() {
    let folder = TempDir::new().unwrap();
    let line = ["--spawn", "2", "--rate", "200", "--duration", "1s", "--churn", "20", "--lag-max", "1h", "--json"];
    let report = report(bench(folder.path(), &line));
    assert_eq!((&report["clean"], &report["errors"]), (&json!(true), &json!([])), "{report}");
    let [sent, expected, received, told] = accounts(&report, ["sent", "expected", "received", "told_missing"]);
    assert!(sent > 0 && expected == received && told == 0, "{report}");
    let count = |name: &str| report[name]["count"].as_u64().unwrap();
    let [all, within, between] =
        ["deliveries_corrected", "deliveries_within_node", "deliveries_between_nodes"].map(count);
    assert!(within > 0 && between > 0 && within + between == all, "{report}");
    assert!(report["bus_extra_p50_us"].is_i64() && report["bus_extra_p99_us"].is_i64(), "{report}");
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| node["connections"].as_u64()).collect::<Vec<_>>(), [Some(12); 2], "{report}");
    let rss = |process: &Value| process["rss_joined_bytes"].as_u64().unwrap();
    assert_eq!(nodes.iter().map(rss).sum::<u64>(), rss(&report["server"]), "{report}");
    assert!(rss(&report["redis"]) > 0 && report["redis"]["cpu_per_delivery_between_nodes_us"].is_f64(), "{report}");
    // Each talk is handled by its conversation on the one node, and as news on the other.
    let mailboxes = report["exposed"]["mailboxes"].as_array().unwrap();
    let conversation = mailboxes.iter().find(|mailbox| mailbox["actor"] == "conversation").unwrap();
    assert!(conversation["offered"].as_u64().unwrap() >= 2 * sent, "the sum over both nodes: {report}");
    let server = report["circumstances"]["server"].as_str().unwrap();
    assert!(server.starts_with("2 nodes, spawned, this build, ") && server.ends_with(" between them"), "{server}");
    assert_nothing_is_left(folder.path());
}

#[test]
fn the_table_and_the_page_show_what_the_bus_costs() {
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("page.html").display().to_string();
    let line = ["--spawn", "3", "--rate", "100", "--duration", "500ms", "--lag-max", "1h", "--html", &page];
    let (_, out, err) = outcome(bench(folder.path(), &line));
    for text in [
        "24 connections on 3 nodes; ",
        "\n  extra latency of the bus ",
        "\n  Redis  ",
        "\n  all together  ",
        "\nCLEAN: ",
    ] {
        assert!(out.contains(text), "{text}: {out} {err}");
    }
    assert!(fs::read_to_string(&page).unwrap().contains("Delivery latency within a node and between nodes"));
    fs::remove_file(page).unwrap();
    assert_nothing_is_left(folder.path());
}

#[test]
fn a_search_goes_over_several_nodes() {
    let folder = TempDir::new().unwrap();
    let line = ["--spawn", "2", "--find-knee", "--rate", "2", "--slo", "p99<1us", "--duration", "1s", "--json"];
    let report = report(bench(folder.path(), &[&line[..], &["--lag-max", "1h"]].concat()));
    let trials = report["knee"]["steps"].as_array().unwrap();
    let rates = trials.iter().map(|trial| (trial["talks_per_s"].as_f64().unwrap(), trial["trial"].as_str().unwrap()));
    assert_eq!(rates.collect::<Vec<_>>(), [(2.0, "fails"), (1.0, "fails")], "{report}");
    assert_eq!((&report["clean"], &report["nodes"][1]["rss_joined_bytes"]), (&json!(true), &Value::Null), "{report}");
    assert_nothing_is_left(folder.path());
}

#[test]
fn nodes_that_are_named_and_their_processes_are_those_of_the_report() {
    let folder = TempDir::new().unwrap();
    let redis = RedisServer::start();
    let nodes = two_nodes(&redis);
    let pids = nodes.each_ref().map(|node| node.process.child.id().to_string());
    let line = ["--url", &nodes[0].url, "--url", &nodes[1].url, "--pid", &pids[0], "--pid", &pids[1]];
    let line = [&line[..], &["--rate", "100", "--duration", "500ms", "--lag-max", "1h", "--json"]].concat();
    let report = report(bench(folder.path(), &line));
    assert_eq!(report["clean"], true, "{report}");
    assert!(nodes.iter().all(|node| node.updates_of_others() > 0.0), "talkers are on both nodes: {report}");
    for (node, shown) in nodes.iter().zip(report["nodes"].as_array().unwrap()) {
        assert_eq!((&shown["url"], shown["cpu_s"].is_f64()), (&json!(node.url), true), "{report}");
    }
    assert_eq!(report["redis"], Value::Null, "{report}");
}

#[test]
fn servers_that_are_no_cluster_lose_what_is_between_them_and_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let servers = [Node::start(None), Node::start(None)];
    let line = ["--url", &servers[0].url, "--url", &servers[1].url, "--rate", "100", "--duration", "300ms"];
    let (code, out, err) = outcome(bench(folder.path(), &[&line[..], &["--lag-max", "1h", "--quiet"]].concat()));
    let advice = "No delivery came from another node: give all servers the same cluster.url, and name only nodes of \
                  one cluster\n";
    assert!(code == Some(1) && out.contains("\nNOT CLEAN: ") && out.ends_with(advice), "{out} {err}");
}

#[test]
fn what_is_lost_while_redis_is_away_is_told_and_not_lost_without_a_word() {
    let folder = TempDir::new().unwrap();
    let mut redis = RedisServer::start();
    let nodes = two_nodes(&redis);
    let line = ["--url", &nodes[0].url, "--url", &nodes[1].url, "--rate", "200", "--duration", "10m", "--json"];
    let bench = bench(folder.path(), &[&line[..], &["--lag-max", "1h"]].concat());
    until("talks are heard", || nodes.iter().all(|node| node.updates_of_others() > 0.0).then_some(()));
    // Each node tells its twelve users.
    let told = || nodes.each_ref().map(|node| node.sum("maxtalk_deliveries_total{event=\"missed\""));
    let all_are_told = |before: [f64; 2]| {
        let since = || told().iter().zip(before).all(|(now, before)| now - before >= 12.0);
        until("all are told", || since().then_some(()));
    };
    let before = told();
    redis.kill();
    all_are_told(before);
    let before = told();
    redis.restart();
    all_are_told(before);
    let before = nodes.each_ref().map(Node::updates_of_others);
    until("talks are heard again", || {
        nodes.iter().zip(before).all(|(node, before)| node.updates_of_others() > before).then_some(())
    });
    let before = told();
    redis.kill();
    all_are_told(before);
    signal(&bench, "INT");
    let report = report(bench);
    let [expected, received, told, lost, doubled, disordered] =
        accounts(&report, ["expected", "received", "told_missing", "lost", "duplicated", "out_of_order"]);
    assert_eq!((lost, doubled, disordered), (0, 0, 0), "{report}");
    assert!(told > 0 && received > 0 && told + received == expected, "{report}");
    assert_eq!((&report["clean"], &report["connections_lost"]), (&json!(true), &json!(0)), "{report}");
}

#[test]
fn a_node_that_is_killed_under_way_makes_a_run_that_is_not_clean() {
    let folder = TempDir::new().unwrap();
    let redis = RedisServer::start();
    let mut nodes = two_nodes(&redis);
    let line = ["--url", &nodes[0].url, "--url", &nodes[1].url, "--rate", "200", "--duration", "10m", "--json"];
    let bench = bench(folder.path(), &[&line[..], &["--lag-max", "1h"]].concat());
    until("talks are heard", || nodes.iter().all(|node| node.updates_of_others() > 0.0).then_some(()));
    nodes[0].process.child.kill().unwrap();
    let other = &nodes[1];
    until("its silence is told", || (other.sum("maxtalk_deliveries_total{event=\"missed\"") > 0.0).then_some(()));
    signal(&bench, "INT");
    let report = report(bench);
    assert_eq!((&report["clean"], &report["connections_lost"]), (&json!(false), &json!(12)), "{report}");
    assert!(report["talks_not_taken"].as_u64() > Some(0), "{report}");
    let faults = report["faults"].as_array().unwrap().iter().map(|fault| fault["name"].as_str().unwrap());
    assert!(!faults.clone().any(|name| ["unaccounted for", "duplicated", "out of order"].contains(&name)), "{report}");
    let errors = report["errors"].as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap());
    assert!(errors.clone().any(|code| code.starts_with("connection: ") && code.ends_with(" (node 1)")), "{report}");
    assert!(!errors.clone().any(|code| code.ends_with(" (node 2)")), "{report}");
}

#[test]
fn nodes_and_redis_end_with_the_bench_however_that_ends() {
    for (name, code) in [("INT", Some(130)), ("TERM", Some(130)), ("KILL", None)] {
        let folder = TempDir::new().unwrap();
        let bench = bench(folder.path(), &["--spawn", "2", "--duration", "10m"]);
        all_started(folder.path());
        signal(&bench, name);
        let (found, _, err) = outcome(bench);
        assert_eq!(found, code, "{name}: {err}");
        assert_nothing_is_left(folder.path());
    }
}

#[test]
fn a_node_or_a_redis_of_its_own_that_has_ended_is_named() {
    for (part, kind) in [("serve --until-eof", "node "), ("redis-server", "redis-server has ended")] {
        let folder = TempDir::new().unwrap();
        let bench = bench(folder.path(), &["--spawn", "2", "--rate", "100", "--duration", "10m", "--json"]);
        let started = all_started(folder.path());
        // The shell that watches over the Redis names it too.
        let is_it = |(_, line): &&(u32, String)| line.contains(part) && !line.starts_with("sh ");
        let (pid, _) = started.iter().find(is_it).unwrap();
        // A part that is killed before anybody has joined ends the run without figures.
        let nodes = started.iter().filter(|(_, line)| line.contains("serve --until-eof"));
        nodes.for_each(|(node, _)| until("it has connections", || (sockets(*node) > 14).then_some(())));
        assert!(Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().unwrap().success());
        until("it has ended", || (!Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(()));
        signal(&bench, "INT");
        let (_, out, err) = outcome(bench);
        assert!(out.contains(kind) || err.contains(kind), "{part}: {out} {err}");
        assert_nothing_is_left(folder.path());
    }
}

/// Returns the number of sockets of a process.
fn sockets(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))).count()
}

#[test]
fn several_nodes_that_cannot_be_say_what_to_do() {
    let folder = TempDir::new().unwrap();
    let mut command = maxtalk(&["bench", "--spawn", "2", "--quiet"]);
    let bench = command.env("PATH", folder.path()).env("TMPDIR", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let (code, _, err) = outcome(bench);
    let expected = "maxtalk: several nodes need a Redis between them, and there is no redis-server or valkey-server on \
                    the PATH: install one (apt-get install redis-server), ";
    assert!(code == Some(1) && err.starts_with(expected), "{err}");
    assert_nothing_is_left(folder.path());
    let table: [(&[&str], i32, &str); 3] = [
        (&["--spawn", "2", "--sweep", "mailbox.session=1,2"], 2, "\"--sweep\" needs \"--spawn\" without a number"),
        (&["--url", "http://a", "--url", "http://b", "--pid", "1"], 2, "give \"--pid\" as often as \"--url\""),
        (&["--spawn", "2", "--url", "http://a"], 2, "cannot be used with"),
    ];
    for (line, code, message) in table {
        let (found, _, err) = outcome(self::bench(folder.path(), line));
        assert!(found == Some(code) && err.contains(message), "{line:?}: {err}");
    }
}
