//! The directory of people and conversations: a port, and its implementation by MAX.
//!
//! * [`port`]: the question, the answer and the failure.
//! * [`max`]: MAX, asked over HTTP.
//! * [`demo`]: an embedded MAX for a first look and for load tests, which the HTTP edge serves.

pub mod demo;
pub mod max;
pub mod port;

pub use port::{Answer, Directory, Failure, Question};
