//! The measurements of neighbours: how long joins, talks and deliveries took.

use std::time::Duration;

/// A kind of wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// From the connect of a new session to `listening`.
    Join,
    /// From a talk to its acknowledgement.
    Talk,
    /// From a talk to the other member's `update`.
    Delivery,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Join, Self::Talk, Self::Delivery];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Talk => "talk",
            Self::Delivery => "delivery",
        }
    }
}

/// Waits in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    waits_ms: [Vec<f64>; 3],
    /// Answers other than "ok", refused joins, and sessions that were disconnected.
    pub refused: usize,
}

impl Samples {
    pub fn add(&mut self, kind: Kind, wait: Duration) {
        self.waits_ms[kind as usize].push(wait.as_secs_f64() * 1e3);
    }

    /// Returns the number of samples of the rarest kind.
    pub fn fewest(&self) -> usize {
        self.waits_ms.iter().map(Vec::len).min().unwrap_or_default()
    }

    /// Returns the wait, in milliseconds, that this share of the samples did not exceed; `None` if there are none.
    pub fn at(&self, kind: Kind, share: f64) -> Option<f64> {
        let mut waits = self.waits_ms[kind as usize].clone();
        waits.sort_by(f64::total_cmp);
        let rank = (waits.len() as f64 * share).ceil() as usize;
        waits.get(rank.clamp(1, waits.len().max(1)) - 1).copied()
    }
}
