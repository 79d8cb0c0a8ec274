//! The bus of a cluster over a real Redis Cluster, whose slots move and whose masters die: each message arrives, or the
//! conversation is told that it may have missed something.

use std::sync::Arc;
use std::time::Duration;

use crate::support::bus::{ATTACHED, settings, start, wait_down, wait_up};
use crate::support::certificates::Certificates;
use crate::support::ear::{Ear, Talks, id, numbered, numbers, without_doubles};
use crate::support::redis_cluster::RedisCluster;
use crate::support::redis_server::RedisServer;
use crate::support::{DEADLINE, run, until};
use maxtalk::testing::cluster::{Bus, Dialect, FromBus, Port as _, Settings, Status, check};
use maxtalk::testing::event::ConversationId;

fn bus(dialect: Dialect, cluster: &RedisCluster) -> Arc<Bus> {
    let bus = start(settings(dialect, &cluster.url()));
    wait_up(&bus);
    bus
}

fn channel(id: &ConversationId) -> String {
    format!("socket.io#/max#{}#", id.as_str())
}

/// A conversation whose channel one of the masters has, and none of the channels of all conversations.
fn room_at(cluster: &RedisCluster, master: usize) -> ConversationId {
    let rooms = (0..).map(|number| id(&format!("519b{number:020}")));
    rooms.into_iter().find(|id| cluster.third(&channel(id)) == master).unwrap()
}

/// The masters: that of the channel of the namespace, that of the nodes' (which may be the same), and one that has
/// neither.
fn masters(cluster: &RedisCluster) -> [usize; 3] {
    let [namespace, nodes] = ["socket.io#/max#", "socket.io-nodes#/max#"].map(|channel| cluster.third(channel));
    let other = (0..3).find(|master| ![namespace, nodes].contains(master)).unwrap();
    [namespace, nodes, other]
}

/// What was told beside messages since a conversation was attached.
fn told(ear: &Ear) -> Vec<FromBus> {
    ear.heard().into_iter().filter(|news| !matches!(news, FromBus::Message(_))).collect()
}

#[test]
fn connections_to_all_masters_may_be_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::issue(dir.path(), "127.0.0.1");
    let cluster = RedisCluster::encrypted(certificates.clone());
    let Certificates { ca, certificate, key } = certificates;
    let settings = Settings {
        ca_file: Some(ca),
        client_certificate: Some((certificate, key)),
        ..settings(Dialect::Sharded, &cluster.url())
    };
    let (a, b) = (start(settings.clone()), start(settings));
    wait_up(&a);
    wait_up(&b);
    let rooms: Vec<_> = (0..3).map(|master| room_at(&cluster, master)).collect();
    let ears: Vec<_> = rooms.iter().map(|room| Ear::attached(&b, room)).collect();
    for (room, ear) in rooms.iter().zip(&ears) {
        a.publish(room, &numbered(&a, room, 1)).unwrap();
        ear.until("the message", |heard| numbers(heard) == [1]);
    }
    assert_eq!(b.shards().len(), 3);
}

#[test]
fn each_conversation_is_heard_by_the_master_of_its_slot() {
    let cluster = RedisCluster::start();
    let (a, b) = (bus(Dialect::Sharded, &cluster), bus(Dialect::Sharded, &cluster));
    let mut rooms: Vec<_> = (0..60).map(|number| id(&format!("room {number}"))).collect();
    // Node servers publish about it on the channel of the namespace.
    rooms.push(id("01234567890123456789"));
    let ears: Vec<_> = rooms.iter().map(|room| Ear::attached(&b, room)).collect();
    for (room, ear) in rooms.iter().zip(&ears) {
        let receivers = a.publish_counted(room, &numbered(&a, room, 1)).unwrap();
        ear.until("the message", |heard| numbers(heard) == [1]);
        assert_eq!(run(receivers), Ok(1), "{room:?}");
        assert_eq!(told(ear), [ATTACHED]);
        let owner = &cluster.servers[cluster.third(&channel(room))];
        let heard_by = owner.text(&["PUBSUB", "SHARDNUMSUB", &channel(room)]);
        assert!(heard_by.contains("int(1)"), "{heard_by}");
    }
    let shards = b.shards();
    assert_eq!(shards.len(), 3);
    assert!(shards.iter().all(|shard| shard.subscribed > 0 && shard.status == Status::Up), "{shards:?}");
    assert_eq!(shards.iter().map(|shard| shard.subscribed).sum::<usize>(), rooms.len());
    until("the nodes know each other", || (a.peers().len() == 1 && b.peers().len() == 1).then_some(()));

    // One that ends says so once, and nobody takes it for dead.
    let gone = a.node();
    a.say_bye(Duration::from_millis(200));
    run(a.stop(DEADLINE));
    ears.iter().for_each(|ear| ear.wait_for(&FromBus::Ended(gone)));
    assert!(ears.iter().all(|ear| told(ear) == [ATTACHED, FromBus::Ended(gone)]));
}

