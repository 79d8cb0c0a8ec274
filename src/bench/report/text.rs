//! The report as plain text, for a terminal or a file.

use super::sheet::{Grid, Sheet};

/// Width of the text in columns.
const COLUMNS_MAX: usize = 100;
/// Least width of the column of labels.
const LABEL_COLUMNS: usize = 30;
/// Usual width of a column of cells.
const CELL_COLUMNS: usize = 10;

/// Returns the report: the plan first, then all figures, and the judgements at the end. Only an astronomical number
/// makes a line longer than 100 columns.
pub fn table(sheet: &Sheet) -> String {
    let mut lines = vec![sheet.heading.clone()];
    for (name, text) in &sheet.circumstances {
        lines.extend(paragraph(&format!("  {name:<9}"), text));
    }
    for grid in &sheet.grids {
        lines.push(String::new());
        lines.extend(grid_lines(grid));
    }
    lines.push(String::new());
    for verdict in &sheet.verdicts {
        lines.extend(paragraph("", &verdict.text));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Returns the judgements, one a line.
pub fn verdicts(sheet: &Sheet) -> String {
    sheet.verdicts.iter().map(|verdict| format!("{}\n", verdict.text)).collect()
}

/// Returns the report in five lines, however long they are.
pub fn brief(sheet: &Sheet) -> String {
    sheet.brief.iter().map(|line| format!("{line}\n")).collect()
}

fn grid_lines(grid: &Grid) -> Vec<String> {
    let longest = grid.rows.iter().filter(|row| !row.cells.is_empty()).map(|row| row.label.chars().count() + 4).max();
    let label_columns = longest.unwrap_or_default().max(LABEL_COLUMNS);
    let widths = widths(grid, COLUMNS_MAX.saturating_sub(label_columns));
    let columns = |label: &str, cells: &mut dyn Iterator<Item = &str>| {
        let mut line = format!("{label:<label_columns$}");
        cells.zip(&widths).for_each(|(cell, width)| line.push_str(&format!(" {cell:>width$}")));
        line
    };
    let mut lines = vec![columns(&grid.title, &mut grid.columns.iter().map(String::as_str))];
    lines.extend(grid.rows.iter().map(|row| {
        let line = columns(&format!("  {}", row.label), &mut row.cells.iter().map(String::as_str));
        if row.fault { format!("{line}  <- wrong") } else { line }
    }));
    lines
}

/// Returns the width of each column of cells, without the blank before it. All are equally wide unless that needs more
/// than `room`, or a column has a longer text.
fn widths(grid: &Grid, room: usize) -> Vec<usize> {
    let longest = grid.columns.iter().enumerate().map(|(at, title)| {
        let cells = grid.rows.iter().filter_map(|row| row.cells.get(at));
        cells.chain([title]).map(|text| text.chars().count()).max().unwrap_or_default()
    });
    let longest = longest.collect::<Vec<_>>();
    let at_least = |least: usize| longest.iter().map(move |&width| width.max(least));
    let fits = |least: &usize| at_least(*least).map(|width| width + 1).sum::<usize>() <= room;
    at_least((0..=CELL_COLUMNS).rev().find(fits).unwrap_or_default()).collect()
}

/// Returns the lines of the text after its heading. They break between words; a word that is longer than a line is
/// broken too.
pub(super) fn paragraph(heading: &str, text: &str) -> Vec<String> {
    let indent = heading.chars().count();
    let mut lines = Vec::new();
    let mut line = heading.to_owned();
    let mut length = indent;
    for word in text.split(' ') {
        let word = word.chars().collect::<Vec<_>>();
        for piece in word.chunks(COLUMNS_MAX - indent) {
            if length > indent && length + 1 + piece.len() > COLUMNS_MAX {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
                length = indent;
            }
            if length > indent {
                line.push(' ');
                length += 1;
            }
            line.extend(piece);
            length += piece.len();
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::outcome::{Accounts, Interruption, Report, samples};
    use crate::bench::plan::Pace;
    use crate::bench::report;

    fn table(report: &Report) -> String {
        super::table(&report::of_run(report))
    }

    #[test]
    fn a_good_run_reads_like_this() {
        let expected = include_str!("good.txt");
        let found = table(&samples::good());
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn faults_are_marked_and_the_end_says_so() {
        let text = table(&samples::faulty());
        let marked = text.lines().filter(|line| line.ends_with("  <- wrong")).collect::<Vec<_>>();
        let names = marked.iter().map(|line| line.trim().split("  ").next().unwrap()).collect::<Vec<_>>();
        let all =
            ["lost", "duplicated", "out of order", "misdelivered", "connections failed or lost", "unaccounted for"];
        assert_eq!(names, all);
        let end = text.lines().rev().take(3).collect::<Vec<_>>();
        assert!(end[2].starts_with("INVALID: ") || text.contains("\nINVALID: "), "{text}");
        assert!(
            text.contains("\nNOT CLEAN: 3 lost, 1 duplicated, 2 out of order, 4 misdelivered, 5 unaccounted for, ")
        );
        assert!(
            text.ends_with("INTERRUPTED: in the trial of 8,000 talks/s, of which 1.2 s of 30 s were measured\n"),
            "{text}"
        );
        let run = table(&Report { knee: None, ..samples::faulty() });
        assert!(run.ends_with("\nINTERRUPTED: 1.2 s of 30 s were measured\n"), "{run}");
        assert!(!text.contains('\u{1b}'), "no escape sequence of the server reaches the terminal");
    }

    #[test]
    fn five_lines_say_what_counts() {
        let brief = |report: &Report| brief(&report::of_run(report));
        let expected = "\
maxtalk bench: 10,000 connections; 1,000 conversations of 10 on average, sizes by Zipf 1.1, the largest 1,240; open \
            loop, 2,000 talks/s; 30 s after a warm-up of 5 s
2,000 talks/s (100.0 % of the plan), 20,000 deliveries/s
delivery p50 0.220 ms, p90 1.58 ms, p99 6.62 ms, p99.9 15.8 ms, max 41.0 ms
VALID: the generator kept its plan
CLEAN: each delivery is accounted for, in order and once, and nobody was lost; errors: not_joined (1,234), \
            rate_limited (12)
";
        assert_eq!(brief(&samples::good()), expected);
        let clustered = brief(&samples::clustered());
        assert!(clustered.starts_with("maxtalk bench: 10,000 connections on 2 nodes; "), "{clustered}");
        assert!(clustered.contains("max 41.0 ms; between nodes p50 +0.320 ms, p99 +"), "{clustered}");
        for report in [samples::searched(), samples::faulty(), samples::empty()] {
            let text = brief(&report);
            assert!(text.lines().count() == 5 && !text.contains("NaN"), "{text}");
        }
        let verdicts = verdicts(&report::of_run(&samples::searched()));
        let valid = "VALID: p99<50ms,loss=0 holds up to 5,500 talks/s and fails at 6,000 talks/s (p99 is 99.3 ms and \
                     not below 50 ms)\nCLEAN: ";
        assert!(verdicts.starts_with(valid), "{verdicts}");
    }

    #[test]
    fn the_judgement_on_the_server_names_the_errors() {
        let mut report = samples::good();
        report.connections_lost = 7;
        let end = |report: &Report| verdicts(&report::of_run(report)).lines().last().unwrap().to_owned();
        let lost = "NOT CLEAN: 7 connections failed or lost";
        assert_eq!(end(&report), format!("{lost}; errors: not_joined (1,234), rate_limited (12)"));
        report.errors.extend([
            ("talk: refused with busy".to_owned(), 40),
            ("a".to_owned(), 1),
            ("b\u{7}".to_owned(), 9),
        ]);
        let most = "not_joined (1,234), talk: refused with busy (40), rate_limited (12), 2 other kinds";
        assert_eq!(end(&report), format!("{lost}; errors: {most}"));
        report.errors.clear();
        assert_eq!(end(&report), lost);
        let mut divided = samples::clustered();
        (divided.accounts.lost, divided.accounts.received) = (300_000, 300_000);
        assert_eq!(end(&divided), "NOT CLEAN: 300,000 lost; errors: not_joined (1,234), rate_limited (12)");
        divided.cluster.as_mut().unwrap().remote.count = 0;
        let advice = " No delivery came from another node: give all servers the same cluster.url, and name only nodes \
                      of one cluster";
        assert!(end(&divided).ends_with(advice), "{}", end(&divided));
        divided.accounts = Accounts { told_missing: 12, received: 599_988, lost: 0, ..divided.accounts };
        let told = "nobody was lost; 12 did not come, and their members were told so by missed; errors: ";
        assert!(end(&divided).contains(told), "{}", end(&divided));
        assert!(table(&divided).contains("\n  told of by missed                    12\n"), "{}", table(&divided));
        report.circumstances.protocol = Some("chat.toml".to_owned());
        report.errors.push(("leave: no bye in 30 s".to_owned(), 1));
        let hint = "In the file of --protocol, one of these keys is likely wrong: leave.event, listening.conversations";
        assert_eq!(end(&report), format!("{lost}; errors: leave: no bye in 30 s (1). {hint}"));
    }

    #[test]
    fn lines_fit_into_the_terminal() {
        let mut long = samples::faulty();
        long.circumstances.url = format!("http://{}/?{}", "a".repeat(150), "b c".repeat(30));
        long.errors.extend((0..30).map(|number| (format!("{number:0>90}"), number)));
        let short = [samples::good(), samples::searched(), samples::faulty(), samples::empty()];
        for report in short.into_iter().chain([samples::clustered(), long]) {
            let text = table(&report);
            let wide = text.lines().find(|line| line.chars().count() > COLUMNS_MAX);
            assert_eq!(wide, None);
            assert!(text.lines().all(|line| line.trim_end() == line), "no blanks at the end of a line");
        }
    }

    #[test]
    fn a_run_that_ends_before_the_first_join_says_that_nothing_was_measured() {
        let mut report = samples::empty();
        (report.plan.connections, report.plan.duration) = (1_000, Duration::from_secs(10));
        report.interrupted = Some(Interruption { rate: Some(2_000.0), measured: Duration::ZERO });
        let verdicts = verdicts(&report::of_run(&report));
        let expected = "\
INVALID: nothing was measured, because the run was interrupted before anybody had joined. Let the run go on to its end
NOTHING CHECKED: nothing was to be delivered
INTERRUPTED: 0 s of 10 s were measured
";
        assert_eq!(verdicts, expected);
        report.plan.pace = Pace::Open { rate: 0.0 };
        assert_eq!(super::verdicts(&report::of_run(&report)), expected, "nor was a run at rest");
    }

    #[test]
    fn nothing_at_all_is_shown_without_figures() {
        let text = table(&samples::empty());
        let end = "INVALID: no talk was sent. Take a longer --duration or a higher --rate\nCLEAN: nothing was to be ";
        assert!(text.contains(end), "{text}");
        assert!(text.contains("  none"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
