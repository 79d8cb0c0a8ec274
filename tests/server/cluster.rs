//! Several nodes as one service, on a real Redis. Each node is a server of its own in this process, and all have the
//! same rules of MAX.

use std::time::Duration;

use crate::support;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, learns};
use crate::support::heard::{Heard, event, join_of, joined, left, listening, people, update};
use crate::support::kind::{Generation, Kind};
use crate::support::process::signal;
use crate::support::{run, within};

/// Returns the message of an update, or `None` for another event.
fn message_of(heard: &Heard) -> Option<u64> {
    let Heard::Event(name, argument) = heard else { return None };
    let argument: serde_json::Value = serde_json::from_str(argument).unwrap();
    (name == "update").then(|| argument["messageID"].as_str().unwrap().parse().unwrap())
}

fn is_over(heard: &Heard) -> bool {
    *heard == event("missed", r#"{"ongoing":false}"#.to_owned())
}

/// The matrix: each release and transport talks on one node, and each hears on another.
#[test]
fn clients_of_all_releases_hear_one_another_across_nodes() {
    run(async {
        let cluster = Cluster::start(3, "").await;
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let conversation = format!("c{at}");
            cluster.talk_in(&["messi", "xavi", "iker"], &[&conversation]);
            let other = Kind::ALL[(at + 7) % Kind::ALL.len()];
            let mut messi = cluster.join(0, kind, "messi", &[&conversation]).await;
            let mut xavi = cluster.join(1, other, "xavi", &[&conversation]).await;
            messi.hears(&[joined(&conversation, "xavi")]).await;
            let mut iker = cluster.join(2, Kind::WebSocket, "iker", &[&conversation]).await;
            messi.hears(&[joined(&conversation, "iker")]).await;
            xavi.hears(&[joined(&conversation, "iker")]).await;
            messi.emit("talk", &support::heard::talk_of(&conversation, "1")).await;
            xavi.hears(&[update("messi", &conversation, "1")]).await;
            iker.hears(&[update("messi", &conversation, "1")]).await;
            xavi.emit("talk", &support::heard::talk_of(&conversation, "2")).await;
            messi.hears(&[update("xavi", &conversation, "2")]).await;
            iker.hears(&[update("xavi", &conversation, "2")]).await;
            learns(&mut iker, &conversation, &["iker", "messi", "xavi"]).await;
            xavi.close().await;
            messi.hears_at_last(&left(&conversation, "xavi")).await;
            iker.hears_at_last(&left(&conversation, "xavi")).await;
        }
    });
}

/// A back end may name the client that has caused its news: by `socket.id`, whatever the release of the client.
#[test]
fn an_update_of_a_back_end_leaves_out_the_socket_that_it_names() {
    run(async {
        let cluster = Cluster::start(1, "cluster.python_channel = \"socketio\"").await;
        let announce = |conversation: &str, message: &str, except: &str| {
            let data = serde_json::json!([{ "username": "iker", "conversation": conversation, "messageID": message }]);
            let order = serde_json::json!({ "method": "emit", "event": "update", "data": data, "namespace": "/max",
                "room": conversation, "skip_sid": except });
            cluster.redis.command(&["PUBLISH", "socketio", &order.to_string()]);
        };
        let said = |conversation: &str, message: &str| {
            let text = format!(r#"{{"username":"iker","conversation":"{conversation}","messageID":"{message}"}}"#);
            event("update", text)
        };
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let conversation = format!("c{at}");
            cluster.talk_in(&["messi", "xavi"], &[&conversation]);
            let mut messi = cluster.join(0, kind, "messi", &[&conversation]).await;
            let mut xavi = cluster.join(0, Kind::WebSocket, "xavi", &[&conversation]).await;
            messi.hears(&[joined(&conversation, "xavi")]).await;
            announce(&conversation, "1", &messi.socket_id);
            announce(&conversation, "2", &xavi.socket_id);
            xavi.hears(&[said(&conversation, "1")]).await;
            messi.hears(&[said(&conversation, "2")]).await;
            messi.hears_nothing().await;
            xavi.hears_nothing().await;
        }
    });
}

