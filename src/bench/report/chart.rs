//! One chart: two axes and series, drawn as SVG by `plotters`. The ticks and the positions on the axes are computed
//! here, so that ticks are at round numbers.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use super::words::plain;

/// Font size of labels, in the pixels of a [`Format`].
const FONT_SIZE: u32 = 31;
/// The largest number of ticks of the horizontal axis of a narrow drawing.
const NARROW_TICKS_MAX: usize = 5;

/// The format of a drawing: a page has both, and shows the one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For a window of the usual width.
    Wide,
    /// For a phone, where the labels of a wide drawing would be too small.
    Narrow,
}

impl Format {
    /// Returns the size in pixels, twice the size on the page: plotters rounds positions to whole pixels, and curves
    /// drawn at the size of the page would show that.
    fn size(self) -> (u32, u32) {
        match self {
            Self::Wide => (1_520, 640),
            Self::Narrow => (760, 640),
        }
    }
}

/// A colour of a chart. It has one value on a white page, which the SVG contains, and another one on a dark page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Axes and their labels.
    Ink,
    /// The lines of the grid.
    Grid,
    /// The main series.
    Blue,
    /// A second series.
    Orange,
    /// A third series.
    Purple,
    /// Success.
    Green,
    /// Failure.
    Red,
}

impl Tone {
    pub(super) const ALL: [Self; 7] =
        [Self::Ink, Self::Grid, Self::Blue, Self::Orange, Self::Purple, Self::Green, Self::Red];

    /// Returns the colour on a white page, as it is in the SVG.
    pub(super) fn on_white(self) -> &'static str {
        match self {
            Self::Ink => "#57606A",
            Self::Grid => "#E1E5EA",
            Self::Blue => "#0B63CE",
            Self::Orange => "#C2560A",
            Self::Purple => "#8250DF",
            Self::Green => "#1A7F37",
            Self::Red => "#CF222E",
        }
    }

    /// Returns the colour that replaces it on a dark page.
    pub(super) fn on_dark(self) -> &'static str {
        match self {
            Self::Ink => "#9DA7B3",
            Self::Grid => "#2C333B",
            Self::Blue => "#5BA4F5",
            Self::Orange => "#F09650",
            Self::Purple => "#B592F6",
            Self::Green => "#4FC06A",
            Self::Red => "#F5706A",
        }
    }

    fn color(self) -> RGBColor {
        let value = u32::from_str_radix(&self.on_white()[1..], 16).unwrap_or_default();
        let [_, red, green, blue] = value.to_be_bytes();
        RGBColor(red, green, blue)
    }
}

/// How values become positions on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Log,
    /// Percentiles by their number of nines: 90 is at 1, 99 at 2, 99.9 at 3.
    Nines,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
            Self::Nines => -(1.0 - value / 100.0).log10(),
        }
    }

    fn label(self, value: f64) -> String {
        match self {
            Self::Linear | Self::Log => plain(value),
            Self::Nines => format!("{value:.*}", (self.place(value).round() - 2.0).max(0.0) as usize),
        }
    }
}

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    title: &'static str,
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
    /// The labels of the ticks, if they are not numbers.
    names: Vec<String>,
}

impl Axis {
    /// Creates an axis from 0 to the largest value. The distance of its ticks is 1, 2 or 5 times a power of ten.
    pub(super) fn linear(title: &'static str, max: f64) -> Self {
        let to = if max > 0.0 { max } else { 1.0 };
        let step = steps(to / 10.0, to / 4.0).last().copied().unwrap_or(to);
        let ticks = (0..).map(|tick| f64::from(tick) * step).take_while(|tick| *tick <= to * (1.0 + 1e-9)).collect();
        Self { title, scale: Scale::Linear, from: 0.0, to, ticks, names: Vec::new() }
    }

