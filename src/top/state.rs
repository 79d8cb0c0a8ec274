//! The state of the screen: the last picture of the server, and what the keys have made of the tables. Pure: answers,
//! keys and times come as arguments.

use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::columns::{CONVERSATIONS, SESSIONS, conversation_has, session_has};
use super::reading::Picture;
use super::table::Column;
use crate::admin::model::overview::Overview;
use crate::admin::model::{Conversation, Session};

/// Longest text of the filter, in characters.
const FILTER_CHARS_MAX: usize = 40;

/// The number of the column by which sessions are sorted at first: that of the bytes.
const SESSIONS_SORTED_BY: usize = 4;

/// The number of the column by which conversations are sorted at first: that of the deliveries.
const CONVERSATIONS_SORTED_BY: usize = 6;

/// The state of the screen.
#[derive(Clone, Debug)]
pub struct State {
    /// The URL of the admin listener.
    pub server: String,
    /// How the server answers.
    pub link: Link,
    /// The picture that is shown.
    pub shown: Option<Picture>,
    /// The last picture that came while the screen was paused.
    waiting: Option<Picture>,
    /// Whether the picture stays as it is.
    pub is_paused: bool,
    /// The table that the keys act on.
    pub focus: Focus,
    /// How the sessions are listed.
    pub sessions: Listing,
    /// How the conversations are listed.
    pub conversations: Listing,
    /// The text that rows of both tables must have.
    pub filter: String,
    /// Whether keys are written into the filter.
    pub is_typing: bool,
    /// Whether the help is shown.
    pub is_helping: bool,
    /// Whether the program ends.
    pub is_done: bool,
}

/// How the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The first answer has not come yet.
    First,
    /// The last call was answered.
    Up,
    /// The last call failed.
    Down {
        /// The reason in a few words.
        reason: String,
        /// The time of the next attempt.
        next: Instant,
    },
}

/// A table that the keys act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The slow sessions.
    Sessions,
    /// The hot conversations.
    Conversations,
}

/// How a table is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The number of the column that it is sorted by.
    pub column: usize,
    /// Whether the order is reversed.
    pub is_reversed: bool,
    /// Rows above the first one that is shown.
    pub scroll: usize,
    /// Rows that were shown last.
    pub page: usize,
}

impl State {
    /// Returns the state before the first answer of the server at this URL.
    pub fn new(server: String) -> Self {
        let listing = |column| Listing { column, is_reversed: false, scroll: 0, page: 1 };
        Self {
            server,
            link: Link::First,
            shown: None,
            waiting: None,
            is_paused: false,
            focus: Focus::Sessions,
            sessions: listing(SESSIONS_SORTED_BY),
            conversations: listing(CONVERSATIONS_SORTED_BY),
            filter: String::new(),
            is_typing: false,
            is_helping: false,
            is_done: false,
        }
    }

    /// Takes a picture of the server.
    pub fn answered(&mut self, picture: Picture) {
        self.link = Link::Up;
        if self.is_paused && self.shown.is_some() {
            self.waiting = Some(picture);
        } else {
            self.shown = Some(picture);
        }
    }

    /// Takes the news that the server did not answer. The last picture stays.
    pub fn failed(&mut self, reason: String, next: Instant) {
        self.link = Link::Down { reason, next };
    }

    /// Returns the overview that is shown.
    pub fn overview(&self) -> Option<&Overview> {
        self.shown.as_ref().map(|picture| &picture.overview)
    }

    /// Returns the sessions that pass the filter, in their order.
    pub fn listed_sessions(&self) -> Vec<&Session> {
        let sessions = self.overview().map_or(&[][..], |overview| &overview.sessions);
        listed(sessions, self.sessions, SESSIONS, &self.filter, session_has)
    }

    /// Returns the conversations that pass the filter, in their order.
    pub fn listed_conversations(&self) -> Vec<&Conversation> {
        let conversations = self.overview().map_or(&[][..], |overview| &overview.conversations);
        listed(conversations, self.conversations, CONVERSATIONS, &self.filter, conversation_has)
    }

