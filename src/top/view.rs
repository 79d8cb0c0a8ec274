//! The picture of the screen: from the state to the cells of a terminal. Pure: the time comes as an argument.
//!
//! * `header`: the lines above the tables.
//! * `areas`: the place of each part.
//! * `help`: the keys.

mod areas;
mod header;
mod help;

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget as _;

use self::areas::{Areas, Needs};
use super::columns::{CLOSED, CONVERSATIONS, KINDS, MAILBOXES, SESSIONS};
use super::palette::{Palette, Tone};
use super::state::{Focus, Link, Listing, State};
use super::table::{self, Head};
use crate::admin::model::overview::Overview;
use crate::remote::text::{cut, printable, wrap};

/// The narrowest screen that has room for the tables.
pub const COLUMNS_MIN: u16 = 70;

/// The lowest screen that has room for the tables.
const LINES_MIN: u16 = 20;

/// The header may take a share of the lines of the screen: one in this number.
const HEADER_SHARE: u16 = 4;

/// The warnings may take a share of the lines of the screen: one in this number.
const NOTES_SHARE: u16 = 5;

/// Draws the screen, and bounds the scrolling to the rows that there are.
pub fn draw(state: &mut State, now: Instant, palette: Palette, area: Rect, buf: &mut Buffer) {
    if area.width < COLUMNS_MIN || area.height < LINES_MIN {
        return too_small(area, buf);
    }
    let mut header = header::lines(state, palette, area.width);
    header.truncate((area.height / HEADER_SHARE).into());
    let notes = header::notes(state, now, palette, area.width, area.height / NOTES_SHARE);
    let areas = Areas::of_screen(area, needs(state, &header, &notes));
    lines(&header, areas.header, buf);
    tables(state, true, palette, areas, buf);
    footer(state, palette, areas.footer, buf);
    if matches!(state.link, Link::Down { .. }) {
        // The figures are old. Without its colors, the rest is grey.
        let grey = Style::reset().add_modifier(Modifier::DIM);
        buf.set_style(area, grey);
    }
    lines(&notes, areas.notes, buf);
    if state.is_helping {
        help::draw(palette, area, buf);
    }
}

/// Returns the picture as text of this many columns, with all rows and without the keys.
pub fn text(state: &mut State, now: Instant, columns: u16) -> String {
    let palette = Palette { colors: false };
    let header = header::lines(state, palette, columns);
    let notes = header::notes(state, now, palette, columns, u16::MAX);
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX / 4);
    let (sessions, conversations) = (state.listed_sessions().len(), state.listed_conversations().len());
    let needs = needs(state, &header, &notes);
    let areas = Areas::of_text(columns, needs, rows(sessions), rows(conversations));
    let mut buf = Buffer::empty(Rect::new(0, 0, columns, areas.conversations.bottom()));
    lines(&header, areas.header, &mut buf);
    lines(&notes, areas.notes, &mut buf);
    tables(state, false, palette, areas, &mut buf);
    text_of(&buf)
}

