//! The part of a server that hears MAX's feed: its start, its check, and its end with the server.

use std::sync::Arc;

use super::Error;
use crate::actors::audience::LocalAudience;
use crate::admin::state::Boards;
use crate::cluster::bus::Bus;
use crate::config::Config;
use crate::feed::check::{self, Checked};
use crate::feed::service::Feed;
use crate::feed::settings::Settings;
use crate::metrics::Metrics;

/// Starts the feed; there is none without `feed.url`. It does not wait for RabbitMQ.
pub(super) fn start(
    config: &Config,
    boards: &Boards,
    metrics: &Arc<Metrics>,
    bus: Option<&Arc<Bus>>,
) -> Result<Option<Arc<Feed>>, Error> {
    let Some(settings) = Settings::of(config) else { return Ok(None) };
    let audience = LocalAudience { conversations: boards.conversations.clone(), sessions: boards.sessions.clone() };
    let outages = bus.map(|bus| bus.outages()).unwrap_or_default();
    let feed = Feed::start(settings, metrics.clone(), Arc::new(audience), outages);
    feed.map(Some).map_err(|cause| Error::Start { what: "the thread of the feed", cause })
}

/// Tries the RabbitMQ of the feed out. `None` if there is no feed.
///
/// # Errors
/// The system refuses a resource.
pub fn check(config: &Config) -> Result<Option<Checked>, Error> {
    let Some(settings) = Settings::of(config) else { return Ok(None) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::Start { what: "the runtime", cause })?;
    let checked = runtime.block_on(check::check(&settings));
    // A name may be resolved for ever.
    runtime.shutdown_background();
    Ok(Some(checked))
}

/// Ends the feed.
pub(super) async fn stop(feed: Option<Arc<Feed>>) {
    if let Some(feed) = feed {
        feed.stop().await;
    }
}