#[test]
fn a_slot_that_moves_under_traffic_is_followed_and_told() {
    let cluster = RedisCluster::start();
    let (a, b) = (bus(Dialect::Sharded, &cluster), bus(Dialect::Sharded, &cluster));
    let [_, _, at] = masters(&cluster);
    let moving = room_at(&cluster, at);
    let slot = cluster.slot(&channel(&moving));
    let ear = Ear::attached(&b, &moving);
    let others: Vec<_> = (0..3).map(|number| id(&format!("other {number}"))).collect();
    let others: Vec<_> = others.iter().map(|id| (id, Ear::attached(&b, id))).collect();
    let steps = [(at, (at + 1) % 3), ((at + 1) % 3, (at + 2) % 3), ((at + 2) % 3, at)];
    let mut talks = Talks::new(&a, &moving);
    let mut talk = |count: u64| {
        for _ in 0..count {
            talks.say(1);
            let number = talks.last();
            others.iter().for_each(|(id, _)| a.publish(id, &numbered(&a, id, number)).unwrap());
        }
        talks.last()
    };
    let again = |heard: &[FromBus]| {
        heard.iter().filter(|news| matches!(news, FromBus::Attached { again: true, covered: false })).count()
    };
    for (from, to) in steps {
        talk(300);
        let before = again(&ear.heard());
        cluster.move_slot(&slot, from, to);
        talk(300);
        ear.until("told of the move", |heard| again(heard) > before);
        let owner = &cluster.servers[to];
        let has = || owner.text(&["PUBSUB", "SHARDNUMSUB", &channel(&moving)]).contains("int(1)");
        until("subscribed at the new owner", || has().then_some(()));
    }
    let last = talk(1);
    ear.until("the last", |heard| numbers(heard).last() == Some(&last));
    talks.assert_accounts(&ear);
    let heard = numbers(&ear.heard());
    assert!(heard.is_sorted(), "in their order");
    for (_, ear) in &others {
        ear.until("the last", |heard| numbers(heard).last() == Some(&last));
        assert_eq!(numbers(&ear.heard()), (1..=last).collect::<Vec<_>>());
        assert_eq!(told(ear), [ATTACHED], "another slot is not touched");
    }
}

#[test]
fn the_slot_of_the_namespace_moves_and_all_conversations_are_told() {
    let cluster = RedisCluster::start();
    let (a, b) = (bus(Dialect::Sharded, &cluster), bus(Dialect::Sharded, &cluster));
    let ears: Vec<_> = (0..3).map(|master| Ear::attached(&b, &room_at(&cluster, master))).collect();
    let [namespace, _, other] = masters(&cluster);
    cluster.move_slot(&cluster.slot("socket.io#/max#"), namespace, other);
    let over = |heard: &[FromBus]| heard.iter().any(|news| matches!(news, FromBus::Outage { ongoing: false, .. }));
    ears.iter().for_each(|ear| drop(ear.until("told", over)));
    wait_up(&a);
    wait_up(&b);
    let room = id("01234567890123456789");
    let ear = Ear::attached(&b, &room);
    a.publish(&room, &numbered(&a, &room, 1)).unwrap();
    ear.until("what is published in the namespace", |heard| numbers(heard) == [1]);
}

