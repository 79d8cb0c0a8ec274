//! A run of the load bench: connections in a ramp, talks at their pace, churn, and the end with its accounts.
//!
//! The load comes from threads of its own, each with its share of the connections; here is who tells them what the time
//! is, watches the server's process, and puts the report together.
//!
//! * `worker`: one thread.
//! * `audience`: its users as those who hear.
//! * `speakers`: its users as those who talk.
//! * `errors`: what went wrong for them.
//! * `person`: one of them.
//! * `talks`: what is under way in one conversation.
//! * `alarm`: a clock that wakes in time.

mod alarm;
mod audience;
mod errors;
mod person;
mod speakers;
mod talks;
#[cfg(test)]
mod tests;
mod worker;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio::{Poll, Waker};
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use self::audience::Notes;
use self::errors::Errors;
use self::talks::Talks;
use self::worker::{DOOR, Worker};
use super::client::Target;
use super::ledger::Tally;
use super::measure::{Recorder, SizeClass};
use super::plan::{self, Layout, Pace, Plan, Random, Schedule, Way};
use super::report::{Circumstances, Generator, Report, Server};
use super::target::{self, Process};
use crate::event::Token;

/// Between two looks at what cannot be waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Between two looks at the server's memory, and two strokes of the progress bar.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// The server is at rest when it has said nothing for this time, and used no more than one tick of its CPU; or when it
/// never comes to it.
const REST_INTERVAL: Duration = Duration::from_millis(200);
const REST_CPU_MAX: Duration = Duration::from_millis(10);
const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// From the seats to the first talk.
const LEAD: Duration = Duration::from_millis(20);
/// How long what is under way at the end may take to be heard.
const GRACE: Duration = Duration::from_secs(5);
/// What comes twice comes soon after the first.
const ECHO: Duration = Duration::from_millis(100);

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
    joined: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    /// Leaves, and joins after the ramp, that the server has not done as it should.
    churn_failures: AtomicU64,
    /// Talks that could not be sent because of the server.
    not_taken: AtomicU64,
    deliveries: AtomicU64,
    bytes: AtomicU64,
    /// For how long each thread has not waited for something to happen.
    busy_ns: Vec<AtomicU64>,
    /// Threads whose connections have taken their seats.
    seated: AtomicUsize,
    /// Who has heard which ids in the ramp.
    heard: Mutex<Vec<(usize, Vec<String>)>>,
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
    /// Talk no more, but hear.
    Quiet,
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

/// Who tells the threads what the time is.
struct Conductor<'a> {
    job: &'a Job,
    run: Arc<Run>,
    threads: Vec<JoinHandle<io::Result<Notes>>>,
    server: Option<Process>,
    figures: Server,
    bar: ProgressBar,
    interrupted: bool,
}

impl<'a> Conductor<'a> {
    fn start(job: &'a Job) -> Result<Self, RunError> {
        let watched = |pid| Process::of(pid).map_err(|cause| RunError::NoProcess { pid, cause });
        let server = job.pid.map(watched).transpose()?;
        let figures = match &server {
            Some(server) => Server { rss_before: server.rss(), cpu: server.cpu(), ..Server::default() },
            None => Server::default(),
        };
        let plan = &job.plan;
        let mut random = Random::new(plan.seed);
        let mut slow = vec![false; plan.connections];
        slow[..(plan.slow_share * plan.connections as f64).round() as usize].fill(true);
        random.shuffle(&mut slow);
        let users = plan::ways(plan).zip(slow).enumerate().map(|(number, (way, slow))| {
            let Credentials { name, token } = job.users.get(number).cloned().unwrap_or_default();
            let name = name.unwrap_or_else(|| format!("{}{number}", plan.user_prefix));
            User { heard_as: name.to_lowercase(), name, token, way, slow }
        });
        let threads = job.threads.clamp(1, plan.connections.max(1));
        let shares = (0..threads).map(|at| at * plan.connections / threads..(at + 1) * plan.connections / threads);
        let polls = (0..threads).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let door = |poll: &Poll| Ok(Door { orders: Mutex::default(), waker: Waker::new(poll.registry(), DOOR)? });
        let run = Arc::new(Run {
            id: run_id(random.number()),
            plan: plan.clone(),
            target: job.target.clone(),
            users: users.collect(),
            threads,
            shares: shares.collect(),
            epoch: Instant::now(),
            doors: polls.iter().map(door).collect::<io::Result<_>>()?,
            joined: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            churn_failures: AtomicU64::new(0),
            not_taken: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            busy_ns: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            seated: AtomicUsize::new(0),
            heard: Mutex::default(),
        });
        let spawned = polls.into_iter().enumerate().map(|(index, poll)| {
            let run = Arc::clone(&run);
            let share = run.shares[index].clone();
            let name = format!("bench-{index}");
            thread::Builder::new().name(name).spawn(move || Worker::run(run, poll, index, share))
        });
        let threads = spawned.collect::<io::Result<_>>()?;
        let bar = if job.progress { bar() } else { ProgressBar::hidden() };
        Ok(Self { job, run, threads, server, figures, bar, interrupted: false })
    }

