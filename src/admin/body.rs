//! The JSON body of a request: an object, of bounded length.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::model::FaultCode;

/// A body.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// A body, and the text that it was read from.
#[derive(Debug)]
pub struct BodyAndText<T> {
    /// The value.
    pub value: T,
    /// The text.
    pub text: Bytes,
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = BodyAndText::from_request(request, payload);
        Box::pin(async move { body.await.map(|body| Self(body.value)) })
    }
}

impl<T: DeserializeOwned> FromRequest for BodyAndText<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let text = Bytes::from_request(request, payload);
        Box::pin(async move {
            let text = text.await.map_err(|error| unread(&error))?;
            Ok(Self { value: read(&text)?, text })
        })
    }
}

/// Reads an object. serde also reads an array as a struct, so anything that does not begin like an object is refused
/// first.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        let what = "the body is empty: send a JSON object, {} if there is nothing to say";
        return Err(ApiError::new(FaultCode::BadRequest, what));
    }
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => Err(ApiError::new(FaultCode::Invalid, "the body is a JSON object")),
            Err(error) => Err(ApiError::new(FaultCode::BadRequest, error.to_string())),
        };
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let code = if error.is_data() { FaultCode::Invalid } else { FaultCode::BadRequest };
        ApiError::new(code, error.to_string())
    })
}

/// Returns the refusal of a body that did not arrive whole.
fn unread(error: &actix_web::Error) -> ApiError {
    match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(FaultCode::TooLarge, PayloadError::Overflow.to_string()),
        _ => ApiError::new(FaultCode::BadRequest, error.to_string()),
    }
}
