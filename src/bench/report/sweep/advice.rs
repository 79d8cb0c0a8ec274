//! The recommendation of a sweep in sentences: the value, the reason, and the cost of the next smaller and of the next
//! larger one.

use super::find;
use crate::bench::printable::printable;
use crate::bench::report::words::{bytes, count, ms, number, share};
use crate::bench::sweep::Sweep;
use crate::bench::sweep::advice::{Advice, Harm, Judgement, Unproven};
use crate::bench::sweep::figures::{Measure, Row};
use crate::bench::sweep::grid::{Load, Pattern};

/// Settings of which the judgement is told if none is recommended.
const TOLD_MAX: usize = 12;
/// The least difference of memory that is told, in bytes.
const MEMORY_MIN: f64 = 524_288.0;
/// How many times another p99 has to be larger to be told.
const P99_TIMES: f64 = 1.2;
/// How much larger another p99 has to be to be told, in µs.
const P99_US: f64 = 1_000.0;
/// The least difference between shares that is told.
const SHARE_MIN: f64 = 0.0005;

/// Returns the recommendation, or why there is none.
pub(super) fn sentences(sweep: &Sweep, rows: &[Row], advice: &Advice) -> Vec<String> {
    let deciding = deciding(sweep, advice);
    let Some(recommended) = advice.recommended else {
        let mut sentences = vec![format!(
            "NO RECOMMENDATION: no value refuses, misses and loses nothing, and can be trusted, {deciding}"
        )];
        let judged = advice.judgements.iter().enumerate().take(TOLD_MAX);
        sentences.extend(judged.map(|(setting, judgement)| {
            let error = error(rows, setting, judgement);
            format!("{} {}{error}", sweep.grid.name(setting), phrase(judgement))
        }));
        let rest = advice.judgements.len().saturating_sub(TOLD_MAX);
        sentences.extend((rest > 0).then(|| format!("{} others are in the tables", count(rest as u64))));
        return sentences;
    };
    let name = sweep.grid.name(recommended);
    let present = if sweep.grid.find(&sweep.present) == Some(recommended) {
        "as now".to_owned()
    } else {
        let present = sweep.present.iter().map(ToString::to_string).collect::<Vec<_>>();
        format!("where it is {} now", present.join(", "))
    };
    let which = if is_ordered(sweep) { "the smallest value" } else { "the setting with the least memory" };
    let mut sentences = vec![format!(
        "RECOMMENDED: {name}, {present}. It is {which} that refuses, misses and loses nothing {deciding}, with a p99 \
         as good as the best"
    )];
    let words = if is_ordered(sweep) {
        ["the next smaller value", "the next larger value"]
    } else {
        ["beside it", "beside it"]
    };
    for neighbours in sweep.grid.neighbours(recommended) {
        for (neighbour, word) in neighbours.into_iter().zip(words) {
            match neighbour {
                Some(neighbour) => sentences.push(beside(sweep, rows, advice, recommended, neighbour, word)),
                None if is_ordered(sweep) => sentences.push(format!("No {} was tried", &word["the next ".len()..])),
                None => {}
            }
        }
    }
    sentences
}

/// Whether one setting is smaller than another.
fn is_ordered(sweep: &Sweep) -> bool {
    matches!(&sweep.grid.axes[..], [axis] if axis.is_ordered())
}

/// Returns the deciding loads: "at 95 % of the knee (1,900 talks/s), steady and in bursts, with and without slow
/// readers".
fn deciding(sweep: &Sweep, advice: &Advice) -> String {
    let percent = advice.deciding.first().map_or(0, |load| load.percent);
    let rate = sweep.knee.map_or(0.0, |knee| knee * f64::from(percent) / 100.0);
    let slow = if advice.deciding.iter().any(|load| load.slow) { ", with and without slow readers" } else { "" };
    format!("at {percent} % of the knee ({} talks/s), steady and in bursts{slow}", number(rate))
}

