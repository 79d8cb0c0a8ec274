//! The edge. Connections are ours, from the accept to the close: one request at a time, and a deadline for each wait.
//! Requests are answered by an actix-web `App`: the pages, the demo MAX, and the polling transport. A request for a
//! WebSocket takes its socket out before that.
//!
//! * [`listener`]: takes connections in and gives them to workers.
//! * [`endpoint`]: the settings and counters of the endpoint for clients, and the beginning of a session.
//! * [`answers`]: what a refused request is answered, and what all answers have in common.
//! * [`connection`], `wire`, [`newcomers`]: one connection: a request, its answer, the next request; its socket; the
//!   order of first ones.
//! * [`request`], [`response`]: heads, from bytes and to bytes.
//! * [`upgrade`]: WebSocket handshakes; hands the socket to a session.
//! * [`websocket`], [`socket`]: the transport of an owned socket, and its TCP settings.
//! * [`polling`], [`legacy`]: GET drains, POST feeds: the requests of Engine.IO, and of Socket.IO 0.7 to 0.9.
//! * [`exchange`]: what they have in common.
//! * [`sessions`]: the table of sids.
//! * [`pages`], [`demo`]: the demo page, and the routes of the demo MAX.
//! * [`admin`]: metrics and health, on a listener of their own.

pub mod admin;
pub mod answers;
pub mod connection;
pub mod demo;
pub mod endpoint;
pub mod exchange;
pub mod legacy;
pub mod listener;
pub mod newcomers;
pub mod pages;
pub mod polling;
pub mod request;
pub mod response;
pub mod sessions;
pub mod socket;
pub mod upgrade;
pub mod websocket;
mod wire;
