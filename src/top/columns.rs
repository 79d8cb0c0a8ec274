//! The columns of each table, and the filter of those that have one.

use super::figures::{NONE, age, bytes, count, ms, percent, rate};
use super::palette::Tone;
use super::table::{Cell, Column};
use crate::admin::model::overview::{Kind, Mailbox};
use crate::admin::model::{ClosedSession, Conversation, Generation, Session, Transport};

/// The share of a limit from which on an operator should look at it.
const NEAR: f64 = 0.8;

/// The columns of the mailboxes.
pub const MAILBOXES: &[Column<Mailbox>] = &[
    Column { cell: |mailbox, _| text(&mailbox.actor), ..left("MAILBOX", 12) },
    Column { cell: |mailbox, _| number(mailbox.capacity), ..right("LIMIT", 9, 0) },
    Column { cell: |mailbox, _| number(mailbox.peak).in_tone(tone_of_peak(mailbox)), ..right("PEAK", 9, 0) },
    Column { cell: bar, ..left("= p99, - PEAK", 0) },
    Column { cell: |mailbox, _| figure(percent(share(mailbox.peak as f64, mailbox))), ..right("PEAK %", 6, 150) },
    Column { cell: |mailbox, _| depth(mailbox.depth_p50), ..right("DEPTH p50", 9, 150) },
    Column { cell: |mailbox, _| depth(mailbox.depth_p99), ..right("DEPTH p99", 9, 130) },
    Column { cell: |mailbox, _| figure(count(mailbox.messages)), ..right("IN ALL", 9, 110) },
    Column { cell: |mailbox, _| speed(mailbox.offered_per_second), ..right("OFFERED/s", 10, 110) },
    Column { cell: |mailbox, _| time(mailbox.wait_p50_ms), ..right("WAIT p50", 9, 150) },
    Column { cell: |mailbox, _| time(mailbox.wait_p99_ms), ..right("WAIT p99", 9, 0) },
    Column { cell: |mailbox, _| time(mailbox.handle_p50_ms), ..right("HANDLE p50", 10, 150) },
    Column { cell: |mailbox, _| time(mailbox.handle_p99_ms), ..right("HANDLE p99", 10, 0) },
    Column {
        cell: |mailbox, _| {
            speed(mailbox.refused_full_per_second).in_tone_if(mailbox.refused_full_per_second > 0.0, Tone::Bad)
        },
        ..right("REFUSED/s", 9, 0)
    },
    Column {
        cell: |mailbox, _| figure(mailbox.actors.map_or_else(|| NONE.to_owned(), |actors| count(actors.living))),
        ..right("ACTORS", 9, 130)
    },
    Column {
        cell: |mailbox, _| Cell::new(format!("{} ({})", mailbox.setting, mailbox.source), Tone::Dim),
        ..left("SETTING", 34).from(180)
    },
];

/// The columns of the slow sessions.
pub const SESSIONS: &[Column<Session>] = &[
    Column {
        cell: |session, _| user(session.username.as_deref()),
        order: Some(|one, other| one.username.cmp(&other.username)),
        ..left("USER", 0)
    },
    Column { cell: |session, _| figure(session.id.to_string()), ..right("ID", 8, 115) },
    Column { cell: |session, _| text(&session.address), ..left("ADDRESS", 15).from(76) },
    Column { cell: |session, _| client(session.generation, session.transport), ..left("CLIENT", 14).from(95) },
    Column {
        cell: |session, _| figure(bytes(session.waiting_bytes as u64)),
        order: Some(|one, other| other.waiting_bytes.cmp(&one.waiting_bytes)),
        ..right("BYTES", 8, 0)
    },
    Column {
        cell: |session, _| number(session.waiting_messages),
        order: Some(|one, other| other.waiting_messages.cmp(&one.waiting_messages)),
        ..right("MSGS", 7, 0)
    },
    Column {
        cell: |session, _| number(session.folded).in_tone_if(session.folded > 0, Tone::Warn),
        order: Some(|one, other| other.folded.cmp(&one.folded)),
        ..right("FOLDED", 8, 0)
    },
    Column {
        cell: |session, _| figure(age(session.age_ms)),
        order: Some(|one, other| other.age_ms.cmp(&one.age_ms)),
        ..right("AGE", 9, 0)
    },
    Column {
        cell: |session, _| time(session.round_trip_ms),
        order: Some(|one, other| by_float(one.round_trip_ms, other.round_trip_ms)),
        ..right("TRIP", 8, 0)
    },
];

