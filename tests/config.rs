//! The program's command line: the output of `config`, `check` and failed starts, its stream, and the exit code.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program in a directory of its own, without this process's environment.
struct Operator {
    directory: TempDir,
}

impl Operator {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn file(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join("maxtalk.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maxtalk"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MAXTALK_")) {
            command.env_remove(name);
        }
        command.args(arguments).envs(environment.iter().copied()).current_dir(self.directory.path());
        command.stdin(Stdio::null());
        command
    }

    /// Returns exit code, standard output and standard error.
    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments, environment).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn the_output_of_config_is_a_valid_file_that_changes_nothing() {
    let operator = Operator::new();
    let (code, text, complaints) = operator.run(&["config"], &[]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert!(text.contains(
        "\n[server]\n\n# Address that clients connect to.\n# Allowed: IP:PORT, localhost:PORT or :PORT.\n\
         listen = \"127.0.0.1:6545\"\n"
    ));

    let path = operator.file(&text).display().to_string();
    let (code, said, complaints) = operator.run(&["check", "--config", &path], &[]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    let lines = said.lines().collect::<Vec<_>>();
    assert_eq!(lines[0], format!("configuration is valid (file {path})"));
    assert!(
        lines.contains(&format!("  server.workers = 0 (file {path}, line {})", line_of(&text, "workers")).as_str())
    );
}

#[test]
fn check_says_what_differs_from_the_defaults() {
    let operator = Operator::new();
    let (code, said, complaints) = operator.run(&["check"], &[]);
    assert_eq!((code, without_cost(&said), complaints.as_str()), (Some(0), "configuration is valid\n", ""));

    operator.file("[max]\nservice_username = 'bot'\nservice_token = 's3cret'");
    let arguments = ["check", "--offline", "--config", "maxtalk.toml", "--max-url", "https://max/api/"];
    let (code, said, complaints) = operator.run(&arguments, &[("MAXTALK_LOG__FILTER", "debug")]);
    let expected = "configuration is valid (file maxtalk.toml)
  log.filter = \"debug\" (environment variable MAXTALK_LOG__FILTER)
  max.service_token = *** (file maxtalk.toml, line 3)
  max.service_username = \"bot\" (file maxtalk.toml, line 2)
  max.url = \"https://max/api/\" (flag --max-url)
";
    assert_eq!((code, without_cost(&said), complaints.as_str()), (Some(0), expected, ""));
}

/// Returns the output of `check` up to the cost.
fn without_cost(said: &str) -> &str {
    said.split("\ncost of ").next().unwrap()
}

/// Returns the cells of the row of a table.
fn cells<'a>(said: &'a str, what: &str) -> Vec<&'a str> {
    let (_, cost) = said.split_once("\ncost of ").unwrap();
    let row = cost.lines().find_map(|line| line.trim_start().strip_prefix(what)).unwrap_or_else(|| panic!("{said}"));
    row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn check_shows_what_a_server_costs() {
    let operator = Operator::new();
    let size = ["check", "--sessions", "1000", "--conversations", "50"];
    let (code, said, complaints) = operator.run(&size, &[("MAXTALK_OUTBOX__BYTES_MAX", "65536")]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert!(said.contains("cost of 1,000 sessions and 50 conversations, each session in 10 of them\n"), "{said}");
    assert_eq!(cells(&said, "outbox.bytes_max")[..2], ["64.0 KiB", "1,000"]);
    assert_eq!(cells(&said, "membership of a conversation")[1], "10,000");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");

    let (_, said, _) = operator.run(&["check", "--sessions", "5"], &[]);
    assert!(said.contains("cost of 5 sessions and 5 conversations, each session in 5 of them\n"), "{said}");
    let (_, said, _) = operator.run(&["check"], &[("MAXTALK_LIMITS__SESSIONS_MAX", "77")]);
    assert!(said.contains("cost of 77 sessions and 77 conversations"), "{said}");
}

#[test]
fn check_warns_where_the_limits_are_too_small() {
    let operator = Operator::new();
    let program = env!("CARGO_BIN_EXE_maxtalk");
    let script = "ulimit -n 100; exec \"$0\" check --sessions 1000";
    let output =
        Command::new("sh").args(["-c", script, program]).current_dir(operator.directory.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("warning: 1,000 sessions need "), "{said}");
    assert!(said.contains(" open files, but the limit is 100: "), "{said}");

    let one_mib = [("MAXTALK_LIMITS__MEMORY_BYTES_MAX", "1048576")];
    let (code, said, _) = operator.run(&["check", "--sessions", "10"], &one_mib);
    assert_eq!(code, Some(0));
    let warning = "warning: from 85 % of limits.memory_bytes_max (1.00 MiB) on, no session is opened: 0 fit";
    assert!(said.replace("\n  ", " ").contains(warning), "{said}");

    let (code, said, _) = operator.run(&["check", "--sessions", &u64::MAX.to_string()], &[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("more than can be counted") && said.contains("over 16 EiB"), "{said}");
}

#[test]
fn a_size_that_is_none_is_refused() {
    let operator = Operator::new();
    for option in ["--sessions", "--conversations"] {
        for count in ["0", "-1", "1.5", "many", "", "18446744073709551616"] {
            let (code, said, complaints) = operator.run(&["check", option, count], &[]);
            assert_eq!((code, said.as_str()), (Some(2), ""), "{option} {count}: {complaints}");
            let expected = format!("{option} <N>': allowed: a whole number from 1 to {}", u64::MAX);
            assert!(complaints.contains(&expected), "{option} {count}: {complaints}");
        }
    }
}

/// Fault 72: an unknown key, a wrong type, 0, a negative number, an overflow, and a setting in both file and
/// environment.
#[test]
fn bad_configurations_are_refused_with_key_value_source_and_allowed_values() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let table: &[Case<'_>] = &[
        (
            "[server]\nlistn = 1",
            &[],
            &["server.listn (file maxtalk.toml, line 2): unknown key; allowed: server.listen, "],
        ),
        (
            "",
            &[("MAXTALK_SERVER__LISTN", "1")],
            &["server.listn (environment variable MAXTALK_SERVER__LISTN): unknown key; allowed: server.listen, "],
        ),
        ("[srv]", &[], &["srv (file maxtalk.toml, line 1): unknown key; allowed: [server], [protocol], "]),
        (
            "session.pending_max = 'x'",
            &[],
            &["session.pending_max = \"x\" (file maxtalk.toml, line 1): not an integer; allowed: an integer from 1"],
        ),
        (
            "",
            &[("MAXTALK_SESSION__PENDING_MAX", "x")],
            &["session.pending_max = \"x\" (environment variable MAXTALK_SESSION__PENDING_MAX): not an integer; "],
        ),
        (
            "mailbox.session = 0",
            &[],
            &["mailbox.session = 0 (file maxtalk.toml, line 1): out of range; allowed: an integer from 1 to 1000000"],
        ),
        (
            "",
            &[("MAXTALK_MAILBOX__SESSION", "0")],
            &["mailbox.session = \"0\" (environment variable MAXTALK_MAILBOX__SESSION): out of range; allowed: "],
        ),
        (
            "max.timeout_ms = -5",
            &[],
            &["max.timeout_ms = -5 (file maxtalk.toml, line 1): out of range; allowed: an integer from 1 to 86400000"],
        ),
        (
            "max.timeout_ms = 99999999999999999999999",
            &[],
            &["max.timeout_ms = 99999999999999999999999 (file maxtalk.toml, line 1): out of range; allowed: "],
        ),
        (
            "",
            &[("MAXTALK_MAX__TIMEOUT_MS", "18446744073709551617")],
            &["max.timeout_ms = \"18446744073709551617\" (environment variable MAXTALK_MAX__TIMEOUT_MS): out of range"],
        ),
        (
            "server.workers = -1",
            &[("MAXTALK_SERVER__WORKERS", "many")],
            &[
                "server.workers = -1 (file maxtalk.toml, line 1): out of range; ",
                "server.workers = \"many\" (environment variable MAXTALK_SERVER__WORKERS): not an integer; ",
            ],
        ),
        (
            "server.workers = -1",
            &[("MAXTALK_SERVER__WORKERS", "1")],
            &["server.workers = -1 (file maxtalk.toml, line 1)"],
        ),
        (
            "outbox.messages_max = 2000",
            &[("MAXTALK_MAILBOX__CONVERSATION", "1000")],
            &["outbox.messages_max = 2000 (file maxtalk.toml, line 1), mailbox.conversation = \"1000\" (environment \
             variable MAXTALK_MAILBOX__CONVERSATION), conversation.presence_members_max = 1000 (default): "],
        ),
        (
            "max.ca_file = 'none.pem'",
            &[],
            &["max.ca_file = \"none.pem\" (file maxtalk.toml, line 1): cannot be read: No such file or directory"],
        ),
        ("[server", &[], &["file maxtalk.toml, line 1: not TOML: "]),
    ];
    let operator = Operator::new();
    for (text, environment, expected) in table {
        operator.file(text);
        // Neither a check nor a start accepts it.
        for command in [&["check"][..], &["serve"], &[]] {
            let arguments = [command, &["--config", "maxtalk.toml"]].concat();
            let (code, said, complaints) = operator.run(&arguments, environment);
            assert_eq!((code, said.as_str()), (Some(1), ""), "{text} {environment:?}: {complaints}");
            assert_eq!(complaints.lines().count(), expected.len(), "{complaints}");
            for (line, start) in complaints.lines().zip(*expected) {
                assert!(line.starts_with(&format!("maxtalk: {start}")), "{line}\n{start}");
            }
        }
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let operator = Operator::new();
    operator.file(b"\xff");
    fs::write(operator.directory.path().join("long.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    let table = [
        ("none.toml", "No such file or directory"),
        (".", "Is a directory"),
        ("maxtalk.toml", "stream did not contain valid UTF-8"),
        ("long.toml", "longer than 1048576 bytes"),
        ("/dev/zero", "longer than 1048576 bytes"),
    ];
    for (path, cause) in table {
        let (code, said, complaints) = operator.run(&["check", "--config", path], &[]);
        assert_eq!((code, said.as_str()), (Some(1), ""));
        let start = format!("maxtalk: file {path} (flag --config): cannot be read: {cause}");
        assert!(complaints.starts_with(&start), "{complaints}");
    }
}

#[test]
fn flags_are_checked_like_all_else_and_a_bad_command_line_is_a_usage_error() {
    let operator = Operator::new();
    let complaint =
        "maxtalk: server.listen = \"abc\" (flag --listen): not an address; allowed: IP:PORT, localhost:PORT or :PORT\n"
            .to_owned();
    assert_eq!(operator.run(&["--listen", "abc"], &[]), (Some(1), String::new(), complaint));
    for arguments in
        [&["--listne", "abc"][..], &["srve"], &["check", "more"], &["--listen"], &["config", "--listen", "a"]]
    {
        let (code, said, complaints) = operator.run(arguments, &[]);
        assert_eq!((code, said.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(complaints.starts_with("error: "), "{complaints}");
    }
    let version = concat!("maxtalk ", env!("CARGO_PKG_VERSION"));
    let known = option_env!("BUILD_OF_MAXTALK_COMMIT").into_iter().chain(option_env!("BUILD_OF_MAXTALK_DATE"));
    let known = known.collect::<Vec<_>>().join(" ");
    let build = if known.is_empty() { known } else { format!(" ({known})") };
    for (flag, expected) in [("-V", format!("{version}\n")), ("--version", format!("{version}{build}\n"))] {
        assert_eq!(operator.run(&[flag], &[]), (Some(0), expected, String::new()));
    }
    let (code, said, _) = operator.run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    for part in [
        "serve",
        "check",
        "config",
        "--listen <ADDR>",
        "--max-url <URL>",
        "-c, --config <FILE>",
        "MAXTALK_SECTION__KEY",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn variables_of_others_are_let_be_and_those_that_are_no_text_are_named() {
    let operator = Operator::new();
    let injected =
        [("MAXTALK_PORT_6545_TCP_ADDR", "10.0.0.1"), ("MAXTALK_SERVICE_HOST", "10.0.0.1"), ("MAXTALK_CONFIG", "x")];
    assert_eq!(operator.run(&["check"], &injected).0, Some(0));

    let bytes = std::ffi::OsString::from_vec(vec![0xff]);
    let mut command = operator.command(&["check"], &[]);
    let output = command.env("OTHER", &bytes).env("MAXTALK_LOG__FILTER", &bytes).output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaints.starts_with("maxtalk: log.filter = (not UTF-8) (environment variable"), "{complaints}");
}

/// A variable whose name is close to a setting is taken for a mistake: ignoring it could start a server with another
/// MAX, or with the demo.
#[test]
fn a_variable_that_almost_names_a_setting_stops_the_start() {
    let operator = Operator::new();
    let table = [
        ("MAXTALK_MAX_URL", "MAXTALK_MAX__URL"),
        ("MAXTALK_MAX_URI", "MAXTALK_MAX__URL"),
        ("MAXTALK_MAXURL", "MAXTALK_MAX__URL"),
        ("MAXTALK__MAX__URL", "MAXTALK_MAX__URL"),
        ("MAXTALK_MAX___URL", "MAXTALK_MAX__URL"),
        ("MAXTALK.MAX.URL", "MAXTALK_MAX__URL"),
        ("maxtalk_max__url", "MAXTALK_MAX__URL"),
        ("MAXTALK_MAX__ULR", "MAXTALK_MAX__URL"),
        ("MAXTALK_MAX__SERVICE__TOKEN", "MAXTALK_MAX__SERVICE_TOKEN"),
        ("MAXTALK_MAX_SERVICE_TOKEN", "MAXTALK_MAX__SERVICE_TOKEN"),
        ("MAXTALK_SERVER_LISTEN", "MAXTALK_SERVER__LISTEN"),
        ("MAXTALK_SERVER__LISTN", "MAXTALK_SERVER__LISTEN"),
        ("MAXTALK_LOG_FILTERS", "MAXTALK_LOG__FILTER"),
        ("MAXTALK_MAX_TOKENLES_JOIN", "MAXTALK_MAX__TOKENLESS_JOINS"),
    ];
    for (variable, meant) in table {
        for arguments in [&["check"][..], &["--listen", "127.0.0.1:0"]] {
            let (code, said, complaints) = operator.run(arguments, &[(variable, "http://s3cret")]);
            assert_eq!((code, said.as_str()), (Some(1), ""), "{variable}: {complaints}");
            assert!(complaints.contains(&format!("environment variable {variable}")), "{complaints}");
            assert!(complaints.contains(&format!("did you mean {meant}?")), "{complaints}");
            assert!(!complaints.contains("s3cret"), "{complaints}");
        }
    }
}

/// Variables of Docker links and Kubernetes services whose names begin like ours do not stop the start.
#[test]
fn variables_of_orchestrators_are_let_be() {
    let operator = Operator::new();
    let services = ["", "_ADMIN", "_MAX", "_MAX_URL", "__X", "_MAX_", "_SERVER__LISTEN", "_", "_LOG"];
    for service in services {
        let tcp = format!("MAXTALK{service}_PORT_6545_TCP");
        let names = [
            (format!("MAXTALK{service}_SERVICE_HOST"), "10.0.0.1"),
            (format!("MAXTALK{service}_SERVICE_PORT"), "6545"),
            (format!("MAXTALK{service}_SERVICE_PORT_HTTP"), "6545"),
            (format!("MAXTALK{service}_SERVICE_PORT_HTTP__2"), "6545"),
            (format!("MAXTALK{service}_PORT"), "tcp://10.0.0.1:6545"),
            (tcp.clone(), "tcp://10.0.0.1:6545"),
            (format!("{tcp}_ADDR"), "10.0.0.1"),
            (format!("{tcp}_PORT"), "6545"),
            (format!("{tcp}_PROTO"), "tcp"),
            (format!("MAXTALK{service}_PORT_53_UDP_START"), "tcp://10.0.0.1:53"),
            (format!("MAXTALK{service}_PORT_53_UDP_PORT_END"), "60"),
            (format!("MAXTALK{service}_NAME"), "/web/maxtalk"),
            (format!("MAXTALK{service}_ENV_PATH"), "/bin"),
            (format!("MAXTALK{service}_ENV_MAXTALK_MAX_URL"), "http://max"),
            (format!("MAXTALK{service}_ENV_MAXTALK_MAX__URL"), "http://max"),
        ];
        let variables = names.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>();
        let (code, said, complaints) = operator.run(&["check"], &variables);
        let said = without_cost(&said);
        assert_eq!((code, said, complaints.as_str()), (Some(0), "configuration is valid\n", ""), "{service}");
    }
}

#[test]
fn other_variables_with_our_prefix_are_warned_of() {
    let operator = Operator::new();
    let odd = [
        ("MAXTALK_BIN", "s3cret"),
        ("MAXTALK_LISTEN", "s3cret"),
        ("MAXTALK_SERVER__PORT", "8080"),
        ("MAXTALK_", "x"),
        ("MAXTALKING", "x"),
        ("MAXTALK_SERVICE_HOST", "10.0.0.1"),
    ];
    let (code, said, complaints) = operator.run(&["check"], &odd);
    let expected = "configuration is valid
warning: environment variable MAXTALK_: names no setting
warning: environment variable MAXTALK_BIN: names no setting
warning: environment variable MAXTALK_LISTEN: names no setting; did you mean MAXTALK_SERVER__LISTEN?
warning: environment variable MAXTALK_SERVER__PORT: names no setting
";
    assert_eq!((code, without_cost(&said), complaints.as_str()), (Some(0), expected, ""));

    let mut server = operator.command(&["--listen", "127.0.0.1:0", "--until-eof"], &odd);
    let mut server = server.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut log = lines.by_ref().take_while(|line| !line.contains("listening on")).collect::<Vec<_>>();
    drop(server.stdin.take());
    log.extend(lines);
    let warned = log.iter().filter(|line| line.contains("WARN") && line.contains("names no setting")).count();
    assert_eq!((server.wait().unwrap().code(), warned), (Some(0), 4), "{log:?}");
    let log = log.concat();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn unknown_keys_say_what_was_meant() {
    let operator = Operator::new();
    let table = [
        ("[server]\nlistn = 'x'", "did you mean server.listen?"),
        ("[servr]\nlisten = 'x'", "did you mean [server]?"),
        ("max_url = 'http://max'", "did you mean max.url?"),
        ("url = 'http://max'", "did you mean max.url?"),
        ("[server]\nurl = 'http://max'", "did you mean max.url?"),
        ("[max]\nservice-token = 'x'", "did you mean max.service_token?"),
        ("[max]\nInflightMax = 1", "did you mean max.inflight_max?"),
    ];
    for (text, hint) in table {
        operator.file(text);
        let (code, _, complaints) = operator.run(&["check", "--config", "maxtalk.toml"], &[]);
        assert_eq!(code, Some(1));
        assert!(complaints.trim_end().ends_with(hint), "{complaints}");
    }
    operator.file("[server]\nxyzzy = 1");
    let (_, _, complaints) = operator.run(&["check", "--config", "maxtalk.toml"], &[]);
    assert!(complaints.contains("unknown key") && !complaints.contains("did you mean"), "{complaints}");
}

/// With such a filter, env_logger would log nothing.
#[test]
fn a_log_filter_that_logs_nothing_by_mistake_is_refused() {
    let operator = Operator::new();
    let bad = [
        ("debgu", "did you mean debug?"),
        ("Inof", "did you mean info?"),
        ("warning", "did you mean warn?"),
        ("err", "did you mean error?"),
        ("none", "did you mean off?"),
        ("info,debgu", "did you mean debug?"),
        ("maxtalk=debgu", "did you mean debug?"),
        ("info,maxtalk::server=trce", "did you mean trace?"),
        ("maxtlak=debug", "did you mean maxtalk?"),
        ("maxtlak::server=debug", "did you mean maxtalk?"),
        ("maxtalk = debug", "not the name of a module"),
        ("maxtalk:debug", "not the name of a module"),
        ("info;maxtalk=debug", "not the name of a module"),
        ("verbose", "neither a level nor a module"),
        ("info=", "neither a level nor a module"),
        ("maxtalk=3", "not a level"),
        (",", "not a filter"),
    ];
    for (filter, fault) in bad {
        let (code, _, complaints) = operator.run(&["check"], &[("MAXTALK_LOG__FILTER", filter)]);
        assert_eq!(code, Some(1), "{filter}: {complaints}");
        assert!(complaints.contains(fault), "{filter}: {complaints}");
    }
    let good = [
        "debug",
        "OFF",
        " info , maxtalk=debug ",
        "maxtalk",
        "maxtalk::server",
        "actix_http",
        "info,maxtalk=debug",
        "warn,some_crate::part=trace",
        "some_crate=debug",
        "maxtalk=",
        "info/needle",
        "info,maxtalk::refusals=off/debgu",
    ];
    for filter in good {
        let (code, _, complaints) = operator.run(&["check"], &[("MAXTALK_LOG__FILTER", filter)]);
        assert_eq!((code, complaints.as_str()), (Some(0), ""), "{filter}");
    }
}

/// Row 62 of the faults: the token is never printed, whatever else is wrong.
#[test]
fn tokens_are_never_printed() {
    let operator = Operator::new();
    let texts = [
        "max.service_token = 's3cret s3cret'",
        "max.service_token = 's3cret'",
        "max.service_token = s3cret",
        "max.service_token = 's3cret",
        "max.token = 's3cret'",
        "max.url = 'https://bot:s3cret@max'",
        "max = { service_token = 's3cret', service_username = 'bot' }",
    ];
    for text in texts {
        operator.file(text);
        let (_, said, complaints) = operator.run(&["check", "--config", "maxtalk.toml"], &[]);
        assert!(!(said + &complaints).contains("s3c"), "{text}");
        let (_, said, complaints) = operator.run(&["check"], &[("MAXTALK_MAX__SERVICE_TOKEN", "s3cret\t")]);
        assert!(!(said + &complaints).contains("s3c"));
    }
}

/// Row 71 of the faults, for the commands that only print.
#[test]
fn a_reader_that_has_heard_enough_is_no_failure_and_a_full_disk_is_one() {
    let operator = Operator::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = operator.command(&["config"], &[]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = operator.command(&["config"], &[]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaints.contains("No space left on device"), "{complaints}");
}

#[test]
fn a_standard_error_that_is_closed_or_stalled_does_not_keep_the_program_from_its_end() {
    let operator = Operator::new();
    let bad = [("MAXTALK_SERVER__LISTEN", "abc")];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(operator.command(&["check"], &bad).stderr(writer).status().unwrap().code(), Some(1));

    // A pipe without a reader, filled to its capacity.
    let (_reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'x'; 65_536]).unwrap();
    let start = Instant::now();
    assert_eq!(operator.command(&["check"], &bad).stderr(writer).status().unwrap().code(), Some(1));
    assert!(start.elapsed() >= Duration::from_millis(900), "it did not stall");
}

fn line_of(text: &str, name: &str) -> usize {
    1 + text.lines().position(|line| line.starts_with(&format!("{name} = "))).unwrap()
}
