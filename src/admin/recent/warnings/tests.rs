//! Tables of situations, and the warnings that follow.

use super::*;
use crate::admin::model::cluster::{BusServer, FeedServer, PeerNode};
use crate::admin::model::overview::Rates;
use crate::admin::model::{Limits, Machine, Stage};
use std::collections::BTreeMap;

/// The status of a server without clients.
pub fn status() -> Status {
    Status {
        version: "1.0.0".to_owned(),
        commit: None,
        date: None,
        build: "release".to_owned(),
        pid: 1,
        began: "1970-01-01T00:00:00Z".to_owned(),
        uptime_ms: 0,
        stage: Stage::Serving,
        workers: 2,
        connections: 0,
        sessions: 0,
        conversations: 0,
        resident_bytes: Some(50 << 20),
        machine: Machine { cores: 2, memory_bytes: 1 << 34 },
        limits: Limits { files: 1024, connections: 1000, memory_bytes: Some(1 << 30) },
    }
}

fn worker(name: &str) -> Worker {
    Worker { worker: name.to_owned(), busy: 0.1, lag_p99_ms: Some(1.0) }
}

fn mailbox(class: ActorClass) -> Mailbox {
    Mailbox {
        actor: class.as_str().to_owned(),
        capacity: 100,
        setting: super::super::figures::setting_of(class).to_owned(),
        source: "default".to_owned(),
        messages: 0,
        peak: 0,
        depth_p50: None,
        depth_p99: None,
        offered_per_second: 0.0,
        refused_full_per_second: 0.0,
        refused_closed_per_second: 0.0,
        given_up_late_per_second: 0.0,
        wait_p50_ms: None,
        wait_p99_ms: Some(12.0),
        handle_p50_ms: None,
        handle_p99_ms: None,
        kinds: Vec::new(),
        actors: None,
    }
}

/// The figures of a server in which nothing happens.
fn figures() -> Figures {
    Figures {
        rates: Rates::default(),
        workers: [worker("0"), worker("1"), worker("registry")].into(),
        mailboxes: ActorClass::ALL.map(mailbox).into(),
        depths: vec![0; ActorClass::ALL.len()],
        panics: vec![0; ActorClass::ALL.len()],
        max: Max {
            inflight: 0,
            limit: 64,
            inflight_max: 64,
            waiting: 0,
            waiting_max: 1000,
            calls_per_second: 0.0,
            p50_ms: None,
            p99_ms: None,
            errors: BTreeMap::new(),
        },
        max_failures_per_second: 0.0,
    }
}

/// A change of the situation in which nothing happens.
type Change = fn(&mut Figures, &mut Status);

/// Takes one second, and returns the warnings.
fn second(warnings: &mut Warnings, at: u64, change: Change) -> Vec<Warning> {
    let (mut figures, mut status) = (figures(), status());
    change(&mut figures, &mut status);
    warnings
        .update(&Situation { figures: &figures, status: &status, drain: None, cluster: &Cluster::default() }, at * 1000)
}

fn ids(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(|warning| warning.id.as_str()).collect()
}

const CONVERSATION: usize = ActorClass::Conversation as usize;

