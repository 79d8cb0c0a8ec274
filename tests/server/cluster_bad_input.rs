//! What a cluster does with a wrong set-up and with hostile bytes: it says what is wrong, and goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::account::{Account, Load};
use crate::support::client::{Client, new_sid, target};
use crate::support::cluster::{Cluster, Processes, QUICK, join_at, process};
use crate::support::ear::{Ear, id, numbered, numbers};
use crate::support::fixture::{Fixture, Scrape};
use crate::support::heard::{joined, left, talk_of, update};
use crate::support::http::Http;
use crate::support::kind::Kind;
use crate::support::max_by_rule::MaxByRule;
use crate::support::process::{Process, maxtalk};
use crate::support::redis_server::RedisServer;
use crate::support::run;
use maxtalk::testing::cluster::{Bus, Census, Port as _, Settings, Status};
use maxtalk::testing::metrics::{Metrics, ReadAtScrape};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Runs `maxtalk check --connect` with these settings. Returns the exit code and the output.
fn check(settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command: Command = maxtalk(&["check", "--connect"]);
    for (name, value) in settings {
        command.env(format!("MAXTALK_{}", name.replace('.', "__").to_uppercase()), value);
    }
    let output = command.stdout(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The same node twice: each start draws an id of its own, so only names can be equal. Both nodes say so and serve, and
/// no message goes round in a circle.
#[test]
fn two_nodes_with_one_name_are_warned_of_and_both_serve() {
    run(async {
        let mut nodes = Processes::start(2, &[("cluster.node", "twin")]);
        ["messi", "xavi"].iter().for_each(|user| nodes.max.talks_in(user, &["c"]));
        let mut messi = join_at(nodes.addrs[0], Kind::WebSocket, "messi", &["c"]).await;
        let mut xavi = join_at(nodes.addrs[1], Kind::WebSocket, "xavi", &["c"]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        for number in 0..20 {
            messi.emit("talk", &talk_of("c", &format!("a{number}"))).await;
            xavi.hears(&[update("messi", "c", &format!("a{number}"))]).await;
            xavi.emit("talk", &talk_of("c", &format!("b{number}"))).await;
            messi.hears(&[update("xavi", "c", &format!("b{number}"))]).await;
        }
        messi.hears_nothing().await;
        xavi.hears_nothing().await;
        for node in &mut nodes.nodes {
            let line = node.says("has the name `twin` of another node: give each its own cluster.node");
            assert!(line.contains("WARN"), "{line}");
        }
    });
}

/// A server that speaks the protocol of Redis and answers each command by a script.
struct FakeRedis {
    url: String,
}

impl FakeRedis {
    fn start(answer: fn(&[String]) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || Self::serve(stream.unwrap(), answer));
            }
        });
        Self { url }
    }

    fn serve(stream: TcpStream, answer: fn(&[String]) -> String) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut words = Vec::new();
            for _ in 0..number_after(&mut reader, '*')? {
                let mut word = vec![0; number_after(&mut reader, '$')? + 2];
                reader.read_exact(&mut word).ok()?;
                words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
            }
            writer.write_all(answer(&words).as_bytes()).ok()?;
        }
    }
}

fn number_after(reader: &mut impl BufRead, mark: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}

/// A Redis before release 6 knows no HELLO: log and `check --connect` say which release is needed, and the node serves
/// its own members.
#[test]
fn a_redis_that_is_too_old_is_named() {
    let answers: [fn(&[String]) -> String; 3] = [
        |words| match words[0].as_str() {
            "HELLO" => "-ERR unknown command 'HELLO'\r\n".into(),
            _ => "+OK\r\n".into(),
        },
        |words| match words[0].as_str() {
            "HELLO" => "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n".into(),
            _ => "+OK\r\n".into(),
        },
        |_| "-NOPROTO unsupported protocol version\r\n".into(),
    ];
    let max = MaxByRule::start();
    max.talks_in("messi", &["c"]);
    for answer in answers {
        let redis = FakeRedis::start(answer);
        let (code, said) = check(&[("cluster.url", &redis.url)]);
        let failed = said.lines().find(|line| line.starts_with("  failed  "));
        assert!(code == Some(1) && failed.is_some_and(|line| line.contains("Redis 6 or later")), "{code:?} {said}");
        let mut node = process(&redis.url, &max.url(), &[]);
        let line = node.says("is down, and tries on");
        assert!(line.contains("Redis 6 or later"), "{line}");
        let addr = node.addr();
        run(join_at(addr, Kind::WebSocket, "messi", &["c"]));
    }
}