    async fn conduct(mut self, interrupt: impl Future<Output = ()>) -> Result<Report, RunError> {
        let mut interrupt = pin!(interrupt);
        let joined = or_interrupted(interrupt.as_mut(), self.everybody_joins()).await;
        self.interrupted = joined.is_none();
        let joined = self.run.joined.load(Ordering::Relaxed);
        let before = self.figures.cpu;
        if let Some(server) = &self.server {
            self.figures.rss_joined = server.rss();
            let cpu = server.cpu().saturating_sub(before);
            self.figures.cpu_per_join = cpu.as_secs_f64() * 1e6 / joined.max(1) as f64;
        }
        let layout = self.layout();
        let mut report = Report {
            circumstances: self.job.circumstances.clone(),
            plan: self.run.plan.clone(),
            conversations: layout.conversations(),
            members_max: layout.members_max(),
            measured: Duration::ZERO,
            interrupted: false,
            joins: Default::default(),
            corrected: Default::default(),
            raw: Default::default(),
            last: Default::default(),
            seconds: Vec::new(),
            spreads: Vec::new(),
            accounts: Default::default(),
            received_bytes: None,
            connections_lost: 0,
            churn_failures: 0,
            talks_not_taken: 0,
            knee: None,
            errors: Vec::new(),
            generator: Generator::default(),
            server: None,
        };
        // It is MAX that has decided who is where.
        let members = (0..layout.conversations()).map(|conversation| layout.size(conversation)).sum::<usize>();
        if let Some(members) = members.checked_div(layout.conversations()) {
            report.plan.members = members;
        }
        let rate = match self.run.plan.pace {
            Pace::Open { rate } => rate,
            // Who takes turns needs their order only.
            Pace::Closed { .. } => 1.0,
        };
        let schedule = Schedule::new(&layout, rate, self.run.plan.seed);
        let is_silent = schedule.is_none() && rate > 0.0;
        if !self.interrupted && !is_silent {
            let field = Arc::new(Field::new(layout, schedule));
            self.talks(&field, &mut report, interrupt).await;
        }
        let (recorder, tally, errors) = self.end()?;
        if joined == 0 && !self.interrupted {
            return Err(RunError::NobodyJoined { errors: errors.into_iter().collect() });
        }
        if is_silent && !self.interrupted {
            return Err(RunError::NobodyListens { joined });
        }
        report.interrupted = self.interrupted;
        report.joins = recorder.joins().latency();
        report.corrected = recorder.corrected().latency();
        report.raw = recorder.raw().latency();
        report.last = recorder.last().latency();
        report.seconds = recorder.seconds(report.measured);
        report.spreads = recorder.spreads();
        report.generator.lag_p99 = recorder.lag().percentile(99.0);
        report.generator.lag_max = recorder.lag().latency().max;
        report.accounts = tally.accounts();
        report.connections_lost = self.run.lost.load(Ordering::Relaxed) + self.run.failed.load(Ordering::Relaxed);
        report.churn_failures = self.run.churn_failures.load(Ordering::Relaxed);
        report.talks_not_taken = self.run.not_taken.load(Ordering::Relaxed);
        let strays = tally.strays().map(|(stray, count)| (stray.as_str().to_owned(), count));
        report.errors = errors.into_iter().chain(strays).collect();
        report.server = self.server.as_ref().map(|_| self.figures);
        Ok(report)
    }

    fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until every connection is listening, or never will be, and the server has come to rest.
    async fn everybody_joins(&self) {
        let run = &self.run;
        self.bar.set_length(run.plan.connections as u64);
        self.bar.set_message("joining");
        loop {
            let (joined, failed) = (run.joined.load(Ordering::Relaxed), run.failed.load(Ordering::Relaxed));
            self.bar.set_position(joined + failed);
            if joined + failed >= run.plan.connections as u64 || self.has_failed() {
                break;
            }
            sleep(LOOK_INTERVAL).await;
        }
        // What is still on its way to those who have joined belongs to the joins.
        let deadline = Instant::now() + REST_TIMEOUT;
        let busy = || {
            let cpu = self.server.as_ref().map(Process::cpu).unwrap_or_default();
            (cpu, run.bytes.load(Ordering::Relaxed))
        };
        let mut before = busy();
        while Instant::now() < deadline {
            sleep(REST_INTERVAL).await;
            let now = busy();
            if now.0.saturating_sub(before.0) <= REST_CPU_MAX && now.1 == before.1 {
                break;
            }
            before = now;
        }
    }

    /// Who is in which conversation, of those who read.
    fn layout(&self) -> Layout {
        let heard = self.run.heard.lock();
        let readers = heard.iter().filter(|(number, _)| !self.run.users[*number].slow);
        Layout::learnt(readers.map(|(number, ids)| (*number, ids.iter().map(String::as_str))))
    }

