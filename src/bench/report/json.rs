//! The report as JSON for programs: the figures of the table, and the curves. If a figure has a unit, its name ends
//! with that. An unknown figure is null.

use serde_json::{Value, json};

use super::words::{advice, doubts};
use crate::bench::mistakes::Hint;
use crate::bench::outcome::{
    Accounts, Circumstances, Cluster, Exposed, Generator, Knee, Latency, Node, Report, Server, Used,
};
use crate::bench::plan::{Pace, Plan, Sizes};

/// The version of the form of all reports as JSON. A field that is added leaves it as it is.
pub(super) const FORMAT: u32 = 1;

/// Returns the report as one indented object, followed by a line break.
pub fn json(report: &Report) -> String {
    format!("{:#}\n", value(report))
}

fn value(report: &Report) -> Value {
    let seconds = report.seconds.iter().map(|second| {
        json!({
            "talks": second.talks,
            "deliveries": second.deliveries,
            "p50_us": second.p50,
            "p99_us": second.p99,
            "max_us": second.max,
        })
    });
    let by_size = report.spreads.iter().map(|spread| {
        json!({
            "members_min": spread.members_min,
            "members_max": spread.members_max,
            "deliveries": summary(&spread.delivery),
            "first_to_last": summary(&spread.first_to_last),
        })
    });
    let faults = report.faults().into_iter().map(|(name, number)| json!({ "name": name, "number": number }));
    let errors = report.errors.iter().map(|(code, number)| json!({ "code": code, "number": number }));
    let mut value = json!({
        "format": FORMAT,
        "kind": "run",
        "circumstances": circumstances(&report.circumstances),
        "plan": plan(&report.plan),
        "conversations": report.conversations,
        "members_max": report.members_max,
        "measured_s": report.measured.as_secs_f64(),
        "interrupted": report.interrupted.is_some(),
        "interrupted_after_s": report.interrupted.map(|interruption| interruption.measured.as_secs_f64()),
        "valid": report.is_valid(),
        "invalid_reason": doubts(report),
        "advice": advice(report),
        "clean": report.is_clean(),
        "protocol_hint": Hint::of_run(report).map(|hint| hint.to_string()),
        "faults": faults.collect::<Value>(),
        "planned_talks_per_s": report.planned_per_s(),
        "talks_per_s": report.talks_per_s(),
        "deliveries_per_s": report.deliveries_per_s(),
        "leaves_per_s": report.leaves_per_s(),
        "received_bytes": report.received_bytes,
        "received_bytes_per_s": report.bytes_per_s(),
        "generator": generator(&report.generator),
        "joins": latency(&report.joins),
        "deliveries_corrected": latency(&report.corrected),
        "deliveries_raw": latency(&report.raw),
        "last_receipts": latency(&report.last),
        "seconds": seconds.collect::<Value>(),
        "by_size": by_size.collect::<Value>(),
        "drained_s": report.drained.map(|drained| drained.as_secs_f64()),
        "accounts": accounts(&report.accounts),
        "connections_lost": report.connections_lost,
        "churn_failures": report.churn_failures,
        "talks_not_taken": report.talks_not_taken,
        "refused_talks": report.refused_talks,
        "rate_limited_talks": report.limited_talks,
        "refused_joins": report.refused_joins,
        "errors": errors.collect::<Value>(),
        "server": report.server.as_ref().map(|used| server(used, report.memory_per_connection())),
        "exposed": report.exposed.as_ref().map(exposed),
        "knee": report.knee.as_ref().map(knee),
    });
    add_nodes(&mut value, report.cluster.as_ref());
    value
}

/// Adds the figures of a run over several nodes.
fn add_nodes(value: &mut Value, cluster: Option<&Cluster>) {
    let extra = |percentile| cluster.and_then(|cluster| cluster.extra_us(percentile));
    value["deliveries_within_node"] = cluster.map(|cluster| latency(&cluster.local)).into();
    value["deliveries_between_nodes"] = cluster.map(|cluster| latency(&cluster.remote)).into();
    value["bus_extra_p50_us"] = extra(50.0).into();
    value["bus_extra_p99_us"] = extra(99.0).into();
    value["nodes"] = cluster.iter().flat_map(|cluster| &cluster.nodes).map(node).collect();
    value["redis"] = cluster.and_then(|cluster| cluster.redis).as_ref().map(used).into();
}

