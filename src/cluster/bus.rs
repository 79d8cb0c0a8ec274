//! The bus between the nodes of a cluster, as actors use it: conversations attach their doors and publish messages by
//! its [`Port`], and never wait. A thread of its own does the rest.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::address::{Address, AddressError};
use super::door::Door;
use super::message::{Message, NodeId};
use super::port::Port;
pub use super::queue::Overflow;
pub use super::redis::check::Checked;
use super::redis::fault::Patterns;
use super::redis::{self, Task};
use super::settings::Settings;
use super::shard::{self, Context, Orders, Shard};
pub use super::status::{Census, PeerStatus, ShardStatus, Status};
use super::wire::{self, Wire};
use crate::event::ConversationId;
use crate::metrics::Metrics;

/// The wait before a task that has panicked is started anew.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// The time that the thread has to end after the deadline of a stop.
const END_MAX: Duration = Duration::from_secs(1);

/// The reason why a bus could not be started. The text says what to change.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no server.
    #[error("cluster.url is empty")]
    NoServer,
    /// A URL is wrong.
    #[error("cluster.url: {0}")]
    Address(AddressError),
    /// The system gives no thread.
    #[error("the thread of the bus cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The bus. All threads share it.
pub struct Bus {
    context: Arc<Context>,
    shards: Vec<Arc<Shard>>,
    /// Is dropped by the thread of the bus when it ends.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("node", &self.context.node).finish_non_exhaustive()
    }
}

impl Bus {
    /// Starts the bus on a thread of its own. It connects for ever: a Redis that is away is no error. `census` is asked
    /// at each heartbeat, on that thread.
    ///
    /// # Errors
    /// A setting is wrong, or the thread cannot be started.
    pub fn start(
        settings: Settings,
        metrics: Arc<Metrics>,
        census: impl Fn() -> Census + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StartError> {
        let addresses = addresses(&settings)?;
        let node = NodeId::from_random(rand::random());
        let context = Arc::new(Context {
            node,
            wire: wire(&settings, node),
            settings,
            metrics,
            census: Box::new(census),
            outages: Arc::default(),
            started: Instant::now(),
            orders: Mutex::default(),
        });
        let shard =
            |(number, address): (usize, &Address)| Shard::new(number, address.to_string().into(), context.clone());
        let shards: Vec<_> = addresses.iter().enumerate().map(shard).collect();
        let (alive, ended) = oneshot::channel();
        let tasks: Vec<_> = shards.iter().cloned().zip(addresses).collect();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let main = move || {
            let _alive: oneshot::Sender<()> = alive;
            LocalSet::new().block_on(&runtime, join_all(tasks.into_iter().map(keep_running)));
        };
        thread::Builder::new().name("bus".into()).spawn(main).map_err(StartError::Thread)?;
        Ok(Arc::new(Self { context, shards, ended: Mutex::new(Some(ended)) }))
    }

    /// Returns the id of this node.
    pub fn node(&self) -> NodeId {
        self.context.node
    }

    /// Returns the name of this node for people.
    pub fn name(&self) -> &str {
        &self.context.settings.name
    }

    /// Returns the number of the last outage that sessions were told of. Others who tell sessions of outages count on.
    pub fn outages(&self) -> Arc<AtomicU64> {
        self.context.outages.clone()
    }

    /// Whether the bus is up. With several servers: whether all are up.
    pub fn status(&self) -> Status {
        let down = self.shards.iter().map(|shard| shard.status.lock().clone()).find(|status| *status != Status::Up);
        down.unwrap_or(Status::Up)
    }

    /// Returns the state of each server, in the order of the settings.
    pub fn shards(&self) -> Vec<ShardStatus> {
        let status = |shard: &Arc<Shard>| {
            let (wanted, subscribed) = {
                let attached = shard.attached.lock();
                (attached.wanted(), attached.subscribed())
            };
            let (status, waiting) = (shard.status.lock().clone(), shard.queue.lock().len());
            let lag = if status == Status::Up { *shard.lag.lock() } else { None };
            ShardStatus { url: shard.url.clone(), status, wanted, subscribed, waiting, lag }
        };
        self.shards.iter().map(status).collect()
    }

    /// Returns all other nodes that were heard on any server, sorted by their ids.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let mut all: Vec<PeerStatus> = Vec::new();
        for shard in &self.shards {
            for (node, peer) in shard.nodes.lock().peers() {
                let text = |of: fn(&super::nodes::Card) -> &Arc<str>| {
                    peer.card.as_ref().map_or_else(|| "".into(), |card| of(card).clone())
                };
                let number = |of: fn(&super::nodes::Card) -> u64| peer.card.as_ref().map_or(0, of);
                all.push(PeerStatus {
                    node,
                    name: text(|card| &card.name),
                    version: text(|card| &card.version),
                    tag: text(|card| &card.tag),
                    census: Census {
                        sessions: number(|card| card.sessions),
                        conversations: number(|card| card.conversations),
                    },
                    heard: peer.heard,
                    is_silent: peer.is_silent,
                });
            }
        }
        // Of a node that is heard on several servers, the latest news count.
        all.sort_by(|a, b| a.node.cmp(&b.node).then(b.heard.cmp(&a.heard)));
        all.dedup_by_key(|peer| peer.node);
        all
    }

