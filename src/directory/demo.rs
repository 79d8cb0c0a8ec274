//! The embedded demo MAX: a handful of people and their conversations, in memory, in the shapes, errors and headers of
//! MAX 5. maxtalk asks it over HTTP like a real one. For load tests there can be as many others as wanted, who only
//! listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use self::crowd::Crowd;
use self::world::World;
use super::max::{Target, Tokenless};
use crate::config;
use crate::event::{Token, Username};

pub(crate) mod crowd;
pub mod rule;
pub(crate) mod world;

pub use crowd::USER_PREFIX;

/// Where the demo MAX is mounted: what clients are given as its base URL is this below the address of the server.
pub const MOUNT: &str = "/demo/max";

/// The demo MAX, one for all workers.
pub struct DemoMax {
    world: Mutex<World>,
    crowd: Crowd,
}

impl DemoMax {
    /// Makes its people, with tokens that hold for this process only, and those that the settings ask for.
    ///
    /// # Errors
    /// A sentence where the system gives no random numbers.
    pub fn new(settings: &config::Demo) -> Result<Arc<Self>, String> {
        let secret = || getrandom::u64().map_err(|error| format!("the system gives no random numbers: {error}"));
        Ok(Arc::new(Self { world: Mutex::new(World::new(secret, now())?), crowd: Crowd::new(settings) }))
    }

    /// The account that may ask about anybody, as a MAX Manager may.
    pub fn service_account(&self) -> (Username, Token) {
        self.world.lock().service_account()
    }

    /// How a server asks its own demo at the address that it has bound. Joins without a token are for this machine.
    pub fn target(&self, bound: SocketAddr) -> Target {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Target {
            url: format!("http://{}{MOUNT}", SocketAddr::new(ip, bound.port())),
            service: Some(self.service_account()),
            tokenless: Tokenless::FromLoopback,
        }
    }

    /// Its own people, with what they have said.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// The people of `demo.people`.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|age| age.as_secs().try_into().ok()).unwrap_or(0)
}
