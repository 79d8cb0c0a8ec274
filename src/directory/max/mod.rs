//! MAX as it is in the field, asked through awc.
//!
//! * [`client`]: who is asked, as whom, in how many calls.
//! * [`gate`]: how many joins may ask at a time, and how many may wait for it; `pace` finds the first number.
//! * [`probe`]: whether MAX answers at all, and as what.
//! * `route`: the calls that serve a question, and what follows one that failed; pure.
//! * `verdict`, `answer`: what an answer means, and its JSON in every release; pure.
//! * `flights`: one call for all that ask the same.
//! * `call`, `identity`: one call through awc, with its deadline and bounds; who asks.
//! * `connection`, `response`: what awc holds for a connection, and what comes on it, made plain; the latter is pure.
//! * `dial`, `trust`, `socket`: the way to MAX, which certificates are believed, and the socket at its end.

mod answer;
mod call;
pub mod client;
mod connection;
mod dial;
mod flights;
pub mod gate;
mod identity;
mod pace;
pub mod probe;
mod response;
mod route;
mod socket;
mod trust;
mod verdict;

pub use client::{MaxDirectory, Target, Tokenless};
pub use gate::Gate;
pub use probe::Probe;
