//! The one shape of a refusal by the API, with its status.

use std::fmt;

use actix_web::error::{PathError, QueryPayloadError};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};

use super::model::{Fault, FaultCode, Refusal};

/// A refusal by the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError(Fault);

impl ApiError {
    /// Creates a refusal; the message says what to do.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self(Fault { code, message: message.into() })
    }

    /// Returns the refusal of a path at which there is nothing.
    pub fn not_found(what: &str) -> Self {
        Self::new(FaultCode::NotFound, format!("there is no such {what}"))
    }

    /// Returns the refusal of a request that a part of the server has no room or no time for.
    pub fn busy(message: &str) -> Self {
        Self::new(FaultCode::Busy, message)
    }

    /// Returns the refusal of a query that an extractor could not read.
    pub fn of_query(error: &QueryPayloadError) -> Self {
        Self::new(FaultCode::BadRequest, error.to_string())
    }

    /// Returns the refusal of a path that an extractor could not read.
    pub fn of_path(_: &PathError) -> Self {
        Self::new(FaultCode::NotFound, "a part of the path has the wrong form")
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self.0.code {
            FaultCode::BadRequest => StatusCode::BAD_REQUEST,
            FaultCode::Unauthorized => StatusCode::UNAUTHORIZED,
            FaultCode::Forbidden => StatusCode::FORBIDDEN,
            FaultCode::NotFound => StatusCode::NOT_FOUND,
            FaultCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            FaultCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            FaultCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            FaultCode::Conflict => StatusCode::CONFLICT,
            FaultCode::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            FaultCode::Busy | FaultCode::NotRelayed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        if self.0.code == FaultCode::Unauthorized {
            answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((header::RETRY_AFTER, "1"));
        }
        answer.json(Refusal { error: self.0.clone() })
    }
}
