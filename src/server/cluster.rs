//! The part of a server in a cluster: the start of the bus, and its end with the server.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use crate::actors::conversation::clustered::ClusterSettings;
use crate::cluster::bus::{self, Bus, Census, Checked};
use crate::cluster::peers::Rules;
use crate::cluster::settings::Settings;
use crate::config::Config;
use crate::http::tags::SidTags;
use crate::ids::{Ids, SidTag};
use crate::limits::clients::Clients;
use crate::metrics::Metrics;
use crate::stage::Drain;

/// The longest wait for messages that are still to be published when the server stops.
const FLUSH: Duration = Duration::from_secs(1);

/// Starts the bus; there is none if this process is alone. It does not wait for Redis. Returns with it the tags of the
/// sids of this node and of the others.
pub(super) fn start(
    config: &Config,
    ids: &Ids,
    clients: &Arc<Clients>,
    metrics: &Arc<Metrics>,
) -> Result<(SidTags, Option<Arc<Bus>>), Error> {
    let tag = config.server.sid_tag.unwrap_or_else(|| SidTag::draw(ids));
    if config.cluster.url.is_empty() {
        return Ok((SidTags::new(tag, Box::new(|_| false)), None));
    }
    let (clients, counted) = (clients.clone(), metrics.clone());
    let census = move || Census {
        sessions: clients.sessions() as u64,
        conversations: u64::try_from(counted.conversations.get()).unwrap_or(0),
    };
    let bus = Bus::start(Settings::of(config, tag.as_str()), metrics.clone(), census)?;
    let peers = bus.clone();
    Ok((SidTags::new(tag, Box::new(move |tag| peers.knows_tag(tag))), Some(bus)))
}

/// Returns the cluster as conversations see it.
pub(super) fn settings(config: &Config, bus: Option<&Arc<Bus>>) -> Option<ClusterSettings> {
    let bus = bus?;
    Some(ClusterSettings {
        port: bus.clone(),
        rules: Rules {
            node: bus.node(),
            heartbeat: Duration::from_millis(config.cluster.heartbeat_ms),
            settle: Duration::from_millis(config.cluster.settle_ms),
        },
        attach_timeout: Duration::from_millis(config.cluster.attach_ms),
    })
}

/// Says goodbye when the drain begins: the other nodes keep the users of this one, whose clients come back to them.
pub(super) async fn say_bye(bus: Option<Arc<Bus>>, drain: Drain, grace: Duration) {
    let Some(bus) = bus else { return };
    let begun = drain.until_begun().await;
    bus.say_bye(begun.due - begun.at + grace);
}

/// Looks whether the bus could be started, without touching a server.
///
/// # Errors
/// It could not: a setting is wrong.
pub(super) fn check_settings(config: &Config) -> Result<(), Error> {
    if config.cluster.url.is_empty() {
        return Ok(());
    }
    Ok(bus::check_settings(&Settings::of(config, ""))?)
}

/// Tries all servers of the bus out. `None` if this process is alone.
///
/// # Errors
/// A setting is wrong.
pub fn check(config: &Config) -> Result<Option<Vec<Checked>>, Error> {
    if config.cluster.url.is_empty() {
        return Ok(None);
    }
    let settings = Settings::of(config, "");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::Start { what: "the runtime", cause })?;
    Ok(Some(runtime.block_on(bus::check(&settings))?))
}

/// Publishes what waits, and ends the bus.
pub(super) async fn stop(bus: Option<Arc<Bus>>) {
    if let Some(bus) = bus {
        bus.stop(FLUSH).await;
    }
}
