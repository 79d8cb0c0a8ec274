//! The task of one server: it does the steps of `link`, publishes what waits, subscribes what is wanted, and tells
//! conversations what they have to know. All I/O of the bus is here and in the modules below.
//!
//! * `connect`: one connection; `session`: the two of a server; `words`: the commands.
//! * `fault`: what is wrong, in words.
//! * `traffic`: messages that are published, and channels that are subscribed.
//! * `herald`: what the other nodes are told of this one.
//! * `teller`: what conversations are told; `voice`: the log lines about a server, and its gauges.
//! * `topology`: the slots of a Redis Cluster; `survey`: keeps the shards at it.
//! * [`check`]: tries a server out for an operator.

pub mod check;
mod connect;
pub(super) mod fault;
mod herald;
mod session;
pub(super) mod survey;
mod teller;
mod topology;
mod traffic;
mod voice;
mod words;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use rand::seq::SliceRandom as _;
use tokio::sync::oneshot;

use self::fault::{Fault, Moved, Patterns, Refusal};
use self::herald::Telling;
use self::session::{Session, sink};
use self::teller::Teller;
use self::voice::Voice;
use super::address::Place;
use super::attached::Command;
use super::inflight::Inflight;
use super::link::{Event, Link, Periods, State, Step};
use super::nodes::LOOK_PERIOD;
use super::shard::{ANSWERS_MAX, Incoming, Shard};
use super::wire::Answer;
use crate::metrics::BusDirection;

/// The time between two turns while conversations are told something.
const TELL_PERIOD: Duration = Duration::from_millis(10);

type Count = oneshot::Sender<u64>;

/// The end of a command.
enum Done {
    /// The server was asked for its role.
    Checked(Result<(), Fault>),
    /// The channels of this node were subscribed.
    OwnSubscribed(Result<Vec<Moved>, Fault>),
    /// Answers for Node servers were published, or were not.
    Answered,
    /// A message about this node was published.
    Told(Telling, Result<(), Refusal>),
    /// A batch of messages was published.
    Published(u64, Result<Vec<Result<u64, Refusal>>, Fault>),
    /// Letters to other nodes were published.
    Posted(Result<Vec<Moved>, Fault>),
    /// Channels of conversations were subscribed or given up.
    Changed(Command, Result<Vec<Moved>, Fault>),
}

/// The reason why the task goes on.
enum Woken {
    Connected(Result<Session, Fault>),
    Closed(Fault),
    Done(Done),
    Other,
}

/// The task of one server.
pub(super) struct Task {
    shard: Arc<Shard>,
    patterns: Patterns,
    link: Link,
    session: Option<Session>,
    connecting: Option<LocalBoxFuture<'static, Result<Session, Fault>>>,
    commands: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    done: VecDeque<Done>,
    inflight: Inflight<Count>,
    /// The heartbeats that are under way: the time in them, and the moment when they were sent.
    beats: VecDeque<(u64, Instant)>,
    teller: Teller,
    nodes_due: Instant,
    is_bye_said: bool,
    is_end_said: bool,
    /// The answers for Node servers, and whether some are under way.
    answers: Vec<Answer>,
    is_answering: bool,
    /// Whether letters are under way.
    is_posting: bool,
    /// The messages about this node that are under way.
    telling: Vec<Telling>,
    voice: Voice,
}

impl Task {
    /// Creates the task of a server.
    pub(super) fn new(shard: Arc<Shard>) -> Self {
        let settings = &shard.context.settings;
        let periods = Periods {
            heartbeat: settings.heartbeat,
            tell_after: settings.tell_after,
            reconnect_max: settings.reconnect_max,
        };
        let now = Instant::now();
        let mut link = Link::new(periods, rand::random(), now);
        // A task before this one may have ended by a panic.
        if shard.epoch.fetch_add(1, Ordering::Relaxed) > 0 {
            link.was_up();
        }
        shard.attached.lock().disconnected();
        Self {
            patterns: Patterns::of(settings),
            link,
            session: None,
            connecting: None,
            commands: FuturesUnordered::new(),
            done: VecDeque::new(),
            inflight: Inflight::new(),
            beats: VecDeque::new(),
            teller: Teller::new(shard.clone()),
            nodes_due: now,
            is_bye_said: false,
            is_end_said: false,
            answers: Vec::new(),
            is_answering: false,
            is_posting: false,
            telling: Vec::new(),
            voice: Voice::new(&shard),
            shard,
        }
    }

