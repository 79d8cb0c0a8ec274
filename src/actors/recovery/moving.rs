//! The steps by which a session moves to the node to which its client has come back. Pure. The [`Taker`] is on that
//! node, the [`Giver`] on the node that has held the session.
//!
//! The taker claims the session, and is offered its user and conversations. It enters these, so that from then on it
//! hears what is said there. Only then it takes the session: the giver hands over the events up to that moment and ends
//! its session, and the taker leaves out those that both have got. So nothing is lost between the two, and the user is
//! on one of the nodes at each moment. If a step fails, the client begins anew.

use crate::cluster::letters::{Handover, Letter, Offer, Refused, Return};
use crate::cluster::message::NodeId;
use crate::metrics::RecoveryResult;

/// What another node asks of a session that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It claims the session.
    Claim {
        /// The return that it is about.
        of: Return,
        /// The offset of the last event that the client has heard.
        heard: Option<Box<str>>,
    },
    /// It takes the session.
    Take {
        /// The return that it is about.
        of: Return,
    },
}

impl Asked {
    /// Returns the return that it is about.
    pub fn of(&self) -> Return {
        match self {
            Self::Claim { of, .. } | Self::Take { of } => *of,
        }
    }
}

/// What the node of the session does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Give {
    /// It offers the session. If it cannot, [`Giver::withdraw`] is called.
    Offer(Return),
    /// It hands the session over to the client that has heard the event with this offset.
    HandOver(Return, Option<Box<str>>),
    /// It refuses.
    Refuse(Return),
}

/// The side of the node that has the session.
#[derive(Debug, Default)]
pub struct Giver {
    /// The last claim, if it was offered the session.
    offered: Option<(Return, Option<Box<str>>)>,
}

impl Giver {
    /// Takes what another node asks. The newest claim counts: only it may take the session.
    pub fn ask(&mut self, asked: Asked) -> Give {
        match asked {
            Asked::Claim { of, heard } => {
                self.offered = Some((of, heard));
                Give::Offer(of)
            }
            Asked::Take { of } => match self.offered.take_if(|(offered, _)| *offered == of) {
                Some((of, heard)) => Give::HandOver(of, heard),
                None => Give::Refuse(of),
            },
        }
    }

    /// Nobody may take the session any more who was offered it: its client has come back on this node.
    pub fn withdraw(&mut self) {
        self.offered = None;
    }
}

/// What the node does to which the client has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits.
    Wait,
    /// It enters the conversations of the session.
    Enter(Offer),
    /// It takes the session from this node.
    Take(NodeId),
    /// It goes on with the session.
    GoOn(Handover),
    /// The client begins anew.
    BeginAnew(RecoveryResult),
}

/// The side of the node to which the client has come.
#[derive(Debug, Default)]
pub struct Taker {
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The session is claimed.
    #[default]
    Claimed,
    /// The conversations are being entered. The session is on this node.
    Entering(NodeId),
    /// The session is taken.
    Taken,
    Over,
}

impl Taker {
    /// Takes a letter about this return.
    pub fn hear(&mut self, letter: Letter) -> Step {
        match (self.stage, letter) {
            (Stage::Claimed, Letter::Offer { from, offer, .. }) => {
                self.stage = Stage::Entering(from);
                Step::Enter(offer)
            }
            (Stage::Taken, Letter::Handover { handover, .. }) => {
                self.stage = Stage::Over;
                Step::GoOn(handover)
            }
            (Stage::Claimed | Stage::Taken, Letter::Refusal { why, .. }) => self.fail(match why {
                Refused::UnknownPid => RecoveryResult::UnknownPid,
                Refused::UnknownOffset => RecoveryResult::UnknownOffset,
            }),
            // A letter that was answered before.
            _ => Step::Wait,
        }
    }

    /// Takes the end of the entry into the conversations.
    pub fn entered(&mut self, all: bool) -> Step {
        match self.stage {
            Stage::Entering(from) if all => {
                self.stage = Stage::Taken;
                Step::Take(from)
            }
            Stage::Entering(_) => self.fail(RecoveryResult::Busy),
            Stage::Claimed | Stage::Taken | Stage::Over => Step::Wait,
        }
    }

    /// The present step has taken too long: the other node has not answered, or cannot be asked, or the conversations
    /// are not entered.
    pub fn late(&mut self) -> Step {
        match self.stage {
            Stage::Claimed | Stage::Entering(_) | Stage::Taken => self.fail(RecoveryResult::Late),
            Stage::Over => Step::Wait,
        }
    }

    fn fail(&mut self, result: RecoveryResult) -> Step {
        self.stage = Stage::Over;
        Step::BeginAnew(result)
    }
}

#[cfg(test)]
mod tests;
