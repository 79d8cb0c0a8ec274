//! The other nodes, the bus to them, and the feed of MAX: `/api/v1/cluster`.

use std::time::Instant;

use actix_web::web::{Data, Json};

use super::model::cluster::{BusServer, Cluster, FeedServer, PeerNode};
use super::refusals::Refusals;
use super::state::Admin;
use crate::cluster::bus::{Bus, PeerStatus, ShardStatus, Status};
use crate::feed::service::Feed;

/// The other nodes of the cluster, the servers of the bus to them, and the RabbitMQ in which MAX announces.
#[utoipa::path(get, path = "/api/v1/cluster", responses((status = 200, body = Cluster), Refusals))]
pub async fn show(admin: Data<Admin>) -> Json<Cluster> {
    Json(of(&admin))
}

/// Returns the cluster as this node sees it now.
pub fn of(admin: &Admin) -> Cluster {
    let now = Instant::now();
    let cluster = admin.bus.as_ref().map(|bus| seen(bus, now)).unwrap_or_default();
    Cluster { feed: admin.feed.as_ref().map(|feed| feed_of(feed, now)), ..cluster }
}

fn seen(bus: &Bus, now: Instant) -> Cluster {
    Cluster {
        node: Some(bus.node().to_string()),
        name: Some(bus.name().to_owned()),
        up: bus.status() == Status::Up,
        servers: bus.shards().into_iter().map(|shard| server(shard, now)).collect(),
        peers: bus.peers().into_iter().map(|peer| node(peer, now)).collect(),
        feed: None,
    }
}

fn feed_of(feed: &Feed, now: Instant) -> FeedServer {
    let (down_ms, reason) = down(feed.status(), now);
    FeedServer { url: feed.url(), up: down_ms.is_none(), down_ms, reason }
}

/// Returns how long something has been down, and why.
fn down(status: Status, now: Instant) -> (Option<u64>, Option<String>) {
    match status {
        Status::Up => (None, None),
        Status::Down { since, why } => (Some(ms(now, since)), Some(why.to_string())),
    }
}

fn server(shard: ShardStatus, now: Instant) -> BusServer {
    let ShardStatus { url, status, wanted, subscribed, waiting, lag } = shard;
    let (down_ms, reason) = down(status, now);
    let lag_ms = lag.map(|lag| lag.as_secs_f64() * 1000.0);
    BusServer { url: url.to_string(), up: down_ms.is_none(), down_ms, reason, wanted, subscribed, waiting, lag_ms }
}

fn node(peer: PeerStatus, now: Instant) -> PeerNode {
    PeerNode {
        node: peer.node.to_string(),
        name: peer.name.to_string(),
        version: peer.version.to_string(),
        tag: peer.tag.to_string(),
        sessions: peer.census.sessions,
        conversations: peer.census.conversations,
        heard_ms: ms(now, peer.heard),
        silent: peer.is_silent,
    }
}

fn ms(now: Instant, since: Instant) -> u64 {
    now.saturating_duration_since(since).as_millis().try_into().unwrap_or(u64::MAX)
}
