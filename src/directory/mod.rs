//! The directory of people and conversations, as a port, and those who stand behind it.
//!
//! * [`port`]: what is asked, what is answered, and why there may be no answer.
//! * [`max`]: MAX, asked over HTTP.
//! * [`demo`]: an embedded MAX for a first look and for load tests. The HTTP edge serves it.

pub mod demo;
pub mod max;
pub mod port;

pub use port::{Answer, Directory, Failure, Question};