/// Channels are never patterns: Redis would read some characters in them, so a prefix has none of these. Nor may it be
/// the one of the nodes of another installation.
#[test]
fn a_prefix_with_the_characters_of_a_pattern_is_refused() {
    for prefix in ["a*", "a?b", "[ab]", r"a\b", "a#b", "a b", "é", "socket.io-nodes", &"a".repeat(65)] {
        let (code, said) = check(&[("cluster.prefix", prefix)]);
        assert!(code == Some(1) && said.contains("cluster.prefix") && said.contains("64 letters"), "{prefix}: {said}");
    }
}

fn bus(redis: &RedisServer, prefix: &str, namespace: &str) -> Arc<Bus> {
    let settings = Settings {
        urls: vec![redis.url().into()],
        prefix: prefix.into(),
        namespace: namespace.into(),
        heartbeat: Duration::from_millis(200),
        ..Settings::default()
    };
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    Bus::start(settings, metrics, || Census { sessions: 1, conversations: 1 }).unwrap()
}

/// Installations with prefixes or namespaces of their own share one Redis and hear nothing of one another.
#[test]
fn installations_with_prefixes_of_their_own_do_not_hear_one_another() {
    let redis = RedisServer::start();
    let places = [("a", "/max"), ("a", "/max*"), ("a.b", "/max"), ("A", "/max"), ("a-", "/max"), ("", "/max")];
    let buses = places.map(|(prefix, namespace)| bus(&redis, prefix, namespace));
    let twins = places.map(|(prefix, namespace)| bus(&redis, prefix, namespace));
    let room = id("room");
    let ears = [&buses, &twins].map(|all| all.each_ref().map(|bus| Ear::attached(bus, &room)));
    let begun = Instant::now();
    while [&buses, &twins].iter().any(|all| all.iter().any(|bus| bus.peers().is_empty())) {
        assert!(begun.elapsed() < support::DEADLINE, "each hears its twin");
        thread::sleep(Duration::from_millis(10));
    }
    for (at, (bus, twin)) in buses.iter().zip(&twins).enumerate() {
        let receivers = bus.publish_counted(&room, &numbered(bus, &room, 1)).unwrap();
        assert_eq!(run(receivers), Ok(1), "{:?}: its twin, and nobody else", places[at]);
        ears[1][at].until("the message of its twin", |heard| numbers(heard) == [1]);
        assert_eq!(bus.peers().iter().map(|peer| peer.node).collect::<Vec<_>>(), [twin.node()], "{:?}", places[at]);
        assert_eq!(bus.status(), Status::Up);
    }
    assert!(redis.text(&["PUBSUB", "NUMPAT"]).contains("int(0)"), "no node subscribes to a pattern");
}

/// The library that gives a process another time: the program `faketime` would stay between it and its signals.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists()).expect("libfaketime is needed: apt-get install faketime")
}