/// Returns the sentence about a setting beside the recommended one.
fn beside(sweep: &Sweep, rows: &[Row], advice: &Advice, recommended: usize, neighbour: usize, word: &str) -> String {
    let name = sweep.grid.name(neighbour);
    match &advice.judgements[neighbour] {
        Judgement::Good => {
            let [gains, costs] = differences(sweep, rows, recommended, neighbour);
            let list = |list: Vec<String>| if list.is_empty() { "nothing".to_owned() } else { list.join("; ") };
            format!(
                "{name}, {word}, is as good. Its gain under these loads: {}. Its cost: {}",
                list(gains),
                list(costs)
            )
        }
        judgement => {
            let error = error(rows, neighbour, judgement);
            format!("{name}, {word}, {}{error}", phrase(judgement))
        }
    }
}

/// Returns a judgement as a phrase after the name of a setting.
fn phrase(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Good => "is as good".to_owned(),
        Judgement::Harms(load, Harm::Refused(part)) => format!("refuses {} at {load}", share(*part)),
        Judgement::Harms(load, Harm::Missed(part)) => {
            format!("lets readers miss {} of the deliveries at {load}", share(*part))
        }
        Judgement::Harms(load, Harm::Lost(part)) => format!("loses {} of the deliveries at {load}", share(*part)),
        Judgement::Harms(load, Harm::Fault(fault, number)) => format!("had {} {fault} at {load}", count(*number)),
        Judgement::Slow { load, p99, best } => {
            format!("has a p99 of {} ms at {load}, where {} ms are possible", ms_of(*p99), ms_of(*best))
        }
        Judgement::Unproven(load, Unproven::NotRun) => format!("was not run at {load}"),
        Judgement::Unproven(load, Unproven::Doubtful(doubt)) => {
            format!("cannot be judged at {load}: {}", printable(doubt, 200))
        }
        Judgement::Unproven(load, Unproven::Failed(failure)) => {
            format!("failed at {load}: {}", printable(failure, 200))
        }
    }
}

/// Returns the most frequent error behind a refusal, in brackets.
fn error(rows: &[Row], setting: usize, judgement: &Judgement) -> String {
    let Judgement::Harms(load, Harm::Refused(_)) = judgement else { return String::new() };
    let error = find(rows, setting, *load).and_then(Row::error);
    error.map_or_else(String::new, |error| format!(" ({})", printable(error, 80)))
}

/// Returns the gains and the costs of a good setting in comparison with the recommended one: memory under any load, and
/// refusals and p99 under the highest one.
fn differences(sweep: &Sweep, rows: &[Row], recommended: usize, other: usize) -> [Vec<String>; 2] {
    let (mut gains, mut costs) = (Vec::new(), Vec::new());
    let memory = |setting| {
        let medians = rows.iter().filter(|row| row.setting == setting).filter_map(|row| row.median(Measure::Rss));
        medians.fold(0.0, f64::max)
    };
    let more = memory(other) - memory(recommended);
    if more.abs() >= MEMORY_MIN {
        let side = if more > 0.0 { &mut costs } else { &mut gains };
        side.push(format!("{} of memory", bytes(more.abs() as u64)));
    }
    let percent = sweep.grid.loads.iter().map(|load| load.percent).max().unwrap_or_default();
    for load in Pattern::ALL.map(|pattern| Load { percent, pattern, slow: false }) {
        let (Some(ours), Some(theirs)) = (find(rows, recommended, load), find(rows, other, load)) else { continue };
        let doubtful = if ours.is_doubtful() || theirs.is_doubtful() { " (doubtful)" } else { "" };
        let both = |measure| ours.median(measure).zip(theirs.median(measure));
        if let Some((ours, theirs)) = both(Measure::Refused).filter(|(a, b)| (a - b).abs() >= SHARE_MIN) {
            let side = if theirs > ours { &mut costs } else { &mut gains };
            side.push(format!("{} refused instead of {} at {load}{doubtful}", share(theirs), share(ours)));
        }
        let differ = |(a, b): &(f64, f64)| a.max(*b) > (a.min(*b) * P99_TIMES).max(a.min(*b) + P99_US);
        if let Some((ours, theirs)) = both(Measure::P99).filter(differ) {
            let side = if theirs > ours { &mut costs } else { &mut gains };
            side.push(format!("a p99 of {} ms instead of {} ms at {load}{doubtful}", ms_of(theirs), ms_of(ours)));
        }
    }
    [gains, costs]
}

