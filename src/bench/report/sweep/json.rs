//! The report of a sweep as JSON: the rows, the runs that they are made of, and the recommendation. If a figure has a
//! unit, its name ends with that. An unknown figure is null.

use serde_json::{Map, Value, json};

use super::advice;
use crate::bench::report::json::{FORMAT, knee, plan};
use crate::bench::sweep::Sweep;
use crate::bench::sweep::figures::{Figures, Measure, Row};
use crate::bench::sweep::grid::{Grid, Load, Pattern};

/// Returns the report as one indented object, followed by a line break.
pub(super) fn json(sweep: &Sweep, rows: &[Row]) -> String {
    let (grid, circumstances) = (&sweep.grid, &sweep.circumstances);
    let advice = sweep.advice();
    let limits = grid.axes.iter().zip(&sweep.present).map(|(axis, present)| {
        let values = axis.values.iter().map(ToString::to_string).collect::<Vec<_>>();
        json!({ "key": axis.key, "values": values, "present": present.to_string() })
    });
    let companions = sweep.companions.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
    let cells = sweep.cells.iter().map(|done| {
        let place = place(grid, done.cell.setting, done.cell.load);
        let figures = done.figures.as_ref();
        let mut cell = place;
        cell["repeat"] = done.cell.repeat.into();
        cell["was_repeated"] = done.was_repeated.into();
        cell["error"] = figures.err().map_or(Value::Null, |error| json!(error));
        cell["figures"] = figures.map_or(Value::Null, of_run);
        cell
    });
    let value = json!({
        "format": FORMAT,
        "kind": "sweep",
        "circumstances": {
            "machine": circumstances.machine,
            "build": circumstances.build,
            "began": circumstances.began,
            "server": circumstances.server,
            "settings": companions.collect::<Map<_, _>>(),
        },
        "plan": plan(&sweep.plan),
        "limits": limits.collect::<Value>(),
        "repeats": grid.repeats,
        "planned_runs": grid.runs(),
        "interrupted": sweep.interrupted,
        "knee_talks_per_s": sweep.knee,
        "search": sweep.search.as_ref().map(knee),
        "recommended": advice.recommended.map(|setting| settings(grid, setting)),
        "sentences": advice::sentences(sweep, rows, &advice),
        "rows": rows.iter().map(|row| of_row(grid, row)).collect::<Value>(),
        "runs": cells.collect::<Value>(),
    });
    format!("{value:#}\n")
}

fn settings(grid: &Grid, setting: usize) -> Value {
    grid.sets(setting).into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect::<Map<_, _>>().into()
}

/// Returns the setting and the load of a row or a run.
fn place(grid: &Grid, setting: usize, load: Load) -> Value {
    json!({
        "settings": settings(grid, setting),
        "load": {
            "percent": load.percent,
            "pattern": if load.pattern == Pattern::Bursts { "bursts" } else { "steady" },
            "slow_readers": load.slow,
        },
    })
}

fn of_row(grid: &Grid, row: &Row) -> Value {
    let spans = Measure::ALL.map(|measure| {
        let span = row.span(measure).map(|span| json!({ "median": span.median, "min": span.min, "max": span.max }));
        (name(measure).to_owned(), span.unwrap_or(Value::Null))
    });
    let mut value = place(grid, row.setting, row.load);
    value["trusted_runs"] = row.valid.into();
    value["doubtful_runs"] = row.doubtful.into();
    value["failed_runs"] = row.failures.len().into();
    value["figures"] = Map::from_iter(spans).into();
    value
}

fn of_run(figures: &Figures) -> Value {
    let numbers = |list: &[(&'static str, u64)]| {
        list.iter().map(|(name, number)| json!({ "name": name, "number": number })).collect::<Value>()
    };
    let named = |list: &[(String, u64)], kind: &str| {
        list.iter().map(|(name, number)| json!({ kind: name, "number": number })).collect::<Value>()
    };
    let values = Measure::ALL.map(|measure| (name(measure).to_owned(), json!(figures.get(measure))));
    let mut value = Value::from(Map::from_iter(values));
    value["doubts"] = json!(figures.doubts);
    value["faults"] = numbers(&[&figures.wrong[..], &figures.failed[..]].concat());
    value["errors"] = named(&figures.errors, "code");
    value["slow_actions"] = named(&figures.slow_actions, "action");
    value
}

/// Returns the name of a measure with its unit.
fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Goodput => "deliveries_per_s",
        Measure::P50 => "p50_us",
        Measure::P99 => "p99_us",
        Measure::P999 => "p99_9_us",
        Measure::Refused => "refused_share",
        Measure::Missed => "missed_share",
        Measure::Lost => "lost_share",
        Measure::Peak => "peak_messages",
        Measure::WaitP99 => "wait_p99_us",
        Measure::Rss => "rss_peak_bytes",
        Measure::Drained => "drained_us",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn parsed(sweep: &Sweep) -> Value {
        serde_json::from_str(&json(sweep, &sweep.rows())).unwrap()
    }

    #[test]
    fn all_rows_and_runs_are_there() {
        let found = parsed(&samples::good());
        assert_eq!((found["rows"].as_array().unwrap().len(), found["runs"].as_array().unwrap().len()), (64, 192));
        assert_eq!(found["planned_runs"], 192);
        assert_eq!(found["recommended"], json!({ "mailbox.conversation": "256" }));
        assert_eq!(found["limits"][0]["present"], "2048");
        let row = &found["rows"][0];
        assert_eq!(row["settings"], json!({ "mailbox.conversation": "16" }));
        assert_eq!(row["load"], json!({ "percent": 50, "pattern": "steady", "slow_readers": false }));
        assert_eq!((&row["trusted_runs"], &row["doubtful_runs"]), (&json!(3), &json!(0)));
        assert_eq!(row["figures"]["p99_us"], json!({ "median": 918.0, "min": 900.0, "max": 936.0 }));
        assert_eq!(row["figures"]["drained_us"], Value::Null);
        assert_eq!(found["circumstances"]["settings"], json!({ "session.talks_max": "1025" }));
        assert_eq!(found["search"]["best_talks_per_s"], 5_500.0);
    }

    #[test]
    fn a_run_without_figures_has_its_error() {
        let found = parsed(&samples::hopeless());
        let run = found["runs"].as_array().unwrap().iter().find(|run| run["error"] != Value::Null).unwrap();
        assert_eq!((&run["error"], &run["figures"]), (&json!("nobody could join: x"), &Value::Null));
        assert_eq!((&found["recommended"], &found["interrupted"]), (&Value::Null, &json!(false)));
    }
}
