//! The bus between the nodes of a cluster, as actors use it: conversations attach their doors and publish messages by
//! its [`Port`], and never wait. A thread of its own does the rest.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

use super::address::{Address, AddressError, Place};
use super::door::Door;
use super::letters::{Letter, Letterbox, Post, Unsent};
use super::message::{Message, NodeId};
use super::nodes::Peer;
use super::port::Port;
pub use super::queue::Overflow;
pub use super::redis::check::Checked;
use super::redis::fault::Patterns;
use super::redis::survey::Surveyor;
use super::redis::{self, Task};
use super::settings::{Dialect, Settings};
use super::shard::Shard;
use super::shard::context::{Context, Orders};
use super::shard::routes::{Routes, Survey};
pub use super::status::{Census, PeerStatus, ShardStatus, Status};
use super::wire::{self, Wire};
use crate::event::ConversationId;
use crate::metrics::{BusDirection, Metrics};

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
    /// A Redis Cluster is named among other servers.
    #[error("cluster.url: a Redis Cluster stands alone, without other URLs")]
    ClusterAmongOthers,
    /// The system gives no thread.
    #[error("the thread of the bus cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The bus. All threads share it.
pub struct Bus {
    context: Arc<Context>,
    routes: Arc<Routes>,
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
        let cluster = sharded_cluster(&settings, &addresses);
        if cluster.is_none() && addresses.iter().any(|address| matches!(address.place, Place::Cluster(_))) {
            log::warn!(
                "Redis hands each message to every member of the Redis Cluster, which carries no more than one server: \
                 write cluster.dialect = \"sharded\" on all nodes"
            );
        }
        let node = NodeId::from_random(rand::random());
        let routes = Arc::new(Routes::default());
        let context = Arc::new(Context {
            node,
            wire: wire(&settings, node),
            settings,
            metrics,
            census: Box::new(census),
            outages: Arc::default(),
            started: Instant::now(),
            orders: Mutex::default(),
            routes: Arc::downgrade(&routes),
            survey: cluster.is_some().then(Survey::new),
            letterbox: OnceLock::new(),
        });
        let shard = |(number, address): (usize, Address)| Shard::new(number, address, context.clone());
        routes.begin(addresses.into_iter().enumerate().map(shard).collect(), cluster.is_some());
        let (alive, ended) = oneshot::channel();
        let parts = (routes.clone(), context.clone());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let main = move || {
            let _alive: oneshot::Sender<()> = alive;
            LocalSet::new().block_on(&runtime, serve(parts, cluster));
        };
        thread::Builder::new().name("bus".into()).spawn(main).map_err(StartError::Thread)?;
        Ok(Arc::new(Self { context, routes, ended: Mutex::new(Some(ended)) }))
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
        let all: Vec<_> = self.routes.read().shards().iter().map(|shard| shard.status()).collect();
        let down = all.into_iter().find(|status| *status != Status::Up);
        down.unwrap_or(Status::Up)
    }

    /// Returns the state of each server, in the order of the settings.
    pub fn shards(&self) -> Vec<ShardStatus> {
        let status = |shard: &Arc<Shard>| {
            let (wanted, subscribed) = {
                let attached = shard.attached.lock();
                (attached.wanted(), attached.subscribed())
            };
            let (status, waiting) = (shard.status(), shard.queue.lock().len());
            let lag = if status == Status::Up { *shard.lag.lock() } else { None };
            ShardStatus { url: shard.url(), status, wanted, subscribed, waiting, lag }
        };
        self.routes.read().shards().iter().map(status).collect()
    }

    /// Returns all other nodes that were heard on any server, sorted by their ids.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let mut all: Vec<PeerStatus> = Vec::new();
        for shard in self.routes.read().shards() {
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
        self.node_of(tag).is_some()
    }

    /// Returns the other living node that has this tag at the beginning of its sids.
    pub fn node_of(&self, tag: &str) -> Option<NodeId> {
        self.routes.read().shards().iter().find_map(|shard| {
            let nodes = shard.nodes.lock();
            let has_tag = |peer: &Peer| peer.card.as_ref().is_some_and(|card| &*card.tag == tag);
            nodes.peers().find_map(|(node, peer)| (!peer.is_silent && has_tag(peer)).then_some(node))
        })
    }

    /// Has `letterbox` take the letters of other nodes. Only the first one does.
    pub fn deliver_to(&self, letterbox: Weak<dyn Letterbox>) {
        let _ = self.context.letterbox.set(letterbox);
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

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.context.orders.lock());
        self.routes.read().shards().iter().for_each(|shard| shard.wake.notify_one());
    }
}

