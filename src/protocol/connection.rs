//! The machine that keeps a session alive: heartbeats, polls, the change of its transport, expiry. It is driven:
//! packets and the time go in, what is to be done comes out. The messages that it carries are the business of
//! [`super::socketio`].
//!
//! Engine.IO sessions begin on the transport that they were opened by, and may be upgraded once from polling to a
//! WebSocket. Sessions of Socket.IO 0.9 begin without one, and move to whatever their client comes by next.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::Packet;
use super::{Generation, ProtocolError, TransportKind};

/// The periods of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Engine.IO: between two heartbeats (protocol section 1.3).
    pub ping_interval: Duration,
    /// Engine.IO: for the answer to one.
    pub ping_timeout: Duration,
    /// Engine.IO: for an upgrade, from the new socket to the client's `5`.
    pub upgrade_timeout: Duration,
    /// How long a session that was closed between two polls waits for the next one.
    pub close_timeout: Duration,
    /// Socket.IO 0.9.
    pub legacy: LegacyPeriods,
}

/// The periods of sessions of Socket.IO 0.9 (protocol section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyPeriods {
    /// Between two heartbeats over a WebSocket.
    pub heartbeat_interval: Duration,
    /// For the answer to one; the handshake says it.
    pub heartbeat_timeout: Duration,
    /// Longest wait of a poll.
    pub polling_duration: Duration,
    /// From one poll to the next; the handshake says it.
    pub close_timeout: Duration,
    /// From the handshake to the first transport.
    pub handshake_timeout: Duration,
}

/// While an upgrade is under way, one poll is ended in this time: the client may poll again before it changes over.
const NOOP_INTERVAL: Duration = Duration::from_millis(100);

/// A session: which transport it has, when it must be heard of, and whether that transport is about to change.
#[derive(Debug)]
pub struct Connection {
    generation: Generation,
    transport: TransportKind,
    periods: Arc<Periods>,
    /// When to say something where there is nothing else to say: a ping, or, to a poll of 0.9, that there is nothing.
    /// None while the answer to a ping is awaited, and where the client is the one who pings.
    speak_at: Option<Instant>,
    /// When the session is over unless its client is heard of.
    expires_at: Instant,
    /// When the session is over unless its client polls, over Engine.IO as long as no poll waits: a client that says
    /// things and hears nothing is not there.
    poll_by: Instant,
    /// When the last alarms for these three are due. A deadline that a client may put off at will is not announced each
    /// time: where it has moved by little, it is looked at again when the older alarm comes.
    alarmed_until: [Instant; 3],
    /// In a box because an upgrade is soon over.
    upgrade: Option<Box<Upgrade>>,
    /// Whether a session whose time was over, and was found to be so late, was given more: that happens once.
    excused: bool,
    /// Whether a poll waits.
    polled: bool,
    /// Whether polls that are answered by text, and by a script, have been told `1::`: to a client of 0.9 these are two
    /// transports, and it takes the second where it hears nothing by the first.
    greeted: [bool; 2],
    /// Whether the client has said anything yet.
    used: bool,
    /// Deadlines that were set and that nobody has been told of: at rest there are none.
    unannounced: Option<Box<[Option<Alarm>; 5]>>,
}

/// An upgrade whose transport is there.
#[derive(Debug)]
struct Upgrade {
    /// When it is given up.
    by: Instant,
    /// When a poll that waits is ended; none before the probe.
    noop_at: Option<Instant>,
}

/// A deadline that the machine has set: `due` is `period` from when it was set, so that one queue per period is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// How long from the setting.
    pub period: Duration,
    /// When [`Connection::handle_timeout`] wants to be called.
    pub due: Instant,
}

/// What a packet from a session's transport means for its driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing to do.
    Nothing,
    /// A ping, with what it carries: a pong has to carry the same.
    Ping(&'a str),
    /// A text message for the layer above.
    Text(&'a str),
    /// A binary message for the layer above.
    Binary(Cow<'a, [u8]>),
    /// The client closes the session.
    Close,
}

/// What is to be done with a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// It waits for packets.
    Waits,
    /// It waits, and the one that has waited is to be ended.
    Replaces,
    /// It is answered at once, by [`legacy::GREETING`](super::legacy::GREETING) alone; whatever other transport there
    /// was is to go.
    Greeted,
    /// There is one already: the session is over.
    Overlaps,
    /// The session is no longer on polling.
    Refused,
}

/// What is to be done with a socket for a session that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// It is the transport of an upgrade, to be read by [`Connection::handle_probe`].
    Probes,
    /// It is the session's transport from now on; whatever other there was is to go.
    Takes,
    /// There is nothing to upgrade.
    Refused,
}