#[test]
fn each_state_has_its_words() {
    let idle: Change = |_, _| {};
    // The change, the seconds that it has to last, the id, the level, and parts of the text and the advice.
    let table: [(Change, u64, &str, Level, &str, &str); 16] = [
        (
            |figures, _| figures.depths[CONVERSATION] = 81,
            30,
            "mailbox_near_limit:conversation",
            Level::Warning,
            "The mailbox of a conversation has been above 80 % of its limit of 100 for 30 s; the busiest worker, 1, is \
             busy 10 %.",
            "If the wait (12 ms at p99) is short enough, raise mailbox.conversation.",
        ),
        (
            |figures, _| (figures.depths[CONVERSATION], figures.workers[0].busy) = (81, 0.98),
            30,
            "mailbox_near_limit:conversation",
            Level::Warning,
            "for 30 s; the busiest worker, 0, is busy 98 %.",
            "The thread is the bottleneck, so a higher mailbox.conversation only makes messages wait longer.",
        ),
        (
            |figures, _| figures.depths[ActorClass::Max as usize] = 100,
            30,
            "mailbox_near_limit:max",
            Level::Warning,
            "The queue in front of MAX has been above 80 % of its limit of 100 for 30 s.",
            "raise max.inflight_max; a higher max.waiting_max only lets joins wait longer",
        ),
        (
            |figures, _| figures.mailboxes[ActorClass::Registry as usize].refused_full_per_second = 3.5,
            0,
            "mailbox_full:registry",
            Level::Critical,
            "A full mailbox of the registry refuses messages: 3.50 a second, at the limit of 100; its thread is busy \
             10 %.",
            "raise mailbox.registry",
        ),
        (
            |figures, _| figures.workers[1].busy = 0.91,
            10,
            "workers_busy",
            Level::Warning,
            "For 10 s, threads have been busy for more than 90 % of their time: worker 1 (91 %).",
            "one conversation is probably hot",
        ),
        (
            |figures, _| {
                let busy = |worker| Worker { busy: 0.95, ..worker };
                figures.workers = ["0", "1", "2", "3", "4", "5"].map(worker).map(busy).into();
            },
            10,
            "workers_busy",
            Level::Warning,
            "worker 0 (95 %), worker 1 (95 %), worker 2 (95 %), worker 3 (95 %) and 2 more.",
            "Add workers",
        ),
        (
            |figures, _| {
                (figures.workers[0].lag_p99_ms, figures.workers[2].lag_p99_ms) = (Some(180.0), Some(101.0));
            },
            3,
            "workers_late",
            Level::Warning,
            "For 3 s, threads have woken late: worker 0 (180 ms at p99), the registry (101 ms at p99).",
            "handling times",
        ),
        (
            |figures, _| figures.rates.closed_as_slow = 2.0,
            0,
            "readers_closed",
            Level::Critical,
            "Sessions are closed because their clients read too slowly: 2 a second.",
            "outbox.grace_ms",
        ),
        (
            |figures, _| figures.rates.folded = 0.5,
            0,
            "readers_folded",
            Level::Warning,
            "News is folded for clients that read too slowly: 0.50 a second.",
            "slow sessions",
        ),
        (
            |figures, _| figures.rates.dropped = 120.0,
            0,
            "readers_dropped",
            Level::Warning,
            "News is left out for clients that read too slowly: 120 a second.",
            "outbox.policy = \"fold\"",
        ),
        (
            |figures, _| {
                (figures.max.calls_per_second, figures.max_failures_per_second) = (12.0, 6.0);
                figures.max.errors = [("4xx".to_owned(), 90.0), ("max_timeout".to_owned(), 6.0)].into();
            },
            0,
            "max_failing",
            Level::Critical,
            "Calls to MAX fail: 6 of 12 a second, most of them by max_timeout.",
            "Look at MAX",
        ),
        (
            |figures, _| (figures.max.inflight, figures.max.limit, figures.max.waiting) = (8, 8, 3),
            5,
            "max_at_limit",
            Level::Warning,
            "All 8 calls to MAX that may be under way have been so for 5 s, and 3 joins wait. The limit is below \
             max.inflight_max = 64 because MAX is slow.",
            "raise max.inflight_max",
        ),
        (
            |_, status| status.resident_bytes = Some(871 << 20),
            0,
            "memory_near_limit",
            Level::Critical,
            "The process uses 871 of 1024 MiB of memory, 85 %. From 85 % on, no new sessions are opened.",
            "limits.memory_bytes_max",
        ),
        (
            |_, status| status.connections = 800,
            0,
            "connections_near_limit",
            Level::Warning,
            "800 of 1000 connections of clients are open.",
            "the limit on open files, which is 1024",
        ),
        (
            |_, status| status.connections = 1000,
            0,
            "connections_near_limit",
            Level::Critical,
            "1000 of 1000",
            "limits.connections_max",
        ),
        (
            |figures, _| figures.panics[CONVERSATION] = 2,
            0,
            "actor_panicked:conversation",
            Level::Critical,
            "Actors of the class conversation have panicked: 2.",
            "report it",
        ),
    ];
    for (change, lasts, id, level, text, advice) in table {
        let mut warnings = Warnings::default();
        assert_eq!(second(&mut warnings, 0, idle), []);
        for at in 0..lasts {
            assert!(!ids(&second(&mut warnings, 10 + at, change)).contains(&id), "{id} after {at} s");
        }
        let shown = second(&mut warnings, 10 + lasts, change);
        let found = shown.iter().find(|warning| warning.id == id).unwrap_or_else(|| panic!("no {id} in {shown:?}"));
        assert_eq!(found.level, level, "{id}");
        assert!(found.text.contains(text), "{found:?}");
        assert!(found.advice.contains(advice), "{found:?}");
    }
}

