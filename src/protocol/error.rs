//! Why bytes from a client are not the protocol.

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
    OutOfPlace,
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
