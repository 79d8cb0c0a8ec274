//! The honest clients beside a flood: pairs that talk at a steady rate, over WebSocket and by polling, and clients that
//! come, join and go. Each has an address and a user of its own.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{interval, sleep, timeout};

use crate::samples::{Kind, Samples};
use crate::wire::{Line, PATIENCE, join, request, talk, text};

/// Pairs over WebSocket; one more pair polls.
const PAIRS: usize = 3;

const TALK_INTERVAL: Duration = Duration::from_millis(50);
const POLLED_TALK_INTERVAL: Duration = Duration::from_millis(100);
const JOIN_INTERVAL: Duration = Duration::from_millis(100);
const POLLED_JOIN_INTERVAL: Duration = Duration::from_millis(500);

/// How soon a disconnected neighbour comes back.
const RETURN_INTERVAL: Duration = Duration::from_millis(200);

/// All neighbours and their measurements. They run on the runtime that starts them, until it ends.
#[derive(Clone, Default)]
pub struct Neighbours(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    samples: Samples,
    /// Messages that were sent and not yet heard, with the time of sending.
    waiting: HashMap<(Kind, String), Instant>,
    /// The number of lasting sessions that have joined.
    present: usize,
}

impl State {
    /// Returns whether all lasting sessions have joined.
    fn is_complete(&self) -> bool {
        self.present == 2 * (PAIRS + 1)
    }
}

impl Neighbours {
    /// Starts the neighbours. They are [`all_present`](Self::all_present) a little later.
    pub fn start(addr: SocketAddr) -> Self {
        let all = Self::default();
        for pair in 0..PAIRS {
            for end in 0..2 {
                let (all, place) = (all.clone(), Place::new(addr, pair, end));
                tokio::spawn(again_and_again(all, move |all| place.clone().socket_life(all)));
            }
        }
        for end in 0..2 {
            let (all, place) = (all.clone(), Place::new(addr, PAIRS, end));
            tokio::spawn(again_and_again(all, move |all| place.clone().polled_life(all)));
        }
        tokio::spawn(all.clone().come_and_go(addr, JOIN_INTERVAL, 2, join_by_socket));
        tokio::spawn(all.clone().come_and_go(addr, POLLED_JOIN_INTERVAL, 3, join_by_polling));
        all
    }

    /// Returns whether all lasting sessions have joined.
    pub fn all_present(&self) -> bool {
        self.state().is_complete()
    }

    /// Returns the samples since the last call. A message that has long been waited for counts with its wait so far.
    pub fn take(&self) -> Samples {
        let mut state = self.state();
        let now = Instant::now();
        let State { samples, waiting, .. } = &mut *state;
        waiting.retain(|(kind, _), since| {
            let waited = now - *since;
            if waited > Duration::from_secs(1) {
                samples.add(*kind, waited);
            }
            waited < PATIENCE
        });
        std::mem::take(samples)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self, id: &str) {
        let now = Instant::now();
        let mut state = self.state();
        state.waiting.insert((Kind::Talk, id.to_owned()), now);
        // The first ones would talk to nobody.
        if state.is_complete() {
            state.waiting.insert((Kind::Delivery, id.to_owned()), now);
        }
    }

    fn came(&self, kind: Kind, id: &str) {
        let mut state = self.state();
        if let Some(since) = state.waiting.remove(&(kind, id.to_owned())) {
            state.samples.add(kind, since.elapsed());
        }
    }

    /// Handles the packets that a neighbour hears.
    fn hear(&self, packet: &str, place: &Place) -> io::Result<()> {
        if let Some(ack) = packet.strip_prefix("43/max,") {
            let number = ack.split('[').next().unwrap_or_default();
            if !ack.ends_with("[{\"ok\":true}]") {
                self.state().samples.refused += 1;
            }
            self.came(Kind::Talk, &format!("{}-{number}", place.user));
        } else if packet.starts_with("42/max,[\"update\"") {
            let id = packet.split_once("\"messageID\":\"").and_then(|(_, id)| id.split('"').next());
            if let Some(id) = id {
                self.came(Kind::Delivery, id);
            }
        } else if packet.starts_with('1') || packet.starts_with("41") {
            return Err(io::Error::other("thrown out"));
        }
        Ok(())
    }

    async fn come_and_go<F: Future<Output = io::Result<()>> + Send + 'static>(
        self,
        addr: SocketAddr,
        pace: Duration,
        network: u8,
        join: fn(SocketAddr, IpAddr, String) -> F,
    ) {
        let mut ticks = interval(pace);
        for n in 0_u32.. {
            ticks.tick().await;
            let from = IpAddr::from(Ipv4Addr::new(127, 0, network, (n % 200 + 1) as u8));
            let all = self.clone();
            let user = format!("lobby.{network}x{n}");
            tokio::spawn(async move {
                all.state().waiting.insert((Kind::Join, user.clone()), Instant::now());
                let joined = timeout(PATIENCE, join(addr, from, user.clone())).await;
                if let Ok(Ok(())) = joined {
                    return all.came(Kind::Join, &user);
                }
                // A refusal counts as a wait without an answer.
                let mut state = all.state();
                state.waiting.remove(&(Kind::Join, user));
                state.samples.add(Kind::Join, PATIENCE);
                state.samples.refused += 1;
            });
        }
    }
}

