//! The numbers, the plan and the doubts of a report as text.

use std::fmt;
use std::time::Duration;

use crate::bench::outcome::{BUSY_SHARE_MAX_OPEN, Doubt, Generator, Knee, MachineShares, Miss, Report};
use crate::bench::plan::{Bursts, Pace, Plan, Sizes};
use crate::bench::printable::printable;

/// Shown in place of an unknown figure.
pub(super) const NONE: &str = "–";
/// The idle share above which a machine had time left for a generator that was late.
const IDLE_SHARE_MIN: f64 = 0.3;
/// The busy share up to which a generator had little to do.
const BUSY_SHARE_LOW: f64 = 0.5;
/// The share of its time that a virtual machine has to lose before its host is named.
const STOLEN_SHARE_TOLD: f64 = 0.01;

/// Returns a whole number in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number with about three significant digits: `0.123`, `1.23`, `12.3`, `123`, `12,345`.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => NONE.to_owned(),
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        // Figures are never negative, and the cast saturates.
        _ => count(value.round() as u64),
    }
}

/// Returns a number without trailing zeros after the point: `30`, `0.5`.
pub(super) fn plain(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Returns microseconds as milliseconds.
pub(super) fn ms(us: u64) -> String {
    number(us as f64 / 1e3)
}

/// Returns a difference in microseconds as milliseconds, with its sign.
pub(super) fn signed_ms(us: i64) -> String {
    let sign = if us < 0 { '-' } else { '+' };
    format!("{sign}{}", ms(us.unsigned_abs()))
}

/// Returns a share, from 0 to 1, as a percentage.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { NONE.to_owned() }
}

/// Returns a share, from 0 to 1, as a percentage. A share that is not 0 is not shown as 0.
pub(super) fn share(share: f64) -> String {
    match share {
        0.0 => "0 %".to_owned(),
        share if share.is_finite() && share < 0.0005 => "<0.1 %".to_owned(),
        share => percent(share),
    }
}

/// Returns a number of bytes in B, KiB, MiB or GiB.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, power)| bytes >= 1 << power) {
        Some((unit, power)) => format!("{} {unit}", number(bytes as f64 / (1u64 << power) as f64)),
        None => format!("{bytes} B"),
    }
}

/// Returns a time in seconds.
pub(super) fn seconds(time: Duration) -> String {
    format!("{} s", plain(time.as_secs_f64()))
}

/// Returns how many conversations each user has, if it has more than one.
pub(super) fn per_user(plan: &Plan) -> String {
    match plan.conversations_per_user {
        0 | 1 => String::new(),
        several => format!(", {} of each user", count(several as u64)),
    }
}

/// Returns what was done, in few words: connections and talks.
pub(super) fn title(report: &Report) -> String {
    let talks = match (&report.knee, report.plan.pace) {
        (Some(knee), _) => format!("the highest rate with {}", printable(&knee.objective, 40)),
        (None, Pace::Open { rate }) => format!("{} talks/s", plain(rate)),
        (None, Pace::Bursts { rate }) => format!("{} talks/s in bursts", plain(rate)),
        (None, Pace::Closed { window }) => format!("{} talks under way", count(window as u64)),
    };
    let conversations = count(report.conversations as u64);
    format!("{} connections in {conversations} conversations, {talks}", count(report.plan.connections as u64))
}

