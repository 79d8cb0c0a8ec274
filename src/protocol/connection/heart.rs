//! The deadlines that keep a session alive: when the server speaks although it has nothing to say, and when the silence
//! of the client ends the session. Each generation has its own rule.

use std::time::Instant;

use super::{Due, Heartbeat, Periods, Polled};
use crate::protocol::alarms::{Alarms, Deadline};
use crate::protocol::{Generation, TransportKind};

/// The heartbeat and the transport of a session, by generation.
#[derive(Debug)]
pub(super) enum Heart {
    /// Engine.IO 4: the server pings.
    WePing { pings: Pings, carrier: Carrier },
    /// Engine.IO 3: the client pings, and every other packet is a sign of life too. The session is over at `expires_at`
    /// unless a packet comes.
    TheyPing { expires_at: Instant, carrier: Carrier },
    /// Socket.IO 0.7 to 0.9: the server pings over a WebSocket; otherwise the client has to keep polling. `used` says
    /// whether the client has sent a packet.
    Legacy { used: bool, carrier: LegacyCarrier },
}

/// The heartbeat of a session whose server pings.
#[derive(Debug)]
pub(super) struct Pings {
    /// When the next ping is sent. `None` while the answer to one is awaited.
    ping_at: Option<Instant>,
    /// When the session is over unless a pong comes.
    pong_by: Instant,
}

/// The transport of an Engine.IO session.
#[derive(Debug)]
pub(super) enum Carrier {
    /// HTTP long-polling. The session is over at `poll_by` unless its client polls: a client that sends packets and
    /// fetches none is not there. `None` while a poll waits.
    Polling { poll_by: Option<Instant> },
    /// A WebSocket.
    WebSocket,
}

/// The transport of a session of 0.9. Polls that are answered by text and polls that are answered by a script are two
/// transports to its client, which tries the second one if it hears nothing by the first. `greeted` says which of the
/// two were told `1::`.
#[derive(Debug)]
pub(super) enum LegacyCarrier {
    /// A poll waits, which shows that the client is there. It is ended by a noop at `noop_at`, which is `None` once
    /// that was due.
    Poll { greeted: [bool; 2], noop_at: Option<Instant> },
    /// No transport: before the first one, and between two polls. The session is over at `expires_at` unless the client
    /// polls or opens a WebSocket.
    Awaited { greeted: [bool; 2], expires_at: Instant },
    /// A WebSocket.
    WebSocket(Pings),
}

impl Heart {
    /// Returns the heart of a session that begins `now`. A session of 0.9 ignores `transport`: it has none yet.
    pub(super) fn begin(
        generation: Generation,
        transport: TransportKind,
        periods: &Periods,
        alarms: &mut Alarms,
        now: Instant,
    ) -> Self {
        let heartbeat = periods.heartbeat(generation);
        match generation {
            Generation::Eio4 => {
                let pings = Pings::begin(heartbeat, alarms, now);
                let carrier = Carrier::begin(transport, alarms, pings.pong_by);
                Self::WePing { pings, carrier }
            }
            Generation::Eio3 => {
                let expires_at = alarms.set(Deadline::Expire, heartbeat.silence_max(), now);
                Self::TheyPing { expires_at, carrier: Carrier::begin(transport, alarms, expires_at) }
            }
            Generation::Sio09 => {
                let expires_at = alarms.set(Deadline::Expire, periods.legacy.handshake_timeout, now);
                Self::Legacy { used: false, carrier: LegacyCarrier::Awaited { greeted: [false; 2], expires_at } }
            }
        }
    }

    /// Returns the generation that the client speaks.
    pub(super) fn generation(&self) -> Generation {
        match self {
            Self::WePing { .. } => Generation::Eio4,
            Self::TheyPing { .. } => Generation::Eio3,
            Self::Legacy { .. } => Generation::Sio09,
        }
    }

