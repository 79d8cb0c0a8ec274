//! The report of a sweep.
//!
//! * `advice`: the recommendation in sentences.
//! * `plots`: the charts.
//! * `json`: the report for programs.
//! * `samples`: made-up sweeps for tests.

mod advice;
mod json;
mod plots;
#[cfg(test)]
pub(in crate::bench::report) mod samples;

use self::json::json;
use super::facts::knee;
use super::sheet::{Figure, Grid, Row, Sheet, Verdict, row};
use super::words::{self, NONE, bytes, count, ms, number, plain, seconds, share};
use crate::bench::outcome::Knee;
use crate::bench::plan::Sizes;
use crate::bench::printable::printable;
use crate::bench::sweep::Sweep;
use crate::bench::sweep::figures::{self, Measure};
use crate::bench::sweep::grid::{Load, Pattern};
use crate::bench::units::minutes;

/// The measures of the first table of a load, which clients notice.
const OF_CLIENTS: [Measure; 7] =
    [Measure::Goodput, Measure::P50, Measure::P99, Measure::P999, Measure::Refused, Measure::Missed, Measure::Lost];
/// The measures of the second table of a load, which the server pays.
const OF_SERVER: [Measure; 4] = [Measure::Peak, Measure::WaitP99, Measure::Rss, Measure::Drained];
/// Most reasons of failed runs that are told.
const REASONS_MAX: usize = 3;

/// Returns the report of a sweep.
pub(super) fn sheet(sweep: &Sweep) -> Sheet {
    let rows = sweep.rows();
    let began = printable(&sweep.circumstances.began, 40);
    let keys = sweep.grid.axes.iter().map(|axis| axis.key).collect::<Vec<_>>().join(", ");
    let verdicts = verdicts(sweep, &rows);
    let circumstances = circumstances(sweep);
    Sheet {
        brief: brief(sweep, &circumstances, &verdicts),
        heading: "maxtalk bench, a sweep".to_owned(),
        title: format!("maxtalk bench at {began}: a sweep of {keys}"),
        circumstances,
        figures: key_figures(sweep),
        grids: grids(sweep, &rows),
        details: details(sweep, &rows),
        charts: plots::charts(sweep, &rows),
        verdicts,
        json: json(sweep, &rows),
        hgrm: String::new(),
    }
}

