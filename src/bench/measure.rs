//! Latencies in histograms: from the intended and from the real time of sending, by second, and by size of
//! conversation. Each thread has its own [`Recorder`]; they are merged at the end. Times are arguments, in µs since the
//! run began.

use std::time::Duration;

use hdrhistogram::{Counter, Histogram};

use super::outcome::{Curve, Latency, Quantile, Second, Spread};
use super::plan::Bursts;

/// Largest latency that is recorded, in µs. Larger ones are recorded as this one, which is longer than any run.
pub const LATENCY_US_MAX: u64 = 3_700_000_000;

/// Length limit of the time series, in seconds of measured time.
pub const SECONDS_MAX: usize = 3600;

/// Significant decimal digits in histograms of a whole run.
const DIGITS_RUN: u8 = 3;
/// Significant decimal digits in histograms of one second, of which there may be thousands.
const DIGITS_SECOND: u8 = 2;

const US_PER_SECOND: u64 = 1_000_000;

/// 100 % in thousandths of a percent: percentiles are kept in this unit, so that their ranks are exact.
const WHOLE: u64 = 100_000;

/// Points of a curve for each halving of the distance to the largest value, as the tools of HdrHistogram have them.
const TICKS_PER_HALF: u32 = 5;

/// A histogram, with the exact largest value and the exact mean.
#[derive(Clone, Debug)]
pub struct Distribution<C: Counter = u64> {
    histogram: Histogram<C>,
    max: u64,
    sum: u128,
}

impl<C: Counter> Distribution<C> {
    /// Creates an empty distribution with this precision, 1 to 5 decimal digits. It grows with its largest value; with
    /// 3 digits, to 200 KiB.
    fn new(digits: u8) -> Self {
        let Ok(histogram) = Histogram::new(digits.clamp(1, 5)) else { unreachable!("these digits are allowed") };
        Self { histogram, max: 0, sum: 0 }
    }

    /// Adds one value, in µs.
    pub fn record(&mut self, us: u64) {
        let us = us.min(LATENCY_US_MAX);
        // This cannot fail: the histogram grows as far as `LATENCY_US_MAX`.
        let recorded = self.histogram.record(us);
        debug_assert!(recorded.is_ok());
        self.max = self.max.max(us);
        self.sum += u128::from(us);
    }

    /// Adds the values of another distribution.
    pub fn merge(&mut self, other: &Self) {
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok());
        self.max = self.max.max(other.max);
        self.sum += other.sum;
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the smallest value, in µs, that `percent` percent of the values do not exceed. 0 if there are no values.
    pub fn percentile(&self, percent: f64) -> u64 {
        let thousandths = (percent.clamp(0.0, 100.0) * 1000.0).round() as u64;
        self.percentiles([thousandths]).next().map_or(0, |(_, us)| us)
    }

    /// Returns the summary for a report, with percentiles by 5 % up to 90, by 1 % up to 99, by 0.1 % up to 99.9, and so
    /// on to 99.999.
    pub fn latency(&self) -> Latency {
        let coarse = (0..90_000).step_by(5000);
        let tail = [1000, 100, 10, 1].into_iter().flat_map(|step| (1..=10).rev().map(move |n| WHOLE - n * step));
        let mut thousandths = coarse.chain(tail).collect::<Vec<_>>();
        // The end of a decade is the beginning of the next.
        thousandths.dedup();
        let percentiles = self.percentiles(thousandths).map(|(thousandths, us)| (thousandths as f64 / 1000.0, us));
        Latency { count: self.count(), percentiles: percentiles.collect(), max: self.max, mean: self.mean() }
    }

    /// Returns the values for HdrHistogram's tools.
    pub fn curve(&self) -> Curve {
        let mut count = 0;
        let points = self.histogram.iter_quantiles(TICKS_PER_HALF).map(|step| {
            count += step.count_since_last_iteration();
            Quantile { us: step.value_iterated_to().min(self.max), quantile: step.quantile_iterated_to(), count }
        });
        Curve {
            points: if self.count() == 0 { Vec::new() } else { points.collect() },
            mean: self.mean(),
            deviation: if self.count() == 0 { 0.0 } else { self.histogram.stdev() },
            max: self.max,
            count: self.count(),
            buckets: self.histogram.buckets().into(),
            // Each bucket has parts for twice the values that its digits tell apart.
            sub_buckets: (2 * 10_u64.pow(self.histogram.sigfig().into())).next_power_of_two(),
        }
    }

    fn mean(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum as f64 / self.count() as f64 }
    }

    /// Returns the values at rising percentiles, in one pass. Empty if there are no values.
    fn percentiles(&self, thousandths: impl IntoIterator<Item = u64>) -> impl Iterator<Item = (u64, u64)> {
        let (mut steps, mut below, mut value) = (self.histogram.iter_recorded(), 0, 0);
        thousandths.into_iter().map_while(move |thousandths| {
            let rank = (u128::from(self.count()) * u128::from(thousandths)).div_ceil(u128::from(WHOLE)).max(1);
            while below < rank {
                let step = steps.next()?;
                below += u128::from(step.count_at_value().as_u64());
                value = step.value_iterated_to().min(self.max);
            }
            Some((thousandths, value))
        })
    }
}

