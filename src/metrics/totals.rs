//! The counts of all talks, deliveries and calls to MAX since the server began, as numbers. They are the sums of rows
//! of `/metrics`, for a comparison of two moments.

use super::histogram::Distribution;
use super::labels::{DeliveryPath, EventLabel, MaxLabel, MaxResult, OkOrCode, OrOther, RefusalLabel, ResultLabel};
use super::server::Metrics;
use crate::event::{Code, EventName, ServerEventName};

/// The counts at one moment.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Talks that were accepted.
    pub talks: u64,
    /// Events given to the outboxes of sessions.
    pub deliveries: u64,
    /// Events of clients that were refused.
    pub refused: u64,
    /// Events folded for readers that are too slow.
    pub folded: u64,
    /// Events left out for readers that are too slow.
    pub dropped: u64,
    /// Readers that were closed because they are too slow.
    pub closed_as_slow: u64,
    /// Times from a talk to its delivery to a member, in seconds.
    pub delivery_seconds: Distribution,
    /// Calls to MAX that ended with each result.
    pub calls: Vec<(MaxResult, u64)>,
    /// Times from a call to MAX to its end, in seconds.
    pub call_seconds: Distribution,
    /// Calls to MAX under way.
    pub calls_inflight: usize,
    /// Calls to MAX that may be under way.
    pub calls_max: usize,
}

impl Metrics {
    /// Returns the counts now.
    pub fn totals(&self) -> Totals {
        let calls = MaxResult::all().map(|result| {
            let row = self.max_requests.get(&MaxLabel { result });
            (result, row.map_or(0, |row| row.get()))
        });
        Totals {
            talks: self.talks.get(&ResultLabel { result: OkOrCode(Ok(())) }).map_or(0, |row| row.get()),
            deliveries: self.events_delivered(),
            refused: self.events_refused(),
            folded: self.slow_folded.get(),
            dropped: self.slow_dropped.get(),
            closed_as_slow: self.slow_closed.get(),
            delivery_seconds: self.delivery_seconds.read(),
            calls: calls.collect(),
            call_seconds: self.max_request_seconds.read(),
            calls_inflight: usize::try_from(self.max_inflight.get()).unwrap_or(0),
            calls_max: usize::try_from(self.max_inflight_limit.get()).unwrap_or(0),
        }
    }

    fn events_delivered(&self) -> u64 {
        let labels = ServerEventName::ALL
            .into_iter()
            .flat_map(|event| DeliveryPath::ALL.into_iter().map(move |path| EventLabel { event, path }));
        labels.filter_map(|label| Some(self.deliveries.get(&label)?.get())).sum()
    }

    fn events_refused(&self) -> u64 {
        let events = EventName::ALL.into_iter().map(Some).chain([None]);
        let labels = events
            .flat_map(|event| Code::ALL.iter().map(move |code| RefusalLabel { event: OrOther(event), code: *code }));
        labels.filter_map(|label| Some(self.refusals.get(&label)?.get())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{GateMetrics, ReadAtScrape};
    use std::time::Duration;

    /// Returns the sum of the rows of a metric in the exposed text.
    fn rows(metrics: &Metrics, name: &str) -> f64 {
        let text = metrics.render();
        let rows = text.lines().filter(|row| row.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        rows.filter_map(|row| row.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    #[test]
    fn totals_are_the_sums_of_the_exposed_rows() {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let empty = metrics.totals();
        assert_eq!((empty.talks, empty.deliveries, empty.refused, empty.call_seconds.count()), (0, 0, 0, 0));
        for event in ServerEventName::ALL {
            metrics.deliveries.get_or_create(&EventLabel { event, path: DeliveryPath::Local }).inc_by(3);
        }
        for (event, code) in [(Some(EventName::Talk), Code::Busy), (None, Code::UnknownEvent)] {
            metrics.refusals.get_or_create(&RefusalLabel { event: OrOther(event), code }).inc();
        }
        for (result, times) in [(Ok(()), 5), (Err(Code::Busy), 7)] {
            metrics.talks.get_or_create(&ResultLabel { result: OkOrCode(result) }).inc_by(times);
        }
        let totals = metrics.totals();
        assert_eq!((totals.talks, totals.deliveries, totals.refused), (5, 21, 2));
        assert_eq!(rows(&metrics, "maxtalk_deliveries_total"), 21.0);
        assert_eq!(rows(&metrics, "maxtalk_refusals_total"), 2.0);
    }

    #[test]
    fn statuses_of_one_class_share_one_row() {
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let gate = GateMetrics::new(&metrics);
        let results = [
            MaxResult::Status(200),
            MaxResult::Status(401),
            MaxResult::Status(404),
            MaxResult::Status(599),
            MaxResult::Status(999),
            MaxResult::Failed(Code::MaxTimeout),
            MaxResult::GivenUp,
        ];
        results.into_iter().for_each(|result| gate.call_ended(result, Duration::from_millis(3)));
        let text = metrics.render();
        let rows = text.lines().filter(|line| line.starts_with("maxtalk_max_requests_total{")).count();
        assert_eq!(rows, 5, "{text}");
        let calls = metrics.totals().calls;
        let ended = calls.iter().filter(|(_, times)| *times > 0).map(|(result, times)| (result.as_str(), *times));
        let expected = [("2xx", 1), ("4xx", 2), ("5xx", 2), (Code::MaxTimeout.as_str(), 1), ("given_up", 1)];
        assert_eq!(ended.collect::<Vec<_>>(), expected);
        assert_eq!(metrics.totals().call_seconds.count(), 7);
    }
}
