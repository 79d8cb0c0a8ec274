//! What bounds clients: how fast they may do something, and how much of it they may hold.
//!
//! * [`bucket`]: how fast; pure.

pub mod bucket;
