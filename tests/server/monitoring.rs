//! The metrics, the alerting rules and the dashboard, read by Prometheus's own tool (promtool).

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::client::{Client, Kind};
use crate::support::fixture::Fixture;
use crate::support::http::Http;
use crate::support::run;
use serde_json::Value;

/// For each alert, series that make it fire after an hour. Each grows or stays as its values say.
const FIRING: &[(&str, &[(&str, &str)])] = &[
    ("MaxtalkMailboxRefuses", &[(r#"maxtalk_mailbox_rejected_total{actor="conversation",reason="full"}"#, "0+60x60")]),
    (
        "MaxtalkMailboxNearLimit",
        &[
            (r#"maxtalk_mailbox_peak_messages{actor="session",instance="a"}"#, "15x60"),
            (r#"maxtalk_mailbox_capacity_messages{actor="session",instance="a"}"#, "16x60"),
        ],
    ),
    (
        "MaxtalkMailboxWaits",
        &[
            (r#"maxtalk_mailbox_wait_seconds_bucket{actor="registry",le="0.1"}"#, "0x60"),
            (r#"maxtalk_mailbox_wait_seconds_bucket{actor="registry",le="1"}"#, "0+60x60"),
            (r#"maxtalk_mailbox_wait_seconds_bucket{actor="registry",le="+Inf"}"#, "0+60x60"),
        ],
    ),
    (
        "MaxtalkSlowReaders",
        &[
            (r#"maxtalk_slow_sessions{instance="a"}"#, "10x60"),
            (r#"maxtalk_sessions{instance="a",transport="polling",protocol="eio4"}"#, "100x60"),
        ],
    ),
    ("MaxtalkSlowReadersClosed", &[(r#"maxtalk_slow_actions_total{action="disconnected"}"#, "0+120x60")]),
    ("MaxtalkActorPanics", &[(r#"maxtalk_actors_stopped_total{actor="session",reason="panic"}"#, "0+1x60")]),
    ("MaxtalkWorkerStuck", &[(r#"maxtalk_worker_silence_seconds{listener="clients"}"#, "3x60")]),
    ("MaxtalkWorkerBusy", &[(r#"maxtalk_worker_busy_seconds_total{worker="1"}"#, "0+58x60")]),
    (
        "MaxtalkJoinsFail",
        &[
            (r#"maxtalk_joins_total{instance="a",result="ok"}"#, "0+60x60"),
            (r#"maxtalk_joins_total{instance="a",result="max_timeout"}"#, "0+60x60"),
        ],
    ),
    ("MaxtalkJoinsWait", &[(r#"maxtalk_mailbox_messages{actor="max"}"#, "500x60")]),
    ("MaxtalkLogLinesLost", &[("maxtalk_log_lines_lost_total", "0+1x60")]),
    ("MaxtalkBusDown", &[(r#"maxtalk_bus_up{instance="a",shard="0"}"#, "0x60")]),
    ("MaxtalkBusPeersMissing", &[(r#"maxtalk_bus_peers{instance="a",shard="0"}"#, "2x48 1x12")]),
    ("MaxtalkBusDrops", &[(r#"maxtalk_bus_dropped_total{instance="a",direction="out"}"#, "0+1x60")]),
    ("MaxtalkBusGaps", &[(r#"maxtalk_bus_gaps_total{instance="a",cause="hole"}"#, "0+1x60")]),
    ("MaxtalkFeedDown", &[(r#"maxtalk_feed_up{instance="a",layout="5.x"}"#, "0x60")]),
    ("MaxtalkFeedGaps", &[(r#"maxtalk_feed_gaps_total{instance="a",cause="outage"}"#, "0+1x60")]),
];

/// Runs maxtalk, and returns what it prints.
fn maxtalk(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_maxtalk")).arg(command).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs promtool, which has to be content.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut tool = Command::new("promtool");
    let tool = tool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool is in Debian's package prometheus, which tests/run installs");
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = tool.wait_with_output().unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert!(status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
fn every_alert_fires_when_it_should_and_none_when_all_is_well() {
    let rules = maxtalk("alerts");
    let folder = tempfile::tempdir().unwrap();
    let (rules_file, tests_file) = (folder.path().join("rules.yml"), folder.path().join("tests.yml"));
    fs::write(&rules_file, &rules).unwrap();
    let said = promtool(&["check", "rules", rules_file.to_str().unwrap()], "");
    assert!(said.contains(&format!("{} rules found", FIRING.len())), "{said}");

    // JSON is YAML. Of each alert, only its name is compared: its labels and texts are those of the rules.
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let tests: Vec<_> = FIRING
        .iter()
        .map(|(fires, series)| {
            let series: Vec<_> =
                series.iter().map(|(series, values)| serde_json::json!({"series": series, "values": values})).collect();
            let counts: Vec<_> = names
                .iter()
                .map(|name| {
                    let samples =
                        if name == fires { vec![serde_json::json!({"labels": "{}", "value": 1})] } else { vec![] };
                    let expression = format!("count(ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}})");
                    serde_json::json!({"expr": expression, "eval_time": "1h", "exp_samples": samples})
                })
                .collect();
            serde_json::json!({"interval": "1m", "input_series": series, "promql_expr_test": counts})
        })
        .collect();
    let tests = serde_json::json!({"rule_files": [rules_file], "evaluation_interval": "1m", "tests": tests});
    fs::write(&tests_file, tests.to_string()).unwrap();
    promtool(&["test", "rules", tests_file.to_str().unwrap()], "");
}

/// The variables of Grafana's dashboard are filled in as Grafana does.
#[test]
fn the_expressions_of_the_dashboard_are_promql() {
    let dashboard: Value = serde_json::from_str(&maxtalk("grafana")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    let expressions: Vec<_> = expressions
        .map(|text| text.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+"))
        .collect();
    assert!(expressions.len() > 10);
    let rules: Vec<_> = expressions
        .iter()
        .enumerate()
        .map(|(at, expression)| serde_json::json!({"record": format!("panel:{at}"), "expr": expression}))
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    fs::write(&file, serde_json::json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()], "");
}

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    run(async {
        let server = Fixture::start("");
        server.max.talks_in("messi", &["c1"]);
        let _messi = Client::join(&server, Kind::Polling, "messi", &["c1"]).await;
        let response = Http::connect(server.admin_addr).await.get("/metrics").await;
        assert_eq!(promtool(&["check", "metrics"], &response.body), "");
    });
}
