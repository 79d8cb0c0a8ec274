//! The users of one thread as listeners: they judge and record what they hear.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::errors::Errors;
use super::person::{Person, State};
use super::{Field, Order, Run, is_earlier};
use crate::bench::client::{Ear, Heard, Update};
use crate::bench::ledger::{self, Receipt, Stray, Tally};
use crate::bench::measure::Recorder;
use crate::bench::plan::Pace;
use crate::bench::protocol::{AnswerBy, Ids, Loss};
use crate::event::{Code, Token};

/// The results of one thread.
pub(super) struct Notes {
    pub(super) recorder: Recorder,
    pub(super) tally: Tally,
    pub(super) errors: Errors,
    /// The events that the file of `--protocol` does not name.
    pub(super) unnamed: Errors,
}

impl Notes {
    pub(super) fn new() -> Self {
        let (recorder, tally) = (Recorder::new(0, 0), Tally::default());
        Self { recorder, tally, errors: Errors::default(), unnamed: Errors::default() }
    }

    /// Adds the results of another thread.
    pub(super) fn merge(&mut self, other: Self) {
        self.recorder.merge(&other.recorder);
        self.tally.merge(&other.tally);
        self.errors.merge(other.errors);
        self.unnamed.merge(other.unnamed);
    }
}

/// The users of one thread.
pub(super) struct Audience {
    pub(super) run: Arc<Run>,
    pub(super) range: Range<usize>,
    pub(super) people: Vec<Person>,
    pub(super) field: Option<Arc<Field>>,
    pub(super) notes: Notes,
    /// When the bytes now being handled were read.
    pub(super) now_us: u64,
    /// Conversations whose turn has come. They talk after everything that was read is handled.
    pub(super) turns: Vec<usize>,
    /// Changes of connections, to be handled after everything that was read.
    pub(super) news: Vec<(usize, News)>,
    echo: Echo,
    /// Deliveries since the shared counters were last updated.
    deliveries: u64,
    /// Those of them whose talker is on another node.
    remote: u64,
    /// Bytes read since then.
    bytes: u64,
}

/// A change of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The connection may join. It has to send a heartbeat with this period, if there is one.
    Connected(Option<Duration>),
    /// The connection is listening for the first time.
    Joined,
    /// The connection failed before it was listening.
    Failed(String),
}

/// The last update, decoded. All members of a conversation get the same bytes, mostly one after the other.
struct Echo {
    argument: Vec<u8>,
    conversation: Option<usize>,
    talk: Result<u64, Stray>,
    /// When the talk was to be sent, by its timestamp.
    timestamp: Option<u64>,
    missed: Option<u64>,
}

impl Default for Echo {
    fn default() -> Self {
        let talk = Err(Stray::Conversation);
        Self { argument: Vec::new(), conversation: None, talk, timestamp: None, missed: None }
    }
}

/// The receiver of the events of one user.
pub(super) struct Hearing<'a> {
    pub(super) audience: &'a mut Audience,
    pub(super) number: usize,
}

impl Ear for Hearing<'_> {
    fn read(&mut self, bytes: usize, at: Instant) {
        self.audience.bytes += bytes as u64;
        self.audience.now_us = self.audience.run.us(at);
    }

    fn heard(&mut self, heard: Heard<'_>) {
        let Self { audience, number } = self;
        match heard {
            Heard::Update(argument) => match audience.update(*number, argument) {
                Ok(0) => {}
                Ok(freed) => audience.free(freed),
                Err(stray) => audience.notes.tally.stray(stray),
            },
            Heard::Connected(heartbeat) => audience.news.push((*number, News::Connected(heartbeat))),
            Heard::Listening(ids) => audience.listening(*number, &ids),
            Heard::Refused(event, code) => audience.refused(*number, &event, &code),
            Heard::Missed(loss) => audience.missed(*number, &loss),
            Heard::NotListening => {
                let listening = &audience.run.protocol().listening;
                let article = if listening.answer == AnswerBy::Event { "a" } else { "an" };
                let (name, form) = (listening.name(), listening.form());
                let what = format!("join: answered with {article} {name} that is not {form}");
                audience.cannot(*number, what);
            }
            Heard::Unnamed(event) if audience.run.has_file => audience.notes.unnamed.note(event),
            Heard::Unnamed(_) => {}
            Heard::Garbled(event) => audience.error(*number, &format!("{event}: makes no sense")),
        }
    }
}

