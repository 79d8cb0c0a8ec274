//! The corrected delivery latencies as a percentile distribution in the text format of HdrHistogram, in milliseconds:
//! its plotter and other tools read it.

use std::fmt::Write as _;

use crate::bench::outcome::Curve;

/// µs in a ms, the unit of the values.
const US_PER_MS: f64 = 1e3;

/// Returns the text. Without values it has a head and an end only.
pub(super) fn hgrm(curve: &Curve) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    // Writing into a string cannot fail.
    for point in &curve.points {
        let _ = write!(text, "{:12.3} {:2.12} {:10}", point.us as f64 / US_PER_MS, point.quantile, point.count);
        // The line of the largest value has no last column.
        let _ = match 1.0 - point.quantile {
            rest if rest > 0.0 => writeln!(text, " {:14.2}", 1.0 / rest),
            _ => writeln!(text),
        };
    }
    let [mean, deviation, max] = [curve.mean, curve.deviation, curve.max as f64].map(|us| us / US_PER_MS);
    let (count, buckets, sub_buckets) = (curve.count, curve.buckets, curve.sub_buckets);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::Quantile;

    #[test]
    fn the_text_is_that_of_hdr_histogram() {
        let point = |us, quantile, count| Quantile { us, quantile, count };
        let curve = Curve {
            points: vec![point(163, 0.0, 1), point(600, 0.5, 5), point(8_320, 1.0, 10)],
            mean: 1_500.0,
            deviation: 250.0,
            max: 8_320,
            count: 10,
            buckets: 3,
            sub_buckets: 2048,
        };
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

       0.163 0.000000000000          1           1.00
       0.600 0.500000000000          5           2.00
       8.320 1.000000000000         10
#[Mean    =        1.500, StdDeviation   =        0.250]
#[Max     =        8.320, Total count    =           10]
#[Buckets =            3, SubBuckets     =         2048]
";
        assert_eq!(hgrm(&curve), expected);
    }
}
