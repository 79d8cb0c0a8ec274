//! How much of its client a session takes in: in one turn, and over time.

use std::task::Context;
use std::time::Instant;

use crate::delivery::transport::Inbound;
use crate::limits::meter::{Allowance, Meter, Verdict};
use crate::protocol::engine::Packet;
use crate::turns;

/// Most packets, frames without one, and reads of one turn. They are up to 0.5 ms of work, so that a client that floods
/// lets others have their turns.
const PACKETS_PER_TURN: u64 = 32;

/// Most bytes of one turn, exceeded by the rest of a packet.
const BYTES_PER_TURN: u64 = 256 * 1024;

/// How much one turn has taken in.
#[derive(Debug, Default)]
pub(super) struct Ration {
    /// Packets, frames without one, and reads so far.
    pub(super) packets: u64,
    /// Bytes so far.
    bytes: u64,
}

impl Ration {
    /// Counts what has arrived. Returns the packet if it is one.
    pub(super) fn take<'a>(&mut self, arrival: Inbound<'a>) -> Option<Packet<'a>> {
        self.packets += 1;
        match arrival {
            Inbound::Bytes(bytes) => {
                self.bytes += bytes as u64;
                None
            }
            Inbound::Frame => None,
            Inbound::Packet(packet) => Some(packet),
        }
    }

    /// Returns whether this turn takes nothing more.
    pub(super) fn is_used_up(&self) -> bool {
        self.packets >= PACKETS_PER_TURN || self.bytes >= BYTES_PER_TURN
    }
}

/// How much a client has sent, over time and in the current round of its thread.
#[derive(Debug, Default)]
pub(super) struct Intake {
    meter: Meter,
    /// The last round in which a turn has taken as much as it may.
    sated_in: Option<u64>,
}

impl Intake {
    /// Returns whether the client is listened to now. It waits for the next round if it has sent as much as a turn
    /// takes, and longer if it sends too much.
    pub(super) fn judge(&mut self, allowance: &Allowance, now: Instant) -> Verdict {
        if self.sated_in == Some(turns::round()) {
            return Verdict::Wait { begins: false };
        }
        self.meter.judge(allowance, now)
    }

    /// Returns whether the client waits because it has sent too much.
    pub(super) fn holds_back(&self, now: Instant) -> bool {
        self.meter.holds_back(now)
    }

    /// Counts what a turn has taken. If that was as much as a turn may take, the task runs again in the next round.
    pub(super) fn charge(&mut self, allowance: &Allowance, ration: &Ration, cx: &mut Context<'_>, now: Instant) {
        self.meter.charge(allowance, ration.packets, ration.bytes, now);
        if ration.is_used_up() {
            self.sated_in = Some(turns::round());
            turns::rest(cx);
        }
    }

    /// Counts the body of a POST, before its packets are taken.
    pub(super) fn charge_body(&mut self, allowance: &Allowance, bytes: u64, now: Instant) {
        self.meter.charge(allowance, 0, bytes, now);
    }
}