impl Port for Bus {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn attach(&self, id: &ConversationId, life: u64, door: Arc<dyn Door>) {
        let table = self.routes.read();
        let home = table.home(id);
        home.attach(id, life, door, || table.outage(home));
    }

    fn detach(&self, id: &ConversationId, life: u64) {
        self.routes.read().home(id).detach(id, life);
    }

    fn publish(&self, id: &ConversationId, message: &Message) -> Result<(), Overflow> {
        self.routes.read().outlet(id).publish(id, message, None)
    }

    fn publish_counted(&self, id: &ConversationId, message: &Message) -> Result<oneshot::Receiver<u64>, Overflow> {
        let (answer, receiver) = oneshot::channel();
        self.routes.read().outlet(id).publish(id, message, Some(answer))?;
        Ok(receiver)
    }

    fn loss_is_handled(&self, id: &ConversationId, life: u64) {
        self.routes.read().home(id).attached.lock().loss_is_handled(id, life);
    }

    fn is_up(&self, id: &ConversationId) -> bool {
        self.routes.read().home(id).is_up()
    }

    fn is_leaving(&self) -> bool {
        self.context.orders.lock().bye.is_some()
    }
}

impl Post for Bus {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn holder(&self, tag: &str) -> Option<NodeId> {
        self.node_of(tag)
    }

    fn lives(&self, node: NodeId) -> bool {
        let is_heard = |shard: &Arc<Shard>| shard.nodes.lock().get(node).is_some_and(|peer| !peer.is_silent);
        self.routes.read().shards().iter().any(is_heard)
    }

    fn is_ordered(&self) -> bool {
        self.routes.read().shards().len() == 1
    }

    fn owes_news(&self) -> bool {
        self.routes.read().shards().iter().any(|shard| !shard.is_up() || shard.owes_news.load(Ordering::SeqCst))
    }

    fn send(&self, to: NodeId, letter: &Letter) -> Result<(), Unsent> {
        let is_up = |shard: &&Arc<Shard>| shard.is_up();
        let table = self.routes.read();
        let outlet = if table.is_cluster() { table.leader() } else { table.shards().iter().find(is_up) };
        let Some(outlet) = outlet.filter(is_up) else {
            self.context.count_dropped(BusDirection::Out);
            return Err(Unsent::Away);
        };
        outlet.post(to, letter)
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
    if let Some(cluster) = sharded_cluster(settings, &addresses) {
        return Ok(redis::check::check_cluster(&cluster, settings, &wire, &patterns, node).await);
    }
    let mut all = Vec::new();
    for address in &addresses {
        all.push(redis::check::check(address, settings, &wire, &patterns, node).await);
    }
    Ok(all)
}

/// Looks whether a bus with these settings could be started, and touches no server.
///
/// # Errors
/// It could not: a setting is wrong.
pub fn check_settings(settings: &Settings) -> Result<(), StartError> {
    addresses(settings).map(drop)
}

fn addresses(settings: &Settings) -> Result<Vec<Address>, StartError> {
    let parsed = settings.urls.iter().map(|url| Address::parse(url)).collect::<Result<Vec<_>, _>>();
    let addresses = parsed.map_err(StartError::Address)?;
    let has_cluster = addresses.iter().any(|address| matches!(address.place, Place::Cluster(_)));
    match addresses.len() {
        0 => Err(StartError::NoServer),
        2.. if has_cluster => Err(StartError::ClusterAmongOthers),
        _ => Ok(addresses),
    }
}

/// Returns the address of the Redis Cluster whose masters share the conversations, if they do.
fn sharded_cluster(settings: &Settings, addresses: &[Address]) -> Option<Address> {
    let address = addresses.first().filter(|address| matches!(address.place, Place::Cluster(_)))?;
    (settings.dialect == Dialect::Sharded).then(|| address.clone())
}

/// Serves all servers until the bus is stopped.
async fn serve((routes, context): (Arc<Routes>, Arc<Context>), cluster: Option<Address>) {
    let running = Rc::new((Cell::new(0_usize), Notify::new()));
    let start = |shard: Arc<Shard>| {
        let running = running.clone();
        running.0.set(running.0.get() + 1);
        tokio::task::spawn_local(async move {
            keep_running(shard).await;
            running.0.set(running.0.get() - 1);
            running.1.notify_one();
        });
    };
    let shards = routes.read().shards().to_vec();
    shards.into_iter().for_each(&start);
    let ended = async {
        while running.0.get() > 0 {
            running.1.notified().await;
        }
    };
    match cluster {
        None => ended.await,
        Some(address) => {
            let survey = Surveyor { routes, context, address, start: &start };
            tokio::select! {
                () = ended => {}
                () = survey.run() => {}
            }
        }
    }
}

/// Runs the task of a server. A panic in it ends the connections, not the bus.
async fn keep_running(shard: Arc<Shard>) {
    loop {
        if tokio::task::spawn_local(Task::new(shard.clone()).run()).await.is_ok() {
            return;
        }
        log::error!("the task of the bus at {} has panicked, and is started anew", shard.url());
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
        conversations_max: settings.conversations_max,
    })
}

