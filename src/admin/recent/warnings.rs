//! Warnings in words: the states of the server that an operator should look at, each with its figures and with advice.
//! Pure: the time is an argument.
//!
//! A state becomes a warning when it has lasted for a while, and stays one for a while after it was seen last, so that
//! the list does not flicker.

mod nodes;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::figures::Figures;
use crate::admin::model::Status;
use crate::admin::model::cluster::Cluster;
use crate::admin::model::overview::{Drain, Level, Mailbox, Max, Warning, Worker};
use crate::limits::clients::FULL_PERCENT;
use crate::metrics::ActorClass;

/// How long most warnings stay after their state was seen last.
const HOLD_MS: u64 = 30_000;

/// How long the warning of a panic stays.
const PANIC_HOLD_MS: u64 = 900_000;

/// A state that is not seen for this long has ended. One sample without it does not end it.
const GAP_MS: u64 = 2500;

/// Percentage of a limit from which on a mailbox, or the connections, are near it.
const NEAR_PERCENT: u64 = 80;

/// The share of its time from which on a thread is busy.
const BUSY: f64 = 0.9;

/// The lag of a thread that is late, in milliseconds.
const LATE_MS: f64 = 100.0;

/// The most threads that a warning names.
const NAMED: usize = 4;

/// The server at one moment.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The figures of the last second.
    pub figures: &'a Figures,
    /// The size and the bounds of the server.
    pub status: &'a Status,
    /// Its drain, if it drains.
    pub drain: Option<Drain>,
    /// The other nodes.
    pub cluster: &'a Cluster,
}

/// A state that was seen at one moment.
struct Finding {
    id: String,
    level: Level,
    /// Gets the time that the state has lasted, in words.
    text: Box<dyn Fn(&str) -> String>,
    advice: String,
    /// How long the state has to last before it is a warning, in milliseconds.
    after_ms: u64,
    /// How long the warning stays after the state was seen last, in milliseconds.
    hold_ms: u64,
}

impl Finding {
    fn new(id: impl Into<String>, level: Level, text: impl Into<String>, advice: impl Into<String>) -> Self {
        let text = text.into();
        Self::lasting(id, level, 0, move |_| text.clone(), advice)
    }

    fn lasting(
        id: impl Into<String>,
        level: Level,
        after_ms: u64,
        text: impl Fn(&str) -> String + 'static,
        advice: impl Into<String>,
    ) -> Self {
        let (text, advice) = (Box::new(text), advice.into());
        Self { id: id.into(), level, text, advice, after_ms, hold_ms: HOLD_MS }
    }
}

/// The states that were seen lately.
#[derive(Debug, Default)]
pub struct Warnings(BTreeMap<String, State>);

#[derive(Debug)]
struct State {
    since_ms: u64,
    seen_ms: u64,
    /// When it was seen last after it had lasted long enough, and the warning in its form of then.
    told: Option<(u64, Warning)>,
    hold_ms: u64,
}

impl Warnings {
    /// Takes the situation at `now_ms`, by a clock that is never set. Returns the warnings, the critical ones first.
    pub fn update(&mut self, situation: &Situation<'_>, now_ms: u64) -> Vec<Warning> {
        for Finding { id, level, text, advice, after_ms, hold_ms } in findings(situation) {
            let new = || State { since_ms: now_ms, seen_ms: now_ms, told: None, hold_ms };
            let state = self.0.entry(id.clone()).or_insert_with(new);
            if now_ms.saturating_sub(state.seen_ms) > GAP_MS {
                state.since_ms = now_ms;
            }
            state.seen_ms = now_ms;
            let lasted_ms = now_ms.saturating_sub(state.since_ms);
            if lasted_ms >= after_ms {
                state.told = Some((now_ms, Warning { id, level, text: text(&time(lasted_ms)), advice }));
            }
        }
        self.0.retain(|_, state| state.shown(now_ms).is_some() || now_ms.saturating_sub(state.seen_ms) <= GAP_MS);
        let mut warnings: Vec<_> = self.0.values().filter_map(|state| state.shown(now_ms)).collect();
        warnings.sort_by_key(|warning| Reverse(warning.level));
        warnings
    }
}

impl State {
    /// Returns the warning, if there is one now.
    fn shown(&self, now_ms: u64) -> Option<Warning> {
        let (told_ms, mut warning) = self.told.clone()?;
        let ago_ms = now_ms.saturating_sub(told_ms);
        if ago_ms > GAP_MS {
            warning.text += &format!(" Last seen {} ago.", time(ago_ms));
        }
        (ago_ms <= self.hold_ms).then_some(warning)
    }
}

fn findings(situation: &Situation<'_>) -> Vec<Finding> {
    let Situation { figures, status, drain, cluster } = situation;
    let mut findings = Vec::new();
    for (class, (mailbox, depth)) in ActorClass::ALL.into_iter().zip(figures.mailboxes.iter().zip(&figures.depths)) {
        findings.extend(of_mailbox(class, mailbox, *depth, &figures.workers));
    }
    for (class, panics) in ActorClass::ALL.into_iter().zip(&figures.panics) {
        findings.extend((*panics > 0).then(|| of_panics(class, *panics)));
    }
    findings.extend(of_workers(&figures.workers));
    findings.extend(of_readers(figures));
    findings.extend(of_max(&figures.max, figures.max_failures_per_second));
    findings.extend(of_limits(status));
    findings.extend(nodes::of_cluster(cluster, &status.version));
    findings.extend(drain.map(of_drain));
    findings
}