/// The columns of the hot conversations.
pub const CONVERSATIONS: &[Column<Conversation>] = &[
    Column {
        cell: |conversation, _| text(&conversation.id),
        order: Some(|one, other| one.id.cmp(&other.id)),
        ..left("ID", 0)
    },
    Column {
        cell: |conversation, _| number(conversation.members as usize),
        order: Some(|one, other| other.members.cmp(&one.members)),
        ..right("MEMBERS", 9, 0)
    },
    Column { cell: |conversation, _| number(conversation.users as usize), ..right("USERS", 9, 95) },
    Column { cell: |conversation, _| figure(count(conversation.talks)), ..right("TALKS", 11, 120) },
    Column { cell: |conversation, _| figure(count(conversation.deliveries)), ..right("DELIVERIES", 12, 120) },
    Column {
        cell: |conversation, _| speed(conversation.talks_per_second),
        order: Some(|one, other| by_float(Some(one.talks_per_second), Some(other.talks_per_second))),
        ..right("TALKS/s", 9, 0)
    },
    Column {
        cell: |conversation, _| speed(conversation.deliveries_per_second),
        order: Some(|one, other| by_float(Some(one.deliveries_per_second), Some(other.deliveries_per_second))),
        ..right("DELIVERIES/s", 14, 0)
    },
    Column {
        cell: |conversation, _| figure(age(conversation.age_ms)),
        order: Some(|one, other| other.age_ms.cmp(&one.age_ms)),
        ..right("AGE", 9, 0)
    },
];

/// The columns of the closed sessions.
pub const CLOSED: &[Column<ClosedSession>] = &[
    Column { cell: |session, _| user(session.username.as_deref()), ..left("USER", 20) },
    Column { cell: |session, _| text(&session.address), ..left("ADDRESS", 15).from(90) },
    Column { cell: |session, _| client(session.generation, session.transport), ..left("CLIENT", 14).from(95) },
    Column { cell: |session, _| figure(age(session.age_ms)), ..right("AGE", 9, 0) },
    Column { cell: |session, _| number(session.folded), ..right("FOLDED", 8, 0) },
    Column { cell: |session, _| text(&session.reason), ..left("REASON", 12) },
    Column { cell: |session, _| text(&session.detail), ..left("DETAIL", 0) },
];

/// The columns of the kinds of message, each with the class of its actor.
pub const KINDS: &[Column<(String, Kind)>] = &[
    Column { cell: |(actor, kind), _| Cell::new(format!("{actor}: {}", kind.message), Tone::Plain), ..left("KIND", 0) },
    Column { cell: |(_, kind), _| speed(kind.offered_per_second), ..right("OFFERED/s", 10, 0) },
    Column {
        cell: |(_, kind), _| {
            speed(kind.refused_full_per_second).in_tone_if(kind.refused_full_per_second > 0.0, Tone::Bad)
        },
        ..right("REFUSED/s", 9, 0)
    },
    Column { cell: |(_, kind), _| time(kind.wait_p99_ms), ..right("WAIT p99", 9, 0) },
    Column { cell: |(_, kind), _| time(kind.handle_p99_ms), ..right("HANDLE p99", 10, 0) },
];

/// Returns whether a session has a text, in lower case, in its user, address or number.
pub fn session_has(session: &Session, text: &str) -> bool {
    let user = session.username.as_deref().unwrap_or_default();
    user.to_lowercase().contains(text) || session.address.contains(text) || session.id.to_string().contains(text)
}

/// Returns whether a conversation has a text, in lower case, in its id.
pub fn conversation_has(conversation: &Conversation, text: &str) -> bool {
    conversation.id.to_lowercase().contains(text)
}

