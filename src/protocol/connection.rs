//! The machine that keeps a session alive: heartbeats, polls, changes of the transport, expiry. Its driver passes it
//! packets and the time, and does what it returns. The messages in the packets are read by [`super::socketio`].
//!
//! An Engine.IO session keeps the transport that it was opened by, but may be upgraded once from polling to a
//! WebSocket. A session of Socket.IO 0.9 begins without a transport, and moves to the transport that its client uses
//! next.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::alarms::Alarm;
use super::alarms::{Alarms, Deadline};
use super::engine::Packet;
use super::{Generation, ProtocolError, TransportKind};
use heart::Heart;

mod heart;

/// The periods of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Engine.IO: the time between two heartbeats (protocol section 1.3).
    pub ping_interval: Duration,
    /// Engine.IO: the time for the answer to a heartbeat.
    pub ping_timeout: Duration,
    /// Engine.IO: the time for an upgrade, from the new socket to the client's `5`.
    pub upgrade_timeout: Duration,
    /// How long a closed session is kept so that its next poll can be told.
    pub close_timeout: Duration,
    /// The periods of sessions of Socket.IO 0.9.
    pub legacy: LegacyPeriods,
}

/// The periods of sessions of Socket.IO 0.9 (protocol section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyPeriods {
    /// The time between two heartbeats over a WebSocket.
    pub heartbeat_interval: Duration,
    /// The time for the answer to a heartbeat. The handshake tells it to the client.
    pub heartbeat_timeout: Duration,
    /// The longest wait of a poll.
    pub polling_duration: Duration,
    /// The time from one poll to the next. The handshake tells it to the client.
    pub close_timeout: Duration,
    /// The time from the handshake to the first transport.
    pub handshake_timeout: Duration,
}

impl Periods {
    /// Returns the heartbeat of sessions of this generation.
    fn heartbeat(&self, generation: Generation) -> Heartbeat {
        let (interval, timeout) = match generation {
            Generation::Eio4 | Generation::Eio3 => (self.ping_interval, self.ping_timeout),
            Generation::Sio09 => (self.legacy.heartbeat_interval, self.legacy.heartbeat_timeout),
        };
        Heartbeat { interval, timeout }
    }
}

/// The periods of a heartbeat.
#[derive(Clone, Copy)]
struct Heartbeat {
    /// The time between two pings.
    interval: Duration,
    /// The time for the answer to a ping.
    timeout: Duration,
}

impl Heartbeat {
    /// Returns how long a client that pings, or is pinged, may say nothing.
    fn silence_max(self) -> Duration {
        self.interval + self.timeout
    }
}

/// The time between two noops that end polls during an upgrade: the client may poll again before it changes over.
const NOOP_INTERVAL: Duration = Duration::from_millis(100);

/// The state of one session: its transport, the deadlines that keep it alive, and the upgrade that is under way.
#[derive(Debug)]
pub struct Connection {
    periods: Arc<Periods>,
    heart: Heart,
    alarms: Alarms,
    /// In a box because an upgrade is soon over.
    upgrade: Option<Box<Upgrade>>,
    /// Whether the session was given more time since its client was last heard of. It is given that only once.
    excused: bool,
    /// When the ping went out that is not answered yet.
    pinged: Option<Instant>,
    beat: Option<Beat>,
}

/// A heartbeat of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// A ping went out, or the client has sent one.
    Ping,
    /// The client has answered a ping after this time.
    Answer(Duration),
}

/// An upgrade of an Engine.IO session, which has begun with a new transport.
#[derive(Debug)]
struct Upgrade {
    /// When the upgrade is given up.
    by: Instant,
    /// When a poll that waits is ended. `None` before the probe.
    noop_at: Option<Instant>,
}

/// The meaning of a packet from the session's transport.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing to do.
    Nothing,
    /// A ping with its data. It is answered by a pong with the same data.
    Ping(&'a str),
    /// A text message for the layer above.
    Text(&'a str),
    /// A binary message for the layer above.
    Binary(Cow<'a, [u8]>),
    /// The client closes the session.
    Close,
}

/// How the driver has to treat a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The poll waits for packets.
    Waits,
    /// The poll waits. The older poll that waited has to be ended.
    Replaces,
    /// The poll is answered at once, by [`legacy::GREETING`](super::legacy::GREETING) alone. Any older transport has to
    /// be closed.
    Greeted,
    /// Another poll waits already: the session is over.
    Overlaps,
    /// The session is no longer on polling.
    Refused,
}

/// How the driver has to treat a socket for a session that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The socket is the transport of an upgrade. Its packets go to [`Connection::handle_probe`].
    Probes,
    /// The socket is the session's transport from now on. Any older transport has to be closed.
    Takes,
    /// There is nothing to upgrade.
    Refused,
}

