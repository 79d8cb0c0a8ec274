//! The states of a cluster, and of the feed of MAX, that an operator should look at.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, NAMED};
use crate::admin::model::cluster::{BusServer, Cluster, PeerNode};
use crate::admin::model::overview::Level;

/// The time for which Redis or RabbitMQ may be away before it is a warning. At a start, all channels are subscribed in
/// it.
const AWAY_MS: u64 = 2000;

/// The time for which two nodes may have one name, because a node that was replaced is still heard.
const SAME_NAME_MS: u64 = 60_000;

/// The time for which nodes may have different versions, because an update goes from node to node.
const VERSIONS_MS: u64 = 600_000;

/// Returns what is to be seen of a cluster by a node of this version.
pub(super) fn of_cluster(cluster: &Cluster, version: &str) -> Vec<Finding> {
    let mut findings = away(cluster);
    findings.extend(feed_away(cluster));
    let living: Vec<_> = cluster.peers.iter().filter(|peer| !peer.silent).collect();
    findings.extend(same_names(cluster, &living));
    findings.extend(versions(&living, version));
    findings
}

fn away(cluster: &Cluster) -> Vec<Finding> {
    let away = |(number, server): (usize, &BusServer)| {
        let reason = server.reason.clone()?;
        let (url, waiting) = (server.url.clone(), server.waiting);
        let text = move |time: &str| {
            format!(
                "The bus at {url} has been down for {time}: {reason}. News of other nodes does not arrive, and \
                 {waiting} messages to them wait."
            )
        };
        let advice = "Members on this node hear one another. Look at Redis, and at the network between it and this \
                      server; maxtalk check --connect tries all that the bus needs.";
        Some(Finding::lasting(format!("bus_down:{number}"), Level::Critical, AWAY_MS, text, advice))
    };
    cluster.servers.iter().enumerate().filter_map(away).collect()
}

fn feed_away(cluster: &Cluster) -> Option<Finding> {
    let feed = cluster.feed.as_ref()?;
    let (url, reason) = (feed.url.clone(), feed.reason.clone()?);
    let text = move |time: &str| {
        format!("The feed at {url} has been down for {time}: {reason}. What MAX announces there is not heard.")
    };
    let advice = "Talks and the API go on. Look at the RabbitMQ of MAX, and at the network between it and this server; \
                  maxtalk check --connect tries all that the feed needs.";
    Some(Finding::lasting("feed_down", Level::Critical, AWAY_MS, text, advice))
}

fn same_names(cluster: &Cluster, living: &[&PeerNode]) -> Option<Finding> {
    let mut nodes = BTreeMap::<&str, usize>::new();
    for name in living.iter().map(|peer| &*peer.name).chain(cluster.name.as_deref()) {
        *nodes.entry(name).or_default() += usize::from(!name.is_empty());
    }
    let names = nodes.into_iter().filter(|(_, nodes)| *nodes > 1);
    let names = named(names.map(|(name, nodes)| format!("{name} ({nodes} nodes)")))?;
    let text = move |_: &str| format!("Several nodes have one name: {names}.");
    let advice = "People cannot tell them apart. Give each node a cluster.node of its own.";
    Some(Finding::lasting("nodes_same_name", Level::Warning, SAME_NAME_MS, text, advice))
}

fn versions(living: &[&PeerNode], version: &str) -> Option<Finding> {
    let others = living.iter().map(|peer| &*peer.version).filter(|other| !other.is_empty() && *other != version);
    let others = named(others.collect::<BTreeSet<_>>().into_iter().map(str::to_owned))?;
    let version = version.to_owned();
    let text = move |time: &str| {
        format!("For {time}, nodes have run different versions of maxtalk: {version} here, {others} elsewhere.")
    };
    let advice =
        "If no update is under way, find the nodes that were left out: /api/v1/cluster has the version of each.";
    Some(Finding::lasting("nodes_versions", Level::Warning, VERSIONS_MS, text, advice))
}

/// Writes a list. Only the first of many are named.
fn named(all: impl Iterator<Item = String>) -> Option<String> {
    let mut all: Vec<_> = all.collect();
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let list = all.join(", ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(list),
        (false, more) => Some(format!("{list} and {more} more")),
    }
}
