//! Several nodes on one real Redis: as servers in this process, or as processes of their own.

use std::net::SocketAddr;

use super::client::Client;
use super::fixture::Fixture;
use super::heard::{Heard, join_of, listening, people};
use super::kind::Kind;
use super::max_by_rule::MaxByRule;
use super::process::{Process, maxtalk};
use super::redis_server::RedisServer;
use super::within;

/// Times with which nodes notice soon what happens to others. A node on a busy machine is late with its heartbeats.
pub const QUICK: &str = "
    cluster.heartbeat_ms = 500
    cluster.silent_ms = 4000
    cluster.settle_ms = 50
    cluster.attach_ms = 30000
    cluster.bye_grace_ms = 500
    cluster.tell_after_ms = 200
    cluster.missed_spread_ms = 0
    cluster.reconnect_ms_max = 200
    conversation.linger_ms = 0
";

/// Nodes on one Redis.
pub struct Cluster {
    pub redis: RedisServer,
    pub nodes: Vec<Fixture>,
}

impl Cluster {
    /// Starts nodes with these settings, and waits until all know one another.
    pub async fn start(nodes: usize, settings: &str) -> Self {
        let redis = RedisServer::start();
        let urls = vec![redis.url(); nodes];
        Self::at(redis, &urls, settings).await
    }

    /// Starts a node with these settings for each of these URLs, which lead to one Redis.
    pub async fn at(redis: RedisServer, urls: &[String], settings: &str) -> Self {
        let of_url = |url| format!("{QUICK}\ncluster.url = [{url:?}]\n{settings}");
        let nodes: Vec<_> = urls.iter().map(|url| Fixture::start(&of_url(url))).collect();
        let cluster = Self { redis, nodes };
        cluster.is_up().await;
        cluster
    }

    /// Waits until all nodes are up and hear all others.
    pub async fn is_up(&self) {
        for node in &self.nodes {
            node.until("the bus is up", |now| now.sum("maxtalk_bus_up", "") == 1.0).await;
            let others = (self.nodes.len() - 1) as f64;
            node.until("all are heard", |now| now.sum("maxtalk_bus_peers", "") == others).await;
        }
    }

    /// Waits until these nodes know that Redis is away.
    pub async fn are_down(&self, nodes: &[usize]) {
        for node in nodes {
            self.nodes[*node].until("the bus is away", |now| now.sum("maxtalk_bus_up", "") == 0.0).await;
        }
    }

    /// Waits until each node has made its connections so many times anew.
    pub async fn have_reconnected(&self, times: usize) {
        for node in &self.nodes {
            let is_so = |now: &super::fixture::Scrape| now.sum("maxtalk_bus_reconnects_total", "") >= times as f64;
            node.until("new connections", is_so).await;
        }
        self.is_up().await;
    }

    /// Starts one more node as a process of its own, with the MAX of the first node.
    pub fn process(&self) -> Process {
        process(&self.redis.url(), &self.nodes[0].max.url(), &[])
    }

    /// Puts users into conversations, by the rules of every node.
    pub fn talk_in(&self, users: &[&str], conversations: &[&str]) {
        for node in &self.nodes {
            users.iter().for_each(|user| node.max.talks_in(user, conversations));
        }
    }

    /// Joins at one of the nodes.
    pub async fn join(&self, node: usize, kind: Kind, user: &str, conversations: &[&str]) -> Client {
        join_at(self.nodes[node].addr, kind, user, conversations).await
    }

    /// The addresses of all nodes.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.addr).collect()
    }
}

/// Nodes that are processes of their own, on one Redis.
pub struct Processes {
    pub redis: RedisServer,
    pub max: MaxByRule,
    pub nodes: Vec<Process>,
    pub addrs: Vec<SocketAddr>,
}

impl Processes {
    /// Starts nodes with these settings, and waits until all know one another.
    pub fn start(nodes: usize, settings: &[(&str, &str)]) -> Self {
        Self::start_and_tell_the_last(nodes, settings).0
    }

    /// Does so, and returns the ids of the connections of the last node at Redis: those that publish, and those that
    /// are subscribed.
    pub fn start_and_tell_the_last(nodes: usize, settings: &[(&str, &str)]) -> (Self, [Vec<String>; 2]) {
        let (redis, max) = (RedisServer::start(), MaxByRule::start());
        let start = || process(&redis.url(), &max.url(), settings);
        let mut all: Vec<_> = (1..nodes).map(|_| start()).collect();
        all.iter_mut().for_each(|node| node.says_times(" is up after ", 1));
        let clients = || [false, true].map(|are_subscribed| redis.clients(are_subscribed));
        let before = clients().concat();
        all.push(start());
        all.iter_mut().for_each(|node| node.says_times(" is heard at ", nodes - 1));
        let of_the_last = clients().map(|ids| ids.into_iter().filter(|id| !before.contains(id)).collect());
        let addrs = all.iter_mut().map(Process::addr).collect();
        (Self { redis, max, nodes: all, addrs }, of_the_last)
    }
}

/// Starts a node as a process of its own, with these settings beside those of [`QUICK`].
pub fn process(redis: &str, max: &str, settings: &[(&str, &str)]) -> Process {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0", "--max-url", max]);
    command.env("MAXTALK_CLUSTER__URL", redis);
    let quick = QUICK.lines().filter_map(|line| line.trim().split_once(" = "));
    for (name, value) in quick.chain(settings.iter().copied()) {
        command.env(format!("MAXTALK_{}", name.replace('.', "__").to_uppercase()), value);
    }
    Process::start(command)
}

/// Joins at an address as `user`, who is in `conversations` by the rules of MAX. What another node has just said of a
/// user who came there may arrive meanwhile.
pub async fn join_at(addr: SocketAddr, kind: Kind, user: &str, conversations: &[&str]) -> Client {
    let mut client = Client::connect(addr, kind, "").await;
    client.emit("join", &join_of(user)).await;
    client.hears_at_last(&listening(conversations)).await;
    client
}

/// Asks who is in a conversation until it is these people. A node may answer before it knows all of them, but soon it
/// does.
pub async fn learns(client: &mut Client, conversation: &str, expected: &[&str]) {
    let expected = people(conversation, expected);
    let asking = async {
        loop {
            client.emit("ask", &format!("{conversation:?}")).await;
            let answer = loop {
                match client.hear().await {
                    Heard::Event(name, argument) if name == "people" => break Heard::Event(name, argument),
                    Heard::End(end) => panic!("it ended by {end:?}"),
                    _ => {}
                }
            };
            if answer == expected {
                return;
            }
        }
    };
    within("all are known", asking).await;
}
