//! A run of the load bench: connections in a ramp, talks at their pace, churn, and the accounts at the end.
//!
//! The load comes from threads, each with its share of the connections. This file has what they share with one another
//! and with the conductor.
//!
//! * `observer`: reads the metrics of the servers.
//! * `processes`: the CPU time and memory of their processes.
//! * `conductor`: directs the threads, watches the server's process, and assembles the report.
//! * `worker`: one thread.
//! * `audience`: its users as listeners.
//! * `speakers`, `script`: its users as talkers, and when each talk is due.
//! * `errors`: what went wrong, by kind.
//! * `person`: one user.
//! * `talks`: the talks in flight in one conversation.
//! * `alarm`: a timer that wakes a poll on time.

mod alarm;
mod audience;
mod conductor;
mod errors;
mod observer;
mod person;
mod processes;
mod script;
mod speakers;
mod talks;
#[cfg(test)]
mod tests;
mod worker;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::Waker;
use parking_lot::Mutex;

use self::conductor::Conductor;
use self::talks::Talks;
use super::client::Target;
use super::measure::{Distribution, SizeClass};
use super::mistakes::Hint;
use super::outcome::{Circumstances, Report};
use super::plan::{Layout, Plan, Schedule, Way};
use super::protocol::ChatProtocol;
use super::target::Scraper;
use crate::event::Token;

/// Everything that a run needs.
#[derive(Clone, Debug)]
pub struct Job {
    /// The plan of the run.
    pub plan: Plan,
    /// The endpoints to load: the server, or the nodes of one cluster. All have the same protocol. At least one.
    pub targets: Vec<Target>,
    /// Names and tokens in place of `user_prefix` and a number, in the order of the connections. May be empty.
    pub users: Vec<Credentials>,
    /// The processes of the targets, in their order, if they are on this machine and known. Empty otherwise.
    pub pids: Vec<u32>,
    /// The process of the Redis between the nodes, if it is on this machine and known.
    pub redis: Option<u32>,
    /// The metrics of the targets, if those of all can be read. Empty otherwise.
    pub metrics: Vec<Scraper>,
    /// Number of threads that make the load.
    pub threads: usize,
    /// Where and when the run is made.
    pub circumstances: Circumstances,
    /// Whether to show a progress bar on standard error. It is shown only on a terminal.
    pub progress: bool,
}

/// The name and token with which a connection joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The username. `None` for the prefix and a number.
    pub name: Option<String>,
    /// The token, if the user has one.
    pub token: Option<Token>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system has no thread, timer or file.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The process of `--pid` cannot be watched.
    #[error("process {pid} (flag --pid) cannot be watched: {cause}")]
    NoProcess {
        /// The process id.
        pid: u32,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// No connection got as far as `listening`.
    #[error(
        "nobody could join: {}{}{}",
        list(.errors),
        .named.map_or_else(String::new, |users| unknown(.errors, users)),
        hinted(.hint)
    )]
    NobodyJoined {
        /// The errors by kind, with their number.
        errors: Vec<(String, u64)>,
        /// What is likely wrong in the file of `--protocol`.
        hint: Option<Hint>,
        /// Number of users. `None` if a file named them.
        named: Option<usize>,
    },
    /// No talk would be heard by anybody.
    #[error(
        "no conversation has two of the {joined} users who joined, so that nobody would hear a talk: MAX has to know \
         users that share conversations (--user-prefix, --token-file){}", hinted(.hint)
    )]
    NobodyListens {
        /// Number of users that joined.
        joined: u64,
        /// What is likely wrong in the file of `--protocol`.
        hint: Option<Hint>,
    },
    /// A thread has panicked.
    #[error("a thread of the bench failed")]
    Thread,
}

/// Makes a run. It ends early, with the figures so far, when `interrupt` completes.
///
/// # Errors
/// There are no figures.
pub fn run(job: &Job, interrupt: impl Future<Output = ()>) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Conductor::start(job)?.conduct(interrupt))
}

/// The data that all threads share from the beginning.
struct Run {
    /// The prefix of the message ids of this run.
    id: String,
    plan: Plan,
    targets: Vec<Target>,
    users: Vec<User>,
    threads: usize,
    shares: Vec<Range<usize>>,
    /// The origin of times in µs.
    epoch: Instant,
    /// The orders for each thread.
    doors: Vec<Door>,
    counts: Counts,
    /// How long each thread has been busy rather than waiting.
    busy_ns: Vec<AtomicU64>,
    /// The latencies of the last second of each thread, until the progress bar shows them. Empty without a bar.
    live: Vec<Mutex<Option<Distribution<u32>>>>,
    /// Number of threads that have taken their seats.
    seated: AtomicUsize,
    /// The users that joined in the ramp, each with the ids of its conversations.
    heard: Mutex<Vec<(usize, Vec<String>)>>,
    /// Whether the server writes these ids as numbers.
    numbers: AtomicBool,
    /// Whether a file describes the protocol of the server.
    has_file: bool,
}

/// Counters of all threads.
#[derive(Default)]
struct Counts {
    joined: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    /// Leaves, and joins after the ramp, that the server failed to do.
    churn_failures: AtomicU64,
    /// Talks that could not be sent because of the server.
    not_taken: AtomicU64,
    leaves: AtomicU64,
    /// Talks that the server refused.
    refused_talks: AtomicU64,
    /// Those of them that were above the rate of a session.
    limited_talks: AtomicU64,
    /// Joins that the server refused.
    refused_joins: AtomicU64,
    deliveries: AtomicU64,
    /// Those of them whose talker is on another node.
    remote: AtomicU64,
    bytes: AtomicU64,
}