#[cfg(test)]
mod tests {
    use super::super::door::{Closed, FromBus};
    use super::super::letters::{Refused, Return};
    use super::super::slots::Topology;
    use super::*;
    use crate::metrics::{BusDirectionLabel, ReadAtScrape};

    #[test]
    fn a_letter_is_counted_that_cannot_be_sent_because_the_bus_is_away() {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let settings = Settings { urls: vec!["redis://127.0.0.1:1".into()], ..Settings::default() };
        let bus = Bus::start(settings, metrics.clone(), Census::default).unwrap();
        let to = NodeId::from_random(1);
        let refusal = Letter::Refusal { of: Return { node: to, number: 1 }, why: Refused::UnknownPid };
        assert_eq!(bus.send(to, &refusal), Err(Unsent::Away));
        let dropped = metrics.bus_dropped.get_or_create(&BusDirectionLabel { direction: BusDirection::Out }).get();
        assert_eq!(dropped, 1);
    }

    #[test]
    fn a_shard_whose_slots_are_gone_leaves_its_holes_to_the_others() {
        let url = "redis+cluster://127.0.0.1:1";
        let settings = Settings { urls: vec![url.into()], dialect: Dialect::Sharded, ..Settings::default() };
        let bus = Bus::start(settings, Metrics::new(&[], ReadAtScrape::default()), Census::default).unwrap();
        let routes = &bus.routes;
        let change = |ranges: &[(u64, u64, u16)]| {
            let host = |port| super::super::address::Host { name: "127.0.0.1".into(), port };
            let topology = Topology::of(ranges.iter().map(|(first, last, port)| (*first, *last, host(*port))));
            let plan = routes.plan(&topology.unwrap()).unwrap();
            routes.change(plan, &Address::parse(url).unwrap());
        };
        change(&[(0, 8191, 1), (8192, 16_383, 2)]);
        let before = routes.read().shards().to_vec();
        before.iter().find(|shard| shard.leads()).unwrap().queue.lock().note_unknown_holes();
        let [stays, goes] = if before[0].leads() { [1, 0] } else { [0, 1] };
        let port = if before[stays].url().ends_with(":1") { 1 } else { 2 };
        change(&[(0, 16_383, port)]);
        assert!(before[goes].is_retired() && !before[goes].leads() && before[stays].leads());
        assert!(before[stays].queue.lock().has_unknown_holes());
    }

    /// A door that nobody is behind.
    #[derive(Debug)]
    struct Wall;

    impl Door for Wall {
        fn offer(&self, _: FromBus) -> Result<(), Closed> {
            Ok(())
        }

        fn give(&self, _: FromBus) {}
    }

    #[test]
    fn updates_for_everybody_that_find_no_room_are_missed() {
        let settings = Settings {
            urls: vec!["redis://127.0.0.1:1".into()],
            dialect: Dialect::Sharded,
            namespace_wide: true,
            ..Settings::default()
        };
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let bus = Bus::start(settings, metrics.clone(), Census::default).unwrap();
        // Nobody serves it, so nothing is told.
        let shard = Shard::new(1, Address::parse("redis://127.0.0.1:1").unwrap(), bus.context.clone());
        shard.attach(&"c".into(), 1, Arc::new(Wall), || 0);
        let emission = |user: u32| {
            let packet = format!(r#"{{"type":2,"data":["update",{{"username":"u{user}"}}]}}"#);
            let opts = r#"{"rooms":[],"except":[],"flags":{}}"#;
            format!(r#"{{"uid":"u","nsp":"/max","type":3,"data":{{"packet":{packet},"opts":{opts}}}}}"#)
        };
        let now = Instant::now();
        (0..4099).for_each(|user| shard.receive(b"socket.io#/max#", emission(user).as_bytes(), now));
        shard.begin_to_tell_of_lost();
        shard.begin_to_tell_of_lost();
        let (news, everybody) = shard.news.lock().due(9999, now);
        assert_eq!((news, everybody.len()), (Some((FromBus::Missed, vec!["c".into()])), 4096));
        assert!(!shard.news.lock().is_active(), "it is told once");
        let dropped = metrics.bus_dropped.get_or_create(&BusDirectionLabel { direction: BusDirection::In }).get();
        assert_eq!(dropped, 3);
    }
}
