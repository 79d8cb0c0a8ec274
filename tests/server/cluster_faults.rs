//! The faults of a Redis under a running load: talkers on two nodes, listeners on three. Each delivery is accounted
//! for: it was heard once and in its order, or its listener was told after the loss. The results are printed.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::account::{Account, Listener, Load, Said, account, message_id};
use crate::support::cluster::{Cluster, QUICK, join_at};
use crate::support::fixture::Fixture;
use crate::support::heard::{Heard, event, joined, left, talk_of, update};
use crate::support::http::Http;
use crate::support::kind::Kind;
use crate::support::redis_server::RedisServer;
use crate::support::run;
use crate::support::strait::Strait;

const CONVERSATIONS: [&str; 3] = ["c0", "c1", "c2"];

/// Talks of both talkers before and after a fault.
const TALKS: usize = 100;

/// Heartbeats as seldom as by default, so that a slow machine is not taken for a Redis that is away.
const USUAL: &str = "
    cluster.heartbeat_ms = 2000
    cluster.silent_ms = 10000
";

/// The rights that the page on clusters names.
const RIGHTS: [&str; 12] = [
    "resetkeys",
    "resetchannels",
    "&socket.io#/max#*",
    "&socket.io-nodes#/max#*",
    "-@all",
    "+subscribe",
    "+unsubscribe",
    "+publish",
    "+ping",
    "+hello",
    "+auth",
    "+role",
];