/// Returns the plan, one phrase for each part.
pub(super) fn plan(report: &Report) -> Vec<String> {
    let plan = &report.plan;
    let members = count(plan.members as u64);
    let largest = count(report.members_max as u64);
    let sizes = match plan.sizes {
        // No user has joined, so the number is 0: "0 conversations known".
        Sizes::Learnt if report.conversations == 0 => "known".to_owned(),
        Sizes::Learnt => format!("of {members} on average, the largest {largest}"),
        Sizes::Even => format!("of {members}"),
        Sizes::Zipf(s) => format!("of {members} on average, sizes by Zipf {}, the largest {largest}", plain(s)),
    };
    let prefix = printable(&plan.user_prefix, 20);
    let nodes = report.cluster.as_ref().map_or(0, |cluster| cluster.nodes.len());
    let nodes = if nodes > 1 { format!(" on {nodes} nodes") } else { String::new() };
    let mut parts = vec![
        format!("{} connections{nodes}", count(plan.connections as u64)),
        format!("{} conversations {sizes}{}", count(report.conversations as u64), per_user(plan)),
        match plan.pace {
            Pace::Open { rate } => format!("open loop, {} talks/s", plain(rate)),
            Pace::Bursts { rate } => format!("open loop, {} talks/s in bursts of 10 times the rate", plain(rate)),
            Pace::Closed { window } => format!("closed loop, {} talks under way", count(window as u64)),
        },
    ];
    parts.extend(of_each_run(plan));
    parts.extend([
        format!("slow readers {} %", plain(plan.slow_share * 100.0)),
        match plan.connections.checked_sub(1) {
            Some(_) if report.circumstances.users_of_a_file => "users of a file".to_owned(),
            Some(last) => format!("users {prefix}0 to {prefix}{last}"),
            None => "no users".to_owned(),
        },
        format!("seed {}", plan.seed),
    ]);
    parts
}

/// Returns the parts of a plan that all runs of a sweep have in common with it, apart from connections and
/// conversations.
pub(super) fn of_each_run(plan: &Plan) -> [String; 5] {
    let weights = plan.mix.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>();
    let mix = plan.mix.iter().map(|(way, weight)| {
        let share = f64::from(*weight) / weights as f64;
        format!("{}/{} {} %", way.generation.as_str(), way.transport.as_str(), plain(share * 100.0))
    });
    let mix = mix.collect::<Vec<_>>();
    [
        format!("{} after a warm-up of {}", seconds(plan.duration), seconds(plan.warm_up)),
        format!("updates of about {} bytes", count(plan.payload_bytes as u64)),
        if mix.is_empty() { "no ways to connect".to_owned() } else { mix.join(", ") },
        format!("ramp {}/s", plain(plan.ramp)),
        format!("churn {}/s", plain(plan.churn)),
    ]
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Late { lag_p99, allowed } => {
                let (lag, max) = (ms(lag_p99), ms(allowed));
                write!(f, "the generator was late, by {lag} ms at p99, where {max} ms are allowed")
            }
            Self::Busy { share } => {
                let (share, max) = (percent(share), percent(BUSY_SHARE_MAX_OPEN));
                write!(f, "the generator was busy for {share} of the time, where {max} are allowed")
            }
            Self::TooFew { achieved, planned } => {
                let share = percent(achieved / planned);
                write!(f, "only {} talks/s of {} were sent, {share}", number(achieved), number(planned))
            }
            Self::Bottleneck { share } => write!(
                f,
                "the generator was the bottleneck, busy for {} of the time: the server can do more than these rates, \
                 and part of the latencies is the generator's own; the server's CPU time and memory hold",
                percent(share)
            ),
            Self::NoTalk => f.write_str("no talk was sent"),
            Self::Limited { talks } => write!(
                f,
                "the server refused {} talks or more as rate_limited: its limit for one session was measured, and not \
                 its capacity",
                count(talks)
            ),
            Self::AtLimit { held, rate } => {
                let rate = number(rate);
                match held {
                    Some(held) => write!(f, "at least {} talks/s: at {rate} talks/s ", number(held))?,
                    None => write!(f, "whether {rate} talks/s hold is not known: ")?,
                }
                f.write_str("the server refused talks as rate_limited, by its limit for one session")
            }
            Self::Unmeasured { joined, planned } => {
                f.write_str("nothing was measured, because the run was interrupted ")?;
                match joined {
                    0 => f.write_str("before anybody had joined"),
                    joined if joined < planned => {
                        write!(f, "when {} of {} users had joined", count(joined), count(planned))
                    }
                    _ => f.write_str("before its measured time"),
                }
            }
            Self::AtLeast { held: Some(held), unproven: Some(rate) } => {
                let (held, rate) = (number(held), number(rate));
                write!(
                    f,
                    "at least {held} talks/s: this machine could show no more (at {rate} talks/s the bench itself was \
                     late)"
                )
            }
            Self::AtLeast { held: Some(held), unproven: None } => {
                write!(f, "at least {} talks/s: the search ended before a rate failed", number(held))
            }
            Self::AtLeast { held: None, unproven: Some(rate) } => {
                let rate = number(rate);
                write!(f, "this machine could not show whether {rate} talks/s hold, because the bench itself was late")
            }
            Self::AtLeast { held: None, unproven: None } => f.write_str("the search ended before a rate held"),
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Latency { percentile, us, bound } => {
                let name = percentile.map_or_else(|| "max".to_owned(), |percentile| format!("p{percentile}"));
                let bound = plain(bound as f64 / 1e3);
                match us {
                    Some(us) => write!(f, "{name} is {} ms and not below {bound} ms", ms(us)),
                    None => write!(f, "nothing was delivered, so that {name} is not below {bound} ms"),
                }
            }
            Self::Lost { lost, expected } => write!(f, "lost {} of {} deliveries", count(lost), count(expected)),
            Self::Refused { share: refused } => write!(f, "refused {} of the talks", share(refused)),
            Self::Fault(name, number) => write!(f, "{} {name}", count(number)),
        }
    }
}

