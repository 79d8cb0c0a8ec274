//! Tries a Redis out as the bus uses it, for an operator: which step works, and which right is missing.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connect::{self, Sink};
use super::fault::{Fault, Moved, Patterns, Refusal};
use super::session::Session;
use super::topology;
use crate::cluster::address::{Address, Place};
use crate::cluster::link::{ANSWER_MAX, CONNECT_MAX};
use crate::cluster::message::{Content, Message, NodeId, Presence, Stamp};
use crate::cluster::settings::Settings;
use crate::cluster::slots;
use crate::cluster::wire::Wire;
use crate::event::ConversationId;

/// The names among which one with a slot of a master is looked for.
const NAMES_MAX: usize = 64 * slots::SLOTS;

/// One step of a check.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was tried.
    pub name: String,
    /// The reason why it failed, which says what to do.
    pub result: Result<(), Fault>,
}

/// The check of one server.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its URL without secrets.
    pub url: Arc<str>,
    /// The steps in their order. A step that needs a failed one is left out.
    pub steps: Vec<Step>,
}

impl Checked {
    /// Whether all steps have worked.
    pub fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.result.is_ok())
    }

    fn add(&mut self, name: impl Into<String>, result: Result<(), Fault>) -> bool {
        let is_ok = result.is_ok();
        self.steps.push(Step { name: name.into(), result });
        is_ok
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Redis at {}:", self.url)?;
        for Step { name, result } in &self.steps {
            match result {
                Ok(()) => writeln!(f, "  ok      {name}")?,
                Err(fault) => writeln!(f, "  failed  {name}: {fault}")?,
            }
        }
        Ok(())
    }
}

/// The messages that came back.
#[derive(Default)]
struct Heard {
    channels: Mutex<HashSet<Vec<u8>>>,
    changed: Notify,
}

/// Checks each master of a Redis Cluster as [`check`] does, on channels whose slots it has.
pub async fn check_cluster(
    cluster: &Address,
    settings: &Settings,
    wire: &Wire,
    patterns: &Patterns,
    node: NodeId,
) -> Vec<Checked> {
    let mut first = Checked { url: cluster.to_string().into(), steps: Vec::new() };
    let hosts = match &cluster.place {
        Place::Cluster(hosts) => &hosts[..],
        _ => &[],
    };
    let read = match connect::credentials(cluster, settings).await {
        Ok(credentials) => topology::read(hosts, &credentials, patterns, 0).await,
        Err(fault) => Err(fault),
    };
    let name = "read the slots of the Redis Cluster (CLUSTER INFO, CLUSTER SLOTS)";
    let topology = match read {
        Ok(seen) => seen.topology,
        Err(fault) => {
            first.add(name, Err(fault));
            return vec![first];
        }
    };
    first.add(name, Ok(()));
    let mut all = vec![first];
    for master in &topology.masters {
        let has = |channel: &str| topology.owner(slots::slot(channel.as_bytes())) == Some(master);
        let address = Address { place: Place::Tcp(master.clone()), ..cluster.clone() };
        let beats = [wire.nodes().to_owned()].into_iter().chain((0..NAMES_MAX).map(|at| wire.nodes_beside(at)));
        let probes = (0..NAMES_MAX).map(|at| ConversationId::from(format!("maxtalk-check-{node}-{at}").as_str()));
        let mut checked = Checked { url: address.to_string().into(), steps: Vec::new() };
        let found = (beats.into_iter().find(|channel| has(channel)), probes.into_iter().find(|id| has(&wire.room(id))));
        if let (Some(beats), Some(probe)) = found {
            let is_here = |channel: &&str| has(channel) || settings.python_channel.as_deref() == Some(*channel);
            let mut always: Vec<_> = wire.always().into_iter().filter(is_here).map(str::to_owned).collect();
            if !always.contains(&beats) {
                always.push(beats.clone());
            }
            try_out(&mut checked, &address, settings, wire, patterns, Probe { node, always, beats, probe }).await;
        }
        all.push(checked);
    }
    all
}

