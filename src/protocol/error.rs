//! The errors in what a client sends.

/// An error in what a client sent. It ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An Engine.IO packet of an unknown type, an empty one, or bad base64.
    #[error("not an Engine.IO packet")]
    Engine,
    /// An Engine.IO packet that only servers send, such as a ping in Engine.IO 4.
    #[error("an Engine.IO packet in the wrong direction")]
    Direction,
    /// A Socket.IO packet that cannot be decoded, or whose payload has the wrong shape.
    #[error("not a Socket.IO packet")]
    Packet,
    /// A packet for a namespace that is not connected, or a second CONNECT.
    #[error("a packet that has no place here")]
    OutOfPlace,
    /// More attachments than are allowed, or other ones than were announced.
    #[error("attachments that do not fit their packet")]
    Attachments,
    /// A WebSocket frame that breaks RFC 6455.
    #[error("not a WebSocket frame")]
    Frame,
    /// A message or a POST larger than `maxPayload`.
    #[error("larger than maxPayload")]
    TooLarge,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
}
