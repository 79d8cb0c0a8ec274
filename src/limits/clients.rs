//! The bounds on clients: how many connections and sessions there may be, in all and per address, and how fast new ones
//! may come. A slot is a value that is given back by its drop.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::Limit;
use super::bucket::{Bucket, Rate};
use super::memory::{Memory, Watch};

/// Percentage of memory in use from which on no new sessions are opened.
pub const FULL_PERCENT: u8 = 85;

/// Percentage of memory in use from which on no new connections are accepted.
const CROWDED_PERCENT: u8 = 93;

/// Bytes that may be kept for one client from this percentage of memory on, highest percentage first.
const KEPT_BYTES_MAX: [(u8, usize); 2] = [(90, KEPT_ALWAYS), (FULL_PERCENT, 64 * 1024)];

/// Bytes that may be kept for one client however little memory is left.
const KEPT_ALWAYS: usize = 4 * 1024;

/// Memory that a new client takes: its connection, its session and a first buffer.
const COMING_BYTES: u64 = 16 * 1024;

/// Memory that a sending client takes: a buffer that has grown.
const SENDING_BYTES: u64 = 64 * 1024;

/// The bounds on clients. 0 is no limit, except for `connections_max`, which always applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections: each is a file of the process.
    pub connections_max: usize,
    /// Open connections of one address.
    pub connections_per_address_max: usize,
    /// Sessions.
    pub sessions_max: usize,
    /// Sessions of one address.
    pub sessions_per_address_max: usize,
    /// Sessions that have not joined yet.
    pub unjoined_max: usize,
    /// Sessions of one address that have not joined yet.
    pub unjoined_per_address_max: usize,
    /// Handshakes.
    pub handshakes: Rate,
    /// Handshakes of one address.
    pub handshakes_per_address: Rate,
}

impl Bounds {
    /// Returns a bound on connections alone.
    pub const fn connections_only(connections_max: usize) -> Self {
        Self {
            connections_max,
            connections_per_address_max: 0,
            sessions_max: 0,
            sessions_per_address_max: 0,
            unjoined_max: 0,
            unjoined_per_address_max: 0,
            handshakes: Rate::UNLIMITED,
            handshakes_per_address: Rate::UNLIMITED,
        }
    }
}

/// The clients of one server.
#[derive(Debug)]
pub struct Clients {
    bounds: Bounds,
    state: Mutex<State>,
    memory: Watch,
}

#[derive(Debug, Default)]
struct State {
    all: Counts,
    by_address: HashMap<IpAddr, Counts>,
    /// At this number of addresses, those that are idle are removed.
    sweep_at: usize,
}

/// The counts of one address, or of all.
#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    sessions: usize,
    unjoined: usize,
    handshakes: Bucket,
}

impl Counts {
    fn is_idle(&self, now: Instant) -> bool {
        self.connections == 0 && self.sessions == 0 && self.handshakes.is_full(now)
    }
}

/// The smallest number of addresses that causes a sweep.
const SWEEP_MIN: usize = 1024;

fn is_reached(count: usize, max: usize) -> bool {
    max > 0 && count >= max
}

/// Returns the address that a client counts as. For IPv6 that is its /64 network, since a client usually has one to
/// itself.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

