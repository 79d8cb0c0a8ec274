//! Checks the shape of the code: floors, no circles of files, pure modules, one way to send to a mailbox, and the form
//! of files. Each rule is also tried on made-up sources that break it.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The root modules of the crate, from the lowest floor to the highest. A file imports only from lower floors and from
/// its own module.
const FLOORS: &[&[&str]] = &[
    &["files", "ids", "limits", "logging", "protocol", "turns"],
    &["event"],
    &["config", "metrics"],
    &["delivery", "directory", "mailbox"],
    &["actors"],
    &["http"],
    &["server", "bench"],
    &["cli"],
];

/// Modules that import nothing else of the crate.
const ISLANDS: &[&str] = &["files", "limits", "logging", "protocol", "turns"];

/// Files and folders without I/O, clock and actors.
const PURE: &[&str] = &[
    "protocol/",
    "protocol.rs",
    "event/",
    "limits/bucket.rs",
    "limits/meter.rs",
    "directory/max/answer.rs",
    "directory/max/pace.rs",
    "directory/max/response.rs",
    "directory/max/response/",
    "directory/max/route.rs",
    "actors/event_rates.rs",
    "actors/members.rs",
    "actors/participant.rs",
    "actors/participant/",
    "actors/seats.rs",
];

/// Crates that pure files do not import.
const IMPURE_CRATES: &[&str] = &[
    "actix",
    "actix_http",
    "actix_rt",
    "actix_service",
    "actix_web",
    "actix_web_actors",
    "awc",
    "futures_util",
    "log",
    "socket2",
    "tokio",
];

/// Modules of `std` that pure files do not import.
const IMPURE_STD: &[&str] = &["fs", "io", "net", "process", "thread"];

/// Macros that write to a standard stream and panic when it is closed.
const PRINTING_MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

const LINE_COLUMNS_MAX: usize = 120;
const FILE_LINES_MAX: usize = 700;

#[test]
fn the_code_keeps_its_shape() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut breaches, mut sources) = (Vec::new(), BTreeMap::new());
    for folder in ["src", "tests", "benches"] {
        for path in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            breaches.extend(form_breaches(&name, &text));
            if let Ok(path) = path.strip_prefix(root.join("src")) {
                let name = path.display().to_string();
                breaches.extend(shape_breaches(&name, &text));
                sources.insert(name, text);
            }
        }
    }
    breaches.extend(circles(&sources));
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// Returns the breaches of floors and crate rules in a file of `src`. `name` is relative to `src`.
fn shape_breaches(name: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut breaches = Vec::new();
    let mut breach = |line: usize, what: String| breaches.push(format!("src/{name}:{line}: {what}"));

    if name != "lib.rs" && name != "main.rs" {
        let home = module_path(name);
        let top = home[0].as_str();
        let floor = floor_of(top);
        if floor.is_none() {
            breach(1, format!("`{top}` has no floor"));
        }
        for (line, target) in imports(&home, &tokens) {
            match (floor_of(&target), floor) {
                _ if target == top => {}
                _ if ISLANDS.contains(&top) => breach(line, format!("`{top}` imports nothing of the crate")),
                (Some(theirs), Some(ours)) if theirs < ours => {}
                (Some(theirs), Some(ours)) if theirs == ours => breach(line, format!("`{target}` is a sibling")),
                (Some(_), _) => breach(line, format!("`{target}` is on a higher floor")),
                (None, _) => breach(line, format!("`{target}` is no module of the table")),
            }
        }
    }

    let tests_at = tests_at(&tokens);
    for (at, token) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(at + n).map_or("", |token| token.text.as_str());
        let before = if at == 0 { "" } else { tokens[at - 1].text.as_str() };
        let path_start = next(1) == "::" && before != "::";
        let word = token.text.as_str();
        if name == "main.rs" && matches!((word, before), ("crate" | "super", _)) && path_start {
            breach(token.line, "the program uses the library by its name".to_owned());
        }
        if name == "main.rs" && word == "mod" {
            breach(token.line, "the program has no modules of its own".to_owned());
        }
        if word == "do_send" && name != "mailbox.rs" {
            breach(token.line, "`do_send` ignores the bound of a mailbox".to_owned());
        }
        if PRINTING_MACROS.contains(&word) && next(1) == "!" {
            breach(token.line, format!("`{word}!` panics when the stream is closed"));
        }
        // Tests of pure modules may use the clock and threads.
        let is_test = at >= tests_at || name.ends_with("/tests.rs");
        if !is_test && PURE.iter().any(|pure| name == *pure || (pure.ends_with('/') && name.starts_with(pure))) {
            let outside = IMPURE_CRATES.contains(&word) && (path_start || (before == "use" && next(1) == ";"));
            let system = word == "std" && path_start && names_at(&tokens, at + 2).any(|n| IMPURE_STD.contains(&n));
            let clock = matches!(word, "Instant" | "SystemTime") && next(1) == "::" && next(2) == "now";
            if outside || system || clock {
                breach(token.line, format!("`{word}` in what is pure"));
            }
        }
    }
    breaches
}

