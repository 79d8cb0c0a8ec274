//! The measurements of the gate in front of MAX, and of the calls behind it.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::histogram::HotHistogram;
use super::labels::{ActorClass, MaxLabel, MaxResult};
use super::mailboxes::{KindMetrics, MailboxMetrics};
use super::messages::ToMax;
use super::server::Metrics;

/// The gate in front of MAX.
#[derive(Debug)]
pub struct GateMetrics {
    /// The joins that wait in it, as in a mailbox.
    pub queue: Arc<MailboxMetrics>,
    /// Permits that are taken.
    pub inflight: Gauge,
    inflight_limit: Gauge,
    requests: Family<MaxLabel, Counter>,
    request_seconds: HotHistogram,
}

impl GateMetrics {
    /// Returns the rows of the gate.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            queue: metrics.mailbox(ActorClass::Max).clone(),
            inflight: metrics.max_inflight.clone(),
            inflight_limit: metrics.max_inflight_limit.clone(),
            requests: metrics.max_requests.clone(),
            request_seconds: metrics.max_request_seconds.clone(),
        }
    }

    /// Returns the metrics of the joins.
    pub fn joins(&self) -> &KindMetrics {
        self.queue.kind(ToMax::Join)
    }

    /// Counts a join that passes without waiting.
    pub fn passed(&self) {
        self.queue.passed();
        self.joins().wait.observe_time(Duration::ZERO);
    }

    /// Sets the number of calls that may be under way.
    pub fn calls_max(&self, calls: usize) {
        self.inflight_limit.set(calls.try_into().unwrap_or(i64::MAX));
    }

    /// Counts a call that has ended.
    pub fn call_ended(&self, result: MaxResult, time: Duration) {
        self.requests.get_or_create(&MaxLabel { result: result.of_class() }).inc();
        self.request_seconds.observe_time(time);
    }
}
