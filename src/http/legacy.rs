//! The requests of Socket.IO 0.7 to 0.9 (protocol sections 3.1 to 3.4): handshake, xhr-polling, jsonp-polling, forced
//! disconnect. [`super::upgrade`] serves its WebSockets.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::answers::HttpError;
use super::endpoint::Edge;
use super::exchange::{Posting, answer, feed, fresh, poll, script_answer};
use super::request::decoded;
use super::sessions::Entry;
use crate::actors::front::SessionMessage;
use crate::event::CloseReason;
use crate::protocol::handshake::{LegacyError, LegacyRequest, RequestError};
use crate::protocol::jsonp::Callback;
use crate::protocol::legacy::NOT_HANDSHAKEN;
use crate::protocol::payload::{Body, Form};
use crate::protocol::{Generation, jsonp};

/// Serves a request below the endpoint that asks for no upgrade.
pub async fn serve(request: HttpRequest, payload: Payload, edge: Edge) -> HttpResponse {
    let refuse = |error, status, text: &'static str| {
        edge.note_refusal(error, Some(Generation::Sio09), edge.client_address(request.head()));
        plain(status, text)
    };
    match judge(&edge, &decoded(request.path()), request.query_string()) {
        Ok(LegacyRequest::Handshake { jsonp }) => handshake(&request, &edge, jsonp.as_ref()),
        Ok(LegacyRequest::Polling { sid, jsonp }) => polling(&request, payload, &edge, &sid, jsonp.as_ref()).await,
        Ok(LegacyRequest::Disconnect { sid }) => {
            if let Some(entry) = edge.endpoint.sessions.get(&sid, Generation::Sio09) {
                // If the mailbox is full, the session ends by its timeout.
                let _ = entry.mailbox.try_send(SessionMessage::Abort(CloseReason::TransportClose));
            }
            fresh().finish()
        }
        Ok(LegacyRequest::WebSocket { .. }) => {
            refuse(RequestError::BadRequest, StatusCode::BAD_REQUEST, "This is no WebSocket handshake")
        }
        Err(LegacyError::NotFound) => HttpResponse::NotFound().body("There is nothing here.\n"),
        Err(error @ LegacyError::UnsupportedVersion) => {
            let answer = refuse(error.counts_as(), StatusCode::INTERNAL_SERVER_ERROR, error.message());
            // A page that waits for a script sees no other answer.
            match LegacyRequest::handshake_callback(request.query_string()).filter(|_| edge.endpoint.jsonp) {
                Some(callback) => script_answer(callback.call_with_error(error.message())),
                None => answer,
            }
        }
        Err(error) => refuse(error.counts_as(), StatusCode::BAD_REQUEST, error.message()),
    }
}

/// Parses a request, and checks that its generation and transport are served.
pub(super) fn judge(edge: &Edge, path: &str, query: &str) -> Result<LegacyRequest, LegacyError> {
    let endpoint = &edge.endpoint;
    let below = path.strip_prefix(endpoint.path.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    let asked = LegacyRequest::parse(below.ok_or(LegacyError::NotFound)?, query);
    match asked {
        Err(LegacyError::NotFound) => Err(LegacyError::NotFound),
        _ if !endpoint.generations.contains(&Generation::Sio09) => Err(LegacyError::UnsupportedVersion),
        Ok(LegacyRequest::Handshake { jsonp: Some(_) }) if !endpoint.jsonp => Err(LegacyError::BadRequest),
        Ok(LegacyRequest::Polling { jsonp: Some(_), .. }) if !endpoint.jsonp => Err(LegacyError::UnknownTransport),
        asked => asked,
    }
}

fn handshake(request: &HttpRequest, edge: &Edge, script: Option<&Callback>) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return HttpError::Method.response();
    }
    let address = edge.client_address(request.head());
    match edge.admit(Generation::Sio09, address) {
        Ok(slot) => answer(Body::Text(edge.open(slot, Generation::Sio09, Form::Text, false, address, None)), script),
        // A page that waits for a script sees no other answer, and would wait forever.
        Err(refusal) => match script {
            Some(callback) => script_answer(callback.call_with_error("handshake error")),
            None => HttpError::Handshake(refusal).response(),
        },
    }
}

async fn polling(
    request: &HttpRequest,
    payload: Payload,
    edge: &Edge,
    sid: &str,
    script: Option<&Callback>,
) -> HttpResponse {
    let done = match (edge.session(sid, Generation::Sio09), request.method()) {
        (Err(reason), _) => Err(reason.into()),
        (Ok(entry), &Method::GET) => poll(edge, &entry, script.is_some()).await.map(|body| answer(body, script)),
        (Ok(entry), &Method::POST) => post(request, payload, edge, &entry, script.is_some()).await,
        (Ok(_), _) => Err(HttpError::Method),
    };
    match done {
        Ok(response) => response,
        // The client opens a new session by itself.
        Err(HttpError::Error(RequestError::UnknownSid)) => {
            edge.note_refusal(RequestError::UnknownSid, Some(Generation::Sio09), edge.client_address(request.head()));
            answer(Body::Text(NOT_HANDSHAKEN.to_owned()), script)
        }
        Err(HttpError::OtherNode(node)) => {
            let mut response = answer(Body::Text(NOT_HANDSHAKEN.to_owned()), script);
            node.mark(&mut response);
            response
        }
        Err(refusal) => refusal.response(),
    }
}

/// Feeds a POST to its session. The session lives on even if the POST is bad.
async fn post(
    request: &HttpRequest,
    payload: Payload,
    edge: &Edge,
    entry: &Arc<Entry>,
    is_form: bool,
) -> Result<HttpResponse, HttpError> {
    let posting = Posting::begin(entry).ok_or(HttpError::Empty)?;
    let (posting, bytes) = posting.read(edge, request, payload).await?;
    let text =
        if is_form { jsonp::form_data(&bytes).and_then(jsonp::legacy_payload) } else { String::from_utf8(bytes).ok() };
    feed(edge, posting, Body::Text(text.ok_or(HttpError::Empty)?)).await?;
    Ok(fresh().content_type("text/plain; charset=UTF-8").body("1"))
}

fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponseBuilder::new(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=UTF-8")
        .body(text)
}