/// Returns the circles of files that import one another, each once. A module and its submodules may import each other,
/// and tests may import anything.
fn circles(sources: &BTreeMap<String, String>) -> Vec<String> {
    let is_code = |name: &str| !matches!(name, "lib.rs" | "main.rs") && !name.ends_with("tests.rs");
    let code = sources.iter().filter(|(name, _)| is_code(name)).map(|(name, text)| (module_path(name), text));
    let code: BTreeMap<_, _> = code.collect();
    let edges: BTreeMap<_, BTreeSet<_>> = code
        .iter()
        .map(|(home, text)| {
            let paths = paths(home, &tokens(text));
            let files = paths.iter().filter_map(|path| {
                let lengths = (1..=path.len()).rev();
                lengths.map(|length| &path[..length]).find(|file| code.contains_key(*file)).map(<[String]>::to_vec)
            });
            (home, files.filter(|file| !file.starts_with(home) && !home.starts_with(file)).collect())
        })
        .collect();
    let mut circles = BTreeMap::new();
    for start in code.keys() {
        // Searches for the shortest way from a file back to itself.
        let mut ways: Vec<Vec<&Vec<String>>> = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
            let next = edges.get(way[way.len() - 1]).into_iter().flatten();
            for file in next {
                if file == start {
                    let members: BTreeSet<_> = way.iter().map(|file| file.join("/")).collect();
                    let told = way.iter().map(|file| file.join("/")).collect::<Vec<_>>().join(" -> ");
                    circles.entry(members).or_insert(format!("a circle of files: {told} -> {}", start.join("/")));
                } else if seen.insert(file) {
                    ways.push(way.iter().copied().chain([file]).collect());
                }
            }
        }
    }
    circles.into_values().collect()
}

/// Returns the paths from the crate's root in a file, without its tests.
fn paths(home: &[String], tokens: &[Token]) -> Vec<Vec<String>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut paths = Vec::new();
    for at in 0..tests_at(tokens) {
        if (at > 0 && text(at - 1) == "::") || text(at + 1) != "::" {
            continue;
        }
        match text(at) {
            "crate" => _ = branches(tokens, at + 2, Vec::new(), &mut paths),
            "self" | "super" => {
                let mut from = at + 2 * usize::from(text(at) == "self");
                let mut base = home.to_vec();
                while text(from) == "super" && text(from + 1) == "::" {
                    base.pop();
                    from += 2;
                }
                branches(tokens, from, base, &mut paths);
            }
            _ => {}
        }
    }
    paths
}

/// Collects the paths that continue `path` at `at`, one or a group. Returns where they end.
fn branches(tokens: &[Token], mut at: usize, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    while at < tokens.len() {
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                at = branches(tokens, at, path.clone(), paths);
                at += usize::from(text(at) == ",");
            }
            return at + 1;
        }
        path.push(text(at).to_owned());
        if text(at + 1) != "::" {
            paths.push(path);
            return at + if text(at + 1) == "as" { 3 } else { 1 };
        }
        at += 2;
    }
    at
}

/// Returns where the tests of a file begin; the end of a file without tests.
fn tests_at(tokens: &[Token]) -> usize {
    let texts = |at: usize| tokens[at..].iter().take(4).map(|token| token.text.as_str());
    (0..tokens.len()).find(|&at| texts(at).eq(["cfg", "(", "test", ")"])).unwrap_or(tokens.len())
}

