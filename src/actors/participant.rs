//! The participant: one client in its conversations. It knows the client's user and seats, and decides on its events.
//! It is a machine without I/O and clock: events, answers and the time come in, and effects go out through a [`Port`].
//!
//! * A session has one call to the registry at a time. A newer join waits here until the older one is over there.
//! * Events that come while a join is under way wait for its end. Only a talk goes ahead, if the session has a seat in
//!   the talk's conversation and no earlier talk in that conversation waits. After the join, the events that have
//!   waited go first, and later ones wait behind them.
//! * An event that leaves conversations is answered when the session has left them.
//!
//! * `port`: the requests and answers between the participant and the world.
//! * `asking`: the `ask` event.
//! * `doubt`: a user that MAX accepted before and denies now.
//! * `moving`: a session that moves from one node to another.

use std::collections::VecDeque;
use std::time::Instant;

use super::seats::{Seat, Seats};
use super::users::User;
use crate::event::{ClientEvent, Code, ConversationId, EventName, ServerEvent, Talk, Token, Username};
use crate::protocol::connection::Alarm;

mod asking;
mod doubt;
mod moving;
mod port;
#[cfg(test)]
mod tests;

use asking::Asking;
use doubt::Doubt;
pub use moving::Belongings;
pub use port::{Auth, Call, Input, Joined, Port, Rules};

/// One client in its conversations.
#[derive(Debug)]
pub struct Participant<S> {
    /// The token that the client gave with its CONNECT, or else with its last join, even one that was refused.
    auth: Auth,
    /// Whether `auth` came with the CONNECT. If so, it serves joins as any user, otherwise only joins as the user of
    /// the last join.
    auth_serves_all: bool,
    /// The username that the client claimed by its last join.
    claim: Option<Username>,
    /// The user, as long as MAX accepts it.
    user: Option<User>,
    seats: Seats<S>,
    /// Boxed, because every client is a participant and hardly any has work under way.
    work: Option<Box<Work>>,
}

/// The requests of a client that are not answered yet.
#[derive(Debug, Default)]
struct Work {
    /// The one call under way at the registry.
    call: Option<Calling>,
    /// The newest join, if it waits for an older call to end or for seats to be given up.
    next: Option<Joining>,
    /// Whether a refresh waits for the end of the join under way.
    refreshes: bool,
    /// Whether seats are on their way out.
    departing: bool,
    /// Outcomes that the client is told when no seats are on their way out and its outbox has room.
    outcomes: VecDeque<Outcome>,
    /// Events that wait for a join, in their order, each with the id of its ack.
    pending: VecDeque<(ClientEvent, Option<u64>)>,
    asking: VecDeque<Asking>,
    doubt: Option<Doubt>,
    /// Alarms not yet returned by [`Participant::poll_alarm`].
    alarms: Vec<Alarm>,
    /// When the newest alarm for asks is due.
    ask_alarm_due: Option<Instant>,
}

/// A call under way.
#[derive(Debug)]
enum Calling {
    Join(Joining),
    /// Asks MAX again whether it denies the user.
    Verify,
    /// Enters what the session has had on another node.
    Return,
    /// The answer does not matter any more.
    GivenUp,
}

/// A join that is not answered yet.
#[derive(Debug)]
struct Joining {
    ack: Option<u64>,
    since: Instant,
    auth: Auth,
    /// Whether the client has asked for it. If not, the client need not know that it failed.
    asked: bool,
}

/// The outcome of a request, to be told to the client.
#[derive(Debug)]
enum Outcome {
    Joined(Joining),
    Refused(Joining, Code),
    Left(Option<u64>),
    /// MAX denies the user for good.
    Ended(Code),
    /// The answer to another event, which waits behind outcomes only to keep the order.
    Answered(EventName, Result<(), Code>, Option<ConversationId>, Option<u64>),
}

impl Work {
    fn is_joining(&self) -> bool {
        self.next.is_some() || matches!(self.call, Some(Calling::Join(_)))
    }

    /// Returns whether an event that comes now has to wait behind earlier ones.
    fn has_waiting(&self) -> bool {
        !self.outcomes.is_empty() || !self.pending.is_empty()
    }

    fn has_waiting_talk(&self, id: &ConversationId) -> bool {
        let is_there =
            |(event, _): &(ClientEvent, _)| matches!(event, ClientEvent::Talk(talk) if talk.conversation == *id);
        self.pending.iter().any(is_there)
    }

    /// Returns whether no work is left. An alarm for asks that is not yet due is work too: otherwise each ask of a
    /// flood would set one.
    fn is_done(&self, now: Instant) -> bool {
        let calls = self.call.is_some() || self.next.is_some() || self.departing || self.doubt.is_some();
        let waits = calls || self.refreshes || self.has_waiting() || !self.asking.is_empty() || !self.alarms.is_empty();
        !waits && self.ask_alarm_due.is_none_or(|due| due <= now)
    }
}

