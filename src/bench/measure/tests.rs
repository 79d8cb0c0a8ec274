//! Percentiles of known distributions, the effect of a stall on them, and the time series.

use std::iter::repeat_n;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bench::outcome::samples;
use crate::bench::plan::{DURATION_MAX, Pace, Plan};

const SIZE: usize = 10;

fn distribution(values: impl IntoIterator<Item = u64>) -> Distribution {
    let mut distribution = Distribution::new(DIGITS_RUN);
    values.into_iter().for_each(|us| distribution.record(us));
    distribution
}

/// Asserts that `us` is `expected` to three digits and not below it: a bucket reports its upper end.
#[track_caller]
fn assert_near(us: u64, expected: u64) {
    assert!((expected..=expected + expected / 1000).contains(&us), "{us} where {expected} was expected");
}

#[test]
fn a_uniform_distribution_has_its_percentiles() {
    let latency = distribution(1..=1_000_000).latency();
    assert_eq!((latency.count, latency.max, latency.mean), (1_000_000, 1_000_000, 500_000.5));
    for &(percent, us) in &latency.percentiles {
        assert_near(us, ((percent * 10_000.0).round() as u64).max(1));
    }
    let percents = latency.percentiles.iter().map(|(percent, _)| *percent).collect::<Vec<_>>();
    assert!(percents.is_sorted_by(|a, b| a < b), "{percents:?}");
    for percent in [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999] {
        assert!(percents.contains(&percent), "{percent}");
    }
}

#[test]
fn a_constant_distribution_is_the_same_everywhere() {
    let latency = distribution(repeat_n(12_345, 1000)).latency();
    assert_eq!((latency.max, latency.mean), (12_345, 12_345.0));
    // Never above the largest value, though the bucket goes further.
    assert!(latency.percentiles.iter().all(|(_, us)| *us == 12_345));
}

#[test]
fn a_bimodal_distribution_jumps_at_its_share() {
    let bimodal = distribution(repeat_n(100, 99_000).chain(repeat_n(50_000, 1000)));
    for (percent, us) in [(0.0, 100), (50.0, 100), (98.9, 100), (99.0, 100), (99.001, 50_000), (100.0, 50_000)] {
        assert_eq!(bimodal.percentile(percent), us, "{percent} %");
    }
    let latency = bimodal.latency();
    assert_eq!(latency.mean, 599.0);
    let below = latency.percentiles.partition_point(|(_, us)| *us == 100);
    assert_eq!(latency.percentiles[below - 1].0, 99.0);
    assert!(latency.percentiles[below..].iter().all(|(_, us)| *us == 50_000));
}

#[test]
fn what_is_out_of_range_is_as_large_as_can_be() {
    let latency = distribution([0, u64::MAX]).latency();
    assert_eq!((latency.count, latency.max), (2, LATENCY_US_MAX));
    assert_eq!(latency.percentiles.first(), Some(&(0.0, 0)));
    assert_eq!(latency.percentiles.last(), Some(&(99.999, LATENCY_US_MAX)));
}

#[test]
fn nothing_has_no_percentiles() {
    assert_eq!(distribution([]).latency(), Latency::default());
    assert_eq!(distribution([]).percentile(99.0), 0);
}

proptest! {
    #[test]
    fn percentiles_are_those_of_the_sorted_list(mut values in vec(0..10_000_000_u64, 1..300), parts in 1..4_usize) {
        let mut merged = distribution([]);
        for part in 0..parts {
            merged.merge(&distribution(values.iter().copied().skip(part).step_by(parts)));
        }
        values.sort_unstable();
        let latency = merged.latency();
        prop_assert_eq!((latency.count, latency.max), (values.len() as u64, values[values.len() - 1]));
        for (percent, us) in latency.percentiles {
            let rank = ((percent * 1000.0).round() as usize * values.len()).div_ceil(100_000).max(1);
            let exact = values[rank - 1];
            prop_assert!(us >= exact && us <= exact + exact / 1000, "{} at {} %, {} is exact", us, percent, exact);
        }
    }
}

