//! An overview of a busy server, for the tests.

use crate::admin::model::cluster::{BusServer, Cluster, PeerNode};
use crate::admin::model::overview::{Actors, Drain, Kind, Level, Mailbox, Max, Overview, Rates, Warning, Worker};
use crate::admin::model::{
    ClosedSession, Conversation, Generation, Limits, Machine, Session, Stage, Status, Transport,
};

/// Returns a busy server of this version: 20 slow sessions `user0` and so on, the one with the most bytes first; 20 hot
/// conversations `c0` and so on, the one with the most deliveries first; a conversation's mailbox at 96 %.
pub fn busy() -> Overview {
    Overview {
        at_ms: 1_795_774_984_000,
        status: Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: None,
            date: None,
            build: "release".to_owned(),
            pid: 4711,
            began: "2026-11-27T07:11:04Z".to_owned(),
            uptime_ms: 11_520_000,
            stage: Stage::Serving,
            workers: 2,
            connections: 5010,
            sessions: 5000,
            conversations: 500,
            resident_bytes: Some(62_914_560),
            machine: Machine { cores: 2, memory_bytes: 8 << 30 },
            limits: Limits { files: 65_536, connections: 60_000, memory_bytes: Some(2 << 30) },
        },
        drain: None,
        rates: Rates {
            talks: 1400.0,
            deliveries: 12_600.0,
            refused: 3.0,
            folded: 250.4,
            dropped: 0.0,
            closed_as_slow: 0.2,
            delivery_p50_ms: Some(0.163),
            delivery_p99_ms: Some(12.34),
        },
        workers: vec![worker("0", 0.35), worker("1", 0.98), worker("registry", 0.04)],
        mailboxes: vec![
            mailbox("session", 16, 2),
            mailbox("conversation", 2048, 1966),
            mailbox("registry", 20_000, 310),
            Mailbox { actors: None, ..mailbox("max", 20_000, 0) },
        ],
        sessions: (0..20).map(session).collect(),
        conversations: (0..20).map(conversation).collect(),
        closed: (0..30).map(closed).collect(),
        max: Max {
            inflight: 3,
            limit: 8,
            inflight_max: 8,
            waiting: 41,
            waiting_max: 20_000,
            calls_per_second: 12.0,
            p50_ms: Some(8.0),
            p99_ms: Some(40.0),
            errors: [("max_timeout".to_owned(), 0.5)].into(),
        },
        cluster: None,
        warnings: vec![warning()],
    }
}

/// Returns a server that drains.
pub fn draining() -> Overview {
    let mut overview = busy();
    overview.status.stage = Stage::Draining;
    overview.drain = Some(Drain { sessions: 5000, left: 320, due_in_ms: 12_000 });
    overview
}

/// Returns a busy node of a cluster: of its two Redis, the second one is slower; of two other nodes, one is silent.
pub fn clustered() -> Overview {
    let server = |port: u16, lag_ms: f64| BusServer {
        url: format!("redis://10.0.0.9:{port}"),
        up: true,
        down_ms: None,
        reason: None,
        wanted: 250,
        subscribed: 250,
        waiting: 0,
        lag_ms: Some(lag_ms),
    };
    let peer = |name: &str, silent: bool| PeerNode {
        node: format!("{name}aaaaaaaa"),
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tag: "k3f9".to_owned(),
        sessions: 4000,
        conversations: 400,
        heard_ms: if silent { 12_000 } else { 700 },
        silent,
    };
    Overview {
        cluster: Some(Cluster {
            node: Some("annaaaaaaaaa".to_owned()),
            name: Some("anna".to_owned()),
            up: true,
            servers: vec![server(6379, 0.4), server(6380, 1.2)],
            peers: vec![peer("bert", false), peer("cleo", true)],
            feed: None,
        }),
        ..busy()
    }
}