/// Returns what to do about the doubts, as sentences without the last full stop. `None` if there are none.
pub(super) fn advice(report: &Report) -> Option<String> {
    let doubts = report.doubts();
    let any = |pick: fn(&Doubt) -> bool| doubts.iter().any(pick);
    let late = |doubt: &Doubt| if let Doubt::Late { lag_p99, .. } = doubt { Some(*lag_p99) } else { None };
    let unproven = report.knee.as_ref().and_then(Knee::unproven).map(|step| &step.generator);
    let of_trial = Relief::of(unproven.unwrap_or(&report.generator));
    let of_run = Relief::of(&report.generator);
    Some(match doubts.first()? {
        Doubt::AtLeast { unproven: None, .. } => "Let the search run to its end".to_owned(),
        Doubt::Limited { .. } => raise(report, report.planned_per_s().unwrap_or_else(|| report.talks_per_s())),
        Doubt::AtLimit { rate, .. } => raise(report, *rate),
        Doubt::Unmeasured { .. } => "Let the run go on to its end".to_owned(),
        Doubt::AtLeast { held: Some(_), .. } => {
            of_trial.or("allow more by --lag-max", "load the server from another machine")
        }
        Doubt::AtLeast { .. } => of_trial.or("allow more by --lag-max", "begin with a lower --rate"),
        _ if any(|doubt| matches!(doubt, Doubt::NoTalk)) => "Take a longer --duration or a higher --rate".to_owned(),
        Doubt::Bottleneck { .. } => "Take more --threads, or a smaller --window".to_owned(),
        _ if any(|doubt| !matches!(doubt, Doubt::Late { .. })) => {
            of_run.or("load the server from another machine", "take a lower --rate")
        }
        _ => {
            let lag_ms = doubts.iter().find_map(late).unwrap_or_default().div_ceil(1_000);
            of_run.or("take a lower --rate", &format!("allow as much by --lag-max {lag_ms}ms"))
        }
    })
}

/// Returns which settings bound the talks of one session, and what they have to be above at this rate.
fn raise(report: &Report, talks_per_s: f64) -> String {
    // Each conversation has one talker, and few users talk in several.
    let talkers = report.conversations.min(report.plan.connections).max(1);
    let in_bursts = if matches!(report.plan.pace, Pace::Bursts { .. }) { Bursts::TIMES as f64 } else { 1.0 };
    let each = talks_per_s * in_bursts / talkers as f64;
    let size = bytes((each * report.plan.payload_bytes as f64) as u64);
    format!(
        "Raise session.events_per_second_max and session.bytes_per_second_max of the server above the {} talks and \
         {size} that each talker sends a second, or take users of more conversations",
        number(each)
    )
}

/// What the figures say about the lateness of a generator, and what would relieve it.
struct Relief {
    /// How much the machine and the generator had to do, if that is known.
    state: Option<String>,
    /// What to do about it. `None` if neither of them had too much to do.
    cure: Option<&'static str>,
}