    /// Creates a logarithmic axis that begins and ends at 1, 2 or 5 times a power of ten, with all values between.
    /// `None` if there are no values, or if one is not positive and finite.
    pub(super) fn log(title: &'static str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let (min, max) = values.fold((f64::INFINITY, 0f64), |(min, max), value| (min.min(value), max.max(value)));
        let seen = min > 0.0 && min <= max && max.is_finite();
        let steps = seen.then(|| steps(min / 10.0, max * 10.0))?;
        let from = steps.iter().rposition(|step| *step <= min * (1.0 + 1e-9))?;
        let to = steps.iter().position(|step| *step >= max * (1.0 - 1e-9)).filter(|to| *to > from).unwrap_or(from + 1);
        let steps = steps.get(from..=to)?;
        let (from, to) = (*steps.first()?, *steps.last()?);
        // If there are many steps, only the powers of ten get ticks.
        let decade = |step: f64| (step.log10() - step.log10().round()).abs() < 1e-9;
        let ticks = steps.iter().copied().filter(|step| steps.len() <= 10 || decade(*step)).collect();
        Some(Self { title, scale: Scale::Log, from, to, ticks, names: Vec::new() })
    }

    /// Creates a logarithmic axis with these values, which are its ticks, and some room on both sides. `None` if there
    /// are none, or if one is not positive and finite.
    pub(super) fn log_at(title: &'static str, values: &[f64]) -> Option<Self> {
        let (from, to) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        let room = (to / from).powf(0.06).max(1.2);
        let fits = from > 0.0 && to.is_finite();
        let (from, to, ticks) = (from / room, to * room, values.to_vec());
        fits.then(|| Self { title, scale: Scale::Log, from, to, ticks, names: Vec::new() })
    }

    /// Creates an axis with these names, at 0, 1 and so on.
    pub(super) fn names(title: &'static str, names: Vec<String>) -> Self {
        let ticks = (0..names.len()).map(|place| place as f64).collect();
        Self { title, scale: Scale::Linear, from: -0.5, to: names.len() as f64 - 0.5, ticks, names }
    }

    /// Returns the value at the begin of the axis.
    pub(super) fn from(&self) -> f64 {
        self.from
    }

    /// Creates an axis of percentiles, up to the highest that this number of values can show: 99.9 for 1,000 values.
    pub(super) fn nines(title: &'static str, values: u64) -> Self {
        let percentile = |nines: f64| 100.0 - 100.0 * 10f64.powf(-nines);
        let nines = (values as f64).log10().clamp(1.0, 6.0);
        let mut ticks = (0..=nines as u32).map(|nines| percentile(f64::from(nines))).collect::<Vec<_>>();
        ticks.insert(1, 50.0);
        Self { title, scale: Scale::Nines, from: 0.0, to: percentile(nines), ticks, names: Vec::new() }
    }

    /// Returns the position of a value between the ends of the axis: 0 to 1 if it is on the axis.
    fn share(&self, value: f64) -> f64 {
        let [from, value, to] = [self.from, value, self.to].map(|value| self.scale.place(value));
        (value - from) / (to - from)
    }

    /// Returns the axis with fewer ticks: every second or third, if there are many.
    fn thinned(&self) -> Self {
        // The median is the one tick between the nines.
        let is_between = |tick: f64| self.scale == Scale::Nines && tick == 50.0;
        let ticks = self.ticks.iter().copied().filter(|tick| !is_between(*tick)).collect::<Vec<_>>();
        let step = ticks.len().div_ceil(NARROW_TICKS_MAX).max(1);
        let names = self.names.iter().step_by(step).cloned().collect();
        Self { ticks: ticks.into_iter().step_by(step).collect(), names, ..self.clone() }
    }

