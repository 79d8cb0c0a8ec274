//! The endpoint for clients: its settings, its sessions, and how a session begins on a worker.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use actix_http::RequestHead;

use crate::actors::application::Application;
use crate::actors::session::{SessionActor, SessionParts};
use crate::delivery::outbox::{Bounds, Outbox};
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

use super::sessions::Sessions;

/// Makes the layer over Engine.IO for a session: its number, where its client is, the way to it, and its slot.
pub type NewApplication =
    dyn Fn(SessionId, IpAddr, &Arc<Outbox>, Arc<SessionSlot>) -> Box<dyn Application> + Send + Sync;

/// One endpoint: its settings and its sessions, shared by all workers.
pub struct Endpoint {
    /// The path, such as `/socket.io/`.
    pub path: String,
    /// Which generations are served.
    pub generations: Vec<Generation>,
    /// Whether polls may be answered by scripts.
    pub jsonp: bool,
    /// Heartbeats, polls and upgrades.
    pub periods: Arc<Periods>,
    /// Who may come.
    pub clients: Arc<Clients>,
    /// Who is believed about whom it speaks for.
    pub trusted_proxies: TrustedProxies,
    /// `maxPayload`.
    pub payload_bytes_max: usize,
    /// The bound of a session's mailbox.
    pub mailbox_max: usize,
    /// The bounds of an outbox.
    pub outbox: Bounds,
    /// The bound of the kernel's send buffer.
    pub send_buffer_bytes: usize,
    /// What sessions are for.
    pub new_application: Box<NewApplication>,
    /// Where sids come from.
    pub ids: Ids,
    /// The sessions by their sids.
    pub sessions: Arc<Sessions>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// No new sessions any more: the server stops.
    pub stopping: AtomicBool,
    /// The number of the next session.
    pub next_session: AtomicU64,
}

/// An endpoint as one worker sees it.
#[derive(Clone)]
pub struct Edge {
    /// What all workers share.
    pub endpoint: Arc<Endpoint>,
    /// This thread.
    pub worker: Rc<Worker>,
}

impl Endpoint {
    fn note_handshake(&self, generation: Option<Generation>, result: HandshakeResult) {
        let label = HandshakeLabel { protocol: OrOther(generation), result };
        self.metrics.handshakes.get_or_create(&label).inc();
    }

    /// What a client is told of its new session.
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

/// Why there is no session after a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The server stops.
    Stopping,
    /// As many clients as a bound allows are there.
    Limited(Limit),
}

impl Edge {
    /// Where the client of a request is: what a trusted proxy says, else where the connection comes from.
    pub fn client_address(&self, head: &RequestHead) -> IpAddr {
        let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        if !self.endpoint.trusted_proxies.trusts(peer) {
            return peer;
        }
        // A proxy appends to whatever the client has written.
        let values = |name: &'static str| {
            let values = head.headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            values.collect::<Vec<_>>()
        };
        let (of_most, of_some) = (values("x-forwarded-for"), values("forwarded"));
        let proxies = &self.endpoint.trusted_proxies;
        proxies.client(peer, of_most.iter().map(AsRef::as_ref), of_some.iter().map(AsRef::as_ref))
    }

    /// Whether there is room for one more session of a client at this address.
    ///
    /// # Errors
    /// The handshake is refused.
    pub fn admit(&self, generation: Generation, address: IpAddr) -> Result<SessionSlot, HandshakeError> {
        let endpoint = &self.endpoint;
        if endpoint.stopping.load(Ordering::Relaxed) {
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

    /// Begins a session on this thread, over a socket or, without one, by polling. Gives what the handshake answers:
    /// the open packet, which a socket finds in its outbox already, or the line of 0.9. `form` is what its
    /// client takes by polling.
    ///
    /// # Errors
    /// The handshake is refused; the socket is dropped.
    pub fn open(
        &self,
        slot: SessionSlot,
        generation: Generation,
        form: Form,
        address: IpAddr,
        socket: Option<Box<dyn Transport>>,
    ) -> Result<String, HandshakeError> {
        let endpoint = &self.endpoint;
        let sid = endpoint.ids.draw();
        let open = endpoint.greeting(generation, &sid, socket.is_some());
        let outbox = Outbox::new(generation, endpoint.outbox, endpoint.metrics.clone()).with_form(form);
        let outbox = Arc::new(outbox);
        if socket.is_some() {
            outbox.push(Frame::text(&open));
        }
        let id = SessionId(endpoint.next_session.fetch_add(1, Ordering::Relaxed));
        let setup = SessionParts {
            id,
            peer: address,
            periods: endpoint.periods.clone(),
            payload_bytes_max: endpoint.payload_bytes_max,
            mailbox_max: endpoint.mailbox_max,
            application: (endpoint.new_application)(id, address, &outbox, Arc::new(slot)),
            outbox,
            metrics: endpoint.metrics.clone(),
        };
        SessionActor::launch(setup, &self.worker, socket, |mailbox| endpoint.sessions.enter(&sid, generation, mailbox));
        endpoint.note_handshake(Some(generation), HandshakeResult::Ok);
        Ok(open)
    }

    /// Counts and logs a request that was refused. `generation` is what it says that its client speaks, if that is
    /// served.
    pub fn note_refusal(&self, error: RequestError, generation: Option<Generation>, address: IpAddr) {
        let speaks = generation.map_or("other", Generation::as_str);
        log_refusal(Instant::now(), format_args!("a request of {address} by {speaks} refused: {}", error.message()));
        self.endpoint.note_handshake(generation, HandshakeResult::Refused(error));
    }
}
