//! The report as titles, rows and cells of text, from which both the table and the page are made.

use super::distributions::distributions;
use super::hgrm::hgrm;
use super::sheet::{Figure, Grid, Row, Sheet, Verdict, row};
use super::words::{self, NONE, bytes, count, ms, number, percent, seconds};
use super::{json, nodes, plots};
use crate::bench::engine;
use crate::bench::mistakes::Hint;
use crate::bench::outcome::{
    BUSY_SHARE_MAX_CLOSED, BUSY_SHARE_MAX_OPEN, Cluster, Interruption, Knee, Latency, Report, Spread, Trial,
};
use crate::bench::plan::Pace;
use crate::bench::printable::printable;

/// The largest number of kinds of errors that have rows of their own.
const ERRORS_SHOWN: usize = 20;
/// The largest number of kinds of errors that the judgement on the server names.
const ERRORS_TOLD: usize = 3;

/// Returns the report of a run.
pub(super) fn sheet(report: &Report) -> Sheet {
    let url = printable(&report.circumstances.url, 120);
    let verdicts = verdicts(report);
    Sheet {
        heading: "maxtalk bench".to_owned(),
        title: format!("{}: maxtalk bench of {url}", words::title(report)),
        circumstances: circumstances(report),
        figures: key_figures(report),
        grids: grids(report),
        details: Vec::new(),
        charts: plots::charts(report),
        brief: brief(report, &verdicts),
        verdicts,
        json: json::json(report),
        hgrm: hgrm(&report.curve),
    }
}

/// Returns the plan, rates, latencies and the judgements, each as one line.
fn brief(report: &Report, verdicts: &[Verdict]) -> [String; 5] {
    let of_plan = report.planned_per_s().map(|planned| percent(report.talks_per_s() / planned));
    let of_plan = of_plan.map_or_else(|| "closed loop".to_owned(), |share| format!("{share} of the plan"));
    let latency = |(name, us): (&str, Option<u64>)| match us {
        Some(us) => format!("{name} {} ms", ms(us)),
        None => format!("{name} {NONE}"),
    };
    let corrected = &report.corrected;
    let percentiles = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
    let latencies = percentiles.map(|(name, percentile)| (name, corrected.at(percentile))).into_iter();
    let latencies = latencies.chain([("max", (corrected.count > 0).then_some(corrected.max))]).map(latency);
    let between = report.cluster.as_ref().map_or_else(String::new, |cluster| {
        let [p50, p99] = [50.0, 99.0].map(|percentile| nodes::extra(cluster, percentile));
        format!("; between nodes p50 {p50} ms, p99 {p99} ms")
    });
    let mut judgements = verdicts.iter().map(|verdict| verdict.text.clone());
    let validity = judgements.next().unwrap_or_default();
    [
        format!("maxtalk bench: {}", words::plan(report).into_iter().take(4).collect::<Vec<_>>().join("; ")),
        format!(
            "{} talks/s ({of_plan}), {} deliveries/s",
            number(report.talks_per_s()),
            number(report.deliveries_per_s())
        ),
        format!("delivery {}{between}", latencies.collect::<Vec<_>>().join(", ")),
        validity,
        judgements.collect::<Vec<_>>().join("; "),
    ]
}

