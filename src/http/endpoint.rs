//! The endpoint for clients: its settings, its sessions, and the start of a session on a worker.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_http::RequestHead;

use crate::actors::application::Application;
use crate::actors::front::SessionParts;
use crate::actors::session::SessionActor;
use crate::board::sessions::SessionBoard;
use crate::delivery::limits::OutboxLimits;
use crate::delivery::outbox::Outbox;
use crate::delivery::transport::Transport;
use crate::delivery::worker::Worker;
use crate::event::SessionId;
use crate::ids::Ids;
use crate::limits::clients::{Clients, SessionSlot};
use crate::limits::proxies::TrustedProxies;
use crate::logging::log_refusal;
use crate::metrics::{HandshakeLabel, HandshakeResult, Limit, Metrics, OrOther};
use crate::protocol::connection::{LegacyPeriods, Periods};
use crate::protocol::frame::Frame;
use crate::protocol::handshake::{LegacyOpen, Open, RequestError};
use crate::protocol::payload::Form;
use crate::protocol::{Generation, TransportKind};
use crate::stage::{CurrentStage, Stage};

use super::sessions::{Entry, Sessions};
use super::tags::{NoSession, SidTags};

/// Creates the layer over the transport of a session, from the session's number, the client's address, the outbox and
/// the slot.
pub type NewApplication =
    dyn Fn(SessionId, IpAddr, &Arc<Outbox>, Arc<SessionSlot>) -> Box<dyn Application> + Send + Sync;

/// One endpoint: its settings and its sessions, shared by all workers.
pub struct Endpoint {
    /// The path, such as `/socket.io/`.
    pub path: String,
    /// The generations that are served.
    pub generations: Vec<Generation>,
    /// Whether polls may be answered by scripts (JSONP).
    pub jsonp: bool,
    /// The periods of heartbeats, polls and upgrades.
    pub periods: Arc<Periods>,
    /// The clients, with their bounds.
    pub clients: Arc<Clients>,
    /// The proxies that are believed about their clients.
    pub trusted_proxies: TrustedProxies,
    /// The largest payload of a client: `maxPayload`.
    pub payload_bytes_max: usize,
    /// The bounds of all outboxes.
    pub outbox: Arc<OutboxLimits>,
    /// The bound of the kernel's send buffer.
    pub send_buffer_bytes: usize,
    /// Creates the application of a session.
    pub new_application: Box<NewApplication>,
    /// The generator of sids.
    pub ids: Ids,
    /// The tag of the sids, and those of other nodes.
    pub tags: SidTags,
    /// The sessions, by sid.
    pub sessions: Arc<Sessions>,
    /// The board, on which each session has a card.
    pub board: Arc<SessionBoard>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// The stage of the server. While it drains, it opens no new sessions.
    pub stage: Arc<CurrentStage>,
    /// The number of the next session.
    pub next_session: AtomicU64,
}

/// An endpoint on one worker.
#[derive(Clone)]
pub struct Edge {
    /// The part that all workers share.
    pub endpoint: Arc<Endpoint>,
    /// The worker of this thread.
    pub worker: Rc<Worker>,
}

impl Endpoint {
    fn note_handshake(&self, generation: Option<Generation>, result: HandshakeResult) {
        let label = HandshakeLabel { protocol: OrOther(generation), result };
        self.metrics.handshakes.get_or_create(&label).inc();
    }

    /// Returns the text that opens a session for its client.
    fn greeting(&self, generation: Generation, sid: &str, by_socket: bool) -> String {
        let periods = &self.periods;
        match generation {
            Generation::Eio4 | Generation::Eio3 => {
                let upgrades: &[_] = if by_socket { &[] } else { &[TransportKind::WebSocket] };
                let (ping_interval, ping_timeout) = (periods.ping_interval, periods.ping_timeout);
                let payload_bytes_max = self.payload_bytes_max;
                Open { sid, upgrades, ping_interval, ping_timeout, payload_bytes_max }.packet()
            }
            Generation::Sio09 => {
                let transports = &["websocket", "xhr-polling", "jsonp-polling"][..if self.jsonp { 3 } else { 2 }];
                let LegacyPeriods { heartbeat_timeout, close_timeout, .. } = periods.legacy;
                LegacyOpen { sid, heartbeat_timeout, close_timeout, transports }.text()
            }
        }
    }
}

/// Why a handshake opens no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The server stops.
    Stopping,
    /// A bound on clients is reached.
    Limited(Limit),
}