/// 1000 talks a second for ten seconds, each answered after 100 µs, with a stall in the fifth second. The sender waits
/// for each answer, so talks due in the stall are sent after it.
fn stalled() -> Recorder {
    let (stall, end) = (4 * US_PER_SECOND, 5 * US_PER_SECOND);
    let mut recorder = Recorder::new(0, 10 * US_PER_SECOND);
    for intended in (0..10 * US_PER_SECOND).step_by(1000) {
        let sent = if (stall + 1..end).contains(&intended) { end } else { intended };
        let received = if intended == stall { end } else { sent + 100 };
        recorder.record_talk(intended, sent);
        recorder.record(SizeClass::of(SIZE), false, intended, sent, received);
    }
    recorder
}

#[test]
fn a_stall_shows_from_the_intended_time_on() {
    let recorder = stalled();
    let (corrected, raw) = (recorder.corrected(), recorder.raw());
    assert_eq!((corrected.count(), raw.count()), (10_000, 10_000));
    // One in ten was due in the stall, and waited for the rest of it.
    assert_near(corrected.percentile(90.0), 100);
    for (percent, us) in [(91.0, 100_000), (95.0, 500_000), (99.0, 900_000), (99.9, 990_000)] {
        let found = corrected.percentile(percent);
        assert!(found.abs_diff(us) <= 2000, "{found} where {us} was expected at {percent} %");
    }
    assert_eq!(corrected.latency().max, US_PER_SECOND);
    // By the real time of sending, a single one waited.
    assert_eq!((raw.percentile(99.99), raw.latency().max), (100, US_PER_SECOND));
    // The lag shows that the sender caused the difference.
    assert!(recorder.lag().percentile(99.0).abs_diff(900_000) <= 2000);
}

#[test]
fn a_stall_is_a_hole_in_the_time_series_and_a_peak_behind_it() {
    let seconds = stalled().seconds(Duration::from_secs(10));
    assert_eq!(seconds.len(), 10);
    let usual = Second { talks: 1000, deliveries: 1000, p50: 100, p99: 100, max: 100 };
    assert!((0..4).chain(6..10).all(|number| seconds[number] == usual), "{seconds:?}");
    assert_eq!(seconds[4], Second { talks: 1, ..Second::default() });
    assert_eq!((seconds[5].talks, seconds[5].deliveries, seconds[5].max), (1999, 2000, US_PER_SECOND));
    // Half of what came in that second had waited, evenly up to a second.
    assert!(seconds[5].p50 <= 2000 && seconds[5].p99.abs_diff(980_000) <= 10_000, "{:?}", seconds[5]);
}

#[test]
fn only_the_measured_time_is_measured() {
    let class = SizeClass::of(SIZE);
    let mut recorder = Recorder::new(1_000_000, 3_500_000);
    for (intended, received) in
        [(999_999, 1_500_000), (1_000_000, 1_000_010), (3_499_999, 3_600_000), (3_500_000, 3_500_001)]
    {
        recorder.record_talk(intended, intended);
        recorder.record(class, false, intended, intended, received);
        recorder.record_spread(class, intended, intended, received);
    }
    assert_eq!((recorder.corrected().count(), recorder.raw().count(), recorder.lag().count()), (2, 2, 2));
    assert_eq!(recorder.spreads()[0].first_to_last.count, 2);
    let seconds = recorder.seconds(Duration::from_millis(2500));
    let counts = seconds.iter().map(|second| (second.talks, second.deliveries)).collect::<Vec<_>>();
    // The first was sent before the measured time and received in it; the last was received after it.
    assert_eq!(counts, [(1, 2), (0, 0), (1, 0)]);
    assert_eq!(recorder.seconds(Duration::from_millis(900)).len(), 1, "it was interrupted");
}

