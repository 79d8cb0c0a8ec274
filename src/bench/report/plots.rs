//! The charts of a report. A chart without data, or with a single point, is left out.

use super::chart::{Axis, Chart, Series, Shape, Tone};
use crate::bench::outcome::{Latency, Report, Second, Spread, Trial};

/// Returns the charts, the most important first.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let charts = [
        knee(report),
        percentiles(report),
        by_way(report),
        deliveries(report),
        over_time(report),
        delivery_by_size(report),
        spread_by_size(report),
    ];
    charts.into_iter().flatten().filter(Chart::has_shape).collect()
}

/// Returns microseconds as milliseconds. 0 µs counts as 1 µs, because a logarithmic axis has no 0.
fn ms(us: u64) -> f64 {
    us.max(1) as f64 / 1e3
}

fn ys(series: &[Series]) -> impl Iterator<Item = f64> {
    series.iter().flat_map(|series| series.points.iter().map(|(_, y)| *y))
}

fn xs(series: &[Series]) -> impl Iterator<Item = f64> {
    series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x))
}

fn percentiles(report: &Report) -> Option<Chart> {
    of_percentiles(
        "Delivery latency by percentile",
        "Corrected counts from when a talk was to be sent, raw from when it was: the gap between them is time that the \
         talks themselves had to wait. Each step to the right is one nine more.",
        [("raw", Tone::Orange, &report.raw), ("corrected", Tone::Blue, &report.corrected)],
    )
}

fn by_way(report: &Report) -> Option<Chart> {
    let cluster = report.cluster.as_ref()?;
    of_percentiles(
        "Delivery latency within a node and between nodes",
        "Corrected. The gap between the lines is what the way over the bus takes.",
        [("between nodes", Tone::Orange, &cluster.remote), ("within a node", Tone::Blue, &cluster.local)],
    )
}

fn of_percentiles(title: &str, caption: &str, series: [(&str, Tone, &Latency); 2]) -> Option<Chart> {
    let x = Axis::nines("percentile", series[0].2.count.max(series[1].2.count));
    let series = series.map(|(name, tone, latency)| {
        // Of n values, the percentiles above 100 - 100/n are unknown. The curve ends there, at the largest value.
        let known = 100.0 - 100.0 / latency.count.max(1) as f64;
        let points = latency.percentiles.iter().filter(|(percentile, _)| *percentile < known);
        let end = (latency.count > 0).then_some((known, ms(latency.max)));
        let points = points.map(|(percentile, us)| (*percentile, ms(*us))).chain(end).collect();
        Series::new(name, tone, Shape::Line, points)
    });
    Some(Chart {
        title: title.to_owned(),
        caption: caption.to_owned(),
        y: Axis::log("ms", ys(&series))?,
        x,
        series: series.into(),
    })
}

fn deliveries(report: &Report) -> Option<Chart> {
    let seconds = report.seconds.iter().zip(0u32..);
    let points = seconds.map(|(second, at)| (f64::from(at), second.deliveries as f64)).collect();
    let series = vec![Series::new("deliveries/s", Tone::Blue, Shape::Area, points)];
    let max = ys(&series).fold(0.0, f64::max);
    (!report.seconds.is_empty()).then(|| Chart {
        title: "Deliveries over time".to_owned(),
        caption: "A gap is a stall: of the server, or of the generator, whose own lag stands in the table.".to_owned(),
        x: Axis::linear("s", report.seconds.len() as f64),
        y: Axis::linear("deliveries/s", max * 1.08),
        series,
    })
}

fn over_time(report: &Report) -> Option<Chart> {
    type Pick = fn(&Second) -> u64;
    let picks: [(&str, Tone, Pick); 3] = [
        ("max", Tone::Purple, |second| second.max),
        ("p99", Tone::Orange, |second| second.p99),
        ("p50", Tone::Blue, |second| second.p50),
    ];
    let series = picks.map(|(name, tone, pick)| {
        // A second without deliveries has no latency.
        let seconds = report.seconds.iter().zip(0u32..).filter(|(second, _)| second.deliveries > 0);
        let points = seconds.map(|(second, at)| (f64::from(at), ms(pick(second)))).collect();
        Series::new(name, tone, Shape::Steps, points)
    });
    Some(Chart {
        title: "Delivery latency over time".to_owned(),
        caption: "Corrected, within each second.".to_owned(),
        x: Axis::linear("s", report.seconds.len() as f64),
        y: Axis::log("ms", ys(&series))?,
        series: series.into(),
    })
}

