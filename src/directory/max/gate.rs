//! The gate before MAX. It bounds the calls at the same time, the joins that wait for a call, and their wait; other
//! joins are refused as `busy`. All threads of the process share one gate. It is measured like a mailbox: a join waits
//! in it, and is handled while it holds its permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pace::{Ended, Pace};
use crate::config;
use crate::directory::Failure;
use crate::event::Code;
use crate::metrics::{GateMetrics, MaxResult, Metrics};

/// Gives out permits to call MAX, first come, first served.
#[derive(Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    issued: Mutex<Issued>,
    waiting: AtomicUsize,
    wait: Duration,
    metrics: GateMetrics,
}

/// The number of permits, and its target.
#[derive(Debug)]
struct Issued {
    pace: Pace,
    /// Permits that are free or taken. They may exceed the limit of the pace until taken ones are returned.
    count: usize,
}

/// The right to call MAX. Dropping it passes it to the next join that waits.
#[derive(Debug)]
#[must_use = "the permit is returned when this is dropped"]
pub struct Permit {
    gate: Arc<Gate>,
    /// `Some` until the drop.
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl Gate {
    /// Makes the gate. Its bounds are `max.inflight_max`, `max.waiting_max` and `max.wait_ms`. The second one becomes
    /// the limit of its class in the metrics, from which it is read for each join.
    pub fn new(settings: &config::Max, metrics: &Metrics) -> Self {
        let inflight_max = settings.inflight_max.min(Semaphore::MAX_PERMITS);
        let pace = Pace::new(inflight_max, Duration::from_millis(settings.timeout_ms));
        let count = pace.limit();
        let metrics = GateMetrics::new(metrics);
        metrics.queue.limit.set(settings.waiting_max);
        metrics.calls_max(count);
        Self {
            permits: Arc::new(Semaphore::new(count)),
            issued: Mutex::new(Issued { pace, count }),
            waiting: AtomicUsize::new(0),
            wait: Duration::from_millis(settings.wait_ms),
            metrics,
        }
    }

    /// Turns `max.inflight_max` while the server runs. Calls under way go on. If the bound is raised, the limit on
    /// calls begins as at the start, and quick answers raise it step by step.
    pub fn set_inflight_max(&self, inflight_max: usize) {
        let mut issued = self.issued.lock();
        issued.pace.set_max(inflight_max.min(Semaphore::MAX_PERMITS));
        self.keep_to_limit(&mut issued);
    }

    /// Waits for a permit. Dropping the future leaves the queue at once.
    ///
    /// # Errors
    /// [`Code::Busy`] if the queue is full, or if the wait is over.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, Failure> {
        let joins = self.metrics.joins();
        joins.offered.inc();
        // This cannot jump the queue, because returned permits go to waiting joins first.
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            self.metrics.passed();
            return Ok(Permit::new(self, permit));
        }
        let _waiting = self.line_up()?;
        match tokio::time::timeout(self.wait, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit::new(self, permit)),
            Ok(Err(_)) | Err(_) => {
                joins.late.inc();
                Err(busy(format!("waited {} ms for a call to MAX", self.wait.as_millis())))
            }
        }
    }

    fn line_up(&self) -> Result<Waiting<'_>, Failure> {
        let waiting_max = self.metrics.queue.limit.get();
        let one_more = |waiting: usize| (waiting < waiting_max).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(waiting) => {
                let since = Instant::now();
                self.metrics.queue.came(waiting + 1, since);
                Ok(Waiting { gate: self, since })
            }
            Err(waiting) => {
                self.metrics.joins().full.inc();
                self.metrics.queue.refused(waiting, Instant::now());
                Err(busy(format!("{waiting_max} joins wait for MAX already")))
            }
        }
    }

    fn ended(&self, ended: Ended, began: Instant, now: Instant) {
        let mut issued = self.issued.lock();
        let full = self.permits.available_permits() == 0;
        issued.pace.ended(ended, began, now, full);
        self.keep_to_limit(&mut issued);
    }

    /// Issues permits up to the limit of the pace, or takes back free ones above it.
    fn keep_to_limit(&self, issued: &mut Issued) {
        let limit = issued.pace.limit();
        self.metrics.calls_max(limit);
        if issued.count < limit {
            self.permits.add_permits(limit - issued.count);
            issued.count = limit;
        } else {
            issued.count -= self.permits.forget_permits(issued.count - limit);
        }
    }
}