impl Clients {
    /// Creates the record of a server without clients. None is let in while `memory` is short.
    pub fn new(bounds: Bounds, memory: Memory) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default(), memory: Watch::new(memory) })
    }

    /// Returns whether this number of bytes may be kept for a client: incomplete input, or output that it does not
    /// read. The caller asks again whenever that number grows.
    pub fn may_keep(&self, bytes: usize) -> bool {
        if bytes <= KEPT_ALWAYS {
            return true;
        }
        let percent = self.memory.percent_with(SENDING_BYTES, Instant::now());
        let max = KEPT_BYTES_MAX.iter().find(|(from, _)| percent >= *from);
        max.is_none_or(|(_, max)| bytes <= *max)
    }

    /// Returns whether there is memory for one more connection. A connection asks again when it is served: many may
    /// have been accepted before the first of them took any memory.
    pub fn may_stay(&self, now: Instant) -> bool {
        self.memory.percent_with(COMING_BYTES, now) < CROWDED_PERCENT
    }

    /// Returns the limit on the memory of the process, in bytes. `None` if it is not limited.
    pub fn memory_max(&self) -> Option<u64> {
        self.memory.resident_max()
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.state.lock().all.connections
    }

    /// Returns the number of sessions.
    pub fn sessions(&self) -> usize {
        self.state.lock().all.sessions
    }

    /// Returns the number of sessions that have not joined yet.
    #[cfg(test)]
    pub fn unjoined(&self) -> usize {
        self.state.lock().all.unjoined
    }

    /// Returns whether nine tenths of the connections are in use: idle ones should then be closed.
    pub fn is_crowded(&self) -> bool {
        self.connections() >= self.bounds.connections_max - self.bounds.connections_max / 10
    }

    /// Takes the slot of a connection from `address`.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn connect(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<ConnectionSlot, Limit> {
        if !self.may_stay(now) {
            return Err(Limit::Memory);
        }
        let address = counted_as(address);
        let mut state = self.state.lock();
        if state.all.connections >= self.bounds.connections_max {
            return Err(Limit::Connections);
        }
        let counts = state.by_address.entry(address).or_default();
        if is_reached(counts.connections, self.bounds.connections_per_address_max) {
            return Err(Limit::ConnectionsPerAddress);
        }
        counts.connections += 1;
        state.all.connections += 1;
        state.sweep(now);
        Ok(ConnectionSlot { clients: self.clone(), address, of_worker: None })
    }

    /// Takes the slot of a session of a client at `address`.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<SessionSlot, Limit> {
        if self.memory.percent_with(COMING_BYTES, now) >= FULL_PERCENT {
            return Err(Limit::Memory);
        }
        let address = counted_as(address);
        let bounds = &self.bounds;
        let mut state = self.state.lock();
        let State { all, by_address, .. } = &mut *state;
        for (count, max, limit) in
            [(all.sessions, bounds.sessions_max, Limit::Sessions), (all.unjoined, bounds.unjoined_max, Limit::Unjoined)]
        {
            if is_reached(count, max) {
                return Err(limit);
            }
        }
        let own = by_address.entry(address).or_default();
        for (count, max, limit) in [
            (own.sessions, bounds.sessions_per_address_max, Limit::SessionsPerAddress),
            (own.unjoined, bounds.unjoined_per_address_max, Limit::UnjoinedPerAddress),
        ] {
            if is_reached(count, max) {
                return Err(limit);
            }
        }
        // Handshakes refused for their address do not count towards the rate of all.
        if !own.handshakes.take(bounds.handshakes_per_address, 1, now) {
            return Err(Limit::HandshakesPerAddress);
        }
        if !all.handshakes.take(bounds.handshakes, 1, now) {
            return Err(Limit::Handshakes);
        }
        for counts in [own, all] {
            counts.sessions += 1;
            counts.unjoined += 1;
        }
        state.sweep(now);
        Ok(SessionSlot {
            clients: self.clone(),
            address,
            has_joined: AtomicBool::new(false),
            is_released: AtomicBool::new(false),
        })
    }

    /// Gives back slots of an address.
    fn give_back(&self, address: IpAddr, give: impl Fn(&mut Counts)) {
        let mut state = self.state.lock();
        give(&mut state.all);
        if let Some(counts) = state.by_address.get_mut(&address) {
            give(counts);
            // Without a rate there is nothing to remember of an address that has gone.
            if counts.connections == 0 && counts.sessions == 0 && self.bounds.handshakes_per_address.per_second == 0 {
                state.by_address.remove(&address);
            }
        }
    }
}

impl State {
    fn sweep(&mut self, now: Instant) {
        if self.by_address.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.by_address.retain(|_, counts| !counts.is_idle(now));
            self.sweep_at = self.by_address.len() * 2;
            self.by_address.shrink_to(self.sweep_at.max(SWEEP_MIN));
        }
    }
}

