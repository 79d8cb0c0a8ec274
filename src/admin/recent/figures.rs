//! From what is measured at two moments to the figures of the time between them: rates per second and quantiles. Pure.

use crate::admin::model::Status;
use crate::admin::model::overview::{Actors, Kind, Mailbox, Max, Rates, Worker};
use crate::metrics::histogram::Distribution;
use crate::metrics::mailboxes::{KindReading, MailboxReading};
use crate::metrics::server::Readings;
use crate::metrics::totals::Totals;
use crate::metrics::{ActorClass, MaxResult, WorkerName};

/// A time that differs from whole seconds by less than this counts as whole seconds: the sampler wakes a little late.
const JITTER_SECONDS: f64 = 0.05;

/// Everything that is measured, at one moment.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Seconds since a fixed moment.
    pub seconds: f64,
    /// The mailboxes and the threads.
    pub readings: Readings,
    /// The counts.
    pub totals: Totals,
}

/// The settings that figures are compared with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source of the value of each setting that bounds mailboxes, in the order of [`ActorClass::ALL`].
    pub sources: [String; ActorClass::ALL.len()],
    /// The setting `max.inflight_max`.
    pub inflight_max: usize,
}

/// The figures of the time between two moments.
#[derive(Clone, Debug)]
pub struct Figures {
    /// What happens in the server.
    pub rates: Rates,
    /// Its threads.
    pub workers: Vec<Worker>,
    /// Its mailboxes, in the order of [`ActorClass::ALL`].
    pub mailboxes: Vec<Mailbox>,
    /// Messages in the deepest mailbox of each class in the last one or two seconds, in the same order.
    pub depths: Vec<usize>,
    /// Actors of each class that panicked, in the same order.
    pub panics: Vec<u64>,
    /// The calls to MAX.
    pub max: Max,
    /// Calls to MAX that failed because of MAX or the network, per second. A refusal of a user is no failure.
    pub max_failures_per_second: f64,
}

/// Returns the setting that bounds the mailboxes of a class.
pub fn setting_of(class: ActorClass) -> &'static str {
    match class {
        ActorClass::Session => "mailbox.session",
        ActorClass::Conversation => "mailbox.conversation",
        ActorClass::Registry => "mailbox.registry",
        ActorClass::Max => "max.waiting_max",
    }
}

impl Figures {
    /// Returns the figures of the time from `then` to `now`. If both are the same moment, nothing has happened.
    pub fn between(then: &Moment, now: &Moment, settings: &Settings) -> Self {
        let past = Past::between(then.seconds, now.seconds);
        let pairs = || then.readings.mailboxes.iter().zip(&now.readings.mailboxes);
        let panicked = |reading: &MailboxReading| reading.actors.map_or(0, |actors| actors.panicked);
        let (before, after) = (&then.totals, &now.totals);
        let delivered = after.delivery_seconds.since(&before.delivery_seconds);
        let rates = Rates {
            talks: past.rate(before.talks, after.talks),
            deliveries: past.rate(before.deliveries, after.deliveries),
            refused: past.rate(before.refused, after.refused),
            folded: past.rate(before.folded, after.folded),
            dropped: past.rate(before.dropped, after.dropped),
            closed_as_slow: past.rate(before.closed_as_slow, after.closed_as_slow),
            delivery_p50_ms: ms(&delivered, 0.5),
            delivery_p99_ms: ms(&delivered, 0.99),
        };
        let mailboxes = pairs().zip(&settings.sources).map(|((then, now), source)| past.mailbox(then, now, source));
        Self {
            rates,
            workers: past.workers(&then.readings, &now.readings),
            mailboxes: mailboxes.collect(),
            depths: now.readings.mailboxes.iter().map(|mailbox| mailbox.recent_peak).collect(),
            panics: pairs().map(|(then, now)| panicked(now).saturating_sub(panicked(then))).collect(),
            max: past.max(then, now, settings),
            max_failures_per_second: past
                .calls(then, now)
                .filter(|(result, _)| is_failure(*result))
                .map(|(_, n)| n)
                .sum(),
        }
    }

