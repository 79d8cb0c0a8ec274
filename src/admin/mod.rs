//! The listener for operators: metrics, health, and the API. It is a listener of its own, never the public one.
//!
//! * [`routes`]: the paths of the listener, and the answers of `/metrics` and `/health`.
//! * [`answers`]: the headers of every answer.
//! * [`state`]: the parts of the server that the listener shows.
//! * [`guard`]: keys, origins and content types of requests to the API; pure.
//! * [`api`]: the table of the API's routes.
//! * [`model`]: the JSON of the API.
//! * [`error`]: the shape of its refusals.
//! * [`status`]: how the server is.

pub mod answers;
pub mod api;
pub mod error;
pub mod guard;
pub mod model;
pub mod routes;
pub mod state;
pub mod status;
