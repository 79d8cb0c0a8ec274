//! From the configuration to the settings of each part of the server. Times in milliseconds become [`Duration`]s.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use super::live::{self, LiveParts};
use crate::actors::event_rates::RatesMax;
use crate::actors::recovery::{Recovery, RecoverySettings};
use crate::actors::socketio::Comeback;
use crate::admin::announcer::Announcer;
use crate::admin::guard::Guard;
use crate::admin::recent::Recent;
use crate::admin::state::{Admin, Boards, Facts, Live};
use crate::board::sessions::SessionBoard;
use crate::cluster::bus::Bus;
use crate::cluster::letters::{Letterbox, Post};
use crate::cluster::port::Port;
use crate::config::{self, Config, LiveConfig};
use crate::delivery::history::Bounds;
use crate::delivery::worker::SessionLimits;
use crate::event::Token;
use crate::feed::service::Feed;
use crate::http::connection::Deadlines;
use crate::http::endpoint::{Endpoint, NewApplication};
use crate::http::sessions::Sessions;
use crate::http::tags::SidTags;
use crate::ids::{Ids, SidTag};
use crate::limits::bucket::Rate;
use crate::limits::clients::{Bounds as ClientBounds, Clients};
use crate::limits::meter::Allowance;
use crate::limits::proxies::TrustedProxies;
use crate::logging;
use crate::metrics::process::allocated_bytes;
use crate::metrics::{Metrics, ReadAtScrape, Reading};
use crate::protocol::connection::{LegacyPeriods, Periods};
use crate::stage::{CurrentStage, Drain, Stage};

/// Returns the number of threads that serve clients: if the setting is 0, one per core.
pub(super) fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

pub(super) fn client_bounds(config: &Config, connections_max: usize) -> ClientBounds {
    let limits = &config.limits;
    ClientBounds {
        connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        sessions_max: limits.sessions_max,
        sessions_per_address_max: limits.sessions_per_address_max,
        unjoined_max: limits.unjoined_max,
        unjoined_per_address_max: limits.unjoined_per_address_max,
        handshakes: Rate { per_second: limits.handshakes_per_second_max, burst: limits.handshakes_burst_max },
        handshakes_per_address: Rate {
            per_second: limits.handshakes_per_address_per_second_max,
            burst: limits.handshakes_per_address_burst_max,
        },
    }
}

pub(super) fn deadlines(config: &Config) -> Deadlines {
    Deadlines {
        request: Duration::from_millis(config.server.request_timeout_ms),
        keep_alive: Duration::from_millis(config.server.keep_alive_ms),
        write: Duration::from_millis(config.server.write_timeout_ms),
    }
}

/// Returns the bounds on the events of a session.
pub(super) fn rates(settings: &config::Session) -> RatesMax {
    RatesMax {
        events: Rate { per_second: settings.events_per_second_max, burst: settings.events_burst_max },
        bytes: Rate { per_second: settings.bytes_per_second_max, burst: settings.bytes_burst_max },
    }
}

/// Returns the sessions that may be recovered. `None` if none may.
pub(super) fn recovery(
    config: &Config,
    tag: SidTag,
    ids: &Ids,
    bus: Option<&Arc<Bus>>,
    metrics: &Arc<Metrics>,
) -> Option<Arc<Recovery<Comeback>>> {
    let config::Recovery { window_ms, claim_ms, sessions_max, events_max, bytes_max, asked_only } = config.recovery;
    if window_ms == 0 {
        return None;
    }
    let settings = RecoverySettings {
        window: Duration::from_millis(window_ms),
        claim: Duration::from_millis(claim_ms),
        kept_max: sessions_max,
        history: Bounds { events_max, bytes_max },
        asked_only,
        tag: tag.as_str().into(),
        has_feed: config.feed.url.is_some(),
    };
    let post = bus.cloned().map(|bus| -> Arc<dyn Post> { bus });
    let recovery = Recovery::new(settings, post, ids, metrics.clone());
    if let Some(bus) = bus {
        let recovery: Arc<dyn Letterbox> = recovery.clone();
        bus.deliver_to(Arc::downgrade(&recovery));
    }
    Some(recovery)
}

