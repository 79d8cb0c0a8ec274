//! One thread of the load: its share of the connections, a task for each, and the talks of those who talk.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};

use super::alarm::Alarm;
use super::person::{Hearing, Person, State};
use super::{Field, Phase, Run, Times};
use crate::bench::client::{Client, Mouth, Speeches};
use crate::bench::ledger::{self, Tally};
use crate::bench::measure::Recorder;
use crate::bench::plan::{Pace, Random};
use crate::event::Token;

/// How long it may take until a connection may speak, and then until it is listening.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// So many connections of a thread may be on their way to `listening` at a time.
const RAMP_UNDER_WAY_MAX: usize = 1024;
/// So many talks that are late are sent before anything else gets a turn.
const BURST_MAX: usize = 32;
/// A talk that was not heard by all after this time is waited for no more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for such talks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What a thread has found out.
pub(super) struct Notes {
    pub(super) recorder: Recorder,
    pub(super) tally: Tally,
    pub(super) errors: BTreeMap<String, u64>,
}

/// What all tasks of the thread share.
pub(super) struct Worker {
    pub(super) run: Arc<Run>,
    index: usize,
    range: Range<usize>,
    speeches: Speeches,
    people: Vec<RefCell<Person>>,
    mouths: RefCell<Vec<Option<Rc<Mouth>>>>,
    pub(super) field: OnceCell<Arc<Field>>,
    pub(super) notes: RefCell<Notes>,
    /// What every connection reads into.
    buffer: RefCell<Vec<u8>>,
    /// Conversations whose turn has come, to talk when all that was read at once is done with.
    turns: RefCell<Vec<usize>>,
    /// Slots of a closed loop for which nobody was there to talk or to hear.
    idle: Cell<usize>,
}

