//! What bounds clients: how fast they may do something, and how much of it they may hold.
//!
//! * [`Limit`]: the names of the bounds.
//! * [`bucket`]: how fast; pure.
//! * [`clients`]: how many connections and sessions, in all and by address.
//! * [`meter`]: how much one client may send; pure.
//! * [`memory`]: whether there is room for more of them.
//! * [`proxies`]: which address that is, where proxies stand in front.

pub mod bucket;
pub mod clients;
mod limit;
pub mod memory;
pub mod meter;
pub mod proxies;

pub use limit::Limit;
