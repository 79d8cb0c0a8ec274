//! Latency distributions as a grid.

use super::sheet::{Grid, row};
use super::words::{NONE, count, ms};
use crate::bench::outcome::Latency;

/// Returns distributions as a grid, one a row.
pub(super) fn distributions<'a>(title: &str, rows: impl IntoIterator<Item = (String, &'a Latency)>) -> Grid {
    let rows = rows.into_iter().map(|(label, latency)| {
        let percentiles = [50.0, 90.0, 99.0, 99.9].map(|percentile| latency.at(percentile));
        let max = (latency.count > 0).then_some(latency.max);
        let cells = percentiles.into_iter().chain([max]).map(|us| us.map_or_else(|| NONE.to_owned(), ms));
        row(label, [count(latency.count)].into_iter().chain(cells))
    });
    Grid::new(title, &["count", "p50", "p90", "p99", "p99.9", "max"], rows)
}
