//! Buses of a cluster on a real Redis, and what a test waits for at them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use maxtalk::testing::cluster::{Bus, Census, Dialect, FromBus, Settings, Status};
use maxtalk::testing::metrics::{Metrics, ReadAtScrape};

use super::{DEADLINE, until};

/// Makes each case a test in each dialect.
#[macro_export]
macro_rules! in_both_dialects {
    ($($case:ident)+) => {
        $crate::in_both_dialects!(classic Classic: $($case)+);
        $crate::in_both_dialects!(sharded Sharded: $($case)+);
    };
    ($module:ident $dialect:ident: $($case:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    super::$case(maxtalk::testing::cluster::Dialect::$dialect);
                }
            )+
        }
    };
}

/// What a conversation hears when it is subscribed anew, and the end of the break is told too.
pub const AGAIN: FromBus = FromBus::Attached { again: true, covered: true };

/// What a conversation hears when it is subscribed.
pub const ATTACHED: FromBus = FromBus::Attached { again: false, covered: false };

/// Settings with which a test need not wait long.
pub fn settings(dialect: Dialect, url: &str) -> Settings {
    Settings {
        urls: vec![url.into()],
        dialect,
        heartbeat: Duration::from_secs(1),
        silent: Duration::from_secs(4),
        tell_after: Duration::from_millis(300),
        missed_spread: Duration::from_millis(100),
        reconnect_max: Duration::from_millis(200),
        ..Settings::default()
    }
}

/// Starts a bus.
pub fn start(settings: Settings) -> Arc<Bus> {
    let metrics = Metrics::new(&[], ReadAtScrape::default());
    Bus::start(settings, metrics, || Census { sessions: 3, conversations: 2 }).unwrap()
}

/// Waits until a bus is up.
pub fn wait_up(bus: &Bus) {
    let end = Instant::now() + DEADLINE;
    while bus.status() != Status::Up {
        assert!(Instant::now() < end, "not up within {DEADLINE:?}: {:?}", bus.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the bus is down for a reason with these words.
pub fn wait_down(bus: &Bus, words: &str) -> String {
    until(&format!("down because of `{words}`"), || match bus.status() {
        Status::Down { why, .. } if why.contains(words) => Some(why.to_string()),
        _ => None,
    })
}
