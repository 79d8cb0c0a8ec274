//! The picture of the screen, at the sizes that it is made for.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::top::reading::Picture;
use crate::top::samples::{busy, clustered, draining, idle};
use crate::version::VERSION;

const COLORS: Palette = Palette { colors: true };

fn state(overview: Overview) -> State {
    let mut state = State::new("http://127.0.0.1:6546".to_owned());
    state.answered(Picture { overview, left_out: 0 });
    state
}

/// Returns the picture of a terminal of this size.
fn drawn(state: &mut State, palette: Palette, (columns, lines): (u16, u16)) -> Buffer {
    drawn_at(state, Instant::now(), palette, (columns, lines))
}

fn drawn_at(state: &mut State, now: Instant, palette: Palette, (columns, lines): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(state, now, palette, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn seen(state: &mut State, size: (u16, u16)) -> String {
    text_of(&drawn(state, COLORS, size))
}

fn text_at(overview: Overview, columns: u16) -> String {
    text(&mut state(overview), Instant::now(), columns)
}

/// Expects a text in a picture. Spaces count as one.
fn expect(picture: &str, texts: &[&str]) {
    let single = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = picture.lines().map(single).collect();
    for text in texts {
        assert!(lines.iter().any(|line| line.contains(text)), "no {text:?} in\n{picture}");
    }
}

#[test]
fn at_80_by_24_everything_that_matters_has_its_place() {
    let picture = seen(&mut state(busy()), (80, 24));
    expect(
        &picture,
        &[
            &format!("maxtalk {VERSION} serving up 3 h 12 m 10:23:04 UTC http://127.0.0.1:6546"),
            "sessions 5,000 conversations 500 talks/s 1,400 deliveries/s 12,600",
            "delivery p50 0.16 ms p99 12.3 ms refused/s 3.0 folded/s 250",
            "closed as slow/s 0.2 memory 60 MiB of 2 GiB",
            "workers busy 35 % 98 % 4 %, lag p99 1.20 ms calls to MAX 3 of 8, 41 wait",
            "calls failed/s 0.5",
            "! the mailbox of a conversation has been above 80 % for 30 s: its worker is busy",
            "98 %: raise mailbox.conversation if its talks come in bursts",
            "MAILBOX LIMIT PEAK = p99, - PEAK WAIT p99 HANDLE p99 REFUSED/s",
            "conversation 2,048 1,966 [======------- ] 120 ms 0.80 ms 3.0",
            "max 20,000 0 [ ] 120 ms 0.80 ms 3.0",
            "SLOW SESSIONS 20 ADDRESS BYTES v MSGS FOLDED AGE TRIP",
            "user0 10.0.0.0 879 KiB 4,000 0 0 s -",
            "(not joined) 10.0.0.3",
            "HOT CONVERSATIONS 20 MEMBERS TALKS/s DELIVERIES/s v AGE",
            "c0 10 100 1,000 16 m",
            "q quit tab table s sort r reverse / filter p pause up/down scroll ? help",
        ],
    );
    assert_eq!(picture.lines().count(), 24);
}

#[test]
fn a_node_of_a_cluster_shows_the_others_and_what_its_redis_does() {
    let mut overview = clustered();
    let size = (80, 24);
    expect(&seen(&mut state(overview.clone()), size), &["cluster 2 other nodes, 1 silent, lag 1.20 ms"]);
    let cluster = overview.cluster.as_mut().unwrap();
    cluster.peers.truncate(1);
    expect(&seen(&mut state(overview.clone()), size), &["cluster 1 other node, lag 1.20 ms"]);
    let down = |server: &mut crate::admin::model::cluster::BusServer, ms: u64, reason: &str| {
        (server.up, server.lag_ms, server.down_ms, server.reason) = (false, None, Some(ms), Some(reason.to_owned()));
    };
    let cluster = overview.cluster.as_mut().unwrap();
    down(&mut cluster.servers[0], 12_000, "Connection refused (os error 111)");
    let text = "cluster 1 of 2 Redis down for 12 s: Connection refused (os error 111), 1 other node";
    expect(&text_at(overview.clone(), 100), &[text]);
    let cluster = overview.cluster.as_mut().unwrap();
    down(&mut cluster.servers[1], 90_000, "a\u{1b}reason of more than the forty characters that fit");
    expect(&text_at(overview.clone(), 100), &["cluster 2 of 2 Redis down for 1 m: a\\u{1b}reason of more than"]);
    let cluster = overview.cluster.as_mut().unwrap();
    cluster.servers.remove(0);
    expect(&text_at(overview, 100), &["cluster Redis down for 1 m: a\\u{1b}reason of more than"]);
}

#[test]
fn at_200_by_60_there_is_more() {
    let picture = seen(&mut state(busy()), (200, 60));
    expect(
        &picture,
        &[
            "OFFERED/s",
            "mailbox.conversation (default)",
            "user19",
            "c19",
            "eio4 websocket",
            "CLOSED SESSIONS",
            "gone0 10.0.0.1 0.9 polling 30 s 3 slow it had not caught up",
            "MESSAGES BY KIND",
            "conversation: talk 1,400 3.0 120 ms 0.80 ms",
        ],
    );
    let sessions = picture.lines().find(|line| line.contains("SLOW SESSIONS")).unwrap();
    assert!(sessions.contains("HOT CONVERSATIONS"), "they stand side by side: {sessions}");
}

#[test]
fn the_screen_grows_with_the_terminal_and_never_draws_beyond_it() {
    for columns in (1..220).step_by(13) {
        for lines in (1..70).step_by(9) {
            for overview in [busy(), idle(), draining(), clustered()] {
                let mut state = state(overview);
                state.is_helping = columns % 2 == 0;
                let picture = drawn(&mut state, COLORS, (columns, lines));
                assert_eq!((picture.area.width, picture.area.height), (columns, lines));
            }
        }
    }
    expect(&seen(&mut state(busy()), (COLUMNS_MIN, LINES_MIN)), &["SLOW SESSIONS", "user0", "HOT CONVERSATIONS", "c0"]);
    let picture = seen(&mut state(busy()), (40, 10));
    expect(&picture, &["The terminal has 40 x 10 characters."]);
    assert!(!picture.contains("MAILBOX"), "{picture}");
}

#[test]
fn an_idle_server_says_so_and_a_draining_one_how_far_it_is() {
    let picture = seen(&mut state(idle()), (80, 24));
    expect(
        &picture,
        &["sessions 0 conversations 0", "delivery p50 - p99 -", "no session has a backlog", "nobody talks"],
    );
    let picture = seen(&mut state(draining()), (80, 24));
    expect(&picture, &["draining: 320 of 5,000 sessions left, 12 s to go"]);
    let picture = seen(&mut State::new("http://127.0.0.1:6546".to_owned()), (80, 24));
    expect(&picture, &["maxtalk top http://127.0.0.1:6546", "waiting for the first answer"]);
}

#[test]
fn the_figures_of_a_server_that_has_gone_are_grey() {
    let mut state = state(busy());
    let now = Instant::now();
    state.failed("Connection refused (os error 111)".to_owned(), now + Duration::from_millis(3200));
    let picture = drawn_at(&mut state, now, COLORS, (80, 24));
    let text = text_of(&picture);
    expect(
        &text,
        &[
            "NO ANSWER, next attempt in 4 s: Connection refused (os error 111); figures of",
            "sessions 5,000",
            "user0 10.0.0.0",
        ],
    );
    for (at, line) in text.lines().enumerate() {
        let cell = &picture[(0, at as u16)];
        let (is_grey, is_colored) = (cell.modifier.contains(Modifier::DIM), cell.fg != Color::Reset);
        let is_note = at == 6 || at == 7 || line.starts_with(['!', '9']);
        assert!(is_note || (is_grey && !is_colored), "line {at}, {line:?}: {cell:?}");
    }
}

#[test]
fn without_colors_there_are_none() {
    let mut state = state(busy());
    let colored = |buf: &Buffer| buf.content.iter().filter(|cell| cell.fg != Color::Reset).count();
    assert!(colored(&drawn(&mut state, COLORS, (80, 24))) > 100);
    assert_eq!(colored(&drawn(&mut state, Palette { colors: false }, (80, 24))), 0);
}

#[test]
fn names_of_strangers_cannot_act_on_the_terminal() {
    const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}evil\u{2066}\r\n\u{200b}\u{7f}";
    let mut overview = busy();
    overview.sessions[0].username = Some(EVIL.to_owned());
    overview.sessions[1].address = EVIL.to_owned();
    overview.conversations[0].id = format!("{EVIL}会話会話会話会話会話会話会話会話会話会話会話会話");
    overview.closed[0].detail = EVIL.to_owned();
    overview.warnings[0].text = EVIL.to_owned();
    overview.status.version = EVIL.to_owned();
    overview.mailboxes[0].actor = EVIL.to_owned();
    overview.mailboxes[1].kinds[0].message = EVIL.to_owned();
    let mut state = state(overview);
    state.failed(EVIL.to_owned(), Instant::now());
    state.filter = "\u{202e}".to_owned();
    let is_harmful = |c: char| c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c);
    for filter in ["\u{202e}", ""] {
        state.filter = filter.to_owned();
        for size in [(80, 24), (200, 60)] {
            let picture = drawn(&mut state, COLORS, size);
            assert!(!picture.content.iter().any(|cell| cell.symbol().chars().any(is_harmful)));
            let text = text(&mut state, Instant::now(), size.0);
            assert!(!text.lines().any(|line| line.chars().any(is_harmful)), "{text}");
        }
    }
    expect(&seen(&mut state, (200, 60)), &["\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}31m\\u{202e}evil"]);
}

