//! A listener: one thread accepts connections, up to their bound, and gives each to the worker with the fewest. It also
//! watches the workers: one that ends makes the listener fail, one that is stuck is logged.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_rt::{Arbiter, ArbiterHandle};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;
use socket2::SockRef;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::connection::{Service, serve};
use super::response::NO_ROOM;
use crate::limits::clients::{Clients, ConnectionSlot};
use crate::logging::limiter::Limiter;
use crate::metrics::{Limit, ListenerName, Metrics};
use crate::turns::Rest;

/// Connections accepted before the thread checks for a stop and looks at the workers.
const ACCEPTS_PER_TURN: usize = 64;

/// Connections that a worker takes up before those that it already serves run again.
const TAKEN_UP_PER_TURN: usize = 8;

/// The pause after an accept failed for lack of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a worker reports that it runs, and how often the reports are read.
const PULSE: Duration = Duration::from_millis(250);

/// A worker without a report for this long is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// The token of the listening socket.
const CLIENT: Token = Token(0);

/// The token of the waker that announces a stop.
const STOP: Token = Token(1);

/// Refused connections that stay open for a moment, so that their clients can read the answer.
const REFUSED_MAX: usize = 16;

/// Creates the service of a worker, on the worker's thread.
pub type NewService = dyn Fn(watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = Option<Service>>>> + Send + Sync;

/// The parts of a listener.
pub struct ListenerParts {
    /// The name in metrics, names of threads, and log.
    pub name: ListenerName,
    /// The socket, bound and listening.
    pub socket: TcpListener,
    /// The number of worker threads.
    pub workers: usize,
    /// Creates the service that each worker runs.
    pub new_service: Arc<NewService>,
    /// The connected clients.
    pub clients: Arc<Clients>,
    /// How long the kernel retries sending to a peer that acknowledges nothing before it drops the connection.
    pub user_timeout: Duration,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

/// The reason for which a listener can serve nobody any more.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The listening socket is of no use any more.
    #[error("the listener {listener} has failed: {cause}")]
    Socket {
        /// The name of the listener.
        listener: &'static str,
        /// The error of the system.
        cause: io::Error,
    },
    /// A worker has ended.
    #[error("a worker of the listener {listener} has ended")]
    WorkerEnded {
        /// The name of the listener.
        listener: &'static str,
    },
    /// The thread that accepts connections has ended.
    #[error("the thread that takes in connections has ended")]
    AcceptorEnded,
}

/// A running listener.
#[derive(Debug)]
pub struct Listener {
    stopping: watch::Sender<bool>,
    acceptor: Waker,
    workers: Vec<Arbiter>,
    failure: oneshot::Receiver<ListenerError>,
    clients: Arc<Clients>,
}

/// A worker, as the accepting thread sees it.
#[derive(Debug)]
struct Worker {
    arbiter: ArbiterHandle,
    queue: mpsc::UnboundedSender<Accepted>,
    state: Arc<WorkerState>,
    /// Whether it is logged as stuck.
    is_stuck: bool,
}

#[derive(Debug)]
struct WorkerState {
    /// The number of its open connections, WebSockets included.
    connections: Arc<AtomicUsize>,
    /// The time of the worker's last report, in ms since `epoch`.
    seen_ms: AtomicU64,
    epoch: Instant,
}

/// A connection on its way to its worker. The bound on connections bounds these too.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    slot: ConnectionSlot,
}

impl Listener {
    /// Starts the workers, waits until they are ready, and then accepts connections. Needs an actix system on this
    /// thread.
    ///
    /// # Errors
    /// The system lacks threads or files, or a worker fails to start.
    pub fn start(parts: ListenerParts) -> io::Result<Self> {
        let ListenerParts { name, socket, workers, new_service, clients, user_timeout, metrics } = parts;
        let (stopping, stop) = watch::channel(false);
        let (arbiters, workers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| start_worker(&new_service, &stop))
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        socket.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), STOP)?;
        let mut socket = mio::net::TcpListener::from_std(socket);
        poll.registry().register(&mut socket, CLIENT, Interest::READABLE)?;
        let (failed, failure) = oneshot::channel();
        let mut acceptor = Acceptor {
            name,
            socket,
            workers,
            clients: clients.clone(),
            user_timeout,
            metrics,
            refused: VecDeque::new(),
            warnings: Limiter::new(1),
        };
        thread::Builder::new().name(format!("accept {}", name.as_str())).spawn(move || {
            if let Err(why) = acceptor.run(poll, &stop) {
                let _ = failed.send(why);
            }
        })?;
        Ok(Self { stopping, acceptor: waker, workers: arbiters, failure, clients })
    }

    /// Resolves with the cause when the listener fails.
    pub async fn failed(&mut self) -> ListenerError {
        match (&mut self.failure).await {
            Ok(why) => why,
            Err(_) if *self.stopping.borrow() => std::future::pending().await,
            Err(_) => ListenerError::AcceptorEnded,
        }
    }

    /// Accepts no more connections, closes the idle ones, and makes every answer the last one of its connection.
    pub fn begin_stop(&self) {
        self.stopping.send_replace(true);
        // If this fails, the thread sees the stop within a [`PULSE`].
        let _ = self.acceptor.wake();
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.clients.connections()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.begin_stop();
        for worker in &self.workers {
            worker.stop();
        }
    }
}

