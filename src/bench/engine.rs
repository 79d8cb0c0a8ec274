//! A run of the load bench: connections in a ramp, talks at their pace, churn, and the end with its accounts.
//!
//! The load comes from threads of its own, each with its share of the connections; here is what they and who conducts
//! them know of each other.
//!
//! * `conductor`: who tells the threads what the time is, watches the server's process, and puts the report together.
//! * `worker`: one thread.
//! * `audience`: its users as those who hear.
//! * `speakers`, `script`: its users as those who talk; what is due when.
//! * `errors`: what went wrong for them.
//! * `person`: one of them.
//! * `talks`: what is under way in one conversation.
//! * `alarm`: a clock that wakes in time.

mod alarm;
mod audience;
mod conductor;
mod errors;
mod person;
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
use super::measure::SizeClass;
use super::outcome::{Circumstances, Report};
use super::plan::{Layout, Plan, Schedule, Way};
use crate::event::Token;

/// All that a run needs to know.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is to be done.
    pub plan: Plan,
    /// Where.
    pub target: Target,
    /// What users give in the place of `user_prefix` and a number, in the order of the connections.
    pub users: Vec<Credentials>,
    /// The server's process, where it runs on this machine and is known.
    pub pid: Option<u32>,
    /// Threads that make the load.
    pub threads: usize,
    /// When, and where it runs.
    pub circumstances: Circumstances,
    /// Whether standard error shows a progress bar. It does so on a terminal only.
    pub progress: bool,
}

/// As whom a connection joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The username, where it is not made up from a prefix and a number.
    pub name: Option<String>,
    /// The token, if there is one.
    pub token: Option<Token>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system has no thread, timer or file for us.
    #[error(transparent)]
    System(#[from] io::Error),
    /// No process has the id of `--pid`.
    #[error("process {pid} (flag --pid) cannot be watched: {cause}")]
    NoProcess {
        /// The id.
        pid: u32,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Not one connection got as far as `listening`.
    #[error("nobody could join: {}", list(.errors))]
    NobodyJoined {
        /// What happened to them, and to how many.
        errors: Vec<(String, u64)>,
    },
    /// There is nothing to measure.
    #[error(
        "no conversation has two of the {joined} users who joined, so that nobody would hear a talk: MAX has to know \
         users that share conversations (--user-prefix, --token-file)"
    )]
    NobodyListens {
        /// How many are connected.
        joined: u64,
    },
    /// A thread has panicked.
    #[error("a thread of the bench failed")]
    Thread,
}

/// Makes the run. It ends before its time, with the figures so far, when `interrupt` does.
///
/// # Errors
/// Where there are no figures.
pub fn run(job: &Job, interrupt: impl Future<Output = ()>) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Conductor::start(job)?.conduct(interrupt))
}

/// What all threads know from the beginning, and what they count.
struct Run {
    /// Marks the messages of this run.
    id: String,
    plan: Plan,
    target: Target,
    users: Vec<User>,
    threads: usize,
    shares: Vec<Range<usize>>,
    /// Where times in µs count from.
    epoch: Instant,
    /// Where the threads are told what to do, in their order.
    doors: Vec<Door>,
    counts: Counts,
    /// For how long each thread has not waited for something to happen.
    busy_ns: Vec<AtomicU64>,
    /// Threads whose connections have taken their seats.
    seated: AtomicUsize,
    /// Who has heard which ids in the ramp.
    heard: Mutex<Vec<(usize, Vec<String>)>>,
}

/// What all threads count.
#[derive(Default)]
struct Counts {
    joined: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    /// Leaves, and joins after the ramp, that the server has not done as it should.
    churn_failures: AtomicU64,
    /// Talks that could not be sent because of the server.
    not_taken: AtomicU64,
    leaves: AtomicU64,
    deliveries: AtomicU64,
    bytes: AtomicU64,
}

struct User {
    name: String,
    /// MAX and the server say names in lower case.
    heard_as: String,
    token: Option<Token>,
    way: Way,
    slow: bool,
}

/// What is known when everybody has joined.
struct Field {
    layout: Layout,
    /// None where nobody is to talk.
    schedule: Option<Schedule>,
    talks: Vec<Talks>,
    classes: Vec<SizeClass>,
    /// The ids of the conversations as JSON.
    ids: Vec<String>,
    /// Turns taken, in a closed loop.
    turn: AtomicU64,
    /// What the end waits for: talks, or in a closed loop their slots, that have not been heard by all, and joins and
    /// leaves.
    under_way: AtomicUsize,
    /// No more talks.
    over: AtomicBool,
}

impl Field {
    fn new(layout: Layout, schedule: Option<Schedule>) -> Self {
        let conversations = 0..layout.conversations();
        Self {
            talks: conversations.clone().map(|_| Talks::default()).collect(),
            classes: conversations.clone().map(|conversation| SizeClass::of(layout.size(conversation))).collect(),
            ids: conversations.map(|conversation| json(layout.id(conversation).as_str())).collect(),
            layout,
            schedule,
            turn: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }
}

/// When talks are to be sent.
#[derive(Clone, Copy)]
struct Times {
    begin_us: u64,
    /// When the warm-up is over.
    measured_us: u64,
    end_us: u64,
}

/// What a thread is told. It begins with the ramp.
#[derive(Clone)]
enum Order {
    /// Take the seats of this layout.
    Seats(Arc<Field>),
    /// Talk.
    Talk(Times),
    /// The turn of this conversation has come.
    Turn(usize),
    /// Talk no more, but hear. The measured time was over at this time, or before.
    Quiet(u64),
    /// Close the ledgers.
    End,
}

/// Where a thread is told what to do.
struct Door {
    orders: Mutex<Vec<Order>>,
    waker: Waker,
}

impl Door {
    fn tell(&self, order: Order) {
        let mut orders = self.orders.lock();
        // Who has not yet looked is awake, or will be.
        if orders.is_empty() {
            // Should it fail, orders are looked at whenever a thread is awake, which one that talks is every half a
            // second.
            let _ = self.waker.wake();
        }
        orders.push(order);
    }

    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut self.orders.lock())
    }
}

impl Run {
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

/// Marks the messages of the next run of this process. A search makes many runs, and an overloaded server may still
/// have something to say of the last one.
fn run_id(random: u64) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}-{number}", std::process::id() ^ random as u32)
}

/// Whether the run of this id was one of this process, and before the run `id`.
fn is_earlier(earlier: &str, id: &str) -> bool {
    fn parts(id: &str) -> Option<(&str, u64)> {
        let (process, number) = id.rsplit_once('-')?;
        Some((process, number.parse().ok()?))
    }
    let (Some((process, number)), Some(current)) = (parts(earlier), parts(id)) else { return false };
    process == current.0 && number < current.1
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(errors: &[(String, u64)]) -> String {
    let errors = errors.iter().map(|(error, count)| format!("{error} ({count})")).collect::<Vec<_>>();
    errors.join("; ")
}