    /// Returns the values of all series, each with its name.
    pub fn series(&self, status: &Status) -> Vec<(String, Option<f64>)> {
        let Rates { talks, deliveries, refused, folded, closed_as_slow, delivery_p99_ms, .. } = self.rates;
        let mut series = vec![
            ("sessions".to_owned(), Some(status.sessions as f64)),
            ("conversations".to_owned(), Some(status.conversations as f64)),
            ("talks".to_owned(), Some(talks)),
            ("deliveries".to_owned(), Some(deliveries)),
            ("delivery_p99_ms".to_owned(), delivery_p99_ms),
            ("refused".to_owned(), Some(refused)),
            ("folded".to_owned(), Some(folded)),
            ("closed_as_slow".to_owned(), Some(closed_as_slow)),
        ];
        for mailbox in &self.mailboxes {
            let mut push = |name, value| series.push((format!("mailbox.{}.{name}", mailbox.actor), value));
            push("messages", Some(mailbox.messages as f64));
            push("peak", Some(mailbox.peak as f64));
            push("wait_p99_ms", mailbox.wait_p99_ms);
            push("refused", Some(mailbox.refused_full_per_second));
        }
        let busy = self.workers.iter().map(|worker| (format!("worker.{}.busy", worker.worker), Some(worker.busy)));
        series.extend(busy);
        series
    }
}

/// The length of the time between two moments.
struct Past {
    seconds: f64,
}

impl Past {
    fn between(then: f64, now: f64) -> Self {
        let seconds = (now - then).max(0.0);
        let whole = seconds.round();
        Self { seconds: if (seconds - whole).abs() < JITTER_SECONDS { whole } else { seconds } }
    }

    fn rate(&self, then: u64, now: u64) -> f64 {
        if self.seconds > 0.0 { rounded(now.saturating_sub(then) as f64 / self.seconds) } else { 0.0 }
    }

    fn workers(&self, then: &Readings, now: &Readings) -> Vec<Worker> {
        let workers = now.workers.iter().map(|worker| {
            // A thread that has just begun was not there then.
            let then = then.workers.iter().find(|then| then.name == worker.name);
            let lag = then.map_or_else(|| worker.lag.clone(), |then| worker.lag.since(&then.lag));
            Worker {
                worker: match worker.name {
                    WorkerName::Clients(number) => number.to_string(),
                    WorkerName::Registry => "registry".to_owned(),
                },
                busy: rounded(worker.busy_share),
                lag_p99_ms: ms(&lag, 0.99),
            }
        });
        let mut workers: Vec<_> = workers.collect();
        // Threads come in the order in which they began: that of the registry first.
        workers.sort_by_key(|worker| (worker.worker == "registry", worker.worker.len(), worker.worker.clone()));
        workers
    }

    fn mailbox(&self, then: &MailboxReading, now: &MailboxReading, source: &str) -> Mailbox {
        let depth = now.depth.since(&then.depth);
        let kinds: Vec<_> = then.kinds.iter().zip(&now.kinds).collect();
        let total = |of: fn(&KindReading) -> u64| {
            let sum = |reading: &MailboxReading| reading.kinds.iter().map(of).sum();
            self.rate(sum(then), sum(now))
        };
        let (wait, handle) = (all(&kinds, |kind| &kind.wait), all(&kinds, |kind| &kind.handle));
        let quantile = |of: &Option<Distribution>, quantile| of.as_ref().and_then(|all| ms(all, quantile));
        Mailbox {
            actor: now.class.as_str().to_owned(),
            capacity: now.capacity,
            setting: setting_of(now.class).to_owned(),
            source: source.to_owned(),
            messages: now.messages,
            peak: now.peak,
            depth_p50: depth.quantile(0.5).map(rounded),
            depth_p99: depth.quantile(0.99).map(rounded),
            offered_per_second: total(|kind| kind.offered),
            refused_full_per_second: total(|kind| kind.full),
            refused_closed_per_second: total(|kind| kind.closed),
            given_up_late_per_second: total(|kind| kind.late),
            wait_p50_ms: quantile(&wait, 0.5),
            wait_p99_ms: quantile(&wait, 0.99),
            handle_p50_ms: quantile(&handle, 0.5),
            handle_p99_ms: quantile(&handle, 0.99),
            kinds: kinds.iter().map(|(then, now)| self.kind(then, now)).collect(),
            actors: now.actors.map(|actors| Actors {
                living: actors.living,
                started: actors.started,
                stopped: actors.stopped,
                panicked: actors.panicked,
            }),
        }
    }

    fn kind(&self, then: &KindReading, now: &KindReading) -> Kind {
        Kind {
            message: now.message.as_str().to_owned(),
            offered_per_second: self.rate(then.offered, now.offered),
            refused_full_per_second: self.rate(then.full, now.full),
            wait_p99_ms: ms(&now.wait.since(&then.wait), 0.99),
            handle_p99_ms: ms(&now.handle.since(&then.handle), 0.99),
        }
    }