    /// Returns the transport that carries the session.
    pub(super) fn transport(&self) -> TransportKind {
        match self {
            Self::WePing { carrier: Carrier::WebSocket, .. }
            | Self::TheyPing { carrier: Carrier::WebSocket, .. }
            | Self::Legacy { carrier: LegacyCarrier::WebSocket(_), .. } => TransportKind::WebSocket,
            _ => TransportKind::Polling,
        }
    }

    /// Returns whether a poll of Engine.IO waits.
    pub(super) fn is_polled(&self) -> bool {
        let (Self::WePing { carrier, .. } | Self::TheyPing { carrier, .. }) = self else { return false };
        matches!(carrier, Carrier::Polling { poll_by: None })
    }

    /// Takes note that a packet came. Returns whether it is the first one of a client of 0.9 that was told `1::`.
    pub(super) fn hear(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) -> bool {
        let heartbeat = self.heartbeat(periods);
        match self {
            Self::WePing { .. } => false,
            Self::TheyPing { expires_at, .. } => {
                *expires_at = alarms.put_off(Deadline::Expire, heartbeat.silence_max(), now);
                false
            }
            Self::Legacy { used, carrier } => !std::mem::replace(used, true) && carrier.is_greeted(),
        }
    }

    /// Takes a pong.
    pub(super) fn hear_pong(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) {
        let heartbeat = self.heartbeat(periods);
        if let Self::WePing { pings, .. } | Self::Legacy { carrier: LegacyCarrier::WebSocket(pings), .. } = self {
            // Only the first answer counts: a flood of pongs would set a deadline each.
            if pings.ping_at.is_none() {
                *pings = Pings::begin(heartbeat, alarms, now);
            }
        }
    }

    /// Takes a poll. `script` says whether its answer will be a script.
    pub(super) fn begin_poll(&mut self, script: bool, periods: &Periods, alarms: &mut Alarms, now: Instant) -> Polled {
        match self {
            Self::WePing { carrier, .. } | Self::TheyPing { carrier, .. } => match carrier {
                Carrier::WebSocket => Polled::Refused,
                Carrier::Polling { poll_by } => poll_by.take().map_or(Polled::Overlaps, |_| Polled::Waits),
            },
            Self::Legacy { carrier, .. } => carrier.begin_poll(script, periods, alarms, now),
        }
    }

    /// Takes note that the poll that waited was answered, or dropped by its client.
    pub(super) fn end_poll(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) {
        let heartbeat = self.heartbeat(periods);
        match self {
            Self::WePing { carrier: Carrier::Polling { poll_by }, .. }
            | Self::TheyPing { carrier: Carrier::Polling { poll_by }, .. } => {
                *poll_by = Some(alarms.put_off(Deadline::Poll, heartbeat.silence_max(), now));
            }
            Self::Legacy { carrier, .. } => {
                if let Some(greeted) = carrier.greeted() {
                    let expires_at = alarms.put_off(Deadline::Expire, periods.legacy.close_timeout, now);
                    *carrier = LegacyCarrier::Awaited { greeted, expires_at };
                }
            }
            Self::WePing { .. } | Self::TheyPing { .. } => {}
        }
    }

    /// Moves an Engine.IO session to its new WebSocket.
    pub(super) fn upgrade(&mut self) {
        if let Self::WePing { carrier, .. } | Self::TheyPing { carrier, .. } = self {
            *carrier = Carrier::WebSocket;
        }
    }

    /// Moves a session of 0.9 to a WebSocket. Returns `false` for Engine.IO.
    pub(super) fn take_socket(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) -> bool {
        let heartbeat = self.heartbeat(periods);
        let Self::Legacy { carrier, .. } = self else { return false };
        *carrier = LegacyCarrier::WebSocket(Pings::begin(heartbeat, alarms, now));
        true
    }

    /// Takes note that the socket is gone. Returns whether the session waits for another transport.
    pub(super) fn lose_socket(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) -> bool {
        let Self::Legacy { used: false, carrier } = self else { return false };
        *carrier = LegacyCarrier::awaited([false; 2], periods, alarms, now);
        true
    }

