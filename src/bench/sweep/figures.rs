//! The figures of a cell, and the rows that its repeats make: for each measure the median, the smallest and the largest
//! value. Pure.

use super::Done;
use super::axis::Queue;
use super::grid::{Grid, Load};
use crate::bench::outcome::Report;

/// Something that a cell measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Deliveries received per second of the measured time.
    Goodput,
    /// Median of the delivery latency, corrected, in µs.
    P50,
    /// p99 of the delivery latency, corrected, in µs. With slow readers, it is that of their neighbours, who read well.
    P99,
    /// p99.9 of the delivery latency, corrected, in µs.
    P999,
    /// The share of the talks that were refused, or of the joins if that is larger.
    Refused,
    /// The share of the deliveries that the server declared as missed.
    Missed,
    /// The share of the deliveries that never came. Those of refused talks are among them.
    Lost,
    /// Messages in the fullest queue of the swept limit.
    Peak,
    /// p99 of the waiting time in that queue, in µs.
    WaitP99,
    /// Largest resident memory of the server, in bytes.
    Rss,
    /// Time from the end of a burst until all was received, in µs.
    Drained,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Goodput,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Refused,
        Self::Missed,
        Self::Lost,
        Self::Peak,
        Self::WaitP99,
        Self::Rss,
        Self::Drained,
    ];
}

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// The value of each measure that the run has, in the order of [`Measure::ALL`].
    pub(in crate::bench) values: [Option<f64>; Measure::ALL.len()],
    /// Faults of the server that no load excuses, with their number.
    pub wrong: Vec<(&'static str, u64)>,
    /// Faults that a load may cause, apart from deliveries that are lost: connections, joins and talks that failed.
    pub failed: Vec<(&'static str, u64)>,
    /// Refusals and failures by kind.
    pub errors: Vec<(String, u64)>,
    /// Actions of the server against slow readers, by kind.
    pub slow_actions: Vec<(String, u64)>,
    /// The reasons to doubt the figures. Empty if there are none.
    pub doubts: Vec<String>,
}

impl Figures {
    /// Returns the figures of a run. `queue` is that of the swept limit.
    pub fn of(report: &Report, queue: Queue) -> Self {
        let accounts = &report.accounts;
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let us = |percentile| report.corrected.at(percentile).map(|us| us as f64);
        let (peak, wait) = match (&report.exposed, queue) {
            (None, _) => (None, None),
            (Some(exposed), Queue::Outbox) => (Some(exposed.outbox_messages), None),
            (Some(exposed), queue) => {
                let actor = if let Queue::Mailbox(actor) = queue { actor } else { "max" };
                let mailbox = exposed.mailboxes.iter().find(|mailbox| mailbox.actor == actor);
                let sampled = (queue == Queue::Max).then_some(exposed.max_waiting);
                (mailbox.map(|mailbox| mailbox.peak).or(sampled), mailbox.and_then(|mailbox| mailbox.wait_p99))
            }
        };
        let value = |measure| match measure {
            Measure::Goodput => Some(report.deliveries_per_s()),
            Measure::P50 => us(50.0),
            Measure::P99 => us(99.0),
            Measure::P999 => us(99.9),
            Measure::Refused => {
                let joins = share(report.refused_joins, report.joins.count.saturating_add(report.refused_joins));
                let talks = share(report.refused_talks, accounts.sent);
                joins.into_iter().chain(talks).reduce(f64::max)
            }
            Measure::Missed => share(accounts.declared_missing, accounts.expected),
            Measure::Lost => share(accounts.lost, accounts.expected),
            Measure::Peak => peak.map(|peak| peak as f64),
            Measure::WaitP99 => wait.map(|us| us as f64),
            Measure::Rss => report.server.and_then(|server| server.memory).map(|memory| memory.peak as f64),
            Measure::Drained => report.drained.map(|drained| drained.as_micros() as f64),
        };
        // Lost deliveries are a measure.
        let faults = report.faults().into_iter().filter(|(fault, _)| *fault != "lost");
        let is_wrong = |(fault, _): &(&str, u64)| {
            ["duplicated", "out of order", "misdelivered", "unaccounted for"].contains(fault)
        };
        let (wrong, failed) = faults.partition(is_wrong);
        Self {
            values: Measure::ALL.map(value),
            wrong,
            failed,
            errors: report.errors.clone(),
            slow_actions: report.exposed.iter().flat_map(|exposed| exposed.slow_actions.clone()).collect(),
            doubts: report.doubts().iter().map(ToString::to_string).collect(),
        }
    }

    /// Returns the value of a measure. `None` if the run does not have it.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        self.values[measure as usize]
    }

    /// Returns the figures with another value of a measure.
    #[cfg(test)]
    pub fn with(mut self, measure: Measure, value: f64) -> Self {
        self.values[measure as usize] = Some(value);
        self
    }
}

