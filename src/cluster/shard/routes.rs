//! The shards of a bus, and which of them has which conversation. Independent servers share the conversations by a hash
//! of their ids, for good. In a Redis Cluster each master is a shard, and the slot of a channel decides: when slots
//! move, the conversations of theirs move with all that waits, while no other thread attaches or publishes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

use super::{Incoming, Shard};
use crate::cluster::address::{Address, Host, Place};
use crate::cluster::door::FromBus;
use crate::cluster::slots::{self, Plan, SLOTS};
use crate::cluster::wire::Wire;
use crate::event::ConversationId;

/// The servers that have said that they know where a slot is, and are remembered.
const HINTS_MAX: usize = 16;

/// The names of channels among which one with a slot of a shard is looked for. A shard with a single slot misses all of
/// them in one of e^64 cases.
const BESIDE_MAX: usize = 64 * SLOTS;

/// What the shards of a Redis Cluster and the reader of its topology tell each other.
#[derive(Debug)]
pub struct Survey {
    /// Wakes the reader: the topology may have changed.
    pub wake: Notify,
    /// Wakes the reader: a shard that pauses has nothing under way.
    pub drained: Notify,
    hints: Mutex<VecDeque<Host>>,
    failure: Mutex<Arc<str>>,
}

impl Survey {
    /// Creates the state in which the topology was never read.
    pub fn new() -> Self {
        Self {
            wake: Notify::new(),
            drained: Notify::new(),
            hints: Mutex::default(),
            failure: Mutex::new("the slots of the Cluster are being read".into()),
        }
    }

    /// Notes that a slot has another master than this node knows, and the one that was named.
    pub fn moved(&self, host: Option<Host>) {
        let mut hints = self.hints.lock();
        if let Some(host) = host
            && hints.len() < HINTS_MAX
            && !hints.contains(&host)
        {
            hints.push_back(host);
        }
        drop(hints);
        self.wake.notify_one();
    }

    /// Takes out the masters that were named.
    pub fn hints(&self) -> Vec<Host> {
        self.hints.lock().drain(..).collect()
    }

    /// The reason why the topology could not be read, or that it has not been read yet.
    pub fn failure(&self) -> Arc<str> {
        self.failure.lock().clone()
    }

    /// Notes why the topology could not be read.
    pub fn failed(&self, why: Arc<str>) {
        *self.failure.lock() = why;
    }
}

/// The channels of a shard that belong to no conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Whether it has the channel of the namespace.
    pub has_namespace: bool,
    /// Whether it has the channel of the nodes. It speaks for this node then, and watches over the others.
    pub leads: bool,
    /// The channel of its heartbeats: that of the nodes, or one beside it whose slot it has.
    pub beats: String,
}

impl Own {
    /// Returns the channels of a server that has all of them.
    pub fn all(wire: &Wire) -> Self {
        Self { has_namespace: true, leads: true, beats: wire.nodes().to_owned() }
    }

    /// Returns the names of the channels.
    pub fn channels(&self, wire: &Wire) -> Vec<String> {
        // Whatever a Python server publishes reaches all members of a Redis Cluster.
        let others =
            wire.always().into_iter().filter(|name| self.leads && *name != wire.namespace() && *name != wire.nodes());
        let namespace = [wire.namespace()].into_iter().filter(|_| self.has_namespace);
        namespace.chain([&*self.beats]).chain(others).map(str::to_owned).collect()
    }

    /// Returns the channels of the shard at this place in a Redis Cluster.
    fn of(place: usize, slots: &[u16], wire: &Wire) -> Self {
        let has = |channel: &str| usize::from(slots[usize::from(slots::slot(channel.as_bytes()))]) == place;
        let leads = has(wire.nodes());
        let beside = (0..BESIDE_MAX).map(|number| wire.nodes_beside(number)).find(|channel| has(channel));
        let beats = Some(wire.nodes().to_owned()).filter(|_| leads).or(beside).unwrap_or_default();
        Self { has_namespace: has(wire.namespace()), leads, beats }
    }
}

/// The shards of a bus.
#[derive(Debug, Default)]
pub struct Routes {
    table: RwLock<Table>,
}

/// Which shard has which conversation, for as long as it is looked at.
#[derive(Debug, Default)]
pub struct Table {
    shards: Vec<Arc<Shard>>,
    /// The place of the shard of each slot of a Redis Cluster.
    slots: Option<Box<[u16]>>,
}

impl Table {
    /// All shards.
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Whether the shards are the masters of one Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// The shard of the channel of a conversation.
    pub fn home(&self, id: &ConversationId) -> &Arc<Shard> {
        match &self.slots {
            None => &self.shards[place(id, self.shards.len())],
            Some(slots) => self.at_slot(slots, &self.shards[0].context.wire.room(id)),
        }
    }

