//! The listener for operators: metrics, health, and the API. It is a listener of its own, never the public one.
//!
//! * [`routes`]: the paths of the listener, and the answers of `/metrics` and `/health`.
//! * [`page`]: the files of the dashboard, which browsers get at `/`.
//! * [`live`]: the WebSocket that feeds the dashboard.
//! * [`answers`]: the headers of every answer, and the methods of paths that can only be read.
//! * [`state`]: the parts of the server that the listener shows.
//! * [`guard`]: keys, origins and content types of requests to the API; pure.
//! * [`api`]: the table of the API's routes.
//! * [`model`]: the JSON of the API.
//! * [`error`]: the shape of its refusals.
//! * [`refusals`]: its refusals in the OpenAPI document.
//! * [`body`]: the JSON bodies of requests.
//! * [`announce`]: announcements of back ends; [`announcer`]: their way to the conversations.
//! * [`idempotency`]: requests that are done once; pure.
//! * `shown`: from the values of the server to those of the model.
//! * [`status`]: how the server is.
//! * [`sampler`]: measures the server once a second; [`recent`]: the samples and the warnings.
//! * [`overview`]: the server at one moment.
//! * [`cluster`]: the other nodes, the bus to them, and the feed of MAX.
//! * [`drain`]: its drain.
//! * [`settings`]: the settings, and their change.
//! * [`sessions`], [`conversations`]: those at the top by a measure, and single ones.

pub mod announce;
pub mod announcer;
pub mod answers;
pub mod api;
pub mod body;
pub mod cluster;
pub mod conversations;
mod docs;
pub mod drain;
pub mod error;
pub mod guard;
pub mod idempotency;
pub mod live;
pub mod model;
pub mod overview;
pub mod page;
pub mod recent;
pub mod refusals;
pub mod routes;
pub mod sampler;
pub mod sessions;
pub mod settings;
mod shown;
pub mod state;
pub mod status;

#[cfg(test)]
mod tests;
