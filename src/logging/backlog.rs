//! The lines that wait to be written, bounded in number and in length. Gaps, where lines found no room, are recorded.
//! Pure.

use std::collections::VecDeque;

use super::line::{LINE_BYTES_MAX, Look};

/// The end of a cut line.
const CUT: &[u8] = "…\n".as_bytes();

/// Bytes written at once.
const BATCH_BYTES_MAX: usize = 65_536;

/// A queue of lines. Where lines were lost, it has a notice of how many.
pub(super) struct Backlog {
    lines: VecDeque<Vec<u8>>,
    lines_max: usize,
    look: Look,
    /// The number of lines lost after the last one.
    lost: u64,
}

impl Backlog {
    pub(super) fn new(lines_max: usize, look: Look) -> Self {
        Self { lines: VecDeque::new(), lines_max, look, lost: 0 }
    }

    /// Takes lines that come before all others, whether there is room or not.
    pub(super) fn push_first(&mut self, lines: &[u8]) {
        self.lines.push_front(lines.to_vec());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lost == 0
    }

    /// Takes `line` if there is room. Returns whether there was.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        if self.lines.len() >= self.lines_max {
            self.lost += 1;
            return false;
        }
        let mut kept = self.take_notice();
        kept.extend_from_slice(&line[..line.len().min(LINE_BYTES_MAX)]);
        if line.len() > LINE_BYTES_MAX {
            // The cut may leave a part of a character, which is not UTF-8.
            let whole = kept.utf8_chunks().map(|chunk| chunk.valid().len()).sum();
            kept.truncate(whole);
            kept.extend_from_slice(CUT);
        }
        self.lines.push_back(kept);
        true
    }

    /// Returns the oldest lines, as many as fit in one write; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let mut batch = self.lines.pop_front()?;
        while let Some(line) = self.lines.front()
            && batch.len() + line.len() <= BATCH_BYTES_MAX
        {
            batch.extend(self.lines.pop_front().unwrap_or_default());
        }
        if self.lines.is_empty() {
            batch.extend(self.take_notice());
        }
        Some(batch)
    }

    fn take_notice(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.lost) {
            0 => Vec::new(),
            lost => self.look.notice(lost).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(backlog: &mut Backlog) -> Option<String> {
        backlog.take().map(|batch| String::from_utf8(batch).unwrap())
    }

    #[test]
    fn lines_leave_in_order_and_gaps_are_told_where_they_are() {
        let mut backlog = Backlog::new(2, Look::default());
        let taken = ["a\n", "b\n", "c\n", "d\n"].map(|line| backlog.push(line.as_bytes()));
        assert_eq!(taken, [true, true, false, false]);
        assert_eq!(text(&mut backlog).as_deref(), Some("a\nb\nmaxtalk: lines lost here: 2\n"));
        assert!(backlog.is_empty());
        assert_eq!(text(&mut backlog), None);
        assert!(backlog.push(b"e\n"));
        assert_eq!(text(&mut backlog).as_deref(), Some("e\n"), "a gap is told once");
    }

    #[test]
    fn a_gap_between_waiting_lines_is_told_between_them() {
        let line = [b'x'; LINE_BYTES_MAX - 1].iter().chain(b"\n").copied().collect::<Vec<_>>();
        let lines_max = 2 * BATCH_BYTES_MAX / LINE_BYTES_MAX;
        let mut backlog = Backlog::new(lines_max, Look::default());
        assert_eq!((0..=lines_max).filter(|_| backlog.push(&line)).count(), lines_max);
        let first = backlog.take().unwrap();
        assert_eq!(first.len(), BATCH_BYTES_MAX, "a batch has its bound");
        assert!(backlog.push(b"late\n"));
        let rest = text(&mut backlog).unwrap() + &text(&mut backlog).unwrap();
        assert!(rest.ends_with("x\nmaxtalk: lines lost here: 1\nlate\n"));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let mut backlog = Backlog::new(1, Look::default());
        assert!(backlog.push(format!("x{}\n", "é".repeat(LINE_BYTES_MAX)).as_bytes()));
        let line = text(&mut backlog).unwrap();
        assert!(line.ends_with("é…\n") && line.len() <= LINE_BYTES_MAX + CUT.len(), "{}", line.len());
    }
}
