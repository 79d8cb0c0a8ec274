//! The state behind the admin listener: the parts of the server that its pages show.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::announcer::Announcer;
use super::guard::Guard;
use super::recent::Recent;
use crate::actors::conversation::Board;
use crate::board::sessions::SessionBoard;
use crate::cluster::bus::Bus;
use crate::config::LiveConfig;
use crate::config::cost::ADMIN_CONNECTIONS_MAX;
use crate::feed::service::Feed;
use crate::limits::clients::Clients;
use crate::metrics::Metrics;
use crate::stage::{CurrentStage, Drain};

/// The state behind the admin listener.
#[derive(Debug)]
pub struct Admin {
    /// The keys of the API.
    pub guard: Guard,
    /// The settings that hold now.
    pub config: LiveConfig,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// The clients of the server.
    pub clients: Arc<Clients>,
    /// The stage of the server.
    pub stage: Arc<CurrentStage>,
    /// The handle that makes the server drain.
    pub drain: Drain,
    /// The living sessions and conversations.
    pub boards: Boards,
    /// The way to the other nodes of the cluster. `None` if this process is alone.
    pub bus: Option<Arc<Bus>>,
    /// What MAX announces in its RabbitMQ. `None` if nothing is heard there.
    pub feed: Option<Arc<Feed>>,
    /// Gives the announcements of back ends to their conversations.
    pub announcer: Arc<Announcer>,
    /// The last fifteen minutes.
    pub recent: Recent,
    /// The live connections of dashboards.
    pub live: Live,
    /// The facts that do not change while the server runs.
    pub facts: Facts,
}

/// The living sessions and conversations of a server.
#[derive(Debug)]
pub struct Boards {
    /// The cards of sessions.
    pub sessions: Arc<SessionBoard>,
    /// The cards of conversations.
    pub conversations: Arc<Board>,
}

/// Live connections at the same time: half of the connections of the listener, so that scrapes and calls have room.
const LIVE_MAX: usize = ADMIN_CONNECTIONS_MAX / 2;

/// The live connections of dashboards.
#[derive(Debug)]
pub struct Live {
    places: Arc<Semaphore>,
    /// The newest overview as a frame. It is made only while somebody listens.
    pub frames: watch::Sender<Arc<str>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LIVE_MAX)), frames: watch::Sender::new("".into()) }
    }
}

impl Live {
    /// Takes a place for one more connection. `None` if there are too many.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

impl Admin {
    /// Returns the number of living conversations.
    pub fn conversations(&self) -> usize {
        usize::try_from(self.metrics.conversations.get()).unwrap_or(0)
    }
}

#[cfg(test)]
impl Admin {
    /// Creates the state of a server that has just been started, without clients.
    pub fn of_idle_server(guard: Guard) -> Self {
        use crate::config::Config;
        use crate::limits::clients::Bounds;
        use crate::limits::memory::Memory;
        use crate::metrics::ReadAtScrape;
        let metrics = Metrics::new(&[], ReadAtScrape::default());
        let boards = Boards { sessions: SessionBoard::new(Instant::now()), conversations: Board::new(Instant::now()) };
        let config = Config::default();
        let drain = Drain::new(Duration::ZERO);
        Self {
            guard,
            announcer: Announcer::new(boards.conversations.clone(), metrics.clone(), config.limits.id_bytes_max, None),
            config: LiveConfig::new(config, ()),
            metrics,
            clients: Clients::new(Bounds::connections_only(1), Memory::UNLIMITED),
            stage: drain.stage().clone(),
            drain,
            boards,
            bus: None,
            feed: None,
            recent: Recent::default(),
            live: Live::default(),
            facts: Facts {
                began: (Instant::now(), SystemTime::UNIX_EPOCH),
                workers: 1,
                files_max: 1024,
                connections_max: 1000,
            },
        }
    }
}

/// Facts that do not change while the server runs.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// When the server began.
    pub began: (Instant, SystemTime),
    /// The threads that serve clients.
    pub workers: usize,
    /// Open files that the system allows.
    pub files_max: u64,
    /// Connections of clients that may be open at the same time.
    pub connections_max: usize,
}

impl Facts {
    /// Returns the milliseconds since the server began.
    pub fn uptime_ms(&self) -> u64 {
        self.began.0.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Returns a time, in milliseconds since the server began, in the form of RFC 3339.
    pub fn time_of(&self, ms: u64) -> String {
        let time = OffsetDateTime::from(self.began.1 + Duration::from_millis(ms));
        time.replace_microsecond(time.microsecond() / 1000 * 1000).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
    }
}
