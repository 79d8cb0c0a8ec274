//! A real Redis Cluster: masters with a third of the slots each, and what operators do to them.

use std::net::TcpListener;

use super::certificates::Certificates;
use super::redis_server::RedisServer;
use super::until;

/// The slots of a Cluster.
const SLOTS: usize = 16_384;

/// A Redis Cluster.
pub struct RedisCluster {
    /// Its members: first the masters.
    pub servers: Vec<RedisServer>,
    ports: Vec<u16>,
    certificates: Option<Certificates>,
}

impl RedisCluster {
    /// Starts three masters, and waits until each knows the slots of all.
    pub fn start() -> Self {
        Self::begin(None)
    }

    /// As [`Self::start`]. All connections are encrypted, and each side shows these certificates.
    pub fn encrypted(certificates: Certificates) -> Self {
        Self::begin(Some(certificates))
    }

    fn begin(certificates: Option<Certificates>) -> Self {
        let mut cluster = Self { servers: Vec::new(), ports: Vec::new(), certificates };
        for place in 0..3 {
            let added = cluster.add();
            let [first, last] = [place, place + 1].map(|at| at * SLOTS / 3);
            cluster.servers[added].command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(last - 1).to_string()]);
        }
        cluster.wait_known();
        cluster
    }

    /// Starts one more member, which has no slots.
    pub fn add(&mut self) -> usize {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, bus) = (free(), free());
        let [port, bus] = [port, bus].map(|listener| listener.local_addr().unwrap().port());
        let port_text = port.to_string();
        let listens = match &self.certificates {
            None => vec!["--port", &port_text],
            Some(certificates) => {
                [&certificates.redis_options()[..], &["--port", "0", "--tls-cluster", "yes", "--tls-port", &port_text]]
                    .concat()
            }
        };
        let options = [
            "--bind",
            "127.0.0.1",
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus.to_string(),
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
            // A master without slots stays one.
            "--cluster-allow-replica-migration",
            "no",
        ];
        self.servers.push(RedisServer::with(&[&listens[..], &options].concat()));
        self.ports.push(port);
        let added = self.servers.len() - 1;
        if added > 0 {
            let [port, bus] = [port, bus].map(|port| port.to_string());
            self.servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        added
    }

    /// Waits until all members know all others, and that all slots are served.
    pub fn wait_known(&self) {
        for server in &self.servers {
            until("the members know one another", || {
                let info = server.text(&["CLUSTER", "INFO"]);
                let has = |line: String| info.lines().any(|found| found == line);
                let knows = has(format!("cluster_known_nodes:{}", self.servers.len()));
                let nodes = server.text(&["CLUSTER", "NODES"]);
                let is_joined = !nodes.contains("handshake") && !nodes.contains("disconnected");
                (knows && has("cluster_slots_ok:16384".into()) && is_joined).then_some(())
            });
        }
    }

    /// The URL of the Cluster, with all members.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let scheme = if self.certificates.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+cluster://{}", hosts.join(","))
    }

    /// The URL of one member.
    pub fn url_of(&self, member: usize) -> String {
        format!("redis://127.0.0.1:{}", self.ports[member])
    }

    /// The slot of a channel, as Redis says it.
    pub fn slot(&self, channel: &str) -> String {
        match self.servers[0].command(&["CLUSTER", "KEYSLOT", channel]) {
            redis::Value::Int(slot) => slot.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The master of a channel, as it stands in the thirds at the start.
    pub fn third(&self, channel: &str) -> usize {
        let slot: usize = self.slot(channel).parse().unwrap();
        (0..3).find(|place| slot < (place + 1) * SLOTS / 3).unwrap()
    }

    /// Moves a slot as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: &str, from: usize, to: usize) {
        let [source, target] = [from, to].map(|member| self.id(member));
        self.servers[to].command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &source]);
        self.servers[from].command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &target]);
        self.servers[to].command(&["CLUSTER", "SETSLOT", slot, "NODE", &target]);
        self.servers[from].command(&["CLUSTER", "SETSLOT", slot, "NODE", &target]);
    }

    /// Makes a member the replica of a master, and waits until the master has it.
    pub fn replicate(&self, replica: usize, master: usize) {
        self.servers[replica].command(&["CLUSTER", "REPLICATE", &self.id(master)]);
        until("the replica is connected", || {
            let role = self.servers[replica].text(&["INFO", "replication"]);
            role.contains("master_link_status:up").then_some(())
        });
        let id = self.id(replica);
        for server in &self.servers {
            until("all know the replica", || {
                let nodes = server.text(&["CLUSTER", "NODES"]);
                nodes.lines().any(|line| line.contains(&id) && line.contains("slave")).then_some(())
            });
        }
    }

    fn id(&self, member: usize) -> String {
        self.servers[member].text(&["CLUSTER", "MYID"])
    }
}
