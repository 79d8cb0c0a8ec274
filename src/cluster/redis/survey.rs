//! Keeps the shards of a Redis Cluster at its topology: reads it every 30 s, and at once when a shard finds that a slot
//! has moved or that its master is away. Before slots move, the shards that lose them pause until nothing is under way,
//! so that the messages of a conversation keep their order.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::time::timeout;

use super::connect;
use super::fault::{Fault, Patterns};
use super::topology::{self, Seen};
use crate::cluster::address::{Address, Host, Place};
use crate::cluster::link::ANSWER_MAX;
use crate::cluster::shard::Shard;
use crate::cluster::shard::context::Context;
use crate::cluster::shard::routes::Routes;
use crate::cluster::slots::Topology;

/// The time between two readings while all is well.
const PERIOD: Duration = Duration::from_secs(30);

/// The time between two readings while a master is away: it may have a successor.
const DOWN_PERIOD: Duration = Duration::from_secs(1);

/// The least time between two readings.
const GAP: Duration = Duration::from_millis(100);

/// The longest wait for shards to pause. All of their commands have ended or failed by then.
const PAUSE_MAX: Duration = ANSWER_MAX.saturating_add(Duration::from_secs(1));

/// The reader of the topology of one Redis Cluster.
pub(in crate::cluster) struct Surveyor<F> {
    /// The shards.
    pub routes: Arc<Routes>,
    /// What all shards share.
    pub context: Arc<Context>,
    /// The address with the members that are known from the start.
    pub address: Address,
    /// Starts the task of a new shard.
    pub start: F,
}

impl<F: Fn(Arc<Shard>)> Surveyor<F> {
    /// Reads the topology again and again.
    pub(in crate::cluster) async fn run(self) {
        let Some(survey) = &self.context.survey else { return };
        let mut epoch = 0;
        loop {
            match self.read(survey.hints(), epoch).await {
                Ok(seen) => {
                    epoch = seen.epoch;
                    self.apply(&seen.topology).await;
                }
                Err(why) => survey.failed(why),
            }
            self.all(|shard| shard.resume());
            tokio::time::sleep(GAP).await;
            let mut is_up = true;
            self.all(|shard| is_up &= shard.is_up());
            // It is woken, or the time is over.
            timeout(if is_up { PERIOD } else { DOWN_PERIOD }, survey.wake.notified()).await.ok();
        }
    }

    fn all(&self, act: impl FnMut(&Arc<Shard>)) {
        let shards = self.routes.read().shards().to_vec();
        shards.iter().for_each(act);
    }

    /// Asks the members that have said that they know better, then the masters, then those of the settings.
    async fn read(&self, hints: Vec<Host>, epoch: u64) -> Result<Seen, Fault> {
        let settings = &self.context.settings;
        let mut masters = Vec::new();
        self.all(|shard| {
            if let Place::Tcp(host) = &shard.address.lock().place {
                masters.push((!shard.is_up(), host.clone()));
            }
        });
        masters.shuffle(&mut rand::rng());
        masters.sort_by_key(|(is_down, _)| *is_down);
        let seeds = match &self.address.place {
            Place::Cluster(hosts) => &hosts[..],
            _ => &[],
        };
        let mut asked: Vec<Host> = Vec::new();
        for host in hints.into_iter().chain(masters.into_iter().map(|(_, host)| host)).chain(seeds.iter().cloned()) {
            if !asked.contains(&host) {
                asked.push(host);
            }
        }
        let credentials = connect::credentials(&self.address, settings).await?;
        topology::read(&asked, &credentials, &Patterns::of(settings), epoch).await
    }

    async fn apply(&self, topology: &Topology) {
        let Some(plan) = self.routes.plan(topology) else { return };
        let losers = self.routes.losers(&plan);
        losers.iter().for_each(|shard| shard.pause());
        if timeout(PAUSE_MAX, self.drained(&losers)).await.is_err() {
            log::warn!(
                "messages are still under way while slots of the Redis Cluster move: some may come out of order"
            );
        }
        let changed = self.routes.change(plan, &self.address);
        changed.new.iter().cloned().for_each(&self.start);
        self.routes.tell(changed);
        log::info!("the Redis Cluster has {} masters with slots", topology.masters.len());
    }

    async fn drained(&self, losers: &[Arc<Shard>]) {
        let Some(survey) = &self.context.survey else { return };
        while !losers.iter().all(|shard| shard.is_drained()) {
            survey.drained.notified().await;
        }
    }
}