impl Permit {
    fn new(gate: &Arc<Gate>, permit: OwnedSemaphorePermit) -> Self {
        gate.metrics.inflight.inc();
        Self { gate: Arc::clone(gate), permit: Some(permit), since: Instant::now() }
    }

    /// Begins one call. Its end adapts the pace of the gate.
    pub(super) fn begin(&self) -> Timing<'_> {
        Timing { gate: &self.gate, began: Instant::now(), ended: Ended::GivenUp, result: MaxResult::GivenUp }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.metrics.inflight.dec();
        self.gate.metrics.joins().handle.observe_time(self.since.elapsed());
        let Some(permit) = self.permit.take() else { return };
        // The permit is returned under the lock, so that a limit which is lowered meanwhile finds it free or taken.
        let mut issued = self.gate.issued.lock();
        if issued.count > issued.pace.limit() {
            permit.forget();
            issued.count -= 1;
        } else {
            drop(permit);
        }
    }
}

/// The time of one call. A call counts as given up if this is dropped without [`Timing::end`].
#[derive(Debug)]
pub(super) struct Timing<'a> {
    gate: &'a Gate,
    began: Instant,
    ended: Ended,
    result: MaxResult,
}

impl Timing<'_> {
    pub(super) fn end(mut self, ended: Ended, result: MaxResult) {
        (self.ended, self.result) = (ended, result);
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.gate.metrics.call_ended(self.result, now.saturating_duration_since(self.began));
        self.gate.ended(self.ended, self.began, now);
    }
}

/// One join in the queue, until it is dropped: with a permit, too late, or because its client has gone.
struct Waiting<'a> {
    gate: &'a Gate,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Ordering::Relaxed);
        self.gate.metrics.queue.messages.dec();
        self.gate.metrics.joins().wait.observe_time(self.since.elapsed());
    }
}

