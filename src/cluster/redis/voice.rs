//! The log lines about a server, and its gauges. Each change of state is one line; a state that lasts is not repeated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::cluster::downtime::LoggedFailure;
use crate::cluster::link::{Link, State};
use crate::cluster::shard::Shard;
use crate::cluster::status::Status;
use crate::metrics::histogram::HotHistogram;
use crate::metrics::{Metrics, ShardLabel};

/// The voice of one server.
#[derive(Debug)]
pub(super) struct Voice {
    url: Arc<str>,
    metrics: Arc<Metrics>,
    label: ShardLabel,
    up: Gauge,
    peers: Gauge,
    wanted: Gauge,
    subscribed: Gauge,
    queued: Gauge,
    published: Counter,
    lag: HotHistogram,
    connections: u64,
    /// The last failure that was logged.
    said: LoggedFailure,
    is_up: bool,
}

impl Voice {
    /// Creates the voice of a server that is down.
    pub(super) fn new(shard: &Shard) -> Self {
        let (metrics, label) = (shard.context.metrics.clone(), ShardLabel { shard: shard.number });
        Self {
            url: shard.url(),
            up: metrics.bus_up.get_or_create_owned(&label),
            peers: metrics.bus_peers.get_or_create_owned(&label),
            wanted: metrics.bus_wanted_subscriptions.get_or_create_owned(&label),
            subscribed: metrics.bus_subscriptions.get_or_create_owned(&label),
            queued: metrics.bus_queue_messages.get_or_create_owned(&label),
            published: metrics.bus_published.get_or_create_owned(&label),
            lag: metrics.bus_lag_seconds.get_or_create_owned(&label),
            connections: 0,
            said: LoggedFailure::default(),
            is_up: false,
            metrics,
            label,
        }
    }

    /// Notes that both connections are made.
    pub(super) fn connected(&mut self) {
        if self.connections > 0 {
            self.metrics.bus_reconnects.get_or_create(&self.label).inc();
        }
        self.connections += 1;
    }

    /// Counts a message that was published.
    pub(super) fn published(&self) {
        self.published.inc();
    }

    /// Notes how long a heartbeat was under way.
    pub(super) fn lag(&self, lag: Duration) {
        self.lag.observe_time(lag);
    }

    /// Ends the gauges of a server that is none of the bus any more.
    pub(super) fn retire(&self) {
        let metrics = &self.metrics;
        for gauges in [
            &metrics.bus_up,
            &metrics.bus_peers,
            &metrics.bus_wanted_subscriptions,
            &metrics.bus_subscriptions,
            &metrics.bus_queue_messages,
        ] {
            gauges.remove(&self.label);
        }
        log::info!("the bus has left {}: other masters of the Redis Cluster have its slots", self.url);
    }

    /// Sets status and gauges, and logs a change.
    pub(super) fn report(&mut self, shard: &Shard, link: &Link, now: Instant) {
        let (wanted, subscribed) = {
            let attached = shard.attached.lock();
            (attached.wanted(), attached.subscribed())
        };
        self.wanted.set(as_i64(wanted));
        self.subscribed.set(as_i64(subscribed));
        self.queued.set(as_i64(shard.queue.lock().len()));
        self.peers.set(as_i64(shard.nodes.lock().peers().filter(|(_, peer)| !peer.is_silent).count()));
        let is_up = link.state() == State::Up;
        self.up.set(i64::from(is_up));
        let status = match link.down_since() {
            None => Status::Up,
            Some(since) => Status::Down { since, why: why(link, wanted, subscribed) },
        };
        if !(is_up && self.is_up) {
            // A shard of a Redis Cluster may have another master.
            self.url = shard.url();
        }
        let before = shard.set_status(status);
        if is_up && !self.is_up {
            let after = match before {
                Status::Down { since, .. } => now.saturating_duration_since(since),
                Status::Up => Duration::ZERO,
            };
            log::info!("the bus at {} is up after {:.1} s: {subscribed} channels", self.url, after.as_secs_f64());
            self.said.forget();
        }
        self.is_up = is_up;
        if let Some(failure) = link.failure().filter(|failure| self.said.is_due(failure, now)) {
            log::warn!("the bus at {} is down, and tries on: {failure}", self.url);
        }
    }
}

/// The reason why a server is not up.
fn why(link: &Link, wanted: usize, subscribed: usize) -> Arc<str> {
    match (link.state(), link.failure()) {
        (State::Attaching, _) => format!("{subscribed} of {wanted} channels are subscribed").into(),
        (_, Some(failure)) => failure.clone(),
        (State::Checking { .. }, None) => "connected, and being checked".into(),
        _ => "being connected".into(),
    }
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