/// Returns the breaches of the rules on the form of a file. `name` is relative to the root of the project.
fn form_breaches(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    if !text.starts_with("//! ") {
        breaches.push(format!("{name}:1: no paragraph says what lives here"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches.push(format!("{name}: {lines} lines, wants to be two"));
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.chars().count() > LINE_COLUMNS_MAX) {
        breaches.push(format!("{name}:{}: {} columns", index + 1, line.chars().count()));
    }
    breaches
}

fn rust_files(folder: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.file_name().unwrap() != "node_modules");
    let inner = |path: PathBuf| if path.is_dir() { rust_files(&path) } else { BTreeSet::from([path]) };
    paths.flat_map(inner).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Returns the module of a file: `[actors, session]` for `actors/session.rs`, `[max]` for `max/mod.rs`.
fn module_path(name: &str) -> Vec<String> {
    let mut path = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    if path.len() > 1 && path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    path
}

/// Returns the root modules that a file imports by `crate::` or `super::`, with the lines.
fn imports(home: &[String], tokens: &[Token]) -> Vec<(usize, String)> {
    let mut imports = Vec::new();
    // The open braces, each with its module if it opened one.
    let mut open: Vec<Option<&str>> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let begins_path = at == 0 || text(at - 1) != "::";
        match token.text.as_str() {
            "{" if at >= 2 && text(at - 2) == "mod" => open.push(Some(text(at - 1))),
            "{" => open.push(None),
            "}" => drop(open.pop()),
            "crate" if begins_path && text(at + 1) == "::" => {
                imports.extend(names_at(tokens, at + 2).map(|name| (token.line, name.to_owned())));
            }
            "self" | "super" if begins_path && text(at + 1) == "::" => {
                let depth = home.len() + open.iter().flatten().count();
                let supers = (at..).step_by(2).skip_while(|at| text(*at) == "self");
                let supers = supers.take_while(|at| text(*at) == "super" && text(at + 1) == "::").count();
                let after = at + 2 * (supers + usize::from(token.text == "self"));
                if supers >= depth {
                    imports.extend(names_at(tokens, after).map(|name| (token.line, name.to_owned())));
                }
            }
            _ => {}
        }
    }
    imports
}

/// Returns the first names of the path or group at `start`: `a` and `c` for `{a::b, c::{d, e}}`.
fn names_at(tokens: &[Token], start: usize) -> impl Iterator<Item = &str> {
    let grouped = tokens.get(start).is_some_and(|token| token.text == "{");
    let mut depth = 0;
    let mut names = Vec::new();
    for at in start..tokens.len() {
        let text = tokens[at].text.as_str();
        match text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if !grouped => names.push(text),
            _ if depth == 1 && matches!(tokens[at - 1].text.as_str(), "{" | ",") => names.push(text),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.into_iter()
}

/// A word, `::`, or another single character of code.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// Returns the code of a file without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if first == '\'' {
            character_or_lifetime(rest)
        } else {
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push(Token { text: rest[..length].to_owned(), line });
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of a block comment, which may contain others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        (depth, at) = (depth + step.0, at + step.1);
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Returns the length of the string literal at the start of `text`, raw and byte strings included.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix).unwrap_or("-");
        rest.starts_with('"') || (prefix.ends_with('r') && rest.trim_start_matches('#').starts_with('"'))
    })?;
    let body = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let inner = prefix.len() + hashes + 1;
        return Some(text[inner..].find(&end).map_or(text.len(), |at| inner + at + end.len()));
    }
    let mut escaped = false;
    let end = body.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(text.len(), |(at, _)| prefix.len() + at + 1))
}

fn character_or_lifetime(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let from = escaped + c.len_utf8();
            text[from..].find('\'').map_or(text.len(), |at| from + at + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1 + text[1..].find(|c| !is_word(c)).unwrap_or(text.len() - 1),
    }
}

