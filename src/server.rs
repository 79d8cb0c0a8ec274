//! Composition: from the configuration to a registry and listeners; the start and the stop.
//!
//! * `files`: open files, and how many are left for clients.
//! * `signals`: when to stop.

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use actix_http::Request;
use actix_service::{IntoServiceFactory, ServiceExt as _, ServiceFactory, boxed};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse};
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::actors::conversation::ConversationSettings;
use crate::actors::departures;
use crate::actors::event_rates::RatesMax;
use crate::actors::namespace::{MaxNamespaces, MaxSettings};
use crate::actors::registry::{Arbiters, RegistryActor, RegistryBounds, RegistryEnd};
use crate::actors::session::SessionMessage;
use crate::actors::socketio::{SocketIoSession, SocketIoSettings};
use crate::config::{self, Config};
use crate::delivery::outbox::Bounds;
use crate::delivery::worker::{SessionLimits, Worker};
use crate::directory::demo::DemoMax;
use crate::directory::max::{Gate, MaxDirectory, Target, Tokenless};
use crate::event::CloseReason;
use crate::http::admin::{self, Admin};
use crate::http::answers::every_answer;
use crate::http::connection::{AppService, Deadlines, Service, Upgrade};
use crate::http::endpoint::{Edge, Endpoint, NewApplication};
use crate::http::listener::{self, CLIENTS, Listener, OPERATORS};
use crate::http::sessions::Sessions;
use crate::http::{demo, legacy, pages, polling};
use crate::ids::Ids;
use crate::limits::bucket::Rate;
use crate::limits::clients::{Bounds as ClientBounds, Clients};
use crate::limits::memory::Memory;
use crate::limits::meter::Allowance;
use crate::limits::proxies::TrustedProxies;
use crate::logging;
use crate::metrics::{ActorClass, Metrics, ReadAtScrape};
use crate::protocol::Generation;
use crate::protocol::connection::{LegacyPeriods, Periods};

mod files;
mod signals;

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
    /// Too few files may be open.
    #[error("cannot start: {0}")]
    Files(String),
    /// The system does not give what a server needs.
    #[error("cannot start {what}: {cause}")]
    Start {
        /// What could not be started.
        what: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// A part has failed without which there is no serving.
    #[error("{0}")]
    Failed(String),
}

/// Runs the service until it is told to stop by SIGTERM or SIGINT. `last_words` is called where the process has to end
/// before this returns.
///
/// # Errors
/// It cannot start, or a part of it has failed.
pub fn run(config: Config, last_words: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    // Before anything else: a signal that comes while the server starts is not lost.
    let stop_timeout = Duration::from_millis(config.server.stop_ms);
    let mut stop = signals::listen(stop_timeout, last_words)
        .map_err(|cause| Error::Start { what: "the thread that hears signals", cause })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::Start { what: "the runtime", cause })?;
    // The process ends behind this. The drop of a runtime would wait for its resolver, which may hang.
    let system = ManuallyDrop::new(actix_rt::System::with_tokio_rt(|| runtime));
    system.block_on(async {
        let mut server = Server::start(config)?;
        server.announce();
        let name = tokio::select! {
            told = stop.wait_for(Option::is_some) => told.ok().and_then(|name| *name).unwrap_or("a signal"),
            // Better to be started again than to be there and serve nobody.
            why = server.failed() => return Err(Error::Failed(why)),
        };
        log::info!("{name}: stopping");
        server.stop().await;
        log::info!("stopped");
        Ok(())
    })
}

/// Raises the soft limit on open files to the hard one: every connection is one, and the usual soft limit is 1024.
pub fn raise_file_limit() {
    files::limit();
}

/// Whether a server could be started with this configuration, as far as that can be said without doing it: the files
/// that it names are read, no address is listened on, and MAX is not asked.
///
/// # Errors
/// What the start would say.
pub fn check(config: &Config) -> Result<(), Error> {
    check_path(config)?;
    if let Some(target) = Target::configured(&config.max).map_err(Error::Max)? {
        let gate = Arc::new(Gate::new(&config.max));
        MaxDirectory::new(&config.max, target, config.limits.id_bytes_max, gate).map_err(Error::Max)?;
    }
    Ok(())
}

