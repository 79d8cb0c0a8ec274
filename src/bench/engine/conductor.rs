//! The conductor of a run: directs its threads, watches the server's process, and assembles the report.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio::{Poll, Waker};
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use super::audience::Notes;
use super::observer::Observer;
use super::processes::Processes;
use super::worker::{DOOR, Worker};
use super::{Counts, Credentials, Door, Field, Job, Order, Run, RunError, Times, User, run_id};
use crate::bench::client::Target;
use crate::bench::measure::Distribution;
use crate::bench::mistakes::{Hint, Mistake};
use crate::bench::outcome::{Cluster, Generator, Interruption, MachineShares, Node, Report};
use crate::bench::plan::{self, Bursts, Layout, Pace, Plan, Random, Schedule};
use crate::bench::target::Processors;
use crate::metrics::process::own_cpu;

/// Interval at which counters are checked.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Interval at which the server's memory is sampled and the progress bar redrawn.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// The server is at rest if it sends nothing in this interval and uses little CPU time.
const REST_INTERVAL: Duration = Duration::from_millis(200);
/// CPU time that each process of a server at rest may use in [`REST_INTERVAL`]: one tick of the kernel's accounting.
const REST_CPU_MAX: Duration = Duration::from_millis(10);
/// How long the server may take to come to rest after the joins.
const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from the last seat taken to the first talk.
const LEAD: Duration = Duration::from_millis(20);
/// How long talks in flight at the end may take to be heard.
const GRACE: Duration = Duration::from_secs(5);
/// How long the end of a run waits for duplicates. They come soon after the first delivery.
const ECHO: Duration = Duration::from_millis(100);

/// Directs the threads of a run.
pub(super) struct Conductor<'a> {
    job: &'a Job,
    run: Arc<Run>,
    threads: Vec<JoinHandle<io::Result<Notes>>>,
    processes: Processes,
    /// Observes the metrics of the server once all have joined.
    observer: Option<Observer>,
    bar: ProgressBar,
    /// The latencies beside the bar.
    shown: RefCell<String>,
    interrupted: bool,
    /// The length of the measured time.
    measured: Duration,
    /// Bytes received in the measured time.
    received_bytes: Option<u64>,
    /// Leaves in the measured time.
    leaves: u64,
    /// The share of the measured time in which the generator was busy.
    busy_share: f64,
    /// The shares of the machine's time in the measured time.
    machine: Option<MachineShares>,
}

impl<'a> Conductor<'a> {
    pub(super) fn start(job: &'a Job) -> Result<Self, RunError> {
        let processes = Processes::watch(job)?;
        let plan = &job.plan;
        let mut random = Random::new(plan.seed);
        let mut slow = vec![false; plan.connections];
        slow[..(plan.slow_share * plan.connections as f64).round() as usize].fill(true);
        random.shuffle(&mut slow);
        let nodes = plan::nodes(plan, job.targets.len());
        let users = plan::ways(plan).zip(nodes).zip(slow).enumerate().map(|(number, ((way, node), slow))| {
            let Credentials { name, token } = job.users.get(number).cloned().unwrap_or_default();
            let name = name.unwrap_or_else(|| format!("{}{number}", plan.user_prefix));
            User { heard_as: job.targets[0].protocol.heard_as(&name), name, token, way, node, slow }
        });
        let threads = job.threads.clamp(1, plan.connections.max(1));
        let shares = (0..threads).map(|at| at * plan.connections / threads..(at + 1) * plan.connections / threads);
        let polls = (0..threads).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let door = |poll: &Poll| Ok(Door { orders: Mutex::default(), waker: Waker::new(poll.registry(), DOOR)? });
        let run = Arc::new(Run {
            id: run_id(random.number()),
            plan: plan.clone(),
            targets: job.targets.clone(),
            users: users.collect(),
            threads,
            shares: shares.collect(),
            epoch: Instant::now(),
            doors: polls.iter().map(door).collect::<io::Result<_>>()?,
            counts: Counts::default(),
            busy_ns: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            live: (0..if job.progress { threads } else { 0 }).map(|_| Mutex::default()).collect(),
            seated: AtomicUsize::new(0),
            heard: Mutex::default(),
            numbers: AtomicBool::new(false),
            has_file: job.circumstances.protocol.is_some(),
        });
        let spawned = polls.into_iter().enumerate().map(|(index, poll)| {
            let run = Arc::clone(&run);
            let share = run.shares[index].clone();
            let name = format!("bench-{index}");
            thread::Builder::new().name(name).spawn(move || Worker::run(run, poll, index, share))
        });
        let threads = spawned.collect::<io::Result<_>>()?;
        let bar = if job.progress { bar() } else { ProgressBar::hidden() };
        Ok(Self {
            job,
            run,
            threads,
            processes,
            observer: None,
            bar,
            shown: RefCell::default(),
            interrupted: false,
            measured: Duration::ZERO,
            received_bytes: None,
            leaves: 0,
            busy_share: 0.0,
            machine: None,
        })
    }