    /// Warm-up, the measured time, and the grace for what is then still under way.
    async fn talks(
        &mut self,
        field: &Arc<Field>,
        report: &mut Report,
        interrupt: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) {
        let run = Arc::clone(&self.run);
        let mut interrupt = interrupt;
        run.tell(&Order::Seats(Arc::clone(field)));
        let threads = run.threads;
        let seats = async {
            while run.seated.load(Ordering::Acquire) < threads && !self.has_failed() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if or_interrupted(interrupt.as_mut(), seats).await.is_none() {
            self.interrupted = true;
            return;
        }
        let begin = Instant::now() + LEAD;
        let measured = begin + run.plan.warm_up;
        let end = measured + run.plan.duration;
        let times = Times { begin_us: run.us(begin), measured_us: run.us(measured), end_us: run.us(end) };
        run.tell(&Order::Talk(times));

        self.bar.set_message("warming up");
        self.interrupted = or_interrupted(interrupt.as_mut(), sleep_until(measured.into())).await.is_none();
        let before = self.sample();
        if !self.interrupted {
            self.bar.reset();
            self.bar.set_length(run.plan.duration.as_millis() as u64);
            let mut figures = self.figures;
            let watched = self.watch(&mut figures, before.at, end);
            self.interrupted = or_interrupted(interrupt.as_mut(), watched).await.is_none();
            self.figures = figures;
        }
        let after = self.sample();
        let elapsed = after.at.saturating_duration_since(before.at);
        report.measured = elapsed.min(run.plan.duration);
        report.received_bytes = Some(after.bytes - before.bytes);
        self.figures.cpu = after.server.saturating_sub(before.server);
        let deliveries = (after.deliveries - before.deliveries).max(1);
        self.figures.cpu_per_delivery = self.figures.cpu.as_secs_f64() * 1e6 / deliveries as f64;
        report.generator.busy_share = after.generator_since(&before) / elapsed.as_secs_f64().max(1e-9);

        field.over.store(true, Ordering::Relaxed);
        run.tell(&Order::Quiet);
        let deadline = Instant::now() + GRACE;
        while field.under_way.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            sleep(LOOK_INTERVAL).await;
        }
        sleep(ECHO).await;
    }

    /// Looks at the server until `end`.
    async fn watch(&self, figures: &mut Server, begin: Instant, end: Instant) {
        let mut deliveries = self.run.deliveries.load(Ordering::Relaxed);
        loop {
            figures.rss_peak = self.server.as_ref().map_or(0, Process::rss_peak);
            let now = Instant::now();
            self.bar.set_position(now.saturating_duration_since(begin).as_millis() as u64);
            if now >= end {
                return;
            }
            sleep_until((now + SAMPLE_INTERVAL).min(end).into()).await;
            let heard = self.run.deliveries.load(Ordering::Relaxed);
            let rate = (heard - deliveries) as f64 / now.elapsed().as_secs_f64().max(1e-9);
            deliveries = heard;
            self.bar.set_message(format!("{rate:.0} deliveries/s"));
        }
    }

    fn sample(&self) -> Sample {
        Sample {
            at: Instant::now(),
            deliveries: self.run.deliveries.load(Ordering::Relaxed),
            bytes: self.run.bytes.load(Ordering::Relaxed),
            server: self.server.as_ref().map(Process::cpu).unwrap_or_default(),
            generator: target::own_cpu(),
            busy_ns: self.run.busy_ns.iter().map(|busy_ns| busy_ns.load(Ordering::Relaxed)).collect(),
        }
    }

    /// Ends the threads, and adds up what they have found out.
    fn end(&mut self) -> Result<(Recorder, Tally, Errors), RunError> {
        self.bar.finish_and_clear();
        self.run.tell(&Order::End);
        let mut sum = (Recorder::new(0, 0), Tally::default(), Errors::default());
        for thread in self.threads.drain(..) {
            let notes = thread.join().map_err(|_| RunError::Thread)??;
            sum.0.merge(&notes.recorder);
            sum.1.merge(&notes.tally);
            sum.2.merge(notes.errors);
        }
        Ok(sum)
    }
}

/// What has been used and done up to an instant.
struct Sample {
    at: Instant,
    deliveries: u64,
    bytes: u64,
    /// CPU time of the server, and of this process.
    server: Duration,
    generator: Duration,
    /// For how long each thread was busy, whether it had the CPU or only wanted it.
    busy_ns: Vec<u64>,
}

impl Sample {
    /// For how many seconds the generator was at work. In a closed loop, and where others want its core too, it is the
    /// busiest thread that holds the run up, and the time in which it did not wait for the server that counts; what
    /// the kernel does for it while it waits is in the CPU time only.
    fn generator_since(&self, before: &Self) -> f64 {
        let threads = self.busy_ns.len().max(1) as f64;
        let cpu = self.generator.saturating_sub(before.generator).as_secs_f64() / threads;
        let busy = self.busy_ns.iter().zip(&before.busy_ns).map(|(now, then)| now - then).max().unwrap_or(0);
        cpu.max(busy as f64 / 1e9)
    }
}

/// What came of `work`, unless it was interrupted.
async fn or_interrupted<T>(
    mut interrupt: std::pin::Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        task::Poll::Ready(done) => task::Poll::Ready(Some(done)),
        task::Poll::Pending => interrupt.as_mut().poll(cx).map(|()| None),
    })
    .await
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3}% {elapsed} {msg}");
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
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
