//! The log lines about the feed, and its gauges. Each change of state is one line; a state that lasts is not repeated.

use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use super::fault::Fault;
use super::link::{Link, State};
use super::shared::Shared;
use super::wire::{Delivery, Rejected};
use crate::cluster::downtime::LoggedFailure;
use crate::cluster::status::Status;
use crate::logging;
use crate::logging::limiter::Limiter;
use crate::metrics::{FeedLabel, FeedReasonLabel, WireReason};

/// The bytes of the names of a refused message that the log shows.
const SHOWN_BYTES: usize = 64;

/// The voice of the feed.
#[derive(Debug)]
pub struct Voice {
    url: String,
    up: Gauge,
    connections: u64,
    /// The last failure that was logged.
    said: LoggedFailure,
    is_up: bool,
    /// Why memberships are not kept, as it was logged.
    without_memberships: Option<Fault>,
    /// The lines about refused messages, and about exchanges that are not bound.
    refused: Limiter,
    unbound: Limiter,
}

impl Voice {
    /// Creates the voice of a feed that is down.
    pub fn new(shared: &Shared) -> Self {
        let label = FeedLabel { layout: shared.settings.reader.layout.as_str() };
        Self {
            url: shared.settings.url.shown(),
            up: shared.metrics.feed_up.get_or_create_owned(&label),
            connections: 0,
            said: LoggedFailure::default(),
            is_up: false,
            without_memberships: None,
            refused: Limiter::new(1),
            unbound: Limiter::new(1),
        }
    }

    /// Notes a connection that was made.
    pub fn connected(&mut self, shared: &Shared) {
        if self.connections > 0 {
            shared.metrics.feed_reconnects.inc();
        }
        self.connections += 1;
    }

    /// Notes why memberships are not heard. `None`: they are.
    pub fn memberships(&mut self, without: Option<&Fault>) {
        if self.without_memberships.as_ref() != without {
            match without {
                Some(fault) => log::warn!("memberships are not kept by the feed: {fault}"),
                None => log::info!("memberships are kept by the feed"),
            }
            self.without_memberships = without.cloned();
        }
    }

    /// Counts and logs a message that was refused.
    pub fn refused(&mut self, shared: &Shared, delivery: &Delivery, why: Rejected, now: Instant) {
        shared.metrics.feed_rejected.get_or_create(&FeedReasonLabel { reason: WireReason(why.as_str()) }).inc();
        let Some(more) = self.refused.admit(now) else { return };
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned();
            logging::escape(&text).to_string()
        };
        // The body is what people write to each other.
        let length = delivery.body.as_ref().map(|body| format!(", {} bytes", body.len())).unwrap_or_default();
        log::warn!(
            "refused a message of the feed, exchange {}, key {}: {}{length}{more}",
            text(&delivery.exchange),
            text(&delivery.key),
            why.as_str(),
        );
    }

    /// Logs that the exchange of a conversation is not bound.
    pub fn unbound(&mut self, fault: &Fault, now: Instant) {
        if let Some(more) = self.unbound.admit(now) {
            log::warn!("a conversation is not heard by the feed yet: {fault}{more}");
        }
    }

    /// Sets status and gauges, and logs a change.
    pub fn report(&mut self, shared: &Shared, link: &Link, refreshes: usize, now: Instant) {
        let is_up = link.state() == State::Up;
        self.up.set(i64::from(is_up));
        shared.metrics.feed_refreshes_waiting.set(i64::try_from(refreshes).unwrap_or(i64::MAX));
        if is_up && !self.is_up {
            let after = match &*shared.status.lock() {
                Status::Down { since, .. } => now.saturating_duration_since(*since),
                Status::Up => Duration::ZERO,
            };
            log::info!("the feed at {} is up after {:.1} s", self.url, after.as_secs_f64());
            self.said.forget();
        }
        if is_up != self.is_up || !is_up {
            *shared.status.lock() = match link.down_since() {
                None => Status::Up,
                Some(since) => Status::Down { since, why: why(link) },
            };
        }
        self.is_up = is_up;
        if let Some(failure) = link.failure().filter(|failure| self.said.is_due(failure, now)) {
            log::warn!("the feed at {} is down, and tries on: {failure}", self.url);
        }
    }
}

/// Returns why the feed is not up.
fn why(link: &Link) -> Fault {
    match (link.state(), link.failure()) {
        (State::Binding, _) => "the exchanges of conversations are being bound".into(),
        (_, Some(failure)) => failure.clone(),
        _ => "being connected".into(),
    }
}