    pub(super) async fn conduct(mut self, interrupt: impl Future<Output = ()>) -> Result<Report, RunError> {
        let mut interrupt = pin!(interrupt);
        let joined = or_interrupted(interrupt.as_mut(), self.everybody_joins()).await;
        self.interrupted = joined.is_none();
        let joined = self.run.counts.joined.load(Ordering::Relaxed);
        self.processes.have_joined(joined);
        self.observer = Observer::start(self.job.metrics.clone())?;
        let layout = self.layout();
        let (conversations, members_max) = (layout.conversations(), layout.members_max());
        let plan = self.learnt(&layout, joined);
        let (schedule, is_silent) = self.schedule(&layout);
        if !self.interrupted && !is_silent {
            let field = Arc::new(Field::new(layout, schedule, &self.run));
            self.talks(&field, interrupt).await;
        }
        let exposed = self.observer.take().and_then(Observer::end);
        let mut notes = self.end()?;
        if let Some(error) = self.failure(joined, is_silent, &mut notes).filter(|_| !self.interrupted) {
            return Err(error);
        }
        let Notes { recorder, tally, errors, unnamed } = notes;
        let corrected = recorder.corrected();
        let strays = tally.strays().map(|(stray, count)| (stray.as_str().to_owned(), count));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Report {
            circumstances: self.job.circumstances.clone(),
            interrupted: self.interrupted.then(|| Interruption { rate: plan.pace.rate(), measured: self.measured }),
            plan,
            conversations,
            members_max,
            measured: self.measured,
            joins: recorder.joins().latency(),
            corrected: corrected.latency(),
            curve: corrected.curve(),
            raw: recorder.raw().latency(),
            last: recorder.last().latency(),
            seconds: recorder.seconds(self.measured),
            spreads: recorder.spreads(),
            drained: recorder.drained(),
            accounts: tally.accounts(),
            received_bytes: self.received_bytes,
            leaves: self.leaves,
            connections_lost: count(&self.run.counts.lost) + count(&self.run.counts.failed),
            churn_failures: count(&self.run.counts.churn_failures),
            talks_not_taken: count(&self.run.counts.not_taken),
            refused_talks: count(&self.run.counts.refused_talks),
            limited_talks: count(&self.run.counts.limited_talks),
            refused_joins: count(&self.run.counts.refused_joins),
            errors: errors.into_iter().chain(strays).collect(),
            unnamed: unnamed.into_iter().collect(),
            generator: Generator {
                lag_p99: recorder.lag().percentile(99.0),
                lag_max: recorder.lag().latency().max,
                busy_share: self.busy_share,
                machine: self.machine,
            },
            server: self.processes.server(),
            cluster: self.cluster(recorder.routes()),
            exposed,
            knee: None,
        })
    }

    /// Returns the figures of the nodes. `None` if there is one server.
    fn cluster(&self, [local, remote]: &[Distribution; 2]) -> Option<Cluster> {
        let targets = &self.run.targets;
        let mut used = self.processes.of_nodes().into_iter();
        let node = |(number, target): (usize, &Target)| Node {
            url: format!("http://{}", target.host),
            connections: self.run.users.iter().filter(|user| user.node == number).count() as u64,
            used: used.next(),
        };
        let nodes = targets.iter().enumerate().map(node).collect();
        let redis = self.processes.of_redis();
        (targets.len() > 1).then(|| Cluster { local: local.latency(), remote: remote.latency(), nodes, redis })
    }

    /// Returns the plan with the averages that MAX decided.
    fn learnt(&self, layout: &Layout, joined: u64) -> Plan {
        let conversations = layout.conversations();
        let memberships = (0..conversations).map(|conversation| layout.size(conversation)).sum::<usize>();
        let average = |of: usize, planned: usize| (memberships + of / 2).checked_div(of).unwrap_or(planned);
        let plan = &self.run.plan;
        Plan {
            members: average(conversations, plan.members),
            conversations_per_user: average(joined as usize, plan.conversations_per_user),
            ..plan.clone()
        }
    }

    /// Returns why there are no figures, if that is so.
    fn failure(&self, joined: u64, is_silent: bool, notes: &mut Notes) -> Option<RunError> {
        let has_file = self.run.has_file;
        if joined == 0 {
            let named = self.job.users.is_empty().then_some(self.job.plan.connections);
            let errors = mem::take(&mut notes.errors).into_iter().collect::<Vec<_>>();
            let unnamed = mem::take(&mut notes.unnamed).into_iter().collect::<Vec<_>>();
            let hint = Hint::of_joins(&errors, &unnamed, self.run.protocol()).filter(|_| has_file);
            return Some(RunError::NobodyJoined { errors, hint, named });
        }
        let hint = has_file.then_some(Hint { mistake: Mistake::List, unnamed: Vec::new() });
        is_silent.then_some(RunError::NobodyListens { joined, hint })
    }

    fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until every connection is listening or has failed, and then until the server is at rest.
    async fn everybody_joins(&self) {
        let run = &self.run;
        self.bar.set_length(run.plan.connections as u64);
        self.bar.set_message("joining");
        loop {
            let (joined, failed) =
                (run.counts.joined.load(Ordering::Relaxed), run.counts.failed.load(Ordering::Relaxed));
            self.bar.set_position(joined + failed);
            if joined + failed >= run.plan.connections as u64 || self.has_failed() {
                break;
            }
            sleep(LOOK_INTERVAL).await;
        }
        // Events still on their way to users who have joined belong to the joins.
        let deadline = Instant::now() + REST_TIMEOUT;
        let busy = || {
            let cpu = self.processes.cpu().iter().sum::<Duration>();
            (cpu, run.counts.bytes.load(Ordering::Relaxed))
        };
        let mut before = busy();
        while Instant::now() < deadline {
            sleep(REST_INTERVAL).await;
            let now = busy();
            let rest_cpu_max = REST_CPU_MAX * self.processes.number().max(1);
            if now.0.saturating_sub(before.0) <= rest_cpu_max && now.1 == before.1 {
                break;
            }
            before = now;
        }
    }

    /// Returns the layout of the users who have joined, without slow readers.
    fn layout(&self) -> Layout {
        let heard = self.run.heard.lock();
        let readers = heard.iter().filter(|(number, _)| !self.run.users[*number].slow);
        Layout::learnt(readers.map(|(number, ids)| (*number, ids.iter().map(String::as_str))))
    }

    /// Returns the schedule of the plan, and whether there is none although the plan has talks.
    fn schedule(&self, layout: &Layout) -> (Option<Schedule>, bool) {
        let plan = &self.run.plan;
        let rate = match plan.pace {
            Pace::Open { rate } | Pace::Bursts { rate } => rate,
            // A closed loop needs only the order of the turns.
            Pace::Closed { .. } => 1.0,
        };
        let schedule = Schedule::new(layout, rate, plan.seed);
        let is_silent = schedule.is_none() && rate > 0.0;
        (schedule.map(|schedule| schedule.in_bursts(Bursts::of(plan))), is_silent)
    }

    /// Runs the warm-up and the measured time, then waits for talks in flight.
    async fn talks(&mut self, field: &Arc<Field>, interrupt: Pin<&mut impl Future<Output = ()>>) {
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
            let watched = self.watch(before.at, end);
            self.interrupted = or_interrupted(interrupt.as_mut(), watched).await.is_none();
        }
        let after = self.sample();
        let elapsed = after.at.saturating_duration_since(before.at);
        // The threads measure from `measured` on, even if this task woke up late.
        self.measured = after.at.min(end).saturating_duration_since(measured);
        self.received_bytes = Some(after.bytes - before.bytes);
        self.leaves = after.leaves - before.leaves;
        let deliveries = [after.deliveries - before.deliveries, after.remote - before.remote];
        self.processes.have_been_measured(&before.servers, &after.servers, deliveries);
        self.machine = after.machine_since(&before);
        self.busy_share = after.generator_since(&before) / elapsed.as_secs_f64().max(1e-9);

        field.over.store(true, Ordering::Relaxed);
        run.tell(&Order::Quiet(run.us(after.at)));
        let deadline = Instant::now() + GRACE;
        while field.under_way.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            sleep(LOOK_INTERVAL).await;
        }
        sleep(ECHO).await;
    }

    /// Samples the server until `end`, and shows how far the run is.
    async fn watch(&self, begin: Instant, end: Instant) {
        let mut deliveries = self.run.counts.deliveries.load(Ordering::Relaxed);
        loop {
            // A process that is killed has no accounts any more, and keeps those that were seen.
            self.processes.cpu();
            let now = Instant::now();
            self.bar.set_position(now.saturating_duration_since(begin).as_millis() as u64);
            if now >= end {
                return;
            }
            sleep_until((now + SAMPLE_INTERVAL).min(end).into()).await;
            let heard = self.run.counts.deliveries.load(Ordering::Relaxed);
            let rate = (heard - deliveries) as f64 / now.elapsed().as_secs_f64().max(1e-9);
            deliveries = heard;
            self.bar.set_message(format!("{rate:.0} deliveries/s{}", self.latencies()));
        }
    }

    /// Returns the latencies of the last second, for the progress bar. Empty before the first one.
    fn latencies(&self) -> String {
        let mut all: Option<Distribution<u32>> = None;
        for of_thread in self.run.live.iter().filter_map(|live| live.lock().take()) {
            match &mut all {
                Some(all) => all.merge(&of_thread),
                None => all = Some(of_thread),
            }
        }
        // A thread tells its latencies every half second. In between, the last ones stand.
        let mut shown = self.shown.borrow_mut();
        if let Some(all) = all.filter(|all| all.count() > 0) {
            let [p50, p99, max] = [50.0, 99.0, 100.0].map(|percent| all.percentile(percent) as f64 / 1e3);
            *shown = format!("; p50 {p50:.2}, p99 {p99:.2}, max {max:.2} ms");
        }
        shown.clone()
    }

    fn sample(&self) -> Sample {
        Sample {
            at: Instant::now(),
            deliveries: self.run.counts.deliveries.load(Ordering::Relaxed),
            remote: self.run.counts.remote.load(Ordering::Relaxed),
            bytes: self.run.counts.bytes.load(Ordering::Relaxed),
            leaves: self.run.counts.leaves.load(Ordering::Relaxed),
            servers: self.processes.cpu(),
            generator: own_cpu(),
            processors: Processors::now(),
            busy_ns: self.run.busy_ns.iter().map(|busy_ns| busy_ns.load(Ordering::Relaxed)).collect(),
        }
    }

    /// Ends the threads, and adds up their results.
    fn end(&mut self) -> Result<Notes, RunError> {
        self.bar.finish_and_clear();
        self.run.tell(&Order::End);
        let mut sum = Notes::new();
        for thread in self.threads.drain(..) {
            sum.merge(thread.join().map_err(|_| RunError::Thread)??);
        }
        Ok(sum)
    }
}

