//! The events of maxtalk and the values in them, without I/O. The packets that carry events are in [`crate::protocol`].
//!
//! * [`ids`]: names of conversations, people and sessions, and values that are passed through unchanged.
//! * [`asked`]: the events that clients send.
//! * [`told`]: the events that the server sends.
//! * [`codes`]: the reasons for refusing something and for closing a connection.

pub mod asked;
pub mod codes;
pub mod ids;
pub mod told;

pub use asked::{ClientEvent, EventName, Talk};
pub use codes::{CloseReason, Code};
pub use ids::{ConversationId, EXCEPT_MAX, SOCKET_ID_BYTES_MAX, Scalar, SessionId, Token, Username};
pub use told::{ServerEvent, ServerEventName};