    /// Returns how often calls to MAX ended with each result, per second.
    fn calls<'a>(&'a self, then: &'a Moment, now: &'a Moment) -> impl Iterator<Item = (MaxResult, f64)> + 'a {
        let pairs = then.totals.calls.iter().zip(&now.totals.calls);
        pairs.map(|((_, then), (result, now))| (*result, self.rate(*then, *now)))
    }

    fn max(&self, then: &Moment, now: &Moment, settings: &Settings) -> Max {
        let queue = &now.readings.mailboxes[ActorClass::Max as usize];
        let times = now.totals.call_seconds.since(&then.totals.call_seconds);
        let errors = self.calls(then, now).filter(|(result, rate)| *rate > 0.0 && result.as_str() != "2xx");
        Max {
            inflight: now.totals.calls_inflight,
            limit: now.totals.calls_max,
            inflight_max: settings.inflight_max,
            waiting: usize::try_from(queue.messages).unwrap_or(usize::MAX),
            waiting_max: queue.capacity,
            calls_per_second: rounded(self.calls(then, now).map(|(_, rate)| rate).sum()),
            p50_ms: ms(&times, 0.5),
            p99_ms: ms(&times, 0.99),
            errors: errors.map(|(result, rate)| (result.as_str().to_owned(), rate)).collect(),
        }
    }
}

/// Returns whether MAX or the network is to blame for a result.
fn is_failure(result: MaxResult) -> bool {
    matches!(result, MaxResult::Status(500..) | MaxResult::Failed(_))
}

/// Returns the distribution of all kinds of message together. `None` if there are no kinds.
fn all(kinds: &[(&KindReading, &KindReading)], of: fn(&KindReading) -> &Distribution) -> Option<Distribution> {
    kinds.iter().map(|(then, now)| of(now).since(of(then))).reduce(|sum, kind| sum.plus(&kind))
}

/// Returns a quantile of times in milliseconds.
fn ms(times: &Distribution, quantile: f64) -> Option<f64> {
    times.quantile(quantile).map(|seconds| rounded(seconds * 1000.0))
}

