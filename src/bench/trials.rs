//! The trials of a search for the knee: a run for each rate that the search names.

use std::io::{self, Write};

use super::engine::RunError;
use super::knee::{Objective, Search};
use super::outcome::{Judgement, Knee, Report, Trial};
use super::plan::Pace;
use super::report;

/// How often a rate is tried until its trial is unproven. A machine with other work is busy at one moment and idle at
/// the next.
const ATTEMPTS_MAX: usize = 3;

/// Makes a run for each rate that the search asks for. Returns the report of the best rate, or of the last if none
/// held. An early end of the search keeps what was found before.
///
/// # Errors
/// The first run has no figures.
pub fn find(
    from: f64,
    objective: &Objective,
    is_quiet: bool,
    mut run: impl FnMut(Pace) -> Result<Report, RunError>,
) -> Result<Report, RunError> {
    let mut search = Search::new(from);
    let mut best: Option<Report> = None;
    let mut runs = 0;
    let mut run = |pace| {
        runs += 1;
        let mut report = run(pace)?;
        if runs > 1 {
            report.forget_memory();
        }
        Ok(report)
    };
    while let Some(rate) = search.next() {
        let report = match (attempt(objective, rate, &mut run), &mut best) {
            (Ok(report), _) => report,
            (Err(error), None) => return Err(error),
            // A server that does not survive a rate, or lets nobody in any more, does not hold it.
            (Err(error), Some(best)) => {
                search.failed();
                if !is_quiet {
                    tell(&format!("{rate:.0} talks/s: {}: {error}", Trial::Fails.as_str()));
                }
                best.errors.push((format!("at {rate:.0} talks/s: {error}"), 1));
                break;
            }
        };
        if let Some(interruption) = report.interrupted {
            // An interrupted run is no trial: it might have failed later.
            best.get_or_insert(report).interrupted = Some(interruption);
            break;
        }
        let judgement = objective.judge(&report);
        let is_best = judgement.trial == Trial::Holds || !search.has_held();
        if !is_quiet {
            tell(&line(rate, &report, &judgement));
        }
        search.tried(&report, judgement);
        if is_best {
            best = Some(report);
        }
    }
    let Some(mut report) = best else { unreachable!("a search begins with a rate") };
    report.knee = Some(Knee { objective: objective.to_string(), steps: search.into_steps() });
    Ok(report)
}

/// Returns the line about a trial: the terms that it missed, and the doubts about its figures.
fn line(rate: f64, report: &Report, judgement: &Judgement) -> String {
    let p99 = report.corrected.at(99.0).map_or_else(|| "none".to_owned(), |us| format!("{:.2} ms", us as f64 / 1e3));
    let missed = report::missed(&judgement.missed).map_or_else(String::new, |missed| format!(": {missed}"));
    let doubts = report::doubts(report).map_or_else(String::new, |doubts| format!(" ({doubts})"));
    format!("{rate:.0} talks/s: p99 {p99}, {}{missed}{doubts}", judgement.trial.as_str())
}

/// Makes a run, and further ones as long as they are unproven. Returns the last.
fn attempt(
    objective: &Objective,
    rate: f64,
    run: &mut impl FnMut(Pace) -> Result<Report, RunError>,
) -> Result<Report, RunError> {
    let mut report = run(Pace::Open { rate })?;
    for _ in 1..ATTEMPTS_MAX {
        let is_unproven = objective.judge(&report).trial == Trial::Unproven;
        // A limit of the server is the same in each attempt.
        if !is_unproven || report.is_limited() || report.interrupted.is_some() {
            break;
        }
        let again = match run(Pace::Open { rate }) {
            Ok(again) => again,
            Err(error) => {
                // The run before has figures, although they prove nothing.
                report.errors.push((format!("at {rate:.0} talks/s, once more: {error}"), 1));
                break;
            }
        };
        if again.interrupted.is_some() {
            // An interrupted run knows less than the one before.
            report.interrupted = again.interrupted;
            break;
        }
        report = again;
    }
    Ok(report)
}

