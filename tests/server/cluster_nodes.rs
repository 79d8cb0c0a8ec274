//! Nodes that die or stand still under a running load. Each is a process of its own, on one real Redis.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::account::{Listener, Load};
use crate::support::cluster::{Processes, join_at, learns};
use crate::support::heard::{Heard, event, joined, left};
use crate::support::kind::Kind;
use crate::support::process::signal;
use crate::support::run;

const CONVERSATIONS: [&str; 2] = ["c0", "c1"];

/// Talks of all talkers before and after something happens.
const TALKS: usize = 150;

/// Times that a slow machine does not take for a silent node.
const SETTINGS: [(&str, &str); 2] = [("cluster.heartbeat_ms", "500"), ("cluster.silent_ms", "4000")];

/// Starts three nodes where these users and those of the load are in all conversations.
fn start(users: &[&str]) -> Processes {
    let nodes = Processes::start(3, &SETTINGS);
    let all = Load::users(3, 3);
    for user in all.iter().map(String::as_str).chain(users.iter().copied()) {
        nodes.max.talks_in(user, &CONVERSATIONS);
    }
    nodes
}

/// What the members of a conversation are told when a node has fallen silent.
fn missed(conversation: &str) -> Heard {
    event("missed", format!(r#"{{"conversations":["{conversation}"],"ongoing":false}}"#))
}

/// The 99th percentile and the number of these times, for the output.
fn p99(times: &[Duration]) -> String {
    let at = times.len() * 99 / 100;
    format!("{:?} of {}", times.get(at).or_else(|| times.last()), times.len())
}

/// Waits until these nodes show the users of the load in all conversations, `without` some and `with` others.
async fn all_show(addrs: &[SocketAddr], without: &[&str], with: &[&str]) {
    let all = Load::users(3, 3);
    let mut expected: Vec<_> = all.iter().map(String::as_str).filter(|user| !without.contains(user)).collect();
    expected.extend(with);
    expected.push("reader");
    expected.sort_unstable();
    for addr in addrs {
        let mut reader = join_at(*addr, Kind::WebSocket, "reader", &CONVERSATIONS).await;
        for id in CONVERSATIONS {
            learns(&mut reader, id, &expected).await;
        }
        reader.close().await;
    }
}

/// kill -9 of one of three nodes: the others go on, presence is right after the silence, and its clients come back
/// elsewhere.
#[test]
fn a_node_is_killed_and_the_others_go_on() {
    run(async {
        let mut nodes = start(&["guest", "iker", "reader"]);
        let load = Load::start(&nodes.addrs, &[0, 1, 2], &CONVERSATIONS).await;
        let begun = Instant::now();
        let _guest = join_at(nodes.addrs[2], Kind::WebSocket, "guest", &CONVERSATIONS).await;
        let mut iker = join_at(nodes.addrs[2], Kind::WebSocket, "iker", &CONVERSATIONS).await;
        for listener in &load.listeners[..2] {
            for id in CONVERSATIONS {
                listener.hears(&joined(id, "guest")).await;
                listener.hears(&joined(id, "iker")).await;
            }
        }
        load.goes_on_for(TALKS).await;
        let killed = Instant::now();
        signal(&nodes.nodes[2].child, "KILL");
        iker.end().await;
        let iker = Listener::start(0, join_at(nodes.addrs[0], Kind::WebSocket, "iker", &CONVERSATIONS).await);
        let back = join_at(nodes.addrs[1], Kind::WebSocket, "listener2", &CONVERSATIONS).await;
        let back = Listener::start(1, back);
        for listener in &load.listeners[..2] {
            for id in CONVERSATIONS {
                listener.hears(&left(id, "guest")).await;
                listener.hears(&missed(id)).await;
            }
        }
        let gone = Instant::now();
        for listener in [&iker, &back] {
            for id in CONVERSATIONS {
                listener.hears(&missed(id)).await;
            }
        }
        load.goes_on_for(TALKS).await;
        all_show(&nodes.addrs[..2], &["talker2"], &["iker"]).await;
        for listener in &load.listeners[..2] {
            for id in CONVERSATIONS {
                for (user, times) in [("guest", 1), ("talker2", 1), ("iker", 0), ("listener2", 0)] {
                    assert_eq!(listener.times(&left(id, user)), times, "{user} in {id}");
                }
                for user in ["guest", "iker"] {
                    assert_eq!(listener.times(&joined(id, user)), 1, "{user} in {id}");
                }
            }
        }
        for node in 0..2 {
            let latencies = |from, to| p99(&load.latencies(&load.listeners[node], node, from, to));
            let (before, during) = (latencies(begun, killed), latencies(killed, gone));
            println!("local latency of node {node}, p99: {before} talks before the kill, {during} until it is noticed");
        }
        load.finish("one of three nodes killed").await;
        drop(nodes.nodes.pop());
    });
}

/// Stops a node for longer than the silence, and lets it go on. The others lose its users and see them again. It takes
/// none of the others for silent. Its own sessions are told if its connections at Redis are `closed` meanwhile; else
/// Redis may have kept all that they have missed.
async fn stands_still(what: &str, closed: bool) {
    let (mut nodes, connections) = Processes::start_and_tell_the_last(3, &SETTINGS);
    let users = Load::users(3, 3);
    for user in users.iter().map(String::as_str).chain(["reader"]) {
        nodes.max.talks_in(user, &CONVERSATIONS);
    }
    let load = Load::start(&nodes.addrs, &[0, 1, 2], &CONVERSATIONS).await;
    load.goes_on_for(TALKS).await;
    signal(&nodes.nodes[2].child, "STOP");
    for listener in &load.listeners[..2] {
        for id in CONVERSATIONS {
            listener.hears(&left(id, "listener2")).await;
            listener.hears(&left(id, "talker2")).await;
            listener.hears(&missed(id)).await;
        }
    }
    for id in connections.iter().flatten().filter(|_| closed) {
        nodes.redis.command(&["CLIENT", "KILL", "ID", id]);
    }
    load.goes_on_for(TALKS).await;
    signal(&nodes.nodes[2].child, "CONT");
    for listener in &load.listeners[..2] {
        for id in CONVERSATIONS {
            listener.hears(&joined(id, "listener2")).await;
            listener.hears(&joined(id, "talker2")).await;
        }
    }
    if closed {
        load.listeners[2].hears(&event("missed", r#"{"ongoing":false}"#.to_owned())).await;
    }
    load.goes_on_for(TALKS).await;
    all_show(&nodes.addrs, &[], &[]).await;
    for (node, times) in [(0, 1), (1, 1), (2, 0)] {
        for id in CONVERSATIONS {
            let comes = load.listeners[node].times(&joined(id, "talker2"));
            let goes = load.listeners[node].times(&left(id, "talker2"));
            // `talker2` comes for the first time after all listeners have joined.
            assert_eq!((comes, goes), (times + 1, times), "node {node}, {id}");
            for user in ["talker0", "talker1", "listener0", "listener1"] {
                assert_eq!(load.listeners[node].times(&left(id, user)), 0, "node {node}: {user} has not left");
            }
        }
    }
    load.finish(what).await;
    nodes.nodes.clear();
}

#[test]
fn a_node_that_stands_still_is_missed_and_comes_back() {
    run(stands_still("one of three nodes stopped and continued", false));
}

#[test]
fn a_node_that_stands_still_loses_its_connections_and_comes_back() {
    run(stands_still("the same, and its connections are closed", true));
}
