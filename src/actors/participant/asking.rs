//! The `ask` event: a participant asks who is in its conversations.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::conversation::People;
use super::super::seats::Seat;
use super::{Participant, Port};
use crate::event::{Code, ConversationId, EventName};
use crate::protocol::connection::Alarm;

/// An ask under way. Its conversations are asked one after the other, so that the outbox of a slow reader need not hold
/// many long answers.
#[derive(Debug)]
pub(super) struct Asking {
    ack: Option<u64>,
    /// The conversations that have not answered. `None` if the ask is for all and its turn has not come: they are
    /// listed only then.
    conversations: Option<VecDeque<ConversationId>>,
    /// The deadline for the answer of the first of `conversations`. `None` if that was not asked yet.
    due: Option<Instant>,
    /// Whether a conversation did not answer, so that the ack will be `busy`.
    failed: bool,
}

impl<S: Seat> Participant<S> {
    pub(super) fn ask(&mut self, id: Option<ConversationId>, ack: Option<u64>, port: &mut impl Port<Seat = S>) {
        let conversations = match &id {
            Some(id) => self.seat(id).map(|_| Some(VecDeque::from([id.clone()]))),
            None if self.user.is_some() => Ok(None),
            None => Err(Code::NotJoined),
        };
        match conversations {
            Err(code) => self.answer(EventName::Ask, Err(code), id.as_ref(), ack, port),
            Ok(_) if self.work().asking.len() >= port.rules().pending_max => {
                self.answer(EventName::Ask, Err(Code::Busy), id.as_ref(), ack, port);
            }
            Ok(conversations) => {
                self.work().asking.push_back(Asking { ack, conversations, due: None, failed: false });
            }
        }
    }

    /// Continues the oldest ask, and the next ones as it ends, until one waits for an answer or the client has no room.
    pub(super) fn go_on_asking(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        let period = port.rules().answer_timeout;
        let Some(work) = &mut self.work else { return };
        while port.has_room()
            && let Some(asking) = work.asking.front_mut()
        {
            let conversations =
                asking.conversations.get_or_insert_with(|| self.seats.ids().into_iter().cloned().collect());
            let Some(id) = conversations.front() else {
                match asking.ack {
                    Some(ack) if asking.failed => port.refuse(EventName::Ask, Code::Busy, None, Some(ack)),
                    ack => port.done(ack),
                }
                work.asking.pop_front();
                continue;
            };
            match asking.due {
                Some(due) if due <= now => {
                    let id = asking.next();
                    asking.fail(id, port);
                }
                Some(_) => {
                    // There is one alarm at a time, even in a flood of asks.
                    if work.ask_alarm_due.is_none_or(|alarm| alarm <= now) {
                        work.ask_alarm_due = Some(now + period);
                        work.alarms.push(Alarm { period, due: now + period });
                    }
                    return;
                }
                None => match self.seats.get(id).map(|seat| port.ask(seat)) {
                    // The session has left the conversation, or lost it, since the client asked.
                    None => drop(conversations.pop_front()),
                    Some(Err(_)) => {
                        let id = asking.next();
                        asking.fail(id, port);
                    }
                    Some(Ok(())) => asking.due = Some(now + period),
                },
            }
        }
    }

    /// Handles the answer of the conversation that is being asked. `people` is `None` if the conversation has died.
    pub(super) fn heard_of(&mut self, people: Option<People>, port: &mut impl Port<Seat = S>) {
        let asking = self.work.as_mut().and_then(|work| work.asking.front_mut());
        let Some(asking) = asking.filter(|asking| asking.due.is_some()) else { return };
        match (people, asking.next()) {
            (Some(people), Some(id)) => {
                port.tell(&people.event(&id));
                asking.due = None;
            }
            (_, id) => asking.fail(id, port),
        }
    }
}

impl Asking {
    /// Removes the conversation that is being asked and returns it.
    fn next(&mut self) -> Option<ConversationId> {
        self.conversations.as_mut()?.pop_front()
    }

    /// Handles a conversation that did not answer. The ask goes on. The client is told `busy`: in the ack at the end if
    /// it wants one, otherwise at once.
    fn fail(&mut self, id: Option<ConversationId>, port: &mut impl Port) {
        self.due = None;
        match self.ack {
            Some(_) => self.failed = true,
            None => port.refuse(EventName::Ask, Code::Busy, id.as_ref(), None),
        }
    }
}
