//! The stage of the server's life. One thread changes it, and all threads read it.

use std::sync::atomic::{AtomicU8, Ordering};

/// The stages of the server's life, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It starts. It is not ready yet.
    Starting,
    /// It serves. This is the only stage in which it is ready for new clients.
    Serving,
    /// It closes its sessions and opens no new ones. It ends when none is left.
    Draining,
}

/// The [`Stage`] of one server. A read is one relaxed load.
#[derive(Debug, Default)]
pub struct CurrentStage(AtomicU8);

impl CurrentStage {
    /// Returns the stage.
    pub fn get(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            _ => Stage::Draining,
        }
    }

    /// Goes on to `stage`. Returns false if the server was there already, or further: no stage comes twice.
    pub fn advance(&self, stage: Stage) -> bool {
        self.0.fetch_max(stage as u8, Ordering::Relaxed) < stage as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_does_not_come_back() {
        use Stage::{Draining, Serving, Starting};
        let stage = CurrentStage::default();
        assert_eq!(stage.get(), Starting);
        for (next, advances, is) in [
            (Starting, false, Starting),
            (Serving, true, Serving),
            (Starting, false, Serving),
            (Serving, false, Serving),
            (Draining, true, Draining),
            (Serving, false, Draining),
            (Draining, false, Draining),
        ] {
            assert_eq!((stage.advance(next), stage.get()), (advances, is), "{next:?}");
        }
        let early = CurrentStage::default();
        assert!(early.advance(Draining) && !early.advance(Serving), "a signal may come before the start has ended");
    }
}
