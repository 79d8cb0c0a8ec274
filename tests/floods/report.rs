//! The results as text: a paragraph after each flood, and one table at the end.

use crate::measure::Outcome;
use crate::samples::{Kind, Samples};

/// All values of one flood.
pub fn paragraph(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", outcome.flood, outcome.done);
    for kind in Kind::ALL {
        let row = |samples: &Samples| {
            let at = |share| samples.at(kind, share).map_or_else(|| "none".to_owned(), ms);
            format!("p50 {:>8} p99 {:>8} max {:>8}", at(0.5), at(0.99), at(1.0))
        };
        let (quiet, flooded) = (row(&outcome.quiet), row(&outcome.flooded));
        text += &format!("  {:<9} quiet {quiet}   flood {flooded} ms\n", kind.as_str());
    }
    let settled = outcome.settled.as_secs_f64();
    text + &format!("  refused to neighbours: {}; memory settled after {settled:.1} s\n", outcome.flooded.refused)
}

/// A line for each flood.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<20} {:>7} {:>7} {:>7}  {:>17} {:>17} {:>17} {:>7}  verdict\n",
        "flood", "before", "peak", "after", "join", "talk", "delivery", "ratio"
    );
    text += &format!("{:<20} {:>23}  {:>53}\n", "", "RSS, MiB", "p99 of neighbours, quiet and under flood, ms");
    for outcome in outcomes {
        let waits = Kind::ALL.map(|kind| {
            let at = |samples: &Samples| samples.at(kind, 0.99).map_or_else(|| "none".to_owned(), ms);
            format!("{:>8} {:>8}", at(&outcome.quiet), at(&outcome.flooded))
        });
        let faults = outcome.faults();
        let verdict = if faults.is_empty() { "ok".to_owned() } else { format!("FAILED: {}", faults.join(", ")) };
        let Outcome { flood, before_mib, peak_mib, after_mib, .. } = outcome;
        let (slower, waits) = (outcome.slower(), waits.join(" "));
        text += &format!(
            "{flood:<20} {before_mib:>7.1} {peak_mib:>7.1} {after_mib:>7.1}  {waits} {slower:>7.1}  {verdict}\n"
        );
    }
    text
}

fn ms(ms: f64) -> String {
    match ms {
        ..10.0 => format!("{ms:.2}"),
        ..100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}
