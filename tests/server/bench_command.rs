//! `maxtalk bench` as a command: its output and files, its exit code, and the processes that it leaves behind.

use std::fs;
use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::process::{Process, end_of, maxtalk, read, signal};
use crate::support::until;
use maxtalk::testing::bench::Process as Accounts;
use serde_json::{Value, json};

/// Starts `maxtalk bench` with few connections.
fn bench(arguments: &[&str]) -> Child {
    let mut command = maxtalk(&["bench", "--connections", "12", "--members", "4", "--warm-up", "0s"]);
    command.args(arguments).stdout(Stdio::piped()).spawn().unwrap()
}

/// The exit code and output of a bench.
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    /// Waits for the end of a bench.
    fn of(mut child: Child) -> Self {
        let (out, err) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
        let (status, _) = end_of(&mut child);
        Self { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

/// Returns the process of the server that a bench has spawned.
fn child_of(bench: &Child) -> u32 {
    let parent = format!("PPid:\t{}\n", bench.id());
    let is_child = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|it| it.contains(&parent));
    until("the server is spawned", || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_child)
    })
}

/// Waits until a process has ended, reaped or not.
fn wait_until_over(pid: u32) {
    until("the server is gone", || Accounts::of(pid).err());
}

#[test]
fn a_search_for_the_knee_tells_its_trials_and_leaves_no_server() {
    let line = ["--spawn", "--find-knee", "--rate", "2", "--slo", "p99<1us", "--duration", "1s", "--json"];
    // However busy this machine is, the generator is not late.
    let bench = bench(&[&line[..], &["--lag-max", "1h"]].concat());
    let server = child_of(&bench);
    let outcome = Outcome::of(bench);
    let report = outcome.json();
    let trials = report["knee"]["steps"].as_array().unwrap();
    let rates = trials.iter().map(|trial| (trial["talks_per_s"].as_f64().unwrap(), trial["trial"].as_str().unwrap()));
    assert_eq!(rates.collect::<Vec<_>>(), [(2.0, "fails"), (1.0, "fails")], "{report}");
    assert_eq!((&report["knee"]["best_talks_per_s"], &report["clean"]), (&Value::Null, &json!(true)), "{report}");
    assert_eq!((&report["knee"]["proven"], &report["valid"]), (&json!(true), &json!(true)), "{report}");
    // The server has run a trial before.
    assert_eq!(report["server"]["memory_per_connection_bytes"], Value::Null, "{report}");
    assert_eq!(outcome.code, Some(1), "nothing holds");
    let told = outcome.err.lines().filter(|line| line.contains(" talks/s: p99 ")).count();
    assert_eq!(told, 2, "{}", outcome.err);
    wait_until_over(server);
}

/// Stops a process again and again until it has ended, as a machine with too much other work does.
fn hold_up(pid: u32) -> JoinHandle<()> {
    let signal = move |name: &str| {
        let kill = format!("kill -{name} {pid} 2>/dev/null");
        Command::new("sh").args(["-c", &kill]).status().is_ok_and(|status| status.success())
    };
    thread::spawn(move || {
        while Accounts::of(pid).is_ok() && signal("STOP") {
            thread::sleep(Duration::from_millis(100));
            signal("CONT");
            thread::sleep(Duration::from_millis(20));
        }
    })
}

#[test]
fn a_search_in_which_only_the_generator_was_late_is_not_valid() {
    // No server holds this objective, but nobody can know it: the talks are late, too.
    let line = ["--spawn", "--find-knee", "--rate", "64", "--slo", "p99<1us,loss=0", "--duration", "1s", "--json"];
    let bench = bench(&line);
    let busy = hold_up(bench.id());
    let outcome = Outcome::of(bench);
    busy.join().unwrap();
    let report = outcome.json();
    let trials = report["knee"]["steps"].as_array().unwrap();
    let rates = trials.iter().map(|trial| (trial["talks_per_s"].as_f64().unwrap(), trial["trial"].as_str().unwrap()));
    assert_eq!(rates.collect::<Vec<_>>(), [(64.0, "unproven")], "no lower rate is tried: {report} {}", outcome.err);
    let why = "this machine could not show whether 64.0 talks/s hold, because the bench itself was late";
    assert_eq!((&report["valid"], &report["invalid_reason"]), (&json!(false), &json!(why)), "{report}");
    assert!(report["advice"].as_str().unwrap().ends_with(" or begin with a lower --rate"), "{report}");
    assert_eq!((&report["knee"]["proven"], outcome.code), (&json!(false), Some(1)), "{report}");
}

