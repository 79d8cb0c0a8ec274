//! Made-up reports for tests: a good run, one after a search, one full of faults, and an empty one.

use std::time::Duration;

use super::{
    Accounts, Circumstances, Cluster, Curve, Exposed, Generator, Interruption, Knee, KneeStep, Latency, MachineShares,
    MailboxFigures, Memory, Miss, Node, Report, Second, Server, Spread, Trial, Used,
};
use crate::bench::plan::{Pace, Plan, Sizes, Way};
use crate::protocol::{Generation, TransportKind};

/// The sizes of conversations, each with the fewest and the most members of its class.
const SIZES: [(u64, u64, u64); 7] =
    [(1, 1, 1), (2, 2, 2), (3, 3, 4), (10, 9, 16), (20, 17, 32), (100, 65, 128), (1_000, 513, 1_024)];

/// 10,000 connections in conversations of Zipf's sizes, 2,000 talks a second for 30 s, without faults.
pub(in crate::bench) fn good() -> Report {
    let second = |at: u64| {
        let stall = if at == 17 { 9 } else { 1 };
        let [p50, p99, max] = [210 + at * 7 % 23, (900 + at * 97 % 211) * stall, (2_900 + at * 1_871 % 1_409) * stall];
        // Deliveries held back by a stall come in the next second.
        let deliveries = [20_000, 12_000, 28_000][(at == 17) as usize + 2 * (at == 18) as usize];
        Second { talks: 2_000, deliveries, p50, p99, max }
    };
    let spread = |(members, members_min, members_max): (u64, u64, u64)| {
        let first_to_last = latency(60_000 / members, 8 * members, 1.2, 17 * members + 150);
        let delivery = latency(100_000, 200 + 8 * members, 1.5, 40_000);
        Spread { members_min, members_max, first_to_last, delivery }
    };
    Report {
        circumstances: circumstances(),
        plan: Plan {
            connections: 10_000,
            members: 10,
            conversations_per_user: 1,
            sizes: Sizes::Zipf(1.1),
            pace: Pace::Open { rate: 2_000.0 },
            ramp: 1_000.0,
            duration: Duration::from_secs(30),
            warm_up: Duration::from_secs(5),
            payload_bytes: 150,
            mix: vec![
                (Way { generation: Generation::Eio4, transport: TransportKind::WebSocket }, 9),
                (Way { generation: Generation::Sio09, transport: TransportKind::Polling }, 1),
            ],
            churn: 5.0,
            slow_share: 0.01,
            user_prefix: "u".to_owned(),
            seed: 42,
            lag_max: Duration::from_millis(1),
        },
        conversations: 1_000,
        members_max: 1_240,
        measured: Duration::from_secs(30),
        interrupted: None,
        joins: latency(10_000, 800, 1.9, 30_000),
        corrected: latency(600_000, 220, 2.2, 41_000),
        curve: Curve::default(),
        raw: latency(600_000, 215, 1.6, 9_000),
        last: latency(60_000, 310, 2.0, 41_000),
        seconds: (0..30).map(second).collect(),
        spreads: SIZES.map(spread).into(),
        drained: None,
        accounts: Accounts { sent: 60_000, expected: 600_000, received: 600_000, ..Accounts::default() },
        received_bytes: Some(90_000_000),
        leaves: 150,
        connections_lost: 0,
        churn_failures: 0,
        talks_not_taken: 0,
        refused_talks: 1_246,
        limited_talks: 0,
        refused_joins: 0,
        errors: vec![("rate_limited".to_owned(), 12), ("not_joined".to_owned(), 1_234)],
        unnamed: Vec::new(),
        generator: generator(),
        server: Some(server()),
        cluster: None,
        exposed: Some(exposed()),
        knee: None,
    }
}

/// A good run after a search.
pub(in crate::bench) fn searched() -> Report {
    Report { knee: Some(knee()), ..good() }
}

/// A good run over two nodes of its own, with a Redis between them.
pub(in crate::bench) fn clustered() -> Report {
    let used = |cpu_ms: u64, memory: u64| Used {
        cpu: Duration::from_millis(cpu_ms),
        cpu_per_delivery: cpu_ms as f64 / 600.0,
        cpu_per_remote: cpu_ms as f64 / 300.0,
        memory: Some(Memory { before: memory << 19, joined: memory << 20, peak: memory << 21 }),
    };
    let node = |port: u16, cpu_ms: u64| Node {
        url: format!("http://127.0.0.1:{port}"),
        connections: 5_000,
        used: Some(used(cpu_ms, 20)),
    };
    let cluster = Cluster {
        local: latency(300_000, 200, 2.2, 40_000),
        remote: latency(300_000, 520, 2.2, 41_000),
        nodes: vec![node(8080, 2_400), node(8081, 2_460)],
        redis: Some(used(480, 3)),
    };
    let mut report = Report { cluster: Some(cluster), ..good() };
    report.circumstances.url = "http://127.0.0.1:8080/, http://127.0.0.1:8081/".to_owned();
    report
}

/// Where and when they were made.
fn circumstances() -> Circumstances {
    Circumstances {
        machine: "example, 2 cores, Linux 6.1".to_owned(),
        build: "maxtalk 0.1.0, release".to_owned(),
        began: "2026-01-02T03:04:05Z".to_owned(),
        url: "http://127.0.0.1:8080".to_owned(),
        server: "spawned, this build".to_owned(),
        spawned: true,
        users_of_a_file: false,
        protocol: None,
    }
}