    /// Whether another living node has this tag at the beginning of its sids.
    pub fn knows_tag(&self, tag: &str) -> bool {
        self.shards.iter().any(|shard| {
            let nodes = shard.nodes.lock();
            nodes.peers().any(|(_, peer)| !peer.is_silent && peer.card.as_ref().is_some_and(|card| &*card.tag == tag))
        })
    }

    /// Tells the other nodes that this one ends: they keep its users visible for `grace`.
    pub fn say_bye(&self, grace: Duration) {
        self.order(|orders| orders.bye = orders.bye.or(Some(grace)));
    }

    /// Publishes the messages that wait, for at most `deadline`, and ends the thread of the bus. The future need not be
    /// awaited.
    pub fn stop(&self, deadline: Duration) -> impl Future<Output = ()> + use<> {
        self.order(|orders| orders.stop = Some(Instant::now() + deadline));
        let ended = self.ended.lock().take();
        async move {
            if let Some(ended) = ended {
                // It is dropped and sends nothing.
                tokio::time::timeout(deadline + END_MAX, ended).await.ok();
            }
        }
    }

    fn shard(&self, id: &ConversationId) -> &Arc<Shard> {
        &self.shards[shard::place(id, self.shards.len())]
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.context.orders.lock());
        self.shards.iter().for_each(|shard| shard.wake.notify_one());
    }
}

impl Port for Bus {
    fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>) {
        self.shard(id).attach(id, life, door);
    }

    fn detach(&self, id: &ConversationId, life: u64) {
        self.shard(id).detach(id, life);
    }

    fn publish(&self, id: &ConversationId, message: &Message) -> Result<(), Overflow> {
        self.shard(id).publish(id, message, None)
    }

    fn publish_counted(&self, id: &ConversationId, message: &Message) -> Result<oneshot::Receiver<u64>, Overflow> {
        let (answer, receiver) = oneshot::channel();
        self.shard(id).publish(id, message, Some(answer))?;
        Ok(receiver)
    }

    fn loss_is_handled(&self, id: &ConversationId, life: u64) {
        self.shard(id).attached.lock().loss_is_handled(id, life);
    }

    fn is_up(&self, id: &ConversationId) -> bool {
        *self.shard(id).status.lock() == Status::Up
    }

    fn is_leaving(&self) -> bool {
        self.context.orders.lock().bye.is_some()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.order(|orders| orders.stop = orders.stop.or_else(|| Some(Instant::now())));
    }
}

/// Tries all servers out as the bus uses them, for an operator. It ends within about 15 s for each.
///
/// # Errors
/// A setting is wrong.
pub async fn check(settings: &Settings) -> Result<Vec<Checked>, StartError> {
    let addresses = addresses(settings)?;
    let node = NodeId::from_random(rand::random());
    let (wire, patterns) = (wire(settings, node), Patterns::of(settings));
    let mut all = Vec::new();
    for address in &addresses {
        all.push(redis::check::check(address, settings, &wire, &patterns, node).await);
    }
    Ok(all)
}

fn addresses(settings: &Settings) -> Result<Vec<Address>, StartError> {
    let parsed = settings.urls.iter().map(|url| Address::parse(url)).collect::<Result<Vec<_>, _>>();
    let addresses = parsed.map_err(StartError::Address)?;
    if addresses.is_empty() { Err(StartError::NoServer) } else { Ok(addresses) }
}

/// Runs the task of a server. A panic in it ends the connections, not the bus.
async fn keep_running((shard, address): (Arc<Shard>, Address)) {
    loop {
        let task = Task::new(shard.clone(), address.clone());
        if tokio::task::spawn_local(task.run()).await.is_ok() {
            return;
        }
        log::error!("the task of the bus at {} has panicked, and is started anew", shard.url);
        tokio::time::sleep(RESTART_AFTER).await;
    }
}

fn wire(settings: &Settings, node: NodeId) -> Wire {
    Wire::new(wire::Settings {
        prefix: settings.prefix.clone(),
        namespace: settings.namespace.clone(),
        dialect: settings.dialect,
        node,
        events: settings.events.clone(),
        namespace_wide: settings.namespace_wide,
        python_channel: settings.python_channel.clone(),
        message_bytes_max: settings.message_bytes_max,
        id_bytes_max: settings.id_bytes_max,
    })
}
