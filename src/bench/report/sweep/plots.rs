//! The charts of a sweep: p99 and refusals by the limit, one line for each load; what slow readers cost their
//! neighbours; and memory. In a sweep of several limits they are by the first one, with the others as recommended.

use super::find;
use crate::bench::report::chart::{Axis, Chart, Series, Shape, Tone};
use crate::bench::sweep::Sweep;
use crate::bench::sweep::figures::{Measure, Row};
use crate::bench::sweep::grid::{Load, Pattern};

/// The colours of the loads, the highest first.
const TONES: [Tone; 5] = [Tone::Red, Tone::Orange, Tone::Blue, Tone::Green, Tone::Purple];
/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// Returns the charts, the most important first. A chart without data is left out.
pub(super) fn charts(sweep: &Sweep, rows: &[Row]) -> Vec<Chart> {
    let Some(line) = Line::of(sweep) else { return Vec::new() };
    let drawing = Drawing { sweep, rows, line };
    let charts = [
        drawing.latency(Pattern::Steady),
        drawing.latency(Pattern::Bursts),
        drawing.refusals(Pattern::Steady),
        drawing.refusals(Pattern::Bursts),
        drawing.neighbours(),
        drawing.memory(),
    ];
    charts.into_iter().flatten().collect()
}

/// The settings along the horizontal axis.
struct Line {
    axis: Axis,
    /// The number of each setting, and its place on the axis.
    settings: Vec<(usize, f64)>,
    /// The place of the present value.
    present: Option<f64>,
    /// The values of the other limits, as part of a title. Empty if there is one limit.
    others: String,
}

impl Line {
    /// Returns the line of settings in which only the first limit differs. `None` if there is no limit.
    fn of(sweep: &Sweep) -> Option<Self> {
        let grid = &sweep.grid;
        let first = grid.axes.first()?;
        let fixed = sweep.advice().recommended.or_else(|| grid.find(&sweep.present)).unwrap_or(0);
        let rest = grid.settings.get(fixed)?.get(1..)?;
        let present = sweep.present.first()?;
        let mut values = first.values.iter().collect::<Vec<_>>();
        let at = values.iter().position(|value| *value == present).unwrap_or_else(|| {
            let at = values.partition_point(|value| *value < present);
            values.insert(at, present);
            at
        });
        // Words have no place on a scale, and no limit has none on a logarithmic one.
        let places = values.iter().map(|value| value.positive()).collect::<Option<Vec<_>>>();
        let (axis, places) = match places {
            Some(places) => (Axis::log_at(first.key, &places)?, places),
            None => {
                let names = values.iter().map(ToString::to_string).collect::<Vec<_>>();
                let places = (0..values.len()).map(|place| place as f64).collect();
                (Axis::names(first.key, names), places)
            }
        };
        let settings = values.iter().zip(&places).filter_map(|(value, place)| {
            let setting = [&[(*value).clone()], rest].concat();
            Some((grid.find(&setting)?, *place))
        });
        let settings = settings.collect();
        let others = grid.axes.iter().skip(1).zip(rest).map(|(axis, value)| format!(", {} = {value}", axis.key));
        Some(Self { axis, settings, present: places.get(at).copied(), others: others.collect() })
    }
}

/// A line of settings, and the rows to be drawn.
struct Drawing<'a> {
    sweep: &'a Sweep,
    rows: &'a [Row],
    line: Line,
}

/// The lines of a chart, and those of their points that are doubtful.
#[derive(Default)]
struct Lines {
    series: Vec<Series>,
    doubtful: Vec<(f64, f64)>,
}

impl Lines {
    /// Returns all ends of spans.
    fn ys(&self) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|series| series.spans.iter().flat_map(|(_, min, max)| [*min, *max]))
    }
}

