//! Code that the benches share: measurement time, an outbox, and an event of the usual size.
#![allow(dead_code, reason = "every bench compiles all of this and uses some")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use criterion::Criterion;
use maxtalk::testing::config::Config;
use maxtalk::testing::delivery::{News, Outbox, OutboxLimits};
use maxtalk::testing::event::{ConversationId, Scalar, ServerEvent, Talk, Username};
use maxtalk::testing::metrics::{Metrics, ReadAtScrape};
use maxtalk::testing::protocol::{Broadcast, Frame, Generation};

/// Returns Criterion with enough time for a stable median; `--measurement-time` sets more, `--quick` less.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .nresamples(10_000)
}

/// Returns metrics that nobody scrapes.
pub fn metrics() -> Arc<Metrics> {
    Metrics::new(&[], ReadAtScrape::default())
}

/// Returns an outbox of a current client, with the default bounds.
pub fn outbox(metrics: &Arc<Metrics>) -> Arc<Outbox> {
    static LIMITS: LazyLock<Arc<OutboxLimits>> =
        LazyLock::new(|| Arc::new(OutboxLimits::new(&Config::default().outbox)));
    Arc::new(Outbox::new(Generation::Eio4, LIMITS.clone(), metrics.clone()))
}

/// Returns the username with this number.
pub fn username(number: u64) -> Username {
    Username::parse(&format!("user.number.{number}")).expect("a username")
}

/// Returns a talk as a client sends it.
pub fn talk() -> Talk {
    let scalar = |json: &str| Scalar::parse(serde_json::from_str(json).expect("JSON"), 256).expect("a scalar");
    Talk {
        conversation: ConversationId::from("5f6e7d8c9b0a1f2e3d4c5b6a"),
        timestamp: Some(scalar("1700000000000")),
        message_id: Some(scalar("\"65535f00c0ffee00c0ffee00\"")),
    }
}

/// Returns the update for the other members, not encoded yet.
pub fn update() -> Broadcast {
    let event = ServerEvent::Update { username: &username(1), talk: &talk(), missed: None };
    Broadcast::new("/max".into(), event.name().as_str(), event.json())
}

/// Returns the update as news that an outbox folds.
pub fn news() -> News {
    News::Update { namespace: "/max".into(), username: username(1), talk: talk() }
}

/// Returns the update as a frame for a current client: about 150 bytes.
pub fn frame() -> Frame {
    update().frame(Generation::Eio4).clone()
}
