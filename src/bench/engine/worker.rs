//! One thread of the load: a loop around the poll of its connections. Each turn of the loop does what is due, and
//! sleeps until an event comes or the next thing is due. The thread waits nowhere else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::alarm::Alarm;
use super::audience::{Audience, Hearing, News, Notes};
use super::person::State;
use super::script::{Churn, NEVER_US, Script};
use super::{Order, Run, Times};
use crate::bench::client::{Client, Peers};
use crate::bench::measure::Recorder;
use crate::bench::plan::{Bursts, Pace, Way};
use crate::event::Token as Secret;

/// The token of the thread's orders. Tokens of clients are lower.
pub(super) const DOOR: Token = Token(usize::MAX);
/// The token of the thread's alarm. Tokens of clients are lower.
const ALARM: Token = Token(usize::MAX - 1);

/// Number of events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// How long a connection may take until it may join, and how long the answer to a join or a leave may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of connections of a thread that may be on their way to `listening`.
const RAMP_UNDER_WAY_MAX: usize = 1024;
/// How long a talk may take to reach all members. After that, it is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Interval at which the thread looks for talks to give up.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// One thread.
pub(super) struct Worker {
    pub(super) run: Arc<Run>,
    pub(super) index: usize,
    pub(super) range: Range<usize>,
    pub(super) audience: Audience,
    pub(super) clients: Vec<Option<Client>>,
    peers: Peers,
    /// The read buffer of all connections.
    buffer: Vec<u8>,
    /// The next connection to be opened.
    next: usize,
    /// Number of connections on their way to `listening`.
    under_way: usize,
    /// Deadlines of connections, the earliest first. One that no longer applies stays, and is ignored when it is due.
    deadlines: BinaryHeap<Reverse<(u64, usize, Deadline)>>,
    /// The talks of an open loop. `None` until the talks begin, after the measured time, and in a closed loop.
    pub(super) script: Option<Script>,
    /// When this thread begins the closed loop. [`NEVER_US`] once it has begun, in an open loop, and on all threads but
    /// the first.
    pub(super) begin_us: u64,
    pub(super) churn: Option<Churn>,
    /// When the thread next looks for talks to give up.
    look_us: u64,
    /// Number of talks (in a closed loop: slots) to be freed at the next look. Either nobody was there to talk or to
    /// hear, or an old talk was forgotten.
    pub(super) idle: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    /// The connection must be able to join.
    Connect,
    /// The user must be listening, or have left.
    Answer,
    /// The heartbeat has to be sent, and again after this many µs.
    Beat(u64),
}

impl Worker {
    /// Runs a thread to its end. Thread `index` has the connections of `range`.
    pub(super) fn run(run: Arc<Run>, mut poll: Poll, index: usize, range: Range<usize>) -> io::Result<Notes> {
        let mut worker = Self {
            audience: Audience::new(Arc::clone(&run), range.clone()),
            clients: range.clone().map(|_| None).collect(),
            peers: Peers::new(&run.targets, poll.registry())?,
            buffer: Vec::new(),
            next: range.start,
            under_way: 0,
            deadlines: BinaryHeap::new(),
            script: None,
            begin_us: NEVER_US,
            churn: None,
            look_us: NEVER_US,
            idle: 0,
            index,
            range,
            run,
        };
        worker.live(&mut poll)?;
        worker.clients.drain(..).flatten().for_each(Client::abort);
        worker.range.clone().for_each(|number| worker.audience.end(number));
        Ok(worker.audience.notes)
    }

    fn live(&mut self, poll: &mut Poll) -> io::Result<()> {
        let mut alarm = Alarm::new(poll.registry(), ALARM)?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut woke = Instant::now();
        loop {
            for order in self.run.doors[self.index].take() {
                if self.obey(order).is_none() {
                    return Ok(());
                }
            }
            self.do_what_is_due();
            self.audience.tell();
            let now = Instant::now();
            let timeout = alarm.set(self.run.instant(self.next_us()), now)?;
            let busy = now.saturating_duration_since(woke).as_nanos() as u64;
            self.run.busy_ns[self.index].fetch_add(busy, Ordering::Relaxed);
            match poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            woke = Instant::now();
            for event in &events {
                match event.token() {
                    // Every wake-up checks orders and timers.
                    ALARM | DOOR => {}
                    token => self.attend(Client::number(token), event),
                }
            }
        }
    }

