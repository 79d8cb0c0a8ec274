//! The HTTP edge. maxtalk handles connections itself, from the accept to the close: one request at a time, and a
//! deadline for each wait. An actix-web `App` answers the requests: pages, demo MAX, polling transport. A WebSocket
//! request takes its socket out of HTTP before it reaches the `App`.
//!
//! * [`listener`]: accepts connections and gives them to workers.
//! * [`endpoint`]: settings and counters of the clients' endpoint; creates sessions.
//! * [`answers`]: answers to refused requests, and the CORS headers of all answers.
//! * [`connection`]: one connection: a request, its answer, the next request.
//! * `wire`: its socket, and the request body that is being read.
//! * [`newcomers`]: the order in which first requests are served.
//! * [`request`], [`response`]: heads, from bytes and to bytes.
//! * [`upgrade`]: WebSocket handshakes; hands the socket to a session.
//! * [`websocket`], [`socket`]: the WebSocket transport, and its TCP settings.
//! * [`polling`], [`legacy`]: GET and POST of Engine.IO, and of Socket.IO 0.7 to 0.9.
//! * [`exchange`]: the code that `polling` and `legacy` share.
//! * [`sessions`]: the table of sids; [`tags`]: their beginnings, which differ between nodes.
//! * [`pages`], [`demo`]: the demo page, and the routes of the demo MAX.

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
pub mod tags;
pub mod upgrade;
pub mod websocket;
mod wire;