/// What a packet from the transport of an upgrade means for its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Answer `3probe` on that transport; from now on polls do not wait for long.
    Answer,
    /// That transport is now the session's.
    Upgraded,
    /// Close that transport; the session lives on as it was.
    Close,
}

/// What has to be done because time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping.
    Ping,
    /// End the poll that waits: there is nothing new.
    Noop,
    /// The client was silent for too long: the session is over.
    Expired,
    /// The upgrade was not finished: close its transport; the session lives on as it was.
    UpgradeExpired,
}

/// The places in the list of deadlines that nobody has been told of.
const SPEAK: usize = 0;
const EXPIRE: usize = 1;
const POLL: usize = 2;
const UPGRADE: usize = 3;
const NOOP: usize = 4;

impl Connection {
    /// A session that begins `now` on `transport`; one of 0.9 has none yet, which looks like polling.
    pub fn new(generation: Generation, transport: TransportKind, periods: Arc<Periods>, now: Instant) -> Self {
        let mut connection = Self {
            generation,
            transport,
            periods,
            speak_at: None,
            expires_at: now,
            poll_by: now,
            alarmed_until: [now; 3],
            upgrade: None,
            excused: false,
            polled: false,
            greeted: [false; 2],
            used: false,
            unannounced: None,
        };
        match generation {
            Generation::Eio4 => connection.await_pong(now),
            Generation::Eio3 => connection.expire_in(connection.silence_max(), now),
            Generation::Sio09 => connection.expire_in(connection.periods.legacy.handshake_timeout, now),
        }
        // The alarm for the first of them comes at the same time.
        (connection.poll_by, connection.alarmed_until[POLL]) = (connection.expires_at, connection.expires_at);
        connection
    }

    /// How long it waits for what.
    pub fn periods(&self) -> &Periods {
        &self.periods
    }

    /// What the client speaks.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Which transport carries the session.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }

    /// Whether the session is over though no [`Self::handle_timeout`] came: a request that comes now is too late. Where
    /// we speak before that, it may happen late, and the client has its time to answer from then on.
    pub fn is_over(&self, now: Instant) -> bool {
        let expires_at = match (self.generation, self.speak_at) {
            (Generation::Sio09, Some(noop_at)) if self.polled => noop_at + self.periods.legacy.close_timeout,
            (_, Some(_)) if self.has_heartbeat() => self.expires_at + self.heartbeat().1,
            _ => self.expires_at,
        };
        expires_at <= now && !self.may_be_excused(expires_at, now)
    }

