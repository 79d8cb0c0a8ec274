//! The way to MAX: resolves its name on a thread of its own, tries its addresses by RFC 8305, and sets up TLS.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::socket::Socket;
use crate::config::is_link_local;

/// How long one address is tried before the next one is tried too (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Longest lookup. After that, the next connection begins a new one.
const LOOKUP_MAX: Duration = Duration::from_secs(30);

/// Looks up a host and port. It may block.
pub(super) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// A lookup in progress, which all connections share.
type Resolving = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, String>>>;

/// Returns the lookup of the system.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
}

/// TLS to MAX: the trusted certificates, and the name that MAX's certificate must have.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// The experience with an address. Better ones are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It has given a complete answer, and has not failed since.
    Answered,
    /// It was not tried yet, or accepts connections again after it refused one.
    Unknown,
    /// It accepts no connection.
    Refused,
    /// It accepted a connection, but did not answer. All such failures are numbered in turn, and this is the number of
    /// its last one: the address that failed longest ago is tried first.
    Failed(u64),
}

/// Connects to one MAX, for one thread.
pub(super) struct Dialer {
    host: String,
    port: u16,
    tls: Option<Tls>,
    allow_link_local: bool,
    timeout: Duration,
    lookup: Lookup,
    under_way: RefCell<Option<(Instant, Resolving)>>,
    /// The addresses of the last lookup.
    known: RefCell<Vec<SocketAddr>>,
    /// The standing of each of these addresses that was tried.
    standings: RefCell<HashMap<SocketAddr, Standing>>,
    failures: Cell<u64>,
    /// The time of the last answer from any address.
    answered_at: Cell<Option<Instant>>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Dialer {
    /// `host` is a name or an address (an IPv6 address without brackets); `timeout` is the deadline of a call, which
    /// the addresses share.
    pub(super) fn new(
        host: &str,
        port: u16,
        tls: Option<Tls>,
        allow_link_local: bool,
        timeout: Duration,
        lookup: Lookup,
    ) -> Self {
        let (host, under_way) = (host.to_owned(), RefCell::default());
        let (known, standings) = (RefCell::default(), RefCell::default());
        let (failures, answered_at) = (Cell::default(), Cell::default());
        Self { host, port, tls, allow_link_local, timeout, lookup, under_way, known, standings, failures, answered_at }
    }

    /// Connects to the first address that accepts a connection.
    ///
    /// # Errors
    /// The name has no usable address, or all addresses failed; the message has one cause for each.
    pub(super) async fn connect(&self) -> io::Result<(Socket, SocketAddr)> {
        let addresses = self.addresses().await.map_err(io::Error::other)?;
        let delay = ATTEMPT_DELAY.min(self.share(addresses.len()));
        race(addresses, delay, |address| self.attempt(address)).await.map_err(io::Error::other)
    }

    /// Returns how long to wait for the head of an answer before another address is asked. `None` means to wait until
    /// the deadline: there is no other address, or one has just answered and is asked first.
    pub(super) async fn patience(&self) -> Option<Duration> {
        if self.known.borrow().is_empty() {
            // If this fails, the connection reports the cause.
            let _ = self.addresses().await;
        }
        let count = self.known.borrow().len();
        let is_fresh = self.answered_at.get().is_some_and(|at| at.elapsed() < self.timeout);
        let proven = is_fresh && self.standings.borrow().values().any(|standing| *standing == Standing::Answered);
        (count > 1 && !proven).then(|| self.share(count))
    }

    /// The number of addresses.
    pub(super) fn count(&self) -> usize {
        self.known.borrow().len()
    }

    /// The number of failures of all addresses so far.
    pub(super) fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// Whether another address may answer than the one that was asked when [`Self::failures`] was `failures`. If it
    /// still is, the asked address counts among those that may answer, so that at least two are needed.
    pub(super) fn has_another(&self, failures: u64) -> bool {
        let standings = self.standings.borrow();
        let may_answer =
            |address: &&SocketAddr| !matches!(standings.get(address), Some(Standing::Refused | Standing::Failed(_)));
        let asked = usize::from(self.failures.get() == failures);
        self.known.borrow().iter().filter(may_answer).count() > asked
    }

    /// Whether this address did not answer when it was asked last.
    pub(super) fn has_failed(&self, address: SocketAddr) -> bool {
        matches!(self.standings.borrow().get(&address), Some(Standing::Failed(_)))
    }

    /// Notes that this address has given a complete answer.
    pub(super) fn answered(&self, address: SocketAddr) {
        self.answered_at.set(Some(Instant::now()));
        self.standings.borrow_mut().insert(address, Standing::Answered);
    }

    /// Notes that a call waited for this address in vain.
    pub(super) fn was_silent(&self, address: SocketAddr, waited: Duration) {
        // A call that was given up early says nothing. Half of the share is enough, since connecting took time too.
        let count = self.count();
        if count > 1 && waited >= self.share(count) / 2 {
            self.failed(address);
        }
    }

    /// Notes that this address accepts connections but does not answer.
    pub(super) fn failed(&self, address: SocketAddr) {
        self.failures.set(self.failures.get() + 1);
        self.standings.borrow_mut().insert(address, Standing::Failed(self.failures.get()));
    }

    /// The share of the deadline for one of `count` addresses.
    fn share(&self, count: usize) -> Duration {
        self.timeout / u32::try_from(count + 1).unwrap_or(u32::MAX)
    }

    /// Returns the addresses in the order in which to try them.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = match self.host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, self.port)],
            Err(_) => self.resolved().await?,
        };
        let allowed: Vec<_> =
            found.iter().copied().filter(|address| self.allow_link_local || !is_link_local(address.ip())).collect();
        if let (Some(first), []) = (found.first(), &allowed[..]) {
            return Err(format!(
                "{} is the link-local address {}, which is asked only if max.allow_link_local is set",
                self.host,
                first.ip()
            ));
        }
        let mut addresses = interleaved(allowed);
        let mut standings = self.standings.borrow_mut();
        standings.retain(|address, _| addresses.contains(address));
        addresses.sort_by_key(|address| standings.get(address).copied().unwrap_or(Standing::Unknown));
        self.known.borrow_mut().clone_from(&addresses);
        if addresses.is_empty() { Err(format!("{} has no address", self.host)) } else { Ok(addresses) }
    }

    /// Looks up the name, or waits for the lookup in progress. If that takes long, returns the known addresses.
    async fn resolved(&self) -> Result<Vec<SocketAddr>, String> {
        let lookup = self.lookup();
        let known = self.known.borrow().clone();
        if known.is_empty() {
            return lookup.await;
        }
        timeout(self.share(2), lookup).await.unwrap_or(Ok(known))
    }

    fn lookup(&self) -> Resolving {
        let mut under_way = self.under_way.borrow_mut();
        if let Some((since, lookup)) = &*under_way
            && since.elapsed() < LOOKUP_MAX
            && lookup.clone().now_or_never().is_none()
        {
            return lookup.clone();
        }
        let (sender, receiver) = oneshot::channel();
        let (lookup, host, port) = (Arc::clone(&self.lookup), self.host.clone(), self.port);
        // A resolver may hang. On a thread of its own it blocks nothing, not even the end of the process.
        let begun = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let found = lookup(&host, port).map_err(|error| format!("cannot resolve {host}: {error}"));
            // The send fails if nobody waits any more.
            let _ = sender.send(found);
        });
        let lookup = async move {
            begun.map_err(|error| format!("cannot resolve: {error}"))?;
            receiver.await.unwrap_or_else(|_| Err("the resolver has failed".to_owned()))
        };
        let lookup = lookup.boxed().shared();
        *under_way = Some((Instant::now(), lookup.clone()));
        lookup
    }

    async fn attempt(&self, address: SocketAddr) -> Result<(Socket, SocketAddr), String> {
        let failed = |error: io::Error| {
            self.standings.borrow_mut().insert(address, Standing::Refused);
            format!("{address}: {error}")
        };
        let mut attempt = Attempt { dialer: self, address, begun: Instant::now(), is_over: false };
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        // One small request at a time: nothing is gained by waiting for more.
        let _ = tcp.set_nodelay(true);
        let socket = match &self.tls {
            None => Socket::Plain(tcp),
            Some(Tls { config, name }) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Socket::Tls(Box::new(connector.connect(name.clone(), tcp).await.map_err(failed)?))
            }
        };
        attempt.is_over = true;
        let mut standings = self.standings.borrow_mut();
        if standings.get(&address) == Some(&Standing::Refused) {
            standings.insert(address, Standing::Unknown);
        }
        Ok((socket, address))
    }
}