fn start_worker(new_service: &Arc<NewService>, stop: &watch::Receiver<bool>) -> io::Result<(Arbiter, Worker)> {
    let arbiter = Arbiter::try_new()?;
    let (queue, mut accepted) = mpsc::unbounded_channel::<Accepted>();
    let state =
        Arc::new(WorkerState { connections: Arc::default(), seen_ms: AtomicU64::new(0), epoch: Instant::now() });
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (new_service, stop, reported) = (new_service.clone(), stop.clone(), state.clone());
    arbiter.spawn_fn(move || {
        actix_rt::spawn(async move {
            let Some(service) = new_service(stop).await.map(Rc::new) else { return };
            actix_rt::spawn(report(reported.clone()));
            let _ = ready.send(());
            let mut taken_up = 0;
            while let Some(accepted) = accepted.recv().await {
                take_up(accepted, service.clone());
                taken_up += 1;
                if taken_up % TAKEN_UP_PER_TURN == 0 {
                    // A new task runs before the older ones have their next turn.
                    Rest::default().await;
                }
            }
        });
    });
    is_ready.recv().map_err(|_| io::Error::other("a worker ended as it began"))?;
    let worker = Worker { arbiter: arbiter.handle(), queue, state, is_stuck: false };
    Ok((arbiter, worker))
}

/// Serves a connection on this thread.
fn take_up(accepted: Accepted, service: Rc<Service>) {
    let Accepted { stream, peer, slot } = accepted;
    match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => drop(actix_rt::spawn(serve(service, stream, peer, slot))),
        Err(error) => log::warn!("a connection of {peer} was lost: {error}"),
    }
}

/// Reports periodically that this worker runs.
async fn report(state: Arc<WorkerState>) {
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        state.seen_ms.store(state.now_ms(), Ordering::Relaxed);
    }
}

impl WorkerState {
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.seen_ms.load(Ordering::Relaxed)))
    }
}

/// The accepting thread.
struct Acceptor {
    name: ListenerName,
    socket: mio::net::TcpListener,
    workers: Vec<Worker>,
    clients: Arc<Clients>,
    user_timeout: Duration,
    metrics: Arc<Metrics>,
    refused: VecDeque<(Instant, TcpStream)>,
    /// Limits the warnings about connections that were not accepted to one a second.
    warnings: Limiter,
}