/// Returns the limits, the loads, the number of runs and the judgements, each as one line.
fn brief(sweep: &Sweep, circumstances: &[(&'static str, String)], verdicts: &[Verdict]) -> [String; 5] {
    let of = |name: &str| circumstances.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
    let mut judgements = verdicts.iter().map(|verdict| verdict.text.clone());
    let (made, planned) = (count(sweep.cells.len() as u64), count(sweep.grid.runs() as u64));
    let first = judgements.next().unwrap_or_default();
    [
        format!("maxtalk bench, a sweep: {}", of("limits")),
        format!("loads: {}", of("loads")),
        format!("runs: {made} of {planned}; {}", of("runs")),
        first,
        judgements.collect::<Vec<_>>().join("; "),
    ]
}

/// Returns what a sweep will do, and how long it takes, as text.
pub(super) fn plan(sweep: &Sweep) -> String {
    let grid = &sweep.grid;
    let time = grid.time(&sweep.plan, sweep.knee.is_none());
    let mut lines = vec!["maxtalk bench, the plan of a sweep".to_owned()];
    // Nothing has begun.
    for (name, text) in circumstances(sweep).into_iter().filter(|(name, _)| *name != "began") {
        lines.extend(super::text::paragraph(&format!("  {name:<9}"), &text));
    }
    lines.extend([String::new(), format!("each of {} settings", count(grid.settings.len() as u64))]);
    lines.extend((0..grid.settings.len()).map(|setting| format!("  {}", grid.name(setting))));
    lines.extend([String::new(), format!("under each of {} loads", count(grid.loads.len() as u64))]);
    lines.extend(grid.loads.iter().map(|load| {
        let rate = sweep.knee.map(|knee| format!(": {} talks/s", number(knee * f64::from(load.percent) / 100.0)));
        format!("  {load}{}", rate.unwrap_or_default())
    }));
    lines.push(String::new());
    let search = if sweep.knee.is_none() { ", with the search for the knee before them" } else { "" };
    let sum = format!(
        "{}: {} runs{search}. They take about {}, and at most {}: a run whose figures are doubtful is made again, and \
         talks that are refused are waited for.",
        times(grid.repeats),
        count(grid.runs() as u64),
        minutes(time.usual),
        minutes(time.longest)
    );
    lines.extend(super::text::paragraph("", &sum));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn times(repeats: u32) -> String {
    match repeats {
        1 => "once".to_owned(),
        repeats => format!("{} times", count(repeats.into())),
    }
}

fn circumstances(sweep: &Sweep) -> Vec<(&'static str, String)> {
    let (grid, circumstances) = (&sweep.grid, &sweep.circumstances);
    let limits = grid.axes.iter().zip(&sweep.present).map(|(axis, present)| {
        let values = axis.values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("{} = {values} (present value {present})", axis.key)
    });
    let mut percents = grid.loads.iter().map(|load| format!("{} %", load.percent)).collect::<Vec<_>>();
    percents.dedup();
    let of_knee = match (sweep.knee, &sweep.search) {
        (Some(knee), None) => format!("of {} talks/s, as given", number(knee)),
        (Some(knee), Some(search)) => {
            format!(
                "of {} talks/s, the knee of the present value by {}",
                number(knee),
                printable(&search.objective, 60)
            )
        }
        (None, _) => "of the knee of the present value".to_owned(),
    };
    let slow = match grid.slow_share {
        0.0 => "without slow readers".to_owned(),
        share => format!("with and without {} % of slow readers", plain(share * 100.0)),
    };
    let plan = &sweep.plan;
    let members = count(plan.members as u64);
    let sizes = match plan.sizes {
        Sizes::Zipf(s) => format!("{members} on average, sizes by Zipf {}", plain(s)),
        Sizes::Even | Sizes::Learnt => members,
    };
    let mut parts = vec![
        format!("{} connections", count(plan.connections as u64)),
        format!("conversations of {sizes}{}", words::per_user(plan)),
    ];
    parts.extend(words::of_each_run(plan));
    let companions = sweep.companions.iter().map(|(key, value)| format!(", {key} = {value} because of the sweep"));
    vec![
        ("limits", limits.collect::<Vec<_>>().join("; ")),
        ("loads", format!("{} {of_knee}; steady and in bursts of 10 times the rate; {slow}", percents.join(", "))),
        ("order", format!("{} each, in random order, seed {}", times(grid.repeats), grid.seed)),
        ("runs", parts.join("; ")),
        ("servers", format!("{}{}", printable(&circumstances.server, 400), companions.collect::<String>())),
        ("machine", printable(&circumstances.machine, 200)),
        ("build", printable(&circumstances.build, 200)),
        ("began", printable(&circumstances.began, 40)),
    ]
}

/// Returns the judgements: the recommendation, and whether the runs can be trusted.
fn verdicts(sweep: &Sweep, rows: &[figures::Row]) -> Vec<Verdict> {
    let advice = sweep.advice();
    let good = advice.recommended.is_some();
    let mut verdicts =
        advice::sentences(sweep, rows, &advice).into_iter().map(|text| Verdict { good, text }).collect::<Vec<_>>();
    let mut bad = |text: String| verdicts.push(Verdict { good: false, text });
    if sweep.search.as_ref().is_some_and(|search| !search.is_proven()) {
        let text = "UNPROVEN KNEE: the generator did not keep its plan at higher rates, so the server may bear \
                    more than these loads: take more --threads or fewer connections, or give a rate by --knee";
        bad(text.to_owned());
    }
    let faults = sweep.faults().into_iter().map(|(name, number)| format!("{} {name}", count(number)));
    let faults = faults.collect::<Vec<_>>().join(", ");
    if !faults.is_empty() {
        bad(format!("WRONG: {faults}. No load excuses that"));
    }
    let made = sweep.cells.len() as u64;
    let sum = |pick: fn(&figures::Row) -> usize| rows.iter().map(pick).sum::<usize>() as u64;
    let (doubtful, failed) = (sum(|row| row.doubtful), sum(|row| row.failures.len()));
    if failed > 0 {
        let mut reasons = rows.iter().flat_map(|row| &row.failures).map(|it| printable(it, 200)).collect::<Vec<_>>();
        reasons.sort_unstable();
        reasons.dedup();
        reasons.truncate(REASONS_MAX);
        bad(format!("FAILED: {} of {} runs have no figures: {}", count(failed), count(made), reasons.join("; ")));
    }
    if doubtful > 0 {
        let doubt = rows.iter().find(|row| row.is_doubtful()).and_then(figures::Row::doubt);
        let why = doubt.map_or_else(String::new, |doubt| format!(", for instance because {}", printable(doubt, 200)));
        let (doubtful, made) = (count(doubtful), count(made));
        bad(format!(
            "DOUBTFUL: {doubtful} of {made} runs, also when they were made again{why}. They count for nothing"
        ));
    }
    if sweep.interrupted {
        bad(format!("INTERRUPTED: {} of {} runs were made", count(made), count(sweep.grid.runs() as u64)));
    }
    if doubtful == 0 && made > 0 {
        verdicts.push(Verdict { good: true, text: "VALID: the generator kept its plan in each run".to_owned() });
    }
    verdicts
}

fn key_figures(sweep: &Sweep) -> Vec<Figure> {
    let recommended = sweep.advice().recommended;
    let figure = |name: &str, value: String, more: String| Figure { name: name.to_owned(), value, more };
    let keys = sweep.grid.axes.iter().map(|axis| axis.key).collect::<Vec<_>>().join(", ");
    let present = sweep.present.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let value = recommended.map_or_else(|| NONE.to_owned(), |setting| sweep.grid.short_name(setting));
    let searched = if sweep.search.is_some() { "of the present value" } else { "as given" };
    let repeated = sweep.cells.iter().filter(|done| done.was_repeated).count();
    vec![
        figure("recommended", value, keys),
        figure("now", present, "present value".to_owned()),
        figure("talks/s at the knee", sweep.knee.map_or_else(|| NONE.to_owned(), number), searched.to_owned()),
        figure("runs", count(sweep.cells.len() as u64), format!("{} made again", count(repeated as u64))),
    ]
}

/// Returns the tables: each deciding load without slow readers, p99 and refusals by load, and the search for the knee.
fn grids(sweep: &Sweep, rows: &[figures::Row]) -> Vec<Grid> {
    let mut grids = Vec::new();
    for load in sweep.advice().deciding.into_iter().filter(|load| !load.slow) {
        grids.extend([of_clients(sweep, rows, load), of_server(sweep, rows, load)]);
    }
    for (measure, name) in [(Measure::P99, "p99, ms"), (Measure::Refused, "refused")] {
        grids.extend(Pattern::ALL.map(|pattern| by_load(sweep, rows, measure, name, pattern)));
    }
    grids.extend(sweep.search.as_ref().map(|search: &Knee| knee(search)));
    grids
}

fn of_clients(sweep: &Sweep, rows: &[figures::Row], load: Load) -> Grid {
    let cells = |setting| {
        let row = find(rows, setting, load);
        OF_CLIENTS.map(|measure| median(row, measure)).into_iter().collect()
    };
    Grid::new(&format!("{load}; times in ms"), &OF_CLIENTS.map(name_of), settings(sweep, rows, &[load], cells))
}

fn of_server(sweep: &Sweep, rows: &[figures::Row], load: Load) -> Grid {
    let beside = Load { slow: true, ..load };
    let cells = |setting| {
        let row = find(rows, setting, load);
        let neighbours = median(find(rows, setting, beside), Measure::P99);
        OF_SERVER.map(|measure| median(row, measure)).into_iter().chain([neighbours]).collect()
    };
    let columns = ["deepest", "wait p99", "memory", "drained", "neighbours"];
    Grid::new(&format!("{load}; the server"), &columns, settings(sweep, rows, &[load, beside], cells))
}

fn by_load(sweep: &Sweep, rows: &[figures::Row], measure: Measure, name: &str, pattern: Pattern) -> Grid {
    let loads = sweep.grid.loads.iter().copied().filter(|load| load.pattern == pattern && !load.slow);
    let loads = loads.collect::<Vec<_>>();
    let cells = |setting| {
        let cell = |load: &Load| {
            let row = find(rows, setting, *load);
            let doubtful = if row.is_some_and(figures::Row::is_doubtful) { "?" } else { "" };
            median(row, measure) + doubtful
        };
        loads.iter().map(cell).collect()
    };
    let columns = loads.iter().map(|load| format!("{} %", load.percent)).collect();
    let rows = settings(sweep, rows, &[], cells);
    Grid { title: format!("{name}, {}", pattern.as_str()), columns, rows }
}

/// Returns the rows of each load with all measures and their spans, which only the page has.
fn details(sweep: &Sweep, rows: &[figures::Row]) -> Vec<Grid> {
    let grid = |&load: &Load| {
        let cells = |setting| {
            let row = find(rows, setting, load);
            let all = Measure::ALL.map(|measure| span(row, measure));
            let runs = row.map_or_else(
                || "0".to_owned(),
                |row| format!("{} of {}", row.valid, row.valid + row.doubtful + row.failures.len()),
            );
            all.into_iter().chain([runs]).collect()
        };
        let columns = Measure::ALL.map(name_of);
        let columns = columns.iter().copied().chain(["trusted"]).collect::<Vec<_>>();
        let title = format!("{load}: median and span of the repeats, times in ms");
        Grid::new(&title, &columns, settings(sweep, rows, &[load], cells))
    };
    sweep.grid.loads.iter().map(grid).collect()
}

/// Returns a row for each setting. Its label says whether it is the present one, and whether its figures under one of
/// these loads are doubtful.
fn settings(sweep: &Sweep, rows: &[figures::Row], loads: &[Load], cells: impl Fn(usize) -> Vec<String>) -> Vec<Row> {
    let present = sweep.grid.find(&sweep.present);
    let label = |setting| {
        let of_loads = loads.iter().filter_map(|load| find(rows, setting, *load));
        let is_doubtful = of_loads.into_iter().any(figures::Row::is_doubtful);
        let marks = [(present == Some(setting), "present"), (is_doubtful, "doubtful")];
        let marks = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark).collect::<Vec<_>>();
        let name = sweep.grid.short_name(setting);
        if marks.is_empty() { name } else { format!("{name} ({})", marks.join(", ")) }
    };
    (0..sweep.grid.settings.len()).map(|setting| row(label(setting), cells(setting))).collect()
}

fn find(rows: &[figures::Row], setting: usize, load: Load) -> Option<&figures::Row> {
    rows.iter().find(|row| (row.setting, row.load) == (setting, load))
}

fn median(row: Option<&figures::Row>, measure: Measure) -> String {
    let median = row.and_then(|row| row.median(measure));
    median.map_or_else(|| NONE.to_owned(), |value| text_of(measure, value))
}

/// Returns the median of a measure, with the smallest and the largest value if they differ.
fn span(row: Option<&figures::Row>, measure: Measure) -> String {
    let Some(span) = row.and_then(|row| row.span(measure)) else { return NONE.to_owned() };
    let [median, min, max] = [span.median, span.min, span.max].map(|value| text_of(measure, value));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// Returns the name of a measure as the title of a column.
fn name_of(measure: Measure) -> &'static str {
    match measure {
        Measure::Goodput => "goodput/s",
        Measure::P50 => "p50",
        Measure::P99 => "p99",
        Measure::P999 => "p99.9",
        Measure::Refused => "refused",
        Measure::Missed => "missed",
        Measure::Lost => "lost",
        Measure::Peak => "deepest",
        Measure::WaitP99 => "wait p99",
        Measure::Rss => "memory",
        Measure::Drained => "drained",
    }
}

/// Returns the value of a measure with as many digits as matter. Times are in ms; the time of a drain has its unit.
fn text_of(measure: Measure, value: f64) -> String {
    // A negative or huge value cannot come, and the cast saturates.
    let whole = value.round() as u64;
    match measure {
        Measure::Goodput => number(value),
        Measure::P50 | Measure::P99 | Measure::P999 | Measure::WaitP99 => ms(whole),
        Measure::Refused | Measure::Missed | Measure::Lost => share(value),
        Measure::Peak => count(whole),
        Measure::Rss => bytes(whole),
        Measure::Drained => seconds(std::time::Duration::from_micros(whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::Trial;
    use crate::bench::report::{self, page, text};

    #[test]
    fn a_sweep_reads_like_this() {
        let found = text::table(&report::of_sweep(&samples::good()));
        assert_eq!(found, include_str!("sweep/good.txt"), "\n{found}");
    }

    #[test]
    fn a_plan_reads_like_this() {
        let sweep = Sweep { knee: None, search: None, cells: Vec::new(), ..samples::good() };
        let found = report::plan_of_sweep(&sweep);
        assert_eq!(found, include_str!("sweep/plan.txt"), "\n{found}");
        let given = report::plan_of_sweep(&Sweep { knee: Some(500.0), ..sweep });
        assert!(given.contains("of 500 talks/s, as given;") && !given.contains("search"), "{given}");
    }

    #[test]
    fn lines_fit_into_the_terminal() {
        for sweep in [samples::good(), samples::grid(), samples::interrupted(), samples::hopeless()] {
            let text = text::table(&report::of_sweep(&sweep)) + &report::plan_of_sweep(&sweep);
            let wide = text.lines().find(|line| line.chars().count() > 100);
            assert_eq!(wide, None, "{text}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }

    #[test]
    fn what_went_wrong_is_told() {
        let text = |sweep: &Sweep| text::table(&report::of_sweep(sweep)).replace('\n', " ");
        let unproven = "UNPROVEN KNEE: the generator did not keep its plan";
        let mut sweep = samples::good();
        assert!(!text(&sweep).contains(unproven));
        sweep.search.iter_mut().for_each(|search| search.steps.retain(|step| step.trial != Trial::Fails));
        assert!(text(&sweep).contains(unproven));
        let interrupted = text(&samples::interrupted());
        assert!(interrupted.contains(" INTERRUPTED: 7 of 192 runs were made "), "{interrupted}");
        let hopeless = text(&samples::hopeless());
        for told in [
            " WRONG: 3 duplicated. No load excuses that ",
            " FAILED: 3 of 9 runs have no figures: nobody could join: x ",
            " DOUBTFUL: 3 of 9 runs, also when they were made again, for instance because the generator was late",
        ] {
            assert!(hopeless.contains(told), "{told}: {hopeless}");
        }
    }

    #[test]
    fn the_page_is_well_formed_and_has_the_charts() {
        for (sweep, charts) in [(samples::good(), 6), (samples::grid(), 6), (samples::interrupted(), 6)] {
            let page = page::page(&report::of_sweep(&sweep));
            let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
            let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
            let svgs = document.descendants().filter(|node| node.tag_name().name() == "svg").count();
            // Each is there for a wide and for a narrow window.
            assert_eq!(svgs, 2 * charts);
            assert!(!page.contains("NaN"));
        }
        let nothing = Sweep { cells: Vec::new(), ..samples::good() };
        assert!(page::page(&report::of_sweep(&nothing)).contains("</html>"));
    }
}
