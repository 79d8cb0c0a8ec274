//! The part that one client takes in the conversations: who it is, where it listens, and what becomes of what it asks.
//! A machine without I/O and clock: events, answers and the time come in, and what follows goes out by a [`Port`].
//!
//! * A session has one call to the registry at a time. A newer join waits here until the older has ended there.
//! * What comes while a join is under way waits behind it, but for talks into conversations where the session listens
//!   already and no earlier talk of the same conversation waits. When the join is over, what has waited goes first,
//!   and all that comes later waits in line.
//! * Whatever leaves conversations is answered when it has left them.
//!
//! * `port`: what it and the world say to each other.
//! * `asking`: how it asks who is there.
//! * `doubt`: a user that MAX accepted before and denies now.

use std::collections::VecDeque;
use std::time::Instant;

use super::seats::{Seat, Seats};
use super::users::User;
use crate::event::{ClientEvent, Code, ConversationId, EventName, ServerEvent, Talk, Token, Username};
use crate::protocol::connection::Alarm;

mod asking;
mod doubt;
mod port;
#[cfg(test)]
mod tests;

use asking::Asking;
use doubt::Doubt;
pub use port::{Admitted, Auth, Call, Input, Port, Rules};

/// One client in its conversations.
#[derive(Debug)]
pub struct Participant<S> {
    /// What the client gave with its CONNECT, or else with its last join, whatever became of it.
    auth: Auth,
    /// Whether `auth` is of the CONNECT: it then serves whomever the client says it is, and not that one user only.
    auth_serves_all: bool,
    /// Who the client said it is, by its last join.
    claim: Option<Username>,
    /// Who MAX says that this is, as long as it says so.
    user: Option<User>,
    seats: Seats<S>,
    /// Hardly ever is there any, and every client is a participant.
    work: Option<Box<Work>>,
}

/// What a client has asked for and not yet got.
#[derive(Debug, Default)]
struct Work {
    /// The one call under way at the registry.
    call: Option<Calling>,
    /// The newest join, where it waits for an older call to end, or for what it leaves.
    next: Option<Joining>,
    /// Whether seats are on their way out.
    departing: bool,
    /// What is answered when they are out and the client has room for it.
    outcomes: VecDeque<Outcome>,
    /// What came while a join was under way, in order.
    pending: VecDeque<(ClientEvent, Option<u64>)>,
    asking: VecDeque<Asking>,
    doubt: Option<Doubt>,
    alarms: Vec<Alarm>,
    ask_alarm_due: Option<Instant>,
}

/// A call under way.
#[derive(Debug)]
enum Calling {
    Join(Joining),
    /// Whether MAX still denies the user.
    Verify,
    GivenUp,
}

/// A join that is not answered.
#[derive(Debug)]
struct Joining {
    ack: Option<u64>,
    since: Instant,
    auth: Auth,
}

/// What a client is told in the end.
#[derive(Debug)]
enum Outcome {
    Joined(Joining),
    Refused(Joining, Code),
    Left(Option<u64>),
    /// MAX denies the user for good.
    Ended(Code),
    /// What was answered at once, had nothing been in line before it.
    Answered(EventName, Result<(), Code>, Option<ConversationId>, Option<u64>),
}

impl Work {
    fn is_joining(&self) -> bool {
        self.next.is_some() || matches!(self.call, Some(Calling::Join(_)))
    }

    /// Whether what comes now has to wait for its turn.
    fn has_line(&self) -> bool {
        !self.outcomes.is_empty() || !self.pending.is_empty()
    }

    fn has_talk_in_line(&self, id: &ConversationId) -> bool {
        let is_there =
            |(event, _): &(ClientEvent, _)| matches!(event, ClientEvent::Talk(talk) if talk.conversation == *id);
        self.pending.iter().any(is_there)
    }

    /// An alarm that is not yet due is work too: a flood of asks would set one each.
    fn is_done(&self, now: Instant) -> bool {
        let calls = self.call.is_some() || self.next.is_some() || self.departing || self.doubt.is_some();
        let waits = calls || self.has_line() || !self.asking.is_empty() || !self.alarms.is_empty();
        !waits && self.ask_alarm_due.is_none_or(|due| due <= now)
    }
}

impl<S: Seat> Participant<S> {
    /// A client that gave this with its CONNECT.
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

    /// Seats that this client has had before are still on their way out.
    pub fn wait_for_departure(&mut self) {
        self.work().departing = true;
    }

    /// All seats, which the caller has to give up: the client has gone.
    pub fn take_seats(&mut self) -> Vec<S> {
        self.seats.take()
    }

