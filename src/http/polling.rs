//! The polling transport of Engine.IO. A GET drains the session's outbox, a POST feeds the session, and a GET without a
//! sid opens a session. For pages that cannot make cross-origin requests there is JSONP: answers are scripts, and POSTs
//! are forms.

use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::answers::HttpError;
use super::endpoint::Edge;
use super::exchange::{Posting, answer, feed, fresh, poll};
use super::sessions::Entry;
use crate::protocol::frame::Frame;
use crate::protocol::handshake::{Request, RequestError};
use crate::protocol::payload::{Body, PayloadWriter};
use crate::protocol::{Generation, ProtocolError, TransportKind, jsonp};

/// Serves a request to the endpoint. `super::upgrade` serves the upgrades to WebSocket.
pub async fn serve(request: HttpRequest, payload: Payload, edge: Edge) -> HttpResponse {
    let asked = Request::parse(request.query_string(), &edge.endpoint.generations);
    let generation = asked.as_ref().ok().map(|asked| asked.generation);
    let response = match asked {
        Ok(asked) => route(&request, payload, &edge, asked).await,
        Err(error) => Err(error.into()),
    };
    response.unwrap_or_else(|refusal| {
        if let HttpError::Error(error) = refusal {
            edge.note_refusal(error, generation, edge.client_address(request.head()));
        }
        refusal.response()
    })
}

async fn route(
    request: &HttpRequest,
    payload: Payload,
    edge: &Edge,
    asked: Request,
) -> Result<HttpResponse, HttpError> {
    let endpoint = &edge.endpoint;
    if asked.jsonp.is_some() && !endpoint.jsonp {
        return Err(RequestError::BadRequest.into());
    }
    let Some(sid) = &asked.sid else {
        if request.method() != Method::GET {
            return Err(RequestError::BadMethod.into());
        }
        if asked.transport != TransportKind::Polling {
            return Err(RequestError::BadRequest.into());
        }
        let address = edge.client_address(request.head());
        let slot = edge.admit(asked.generation, address)?;
        let open = edge.open(slot, asked.generation, asked.form, asked.takes_offsets, address, None);
        let mut payload = PayloadWriter::new(asked.generation, asked.form);
        payload.push(Frame::text(&open));
        return Ok(answer(payload.finish(), asked.jsonp.as_ref()));
    };
    let entry = edge.session(sid, asked.generation)?;
    if asked.transport != TransportKind::Polling {
        return Err(RequestError::BadRequest.into());
    }
    match *request.method() {
        Method::GET => {
            let body = poll(edge, &entry, asked.jsonp.is_some()).await?;
            Ok(answer(body, asked.jsonp.as_ref()))
        }
        Method::POST => post(request, payload, edge, &entry, asked.jsonp.is_some()).await,
        _ => Err(HttpError::Method),
    }
}

async fn post(
    request: &HttpRequest,
    payload: Payload,
    edge: &Edge,
    entry: &Arc<Entry>,
    is_form: bool,
) -> Result<HttpResponse, HttpError> {
    let posting = Posting::begin(entry).ok_or(HttpError::Empty)?;
    let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let is_binary = content_type.is_some_and(|value| value.eq_ignore_ascii_case(b"application/octet-stream"));
    if is_binary && entry.generation != Generation::Eio3 {
        posting.abort(ProtocolError::Engine.into());
        return Err(HttpError::Empty);
    }
    let (posting, bytes) = posting.read(edge, request, payload).await?;
    let body = if is_form {
        jsonp::form_data(&bytes).map(jsonp::engine_io_payload).map(Body::Text).ok_or(ProtocolError::Engine)
    } else if is_binary {
        Ok(Body::Binary(bytes))
    } else {
        String::from_utf8(bytes).map(Body::Text).map_err(|_| ProtocolError::Utf8)
    };
    match body {
        Ok(body) => feed(edge, posting, body).await?,
        Err(error) => {
            posting.abort(error.into());
            return Err(HttpError::Empty);
        }
    }
    Ok(fresh().content_type("text/html").body("ok"))
}
