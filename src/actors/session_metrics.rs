//! The records of one session: its metrics, labelled by its transport, which may change, and its generation, which does
//! not; and its card on the board.

use std::sync::Arc;

use crate::board::sessions::SessionEntry;
use crate::event::CloseReason;
use crate::metrics::{CloseLabel, Limit, Metrics, SessionLabel};
use crate::protocol::connection::Beat;
use crate::protocol::{Generation, TransportKind};

/// Counts the session in the metrics for as long as it lives.
pub(super) struct SessionMetrics {
    /// The metrics of the server.
    pub(super) metrics: Arc<Metrics>,
    generation: Generation,
    kind: TransportKind,
    open: bool,
    entry: SessionEntry,
}

impl SessionMetrics {
    /// Counts the session as opened.
    pub(super) fn new(metrics: Arc<Metrics>, generation: Generation, kind: TransportKind, entry: SessionEntry) -> Self {
        let session_metrics = Self { metrics, generation, kind, open: true, entry };
        session_metrics.metrics.sessions_opened.get_or_create(&session_metrics.label()).inc();
        session_metrics.metrics.sessions.get_or_create(&session_metrics.label()).inc();
        session_metrics
    }

    /// Counts the session under another transport.
    pub(super) fn moved(&mut self, kind: TransportKind) {
        self.metrics.sessions.get_or_create(&self.label()).dec();
        self.kind = kind;
        self.entry.moved(kind);
        self.metrics.sessions.get_or_create(&self.label()).inc();
    }

    /// Notes a heartbeat, if there was one.
    pub(super) fn beat(&self, beat: Option<Beat>) {
        match beat {
            None => {}
            Some(Beat::Ping) => self.entry.beat(None),
            Some(Beat::Answer(round_trip)) => self.entry.beat(Some(round_trip)),
        }
    }

    /// Returns whether somebody has asked for a refresh of the session's conversations, once for each time.
    pub(super) fn takes_refresh(&self) -> bool {
        self.entry.takes_refresh()
    }

    /// Counts the session as closed. Only the first call counts.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if std::mem::take(&mut self.open) {
            self.entry.closed(reason);
            let SessionLabel { transport, protocol } = self.label();
            let label = CloseLabel { transport, protocol, reason: reason.into() };
            self.metrics.sessions.get_or_create(&self.label()).dec();
            self.metrics.sessions_closed.get_or_create(&label).inc();
            match reason {
                CloseReason::Flood => self.metrics.limited(Limit::Packets),
                CloseReason::WriteTimeout => self.metrics.limited(Limit::WriteTime),
                _ => {}
            }
        }
    }

    fn label(&self) -> SessionLabel {
        SessionLabel { transport: self.kind, protocol: self.generation }
    }
}

impl Drop for SessionMetrics {
    fn drop(&mut self) {
        // A session that is dropped before it was closed has failed.
        self.close(CloseReason::Panic);
    }
}
