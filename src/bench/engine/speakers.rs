//! The users of one thread as talkers, by script in an open loop and by turns in a closed one; and the users of churn.

use std::mem;
use std::sync::atomic::Ordering;

use super::person::State;
use super::script::{NEVER_US, Script};
use super::talks::Begun;
use super::worker::Worker;
use crate::bench::ledger;
use crate::bench::plan::Pace;

/// Number of late talks, or leaves, that are sent before other work gets its turn.
const BURST_MAX: usize = 32;

impl Worker {
    /// Returns when the next talk of the script is due.
    pub(super) fn talk_us(&self) -> u64 {
        self.script.as_ref().map_or(NEVER_US, Script::due_us)
    }

    pub(super) fn talk_by_script(&mut self) {
        for _ in 0..BURST_MAX {
            let now_us = self.run.now_us();
            let Some(script) = &mut self.script else { return };
            let Some((intended_us, conversation)) = script.take(now_us) else { return };
            let is_heard = self.talk(conversation, intended_us, now_us);
            if let Some(field) = self.audience.field.as_ref().filter(|_| is_heard) {
                field.under_way.fetch_add(1, Ordering::Relaxed);
            }
            self.flush(conversation);
        }
    }

    /// Begins a closed loop, in which all slots are free at first.
    pub(super) fn begin_turns(&mut self) {
        let (Some(field), Pace::Closed { window }) = (&self.audience.field, self.run.plan.pace) else { return };
        field.under_way.fetch_add(window, Ordering::Relaxed);
        self.audience.free(window);
        self.take_turns();
    }

    /// Sends the talks whose turn has come. Talks of one client leave in one write.
    pub(super) fn take_turns(&mut self) {
        let Some(field) = &self.audience.field else { return };
        let mut turns = mem::take(&mut self.audience.turns);
        if field.over.load(Ordering::Relaxed) {
            field.under_way.fetch_sub(turns.len(), Ordering::Relaxed);
            turns.clear();
        }
        let now_us = self.run.now_us();
        for &conversation in &turns {
            if !self.talk(conversation, now_us, now_us) {
                self.idle += 1;
            }
        }
        turns.drain(..).for_each(|conversation| self.flush(conversation));
        // The allocation is used again.
        self.audience.turns = turns;
    }

    /// Gives up talks sent before `before_us` that not all have heard. Their slots, and those that are idle, go to
    /// other conversations.
    pub(super) fn look_after(&mut self, before_us: u64) {
        let Some(field) = self.audience.field.clone() else { return };
        for (conversation, talks) in field.talks.iter().enumerate() {
            if self.range.contains(&field.layout.talker(conversation)) {
                self.audience.free(talks.give_up(before_us));
            }
        }
        self.audience.free(mem::take(&mut self.idle));
        self.take_turns();
    }

    pub(super) fn churn_if_due(&mut self, now_us: u64) {
        let Some(mut churn) = self.churn.take() else { return };
        for _ in 0..BURST_MAX {
            if churn.due_us() > now_us {
                break;
            }
            churn.turns += 1;
            churn.away.retain(|&number| {
                let is_away = self.audience.person(number).state == State::Away;
                if is_away {
                    self.join(number, now_us);
                }
                !is_away
            });
            // If the chosen user is away, the next one who is there leaves.
            let (before, from) = churn.listeners.split_at(churn.random.below(churn.listeners.len()));
            let is_there = |number: &usize| self.audience.person(*number).state == State::Listening;
            if let Some(number) = from.iter().chain(before).copied().find(is_there) {
                self.leave(number, now_us);
                churn.away.push(number);
            }
        }
        self.churn = Some(churn);
    }

    fn leave(&mut self, number: usize, now_us: u64) {
        if let Some(client) = &mut self.clients[number - self.range.start] {
            client.leave();
            self.run.counts.leaves.fetch_add(1, Ordering::Relaxed);
            self.audience.leave(number, now_us);
            self.await_answer(number);
            self.take_turns();
        }
    }

    /// Queues the next talk of a conversation, and returns whether anybody has to hear it.
    fn talk(&mut self, conversation: usize, intended_us: u64, now_us: u64) -> bool {
        let Some(field) = &self.audience.field else { return false };
        let talker = field.layout.talker(conversation);
        let Some(client) = &mut self.clients[talker - self.range.start] else {
            self.audience.not_taken(talker, "talk: its talker is gone");
            return false;
        };
        if client.is_clogged() {
            self.audience.not_taken(talker, "talk: the server does not read");
            return false;
        }
        let Begun { number, is_heard, freed } = field.talks[conversation].begin(intended_us, now_us);
        let id = ledger::message_id(&self.run.id, number, self.run.plan.payload_bytes);
        client.talk(&field.ids[conversation], intended_us, &id);
        self.audience.notes.tally.sent(1);
        self.audience.notes.recorder.record_talk(intended_us, now_us);
        self.idle += freed;
        is_heard
    }

    fn flush(&mut self, conversation: usize) {
        let Some(field) = &self.audience.field else { return };
        if let Some(client) = &mut self.clients[field.layout.talker(conversation) - self.range.start] {
            client.flush();
        }
    }
}