impl Drawing<'_> {
    fn latency(&self, pattern: Pattern) -> Option<Chart> {
        let lines = self.by_load(pattern, Measure::P99, 1e-3);
        let y = Axis::log("ms", lines.ys())?;
        let caption = "Corrected: the median of the repeats, and their span. A larger queue lets talks wait that a \
                       smaller one refuses.";
        Some(self.chart(format!("Delivery p99, {}", pattern.as_str()), caption, y, lines))
    }

    fn refusals(&self, pattern: Pattern) -> Option<Chart> {
        let lines = self.by_load(pattern, Measure::Refused, 100.0);
        let y = Axis::linear("%", lines.ys().reduce(f64::max)? * 1.08);
        let caption = "The share of the talks, or of the joins if that is larger. The limit is large enough for a load \
                       whose line is at the bottom.";
        Some(self.chart(format!("Refused, {}", pattern.as_str()), caption, y, lines))
    }

    /// Draws the p99 of those who read well, with and without slow readers.
    fn neighbours(&self) -> Option<Chart> {
        let deciding = self.sweep.advice().deciding;
        deciding.iter().any(|load| load.slow).then_some(())?;
        let tone = |load: &Load| match (load.pattern, load.slow) {
            (Pattern::Steady, false) => Tone::Blue,
            (Pattern::Steady, true) => Tone::Purple,
            (Pattern::Bursts, false) => Tone::Orange,
            (Pattern::Bursts, true) => Tone::Red,
        };
        let named = deciding.iter().map(|load| (*load, load.to_string(), tone(load)));
        let lines = self.lines(named, Measure::P99, 1e-3);
        let y = Axis::log("ms", lines.ys())?;
        let caption =
            "Slow readers should cost their neighbours nothing: the lines with and without them should be one.";
        Some(self.chart("Delivery p99 of those who read well".to_owned(), caption, y, lines))
    }

    fn memory(&self) -> Option<Chart> {
        let lines = self.by_load(Pattern::Bursts, Measure::Rss, 1.0 / MIB);
        let y = Axis::linear("MiB", lines.ys().reduce(f64::max)? * 1.08);
        let caption = "The largest resident memory, that of the connections included.";
        Some(self.chart("Memory of the server, in bursts".to_owned(), caption, y, lines))
    }

    /// Returns a line for each load of this pattern without slow readers, the highest first.
    fn by_load(&self, pattern: Pattern, measure: Measure, scale: f64) -> Lines {
        let loads = self.sweep.grid.loads.iter().rev().filter(|load| load.pattern == pattern && !load.slow);
        let named = loads.zip(TONES.iter().cycle());
        let named = named.map(|(load, tone)| (*load, format!("{} % of the knee", load.percent), *tone));
        self.lines(named, measure, scale)
    }

    fn lines(&self, loads: impl Iterator<Item = (Load, String, Tone)>, measure: Measure, scale: f64) -> Lines {
        let mut lines = Lines::default();
        for (load, name, tone) in loads {
            let mut series = Series::new(&name, tone, Shape::Line, Vec::new());
            for &(setting, x) in &self.line.settings {
                let Some(row) = find(self.rows, setting, load) else { continue };
                let Some(span) = row.span(measure) else { continue };
                let [min, median, max] = [span.min, span.median, span.max].map(|value| value * scale);
                series.points.push((x, median));
                series.spans.push((x, min, max));
                lines.doubtful.extend(row.is_doubtful().then_some((x, median)));
            }
            lines.series.push(series);
        }
        lines
    }

    fn chart(&self, title: String, caption: &str, y: Axis, lines: Lines) -> Chart {
        let present = self.sweep.present.first().map_or_else(String::new, |value| format!("present value, {value}"));
        let rule =
            self.line.present.map(|place| Series::new(&present, Tone::Ink, Shape::Rule, vec![(place, y.from())]));
        let rings = Series::new("doubtful", Tone::Ink, Shape::Rings, lines.doubtful);
        Chart {
            title: format!("{title}{}", self.line.others),
            caption: caption.to_owned(),
            x: self.line.axis.clone(),
            y,
            series: lines.series.into_iter().chain(rule).chain([rings]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::bench::report::chart::Format;
    use crate::bench::sweep::axis::Value;

    fn drawn(sweep: &Sweep) -> Vec<Chart> {
        charts(sweep, &sweep.rows())
    }

    #[test]
    fn each_load_is_a_line_and_the_present_value_is_drawn_in() {
        let charts = drawn(&samples::good());
        let titles = charts.iter().map(|chart| chart.title.as_str()).collect::<Vec<_>>();
        let expected = [
            "Delivery p99, steady",
            "Delivery p99, in bursts",
            "Refused, steady",
            "Refused, in bursts",
            "Delivery p99 of those who read well",
            "Memory of the server, in bursts",
        ];
        assert_eq!(titles, expected);
        let names = charts[0].series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>();
        let expected = ["110 % of the knee", "95 % of the knee", "80 % of the knee", "50 % of the knee"];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], ["present value, 2048", "doubtful"]);
        let xs = |series: &Series| series.points.iter().map(|(x, _)| *x).collect::<Vec<_>>();
        assert_eq!(xs(&charts[0].series[0]), [16.0, 64.0, 256.0, 1024.0]);
        assert_eq!(xs(&charts[0].series[4]), [2048.0]);
        for chart in charts {
            let svg = chart.svg(Format::Wide).unwrap();
            assert!(svg.contains("1,024") || svg.contains(">1024<"), "{svg}");
        }
    }

    #[test]
    fn what_is_doubtful_has_a_ring() {
        let mut sweep = samples::good();
        let rings = |sweep: &Sweep| drawn(sweep)[0].series.last().unwrap().points.len();
        assert_eq!(rings(&sweep), 0);
        for done in sweep.cells.iter_mut().filter(|done| done.cell.setting == 1 && done.cell.load.percent == 50) {
            done.figures.as_mut().unwrap().doubts.push("late".to_owned());
        }
        assert_eq!(rings(&sweep), 1);
    }

    #[test]
    fn several_limits_and_words_are_drawn_too() {
        let charts = drawn(&samples::grid());
        assert!(charts[0].title.ends_with(", steady, mailbox.session = 16"), "{}", charts[0].title);
        assert_eq!(charts[0].series[0].points.len(), 2);
        let mut words = samples::good();
        for (setting, word) in ["a", "b", "c", "d"].into_iter().enumerate() {
            words.grid.axes[0].values[setting] = Value::Word(word.to_owned());
            words.grid.settings[setting] = vec![Value::Word(word.to_owned())];
        }
        let svg = drawn(&words)[0].svg(Format::Wide).unwrap();
        for name in ["a", "b", "c", "d", "2048"] {
            assert!(svg.contains(&format!("\n{name}\n")), "{name}: {svg}");
        }
    }
}
