//! The doubt about a user that MAX accepted before and denies now. MAX also denies its users while its OAuth server is
//! down, and for a minute afterwards. So a denial is believed only if MAX repeats it after a longer time.

use std::time::Instant;

use super::super::seats::Seat;
use super::{Auth, Call, Calling, Outcome, Participant, Port, Rules};
use crate::event::Code;
use crate::protocol::connection::Alarm;

/// A denial by MAX that is not believed yet.
#[derive(Debug)]
pub(super) struct Doubt {
    auth: Auth,
    /// From then on, a denial is believed.
    until: Instant,
    /// When MAX is asked again without a join of the client.
    ask_again: Instant,
}

impl<S: Seat> Participant<S> {
    /// Notes a denial by MAX. Returns whether it is not believed yet.
    pub(super) fn doubts(&mut self, auth: &Auth, now: Instant, rules: Rules) -> bool {
        if self.user.is_none() {
            return false;
        }
        let work = self.work();
        if let Some(doubt) = &mut work.doubt {
            doubt.auth = auth.clone();
            return now < doubt.until;
        }
        let until = now + rules.doubt;
        work.doubt = Some(Doubt { auth: auth.clone(), until, ask_again: until });
        work.alarms.push(Alarm { period: rules.doubt, due: until });
        true
    }

    /// Asks MAX again whether it denies the user, if that is due and no call is under way.
    pub(super) fn ask_again(&mut self, now: Instant, port: &mut impl Port<Seat = S>) {
        let Some(work) = self.work.as_mut().filter(|work| work.call.is_none() && work.next.is_none()) else { return };
        let (Some(doubt), Some(username)) = (&mut work.doubt, &self.claim) else { return };
        if doubt.ask_again > now || work.departing {
            return;
        }
        let (username, auth) = (username.clone(), doubt.auth.clone());
        let call = Call { enters: false, username, auth, user: self.user.clone(), moved: None };
        match port.call(call) {
            Ok(()) => work.call = Some(Calling::Verify),
            Err(code) => self.verified(Some(code), now, port),
        }
    }

    /// Takes MAX's answer after [`Self::ask_again`]. `failure` is `None` if MAX accepts the user.
    pub(super) fn verified(&mut self, failure: Option<Code>, now: Instant, port: &mut impl Port<Seat = S>) {
        let period = port.rules().doubt;
        match failure {
            None => self.work().doubt = None,
            Some(code @ (Code::Unauthorized | Code::UnknownUser)) => {
                let left = self.become_nobody();
                self.settle(left, Outcome::Ended(code), port);
            }
            Some(_) => {
                let work = self.work();
                if let Some(doubt) = &mut work.doubt {
                    doubt.ask_again = now + period;
                    work.alarms.push(Alarm { period, due: now + period });
                }
            }
        }
    }
}
