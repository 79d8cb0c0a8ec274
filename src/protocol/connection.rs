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

impl Default for LegacyPeriods {
    /// Those of the official server.
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(60),
            polling_duration: Duration::from_secs(20),
            close_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(30),
        }
    }
}

/// What a client of 0.9 is told whose sid is unknown: that it is, and that it is to begin anew, which it does by
/// itself.
pub const NOT_HANDSHAKEN: &str = "7:::1+0";

/// The first word on every new transport of 0.9, whose client is then in the namespace `/`.
pub const GREETING: &str = "1::";

/// What a server says on its own account, in the words of a generation.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// Are you there?
    pub ping: &'static str,
    /// Nothing new: the end of a poll.
    pub noop: &'static str,
    /// The session is over, to whoever polls it.
    pub close: &'static str,
    /// As you wish, to a client that polls and has closed its session.
    pub closed: &'static str,
    /// The server stops. What would keep a client from coming back is not said: a stop is not for ever.
    pub stop: &'static str,
    /// As you wish, to a client that has closed its session by a packet over a WebSocket, if that is answered at all.
    pub farewell: Option<&'static str>,
}

impl Generation {
    /// The words of this generation.
    pub fn words(self) -> &'static Words {
        match self {
            Self::Eio4 | Self::Eio3 => {
                &Words { ping: "2", noop: "6", close: "1", closed: "6", stop: "6", farewell: None }
            }
            Self::Sio09 => &Words {
                ping: "2::",
                noop: "8::",
                close: NOT_HANDSHAKEN,
                closed: "0::",
                stop: NOT_HANDSHAKEN,
                farewell: Some("0::"),
            },
        }
    }
}

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
    upgrade: Upgrade,
    /// Whether a poll waits.
    polled: bool,
    /// Whether polls that are answered by text, and by a script, have been told `1::`: to a client of 0.9 these are two
    /// transports, and it takes the second where it hears nothing by the first.
    greeted: [bool; 2],
    /// Deadlines that were set and that nobody has been told of.
    unannounced: [Option<Alarm>; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    None,
    /// A second transport is there and has said nothing yet.
    Attached(Instant),
    /// It was probed: polls are to end, and `5` will swap the transports.
    Probed(Instant),
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
    /// It is answered at once, by this packet alone; whatever other transport there was is to go.
    Answered(&'static str),
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
    /// Answer `3probe` on that transport, and end every poll from now on.
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
const UPGRADE: usize = 2;

impl Connection {
    /// A session that begins `now` on `transport`; one of 0.9 has none yet, which looks like polling.
    pub fn new(generation: Generation, transport: TransportKind, periods: Arc<Periods>, now: Instant) -> Self {
        let mut connection = Self {
            generation,
            transport,
            periods,
            speak_at: None,
            expires_at: now,
            upgrade: Upgrade::None,
            polled: false,
            greeted: [false; 2],
            unannounced: [None; 3],
        };
        match generation {
            Generation::Eio4 => connection.await_pong(now),
            Generation::Eio3 => connection.expire_in(connection.silence_max(), now),
            Generation::Sio09 => connection.expire_in(connection.periods.legacy.handshake_timeout, now),
        }
        connection
    }

    /// What the client speaks.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Which transport carries the session.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }

    /// Whether polls have to end at once because the client is about to leave polling (protocol section 1.9).
    pub fn ends_polls(&self) -> bool {
        matches!(self.upgrade, Upgrade::Probed(_))
    }

    /// When the session is over unless the client is heard of: it is over then even if no [`Self::handle_timeout`]
    /// came. Where we speak before that, it may happen late, and the client has its time to answer from then on.
    pub fn expires_at(&self) -> Instant {
        match (self.generation, self.speak_at) {
            (Generation::Sio09, Some(noop_at)) if self.polled => noop_at + self.periods.legacy.close_timeout,
            (_, Some(_)) if self.has_heartbeat() => self.expires_at + self.heartbeat().1,
            _ => self.expires_at,
        }
    }

    /// Takes a packet that came by the session's transport.
    ///
    /// # Errors
    /// [`ProtocolError::Direction`]: the session is over.
    pub fn handle_packet<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Result<Received<'a>, ProtocolError> {
        if self.generation == Generation::Eio3 {
            self.put_off_expiry(self.silence_max(), now);
        }
        match (packet, self.generation) {
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
                Polled::Answered(GREETING)
            }
            Generation::Sio09 => {
                let period = self.periods.legacy.polling_duration;
                if self.speak_at.is_none_or(|due| is_stale(due, period, now)) {
                    self.speak_in(period, now);
                }
                if std::mem::replace(&mut self.polled, true) { Polled::Replaces } else { Polled::Waits }
            }
        }
    }

    /// The poll that waited was answered.
    pub fn end_poll(&mut self, now: Instant) {
        self.polled = false;
        if self.generation == Generation::Sio09 {
            self.put_off_expiry(self.periods.legacy.close_timeout, now);
        }
    }

    /// The client has dropped the poll that waited. True where the session lives on: 0.9 tries again with the same sid.
    pub fn lose_poll(&mut self, now: Instant) -> bool {
        self.end_poll(now);
        self.generation == Generation::Sio09
    }

    /// Whether a POST is taken now, and a POST that fails, or is one too many, leaves the session as it is.
    pub fn takes_any_post(&self) -> bool {
        self.generation == Generation::Sio09
    }

    /// Takes a socket with this session's sid.
    pub fn attach(&mut self, now: Instant) -> Attached {
        if self.generation == Generation::Sio09 {
            (self.transport, self.polled, self.greeted) = (TransportKind::WebSocket, false, [false; 2]);
            self.await_pong(now);
            return Attached::Takes;
        }
        if self.transport != TransportKind::Polling || self.upgrade != Upgrade::None {
            return Attached::Refused;
        }
        let period = self.periods.upgrade_timeout;
        self.upgrade = Upgrade::Attached(self.set_alarm(UPGRADE, period, now));
        Attached::Probes
    }

    /// Takes a packet that came by the transport of the upgrade.
    pub fn handle_probe(&mut self, packet: &Packet<'_>) -> Probed {
        match (packet, self.upgrade) {
            (Packet::Ping("probe"), Upgrade::Attached(due) | Upgrade::Probed(due)) => {
                self.upgrade = Upgrade::Probed(due);
                Probed::Answer
            }
            (Packet::Upgrade, Upgrade::Probed(_)) => {
                self.upgrade = Upgrade::None;
                (self.transport, self.polled) = (TransportKind::WebSocket, false);
                Probed::Upgraded
            }
            _ => {
                self.upgrade = Upgrade::None;
                Probed::Close
            }
        }
    }

    /// The transport of the upgrade is gone. The session stays where it was, and may be upgraded again.
    pub fn abandon_upgrade(&mut self) {
        self.upgrade = Upgrade::None;
    }

    /// The next deadline that was set since the last call. Call until there is none, after anything else was called.
    pub fn poll_alarm(&mut self) -> Option<Alarm> {
        self.unannounced.iter_mut().find_map(Option::take)
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
        let waited_for = self.generation == Generation::Sio09 && self.polled;
        if self.expires_at <= now && !waited_for {
            return Some(Due::Expired);
        }
        match self.upgrade {
            Upgrade::Attached(due) | Upgrade::Probed(due) if due <= now => {
                self.upgrade = Upgrade::None;
                Some(Due::UpgradeExpired)
            }
            _ => None,
        }
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
        self.speak_in(self.heartbeat().0, now);
        self.expire_in(self.silence_max(), now);
    }

    fn speak_in(&mut self, period: Duration, now: Instant) {
        self.speak_at = Some(self.set_alarm(SPEAK, period, now));
    }

    fn expire_in(&mut self, period: Duration, now: Instant) {
        self.expires_at = self.set_alarm(EXPIRE, period, now);
    }

    fn put_off_expiry(&mut self, period: Duration, now: Instant) {
        if is_stale(self.expires_at, period, now) {
            self.expire_in(period, now);
        }
    }

    fn set_alarm(&mut self, place: usize, period: Duration, now: Instant) -> Instant {
        let due = now + period;
        self.unannounced[place] = Some(Alarm { period, due });
        due
    }
}

