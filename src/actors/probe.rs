//! The socket of an upgrade that is not finished. It answers probes until its client says `5`, and then becomes the
//! session's transport. An upgrade that fails before that leaves the session as it was.

use std::task::{Context, Poll};
use std::time::Instant;

use super::intake::Ration;
use crate::delivery::transport::Transport;
use crate::event::CloseReason;
use crate::protocol::TransportKind;
use crate::protocol::connection::{Connection, Probed};
use crate::protocol::engine::Packet;
use crate::protocol::frame::Frame;

/// A socket that is not yet its session's transport.
pub(super) struct Probe(Box<dyn Transport>);

/// How far an upgrade is.
pub(super) enum Upgrade {
    /// The client has not said `5` yet.
    Probing(Probe),
    /// The client has said `5`: the socket carries the session, unless it has ended already.
    Done {
        /// The new transport.
        socket: Box<dyn Transport>,
        /// Why the socket has ended, if it has.
        ended: Option<CloseReason>,
    },
    /// The socket is closed, and the session stays where it was.
    Failed,
}

impl Probe {
    /// Begins with a socket that [`Connection::attach`] has taken.
    pub(super) fn new(socket: Box<dyn Transport>) -> Self {
        Self(socket)
    }

    /// Reads the input and answers probes. Packets after the client's `5` in the same read go to `take`, which returns
    /// whether it has room for another.
    pub(super) fn read(
        mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        ration: &mut Ration,
        now: Instant,
        mut take: impl FnMut(&mut Connection, Packet<'_>) -> Result<bool, CloseReason>,
    ) -> Upgrade {
        let mut probes = 0;
        let read = self.0.poll_read(cx, &mut |arrival| {
            let Some(packet) = ration.take(arrival) else { return Ok(!ration.is_used_up()) };
            if connection.transport() == TransportKind::WebSocket {
                return Ok(take(connection, packet)? && !ration.is_used_up());
            }
            match connection.handle_probe(&packet, now) {
                Probed::Answer => probes += 1,
                Probed::Upgraded => {}
                Probed::Close => return Err(CloseReason::TransportClose),
            }
            Ok(!ration.is_used_up())
        });
        let sent = self.0.poll_send(cx, &Frame::text("3probe"), probes);
        let ended = match (read, sent) {
            (Poll::Ready(reason), _) | (_, Poll::Ready(reason)) => Some(reason),
            _ => None,
        };
        if connection.transport() == TransportKind::WebSocket {
            return Upgrade::Done { socket: self.0, ended };
        }
        let Some(reason) = ended else { return Upgrade::Probing(self) };
        self.abandon(connection, reason);
        Upgrade::Failed
    }

    /// Gives the upgrade up.
    pub(super) fn abandon(self, connection: &mut Connection, reason: CloseReason) {
        connection.abandon_upgrade();
        self.0.close(reason);
    }
}

#[cfg(test)]
mod tests;