/// Asks the MAX of the configuration, and says what it is; none where the demo is asked.
///
/// # Errors
/// It does not answer, or not as the settings need it.
pub fn check_max(config: &Config) -> Result<Option<String>, Error> {
    let Some(target) = Target::configured(&config.max).map_err(Error::Max)? else { return Ok(None) };
    let probe = actix_rt::System::new().block_on(async {
        let gate = Arc::new(Gate::new(&config.max));
        let directory = MaxDirectory::new(&config.max, target, config.limits.id_bytes_max, gate).map_err(Error::Max)?;
        Ok::<_, Error>(directory.probe().await)
    })?;
    if probe.is_good() { Ok(Some(probe.to_string())) } else { Err(Error::Max(probe.to_string())) }
}

fn check_path(config: &Config) -> Result<(), Error> {
    if pages::takes(&config.protocol.path) { Err(Error::Path(config.describe("protocol.path"))) } else { Ok(()) }
}

/// A running service.
pub struct Server {
    clients: Listener,
    operators: Option<Listener>,
    endpoint: Arc<Endpoint>,
    registry_end: RegistryEnd,
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    /// The MAX of the configuration, where that is not the demo.
    max: Option<MaxDirectory>,
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
        let workers = worker_count(&config);
        let connections_max = files::for_clients(files::limit(), &config, workers).map_err(Error::Files)?;
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
        let directory = MaxDirectory::new(&config.max, target, config.limits.id_bytes_max, gate).map_err(Error::Max)?;
        let max = config.max.url.is_some().then(|| directory.clone());
        let arbiters = Arbiters::default();
        let ids = Ids::from_system()
            .map_err(|cause| Error::Start { what: "the source of session ids", cause: cause.into() })?;
        let namespace: Arc<str> = config.protocol.namespace.as_str().into();
        let commons = Arc::new(ConversationSettings {
            namespace: namespace.clone(),
            presence_members_max: config.conversation.presence_members_max,
            burst_max: config.conversation.burst_max,
            linger: Duration::from_millis(config.conversation.linger_ms),
            mailbox_max: config.mailbox.conversation,
            metrics: metrics.clone(),
        });
        let answer_timeout = Duration::from_millis(config.session.answer_ms);
        let bounds = RegistryBounds {
            joins_max: config.mailbox.registry,
            answer_timeout,
            sessions_per_user_max: config.session.per_user_max,
        };
        let (registry, registry_end) = RegistryActor::launch(Rc::new(directory), commons, arbiters.clone(), bounds);
        let settings = MaxSettings {
            registry,
            id_bytes_max: config.limits.id_bytes_max,
            pending_max: config.session.pending_max,
            talks_max: config.session.talks_max,
            answer_timeout,
            doubt: Duration::from_millis(config.session.doubt_ms),
            metrics: metrics.clone(),
        };
        let residents = Arc::new(MaxNamespaces::new(namespace, settings));
        let settings = Arc::new(SocketIoSettings {
            residents,
            ids: ids.clone(),
            rates: rates(&config.session),
            payload_bytes_max: config.protocol.payload_bytes_max,
            connect_timeout: Duration::from_millis(config.protocol.connect_timeout_ms),
            metrics: metrics.clone(),
        });
        let new_application: Box<NewApplication> = Box::new(move |session, peer, outbox, slot| {
            Box::new(SocketIoSession::new(settings.clone(), session, peer, outbox.clone(), slot))
        });
        let clients =
            Clients::new(client_bounds(&config, connections_max), Memory::new(config.limits.memory_bytes_max));
        let endpoint = Arc::new(endpoint(&config, new_application, ids, clients, metrics.clone()));
        // Bound before the first client is taken in, so that nobody hears of a server that then ends.
        let operators = config.metrics.listen.map(|wanted| listen(wanted, "metrics.listen")).transpose()?;
        let serving = ClientWorkers { endpoint: endpoint.clone(), arbiters, demo: demo.clone() };
        let clients = serving.start(listener, &config)?;
        let metrics_addr = operators.as_ref().map(|(_, addr)| *addr);
        let operators = operators.map(|(listener, _)| serve_operators(listener, &config, &endpoint)).transpose()?;
        let stop_timeout = Duration::from_millis(config.server.stop_ms);
        Ok(Self { clients, operators, endpoint, registry_end, addr, metrics_addr, max, demo, tokenless, stop_timeout })
    }

    /// Resolves when the server can serve nobody any more, with what has failed.
    pub async fn failed(&mut self) -> String {
        let operators = async {
            match &mut self.operators {
                Some(operators) => operators.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.registry_end.wait() => "the registry of conversations has failed".to_owned(),
            why = self.clients.failed() => why,
            why = operators => why,
        }
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
        if let Some(max) = &self.max {
            // Nobody waits for that: a MAX that is away comes back.
            let probe = max.probe();
            actix_rt::spawn(async move { probe.await.log() });
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
        let listeners = || std::iter::once(&self.clients).chain(&self.operators);
        let stop = async {
            self.endpoint.stopping.store(true, Ordering::Relaxed);
            listeners().for_each(Listener::begin_stop);
            // Again and again: a handshake that was under way may enter the table behind the first look.
            while !self.endpoint.sessions.is_empty() {
                for mailbox in self.endpoint.sessions.mailboxes() {
                    mailbox.send_always(SessionMessage::Abort(CloseReason::Stop));
                }
                sleep(STOP_POLL).await;
            }
            while listeners().any(|listener| listener.connections() > 0) {
                sleep(STOP_POLL).await;
            }
        };
        let begun = Instant::now();
        if timeout(self.stop_timeout, stop).await.is_err() {
            let (sessions, ms) = (self.endpoint.sessions.len(), begun.elapsed().as_millis());
            let connections: usize = listeners().map(Listener::connections).sum();
            log::warn!("after {ms} ms, {sessions} sessions and {connections} connections were still open");
        }
    }
}

/// How many threads serve clients.
fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

fn client_bounds(config: &Config, connections_max: usize) -> ClientBounds {
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

fn deadlines(config: &Config) -> Deadlines {
    Deadlines {
        request: Duration::from_millis(config.server.request_timeout_ms),
        keep_alive: Duration::from_millis(config.server.keep_alive_ms),
        write: Duration::from_millis(config.server.write_timeout_ms),
    }
}

/// How fast a session may send events.
fn rates(settings: &config::Session) -> RatesMax {
    RatesMax {
        events: Rate { per_second: settings.events_per_second_max, burst: settings.events_burst_max },
        bytes: Rate { per_second: settings.bytes_per_second_max, burst: settings.bytes_burst_max },
    }
}

/// What is counted outside the metrics.
fn elsewhere(gate: &Arc<Gate>) -> ReadAtScrape {
    let (inflight, limit, waiting) = (gate.clone(), gate.clone(), gate.clone());
    ReadAtScrape {
        log_lines_lost: logging::lines_lost,
        max_inflight: Box::new(move || inflight.inflight()),
        max_inflight_limit: Box::new(move || limit.limit()),
        max_waiting: Box::new(move || waiting.waiting()),
    }
}

/// The endpoint of the written protocol.
fn endpoint(
    config: &Config,
    new_application: Box<NewApplication>,
    ids: Ids,
    clients: Arc<Clients>,
    metrics: Arc<Metrics>,
) -> Endpoint {
    let (protocol, legacy) = (&config.protocol, &config.legacy);
    Endpoint {
        path: protocol.path.clone(),
        generations: protocol.generations.iter().filter_map(|name| Generation::parse(name)).collect(),
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
        ids,
        trusted_proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
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
pub struct ClientWorkers {
    /// The Engine.IO endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Where workers enter themselves.
    pub arbiters: Arbiters,
    /// The demo, where there is one.
    pub demo: Option<Arc<DemoMax>>,
}

/// What holds for every session.
fn terms(config: &Config) -> SessionLimits {
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

impl ClientWorkers {
    /// Starts the workers, and then takes connections in on `listener`.
    ///
    /// # Errors
    /// The system does not give what that needs.
    pub fn start(self, listener: TcpListener, config: &Config) -> Result<Listener, Error> {
        let Self { endpoint, arbiters, demo } = self;
        let (clients, metrics) = (endpoint.clients.clone(), endpoint.metrics.clone());
        let namespace: Arc<str> = config.protocol.namespace.as_str().into();
        let (deadlines, head_bytes_max) = (deadlines(config), config.server.head_bytes_max);
        let terms = terms(config);
        // A client that is out of reach for a while has as long as its heartbeat allows.
        let (protocol, legacy) = (&config.protocol, &config.legacy);
        let heartbeat_ms = (protocol.ping_interval_ms + protocol.ping_timeout_ms)
            .max(legacy.heartbeat_interval_ms + legacy.heartbeat_timeout_ms);
        let user_timeout = deadlines.write.max(Duration::from_millis(heartbeat_ms));
        let new_service = move |stopping: watch::Receiver<bool>| {
            arbiters.enter_current();
            departures::start();
            let edge = Edge { endpoint: endpoint.clone(), worker: Worker::new(terms) };
            let app = app(edge.clone(), demo.clone(), namespace.clone());
            let (clients, metrics) = (edge.endpoint.clients.clone(), edge.endpoint.metrics.clone());
            let upgrade: Option<Box<dyn Upgrade>> = Some(Box::new(edge));
            Box::pin(async move {
                let app = app_service(app).await?;
                Some(Service {
                    listener: CLIENTS,
                    app,
                    upgrade,
                    deadlines,
                    head_bytes_max,
                    clients,
                    newcomers: Rc::default(),
                    metrics,
                    stopping,
                })
            }) as Pin<Box<dyn Future<Output = _>>>
        };
        let setup = listener::ListenerParts {
            name: CLIENTS,
            socket: listener,
            workers: worker_count(config),
            new_service: Arc::new(new_service),
            clients,
            user_timeout,
            metrics,
        };
        Listener::start(setup).map_err(|cause| Error::Start { what: "the workers for clients", cause })
    }
}

/// What operators look at, on a thread of its own: it answers whatever clients do.
fn serve_operators(listener: TcpListener, config: &Config, endpoint: &Arc<Endpoint>) -> Result<Listener, Error> {
    let metrics = endpoint.metrics.clone();
    let admin = Data::new(Admin { metrics: metrics.clone(), sessions: endpoint.sessions.clone() });
    let clients = Clients::new(ClientBounds::connections_only(files::ADMIN_CONNECTIONS_MAX), Memory::UNLIMITED);
    let (deadlines, head_bytes_max) = (deadlines(config), config.server.head_bytes_max);
    let new_service = {
        let (clients, metrics) = (clients.clone(), metrics.clone());
        move |stopping: watch::Receiver<bool>| {
            let app = App::new().configure(admin::routes(admin.clone()));
            let (clients, metrics) = (clients.clone(), metrics.clone());
            Box::pin(async move {
                let app = app_service(app).await?;
                Some(Service {
                    listener: OPERATORS,
                    app,
                    upgrade: None,
                    deadlines,
                    head_bytes_max,
                    clients,
                    newcomers: Rc::default(),
                    metrics,
                    stopping,
                })
            }) as Pin<Box<dyn Future<Output = _>>>
        }
    };
    let setup = listener::ListenerParts {
        name: OPERATORS,
        socket: listener,
        workers: 1,
        new_service: Arc::new(new_service),
        clients,
        user_timeout: deadlines.write,
        metrics,
    };
    Listener::start(setup).map_err(|cause| Error::Start { what: "the worker for operators", cause })
}

/// An `App` on this thread, ready to answer; none where one of its services cannot be made.
async fn app_service<F, A, B>(app: A) -> Option<AppService>
where
    A: IntoServiceFactory<F, Request>,
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = actix_web::Error>,
    F::Service: 'static,
    B: MessageBody + 'static,
{
    let service = app.into_factory().new_service(AppConfig::default()).await.ok()?;
    Some(boxed::service(service.map(ServiceResponse::map_into_boxed_body)))
}

/// Everything that is served by HTTP/1 requests.
fn app(
    edge: Edge,
    demo: Option<Arc<DemoMax>>,
    namespace: Arc<str>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let path = edge.endpoint.path.trim_end_matches('/').to_owned();
    let (engine_io, legacy) = (edge.clone(), edge.clone());
    let engine_io = move |request, payload| polling::serve(request, payload, engine_io.clone());
    let legacy = move |request, payload| legacy::serve(request, payload, legacy.clone());
    App::new()
        .wrap(from_fn(every_answer))
        .service(web::resource([path.clone(), format!("{path}/")]).route(web::route().to(engine_io)))
        .service(web::resource(format!("{path}/{{client}}.js")).route(web::route().to(pages::no_client)))
        .service(web::resource(format!("{path}/{{below:.*}}")).route(web::route().to(legacy)))
        .configure(|config| {
            if let Some(demo) = demo {
                config.configure(demo::routes(&demo));
            }
        })
        .configure(pages::routes(&edge.endpoint.path, &namespace))
        .default_service(web::to(|| async { HttpResponse::NotFound().body("There is nothing here.\n") }))
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