    /// The client has sent an event; `ack` is the id of the answer that it wants.
    pub fn event(&mut self, event: ClientEvent, ack: Option<u64>, now: Instant, port: &mut impl Port<Seat = S>) {
        let work = self.work.as_deref();
        let joining = work.is_some_and(Work::is_joining);
        let waits = match &event {
            ClientEvent::Join { .. } => !joining && work.is_some_and(Work::has_line),
            ClientEvent::Talk(talk) if joining => {
                let id = &talk.conversation;
                self.seats.get(id).is_none() || work.is_some_and(|work| work.has_talk_in_line(id))
            }
            _ => joining || work.is_some_and(Work::has_line),
        };
        if !waits {
            self.take_up(event, ack, now, port);
        } else if work.map_or(0, |work| work.pending.len()) >= port.rules().pending_max {
            port.refuse(event.name(), Code::Busy, event.conversation(), ack);
        } else {
            self.work().pending.push_back((event, ack));
        }
    }

    /// Something that was waited for has happened.
    pub fn take(&mut self, input: Input<S>, now: Instant, port: &mut impl Port<Seat = S>) {
        match input {
            Input::Answered(answer) => self.answered(answer, now, port),
            Input::GivenUp => self.work().call = None,
            Input::Departed => self.work().departing = false,
            Input::People(people) => self.heard_of(people, port),
        }
    }

    /// Does all that can be done now.
    pub fn poll(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        if self.work.is_none() {
            return;
        }
        self.tell_outcomes(port);
        self.send_next(now, port);
        self.go_on(now, port);
        self.go_on_asking(now, port);
        self.ask_again(now, port);
        self.work.take_if(|work| work.is_done(now));
    }

    /// The next deadline that was set since the last call; at its time, [`Self::poll`] is called.
    pub fn poll_alarm(&mut self) -> Option<Alarm> {
        self.work.as_mut()?.alarms.pop()
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

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
            // What waited is not said in somebody else's name. In one's own it waits for the newer join, but for what
            // this one would undo.
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
        self.work().next = Some(Joining { ack, since: now, auth });
        self.send_next(now, port);
    }

    /// Gives up what is under way at the registry. The join that was, where nobody has answered it.
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

    /// Sends the join that waits, if there is nothing more to wait for.
    fn send_next(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        let Some(work) = self.work.as_mut().filter(|work| work.call.is_none() && !work.departing) else { return };
        let (Some(joining), Some(username)) = (work.next.take(), self.claim.clone()) else { return };
        match port.call(Call { enters: true, username, auth: joining.auth.clone(), user: self.user.clone() }) {
            Ok(()) => work.call = Some(Calling::Join(joining)),
            Err(code) => self.join_failed(joining, code, now, port),
        }
    }

    fn answered(&mut self, answer: Result<Admitted<S>, Code>, now: Instant, port: &mut impl Port<Seat = S>) {
        match self.work().call.take() {
            Some(Calling::Join(joining)) => self.join_answered(joining, answer, now, port),
            Some(Calling::Verify) => self.verified(answer.err(), now, port),
            Some(Calling::GivenUp) | None => {
                let seats = answer.map_or_else(|_| Vec::new(), |admitted| admitted.seats);
                self.depart(seats, port);
            }
        }
    }

    fn join_answered(
        &mut self,
        joining: Joining,
        answer: Result<Admitted<S>, Code>,
        now: Instant,
        port: &mut impl Port<Seat = S>,
    ) {
        match answer {
            // MAX has renamed the user since the last join: whoever has a seat under the older name has to leave it
            // first.
            Ok(Admitted { user, seats }) if self.user.as_ref().is_some_and(|held| held.name() != user.name()) => {
                let mut left = self.become_nobody();
                left.extend(seats);
                self.settle(left, Outcome::Refused(joining, Code::Busy), port);
            }
            Ok(Admitted { user, seats }) => {
                self.user = Some(user);
                self.work().doubt = None;
                // The older seats go after the newer ones are in force, so that nobody sees a refresh.
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

    /// The seats that this one had.
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

    /// Gives these seats up, and then tells the client what came of what it asked.
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

    /// Answers an event now, or behind what is in line.
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
        port.refuse(EventName::Join, code, None, joining.ack);
    }

    /// Takes up what has waited for a join that has ended, as long as there is room for the answers.
    fn go_on(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        while let Some(work) = self.work.as_mut()
            && !work.is_joining()
            && work.outcomes.is_empty()
            && port.has_room()
            && port.may_talk()
            && let Some((event, ack)) = work.pending.pop_front()
        {
            self.take_up(event, ack, now, port);
            self.supersede_in_line(now, port);
        }
    }

    /// Of joins that waited in line, the newest is the one that counts.
    fn supersede_in_line(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
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

    /// Who the client is, and its place in a conversation. An unknown conversation and somebody else's look the same.
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