/// Whether a deadline is worth to be put off until `period` from now. What a client may do at will is not to set a
/// deadline each time: so there are no more than eight in a period, and each may come that much too early.
fn is_stale(due: Instant, period: Duration, now: Instant) -> bool {
    due + period / 8 <= now + period
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: Periods = Periods {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        upgrade_timeout: Duration::from_millis(100),
        legacy: LegacyPeriods {
            heartbeat_interval: Duration::from_millis(250),
            heartbeat_timeout: Duration::from_millis(600),
            polling_duration: Duration::from_millis(200),
            close_timeout: Duration::from_millis(640),
            handshake_timeout: Duration::from_millis(400),
        },
    };

    /// A machine, and a clock in ms since its beginning.
    fn begin(generation: Generation, transport: TransportKind) -> (Connection, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let connection = Connection::new(generation, transport, Arc::new(PERIODS), start);
        (connection, move |ms| start + Duration::from_millis(ms))
    }

    fn eio4(transport: TransportKind) -> (Connection, impl Fn(u64) -> Instant) {
        begin(Generation::Eio4, transport)
    }

    fn alarms(connection: &mut Connection, at: &impl Fn(u64) -> Instant) -> Vec<u128> {
        let start = at(0);
        std::iter::from_fn(|| connection.poll_alarm()).map(|alarm| (alarm.due - start).as_millis()).collect()
    }

    #[test]
    fn a_session_that_answers_its_pings_lives_on() {
        let (mut connection, at) = eio4(TransportKind::WebSocket);
        assert_eq!(alarms(&mut connection, &at), [300, 500]);
        assert_eq!(connection.handle_timeout(at(299)), None);
        assert_eq!(connection.handle_timeout(at(300)), Some(Due::Ping));
        assert_eq!(connection.handle_timeout(at(300)), None, "one ping, not one for each call");
        assert_eq!(connection.handle_packet(Packet::Pong(""), at(310)), Ok(Received::Nothing));
        assert_eq!(alarms(&mut connection, &at), [610, 810]);
        assert_eq!(connection.handle_timeout(at(609)), None);
        assert_eq!(connection.handle_timeout(at(610)), Some(Due::Ping));
        assert_eq!(connection.handle_timeout(at(809)), None);
        assert_eq!(connection.handle_timeout(at(810)), Some(Due::Expired));
    }

    #[test]
    fn a_silent_session_expires_on_time_to_the_millisecond() {
        let (mut connection, at) = eio4(TransportKind::Polling);
        assert_eq!(connection.expires_at(), at(700), "the ping may go out late");
        assert_eq!(connection.handle_timeout(at(301)), Some(Due::Ping));
        assert_eq!(connection.expires_at(), at(500), "a ping that is a little late moves nothing");
        assert_eq!(connection.handle_timeout(at(500)), Some(Due::Expired));
    }

    #[test]
    fn a_machine_that_slept_still_gives_its_clients_time_to_answer() {
        let (mut connection, at) = eio4(TransportKind::WebSocket);
        alarms(&mut connection, &at);
        assert_eq!(connection.handle_timeout(at(60_000)), Some(Due::Ping));
        assert_eq!(alarms(&mut connection, &at), [60_100]);
        assert_eq!(connection.handle_timeout(at(60_099)), None);
        assert_eq!(connection.handle_timeout(at(60_100)), Some(Due::Expired));
    }

    #[test]
    fn a_flood_of_pongs_sets_no_deadlines() {
        let (mut connection, at) = eio4(TransportKind::WebSocket);
        alarms(&mut connection, &at);
        for ms in 0..1000 {
            assert_eq!(connection.handle_packet(Packet::Pong(""), at(ms)), Ok(Received::Nothing));
        }
        assert_eq!(alarms(&mut connection, &at), Vec::<u128>::new());
    }

    #[test]
    fn packets_of_the_sessions_own_transport() {
        let (mut connection, at) = eio4(TransportKind::WebSocket);
        let data = Cow::Borrowed([1, 2].as_slice());
        for (packet, expected) in [
            (Packet::Text("x"), Ok(Received::Text("x"))),
            (Packet::Binary(data.clone()), Ok(Received::Binary(data))),
            (Packet::Close, Ok(Received::Close)),
            (Packet::Ping(""), Err(ProtocolError::Direction)),
            (Packet::Open("{}"), Ok(Received::Nothing)),
            (Packet::Upgrade, Ok(Received::Nothing)),
            (Packet::Noop, Ok(Received::Nothing)),
        ] {
            assert_eq!(connection.handle_packet(packet, at(0)), expected);
        }
    }

    #[test]
    fn an_upgrade_swaps_the_transport_at_five() {
        let (mut connection, at) = eio4(TransportKind::Polling);
        assert_eq!(connection.attach(at(0)), Attached::Probes);
        assert_eq!(connection.attach(at(0)), Attached::Refused, "one at a time");
        assert!(!connection.ends_polls());
        assert_eq!(connection.handle_probe(&Packet::Ping("probe")), Probed::Answer);
        assert!(connection.ends_polls());
        assert_eq!(connection.transport(), TransportKind::Polling);
        assert_eq!(connection.handle_probe(&Packet::Upgrade), Probed::Upgraded);
        assert_eq!(connection.transport(), TransportKind::WebSocket);
        assert_eq!(connection.attach(at(1)), Attached::Refused, "there is nothing left to upgrade");
        assert_eq!(connection.handle_timeout(at(200)), None, "the deadline of the upgrade is void");
    }

    #[test]
    fn whatever_else_a_probe_says_ends_the_upgrade_and_not_the_session() {
        for packet in [Packet::Upgrade, Packet::Ping(""), Packet::Text("x"), Packet::Close, Packet::Noop] {
            let (mut connection, at) = eio4(TransportKind::Polling);
            connection.attach(at(0));
            assert_eq!(connection.handle_probe(&packet), Probed::Close, "{packet:?}");
            assert_eq!(connection.attach(at(1)), Attached::Probes, "it may be tried again after {packet:?}");
        }
    }

    #[test]
    fn an_upgrade_that_is_not_finished_is_given_up() {
        let (mut connection, at) = eio4(TransportKind::Polling);
        connection.attach(at(0));
        connection.handle_probe(&Packet::Ping("probe"));
        assert_eq!(connection.handle_timeout(at(99)), None);
        assert_eq!(connection.handle_timeout(at(100)), Some(Due::UpgradeExpired));
        assert!(!connection.ends_polls());
        assert_eq!(connection.handle_timeout(at(101)), None);
    }

    #[test]
    fn an_engine_io_session_is_polled_once_at_a_time() {
        for generation in [Generation::Eio4, Generation::Eio3] {
            let (mut connection, at) = begin(generation, TransportKind::Polling);
            assert_eq!(connection.begin_poll(false, at(0)), Polled::Waits);
            connection.end_poll(at(1));
            assert_eq!(connection.begin_poll(false, at(2)), Polled::Waits);
            assert_eq!(connection.begin_poll(false, at(3)), Polled::Overlaps);
            assert!(!connection.lose_poll(at(4)), "a poll that its client drops is the end");
            connection.attach(at(5));
            connection.handle_probe(&Packet::Ping("probe"));
            connection.handle_probe(&Packet::Upgrade);
            assert_eq!(connection.begin_poll(false, at(6)), Polled::Refused);
        }
    }

    #[test]
    fn a_client_of_engine_io_3_pings() {
        let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
        assert_eq!(alarms(&mut connection, &at), [500]);
        assert_eq!(connection.handle_packet(Packet::Ping("probe"), at(300)), Ok(Received::Ping("probe")));
        assert_eq!(alarms(&mut connection, &at), [800]);
        assert_eq!(connection.handle_timeout(at(500)), None, "nobody is pinged");
        assert_eq!(connection.handle_packet(Packet::Text("x"), at(799)), Ok(Received::Text("x")));
        assert_eq!(connection.handle_timeout(at(800)), None, "whatever it says, it lives");
        assert_eq!(connection.expires_at(), at(1299));
        assert_eq!(connection.handle_timeout(at(1299)), Some(Due::Expired));
        assert_eq!(connection.handle_packet(Packet::Pong(""), at(800)), Err(ProtocolError::Direction));
    }

    #[test]
    fn a_flood_sets_few_deadlines() {
        let (mut connection, at) = begin(Generation::Eio3, TransportKind::WebSocket);
        let mut set = alarms(&mut connection, &at).len();
        for ms in 0..500 {
            connection.handle_packet(Packet::Ping(""), at(ms)).unwrap();
            set += alarms(&mut connection, &at).len();
        }
        assert!(set <= 9, "{set}");
        assert!(connection.expires_at() > at(499 + 500 * 7 / 8));

        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        let mut set = 0;
        for ms in 0..640 {
            connection.begin_poll(false, at(ms));
            connection.end_poll(at(ms));
            set += alarms(&mut connection, &at).len();
        }
        assert!(set <= 9 + 8 * 640 / 200, "{set}");
    }

    #[test]
    fn a_handshake_of_0_9_waits_for_its_transport() {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        assert_eq!(alarms(&mut connection, &at), [400]);
        assert_eq!((connection.expires_at(), connection.handle_timeout(at(399))), (at(400), None));
        assert_eq!(connection.handle_timeout(at(400)), Some(Due::Expired));
    }

    #[test]
    fn polls_of_0_9_take_turns() {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        assert_eq!(connection.begin_poll(false, at(0)), Polled::Answered("1::"));
        assert_eq!(connection.expires_at(), at(640));
        assert_eq!(connection.begin_poll(false, at(100)), Polled::Waits);
        assert_eq!(connection.expires_at(), at(300 + 640), "while a poll waits the client is there");
        assert_eq!(connection.begin_poll(false, at(110)), Polled::Replaces);
        assert_eq!(connection.handle_timeout(at(299)), None);
        assert_eq!(connection.handle_timeout(at(300)), Some(Due::Noop));
        connection.end_poll(at(300));
        assert_eq!(connection.begin_poll(false, at(900)), Polled::Waits);
        assert_eq!(connection.handle_timeout(at(1090)), None);
        assert!(connection.lose_poll(at(1090)), "its client may try again");
        assert_eq!(connection.expires_at(), at(1730), "the noop that was due gives no more time");
        assert_eq!(connection.handle_timeout(at(1100)), None, "nobody waits for a noop");
        assert_eq!(connection.handle_timeout(at(1729)), None);
        assert_eq!(connection.handle_timeout(at(1730)), Some(Due::Expired));
    }

    #[test]
    fn scripts_and_text_are_two_transports_of_0_9() {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        assert_eq!(connection.begin_poll(false, at(0)), Polled::Answered("1::"));
        assert_eq!(connection.begin_poll(false, at(1)), Polled::Waits);
        assert_eq!(connection.begin_poll(true, at(2)), Polled::Answered("1::"), "it may have heard nothing so far");
        assert_eq!(connection.begin_poll(true, at(3)), Polled::Waits);
        assert_eq!(connection.begin_poll(false, at(4)), Polled::Replaces, "greeted once, whoever comes back");
        connection.attach(at(5));
        assert_eq!(connection.begin_poll(true, at(6)), Polled::Answered("1::"));
    }

    #[test]
    fn a_client_of_0_9_may_come_by_another_transport() {
        let (mut connection, at) = begin(Generation::Sio09, TransportKind::Polling);
        assert_eq!(connection.attach(at(0)), Attached::Takes);
        assert_eq!(connection.transport(), TransportKind::WebSocket);
        assert_eq!(alarms(&mut connection, &at), [250, 850]);
        assert_eq!(connection.handle_timeout(at(250)), Some(Due::Ping));
        assert_eq!(connection.handle_packet(Packet::Pong(""), at(260)), Ok(Received::Nothing));
        assert_eq!(connection.expires_at(), at(260 + 850 + 600));
        assert_eq!(connection.begin_poll(false, at(300)), Polled::Answered("1::"), "as if it were the first");
        assert_eq!(connection.transport(), TransportKind::Polling);
        assert_eq!(connection.handle_packet(Packet::Pong(""), at(310)), Ok(Received::Nothing), "no heartbeat here");
        assert_eq!(connection.expires_at(), at(940));
        assert_eq!(connection.begin_poll(false, at(320)), Polled::Waits);
        assert_eq!(connection.attach(at(330)), Attached::Takes);
        assert_eq!(connection.attach(at(340)), Attached::Takes, "a second socket takes the place of the first");
        assert_eq!(connection.handle_timeout(at(590)), Some(Due::Ping));
        assert_eq!(connection.handle_timeout(at(1190)), Some(Due::Expired));
    }
}
