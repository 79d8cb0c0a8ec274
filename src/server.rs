//! Composes the registry and the listeners from the configuration, starts them, and stops them.
//!
//! * `drain`: closes the sessions, spread over a time, before the stop.
//! * `settings`: from the configuration to the settings of each part.
//! * [`listeners`]: the listeners for clients and for operators.
//! * [`cluster`], [`feed`]: the bus to other nodes; what MAX announces.
//! * `files`: open files, and how many are left for clients.
//! * `live`: the limits that an operator may turn while the server runs.
//! * `operators`: the live connections of dashboards.
//! * `signals`: the signals that tell the process to stop.
//! * `watch`: how late each thread wakes, and how busy it is.

use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use crate::actors::application::Application;
use crate::actors::conversation::Board;
use crate::actors::namespace::{MaxNamespaces, MaxSettings};
use crate::actors::recovery::Recovery;
use crate::actors::registry::{Arbiters, RegistryActor, RegistryBounds, RegistryEnd};
use crate::actors::socketio::{Comeback, SocketIoSession, SocketIoSettings};
use crate::admin::state::{Boards, Facts};
use crate::board::sessions::SessionBoard;
use crate::cluster::bus::{Bus, StartError as ClusterError};
use crate::config::cost::{Cost, Size};
use crate::config::{Config, LiveConfig};
use crate::delivery::outbox::Outbox;
use crate::directory::Directory;
use crate::directory::demo::DemoMax;
use crate::directory::max::{Gate, MaxDirectory, Probe, Target, Tokenless, TrustError};
use crate::feed::service::Feed;
use crate::http::endpoint::{Endpoint, NewApplication};
use crate::http::listener::{Listener, ListenerError};
use crate::http::pages;
use crate::ids::Ids;
use crate::limits::clients::Clients;
use crate::limits::machine::Machine;
use crate::limits::memory::Memory;
use crate::metrics::{Metrics, ReadAtScrape, WorkerName};
use crate::stage::{Drain, Stage};
use crate::version;

pub mod cluster;
mod drain;
pub mod feed;
mod files;
mod listeners;
mod live;
mod operators;
mod settings;
mod signals;
mod watch;

pub use listeners::ClientWorkers;
use live::LiveParts;

/// The pause between two looks at the sessions and connections that are left during a stop.
const STOP_POLL: Duration = Duration::from_millis(10);

/// An error that keeps the server from starting, or that ends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr} ({setting}): {cause}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The setting that it comes from.
        setting: &'static str,
        /// The error of the system.
        cause: io::Error,
    },
    /// The endpoint has a path of the demo.
    #[error("{setting}: the demo and its pages are there; allowed: another path")]
    Path {
        /// `protocol.path` with value and source.
        setting: String,
    },
    /// There are no certificates to judge MAX by.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// MAX does not answer, or its answer does not fit the settings.
    #[error("{0}")]
    Max(Probe),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// Too few files may be open.
    #[error(
        "cannot start: the limit on open files is {limit}, but {workers} workers and {calls} calls to MAX need at \
         least {needed}: raise it (ulimit -n, or LimitNOFILE of systemd)"
    )]
    Files {
        /// The limit of the process.
        limit: u64,
        /// The smallest limit with which the server starts.
        needed: u64,
        /// Worker threads.
        workers: usize,
        /// Calls to MAX at the same time.
        calls: usize,
    },
    /// The system refuses a thread or another resource.
    #[error("cannot start {what}: {cause}")]
    Start {
        /// The part that could not be started.
        what: &'static str,
        /// The error of the system.
        cause: io::Error,
    },
    /// The bus to the other nodes cannot be started.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The registry has failed.
    #[error("the registry of conversations has failed")]
    Registry,
    /// A listener has failed.
    #[error(transparent)]
    Listener(#[from] ListenerError),
}