impl Audience {
    pub(super) fn new(run: Arc<Run>, range: Range<usize>) -> Self {
        Self {
            people: range.clone().map(|number| Person::new(number, run.users[number].node)).collect(),
            range,
            run,
            field: None,
            notes: Notes::new(),
            now_us: 0,
            turns: Vec::new(),
            news: Vec::new(),
            echo: Echo::default(),
            deliveries: 0,
            remote: 0,
            bytes: 0,
        }
    }

    /// Adds the deliveries and bytes since the last call to the shared counters.
    pub(super) fn tell(&mut self) {
        if self.bytes > 0 {
            self.run.counts.bytes.fetch_add(mem::take(&mut self.bytes), Ordering::Relaxed);
            self.run.counts.deliveries.fetch_add(mem::take(&mut self.deliveries), Ordering::Relaxed);
            self.run.counts.remote.fetch_add(mem::take(&mut self.remote), Ordering::Relaxed);
        }
    }

    fn refused(&mut self, number: usize, event: &str, code: &str) {
        let (protocol, counts) = (self.run.protocol(), &self.run.counts);
        let (is_talk, is_join) = (event == protocol.talk.event, event == protocol.join.event);
        let is_asked = is_join || event == protocol.leave.event;
        let counter = if is_talk { Some(&counts.refused_talks) } else { is_join.then_some(&counts.refused_joins) };
        let limited = (is_talk && code == Code::RateLimited.as_str()).then_some(&counts.limited_talks);
        counter.into_iter().chain(limited).for_each(|counter| _ = counter.fetch_add(1, Ordering::Relaxed));
        let what = format!("{event}: refused with {code}");
        if is_asked { self.cannot(number, what) } else { self.error(number, &what) }
    }

    pub(super) fn error(&mut self, number: usize, what: &str) {
        let token = self.run.users[number].token.as_ref().map(Token::reveal);
        self.notes.errors.add(what, token);
    }

    pub(super) fn person(&mut self, number: usize) -> &mut Person {
        &mut self.people[number - self.range.start]
    }

    /// Seats everybody in the conversations of the layout, before the first talk.
    pub(super) fn take_seats(&mut self, field: Arc<Field>) {
        for person in &mut self.people {
            if person.state == State::Listening && !self.run.users[person.number].slow {
                for &conversation in field.layout.conversations_of(person.number) {
                    person.sit_down(&field, conversation);
                }
            }
        }
        self.field = Some(field);
        self.run.seated.fetch_add(1, Ordering::Release);
    }

    /// Judges and records an update. Returns how many talks (in a closed loop: slots) it frees.
    fn update(&mut self, number: usize, argument: &[u8]) -> Result<usize, Stray> {
        let Some(field) = &self.field else {
            let update = Update::parse(argument, &self.run.protocol().update).ok_or(Stray::Garbled)?;
            return self.run.number(&update).and(Err(Stray::Conversation));
        };
        if self.echo.argument != argument {
            let update = Update::parse(argument, &self.run.protocol().update).ok_or(Stray::Garbled)?;
            self.echo.argument.clear();
            self.echo.argument.extend_from_slice(argument);
            self.echo.conversation = field.layout.find(&update.conversation);
            self.echo.talk =
                self.echo.conversation.map_or(Err(Stray::Conversation), |k| self.run.talk(field, k, &update));
            (self.echo.timestamp, self.echo.missed) = (update.timestamp, update.missed);
        }
        let conversation = self.echo.conversation.ok_or(Stray::Conversation)?;
        let Some(seat) = self.people[number - self.range.start].seat(conversation) else {
            return Err(match self.echo.talk {
                Err(Stray::Earlier) => Stray::Earlier,
                _ if field.layout.talker(conversation) == number => Stray::Own,
                _ => Stray::Conversation,
            });
        };
        let talk = self.echo.talk?;
        if seat.left_at.is_some_and(|left_at| talk > left_at) {
            return Err(Stray::Conversation);
        }
        let talks = &field.talks[conversation];
        let receipt = seat.listener.receive(talk, talks.sent());
        let mut freed = 0;
        if let Some(missed) = self.echo.missed {
            for (from, to) in seat.listener.declare_missing(talk, missed) {
                freed += talks.miss(from, to);
                seat.heard = seat.heard.max(to);
            }
        }
        if !matches!(receipt, Receipt::New | Receipt::OutOfOrder) || talk < seat.due || seat.left_at.is_some() {
            return Ok(freed);
        }
        seat.heard = seat.heard.max(talk);
        self.deliveries += 1;
        self.remote += u64::from(seat.is_remote);
        let (is_remote, class) = (seat.is_remote, field.classes[conversation]);
        let Some(delivery) = talks.hear(talk, self.now_us) else {
            // The talk was forgotten, but its timestamp tells when it was to be sent.
            if let Some(intended_us) = self.echo.timestamp.filter(|intended_us| *intended_us <= self.now_us) {
                self.notes.recorder.record(class, is_remote, intended_us, intended_us, self.now_us);
            }
            return Ok(freed);
        };
        self.notes.recorder.record(class, is_remote, delivery.intended_us, delivery.sent_us, self.now_us);
        if let Some((first_us, last_us)) = delivery.span_us {
            self.notes.recorder.record_spread(class, delivery.intended_us, first_us, last_us);
        }
        Ok(freed + usize::from(delivery.is_freed))
    }