/// A user with sessions on two nodes comes once and goes once.
#[test]
fn a_user_on_two_nodes_comes_once_and_goes_once() {
    run(async {
        let cluster = Cluster::start(2, "").await;
        cluster.talk_in(&["messi", "xavi", "iker"], &["c"]);
        let mut messi = cluster.join(0, Kind::WebSocket, "messi", &["c"]).await;
        let phone = cluster.join(0, Kind::WebSocket, "xavi", &["c"]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        let laptop = cluster.join(1, Kind::WebSocket, "xavi", &["c"]).await;
        // What a node says of a conversation arrives in its order, so messi's node knows of the laptop when iker comes.
        let iker = cluster.join(1, Kind::WebSocket, "iker", &["c"]).await;
        messi.hears(&[joined("c", "iker")]).await;
        iker.close().await;
        messi.hears(&[left("c", "iker")]).await;
        phone.close().await;
        let mut watcher = cluster.join(1, Kind::WebSocket, "messi", &["c"]).await;
        learns(&mut watcher, "c", &["messi", "xavi"]).await;
        messi.hears_nothing().await;
        laptop.close().await;
        messi.hears(&[left("c", "xavi")]).await;
        watcher.hears(&[left("c", "xavi")]).await;
    });
}

/// A node that is stopped as by a rolling restart: its users come back elsewhere, and nobody hears that they have gone.
#[test]
fn a_planned_restart_makes_nobody_leave_who_comes_back() {
    run(async {
        let cluster = Cluster::start(2, "cluster.bye_grace_ms = 60000").await;
        cluster.talk_in(&["messi", "xavi"], &["c"]);
        let mut messi = cluster.join(0, Kind::WebSocket, "messi", &["c"]).await;
        let mut xavi = cluster.join(1, Kind::WebSocket, "xavi", &["c"]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        cluster.nodes[1].stop();
        xavi.end().await;
        let mut again = cluster.join(0, Kind::WebSocket, "xavi", &["c"]).await;
        again.emit("talk", &support::heard::talk_of("c", "1")).await;
        messi.hears(&[update("xavi", "c", "1")]).await;
        messi.hears_nothing().await;
    });
}

/// Talks of one node while Redis goes and comes: each reaches the listener on the other node in its order, or the
/// listener is told afterwards that it may have missed it.
async fn account_for_talks(fault: impl AsyncFnOnce(&mut Cluster)) {
    const TALKS: u64 = 400;
    let mut cluster = Cluster::start(2, "").await;
    cluster.talk_in(&["messi", "xavi"], &["c"]);
    let mut xavi = cluster.join(1, Kind::WebSocket, "xavi", &["c"]).await;
    let messi = cluster.join(0, Kind::WebSocket, "messi", &["c"]).await;
    xavi.hears(&[joined("c", "messi")]).await;
    let talking = tokio::spawn(async move {
        let mut messi = messi;
        for message in 0..TALKS {
            messi.emit("talk", &support::heard::talk_of("c", &message.to_string())).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        messi
    });
    while message_of(&xavi.hear().await).is_none() {}
    fault(&mut cluster).await;
    let mut messi = within("all is said", talking).await.unwrap();
    // The cluster is whole again when a talk goes through.
    cluster.is_up().await;
    let mut heard = Vec::new();
    let mut last = TALKS;
    messi.emit("talk", &support::heard::talk_of("c", &last.to_string())).await;
    // The part of the log before the last talk was heard.
    let end = loop {
        match tokio::time::timeout(Duration::from_secs(1), xavi.hear()).await {
            Ok(event) => {
                heard.push(event.clone());
                if message_of(&event) == Some(last) {
                    break last;
                }
            }
            Err(_) => {
                last += 1;
                messi.emit("talk", &support::heard::talk_of("c", &last.to_string())).await;
            }
        }
    };
    let messages: Vec<_> = heard.iter().filter_map(message_of).collect();
    assert!(messages.is_sorted_by(|a, b| a < b), "in order and once: {messages:?}");
    let told = heard.iter().rposition(|event| matches!(event, Heard::Event(name, _) if name == "missed"));
    let covered = told.map_or(0, |at| heard[at..].iter().find_map(message_of).unwrap_or(end));
    let lost: Vec<_> = (messages[0]..end).filter(|message| !messages.contains(message)).collect();
    assert!(
        lost.iter().all(|message| *message < covered),
        "lost in silence: {lost:?}, told up to {covered}: {heard:?}"
    );
    println!("{} of {TALKS} heard, {} lost and told of", messages.len(), lost.len());
}

#[test]
fn a_redis_that_is_killed_and_comes_back_empty_loses_nothing_in_silence() {
    run(account_for_talks(async |cluster| {
        cluster.redis.kill();
        for node in &cluster.nodes {
            node.until("the bus is away", |now| now.sum("maxtalk_bus_up", "") == 0.0).await;
        }
        cluster.redis.restart();
    }));
}

#[test]
fn connections_that_redis_kills_lose_nothing_in_silence() {
    run(account_for_talks(async |cluster| {
        for kind in ["normal", "pubsub"] {
            cluster.redis.command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
            cluster.is_up().await;
        }
    }));
}

#[test]
fn a_redis_that_pauses_loses_nothing() {
    run(account_for_talks(async |cluster| {
        cluster.redis.command(&["CLIENT", "PAUSE", "200", "ALL"]);
    }));
}

/// Local service goes on without Redis. The sessions are told once that the others may be missing, and once that all
/// are back.
#[test]
fn without_redis_local_members_hear_at_once() {
    run(async {
        let mut cluster = Cluster::start(2, "").await;
        let conversations: Vec<_> = (0..20).map(|at| format!("c{at}")).collect();
        let conversations: Vec<_> = conversations.iter().map(String::as_str).collect();
        cluster.talk_in(&["messi", "xavi"], &conversations);
        let mut messi = cluster.join(0, Kind::WebSocket, "messi", &conversations).await;
        cluster.redis.kill();
        messi.hears(&[event("missed", r#"{"ongoing":true}"#.to_owned())]).await;
        let mut xavi = Client::connect(cluster.nodes[0].addr, Kind::V2WebSocket, "").await;
        xavi.emit("join", &join_of("xavi")).await;
        xavi.hears_at_last(&listening(&conversations)).await;
        let mut came = Vec::new();
        for _ in &conversations {
            came.push(messi.hear().await);
        }
        for conversation in &conversations {
            assert!(came.contains(&joined(conversation, "xavi")), "{conversation}: {came:?}");
        }
        xavi.emit("talk", &support::heard::talk_of("c3", "1")).await;
        messi.hears(&[update("xavi", "c3", "1")]).await;
        xavi.emit("ask", "\"c3\"").await;
        let partial = r#"{"conversation":"c3","inroom":2,"people":["messi","xavi"],"partial":true}"#;
        xavi.hears_at_last(&event("people", partial.to_owned())).await;
        cluster.redis.restart();
        messi.hears(&[event("missed", r#"{"ongoing":false}"#.to_owned())]).await;
        messi.hears_nothing().await;
        while !is_over(&xavi.hear().await) {}
        xavi.hears_nothing().await;
    });
}

/// A node that is killed: its users go after the silence, and those who were with them are told that they may have
/// missed something. A restart of it is another node.
#[test]
fn the_users_of_a_node_that_is_killed_leave() {
    run(async {
        let cluster = Cluster::start(1, "").await;
        cluster.talk_in(&["messi", "xavi"], &["c"]);
        let mut messi = cluster.join(0, Kind::WebSocket, "messi", &["c"]).await;
        let mut node = cluster.process();
        let addr = node.addr();
        let mut xavi = Client::connect(addr, Kind::of(Generation::Eio3)[0], "").await;
        xavi.emit("join", &join_of("xavi")).await;
        xavi.hears(&[listening(&["c"])]).await;
        messi.hears(&[joined("c", "xavi")]).await;
        signal(&node.child, "KILL");
        xavi.end().await;
        let missed = event("missed", r#"{"conversations":["c"],"ongoing":false}"#.to_owned());
        messi.hears(&[left("c", "xavi"), missed]).await;
        messi.emit("ask", "\"c\"").await;
        messi.hears(&[people("c", &["messi"])]).await;
    });
}