#[test]
fn five_lines_are_enough() {
    let line = ["--spawn", "--rate", "50", "--duration", "300ms", "--lag-max", "1h", "--brief"];
    let Outcome { code, out, err } = Outcome::of(bench(&line));
    let lines = out.lines().collect::<Vec<_>>();
    // A machine with much other work may be too slow to send its talks in time.
    let is_valid = out.contains("\nVALID: ");
    let validity = if is_valid { "VALID: " } else { "INVALID: " };
    let begins = ["maxtalk bench: 12 connections; 3 conversations of 4; ", "", "delivery p50 ", validity, "CLEAN: "];
    assert_eq!(lines.len(), begins.len(), "{out} {err}");
    assert!(lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{out}");
    assert_eq!(code, Some(if is_valid { 0 } else { 1 }), "{out} {err}");
}

#[test]
fn a_run_prints_a_table_and_writes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["page.html", "report.json", "latency.hgrm"];
    let [page, json, hgrm] = names.map(|name| folder.path().join(name).display().to_string());
    let line = ["--spawn", "--rate", "50", "--duration", "500ms", "--html", &page, "--json", &json, "--hgrm", &hgrm];
    let Outcome { code, out, err } = Outcome::of(bench(&line));
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((&report["clean"], &report["conversations"]), (&json!(true), &json!(3)), "{report} {err}");
    assert_eq!(code, Some(if report["valid"] == true { 0 } else { 1 }), "{out}");
    let mailboxes = report["exposed"]["mailboxes"].as_array().unwrap();
    let conversation = mailboxes.iter().find(|mailbox| mailbox["actor"] == "conversation").unwrap();
    // The joins and the talks.
    assert!(conversation["offered"].as_u64() >= Some(24), "{report}");
    assert!(conversation["peak_messages"].as_u64() > Some(0) && conversation["wait_p99_us"].is_u64(), "{report}");
    assert_eq!((&conversation["rejected"], &report["refused_talks"]), (&json!(0), &json!(0)), "{report}");
    for text in ["(spawned, this build, default settings)", "\ndelivery by size, ms", "\nCLEAN: "] {
        assert!(out.contains(text), "{text}: {out}");
    }
    // One second and one size of conversations make no charts. The other one is drawn twice, for a phone too.
    assert_eq!(fs::read_to_string(page).unwrap().matches("<svg").count(), 2);
    let hgrm = fs::read_to_string(hgrm).unwrap();
    let total = hgrm.split("Total count    =").nth(1).and_then(|rest| rest.split(']').next()).unwrap().trim();
    assert_eq!(total, report["deliveries_corrected"]["count"].to_string(), "{hgrm}");
}

#[test]
fn a_mailbox_that_is_too_small_for_bursts_refuses_and_is_told() {
    // The talker of each conversation may send as many talks at once as it likes.
    let mut command = maxtalk(&["bench", "--spawn", "--connections", "40", "--members", "40", "--warm-up", "0s"]);
    command.args(["--rate", "3000", "--bursts", "--duration", "1s", "--json"]);
    command.env("MAXTALK_MAILBOX__CONVERSATION", "1").env("MAXTALK_SESSION__TALKS_MAX", "10000");
    let outcome = Outcome::of(command.stdout(Stdio::piped()).spawn().unwrap());
    let report = outcome.json();
    let mailboxes = report["exposed"]["mailboxes"].as_array().unwrap();
    let conversation = mailboxes.iter().find(|mailbox| mailbox["actor"] == "conversation").unwrap();
    assert_eq!(conversation["peak_messages"], 1, "{report}");
    assert!(conversation["rejected"].as_u64() > Some(0), "{report}");
    // Joins that come at the same moment are refused too.
    let refused = ["refused_talks", "refused_joins"].map(|name| report[name].as_u64().unwrap());
    assert!(refused[0] > 0, "{report}");
    assert_eq!(conversation["rejected"], refused.iter().sum::<u64>(), "{report}");
    assert_eq!(report["plan"]["pace"], json!({ "kind": "bursts", "talks_per_s": 3000.0 }), "{report}");
    assert!(report["drained_s"].is_f64(), "{report}");
    // All talks come in the first tenth.
    assert_eq!(report["accounts"]["sent"], 3000, "{report}");
}

