//! The dashboard for Grafana, as the JSON that Grafana imports. Its panels are rows of one table.

use serde_json::{Value, json};

use super::query::{Place, metric};

const PLACE: Place = Place { matchers: "job=~\"$job\",instance=~\"$instance\"", window: "$__rate_interval" };

/// The version of Grafana's schema for dashboards that this file follows.
const SCHEMA_VERSION: u32 = 39;

/// The width of a panel: a third of Grafana's grid.
const PANEL_WIDTH: usize = 8;
/// The height of a panel, in rows of the grid.
const PANEL_HEIGHT: usize = 8;

/// A panel: a plot of one or more expressions over time.
struct Panel {
    title: &'static str,
    /// The reading of the plot, shown when the operator points at its title.
    reading: &'static str,
    /// The unit in Grafana's terms.
    unit: &'static str,
    /// Expressions, each with the legend of its series.
    lines: Vec<(String, &'static str)>,
}

/// A row of the dashboard, with its panels.
struct Row {
    title: &'static str,
    panels: Vec<Panel>,
}

/// Returns the dashboard.
pub fn dashboard() -> String {
    let mut panels = Vec::new();
    let mut y = 0;
    for Row { title, panels: row } in rows() {
        panels.push(json!({"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}));
        y += 1;
        for (at, panel) in row.iter().enumerate() {
            let (x, below) = (at % 3 * PANEL_WIDTH, at / 3 * PANEL_HEIGHT);
            panels.push(panel.json(x, y + below));
        }
        y += row.len().div_ceil(3) * PANEL_HEIGHT;
    }
    for (at, panel) in panels.iter_mut().enumerate() {
        panel["id"] = json!(at + 1);
    }
    let dashboard = json!({
        "title": "maxtalk",
        "uid": "maxtalk",
        "tags": ["maxtalk"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": true,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            variable("job", "Job", "label_values(maxtalk_build_info, job)"),
            variable("instance", "Instance", "label_values(maxtalk_build_info{job=~\"$job\"}, instance)"),
        ]},
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "query": query, "refresh": 2, "multi": true,
        "includeAll": true, "current": {"text": "All", "value": "$__all"},
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
    })
}

impl Panel {
    fn json(&self, x: usize, y: usize) -> Value {
        let targets = self.lines.iter().zip('A'..='Z').map(|((expression, legend), id)| {
            json!({"expr": expression, "legendFormat": legend, "refId": id.to_string(), "range": true})
        });
        json!({
            "type": "timeseries",
            "title": self.title,
            "description": self.reading,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"x": x, "y": y, "w": PANEL_WIDTH, "h": PANEL_HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi", "sort": "desc"}},
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

fn rows() -> Vec<Row> {
    vec![
        Row { title: "At a glance", panels: glance() },
        Row { title: "Mailboxes", panels: mailboxes() },
        Row { title: "Threads and memory", panels: process() },
        Row { title: "Slow readers", panels: readers() },
        Row { title: "Clients", panels: clients() },
        Row { title: "MAX", panels: max() },
        Row { title: "Cluster", panels: cluster() },
        Row { title: "Feed of MAX", panels: feed() },
    ]
}

fn panel(
    title: &'static str,
    unit: &'static str,
    reading: &'static str,
    lines: impl IntoIterator<Item = (String, &'static str)>,
) -> Panel {
    Panel { title, reading, unit, lines: lines.into_iter().collect() }
}

fn glance() -> Vec<Panel> {
    vec![
        panel(
            "Sessions",
            "short",
            "Open sessions by transport.",
            [(PLACE.sum(metric!(sessions), "", "transport"), "{{transport}}")],
        ),
        panel(
            "Talks",
            "reqps",
            "Talks per second by their result.",
            [(PLACE.rate(metric!(talks), "", "result"), "{{result}}")],
        ),
        panel(
            "Deliveries",
            "reqps",
            "Events given to the outboxes of sessions, per second.",
            [(PLACE.rate(metric!(deliveries), "", "event"), "{{event}}")],
        ),
        panel(
            "Time of a delivery",
            "s",
            "Time from putting a talk into the mailbox of its conversation until its update is written.",
            [
                (PLACE.quantile(0.5, metric!(delivery_seconds), "", ""), "p50"),
                (PLACE.quantile(0.99, metric!(delivery_seconds), "", ""), "p99"),
            ],
        ),
    ]
}

fn mailboxes() -> Vec<Panel> {
    vec![
        panel(
            "Depth against the limit",
            "short",
            "The deepest single mailbox of each class, and the limit. A peak at the limit means refusals.",
            [
                (PLACE.max(metric!(mailbox_peak_messages), "", "actor"), "{{actor}} peak"),
                (PLACE.max(metric!(mailbox_capacity_messages), "", "actor"), "{{actor}} limit"),
            ],
        ),
        panel(
            "Waiting time",
            "s",
            "Time from being put into a mailbox to being handled. If it rises alone, a burst is absorbed. If the \
             handling time rises too, the processor is the limit.",
            [
                (PLACE.quantile(0.5, metric!(mailbox_wait_seconds), "", "actor"), "{{actor}} p50"),
                (PLACE.quantile(0.99, metric!(mailbox_wait_seconds), "", "actor"), "{{actor}} p99"),
            ],
        ),
        panel(
            "Handling time",
            "s",
            "Time from taking a message out of a mailbox until the actor has done its part.",
            [
                (PLACE.quantile(0.5, metric!(actor_handle_seconds), "", "actor"), "{{actor}} p50"),
                (PLACE.quantile(0.99, metric!(actor_handle_seconds), "", "actor"), "{{actor}} p99"),
            ],
        ),
        panel(
            "Messages",
            "reqps",
            "Messages offered per second, those that were refused included.",
            [(PLACE.rate(metric!(mailbox_enqueued), "", "actor, message"), "{{actor}} {{message}}")],
        ),
        panel(
            "Messages found",
            "short",
            "Messages in a mailbox when one more has come.",
            [(PLACE.quantile(0.99, metric!(mailbox_depth_messages), "", "actor"), "{{actor}} p99")],
        ),
        panel(
            "Refused messages",
            "reqps",
            "Messages that a mailbox refused: the price of its limit.",
            [(PLACE.rate(metric!(mailbox_rejected), "", "actor, reason"), "{{actor}} {{reason}}")],
        ),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        panel(
            "Busy",
            "percentunit",
            "The share of its time that a thread is busy. Mailboxes on a thread without idle time only grow.",
            [(PLACE.rate(metric!(worker_busy_seconds), "", "instance, worker"), "{{instance}} {{worker}}")],
        ),
        panel(
            "Lag",
            "s",
            "How late a thread wakes. The timer alone is up to 2 ms late.",
            [(
                PLACE.quantile(0.99, metric!(worker_lag_seconds), "", "instance, worker"),
                "{{instance}} {{worker}} p99",
            )],
        ),
        panel(
            "Memory",
            "bytes",
            "Resident memory, and the part of it that the program has allocated.",
            [
                (PLACE.sum(metric!(resident_memory_bytes), "", "instance"), "{{instance}} resident"),
                (PLACE.sum(metric!(allocated_bytes), "", "instance"), "{{instance}} allocated"),
            ],
        ),
    ]
}

fn readers() -> Vec<Panel> {
    vec![
        panel(
            "Slow sessions",
            "short",
            "Sessions with more than half of their outbox in use, and those that miss news.",
            [
                (PLACE.sum(metric!(slow_sessions), "", ""), "slow"),
                (PLACE.sum(metric!(behind_sessions), "", ""), "behind"),
            ],
        ),
        panel(
            "Actions",
            "reqps",
            "Events folded or left out for slow readers, and slow readers closed.",
            [(PLACE.rate(metric!(slow_actions), "", "action"), "{{action}}")],
        ),
        panel(
            "Memory for slow readers",
            "bytes",
            "Bytes that wait in outboxes.",
            [(PLACE.sum(metric!(session_queue_bytes), "", ""), "bytes")],
        ),
    ]
}

fn clients() -> Vec<Panel> {
    vec![
        panel(
            "Closed sessions",
            "reqps",
            "Closed sessions per second by reason.",
            [(PLACE.rate(metric!(sessions_closed), "", "reason"), "{{reason}}")],
        ),
        panel(
            "Handshakes",
            "reqps",
            "Handshakes, and other requests to the endpoint that were refused.",
            [(PLACE.rate(metric!(handshakes), "", "result"), "{{result}}")],
        ),
        panel(
            "Refusals",
            "reqps",
            "Events of clients that were refused, and clients refused by a bound.",
            [
                (PLACE.rate(metric!(refusals), "", "code"), "{{code}}"),
                (PLACE.rate(metric!(limited), "", "limit"), "{{limit}}"),
            ],
        ),
    ]
}

fn max() -> Vec<Panel> {
    vec![
        panel(
            "Joins",
            "reqps",
            "Joins per second by their result.",
            [(PLACE.rate(metric!(joins), "", "result"), "{{result}}")],
        ),
        panel(
            "Time of a join",
            "s",
            "Time from a join to its answer.",
            [
                (PLACE.quantile(0.5, metric!(join_seconds), "", ""), "p50"),
                (PLACE.quantile(0.99, metric!(join_seconds), "", ""), "p99"),
            ],
        ),
        panel(
            "Calls to MAX",
            "short",
            "Calls under way and their limit, which falls while MAX is slow.",
            [
                (PLACE.sum(metric!(max_inflight), "", ""), "under way"),
                (PLACE.sum(metric!(max_inflight_limit), "", ""), "limit"),
                (PLACE.sum(metric!(mailbox_messages), "actor=\"max\"", ""), "waiting"),
            ],
        ),
    ]
}

fn cluster() -> Vec<Panel> {
    vec![
        panel(
            "Bus and other nodes",
            "short",
            "Whether each Redis of the cluster is up, 1 or 0, and how many other nodes are heard there.",
            [
                (PLACE.max(metric!(bus_up), "", "instance, shard"), "{{instance}} {{shard}} up"),
                (PLACE.max(metric!(bus_peers), "", "instance, shard"), "{{instance}} {{shard}} nodes"),
            ],
        ),
        panel(
            "Time over the bus",
            "s",
            "Time from publishing a heartbeat of a node until it comes back to it.",
            [
                (PLACE.quantile(0.5, metric!(bus_lag_seconds), "", "shard"), "{{shard}} p50"),
                (PLACE.quantile(0.99, metric!(bus_lag_seconds), "", "shard"), "{{shard}} p99"),
            ],
        ),
        panel(
            "Messages over the bus",
            "reqps",
            "Messages per second that Redis has taken, and those that came by their kind.",
            [
                (PLACE.rate(metric!(bus_published), "", ""), "published"),
                (PLACE.rate(metric!(bus_received), "", "kind"), "{{kind}}"),
            ],
        ),
        panel(
            "Channels and waiting messages",
            "short",
            "Channels that are wanted and subscribed, and messages that wait for Redis. The first two differ while the \
             bus comes up.",
            [
                (PLACE.sum(metric!(bus_wanted_subscriptions), "", ""), "wanted"),
                (PLACE.sum(metric!(bus_subscriptions), "", ""), "subscribed"),
                (PLACE.sum(metric!(bus_queue_messages), "", ""), "waiting"),
            ],
        ),
        panel(
            "Lost on the bus",
            "reqps",
            "Messages per second that did not fit or were refused, and gaps in the news of conversations. Sessions are \
             told of each gap.",
            [
                (PLACE.rate(metric!(bus_dropped), "", "direction"), "dropped {{direction}}"),
                (PLACE.rate(metric!(bus_rejected), "", "reason"), "refused {{reason}}"),
                (PLACE.rate(metric!(bus_gaps), "", "cause"), "gap {{cause}}"),
            ],
        ),
    ]
}

fn feed() -> Vec<Panel> {
    vec![
        panel(
            "Feed",
            "short",
            "Whether the RabbitMQ of MAX is heard, 1 or 0, and how many users wait to be asked about.",
            [
                (PLACE.max(metric!(feed_up), "", "instance"), "{{instance}} up"),
                (PLACE.max(metric!(feed_refreshes_waiting), "", "instance"), "{{instance}} waiting"),
            ],
        ),
        panel(
            "Messages of the feed",
            "reqps",
            "Messages per second that were taken, by their kind, those that were refused, gaps that clients are told \
             of, and users whose memberships were asked for.",
            [
                (PLACE.rate(metric!(feed_received), "", "kind"), "{{kind}}"),
                (PLACE.rate(metric!(feed_rejected), "", "reason"), "refused {{reason}}"),
                (PLACE.rate(metric!(feed_gaps), "", "cause"), "gap {{cause}}"),
                (PLACE.rate(metric!(feed_refreshes), "", ""), "refreshes"),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::query::tests::check_labels;

    #[test]
    fn the_dashboard_is_what_grafana_imports() {
        let dashboard: Value = serde_json::from_str(&dashboard()).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let plots: Vec<_> = panels.iter().filter(|panel| panel["type"] == "timeseries").collect();
        assert_eq!(plots.len(), rows().iter().map(|row| row.panels.len()).sum::<usize>());
        let mut places = std::collections::BTreeSet::new();
        for panel in panels {
            let place = &panel["gridPos"];
            assert!(places.insert((place["y"].as_u64(), place["x"].as_u64())), "two panels at {place}");
        }
        for plot in plots {
            for target in plot["targets"].as_array().unwrap() {
                check_labels(target["expr"].as_str().unwrap());
            }
        }
    }
}