    fn holds(&self, value: f64) -> bool {
        (-1e-6..=1.0 + 1e-6).contains(&self.share(value))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (f64::from(to - from) * self.share(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light points are for lines between the ticks: there are none.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let place = self.ticks.iter().position(|tick| tick == value);
        let name = place.and_then(|place| self.names.get(place));
        name.cloned().unwrap_or_else(|| self.scale.label(*value))
    }
}

/// Returns all numbers between two positive values that are 1, 2 or 5 times a power of ten.
fn steps(from: f64, to: f64) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let steps = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
    steps.filter(|step| (from..=to).contains(step)).collect()
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line, with marks if there are few points.
    Line,
    /// A line that keeps each value for one unit of x from its point on, with a gap where a point is missing.
    Steps,
    /// Steps, and the area below them.
    Area,
    /// Points only.
    Points,
    /// Rings around points of other series.
    Rings,
    /// A broken vertical line at each point.
    Rule,
}

/// A named list of points.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// The name in the key.
    pub(super) name: String,
    /// The colour.
    pub(super) tone: Tone,
    /// The shape.
    pub(super) shape: Shape,
    /// Pairs of x and y.
    pub(super) points: Vec<(f64, f64)>,
    /// Bars at x, from one y to another.
    pub(super) spans: Vec<(f64, f64, f64)>,
}

impl Series {
    /// Creates a series without bars.
    pub(super) fn new(name: &str, tone: Tone, shape: Shape, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), tone, shape, points, spans: Vec::new() }
    }
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    /// The title.
    pub(super) title: String,
    /// A sentence that says how to read it.
    pub(super) caption: String,
    /// The horizontal axis.
    pub(super) x: Axis,
    /// The vertical axis.
    pub(super) y: Axis,
    /// The series, the lowest layer first.
    pub(super) series: Vec<Series>,
}

/// The largest number of points of a line that has a mark at each.
const MARKED_MAX: usize = 40;

impl Chart {
    /// Whether there is more to see than single points.
    pub(super) fn has_shape(&self) -> bool {
        let mut x = self.series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x));
        let first = x.next();
        x.any(|x| Some(x) != first)
    }

    /// Returns the chart as an `svg` element. The page adds title and key. `None` if plotters fails.
    pub(super) fn svg(&self, format: Format) -> Option<String> {
        let mut svg = String::new();
        let (width, height) = format.size();
        let x = if format == Format::Wide { self.x.clone() } else { self.x.thinned() };
        self.draw(SVGBackend::with_string(&mut svg, format.size()), x).ok()?;
        // A screen reader reads the title aloud. The page scales a drawing that has no width and height of its own.
        let sized = format!("<svg width=\"{width}\" height=\"{height}\" ");
        let named = format!("<svg role=\"img\" aria-label=\"{}\" ", self.title);
        Some(svg.replacen(&sized, &named, 1))
    }

    fn draw(&self, backend: SVGBackend<'_>, x: Axis) -> Result<(), Box<dyn std::error::Error + '_>> {
        let root = backend.into_drawing_area();
        let mut builder = ChartBuilder::on(&root);
        builder.margin(16).margin_right(44).x_label_area_size(96).y_label_area_size(150);
        let mut chart = builder.build_cartesian_2d(x, self.y.clone())?;
        let font = ("sans-serif", FONT_SIZE).into_font().color(&Tone::Ink.color());
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).bold_line_style(Tone::Grid.color().stroke_width(2));
        mesh.axis_style(Tone::Ink.color().stroke_width(2)).label_style(font.clone()).axis_desc_style(font);
        mesh.x_desc(self.x.title).y_desc(self.y.title).draw()?;
        for series in &self.series {
            let color = series.tone.color();
            let points = series.points.iter().filter(|(x, y)| self.x.holds(*x) && self.y.holds(*y));
            let points = points.copied().collect::<Vec<_>>();
            let dots = |size: i32, style: ShapeStyle| points.iter().map(move |point| Circle::new(*point, size, style));
            let line = || LineSeries::new(points.iter().copied(), color.stroke_width(4));
            for &(x, from, to) in &series.spans {
                chart.draw_series(LineSeries::new([(x, from), (x, to)], color.stroke_width(2)))?;
            }
            match series.shape {
                Shape::Line => _ = chart.draw_series(line())?,
                Shape::Steps | Shape::Area => {
                    for line in steps_of(&points) {
                        if series.shape == Shape::Area {
                            let area = AreaSeries::new(line.iter().copied(), self.y.from, color.mix(0.15));
                            chart.draw_series(area)?;
                        }
                        chart.draw_series(LineSeries::new(line, color.stroke_width(4)))?;
                    }
                }
                Shape::Points => _ = chart.draw_series(dots(11, color.filled()))?,
                Shape::Rings => _ = chart.draw_series(dots(14, color.stroke_width(3)))?,
                Shape::Rule => {
                    for (x, _) in &points {
                        let ends = [(*x, self.y.from), (*x, self.y.to)];
                        chart.draw_series(DashedLineSeries::new(ends, 12, 10, color.stroke_width(3)))?;
                    }
                }
            }
            if series.shape == Shape::Line && points.len() <= MARKED_MAX {
                chart.draw_series(dots(6, color.filled()))?;
            }
        }
        root.present()?;
        Ok(())
    }
}

