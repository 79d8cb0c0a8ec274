//! The generation of the protocol that a client speaks, and the transport that it uses.

/// A generation of the protocol. It is a value, not a feature of the build: all are served at once, on one port.
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
    /// All generations, the newest first.
    pub const ALL: [Self; 3] = [Self::Eio4, Self::Eio3, Self::Sio09];

    /// Returns the name in the configuration, in metric labels and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eio4 => "eio4",
            Self::Eio3 => "eio3",
            Self::Sio09 => "0.9",
        }
    }

    /// Returns the generation of this name, or `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generation| generation.as_str() == name)
    }
}

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// HTTP long-polling.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl TransportKind {
    /// Returns the name in the query, in metric labels and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}
