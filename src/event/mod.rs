//! The vocabulary of the written protocol. Pure values; the wire is in [`crate::protocol`].
//!
//! * [`ids`]: names of conversations, people and sessions, and values that are passed through.
//! * [`asked`]: the events that clients send.
//! * [`told`]: the events that the server sends.
//! * [`codes`]: the reasons for refusing something and for closing a connection.

pub mod asked;
pub mod codes;
pub mod ids;
pub mod told;

pub use asked::{ClientEvent, EventName, Talk};
pub use codes::{CloseReason, Code};
pub use ids::{ConversationId, Scalar, SessionId, Token, Username};
pub use told::{ServerEvent, ServerEventName};