impl Edge {
    /// Returns the client's address: the one that a trusted proxy forwards, else the peer's.
    pub fn client_address(&self, head: &RequestHead) -> IpAddr {
        let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        if !self.endpoint.trusted_proxies.trusts(peer) {
            return peer;
        }
        // The client may have sent these headers itself; a proxy appends to them.
        let values = |name: &'static str| {
            let values = head.headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            values.collect::<Vec<_>>()
        };
        let (x_forwarded_for, forwarded) = (values("x-forwarded-for"), values("forwarded"));
        let proxies = &self.endpoint.trusted_proxies;
        proxies.client(peer, x_forwarded_for.iter().map(AsRef::as_ref), forwarded.iter().map(AsRef::as_ref))
    }

    /// Reserves the slot of one more session for a client at this address.
    ///
    /// # Errors
    /// The server stops, or a bound is reached.
    pub fn admit(&self, generation: Generation, address: IpAddr) -> Result<SessionSlot, HandshakeError> {
        let endpoint = &self.endpoint;
        if endpoint.stage.get() == Stage::Draining {
            endpoint.note_handshake(Some(generation), HandshakeResult::Stopping);
            return Err(HandshakeError::Stopping);
        }
        endpoint.clients.admit(address, Instant::now()).map_err(|limit| {
            endpoint.metrics.limited(limit);
            endpoint.note_handshake(Some(generation), HandshakeResult::Limited);
            log_refusal(Instant::now(), format_args!("a handshake of {address} refused: {}", limit.as_str()));
            HandshakeError::Limited(limit)
        })
    }

    /// Opens a session on this thread, over a socket or, without one, by polling. `form` is the form of payload that
    /// the client polls for, and `takes_offsets` says whether it bears a further argument with each event. Returns the
    /// body of the handshake's answer: the open packet of Engine.IO, or the text of 0.9. If there is a socket, the open
    /// packet is already in the outbox.
    pub fn open(
        &self,
        slot: SessionSlot,
        generation: Generation,
        form: Form,
        takes_offsets: bool,
        address: IpAddr,
        socket: Option<Box<dyn Transport>>,
    ) -> String {
        let endpoint = &self.endpoint;
        let sid = endpoint.ids.draw_sid(endpoint.tags.own());
        let open = endpoint.greeting(generation, &sid, socket.is_some());
        let outbox = Outbox::new(generation, endpoint.outbox.clone(), endpoint.metrics.clone()).with_form(form);
        let outbox = Arc::new(outbox.taking_offsets(takes_offsets));
        // Clients of Engine.IO 4 get another id when they connect to the namespace.
        if generation != Generation::Eio4 {
            outbox.set_socket_id(&sid);
        }
        if socket.is_some() {
            outbox.push(Frame::text(&open));
        }
        let id = SessionId(endpoint.next_session.fetch_add(1, Ordering::Relaxed));
        let kind = if socket.is_some() { TransportKind::WebSocket } else { TransportKind::Polling };
        let parts = SessionParts {
            id,
            peer: address,
            entry: endpoint.board.enter(id, address, kind, &outbox),
            periods: endpoint.periods.clone(),
            payload_bytes_max: endpoint.payload_bytes_max,
            application: (endpoint.new_application)(id, address, &outbox, Arc::new(slot)),
            outbox,
            metrics: endpoint.metrics.clone(),
        };
        SessionActor::launch(parts, &self.worker, socket, |mailbox| endpoint.sessions.enter(&sid, generation, mailbox));
        endpoint.note_handshake(Some(generation), HandshakeResult::Ok);
        open
    }

    /// Returns the session that a request asks for. If it belongs to another node, this is counted and logged here.
    ///
    /// # Errors
    /// There is no such session here.
    pub(super) fn session(&self, sid: &str, generation: Generation) -> Result<Arc<Entry>, NoSession> {
        let endpoint = &self.endpoint;
        endpoint.sessions.get(sid, generation).ok_or_else(|| {
            let Some(node) = endpoint.tags.other_node(sid) else { return NoSession::Unknown };
            endpoint.note_handshake(Some(generation), HandshakeResult::OtherNode);
            endpoint.tags.log(node, Instant::now());
            NoSession::OtherNode(node)
        })
    }

    /// Counts and logs a refused request. `generation` is that of the client; `None` if it could not be read from the
    /// request.
    pub fn note_refusal(&self, error: RequestError, generation: Option<Generation>, address: IpAddr) {
        let speaks = generation.map_or("other", Generation::as_str);
        log_refusal(Instant::now(), format_args!("a request of {address} by {speaks} refused: {}", error.message()));
        self.endpoint.note_handshake(generation, HandshakeResult::Refused(error));
    }
}