impl<S: Seat> Participant<S> {
    /// Creates a client that has not joined yet; `auth` came with its CONNECT.
    pub fn new(auth: Option<Auth>) -> Self {
        let auth = auth.filter(|auth| {
            let has_short_scope = auth.scope.as_ref().is_none_or(|scope| scope.len() <= Token::BYTES_MAX);
            has_short_scope && auth.token.as_ref().is_some_and(Token::is_usable)
        });
        Self {
            auth_serves_all: auth.is_some(),
            auth: auth.unwrap_or_default(),
            claim: None,
            user: None,
            seats: Seats::default(),
            work: None,
        }
    }

    /// Makes the first join wait for seats that this client had before, until [`Input::Departed`] comes.
    pub fn wait_for_departure(&mut self) {
        self.work().departing = true;
    }

    /// Removes all seats and returns them. The caller has to give them up: the client has gone.
    pub fn take_seats(&mut self) -> Vec<S> {
        self.seats.take()
    }

    /// Takes an event of the client; `ack` is the id of the answer that the client wants.
    pub fn event(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant, port: &mut impl Port<Seat = S>) {
        let work = self.work.as_deref();
        let joining = work.is_some_and(Work::is_joining);
        let waits = match &event {
            ClientEvent::Join { .. } => !joining && work.is_some_and(Work::has_waiting),
            ClientEvent::Talk(talk) if joining => {
                let id = &talk.conversation;
                self.seats.get(id).is_none() || work.is_some_and(|work| work.has_waiting_talk(id))
            }
            _ => joining || work.is_some_and(Work::has_waiting),
        };
        if !waits {
            self.take_up(event, ack, now, port);
        } else if work.map_or(0, |work| work.pending.len()) >= port.rules().pending_max {
            port.refuse(event.name(), Code::Busy, event.conversation(), ack);
        } else {
            self.work().pending.push_back((event, ack));
        }
    }

    /// Takes an answer of the world.
    pub fn take(&mut self, input: Input<S>, now: Instant, port: &mut impl Port<Seat = S>) {
        match input {
            Input::Answered(answer) => self.answered(answer, now, port),
            Input::GivenUp => self.work().call = None,
            Input::Departed => self.work().departing = false,
            Input::People(people) => self.heard_of(people, port),
        }
    }

    /// Does everything that can be done now.
    pub fn poll(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        if self.work.is_none() {
            return;
        }
        self.tell_outcomes(port);
        self.send_next(now, port);
        self.go_on(now, port);
        self.go_on_refreshing(now, port);
        self.go_on_asking(now, port);
        self.ask_again(now, port);
        self.work.take_if(|work| work.is_done(now));
    }