    /// Returns what the server has to say `now`. Each ping and noop is returned once.
    pub(super) fn speak(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) -> Option<Due> {
        let heartbeat = self.heartbeat(periods);
        match self {
            Self::WePing { pings, .. } | Self::Legacy { carrier: LegacyCarrier::WebSocket(pings), .. } => {
                pings.take_ping(heartbeat, alarms, now).then_some(Due::Ping)
            }
            Self::Legacy { carrier: LegacyCarrier::Poll { noop_at, .. }, .. } => {
                noop_at.take_if(|due| *due <= now).map(|_| Due::Noop)
            }
            Self::TheyPing { .. } | Self::Legacy { .. } => None,
        }
    }

    /// Returns when the silence of the client ends the session, or `None` while a poll of 0.9 waits.
    pub(super) fn silent_until(&self) -> Option<Instant> {
        match self {
            Self::WePing { pings: Pings { pong_by: until, .. }, carrier }
            | Self::TheyPing { expires_at: until, carrier } => Some(match carrier {
                Carrier::Polling { poll_by: Some(poll_by) } => *poll_by.min(until),
                _ => *until,
            }),
            Self::Legacy { carrier: LegacyCarrier::WebSocket(pings), .. } => Some(pings.pong_by),
            Self::Legacy { carrier: LegacyCarrier::Awaited { expires_at, .. }, .. } => Some(*expires_at),
            Self::Legacy { carrier: LegacyCarrier::Poll { .. }, .. } => None,
        }
    }

    /// Returns the time from which a request comes too late, even if nobody has looked at the deadlines. `None` while a
    /// poll waits whose noop was due. While a ping or a noop is still to be sent, it may be sent late, so the client's
    /// time to answer it is added.
    pub(super) fn over_at(&self, periods: &Periods) -> Option<Instant> {
        match self {
            Self::WePing { pings, .. } | Self::Legacy { carrier: LegacyCarrier::WebSocket(pings), .. } => {
                let late = pings.ping_at.map(|_| self.heartbeat(periods).timeout);
                Some(pings.pong_by + late.unwrap_or_default())
            }
            Self::TheyPing { expires_at, .. }
            | Self::Legacy { carrier: LegacyCarrier::Awaited { expires_at, .. }, .. } => Some(*expires_at),
            Self::Legacy { carrier: LegacyCarrier::Poll { noop_at, .. }, .. } => {
                noop_at.map(|noop_at| noop_at + periods.legacy.close_timeout)
            }
        }
    }

    /// Lets a session whose time was over go on for half of the time for an answer, as after a ping that goes out late.
    pub(super) fn excuse(&mut self, periods: &Periods, alarms: &mut Alarms, now: Instant) {
        let until = alarms.set(Deadline::Expire, self.heartbeat(periods).timeout / 2, now);
        match self {
            Self::WePing { pings: Pings { pong_by: deadline, .. }, carrier }
            | Self::TheyPing { expires_at: deadline, carrier } => {
                *deadline = until;
                if let Carrier::Polling { poll_by: Some(poll_by) } = carrier {
                    *poll_by = until.max(*poll_by);
                }
            }
            Self::Legacy { carrier: LegacyCarrier::WebSocket(pings), .. } => pings.pong_by = until,
            Self::Legacy { carrier: LegacyCarrier::Awaited { expires_at, .. }, .. } => *expires_at = until,
            Self::Legacy { carrier: LegacyCarrier::Poll { .. }, .. } => {}
        }
    }