/// The slot of an open connection.
#[derive(Debug)]
pub struct ConnectionSlot {
    clients: Arc<Clients>,
    address: IpAddr,
    /// The number of connections of the worker that serves it.
    of_worker: Option<Arc<AtomicUsize>>,
}

impl ConnectionSlot {
    /// Counts the connection in `of_worker` too, the number of its worker's connections.
    #[must_use]
    pub fn counted_by(mut self, of_worker: &Arc<AtomicUsize>) -> Self {
        of_worker.fetch_add(1, Ordering::Relaxed);
        self.of_worker = Some(of_worker.clone());
        self
    }

    /// See [`Clients::may_keep`].
    pub fn may_keep(&self, bytes: usize) -> bool {
        self.clients.may_keep(bytes)
    }

    /// Returns the address that its client counts as.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(of_worker) = &self.of_worker {
            of_worker.fetch_sub(1, Ordering::Relaxed);
        }
        self.clients.give_back(self.address, |counts| counts.connections -= 1);
    }
}

/// The slot of a session.
#[derive(Debug)]
pub struct SessionSlot {
    clients: Arc<Clients>,
    address: IpAddr,
    has_joined: AtomicBool,
    is_released: AtomicBool,
}

impl SessionSlot {
    /// Gives the slot back now, for a session that has joined and waits for its client to come back.
    pub fn release(&self) {
        self.joined();
        if !self.is_released.swap(true, Ordering::Relaxed) {
            self.clients.give_back(self.address, |counts| counts.sessions -= 1);
        }
    }

    /// See [`Clients::may_keep`].
    pub fn may_keep(&self, bytes: usize) -> bool {
        self.clients.may_keep(bytes)
    }

