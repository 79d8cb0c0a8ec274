//! Composition: from the configuration to a registry and listeners; the start and the stop.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_http::HttpService;
use actix_server::ServerHandle;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use socket2::{Domain, Socket, Type};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::actors::conversation::Commons;
use crate::actors::namespace::{MaxResidents, MaxSettings};
use crate::actors::registry::{Arbiters, RegistryActor, RegistryEnd};
use crate::actors::session::SessionMessage;
use crate::actors::socketio::SocketIoSession;
use crate::actors::worker::Worker;
use crate::config::Config;
use crate::event::CloseReason;
use crate::http::admin::{self, Admin};
use crate::http::sessions::Sessions;
use crate::http::upgrade::upgrade;
use crate::http::{Edge, Endpoint, NewApplication, every_answer, legacy, pages, polling};
use crate::logging;
use crate::max::demo::DemoMax;
use crate::max::{Directory, Gate, Target, Tokenless};
use crate::metrics::{ActorClass, Elsewhere, Metrics};
use crate::outbox::Bounds;
use crate::protocol::Generation;
use crate::protocol::connection::{LegacyPeriods, Periods};

/// Connections that the kernel holds until a worker takes them: a restart brings all clients at once.
const BACKLOG: i32 = 4096;

/// How often the stop looks whether all sessions have gone.
const STOP_POLL: Duration = Duration::from_millis(10);

/// Why the server does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr} ({setting}): {cause}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The setting that it comes from.
        setting: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// The endpoint would be where the demo is.
    #[error("{0}: the demo and its pages are there; allowed: another path")]
    Path(String),
    /// MAX cannot be asked as the settings say.
    #[error("{0}")]
    Max(String),
    /// The registry of conversations has failed, and there is no serving without it.
    #[error("the registry of conversations has failed")]
    Registry,
    /// The system does not give what a server needs.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Runs the service until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start.
pub fn run(config: Config) -> Result<(), Error> {
    raise_file_limit();
    actix_rt::System::new().block_on(async {
        // Before the listeners: a signal that comes while they start is not lost.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut server = Server::start(config)?;
        server.announce();
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            // Better to be started again than to refuse every join.
            () = server.failed() => return Err(Error::Registry),
        };
        log::info!("{name}: stopping");
        tokio::select! {
            () = server.stop() => log::info!("stopped"),
            _ = terminate.recv() => log::warn!("a second signal: stopping at once"),
            _ = interrupt.recv() => log::warn!("a second signal: stopping at once"),
        }
        Ok(())
    })
}

/// Raises the soft limit on open files to the hard one: every connection is one, and the usual soft limit is 1024.
pub fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => log::debug!("at most {files} open files"),
        Err(error) => log::warn!("the limit on open files could not be raised: {error}"),
    }
}

/// Whether a server could be started with this configuration, as far as that can be said without doing it: the files
/// that it names are read, and no address is listened on.
///
/// # Errors
/// What the start would say.
pub fn check(config: &Config) -> Result<(), Error> {
    check_path(config)?;
    if let Some(target) = Target::configured(&config.max).map_err(Error::Max)? {
        let gate = Arc::new(Gate::new(&config.max));
        Directory::new(&config.max, target, config.limits.id_bytes_max, gate).map_err(Error::Max)?;
    }
    Ok(())
}

fn check_path(config: &Config) -> Result<(), Error> {
    if pages::takes(&config.protocol.path) { Err(Error::Path(config.describe("protocol.path"))) } else { Ok(()) }
}

/// A running service.
pub struct Server {
    handles: Vec<ServerHandle>,
    endpoint: Arc<Endpoint>,
    registry_end: RegistryEnd,
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    demo: Option<Arc<DemoMax>>,
    tokenless: Tokenless,
    stop_timeout: Duration,
}

