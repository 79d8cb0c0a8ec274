//! News for all conversations of this node, whichever server they belong to: about other nodes, and updates for
//! everybody. The shards of a Redis Cluster share it, and the one that leads tells it. So it outlives each of them, and
//! of two pieces of news about one node the older one is told first.

use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use super::routes::Routes;
use crate::cluster::door::FromBus;
use crate::cluster::nodes::NodeChange;
use crate::cluster::tours::Tours;
use crate::cluster::wire::Everybody;
use crate::event::ConversationId;
use crate::metrics::BusDirection;

/// The updates for everybody that may wait. Each has a list of all conversations.
const EVERYBODY_MAX: usize = 16;

/// The conversations that get an update for everybody in one second.
const EVERYBODY_PER_S: u32 = 50_000;

/// The news that is yet to be told.
#[derive(Debug, Default)]
pub struct News {
    /// News of the bus: about other nodes, and what a shard that is none any more has left.
    of_bus: Tours<FromBus>,
    /// Updates for the members of all conversations.
    everybody: Tours<Everybody>,
    /// The number of the last outage that stands for updates which found no room.
    lost: u64,
}

/// News, and the conversations that are to be told it now.
type Due<N> = Option<(N, Vec<ConversationId>)>;

impl News {
    /// Whether there is something to tell.
    pub fn is_active(&self) -> bool {
        self.of_bus.is_active() || self.everybody.is_active()
    }

    /// Returns what is to be told now: of each kind to at most `most` conversations.
    pub fn due(&mut self, most: usize, now: Instant) -> (Due<FromBus>, Due<Everybody>) {
        (self.of_bus.due(most, now), self.everybody.due(most, now))
    }
}

impl Shard {
    /// Has all conversations told of changes of other nodes.
    pub fn note_nodes(&self, changes: Vec<NodeChange>) {
        for change in changes {
            self.log(&change);
            let news = match change {
                NodeChange::Silent(node) => FromBus::Silent(node),
                NodeChange::Ended(node) => FromBus::Ended(node),
                // A silent node that is heard again before anybody was told of it was never silent.
                NodeChange::Heard(node) if self.news.lock().of_bus.take_back(&FromBus::Silent(node)) => continue,
                NodeChange::Heard(node) => FromBus::Heard(node),
                NodeChange::Doubt(node) => FromBus::Doubt(node),
                NodeChange::New(_) | NodeChange::SameName(..) | NodeChange::SameTag(..) => continue,
            };
            let ids = self.everybody();
            self.news.lock().of_bus.at_rate(news, ids, self.context.settings.resync_per_s);
            self.wake_leader();
        }
    }

    /// Has all conversations given an update. If it finds no room, they are told that they have missed something.
    pub(super) fn note_everybody(&self, everybody: Everybody) {
        let ids = self.everybody();
        let mut locked = self.news.lock();
        let news = &mut *locked;
        if news.everybody.len() < EVERYBODY_MAX {
            news.everybody.at_rate(everybody, ids, EVERYBODY_PER_S);
        } else {
            self.count_dropped(BusDirection::In);
            let over = |number| FromBus::Outage { number, ongoing: false };
            // What nobody was told yet stands for this update too.
            if !news.of_bus.is_to_begin(&over(news.lost)) {
                news.lost = self.context.next_outage();
                news.of_bus.within(over(news.lost), ids, self.context.settings.missed_spread);
            }
        }
        drop(locked);
        self.wake_leader();
    }

    /// Leaves what this shard has not told to those that remain.
    pub fn bequeath(&self, tours: Tours<FromBus>) {
        self.news.lock().of_bus.append(tours);
        self.wake_leader();
    }

    /// The conversations that news of this server, or its outages, may be about.
    pub fn audience(&self) -> Vec<ConversationId> {
        if self.own.lock().has_namespace { self.everybody() } else { self.attached.lock().ids() }
    }

    /// The conversations of this server, and of all others of its Redis Cluster.
    fn everybody(&self) -> Vec<ConversationId> {
        let all =
            |routes: Arc<Routes>| routes.read().shards().iter().flat_map(|shard| shard.attached.lock().ids()).collect();
        self.context.cluster().map_or_else(|| self.attached.lock().ids(), all)
    }

    fn wake_leader(&self) {
        let leader = self.context.cluster().and_then(|routes| routes.read().leader().cloned());
        leader.as_deref().unwrap_or(self).wake.notify_one();
    }

    fn log(&self, change: &NodeChange) {
        let url = self.url();
        match change {
            NodeChange::New(node) => log::info!("node {node} is heard at {url}"),
            NodeChange::Silent(node) => log::warn!("node {node} is not heard any more at {url}"),
            NodeChange::Ended(node) => log::info!("node {node} has ended at {url} as it said"),
            NodeChange::Heard(node) => log::info!("node {node} is heard again at {url}"),
            NodeChange::Doubt(node) => log::warn!("node {node} has lost messages that it cannot name"),
            NodeChange::SameName(node, name) => {
                log::warn!("node {node} has the name `{name}` of another node: give each its own cluster.node")
            }
            NodeChange::SameTag(node, tag) => log::warn!(
                "node {node} has the sid tag `{tag}` of another node, so proxies and clients that come back find only \
                 one of them: give each its own server.sid_tag, or none"
            ),
        }
    }
}