#[test]
fn what_is_just_below_a_bound_is_no_warning() {
    let quiet: [Change; 10] = [
        |figures, _| figures.depths[CONVERSATION] = 80,
        |figures, _| figures.workers[1].busy = 0.9,
        |figures, _| figures.workers[1].lag_p99_ms = Some(100.0),
        |figures, _| figures.workers[1].lag_p99_ms = None,
        |figures, _| (figures.max.inflight, figures.max.waiting) = (63, 3),
        |figures, _| (figures.max.inflight, figures.max.waiting) = (64, 0),
        |figures, _| figures.max.errors = [("4xx".to_owned(), 90.0)].into(),
        |_, status| status.resident_bytes = Some(870 << 20),
        |_, status| (status.resident_bytes, status.limits.memory_bytes) = (Some(1 << 40), None),
        |_, status| status.connections = 799,
    ];
    for (number, change) in quiet.into_iter().enumerate() {
        let mut warnings = Warnings::default();
        for at in 0..60 {
            assert_eq!(second(&mut warnings, at, change), [], "{number}");
        }
    }
}

#[test]
fn a_warning_stays_for_a_while_and_says_when_its_state_was_seen() {
    let refuses: Change = |figures, _| figures.mailboxes[CONVERSATION].refused_full_per_second = 7.0;
    let mut warnings = Warnings::default();
    let first = second(&mut warnings, 100, refuses);
    assert_eq!(ids(&first), ["mailbox_full:conversation"]);
    let quiet = |warnings: &mut Warnings, at| second(warnings, at, |_, _| {});
    assert_eq!(quiet(&mut warnings, 102), first, "one sample without it changes nothing");
    let later = quiet(&mut warnings, 112);
    assert_eq!(later[0].text, format!("{} Last seen 12 s ago.", first[0].text));
    assert_eq!(second(&mut warnings, 129, refuses), first, "it is there again");
    assert_eq!(ids(&quiet(&mut warnings, 159)), ids(&first));
    assert_eq!(quiet(&mut warnings, 160), []);
    // Later states are new ones.
    assert_eq!(second(&mut warnings, 500, refuses), first);
}

#[test]
fn a_state_that_comes_and_goes_is_no_warning_before_it_has_lasted() {
    let (busy, idle): (Change, Change) = (|figures, _| figures.workers[0].busy = 0.95, |_, _| {});
    let mut warnings = Warnings::default();
    for at in 0..120 {
        // Busy for six seconds of ten.
        let change = if at % 10 < 6 { busy } else { idle };
        assert_eq!(second(&mut warnings, at, change), [], "{at}");
    }
}

#[test]
fn a_warning_that_is_held_says_how_long_its_state_had_lasted() {
    let (busy, idle): (Change, Change) = (|figures, _| figures.workers[0].busy = 0.95, |_, _| {});
    let mut warnings = Warnings::default();
    let last = (0..=12).map(|at| second(&mut warnings, at, busy)).last().unwrap();
    assert!(last[0].text.contains("For 12 s, "), "{last:?}");
    // It is there again, but has not lasted.
    for (at, change) in [(20, busy), (21, busy), (30, idle)] {
        let held = second(&mut warnings, at, change);
        assert_eq!(held[0].text, format!("{} Last seen {} s ago.", last[0].text, at - 12));
    }
}