    /// Does what a key asks for.
    pub fn press(&mut self, key: KeyEvent) {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => self.is_done = true,
            code if self.is_typing => self.write(code, is_control),
            _ if self.is_helping => self.is_helping = false,
            KeyCode::Char(_) if is_control => {}
            KeyCode::Char('q' | 'Q') => self.is_done = true,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.is_helping = true,
            KeyCode::Char(' ' | 'p') => self.pause(),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::Sessions => Focus::Conversations,
                    Focus::Conversations => Focus::Sessions,
                }
            }
            code => self.act_on_table(code),
        }
    }

    fn write(&mut self, code: KeyCode, is_control: bool) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => _ = self.filter.pop(),
            KeyCode::Char(c) if !is_control && self.filter.chars().count() < FILTER_CHARS_MAX => self.filter.push(c),
            _ => {}
        }
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if let Some(picture) = self.waiting.take() {
            self.shown = Some(picture);
        }
    }

    fn act_on_table(&mut self, code: KeyCode) {
        let (listing, orders) = match self.focus {
            Focus::Sessions => (&mut self.sessions, orders(SESSIONS)),
            Focus::Conversations => (&mut self.conversations, orders(CONVERSATIONS)),
        };
        let page = listing.page.max(1);
        match code {
            KeyCode::Char('s' | '>' | '.') | KeyCode::Right => listing.sort_by(&orders, 1),
            KeyCode::Char('S' | '<' | ',') | KeyCode::Left => listing.sort_by(&orders, orders.len() - 1),
            KeyCode::Char('r') => listing.is_reversed = !listing.is_reversed,
            KeyCode::Down | KeyCode::Char('j') => listing.scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => listing.scroll = listing.scroll.saturating_sub(1),
            KeyCode::PageDown => listing.scroll += page,
            KeyCode::PageUp => listing.scroll = listing.scroll.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => listing.scroll = 0,
            // The picture bounds it.
            KeyCode::End | KeyCode::Char('G') => listing.scroll = usize::MAX / 2,
            _ => {}
        }
    }
}

impl Listing {
    /// Sorts by the column that is `steps` further among those of `orders`.
    fn sort_by(&mut self, orders: &[usize], steps: usize) {
        let now = orders.iter().position(|column| *column == self.column).unwrap_or(0);
        *self = Self { column: orders[(now + steps) % orders.len()], is_reversed: false, scroll: 0, ..*self };
    }

    /// Takes the number of rows, and how many of them there is room for. Returns the rows that are shown.
    pub fn show(&mut self, rows: usize, room: usize) -> std::ops::Range<usize> {
        self.page = room;
        self.scroll = self.scroll.min(rows.saturating_sub(room));
        self.scroll..rows.min(self.scroll + room)
    }
}

/// Returns the numbers of the columns that a table can be sorted by.
fn orders<T>(columns: &[Column<T>]) -> Vec<usize> {
    (0..columns.len()).filter(|number| columns[*number].order.is_some()).collect()
}