/// Writes a line to standard error, because a search takes minutes.
pub(super) fn tell(line: &str) {
    // Progress is worth no error.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::outcome::{Interruption, samples};

    /// Makes a search from 1000 talks/s with these runs.
    fn found(runs: impl IntoIterator<Item = Result<Report, RunError>>) -> Result<Report, RunError> {
        let objective = "p99<50ms,loss=0".parse().unwrap();
        let mut runs = runs.into_iter();
        find(1000.0, &objective, true, |pace| {
            let run = runs.next().unwrap();
            let scale = match pace {
                Pace::Open { rate } => rate / samples::good().planned_per_s().unwrap(),
                Pace::Bursts { .. } | Pace::Closed { .. } => unreachable!(),
            };
            run.map(|mut report| {
                report.plan.pace = pace;
                report.seconds.iter_mut().for_each(|second| second.talks = (second.talks as f64 * scale) as u64);
                report
            })
        })
    }

    fn trials(report: &Report) -> Vec<(f64, Trial)> {
        report.knee.iter().flat_map(|knee| &knee.steps).map(|step| (step.rate, step.trial)).collect()
    }

    fn nobody_joins() -> Result<Report, RunError> {
        Err(RunError::NobodyJoined { errors: vec![("connect: refused".to_owned(), 12)], hint: None, named: None })
    }

    #[test]
    fn a_trial_without_figures_fails_and_the_best_is_kept() {
        let report = found([Ok(samples::good()), Ok(samples::good()), nobody_joins()]).unwrap();
        assert_eq!(trials(&report), [(1000.0, Trial::Holds), (2000.0, Trial::Holds), (4000.0, Trial::Fails)]);
        assert_eq!(report.planned_per_s(), Some(2000.0));
        let error = ("at 4000 talks/s: nobody could join: connect: refused (12)".to_owned(), 1);
        assert!(report.errors.contains(&error), "{:?}", report.errors);
        assert!(found([nobody_joins()]).is_err(), "there is nothing to keep");
    }

    /// A run that lost something while the generator was late.
    fn unproven() -> Result<Report, RunError> {
        let mut report = samples::good();
        (report.accounts.lost, report.generator.lag_p99) = (1, 1_000_000);
        Ok(report)
    }

    #[test]
    fn a_late_generator_gets_three_attempts_and_then_ends_the_search() {
        let hopeless = found([unproven(), unproven(), unproven()]).unwrap();
        assert_eq!(trials(&hopeless), [(1000.0, Trial::Unproven)]);
        assert!(!hopeless.is_valid() && !hopeless.is_good());
        let ended = found([unproven(), nobody_joins()]).unwrap();
        assert_eq!(trials(&ended), [(1000.0, Trial::Unproven)], "the first run has figures");
        let moody = found([unproven(), unproven(), Ok(samples::good()), nobody_joins()]).unwrap();
        assert_eq!(trials(&moody), [(1000.0, Trial::Holds), (2000.0, Trial::Fails)]);
        let mut late = samples::good();
        late.generator.lag_p99 = 1_000_000;
        let kept = found([Ok(late), nobody_joins()]).unwrap();
        assert_eq!(trials(&kept), [(1000.0, Trial::Holds), (2000.0, Trial::Fails)], "it kept all terms");
    }

    #[test]
    fn a_rate_that_a_limit_of_the_server_stops_is_tried_once() {
        let mut limited = samples::good();
        (limited.circumstances.spawned, limited.limited_talks, limited.accounts.lost) = (false, 7, 900);
        let report = found([Ok(samples::good()), Ok(limited), nobody_joins()]).unwrap();
        assert_eq!(trials(&report)[..2], [(1000.0, Trial::Holds), (2000.0, Trial::Unproven)]);
        let doubt = report.knee.as_ref().unwrap().steps[1].limited;
        assert!(doubt && trials(&report).len() == 3, "{:?}", trials(&report));
    }

    #[test]
    fn the_line_about_a_trial_says_what_it_missed() {
        let line =
            |report: &Report| line(2000.0, report, &"p99<50ms,loss=0".parse::<Objective>().unwrap().judge(report));
        let mut report = samples::good();
        assert_eq!(line(&report), "2000 talks/s: p99 6.62 ms, holds");
        (report.accounts.lost, report.accounts.expected, report.refused_talks) = (3, 12_000, 1_200);
        let lossy = "lost 3 of 12,000 deliveries, refused 2.0 % of the talks";
        assert_eq!(line(&report), format!("2000 talks/s: p99 6.62 ms, fails: {lossy}"));
        report.generator.busy_share = 0.83;
        let busy = "the generator was busy for 83.0 % of the time, where 80.0 % are allowed";
        assert_eq!(line(&report), format!("2000 talks/s: p99 6.62 ms, unproven: {lossy} ({busy})"));
        let slow = "p99<2ms".parse::<Objective>().unwrap().judge(&samples::good());
        let told = super::line(2000.0, &samples::good(), &slow);
        assert_eq!(told, "2000 talks/s: p99 6.62 ms, fails: p99 is 6.62 ms and not below 2 ms");
    }

    #[test]
    fn memory_is_that_of_a_fresh_server() {
        let report = found([Ok(samples::good()), nobody_joins()]).unwrap();
        assert!(report.memory_per_connection().is_some());
        let report = found([Ok(samples::good()), Ok(samples::good()), nobody_joins()]).unwrap();
        assert!(report.memory_per_connection().is_none() && report.server.is_some());
        let report = found([unproven(), Ok(samples::good()), nobody_joins()]).unwrap();
        assert!(report.memory_per_connection().is_none(), "a first attempt is a run too");
    }

    #[test]
    fn what_is_interrupted_takes_no_figures_away() {
        let interrupted = |rate: f64| Some(Interruption { rate: Some(rate), measured: Duration::from_millis(700) });
        let cut_short = |rate: f64| Ok(Report { interrupted: interrupted(rate), ..samples::empty() });
        let lossy = || {
            let mut report = samples::good();
            report.accounts.lost = 1;
            report
        };
        let late = || {
            let mut report = samples::good();
            report.generator.lag_p99 = 1_000_000;
            report
        };
        let held = found([Ok(samples::good()), cut_short(2000.0)]).unwrap();
        assert_eq!(trials(&held), [(1000.0, Trial::Holds)]);
        assert_eq!(held.interrupted, interrupted(2000.0), "the time is not that of the trial before");
        assert!(held.corrected.count > 0);
        let failed = found([Ok(lossy()), cut_short(500.0)]).unwrap();
        assert_eq!(trials(&failed), [(1000.0, Trial::Fails)]);
        assert!(failed.interrupted == interrupted(500.0) && failed.corrected.count > 0);
        let late_and_lossy = || Report { accounts: lossy().accounts, ..late() };
        let again = found([Ok(late_and_lossy()), cut_short(1000.0)]).unwrap();
        let mut late_and_wrong = late();
        late_and_wrong.accounts.duplicated = 1;
        let no_excuse = found([Ok(late_and_wrong), cut_short(500.0)]).unwrap();
        assert_eq!(trials(&no_excuse), [(1000.0, Trial::Fails)], "a fault gets no second chance");
        assert!(trials(&again).is_empty() && again.corrected.count > 0);
        assert_eq!(again.interrupted, interrupted(1000.0), "the time is that of the second attempt");
        let at_once = found([cut_short(1000.0)]).unwrap();
        assert!(at_once.interrupted.is_some() && at_once.corrected.count == 0);
    }
}