fn ms_of(us: f64) -> String {
    ms(us.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn told(sweep: &Sweep) -> Vec<String> {
        sentences(sweep, &sweep.rows(), &sweep.advice())
    }

    #[test]
    fn a_recommendation_says_why_and_what_its_neighbours_cost() {
        let expected = [
            "RECOMMENDED: mailbox.conversation = 256, where it is 2048 now. It is the smallest value that refuses, \
             misses and loses nothing at 95 % of the knee (5,130 talks/s), steady and in bursts, with and without slow \
             readers, with a p99 as good as the best",
            "mailbox.conversation = 64, the next smaller value, refuses 4.1 % at 95 %, in bursts (talk: refused with \
             busy)",
            "mailbox.conversation = 1024, the next larger value, is as good. Its gain under these loads: 2.0 % refused \
             instead of 12.0 % at 110 %, in bursts. Its cost: 9.00 MiB of memory; a p99 of 8,358 ms instead of 2,091 \
             ms at 110 %, in bursts",
        ];
        assert_eq!(told(&samples::good()), expected);
    }

    #[test]
    fn without_an_order_each_neighbour_is_told() {
        let told = told(&samples::grid());
        let expected = [
            "RECOMMENDED: outbox.messages_max = 4096, mailbox.session = 16, as now. It is the setting with the least ",
            "outbox.messages_max = 8192, mailbox.session = 16, beside it, is as good. Its gain under these loads: \
             nothing. Its cost: 6.00 MiB of memory",
            "outbox.messages_max = 4096, mailbox.session = 4, beside it, refuses 25.0 % at ",
        ];
        for (sentence, expected) in told.iter().zip(expected) {
            assert!(sentence.starts_with(expected), "{sentence}");
        }
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn without_a_recommendation_each_value_says_why() {
        let told = told(&samples::hopeless());
        assert!(
            told[0].starts_with(
                "NO RECOMMENDATION: no value refuses, misses and loses nothing, and can be trusted, at 95 % of the knee"
            ),
            "{told:?}"
        );
        let expected = [
            "mailbox.conversation = 16 failed at 95 %, steady: nobody could join: x",
            "mailbox.conversation = 64 cannot be judged at 95 %, steady: the generator was late",
            "mailbox.conversation = 256 had 3 duplicated at 95 %, steady",
            "mailbox.conversation = 1024 was not run at 95 %, steady",
        ];
        assert_eq!(told[1..], expected);
    }

    #[test]
    fn judgements_are_phrases() {
        let load = Load { percent: 95, pattern: Pattern::Bursts, slow: true };
        let table = [
            (Judgement::Good, "is as good"),
            (
                Judgement::Harms(load, Harm::Missed(0.5)),
                "lets readers miss 50.0 % of the deliveries at 95 %, in bursts, with slow readers",
            ),
            (
                Judgement::Harms(load, Harm::Lost(1e-6)),
                "loses <0.1 % of the deliveries at 95 %, in bursts, with slow readers",
            ),
            (
                Judgement::Slow { load, p99: 9_000.0, best: 500.0 },
                "has a p99 of 9.00 ms at 95 %, in bursts, with slow readers, where 0.500 ms are possible",
            ),
        ];
        for (judgement, expected) in table {
            assert_eq!(phrase(&judgement), expected);
        }
    }
}
