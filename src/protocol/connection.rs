//! The machine that keeps a session alive: heartbeats, the upgrade, expiry. It is driven: packets and the time go in,
//! what is to be done comes out. The messages that it carries are the business of [`super::socketio`].

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::engine::Packet;
use super::{Generation, ProtocolError, TransportKind};

/// The periods of Engine.IO (protocol section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Between two heartbeats.
    pub ping_interval: Duration,
    /// For the answer to one.
    pub ping_timeout: Duration,
    /// For an upgrade, from the new socket to the client's `5`.
    pub upgrade_timeout: Duration,
}

/// An Engine.IO session: which transport it has, when it must be heard of, and whether it is being upgraded.
#[derive(Debug)]
pub struct Engine {
    generation: Generation,
    transport: TransportKind,
    periods: Periods,
    /// When to send the next ping; none while the answer to one is awaited.
    ping_at: Option<Instant>,
    /// When the session is over unless a pong comes.
    expires_at: Instant,
    upgrade: Upgrade,
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
    /// When [`Engine::handle_timeout`] wants to be called.
    pub due: Instant,
}

/// What a packet from a session's transport means for its driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing to do.
    Nothing,
    /// A text message for the layer above.
    Text(&'a str),
    /// A binary message for the layer above.
    Binary(Cow<'a, [u8]>),
    /// The client closes the session.
    Close,
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
    /// The client was silent for too long: the session is over.
    Expired,
    /// The upgrade was not finished: close its transport; the session lives on as it was.
    UpgradeExpired,
}

impl Engine {
    /// A session that begins `now` on `transport`.
    pub fn new(generation: Generation, transport: TransportKind, periods: Periods, now: Instant) -> Self {
        let mut engine = Self {
            generation,
            transport,
            periods,
            ping_at: None,
            expires_at: now,
            upgrade: Upgrade::None,
            unannounced: [None; 3],
        };
        engine.heard(now);
        engine
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
    /// came. Where the ping has not gone out yet, it may go out late, and its client has time to answer from then on.
    pub fn expires_at(&self) -> Instant {
        match self.ping_at {
            Some(_) => self.expires_at + self.periods.ping_timeout,
            None => self.expires_at,
        }
    }

    /// Takes a packet that came by the session's transport.
    ///
    /// # Errors
    /// [`ProtocolError::Direction`]: the session is over.
    pub fn handle_packet<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Result<Received<'a>, ProtocolError> {
        match packet {
            Packet::Text(text) => Ok(Received::Text(text)),
            Packet::Binary(data) => Ok(Received::Binary(data)),
            Packet::Close => Ok(Received::Close),
            Packet::Ping(_) => match self.generation {
                Generation::Eio4 => Err(ProtocolError::Direction),
            },
            Packet::Pong(_) => {
                // Only the first answer counts: a flood of pongs would set a deadline each.
                if self.ping_at.is_none() {
                    self.heard(now);
                }
                Ok(Received::Nothing)
            }
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => Ok(Received::Nothing),
        }
    }

    /// Begins an upgrade: a second transport with this session's sid has come. False where there is nothing to upgrade.
    pub fn attach(&mut self, now: Instant) -> bool {
        if self.transport != TransportKind::Polling || self.upgrade != Upgrade::None {
            return false;
        }
        let period = self.periods.upgrade_timeout;
        self.upgrade = Upgrade::Attached(now + period);
        self.unannounced[2] = Some(Alarm { period, due: now + period });
        true
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
                self.transport = TransportKind::WebSocket;
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
        if self.ping_at.is_some_and(|due| due <= now) {
            self.ping_at = None;
            // A ping that goes out late, because the machine slept, still leaves the client time to answer.
            let least = self.periods.ping_timeout / 2;
            if self.expires_at < now + least {
                self.expires_at = now + least;
                self.unannounced[1] = Some(Alarm { period: least, due: self.expires_at });
            }
            return Some(Due::Ping);
        }
        if self.expires_at <= now {
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

    fn heard(&mut self, now: Instant) {
        let Periods { ping_interval, ping_timeout, .. } = self.periods;
        let (ping_at, whole) = (now + ping_interval, ping_interval + ping_timeout);
        self.ping_at = Some(ping_at);
        self.expires_at = now + whole;
        self.unannounced[0] = Some(Alarm { period: ping_interval, due: ping_at });
        self.unannounced[1] = Some(Alarm { period: whole, due: self.expires_at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: Periods = Periods {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        upgrade_timeout: Duration::from_millis(100),
    };

    /// A machine, and a clock in ms since its beginning.
    fn engine(transport: TransportKind) -> (Engine, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Engine::new(Generation::Eio4, transport, PERIODS, start), move |ms| start + Duration::from_millis(ms))
    }

    fn alarms(engine: &mut Engine, at: &impl Fn(u64) -> Instant) -> Vec<u128> {
        let start = at(0);
        std::iter::from_fn(|| engine.poll_alarm()).map(|alarm| (alarm.due - start).as_millis()).collect()
    }

    #[test]
    fn a_session_that_answers_its_pings_lives_on() {
        let (mut engine, at) = engine(TransportKind::WebSocket);
        assert_eq!(alarms(&mut engine, &at), [300, 500]);
        assert_eq!(engine.handle_timeout(at(299)), None);
        assert_eq!(engine.handle_timeout(at(300)), Some(Due::Ping));
        assert_eq!(engine.handle_timeout(at(300)), None, "one ping, not one for each call");
        assert_eq!(engine.handle_packet(Packet::Pong(""), at(310)), Ok(Received::Nothing));
        assert_eq!(alarms(&mut engine, &at), [610, 810]);
        assert_eq!(engine.handle_timeout(at(609)), None);
        assert_eq!(engine.handle_timeout(at(610)), Some(Due::Ping));
        assert_eq!(engine.handle_timeout(at(809)), None);
        assert_eq!(engine.handle_timeout(at(810)), Some(Due::Expired));
    }

    #[test]
    fn a_silent_session_expires_on_time_to_the_millisecond() {
        let (mut engine, at) = engine(TransportKind::Polling);
        assert_eq!(engine.expires_at(), at(700), "the ping may go out late");
        assert_eq!(engine.handle_timeout(at(301)), Some(Due::Ping));
        assert_eq!(engine.expires_at(), at(500), "a ping that is a little late moves nothing");
        assert_eq!(engine.handle_timeout(at(500)), Some(Due::Expired));
    }

    #[test]
    fn a_machine_that_slept_still_gives_its_clients_time_to_answer() {
        let (mut engine, at) = engine(TransportKind::WebSocket);
        alarms(&mut engine, &at);
        assert_eq!(engine.handle_timeout(at(60_000)), Some(Due::Ping));
        assert_eq!(alarms(&mut engine, &at), [60_100]);
        assert_eq!(engine.handle_timeout(at(60_099)), None);
        assert_eq!(engine.handle_timeout(at(60_100)), Some(Due::Expired));
    }

    #[test]
    fn a_flood_of_pongs_sets_no_deadlines() {
        let (mut engine, at) = engine(TransportKind::WebSocket);
        alarms(&mut engine, &at);
        for ms in 0..1000 {
            assert_eq!(engine.handle_packet(Packet::Pong(""), at(ms)), Ok(Received::Nothing));
        }
        assert_eq!(alarms(&mut engine, &at), Vec::<u128>::new());
    }

    #[test]
    fn packets_of_the_sessions_own_transport() {
        let (mut engine, at) = engine(TransportKind::WebSocket);
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
            assert_eq!(engine.handle_packet(packet, at(0)), expected);
        }
    }

    #[test]
    fn an_upgrade_swaps_the_transport_at_five() {
        let (mut engine, at) = engine(TransportKind::Polling);
        assert!(engine.attach(at(0)));
        assert!(!engine.attach(at(0)), "one at a time");
        assert!(!engine.ends_polls());
        assert_eq!(engine.handle_probe(&Packet::Ping("probe")), Probed::Answer);
        assert!(engine.ends_polls());
        assert_eq!(engine.transport(), TransportKind::Polling);
        assert_eq!(engine.handle_probe(&Packet::Upgrade), Probed::Upgraded);
        assert_eq!(engine.transport(), TransportKind::WebSocket);
        assert!(!engine.attach(at(1)), "there is nothing left to upgrade");
        assert_eq!(engine.handle_timeout(at(200)), None, "the deadline of the upgrade is void");
    }

    #[test]
    fn whatever_else_a_probe_says_ends_the_upgrade_and_not_the_session() {
        for packet in [Packet::Upgrade, Packet::Ping(""), Packet::Text("x"), Packet::Close, Packet::Noop] {
            let (mut engine, at) = engine(TransportKind::Polling);
            engine.attach(at(0));
            assert_eq!(engine.handle_probe(&packet), Probed::Close, "{packet:?}");
            assert!(engine.attach(at(1)), "it may be tried again after {packet:?}");
        }
    }

    #[test]
    fn an_upgrade_that_is_not_finished_is_given_up() {
        let (mut engine, at) = engine(TransportKind::Polling);
        engine.attach(at(0));
        engine.handle_probe(&Packet::Ping("probe"));
        assert_eq!(engine.handle_timeout(at(99)), None);
        assert_eq!(engine.handle_timeout(at(100)), Some(Due::UpgradeExpired));
        assert!(!engine.ends_polls());
        assert_eq!(engine.handle_timeout(at(101)), None);
    }
}