/// A connection attempt. If it is dropped after [`ATTEMPT_DELAY`] because another address was faster, its address
/// counts as one that refuses.
struct Attempt<'a> {
    dialer: &'a Dialer,
    address: SocketAddr,
    begun: Instant,
    is_over: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.begun.elapsed() >= ATTEMPT_DELAY {
            self.dialer.standings.borrow_mut().insert(self.address, Standing::Refused);
        }
    }
}

/// Returns the addresses with alternating families, beginning with the family of the first (RFC 8305, 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut in_order = Vec::with_capacity(addresses.len());
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            break;
        }
        for address in pair.into_iter().flatten() {
            // A resolver may return the same address once for each kind of socket.
            if !in_order.contains(&address) {
                in_order.push(address);
            }
        }
    }
    in_order
}

/// Tries the addresses in order. The next attempt begins when one fails, or after `delay`, while the earlier ones go
/// on. Returns the result of the first that works and drops the others.
async fn race<T, F: Future<Output = Result<T, String>>>(
    addresses: Vec<SocketAddr>,
    delay: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, String> {
    let mut rest = addresses.into_iter();
    let mut trying = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        let next = rest.next();
        let last = next.is_none();
        trying.extend(next.map(&attempt));
        let mut pause: Pin<Box<dyn Future<Output = ()>>> =
            if last { Box::pin(std::future::pending()) } else { Box::pin(sleep(delay)) };
        tokio::select! {
            outcome = trying.next() => match outcome {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(how)) => failed.push(how),
                None => return Err(failed.join("; ")),
            },
            () = &mut pause => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn dialer(timeout_ms: u64, lookup: Lookup) -> Dialer {
        Dialer::new("max.example", 80, None, false, Duration::from_millis(timeout_ms), lookup)
    }

    #[test]
    fn families_take_turns_and_each_address_has_one() {
        let found = ["[::1]:1", "[::2]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"];
        let wanted = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"];
        assert_eq!(interleaved(addresses(&found)), addresses(&wanted));
        assert_eq!(interleaved(addresses(&["10.0.0.1:1", "[::1]:1"])), addresses(&["10.0.0.1:1", "[::1]:1"]));
        assert_eq!(interleaved(Vec::new()), Vec::new());
    }

    #[actix_rt::test]
    async fn the_next_address_is_tried_when_one_fails_or_is_silent() {
        // By port: 1 is silent, 2 fails, 3 works.
        let attempt = |address: SocketAddr| async move {
            match address.port() {
                1 => std::future::pending().await,
                2 => Err(format!("{address}: no")),
                _ => Ok(address),
            }
        };
        let raced = async |found: &[&str]| race(addresses(found), Duration::from_millis(5), attempt).await;
        assert_eq!(raced(&["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"]).await, Ok("10.0.0.1:3".parse().unwrap()));
        assert_eq!(raced(&["10.0.0.1:3", "10.0.0.1:1"]).await, Ok("10.0.0.1:3".parse().unwrap()));
        assert_eq!(raced(&["10.0.0.1:2", "10.0.0.2:2"]).await, Err("10.0.0.1:2: no; 10.0.0.2:2: no".to_owned()));
        // What fails costs no delay.
        let quick = race(addresses(&["10.0.0.1:2", "10.0.0.1:3"]), Duration::from_secs(3600), attempt).await;
        assert!(quick.is_ok());
    }

    #[actix_rt::test]
    async fn an_address_that_takes_no_connection_costs_a_share_of_the_deadline() {
        // The kernel answers no connection to a listener whose queue is full.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&addresses(&["127.0.0.2:0"])[0].into()).unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let _waiting: Vec<_> = (0..2)
            .map(|_| {
                let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&silent.into());
                socket
            })
            .collect();
        let works = std::net::TcpListener::bind(("127.0.0.1", silent.port())).unwrap();
        let found = vec![silent, works.local_addr().unwrap()];
        let dialer = dialer(60_000, Arc::new(move |_, _| Ok(found.clone())));
        let (_, address) = dialer.connect().await.unwrap();
        assert_eq!(address, works.local_addr().unwrap());
    }

    #[actix_rt::test]
    async fn one_lookup_serves_all_that_wait_and_a_stuck_one_is_gone_round() {
        let (answer, answers) = mpsc::channel::<Vec<SocketAddr>>();
        let (answers, count) = (parking_lot::Mutex::new(answers), Arc::new(AtomicUsize::new(0)));
        let dialer = dialer(60, {
            let count = count.clone();
            Arc::new(move |_, _| {
                count.fetch_add(1, Ordering::SeqCst);
                answers.lock().recv().map_err(io::Error::other)
            })
        });
        let found = addresses(&["10.0.0.1:80"]);
        let told = async { answer.send(found.clone()).unwrap() };
        let (one, other, ()) = futures_util::future::join3(dialer.addresses(), dialer.addresses(), told).await;
        assert_eq!((one, other), (Ok(found.clone()), Ok(found.clone())));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        // The next lookup does not end: after a share of the deadline, all get the known addresses.
        assert_eq!(dialer.addresses().await, Ok(found.clone()));
        assert_eq!(dialer.addresses().await, Ok(found));
        assert_eq!(count.load(Ordering::SeqCst), 2);
        // Its late result is used, and after that the name is looked up again.
        let moved = addresses(&["10.0.0.2:80"]);
        answer.send(moved.clone()).unwrap();
        answer.send(moved.clone()).unwrap();
        while dialer.addresses().await != Ok(moved.clone()) {}
        drop(answer);
        while dialer.addresses().await.is_ok() {}
    }

    #[actix_rt::test]
    async fn a_name_that_leads_to_a_link_local_address_is_not_asked() {
        let of = |texts: &[&str]| {
            let found = addresses(texts);
            dialer(1000, Arc::new(move |_, _| Ok(found.clone())))
        };
        for text in ["169.254.169.254:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80"] {
            let failure = of(&[text]).addresses().await.unwrap_err();
            assert!(failure.contains("link-local") && failure.contains("max.allow_link_local"), "{failure}");
        }
        let mixed = of(&["169.254.169.254:80", "10.0.0.1:80"]);
        assert_eq!(mixed.addresses().await, Ok(addresses(&["10.0.0.1:80"])));
        let allowed = Dialer { allow_link_local: true, ..of(&["169.254.169.254:80"]) };
        assert_eq!(allowed.addresses().await, Ok(addresses(&["169.254.169.254:80"])));
        assert!(of(&[]).addresses().await.unwrap_err().contains("no address"));
    }

    #[actix_rt::test]
    async fn an_address_that_was_silent_comes_last_and_one_that_answered_first() {
        let found = addresses(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
        let dialer = dialer(
            4000,
            Arc::new({
                let found = found.clone();
                move |_, _| Ok(found.clone())
            }),
        );
        assert_eq!(dialer.patience().await, Some(Duration::from_secs(1)));
        dialer.was_silent(found[0], Duration::from_millis(499));
        assert_eq!(dialer.addresses().await, Ok(found.clone()));
        dialer.was_silent(found[0], Duration::from_secs(1));
        dialer.answered(found[2]);
        assert_eq!(dialer.addresses().await, Ok(vec![found[2], found[1], found[0]]));
        assert_eq!((dialer.patience().await, dialer.has_another(dialer.failures())), (None, true));
        // If all have failed, they take turns.
        for address in [found[2], found[1]] {
            dialer.failed(address);
        }
        assert_eq!(dialer.addresses().await, Ok(vec![found[0], found[2], found[1]]));
        assert!(!dialer.has_another(0) && dialer.has_failed(found[1]));
    }
}