impl Worker {
    /// Runs until the end. The share of thread `index` are the connections of `range`; `turns` says which
    /// conversation's turn has come by what another thread heard.
    pub(super) fn run(
        run: Arc<Run>,
        index: usize,
        range: Range<usize>,
        turns: mpsc::UnboundedReceiver<usize>,
    ) -> io::Result<Notes> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Rc::new(Self {
            index,
            speeches: Speeches::new(&run.target.namespace),
            people: range.clone().map(|number| RefCell::new(Person::new(number))).collect(),
            mouths: RefCell::new(range.clone().map(|_| None).collect()),
            field: OnceCell::new(),
            notes: RefCell::new(Notes {
                recorder: Recorder::new(0, 0),
                tally: Tally::default(),
                errors: BTreeMap::new(),
            }),
            buffer: RefCell::default(),
            turns: RefCell::default(),
            idle: Cell::new(0),
            range,
            run,
        });
        let tasks = LocalSet::new();
        runtime.block_on(tasks.run_until(Rc::clone(&worker).live(turns)))?;
        // With the tasks, all connections end.
        drop(tasks);
        drop(runtime);
        let worker = Rc::into_inner(worker).ok_or_else(|| io::Error::other("a task outlived its thread"))?;
        worker.people.iter().for_each(|person| worker.close(&mut person.borrow_mut()));
        Ok(worker.notes.into_inner())
    }

    async fn live(self: Rc<Self>, turns: mpsc::UnboundedReceiver<usize>) -> io::Result<()> {
        let mut phase = self.run.phase.clone();
        let mut turns = Some(turns);
        let mut tasks = vec![self.spawn(Rc::clone(&self).ramp())];
        loop {
            let now = phase.borrow_and_update().clone();
            match now {
                Phase::Ramp => {}
                Phase::Seats(field) => {
                    tasks.drain(..).for_each(|task| task.abort());
                    self.take_seats(field);
                }
                Phase::Talk(times) => {
                    let mut recorder = Recorder::new(times.measured_us, times.end_us);
                    recorder.merge(&self.notes.borrow().recorder);
                    self.notes.borrow_mut().recorder = recorder;
                    let alarm = Alarm::new()?;
                    tasks.push(self.spawn(Rc::clone(&self).churn(times)));
                    match (self.run.plan.pace, turns.take()) {
                        (Pace::Closed { window }, Some(turns)) => {
                            // It ends with the connections: until then slots come back.
                            self.spawn(Rc::clone(&self).talk_in_turn(times, alarm, window, turns));
                        }
                        _ => tasks.push(self.spawn(Rc::clone(&self).talk_by_schedule(times, alarm))),
                    }
                    self.spawn(Rc::clone(&self).look_after());
                }
                Phase::Quiet => tasks.drain(..).for_each(|task| task.abort()),
                Phase::End => return Ok(()),
            }
            if phase.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Starts a task. Should it panic, the run has failed: nobody else waits for it.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        struct Guard(Arc<Run>);

        impl Drop for Guard {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.panicked.store(true, Ordering::Relaxed);
                }
            }
        }

        let guard = Guard(Arc::clone(&self.run));
        spawn_local(async move {
            let _guard = guard;
            task.await;
        })
    }

    /// Opens the connections of this thread, as many per second as the plan says over all threads.
    async fn ramp(self: Rc<Self>) {
        let permits = Arc::new(Semaphore::new(RAMP_UNDER_WAY_MAX));
        for number in self.range.clone() {
            // Threads take turns.
            let turn = (number - self.range.start) * self.run.threads + self.index;
            let due = self.run.epoch + Duration::from_secs_f64(turn as f64 / self.run.plan.ramp);
            if due > Instant::now() {
                sleep_until(due.into()).await;
            }
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let worker = Rc::clone(&self);
            self.spawn(async move { worker.attend(number, permit).await });
        }
    }

    /// One connection from its beginning to its end.
    async fn attend(&self, number: usize, permit: OwnedSemaphorePermit) {
        let run = &self.run;
        let slow = run.users[number].slow;
        let connected =
            timeout(CONNECT_TIMEOUT, Client::connect(&run.target, &self.speeches, run.users[number].way, number, slow));
        let mut client = match connected.await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return self.fail(number, &format!("connect: {}", describe(&error))),
            Err(_) => return self.fail(number, "connect: no answer"),
        };
        self.mouths.borrow_mut()[number - self.range.start] = Some(client.mouth());
        self.person(number).borrow_mut().join(run.now_us());
        self.join(number);
        let deadline = tokio::time::Instant::now() + JOIN_TIMEOUT;
        while self.person(number).borrow().state == State::Joining {
            match timeout_at(deadline, self.listen(&mut client, number)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.fail(number, &format!("join: {}", describe(&error))),
                Err(_) => return self.fail(number, "join: no answer"),
            }
        }
        drop(permit);
        let state = self.person(number).borrow().state.clone();
        if let State::Refused(code) = state {
            return self.fail(number, &format!("join: refused with {code}"));
        }
        run.joined.fetch_add(1, Ordering::Relaxed);
        if slow {
            // It reads no more. What the server does about it is no loss.
            return pending().await;
        }
        let error = loop {
            if let Err(error) = self.listen(&mut client, number).await {
                break error;
            }
        };
        self.mouths.borrow_mut()[number - self.range.start] = None;
        self.close(&mut self.person(number).borrow_mut());
        self.run.lost.fetch_add(1, Ordering::Relaxed);
        self.error(&format!("connection: {}", describe(&error)));
    }

    /// Waits for something to read, and hears it. What all connections share is borrowed only while it is read.
    async fn listen(&self, client: &mut Client, number: usize) -> io::Result<()> {
        let person = self.person(number);
        poll_fn(|cx| {
            let mut ear = Hearing { worker: self, person: &mut person.borrow_mut() };
            client.poll_listen(cx, &mut self.buffer.borrow_mut(), &mut ear)
        })
        .await
    }

    /// A connection that never was what it should have been.
    fn fail(&self, number: usize, why: &str) {
        self.mouths.borrow_mut()[number - self.range.start] = None;
        self.person(number).borrow_mut().state = State::Gone;
        self.run.failed.fetch_add(1, Ordering::Relaxed);
        self.error(why);
    }

    /// Its part is over: what it has not heard of what it had to is lost.
    fn close(&self, person: &mut Person) {
        person.state = State::Gone;
        let Some(field) = self.field.get() else { return };
        for seat in &mut person.seats {
            let talks = &field.talks[seat.conversation];
            let accounts = seat.listener.close(talks.sent());
            self.notes.borrow_mut().tally.add(&accounts);
            if seat.left_at.is_none() {
                self.free(talks.quit(seat.heard), field);
            }
        }
        person.seats.clear();
    }

    pub(super) fn error(&self, what: &str) {
        let errors = &mut self.notes.borrow_mut().errors;
        match errors.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(errors.insert(what.to_owned(), 1)),
        }
    }

    fn person(&self, number: usize) -> &RefCell<Person> {
        &self.people[number - self.range.start]
    }

    pub(super) fn join(&self, number: usize) {
        let user = &self.run.users[number];
        if let Some(mouth) = &self.mouths.borrow()[number - self.range.start] {
            mouth.join(&user.name, user.token.as_ref().map(Token::reveal));
        }
    }

    /// Everybody takes the seats that the layout gives them, before the first talk.
    fn take_seats(&self, field: Arc<Field>) {
        for person in &self.people {
            let mut person = person.borrow_mut();
            if person.state == State::Listening && !self.run.users[person.number].slow {
                for &conversation in field.layout.conversations_of(person.number) {
                    person.sit_down(&field, conversation);
                }
            }
        }
        let _ = self.field.set(field);
        self.run.seated.fetch_add(1, Ordering::Release);
    }

    async fn talk_by_schedule(self: Rc<Self>, times: Times, alarm: Alarm) {
        let Some(field) = self.field.get() else { return };
        let mut burst = 0;
        let Some(schedule) = &field.schedule else { return };
        for (n, conversation) in schedule.turns(|conversation| self.is_mine(field.layout.talker(conversation))) {
            let intended_us = times.begin_us + schedule.due_us(n);
            if intended_us >= times.end_us {
                return;
            }
            if intended_us > self.run.now_us() {
                let due = self.run.epoch + Duration::from_micros(intended_us);
                if let Err(error) = alarm.until(due).await {
                    return self.error(&format!("timer: {error}"));
                }
                burst = 0;
            } else if burst == BURST_MAX {
                tokio::task::yield_now().await;
                burst = 0;
            }
            burst += 1;
            if self.talk(conversation, intended_us, self.run.now_us()) {
                field.under_way.fetch_add(1, Ordering::Relaxed);
            }
            self.flush(conversation);
        }
    }

    async fn talk_in_turn(
        self: Rc<Self>,
        times: Times,
        alarm: Alarm,
        window: usize,
        mut turns: mpsc::UnboundedReceiver<usize>,
    ) {
        let Some(field) = self.field.get() else { return };
        let begin = alarm.until(self.run.epoch + Duration::from_micros(times.begin_us)).await;
        if let Err(error) = begin {
            return self.error(&format!("timer: {error}"));
        }
        if self.index == 0 {
            field.under_way.fetch_add(window, Ordering::Relaxed);
            self.free(window, field);
            self.take_turns();
        }
        while let Some(conversation) = turns.recv().await {
            self.turns.borrow_mut().push(conversation);
            self.take_turns();
        }
    }

    /// Gives up what somebody never hears, and tries again where nobody was there.
    async fn look_after(self: Rc<Self>) {
        let Some(field) = self.field.get() else { return };
        let mine = |conversation: &usize| self.is_mine(field.layout.talker(*conversation));
        let mine = (0..field.talks.len()).filter(mine).collect::<Vec<_>>();
        loop {
            sleep(LOOK_INTERVAL).await;
            let before_us = self.run.now_us().saturating_sub(PATIENCE.as_micros() as u64);
            for &conversation in &mine {
                self.free(field.talks[conversation].give_up(before_us), field);
            }
            self.free(self.idle.take(), field);
            self.take_turns();
        }
    }

    /// So many leave all their conversations per second, and join again when the next one leaves, or the one behind.
    /// Who talks stays.
    async fn churn(self: Rc<Self>, times: Times) {
        let Some(field) = self.field.get() else { return };
        let talks = |number: usize| {
            field
                .layout
                .conversations_of(number)
                .iter()
                .any(|&conversation| field.layout.talker(conversation) == number)
        };
        let listens = |number: &usize| !self.run.users[*number].slow && !talks(*number);
        let listeners = self.range.clone().filter(listens).collect::<Vec<_>>();
        let rate = self.run.plan.churn * self.range.len() as f64 / self.run.plan.connections as f64;
        if listeners.is_empty() || rate <= 0.0 {
            return;
        }
        let mut random = Random::new(self.run.plan.seed ^ self.index as u64);
        let begin = self.run.epoch + Duration::from_micros(times.begin_us);
        let mut away = Vec::new();
        for n in 1_u64.. {
            sleep_until((begin + Duration::from_secs_f64(n as f64 / rate)).into()).await;
            away.retain(|&number| {
                let is_away = self.person(number).borrow().state == State::Away;
                if is_away {
                    self.person(number).borrow_mut().join(self.run.now_us());
                    self.join(number);
                }
                !is_away
            });
            let number = listeners[random.below(listeners.len())];
            if self.leave(number, field) {
                away.push(number);
            }
        }
    }

    /// Whether it was there to leave.
    fn leave(&self, number: usize, field: &Field) -> bool {
        let mouths = self.mouths.borrow();
        let mut person = self.person(number).borrow_mut();
        let (State::Listening, Some(mouth)) = (&person.state, &mouths[number - self.range.start]) else {
            self.error("churn: nobody there to leave");
            return false;
        };
        person.state = State::Leaving;
        for seat in &mut person.seats {
            self.notes.borrow_mut().tally.add(&seat.listener.leave());
            // What is sent from here on may still come, until the server has said that it has left.
            seat.left_at = Some(u64::MAX);
            self.free(field.talks[seat.conversation].quit(seat.heard), field);
        }
        mouth.leave();
        drop((mouths, person));
        self.take_turns();
        true
    }

    /// So many talks are under way no more. In a closed loop as many others take their turn, each in the thread of its
    /// talker, by [`take_turns`](Self::take_turns).
    pub(super) fn free(&self, talks: usize, field: &Field) {
        let goes_on = matches!(self.run.plan.pace, Pace::Closed { .. }) && !field.over.load(Ordering::Relaxed);
        let Some(schedule) = field.schedule.as_ref().filter(|_| goes_on) else {
            field.under_way.fetch_sub(talks, Ordering::Relaxed);
            return;
        };
        for _ in 0..talks {
            let conversation = schedule.conversation(field.turn.fetch_add(1, Ordering::Relaxed));
            let talker = field.layout.talker(conversation);
            if self.is_mine(talker) {
                self.turns.borrow_mut().push(conversation);
            } else {
                // A thread that is gone has ended in error, which is reported.
                let _ = field.threads[self.run.thread_of(talker)].send(conversation);
            }
        }
    }

    /// Those whose turn has come talk, and what one has to say leaves in one write.
    pub(super) fn take_turns(&self) {
        let Some(field) = self.field.get().filter(|_| !self.turns.borrow().is_empty()) else { return };
        let mut turns = self.turns.take();
        let now_us = self.run.now_us();
        if field.over.load(Ordering::Relaxed) {
            field.under_way.fetch_sub(turns.len(), Ordering::Relaxed);
            turns.clear();
        }
        for &conversation in &turns {
            if !self.talk(conversation, now_us, now_us) {
                self.idle.set(self.idle.get() + 1);
            }
        }
        turns.drain(..).for_each(|conversation| self.flush(conversation));
        // The room that it took is used again.
        self.turns.replace(turns);
    }

    fn is_mine(&self, number: usize) -> bool {
        self.range.contains(&number)
    }

    /// The next talk of a conversation. Whether somebody will hear it.
    fn talk(&self, conversation: usize, intended_us: u64, now_us: u64) -> bool {
        let Some(field) = self.field.get() else { return false };
        let mouths = self.mouths.borrow();
        let Some(mouth) = &mouths[field.layout.talker(conversation) - self.range.start] else {
            self.error("talk: its talker is gone");
            return false;
        };
        if mouth.is_clogged() {
            self.error("talk: the server does not read");
            return false;
        }
        let (number, is_heard) = field.talks[conversation].begin(intended_us, now_us);
        let id = ledger::message_id(&self.run.id, number, self.run.plan.payload_bytes);
        mouth.talk(&field.ids[conversation], intended_us, &id);
        let notes = &mut *self.notes.borrow_mut();
        notes.tally.sent(1);
        notes.recorder.record_talk(intended_us, now_us);
        is_heard
    }

    fn flush(&self, conversation: usize) {
        let Some(field) = self.field.get() else { return };
        if let Some(mouth) = &self.mouths.borrow()[field.layout.talker(conversation) - self.range.start] {
            mouth.flush();
        }
    }
}

/// What is behind an error, as short as a row of a table wants it.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the server".to_owned(),
        _ => error.to_string(),
    }
}
