//! The trials of a search for the knee: a run for each rate that the search names.

use std::io::{self, Write};

use super::engine::RunError;
use super::knee::{Objective, Search};
use super::outcome::{Knee, Report, Trial};
use super::plan::Pace;
use super::report;

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
    let mut fresh = None;
    while let Some(rate) = search.next() {
        let mut report = match (attempt(objective, rate, &mut run), &mut best) {
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
        // A server keeps memory that it once had, so only the first run shows what connections need.
        let fresh = *fresh.get_or_insert(report.server);
        if let (Some(server), Some(fresh)) = (&mut report.server, fresh) {
            (server.rss_before, server.rss_joined) = (fresh.rss_before, fresh.rss_joined);
        }
        if report.interrupted {
            // An interrupted run is no trial: it might have failed later.
            best.get_or_insert(report).interrupted = true;
            break;
        }
        let trial = objective.judge(&report);
        let is_best = trial == Trial::Holds || !search.has_held();
        search.tried(&report, trial);
        if !is_quiet {
            let p99 =
                report.corrected.at(99.0).map_or_else(|| "none".to_owned(), |us| format!("{:.2} ms", us as f64 / 1e3));
            let why = report::doubts(&report).map_or_else(String::new, |doubts| format!(" ({doubts})"));
            tell(&format!("{rate:.0} talks/s: p99 {p99}, {}{why}", trial.as_str()));
        }
        if is_best {
            best = Some(report);
        }
    }
    let Some(mut report) = best else { unreachable!("a search begins with a rate") };
    report.knee = Some(Knee { objective: objective.to_string(), steps: search.into_steps() });
    Ok(report)
}

/// Makes a run, and a second one if the generator did not keep its plan in the first.
fn attempt(
    objective: &Objective,
    rate: f64,
    run: &mut impl FnMut(Pace) -> Result<Report, RunError>,
) -> Result<Report, RunError> {
    let first = run(Pace::Open { rate })?;
    if objective.judge(&first) != Trial::Unproven || first.interrupted {
        return Ok(first);
    }
    let second = run(Pace::Open { rate })?;
    // An interrupted run knows less than the first.
    Ok(if second.interrupted { Report { interrupted: true, ..first } } else { second })
}

/// Writes a line to standard error, because a search takes minutes.
pub(super) fn tell(line: &str) {
    // Progress is worth no error.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::samples;

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
        Err(RunError::NobodyJoined { errors: vec![("connect: refused".to_owned(), 12)] })
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

    #[test]
    fn what_is_interrupted_takes_no_figures_away() {
        let cut_short = || Ok(Report { interrupted: true, ..samples::empty() });
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
        let held = found([Ok(samples::good()), cut_short()]).unwrap();
        assert_eq!(trials(&held), [(1000.0, Trial::Holds)]);
        assert!(held.interrupted && held.corrected.count > 0);
        let failed = found([Ok(lossy()), cut_short()]).unwrap();
        assert_eq!(trials(&failed), [(1000.0, Trial::Fails)]);
        assert!(failed.interrupted && failed.corrected.count > 0);
        let again = found([Ok(late()), cut_short()]).unwrap();
        let late_and_lossy = || Report { accounts: lossy().accounts, ..late() };
        let no_excuse = found([Ok(late_and_lossy()), cut_short()]).unwrap();
        assert_eq!(trials(&no_excuse), [(1000.0, Trial::Fails)], "a fault gets no second chance");
        assert!(trials(&again).is_empty() && again.interrupted && again.corrected.count > 0);
        let at_once = found([cut_short()]).unwrap();
        assert!(at_once.interrupted && at_once.corrected.count == 0);
    }
}