/// Returns the judgements on the generator (after a search: on its answer) and on the server and, if the run was
/// interrupted, one that says so.
fn verdicts(report: &Report) -> Vec<Verdict> {
    let faults = report.faults().into_iter().map(|(name, number)| format!("{} {name}", count(number)));
    let faults = faults.collect::<Vec<_>>().join(", ");
    let errors = told_errors(report).map_or_else(String::new, |errors| format!("; errors: {errors}"));
    let told = match report.accounts.told_missing {
        0 => String::new(),
        told => format!("; {} did not come, and their members were told so by missed", count(told)),
    };
    let hint = Hint::of_run(report).map_or_else(String::new, |hint| format!(". {hint}"));
    let mut verdicts = vec![
        validity(report),
        match (faults.is_empty(), report.accounts.expected) {
            (true, 0) if !report.is_measured() => {
                Verdict { good: false, text: "NOTHING CHECKED: nothing was to be delivered".to_owned() }
            }
            (true, 0) => {
                Verdict { good: true, text: format!("CLEAN: nothing was to be delivered, nobody was lost{errors}") }
            }
            (true, _) => Verdict {
                good: true,
                text: format!(
                    "CLEAN: each delivery is accounted for, in order and once, and nobody was lost{told}{errors}"
                ),
            },
            (false, _) => Verdict {
                good: false,
                text: format!(
                    "NOT CLEAN: {faults}{errors}{}{}{hint}",
                    people(report).unwrap_or_default(),
                    divided(report)
                ),
            },
        },
    ];
    if let Some(Interruption { rate, measured }) = report.interrupted {
        let time = format!("{} of {} were measured", seconds(measured), seconds(report.plan.duration));
        // The other figures are those of the best trial.
        let text = match rate.filter(|_| report.knee.is_some()) {
            Some(rate) => format!("INTERRUPTED: in the trial of {} talks/s, of which {time}", number(rate)),
            None => format!("INTERRUPTED: {time}"),
        };
        verdicts.push(Verdict { good: false, text });
    }
    verdicts
}

/// Returns what is wrong with servers that do not hear one another at all. Empty if some do.
fn divided(report: &Report) -> &'static str {
    let is_divided = report.cluster.as_ref().is_some_and(Cluster::is_divided);
    if is_divided && report.accounts.lost > 0 {
        ". No delivery came from another node: give all servers the same cluster.url, and name only nodes of one \
         cluster"
    } else {
        ""
    }
}

/// Returns how a server with the demo gets to know the users, if it does not know some that the bench named.
fn people(report: &Report) -> Option<String> {
    let is_unknown = |(kind, _): &(String, u64)| engine::is_unknown_user(kind);
    let are_named_here = !report.circumstances.users_of_a_file;
    let connections = report.plan.connections;
    (are_named_here && report.errors.iter().any(is_unknown)).then(|| format!(". {}", engine::people_hint(connections)))
}

fn validity(report: &Report) -> Verdict {
    if let Some(doubts) = words::doubts(report) {
        let advice = words::advice(report).map_or_else(String::new, |advice| format!(". {advice}"));
        return Verdict { good: false, text: format!("INVALID: {doubts}{advice}") };
    }
    let Some(knee) = &report.knee else {
        return Verdict { good: true, text: "VALID: the generator kept its plan".to_owned() };
    };
    let objective = printable(&knee.objective, 60);
    let failed = knee.next_above();
    let missed = failed.and_then(|step| words::missed(&step.missed));
    let missed = missed.map_or_else(String::new, |missed| format!(" ({missed})"));
    let fails = format!("fails at {} talks/s{missed}", number(failed.map_or(0.0, |step| step.rate)));
    match knee.best() {
        None => Verdict { good: false, text: format!("NO RATE HOLDS: {objective} {fails}") },
        Some(best) => {
            // Only the latencies of the best trial are in doubt then.
            let late = if report.doubts_of_run().is_empty() {
                ""
            } else {
                "; the generator was late in the trial shown here, so that the server is faster than these latencies"
            };
            let text = format!("VALID: {objective} holds up to {} talks/s and {fails}{late}", number(best.rate));
            Verdict { good: true, text }
        }
    }
}

/// Returns the plan and the circumstances by name.
fn circumstances(report: &Report) -> Vec<(&'static str, String)> {
    let circumstances = &report.circumstances;
    let protocol = circumstances.protocol.as_ref().map(|file| format!("; protocol of {}", printable(file, 200)));
    let server = printable(&circumstances.server, 400) + &protocol.unwrap_or_default();
    vec![
        ("plan", words::plan(report).join("; ")),
        ("server", format!("{} ({server})", printable(&circumstances.url, 400))),
        ("machine", printable(&circumstances.machine, 200)),
        ("build", printable(&circumstances.build, 200)),
        ("began", format!("{}, measured for {}", printable(&circumstances.began, 40), seconds(report.measured))),
    ]
}

