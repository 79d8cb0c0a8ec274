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

use super::{ConnectedNamespaces, Emitter, Namespace};
use crate::actors::application::Identity;
use crate::actors::recovery::{Recovery, Registration};
use crate::event::CloseReason;
use crate::metrics::{RecoveryLabel, RecoveryResult};
use crate::protocol::connection::Alarm;
use crate::protocol::frame::Frame;
use crate::protocol::{Generation, packet};

/// The longest wait for the former session, whose thread may be busy.
const CLAIM: Duration = Duration::from_secs(3);

/// Everything that a former session hands over.
pub struct Comeback {
    session: Box<Identity>,
    namespace: Box<dyn Namespace>,
    returns: Box<Returns>,
}

/// The namespace to which the client may come back.
pub(super) struct Returns {
    namespace: usize,
    /// The sid of the client in the namespace.
    sid: Box<str>,
    registration: Registration<Comeback>,
}

/// A client that has come back, and waits for its former session.
pub(super) struct Returning {
    namespace: usize,
    claimed: oneshot::Receiver<Comeback>,
    /// The offset of the last event that the client has heard.
    heard: Option<String>,
    auth: Option<Box<RawValue>>,
    alarm: Alarm,
    announced: bool,
}

impl Returning {
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

impl ConnectedNamespaces {
    /// Grants a namespace. A client that comes back gets it later, after what it has missed.
    pub(super) fn grant(&mut self, namespace: usize, auth: Option<&RawValue>, now: Instant) {
        let asked = Asked::read(auth);
        let recovery = self.recovery_for(namespace, asked.wishes);
        if let (Some(recovery), Some(pid)) = (&recovery, &asked.pid) {
            if let Some(claimed) = recovery.claim(pid) {
                let (auth, heard) = (auth.map(RawValue::to_owned), asked.heard);
                let alarm = Alarm { period: CLAIM, due: now + CLAIM };
                let returning = Returning { namespace, claimed, heard, auth, alarm, announced: false };
                self.returning = Some(Box::new(returning));
                return;
            }
            self.count_recovery(RecoveryResult::UnknownPid);
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
                self.returns = Some(Box::new(Returns { namespace, sid: sid.as_str().into(), registration }));
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
        let Some(returning) = &mut self.returning else { return };
        let claimed = match Pin::new(&mut returning.claimed).poll(cx) {
            Poll::Ready(Ok(comeback)) => Ok(comeback),
            Poll::Ready(Err(_)) => Err(RecoveryResult::UnknownPid),
            Poll::Pending if returning.alarm.due <= now => Err(RecoveryResult::Late),
            Poll::Pending => return,
        };
        let Some(returning) = self.returning.take() else { return };
        let result = claimed.map_or_else(|result| result, |comeback| self.resume(comeback, returning.heard.as_deref()));
        self.count_recovery(result);
        if result != RecoveryResult::Recovered {
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

    /// As [`crate::actors::application::Application::is_claimed`].
    pub(super) fn is_claimed(&self) -> bool {
        self.returns.as_ref().is_some_and(|returns| returns.registration.is_claimed())
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