/// A measure over the repeats of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The median. Of an even number of values, it is the mean of the two in the middle.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Span {
    /// Returns the span of these values. `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values = values.into_iter().collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// All runs of a setting under a load. Its figures are those of the runs that can be trusted or, if there are none, of
/// the others; the row is then doubtful.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The number of the setting.
    pub setting: usize,
    /// The load.
    pub load: Load,
    /// The number of runs that can be trusted.
    pub valid: usize,
    /// The number of runs whose figures are doubtful.
    pub doubtful: usize,
    /// The reasons for which runs have no figures.
    pub failures: Vec<String>,
    /// The figures that count.
    runs: Vec<Figures>,
}

impl Row {
    /// Returns the rows of all cells that were run, in the order of the grid.
    pub(super) fn all(grid: &Grid, cells: &[Done]) -> Vec<Self> {
        let places = (0..grid.settings.len()).flat_map(|setting| grid.loads.iter().map(move |&load| (setting, load)));
        let rows = places.map(|(setting, load)| {
            let is_here = |done: &&Done| (done.cell.setting, done.cell.load) == (setting, load);
            Self::of(setting, load, cells.iter().filter(is_here).map(|done| done.figures.as_ref()))
        });
        rows.filter(|row| row.valid + row.doubtful + row.failures.len() > 0).collect()
    }

    fn of<'a>(setting: usize, load: Load, runs: impl Iterator<Item = Result<&'a Figures, &'a String>>) -> Self {
        let (mut valid, mut doubtful, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for run in runs {
            match run {
                Ok(figures) if figures.doubts.is_empty() => valid.push(figures.clone()),
                Ok(figures) => doubtful.push(figures.clone()),
                Err(failure) => failures.push(failure.clone()),
            }
        }
        let counts = (valid.len(), doubtful.len());
        let runs = if valid.is_empty() { doubtful } else { valid };
        Self { setting, load, valid: counts.0, doubtful: counts.1, failures, runs }
    }

    /// Returns a measure over the runs that count. `None` if none of them has it.
    pub fn span(&self, measure: Measure) -> Option<Span> {
        Span::of(self.runs.iter().filter_map(|run| run.get(measure)))
    }

    /// Returns the median of a measure. `None` if no run has it.
    pub fn median(&self, measure: Measure) -> Option<f64> {
        self.span(measure).map(|span| span.median)
    }

    /// Returns the largest value of a measure. 0 if no run has it.
    pub fn worst(&self, measure: Measure) -> f64 {
        self.span(measure).map_or(0.0, |span| span.max)
    }

    /// Whether there are figures, but none that can be trusted.
    pub fn is_doubtful(&self) -> bool {
        self.valid == 0 && self.doubtful > 0
    }

    /// Returns a fault of the server in one of the runs, the first that was found.
    pub fn fault(&self) -> Option<(&'static str, u64)> {
        self.runs.iter().flat_map(|run| run.wrong.iter().chain(&run.failed)).next().copied()
    }

    /// Returns the most frequent kind of error in the runs.
    pub fn error(&self) -> Option<&str> {
        let errors = self.runs.iter().flat_map(|run| &run.errors);
        errors.max_by_key(|(_, number)| *number).map(|(kind, _)| kind.as_str())
    }

