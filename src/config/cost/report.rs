//! The cost as text: tables of its parts, then the verdicts. Lines have at most 80 columns.

use std::fmt::{self, Display};

use super::{Cost, FULL_PERCENT, Part, sum};

/// The greatest width of a line.
const COLUMNS: usize = 80;

/// A sum that is not smaller has reached the end of the numbers.
const UNCOUNTABLE: &str = "over 16 EiB";

/// What sets the limit on open files.
const FILES_LIMIT: &str = "ulimit -n, or LimitNOFILE of systemd";

/// What becomes of sessions for which a limit of the server has no room.
const REFUSED: &str = "further clients are refused";

/// A limit that the sessions exceed even at rest.
pub(super) struct Shortage {
    /// How many sessions fit.
    fit: u64,
    /// The warning of `maxtalk check`.
    warning: String,
    /// The limit, for the log.
    limit: String,
    /// What happens when more sessions come, for the log.
    then: &'static str,
}

/// A number of bytes, with three digits.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 == u64::MAX {
            return f.pad(UNCOUNTABLE);
        }
        let (mut unit, mut value) = (0, self.0 as f64);
        // From here on, a value would be rounded to four digits.
        while value >= 999.5 {
            (unit, value) = (unit + 1, value / 1024.0);
        }
        let decimals = match value {
            _ if unit == 0 || value >= 99.95 => 0,
            _ if value >= 9.995 => 1,
            _ => 2,
        };
        f.pad(&format!("{value:.decimals$} {}", UNITS[unit]))
    }
}

/// A number, with commas. From a trillion on, only its size.
struct Count(u64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1_000_000_000_000 {
            return f.pad(&format!("{:.1e}", self.0 as f64));
        }
        let digits = self.0.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// The unit of a table.
type Unit = fn(u64) -> Box<dyn Display>;

fn in_bytes(number: u64) -> Box<dyn Display> {
    Box::new(Bytes(number))
}

fn in_numbers(number: u64) -> Box<dyn Display> {
    Box::new(Count(number))
}

fn row(what: &str, each: &dyn Display, times: &dyn Display, total: &dyn Display) -> String {
    format!("{what:<37}{each:>12}{times:>15}{total:>16}\n")
}

fn rows<'a>(parts: impl IntoIterator<Item = &'a Part>, unit: Unit) -> String {
    let parts = parts.into_iter().filter(|part| part.times > 0);
    parts
        .map(|part| row(&format!("  {}", part.what), &unit(part.each), &Count(part.times), &unit(part.total())))
        .collect()
}

fn head(title: &str) -> String {
    row(title, &"each", &"times", &"total")
}

fn end(what: &str, total: Box<dyn Display>) -> String {
    row(&format!("  {what}"), &"", &"", &total)
}

impl Cost {
    /// Returns the report of `maxtalk check`.
    pub fn report(&self) -> String {
        let (sessions, conversations) = (Count(self.size.sessions), Count(self.size.conversations));
        let title = format!(
            "cost of {sessions} sessions and {conversations} conversations, each session in {} of them",
            self.each.at_rest
        );
        let mut text = format!("\n{}\n", wrapped(&title));
        text += &head("memory at rest");
        text += &rows(self.rest.iter().chain(&self.kernel_rest), in_bytes);
        text += &end("together", in_bytes(self.rest_bytes()));

        text.push('\n');
        text += &head("more, if every bound is full");
        text += &rows(self.full.iter().chain(&self.kernel_full), in_bytes);
        if let Some(most) = self.machine.tcp_bytes.filter(|most| sum(&self.kernel_full) > *most) {
            text += &end("both, at most (net.ipv4.tcp_mem)", in_bytes(most));
        }
        text += &end("together, with the memory at rest", in_bytes(self.full_bytes()));

        text.push('\n');
        text += &head("open files");
        text += &rows(&self.files, in_numbers);
        text += &end("together", in_numbers(sum(&self.files)));
        text.push('\n');
        let warnings = self.warnings().into_iter().map(|warning| format!("warning: {warning}"));
        self.notes().into_iter().chain(warnings).for_each(|line| text += &wrapped(&line));
        text
    }

    /// Returns one line for the log, and whether it is a warning: that fewer sessions fit than the settings allow. It
    /// names the limit that is reached first.
    pub fn line(&self) -> (bool, String) {
        let sessions = Count(self.size.sessions);
        if let Some(Shortage { fit, limit, then, .. }) = self.shortages().into_iter().min_by_key(|short| short.fit) {
            let fit = Count(fit);
            return (true, format!("{fit} of {sessions} sessions (limits.sessions_max) fit, because {limit}; {then}"));
        }
        let (needed, place, has) = (Bytes(self.rest_bytes()), self.place(), Bytes(self.machine.usable_bytes()));
        let line =
            format!("{sessions} sessions (limits.sessions_max) fit: they take {needed} at rest, and {place} has");
        (false, format!("{line} {has}"))
    }

