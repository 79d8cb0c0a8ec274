//! A running server as the commands of its operators reach it.
//!
//! * [`address`]: the address of its admin listener and the key, from the flags and the settings.
//! * [`caller`]: calls to its API.
//! * [`text`]: text from outside, made fit for a terminal.

pub mod address;
pub mod caller;
pub mod text;
