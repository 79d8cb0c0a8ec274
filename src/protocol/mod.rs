//! The wire, pure: bytes in, bytes out, time as an argument. No actix, no tokio, no I/O, and nothing of maxtalk's own
//! events: whoever speaks Socket.IO could use it.
//!
//! * [`generation`]: what a client speaks, and by which transport; [`error`]: why its bytes are not the protocol.
//! * [`engine`]: Engine.IO packets.
//! * [`payload`]: several of them in the body of one request or answer.
//! * [`packet`]: Socket.IO packets over Engine.IO, binary attachments included.
//! * [`handshake`]: query and path to generation and transport; what the handshake answers.
//! * [`connection`], [`socketio`]: the machine that keeps a session alive, and over it the one that reads its messages.
//! * [`legacy`]: the packets of Socket.IO 0.7 to 0.9, which has no Engine.IO.
//! * `json`, `text`: what packets of both kinds are made of.
//! * [`jsonp`]: polling by scripts and forms, where a page of another origin has nothing better.
//! * [`frame`]: an event encoded once per generation, for both transports.
//! * [`websocket`]: RFC 6455, with the size law before anything is buffered.
//! * [`chunked`]: the bodies of HTTP whose length is not known beforehand.

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