impl Relief {
    fn of(generator: &Generator) -> Self {
        const END_OTHER_WORK: &str = "end other work on this machine, or take fewer --connections or more --threads";
        let Some(MachineShares { idle, stolen }) = generator.machine else {
            return Self { state: None, cure: Some(END_OTHER_WORK) };
        };
        let host = format!(", its host gave {} of it to others", share(stolen));
        let host = if stolen < STOLEN_SHARE_TOLD { "" } else { &host };
        let busy = percent(generator.busy_share);
        let state =
            format!("This machine was idle for {} of the time{host}, and the bench was busy for {busy}", percent(idle));
        let (reason, cure) = match (idle >= IDLE_SHARE_MIN, generator.busy_share <= BUSY_SHARE_LOW) {
            (true, true) => (": neither had too much to do, but the system woke the bench late", None),
            (true, false) => ("", Some("take more --threads or fewer --connections")),
            (false, _) => ("", Some(END_OTHER_WORK)),
        };
        Self { state: Some(state + reason), cure }
    }

    /// Returns the sentences. `instead` is the first thing to do if nobody had too much to do; `last` always helps.
    fn or(&self, instead: &str, last: &str) -> String {
        let cure = format!("{}, or {last}", self.cure.unwrap_or(instead));
        let mut letters = cure.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let cure = first.into_iter().chain(letters).collect::<String>();
        match &self.state {
            Some(state) => format!("{state}. {cure}"),
            None => cure,
        }
    }
}

/// Returns the reasons to doubt the figures as one sentence. `None` if there are none.
pub(in crate::bench) fn doubts(report: &Report) -> Option<String> {
    let doubts = report.doubts().iter().map(Doubt::to_string).collect::<Vec<_>>();
    (!doubts.is_empty()).then(|| doubts.join("; "))
}