#[test]
fn breaches_of_the_floors_are_noticed() {
    let table: &[(&str, &str, &[&str])] = &[
        ("http/mod.rs", "use crate::{actors::registry::{Registry, Join}, event::Code, directory};", &[]),
        ("actors/session.rs", "use super::conversation::Handle;\nuse crate::actors::registry;", &[]),
        ("delivery.rs", "mod tests { use super::*; use super::super::config::Delivery; }", &[]),
        ("config.rs", "macro_rules! m { () => { $crate::config::x() } }", &[]),
        ("main.rs", "use maxtalk::cli;\nfn main() { maxtalk::server::run() }", &[]),
        ("lib.rs", "pub mod anything;", &[]),
        ("event.rs", "use crate::delivery::outbox::Outbox;", &["src/event.rs:1: `delivery` is on a higher floor"]),
        (
            "directory/max/client.rs",
            "\nlet x = crate::actors::y();",
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
        ("cluster.rs", "", &["src/cluster.rs:1: `cluster` has no floor"]),
        (
            "protocol/frame.rs",
            "use crate::event::Code;",
            &["src/protocol/frame.rs:1: `protocol` imports nothing of the crate"],
        ),
        ("protocol/frame.rs", "use crate::protocol::engine; use super::packet;", &[]),
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
        assert_eq!(shape_breaches(name, text), *expected, "{name}: {text}");
    }
}

/// Names and contents of files.
type Files<'a> = &'a [(&'a str, &'a str)];

#[test]
fn circles_of_files_are_noticed() {
    let table: &[(Files<'_>, &[&str])] = &[
        (&[("a/x.rs", "use super::y::Y;"), ("a/y.rs", "use crate::b::B;"), ("b.rs", "")], &[]),
        (
            &[("a/x.rs", "use super::{y::Y, z as w};"), ("a/y.rs", "fn f() { crate::a::x::X::new() }")],
            &["a circle of files: a/x -> a/y -> a/x"],
        ),
        (
            &[("a.rs", "use crate::{b::{B, C}, d};"), ("b.rs", "use crate::c;"), ("c.rs", "use super::a::A;")],
            &["a circle of files: a -> b -> c -> a"],
        ),
        // Allowed: a module and its parts, the tests of a file, and a file of tests.
        (&[("a/mod.rs", "mod x; use self::x::X;"), ("a/x.rs", "use super::Y;")], &[]),
        (&[("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a; }")], &[]),
        (&[("a.rs", "use crate::b::tests;"), ("b/tests.rs", "use crate::a;"), ("b.rs", "")], &[]),
    ];
    for (files, expected) in table {
        let sources = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(circles(&sources), *expected, "{files:?}");
    }
}

#[test]
fn comments_and_strings_are_no_code() {
    let quiet = [
        "// use crate::server;",
        "/* crate::server /* nested */ crate::server */",
        "/// See [`crate::server`].",
        r#"let s = "crate::server \" crate::server";"#,
        r##"let s = r#"crate::server " crate::server"#;"##,
        r#"let s = (b"crate::server", br"\", c"crate::server");"#,
        r"let c = ('\'', '\\', '\u{1f}', b'x');",
    ];
    for text in quiet {
        assert_eq!(shape_breaches("event.rs", text), [""; 0], "{text}");
    }
    // Code behind such text is still checked.
    for text in [&quiet[1..2], &quiet[3..]].concat() {
        let text = format!("{text} fn f<'a>(c: &'a str) {{ '\"'; crate::server::x() }}");
        assert_eq!(shape_breaches("event.rs", &text), ["src/event.rs:1: `server` is on a higher floor"], "{text}");
    }
}

#[test]
fn breaches_of_the_other_rules_are_noticed() {
    let table: &[(&str, &str, &[&str])] = &[
        ("mailbox.rs", "address.do_send(m)", &[]),
        (
            "actors/session.rs",
            "// do_send\naddress\n  .do_send(m)",
            &["src/actors/session.rs:3: `do_send` ignores the bound of a mailbox"],
        ),
        (
            "server.rs",
            "writeln!(f, \"println!\"); println!(\"x\")",
            &["src/server.rs:1: `println!` panics when the stream is closed"],
        ),
        ("protocol/connection.rs", "fn f(now: std::time::Instant) { let actix = 1; }", &[]),
        (
            "protocol/connection.rs",
            "use std::{fmt, net::IpAddr};",
            &["src/protocol/connection.rs:1: `std` in what is pure"],
        ),
        ("protocol/mod.rs", "let x = Instant::now();", &["src/protocol/mod.rs:1: `Instant` in what is pure"]),
        ("actors/members.rs", "use actix::Addr;", &["src/actors/members.rs:1: `actix` in what is pure"]),
        ("protocol/mod.rs", "tokio::spawn(f)", &["src/protocol/mod.rs:1: `tokio` in what is pure"]),
        ("actors/session.rs", "use actix::Addr; let x = std::time::Instant::now();", &[]),
    ];
    for (name, text, expected) in table {
        assert_eq!(shape_breaches(name, text), *expected, "{name}: {text}");
    }
}

#[test]
fn breaches_of_the_form_are_noticed() {
    let wide = format!("//! x\n//{}\n//{}\n", "é".repeat(118), "x".repeat(119));
    assert_eq!(form_breaches("a.rs", &wide), ["a.rs:3: 121 columns"]);
    assert_eq!(form_breaches("a.rs", "use x;\n//! x"), ["a.rs:1: no paragraph says what lives here"]);
    assert_eq!(form_breaches("a.rs", &("//! x\n".to_owned() + &"\n".repeat(699))), [""; 0]);
    assert_eq!(
        form_breaches("a.rs", &("//! x\n".to_owned() + &"\n".repeat(700))),
        ["a.rs: 701 lines, wants to be two"]
    );
}
