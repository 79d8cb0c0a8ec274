//! A client that comes back after its connection was lost. Its former session hands over everything, and the session of
//! the new connection goes on with it: the same sid, the same user and memberships, and the events that were missed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::journey::{Journey, Traveller};
use super::returns::{Comeback, Returns};
use super::{ConnectedNamespaces, Emitter};
use crate::actors::application::Identity;
use crate::actors::recovery::{Claimant, Recovery};
use crate::event::CloseReason;
use crate::metrics::{RecoveryLabel, RecoveryResult};
use crate::protocol::connection::Alarm;
use crate::protocol::frame::Frame;
use crate::protocol::{Generation, packet};

/// A client that has come back, and waits for its former session.
pub(super) struct Returning {
    namespace: usize,
    way: Way,
    /// The offset of the last event that the client has heard.
    heard: Option<String>,
    auth: Option<Box<RawValue>>,
    alarm: Alarm,
    announced: bool,
}

/// The way to the former session.
enum Way {
    Here(oneshot::Receiver<Comeback>),
    Elsewhere(Box<Journey>),
}

impl Returning {
    /// Gives the next step as much time as the first one had.
    fn wait_again(&mut self, now: Instant) {
        (self.alarm.due, self.announced) = (now + self.alarm.period, false);
    }

    /// Returns the end of the wait, once.
    pub(super) fn poll_alarm(&mut self) -> Option<Alarm> {
        (!std::mem::replace(&mut self.announced, true)).then_some(self.alarm)
    }
}

/// What a CONNECT says of the recovery.
#[derive(Default)]
struct Asked {
    pid: Option<String>,
    heard: Option<String>,
    wishes: Option<bool>,
}

impl Asked {
    /// Reads the payload of a CONNECT. Values of other types count as absent.
    fn read(auth: Option<&RawValue>) -> Self {
        #[derive(Deserialize)]
        struct Given<'a> {
            #[serde(borrow)]
            pid: Option<&'a RawValue>,
            #[serde(borrow)]
            offset: Option<&'a RawValue>,
            #[serde(borrow)]
            recovery: Option<&'a RawValue>,
        }
        let given: Option<Given<'_>> = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let Some(Given { pid, offset, recovery }) = given else { return Self::default() };
        let text = |value: Option<&RawValue>| serde_json::from_str(value?.get()).ok();
        let wishes = recovery.and_then(|value| serde_json::from_str(value.get()).ok());
        Self { pid: text(pid), heard: text(offset), wishes }
    }
}

/// Claims the session with this pid, on this node or on another one.
fn claim(recovery: &Arc<Recovery<Comeback>>, pid: String, heard: Option<&str>) -> Result<Way, RecoveryResult> {
    if let Some(claimed) = recovery.claim(&pid) {
        return Ok(Way::Here(claimed));
    }
    let errand = recovery.claim_elsewhere(&pid, heard)?;
    Ok(Way::Elsewhere(Box::new(Journey::new(recovery.clone(), pid, errand))))
}

impl ConnectedNamespaces {
    /// Grants a namespace. A client that comes back gets it later, after what it has missed.
    pub(super) fn grant(&mut self, namespace: usize, auth: Option<&RawValue>, now: Instant) {
        let asked = Asked::read(auth);
        let recovery = self.recovery_for(namespace, asked.wishes);
        if let (Some(recovery), Some(pid)) = (&recovery, asked.pid) {
            match claim(recovery, pid, asked.heard.as_deref()) {
                Ok(way) => {
                    let (auth, heard) = (auth.map(RawValue::to_owned), asked.heard);
                    let period = recovery.settings.claim;
                    let alarm = Alarm { period, due: now + period };
                    let returning = Returning { namespace, way, heard, auth, alarm, announced: false };
                    self.returning = Some(Box::new(returning));
                    return;
                }
                Err(result) => self.count_recovery(result),
            }
        }
        self.grant_anew(namespace, auth, recovery);
    }

