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

/// The updates for everybody that may wait, whatever the number of conversations.
const EVERYBODY_MIN: usize = 16;

/// The updates for everybody that may wait.
const EVERYBODY_MAX: usize = 4096;

/// The conversations that have yet to get an update for everybody, summed up over these updates. Each takes 16 bytes.
const IDS_MAX: usize = 1_000_000;

/// The news that is yet to be told.
#[derive(Debug, Default)]
pub struct News {
    /// News of the bus: about other nodes, and what a shard that is none any more has left.
    of_bus: Tours<FromBus>,
    /// Updates for the members of all conversations.
    everybody: Tours<Everybody>,
    /// Whether an update for everybody found no room, and nobody was told so.
    has_lost: bool,
}

/// News, and the conversations that are to be told it now.
type Due<N> = Option<(N, Vec<ConversationId>)>;

impl News {
    /// Whether there is something to tell.
    pub fn is_active(&self) -> bool {
        self.has_lost || self.of_bus.is_active() || self.everybody.is_active()
    }

    /// Whether there is something to tell without which a conversation would not know what it has missed.
    pub fn tells_of_loss(&self) -> bool {
        let is_loss = |news: &FromBus| !matches!(news, FromBus::Heard(_) | FromBus::Ended(_));
        self.has_lost || self.everybody.is_active() || self.of_bus.any(is_loss)
    }

    /// Returns what is to be told now: of each kind to at most `most` conversations.
    pub fn due(&mut self, most: usize, now: Instant) -> (Due<FromBus>, Vec<(Everybody, Vec<ConversationId>)>) {
        let (mut all, mut left) = (Vec::new(), most);
        while left > 0
            && let Some((everybody, ids)) = self.everybody.due(left, now)
        {
            left -= ids.len();
            all.push((everybody, ids));
        }
        (self.of_bus.due(most, now), all)
    }

    /// Whether one more update for so many conversations may wait.
    fn has_room(&self, conversations: usize) -> bool {
        let (updates, ids) = self.everybody.len();
        updates < EVERYBODY_MIN || (updates < EVERYBODY_MAX && ids + conversations <= IDS_MAX)
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
        let mut news = self.news.lock();
        if news.has_room(ids.len()) {
            news.everybody.at_once(everybody, ids);
        } else {
            self.context.count_dropped(BusDirection::In);
            news.has_lost = true;
        }
        drop(news);
        self.wake_leader();
    }

    /// Begins to tell all conversations that they have missed updates for everybody, if they have.
    pub fn begin_to_tell_of_lost(&self) {
        {
            let mut news = self.news.lock();
            // Who has come since the tour under way began is told by the next one.
            if !news.has_lost || news.of_bus.any(|news| *news == FromBus::Missed) {
                return;
            }
            news.has_lost = false;
        }
        let ids = self.everybody();
        self.news.lock().of_bus.within(FromBus::Missed, ids, self.context.settings.missed_spread);
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