/// Returns a server without clients.
pub fn idle() -> Overview {
    let Overview { at_ms, status, mailboxes, workers, max, .. } = busy();
    let quiet = |mailbox: Mailbox| Mailbox { messages: 0, peak: 0, depth_p99: None, wait_p99_ms: None, ..mailbox };
    Overview {
        at_ms,
        status: Status { sessions: 0, conversations: 0, ..status },
        drain: None,
        rates: Rates::default(),
        workers,
        mailboxes: mailboxes.into_iter().map(quiet).collect(),
        sessions: Vec::new(),
        conversations: Vec::new(),
        closed: Vec::new(),
        max,
        cluster: None,
        warnings: Vec::new(),
    }
}

fn worker(worker: &str, busy: f64) -> Worker {
    Worker { worker: worker.to_owned(), busy, lag_p99_ms: Some(1.2) }
}

fn warning() -> Warning {
    Warning {
        id: "mailbox_near_limit:conversation".to_owned(),
        level: Level::Warning,
        text: "the mailbox of a conversation has been above 80 % for 30 s: its worker is busy 98 %".to_owned(),
        advice: "raise mailbox.conversation if its talks come in bursts".to_owned(),
    }
}

fn mailbox(actor: &str, capacity: usize, peak: usize) -> Mailbox {
    let kind = Kind {
        message: "talk".to_owned(),
        offered_per_second: 1400.0,
        refused_full_per_second: 3.0,
        wait_p99_ms: Some(120.0),
        handle_p99_ms: Some(0.8),
    };
    Mailbox {
        actor: actor.to_owned(),
        capacity,
        setting: format!("mailbox.{actor}"),
        source: "default".to_owned(),
        messages: 3 * peak as u64,
        peak,
        depth_p50: Some(1.0),
        depth_p99: Some(peak as f64 / 2.0),
        offered_per_second: 1400.0,
        refused_full_per_second: 3.0,
        refused_closed_per_second: 0.0,
        given_up_late_per_second: 0.0,
        wait_p50_ms: Some(0.1),
        wait_p99_ms: Some(120.0),
        handle_p50_ms: Some(0.2),
        handle_p99_ms: Some(0.8),
        kinds: vec![kind],
        actors: Some(Actors { living: 500, started: 900, stopped: 400, panicked: 0 }),
    }
}

fn session(at: u32) -> Session {
    Session {
        id: u64::from(at) + 100,
        username: (at != 3).then(|| format!("user{at}")),
        address: format!("10.0.0.{at}"),
        generation: Generation::Eio4,
        transport: if at.is_multiple_of(2) { Transport::Websocket } else { Transport::Polling },
        kept: false,
        opened: "2026-11-27T10:00:00Z".to_owned(),
        age_ms: 60_000 * u64::from(at),
        waiting_messages: 4000 - 10 * at as usize,
        waiting_bytes: 900_000 - 1000 * at as usize,
        folded: 7 * at as usize,
        round_trip_ms: (!at.is_multiple_of(5)).then_some(12.5),
    }
}

fn conversation(at: u32) -> Conversation {
    Conversation {
        id: format!("c{at}"),
        spawned: "2026-11-27T10:00:00Z".to_owned(),
        age_ms: 1_000_000,
        members: 10 + at,
        users: 10,
        talks: 5000,
        deliveries: 50_000,
        talks_per_second: 100.0 - f64::from(at),
        deliveries_per_second: 1000.0 - f64::from(at),
    }
}

fn closed(at: u32) -> ClosedSession {
    ClosedSession {
        id: u64::from(at),
        username: Some(format!("gone{at}")),
        address: "10.0.0.1".to_owned(),
        generation: Generation::Sio09,
        transport: Transport::Polling,
        closed: "2026-11-27T10:23:00Z".to_owned(),
        age_ms: 30_000,
        folded: 3,
        reason: "slow".to_owned(),
        detail: "it had not caught up within outbox.grace_ms".to_owned(),
    }
}
