//! Tables: their columns, and their picture.

use std::cmp::Ordering;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::palette::{Palette, Tone};
use crate::remote::text::{cut, printable, width};

/// A column of a table of `T`s.
pub struct Column<T> {
    /// Its head.
    pub title: &'static str,
    /// The characters that it takes; 0 takes what the others leave.
    pub width: u16,
    /// The narrowest table that has it, in characters.
    pub from: u16,
    /// Whether its cells stand at the left, as texts do.
    pub is_text: bool,
    /// Returns a cell for this many characters.
    pub cell: fn(&T, usize) -> Cell,
    /// The order in which one looks for something: the largest number first. None if the table cannot be sorted by it.
    pub order: Option<fn(&T, &T) -> Ordering>,
}

/// A cell.
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Makes a cell of a text from outside, or of a figure.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()), tone }
    }

    /// Gives it another tone.
    pub fn in_tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// Gives it another tone if something is so.
    pub fn in_tone_if(self, is_so: bool, tone: Tone) -> Self {
        if is_so { self.in_tone(tone) } else { self }
    }

    /// Returns its text.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The head of a table.
pub struct Head {
    /// The title of the table, which stands above its first column.
    pub title: String,
    /// The number of the column that it is sorted by, and whether that is reversed.
    pub sorted: Option<(usize, bool)>,
    /// Whether the keys act on it.
    pub has_focus: bool,
}

/// Draws a table.
pub fn draw<T>(head: &Head, columns: &[Column<T>], rows: &[&T], palette: Palette, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let places = places(columns, area);
    let tone = if head.has_focus { Tone::Focus } else { Tone::Title };
    buf.set_style(Rect { height: 1, ..area }, palette.style(tone));
    for (place, column) in places.iter().zip(columns) {
        let (number, text) = (place.number, if place.number == 0 { head.title.as_str() } else { column.title });
        let text = match head.sorted {
            Some((sorted, is_reversed)) if sorted == number => {
                format!("{text} {}", if is_reversed { '^' } else { 'v' })
            }
            _ => text.to_owned(),
        };
        put(buf, place, area.y, &text, column.is_text, palette.style(tone));
    }
    for (row, y) in rows.iter().zip(area.y + 1..area.bottom()) {
        for (place, column) in places.iter().zip(columns) {
            let Cell { text, tone } = (column.cell)(row, place.width.into());
            put(buf, place, y, &text, column.is_text, palette.style(tone));
        }
    }
}

/// The place of a column; one of the width 0 is not shown.
struct Place {
    number: usize,
    x: u16,
    width: u16,
}

fn places<T>(columns: &[Column<T>], area: Rect) -> Vec<Place> {
    let is_shown = |column: &Column<T>| area.width >= column.from;
    let fixed: u16 = columns.iter().filter(|column| is_shown(column)).map(|column| column.width + 1).sum();
    let rest = (area.width + 1).saturating_sub(fixed);
    let mut x = area.x;
    let places = columns.iter().enumerate().map(|(number, column)| {
        let width = match column.width {
            _ if !is_shown(column) => return Place { number, x, width: 0 },
            0 => rest,
            width => width,
        };
        let place = Place { number, x, width: width.min(area.right().saturating_sub(x)) };
        x = (x + width + 1).min(area.right());
        place
    });
    places.collect()
}

fn put(buf: &mut Buffer, place: &Place, y: u16, text: &str, is_text: bool, style: ratatui::style::Style) {
    if place.width == 0 {
        return;
    }
    let text = cut(text, place.width.into());
    let space = place.width.saturating_sub(u16::try_from(width(&text)).unwrap_or(place.width));
    let x = if is_text { place.x } else { place.x + space };
    buf.set_stringn(x, y, text, place.width.into(), style);
}
