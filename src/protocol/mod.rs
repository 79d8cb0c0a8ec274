//! The protocols on the wire: Socket.IO, Engine.IO, WebSocket, and parts of HTTP. Pure: bytes and the time are
//! arguments, and nothing here uses actix, tokio or I/O. It knows nothing of maxtalk's own events, so any Socket.IO
//! server could use it.
//!
//! * [`generation`]: the generations of the protocol and the transports; [`error`]: the errors in what a client sends.
//! * [`engine`]: Engine.IO packets.
//! * [`payload`]: several Engine.IO packets in the body of one request or answer.
//! * [`packet`]: Socket.IO packets over Engine.IO, binary attachments included.
//! * [`handshake`]: the queries and paths of requests, and the answers to a handshake.
//! * [`connection`]: the machine that keeps a session alive; `alarms`: alarms for its deadlines, as few as possible.
//! * [`socketio`]: the machine that reads the messages of a session.
//! * [`legacy`]: the packets of Socket.IO 0.7 to 0.9, which has no Engine.IO.
//! * `json`, `text`: the parts that the packets of all generations share.
//! * [`jsonp`]: polling by scripts and forms, for browsers without cross-origin requests.
//! * [`frame`]: an event encoded once per generation, for both transports.
//! * [`websocket`]: RFC 6455. A data frame that is too large is refused before it is buffered.
//! * [`chunked`]: bodies of HTTP/1.1 whose length is not known beforehand.

mod alarms;
pub mod chunked;
pub mod connection;
pub mod engine;
pub mod error;
pub mod frame;
pub mod generation;
pub mod handshake;
mod json;
pub mod jsonp;
pub mod legacy;
pub mod packet;
pub mod payload;
pub mod socketio;
mod text;
pub mod websocket;

pub use error::ProtocolError;
pub use generation::{Generation, TransportKind};
