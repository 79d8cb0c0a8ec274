//! The admin listener: the answers of `/metrics` and `/health` to scrapers and load balancers, and the API.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::fixture::Fixture;
use crate::support::http::{Http, Response};
use crate::support::{run, within};
use serde_json::{Value, json};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn scrape(server: &Fixture, accept: &[&str]) -> Response {
    let headers = accept.iter().map(|accept| ("Accept", *accept)).collect::<Vec<_>>();
    Http::connect(server.admin_addr).await.request("GET", "/metrics", &headers, b"").await
}

#[test]
fn metrics_come_in_the_form_that_is_accepted() {
    let server = Fixture::start("");
    // Accept headers of Prometheus 2 and 3, its agents, and a browser.
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let table: &[(&[&str], &str)] = &[
        (&[], TEXT),
        (&["*/*"], TEXT),
        (&["text/plain;version=0.0.4"], TEXT),
        (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], TEXT),
        (&[prometheus_3], OPENMETRICS),
        (&["application/openmetrics-text; version=1.0.0; charset=utf-8"], OPENMETRICS),
        (&["text/plain;q=0.5", "application/openmetrics-text"], OPENMETRICS),
        (&["application/openmetrics-text;q=0.4,text/plain;q=0.5"], TEXT),
        (&["application/openmetrics-text;q=0"], TEXT),
        (&["application/json"], TEXT),
    ];
    run(async {
        for (accept, content_type) in table {
            let response = scrape(&server, accept).await;
            assert_eq!((response.status, response.header("content-type")), (200, Some(*content_type)), "{accept:?}");
            assert_eq!(response.header("vary"), Some("Accept"));
            assert_eq!(response.body.ends_with("# EOF\n"), *content_type == OPENMETRICS, "{accept:?}");
        }
    });
}

/// Each row of a 0.0.4 text belongs to the metric of the `TYPE` line before it, in the form of its type. The buckets of
/// a histogram rise to its count.
#[test]
fn the_text_form_is_that_of_0_0_4() {
    let server = Fixture::start("");
    let (text, openmetrics) =
        run(async { (scrape(&server, &[]).await.body, scrape(&server, &["application/openmetrics-text"]).await.body) });
    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let (mut family, mut buckets) = ("", BTreeMap::new());
    for line in text.lines() {
        let words = line.split(' ').collect::<Vec<_>>();
        match words.as_slice() {
            ["#", "HELP", name, _, ..] => assert!(helped.insert(*name), "{line}"),
            ["#", "TYPE", name, kind] => {
                assert!(["counter", "gauge", "histogram"].contains(kind), "{line}");
                assert!(helped.contains(name) && types.insert(*name, *kind).is_none(), "{line}");
                family = name;
            }
            ["#", ..] | [] => panic!("{line}"),
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line:?} behind {family}"));
                let suffixes: &[&str] =
                    if types[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line}");
                let (row, number) = line.rsplit_once(' ').unwrap();
                let number = number.parse::<f64>().unwrap();
                if let Some((series, (bound, labels))) =
                    row.split_once("le=\"").and_then(|(name, rest)| Some((name, rest.split_once('"')?)))
                {
                    let bound: f64 = bound.parse().unwrap();
                    let before = buckets.entry((series, labels)).or_insert((f64::NEG_INFINITY, 0.0));
                    assert!(before.0 < bound && before.1 <= number, "{line}");
                    *before = (bound, number);
                }
            }
        }
    }
    assert!(!buckets.is_empty() && buckets.values().all(|(bound, _)| bound.is_infinite()));
    assert_eq!((types["maxtalk_build_info"], types["maxtalk_log_lines_lost_total"]), ("gauge", "counter"));
    assert_eq!((types["maxtalk_slow_sessions"], types["maxtalk_join_seconds"]), ("gauge", "histogram"));

    let rows = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let differing = rows(&text).symmetric_difference(&rows(&openmetrics)).cloned().collect::<Vec<_>>();
    assert!(differing.is_empty(), "not in both forms: {differing:?}");
}