/// Runs the server until SIGTERM, SIGINT or a call makes it drain and stop. `greet` gets the first lines for somebody
/// at a terminal, once the server listens. `last_words` is called if the process has to exit before this function
/// returns.
///
/// # Errors
/// The server cannot start, or a part of it has failed.
pub fn run(config: Config, greet: impl FnOnce(&str), last_words: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let machine = Machine::read();
    let cost = Cost::of(&config, Size::of(&config, &machine, None, None), &machine);
    let drain = Drain::new(Duration::from_millis(config.server.drain_ms));
    let stop_timeout = Duration::from_millis(config.server.stop_ms);
    // Before the server starts, so that no signal is lost that comes in the meantime.
    signals::listen(drain.clone(), stop_timeout, last_words)
        .map_err(|cause| Error::Start { what: "the thread that hears signals", cause })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::Start { what: "the runtime", cause })?;
    // Not dropped: the drop of a runtime would wait for its resolver, which may hang. The process ends after this.
    let system = ManuallyDrop::new(actix_rt::System::with_tokio_rt(|| runtime));
    system.block_on(async {
        let server = Server::start(config, drain)?;
        greet(&server.greeting());
        server.announce(&cost);
        server.serve().await?;
        log::info!("stopped");
        Ok(())
    })
}

/// Checks whether a server could start with this configuration, without starting one. Files that the configuration
/// names are read. No address is listened on, the limit on open files is not checked, and MAX is not asked.
///
/// # Errors
/// The error that the start would return.
pub fn check(config: &Config) -> Result<(), Error> {
    check_path(config)?;
    cluster::check_settings(config)?;
    if let Some(target) = Target::configured(&config.max) {
        let gate = Arc::new(Gate::new(&config.max, &Metrics::new(&[], ReadAtScrape::default())));
        MaxDirectory::new(&config.max, target, config.limits.id_bytes_max, gate)?;
    }
    Ok(())
}

/// Asks the MAX of the configuration. Returns a description of it, or `None` if the configuration uses the demo MAX.
///
/// # Errors
/// MAX does not answer, or its answer does not fit the settings.
pub fn check_max(config: &Config) -> Result<Option<String>, Error> {
    let Some(target) = Target::configured(&config.max) else { return Ok(None) };
    let probe = actix_rt::System::new().block_on(async {
        let gate = Arc::new(Gate::new(&config.max, &Metrics::new(&[], ReadAtScrape::default())));
        let directory = MaxDirectory::new(&config.max, target, config.limits.id_bytes_max, gate)?;
        Ok::<_, Error>(directory.probe().await)
    })?;
    if probe.is_good() { Ok(Some(probe.to_string())) } else { Err(Error::Max(probe)) }
}

/// Returns the address at which somebody on this machine reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), listener.port()),
        _ => listener,
    }
}

fn check_path(config: &Config) -> Result<(), Error> {
    if pages::takes(&config.protocol.path) {
        return Err(Error::Path { setting: config.describe("protocol.path") });
    }
    Ok(())
}

/// A running server.
pub struct Server {
    clients: Listener,
    operators: Option<Listener>,
    endpoint: Arc<Endpoint>,
    drain: Drain,
    registry_end: RegistryEnd,
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    max: MaxDirectory,
    demo: Option<Arc<DemoMax>>,
    /// `None` if this process is alone.
    bus: Option<Arc<Bus>>,
    feed: Option<Arc<Feed>>,
    recovery: Option<Arc<Recovery<Comeback>>>,
    bye_grace: Duration,
    has_pages: bool,
    tokenless: Tokenless,
    stop_timeout: Duration,
}