    /// Returns the place whose memory is the bound.
    fn place(&self) -> &'static str {
        if self.machine.usable_bytes() < self.machine.memory_bytes { "the control group" } else { "the machine" }
    }

    fn notes(&self) -> Vec<String> {
        let mut limits = format!("limits here: {} of memory ({})", Bytes(self.machine.usable_bytes()), self.place());
        if let Some(files) = self.machine.files {
            limits += &format!(", {} open files", Count(files));
        }
        let mut notes = vec![limits];
        if let Some(limit) = self.shed_bytes.filter(|limit| self.process_full_bytes() > *limit) {
            notes.push(format!(
                "limits.memory_bytes_max is {}: from {FULL_PERCENT} % of it on, no session is opened, and at most 64 \
                 KiB of input and unread output are kept for each client, from 90 % on 4 KiB, so that the bounds are \
                 not filled",
                Bytes(limit)
            ));
        }
        notes
    }

    /// Returns the limits that this number of sessions exceeds even at rest.
    pub(super) fn shortages(&self) -> Vec<Shortage> {
        let mut shortages = Vec::new();
        let (sessions, usable) = (Count(self.size.sessions), self.machine.usable_bytes());
        if self.rest_bytes() > usable {
            let fit = self.sessions_that_fit(usable, self.rest_bytes());
            let (needed, place, has) = (Bytes(self.rest_bytes()), self.place(), Bytes(usable));
            shortages.push(Shortage {
                fit,
                warning: format!(
                    "{sessions} sessions need {needed} at rest, but {place} has {has}: {} fit",
                    Count(fit)
                ),
                limit: format!("{place} has {has} of memory"),
                then: "with more, the system may end the process",
            });
        }
        let admits = |limit: u64| limit / 100 * u64::from(FULL_PERCENT);
        if let Some(limit) = self.shed_bytes.filter(|limit| sum(&self.rest) > admits(*limit)) {
            let fit = self.sessions_that_fit(admits(limit), sum(&self.rest));
            let from = format!("from {FULL_PERCENT} % of limits.memory_bytes_max ({}) on", Bytes(limit));
            shortages.push(Shortage {
                fit,
                warning: format!("{from}, no session is opened: {} fit", Count(fit)),
                limit: format!("no session is opened {from}"),
                then: REFUSED,
            });
        }
        let needed = sum(&self.files);
        if let Some(files) = self.machine.files.filter(|files| needed > *files) {
            let fit = files.saturating_sub(needed - self.size.sessions);
            let (needed, files) = (Count(needed), Count(files));
            shortages.push(Shortage {
                fit,
                warning: format!(
                    "{sessions} sessions need {needed} open files, but the limit is {files}: {} fit ({FILES_LIMIT})",
                    Count(fit)
                ),
                limit: format!("the limit on open files is {files} ({FILES_LIMIT})"),
                then: REFUSED,
            });
        }
        if let Some(connections) = self.connections_max.filter(|connections| self.size.sessions > *connections) {
            let limit = format!("limits.connections_max is {}", Count(connections));
            let warning = format!("{limit}: of {sessions} sessions, so many fit");
            shortages.push(Shortage { fit: connections, warning, limit, then: REFUSED });
        }
        shortages
    }

    /// Returns the limits that this configuration may exceed on this machine.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.shortages().into_iter().map(|short| short.warning).collect();
        let (usable, kernel_bytes) = (self.machine.usable_bytes(), self.kernel_full_bytes());
        let (place, has, needed) = (self.place(), Bytes(usable), Bytes(self.full_bytes()));
        let remedy = match usable.saturating_sub(kernel_bytes) {
            room if room > sum(&self.rest) => {
                format!("set limits.memory_bytes_max to at most {room} ({})", Bytes(room))
            }
            _ => "lower limits.sessions_max, server.send_buffer_bytes or net.ipv4.tcp_rmem".to_owned(),
        };
        match self.shed_bytes {
            None if self.full_bytes() > usable => warnings.push(format!(
                "if every bound is full, the server needs {needed}, but {place} has {has}, and nothing keeps the \
                 server below: {remedy}"
            )),
            Some(limit) if limit.min(self.process_full_bytes()).saturating_add(kernel_bytes) > usable => {
                let (limit, kernel) = (Bytes(limit), Bytes(kernel_bytes));
                warnings.push(format!(
                    "limits.memory_bytes_max ({limit}) does not count the memory of the kernel, up to {kernel}, and \
                     {place} has {has}: {remedy}"
                ));
            }
            _ => {}
        }
        if self.full_bytes() == u64::MAX {
            warnings.push(format!("the sum is {UNCOUNTABLE}, more than can be counted"));
        }
        warnings
    }
}

/// Breaks a line before the words that do not fit.
fn wrapped(line: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in line.split(' ') {
        let width = word.chars().count();
        let gap = match column {
            0 => "",
            _ if column + 1 + width > COLUMNS => "\n  ",
            _ => " ",
        };
        column = width + if gap == "\n  " { 2 } else { column + gap.len() };
        text = text + gap + word;
    }
    text + "\n"
}