    /// The shard on which messages about a conversation are published.
    pub fn outlet(&self, id: &ConversationId) -> &Arc<Shard> {
        match &self.slots {
            None => self.home(id),
            Some(slots) => self.at_slot(slots, &self.shards[0].context.wire.publishes_to(id)),
        }
    }

    /// The shard of the channel of the nodes in a Redis Cluster.
    pub fn leader(&self) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|shard| shard.leads())
    }

    /// The number of the outage that the conversations of a shard have been told; 0 if none goes on.
    pub fn outage(&self, shard: &Shard) -> u64 {
        let of = |shard: &Shard| shard.outage.load(Ordering::SeqCst);
        let own = of(shard);
        if own != 0 || self.slots.is_none() {
            return own;
        }
        // News on the channel of the namespace may be about any conversation.
        self.shards.iter().find(|shard| shard.own.lock().has_namespace).map_or(0, |shard| of(shard))
    }

    /// The shard of a channel in a Redis Cluster.
    pub fn of_channel(&self, channel: &str) -> Option<&Arc<Shard>> {
        self.slots.as_ref().map(|slots| self.at_slot(slots, channel))
    }

    fn at_slot(&self, slots: &[u16], channel: &str) -> &Arc<Shard> {
        &self.shards[usize::from(slots[usize::from(slots::slot(channel.as_bytes()))])]
    }
}

/// What has come of a change of the routes.
#[derive(Debug, Default)]
pub struct Changed {
    /// The shards that are new.
    pub new: Vec<Arc<Shard>>,
    /// What conversations have to be told.
    news: Vec<(ConversationId, FromBus)>,
}

impl Routes {
    /// Begins with these shards. `is_cluster`: the first of them has all slots of a Redis Cluster.
    pub fn begin(&self, shards: Vec<Arc<Shard>>, is_cluster: bool) {
        let slots = is_cluster.then(|| vec![0; SLOTS].into_boxed_slice());
        *self.table.write() = Table { shards, slots };
    }

    /// Looks at the table. It must not be held while it is looked at once more.
    pub fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read()
    }

    /// Plans the way to a topology. `None`: there is nothing to change.
    pub fn plan(&self, topology: &slots::Topology) -> Option<Plan> {
        let table = self.table.read();
        let slots = table.slots.as_deref()?;
        let host = |shard: &Arc<Shard>| match &shard.address.lock().place {
            Place::Tcp(host) => Some(host.clone()),
            _ => None,
        };
        let present: Vec<_> = table.shards.iter().map(host).collect();
        let plan = Plan::new(&present, slots, topology);
        let same = |((place, host), at): (&(Option<usize>, Host), usize)| {
            *place == Some(at) && present.get(at).and_then(Option::as_ref) == Some(host)
        };
        let is_same =
            plan.seats.len() == present.len() && plan.seats.iter().zip(0..).all(same) && *plan.slots == *slots;
        (!is_same).then_some(plan)
    }

    /// The shards that lose slots by a plan.
    pub fn losers(&self, plan: &Plan) -> Vec<Arc<Shard>> {
        let table = self.table.read();
        let Some(slots) = table.slots.as_deref() else { return Vec::new() };
        let mut loses = vec![false; table.shards.len()];
        for (before, after) in slots.iter().zip(&plan.slots) {
            if plan.seats[usize::from(*after)].0 != Some(usize::from(*before)) {
                loses[usize::from(*before)] = true;
            }
        }
        table.shards.iter().zip(loses).filter(|(_, loses)| *loses).map(|(shard, _)| shard.clone()).collect()
    }

    /// Does what is planned. `address` is that of the Redis Cluster.
    pub fn change(&self, plan: Plan, address: &Address) -> Changed {
        let mut changed = Changed::default();
        let of = |host: Host| Address { place: Place::Tcp(host), ..address.clone() };
        let mut guard = self.table.write();
        let before = std::mem::take(&mut guard.shards);
        let is_first = before.iter().all(|shard| !matches!(shard.address.lock().place, Place::Tcp(_)));
        let mut numbers: Vec<_> = before.iter().map(|shard| shard.number).collect();
        for (place, host) in plan.seats {
            let shard = if let Some(shard) = place.and_then(|place| before.get(place)) {
                shard.follow(of(host));
                shard.clone()
            } else {
                let number = (0..).find(|number| !numbers.contains(number)).unwrap_or_default();
                numbers.push(number);
                let shard = before[0].beside(number, of(host));
                changed.new.push(shard.clone());
                shard
            };
            guard.shards.push(shard);
        }
        let old = guard.slots.replace(plan.slots);
        let table = &*guard;
        let mut loses = vec![false; before.len()];
        for (old, new) in old.iter().flatten().zip(table.slots.iter().flatten()) {
            let place = usize::from(*old);
            loses[place] |= !Arc::ptr_eq(&before[place], &table.shards[usize::from(*new)]);
        }
        for (shard, loses) in before.iter().zip(loses) {
            if loses {
                carry(shard, table, &mut changed);
            }
            if !table.shards.iter().any(|present| Arc::ptr_eq(present, shard)) {
                // The new leader has to hear all nodes anew.
                if std::mem::take(&mut *shard.own.lock()).leads {
                    shard.nodes.lock().down();
                }
                shard.retire();
            }
        }
        give_own_channels(table, is_first);
        changed
    }

    /// Tells the conversations that have moved what they have to know.
    pub fn tell(&self, changed: Changed) {
        for (id, news) in changed.news {
            let home = self.table.read().home(&id).clone();
            home.tell_here(&id, news);
        }
    }
}