#[test]
fn a_spawned_server_has_the_settings_of_the_environment_that_are_for_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command =
        maxtalk(&["bench", "--spawn", "--connections", "2", "--rate", "0", "--duration", "1ms", "--json"]);
    command.env("MAXTALK_ADMIN__LISTEN", taken.local_addr().unwrap().to_string());
    command.env("MAXTALK_MAX__CA_FILE", "/nowhere/ca.pem").env("MAXTALK_MAX__SERVICE_TOKEN", "hunter2");
    command.env("MAXTALK_SERVER__WORKERS", "1").env("MAXTALK_SERVER__STOP_MS", "4000");
    let outcome = Outcome::of(command.stdout(Stdio::piped()).spawn().unwrap());
    let report = outcome.json();
    let expected = r#"spawned, this build, server.stop_ms = "4000", server.workers = "1""#;
    assert_eq!(report["circumstances"]["server"], expected, "{report} {}", outcome.err);
}

#[test]
fn a_server_that_limits_each_session_shows_its_limit_and_not_its_capacity() {
    let limit = [("MAXTALK_SESSION__EVENTS_PER_SECOND_MAX", "5"), ("MAXTALK_SESSION__EVENTS_BURST_MAX", "9")];
    let (_server, url, _) = server_with(&limit);
    let line = ["--url", &url, "--rate", "90", "--duration", "1s", "--lag-max", "1h"];
    let report = Outcome::of(bench(&[&line[..], &["--json"]].concat())).json();
    assert!(report["rate_limited_talks"].as_u64() > Some(0), "{report}");
    let why = report["invalid_reason"].as_str().unwrap();
    assert!(why.starts_with("the server refused ") && why.contains(" or more as rate_limited: its limit "), "{why}");
    let advice = report["advice"].as_str().unwrap();
    let expected =
        "Raise session.events_per_second_max and session.bytes_per_second_max of the server above the 30.0 talks ";
    assert!(advice.starts_with(expected), "{advice}");
    // A search says the same.
    let line = ["--url", &url, "--find-knee", "--rate", "90", "--duration", "1s", "--lag-max", "1h", "--quiet"];
    let Outcome { code, out, err } = Outcome::of(bench(&line));
    let why = "INVALID: whether 90.0 talks/s hold is not known: the server refused talks as rate_limited, ";
    assert!(code == Some(1) && out.starts_with(why) && out.contains(expected), "{out} {err}");
}

/// Starts a server with people in its demo MAX. Returns it, its URL, and the address of its metrics.
fn server() -> (Process, String, String) {
    server_with(&[])
}

/// The same with these variables in its environment.
fn server_with(variables: &[(&str, &str)]) -> (Process, String, String) {
    let mut command = maxtalk(&["--listen", "127.0.0.1:0"]);
    command.envs(variables.iter().copied());
    command.env("MAXTALK_DEMO__PEOPLE", "12").env("MAXTALK_DEMO__MEMBERS", "4");
    command.env("MAXTALK_ADMIN__LISTEN", "127.0.0.1:0");
    let mut server = Process::start(command);
    let url = format!("http://{}", server.addr());
    let admin = server.says("admin listener on http://");
    let metrics = admin.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
    (server, url, metrics)
}

/// Returns whether the server has delivered an update.
fn delivers(metrics: &str) -> bool {
    counts(metrics, |line| line.starts_with("maxtalk_deliveries_total{") && line.contains("\"update\""))
}

/// Returns whether the server has a session.
fn has_session(metrics: &str) -> bool {
    counts(metrics, |line| line.starts_with("maxtalk_sessions{"))
}

/// Returns whether one of the metrics that `is_meant` selects is not 0.
fn counts(metrics: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    let mut stream = TcpStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().filter(|line| is_meant(line)).any(|line| !line.ends_with(" 0"))
}

