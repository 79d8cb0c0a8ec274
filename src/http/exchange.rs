//! What the polling of all generations has in common: a request waits for the session that its sid names, a POST is
//! read within its bounds, and a poll's answer is text, bytes, or a script.

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
use crate::actors::front::WaitingPoll;
use crate::actors::session::SessionMessage;
use crate::event::CloseReason;
use crate::limits::clients::Clients;
use crate::mailbox;
use crate::metrics::Limit;
use crate::protocol::Generation;
use crate::protocol::handshake::RequestError;
use crate::protocol::jsonp::Callback;
use crate::protocol::payload::Body;

/// What a session may need to answer on top of its heartbeat.
const STUCK_WAIT: Duration = Duration::from_secs(5);

/// Waits for packets, for an answer that will be a `script` or not. A client that goes away drops this future, and
/// with it the receiver: its session sees that at once.
///
/// # Errors
/// The session does not take the poll, or is gone.
pub(super) async fn poll(edge: &Edge, entry: &Entry, script: bool) -> Result<Body, HttpError> {
    let (reply, answer) = oneshot::channel();
    send(entry, SessionMessage::Poll(WaitingPoll { script, reply }))?;
    Ok(answered(edge, entry, answer).await??)
}

/// Gives the session what a POST has brought, and waits until it was taken.
///
/// # Errors
/// The session does not take it, or is gone.
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

/// Waits for a session's answer. It has one at its next heartbeat, or at the end of its longest poll, at the latest:
/// the deadline is for a thread that is stuck, and generous, because a session that was stopped with the whole machine
/// still has to come to its senses.
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

/// The answer to a poll or a handshake: as it is, or as a script for the page that has this function.
pub(super) fn answer(body: Body, script: Option<&Callback>) -> HttpResponse {
    let mut response = fresh();
    match (body, script) {
        (Body::Text(text), None) => response.content_type("text/plain; charset=UTF-8").body(text),
        (Body::Text(text), Some(callback)) => script_answer(callback.call(&text)),
        // Only a poll that is answered by a script has no binary form, and it has asked for none.
        (Body::Binary(bytes), _) => response.content_type("application/octet-stream").body(bytes),
    }
}

/// A script. It is of the type that it says, and nothing else; and filters against scripts that come back from a query,
/// in browsers that still have one, are not to take it for such.
pub(super) fn script_answer(script: String) -> HttpResponse {
    fresh()
        .content_type("text/javascript; charset=UTF-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_XSS_PROTECTION, "0"))
        .body(script)
}

/// An answer that nobody is to keep.
pub(super) fn fresh() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

/// A POST under way: there is one at a time. One too many, and one dropped before its end because the client has gone
/// away in the middle of it, is over Engine.IO the end of the session. Those of 0.9 live on.
pub(super) struct Posting {
    entry: Arc<Entry>,
    reason: Option<CloseReason>,
}

impl Posting {
    /// None where there is one already.
    pub(super) fn begin(entry: &Arc<Entry>) -> Option<Self> {
        if entry.posting.swap(true, Ordering::AcqRel) {
            fail(entry, CloseReason::Overlap);
            return None;
        }
        Some(Self { entry: entry.clone(), reason: Some(CloseReason::TransportError) })
    }

    /// The body, within the size that it may have. Its time is the connection's business.
    ///
    /// # Errors
    /// Too much, too late, or broken off; the posting is over then.
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
                // It has come whole: a client that goes away now has said all that it had to say.
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

    /// What was posted ends the session, over Engine.IO.
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

/// A POST went wrong. Only a session of Engine.IO is told, and only once: it ends by that.
fn fail(entry: &Entry, reason: CloseReason) {
    if entry.generation != Generation::Sio09 {
        entry.mailbox.send_always(SessionMessage::AbortPost(reason));
    }
}

/// The whole body, or none where it is larger than `limit`. An error too where memory is too short for it.
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
