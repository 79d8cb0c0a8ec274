//! The wire, pure: bytes in, bytes out, time as an argument. No actix, no tokio, no I/O, and nothing of maxtalk's own
//! events: whoever speaks Socket.IO could use it.
//!
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
pub mod frame;
pub mod handshake;
mod json;
pub mod jsonp;
pub mod legacy;
pub mod packet;
pub mod payload;
pub mod socketio;
mod text;
pub mod websocket;

/// What a client speaks. A value, not a feature: all are served at once, on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Engine.IO 4 and Socket.IO protocol 5: clients 3.x and 4.x.
    Eio4,
    /// Engine.IO 3 and Socket.IO protocol 4: clients 1.x and 2.x.
    Eio3,
    /// Socket.IO before Engine.IO, protocol 1: clients 0.7 to 0.9.
    Sio09,
}

impl Generation {
    /// All of them, the youngest first.
    pub const ALL: [Self; 3] = [Self::Eio4, Self::Eio3, Self::Sio09];

    /// The name in the configuration, in metric labels and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eio4 => "eio4",
            Self::Eio3 => "eio3",
            Self::Sio09 => "0.9",
        }
    }

    /// The generation of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generation| generation.as_str() == name)
    }
}

/// How a session is reached just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// HTTP long-polling.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl TransportKind {
    /// The name in the query, in metric labels and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// Why bytes from a client are not the protocol. The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An Engine.IO packet of an unknown type, an empty one, or bad base64.
    #[error("not an Engine.IO packet")]
    Engine,
    /// An Engine.IO packet that this side never takes, such as a ping from an Engine.IO 4 client.
    #[error("an Engine.IO packet in the wrong direction")]
    Direction,
    /// A Socket.IO packet that cannot be decoded, or whose payload has the wrong shape.
    #[error("not a Socket.IO packet")]
    Packet,
    /// A packet for a namespace that is not connected, or a second CONNECT.
    #[error("a packet that has no place here")]
    Place,
    /// More attachments than are allowed, or not the ones that were announced.
    #[error("attachments that do not fit their packet")]
    Attachments,
    /// A WebSocket frame against RFC 6455.
    #[error("not a WebSocket frame")]
    Frame,
    /// More than `maxPayload` at once.
    #[error("larger than maxPayload")]
    TooLarge,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
}