/// Returns whose mailbox one of a class is.
fn whose(class: ActorClass) -> &'static str {
    match class {
        ActorClass::Session => "mailbox of a session",
        ActorClass::Conversation => "mailbox of a conversation",
        ActorClass::Registry => "mailbox of the registry",
        ActorClass::Max => "queue in front of MAX",
    }
}

/// Returns the busiest thread among those that run actors of a class.
fn busiest(class: ActorClass, workers: &[Worker]) -> Option<&Worker> {
    let runs = |worker: &&Worker| match class {
        ActorClass::Session | ActorClass::Conversation => worker.worker != "registry",
        ActorClass::Registry => worker.worker == "registry",
        ActorClass::Max => false,
    };
    workers.iter().filter(runs).max_by(|a, b| a.busy.total_cmp(&b.busy))
}

fn of_mailbox(class: ActorClass, mailbox: &Mailbox, depth: usize, workers: &[Worker]) -> Vec<Finding> {
    let Mailbox { actor, capacity, setting, refused_full_per_second: refused, .. } = mailbox;
    let busiest = busiest(class, workers);
    let busy = match busiest {
        Some(worker) if class == ActorClass::Registry => format!("; its thread is busy {}", percent(worker.busy)),
        Some(worker) => format!("; the busiest worker, {}, is busy {}", worker.worker, percent(worker.busy)),
        None => String::new(),
    };
    let advice = match busiest {
        _ if class == ActorClass::Max => format!(
            "Look at the times and errors of MAX. If MAX can take more calls at once, raise max.inflight_max; a higher \
             {setting} only lets joins wait longer."
        ),
        Some(worker) if worker.busy > BUSY => format!(
            "The thread is the bottleneck, so a higher {setting} only makes messages wait longer. Find the hot \
             conversation in the table; add workers, cores or machines."
        ),
        _ => format!(
            "The load comes in bursts. If the wait ({} at p99) is short enough, raise {setting}.",
            mailbox.wait_p99_ms.map_or_else(|| "nothing waited".to_owned(), |ms| format!("{} ms", figure(ms)))
        ),
    };
    let mut findings = Vec::new();
    if *refused > 0.0 {
        let text = format!(
            "A full {} refuses messages: {} a second, at the limit of {capacity}{busy}.",
            whose(class),
            figure(*refused)
        );
        findings.push(Finding::new(format!("mailbox_full:{actor}"), Level::Critical, text, advice.clone()));
    }
    let is_near = *capacity > 0 && depth as u64 * 100 > *capacity as u64 * NEAR_PERCENT;
    if is_near || *refused > 0.0 {
        let (whose, capacity) = (whose(class), *capacity);
        let text = move |time: &str| {
            format!("The {whose} has been above {NEAR_PERCENT} % of its limit of {capacity} for {time}{busy}.")
        };
        findings.push(Finding::lasting(format!("mailbox_near_limit:{actor}"), Level::Warning, 30_000, text, advice));
    }
    findings
}

fn of_panics(class: ActorClass, panics: u64) -> Finding {
    let actor = class.as_str();
    let text = format!("Actors of the class {actor} have panicked: {panics}.");
    let advice = "The log has the message and the place. It is a fault of maxtalk: report it.";
    Finding { hold_ms: PANIC_HOLD_MS, ..Finding::new(format!("actor_panicked:{actor}"), Level::Critical, text, advice) }
}

fn of_workers(workers: &[Worker]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let busy: Vec<_> = workers.iter().filter(|worker| worker.busy > BUSY).collect();
    if !busy.is_empty() {
        let (names, all) = (list(&busy, |worker| percent(worker.busy)), workers.len());
        let text =
            move |time: &str| format!("For {time}, threads have been busy for more than 90 % of their time: {names}.");
        let advice = if busy.len() == 1 && all > 2 {
            "Everything on the thread waits. On a worker, one conversation is probably hot: find it in the table. \
             On the thread of the registry, joins are too many."
        } else {
            "Everything on the threads waits. Add workers, cores or machines."
        };
        findings.push(Finding::lasting("workers_busy", Level::Warning, 10_000, text, advice));
    }
    let lag = |worker: &Worker| worker.lag_p99_ms.unwrap_or(0.0);
    let late: Vec<_> = workers.iter().filter(|worker| lag(worker) > LATE_MS).collect();
    if !late.is_empty() {
        let names = list(&late, |worker| format!("{} ms at p99", figure(lag(worker))));
        let text = move |time: &str| format!("For {time}, threads have woken late: {names}.");
        let advice = "Their tasks take long turns, or the machine gives them too little time: look at the handling \
                      times, and at what else runs on this machine.";
        findings.push(Finding::lasting("workers_late", Level::Warning, 3000, text, advice));
    }
    findings
}

