//! maxtalk: a notification server for conversations. Socket.IO clients on one side, MAX on the other.
//!
//! The map of this tree, by floors. A file imports from lower floors only, and siblings not at all except within one
//! folder; `tests/architecture` holds the code to it.
//!
//! | floor | what lives there |
//! | --- | --- |
//! | 0 | [`protocol`]: the wire; [`files`]; [`ids`]; [`limits`]; [`logging`]; [`turns`] |
//! | 1 | [`event`]: the vocabulary |
//! | 2 | [`config`]; [`metrics`] |
//! | 3 | [`delivery`]: outbox to socket; [`directory`]: people and conversations; [`mailbox`]: the front door |
//! | 4 | [`actors`]: session, conversation, registry |
//! | 5 | [`http`]: the actix-web edge, WebSockets of our own, the pages |
//! | 6 | [`server`]: composition, and the stop; [`mod@bench`]: the load bench |
//! | 7 | [`cli`] |

#![cfg_attr(not(test), warn(clippy::expect_used, clippy::unwrap_used, unreachable_pub))]

pub mod actors;
pub mod bench;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod directory;
pub mod event;
pub mod files;
pub mod http;
pub mod ids;
pub mod limits;
pub mod logging;
pub mod mailbox;
pub mod metrics;
pub mod protocol;
pub mod server;
pub mod turns;