/// Rounds to four decimals: a bucket of a histogram is not that narrow.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Code, ServerEventName};
    use crate::metrics::{
        DeliveryPath, EventLabel, GateMetrics, Metrics, OkOrCode, OrOther, ReadAtScrape, RefusalLabel, ResultLabel,
        ToConversation,
    };
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    fn settings() -> Settings {
        Settings { sources: ["default", "file x, line 3", "default", "admin"].map(str::to_owned), inflight_max: 64 }
    }

    fn moment(metrics: &Metrics, seconds: f64) -> Moment {
        Moment { seconds, readings: metrics.read(Instant::now()), totals: metrics.totals() }
    }

    #[test]
    fn nothing_has_happened_between_a_moment_and_itself() {
        let metrics = Metrics::new(&[(ActorClass::Session, 16)], ReadAtScrape::default());
        metrics.slow_folded.inc_by(5);
        let now = moment(&metrics, 7.0);
        let figures = Figures::between(&now, &now, &settings());
        assert_eq!(figures.rates, Rates::default());
        assert_eq!((figures.max.calls_per_second, figures.max.p99_ms, figures.max.inflight_max), (0.0, None, 64));
        let settings_of = |mailbox: &Mailbox| (mailbox.setting.clone(), mailbox.source.clone());
        assert_eq!(settings_of(&figures.mailboxes[1]), ("mailbox.conversation".into(), "file x, line 3".into()));
        assert_eq!(settings_of(&figures.mailboxes[3]), ("max.waiting_max".into(), "admin".into()));
        let (session, max) = (&figures.mailboxes[0], &figures.mailboxes[3]);
        assert_eq!((session.capacity, session.wait_p99_ms, max.actors), (16, None, None));
        assert!(session.actors.is_some_and(|actors| actors.living == 0));
    }

    #[test]
    fn rates_and_quantiles_are_those_of_the_time_between() {
        let metrics = Metrics::new(&[(ActorClass::Conversation, 64)], ReadAtScrape::default());
        // Peaks are read at one time, however long the test takes.
        let at = Instant::now();
        let moment = |seconds| Moment { seconds, readings: metrics.read(at), totals: metrics.totals() };
        let conversation = metrics.mailbox(ActorClass::Conversation);
        let talk = conversation.kind(ToConversation::Talk);
        // What was before does not count.
        talk.wait.observe_time(Duration::from_secs(5));
        conversation.came(60, at);
        metrics.talks.get_or_create(&ResultLabel { result: OkOrCode(Ok(())) }).inc_by(1000);
        let then = moment(10.0);

        metrics.talks.get_or_create(&ResultLabel { result: OkOrCode(Ok(())) }).inc_by(8);
        metrics.talks.get_or_create(&ResultLabel { result: OkOrCode(Err(Code::Busy)) }).inc();
        let update = EventLabel { event: ServerEventName::Update, path: DeliveryPath::Local };
        metrics.deliveries.get_or_create(&update).inc_by(80);
        metrics.refusals.get_or_create(&RefusalLabel { event: OrOther(None), code: Code::Busy }).inc();
        metrics.slow_closed.inc();
        metrics.delivery_seconds.observe_time(Duration::from_millis(4));
        talk.offered.inc_by(10);
        talk.full.inc_by(2);
        conversation.kind(ToConversation::Ask).offered.inc_by(4);
        conversation.came(8, at);
        (0..100).for_each(|_| talk.wait.observe_time(Duration::from_millis(2)));
        talk.handle.observe_time(Duration::from_micros(20));
        let now = moment(12.003);

        let figures = Figures::between(&then, &now, &settings());
        let expected = Rates { talks: 4.0, deliveries: 40.0, refused: 0.5, closed_as_slow: 0.5, ..Rates::default() };
        let rates = Rates { delivery_p50_ms: None, delivery_p99_ms: None, ..figures.rates };
        assert_eq!(rates, expected, "2.003 s count as 2 s");
        assert!(figures.rates.delivery_p99_ms.is_some_and(|ms| (2.0..=5.0).contains(&ms)), "{:?}", figures.rates);
        let mailbox = &figures.mailboxes[1];
        assert_eq!((mailbox.offered_per_second, mailbox.refused_full_per_second, mailbox.messages), (7.0, 1.0, 2));
        assert_eq!((mailbox.peak, figures.depths[1]), (60, 60));
        assert!(mailbox.depth_p99.is_some_and(|depth| depth <= 8.0), "{mailbox:?}");
        assert!(mailbox.wait_p99_ms.is_some_and(|ms| (1.0..=2.0).contains(&ms)), "{mailbox:?}");
        assert!(mailbox.handle_p50_ms.is_some_and(|ms| ms <= 0.02), "{mailbox:?}");
        let kinds: BTreeMap<_, _> =
            mailbox.kinds.iter().map(|kind| (&*kind.message, kind.offered_per_second)).collect();
        assert_eq!((kinds["talk"], kinds["ask"]), (5.0, 2.0));

        let late = Figures::between(&then, &Moment { seconds: 12.5, ..now }, &settings());
        assert_eq!(late.rates.talks, 3.2, "a late sample has its own length");
    }

    #[test]
    fn errors_of_max_are_told_from_its_refusals() {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let gate = GateMetrics::new(&metrics);
        let then = moment(&metrics, 1.0);
        gate.calls_max(20);
        gate.inflight.set(3);
        let results = [MaxResult::Status(200), MaxResult::Status(403), MaxResult::Status(503), MaxResult::GivenUp];
        for result in results.into_iter().chain([MaxResult::Failed(Code::MaxTimeout); 2]) {
            gate.call_ended(result, Duration::from_millis(30));
        }
        let Figures { max, max_failures_per_second, .. } = Figures::between(&then, &moment(&metrics, 2.0), &settings());
        assert_eq!((max.inflight, max.limit, max.calls_per_second, max_failures_per_second), (3, 20, 6.0, 3.0));
        let errors: Vec<_> = max.errors.iter().map(|(result, rate)| (&**result, *rate)).collect();
        assert_eq!(errors, [("4xx", 1.0), ("5xx", 1.0), ("given_up", 1.0), ("max_timeout", 2.0)]);
        assert!(max.p99_ms.is_some_and(|ms| (20.0..=50.0).contains(&ms)), "{max:?}");
    }

    #[test]
    fn each_figure_that_the_dashboard_draws_has_a_series() {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let now = moment(&metrics, 1.0);
        let mut figures = Figures::between(&now, &now, &settings());
        figures.workers.push(Worker { worker: "registry".to_owned(), busy: 0.25, lag_p99_ms: None });
        let series = figures.series(&super::super::warnings::tests::status());
        let value = |name: &str| series.iter().find(|(named, _)| named == name).map(|(_, value)| *value);
        assert_eq!(value("sessions"), Some(Some(0.0)));
        assert_eq!(value("delivery_p99_ms"), Some(None));
        assert_eq!(value("mailbox.max.wait_p99_ms"), Some(None));
        assert_eq!(value("mailbox.conversation.refused"), Some(Some(0.0)));
        assert_eq!(value("worker.registry.busy"), Some(Some(0.25)));
        assert_eq!(series.len(), 8 + 4 * 4 + 1);
    }
}