#[test]
fn a_signal_ends_a_run_with_the_figures_so_far() {
    for name in ["INT", "TERM"] {
        let (_server, url, metrics) = server();
        let bench = bench(&["--url", &url, "--rate", "50", "--duration", "10m", "--json"]);
        until("somebody talks", || delivers(&metrics).then_some(()));
        signal(&bench, name);
        let outcome = Outcome::of(bench);
        let report = outcome.json();
        assert_eq!((&report["interrupted"], &report["clean"]), (&json!(true), &json!(true)), "{report}");
        assert!(report["accounts"]["received"].as_u64() > Some(0), "{report}");
        assert_eq!(outcome.code, Some(130), "{name}");
    }
}

#[test]
fn the_spawned_server_ends_with_the_bench_however_that_ends() {
    for (name, code) in [("INT", Some(130)), ("TERM", Some(130)), ("KILL", None)] {
        let bench = bench(&["--spawn", "--duration", "10m"]);
        let server = child_of(&bench);
        signal(&bench, name);
        let outcome = Outcome::of(bench);
        assert_eq!(outcome.code, code, "{name}: {}", outcome.err);
        assert_eq!(outcome.out.contains("\nINTERRUPTED: "), code.is_some(), "{name}: {}", outcome.out);
        wait_until_over(server);
    }
}

#[test]
fn a_run_that_a_signal_ends_before_the_first_join_has_measured_nothing() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = bench(&["--url", &format!("http://{}", silent.local_addr().unwrap()), "--quiet"]);
    // The first connection is that which asks whether anybody answers.
    let _taken = [silent.accept().unwrap(), silent.accept().unwrap()];
    signal(&bench, "INT");
    let Outcome { code, out, err } = Outcome::of(bench);
    let expected = "\
INVALID: nothing was measured, because the run was interrupted before anybody had joined. Let the run go on to its end
NOTHING CHECKED: nothing was to be delivered
INTERRUPTED: 0 s of 10 s were measured
";
    assert_eq!((code, out.as_str()), (Some(130), expected), "{err}");
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    // timeout(1) signals the process and then its group.
    let (_server, url, metrics) = server();
    let bench = bench(&["--url", &url, "--rate", "50", "--duration", "10m", "--json"]);
    until("somebody talks", || delivers(&metrics).then_some(()));
    let twice = "kill -INT $0; sleep 0.02; kill -INT $0";
    assert!(Command::new("sh").args(["-c", twice, &bench.id().to_string()]).status().unwrap().success());
    let outcome = Outcome::of(bench);
    assert_eq!((&outcome.json()["interrupted"], outcome.code), (&json!(true), Some(130)));
}

#[test]
fn the_server_has_used_nothing_in_a_time_that_was_not_measured() {
    let (server, url, metrics) = server();
    let pid = server.child.id();
    // Wait until the process has used more than a tick of CPU.
    until("it has used its CPU", || {
        delivers(&metrics);
        (!Accounts::of(pid).unwrap().cpu().is_zero()).then_some(())
    });
    let pid = pid.to_string();
    let line = ["--url", &url, "--pid", &pid, "--ramp", "1", "--duration", "10m", "--json"];
    let bench = bench(&line);
    until("somebody has joined", || has_session(&metrics).then_some(()));
    signal(&bench, "INT");
    let report = Outcome::of(bench).json();
    let (used, unknown) = (&report["server"], &Value::Null);
    assert_eq!((&used["cpu_s"], &used["cpu_per_delivery_us"]), (&json!(0.0), unknown), "{report}");
    assert!(used["rss_peak_bytes"].as_u64() >= used["rss_joined_bytes"].as_u64(), "{report}");
}

#[test]
fn more_churn_than_can_be_is_as_much_as_can_be_and_told() {
    let mut command = maxtalk(&["bench", "--spawn", "--connections", "2000", "--rate", "0", "--warm-up", "0s"]);
    command.args(["--churn", "1000000", "--duration", "1s", "--json"]);
    let report = Outcome::of(command.stdout(Stdio::piped()).spawn().unwrap()).json();
    assert_eq!((&report["interrupted"], &report["measured_s"]), (&json!(false), &json!(1.0)), "{report}");
    let leaves = report["leaves_per_s"].as_f64().unwrap();
    assert!(leaves > 0.0 && leaves < 1e6, "{report}");
}

