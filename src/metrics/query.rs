//! Expressions in PromQL over the metrics of the table. A name that is not in the table does not compile.

use prometheus_client::metrics::MetricType;

use super::table::{Declaration, TABLE};

/// Returns the metric of this name in the table. Called in a `const`, it stops the compiler if there is none.
pub(super) const fn declared(name: &str) -> &'static Declaration {
    let mut at = 0;
    while at < TABLE.len() {
        if is_same(TABLE[at].name.as_bytes(), name.as_bytes()) {
            return &TABLE[at];
        }
        at += 1;
    }
    panic!("there is no such metric");
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The metric of this name, checked by the compiler.
macro_rules! metric {
    ($name:ident) => {
        const { $crate::metrics::query::declared(stringify!($name)) }
    };
}
pub(super) use metric;

/// The places where expressions are used: the series that they select, and the window of their rates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Matchers for all series, such as `job="maxtalk"`.
    pub(super) matchers: &'static str,
    /// The window of a rate, such as `5m`.
    pub(super) window: &'static str,
}

impl Place {
    /// The series of a metric, with matchers of its own such as `reason="full"`.
    fn series(self, metric: &Declaration, ending: &str, matchers: &str) -> String {
        let all = [self.matchers, matchers].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",");
        format!("{}{ending}{{{all}}}", name(metric)).replace("{}", "")
    }

    /// A gauge, summed over all labels but those of `by`.
    pub(super) fn sum(self, metric: &Declaration, matchers: &str, by: &str) -> String {
        format!("sum{} ({})", of(by), self.series(metric, "", matchers))
    }

    /// The highest value of a gauge for each value of the labels `by`.
    pub(super) fn max(self, metric: &Declaration, matchers: &str, by: &str) -> String {
        format!("max{} ({})", of(by), self.series(metric, "", matchers))
    }

    /// The highest of the medians of a gauge over `window` for each value of the labels `by`.
    pub(super) fn median(self, metric: &Declaration, matchers: &str, by: &str, window: &str) -> String {
        format!("max{} (quantile_over_time(0.5, {}[{window}]))", of(by), self.series(metric, "", matchers))
    }

    /// The rate of a counter per second, summed over all labels but those of `by`.
    pub(super) fn rate(self, metric: &Declaration, matchers: &str, by: &str) -> String {
        format!("sum{} (rate({}[{}]))", of(by), self.series(metric, "", matchers), self.window)
    }

    /// The increase of a counter over the window.
    pub(super) fn increase(self, metric: &Declaration, matchers: &str, by: &str) -> String {
        format!("sum{} (increase({}[{}]))", of(by), self.series(metric, "", matchers), self.window)
    }

    /// A quantile of a histogram for each value of the labels `by`.
    pub(super) fn quantile(self, quantile: f64, metric: &Declaration, matchers: &str, by: &str) -> String {
        let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
        let series = self.series(metric, "_bucket", matchers);
        format!("histogram_quantile({quantile}, sum by ({by}) (rate({series}[{}])))", self.window)
    }
}

fn of(by: &str) -> String {
    if by.is_empty() { String::new() } else { format!(" by ({by})") }
}

/// Returns the name of a metric in the exposed text.
pub(super) fn name(metric: &Declaration) -> String {
    let ending = match metric.kind {
        MetricType::Counter => "_total",
        MetricType::Info => "_info",
        _ => "",
    };
    format!("{}_{}{ending}", metric.prefix, metric.name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PLACE: Place = Place { matchers: "job=\"m\"", window: "5m" };

    #[test]
    fn expressions_name_the_series_as_they_are_exposed() {
        let table = [
            (PLACE.sum(metric!(mailbox_messages), "", "actor"), "sum by (actor) (maxtalk_mailbox_messages{job=\"m\"})"),
            (
                PLACE.rate(metric!(mailbox_rejected), "reason=\"full\"", ""),
                "sum (rate(maxtalk_mailbox_rejected_total{job=\"m\",reason=\"full\"}[5m]))",
            ),
            (
                PLACE.quantile(0.99, metric!(mailbox_wait_seconds), "", "actor"),
                "histogram_quantile(0.99, sum by (le, actor) \
                 (rate(maxtalk_mailbox_wait_seconds_bucket{job=\"m\"}[5m])))",
            ),
            (Place { matchers: "", window: "1m" }.max(metric!(build), "", ""), "max (maxtalk_build_info)"),
        ];
        for (expression, expected) in table {
            assert_eq!(expression, expected);
        }
    }

    /// Panics if an expression has a label that its metrics do not have.
    pub(in super::super) fn check_labels(expression: &str) {
        let is_in = |metric: &&Declaration| expression.contains(&format!("{}_{}", metric.prefix, metric.name));
        let metrics = TABLE.iter().filter(is_in);
        let known: Vec<_> =
            metrics.flat_map(|metric| metric.labels).copied().chain(["le", "job", "instance"]).collect();
        for part in expression.split("by (").skip(1) {
            let labels = part.split(')').next().unwrap_or_default();
            for label in labels.split(", ") {
                assert!(known.contains(&label), "{label} in {expression}");
            }
        }
        for matcher in expression.split(['{', ',']).filter_map(|part| part.split_once('=')) {
            let label = matcher.0.trim_end_matches('!');
            let is_label = label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(!is_label || known.contains(&label), "{label} in {expression}");
        }
    }
}