fn away() -> Heard {
    event("missed", r#"{"ongoing":true}"#.to_owned())
}

fn back() -> Heard {
    event("missed", r#"{"ongoing":false}"#.to_owned())
}

/// Has people talk on two of the nodes and listen on all while something happens. Returns the account of each node.
async fn accounts_for(what: &str, mut cluster: Cluster, fault: impl AsyncFnOnce(&mut Cluster, &Load)) -> Vec<Account> {
    let users = Load::users(cluster.nodes.len(), 2);
    cluster.talk_in(&users.iter().map(String::as_str).collect::<Vec<_>>(), &CONVERSATIONS);
    let load = Load::start(&cluster.addrs(), &[0, 1], &CONVERSATIONS).await;
    load.goes_on_for(TALKS).await;
    fault(&mut cluster, &load).await;
    load.go_on();
    load.goes_on_for(TALKS).await;
    cluster.is_up().await;
    load.finish(what).await
}

/// Does so with three nodes, and returns the account of all.
async fn of_three(what: &str, fault: impl AsyncFnOnce(&mut Cluster, &Load)) -> Account {
    Account::sum(&accounts_for(what, Cluster::start(3, "").await, fault).await)
}

/// Sets something of the user of the nodes.
fn user(redis: &RedisServer, words: &[&str]) {
    redis.command(&[&["ACL", "SETUSER", "maxtalk"], words].concat());
}

/// Starts three nodes that come to Redis as a user of their own, with a password in this file.
async fn of_a_user(file: &Path) -> Cluster {
    let redis = RedisServer::start();
    user(&redis, &["on", ">first"]);
    user(&redis, &RIGHTS);
    std::fs::write(file, "first\n").unwrap();
    let urls = vec![format!("{}?user=maxtalk", redis.url()); 3];
    Cluster::at(redis, &urls, &format!("{USUAL}\ncluster.password_file = {:?}", file.to_str().unwrap())).await
}

#[test]
fn an_account_finds_what_is_lost_doubled_and_out_of_order() {
    let begun = Instant::now();
    let at = |ms| begun + Duration::from_millis(ms);
    let talk = |number: u64| Said { talker: 0, conversation: "c0".into(), number, at: at(10 * number) };
    let said: Vec<_> = (1..=5).map(talk).collect();
    let hears = |number: u64| (at(10 * number + 1), update("talker0", "c0", &message_id(0, number)));
    let clean: Vec<_> = (1..=5).map(hears).collect();
    let all = account(&said, &clean, &[]);
    assert!(all.is_clean() && all.heard == 5 && all.told == 0, "{all}");

    // The third is lost; what is told before it is said tells nothing of it, nor does what is told of another one.
    let mut log: Vec<_> = [1, 2, 4, 5].map(hears).to_vec();
    assert_eq!(account(&said, &log, &[]).silent, ["0 in c0: 3"]);
    log.insert(2, (at(29), back()));
    assert_eq!(account(&said, &log, &[]).silent, ["0 in c0: 3"]);
    let of = |id: &str| event("missed", format!(r#"{{"conversations":["{id}"],"ongoing":false}}"#));
    log.insert(3, (at(31), of("c1")));
    assert_eq!(account(&said, &log, &[]).silent, ["0 in c0: 3"]);
    log.insert(4, (at(31), of("c0")));
    let told = account(&said, &log, &[]);
    assert!(told.is_clean() && (told.heard, told.told) == (4, 1), "{told}");
    assert_eq!(account(&said, &log, &[0]).silent, ["0 in c0: 3"], "what is said on the own node is never lost");

    // The beginning of an outage needs its end, and comes once.
    log[4].1 = away();
    let begun = account(&said, &log, &[]);
    assert!(begun.silent == ["0 in c0: 3"] && begun.wrong == ["the end of an outage was not told"], "{begun:?}");
    log.insert(5, (at(32), away()));
    assert_eq!(account(&said, &log, &[]).wrong.len(), 2);

    let doubled = account(&said, &[&clean[..], &[hears(5)]].concat(), &[]);
    assert_eq!((doubled.doubled, doubled.disordered.len()), (vec!["0 in c0: 5".to_owned()], 0));
    let disordered = account(&said, &[1, 2, 4, 3, 5].map(hears), &[]);
    assert_eq!((disordered.doubled.len(), disordered.disordered), (0, vec!["0 in c0: 3".to_owned()]));
    let strange = account(&said, &[&clean[..], &[(at(99), Heard::Packet("x".into()))]].concat(), &[]);
    assert_eq!(strange.wrong.len(), 1);
}

/// Redis killed: local delivery goes on, and when all is subscribed again the sessions are told of the gap. A user that
/// has left meanwhile is no ghost: all hear it once.
#[test]
fn redis_is_killed_and_stays_away_for_a_while() {
    run(async {
        of_three("Redis killed and away", async |cluster, load| {
            cluster.talk_in(&["guest"], &CONVERSATIONS);
            let guest = join_at(cluster.nodes[1].addr, Kind::WebSocket, "guest", &CONVERSATIONS).await;
            for listener in &load.listeners {
                listener.hears(&joined("c0", "guest")).await;
            }
            cluster.redis.kill();
            cluster.are_down(&[0, 1, 2]).await;
            for listener in &load.listeners {
                listener.hears(&away()).await;
            }
            guest.close().await;
            load.listeners[1].hears(&left("c0", "guest")).await;
            load.goes_on_for(TALKS).await;
            cluster.redis.restart();
            cluster.is_up().await;
            for listener in &load.listeners {
                listener.hears(&back()).await;
                for id in CONVERSATIONS {
                    listener.hears(&left(id, "guest")).await;
                    assert_eq!(listener.times(&left(id, "guest")), 1, "{id}");
                }
            }
        })
        .await;
    });
}

/// Redis restart with empty data: all channels are subscribed again, presence is rebuilt, and nobody has left.
#[test]
fn redis_is_restarted_empty_again_and_again() {
    run(async {
        of_three("Redis restarted three times", async |cluster, load| {
            for _ in 0..3 {
                cluster.redis.kill();
                cluster.redis.restart();
                load.goes_on_for(TALKS).await;
                cluster.is_up().await;
            }
            let is_left = |(_, news): &(Instant, Heard)| matches!(news, Heard::Event(name, _) if name == "left");
            for listener in &load.listeners {
                assert!(!listener.heard().iter().any(is_left), "nobody has left");
            }
        })
        .await;
    });
}

/// Redis slow (200 ms): local members are not delayed by it, nothing is lost by it, and nobody is told anything.
#[test]
fn redis_pauses_for_200_ms_five_times() {
    run(async {
        let cluster = Cluster::start(3, USUAL).await;
        let accounts = accounts_for("CLIENT PAUSE 200 ms, five times", cluster, async |cluster, load| {
            for _ in 0..5 {
                cluster.redis.command(&["CLIENT", "PAUSE", "200", "ALL"]);
                load.goes_on_for(TALKS).await;
            }
        });
        let account = Account::sum(&accounts.await);
        assert_eq!((account.heard, account.times_told), (account.due, 0), "{account}");
    });
}

/// After a failover the server is a replica, where PUBLISH and SUBSCRIBE succeed in silence: only its role shows it. It
/// is treated as down.
#[test]
fn redis_becomes_a_replica_and_a_master_again() {
    run(async {
        of_three("REPLICAOF and back", async |cluster, _| {
            cluster.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
            cluster.are_down(&[0, 1, 2]).await;
            cluster.redis.command(&["REPLICAOF", "NO", "ONE"]);
            cluster.is_up().await;
        })
        .await;
    });
}

#[test]
fn connections_that_publish_are_killed() {
    run(async {
        let account = of_three("CLIENT KILL of all that publish, five times", async |cluster, load| {
            for times in 1..=5 {
                for id in cluster.redis.clients(false) {
                    cluster.redis.command(&["CLIENT", "KILL", "ID", &id]);
                }
                cluster.have_reconnected(times).await;
                load.goes_on_for(TALKS / 5).await;
            }
        })
        .await;
        assert!(account.times_told > 0, "a node makes both connections anew: {account}");
    });
}

#[test]
fn connections_that_are_subscribed_are_killed() {
    run(async {
        of_three("CLIENT KILL of all that are subscribed, five times", async |cluster, load| {
            for times in 1..=5 {
                cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                cluster.have_reconnected(times).await;
                load.goes_on_for(TALKS / 5).await;
            }
        })
        .await;
    });
}

/// Redis output-buffer kill: the connection is made anew, and the gap is told.
#[test]
fn redis_closes_subscribers_whose_buffer_overruns() {
    run(async {
        of_three("output buffer overrun", async |cluster, load| {
            let limit = |limit: &str| {
                cluster.redis.command(&["CONFIG", "SET", "client-output-buffer-limit", &format!("pubsub {limit}")]);
            };
            let before = cluster.redis.clients(true);
            assert_eq!(before.len(), 3);
            limit("16384 0 0");
            let begun = Instant::now();
            while cluster.redis.clients(true).iter().any(|id| before.contains(id)) {
                assert!(begun.elapsed() < support::DEADLINE, "no buffer overruns");
                load.say_at_once(500).await;
            }
            limit("33554432 8388608 60");
            cluster.have_reconnected(1).await;
        })
        .await;
    });
}

#[test]
fn the_rights_to_the_channels_are_revoked_and_given_back() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        accounts_for("ACL revoked and given back", of_a_user(file.path()).await, async |cluster, load| {
            user(&cluster.redis, &["resetchannels"]);
            cluster.are_down(&[0, 1, 2]).await;
            load.goes_on_for(TALKS).await;
            user(&cluster.redis, &RIGHTS);
            cluster.is_up().await;
        })
        .await;
    });
}

#[test]
fn the_right_to_publish_is_revoked_and_given_back() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        accounts_for("ACL -publish and +publish", of_a_user(file.path()).await, async |cluster, load| {
            user(&cluster.redis, &["-publish"]);
            cluster.are_down(&[0, 1, 2]).await;
            load.goes_on_for(TALKS).await;
            user(&cluster.redis, &["+publish"]);
            cluster.is_up().await;
        })
        .await;
    });
}