/// Returns the figures at the top of the page.
fn key_figures(report: &Report) -> Vec<Figure> {
    let planned = report.planned_per_s().map(|planned| format!("of {} planned", number(planned)));
    let latency = |percentile| report.corrected.at(percentile).map_or_else(|| NONE.to_owned(), ms);
    let accounts = &report.accounts;
    let mut figures = vec![
        ("deliveries/s", number(report.deliveries_per_s()), format!("{} received", count(accounts.received))),
        ("talks/s", number(report.talks_per_s()), planned.unwrap_or_else(|| "closed loop".to_owned())),
        ("ms delivery p99", latency(99.0), format!("p50 {} ms, p99.9 {} ms", latency(50.0), latency(99.9))),
        ("lost", count(accounts.lost), format!("of {} expected", count(accounts.expected))),
    ];
    if let Some(cluster) = &report.cluster {
        let median = format!("p50 {} ms", nodes::extra(cluster, 50.0));
        figures.push(("ms between nodes, p99", nodes::extra(cluster, 99.0), median));
    }
    if let Some(p99) = report.joins.at(99.0) {
        figures.push(("ms join p99", ms(p99), format!("{} joins", count(report.joins.count))));
    }
    if let Some(server) = &report.server {
        let join = format!("{} µs for connect and join", number(server.cpu_per_join));
        figures.push(("µs CPU per delivery", number(server.cpu_per_delivery), join));
        if let Some(memory) = report.memory_per_connection() {
            let connections = format!("{} connections", count(report.plan.connections as u64));
            figures.push(("KiB per connection", number(memory / 1024.0), connections));
        }
    }
    if let Some(knee) = &report.knee {
        let bound = if knee.is_proven() { "" } else { "≥ " };
        let rate = knee.best().map_or_else(|| NONE.to_owned(), |step| format!("{bound}{}", number(step.rate)));
        figures.push(("talks/s at the knee", rate, printable(&knee.objective, 60)));
    }
    let generator = &report.generator;
    let lag = format!("its lag p99 {} ms", ms(generator.lag_p99));
    figures.push(("the generator was busy", percent(generator.busy_share), lag));
    let figure = |(name, value, more): (&str, String, String)| Figure { name: name.to_owned(), value, more };
    figures.into_iter().map(figure).collect()
}

/// Returns all figures.
fn grids(report: &Report) -> Vec<Grid> {
    let mut grids = vec![rates(report), generator(report), latencies(report)];
    grids.extend(nodes::latencies(report));
    grids.extend(by_size(report).into_iter().flatten());
    grids.extend([errors(report), accounts(report)]);
    grids.extend(server(report));
    grids.extend(nodes::processes(report));
    grids.extend(mailboxes(report));
    grids.extend(report.knee.as_ref().map(knee));
    grids
}

fn rates(report: &Report) -> Grid {
    let planned = report.planned_per_s();
    let share = planned.map(|planned| report.talks_per_s() / planned);
    let or_none = |cell: Option<String>| cell.unwrap_or_else(|| NONE.to_owned());
    let achieved = |cell: String| ["".to_owned(), cell];
    let mut rows = vec![
        row("talks/s", [or_none(planned.map(number)), number(report.talks_per_s()), or_none(share.map(percent))]),
        row("deliveries/s", achieved(number(report.deliveries_per_s()))),
    ];
    if report.plan.churn > 0.0 {
        let (planned, left) = (report.plan.churn, report.leaves_per_s());
        rows.push(row("leaves/s", [number(planned), number(left), percent(left / planned)]));
    }
    if let Some(drained) = report.drained {
        rows.push(row("all received after a burst, s", achieved(number(drained.as_secs_f64()))));
    }
    if let Some(bytes) = report.bytes_per_s() {
        rows.push(row("received MB/s", achieved(number(bytes / 1e6))));
    }
    Grid::new("rate", &["planned", "achieved", "share"], rows)
}

