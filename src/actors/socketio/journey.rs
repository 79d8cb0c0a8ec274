//! A session that moves from one node to another, because its client has come back there. The decisions are those of
//! [`moving`](crate::actors::recovery::moving); here they are carried out on both sides.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::returns::{Comeback, HandingOver, Returns};
use super::{ConnectedNamespaces, Namespace};
use crate::actors::application::Moving;
use crate::actors::participant::Belongings;
use crate::actors::recovery::Recovery;
use crate::actors::recovery::errands::Errand;
use crate::actors::recovery::moving::{Give, Step, Taker};
use crate::cluster::letters::{Handover, Offer, Refused};
use crate::delivery::outbox::Unheard;
use crate::metrics::RecoveryResult;
use crate::protocol::frame::Frame;
use crate::protocol::packet;

/// How long the user of a session that has moved still counts on the node that it has left: by then all nodes know that
/// the user is on the other one.
const LINGER: Duration = Duration::from_secs(2);

/// The way of a session to this node.
pub(super) struct Journey {
    recovery: Arc<Recovery<Comeback>>,
    pid: String,
    errand: Errand,
    taker: Taker,
    /// The sid of the client in the namespace, and the namespace, once the session was offered.
    arrival: Option<(Box<str>, Box<dyn Namespace>)>,
    /// What the other node has handed over, while the conversations here give the client all that they have.
    handover: Option<(Handover, oneshot::Receiver<Infallible>)>,
    steps: usize,
}

/// The client of a journey.
pub(super) struct Traveller<'a> {
    /// The namespace to which it wants to come back.
    pub(super) namespace: usize,
    /// The offset of the last event that it has heard.
    pub(super) heard: Option<&'a str>,
    /// The payload of its CONNECT.
    pub(super) auth: Option<&'a RawValue>,
}

impl Journey {
    /// Begins with a claim that was sent.
    pub(super) fn new(recovery: Arc<Recovery<Comeback>>, pid: String, errand: Errand) -> Self {
        Self { recovery, pid, errand, taker: Taker::default(), arrival: None, handover: None, steps: 0 }
    }