/// Returns lines that keep each value for one unit of x. A missing point ends a line.
fn steps_of(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
    for &(x, y) in points {
        let step = [(x, y), (x + 1.0, y)];
        match lines.last_mut().filter(|line| line.last().is_some_and(|(end, _)| (end - x).abs() < 1e-9)) {
            Some(line) => line.extend(step),
            None => lines.push(step.to_vec()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| axis.scale.label(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::linear("", 21_000.0)), ["0", "5,000", "10,000", "15,000", "20,000"]);
        assert_eq!(labels(&Axis::linear("", 30.0)), ["0", "5", "10", "15", "20", "25", "30"]);
        assert_eq!(labels(&Axis::linear("", 0.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(&Axis::log("", [0.3, 7.0].into_iter()).unwrap()), ["0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(&Axis::log("", [0.02, 70.0].into_iter()).unwrap()), ["0.1", "1", "10", "100"]);
        assert_eq!(labels(&Axis::log("", [10.0].into_iter()).unwrap()), ["10", "20"]);
        assert_eq!(labels(&Axis::nines("", 200_000)), ["0", "50", "90", "99", "99.9", "99.99", "99.999"]);
        assert_eq!(labels(&Axis::nines("", 0)), ["0", "50", "90"]);
    }

    #[test]
    fn what_has_no_logarithm_has_no_axis() {
        let tables: [&[f64]; 4] = [&[], &[0.0], &[1.0, f64::INFINITY], &[-1.0, 1.0]];
        for values in tables {
            assert_eq!(Axis::log("", values.iter().copied()), None, "{values:?}");
        }
    }

    #[test]
    fn points_beside_the_axes_are_left_out() {
        let points = vec![(f64::NAN, 1.0), (1.0, f64::INFINITY), (-1.0, 1.0), (1.0, 1.0), (2.0, 3.0)];
        let series = vec![Series::new("", Tone::Red, Shape::Points, points)];
        let (x, y) = (Axis::linear("x", 1.0), Axis::linear("y", 1.0));
        let svg = Chart { title: "t".to_owned(), caption: String::new(), x, y, series };
        let svg = svg.svg(Format::Wide).unwrap();
        assert_eq!(svg.matches("<circle").count(), 1, "{svg}");
        assert!(svg.starts_with("<svg role=\"img\" aria-label=\"t\" viewBox=\"0 0 1520 640\""), "{svg}");
    }

    #[test]
    fn steps_end_where_a_second_is_missing() {
        let lines = steps_of(&[(0.0, 5.0), (1.0, 6.0), (3.0, 7.0)]);
        let expected = [vec![(0.0, 5.0), (1.0, 5.0), (1.0, 6.0), (2.0, 6.0)], vec![(3.0, 7.0), (4.0, 7.0)]];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_narrow_drawing_has_few_ticks() {
        assert_eq!(labels(&Axis::nines("", 10_000).thinned()), ["0", "90", "99", "99.9", "99.99"]);
        assert_eq!(labels(&Axis::nines("", 1_000_000).thinned()), ["0", "99", "99.99", "99.9999"]);
        assert_eq!(labels(&Axis::linear("", 30.0).thinned()), ["0", "10", "20", "30"]);
        let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
        let axis = Axis::names("", names).thinned();
        assert_eq!((axis.ticks, axis.names), (vec![0.0, 2.0, 4.0], vec!["a".to_owned(), "c".into(), "e".into()]));
    }
}
