//! The closed tables of the protocol: the reasons for refusing an event, and for closing a connection.

/// Writes one closed table. Each row has the variant, its text on the wire and in labels, and a sentence for a person.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal: $reason:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $reason] $variant,)*
        }

        impl $name {
            /// All rows of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The text on the wire, in logs and in metric labels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// One sentence for a person.
            pub fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason),* }
            }
        }
    };
}

table! {
    /// The reason for which an event of a client was refused.
    Code {
        BadJoin = "bad_join": "join takes a username, or an object with a username",
        BadUsername = "bad_username": "a username is 1 to 256 bytes, without control characters and outer white space",
        BadTalk = "bad_talk": "talk takes an object: a conversation, and plain values as timestamp and messageID",
        BadRequest = "bad_request": "this event takes a conversation id, an object with one, or nothing",
        UnknownEvent = "unknown_event": "there is no such event",
        NotJoined = "not_joined": "join first",
        Forbidden = "forbidden": "this is not one of your conversations",
        TokenRequired = "token_required": "join needs a token",
        Unauthorized = "unauthorized": "MAX does not accept this username and token",
        UnknownUser = "unknown_user": "MAX does not know this user",
        TooManyConversations = "too_many_conversations": "this user has more conversations than a session may hear",
        Superseded = "superseded": "a newer join took the place of this one",
        Busy = "busy": "the server has too much to do, try again",
        RateLimited = "rate_limited": "too many events, slow down",
        MaxTimeout = "max_timeout": "MAX did not answer in time, try again",
        MaxUnavailable = "max_unavailable": "MAX is not available, try again",
        MaxError = "max_error": "MAX refused the question",
        MaxGarbage = "max_garbage": "MAX gave an answer that makes no sense",
        MaxTooLarge = "max_too_large": "MAX gave an answer that is too large",
    }
}

table! {
    /// The reason for which a connection was closed: a metric label, and a sentence in the log.
    CloseReason {
        TransportClose = "transport_close": "the client closed the connection",
        TransportError = "transport_error": "the connection broke",
        PingTimeout = "ping_timeout": "the client was silent for too long",
        ParseError = "parse_error": "the client sent something that is not Engine.IO or Socket.IO",
        TooLarge = "too_large": "the client sent more than maxPayload at once",
        BadText = "bad_text": "the client sent text that is not UTF-8",
        ConnectTimeout = "connect_timeout": "the client connected to no namespace",
        Overlap = "overlap": "the client had two polls or two POSTs in progress at once",
        Direction = "heartbeat_direction": "the client sent a heartbeat in the wrong direction",
        Slow = "slow": "the client read too slowly",
        RateLimited = "rate_limited": "the client sent too much and did not slow down",
        WriteTimeout = "write_timeout": "the client did not read for too long",
        Flood = "flood": "the client sent too much for too long",
        Memory = "memory": "the client occupied much memory while the server was short of it",
        ConversationLost = "conversation_lost": "a conversation of the session failed",
        Panic = "panic": "the session failed",
        Stop = "stop": "the server stops",
    }
}