    /// Takes a packet that came by the session's transport.
    ///
    /// # Errors
    /// [`ProtocolError::Direction`]: the session is over.
    pub fn handle_packet<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Result<Received<'a>, ProtocolError> {
        if self.generation == Generation::Eio3 {
            self.expires_at = self.put_off(EXPIRE, self.silence_max(), now);
        }
        self.excused = false;
        let is_first = !std::mem::replace(&mut self.used, true);
        match (packet, self.generation) {
            // A client of 0.9 whose session was ended by the server keeps its own end of it, and says it when it is
            // greeted in the next one.
            (Packet::Close, Generation::Sio09) if is_first && self.is_greeted() => Ok(Received::Nothing),
            (Packet::Text(text), _) => Ok(Received::Text(text)),
            (Packet::Binary(data), _) => Ok(Received::Binary(data)),
            (Packet::Close, _) => Ok(Received::Close),
            (Packet::Ping(data), Generation::Eio3) => Ok(Received::Ping(data)),
            (Packet::Ping(_), Generation::Eio4) | (Packet::Pong(_), Generation::Eio3) => Err(ProtocolError::Direction),
            (Packet::Pong(_), Generation::Eio4 | Generation::Sio09) => {
                // Only the first answer counts: a flood of pongs would set a deadline each.
                if self.speak_at.is_none() && self.has_heartbeat() {
                    self.await_pong(now);
                }
                Ok(Received::Nothing)
            }
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop | Packet::Ping(_), _) => Ok(Received::Nothing),
        }
    }

    /// Takes a poll, to be answered by a script or not. [`Self::end_poll`] has to be called when one that waits was
    /// answered.
    pub fn begin_poll(&mut self, script: bool, now: Instant) -> Polled {
        match self.generation {
            Generation::Eio4 | Generation::Eio3 if self.transport == TransportKind::WebSocket => Polled::Refused,
            Generation::Eio4 | Generation::Eio3 if self.polled => Polled::Overlaps,
            Generation::Eio4 | Generation::Eio3 => {
                self.polled = true;
                Polled::Waits
            }
            Generation::Sio09 if !self.greeted[usize::from(script)] => {
                (self.transport, self.polled) = (TransportKind::Polling, false);
                self.greeted[usize::from(script)] = true;
                self.speak_at = None;
                self.expire_in(self.periods.legacy.close_timeout, now);
                Polled::Greeted
            }
            Generation::Sio09 => {
                self.speak_at = Some(self.put_off(SPEAK, self.periods.legacy.polling_duration, now));
                if std::mem::replace(&mut self.polled, true) { Polled::Replaces } else { Polled::Waits }
            }
        }
    }

    /// The poll that waited was answered.
    pub fn end_poll(&mut self, now: Instant) {
        self.polled = false;
        if self.generation == Generation::Sio09 {
            self.expires_at = self.put_off(EXPIRE, self.periods.legacy.close_timeout, now);
        } else if self.transport == TransportKind::Polling {
            self.poll_by = self.put_off(POLL, self.silence_max(), now);
        }
    }

    /// The client has dropped the poll that waited. True where the session lives on: 0.9 tries again with the same sid.
    pub fn lose_poll(&mut self, now: Instant) -> bool {
        self.end_poll(now);
        self.generation == Generation::Sio09
    }

    /// The socket is gone. True where the session lives on: a client of 0.9 that has not said anything yet, because
    /// something on the way of its socket lets nothing through, comes by another transport with the same sid.
    pub fn lose_socket(&mut self, now: Instant) -> bool {
        if self.generation != Generation::Sio09 || self.used {
            return false;
        }
        (self.transport, self.speak_at) = (TransportKind::Polling, None);
        self.expire_in(self.periods.legacy.close_timeout, now);
        true
    }

    /// Whether a POST is taken now.
    pub fn takes_posts(&self) -> bool {
        self.transport == TransportKind::Polling || self.generation == Generation::Sio09
    }

    /// Takes a socket with this session's sid.
    pub fn attach(&mut self, now: Instant) -> Attached {
        if self.generation == Generation::Sio09 {
            (self.transport, self.polled) = (TransportKind::WebSocket, false);
            self.greeted = [false; 2];
            self.await_pong(now);
            return Attached::Takes;
        }
        if self.transport != TransportKind::Polling || self.upgrade.is_some() {
            return Attached::Refused;
        }
        let by = self.set_alarm(UPGRADE, self.periods.upgrade_timeout, now);
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
                (self.transport, self.polled) = (TransportKind::WebSocket, false);
                Probed::Upgraded
            }
            _ => {
                self.abandon_upgrade();
                Probed::Close
            }
        }
    }

    /// The transport of the upgrade is gone. The session stays where it was, and may be upgraded again.
    pub fn abandon_upgrade(&mut self) {
        self.upgrade = None;
    }

    /// The next deadline that was set since the last call. Call until there is none, after anything else was called.
    pub fn poll_alarm(&mut self) -> Option<Alarm> {
        let alarm = self.unannounced.as_mut()?.iter_mut().find_map(Option::take);
        if alarm.is_none() {
            self.unannounced = None;
        }
        alarm
    }

    /// What is due `now`. Call until there is nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.speak_at.take_if(|due| *due <= now).is_some() {
            if self.has_heartbeat() {
                // A ping that goes out late, because the machine slept, still leaves the client time to answer.
                let least = self.heartbeat().1 / 2;
                if self.expires_at < now + least {
                    self.expire_in(least, now);
                }
                return Some(Due::Ping);
            }
            if self.polled {
                return Some(Due::Noop);
            }
        }
        self.renew_alarms(now);
        if let Some(due) = self.silent_until().filter(|due| *due <= now) {
            if !self.may_be_excused(due, now) {
                return Some(Due::Expired);
            }
            // Half of the time for an answer, as for one to a ping that goes out late.
            self.excused = true;
            self.expire_in(self.heartbeat().1 / 2, now);
            self.poll_by = self.expires_at.max(self.poll_by);
        }
        let upgrade = self.upgrade.as_mut()?;
        if upgrade.by <= now {
            self.abandon_upgrade();
            return Some(Due::UpgradeExpired);
        }
        if self.polled && upgrade.noop_at.is_some_and(|due| due <= now) {
            upgrade.noop_at = Some(now + NOOP_INTERVAL);
            self.set_alarm(NOOP, NOOP_INTERVAL, now);
            return Some(Due::Noop);
        }
        None
    }

    /// When the silence of the client is the end of the session. None while a poll of 0.9 waits: its client is there.
    fn silent_until(&self) -> Option<Instant> {
        match self.generation {
            Generation::Sio09 => Some(self.expires_at).filter(|_| !self.polled),
            Generation::Eio4 | Generation::Eio3 => Some(self.poll_by().unwrap_or(self.expires_at).min(self.expires_at)),
        }
    }

    /// When the client has to have polled, where it has to.
    fn poll_by(&self) -> Option<Instant> {
        let has_to = self.generation != Generation::Sio09 && self.transport == TransportKind::Polling && !self.polled;
        has_to.then_some(self.poll_by)
    }

    /// Whether a session that was over at `due`, and is looked at so late that the process must have stood still, may
    /// have a client that could not be heard of. An alarm alone is late by no more than an eighth of its period.
    fn may_be_excused(&self, due: Instant, now: Instant) -> bool {
        !self.excused && now.saturating_duration_since(due) > self.silence_max() / 4
    }

    /// Whether a client of 0.9 was told `1::`.
    fn is_greeted(&self) -> bool {
        self.transport == TransportKind::WebSocket || self.greeted != [false; 2]
    }

    /// Whether we are the ones who ping.
    fn has_heartbeat(&self) -> bool {
        match self.generation {
            Generation::Eio4 => true,
            Generation::Eio3 => false,
            Generation::Sio09 => self.transport == TransportKind::WebSocket,
        }
    }

    /// Between two pings, and for the answer to one.
    fn heartbeat(&self) -> (Duration, Duration) {
        match self.generation {
            Generation::Eio4 | Generation::Eio3 => (self.periods.ping_interval, self.periods.ping_timeout),
            Generation::Sio09 => (self.periods.legacy.heartbeat_interval, self.periods.legacy.heartbeat_timeout),
        }
    }

    /// How long a client that pings, or is pinged, may say nothing.
    fn silence_max(&self) -> Duration {
        let (interval, timeout) = self.heartbeat();
        interval + timeout
    }

    /// The client was heard of: the next ping is to come, and the answer to it.
    fn await_pong(&mut self, now: Instant) {
        self.speak_at = Some(self.set_alarm(SPEAK, self.heartbeat().0, now));
        self.expire_in(self.silence_max(), now);
    }

    fn expire_in(&mut self, period: Duration, now: Instant) {
        self.expires_at = self.set_alarm(EXPIRE, period, now);
    }

    /// A deadline `period` from now, which a client may put off at will: so there are no more than eight alarms in a
    /// period, and one that has come too early is [renewed](Self::renew_alarms).
    fn put_off(&mut self, place: usize, period: Duration, now: Instant) -> Instant {
        let due = now + period;
        let soon_enough = (due - period / 8..=due).contains(&self.alarmed_until[place]);
        if soon_enough { due } else { self.set_alarm(place, period, now) }
    }

    /// Sees to it that deadlines which were put off since their alarm was set are looked at again, not much too late.
    fn renew_alarms(&mut self, now: Instant) {
        if self.alarmed_until.iter().all(|until| *until > now) {
            return;
        }
        let legacy = self.periods.legacy;
        let silence_max = match self.generation {
            Generation::Eio4 | Generation::Eio3 => self.silence_max(),
            Generation::Sio09 => legacy.close_timeout,
        };
        let deadlines = [
            (SPEAK, self.speak_at, legacy.polling_duration),
            (EXPIRE, Some(self.expires_at), silence_max),
            (POLL, self.poll_by(), silence_max),
        ];
        for (place, due, period) in deadlines {
            if due.is_some_and(|due| due > now) && self.alarmed_until[place] <= now {
                self.set_alarm(place, period / 8, now);
            }
        }
    }

    fn set_alarm(&mut self, place: usize, period: Duration, now: Instant) -> Instant {
        let due = now + period;
        if let Some(until) = self.alarmed_until.get_mut(place) {
            *until = due;
        }
        self.unannounced.get_or_insert_default()[place] = Some(Alarm { period, due });
        due
    }
}

#[cfg(test)]
mod tests;
