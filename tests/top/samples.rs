//! Overviews as a server would send them.

use serde_json::{Value, json};

/// The version of the program under test.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the overview of a busy server of this version, with this many sessions. Of its slow sessions, `user0` has
/// the most bytes and `user11` the most folded news; of its conversations, `c0` has the most deliveries.
pub fn overview(sessions: u64) -> Value {
    let mailboxes = ["session", "conversation", "registry", "max"].map(mailbox);
    let slow: Vec<_> = (0..12).map(session).collect();
    let hot: Vec<_> = (0..12).map(conversation).collect();
    json!({
        "at_ms": 1_795_774_984_000_u64,
        "status": {
            "version": VERSION, "build": "release", "pid": 1, "began": "2026-11-27T07:11:04Z", "uptime_ms": 11_520_000,
            "stage": "serving", "workers": 2, "connections": 10, "sessions": sessions, "conversations": 500,
            "resident_bytes": 62_914_560, "machine": {"cores": 2, "memory_bytes": 8_589_934_592_u64},
            "limits": {"files": 65536, "connections": 60000, "memory_bytes": null}
        },
        "drain": null,
        "rates": {
            "talks": 1400.0, "deliveries": 12600.0, "refused": 0.0, "folded": 0.0, "dropped": 0.0,
            "closed_as_slow": 0.0, "delivery_p50_ms": 0.163, "delivery_p99_ms": 12.34
        },
        "workers": [
            {"worker": "0", "busy": 0.35, "lag_p99_ms": 1.2},
            {"worker": "1", "busy": 0.98, "lag_p99_ms": null}
        ],
        "mailboxes": mailboxes,
        "sessions": slow,
        "conversations": hot,
        "closed": [{
            "id": 7, "username": "gone", "address": "10.0.0.9", "generation": "eio3", "transport": "polling",
            "closed": "2026-11-27T10:23:00Z", "age_ms": 30_000, "folded": 3, "reason": "slow", "detail": "too slow"
        }],
        "max": {
            "inflight": 3, "limit": 8, "inflight_max": 8, "waiting": 0, "waiting_max": 20000, "calls_per_second": 1.0,
            "p50_ms": 8.0, "p99_ms": 40.0, "errors": {}
        },
        "warnings": [{
            "id": "a", "level": "warning", "text": "the mailbox of a conversation is nearly full", "advice": "raise it"
        }]
    })
}

fn mailbox(actor: &str) -> Value {
    json!({
        "actor": actor, "capacity": 2048, "setting": format!("mailbox.{actor}"), "source": "default", "messages": 9,
        "peak": 512, "depth_p50": 1.0, "depth_p99": 100.0, "offered_per_second": 1400.0, "refused_full_per_second": 0.0,
        "refused_closed_per_second": 0.0, "given_up_late_per_second": 0.0, "wait_p50_ms": 0.1, "wait_p99_ms": 120.0,
        "handle_p50_ms": 0.2, "handle_p99_ms": 0.8, "kinds": [],
        "actors": {"living": 5, "started": 9, "stopped": 4, "panicked": 0}
    })
}

fn session(at: u64) -> Value {
    json!({
        "id": 100 + at, "username": format!("user{at}"), "address": format!("10.0.0.{at}"), "generation": "eio4",
        "transport": "websocket", "opened": "2026-11-27T10:00:00Z", "age_ms": 60_000 * at,
        "waiting_messages": 4000 - 10 * at, "waiting_bytes": 900_000 - 1000 * at, "folded": 7 * at,
        "round_trip_ms": 12.5
    })
}

fn conversation(at: u64) -> Value {
    json!({
        "id": format!("c{at}"), "spawned": "2026-11-27T10:00:00Z", "age_ms": 1_000_000, "members": 10 + at,
        "users": 10, "talks": 5000, "deliveries": 50000, "talks_per_second": 100.0,
        "deliveries_per_second": 1000 - at
    })
}