    /// Returns a reason to doubt one of the runs.
    pub fn doubt(&self) -> Option<&str> {
        self.runs.iter().flat_map(|run| &run.doubts).next().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::outcome::{Exposed, MailboxFigures, samples};
    use crate::bench::sweep::grid::{Cell, Pattern};

    #[test]
    fn a_span_is_median_and_ends() {
        let span = |values: &[f64]| Span::of(values.iter().copied());
        assert_eq!(span(&[]), None);
        assert_eq!(span(&[3.0]), Some(Span { median: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(span(&[9.0, 1.0, 2.0]), Some(Span { median: 2.0, min: 1.0, max: 9.0 }));
        assert_eq!(span(&[9.0, 1.0, 2.0, 4.0]), Some(Span { median: 3.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn a_cell_has_the_figures_of_its_report() {
        let mut report = samples::good();
        report.drained = Some(Duration::from_millis(2_500));
        report.accounts.declared_missing = 6_000;
        report.accounts.lost = 3_000;
        report.accounts.received -= 9_000;
        (report.refused_talks, report.connections_lost, report.accounts.out_of_order) = (600, 2, 1);
        let figures = Figures::of(&report, Queue::Mailbox("conversation"));
        let table = [
            (Measure::Goodput, 20_000.0),
            (Measure::P99, report.corrected.at(99.0).unwrap() as f64),
            (Measure::Refused, 0.01),
            (Measure::Missed, 0.01),
            (Measure::Lost, 0.005),
            (Measure::Peak, 24.0),
            (Measure::WaitP99, 440.0),
            (Measure::Rss, f64::from(60 << 20)),
            (Measure::Drained, 2_500_000.0),
        ];
        for (measure, expected) in table {
            assert_eq!(figures.get(measure), Some(expected), "{measure:?}");
        }
        assert_eq!(figures.wrong, [("out of order", 1)]);
        assert_eq!(figures.failed, [("connections failed or lost", 2)]);
        report.refused_joins = 2_500;
        assert_eq!(Figures::of(&report, Queue::Max).get(Measure::Refused), Some(0.2), "of the joins");
        assert!(figures.doubts.is_empty() && figures.slow_actions == [("disconnected".to_owned(), 2)]);
        let empty = Figures::of(&samples::empty(), Queue::Outbox);
        assert_eq!(empty.doubts, ["no talk was sent"]);
        assert!([Measure::P99, Measure::Refused, Measure::Peak, Measure::Rss].map(|it| empty.get(it)) == [None; 4]);
    }

    #[test]
    fn the_peak_is_that_of_the_queue() {
        let mut report = samples::good();
        let peak = |report: &Report, queue| Figures::of(report, queue).get(Measure::Peak);
        assert_eq!(peak(&report, Queue::Outbox), Some(8_192.0));
        assert_eq!(peak(&report, Queue::Mailbox("registry")), Some(212.0));
        report.exposed = Some(Exposed { max_waiting: 70, ..Exposed::default() });
        assert_eq!(peak(&report, Queue::Max), Some(70.0), "the gate has no mailbox of its own");
        let max = MailboxFigures { actor: "max".to_owned(), peak: 90, ..MailboxFigures::default() };
        report.exposed = Some(Exposed { mailboxes: vec![max], ..Exposed::default() });
        assert_eq!(peak(&report, Queue::Max), Some(90.0));
    }

    #[test]
    fn a_row_is_of_the_runs_that_can_be_trusted() {
        let grid = Grid::new(vec!["mailbox.session=1,2".parse().unwrap()], &[95], 0.0, 3, 1).unwrap();
        let load = Load { percent: 95, pattern: Pattern::Steady, slow: false };
        let run = |setting, repeat, p99: f64, doubts: &[&str]| {
            let doubts = doubts.iter().map(|&doubt| doubt.to_owned()).collect();
            let figures = Figures { doubts, ..Figures::default().with(Measure::P99, p99) };
            Done { cell: Cell { setting, load, repeat }, figures: Ok(figures), was_repeated: false }
        };
        let failed = Done { figures: Err("nobody could join".to_owned()), ..run(1, 2, 0.0, &[]) };
        let cells = [
            run(1, 0, 5.0, &["late"]),
            run(0, 0, 4.0, &[]),
            run(0, 1, 900.0, &["late", "busy"]),
            run(1, 1, 7.0, &["busy"]),
            run(0, 2, 8.0, &[]),
            failed,
        ];
        let rows = Row::all(&grid, &cells);
        assert_eq!(
            rows.iter().map(|row| (row.setting, row.valid, row.doubtful)).collect::<Vec<_>>(),
            [(0, 2, 1), (1, 0, 2)]
        );
        assert_eq!(rows[0].span(Measure::P99), Some(Span { median: 6.0, min: 4.0, max: 8.0 }));
        assert_eq!(rows[1].span(Measure::P99), Some(Span { median: 6.0, min: 5.0, max: 7.0 }));
        assert_eq!([rows[0].is_doubtful(), rows[1].is_doubtful()], [false, true]);
        assert_eq!((rows[0].doubt(), rows[1].doubt()), (None, Some("late")));
        assert_eq!(rows[1].failures, ["nobody could join"]);
        assert_eq!((rows[0].span(Measure::Drained), rows[0].worst(Measure::Drained)), (None, 0.0));
    }
}