fn generator(report: &Report) -> Grid {
    let generator = &report.generator;
    let (lag_limit, busy_limit) = match report.plan.pace {
        Pace::Open { .. } | Pace::Bursts { .. } => (ms(report.lag_p99_max()), percent(BUSY_SHARE_MAX_OPEN)),
        Pace::Closed { .. } => (NONE.to_owned(), percent(BUSY_SHARE_MAX_CLOSED)),
    };
    let rows = vec![
        row("lag p99, ms", [ms(generator.lag_p99), lag_limit]),
        row("lag max, ms", [ms(generator.lag_max)]),
        row("busy", [percent(generator.busy_share), busy_limit]),
    ];
    Grid::new("generator", &["measured", "allowed"], rows)
}

fn latencies(report: &Report) -> Grid {
    let rows = [
        ("join", &report.joins),
        ("delivery, corrected", &report.corrected),
        ("delivery, raw", &report.raw),
        ("until all have it", &report.last),
    ];
    distributions("latency, ms", rows.map(|(label, latency)| (label.to_owned(), latency)))
}

/// Returns the delivery latencies and the times from first to last receipt, by size of conversation. The two grids show
/// what large conversations cost small ones. `None` if nothing was recorded by size.
fn by_size(report: &Report) -> Option<[Grid; 2]> {
    let rows = |pick: fn(&Spread) -> &Latency| report.spreads.iter().map(move |spread| (members(spread), pick(spread)));
    (!report.spreads.is_empty()).then(|| {
        [
            distributions("delivery by size, ms", rows(|spread| &spread.delivery)),
            distributions("first to last receipt, ms", rows(|spread| &spread.first_to_last)),
        ]
    })
}

/// Returns the sizes of a class, such as `17 to 32 members`.
fn members(spread: &Spread) -> String {
    match (spread.members_min, spread.members_max) {
        (1, 1) => "1 member".to_owned(),
        (min, max) if min == max => format!("{} members", count(min)),
        (min, max) => format!("{} to {} members", count(min), count(max)),
    }
}

fn accounts(report: &Report) -> Grid {
    let accounts = &report.accounts;
    let told = [
        ("talks sent", accounts.sent),
        ("deliveries expected", accounts.expected),
        ("deliveries received", accounts.received),
        ("declared as missed", accounts.declared_missing),
    ];
    let wrong = [
        ("lost", accounts.lost),
        ("duplicated", accounts.duplicated),
        ("out of order", accounts.out_of_order),
        ("misdelivered", accounts.misdelivered),
        ("connections failed or lost", report.connections_lost),
    ];
    let mut rows = told.map(|(label, number)| row(label, [count(number)])).into_iter().collect::<Vec<_>>();
    let told_missing = row("told of by missed", [count(accounts.told_missing)]);
    rows.extend((accounts.told_missing > 0).then_some(told_missing));
    rows.extend(wrong.map(|(label, number)| Row { fault: number > 0, ..row(label, [count(number)]) }));
    // Most runs do not need these rows.
    let rare = [
        ("joins or leaves that failed", report.churn_failures),
        ("talks that the server did not take", report.talks_not_taken),
        ("unaccounted for", report.unaccounted()),
    ];
    let rare = rare.into_iter().filter(|(_, number)| *number > 0);
    rows.extend(rare.map(|(label, number)| Row { fault: true, ..row(label, [count(number)]) }));
    Grid::new("accounts", &["number"], rows)
}

/// Returns the errors by kind, the most frequent first.
fn sorted_errors(report: &Report) -> Vec<&(String, u64)> {
    let mut errors = report.errors.iter().collect::<Vec<_>>();
    errors.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
    errors
}

