//! The alerting rules for Prometheus, as the file that Prometheus reads. They are rows of one table, each with a line
//! that says what to do.

use serde_json::Value;

use super::query::{Place, metric};

const PLACE: Place = Place { matchers: "", window: "5m" };

/// An alerting rule.
struct Alert {
    name: &'static str,
    expression: String,
    /// How long the expression has to hold, in Prometheus's form.
    holds: &'static str,
    severity: &'static str,
    summary: &'static str,
    runbook: &'static str,
}

/// Returns the file of the rules.
pub fn rules() -> String {
    let mut text = String::from(
        "# Alerting rules for maxtalk: add this file to rule_files in prometheus.yml.\ngroups:\n  - name: maxtalk\n    \
         rules:\n",
    );
    for Alert { name, expression, holds, severity, summary, runbook } in alerts() {
        // A JSON string is also a YAML string.
        let quoted = |text: &str| Value::from(text).to_string();
        text += &format!(
            "      - alert: {name}\n        expr: {}\n        for: {holds}\n        labels:\n          severity: \
             {severity}\n        annotations:\n          summary: {}\n          runbook: {}\n",
            quoted(&expression),
            quoted(summary),
            quoted(runbook),
        );
    }
    text
}

fn alerts() -> Vec<Alert> {
    [mailboxes(), readers(), service(), cluster(), feed()].into_iter().flatten().collect()
}

fn mailboxes() -> Vec<Alert> {
    let (peak, capacity) = (metric!(mailbox_peak_messages), metric!(mailbox_capacity_messages));
    vec![
        Alert {
            name: "MaxtalkMailboxRefuses",
            expression: format!("{} > 0", PLACE.rate(metric!(mailbox_rejected), "reason=\"full\"", "actor")),
            holds: "5m",
            severity: "warning",
            summary: "A full mailbox of the class {{ $labels.actor }} refuses messages.",
            runbook: "If the waiting time is short, raise mailbox.{{ $labels.actor }}, or max.waiting_max for max. If \
                      it is long, add workers or machines: a larger mailbox only adds delay.",
        },
        Alert {
            name: "MaxtalkMailboxNearLimit",
            expression: format!(
                "{} / {} > 0.8",
                PLACE.max(peak, "", "instance, actor"),
                PLACE.max(capacity, "", "instance, actor")
            ),
            holds: "5m",
            severity: "warning",
            summary: "The deepest mailbox of the class {{ $labels.actor }} is above 80 % of its limit.",
            runbook: "maxtalk top shows the class. Compare waiting and handling time before the limit is turned.",
        },
        Alert {
            name: "MaxtalkMailboxWaits",
            expression: format!("{} > 0.25", PLACE.quantile(0.99, metric!(mailbox_wait_seconds), "", "actor")),
            holds: "10m",
            severity: "warning",
            summary: "Messages wait longer than 250 ms in mailboxes of the class {{ $labels.actor }}.",
            runbook: "Look for a busy worker or a hot conversation in maxtalk top. A smaller limit bounds the wait.",
        },
    ]
}

fn readers() -> Vec<Alert> {
    vec![
        Alert {
            name: "MaxtalkSlowReaders",
            expression: format!(
                "{} / {} > 0.05",
                PLACE.sum(metric!(slow_sessions), "", "instance"),
                PLACE.sum(metric!(sessions), "", "instance")
            ),
            holds: "5m",
            severity: "warning",
            summary: "More than 5 % of the sessions read too slowly.",
            runbook: "If they share a network, look there. If all are slow, compare the rate of deliveries with \
                      that of usual days.",
        },
        Alert {
            name: "MaxtalkSlowReadersClosed",
            expression: format!("{} > 1", PLACE.rate(metric!(slow_actions), "action=\"disconnected\"", "instance")),
            holds: "5m",
            severity: "warning",
            summary: "More than one slow reader per second is closed.",
            runbook: "Raise outbox.grace_ms or outbox.messages_max, or lower the rate of talks of the hottest \
                      conversations.",
        },
    ]
}