/// Returns the metrics of a server.
pub(super) fn metrics(config: &Config, stage: &Arc<CurrentStage>) -> Arc<Metrics> {
    let stage = stage.clone();
    let scraped = ReadAtScrape {
        draining: Reading::gauge(move || Some(u64::from(stage.get() == Stage::Draining))),
        log_lines_lost: Reading::counter(|| Some(logging::lines_lost())),
        allocated_bytes: Reading::gauge(allocated_bytes),
    };
    Metrics::new(&live::mailbox_limits(config), scraped)
}

/// Returns the endpoint for clients.
pub(super) fn endpoint(
    config: &Config,
    new_application: Box<NewApplication>,
    (ids, tags): (Ids, SidTags),
    clients: Arc<Clients>,
    board: Arc<SessionBoard>,
    live: &LiveParts,
    stage: Arc<CurrentStage>,
) -> Endpoint {
    let (protocol, legacy) = (&config.protocol, &config.legacy);
    Endpoint {
        path: protocol.path.clone(),
        generations: protocol.generations.clone(),
        jsonp: protocol.jsonp,
        periods: Arc::new(Periods {
            ping_interval: Duration::from_millis(protocol.ping_interval_ms),
            ping_timeout: Duration::from_millis(protocol.ping_timeout_ms),
            upgrade_timeout: Duration::from_millis(protocol.upgrade_timeout_ms),
            close_timeout: Duration::from_millis(protocol.close_timeout_ms),
            legacy: LegacyPeriods {
                heartbeat_interval: Duration::from_millis(legacy.heartbeat_interval_ms),
                heartbeat_timeout: Duration::from_millis(legacy.heartbeat_timeout_ms),
                polling_duration: Duration::from_millis(legacy.polling_duration_ms),
                close_timeout: Duration::from_millis(legacy.close_timeout_ms),
                handshake_timeout: Duration::from_millis(legacy.handshake_timeout_ms),
            },
        }),
        clients,
        tags,
        ids,
        trusted_proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
        payload_bytes_max: protocol.payload_bytes_max,
        outbox: live.outbox.clone(),
        send_buffer_bytes: config.server.send_buffer_bytes,
        new_application,
        sessions: Arc::new(Sessions::default()),
        board,
        metrics: live.conversations.metrics.clone(),
        stage,
        next_session: AtomicU64::new(1),
    }
}

/// The parts of a server that only the listener for operators shows.
pub(super) struct AdminParts {
    pub(super) boards: Boards,
    pub(super) facts: Facts,
    pub(super) bus: Option<Arc<Bus>>,
    pub(super) feed: Option<Arc<Feed>>,
}

/// Returns the state behind the listener for operators.
pub(super) fn admin(config: LiveConfig, endpoint: &Endpoint, parts: AdminParts, drain: &Drain) -> Admin {
    let AdminParts { boards, facts, bus, feed } = parts;
    let now = config.get();
    let keys = &now.admin;
    Admin {
        guard: Guard {
            token: keys.token.clone(),
            announce_token: keys.announce_token.clone(),
            dashboard: Some(Token::from(endpoint.ids.draw().as_str())),
        },
        announcer: Announcer::new(
            boards.conversations.clone(),
            endpoint.metrics.clone(),
            now.limits.id_bytes_max,
            bus.clone().map(|bus| bus as Arc<dyn Port>),
        ),
        config,
        metrics: endpoint.metrics.clone(),
        clients: endpoint.clients.clone(),
        stage: endpoint.stage.clone(),
        drain: drain.clone(),
        boards,
        bus,
        feed,
        recent: Recent::default(),
        live: Live::default(),
        facts,
    }
}

/// Returns the limits that apply to every session.
pub(super) fn session_limits(config: &Config) -> SessionLimits {
    let limits = &config.limits;
    SessionLimits {
        allowance: Allowance {
            packets: Rate { per_second: limits.packets_per_second_max, burst: limits.packets_burst_max },
            bytes: Rate { per_second: limits.bytes_per_second_max, burst: limits.bytes_burst_max },
            patience: Duration::from_millis(limits.flood_ms),
        },
        write_timeout: Duration::from_millis(config.server.write_timeout_ms),
    }
}
