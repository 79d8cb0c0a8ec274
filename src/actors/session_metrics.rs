//! The records of one session: its metrics, labelled by its transport, which may change, and its generation, which does
//! not; and its card on the board.

use std::net::IpAddr;
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
    /// `None` once the session has handed it over.
    entry: Option<SessionEntry>,
}

impl SessionMetrics {
    /// Counts the session as opened.
    pub(super) fn new(metrics: Arc<Metrics>, generation: Generation, kind: TransportKind, entry: SessionEntry) -> Self {
        let session_metrics = Self { metrics, generation, kind, open: true, entry: Some(entry) };
        session_metrics.metrics.sessions_opened.get_or_create(&session_metrics.label()).inc();
        session_metrics.metrics.sessions.get_or_create(&session_metrics.label()).inc();
        session_metrics
    }

    /// Counts the session under another transport.
    pub(super) fn moved(&mut self, kind: TransportKind) {
        self.metrics.sessions.get_or_create(&self.label()).dec();
        self.kind = kind;
        if let Some(entry) = &self.entry {
            entry.moved(kind);
        }
        self.metrics.sessions.get_or_create(&self.label()).inc();
    }

    /// Notes a heartbeat, if there was one.
    pub(super) fn beat(&self, beat: Option<Beat>) {
        match (beat, &self.entry) {
            (None, _) | (_, None) => {}
            (Some(Beat::Ping), Some(entry)) => entry.beat(None),
            (Some(Beat::Answer(round_trip)), Some(entry)) => entry.beat(Some(round_trip)),
        }
    }

    /// Returns whether somebody has asked for a refresh of the session's conversations, once for each time.
    pub(super) fn takes_refresh(&self) -> bool {
        self.entry.as_ref().is_some_and(SessionEntry::takes_refresh)
    }

    /// Counts the session as closed for this reason, and its card as that of a client that may come back.
    pub(super) fn keep(&mut self, reason: CloseReason) {
        self.close(reason);
        if let Some(entry) = &self.entry {
            entry.kept();
        }
    }

    /// Gives the card away.
    pub(super) fn give_entry(&mut self) -> Option<SessionEntry> {
        self.entry.take()
    }

    /// Takes the card of a former session, in place of its own.
    pub(super) fn take_entry(&mut self, entry: SessionEntry) {
        self.entry = Some(entry);
    }

    /// Takes the card of a former session, in place of its own, for its client that has come back from this address.
    pub(super) fn take_over(&mut self, entry: SessionEntry, address: IpAddr) {
        entry.came_back(address, self.kind);
        self.entry = Some(entry);
    }

    /// Counts the session as closed. Only the first call counts.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if std::mem::take(&mut self.open) {
            if let Some(entry) = &self.entry {
                entry.closed(reason);
            }
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