fn service() -> Vec<Alert> {
    vec![
        Alert {
            name: "MaxtalkActorPanics",
            expression: format!("{} > 0", PLACE.increase(metric!(actors_stopped), "reason=\"panic\"", "actor")),
            holds: "0m",
            severity: "critical",
            summary: "An actor of the class {{ $labels.actor }} has panicked.",
            runbook: "The log has the message and the place. It is a fault of maxtalk: report it.",
        },
        Alert {
            name: "MaxtalkWorkerStuck",
            expression: format!("{} > 2", PLACE.max(metric!(worker_silence_seconds), "", "instance, listener")),
            holds: "1m",
            severity: "critical",
            summary: "A worker does not run.",
            runbook: "Look for a machine without processor time, or a stopped process. The log names the worker.",
        },
        Alert {
            name: "MaxtalkWorkerBusy",
            expression: format!("{} > 0.9", PLACE.rate(metric!(worker_busy_seconds), "", "instance, worker")),
            holds: "10m",
            severity: "warning",
            summary: "The worker {{ $labels.worker }} is busy for more than 90 % of its time.",
            runbook: "Every mailbox on it waits. Look for a hot conversation in maxtalk top; otherwise add workers, or \
                      machines. A larger mailbox only adds delay.",
        },
        Alert {
            name: "MaxtalkJoinsFail",
            expression: format!(
                "{} / {} > 0.1",
                PLACE.rate(metric!(joins), "result!=\"ok\"", "instance"),
                PLACE.rate(metric!(joins), "", "instance")
            ),
            holds: "5m",
            severity: "critical",
            summary: "More than 10 % of the joins fail.",
            runbook: "maxtalk_joins_total has the codes. With max_timeout and max_unavailable look at MAX, which \
                      maxtalk check asks.",
        },
        Alert {
            name: "MaxtalkJoinsWait",
            expression: format!("{} > 100", PLACE.sum(metric!(mailbox_messages), "actor=\"max\"", "instance")),
            holds: "5m",
            severity: "warning",
            summary: "More than 100 joins wait for their call to MAX.",
            runbook: "If MAX is idle, raise max.inflight_max; if it is slow, add processes of MAX.",
        },
        Alert {
            name: "MaxtalkLogLinesLost",
            expression: format!("{} > 0", PLACE.increase(metric!(log_lines_lost), "", "instance")),
            holds: "0m",
            severity: "warning",
            summary: "Lines of the log were lost.",
            runbook: "The reader of standard error is too slow, or log.filter too chatty.",
        },
    ]
}

fn cluster() -> Vec<Alert> {
    let peers = metric!(bus_peers);
    vec![
        Alert {
            name: "MaxtalkBusDown",
            expression: format!("{} == 0", PLACE.max(metric!(bus_up), "", "instance, shard")),
            holds: "1m",
            severity: "critical",
            summary: "The node {{ $labels.instance }} does not reach Redis {{ $labels.shard }} of its cluster.",
            runbook: "Members on one node hear one another, news of other nodes does not arrive. Look at Redis: \
                      maxtalk check --connect says which step fails.",
        },
        Alert {
            name: "MaxtalkBusPeersMissing",
            expression: format!(
                "{} < {}",
                PLACE.max(peers, "", "instance, shard"),
                PLACE.median(peers, "", "instance, shard", "1h")
            ),
            holds: "5m",
            severity: "warning",
            summary: "The node {{ $labels.instance }} hears fewer other nodes than in the hour before.",
            runbook: "If no node was stopped on purpose, /api/v1/cluster names the silent ones: look at their logs, \
                      and at their way to Redis.",
        },
        Alert {
            name: "MaxtalkBusDrops",
            expression: format!("{} > 0", PLACE.increase(metric!(bus_dropped), "", "instance, direction")),
            holds: "0m",
            severity: "warning",
            summary: "Messages of the cluster do not fit ({{ $labels.direction }}): sessions may miss news.",
            runbook: "Sessions are told what they may have missed. With out, Redis is away or slow: raise \
                      cluster.queue_messages_max only if it is so for moments. With in, a conversation is hot: \
                      find it in maxtalk top.",
        },
        Alert {
            name: "MaxtalkBusGaps",
            expression: format!("{} > 0", PLACE.increase(metric!(bus_gaps), "", "instance, cause")),
            holds: "5m",
            severity: "warning",
            summary: "News of other nodes has gaps ({{ $labels.cause }}): sessions may miss some.",
            runbook: "Sessions are told what they may have missed. The log says when the bus was down and \
                      which node was silent. If neither was so, look at maxtalk_bus_dropped_total of all nodes.",
        },
    ]
}

fn feed() -> Vec<Alert> {
    vec![
        Alert {
            name: "MaxtalkFeedDown",
            expression: format!("{} == 0", PLACE.max(metric!(feed_up), "", "instance")),
            holds: "1m",
            severity: "critical",
            summary: "{{ $labels.instance }} does not hear what MAX announces in its RabbitMQ.",
            runbook: "Talks and the API go on. Look at RabbitMQ: maxtalk check --connect says which step fails.",
        },
        Alert {
            name: "MaxtalkFeedGaps",
            expression: format!("{} > 0", PLACE.increase(metric!(feed_gaps), "", "instance, cause")),
            holds: "5m",
            severity: "warning",
            summary: "What MAX announces is not all heard ({{ $labels.cause }}).",
            runbook: "Sessions are told what they may have missed. With outage, look at RabbitMQ and its network; with \
                      mailbox, find the hot conversation in maxtalk top; with queue, the thread of the feed is too \
                      slow.",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::query::tests::check_labels;
    use std::collections::BTreeSet;

    #[test]
    fn rules_have_names_of_their_own_and_labels_that_exist() {
        let names: BTreeSet<_> = alerts().iter().map(|alert| alert.name).collect();
        assert_eq!(names.len(), alerts().len());
        for alert in alerts() {
            check_labels(&alert.expression);
            assert!(!alert.runbook.is_empty() && !alert.summary.is_empty());
        }
    }
}