impl Server {
    /// Starts the service on threads of its own; the registry lives on this one, which has to run an actix system.
    ///
    /// # Errors
    /// An address cannot be listened on, or MAX not be asked.
    pub fn start(config: Config) -> Result<Self, Error> {
        check_path(&config)?;
        let (listener, addr) = listen(config.server.listen, "server.listen")?;
        let gate = Arc::new(Gate::new(&config.max));
        let metrics = Metrics::new(
            &[
                (ActorClass::Session, config.mailbox.session),
                (ActorClass::Conversation, config.mailbox.conversation),
                (ActorClass::Registry, config.mailbox.registry),
            ],
            elsewhere(&gate),
        );
        let demo = if config.max.url.is_none() { Some(DemoMax::new(&config.demo).map_err(Error::Max)?) } else { None };
        let target = match &demo {
            Some(demo) => demo.target(addr),
            None => {
                Target::configured(&config.max).map_err(Error::Max)?.ok_or(Error::Max("max.url is not set".into()))?
            }
        };
        let tokenless = target.tokenless;
        let directory = Directory::new(&config.max, target, config.limits.id_bytes_max, gate).map_err(Error::Max)?;
        let arbiters = Arbiters::default();
        let namespace: Arc<str> = config.protocol.namespace.as_str().into();
        let commons = Arc::new(Commons {
            namespace: namespace.clone(),
            presence_members_max: config.conversation.presence_members_max,
            burst_max: config.conversation.burst_max,
            linger: Duration::from_millis(config.conversation.linger_ms),
            mailbox_max: config.mailbox.conversation,
            metrics: metrics.clone(),
        });
        let answer_timeout = Duration::from_millis(config.session.answer_ms);
        let (registry, registry_end) =
            RegistryActor::launch(directory, commons, arbiters.clone(), config.mailbox.registry, answer_timeout);
        let settings = MaxSettings {
            registry,
            id_bytes_max: config.limits.id_bytes_max,
            pending_max: config.session.pending_max,
            answer_timeout,
            metrics: metrics.clone(),
        };
        let residents = Arc::new(MaxResidents::new(namespace, settings));
        let payload_bytes_max = config.protocol.payload_bytes_max;
        let connect_timeout = Duration::from_millis(config.protocol.connect_timeout_ms);
        let new_application: Box<NewApplication> = Box::new(move |session, peer, outbox| {
            let (residents, outbox) = (residents.clone(), outbox.clone());
            Box::new(SocketIoSession::new(residents, session, peer, outbox, payload_bytes_max, connect_timeout))
        });
        let endpoint = Arc::new(endpoint(&config, new_application, metrics.clone()));
        let serving = Serving { endpoint: endpoint.clone(), arbiters, demo: demo.clone() };
        let mut handles = vec![serving.start(listener, &config)?];
        let metrics_addr = match config.metrics.listen {
            None => None,
            Some(wanted) => {
                let (listener, addr) = listen(wanted, "metrics.listen")?;
                let admin = Data::new(Admin { metrics, sessions: endpoint.sessions.clone() });
                let server = HttpServer::new(move || App::new().configure(admin::routes(admin.clone())));
                let server = server.workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run();
                handles.push(server.handle());
                actix_rt::spawn(server);
                Some(addr)
            }
        };
        let stop_timeout = Duration::from_millis(config.server.stop_ms);
        Ok(Self { handles, endpoint, registry_end, addr, metrics_addr, demo, tokenless, stop_timeout })
    }

    /// Resolves when the server can serve nobody any more.
    pub async fn failed(&mut self) {
        self.registry_end.wait().await;
    }

    /// Where clients connect: with the port that was given by the system, where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where metrics are served, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// Says what runs where, and what to be careful about.
    fn announce(&self) {
        let addr = self.addr;
        log::info!("maxtalk {} listening on http://{addr}", env!("CARGO_PKG_VERSION"));
        if let Some(metrics) = self.metrics_addr {
            log::info!("metrics on http://{metrics}/metrics");
        }
        match self.tokenless {
            Tokenless::Always => {
                log::warn!("max.tokenless_joins is on: whoever can connect can join as anybody and hear what they hear")
            }
            Tokenless::FromLoopback | Tokenless::Never => {}
        }
        if self.demo.is_some() {
            let open = match addr.ip() {
                ip if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), addr.port()),
                _ => addr,
            };
            log::info!("no max.url is set: the embedded demo MAX answers; open http://{open}/ in two windows");
            if !addr.ip().is_loopback() {
                log::warn!("the demo MAX gives its tokens to whoever can reach {addr}: set max.url for a real one");
            }
        }
    }

    /// Stops: no new connections, every session closed by its transport, so that clients come back elsewhere; then the
    /// listeners. Takes at most `server.stop_ms`.
    pub async fn stop(self) {
        let stop = async {
            self.endpoint.stopping.store(true, Ordering::Relaxed);
            for handle in &self.handles {
                handle.pause().await;
            }
            // Again and again: a handshake that was under way may enter the table behind the first look.
            while !self.endpoint.sessions.is_empty() {
                for mailbox in self.endpoint.sessions.mailboxes() {
                    mailbox.send_always(SessionMessage::Abort(CloseReason::Stop));
                }
                sleep(STOP_POLL).await;
            }
            for handle in &self.handles {
                handle.stop(true).await;
            }
        };
        let begun = Instant::now();
        if timeout(self.stop_timeout, stop).await.is_err() {
            let (left, ms) = (self.endpoint.sessions.len(), begun.elapsed().as_millis());
            log::warn!("after {ms} ms, {left} sessions or the requests of some clients were still open");
        }
    }
}

/// What is counted outside the metrics.
fn elsewhere(gate: &Arc<Gate>) -> Elsewhere {
    let (inflight, waiting) = (gate.clone(), gate.clone());
    Elsewhere {
        log_lines_lost: logging::lines_lost,
        max_inflight: Box::new(move || inflight.inflight()),
        max_waiting: Box::new(move || waiting.waiting()),
    }
}

