//! The last fifteen minutes of each series, a value a second. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::admin::model::overview::History;

/// The time between two values.
const STEP_MS: u64 = 1000;

/// The values of a series: those of fifteen minutes.
pub const STEPS: usize = 900;

/// The series of a server. A series takes 3.6 KB, and there is a fixed number of them.
#[derive(Debug, Default)]
pub struct Series {
    /// The moment of the last values, in milliseconds since 1970.
    until_ms: u64,
    /// The same moment, by a clock that is never set.
    uptime_ms: u64,
    steps: usize,
    rings: BTreeMap<String, VecDeque<f32>>,
}

impl Series {
    /// Adds the values of one moment. A series without a value has none at this moment. If moments were missed, no
    /// series has values for them.
    pub fn add(&mut self, at_ms: u64, uptime_ms: u64, values: impl IntoIterator<Item = (String, Option<f64>)>) {
        let since = uptime_ms.saturating_sub(self.uptime_ms);
        let steps = if self.steps == 0 { 1 } else { ((since + STEP_MS / 2) / STEP_MS).max(1) };
        let steps = usize::try_from(steps).unwrap_or(STEPS).min(STEPS);
        (self.until_ms, self.uptime_ms) = (at_ms, uptime_ms);
        self.steps = (self.steps + steps).min(STEPS);
        for ring in self.rings.values_mut() {
            for _ in 0..steps {
                push(ring, f32::NAN);
            }
        }
        for (name, value) in values {
            let before = self.steps;
            // A series that begins later has no values before.
            let ring = self.rings.entry(name).or_insert_with(|| VecDeque::from(vec![f32::NAN; before]));
            if let (Some(last), Some(value)) = (ring.back_mut(), value) {
                *last = value as f32;
            }
        }
    }

    /// Returns the values of all series.
    pub fn history(&self) -> History {
        let values = |ring: &VecDeque<f32>| ring.iter().map(|value| shown(*value)).collect();
        let series = self.rings.iter().map(|(name, ring)| (name.clone(), values(ring)));
        History { step_ms: STEP_MS, until_ms: self.until_ms, series: series.collect() }
    }
}

fn push(ring: &mut VecDeque<f32>, value: f32) {
    if ring.len() == STEPS {
        ring.pop_front();
    }
    ring.push_back(value);
}

/// Returns a value with the digits that it has: 0.1 is not 0.10000000149.
fn shown(value: f32) -> Option<f64> {
    value.is_finite().then(|| (f64::from(value) * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: Option<f64>) -> [(String, Option<f64>); 1] {
        [(name.to_owned(), value)]
    }

    #[test]
    fn values_stand_at_their_moments() {
        let mut series = Series::default();
        assert_eq!(series.history().series, BTreeMap::new());
        series.add(1000, 500, one("talks", Some(0.1)));
        series.add(2003, 1503, one("talks", None));
        // A second was missed, and another series begins.
        series.add(4001, 3501, one("worker.0.busy", Some(0.5)));
        series.add(4990, 4490, one("talks", Some(7.0)));
        let History { step_ms, until_ms, series } = series.history();
        assert_eq!((step_ms, until_ms), (1000, 4990));
        assert_eq!(series["talks"], [Some(0.1), None, None, None, Some(7.0)]);
        assert_eq!(series["worker.0.busy"], [None, None, None, Some(0.5), None]);
    }

    #[test]
    fn only_the_last_fifteen_minutes_are_kept() {
        let mut series = Series::default();
        for second in 0..2000_u64 {
            series.add(second * 1000, second * 1000, one("talks", Some(second as f64)));
        }
        series.add(2_000_000, 2_000_000, one("late", Some(1.0)));
        let history = series.history().series;
        assert_eq!((history["talks"].len(), history["talks"][0], history["talks"][899]), (STEPS, Some(1101.0), None));
        assert_eq!((history["late"].len(), history["late"][898], history["late"][899]), (STEPS, None, Some(1.0)));
        // The process was stopped for an hour, and the clock was set in the meantime.
        series.add(1000, 5_600_000, one("talks", Some(3.0)));
        let history = series.history();
        assert_eq!(history.until_ms, 1000);
        let talks = &history.series["talks"];
        assert_eq!((talks.len(), talks.iter().flatten().count(), talks[899]), (STEPS, 1, Some(3.0)));
    }
}