    /// Follows an order. `None` at the end of the run.
    fn obey(&mut self, order: Order) -> Option<()> {
        match order {
            Order::Seats(field) => {
                self.next = self.range.end;
                self.audience.take_seats(field);
            }
            Order::Talk(times) => self.begin(times),
            Order::Turn(conversation) => {
                self.audience.turns.push(conversation);
                self.take_turns();
            }
            Order::Quiet(us) => {
                (self.script, self.churn) = (None, None);
                self.audience.notes.recorder.end(us);
            }
            Order::End => return None,
        }
        Some(())
    }

    fn begin(&mut self, times: Times) {
        let Some(field) = self.audience.field.clone() else { return };
        let bursts = Bursts::of(&self.run.plan);
        let mut recorder = Recorder::new(times.measured_us, times.end_us).in_bursts(bursts);
        recorder.merge(&self.audience.notes.recorder);
        self.audience.notes.recorder = recorder;
        self.look_us = times.begin_us + LOOK_INTERVAL.as_micros() as u64;
        self.churn = Churn::new(&self.run, &self.range, self.index, &field, times);
        match self.run.plan.pace {
            Pace::Open { .. } | Pace::Bursts { .. } => self.script = Script::new(&field, times, &self.range),
            // All slots are free at first, and the first thread gives them away.
            Pace::Closed { .. } if self.index == 0 => self.begin_us = times.begin_us,
            Pace::Closed { .. } => {}
        }
    }

    /// Returns when the next thing is due.
    fn next_us(&self) -> u64 {
        let ramp_us = if self.under_way < RAMP_UNDER_WAY_MAX { self.ramp_us() } else { NEVER_US };
        let deadline_us = self.deadlines.peek().map_or(NEVER_US, |Reverse((due_us, ..))| *due_us);
        let churn_us = self.churn.as_ref().map_or(NEVER_US, Churn::due_us);
        [ramp_us, deadline_us, churn_us, self.talk_us(), self.begin_us, self.look_us]
            .into_iter()
            .fold(NEVER_US, u64::min)
    }

    fn do_what_is_due(&mut self) {
        let now_us = self.run.now_us();
        while self.ramp_us() <= now_us && self.under_way < RAMP_UNDER_WAY_MAX {
            self.connect(now_us);
        }
        while let Some(&Reverse((due_us, number, deadline))) = self.deadlines.peek()
            && due_us <= now_us
        {
            self.deadlines.pop();
            self.meet(number, deadline, due_us);
        }
        if self.begin_us <= now_us {
            self.begin_us = NEVER_US;
            self.begin_turns();
        }
        if self.look_us <= now_us {
            self.look_us = now_us + LOOK_INTERVAL.as_micros() as u64;
            self.look_after(now_us.saturating_sub(PATIENCE.as_micros() as u64));
            if let Some(live) = self.run.live.get(self.index) {
                *live.lock() = self.audience.notes.recorder.last_second(now_us).cloned();
            }
        }
        self.churn_if_due(now_us);
        if self.talk_us() <= now_us {
            self.talk_by_script();
        }
    }

    /// Returns when the next connection is to be opened. The threads take turns, so that together they keep the rate of
    /// the plan.
    fn ramp_us(&self) -> u64 {
        if self.next == self.range.end {
            return NEVER_US;
        }
        let turn = (self.next - self.range.start) * self.run.threads + self.index;
        (turn as f64 * 1e6 / self.run.plan.ramp) as u64
    }

    fn connect(&mut self, now_us: u64) {
        let number = self.next;
        let user = &self.run.users[number];
        self.next += 1;
        self.under_way += 1;
        match Client::open(&self.peers, user.node, user.way, number, user.slow) {
            Ok(client) => {
                self.clients[number - self.range.start] = Some(client);
                self.deadline(now_us + ANSWER_TIMEOUT.as_micros() as u64, number, Deadline::Connect);
            }
            Err(error) => self.fail(number, &format!("connect: {}{}", describe(&error), self.run.place(number))),
        }
    }

    fn deadline(&mut self, due_us: u64, number: usize, deadline: Deadline) {
        self.deadlines.push(Reverse((due_us, number, deadline)));
    }

    /// Sets the deadline for the answer to a join or a leave.
    pub(super) fn await_answer(&mut self, number: usize) {
        let due_us = self.audience.person(number).asked_us + ANSWER_TIMEOUT.as_micros() as u64;
        self.deadline(due_us, number, Deadline::Answer);
    }

