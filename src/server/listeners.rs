//! The two listeners. That for clients has several workers, by default one per core; that for operators has one thread.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_http::Request;
use actix_service::{IntoServiceFactory, ServiceExt as _, ServiceFactory, boxed};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse};
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use super::Error;
use super::operators::Dashboards;
use super::settings::{deadlines, session_limits, worker_count};
use super::watch::watch;
use crate::actors::departures;
use crate::actors::registry::Arbiters;
use crate::admin::answers::with_headers;
use crate::admin::routes;
use crate::admin::sampler;
use crate::admin::state::Admin;
use crate::config::Config;
use crate::config::cost::ADMIN_CONNECTIONS_MAX;
use crate::delivery::worker::Worker;
use crate::directory::demo::DemoMax;
use crate::http::answers::every_answer;
use crate::http::connection::{AppService, Deadlines, Service, Upgrade};
use crate::http::endpoint::{Edge, Endpoint};
use crate::http::listener::{self, Listener};
use crate::http::{demo, legacy, pages, polling};
use crate::limits::clients::{Bounds as ClientBounds, Clients};
use crate::limits::memory::Memory;
use crate::metrics::{ListenerName, Metrics, WorkerName};

/// The largest number of connections that the kernel holds until they are accepted. After a restart, all clients come
/// at once.
const BACKLOG: i32 = 4096;

/// The parts that the services of all workers of a listener have in common.
#[derive(Clone)]
struct Common {
    listener: ListenerName,
    deadlines: Deadlines,
    head_bytes_max: usize,
    clients: Arc<Clients>,
    metrics: Arc<Metrics>,
}

impl Common {
    fn new(listener: ListenerName, config: &Config, clients: &Arc<Clients>, metrics: &Arc<Metrics>) -> Self {
        let (clients, metrics) = (clients.clone(), metrics.clone());
        let head_bytes_max = config.server.head_bytes_max;
        Self { listener, deadlines: deadlines(config), head_bytes_max, clients, metrics }
    }

    /// Returns the service of the worker on this thread.
    fn service(self, app: AppService, upgrade: Option<Box<dyn Upgrade>>, stopping: watch::Receiver<bool>) -> Service {
        let Self { listener, deadlines, head_bytes_max, clients, metrics } = self;
        let newcomers = Rc::default();
        Service { listener, app, upgrade, deadlines, head_bytes_max, clients, newcomers, metrics, stopping }
    }
}

/// The parts that the workers of the clients' listener are built from.
pub struct ClientWorkers {
    /// The Engine.IO endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The threads for conversations. Each worker adds its own.
    pub arbiters: Arbiters,
    /// The demo MAX, if the configuration uses it.
    pub demo: Option<Arc<DemoMax>>,
}

impl ClientWorkers {
    /// Starts the workers, and then accepts connections on `listener`.
    ///
    /// # Errors
    /// [`Error::Start`] if the system lacks threads or files.
    pub fn start(self, listener: TcpListener, config: &Config) -> Result<Listener, Error> {
        let Self { endpoint, arbiters, demo } = self;
        let (clients, metrics) = (endpoint.clients.clone(), endpoint.metrics.clone());
        let namespace = config.pages.enabled.then(|| Arc::from(config.protocol.namespace.as_str()));
        let common = Common::new(ListenerName::Clients, config, &clients, &metrics);
        let limits = session_limits(config);
        // The kernel keeps the connection of an unreachable client at least until its heartbeat ends the session.
        let (protocol, legacy) = (&config.protocol, &config.legacy);
        let heartbeat_ms = (protocol.ping_interval_ms + protocol.ping_timeout_ms)
            .max(legacy.heartbeat_interval_ms + legacy.heartbeat_timeout_ms);
        let user_timeout = common.deadlines.write.max(Duration::from_millis(heartbeat_ms));
        let (workers, watched) = (AtomicUsize::new(0), metrics.clone());
        let new_service = move |stopping: watch::Receiver<bool>| {
            arbiters.enter_current();
            departures::start();
            watch(&watched, WorkerName::Clients(workers.fetch_add(1, Ordering::Relaxed)));
            let edge = Edge { endpoint: endpoint.clone(), worker: Worker::new(limits) };
            let app = app(edge.clone(), demo.clone(), namespace.clone());
            let (common, upgrade) = (common.clone(), Some(Box::new(edge) as Box<dyn Upgrade>));
            Box::pin(async move {
                let app = app_service(app).await?;
                Some(common.service(app, upgrade, stopping))
            }) as Pin<Box<dyn Future<Output = _>>>
        };
        let parts = listener::ListenerParts {
            name: ListenerName::Clients,
            socket: listener,
            workers: worker_count(config),
            new_service: Arc::new(new_service),
            clients,
            user_timeout,
            metrics,
        };
        Listener::start(parts).map_err(|cause| Error::Start { what: "the workers for clients", cause })
    }
}

