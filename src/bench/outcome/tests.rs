//! Doubts, faults and figures of made-up outcomes.

use super::*;
use crate::bench::plan::Pace;

#[test]
fn a_good_run_is_valid_and_clean() {
    let report = samples::good();
    assert_eq!(report.doubts(), []);
    assert!(report.is_clean() && report.is_good(), "{:?}", report.faults());
}

#[test]
fn a_search_that_found_nothing_is_not_good() {
    let mut report = samples::searched();
    assert!(report.is_good());
    let steps = &mut report.knee.as_mut().unwrap().steps;
    steps.retain(|step| step.trial == Trial::Fails);
    assert_eq!(report.doubts(), [Doubt::AtLeast { held: None, unproven: None }], "lower rates were not tried");
    report.knee.as_mut().unwrap().steps[0].rate = RATE_MIN;
    assert!(report.is_valid() && report.is_clean() && !report.is_good());
}

#[test]
fn a_search_is_valid_if_the_server_ended_it() {
    let mut report = samples::searched();
    report.generator = Generator { lag_p99: 1_000_000, lag_max: 2_000_000, busy_share: 1.0, machine: None };
    assert!(report.is_good(), "6,000 talks/s failed while the generator kept its plan");
    let steps = |report: &mut Report, keep: fn(&KneeStep) -> bool| {
        report.knee.as_mut().unwrap().steps.retain(keep);
        report.doubts()
    };
    let (held, unproven) = (Some(5_500.0), Some(8_000.0));
    let doubts = steps(&mut report, |step| step.trial != Trial::Fails);
    assert_eq!(doubts, [Doubt::AtLeast { held, unproven }]);
    assert!(!report.is_good() && report.is_clean());
    let mut late = report.clone();
    let doubts = steps(&mut late, |step| step.trial == Trial::Unproven);
    assert_eq!(doubts, [Doubt::AtLeast { held: None, unproven }]);
    let doubts = steps(&mut report, |step| step.trial == Trial::Holds);
    assert_eq!(doubts, [Doubt::AtLeast { held, unproven: None }], "nothing failed");
}

#[test]
fn what_voids_a_run_is_named() {
    type Spoil = fn(&mut Report);
    let closed = |report: &mut Report| report.plan.pace = Pace::Closed { window: 64 };
    let open: &[(Spoil, Doubt)] = &[
        (|report| report.generator.lag_p99 = 1_001, Doubt::Late { lag_p99: 1_001, allowed: 1_000 }),
        (|report| report.generator.busy_share = 0.83, Doubt::Busy { share: 0.83 }),
        (|report| report.seconds.truncate(29), Doubt::TooFew { achieved: 29.0 * 2_000.0 / 30.0, planned: 2_000.0 }),
        (|report| (report.seconds, report.accounts) = (Vec::new(), Accounts::default()), Doubt::NoTalk),
        (
            |report| report.measured = Duration::from_secs(31),
            Doubt::TooFew { achieved: 30.0 * 2_000.0 / 31.0, planned: 2_000.0 },
        ),
    ];
    for (spoil, doubt) in open {
        let mut report = samples::good();
        spoil(&mut report);
        assert_eq!(report.doubts(), [*doubt]);
    }
    let mut report = samples::good();
    report.seconds.truncate(29);
    report.talks_not_taken = 2_000;
    assert_eq!(report.doubts(), [], "the server did not take them");
    let mut report = samples::good();
    closed(&mut report);
    (report.generator.lag_p99, report.generator.busy_share) = (5_000, 0.89);
    report.seconds.truncate(10);
    assert_eq!(report.doubts(), []);
    report.generator.busy_share = 0.91;
    assert_eq!(report.doubts(), [Doubt::Bottleneck { share: 0.91 }]);
}