/// A password that is renewed: both count for a while, the file is written anew, the old one ends. Nobody notices until
/// a connection breaks, and the next one takes the new password.
#[test]
fn the_password_is_renewed_under_way() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cluster = of_a_user(file.path()).await;
        let accounts = accounts_for("password renewed in two steps", cluster, async |cluster, load| {
            user(&cluster.redis, &[">second"]);
            std::fs::write(file.path(), "second\n").unwrap();
            user(&cluster.redis, &["<first"]);
            load.goes_on_for(TALKS).await;
        });
        let account = Account::sum(&accounts.await);
        assert_eq!((account.heard, account.times_told), (account.due, 0), "{account}");

        let cluster = of_a_user(file.path()).await;
        accounts_for("password revoked, and the file written later", cluster, async |cluster, load| {
            user(&cluster.redis, &["reset"]);
            user(&cluster.redis, &["on", ">third"]);
            user(&cluster.redis, &RIGHTS);
            cluster.redis.command(&["CLIENT", "KILL", "USER", "maxtalk"]);
            cluster.are_down(&[0, 1, 2]).await;
            load.goes_on_for(TALKS).await;
            std::fs::write(file.path(), "third\n").unwrap();
            cluster.is_up().await;
        })
        .await;
    });
}

/// Cuts the node of the first talker off from Redis for a while. Returns the account of each node.
async fn cut_off_the_first(what: &str, settings: &str) -> Vec<Account> {
    let redis = RedisServer::start();
    let mut strait = Strait::to(&redis.socket());
    let urls = [strait.url(), redis.url(), redis.url()];
    let cluster = Cluster::at(redis, &urls, &format!("{USUAL}{settings}")).await;
    let fault = async |cluster: &mut Cluster, load: &Load| {
        strait.close();
        cluster.are_down(&[0]).await;
        load.listeners[0].hears(&away()).await;
        load.goes_on_for(TALKS).await;
        strait.open();
        cluster.is_up().await;
        load.listeners[0].hears(&back()).await;
        assert!(load.listeners[1..].iter().all(|listener| listener.times(&away()) == 0), "they were not cut off");
    };
    accounts_for(what, cluster, fault).await
}