/// Starts the listener for operators. It has a thread of its own, so that it answers even while clients keep all
/// workers busy.
///
/// # Errors
/// [`Error::Start`] if the system lacks threads or files.
pub(super) fn serve_operators(listener: TcpListener, config: &Config, admin: Admin) -> Result<Listener, Error> {
    let (metrics, admin) = (admin.metrics.clone(), Data::new(admin));
    let clients = Clients::new(ClientBounds::connections_only(ADMIN_CONNECTIONS_MAX), Memory::UNLIMITED);
    let common = Common::new(ListenerName::Operators, config, &clients, &metrics);
    let user_timeout = common.deadlines.write;
    let new_service = {
        move |stopping: watch::Receiver<bool>| {
            let app = App::new().wrap(from_fn(with_headers)).configure(routes::mount(admin.clone()));
            let (common, upgrade) = (common.clone(), Some(Box::new(Dashboards(admin.clone())) as Box<dyn Upgrade>));
            actix_rt::spawn(sampler::run(admin.clone()));
            Box::pin(async move {
                let app = app_service(app).await?;
                Some(common.service(app, upgrade, stopping))
            }) as Pin<Box<dyn Future<Output = _>>>
        }
    };
    let parts = listener::ListenerParts {
        name: ListenerName::Operators,
        socket: listener,
        workers: 1,
        new_service: Arc::new(new_service),
        clients,
        user_timeout,
        metrics,
    };
    Listener::start(parts).map_err(|cause| Error::Start { what: "the worker for operators", cause })
}

/// Returns the service of an `App` on this thread, or `None` if one of its parts cannot be created.
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

/// Returns the `App` that answers the HTTP requests of clients: endpoint, pages and demo MAX. The pages name the
/// namespace of the conversations; without one there are no pages.
fn app(
    edge: Edge,
    demo: Option<Arc<DemoMax>>,
    namespace: Option<Arc<str>>,
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
    let (engine_io, legacy, stage) = (edge.clone(), edge.clone(), edge.endpoint.stage.clone());
    let engine_io = move |request, payload| polling::serve(request, payload, engine_io.clone());
    let legacy = move |request, payload| legacy::serve(request, payload, legacy.clone());
    App::new()
        .wrap(from_fn(move |request, next: Next<_>| every_answer(stage.clone(), request, next)))
        .service(web::resource([path.clone(), format!("{path}/")]).route(web::route().to(engine_io)))
        .service(web::resource(format!("{path}/{{client}}.js")).route(web::route().to(pages::no_client)))
        .service(web::resource(format!("{path}/{{below:.*}}")).route(web::route().to(legacy)))
        .configure(|config| {
            match namespace {
                Some(namespace) => config.configure(pages::routes(&edge.endpoint.path, &namespace, demo.is_some())),
                None => config.configure(pages::no_pages),
            };
            if let Some(demo) = demo {
                config.configure(demo::routes(&demo, &edge.endpoint.board));
            }
        })
        .default_service(web::to(|| async { HttpResponse::NotFound().body("There is nothing here.\n") }))
}

/// Listens on `addr`, the value of `setting`. Returns the socket and its address. If the port of `addr` is 0, the
/// address has the port that the system has chosen.
///
/// # Errors
/// [`Error::Listen`] if the system does not let the server listen there.
pub(super) fn listen(addr: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        // Lets a restarted server bind its port while connections of the old process linger.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind().map_err(|cause| Error::Listen { addr, setting, cause })
}