fn listed<'a, T>(
    rows: &'a [T],
    listing: Listing,
    columns: &[Column<T>],
    filter: &str,
    has: fn(&T, &str) -> bool,
) -> Vec<&'a T> {
    let filter = filter.to_lowercase();
    let mut rows: Vec<_> = rows.iter().filter(|row| has(row, &filter)).collect();
    if let Some(order) = columns.get(listing.column).and_then(|column| column.order) {
        rows.sort_by(|one, other| if listing.is_reversed { order(other, one) } else { order(one, other) });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::samples::{busy, idle};

    fn picture(overview: Overview) -> Picture {
        Picture { overview, left_out: 0 }
    }

    fn state() -> State {
        let mut state = State::new("http://127.0.0.1:6546".to_owned());
        state.answered(picture(busy()));
        state
    }

    fn press(state: &mut State, keys: &str) {
        keys.chars().for_each(|key| state.press(KeyCode::Char(key).into()));
    }

    fn ids(state: &State) -> Vec<u64> {
        state.listed_sessions().iter().map(|session| session.id).take(3).collect()
    }

    #[test]
    fn each_table_is_sorted_by_its_own_column() {
        let mut state = state();
        assert_eq!(ids(&state), [100, 101, 102], "the most bytes first");
        press(&mut state, "r");
        assert_eq!(ids(&state), [119, 118, 117]);
        press(&mut state, "ss");
        assert_eq!((SESSIONS[state.sessions.column].title, ids(&state)), ("FOLDED", vec![119, 118, 117]));
        press(&mut state, ">>>");
        assert_eq!((SESSIONS[state.sessions.column].title, ids(&state)), ("USER", vec![103, 100, 101]));
        press(&mut state, "<");
        assert_eq!(SESSIONS[state.sessions.column].title, "TRIP");
        assert_eq!(state.listed_sessions().last().unwrap().round_trip_ms, None, "the unknown comes last");

        let conversations = |state: &State| state.listed_conversations()[0].id.clone();
        assert_eq!(conversations(&state), "c0", "the other table stays as it is");
        state.press(KeyCode::Tab.into());
        press(&mut state, "<<");
        assert_eq!(
            (CONVERSATIONS[state.conversations.column].title, conversations(&state).as_str()),
            ("MEMBERS", "c19")
        );
        assert_eq!(SESSIONS[state.sessions.column].title, "TRIP");
    }

    #[test]
    fn the_filter_holds_for_both_tables_until_it_is_cleared() {
        let mut state = state();
        press(&mut state, "/USER1q");
        state.press(KeyCode::Backspace.into());
        assert!(state.is_typing && !state.is_done);
        state.press(KeyCode::Enter.into());
        assert_eq!((state.listed_sessions().len(), state.listed_conversations().len()), (11, 0));
        press(&mut state, "/");
        state.press(KeyCode::Esc.into());
        assert_eq!((state.listed_sessions().len(), state.listed_conversations().len()), (20, 20));
        press(&mut state, "/c1");
        assert_eq!(state.listed_conversations().len(), 11, "it holds while it is typed");
        press(&mut state, &"x".repeat(100));
        assert_eq!(state.filter.len(), FILTER_CHARS_MAX);
        state.press(KeyCode::Enter.into());
        state.press(KeyCode::Esc.into());
        assert_eq!(state.filter, "");
    }

    #[test]
    fn a_pause_holds_the_picture_and_its_end_shows_the_last_one() {
        let mut state = state();
        press(&mut state, "p");
        state.answered(picture(idle()));
        assert_eq!(state.overview().unwrap().status.sessions, 5000);
        press(&mut state, " ");
        assert_eq!(state.overview().unwrap().status.sessions, 0);

        let mut early = State::new(String::new());
        press(&mut early, "p");
        early.answered(picture(busy()));
        assert!(early.shown.is_some(), "there is nothing to hold yet");
    }

    #[test]
    fn the_last_picture_outlives_its_server() {
        let mut state = state();
        let next = Instant::now();
        state.failed("gone".to_owned(), next);
        assert_eq!((&state.link, state.shown.is_some()), (&Link::Down { reason: "gone".to_owned(), next }, true));
        state.answered(picture(busy()));
        assert_eq!(state.link, Link::Up);
    }

    #[test]
    fn scrolling_ends_at_the_last_row() {
        let mut state = state();
        assert_eq!(state.sessions.show(20, 6), 0..6);
        for (code, expected) in [
            (KeyCode::Down, 1..7),
            (KeyCode::PageDown, 7..13),
            (KeyCode::End, 14..20),
            (KeyCode::Up, 13..19),
            (KeyCode::PageUp, 7..13),
            (KeyCode::Home, 0..6),
            (KeyCode::Up, 0..6),
        ] {
            state.press(code.into());
            assert_eq!(state.sessions.show(20, 6), expected, "{code:?}");
        }
        state.press(KeyCode::End.into());
        assert_eq!(state.sessions.show(3, 6), 0..3, "there are fewer now");
    }

    #[test]
    fn the_screen_is_left_by_q_and_by_control_c() {
        for (typing, key, is_done) in [
            (false, KeyEvent::from(KeyCode::Char('q')), true),
            (true, KeyEvent::from(KeyCode::Char('q')), false),
            (true, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), true),
            (false, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), true),
            (false, KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL), false),
            (false, KeyEvent::from(KeyCode::Char('c')), false),
        ] {
            let mut state = State { is_typing: typing, ..state() };
            state.press(key);
            assert_eq!(state.is_done, is_done, "{key:?}");
        }
        let mut helped = state();
        press(&mut helped, "?q");
        assert!(!helped.is_helping && !helped.is_done, "any key closes the help, and does nothing else");
    }
}
