//! The names of the bounds on what clients may do or hold.

/// A bound on what clients may do or hold. Each has a setting, which is in one of the two tables of bounds of
/// `src/docs/settings.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Events of one session.
    Events,
    /// Packets and bytes of one session.
    Packets,
    /// Sessions of one user.
    UserSessions,
    /// Open connections.
    Connections,
    /// Open connections of one address.
    ConnectionsPerAddress,
    /// Sessions.
    Sessions,
    /// Sessions of one address.
    SessionsPerAddress,
    /// Sessions that have not joined yet.
    Unjoined,
    /// Sessions of one address that have not joined yet.
    UnjoinedPerAddress,
    /// Handshakes.
    Handshakes,
    /// Handshakes of one address.
    HandshakesPerAddress,
    /// Sessions that are kept for clients that may come back.
    KeptSessions,
    /// Clients that come back to another node than that of their session.
    Returns,
    /// Memory: while it is short, there are no new clients, and little is kept for each client.
    Memory,
    /// The time in which a request must arrive.
    RequestTime,
    /// The bytes and headers of a request's head.
    RequestHead,
    /// The bytes of a request's body.
    RequestBody,
    /// The time in which a client must read some of its answer.
    WriteTime,
}

impl Limit {
    /// Returns the value of the label `limit` in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Packets => "packets",
            Self::UserSessions => "user_sessions",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Sessions => "sessions",
            Self::SessionsPerAddress => "sessions_per_address",
            Self::Unjoined => "unjoined",
            Self::UnjoinedPerAddress => "unjoined_per_address",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerAddress => "handshakes_per_address",
            Self::KeptSessions => "kept_sessions",
            Self::Returns => "returns",
            Self::Memory => "memory",
            Self::RequestTime => "request_time",
            Self::RequestHead => "request_head",
            Self::RequestBody => "request_body",
            Self::WriteTime => "write_time",
        }
    }
}