/// What a check tries.
struct Probe {
    node: NodeId,
    /// The channels that are subscribed in any case.
    always: Vec<String>,
    /// The one of the heartbeats.
    beats: String,
    /// A conversation that does not exist.
    probe: ConversationId,
}

/// Checks one server: connects, asks for its role, subscribes the channels of the bus, and publishes on them what all
/// nodes and Node servers ignore. It ends within about 15 s.
pub async fn check(address: &Address, settings: &Settings, wire: &Wire, patterns: &Patterns, node: NodeId) -> Checked {
    let mut checked = Checked { url: address.to_string().into(), steps: Vec::new() };
    let probe = ConversationId::from(format!("maxtalk-check-{node}").as_str());
    let always = wire.always().into_iter().map(str::to_owned).collect();
    let probe = Probe { node, always, beats: wire.nodes().to_owned(), probe };
    try_out(&mut checked, address, settings, wire, patterns, probe).await;
    checked
}

async fn try_out(
    checked: &mut Checked,
    address: &Address,
    settings: &Settings,
    wire: &Wire,
    patterns: &Patterns,
    Probe { node, always, beats, probe }: Probe,
) {
    let heard = Arc::new(Heard::default());
    let open = Session::open(address.clone(), settings.clone(), patterns.clone(), sink(&heard));
    let opened = timeout(CONNECT_MAX, open).await.unwrap_or_else(|_| {
        Err("no connection within 5 s: is the address right, and does no firewall drop it?".into())
    });
    let session = match opened {
        Ok(session) => session,
        Err(fault) => {
            checked.add("connect (HELLO 3, AUTH)", Err(fault));
            return;
        }
    };
    checked.add("connect (HELLO 3, AUTH)", Ok(()));
    checked.add("is a master (ROLE)", session.check(address.clone(), settings.clone()).await);
    let room = wire.room(&probe);
    let mut are_subscribed = true;
    for channel in always.into_iter().chain([room.clone()]) {
        let name = format!("subscribe {channel} ({})", session.words().subscribe(&channel));
        let done = session.subscribe(vec![channel]).await;
        let moved = |all: Vec<Moved>| all.first().map_or(Ok(()), |moved| Err(moved.fault()));
        are_subscribed &= checked.add(name, done.and_then(moved));
    }
    let ask = Content::Presence(Presence::Ask { to: node });
    let ask = wire.write(&probe, &Message { stamp: Some(Stamp { node, life: 1, sequence: None }), content: ask });
    // Nodes ignore a kind that they do not know.
    let unknown = format!(r#"{{"k":"check","n":"{node}"}}"#).into_bytes();
    let mut are_published = true;
    for (channel, body) in [(room.clone(), ask), (beats.clone(), unknown)] {
        let name = format!("publish on {channel} ({})", session.words().publish());
        let pipeline = session.words().pipeline(std::iter::once((channel, &body[..])));
        let answers = session.publish(pipeline).await;
        let one = answers.map_err(Refusal::Fault).and_then(|answers| answers.into_iter().next().unwrap_or(Ok(0)));
        let one = one.map_err(Refusal::fault);
        are_published &= checked.add(name, one.map(|_| ()));
    }
    if are_subscribed && are_published {
        let expected = [room.as_bytes(), beats.as_bytes()];
        let echo = timeout(ANSWER_MAX, wait_for(&heard, &expected)).await;
        checked.add("hear what was published", echo.map_err(|_| "nothing came back within 2 s".into()));
    }
}

fn sink(heard: &Arc<Heard>) -> Sink {
    let heard = heard.clone();
    Box::new(move |PushInfo { kind, data }| {
        if let (PushKind::Message | PushKind::SMessage, Some(Value::BulkString(channel))) = (kind, data.first()) {
            heard.channels.lock().insert(channel.clone());
            heard.changed.notify_one();
        }
    })
}

async fn wait_for(heard: &Heard, expected: &[&[u8]]) {
    while !expected.iter().all(|channel| heard.channels.lock().contains(*channel)) {
        heard.changed.notified().await;
    }
}
