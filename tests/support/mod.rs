//! Code that the integration tests share. Each test binary uses a part of it.
#![allow(dead_code, reason = "every test binary compiles all of this and uses some")]
#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

use std::future::Future;
use std::time::{Duration, Instant};

pub mod account;
pub mod bus;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod ear;
pub mod fake_max;
pub mod faulty;
pub mod fixture;
pub mod frame;
pub mod gate;
pub mod heard;
pub mod http;
pub mod kind;
pub mod max_by_rule;
pub mod page;
pub mod process;
pub mod rabbit;
pub mod redis_cluster;
pub mod redis_server;
pub mod requests;
pub mod script;
pub mod sio09;
pub mod socket;
pub mod strait;
pub mod wire;

/// Limit on every wait. Only failing tests wait this long. A slow machine gets more by `MAXTALK_TEST_DEADLINE_S`, which
/// is read when the tests are built.
pub const DEADLINE: Duration = Duration::from_secs(match option_env!("MAXTALK_TEST_DEADLINE_S") {
    Some(text) => match u64::from_str_radix(text, 10) {
        Ok(seconds) => seconds,
        Err(_) => panic!("MAXTALK_TEST_DEADLINE_S is a number of seconds"),
    },
    None => 60,
});

/// Runs a test and its tasks on this thread.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Waits for something that must happen within [`DEADLINE`].
pub async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, happens).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Looks again and again, on this thread, for something of which nobody tells.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes each case a test over each transport of Engine.IO 4.
#[macro_export]
macro_rules! over_every_transport {
    ($($case:ident)+) => {
        $crate::over_every_transport!(websocket WebSocket: $($case)+);
        $crate::over_every_transport!(polling Polling: $($case)+);
        $crate::over_every_transport!(upgraded Upgraded: $($case)+);
    };
    ($module:ident $kind:ident: $($case:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    $crate::support::run(super::$case($crate::support::client::Kind::$kind));
                }
            )+
        }
    };
}

/// Makes each case a test over each transport of Engine.IO 4, and over one transport of each older generation, the one
/// that encodes most. Cases after `engine_io_4` run over Engine.IO 4 only. `tests/parity.rs` covers all transports of
/// all generations.
#[macro_export]
macro_rules! over_every_generation {
    ($($case:ident)+; engine_io_4: $($newest:ident)+) => {
        $crate::over_every_transport!($($case)+ $($newest)+);
        $crate::over_every_transport!(v1_polling V1Polling: $($case)+);
        $crate::over_every_transport!(v08_jsonp V08Jsonp: $($case)+);
    };
}