#[test]
fn the_critical_ones_come_first_and_a_drain_is_told_while_it_lasts() {
    let (figures, mut status) = (figures(), status());
    status.connections = 1000;
    let drain = Drain { sessions: 1000, left: 320, due_in_ms: 4000 };
    let mut warnings = Warnings::default();
    let situation = Situation { figures: &figures, status: &status, drain: Some(drain), cluster: &Cluster::default() };
    let shown = warnings.update(&situation, 1000);
    assert_eq!(ids(&shown), ["connections_near_limit", "draining"]);
    assert_eq!(shown[1].text, "The server drains: 320 of 1000 sessions are left, due in 4 s.");
}

/// Has a cluster last for so many seconds, and returns the warnings.
fn after(cluster: &Cluster, seconds: u64) -> Vec<Warning> {
    let (figures, status, mut warnings) = (figures(), status(), Warnings::default());
    let situation = Situation { figures: &figures, status: &status, drain: None, cluster };
    for at in 0..seconds {
        warnings.update(&situation, at * 1000);
    }
    warnings.update(&situation, seconds * 1000)
}

#[test]
fn a_cluster_without_redis_or_with_nodes_that_are_mixed_up_is_told() {
    let server = |url: &str, reason: Option<&str>| BusServer {
        url: url.to_owned(),
        up: reason.is_none(),
        down_ms: reason.map(|_| 7000),
        reason: reason.map(str::to_owned),
        wanted: 1,
        subscribed: 1,
        waiting: 3,
        lag_ms: None,
    };
    let peer = |name: &str, version: &str, silent: bool| PeerNode {
        node: "n".to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        tag: "t".to_owned(),
        sessions: 0,
        conversations: 0,
        heard_ms: 0,
        silent,
    };
    let of = |servers: &[BusServer], peers: &[PeerNode]| Cluster {
        node: Some("0".to_owned()),
        name: Some("anna".to_owned()),
        up: true,
        servers: servers.to_vec(),
        peers: peers.to_vec(),
        feed: None,
    };
    let healthy = of(
        &[server("redis://a", None)],
        &[peer("bert", "1.0.0", false), peer("anna", "0.9.0", true), peer("", "", false), peer("", "", false)],
    );
    assert!(after(&healthy, 700).is_empty());
    let down = of(&[server("redis://a", None), server("redis://b", Some("no server listens there"))], &[]);
    assert!(after(&down, 1).is_empty());
    let told = after(&down, 5);
    assert_eq!((ids(&told), told[0].level), (vec!["bus_down:1"], Level::Critical));
    assert_eq!(
        told[0].text,
        "The bus at redis://b has been down for 5 s: no server listens there. News of other nodes does not arrive, and \
         3 messages to them wait."
    );
    let feed = |reason: Option<&str>| FeedServer {
        url: "amqp://r".to_owned(),
        up: reason.is_none(),
        down_ms: reason.map(|_| 1),
        reason: reason.map(str::to_owned),
    };
    let of_feed = |reason| Cluster { feed: Some(feed(reason)), ..Cluster::default() };
    assert!(after(&of_feed(None), 700).is_empty() && after(&of_feed(Some("x")), 1).is_empty());
    let told = after(&of_feed(Some("no server listens there")), 5);
    assert_eq!((ids(&told), told[0].level), (vec!["feed_down"], Level::Critical));
    assert_eq!(
        told[0].text,
        "The feed at amqp://r has been down for 5 s: no server listens there. What MAX announces there is not heard."
    );
    let twins = of(&[], &[peer("anna", "1.0.0", false), peer("bert", "1.0.0", false)]);
    assert!(after(&twins, 59).is_empty());
    assert_eq!(after(&twins, 60)[0].text, "Several nodes have one name: anna (2 nodes).");
    let mixed = of(&[], &[peer("bert", "1.1.0", false), peer("carl", "0.9.0", false), peer("dora", "1.1.0", false)]);
    assert!(after(&mixed, 599).is_empty());
    assert_eq!(
        after(&mixed, 600)[0].text,
        "For 10 min, nodes have run different versions of maxtalk: 1.0.0 here, 0.9.0, 1.1.0 elsewhere."
    );
}
