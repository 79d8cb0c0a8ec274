//! The help: the keys, and how to read the bars.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Widget as _};

use crate::top::palette::{Palette, Tone};

/// The keys in one line.
pub const KEYS: &str = "q quit  tab table  s sort  r reverse  / filter  p pause  up/down scroll  ? help";

/// The lines of the help.
const LINES: &[&str] = &[
    "q, ctrl-c     quit",
    "tab           the other table: its head is marked",
    "s > / S <     sort by the next or the previous column",
    "r             reverse the order",
    "up down j k   scroll; also page up, page down, home, end",
    "/             show only rows with a text; enter keeps it, esc clears it",
    "p, space      hold the picture, and let it go on",
    "?             this help; any key closes it",
    "",
    "A bar is a mailbox: = to the 99th percentile of its depth,",
    "- to the deepest of the last minute, and ] is the limit.",
    "maxtalk set mailbox.conversation=512 changes a limit.",
];

/// Draws the help over the middle of the screen.
pub fn draw(palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = LINES.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 4;
    let height = LINES.len() as u16 + 2;
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    Block::bordered().title(" maxtalk top ").border_style(palette.style(Tone::Title)).render(place, buf);
    for (line, y) in LINES.iter().zip(place.y + 1..place.bottom().saturating_sub(1)) {
        buf.set_stringn(place.x + 2, y, line, usize::from(width.saturating_sub(4)), palette.style(Tone::Plain));
    }
}