/// How the driver has to treat a packet from the transport of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Answer `3probe` on that transport. From now on polls do not wait for long.
    Answer,
    /// That transport is now the session's.
    Upgraded,
    /// Close that transport. The session keeps its own.
    Close,
}

/// What the driver has to do because time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping.
    Ping,
    /// Answer the waiting poll by a noop.
    Noop,
    /// The client was silent for too long: the session is over.
    Expired,
    /// Close the transport of the upgrade, which was not finished. The session keeps its own.
    UpgradeExpired,
}

impl Connection {
    /// Returns a session that begins `now` on `transport`. A session of 0.9 has none yet, which looks like polling.
    pub fn new(generation: Generation, transport: TransportKind, periods: Arc<Periods>, now: Instant) -> Self {
        let mut alarms = Alarms::new(now);
        let heart = Heart::begin(generation, transport, &periods, &mut alarms, now);
        Self { periods, heart, alarms, upgrade: None, excused: false, pinged: None, beat: None }
    }

    /// Returns the periods that the session was opened with.
    pub fn periods(&self) -> &Periods {
        &self.periods
    }

    /// Returns the generation that the client speaks.
    pub fn generation(&self) -> Generation {
        self.heart.generation()
    }

    /// Returns the transport that carries the session.
    pub fn transport(&self) -> TransportKind {
        self.heart.transport()
    }

    /// Returns whether a request that comes `now` is too late, even if [`Self::handle_timeout`] was not called in time.
    /// While a ping or noop is still to be sent, its sending may be late too, so the client's time to answer is added.
    pub fn is_over(&self, now: Instant) -> bool {
        self.heart.over_at(&self.periods).is_some_and(|due| due <= now && !self.may_be_excused(due, now))
    }

