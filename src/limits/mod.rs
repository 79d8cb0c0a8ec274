//! The bounds on clients: how fast they may act, and how much they may hold.
//!
//! * [`Limit`]: the names of the bounds.
//! * [`bucket`]: rates; pure.
//! * [`clients`]: numbers of connections and sessions, in all and per address.
//! * [`live`]: a limit that an operator turns while the server runs.
//! * [`machine`]: the limits of the machine and of the process.
//! * [`meter`]: packets and bytes of one client; pure.
//! * [`memory`]: whether there is memory for more clients.
//! * [`proxies`]: a client's address behind proxies.

pub mod bucket;
pub mod clients;
mod limit;
pub mod live;
pub mod machine;
pub mod memory;
pub mod meter;
pub mod proxies;

pub use limit::Limit;
