//! Reads the slots of a Redis Cluster and their masters from one of its members.

use redis::Value;

use super::connect::{self, Credentials, Server};
use super::fault::{self, Fault, Patterns};
use crate::cluster::address::{Address, Host, Place};
use crate::cluster::link::ANSWER_MAX;
use crate::cluster::settings::Settings;
use crate::cluster::slots::Topology;

const COMMAND: &str = "CLUSTER SLOTS";
const EPOCH_COMMAND: &str = "CLUSTER INFO";

/// The topology as one member sees it, with its epoch: it is higher after each change, so that of two members the one
/// with the higher epoch knows better.
#[derive(Debug)]
pub(super) struct Seen {
    /// The topology.
    pub topology: Topology,
    /// The epoch.
    pub epoch: u64,
}

/// Asks these members one after the other until one answers that is not behind this epoch. If all are, the one with the
/// highest counts: the Cluster may be another one.
pub(super) async fn read(
    hosts: &[Host],
    credentials: &Credentials,
    patterns: &Patterns,
    epoch: u64,
) -> Result<Seen, Fault> {
    let (mut faults, mut best) = (Vec::new(), None::<Seen>);
    for host in hosts {
        match tokio::time::timeout(ANSWER_MAX / 2, ask(host, credentials, patterns)).await {
            Ok(Ok(seen)) if seen.epoch >= epoch => return Ok(seen),
            Ok(Ok(seen)) => best = best.filter(|best| best.epoch >= seen.epoch).or(Some(seen)),
            Ok(Err(fault)) => faults.push(format!("{host}: {fault}")),
            Err(_) => faults.push(format!("{host} does not answer")),
        }
    }
    best.ok_or_else(|| {
        format!("no member of the Redis Cluster could be asked for its slots: {}", faults.join("; ")).into()
    })
}

/// Returns the server at an address: that of a Redis Cluster is one of its masters. What is published at one member
/// reaches all; that all nodes take the same one spares a way on which it may be lost.
pub(super) async fn resolve(
    address: &Address,
    settings: &Settings,
    credentials: &Credentials,
    patterns: &Patterns,
) -> Result<Server, Fault> {
    let Place::Cluster(hosts) = &address.place else {
        return connect::resolve(address, settings, credentials, patterns).await;
    };
    let topology = read(hosts, credentials, patterns, 0).await?.topology;
    let first = topology.owner(0).or_else(|| topology.masters.first()).cloned();
    first.map(Server::Tcp).ok_or_else(|| "the Redis Cluster has no master".into())
}

async fn ask(host: &Host, credentials: &Credentials, patterns: &Patterns) -> Result<Seen, Fault> {
    let mut connection = connect::connect(&Server::Tcp(host.clone()), credentials, patterns, None).await?;
    let mut answers = Vec::new();
    // The epoch first: the slots are then at least as new.
    for (command, word) in [(EPOCH_COMMAND, "INFO"), (COMMAND, "SLOTS")] {
        let mut asked = redis::cmd("CLUSTER");
        asked.arg(word);
        let answer = connection.redis.send_packed_command(&asked).await.and_then(Value::extract_error);
        answers.push(answer.map_err(|error| fault::command(command, patterns, &error))?);
    }
    Ok(Seen { epoch: epoch(&answers[0]), topology: topology(host, &answers[1])? })
}

/// Reads the epoch of a member. 0 if it tells none.
fn epoch(info: &Value) -> u64 {
    let text = match info {
        Value::VerbatimString { text, .. } => Some(text.clone()),
        other => connect::text(other),
    };
    let line = text.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    line.and_then(|epoch| epoch.trim().parse().ok()).unwrap_or(0)
}

/// Reads the answer of a member. A member that does not know its own name leaves it out.
fn topology(asked: &Host, answer: &Value) -> Result<Topology, Fault> {
    let wrong = || Fault::from(format!("{COMMAND} was answered by something else than slots"));
    let Value::Array(ranges) = answer else { return Err(wrong()) };
    if ranges.is_empty() {
        return Err("no master has a slot: is the Redis Cluster created?".into());
    }
    let range = |range: &Value| match range {
        Value::Array(parts) => match &parts[..] {
            [Value::Int(first), Value::Int(last), Value::Array(master), ..] => {
                let name = master.first().and_then(connect::text).filter(|name| !name.is_empty() && name != "?");
                let port = connect::text(master.get(1)?)?.parse().ok()?;
                let host = Host { name: name.unwrap_or_else(|| asked.name.clone()), port };
                Some((u64::try_from(*first).ok()?, u64::try_from(*last).ok()?, host))
            }
            _ => None,
        },
        _ => None,
    };
    let ranges = ranges.iter().map(range).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    Topology::of(ranges).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    fn range(first: i64, last: i64, name: Value, port: i64) -> Value {
        let master = Value::Array(vec![name, Value::Int(port), Value::BulkString(b"id".into()), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master.clone(), master])
    }

    #[test]
    fn the_epoch_of_a_member_is_read() {
        let info = "cluster_state:ok\r\ncluster_current_epoch:17\r\ncluster_my_epoch:3\r\n";
        let verbatim = Value::VerbatimString { format: redis::VerbatimFormat::Text, text: info.into() };
        assert_eq!([verbatim, Value::BulkString(info.into()), Value::Nil].map(|info| epoch(&info)), [17, 17, 0]);
    }

    #[test]
    fn the_answer_of_a_member_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().into());
        let answer = vec![
            range(0, 99, text("10.0.0.1"), 7000),
            range(100, 16_383, Value::Nil, 7001),
            range(50, 50, text("?"), 7001),
            range(51, 51, text(""), 7001),
        ];
        let read = topology(&host("asked", 1), &Value::Array(answer)).unwrap();
        assert_eq!(read.masters, [host("10.0.0.1", 7000), host("asked", 7001)]);
        assert_eq!(
            [49, 50, 51, 100].map(|slot| read.owner(slot).map(|host| host.port)),
            [7000, 7001, 7001, 7001].map(Some)
        );
        let fault = |answer| topology(&host("asked", 1), &answer).unwrap_err().to_string();
        assert!(fault(Value::Array(Vec::new())).contains("no master has a slot"));
        for wrong in [Value::Nil, Value::Array(vec![Value::Nil]), Value::Array(vec![range(0, 16_384, Value::Nil, 1)])] {
            assert!(fault(wrong).contains("something else than slots"));
        }
    }
}