    /// Takes a packet that came by the session's transport.
    ///
    /// # Errors
    /// [`ProtocolError::Direction`]: the session is over.
    pub fn handle_packet<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Result<Received<'a>, ProtocolError> {
        let is_first_after_greeting = self.heart.hear(&self.periods, &mut self.alarms, now);
        self.excused = false;
        match (packet, self.generation()) {
            // A client of 0.9 whose session was ended by the server sends the `0::` of that session when it is greeted
            // in the next one.
            (Packet::Close, _) if is_first_after_greeting => Ok(Received::Nothing),
            (Packet::Text(text), _) => Ok(Received::Text(text)),
            (Packet::Binary(data), _) => Ok(Received::Binary(data)),
            (Packet::Close, _) => Ok(Received::Close),
            (Packet::Ping(data), Generation::Eio3) => {
                self.beat = Some(Beat::Ping);
                Ok(Received::Ping(data))
            }
            (Packet::Ping(_), Generation::Eio4) | (Packet::Pong(_), Generation::Eio3) => Err(ProtocolError::Direction),
            (Packet::Pong(_), Generation::Eio4 | Generation::Sio09) => {
                self.heart.hear_pong(&self.periods, &mut self.alarms, now);
                if let Some(pinged) = self.pinged.take() {
                    self.beat = Some(Beat::Answer(now.saturating_duration_since(pinged)));
                }
                Ok(Received::Nothing)
            }
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop | Packet::Ping(_), _) => Ok(Received::Nothing),
        }
    }

    /// Takes a poll. `script` says whether its answer will be a script. If the poll waits, [`Self::end_poll`] has to be
    /// called when it was answered.
    pub fn begin_poll(&mut self, script: bool, now: Instant) -> Polled {
        self.heart.begin_poll(script, &self.periods, &mut self.alarms, now)
    }

    /// Takes note that the poll that waited was answered.
    pub fn end_poll(&mut self, now: Instant) {
        self.heart.end_poll(&self.periods, &mut self.alarms, now);
    }

    /// Takes note that the client has dropped the poll that waited. Returns whether the session lives on: 0.9 tries
    /// again with the same sid.
    pub fn lose_poll(&mut self, now: Instant) -> bool {
        self.end_poll(now);
        self.generation() == Generation::Sio09
    }

    /// Takes note that the socket is gone. Returns whether the session lives on. It does if its client speaks 0.9 and
    /// has not said anything yet: something on the way may block the socket, and the client then comes by another
    /// transport with the same sid.
    pub fn lose_socket(&mut self, now: Instant) -> bool {
        self.heart.lose_socket(&self.periods, &mut self.alarms, now)
    }

    /// Returns whether a POST is taken now.
    pub fn takes_posts(&self) -> bool {
        self.transport() == TransportKind::Polling || self.generation() == Generation::Sio09
    }

    /// Takes a socket with this session's sid.
    pub fn attach(&mut self, now: Instant) -> Attached {
        if self.heart.take_socket(&self.periods, &mut self.alarms, now) {
            return Attached::Takes;
        }
        if self.transport() != TransportKind::Polling || self.upgrade.is_some() {
            return Attached::Refused;
        }
        let by = self.alarms.set(Deadline::Upgrade, self.periods.upgrade_timeout, now);
        self.upgrade = Some(Box::new(Upgrade { by, noop_at: None }));
        Attached::Probes
    }

    /// Takes a packet that came by the transport of the upgrade.
    pub fn handle_probe(&mut self, packet: &Packet<'_>, now: Instant) -> Probed {
        match (packet, &mut self.upgrade) {
            (Packet::Ping("probe"), Some(upgrade)) => {
                upgrade.noop_at.get_or_insert(now);
                Probed::Answer
            }
            // Some clients do not probe (elephant.io of PHP), and the official server upgrades them.
            (Packet::Upgrade, Some(_)) => {
                self.abandon_upgrade();
                self.heart.upgrade();
                Probed::Upgraded
            }
            _ => {
                self.abandon_upgrade();
                Probed::Close
            }
        }
    }

    /// Takes note that the transport of the upgrade is gone. The session keeps its transport, and may be upgraded
    /// again.
    pub fn abandon_upgrade(&mut self) {
        self.upgrade = None;
    }

    /// Returns the heartbeat since the last call. `None` if there was none; the last one if there were more.
    pub fn poll_beat(&mut self) -> Option<Beat> {
        self.beat.take()
    }

    /// Returns the next alarm that was set since the last call, or `None` if there are no more. After each call of
    /// another method, call it until it returns `None`.
    pub fn poll_alarm(&mut self) -> Option<Alarm> {
        self.alarms.poll()
    }

    /// Returns what is due `now`. Call it until it returns `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if let Some(due) = self.heart.speak(&self.periods, &mut self.alarms, now) {
            if due == Due::Ping {
                (self.pinged, self.beat) = (Some(now), Some(Beat::Ping));
            }
            return Some(due);
        }
        self.heart.renew_alarms(&self.periods, &mut self.alarms, now);
        if let Some(due) = self.heart.silent_until().filter(|due| *due <= now) {
            if !self.may_be_excused(due, now) {
                return Some(Due::Expired);
            }
            self.excused = true;
            self.heart.excuse(&self.periods, &mut self.alarms, now);
        }
        let upgrade = self.upgrade.as_mut()?;
        if upgrade.by <= now {
            self.abandon_upgrade();
            return Some(Due::UpgradeExpired);
        }
        if self.heart.is_polled() && upgrade.noop_at.is_some_and(|due| due <= now) {
            upgrade.noop_at = Some(self.alarms.set(Deadline::Noop, NOOP_INTERVAL, now));
            return Some(Due::Noop);
        }
        None
    }

    /// Returns whether a session that was over at `due` gets more time. It does once, if `now` is so late that the
    /// process must have stood still and could not read the packets of the client: an alarm alone is late by at most an
    /// eighth of its period.
    fn may_be_excused(&self, due: Instant, now: Instant) -> bool {
        let silence_max = self.periods.heartbeat(self.generation()).silence_max();
        !self.excused && now.saturating_duration_since(due) > silence_max / 4
    }
}

#[cfg(test)]
mod tests;
