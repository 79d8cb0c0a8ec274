//! The figures of a run over several nodes: deliveries within a node and between nodes, and what each process used.

use std::time::Duration;

use super::{Latency, Memory};

/// A run over several nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Corrected latency of deliveries whose talker is on the node of the member.
    pub local: Latency,
    /// Corrected latency of deliveries whose talker is on another node.
    pub remote: Latency,
    /// The nodes, in the order in which they were named or started.
    pub nodes: Vec<Node>,
    /// What the Redis between them used, if the bench started it.
    pub redis: Option<Used>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its URL.
    pub url: String,
    /// Number of connections that the plan gives it.
    pub connections: u64,
    /// What its process used, if it is on this machine and known.
    pub used: Option<Used>,
}

/// Resources that one process used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// User and system time within the measured time.
    pub cpu: Duration,
    /// The same per delivery of the whole run, in µs, so that the processes add up. Not finite without deliveries.
    pub cpu_per_delivery: f64,
    /// The same per delivery between nodes, in µs. Not finite without such deliveries.
    pub cpu_per_remote: f64,
    /// Its memory. `None` if it has made earlier runs.
    pub memory: Option<Memory>,
}

impl Used {
    /// Returns the figures of a process that is not known: none of them is finite, and there is no memory.
    pub fn unknown() -> Self {
        Self { cpu_per_delivery: f64::NAN, cpu_per_remote: f64::NAN, ..Self::default() }
    }

    /// Returns what two processes used together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let add = |a: Memory, b: Memory| Memory {
            before: a.before + b.before,
            joined: a.joined + b.joined,
            peak: a.peak + b.peak,
        };
        Self {
            cpu: self.cpu + other.cpu,
            cpu_per_delivery: self.cpu_per_delivery + other.cpu_per_delivery,
            cpu_per_remote: self.cpu_per_remote + other.cpu_per_remote,
            memory: self.memory.zip(other.memory).map(|(a, b)| add(a, b)),
        }
    }
}

impl Cluster {
    /// Returns how much longer a delivery between nodes takes than one within a node at this percentile, in µs. It may
    /// be less by chance. `None` if there were none of either kind.
    pub fn extra_us(&self, percentile: f64) -> Option<i64> {
        let (local, remote) = (self.local.at(percentile)?, self.remote.at(percentile)?);
        Some(remote as i64 - local as i64)
    }

    /// Returns what all processes used together. `None` unless those of all nodes are known.
    pub fn used(&self) -> Option<Used> {
        let nodes = self.nodes.iter().map(|node| node.used).collect::<Option<Vec<_>>>()?;
        nodes.into_iter().chain(self.redis).reduce(Used::plus)
    }

    /// Whether talks were heard within nodes only, so that the servers do not seem to be nodes of one cluster.
    pub fn is_divided(&self) -> bool {
        self.local.count > 0 && self.remote.count == 0
    }

    /// Drops the memory figures, which say nothing about a run that is not the first one.
    pub(in crate::bench) fn forget_memory(&mut self) {
        let used = self.nodes.iter_mut().filter_map(|node| node.used.as_mut());
        used.chain(&mut self.redis).for_each(|used| used.memory = None);
    }
}