#[test]
fn what_comes_after_an_interruption_is_not_of_the_measured_time() {
    let mut recorder = Recorder::new(0, 10_000_000);
    let class = SizeClass::of(SIZE);
    recorder.record(class, false, 1_000_000, 1_000_000, 1_100_000);
    recorder.end(1_200_000);
    // The measured part of the last second is over, though the second is not.
    for received in [1_300_000, 1_900_000] {
        recorder.record(class, false, 1_000_000, 1_000_000, received);
    }
    let seconds = recorder.seconds(Duration::from_micros(1_200_000));
    assert_eq!(seconds.iter().map(|second| second.deliveries).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(recorder.corrected().count(), 3, "their latency is known");
    recorder.end(5_000_000);
    recorder.record_talk(2_000_000, 2_000_000);
    assert_eq!(recorder.lag().count(), 0, "an end is not taken back");
}

#[test]
fn the_longest_drain_of_a_burst_is_known() {
    let plan = Plan { pace: Pace::Bursts { rate: 1.0 }, duration: Duration::from_secs(20), ..samples::good().plan };
    let bursts = Bursts::of(&plan);
    let recorder = || Recorder::new(5_000_000, 25_000_000).in_bursts(bursts);
    let (mut one, mut other) = (recorder(), recorder());
    assert_eq!(one.drained(), None);
    // Each burst lasts a second, and begins at 5 s and at 15 s.
    let mut receive =
        |intended_us, received_us| one.record(SizeClass::of(SIZE), false, intended_us, intended_us, received_us);
    receive(5_200_000, 5_900_000);
    receive(4_000_000, 24_000_000);
    let mut drained_us = Vec::from_iter(one.drained().map(|drained| drained.as_micros()));
    for (intended_us, received_us) in [(5_200_000, 8_500_000), (15_000_000, 16_400_000), (15_999_999, 30_000_000)] {
        other.record(SizeClass::of(SIZE), false, intended_us, intended_us, received_us);
        drained_us.extend(other.drained().map(|drained| drained.as_micros()));
    }
    assert_eq!(drained_us, [0, 2_500_000, 2_500_000, 14_000_000]);
    one.merge(&other);
    assert_eq!(one.drained(), Some(Duration::from_secs(14)));
}

#[test]
fn no_latency_of_a_run_is_out_of_range() {
    assert!(u128::from(LATENCY_US_MAX) > (DURATION_MAX + Duration::from_secs(60)).as_micros());
}

#[test]
fn a_long_run_has_a_bounded_series() {
    let mut recorder = Recorder::new(0, u64::MAX);
    let late = SECONDS_MAX as u64 * US_PER_SECOND;
    recorder.record(SizeClass::of(SIZE), false, late, late, late + 5);
    recorder.record(SizeClass::of(SIZE), false, late - 1, late - 1, late - 1);
    assert_eq!((recorder.corrected().count(), recorder.seconds.len()), (2, SECONDS_MAX));
    assert_eq!(recorder.seconds(Duration::MAX).len(), SECONDS_MAX);
}

#[test]
fn a_class_says_between_which_bounds_its_sizes_are() {
    for (size, members) in [
        (0, (1, 1)),
        (1, (1, 1)),
        (2, (2, 2)),
        (3, (3, 4)),
        (4, (3, 4)),
        (16, (9, 16)),
        (17, (17, 32)),
        (20, (17, 32)),
        (32, (17, 32)),
        (33, (33, 64)),
        (10_000, (8_193, 16_384)),
        (usize::MAX, ((1 << 63) + 1, u64::MAX)),
    ] {
        assert_eq!(SizeClass::of(size).members(), members, "{size}");
    }
}

#[test]
fn spreads_are_told_by_size() {
    let mut recorder = Recorder::new(0, US_PER_SECOND);
    let (small, large) = (SizeClass::of(10), SizeClass::of(10_000));
    for talk in 0..100 {
        recorder.record_spread(small, talk, talk + 50, talk + 60);
        recorder.record_spread(large, talk, talk + 50, talk + 50 + if talk < 90 { 1000 } else { 1900 });
        recorder.record(large, false, talk, talk, talk + 1700);
    }
    recorder.record(small, false, 0, 0, 60);
    let figures = recorder.spreads().into_iter().map(|Spread { members_min, members_max, first_to_last, delivery }| {
        let at = |latency: &Latency| [50.0, 99.0].map(|percentile| latency.at(percentile).unwrap());
        ((members_min, members_max), first_to_last.count, at(&first_to_last), delivery.count, at(&delivery))
    });
    let expected = [((9, 16), 100, [10, 10], 1, [60, 60]), ((8_193, 16_384), 100, [1000, 1900], 100, [1700, 1700])];
    assert!(figures.eq(expected), "{:?}", recorder.spreads());
}

#[test]
fn threads_measure_as_one() {
    let mut whole = Recorder::new(0, 5 * US_PER_SECOND);
    let mut parts = [whole.clone(), whole.clone(), whole.clone()];
    for talk in 0..5000_u64 {
        let (intended, thread) = (talk * 1000, (talk * talk % 3) as usize);
        // The threads see different ranges of values, sizes and seconds.
        let latency = (talk % 97 + 1) * 10_u64.pow(thread as u32 + 1);
        for recorder in [&mut whole, &mut parts[thread]] {
            let class = SizeClass::of(10_usize.pow(thread as u32 * 2));
            recorder.record_join(latency * 3);
            recorder.record_talk(intended, intended + 7);
            recorder.record(class, intended % 3 == 0, intended, intended + 7, intended + latency + 7);
            recorder.record_spread(class, intended, intended, intended + latency);
        }
    }
    let mut merged = Recorder::new(0, 5 * US_PER_SECOND);
    parts.iter().for_each(|part| merged.merge(part));
    let outcome = |recorder: &Recorder| {
        let all = [recorder.joins(), recorder.lag(), &recorder.corrected(), recorder.raw(), recorder.last()];
        let routes = recorder.routes().each_ref().map(Distribution::latency);
        (all.map(Distribution::latency), recorder.seconds(Duration::from_secs(5)), recorder.spreads(), routes)
    };
    assert_eq!(outcome(&merged), outcome(&whole));
    assert_eq!(outcome(&merged).0[0].count, 5000);
    assert_eq!(outcome(&merged).3.map(|route| route.count), [3333, 1667]);
    assert_eq!(outcome(&merged).2.len(), 2, "no square is 2 modulo 3");
}

#[test]
fn a_curve_has_the_values_and_their_numbers() {
    let mut distribution = Distribution::<u64>::new(3);
    assert_eq!(distribution.curve().points, []);
    (1..=1000).for_each(|us| distribution.record(us));
    let curve = distribution.curve();
    let (first, last) = (curve.points[0], curve.points.last().unwrap());
    assert_eq!((first.us, first.quantile, first.count), (1, 0.0, 1));
    assert_eq!((last.us, last.quantile, last.count), (1000, 1.0, 1000));
    assert_eq!((curve.max, curve.count, curve.mean, curve.sub_buckets), (1000, 1000, 500.5, 2048));
    assert!((curve.deviation - 288.7).abs() < 0.5, "{curve:?}");
    let half = curve.points.iter().find(|point| point.quantile >= 0.5).unwrap();
    assert_eq!((half.us, half.count), (500, 500));
    assert!(curve.points.windows(2).all(|pair| pair[0].quantile <= pair[1].quantile && pair[0].us <= pair[1].us));
}

#[test]
fn the_last_second_is_the_last_whole_one() {
    let mut recorder = Recorder::new(5_000_000, 60_000_000);
    let class = SizeClass::of(3);
    recorder.record(class, false, 5_000_000, 5_000_000, 5_000_100);
    recorder.record(class, false, 6_000_000, 6_000_000, 6_000_700);
    let last = |now_us| recorder.last_second(now_us).map(|second| (second.count(), second.percentile(50.0)));
    assert_eq!([last(1), last(5_900_000)], [None, None], "no second is over");
    assert_eq!(last(6_000_000), Some((1, 100)));
    assert_eq!(last(7_999_999), Some((1, 700)));
    assert_eq!(last(8_000_000), None, "nothing came");
}
