//! The closed tables of the protocol: the reasons for refusing an event, and for closing a connection.

use crate::protocol::ProtocolError;

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

/// The reason for which a connection was closed. It prints as a sentence for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The client closed the connection.
    #[error("the client closed the connection")]
    TransportClose,
    /// The page of the client has gone: it said so, and does not come back.
    #[error("the page of the client has gone")]
    GoingAway,
    /// The client has come back by another connection.
    #[error("the client has come back by another connection")]
    Replaced,
    /// The connection broke.
    #[error("the connection broke")]
    TransportError,
    /// The client was silent for too long.
    #[error("the client was silent for too long")]
    PingTimeout,
    /// The client sent something that is not Engine.IO or Socket.IO.
    #[error("{0}")]
    ParseError(#[source] ProtocolError),
    /// The client sent more than maxPayload at once.
    #[error("the client sent more than maxPayload at once")]
    TooLarge,
    /// The client sent text that is not UTF-8.
    #[error("the client sent text that is not UTF-8")]
    BadText,
    /// The client connected to no namespace.
    #[error("the client connected to no namespace")]
    ConnectTimeout,
    /// The client had two polls or two POSTs in progress at once.
    #[error("the client had two polls or two POSTs in progress at once")]
    Overlap,
    /// The client sent a heartbeat in the wrong direction.
    #[error("the client sent a heartbeat in the wrong direction")]
    Direction,
    /// The client read too slowly.
    #[error("the client read too slowly")]
    Slow,
    /// The client sent too much and did not slow down.
    #[error("the client sent too much and did not slow down")]
    RateLimited,
    /// The client did not read for too long.
    #[error("the client did not read for too long")]
    WriteTimeout,
    /// The client sent too much for too long.
    #[error("the client sent too much for too long")]
    Flood,
    /// The client occupied much memory while the server was short of it.
    #[error("the client occupied much memory while the server was short of it")]
    Memory,
    /// A conversation of the session failed.
    #[error("a conversation of the session failed")]
    ConversationLost,
    /// The session failed.
    #[error("the session failed")]
    Panic,
    /// An operator closed the session.
    #[error("an operator closed the session")]
    Operator,
    /// The server stops.
    #[error("the server stops")]
    Stop,
}

impl CloseReason {
    /// Returns whether the connection was lost, so that the client may come back and go on. It may not if it has left,
    /// or was closed for what it did.
    pub fn is_loss(self) -> bool {
        // A connection that has died takes nothing, which is noticed before the silence if there is much to write.
        matches!(self, Self::TransportClose | Self::TransportError | Self::PingTimeout | Self::WriteTimeout)
    }

    /// The reason without its cause, for labels and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport_close",
            Self::GoingAway => "going_away",
            Self::Replaced => "replaced",
            Self::TransportError => "transport_error",
            Self::PingTimeout => "ping_timeout",
            Self::ParseError(_) => "parse_error",
            Self::TooLarge => "too_large",
            Self::BadText => "bad_text",
            Self::ConnectTimeout => "connect_timeout",
            Self::Overlap => "overlap",
            Self::Direction => "heartbeat_direction",
            Self::Slow => "slow",
            Self::RateLimited => "rate_limited",
            Self::WriteTimeout => "write_timeout",
            Self::Flood => "flood",
            Self::Memory => "memory",
            Self::ConversationLost => "conversation_lost",
            Self::Panic => "panic",
            Self::Operator => "operator",
            Self::Stop => "stop",
        }
    }
}

impl From<ProtocolError> for CloseReason {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::TooLarge => Self::TooLarge,
            ProtocolError::Utf8 => Self::BadText,
            ProtocolError::Direction => Self::Direction,
            _ => Self::ParseError(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_code_and_no_other() {
        let page = include_str!("../docs/protocol.md");
        let rows = page.lines().skip_while(|line| *line != "| code | means |").skip(2);
        let codes = rows.map_while(|row| row.strip_prefix("| `")?.split('`').next());
        let known = Code::ALL.iter().map(|code| code.as_str());
        assert_eq!(codes.collect::<Vec<_>>(), known.collect::<Vec<_>>());
    }

    #[test]
    fn a_parse_error_keeps_its_cause() {
        let reason = CloseReason::from(ProtocolError::Attachments);
        assert_eq!((reason.as_str(), reason.to_string()), ("parse_error", ProtocolError::Attachments.to_string()));
        assert_eq!(CloseReason::from(ProtocolError::Utf8), CloseReason::BadText);
    }
}