#[test]
fn a_server_of_another_version_is_noted() {
    let mut overview = busy();
    overview.status.version = "9.9.9".to_owned();
    let mut state = state(overview);
    state.shown.as_mut().unwrap().left_out = 2;
    let own = format!("maxtalk 9.9.9 (this program is {VERSION}) serving");
    let lost = format!("entries of its lists that maxtalk {VERSION} cannot read: 2");
    expect(&seen(&mut state, (80, 24)), &[&own, &lost]);
}

#[test]
fn many_warnings_leave_room_for_the_tables() {
    let mut overview = busy();
    overview.warnings = vec![overview.warnings[0].clone(); 9];
    let picture = seen(&mut state(overview), (80, 24));
    expect(&picture, &["... and 15 more lines: enlarge the window", "SLOW SESSIONS 20", "user1", "c1"]);
}

#[test]
fn keys_change_what_is_seen() {
    let mut state = state(busy());
    let press = |state: &mut State, keys: &str| {
        keys.chars().for_each(|key| state.press(ratatui::crossterm::event::KeyCode::Char(key).into()));
        seen(state, (80, 24))
    };
    expect(&press(&mut state, "ss"), &["FOLDED v", "user19 10.0.0.19"]);
    expect(&press(&mut state, "r"), &["FOLDED ^", "user0 10.0.0.0"]);
    expect(&press(&mut state, "jj"), &["user2 10.0.0.2"]);
    expect(&press(&mut state, "/user1"), &["SLOW SESSIONS 11/20", "nothing has \"user1\"", "filter: user1_"]);
    state.press(ratatui::crossterm::event::KeyCode::Esc.into());
    expect(&press(&mut state, "p"), &["PAUSED"]);
    expect(&press(&mut state, "?"), &["maxtalk top", "any key closes it"]);
}

#[test]
fn as_text_the_picture_has_all_rows_and_nothing_but_text() {
    let picture = text(&mut state(busy()), Instant::now(), 80);
    expect(&picture, &["user19 10.0.0.19", "c19", "MAILBOX LIMIT", "raise mailbox.conversation"]);
    assert!(picture.lines().all(|line| crate::remote::text::width(line) <= 80 && !line.ends_with(' ')));
    assert!(!picture.contains('\u{1b}') && !picture.contains("q quit") && picture.ends_with("16 m\n"), "{picture}");
}
