//! From the values of the server to those of the model.

use actix_web::HttpRequest;

use super::error::ApiError;
use super::model::{FaultCode, Generation, Stage, Top, Transport};
use crate::{protocol, stage};
use utoipa::ToSchema;

/// The number in a list if none is asked for.
const TOP_DEFAULT: usize = 20;

/// The largest number in a list.
const TOP_MAX: usize = 100;

/// Returns the address of the client that asks, for the log.
pub fn asker(request: &HttpRequest) -> String {
    request.peer_addr().map_or_else(|| "somebody".to_owned(), |addr| addr.ip().to_string())
}

impl<M: ToSchema> Top<M> {
    /// Returns how many are wanted.
    ///
    /// # Errors
    /// The number is out of range.
    pub fn count(&self) -> Result<usize, ApiError> {
        match self.top {
            None => Ok(TOP_DEFAULT),
            Some(count @ 1..=TOP_MAX) => Ok(count),
            Some(_) => Err(ApiError::new(FaultCode::BadRequest, format!("top is a number from 1 to {TOP_MAX}"))),
        }
    }
}

impl From<stage::Stage> for Stage {
    fn from(stage: stage::Stage) -> Self {
        match stage {
            stage::Stage::Starting => Self::Starting,
            stage::Stage::Serving => Self::Serving,
            stage::Stage::Draining => Self::Draining,
        }
    }
}

impl From<protocol::Generation> for Generation {
    fn from(generation: protocol::Generation) -> Self {
        match generation {
            protocol::Generation::Eio4 => Self::Eio4,
            protocol::Generation::Eio3 => Self::Eio3,
            protocol::Generation::Sio09 => Self::Sio09,
        }
    }
}

impl From<protocol::TransportKind> for Transport {
    fn from(transport: protocol::TransportKind) -> Self {
        match transport {
            protocol::TransportKind::Polling => Self::Polling,
            protocol::TransportKind::WebSocket => Self::Websocket,
        }
    }
}