async fn join_by_socket(addr: SocketAddr, from: IpAddr, user: String) -> io::Result<()> {
    Line::connect(addr, from).await?.enter_as(&user).await.map(drop)
}

async fn join_by_polling(addr: SocketAddr, from: IpAddr, user: String) -> io::Result<()> {
    let (mut line, target) = polling(addr, from).await?;
    line.write(&request("POST", &target, &format!("40/max,\x1e{}", join(&user)))).await?;
    line.answer().await?;
    loop {
        line.write(&request("GET", &target, "")).await?;
        if line.answer().await?.contains("[\"listening\",") {
            line.write(&request("POST", &target, "1")).await?;
            return line.answer().await.map(drop);
        }
    }
}

/// Opens a session by polling and returns its target.
async fn polling(addr: SocketAddr, from: IpAddr) -> io::Result<(Line, String)> {
    let endpoint = "/socket.io/?EIO=4&transport=polling";
    let mut line = Line::connect(addr, from).await?;
    line.write(&request("GET", endpoint, "")).await?;
    let open = line.answer().await?;
    let sid = open.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let sid = sid.ok_or_else(|| io::Error::other(format!("no handshake: {open}")))?;
    Ok((line, format!("{endpoint}&sid={sid}")))
}

/// Runs one life after the other. A life ends when the neighbour is disconnected.
async fn again_and_again<F: Future<Output = io::Result<()>>>(all: Neighbours, life: impl Fn(Neighbours) -> F) {
    loop {
        if life(all.clone()).await.is_err() {
            all.state().samples.refused += 1;
        }
        sleep(RETURN_INTERVAL).await;
    }
}

/// One end of a pair.
#[derive(Clone)]
struct Place {
    addr: SocketAddr,
    from: IpAddr,
    conversation: String,
    user: String,
}

impl Place {
    fn new(addr: SocketAddr, pair: usize, end: usize) -> Self {
        let conversation = format!("quiet{pair}");
        let user = format!("{conversation}.{end}");
        let from = IpAddr::from(Ipv4Addr::new(127, 0, 1, (2 * pair + end + 1) as u8));
        Self { addr, from, conversation, user }
    }

    async fn socket_life(self, all: Neighbours) -> io::Result<()> {
        let mut line = Line::connect(self.addr, self.from).await?.enter_as(&self.user).await?;
        let _present = Present::new(&all);
        let mut ticks = interval(TALK_INTERVAL);
        for n in 0_u64.. {
            // Only whole frames are taken, so reading may be cancelled at any time.
            loop {
                tokio::select! {
                    packet = line.frame() => match packet?.as_str() {
                        "2" => line.write(&text("3")).await?,
                        packet => all.hear(packet, &self)?,
                    },
                    _ = ticks.tick() => break,
                }
            }
            let id = format!("{}-{n}", self.user);
            all.said(&id);
            line.write(&text(&talk(&self.conversation, &id, &n.to_string()))).await?;
        }
        Ok(())
    }

    async fn polled_life(self, all: Neighbours) -> io::Result<()> {
        let (mut polls, target) = polling(self.addr, self.from).await?;
        let mut posts = Line::connect(self.addr, self.from).await?;
        let post = |packet: &str| request("POST", &target, packet);
        posts.write(&post(&format!("40/max,\x1e{}", join(&self.user)))).await?;
        posts.answer().await?;
        let (pong, mut pongs) = tokio::sync::mpsc::channel(1);
        let listening = tokio::sync::Notify::new();
        let listen = async {
            loop {
                polls.write(&request("GET", &target, "")).await?;
                for packet in polls.answer().await?.split('\x1e') {
                    match packet {
                        "2" => drop(pong.try_send(())),
                        packet if packet.contains("[\"listening\",") => listening.notify_one(),
                        packet => all.hear(packet, &self)?,
                    }
                }
            }
            #[allow(unreachable_code, reason = "it says the type of the error")]
            io::Result::Ok(())
        };
        let speak = async {
            timeout(PATIENCE, listening.notified()).await.map_err(|_| io::ErrorKind::TimedOut)?;
            let _present = Present::new(&all);
            let mut ticks = interval(POLLED_TALK_INTERVAL);
            for n in 0_u64.. {
                ticks.tick().await;
                if pongs.try_recv().is_ok() {
                    posts.write(&post("3")).await?;
                    posts.answer().await?;
                }
                let id = format!("{}-{n}", self.user);
                all.said(&id);
                posts.write(&post(&talk(&self.conversation, &id, &n.to_string()))).await?;
                posts.answer().await?;
            }
            io::Result::Ok(())
        };
        tokio::try_join!(listen, speak).map(drop)
    }
}

/// Counts a session as present while it lives.
struct Present<'a>(&'a Neighbours);

impl<'a> Present<'a> {
    fn new(all: &'a Neighbours) -> Self {
        all.state().present += 1;
        Self(all)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.state().present -= 1;
    }
}
