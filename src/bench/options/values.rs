//! The values of the flags of `maxtalk bench`: their forms and bounds.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use url::Url;

use crate::bench::plan::{DURATION_MAX, Sizes};
use crate::bench::units::{TimeError, time};
use crate::protocol::{Generation, TransportKind};

/// Bound of `--connections` and `--members`.
pub(super) const CONNECTIONS_MAX: usize = 100_000;
/// Bound of the number of nodes of `--spawn`.
const NODES_MAX: usize = 16;
/// Bound of `--conversations-per-user`. It is that of `demo.conversations_per_person`.
const CONVERSATIONS_PER_USER_MAX: usize = 1000;
/// Bound of `--window`, in talks.
pub(super) const WINDOW_MAX: usize = 100_000;
/// Bound of `--payload-bytes`. An update of this size has a `messageID` of 256 bytes, the longest that a server takes
/// by default.
pub(super) const PAYLOAD_BYTES_MAX: usize = 356;
/// Lower bound of `--lag-max`. No timer of a system with other work is more exact.
const LAG_MIN: Duration = Duration::from_micros(100);
/// Bound of `--rate`, `--churn` and `--ramp`, per second.
pub(super) const PER_SECOND_MAX: f64 = 1e6;
/// Lower bound of `--ramp`, per second.
const RAMP_MIN: f64 = 0.1;
/// Lower bound of `--knee`, in talks per second.
const RATE_MIN: f64 = 1.0;
/// Bound of each percentage of `--loads`.
const PERCENT_MAX: usize = 1000;
/// Bound of the number of percentages.
const PERCENTS_MAX: usize = 16;
/// Bound of `--repeats`.
const REPEATS_MAX: usize = 100;
/// Bound of each weight of `--transports` and `--generations`.
const WEIGHT_MAX: u32 = 1000;
/// Bound of the exponent of `--sizes zipf:S`.
const EXPONENT_MAX: f64 = 10.0;

/// Why the value of a flag is not accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("a whole number from {min} to {max}")]
    NotWhole { min: usize, max: usize },
    #[error("{0}: a messageID of more than 256 bytes is refused (limits.id_bytes_max)")]
    PayloadBytes(#[source] Box<Self>),
    #[error("a number from {min} to {max}")]
    NotDecimal { min: f64, max: f64 },
    #[error("a share has a percent sign, such as 5%")]
    NoPercentSign,
    #[error(transparent)]
    Time(#[from] TimeError),
    #[error("at most 1h")]
    TooLong,
    #[error("from 100us to 1h")]
    Lag,
    #[error("even, zipf, or zipf:S")]
    Sizes,
    #[error("write http://{0}")]
    NoScheme(String),
    #[error("host, port and namespace, such as http://127.0.0.1:6545/max")]
    Url,
    #[error("a path that begins with a slash")]
    Path,
    #[error("{name:?} is not one of {names}")]
    UnknownName { name: String, names: &'static str },
    #[error("the weight of {name} is a whole number up to {WEIGHT_MAX}")]
    Weight { name: String },
    #[error("at least one weight has to be above 0")]
    NoWeight,
    #[error("at most {PERCENTS_MAX} percentages")]
    TooManyPercents,
}

/// Percentages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Percents(pub(super) Vec<u32>);

/// Values, each with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights<T>(pub(super) Vec<(T, u32)>);

pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
    let duration = time(text)?;
    if duration > DURATION_MAX { Err(ValueError::TooLong) } else { Ok(duration) }
}

pub(super) fn server_url(text: &str) -> Result<Url, ValueError> {
    if text.contains("://") {
        return Url::parse(text).map_err(|_| ValueError::Url);
    }
    let host = if text.starts_with(':') { "127.0.0.1" } else { "" };
    Err(ValueError::NoScheme(format!("{host}{text}")))
}

pub(super) fn lag(text: &str) -> Result<Duration, ValueError> {
    let lag = time(text)?;
    if (LAG_MIN..=DURATION_MAX).contains(&lag) { Ok(lag) } else { Err(ValueError::Lag) }
}

fn whole(text: &str, min: usize, max: usize) -> Result<usize, ValueError> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or(ValueError::NotWhole { min, max })
}