fn generator(generator: &Generator) -> Value {
    json!({
        "lag_p99_us": generator.lag_p99,
        "lag_max_us": generator.lag_max,
        "busy_share": generator.busy_share,
        "machine_idle_share": generator.machine.map(|machine| machine.idle),
        "machine_stolen_share": generator.machine.map(|machine| machine.stolen),
    })
}

fn circumstances(circumstances: &Circumstances) -> Value {
    json!({
        "machine": circumstances.machine,
        "build": circumstances.build,
        "began": circumstances.began,
        "url": circumstances.url,
        "server": circumstances.server,
        "protocol": circumstances.protocol,
    })
}

fn accounts(accounts: &Accounts) -> Value {
    json!({
        "sent": accounts.sent,
        "expected": accounts.expected,
        "received": accounts.received,
        "declared_missing": accounts.declared_missing,
        "told_missing": accounts.told_missing,
        "lost": accounts.lost,
        "duplicated": accounts.duplicated,
        "out_of_order": accounts.out_of_order,
        "misdelivered": accounts.misdelivered,
    })
}

pub(super) fn plan(plan: &Plan) -> Value {
    let mix = plan.mix.iter().map(|(way, weight)| {
        json!({
            "generation": way.generation.as_str(),
            "transport": way.transport.as_str(),
            "weight": weight,
        })
    });
    json!({
        "connections": plan.connections,
        "members": plan.members,
        "conversations_per_user": plan.conversations_per_user,
        "sizes": match plan.sizes {
            Sizes::Even => json!({ "kind": "even" }),
            Sizes::Zipf(exponent) => json!({ "kind": "zipf", "exponent": exponent }),
            Sizes::Learnt => json!({ "kind": "learnt" }),
        },
        "pace": match plan.pace {
            Pace::Open { rate } => json!({ "kind": "open", "talks_per_s": rate }),
            Pace::Bursts { rate } => json!({ "kind": "bursts", "talks_per_s": rate }),
            Pace::Closed { window } => json!({ "kind": "closed", "window": window }),
        },
        "ramp_per_s": plan.ramp,
        "duration_s": plan.duration.as_secs_f64(),
        "warm_up_s": plan.warm_up.as_secs_f64(),
        "payload_bytes": plan.payload_bytes,
        "mix": mix.collect::<Value>(),
        "churn_per_s": plan.churn,
        "slow_share": plan.slow_share,
        "user_prefix": plan.user_prefix,
        "seed": plan.seed,
        "lag_max_us": plan.lag_max.as_micros() as u64,
    })
}

fn latency(latency: &Latency) -> Value {
    let percentiles = latency.percentiles.iter().map(|(percentile, us)| json!({ "percentile": percentile, "us": us }));
    let mut value = summary(latency);
    value["percentiles"] = percentiles.collect();
    value
}

fn summary(latency: &Latency) -> Value {
    let any = latency.count > 0;
    json!({
        "count": latency.count,
        "mean_us": any.then_some(latency.mean),
        "p50_us": latency.at(50.0),
        "p90_us": latency.at(90.0),
        "p99_us": latency.at(99.0),
        "p99_9_us": latency.at(99.9),
        "max_us": any.then_some(latency.max),
    })
}

fn server(server: &Server, memory_per_connection: Option<f64>) -> Value {
    json!({
        "cpu_s": server.cpu.as_secs_f64(),
        "cpu_per_delivery_us": server.cpu_per_delivery,
        "cpu_per_join_us": server.cpu_per_join,
        "rss_before_bytes": server.memory.map(|memory| memory.before),
        "rss_joined_bytes": server.memory.map(|memory| memory.joined),
        "rss_peak_bytes": server.memory.map(|memory| memory.peak),
        "memory_per_connection_bytes": memory_per_connection,
    })
}

fn node(node: &Node) -> Value {
    let mut value = used(&node.used.unwrap_or_else(Used::unknown));
    if node.used.is_none() {
        value["cpu_s"] = Value::Null;
    }
    value["url"] = node.url.as_str().into();
    value["connections"] = node.connections.into();
    value
}

