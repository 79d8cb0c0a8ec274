//! Words that not every file may use: `do_send`, which goes around the front door of a mailbox; macros that print; and,
//! in a pure file, I/O, clocks and actors.

use crate::paths::branches;
use crate::source::Source;

/// Files and folders without I/O, clocks and actors.
const PURE: &[&str] = &[
    "protocol/",
    "event/",
    "cluster/address.rs",
    "cluster/attached.rs",
    "cluster/door.rs",
    "cluster/downtime.rs",
    "cluster/inflight.rs",
    "cluster/link.rs",
    "cluster/message.rs",
    "cluster/nodes.rs",
    "cluster/peers.rs",
    "cluster/peers/effects.rs",
    "cluster/peers/local.rs",
    "cluster/peers/peer.rs",
    "cluster/peers/recent.rs",
    "cluster/peers/roll.rs",
    "cluster/queue.rs",
    "cluster/status.rs",
    "cluster/tours.rs",
    "cluster/wire.rs",
    "cluster/wire/",
    "feed/bindings.rs",
    "feed/frame.rs",
    "feed/link.rs",
    "feed/method.rs",
    "feed/port.rs",
    "feed/refreshes.rs",
    "feed/wire.rs",
    "limits/bucket.rs",
    "limits/meter.rs",
    "config/cost.rs",
    "config/cost/",
    "config/near.rs",
    "config/variables.rs",
    "admin/recent/figures.rs",
    "admin/recent/history.rs",
    "admin/recent/warnings.rs",
    "directory/demo/rule.rs",
    "directory/max/answer.rs",
    "directory/max/outage.rs",
    "directory/max/pace.rs",
    "directory/max/response.rs",
    "directory/max/response/",
    "directory/max/route.rs",
    "actors/event_rates.rs",
    "actors/members.rs",
    "actors/participant.rs",
    "actors/participant/",
    "actors/roster.rs",
    "actors/seats.rs",
    "admin/idempotency.rs",
    "bench/exposed.rs",
    "bench/exposition.rs",
    "bench/ledger.rs",
    "bench/mistakes.rs",
    "bench/outcome.rs",
    "bench/outcome/",
    "bench/plan.rs",
    "bench/plan/",
    "bench/sweep/advice.rs",
    "bench/sweep/axis.rs",
    "bench/sweep/figures.rs",
    "bench/sweep/grid.rs",
    "logging/backlog.rs",
    "logging/limiter.rs",
    "metrics/text.rs",
    "remote/text.rs",
    "server/drain/schedule.rs",
    "top/columns.rs",
    "top/figures.rs",
    "top/palette.rs",
    "top/reading.rs",
    "top/state.rs",
    "top/table.rs",
    "top/view.rs",
    "top/view/",
];

/// Crates of I/O, clocks and actors, which pure files do not use.
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

/// Modules of the standard library that pure files do not use.
const IMPURE_STD: &[&str] = &["fs", "io", "net", "process", "thread"];

/// Macros that write to a standard stream and panic when it is closed.
const PRINTING_MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

pub fn breaches(source: &Source) -> Vec<String> {
    let Some(name) = source.in_crate() else { return Vec::new() };
    let is_pure = PURE.iter().any(|pure| name == *pure || (pure.ends_with('/') && name.starts_with(pure)));
    let text = |at: usize| source.tokens.get(at).map_or("", |token| token.text.as_str());
    let mut breaches = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let (word, next, before) = (text(at), text(at + 1), if at == 0 { "" } else { text(at - 1) });
        let path_start = next == "::" && before != "::";
        if word == "do_send" && name != "mailbox.rs" {
            breaches.push(source.breach(token.line, "`do_send` ignores the bound of a mailbox"));
        }
        if PRINTING_MACROS.contains(&word) && next == "!" {
            breaches.push(source.breach(token.line, &format!("`{word}!` panics when the stream is closed")));
        }
        // The tests of a pure file may look at the clock, and start a thread.
        if is_pure && !source.is_test(token.line) {
            let outside = IMPURE_CRATES.contains(&word) && (path_start || (before == "use" && next == ";"));
            let clock = matches!(word, "Instant" | "SystemTime") && next == "::" && text(at + 2) == "now";
            let system = word == "std" && path_start && {
                let mut paths = Vec::new();
                branches(&source.tokens, at + 2, Vec::new(), &mut paths);
                paths.iter().any(|path| IMPURE_STD.contains(&path[0].as_str()))
            };
            if outside || system || clock {
                breaches.push(source.breach(token.line, &format!("`{word}` in what is pure")));
            }
        }
    }
    breaches
}

#[test]
fn forbidden_words_are_noticed() {
    let table: &[(&str, &str, &[&str])] = &[
        ("mailbox.rs", "fn f() { address.do_send(m) }", &[]),
        (
            "actors/session.rs",
            "// do_send\nfn f() { address\n  .do_send(m) }",
            &["src/actors/session.rs:3: `do_send` ignores the bound of a mailbox"],
        ),
        (
            "server.rs",
            "fn f() { writeln!(f, \"println!\"); println!(\"x\") }",
            &["src/server.rs:1: `println!` panics when the stream is closed"],
        ),
        ("protocol/connection.rs", "fn f(now: std::time::Instant) { let actix = 1; }", &[]),
        (
            "protocol/connection.rs",
            "use std::{fmt, net::IpAddr};",
            &["src/protocol/connection.rs:1: `std` in what is pure"],
        ),
        ("protocol/mod.rs", "fn f() { Instant::now() }", &["src/protocol/mod.rs:1: `Instant` in what is pure"]),
        ("actors/members.rs", "use actix::Addr;", &["src/actors/members.rs:1: `actix` in what is pure"]),
        ("protocol/mod.rs", "fn f() { g!(tokio::spawn(f)) }", &["src/protocol/mod.rs:1: `tokio` in what is pure"]),
        ("protocol/mod.rs", "#[cfg(test)]\nmod tests { use tokio::time; }\nuse std::fmt;", &[]),
        ("protocol/mod.rs", "#[cfg(test)]\nuse tokio::a;\nuse log;", &["src/protocol/mod.rs:3: `log` in what is pure"]),
        ("actors/session.rs", "use actix::Addr; fn f() { std::time::Instant::now() }", &[]),
    ];
    for (name, text, expected) in table {
        assert_eq!(breaches(&Source::new(&format!("src/{name}"), text)), *expected, "{name}: {text}");
    }
}