pub(super) fn connections(text: &str) -> Result<usize, ValueError> {
    whole(text, 2, CONNECTIONS_MAX)
}

pub(super) fn spawned(text: &str) -> Result<usize, ValueError> {
    whole(text, 1, NODES_MAX)
}

pub(super) fn members(text: &str) -> Result<usize, ValueError> {
    whole(text, 2, CONNECTIONS_MAX)
}

pub(super) fn conversations_per_user(text: &str) -> Result<usize, ValueError> {
    whole(text, 1, CONVERSATIONS_PER_USER_MAX)
}

pub(super) fn window(text: &str) -> Result<usize, ValueError> {
    whole(text, 1, WINDOW_MAX)
}

pub(super) fn payload_bytes(text: &str) -> Result<usize, ValueError> {
    whole(text, 1, PAYLOAD_BYTES_MAX).map_err(|error| ValueError::PayloadBytes(Box::new(error)))
}

pub(super) fn threads(text: &str) -> Result<usize, ValueError> {
    whole(text, 1, thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

fn decimal(text: &str, min: f64, max: f64) -> Result<f64, ValueError> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or(ValueError::NotDecimal { min, max })
}

pub(super) fn per_second(text: &str) -> Result<f64, ValueError> {
    decimal(text, 0.0, PER_SECOND_MAX)
}

pub(super) fn rate(text: &str) -> Result<f64, ValueError> {
    decimal(text, RATE_MIN, PER_SECOND_MAX)
}

pub(super) fn percents(text: &str) -> Result<Percents, ValueError> {
    let percent = |text: &str| whole(text.trim().trim_end_matches('%'), 1, PERCENT_MAX).map(|percent| percent as u32);
    let percents = text.split(',').map(percent).collect::<Result<Vec<_>, _>>()?;
    if percents.len() > PERCENTS_MAX { Err(ValueError::TooManyPercents) } else { Ok(Percents(percents)) }
}

pub(super) fn repeats(text: &str) -> Result<u32, ValueError> {
    // The bound fits.
    whole(text, 1, REPEATS_MAX).map(|repeats| repeats as u32)
}

pub(super) fn ramp(text: &str) -> Result<f64, ValueError> {
    decimal(text, RAMP_MIN, PER_SECOND_MAX)
}

pub(super) fn share(text: &str) -> Result<f64, ValueError> {
    let percent = text.strip_suffix('%').ok_or(ValueError::NoPercentSign)?;
    Ok(decimal(percent, 0.0, 100.0)? / 100.0)
}

pub(super) fn sizes(text: &str) -> Result<Sizes, ValueError> {
    match text.split_once(':') {
        None if text == "even" => Ok(Sizes::Even),
        None if text == "zipf" => Ok(Sizes::Zipf(1.0)),
        Some(("zipf", exponent)) => Ok(Sizes::Zipf(decimal(exponent, 0.0, EXPONENT_MAX)?)),
        _ => Err(ValueError::Sizes),
    }
}

pub(super) fn endpoint(text: &str) -> Result<String, ValueError> {
    let fits =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if !fits {
        return Err(ValueError::Path);
    }
    Ok(if text.ends_with('/') { text.to_owned() } else { format!("{text}/") })
}

fn weights<T>(text: &str, names: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Weights<T>, ValueError> {
    let one = |part: &str| {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let value = parse(name).ok_or_else(|| ValueError::UnknownName { name: name.to_owned(), names })?;
        let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
        Ok((value, weight.ok_or_else(|| ValueError::Weight { name: name.to_owned() })?))
    };
    let weights = text.split(',').map(one).collect::<Result<Vec<_>, ValueError>>()?;
    if weights.iter().all(|(_, weight)| *weight == 0) {
        return Err(ValueError::NoWeight);
    }
    Ok(Weights(weights))
}

pub(super) fn transports(text: &str) -> Result<Weights<TransportKind>, ValueError> {
    let kinds = [TransportKind::WebSocket, TransportKind::Polling];
    weights(text, "websocket, polling", |name| kinds.into_iter().find(|kind| kind.as_str() == name))
}

pub(super) fn generations(text: &str) -> Result<Weights<Generation>, ValueError> {
    weights(text, "eio4, eio3, 0.9", Generation::parse)
}
