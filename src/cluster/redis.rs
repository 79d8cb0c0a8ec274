//! The task of one server: it does the steps of `link`, publishes what waits, subscribes what is wanted, and tells
//! conversations what they have to know. All I/O of the bus is here and in the modules below.
//!
//! * `connect`: one connection; `session`: the two of a server; `words`: the commands; `fault`: what is wrong, in words.
//! * `herald`: what the other nodes are told of this one.
//! * `teller`: what conversations are told; `voice`: the log lines about a server, and its gauges.
//! * [`check`]: tries a server out for an operator.

pub mod check;
mod connect;
pub(super) mod fault;
mod herald;
mod session;
mod teller;
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

use self::fault::{Fault, Patterns};
use self::herald::Telling;
use self::session::{Session, sink};
use self::teller::Teller;
use self::voice::Voice;
use super::address::Address;
use super::attached::Command;
use super::inflight::Inflight;
use super::link::{Event, Link, Periods, State, Step};
use super::nodes::NodeChange;
use super::queue::Item;
use super::shard::{Incoming, Shard};
use crate::event::ConversationId;

/// The messages of one pipeline.
const PIPELINE_MESSAGES: usize = 512;

/// The bytes of one pipeline.
const PIPELINE_BYTES: usize = 1024 * 1024;

/// The pipelines that are not yet answered. They fit into the line of commands inside the library, with room for all
/// others: what does not fit into it at once may be overtaken by what is sent later.
const PIPELINES_MAX: usize = connect::COMMANDS_MAX / 2;

/// The time between two turns while conversations are told something.
const TELL_PERIOD: Duration = Duration::from_millis(10);

/// The time between two looks for silent nodes.
const NODES_PERIOD: Duration = Duration::from_millis(500);

type Answer = oneshot::Sender<u64>;

/// The end of a command.
enum Done {
    /// The server was asked for its role.
    Checked(Result<(), Fault>),
    /// The channels of this node were subscribed.
    OwnSubscribed(Result<(), Fault>),
    /// A message about this node was published.
    Told(Telling, Result<(), Fault>),
    /// A batch of messages was published.
    Published(u64, Result<Vec<Result<u64, Fault>>, Fault>),
    /// Channels of conversations were subscribed or given up.
    Changed(Command, Result<(), Fault>),
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
    address: Address,
    patterns: Patterns,
    link: Link,
    session: Option<Session>,
    connecting: Option<LocalBoxFuture<'static, Result<Session, Fault>>>,
    commands: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    done: VecDeque<Done>,
    inflight: Inflight<Answer>,
    /// The heartbeats that are under way: the time in them, and the moment when they were sent.
    beats: VecDeque<(u64, Instant)>,
    teller: Teller,
    nodes_due: Instant,
    is_bye_said: bool,
    is_end_said: bool,
    /// The messages about this node that are under way.
    telling: Vec<Telling>,
    voice: Voice,
}