/// Redis partition, one node sees it, one does not: each serves its own members, and the one that was cut off is told
/// afterwards. What waited there comes to the others in its order.
#[test]
fn one_node_is_cut_off() {
    run(async {
        let accounts = cut_off_the_first("one node cut off", "").await;
        assert!(accounts[0].told > 0 && accounts[1..].iter().all(|account| account.told == 0), "{accounts:?}");
    });
}

/// As before, and what waits does not fit into the queue: the others notice the gap in the sequence, and are told.
#[test]
fn one_node_is_cut_off_and_its_queue_overflows() {
    run(async {
        let accounts = cut_off_the_first("its queue overflows", "cluster.queue_messages_max = 10").await;
        assert!(accounts.iter().all(|account| account.told > 0), "{accounts:?}");
    });
}

/// Redis down at start: the node serves its own members at once, is ready but degraded, and its sessions are told when
/// Redis is there.
#[test]
fn redis_is_down_at_the_start() {
    run(async {
        let mut redis = RedisServer::stopped(&[]);
        let settings = |more| format!("{QUICK}\ncluster.url = [{:?}]\n{more}", redis.url());
        let nodes: Vec<_> = (0..3).map(|_| Fixture::start(&settings(""))).collect();
        let strict = Fixture::start(&settings("cluster.required = true"));
        for (node, status) in [(&nodes[0], 200), (&strict, 503)] {
            let ready = Http::connect(node.admin_addr).await.get("/health/ready").await;
            assert!(ready.status == status && ready.body.contains("degraded"), "{} {}", ready.status, ready.body);
        }
        drop(strict);
        let users = Load::users(3, 1);
        for node in &nodes {
            users.iter().for_each(|user| node.max.talks_in(user, &CONVERSATIONS));
        }
        let mut lonely = join_at(nodes[0].addr, Kind::WebSocket, "talker0", &CONVERSATIONS).await;
        let listener = join_at(nodes[0].addr, Kind::WebSocket, "listener0", &CONVERSATIONS).await;
        let listener = Listener::start(0, listener);
        lonely.emit("talk", &talk_of("c0", "1")).await;
        listener.hears(&update("talker0", "c0", "1")).await;
        redis.restart();
        listener.hears(&back()).await;
        drop(listener);
        lonely.close().await;
        let cluster = Cluster { redis, nodes };
        cluster.is_up().await;
        let account = Account::sum(&accounts_for("after a start without Redis", cluster, async |_, _| {}).await);
        assert_eq!((account.heard, account.times_told), (account.due, 0), "{account}");
    });
}

/// Redis comes and goes faster than anybody can be told of each time.
#[test]
fn connections_flap() {
    run(async {
        of_three("all connections killed thirty times", async |cluster, load| {
            for _ in 0..30 {
                cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                cluster.redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                load.goes_on_for(10).await;
            }
        })
        .await;
    });
}
