//! Figures as short texts for people.

/// The text of a figure that was not measured.
pub const NONE: &str = "-";

/// Returns a number of things: `12,345`, and from ten million on `12.3 M`.
pub fn count(count: u64) -> String {
    if count >= 10_000_000 {
        return with_unit(count as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]);
    }
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a rate: below ten with one digit after the point.
pub fn rate(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 0.05 => "<0.1".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        // The cast saturates.
        rate => count(rate.round() as u64),
    }
}

/// Returns a time that is measured in milliseconds.
pub fn ms(ms: Option<f64>) -> String {
    match ms {
        None => NONE.to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.2} ms"),
        Some(ms) if ms < 100.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0} ms"),
        Some(ms) if ms < 100_000.0 => format!("{:.2} s", ms / 1000.0),
        Some(ms) => age(ms as u64),
    }
}

/// Returns the time since something began: `45 s`, `12 m`, `3 h 12 m`, `5 d 3 h`.
pub fn age(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} m", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Returns an amount of memory with three digits.
pub fn bytes(bytes: u64) -> String {
    with_unit(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Returns a share of one in percent.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Returns the time of day of a moment in milliseconds since 1970.
pub fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds % 3600 / 60, seconds % 60)
}

fn with_unit(value: f64, base: f64, units: &[&str]) -> String {
    let (mut value, mut units) = (value, units);
    while value.round() >= base.min(1000.0) && units.len() > 1 {
        value /= base;
        units = &units[1..];
    }
    let unit = units[0];
    let digits = match value {
        _ if value.fract() == 0.0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_exact_enough() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (123_456, "123,456"),
            (9_999_999, "9,999,999"),
            (12_345_678, "12.3 M"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(count(number), text);
        }
        for (number, text) in
            [(-0.0, "0"), (0.01, "<0.1"), (0.1, "0.1"), (9.94, "9.9"), (9.96, "10"), (1400.4, "1,400")]
        {
            assert_eq!(rate(number), text);
        }
        for (number, text) in [
            (None, "-"),
            (Some(0.284), "0.28 ms"),
            (Some(12.34), "12.3 ms"),
            (Some(123.4), "123 ms"),
            (Some(1234.0), "1.23 s"),
            (Some(120_000.0), "2 m"),
        ] {
            assert_eq!(ms(number), text);
        }
        for (number, text) in
            [(999, "0 s"), (59_999, "59 s"), (720_000, "12 m"), (11_520_000, "3 h 12 m"), (442_800_000, "5 d 3 h")]
        {
            assert_eq!(age(number), text);
        }
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (64_000, "62.5 KiB"),
            (1 << 20, "1 MiB"),
            (2_000_000_000, "1.86 GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!((percent(0.984), clock(1_795_774_984_000)), ("98 %".to_owned(), "10:23:04 UTC".to_owned()));
    }
}