#[test]
fn users_are_in_several_conversations_if_asked_for() {
    let line = ["--spawn", "--conversations-per-user", "3", "--rate", "50", "--duration", "300ms", "--json"];
    let report = Outcome::of(bench(&line)).json();
    assert_eq!((&report["clean"], &report["joins"]["count"]), (&json!(true), &json!(12)), "{report}");
    assert_eq!((&report["conversations"], &report["members_max"]), (&json!(9), &json!(4)), "{report}");
    assert_eq!(report["plan"]["conversations_per_user"], json!(3), "{report}");
}

#[test]
fn tokens_and_names_come_from_a_file() {
    let (_server, url, _) = server();
    let tokens = tempfile::NamedTempFile::new().unwrap();
    let write = |last: &str| {
        let lines = (0..11).map(|user| format!("u{user}\n")).collect::<String>();
        fs::write(tokens.path(), format!("{lines}{last}\n")).unwrap();
        let path = tokens.path().display().to_string();
        let url = format!("{url}/max");
        let line = ["--url", &url, "--token-file", &path, "--rate", "50", "--duration", "300ms", "--json"];
        Outcome::of(bench(&line)).json()
    };
    let report = write("u11 u11");
    assert_eq!((&report["plan"]["sizes"]["kind"], &report["members_max"]), (&json!("learnt"), &json!(4)), "{report}");
    assert_eq!((&report["clean"], &report["joins"]["count"]), (&json!(true), &json!(12)), "{report}");
    // Without the file, the bench names users that the server does not know.
    let more = ["--url", &url, "--connections", "13", "--rate", "50", "--duration", "300ms", "--quiet"];
    let mut command = maxtalk(&[&["bench", "--warm-up", "0s"], &more[..]].concat());
    let Outcome { code, out, err } = Outcome::of(command.stdout(Stdio::piped()).spawn().unwrap());
    let hint = "1 connections failed or lost; errors: join: refused with unknown_user (1). If it is maxtalk with its \
                demo, start it with MAXTALK_DEMO__PEOPLE=13\n";
    assert!(code == Some(1) && out.ends_with(hint), "{out} {err}");
    let more = ["--url", &url, "--user-prefix", "x", "--rate", "50", "--duration", "300ms"];
    let err = Outcome::of(bench(&more)).err;
    assert!(
        err.trim_end().ends_with("(12). If it is maxtalk with its demo, start it with MAXTALK_DEMO__PEOPLE=12"),
        "{err}"
    );
    let report = write("u11 wrong");
    let error = json!([{ "code": "join: refused with unauthorized", "number": 1 }]);
    assert_eq!((&report["clean"], &report["errors"]), (&json!(false), &error), "{report}");
}

#[test]
fn impossible_plans_are_refused_in_one_line() {
    let table: &[(&[&str], &str)] = &[
        (&["--url", "http://192.0.2.1"], "http://192.0.2.1/ is not on this machine (192.0.2.1): "),
        (&["--url", "http://127.0.0.1:1"], "nobody answers at http://127.0.0.1:1/ "),
        (&["--url", "https://127.0.0.1:1"], "https://127.0.0.1:1/: the bench speaks http only"),
        (&["--spawn", "--json", "x", "--html", "x"], "--json and --html name the same file, x: give each one "),
        (&["--spawn", "--html", "x", "--hgrm", "x"], "--html and --hgrm name the same file, x: give each one "),
        (&["--url", "http://127.0.0.1:1", "--protocol", "/nowhere/x"], "/nowhere/x (flag --protocol): cannot be read"),
        // Refused at the start: nobody would wait for the end of such a run to learn it.
        (&["--spawn", "--json", "/nowhere/x", "--duration", "10m"], "/nowhere/x: cannot be written: "),
        (&["--spawn", "--html", "/nowhere/x", "--duration", "10m"], "/nowhere/x: cannot be written: "),
    ];
    for (line, message) in table {
        let Outcome { code, out, err } = Outcome::of(bench(&[*line, &["--quiet"]].concat()));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{line:?}: {err}");
        assert!(err.starts_with(&format!("maxtalk: {message}")) && err.lines().count() == 1, "{line:?}: {err}");
    }
}

/// The flags of the smallest sweep: two values, one load, steady and in bursts, once.
const SWEEP: [&str; 11] = [
    "--spawn",
    "--sweep",
    "mailbox.conversation=64,256",
    "--loads",
    "95",
    "--repeats",
    "1",
    "--slow",
    "0%",
    "--duration",
    "300ms",
];

