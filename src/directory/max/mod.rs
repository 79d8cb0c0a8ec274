//! MAX, asked over HTTP through awc.
//!
//! * [`client`]: the directory that asks MAX, and the account by which it asks.
//! * [`gate`]: the bounds on calls and on joins that wait for one; `pace` adapts the first bound.
//! * [`probe`]: the check whether MAX answers, at the start.
//! * `watch`, `outage`: the log says when MAX answers again; the latter is pure.
//! * `route`: the calls that serve a question, and the next one after a failure; pure.
//! * `verdict`, `answer`: the meaning of an answer, and its JSON in every release; pure.
//! * `flights`: one call for all who ask the same.
//! * `call`, `identity`: one call through awc, with its deadline and bounds; the headers of the caller.
//! * `connection`, `response`: the connection that awc uses, and the normalization of its answers; the latter is pure.
//! * `dial`, `trust`, `socket`: the way to MAX, the certificates to trust, and the socket.

mod answer;
mod call;
pub mod client;
mod connection;
mod dial;
mod flights;
pub mod gate;
mod identity;
mod outage;
mod pace;
pub mod probe;
mod response;
mod route;
mod socket;
mod trust;
mod verdict;
mod watch;

pub use client::{MaxDirectory, Target, Tokenless};
pub use gate::Gate;
pub use probe::Probe;
pub use trust::TrustError;