fn busy(cause: String) -> Failure {
    Failure::new(Code::Busy, cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::mailboxes::MailboxReading;
    use crate::metrics::{ActorClass, ReadAtScrape};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    fn gate(inflight_max: usize, waiting_max: usize, wait_ms: u64) -> (Arc<Gate>, Arc<Metrics>) {
        let settings = config::Max { inflight_max, waiting_max, wait_ms, ..config::Config::default().max };
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        (Arc::new(Gate::new(&settings, &metrics)), metrics)
    }

    fn read(metrics: &Metrics) -> MailboxReading {
        metrics.mailbox(ActorClass::Max).read(Instant::now())
    }

    /// A join that has come to the gate: one with a permit, or one that waits.
    type Coming = BoxFuture<'static, Result<Permit, Failure>>;

    fn come(gate: &Arc<Gate>) -> Result<Result<Permit, Failure>, Coming> {
        let gate = gate.clone();
        let mut coming: Coming = Box::pin(async move { gate.enter().await });
        (&mut coming).now_or_never().ok_or(coming)
    }

    fn passes(gate: &Arc<Gate>) -> Permit {
        come(gate).ok().expect("a free permit").unwrap()
    }

    fn waits(gate: &Arc<Gate>) -> Coming {
        come(gate).expect_err("no permit and room in the queue")
    }

    #[actix_rt::test]
    async fn it_is_measured_like_a_mailbox() {
        let (gate, metrics) = gate(1, 2, 60_000);
        let permit = passes(&gate);
        let (first, second) = (waits(&gate), waits(&gate));
        assert_eq!(come(&gate).ok().unwrap().unwrap_err().code, Code::Busy);
        let full = read(&metrics);
        assert_eq!((full.capacity, full.messages, full.peak, full.actors), (2, 2, 2, None));
        // The depths were 0 for the one that passed, 1 and 2, and 2 for the refused one.
        assert_eq!((full.depth.count(), full.depth.sum()), (4, 5.0));
        let joins = &full.kinds[0];
        assert_eq!((joins.offered, joins.full, joins.closed, joins.late), (4, 1, 0, 0));
        assert_eq!((joins.wait.count(), joins.wait.sum(), joins.handle.count()), (1, 0.0, 0));
        assert_eq!(metrics.max_inflight.get(), 1);

        // One gives up, and the other gets the permit.
        drop(first);
        drop(permit);
        let permit = second.await.unwrap();
        let after = read(&metrics);
        assert_eq!((after.messages, after.kinds[0].wait.count(), after.kinds[0].handle.count()), (0, 3, 1));
        drop(permit);
        assert_eq!((metrics.max_inflight.get(), read(&metrics).kinds[0].handle.count()), (0, 2));
    }

    #[actix_rt::test]
    async fn a_join_that_waits_too_long_is_counted() {
        let (gate, metrics) = gate(1, 2, 20);
        let _permit = passes(&gate);
        assert_eq!(waits(&gate).await.unwrap_err().code, Code::Busy);
        let joins = &read(&metrics).kinds[0];
        assert_eq!((joins.offered, joins.full, joins.late, joins.wait.count()), (2, 0, 1, 2));
        assert!(joins.wait.sum() >= 0.02, "{}", joins.wait.sum());
    }

    #[actix_rt::test]
    async fn a_queue_that_is_turned_refuses_newcomers_and_drops_nobody() {
        let (gate, metrics) = gate(1, 3, 60_000);
        let permit = passes(&gate);
        let waiting: Vec<_> = (0..3).map(|_| waits(&gate)).collect();
        let limit = &metrics.mailbox(ActorClass::Max).limit;
        limit.set(1);
        assert!(come(&gate).is_ok_and(|refused| refused.is_err()));
        limit.set(4);
        let fourth = waits(&gate);
        assert!(come(&gate).is_ok_and(|refused| refused.is_err()));
        limit.set(0);
        assert_eq!((read(&metrics).messages, read(&metrics).capacity), (4, 0));
        drop(permit);
        for join in waiting.into_iter().chain([fourth]) {
            drop(join.await.unwrap());
        }
        drop(passes(&gate));
    }

    #[actix_rt::test]
    async fn fewer_or_more_calls_may_be_allowed_at_any_time() {
        let (gate, metrics) = gate(4, 10, 60_000);
        let mut permits: Vec<_> = (0..3).map(|_| passes(&gate)).collect();
        gate.set_inflight_max(2);
        assert_eq!((metrics.max_inflight.get(), metrics.max_inflight_limit.get()), (3, 2), "calls under way go on");
        let first = waits(&gate);
        permits.pop();
        let mut first = Some(first);
        assert!(first.as_mut().unwrap().now_or_never().is_none(), "two calls are under way");
        permits.pop();
        permits.push(first.take().unwrap().await.unwrap());
        let waiting = waits(&gate);
        gate.set_inflight_max(64);
        assert_eq!(metrics.max_inflight_limit.get(), 8, "as at the start: nothing shows yet that MAX bears more");
        permits.push(waiting.await.unwrap());
        permits.extend((0..5).map(|_| passes(&gate)));
        // About as many quick answers as the limit raise it by one, if the limit is reached.
        for _ in 0..9 {
            permits[0].begin().end(Ended::Answered, MaxResult::Status(200));
        }
        assert_eq!(metrics.max_inflight_limit.get(), 9);
        permits.push(passes(&gate));
        drop(waits(&gate));
        gate.set_inflight_max(0);
        assert_eq!(metrics.max_inflight_limit.get(), 1, "there is always one");
        permits.clear();
        let _one = passes(&gate);
        drop(waits(&gate));
        assert_eq!(metrics.max_inflight.get(), 1);
        assert_eq!(metrics.max_request_seconds.read().count(), 9);
        assert!(metrics.render().contains("maxtalk_max_requests_total{result=\"2xx\"} 9\n"));
    }

    #[actix_rt::test]
    async fn a_call_that_nobody_waits_for_is_counted() {
        let (gate, metrics) = gate(1, 1, 60_000);
        let permit = passes(&gate);
        drop(permit.begin());
        permit.begin().end(Ended::Late, MaxResult::Failed(Code::MaxTimeout));
        let text = metrics.render();
        for result in ["given_up", "max_timeout"] {
            assert!(text.contains(&format!("maxtalk_max_requests_total{{result=\"{result}\"}} 1\n")), "{text}");
        }
    }
}