const fn left<T>(title: &'static str, width: u16) -> Column<T> {
    Column { title, width, from: 0, is_text: true, cell: |_, _| Cell::new("", Tone::Plain), order: None }
}

const fn right<T>(title: &'static str, width: u16, from: u16) -> Column<T> {
    Column { title, width, from, is_text: false, cell: |_, _| Cell::new("", Tone::Plain), order: None }
}

impl<T> Column<T> {
    const fn from(self, from: u16) -> Self {
        Self { from, ..self }
    }
}

fn text(text: &str) -> Cell {
    Cell::new(text, Tone::Plain)
}

fn figure(text: String) -> Cell {
    Cell::new(text, Tone::Plain)
}

fn number(number: usize) -> Cell {
    figure(count(number as u64))
}

fn speed(per_second: f64) -> Cell {
    figure(rate(per_second))
}

fn depth(depth: Option<f64>) -> Cell {
    figure(depth.map_or_else(|| NONE.to_owned(), rate))
}

fn time(time_ms: Option<f64>) -> Cell {
    figure(ms(time_ms))
}

fn user(username: Option<&str>) -> Cell {
    username.map_or_else(|| Cell::new("(not joined)", Tone::Dim), text)
}

fn client(generation: Generation, transport: Transport) -> Cell {
    let generation = match generation {
        Generation::Eio4 => "eio4",
        Generation::Eio3 => "eio3",
        Generation::Sio09 => "0.9",
    };
    let transport = match transport {
        Transport::Polling => "polling",
        Transport::Websocket => "websocket",
    };
    figure(format!("{generation} {transport}"))
}

/// Orders floating numbers, the largest first and those that are absent last.
fn by_float(one: Option<f64>, other: Option<f64>) -> std::cmp::Ordering {
    let rank = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    rank(other).total_cmp(&rank(one))
}

/// Returns how much of the limit of its mailbox a depth is.
fn share(depth: f64, mailbox: &Mailbox) -> f64 {
    depth / mailbox.capacity.max(1) as f64
}

fn tone_of_peak(mailbox: &Mailbox) -> Tone {
    match share(mailbox.peak as f64, mailbox) {
        share if share >= 1.0 => Tone::Bad,
        share if share >= NEAR => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// Returns the bar of a mailbox: `=` up to the 99th percentile of its depth, `-` up to its peak, and `]` at its limit.
fn bar(mailbox: &Mailbox, columns: usize) -> Cell {
    let inner = columns.saturating_sub(2);
    let length = |depth: f64| {
        let exact = share(depth, mailbox).clamp(0.0, 1.0) * inner as f64;
        // A depth above 0 is seen, and a bar is full only at the limit.
        if exact > 0.0 { (exact as usize).max(1) } else { 0 }
    };
    let peak = length(mailbox.peak as f64);
    let depth = length(mailbox.depth_p99.unwrap_or(0.0)).min(peak);
    let bar = format!("[{}{}{}]", "=".repeat(depth), "-".repeat(peak - depth), " ".repeat(inner.saturating_sub(peak)));
    let tone = match tone_of_peak(mailbox) {
        Tone::Plain => Tone::Good,
        tone => tone,
    };
    Cell::new(bar, tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::samples::busy;

    #[test]
    fn a_bar_is_full_only_at_the_limit_and_empty_only_at_nothing() {
        let of = |capacity, peak, depth_p99| {
            let mailbox = Mailbox { capacity, peak, depth_p99, ..busy().mailboxes.remove(0) };
            bar(&mailbox, 12).text().to_owned()
        };
        assert_eq!(of(100, 0, None), "[          ]");
        assert_eq!(of(100, 1, Some(1.0)), "[=         ]");
        assert_eq!(of(100, 60, Some(25.0)), "[==----    ]");
        assert_eq!(of(100, 99, Some(99.0)), "[========= ]");
        assert_eq!(of(100, 100, None), "[----------]");
        assert_eq!(of(100, 300, Some(300.0)), "[==========]", "the limit was made smaller");
        assert_eq!(of(0, 1, None), "[----------]", "an old server may not say the limit");
    }
}
