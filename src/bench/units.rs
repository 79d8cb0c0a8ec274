//! Quantities with their units, as the command line and objectives have them.

use std::time::Duration;

/// A length of time: digits and their unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or("a time has a unit: 500ms, 30s, 2m, 1h")?;
    let seconds = match &text[unit..] {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("the units of time are us, ms, s, m and h".to_owned()),
    };
    let number: f64 = text[..unit].parse().map_err(|_| "a time is a number with a unit: 500ms, 30s, 2m, 1h")?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "that is too long".to_owned())
}