/// Returns the terms of an objective that a trial missed. `None` if there are none.
pub(in crate::bench) fn missed(missed: &[Miss]) -> Option<String> {
    let missed = missed.iter().map(Miss::to_string).collect::<Vec<_>>();
    (!missed.is_empty()).then(|| missed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::{Trial, samples};

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let table = [(0.0, "0"), (0.0004, "0.000"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3")];
        let large = [(123.4, "123"), (12_345.6, "12,346"), (1e6, "1,000,000")];
        let none = [(f64::NAN, "–"), (f64::INFINITY, "–")];
        for (value, text) in table.into_iter().chain(large).chain(none) {
            assert_eq!(number(value), text);
        }
        assert_eq!([plain(30.0), plain(0.5), plain(100.0), plain(0.0)], ["30", "0.5", "100", "0"]);
        assert_eq!(
            [count(0), count(999), count(1_000), count(u64::MAX)],
            ["0", "999", "1,000", "18,446,744,073,709,551,615"]
        );
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 30)], ["0 B", "1023 B", "1.50 KiB", "5.00 GiB"]);
        assert_eq!([signed_ms(0), signed_ms(1_234), signed_ms(-20)], ["+0", "+1.23", "-0.020"]);
        assert_eq!([percent(0.9999), percent(0.5), percent(f64::NAN)], ["100.0 %", "50.0 %", "–"]);
        assert_eq!([share(0.0), share(1e-6), share(0.0125), share(f64::NAN)], ["0 %", "<0.1 %", "1.2 %", "–"]);
    }

    #[test]
    fn a_plan_says_no_more_than_is_known() {
        let mut report = samples::good();
        let has = |report: &Report, part: &str| plan(report).iter().any(|it| it == part);
        assert!(has(&report, "users u0 to u9999"));
        assert!(has(&samples::clustered(), "10,000 connections on 2 nodes"));
        (report.plan.sizes, report.circumstances.users_of_a_file) = (Sizes::Learnt, true);
        assert!(has(&report, "users of a file"), "{:?}", plan(&report));
        assert!(has(&report, "1,000 conversations of 10 on average, the largest 1,240"), "{:?}", plan(&report));
        report.conversations = 0;
        assert!(has(&report, "0 conversations known"), "{:?}", plan(&report));
    }

    #[test]
    fn doubts_are_sentences() {
        let table = [
            (
                Doubt::Late { lag_p99: 1_001, allowed: 1_000 },
                "the generator was late, by 1.00 ms at p99, where 1.00 ms are allowed",
            ),
            (Doubt::Busy { share: 0.83 }, "the generator was busy for 83.0 % of the time, where 80.0 % are allowed"),
            (Doubt::TooFew { achieved: 1_933.3, planned: 2e3 }, "only 1,933 talks/s of 2,000 were sent, 96.7 %"),
            (Doubt::NoTalk, "no talk was sent"),
            (
                Doubt::Limited { talks: 1_200 },
                "the server refused 1,200 talks or more as rate_limited: its limit for one session was measured, and \
                 not its capacity",
            ),
            (
                Doubt::AtLimit { held: Some(2e3), rate: 4e3 },
                "at least 2,000 talks/s: at 4,000 talks/s the server refused talks as rate_limited, by its limit for \
                 one session",
            ),
            (
                Doubt::AtLimit { held: None, rate: 4e3 },
                "whether 4,000 talks/s hold is not known: the server refused talks as rate_limited, by its limit for \
                 one session",
            ),
            (
                Doubt::Unmeasured { joined: 0, planned: 1_000 },
                "nothing was measured, because the run was interrupted before anybody had joined",
            ),
            (
                Doubt::Unmeasured { joined: 999, planned: 1_000 },
                "nothing was measured, because the run was interrupted when 999 of 1,000 users had joined",
            ),
            (
                Doubt::Unmeasured { joined: 1_000, planned: 1_000 },
                "nothing was measured, because the run was interrupted before its measured time",
            ),
            (
                Doubt::AtLeast { held: Some(2_828.4), unproven: Some(4e3) },
                "at least 2,828 talks/s: this machine could show no more (at 4,000 talks/s the bench itself was late)",
            ),
            (
                Doubt::AtLeast { held: Some(2_828.4), unproven: None },
                "at least 2,828 talks/s: the search ended before a rate failed",
            ),
            (
                Doubt::AtLeast { held: None, unproven: Some(4e3) },
                "this machine could not show whether 4,000 talks/s hold, because the bench itself was late",
            ),
        ];
        for (doubt, sentence) in table {
            assert_eq!(doubt.to_string(), sentence);
        }
        let bottleneck = Doubt::Bottleneck { share: 0.91 }.to_string();
        assert!(bottleneck.starts_with("the generator was the bottleneck, busy for 91.0 % of the time: "));
        let mut report = samples::good();
        assert_eq!(doubts(&report), None);
        (report.generator.lag_p99, report.seconds) = (1_001, Vec::new());
        assert!(doubts(&report).is_some_and(|all| all.ends_with(" ms are allowed; no talk was sent")));
    }

    #[test]
    fn each_doubt_has_an_advice() {
        type Spoil = fn(&mut Report);
        let trials = |report: &mut Report, trial: Trial| {
            report.knee = Some(samples::knee());
            report.knee.as_mut().unwrap().steps.retain(|step| step.trial == trial);
        };
        assert_eq!(advice(&samples::good()), None);
        let table: [(Spoil, &str); 5] = [
            (|report| report.generator.lag_p99 = 4_100, ", or allow as much by --lag-max 5ms"),
            (|report| report.generator.busy_share = 0.83, " or fewer --connections, or take a lower --rate"),
            (|report| report.seconds.truncate(20), "another machine, or take a lower --rate"),
            (|report| report.seconds.clear(), "Take a longer --duration or a higher --rate"),
            (
                |report| {
                    report.plan.pace = Pace::Closed { window: 9 };
                    report.generator.busy_share = 0.95;
                },
                "Take more --threads, or a smaller --window",
            ),
        ];
        for (spoil, end) in table {
            let mut report = samples::good();
            spoil(&mut report);
            assert!(advice(&report).is_some_and(|advice| advice.ends_with(end)), "{end}: {:?}", advice(&report));
        }
        for (trial, end) in [(Trial::Holds, "to its end"), (Trial::Unproven, ", or begin with a lower --rate")] {
            let mut report = samples::good();
            trials(&mut report, trial);
            assert!(advice(&report).is_some_and(|advice| advice.ends_with(end)), "{end}: {:?}", advice(&report));
        }
    }

    #[test]
    fn the_advice_at_a_limit_names_the_settings_and_what_they_have_to_be() {
        let mut report = samples::good();
        (report.limited_talks, report.conversations) = (12, 4);
        assert_eq!(advice(&report), None, "the limit of a server that the bench started was chosen");
        report.circumstances.spawned = false;
        let raise = |talks: &str, size: &str| {
            format!(
                "Raise session.events_per_second_max and session.bytes_per_second_max of the server above the {talks} \
                 talks and {size} that each talker sends a second, or take users of more conversations"
            )
        };
        assert_eq!(advice(&report), Some(raise("500", "73.2 KiB")));
        report.plan.pace = Pace::Bursts { rate: 2_000.0 };
        assert_eq!(advice(&report), Some(raise("5,000", "732 KiB")));
        report.plan.pace = Pace::Closed { window: 9 };
        assert_eq!(advice(&report), Some(raise("500", "73.2 KiB")), "those that were sent");
        let mut report = samples::searched();
        report.conversations = 4;
        let steps = &mut report.knee.as_mut().unwrap().steps;
        steps.retain(|step| step.trial != Trial::Fails);
        steps.iter_mut().for_each(|step| step.limited = step.trial == Trial::Unproven);
        assert_eq!(report.doubts(), [Doubt::AtLimit { held: Some(5_500.0), rate: 8_000.0 }]);
        assert_eq!(advice(&report), Some(raise("2,000", "293 KiB")));
    }

    #[test]
    fn the_advice_to_a_late_generator_says_how_much_there_was_to_do() {
        let mut report = samples::good();
        (report.generator.lag_p99, report.generator.busy_share) = (4_100, 0.094);
        let mut said = |idle: f64, stolen: f64, busy_share: f64| {
            (report.generator.machine, report.generator.busy_share) =
                (Some(MachineShares { idle, stolen }), busy_share);
            advice(&report).unwrap()
        };
        let expected = "This machine was idle for 71.0 % of the time, and the bench was busy for 9.4 %: neither had \
                        too much to do, but the system woke the bench late. Take a lower --rate, or allow as much by \
                        --lag-max 5ms";
        assert_eq!(said(0.71, 0.001, 0.094), expected);
        let stolen = said(0.71, 0.123, 0.094);
        assert!(
            stolen.contains(" of the time, its host gave 12.3 % of it to others, and the bench was busy "),
            "{stolen}"
        );
        let busy = said(0.04, 0.0, 0.094);
        let other = "idle for 4.0 % of the time, and the bench was busy for 9.4 %. End other work on this machine, or ";
        assert!(busy.contains(other), "{busy}");
        let alone = said(0.5, 0.0, 0.77);
        assert!(alone.contains(" 77.0 %. Take more --threads or fewer --connections, or allow as much "), "{alone}");
        report.generator.machine = None;
        let unknown = "End other work on this machine, or take fewer --connections or more --threads, or allow as much \
                       by --lag-max 5ms";
        assert_eq!(advice(&report).unwrap(), unknown);
        // After a search, the trial that was late counts, and not the best one.
        let mut report = samples::searched();
        let steps = &mut report.knee.as_mut().unwrap().steps;
        steps.retain(|step| step.trial != Trial::Fails);
        let late = steps.iter_mut().find(|step| step.trial == Trial::Unproven).unwrap();
        late.generator.machine = Some(MachineShares { idle: 0.62, stolen: 0.0 });
        let expected = "This machine was idle for 62.0 % of the time, and the bench was busy for 20.0 %: neither had \
                        too much to do, but the system woke the bench late. Allow more by --lag-max, or load the \
                        server from another machine";
        assert_eq!(advice(&report).unwrap(), expected);
    }
}