/// No clock of another node is compared: one that is an hour off is a node like any other.
#[test]
fn a_node_whose_clock_is_an_hour_off_is_one_like_the_others() {
    run(async {
        let redis = RedisServer::start();
        let node = Fixture::start(&format!("{QUICK}\ncluster.url = [{:?}]", redis.url()));
        ["messi", "xavi"].iter().for_each(|user| node.max.talks_in(user, &["c"]));
        let mut messi = join_at(node.addr, Kind::WebSocket, "messi", &["c"]).await;
        for off in ["+1h", "-1h"] {
            let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", &node.max.url()]);
            command.env("MAXTALK_CLUSTER__URL", redis.url()).env("MAXTALK_CLUSTER__HEARTBEAT_MS", "200");
            command.env("LD_PRELOAD", libfaketime()).env("FAKETIME", off).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            let mut other = Process::start(command);
            let addr = other.addr();
            // Its log has the time of its clock.
            let line = other.says("is up after");
            let hour = |moment: time::OffsetDateTime| format!("T{:02}:", moment.hour());
            let shift = time::Duration::hours(if off == "+1h" { 1 } else { -1 });
            let hours =
                [-1, 0].map(|minutes| hour(time::OffsetDateTime::now_utc() + shift + time::Duration::minutes(minutes)));
            assert!(hours.iter().any(|hour| line.contains(hour)), "{line}: {hours:?}");
            let mut xavi = join_at(addr, Kind::WebSocket, "xavi", &["c"]).await;
            messi.hears_at_last(&joined("c", "xavi")).await;
            xavi.emit("talk", &talk_of("c", off)).await;
            messi.hears_at_last(&update("xavi", "c", off)).await;
            messi.emit("talk", &talk_of("c", &format!("to {off}"))).await;
            xavi.hears_at_last(&update("messi", "c", &format!("to {off}"))).await;
            node.until("it counts", |now| now.sum("maxtalk_bus_peers", "") == 1.0).await;
            xavi.close().await;
            messi.hears_at_last(&left("c", "xavi")).await;
            drop(other);
            node.until("it is silent", |now| now.sum("maxtalk_bus_peers", "") == 0.0).await;
        }
    });
}

/// The time in a heartbeat is that of its sender alone: whatever it is, the node counts as long as it is heard.
#[test]
fn the_time_in_a_heartbeat_is_compared_with_no_clock() {
    run(async {
        let redis = RedisServer::start();
        let node = Fixture::start(&format!("{QUICK}\ncluster.url = [{:?}]", redis.url()));
        node.until("up", |now| now.sum("maxtalk_bus_up", "") == 1.0).await;
        for sent_ms in [u64::MAX, 0, 3_600_000, 1] {
            let heartbeat = serde_json::json!({ "k": "heartbeat", "n": "abcdefghijkl", "name": "b", "version": "1",
                "tag": "bbbb", "sessions": 1, "conversations": 1, "sent_ms": sent_ms });
            redis.command(&["PUBLISH", "socket.io-nodes#/max#", &heartbeat.to_string()]);
            node.until("it counts", |now| now.sum("maxtalk_bus_peers", "") == 1.0).await;
        }
        node.until("it is silent", |now| now.sum("maxtalk_bus_peers", "") == 0.0).await;
        assert_eq!(node.scrape().await.sum("maxtalk_bus_rejected_total", ""), 0.0);
    });
}

/// Bytes that are no messages, whatever reads them.
fn hostile() -> Vec<Vec<u8>> {
    let mut random = StdRng::seed_from_u64(7);
    let mut all: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0xc1],
        vec![0; 100],
        vec![0xff; 100],
        b"\x1b[2J\r\n".to_vec(),
        b"\xdf\xff\xff\xff\xff".to_vec(),
        b"\x93\xdd\xff\xff\xff\xff".to_vec(),
        b"\xc6\xff\xff\xff\xff".to_vec(),
        [0x91; 50_000].to_vec(),
        [b'['; 50_000].to_vec(),
        br#"{"k":"heartbeat"}"#.to_vec(),
        br#"{"k":"bye","n":"../../../etc"}"#.to_vec(),
        br#"{"method":"emit","data":"#.to_vec(),
        b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x06method\x94\x8c\x04emit\x94s.".to_vec(),
        vec![b'A'; 1024 * 1024],
    ];
    // No message begins by this byte, in MessagePack or in JSON.
    all.extend((0..200).map(|length| {
        let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        bytes.insert(0, 0xc1);
        bytes
    }));
    // The message of a Node server, cut short.
    let whole = b"\x93\xa1x\x83\xa4type\x02\xa4data\x92\xa6update\x81\xa8username\xa5messi\xa3nsp\xa4/max\
        \x83\xa5rooms\x91\xa2c0\xa6except\x90\xa5flags\x80";
    all.extend((1..whole.len()).map(|end| whole[..end].to_vec()));
    all
}

