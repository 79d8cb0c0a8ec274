//! The ways in which clients of all releases connect. The cases of `tests/parity.rs` run over each of them;
//! they are the columns of its table.

/// A way to connect: a release of socket.io-client, and one of its transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    WebSocket,
    Polling,
    /// By polling, upgraded after the client has connected to its namespace.
    Upgraded,
    Jsonp,
    V2WebSocket,
    V2Polling,
    /// By polling in an environment without binary data.
    V2Base64,
    V2Upgraded,
    V2Jsonp,
    V1WebSocket,
    V1Polling,
    V1Upgraded,
    V1Jsonp,
    V09WebSocket,
    V09Polling,
    V09Jsonp,
    V08Jsonp,
}

/// The releases of socket.io-client that differ in their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 3.x and 4.x.
    V4,
    V2,
    /// 1.x: text is encoded as UTF-8 before it goes into a payload, which is then encoded again.
    V1,
    V09,
    /// 0.8: the payload of a form is not escaped.
    V08,
}

/// The protocol of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Engine.IO 4.
    Eio4,
    /// Engine.IO 3.
    Eio3,
    /// Socket.IO before Engine.IO.
    Sio09,
}

/// A transport, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    WebSocket,
    Polling,
    Base64,
    Upgraded,
    Jsonp,
}

impl Kind {
    pub const ALL: [Self; 17] = [
        Self::WebSocket,
        Self::Polling,
        Self::Upgraded,
        Self::Jsonp,
        Self::V2WebSocket,
        Self::V2Polling,
        Self::V2Base64,
        Self::V2Upgraded,
        Self::V2Jsonp,
        Self::V1WebSocket,
        Self::V1Polling,
        Self::V1Upgraded,
        Self::V1Jsonp,
        Self::V09WebSocket,
        Self::V09Polling,
        Self::V09Jsonp,
        Self::V08Jsonp,
    ];

    /// Returns the kinds of one generation.
    pub fn of(generation: Generation) -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| kind.generation() == generation).collect()
    }

    pub fn generation(self) -> Generation {
        match self.release() {
            Release::V4 => Generation::Eio4,
            Release::V2 | Release::V1 => Generation::Eio3,
            Release::V09 | Release::V08 => Generation::Sio09,
        }
    }

    /// Returns the id by which the official client knows itself in a session with this sid. For Engine.IO 4 the answer
    /// to the CONNECT has it.
    pub fn socket_id(self, sid: &str) -> String {
        if self.release() == Release::V2 { format!("/max#{sid}") } else { sid.to_owned() }
    }

    pub fn release(self) -> Release {
        self.parts().0
    }

    pub fn way(self) -> Way {
        self.parts().1
    }

    pub fn is_jsonp(self) -> bool {
        self.way() == Way::Jsonp
    }

    fn parts(self) -> (Release, Way) {
        match self {
            Self::WebSocket => (Release::V4, Way::WebSocket),
            Self::Polling => (Release::V4, Way::Polling),
            Self::Upgraded => (Release::V4, Way::Upgraded),
            Self::Jsonp => (Release::V4, Way::Jsonp),
            Self::V2WebSocket => (Release::V2, Way::WebSocket),
            Self::V2Polling => (Release::V2, Way::Polling),
            Self::V2Base64 => (Release::V2, Way::Base64),
            Self::V2Upgraded => (Release::V2, Way::Upgraded),
            Self::V2Jsonp => (Release::V2, Way::Jsonp),
            Self::V1WebSocket => (Release::V1, Way::WebSocket),
            Self::V1Polling => (Release::V1, Way::Polling),
            Self::V1Upgraded => (Release::V1, Way::Upgraded),
            Self::V1Jsonp => (Release::V1, Way::Jsonp),
            Self::V09WebSocket => (Release::V09, Way::WebSocket),
            Self::V09Polling => (Release::V09, Way::Polling),
            Self::V09Jsonp => (Release::V09, Way::Jsonp),
            Self::V08Jsonp => (Release::V08, Way::Jsonp),
        }
    }
}
