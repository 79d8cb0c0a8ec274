//! The code that polling shares in all generations: a request waits for the session that its sid names, a POST is read
//! within its bounds, and a poll is answered with text, bytes or a script.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answers::HttpError;
use super::endpoint::Edge;
use super::sessions::Entry;
use crate::actors::front::{SessionMessage, WaitingPoll};
use crate::event::CloseReason;
use crate::limits::clients::Clients;
use crate::mailbox;
use crate::metrics::Limit;
use crate::protocol::Generation;
use crate::protocol::handshake::RequestError;
use crate::protocol::jsonp::Callback;
use crate::protocol::payload::Body;

/// A session's thread counts as stuck after twice the longest regular wait plus this time.
const STUCK_WAIT: Duration = Duration::from_secs(5);

/// Waits for packets. `script` says whether the answer will be a script. A client that goes away drops this future and
/// with it the receiver, which the session notices at once.
///
/// # Errors
/// The session refuses the poll, or is gone.
pub(super) async fn poll(edge: &Edge, entry: &Entry, script: bool) -> Result<Body, HttpError> {
    let (reply, answer) = oneshot::channel();
    send(entry, SessionMessage::Poll(WaitingPoll { script, reply }))?;
    Ok(answered(edge, entry, answer).await??)
}

/// Gives a posted body to the session and waits until it is processed.
///
/// # Errors
/// The session refuses the body, or is gone.
pub(super) async fn feed(edge: &Edge, posting: Posting, body: Body) -> Result<(), HttpError> {
    let (reply, answer) = oneshot::channel();
    let answer = match send(&posting.entry, SessionMessage::Post { body, reply }) {
        Ok(()) => answered(edge, &posting.entry, answer).await,
        Err(refusal) => Err(refusal),
    };
    posting.end();
    Ok(answer??)
}

fn send(entry: &Entry, message: SessionMessage) -> Result<(), HttpError> {
    entry.mailbox.try_send(message).map_err(|refusal| match refusal {
        mailbox::SendError::Full => HttpError::Busy,
        mailbox::SendError::Closed => HttpError::Error(RequestError::UnknownSid),
    })
}

/// Waits for a session's answer. A session answers at its next heartbeat or at the end of its longest poll at the
/// latest; the deadline catches a thread that is stuck. It is generous because a session needs time to catch up after
/// the whole machine was suspended.
async fn answered<T>(edge: &Edge, entry: &Entry, answer: oneshot::Receiver<T>) -> Result<T, HttpError> {
    let periods = &edge.endpoint.periods;
    let longest = match entry.generation {
        Generation::Eio4 | Generation::Eio3 => periods.ping_interval + periods.ping_timeout,
        Generation::Sio09 => periods.legacy.polling_duration.max(periods.legacy.close_timeout),
    };
    match timeout(longest * 2 + STUCK_WAIT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(RequestError::UnknownSid.into()),
    }
}

/// Returns the answer to a poll or a handshake, as it is or as a call of the page's callback.
pub(super) fn answer(body: Body, script: Option<&Callback>) -> HttpResponse {
    let mut response = fresh();
    match (body, script) {
        (Body::Text(text), None) => response.content_type("text/plain; charset=UTF-8").body(text),
        (Body::Text(text), Some(callback)) => script_answer(callback.call(&text)),
        // Polls answered by a script are never binary: the session encodes for `script`.
        (Body::Binary(bytes), _) => response.content_type("application/octet-stream").body(bytes),
    }
}

/// Returns an answer that is a script. Browsers must not sniff another type, and old XSS filters must not mistake it
/// for an injected script.
pub(super) fn script_answer(script: String) -> HttpResponse {
    fresh()
        .content_type("text/javascript; charset=UTF-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_XSS_PROTECTION, "0"))
        .body(script)
}

/// Begins an answer that must not be cached.
pub(super) fn fresh() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

/// A POST under way; a session has one at a time. Over Engine.IO, a second one at the same time ends the session, and
/// so does one that its client abandons midway. Sessions of 0.9 live on, and so do those that a WebSocket carries.
pub(super) struct Posting {
    entry: Arc<Entry>,
    reason: Option<CloseReason>,
}

impl Posting {
    /// Returns `None` if a POST is already under way.
    pub(super) fn begin(entry: &Arc<Entry>) -> Option<Self> {
        if entry.posting.swap(true, Ordering::AcqRel) {
            fail(entry, CloseReason::Overlap);
            return None;
        }
        Some(Self { entry: entry.clone(), reason: Some(CloseReason::TransportError) })
    }

    /// Reads the body, up to the largest size. The connection enforces the deadline.
    ///
    /// # Errors
    /// The body is too large, late, or broken off, or memory is too short. The POST has ended.
    pub(super) async fn read(
        mut self,
        edge: &Edge,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<(Self, Vec<u8>), HttpError> {
        let limit = edge.endpoint.payload_bytes_max;
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced: Option<usize> = announced.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = match announced {
            Some(bytes) if bytes > limit => Ok(None),
            _ => collect(payload, limit, &edge.endpoint.clients).await,
        };
        match body {
            Ok(Some(body)) => {
                // The body is complete: a client that goes away now loses nothing.
                self.reason = None;
                Ok((self, body))
            }
            Ok(None) => {
                edge.endpoint.metrics.limited(Limit::RequestBody);
                self.end();
                Err(HttpError::TooLarge)
            }
            Err(PayloadError::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                edge.endpoint.metrics.limited(Limit::Memory);
                self.end();
                Err(HttpError::Busy)
            }
            Err(PayloadError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => Err(HttpError::Late),
            Err(_) => Err(HttpError::Empty),
        }
    }

    /// Ends the POST and, over Engine.IO, the session, unless a WebSocket carries it.
    pub(super) fn abort(mut self, reason: CloseReason) {
        self.reason = Some(reason);
    }

    fn end(mut self) {
        self.reason = None;
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.entry.posting.store(false, Ordering::Release);
        if let Some(reason) = self.reason {
            fail(&self.entry, reason);
        }
    }
}

/// Tells a session of Engine.IO that a POST failed. A session of 0.9 is not told.
fn fail(entry: &Entry, reason: CloseReason) {
    if entry.generation != Generation::Sio09 {
        entry.mailbox.send_always(SessionMessage::AbortPost(reason));
    }
}

/// Returns the whole body, or `None` if it is larger than `limit`. Fails also if memory is too short.
async fn collect(mut payload: Payload, limit: usize, clients: &Clients) -> Result<Option<Vec<u8>>, PayloadError> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk?;
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        if !clients.may_keep(body.len() + chunk.len()) {
            return Err(PayloadError::Io(io::ErrorKind::OutOfMemory.into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