#[test]
fn a_sweep_compares_values_and_writes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let [page, json] = ["page.html", "sweep.json"].map(|name| folder.path().join(name).display().to_string());
    let outcome = Outcome::of(bench(&[&SWEEP[..], &["--knee", "60", "--html", &page, "--json", &json]].concat()));
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let runs = report["runs"].as_array().unwrap();
    let placed = |key: &str, pattern: &str| {
        let runs = runs.iter().filter(|run| run["settings"]["mailbox.conversation"] == key);
        runs.filter(|run| run["load"]["pattern"] == pattern).collect::<Vec<_>>()
    };
    for (value, pattern) in [("64", "steady"), ("64", "bursts"), ("256", "steady"), ("256", "bursts")] {
        let [run] = placed(value, pattern)[..] else { panic!("{value}, {pattern}: {report}") };
        assert_eq!(run["figures"]["refused_share"], 0.0, "{report}");
        assert!(run["figures"]["peak_messages"].as_f64() > Some(0.0), "{report}");
        assert!(run["figures"]["wait_p99_us"].is_f64() && run["figures"]["rss_peak_bytes"].is_f64(), "{report}");
        assert_eq!(run["figures"]["drained_us"].is_f64(), pattern == "bursts", "{report}");
    }
    assert_eq!((runs.len(), report["rows"].as_array().unwrap().len()), (4, 4), "{report}");
    assert_eq!((&report["limits"][0]["present"], &report["interrupted"]), (&json!("2048"), &json!(false)), "{report}");
    // The talker of a conversation is allowed to fill its mailbox.
    assert_eq!(report["circumstances"]["settings"], json!({ "session.talks_max": "257" }), "{report}");
    // On a busy machine the bench may fail to keep its plan. Nothing is recommended then.
    let is_recommended = report["recommended"] != Value::Null;
    assert_eq!(outcome.code, Some(if is_recommended { 0 } else { 1 }), "{report}");
    assert_eq!(outcome.out.contains("\nRECOMMENDED: mailbox.conversation = "), is_recommended, "{}", outcome.out);
    assert!(outcome.out.contains("\n95 %, in bursts; the server"), "{}", outcome.out);
    assert_eq!(outcome.err.lines().filter(|line| line.contains(" of 4: mailbox.conversation = ")).count(), 4);
    assert!(fs::read_to_string(page).unwrap().contains("present value, 2048"));
}

#[test]
fn the_knee_of_a_sweep_is_searched_for_at_the_present_value() {
    let search = ["--rate", "2", "--slo", "p99<1us", "--lag-max", "1h"];
    let Outcome { code, err, .. } = Outcome::of(bench(&[&SWEEP[..], &search[..]].concat()));
    let last = err.lines().last().unwrap_or_default();
    let expected = "maxtalk: the knee of the present value is not known: no rate held p99<1us; give a rate by --knee";
    assert!(code == Some(1) && last.starts_with(expected), "{code:?} {err}");
    assert_eq!(err.lines().filter(|line| line.contains(" talks/s: p99 ")).count(), 2, "{err}");
}

#[test]
fn a_sweep_that_is_interrupted_reports_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("sweep.json").display().to_string();
    let line = ["--spawn", "--sweep", "mailbox.conversation=64,256", "--loads", "95", "--slow", "0%"];
    let line = [&line[..], &["--repeats", "9", "--duration", "2s", "--knee", "60", "--json", &json]].concat();
    let mut bench = bench(&line);
    let mut err = String::new();
    let mut stderr = bench.stderr.take().unwrap();
    let mut byte = [0];
    while !err.contains("2 of 36: ") {
        stderr.read_exact(&mut byte).unwrap();
        err.push(byte[0].into());
    }
    let rest = read(stderr);
    let server = child_of(&bench);
    signal(&bench, "INT");
    let out = read(bench.stdout.take().unwrap());
    let (status, _) = end_of(&mut bench);
    let (out, rest) = (out.join().unwrap(), rest.join().unwrap());
    assert_eq!(status.code(), Some(130), "{err}{rest}");
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let runs = report["runs"].as_array().unwrap().len();
    assert!((2..36).contains(&runs) && report["interrupted"] == true, "{report}");
    assert!(out.contains(&format!("\nINTERRUPTED: {runs} of 36 runs were made")), "{out}");
    wait_until_over(server);
}