impl Acceptor {
    /// Accepts connections until the stop.
    fn run(&mut self, mut poll: Poll, stop: &watch::Receiver<bool>) -> Result<(), ListenerError> {
        let mut events = Events::with_capacity(8);
        let mut looked = Instant::now();
        // The poll is edge-triggered: it reports new connections once, not those that still wait.
        let mut maybe_more = true;
        while !*stop.borrow() {
            let wait = if maybe_more { Duration::ZERO } else { PULSE };
            match poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(self.has_failed(error)),
                _ => maybe_more |= events.iter().any(|event| event.token() == CLIENT),
            }
            maybe_more = maybe_more && self.accept_some()?;
            let pause = looked.elapsed();
            if pause >= PULSE {
                looked = Instant::now();
                // If the whole process was paused, the workers could not report either. They do so before the next
                // look.
                if pause < STUCK {
                    self.check_workers()?;
                }
                self.close_refused(REFUSED_MAX);
            }
        }
        Ok(())
    }

    /// Accepts some waiting connections. Returns false if none is left.
    fn accept_some(&mut self) -> Result<bool, ListenerError> {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.socket.accept() {
                Ok((stream, peer)) => self.take_in(stream.into(), peer)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => {
                    if self.needs_pause(error)? {
                        thread::sleep(ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
        Ok(true)
    }

    fn take_in(&mut self, stream: TcpStream, peer: SocketAddr) -> Result<(), ListenerError> {
        let slot = match self.clients.connect(peer.ip(), Instant::now()) {
            Ok(slot) => slot,
            Err(limit) => {
                self.refuse(stream, peer, limit);
                return Ok(());
            }
        };
        let gives_up = || SockRef::from(&stream).set_tcp_user_timeout(Some(self.user_timeout));
        if let Err(error) = stream.set_nodelay(true).and_then(|()| gives_up()) {
            log::debug!("a connection of {peer} was lost: {error}");
            return Ok(());
        }
        let open = |worker: &&Worker| worker.state.connections.load(Ordering::Relaxed);
        let Some(worker) = self.workers.iter().min_by_key(open) else { return Err(self.has_ended()) };
        let slot = slot.counted_by(&worker.state.connections);
        worker.queue.send(Accepted { stream, peer, slot }).map_err(|_| self.has_ended())
    }

    /// Answers 503 without waiting for the client.
    fn refuse(&mut self, mut stream: TcpStream, peer: SocketAddr, limit: Limit) {
        self.metrics.limited(limit);
        self.warn(format_args!("a connection of {} was refused: {}", peer.ip(), limit.as_str()));
        if stream.write(NO_ROOM).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
            self.close_refused(REFUSED_MAX - 1);
            self.refused.push_back((Instant::now(), stream));
        }
    }

    /// Closes the connections that were refused a [`PULSE`] ago, and the oldest ones beyond `most`.
    fn close_refused(&mut self, most: usize) {
        let now = Instant::now();
        while let Some((since, _)) = self.refused.front()
            && (self.refused.len() > most || now >= *since + PULSE)
            && let Some((_, mut stream)) = self.refused.pop_front()
        {
            // A close with the request unread would discard the answer that is on its way.
            let _ = stream.read(&mut [0; 4096]);
        }
    }

    /// Returns whether a failed accept calls for a pause: a shortage of files or memory does, a connection that broke
    /// before it was accepted does not. Open connections live on.
    ///
    /// # Errors
    /// Any other error ends the listener.
    fn needs_pause(&mut self, error: io::Error) -> Result<bool, ListenerError> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        // Network errors of the one connection, which accept(2) passes on.
        let of_one = [
            Errno::NETDOWN,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
        ];
        let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        let is_among = |errors: &[Errno]| errors.iter().any(|one| error.raw_os_error() == Some(one.raw_os_error()));
        match error.kind() {
            ConnectionAborted | ConnectionReset | Interrupted => Ok(false),
            _ if is_among(&of_one) => Ok(false),
            _ if is_among(&shortages) => {
                self.metrics.limited(Limit::Connections);
                self.warn(format_args!("connections cannot be accepted: {error}"));
                Ok(true)
            }
            _ => Err(self.has_failed(error)),
        }
    }

    /// Logs a warning at most once a second: it may concern many connections.
    fn warn(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
            log::warn!("{what}{suppressed}");
        }
    }

    fn check_workers(&mut self) -> Result<(), ListenerError> {
        let mut longest = Duration::ZERO;
        for (number, worker) in self.workers.iter_mut().enumerate() {
            if !worker.arbiter.alive() || worker.queue.is_closed() {
                return Err(self.has_ended());
            }
            let silence = worker.state.silence();
            longest = longest.max(silence);
            if (silence >= STUCK) != std::mem::replace(&mut worker.is_stuck, silence >= STUCK) {
                let name = self.name.as_str();
                if silence >= STUCK {
                    log::error!(
                        "worker {number} of the listener {name} has done nothing for {} ms",
                        silence.as_millis()
                    );
                } else {
                    log::warn!("worker {number} of the listener {name} goes on");
                }
            }
        }
        self.metrics.worker_silence(self.name, longest);
        Ok(())
    }

    fn has_failed(&self, cause: io::Error) -> ListenerError {
        ListenerError::Socket { listener: self.name.as_str(), cause }
    }

    fn has_ended(&self) -> ListenerError {
        ListenerError::WorkerEnded { listener: self.name.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::connection::Deadlines;
    use crate::limits::clients::Bounds;
    use crate::limits::memory::Memory;
    use crate::metrics::ReadAtScrape;
    use actix_service::{boxed, fn_service};

    fn parts(new_service: Arc<NewService>) -> ListenerParts {
        ListenerParts {
            name: ListenerName::Operators,
            socket: TcpListener::bind("127.0.0.1:0").unwrap(),
            workers: 2,
            new_service,
            clients: Clients::new(Bounds::connections_only(10), Memory::UNLIMITED),
            user_timeout: Duration::from_secs(600),
            metrics: Metrics::new(&[], ReadAtScrape::default()),
        }
    }

    /// A service that answers nothing.
    fn mute() -> Arc<NewService> {
        Arc::new(|stopping| {
            let long = Duration::from_secs(600);
            let service = Service {
                listener: ListenerName::Clients,
                app: boxed::service(fn_service(|_| std::future::pending())),
                upgrade: None,
                deadlines: Deadlines { request: long, keep_alive: long, write: long },
                head_bytes_max: 1000,
                clients: Clients::new(Bounds::connections_only(10), Memory::UNLIMITED),
                newcomers: Rc::default(),
                metrics: Metrics::new(&[], ReadAtScrape::default()),
                stopping,
            };
            Box::pin(async { Some(service) })
        })
    }

    #[actix_rt::test]
    async fn a_worker_that_cannot_begin_is_an_error_at_the_start() {
        assert!(Listener::start(parts(Arc::new(|_| Box::pin(async { None })))).is_err());
    }

    #[actix_rt::test]
    async fn a_worker_that_ends_is_the_end_of_the_listener() {
        let mut listener = Listener::start(parts(mute())).unwrap();
        listener.workers[1].stop();
        assert!(matches!(listener.failed().await, ListenerError::WorkerEnded { listener: "operators" }));
    }

    #[test]
    fn a_worker_that_does_not_show_itself_is_stuck() {
        let epoch = Instant::now() - Duration::from_secs(60);
        let state = WorkerState { connections: Arc::default(), seen_ms: AtomicU64::new(0), epoch };
        assert!(state.silence() >= STUCK);
        state.seen_ms.store(state.now_ms(), Ordering::Relaxed);
        assert!(state.silence() < STUCK);
    }
}
