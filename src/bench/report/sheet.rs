//! A report as titles, rows and cells of text, from which both the table and the page are made.

use super::chart::Chart;

/// A report.
pub struct Sheet {
    /// The first line of the table.
    pub(super) heading: String,
    /// The title of the page.
    pub(super) title: String,
    /// The plan and the circumstances by name.
    pub(super) circumstances: Vec<(&'static str, String)>,
    /// The most important figures.
    pub(super) figures: Vec<Figure>,
    /// All figures of the table.
    pub(super) grids: Vec<Grid>,
    /// Figures that only the page has.
    pub(super) details: Vec<Grid>,
    /// The charts, the most important first.
    pub(super) charts: Vec<Chart>,
    /// The judgements.
    pub(super) verdicts: Vec<Verdict>,
    /// The report in five lines.
    pub(super) brief: [String; 5],
    /// The report as JSON.
    pub(super) json: String,
    /// The latencies for HdrHistogram's tools. Empty for a sweep.
    pub(super) hgrm: String,
}

impl Sheet {
    /// Returns the latencies for HdrHistogram's tools.
    pub fn hgrm(&self) -> &str {
        &self.hgrm
    }

    /// Returns the report as JSON.
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// A figure at the top of a page.
pub(super) struct Figure {
    /// The unit, and the meaning.
    pub(super) name: String,
    /// The number.
    pub(super) value: String,
    /// A phrase that goes with it.
    pub(super) more: String,
}

/// Figures of one theme.
pub(super) struct Grid {
    /// The title, with the unit if all figures have the same unit.
    pub(super) title: String,
    /// The titles of the columns.
    pub(super) columns: Vec<String>,
    /// The rows.
    pub(super) rows: Vec<Row>,
}

impl Grid {
    pub(super) fn new(title: &str, columns: &[&str], rows: impl IntoIterator<Item = Row>) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: rows.into_iter().collect() }
    }
}

/// One row of a grid.
pub(super) struct Row {
    /// The label.
    pub(super) label: String,
    /// The cells from left to right. The last columns may have none.
    pub(super) cells: Vec<String>,
    /// Whether the row shows a fault.
    pub(super) fault: bool,
}

/// Returns a row that shows no fault.
pub(super) fn row(label: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Row {
    Row { label: label.into(), cells: cells.into_iter().collect(), fault: false }
}

/// A judgement on one aspect of the run.
pub(super) struct Verdict {
    /// Whether it is favourable.
    pub(super) good: bool,
    /// A sentence that begins with the judgement.
    pub(super) text: String,
}