    /// Returns the recovery if it is on for this client in this namespace.
    fn recovery_for(&self, namespace: usize, wishes: Option<bool>) -> Option<Arc<Recovery<Comeback>>> {
        let recovery = self.settings.recovery.as_ref().filter(|_| self.settings.namespaces.recovers(namespace))?;
        let unasked = !recovery.settings.asked_only && self.outbox.takes_offsets();
        let is_on = self.outbox.generation() == Generation::Eio4 && wishes.unwrap_or(unasked);
        is_on.then(|| recovery.clone())
    }

    /// Grants a namespace to a client that begins anew.
    fn grant_anew(&mut self, namespace: usize, auth: Option<&RawValue>, recovery: Option<Arc<Recovery<Comeback>>>) {
        let generation = self.outbox.generation();
        let sid = match generation {
            Generation::Eio4 => self.settings.ids.draw(),
            Generation::Eio3 | Generation::Sio09 => String::new(),
        };
        let name = &self.settings.namespaces.names()[namespace];
        match recovery {
            Some(recovery) => {
                let registration = recovery.enter(&self.settings.ids, &self.outbox);
                self.outbox.push(Frame::text(&packet::connect_with_pid(name, &sid, &registration.pid())));
                self.outbox.keep_history(recovery.settings.history);
                self.returns = Some(Returns::new(namespace, &sid, registration));
            }
            None => drop(self.outbox.push(Frame::text(&packet::connect(generation, name, &sid)))),
        }
        if generation == Generation::Eio4 && namespace == 0 {
            self.outbox.set_socket_id(&sid);
        }
        self.namespace(namespace, auth);
    }

    /// Goes on with a client that waits for its former session.
    pub(super) fn poll_returning(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(mut returning) = self.returning.take() else { return };
        let is_late = returning.alarm.due <= now;
        let result = match &mut returning.way {
            Way::Here(claimed) => match Pin::new(claimed).poll(cx) {
                Poll::Ready(Ok(comeback)) => Poll::Ready(self.resume(comeback, returning.heard.as_deref())),
                Poll::Ready(Err(_)) => Poll::Ready(RecoveryResult::UnknownPid),
                Poll::Pending if is_late => Poll::Ready(RecoveryResult::Late),
                Poll::Pending => Poll::Pending,
            },
            Way::Elsewhere(journey) => {
                let traveller = Traveller {
                    namespace: returning.namespace,
                    heard: returning.heard.as_deref(),
                    auth: returning.auth.as_deref(),
                };
                let steps = journey.steps();
                let result = journey.poll(self, &traveller, is_late, cx, now);
                if journey.steps() > steps {
                    returning.wait_again(now);
                }
                result
            }
        };
        let Poll::Ready(result) = result else {
            self.returning = Some(returning);
            return;
        };
        self.count_recovery(result);
        if !matches!(result, RecoveryResult::Recovered | RecoveryResult::Moved) {
            let auth = returning.auth.as_deref();
            let recovery = self.recovery_for(returning.namespace, Asked::read(auth).wishes);
            self.grant_anew(returning.namespace, auth, recovery);
        }
        // The client is read again.
        cx.waker().wake_by_ref();
    }

    /// Goes on with what the former session had.
    fn resume(&mut self, comeback: Comeback, heard: Option<&str>) -> RecoveryResult {
        let Comeback { session, namespace, mut returns } = comeback;
        if session.outbox.form() != self.outbox.form() || !session.outbox.resume(heard) {
            session.outbox.close(CloseReason::TransportClose);
            return RecoveryResult::UnknownOffset;
        }
        returns.registration.resume();
        returns.giver.withdraw();
        returns.handing_over = None;
        let index = returns.namespace;
        let (name, pid) = (&self.settings.namespaces.names()[index], returns.registration.pid());
        session.outbox.push_answer(Frame::text(&packet::connect_with_pid(name, &returns.sid, &pid)));
        (self.session, self.outbox, self.returns) = (session.id, session.outbox.clone(), Some(returns));
        self.namespaces[index] = Some(namespace);
        for index in 0..self.namespaces.len() {
            let emitter = self.emitter(index);
            if let Some(namespace) = &mut self.namespaces[index] {
                namespace.move_to(emitter);
            }
        }
        self.slot.joined();
        self.taken_over = Some(session);
        RecoveryResult::Recovered
    }