    /// Renews the alarms of those deadlines that packets and polls put off.
    pub(super) fn renew_alarms(&self, periods: &Periods, alarms: &mut Alarms, now: Instant) {
        let silence_max = self.heartbeat(periods).silence_max();
        if let Self::TheyPing { expires_at, .. } = self {
            alarms.renew(Deadline::Expire, *expires_at, silence_max, now);
        }
        match self {
            Self::WePing { carrier, .. } | Self::TheyPing { carrier, .. } => {
                if let Carrier::Polling { poll_by: Some(poll_by) } = carrier {
                    alarms.renew(Deadline::Poll, *poll_by, silence_max, now);
                }
            }
            Self::Legacy { carrier: LegacyCarrier::Poll { noop_at: Some(noop_at), .. }, .. } => {
                alarms.renew(Deadline::Speak, *noop_at, periods.legacy.polling_duration, now);
            }
            Self::Legacy { carrier: LegacyCarrier::Awaited { expires_at, .. }, .. } => {
                alarms.renew(Deadline::Expire, *expires_at, periods.legacy.close_timeout, now);
            }
            Self::Legacy { .. } => {}
        }
    }

    fn heartbeat(&self, periods: &Periods) -> Heartbeat {
        periods.heartbeat(self.generation())
    }
}

impl Pings {
    /// Returns a heartbeat whose next ping is an interval from now.
    fn begin(heartbeat: Heartbeat, alarms: &mut Alarms, now: Instant) -> Self {
        Self {
            ping_at: Some(alarms.set(Deadline::Speak, heartbeat.interval, now)),
            pong_by: alarms.set(Deadline::Expire, heartbeat.silence_max(), now),
        }
    }

    /// Returns whether a ping is to be sent `now`, once for each ping.
    fn take_ping(&mut self, heartbeat: Heartbeat, alarms: &mut Alarms, now: Instant) -> bool {
        if self.ping_at.take_if(|due| *due <= now).is_none() {
            return false;
        }
        // A ping that goes out late, because the machine slept, still leaves the client time to answer.
        let least = heartbeat.timeout / 2;
        if self.pong_by < now + least {
            self.pong_by = alarms.set(Deadline::Expire, least, now);
        }
        true
    }
}

impl Carrier {
    /// Returns the transport of a session that begins. A polling client has to poll before `expires_at`.
    fn begin(transport: TransportKind, alarms: &mut Alarms, expires_at: Instant) -> Self {
        match transport {
            TransportKind::WebSocket => Self::WebSocket,
            TransportKind::Polling => {
                alarms.share(Deadline::Poll, expires_at);
                Self::Polling { poll_by: Some(expires_at) }
            }
        }
    }
}

impl LegacyCarrier {
    /// Returns the transport of a client that has to poll, or to come by a WebSocket, for the first time or again.
    fn awaited(greeted: [bool; 2], periods: &Periods, alarms: &mut Alarms, now: Instant) -> Self {
        Self::Awaited { greeted, expires_at: alarms.set(Deadline::Expire, periods.legacy.close_timeout, now) }
    }

    /// Returns whether the client was told `1::` on a transport that it still has.
    fn is_greeted(&self) -> bool {
        self.greeted().is_none_or(|greeted| greeted != [false; 2])
    }

    /// Returns which kinds of polls were greeted, or `None` for a WebSocket.
    fn greeted(&self) -> Option<[bool; 2]> {
        match self {
            Self::Poll { greeted, .. } | Self::Awaited { greeted, .. } => Some(*greeted),
            Self::WebSocket(_) => None,
        }
    }

    fn begin_poll(&mut self, script: bool, periods: &Periods, alarms: &mut Alarms, now: Instant) -> Polled {
        let mut greeted = self.greeted().unwrap_or_default();
        if !std::mem::replace(&mut greeted[usize::from(script)], true) {
            *self = Self::awaited(greeted, periods, alarms, now);
            return Polled::Greeted;
        }
        let noop_at = Some(alarms.put_off(Deadline::Speak, periods.legacy.polling_duration, now));
        match std::mem::replace(self, Self::Poll { greeted, noop_at }) {
            Self::Poll { .. } => Polled::Replaces,
            Self::Awaited { .. } | Self::WebSocket(_) => Polled::Waits,
        }
    }
}