/// Resources used and things done up to an instant.
struct Sample {
    at: Instant,
    deliveries: u64,
    remote: u64,
    bytes: u64,
    leaves: u64,
    /// CPU time of each process of the server.
    servers: Vec<Duration>,
    /// CPU time of this process.
    generator: Duration,
    /// The time of all processors.
    processors: Option<Processors>,
    /// How long each thread has been busy, with or without the CPU.
    busy_ns: Vec<u64>,
}

impl Sample {
    /// Returns for how many seconds since `before` the generator was at work: the longer of two times. One is the time
    /// in which the busiest thread did not wait; that thread limits the run in a closed loop or on a shared core. The
    /// other is the CPU time of an average thread, which includes the kernel's work during a wait.
    fn generator_since(&self, before: &Self) -> f64 {
        let threads = self.busy_ns.len().max(1) as f64;
        let cpu = self.generator.saturating_sub(before.generator).as_secs_f64() / threads;
        let busy = self.busy_ns.iter().zip(&before.busy_ns).map(|(now, then)| now - then).max().unwrap_or(0);
        cpu.max(busy as f64 / 1e9)
    }

    fn machine_since(&self, before: &Self) -> Option<MachineShares> {
        let (idle, stolen) = self.processors?.shares_since(before.processors?)?;
        Some(MachineShares { idle, stolen })
    }
}

/// Returns the result of `work`. `None` if it was interrupted.
async fn or_interrupted<T>(
    mut interrupt: Pin<&mut impl Future<Output = ()>>,
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