/// Returns the most frequent errors in words. `None` if there are none.
fn told_errors(report: &Report) -> Option<String> {
    let errors = sorted_errors(report);
    let told = errors.iter().take(ERRORS_TOLD);
    let mut told =
        told.map(|(name, number)| format!("{} ({})", printable(name, 70), count(*number))).collect::<Vec<_>>();
    let rest = errors.len().saturating_sub(ERRORS_TOLD);
    told.extend((rest > 0).then(|| format!("{} other kinds", count(rest as u64))));
    (!told.is_empty()).then(|| told.join(", "))
}

fn errors(report: &Report) -> Grid {
    let errors = sorted_errors(report);
    let shown = errors.iter().take(ERRORS_SHOWN);
    let mut rows = shown.map(|(name, number)| row(printable(name, 70), [count(*number)])).collect::<Vec<_>>();
    let rest = errors.get(ERRORS_SHOWN..).unwrap_or_default();
    if !rest.is_empty() {
        let label = format!("{} other kinds", count(rest.len() as u64));
        rows.push(row(label, [count(rest.iter().fold(0, |sum, (_, number)| number.saturating_add(sum)))]));
    }
    if rows.is_empty() {
        rows.push(row("none", ["0".to_owned()]));
    }
    Grid::new("errors", &["number"], rows)
}

fn server(report: &Report) -> Option<Grid> {
    let server = report.server?;
    let per_connection = report.memory_per_connection();
    let per_connection = per_connection.map_or_else(|| NONE.to_owned(), |bytes| number(bytes / 1024.0));
    let mut rows = vec![
        row("CPU, s", [number(server.cpu.as_secs_f64())]),
        row("CPU, cores", [number(server.cpu.as_secs_f64() / report.measured.as_secs_f64().max(1e-9))]),
        row("CPU per delivery, µs", [number(server.cpu_per_delivery)]),
        row("CPU per connect and join, µs", [number(server.cpu_per_join)]),
    ];
    if let Some(memory) = server.memory {
        rows.extend([
            row("memory per connection, KiB", [per_connection]),
            row("memory before", [bytes(memory.before)]),
            row("memory with all joined", [bytes(memory.joined)]),
            row("memory at its peak", [bytes(memory.peak)]),
        ]);
    }
    Some(Grid::new("server", &["used"], rows))
}

fn mailboxes(report: &Report) -> Option<Grid> {
    let rows = report.exposed.as_ref()?.mailboxes.iter().map(|mailbox| {
        let [p50, p99] = [mailbox.wait_p50, mailbox.wait_p99].map(|us| us.map_or_else(|| NONE.to_owned(), ms));
        let [offered, peak, rejected] = [mailbox.offered, mailbox.peak, mailbox.rejected].map(count);
        row(printable(&mailbox.actor, 20), [offered, rejected, peak, p50, p99])
    });
    let columns = ["offered", "rejected", "deepest", "wait p50", "wait p99"];
    Some(Grid::new("mailboxes, waits in ms", &columns, rows))
}

/// Returns the trials of a search.
pub(super) fn knee(knee: &Knee) -> Grid {
    let rows = knee.steps.iter().map(|step| {
        let p99 = step.p99.map_or_else(|| NONE.to_owned(), ms);
        let cells = [number(step.achieved), p99, count(step.lost), step.trial.as_str().to_owned()];
        row(format!("{} talks/s", number(step.rate)), cells)
    });
    let objective = printable(&knee.objective, 60);
    let up_to = if knee.is_proven() { "up to" } else { "up to at least" };
    let rows = rows.chain([match knee.best() {
        Some(step) => row(format!("{objective} holds {up_to} {} talks/s", number(step.rate)), []),
        None => row(format!("{objective} does not hold at any of these"), []),
    }]);
    let unproven = || knee.steps.iter().filter(|step| step.trial == Trial::Unproven);
    let is_late = unproven().any(|step| !step.limited);
    let rows = rows.chain(is_late.then(|| row("unproven: missed while the generator was late, three times", [])));
    let is_limited = unproven().any(|step| step.limited);
    let rows = rows.chain(is_limited.then(|| row("unproven: missed because the server limits each session", [])));
    Grid::new("search for the knee", &["achieved", "p99, ms", "lost", "objective"], rows)
}