fn used(used: &Used) -> Value {
    json!({
        "cpu_s": used.cpu.as_secs_f64(),
        "cpu_per_delivery_us": used.cpu_per_delivery,
        "cpu_per_delivery_between_nodes_us": used.cpu_per_remote,
        "rss_before_bytes": used.memory.map(|memory| memory.before),
        "rss_joined_bytes": used.memory.map(|memory| memory.joined),
        "rss_peak_bytes": used.memory.map(|memory| memory.peak),
    })
}

fn exposed(exposed: &Exposed) -> Value {
    let mailboxes = exposed.mailboxes.iter().map(|mailbox| {
        json!({
            "actor": mailbox.actor,
            "peak_messages": mailbox.peak,
            "offered": mailbox.offered,
            "rejected": mailbox.rejected,
            "wait_p50_us": mailbox.wait_p50,
            "wait_p99_us": mailbox.wait_p99,
        })
    });
    let actions = exposed.slow_actions.iter().map(|(action, number)| json!({ "action": action, "number": number }));
    json!({
        "mailboxes": mailboxes.collect::<Value>(),
        "outbox_messages": exposed.outbox_messages,
        "outbox_bytes": exposed.outbox_bytes,
        "max_waiting": exposed.max_waiting,
        "slow_actions": actions.collect::<Value>(),
    })
}

