//! What a session has for its client that may come back.

use std::convert::Infallible;

use tokio::sync::oneshot;

use super::Namespace;
use crate::actors::application::Identity;
use crate::actors::recovery::Registration;
use crate::actors::recovery::moving::Giver;
use crate::cluster::letters::Return;

/// Everything that a former session hands over.
pub struct Comeback {
    pub(super) session: Box<Identity>,
    pub(super) namespace: Box<dyn Namespace>,
    pub(super) returns: Box<Returns>,
}

/// The namespace to which the client may come back.
pub(super) struct Returns {
    pub(super) namespace: usize,
    /// The sid of the client in the namespace.
    pub(super) sid: Box<str>,
    pub(super) registration: Registration<Comeback>,
    pub(super) giver: Giver,
    /// The return for which the session is about to be handed over to another node, and the offset of the last event
    /// that the client has heard. It waits until its conversations have given it all that they have.
    pub(super) handing_over: Option<Box<HandingOver>>,
}

/// A session that is about to be handed over to another node.
pub(super) struct HandingOver {
    pub(super) of: Return,
    pub(super) heard: Option<Box<str>>,
    pub(super) flushed: oneshot::Receiver<Infallible>,
}

impl Returns {
    pub(super) fn new(namespace: usize, sid: &str, registration: Registration<Comeback>) -> Box<Self> {
        Box::new(Self { namespace, sid: sid.into(), registration, giver: Giver::default(), handing_over: None })
    }
}