    /// Records that news may be lost: those that have not come by now and, during an outage, those that follow.
    fn missed(&mut self, number: usize, loss: &Loss) {
        let person = &mut self.people[number - self.range.start];
        if loss.conversations.is_none() {
            person.is_cut_off = loss.is_ongoing;
        }
        let Some(field) = &self.field else { return };
        let named = loss.conversations.as_ref().map(|ids| ids.iter().filter_map(|id| field.layout.find(id)));
        let named = named.map(Vec::from_iter);
        for seat in &mut person.seats {
            let is_meant = named.as_ref().is_none_or(|named| named.contains(&seat.conversation));
            if is_meant && seat.may_miss(&self.run) {
                seat.listener.tell(field.talks[seat.conversation].sent());
            }
        }
    }

    fn listening(&mut self, number: usize, Ids { texts: ids, are_numbers }: &Ids) {
        let now_us = self.now_us;
        let person = &mut self.people[number - self.range.start];
        match (person.state, &self.field) {
            (State::Joining, field) => {
                self.notes.recorder.record_join(now_us.saturating_sub(person.asked_us));
                let Some(field) = field.clone() else {
                    self.run.numbers.fetch_or(*are_numbers, Ordering::Relaxed);
                    person.state = State::Listening;
                    self.run.heard.lock().push((number, ids.to_vec()));
                    self.news.push((number, News::Joined));
                    return;
                };
                let mut conversations = ids.iter().filter_map(|id| field.layout.find(id)).collect::<Vec<_>>();
                conversations.sort_unstable();
                conversations.dedup();
                for &conversation in &conversations {
                    if let Some(mut before) = person.sit_down(&field, conversation) {
                        self.notes.tally.add(&before.listener.close(field.talks[conversation].sent()));
                    }
                }
                self.answered(number, State::Listening);
                let is_known = |id: &String| field.layout.find(id).is_some();
                if conversations != field.layout.conversations_of(number) || !ids.iter().all(is_known) {
                    self.churn_failed(number, "join: listening to other conversations than before");
                }
            }
            (State::Leaving, Some(field)) if ids.is_empty() => {
                for seat in &mut person.seats {
                    seat.left_at = Some(field.talks[seat.conversation].sent());
                }
                self.answered(number, State::Away);
            }
            _ => {}
        }
    }

    /// Records that a join or a leave failed.
    pub(super) fn cannot(&mut self, number: usize, why: String) {
        if self.person(number).state.asks().is_none() {
            self.error(number, &why);
        } else if self.field.is_none() {
            // Later answers to this join are ignored.
            self.person(number).state = State::Refused;
            self.news.push((number, News::Failed(why)));
        } else {
            self.answered(number, State::Refused);
            self.churn_failed(number, &why);
        }
    }

    fn churn_failed(&mut self, number: usize, why: &str) {
        self.run.counts.churn_failures.fetch_add(1, Ordering::Relaxed);
        self.error(number, why);
    }

    /// Records that the server kept a talk from being sent.
    pub(super) fn not_taken(&mut self, talker: usize, why: &str) {
        self.run.counts.not_taken.fetch_add(1, Ordering::Relaxed);
        self.error(talker, why);
    }