pub(super) fn knee(knee: &Knee) -> Value {
    let steps = knee.steps.iter().map(|step| {
        json!({
            "talks_per_s": step.rate,
            "achieved_talks_per_s": step.achieved,
            "p99_us": step.p99,
            "lost": step.lost,
            "missed": step.missed.iter().map(ToString::to_string).collect::<Value>(),
            "trial": step.trial.as_str(),
        })
    });
    json!({
        "objective": knee.objective,
        "best_talks_per_s": knee.best().map(|step| step.rate),
        "proven": knee.is_proven(),
        "steps": steps.collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::bench::outcome::samples;

    fn parsed(report: &Report) -> Value {
        serde_json::from_str(&json(report)).unwrap()
    }

    #[test]
    fn a_good_run_has_its_figures() {
        let found = parsed(&samples::searched());
        let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_f64);
        assert_eq!(number("/accounts/received"), Some(600_000.0));
        assert_eq!(number("/talks_per_s"), Some(2_000.0));
        assert_eq!(number("/received_bytes_per_s"), Some(3_000_000.0));
        assert_eq!(number("/seconds/29/deliveries"), Some(20_000.0));
        assert_eq!(number("/deliveries_corrected/p99_9_us"), samples::good().corrected.at(99.9).map(|us| us as f64));
        assert_eq!(number("/by_size/0/deliveries/count"), Some(100_000.0));
        assert_eq!(number("/by_size/6/first_to_last/max_us"), Some(17_150.0));
        let members = ["/by_size/4/members_min", "/by_size/4/members_max"].map(number);
        assert_eq!(members, [Some(17.0), Some(32.0)]);
        assert_eq!(number("/server/memory_per_connection_bytes"), Some(3_984.0));
        assert_eq!(number("/knee/best_talks_per_s"), Some(5_500.0));
        assert_eq!((&found["valid"], &found["clean"], &found["faults"]), (&json!(true), &json!(true), &json!([])));
    }

    #[test]
    fn faults_and_foreign_text_survive() {
        let found = parsed(&samples::faulty());
        assert_eq!((&found["valid"], &found["clean"]), (&json!(false), &json!(false)));
        assert_eq!(found["faults"][0], json!({ "name": "lost", "number": 3 }));
        assert_eq!(found["circumstances"]["url"], samples::faulty().circumstances.url.as_str());
    }

    #[test]
    fn what_is_not_known_is_null() {
        let found = parsed(&samples::empty());
        assert_eq!(found["deliveries_raw"]["p99_us"], Value::Null);
        assert_eq!(
            (&found["server"], &found["knee"], &found["received_bytes"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(found["talks_per_s"], json!(0.0));
        let mut report = samples::good();
        report.server = Some(Server { cpu_per_delivery: f64::NAN, ..Server::default() });
        assert_eq!(parsed(&report)["server"]["cpu_per_delivery_us"], Value::Null);
    }

    /// Returns the type of each field in the table of the page below this head.
    fn table_of(head: &str) -> BTreeMap<String, String> {
        const PAGE: &str = include_str!("../../docs/bench.md");
        let rows = PAGE.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
        let rows = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()));
        let rows = rows.map(Vec::from_iter).map(|cells| (cells[1].clone(), cells[2].clone()));
        rows.collect()
    }

    /// Adds the types of all fields of a value. A distribution is one field.
    fn add_types(value: &Value, path: &str, types: &mut BTreeMap<String, BTreeSet<&'static str>>) {
        let of = match value {
            Value::Object(fields) if fields.contains_key("p99_9_us") && fields.contains_key("mean_us") => {
                if fields.contains_key("percentiles") { "curve" } else { "distribution" }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    add_types(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, types);
                }
                return;
            }
            Value::Array(values) => {
                values.iter().for_each(|value| add_types(value, &format!("{path}[]"), types));
                return;
            }
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "text",
        };
        types.entry(path.to_owned()).or_default().insert(of);
    }

    fn assert_documented(types: BTreeMap<String, BTreeSet<&'static str>>, head: &str) {
        let mut said = table_of(head);
        for (field, found) in types {
            let said = said.remove(&field).unwrap_or_else(|| panic!("{head} lacks {field}: {found:?}"));
            let (kind, may_be_null) = said.strip_suffix(" or null").map_or((&*said, false), |kind| (kind, true));
            assert!(
                found.iter().all(|found| *found == kind || (*found == "null" && may_be_null)),
                "{field}: {found:?}"
            );
        }
        assert!(said.is_empty(), "{head} has what is not there: {said:?}");
    }

    #[test]
    fn the_page_has_each_field_of_a_run() {
        let mut types = BTreeMap::new();
        let mut late = samples::good();
        (late.generator.lag_p99, late.drained) = (1_001, Some(std::time::Duration::from_secs(1)));
        late.circumstances.protocol = Some("chat.toml".to_owned());
        late.errors.push(("leave: no listening until the end".to_owned(), 1));
        let [mut bursts, mut even, mut closed] = [samples::good(), samples::good(), samples::good()];
        bursts.plan.pace = Pace::Bursts { rate: 1.0 };
        (closed.plan.pace, even.plan.sizes) = (Pace::Closed { window: 9 }, Sizes::Even);
        let (clustered, mut unknown) = (samples::clustered(), samples::clustered());
        unknown.cluster.as_mut().unwrap().nodes[0].used = None;
        let clusters = [clustered, unknown];
        let all = [samples::searched(), samples::faulty(), samples::empty(), late, bursts, even, closed];
        for report in all.into_iter().chain(clusters) {
            add_types(&parsed(&report), "", &mut types);
        }
        assert_documented(types, "| field of a run | type | says |");
        let mut types = BTreeMap::new();
        for distribution in [latency(&samples::good().joins), latency(&samples::empty().joins)] {
            let fields = distribution.as_object().unwrap();
            fields.iter().for_each(|(name, value)| add_types(value, name, &mut types));
        }
        assert_documented(types, "| field of a distribution | type | says |");
        assert_eq!(parsed(&samples::good())["format"], 1);
    }

    #[test]
    fn the_page_has_each_field_of_a_sweep() {
        use crate::bench::report::sweep::samples as sweeps;
        let mut types = BTreeMap::new();
        let mut slow = sweeps::good();
        if let Ok(figures) = &mut slow.cells[0].figures {
            figures.slow_actions.push(("disconnected".to_owned(), 2));
        }
        for sweep in [sweeps::good(), sweeps::hopeless(), slow] {
            let sheet = crate::bench::report::of_sweep(&sweep);
            let value: Value = serde_json::from_str(sheet.json()).unwrap();
            let is_shared = |name: &str| ["plan", "search"].contains(&name);
            let Value::Object(fields) = value else { panic!("{value}") };
            // The plan and the search are those of a run.
            let own = fields.into_iter().filter(|(name, _)| !is_shared(name)).collect();
            add_types(&Value::Object(own), "", &mut types);
        }
        let types = types.into_iter().map(|(field, types)| (field.replace("mailbox.conversation", "KEY"), types));
        let types = types.map(|(field, types)| (field.replace("session.talks_max", "KEY"), types));
        assert_documented(types.collect(), "| field of a sweep | type | says |");
    }
}