fn delivery_by_size(report: &Report) -> Option<Chart> {
    by_size(
        report,
        "Delivery latency by size of conversation",
        "Corrected. What large conversations cost small ones shows at the left. A point is the middle of a class such \
         as 17 to 32 members.",
        |spread| &spread.delivery,
    )
}

fn spread_by_size(report: &Report) -> Option<Chart> {
    by_size(
        report,
        "First to last receipt by size of conversation",
        "How much later than the first the last member of a conversation hears a talk, by the same classes.",
        |spread| &spread.first_to_last,
    )
}

fn by_size(report: &Report, title: &str, caption: &str, pick: fn(&Spread) -> &Latency) -> Option<Chart> {
    let lines = [("max", Tone::Purple, 100.0), ("p99", Tone::Orange, 99.0), ("p50", Tone::Blue, 50.0)];
    let series = lines.map(|(name, tone, percentile)| {
        let middle = |spread: &Spread| (spread.members_min as f64 * spread.members_max as f64).sqrt();
        let point = |spread: &Spread| Some((middle(spread), ms(pick(spread).at(percentile)?)));
        Series::new(name, tone, Shape::Line, report.spreads.iter().filter_map(point).collect())
    });
    let (x, y) = (Axis::log("members", xs(&series))?, Axis::log("ms", ys(&series))?);
    Some(Chart { title: title.to_owned(), caption: caption.to_owned(), x, y, series: series.into() })
}

fn knee(report: &Report) -> Option<Chart> {
    let knee = report.knee.as_ref()?;
    let mut steps = knee.steps.iter().filter(|step| step.rate > 0.0).collect::<Vec<_>>();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let series = |name: &str, tone, shape, trial: Option<Trial>| {
        let steps = steps.iter().filter(|step| trial.is_none_or(|trial| step.trial == trial));
        Series::new(name, tone, shape, steps.filter_map(|step| Some((step.rate, ms(step.p99?)))).collect())
    };
    let series = vec![
        series("delivery p99", Tone::Blue, Shape::Line, None),
        series("objective held", Tone::Green, Shape::Points, Some(Trial::Holds)),
        series("objective failed", Tone::Red, Shape::Points, Some(Trial::Fails)),
        series("unproven, for want of the generator", Tone::Purple, Shape::Points, Some(Trial::Unproven)),
    ];
    Some(Chart {
        title: "Delivery p99 by rate".to_owned(),
        caption: "Each point is a trial at this planned rate: doubled until the objective failed, bisected then."
            .to_owned(),
        x: Axis::log("talks/s", xs(&series))?,
        y: Axis::log("ms", ys(&series))?,
        series,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::samples;
    use crate::bench::report::chart::Format;

    fn titles(report: &Report) -> Vec<String> {
        let charts = charts(report);
        assert!(charts.iter().all(|chart| chart.svg(Format::Wide).is_some() && chart.svg(Format::Narrow).is_some()));
        charts.into_iter().map(|chart| chart.title).collect()
    }

    #[test]
    fn a_chart_needs_data() {
        assert_eq!(titles(&samples::searched()).len(), 6);
        assert_eq!(titles(&samples::good()).len(), 5);
        assert_eq!(titles(&samples::clustered()).len(), 6);
        assert_eq!(titles(&samples::faulty()).len(), 4, "one second has no shape");
        assert!(titles(&samples::empty()).is_empty());
    }

    #[test]
    fn a_single_point_is_no_chart() {
        let mut report = samples::empty();
        report.raw = Latency { count: 1, percentiles: vec![(0.0, 0), (100.0, 0)], max: 0, mean: 0.0 };
        report.seconds = vec![Second::default()];
        assert!(titles(&report).is_empty());
        report.seconds = vec![Second::default(); 2];
        assert_eq!(titles(&report), ["Deliveries over time"], "a second without deliveries is a stall");
        let mut report = samples::searched();
        report.seconds.truncate(1);
        report.spreads.truncate(1);
        report.knee.as_mut().unwrap().steps.truncate(1);
        assert_eq!(titles(&report), ["Delivery latency by percentile"]);
    }

    #[test]
    fn the_curve_of_percentiles_ends_with_the_largest() {
        let chart = percentiles(&samples::good()).unwrap();
        let ends = chart.series.iter().map(|series| series.points.last().unwrap().1).collect::<Vec<_>>();
        assert_eq!(ends, [9.0, 41.0]);
        assert!(chart.series.iter().all(|series| series.points.is_sorted()), "rising");
    }
}