    /// Records that a user who left joins again.
    pub(super) fn join(&mut self, number: usize, now_us: u64) {
        self.person(number).join(now_us);
        if let Some(field) = &self.field {
            field.under_way.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records the answer to a join or a leave, for which the end of the run waits.
    fn answered(&mut self, number: usize, state: State) {
        let has_asked = mem::replace(&mut self.person(number).state, state).asks().is_some();
        if let Some(field) = self.field.as_ref().filter(|_| has_asked) {
            field.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records that a user leaves all conversations.
    pub(super) fn leave(&mut self, number: usize, now_us: u64) {
        let Some(field) = self.field.clone() else { return };
        let person = &mut self.people[number - self.range.start];
        (person.state, person.asked_us) = (State::Leaving, now_us);
        field.under_way.fetch_add(1, Ordering::Relaxed);
        let mut freed = 0;
        for seat in &mut person.seats {
            if person.is_cut_off && seat.may_miss(&self.run) {
                seat.listener.tell(field.talks[seat.conversation].sent());
            }
            self.notes.tally.add(&seat.listener.leave());
            // Talks sent from here on may still come until the server confirms the leave.
            seat.left_at = Some(u64::MAX);
            freed += field.talks[seat.conversation].quit(seat.heard);
        }
        self.free(freed);
    }

    /// Closes a user at the end of the run. A request without an answer has failed.
    pub(super) fn end(&mut self, number: usize) {
        if let Some(asked) = self.person(number).state.asks().filter(|_| self.field.is_some()) {
            let event = self.run.protocol().listening.name();
            self.cannot(number, format!("{asked}: no {event} until the end"));
        }
        self.close(number);
    }

    /// Closes the ledgers of a user, who takes no further part in the run. Due talks that were not heard are lost.
    pub(super) fn close(&mut self, number: usize) {
        self.answered(number, State::Gone);
        let person = self.person(number);
        let (seats, is_cut_off) = (mem::take(&mut person.seats), person.is_cut_off);
        let Some(field) = self.field.clone() else { return };
        for mut seat in seats {
            let talks = &field.talks[seat.conversation];
            if is_cut_off && seat.may_miss(&self.run) {
                seat.listener.tell(talks.sent());
            }
            self.notes.tally.add(&seat.listener.close(talks.sent()));
            if seat.left_at.is_none() {
                self.free(talks.quit(seat.heard));
            }
        }
    }

    /// Records that `talks` talks are no longer in flight. In a closed loop as many other conversations get their turn,
    /// each in the thread of its talker.
    pub(super) fn free(&mut self, talks: usize) {
        let Some(field) = &self.field else { return };
        let goes_on = matches!(self.run.plan.pace, Pace::Closed { .. }) && !field.over.load(Ordering::Relaxed);
        let Some(schedule) = field.schedule.as_ref().filter(|_| goes_on) else {
            field.under_way.fetch_sub(talks, Ordering::Relaxed);
            return;
        };
        for _ in 0..talks {
            let conversation = schedule.conversation(field.turn.fetch_add(1, Ordering::Relaxed));
            let talker = field.layout.talker(conversation);
            if self.range.contains(&talker) {
                self.turns.push(conversation);
            } else {
                self.run.doors[self.run.thread_of(talker)].tell(Order::Turn(conversation));
            }
        }
    }
}

impl Run {
    /// Returns the number of the talk in conversation `k` that the update is about.
    fn talk(&self, field: &Field, k: usize, update: &Update<'_>) -> Result<u64, Stray> {
        let talk = self.number(update)?;
        let is_named = !self.protocol().update.sender.is_empty();
        let is_another = is_named && update.username != self.users[field.layout.talker(k)].heard_as;
        if is_another { Err(Stray::Username) } else { Ok(talk) }
    }

    /// Returns the number of the talk of this run that the update is about.
    fn number(&self, update: &Update<'_>) -> Result<u64, Stray> {
        let (run, talk) = ledger::parse_message_id(&update.message_id).ok_or(Stray::MessageId)?;
        if run != self.id {
            return Err(if is_earlier(run, &self.id) { Stray::Earlier } else { Stray::MessageId });
        }
        Ok(talk)
    }
}
