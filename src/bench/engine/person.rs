//! One user of the bench: where they listen, and what they make of what they hear.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Field;
use super::worker::Worker;
use crate::bench::client::{Ear, Heard, Update};
use crate::bench::ledger::{self, Listener, Receipt, Stray};

/// Among more conversations than these, one is looked up rather than looked for.
const SEATS_SEARCHED_MAX: usize = 8;

/// A connection's part in the run.
pub(super) struct Person {
    pub(super) number: usize,
    pub(super) state: State,
    /// When it joined.
    joined_us: u64,
    /// Where it listens, or did before it left, by number of the conversation.
    pub(super) seats: Vec<Seat>,
    /// Deliveries since this was last told to the run.
    deliveries: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// On its way to the server.
    Connecting,
    /// It waits for `listening`.
    Joining,
    /// Where it should be.
    Listening,
    /// It waits for the `listening` that names nothing.
    Leaving,
    /// It has left, and will join again.
    Away,
    /// Its join was refused with this code.
    Refused(String),
    /// The connection is over.
    Gone,
}

/// One conversation of a connection.
pub(super) struct Seat {
    pub(super) conversation: usize,
    pub(super) listener: Listener,
    /// The first talk that it has to hear.
    due: u64,
    /// The highest talk that it has heard, or need not.
    pub(super) heard: u64,
    /// It has left: talks above this one must not come any more.
    pub(super) left_at: Option<u64>,
}

impl Person {
    pub(super) fn new(number: usize) -> Self {
        Self { number, state: State::Connecting, joined_us: 0, seats: Vec::new(), deliveries: 0 }
    }

    pub(super) fn join(&mut self, now_us: u64) {
        self.state = State::Joining;
        self.joined_us = now_us;
        // What is sent from here on may already come, and has to when it has heard that it is listening.
        self.seats.iter_mut().for_each(|seat| seat.left_at = Some(u64::MAX));
    }

    /// It listens there from now on, unless it is who talks there. The place in `seats` is the order of the layout. Its
    /// seat from before, if it had one.
    pub(super) fn sit_down(&mut self, field: &Field, conversation: usize) -> Option<Seat> {
        if field.layout.talker(conversation) == self.number {
            return None;
        }
        let sent = field.talks[conversation].enter();
        let seat = Seat { conversation, listener: Listener::new(sent), due: sent + 1, heard: sent, left_at: None };
        match self.seats.binary_search_by_key(&conversation, |seat| seat.conversation) {
            Ok(at) => Some(std::mem::replace(&mut self.seats[at], seat)),
            Err(at) => {
                self.seats.insert(at, seat);
                None
            }
        }
    }

    fn seat(&mut self, field: &Field, id: &str) -> Option<&mut Seat> {
        if self.seats.len() <= SEATS_SEARCHED_MAX {
            return self.seats.iter_mut().find(|seat| field.layout.id(seat.conversation).as_str() == id);
        }
        let conversation = field.layout.find(id)?;
        let at = self.seats.binary_search_by_key(&conversation, |seat| seat.conversation).ok()?;
        self.seats.get_mut(at)
    }
}

/// A user who listens.
pub(super) struct Hearing<'a> {
    pub(super) worker: &'a Worker,
    pub(super) person: &'a mut Person,
}

impl Ear for Hearing<'_> {
    fn heard(&mut self, heard: Heard<'_>, received: Instant) {
        match heard {
            Heard::Update(update) => {
                if let Err(stray) = self.update(&update, self.worker.run.us(received)) {
                    self.worker.notes.borrow_mut().tally.stray(stray);
                }
            }
            Heard::Listening(ids) => self.listening(&ids, self.worker.run.us(received)),
            Heard::Refused("join", code) => {
                self.person.state = State::Refused(code.to_owned());
                if self.worker.field.get().is_some() {
                    self.worker.error(&format!("join: refused with {code}"));
                }
            }
            Heard::Refused(event, code) => self.worker.error(&format!("{event}: refused with {code}")),
            Heard::Garbled(event) => self.worker.error(&format!("{event}: makes no sense")),
            Heard::Connected => {}
        }
    }

    fn paused(&mut self, bytes: usize) {
        self.worker.run.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.person.deliveries > 0 {
            self.worker.run.deliveries.fetch_add(self.person.deliveries, Ordering::Relaxed);
            self.person.deliveries = 0;
        }
        self.worker.take_turns();
    }
}

impl Hearing<'_> {
    fn update(&mut self, update: &Update<'_>, received_us: u64) -> Result<(), Stray> {
        let run = &self.worker.run;
        let field = self.worker.field.get().ok_or(Stray::Conversation)?;
        let number = self.person.number;
        let Some(seat) = self.person.seat(field, &update.conversation) else {
            let is_own = |conversation| field.layout.talker(conversation) == number;
            let is_own = field.layout.find(&update.conversation).is_some_and(is_own);
            return Err(if is_own { Stray::Own } else { Stray::Conversation });
        };
        let (id, talk) = ledger::parse_message_id(&update.message_id).ok_or(Stray::MessageId)?;
        if id != run.id {
            return Err(Stray::MessageId);
        }
        let talker = field.layout.talker(seat.conversation);
        if update.username != run.users[talker].heard_as {
            return Err(Stray::Username);
        }
        if seat.left_at.is_some_and(|left_at| talk > left_at) {
            return Err(Stray::Conversation);
        }
        let talks = &field.talks[seat.conversation];
        let receipt = seat.listener.receive(talk, talks.sent());
        if let Some(missed) = update.missed {
            seat.listener.declare_missing(talk, missed);
        }
        if !matches!(receipt, Receipt::New | Receipt::OutOfOrder) || talk < seat.due || seat.left_at.is_some() {
            return Ok(());
        }
        seat.heard = seat.heard.max(talk);
        let conversation = seat.conversation;
        self.person.deliveries += 1;
        let Some(delivery) = talks.hear(talk, received_us) else { return Ok(()) };
        let class = field.classes[conversation];
        let recorder = &mut self.worker.notes.borrow_mut().recorder;
        recorder.record(class, delivery.intended_us, delivery.sent_us, received_us);
        if let Some((first_us, last_us)) = delivery.span_us {
            recorder.record_spread(class, delivery.intended_us, first_us, last_us);
        }
        if delivery.span_us.is_some() {
            self.worker.free(1, field);
        }
        Ok(())
    }

    fn listening(&mut self, ids: &[Cow<'_, str>], now_us: u64) {
        match (&self.person.state, self.worker.field.get()) {
            (State::Joining, field) => {
                self.person.state = State::Listening;
                let waited_us = now_us.saturating_sub(self.person.joined_us);
                self.worker.notes.borrow_mut().recorder.record_join(waited_us);
                match field {
                    None => {
                        let ids = ids.iter().map(|id| id.clone().into_owned()).collect();
                        self.worker.run.heard.lock().push((self.person.number, ids));
                    }
                    Some(field) => ids.iter().filter_map(|id| field.layout.find(id)).for_each(|conversation| {
                        if let Some(mut before) = self.person.sit_down(field, conversation) {
                            let accounts = before.listener.close(field.talks[conversation].sent());
                            self.worker.notes.borrow_mut().tally.add(&accounts);
                        }
                    }),
                }
            }
            (State::Leaving, Some(field)) if ids.is_empty() => {
                for seat in &mut self.person.seats {
                    seat.left_at = Some(field.talks[seat.conversation].sent());
                }
                self.person.state = State::Away;
            }
            _ => {}
        }
    }
}
