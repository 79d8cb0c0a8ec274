//! When the talks of a run in bursts are due. Pure.

use std::time::Duration;

use super::{Pace, Plan};

/// Length of a period, as far as the measured time allows. A burst then lasts a second.
const PERIOD: Duration = Duration::from_secs(10);

/// The periods of a run in bursts. The talks of a period come at ten times the rate in its first tenth; the rest of it
/// is silent. So a run in bursts has as many talks as a steady one. The warm-up is steady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    warm_up_us: u64,
    period_us: u64,
}

impl Bursts {
    /// How many times the rate of the plan a burst has. It lasts one in so many parts of its period.
    pub const TIMES: u64 = 10;

    /// Returns the periods of this plan, which divide its measured time evenly. `None` if its talks do not come in
    /// bursts.
    pub fn of(plan: &Plan) -> Option<Self> {
        let Pace::Bursts { .. } = plan.pace else { return None };
        let periods = (plan.duration.as_secs_f64() / PERIOD.as_secs_f64()).round().max(1.0);
        let period_us = (plan.duration.as_micros() as f64 / periods) as u64;
        Some(Self { warm_up_us: plan.warm_up.as_micros() as u64, period_us: period_us.max(Self::TIMES) })
    }

    /// Returns the length of a period, in µs.
    pub fn period_us(self) -> u64 {
        self.period_us
    }

    /// Returns the length of a burst, in µs.
    pub fn burst_us(self) -> u64 {
        self.period_us / Self::TIMES
    }

    /// Returns the time of a talk that would be due at `steady_us` at a steady rate. Both count from the begin of the
    /// warm-up.
    pub(super) fn due_us(self, steady_us: u64) -> u64 {
        let Some(measured_us) = steady_us.checked_sub(self.warm_up_us) else { return steady_us };
        let within_us = measured_us % self.period_us;
        steady_us - within_us + within_us / Self::TIMES
    }
}