impl Server {
    /// Starts the server on threads of its own. Its registry lives on this thread, which has to run an actix system.
    /// The server stops when `drain` begins and [`Self::serve`] runs.
    ///
    /// # Errors
    /// See [`Error`]. MAX is not asked yet.
    pub fn start(config: Config, drain: Drain) -> Result<Self, Error> {
        check_path(&config)?;
        let began = (Instant::now().into_std(), SystemTime::now());
        let (workers, files_max) = (settings::worker_count(&config), files::limit());
        let connections_max = files::for_clients(files_max, &config, workers)?;
        let (listener, addr) = listeners::listen(config.server.listen, "server.listen")?;
        let metrics = settings::metrics(&config, drain.stage());
        let gate = Arc::new(Gate::new(&config.max, &metrics));
        let ids = Ids::from_system()?;
        let (target, demo) = match Target::configured(&config.max) {
            Some(target) => (target, None),
            None => {
                let demo = DemoMax::new(&config.demo, &ids);
                (demo.target(addr), Some(demo))
            }
        };
        let tokenless = target.tokenless;
        let directory = MaxDirectory::new(&config.max, target, config.limits.id_bytes_max, gate.clone())?;
        let max = directory.clone();
        let arbiters = Arbiters::default();
        watch::watch(&metrics, WorkerName::Registry);
        let boards = Boards { sessions: SessionBoard::new(began.0), conversations: Board::new(began.0) };
        let facts = Facts { began, workers, files_max, connections_max };
        let clients = Clients::new(
            settings::client_bounds(&config, connections_max),
            Memory::new(config.limits.memory_bytes_max),
        );
        let (tags, bus) = cluster::start(&config, &ids, &clients, &metrics)?;
        let feed = feed::start(&config, &boards, &metrics, bus.as_ref())?;
        let live = LiveParts::new(&config, &boards, &facts, gate, &metrics, (bus.as_ref(), feed.as_ref()));
        let recovery = settings::recovery(&config, tags.own(), &ids, bus.as_ref(), &metrics);
        let (new_application, registry_end) =
            application(&config, Rc::new(directory), &arbiters, &ids, &boards.sessions, &live, recovery.clone());
        let (board, stage) = (boards.sessions.clone(), drain.stage().clone());
        let ids = (ids, tags);
        let endpoint = settings::endpoint(&config, new_application, ids, clients, board, &live, stage);
        let endpoint = Arc::new(endpoint);
        let sessions = endpoint.sessions.clone();
        drain.count_sessions(move || sessions.len());
        // Bound before the first client is accepted, so that no client connects to a server whose start then fails.
        let operators = config.admin.listen.map(|wanted| listeners::listen(wanted, "admin.listen")).transpose()?;
        let admin_addr = operators.as_ref().map(|(_, addr)| *addr);
        let parts = settings::AdminParts { boards, facts, bus: bus.clone(), feed: feed.clone() };
        let admin = settings::admin(LiveConfig::new(config.clone(), live), &endpoint, parts, &drain);
        let operators =
            operators.map(|(listener, _)| listeners::serve_operators(listener, &config, admin)).transpose()?;
        let clients =
            ClientWorkers { endpoint: endpoint.clone(), arbiters, demo: demo.clone() }.start(listener, &config)?;
        endpoint.stage.advance(Stage::Serving);
        Ok(Self {
            clients,
            operators,
            endpoint,
            drain,
            registry_end,
            addr,
            admin_addr,
            max,
            demo,
            bus,
            feed,
            recovery,
            bye_grace: Duration::from_millis(config.cluster.bye_grace_ms),
            has_pages: config.pages.enabled,
            tokenless,
            stop_timeout: Duration::from_millis(config.server.stop_ms),
        })
    }