    /// Counts the session as joined: MAX has confirmed its user.
    pub fn joined(&self) {
        if !self.has_joined.swap(true, Ordering::Relaxed) {
            self.clients.give_back(self.address, |counts| counts.unjoined -= 1);
        }
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        if *self.is_released.get_mut() {
            return;
        }
        let unjoined = usize::from(!*self.has_joined.get_mut());
        self.clients.give_back(self.address, |counts| {
            counts.sessions -= 1;
            counts.unjoined -= unjoined;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const OPEN: Bounds = Bounds::connections_only(100);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Takes up to `asked` sessions from one address. Returns them, and the bound that stopped the next one.
    fn sessions(clients: &Arc<Clients>, from: &str, asked: usize, now: Instant) -> (Vec<SessionSlot>, Option<Limit>) {
        let mut slots = Vec::new();
        for _ in 0..asked {
            match clients.admit(address(from), now) {
                Ok(slot) => slots.push(slot),
                Err(limit) => return (slots, Some(limit)),
            }
        }
        (slots, None)
    }

    #[test]
    fn each_bound_holds_and_gives_back() {
        let now = Instant::now();
        for (bounds, here, there, limit) in [
            (Bounds { sessions_max: 3, ..OPEN }, 3, 0, Limit::Sessions),
            (Bounds { sessions_per_address_max: 3, ..OPEN }, 3, 3, Limit::SessionsPerAddress),
            (Bounds { unjoined_max: 3, ..OPEN }, 3, 0, Limit::Unjoined),
            (Bounds { unjoined_per_address_max: 3, ..OPEN }, 3, 3, Limit::UnjoinedPerAddress),
        ] {
            let clients = Clients::new(bounds, Memory::UNLIMITED);
            let (held, stopped) = sessions(&clients, "10.0.0.1", 9, now);
            assert_eq!((held.len(), stopped), (here, Some(limit)));
            let (others, stopped) = sessions(&clients, "10.0.0.2", 9, now);
            assert_eq!((others.len(), stopped), (there, Some(limit)));
            drop((held, others));
            assert_eq!(sessions(&clients, "10.0.0.1", 9, now).0.len(), here, "{limit:?}");
            assert!(clients.state.lock().by_address.is_empty(), "{limit:?}");
        }
    }

    #[test]
    fn a_join_makes_room_for_others() {
        let clients = Clients::new(Bounds { unjoined_max: 2, ..OPEN }, Memory::UNLIMITED);
        let (slots, stopped) = sessions(&clients, "10.0.0.1", 9, Instant::now());
        assert_eq!((slots.len(), stopped), (2, Some(Limit::Unjoined)));
        slots[0].joined();
        slots[0].joined();
        assert_eq!(clients.unjoined(), 1);
        assert_eq!(sessions(&clients, "10.0.0.1", 9, Instant::now()).0.len(), 1);
        drop(slots);
        assert_eq!(clients.unjoined(), 0);
    }

    #[test]
    fn handshakes_have_a_rate_by_address_and_in_all() {
        let rate = |per_second| Rate { per_second, burst: per_second };
        let clients =
            Clients::new(Bounds { handshakes: rate(5), handshakes_per_address: rate(3), ..OPEN }, Memory::UNLIMITED);
        let now = Instant::now();
        let count = |from: &str, now| {
            let (slots, limit) = sessions(&clients, from, 9, now);
            (slots.len(), limit)
        };
        assert_eq!(count("10.0.0.1", now), (3, Some(Limit::HandshakesPerAddress)));
        assert_eq!(count("10.0.0.2", now), (2, Some(Limit::Handshakes)));
        assert_eq!(count("10.0.0.1", now + Duration::from_secs(1)), (3, Some(Limit::HandshakesPerAddress)));
    }

    #[test]
    fn addresses_are_forgotten() {
        let rate = Rate { per_second: 1, burst: 1 };
        let clients = Clients::new(Bounds { handshakes_per_address: rate, ..OPEN }, Memory::UNLIMITED);
        let start = Instant::now();
        let at = |n: u32| (IpAddr::from(n.to_be_bytes()), start + Duration::from_millis(u64::from(n)));
        for n in 0..100_000 {
            let (from, now) = at(n);
            drop(clients.admit(from, now));
        }
        assert!(clients.state.lock().by_address.len() <= 2 * SWEEP_MIN);
        // An address is kept until its bucket is full again.
        for n in 99_001..100_000 {
            let (from, _) = at(n);
            assert_eq!(clients.admit(from, at(100_000).1).err(), Some(Limit::HandshakesPerAddress), "{n}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_a_mapped_address_is_one_of_ipv4() {
        let clients = Clients::new(Bounds { connections_per_address_max: 1, ..OPEN }, Memory::UNLIMITED);
        let now = Instant::now();
        let _held = [clients.connect(address("2001:db8::1"), now), clients.connect(address("10.0.0.1"), now)];
        for (from, is_free) in
            [("2001:db8::2", false), ("2001:db8:0:1::1", true), ("::ffff:10.0.0.1", false), ("10.0.0.2", true)]
        {
            assert_eq!(clients.connect(address(from), now).is_ok(), is_free, "{from}");
        }
    }

    #[test]
    fn no_connection_is_beyond_the_bound_and_no_session_without_memory() {
        let clients = Clients::new(Bounds { connections_max: 10, ..OPEN }, Memory::UNLIMITED);
        let now = Instant::now();
        let mut held: Vec<_> = (0..10).map_while(|_| clients.connect(address("10.0.0.1"), now).ok()).collect();
        assert_eq!((held.len(), clients.is_crowded()), (10, true));
        assert_eq!(clients.connect(address("10.0.0.2"), now).err(), Some(Limit::Connections));
        held.truncate(8);
        assert!(!clients.is_crowded());
        let has_no_memory = Clients::new(OPEN, Memory::new(1));
        assert_eq!(has_no_memory.admit(address("10.0.0.1"), now).err(), Some(Limit::Memory));
        assert_eq!(has_no_memory.connect(address("10.0.0.1"), now).err(), Some(Limit::Memory));
        assert!(has_no_memory.may_keep(KEPT_ALWAYS) && !has_no_memory.may_keep(KEPT_ALWAYS + 1));
        assert!(clients.may_keep(usize::MAX));
    }
}