#[test]
fn a_master_that_is_killed_degrades_its_own_conversations_and_its_replica_is_followed() {
    let mut cluster = RedisCluster::start();
    let [_, _, killed] = masters(&cluster);
    let replica = cluster.add();
    cluster.wait_known();
    cluster.replicate(replica, killed);
    let (a, b) = (bus(Dialect::Sharded, &cluster), bus(Dialect::Sharded, &cluster));
    let rooms: Vec<_> = (0..3).map(|master| room_at(&cluster, master)).collect();
    let ears: Vec<_> = rooms.iter().map(|room| Ear::attached(&b, room)).collect();
    let mut talks: Vec<_> = rooms.iter().map(|room| Talks::new(&a, room)).collect();
    let mut talk = || {
        talks.iter_mut().for_each(|talks| talks.say(1));
        talks[0].last()
    };
    talk();
    cluster.servers[killed].kill();
    ears[killed]
        .until("the outage", |heard| heard.iter().any(|news| matches!(news, FromBus::Outage { ongoing: true, .. })));
    let during = talk();
    for (room, ear) in rooms.iter().zip(&ears).filter(|(room, _)| **room != rooms[killed]) {
        ear.until("the others go on", |heard| numbers(heard).last() == Some(&during));
        assert!(b.is_up(room));
    }
    ears[killed].until("the end of the outage", |heard| {
        heard.iter().any(|news| matches!(news, FromBus::Outage { ongoing: false, .. }))
    });
    wait_up(&a);
    wait_up(&b);
    let last = talk();
    for (master, ear) in ears.iter().enumerate() {
        ear.until("the last", |heard| numbers(heard).last() == Some(&last));
        if master == killed {
            talks[master].assert_accounts(ear);
        } else {
            assert_eq!(without_doubles(numbers(&ear.heard())), (1..=last).collect::<Vec<_>>());
            assert_eq!(told(ear), [ATTACHED], "another master is not touched");
        }
    }
    assert_eq!(b.shards().len(), 3);
    assert!(b.shards().iter().any(|shard| *shard.url == *cluster.url_of(replica)));
}

#[test]
fn a_master_that_comes_gets_its_conversations_and_one_that_goes_gives_them_back() {
    let mut cluster = RedisCluster::start();
    let (a, b) = (bus(Dialect::Sharded, &cluster), bus(Dialect::Sharded, &cluster));
    let [_, _, at] = masters(&cluster);
    let room = room_at(&cluster, at);
    let slot = cluster.slot(&channel(&room));
    let ear = Ear::attached(&b, &room);
    let new = cluster.add();
    cluster.wait_known();
    let mut talks = Talks::new(&a, &room);
    for (from, to, shards) in [(at, new, 4), (new, at, 3)] {
        cluster.move_slot(&slot, from, to);
        for bus in [&a, &b] {
            talks.say(1);
            until("the shards have changed", || (bus.shards().len() == shards).then_some(()));
        }
        wait_up(&a);
        wait_up(&b);
        let has = || cluster.servers[to].text(&["PUBSUB", "SHARDNUMSUB", &channel(&room)]).contains("int(1)");
        until("subscribed at the new owner", || has().then_some(()));
        talks.say(1);
        ear.until("the last", |heard| numbers(heard).last() == Some(&talks.last()));
    }
    talks.assert_accounts(&ear);
}

#[test]
fn a_master_that_goes_leaves_no_conversation_untold() {
    let mut cluster = RedisCluster::start();
    let nodes = cluster.slot("socket.io-nodes#/max#");
    let [_, at, _] = masters(&cluster);
    let new = cluster.add();
    cluster.wait_known();
    let a = bus(Dialect::Sharded, &cluster);
    // The news takes a quarter of a minute to reach all.
    let slow = Settings { resync_per_s: 4, ..settings(Dialect::Sharded, &cluster.url()) };
    let b = start(slow);
    wait_up(&b);
    let changed = |shards: usize| {
        for bus in [&a, &b] {
            until("the shards have changed", || (bus.shards().len() == shards).then_some(()));
        }
        wait_up(&b);
    };
    cluster.move_slot(&nodes, at, new);
    changed(4);
    let ears: Vec<_> = (0..60).map(|number| Ear::attached(&b, &id(&format!("room {number}")))).collect();
    until("the nodes know each other", || (b.peers().len() == 1).then_some(()));

    // The master that leads has told some that a node has ended when it loses its only slot.
    let gone = a.node();
    a.say_bye(Duration::from_millis(200));
    run(a.stop(DEADLINE));
    let is_told = |ear: &Ear| told(ear).contains(&FromBus::Ended(gone));
    until("the first is told", || ears.iter().any(|ear| is_told(ear)).then_some(()));
    cluster.move_slot(&nodes, new, at);
    until("the shards have changed", || (b.shards().len() == 3).then_some(()));
    assert!(!ears.iter().all(|ear| is_told(ear)), "all were told before it was retired");
    ears.iter().for_each(|ear| ear.wait_for(&FromBus::Ended(gone)));
    let ended = |ear: &Ear| told(ear).into_iter().filter(|news| *news == FromBus::Ended(gone)).count();
    assert!(ears.iter().all(|ear| ended(ear) == 1), "each is told once");
}