    fn meet(&mut self, number: usize, deadline: Deadline, due_us: u64) {
        let person = self.audience.person(number);
        match deadline {
            Deadline::Connect if person.state == State::Connecting => {
                self.fail(number, &format!("connect: no answer in {} s", ANSWER_TIMEOUT.as_secs()));
            }
            Deadline::Connect => {}
            // The user may have asked again since.
            Deadline::Answer if person.asked_us + ANSWER_TIMEOUT.as_micros() as u64 == due_us => {
                if let Some(asked) = person.state.asks() {
                    let event = self.run.protocol().listening.name();
                    let why = format!("{asked}: no {event} in {} s", ANSWER_TIMEOUT.as_secs());
                    self.audience.cannot(number, why);
                    self.take_news();
                }
            }
            Deadline::Answer => {}
            Deadline::Beat(period_us) => {
                if let Some(client) = &mut self.clients[number - self.range.start] {
                    client.beat();
                    self.deadline(self.run.now_us() + period_us, number, deadline);
                }
            }
        }
    }

    /// Handles an event of a connection.
    fn attend(&mut self, number: usize, event: &Event) {
        let Some(client) = &mut self.clients[number - self.range.start] else { return };
        let mut hearing = Hearing { audience: &mut self.audience, number };
        let listened = client.ready(event, &mut self.buffer, &mut hearing);
        if !self.audience.news.is_empty() {
            self.take_news();
        }
        if let Err(error) = listened {
            self.lose(number, &error);
        }
        if !self.audience.turns.is_empty() {
            self.take_turns();
        }
        // A poll may return a thousand events. A talk that had to wait for all of them would be late.
        if self.talk_us() <= self.audience.now_us {
            self.talk_by_script();
        }
    }

    fn take_news(&mut self) {
        for (number, news) in mem::take(&mut self.audience.news) {
            match news {
                // The server has confirmed the namespace once more, which is ignored.
                News::Connected(_) if self.audience.person(number).state != State::Connecting => {}
                News::Connected(heartbeat) => {
                    let now_us = self.audience.now_us;
                    if let Some(period) = heartbeat {
                        let period_us = period.as_micros().min(NEVER_US.into()) as u64;
                        self.deadline(now_us + period_us, number, Deadline::Beat(period_us));
                    }
                    self.join(number, now_us);
                }
                News::Joined => {
                    self.under_way -= 1;
                    self.run.counts.joined.fetch_add(1, Ordering::Relaxed);
                    if let Some(client) = &mut self.clients[number - self.range.start]
                        && self.run.users[number].slow
                    {
                        // A slow client stops reading. If the server then ends its connection, nothing counts as lost.
                        client.stop_reading();
                    }
                }
                News::Failed(why) => self.fail(number, &why),
            }
        }
    }

    pub(super) fn join(&mut self, number: usize, now_us: u64) {
        let user = &self.run.users[number];
        if let Some(client) = &mut self.clients[number - self.range.start] {
            self.audience.join(number, now_us);
            client.join(&user.name, user.token.as_ref().map(Secret::reveal));
            self.await_answer(number);
        }
    }

    /// Handles the end of a connection.
    fn lose(&mut self, number: usize, error: &io::Error) {
        let what = describe(error) + &self.run.place(number);
        let state = self.audience.person(number).state;
        match state {
            State::Gone => {}
            State::Connecting => {
                let hint = match error.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => self.hint(number),
                    _ => String::new(),
                };
                self.fail(number, &format!("connect: {what}{hint}"));
            }
            State::Joining if self.audience.field.is_none() => self.fail(number, &format!("join: {what}")),
            _ => {
                self.clients[number - self.range.start] = None;
                self.audience.close(number);
                self.run.counts.lost.fetch_add(1, Ordering::Relaxed);
                self.audience.error(number, &format!("connection: {what}"));
            }
        }
    }

    /// Returns a hint for a user whose server may speak another protocol, or have another path.
    fn hint(&self, number: usize) -> String {
        let Way { generation, transport } = self.run.users[number].way;
        let (generation, transport, path) = (generation.as_str(), transport.as_str(), &self.run.targets[0].path);
        format!(" (does it speak {generation} by {transport} at {path}? Flags --generations, --transports, --path)")
    }

    /// Handles a connection that failed before it was listening.
    fn fail(&mut self, number: usize, why: &str) {
        if mem::replace(&mut self.audience.person(number).state, State::Gone) == State::Gone {
            return;
        }
        self.clients[number - self.range.start] = None;
        self.under_way -= 1;
        self.run.counts.failed.fetch_add(1, Ordering::Relaxed);
        self.audience.error(number, why);
    }
}

/// Returns the text of an error, short enough for a row of the table.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the server".to_owned(),
        _ => error.to_string(),
    }
}