/// The endpoint of the written protocol.
fn endpoint(config: &Config, new_application: Box<NewApplication>, metrics: Arc<Metrics>) -> Endpoint {
    let (protocol, legacy) = (&config.protocol, &config.legacy);
    Endpoint {
        path: protocol.path.clone(),
        generations: protocol.generations.iter().filter_map(|name| Generation::parse(name)).collect(),
        jsonp: protocol.jsonp,
        periods: Arc::new(Periods {
            ping_interval: Duration::from_millis(protocol.ping_interval_ms),
            ping_timeout: Duration::from_millis(protocol.ping_timeout_ms),
            upgrade_timeout: Duration::from_millis(protocol.upgrade_timeout_ms),
            last_poll_timeout: Duration::from_millis(protocol.close_timeout_ms),
            legacy: LegacyPeriods {
                heartbeat_interval: Duration::from_millis(legacy.heartbeat_interval_ms),
                heartbeat_timeout: Duration::from_millis(legacy.heartbeat_timeout_ms),
                polling_duration: Duration::from_millis(legacy.polling_duration_ms),
                close_timeout: Duration::from_millis(legacy.close_timeout_ms),
                handshake_timeout: Duration::from_millis(legacy.handshake_timeout_ms),
            },
        }),
        request_timeout: Duration::from_millis(config.server.request_timeout_ms),
        payload_bytes_max: protocol.payload_bytes_max,
        mailbox_max: config.mailbox.session,
        outbox: Bounds { messages_max: config.outbox.messages_max, bytes_max: config.outbox.bytes_max },
        send_buffer_bytes: config.server.send_buffer_bytes,
        new_application,
        sessions: Arc::new(Sessions::default()),
        metrics,
        stopping: AtomicBool::new(false),
        next_session: AtomicU64::new(1),
    }
}

/// What the workers of the clients' listener are made of.
pub struct Serving {
    /// The Engine.IO endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Where workers enter themselves.
    pub arbiters: Arbiters,
    /// The demo, where there is one.
    pub demo: Option<Arc<DemoMax>>,
}

impl Serving {
    /// Starts the workers on `listener`.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn start(self, listener: TcpListener, config: &Config) -> Result<ServerHandle, Error> {
        let builder =
            actix_server::Server::build().disable_signals().shutdown_timeout(config.server.stop_ms.div_ceil(1000));
        let builder = match config.server.workers {
            0 => builder,
            workers => builder.workers(workers),
        };
        let draining = builder.graceful_shutdown_signal();
        let Self { endpoint, arbiters, demo } = self;
        let namespace: Arc<str> = config.protocol.namespace.as_str().into();
        let request_timeout = Duration::from_millis(config.server.request_timeout_ms);
        let keep_alive = Duration::from_millis(config.server.keep_alive_ms);
        let server = builder.listen("clients", listener, move || {
            arbiters.enter_current();
            let edge = Edge { endpoint: endpoint.clone(), worker: Worker::new() };
            let draining = draining.clone();
            HttpService::build()
                .tcp_nodelay(true)
                .client_request_timeout(request_timeout)
                .keep_alive(keep_alive)
                // A client that has closed its side reads no answer: its poll is dropped, and its session hears of it.
                .h1_allow_half_closed(false)
                .graceful_shutdown_signal(move || {
                    let draining = draining.clone();
                    async move { draining.notified().await }
                })
                .upgrade({
                    let edge = edge.clone();
                    fn_service(move |asked| upgrade(edge.clone(), asked))
                })
                .finish(map_config(app(edge, demo.clone(), namespace.clone()), |_| AppConfig::default()))
                .tcp()
        })?;
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(handle)
    }
}

/// Everything that is served by HTTP/1 requests.
fn app(
    edge: Edge,
    demo: Option<Arc<DemoMax>>,
    namespace: Arc<str>,
) -> impl actix_service::ServiceFactory<
    actix_http::Request,
    Config = AppConfig,
    Response = actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>,
    Error = actix_http::Response<actix_http::body::BoxBody>,
    InitError = (),
> {
    let path = edge.endpoint.path.trim_end_matches('/').to_owned();
    let (engine_io, legacy) = (edge.clone(), edge.clone());
    let engine_io = move |request, payload| polling::serve(request, payload, engine_io.clone());
    let legacy = move |request, payload| legacy::serve(request, payload, legacy.clone());
    let app = App::new()
        .wrap(from_fn(every_answer))
        .service(web::resource([path.clone(), format!("{path}/")]).route(web::route().to(engine_io)))
        .service(web::resource(format!("{path}/{{client}}.js")).route(web::route().to(pages::no_client)))
        .service(web::resource(format!("{path}/{{below:.*}}")).route(web::route().to(legacy)))
        .configure(|config| {
            if let Some(demo) = demo {
                config.configure(demo.routes());
            }
        })
        .configure(pages::routes(&edge.endpoint.path, &namespace))
        .default_service(web::to(|| async { HttpResponse::NotFound().body("There is nothing here.\n") }));
    app.into_factory().map_err(|error: actix_web::Error| error.error_response().into())
}

fn listen(addr: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        // A server that is started anew gets its port although connections of the old one linger.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind().map_err(|cause| Error::Listen { addr, setting, cause })
}