impl Shard {
    /// Whether it has the channel of the nodes. It has it if it is none of a Redis Cluster.
    pub fn leads(&self) -> bool {
        self.own.lock().leads
    }

    /// Leaves the messages that this shard has not published, although it was waited for, to those that remain.
    pub fn bequeath_messages(&self) {
        let Some(routes) = self.context.cluster() else { return };
        let table = routes.read();
        carry_messages(self, &table);
        table.shards.iter().for_each(|shard| shard.wake.notify_one());
    }
}

/// Carries the conversations that have left a shard, and their messages, to where they belong.
fn carry(shard: &Arc<Shard>, table: &Table, changed: &mut Changed) {
    let outage = shard.outage.load(Ordering::SeqCst);
    let parcels = shard.attached.lock().take_out(|id| !Arc::ptr_eq(table.home(id), shard));
    for parcel in parcels {
        let (home, id) = (table.home(&parcel.id), parcel.id.clone());
        home.attached.lock().put_in(parcel);
        let theirs = table.outage(home);
        if outage != 0 && theirs == 0 {
            let number = shard.context.end_of_outage(outage);
            changed.news.push((id, FromBus::Outage { number, ongoing: false }));
        } else if outage == 0 && theirs != 0 {
            changed.news.push((id, FromBus::Outage { number: theirs, ongoing: true }));
        }
    }
    carry_messages(shard, table);
}

/// Carries the messages that have left a shard to where they belong.
fn carry_messages(shard: &Shard, table: &Table) {
    let (items, holes) = shard.queue.lock().take_out(|id| !std::ptr::eq(&**table.outlet(id), shard));
    items.into_iter().for_each(|item| table.outlet(&item.id).queue.lock().append(item));
    holes.iter().for_each(|id| table.outlet(id).queue.lock().note_hole(id));
    // What waited when they came about waits at any of the others now.
    if shard.queue.lock().has_unknown_holes() {
        table.shards.iter().for_each(|shard| shard.queue.lock().note_unknown_holes());
    }
}

/// Gives each shard its own channels. One whose channels have changed connects anew.
fn give_own_channels(table: &Table, is_first: bool) {
    let Some(slots) = &table.slots else { return };
    for (place, shard) in table.shards.iter().enumerate() {
        let wanted = Own::of(place, slots, &shard.context.wire);
        let before = std::mem::replace(&mut *shard.own.lock(), wanted.clone());
        if before == wanted {
            continue;
        }
        if before.leads && !wanted.leads {
            shard.nodes.lock().down();
        }
        // Nobody was subscribed to it in between.
        shard.owes_over.fetch_or(wanted.has_namespace && !before.has_namespace && !is_first, Ordering::SeqCst);
        shard.note(Incoming::OwnChannelLost);
    }
}

/// Returns the place of a conversation among so many servers, by jump hash: with one server more, only the share of the
/// new one moves. All nodes have to agree, so it is a hash of fixed numbers.
fn place(id: &ConversationId, servers: usize) -> usize {
    // FNV-1a of 64 bits.
    let mut key = id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let (mut place, mut next) = (0, 0_u64);
    while next < servers as u64 {
        place = next as usize;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((next + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_spread_and_few_move() {
        let ids: Vec<_> =
            (0..10_000).map(|number| ConversationId::from(format!("519b{number:020}").as_str())).collect();
        assert!(ids.iter().all(|id| place(id, 1) == 0));
        let places = |servers| ids.iter().map(|id| place(id, servers)).collect::<Vec<_>>();
        let (four, five) = (places(4), places(5));
        for server in 0..4 {
            let share = four.iter().filter(|place| **place == server).count();
            assert!((2200..2800).contains(&share), "{server}: {share}");
        }
        let moved: Vec<_> = four.iter().zip(&five).filter(|(before, after)| before != after).collect();
        assert!((1700..2300).contains(&moved.len()), "{}", moved.len());
        assert!(moved.iter().all(|(_, after)| **after == 4));
        // Nodes of all versions agree.
        assert_eq!(places(7)[..12], [1, 1, 1, 0, 6, 2, 0, 3, 3, 0, 5, 1]);
    }
}
