//! The servers that are started for the runs: one, or the nodes of a cluster with a Redis between them.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::child::{Child, ChildError, Set};
use super::redis::{Redis, RedisError};
use super::scrape::Scraper;
use crate::config::Demo;

/// The other nodes that a node hears.
const PEERS: &str = "maxtalk_bus_peers";
/// Whether the Redis is up for a node.
const UP: &str = "maxtalk_bus_up";
/// How long the nodes may take until all hear one another. By default they say who they are every two seconds.
const ACQUAINTANCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval at which they are asked.
const POLL: Duration = Duration::from_millis(50);
/// Settings of another Redis than that of the bench, which must not come from the environment.
const OF_ANOTHER_REDIS: [&str; 4] =
    ["cluster.password_file", "cluster.ca_file", "cluster.certificate_file", "cluster.key_file"];

/// Servers of this program. They stop on drop, the nodes before their Redis.
#[derive(Debug)]
pub struct Servers {
    nodes: Vec<Child>,
    redis: Option<Redis>,
}

/// Why there are no servers, or not all of them any more.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// The only server failed.
    #[error(transparent)]
    Server(#[from] ChildError),
    /// A node failed.
    #[error("node {number}: {cause}")]
    Node {
        /// Its number, from 1.
        number: usize,
        /// How it failed.
        #[source]
        cause: ChildError,
    },
    /// The Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The nodes do not become a cluster.
    #[error(
        "the nodes do not hear one another: after {} s, node {number} hears {heard} of {others} others",
        .after.as_secs()
    )]
    Strangers {
        /// The number of a node, from 1.
        number: usize,
        /// The number of nodes that it hears.
        heard: usize,
        /// The number of nodes that it should hear.
        others: usize,
        /// How long they had.
        after: Duration,
    },
}

impl ServersError {
    /// Returns the failure in a few words, without the log.
    pub fn kind(&self) -> String {
        let kind = match self {
            Self::Server(ChildError::Over { how, .. }) => how.to_string(),
            Self::Node { number, cause: ChildError::Over { how, .. } } => format!("node {number}: {how}"),
            other => other.to_string(),
        };
        kind.lines().next().unwrap_or_default().trim_end_matches("; its last words:").to_owned()
    }
}

impl Servers {
    /// Starts this many servers with these settings, whose demo MAX has these people. Several become one cluster, and
    /// have all heard one another when this returns.
    ///
    /// # Errors
    /// A server does not start, there is no Redis, or the servers do not become a cluster.
    pub fn start(number: usize, demo: &Demo, settings: &[Set]) -> Result<Self, ServersError> {
        if number <= 1 {
            return Ok(Self { nodes: vec![Child::spawn(demo, settings)?], redis: None });
        }
        let redis = Redis::start()?;
        let mut servers = Self { nodes: Vec::new(), redis: None };
        for number in 1..=number {
            let mut settings = settings.to_vec();
            settings.extend([("cluster.url", redis.url()), ("cluster.node", format!("node {number}"))]);
            settings.extend(OF_ANOTHER_REDIS.map(|key| (key, String::new())));
            let node = Child::spawn(demo, &settings).map_err(|cause| ServersError::Node { number, cause })?;
            servers.nodes.push(node);
        }
        servers.redis = Some(redis);
        servers.become_acquainted()?;
        Ok(servers)
    }

    /// Waits until each node hears all others.
    fn become_acquainted(&mut self) -> Result<(), ServersError> {
        let others = self.nodes.len() - 1;
        let deadline = Instant::now() + ACQUAINTANCE_TIMEOUT;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let number = at + 1;
            loop {
                // A node that does not answer for a moment is asked again.
                let (is_up, heard) = hears(node).unwrap_or_default();
                if is_up && heard == others {
                    break;
                }
                if let Some(cause) = node.ended() {
                    return Err(ServersError::Node { number, cause });
                }
                if Instant::now() > deadline {
                    let after = ACQUAINTANCE_TIMEOUT;
                    return Err(ServersError::Strangers { number, heard, others, after });
                }
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Returns their URLs.
    ///
    /// # Errors
    /// An address is not a URL.
    pub fn urls(&self) -> Result<Vec<Url>, url::ParseError> {
        self.nodes.iter().map(|node| Url::parse(&node.url())).collect()
    }

    /// Returns their process ids.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Child::pid).collect()
    }

    /// Returns the Redis between them, if they are several.
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// Returns the metrics of all of them. Empty if those of one cannot be read.
    pub fn metrics(&self) -> Vec<Scraper> {
        self.nodes.iter().map(Child::metrics).collect::<Option<_>>().unwrap_or_default()
    }

    /// Returns the settings that they inherit from the environment of this process, as `key = value`, with secrets
    /// hidden.
    pub fn chosen(&self) -> &[String] {
        self.nodes.first().map_or(&[], Child::chosen)
    }

    /// Stops them, as a drop does. Returns the failures of those that had ended before, or failed at their end.
    pub fn stop(self) -> Vec<ServersError> {
        let is_alone = self.redis.is_none();
        let stopped =
            self.nodes.into_iter().enumerate().filter_map(|(at, node)| node.stop().err().map(|cause| (at, cause)));
        let mut failures = stopped
            .map(|(at, cause)| match is_alone {
                true => ServersError::Server(cause),
                false => ServersError::Node { number: at + 1, cause },
            })
            .collect::<Vec<_>>();
        failures.extend(self.redis.and_then(|redis| redis.stop().err()).map(ServersError::Redis));
        failures
    }
}

/// Returns whether the Redis is up for a node, and the number of other nodes that it hears.
fn hears(node: &Child) -> io::Result<(bool, usize)> {
    let metrics = node.metrics().ok_or(io::ErrorKind::NotFound)?.read()?;
    let total = |name: &str| metrics.total(name).unwrap_or(0.0);
    Ok((total(UP) > 0.0, total(PEERS) as usize))
}
