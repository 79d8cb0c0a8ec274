//! The embedded demo MAX: a few people and their conversations, in memory, with the JSON, errors and headers of MAX 5.
//! maxtalk asks it over HTTP like a real MAX. For load tests it can have any number of other people. They can make only
//! the calls that a join needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use self::crowd::Crowd;
use self::world::World;
use super::max::{Target, Tokenless};
use crate::config::{self, BaseUrl};
use crate::event::{Token, Username};
use crate::ids::Ids;

pub(crate) mod crowd;
pub(crate) mod max_error;
pub mod rule;
mod samples;
pub(crate) mod world;

pub(crate) use self::world::CONTENT_CHARS_MAX;

/// The path of the demo MAX on the server. Its base URL is this path below the server's address.
pub const MOUNT: &str = "/demo/max";

/// The demo MAX, which all workers share.
pub struct DemoMax {
    world: Mutex<World>,
    crowd: Crowd,
}

impl DemoMax {
    /// Makes the demo's own people, with tokens that are valid in this process only, and the crowd of the settings.
    pub fn new(settings: &config::Demo, ids: &Ids) -> Arc<Self> {
        let world = Mutex::new(World::new(|| ids.number(), now()));
        Arc::new(Self { world, crowd: Crowd::new(settings) })
    }

    /// The account that may ask about everybody, like a MAX Manager.
    pub fn service_account(&self) -> (Username, Token) {
        self.world.lock().service_account()
    }

    /// The target for a server that serves this demo at the address `bound`. Clients on this machine may join without a
    /// token.
    pub fn target(&self, bound: SocketAddr) -> Target {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let url = format!("http://{}{MOUNT}", SocketAddr::new(ip, bound.port()));
        Target {
            // The address of a listener and a path of ours: always a URL.
            url: BaseUrl::parse(&url).unwrap_or_else(|flaw| unreachable!("{url}: {flaw}")),
            service: Some(self.service_account()),
            tokenless: Tokenless::FromLoopback,
        }
    }

    /// The demo's own people and their conversations.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// The people of `demo.people`.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|age| age.as_secs().try_into().ok()).unwrap_or(0)
}