    /// Returns a deadline that was set and not yet returned. [`Self::poll`] has to be called when it is due.
    pub fn poll_alarm(&mut self) -> Option<Alarm> {
        self.work.as_mut()?.alarms.pop()
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// Handles an event whose turn has come.
    fn take_up(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant, port: &mut impl Port<Seat = S>) {
        match event {
            ClientEvent::Join { username, token, scope } => {
                self.join(username, Auth { token, scope: scope.map(Into::into) }, ack, now, port);
            }
            ClientEvent::Talk(talk) => self.talk(talk, ack, port),
            ClientEvent::Ask(id) => self.ask(id, ack, port),
            ClientEvent::Leave(id) => self.leave(id, ack, port),
        }
    }

    fn join(&mut self, claim: Username, given: Auth, ack: Option<u64>, now: Instant, port: &mut impl Port<Seat = S>) {
        let same = self.claim.as_ref() == Some(&claim);
        if let Some(older) = self.supersede(port) {
            self.refuse_join(&older, Code::Superseded, port);
            // Events may have waited for the older join. If the newer one is under another name, they are handled now,
            // as the old user. If it is under the same name, they wait for it too, except `leave`, which it would undo.
            for (event, ack) in std::mem::take(&mut self.work().pending) {
                match event {
                    event if same && !matches!(event, ClientEvent::Leave(_)) => {
                        self.work().pending.push_back((event, ack));
                    }
                    event => self.take_up(event, ack, now, port),
                }
            }
        }
        if !same {
            let seats = self.become_nobody();
            self.depart(seats, port);
        }
        let auth = match given {
            Auth { token: Some(_), .. } => given,
            _ if same || self.auth_serves_all => self.auth.clone(),
            _ => Auth::default(),
        };
        if !self.auth_serves_all {
            self.auth = auth.clone();
        }
        self.claim = Some(claim);
        self.work().next = Some(Joining { ack, since: now, auth, asked: true });
        self.send_next(now, port);
    }

    /// Joins again as the same user, without a request of the client, because the conversations of the user have
    /// changed. A join that is under way may have come too early for the change, so it is repeated when it is over.
    pub fn refresh(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        if self.work.as_ref().is_some_and(|work| work.is_joining()) {
            self.work().refreshes = true;
        } else if self.user.is_some() {
            let auth = self.auth.clone();
            self.work().next = Some(Joining { ack: None, since: now, auth, asked: false });
            self.send_next(now, port);
        }
    }

    /// Does the refresh that has waited for a join.
    fn go_on_refreshing(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        if let Some(work) = self.work.as_mut()
            && !work.is_joining()
            && std::mem::take(&mut work.refreshes)
        {
            self.refresh(now, port);
        }
    }

    /// Gives up the join that waits for a call to end, or else the call under way. Returns the join that is superseded,
    /// if there is one.
    fn supersede(&mut self, port: &mut impl Port<Seat = S>) -> Option<Joining> {
        let work = self.work();
        if let Some(waiting) = work.next.take() {
            return Some(waiting);
        }
        let older = work.call.take()?;
        if !matches!(older, Calling::GivenUp) {
            port.give_up();
        }
        work.call = Some(Calling::GivenUp);
        if let Calling::Join(older) = older { Some(older) } else { None }
    }

    /// Sends the waiting join to the registry, if no call is under way and no seats are on their way out.
    fn send_next(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        let Some(work) = self.work.as_mut().filter(|work| work.call.is_none() && !work.departing) else { return };
        let (Some(joining), Some(username)) = (work.next.take(), self.claim.clone()) else { return };
        let (auth, user) = (joining.auth.clone(), self.user.clone());
        match port.call(Call { enters: true, username, auth, user, moved: None }) {
            Ok(()) => work.call = Some(Calling::Join(joining)),
            Err(code) => self.join_failed(joining, code, now, port),
        }
    }

    fn answered(&mut self, answer: Result<Joined<S>, Code>, now: Instant, port: &mut impl Port<Seat = S>) {
        match self.work().call.take() {
            Some(Calling::Join(joining)) => self.join_answered(joining, answer, now, port),
            Some(Calling::Verify) => self.verified(answer.err(), now, port),
            Some(Calling::Return) => self.returned(answer),
            Some(Calling::GivenUp) | None => {
                let seats = answer.map_or_else(|_| Vec::new(), |joined| joined.seats);
                self.depart(seats, port);
            }
        }
    }

    fn join_answered(
        &mut self,
        joining: Joining,
        answer: Result<Joined<S>, Code>,
        now: Instant,
        port: &mut impl Port<Seat = S>,
    ) {
        match answer {
            // MAX has renamed the user since the last join. A session does not change its user while it has a seat, so
            // it gives up all its seats.
            Ok(Joined { user, seats }) if self.user.as_ref().is_some_and(|held| held.name() != user.name()) => {
                let mut left = self.become_nobody();
                left.extend(seats);
                self.settle(left, Outcome::Refused(joining, Code::Busy), port);
            }
            Ok(Joined { user, seats }) => {
                self.user = Some(user);
                self.work().doubt = None;
                // The older seats are given up when the newer ones are in force, so that a repeated join causes no
                // `left` and `joined`.
                let older = std::mem::replace(&mut self.seats, Seats::new(seats)).take();
                self.settle(older, Outcome::Joined(joining), port);
            }
            Err(code) => self.join_failed(joining, code, now, port),
        }
    }

    fn join_failed(&mut self, joining: Joining, code: Code, now: Instant, port: &mut impl Port<Seat = S>) {
        let ends = match code {
            Code::UnknownUser => true,
            Code::Unauthorized => !self.doubts(&joining.auth, now, port.rules()),
            _ => false,
        };
        let left = if ends { self.become_nobody() } else { Vec::new() };
        self.settle(left, Outcome::Refused(joining, code), port);
    }

    /// Forgets the user, and returns the seats that it had.
    fn become_nobody(&mut self) -> Vec<S> {
        self.user = None;
        if let Some(work) = &mut self.work {
            work.doubt = None;
        }
        self.seats.take()
    }

    fn depart(&mut self, seats: Vec<S>, port: &mut impl Port<Seat = S>) {
        if !seats.is_empty() && !port.depart(seats) {
            self.work().departing = true;
        }
    }

    /// Gives up seats, and then tells the client the outcome.
    fn settle(&mut self, seats: Vec<S>, outcome: Outcome, port: &mut impl Port<Seat = S>) {
        self.depart(seats, port);
        self.work().outcomes.push_back(outcome);
        self.tell_outcomes(port);
    }

    fn tell_outcomes(&mut self, port: &mut impl Port<Seat = S>) {
        while let Some(work) = self.work.as_mut().filter(|work| !work.departing)
            && port.has_room()
            && let Some(outcome) = work.outcomes.pop_front()
        {
            match outcome {
                Outcome::Joined(Joining { ack, since, .. }) => {
                    port.join_ended(since, self.user.as_ref(), Ok(()));
                    self.tell_listening(port);
                    port.done(ack);
                }
                Outcome::Refused(joining, code) => self.refuse_join(&joining, code, port),
                Outcome::Left(ack) => {
                    self.tell_listening(port);
                    port.done(ack);
                }
                Outcome::Ended(code) => port.refuse(EventName::Join, code, None, None),
                Outcome::Answered(event, result, conversation, ack) => {
                    answer(event, result, conversation.as_ref(), ack, port);
                }
            }
        }
    }

    /// Answers an event now, or after the outcomes that wait.
    fn answer(
        &mut self,
        event: EventName,
        result: Result<(), Code>,
        conversation: Option<&ConversationId>,
        ack: Option<u64>,
        port: &mut impl Port<Seat = S>,
    ) {
        match self.work.as_mut().filter(|work| !work.outcomes.is_empty()) {
            Some(work) => work.outcomes.push_back(Outcome::Answered(event, result, conversation.cloned(), ack)),
            None => answer(event, result, conversation, ack, port),
        }
    }

    fn refuse_join(&self, joining: &Joining, code: Code, port: &mut impl Port<Seat = S>) {
        port.join_ended(joining.since, None, Err(code));
        if joining.asked || self.user.is_none() {
            port.refuse(EventName::Join, code, None, joining.ack);
        }
    }

    /// Handles events that have waited for a join which is over, as long as there is room for their answers.
    fn go_on(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        while let Some(work) = self.work.as_mut()
            && !work.is_joining()
            && work.outcomes.is_empty()
            && port.has_room()
            && port.may_talk()
            && let Some((event, ack)) = work.pending.pop_front()
        {
            self.take_up(event, ack, now, port);
            self.supersede_waiting(now, port);
        }
    }

    /// Lets the joins among the waiting events supersede the one under way, so that the newest counts.
    fn supersede_waiting(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        let is_join = |(event, _): &(ClientEvent, _)| matches!(event, ClientEvent::Join { .. });
        while let Some(work) = self.work.as_mut().filter(|work| work.is_joining())
            && let Some(at) = work.pending.iter().position(is_join)
        {
            let behind = work.pending.split_off(at + 1);
            if let Some((join, ack)) = work.pending.pop_back() {
                self.take_up(join, ack, now, port);
            }
            self.work().pending.extend(behind);
        }
    }

    fn talk(&mut self, talk: Talk, ack: Option<u64>, port: &mut impl Port<Seat = S>) {
        let outcome = match self.seat(&talk.conversation) {
            Ok((user, seat)) => port.talk(seat, user, &talk),
            Err(code) => Err(code),
        };
        port.talk_ended(outcome);
        self.answer(EventName::Talk, outcome, Some(&talk.conversation), ack, port);
    }

    fn leave(&mut self, id: Option<ConversationId>, ack: Option<u64>, port: &mut impl Port<Seat = S>) {
        let left = match &id {
            _ if self.user.is_none() => Err(Code::NotJoined),
            Some(id) => self.seats.remove(id).map(|seat| vec![seat]).ok_or(Code::Forbidden),
            None => Ok(self.seats.take()),
        };
        match left {
            Err(code) => self.answer(EventName::Leave, Err(code), id.as_ref(), ack, port),
            Ok(left) => self.settle(left, Outcome::Left(ack), port),
        }
    }

    /// Returns the user and its seat in a conversation. The refusal is the same for a conversation that does not exist
    /// and for one that the user may not see.
    fn seat(&self, id: &ConversationId) -> Result<(&User, &S), Code> {
        let user = self.user.as_ref().ok_or(Code::NotJoined)?;
        let seat = self.seats.get(id).ok_or(Code::Forbidden)?;
        Ok((user, seat))
    }

    fn tell_listening(&self, port: &mut impl Port<Seat = S>) {
        port.tell(&ServerEvent::Listening { conversations: self.seats.ids() });
    }
}

fn answer(
    event: EventName,
    result: Result<(), Code>,
    conversation: Option<&ConversationId>,
    ack: Option<u64>,
    port: &mut impl Port,
) {
    match result {
        Ok(()) => port.done(ack),
        Err(code) => port.refuse(event, code, conversation, ack),
    }
}
