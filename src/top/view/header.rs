//! The lines above the tables: the server and its figures, and what an operator should look at.

use std::time::Instant;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::admin::model::Stage;
use crate::admin::model::cluster::Cluster;
use crate::admin::model::overview::{Level, Overview, Rates, Worker};
use crate::remote::text::{cut, printable, width, wrap};
use crate::top::figures::{age, bytes, clock, count, ms, percent, rate};
use crate::top::palette::{Palette, Tone};
use crate::top::state::{Link, State};
use crate::version::VERSION;

/// A figure with its name.
struct Figure {
    name: &'static str,
    value: String,
    tone: Tone,
}

/// Returns the lines with the server and its figures.
pub fn lines(state: &State, palette: Palette, columns: u16) -> Vec<Line<'static>> {
    let columns = usize::from(columns);
    let Some(overview) = state.overview() else {
        return vec![Line::raw(cut(&format!("maxtalk top  {}", state.server), columns))];
    };
    let mut lines = vec![first(state, overview, palette, columns)];
    lines.extend(flow(&figures(overview), palette, columns));
    lines
}

/// Returns the lines that tell what an operator should look at: first that the server does not answer. There are at
/// most `most` of them.
pub fn notes(state: &State, now: Instant, palette: Palette, columns: u16, most: u16) -> Vec<Line<'static>> {
    let (columns, most) = (usize::from(columns), usize::from(most));
    let mut lines = Vec::new();
    let mut add = |text: &str, tone: Tone| {
        lines.extend(wrap(text, columns).into_iter().map(|line| Line::styled(line, palette.style(tone))));
    };
    match &state.link {
        Link::First if state.shown.is_none() => add("waiting for the first answer", Tone::Dim),
        Link::First | Link::Up => {}
        Link::Down { reason, next } => add(&no_answer(state, reason, *next, now), Tone::Bad),
    }
    let overview = state.overview();
    for warning in overview.iter().flat_map(|overview| &overview.warnings) {
        let (mark, tone) = match warning.level {
            Level::Warning => ("!", Tone::Warn),
            Level::Critical => ("!!", Tone::Bad),
        };
        add(&printable(&format!("{mark} {}: {}", warning.text, warning.advice)), tone);
    }
    if let Some(left_out @ 1..) = state.shown.as_ref().map(|picture| picture.left_out) {
        add(&format!("entries of its lists that maxtalk {VERSION} cannot read: {left_out}"), Tone::Warn);
    }
    if lines.len() > most {
        let more = lines.len() + 1 - most;
        lines.truncate(most.saturating_sub(1));
        lines.push(Line::styled(format!("... and {more} more lines: enlarge the window"), palette.style(Tone::Warn)));
    }
    lines
}

fn no_answer(state: &State, reason: &str, next: Instant, now: Instant) -> String {
    let seconds = next.saturating_duration_since(now).as_millis().div_ceil(1000);
    let attempt = if seconds == 0 { "next attempt now".to_owned() } else { format!("next attempt in {seconds} s") };
    let figures = state.overview().map_or(String::new(), |overview| format!("; figures of {}", clock(overview.at_ms)));
    format!("NO ANSWER, {attempt}: {}{figures}", printable(reason))
}

/// Returns the line with the server, its version and its stage.
fn first(state: &State, overview: &Overview, palette: Palette, columns: usize) -> Line<'static> {
    let status = &overview.status;
    let mut parts = vec![(format!("maxtalk {}", status.version), Tone::Strong)];
    if status.version != VERSION {
        parts.push((format!("(this program is {VERSION})"), Tone::Warn));
    }
    if status.build == "debug" {
        parts.push(("debug build".to_owned(), Tone::Warn));
    }
    parts.push(match (status.stage, &overview.drain) {
        (Stage::Starting, _) => ("starting".to_owned(), Tone::Warn),
        (Stage::Serving, _) => ("serving".to_owned(), Tone::Good),
        (Stage::Draining, None) => ("draining".to_owned(), Tone::Warn),
        (Stage::Draining, Some(drain)) => {
            let (left, all) = (count(drain.left as u64), count(drain.sessions as u64));
            (format!("draining: {left} of {all} sessions left, {} to go", age(drain.due_in_ms)), Tone::Warn)
        }
    });
    parts.push((format!("up {}", age(status.uptime_ms)), Tone::Plain));
    if state.is_paused {
        parts.push(("PAUSED".to_owned(), Tone::Bad));
    }
    parts.push((clock(overview.at_ms), Tone::Dim));
    parts.push((state.server.clone(), Tone::Dim));
    let mut left = columns;
    let mut line = Line::default();
    for (text, tone) in parts {
        let text = cut(&printable(&text), left);
        left = left.saturating_sub(width(&text) + 2);
        line.push_span(Span::styled(text, palette.style(tone)));
        line.push_span("  ");
    }
    line
}

