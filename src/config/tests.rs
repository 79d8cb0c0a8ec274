//! Tests of the table, the layers and the messages: from sources to a configuration, or to the text of its problems.

use super::*;

fn file(text: &str) -> Sources {
    Sources { file: Some(File { path: "a.toml".to_owned(), text: text.to_owned() }), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    Sources { environment: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(), ..file("") }
}

fn flags(listen: &str) -> Vec<Flag> {
    vec![Flag { name: "--listen", key: "server.listen", value: listen.to_owned() }]
}

fn problems(sources: Sources) -> String {
    Config::load(sources).expect_err("the configuration should be refused").to_string()
}

#[test]
fn an_address_may_be_short() {
    for (text, address) in
        [("localhost:80", "127.0.0.1:80"), ("LocalHost:80", "127.0.0.1:80"), ("[::1]:80", "[::1]:80")]
    {
        let sources = Sources { flags: flags(text), ..file("") };
        assert_eq!(Config::load(sources).unwrap().server.listen.to_string(), address);
    }
    for text in ["80", ":", ":x", ":99999", "localhost", "localhost:", "remote:80", "::1:80"] {
        let problems = problems(Sources { flags: flags(text), ..file("") });
        assert!(problems.contains("allowed: IP:PORT, localhost:PORT or :PORT"), "{problems}");
    }
}

#[test]
fn the_defaults_are_those_of_the_annotated_file() {
    let defaults = Config::default();
    assert_eq!(defaults.server.listen.to_string(), "127.0.0.1:6545");
    assert_eq!((&defaults.max.url, defaults.log.filter.as_str()), (&None, "info,actix_http::h1=off"));
    assert_eq!(defaults.protocol.generations, Generation::ALL);
    assert_eq!((defaults.outbox.messages_max, defaults.protocol.payload_bytes_max), (4096, 1_000_000));
    assert_eq!(defaults.changed().count(), 0);

    let text = annotated_defaults();
    let loaded = Config::load(file(&text)).unwrap();
    assert_eq!(loaded, defaults);
    assert_eq!(loaded.describe("max.url"), "max.url = none (default)");

    // Settings without a default are written out as comments, and mean the same when they are not.
    let assignment = |line: &str| line.strip_prefix("# ").filter(|rest| rest.ends_with(" = \"\"")).map(str::to_owned);
    let uncommented = text.lines().map(|line| assignment(line).unwrap_or_else(|| line.to_owned()));
    let uncommented = uncommented.collect::<Vec<_>>().join("\n");
    assert_ne!(uncommented, text);
    assert_eq!(Config::load(file(&uncommented)).unwrap(), defaults);
}

#[test]
fn the_annotated_file_says_what_each_setting_is() {
    let text = annotated_defaults();
    let workers = "\n\n# Worker threads; 0 starts one per core.\n# Allowed: an integer from 0 to 1024.\nworkers = 0\n";
    let url = "none starts the embedded demo MAX.\n# Allowed: an http or https URL with a host, ";
    let unset = "password, query and fragment, \
             or empty for none.\n# url = \"\"\n";
    for part in ["\n\n# The listener and the process.\n[server]\n", workers, url, unset, "\n\n# The log.\n[log]\n"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn every_setting_is_heard_in_the_environment_and_in_the_file() {
    for setting in Setting::all() {
        let default = setting.default.replace(['[', ']', '"'], "").replace(NONE, "");
        let config = Config::load(environment(&[(&setting.variable(), &default)])).unwrap();
        assert_eq!(config, Config::default(), "{}", setting.key);
        let source = format!("(environment variable {})", setting.variable());
        assert_eq!(config.changed().collect::<Vec<_>>().len(), 1);
        assert!(config.describe(setting.key).ends_with(&source), "{}", config.describe(setting.key));

        let value = if setting.default == NONE { "\"\"" } else { setting.default };
        let config = Config::load(file(&format!("\n{} = {value}", setting.key))).unwrap();
        assert!(config.describe(setting.key).ends_with("(file a.toml, line 2)"), "{}", config.describe(setting.key));
    }
}

#[test]
fn flags_are_above_the_environment_above_the_file_above_the_defaults() {
    let layers = |with_environment: bool, with_flag: bool| {
        let variable = ("MAXTALK_SERVER__LISTEN".into(), "127.0.0.2:2".into());
        let sources = Sources {
            environment: if with_environment { vec![variable] } else { vec![] },
            flags: if with_flag { flags("127.0.0.3:3") } else { vec![] },
            ..file("[server]\nlisten = \"127.0.0.1:1\"")
        };
        Config::load(sources).unwrap().describe("server.listen")
    };
    assert_eq!(layers(false, false), r#"server.listen = "127.0.0.1:1" (file a.toml, line 2)"#);
    assert_eq!(layers(true, false), r#"server.listen = "127.0.0.2:2" (environment variable MAXTALK_SERVER__LISTEN)"#);
    assert_eq!(layers(true, true), r#"server.listen = "127.0.0.3:3" (flag --listen)"#);
}

#[test]
fn values_of_every_type_are_read_from_file_and_environment() {
    let text = r#"
        admin = { listen = "[::1]:9000" }
        max.url = "https://Max.example/base//"
        max.service_username = "bot"
        max.service_token = "s3cret"
        max.tokenless_joins = true
        [server]
        workers = 0x10
        [log]
        refusals_per_second_max = 1_000
    "#;
    let by_file = Config::load(file(text)).unwrap();
    let by_environment = Config::load(environment(&[
        ("MAXTALK_MAX__URL", "https://Max.example/base//"),
        ("MAXTALK_MAX__SERVICE_USERNAME", "Bot"),
        ("MAXTALK_MAX__SERVICE_TOKEN", "s3cret"),
        ("MAXTALK_MAX__TOKENLESS_JOINS", "true"),
        ("MAXTALK_ADMIN__LISTEN", "[::1]:9000"),
        ("MAXTALK_SERVER__WORKERS", "16"),
        ("MAXTALK_LOG__REFUSALS_PER_SECOND_MAX", "1000"),
    ]))
    .unwrap();
    assert_eq!(by_file, by_environment);
    assert_eq!(by_file.max.url.as_ref().map(BaseUrl::as_str), Some("https://max.example/base"));
    assert_eq!(by_file.max.service_username.as_ref().map(Username::as_str), Some("bot"));
    assert_eq!(by_file.max.service_token.as_ref().map(Token::reveal), Some("s3cret"));
    assert_eq!(by_file.max.scope, "widgetcli");
    assert_eq!((by_file.server.workers, by_file.log.refusals_per_second_max), (16, 1000));
    let shown = by_file.changed().collect::<String>() + &format!("{by_file:?}");
    assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_number_has_a_decimal_point_or_none() {
    for (text, expected) in [("1", 1.0), ("0", 0.0), ("1.25", 1.25), ("5e-1", 0.5)] {
        let by_file = Config::load(file(&format!("demo.zipf = {text}"))).unwrap();
        assert_eq!(by_file, Config::load(environment(&[("MAXTALK_DEMO__ZIPF", text)])).unwrap());
        assert_eq!(by_file.demo.zipf, Some(expected));
        assert_eq!(by_file.describe("demo.zipf"), format!("demo.zipf = {text} (file a.toml, line 1)"));
    }
}

#[test]
fn a_list_is_an_array_or_text_with_commas() {
    let by_file = Config::load(file("protocol.generations = ['eio4', '0.9']")).unwrap();
    let by_environment = Config::load(environment(&[("MAXTALK_PROTOCOL__GENERATIONS", "eio4, 0.9")])).unwrap();
    assert_eq!(by_file, by_environment);
    assert_eq!(by_file.protocol.generations, [Generation::Eio4, Generation::Sio09]);
    assert!(by_file.describe("protocol.generations").starts_with(r#"protocol.generations = ["eio4", "0.9"] (file"#));
}

#[test]
fn empty_text_is_none_on_every_layer() {
    let sources = Sources { environment: vec![("MAXTALK_MAX__URL".into(), "".into())], ..file("max.url = 'http://m'") };
    let config = Config::load(sources).unwrap();
    assert_eq!(config.describe("max.url"), "max.url = none (environment variable MAXTALK_MAX__URL)");
    assert_eq!(config.max.url, None);
}

#[test]
fn variables_that_are_not_meant_for_maxtalk_are_let_be() {
    let injected = [
        "MAXTALK_PORT",
        "MAXTALK_PORT_6545_TCP_ADDR",
        "MAXTALK_SERVICE_HOST",
        "MAXTALK__X_SERVICE_HOST",
        "XMAXTALK_A__B",
        "PATH",
    ];
    let config = Config::load(environment(&injected.map(|name| (name, "tcp://10.0.0.1:6545")))).unwrap();
    assert_eq!((config.warnings(), config == Config::default()), (&[][..], true));

    let odd = (0..1000).map(|n| (format!("MAXTALK_X{n}"), "x")).collect::<Vec<_>>();
    let odd = odd.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>();
    let config = Config::load(environment(&odd)).unwrap();
    assert_eq!((config.warnings().len(), config == Config::default()), (20, true));
}

#[test]
fn unknown_keys_are_named_with_what_they_could_have_been() {
    let admin = "admin.listen, admin.token, admin.announce_token";
    let meant = "admin.listen, admin.token, admin.announce_token; did you mean admin.listen?";
    let variable_meant = "admin.listen, admin.token, admin.announce_token; did you mean MAXTALK_ADMIN__LISTEN?";
    let sections = SECTIONS.iter().map(|section| format!("[{}]", section.name)).collect::<Vec<_>>().join(", ");
    let sections = sections.as_str();
    let (server_meant, listen_meant) =
        (&*format!("{sections}; did you mean [server]?"), &*format!("{sections}; did you mean server.listen?"));
    let table = [
        (file("[admin]\n\nlistn = 1"), "admin.listn (file a.toml, line 3)", meant),
        (file("admin.x.y = 1"), "admin.x (file a.toml, line 1)", admin),
        (file("listen = '1.1.1.1:1'"), "listen (file a.toml, line 1)", listen_meant),
        (file("[servr]\nlisten = '1.1.1.1:1'"), "servr (file a.toml, line 1)", server_meant),
        (file("server = 'x'"), "server (file a.toml, line 1)", server_meant),
        (file("[[server]]"), "server (file a.toml, line 1)", server_meant),
        (file("\"a\\nb\" = 1"), "a\\nb (file a.toml, line 1)", sections),
        (
            environment(&[("MAXTALK_ADMIN__LISTN", "1")]),
            "admin.listn (environment variable MAXTALK_ADMIN__LISTN)",
            variable_meant,
        ),
        (
            environment(&[("MAXTALK_ADMIN___LISTEN", "1")]),
            "admin._listen (environment variable MAXTALK_ADMIN___LISTEN)",
            variable_meant,
        ),
        (
            environment(&[("MAXTALK_admin__listen", "1")]),
            "admin.listen (environment variable MAXTALK_admin__listen)",
            variable_meant,
        ),
        (environment(&[("MAXTALK_A__B", "1")]), "a.b (environment variable MAXTALK_A__B)", sections),
    ];
    for (sources, named, allowed) in table {
        assert_eq!(problems(sources), format!("{named}: unknown key; allowed: {allowed}"));
    }
}

#[test]
fn a_setting_that_was_renamed_is_named_with_its_present_name() {
    let sections = SECTIONS.iter().map(|section| format!("[{}]", section.name)).collect::<Vec<_>>().join(", ");
    let variable = "MAXTALK_METRICS__LISTEN";
    let table = [
        (file("[metrics]\nlisten = '127.0.0.1:1'"), "file a.toml, line 2", "admin.listen"),
        (file("metrics.listen = ''"), "file a.toml, line 1", "admin.listen"),
        (environment(&[(variable, "")]), &format!("environment variable {variable}"), "MAXTALK_ADMIN__LISTEN"),
    ];
    for (sources, origin, present) in table {
        let expected = format!("metrics.listen ({origin}): unknown key; allowed: {sections}; did you mean {present}?");
        assert_eq!(problems(sources), expected);
    }
}

#[test]
fn values_that_are_not_allowed_are_named_with_their_source_and_with_what_is() {
    let workers = "allowed: an integer from 0 to 1024";
    let registry = "allowed: an integer from 1 to 10000000";
    let huge = "9".repeat(60);
    let table = [
        ("server.workers", "\"4\"", None, "not an integer", workers),
        ("server.workers", "-1", Some("-1"), "out of range", workers),
        ("server.workers", "1025", Some("1025"), "out of range", workers),
        ("server.workers", &huge, Some(&huge), "out of range", workers),
        ("server.workers", "18446744073709551616", Some("18446744073709551616"), "out of range", workers),
        ("server.workers", "4.0", Some("4.0"), "not an integer", workers),
        ("demo.zipf", "10.5", Some("10.5"), "out of range", "a number from 0 to 10, or empty for none"),
        ("demo.zipf", "nan", Some("nan"), "out of range", "a number from 0 to 10, or empty for none"),
        ("demo.zipf", "true", Some("true"), "not a number", "a number from 0 to 10, or empty for none"),
        ("server.workers", "nan", Some("nan"), "not an integer", workers),
        ("server.workers", "inf", Some("inf"), "not an integer", workers),
        ("server.workers", "true", Some("true"), "not an integer", workers),
        ("server.workers", "1979-05-27", Some("1979-05-27"), "not an integer", workers),
        ("server.workers", "[1]", None, "not an integer", workers),
        ("server.workers", "{a = 1}", None, "not an integer", workers),
        ("mailbox.registry", "0", Some("0"), "out of range", registry),
        ("protocol.ping_interval_ms", "0", Some("0"), "out of range", "allowed: an integer from 1 to 86400000"),
        ("protocol.generations", "[]", Some(""), "empty", "allowed: a list of one or more of eio4, eio3, 0.9"),
        ("protocol.generations", "['eio5']", Some("eio5"), "not such a word", "allowed: a list of one or more of eio4"),
        ("protocol.generations", "['0.9','0.9']", Some("0.9,0.9"), "a word twice", "allowed: a list of one or more of"),
        ("protocol.generations", "[3]", None, "not a list of words", "allowed: a list of one or more of eio4"),
        ("protocol.payload_bytes_max", "0", Some("0"), "out of range", "allowed: an integer from 1 to 1073741824"),
        ("log.refusals_per_second_max", "4294967296", Some("4294967296"), "out of range", "from 0 to 1000000"),
        ("outbox.bytes_max", "65535", Some("65535"), "out of range", "allowed: an integer from 65536 to 1073741824"),
        ("max.tokenless_joins", "\"true\"", None, "not a boolean", "allowed: true or false"),
        ("max.tokenless_joins", "1", Some("1"), "not a boolean", "allowed: true or false"),
        ("server.listen", "\"abc\"", Some("abc"), "not an address", "allowed: IP:PORT"),
        ("server.listen", "\"remote:1\"", Some("remote:1"), "not an address", "allowed: IP:PORT"),
        ("server.listen", "\"127.0.0.1:65536\"", Some("127.0.0.1:65536"), "not an address", "allowed: IP:PORT"),
        ("server.listen", "\"\"", Some(""), "empty", "allowed: IP:PORT"),
        ("server.listen", "6545", None, "not text", "allowed: IP:PORT"),
        ("server.sid_tag", "\"k3f\"", Some("k3f"), "not such a tag", "4 letters, digits, - or _, or empty for none"),
        ("server.sid_tag", "\"k3f/\"", Some("k3f/"), "not such a tag", "4 letters, digits, - or _, or empty for none"),
        ("server.sid_tag", "1234", None, "not text", "4 letters, digits, - or _, or empty for none"),
        ("admin.listen", "\"x\"", Some("x"), "not an address", "allowed: IP:PORT, localhost:PORT or :PORT, or empty"),
        ("log.filter", "\"maxtalk=loud\"", Some("maxtalk=loud"), "not a level", "in the form of env_logger"),
        ("log.filter", "\" \"", Some(" "), "not a filter", "in the form of env_logger"),
        ("max.scope", "\"a\\nb\"", Some("a\nb"), "not the value of a header", "visible ASCII"),
        ("max.service_username", "\" bot\"", Some(" bot"), "not a username", "256 bytes"),
        (
            "max.url",
            "\"http://max:0\"",
            Some("http://max:0"),
            "a URL with the port 0",
            "an http or https URL with a host",
        ),
        ("max.url", "\"https://[::1]\"", Some("https://[::1]"), "an https URL with an IPv6 address", "no IPv6 address"),
        ("max.ca_file", "3", None, "not text", "allowed: the path of a file, or empty for none"),
    ];
    for (key, in_file, in_environment, fault, allowed) in table {
        let message = problems(file(&format!("\n{key} = {in_file}")));
        assert!(message.starts_with(&format!("{key} = ")) && message.contains(allowed), "{message}");
        assert!(message.contains(&format!(" (file a.toml, line 2): {fault}; allowed: ")), "{message}");

        let Some(value) = in_environment else { continue };
        let variable = Setting::all().find(|setting| setting.key == key).unwrap().variable();
        let message = problems(environment(&[(&variable, value)]));
        let start = format!("{key} = {value:?} (environment variable {variable}): {fault}; allowed: ");
        assert!(message.starts_with(&start) && message.contains(allowed), "{message}");
    }
    assert_eq!(
        problems(environment(&[("MAXTALK_SERVER__LISTEN", "abc")])),
        "server.listen = \"abc\" (environment variable MAXTALK_SERVER__LISTEN): not an address; allowed: IP:PORT, \
         localhost:PORT or :PORT"
    );
    let flagged = problems(Sources { flags: flags("abc"), ..Sources::default() });
    let expected = "server.listen = \"abc\" (flag --listen): not an address; allowed: IP:PORT, localhost:PORT or :PORT";
    assert_eq!(flagged, expected);
}

#[test]
fn numbers_in_the_environment_are_digits_and_nothing_else() {
    for value in ["", " 4", "4 ", "1_000", "0x10", "1e3", "4.0", "NaN", "+", "-", "--4", "٤"] {
        let message = problems(environment(&[("MAXTALK_SERVER__WORKERS", value)]));
        assert!(message.contains("not an integer"), "{value:?}: {message}");
    }
    for (value, workers) in [("0", 0), ("+4", 4), ("-0", 0), ("0016", 16), ("1024", 1024)] {
        let config = Config::load(environment(&[("MAXTALK_SERVER__WORKERS", value)])).unwrap();
        assert_eq!(config.server.workers, workers);
    }
}

#[test]
fn bytes_that_are_no_text_are_named() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![b'1', 0xff]);
    let sources = Sources { environment: vec![("MAXTALK_SERVER__LISTEN".into(), value)], ..Sources::default() };
    assert!(problems(sources).starts_with("server.listen = (not UTF-8) (environment variable"));
}

#[test]
fn long_values_and_control_characters_do_not_spoil_the_message() {
    let message = problems(environment(&[("MAXTALK_SERVER__LISTEN", &"x".repeat(10_000))]));
    assert!(message.len() < 250, "{}", message.len());
    let message = problems(environment(&[("MAXTALK_SERVER__LISTEN", "a\n\u{1b}[31mb")]));
    assert!(message.starts_with(r#"server.listen = "a\n\u{1b}[31mb" ("#), "{message}");
}

#[test]
fn a_url_of_max_that_is_refused_is_told_with_its_source() {
    for (url, fault) in
        [("ftp://max", "not an http or https URL"), ("http://user@max", "a URL with a user or a password")]
    {
        let message = problems(environment(&[("MAXTALK_MAX__URL", url)]));
        assert!(message.contains(&format!("(environment variable MAXTALK_MAX__URL): {fault}; allowed")), "{message}");
    }
}

#[test]
fn paths_and_namespaces_have_their_form() {
    let good = [("path", "/a/"), ("path", "/a.b/C-1_~/"), ("namespace", "/x"), ("namespace", "/a/b")];
    for (key, value) in good {
        assert!(Config::load(file(&format!("protocol.{key} = {value:?}"))).is_ok(), "{key} {value}");
    }
    let bad_paths = ["/", "//", "a/", "/a", "/a//b/", "/../", "/./", "/{x}/", "/a b/", "/a?/", "/%41/", "/é/"];
    let bad_namespaces = ["/", "max", "/a,b", "/a?b", "/a b", "/a\tb", "/a\u{7f}"];
    let bad =
        bad_paths.map(|value| ("path", value)).into_iter().chain(bad_namespaces.map(|value| ("namespace", value)));
    for (key, value) in bad {
        let message = problems(environment(&[(&format!("MAXTALK_PROTOCOL__{}", key.to_uppercase()), value)]));
        assert!(message.starts_with(&format!("protocol.{key} = {value:?} (")), "{message}");
    }
}

#[test]
fn values_are_checked_on_every_layer_and_all_problems_are_told() {
    let sources = Sources {
        environment: vec![
            ("MAXTALK_SERVER__WORKERS".into(), "x".into()),
            ("MAXTALK_LOG__FILTER".into(), "debug".into()),
            ("MAXTALK_LOG__FILTR".into(), "debug".into()),
        ],
        ..file("[server]\nworkers = -1\n[log]\nfilter = 1\nlines_max = 0")
    };
    let problems = problems(sources);
    let starts = problems.lines().map(|line| line.split(": ").next().unwrap()).collect::<Vec<_>>();
    let expected = [
        "log.filtr (environment variable MAXTALK_LOG__FILTR)",
        "server.workers = -1 (file a.toml, line 2)",
        "server.workers = \"x\" (environment variable MAXTALK_SERVER__WORKERS)",
        "log.filter = 1 (file a.toml, line 4)",
        "log.lines_max = 0 (file a.toml, line 5)",
    ];
    assert_eq!(starts, expected);
}

#[test]
fn a_file_that_is_not_toml_is_named_with_the_line() {
    let table = [("a = 1\nb = = 2", 2), ("[server\n", 1), ("[server]\nworkers = 1\nworkers = 2", 3), ("\u{0}", 1)];
    for (text, line) in table {
        let message = problems(file(text));
        assert!(message.starts_with(&format!("file a.toml, line {line}: not TOML: ")), "{message}");
    }
    assert_eq!(Config::load(file("\u{feff}[server]\r\nworkers = 0\r\n")).unwrap(), Config::default());
}

#[test]
fn no_message_holds_a_secret() {
    let in_file = [
        "max.service_token = \"s3cret s3cret\"",
        "max.service_token = [\"s3cret\"]",
        "max.service_token = {s3cret = 1}",
        "max.service_token = s3cret",
        "max.service_token = \"s3cret",
        "max.service_token = 's3cret'\nmax.service_token = 's3cret'",
        "max.servce_token = \"s3cret\"",
        "max = \"s3cret\"",
        "service_token = \"s3cret\"",
        "max.service_token = \"s3cret\"",
        "max.url = \"http://bot:s3cret@max\"",
        "max.url = \"bot:s3cret@max\"",
        "max.url = \"http://bot:s3c/s3cret@max/\"",
        "max.url = \"https://max/?token=s3cret\"",
        "max.url = \"https://max/#s3cret\"",
    ];
    let in_environment = [
        ("MAXTALK_MAX__SERVICE_TOKEN", "s3cret\n"),
        ("MAXTALK_MAX__SERVICE_TOKEN", "s3cret"),
        ("MAXTALK_MAX__SERVCE_TOKEN", "s3cret"),
        ("MAXTALK_MAX__URL", "https://bot:s3cret@max"),
    ];
    let sources = in_file.map(file).into_iter().chain(in_environment.map(|variable| environment(&[variable])));
    for sources in sources {
        let error = Config::load(sources).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3c"), "{shown}");
    }
}

#[test]
fn settings_that_cannot_work_together_are_named_together() {
    let account = "[max]\nservice_username = 'bot'\nservice_token = 's3cret'\n";
    let table = [
        (
            "outbox.messages_max = 3048".to_owned(),
            "outbox.messages_max = 3048 (file a.toml, line 1), mailbox.conversation = 2048 (default), \
             conversation.presence_members_max = 1000 (default): the first must be above the sum of the others; \
             allowed here: at least 3049",
        ),
        (
            "mailbox.conversation = 4096\nconversation.presence_members_max = 0".to_owned(),
            "outbox.messages_max = 4096 (default), mailbox.conversation = 4096 (file a.toml, line 1), \
             conversation.presence_members_max = 0 (file a.toml, line 2): the first must be above the sum of the \
             others; allowed here: at least 4097",
        ),
        (
            format!("{account}tokenless_joins = true"),
            "max.tokenless_joins = true (file a.toml, line 4), max.url = none (default), \
             max.service_username = \"bot\" (file a.toml, line 2), max.service_token = *** (file a.toml, line 3): \
             joins without a token need all of the others",
        ),
        (
            "max = { tokenless_joins = true, url = 'http://max' }".to_owned(),
            "max.tokenless_joins = true (file a.toml, line 1), max.url = \"http://max\" (file a.toml, line 1), \
             max.service_username = none (default), max.service_token = none (default): \
             joins without a token need all of the others",
        ),
        (
            "[max]\nservice_username = 'bot'".to_owned(),
            "max.service_username = \"bot\" (file a.toml, line 2), max.service_token = none (default): \
             one needs the other",
        ),
        (
            "[max]\nservice_token = 's3cret'".to_owned(),
            "max.service_username = none (default), max.service_token = *** (file a.toml, line 2): \
             one needs the other",
        ),
        (
            "cluster.url = ['redis://a']\nlimits.id_bytes_max = 1500".to_owned(),
            "cluster.message_bytes_max = 65536 (default), limits.id_bytes_max = 1500 (file a.toml, line 2): \
             the longest update must fit into a message; allowed here: at least 68288",
        ),
        (
            "cluster.url = ['redis+cluster://a']\ncluster.dialect = 'sharded'\nprotocol.namespace = '/{a}'".to_owned(),
            "protocol.namespace = \"/{a}\" (file a.toml, line 3), cluster.dialect = \"sharded\" (file a.toml, line 2): \
             the slots of a Redis Cluster are decided by braces, so that the namespace must have none",
        ),
        (
            "demo.people = 5\nmax.url = 'http://max'".to_owned(),
            "demo.people = 5 (file a.toml, line 1), max.url = \"http://max\" (file a.toml, line 2): \
             the first needs the demo MAX, which runs only without the second",
        ),
        (
            "admin.listen = '127.0.0.1:6545'".to_owned(),
            "admin.listen = \"127.0.0.1:6545\" (file a.toml, line 1), server.listen = \"127.0.0.1:6545\" (default): \
             the two listeners must differ",
        ),
        (
            "admin.listen = '0.0.0.0:6546'".to_owned(),
            "admin.listen = \"0.0.0.0:6546\" (file a.toml, line 1), admin.token = none (default): \
             an address that other machines can reach needs the second",
        ),
        (
            "admin.listen = '[::ffff:10.0.0.1]:6546'\nadmin.announce_token = 's3cret'".to_owned(),
            "admin.listen = \"[::ffff:10.0.0.1]:6546\" (file a.toml, line 1), admin.token = none (default): \
             an address that other machines can reach needs the second",
        ),
        (
            "admin.token = 's3cret'\nadmin.announce_token = 's3cret'".to_owned(),
            "admin.token = *** (file a.toml, line 1), admin.announce_token = *** (file a.toml, line 2): \
             the two keys must differ",
        ),
    ];
    for (text, message) in table {
        assert_eq!(problems(file(&text)), message);
    }
    let good = [
        "admin.listen = '0.0.0.0:6546'\nadmin.token = 's3cret'".to_owned(),
        "admin.listen = '[::1]:6546'\nadmin.announce_token = 's3cret'".to_owned(),
        "admin.listen = '[::ffff:127.0.0.1]:6546'".to_owned(),
        "admin.listen = ''".to_owned(),
        "outbox.messages_max = 3049".to_owned(),
        "mailbox.conversation = 4095\nconversation.presence_members_max = 0".to_owned(),
        format!("{account}tokenless_joins = true\nurl = 'http://max'"),
        account.to_owned(),
        "admin.listen = '127.0.0.1:0'\nserver.listen = '127.0.0.1:0'".to_owned(),
    ];
    for text in good {
        assert!(Config::load(file(&text)).is_ok(), "{text}");
    }
}

/// Reads a default as pages write it: a number, perhaps with a unit. `None` where it is said in words.
fn written(text: &str) -> Option<String> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "" | "ms" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "MB" => 1_000_000,
        "s" => 1000,
        _ => return None,
    };
    Some((number.parse::<u64>().ok()? * factor).to_string())
}

#[test]
fn the_page_on_settings_has_the_defaults() {
    let page = include_str!("../docs/settings.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut compared = 0;
    for cells in rows.map(|row| row.split(" | ").collect::<Vec<_>>()) {
        let keys: Vec<_> = cells[0].split('`').filter(|key| key.contains('.')).collect();
        let defaults: Vec<_> = cells[1].split(", ").map(written).collect();
        if keys.len() != defaults.len() {
            continue;
        }
        for (key, default) in keys.into_iter().zip(defaults) {
            let Some(default) = default else { continue };
            assert_eq!(Config::default().describe(key), format!("{key} = {default} (default)"));
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn pages_name_settings_that_exist() {
    let sections: Vec<_> = Setting::all().map(|setting| setting.key.split('.').next().unwrap()).collect();
    // The members of the JSON of the bench look like settings, and have a test of their own.
    for page in crate::docs::PAGES.iter().filter(|page| page.name != "bench") {
        let quoted = page.text.split('`').skip(1).step_by(2).flat_map(|code| code.split([' ', '=']));
        for key in quoted.filter(|key| key.split_once('.').is_some_and(|(section, _)| sections.contains(&section))) {
            let is_setting = key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'));
            let is_known =
                Setting::all().any(|setting| setting.key == key) || key.ends_with(".*") || key.ends_with(".md");
            assert!(!is_setting || is_known, "{}: {key}", page.name);
        }
    }
}
