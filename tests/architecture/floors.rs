//! The floors: a file imports from lower floors only, islands import nothing, and the program uses the library.

use crate::paths::paths;
use crate::source::Source;

/// The modules of the crate's root from the ground up. A file imports from lower floors only, and from its own module.
const FLOORS: &[&[&str]] = &[
    &["docs", "files", "ids", "limits", "logging", "protocol", "stage", "turns", "version"],
    &["event"],
    &["config", "metrics"],
    &["cluster", "delivery", "directory", "mailbox"],
    &["board", "feed"],
    &["actors"],
    &["admin", "http"],
    &["server", "bench", "remote"],
    &["healthcheck", "set", "top"],
    &["cli"],
    &["program", "testing"],
];

/// Modules that import nothing else of the crate.
const ISLANDS: &[&str] = &["docs", "files", "ids", "limits", "logging", "protocol", "stage", "turns", "version"];

pub fn breaches(source: &Source) -> Vec<String> {
    if source.name == "src/main.rs" {
        return program_breaches(source);
    }
    let Some(home) = source.module() else { return Vec::new() };
    let top = home[0].as_str();
    let floor = floor_of(top);
    let mut breaches = Vec::new();
    if floor.is_none() {
        breaches.push(source.breach(1, &format!("`{top}` has no floor")));
    }
    for path in paths(&home, &source.tokens) {
        let Some(target) = path.names.first().filter(|target| *target != top) else { continue };
        let what = match (floor_of(target), floor) {
            _ if ISLANDS.contains(&top) => format!("`{top}` imports nothing of the crate"),
            (Some(theirs), Some(ours)) if theirs < ours => continue,
            (Some(theirs), Some(ours)) if theirs == ours => format!("`{target}` is a sibling"),
            (Some(_), _) => format!("`{target}` is on a higher floor"),
            (None, _) => format!("`{target}` is no module of the table"),
        };
        breaches.push(source.breach(path.line, &what));
    }
    breaches
}

fn program_breaches(source: &Source) -> Vec<String> {
    let words = source.tokens.windows(2).filter_map(|pair| {
        let what = match (pair[0].text.as_str(), pair[1].text.as_str()) {
            ("crate" | "super", "::") => "the program uses the library by its name",
            ("mod", _) => "the program has no modules of its own",
            _ => return None,
        };
        Some(source.breach(pair[0].line, what))
    });
    words.collect()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn breaches_of_the_floors_are_noticed() {
    let table: &[(&str, &str, &[&str])] = &[
        ("http/mod.rs", "use crate::{actors::registry::{Registry, Join}, event::Code, directory};", &[]),
        ("actors/session.rs", "use super::conversation::Handle;\nuse crate::actors::registry;", &[]),
        ("delivery.rs", "mod tests { use super::*; use super::super::config::Outbox; }", &[]),
        ("config.rs", "macro_rules! m { () => { $crate::config::x() } }", &[]),
        ("main.rs", "use maxtalk::cli;\nfn main() { maxtalk::server::run() }", &[]),
        ("lib.rs", "pub mod anything;", &[]),
        ("event.rs", "use crate::delivery::outbox::Outbox;", &["src/event.rs:1: `delivery` is on a higher floor"]),
        (
            "directory/max/client.rs",
            "\nfn f() { crate::actors::y() }",
            &["src/directory/max/client.rs:2: `actors` is on a higher floor"],
        ),
        ("delivery.rs", "use crate::mailbox::Door;", &["src/delivery.rs:1: `mailbox` is a sibling"]),
        ("directory/mod.rs", "use super::mailbox::Door;", &["src/directory/mod.rs:1: `mailbox` is a sibling"]),
        ("directory/demo.rs", "use super::super::mailbox::Door;", &["src/directory/demo.rs:1: `mailbox` is a sibling"]),
        ("directory/demo.rs", "use self::super::super::mailbox;", &["src/directory/demo.rs:1: `mailbox` is a sibling"]),
        (
            "delivery.rs",
            "mod a { fn f() { super::super::directory::x() } }",
            &["src/delivery.rs:1: `directory` is a sibling"],
        ),
        ("server/stop.rs", "use crate::{event, cli};", &["src/server/stop.rs:1: `cli` is on a higher floor"]),
        ("server.rs", "pub(crate) use crate::bench;", &["src/server.rs:1: `bench` is a sibling"]),
        (
            "http/mod.rs",
            "use crate::{\n    event::{A, B},\n    server::C,\n};",
            &["src/http/mod.rs:1: `server` is on a higher floor"],
        ),
        ("http.rs", "use crate::*;", &["src/http.rs:1: `*` is no module of the table"]),
        ("http.rs", "use crate::Thing;", &["src/http.rs:1: `Thing` is no module of the table"]),
        ("cluster/peers.rs", "use crate::event::Talk; use super::door::FromBus;", &[]),
        ("cluster/bus.rs", "use crate::mailbox::Door;", &["src/cluster/bus.rs:1: `mailbox` is a sibling"]),
        ("anything.rs", "", &["src/anything.rs:1: `anything` has no floor"]),
        (
            "protocol/frame.rs",
            "use crate::event::Code;",
            &["src/protocol/frame.rs:1: `protocol` imports nothing of the crate"],
        ),
        ("protocol/frame.rs", "use crate::protocol::engine; use super::packet;", &[]),
        (
            "event.rs",
            "m! { use crate::server; }\nfn f() {\n    format!(\"{}\", [crate::cli::x()])\n}",
            &["src/event.rs:1: `server` is on a higher floor", "src/event.rs:3: `cli` is on a higher floor"],
        ),
        (
            "main.rs",
            "mod x;\nuse crate::x;",
            &[
                "src/main.rs:1: the program has no modules of its own",
                "src/main.rs:2: the program uses the library by its name",
            ],
        ),
    ];
    for (name, text, expected) in table {
        assert_eq!(breaches(&Source::new(&format!("src/{name}"), text)), *expected, "{name}: {text}");
    }
}

#[test]
fn comments_and_strings_are_no_code() {
    let quiet = [
        "// use crate::server;\n",
        "/* crate::server /* nested */ crate::server */",
        "/// See [`crate::server`].\n",
        r#"const S: &str = "crate::server \" crate::server";"#,
        r##"const S: &str = r#"crate::server " crate::server"#;"##,
        r#"const S: T = (b"crate::server", br"\", c"crate::server");"#,
        r"const C: T = ('\'', '\\', '\u{1f}', b'x');",
    ];
    for text in quiet {
        let text = format!("{text} fn f<'a>(c: &'a str) {{}}");
        assert_eq!(breaches(&Source::new("src/event.rs", &text)), [""; 0], "{text}");
        // Code behind them is noticed.
        let text = format!("{text} fn g() {{ '\"'; crate::server::x() }}");
        let found = breaches(&Source::new("src/event.rs", &text));
        assert!(matches!(&found[..], [one] if one.ends_with("`server` is on a higher floor")), "{text}: {found:?}");
    }
}
