//! The listener for operators: pages, metrics and health. It is a listener of its own, never the public one.
//!
//! * [`routes`]: the paths, and the answers of `/metrics` and `/health`.

pub mod routes;