struct User {
    name: String,
    /// The name as the server writes it.
    heard_as: String,
    token: Option<Token>,
    way: Way,
    /// The number of its node, from 0.
    node: usize,
    slow: bool,
}

/// The facts known once all have joined.
struct Field {
    layout: Layout,
    /// `None` if nobody is to talk.
    schedule: Option<Schedule>,
    talks: Vec<Talks>,
    classes: Vec<SizeClass>,
    /// The node of the talker of each conversation.
    homes: Vec<usize>,
    /// The ids of the conversations as JSON.
    ids: Vec<String>,
    /// Whether talkers hear their own talks.
    echo: bool,
    /// Number of turns taken, in a closed loop.
    turn: AtomicU64,
    /// Number of things that the end of the run waits for: talks that not all members have heard (in a closed loop:
    /// their slots), and joins and leaves without an answer.
    under_way: AtomicUsize,
    /// Whether no further talks follow.
    over: AtomicBool,
}

impl Field {
    fn new(layout: Layout, schedule: Option<Schedule>, run: &Run) -> Self {
        let has_numbers = run.numbers.load(Ordering::Relaxed);
        let conversations = 0..layout.conversations();
        let written = |id: &str| if has_numbers { id.to_owned() } else { json(id) };
        Self {
            talks: conversations.clone().map(|_| Talks::default()).collect(),
            classes: conversations.clone().map(|conversation| SizeClass::of(layout.size(conversation))).collect(),
            homes: conversations.clone().map(|conversation| run.users[layout.talker(conversation)].node).collect(),
            ids: conversations.map(|conversation| written(layout.id(conversation).as_str())).collect(),
            layout,
            schedule,
            echo: run.protocol().echo,
            turn: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }
}

/// When talks are sent, in µs since the epoch of the run.
#[derive(Clone, Copy)]
struct Times {
    begin_us: u64,
    /// The end of the warm-up.
    measured_us: u64,
    end_us: u64,
}

/// An order to a thread. A thread begins with its share of the ramp, without an order.
#[derive(Clone)]
enum Order {
    /// Take the seats of this layout.
    Seats(Arc<Field>),
    /// Begin to talk.
    Talk(Times),
    /// Send the next talk of this conversation.
    Turn(usize),
    /// Stop talking, but keep listening. The measured time ends at this time, in µs, unless it has ended before.
    Quiet(u64),
    /// End, and close the ledgers.
    End,
}

/// The orders that a thread has not taken yet.
struct Door {
    orders: Mutex<Vec<Order>>,
    waker: Waker,
}

impl Door {
    fn tell(&self, order: Order) {
        let mut orders = self.orders.lock();
        // A thread with untaken orders is awake, or about to be.
        if orders.is_empty() {
            // If this fails, the thread takes its orders when it next wakes. A thread that talks wakes at least every
            // half second.
            let _ = self.waker.wake();
        }
        orders.push(order);
    }

    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut self.orders.lock())
    }
}

impl Run {
    fn protocol(&self) -> &ChatProtocol {
        &self.targets[0].protocol
    }

    /// Returns where a user is, for the kind of an error. Empty if there is one server.
    fn place(&self, number: usize) -> String {
        if self.targets.len() > 1 { format!(" (node {})", self.users[number].node + 1) } else { String::new() }
    }

    fn us(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.epoch).as_micros() as u64
    }

    fn now_us(&self) -> u64 {
        self.us(Instant::now())
    }

    fn instant(&self, us: u64) -> Instant {
        self.epoch + Duration::from_micros(us)
    }

    fn tell(&self, order: &Order) {
        self.doors.iter().for_each(|door| door.tell(order.clone()));
    }

    fn thread_of(&self, number: usize) -> usize {
        self.shares.partition_point(|share| share.end <= number)
    }
}

/// Returns the id of the next run of this process. A search makes many runs, and an overloaded server may still deliver
/// talks of the previous one.
fn run_id(random: u64) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}-{number}", std::process::id() ^ random as u32)
}

/// Whether `earlier` is the id of a run of this process before the run `id`.
fn is_earlier(earlier: &str, id: &str) -> bool {
    fn parts(id: &str) -> Option<(&str, u64)> {
        let (process, number) = id.rsplit_once('-')?;
        Some((process, number.parse().ok()?))
    }
    let (Some((process, number)), Some(current)) = (parts(earlier), parts(id)) else { return false };
    process == current.0 && number < current.1
}

/// Whether errors of this kind are those of a user that the server does not know.
pub(super) fn is_unknown_user(kind: &str) -> bool {
    ["unauthorized", "unknown_user"].iter().any(|code| kind.ends_with(&format!("refused with {code}")))
}

/// Returns how a server with the demo gets to know the users that the bench names.
pub(super) fn people_hint(users: usize) -> String {
    format!("If it is maxtalk with its demo, start it with MAXTALK_DEMO__PEOPLE={users}")
}

fn unknown(errors: &[(String, u64)], users: usize) -> String {
    let is_unknown = errors.iter().any(|(kind, _)| is_unknown_user(kind));
    if is_unknown { format!(". {}", people_hint(users)) } else { String::new() }
}

fn hinted(hint: &Option<Hint>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!(". {hint}"))
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(errors: &[(String, u64)]) -> String {
    let errors = errors.iter().map(|(error, count)| format!("{error} ({count})")).collect::<Vec<_>>();
    errors.join("; ")
}
