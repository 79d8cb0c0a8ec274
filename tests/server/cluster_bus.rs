//! The bus of a cluster over a real Redis, and what becomes of it when that Redis fails: each message arrives, or the
//! conversation is told that it may have missed something.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::bus::{AGAIN, ATTACHED, settings, start, wait_down, wait_up};
use crate::support::certificates::Certificates;
use crate::support::ear::{Ear, Mood, Talks, id, numbered, numbers, state, without_doubles};
use crate::support::redis_server::RedisServer;
use crate::support::{DEADLINE, run, until};
use maxtalk::testing::cluster::{Bus, Content, Dialect, FromBus, Overflow, Port as _, Settings, check};

/// The rights that the page on clusters names, but for those of a dialect.
const RIGHTS: &[&str] = &[
    "resetkeys",
    "resetchannels",
    "&socket.io#/max#*",
    "&socket.io-nodes#/max#*",
    "-@all",
    "+ping",
    "+hello",
    "+auth",
    "+role",
];

/// The commands of a dialect that a user of Redis needs, and the one that publishes.
fn commands(dialect: Dialect) -> ([&'static str; 3], &'static str) {
    match dialect {
        Dialect::Classic => (["+subscribe", "+unsubscribe", "+publish"], "publish"),
        Dialect::Sharded => (["+ssubscribe", "+sunsubscribe", "+spublish"], "spublish"),
    }
}

/// What a server says of its channels or of the subscribers of one, in the words of a dialect.
fn pubsub(server: &RedisServer, dialect: Dialect, what: &str, more: &[&str]) -> redis::Value {
    let what = format!("{}{what}", if dialect == Dialect::Sharded { "SHARD" } else { "" });
    server.command(&[&["PUBSUB", &*what], more].concat())
}

fn bus(dialect: Dialect, server: &RedisServer) -> Arc<Bus> {
    start(settings(dialect, &server.url()))
}

crate::in_both_dialects! {
    what_one_node_publishes_all_others_hear
    nodes_know_one_another_by_their_heartbeats
    a_redis_that_comes_back_empty_gets_all_channels_and_all_messages
    a_slow_redis_delays_and_loses_nothing
    a_redis_that_answers_nothing_is_left_and_what_was_sent_is_sent_again
    a_publishing_connection_that_is_killed_loses_nothing
    a_subscribed_connection_that_is_killed_is_told
    a_subscriber_that_does_not_read_is_cut_off_and_told
    a_server_that_becomes_a_replica_is_not_used
    rights_that_are_taken_away_are_named
    ten_thousand_channels_are_subscribed_twice
    a_full_mailbox_is_told_once_and_a_conversation_that_ended_is_detached
    a_bus_that_stops_publishes_what_waits
    a_server_that_is_lost_takes_only_its_conversations_along
    a_check_names_what_is_wrong
    a_python_server_is_heard
}

fn what_one_node_publishes_all_others_hear(dialect: Dialect) {
    let server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let (one, two) = (id("one"), id("a#b é"));
    let ears = [(&a, &one), (&b, &one), (&b, &two)].map(|(bus, id)| Ear::attached(bus, id));
    a.publish(&one, &numbered(&a, &one, 1)).unwrap();
    a.publish(&two, &numbered(&a, &two, 1)).unwrap();
    a.publish(&one, &state(&a, 2, &["messi", "xavi"])).unwrap();
    let heard = ears[1].until("two messages", |heard| numbers(heard).len() == 2);
    assert_eq!(
        heard[1..],
        [FromBus::Message(numbered(&a, &one, 1)), FromBus::Message(state(&a, 2, &["messi", "xavi"]))]
    );
    let heard = ears[2].until("a message", |heard| numbers(heard) == [1]);
    assert_eq!(heard[1..], [FromBus::Message(numbered(&a, &two, 1))]);
    assert_eq!(ears[0].heard(), [ATTACHED], "a node does not hear itself");

    let receivers = b.publish_counted(&one, &numbered(&b, &one, 1)).unwrap();
    assert_eq!(run(receivers), Ok(1), "the other node, and not this one");
    b.detach(&one, 1);
    b.detach(&two, 1);
    until("given up", || (b.shards()[0].subscribed == 0).then_some(()));
    let receivers = a.publish_counted(&two, &numbered(&a, &two, 2)).unwrap();
    assert_eq!(run(receivers), Ok(0));
}

fn nodes_know_one_another_by_their_heartbeats(dialect: Dialect) {
    let server = RedisServer::start();
    let named = |name: &str, tag: &str| {
        start(Settings { name: name.into(), tag: tag.into(), ..settings(dialect, &server.url()) })
    };
    let (a, b) = (named("a", "aaaa"), named("b", "bbbb"));
    let ear = Ear::attached(&a, &id("one"));
    let peer = until("the other node", || a.peers().into_iter().find(|peer| &*peer.name == "b"));
    assert_eq!((peer.node, &*peer.tag, peer.census.sessions, peer.is_silent), (b.node(), "bbbb", 3, false));
    assert!(a.knows_tag("bbbb") && !a.knows_tag("cccc") && !a.knows_tag("aaaa"));

    // One that ends says so, and counts until its grace is over.
    let gone = b.node();
    b.say_bye(Duration::from_millis(200));
    run(b.stop(DEADLINE));
    ear.wait_for(&FromBus::Ended(gone));
    assert!(!a.knows_tag("bbbb"));
    assert!(!ear.heard().contains(&FromBus::Silent(gone)));

    // One that dies is noticed by its silence.
    let c = named("c", "cccc");
    let died = c.node();
    until("the third node", || a.knows_tag("cccc").then_some(()));
    drop(c);
    ear.wait_for(&FromBus::Silent(died));
}

fn a_redis_that_comes_back_empty_gets_all_channels_and_all_messages(dialect: Dialect) {
    let mut server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ears = [&a, &b].map(|bus| Ear::attached(bus, &room));
    let idle = Ear::attached(&b, &id("idle"));
    let mut talks = Talks::new(&a, &room);
    talks.say(1);
    ears[1].until("the first", |heard| numbers(heard) == [1]);

    server.kill();
    for ear in &ears {
        ear.until("the outage", |heard| matches!(heard.last(), Some(FromBus::Outage { ongoing: true, .. })));
    }
    let late = Ear::new();
    b.attach(&id("late"), 1, late.clone());
    late.until("the outage", |heard| matches!(heard, [FromBus::Outage { ongoing: true, .. }]));
    talks.say(499);
    assert!(a.shards()[0].waiting >= 499);
    server.restart();
    for ear in [&ears[0], &ears[1], &idle, &late] {
        let over = |news: &FromBus| matches!(news, FromBus::Outage { ongoing: false, .. });
        let heard = ear.until("the end of the outage", |heard| heard.iter().any(over));
        let number = |news: &FromBus| match news {
            FromBus::Outage { number, .. } => Some(*number),
            _ => None,
        };
        let numbers: Vec<_> = heard.iter().filter_map(number).collect();
        assert_eq!((numbers.len(), numbers[0]), (2, numbers[1]), "each outage is told once");
    }
    ears.iter().chain([&idle]).for_each(|ear| ear.wait_for(&AGAIN));
    late.wait_for(&FromBus::Attached { again: false, covered: true });
    wait_up(&a);
    wait_up(&b);
    talks.say(1);
    ears[1].until("the last", |heard| numbers(heard).last() == Some(&501));
    talks.assert_accounts(&ears[1]);
    let requests = server.text(&["PUBSUB", "NUMSUB", "socket.io-request#/max#"]);
    assert!(requests.contains("int(0)"), "Node servers wait for all who hear their requests: {requests}");
}

fn a_slow_redis_delays_and_loses_nothing(dialect: Dialect) {
    let server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    for number in 1..=300 {
        if number % 100 == 0 {
            server.command(&["CLIENT", "PAUSE", "200", "ALL"]);
        }
        a.publish(&room, &numbered(&a, &room, number)).unwrap();
    }
    let heard = ear.until("all", |heard| numbers(heard).len() >= 300);
    assert_eq!(numbers(&heard), (1..=300).collect::<Vec<_>>());
    assert_eq!(heard.len(), 301, "nothing else is told: {:?}", heard.last());
}

fn a_redis_that_answers_nothing_is_left_and_what_was_sent_is_sent_again(dialect: Dialect) {
    let server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    wait_up(&a);
    server.command(&["CLIENT", "PAUSE", "6000", "ALL"]);
    let mut talks = Talks::new(&a, &room);
    talks.say(100);
    // Its own heartbeat may be missed before the answer is.
    wait_down(&a, "");
    ear.until("the outage", |heard| matches!(heard.last(), Some(FromBus::Outage { ongoing: true, .. })));
    ear.wait_for(&AGAIN);
    wait_up(&a);
    talks.say(1);
    ear.until("the last", |heard| numbers(heard).last() == Some(&101));
    talks.assert_accounts(&ear);
}

fn a_publishing_connection_that_is_killed_loses_nothing(dialect: Dialect) {
    let server = RedisServer::start();
    let a = bus(dialect, &server);
    wait_up(&a);
    let publisher = server.clients(false);
    assert_eq!(publisher.len(), 1);
    let b = bus(dialect, &server);
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    wait_up(&b);
    let mut killed = publisher[0].clone();
    for number in 1..=3000 {
        a.publish(&room, &numbered(&a, &room, number)).unwrap();
        if number % 1000 == 500 {
            let before = server.clients(false);
            server.command(&["CLIENT", "KILL", "ID", &killed]);
            let new = || server.clients(false).into_iter().find(|id| !before.contains(id));
            killed = until("a new connection", new);
            wait_up(&a);
        }
    }
    let heard = ear.until("the last", |heard| numbers(heard).last() == Some(&3000));
    assert_eq!(without_doubles(numbers(&heard)), (1..=3000).collect::<Vec<_>>());
    assert!(!heard.contains(&AGAIN), "the other node was not touched");
}

fn a_subscribed_connection_that_is_killed_is_told(dialect: Dialect) {
    let server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    let mut talks = Talks::new(&a, &room);
    talks.say(1500);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    talks.say(1500);
    ear.wait_for(&AGAIN);
    wait_up(&a);
    wait_up(&b);
    talks.say(1);
    ear.until("the last", |heard| numbers(heard).last() == Some(&3001));
    talks.assert_accounts(&ear);
}

fn a_subscriber_that_does_not_read_is_cut_off_and_told(dialect: Dialect) {
    let server = RedisServer::with(&["--client-output-buffer-limit", "pubsub 1mb 1mb 1"]);
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    let subscribed = server.clients(true);
    ear.set(Mood::Stuck);
    let names: Vec<_> = (0..1000).map(|number| format!("user-with-a-long-name-{number:020}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut talks = Talks::new(&a, &room);
    until("cut off", || {
        (0..20).for_each(|_| talks.state(&names));
        (!subscribed.iter().all(|id| server.clients(true).contains(id))).then_some(())
    });
    ear.set(Mood::Open);
    ear.wait_for(&AGAIN);
    wait_up(&b);
    talks.say(1);
    ear.until("the last", |heard| numbers(heard).last() == Some(&talks.last()));
    talks.assert_accounts(&ear);
}

fn a_server_that_becomes_a_replica_is_not_used(dialect: Dialect) {
    let server = RedisServer::start();
    let a = bus(dialect, &server);
    let ear = Ear::attached(&a, &id("room"));
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    wait_down(&a, "is a replica of 127.0.0.1:1");
    ear.until("the outage", |heard| matches!(heard.last(), Some(FromBus::Outage { ongoing: true, .. })));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    ear.wait_for(&AGAIN);
    wait_up(&a);
}

fn rights_that_are_taken_away_are_named(dialect: Dialect) {
    let server = RedisServer::start();
    let user = |more: &[&str]| {
        let words: Vec<_> = ["ACL", "SETUSER", "maxtalk"].into_iter().chain(more.iter().copied()).collect();
        server.command(&words);
    };
    user(&["on", ">secret"]);
    let (commands, publish) = commands(dialect);
    let rights = [RIGHTS, &commands].concat();
    user(&rights);
    let url = format!("{}?user=maxtalk&pass=secret", server.url());
    let a = start(settings(dialect, &url));
    let ear = Ear::attached(&a, &id("room"));
    wait_up(&a);
    let [taken, hint, given] = ["-", "ACL SETUSER <user> +", "+"].map(|sign| format!("{sign}{publish}"));
    let table: [(&[&str], &str, &[&str]); 4] = [
        (&[&*taken], &*hint, &[&*given]),
        (&["-role"], "+role", &["+role"]),
        (&["resetchannels"], "&socket.io#/max#* &socket.io-nodes#/max#*", &rights),
        (&["resetpass", ">other"], "password is wrong", &[">secret"]),
    ];
    for (taken, words, given) in table {
        user(taken);
        // A password is asked for only when a connection is made.
        if taken[0] == "resetpass" {
            server.command(&["CLIENT", "KILL", "USER", "maxtalk"]);
        }
        let why = wait_down(&a, words);
        assert!(!why.contains("secret"), "{why}");
        let broken = ear.heard().iter().filter(|news| **news == AGAIN).count();
        user(given);
        ear.until("attached again", |heard| heard.iter().filter(|news| **news == AGAIN).count() > broken);
        wait_up(&a);
    }
}

#[test]
fn a_password_comes_from_a_file_that_may_change() {
    let server = RedisServer::with(&["--requirepass", "second"]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "first").unwrap();
    let with_file =
        Settings { password_file: Some(file.path().to_owned()), ..settings(Dialect::Classic, &server.url()) };
    let without = start(settings(Dialect::Classic, &server.url()));
    wait_down(&without, "cluster.password_file");
    let a = start(with_file.clone());
    wait_down(&a, "password is wrong");
    std::fs::write(file.path(), "second\n").unwrap();
    wait_up(&a);
    drop(file);
    let missing = start(with_file);
    wait_down(&missing, "cluster.password_file");
}

fn ten_thousand_channels_are_subscribed_twice(dialect: Dialect) {
    let mut server = RedisServer::start();
    let a = start(Settings { resync_per_s: 100_000, ..settings(dialect, &server.url()) });
    wait_up(&a);
    let ids: Vec<_> = (0..10_000).map(|number| id(&format!("519b00a5fdce3a08c7{number:06}"))).collect();
    let ear = Ear::new();
    ids.iter().for_each(|id| a.attach(id, 1, ear.clone()));
    let count = |heard: &[FromBus], again| {
        heard.iter().filter(|news| matches!(news, FromBus::Attached { again: is, .. } if *is == again)).count()
    };
    ear.until("all attached", |heard| count(heard, false) == 10_000);
    assert_eq!(a.shards()[0].subscribed, 10_000);
    server.kill();
    wait_down(&a, "");
    server.restart();
    ear.until("all attached again", |heard| count(heard, true) == 10_000);
    wait_up(&a);
    let channels = || match pubsub(&server, dialect, "CHANNELS", &[]) {
        redis::Value::Array(channels) => channels.len(),
        other => panic!("{other:?}"),
    };
    // A node also listens to the channels of the namespace, of the nodes, and to its own.
    assert_eq!(channels(), 10_003);
    ids.iter().for_each(|id| a.detach(id, 1));
    until("all given up", || (channels() == 3).then_some(()));
    assert_eq!((a.shards()[0].wanted, a.shards()[0].subscribed), (0, 0));
}

#[test]
fn states_are_paced_after_a_break() {
    let mut server = RedisServer::start();
    let a = start(Settings { resync_per_s: 200, ..settings(Dialect::Classic, &server.url()) });
    let ear = Ear::new();
    (0..200).for_each(|number| a.attach(&id(&number.to_string()), 1, ear.clone()));
    ear.until("all attached", |heard| heard.len() >= 200);
    server.kill();
    let begin = Instant::now();
    server.restart();
    let count = |heard: &[FromBus]| heard.iter().filter(|news| **news == AGAIN).count();
    ear.until("all", |heard| count(heard) == 200);
    assert!(begin.elapsed() >= Duration::from_millis(800), "{:?}", begin.elapsed());
}

fn a_full_mailbox_is_told_once_and_a_conversation_that_ended_is_detached(dialect: Dialect) {
    let server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    let losses = |heard: &[FromBus]| heard.iter().filter(|news| **news == FromBus::Lost).count();
    let mut talks = Talks::new(&a, &room);
    ear.set(Mood::Full);
    talks.say(10);
    until("refused", || (ear.refused() >= 10).then_some(()));
    ear.set(Mood::Open);
    talks.say(1);
    let heard = ear.until("the last", |heard| numbers(heard) == [11]);
    assert_eq!(losses(&heard), 1);
    ear.set(Mood::Full);
    talks.say(1);
    until("refused", || (ear.refused() >= 11).then_some(()));
    ear.set(Mood::Open);
    ear.until("a second loss", |heard| losses(heard) == 2);
    talks.assert_accounts(&ear);
    ear.set(Mood::Gone);
    talks.say(1);
    until("detached", || (b.shards()[0].wanted == 0 && b.shards()[0].subscribed == 0).then_some(()));
}

/// The mailbox is full again after it was handled, and no message of the bus was taken in between: others than the bus
/// send to it too.
#[test]
fn a_mailbox_that_is_full_again_is_told_again() {
    let server = RedisServer::start();
    let (a, b) = (bus(Dialect::Classic, &server), bus(Dialect::Classic, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    let mut talks = Talks::new(&a, &room);
    for times in 1..=3 {
        ear.set(Mood::Full);
        talks.say(5);
        until("refused", || (ear.refused() >= 5 * times).then_some(()));
        ear.set(Mood::Open);
        ear.until("the loss", |heard| heard.contains(&FromBus::Lost));
        talks.assert_accounts(&ear);
        b.loss_is_handled(&room, 1);
    }
}

#[test]
fn a_full_queue_says_so_and_tells_when_there_is_room() {
    let mut server = RedisServer::stopped(&[]);
    let a = start(Settings { queue_messages_max: 10, ..settings(Dialect::Classic, &server.url()) });
    let room = id("room");
    let ear = Ear::new();
    a.attach(&room, 1, ear.clone());
    let fits = (1..=20).filter(|number| a.publish(&room, &numbered(&a, &room, *number)).is_ok()).count();
    assert_eq!(fits, 10);
    assert_eq!(a.publish(&id("other"), &numbered(&a, &room, 1)), Err(Overflow));
    assert_eq!(a.publish(&id("third"), &state(&a, 1, &["messi"])), Ok(()), "a state always fits");
    wait_down(&a, "there is no such socket");
    server.restart();
    ear.wait_for(&FromBus::Room);
    wait_up(&a);
    until("all published", || (a.shards()[0].waiting == 0).then_some(()));
}

fn a_bus_that_stops_publishes_what_waits(dialect: Dialect) {
    let server = RedisServer::start();
    let (a, b) = (bus(dialect, &server), bus(dialect, &server));
    let room = id("room");
    let ear = Ear::attached(&b, &room);
    (1..=2000).for_each(|number| a.publish(&room, &numbered(&a, &room, number)).unwrap());
    run(a.stop(DEADLINE));
    let heard = ear.until("all", |heard| numbers(heard).len() == 2000);
    assert_eq!(numbers(&heard), (1..=2000).collect::<Vec<_>>());
    until("its connections are closed", || (server.clients(true).len() == 1).then_some(()));

    let lonely = start(settings(dialect, "unix:///nonexistent/socket"));
    lonely.publish(&room, &numbered(&lonely, &room, 1)).unwrap();
    let begin = Instant::now();
    run(lonely.stop(Duration::from_millis(50)));
    assert!(begin.elapsed() < DEADLINE / 2, "a stop does not wait for a Redis that is away");
}

fn a_server_that_is_lost_takes_only_its_conversations_along(dialect: Dialect) {
    let (mut first, second) = (RedisServer::start(), RedisServer::start());
    let both = || Settings { urls: vec![first.url().into(), second.url().into()], ..settings(dialect, "") };
    let (a, b) = (start(both()), start(both()));
    let ids: Vec<_> = (0..20).map(|number| id(&number.to_string())).collect();
    let ears: Vec<_> = ids.iter().map(|id| Ear::attached(&b, id)).collect();
    wait_up(&a);
    first.kill();
    wait_down(&a, "");
    wait_down(&b, "");
    let up: Vec<_> = ids.iter().map(|id| b.is_up(id)).collect();
    assert!(up.contains(&true) && up.contains(&false));
    for ((id, ear), is_up) in ids.iter().zip(&ears).zip(&up) {
        a.publish(id, &numbered(&a, id, 1)).unwrap();
        if *is_up {
            ear.until("the message", |heard| numbers(heard) == [1]);
        }
    }
    first.restart();
    for ((_, ear), is_up) in ids.iter().zip(&ears).zip(&up) {
        if !is_up {
            ear.wait_for(&AGAIN);
        }
    }
    let touched = |heard: &[FromBus]| heard.iter().any(|news| !matches!(news, FromBus::Message(_)));
    assert!(ears.iter().zip(&up).all(|(ear, is_up)| touched(&ear.heard()[1..]) != *is_up));
}

fn a_check_names_what_is_wrong(dialect: Dialect) {
    let server = RedisServer::start();
    let all = run(check(&settings(dialect, &server.url()))).unwrap();
    assert!(all[0].is_well() && all[0].steps.len() == 9, "{all:?}");
    let ([subscribe, _, publish], _) = commands(dialect);
    let few = ["on", ">p", "-@all", "+hello", "+auth", subscribe, publish, "&socket.io#/max#*"];
    server.command(&[&["ACL", "SETUSER", "m"][..], &few].concat());
    let all = run(check(&settings(dialect, &format!("{}?user=m&pass=p", server.url())))).unwrap();
    let failed: Vec<_> = all[0].steps.iter().filter(|step| step.result.is_err()).map(|step| &*step.name).collect();
    let name = |what: &str, command: &str| format!("{what} socket.io-nodes#/max# ({})", command[1..].to_uppercase());
    let [role, nodes, own, last] = failed[..] else { panic!("{failed:?}") };
    assert_eq!(
        [role, nodes, last],
        ["is a master (ROLE)", &name("subscribe", subscribe), &name("publish on", publish)]
    );
    assert!(own.starts_with("subscribe socket.io-nodes#/max#{"), "{own}");
    let all = run(check(&settings(dialect, "redis://127.0.0.1:1"))).unwrap();
    assert!(all[0].steps[0].result.as_ref().is_err_and(|why| why.contains("no server listens there")), "{all:?}");
    let all = run(check(&settings(dialect, "redis://a..b"))).unwrap();
    assert!(all[0].steps[0].result.as_ref().is_err_and(|why| why.contains("does not resolve")), "{all:?}");
    assert!(run(check(&settings(dialect, "http://a"))).is_err_and(|error| error.to_string().contains("cluster.url")));
}

fn a_python_server_is_heard(dialect: Dialect) {
    let server = RedisServer::start();
    let channel = Some("socketio".into());
    let a = start(Settings { python_channel: channel, ..settings(dialect, &server.url()) });
    let ear = Ear::attached(&a, &id("room"));
    wait_up(&a);
    let said = r#"{"method":"emit","event":"update","data":[{"username":"iker"}],"namespace":"/max","room":"room"}"#;
    assert_eq!(server.command(&["PUBLISH", "socketio", said]), redis::Value::Int(1));
    let is_update = |news: &FromBus| match news {
        FromBus::Message(message) => matches!(message.content, Content::Update { .. }),
        _ => false,
    };
    ear.until("the update", |heard| heard.iter().any(is_update));
}

#[test]
fn the_dialects_are_two_worlds() {
    let server = RedisServer::start();
    let (a, b) = (bus(Dialect::Classic, &server), bus(Dialect::Sharded, &server));
    let room = id("room");
    let ears = [&a, &b].map(|bus| Ear::attached(bus, &room));
    for bus in [&a, &b] {
        let receivers = bus.publish_counted(&room, &numbered(bus, &room, 1)).unwrap();
        assert_eq!(run(receivers), Ok(0));
    }
    ears.iter().for_each(|ear| assert_eq!(ear.heard(), [ATTACHED]));
    assert!(a.peers().is_empty() && b.peers().is_empty());
}

#[test]
fn a_conversation_whose_id_looks_like_a_socket_is_heard_on_the_channel_of_the_namespace() {
    let server = RedisServer::start();
    let (a, b) = (bus(Dialect::Sharded, &server), bus(Dialect::Sharded, &server));
    let room = id("01234567890123456789");
    let ear = Ear::attached(&b, &room);
    wait_up(&a);
    let receivers = a.publish_counted(&room, &numbered(&a, &room, 1)).unwrap();
    ear.until("the message", |heard| numbers(heard) == [1]);
    assert_eq!(run(receivers), Ok(1), "the other node, and not this one");
}

#[test]
fn a_server_without_sharded_channels_is_named() {
    for command in ["SSUBSCRIBE", "SPUBLISH"] {
        let server = RedisServer::with(&["--rename-command", command, ""]);
        let a = bus(Dialect::Sharded, &server);
        let why = wait_down(&a, "Redis 7 or later");
        assert!(why.contains(command), "{why}");
        let all = run(check(&settings(Dialect::Sharded, &server.url()))).unwrap();
        assert!(all[0].to_string().contains("Redis 7 or later"), "{}", all[0]);
    }
}

#[test]
fn a_connection_may_be_encrypted_and_the_client_show_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::issue(dir.path(), "localhost");
    let other = Certificates::issue(dir.path(), "other");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = RedisServer::with(&[&certificates.redis_options()[..], &["--tls-port", &port.to_string()]].concat());
    let Certificates { ca, certificate, key } = certificates;
    let url = format!("rediss://localhost:{port}");
    let with = |ca: &Path| Settings { ca_file: Some(ca.to_owned()), ..settings(Dialect::Classic, &url) };
    let a = start(Settings { client_certificate: Some((certificate, key)), ..with(&ca) });
    wait_up(&a);
    wait_down(&start(with(&ca)), "cluster.certificate_file");
    wait_down(&start(with(&other.ca)), "cluster.ca_file");
    wait_down(&start(with(&dir.path().join("none"))), "cluster.ca_file");
    let by_address = Settings { urls: vec![format!("rediss://127.0.0.1:{port}").into()], ..with(&ca) };
    wait_down(&start(by_address), "the name that the certificate has");
    wait_down(&start(settings(Dialect::Classic, &format!("redis://localhost:{port}"))), "by rediss://");
}

#[test]
fn sentinel_says_who_the_master_is() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (one, two, three) = (free(), free(), free());
    let master = RedisServer::with(&["--port", &one, "--bind", "127.0.0.1"]);
    let replica =
        RedisServer::with(&["--port", &two, "--bind", "127.0.0.1", "--replicaof", &format!("127.0.0.1 {one}")]);
    let sentinel = RedisServer::with(&["--port", &three, "--bind", "127.0.0.1", "--sentinel"]);
    sentinel.command(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &one, "1"]);
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{three}/main");
    let a = start(settings(Dialect::Classic, &url));
    let ear = Ear::attached(&a, &id("room"));
    wait_up(&a);
    assert!(!master.clients(true).is_empty());
    until("the replica is known", || sentinel.text(&["SENTINEL", "REPLICAS", "main"]).contains(&two).then_some(()));
    until("a failover begins", || {
        let client = redis::Client::open(sentinel.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("SENTINEL").arg("FAILOVER").arg("main").query::<redis::Value>(&mut connection).ok()
    });
    ear.wait_for(&AGAIN);
    wait_up(&a);
    let found = |server: &RedisServer| server.text(&["PUBSUB", "NUMSUB", "socket.io#/max#room#"]).contains("int(1)");
    assert!(found(&replica) && !found(&master), "{}", replica.text(&["PUBSUB", "NUMSUB", "socket.io#/max#room#"]));
    wait_down(
        &start(settings(Dialect::Classic, &format!("redis+sentinel://127.0.0.1:{three}/other"))),
        "knows no master of this name",
    );
    wait_down(&start(settings(Dialect::Classic, &format!("redis://127.0.0.1:{three}"))), "Sentinel");

    // The Sentinels have a password of their own.
    sentinel.command(&["ACL", "SETUSER", "default", "resetpass", ">of the sentinels"]);
    let only = format!("redis+sentinel://127.0.0.1:{three}/main");
    wait_down(&start(settings(Dialect::Classic, &only)), "cluster.sentinel_password_file");
    let file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file.as_file(), "of the sentinels").unwrap();
    let path = Some(file.path().to_owned());
    let known = Settings { sentinel_password_file: path, ..settings(Dialect::Classic, &only) };
    wait_up(&start(known));
}