/// Scrapers do not take the peak of the last minute from one another.
#[test]
fn all_scrapers_see_the_same_peak() {
    let server = Fixture::start("");
    let peak = |text: &str| value(text, r#"maxtalk_mailbox_peak_messages{actor="session"}"#);
    run(async {
        // A POST sends a message to the mailbox of a session.
        let endpoint = "/socket.io/?EIO=4&transport=polling";
        let mut client = Http::connect(server.addr).await;
        let open = client.get(endpoint).await.body;
        let sid = open.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
        client.post(&format!("{endpoint}&sid={sid}"), "40/max,").await;

        for _ in 0..10 {
            let (first, second) = (scrape(&server, &[]).await.body, scrape(&server, &[]).await.body);
            assert_eq!((peak(&first), peak(&second)), (1.0, 1.0));
        }
    });
}

/// Returns the value of a row.
fn value(text: &str, row: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{row} in {text}")).parse().unwrap()
}

/// Every class of mailbox shows the bound of its setting, and each kind of message has its rows before one has come.
#[test]
fn mailboxes_are_shown_before_they_are_used() {
    let server = Fixture::start(
        "mailbox.session = 3\nmailbox.conversation = 5\nmailbox.registry = 7\nmax.waiting_max = 9\nserver.workers = 3",
    );
    let text = run(scrape(&server, &[])).body;
    let classes: [(&str, f64, &[&str]); 4] = [
        ("session", 3.0, &["attach", "poll", "post", "abort_post", "abort"]),
        ("conversation", 5.0, &["enter", "leave", "talk", "ask"]),
        ("registry", 7.0, &["join", "enter_all", "retire"]),
        ("max", 9.0, &["join"]),
    ];
    for (actor, capacity, messages) in classes {
        assert_eq!(value(&text, &format!(r#"maxtalk_mailbox_capacity_messages{{actor="{actor}"}}"#)), capacity);
        assert_eq!(value(&text, &format!(r#"maxtalk_mailbox_depth_messages_count{{actor="{actor}"}}"#)), 0.0);
        for message in messages {
            let labels = format!(r#"actor="{actor}",message="{message}""#);
            for name in ["mailbox_enqueued_total", "mailbox_wait_seconds_count", "actor_handle_seconds_sum"] {
                assert_eq!(value(&text, &format!("maxtalk_{name}{{{labels}}}")), 0.0);
            }
            let reasons = if actor == "max" { ["full", "late"] } else { ["full", "closed"] };
            for reason in reasons {
                let row = format!(r#"maxtalk_mailbox_rejected_total{{{labels},reason="{reason}"}}"#);
                assert_eq!(value(&text, &row), 0.0);
            }
        }
    }
    assert!(!text.contains(r#"worker="3""#));
}

#[test]
fn every_thread_shows_that_it_works_and_wakes() {
    let server = Fixture::start("server.workers = 2");
    run(async {
        for worker in ["0", "1", "registry"] {
            for name in ["busy_seconds_total", "lag_seconds_count"] {
                let row = format!(r#"maxtalk_worker_{name}{{worker="{worker}"}}"#);
                within(&row, async { while value(&scrape(&server, &[]).await.body, &row) == 0.0 {} }).await;
            }
        }
    });
}

/// The metrics that every process should have, by the conventions of Prometheus.
#[test]
fn the_process_is_shown() {
    let server = Fixture::start("");
    let text = run(scrape(&server, &[])).body;
    let at_least = [
        ("process_cpu_seconds_total", 0.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 4.0),
        ("process_max_fds", 4.0),
        ("process_start_time_seconds", 1.7e9),
    ];
    for (row, least) in at_least {
        assert!(value(&text, row) > least, "{row}");
    }
}

#[test]
fn load_balancers_may_ask_by_any_method() {
    let server = Fixture::start("");
    run(async {
        let mut connection = Http::connect(server.admin_addr).await;
        for path in ["/health", "/metrics", "/health/", "/health/live", "/health/ready", "/"] {
            let whole = connection.get(path).await;
            assert_eq!(whole.status, 200);
            connection.write(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let head = connection.head().await.unwrap();
            assert_eq!((head.status, head.header("content-type")), (200, whole.header("content-type")), "{path}");
            assert_ne!(head.header("content-length"), Some("0"), "{head:?}");

            let options = connection.request("OPTIONS", path, &[], b"").await;
            assert_eq!((options.status, options.header("allow")), (200, Some("GET, HEAD, OPTIONS")), "{path}");
            assert_eq!(options.body, "");
            for method in ["POST", "PUT", "DELETE", "TRACE"] {
                let refused = connection.request(method, path, &[], b"").await;
                assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
            }
        }
        assert_eq!(connection.get("/health?from=balancer").await.status, 200);
        assert_eq!(connection.get("http://localhost/health").await.status, 200);
        assert_eq!(connection.get("/elsewhere").await.status, 404);
        assert_eq!(connection.request("OPTIONS", "*", &[], b"").await.status, 200);

        // The oldest load balancers speak HTTP/1.0 without a `Host`.
        for method in ["GET", "HEAD", "OPTIONS"] {
            let mut connection = Http::connect(server.admin_addr).await;
            connection.write(format!("{method} /health HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
            assert_eq!(connection.head().await.unwrap().status, 200, "{method}");
        }
    });
}

const KEY: (&str, &str) = ("Authorization", "Bearer key-of-operators");

#[test]
fn the_api_says_how_the_server_is_to_those_who_have_the_key() {
    let server = Fixture::start("admin.token = \"key-of-operators\"\nserver.workers = 3");
    run(async {
        let mut http = Http::connect(server.admin_addr).await;
        let status = http.request("GET", "/api/v1/status", &[KEY], b"").await;
        assert_eq!((status.status, status.header("content-type")), (200, Some("application/json")));
        let status: Value = serde_json::from_str(&status.body).unwrap();
        assert_eq!(
            (&status["stage"], &status["workers"], &status["sessions"]),
            (&json!("serving"), &json!(3), &json!(0))
        );
        assert!(status["limits"]["files"].as_u64() > status["limits"]["connections"].as_u64(), "{status}");
        assert!(status["machine"]["memory_bytes"].as_u64() > status["resident_bytes"].as_u64(), "{status}");

        for (headers, status, code) in [
            (&[][..], 401, "unauthorized"),
            (&[("Authorization", "Bearer key-of-operator")], 401, "unauthorized"),
            (&[KEY, ("Origin", "http://evil.example")], 403, "forbidden"),
        ] {
            let refused = http.request("GET", "/api/v1/status", headers, b"").await;
            assert_eq!(refused.status, status, "{headers:?}");
            assert_eq!(refused.header("www-authenticate").is_some(), status == 401);
            let body: Value = serde_json::from_str(&refused.body).unwrap();
            assert_eq!(body["error"]["code"], code, "{body}");
        }
        assert_eq!(http.request("GET", "/api/v1/status?token=key-of-operators", &[], b"").await.status, 401);
        for open in ["/metrics", "/health", "/health/ready"] {
            assert_eq!(http.get(open).await.status, 200, "{open} needs no key");
        }
    });
}

#[test]
fn a_page_that_points_its_name_at_this_machine_reads_nothing_of_the_api() {
    let server = Fixture::start("");
    run(async {
        for (host, status) in [("localhost", 200), ("127.0.0.1:6546", 200), ("evil.example", 403)] {
            let mut http = Http::connect(server.admin_addr).await;
            let head = format!("GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            http.write(head.as_bytes()).await.unwrap();
            assert_eq!(http.response().await.unwrap().status, status, "{host}");
        }
    });
}

#[test]
fn browsers_may_do_little_with_an_answer() {
    let server = Fixture::start("");
    run(async {
        let mut http = Http::connect(server.admin_addr).await;
        for path in ["/", "/metrics", "/health/ready", "/api/v1/status", "/api/v1/nothing", "/nothing"] {
            let answer = http.get(path).await;
            for (name, value) in [
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path}");
            }
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    });
}
