//! The drain of a server: its sessions are closed, spread evenly over `server.drain_ms`, so that their clients do not
//! all reconnect at once. Open sessions are served until their turn comes: they may send requests by new connections.
//!
//! * `schedule`: how many sessions are closed next, and when; pure.

use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep_until;

use crate::actors::front::SessionMessage;
use crate::event::CloseReason;
use crate::http::sessions::Sessions;
use crate::stage::Drain;

mod schedule;

use schedule::{Lines, Slice};

/// The pause between two looks for sessions that have begun since.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Waits until the drain begins, and closes the sessions. Returns when none is left, or when the drain is due.
pub(super) async fn run(drain: Drain, sessions: &Sessions) {
    let begun = drain.until_begun().await;
    let (by, over) = (&begun.by, begun.due - begun.at);
    if over.is_zero() {
        return log::info!("{by}: stopping");
    }
    log::info!(
        "{by}: draining: {} sessions are closed over {} ms; a second signal stops the server at once",
        begun.sessions,
        over.as_millis()
    );
    let mut lines = Lines::new(begun.sessions, begun.at);
    let mut next_slice = Instant::now();
    loop {
        let (now, left) = (Instant::now(), sessions.len());
        if left == 0 || now >= begun.due {
            let ms = begun.at.elapsed().as_millis();
            return log::info!("drained in {ms} ms, {left} sessions are left: stopping");
        }
        if lines.is_due(left, now) {
            let ms = (begun.due - now).as_millis();
            log::info!("draining: {left} of {} sessions are left, and {ms} ms", begun.sessions);
        }
        if now >= next_slice {
            let slice = Slice::next(left, begun.due - now);
            let closed = close(sessions, slice.sessions);
            // If there are fewer, the others have been told and are about to end.
            let pause = if closed < slice.sessions { LOOK } else { slice.pause };
            // Small delays do not add up.
            next_slice = (next_slice + pause).max(now);
        }
        sleep_until(next_slice.min(begun.due).min(now + LOOK).into()).await;
    }
}

/// Closes all sessions now, in slices, between which other tasks of this thread run.
pub(super) async fn close_all(sessions: &Sessions) {
    while close(sessions, Slice::next(sessions.len(), Duration::ZERO).sessions) > 0 {
        yield_now().await;
    }
}

/// Closes at most this number of sessions that have not been closed before. Returns how many it closed.
fn close(sessions: &Sessions, at_most: usize) -> usize {
    let mailboxes = sessions.dismiss(at_most);
    for mailbox in &mailboxes {
        mailbox.send_always(SessionMessage::Abort(CloseReason::Stop));
    }
    mailboxes.len()
}