/// Returns the characters of a picture, without spaces at the ends of lines.
fn text_of(buf: &Buffer) -> String {
    let mut text = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        let mut line = String::new();
        let mut x = buf.area.left();
        while x < buf.area.right() {
            let symbol = buf[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character covers the cell behind it.
            x += u16::try_from(crate::remote::text::width(symbol)).unwrap_or(1).max(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn needs(state: &State, header: &[Line<'_>], notes: &[Line<'_>]) -> Needs {
    let mailboxes = state.overview().map_or(0, |overview| overview.mailboxes.len());
    let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX / 4);
    Needs { header: lines(header.len()), notes: lines(notes.len()), mailboxes: lines(mailboxes.min(8)) }
}

fn lines(lines: &[Line<'_>], area: Rect, buf: &mut Buffer) {
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buf.set_style(Rect { y, height: 1, ..area }, Style::reset());
        buf.set_line(area.x, y, line, area.width);
    }
}

fn tables(state: &mut State, is_screen: bool, palette: Palette, areas: Areas, buf: &mut Buffer) {
    let Some(overview) = state.overview().cloned() else { return };
    let plain = |title: &str| Head { title: title.to_owned(), sorted: None, has_focus: false };
    let mailboxes: Vec<_> = overview.mailboxes.iter().collect();
    table::draw(&plain("MAILBOX"), MAILBOXES, &mailboxes, palette, areas.mailboxes, buf);

    let mut listing = state.sessions;
    let rows = state.listed_sessions();
    let head = head(
        "SLOW SESSIONS",
        rows.len(),
        overview.sessions.len(),
        listing,
        is_screen.then_some(state.focus == Focus::Sessions),
    );
    let shown = listing.show(rows.len(), areas.sessions.height.saturating_sub(1).into());
    table::draw(&head, SESSIONS, &rows[shown], palette, areas.sessions, buf);
    nothing(rows.is_empty(), "no session has a backlog", &state.filter, palette, areas.sessions, buf);
    state.sessions = listing;

    let mut listing = state.conversations;
    let rows = state.listed_conversations();
    let head = self::head(
        "HOT CONVERSATIONS",
        rows.len(),
        overview.conversations.len(),
        listing,
        is_screen.then_some(state.focus == Focus::Conversations),
    );
    let shown = listing.show(rows.len(), areas.conversations.height.saturating_sub(1).into());
    table::draw(&head, CONVERSATIONS, &rows[shown], palette, areas.conversations, buf);
    nothing(rows.is_empty(), "nobody talks", &state.filter, palette, areas.conversations, buf);
    state.conversations = listing;

    extras(&overview, palette, areas, buf);
}

/// Draws the tables that are shown only where there is room.
fn extras(overview: &Overview, palette: Palette, areas: Areas, buf: &mut Buffer) {
    let plain = |title: &str| Head { title: title.to_owned(), sorted: None, has_focus: false };
    let closed: Vec<_> = overview.closed.iter().collect();
    table::draw(&plain("CLOSED SESSIONS"), CLOSED, &closed, palette, areas.closed, buf);
    nothing(closed.is_empty(), "no session was closed", "", palette, areas.closed, buf);
    let kinds = overview.mailboxes.iter();
    let kinds: Vec<_> =
        kinds.flat_map(|mailbox| mailbox.kinds.iter().map(|kind| (mailbox.actor.clone(), kind.clone()))).collect();
    table::draw(&plain("MESSAGES BY KIND"), KINDS, &kinds.iter().collect::<Vec<_>>(), palette, areas.kinds, buf);
}

/// Returns the head of a table that keys act on. `has_focus` is absent where there are no keys.
fn head(title: &str, rows: usize, all: usize, listing: Listing, has_focus: Option<bool>) -> Head {
    let title = if rows == all { format!("{title} {all}") } else { format!("{title} {rows}/{all}") };
    Head { title, sorted: Some((listing.column, listing.is_reversed)), has_focus: has_focus == Some(true) }
}

/// Says why a table has no rows.
fn nothing(is_empty: bool, why: &str, filter: &str, palette: Palette, area: Rect, buf: &mut Buffer) {
    if is_empty && area.height > 1 {
        let why = if filter.is_empty() { why.to_owned() } else { format!("nothing has \"{}\"", printable(filter)) };
        buf.set_stringn(area.x, area.y + 1, why, area.width.into(), palette.style(Tone::Dim));
    }
}

fn footer(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let filter = printable(&state.filter);
    let (text, tone) = match (state.is_typing, state.filter.is_empty()) {
        (true, _) => (format!("filter: {filter}_  enter keeps it, esc clears it"), Tone::Strong),
        (false, false) => (format!("filter: {filter}  esc clears it  {}", help::KEYS), Tone::Strong),
        (false, true) => (help::KEYS.to_owned(), Tone::Dim),
    };
    buf.set_stringn(area.x, area.y, cut(&text, area.width.into()), area.width.into(), palette.style(tone));
}

fn too_small(area: Rect, buf: &mut Buffer) {
    let text = format!(
        "The terminal has {} x {} characters. maxtalk top needs {COLUMNS_MIN} x {LINES_MIN}: enlarge it, or press q.",
        area.width, area.height
    );
    for (line, y) in wrap(&text, area.width.into()).iter().zip(area.top()..area.bottom()) {
        Line::raw(line.as_str()).render(Rect { y, height: 1, ..area }, buf);
    }
}

#[cfg(test)]
mod tests;
