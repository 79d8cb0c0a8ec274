//! What MAX announces in its RabbitMQ: messages that were stored, and memberships that have changed.
//!
//! * [`service`]: the facade, which all threads share; `shared` is what it shares with its thread; [`settings`] of it.
//! * [`port`]: the two sides of the feed and of those who hear it.
//! * `task`: the task that serves one RabbitMQ; `link`: the state machine of its connection.
//! * `session`: a connection that listens; [`check`] tries one out for an operator; `fault`: what is wrong, in words.
//! * `connection`: the bytes of one connection; `method` and `frame`: AMQP 0-9-1 in them.
//! * [`wire`]: what a delivery means.
//! * `bindings`: the exchanges of MAX 3.x that conversations want; `memberships`: the one that tells of memberships.
//! * `refreshes`: the users whose memberships have changed.
//! * `teller`: what conversations are told; `voice`: the log lines, and the gauges.

mod bindings;
pub mod check;
mod connection;
mod fault;
mod frame;
mod link;
mod memberships;
mod method;
pub mod port;
mod refreshes;
pub mod service;
mod session;
pub mod settings;
mod shared;
mod task;
mod teller;
mod voice;
pub mod wire;