fn figures(overview: &Overview) -> Vec<Figure> {
    let (status, rates, max) = (&overview.status, &overview.rates, &overview.max);
    let figure = |name, value: String, tone| Figure { name, value, tone };
    let trouble = |name, per_second: f64, tone| {
        figure(name, rate(per_second), if per_second > 0.0 { tone } else { Tone::Strong })
    };
    let Rates { talks, deliveries, refused, folded, dropped, closed_as_slow, .. } = *rates;
    let delivery = format!("p50 {} p99 {}", ms(rates.delivery_p50_ms), ms(rates.delivery_p99_ms));
    let mut figures = vec![
        figure("sessions", count(status.sessions as u64), Tone::Strong),
        figure("conversations", count(status.conversations as u64), Tone::Strong),
        figure("talks/s", rate(talks), Tone::Strong),
        figure("deliveries/s", rate(deliveries), Tone::Strong),
        figure("delivery", delivery, Tone::Strong),
        trouble("refused/s", refused, Tone::Warn),
        trouble("folded/s", folded, Tone::Warn),
        trouble("closed as slow/s", closed_as_slow, Tone::Bad),
    ];
    if dropped > 0.0 {
        figures.push(trouble("dropped/s", dropped, Tone::Warn));
    }
    figures.push(figure("memory", memory(overview), Tone::Strong));
    figures.extend(overview.cluster.as_ref().map(cluster));
    figures.extend([
        figure("workers busy", busy(&overview.workers), Tone::Strong),
        figure("calls to MAX", format!("{} of {}, {} wait", max.inflight, max.limit, max.waiting), Tone::Strong),
    ]);
    let errors: f64 = max.errors.values().sum();
    if errors > 0.0 {
        figures.push(trouble("calls failed/s", errors, Tone::Bad));
    }
    figures
}

/// Returns the resident memory, and the bound on it: the limit, and otherwise that of the machine.
fn memory(overview: &Overview) -> String {
    let status = &overview.status;
    let Some(resident) = status.resident_bytes else { return "-".to_owned() };
    match status.limits.memory_bytes.unwrap_or(status.machine.memory_bytes) {
        0 => bytes(resident),
        bound => format!("{} of {}", bytes(resident), bytes(bound)),
    }
}

/// Returns whether the other nodes are reached: those that are heard and the slowest Redis, or the Redis that is away
/// for the longest time, and the reason.
fn cluster(cluster: &Cluster) -> Figure {
    const REASON_COLUMNS: usize = 40;
    let silent = cluster.peers.iter().filter(|peer| peer.silent).count();
    let mut nodes = match cluster.peers.len() {
        1 => "1 other node".to_owned(),
        all => format!("{all} other nodes"),
    };
    if silent > 0 {
        nodes += &format!(", {silent} silent");
    }
    let down = cluster.servers.iter().filter(|server| !server.up);
    let Some(longest) = down.clone().max_by_key(|server| server.down_ms) else {
        let lag = cluster.servers.iter().filter_map(|server| server.lag_ms).reduce(f64::max);
        let tone = if silent > 0 { Tone::Warn } else { Tone::Strong };
        return Figure { name: "cluster", value: format!("{nodes}, lag {}", ms(lag)), tone };
    };
    let which = match cluster.servers.len() {
        1 => "Redis".to_owned(),
        all => format!("{} of {all} Redis", down.count()),
    };
    let time = longest.down_ms.map_or_else(|| "-".to_owned(), age);
    let reason = cut(longest.reason.as_deref().unwrap_or("-"), REASON_COLUMNS);
    Figure { name: "cluster", value: format!("{which} down for {time}: {reason}, {nodes}"), tone: Tone::Bad }
}

/// Returns how busy each worker is; of many, only the busiest and the least busy one.
fn busy(workers: &[Worker]) -> String {
    const SHOWN_MAX: usize = 4;
    let shares = workers.iter().map(|worker| worker.busy);
    let lag = workers.iter().filter_map(|worker| worker.lag_p99_ms).reduce(f64::max);
    let shares = if workers.len() > SHOWN_MAX {
        let (least, most) = (shares.clone().fold(1.0, f64::min), shares.fold(0.0, f64::max));
        format!("{} to {} of {}", percent(least), percent(most), workers.len())
    } else {
        shares.map(percent).collect::<Vec<_>>().join(" ")
    };
    match lag {
        Some(_) => format!("{shares}, lag p99 {}", ms(lag)),
        None => shares,
    }
}

/// Puts figures into lines of at most this many columns.
fn flow(figures: &[Figure], palette: Palette, columns: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    let mut taken = 0;
    for Figure { name, value, tone } in figures {
        let value = printable(value);
        let needed = width(name) + 1 + width(&value);
        let gap = if taken == 0 { 0 } else { 3 };
        if taken > 0 && taken + gap + needed > columns {
            lines.push(Line::default());
            taken = 0;
        } else if let (Some(line), 1..) = (lines.last_mut(), gap) {
            line.push_span(Span::styled(" ".repeat(gap), Style::new()));
            taken += gap;
        }
        taken += needed;
        if let Some(line) = lines.last_mut() {
            line.push_span(Span::styled(format!("{name} "), palette.style(Tone::Dim)));
            line.push_span(Span::styled(value, palette.style(*tone)));
        }
    }
    lines
}
