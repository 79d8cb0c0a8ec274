//! Answers to refused requests, and the CORS headers of all answers.

use std::sync::Arc;

use actix_http::ConnectionType;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::endpoint::HandshakeError;
use super::pages::INDEX;
use super::tags::{NoSession, OtherNode};
use crate::actors::front::FrontError;
use crate::protocol::handshake::RequestError;
use crate::stage::{CurrentStage, Stage};

/// Why a request to the endpoint is refused. This is the one place where errors become responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// An Engine.IO error, answered as JSON.
    Error(RequestError),
    /// The session belongs to another node. Clients get the answer that they know, that of an unknown sid.
    OtherNode(OtherNode),
    /// 400 without a body: a second POST or poll at the same time, or a body that is not accepted.
    Empty,
    /// Neither GET nor POST, with a valid sid or in a handshake of 0.9: 500 without a body, as the official server
    /// answers.
    Method,
    /// A POST larger than `maxPayload`.
    TooLarge,
    /// A POST that did not arrive in time.
    Late,
    /// The session's mailbox is full, or memory is too short for the posted body.
    Busy,
    /// The handshake is refused.
    Handshake(HandshakeError),
}

impl From<FrontError> for HttpError {
    fn from(refusal: FrontError) -> Self {
        match refusal {
            FrontError::Error(error) => Self::Error(error),
            FrontError::Overlap => Self::Empty,
        }
    }
}

impl From<HandshakeError> for HttpError {
    fn from(refusal: HandshakeError) -> Self {
        Self::Handshake(refusal)
    }
}

impl From<NoSession> for HttpError {
    fn from(reason: NoSession) -> Self {
        match reason {
            NoSession::Unknown => Self::Error(RequestError::UnknownSid),
            NoSession::OtherNode(node) => Self::OtherNode(node),
        }
    }
}

impl From<RequestError> for HttpError {
    fn from(error: RequestError) -> Self {
        Self::Error(error)
    }
}

impl HttpError {
    pub(super) fn response(self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(match self {
            Self::Error(error) => StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST),
            Self::OtherNode(_) | Self::Empty => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Handshake(_) => StatusCode::SERVICE_UNAVAILABLE,
        });
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self {
            Self::Error(error) => response.content_type("application/json").body(error.json()),
            Self::OtherNode(node) => {
                let mut response = response.content_type("application/json").body(RequestError::UnknownSid.json());
                node.mark(&mut response);
                response
            }
            Self::Busy | Self::Handshake(_) => response.insert_header((header::RETRY_AFTER, "1")).finish(),
            Self::Empty | Self::Method | Self::TooLarge | Self::Late => response.finish(),
        }
    }
}

/// Middleware for every answer: reflects `Origin`, on errors too, and answers preflights before anything is looked up
/// (protocol section 1.5). All origins are served; no cookie is read.
///
/// While the server drains, a load balancer that asks for the index page gets 503, and a refused client has to open a
/// new connection, which may lead it to another server.
///
/// # Errors
/// Those of `next`.
pub async fn every_answer<B: MessageBody + 'static>(
    stage: Arc<CurrentStage>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let is_draining = stage.get() == Stage::Draining;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS;
    let bad_origin = origin.as_ref().is_some_and(|origin| origin.to_str().is_err());
    let mut response = if bad_origin {
        request.into_response(HttpError::Error(RequestError::BadRequest).response()).map_into_right_body()
    } else if is_draining && request.path() == INDEX {
        let answer = HttpResponse::ServiceUnavailable().body("The server is draining.\n");
        request.into_response(answer).map_into_right_body()
    } else if preflight {
        let mut answer = HttpResponse::NoContent();
        answer.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET,HEAD,PUT,PATCH,POST,DELETE"));
        if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()));
        }
        request.into_response(answer.finish()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if is_draining && (response.status().is_client_error() || response.status().is_server_error()) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    if let Some(origin) = origin.filter(|_| !bad_origin) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        // Pages of other origins can read this header of MAX only if it is listed here.
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("X-Has-Remaining-Items"));
    }
    Ok(response)
}
