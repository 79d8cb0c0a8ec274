//! Lengths of time with units, as in flags, objectives and forecasts.

use std::time::Duration;

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It has no unit.
    #[error("a time has a unit: 500ms, 30s, 2m, 1h")]
    NoUnit,
    /// Its unit is unknown.
    #[error("the units of time are us, ms, s, m and h")]
    UnknownUnit,
    /// There is no number before the unit.
    #[error("a time is a number with a unit: 500ms, 30s, 2m, 1h")]
    NoNumber,
    /// It does not fit into a [`Duration`].
    #[error("that is too long")]
    TooLong,
}

/// Reads a length of time: a decimal number and a unit, such as `30s` or `1.5h`.
pub(super) fn time(text: &str) -> Result<Duration, TimeError> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(TimeError::NoUnit)?;
    let seconds = match &text[unit..] {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(TimeError::UnknownUnit),
    };
    let number: f64 = text[..unit].parse().map_err(|_| TimeError::NoNumber)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| TimeError::TooLong)
}

/// Returns a time as people say it: `40 s`, `12 min`, `3 h 20 min`.
pub(super) fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds if seconds < 90 * 60 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_is_as_exact_as_it_can_be() {
        let table = [
            (0, "0 s"),
            (89, "89 s"),
            (90, "2 min"),
            (3_000, "50 min"),
            (5_400, "1 h 30 min"),
            (86_399, "23 h 59 min"),
        ];
        for (seconds, text) in table {
            assert_eq!(minutes(Duration::from_secs(seconds)), text);
        }
    }
}