/// A class of conversations by size: 1 member, 2, 3 to 4, 5 to 8, 9 to 16, 17 to 32 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Returns the class of conversations with this many members.
    pub fn of(members: usize) -> Self {
        Self((usize::BITS - members.saturating_sub(1).leading_zeros()) as u8)
    }

    /// Returns the fewest and the most members of the class.
    pub fn members(self) -> (u64, u64) {
        let most = |class: u8| 1_u64.checked_shl(class.into()).unwrap_or(u64::MAX);
        (self.0.checked_sub(1).map_or(1, |below| most(below) + 1), most(self.0))
    }
}

/// The measurements of one thread. A talk is measured if it was to be sent within the measured time. A receipt of such
/// a talk after the measured time has its latency counted too, but is in no [`Second`]. A second counts all receipts in
/// it, also of talks of the warm-up: it shows the rate at which the server delivers.
#[derive(Clone, Debug)]
pub struct Recorder {
    from_us: u64,
    until_us: u64,
    joins: Distribution,
    lag: Distribution,
    raw: Distribution,
    /// The corrected latencies within a node, and between nodes.
    routes: [Distribution; 2],
    last: Distribution,
    seconds: Vec<Cell>,
    /// The latencies of each [`SizeClass`], by its number.
    classes: Vec<Class>,
    bursts: Option<Bursts>,
    /// The longest time from the end of a burst until a delivery of one of its talks, in µs.
    drained_us: Option<u64>,
}

/// One second. Its histogram grows with its largest value, to some 12 KiB.
#[derive(Clone, Debug)]
struct Cell {
    talks: u64,
    deliveries: Distribution<u32>,
}

#[derive(Clone, Debug)]
struct Class {
    spread: Distribution,
    delivery: Distribution,
}

impl Recorder {
    /// Creates a recorder for the measured time from `from_us` until before `until_us`.
    pub fn new(from_us: u64, until_us: u64) -> Self {
        let run = || Distribution::new(DIGITS_RUN);
        Self {
            from_us,
            until_us,
            joins: run(),
            lag: run(),
            raw: run(),
            routes: [run(), run()],
            last: run(),
            seconds: Vec::new(),
            classes: Vec::new(),
            bursts: None,
            drained_us: None,
        }
    }

    /// Returns the recorder of a run whose talks come in these bursts.
    pub fn in_bursts(self, bursts: Option<Bursts>) -> Self {
        Self { bursts, ..self }
    }

    /// Ends the measured time at `us`, if it is not over before.
    pub fn end(&mut self, us: u64) {
        self.until_us = self.until_us.min(us);
    }

    /// Records that a connection was `listening` `us` after its join.
    pub fn record_join(&mut self, us: u64) {
        self.joins.record(us);
    }

    /// Records that a talk was sent.
    pub fn record_talk(&mut self, intended_us: u64, sent_us: u64) {
        if self.is_measured(intended_us) {
            self.lag.record(sent_us.saturating_sub(intended_us));
            if let Some(second) = self.second(sent_us) {
                second.talks += 1;
            }
        }
    }

    /// Records that one member of a conversation of this class has received a talk, from another node if `is_remote`.
    pub fn record(&mut self, class: SizeClass, is_remote: bool, intended_us: u64, sent_us: u64, received_us: u64) {
        let corrected = received_us.saturating_sub(intended_us);
        if let Some(second) = self.second(received_us) {
            second.deliveries.record(corrected);
        }
        if self.is_measured(intended_us) {
            self.raw.record(received_us.saturating_sub(sent_us));
            self.routes[usize::from(is_remote)].record(corrected);
            self.class(class).delivery.record(corrected);
            if let Some(bursts) = self.bursts {
                let of_burst_us = (intended_us - self.from_us) % bursts.period_us();
                let drained_us = (of_burst_us + corrected).saturating_sub(bursts.burst_us());
                self.drained_us = self.drained_us.max(Some(drained_us));
            }
        }
    }

    /// Records that all members of a conversation of this class have received a talk: the first at `first_us`, the last
    /// at `last_us`.
    pub fn record_spread(&mut self, class: SizeClass, intended_us: u64, first_us: u64, last_us: u64) {
        if self.is_measured(intended_us) {
            self.class(class).spread.record(last_us.saturating_sub(first_us));
            self.last.record(last_us.saturating_sub(intended_us));
        }
    }

