//! The vocabulary of the written protocol. Pure values; the wire is in [`crate::protocol`].
//!
//! * [`ids`]: what conversations, people and sessions are called.
//! * [`asked`]: the events that a client may send.
//! * [`told`]: the events that a client is sent.
//! * [`codes`]: why something was refused, and why a connection was closed.

pub mod asked;
pub mod codes;
pub mod ids;
pub mod told;

pub use asked::{ClientEvent, EventName, Talk};
pub use codes::{CloseReason, Code};
pub use ids::{ConversationId, Scalar, SessionId, Token, USERNAME_BYTES_MAX, Username};
pub use told::{ServerEvent, ServerEventName};