#[test]
fn the_plan_of_a_sweep_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html").display().to_string();
    let mut command = maxtalk(&[&["bench"], &SWEEP[..3], &["--knee", "1000", "--plan", "--html", &page]].concat());
    command.env("MAXTALK_MAILBOX__CONVERSATION", "77").env("MAXTALK_SERVER__WORKERS", "1");
    let Outcome { code, out, err } = Outcome::of(command.stdout(Stdio::piped()).spawn().unwrap());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for text in [
        "mailbox.conversation = 64, 256 (present value 77)",
        "  servers  spawned, this build, server.workers = \"1\", session.talks_max = 257 because of the sweep\n",
        "each of 2 settings",
        "under each of 16 loads",
        "95 %, in bursts: 950 talks/s",
        "96 runs. They take about ",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    assert!(!fs::exists(page).unwrap());
}

#[test]
fn a_sweep_that_cannot_be_is_refused_before_it_starts() {
    let table: &[(&[&str], i32, &str)] = &[
        (&["mailbox.conversation=0,64"], 1, "mailbox.conversation = \"0\" (flag --sweep): out of range; allowed: "),
        (
            &["mailbox.conversation=64,5000"],
            1,
            "outbox.messages_max = 4096 (default), mailbox.conversation = \"5000\" ",
        ),
        (&["mailbox.session=1,2", "--sweep", "mailbox.session=3,4"], 1, "--sweep names mailbox.session twice"),
        (&["mailbox.session=8"], 2, "mailbox.session needs two values or more"),
        (&["mailbox.session=8,8"], 2, "mailbox.session has the value 8 twice"),
        (&["server.workers=1,2"], 2, "server.workers cannot be swept; these can: "),
        (&["mailbox.sesion=1,2"], 2, "did you mean mailbox.session?"),
        (&["mailbox.session=1,2", "--find-knee"], 2, "cannot be used with '--find-knee'"),
    ];
    for (line, code, message) in table {
        let outcome = Outcome::of(bench(&[&["--spawn", "--sweep"], *line].concat()));
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(*code), ""), "{line:?}: {}", outcome.err);
        assert!(outcome.err.contains(message), "{line:?}: {}", outcome.err);
    }
    let outcome = Outcome::of(bench(&["--url", "http://127.0.0.1:1", "--sweep", "mailbox.session=1,2"]));
    let message = r#"a sweep starts its own servers: "--sweep" needs "--spawn" in place of "--url""#;
    assert!(outcome.code == Some(2) && outcome.err.contains(message), "{}", outcome.err);
}

#[test]
fn a_report_that_cannot_be_written_costs_no_other_and_none_is_begun_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let [page, json] = ["page.html", "report.json"].map(|name| folder.path().join(name).display().to_string());
    fs::write(&json, "an old report").unwrap();
    let line = ["--url", "http://127.0.0.1:1", "--html", &page, "--json", &json];
    assert_eq!(Outcome::of(bench(&line)).code, Some(1));
    assert_eq!(fs::read_to_string(&json).unwrap(), "an old report");
    assert!(!fs::exists(&page).unwrap(), "an empty report");
    let line = ["--spawn", "--rate", "0", "--duration", "1ms", "--html", &page, "--json", "/dev/full"];
    let Outcome { code, out, err } = Outcome::of(bench(&line));
    assert!(code == Some(1) && err.contains("maxtalk: /dev/full: cannot be written: "), "{err}");
    assert!(out.contains("\nCLEAN: ") && fs::read_to_string(page).unwrap().contains("</html>"), "{out}");
}

#[test]
fn a_hard_limit_on_files_that_is_too_low_is_explained() {
    // Root may raise the limit unless it gives up that right.
    let script = r#"ulimit -n 300; set -- "$0" bench --spawn --connections 1000
        [ "$(id -u)" != 0 ] || set -- setpriv --bounding-set=-sys_resource "$@"; exec "$@""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_maxtalk")]);
    let child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let Outcome { code, err, .. } = Outcome::of(child);
    let expected = "maxtalk: 1768 open files are needed, but the hard limit is 300: raise it";
    assert!(code == Some(1) && err.starts_with(expected), "{code:?} {err}");
}