    /// Resolves with the cause when the server has failed.
    async fn failed(&mut self) -> Error {
        let operators = async {
            match &mut self.operators {
                Some(operators) => operators.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.registry_end.wait() => Error::Registry,
            error = self.clients.failed() => error.into(),
            error = operators => error.into(),
        }
    }

    /// Returns the address that clients connect to. If the configuration has port 0, the system has chosen the port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address that operators connect to; `None` if there is none.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Returns two lines for somebody at a terminal: the address to open, and how to stop the server.
    fn greeting(&self) -> String {
        let here = reachable(self.addr);
        let open = match (self.has_pages, self.demo.is_some()) {
            (true, true) => format!("open http://{here}/ in two windows"),
            (true, false) => format!("open http://{here}/inspect to try it"),
            (false, _) => format!("clients connect to http://{here}"),
        };
        let dashboard = self.admin_addr.map(|admin| format!("; the dashboard is at http://{}/", reachable(admin)));
        format!("maxtalk {} runs: {open}{}\nCtrl-C stops it.\n", version::VERSION, dashboard.unwrap_or_default())
    }

    /// Logs the addresses of the server, and warnings about risky settings. Begins to watch whether MAX answers.
    fn announce(&self, cost: &Cost) {
        let addr = self.addr;
        log::info!("maxtalk {} listening on http://{addr}", version::VERSION);
        if let Some(admin) = self.admin_addr {
            log::info!("admin listener on http://{admin}/");
        }
        // The start does not wait for MAX, which may be down for a while.
        actix_rt::spawn(self.max.clone().watch(self.demo.is_none()));
        let (is_short, line) = cost.line();
        // The demo is for a first look.
        let is_warning = is_short && self.demo.is_none();
        log::log!(if is_warning { log::Level::Warn } else { log::Level::Info }, "{line}");
        match self.tokenless {
            Tokenless::Always => {
                log::warn!("max.tokenless_joins is on: whoever can connect can join as anybody and hear what they hear")
            }
            Tokenless::FromLoopback | Tokenless::Never => {}
        }
        if self.demo.is_some() {
            let open = format!("open http://{}/ in two windows", reachable(addr));
            let page = if self.has_pages { open.as_str() } else { "its page is off (pages.enabled)" };
            log::info!("no max.url is set: the embedded demo MAX answers; {page}");
            if !addr.ip().is_loopback() {
                log::warn!("the demo MAX gives its tokens to whoever can reach {addr}: set max.url for a real one");
            }
        }
    }

    /// Serves until the drain has begun and its time is over, and then stops.
    ///
    /// # Errors
    /// A part of the server has failed.
    pub async fn serve(mut self) -> Result<(), Error> {
        let (drain, sessions) = (self.drain.clone(), self.endpoint.sessions.clone());
        let bye = cluster::say_bye(self.bus.clone(), drain.clone(), self.bye_grace);
        let (begun, recovery) = (drain.clone(), self.recovery.clone());
        let end_kept = async {
            begun.until_begun().await;
            if let Some(recovery) = recovery {
                recovery.end();
            }
        };
        tokio::select! {
            ((), (), ()) = async { tokio::join!(drain::run(drain, &sessions), bye, end_kept) } => {}
            // The supervisor restarts the process, which is better than a process that serves nobody.
            error = self.failed() => return Err(error),
        }
        self.stop().await;
        Ok(())
    }

    /// Stops the server within `server.stop_ms`. It accepts no more connections, ends every session by closing its
    /// transport, so that clients reconnect elsewhere, and waits until all connections are closed.
    async fn stop(self) {
        let listeners = || std::iter::once(&self.clients).chain(&self.operators);
        let stop = async {
            listeners().for_each(Listener::begin_stop);
            let is_idle = || listeners().all(|listener| listener.connections() == 0);
            let end = async || {
                while !(self.endpoint.sessions.is_empty() && is_idle()) {
                    sleep(STOP_POLL).await;
                }
            };
            loop {
                drain::close_all(&self.endpoint.sessions).await;
                // A handshake that is under way may enter its session after the first look.
                if timeout(drain::LOOK, end()).await.is_ok() {
                    break;
                }
            }
        };
        let begun = Instant::now();
        if timeout(self.stop_timeout, stop).await.is_err() {
            let (sessions, ms) = (self.endpoint.sessions.len(), begun.elapsed().as_millis());
            let connections: usize = listeners().map(Listener::connections).sum();
            log::warn!("after {ms} ms, {sessions} sessions and {connections} connections were still open");
        }
        tokio::join!(cluster::stop(self.bus), feed::stop(self.feed));
    }
}

/// Starts the registry on this thread. Returns the function that creates the application of each session, and the end
/// of the registry.
fn application(
    config: &Config,
    directory: Rc<dyn Directory>,
    arbiters: &Arbiters,
    ids: &Ids,
    board: &Arc<SessionBoard>,
    live: &LiveParts,
    recovery: Option<Arc<Recovery<Comeback>>>,
) -> (Box<NewApplication>, RegistryEnd) {
    let conversations = &live.conversations;
    let (namespace, metrics) = (conversations.namespace.clone(), &conversations.metrics);
    let answer_timeout = Duration::from_millis(config.session.answer_ms);
    let bounds = RegistryBounds { answer_timeout, sessions_per_user_max: config.session.per_user_max };
    let (registry, registry_end) =
        RegistryActor::launch(directory, conversations.clone(), arbiters.clone(), board.clone(), bounds);
    let settings = MaxSettings {
        registry,
        id_bytes_max: config.limits.id_bytes_max,
        pending_max: live.pending_max.clone(),
        talks_max: config.session.talks_max,
        answer_timeout,
        doubt: Duration::from_millis(config.session.doubt_ms),
        metrics: metrics.clone(),
    };
    let settings = Arc::new(SocketIoSettings {
        namespaces: Arc::new(MaxNamespaces::new(namespace, settings)),
        ids: ids.clone(),
        rates: settings::rates(&config.session),
        payload_bytes_max: config.protocol.payload_bytes_max,
        connect_timeout: Duration::from_millis(config.protocol.connect_timeout_ms),
        recovery,
        metrics: metrics.clone(),
    });
    let new_application = move |session, peer, outbox: &Arc<Outbox>, slot| -> Box<dyn Application> {
        Box::new(SocketIoSession::new(settings.clone(), session, peer, outbox.clone(), slot))
    };
    (Box::new(new_application), registry_end)
}