/// Writes the names of threads, each with a figure. Only the first of many are named.
fn list(workers: &[&Worker], figure: impl Fn(&Worker) -> String) -> String {
    let name = |worker: &Worker| match worker.worker.as_str() {
        "registry" => "the registry".to_owned(),
        number => format!("worker {number}"),
    };
    let named = workers.iter().take(NAMED).map(|worker| format!("{} ({})", name(worker), figure(worker)));
    let named = named.collect::<Vec<_>>().join(", ");
    match workers.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn of_readers(figures: &Figures) -> Vec<Finding> {
    let rates = &figures.rates;
    let table = [
        (
            "readers_closed",
            Level::Critical,
            rates.closed_as_slow,
            "Sessions are closed because their clients read too slowly",
            "The table of closed sessions names them. Raise outbox.grace_ms or outbox.messages_max if they are slow \
             only for a while.",
        ),
        (
            "readers_folded",
            Level::Warning,
            rates.folded,
            "News is folded for clients that read too slowly",
            "The table of slow sessions names them. If many are slow, look at the network between them and this \
             server.",
        ),
        (
            "readers_dropped",
            Level::Warning,
            rates.dropped,
            "News is left out for clients that read too slowly",
            "The table of slow sessions names them. With outbox.policy = \"fold\" they would hear what they have \
             missed.",
        ),
    ];
    let found = table.into_iter().filter(|(_, _, rate, ..)| *rate > 0.0);
    found
        .map(|(id, level, rate, what, advice)| {
            Finding::new(id, level, format!("{what}: {} a second.", figure(rate)), advice)
        })
        .collect()
}

fn of_max(max: &Max, failures: f64) -> Vec<Finding> {
    let Max { inflight, limit, inflight_max, waiting, calls_per_second: calls, .. } = max;
    let mut findings = Vec::new();
    if failures > 0.0 {
        let level = if failures * 2.0 >= *calls { Level::Critical } else { Level::Warning };
        let most = max.errors.iter().filter(|(result, _)| result.as_str() != "4xx").max_by(|a, b| a.1.total_cmp(b.1));
        let most = most.map_or_else(String::new, |(result, _)| format!(", most of them by {result}"));
        let text = format!("Calls to MAX fail: {} of {} a second{most}.", figure(failures), figure(*calls));
        let advice = "Joins are refused while MAX fails. Look at MAX, and at the network between it and this server.";
        findings.push(Finding::new("max_failing", level, text, advice));
    }
    if *waiting > 0 && inflight >= limit {
        let lowered = if limit < inflight_max {
            format!(" The limit is below max.inflight_max = {inflight_max} because MAX is slow.")
        } else {
            String::new()
        };
        let (waiting, limit) = (*waiting, *limit);
        let text = move |time: &str| {
            format!(
                "All {limit} calls to MAX that may be under way have been so for {time}, and {waiting} joins \
                 wait.{lowered}"
            )
        };
        let advice = "Joins take longer. If MAX can take more calls at once, raise max.inflight_max.";
        findings.push(Finding::lasting("max_at_limit", Level::Warning, 5000, text, advice));
    }
    findings
}

fn of_limits(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let limits = &status.limits;
    if let (Some(used), Some(limit)) = (status.resident_bytes, limits.memory_bytes)
        && used.saturating_mul(100) >= limit.saturating_mul(FULL_PERCENT.into())
    {
        let mib = |bytes: u64| bytes >> 20;
        let text = format!(
            "The process uses {} of {} MiB of memory, {} %. From {FULL_PERCENT} % on, no new sessions are opened.",
            mib(used),
            mib(limit),
            used.saturating_mul(100) / limit.max(1)
        );
        let advice = "Give the process more memory (limits.memory_bytes_max, or the control group), or lower \
                      limits.sessions_max or outbox.bytes_max. maxtalk check says what takes how much.";
        findings.push(Finding::new("memory_near_limit", Level::Critical, text, advice));
    }
    let (open, max) = (status.connections as u64, limits.connections as u64);
    if open.saturating_mul(100) >= max.saturating_mul(NEAR_PERCENT) {
        let level = if open >= max { Level::Critical } else { Level::Warning };
        let text = format!("{open} of {max} connections of clients are open.");
        let advice = format!(
            "Beyond that, clients are refused. Raise limits.connections_max, and the limit on open files, which is {} \
             (ulimit -n, or LimitNOFILE of systemd).",
            limits.files
        );
        findings.push(Finding::new("connections_near_limit", level, text, advice));
    }
    findings
}

fn of_drain(drain: Drain) -> Finding {
    let Drain { sessions, left, due_in_ms } = drain;
    let text = format!("The server drains: {left} of {sessions} sessions are left, due in {}.", time(due_in_ms));
    let advice = "It opens no new sessions, and ends when none is left. A second SIGTERM ends it at once.";
    Finding { hold_ms: 0, ..Finding::new("draining", Level::Warning, text, advice) }
}

/// Writes a length of time.
fn time(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Writes a number with at least two significant digits.
fn figure(number: f64) -> String {
    if number >= 10.0 || number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

#[cfg(test)]
pub mod tests;
