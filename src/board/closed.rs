//! The sessions that were closed last, with their reasons.

use std::collections::VecDeque;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::event::{CloseReason, SessionId, Username};
use crate::protocol::{Generation, TransportKind};

/// Closed sessions that are remembered.
pub const REMEMBERED: usize = 200;

/// A session that was closed.
#[derive(Clone, Debug)]
pub struct ClosedSession {
    /// The number of the session.
    pub id: SessionId,
    /// The user that it had last, if it ever joined.
    pub user: Option<Username>,
    /// The address of its client.
    pub address: IpAddr,
    /// The generation of its client.
    pub generation: Generation,
    /// The transport that it used last.
    pub transport: TransportKind,
    /// When it was opened, in milliseconds since the server began.
    pub opened_ms: u64,
    /// When it was closed, in milliseconds since the server began.
    pub closed_ms: u64,
    /// News that was folded or left out since it was opened.
    pub folded: usize,
    /// Why it was closed.
    pub reason: CloseReason,
}

/// The sessions that were closed last.
#[derive(Debug, Default)]
pub struct ClosedSessions(Mutex<VecDeque<ClosedSession>>);

impl ClosedSessions {
    /// Remembers a session, and forgets the oldest one beyond [`REMEMBERED`].
    pub fn add(&self, session: ClosedSession) {
        let mut sessions = self.0.lock();
        if sessions.len() == REMEMBERED {
            sessions.pop_front();
        }
        sessions.push_back(session);
    }

    /// Returns the sessions, the one that was closed last first.
    pub fn newest_first(&self) -> Vec<ClosedSession> {
        self.0.lock().iter().rev().cloned().collect()
    }
}