/// A generator that kept its plan.
fn generator() -> Generator {
    let machine = MachineShares { idle: 0.41, stolen: 0.0 };
    Generator { lag_p99: 120, lag_max: 3_400, busy_share: 0.342, machine: Some(machine) }
}

/// A server that used few resources.
fn server() -> Server {
    Server {
        cpu: Duration::from_millis(3_210),
        cpu_per_delivery: 5.35,
        cpu_per_join: 118.4,
        memory: Some(Memory { before: 12 << 20, joined: (12 << 20) + 39_840_000, peak: 60 << 20 }),
    }
}

/// Mailboxes of a server that refuses nothing, and two readers who were closed.
fn exposed() -> Exposed {
    let mailbox = |actor: &str, peak, offered, wait: Option<[u64; 2]>| MailboxFigures {
        actor: actor.to_owned(),
        peak,
        offered,
        rejected: 0,
        wait_p50: wait.map(|[p50, _]| p50),
        wait_p99: wait.map(|[_, p99]| p99),
    };
    Exposed {
        mailboxes: vec![
            mailbox("session", 0, 0, None),
            mailbox("conversation", 24, 70_000, Some([18, 440])),
            mailbox("registry", 212, 30_300, Some([25, 96])),
        ],
        outbox_messages: 8_192,
        outbox_bytes: 1_300_000,
        max_waiting: 0,
        slow_actions: vec![("disconnected".to_owned(), 2)],
    }
}

/// A search that doubles the rate until the objective fails, then bisects.
pub(in crate::bench) fn knee() -> Knee {
    let step = |rate: f64| {
        let p99 = (900.0 + 1e7 / (6_100.0 - rate).max(20.0) - 1e7 / 6_100.0) as u64;
        let trial = match rate {
            7_000.0.. => Trial::Unproven,
            6_000.0.. => Trial::Fails,
            _ => Trial::Holds,
        };
        let missed = match trial {
            Trial::Holds => Vec::new(),
            Trial::Fails => vec![Miss::Latency { percentile: Some(99.0), us: Some(p99), bound: 50_000 }],
            Trial::Unproven => vec![Miss::Lost { lost: 311, expected: 600_000 }],
        };
        let lost = if trial == Trial::Unproven { 311 } else { 0 };
        let generator = Generator { busy_share: 0.2, ..Generator::default() };
        KneeStep { rate, achieved: rate.min(6_050.0), p99: Some(p99), lost, generator, limited: false, missed, trial }
    };
    let rates = [500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 6_000.0, 5_000.0, 5_500.0];
    Knee { objective: "p99<50ms,loss=0".to_owned(), steps: rates.map(step).into() }
}

/// A search that ended with one second of nearly every fault. The texts from outside are hostile.
pub(in crate::bench) fn faulty() -> Report {
    let hostile = "</title><script>alert(\"1\")</script>&'\u{1b}[31m\u{0}";
    let mut report = searched();
    report.circumstances.machine = hostile.to_owned();
    report.circumstances.url = format!("http://127.0.0.1/?{hostile}");
    report.plan.user_prefix = hostile.to_owned();
    report.measured = Duration::from_secs(1);
    report.interrupted = Some(Interruption { rate: Some(8_000.0), measured: Duration::from_millis(1_200) });
    report.seconds.truncate(1);
    report.accounts = Accounts {
        sent: 2_000,
        expected: 20_000,
        received: 19_992,
        declared_missing: 0,
        told_missing: 0,
        lost: 3,
        duplicated: 1,
        out_of_order: 2,
        misdelivered: 4,
    };
    report.connections_lost = 6;
    report.errors = vec![(hostile.to_owned(), 3)];
    report.generator = Generator { lag_p99: 4_100, lag_max: 81_000, busy_share: 0.97, machine: None };
    if let Some(knee) = &mut report.knee {
        knee.objective = hostile.to_owned();
        knee.steps.retain(|step| step.trial != Trial::Fails);
    }
    report
}

/// A run that ended before it began.
pub(in crate::bench) fn empty() -> Report {
    let plan = Plan { connections: 0, members: 0, mix: Vec::new(), duration: Duration::ZERO, ..good().plan };
    Report {
        circumstances: Circumstances::default(),
        plan,
        conversations: 0,
        members_max: 0,
        measured: Duration::ZERO,
        interrupted: None,
        joins: Latency::default(),
        corrected: Latency::default(),
        curve: Curve::default(),
        raw: Latency::default(),
        last: Latency::default(),
        seconds: Vec::new(),
        spreads: Vec::new(),
        drained: None,
        accounts: Accounts::default(),
        received_bytes: None,
        leaves: 0,
        connections_lost: 0,
        churn_failures: 0,
        talks_not_taken: 0,
        refused_talks: 0,
        limited_talks: 0,
        refused_joins: 0,
        errors: Vec::new(),
        unnamed: Vec::new(),
        generator: Generator::default(),
        server: None,
        cluster: None,
        exposed: None,
        knee: None,
    }
}

/// A distribution with a tail, which is longer for a larger power.
fn latency(count: u64, median: u64, power: f64, max: u64) -> Latency {
    let steps = (0..200).map(|step| f64::from(step) / 10.0);
    let percentile = |halves: f64| (100.0 - 100.0 * 0.5f64.powf(halves), halves);
    let value = |halves: f64| ((median as f64 * (0.55 + 0.45 * halves.powf(power))) as u64).min(max);
    let percentiles = steps.map(percentile).map(|(percentile, halves)| (percentile, value(halves))).collect();
    Latency { count, percentiles, max, mean: median as f64 * 1.2 }
}