impl Task {
    /// Creates the task of a server.
    pub(super) fn new(shard: Arc<Shard>, address: Address) -> Self {
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
            address,
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
            if self.is_over(now) {
                return;
            }
            let wake_at = self.wake_at(now);
            match self.wait(wake_at).await {
                Woken::Connected(result) => {
                    self.connecting = None;
                    self.take_session(result);
                }
                Woken::Closed(fault) => self.link.handle(Event::Failed(fault), Instant::now()),
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
        now >= stop || (self.is_quiet() && self.is_bye_said == orders.bye.is_some() && self.link.serves())
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
                let open = Session::open(self.address.clone(), settings.clone(), self.patterns.clone(), sink);
                self.connecting = Some(open.boxed_local());
            }
            Step::AskRole => {
                let check = self.session.as_ref().map(|session| session.check(self.address.clone(), settings.clone()));
                self.start(check, Done::Checked);
            }
            Step::SubscribeOwn => {
                let channels = self.shard.context.wire.always().into_iter().map(str::to_owned).collect();
                let subscribe = self.session.as_ref().map(|session| session.subscribe(channels));
                self.start(subscribe, Done::OwnSubscribed);
            }
            Step::Beat => self.beat(now),
            Step::Attach => {
                let covers = self.link.owes_over();
                self.shard.attached.lock().connected(covers, |ids| ids.shuffle(&mut rand::rng()));
                self.shard.nodes.lock().up(now);
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
        let event = match result {
            Ok(session) => {
                self.session = Some(session);
                self.voice.connected();
                Event::Connected
            }
            Err(fault) => Event::Failed(fault),
        };
        self.link.handle(event, Instant::now());
    }

    fn tear_down(&mut self) {
        self.shard.epoch.fetch_add(1, Ordering::Relaxed);
        self.session = None;
        self.connecting = None;
        self.commands.clear();
        self.done.clear();
        self.beats.clear();
        self.teller.disconnected();
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
        self.shard.nodes.lock().down();
        self.shard.incoming.lock().retain(|incoming| matches!(incoming, Incoming::Node(_) | Incoming::Everybody(_)));
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
                    let why = "the server has taken a channel of this node away".into();
                    self.link.handle(Event::Failed(why), now);
                }
                Incoming::ChannelLost => {}
                Incoming::Again(again) => self.teller.again(again),
                Incoming::Node(change) => self.take_node_change(change),
                Incoming::Everybody(everybody) => self.teller.everybody(*everybody),
            }
        }
    }

    fn take_node_change(&mut self, change: NodeChange) {
        self.voice.node(&change);
        self.teller.node(change);
    }

    fn take_done(&mut self, done: Done, now: Instant) {
        let failed = match done {
            Done::Checked(Ok(())) => return self.link.handle(Event::Master, now),
            Done::OwnSubscribed(Ok(())) => return self.link.handle(Event::OwnSubscribed, now),
            Done::Told(telling, Ok(())) => return self.telling.retain(|under_way| *under_way != telling),
            Done::Published(number, Ok(answers)) => self.take_answers(number, answers),
            Done::Changed(_, Ok(())) => None,
            Done::Changed(command, Err(fault)) => {
                self.shard.attached.lock().refused(&command);
                Some(fault)
            }
            Done::Checked(Err(fault))
            | Done::OwnSubscribed(Err(fault))
            | Done::Told(_, Err(fault))
            | Done::Published(_, Err(fault)) => Some(fault),
        };
        if let Some(fault) = failed {
            self.link.handle(Event::Failed(fault), now);
        }
    }

    /// Takes the answers to a batch. Returns why the connections are of no use, if they are not.
    fn take_answers(&mut self, number: u64, answers: Vec<Result<u64, Fault>>) -> Option<Fault> {
        let items = self.inflight.answered(number);
        let (mut failed, mut fault) = (Vec::new(), None);
        let attached = self.shard.attached.lock();
        for (item, answer) in items.into_iter().zip(answers) {
            let count = match answer {
                Ok(count) => count,
                Err(why) => {
                    fault = Some(why);
                    failed.push(item);
                    continue;
                }
            };
            self.voice.published();
            if count == 0 && item.is_heard_here && attached.is_on(&item.id) {
                fault = Some("what is published there is not heard even by this node".into());
            }
            if let Some(answer) = item.answer {
                // Nobody may wait for it any more.
                answer.send(count.saturating_sub(u64::from(item.is_heard_here))).ok();
            }
        }
        drop(attached);
        if !failed.is_empty() {
            self.inflight.refused(number, failed);
        }
        fault
    }

    fn work(&mut self, now: Instant) {
        if now >= self.nodes_due {
            self.nodes_due = now + NODES_PERIOD;
            let changes = self.shard.nodes.lock().tick(now);
            changes.into_iter().for_each(|change| self.take_node_change(change));
        }
        // A hole that is not filled before the stop stays one, so that the end of this node is not told as a good one.
        let tells_of_room = self.link.serves() && self.shard.context.orders.lock().stop.is_none();
        self.teller.tell(tells_of_room, now);
        if !self.link.serves() {
            return;
        }
        self.subscribe();
        self.tell_of_this_node();
        self.publish();
        if self.link.state() == State::Attaching && self.shard.attached.lock().is_complete() {
            self.link.handle(Event::Complete, now);
            self.shard.attached.lock().end_cover();
            while let Some(step) = self.link.poll(now) {
                self.step(step, now);
            }
        }
    }

    fn subscribe(&mut self) {
        let settings = &self.shard.context.settings;
        let (batch, window) = (settings.subscribe_batch, settings.subscribe_window);
        loop {
            let Some(command) = self.shard.attached.lock().take(batch, window) else { return };
            let Some(session) = &self.session else { return };
            let wire = &self.shard.context.wire;
            let names = |ids: &[ConversationId]| ids.iter().map(|id| wire.room(id)).collect::<Vec<_>>();
            match &command {
                Command::Subscribe(ids) => {
                    let sent = session.subscribe(names(ids));
                    self.start(Some(sent), |result| Done::Changed(command, result));
                }
                Command::Unsubscribe(ids) => {
                    let sent = session.unsubscribe(names(ids));
                    self.start(Some(sent), |result| Done::Changed(command, result));
                }
            }
        }
    }

    fn publish(&mut self) {
        let settings = &self.shard.context.settings;
        let (messages_max, bytes_max) = (settings.inflight_max, settings.queue_bytes_max);
        loop {
            let messages = messages_max.saturating_sub(self.inflight.messages()).min(PIPELINE_MESSAGES);
            let has_room = messages > 0 && self.inflight.bytes() < bytes_max && self.inflight.batches() < PIPELINES_MAX;
            let Some(session) = self.session.as_ref().filter(|_| has_room) else { return };
            let mut items: Vec<Item<Answer>> = self.shard.queue.lock().take(messages, PIPELINE_BYTES);
            if items.is_empty() {
                return;
            }
            let wire = &self.shard.context.wire;
            {
                let attached = self.shard.attached.lock();
                let is_heard_here = |id: &ConversationId| wire.is_in_namespace(id) || attached.is_on(id);
                items.iter_mut().for_each(|item| item.is_heard_here = is_heard_here(&item.id));
            }
            let messages = items.iter().map(|item| (wire.publishes_to(&item.id), &item.body[..]));
            let sent = session.publish(session.words().pipeline(messages));
            let number = self.inflight.add(items);
            self.start(Some(sent), move |result| Done::Published(number, result));
        }
    }
}