#[test]
fn a_cluster_that_is_away_is_waited_for() {
    let mut cluster = RedisCluster::start();
    let a = bus(Dialect::Sharded, &cluster);
    let room = id("room");
    let ear = Ear::attached(&a, &room);
    let url = cluster.url();
    cluster.servers.iter_mut().for_each(RedisServer::kill);
    let late = start(settings(Dialect::Sharded, &url));
    wait_down(&late, "no member of the Redis Cluster could be asked for its slots");
    let early = Ear::new();
    late.attach(&room, 1, early.clone());
    let mut talks = Talks::new(&late, &room);
    talks.say(1);
    cluster.servers.iter_mut().for_each(RedisServer::restart);
    wait_up(&late);
    wait_up(&a);
    early.until("attached", |heard| heard.iter().any(|news| matches!(news, FromBus::Attached { again: false, .. })));
    // What waited may have come before the other node was subscribed again.
    talks.say(1);
    ear.until("the last", |heard| numbers(heard).last() == Some(&2));
    talks.assert_accounts(&ear);
}

#[test]
fn the_classic_dialect_has_one_pair_of_connections() {
    let cluster = RedisCluster::start();
    let (a, b) = (bus(Dialect::Classic, &cluster), bus(Dialect::Classic, &cluster));
    for number in 0..20 {
        let room = id(&number.to_string());
        let ear = Ear::attached(&b, &room);
        let receivers = a.publish_counted(&room, &numbered(&a, &room, 1)).unwrap();
        ear.until("the message", |heard| numbers(heard) == [1]);
        assert_eq!(run(receivers), Ok(1));
    }
    assert_eq!(b.shards().len(), 1);
    let subscribed: usize = cluster.servers.iter().map(|server| server.clients(true).len()).sum();
    assert_eq!(subscribed, 2);
}

#[test]
fn a_check_tries_each_master() {
    let cluster = RedisCluster::start();
    let all = run(check(&settings(Dialect::Sharded, &cluster.url()))).unwrap();
    assert_eq!(all.len(), 4, "the Cluster and its masters: {all:?}");
    assert!(all.iter().all(|checked| checked.is_well()), "{all:?}");
    assert!(all[1..].iter().all(|checked| checked.steps.len() >= 6), "{all:?}");
    for server in &cluster.servers {
        let few = ["on", ">p", "-@all", "+hello", "+auth", "+role", "&socket.io#/max#*"];
        server.command(&[&["ACL", "SETUSER", "m"][..], &few].concat());
    }
    let with_user = cluster.url().replace("://", "://m:p@");
    let all = run(check(&settings(Dialect::Sharded, &with_user))).unwrap();
    assert!(all[0].to_string().contains("+cluster|info"), "{}", all[0]);
    cluster
        .servers
        .iter()
        .for_each(|server| drop(server.command(&["ACL", "SETUSER", "m", "+cluster|slots", "+cluster|info"])));
    let all = run(check(&settings(Dialect::Sharded, &with_user))).unwrap();
    assert!(all[1].to_string().contains("+ssubscribe"), "{}", all[1]);

    let two = Settings { urls: vec![cluster.url().into(), "redis://h".into()], ..settings(Dialect::Sharded, "") };
    assert!(run(check(&two)).is_err_and(|error| error.to_string().contains("stands alone")));
    let one = settings(Dialect::Sharded, &cluster.url_of(0));
    let all = run(check(&one)).unwrap();
    assert!(all[0].to_string().contains("redis+cluster://"), "{}", all[0]);
}
