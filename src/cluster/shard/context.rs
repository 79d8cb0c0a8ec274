//! What the servers of one bus share, and what the bus was told to do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::routes::{Routes, Survey};
use crate::cluster::letters::Letterbox;
use crate::cluster::message::NodeId;
use crate::cluster::settings::Settings;
use crate::cluster::status::Census;
use crate::cluster::wire::Wire;
use crate::metrics::{BusDirection, BusDirectionLabel, Metrics};

/// Everything that the servers of one bus share.
pub struct Context {
    /// This node.
    pub node: NodeId,
    /// The settings.
    pub settings: Settings,
    /// The writer and reader of messages.
    pub wire: Wire,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Counts sessions and conversations.
    pub census: Box<dyn Fn() -> Census + Send + Sync>,
    /// The number of the last outage that was told, of any server or of others who tell sessions of outages.
    pub outages: Arc<AtomicU64>,
    /// The start of the bus.
    pub started: Instant,
    /// What the bus was told to do.
    pub orders: Mutex<Orders>,
    /// Takes the letters of other nodes.
    pub letterbox: OnceLock<Weak<dyn Letterbox>>,
    /// The shards. They are gone when the bus is.
    pub routes: Weak<Routes>,
    /// What goes between the shards of a Redis Cluster and the reader of its topology. `None`: the servers are
    /// independent.
    pub survey: Option<Survey>,
}

impl Context {
    /// The shards, if they are those of a Redis Cluster and share what is not about one conversation.
    pub fn cluster(&self) -> Option<Arc<Routes>> {
        self.survey.as_ref().and_then(|_| self.routes.upgrade())
    }

    /// Counts a message that does not fit, or that nobody can send.
    pub fn count_dropped(&self, direction: BusDirection) {
        self.metrics.bus_dropped.get_or_create(&BusDirectionLabel { direction }).inc();
    }

    /// Returns the number of the next outage.
    pub fn next_outage(&self) -> u64 {
        self.outages.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Returns the number with which the end of an outage is told that has this number. A session takes an end with a
    /// lower number than the last for one that it knows, and the last may be of another server.
    pub fn end_of_outage(&self, told: u64) -> u64 {
        let is_last = told != 0 && told == self.outages.load(Ordering::SeqCst);
        if is_last { told } else { self.next_outage() }
    }
}

/// What the bus was told to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    /// Tell the other nodes that this one ends, with this grace.
    pub bye: Option<Duration>,
    /// End when all is published, at the latest at this moment.
    pub stop: Option<Instant>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("node", &self.node).finish_non_exhaustive()
    }
}