    fn count_recovery(&self, result: RecoveryResult) {
        log::debug!("session {} of {}: a client came back: {}", self.session.0, self.peer, result.as_str());
        self.settings.metrics.recoveries.get_or_create(&RecoveryLabel { result }).inc();
    }

    /// Returns the emitter of a namespace.
    pub(super) fn emitter(&self, namespace: usize) -> Emitter {
        Emitter {
            session: self.session,
            peer: self.peer,
            namespace: self.settings.namespaces.names()[namespace].clone(),
            outbox: self.outbox.clone(),
            slot: self.slot.clone(),
            numbered: self.returns.as_ref().is_some_and(|returns| returns.namespace == namespace),
        }
    }

    /// Drops what is only there for a client that may come back to this namespace, because it has left.
    pub(super) fn left(&mut self, namespace: usize) {
        if self.returns.take_if(|returns| returns.namespace == namespace).is_some() {
            self.outbox.end_history();
        }
    }

    /// As [`crate::actors::application::Application::keep`].
    pub(super) fn keep(&mut self) -> Option<Duration> {
        let returns = self.returns.as_mut()?;
        let is_worth = self.namespaces[returns.namespace].as_ref().is_some_and(|it| it.is_worth_keeping());
        if !is_worth || !self.slot.may_keep(self.outbox.bytes()) {
            return None;
        }
        let window = returns.registration.keep()?;
        // Those who come back need slots of their own.
        self.slot.release();
        Some(window)
    }

    /// As [`crate::actors::application::Application::claimant`].
    pub(super) fn claimant(&self) -> Claimant {
        let Some(returns) = &self.returns else { return Claimant::Nobody };
        match returns.registration.claimant() {
            Claimant::Nobody if returns.handing_over.is_some() => Claimant::Elsewhere,
            claimant => claimant,
        }
    }

    /// As [`crate::actors::application::Application::hand_over`].
    pub(super) fn hand_over(&mut self, session: Box<Identity>) -> Result<(), Box<Identity>> {
        let Some(claim) = self.returns.as_ref().and_then(|returns| returns.registration.take_claim()) else {
            return Err(session);
        };
        let Some(returns) = self.returns.take() else { return Err(session) };
        let index = returns.namespace;
        let Some(namespace) = self.namespaces[index].take() else { return Err(session) };
        claim.send(Comeback { session, namespace, returns }).map_err(|Comeback { session, namespace, returns }| {
            self.namespaces[index] = Some(namespace);
            self.returns = Some(returns);
            session
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_is_read_leniently() {
        for (auth, pid, heard, wishes) in [
            (r#"{"pid":"p","offset":"o"}"#, Some("p"), Some("o"), None),
            (r#"{"token":"t","pid":"p"}"#, Some("p"), None, None),
            (r#"{"pid":7,"offset":null,"recovery":"yes"}"#, None, None, None),
            (r#"{"recovery":false,"offset":"\u006f"}"#, None, Some("o"), Some(false)),
            (r#"{"recovery":true}"#, None, None, Some(true)),
            (r#"{"pid":"p","pid":"q"}"#, None, None, None),
        ] {
            let raw = RawValue::from_string(auth.to_owned()).unwrap();
            let asked = Asked::read(Some(&raw));
            assert_eq!((asked.pid.as_deref(), asked.heard.as_deref(), asked.wishes), (pid, heard, wishes), "{auth}");
        }
    }
}
