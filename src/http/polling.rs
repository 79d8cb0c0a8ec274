//! The polling transport: a GET drains the outbox of its session, a POST feeds it, and a GET without a sid begins one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::sessions::Entry;
use super::{Edge, Refusal};
use crate::actors::session::SessionMessage;
use crate::event::CloseReason;
use crate::mailbox;
use crate::protocol::TransportKind;
use crate::protocol::handshake::{Request, RequestError};

/// What a session may need to answer on top of its heartbeat.
const STUCK_WAIT: Duration = Duration::from_secs(5);

/// Serves the endpoint to whatever is not an upgrade.
pub async fn serve(request: HttpRequest, payload: Payload, edge: Edge) -> HttpResponse {
    match route(&request, payload, &edge).await {
        Ok(response) => response,
        Err(refusal) => {
            if let Refusal::Error(error) = refusal {
                edge.note_refusal(error, request.peer_addr());
            }
            refusal.response()
        }
    }
}

async fn route(request: &HttpRequest, payload: Payload, edge: &Edge) -> Result<HttpResponse, Refusal> {
    let asked = Request::parse(request.query_string())?;
    let Some(sid) = &asked.sid else {
        if request.method() != Method::GET {
            return Err(RequestError::BadMethod.into());
        }
        if asked.transport != TransportKind::Polling {
            return Err(RequestError::BadRequest.into());
        }
        let peer = request.peer_addr().ok_or(RequestError::BadRequest)?;
        let open = edge.open(asked.generation, peer.ip(), None).map_err(Refusal::Handshake)?;
        return Ok(packets(open.into_bytes()));
    };
    let entry = edge.endpoint.sessions.get(sid).ok_or(RequestError::UnknownSid)?;
    if asked.transport != TransportKind::Polling {
        return Err(RequestError::BadRequest.into());
    }
    match *request.method() {
        Method::GET => poll(edge, &entry).await,
        Method::POST => post(request, payload, edge, &entry).await,
        _ => Err(Refusal::Method),
    }
}

/// Waits for packets. A client that goes away drops this future, and with it the receiver: its session sees that at
/// once.
async fn poll(edge: &Edge, entry: &Entry) -> Result<HttpResponse, Refusal> {
    let (reply, answer) = oneshot::channel();
    send(entry, SessionMessage::Poll(reply))?;
    Ok(packets(answered(edge, answer).await??))
}

/// Waits for a session's answer. It has one at its next ping at the latest: the deadline is for a thread that is stuck,
/// and generous, because a session that was stopped with the whole machine still has to come to its senses.
async fn answered<T>(edge: &Edge, answer: oneshot::Receiver<T>) -> Result<T, Refusal> {
    let limit = (edge.endpoint.periods.ping_interval + edge.endpoint.periods.ping_timeout) * 2 + STUCK_WAIT;
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(RequestError::UnknownSid.into()),
    }
}

async fn post(
    request: &HttpRequest,
    payload: Payload,
    edge: &Edge,
    entry: &Arc<Entry>,
) -> Result<HttpResponse, Refusal> {
    let posting = Posting::begin(entry).ok_or(Refusal::Empty)?;
    let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if content_type.is_some_and(|value| value.eq_ignore_ascii_case(b"application/octet-stream")) {
        posting.abort(CloseReason::ParseError);
        return Err(Refusal::Empty);
    }
    let limit = edge.endpoint.payload_bytes_max;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > limit) {
        posting.end();
        return Err(Refusal::TooLarge);
    }
    let body = match timeout(edge.endpoint.request_timeout, collect(payload, limit)).await {
        Ok(Ok(Some(body))) => body,
        Ok(Ok(None)) => {
            posting.end();
            return Err(Refusal::TooLarge);
        }
        Ok(Err(_)) => return Err(Refusal::Empty),
        Err(_) => return Err(Refusal::Late),
    };
    let Ok(body) = String::from_utf8(body) else {
        posting.abort(CloseReason::BadText);
        return Err(Refusal::Empty);
    };
    let (reply, answer) = oneshot::channel();
    let answer = match send(entry, SessionMessage::Post { body, reply }) {
        Ok(()) => answered(edge, answer).await,
        Err(refusal) => Err(refusal),
    };
    posting.end();
    answer??;
    Ok(HttpResponse::Ok().content_type("text/html").insert_header((header::CACHE_CONTROL, "no-store")).body("ok"))
}

/// The whole body, or none where it is larger than `limit`.
async fn collect(mut payload: Payload, limit: usize) -> Result<Option<Vec<u8>>, actix_web::error::PayloadError> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk?;
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn send(entry: &Entry, message: SessionMessage) -> Result<(), Refusal> {
    entry.mailbox.try_send(message).map_err(|refusal| match refusal {
        mailbox::Refusal::Full => Refusal::Busy,
        mailbox::Refusal::Closed => Refusal::Error(RequestError::UnknownSid),
    })
}

fn packets(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=UTF-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}

/// A POST under way: there is one at a time. Dropped before its end, the client has gone away in the middle of it, and
/// that is the end of the session.
struct Posting {
    entry: Arc<Entry>,
    reason: Option<CloseReason>,
}

impl Posting {
    /// None where there is one already: the session ends.
    fn begin(entry: &Arc<Entry>) -> Option<Self> {
        if entry.posting.swap(true, Ordering::AcqRel) {
            entry.mailbox.send_always(SessionMessage::AbortPost(CloseReason::Overlap));
            return None;
        }
        Some(Self { entry: entry.clone(), reason: Some(CloseReason::TransportError) })
    }

    fn abort(mut self, reason: CloseReason) {
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
            self.entry.mailbox.send_always(SessionMessage::AbortPost(reason));
        }
    }
}