    /// Adds the measurements of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.joins.merge(&other.joins);
        self.lag.merge(&other.lag);
        self.raw.merge(&other.raw);
        self.last.merge(&other.last);
        self.routes.iter_mut().zip(&other.routes).for_each(|(ours, theirs)| ours.merge(theirs));
        self.drained_us = self.drained_us.max(other.drained_us);
        grow(&mut self.seconds, other.seconds.len(), Cell::new);
        for (ours, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            ours.talks += theirs.talks;
            ours.deliveries.merge(&theirs.deliveries);
        }
        grow(&mut self.classes, other.classes.len(), Class::new);
        for (ours, theirs) in self.classes.iter_mut().zip(&other.classes) {
            ours.spread.merge(&theirs.spread);
            ours.delivery.merge(&theirs.delivery);
        }
    }

    /// Returns the times from a join to `listening`, including the warm-up.
    pub fn joins(&self) -> &Distribution {
        &self.joins
    }

    /// Returns how much later than planned talks were sent: the delay of the generator.
    pub fn lag(&self) -> &Distribution {
        &self.lag
    }

    /// Returns delivery latencies from the intended time of sending. They include the delay that a stall causes at the
    /// sender.
    pub fn corrected(&self) -> Distribution {
        let mut all = Distribution::new(DIGITS_RUN);
        self.classes.iter().for_each(|class| all.merge(&class.delivery));
        all
    }

    /// Returns delivery latencies from the real time of sending.
    pub fn raw(&self) -> &Distribution {
        &self.raw
    }

    /// Returns the corrected latencies of deliveries within a node, and between nodes.
    pub fn routes(&self) -> &[Distribution; 2] {
        &self.routes
    }

    /// Returns the times from the intended time of sending until all members have received the talk.
    pub fn last(&self) -> &Distribution {
        &self.last
    }

    /// Returns the longest time from the end of a burst until the last of its deliveries. `None` if there was none.
    pub fn drained(&self) -> Option<Duration> {
        self.drained_us.map(Duration::from_micros)
    }

    /// Returns the measured time second by second. The last second may be a part of one. Seconds in which nothing
    /// happened are included.
    pub fn seconds(&self, measured: Duration) -> Vec<Second> {
        let count = measured.as_nanos().div_ceil(1_000_000_000).min(SECONDS_MAX as u128) as usize;
        let recorded = self.seconds.iter().map(|Cell { talks, deliveries }| Second {
            talks: *talks,
            deliveries: deliveries.count(),
            p50: deliveries.percentile(50.0),
            p99: deliveries.percentile(99.0),
            max: deliveries.max,
        });
        recorded.chain(std::iter::repeat(Second::default())).take(count).collect()
    }

    /// Returns the corrected delivery latencies of the last whole second before `now_us`. `None` if it was not
    /// measured, or nothing came in it.
    pub fn last_second(&self, now_us: u64) -> Option<&Distribution<u32>> {
        let number = (now_us.checked_sub(self.from_us)? / US_PER_SECOND).checked_sub(1)?;
        let second = self.seconds.get(usize::try_from(number).ok()?)?;
        (second.deliveries.count() > 0).then_some(&second.deliveries)
    }

    /// Returns the latencies by size of conversation, the smallest first.
    pub fn spreads(&self) -> Vec<Spread> {
        let with_number = (0..).zip(&self.classes);
        let seen = with_number.filter(|(_, class)| class.spread.count() + class.delivery.count() > 0);
        let spread = |(number, Class { spread, delivery }): (u8, &Class)| {
            let (members_min, members_max) = SizeClass(number).members();
            Spread { members_min, members_max, first_to_last: spread.latency(), delivery: delivery.latency() }
        };
        seen.map(spread).collect()
    }

    fn is_measured(&self, us: u64) -> bool {
        (self.from_us..self.until_us).contains(&us)
    }

    /// Returns the second of the measured time that this instant is in. `None` if it is in no such second.
    fn second(&mut self, us: u64) -> Option<&mut Cell> {
        let number = usize::try_from(us.checked_sub(self.from_us)? / US_PER_SECOND).ok()?;
        if us >= self.until_us || number >= SECONDS_MAX {
            return None;
        }
        grow(&mut self.seconds, number + 1, Cell::new);
        self.seconds.get_mut(number)
    }

    fn class(&mut self, class: SizeClass) -> &mut Class {
        let number = usize::from(class.0);
        grow(&mut self.classes, number + 1, Class::new);
        &mut self.classes[number]
    }
}

impl Cell {
    fn new() -> Self {
        Self { talks: 0, deliveries: Distribution::new(DIGITS_SECOND) }
    }
}

impl Class {
    fn new() -> Self {
        Self { spread: Distribution::new(DIGITS_RUN), delivery: Distribution::new(DIGITS_RUN) }
    }
}

fn grow<T>(list: &mut Vec<T>, length: usize, new: impl FnMut() -> T) {
    if list.len() < length {
        list.resize_with(length, new);
    }
}

#[cfg(test)]
mod tests;