    /// Serves until the bus is stopped.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_incoming(now);
            while let Some(done) = self.done.pop_front() {
                self.take_done(done, now);
            }
            while let Some(step) = self.link.poll(now) {
                self.step(step, now);
            }
            self.work(now);
            self.tell_end();
            self.voice.report(&self.shard, &self.link, now);
            self.note_quiet();
            self.shard.owes_news.store(self.teller.tells_of_loss() || self.link.owes_over(), Ordering::SeqCst);
            if self.shard.is_retired() {
                return self.retire();
            }
            if self.is_over(now) {
                return;
            }
            let wake_at = self.wake_at(now);
            match self.wait(wake_at).await {
                Woken::Connected(result) => {
                    self.connecting = None;
                    self.take_session(result);
                }
                Woken::Closed(fault) => self.fail(fault, Instant::now()),
                Woken::Done(done) => self.done.push_back(done),
                Woken::Other => {}
            }
        }
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        let shard = self.shard.clone();
        let mut notified = pin!(shard.wake.notified());
        let mut sleep = pin!(tokio::time::sleep_until(until.into()));
        poll_fn(|context| {
            if let Some(connecting) = &mut self.connecting
                && let Poll::Ready(result) = connecting.as_mut().poll(context)
            {
                return Poll::Ready(Woken::Connected(result));
            }
            if let Poll::Ready(Some(done)) = self.commands.poll_next_unpin(context) {
                return Poll::Ready(Woken::Done(done));
            }
            if !self.done.is_empty() || notified.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woken::Other);
            }
            if let Some(session) = &mut self.session
                && let Poll::Ready(fault) = session.poll_closed(context)
            {
                return Poll::Ready(Woken::Closed(fault));
            }
            sleep.as_mut().poll(context).map(|()| Woken::Other)
        })
        .await
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let tells = self.teller.is_active() || (self.link.serves() && self.shard.queue.lock().has_holes_to_tell());
        let stop = self.shard.context.orders.lock().stop;
        let tell = tells.then(|| now + TELL_PERIOD);
        [Some(self.nodes_due), Some(self.link.wake_at()), tell, stop].into_iter().flatten().min().unwrap_or(now)
    }

    fn is_over(&self, now: Instant) -> bool {
        let orders = *self.shard.context.orders.lock();
        let Some(stop) = orders.stop else { return false };
        let is_said = !self.shard.leads() || (self.is_bye_said == orders.bye.is_some() && self.are_others_quiet());
        now >= stop || (self.is_quiet() && is_said && self.link.serves())
    }

    /// This shard, or all of the Redis Cluster.
    fn all_shards(&self) -> Vec<Arc<Shard>> {
        let all = self.shard.context.cluster().map(|routes| routes.read().shards().to_vec());
        all.unwrap_or_else(|| vec![self.shard.clone()])
    }

    /// Whether the other shards of the Redis Cluster have published all, which they say when they have.
    fn are_others_quiet(&self) -> bool {
        let is_quiet = |shard: &Arc<Shard>| Arc::ptr_eq(shard, &self.shard) || shard.is_quiet.load(Ordering::SeqCst);
        self.all_shards().iter().all(is_quiet)
    }

    fn note_quiet(&self) {
        let is_quiet = self.is_quiet();
        if self.shard.is_quiet.swap(is_quiet, Ordering::SeqCst) != is_quiet
            && is_quiet
            && let Some(routes) = self.shard.context.cluster()
        {
            routes.read().leader().into_iter().for_each(|leader| leader.wake.notify_one());
        }
    }

    /// Takes it that the connections are of no use.
    fn fail(&mut self, fault: Fault, now: Instant) {
        if let Some(survey) = &self.shard.context.survey {
            survey.moved(None);
        }
        self.link.handle(Event::Failed(fault), now);
    }

    /// Pauses until the slots are read anew, because they have moved. Returns the fault if they should not.
    fn moved(&self, moved: Moved) -> Option<Fault> {
        let Some(survey) = &self.shard.context.survey else { return Some(moved.fault()) };
        self.shard.pause();
        survey.moved(moved.host);
        None
    }

    /// Whether all is published and answered.
    fn is_quiet(&self) -> bool {
        self.shard.queue.lock().is_empty() && self.inflight.messages() == 0 && self.commands.is_empty()
    }

    fn step(&mut self, step: Step, now: Instant) {
        let settings = &self.shard.context.settings;
        match step {
            Step::Connect => {
                let epoch = self.shard.epoch.load(Ordering::Relaxed);
                let sink = sink(&self.shard, epoch);
                let address = self.shard.address.lock().clone();
                self.connecting = Some(match (&address.place, &self.shard.context.survey) {
                    (Place::Cluster(_), Some(survey)) => std::future::ready(Err(survey.failure())).boxed_local(),
                    _ => Session::open(address, settings.clone(), self.patterns.clone(), sink).boxed_local(),
                });
            }
            Step::AskRole => {
                let address = self.shard.address.lock().clone();
                let check = self.session.as_ref().map(|session| session.check(address, settings.clone()));
                self.start(check, Done::Checked);
            }
            Step::SubscribeOwn => {
                let channels = self.shard.own_channels();
                let subscribe = self.session.as_ref().map(|session| session.subscribe(channels));
                self.start(subscribe, Done::OwnSubscribed);
            }
            Step::Beat => self.beat(now),
            Step::Attach => {
                if self.shard.owes_over.swap(false, Ordering::SeqCst) {
                    self.link.was_up();
                }
                let covers = self.link.owes_over();
                self.shard.attached.lock().connected(covers, |ids| ids.shuffle(&mut rand::rng()));
                if self.shard.leads() {
                    self.shard.nodes.lock().up(now);
                }
            }
            Step::TearDown => self.tear_down(),
            Step::TellOutage => self.teller.away(),
            Step::TellOver => self.teller.back(),
        }
    }

    /// Starts a command. It is sent before the ones that are started later.
    fn start<T>(&mut self, command: Option<impl Future<Output = T> + 'static>, done: impl FnOnce(T) -> Done + 'static) {
        let Some(command) = command else { return };
        // Within the budget that a task of tokio has for one turn, this turn may have sent all that it may send.
        let mut command = tokio::task::unconstrained(command.map(done)).boxed_local();
        match command.as_mut().now_or_never() {
            Some(done) => self.done.push_back(done),
            None => self.commands.push(command),
        }
    }

    fn take_session(&mut self, result: Result<Session, Fault>) {
        match result {
            Ok(session) => {
                self.session = Some(session);
                self.voice.connected();
                self.link.handle(Event::Connected, Instant::now());
            }
            Err(fault) => self.fail(fault, Instant::now()),
        }
    }

    fn tear_down(&mut self) {
        self.shard.epoch.fetch_add(1, Ordering::Relaxed);
        self.session = None;
        self.connecting = None;
        self.commands.clear();
        self.done.clear();
        self.beats.clear();
        // Nobody waits for them that long.
        self.answers.clear();
        (self.is_answering, self.is_posting) = (false, false);
        self.teller.disconnected();
        // Those who wait for an answer are told so by their deadlines.
        self.shard.letters.lock().clear();
        self.shard.incoming.lock().clear();
        let mut queue = self.shard.queue.lock();
        queue.put_back(self.inflight.take_all());
        for telling in self.telling.drain(..) {
            match telling {
                Telling::Beat => {}
                Telling::Bye => self.is_bye_said = false,
                Telling::End => self.is_end_said = false,
                Telling::Holes => queue.note_unknown_holes(),
            }
        }
        drop(queue);
        self.shard.attached.lock().disconnected();
        if self.shard.leads() {
            self.shard.nodes.lock().down();
        }
    }

    /// Leaves all that is not done to the servers that have the slots now.
    fn retire(&mut self) {
        std::mem::take(&mut self.answers).into_iter().for_each(|answer| self.shard.pass_on(answer));
        self.tear_down();
        self.teller.retire();
        self.shard.bequeath_messages();
        self.voice.retire();
    }

    fn take_incoming(&mut self, now: Instant) {
        let all = std::mem::take(&mut *self.shard.incoming.lock());
        for incoming in all {
            match incoming {
                Incoming::OwnHeartbeat(sent_ms) => {
                    if let Some(at) = self.beats.iter().position(|(ms, _)| *ms == sent_ms)
                        && let Some((_, sent)) = self.beats.drain(..=at).next_back()
                    {
                        let lag = now.saturating_duration_since(sent);
                        self.voice.lag(lag);
                        *self.shard.lag.lock() = Some(lag);
                        self.link.handle(Event::Heard, now);
                    }
                }
                Incoming::OwnChannelLost => {
                    self.fail("the server has taken a channel of this node away".into(), now);
                    self.link.hurry(now);
                }
                Incoming::ChannelLost => {}
                Incoming::Moved => {
                    self.link.handle(Event::Failed("the master has moved".into()), now);
                    self.link.hurry(now);
                }
                Incoming::Again(again) => self.teller.again(again),
                Incoming::Answer(answer) if self.answers.len() < ANSWERS_MAX => self.answers.push(answer),
                Incoming::Answer(_) => self.shard.context.count_dropped(BusDirection::Out),
            }
        }
    }

    fn take_done(&mut self, done: Done, now: Instant) {
        let failed = match done {
            Done::Answered => {
                self.is_answering = false;
                return;
            }
            Done::Checked(Ok(())) => return self.link.handle(Event::Master, now),
            Done::OwnSubscribed(Ok(moved)) => match moved.into_iter().next() {
                None => return self.link.handle(Event::OwnSubscribed, now),
                Some(moved) => Some(self.moved(moved.clone()).unwrap_or_else(|| moved.fault())),
            },
            Done::Told(telling, Ok(())) => return self.telling.retain(|under_way| *under_way != telling),
            Done::Published(number, Ok(answers)) => self.take_answers(number, answers),
            Done::Posted(Ok(moved)) => {
                self.is_posting = false;
                moved.into_iter().filter_map(|moved| self.moved(moved)).next()
            }
            Done::Changed(command, Ok(moved)) => {
                let fault = moved.into_iter().filter_map(|moved| self.moved(moved)).next();
                if self.shard.context.wire.is_sharded() {
                    self.shard.attached.lock().answered(&command);
                }
                fault
            }
            Done::Changed(command, Err(fault)) => {
                self.shard.attached.lock().refused(&command);
                Some(fault)
            }
            Done::Checked(Err(fault))
            | Done::OwnSubscribed(Err(fault))
            | Done::Posted(Err(fault))
            | Done::Told(_, Err(Refusal::Fault(fault)))
            | Done::Published(_, Err(fault)) => Some(fault),
            Done::Told(_, Err(Refusal::Moved(moved))) => {
                Some(self.moved(moved.clone()).unwrap_or_else(|| moved.fault()))
            }
        };
        if let Some(fault) = failed {
            self.fail(fault, now);
        }
    }

    fn work(&mut self, now: Instant) {
        if now >= self.nodes_due {
            self.nodes_due = now + LOOK_PERIOD;
            let changes = if self.shard.leads() { self.shard.nodes.lock().tick(now) } else { Vec::new() };
            self.shard.note_nodes(changes);
        }
        // A hole that is not filled before the stop stays one, so that the end of this node is not told as a good one.
        let tells_of_room = self.link.serves() && self.shard.context.orders.lock().stop.is_none();
        self.teller.tell(tells_of_room, now);
        if self.inflight.is_answered() {
            self.shard.queue.lock().put_back(self.inflight.take_all());
            self.shard.drained();
        }
        if !self.link.serves() {
            return;
        }
        self.tell_of_this_node();
        self.answer();
        if !self.shard.is_paused() {
            self.subscribe();
            // What was refused goes before what waits.
            if !self.inflight.has_refused() {
                self.publish();
            }
        }
        self.post();
        if self.link.state() == State::Attaching && self.shard.attached.lock().is_complete() {
            self.link.handle(Event::Complete, now);
            self.shard.attached.lock().end_cover();
            while let Some(step) = self.link.poll(now) {
                self.step(step, now);
            }
        }
    }
}