    /// Returns the number of steps that were made. Each has as much time as the one before it.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Goes on. `is_late` says whether the time for the present step is over.
    pub(super) fn poll(
        &mut self,
        connected: &mut ConnectedNamespaces,
        traveller: &Traveller<'_>,
        mut is_late: bool,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<RecoveryResult> {
        let mut step = Step::Wait;
        loop {
            if let Some((_, flushed)) = &mut self.handover {
                if Pin::new(flushed).poll(cx).is_pending() {
                    // What the conversations give later may be among what was handed over.
                    return if is_late {
                        Poll::Ready(self.end(connected, RecoveryResult::Late))
                    } else {
                        Poll::Pending
                    };
                }
                let is_done = self.go_on(connected, traveller);
                let result = if is_done { RecoveryResult::Moved } else { RecoveryResult::UnknownOffset };
                return Poll::Ready(self.end(connected, result));
            }
            match mem::replace(&mut step, Step::Wait) {
                Step::Wait => match self.next_step(cx, now) {
                    Poll::Ready(next) => step = next,
                    Poll::Pending if mem::take(&mut is_late) => step = self.taker.late(),
                    Poll::Pending => return Poll::Pending,
                },
                Step::Enter(offer) => {
                    (self.steps, is_late) = (self.steps + 1, false);
                    if !self.enter(connected, traveller, offer) {
                        step = self.taker.entered(false);
                    }
                }
                Step::Take(node) => {
                    (self.steps, is_late) = (self.steps + 1, false);
                    if self.recovery.take_from(node, &self.errand, &self.pid).is_err() {
                        step = self.taker.late();
                    }
                }
                Step::GoOn(handover) => {
                    (self.steps, is_late) = (self.steps + 1, false);
                    let flushed = self.arrival.as_mut().map(|(_, namespace)| namespace.flush());
                    self.handover = flushed.map(|flushed| (handover, flushed));
                }
                Step::BeginAnew(result) => return Poll::Ready(self.end(connected, result)),
            }
        }
    }

    /// Waits for a letter, or for the end of the entry.
    fn next_step(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Step> {
        if let Poll::Ready(Some(letter)) = self.errand.letters.poll_recv(cx) {
            return Poll::Ready(self.taker.hear(letter));
        }
        let Some((_, namespace)) = &mut self.arrival else { return Poll::Pending };
        if !namespace.is_returning() {
            return Poll::Pending;
        }
        namespace.poll(cx, now);
        if namespace.is_returning() {
            return Poll::Pending;
        }
        Poll::Ready(self.taker.entered(namespace.is_worth_keeping()))
    }

    /// Begins to enter the conversations. From here on their events wait in the outbox.
    fn enter(&mut self, connected: &mut ConnectedNamespaces, traveller: &Traveller<'_>, offer: Offer) -> bool {
        let Offer { sid, username, conversations } = offer;
        connected.outbox.hold();
        connected.outbox.keep_history(self.recovery.settings.history);
        let (index, belongings) = (traveller.namespace, Belongings { username, conversations });
        let mut emitter = connected.emitter(index);
        emitter.numbered = true;
        let namespace = connected.settings.namespaces.return_to(index, emitter, traveller.auth, belongings);
        self.arrival = namespace.map(|namespace| (sid, namespace));
        self.arrival.is_some()
    }

    /// Goes on with the session. Returns false if that is not possible.
    fn go_on(&mut self, connected: &mut ConnectedNamespaces, traveller: &Traveller<'_>) -> bool {
        let Some((sid, mut namespace)) = self.arrival.take() else { return false };
        let Some((handover, _)) = self.handover.take() else { return false };
        let Some(registration) = self.recovery.adopt(&self.pid, &connected.outbox) else { return false };
        let Handover { events, mut missed, has_outage, recounts } = handover;
        if events.is_none() || self.recovery.may_lose() {
            missed = namespace.belongings().map_or(missed, |belongings| belongings.conversations);
        }
        if !connected.outbox.go_on(traveller.heard, &events.unwrap_or_default()) {
            return false;
        }
        namespace.returned(&missed, has_outage, recounts);
        let index = traveller.namespace;
        let name = &connected.settings.namespaces.names()[index];
        connected.outbox.push_answer(Frame::text(&packet::connect_with_pid(name, &sid, &self.pid)));
        if index == 0 {
            connected.outbox.set_socket_id(&sid);
        }
        connected.returns = Some(Returns::new(index, &sid, registration));
        connected.namespaces[index] = Some(namespace);
        true
    }

    /// Ends the journey. What was entered is left again unless the session goes on.
    fn end(&mut self, connected: &ConnectedNamespaces, result: RecoveryResult) -> RecoveryResult {
        if result != RecoveryResult::Moved {
            self.arrival = None;
            connected.outbox.give_up();
        }
        result
    }
}

impl ConnectedNamespaces {
    /// As [`crate::actors::application::Application::answer_elsewhere`].
    pub(super) fn answer_elsewhere(&mut self, cx: &mut Context<'_>) -> Moving {
        let Some(returns) = &mut self.returns else { return Moving::Stays };
        // What is under way is done first.
        let Some(namespace) = &mut self.namespaces[returns.namespace] else { return Moving::Stays };
        let Some(Belongings { username, conversations }) = namespace.belongings() else { return Moving::Stays };
        match returns.registration.take_asked().map(|asked| returns.giver.ask(asked)) {
            Some(Give::Offer(of)) => {
                returns.handing_over = None;
                let offer = Offer { sid: returns.sid.clone(), username, conversations };
                if !returns.registration.offer(of, offer) {
                    returns.giver.withdraw();
                }
                return Moving::Stays;
            }
            Some(Give::Refuse(of)) => returns.registration.refuse(of, Refused::UnknownPid),
            Some(Give::HandOver(of, heard)) => {
                returns.handing_over = Some(Box::new(HandingOver { of, heard, flushed: namespace.flush() }));
            }
            None => {}
        }
        let Some(handing_over) = &mut returns.handing_over else { return Moving::Stays };
        if Pin::new(&mut handing_over.flushed).poll(cx).is_pending() {
            return Moving::Stays;
        }
        self.hand_over_elsewhere()
    }

    /// Hands the session over, after its conversations have given it all that they have.
    fn hand_over_elsewhere(&mut self) -> Moving {
        let Some(mut returns) = self.returns.take() else { return Moving::Stays };
        let Some(handing_over) = returns.handing_over.take() else { return Moving::Stays };
        let HandingOver { of, heard, .. } = *handing_over;
        let Some(unheard) = self.outbox.take_unheard(heard.as_deref()) else {
            returns.registration.refuse(of, Refused::UnknownOffset);
            return Moving::Over;
        };
        let Unheard { events, missed, has_outage, recounts } = unheard;
        let has_outage = has_outage || returns.registration.is_owed_news();
        let handover = Handover { events: Some(events), missed, has_outage, recounts };
        returns.registration.move_to(of, handover);
        Moving::Moved(LINGER)
    }
}