#[test]
fn a_burst_may_be_late_by_a_part_of_its_length() {
    let mut report = samples::good();
    report.plan.pace = Pace::Bursts { rate: 2_000.0 };
    report.generator.lag_p99 = 50_000;
    assert_eq!(report.doubts(), []);
    report.generator.lag_p99 = 50_001;
    assert_eq!(report.doubts(), [Doubt::Late { lag_p99: 50_001, allowed: 50_000 }]);
    report.plan.duration = Duration::from_millis(100);
    report.generator.lag_p99 = 1_000;
    assert_eq!(report.doubts(), [], "the lag of a steady run is always allowed");
    report.generator.lag_p99 = 7_000;
    assert_eq!(report.doubts(), [Doubt::Late { lag_p99: 7_000, allowed: 1_000 }]);
    report.plan.lag_max = Duration::from_millis(7);
    assert_eq!(report.doubts(), [], "more may be allowed");
}

#[test]
fn a_talk_may_fall_behind_the_end_and_a_run_at_rest_has_none() {
    let mut report = samples::good();
    report.plan.pace = Pace::Open { rate: 2.0 };
    report.measured = Duration::from_secs(1);
    report.seconds = vec![Second { talks: 1, ..Second::default() }];
    assert_eq!(report.doubts(), []);
    let mut rest = samples::empty();
    assert!(!rest.is_valid());
    rest.plan.pace = Pace::Open { rate: 0.0 };
    assert_eq!(rest.doubts(), []);
    assert!(rest.is_clean());
    let mut warm = samples::good();
    (warm.seconds, warm.measured) = (Vec::new(), Duration::ZERO);
    warm.interrupted = Some(Interruption { rate: Some(2_000.0), measured: Duration::ZERO });
    let unmeasured = Doubt::Unmeasured { joined: 10_000, planned: 10_000 };
    assert_eq!(warm.doubts(), [unmeasured], "it was interrupted in the warm-up");
    rest.generator.busy_share = 0.93;
    assert!(!rest.is_valid(), "there may be churn");
}

#[test]
fn each_fault_is_told() {
    type Spoil = fn(&mut Report);
    let table: &[(Spoil, &str)] = &[
        (|report| (report.accounts.lost, report.accounts.received) = (7, report.accounts.received - 7), "lost"),
        (|report| report.accounts.duplicated = 7, "duplicated"),
        (|report| report.accounts.out_of_order = 7, "out of order"),
        (|report| report.accounts.misdelivered = 7, "misdelivered"),
        (|report| report.accounts.received -= 7, "unaccounted for"),
        (|report| report.accounts.received += 7, "unaccounted for"),
        (|report| report.connections_lost = 7, "connections failed or lost"),
        (|report| report.churn_failures = 7, "joins or leaves that failed"),
        (|report| report.talks_not_taken = 7, "talks that the server did not take"),
    ];
    for (spoil, name) in table {
        let mut report = samples::good();
        spoil(&mut report);
        assert_eq!(report.faults(), [(*name, 7)]);
        assert!(!report.is_clean());
    }
    // A delivery declared as missed is not lost.
    let mut report = samples::good();
    (report.accounts.declared_missing, report.accounts.received) = (7, report.accounts.received - 7);
    assert!(report.is_clean());
}

#[test]
fn a_percentile_is_the_next_known_one() {
    let latency = Latency { count: 4, percentiles: vec![(50.0, 10), (99.0, 20)], max: 30, mean: 15.0 };
    let at = |percentile| latency.at(percentile).unwrap();
    assert_eq!([at(0.0), at(50.0), at(50.1), at(99.0), at(99.9)], [10, 10, 20, 20, 30]);
    assert_eq!(Latency::default().at(50.0), None);
}

#[test]
fn memory_is_that_of_the_connections_which_have_joined() {
    let mut report = samples::good();
    let all = report.memory_per_connection().unwrap();
    report.joins.count = 12_000;
    assert_eq!(report.memory_per_connection(), Some(all), "some have left and joined again");
    report.joins.count = 5_000;
    assert_eq!(report.memory_per_connection(), Some(2.0 * all));
    report.joins.count = 0;
    assert_eq!(report.memory_per_connection(), None);
    report.joins.count = 5_000;
    report.server.as_mut().unwrap().memory = None;
    assert_eq!(report.memory_per_connection(), None, "the server has made earlier runs");
}

#[test]
fn the_knee_is_the_highest_rate_that_held() {
    assert_eq!(samples::knee().best().unwrap().rate, 5_500.0);
    assert_eq!(Knee::default().best(), None);
}
