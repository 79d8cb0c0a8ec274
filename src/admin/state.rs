//! The state behind the admin listener: the parts of the server that its pages show.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::guard::Guard;
use crate::limits::clients::Clients;
use crate::metrics::Metrics;
use crate::stage::CurrentStage;

/// The state behind the admin listener.
#[derive(Debug)]
pub struct Admin {
    /// The keys of the API.
    pub guard: Guard,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// The clients of the server.
    pub clients: Arc<Clients>,
    /// The stage of the server.
    pub stage: Arc<CurrentStage>,
    /// The facts that do not change while the server runs.
    pub facts: Facts,
}

#[cfg(test)]
impl Admin {
    /// Creates the state of a server that has just been started, without clients.
    pub fn of_idle_server(guard: Guard) -> Self {
        use crate::limits::clients::Bounds;
        use crate::limits::memory::Memory;
        use crate::metrics::ReadAtScrape;
        Self {
            guard,
            metrics: Metrics::new(&[], ReadAtScrape::default()),
            clients: Clients::new(Bounds::connections_only(1), Memory::UNLIMITED),
            stage: Arc::default(),
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