/// Hostile or alien bytes on each of our channels, while people talk: dropped, counted by reason, logged at most once a
/// second, and nothing else is disturbed.
#[test]
fn hostile_bytes_on_all_channels_disturb_nobody() {
    run(async {
        let settings = "cluster.heartbeat_ms = 2000\ncluster.silent_ms = 10000\ncluster.python_channel = \"socketio\"";
        let cluster = Cluster::start(3, settings).await;
        let users = Load::users(3, 2);
        let conversations = ["c0", "c1"];
        cluster.talk_in(&users.iter().map(String::as_str).collect::<Vec<_>>(), &conversations);
        let python = [("cluster.python_channel", "socketio")];
        let mut logged = process(&cluster.redis.url(), &cluster.nodes[0].max.url(), &python);
        logged.says("is up after");
        let load = Load::start(&cluster.addrs(), &[0, 1], &conversations).await;
        let (hostile, begun) = (hostile(), Instant::now());
        let channels = ["socket.io#/max#c0#", "socket.io#/max#", "socket.io-nodes#/max#", "socketio"];
        let client = redis::Client::open(cluster.redis.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        for bytes in &hostile {
            for channel in channels {
                redis::cmd("PUBLISH").arg(channel).arg(&bytes[..]).exec(&mut connection).unwrap();
            }
            load.goes_on_for(1).await;
        }
        let published = (hostile.len() * channels.len()) as f64;
        for node in &cluster.nodes {
            let refused = |now: &Scrape| {
                now.sum("maxtalk_bus_rejected_total", "") + now.sum("maxtalk_bus_received_total", "kind=\"ignored\"")
            };
            node.until("all are counted", |now| refused(now) == published).await;
            for reason in ["syntax", "too_large", "too_deep", "pickle", "node"] {
                let of_reason = format!("reason=\"{reason}\"");
                let count = node.scrape().await.sum("maxtalk_bus_rejected_total", &of_reason);
                assert!(count > 0.0, "{reason}");
            }
        }
        let account = Account::sum(&load.finish("hostile bytes on all channels").await);
        assert_eq!((account.heard, account.times_told), (account.due, 0), "{account}");
        let _ = logged.child.kill();
        logged.end();
        let lines = logged.log.iter().filter(|line| line.contains("refused a message on the channel")).count();
        let seconds = begun.elapsed().as_secs() as usize + 2;
        assert!((1..=seconds).contains(&lines), "{lines} lines in {seconds} s");
        let is_bad = |line: &String| line.contains('\u{1b}') || line.contains("panicked");
        assert!(!logged.log.iter().any(is_bad), "{:#?}", logged.log);
    });
}

/// The sid of another node: 400 that names the reason, cheap, and counted apart. A sid that nobody has given out is
/// unknown everywhere.
#[test]
fn a_sid_of_another_node_is_told_apart() {
    run(async {
        let cluster = Cluster::start(2, "").await;
        let sid = new_sid(cluster.nodes[0].addr).await;
        let unknown = format!("zzzz{}", &sid[4..]);
        for (sid, header) in [(&sid, Some("another node")), (&unknown, None)] {
            let answer = Http::connect(cluster.nodes[1].addr).await.get(&target(sid)).await;
            assert_eq!(answer.status, 400);
            assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
            assert_eq!(answer.header("x-maxtalk-session"), header);
        }
        let _ = Client::open(cluster.nodes[1].addr, Kind::Polling).await;
    });
}
