//! The place of each part of the screen.

use ratatui::layout::Rect;

/// From this width on, tables stand side by side.
const WIDE: u16 = 150;

/// From this height on, the parts stand apart.
const TALL: u16 = 30;

/// Lines of the largest table: its head, and the most rows that a server sends.
const TABLE_LINES_MAX: u16 = 21;

/// Columns of the kinds of message where they stand beside the closed sessions.
const KINDS_COLUMNS: u16 = 70;

/// Fewest lines of a table that is shown only where there is room.
const EXTRA_LINES_MIN: u16 = 5;

/// The place of each part; a part without a line is not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// The server and its figures.
    pub header: Rect,
    /// The warnings.
    pub notes: Rect,
    /// The mailboxes.
    pub mailboxes: Rect,
    /// The slow sessions.
    pub sessions: Rect,
    /// The hot conversations.
    pub conversations: Rect,
    /// The closed sessions.
    pub closed: Rect,
    /// The kinds of message.
    pub kinds: Rect,
    /// The keys.
    pub footer: Rect,
}

/// The lines that parts need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Lines of the header.
    pub header: u16,
    /// Lines of the warnings.
    pub notes: u16,
    /// Rows of the mailboxes.
    pub mailboxes: u16,
}

impl Areas {
    /// Divides a screen.
    pub fn of_screen(area: Rect, needs: Needs) -> Self {
        let gap = u16::from(area.height >= TALL);
        let mut rest = area;
        let mut take = |lines: u16| {
            let lines = lines.min(rest.height);
            let part = Rect { height: lines, ..rest };
            rest = Rect { y: rest.y + lines, height: rest.height - lines, ..rest };
            part
        };
        let (header, notes) = (take(needs.header), take(needs.notes));
        take(gap);
        let mailboxes = take(needs.mailboxes + 1);
        take(gap);
        let footer = Rect { y: rest.bottom().saturating_sub(1), height: rest.height.min(1), ..rest };
        let tables = Rect { height: rest.height.saturating_sub(1 + gap), ..rest };
        let mut areas = Self { header, notes, mailboxes, footer, ..Self::default() };
        areas.place_tables(tables, gap);
        areas
    }

    fn place_tables(&mut self, area: Rect, gap: u16) {
        let lines = |y: u16, height: u16| Rect { y, height, ..area };
        if area.width >= WIDE {
            let high = TABLE_LINES_MAX.min(area.height);
            let below = area.y + high + gap;
            (self.sessions, self.conversations) = beside(lines(area.y, high), area.width / 2);
            (self.closed, self.kinds) = beside(extra(lines(below, area.bottom().saturating_sub(below))), KINDS_COLUMNS);
            return;
        }
        let half = (area.height.saturating_sub(gap) / 2).min(TABLE_LINES_MAX);
        let second = area.y + half + gap;
        let third = second + half + gap;
        self.sessions = lines(area.y, half);
        self.closed = extra(lines(third, area.bottom().saturating_sub(third)));
        self.conversations = lines(second, half);
    }

    /// Stacks all parts that a script wants, each as high as it needs to be.
    pub fn of_text(columns: u16, needs: Needs, sessions: u16, conversations: u16) -> Self {
        let mut y = 0;
        let mut take = |lines: u16, gap: u16| {
            let part = Rect { x: 0, y, width: columns, height: lines };
            y += lines + gap;
            part
        };
        Self {
            header: take(needs.header, 0),
            notes: take(needs.notes, 1),
            mailboxes: take(needs.mailboxes + 1, 1),
            sessions: take(sessions.max(1) + 1, 1),
            conversations: take(conversations.max(1) + 1, 0),
            ..Self::default()
        }
    }
}

fn extra(area: Rect) -> Rect {
    if area.height >= EXTRA_LINES_MIN { area } else { Rect::ZERO }
}

/// Divides an area into two with a space between them. The right one has this many columns.
fn beside(area: Rect, right: u16) -> (Rect, Rect) {
    const SPACE: u16 = 2;
    let right = right.min(area.width);
    let left = Rect { width: (area.width - right).saturating_sub(SPACE), ..area };
    (left, Rect { x: area.right() - right, width: right, ..area })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_within_the_screen_and_never_overlap() {
        for width in [60, 80, 149, 150, 200] {
            for height in 0..80 {
                let area = Rect::new(0, 0, width, height);
                let areas = Areas::of_screen(area, Needs { header: 4, notes: 3, mailboxes: 4 });
                let Areas { header, notes, mailboxes, sessions, conversations, closed, kinds, footer } = areas;
                let parts = [header, notes, mailboxes, sessions, conversations, closed, kinds, footer];
                for (at, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                    assert_eq!(area.intersection(*part), *part, "{areas:?}");
                    let others = parts[at + 1..].iter().filter(|other| !other.is_empty());
                    others.for_each(|other| assert!(!part.intersects(*other), "{areas:?}"));
                }
                assert!(height < 20 || sessions.height.min(conversations.height) >= 3, "{areas:?}");
            }
        }
    }
}
